//! The bus between processes: one Redis channel an installation.

use super::spending::TOLD_MAX;
use super::{BusError, Heard, Spending, WAITING_MAX, Wake};
use redis::{Client, Commands, Connection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::broadcast;

/// How long the listener waits for a message before it looks whether it should end and pings the server.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// While Redis is down everybody reads the store this often.
const DOWN_TICK: Duration = Duration::from_secs(1);
/// Counts of a minute are kept for so long: clocks differ, and nobody asks for them later.
const SPENT_SECONDS: i64 = 180;
/// A publish that takes longer is tried again later.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Wake-ups through a Redis server.
#[derive(Clone)]
pub struct RedisBus(Arc<Inner>);

struct Inner {
    client: Client,
    channel: String,
    /// What the names of counts begin with, and this process among those that count.
    spending: String,
    process: String,
    publisher: Mutex<Option<Connection>>,
    heard: broadcast::Sender<Heard>,
    is_up: AtomicBool,
    /// Woken when the bus is dropped, so that a listener that waits for Redis ends at once.
    ended: std::sync::mpsc::Sender<()>,
}

impl RedisBus {
    pub(super) fn start(url: &str, installation: &str) -> Result<Self, BusError> {
        let client = Client::open(url).map_err(|error| BusError::Setting(error.to_string()))?;
        let (ended, ending) = std::sync::mpsc::channel();
        let inner = Arc::new(Inner {
            client,
            channel: format!("mailroom:{installation}:wake"),
            spending: format!("mailroom:{installation}:spent"),
            process: format!("{:016x}", rand::random::<u64>()),
            publisher: Mutex::new(None),
            heard: broadcast::Sender::new(WAITING_MAX),
            is_up: AtomicBool::new(false),
            ended,
        });
        let listener = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name("redis-listener".to_owned())
            .spawn(move || listen_for_ever(&listener, &ending))
            .map_err(|error| BusError::Setting(error.to_string()))?;
        Ok(Self(inner))
    }

    pub(super) fn publish(&self, wake: &Wake) -> Result<(), BusError> {
        let text = serde_json::to_string(wake)
            .map_err(|error| BusError::Unavailable(error.to_string()))?;
        self.with_connection(|connection| {
            let heard: redis::RedisResult<i64> = connection.publish(&self.0.channel, text);
            heard.map(drop)
        })
    }

    pub(super) fn share(&self, spending: &Spending) -> Result<(), BusError> {
        loop {
            let told = spending.take_untold();
            if told.is_empty() {
                return Ok(());
            }
            // Each process tells its own total: one that is told twice, since the answer was lost, counts once.
            let totals: Result<Vec<Vec<u64>>, BusError> = self.with_connection(|connection| {
                let mut pipe = redis::pipe();
                for spent in &told {
                    let key = format!("{}:{}:{}", self.0.spending, spent.minute, spent.user);
                    pipe.hset(&key, &self.0.process, spent.total).ignore();
                    pipe.expire(&key, SPENT_SECONDS).ignore();
                    pipe.hvals(&key);
                }
                pipe.query(connection)
            });
            match totals {
                Ok(totals) => {
                    for (spent, totals) in told.iter().zip(totals) {
                        spending.hear(spent, totals.into_iter().fold(0, u64::saturating_add));
                    }
                }
                Err(error) => {
                    spending.take_back(&told);
                    return Err(error);
                }
            }
            // What was spent meanwhile is told the next time: nobody may keep the connection for good.
            if told.len() < TOLD_MAX {
                return Ok(());
            }
        }
    }

    /// The connection for what is said, made where there is none.
    fn with_connection<T>(
        &self,
        say: impl FnOnce(&mut Connection) -> redis::RedisResult<T>,
    ) -> Result<T, BusError> {
        let unavailable = |error: redis::RedisError| BusError::Unavailable(error.to_string());
        let mut publisher = self
            .0
            .publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if publisher.is_none() {
            let connection = self
                .0
                .client
                .get_connection_with_timeout(PUBLISH_TIMEOUT)
                .and_then(|connection| {
                    connection.set_read_timeout(Some(PUBLISH_TIMEOUT))?;
                    connection.set_write_timeout(Some(PUBLISH_TIMEOUT))?;
                    Ok(connection)
                })
                .map_err(unavailable)?;
            *publisher = Some(connection);
        }
        let Some(connection) = publisher.as_mut() else {
            return Err(BusError::Unavailable("no connection".to_owned()));
        };
        say(connection).map_err(|error| {
            // The next one connects anew.
            *publisher = None;
            unavailable(error)
        })
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Heard> {
        self.0.heard.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        self.0.is_up.load(Ordering::Relaxed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.ended.send(()).is_err() {
            tracing::debug!("the Redis listener had ended already");
        }
    }
}

fn listen_for_ever(bus: &Weak<Inner>, ending: &std::sync::mpsc::Receiver<()>) {
    loop {
        let Some(inner) = bus.upgrade() else { return };
        let client = inner.client.clone();
        let channel = inner.channel.clone();
        drop(inner);
        let outcome = listen(bus, &client, &channel);
        let Some(inner) = bus.upgrade() else { return };
        if inner.is_up.swap(false, Ordering::Relaxed)
            && let Err(error) = outcome
        {
            tracing::warn!(%error, "Redis is gone; live streams read the database each second until it is back");
        }
        drop(inner.heard.send(Heard::Doubt));
        drop(inner);
        if ending.recv_timeout(DOWN_TICK).is_ok() {
            return;
        }
    }
}

/// Listens until the connection breaks or the bus is dropped.
fn listen(bus: &Weak<Inner>, client: &Client, channel: &str) -> redis::RedisResult<()> {
    let mut connection = client.get_connection_with_timeout(PUBLISH_TIMEOUT)?;
    connection.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut listener = connection.as_pubsub();
    listener.subscribe(channel)?;
    if let Some(inner) = bus.upgrade() {
        if !inner.is_up.swap(true, Ordering::Relaxed) {
            tracing::info!("connected to Redis");
        }
        // What was published before the subscription stood is unknown.
        drop(inner.heard.send(Heard::Doubt));
    }
    loop {
        let message = match listener.get_message() {
            Ok(message) => message,
            Err(error) if error.is_timeout() => {
                if bus.upgrade().is_none() {
                    return Ok(());
                }
                listener.ping::<redis::Value>()?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(inner) = bus.upgrade() else {
            return Ok(());
        };
        let text: String = message.get_payload()?;
        let heard = serde_json::from_str(&text).map_or(Heard::Doubt, Heard::Wake);
        drop(inner.heard.send(heard));
    }
}
