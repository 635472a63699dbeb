//! Copies what SQLite's log holds into the database, beside whoever writes. Else the commit that finds the log long does it,
//! and every writer waits for that: 20 to 60 ms, each second or two under load.

use super::StoreError;
use super::db::{AnyConn, connect_alone};
use super::sql::sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When what is copied.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Pages (of 4 KB) of the log that are copied together: many are written again and again, and are copied once.
    pending_pages: i64,
    /// The log is looked at no more often.
    looks_every: Duration,
}

const LIMITS: Limits = Limits {
    pending_pages: 8_000,
    looks_every: Duration::from_millis(50),
};

/// Writers go on meanwhile: what they wrote is copied by a second pass, and then a little is left.
const PASSES: usize = 2;

/// The thread that does it, which ends when this is dropped.
pub struct Checkpoints {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// All but a little is copied. The log begins anew once it is copied whole, which only a writer can do for sure.
    is_little_left: Arc<AtomicBool>,
}

impl Checkpoints {
    /// Starts it for this SQLite database.
    ///
    /// # Errors
    /// `Unavailable` where there is no connection or thread for it.
    pub fn start(url: &str) -> Result<Self, StoreError> {
        Self::with(url, LIMITS)
    }

    fn with(url: &str, limits: Limits) -> Result<Self, StoreError> {
        let mut conn = connect_alone(url)?;
        let (wake, woken) = sync_channel(1);
        let is_little_left = Arc::<AtomicBool>::default();
        let left = Arc::clone(&is_little_left);
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || run(&mut conn, &woken, (limits, &left)))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
            is_little_left,
        })
    }

    /// Something was committed by this writer, which has no transaction open.
    pub fn note_commit(&self, conn: &mut AnyConn) {
        if self.is_little_left.swap(false, Ordering::AcqRel) {
            copy(conn).unwrap_or_else(told);
        }
        if let Some(wake) = &self.wake {
            // Full: it is about to look.
            let _is_told = wake.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of checkpoints panicked");
        }
    }
}

fn run(conn: &mut AnyConn, woken: &Receiver<()>, (limits, left): (Limits, &AtomicBool)) {
    let mut is_told = false;
    while is_told || woken.recv().is_ok() {
        match copy_if_long(conn, limits) {
            Ok(is_little_left) => left.store(is_little_left, Ordering::Release),
            Err(error) => told(error),
        }
        is_told = false;
        let next = Instant::now() + limits.looks_every;
        loop {
            match woken.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(()) => is_told = true,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Where storage is full, writers tell. The log is copied once there is room.
fn told(error: StoreError) {
    tracing::debug!(%error, "the log could not be copied into the database");
}

/// How many pages of the log are to be copied, after a checkpoint of this mode.
fn checkpoint(conn: &mut AnyConn, pragma: &'static str) -> Result<i64, StoreError> {
    let found: Option<(i64, i64, i64)> = sql(pragma).one(conn)?;
    let (_is_busy, log, copied) = found.unwrap_or_default();
    Ok(log.saturating_sub(copied))
}

fn copy(conn: &mut AnyConn) -> Result<(), StoreError> {
    checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)").map(drop)
}

/// Copies the log where it is long; whether it did. A checkpoint says how much was left as of its beginning only.
fn copy_if_long(conn: &mut AnyConn, limits: Limits) -> Result<bool, StoreError> {
    if checkpoint(conn, "PRAGMA wal_checkpoint(NOOP)")? < limits.pending_pages {
        return Ok(false);
    }
    for _pass in 0..PASSES {
        copy(conn)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Time;
    use crate::store::Store;

    #[test]
    fn the_log_is_copied_beside_writers_and_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mailroom.db");
        let url = format!("sqlite:{}", file.display());
        let now = Time::from_micros(0);
        let store = Store::open(&url, now).unwrap();
        let limits = Limits {
            pending_pages: 500,
            looks_every: Duration::from_millis(1),
        };
        let checkpoints = Checkpoints::with(&url, limits).unwrap();
        let mut written = 0;
        while written < 20_000 {
            let writing = store.write_now(now, |tx| -> Result<(), StoreError> {
                sql("CREATE TABLE IF NOT EXISTS filler (bytes BLOB)").run(tx.conn)?;
                // A page each.
                for _row in 0..200 {
                    sql("INSERT INTO filler (bytes) VALUES (zeroblob(4000))").run(tx.conn)?;
                }
                Ok(())
            });
            writing.unwrap();
            store
                .with_writer(|conn| {
                    checkpoints.note_commit(conn);
                    Ok(())
                })
                .unwrap();
            written += 200;
        }
        let log = folder.path().join("mailroom.db-wal");
        let pages = std::fs::metadata(&log).unwrap().len() / 4096;
        assert!(pages < 10_000, "{pages} pages");
        let rows = store.read_now(|conn| sql("SELECT COUNT(*) FROM filler").one::<i64>(conn));
        assert_eq!(rows.unwrap(), Some(written));
    }
}
