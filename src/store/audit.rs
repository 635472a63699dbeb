//! The audit log: who changed rights, settings, sharing, secrets, links and stages, who deleted, exported and looked at
//! rights, and failed log-ins. Rows are only ever added: the database refuses anything else, and each row holds the hash
//! of the one before, so that a changed or missing row shows.
//! Not for: what else happens to items and mail (the timeline tells that), or for debugging.

use super::dialect::lock_keys;
use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::{AuditId, Time, UserId};

/// The lock space of the log: one writer at a time appends.
const LOG_LOCK: i64 = 0x6175_6469_7400;

/// The hash that the first row holds as the one before it.
const FIRST: [u8; 32] = [0; 32];

/// Appends a row. `target` names the thing by its kind and number (`role 7`); `detail` holds what changed, by ids and
/// words, never an address, a secret or any part of a mail.
///
/// Call it as the last step of an action: it holds the log's lock until the commit.
///
/// # Errors
/// What the database says.
pub fn record(
    tx: &mut Tx<'_>,
    actor: Option<UserId>,
    action: &str,
    target: &str,
    detail: &serde_json::Value,
) -> Result<(), StoreError> {
    lock_keys(tx, LOG_LOCK, &["log".to_owned()])?;
    let last: Option<(i64, Vec<u8>)> =
        sql("SELECT id, hash FROM audit_log ORDER BY id DESC LIMIT 1").one(tx.conn)?;
    // Its own numbers, without gaps: the ids of blocks don't follow the order of commits.
    let (last_id, previous) = last.unwrap_or_else(|| (0, FIRST.to_vec()));
    let row = Entry {
        id: last_id + 1,
        at: tx.now.micros(),
        actor: actor.map(|id| id.0),
        action: action.to_owned(),
        target: target.to_owned(),
        detail: detail.to_string(),
    };
    let hash = row.hash(&previous);
    sql("INSERT INTO audit_log (id, at, actor_id, action, target, detail, previous_hash, hash) VALUES (")
        .bind(row.id)
        .push(", ")
        .bind(row.at)
        .push(", ")
        .bind(row.actor)
        .push(", ")
        .bind(row.action)
        .push(", ")
        .bind(row.target)
        .push(", ")
        .bind(row.detail)
        .push(", ")
        .bind(previous)
        .push(", ")
        .bind(hash.to_vec())
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// How many such rows there are since a moment.
///
/// # Errors
/// What the database says.
pub fn count_since(
    conn: &mut AnyConn,
    (action, target): (&str, &str),
    since: Time,
) -> Result<i64, StoreError> {
    let count: Option<i64> = sql("SELECT COUNT(*) FROM audit_log WHERE target = ")
        .bind(target)
        .push(" AND action = ")
        .bind(action)
        .push(" AND at > ")
        .bind(since.micros())
        .one(conn)?;
    Ok(count.unwrap_or(0))
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct AuditRow {
    pub id: AuditId,
    pub at: Time,
    /// `None`: nobody who is signed in, or the operator.
    pub actor_id: Option<UserId>,
    pub action: String,
    pub target: String,
    /// JSON.
    pub detail: String,
}

/// What the log can be narrowed by; everything given must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub actor_id: Option<UserId>,
    pub action: Option<String>,
    pub target: Option<String>,
    pub since: Option<Time>,
    pub before: Option<Time>,
}

fn filtered(select: &'static str, filter: &AuditFilter) -> Sql {
    let mut query = sql(select).push(" WHERE TRUE");
    if let Some(actor) = filter.actor_id {
        query = query.push(" AND actor_id = ").bind(actor.0);
    }
    if let Some(action) = &filter.action {
        query = query.push(" AND action = ").bind(action.as_str());
    }
    if let Some(target) = &filter.target {
        query = query.push(" AND target = ").bind(target.as_str());
    }
    if let Some(since) = filter.since {
        query = query.push(" AND at >= ").bind(since.micros());
    }
    if let Some(before) = filter.before {
        query = query.push(" AND at < ").bind(before.micros());
    }
    query
}

type ListedRow = (i64, i64, Option<i64>, String, String, String);

const COLUMNS: &str = "SELECT id, at, actor_id, action, target, detail FROM audit_log";

fn row((id, at, actor, action, target, detail): ListedRow) -> AuditRow {
    AuditRow {
        id: AuditId(id),
        at: Time::from_micros(at),
        actor_id: actor.map(UserId),
        action,
        target,
        detail,
    }
}

/// A page of the log, newest first. Who may read it is the caller's question.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<Page<AuditRow>, StoreError> {
    let order = Order {
        columns: &["id"],
        descending: true,
    };
    let rows: Vec<ListedRow> = page.finish(filtered(COLUMNS, filter), order).rows(conn)?;
    let rows = rows
        .into_iter()
        .map(row)
        .map(|row| (vec![KeyPart::Number(row.id.0)], row));
    Ok(page.page(rows.collect()))
}

/// How many lines such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    filter: &AuditFilter,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    count_up_to(conn, filtered("SELECT id FROM audit_log", filter), limit)
}

/// One line of the log.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: AuditId) -> Result<Option<AuditRow>, StoreError> {
    let found: Option<ListedRow> = sql(COLUMNS).push(" WHERE id = ").bind(id.0).one(conn)?;
    Ok(found.map(row))
}

/// How many lines there are, and the last one's hash as hexadecimal digits: an operator who keeps them elsewhere notices
/// lines that are cut off at the end, which no chain shows.
///
/// # Errors
/// What the database says.
pub fn end(conn: &mut AnyConn) -> Result<(i64, String), StoreError> {
    let last: Option<(i64, Vec<u8>)> =
        sql("SELECT id, hash FROM audit_log ORDER BY id DESC LIMIT 1").one(conn)?;
    let (id, hash) = last.unwrap_or_else(|| (0, FIRST.to_vec()));
    let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((id, hash))
}

/// How many rows are checked at a time.
const CHECKED_AT_ONCE: i64 = 500;

/// Follows the chain; the number of the first row that does not fit, or `None` where all do.
///
/// # Errors
/// What the database says.
pub fn first_broken(conn: &mut AnyConn) -> Result<Option<i64>, StoreError> {
    type Row = (
        i64,
        i64,
        Option<i64>,
        String,
        String,
        String,
        Vec<u8>,
        Vec<u8>,
    );
    let (mut last_id, mut previous) = (0_i64, FIRST.to_vec());
    loop {
        let rows: Vec<Row> = sql(
            "SELECT id, at, actor_id, action, target, detail, previous_hash, hash FROM audit_log WHERE id > ",
        )
        .bind(last_id)
        .push(" ORDER BY id LIMIT ")
        .bind(CHECKED_AT_ONCE)
        .rows(conn)?;
        if rows.is_empty() {
            return Ok(None);
        }
        for (id, at, actor, action, target, detail, held, hash) in rows {
            let entry = Entry {
                id,
                at,
                actor,
                action,
                target,
                detail,
            };
            let fits =
                id == last_id + 1 && held == previous && entry.hash(&previous).as_slice() == hash;
            if !fits {
                return Ok(Some(id));
            }
            (last_id, previous) = (id, hash);
        }
    }
}

struct Entry {
    id: i64,
    at: i64,
    actor: Option<i64>,
    action: String,
    target: String,
    detail: String,
}

impl Entry {
    /// Over every column with its length, so that no two rows read alike.
    fn hash(&self, previous: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(previous);
        hasher.update(&self.id.to_le_bytes());
        hasher.update(&self.at.to_le_bytes());
        hasher.update(&[u8::from(self.actor.is_some())]);
        hasher.update(&self.actor.unwrap_or(0).to_le_bytes());
        for text in [&self.action, &self.target, &self.detail] {
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            hasher.update(&length.to_le_bytes());
            hasher.update(text.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}
