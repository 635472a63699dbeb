//! What becomes of UIDs that are in the ledger: flags, expunges, moves, epochs, the window of history.
//! Not for: taking them in and settling them (that is `placements`).

use super::placements::{OpenPlacement, open_line};
use super::sql::{BOUND_MAX, Sql, padded_parts, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::{EmailId, FolderId, MailboxId, PlacementId, Time};
use std::collections::HashSet;

/// A folder's epoch.
pub type Place = (FolderId, i64);

/// A UID that the ledger takes to be on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivePlacement {
    pub id: PlacementId,
    pub uid: i64,
    pub is_seen: bool,
}

/// Which mails are fetched next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Those that came after the mailbox was connected.
    Arrived,
    /// Those that were there before.
    Before,
}

/// The UIDs of a mailbox's synced folders that wait, in the order in which their mails were received, whose time to be
/// tried has come.
///
/// # Errors
/// What the database says.
pub fn list_waiting(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    which: Waiting,
    now: Time,
    limit: i64,
) -> Result<Vec<OpenPlacement>, StoreError> {
    let query = sql(
        "SELECT p.id, p.folder_id, p.uid, p.size_bytes, p.internal_date, p.is_seen, p.is_backfill, p.tries FROM placements p \
         JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch WHERE p.state = 'NEW' AND f.is_synced AND NOT f.is_gone \
         AND f.mailbox_id = ",
    )
    .bind(mailbox.0)
    .push(match which {
        Waiting::Arrived => " AND NOT p.is_backfill",
        Waiting::Before => " AND p.is_backfill",
    })
    .push(" AND (p.next_try_at IS NULL OR p.next_try_at <= ")
    .bind(now.micros())
    .push(") ORDER BY COALESCE(p.internal_date, 0), p.folder_id, p.uid LIMIT ")
    .bind(limit);
    Ok(query.rows(conn)?.into_iter().map(open_line).collect())
}

/// When the next UID of a mailbox that waits for its time may be tried; `None`: none waits for one to come.
///
/// # Errors
/// What the database says.
pub fn next_try(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    now: Time,
) -> Result<Option<Time>, StoreError> {
    let found: Option<Option<i64>> = sql(
        "SELECT MIN(p.next_try_at) FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
         WHERE p.state = 'NEW' AND f.is_synced AND NOT f.is_gone AND f.mailbox_id = ",
    )
    .bind(mailbox.0)
    .push(" AND p.next_try_at > ")
    .bind(now.micros())
    .one(conn)?;
    Ok(found.flatten().map(Time::from_micros))
}

fn live(select: &'static str, (folder, epoch): Place) -> Sql {
    sql(select)
        .push(" FROM placements WHERE folder_id = ")
        .bind(folder.0)
        .push(" AND epoch = ")
        .bind(epoch)
        .push(" AND gone_at IS NULL AND state <> 'GONE'")
}

fn live_line((id, uid, is_seen): (i64, i64, bool)) -> LivePlacement {
    LivePlacement {
        id: PlacementId(id),
        uid,
        is_seen,
    }
}

/// Every UID of a folder that is taken to be on the server, rising.
///
/// # Errors
/// What the database says.
pub fn list_live(conn: &mut AnyConn, place: Place) -> Result<Vec<LivePlacement>, StoreError> {
    let query = live("SELECT id, uid, is_seen", place).push(" ORDER BY uid");
    Ok(query.rows(conn)?.into_iter().map(live_line).collect())
}

/// How many UIDs of a folder are taken to be on the server.
///
/// # Errors
/// What the database says.
pub fn count_live(conn: &mut AnyConn, place: Place) -> Result<i64, StoreError> {
    let (folder, epoch) = place;
    let count: Option<i64> = sql("SELECT (SELECT COUNT(*) FROM placements WHERE folder_id = ")
        .bind(folder.0)
        .push(" AND epoch = ")
        .bind(epoch)
        .push(") - (SELECT COUNT(*) FROM placements WHERE (gone_at IS NOT NULL OR state = 'GONE') AND folder_id = ")
        .bind(folder.0)
        .push(" AND epoch = ")
        .bind(epoch)
        .push(")")
        .one(conn)?;
    Ok(count.unwrap_or(0))
}

/// Those of these UIDs that are taken to be on the server, rising.
///
/// # Errors
/// What the database says.
pub fn list_live_among(
    conn: &mut AnyConn,
    place: Place,
    uids: &[i64],
) -> Result<Vec<LivePlacement>, StoreError> {
    let mut found = Vec::new();
    for part in uids.chunks(BOUND_MAX) {
        let query = live("SELECT id, uid, is_seen", place)
            .push(" AND uid IN (")
            .any_of(part.iter().copied())
            .push(")");
        found.extend(query.rows(conn)?.into_iter().map(live_line));
    }
    found.sort_unstable_by_key(|line: &LivePlacement| line.uid);
    found.dedup();
    Ok(found)
}

/// Every UID of a folder that the ledger knows of, with whether it is taken to be on the server.
///
/// # Errors
/// What the database says.
pub fn list_all(
    conn: &mut AnyConn,
    (folder, epoch): Place,
) -> Result<Vec<(PlacementId, i64, bool)>, StoreError> {
    let rows: Vec<(i64, i64, bool)> = sql(
        "SELECT id, uid, (gone_at IS NULL AND state <> 'GONE') FROM placements WHERE folder_id = ",
    )
    .bind(folder.0)
    .push(" AND epoch = ")
    .bind(epoch)
    .push(" ORDER BY uid")
    .rows(conn)?;
    Ok(rows
        .into_iter()
        .map(|(id, uid, is_live)| (PlacementId(id), uid, is_live))
        .collect())
}

/// Writes whether mails are read on the server; how many changed.
///
/// # Errors
/// What the database says.
pub fn update_seen(
    tx: &mut Tx<'_>,
    (folder, epoch): Place,
    seen: Vec<(i64, bool)>,
) -> Result<usize, StoreError> {
    let mut changed = 0;
    for part in padded_parts(seen) {
        changed += sql("WITH told (uid, seen) AS (VALUES ")
            .tuples(part.into_iter().map(|(uid, seen)| [uid, i64::from(seen)]))
            .push(
                ") UPDATE placements SET is_seen = (told.seen = 1) FROM told WHERE placements.uid = told.uid \
                 AND placements.is_seen <> (told.seen = 1) AND placements.folder_id = ",
            )
            .bind(folder.0)
            .push(" AND placements.epoch = ")
            .bind(epoch)
            .run(tx.conn)?;
    }
    Ok(changed)
}

/// The server no longer has these. What is stored is held for a while, since it may turn up in another folder, and what
/// is in quarantine stays there where its bytes are kept; everything else is settled.
///
/// # Errors
/// What the database says.
pub fn update_vanished(tx: &mut Tx<'_>, ids: &[PlacementId]) -> Result<(), StoreError> {
    for part in ids.chunks(BOUND_MAX) {
        sql("UPDATE placements SET gone_at = ")
            .bind(tx.now.micros())
            .push(
                ", state = CASE WHEN state = 'STORED' OR (state = 'FAILED' AND raw_hash IS NOT NULL) THEN state ELSE 'GONE' END \
                 WHERE gone_at IS NULL AND state <> 'GONE' AND id IN (",
            )
            .any_of(part.iter().map(|id| id.0))
            .push(")")
            .run(tx.conn)?;
    }
    Ok(())
}

/// The server has these after all. What was never taken in waits to be fetched.
///
/// # Errors
/// What the database says.
pub fn update_returned(tx: &mut Tx<'_>, ids: &[PlacementId]) -> Result<(), StoreError> {
    for part in ids.chunks(BOUND_MAX) {
        sql(
            "UPDATE placements SET gone_at = NULL, next_try_at = NULL, state = CASE WHEN state <> 'GONE' THEN state \
             WHEN email_id IS NULL THEN 'NEW' ELSE 'STORED' END WHERE id IN (",
        )
        .any_of(part.iter().map(|id| id.0))
        .push(")")
        .run(tx.conn)?;
    }
    Ok(())
}

/// Whether anything of a mailbox is held that is gone from its folder.
///
/// # Errors
/// What the database says.
pub fn has_held(conn: &mut AnyConn, mailbox: MailboxId) -> Result<bool, StoreError> {
    let found: Option<i64> = sql(
        "SELECT p.id FROM placements p JOIN folders f ON f.id = p.folder_id WHERE p.gone_at IS NOT NULL \
         AND p.state = 'STORED' AND f.mailbox_id = ",
    )
    .bind(mailbox.0)
    .push(" LIMIT 1")
    .one(conn)?;
    Ok(found.is_some())
}

/// Settles what is held: what lies in another folder by now was moved, and what has been gone since `before` is gone.
/// How many were settled.
///
/// # Errors
/// What the database says.
pub fn settle_held(tx: &mut Tx<'_>, mailbox: MailboxId, before: Time) -> Result<usize, StoreError> {
    sql(
        "UPDATE placements SET state = 'GONE' WHERE state = 'STORED' AND gone_at IS NOT NULL \
         AND folder_id IN (SELECT id FROM folders WHERE mailbox_id = ",
    )
    .bind(mailbox.0)
    .push(") AND (gone_at <= ")
    .bind(before.micros())
    .push(
        " OR EXISTS (SELECT 1 FROM placements o JOIN folders f ON f.id = o.folder_id AND f.epoch = o.epoch \
         WHERE o.email_id = placements.email_id AND o.id <> placements.id AND o.state = 'STORED' AND o.gone_at IS NULL))",
    )
    .run(tx.conn)
}

/// Whether the ledger still has lines of epochs of a folder that have passed, but for quarantine.
///
/// # Errors
/// What the database says.
pub fn has_older(conn: &mut AnyConn, place: Place) -> Result<bool, StoreError> {
    let found: Option<i64> = older("SELECT id FROM placements", place)
        .push(" LIMIT 1")
        .one(conn)?;
    Ok(found.is_some())
}

/// Takes the lines of passed epochs out of the ledger, but for quarantine with kept bytes: their UIDs say nothing any more.
///
/// # Errors
/// What the database says.
pub fn delete_older(tx: &mut Tx<'_>, place: Place) -> Result<(), StoreError> {
    older("DELETE FROM placements", place).run(tx.conn)?;
    Ok(())
}

fn older(what: &'static str, (folder, epoch): Place) -> Sql {
    sql(what)
        .push(" WHERE folder_id = ")
        .bind(folder.0)
        .push(" AND epoch < ")
        .bind(epoch)
        .push(" AND NOT (state = 'FAILED' AND raw_hash IS NOT NULL)")
}

/// A mail of a passed epoch, as its headers tell it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownMail {
    pub email_id: EmailId,
    pub message_id: String,
    pub size_bytes: i64,
    pub from_address: Option<String>,
    pub subject: String,
}

/// The mails of a folder's passed epochs with these Message-IDs, each once.
///
/// # Errors
/// What the database says.
pub fn list_known(
    conn: &mut AnyConn,
    (folder, epoch): Place,
    message_ids: &[String],
) -> Result<Vec<KnownMail>, StoreError> {
    type Row = (i64, String, i64, Option<String>, String);
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for part in message_ids.chunks(BOUND_MAX) {
        let rows: Vec<Row> = sql(
            "SELECT e.id, m.message_id_header, p.size_bytes, e.from_address, e.subject FROM messages m \
             JOIN emails e ON e.message_id = m.id JOIN placements p ON p.email_id = e.id \
             WHERE p.state = 'STORED' AND p.folder_id = ",
        )
        .bind(folder.0)
        .push(" AND p.epoch < ")
        .bind(epoch)
        .push(" AND m.message_id_header IN (")
        .any_of(part.iter().cloned())
        .push(")")
        .rows(conn)?;
        for (email, message_id, size_bytes, from_address, subject) in rows {
            if seen.insert((email, size_bytes)) {
                found.push(KnownMail {
                    email_id: EmailId(email),
                    message_id,
                    size_bytes,
                    from_address,
                    subject,
                });
            }
        }
    }
    Ok(found)
}

/// Puts a new window of history in force: what waits and lies before it is left alone, what was left alone and lies in it
/// waits. How many lines changed.
///
/// # Errors
/// What the database says.
pub fn update_window(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    since: Option<Time>,
) -> Result<usize, StoreError> {
    let of_mailbox = |query: Sql| {
        query
            .push(" AND folder_id IN (SELECT id FROM folders WHERE mailbox_id = ")
            .bind(mailbox.0)
            .push(")")
    };
    let mut changed = 0;
    let mut opened = sql(
        "UPDATE placements SET state = 'NEW', next_try_at = NULL WHERE state = 'OLD' AND gone_at IS NULL",
    );
    if let Some(since) = since {
        let closed = sql(
            "UPDATE placements SET state = 'OLD' WHERE state = 'NEW' AND is_backfill AND internal_date < ",
        )
        .bind(since.micros());
        changed += of_mailbox(closed).run(tx.conn)?;
        opened = opened
            .push(" AND (internal_date IS NULL OR internal_date >= ")
            .bind(since.micros())
            .push(")");
    }
    changed += of_mailbox(opened).run(tx.conn)?;
    Ok(changed)
}
