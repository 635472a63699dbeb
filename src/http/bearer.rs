//! The bearer token of a request or a socket, and the session it opens.

use serde_json::{Map, Value};

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
