//! What goes for good, a few mails at a time: what a disconnected mailbox held and the CRM never saved (R10), what is
//! older than its mailbox keeps, what somebody has the right to have erased (R47); and bytes that no mail names any more.
//! Not for: what is linked to an item; that stays whatever becomes of its mailbox.

use super::dialect::{for_share, for_update};
use super::raw::hash_of;
use super::sql::{BOUND_MAX, Sql, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::draft::SendingState;
use crate::model::{DraftId, EmailId, MailboxId, PlacementId, Time};
use crate::rules::sending::ON_ITS_WAY;
use std::collections::{HashMap, HashSet};

/// Mailboxes that were disconnected by then, and still hold what is to go.
///
/// # Errors
/// What the database says.
pub fn due(conn: &mut AnyConn, disconnected_by: Time) -> Result<Vec<MailboxId>, StoreError> {
    let found: Vec<i64> = sql(
        "SELECT id FROM mailboxes WHERE erased_at IS NULL AND disconnected_at IS NOT NULL AND disconnected_at <= ",
    )
    .bind(disconnected_by.micros())
    .push(" ORDER BY id")
    .rows(conn)?;
    Ok(found.into_iter().map(MailboxId).collect())
}

/// Whether the mailbox is still disconnected; it stays so until the transaction ends.
///
/// # Errors
/// What the database says.
pub fn lock_disconnected(tx: &mut Tx<'_>, id: MailboxId) -> Result<bool, StoreError> {
    let query =
        sql("SELECT id FROM mailboxes WHERE disconnected_at IS NOT NULL AND id = ").bind(id.0);
    let found: Option<i64> = for_update(tx.conn, query).one(tx.conn)?;
    Ok(found.is_some())
}

struct Unsaved {
    id: i64,
    message_id: i64,
    raw_hash: Vec<u8>,
}

/// Erases at most so many mails behind the email `after` that hang on no item; how many, and the last that was looked at.
/// One that is saved at this moment stays.
///
/// # Errors
/// What the database says.
pub fn erase_unsaved(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    (after, mails_max): (i64, i64),
) -> Result<Option<(i64, usize)>, StoreError> {
    let query = sql(UNSAVED)
        .bind(mailbox.0)
        .push(" AND e.id > ")
        .bind(after)
        .push(NOT_LINKED)
        .push(" ORDER BY e.id LIMIT ")
        .bind(mails_max);
    let held = locked(tx, query)?;
    erase(tx, &held.mails, (Lines::Deleted, Entries::Kept))?;
    Ok(held.last.map(|last| (last, held.mails.len())))
}

const UNSAVED: &str = "SELECT e.id, e.message_id, e.raw_hash FROM emails e WHERE e.mailbox_id = ";
const NOT_LINKED: &str = " AND NOT EXISTS (SELECT 1 FROM email_links l WHERE l.email_id = e.id)";

/// Mails that nobody can save until the transaction ends.
struct Held {
    mails: Vec<Unsaved>,
    /// The last that was looked at, saved or not.
    last: Option<i64>,
}

/// Locks the mails that this query selects, and takes those of them that hang on no item.
fn locked(tx: &mut Tx<'_>, query: Sql) -> Result<Held, StoreError> {
    let rows: Vec<(i64, i64, Vec<u8>)> = for_update(tx.conn, query).rows(tx.conn)?;
    let ids: Vec<i64> = rows.iter().map(|(id, _message, _hash)| *id).collect();
    // Whoever was waited for may have saved one. The query began before that, and does not know of it.
    let saved: Vec<i64> =
        within("SELECT email_id FROM email_links WHERE email_id", &ids).rows(tx.conn)?;
    let saved: HashSet<i64> = saved.into_iter().collect();
    let mails = rows
        .into_iter()
        .filter(|(id, _message, _hash)| !saved.contains(id))
        .map(|(id, message_id, raw_hash)| Unsaved {
            id,
            message_id,
            raw_hash,
        });
    Ok(Held {
        mails: mails.collect(),
        last: ids.last().copied(),
    })
}

/// The days after which a mailbox's mail goes that is not in the CRM, by mailbox; mailboxes that keep all are left out.
///
/// # Errors
/// What the database says.
pub fn retentions(conn: &mut AnyConn) -> Result<Vec<(MailboxId, i64)>, StoreError> {
    let rows: Vec<(i64, Option<i64>)> = sql(
        "SELECT id, retention_days FROM mailboxes WHERE retention_days IS NOT NULL ORDER BY id",
    )
    .rows(conn)?;
    let days = |(id, days): (i64, Option<i64>)| Some((MailboxId(id), days?));
    Ok(rows.into_iter().filter_map(days).collect())
}

/// The days after which a mailbox's mail goes that is not in the CRM; `None`: never.
///
/// # Errors
/// What the database says.
pub fn retention(conn: &mut AnyConn, mailbox: MailboxId) -> Result<Option<i64>, StoreError> {
    let all = retentions(conn)?;
    let own = |(id, days): &(MailboxId, i64)| (*id == mailbox).then_some(*days);
    Ok(all.iter().find_map(own))
}

/// The same, and nobody changes it until the transaction ends.
///
/// # Errors
/// What the database says.
pub fn hold_retention(tx: &mut Tx<'_>, mailbox: MailboxId) -> Result<Option<i64>, StoreError> {
    let query = sql("SELECT retention_days FROM mailboxes WHERE id = ").bind(mailbox.0);
    let days: Option<Option<i64>> = for_share(tx.conn, query).one(tx.conn)?;
    Ok(days.flatten())
}

/// Sets them.
///
/// # Errors
/// What the database says.
pub fn update_retention(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    days: Option<i64>,
) -> Result<(), StoreError> {
    sql("UPDATE mailboxes SET version = version + 1, retention_days = ")
        .bind(days)
        .push(" WHERE id = ")
        .bind(mailbox.0)
        .run(tx.conn)?;
    Ok(())
}

/// Erases at most so many mails of a mailbox that were received before this moment and hang on no item; how many, `None`
/// where there are no more. One that is saved at this moment stays. What is on the server still does not come back.
///
/// # Errors
/// What the database says.
pub fn erase_old(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    before: Time,
    mails_max: i64,
) -> Result<Option<usize>, StoreError> {
    let query = sql(UNSAVED)
        .bind(mailbox.0)
        .push(" AND e.received_at < ")
        .bind(before.micros())
        // What was emptied before has nothing left to go.
        .push(" AND e.raw_hash <> ")
        .bind(hash_of(b"").to_vec())
        .push(NOT_LINKED)
        // Its answer is on its way, with what it quotes: it goes when that has gone out.
        .push(" AND NOT EXISTS (SELECT 1 FROM drafts d WHERE d.original_id = e.id AND d.state IN (")
        .list(ON_ITS_WAY.map(SendingState::as_text))
        .push("))")
        .push(" ORDER BY e.received_at, e.id LIMIT ")
        .bind(mails_max);
    let held = locked(tx, query)?;
    erase(tx, &held.mails, (Lines::Settled, Entries::Kept))?;
    Ok(held.last.map(|_last| held.mails.len()))
}

/// Erases these emails, which hang on no item any more, with every entry that tells of them. What is on the server still
/// does not come back.
///
/// # Errors
/// What the database says.
pub fn erase_emails(tx: &mut Tx<'_>, ids: &[EmailId]) -> Result<(), StoreError> {
    for part in ids.chunks(BOUND_MAX) {
        let query = sql("SELECT e.id, e.message_id, e.raw_hash FROM emails e WHERE e.id IN (")
            .any_of(part.iter().map(|id| id.0))
            .push(")")
            .push(NOT_LINKED)
            .push(" ORDER BY e.id");
        let held = locked(tx, query)?;
        erase(tx, &held.mails, (Lines::Settled, Entries::Deleted))?;
    }
    Ok(())
}

/// What becomes of the ledger's lines of erased mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Nobody looks at the server any more.
    Deleted,
    /// They stay, so that the mails are not fetched again.
    Settled,
}

/// What becomes of timeline entries that name erased mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// They stay, and with them the mails' rows, with nothing in them.
    Kept,
    /// They go: even that there was a mail is nobody's business any more.
    Deleted,
}

fn erase(
    tx: &mut Tx<'_>,
    mails: &[Unsaved],
    (lines, entries): (Lines, Entries),
) -> Result<(), StoreError> {
    if mails.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = mails.iter().map(|mail| mail.id).collect();
    erase_drafts_of(tx, &ids)?;
    // A mail that once was saved is named by entries that stay: its row stays too, with nothing in it.
    if entries == Entries::Deleted {
        within("DELETE FROM timeline_entries WHERE email_id", &ids).run(tx.conn)?;
        tx.history_changed(None);
    }
    // Subjects are what somebody wrote.
    within(
        "UPDATE threads SET subject = '' WHERE id IN (SELECT m.thread_id FROM messages m JOIN emails e ON e.message_id = m.id WHERE e.id",
        &ids,
    )
    .push(")")
    .run(tx.conn)?;
    let named: Vec<i64> = within(
        "SELECT DISTINCT email_id FROM timeline_entries WHERE email_id",
        &ids,
    )
    .rows(tx.conn)?;
    let gone: Vec<i64> = ids
        .iter()
        .copied()
        .filter(|id| !named.contains(id))
        .collect();
    match lines {
        Lines::Deleted => within("DELETE FROM placements WHERE email_id", &ids).run(tx.conn)?,
        Lines::Settled => {
            note_erased(tx, &ids)?;
            within(
                "UPDATE placements SET state = 'ERASED', email_id = NULL, labels = NULL, error = NULL WHERE email_id",
                &ids,
            )
            .run(tx.conn)?
        }
    };
    empty(tx, &named)?;
    within("DELETE FROM emails WHERE id", &gone).run(tx.conn)?;
    let messages: Vec<i64> = mails.iter().map(|mail| mail.message_id).collect();
    if entries == Entries::Deleted {
        within("DELETE FROM activities WHERE message_id", &messages)
            .push(" AND NOT EXISTS (SELECT 1 FROM emails e WHERE e.message_id = activities.message_id)")
            .push(" AND NOT EXISTS (SELECT 1 FROM timeline_entries t WHERE t.activity_id = activities.id)")
            .run(tx.conn)?;
    }
    erase_messages(tx, &messages)?;
    let hashes = mails.iter().map(|mail| mail.raw_hash.clone()).collect();
    forget_raw(tx, hashes)
}

/// Keeps what these mails are known by, when they come again.
fn note_erased(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    sql("INSERT INTO erased_mails (mailbox_id, content_key, erased_at) SELECT e.mailbox_id, m.content_key, ")
        .bind(tx.now.micros())
        .then(within(
            " FROM emails e JOIN messages m ON m.id = e.message_id WHERE e.id",
            ids,
        ))
        .push(" ON CONFLICT (mailbox_id, content_key) DO NOTHING")
        .run(tx.conn)?;
    Ok(())
}

/// Those of these content keys that were erased from the mailbox for good.
///
/// # Errors
/// What the database says.
pub fn erased_among<'k>(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let keys: Vec<Vec<u8>> = keys.map(<[u8]>::to_vec).collect();
    let mut found = HashSet::new();
    for part in keys.chunks(BOUND_MAX) {
        let rows: Vec<Vec<u8>> = sql("SELECT content_key FROM erased_mails WHERE mailbox_id = ")
            .bind(mailbox.0)
            .push(" AND content_key IN (")
            .any_of(part.iter().cloned())
            .push(")")
            .rows(conn)?;
        found.extend(rows);
    }
    Ok(found)
}

/// A mail that was erased came again: its line is settled, and its bytes are not kept.
///
/// # Errors
/// What the database says.
pub fn settle_erased(
    tx: &mut Tx<'_>,
    placement: Option<PlacementId>,
    raw_hash: &[u8],
) -> Result<(), StoreError> {
    if let Some(placement) = placement {
        sql("UPDATE placements SET state = 'ERASED', error = NULL, raw_hash = NULL WHERE id = ")
            .bind(placement.0)
            .run(tx.conn)?;
    }
    forget_raw(tx, vec![raw_hash.to_vec()])
}

fn within(front: &'static str, ids: &[i64]) -> Sql {
    sql(front)
        .push(" IN (")
        .any_of(ids.iter().copied())
        .push(")")
}

/// Takes out what these emails say, and keeps their rows.
fn empty(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let nothing = hash_of(b"").to_vec();
    sql("INSERT INTO raw_mails (hash, object_key, byte_offset, byte_length) VALUES (")
        .bind(nothing.clone())
        .push(", '', 0, 0) ON CONFLICT (hash) DO NOTHING")
        .run(tx.conn)?;
    for table in ["participants", "attachments", "routing_traces"] {
        let front = match table {
            "participants" => "DELETE FROM participants WHERE email_id",
            "attachments" => "DELETE FROM attachments WHERE email_id",
            _ => "DELETE FROM routing_traces WHERE email_id",
        };
        within(front, ids).run(tx.conn)?;
    }
    sql("UPDATE emails SET subject = '', preview = '', from_name = NULL, from_address = NULL, version = version + 1, raw_hash = ")
        .bind(nothing)
        .then(within(" WHERE id", ids))
        .run(tx.conn)?;
    Ok(())
}

/// Messages that no mailbox holds any more, and the threads that are left without one.
fn erase_messages(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    let left = " AND NOT EXISTS (SELECT 1 FROM emails e WHERE e.message_id = messages.id) \
                AND NOT EXISTS (SELECT 1 FROM activities a WHERE a.message_id = messages.id)";
    let threads: Vec<i64> = within("SELECT DISTINCT thread_id FROM messages WHERE id", ids)
        .push(left)
        .rows(tx.conn)?;
    within("DELETE FROM messages WHERE id", ids)
        .push(left)
        .run(tx.conn)?;
    within("DELETE FROM threads WHERE id", &threads)
        .push(" AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.thread_id = threads.id)")
        .run(tx.conn)?;
    // Of a message whose copies say nothing any more, nothing is told either.
    within("UPDATE messages SET subject_base = '' WHERE id", ids)
        .push(" AND NOT EXISTS (SELECT 1 FROM emails e WHERE e.message_id = messages.id AND e.raw_hash <> ")
        .bind(hash_of(b"").to_vec())
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// Names these bytes no more, unless another mail does.
fn forget_raw(tx: &mut Tx<'_>, hashes: Vec<Vec<u8>>) -> Result<(), StoreError> {
    sql("DELETE FROM raw_mails WHERE hash IN (")
        .any_of(hashes)
        .push(
            ") AND byte_length > 0 AND NOT EXISTS (SELECT 1 FROM emails e WHERE e.raw_hash = raw_mails.hash) \
             AND NOT EXISTS (SELECT 1 FROM placements p WHERE p.raw_hash = raw_mails.hash) \
             AND NOT EXISTS (SELECT 1 FROM drafts d WHERE d.raw_hash = raw_mails.hash) \
             AND NOT EXISTS (SELECT 1 FROM draft_attachments a WHERE a.raw_hash = raw_mails.hash)",
        )
        .run(tx.conn)?;
    Ok(())
}

/// Erases at most so many lines of the mailbox's ledger that lead to no email, quarantined bytes with them; how many.
///
/// # Errors
/// What the database says.
pub fn erase_lines(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    lines_max: i64,
) -> Result<usize, StoreError> {
    let lines: Vec<(i64, Option<Vec<u8>>)> = sql(
        "SELECT p.id, p.raw_hash FROM placements p JOIN folders f ON f.id = p.folder_id \
         WHERE p.email_id IS NULL AND f.mailbox_id = ",
    )
    .bind(mailbox.0)
    .push(" ORDER BY p.id LIMIT ")
    .bind(lines_max)
    .rows(tx.conn)?;
    let ids: Vec<i64> = lines.iter().map(|(id, _hash)| *id).collect();
    within("DELETE FROM placements WHERE id", &ids).run(tx.conn)?;
    forget_raw(
        tx,
        lines.into_iter().filter_map(|(_id, hash)| hash).collect(),
    )?;
    Ok(ids.len())
}

/// Deletes the drafts `d` of which this holds, with what they say and the files on them.
fn delete_drafts(tx: &mut Tx<'_>, which: &Sql) -> Result<(), StoreError> {
    let hashes: Vec<Vec<u8>> =
        sql("SELECT d.raw_hash FROM drafts d WHERE d.raw_hash IS NOT NULL AND (")
            .then(which.clone())
            .push(") UNION SELECT a.raw_hash FROM draft_attachments a JOIN drafts d ON d.id = a.draft_id WHERE a.raw_hash IS NOT NULL AND (")
            .then(which.clone())
            .push(")")
            .rows(tx.conn)?;
    sql("DELETE FROM drafts WHERE id IN (SELECT d.id FROM drafts d WHERE ")
        .then(which.clone())
        .push(")")
        .run(tx.conn)?;
    for hashes in hashes.chunks(BOUND_MAX) {
        forget_raw(tx, hashes.to_vec())?;
    }
    Ok(())
}

/// Erases these drafts with the files on them.
///
/// # Errors
/// What the database says.
pub fn erase_drafts(tx: &mut Tx<'_>, ids: &[DraftId]) -> Result<(), StoreError> {
    for part in ids.chunks(BOUND_MAX) {
        let ids: Vec<i64> = part.iter().map(|id| id.0).collect();
        delete_drafts(tx, &within("d.id", &ids))?;
    }
    Ok(())
}

/// What was written in answer to these emails and did not go out, and what they were written as: it says what they say.
/// What is on its way stays; whoever erases sees to it that there is none.
fn erase_drafts_of(tx: &mut Tx<'_>, emails: &[i64]) -> Result<(), StoreError> {
    let which = sql("d.state NOT IN (")
        .list(ON_ITS_WAY.map(SendingState::as_text))
        .push(") AND (")
        .then(within("d.email_id", emails))
        .push(" OR d.email_id IS NULL AND ")
        .then(within("d.original_id", emails))
        .push(")");
    delete_drafts(tx, &which)
}

/// Everything is erased. Where the mailbox is connected again, its folders are read from their beginning: what is still
/// there is known by its content.
///
/// # Errors
/// What the database says.
pub fn finish(tx: &mut Tx<'_>, mailbox: MailboxId) -> Result<(), StoreError> {
    sql("DELETE FROM sender_counts WHERE mailbox_id = ")
        .bind(mailbox.0)
        .run(tx.conn)?;
    // What of it was sent is stored as mail.
    delete_drafts(tx, &sql("d.mailbox_id = ").bind(mailbox.0))?;
    sql("UPDATE folders SET epoch = epoch + 1, uid_validity = NULL, discovered_next_uid = 1, highest_modseq = NULL WHERE mailbox_id = ")
        .bind(mailbox.0)
        .run(tx.conn)?;
    sql("UPDATE mailboxes SET erased_at = ")
        .bind(tx.now.micros())
        .push(" WHERE id = ")
        .bind(mailbox.0)
        .run(tx.conn)?;
    Ok(())
}

/// How many bytes of each object are named, by its key.
///
/// # Errors
/// What the database says.
pub fn named_bytes(conn: &mut AnyConn) -> Result<HashMap<String, i64>, StoreError> {
    let rows: Vec<(String, i64)> = sql(
        "SELECT object_key, CAST(SUM(byte_length) AS BIGINT) FROM raw_mails GROUP BY object_key",
    )
    .rows(conn)?;
    Ok(rows.into_iter().collect())
}

/// A mail's place in an object: hash, offset and length in bytes.
pub type NamedMail = (Vec<u8>, i64, i64);

/// The mails of an object, in their order.
///
/// # Errors
/// What the database says.
pub fn mails_of(conn: &mut AnyConn, object_key: &str) -> Result<Vec<NamedMail>, StoreError> {
    sql("SELECT hash, byte_offset, byte_length FROM raw_mails WHERE object_key = ")
        .bind(object_key)
        .push(" ORDER BY byte_offset")
        .rows(conn)
}

/// Says that these mails lie elsewhere now: hash and offset in the new object. What was forgotten meanwhile stays so.
///
/// # Errors
/// What the database says.
pub fn move_mails(
    tx: &mut Tx<'_>,
    (from, to): (&str, &str),
    mails: &[(Vec<u8>, i64)],
) -> Result<(), StoreError> {
    for (hash, offset) in mails {
        sql("UPDATE raw_mails SET object_key = ")
            .bind(to)
            .push(", byte_offset = ")
            .bind(*offset)
            .push(" WHERE hash = ")
            .bind(hash.clone())
            .push(" AND object_key = ")
            .bind(from)
            .run(tx.conn)?;
    }
    Ok(())
}
