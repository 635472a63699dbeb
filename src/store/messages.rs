//! Logical messages and their threads (R7, R17).

use super::sql::{insert_all, sql};
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
    /// Canonical address of its sender.
    pub sender_key: Option<String>,
    /// Canonical addresses of everybody in its thread.
    pub participant_keys: Vec<String>,
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

/// The message with this content key, and its thread.
///
/// # Errors
/// What the database says.
pub fn find_by_content_key(
    conn: &mut AnyConn,
    key: &[u8],
) -> Result<Option<(MessageId, ThreadId)>, StoreError> {
    let row: Option<(i64, i64)> = sql("SELECT id, thread_id FROM messages WHERE content_key = ")
        .bind(key.to_vec())
        .one(conn)?;
    Ok(row.map(|(id, thread)| (MessageId(id), ThreadId(thread))))
}

/// Keeps a message.
///
/// # Errors
/// `Conflict` where another writer kept the same message meanwhile.
pub fn insert(tx: &mut Tx<'_>, new: &NewMessage<'_>) -> Result<(MessageId, ThreadId), StoreError> {
    let thread = match new.thread_id {
        Some(thread) => thread,
        None => insert_thread(tx, new.subject)?,
    };
    let id = tx.id()?;
    sql("INSERT INTO messages (id, content_key, message_id_header, subject_base, thread_id, received_at) VALUES (")
        .bind(id)
        .push(", ")
        .bind(new.content_key.to_vec())
        .push(", ")
        .bind(new.header.map(str::to_owned))
        .push(", ")
        .bind(new.subject_base)
        .push(", ")
        .bind(thread.0)
        .push(", ")
        .bind(new.received_at.micros())
        .push(")")
        .run(tx.conn)?;
    let named = new
        .in_reply_to
        .iter()
        .map(|named| (named, true))
        .chain(new.references.iter().map(|named| (named, false)));
    let rows = (0_i64..)
        .zip(named)
        .map(|(position, (referenced, is_reply_to))| {
            vec![
                id.into(),
                position.into(),
                referenced.clone().into(),
                is_reply_to.into(),
            ]
        })
        .collect();
    insert_all(
        tx.conn,
        "message_references (message_id, position, referenced, is_reply_to)",
        "",
        rows,
    )?;
    Ok((MessageId(id), thread))
}

fn insert_thread(tx: &mut Tx<'_>, subject: &str) -> Result<ThreadId, StoreError> {
    let id = tx.id()?;
    sql("INSERT INTO threads (id, subject, created_at) VALUES (")
        .bind(id)
        .push(", ")
        .bind(subject)
        .push(", ")
        .bind(tx.now.micros())
        .push(")")
        .run(tx.conn)?;
    Ok(ThreadId(id))
}

/// The messages that have one of these Message-IDs (several may claim the same), at most `limit`.
///
/// # Errors
/// What the database says.
pub fn with_headers(
    conn: &mut AnyConn,
    headers: &[String],
    limit: i64,
) -> Result<Vec<MessageHead>, StoreError> {
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    let query = sql("SELECT id FROM messages WHERE message_id_header IN (")
        .list(headers.iter().map(String::as_str))
        .push(") ORDER BY received_at, id LIMIT ")
        .bind(limit);
    let ids: Vec<i64> = query.rows(conn)?;
    heads(conn, &ids)
}

/// The messages that name this Message-ID as a parent, at most `limit`.
///
/// # Errors
/// What the database says.
pub fn naming(
    conn: &mut AnyConn,
    header: &str,
    limit: i64,
) -> Result<Vec<(MessageHead, bool)>, StoreError> {
    let rows: Vec<(i64, bool)> =
        sql("SELECT message_id, is_reply_to FROM message_references WHERE referenced = ")
            .bind(header)
            .push(" ORDER BY message_id, is_reply_to LIMIT ")
            .bind(limit)
            .rows(conn)?;
    let ids: Vec<i64> = rows.iter().map(|(id, _reply)| *id).collect();
    let replies: HashMap<i64, bool> = rows.into_iter().collect();
    Ok(heads(conn, &ids)?
        .into_iter()
        .map(|head| {
            let is_reply_to = replies.get(&head.id.0).copied().unwrap_or(false);
            (head, is_reply_to)
        })
        .collect())
}

fn heads(conn: &mut AnyConn, ids: &[i64]) -> Result<Vec<MessageHead>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    type Row = (i64, i64, Option<String>, String, bool, bool);
    let rows: Vec<Row> = sql(
        "SELECT g.id, g.thread_id, g.message_id_header, g.subject_base, \
         EXISTS (SELECT 1 FROM emails e WHERE e.message_id = g.id AND e.outcome = 'SAVED'), \
         EXISTS (SELECT 1 FROM emails e WHERE e.message_id = g.id AND e.direction = 'OUTGOING') FROM messages g WHERE g.id IN (",
    )
    .list(ids.iter().copied())
    .push(") ORDER BY g.received_at, g.id")
    .rows(conn)?;
    let threads: BTreeSet<i64> = rows.iter().map(|row| row.1).collect();
    let people: Vec<(i64, String)> = sql(
        "SELECT DISTINCT g.thread_id, p.address_key FROM messages g JOIN emails e ON e.message_id = g.id \
         JOIN participants p ON p.email_id = e.id WHERE p.address_key IS NOT NULL AND g.thread_id IN (",
    )
    .list(threads)
    .push(")")
    .rows(conn)?;
    let senders: Vec<(i64, String)> = sql(
        "SELECT e.message_id, p.address_key FROM participants p JOIN emails e ON e.id = p.email_id \
         WHERE p.role = 'FROM' AND p.address_key IS NOT NULL AND e.message_id IN (",
    )
    .list(ids.iter().copied())
    .push(") ORDER BY e.id DESC, p.position DESC")
    .rows(conn)?;
    // The first sender of the oldest copy comes last, and stays.
    let senders: HashMap<i64, String> = senders.into_iter().collect();
    let mut keys: HashMap<i64, Vec<String>> = HashMap::new();
    for (thread, key) in people {
        keys.entry(thread).or_default().push(key);
    }
    let head = |(id, thread, header, subject_base, is_saved, is_outgoing): Row| MessageHead {
        id: MessageId(id),
        thread_id: ThreadId(thread),
        header,
        subject_base,
        sender_key: senders.get(&id).cloned(),
        participant_keys: keys.get(&thread).cloned().unwrap_or_default(),
        is_saved,
        is_outgoing,
    };
    Ok(rows.into_iter().map(head).collect())
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

/// Canonical addresses of everybody in a thread.
///
/// # Errors
/// What the database says.
pub fn participants_of_thread(
    conn: &mut AnyConn,
    thread: ThreadId,
) -> Result<Vec<String>, StoreError> {
    sql("SELECT DISTINCT p.address_key FROM messages g JOIN emails e ON e.message_id = g.id \
         JOIN participants p ON p.email_id = e.id WHERE p.address_key IS NOT NULL AND g.thread_id = ")
    .bind(thread.0)
    .rows(conn)
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

/// Keeps what a delivery report says.
///
/// # Errors
/// What the database says.
pub fn insert_report(
    tx: &mut Tx<'_>,
    message: MessageId,
    original: &str,
    recipient_keys: &[String],
) -> Result<(), StoreError> {
    let rows = recipient_keys
        .iter()
        .map(|key| vec![message.0.into(), original.into(), key.as_str().into()])
        .collect();
    insert_all(
        tx.conn,
        "bounce_reports (message_id, original, recipient_key)",
        " ON CONFLICT (message_id, recipient_key) DO NOTHING",
        rows,
    )
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

/// The reports about the mail with this Message-ID, with whom it didn't reach, at most `limit` lines.
///
/// # Errors
/// What the database says.
pub fn reports_on(
    conn: &mut AnyConn,
    header: &str,
    limit: i64,
) -> Result<Vec<(MessageHead, Vec<String>)>, StoreError> {
    let rows: Vec<(i64, String)> =
        sql("SELECT message_id, recipient_key FROM bounce_reports WHERE original = ")
            .bind(header)
            .push(" ORDER BY message_id, recipient_key LIMIT ")
            .bind(limit)
            .rows(conn)?;
    let mut keys: HashMap<i64, Vec<String>> = HashMap::new();
    for (id, key) in rows {
        keys.entry(id).or_default().push(key);
    }
    let ids: Vec<i64> = keys.keys().copied().collect();
    Ok(heads(conn, &ids)?
        .into_iter()
        .map(|head| {
            let failed = keys.remove(&head.id.0).unwrap_or_default();
            (head, failed)
        })
        .collect())
}
