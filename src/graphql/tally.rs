//! What was asked and how it ended, counted by type and outcome: numbers alone, no names, no documents.
//! Not for: what stands in the log.

use std::sync::Arc;
use std::time::Duration;

use super::document::OperationKind;
use super::error::Code;
use crate::model::measure::{Counter, Durations, Gauge, Histogram, micros};

/// The types of operations, and what was refused before its type was known.
pub const TYPES: [&str; 4] = ["query", "mutation", "subscription", "unknown"];
/// Bounds of costs: one row, a page, the limit.
const COST_BOUNDS: [u64; 7] = [1, 5, 25, 100, 250, 500, 1_000];

/// A histogram of static costs.
pub type CostSpread = Histogram<7>;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It ran without errors; a subscription: it began.
    Ok,
    /// It ran, and some fields failed.
    Errors,
    /// It was not run.
    Refused(Code),
}

impl Outcome {
    fn place(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Errors => 1,
            Self::Refused(code) => {
                let place = Code::ALL.iter().position(|known| *known == code);
                place.unwrap_or(0).saturating_add(2)
            }
        }
    }

    /// The words for a label, in the order of [`Outcome::place`].
    fn words() -> impl Iterator<Item = &'static str> {
        let codes = Code::ALL.iter().map(|code| code.as_text());
        ["OK", "ERRORS"].into_iter().chain(codes)
    }
}

/// Operations of one type.
#[derive(Debug)]
struct OfType {
    outcomes: Vec<Counter>,
    durations: Durations,
    costs: CostSpread,
}

/// The counts of one API since the process began.
#[derive(Debug)]
pub struct Tally {
    types: [OfType; TYPES.len()],
    /// Subscriptions that run.
    pub subscriptions: Arc<Gauge>,
    /// Events that subscriptions have delivered.
    pub events: Counter,
}

impl Default for Tally {
    fn default() -> Self {
        let of_type = || OfType {
            outcomes: Outcome::words().map(|_word| Counter::default()).collect(),
            durations: Durations::default(),
            costs: Histogram::new(COST_BOUNDS),
        };
        Self {
            types: std::array::from_fn(|_| of_type()),
            subscriptions: Arc::default(),
            events: Counter::default(),
        }
    }
}

impl Tally {
    fn of(&self, kind: Option<OperationKind>) -> &OfType {
        let [query, mutation, subscription, unknown] = &self.types;
        match kind {
            Some(OperationKind::Query) => query,
            Some(OperationKind::Mutation) => mutation,
            Some(OperationKind::Subscription) => subscription,
            None => unknown,
        }
    }

    /// An operation ended, or a subscription began.
    pub fn ended(&self, kind: Option<OperationKind>, outcome: Outcome) {
        if let Some(counter) = self.of(kind).outcomes.get(outcome.place()) {
            counter.count();
        }
    }

    /// An operation was let through at this cost.
    pub fn cost(&self, kind: OperationKind, cost: usize) {
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        self.of(Some(kind)).costs.take(cost);
    }

    /// A query or mutation took so long.
    pub fn took(&self, kind: OperationKind, duration: Duration) {
        self.of(Some(kind)).durations.take(micros(duration));
    }

    /// Each type and outcome that there was, with its count.
    pub fn outcomes(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut found = Vec::new();
        for (name, of_type) in TYPES.iter().zip(&self.types) {
            for (word, counter) in Outcome::words().zip(&of_type.outcomes) {
                if counter.get() > 0 {
                    found.push((*name, word, counter.get()));
                }
            }
        }
        found
    }

    /// How long queries and mutations took.
    pub fn durations(&self) -> impl Iterator<Item = (&'static str, &Durations)> {
        let named = TYPES.iter().zip(&self.types).take(2);
        named.map(|(name, of_type)| (*name, &of_type.durations))
    }

    /// What the operations of each known type cost.
    pub fn costs(&self) -> impl Iterator<Item = (&'static str, &CostSpread)> {
        let named = TYPES.iter().zip(&self.types).take(3);
        named.map(|(name, of_type)| (*name, &of_type.costs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_place_and_a_word_of_its_own() {
        let tally = Tally::default();
        tally.ended(Some(OperationKind::Query), Outcome::Ok);
        tally.ended(Some(OperationKind::Mutation), Outcome::Errors);
        for code in Code::ALL {
            tally.ended(None, Outcome::Refused(*code));
        }
        let outcomes = tally.outcomes();
        assert_eq!(outcomes.len(), 2 + Code::ALL.len());
        assert!(outcomes.contains(&("query", "OK", 1)));
        assert!(outcomes.contains(&("mutation", "ERRORS", 1)));
        assert!(outcomes.contains(&("unknown", "RATE_LIMITED", 1)));
    }
}
