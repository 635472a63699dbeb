//! The same key and input give the same result: the key is committed with the change and holds ids only,
//! so that the answer is resolved anew under the rights its caller has then.
//! Not for: recognising the same change without a key.

use super::ActionResult;
use crate::model::people::Viewer;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::store::dialect::lock_keys;
use crate::store::idempotency_keys::{Done, find, forget_older, insert_done};
use crate::store::{StoreError, Tx};
use serde::Serialize;

/// How long a key is remembered: longer than any client retries.
const KEPT_SECONDS: i64 = 24 * 60 * 60;
/// A key is a UUID or of that kind.
const KEY_CHARS_MAX: usize = 200;
/// The lock space of keys: who asks twice at once waits for themselves.
const KEY_LOCK: i64 = 0x6964_656d_706f_0000;

/// The hash of an input without its key. Leave secrets out of what is hashed: the hash is kept.
///
/// # Errors
/// `Database` for an input that is no JSON, which none is.
pub fn input_hash<T: Serialize>(input: &T) -> Result<[u8; 32], StoreError> {
    // Through a value, whose objects are sorted by name.
    let value =
        serde_json::to_value(input).map_err(|error| StoreError::Database(error.to_string()))?;
    Ok(*blake3::hash(value.to_string().as_bytes()).as_bytes())
}

/// Makes the change once under this key; asked again, it gives the ids that the change gave.
/// Without a key it makes the change.
///
/// # Errors
/// `IDEMPOTENCY_KEY_REUSED` where the key stood for another input, `BAD_INPUT` for no key at all,
/// and whatever `change` returns (then the key is not used up).
pub fn once(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    mutation: &str,
    key: Option<&str>,
    input_hash: &[u8; 32],
    change: impl FnOnce(&mut Tx<'_>) -> ActionResult<Vec<i64>>,
) -> ActionResult<Vec<i64>> {
    let Some(key) = key else {
        return change(tx);
    };
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX || key.chars().any(char::is_control) {
        return Err(Refusal::at(
            ErrorCode::BadInput,
            "idempotencyKey",
            format!("idempotencyKey has 1 to {KEY_CHARS_MAX} characters; a UUID is best."),
        )
        .into());
    }
    let user = viewer.user_id;
    lock_keys(tx, KEY_LOCK, &[format!("{} {mutation} {key}", user.0)])?;
    forget_older(tx, user, tx.now.plus_seconds(-KEPT_SECONDS))?;
    if let Some(done) = find(tx, user, mutation, key)? {
        if done.input_hash == input_hash {
            return Ok(done.result);
        }
        return Err(Refusal::at(
            ErrorCode::IdempotencyKeyReused,
            "idempotencyKey",
            "This key was used for another input.",
        )
        .into());
    }
    let result = change(tx)?;
    let done = Done {
        input_hash: input_hash.to_vec(),
        result,
    };
    insert_done(tx, user, mutation, key, &done)?;
    Ok(done.result)
}

/// The first id of a result.
///
/// # Errors
/// `Corrupt` where there is none.
pub fn first(ids: &[i64]) -> Result<i64, StoreError> {
    nth(ids, 0)
}

/// The id at a place of a result.
///
/// # Errors
/// `Corrupt` where there is none.
pub fn nth(ids: &[i64], place: usize) -> Result<i64, StoreError> {
    ids.get(place).copied().ok_or(StoreError::Corrupt {
        table: "idempotency_keys",
        column: "result",
        row: 0,
    })
}
