//! Connections: which database a URL names, pools, pragmas, migrations, transactions.

use super::sql::sql;
use super::{CONNECTION_WAIT, StoreError};
use crate::model::measure::{Durations, Spread, micros};
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::migration::MigrationSource;
use diesel::r2d2::{ManageConnection, R2D2Connection};
use diesel::{Connection, PgConnection, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// One connection to either database.
pub enum AnyConn {
    /// PostgreSQL.
    Pg(PgConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}

/// The two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An embedded file; one process.
    Sqlite,
    /// A server; any number of processes.
    Postgresql,
}

impl Kind {
    /// By the URL's scheme: `sqlite:` (a path follows), `postgres:` or `postgresql:`.
    ///
    /// # Errors
    /// `Setting` for any other.
    pub fn of_url(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgresql),
            _ => Err(StoreError::Setting(
                "DATABASE_URL must begin with sqlite: or postgres:".to_owned(),
            )),
        }
    }
}

/// The path of a SQLite URL: `sqlite:relative`, `sqlite:/absolute` or `sqlite:///absolute`.
pub fn sqlite_path(url: &str) -> &str {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    path.strip_prefix("//").unwrap_or(path)
}

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRESQL: EmbeddedMigrations = embed_migrations!("migrations/postgresql");

/// A pool of connections.
pub type Pool = diesel::r2d2::Pool<Manager>;

/// A connection that goes back to its pool when it is dropped.
pub type PooledConnection = diesel::r2d2::PooledConnection<Manager>;

/// A pool that knows how long its callers wait.
pub struct WatchedPool {
    pool: Pool,
    waits: Durations,
}

/// A pool as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFigures {
    pub name: &'static str,
    pub connections_max: u32,
    pub busy: u32,
    pub idle: u32,
    /// How long callers waited for a connection, in microseconds; those who got none too.
    pub waits: Spread,
}

impl WatchedPool {
    /// Watches over this pool.
    pub fn new(pool: Pool) -> Self {
        Self {
            pool,
            waits: Durations::default(),
        }
    }

    /// A connection, once one is free.
    ///
    /// # Errors
    /// Where none came free in time.
    pub fn get(&self) -> Result<PooledConnection, diesel::r2d2::PoolError> {
        let asked = Instant::now();
        let conn = self.pool.get_timeout(CONNECTION_WAIT);
        self.waits.take(micros(asked.elapsed()));
        conn
    }

    /// As it stands.
    pub fn figures(&self, name: &'static str) -> PoolFigures {
        let state = self.pool.state();
        PoolFigures {
            name,
            connections_max: self.pool.max_size(),
            busy: state.connections.saturating_sub(state.idle_connections),
            idle: state.idle_connections,
            waits: self.waits.spread(),
        }
    }
}

/// Makes connections of the kind that the URL names, set up as Mailroom needs them.
pub struct Manager {
    url: String,
    kind: Kind,
    cache_kib: u32,
}

/// A connection could not be made, or has broken.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It could not be made.
    #[error("{0}")]
    Connect(#[from] diesel::ConnectionError),
    /// It could not be set up, or does not answer.
    #[error("{0}")]
    Query(#[from] diesel::result::Error),
}

/// A connection of a pool.
pub struct Pooled {
    conn: AnyConn,
    /// When it was last seen to answer.
    answered_at: Instant,
}

impl Deref for Pooled {
    type Target = AnyConn;

    fn deref(&self) -> &AnyConn {
        &self.conn
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut AnyConn {
        &mut self.conn
    }
}

/// A connection that answered this long ago is not asked again before it is used: asking takes as long as a small
/// statement, and no server is started again in this time.
const TRUSTED_FOR: Duration = Duration::from_millis(250);

impl Manager {
    fn open(&self) -> Result<AnyConn, ConnectError> {
        match self.kind {
            Kind::Sqlite => {
                let mut conn = SqliteConnection::establish(sqlite_path(&self.url))?;
                // FULL: a commit survives a power cut, not only a crash of the process.
                // The log is copied into the database beside writers (`checkpoints`), and by them only where that lags far.
                conn.batch_execute(&format!(
                    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                     PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 64000; PRAGMA cache_size = -{};",
                    self.cache_kib
                ))?;
                Ok(AnyConn::Sqlite(conn))
            }
            Kind::Postgresql => {
                let mut conn = PgConnection::establish(&self.url)?;
                // A writer that is stopped in a transaction holds others up no longer than its lease would.
                conn.batch_execute(
                    "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '30s'; SET jit = off;",
                )?;
                Ok(AnyConn::Pg(conn))
            }
        }
    }
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = ConnectError;

    fn connect(&self) -> Result<Pooled, ConnectError> {
        Ok(Pooled {
            conn: self.open()?,
            answered_at: Instant::now(),
        })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), ConnectError> {
        if pooled.answered_at.elapsed() < TRUSTED_FOR {
            return Ok(());
        }
        match &mut pooled.conn {
            AnyConn::Pg(conn) => conn.ping()?,
            AnyConn::Sqlite(conn) => conn.ping()?,
        }
        pooled.answered_at = Instant::now();
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        match &mut pooled.conn {
            AnyConn::Pg(conn) => R2D2Connection::is_broken(conn),
            AnyConn::Sqlite(conn) => R2D2Connection::is_broken(conn),
        }
    }
}

/// Readers on SQLite: a few more than cores, since a reader may wait for the disk.
const SQLITE_READERS: u32 = 6;
/// Connections a process keeps to PostgreSQL for reads, and for writes.
const POSTGRESQL_CONNECTIONS: u32 = 8;
/// Where a database is away, the longest pause between two tries to reach it: once it is back, whoever waits for a
/// connection goes on.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The pool for reads and the one for writes. SQLite has one writer; on PostgreSQL both are alike.
///
/// # Errors
/// `Unavailable` with the database's own words.
pub fn pools(url: &str, kind: Kind) -> Result<(Pool, Pool), StoreError> {
    let pool = |size: u32, cache_kib: u32| {
        Pool::builder()
            .max_size(size)
            .min_idle(Some(1))
            .test_on_check_out(kind == Kind::Postgresql)
            // How long callers wait is theirs to say; half of this is the pool's longest pause between two tries.
            .connection_timeout(TRY_EVERY * 2)
            .build_unchecked(Manager {
                url: url.to_owned(),
                kind,
                cache_kib,
            })
    };
    // The first connection is made here, to hear why it fails (a pool only says that it waited).
    let probe = Manager {
        url: url.to_owned(),
        kind,
        cache_kib: 4096,
    };
    probe
        .open()
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    match kind {
        Kind::Sqlite => Ok((pool(SQLITE_READERS, 4096), pool(1, 16384))),
        Kind::Postgresql => Ok((
            pool(POSTGRESQL_CONNECTIONS, 0),
            pool(POSTGRESQL_CONNECTIONS, 0),
        )),
    }
}

/// Runs the migrations that are missing. Several processes may try at once: on PostgreSQL a lock orders them.
///
/// # Errors
/// What the database says.
pub fn migrate(conn: &mut AnyConn) -> Result<(), StoreError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::Database(format!("migration: {error}"))
    };
    match conn {
        AnyConn::Sqlite(conn) => {
            conn.run_pending_migrations(SQLITE).map_err(failed)?;
        }
        AnyConn::Pg(conn) => {
            conn.batch_execute("SELECT pg_advisory_lock(7262738)")?;
            let outcome = conn.run_pending_migrations(POSTGRESQL).map(drop);
            conn.batch_execute("SELECT pg_advisory_unlock(7262738)")?;
            outcome.map_err(failed)?;
        }
    }
    Ok(())
}

/// A connection outside any pool, for work on a whole database: no statement of it is too long.
///
/// # Errors
/// `Unavailable` with the database's own words.
pub(super) fn connect_alone(url: &str) -> Result<AnyConn, StoreError> {
    let kind = Kind::of_url(url)?;
    let manager = Manager {
        url: url.to_owned(),
        kind,
        cache_kib: 65_536,
    };
    let mut conn = manager
        .open()
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    if kind == Kind::Postgresql {
        run_batch(
            &mut conn,
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;",
        )?;
    }
    Ok(conn)
}

/// Runs text without values.
///
/// # Errors
/// What the database says.
pub(super) fn run_batch(conn: &mut AnyConn, text: &str) -> Result<(), StoreError> {
    match conn {
        AnyConn::Sqlite(conn) => conn.batch_execute(text)?,
        AnyConn::Pg(conn) => conn.batch_execute(text)?,
    }
    Ok(())
}

/// The versions of the migrations that this database has had, oldest first.
///
/// # Errors
/// What the database says.
pub(super) fn applied(conn: &mut AnyConn) -> Result<Vec<String>, StoreError> {
    sql("SELECT version FROM __diesel_schema_migrations ORDER BY version").rows(conn)
}

/// Brings an empty database to these migrations and no further.
///
/// # Errors
/// In a sentence: this version does not know one of them, or the database refused.
pub(super) fn migrate_as(conn: &mut AnyConn, versions: &[String]) -> Result<(), String> {
    fn run<DB, C>(conn: &mut C, source: EmbeddedMigrations, wanted: &[String]) -> Result<(), String>
    where
        DB: diesel::backend::Backend,
        C: MigrationHarness<DB>,
        EmbeddedMigrations: MigrationSource<DB>,
    {
        let pending = conn
            .pending_migrations(source)
            .map_err(|error| error.to_string())?;
        for migration in pending {
            if wanted.contains(&migration.name().version().to_string()) {
                conn.run_migration(migration.as_ref())
                    .map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
    match conn {
        AnyConn::Sqlite(conn) => run(conn, SQLITE, versions)?,
        AnyConn::Pg(conn) => run(conn, POSTGRESQL, versions)?,
    }
    let applied = applied(conn).map_err(|error| error.to_string())?;
    if applied == versions {
        Ok(())
    } else {
        Err("it was made by another version, whose tables this one does not know".to_owned())
    }
}

/// Takes every migration back; for the test that they survive up, down, up.
///
/// # Errors
/// What the database says.
pub fn revert_all(conn: &mut AnyConn) -> Result<(), StoreError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::Database(format!("migration: {error}"))
    };
    match conn {
        AnyConn::Sqlite(conn) => conn.revert_all_migrations(SQLITE).map(drop).map_err(failed),
        AnyConn::Pg(conn) => conn
            .revert_all_migrations(POSTGRESQL)
            .map(drop)
            .map_err(failed),
    }
}

/// Begins a write. On SQLite it takes the write lock at once: a transaction that reads first and writes later would fail instead of waiting.
pub(super) fn begin_write(conn: &mut AnyConn) -> Result<(), StoreError> {
    match conn {
        AnyConn::Sqlite(conn) => {
            AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")?;
        }
        AnyConn::Pg(conn) => AnsiTransactionManager::begin_transaction(conn)?,
    }
    Ok(())
}

/// Begins a reading of one moment; it is ended by [`rollback`].
pub(super) fn begin_read(conn: &mut AnyConn) -> Result<(), StoreError> {
    match conn {
        AnyConn::Sqlite(conn) => AnsiTransactionManager::begin_transaction(conn)?,
        AnyConn::Pg(conn) => {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            AnsiTransactionManager::begin_transaction_sql(conn, begin)?;
        }
    }
    Ok(())
}

pub(super) fn commit(conn: &mut AnyConn) -> Result<(), StoreError> {
    match conn {
        AnyConn::Sqlite(conn) => AnsiTransactionManager::commit_transaction(conn)?,
        AnyConn::Pg(conn) => AnsiTransactionManager::commit_transaction(conn)?,
    }
    Ok(())
}

/// Rolls back; a connection that can't is broken and the pool drops it.
pub(super) fn rollback(conn: &mut AnyConn) {
    let outcome = match conn {
        AnyConn::Sqlite(conn) => AnsiTransactionManager::rollback_transaction(conn),
        AnyConn::Pg(conn) => AnsiTransactionManager::rollback_transaction(conn),
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, "a transaction could not be rolled back");
    }
}
