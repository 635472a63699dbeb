//! One mailbox, from its first connection on: it does what there is to do, on a thread that it is lent, and then waits
//! without one for news, for a moment, or for its turn; again after any failure.
//! Not for: what is done on a connection (that is `round`).

use super::round::{Kept, Round};
use super::turns::{Turn, Turns};
use super::{Signals, SyncError, SyncServices, begin};
use crate::mail::MailStep;
use crate::mail::imap::CutHandle;
use crate::model::MailboxId;
use crate::store::StoreError;
use crate::store::leases::Fence;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The longest wait after failures.
const RETRY_LONGEST: Duration = Duration::from_secs(600);
/// The first wait while the store is away or full, and the longest: it is ours, and trying costs little.
const STORE_RETRY_FIRST: Duration = Duration::from_millis(250);
const STORE_RETRY_LONGEST: Duration = Duration::from_millis(1500);
/// A refused login is not tried again before somebody changes something, or this is over.
const REFUSED_FOR: Duration = Duration::from_secs(3600);
/// Mails are read on these threads: as deep as the parser may go.
const STACK_BYTES: usize = 4 << 20;

/// What a mailbox waits for.
#[derive(Debug)]
pub(super) enum Rest {
    /// News on its connection, or a moment.
    News(CutHandle, Instant),
    /// A moment.
    Time(Instant),
    /// Its turn to take in many mails; meanwhile also news on its connection, or a moment.
    Turn(Option<CutHandle>, Instant),
    /// Nothing more: it was told to stop, or another has the mailbox.
    Over,
}

/// A mailbox between its connections and on them.
struct Sitting {
    services: SyncServices,
    id: MailboxId,
    fence: Fence,
    signals: Arc<Signals>,
    at: At,
    retry: Duration,
    /// The wait after the next failure of our own store.
    store_retry: Duration,
}

/// Where it is.
enum At {
    Away(Box<Kept>),
    Connected(Box<Round>),
}

/// Syncs a mailbox, under this lease, until told to stop or the lease is another's.
pub async fn run(
    services: SyncServices,
    (id, fence): (MailboxId, Fence),
    signals: Arc<Signals>,
    turns: Turns,
) {
    let mut sitting = Sitting {
        at: At::Away(Box::new(Kept::new(
            services.store.clone(),
            id,
            fence.clone(),
        ))),
        retry: services.times.retry_first,
        store_retry: STORE_RETRY_FIRST,
        services,
        id,
        fence,
        signals: Arc::clone(&signals),
    };
    let mut held = None;
    loop {
        let thread = turns.thread().await;
        signals.woke();
        let lent = turns.clone();
        let work = move || {
            let rest = sitting.go_on(Turn::Shared(&lent, held.take()));
            (sitting, rest)
        };
        let Some((back, rest)) = on_thread(id, work).await else {
            // It is begun anew by whoever looks after the mailboxes.
            tracing::error!(mailbox = id.0, "a sync thread failed");
            return;
        };
        drop(thread);
        sitting = back;
        signals.rests();
        match wait(&signals, &turns, rest).await {
            Woken::Over => return,
            Woken::Turn(turn) => held = turn,
            Woken::Up => held = None,
        }
    }
}

/// Why the waiting ended.
enum Woken {
    Up,
    Turn(Option<OwnedSemaphorePermit>),
    Over,
}

async fn wait(signals: &Signals, turns: &Turns, rest: Rest) -> Woken {
    let (connection, until, wants_turn) = match rest {
        Rest::Over => return Woken::Over,
        Rest::News(connection, until) => (Some(connection), until, false),
        Rest::Time(until) => (None, until, false),
        Rest::Turn(connection, until) => (connection, until, true),
    };
    let turn = async {
        if wants_turn {
            turns.turn().await
        } else {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = readable(connection) => Woken::Up,
        () = tokio::time::sleep_until(until.into()) => Woken::Up,
        () = signals.told() => Woken::Up,
        turn = turn => Woken::Turn(turn),
    }
}

/// Waits until bytes come on a connection, or it ends.
async fn readable(connection: Option<CutHandle>) {
    let Some(connection) = connection else {
        return std::future::pending().await;
    };
    // Whatever this ends with, the next look at the connection tells.
    match connection.watch().and_then(TcpStream::from_std) {
        Ok(watched) => drop(watched.readable().await),
        Err(error) => {
            tracing::error!(%error, "a connection can't be watched");
            std::future::pending().await
        }
    }
}

/// Does it on a thread of its own, whose stack is deep enough; `None` where it panics, or none could be started.
async fn on_thread<T: Send + 'static>(
    id: MailboxId,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (tell, told) = oneshot::channel();
    let spawned = Builder::new()
        .name(format!("mailbox-{}", id.0))
        .stack_size(STACK_BYTES)
        .spawn(move || drop(tell.send(work())));
    if let Err(error) = spawned {
        tracing::error!(%error, "a sync thread could not be started");
        return None;
    }
    told.await.ok()
}

impl Sitting {
    /// Does what there is to do; what it then waits for.
    fn go_on(&mut self, turn: Turn<'_>) -> Rest {
        if self.signals.is_stopped() {
            if let At::Connected(round) = &mut self.at {
                round.end();
            }
            return Rest::Over;
        }
        match self.try_on(turn) {
            Ok(rest) => rest,
            Err(error) => self.after(&error),
        }
    }

    fn try_on(&mut self, turn: Turn<'_>) -> Result<Rest, SyncError> {
        if let At::Away(kept) = &self.at {
            let lease = (self.id, self.fence.clone());
            let round = begin(&self.services, lease, &self.signals, (**kept).clone())?;
            self.at = At::Connected(Box::new(round));
        }
        let At::Connected(round) = &mut self.at else {
            return Ok(Rest::Over);
        };
        let rest = round.go_on(turn)?;
        if round.has_passed() {
            self.retry = self.services.times.retry_first;
        }
        Ok(rest)
    }

    /// What follows a failure: another connection, later each time.
    fn after(&mut self, error: &SyncError) -> Rest {
        let mut kept = match &self.at {
            At::Away(kept) => (**kept).clone(),
            At::Connected(round) => round.kept().clone(),
        };
        let wait = match error {
            _ if self.signals.is_stopped() => None,
            SyncError::Gone(reason) => {
                tracing::info!(mailbox = self.id.0, reason, "the sync ends");
                None
            }
            SyncError::Store(StoreError::Fenced(_)) => {
                tracing::info!(mailbox = self.id.0, "another worker has the mailbox");
                None
            }
            SyncError::Mail(error) => {
                kept.state.failed(error);
                if error.step() == MailStep::Login && !error.is_temporary() {
                    Some(REFUSED_FOR)
                } else if kept.batches.take_narrowed() {
                    self.retry = self.services.times.retry_first;
                    Some(self.retry)
                } else {
                    let hint = error.backoff_hint_seconds().map(Duration::from_secs);
                    Some(hint.map_or(self.retry, |hint| hint.max(self.retry)))
                }
            }
            SyncError::Store(error) => {
                tracing::error!(mailbox = self.id.0, %error, "the sync waits for the store");
                if error.is_of_storage() {
                    kept.state.unstored();
                }
                Some(self.next_store_retry(kept.state.take_stored()))
            }
        };
        self.at = At::Away(Box::new(kept));
        let Some(wait) = wait else { return Rest::Over };
        if !matches!(error, SyncError::Store(_)) {
            self.retry = (self.retry * 2).min(RETRY_LONGEST);
        }
        // Not all mailboxes of a server that was away come back at once.
        Rest::Time(Instant::now() + wait.mul_f64(1.0 + 0.2 * rand::random::<f64>()))
    }

    /// The wait after a failure of our own store; the first again where something was stored since the last.
    fn next_store_retry(&mut self, has_stored: bool) -> Duration {
        if has_stored {
            self.store_retry = STORE_RETRY_FIRST;
        }
        let wait = self.store_retry;
        self.store_retry = (wait * 2).min(STORE_RETRY_LONGEST);
        wait
    }
}
