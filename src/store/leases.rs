//! Who works on what: a lease is held until it expires, and its fence rises with every new holder.

use super::dialect::{clock_micros, for_share};
use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::Time;

/// The names of leases under which backups run begin so: while one stands, no raw object is taken away.
pub const BACKUP: &str = "backup:";

/// A lease as its holder knows it: whoever took it over since has a higher number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    pub name: String,
    pub number: i64,
}

/// Takes a lease that is free, expired or one's own; its fence, or `None` while another holds it.
///
/// # Errors
/// What the database says.
pub fn claim(
    tx: &mut Tx<'_>,
    name: &str,
    holder: &str,
    seconds: i64,
) -> Result<Option<i64>, StoreError> {
    // The database's clock alone: those of several machines differ.
    let clock = || clock_micros(tx.conn, tx.now);
    let (until, now) = (clock().push(" + ").bind(micros(seconds)), clock());
    sql("INSERT INTO leases (name, holder, fence, expires_at) VALUES (")
        .bind(name)
        .push(", ")
        .bind(holder)
        .push(", 1, ")
        .then(until)
        .push(
            ") ON CONFLICT (name) DO UPDATE SET \
             fence = CASE WHEN leases.holder = excluded.holder THEN leases.fence ELSE leases.fence + 1 END, \
             holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE leases.holder = excluded.holder OR leases.expires_at <= ",
        )
        .then(now)
        .push(" RETURNING fence")
        .one(tx.conn)
}

const fn micros(seconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000)
}

/// Makes sure that the lease is still held, until the transaction ends: the last thing that a holder's write does
/// before it commits. One who was stopped for longer than the lease finds another fence, and writes nothing; one who
/// is stopped after this keeps others waiting until the database ends his session.
///
/// # Errors
/// `Fenced` where it is held no more.
pub fn hold(tx: &mut Tx<'_>, fence: &Fence) -> Result<(), StoreError> {
    let query = sql("SELECT fence FROM leases WHERE name = ")
        .bind(fence.name.as_str())
        .push(" AND fence = ")
        .bind(fence.number)
        .push(" AND expires_at > ")
        .then(clock_micros(tx.conn, tx.now));
    let held: Option<i64> = for_share(tx.conn, query).one(tx.conn)?;
    held.map(drop)
        .ok_or_else(|| StoreError::Fenced(fence.name.clone()))
}

/// Takes every lease back: where one process is alone, those that stand are of one that ended.
///
/// # Errors
/// What the database says.
pub fn clear(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    // The row stays, so that its fence goes on rising.
    sql("UPDATE leases SET expires_at = 0").run(tx.conn)?;
    Ok(())
}

/// Gives a lease back.
///
/// # Errors
/// What the database says.
pub fn release(tx: &mut Tx<'_>, name: &str, holder: &str) -> Result<(), StoreError> {
    // The row stays, so that its fence goes on rising.
    sql("UPDATE leases SET expires_at = 0 WHERE name = ")
        .bind(name)
        .push(" AND holder = ")
        .bind(holder)
        .run(tx.conn)?;
    Ok(())
}

/// The leases that stand, with their holders.
///
/// # Errors
/// What the database says.
pub fn list(conn: &mut AnyConn, now: Time) -> Result<Vec<(String, String)>, StoreError> {
    sql("SELECT name, holder FROM leases WHERE expires_at > ")
        .then(clock_micros(conn, now))
        .push(" ORDER BY name")
        .rows(conn)
}
