//! PostgreSQL for tests: one cluster for the whole run (`tests/with-servers.sh`), one database for each test; and a private
//! cluster for tests that stop it.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query};
use mailroom::cli::demo::private_server::{
    Owner, PrivateFolder, PrivateServer, find_program, free_ports, owner_of,
};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set by `tests/with-servers.sh`.
const VARIABLE: &str = "MAILROOM_TEST_POSTGRES";

/// The advisory lock under which the template is made; any number that nobody else in the tests takes.
const TEMPLATE_LOCK: i64 = 7_261_001;

/// A database of one test's own; it is dropped with this.
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Without tables.
    ///
    /// # Panics
    /// When the tests were not started by `make test`.
    pub fn empty() -> Self {
        let name = format!("test_{:016x}", rand::random::<u64>());
        run(&format!("CREATE DATABASE {name}"));
        Self { name }
    }

    /// A copy of the template of that name. Whichever test comes first fills the template by `prepare` (with its
    /// URL); the others wait for it. A copy takes about 30 ms, whatever the migrations take.
    ///
    /// # Panics
    /// When the tests were not started by `make test`, or `prepare` panics.
    pub fn from_template(template: &str, prepare: impl FnOnce(&str)) -> Self {
        make_template(template, prepare);
        let name = format!("test_{:016x}", rand::random::<u64>());
        run(&format!(
            "CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
        ));
        Self { name }
    }

    /// For `DATABASE_URL`.
    pub fn url(&self) -> String {
        url_of(&self.name)
    }

    /// Ends every connection to it, as a restart of the database would; returns how many there were.
    pub fn end_connections(&self) -> i64 {
        let own = "datname = $1 AND pid <> pg_backend_pid()";
        let text = format!(
            "SELECT count(pg_terminate_backend(pid)) AS number FROM pg_stat_activity WHERE {own}"
        );
        let query = sql_query(text).bind::<diesel::sql_types::Text, _>(&self.name);
        query
            .get_result::<Count>(&mut administrator())
            .unwrap()
            .number
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // The cluster goes with the run, so a database that can't be dropped now is no harm.
        if let Ok(mut connection) = PgConnection::establish(&base_url()) {
            let _ignored = connection.batch_execute(&format!(
                "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                self.name
            ));
        }
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

/// A cluster of one test's own, on a free loopback port. What it says is committed is there after a stop.
pub struct Postgres {
    // Stopped before its folder goes.
    server: PrivateServer,
    folder: PrivateFolder,
    owner: Option<Owner>,
    port: u16,
}

impl Postgres {
    /// Starts one.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        let folder = PrivateFolder::create("postgres").unwrap();
        let own = folder.path().join("own");
        std::fs::create_dir(&own).unwrap();
        let is_root = owner_of(folder.path()).unwrap().0 == 0;
        let owner = is_root.then(somebody_else);
        if let Some((user, group)) = owner {
            chown(&own, Some(user), Some(group)).unwrap();
        }
        let mut make = Command::new(program("initdb"));
        make.args(["--username=mailroom", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync", "--pgdata=data"])
            .current_dir(&own)
            .stdout(Stdio::null());
        if let Some((user, group)) = owner {
            make.uid(user).gid(group);
        }
        assert!(make.status().unwrap().success(), "initdb failed");
        let [port] = free_ports().unwrap();
        let server = launch(&own, owner, port);
        Self {
            server,
            folder,
            owner,
            port,
        }
    }

    /// For `DATABASE_URL`.
    pub fn url(&self) -> String {
        format!(
            "postgresql://mailroom@127.0.0.1:{}/postgres?connect_timeout=5",
            self.port
        )
    }

    /// Stops it in the middle of whatever it does, as `pg_ctl stop -m immediate` does.
    pub fn stop_at_once(&mut self) {
        self.server.signal("QUIT").unwrap();
        self.server.stop();
    }

    /// Starts it again at the same port; returns as soon as it takes connections.
    pub fn start_again(&mut self) {
        self.server = launch(&self.folder.path().join("own"), self.owner, self.port);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have been stopped already; a slow stop would wait for its clients.
        drop(self.server.signal("QUIT"));
    }
}

/// PostgreSQL refuses root, so root hands it to somebody who owns little else.
fn somebody_else() -> Owner {
    let known = std::fs::read_to_string("/etc/passwd").unwrap();
    let id_of = |name: &str| {
        let line = known
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    id_of("postgres").or_else(|| id_of("nobody")).unwrap()
}

fn program(name: &str) -> PathBuf {
    let on_path = find_program(name);
    // Debian keeps them under their version, which `tests/with-servers.sh` knows too.
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let newest = versions
        .map(|version| version.unwrap().path().join("bin").join(name))
        .filter(|path| path.is_file())
        .max();
    on_path
        .or(newest)
        .unwrap_or_else(|| panic!("{name} is missing: `make test` installs it"))
}

fn launch(own: &Path, owner: Option<Owner>, port: u16) -> PrivateServer {
    let (data, port_text) = (own.join("data").display().to_string(), port.to_string());
    // Nothing here outlives a power cut, everything a stop.
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "max_connections=60",
        "shared_buffers=64MB",
        "timezone=UTC",
    ];
    let mut arguments = vec!["-D", &data, "-p", &port_text];
    arguments.extend(settings.iter().flat_map(|setting| ["-c", setting]));
    let mut server =
        PrivateServer::start(&program("postgres"), &arguments, &own.join("log"), owner).unwrap();
    let url = format!("postgresql://mailroom@127.0.0.1:{port}/postgres");
    let answers = || PgConnection::establish(&url).is_ok();
    server.wait_until(Duration::from_secs(30), answers).unwrap();
    server
}

fn make_template(template: &str, prepare: impl FnOnce(&str)) {
    let mut connection = administrator();
    // Session locks end with the connection, so a test that dies here blocks nobody.
    connection
        .batch_execute(&format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})"))
        .unwrap();
    let known = sql_query("SELECT count(*) AS number FROM pg_database WHERE datname = $1")
        .bind::<diesel::sql_types::Text, _>(template)
        .get_result::<Count>(&mut connection)
        .unwrap();
    if known.number == 0 {
        // Under another name until it is complete: half a template is never copied.
        let half = format!("{template}_half");
        connection
            .batch_execute(&format!("DROP DATABASE IF EXISTS {half} WITH (FORCE)"))
            .unwrap();
        connection
            .batch_execute(&format!("CREATE DATABASE {half}"))
            .unwrap();
        prepare(&url_of(&half));
        let others = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{half}'"
        );
        connection.batch_execute(&others).unwrap();
        connection
            .batch_execute(&format!("ALTER DATABASE {half} RENAME TO {template}"))
            .unwrap();
    }
    connection
        .batch_execute(&format!("SELECT pg_advisory_unlock({TEMPLATE_LOCK})"))
        .unwrap();
}

fn base_url() -> String {
    std::env::var(VARIABLE)
        .unwrap_or_else(|_| panic!("{VARIABLE} is not set: run the tests with `make test`."))
}

/// The URL of another database of the same cluster.
fn url_of(name: &str) -> String {
    let base = base_url();
    let (start, options) = base.split_once('?').unwrap_or((&base, ""));
    let server = start.rsplit_once('/').map_or(start, |(server, _)| server);
    format!("{server}/{name}?{options}")
}

fn administrator() -> PgConnection {
    PgConnection::establish(&base_url())
        .unwrap_or_else(|error| panic!("the run's PostgreSQL is gone: {error}"))
}

fn run(statement: &str) {
    administrator().batch_execute(statement).unwrap();
}

mod tests {
    use super::*;

    fn count(url: &str, table: &str) -> i64 {
        let mut connection = PgConnection::establish(url).unwrap();
        let text = format!("SELECT count(*) AS number FROM {table}");
        sql_query(text)
            .get_result::<Count>(&mut connection)
            .unwrap()
            .number
    }

    #[test]
    fn tests_share_a_template_but_no_rows() {
        let filled = |url: &str| {
            let mut connection = PgConnection::establish(url).unwrap();
            connection
                .batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
                .unwrap();
        };
        let one = TestDatabase::from_template("template_of_this_test", filled);
        let two =
            TestDatabase::from_template("template_of_this_test", |_| panic!("it is there already"));
        PgConnection::establish(&one.url())
            .unwrap()
            .batch_execute("INSERT INTO t VALUES (2)")
            .unwrap();
        assert_eq!((count(&one.url(), "t"), count(&two.url(), "t")), (2, 1));
    }

    #[test]
    fn a_private_cluster_keeps_what_was_committed_when_it_is_stopped_at_once() {
        let mut postgres = Postgres::start();
        let mut connection = PgConnection::establish(&postgres.url()).unwrap();
        connection
            .batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")
            .unwrap();
        postgres.stop_at_once();
        assert!(PgConnection::establish(&postgres.url()).is_err());
        assert!(connection.batch_execute("SELECT 1").is_err());
        postgres.start_again();
        assert_eq!(count(&postgres.url(), "t"), 2);
    }

    #[test]
    fn a_database_goes_with_its_test() {
        let database = TestDatabase::empty();
        let url = database.url();
        let mut connection = PgConnection::establish(&url).unwrap();
        assert_eq!(database.end_connections(), 1);
        assert!(connection.batch_execute("SELECT 1").is_err());
        drop(database);
        assert!(PgConnection::establish(&url).is_err());
    }
}
