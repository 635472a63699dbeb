//! Mail on its way out (R41): at most one copy of each, and no silence. Mails are claimed under a lease; the moment from
//! which on one may have gone out is committed before its last byte is sent, so that whoever finds it after a crash knows
//! whether it may be tried again. Sent mail is stored and saved as mail that comes in is.
//! Not for: making mails (that is `actions::send_email`).

mod copies;
mod outgoing;

use crate::bus::{Bus, Heard};
use crate::clock;
use crate::mail::smtp::{SmtpSession, SmtpTimes};
use crate::model::mailbox::MailServer;
use crate::model::topic::Topic;
use crate::model::{MailboxId, Time};
use crate::store::drafts::{self, ClaimLimits, Claimed};
use crate::store::leases::{self, Fence};
use crate::store::{StoreError, mailboxes};
use crate::worker::sync::SyncServices;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::{self, JoinSet};

/// A lease lives this long beyond its last renewal: mail of a sender that died is looked at after that.
const LEASE_SECONDS: i64 = 20;
/// How often it is renewed, and mail looked for without being told.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// While mail was found there may be more.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Mails that are claimed at once: of several mailboxes, which are sent for side by side.
const CLAIM_MAX: i64 = 40;
/// Mails of one mailbox within a minute; providers lock accounts that send far more.
const PER_MINUTE_MAX: i64 = 60;
/// Mailboxes that are sent for at once: each is a thread and a connection.
const MAILBOXES_MAX: usize = 8;
/// A connection that nobody used for so long is not trusted any more.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a stop waits for what is being sent.
const STOP_WITHIN: Duration = Duration::from_secs(9);

/// What sending needs. Cheap to clone.
#[derive(Clone)]
pub struct SendServices {
    pub sync: SyncServices,
    pub times: SmtpTimes,
}

/// What a session was opened with: where, as whom, and at which version of the mailbox, which rises with its secret too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SessionKey {
    server: MailServer,
    login: String,
    version: i64,
}

/// An open session.
struct Open {
    key: SessionKey,
    session: SmtpSession,
}

/// Open connections that wait for the next mail of their mailbox.
#[derive(Default)]
struct Pool(Mutex<HashMap<MailboxId, (Open, Instant)>>);

impl Pool {
    fn take(&self, mailbox: MailboxId) -> Option<Open> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_mailbox, (_open, since)| since.elapsed() < IDLE_MAX);
        idle.remove(&mailbox).map(|(open, _since)| open)
    }

    fn keep(&self, mailbox: MailboxId, open: Open) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.insert(mailbox, (open, Instant::now()));
    }
}

/// One sender, as its jobs see it.
#[derive(Clone)]
struct Sender {
    services: SendServices,
    fence: Fence,
    pool: Arc<Pool>,
    stop: watch::Receiver<bool>,
}

/// What runs beside the looking.
#[derive(Default)]
struct Running {
    jobs: JoinSet<()>,
    /// The mailbox of each job.
    busy: HashMap<task::Id, MailboxId>,
    copying: JoinSet<()>,
}

/// Sends until `stop` says so; then lets what is being sent end, and gives the lease back.
pub async fn run(services: SendServices, bus: Bus, mut stop: watch::Receiver<bool>) {
    let holder = format!("{:016x}", rand::random::<u64>());
    let name = format!("{}{holder}", drafts::SENDER);
    let mut heard = bus.subscribe();
    let mut running = Running::default();
    let pool = Arc::new(Pool::default());
    while !*stop.borrow() {
        running.forget_ended();
        let mut is_more = false;
        let looked_at = clock::now();
        match claim(&services, (&name, &holder), running.busy(), looked_at).await {
            Ok((fence, claimed)) => {
                is_more = !claimed.is_empty();
                let sender = Sender {
                    services: services.clone(),
                    fence,
                    pool: pool.clone(),
                    stop: stop.clone(),
                };
                running.start(&sender, claimed);
            }
            Err(error) => tracing::warn!(%error, "mail waits to be sent"),
        }
        let pause = if is_more {
            LOOK_AGAIN
        } else {
            until_due(&services, looked_at).await
        };
        let is_closed = wait(pause, &mut heard, &mut running, &mut stop).await;
        if is_closed {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    end(&services, (&name, &holder), running).await;
}

/// Waits until there may be something to do; whether the bus is closed.
async fn wait(
    pause: Duration,
    heard: &mut broadcast::Receiver<Heard>,
    running: &mut Running,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let deadline = tokio::time::Instant::now() + pause;
    loop {
        tokio::select! {
            _stopped = stop.wait_for(|stop| *stop) => return false,
            () = tokio::time::sleep_until(deadline) => return false,
            Some(ended) = running.jobs.join_next_with_id(), if !running.jobs.is_empty() => {
                forget(&mut running.busy, ended);
                return false;
            }
            told = heard.recv() => match told {
                Ok(Heard::Wake(wake)) if !wake.topics.contains(&Topic::Sending.to_string()) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return false,
                Err(RecvError::Closed) => return true,
            },
        }
    }
}

impl Running {
    fn busy(&self) -> Vec<MailboxId> {
        self.busy.values().copied().collect()
    }

    fn forget_ended(&mut self) {
        while let Some(ended) = self.jobs.try_join_next_with_id() {
            forget(&mut self.busy, ended);
        }
        while self.copying.try_join_next().is_some() {}
    }

    fn start(&mut self, sender: &Sender, claimed: Vec<Claimed>) {
        for (mailbox, mails) in by_mailbox(claimed) {
            let sender = sender.clone();
            let job = self
                .jobs
                .spawn_blocking(move || outgoing::send_all(&sender, mailbox, &mails));
            self.busy.insert(job.id(), mailbox);
        }
        if self.copying.is_empty() {
            let sender = sender.clone();
            self.copying
                .spawn_blocking(move || copies::put_all(&sender));
        }
    }
}

/// Its mailbox is not busy any more: what a job that panicked had claimed is taken back then, when mail is looked for next.
fn forget(busy: &mut HashMap<task::Id, MailboxId>, ended: Result<(task::Id, ()), task::JoinError>) {
    let id = match ended {
        Ok((id, ())) => id,
        Err(error) => {
            tracing::error!(%error, "sending had panicked");
            error.id()
        }
    };
    busy.remove(&id);
}

/// Lets what runs end. The lease is given back only if nothing runs any more: what still does keeps it until it expires.
async fn end(services: &SendServices, (name, holder): (&str, &str), mut running: Running) {
    let all = async {
        while running.jobs.join_next().await.is_some() {}
        while running.copying.join_next().await.is_some() {}
    };
    if tokio::time::timeout(STOP_WITHIN, all).await.is_err() {
        tracing::warn!("some mail was still being sent");
        running.jobs.detach_all();
        running.copying.detach_all();
        return;
    }
    let (name, holder) = (name.to_owned(), holder.to_owned());
    let released = services.sync.store.write(clock::now(), move |tx| {
        leases::release(tx, &name, &holder)?;
        drafts::recover(tx, &holder, &[]).map(drop)
    });
    if let Err(error) = released.await {
        tracing::warn!(%error, "the lease expires by itself");
    }
}

/// Renews the lease, takes back what dead senders and jobs left, and claims what is due.
async fn claim(
    services: &SendServices,
    (name, holder): (&str, &str),
    busy: Vec<MailboxId>,
    now: Time,
) -> Result<(Fence, Vec<Claimed>), StoreError> {
    let (name, holder) = (name.to_owned(), holder.to_owned());
    let written = services.sync.store.write(now, move |tx| {
        let number = leases::claim(tx, &name, &holder, LEASE_SECONDS)?
            .ok_or_else(|| StoreError::Fenced(name.clone()))?;
        let lost = drafts::recover(tx, &holder, &busy)?;
        if lost > 0 {
            tracing::warn!(
                lost,
                "mails were taken back that nobody was sending any more"
            );
        }
        let fence = Fence { name, number };
        let mailboxes = MAILBOXES_MAX.saturating_sub(busy.len());
        if mailboxes == 0 {
            return Ok((fence, Vec::new()));
        }
        let limits = ClaimLimits {
            mails: CLAIM_MAX,
            mailboxes: i64::try_from(mailboxes).unwrap_or(i64::MAX),
            per_minute: PER_MINUTE_MAX,
        };
        let claimed = drafts::claim(tx, &holder, &busy, limits)?;
        Ok::<_, StoreError>((fence, claimed))
    });
    written.await
}

fn by_mailbox(claimed: Vec<Claimed>) -> HashMap<MailboxId, Vec<Claimed>> {
    let mut mails: HashMap<MailboxId, Vec<Claimed>> = HashMap::new();
    for mail in claimed {
        mails.entry(mail.mailbox_id).or_default().push(mail);
    }
    mails
}

/// How long nothing more is due than was when mail was last looked for, at most until the lease is to be renewed.
async fn until_due(services: &SendServices, looked_at: Time) -> Duration {
    let next = services
        .sync
        .store
        .read(move |conn| drafts::next_due(conn, looked_at));
    match next.await {
        Ok(Some(due)) => until(due).clamp(Duration::from_millis(100), LOOK_EVERY),
        Ok(None) => LOOK_EVERY,
        Err(error) => {
            tracing::warn!(%error, "mail that waits could not be looked for");
            LOOK_EVERY
        }
    }
}

fn until(due: Time) -> Duration {
    let micros = due.micros().saturating_sub(clock::now().micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

impl Sender {
    fn mailbox(&self, id: MailboxId) -> Result<Option<crate::model::mailbox::Mailbox>, StoreError> {
        self.services
            .sync
            .store
            .read_now(|conn| mailboxes::get(conn, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn r41_a_job_that_panics_frees_its_mailbox_and_no_other() {
        let mut running = Running::default();
        let panics = running
            .jobs
            .spawn(async { panic!("as a fault of ours would") });
        let waits = running.jobs.spawn(std::future::pending());
        running.busy = HashMap::from([(panics.id(), MailboxId(1)), (waits.id(), MailboxId(2))]);
        let ended = running.jobs.join_next_with_id().await.unwrap();
        forget(&mut running.busy, ended);
        assert_eq!(running.busy(), [MailboxId(2)]);
    }
}
