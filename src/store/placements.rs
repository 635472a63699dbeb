//! The ledger of UIDs: each one of a synced folder gets a recorded outcome (R5). What is settled of a folder is derived from it.

use super::sql::{BOUND_MAX, Sql, Value, insert_all, padded_parts, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::mailbox::FolderRole;
use crate::model::{EmailId, FolderId, MailboxId, PlacementId, Time};
use std::collections::HashSet;

/// A UID that the server listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewPlacement {
    pub uid: i64,
    pub size_bytes: i64,
    pub internal_date: Option<Time>,
    pub is_seen: bool,
    /// It was there when the mailbox was connected, or its folder was first listed.
    pub is_backfill: bool,
    /// It lies before the history that was asked for: it is settled without being fetched.
    pub is_old: bool,
}

/// A UID that waits to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPlacement {
    pub id: PlacementId,
    pub folder_id: FolderId,
    pub uid: i64,
    pub size_bytes: i64,
    pub internal_date: Option<Time>,
    pub is_seen: bool,
    pub is_backfill: bool,
    pub tries: i64,
}

/// Takes listed UIDs into the ledger; those that are in it already stay as they are.
///
/// # Errors
/// What the database says.
pub fn insert(
    tx: &mut Tx<'_>,
    (folder, epoch): (FolderId, i64),
    placements: &[NewPlacement],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(placements.len());
    for placement in placements {
        let id = tx.id()?;
        rows.push(vec![
            id.into(),
            folder.0.into(),
            epoch.into(),
            placement.uid.into(),
            if placement.is_old { "OLD" } else { "NEW" }.into(),
            placement.size_bytes.into(),
            placement.internal_date.map(Time::micros).into(),
            placement.is_seen.into(),
            placement.is_backfill.into(),
            Value::I64(0),
        ]);
    }
    insert_all(
        tx.conn,
        "placements (id, folder_id, epoch, uid, state, size_bytes, internal_date, is_seen, is_backfill, tries)",
        " ON CONFLICT (folder_id, epoch, uid) DO NOTHING",
        rows,
    )
}

/// UIDs of a folder that wait, oldest first, whose time to be tried has come.
///
/// # Errors
/// What the database says.
pub fn list_open(
    conn: &mut AnyConn,
    (folder, epoch): (FolderId, i64),
    now: Time,
    limit: i64,
) -> Result<Vec<OpenPlacement>, StoreError> {
    let query = open(folder, epoch)
        .push(" AND (next_try_at IS NULL OR next_try_at <= ")
        .bind(now.micros())
        .push(") ORDER BY uid LIMIT ")
        .bind(limit);
    Ok(query.rows(conn)?.into_iter().map(open_line).collect())
}

/// UIDs of a folder that wait, from one on.
///
/// # Errors
/// What the database says.
pub fn list_from(
    conn: &mut AnyConn,
    (folder, epoch): (FolderId, i64),
    first_uid: i64,
    limit: i64,
) -> Result<Vec<OpenPlacement>, StoreError> {
    let query = open(folder, epoch)
        .push(" AND uid >= ")
        .bind(first_uid)
        .push(" ORDER BY uid LIMIT ")
        .bind(limit);
    Ok(query.rows(conn)?.into_iter().map(open_line).collect())
}

type OpenRow = (i64, i64, i64, i64, Option<i64>, bool, bool, i64);

fn open(folder: FolderId, epoch: i64) -> Sql {
    sql(
        "SELECT id, folder_id, uid, size_bytes, internal_date, is_seen, is_backfill, tries FROM placements \
         WHERE state = 'NEW' AND folder_id = ",
    )
    .bind(folder.0)
    .push(" AND epoch = ")
    .bind(epoch)
}

/// A line that waits, of its columns.
pub(super) fn open_line(row: OpenRow) -> OpenPlacement {
    let (id, folder, uid, size_bytes, internal_date, is_seen, is_backfill, tries) = row;
    OpenPlacement {
        id: PlacementId(id),
        folder_id: FolderId(folder),
        uid,
        size_bytes,
        internal_date: internal_date.map(Time::from_micros),
        is_seen,
        is_backfill,
        tries,
    }
}

/// Which of these UIDs still wait, locked until the transaction ends: a mail that another worker stored is not
/// stored twice.
///
/// # Errors
/// What the database says.
pub fn lock_open(tx: &mut Tx<'_>, ids: &[PlacementId]) -> Result<HashSet<PlacementId>, StoreError> {
    let mut open = HashSet::with_capacity(ids.len());
    for part in ids.chunks(BOUND_MAX) {
        let query = sql("SELECT id FROM placements WHERE state = 'NEW' AND id IN (")
            .any_of(part.iter().map(|id| id.0))
            .push(") ORDER BY id");
        let found: Vec<i64> = super::dialect::for_update(tx.conn, query).rows(tx.conn)?;
        open.extend(found.into_iter().map(PlacementId));
    }
    Ok(open)
}

/// These mails are stored, as these emails, which are written before.
///
/// # Errors
/// What the database says.
pub fn update_stored(
    tx: &mut Tx<'_>,
    stored: Vec<(PlacementId, EmailId)>,
) -> Result<(), StoreError> {
    for part in padded_parts(stored) {
        sql("WITH stored (id, email_id) AS (VALUES ")
            .tuples(part.into_iter().map(|(id, email)| [id.0, email.0]))
            .push(
                ") UPDATE placements SET state = 'STORED', error = NULL, email_id = stored.email_id FROM stored \
                 WHERE placements.id = stored.id",
            )
            .run(tx.conn)?;
    }
    Ok(())
}

/// The mail can't be taken in: it is kept in quarantine with the reason, and its bytes where they are known.
///
/// # Errors
/// What the database says.
pub fn update_failed(
    tx: &mut Tx<'_>,
    id: PlacementId,
    error: &str,
    raw_hash: Option<Vec<u8>>,
) -> Result<(), StoreError> {
    sql("UPDATE placements SET state = 'FAILED', tries = tries + 1, error = ")
        .bind(error)
        .push(", raw_hash = COALESCE(")
        .bind(raw_hash)
        .push(", raw_hash), failed_at = COALESCE(failed_at, ")
        .bind(tx.now.micros())
        .push(") WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// A mail in quarantine waits to be tried again; when it was first set aside, and how often it was tried, stays.
///
/// # Errors
/// What the database says.
pub fn update_retried(tx: &mut Tx<'_>, id: PlacementId) -> Result<(), StoreError> {
    sql("UPDATE placements SET state = 'NEW', next_try_at = NULL WHERE state = 'FAILED' AND id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// The server no longer has it, and it was never fetched.
///
/// # Errors
/// What the database says.
pub fn update_gone(tx: &mut Tx<'_>, id: PlacementId) -> Result<(), StoreError> {
    sql("UPDATE placements SET state = 'GONE', gone_at = ")
        .bind(tx.now.micros())
        .push(" WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// It was asked for and did not come: it waits until `next_try_at`.
///
/// # Errors
/// What the database says.
pub fn update_tried(tx: &mut Tx<'_>, id: PlacementId, next_try_at: Time) -> Result<(), StoreError> {
    sql("UPDATE placements SET tries = tries + 1, next_try_at = ")
        .bind(next_try_at.micros())
        .push(" WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// The next UID of a folder that was filled by `import`.
///
/// # Errors
/// What the database says.
pub fn next_uid(conn: &mut AnyConn, folder: FolderId) -> Result<i64, StoreError> {
    let last: Option<Option<i64>> = sql("SELECT MAX(uid) FROM placements WHERE folder_id = ")
        .bind(folder.0)
        .one(conn)?;
    Ok(last.flatten().unwrap_or(0) + 1)
}

/// How many UIDs of a mailbox's present epochs are in each state.
///
/// # Errors
/// What the database says.
pub fn count_by_state(
    conn: &mut AnyConn,
    mailbox: MailboxId,
) -> Result<Vec<(String, i64)>, StoreError> {
    sql("SELECT p.state, COUNT(*) FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
         WHERE f.mailbox_id = ")
    .bind(mailbox.0)
    .push(" GROUP BY p.state ORDER BY p.state")
    .rows(conn)
}

/// Keeps what a mail's labels say, where labels stand for folders.
///
/// # Errors
/// What the database says.
pub fn update_labels(
    tx: &mut Tx<'_>,
    id: PlacementId,
    labels: &[FolderRole],
) -> Result<(), StoreError> {
    let words: Vec<&str> = labels.iter().map(|role| role.as_text()).collect();
    sql("UPDATE placements SET labels = ")
        .bind(words.join(","))
        .push(" WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// What kept labels say; words of other versions are left out.
pub(super) fn labels(words: Option<&str>) -> Vec<FolderRole> {
    let words = words.unwrap_or_default().split(',');
    words.filter_map(FolderRole::from_text).collect()
}

/// Where a mail lies now: its folder, whether somebody has read it there, and whether the backfill found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub folder_id: FolderId,
    pub is_seen: bool,
    pub is_backfill: bool,
    /// What its labels say, where labels stand for folders.
    pub labels: Vec<FolderRole>,
}

/// The places of an email, oldest first; those where it is no more, and is held only, where there are no others.
///
/// # Errors
/// What the database says.
pub fn places(conn: &mut AnyConn, email: EmailId) -> Result<Vec<Place>, StoreError> {
    let rows: Vec<(i64, bool, bool, Option<String>, bool)> = sql(
        "SELECT p.folder_id, p.is_seen, p.is_backfill, p.labels, p.gone_at IS NULL FROM placements p JOIN folders f ON f.id = p.folder_id \
         AND f.epoch = p.epoch WHERE p.state = 'STORED' AND p.email_id = ",
    )
    .bind(email.0)
    .push(" ORDER BY p.id")
    .rows(conn)?;
    let is_anywhere = rows.iter().any(|(.., is_there)| *is_there);
    Ok(rows
        .into_iter()
        .filter(|(.., is_there)| *is_there || !is_anywhere)
        .map(|(folder, is_seen, is_backfill, words, _is_there)| Place {
            labels: labels(words.as_deref()),
            folder_id: FolderId(folder),
            is_seen,
            is_backfill,
        })
        .collect())
}
