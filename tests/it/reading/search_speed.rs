//! How long searches take among many mails (R43). `MAILROOM_TEST_LONG=1`: a hundred thousand; else a few, to see that it works.

use crate::support::app::On;
use crate::support::postgres::TestDatabase;
use crate::support::vocabulary::any_word;
use bytes::Bytes;
use mailroom::actions::index_search::{BATCH, Place, begin_now, index_batch_now};
use mailroom::model::item::ItemKind;
use mailroom::model::people::{Permission, PermissionAction, PermissionLevel, Role, Viewer};
use mailroom::model::{RoleId, Time, UserId};
use mailroom::rules::access::{self, Surface};
use mailroom::rules::search::{Reading, Typing, read};
use mailroom::store::page::PageRequest;
use mailroom::store::raw::{self, RawStore, hash_of};
use mailroom::store::search::{Search, count, list};
use mailroom::store::sql::{Value, insert_all, sql};
use mailroom::store::{Store, StoreError};
use std::time::{Duration, Instant};

fn mails() -> i64 {
    if std::env::var("MAILROOM_TEST_LONG").is_ok() {
        100_000
    } else {
        1_500
    }
}

/// A word as they come.
fn word(state: &mut u64) -> String {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    any_word(f64::from(u32::try_from(*state >> 33).unwrap()) / f64::from(1_u32 << 31))
}

fn text(state: &mut u64, words: u64) -> String {
    (0..words)
        .map(|_| word(state))
        .collect::<Vec<_>>()
        .join(" ")
}

const MAILBOXES: i64 = 20;
pub(super) const START: i64 = 1_700_000_000;

/// Mails of twenty mailboxes, every second on one of a thousand deals.
pub(super) fn fill(store: &Store, kept: &RawStore, count: i64) {
    let now = Time::from_seconds(START);
    let run = |statements: Vec<String>| {
        let done: Result<(), StoreError> = store.write_now(now, |tx| {
            for statement in statements {
                sql(statement).run(tx.conn)?;
            }
            Ok(())
        });
        done.unwrap();
    };
    let mut first: Vec<String> = (1..=MAILBOXES).map(|id| format!(
        "INSERT INTO users (id, name, address, address_key, time_zone, is_active, is_administrator, session_version, created_at, version) \
         VALUES ({id}, 'u{id}', 'u{id}@x', 'u{id}@x', 'UTC', TRUE, FALSE, 1, 1, 1)"
    )).collect();
    first.extend((1..=MAILBOXES).map(|id| format!(
        "INSERT INTO mailboxes (id, address, address_key, connector_id, imap_host, imap_port, imap_security, login, connected_at, \
         crm_integration, incoming_creates, outgoing_creates, existing_client_routing, replies_follow_thread, source, vcard_contacts, \
         queue_pointer, settings_version, created_at, version) VALUES ({id}, 'b{id}@x', 'b{id}@x', {id}, 'h', 993, 'TLS', 'x', 1, TRUE, \
         'LEAD', 'CONTACT', 'ATTACH_ALWAYS', TRUE, 'Mail', FALSE, 0, 1, 1, 1)"
    )));
    first.push("INSERT INTO threads (id, subject, created_at) VALUES (1, '', 1)".to_owned());
    first.extend((1..=1000).map(|n| format!(
        "INSERT INTO items (id, kind, title, responsible_id, open_to_everyone, stage_id, is_open, created_at, last_activity_at, is_extra_lead, version) \
         VALUES ({}, 'DEAL', 'Deal {n}', {}, FALSE, 5, TRUE, {}, 1, FALSE, 1)", 1000 + n, n % MAILBOXES + 1, (START + n) * 1_000_000
    )));
    run(first);
    let mut state = 7;
    for part in 0..count / 500 {
        let mut raws = Vec::new();
        let (mut messages, mut emails, mut people, mut links) = (vec![], vec![], vec![], vec![]);
        for n in part * 500..(part + 1) * 500 {
            let id = 10_000 + n;
            let subject = text(&mut state, 5);
            let words = 40 + state % 160;
            let raw = Bytes::from(format!(
                "Subject: {subject}\r\n\r\n{}\r\n",
                text(&mut state, words)
            ));
            let hash = hash_of(&raw).to_vec();
            raws.push((hash_of(&raw), raw));
            let at = (START + n * 600) * 1_000_000;
            let mailbox = n % MAILBOXES + 1;
            messages.push(vec![
                id.into(),
                id.to_be_bytes().to_vec().into(),
                "s".into(),
                1_i64.into(),
                at.into(),
            ]);
            emails.push(vec![
                id.into(),
                id.into(),
                mailbox.into(),
                hash.into(),
                "INCOMING".into(),
                if n % 2 == 0 {
                    "SAVED"
                } else {
                    "INTEGRATION_OFF"
                }
                .into(),
                subject.into(),
                "p".into(),
                at.into(),
                at.into(),
                "".into(),
                1_i64.into(),
            ]);
            people.push(vec![
                id.into(),
                "FROM".into(),
                0_i64.into(),
                text(&mut state, 2).into(),
                format!("c{}@client.example", n % 3000).into(),
            ]);
            if n % 2 == 0 {
                let item = 1001 + n / 2 % 1000;
                links.push(vec![
                    id.into(),
                    item.into(),
                    true.into(),
                    at.into(),
                    at.into(),
                ]);
            }
        }
        let durable = kept.keep_now(store, raws).unwrap();
        let done: Result<(), StoreError> = store.write_now(now, |tx| {
            raw::name(tx, &durable)?;
            let tables: [(&str, Vec<Vec<Value>>); 4] = [
                ("messages (id, content_key, subject_base, thread_id, received_at)", messages),
                ("emails (id, message_id, mailbox_id, raw_hash, direction, outcome, subject, preview, received_at, internal_date, problems, version)", emails),
                ("participants (email_id, role, position, name, address)", people),
                ("email_links (email_id, item_id, is_primary, received_at, linked_at)", links),
            ];
            for (into, rows) in tables {
                insert_all(tx.conn, into, "", rows)?;
            }
            Ok(())
        });
        done.unwrap();
    }
}

/// One mail of a thousand has a file, one of five hundred is unread on the server.
fn give_filters_something(store: &Store) {
    let done: Result<(), StoreError> = store.write_now(Time::from_seconds(START), |tx| {
        for statement in [
            "INSERT INTO attachments (id, email_id, part_index, name, media_type, size_bytes, is_inline) \
             SELECT id, id, 1, 'a.pdf', 'application/pdf', 1, FALSE FROM emails WHERE id % 1000 = 4",
            "INSERT INTO folders (id, mailbox_id, path, role, is_synced, epoch, discovered_next_uid, is_gone) \
             SELECT id, id, 'INBOX', 'INBOX', TRUE, 1, 1, FALSE FROM mailboxes",
            "INSERT INTO placements (id, folder_id, epoch, uid, state, size_bytes, is_seen, is_backfill, tries, email_id) \
             SELECT id, mailbox_id, 1, id, 'STORED', 1, id % 500 <> 4, FALSE, 0, id FROM emails",
        ] {
            sql(statement).run(tx.conn)?;
        }
        Ok(())
    });
    done.unwrap();
}

fn viewer(id: i64, level: Option<PermissionLevel>) -> Viewer {
    let permissions = level.into_iter().flat_map(|level| {
        ItemKind::ALL.iter().map(move |kind| Permission {
            item: *kind,
            action: PermissionAction::Read,
            level,
            stage_id: None,
        })
    });
    let role = Role {
        id: RoleId(1),
        name: String::new(),
        permissions: permissions.collect(),
        hidden_fields: vec![],
        may_change_crm_settings: false,
        version: 1,
    };
    Viewer {
        user_id: UserId(id),
        department_id: None,
        departments_above: vec![],
        departments_below: vec![],
        is_administrator: level.is_none(),
        roles: vec![role],
        rights_epoch: 1,
    }
}

fn measure(on: On) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = (on == On::Postgresql).then(TestDatabase::empty);
    let url = database.as_ref().map_or_else(
        || format!("sqlite:{}", folder.path().join("mailroom.db").display()),
        TestDatabase::url,
    );
    let store = Store::open(&url, Time::from_seconds(START)).unwrap();
    let raw_url = format!("file://{}", folder.path().join("raw").display());
    let kept = RawStore::open(&raw_url, runtime.handle().clone()).unwrap();
    let count_of_mails = mails();
    fill(&store, &kept, count_of_mails);
    give_filters_something(&store);
    let started = Instant::now();
    let place = Place {
        store: &store,
        raw: &kept,
        fence: None,
    };
    begin_now(place, Time::from_seconds(START)).unwrap();
    while index_batch_now(place, Time::from_seconds(START), BATCH).unwrap() > 0 {}
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{on:?}: {count_of_mails} mails indexed in {seconds:.1} s, {:.0} a second",
        f64::from(i32::try_from(count_of_mails).unwrap()) / seconds
    );
    if on == On::Postgresql {
        store.with_writer(|conn| sql("ANALYZE").run(conn)).unwrap();
    }
    let mut state = 7;
    let rare = text(&mut state, 3);
    let viewers = [
        ("reads all", viewer(1, Some(PermissionLevel::All))),
        (
            "own deals and a mailbox",
            viewer(1, Some(PermissionLevel::Own)),
        ),
        (
            "a mailbox alone",
            Viewer {
                roles: vec![],
                ..viewer(2, Some(PermissionLevel::Own))
            },
        ),
        ("nothing at all", viewer(0, Some(PermissionLevel::Own))),
    ];
    let mut slowest = Duration::ZERO;
    for (who, viewer) in &viewers {
        let within = access::emails(viewer, Surface::Either);
        for query in [
            "kaof",
            "kaof riof",
            "ka*",
            "con*",
            "kaof*",
            "rioft*",
            "\"kaof riof\"",
            &rare,
            "kaof -riof",
            "from:kaof has:attachment",
            "in:deal",
            "nowhere",
            // Filters alone: what many have, what few have, and what nobody has.
            "has:attachment",
            "has:attachment in:deal",
            "has:attachment in:contact",
            "-has:attachment",
            "is:unread",
            "is:unread has:attachment in:deal",
            "in:contact",
            "mailbox:b2@x",
            "mailbox:nobody@x",
            "mailbox:b2@x has:attachment",
            "before:2023-11-20 has:attachment",
            "before:1990-01-01",
            "has:attachment or in:contact",
        ] {
            let Reading::Understood(asked) = read(query, Typing::Done) else {
                panic!("{query}")
            };
            let search = Search {
                query: &asked,
                within: &within,
                hidden: &[],
            };
            let page = PageRequest {
                limit: 20,
                ..PageRequest::default()
            };
            let mut times = Vec::new();
            let mut found = 0;
            for _ in 0..5 {
                let started = Instant::now();
                let page = store
                    .read_moment_now(|conn| list(conn, &search, &page))
                    .unwrap();
                times.push(started.elapsed());
                found = page.rows.len();
            }
            let started = Instant::now();
            let total = store.read_now(|conn| count(conn, &search, 1000)).unwrap();
            let counting = started.elapsed();
            times.sort_unstable();
            slowest = slowest.max(times[2]);
            println!(
                "{on:?}, {who}, {query:?}: a page of {found} in {:?} (median of 5), {total:?} counted in {counting:?}",
                times[2]
            );
        }
    }
    println!("{on:?}: the slowest page took {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[test]
fn r43_searches_among_many_mails_are_quick_on_sqlite() {
    measure(On::Sqlite);
}

#[test]
fn r43_searches_among_many_mails_are_quick_on_postgresql() {
    measure(On::Postgresql);
}
