//! Who works on what: a lease is held until it expires, and its fence rises with every new holder.

use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::Time;

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
    let until = tx.now.plus_seconds(seconds).micros();
    sql("INSERT INTO leases (name, holder, fence, expires_at) VALUES (")
        .bind(name)
        .push(", ")
        .bind(holder)
        .push(", 1, ")
        .bind(until)
        .push(
            ") ON CONFLICT (name) DO UPDATE SET \
             fence = CASE WHEN leases.holder = excluded.holder THEN leases.fence ELSE leases.fence + 1 END, \
             holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE leases.holder = excluded.holder OR leases.expires_at <= ",
        )
        .bind(tx.now.micros())
        .push(" RETURNING fence")
        .one(tx.conn)
}

/// Gives a lease back.
///
/// # Errors
/// What the database says.
pub fn release(tx: &mut Tx<'_>, name: &str, holder: &str) -> Result<(), StoreError> {
    sql("DELETE FROM leases WHERE name = ")
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
        .bind(now.micros())
        .push(" ORDER BY name")
        .rows(conn)
}
