//! Keys by which a caller makes a change once, however often they ask. Only ids are kept of the answer.

use super::sql::{insert_row, sql};
use super::{StoreError, Tx};
use crate::model::{Time, UserId};

/// What was done under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub input_hash: Vec<u8>,
    pub result: Vec<i64>,
}

/// What this user did with this mutation under this key.
///
/// # Errors
/// `Corrupt` where the stored ids can't be read; else what the database says.
pub fn find(
    tx: &mut Tx<'_>,
    user: UserId,
    mutation: &str,
    key: &str,
) -> Result<Option<Done>, StoreError> {
    let row: Option<(Vec<u8>, String)> =
        sql("SELECT input_hash, result FROM idempotency_keys WHERE user_id = ")
            .bind(user.0)
            .push(" AND mutation = ")
            .bind(mutation)
            .push(" AND idempotency_key = ")
            .bind(key)
            .one(tx.conn)?;
    row.map(|(input_hash, text)| {
        let result = serde_json::from_str(&text).map_err(|_error| StoreError::Corrupt {
            table: "idempotency_keys",
            column: "result",
            row: user.0,
        })?;
        Ok(Done { input_hash, result })
    })
    .transpose()
}

/// Keeps what was done under a key.
///
/// # Errors
/// `Conflict` where there is something under that key.
pub fn insert_done(
    tx: &mut Tx<'_>,
    user: UserId,
    mutation: &str,
    key: &str,
    done: &Done,
) -> Result<(), StoreError> {
    let result = serde_json::to_string(&done.result)
        .map_err(|error| StoreError::Database(error.to_string()))?;
    insert_row(
        "idempotency_keys",
        vec![
            ("user_id", user.0.into()),
            ("mutation", mutation.into()),
            ("idempotency_key", key.into()),
            ("input_hash", done.input_hash.clone().into()),
            ("result", result.into()),
            ("created_at", tx.now.micros().into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Forgets this user's keys that are older than `before`.
///
/// # Errors
/// What the database says.
pub fn forget_older(tx: &mut Tx<'_>, user: UserId, before: Time) -> Result<(), StoreError> {
    sql("DELETE FROM idempotency_keys WHERE user_id = ")
        .bind(user.0)
        .push(" AND created_at < ")
        .bind(before.micros())
        .run(tx.conn)?;
    Ok(())
}
