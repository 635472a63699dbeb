//! Who waits for which topic, in this process. A waiting stream costs one watch receiver, never a queue. Wake-ups may be
//! lost: one look at the store for the whole process finds out, and wakes everybody.

use crate::bus::{Bus, Heard, Wake};
use crate::model::topic::Topic;
use crate::store::{Store, timeline};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// How often it is looked whether wake-ups were lost. What one look finds must have been told of by the next.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A stream reads the store this often even if nothing woke it and nothing seems lost.
const READ_ANYWAY: Duration = Duration::from_secs(60);

/// The topics of this process and who waits for them. Each holds the number of its last wake-up.
#[derive(Default)]
pub struct Hub {
    topics: Mutex<HashMap<String, watch::Sender<u64>>>,
    heard: Arc<Wakes>,
}

/// The wake-ups that this process heard, numbered in the order in which they came.
#[derive(Default)]
pub(super) struct Wakes {
    last: AtomicU64,
    last_of_changes: AtomicU64,
    /// How far they told of the timeline.
    position: AtomicI64,
}

impl Wakes {
    /// The number of the last one, whatever it was about. What is read from now on has all that was told of up to it.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    /// The number of the last one after which entries may have to go from screens.
    pub fn last_of_changes(&self) -> u64 {
        self.last_of_changes.load(Ordering::SeqCst)
    }

    fn count(&self, may_take: bool) -> u64 {
        let number = self.last.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        if may_take {
            self.last_of_changes.store(number, Ordering::SeqCst);
        }
        number
    }
}

impl Hub {
    /// A hub that hears the bus for as long as it is used.
    pub fn start(bus: &Bus) -> Arc<Self> {
        let hub = Arc::new(Self::default());
        let mut heard = bus.subscribe();
        let weak = Arc::downgrade(&hub);
        tokio::spawn(async move {
            loop {
                let heard = heard.recv().await;
                let Some(hub) = weak.upgrade() else { return };
                match heard {
                    Ok(Heard::Wake(wake)) => hub.wake(&wake),
                    Ok(Heard::Doubt) | Err(RecvError::Lagged(_)) => hub.wake_all(),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        hub
    }

    /// Looks, for as long as the hub is used, whether the store has something that no wake-up told of.
    pub fn look_after(self: &Arc<Self>, store: Store) {
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut must_be_told = 0;
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let Some(hub) = weak.upgrade() else { return };
                if hub.heard.position.load(Ordering::SeqCst) < must_be_told {
                    hub.heard.position.store(must_be_told, Ordering::SeqCst);
                    hub.wake_all();
                }
                // A database that can't be read now is asked again next time.
                if let Ok(last) = store.read(timeline::last_position).await {
                    must_be_told = last.0;
                }
            }
        });
    }

    /// Waits for a topic from now on.
    pub fn listen(&self, topic: Topic) -> News {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = topics
            .entry(topic.to_string())
            .or_insert_with(|| watch::Sender::new(0));
        News {
            receivers: vec![sender.subscribe()],
        }
    }

    /// Waits for any of these topics from now on.
    pub fn listen_all(&self, topics: impl IntoIterator<Item = Topic>) -> News {
        let receivers = topics
            .into_iter()
            .flat_map(|topic| self.listen(topic).receivers)
            .collect();
        News { receivers }
    }

    /// How many topics somebody waits for, or lately did.
    pub fn topics(&self) -> usize {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.len()
    }

    /// The wake-ups that were heard.
    pub(super) fn wakes(&self) -> Arc<Wakes> {
        Arc::clone(&self.heard)
    }

    fn wake(&self, wake: &Wake) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = [Topic::Changes.to_string(), Topic::Rights.to_string()];
        let may_take = wake.topics.iter().any(|topic| takes.contains(topic));
        let number = self.heard.count(may_take);
        let told = &self.heard.position;
        told.fetch_max(wake.position, Ordering::SeqCst);
        for topic in &wake.topics {
            if let Some(sender) = topics.get(topic) {
                if sender.receiver_count() == 0 {
                    topics.remove(topic);
                } else {
                    sender.send_replace(number);
                }
            }
        }
    }

    fn wake_all(&self) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_topic, sender| sender.receiver_count() > 0);
        let number = self.heard.count(true);
        for sender in topics.values() {
            sender.send_replace(number);
        }
    }
}

/// News of some topics.
pub struct News {
    receivers: Vec<watch::Receiver<u64>>,
}

impl News {
    /// Returns when there is news since the last time, or it is time to read anyway; whether it was the news.
    pub async fn wait(&mut self) -> bool {
        let changed = self
            .receivers
            .iter_mut()
            .map(|receiver| Box::pin(receiver.changed()));
        let any = futures_util::future::select_all(changed);
        let is_news = match tokio::time::timeout(READ_ANYWAY, any).await {
            Ok((Ok(()), ..)) => true,
            Ok((Err(_closed), ..)) => {
                // The hub is gone: only the clock is left.
                tokio::time::sleep(READ_ANYWAY).await;
                false
            }
            Err(_elapsed) => false,
        };
        for receiver in &mut self.receivers {
            receiver.mark_unchanged();
        }
        is_news
    }

    /// The number of the last wake-up of these topics.
    pub(super) fn last(&self) -> u64 {
        let numbers = self.receivers.iter().map(|receiver| *receiver.borrow());
        numbers.max().unwrap_or(0)
    }
}
