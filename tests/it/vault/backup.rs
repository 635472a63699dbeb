//! Backup and restore (R48): consistent while mail is coming in, on both databases and between them; nothing is taken
//! from an archive that is not whole, and nothing is overwritten.

use super::{number, until_number};
use crate::on_both;
use crate::spine::{connect, mail};
use crate::support::app::{TestApp, text};
use crate::support::dovecot::{self, Dovecot};
use crate::support::postgres::TestDatabase;
use mailroom::app::{self, App, Purpose};
use mailroom::cli::vault::{restore_now, write_now};
use mailroom::config::{Config, Given};
use mailroom::store::backup::verify_now;
use mailroom::store::sql::sql;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const ADA: &str = "ada@ours.example";
/// Mails before the backup, and those that at least come while it is made.
const BEFORE: u32 = 60;
const DURING: u32 = 10;
const DURING_MAX: u32 = 400;

fn append(dovecot: &Dovecot, number: u32) {
    let from = format!("Client {number} <c{number}@client.example>");
    let raw = mail(
        &from,
        ADA,
        &format!("Mail {number}"),
        &format!("{number}@client.example"),
    );
    dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
}

fn config_in(folder: &Path, database: Option<&TestDatabase>) -> Config {
    Config::new(Given {
        data_dir: Some(folder.to_owned()),
        database_url: database.map(TestDatabase::url),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Given::default()
    })
    .unwrap()
}

/// The settings of a new installation in this folder.
struct Target {
    config: Config,
    _database: Option<TestDatabase>,
}

impl Target {
    fn sqlite(folder: &Path) -> Self {
        Self {
            config: config_in(&folder.join("sqlite"), None),
            _database: None,
        }
    }

    fn postgresql(folder: &Path) -> Self {
        let database = TestDatabase::empty();
        Self {
            config: config_in(&folder.join("postgresql"), Some(&database)),
            _database: Some(database),
        }
    }

    async fn restore(&self, archive: &Path) {
        let (config, archive) = (self.config.clone(), archive.to_owned());
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let contents = verify_now(&archive).unwrap();
            assert_eq!(contents.missing, Vec::<String>::new());
            restore_now(&config, runtime, &archive, &contents).unwrap();
        })
        .await
        .unwrap();
    }
}

async fn back_up(app: &TestApp, archive: &Path) {
    let config = app.app().config.clone();
    let archive = archive.to_owned();
    let tool = App::open(config, Purpose::Tool).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let keys = std::fs::read_to_string(&tool.config.key_file).unwrap();
        write_now(&tool, &archive, Some(&keys)).unwrap();
    })
    .await
    .unwrap();
}

/// Every mail that the copy names is there, byte for byte.
async fn every_raw_mail_is_there(app: &App) -> usize {
    let hashes: Vec<Vec<u8>> = app
        .store
        .read(|conn| sql("SELECT raw_hash FROM emails ORDER BY id").rows(conn))
        .await
        .unwrap();
    for hash in &hashes {
        app.raw.get(&app.store, hash).await.unwrap();
    }
    hashes.len()
}

/// Says that it is over when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

const OPEN: &str = "SELECT count(*) FROM placements WHERE state <> 'STORED'";
const EMAILS: &str = "SELECT count(*) FROM emails";

/// A copy starts, goes on where the original was at the backup, and ends up with every mail of the server once.
async fn a_copy_reconciles_to_nothing(target: &Target, mails: i64) {
    let app = App::open(target.config.clone(), Purpose::Run)
        .await
        .unwrap();
    let known = every_raw_mail_is_there(&app).await;
    assert!(known >= usize::try_from(BEFORE).unwrap(), "{known}");
    let running = app::serve(app).await.unwrap();
    assert_eq!(running.set_up_url, None, "the users are there");
    until_number(running.app(), EMAILS, mails).await;
    until_number(running.app(), OPEN, 0).await;
    let lines = number(running.app(), "SELECT count(*) FROM placements").await;
    assert_eq!(lines, mails, "a line for each UID, none twice");
    let entries = "SELECT count(*) FROM timeline_entries WHERE kind = 'EMAIL_RECEIVED'";
    assert_eq!(number(running.app(), entries).await, mails);
    running.stop().await;
}

on_both! {
    /// While mail comes in; the copies are on either database, whatever the original is on.
    async fn r48_a_copy_of_a_running_installation_reconciles_to_nothing(app) {
        let dovecot = dovecot::start(&[ADA]);
        (1..=BEFORE).for_each(|number| append(&dovecot, number));
        let token = app.admin.clone();
        connect(&app, &dovecot, &token, ADA).await;
        until_number(app.app(), EMAILS, i64::from(BEFORE)).await;
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("mailroom.backup");

        let (is_done, count) = (AtomicBool::new(false), AtomicU32::new(BEFORE));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) && count.load(Ordering::Acquire) < BEFORE + DURING_MAX
                    || count.load(Ordering::Acquire) < BEFORE + DURING {
                    append(&dovecot, count.fetch_add(1, Ordering::AcqRel) + 1);
                }
            });
            // Also where the backup fails, or the test would never end.
            let _over = Over(&is_done);
            let runtime = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| runtime.block_on(back_up(&app, &archive)));
        });
        let mails = i64::from(count.load(Ordering::Acquire));
        until_number(app.app(), EMAILS, mails).await;

        for target in [Target::sqlite(folder.path()), Target::postgresql(folder.path())] {
            target.restore(&archive).await;
            a_copy_reconciles_to_nothing(&target, mails).await;
        }
    }

    /// What clients hold of the original's time after the backup names nothing in the copy, and they are told to read again.
    async fn r38_who_comes_to_a_copy_with_a_cursor_of_its_original_is_told_to_read_again(app) {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("mailroom.backup");
        back_up(&app, &archive).await;
        let token = app.admin.clone();
        let made = app.make(&token, "createContact", json!({ "name": "Later" }), "contact { id }").await;
        let later = text(&made["contact"]["id"]);
        let timeline = "subscription ($after: Cursor) { timeline(after: $after) { __typename ... on CaughtUp { cursor } } }";
        let mut events = app.subscribe(&token, timeline, json!({})).await;
        let cursor = loop {
            let event = events.next().await;
            if event["timeline"]["__typename"] == "CaughtUp" {
                break text(&event["timeline"]["cursor"]);
            }
        };
        let target = Target::sqlite(folder.path());
        target.restore(&archive).await;
        let copy = app::serve(App::open(target.config.clone(), Purpose::Run).await.unwrap()).await.unwrap();
        let url = copy.url.clone();
        let mut events = crate::support::app::Events::open(&url, &token, timeline, json!({ "after": cursor })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "Gap");
        let made = crate::support::app::TestApp::make_at(&url, &token, "createContact", json!({ "name": "Other" }), "contact { id }").await;
        assert_ne!(text(&made["contact"]["id"]), later, "no id is given out twice");
        copy.stop().await;
    }
}

fn mailroom(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mailroom"))
        .env_clear()
        .args(["--data-dir", folder.to_str().unwrap(), "--log", "error"])
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// An installation with one user and two imported mails.
fn small_installation(folder: &Path) -> std::path::PathBuf {
    let data = folder.join("data");
    let user = ["user", "create", "--name", "Ada", "--address", ADA];
    assert!(mailroom(&data, &user).status.success());
    for number in 1..=2 {
        let raw = mail(
            "c@client.example",
            ADA,
            &format!("{number}"),
            &format!("{number}@x"),
        );
        std::fs::write(folder.join(format!("{number}.eml")), raw).unwrap();
    }
    let paths = [1, 2].map(|n| folder.join(format!("{n}.eml")).display().to_string());
    let import = ["import", "--mailbox", ADA, "--connector", ADA];
    for path in &paths {
        let done = mailroom(&data, &[import.as_slice(), &[path.as_str()]].concat());
        assert!(done.status.success(), "{}", said(&done));
    }
    data
}

#[test]
fn r48_an_archive_that_is_not_whole_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_installation(folder.path());
    let archive = folder.path().join("a.backup");
    let made = mailroom(&data, &["backup", archive.to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).contains("The key file"), "{}", said(&made));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&archive).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "others can't read it");
    let again = mailroom(&data, &["backup", archive.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));

    let whole = std::fs::read(&archive).unwrap();
    let middle = whole.len() / 2;
    let mut changed = whole.clone();
    changed[middle] ^= 1;
    let rows: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "not a Mailroom backup"),
        (
            "something else",
            b"PK\x03\x04 and so on and on".to_vec(),
            "not a Mailroom backup",
        ),
        ("cut in the middle", whole[..middle].to_vec(), "cut"),
        ("without its end", whole[..whole.len() - 1].to_vec(), "cut"),
        ("a changed bit", changed, "damaged"),
    ];
    let copy = folder.path().join("copy");
    for (what, bytes, expected) in rows {
        let bad = folder.path().join("bad.backup");
        std::fs::write(&bad, bytes).unwrap();
        let done = mailroom(&copy, &["restore", bad.to_str().unwrap()]);
        assert_eq!(done.status.code(), Some(1), "{what}: {}", said(&done));
        assert!(said(&done).contains(expected), "{what}: {}", said(&done));
        assert!(!copy.exists(), "{what}: nothing is there");
    }
}

#[test]
fn r48_a_restore_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_installation(folder.path());
    let archive = folder.path().join("a.backup");
    let archive = archive.to_str().unwrap();
    assert!(
        mailroom(&data, &["backup", "--with-keys", archive])
            .status
            .success()
    );
    let check = mailroom(&data, &["restore", "--check", archive]);
    assert!(
        check.status.success() && said(&check).contains("2 raw mails"),
        "{}",
        said(&check)
    );

    let onto_itself = mailroom(&data, &["restore", archive]);
    assert_eq!(onto_itself.status.code(), Some(2), "{}", said(&onto_itself));
    let copy = folder.path().join("copy");
    let done = mailroom(&copy, &["restore", archive]);
    assert!(done.status.success(), "{}", said(&done));
    let keys = |folder: &Path| std::fs::read(folder.join("mailroom.key")).unwrap();
    assert_eq!(keys(&copy), keys(&data));
    std::fs::remove_file(copy.join("mailroom.key")).unwrap();
    let twice = mailroom(&copy, &["restore", archive]);
    assert!(said(&twice).contains("not empty"), "{}", said(&twice));

    // A raw store with bytes in it, but no database.
    let other = folder.path().join("other");
    std::fs::create_dir_all(other.join("raw/mail")).unwrap();
    std::fs::write(other.join("raw/mail/x"), "x").unwrap();
    let onto_bytes = mailroom(&other, &["restore", archive]);
    assert!(
        said(&onto_bytes).contains("the raw store is not empty"),
        "{}",
        said(&onto_bytes)
    );
    assert!(!other.join("mailroom.sqlite").exists() && !other.join("mailroom.key").exists());
    assert_eq!(std::fs::read(other.join("raw/mail/x")).unwrap(), b"x");
}

#[test]
fn r48_a_raw_object_that_is_gone_is_named_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_installation(folder.path());
    let mut objects = Vec::new();
    for front in std::fs::read_dir(data.join("raw/mail")).unwrap() {
        for object in std::fs::read_dir(front.unwrap().path()).unwrap() {
            objects.push(object.unwrap().path());
        }
    }
    assert_eq!(objects.len(), 2);
    std::fs::remove_file(&objects[0]).unwrap();
    let archive = folder.path().join("a.backup");
    let archive = archive.to_str().unwrap();
    let made = mailroom(&data, &["backup", archive]);
    assert_eq!(made.status.code(), Some(1), "{}", said(&made));
    let name = objects[0].file_name().unwrap().to_str().unwrap();
    assert!(said(&made).contains(name), "{}", said(&made));
    let copy = folder.path().join("copy");
    let done = mailroom(&copy, &["restore", archive]);
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    let again = mailroom(
        &copy,
        &["backup", folder.path().join("b").to_str().unwrap()],
    );
    assert!(
        said(&again).contains("2 raw mails in 1 objects"),
        "{}",
        said(&again)
    );
}
