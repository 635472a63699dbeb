//! Random worlds: what every user finds through GraphQL is what the model says (R21-R27), on both databases.

use super::compare::View;
use super::house::House;
use super::model::World;
use super::worlds::{self, LARGE, is_long};
use crate::support::app::On;
use std::cell::Cell;

/// Compares everything of everybody in this world; how many decisions that were.
async fn compare(on: On, world: &World) -> Result<u64, String> {
    let house = House::with(on, world);
    let mut decided = 0;
    for user in world.users.keys() {
        decided += View::new(&house, world, *user).compare().await?;
    }
    Ok(decided)
}

/// Compares random worlds until so many decisions were compared.
fn compare_worlds(on: On, decisions: u64) {
    let (decided, worlds) = (Cell::new(0_u64), Cell::new(0_u32));
    let seeds = worlds::seeds(LARGE);
    let is_enough = || decided.get() >= decisions;
    worlds::for_all(&seeds, is_enough, async |seeds| {
        let found = compare(on, &seeds.world()).await?;
        decided.set(decided.get() + found);
        worlds.set(worlds.get() + 1);
        Ok(())
    });
    println!(
        "{} decisions (user, world, object x operation) in {} worlds on {on:?}: 0 disagreements",
        decided.get(),
        worlds.get()
    );
}

#[test]
fn r21_r27_random_worlds_look_as_the_model_says_on_sqlite() {
    compare_worlds(On::Sqlite, if is_long() { 800_000 } else { 80_000 });
}

#[test]
fn r21_r27_random_worlds_look_as_the_model_says_on_postgresql() {
    compare_worlds(On::Postgresql, if is_long() { 250_000 } else { 25_000 });
}
