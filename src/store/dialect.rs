//! What differs between the databases: locks, and text comparison without case.

pub mod full_text;

use super::db::AnyConn;
use super::sql::{Sql, padded_parts, sql};
use super::{StoreError, Tx};
use crate::model::Time;
use diesel::connection::SimpleConnection as _;

/// Locks these texts (addresses of clients, say) until the end of the transaction. The caller sorts nothing:
/// they are locked in one order here, so that two writers never wait for each other. SQLite has one writer and needs none.
///
/// # Errors
/// What the database says.
pub fn lock_keys(tx: &mut Tx<'_>, space: i64, keys: &[String]) -> Result<(), StoreError> {
    if matches!(tx.conn, AnyConn::Sqlite(_)) {
        return Ok(());
    }
    let mut numbers: Vec<i64> = keys
        .iter()
        .map(|key| {
            let hash = blake3::hash(key.as_bytes());
            let mut first = [0; 8];
            first.copy_from_slice(hash.as_bytes().first_chunk::<8>().unwrap_or(&[0; 8]));
            i64::from_le_bytes(first) ^ space
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    for part in padded_parts(numbers) {
        // The values are locked in the order in which they stand.
        sql("SELECT count(*) FROM (SELECT pg_advisory_xact_lock(key) FROM (VALUES ")
            .tuples(part.into_iter().map(|number| [number]))
            .push(") AS keys (key)) AS locked")
            .one::<i64>(tx.conn)?;
    }
    Ok(())
}

/// Has PostgreSQL look up by indexes in this transaction, and plan each statement for what it is given: a batch looks
/// hundreds of rows up by their keys, and statements join tables in the order in which that goes. While many mails come in,
/// the tables are larger than PostgreSQL knows, and it would read them whole, or keep to a plan that was good when they
/// were empty.
///
/// # Errors
/// What the database says.
pub fn plan_by_keys(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    on_postgresql(
        tx,
        "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
         SET LOCAL join_collapse_limit = 1; SET LOCAL plan_cache_mode = force_custom_plan;",
    )
}

/// Has it keep its plans again: what checks the foreign keys of each row that is written is planned once.
///
/// # Errors
/// What the database says.
pub fn keep_plans(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    on_postgresql(tx, "SET LOCAL plan_cache_mode TO DEFAULT;")
}

fn on_postgresql(tx: &mut Tx<'_>, text: &str) -> Result<(), StoreError> {
    if let AnyConn::Pg(conn) = tx.conn {
        conn.batch_execute(text)?;
    }
    Ok(())
}

/// The condition that a column has one of the values that a select gives, which are few. PostgreSQL looks each of them up:
/// it would read a table whole where it takes them for more than they are.
pub fn one_of(conn: &AnyConn, column: &'static str, few: Sql) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => sql(column).push(" IN (").then(few).push(")"),
        AnyConn::Pg(_) => sql(column).push(" = ANY(ARRAY(").then(few).push("))"),
    }
}

/// Takes the lock that says "one process alone", held until the connection closes. SQLite's file lock says it already.
///
/// # Errors
/// What the database says.
pub fn try_hold(conn: &mut AnyConn) -> Result<bool, StoreError> {
    if matches!(conn, AnyConn::Sqlite(_)) {
        return Ok(true);
    }
    let held: Option<bool> = sql("SELECT pg_try_advisory_lock(7262739)").one(conn)?;
    Ok(held.unwrap_or(false))
}

/// Locks a row that this query selects until the end of the transaction.
pub fn for_update(conn: &AnyConn, query: Sql) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => query,
        AnyConn::Pg(_) => query.push(" FOR UPDATE"),
    }
}

/// Locks rows of this table that a query selects, and leaves out those that another has locked: for jobs.
pub fn for_update_skipping(conn: &AnyConn, query: Sql, alias: &'static str) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => query,
        AnyConn::Pg(_) => query
            .push(" FOR UPDATE OF ")
            .push(alias)
            .push(" SKIP LOCKED"),
    }
}

/// Keeps a row that this query selects from being deleted, or locked for it, until the end of the transaction.
pub fn for_key_share(conn: &AnyConn, query: Sql) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => query,
        AnyConn::Pg(_) => query.push(" FOR KEY SHARE"),
    }
}

/// The same for the rows of one of the tables that a query names.
pub fn for_key_share_of(conn: &AnyConn, query: Sql, alias: &'static str) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => query,
        AnyConn::Pg(_) => query.push(" FOR KEY SHARE OF ").push(alias),
    }
}

/// Locks a row that this query selects against changes, until the end of the transaction.
pub fn for_share(conn: &AnyConn, query: Sql) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => query,
        AnyConn::Pg(_) => query.push(" FOR SHARE"),
    }
}

/// The database's own clock, in microseconds since 1970, as it runs also within a transaction. SQLite has one process,
/// whose clock it is.
pub fn clock_micros(conn: &AnyConn, now: Time) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => sql("").bind(now.micros()),
        AnyConn::Pg(_) => sql("(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"),
    }
}

/// `column LIKE '%text%'` without regard to case (ASCII on SQLite); `%`, `_` and `\` in the text stand for themselves.
pub fn contains(conn: &AnyConn, column: &'static str, text: &str) -> Sql {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    let operator = match conn {
        AnyConn::Sqlite(_) => " LIKE ",
        AnyConn::Pg(_) => " ILIKE ",
    };
    sql(column)
        .push(operator)
        .bind(format!("%{escaped}%"))
        .push(" ESCAPE '\\'")
}
