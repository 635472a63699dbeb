//! One mailbox on its server: connect, list, take in what is new, wait for news; again after any failure.
//! New mail is found by UID alone, never by flags; nothing is ever changed on the server.

mod changes;
mod connection;
mod epoch;
mod fetch;
mod folder;
pub(in crate::worker) mod login;
mod pipeline;
mod reconcile;
mod round;
mod sitting;
mod state;
mod turns;

use crate::clock;
use crate::mail::MailError;
use crate::mail::hosts::HostPolicy;
use crate::mail::imap::{self, CutHandle, ImapSession};
use crate::mail::tls::TlsTrust;
use crate::model::mailbox::{Mailbox, MailboxWarning, SyncStage};
use crate::model::{MailboxId, Time};
use crate::store::leases::{self, Fence};
use crate::store::raw::RawStore;
use crate::store::sealed::Sealer;
use crate::store::{Store, StoreError, Tx, mailbox_writes, mailboxes};
use connection::Connection;
use round::{Kept, Round};
pub use sitting::run;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::Notify;
pub use turns::Turns;

/// What syncing needs. Cheap to clone.
#[derive(Clone)]
pub struct SyncServices {
    pub store: Store,
    pub raw: RawStore,
    pub sealer: Sealer,
    pub trust: TlsTrust,
    pub hosts: Arc<HostPolicy>,
    pub times: SyncTimes,
    /// Where servers are to compress what they send.
    pub compress: imap::Compress,
}

/// How long a sync waits for what. Tests shorten it; nobody else does.
#[derive(Debug, Clone, Copy)]
pub struct SyncTimes {
    /// Folders that nobody watches are looked at this often: one short command, or a few.
    pub look_at_others: Duration,
    /// The same, where each of many takes a command of its own.
    pub look_at_many_others: Duration,
    /// Where IDLE is missing, the Inbox is asked this often.
    pub poll_every: Duration,
    /// Where a server tells neither of flags nor of expunges, all UIDs are compared this often: 12 ms in 20,000 mails.
    pub compare_every: Duration,
    /// How often a wait without a connection looks up.
    pub tick: Duration,
    /// The first wait after a failure; it doubles to the longest.
    pub retry_first: Duration,
    /// A mail that did not come is asked for again after this, doubled.
    pub try_again_milliseconds: i64,
    /// A mail that is gone from its folder is held so long: a program that moves by copying and deleting, over a slow
    /// line, or one that was cut off in between, brings it back within minutes.
    pub hold_seconds: i64,
    /// All UIDs of all folders are compared with the server this often.
    pub reconcile_seconds: i64,
}

impl Default for SyncTimes {
    fn default() -> Self {
        Self {
            look_at_others: Duration::from_secs(20),
            look_at_many_others: Duration::from_secs(120),
            poll_every: Duration::from_secs(30),
            compare_every: Duration::from_secs(300),
            tick: Duration::from_millis(500),
            retry_first: Duration::from_secs(1),
            try_again_milliseconds: 2000,
            hold_seconds: 7 * 60,
            reconcile_seconds: 3600,
        }
    }
}

/// Resolving and connecting take no longer anywhere that works.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A server that says nothing for so long in the middle of an answer is gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How a mailbox's sync is told things, and tells that it lives.
pub struct Signals {
    stop: AtomicBool,
    poked: AtomicBool,
    bell: Notify,
    begun: Instant,
    /// Milliseconds from the beginning to the last sign of life.
    progressed_at: AtomicU64,
    /// It waits, and has no thread that could be stuck.
    is_at_rest: AtomicBool,
    /// The connection that it waits at.
    connection: Mutex<Option<CutHandle>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            poked: AtomicBool::new(false),
            bell: Notify::new(),
            begun: Instant::now(),
            progressed_at: AtomicU64::new(0),
            is_at_rest: AtomicBool::new(false),
            connection: Mutex::new(None),
        }
    }
}

impl Signals {
    /// The sync should end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// The sync should look at everything now.
    pub fn poke(&self) {
        self.poked.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Waits until it is told something; also at once, where it was told since the last time.
    async fn told(&self) {
        self.bell.notified().await;
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_poked(&self) -> bool {
        self.poked.load(Ordering::Acquire)
    }

    /// Whether it was told to look at everything, which it does now.
    fn take_poke(&self) -> bool {
        self.poked.swap(false, Ordering::AcqRel)
    }

    /// It got on.
    fn progressed(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progressed_at.store(now, Ordering::Release);
    }

    /// It has a thread again.
    fn woke(&self) {
        self.progressed();
        self.is_at_rest.store(false, Ordering::Release);
    }

    /// It waits, without a thread.
    fn rests(&self) {
        self.is_at_rest.store(true, Ordering::Release);
    }

    fn connected(&self, connection: CutHandle) {
        *locked(&self.connection) = Some(connection);
    }

    /// Cuts the connection: whatever is waited for there ends at once.
    pub fn cut(&self) {
        if let Some(connection) = locked(&self.connection).as_ref() {
            connection.cut();
        }
    }

    /// For how long it has not got on.
    pub fn quiet_for(&self) -> Duration {
        if self.is_at_rest.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.progressed_at.load(Ordering::Acquire));
        self.begun.elapsed().saturating_sub(last)
    }
}

/// Why a session ended.
#[derive(Debug, Error)]
pub enum SyncError {
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mailbox was disconnected, or its secret can't be opened.
    #[error("{0}")]
    Gone(String),
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What looking at a folder needs.
struct Look {
    services: SyncServices,
    mailbox: Mailbox,
    fence: Fence,
    signals: Arc<Signals>,
}

impl Look {
    /// Writes under the mailbox's lease.
    fn write<T>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = write_fenced(&self.services.store, &self.fence, f)?;
        self.signals.progressed();
        Ok(written)
    }

    /// When a mail that was asked for so often is asked for again.
    fn again(&self, tries: i64) -> Time {
        let wait = self.services.times.try_again_milliseconds << tries.clamp(0, 8);
        now().plus_micros(wait.saturating_mul(1000))
    }
}

/// Syncs a mailbox once, under this lease: everything is looked at and taken in, and compared with the server where that
/// is due or was asked for.
///
/// # Errors
/// Whatever ends a session.
pub fn once(
    services: &SyncServices,
    id: MailboxId,
    fence: &Fence,
    signals: &Arc<Signals>,
) -> Result<(), SyncError> {
    passes(services, (id, fence), signals, &mut || {
        ControlFlow::Break(())
    })
}

/// The same, again and again on one connection, until `after` a pass says that it is enough.
///
/// # Errors
/// Whatever ends a session.
pub fn passes(
    services: &SyncServices,
    (id, fence): (MailboxId, &Fence),
    signals: &Arc<Signals>,
    after: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), SyncError> {
    let mut kept = Kept::new(services.store.clone(), id, fence.clone());
    loop {
        let mut round = begin(services, (id, fence.clone()), signals, kept)?;
        let outcome = loop {
            match round.pass() {
                Ok(()) if after().is_break() => {
                    round.end();
                    break Ok(());
                }
                Ok(()) => {}
                Err(error) => break Err(error),
            }
        };
        kept = round.kept().clone();
        match outcome {
            // A mail that breaks the stream is looked for until it is set aside.
            Err(SyncError::Mail(_)) if kept.batches.take_narrowed() => {}
            other => return other,
        }
    }
}

/// Says that a mailbox's sync makes no progress, or that it does again.
///
/// # Errors
/// What the database says.
pub fn tell_stuck(tx: &mut Tx<'_>, id: MailboxId, is_stuck: bool) -> Result<(), StoreError> {
    let warning = MailboxWarning::SyncStuck;
    if is_stuck {
        mailbox_writes::put_warning(tx, id, warning).map(drop)
    } else {
        mailbox_writes::delete_warning(tx, id, warning)
    }
}

/// Connects and lists the folders.
fn begin(
    services: &SyncServices,
    (id, fence): (MailboxId, Fence),
    signals: &Arc<Signals>,
    mut kept: Kept,
) -> Result<Round, SyncError> {
    let mailbox = services
        .store
        .read_now(|conn| mailboxes::get(conn, id))?
        .filter(|mailbox| mailbox.is_connected)
        .ok_or_else(|| SyncError::Gone("the mailbox is disconnected".to_owned()))?;
    if kept.state.is_full() {
        // The mail server is not asked for what can't be stored.
        services.raw.try_now()?;
    }
    kept.state.stage(SyncStage::Connecting)?;
    let mut session = login::connect(services, &fence, &mailbox)?;
    signals.connected(session.cut_handle());
    signals.progressed();
    kept.state.logged_in()?;
    kept.state.stage(SyncStage::Listing)?;
    session.enable_changes(imap::may_resync(&mailbox.imap.host))?;
    let raw_paths = list_folders(services, (id, &fence), &mut session)?;
    let look = Look {
        services: services.clone(),
        mailbox,
        fence,
        signals: Arc::clone(signals),
    };
    let connection = Connection::new(session, raw_paths);
    Ok(Round::new(look, connection, kept))
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
            is_synced: !folder.is_view,
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
