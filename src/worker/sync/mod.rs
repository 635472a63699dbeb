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
mod state;

use crate::clock;
use crate::mail::hosts::HostPolicy;
use crate::mail::imap::{self, CutHandle, ImapSession};
use crate::mail::tls::TlsTrust;
use crate::mail::{MailError, MailStep};
use crate::model::mailbox::{Mailbox, MailboxWarning, SyncStage};
use crate::model::{MailboxId, Time};
use crate::store::leases::{self, Fence};
use crate::store::raw::RawStore;
use crate::store::sealed::Sealer;
use crate::store::{Store, StoreError, Tx, mailbox_writes, mailboxes};
use connection::Connection;
use fetch::Batches;
use round::Round;
use state::State;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

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
/// The longest wait after failures.
const RETRY_LONGEST: Duration = Duration::from_secs(600);

/// How a sync thread is told things, and tells that it lives.
pub struct Signals {
    stop: AtomicBool,
    poked: AtomicBool,
    bell: (Mutex<()>, Condvar),
    begun: Instant,
    /// Milliseconds from the beginning to the last sign of life.
    progressed_at: AtomicU64,
    /// The connection that it waits at.
    connection: Mutex<Option<CutHandle>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            stop: AtomicBool::new(false),
            poked: AtomicBool::new(false),
            bell: (Mutex::new(()), Condvar::new()),
            begun: Instant::now(),
            progressed_at: AtomicU64::new(0),
            connection: Mutex::new(None),
        }
    }
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
        let _guard = locked(&self.bell.0);
        self.bell.1.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_poked(&self) -> bool {
        self.poked.load(Ordering::Acquire)
    }

    /// Whether the thread was told to look at everything, which it does now.
    fn take_poke(&self) -> bool {
        self.poked.swap(false, Ordering::AcqRel)
    }

    /// The thread got on, or waits for nothing but news.
    fn progressed(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progressed_at.store(now, Ordering::Release);
    }

    fn connected(&self, connection: CutHandle) {
        *locked(&self.connection) = Some(connection);
    }

    /// Cuts the thread's connection: whatever it waits for there ends at once.
    pub fn cut(&self) {
        if let Some(connection) = locked(&self.connection).as_ref() {
            connection.cut();
        }
    }

    /// For how long the thread has not got on.
    pub fn quiet_for(&self) -> Duration {
        let last = Duration::from_millis(self.progressed_at.load(Ordering::Acquire));
        self.begun.elapsed().saturating_sub(last)
    }

    /// Waits until told something, or the time is over, showing that it lives.
    fn rest(&self, time: Duration, tick: Duration) {
        let until = Instant::now() + time;
        loop {
            self.progressed();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_stopped() || self.is_poked() {
                return;
            }
            self.wait(left.min(tick));
        }
    }

    /// Waits until told something, or the time is over.
    fn wait(&self, timeout: Duration) {
        let guard = locked(&self.bell.0);
        let is_quiet = |_: &mut ()| !self.is_stopped() && !self.is_poked();
        drop(self.bell.1.wait_timeout_while(guard, timeout, is_quiet));
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
struct Look<'a> {
    services: &'a SyncServices,
    mailbox: Mailbox,
    fence: &'a Fence,
    signals: &'a Signals,
}

impl Look<'_> {
    /// Writes under the mailbox's lease.
    fn write<T>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = write_fenced(&self.services.store, self.fence, f)?;
        self.signals.progressed();
        Ok(written)
    }

    /// When a mail that was asked for so often is asked for again.
    fn again(&self, tries: i64) -> Time {
        let wait = self.services.times.try_again_milliseconds << tries.clamp(0, 8);
        now().plus_micros(wait.saturating_mul(1000))
    }
}

/// Syncs a mailbox, under this lease, until told to stop or the lease is another's.
pub fn run(services: &SyncServices, id: MailboxId, fence: &Fence, signals: &Signals) {
    let mut state = State::new(services.store.clone(), id, fence.clone());
    let mut retry = services.times.retry_first;
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
            retry = services.times.retry_first;
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
                } else if batches.take_narrowed() {
                    retry = services.times.retry_first;
                    retry
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
        // Not all mailboxes of a server that was away come back at once.
        let wait = wait.mul_f64(1.0 + 0.2 * rand::random::<f64>());
        signals.rest(wait, services.times.tick);
        signals.take_poke();
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
    signals: &Signals,
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
    signals: &Signals,
    after: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<(), SyncError> {
    let mut state = State::new(services.store.clone(), id, fence.clone());
    let mut batches = Batches::default();
    loop {
        let begun = begin(services, (id, fence), signals, (&mut state, &mut batches));
        let outcome = begun.and_then(|mut round| {
            loop {
                round.pass()?;
                if after().is_break() {
                    round.end();
                    return Ok(());
                }
            }
        });
        match outcome {
            // A mail that breaks the stream is looked for until it is set aside.
            Err(SyncError::Mail(_)) if batches.take_narrowed() => {}
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
fn begin<'a>(
    services: &'a SyncServices,
    (id, fence): (MailboxId, &'a Fence),
    signals: &'a Signals,
    (state, batches): (&'a mut State, &'a mut Batches),
) -> Result<Round<'a>, SyncError> {
    let mailbox = services
        .store
        .read_now(|conn| mailboxes::get(conn, id))?
        .filter(|mailbox| mailbox.is_connected)
        .ok_or_else(|| SyncError::Gone("the mailbox is disconnected".to_owned()))?;
    state.stage(SyncStage::Connecting)?;
    let mut session = login::connect(services, fence, &mailbox)?;
    signals.connected(session.cut_handle());
    signals.progressed();
    state.logged_in()?;
    state.stage(SyncStage::Listing)?;
    session.enable_changes(imap::may_resync(&mailbox.imap.host))?;
    let raw_paths = list_folders(services, (id, fence), &mut session)?;
    let look = Look {
        services,
        mailbox,
        fence,
        signals,
    };
    let connection = Connection::new(session, raw_paths);
    Ok(Round::new(look, connection, state, batches))
}

/// One connection, from the login until it breaks or the thread is stopped.
fn session(
    services: &SyncServices,
    (id, fence): (MailboxId, &Fence),
    signals: &Signals,
    (state, batches, has_watched): (&mut State, &mut Batches, &mut bool),
) -> Result<(), SyncError> {
    let mut round = begin(services, (id, fence), signals, (state, batches))?;
    while !signals.is_stopped() {
        signals.take_poke();
        round.pass()?;
        *has_watched = true;
        round.watch()?;
    }
    round.end();
    Ok(())
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
