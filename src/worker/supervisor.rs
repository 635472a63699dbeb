//! Each connected mailbox is synced under a lease, so that any number of workers share the mailboxes.
//! It hears of new, changed and disconnected mailboxes over the bus, and looks by itself now and then.

use super::sync::{self, Signals, SyncServices, Turns};
use crate::bus::{Bus, Heard};
use crate::clock;
use crate::model::MailboxId;
use crate::model::measure::Beats;
use crate::model::topic::Topic;
use crate::store::db::Kind;
use crate::store::leases::{self, Fence};
use crate::store::{StoreError, mailboxes};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often the mailboxes are looked through without being told.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while that fails, and where a sync ended: while the database was away leases ran out, which are wanted at once.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A lease lives this long beyond its last renewal: a worker that died is followed within the minute of R8.
const LEASE_SECONDS: i64 = 30;
/// A mailbox that has not got on for so long is stuck, and says so within the minute of R8.
const STUCK_AFTER: Duration = Duration::from_secs(40);
/// After so long its connection is cut: a server that sends a byte now and then would hold it for ever.
const CUT_AFTER: Duration = Duration::from_secs(300);
/// How long a stop waits for the mailboxes: each notices at once, unless it is in the middle of a command.
const STOP_WITHIN: Duration = Duration::from_secs(8);

struct Running {
    signals: Arc<Signals>,
    task: JoinHandle<()>,
    is_stuck: bool,
}

/// Runs mailboxes until `stop` says so; then ends them and gives their leases back. `beats` tell that it does.
pub async fn run(services: SyncServices, bus: Bus, beats: Beats, mut stop: watch::Receiver<bool>) {
    let holder = format!("{:016x}", rand::random::<u64>());
    let mut heard = bus.subscribe();
    let turns = Turns::default();
    let ended = Arc::<Notify>::default();
    let mut running: HashMap<MailboxId, Running> = HashMap::new();
    // One process alone has SQLite: leases that stand there are of one that ended.
    let mut is_clear = services.store.kind() == Kind::Postgresql;
    'running: loop {
        if let Some(beat) = &beats.supervisor {
            beat.beat(clock::now());
        }
        if !is_clear {
            let cleared = services.store.write(clock::now(), leases::clear).await;
            match cleared {
                Ok(()) => is_clear = true,
                Err(error) => tracing::warn!(%error, "old leases could not be taken back"),
            }
        }
        let looked = look_through(&services, (&holder, &turns, &ended), &mut running).await;
        let wait = if looked.is_ok() {
            LOOK_EVERY
        } else {
            LOOK_AGAIN
        };
        if let Err(error) = looked {
            if error.is_of_storage() {
                // A mailbox whose sync has not begun has nobody else who tells.
                services.store.note_full(clock::now());
            }
            tracing::warn!(%error, "the mailboxes could not be looked through");
        }
        if let Err(error) = watch_over(&services, &mut running).await {
            tracing::warn!(%error, "what is stuck could not be told");
        }
        let mut look_at = Instant::now() + wait;
        loop {
            let woken = tokio::select! {
                woken = tokio::time::timeout_at(look_at, heard.recv()) => woken,
                () = ended.notified() => {
                    look_at = look_at.min(Instant::now() + LOOK_AGAIN);
                    continue;
                }
                _stopped = stop.wait_for(|stop| *stop) => break 'running,
            };
            match woken {
                Ok(Ok(Heard::Wake(wake))) => {
                    let topics = wake.topics.iter();
                    let synced: Vec<MailboxId> =
                        topics.filter_map(|topic| Topic::synced(topic)).collect();
                    for id in &synced {
                        if let Some(running) = running.get(id) {
                            running.signals.poke();
                        }
                    }
                    // Most wake-ups tell of mail, and each look costs a little for every mailbox.
                    if !synced.is_empty() {
                        break;
                    }
                }
                Ok(Err(RecvError::Closed)) => {
                    tokio::time::sleep(LOOK_EVERY).await;
                    break;
                }
                // Nothing was heard, or something may have been missed: look.
                Ok(Ok(Heard::Doubt) | Err(RecvError::Lagged(_))) | Err(_) => break,
            }
        }
    }
    end_all(&services, &holder, running).await;
}

async fn end_all(services: &SyncServices, holder: &str, running: HashMap<MailboxId, Running>) {
    for running in running.values() {
        running.signals.stop();
    }
    let ids: Vec<MailboxId> = running.keys().copied().collect();
    let joined = async {
        for (_id, running) in running {
            if running.task.await.is_err() {
                tracing::error!("a mailbox's sync had panicked");
            }
        }
    };
    if tokio::time::timeout(STOP_WITHIN, joined).await.is_err() {
        tracing::warn!("some mailboxes did not stop in time");
    }
    let holder = holder.to_owned();
    let released = services
        .store
        .write(clock::now(), move |tx| {
            for id in ids {
                leases::release(tx, &lease_name(id), &holder)?;
            }
            Ok::<_, StoreError>(())
        })
        .await;
    if let Err(error) = released {
        tracing::warn!(%error, "the leases expire by themselves");
    }
}

/// Tells of mailboxes that don't get on, and takes it back once they do.
async fn watch_over(
    services: &SyncServices,
    running: &mut HashMap<MailboxId, Running>,
) -> Result<(), StoreError> {
    let mut changed = Vec::new();
    for (id, running) in running.iter_mut() {
        let quiet = running.signals.quiet_for();
        if quiet >= CUT_AFTER {
            running.signals.cut();
        }
        let is_stuck = quiet >= STUCK_AFTER;
        if is_stuck != running.is_stuck {
            changed.push((*id, is_stuck));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let told = changed.clone();
    services
        .store
        .write(clock::now(), move |tx| {
            for (id, is_stuck) in told {
                sync::tell_stuck(tx, id, is_stuck)?;
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    for (id, is_stuck) in changed {
        tracing::warn!(mailbox = id.0, is_stuck, "whether the sync is stuck");
        if let Some(running) = running.get_mut(&id) {
            running.is_stuck = is_stuck;
        }
    }
    Ok(())
}

/// The name of a mailbox's lease.
pub fn lease_name(id: MailboxId) -> String {
    format!("mailbox:{}", id.0)
}

/// Starts what should run and does not, and stops what runs and should not.
async fn look_through(
    services: &SyncServices,
    (holder, turns, ended): (&str, &Turns, &Arc<Notify>),
    running: &mut HashMap<MailboxId, Running>,
) -> Result<(), StoreError> {
    running.retain(|_id, running| !running.task.is_finished());
    let wanted = services.store.read(mailboxes::connected).await?;
    let ids: Vec<MailboxId> = wanted.iter().map(|mailbox| mailbox.id).collect();
    for (id, running) in running.iter() {
        if !ids.contains(id) {
            running.signals.stop();
        }
    }
    let held = {
        let holder = holder.to_owned();
        services
            .store
            .write(clock::now(), move |tx| {
                let mut held = Vec::new();
                for id in ids {
                    let name = lease_name(id);
                    if let Some(number) = leases::claim(tx, &name, &holder, LEASE_SECONDS)? {
                        held.push((id, Fence { name, number }));
                    }
                }
                Ok::<_, StoreError>(held)
            })
            .await?
    };
    for (id, running) in running.iter() {
        if !held.iter().any(|(held, _fence)| held == id) {
            // Another worker has it now.
            running.signals.stop();
        }
    }
    for (id, fence) in held {
        if running.contains_key(&id) {
            continue;
        }
        let signals = Arc::new(Signals::default());
        let told = Arc::clone(&signals);
        let sync = sync::run(services.clone(), (id, fence), told, turns.clone());
        let ended = Arc::clone(ended);
        let task = tokio::spawn(async move {
            sync.await;
            ended.notify_one();
        });
        running.insert(
            id,
            Running {
                signals,
                task,
                is_stuck: false,
            },
        );
    }
    Ok(())
}
