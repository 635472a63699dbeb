//! An installation for these tests: a database of its own, the whole schema behind its wall, and a clock that stands.
//! Worlds of the model are written into it row by row, with the model's ids.

use super::model::{About, Action, Field, Id, Kind, Level, World};
use crate::support::app::On;
use crate::support::postgres::TestDatabase;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use mailroom::actions::Actions;
use mailroom::actions::connect_mailbox::MailAccess;
use mailroom::actions::read_mail::MailReader;
use mailroom::auth::accounts::Accounts;
use mailroom::auth::keys::Keys;
use mailroom::bus::Bus;
use mailroom::clock;
use mailroom::graphql::api::{Api, ApiRequest, ApiResponse, Caller, Introspection, RequestId};
use mailroom::graphql::{MailroomSchema, Services};
use mailroom::live::{Hub, Live};
use mailroom::mail::hosts::HostPolicy;
use mailroom::mail::tls::TlsTrust;
use mailroom::model::email::RoutingTrace;
use mailroom::model::measure::{Beats, Syncs};
use mailroom::model::people::Session;
use mailroom::model::timeline::Position;
use mailroom::model::{EmailId, Time, UserId};
use mailroom::store::db::Kind as Database;
use mailroom::store::email_writes::put_trace;
use mailroom::store::raw::RawStore;
use mailroom::store::sql::{Row, Value, insert_all, sql};
use mailroom::store::{AnyConn, Store, StoreError, roles};
use mailroom::worker::relay;
use serde_json::Value as Json;
use std::sync::{Arc, OnceLock};

/// Ids of the model lie above those that the product gives out in a test.
pub const BASE: Id = 5_000_000;
/// What lies behind it was told after the world was written.
pub const LAST_POSITION: Id = 100_000;
/// An id that no row has.
pub const ABSENT: Id = 4_999_999;

/// The moment that all questions are asked at.
pub fn now() -> Time {
    Time::from_seconds(1_800_000_000)
}

pub struct House {
    pub store: Store,
    pub api: Api,
    pub actions: Actions,
    schema: MailroomSchema,
    hash: OnceLock<String>,
    relay: Option<tokio::task::JoinHandle<()>>,
    _folder: tempfile::TempDir,
    // Last: connections to it are closed before.
    _database: Option<TestDatabase>,
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            relay.abort();
        }
    }
}

/// A database with the tables and keys that all installations of this run share, so that ids are equal in all of them.
fn sqlite_template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("first.db").display());
        let copy = folder.path().join("copy.db");
        let store = Store::open(&url, now()).unwrap();
        let vacuum = format!("VACUUM INTO '{}'", copy.display());
        store.with_writer(|conn| sql(vacuum).run(conn)).unwrap();
        std::fs::read(copy).unwrap()
    })
}

impl House {
    /// An empty installation.
    pub fn open(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = (on == On::Postgresql).then(|| {
            TestDatabase::from_template("access", |url| drop(Store::open(url, now()).unwrap()))
        });
        let url = database.as_ref().map_or_else(
            || {
                let path = folder.path().join("mailroom.db");
                std::fs::write(&path, sqlite_template()).unwrap();
                format!("sqlite:{}", path.display())
            },
            TestDatabase::url,
        );
        let store = Store::open(&url, now()).unwrap();
        std::fs::create_dir_all(folder.path().join("raw")).unwrap();
        let raw_url = format!("file://{}", folder.path().join("raw").display());
        let raw = RawStore::open(&raw_url, tokio::runtime::Handle::current()).unwrap();
        let keys = Keys::load_or_make(&folder.path().join("keys")).unwrap();
        let bus = Bus::memory();
        let hub = Hub::start(&bus);
        let actions = Actions {
            store: store.clone(),
            raw: raw.clone(),
            sealer: keys.sealer.clone(),
            mail: MailAccess {
                trust: TlsTrust::load(None).unwrap(),
                hosts: Arc::new(HostPolicy::parse("").unwrap()),
            },
        };
        let services = Services {
            store: store.clone(),
            actions: actions.clone(),
            accounts: Arc::new(Accounts::new(store.clone(), &keys, "http://localhost")),
            live: Live::new(store.clone(), hub),
            mail: MailReader::new(store.clone(), raw),
            file_urls: Arc::new(|file| Some(format!("/files/{file:?}"))),
            public_url: "http://127.0.0.1".into(),
            clock: now,
        };
        let schema = mailroom::graphql::schema(services);
        let beats = Beats::new(clock::now(), Syncs::Elsewhere);
        let api = Api::new(schema.clone(), Introspection::SignedIn);
        Self {
            relay: Some(tokio::spawn(relay::run(
                store.clone(),
                bus,
                beats,
                Position(0),
            ))),
            store,
            api,
            actions,
            schema,
            hash: OnceLock::new(),
            _folder: folder,
            _database: database,
        }
    }

    /// The same without anything that works by itself: for comparing the whole database.
    pub fn open_still(on: On) -> Self {
        let mut house = Self::open(on);
        if let Some(relay) = house.relay.take() {
            relay.abort();
        }
        house
    }

    /// An installation with this world in it.
    pub fn with(on: On, world: &World) -> Self {
        let house = Self::open(on);
        house.write(world);
        house
    }

    pub fn rows<T: Row>(&self, query: &str) -> Vec<T> {
        let read = self.store.read_now(|conn| sql(query.to_owned()).rows(conn));
        read.unwrap()
    }

    /// The user's session, with the rights of this moment; `None`: nobody, or no active user.
    pub fn session(&self, user: Option<Id>) -> Option<Session> {
        let user = UserId(user?);
        let viewer = self.store.read_now(|conn| roles::load_viewer(conn, user));
        Some(Session {
            viewer: Arc::new(viewer.unwrap()?),
            expires_at: None,
        })
    }

    fn request(query: &str, variables: Json) -> ApiRequest {
        let Json::Object(variables) = variables else {
            panic!("variables are an object");
        };
        ApiRequest {
            query: query.to_owned(),
            variables,
            ..ApiRequest::default()
        }
    }

    /// The answer, byte for byte.
    pub async fn bytes(&self, user: Option<Id>, query: &str, variables: Json) -> String {
        let request = Self::request(query, variables);
        let response = self.api.execute(request, self.session(user), request_id());
        response.await.body
    }

    pub async fn ask(&self, user: Id, query: &str, variables: Json) -> Json {
        let body = self.bytes(Some(user), query, variables).await;
        serde_json::from_str(&body).unwrap()
    }

    /// The answer of the schema itself, with no limit to what one question costs: for comparing much at once.
    pub async fn ask_much(&self, user: Id, query: &str, variables: Json) -> Json {
        let request = async_graphql::Request::new(query)
            .variables(async_graphql::Variables::from_json(variables))
            .data(Caller(self.session(Some(user))));
        serde_json::to_value(self.schema.execute(request).await).unwrap()
    }

    /// The answer of the schema itself, as text: its resolvers say all of it.
    pub async fn resolved(&self, user: Id, query: &str, variables: Json) -> String {
        let request = async_graphql::Request::new(query)
            .variables(async_graphql::Variables::from_json(variables))
            .data(Caller(self.session(Some(user))));
        let response = self.schema.execute(request).await;
        if response.errors.is_empty() {
            let data = serde_json::to_string(&response.data).unwrap();
            format!("{{\"data\":{data}}}")
        } else {
            serde_json::to_string(&response).unwrap()
        }
    }

    /// The data; there must be no errors.
    pub async fn data(&self, user: Id, query: &str, variables: Json) -> Json {
        let answer = self.ask(user, query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer:#}");
        answer["data"].clone()
    }

    /// Opens a subscription.
    pub fn watch(
        &self,
        user: Option<Id>,
        query: &str,
        variables: Json,
    ) -> BoxStream<'static, ApiResponse> {
        let request = Self::request(query, variables);
        self.api
            .subscribe(request, self.session(user), request_id())
            .boxed()
    }

    pub fn id(&self, type_name: &str, number: Id) -> String {
        self.store.codec().seal_id(type_name, number)
    }

    /// The number that an id names.
    pub fn number(&self, id: &Json) -> Id {
        let id = id.as_str().unwrap_or_else(|| panic!("no id: {id:#}"));
        self.store.codec().open_id(id).unwrap().1
    }

    /// A number for the whole database, but for the blocks of ids that were set aside.
    pub fn hash(&self) -> String {
        let on_sqlite = self.store.kind() == Database::Sqlite;
        let query = self.hash.get_or_init(|| {
            let tables: Vec<String> = self.rows(if on_sqlite {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            } else {
                "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
            });
            let of = |table: &String| {
                if !on_sqlite {
                    return format!("SELECT '{table}:' || COALESCE(md5(string_agg(t::text, ';' ORDER BY t::text)), '') FROM {table} t");
                }
                let columns: Vec<String> = self.rows(&format!(
                    "SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}') ORDER BY cid"
                ));
                format!("SELECT '{table}:' || COALESCE(group_concat({}, ';'), '') FROM {table}", columns.join(" || '|' || "))
            };
            let parts: Vec<String> =
                tables.iter().filter(|table| *table != "id_blocks").map(of).collect();
            parts.join(" UNION ALL ")
        });
        let rows: Vec<String> = self.rows(query);
        blake3_of(&rows)
    }

    /// Writes a world; entries get the positions that they have there.
    pub fn write(&self, world: &World) {
        let trace = RoutingTrace {
            steps: vec![],
            reason: "a reason".to_owned(),
            settings_version: 1,
        };
        let written: Result<(), StoreError> = self.store.write_now(now(), |tx| {
            write_people(tx.conn, world)?;
            write_items(tx.conn, world)?;
            write_mail(tx.conn, world)?;
            write_history(tx.conn, world)?;
            for email in world.emails.keys() {
                put_trace(tx, EmailId(*email), &trace);
            }
            Ok(())
        });
        written.unwrap();
    }
}

fn blake3_of(rows: &[String]) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

pub fn request_id() -> RequestId {
    RequestId("test".into())
}

/// The name that the id of a row of this kind begins with.
pub const fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Lead => "Lead",
        Kind::Deal => "Deal",
        Kind::Contact => "Contact",
    }
}

pub const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Lead => "LEAD",
        Kind::Deal => "DEAL",
        Kind::Contact => "CONTACT",
    }
}

pub const fn action_word(action: Action) -> &'static str {
    match action {
        Action::Read => "READ",
        Action::Create => "CREATE",
        Action::Update => "UPDATE",
        Action::Delete => "DELETE",
        Action::Export => "EXPORT",
    }
}

pub const fn level_word(level: Level) -> &'static str {
    match level {
        Level::None => "NONE",
        Level::Own => "OWN",
        Level::OwnDepartment => "OWN_DEPARTMENT",
        Level::DepartmentAndBelow => "DEPARTMENT_AND_BELOW",
        Level::OpenToEveryone => "OPEN_TO_EVERYONE",
        Level::All => "ALL",
    }
}

pub const fn field_word(field: Field) -> &'static str {
    match field {
        Field::LeadAddresses => "LEAD_ADDRESSES",
        Field::DealAmount => "DEAL_AMOUNT",
        Field::ContactAddresses => "CONTACT_ADDRESSES",
        Field::ContactPhones => "CONTACT_PHONES",
    }
}

pub fn write_role(conn: &mut AnyConn, world: &World, id: Id) -> Result<(), StoreError> {
    let role = &world.roles[&id];
    for table in ["role_permissions", "role_hidden_fields"] {
        sql(format!("DELETE FROM {table} WHERE role_id = {id}")).run(conn)?;
    }
    let lines = role.lines.iter().map(|((kind, action, stage), level)| {
        row([
            id.into(),
            word(*kind).into(),
            action_word(*action).into(),
            (*stage).into(),
            level_word(*level).into(),
        ])
    });
    let into = "role_permissions (role_id, item_kind, action, stage_id, level)";
    insert_all(conn, into, "", lines.collect())?;
    let hides = role
        .hides
        .iter()
        .map(|field| row([id.into(), field_word(*field).into()]));
    insert_all(
        conn,
        "role_hidden_fields (role_id, field)",
        "",
        hides.collect(),
    )
}

fn row<const N: usize>(values: [Value; N]) -> Vec<Value> {
    values.into()
}

fn write_people(conn: &mut AnyConn, world: &World) -> Result<(), StoreError> {
    sql(format!("UPDATE positions SET last = {LAST_POSITION}")).run(conn)?;
    // Those above go first: they are referred to.
    let mut left: Vec<(Id, Option<Id>)> = world
        .departments
        .iter()
        .map(|(id, parent)| (*id, *parent))
        .collect();
    let mut written = Vec::new();
    while !left.is_empty() {
        let (ready, later): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|(_, parent)| parent.is_none_or(|parent| written.contains(&parent)));
        assert!(!ready.is_empty(), "the tree of departments has a loop");
        written.extend(ready.iter().map(|(id, _)| *id));
        let rows = ready
            .into_iter()
            .map(|(id, parent)| row([id.into(), format!("Department {id}").into(), parent.into()]));
        insert_all(
            conn,
            "departments (id, name, parent_id)",
            "",
            rows.collect(),
        )?;
        left = later;
    }
    let rows = world.users.iter().map(|(id, user)| {
        let address = format!("user{id}@ours.example");
        row([
            (*id).into(),
            format!("User {id}").into(),
            address.clone().into(),
            address.into(),
            user.department.into(),
            "UTC".into(),
            true.into(),
            user.is_administrator.into(),
            1_i64.into(),
            1_i64.into(),
            1_i64.into(),
        ])
    });
    let into = "users (id, name, address, address_key, department_id, time_zone, is_active, is_administrator, \
                session_version, created_at, version)";
    insert_all(conn, into, "", rows.collect())?;
    let rows = world.roles.iter().map(|(id, role)| {
        row([
            (*id).into(),
            format!("Role {id}").into(),
            role.settings.into(),
            1_i64.into(),
            1_i64.into(),
        ])
    });
    let into = "roles (id, name, may_change_crm_settings, created_at, version)";
    insert_all(conn, into, "", rows.collect())?;
    for id in world.roles.keys() {
        write_role(conn, world, *id)?;
    }
    let held = |by_users: bool| {
        let holders = world
            .held
            .iter()
            .filter(move |(holder, _)| world.users.contains_key(holder) == by_users);
        holders
            .map(|(holder, role)| row([(*role).into(), (*holder).into()]))
            .collect::<Vec<_>>()
    };
    insert_all(conn, "role_users (role_id, user_id)", "", held(true))?;
    insert_all(
        conn,
        "role_departments (role_id, department_id)",
        "",
        held(false),
    )
}

/// When a row came to be: by its id alone, so that what else there is changes nothing.
fn moment(id: Id) -> i64 {
    now().micros() - 1_000_000_000_000 + (id - BASE) * 1_000_000
}

/// When an entry was written.
fn entry_moment(position: Id) -> i64 {
    now().micros() - 500_000_000_000 + position * 1_000_000
}

/// The stages that every installation starts with, and whether they are open.
pub const STAGES: [(Id, Kind, bool); 9] = [
    (1, Kind::Lead, true),
    (2, Kind::Lead, true),
    (3, Kind::Lead, false),
    (4, Kind::Lead, false),
    (5, Kind::Deal, true),
    (6, Kind::Deal, true),
    (7, Kind::Deal, true),
    (8, Kind::Deal, false),
    (9, Kind::Deal, false),
];

pub fn is_open(stage: Option<Id>) -> bool {
    STAGES
        .iter()
        .all(|(id, _, open)| Some(*id) != stage || *open)
}

/// A few titles are shared, so that orders have ties.
pub fn title(id: Id) -> String {
    format!(
        "{} {}",
        ["Alpha", "beta", "Gamma"][(id % 3) as usize],
        id % 4
    )
}

pub fn client_address(id: Id) -> String {
    format!("client{}@client.example", id % 5)
}

fn write_items(conn: &mut AnyConn, world: &World) -> Result<(), StoreError> {
    let rows = world.items.iter().map(|(id, item)| {
        let newest = world
            .entries
            .iter()
            .filter(|(_, entry)| entry.item == *id)
            .map(|(at, _)| entry_moment(*at));
        let is_deal = item.kind == Kind::Deal;
        row([
            (*id).into(),
            word(item.kind).into(),
            title(*id).into(),
            item.responsible.into(),
            item.open.into(),
            item.stage.into(),
            is_open(item.stage).into(),
            moment(*id).into(),
            newest.max().unwrap_or_else(|| moment(*id)).into(),
            (!is_deal).then(|| title(*id)).into(),
            is_deal.then(|| format!("{}.50", id % 1000)).into(),
            is_deal.then(|| "EUR".to_owned()).into(),
            None::<i64>.into(),
            false.into(),
            1_i64.into(),
        ])
    });
    let into = "items (id, kind, title, responsible_id, open_to_everyone, stage_id, is_open, created_at, last_activity_at, \
                name, amount, currency, origin_lead_id, is_extra_lead, version)";
    insert_all(conn, into, "", rows.collect())?;
    for (deal, lead) in &world.origins {
        sql(format!(
            "UPDATE items SET origin_lead_id = {lead} WHERE id = {deal}"
        ))
        .run(conn)?;
    }
    let clients = || {
        world
            .items
            .iter()
            .filter(|(_, item)| item.kind != Kind::Deal)
    };
    let rows = clients().map(|(id, _)| {
        let address = client_address(*id);
        row([
            (*id).into(),
            0_i64.into(),
            address.clone().into(),
            address.into(),
            false.into(),
        ])
    });
    let into = "item_addresses (item_id, position, address, address_key, is_undeliverable)";
    insert_all(conn, into, "", rows.collect())?;
    let contacts = world
        .items
        .iter()
        .filter(|(_, item)| item.kind == Kind::Contact);
    let rows =
        contacts.map(|(id, _)| row([(*id).into(), 0_i64.into(), format!("+49 30 {id}").into()]));
    insert_all(
        conn,
        "item_phones (item_id, position, phone)",
        "",
        rows.collect(),
    )?;
    let rows = world
        .deal_contacts
        .iter()
        .map(|(deal, contact)| row([(*deal).into(), (*contact).into(), (*contact).into()]));
    insert_all(
        conn,
        "deal_contacts (deal_id, contact_id, position)",
        "",
        rows.collect(),
    )?;
    let rows = world.conversions.iter().map(|(lead, made)| {
        row([
            (*lead).into(),
            moment(*lead).into(),
            made.deal.into(),
            made.contact.into(),
        ])
    });
    insert_all(
        conn,
        "lead_conversions (lead_id, at, deal_id, contact_id)",
        "",
        rows.collect(),
    )
}

/// The number of the folder that a mailbox's mail lies in.
pub const fn folder_of(mailbox: Id) -> Id {
    mailbox + 500_000
}

/// The number of the file that hangs on an email.
pub const fn attachment_of(email: Id) -> Id {
    email + 500_000
}

fn write_mail(conn: &mut AnyConn, world: &World) -> Result<(), StoreError> {
    write_mailboxes(conn, world)?;
    insert_all(
        conn,
        "raw_mails (hash, object_key, byte_offset, byte_length)",
        "",
        vec![row([
            vec![7_u8].into(),
            "none".into(),
            0_i64.into(),
            0_i64.into(),
        ])],
    )?;
    let mut threads: Vec<Id> = world.emails.values().map(|email| email.thread).collect();
    let mut messages: Vec<(Id, Id)> = world
        .emails
        .values()
        .map(|email| (email.message, email.thread))
        .collect();
    threads.sort_unstable();
    threads.dedup();
    messages.sort_unstable();
    messages.dedup();
    let rows = threads
        .iter()
        .map(|id| row([(*id).into(), format!("Thread {id}").into(), 1_i64.into()]));
    insert_all(
        conn,
        "threads (id, subject, created_at)",
        "",
        rows.collect(),
    )?;
    let rows = messages.iter().map(|(id, thread)| {
        row([
            (*id).into(),
            id.to_be_bytes().to_vec().into(),
            Some(format!("{id}@client.example")).into(),
            format!("Subject {thread}").into(),
            (*thread).into(),
            moment(*id).into(),
        ])
    });
    let into =
        "messages (id, content_key, message_id_header, subject_base, thread_id, received_at)";
    insert_all(conn, into, "", rows.collect())?;
    for (id, email) in &world.emails {
        write_email(conn, *id, email)?;
    }
    let users: Vec<Id> = world.users.keys().copied().collect();
    let rows = world.activities.iter().map(|(id, message)| {
        // A to-do is one for all copies of its message, and so is who is to do it.
        let responsible = users[*id as usize % users.len()];
        row([
            (*id).into(),
            (*message).into(),
            responsible.into(),
            if id % 3 == 0 {
                "COMPLETED"
            } else {
                "SCHEDULED"
            }
            .into(),
            moment(*id).into(),
            Some(moment(*id) + 86_400_000_000).into(),
            1_i64.into(),
        ])
    });
    let into =
        "activities (id, message_id, responsible_id, state, scheduled_at, deadline, version)";
    insert_all(conn, into, "", rows.collect())
}

fn write_mailboxes(conn: &mut AnyConn, world: &World) -> Result<(), StoreError> {
    for (id, mailbox) in &world.mailboxes {
        let (connector, folder) = (mailbox.connector, folder_of(*id));
        sql(format!(
            "INSERT INTO mailboxes (id, address, address_key, connector_id, imap_host, imap_port, imap_security, login, \
             secret_kind, secret_sealed, spam_folder_id, connected_at, crm_integration, incoming_creates, outgoing_creates, \
             existing_client_routing, replies_follow_thread, source, vcard_contacts, queue_pointer, settings_version, \
             created_at, version) VALUES ({id}, 'box{id}@ours.example', 'box{id}@ours.example', {connector}, 'imap.ours.example', \
             993, 'TLS', 'x', 'PASSWORD', 'v1.x.y', NULL, 1, TRUE, 'LEAD', 'CONTACT', 'ATTACH_ALWAYS', TRUE, 'Mail', FALSE, \
             0, 1, 1, 1)"
        ))
        .run(conn)?;
        sql(format!(
            "INSERT INTO folders (id, mailbox_id, path, role, is_synced, epoch, discovered_next_uid, is_gone) \
             VALUES ({folder}, {id}, 'INBOX', 'INBOX', TRUE, 1, 1, FALSE)"
        ))
        .run(conn)?;
        sql(format!("INSERT INTO mailbox_queue (mailbox_id, position, user_id) VALUES ({id}, 0, {connector})"))
            .run(conn)?;
        let users = mailbox
            .users
            .iter()
            .map(|user| row([(*id).into(), (*user).into()]));
        insert_all(
            conn,
            "mailbox_users (mailbox_id, user_id)",
            "",
            users.collect(),
        )?;
        let departments = mailbox
            .departments
            .iter()
            .map(|given| row([(*id).into(), (*given).into()]));
        insert_all(
            conn,
            "mailbox_departments (mailbox_id, department_id)",
            "",
            departments.collect(),
        )?;
    }
    Ok(())
}

/// What an email's outcome is where it is not in the CRM.
const UNSAVED: [&str; 3] = ["AUTOMATIC", "SPAM_FOLDER", "INTEGRATION_OFF"];

pub fn write_email(
    conn: &mut AnyConn,
    id: Id,
    email: &super::model::Email,
) -> Result<(), StoreError> {
    let outcome = if email.saved {
        "SAVED"
    } else {
        UNSAVED[(id % 3) as usize]
    };
    let direction = if is_outgoing(email.message) {
        "OUTGOING"
    } else {
        "INCOMING"
    };
    let saved_at = email.saved.then(|| moment(id));
    let values = row([
        id.into(),
        email.message.into(),
        email.mailbox.into(),
        vec![7_u8].into(),
        direction.into(),
        outcome.into(),
        Some("Client".to_owned()).into(),
        Some(client_address(id)).into(),
        format!("Subject {} {}", email.thread % 7, id % 3).into(),
        "Hello".into(),
        moment(email.message).into(),
        moment(email.message).into(),
        saved_at.into(),
        email.primary.into(),
        "".into(),
        1_i64.into(),
    ]);
    let into = "emails (id, message_id, mailbox_id, raw_hash, direction, outcome, from_name, from_address, subject, preview, \
                received_at, internal_date, saved_at, primary_item_id, problems, version)";
    insert_all(conn, into, "", vec![values])?;
    for (role, address) in [("FROM", client_address(id)), ("TO", client_address(id + 1))] {
        sql(format!(
            "INSERT INTO participants (email_id, role, position, name, address, address_key) \
             VALUES ({id}, '{role}', 0, 'Client', '{address}', '{address}')"
        ))
        .run(conn)?;
    }
    sql(format!(
        "INSERT INTO attachments (id, email_id, part_index, name, media_type, size_bytes, is_inline) \
         VALUES ({}, {id}, 1, 'a.pdf', 'application/pdf', 5, FALSE)",
        attachment_of(id)
    ))
    .run(conn)?;
    let links = email.links.iter().map(|item| {
        row([
            id.into(),
            (*item).into(),
            (email.primary == Some(*item)).into(),
            moment(email.message).into(),
            moment(id).into(),
        ])
    });
    insert_all(
        conn,
        "email_links (email_id, item_id, is_primary, received_at, linked_at)",
        "",
        links.collect(),
    )
}

/// Which way a message went.
pub const fn is_outgoing(message: Id) -> bool {
    message % 4 == 0
}

fn write_history(conn: &mut AnyConn, world: &World) -> Result<(), StoreError> {
    let rows = world.changes.iter().map(|(id, change)| {
        row([
            (*id).into(),
            change.email.into(),
            moment(*id).into(),
            change.from.into(),
            change.to.into(),
            false.into(),
        ])
    });
    let into = "link_changes (id, email_id, at, from_item_id, to_item_id, was_primary)";
    insert_all(conn, into, "", rows.collect())?;
    let rows = world.entries.iter().map(|(position, entry)| {
        let converted = world.conversions.contains_key(&entry.item);
        let (kind, email, other) = match entry.about {
            About::Item if converted && position % 3 == 0 => ("LEAD_CONVERTED", None, None),
            About::Item if position % 4 == 0 => ("ITEM_CREATED", None, None),
            About::Item => ("NOTE_ADDED", None, None),
            About::Email(email) if is_outgoing(world.emails[&email].message) => {
                ("EMAIL_SENT", Some(email), None)
            }
            About::Email(email) => ("EMAIL_RECEIVED", Some(email), None),
            About::Activity(email) => ("ACTIVITY_COMPLETED", Some(email), None),
            About::Link(email, other) if position % 4 == 0 => ("EMAIL_LINKED", Some(email), other),
            About::Link(email, other) => ("EMAIL_UNLINKED", Some(email), other),
        };
        let message = email.map(|email| world.emails[&email].message);
        let activity = world
            .activities
            .iter()
            .find(|(_, of)| Some(**of) == message)
            .map(|(id, _)| *id);
        row([
            (*position).into(),
            entry.item.into(),
            kind.into(),
            entry_moment(*position).into(),
            email.into(),
            message
                .filter(|_| matches!(entry.about, About::Email(_)))
                .into(),
            activity
                .filter(|_| matches!(entry.about, About::Activity(_)))
                .into(),
            other.into(),
            (kind == "NOTE_ADDED")
                .then(|| format!("Note {position}"))
                .into(),
        ])
    });
    let into = "timeline_entries (position, item_id, kind, at, email_id, message_id, activity_id, other_item_id, note)";
    insert_all(conn, into, "", rows.collect())
}
