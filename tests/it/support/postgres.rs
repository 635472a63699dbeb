//! PostgreSQL for tests: one cluster for the whole run (`tests/with-servers.sh`), one database for each test.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query};

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
