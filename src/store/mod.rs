//! Rows and raw bytes: SQLite or PostgreSQL through Diesel, and the raw store.
//!
//! A store function is plain and synchronous, takes the connection (or the [`Tx`] of a write) and
//! returns `Option` for not-found; async ends at [`Store::read`] and [`Store::write`].
//! Not for: decisions (they are in `rules`), protocols, GraphQL.

pub mod activities;
pub mod activity_writes;
pub mod archive;
pub mod audit;
pub mod backup;
mod catalog;
mod checkpoints;
pub mod clients;
pub mod codec;
pub mod credentials;
pub mod db;
pub mod dialect;
pub mod drafts;
pub mod email_writes;
pub mod emails;
pub mod erasure;
pub mod exports;
pub mod figures;
pub mod grants;
pub mod idempotency_keys;
pub mod identities;
pub mod item_writes;
pub mod items;
pub mod leases;
pub mod ledger;
pub mod link_writes;
pub mod links;
pub mod mailbox_writes;
pub mod mailboxes;
pub mod messages;
mod narrow;
pub mod outbox;
pub mod page;
pub mod persons;
pub mod placements;
pub mod quarantine;
pub mod raw;
mod read;
pub mod reads;
pub mod role_writes;
pub mod roles;
pub mod scope;
pub mod sealed;
pub mod search;
pub mod search_index;
pub mod settings;
pub mod settings_writes;
pub mod sql;
pub mod stage_writes;
pub mod templates;
pub mod texts;
pub mod threads;
pub mod timeline;
mod traces;
mod tx;
pub mod user_writes;
pub mod users;

pub use db::AnyConn;
pub use tx::{ChangeKind, Later, Tx};

use crate::model::Time;
use checkpoints::Checkpoints;
use codec::Codec;
use sql::{Sql, sql};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thiserror::Error;

/// What can go wrong with the database or the raw store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A unique or foreign key stood in the way; another writer was first.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Two writers waited for each other, and the database ended this one; nothing of it was written.
    #[error("deadlock: {0}")]
    Deadlock(String),
    /// A row says something that it can't say.
    #[error("corrupt row in {table}.{column}, row {row}")]
    Corrupt {
        table: &'static str,
        column: &'static str,
        row: i64,
    },
    /// The database could not be reached, or no connection came free in time.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// The database refused or failed.
    #[error("database: {0}")]
    Database(String),
    /// What the database lies on is full or fails: nothing can be written before that is put right.
    #[error("the database's storage: {0}")]
    Storage(String),
    /// The raw store refused or failed.
    #[error("raw store: {0}")]
    Raw(String),
    /// Another worker holds this lease now: what was to be written under it was not.
    #[error("the lease {0} is another's")]
    Fenced(String),
    /// A setting of the store can't be used; the text says why.
    #[error("{0}")]
    Setting(String),
}

impl StoreError {
    /// Whether it is the world's fault: whatever was to be written can be written once that is over.
    pub const fn is_outside(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::Deadlock(_)
            | Self::Storage(_)
            | Self::Raw(_)
            | Self::Setting(_)
            | Self::Fenced(_) => true,
            Self::Conflict(_) | Self::Corrupt { .. } | Self::Database(_) => false,
        }
    }

    /// Whether there is nowhere to write to: storage is full, or can't be written to.
    pub const fn is_of_storage(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::Raw(_))
    }
}

/// How SQLite and PostgreSQL say that what they lie on is full or fails; neither gives us a code.
const OF_STORAGE: [&str; 9] = [
    "database or disk is full",
    "disk I/O error",
    "unable to open database file",
    "attempt to write a readonly database",
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "could not extend file",
    "Input/output error",
];

/// How SQLite says that somebody else holds it, for longer than it waits.
const LOCKED: &str = "database is locked";

/// How PostgreSQL says that it ended one of two who waited for each other.
const DEADLOCK: &str = "deadlock detected";

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind as Kind, Error};
        match error {
            // The commit's own error is the cause: a connection that is gone can't be rolled back either.
            Error::RollbackErrorOnCommit { commit_error, .. } => return Self::from(*commit_error),
            Error::BrokenTransactionManager => return Self::Unavailable(error.to_string()),
            _ => {}
        }
        match &error {
            Error::DatabaseError(
                Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::SerializationFailure,
                information,
            ) => Self::Conflict(information.message().to_owned()),
            Error::DatabaseError(
                Kind::ClosedConnection | Kind::UnableToSendCommand | Kind::ReadOnlyTransaction,
                info,
            ) => Self::Unavailable(info.message().to_owned()),
            Error::DatabaseError(_, info) if info.message().contains(LOCKED) => {
                Self::Unavailable(info.message().to_owned())
            }
            Error::DatabaseError(_, info) if info.message().contains(DEADLOCK) => {
                Self::Deadlock(info.message().to_owned())
            }
            Error::DatabaseError(_, info)
                if OF_STORAGE.iter().any(|text| info.message().contains(text)) =>
            {
                Self::Storage(info.message().to_owned())
            }
            _ => Self::Database(error.to_string()),
        }
    }
}

impl From<diesel::r2d2::PoolError> for StoreError {
    fn from(error: diesel::r2d2::PoolError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// How many ids a process takes at once: enough for many batches of mail, few enough to waste none that matters.
const ID_BLOCK: i64 = 1 << 18;
/// A write starts only with this many ids left: more than the largest transaction can use.
const IDS_PER_WRITE_MAX: i64 = 1 << 16;

/// The ids that this process may still give out.
#[derive(Debug, Default)]
struct IdBlock {
    next: i64,
    end: i64,
}

/// The database and what belongs to one installation. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    checkpoints: Option<Checkpoints>,
    readers: db::WatchedPool,
    writers: db::WatchedPool,
    kind: db::Kind,
    ids: Mutex<IdBlock>,
    codec: Codec,
    committed: tokio::sync::Notify,
    /// Since when this process has found nowhere to write what it takes in.
    full_since: Mutex<Option<Time>>,
    held: Mutex<Option<db::PooledConnection>>,
}

impl Store {
    /// Connects, runs the migrations that are missing, and loads the installation's keys.
    ///
    /// # Errors
    /// `Setting` for a URL that names no known database, `Unavailable` where it can't be reached.
    pub fn open(url: &str, now: Time) -> Result<Self, StoreError> {
        let kind = db::Kind::of_url(url)?;
        let (readers, writers) = db::pools(url, kind)?;
        let (readers, writers) = (db::WatchedPool::new(readers), db::WatchedPool::new(writers));
        let mut conn = writers.get()?;
        db::migrate(&mut conn)?;
        let codec = load_codec(&mut conn, now)?;
        drop(conn);
        let checkpoints = match kind {
            db::Kind::Sqlite => Some(Checkpoints::start(url)?),
            db::Kind::Postgresql => None,
        };
        Ok(Self(Arc::new(Inner {
            checkpoints,
            readers,
            writers,
            kind,
            ids: Mutex::default(),
            codec,
            committed: tokio::sync::Notify::new(),
            full_since: Mutex::new(None),
            held: Mutex::new(None),
        })))
    }

    /// Holds a PostgreSQL database for this process alone, until it ends; `false` where another holds it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn hold_alone(&self) -> Result<bool, StoreError> {
        let store = self.clone();
        on_blocking_thread(move || {
            let mut conn = store.0.readers.get()?;
            let is_held = dialect::try_hold(&mut conn)?;
            if is_held {
                // The lock is the session's: its connection stays out of the pool for good.
                *lock(&store.0.held) = Some(conn);
            }
            Ok(is_held)
        })
        .await
    }

    /// Which database it is.
    pub fn kind(&self) -> db::Kind {
        self.0.kind
    }

    /// How the pools of connections stand.
    pub fn pools(&self) -> [db::PoolFigures; 2] {
        let inner = &self.0;
        [
            inner.readers.figures("read"),
            inner.writers.figures("write"),
        ]
    }

    /// Seals and opens ids and cursors.
    pub fn codec(&self) -> &Codec {
        &self.0.codec
    }

    /// Wakes whoever relays the outbox: something was committed.
    pub fn committed(&self) -> &tokio::sync::Notify {
        &self.0.committed
    }

    /// Notes that there is nowhere to write what is taken in, which may be more than the database can be told.
    pub fn note_full(&self, now: Time) {
        lock(&self.0.full_since).get_or_insert(now);
    }

    /// Notes that what is taken in is written.
    pub fn note_stored(&self) {
        *lock(&self.0.full_since) = None;
    }

    /// Since when this process has found nowhere to write what it takes in; `None`: it writes.
    pub fn full_since(&self) -> Option<Time> {
        *lock(&self.0.full_since)
    }

    /// Reads, on a thread for blocking work.
    ///
    /// # Errors
    /// Whatever `f` returns, and `Unavailable` where no connection comes free in time.
    pub async fn read<T, F>(&self, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConn) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.clone();
        on_blocking_thread(move || store.read_now(f)).await
    }

    /// Reads the database as of one moment, on a thread for blocking work: what others commit meanwhile is not seen.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn read_at_once<T, F>(&self, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConn) -> Result<T, StoreError> + Send + 'static,
    {
        let store = self.clone();
        on_blocking_thread(move || store.read_moment_now(f)).await
    }

    /// The same on this thread; for worker threads, which may block.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_moment_now<T>(
        &self,
        f: impl FnOnce(&mut AnyConn) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read_now(|conn| {
            db::begin_read(conn)?;
            let found = f(conn);
            db::rollback(conn);
            found
        })
    }

    /// Reads, on this thread; for worker threads, which may block.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_now<T>(
        &self,
        f: impl FnOnce(&mut AnyConn) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conn = self.0.readers.get()?;
        f(&mut conn)
    }

    /// The writer's connection, outside any transaction: for migrations.
    ///
    /// # Errors
    /// Whatever `f` returns, and `Unavailable`.
    pub fn with_writer<T>(
        &self,
        f: impl FnOnce(&mut AnyConn) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conn = self.0.writers.get()?;
        f(&mut conn)
    }

    /// Writes in one transaction, on a thread for blocking work: everything that `f` did, the timeline
    /// entries it told and the outbox row commit together, or nothing does.
    ///
    /// # Errors
    /// Whatever `f` returns (then nothing was written), and `Unavailable`.
    pub async fn write<T, E, F>(&self, now: Time, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.write_now(now, f))
            .await
            .unwrap_or_else(|error| Err(E::from(StoreError::Database(error.to_string()))))
    }

    /// Writes in one transaction, on this thread.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_now<T, E: From<StoreError>>(
        &self,
        now: Time,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut conn = self.0.writers.get().map_err(StoreError::from)?;
        self.reserve_ids(&mut conn)?;
        db::begin_write(&mut conn)?;
        let mut tx = Tx::new(&mut conn, &self.0.ids, now);
        let done = f(&mut tx).and_then(|value| {
            let told = tx.finish()?;
            Ok((value, told))
        });
        match done {
            Ok((value, told)) => {
                db::commit(&mut conn)?;
                if told {
                    self.0.committed.notify_one();
                }
                if let Some(checkpoints) = &self.0.checkpoints {
                    checkpoints.note_commit(&mut conn);
                }
                Ok(value)
            }
            Err(error) => {
                db::rollback(&mut conn);
                Err(error)
            }
        }
    }

    /// Makes sure that enough ids are at hand, in a transaction of its own: a rolled-back write must not give ids back.
    fn reserve_ids(&self, conn: &mut AnyConn) -> Result<(), StoreError> {
        let mut block = lock(&self.0.ids);
        if block.end.saturating_sub(block.next) >= IDS_PER_WRITE_MAX {
            return Ok(());
        }
        let next: Option<i64> = sql("UPDATE id_blocks SET next_id = next_id + ")
            .bind(ID_BLOCK)
            .push(" WHERE id = 1 RETURNING next_id")
            .one(conn)?;
        let end = next.ok_or(StoreError::Corrupt {
            table: "id_blocks",
            column: "id",
            row: 1,
        })?;
        *block = IdBlock {
            next: end - ID_BLOCK,
            end,
        };
        Ok(())
    }
}

/// Locks, also after a panic elsewhere: what is guarded here is never left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn on_blocking_thread<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(f)
        .await
        .unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
}

/// The installation's keys; made at the first start.
fn load_codec(conn: &mut AnyConn, now: Time) -> Result<Codec, StoreError> {
    let select = || -> Sql { sql("SELECT id_key, cursor_key FROM installation WHERE id = 1") };
    let mut keys: Option<(Vec<u8>, Vec<u8>)> = select().one(conn)?;
    if keys.is_none() {
        let (id_key, cursor_key): ([u8; 32], [u8; 32]) = (rand::random(), rand::random());
        sql("INSERT INTO installation (id, id_key, cursor_key, created_at) VALUES (1, ")
            .bind(id_key.to_vec())
            .push(", ")
            .bind(cursor_key.to_vec())
            .push(", ")
            .bind(now.micros())
            .push(") ON CONFLICT (id) DO NOTHING")
            .run(conn)?;
        keys = select().one(conn)?;
    }
    keys.and_then(|(id_key, cursor_key)| Codec::new(&id_key, &cursor_key))
        .ok_or(StoreError::Corrupt {
            table: "installation",
            column: "id_key",
            row: 1,
        })
}

/// How long a caller waits for a connection before it is told that the database is unavailable.
const CONNECTION_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::StoreError;
    use diesel::result::{DatabaseErrorKind, Error};

    fn said(kind: DatabaseErrorKind, message: &str) -> Error {
        Error::DatabaseError(kind, Box::new(message.to_owned()))
    }

    #[test]
    fn what_is_the_worlds_fault_is_no_mails() {
        let unknown = |message| StoreError::from(said(DatabaseErrorKind::Unknown, message));
        assert!(unknown("database or disk is full").is_of_storage());
        assert!(unknown("disk I/O error").is_of_storage());
        let full = "could not extend file \"base/5/16384\": No space left on device";
        assert!(unknown(full).is_of_storage());
        let locked = unknown("database is locked");
        assert!(locked.is_outside() && !locked.is_of_storage());
        let ended = unknown("deadlock detected");
        assert!(ended.is_outside() && !ended.is_of_storage());
        assert!(!unknown("string is too long for tsvector").is_outside());
    }

    #[test]
    fn a_commit_whose_connection_is_gone_is_the_worlds_fault() {
        let gone = said(
            DatabaseErrorKind::ClosedConnection,
            "server closed the connection unexpectedly",
        );
        let error = Error::RollbackErrorOnCommit {
            rollback_error: Box::new(Error::BrokenTransactionManager),
            commit_error: Box::new(gone),
        };
        assert!(matches!(
            StoreError::from(error),
            StoreError::Unavailable(_)
        ));
        let broken = StoreError::from(Error::BrokenTransactionManager);
        assert!(broken.is_outside());
    }
}
