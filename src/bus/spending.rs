//! What each user has spent in the running minute, in this process and, as far as Redis tells, in all of them. Asking
//! never waits for Redis: totals are exchanged now and then, and while it is away each process counts alone.
//! Not for: how much that may be (`graphql`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Users with something to tell that are told at once; the others follow.
pub(super) const TOLD_MAX: usize = 500;

/// The counts of the running minute.
#[derive(Debug, Default)]
pub struct Spending(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    users: HashMap<i64, Spent>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Spent {
    here: u64,
    /// What of that was told. Totals are told, not differences: one that is told twice counts once.
    told: u64,
    /// By other processes, as was heard last.
    elsewhere: u64,
}

/// What a user has spent here in a minute, to be told to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold {
    pub minute: i64,
    pub user: i64,
    pub total: u64,
}

impl Spending {
    fn minute(&self, number: i64) -> std::sync::MutexGuard<'_, Minute> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minute.number < number {
            *minute = Minute {
                number,
                users: HashMap::new(),
            };
        }
        minute
    }

    /// Spends, unless it would come to more than `limit` in this minute; what was spent by then.
    ///
    /// # Errors
    /// What was spent before, where this was too much.
    pub fn spend(&self, user: i64, number: i64, amount: u64, limit: u64) -> Result<u64, u64> {
        let mut minute = self.minute(number);
        let spent = minute.users.entry(user).or_default();
        let before = spent.here.saturating_add(spent.elsewhere);
        let after = before.saturating_add(amount);
        if after > limit {
            return Err(before);
        }
        spent.here = spent.here.saturating_add(amount);
        Ok(after)
    }

    /// What is to be told, at most so much at once. It counts as told from now on.
    pub(super) fn take_untold(&self) -> Vec<Untold> {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = minute.number;
        let untold = minute
            .users
            .iter_mut()
            .filter(|(_, spent)| spent.told < spent.here);
        untold
            .take(TOLD_MAX)
            .map(|(user, spent)| {
                spent.told = spent.here;
                Untold {
                    minute: number,
                    user: *user,
                    total: spent.here,
                }
            })
            .collect()
    }

    /// Everybody's total, after what was told. What others spent never falls within a minute: Redis may have lost some.
    pub(super) fn hear(&self, told: &Untold, total: u64) {
        let mut minute = self.minute(told.minute);
        if minute.number == told.minute
            && let Some(spent) = minute.users.get_mut(&told.user)
        {
            spent.elsewhere = spent.elsewhere.max(total.saturating_sub(told.total));
        }
    }

    /// It may not have been told: it is told again.
    pub(super) fn take_back(&self, told: &[Untold]) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = minute.number;
        for told in told.iter().filter(|told| told.minute == number) {
            if let Some(spent) = minute.users.get_mut(&told.user) {
                spent.told = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_so_much_and_the_next_as_much_again() {
        let spending = Spending::default();
        assert_eq!(spending.spend(1, 10, 60, 100), Ok(60));
        assert_eq!(spending.spend(1, 10, 41, 100), Err(60));
        assert_eq!(spending.spend(1, 10, 40, 100), Ok(100));
        assert_eq!(spending.spend(2, 10, 100, 100), Ok(100));
        assert_eq!(spending.spend(1, 11, 100, 100), Ok(100));
        // A clock that is a little behind spends in the newer minute.
        assert_eq!(spending.spend(1, 10, 1, 100), Err(100));
    }

    #[test]
    fn what_others_spent_counts_once_it_is_heard() {
        let spending = Spending::default();
        spending.spend(1, 10, 60, 100).unwrap();
        let untold = spending.take_untold();
        assert_eq!(
            untold,
            [Untold {
                minute: 10,
                user: 1,
                total: 60
            }]
        );
        assert_eq!(spending.take_untold(), []);
        spending.hear(&untold[0], 90);
        assert_eq!(spending.spend(1, 10, 11, 100), Err(90));
        // A Redis that began anew knows less.
        spending.hear(&untold[0], 60);
        assert_eq!(spending.spend(1, 10, 10, 100), Ok(100));
    }

    #[test]
    fn what_is_told_twice_counts_once() {
        let spending = Spending::default();
        spending.spend(1, 10, 60, 100).unwrap();
        let untold = spending.take_untold();
        // It was told, but the answer was lost.
        spending.take_back(&untold);
        assert_eq!(spending.spend(1, 10, 41, 100), Err(60));
        assert_eq!(spending.take_untold(), untold);
        spending.hear(&untold[0], 60);
        assert_eq!(spending.spend(1, 10, 40, 100), Ok(100));
        spending.spend(1, 11, 1, 100).unwrap();
        spending.take_back(&untold);
        assert_eq!(spending.spend(1, 11, 99, 100), Ok(100));
    }
}
