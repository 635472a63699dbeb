//! The bus of a single process.

use super::{Heard, WAITING_MAX, Wake};
use tokio::sync::broadcast;

/// Wake-ups within this process.
#[derive(Clone)]
pub struct MemoryBus {
    heard: broadcast::Sender<Heard>,
}

impl MemoryBus {
    pub(super) fn new() -> Self {
        Self {
            heard: broadcast::Sender::new(WAITING_MAX),
        }
    }

    pub(super) fn publish(&self, wake: &Wake) {
        // Nobody listening is no failure: nobody has to be woken.
        drop(self.heard.send(Heard::Wake(wake.clone())));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Heard> {
        self.heard.subscribe()
    }
}
