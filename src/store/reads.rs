//! What each user has read of the mail that came in (R40). Their own word counts first; where they said nothing, what the
//! mail server shows counts for those who have access to the mailbox, if its settings say so. All else is unread.
//! Not for: the server's flags themselves (that is `ledger`).

use super::sql::{BOUND_MAX, Sql, insert_all, sql};
use super::{AnyConn, StoreError, Tx, scope};
use crate::model::{EmailId, MessageId, ThreadId, UserId};
use crate::rules::access::EmailScope;
use std::collections::HashSet;

/// The condition that an email (a row of `emails` called `alias`) came in and is unread by whoever the scope is for; never
/// NULL. A message is read once, in whatever mailboxes it lies; on the server it is unread as long as any copy is.
pub fn is_unread(within: &EmailScope, alias: &'static str) -> Sql {
    sql("(")
        .push(alias)
        .push(".direction = 'INCOMING' AND NOT COALESCE((SELECT mr.is_read FROM message_reads mr WHERE mr.user_id = ")
        .bind(within.mailboxes().viewer_id().0)
        .push(" AND mr.message_id = ")
        .push(alias)
        .push(
            ".message_id), (SELECT MIN(CASE WHEN rp.state = 'STORED' AND rp.gone_at IS NULL AND NOT rp.is_seen THEN 0 ELSE 1 END) = 1 \
             FROM emails re JOIN mailboxes rm ON rm.id = re.mailbox_id JOIN placements rp ON rp.email_id = re.id WHERE re.message_id = ",
        )
        .push(alias)
        .push(".message_id AND rm.read_state_follows_server AND rm.id IN (")
        .then(scope::mailbox_ids(within.mailboxes()))
        .push(")), FALSE))")
}

/// Those of these emails that are unread.
///
/// # Errors
/// What the database says.
pub fn unread_of(
    conn: &mut AnyConn,
    within: &EmailScope,
    ids: &[EmailId],
) -> Result<HashSet<EmailId>, StoreError> {
    let mut found = HashSet::new();
    for part in ids.chunks(BOUND_MAX) {
        let rows: Vec<i64> = sql("SELECT e.id FROM emails e WHERE e.id IN (")
            .any_of(part.iter().map(|id| id.0))
            .push(") AND ")
            .then(is_unread(within, "e"))
            .rows(conn)?;
        found.extend(rows.into_iter().map(EmailId));
    }
    Ok(found)
}

/// The messages that came in of a thread, as far as the scope sees it, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn messages_of_thread(
    conn: &mut AnyConn,
    within: &EmailScope,
    (thread, limit): (ThreadId, i64),
) -> Result<Vec<MessageId>, StoreError> {
    let rows: Vec<i64> =
        sql("SELECT DISTINCT e.message_id FROM emails e JOIN messages g ON g.id = e.message_id WHERE g.thread_id = ")
            .bind(thread.0)
            .push(" AND e.direction = 'INCOMING' AND ")
            .then(scope::emails(within, "e"))
            .push(" LIMIT ")
            .bind(limit)
            .rows(conn)?;
    Ok(rows.into_iter().map(MessageId).collect())
}

/// Keeps what a user says of messages, each of which stands there once.
///
/// # Errors
/// What the database says.
pub fn save_many(
    tx: &mut Tx<'_>,
    user: UserId,
    (messages, is_read): (&[MessageId], bool),
) -> Result<(), StoreError> {
    let at = tx.now.micros();
    let rows = messages
        .iter()
        .map(|message| vec![user.0.into(), message.0.into(), is_read.into(), at.into()]);
    insert_all(
        tx.conn,
        "message_reads (user_id, message_id, is_read, at)",
        " ON CONFLICT (user_id, message_id) DO UPDATE SET is_read = excluded.is_read, at = excluded.at",
        rows.collect(),
    )
}
