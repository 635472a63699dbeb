//! The outbox on its way to the bus. What was committed is published after, and again if it has to be:
//! a wake-up twice does no harm, a wake-up never costs a second.

use crate::bus::{Bus, Wake};
use crate::clock;
use crate::model::measure::Beats;
use crate::model::timeline::Position;
use crate::store::{Store, StoreError, outbox};
use std::time::Duration;

/// Without a commit of this process the outbox is read this often, for what others left there.
const READ_ANYWAY: Duration = Duration::from_secs(1);
/// Rows that one wake-up covers at most: it names each of their topics once.
const ROWS_MAX: i64 = 1000;
/// Published rows are deleted once so many positions have passed, or the outbox was idle: each deletion is a commit. Where
/// others publish too, they go as soon as they are told, so that nobody tells them again; where this process is alone,
/// they wait for a second without commits.
const DELETE_EVERY: i64 = 2000;

/// Publishes for as long as it is polled, what was committed behind `told`; `beats` tell that it does, and when it had last
/// published everything.
pub async fn run(store: Store, bus: Bus, beats: Beats, told: Position) {
    let mut published = told;
    let mut deleted = Position(0);
    let mut is_quiet = true;
    loop {
        let begun = clock::now();
        beats.relay.beat(begun);
        let step = step(&store, &bus, published).await;
        let is_idle = match step {
            Ok(Some(last)) => {
                // Fewer positions than a step takes: all that was there when it began is told.
                if last.0.saturating_sub(published.0) < ROWS_MAX {
                    beats.outbox.beat(begun);
                }
                published = last;
                false
            }
            Ok(None) => {
                beats.outbox.beat(begun);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox waits");
                true
            }
        };
        let undeleted = published.0 - deleted.0;
        let is_time = is_idle && (is_quiet || bus.is_shared());
        if undeleted > 0 && (is_time || undeleted >= DELETE_EVERY) {
            let until = published;
            let outcome = store
                .write(clock::now(), move |tx| {
                    outbox::delete_until(tx, until)?;
                    Ok::<_, StoreError>(())
                })
                .await;
            match outcome {
                Ok(()) => deleted = until,
                Err(error) => tracing::warn!(%error, "the outbox could not be emptied"),
            }
        }
        if is_idle {
            // Woken by a commit, or by the clock; both lead to the same reading.
            let woken = tokio::time::timeout(READ_ANYWAY, store.committed().notified()).await;
            is_quiet = woken.is_err();
        }
    }
}

/// Publishes the rows behind `after`; the last position among them.
async fn step(store: &Store, bus: &Bus, after: Position) -> Result<Option<Position>, RelayError> {
    let rows = store
        .read(move |conn| outbox::list_after(conn, after, ROWS_MAX))
        .await?;
    let Some((last, topics)) = rows else {
        return Ok(None);
    };
    let wake = Wake {
        topics,
        position: last.0,
    };
    let bus = bus.clone();
    tokio::task::spawn_blocking(move || bus.publish(&wake))
        .await
        .map_err(|error| RelayError::Ended(error.to_string()))??;
    Ok(Some(last))
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] crate::bus::BusError),
    #[error("{0}")]
    Ended(String),
}
