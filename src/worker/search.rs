//! The indexer: what came or changed is found within seconds. One process at a time does it, under a lease; ended anywhere,
//! it goes on with what still waits.
//! Not for: what becomes of a batch (that is `actions::index_search`).

use crate::actions::index_search::{BATCH, BATCH_BEHIND, Place, begin_now, index_batch_now};
use crate::clock;
use crate::store::leases::{self, Fence};
use crate::store::raw::RawStore;
use crate::store::search_index::{self, Standing};
use crate::store::{AnyConn, Store, StoreError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often it looks whether something waits: what comes is found well within five seconds.
const EVERY: Duration = Duration::from_millis(500);
/// While mails come by the hundred they gather for so long, since storing them goes first and few large transactions cost
/// less than many small ones. Each is still found within five seconds.
const GATHERING: Duration = Duration::from_secs(2);
const LEASE: &str = "search";
/// Renewed when half of it is over. An indexer that died is followed within so long.
const LEASE_SECONDS: i64 = 4;
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// What the indexer needs.
#[derive(Clone)]
pub struct IndexServices {
    pub store: Store,
    pub raw: RawStore,
}

/// What the indexer knows of its lease.
struct Holder {
    name: String,
    fence: Option<Fence>,
    renewed: Instant,
    /// Since when more waits than one batch, all of which is to be indexed together.
    gathering_since: Option<Instant>,
}

impl Holder {
    /// One that holds nothing yet.
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            fence: None,
            renewed: Instant::now(),
            gathering_since: None,
        }
    }
}

/// Indexes until told to stop.
pub async fn run(services: IndexServices, mut stop: watch::Receiver<bool>) {
    let name = format!("{:016x}", rand::random::<u64>());
    let mut holder = Holder::new(&name);
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _stopped = stop.wait_for(|stop| *stop) => break,
        }
        let (services, stopped) = (services.clone(), stop.clone());
        let round = tokio::task::spawn_blocking(move || {
            let outcome = round_now(&services, &mut holder, &|| *stopped.borrow());
            (outcome, holder)
        });
        match round.await {
            Ok((outcome, back)) => {
                holder = back;
                if let Err(error) = outcome {
                    tracing::warn!(%error, "indexing goes on in a moment");
                    holder.fence = None;
                }
            }
            Err(error) => {
                // What it knew of its lease went with it; the lease itself is still its own.
                tracing::error!(%error, "indexing broke off, and goes on in a moment");
                holder = Holder::new(&name);
            }
        }
    }
    let store = services.store;
    let released = store
        .write(clock::now(), move |tx| leases::release(tx, LEASE, &name))
        .await;
    if let Err(error) = released {
        tracing::warn!(%error, "the indexer's lease runs out by itself");
    }
}

/// Indexes all that waits, unless another process does.
fn round_now(
    services: &IndexServices,
    holder: &mut Holder,
    is_stopped: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    let mut limit = BATCH;
    while !is_stopped() {
        // Where nothing waits, nothing is written, not even a lease.
        let look = |conn: &mut AnyConn| search_index::standing(conn, BATCH);
        let standing = services.store.read_now(look)?;
        if standing == Standing::UpToDate || !renew_now(services, holder)? {
            holder.gathering_since = None;
            return Ok(());
        }
        if standing == Standing::FarBehind && limit == BATCH {
            let since = &mut holder.gathering_since;
            if since.get_or_insert_with(Instant::now).elapsed() < GATHERING {
                return Ok(());
            }
            limit = BATCH_BEHIND;
        }
        let place = Place {
            store: &services.store,
            raw: &services.raw,
            fence: holder.fence.as_ref(),
        };
        if standing == Standing::Old {
            begin_now(place, clock::now())?;
        }
        let count = index_batch_now(place, clock::now(), limit)?;
        if count < limit {
            holder.gathering_since = None;
            limit = BATCH;
        }
    }
    Ok(())
}

/// Takes the lease, or renews it; whether it is held.
fn renew_now(services: &IndexServices, holder: &mut Holder) -> Result<bool, StoreError> {
    if holder.fence.is_some() && holder.renewed.elapsed() < RENEW_EVERY {
        return Ok(true);
    }
    let asked = Instant::now();
    let name = holder.name.as_str();
    let number = services.store.write_now(clock::now(), |tx| {
        leases::claim(tx, LEASE, name, LEASE_SECONDS)
    })?;
    // Whoever indexes takes the texts of mails that this process reads.
    services.raw.texts().want(number.is_some());
    holder.renewed = asked;
    holder.fence = number.map(|number| Fence {
        name: LEASE.to_owned(),
        number,
    });
    Ok(holder.fence.is_some())
}
