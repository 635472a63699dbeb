//! The audit log: who changed rights, settings, sharing and secrets, and failed log-ins. Each row holds the hash of the
//! one before, so that a changed or missing row shows.
//! Not for: what happens to items and mail (the timeline and the link history tell that), or for debugging.

use super::dialect::lock_keys;
use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::UserId;

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
