//! A sync that is killed at any moment loses nothing, doubles nothing, and gives no turn twice (R5, R7, R14).
//! `MAILROOM_TEST_LONG=1`: 200 kills during syncs of 5,000 mails, a kill at every write of a sync of 50, and 500
//! take-overs of a lease.

use crate::on_both;
use crate::support::app::{On, PATIENCE, TestApp, text};
use crate::support::dovecot::{self, Dovecot};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use mailroom::cli::demo::dovecot::OldMail;
use rand::Rng;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mailroom");

pub const ADDRESS: &str = "sales@ours.example";

/// How long a process may live: from before it has logged in to well into its work.
const LIFE_MILLISECONDS: std::ops::Range<u64> = 30..1500;

pub fn is_long() -> bool {
    std::env::var("MAILROOM_TEST_LONG").is_ok()
}

/// Mails of one round, in threes, and kills in all.
fn size() -> (u64, u32) {
    if is_long() { (5001, 200) } else { (402, 12) }
}

/// The mails of a round: every third is of a client who has not written before, the others answer.
pub fn mails(round: u64, count: u64) -> impl Iterator<Item = OldMail> {
    let first = SystemTime::now() - Duration::from_secs(40 * 86_400);
    (0..count).map(move |number| {
        let client = number / 3;
        let parent = number % 3;
        let id = |part: u64| format!("<{round}.{client}.{part}@client.example>");
        let answers = if parent == 0 {
            String::new()
        } else {
            format!("In-Reply-To: {}\n", id(parent - 1))
        };
        let lines = "A line of what was written.\n".repeat((number % 97) as usize);
        let raw = format!(
            "From: Client {client} <c{round}-{client}@client.example>\nTo: {ADDRESS}\nMessage-ID: {}\n{answers}\
             Date: Mon, 02 Nov 2026 10:00:00 +0000\nSubject: Order {client}\n\nMail {number} of round {round}.\n{lines}",
            id(parent)
        );
        OldMail {
            raw: raw.into_bytes(),
            received_at: first + Duration::from_secs(round * 100_000 + number),
            is_seen: false,
        }
    })
}

/// The database, asked directly.
pub enum Asked {
    Sqlite(Box<SqliteConnection>),
    Postgresql(Box<PgConnection>),
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
pub struct Object {
    #[diesel(sql_type = diesel::sql_types::Binary)]
    hash: Vec<u8>,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub object_key: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    byte_offset: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    byte_length: i64,
}

impl Asked {
    pub fn of(app: &TestApp) -> Self {
        match app.database_url() {
            Some(url) => Self::Postgresql(Box::new(PgConnection::establish(&url).unwrap())),
            None => {
                let file = app.data_folder().join("mailroom.sqlite");
                let mut conn = SqliteConnection::establish(&file.display().to_string()).unwrap();
                sql_query("PRAGMA busy_timeout = 10000")
                    .execute(&mut conn)
                    .unwrap();
                Self::Sqlite(Box::new(conn))
            }
        }
    }

    fn numbers(&mut self, query: &str) -> Vec<i64> {
        let query = sql_query(query);
        let rows: Vec<Number> = match self {
            Self::Sqlite(conn) => query.load(conn.as_mut()).unwrap(),
            Self::Postgresql(conn) => query.load(conn.as_mut()).unwrap(),
        };
        rows.into_iter().map(|row| row.number).collect()
    }

    pub fn number(&mut self, query: &str) -> i64 {
        self.numbers(&format!("SELECT ({query}) AS number"))[0]
    }

    /// The leases of a worker that was killed run out. Time is not what is tested here.
    fn let_leases_run_out(&mut self) {
        let query = sql_query("UPDATE leases SET expires_at = 0");
        match self {
            Self::Sqlite(_) => {}
            Self::Postgresql(conn) => drop(query.execute(conn.as_mut()).unwrap()),
        }
    }

    fn run(&mut self, statement: &str) {
        let query = sql_query(statement);
        match self {
            Self::Sqlite(conn) => query.execute(conn.as_mut()).unwrap(),
            Self::Postgresql(conn) => query.execute(conn.as_mut()).unwrap(),
        };
    }

    pub fn objects(&mut self) -> Vec<Object> {
        let query = sql_query("SELECT hash, object_key, byte_offset, byte_length FROM raw_mails");
        match self {
            Self::Sqlite(conn) => query.load(conn.as_mut()).unwrap(),
            Self::Postgresql(conn) => query.load(conn.as_mut()).unwrap(),
        }
    }
}

/// A process that ends with the test, however that ends.
pub struct Process(pub Child);

impl Process {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

/// What the process that syncs is told to do.
fn command_of(app: &TestApp) -> &'static str {
    match app.on() {
        On::Sqlite => "serve",
        On::Postgresql => "worker",
    }
}

fn spawn(app: &TestApp, mut command: Command) -> Process {
    let child = command
        .envs(app.environment())
        .env("MAILROOM_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Process(child)
}

/// The process that syncs.
fn launch(app: &TestApp) -> Process {
    let mut command = Command::new(PROGRAM);
    command.arg(command_of(app));
    spawn(app, command)
}

/// The same, killed by the system as one of its threads enters the `number`th of these calls.
fn launch_to_be_killed(app: &TestApp, calls: &str, number: usize) -> Process {
    let mut command = Command::new("strace");
    command
        .args(["--follow-forks", "--quiet=all", "--output=/dev/null"])
        .arg(format!("--trace={calls}"))
        .arg(format!("--inject={calls}:signal=KILL:when={number}"))
        .arg(PROGRAM)
        .arg(command_of(app));
    spawn(app, command)
}

/// Kills syncs of this round until it is complete; how often.
async fn sync_and_kill(app: &TestApp, asked: &mut Asked, expected: i64, kills_wanted: u32) -> u32 {
    let mut kills = 0;
    let started = Instant::now();
    loop {
        let mut process = launch(app);
        let is_last = kills >= kills_wanted;
        let life = Duration::from_millis(rand::rng().random_range(LIFE_MILLISECONDS));
        let mut until = Instant::now() + if is_last { PATIENCE } else { life };
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut stored = 0;
        while Instant::now() < until && stored < expected {
            pace.tick().await;
            let now = asked.number("SELECT count(*) FROM placements WHERE state = 'STORED'");
            // However long the last takes: it fails where nothing more comes.
            if is_last && now > stored {
                until = Instant::now() + PATIENCE;
            }
            stored = now;
        }
        let is_complete = stored == expected;
        process.kill();
        asked.let_leases_run_out();
        if is_complete {
            return kills;
        }
        assert!(
            !is_last,
            "{stored} of {expected} mails, and nothing more comes after {:?}",
            started.elapsed()
        );
        kills += 1;
    }
}

/// What must be true of everything that was taken in, whatever was killed.
pub fn check(asked: &mut Asked, expected: i64, queue: &[i64], raw: &Path) {
    let mut must_be = |what: &str, query: &str, number: i64| {
        assert_eq!(asked.number(query), number, "{what}");
    };
    must_be(
        "every UID is settled",
        "SELECT count(*) FROM placements WHERE state <> 'STORED'",
        0,
    );
    must_be(
        "each mail is one email",
        "SELECT count(*) FROM emails",
        expected,
    );
    must_be(
        "each is a message of its own",
        "SELECT count(DISTINCT message_id) FROM emails",
        expected,
    );
    must_be(
        "all are saved",
        "SELECT count(*) FROM emails WHERE outcome = 'SAVED'",
        expected,
    );
    must_be(
        "each placement has its own email",
        "SELECT count(DISTINCT email_id) FROM placements",
        expected,
    );
    must_be(
        "each is on one item",
        "SELECT count(*) FROM email_links",
        expected,
    );
    must_be(
        "each has one activity",
        "SELECT count(*) FROM activities",
        expected,
    );
    must_be(
        "each has its trace",
        "SELECT count(*) FROM routing_traces",
        expected,
    );
    must_be(
        "each has one entry",
        "SELECT count(*) FROM timeline_entries WHERE kind = 'EMAIL_RECEIVED'",
        expected,
    );
    must_be(
        "no message is told twice on an item",
        "SELECT count(*) FROM (SELECT 1 FROM timeline_entries WHERE message_id IS NOT NULL \
         GROUP BY item_id, message_id HAVING count(*) > 1) AS doubled",
        0,
    );
    must_be(
        "each client has one lead",
        "SELECT count(*) FROM items WHERE kind = 'LEAD'",
        expected / 3,
    );
    // Turns: in the order in which the leads came, each is the next user's in the queue.
    let turns = asked.numbers(
        "SELECT i.responsible_id AS number FROM timeline_entries t JOIN items i ON i.id = t.item_id \
         WHERE t.kind = 'ITEM_CREATED' AND i.kind = 'LEAD' ORDER BY t.position",
    );
    for (turn, user) in turns.iter().enumerate() {
        assert_eq!(
            *user,
            queue[turn % queue.len()],
            "turn {turn} of {}",
            turns.len()
        );
    }
    // Every byte that is named is there.
    let mut objects: HashMap<String, Vec<u8>> = HashMap::new();
    for mail in asked.objects() {
        let object = objects
            .entry(mail.object_key.clone())
            .or_insert_with(|| std::fs::read(raw.join(&mail.object_key)).unwrap());
        let (start, length) = (mail.byte_offset as usize, mail.byte_length as usize);
        let hash = blake3::hash(&object[start..start + length]);
        assert_eq!(hash.as_bytes().as_slice(), mail.hash, "{}", mail.object_key);
    }
}

/// Connects the mailbox, with a queue of three; their numbers in the database, in the queue's order.
pub async fn connect(app: &TestApp, dovecot: &Dovecot) -> Vec<i64> {
    let mut ids = Vec::new();
    for name in ["bea", "cem", "dora"] {
        let token = app.user(name, &format!("{name}@ours.example"), false).await;
        ids.push(app.viewer_id(&token).await);
    }
    let input = json!({
        "address": ADDRESS,
        "imap": { "host": "127.0.0.1", "port": dovecot.imap_port(), "security": "PLAIN" },
        "secret": { "password": dovecot.password() },
        "history": { "everything": true },
        "settings": { "queueUserIds": ids },
    });
    let admin = app.admin.clone();
    let made = app
        .make(&admin, "connectMailbox", input, "mailbox { id }")
        .await;
    let id = text(&made["mailbox"]["id"]);
    let query = "query ($id: ID!) { mailbox(id: $id) { sync { stage } } }";
    app.until(&admin, (query, json!({ "id": id })), |data| {
        data["mailbox"]["sync"]["stage"] == "WATCHING"
    })
    .await;
    Asked::of(app).numbers("SELECT user_id AS number FROM mailbox_queue ORDER BY position")
}

on_both! {
    /// The whole: kills until there were enough, then everything is looked at.
    async fn r05_r14_a_sync_that_is_killed_at_random_moments_loses_and_doubles_nothing(app) {
        let dovecot = dovecot::start(&[ADDRESS]);
        let queue = connect(&app, &dovecot).await;
        app.stop().await;
        let (count, kills_wanted) = size();
        let mut asked = Asked::of(&app);
        let (mut kills, mut round) = (0, 0);
        while kills < kills_wanted {
            dovecot.fill_inbox(ADDRESS, mails(round, count)).unwrap();
            round += 1;
            let expected = (round * count) as i64;
            kills += sync_and_kill(&app, &mut asked, expected, kills_wanted - kills).await;
            println!("round {round}: {kills} kills, {expected} mails");
            check(&mut asked, expected, &queue, &app.data_folder().join("raw"));
        }
    }
}

on_both! {
    /// Each call that makes something durable, or tells the database or the mail server something, is once the last.
    async fn r05_a_sync_that_is_killed_at_any_write_loses_and_doubles_nothing(app) {
        let dovecot = dovecot::start(&[ADDRESS]);
        let queue = connect(&app, &dovecot).await;
        app.stop().await;
        let mut asked = Asked::of(&app);
        let calls = match app.on() {
            On::Sqlite => "fsync,fdatasync,pwrite64,write,rename",
            On::Postgresql => "fsync,fdatasync,sendto,rename",
        };
        // Each of a thread's first calls in the long run; a few of them in the short one.
        let numbers: Vec<usize> = if is_long() { (1..=150).collect() } else { vec![2, 7, 19, 48] };
        let mut kills = 0;
        let count = 51;
        for (round, number) in (0..).zip(numbers) {
            dovecot.fill_inbox(ADDRESS, mails(round, count)).unwrap();
            let expected = ((round + 1) * count) as i64;
            let stored = "SELECT count(*) FROM placements WHERE state = 'STORED'";
            let mut process = launch_to_be_killed(&app, calls, number);
            let started = Instant::now();
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            let has_ended = loop {
                pace.tick().await;
                if process.0.try_wait().unwrap().is_some() {
                    break true;
                }
                if asked.number(stored) == expected {
                    break false;
                }
                assert!(started.elapsed() < PATIENCE, "neither killed nor done");
            };
            kills += u32::from(has_ended);
            if !has_ended {
                // It did fewer of these calls: strace ends it with itself.
                end_traced(&mut process);
            }
            asked.let_leases_run_out();
            sync_and_kill(&app, &mut asked, expected, 0).await;
            check(&mut asked, expected, &queue, &app.data_folder().join("raw"));
        }
        println!("{kills} of {} were killed in a call", if is_long() { 150 } else { 4 });
        assert!(kills >= 2, "few or none were killed");
    }
}

/// Kills the process at random moments until all is indexed; how often.
async fn index_and_kill(app: &TestApp, asked: &mut Asked, kills_wanted: u32) -> u32 {
    let mut kills = 0;
    loop {
        let mut process = launch(app);
        let is_last = kills >= kills_wanted;
        let life = Duration::from_millis(rand::rng().random_range(400..2500));
        let until = Instant::now() + if is_last { PATIENCE } else { life };
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut is_complete = false;
        while Instant::now() < until && !is_complete {
            pace.tick().await;
            is_complete = asked.number("SELECT count(*) FROM search_queue") == 0
                && asked.number("SELECT version FROM search_state") > 0;
        }
        process.kill();
        asked.let_leases_run_out();
        if is_complete {
            return kills;
        }
        assert!(!is_last, "the index was never complete");
        kills += 1;
    }
}

/// Every mail and item has one document with its words, and there is no other.
fn check_index(asked: &mut Asked, on: On) {
    let documents = "SELECT subject_id AS number FROM search_docs ORDER BY subject_id";
    let documents = asked.numbers(documents);
    let subjects = "SELECT id AS number FROM emails UNION ALL SELECT id FROM items ORDER BY 1";
    let subjects = asked.numbers(subjects);
    assert_eq!(
        documents, subjects,
        "no gap, nothing twice, nothing left over"
    );
    let with_words = match on {
        On::Sqlite => {
            "SELECT count(*) FROM search_index f JOIN search_docs d ON d.id = f.rowid \
             WHERE search_index MATCH 'text : mail' AND d.kind = 'EMAIL'"
        }
        On::Postgresql => {
            "SELECT count(*) FROM search_docs WHERE words @@ CAST('mail:D' AS tsquery) AND kind = 'EMAIL'"
        }
    };
    let mails = asked.number("SELECT count(*) FROM emails");
    assert_eq!(
        asked.number(with_words),
        mails,
        "each mail is found by what it says"
    );
    if on == On::Sqlite {
        let indexed = asked.number("SELECT count(*) FROM search_index");
        assert_eq!(indexed, documents.len() as i64);
    }
}

on_both! {
    /// While mail comes in, and again when all is indexed anew.
    async fn r43_an_index_that_is_killed_has_no_gap(app) {
        let dovecot = dovecot::start(&[ADDRESS]);
        connect(&app, &dovecot).await;
        app.stop().await;
        let mut asked = Asked::of(&app);
        let (count, kills_wanted) = if is_long() { (5001, 60) } else { (402, 5) };
        dovecot.fill_inbox(ADDRESS, mails(0, count)).unwrap();
        let mut kills = sync_and_kill(&app, &mut asked, count as i64, kills_wanted).await;
        kills += index_and_kill(&app, &mut asked, kills_wanted).await;
        check_index(&mut asked, app.on());
        asked.run("UPDATE search_state SET version = 0");
        kills += index_and_kill(&app, &mut asked, kills_wanted).await;
        check_index(&mut asked, app.on());
        println!("{kills} kills, {count} mails");
    }
}

/// Ends a traced process with its tracer, which would let it go on if it were killed alone.
fn end_traced(strace: &mut Process) {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.0.id()))
        .unwrap_or_default();
    for child in children.split_whitespace() {
        let status = Command::new("sh")
            .args(["-c", "kill -s KILL \"$1\"", "kill", child])
            .status();
        assert!(status.unwrap().success());
    }
    strace.0.wait().unwrap();
}

/// Notes, by PostgreSQL itself, which process claims a lease, and which writes an email while whose lease stands at
/// its commit.
const WITNESS: &str = "
CREATE TABLE claims (holder text, application text, UNIQUE (holder, application));
CREATE TABLE writes (application text, holder text);
CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO claims VALUES (NEW.holder, current_setting('application_name')) ON CONFLICT DO NOTHING; RETURN NULL;
END $$;
CREATE FUNCTION note_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO writes SELECT current_setting('application_name'), holder FROM leases WHERE name LIKE 'mailbox:%'; RETURN NULL;
END $$;
CREATE TRIGGER claim AFTER INSERT OR UPDATE ON leases FOR EACH ROW WHEN (NEW.expires_at > 0) EXECUTE FUNCTION note_claim();
CREATE CONSTRAINT TRIGGER write AFTER INSERT ON emails DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_write();
";

fn launch_worker(app: &TestApp, name: &str) -> Process {
    let mut process = Command::new(PROGRAM);
    process
        .arg("worker")
        .envs(app.environment())
        .env(
            "DATABASE_URL",
            format!("{}&application_name={name}", app.database_url().unwrap()),
        )
        .env("MAILROOM_LOG", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process(process.spawn().unwrap())
}

fn signal(process: &Process, name: &str) {
    let pid = process.0.id().to_string();
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "signal", name, &pid])
        .status();
    assert!(status.unwrap().success());
}

/// R5: a worker that was stopped for longer than its lease writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn r05_a_worker_that_was_stopped_for_longer_than_its_lease_writes_nothing() {
    let mut app = TestApp::start(On::Postgresql).await;
    let dovecot = dovecot::start(&[ADDRESS]);
    let queue = connect(&app, &dovecot).await;
    app.stop().await;
    let mut asked = Asked::of(&app);
    let Asked::Postgresql(conn) = &mut asked else {
        panic!("it is PostgreSQL")
    };
    diesel::connection::SimpleConnection::batch_execute(conn.as_mut(), WITNESS).unwrap();
    let take_overs = if is_long() { 500 } else { 3 };
    let mut workers = [launch_worker(&app, "one"), launch_worker(&app, "two")];
    let holder = "SELECT c.application = 'two' AS it FROM leases l JOIN claims c ON c.holder = l.holder \
                  WHERE l.name LIKE 'mailbox:%' AND l.expires_at > 0";
    let holder = format!("SELECT CASE WHEN it THEN 1 ELSE 0 END FROM ({holder}) AS held");
    let fence = "SELECT fence FROM leases WHERE name LIKE 'mailbox:%'";
    let count = 60;
    for round in 0..take_overs {
        dovecot.fill_inbox(ADDRESS, mails(round, count)).unwrap();
        let started = Instant::now();
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        // While it works, if the round is to be of that kind; else whenever it holds the lease.
        let target = (round * count) as i64 + rand::rng().random_range(0..=count as i64);
        while asked.number("SELECT count(*) FROM emails") < target {
            pace.tick().await;
            assert!(started.elapsed() < PATIENCE, "nobody syncs round {round}");
        }
        let holding = asked.numbers(&format!("SELECT ({holder})::bigint AS number"))[0] as usize;
        let before = asked.number(fence);
        signal(&workers[holding], "STOP");
        asked.let_leases_run_out();
        while asked.number(fence) == before {
            pace.tick().await;
            assert!(
                started.elapsed() < PATIENCE,
                "nobody took round {round} over"
            );
        }
        signal(&workers[holding], "CONT");
    }
    let expected = (take_overs * count) as i64;
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while asked.number("SELECT count(*) FROM placements WHERE state = 'STORED'") < expected {
        pace.tick().await;
        assert!(started.elapsed() < PATIENCE, "not everything was taken in");
    }
    for worker in &mut workers {
        worker.kill();
    }
    check(&mut asked, expected, &queue, &app.data_folder().join("raw"));
    let by_others = "SELECT count(*) FROM writes w WHERE NOT EXISTS (SELECT 1 FROM claims c \
                     WHERE c.holder = w.holder AND c.application = w.application)";
    assert_eq!(
        asked.number(by_others),
        0,
        "emails were written without the lease"
    );
    assert_eq!(asked.number("SELECT count(*) FROM writes"), expected);
    println!("{take_overs} take-overs, fence {}", asked.number(fence));
}
