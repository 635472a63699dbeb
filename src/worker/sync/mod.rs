//! One mailbox on its server: connect, list, take in what is new, wait for news; again after any failure.
//! New mail is found by UID alone, never by flags; nothing is ever changed on the server.

mod folder;
mod login;
mod pipeline;
mod state;

use crate::clock;
use crate::mail::hosts::HostPolicy;
use crate::mail::imap::{IdleEnd, ImapSession};
use crate::mail::tls::TlsTrust;
use crate::mail::{MailError, MailStep};
use crate::model::mailbox::{Folder, FolderRole, Mailbox, SyncStage};
use crate::model::{MailboxId, Time};
use crate::store::leases::{self, Fence};
use crate::store::raw::RawStore;
use crate::store::sealed::Sealer;
use crate::store::{Store, StoreError, Tx, mailbox_writes, mailboxes};
use folder::Batches;
use state::State;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// What syncing needs. Cheap to clone.
#[derive(Clone)]
pub struct SyncServices {
    pub store: Store,
    pub raw: RawStore,
    pub sealer: Sealer,
    pub trust: TlsTrust,
    pub hosts: Arc<HostPolicy>,
}

/// Resolving and connecting take no longer anywhere that works.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A server that says nothing for so long in the middle of an answer is gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// IDLE is issued anew before servers and gateways forget it.
const IDLE_FOR: Duration = Duration::from_secs(4 * 60);
/// Folders that nobody watches are looked at this often.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(20);
/// Where IDLE is missing, the Inbox is asked this often.
const POLL_EVERY: Duration = Duration::from_secs(30);
/// The first wait after a failure; it doubles to the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(600);

/// How a sync thread is told things.
#[derive(Default)]
pub struct Signals {
    stop: AtomicBool,
    poked: AtomicBool,
    bell: (Mutex<()>, Condvar),
}

impl Signals {
    /// The thread should end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    /// The thread should look at everything now.
    pub fn poke(&self) {
        self.poked.store(true, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        let _guard = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.bell.1.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_poked(&self) -> bool {
        self.poked.load(Ordering::Acquire)
    }

    /// Waits until told something, or the time is over.
    fn wait(&self, timeout: Duration) {
        let guard = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |_: &mut ()| !self.is_stopped() && !self.is_poked();
        drop(self.bell.1.wait_timeout_while(guard, timeout, is_quiet));
    }
}

/// Why a session ended.
#[derive(Debug, Error)]
pub(super) enum SyncError {
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mailbox was disconnected, or its secret can't be opened.
    #[error("{0}")]
    Gone(String),
}

/// Syncs a mailbox, under this lease, until told to stop or the lease is another's.
pub fn run(services: &SyncServices, id: MailboxId, fence: &Fence, signals: &Signals) {
    let mut state = State::new(services.store.clone(), id, fence.clone());
    let mut retry = RETRY_FIRST;
    let mut batches = Batches::default();
    while !signals.is_stopped() {
        let mut has_watched = false;
        let outcome = session(
            services,
            (id, fence),
            signals,
            (&mut state, &mut batches, &mut has_watched),
        );
        if has_watched {
            retry = RETRY_FIRST;
        }
        let Err(error) = outcome else { return };
        if signals.is_stopped() {
            return;
        }
        let wait = match &error {
            SyncError::Gone(reason) => {
                tracing::info!(mailbox = id.0, reason, "the sync ends");
                return;
            }
            SyncError::Store(StoreError::Fenced(_)) => {
                tracing::info!(mailbox = id.0, "another worker has the mailbox");
                return;
            }
            SyncError::Mail(error) => {
                state.failed(error);
                if error.step() == MailStep::Login && !error.is_temporary() {
                    // A refused login is not tried again before somebody changes something.
                    RETRY_LONGEST * 6
                } else {
                    let hint = error.backoff_hint_seconds().map(Duration::from_secs);
                    hint.map_or(retry, |hint| hint.max(retry))
                }
            }
            SyncError::Store(error) => {
                tracing::error!(mailbox = id.0, %error, "the sync waits for the store");
                retry
            }
        };
        retry = (retry * 2).min(RETRY_LONGEST);
        signals.wait(wait);
        signals.poked.store(false, Ordering::Release);
    }
}

/// One connection, from the login until it breaks or the thread is stopped.
fn session(
    services: &SyncServices,
    (id, fence): (MailboxId, &Fence),
    signals: &Signals,
    (state, batches, has_watched): (&mut State, &mut Batches, &mut bool),
) -> Result<(), SyncError> {
    let mailbox = services
        .store
        .read_now(|conn| mailboxes::get(conn, id))?
        .filter(|mailbox| mailbox.is_connected)
        .ok_or_else(|| SyncError::Gone("the mailbox is disconnected".to_owned()))?;
    state.stage(SyncStage::Connecting)?;
    let mut session = login::connect(services, fence, &mailbox)?;
    state.logged_in()?;
    state.stage(SyncStage::Listing)?;
    let raw_paths = list_folders(services, (id, fence), &mut session)?;
    let mut first = true;
    while !signals.is_stopped() {
        signals.poked.store(false, Ordering::Release);
        let folders = services
            .store
            .read_now(|conn| mailboxes::folders(conn, id))?;
        if first {
            state.stage(SyncStage::Backfill)?;
            first = false;
        }
        for known in folders.iter().filter(|known| known.is_synced) {
            if let Some(raw_path) = raw_paths.get(&known.path) {
                let look = folder::Look {
                    services,
                    mailbox: &mailbox,
                    fence,
                    signals,
                };
                folder::sync(&look, &mut session, (known, raw_path), batches)?;
            }
            if signals.is_stopped() {
                break;
            }
        }
        state.watching()?;
        *has_watched = true;
        watch(
            services,
            (&mailbox, fence),
            signals,
            &mut session,
            (&folders, &raw_paths, batches),
        )?;
    }
    session.log_out();
    Ok(())
}

/// Waits at the Inbox, taking in what comes, until it is time to look at the other folders too.
fn watch(
    services: &SyncServices,
    (mailbox, fence): (&Mailbox, &Fence),
    signals: &Signals,
    session: &mut ImapSession,
    (folders, raw_paths, batches): (&[Folder], &HashMap<String, String>, &mut Batches),
) -> Result<(), SyncError> {
    let inbox = folders
        .iter()
        .filter(|folder| folder.is_synced)
        .find(|folder| matches!(folder.role, Some(FolderRole::Inbox | FolderRole::All)));
    let Some((inbox, raw_path)) =
        inbox.and_then(|inbox| Some((inbox, raw_paths.get(&inbox.path)?)))
    else {
        signals.wait(LOOK_AT_OTHERS);
        return Ok(());
    };
    let until = std::time::Instant::now() + LOOK_AT_OTHERS.min(IDLE_FOR);
    let told = || signals.is_stopped() || signals.is_poked();
    loop {
        // What came between the last look and IDLE would wait for the next mail: look once more first.
        let present = services
            .store
            .read_now(|conn| mailboxes::folder_by_id(conn, inbox.id))?;
        let Some(present) = present else {
            return Ok(());
        };
        let look = folder::Look {
            services,
            mailbox,
            fence,
            signals,
        };
        folder::sync(&look, session, (&present, raw_path), batches)?;
        let left = until.saturating_duration_since(std::time::Instant::now());
        if told() || left.is_zero() {
            return Ok(());
        }
        match session.idle(left, &told)? {
            IdleEnd::Changed => {}
            IdleEnd::TimedOut | IdleEnd::Stopped => return Ok(()),
            IdleEnd::Unsupported => {
                signals.wait(POLL_EVERY.min(left));
            }
        }
    }
}

/// Takes the server's folders over; how each is called on the wire.
fn list_folders(
    services: &SyncServices,
    (id, fence): (MailboxId, &Fence),
    session: &mut ImapSession,
) -> Result<HashMap<String, String>, SyncError> {
    let listed = session.list_folders()?;
    let folders: Vec<mailbox_writes::ListedFolder> = listed
        .iter()
        .filter(|folder| folder.is_selectable)
        .map(|folder| mailbox_writes::ListedFolder {
            path: folder.path.clone(),
            role: folder.role,
            is_synced: true,
        })
        .collect();
    write_fenced(&services.store, fence, |tx| {
        mailbox_writes::put_folders(tx, id, &folders)
    })?;
    Ok(listed
        .into_iter()
        .map(|folder| (folder.path, folder.raw_path))
        .collect())
}

/// Writes under a lease: where it is another's by now, nothing is written.
fn write_fenced<T>(
    store: &Store,
    fence: &Fence,
    f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    store.write_now(now(), |tx| {
        let done = f(tx)?;
        leases::hold(tx, fence)?;
        Ok(done)
    })
}

/// Now, for what is written on this thread.
fn now() -> Time {
    clock::now()
}
