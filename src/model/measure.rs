//! What rooms count of themselves, for whoever runs them: counters, gauges, histograms and beats, all without locks.
//! Not for: how these are published (`http`), or anything that a decision depends on.

use super::Time;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many by now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of something there are at the moment.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more, until what is returned is dropped.
    pub fn enter(self: &Arc<Self>) -> Present {
        self.0.fetch_add(1, Ordering::Relaxed);
        Present(Arc::clone(self))
    }

    /// How many there are.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of those that a gauge counts.
#[derive(Debug)]
pub struct Present(Arc<Gauge>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How often values lay between which bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [u64; N],
    /// Values up to each bound and above the one before.
    counts: [Counter; N],
    beyond: Counter,
    sum: Counter,
}

/// A histogram as it stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Each bound, rising, and how many values were at most that.
    pub up_to: Vec<(u64, u64)>,
    pub count: u64,
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// With these bounds, rising.
    pub fn new(bounds: [u64; N]) -> Self {
        Self {
            bounds,
            counts: std::array::from_fn(|_| Counter::default()),
            beyond: Counter::default(),
            sum: Counter::default(),
        }
    }

    /// Takes in a value.
    pub fn take(&self, value: u64) {
        let place = self.bounds.iter().position(|bound| value <= *bound);
        let counter = place.and_then(|place| self.counts.get(place));
        counter.unwrap_or(&self.beyond).count();
        self.sum.add(value);
    }

    /// As it stands.
    pub fn spread(&self) -> Spread {
        let mut count = 0_u64;
        let up_to = self
            .bounds
            .iter()
            .zip(&self.counts)
            .map(|(bound, counter)| {
                count = count.saturating_add(counter.get());
                (*bound, count)
            })
            .collect();
        Spread {
            up_to,
            count: count.saturating_add(self.beyond.get()),
            sum: self.sum.get(),
        }
    }
}

/// Bounds for what a person waits for, in microseconds: from a millisecond to the deadline of 10 s.
pub const DURATION_BOUNDS: [u64; 12] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// A histogram of durations, in microseconds.
pub type Durations = Histogram<12>;

impl Default for Durations {
    fn default() -> Self {
        Self::new(DURATION_BOUNDS)
    }
}

/// A duration as histograms take it.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// When a loop last came round.
#[derive(Debug)]
pub struct Beat(AtomicI64);

impl Beat {
    /// Of a loop that is started now.
    pub const fn new(now: Time) -> Self {
        Self(AtomicI64::new(now.micros()))
    }

    /// It came round.
    pub fn beat(&self, now: Time) {
        self.0.store(now.micros(), Ordering::Relaxed);
    }

    /// For how long it has not, in microseconds.
    pub fn age_micros(&self, now: Time) -> u64 {
        let age = now.micros().saturating_sub(self.0.load(Ordering::Relaxed));
        u64::try_from(age).unwrap_or(0)
    }
}

/// The loops of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Beats {
    /// The relay of the outbox.
    pub relay: Arc<Beat>,
    /// When the relay had last published all that was committed.
    pub outbox: Arc<Beat>,
    /// What gives mailboxes to threads; `None` in a process that syncs none.
    pub supervisor: Option<Arc<Beat>>,
}

impl Beats {
    /// Of a process that starts now.
    pub fn new(now: Time, syncs: Syncs) -> Self {
        let beat = || Arc::new(Beat::new(now));
        Self {
            relay: beat(),
            outbox: beat(),
            supervisor: (syncs == Syncs::Here).then(beat),
        }
    }
}

/// Whether a process syncs mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    Here,
    Elsewhere,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_each_bound_and_beyond() {
        let histogram = Histogram::new([10, 100]);
        for value in [0, 10, 11, 100, 101, 5_000] {
            histogram.take(value);
        }
        let wanted = Spread {
            up_to: vec![(10, 2), (100, 4)],
            count: 6,
            sum: 5_222,
        };
        assert_eq!(histogram.spread(), wanted);
    }

    #[test]
    fn a_gauge_counts_what_is_there() {
        let gauge = Arc::new(Gauge::default());
        let first = gauge.enter();
        let second = gauge.enter();
        assert_eq!(gauge.get(), 2);
        drop(first);
        drop(second);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_beat_tells_its_age_and_never_a_negative_one() {
        let beat = Beat::new(Time::from_seconds(10));
        assert_eq!(beat.age_micros(Time::from_seconds(12)), 2_000_000);
        beat.beat(Time::from_seconds(12));
        assert_eq!(beat.age_micros(Time::from_seconds(11)), 0);
    }
}
