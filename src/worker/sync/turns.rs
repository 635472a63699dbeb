//! How a worker's mailboxes share its threads and its memory: each has a thread only while it does something, and few take
//! in many mails at once, by turns.
//! Not for: which worker has which mailbox (that is `supervisor`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Mailboxes that have a thread at once. A server that falls silent in the middle of an answer keeps one for a minute, so
/// there are many more than cores.
const THREADS: usize = 96;
/// Mailboxes that take in many mails at once: each holds some batches of a few MB in memory.
const TURNS: usize = 4;

/// The threads and turns of one worker. Cheap to clone. Whoever waits longest is next.
#[derive(Clone)]
pub struct Turns {
    threads: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// How many wait for a turn.
    waiting: Arc<AtomicUsize>,
    threads_max: usize,
}

impl Default for Turns {
    fn default() -> Self {
        Self::of(THREADS, TURNS)
    }
}

/// One that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turns {
    /// So many threads, and so many turns at once.
    pub fn of(threads: usize, turns: usize) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            turns: Arc::new(Semaphore::new(turns)),
            waiting: Arc::new(AtomicUsize::new(0)),
            threads_max: threads,
        }
    }

    /// How many mailboxes have a thread now.
    pub fn at_work(&self) -> usize {
        let free = self.threads.available_permits();
        self.threads_max.saturating_sub(free)
    }

    /// How many mailboxes wait for a turn.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits for a thread; `None` never comes: nobody closes them.
    pub(super) async fn thread(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.threads).acquire_owned().await.ok()
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let _waiting = Waiting::begin(&self.waiting);
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}

/// Whether a mailbox may take in many mails.
pub(super) enum Turn<'a> {
    /// It has all the time there is.
    Always,
    /// It shares with others; what it holds, if it does.
    Shared(&'a Turns, Option<OwnedSemaphorePermit>),
}

impl Turn<'_> {
    /// Takes the turn, if nobody waits for it.
    pub fn take(&mut self) -> bool {
        match self {
            Self::Always => true,
            Self::Shared(turns, held) => {
                if held.is_none() {
                    *held = Arc::clone(&turns.turns).try_acquire_owned().ok();
                }
                held.is_some()
            }
        }
    }

    /// Whether it has the turn already.
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::Always | Self::Shared(_, Some(_)))
    }

    /// Whether somebody else is to have it.
    pub fn is_wanted(&self) -> bool {
        match self {
            Self::Always => false,
            Self::Shared(turns, _held) => turns.waiting() > 0,
        }
    }
}
