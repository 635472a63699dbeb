//! What has to go, goes by itself: what disconnected mailboxes held and the CRM never saved (R10), mail that is older than
//! its mailbox keeps it (R47), and bytes that no mail names. One process at a time does it, under a lease; ended anywhere, it goes on with the next round.
//! Not for: what somebody asks for (that is `actions`).

use crate::clock;
use crate::model::{MailboxId, Time};
use crate::store::leases::{self, Fence};
use crate::store::raw::RawStore;
use crate::store::{Store, StoreError, Tx, audit, erasure};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;

/// Nothing of it is urgent; the first round waits too, so that a start is not slowed down.
const EVERY: Duration = Duration::from_secs(3600);
/// Renewed with each transaction: the longest wait between two is one object of the raw store.
const LEASE_SECONDS: i64 = 600;
const LEASE: &str = "upkeep";
/// Mails of one transaction: few, so that nobody waits for it.
const MAILS_PER_WRITE: i64 = 100;
/// Bytes are durable before the transaction that names them; what is not named after so long never will be.
const GRACE_SECONDS: i64 = 24 * 3600;

/// What upkeep needs.
#[derive(Clone)]
pub struct UpkeepServices {
    pub store: Store,
    pub raw: RawStore,
    /// Days after which a disconnected mailbox is erased; `None`: never.
    pub erase_after_days: Option<i64>,
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkept {
    pub mailboxes_erased: u64,
    pub mails_erased: u64,
    pub objects_removed: u64,
    /// Objects that were written anew without the bytes of mails that are gone.
    pub objects_rewritten: u64,
}

/// Looks after things until told to stop.
pub async fn run(services: UpkeepServices, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _stopped = stop.wait_for(|stop| *stop) => return,
        }
        let (services, stopped) = (services.clone(), stop.clone());
        let round = tokio::task::spawn_blocking(move || {
            round_now(&services, clock::now, &|| *stopped.borrow())
        });
        match round.await {
            Ok(Ok(Some(upkept))) => tracing::info!(
                mailboxes_erased = upkept.mailboxes_erased,
                mails_erased = upkept.mails_erased,
                objects_removed = upkept.objects_removed,
                objects_rewritten = upkept.objects_rewritten,
                "looked after what has to go"
            ),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::error!(%error, "the upkeep goes on with its next round"),
            Err(error) => tracing::error!(%error, "the upkeep ended"),
        }
    }
}

/// One round, on this thread; `None` where another process is at it.
///
/// # Errors
/// What the database or the raw store says; what was done stays done.
pub fn round_now(
    services: &UpkeepServices,
    clock: fn() -> Time,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<Upkept>, StoreError> {
    let holder = format!("{:016x}", rand::random::<u64>());
    let store = &services.store;
    let claimed = store.write_now(clock(), |tx| {
        leases::claim(tx, LEASE, &holder, LEASE_SECONDS)
    })?;
    let Some(number) = claimed else {
        return Ok(None);
    };
    let mut round = Round {
        services,
        clock,
        is_stopped,
        fence: Fence {
            name: LEASE.to_owned(),
            number,
        },
        holder: holder.clone(),
        upkept: Upkept::default(),
    };
    let outcome = round
        .erase()
        .and_then(|()| round.retain())
        .and_then(|()| round.sweep());
    let upkept = round.upkept;
    store.write_now(clock(), |tx| leases::release(tx, LEASE, &holder))?;
    outcome.map(|()| Some(upkept))
}

struct Round<'a> {
    services: &'a UpkeepServices,
    clock: fn() -> Time,
    is_stopped: &'a dyn Fn() -> bool,
    fence: Fence,
    holder: String,
    upkept: Upkept,
}

impl Round<'_> {
    /// Writes under the lease, which lives on from here.
    fn write<T>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.services.store.write_now((self.clock)(), |tx| {
            let done = f(tx)?;
            leases::claim(tx, LEASE, &self.holder, LEASE_SECONDS)?;
            leases::hold(tx, &self.fence)?;
            Ok(done)
        })
    }

    fn erase(&mut self) -> Result<(), StoreError> {
        let Some(days) = self.services.erase_after_days else {
            return Ok(());
        };
        let by = (self.clock)().plus_seconds(-days.saturating_mul(86_400));
        let due = self
            .services
            .store
            .read_now(|conn| erasure::due(conn, by))?;
        for mailbox in due {
            if (self.is_stopped)() || !self.erase_mailbox(mailbox)? {
                break;
            }
        }
        Ok(())
    }

    /// Erases what is older than its mailbox keeps mail that is not in the CRM (R47).
    fn retain(&mut self) -> Result<(), StoreError> {
        let all = self.services.store.read_now(erasure::retentions)?;
        for (mailbox, _days) in all {
            while !(self.is_stopped)() {
                let Some(mails) = self.write(|tx| erase_old(tx, mailbox))? else {
                    break;
                };
                self.upkept.mails_erased += u64::try_from(mails).unwrap_or(u64::MAX);
            }
        }
        Ok(())
    }

    /// Erases what a mailbox held and the CRM did not save; `false` where it was told to stop.
    fn erase_mailbox(&mut self, mailbox: MailboxId) -> Result<bool, StoreError> {
        let mut after = 0;
        let mut mails = 0;
        loop {
            if (self.is_stopped)() {
                return Ok(false);
            }
            let erased = self.write(|tx| {
                if !erasure::lock_disconnected(tx, mailbox)? {
                    return Ok(None);
                }
                erasure::erase_unsaved(tx, mailbox, (after, MAILS_PER_WRITE))
            })?;
            let Some((last, count)) = erased else { break };
            after = last;
            mails += u64::try_from(count).unwrap_or(u64::MAX);
        }
        loop {
            if (self.is_stopped)() {
                return Ok(false);
            }
            let lines = self.write(|tx| {
                if !erasure::lock_disconnected(tx, mailbox)? {
                    return Ok(0);
                }
                erasure::erase_lines(tx, mailbox, MAILS_PER_WRITE)
            })?;
            if lines == 0 {
                break;
            }
        }
        let is_erased = self.write(|tx| {
            // Somebody may have connected it again meanwhile: then it is no longer due.
            if !erasure::lock_disconnected(tx, mailbox)? {
                return Ok(false);
            }
            erasure::finish(tx, mailbox)?;
            let about = format!("mailbox {}", mailbox.0);
            let detail = serde_json::json!({ "emails": mails });
            audit::record(tx, None, "eraseMailbox", &about, &detail)?;
            Ok(true)
        })?;
        self.upkept.mails_erased += mails;
        self.upkept.mailboxes_erased += u64::from(is_erased);
        Ok(true)
    }

    /// Removes objects that no mail names, and takes the bytes of mails that are gone out of the others.
    fn sweep(&mut self) -> Result<(), StoreError> {
        let now = (self.clock)();
        let before = now.plus_seconds(-GRACE_SECONDS).micros();
        let raw = &self.services.raw;
        // Listed first: what is named afterwards is found named.
        let listed = raw.list_now()?;
        let named = self.services.store.read_now(erasure::named_bytes)?;
        let named: HashMap<&str, i64> = named
            .iter()
            .map(|(key, bytes)| (key.as_str(), *bytes))
            .collect();
        for (name, bytes, modified) in listed {
            if (self.is_stopped)() {
                return Ok(());
            }
            if modified >= before || self.is_backed_up()? {
                continue;
            }
            let key = raw.key_named(&name)?;
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            match named.get(key.as_str()) {
                None => self.remove(&name, &key, before)?,
                Some(used) if *used < bytes => self.rewrite(&name, &key)?,
                Some(_whole) => {}
            }
        }
        raw.remove_drafts_now(before)
    }

    /// Whether a backup runs, which copies what was named at its beginning.
    fn is_backed_up(&self) -> Result<bool, StoreError> {
        let now = (self.clock)();
        let standing = self
            .services
            .store
            .read_now(|conn| leases::list(conn, now))?;
        Ok(standing
            .iter()
            .any(|(name, _holder)| name.starts_with(leases::BACKUP)))
    }

    /// Removes an object, unless it was named or written again since it was listed.
    fn remove(&mut self, name: &str, key: &str, before: i64) -> Result<(), StoreError> {
        let raw = &self.services.raw;
        let is_named = !self
            .services
            .store
            .read_now(|conn| erasure::mails_of(conn, key))?
            .is_empty();
        let is_old = raw.modified_now(name)?.is_some_and(|at| at < before);
        if !is_named && is_old {
            raw.delete_now(name)?;
            self.upkept.objects_removed += 1;
        }
        Ok(())
    }

    /// Writes an object anew with the mails that are still named, and removes the old one once they are named there.
    fn rewrite(&mut self, name: &str, key: &str) -> Result<(), StoreError> {
        let raw = &self.services.raw;
        let mails = self
            .services
            .store
            .read_now(|conn| erasure::mails_of(conn, key))?;
        let Some(object) = raw.object_now(name)? else {
            return Ok(());
        };
        let Some((packed, places)) = repacked(&object, &mails) else {
            tracing::error!(
                name,
                "an object of the raw store is shorter than what lies in it"
            );
            return Ok(());
        };
        let hashes: Vec<&[u8]> = places
            .iter()
            .map(|(hash, _offset)| hash.as_slice())
            .collect();
        let new = raw.put_packed_now(&hashes, packed)?;
        if new == key {
            return Ok(());
        }
        self.write(|tx| erasure::move_mails(tx, (key, &new), &places))?;
        raw.delete_now(name)?;
        self.upkept.objects_rewritten += 1;
        Ok(())
    }
}

/// Erases some of what is older than the mailbox keeps it now, and writes that down with it; how many, `None` where there is
/// no more.
fn erase_old(tx: &mut Tx<'_>, mailbox: MailboxId) -> Result<Option<usize>, StoreError> {
    // Somebody may have changed it since the round began.
    let Some(days) = erasure::hold_retention(tx, mailbox)? else {
        return Ok(None);
    };
    let before = tx.now.plus_seconds(-days.saturating_mul(86_400));
    let erased = erasure::erase_old(tx, mailbox, before, MAILS_PER_WRITE)?;
    if let Some(mails) = erased.filter(|mails| *mails > 0) {
        let about = format!("mailbox {}", mailbox.0);
        let detail = serde_json::json!({ "emails": mails, "days": days });
        audit::record(tx, None, "eraseOldMail", &about, &detail)?;
    }
    Ok(erased)
}

/// The named mails one behind the other, and where each lies then. Mails whose bytes overlap are kept apart.
fn repacked(object: &Bytes, mails: &[erasure::NamedMail]) -> Option<(Bytes, Vec<(Vec<u8>, i64)>)> {
    let mut packed = BytesMut::new();
    let mut places = Vec::new();
    for (hash, offset, length) in mails {
        let start = usize::try_from(*offset).ok()?;
        let end = start.checked_add(usize::try_from(*length).ok()?)?;
        places.push((hash.clone(), i64::try_from(packed.len()).ok()?));
        packed.extend_from_slice(object.get(start..end)?);
    }
    Some((packed.freeze(), places))
}
