//! GraphQL over WebSocket: the sub-protocol graphql-transport-ws, to the letter.
//!
//! A socket needs a token, in `connection_init` and nowhere else: without one it is refused (4403), and
//! `logIn` goes over HTTP. Every operation asks again who the token's user is, so that each starts with
//! the rights of its moment. Not for: what happens inside an operation.

mod message;
mod pace;
mod socket;
mod turns;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::{State, envelope};
use crate::model::UserId;

/// The one sub-protocol; the legacy `graphql-ws` is not spoken.
const PROTOCOL: &str = "graphql-transport-ws";
/// A document of 16 KiB with its variables, over all fragments of the message.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The usual limit: a browser with many tabs has a socket for each.
pub const SOCKETS_PER_USER_MAX: usize = 50;

/// How long a socket waits for what. Tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct SocketTimes {
    /// For `connection_init`: a client sends it at once.
    pub init: Duration,
    /// Between the server's pings: below the 30-60 s after which proxies drop a silent connection.
    pub ping: Duration,
    /// For any sign of life after a ping.
    pub pong: Duration,
    /// For a reader that takes nothing: longer than a network's hiccup.
    pub write: Duration,
    /// Between checks of a token that nothing says has changed, should that message be lost.
    pub recheck: Duration,
}

impl Default for SocketTimes {
    fn default() -> Self {
        Self {
            init: Duration::from_secs(10),
            ping: Duration::from_secs(25),
            pong: Duration::from_secs(10),
            write: Duration::from_secs(30),
            recheck: Duration::from_secs(60),
        }
    }
}

/// How many sockets each user has open in this process.
#[derive(Debug, Clone)]
pub struct SocketCount {
    users: Arc<Mutex<HashMap<UserId, usize>>>,
    max: usize,
}

/// One socket's place in the count, given back when dropped.
#[derive(Debug)]
pub struct SocketPlace {
    users: Arc<Mutex<HashMap<UserId, usize>>>,
    user: UserId,
}

impl SocketCount {
    /// None yet, and at most `max` of one user.
    pub fn new(max: usize) -> Self {
        Self {
            users: Arc::default(),
            max,
        }
    }

    /// A place for one more socket of this user; `None` when all are taken.
    pub fn take(&self, user: UserId) -> Option<SocketPlace> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.entry(user).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(SocketPlace {
            users: Arc::clone(&self.users),
            user,
        })
    }
}

impl Drop for SocketPlace {
    fn drop(&mut self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

/// Whether a request wants to become a WebSocket.
pub fn is_handshake(request: &HttpRequest) -> bool {
    request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Answers the handshake and lets the socket run.
pub async fn upgrade(request: HttpRequest, body: Payload, state: Data<State>) -> HttpResponse {
    let text = |name| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or("?"))
    };
    if !state
        .origins
        .permits(text(header::ORIGIN), text(header::HOST))
    {
        return refuse(
            HttpResponse::Forbidden(),
            "This page's origin may not connect.\n",
        );
    }
    if !offers_protocol(&request) {
        return refuse(
            HttpResponse::BadRequest(),
            "The sub-protocol must be graphql-transport-ws.\n",
        );
    }
    match actix_ws::handle_with_protocols(&request, body, &[PROTOCOL]) {
        Ok((response, session, messages)) => {
            let messages = messages
                .max_frame_size(MESSAGE_BYTES_MAX)
                .aggregate_continuations()
                .max_continuation_size(MESSAGE_BYTES_MAX);
            let id = envelope::request_id(&request);
            let socket = socket::Socket::new(state.into_inner(), session, messages, id);
            actix_web::rt::spawn(socket.run());
            response
        }
        Err(_) => refuse(
            HttpResponse::BadRequest(),
            "This is no WebSocket handshake.\n",
        ),
    }
}

fn refuse(mut response: actix_web::HttpResponseBuilder, text: &'static str) -> HttpResponse {
    response
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

fn offers_protocol(request: &HttpRequest) -> bool {
    request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|protocol| protocol.trim() == PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_sockets_and_gets_places_back() {
        let count = SocketCount::new(SOCKETS_PER_USER_MAX);
        let mut places: Vec<_> = (0..SOCKETS_PER_USER_MAX)
            .map(|_| count.take(UserId(1)).unwrap())
            .collect();
        assert!(count.take(UserId(1)).is_none());
        assert!(count.take(UserId(2)).is_some());
        places.pop();
        assert!(count.take(UserId(1)).is_some());
        places.clear();
        assert!(count.users.lock().unwrap().is_empty());
    }
}
