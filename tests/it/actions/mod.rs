//! What changes the CRM, on a database of its own each: rights on both sides, refusals that write nothing, and what is told.

/// Makes two tests of one: on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    (async fn $name:ident($world:ident) $body:block) => {
        mod $name {
            use super::*;
            use crate::actions::world::World;
            use crate::support::app::On;

            async fn test($world: World) $body

            #[tokio::test]
            async fn sqlite() {
                test(World::new(On::Sqlite).await).await;
            }

            #[tokio::test]
            async fn postgresql() {
                test(World::new(On::Postgresql).await).await;
            }
        }
    };
}

mod access;
mod activities;
mod convert_lead;
mod departments;
mod idempotency;
mod items;
mod mailboxes;
mod mutations;
mod passwords;
mod people;
mod removal;
mod roles;
mod stages;
pub mod world;
