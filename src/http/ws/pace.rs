//! How fast one socket may start operations. A socket that is too fast is not refused: it is read
//! more slowly, and its sender feels that. Pure: the time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// In the long run ten a second: no screen opens more.
const INTERVAL: Duration = Duration::from_millis(100);
/// Ahead of that by this many at once: a page that has just connected opens all it has.
const BURST: u32 = 60;

/// When the next operation may start.
#[derive(Debug, Default)]
pub struct Pace {
    /// The moment up to which operations have used their time.
    used_up_to: Option<Instant>,
}

impl Pace {
    /// Counts an operation that starts now.
    pub fn count(&mut self, now: Instant) {
        let from = self.used_up_to.map_or(now, |used| used.max(now));
        self.used_up_to = Some(from + INTERVAL);
    }

    /// When to read on; `None`: at once.
    pub fn wait_until(&self, now: Instant) -> Option<Instant> {
        let allowance = INTERVAL * BURST;
        let ready = self.used_up_to?.checked_sub(allowance)?;
        (ready > now).then_some(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_passes_and_what_follows_is_slowed_down() {
        let start = Instant::now() + Duration::from_secs(3_600);
        let mut pace = Pace::default();
        for _ in 0..BURST {
            pace.count(start);
            assert_eq!(pace.wait_until(start), None);
        }
        pace.count(start);
        assert_eq!(pace.wait_until(start), Some(start + INTERVAL));
        assert_eq!(pace.wait_until(start + INTERVAL), None);
    }
}
