//! A new key for sealed secrets, while servers and workers run. Each step can be repeated, and what was done is read
//! from the key file and the rows themselves: a rotation that was ended goes on where it was.
//! Not for: the key that signs access tokens.

use super::keys::{self, KeyError};
use crate::model::Time;
use crate::store::sealed::{self, SEALED, Sealer};
use crate::store::{Store, StoreError, audit, leases};
use std::path::Path;
use thiserror::Error;

/// Rows of one transaction: few, so that nobody who wants one of them waits.
const ROWS_PER_WRITE: i64 = 50;
/// One rotation at a time. Renewed with each transaction; one that was ended is followed after this.
const LEASE: &str = "key rotation";
const LEASE_SECONDS: i64 = 60;

/// Why the keys were not rotated.
#[derive(Debug, Error)]
pub enum RotationError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process is at it.
    #[error("another rotation is under way; if it was ended, try again in a minute")]
    UnderWay,
    /// Nothing opens some of the secrets: the old keys are kept.
    #[error(
        "{0} secrets can't be opened with this key file, so that the old key is kept in it. Rows: {1}. Give those mailboxes new secrets, and run this again"
    )]
    Unopened(usize, String),
}

/// What a rotation has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A new key is in the key file.
    Added,
    /// The new key seals.
    InUse,
    /// Some secrets were sealed anew.
    Resealed,
    /// The old key is out of the key file.
    Dropped,
}

/// How a rotation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals now.
    pub key_id: String,
    pub resealed: u64,
}

/// Adds a new key to the key file, unless one waits there already: to be handed to every machine before [`rotate_now`].
///
/// # Errors
/// See [`RotationError`].
pub fn prepare_now(store: &Store, key_file: &Path, now: Time) -> Result<String, RotationError> {
    let present = present(store, key_file, now)?;
    let newest = newest(key_file)?;
    if newest == present {
        Ok(keys::add_sealing_key(key_file)?)
    } else {
        Ok(newest)
    }
}

/// Makes a new key, seals every secret with it, and drops the old one. `told` hears of each step after it is done.
///
/// # Errors
/// See [`RotationError`]; and what `told` says, after which it goes on where it was.
pub fn rotate_now(
    (store, sealer): (&Store, &Sealer),
    key_file: &Path,
    clock: fn() -> Time,
    told: &mut dyn FnMut(Step) -> Result<(), RotationError>,
) -> Result<Rotated, RotationError> {
    let holder = format!("{:016x}", rand::random::<u64>());
    hold(store, &holder, clock())?;
    let outcome = rotate(store, sealer, key_file, (&holder, clock), told);
    store.write_now(clock(), |tx| leases::release(tx, LEASE, &holder))?;
    outcome
}

fn hold(store: &Store, holder: &str, now: Time) -> Result<(), RotationError> {
    let held = store.write_now(now, |tx| leases::claim(tx, LEASE, holder, LEASE_SECONDS))?;
    held.map(drop).ok_or(RotationError::UnderWay)
}

fn rotate(
    store: &Store,
    sealer: &Sealer,
    key_file: &Path,
    (holder, clock): (&str, fn() -> Time),
    told: &mut dyn FnMut(Step) -> Result<(), RotationError>,
) -> Result<Rotated, RotationError> {
    let present = present(store, key_file, clock())?;
    let ids = keys::sealing_key_ids(key_file)?;
    let mut new = newest(key_file)?;
    // More than one key: an earlier rotation got so far, or the new key was prepared.
    if ids.len() == 1 && new == present {
        new = keys::add_sealing_key(key_file)?;
        told(Step::Added)?;
    }
    if new != present {
        store.write_now(clock(), |tx| {
            sealed::use_key(tx, &new)?;
            let detail = serde_json::json!({ "before": present, "after": new });
            audit::record(tx, None, "rotateKeys", "installation", &detail)
        })?;
        told(Step::InUse)?;
    }
    let mut resealed = 0;
    let mut unopened = Vec::new();
    for column in SEALED {
        let mut after = 0;
        loop {
            hold(store, holder, clock())?;
            let some = store.write_now(clock(), |tx| {
                sealed::reseal(tx, sealer, column, (after, ROWS_PER_WRITE))
            })?;
            let (table, _id, name) = column;
            resealed += some.done;
            unopened.extend(
                some.unopened
                    .iter()
                    .map(|row| format!("{table} {row} {name}")),
            );
            let Some(last) = some.last else { break };
            after = last;
            told(Step::Resealed)?;
        }
    }
    if !unopened.is_empty() {
        return Err(RotationError::Unopened(unopened.len(), unopened.join(", ")));
    }
    // Nobody can have sealed with another key since the new one is in use.
    keys::keep_sealing_key(key_file, &new)?;
    told(Step::Dropped)?;
    Ok(Rotated {
        key_id: new,
        resealed,
    })
}

/// The key that seals at present. Where nothing was sealed yet, it is settled now.
fn present(store: &Store, key_file: &Path, now: Time) -> Result<String, RotationError> {
    let newest = newest(key_file)?;
    let present = store.write_now(now, |tx| match sealed::present_key(tx)? {
        Some(id) => Ok(id),
        None => {
            sealed::use_key(tx, &newest)?;
            Ok::<_, StoreError>(newest)
        }
    })?;
    Ok(present)
}

fn newest(key_file: &Path) -> Result<String, KeyError> {
    keys::sealing_key_ids(key_file)?
        .pop()
        .ok_or_else(|| KeyError::Unknown(key_file.display().to_string()))
}
