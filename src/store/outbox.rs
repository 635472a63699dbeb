//! What was committed and has to be told outside: topics to wake, by position.

use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::timeline::Position;

/// The topics of the rows behind a position, at most `limit` rows, and the last position among them.
///
/// # Errors
/// What the database says.
pub fn list_after(
    conn: &mut AnyConn,
    after: Position,
    limit: i64,
) -> Result<Option<(Position, Vec<String>)>, StoreError> {
    let rows: Vec<(i64, String)> = sql("SELECT position, topics FROM outbox WHERE position > ")
        .bind(after.0)
        .push(" ORDER BY position LIMIT ")
        .bind(limit)
        .rows(conn)?;
    let Some((last, _topics)) = rows.last() else {
        return Ok(None);
    };
    let last = Position(*last);
    let mut topics = Vec::new();
    for (position, text) in &rows {
        let more: Vec<String> =
            serde_json::from_str(text).map_err(|_error| StoreError::Corrupt {
                table: "outbox",
                column: "topics",
                row: *position,
            })?;
        topics.extend(more);
    }
    topics.sort_unstable();
    topics.dedup();
    Ok(Some((last, topics)))
}

/// Forgets the rows up to a position, once they were published.
///
/// # Errors
/// What the database says.
pub fn delete_until(tx: &mut Tx<'_>, until: Position) -> Result<(), StoreError> {
    sql("DELETE FROM outbox WHERE position <= ")
        .bind(until.0)
        .run(tx.conn)?;
    Ok(())
}
