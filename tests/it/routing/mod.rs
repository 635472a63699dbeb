//! Where mail goes (R3, R11-R20), through the real ingest: one office on a database of its own, on both databases.

/// Makes two tests of each: on SQLite and on PostgreSQL. They are plain tests, since ingest blocks as workers do.
macro_rules! on_each {
    ($($(#[$doc:meta])* fn $name:ident($office:ident) $body:block)+) => {$(
        mod $name {
            use super::*;
            use crate::routing::office::Office;
            use crate::support::app::On;

            fn test($office: Office) $body

            #[test]
            fn sqlite() {
                test(Office::new(On::Sqlite));
            }

            #[test]
            fn postgresql() {
                test(Office::new(On::Postgresql));
            }
        }
    )+};
}

mod arriving;
mod automatic;
mod generate;
mod guards;
mod introductions;
#[rustfmt::skip] // A page of rules, with a rule on each line.
mod model;
mod office;
mod queue;
mod replay;
mod rerouting;
mod simulation;
mod threads;
