//! What a user has read is their own (R40): marking changes nothing for others, and nothing on the mail server.
//! Not for: what counts where a user said nothing (that is `store::reads`).

use super::{ActionResult, Actions, acting};
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::{EmailId, ThreadId, Time};
use crate::rules::access::{self, Surface};
use crate::store;

/// Messages of a conversation that are marked at once: as many as a merge of conversations moves.
const MESSAGES_MAX: usize = 10_000;

/// Marks an email as read or unread, in whatever mailboxes its message lies.
///
/// # Errors
/// `NOT_FOUND` where the viewer does not see it.
pub async fn email(
    actions: &Actions,
    viewer: &Viewer,
    (id, is_read): (EmailId, bool),
    now: Time,
) -> ActionResult<EmailId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let scope = access::emails(viewer, Surface::Either);
            let seen = store::emails::visible(tx.conn, &scope, &[id])?;
            let email = seen.first().ok_or_else(|| Refusal::not_found("emailId"))?;
            let messages = [email.message_id];
            store::reads::save_many(tx, viewer.user_id, (&messages, is_read))?;
            Ok(id)
        })
        .await
}

/// Marks what came in of a conversation as read or unread, as far as the viewer sees it.
///
/// # Errors
/// `NOT_FOUND` where the viewer sees nothing of it, `BAD_INPUT` where it is too long.
pub async fn thread(
    actions: &Actions,
    viewer: &Viewer,
    (id, is_read): (ThreadId, bool),
    now: Time,
) -> ActionResult<ThreadId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let scope = access::emails(viewer, Surface::Either);
            if store::emails::thread_subjects(tx.conn, &scope, &[id])?.is_empty() {
                return Err(Refusal::not_found("threadId").into());
            }
            let limit = i64::try_from(MESSAGES_MAX + 1).unwrap_or(i64::MAX);
            let messages = store::reads::messages_of_thread(tx.conn, &scope, (id, limit))?;
            if messages.len() > MESSAGES_MAX {
                return Err(acting::bad_input(
                    "threadId",
                    format!("It has more messages than are marked at once, {MESSAGES_MAX}."),
                ));
            }
            store::reads::save_many(tx, viewer.user_id, (&messages, is_read))?;
            Ok(id)
        })
        .await
}
