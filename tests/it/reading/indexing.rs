//! What becomes of mails that can't be indexed at this moment, or that say something else by then (R43, R47).

use super::search_speed::{START, fill};
use crate::support::app::On;
use crate::support::postgres::TestDatabase;
use bytes::Bytes;
use mailroom::actions::index_search::{BATCH, Place, begin_now, index_batch_now};
use mailroom::model::{EmailId, Time};
use mailroom::rules::search::Zone;
use mailroom::store::dialect::full_text::Document;
use mailroom::store::raw::{self, RawStore, hash_of};
use mailroom::store::search_index::{self, Batch, Indexed, Subject};
use mailroom::store::sql::sql;
use mailroom::store::{Store, StoreError};
use std::path::PathBuf;

const MAILS: i64 = 500;
const DEALS: i64 = 1_000;
/// The id of the first mail.
const FIRST: i64 = 10_000;
const NOW: Time = Time::from_seconds(START);

/// Mails and deals that wait to be indexed, where nothing indexes them.
struct World {
    store: Store,
    raw: RawStore,
    raw_folder: PathBuf,
    _folder: tempfile::TempDir,
    _database: Option<TestDatabase>,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(on: On) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let database = (on == On::Postgresql).then(TestDatabase::empty);
        let url = database.as_ref().map_or_else(
            || format!("sqlite:{}", folder.path().join("mailroom.db").display()),
            TestDatabase::url,
        );
        let store = Store::open(&url, NOW).unwrap();
        let raw_folder = folder.path().join("raw");
        let raw_url = format!("file://{}", raw_folder.display());
        let raw = RawStore::open(&raw_url, runtime.handle().clone()).unwrap();
        fill(&store, &raw, MAILS);
        let world = Self {
            store,
            raw,
            raw_folder,
            _folder: folder,
            _database: database,
            _runtime: runtime,
        };
        begin_now(world.place(), NOW).unwrap();
        world
    }

    fn place(&self) -> Place<'_> {
        Place {
            store: &self.store,
            raw: &self.raw,
            fence: None,
        }
    }

    /// Indexes until nothing waits, or something stands in the way.
    fn index(&self) -> Result<(), StoreError> {
        while index_batch_now(self.place(), NOW, BATCH)? > 0 {}
        Ok(())
    }

    fn run(&self, statement: &'static str) {
        let done = self.store.write_now(NOW, |tx| sql(statement).run(tx.conn));
        done.unwrap();
    }

    fn number(&self, query: &'static str) -> i64 {
        let found: Option<i64> = self.store.read_now(|conn| sql(query).one(conn)).unwrap();
        found.unwrap()
    }

    /// How much waits, and how much is found.
    fn standing(&self) -> (i64, i64) {
        (
            self.number("SELECT COUNT(*) FROM search_queue"),
            self.number("SELECT COUNT(*) FROM search_docs"),
        )
    }
}

/// Small mails of few objects are read together; the others by themselves, which says what is wrong with them.
fn what_is_small_is_read_ahead(on: On) {
    let world = World::new(on);
    let keep = |mails: &[&[u8]]| {
        let mails: Vec<_> = mails
            .iter()
            .map(|mail| (hash_of(mail), Bytes::copy_from_slice(mail)))
            .collect();
        let durable = world.raw.keep_now(&world.store, mails).unwrap();
        let named = world.store.write_now(NOW, |tx| raw::name(tx, &durable));
        named.unwrap();
    };
    let large = vec![b'x'; 300_000];
    keep(&[b"one", b"two", large.as_slice()]);
    keep(&[b"three"]);
    keep(&[b"broken"]);
    let hash = hash_of(b"broken").to_vec();
    let moved = world.store.write_now(NOW, |tx| {
        sql("UPDATE raw_mails SET byte_length = 3 WHERE hash = ")
            .bind(hash)
            .run(tx.conn)
    });
    moved.unwrap();
    let hashes = [
        b"one".as_slice(),
        b"two",
        &large,
        b"three",
        b"broken",
        b"unknown",
    ]
    .map(hash_of);
    let asked: Vec<&[u8]> = hashes.iter().map(|hash| hash.as_slice()).collect();
    let found = world.raw.get_ahead_now(&world.store, &asked).unwrap();
    let mut said: Vec<&[u8]> = found.values().map(|mail| mail.as_ref()).collect();
    said.sort_unstable();
    assert_eq!(said, [b"one".as_slice(), b"three", b"two"]);
    let alone = |mail: &[u8]| world.raw.get_now(&world.store, &hash_of(mail));
    assert_eq!(alone(&large).unwrap(), large);
    assert!(matches!(alone(b"broken"), Err(StoreError::Raw(_))));
    assert!(matches!(alone(b"unknown"), Err(StoreError::Raw(_))));
}

#[test]
fn r43_small_mails_are_read_together_on_sqlite() {
    what_is_small_is_read_ahead(On::Sqlite);
}

#[test]
fn r43_small_mails_are_read_together_on_postgresql() {
    what_is_small_is_read_ahead(On::Postgresql);
}

fn an_outage_counts_for_nothing(on: On) {
    let world = World::new(on);
    let away = world.raw_folder.with_extension("away");
    std::fs::rename(&world.raw_folder, &away).unwrap();
    for _ in 0..10 {
        let outcome = world.index();
        assert!(matches!(outcome, Err(StoreError::Raw(_))), "{outcome:?}");
    }
    std::fs::rename(&away, &world.raw_folder).unwrap();
    assert_eq!(
        world.number("SELECT COUNT(*) FROM search_queue WHERE tries > 0"),
        0
    );
    assert_eq!(world.standing(), (MAILS, DEALS));
    // One whose own bytes are lost is found all the same, by what rows say of it.
    world.run("UPDATE raw_mails SET byte_offset = byte_offset + 1 WHERE hash IN (SELECT raw_hash FROM emails WHERE id = 10007)");
    world.index().unwrap();
    assert_eq!(world.standing(), (0, MAILS + DEALS));
}

#[test]
fn r43_an_outage_of_the_raw_store_is_no_fault_of_a_mail_on_sqlite() {
    an_outage_counts_for_nothing(On::Sqlite);
}

#[test]
fn r43_an_outage_of_the_raw_store_is_no_fault_of_a_mail_on_postgresql() {
    an_outage_counts_for_nothing(On::Postgresql);
}

fn only_what_is_refused_alone_is_given_up(on: On) {
    let world = World::new(on);
    let (all, none, one) = match on {
        On::Sqlite => (
            "CREATE TRIGGER refuse BEFORE INSERT ON search_docs BEGIN SELECT RAISE(ABORT, 'refused'); END",
            "DROP TRIGGER refuse",
            "CREATE TRIGGER refuse BEFORE INSERT ON search_docs WHEN NEW.subject_id = 10007 BEGIN SELECT RAISE(ABORT, 'refused'); END",
        ),
        On::Postgresql => (
            "ALTER TABLE search_docs ADD CONSTRAINT refuse CHECK (at < 0)",
            "ALTER TABLE search_docs DROP CONSTRAINT refuse",
            "ALTER TABLE search_docs ADD CONSTRAINT refuse CHECK (subject_id <> 10007)",
        ),
    };
    world.run(all);
    for _ in 0..3 {
        let outcome = world.index();
        assert!(
            matches!(outcome, Err(StoreError::Database(_))),
            "{outcome:?}"
        );
    }
    assert_eq!(
        world.standing(),
        (MAILS + DEALS, 0),
        "the database's fault is nobody else's"
    );
    world.run(none);
    world.run(one);
    while world.index().is_err() {
        // Alone it proves nothing; with something else to index it is known to be the one.
        world.run("INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', 1001, 0)");
    }
    assert_eq!(world.standing(), (0, MAILS + DEALS - 1));
}

#[test]
fn r43_what_the_index_refuses_stops_nothing_else_on_sqlite() {
    only_what_is_refused_alone_is_given_up(On::Sqlite);
}

#[test]
fn r43_what_the_index_refuses_stops_nothing_else_on_postgresql() {
    only_what_is_refused_alone_is_given_up(On::Postgresql);
}

fn what_was_taken_out_stays_out(on: On) {
    let world = World::new(on);
    let subject = Subject::Email(EmailId(FIRST));
    let waiting = world
        .store
        .read_now(|conn| search_index::waiting(conn, 10_000))
        .unwrap();
    let hash_of = |id: i64| -> Vec<u8> {
        let query = sql("SELECT raw_hash FROM emails WHERE id = ").bind(id);
        let found: Option<Vec<u8>> = world.store.read_now(|conn| query.one(conn)).unwrap();
        found.unwrap()
    };
    let mut document = Document::new("EMAIL");
    document.add(Zone::Text, ["secret".to_owned()]);
    let read = Indexed {
        subject,
        kind: "EMAIL",
        at: NOW,
        raw_hash: hash_of(FIRST),
        document,
    };
    // While it was read, its bytes became others.
    world.run("UPDATE emails SET raw_hash = (SELECT o.raw_hash FROM emails o WHERE o.id = 10001) WHERE id = 10000");
    let save = |raw_hash: Vec<u8>| {
        let batch = Batch {
            waiting: waiting
                .iter()
                .filter(|one| one.subject == subject)
                .cloned()
                .collect(),
            indexed: vec![Indexed {
                raw_hash,
                ..read.clone()
            }],
            unread: vec![],
        };
        let saved = world
            .store
            .write_now(NOW, |tx| search_index::save(tx, &batch));
        saved.unwrap();
        world.number("SELECT COUNT(*) FROM search_docs")
    };
    assert_eq!(save(read.raw_hash.clone()), 0);
    assert_eq!(save(hash_of(FIRST)), 1);
}

#[test]
fn r47_what_was_read_before_it_was_erased_is_not_indexed_on_sqlite() {
    what_was_taken_out_stays_out(On::Sqlite);
}

#[test]
fn r47_what_was_read_before_it_was_erased_is_not_indexed_on_postgresql() {
    what_was_taken_out_stays_out(On::Postgresql);
}

fn what_is_new_comes_first(on: On) {
    let world = World::new(on);
    world.run(
        "INSERT INTO items (id, kind, title, responsible_id, open_to_everyone, stage_id, is_open, created_at, last_activity_at, is_extra_lead, version) \
         VALUES (5000, 'DEAL', 'New', 1, FALSE, 5, TRUE, 1, 1, FALSE, 1)",
    );
    index_batch_now(world.place(), NOW, BATCH).unwrap();
    let found = world.number("SELECT COUNT(*) FROM search_docs WHERE subject_id = 5000");
    assert_eq!(found, 1);
    world.index().unwrap();
    assert_eq!(world.standing(), (0, MAILS + DEALS + 1));
}

#[test]
fn r43_what_is_new_does_not_wait_for_what_is_indexed_anew_on_sqlite() {
    what_is_new_comes_first(On::Sqlite);
}

#[test]
fn r43_what_is_new_does_not_wait_for_what_is_indexed_anew_on_postgresql() {
    what_is_new_comes_first(On::Postgresql);
}
