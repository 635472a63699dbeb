//! How much each user may ask for in a minute, counted in the cost of their operations.
//! Not for: what one operation may cost (`cost`), or where it is counted (`bus`).

use std::sync::Arc;

use async_graphql::{SimpleObject, Value};

use super::limits::COST_MAX;
use super::scalars::DateTime;
use crate::bus::Spending;
use crate::model::{Time, UserId};

/// The limit of an API.
#[derive(Clone)]
pub struct Rates {
    /// Cost that each user may spend in a minute, at least that of one operation.
    pub limit_per_minute: u64,
    pub spending: Arc<Spending>,
    pub clock: fn() -> Time,
}

/// Where a user stands in the running minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: u64,
    pub remaining: u64,
    pub resets_at: Time,
    /// Until then, rounded up.
    pub resets_in_seconds: u64,
}

/// What an operation cost, and where that leaves its user; for resolvers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charged {
    pub cost: usize,
    /// `None`: there is no limit, or nobody is signed in.
    pub standing: Option<Standing>,
}

const MINUTE_SECONDS: i64 = 60;

impl Rates {
    /// Charges a user; the error is where they stand who have not enough left.
    pub fn charge(&self, user: UserId, cost: usize) -> Result<Standing, Standing> {
        let now = (self.clock)();
        let minute = now.seconds().div_euclid(MINUTE_SECONDS);
        let resets_at = Time::from_seconds((minute + 1) * MINUTE_SECONDS);
        let left = resets_at.seconds().saturating_sub(now.seconds());
        let standing = |spent: u64| Standing {
            limit: self.limit_per_minute,
            remaining: self.limit_per_minute.saturating_sub(spent),
            resets_at,
            resets_in_seconds: u64::try_from(left).unwrap_or(1).max(1),
        };
        // What loads nothing is work too.
        let cost = u64::try_from(cost).unwrap_or(u64::MAX).max(1);
        self.spending
            .spend(user.0, minute, cost, self.limit_per_minute)
            .map(standing)
            .map_err(standing)
    }
}

impl Charged {
    /// What `extensions.cost` says.
    pub fn told(&self) -> Value {
        let mut told = serde_json::json!({ "requested": self.cost, "limit": COST_MAX });
        if let (Some(standing), Some(told)) = (&self.standing, told.as_object_mut()) {
            told.insert("perMinute".to_owned(), standing.limit.into());
            told.insert("remaining".to_owned(), standing.remaining.into());
            let reset_at = standing.resets_at.to_rfc3339();
            told.insert("resetAt".to_owned(), reset_at.into());
        }
        Value::from_json(told).unwrap_or_default()
    }
}

/// How much the viewer may still ask for in the running minute. Each operation is charged before it runs, by what it could load; a
/// subscription once, when it begins.
#[derive(SimpleObject)]
pub struct RateLimit {
    /// What this operation costs; at most 1,000.
    cost: i32,
    /// The cost that each user may spend in a minute; null: there is no limit.
    limit: Option<i32>,
    /// What is left of it after this operation; null: there is no limit.
    remaining: Option<i32>,
    /// When it begins anew; null: there is no limit.
    reset_at: Option<DateTime>,
}

impl From<Charged> for RateLimit {
    fn from(charged: Charged) -> Self {
        let small = |number: u64| i32::try_from(number).unwrap_or(i32::MAX);
        let standing = charged.standing;
        Self {
            cost: i32::try_from(charged.cost).unwrap_or(i32::MAX),
            limit: standing.map(|standing| small(standing.limit)),
            remaining: standing.map(|standing| small(standing.remaining)),
            reset_at: standing.map(|standing| standing.resets_at.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(clock: fn() -> Time) -> Rates {
        Rates {
            limit_per_minute: 1_000,
            spending: Arc::default(),
            clock,
        }
    }

    #[test]
    fn t35_a_user_spends_so_much_in_a_minute_and_is_told_when_there_is_more() {
        let rates = rates(|| Time::from_seconds(125));
        let standing = rates.charge(UserId(1), 400).unwrap();
        assert_eq!((standing.remaining, standing.resets_in_seconds), (600, 55));
        assert_eq!(standing.resets_at, Time::from_seconds(180));
        let refused = rates.charge(UserId(1), 601).unwrap_err();
        assert_eq!(refused.remaining, 600);
        assert_eq!(rates.charge(UserId(1), 600).unwrap().remaining, 0);
        assert!(rates.charge(UserId(1), 0).is_err(), "nothing costs one");
        assert!(rates.charge(UserId(2), 1_000).is_ok());
    }
}
