//! Logical messages and their threads (R7, R17).

use super::sql::{BOUND_MAX, sql};
use super::tx::Later;
use super::{AnyConn, StoreError, Tx};
use crate::model::{MessageId, ThreadId, Time};
use std::collections::{BTreeSet, HashMap};

/// A message as threading sees it.
#[derive(Debug, Clone)]
pub struct MessageHead {
    pub id: MessageId,
    pub thread_id: ThreadId,
    pub header: Option<String>,
    pub subject_base: String,
    pub received_at: Time,
    /// Canonical address of its sender.
    pub sender_key: Option<String>,
    /// Whether any copy is saved to the CRM.
    pub is_saved: bool,
    /// Whether any copy was found to be outgoing when it came (R4), which a forged sender is not.
    pub is_outgoing: bool,
}

/// A message to keep.
#[derive(Debug, Clone)]
pub struct NewMessage<'a> {
    pub content_key: &'a [u8],
    pub header: Option<&'a str>,
    pub subject: &'a str,
    pub subject_base: &'a str,
    pub received_at: Time,
    /// Message-IDs that it names in In-Reply-To.
    pub in_reply_to: &'a [String],
    /// Message-IDs that it names in References.
    pub references: &'a [String],
    /// `None`: a thread of its own.
    pub thread_id: Option<ThreadId>,
}

/// The messages with these content keys, and their threads.
///
/// # Errors
/// What the database says.
pub fn find_by_content_keys<'k>(
    conn: &mut AnyConn,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<HashMap<Vec<u8>, (MessageId, ThreadId)>, StoreError> {
    let keys: Vec<Vec<u8>> = keys.map(<[u8]>::to_vec).collect();
    let mut found = HashMap::new();
    for part in keys.chunks(BOUND_MAX) {
        let rows: Vec<(Vec<u8>, i64, i64)> =
            sql("SELECT content_key, id, thread_id FROM messages WHERE content_key IN (")
                .any_of(part.iter().cloned())
                .push(")")
                .rows(conn)?;
        for (key, id, thread) in rows {
            found.insert(key, (MessageId(id), ThreadId(thread)));
        }
    }
    Ok(found)
}

/// Keeps a message; its rows are held back until the rest of the batch is written.
///
/// # Errors
/// `Database` where ids run out.
pub fn insert_later(
    tx: &mut Tx<'_>,
    new: &NewMessage<'_>,
) -> Result<(MessageId, ThreadId), StoreError> {
    let thread = match new.thread_id {
        Some(thread) => thread,
        None => insert_thread(tx, new.subject)?,
    };
    let id = tx.id()?;
    let row = [
        id.into(),
        new.content_key.to_vec().into(),
        new.header.map(str::to_owned).into(),
        new.subject_base.into(),
        thread.0.into(),
        new.received_at.micros().into(),
    ];
    tx.later(Later::Messages, row);
    let named = new
        .in_reply_to
        .iter()
        .map(|named| (named, true))
        .chain(new.references.iter().map(|named| (named, false)));
    for (position, (referenced, is_reply_to)) in (0_i64..).zip(named) {
        let row = [
            id.into(),
            position.into(),
            referenced.clone().into(),
            is_reply_to.into(),
        ];
        tx.later(Later::References, row);
    }
    Ok((MessageId(id), thread))
}

fn insert_thread(tx: &mut Tx<'_>, subject: &str) -> Result<ThreadId, StoreError> {
    let id = tx.id()?;
    let row = [id.into(), subject.into(), tx.now.micros().into()];
    tx.later(Later::Threads, row);
    Ok(ThreadId(id))
}

/// The messages that have one of these Message-IDs (several may claim the same), at most `limit` for each.
///
/// # Errors
/// What the database says.
pub fn ids_with_headers(
    conn: &mut AnyConn,
    headers: &[String],
    limit: i64,
) -> Result<Vec<MessageId>, StoreError> {
    let within = |conn: &mut AnyConn, headers: &[String], limit: i64| {
        sql("SELECT id FROM messages WHERE message_id_header IN (")
            .any_of(headers.iter().map(String::as_str))
            .push(") ORDER BY received_at, id LIMIT ")
            .bind(limit)
            .rows::<i64>(conn)
    };
    let ids = for_each_header(conn, headers, limit, within)?;
    Ok(ids.into_iter().map(MessageId).collect())
}

/// Which messages name these Message-IDs as a parent, at most `limit` for each: the id, the message, and whether
/// In-Reply-To names it.
///
/// # Errors
/// What the database says.
pub fn naming(
    conn: &mut AnyConn,
    headers: &[String],
    limit: i64,
) -> Result<Vec<(String, MessageId, bool)>, StoreError> {
    let within = |conn: &mut AnyConn, headers: &[String], limit: i64| {
        sql("SELECT referenced, message_id, is_reply_to FROM message_references WHERE referenced IN (")
            .any_of(headers.iter().map(String::as_str))
            .push(") ORDER BY message_id, is_reply_to LIMIT ")
            .bind(limit)
            .rows::<(String, i64, bool)>(conn)
    };
    let rows = for_each_header(conn, headers, limit, within)?;
    Ok(rows
        .into_iter()
        .map(|(referenced, id, is_reply_to)| (referenced, MessageId(id), is_reply_to))
        .collect())
}

/// A list for many keys at once is read up to this many times the limit of one key, before each is asked for alone.
const AT_ONCE: i64 = 10;

/// What a query gives for these Message-IDs, at most `limit` rows for each. Many are asked for at once; where some id
/// is claimed by so many that the others could be crowded out, each is asked for alone.
fn for_each_header<T>(
    conn: &mut AnyConn,
    headers: &[String],
    limit: i64,
    within: impl Fn(&mut AnyConn, &[String], i64) -> Result<Vec<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    for part in headers.chunks(BOUND_MAX) {
        let many = limit.saturating_mul(AT_ONCE);
        let rows = within(conn, part, many)?;
        if i64::try_from(rows.len()).is_ok_and(|count| count < many) {
            found.extend(rows);
            continue;
        }
        for header in part {
            found.extend(within(conn, std::slice::from_ref(header), limit)?);
        }
    }
    Ok(found)
}

/// These messages as threading sees them, oldest first.
///
/// # Errors
/// What the database says.
pub fn heads(conn: &mut AnyConn, ids: &[MessageId]) -> Result<Vec<MessageHead>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for part in ids.chunks(BOUND_MAX) {
        found.extend(heads_of_part(conn, part)?);
    }
    Ok(found)
}

fn heads_of_part(conn: &mut AnyConn, ids: &[MessageId]) -> Result<Vec<MessageHead>, StoreError> {
    type Row = (i64, i64, Option<String>, String, i64, bool, bool);
    let numbers = || ids.iter().map(|id| id.0);
    let rows: Vec<Row> = sql(
        "SELECT g.id, g.thread_id, g.message_id_header, g.subject_base, g.received_at, \
         EXISTS (SELECT 1 FROM emails e WHERE e.message_id = g.id AND e.outcome = 'SAVED'), \
         EXISTS (SELECT 1 FROM emails e WHERE e.message_id = g.id AND e.direction = 'OUTGOING') FROM messages g WHERE g.id IN (",
    )
    .any_of(numbers())
    .push(") ORDER BY g.received_at, g.id")
    .rows(conn)?;
    let senders: Vec<(i64, String)> = sql(
        "SELECT e.message_id, p.address_key FROM emails e JOIN participants p ON p.email_id = e.id \
         WHERE p.role = 'FROM' AND p.address_key IS NOT NULL AND e.message_id IN (",
    )
    .any_of(numbers())
    .push(") ORDER BY e.id DESC, p.position DESC")
    .rows(conn)?;
    // The first sender of the oldest copy comes last, and stays.
    let senders: HashMap<i64, String> = senders.into_iter().collect();
    let head =
        |(id, thread, header, subject_base, received, is_saved, is_outgoing): Row| MessageHead {
            id: MessageId(id),
            thread_id: ThreadId(thread),
            header,
            subject_base,
            received_at: Time::from_micros(received),
            sender_key: senders.get(&id).cloned(),
            is_saved,
            is_outgoing,
        };
    Ok(rows.into_iter().map(head).collect())
}

/// Canonical addresses of everybody in these threads.
///
/// # Errors
/// What the database says.
pub fn people_of_threads(
    conn: &mut AnyConn,
    threads: &BTreeSet<ThreadId>,
) -> Result<HashMap<ThreadId, BTreeSet<String>>, StoreError> {
    let threads: Vec<i64> = threads.iter().map(|id| id.0).collect();
    let mut found: HashMap<ThreadId, BTreeSet<String>> = HashMap::new();
    for part in threads.chunks(BOUND_MAX) {
        let rows: Vec<(i64, String)> = sql(
            "SELECT DISTINCT g.thread_id, p.address_key FROM messages g JOIN emails e ON e.message_id = g.id \
             JOIN participants p ON p.email_id = e.id WHERE p.address_key IS NOT NULL AND g.thread_id IN (",
        )
        .any_of(part.iter().copied())
        .push(")")
        .rows(conn)?;
        for (thread, key) in rows {
            found.entry(ThreadId(thread)).or_default().insert(key);
        }
    }
    Ok(found)
}

/// What a message names: In-Reply-To, and References in the header's order.
///
/// # Errors
/// What the database says.
pub fn references(
    conn: &mut AnyConn,
    id: MessageId,
) -> Result<(Vec<String>, Vec<String>), StoreError> {
    let rows: Vec<(String, bool)> =
        sql("SELECT referenced, is_reply_to FROM message_references WHERE message_id = ")
            .bind(id.0)
            .push(" ORDER BY position")
            .rows(conn)?;
    let (replies, references): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|(_named, is_reply_to)| *is_reply_to);
    let names = |rows: Vec<(String, bool)>| rows.into_iter().map(|(named, _reply)| named).collect();
    Ok((names(replies), names(references)))
}

/// Moves threads, with all their messages, into another one.
///
/// # Errors
/// What the database says.
pub fn update_threads(
    tx: &mut Tx<'_>,
    from: &[ThreadId],
    into: ThreadId,
) -> Result<(), StoreError> {
    sql("UPDATE messages SET thread_id = ")
        .bind(into.0)
        .push(" WHERE thread_id IN (")
        .list(from.iter().map(|id| id.0))
        .push(")")
        .run(tx.conn)?;
    sql("DELETE FROM threads WHERE id IN (")
        .list(from.iter().map(|id| id.0))
        .push(") AND id <> ")
        .bind(into.0)
        .run(tx.conn)?;
    Ok(())
}

/// Keeps what a delivery report says; held back until the rest of the batch is written.
pub fn insert_report_later(
    tx: &mut Tx<'_>,
    message: MessageId,
    original: &str,
    recipient_keys: &[String],
) {
    for key in recipient_keys {
        let row = [message.0.into(), original.into(), key.as_str().into()];
        tx.later(Later::Reports, row);
    }
}

/// What a message reports: the Message-ID of the mail that it is about, and whom that didn't reach; `None`: it is
/// no report of a failure.
///
/// # Errors
/// What the database says.
pub fn report(
    conn: &mut AnyConn,
    message: MessageId,
) -> Result<Option<(String, Vec<String>)>, StoreError> {
    let rows: Vec<(String, String)> =
        sql("SELECT original, recipient_key FROM bounce_reports WHERE message_id = ")
            .bind(message.0)
            .push(" ORDER BY recipient_key")
            .rows(conn)?;
    let original = rows.first().map(|(original, _key)| original.clone());
    let keys = rows.into_iter().map(|(_original, key)| key).collect();
    Ok(original.map(|original| (original, keys)))
}

/// The reports about the mails with these Message-IDs: the id, the report, and an address that the mail didn't reach;
/// at most `limit` lines for each.
///
/// # Errors
/// What the database says.
pub fn reports_on(
    conn: &mut AnyConn,
    headers: &[String],
    limit: i64,
) -> Result<Vec<(String, MessageId, String)>, StoreError> {
    let within = |conn: &mut AnyConn, headers: &[String], limit: i64| {
        sql("SELECT original, message_id, recipient_key FROM bounce_reports WHERE original IN (")
            .any_of(headers.iter().map(String::as_str))
            .push(") ORDER BY message_id, recipient_key LIMIT ")
            .bind(limit)
            .rows::<(String, i64, String)>(conn)
    };
    let rows = for_each_header(conn, headers, limit, within)?;
    Ok(rows
        .into_iter()
        .map(|(original, id, key)| (original, MessageId(id), key))
        .collect())
}
