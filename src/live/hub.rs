//! Who waits for which topic, in this process. A waiting stream costs one watch receiver, never a queue.

use crate::bus::{Bus, Heard, Wake};
use crate::model::topic::Topic;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// A stream reads the store this often even if nothing woke it: wake-ups may be lost.
const READ_ANYWAY: Duration = Duration::from_secs(15);

/// The topics of this process and who waits for them.
#[derive(Default)]
pub struct Hub {
    topics: Mutex<HashMap<String, watch::Sender<u64>>>,
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

    fn wake(&self, wake: &Wake) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in &wake.topics {
            if let Some(sender) = topics.get(topic) {
                if sender.receiver_count() == 0 {
                    topics.remove(topic);
                } else {
                    sender.send_modify(|count| *count += 1);
                }
            }
        }
    }

    fn wake_all(&self) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|_topic, sender| sender.receiver_count() > 0);
        for sender in topics.values() {
            sender.send_modify(|count| *count += 1);
        }
    }
}

/// News of some topics.
pub struct News {
    receivers: Vec<watch::Receiver<u64>>,
}

impl News {
    /// Returns when there is news since the last time, or it is time to read anyway.
    pub async fn wait(&mut self) {
        let changed = self
            .receivers
            .iter_mut()
            .map(|receiver| Box::pin(receiver.changed()));
        let any = futures_util::future::select_all(changed);
        if let Ok((Err(_closed), ..)) = tokio::time::timeout(READ_ANYWAY, any).await {
            // The hub is gone: only the clock is left.
            tokio::time::sleep(READ_ANYWAY).await;
        }
        for receiver in &mut self.receivers {
            receiver.mark_unchanged();
        }
    }
}
