//! Random sequences of what people do (F9): conversions, moves, undos, reassignments, changes of roles and departments.
//! After each step both agree whether it was allowed and what is linked; what everybody sees is compared as it goes.

use super::compare::View;
use super::steps::{Seed, State};
use super::worlds::{self, SMALL, is_long};
use crate::support::app::On;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::Cell;

/// Between two looks at everything that a user sees.
const STEPS_BETWEEN_LOOKS: usize = 12;

/// Runs sequences until so many steps were taken.
fn run(on: On, wanted: u64) {
    let step = || any::<Seed>();
    let sequences = (worlds::seeds(SMALL), vec(step(), 1..80));
    let (steps, allowed, decided) = (Cell::new(0_u64), Cell::new(0_u64), Cell::new(0_u64));
    let is_enough = || steps.get() >= wanted;
    worlds::for_all(&sequences, is_enough, async |(seeds, sequence)| {
        let mut state = State::open(on, &seeds);
        for (n, seed) in sequence.iter().enumerate() {
            let was_allowed = state.step(*seed).await?;
            steps.set(steps.get() + 1);
            allowed.set(allowed.get() + u64::from(was_allowed));
            if n % STEPS_BETWEEN_LOOKS == STEPS_BETWEEN_LOOKS - 1 || n + 1 == sequence.len() {
                let users: Vec<i64> = state.world.users.keys().copied().collect();
                let user = users[n % users.len()];
                let found = View::new(&state.house, &state.world, user).compare().await;
                decided.set(
                    decided.get()
                        + found.map_err(|fault| format!("after step {}: {fault}", n + 1))?,
                );
            }
        }
        Ok(())
    });
    println!(
        "{} steps on {on:?}, {} of them allowed, {} decisions: 0 disagreements",
        steps.get(),
        allowed.get(),
        decided.get()
    );
    assert!(
        allowed.get() * 10 > steps.get(),
        "too little was allowed to prove anything"
    );
}

#[test]
fn r24_r34_r35_r36_sequences_of_steps_lead_where_the_model_says_on_sqlite() {
    run(On::Sqlite, if is_long() { 8_000 } else { 350 });
}

#[test]
fn r24_r34_r35_r36_sequences_of_steps_lead_where_the_model_says_on_postgresql() {
    run(On::Postgresql, if is_long() { 2_500 } else { 120 });
}
