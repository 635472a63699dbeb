//! What a disconnected mailbox held and the CRM never saved goes for good (R10), a few mails at a time; and bytes that
//! no mail names any more.
//! Not for: what is linked to an item; that stays whatever becomes of its mailbox.

use super::dialect::for_update;
use super::raw::hash_of;
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::{MailboxId, Time};
use std::collections::HashMap;

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
///
/// # Errors
/// `Conflict` where one is saved at this moment: then nothing was erased.
pub fn erase_unsaved(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    (after, mails_max): (i64, i64),
) -> Result<Option<(i64, usize)>, StoreError> {
    let query = sql("SELECT e.id, e.message_id, e.raw_hash FROM emails e WHERE e.mailbox_id = ")
        .bind(mailbox.0)
        .push(" AND e.id > ")
        .bind(after)
        .push(" AND NOT EXISTS (SELECT 1 FROM email_links l WHERE l.email_id = e.id) ORDER BY e.id LIMIT ")
        .bind(mails_max);
    let rows: Vec<(i64, i64, Vec<u8>)> = for_update(tx.conn, query).rows(tx.conn)?;
    let mails: Vec<Unsaved> = rows
        .into_iter()
        .map(|(id, message_id, raw_hash)| Unsaved {
            id,
            message_id,
            raw_hash,
        })
        .collect();
    let Some(last) = mails.last() else {
        return Ok(None);
    };
    let ids: Vec<i64> = mails.iter().map(|mail| mail.id).collect();
    // A mail that once was saved is named by entries that stay: its row stays too, with nothing in it.
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
    within("DELETE FROM placements WHERE email_id", &ids).run(tx.conn)?;
    empty(tx, &named)?;
    within("DELETE FROM emails WHERE id", &gone).run(tx.conn)?;
    let messages: Vec<i64> = mails.iter().map(|mail| mail.message_id).collect();
    erase_messages(tx, &messages)?;
    let hashes = mails.iter().map(|mail| mail.raw_hash.clone()).collect();
    forget_raw(tx, hashes)?;
    Ok(Some((last.id, mails.len())))
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

/// What people wrote for the mailbox; what of it was sent is stored as mail.
fn erase_drafts(tx: &mut Tx<'_>, mailbox: MailboxId) -> Result<(), StoreError> {
    let hashes: Vec<Vec<u8>> = sql("SELECT d.raw_hash FROM drafts d WHERE d.raw_hash IS NOT NULL AND d.mailbox_id = ")
        .bind(mailbox.0)
        .push(" UNION SELECT a.raw_hash FROM draft_attachments a JOIN drafts d ON d.id = a.draft_id WHERE a.raw_hash IS NOT NULL AND d.mailbox_id = ")
        .bind(mailbox.0)
        .rows(tx.conn)?;
    sql("DELETE FROM drafts WHERE mailbox_id = ")
        .bind(mailbox.0)
        .run(tx.conn)?;
    for hashes in hashes.chunks(super::sql::BOUND_MAX) {
        forget_raw(tx, hashes.to_vec())?;
    }
    Ok(())
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
    erase_drafts(tx, mailbox)?;
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
