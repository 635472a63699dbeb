//! Who is it that asks? Bearer tokens and passwords into viewers.
//! Not for: what a viewer may do (that is `rules::access`).

pub mod access_token;
pub mod accounts;
pub mod file_links;
pub mod key_ring;
pub mod key_rotation;
pub mod keys;
pub mod outside_token;
pub mod passwords;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::model::people::Session;

/// Why a bearer token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthRefusal {
    /// Not one of ours, revoked, or its user is no longer active.
    #[error("the token is not valid")]
    Invalid,
    /// It was ours, and its time is over.
    #[error("the token has expired")]
    Expired,
    /// It could not be looked up just now. Refused all the same, but worth another try.
    #[error("the token can't be checked at the moment")]
    Unavailable,
}

/// Turns a bearer token into a session. The transport's only view of accounts.
pub trait Authenticator: Send + Sync {
    /// The session of this token, with the viewer's rights as of now.
    /// Called for every HTTP request, for every operation of a WebSocket, and again on a socket
    /// whenever [`Authenticator::changes`] moves.
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Session, AuthRefusal>>;

    /// Moves whenever some credential may have been revoked (a sign-out, a deactivated user, a
    /// revoked token). Every open socket then checks its own token again, and closes if it is refused.
    fn changes(&self) -> watch::Receiver<u64>;
}
