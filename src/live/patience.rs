//! How long a stream waits for a store that is away. Not for: what it reads then.

use crate::store::StoreError;
use std::time::{Duration, Instant};

/// A database that is away for less is waited for; then the stream ends, and its client comes again.
const WAITS_FOR_STORE: Duration = Duration::from_secs(60);
/// Between two tries, spread so that not all streams come at once.
const TRIES_EVERY: Duration = Duration::from_secs(1);

/// The patience of one stream.
#[derive(Debug, Default)]
pub struct Patience {
    away_since: Option<Instant>,
}

impl Patience {
    /// Whether the stream is to try again, which is said when it is time to; false: it ends with this error.
    pub async fn bears(&mut self, error: &StoreError) -> bool {
        if !error.is_outside() {
            return false;
        }
        if self.away_since.is_none() {
            tracing::warn!(%error, "a live stream waits for the store");
        }
        let since = self.away_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= WAITS_FOR_STORE {
            return false;
        }
        tokio::time::sleep(TRIES_EVERY.mul_f64(0.5 + rand::random::<f64>())).await;
        true
    }

    /// The store is there.
    pub fn rests(&mut self) {
        self.away_since = None;
    }
}
