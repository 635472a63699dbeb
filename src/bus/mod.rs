//! Wake-ups between processes: in memory, or through Redis. A wake-up may be lost or repeated;
//! whoever is woken reads the store, and reads it anyway now and then. Also counts that may be lost: what users spend.
//! Not for: content. Nothing that a client sees ever travels here.

mod memory;
mod redis;
mod spending;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::broadcast;

pub use spending::Spending;

/// Some topics have news up to a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    pub topics: Vec<String>,
    pub position: i64,
}

/// What comes out of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// News.
    Wake(Wake),
    /// Wake-ups may have been lost: everybody reads.
    Doubt,
}

/// The bus could not carry a wake-up; it is tried again.
#[derive(Debug, Error)]
pub enum BusError {
    /// The URL can't be used.
    #[error("REDIS_URL can't be used: {0}")]
    Setting(String),
    /// Redis is not there.
    #[error("Redis: {0}")]
    Unavailable(String),
}

/// Wake-ups that a slow listener may lag behind; a listener that lags further hears `Doubt` by the channel's own error.
const WAITING_MAX: usize = 1024;

/// The bus of one process. Cheap to clone.
#[derive(Clone)]
pub enum Bus {
    /// Within this process.
    Memory(memory::MemoryBus),
    /// Between the processes of one installation.
    Redis(redis::RedisBus),
}

impl Bus {
    /// For one process alone.
    pub fn memory() -> Self {
        Self::Memory(memory::MemoryBus::new())
    }

    /// Through a Redis server; `installation` keeps two installations on one server apart.
    /// Redis need not be there yet: the bus connects when it can.
    ///
    /// # Errors
    /// `Setting` for a URL that can't be used.
    pub fn redis(url: &str, installation: &str) -> Result<Self, BusError> {
        redis::RedisBus::start(url, installation).map(Self::Redis)
    }

    /// Publishes; blocks for as long as Redis takes.
    ///
    /// # Errors
    /// `Unavailable`: try again.
    pub fn publish(&self, wake: &Wake) -> Result<(), BusError> {
        match self {
            Self::Memory(bus) => {
                bus.publish(wake);
                Ok(())
            }
            Self::Redis(bus) => bus.publish(wake),
        }
    }

    /// Whether there are other processes to exchange counts with.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// Tells other processes what was spent here, and hears what was spent there; blocks for as long as Redis takes.
    ///
    /// # Errors
    /// `Unavailable`: until it works again, this process counts alone.
    pub fn share(&self, spending: &Spending) -> Result<(), BusError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(bus) => bus.share(spending),
        }
    }

    /// Hears everything from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Heard> {
        match self {
            Self::Memory(bus) => bus.subscribe(),
            Self::Redis(bus) => bus.subscribe(),
        }
    }

    /// Whether wake-ups get through at present.
    pub fn is_up(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(bus) => bus.is_up(),
        }
    }
}
