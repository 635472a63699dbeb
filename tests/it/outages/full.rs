//! Storage runs out while a mailbox is synced, and there is space again.

use super::volumes::{How, Volumes, Which, copy};
use super::{Front, Inbox, Program, Recoveries, check_all, lines_max, listening, moment};
use crate::crashes::{ADDRESS, PROGRAM, connect, is_long};
use crate::support::app::{On, PATIENCE, TestApp};
use crate::support::dovecot;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// Outages, and mails of each.
fn size() -> (u32, u64) {
    if is_long() { (50, 180) } else { (3, 180) }
}

/// Mails that come while storage is full.
const MORE: u64 = 60;
/// So often they come again, where there was space left over for the last.
const MORE_MAX: u32 = 60;
/// Longer than a lease.
const LONG_OUTAGE: Duration = Duration::from_secs(33);

/// How long storage stays full once that was told.
fn duration(outage: u32) -> Duration {
    if is_long() && outage == 7 {
        LONG_OUTAGE
    } else {
        Duration::from_millis(rand::rng().random_range(0..1500))
    }
}

/// What a test of full storage works with: who is asked, and who syncs (the server itself on SQLite).
struct World<'a> {
    front: Front<'a>,
    syncing: Program,
    inbox: Inbox<'a>,
    volumes: Volumes,
    recoveries: Recoveries,
}

impl World<'_> {
    /// One outage, from the first mail to the next that is stored after it.
    async fn outage(&mut self, number: u32, (which, count): (Which, u64)) {
        let mails = self.inbox.mails.saturating_sub(MORE);
        self.front
            .until(PATIENCE, "it gets on", |seen| seen.done >= mails)
            .await;
        self.inbox.fill(count);
        tokio::time::sleep(moment()).await;
        let lines = self.syncing.lines();
        let began = Instant::now();
        self.volumes.fill(which, &self.syncing);
        self.until_told().await;
        tokio::time::sleep(duration(number)).await;
        let seen = self.front.mailbox().await;
        assert!(seen.is_told_full(), "{seen:#?}");
        let full_for = began.elapsed();
        let logged = self.syncing.lines() - lines;
        assert!(
            logged < lines_max(full_for),
            "{logged} lines in {full_for:?}"
        );
        self.volumes.free(&self.syncing);
        let recovered = Instant::now();
        let stored = self
            .front
            .until(PATIENCE, "it goes on", |now| now.done > seen.done)
            .await;
        let took = recovered.elapsed();
        println!(
            "outage {number}, {which:?}: full for {full_for:?} at {} of {}, {logged} lines; went on after {took:?}",
            stored.done, self.inbox.mails
        );
        assert_eq!(stored.quarantined, 0);
        self.recoveries.note(took);
        self.syncing.assert_runs();
    }

    /// Mails come until the user sees that storage is full: what is left over in files goes on being used.
    async fn until_told(&mut self) {
        for _ in 0..MORE_MAX {
            self.inbox.fill(MORE);
            let expected = self.inbox.mails;
            let seen = self
                .front
                .until(PATIENCE, "it is told", |seen| {
                    seen.is_told_full() || seen.done == expected
                })
                .await;
            if seen.is_told_full() {
                return;
            }
        }
        panic!("there is always space left");
    }

    /// Everything is taken in, and nothing is said any more.
    async fn until_done(&mut self) {
        let expected = self.inbox.mails;
        let seen = self
            .front
            .until(PATIENCE, "all is taken in", |seen| {
                seen.done == expected && seen.stage == "WATCHING" && !seen.is_warned()
            })
            .await;
        assert!(seen.error.is_null(), "{seen:#?}");
        println!("the slowest answer took {:?}", self.front.slowest);
    }
}

/// On SQLite the server syncs, with its database and its raw mail on these volumes.
async fn on_sqlite(volumes: Volumes) {
    let mut app = TestApp::start(On::Sqlite).await;
    let dovecot = dovecot::start(&[ADDRESS]);
    let queue = connect(&app, &dovecot).await;
    app.stop().await;
    let data = app.data_folder().to_owned();
    for name in ["mailroom.sqlite", "mailroom.sqlite-wal"] {
        let file = data.join(name);
        if file.exists() {
            std::fs::copy(file, volumes.outside("db").join(name)).unwrap();
        }
    }
    let (url, mut environment) = listening(app.environment());
    environment.retain(|(name, _value)| *name != "DATABASE_URL");
    let inside = volumes.inside("db").join("mailroom.sqlite");
    environment.push(("DATABASE_URL", format!("sqlite:{}", inside.display())));
    let raw = volumes.inside("raw").display().to_string();
    environment.push(("MAILROOM_RAW_STORE", raw));
    let syncing = Program::launch(volumes.command("serve"), environment);
    let (outages, count) = size();
    let mut world = World {
        front: Front::at(&app, url).await,
        syncing,
        inbox: Inbox::of(&dovecot),
        volumes,
        recoveries: Recoveries::default(),
    };
    for number in 0..outages {
        let kinds = [Which::Database, Which::Raw, Which::Both];
        let which = match world.volumes.how() {
            How::Mounted if is_long() => *kinds.choose(&mut rand::rng()).unwrap(),
            How::Mounted => kinds[number as usize % kinds.len()],
            How::Limited => Which::Both,
        };
        world.outage(number, (which, count)).await;
    }
    world.until_done().await;
    let World {
        mut syncing,
        inbox,
        volumes,
        mut recoveries,
        ..
    } = world;
    let expected = inbox.mails;
    syncing.end();
    for left in ["mailroom.sqlite-wal", "mailroom.sqlite-shm"] {
        drop(std::fs::remove_file(data.join(left)));
    }
    copy(&volumes.outside("db"), &data);
    copy(&volumes.outside("raw"), &data.join("raw"));
    app.start_again().await;
    check_all(&app, expected, &queue).await;
    recoveries.tell("full storage, SQLite", expected);
}

/// R5, R8: a real file system runs out of space.
#[tokio::test(flavor = "multi_thread")]
async fn r05_r08_full_storage_loses_nothing_is_told_and_is_gone_on_from() {
    let sizes = if is_long() {
        ("700m", "256m")
    } else {
        ("48m", "16m")
    };
    on_sqlite(Volumes::mounted(sizes)).await;
}

/// R5, R8: no file may grow, as with a quota.
#[tokio::test(flavor = "multi_thread")]
async fn r05_r08_files_that_may_not_grow_lose_nothing() {
    on_sqlite(Volumes::limited()).await;
}

/// R5, R8: the store of raw mail alone runs out, at a worker beside the server that is asked.
#[tokio::test(flavor = "multi_thread")]
async fn r05_r08_a_worker_whose_raw_store_is_full_loses_nothing_and_tells() {
    let mut app = TestApp::start(On::Postgresql).await;
    let dovecot = dovecot::start(&[ADDRESS]);
    let queue = connect(&app, &dovecot).await;
    app.stop().await;
    let volumes = Volumes::mounted(("1m", "64m"));
    let (url, environment) = listening(app.environment());
    let mut serve = Command::new(PROGRAM);
    serve.arg("serve");
    let server = Program::launch(serve, environment);
    let mut environment = app.environment();
    let raw = volumes.inside("raw").display().to_string();
    environment.push(("MAILROOM_RAW_STORE", raw));
    let syncing = Program::launch(volumes.command("worker"), environment);
    let (outages, count) = size();
    let mut world = World {
        front: Front::at(&app, url).await,
        syncing,
        inbox: Inbox::of(&dovecot),
        volumes,
        recoveries: Recoveries::default(),
    };
    for number in 0..outages {
        world.outage(number, (Which::Raw, count)).await;
    }
    world.until_done().await;
    let World {
        mut syncing,
        inbox,
        volumes,
        mut recoveries,
        ..
    } = world;
    let expected = inbox.mails;
    syncing.end();
    drop(server);
    copy(&volumes.outside("raw"), &app.data_folder().join("raw"));
    app.start_again().await;
    check_all(&app, expected, &queue).await;
    recoveries.tell("full raw store, PostgreSQL", expected);
}
