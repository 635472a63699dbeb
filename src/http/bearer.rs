//! The bearer token of a request or a socket, and the session it opens.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::model::Time;
use crate::model::people::Session;

/// When a session ends, by the clock that timers use; `None`: not by itself.
pub fn moment_of_end(session: &Session, now: Time) -> Option<Instant> {
    let left = session.expires_at?.micros().saturating_sub(now.micros());
    let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
    Instant::now().checked_add(left)
}

/// The token in an `Authorization` value; the scheme's case does not matter. `None`: it holds none.
pub fn token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The token in a `connection_init` payload, under `authorization` or `Authorization`.
pub fn token_of_payload(payload: &Map<String, Value>) -> Option<&str> {
    ["authorization", "Authorization"]
        .iter()
        .find_map(|key| payload.get(*key)?.as_str())
        .and_then(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_follows_bearer() {
        let rows = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("abc", None),
            ("", None),
        ];
        for (authorization, wanted) in rows {
            assert_eq!(token(authorization), wanted, "{authorization:?}");
        }
    }
}
