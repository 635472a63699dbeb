//! Storage that is full and a database that stops, in the middle of a sync: nothing is lost, nothing is doubled, no mail
//! is blamed, and the sync goes on by itself within seconds (R5, R7, R8).
//! `MAILROOM_TEST_LONG=1`: 50 outages each.

mod database;
mod full;
mod volumes;

use crate::crashes::{ADDRESS, Asked, PROGRAM, Process, check, mails};
use crate::support::app::{PATIENCE, TestApp, text};
use crate::support::dovecot::Dovecot;
use mailroom::cli::demo::private_server::free_ports;
use mailroom::clock;
use mailroom::model::Time;
use mailroom::worker::upkeep;
use rand::Rng as _;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// So soon after recovery the next mail is stored.
const GOES_ON_WITHIN: Duration = Duration::from_secs(5);
/// No question may take longer, whatever is full.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Lines that a process may log while it waits for its store: some at the beginning, and few a second.
const fn lines_max(waited: Duration) -> usize {
    40 + 9 * waited.as_secs() as usize
}

/// A program of ours beside the test; what it logs is counted.
pub struct Program {
    process: Process,
    lines: Arc<AtomicUsize>,
}

impl Program {
    /// Starts what this command runs, which must become the program itself.
    pub fn launch(mut command: Command, environment: Vec<(&'static str, String)>) -> Self {
        let child = command
            .envs(environment)
            .env("MAILROOM_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = Process(child.unwrap());
        let lines = Arc::new(AtomicUsize::new(0));
        let logged = BufReader::new(process.0.stderr.take().unwrap());
        let counted = Arc::clone(&lines);
        std::thread::spawn(move || {
            let shows = std::env::var("MAILROOM_TEST_SHOW").is_ok();
            for line in logged.lines().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                if shows {
                    println!("{line}");
                }
            }
        });
        Self { process, lines }
    }

    fn pid(&self) -> u32 {
        self.process.0.id()
    }

    fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    fn assert_runs(&mut self) {
        let ended = self.process.0.try_wait().unwrap();
        assert!(ended.is_none(), "the program ended: {ended:?}");
    }

    /// Asks it to end, and waits.
    pub fn end(&mut self) {
        let pid = self.pid().to_string();
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$1\"", "end", &pid])
            .status();
        assert!(asked.unwrap().success());
        let ended = self.process.0.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

/// The program at a port of its own, with these settings.
pub fn listening(
    mut environment: Vec<(&'static str, String)>,
) -> (String, Vec<(&'static str, String)>) {
    let [port] = free_ports().unwrap();
    environment.retain(|(name, _value)| *name != "MAILROOM_LISTEN");
    environment.push(("MAILROOM_LISTEN", format!("127.0.0.1:{port}")));
    (format!("http://127.0.0.1:{port}"), environment)
}

/// What a user sees of a mailbox.
#[derive(Debug)]
struct Seen {
    stage: String,
    done: u64,
    quarantined: u64,
    error: Value,
    warnings: Vec<String>,
}

impl Seen {
    fn is_told_full(&self) -> bool {
        self.is_warned() && self.error["code"] == "STORAGE"
    }

    fn is_warned(&self) -> bool {
        let mut warnings = self.warnings.iter();
        warnings.any(|warning| warning == "STORAGE_FULL")
    }
}

const MAILBOXES: &str = "{ mailboxes(first: 1) { nodes { warnings sync { stage done quarantined \
                         lastError { code message advice } } } } }";

/// A server that is asked, and how long it took at most.
pub struct Front<'a> {
    app: &'a TestApp,
    url: String,
    slowest: Duration,
}

impl<'a> Front<'a> {
    /// Waits until it answers.
    pub async fn at(app: &'a TestApp, url: String) -> Self {
        let started = Instant::now();
        let address = url.trim_start_matches("http://");
        while std::net::TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "the server never answered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let slowest = Duration::ZERO;
        Self { app, url, slowest }
    }

    /// The mailbox's id.
    async fn mailbox_id(&self) -> String {
        let query = "{ mailboxes { nodes { id } } }";
        let admin = &self.app.admin;
        let answer = self.app.ask_server(&self.url, admin, query).await;
        text(&answer["data"]["mailboxes"]["nodes"][0]["id"])
    }

    /// The mailbox as its administrator sees it: reading works, whatever is full.
    async fn mailbox(&mut self) -> Seen {
        let asked = Instant::now();
        let answer = self
            .app
            .ask_server(&self.url, &self.app.admin, MAILBOXES)
            .await;
        self.slowest = self.slowest.max(asked.elapsed());
        assert!(asked.elapsed() < ANSWERS_WITHIN, "{:?}", asked.elapsed());
        assert!(answer.get("errors").is_none(), "{answer:#}");
        let mailbox = &answer["data"]["mailboxes"]["nodes"][0];
        let sync = &mailbox["sync"];
        let warnings = mailbox["warnings"].as_array().unwrap();
        Seen {
            stage: text(&sync["stage"]),
            done: sync["done"].as_u64().unwrap(),
            quarantined: sync["quarantined"].as_u64().unwrap(),
            error: sync["lastError"].clone(),
            warnings: warnings.iter().map(text).collect(),
        }
    }

    /// The mailbox once it is as wanted.
    async fn until(&mut self, within: Duration, what: &str, is_it: impl Fn(&Seen) -> bool) -> Seen {
        let started = Instant::now();
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            let seen = self.mailbox().await;
            if is_it(&seen) {
                return seen;
            }
            assert!(started.elapsed() < within, "{what}: {seen:#?}");
        }
    }
}

/// From when mail is there to well into its sync, which is begun by IDLE within half a second and then takes about a second.
fn moment() -> Duration {
    Duration::from_millis(rand::rng().random_range(0..1500))
}

/// The mailbox on its server, and how many mails were put there.
struct Inbox<'a> {
    dovecot: &'a Dovecot,
    parts: u64,
    mails: u64,
}

impl<'a> Inbox<'a> {
    fn of(dovecot: &'a Dovecot) -> Self {
        Self {
            dovecot,
            parts: 0,
            mails: 0,
        }
    }

    /// So many mails more, in threes.
    fn fill(&mut self, count: u64) {
        let mails = mails(self.parts, count);
        self.dovecot.fill_inbox(ADDRESS, mails).unwrap();
        self.parts += 1;
        self.mails += count;
    }
}

/// How long it took from each recovery to the next stored mail.
#[derive(Default)]
struct Recoveries(Vec<Duration>);

impl Recoveries {
    fn note(&mut self, took: Duration) {
        self.0.push(took);
        assert!(took < GOES_ON_WITHIN, "it went on after {took:?}");
    }

    fn tell(&mut self, what: &str, mails: u64) {
        self.0.sort_unstable();
        let (median, max) = (self.0[self.0.len() / 2], self.0[self.0.len() - 1]);
        println!(
            "{what}: {} outages, {mails} mails, 0 lost, 0 doubled; from recovery to the next stored mail {median:?} (median), {max:?} (max)",
            self.0.len()
        );
    }
}

/// `reconcile` finds nothing.
async fn assert_reconciled(app: &TestApp) {
    let mut command = Command::new(PROGRAM);
    command.arg("reconcile").envs(app.environment());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said} {done:?}");
}

fn in_two_days() -> Time {
    clock::now().plus_seconds(2 * 86_400)
}

/// After upkeep the store of raw mail holds what is named, and nothing else.
async fn assert_no_orphans(app: &TestApp, named: BTreeSet<String>) {
    let services = app.app().upkeep_services();
    let (raw, folder) = (services.raw.clone(), app.data_folder().join("raw"));
    let kept = tokio::task::spawn_blocking(move || {
        upkeep::round_now(&services, in_two_days, &|| false)
            .unwrap()
            .unwrap();
        let listed = raw.list_now().unwrap();
        listed.into_iter().map(|(name, ..)| name).collect()
    });
    let kept: BTreeSet<String> = kept.await.unwrap();
    assert_eq!(
        kept, named,
        "objects that nothing names, or none where one is named"
    );
    assert_eq!(
        files_in(&folder),
        named.len(),
        "something half written is left"
    );
}

fn files_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() { files_in(&path) } else { 1 }
    };
    entries.map(count).sum()
}

/// What must be true in the end, of an app that was started again on what the volumes held.
async fn check_all(app: &TestApp, expected: u64, queue: &[i64]) {
    let mut asked = Asked::of(app);
    let failed = asked.number("SELECT count(*) FROM placements WHERE state = 'FAILED'");
    assert_eq!(failed, 0, "no mail is blamed");
    check(
        &mut asked,
        expected as i64,
        queue,
        &app.data_folder().join("raw"),
    );
    assert_reconciled(app).await;
    let named = asked.objects().into_iter().map(|object| object.object_key);
    assert_no_orphans(app, named.collect()).await;
}
