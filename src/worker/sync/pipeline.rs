//! Mail on its way from the socket to the database: while one batch is stored, the next is read and its bytes are made
//! durable, and the one after that is fetched. Each stage holds one batch and few wait before it, so memory is bounded.
//! Not for: what a batch is, or what becomes of UIDs that did not come (that is `folder`).

use super::folder::Look;
use super::{SyncError, now};
use crate::actions::ingest::{Arrival, Prepared, prepare_now, store_now};
use crate::mail::MailError;
use crate::store::StoreError;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, ScopedJoinHandle};

/// Batches that wait to be read: they hold the mails' bytes.
const WAITING_TO_READ: usize = 1;
/// Batches that wait to be stored: what was read of a mail takes a few KB.
const WAITING_TO_STORE: usize = 4;
/// Mails that are stored by one transaction at most. What it costs to load what is known, to write a page and to
/// make a commit durable is shared by all of them.
const STORED_AT_ONCE_MAX: usize = 800;
/// Mails are read on these threads: as deep as the parser may go.
const STACK_BYTES: usize = 4 << 20;

/// Where fetched batches go in.
pub(super) struct Pipeline {
    first: SyncSender<Vec<Arrival>>,
}

impl Pipeline {
    /// Gives a batch on; `Break` where a later stage has failed.
    pub fn take(&self, arrivals: Vec<Arrival>) -> ControlFlow<()> {
        if arrivals.is_empty() || self.first.send(arrivals).is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// Runs `fetch`, which puts batches in; returns what it returned once all of them are stored.
pub(super) fn run(
    look: &Look,
    fetch: impl FnOnce(&Pipeline) -> Result<(), MailError>,
) -> Result<Result<(), MailError>, SyncError> {
    std::thread::scope(|scope| {
        let (first, to_read) = sync_channel(WAITING_TO_READ);
        let (second, to_store) = sync_channel(WAITING_TO_STORE);
        let named = |name: &str| Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
        let reader = named("mail-read")
            .spawn_scoped(scope, move || read(look, to_read, &second))
            .map_err(no_thread)?;
        let writer = named("mail-store")
            .spawn_scoped(scope, move || store(look, to_store))
            .map_err(no_thread)?;
        let pipeline = Pipeline { first };
        let fetched = fetch(&pipeline);
        drop(pipeline);
        // The writer's error is the cause where both have one.
        let (read, stored) = (joined(reader), joined(writer));
        stored?;
        read?;
        Ok(fetched)
    })
}

fn read(
    look: &Look,
    to_read: Receiver<Vec<Arrival>>,
    second: &SyncSender<Prepared>,
) -> Result<(), StoreError> {
    for arrivals in to_read {
        let prepared = prepare_now(&look.services.store, &look.services.raw, arrivals)?;
        if second.send(prepared).is_err() {
            break;
        }
    }
    Ok(())
}

fn store(look: &Look, to_store: Receiver<Prepared>) -> Result<(), StoreError> {
    while let Ok(mut prepared) = to_store.recv() {
        while prepared.len() < STORED_AT_ONCE_MAX
            && let Ok(behind) = to_store.try_recv()
        {
            prepared.append(behind);
        }
        let place = (look.mailbox.id, Some(&look.fence));
        let services = &look.services;
        store_now(&services.store, &services.raw, place, prepared, now())?;
    }
    Ok(())
}

fn joined(thread: ScopedJoinHandle<'_, Result<(), StoreError>>) -> Result<(), StoreError> {
    thread
        .join()
        .unwrap_or_else(|_panic| Err(StoreError::Database("a mail thread panicked".to_owned())))
}

fn no_thread(error: std::io::Error) -> SyncError {
    SyncError::Store(StoreError::Unavailable(format!(
        "a thread could not be started: {error}"
    )))
}
