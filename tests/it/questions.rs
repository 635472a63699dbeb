//! Questions through the whole schema: what each viewer finds in a small company (R21, R22, R26, R27, R38).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::app::text;
use async_graphql::{Request, Response};
use diesel::connection::{Instrumentation, InstrumentationEvent};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use mailroom::actions::Actions;
use mailroom::actions::connect_mailbox::MailAccess;
use mailroom::actions::read_mail::MailReader;
use mailroom::auth::accounts::Accounts;
use mailroom::auth::keys::Keys;
use mailroom::bus::{Bus, Wake};
use mailroom::clock;
use mailroom::graphql::api::Caller;
use mailroom::graphql::{MailroomSchema, Services};
use mailroom::live::{Hub, Live};
use mailroom::mail::hosts::HostPolicy;
use mailroom::mail::tls::TlsTrust;
use mailroom::model::people::Session;
use mailroom::model::timeline::{NewTimelineEntry, Told};
use mailroom::model::topic::Topic;
use mailroom::model::{EmailId, ItemId, MessageId, UserId};
use mailroom::rules::search::Zone;
use mailroom::store::dialect::full_text::{self, Document, Entry};
use mailroom::store::raw::RawStore;
use mailroom::store::sql::sql;
use mailroom::store::{AnyConn, Store, StoreError, roles, timeline};
use serde_json::{Value, json};

const ADA: i64 = 1; // administrator, in no department
const MAX: i64 = 2; // manager of Sales
const SALLY: i64 = 3; // in Sales Berlin, below Sales
const OTTO: i64 = 4; // in Support

const LEAD: i64 = 100; // Sally's
const DEAL: i64 = 101; // Sally's
const OTHER_DEAL: i64 = 102; // Otto's
const CONTACT: i64 = 103; // Sally's

const SAVED: i64 = 300; // on Sally's deal and contact
const SHARED: i64 = 301; // on Sally's deal and Otto's

/// Longer than a look for what nobody told of takes, and shorter than a stream waits before it reads anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// The statements that each database ran.
static STATEMENTS: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);

#[derive(Default)]
struct Counting {
    url: String,
}

impl Instrumentation for Counting {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartEstablishConnection { url, .. } => self.url = url.to_owned(),
            // What sets a new connection up is nobody's question.
            InstrumentationEvent::StartQuery { query, .. }
                if !query.to_string().starts_with("PRAGMA") =>
            {
                let mut statements = STATEMENTS.lock().unwrap();
                let statements = statements.get_or_insert_default();
                *statements.entry(self.url.clone()).or_default() += 1;
            }
            _ => {}
        }
    }
}

struct World {
    store: Store,
    schema: MailroomSchema,
    /// Nothing is told here but what a test tells.
    bus: Bus,
    hub: Arc<Hub>,
    path: String,
    _folder: tempfile::TempDir,
}

impl World {
    async fn open() -> Self {
        // Whoever was first has set it.
        let _ =
            diesel::connection::set_default_instrumentation(|| Some(Box::<Counting>::default()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailroom.db").display().to_string();
        let store = Store::open(&format!("sqlite:{path}"), clock::now()).unwrap();
        let raw_url = format!("file://{}", folder.path().join("raw").display());
        std::fs::create_dir_all(folder.path().join("raw")).unwrap();
        let raw = RawStore::open(&raw_url, tokio::runtime::Handle::current()).unwrap();
        let keys = Keys::load_or_make(&folder.path().join("keys")).unwrap();
        let bus = Bus::memory();
        let hub = Hub::start(&bus);
        let services = Services {
            store: store.clone(),
            actions: Actions {
                store: store.clone(),
                raw: raw.clone(),
                sealer: keys.sealer.clone(),
                mail: MailAccess {
                    trust: TlsTrust::load(None).unwrap(),
                    hosts: Arc::new(HostPolicy::parse("").unwrap()),
                },
            },
            accounts: Arc::new(Accounts::new(store.clone(), &keys, "http://localhost")),
            live: Live::new(store.clone(), hub.clone()),
            mail: MailReader::new(store.clone(), raw),
            file_urls: Arc::new(|file| Some(format!("/files/{file:?}"))),
            public_url: "http://localhost".into(),
            clock: clock::now,
        };
        let world = Self {
            schema: mailroom::graphql::schema(services),
            store,
            bus,
            hub,
            path,
            _folder: folder,
        };
        world.settle();
        world
    }

    fn run(&self, statements: &'static str) {
        let done = self.store.write_now(clock::now(), |tx| {
            for statement in statements.split(';').filter(|text| !text.trim().is_empty()) {
                sql(statement.to_owned()).run(tx.conn)?;
            }
            Ok::<_, StoreError>(())
        });
        done.unwrap();
    }

    fn settle(&self) {
        self.run(include_str!("questions.sql"));
        let done = self.store.write_now(clock::now(), |tx| {
            for item in [LEAD, DEAL, OTHER_DEAL, CONTACT] {
                tx.tell(entry(item, Told::ItemCreated), None);
            }
            let email_id = EmailId(SAVED);
            for item in [DEAL, CONTACT] {
                tx.tell(
                    entry(item, Told::EmailReceived { email_id }),
                    Some(MessageId(SAVED + 100)),
                );
            }
            let email_id = EmailId(SHARED);
            for item in [DEAL, OTHER_DEAL] {
                tx.tell(
                    entry(item, Told::EmailReceived { email_id }),
                    Some(MessageId(SHARED + 100)),
                );
            }
            let from = Some(ItemId(OTHER_DEAL));
            tx.tell(entry(DEAL, Told::EmailLinked { email_id, from }), None);
            tx.tell(
                entry(
                    DEAL,
                    Told::NoteAdded {
                        text: "Call back".into(),
                    },
                ),
                None,
            );
            Ok::<_, StoreError>(())
        });
        done.unwrap();
    }

    fn id(&self, type_name: &str, number: i64) -> String {
        self.store.codec().seal_id(type_name, number)
    }

    fn request(&self, user: i64, query: &str, variables: Value) -> Request {
        let viewer = self
            .store
            .read_now(|conn: &mut AnyConn| roles::load_viewer(conn, UserId(user)));
        let session = Session {
            viewer: Arc::new(viewer.unwrap().unwrap()),
            expires_at: None,
        };
        Request::new(query)
            .variables(async_graphql::Variables::from_json(variables))
            .data(Caller(Some(session)))
    }

    /// The whole answer.
    async fn answer(&self, user: i64, query: &str, variables: Value) -> Value {
        let response = self
            .schema
            .execute(self.request(user, query, variables))
            .await;
        serde_json::to_value(response).unwrap()
    }

    /// Its data; there must be no errors.
    async fn ask(&self, user: i64, query: &str, variables: Value) -> Value {
        let answer = self.answer(user, query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer:#}");
        answer["data"].clone()
    }

    /// Streams of Sally's deal that have caught up.
    async fn followers(&self, count: usize) -> Vec<BoxStream<'static, Response>> {
        let watch = "subscription($deal: ID) { timeline(itemId: $deal) { __typename ... on EntryAdded { cursor entry { id \
            ... on NoteAdded { text } } } ... on CaughtUp { cursor } } }";
        let mut streams = Vec::new();
        for _ in 0..count {
            let of = json!({ "deal": self.id("Deal", DEAL) });
            let request = self.request(SALLY, watch, of);
            let mut stream = self.schema.execute_stream(request).boxed();
            let caught_up = serde_json::to_value(stream.next().await.unwrap()).unwrap();
            assert_eq!(caught_up["data"]["timeline"]["__typename"], "CaughtUp");
            streams.push(stream);
        }
        streams
    }

    /// A note on Sally's deal, of which nobody is told.
    fn write_note(&self, text: &str) {
        let note = entry(DEAL, Told::NoteAdded { text: text.into() });
        let done = self.store.write_now(clock::now(), |tx| {
            tx.tell(note, None);
            Ok::<_, StoreError>(())
        });
        done.unwrap();
    }

    /// Tells whoever waits for Sally's deal of all there is.
    fn tell(&self) {
        let position = self.store.read_now(timeline::last_position).unwrap();
        let wake = Wake {
            topics: vec![Topic::Item(ItemId(DEAL)).to_string()],
            position: position.0,
        };
        self.bus.publish(&wake).unwrap();
    }

    fn statements(&self) -> usize {
        let statements = STATEMENTS.lock().unwrap();
        let statements = statements.as_ref().unwrap();
        statements.get(&self.path).copied().unwrap_or(0)
    }
}

fn entry(item: i64, told: Told) -> NewTimelineEntry {
    NewTimelineEntry {
        item_id: ItemId(item),
        actor_id: Some(UserId(SALLY)),
        told,
    }
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    let texts = list.as_array().unwrap().iter();
    texts
        .map(|node| node[field].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r21_email_is_hidden_unless_every_linked_item_is_readable() {
    let world = World::open().await;
    let query = "query($deal: ID!) { deal(id: $deal) { title isOpen stage { name kind } responsible { name }
        viewerCan { read update delete export } contacts { name addresses { address isPrimary } }
        emails { nodes { subject mailbox { address } } totalCount { value isExact } }
        timeline { nodes { __typename at ... on EmailReceived { email { subject } } ... on EmailLinked { email { subject } from { title } }
          ... on NoteAdded { text } } totalCount { value } }
        activities { nodes { state responsible { name } email { subject } items { title } } } } }";
    let of = json!({"deal": world.id("Deal", DEAL)});
    let data = world.ask(SALLY, query, of.clone()).await;
    let deal = &data["deal"];
    assert_eq!(deal["stage"], json!({"name": "New", "kind": "OPEN"}));
    assert_eq!(
        deal["viewerCan"],
        json!({"read": true, "update": true, "delete": false, "export": false})
    );
    assert_eq!(
        deal["contacts"][0]["addresses"][0],
        json!({"address": "anna@client.example", "isPrimary": true})
    );
    assert_eq!(texts(&deal["emails"]["nodes"], "subject"), ["Offer"]);
    assert_eq!(
        deal["emails"]["totalCount"],
        json!({"value": 1, "isExact": true})
    );
    let entries = &deal["timeline"]["nodes"];
    assert_eq!(
        texts(entries, "__typename"),
        ["ItemCreated", "EmailReceived", "EmailLinked", "NoteAdded"]
    );
    // That it was linked shows, but neither the email nor the deal that it came from.
    assert_eq!(entries[2]["email"], Value::Null);
    assert_eq!(entries[2]["from"], Value::Null);
    assert_eq!(deal["timeline"]["totalCount"]["value"], 4);
    assert_eq!(
        deal["activities"]["nodes"][0]["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let data = world.ask(ADA, query, of).await;
    let deal = &data["deal"];
    assert_eq!(
        texts(&deal["emails"]["nodes"], "subject"),
        ["Terms", "Offer"]
    );
    assert_eq!(
        deal["emails"]["nodes"][0]["mailbox"],
        Value::Null,
        "being an administrator gives no mailbox"
    );
    let linked = deal["timeline"]["nodes"].as_array().unwrap().iter();
    let linked: Vec<_> = linked
        .filter(|node| node["__typename"] == "EmailLinked")
        .collect();
    assert_eq!(linked[0]["email"]["subject"], "Terms");
    assert_eq!(linked[0]["from"]["title"], "Otto's deal");
}

#[tokio::test(flavor = "multi_thread")]
async fn r22_access_to_a_mailbox_shows_its_mail_with_readable_items_only() {
    let world = World::open().await;
    let query = "query($email: ID!) { email(id: $email) { subject mailbox { address } outcome savedAt links { item { title } isPrimary canMove { allowed reason } }
        responsible { name } activity { state } routingTrace { reason } canRelink { allowed reason } linkHistory { from { title } to { title } }
        from { name address } to { address } thread { subject emails { nodes { subject } } } rawUrl attachments { name url } } }";
    let of = json!({"email": world.id("Email", SHARED)});
    let data = world.ask(SALLY, query, of.clone()).await;
    let email = &data["email"];
    assert_eq!(email["mailbox"]["address"], "sally@company.example");
    assert_eq!(
        email["links"],
        json!([{"item": {"title": "Sally's deal"}, "isPrimary": false, "canMove": {"allowed": true, "reason": null}}])
    );
    assert_eq!(
        email["responsible"],
        Value::Null,
        "its primary item is Otto's"
    );
    assert_eq!(email["activity"], Value::Null);
    assert_eq!(
        email["routingTrace"],
        Value::Null,
        "its words name what the rules saw"
    );
    assert_eq!(
        email["linkHistory"],
        json!([{"from": null, "to": {"title": "Sally's deal"}}])
    );
    assert_eq!(
        email["thread"],
        json!({"subject": "Offer", "emails": {"nodes": [{"subject": "Offer"}, {"subject": "Terms"}]}})
    );
    // Otto neither reads Sally's deal nor has her mailbox.
    let data = world.ask(OTTO, query, of.clone()).await;
    assert_eq!(data["email"], Value::Null);
    let data = world.ask(ADA, query, of).await;
    assert_eq!(data["email"]["responsible"]["name"], "Otto");
    assert_eq!(data["email"]["routingTrace"]["reason"], "linked by hand");

    let query = "{ mailboxes { nodes { address viewerCanChangeSettings settings { queue { name } } warnings sync { stage done total lagSeconds }
        spamFolder { path } folders { path role } access { __typename ... on User { name } ... on Department { name } } emails { nodes { subject } totalCount { value } } } } }";
    let data = world.ask(SALLY, query, json!({})).await;
    let mailbox = &data["mailboxes"]["nodes"][0];
    assert_eq!(
        texts(&mailbox["emails"]["nodes"], "subject"),
        ["Newsletter", "Terms", "Offer"]
    );
    assert_eq!(mailbox["warnings"], json!(["SPAM_FOLDER_IS_INBOX"]));
    assert_eq!(mailbox["settings"]["queue"], json!([{"name": "Sally"}]));
    assert_eq!(
        mailbox["access"],
        json!([{"__typename": "User", "name": "Sally"}, {"__typename": "Department", "name": "Sales"}])
    );
    let data = world.ask(ADA, query, json!({})).await;
    let mailbox = &data["mailboxes"]["nodes"][0];
    assert_eq!(mailbox["viewerCanChangeSettings"], true);
    assert_eq!(
        mailbox["emails"],
        json!({"nodes": [], "totalCount": {"value": 0}})
    );
    let data = world.ask(OTTO, query, json!({})).await;
    assert_eq!(data["mailboxes"]["nodes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn r26_a_hidden_field_is_null_with_one_error_at_its_path_and_the_rest_stays() {
    let world = World::open().await;
    world.run("INSERT INTO role_hidden_fields (role_id, field) VALUES (20, 'DEAL_AMOUNT'); INSERT INTO role_hidden_fields (role_id, field) VALUES (20, 'CONTACT_ADDRESSES')");
    let answer = world
        .answer(
            SALLY,
            "{ deals { nodes { title amount { amount } } } }",
            json!({}),
        )
        .await;
    assert_eq!(
        answer["data"]["deals"]["nodes"],
        json!([{"title": "Sally's deal", "amount": null}])
    );
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["path"], json!(["deals", "nodes", 0, "amount"]));
    assert_eq!(errors[0]["extensions"]["code"], "FORBIDDEN");
    let answer = world
        .answer(
            SALLY,
            "{ contacts(filter: {address: \"anna@client.example\"}) { nodes { title } } }",
            json!({}),
        )
        .await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
        "lists don't answer whose address it is"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_what_is_hidden_answers_as_what_does_not_exist() {
    let world = World::open().await;
    let hidden = [
        world.id("Deal", OTHER_DEAL),
        world.id("Email", SHARED),
        world.id("Mailbox", 200),
        world.id("Folder", 201),
        world.id("Activity", 400),
        world.id("Attachment", 500),
        world.id("LinkChange", 600),
        world.id("Thread", 700),
        world.id("TimelineEntry", 2),
    ];
    let query = "query($id: ID!) { node(id: $id) { id } }";
    // Otto sees none of Sally's things; Sally sees her own, by the same ids.
    for id in &hidden {
        let reader = if id.starts_with("Deal") { SALLY } else { OTTO };
        let answer = world.answer(reader, query, json!({"id": id})).await;
        assert_eq!(answer, json!({"data": {"node": null}}), "{id}");
        let reader = if id.starts_with("Deal") { OTTO } else { SALLY };
        let data = world.ask(reader, query, json!({"id": id})).await;
        assert_eq!(data["node"]["id"], json!(id));
    }
    for bad in ["", "Deal", "Deal_AAAAAAAAAAAAAAAAAAAAAA", "made up"] {
        let answer = world.answer(OTTO, query, json!({"id": bad})).await;
        assert_eq!(answer, json!({"data": {"node": null}}), "{bad}");
    }
    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename } }";
    let ids = json!({"ids": [world.id("User", MAX), "bad", world.id("Deal", OTHER_DEAL), world.id("Stage", 5)]});
    let data = world.ask(SALLY, nodes, ids).await;
    assert_eq!(
        data["nodes"],
        json!([{"__typename": "User"}, null, null, {"__typename": "Stage"}])
    );
    // A filter that names what is hidden matches nothing, though the email itself is visible.
    let emails = "query($item: ID) { emails(filter: {itemId: $item}) { nodes { subject } } }";
    for (item, found) in [(DEAL, vec!["Terms", "Offer"]), (OTHER_DEAL, vec![])] {
        let data = world
            .ask(SALLY, emails, json!({"item": world.id("Deal", item)}))
            .await;
        assert_eq!(texts(&data["emails"]["nodes"], "subject"), found);
    }
    let answer = world
        .schema
        .execute(Request::new("{ viewer { name } }").data(Caller(None)))
        .await;
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_both_ways_and_cursors_are_the_viewer_s_own() {
    let world = World::open().await;
    let query = "query($first: Int, $after: Cursor, $last: Int, $before: Cursor) {
        timeline(first: $first, after: $after, last: $last, before: $before) { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let ids = |data: &Value| -> Vec<String> {
        let edges = data["timeline"]["edges"].as_array().unwrap().iter();
        edges
            .map(|edge| edge["node"]["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = ids(&world.ask(ADA, query, json!({"first": 100})).await);
    assert_eq!(all.len(), 10);
    let (mut forward, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = world
            .ask(ADA, query, json!({"first": 3, "after": after}))
            .await;
        forward.extend(ids(&data));
        after = data["timeline"]["pageInfo"]["endCursor"].clone();
        if data["timeline"]["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(forward, all);
    let (mut backward, mut before) = (Vec::new(), Value::Null);
    loop {
        let data = world
            .ask(ADA, query, json!({"last": 3, "before": before}))
            .await;
        let mut page = ids(&data);
        page.extend(backward);
        backward = page;
        before = data["timeline"]["pageInfo"]["startCursor"].clone();
        if data["timeline"]["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
    }
    assert_eq!(backward, all);
    for (user, after) in [(MAX, after.clone()), (ADA, json!("made up"))] {
        let answer = world
            .answer(user, query, json!({"first": 3, "after": after}))
            .await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }
}

// On one thread, as the server's workers run.
#[tokio::test]
async fn r33_counters_take_one_statement_however_much_is_to_do() {
    let world = World::open().await;
    let query = "{ counters { incoming overdue } }";
    let ask = async |expected: Value| {
        let request = world.request(SALLY, query, json!({}));
        let before = world.statements();
        let response = world.schema.execute(request).await;
        let count = world.statements() - before;
        let answer = serde_json::to_value(response).unwrap();
        assert_eq!(answer["data"]["counters"], expected, "{answer:#}");
        count
    };
    let few = ask(json!({ "incoming": 1, "overdue": 1 })).await;
    let done = world.store.write_now(clock::now(), |tx| {
        for n in 0..60 {
            sql(format!("INSERT INTO raw_mails VALUES (X'{n:04}', 'k', 0, 1)")).run(tx.conn)?;
            sql(format!("INSERT INTO messages VALUES ({}, X'{n:04}', NULL, 's', 700, 5)", 2000 + n)).run(tx.conn)?;
            sql(format!("INSERT INTO emails VALUES ({}, {}, 200, X'{n:04}', 'INCOMING', 'SAVED', NULL, 'x@client.example', 'More', '', 5, 5, 5, {DEAL}, NULL, '', 1)", 1000 + n, 2000 + n)).run(tx.conn)?;
            sql(format!("INSERT INTO email_links VALUES ({}, {DEAL}, TRUE, 5, 5, 3)", 1000 + n)).run(tx.conn)?;
            sql(format!("INSERT INTO activities VALUES ({}, {}, 3, 'SCHEDULED', 5, {}, NULL, NULL, 1)", 3000 + n, 2000 + n, i64::MAX)).run(tx.conn)?;
        }
        Ok::<_, StoreError>(())
    });
    done.unwrap();
    let many = ask(json!({ "incoming": 61, "overdue": 1 })).await;
    assert_eq!((few, many), (few, few));
    assert!(few <= 1, "{few}");
}

// On one thread, as the server's workers run.
#[tokio::test]
async fn the_number_of_statements_does_not_grow_with_the_page() {
    let world = World::open().await;
    let done = world.store.write_now(clock::now(), |tx| {
        for n in 0..60 {
            sql(format!("INSERT INTO raw_mails VALUES (X'{n:04}', 'k', 0, 1)")).run(tx.conn)?;
            sql(format!("INSERT INTO messages VALUES ({}, X'{n:04}', NULL, 's', 700, 5)", 2000 + n)).run(tx.conn)?;
            sql(format!("INSERT INTO emails VALUES ({}, {}, 200, X'{n:04}', 'INCOMING', 'SAVED', NULL, 'x@client.example', 'More', '', 5, 5, 5, {DEAL}, NULL, '', 1)", 1000 + n, 2000 + n)).run(tx.conn)?;
            sql(format!("INSERT INTO email_links VALUES ({}, {DEAL}, TRUE, 5, 5, 3)", 1000 + n)).run(tx.conn)?;
            let email_id = EmailId(1000 + n);
            tx.tell(entry(DEAL, Told::EmailReceived { email_id }), Some(MessageId(2000 + n)));
        }
        Ok::<_, StoreError>(())
    });
    done.unwrap();
    let query = "query($n: Int!) { timeline(first: $n) { liveCursor nodes { actor { name department { name } } item { title responsible { roles { name } } }
        ... on EmailReceived { email { to { address } mailbox { address folders { path } sync { stage } } responsible { name } activity { state responsible { name } }
          thread { subject } routingTrace { reason } attachments { name } linkHistory { to { title } } canRelink { allowed }
          links { linkedBy { name } canMove { allowed } item { title responsible { name } viewerCan { update } ... on Deal { contacts { addresses { address } } } } } } } } } }";
    let mut counts = Vec::new();
    for n in [14, 30, 60] {
        let request = world.request(SALLY, query, json!({"n": n}));
        let before = world.statements();
        let response = world.schema.execute(request).await;
        counts.push(world.statements() - before);
        let answer = serde_json::to_value(response).unwrap();
        let entries = answer["data"]["timeline"]["nodes"].as_array();
        assert_eq!(entries.map(Vec::len), Some(n), "{answer:#}");
    }
    assert!(
        counts.windows(2).all(|pair| pair[0] == pair[1]),
        "{counts:?}"
    );
    assert!(counts[0] > 5, "{counts:?}");
}

// On one thread, as the server's workers run.
#[tokio::test]
async fn r43_the_number_of_statements_does_not_grow_with_what_is_found() {
    let world = World::open().await;
    let done = world.store.write_now(clock::now(), |tx| {
        for n in 0..20 {
            let id = 3000 + n;
            sql(format!("INSERT INTO items (id, kind, title, responsible_id, open_to_everyone, stage_id, is_open, created_at, last_activity_at, is_extra_lead, version) \
                 VALUES ({id}, 'DEAL', 'Crane {n}', 3, FALSE, 5, TRUE, 11, 11, FALSE, 1)")).run(tx.conn)?;
            let mut document = Document::new("DEAL");
            document.add(Zone::Title, ["crane".to_owned()]);
            let entry_of = Entry { id, kind: "DEAL", subject: id, at_micros: 11, document: &document };
            full_text::insert(tx, &[entry_of])?;
            let text = format!("The crane of {n}");
            tx.tell(entry(id, Told::NoteAdded { text }), None);
        }
        Ok::<_, StoreError>(())
    });
    done.unwrap();
    let query = "query($n: Int!) { search(query: \"crane\", first: $n) { nodes { snippets { zone parts { text } } } } }";
    let mut counts = Vec::new();
    for n in [5, 10, 20] {
        let request = world.request(SALLY, query, json!({"n": n}));
        let before = world.statements();
        let response = world.schema.execute(request).await;
        counts.push(world.statements() - before);
        let answer = serde_json::to_value(response).unwrap();
        let hits = answer["data"]["search"]["nodes"].as_array();
        assert_eq!(hits.map(Vec::len), Some(n), "{answer:#}");
        let zones = texts(&answer["data"]["search"]["nodes"][0]["snippets"], "zone");
        assert_eq!(zones, ["TITLE", "TEXT"], "{answer:#}");
    }
    assert!(
        counts.windows(2).all(|pair| pair[0] == pair[1]),
        "{counts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r38_a_subscription_goes_on_from_where_the_list_was_read() {
    let world = World::open().await;
    let of = json!({"deal": world.id("Deal", DEAL)});
    let list = "query($deal: ID!) { deal(id: $deal) { timeline(last: 1) { liveCursor edges { cursor } } } }";
    let data = world.ask(SALLY, list, of).await;
    let after = data["deal"]["timeline"]["liveCursor"].clone();
    let watch = "subscription($deal: ID, $after: Cursor) { timeline(itemId: $deal, after: $after) { __typename
        ... on EntryAdded { cursor entry { __typename item { title } ... on NoteAdded { text } } } ... on CaughtUp { cursor } } }";
    let variables = json!({"deal": world.id("Deal", DEAL), "after": after});
    let done = world.store.write_now(clock::now(), |tx| {
        tx.tell(
            entry(
                DEAL,
                Told::NoteAdded {
                    text: "In between".into(),
                },
            ),
            None,
        );
        tx.tell(
            entry(
                OTHER_DEAL,
                Told::NoteAdded {
                    text: "Otto's".into(),
                },
            ),
            None,
        );
        Ok::<_, StoreError>(())
    });
    done.unwrap();
    let mut events = world
        .schema
        .execute_stream(world.request(SALLY, watch, variables));
    let added = serde_json::to_value(events.next().await.unwrap()).unwrap();
    let entry = &added["data"]["timeline"]["entry"];
    assert_eq!(
        entry,
        &json!({"__typename": "NoteAdded", "item": {"title": "Sally's deal"}, "text": "In between"})
    );
    let caught_up = serde_json::to_value(events.next().await.unwrap()).unwrap();
    assert_eq!(caught_up["data"]["timeline"]["__typename"], "CaughtUp");

    for id in [
        world.id("Deal", OTHER_DEAL),
        "Deal_AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    ] {
        let mut refused =
            world
                .schema
                .execute_stream(world.request(SALLY, watch, json!({"deal": id})));
        let answer = serde_json::to_value(refused.next().await.unwrap()).unwrap();
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "NOT_FOUND",
            "{answer}"
        );
        assert!(refused.next().await.is_none());
    }

    let watch = "subscription($id: ID!) { mailboxSync(mailboxId: $id) { address sync { stage } } }";
    let of = json!({"id": world.id("Mailbox", 200)});
    let mut syncs = world
        .schema
        .execute_stream(world.request(SALLY, watch, of.clone()));
    let now = serde_json::to_value(syncs.next().await.unwrap()).unwrap();
    assert_eq!(now["data"]["mailboxSync"]["sync"]["stage"], "WATCHING");
    let mut refused = world.schema.execute_stream(world.request(OTTO, watch, of));
    let answer = serde_json::to_value(refused.next().await.unwrap()).unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "NOT_FOUND");
}

/// The text of the note that each stream tells of next.
async fn next_notes(streams: &mut [BoxStream<'static, Response>]) -> Vec<String> {
    let next = join_all(streams.iter_mut().map(StreamExt::next));
    let told = tokio::time::timeout(PATIENCE, next).await.unwrap();
    told.into_iter()
        .map(|event| {
            let event = serde_json::to_value(event.unwrap()).unwrap();
            text(&event["data"]["timeline"]["entry"]["text"])
        })
        .collect()
}

// On one thread, as the server's workers run.
#[tokio::test]
async fn r38_an_event_is_read_once_however_many_follow() {
    const MANY: usize = 40;
    let world = World::open().await;
    let mut counts = Vec::new();
    for followers in [1, MANY] {
        let mut streams = world.followers(followers).await;
        world.write_note("Call back");
        let before = world.statements();
        world.tell();
        let told = next_notes(&mut streams).await;
        counts.push(world.statements() - before);
        assert_eq!(told, vec!["Call back"; followers]);
    }
    // What was judged a while ago is judged again, for all at once; for each alone it would be some statements each.
    assert!(counts[0] > 0 && counts[1] < counts[0] + MANY, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r38_news_that_nobody_told_of_are_found() {
    let world = World::open().await;
    world.tell();
    world.hub.look_after(world.store.clone());
    let mut streams = world.followers(1).await;
    world.write_note("Nobody knows");
    assert_eq!(next_notes(&mut streams).await, ["Nobody knows"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_roles_stages_and_settings_are_there_for_everybody() {
    let world = World::open().await;
    let query = "{ viewer { name address timeZone isActive isAdministrator version department { name parent { name parent { name } } } roles { name permissions { item action level stage { name } } hiddenFields } }
        users { nodes { name } totalCount { value isExact } } departments { name parent { name } } roles { name mayChangeCrmSettings } leadStages { name kind position } dealStages { name }
        crmSettings { leadsEnabled exclusions senderLimitPerHour version } leads(filter: {isOpen: true, text: \"sally\"}, orderBy: {field: TITLE, direction: ASC}) { nodes { title name source addresses { address } conversion { at } } } }";
    let data = world.ask(SALLY, query, json!({})).await;
    assert_eq!(
        data["viewer"]["department"],
        json!({"name": "Sales Berlin", "parent": {"name": "Sales", "parent": null}})
    );
    assert_eq!(data["viewer"]["roles"][0]["name"], "Employee");
    assert_eq!(
        texts(&data["users"]["nodes"], "name"),
        ["Ada", "Max", "Otto", "Sally"]
    );
    assert_eq!(
        texts(&data["leadStages"], "name"),
        ["New", "In process", "Converted", "Junk"]
    );
    assert_eq!(data["crmSettings"]["senderLimitPerHour"], 2000);
    assert_eq!(texts(&data["leads"]["nodes"], "title"), ["Sally's lead"]);
    let data = world
        .ask(MAX, "{ deals { nodes { title } } }", json!({}))
        .await;
    assert_eq!(
        texts(&data["deals"]["nodes"], "title"),
        ["Sally's deal"],
        "of his department and those below"
    );
}
