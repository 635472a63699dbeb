//! What sockets and streams of events watch while they last: whether their credential still stands, and is still the same
//! user's; whether credentials changed; whether the server ends.
//! Not for: what then becomes of the connection (each says so in its own way).

use crate::auth::AuthRefusal;
use crate::model::UserId;
use crate::model::people::Session;
use futures_util::future::BoxFuture;
use std::future::pending;
use tokio::sync::watch;

/// A look-up under way.
pub(super) type Check = BoxFuture<'static, Result<Session, AuthRefusal>>;

/// The answer to the look-up that is under way, if one is.
pub(super) async fn settled(check: &mut Option<Check>) -> Result<Session, AuthRefusal> {
    match check {
        Some(check) => check.await,
        None => pending().await,
    }
}

/// The session, if it is still this user's: what is being told was begun for them, and ends where their credential is
/// another's by now.
pub(super) fn of_user(session: Session, user: UserId) -> Result<Session, AuthRefusal> {
    if session.viewer.user_id == user {
        Ok(session)
    } else {
        Err(AuthRefusal::Invalid)
    }
}

/// Waits until credentials change.
pub(super) async fn moved(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        // Nobody is left who could say so; the regular check remains.
        pending::<()>().await;
    }
}

/// Waits until the server ends.
pub(super) async fn shut_down(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|stop| *stop).await.is_err() {
        pending::<()>().await;
    }
}
