//! What an administrator keeps, and what goes by itself: backups, keys, upkeep.

mod backup;
mod keys;
mod upkeep;

use crate::support::app::PATIENCE;
use mailroom::app::App;
use mailroom::store::StoreError;
use mailroom::store::sql::sql;
use std::time::{Duration, Instant};

/// A number that the database is asked for.
pub async fn number(app: &App, query: &'static str) -> i64 {
    let found: Result<Option<i64>, StoreError> =
        app.store.read(move |conn| sql(query).one(conn)).await;
    found.unwrap().unwrap()
}

/// Asks the database again and again until the number is this one.
pub async fn until_number(app: &App, query: &'static str, wanted: i64) {
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    loop {
        pace.tick().await;
        let found = number(app, query).await;
        if found == wanted {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{query}: {found}, not {wanted}"
        );
    }
}
