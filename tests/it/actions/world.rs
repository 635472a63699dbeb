//! A small company on a database of its own, and what tests ask of it.

use crate::support::app::On;
use crate::support::postgres::TestDatabase;
use mailroom::actions::change::Change;
use mailroom::actions::connect_mailbox::MailAccess;
use mailroom::actions::items::{self, CreateItem};
use mailroom::actions::mailbox_settings::default_settings;
use mailroom::actions::people::{self, CreateDepartment, CreateUser, UpdateUser};
use mailroom::actions::relink;
use mailroom::actions::roles::{self, CreateRole, PermissionLine};
use mailroom::actions::save_email::{self, Target};
use mailroom::actions::{ActionError, ActionResult, Actions};
use mailroom::mail::hosts::HostPolicy;
use mailroom::mail::tls::TlsTrust;
use mailroom::model::activity::ActivityState;
use mailroom::model::email::{Address, Direction, EmailOutcome, ParticipantRole};
use mailroom::model::item::{Item, ItemKind};
use mailroom::model::mailbox::{MailSecurity, MailServer};
use mailroom::model::people::{PermissionAction, PermissionLevel, Viewer};
use mailroom::model::refusal::ErrorCode;
use mailroom::model::{
    ActivityId, DepartmentId, EmailId, ItemId, MailboxId, MessageId, RoleId, StageId, Time, UserId,
};
use mailroom::store::db::Kind;
use mailroom::store::email_writes::{self, NewActivity, NewEmail, NewParticipant};
use mailroom::store::mailbox_writes::{self, NewMailbox};
use mailroom::store::messages::{self, NewMessage};
use mailroom::store::raw::RawStore;
use mailroom::store::sealed::Sealer;
use mailroom::store::sql::{Row, sql};
use mailroom::store::{self, Store, StoreError, Tx};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The stages that every installation starts with.
pub const LEAD_NEW: StageId = StageId(1);
pub const LEAD_IN_PROCESS: StageId = StageId(2);
pub const LEAD_CONVERTED: StageId = StageId(3);
pub const LEAD_JUNK: StageId = StageId(4);
pub const DEAL_NEW: StageId = StageId(5);
pub const DEAL_WON: StageId = StageId(8);
/// The built-in role "Employee".
pub const EMPLOYEE: RoleId = RoleId(20);

/// A line of a role for every stage.
pub type Line = (ItemKind, PermissionAction, PermissionLevel);

pub struct World {
    pub actions: Actions,
    pub admin: Viewer,
    clock: AtomicI64,
    folder: tempfile::TempDir,
    // Last: connections to it are closed before.
    database: Option<TestDatabase>,
}

impl World {
    /// An installation with one administrator.
    pub async fn new(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start = Time::from_seconds(1_800_000_000);
        let database = (on == On::Postgresql).then(|| {
            TestDatabase::from_template("actions", |url| drop(Store::open(url, start).unwrap()))
        });
        let url = database.as_ref().map_or_else(
            || format!("sqlite:{}", folder.path().join("mailroom.db").display()),
            TestDatabase::url,
        );
        let raw_url = format!("file://{}", folder.path().join("raw").display());
        let actions = Actions {
            store: Store::open(&url, start).unwrap(),
            raw: RawStore::open(&raw_url, tokio::runtime::Handle::current()).unwrap(),
            sealer: Sealer::new(&[[7; 32]], None),
            mail: MailAccess {
                trust: TlsTrust::load(None).unwrap(),
                hosts: Arc::new(HostPolicy::parse("").unwrap()),
            },
        };
        let input = new_user("Ada Admin", None, None);
        let input = CreateUser {
            is_administrator: true,
            ..input
        };
        let id = people::create_user_as_operator(&actions, input, start)
            .await
            .unwrap();
        let admin = load_viewer(&actions.store, id);
        Self {
            actions,
            admin,
            clock: AtomicI64::new(start.micros()),
            folder,
            database,
        }
    }

    /// Of its database.
    pub fn url(&self) -> String {
        self.database.as_ref().map_or_else(
            || {
                format!(
                    "sqlite:{}",
                    self.folder.path().join("mailroom.db").display()
                )
            },
            TestDatabase::url,
        )
    }

    /// Where its files lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn store(&self) -> &Store {
        &self.actions.store
    }

    /// The present moment, a second later each time.
    pub fn now(&self) -> Time {
        Time::from_micros(self.clock.fetch_add(1_000_000, Ordering::Relaxed) + 1_000_000)
    }

    /// A user with the rights they have now.
    pub fn viewer(&self, id: UserId) -> Viewer {
        load_viewer(self.store(), id)
    }

    pub async fn department(&self, name: &str, parent_id: Option<DepartmentId>) -> DepartmentId {
        let name = name.to_owned();
        let input = CreateDepartment { name, parent_id };
        let admin = self.admin.clone();
        people::create_department(&self.actions, &admin, input, None, self.now())
            .await
            .unwrap()
    }

    /// A user with these roles (`None`: "Employee").
    pub async fn user(
        &self,
        name: &str,
        department_id: Option<DepartmentId>,
        role_ids: Option<Vec<RoleId>>,
    ) -> UserId {
        let input = new_user(name, department_id, role_ids);
        people::create_user(&self.actions, &self.admin, input, None, self.now())
            .await
            .unwrap()
    }

    /// A user whose only role has these lines.
    pub async fn user_with(&self, name: &str, lines: &[Line]) -> UserId {
        let role = self.role(lines).await;
        self.user(name, None, Some(vec![role])).await
    }

    pub async fn role(&self, lines: &[Line]) -> RoleId {
        let input = CreateRole {
            permissions: lines
                .iter()
                .map(|&(item, action, level)| PermissionLine {
                    item,
                    action,
                    level,
                    stage_id: None,
                })
                .collect(),
            ..new_role("A role")
        };
        roles::create_role(&self.actions, &self.admin, input, None, self.now())
            .await
            .unwrap()
    }

    pub async fn deactivate(&self, id: UserId) {
        let change = UpdateUser {
            is_active: Change::Set(false),
            ..UpdateUser::of(id)
        };
        people::update_user(&self.actions, &self.admin, change, self.now())
            .await
            .unwrap();
    }

    /// A lead, deal or contact of a user.
    pub async fn item(&self, kind: ItemKind, responsible: UserId) -> ItemId {
        let input = CreateItem {
            responsible_id: Some(responsible),
            ..new_item(kind)
        };
        items::create(&self.actions, &self.admin, input, None, self.now())
            .await
            .unwrap()
    }

    pub fn get(&self, id: ItemId) -> Item {
        self.store()
            .read_now(|conn| store::items::get(conn, id))
            .unwrap()
            .unwrap()
    }

    /// A connected mailbox with an Inbox and two more folders.
    pub fn mailbox(&self, connector: UserId) -> MailboxId {
        let now = self.now();
        let server = MailServer {
            host: "mail.example.org".into(),
            port: 993,
            security: MailSecurity::Tls,
        };
        let address = format!("box{}@example.org", now.micros());
        let new = NewMailbox {
            address: address.clone(),
            address_key: address.clone(),
            connector_id: connector,
            imap: server,
            smtp: None,
            login: address,
            history_since: None,
            settings: default_settings(connector),
        };
        let made: Result<MailboxId, StoreError> = self.store().write_now(now, |tx| {
            let id = mailbox_writes::insert(tx, &new)?;
            sql("UPDATE mailboxes SET secret_kind = 'PASSWORD', secret_sealed = 'v1.x.y' WHERE id = ")
                .bind(id.0)
                .run(tx.conn)?;
            for (number, role) in [("'INBOX'", "INBOX"), ("'SENT'", "Sent"), ("NULL", "Spam")] {
                let folder = tx.id()?;
                sql("INSERT INTO folders (id, mailbox_id, path, role, is_synced, epoch, discovered_next_uid, is_gone) VALUES (")
                    .list([folder, id.0])
                    .push(", ")
                    .bind(role)
                    .push(format!(", {number}, TRUE, 1, 1, FALSE)"))
                    .run(tx.conn)?;
            }
            Ok(id)
        });
        made.unwrap()
    }

    /// A saved email of a mailbox on these items, the first being its primary one, with its open activity.
    pub fn email(&self, mailbox: MailboxId, items: &[ItemId]) -> (EmailId, ActivityId) {
        let now = self.now();
        let number = now.micros().to_string();
        let responsible_id = self.get(items[0]).responsible_id;
        let made: Result<_, StoreError> = self.store().write_now(now, |tx| {
            let (message_id, id) = keep_email(tx, mailbox, &number, (EmailOutcome::Saved, None))?;
            email_writes::update_saved(tx, id, items[0], Direction::Incoming)?;
            for (index, item) in items.iter().enumerate() {
                email_writes::insert_link(tx, (id, *item), index == 0, now, None)?;
            }
            let activity = NewActivity {
                message_id,
                responsible_id,
                state: ActivityState::Scheduled,
                deadline: None,
            };
            email_writes::insert_activity_later(tx, activity)?;
            tx.flush()?;
            let made: Option<i64> = sql("SELECT id FROM activities WHERE message_id = ")
                .bind(message_id.0)
                .one(tx.conn)?;
            Ok((id, ActivityId(made.unwrap())))
        });
        made.unwrap()
    }

    /// An incoming email of a mailbox from a client, kept unsaved since the mailbox's CRM integration is off.
    pub fn unsaved_email(&self, mailbox: MailboxId, from: &str) -> EmailId {
        let now = self.now();
        let number = now.micros().to_string();
        let made: Result<_, StoreError> = self.store().write_now(now, |tx| {
            let outcome = EmailOutcome::IntegrationOff;
            let (_message, id) = keep_email(tx, mailbox, &number, (outcome, Some(from)))?;
            Ok(id)
        });
        made.unwrap()
    }

    /// An email of a mailbox that somebody saved by hand on an item, and linked to others.
    pub async fn saved_email(&self, mailbox: MailboxId, items: &[ItemId]) -> EmailId {
        let id = self.unsaved_email(mailbox, "cleo@client.example");
        let target = Target::Item(items[0]);
        let (actions, admin) = (&self.actions, &self.holder_of(mailbox));
        save_email::save(actions, admin, id, target, None, self.now())
            .await
            .unwrap();
        for item in &items[1..] {
            relink::link(actions, &self.admin, id, *item, None, self.now())
                .await
                .unwrap();
        }
        id
    }

    /// The administrator, who was given access to the mailbox.
    fn holder_of(&self, mailbox: MailboxId) -> Viewer {
        let now = self.now();
        let user = self.admin.user_id;
        let made: Result<(), StoreError> = self.store().write_now(now, |tx| {
            mailbox_writes::replace_holders(tx, mailbox, &[user], &[])
        });
        made.unwrap();
        self.admin.clone()
    }

    /// Rows of any query.
    pub fn rows<T: Row>(&self, query: &str) -> Vec<T> {
        self.store()
            .read_now(|conn| sql(query.to_owned()).rows(conn))
            .unwrap()
    }

    /// The kinds of an item's timeline entries, oldest first.
    pub fn told(&self, item: ItemId) -> Vec<String> {
        self.rows(&format!(
            "SELECT kind FROM timeline_entries WHERE item_id = {} ORDER BY position",
            item.0
        ))
    }

    /// The whole database as text, but for the ids that were set aside.
    pub fn dump(&self) -> String {
        let on_sqlite = self.store().kind() == Kind::Sqlite;
        let tables: Vec<String> = self.rows(if on_sqlite {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        } else {
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        });
        let mut text = String::new();
        for table in tables.iter().filter(|table| *table != "id_blocks") {
            let row = if on_sqlite {
                let columns: Vec<String> = self.rows(&format!(
                    "SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}') ORDER BY cid"
                ));
                columns.join(" || '|' || ")
            } else {
                "t::text".to_owned()
            };
            let rows: Vec<String> =
                self.rows(&format!("SELECT {row} AS r FROM {table} t ORDER BY r"));
            text.push_str(&format!("{table}\n{}\n", rows.join("\n")));
        }
        text
    }

    /// What an action did not do: it must be refused with this code about this field, and write nothing.
    pub async fn refused<T>(
        &self,
        what: &str,
        (code, field): (ErrorCode, &str),
        action: impl Future<Output = ActionResult<T>>,
    ) {
        let before = self.dump();
        match action.await {
            Ok(_) => panic!("{what}: it was done"),
            Err(ActionError::Refused(refusals)) => {
                let found: Vec<_> = refusals
                    .iter()
                    .map(|refusal| (refusal.code, refusal.field.join(".")))
                    .collect();
                assert_eq!(found, [(code, field.to_owned())], "{what}");
            }
            Err(error) => panic!("{what}: {error}"),
        }
        assert!(before == self.dump(), "{what}: refused, but written");
    }
}

/// Keeps an incoming email of a mailbox, whose content key is `number`.
fn keep_email(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    number: &str,
    (outcome, from): (EmailOutcome, Option<&str>),
) -> Result<(MessageId, EmailId), StoreError> {
    sql("INSERT INTO raw_mails (hash, object_key, byte_offset, byte_length) VALUES (")
        .bind(number.as_bytes().to_vec())
        .push(", 'none', 0, 0)")
        .run(tx.conn)?;
    let now = tx.now;
    let message = NewMessage {
        content_key: number.as_bytes(),
        header: None,
        subject: "Hello",
        subject_base: "Hello",
        received_at: now,
        in_reply_to: &[],
        references: &[],
        thread_id: None,
    };
    let (message_id, _thread) = messages::insert_later(tx, &message)?;
    let address = from.map(|from| Address {
        name: None,
        address: from.to_owned(),
    });
    let participants = address.iter().map(|address| NewParticipant {
        role: ParticipantRole::From,
        address: address.clone(),
        address_key: Some(address.address.clone()),
    });
    let email = NewEmail {
        message_id,
        mailbox_id: mailbox,
        raw_hash: number.as_bytes().to_vec(),
        direction: Direction::Incoming,
        outcome,
        saved: None,
        participants: participants.collect(),
        from: address,
        subject: "Hello".into(),
        preview: String::new(),
        received_at: now,
        internal_date: now,
        automatic: None,
        problems: String::new(),
        attachments: vec![],
    };
    let id = EmailId(tx.id()?);
    email_writes::insert_later(tx, id, email)?;
    tx.flush()?;
    Ok((message_id, id))
}

/// An empty item of this kind with the title or name that it needs.
pub fn new_item(kind: ItemKind) -> CreateItem {
    CreateItem {
        title: Some("A title".into()),
        name: Some("A name".into()),
        ..CreateItem::of(kind)
    }
}

pub fn new_user(
    name: &str,
    department_id: Option<DepartmentId>,
    role_ids: Option<Vec<RoleId>>,
) -> CreateUser {
    CreateUser {
        name: name.into(),
        address: format!("{}@example.com", name.replace(' ', ".")),
        password: None,
        department_id,
        avatar_url: None,
        time_zone: None,
        is_administrator: false,
        role_ids,
    }
}

pub fn new_role(name: &str) -> CreateRole {
    CreateRole {
        name: name.into(),
        permissions: vec![],
        hidden_fields: vec![],
        may_change_crm_settings: false,
    }
}

/// Every right at this level, for every kind.
pub fn everything(level: PermissionLevel) -> Vec<Line> {
    let mut lines = Vec::new();
    for &kind in ItemKind::ALL {
        for &action in PermissionAction::ALL {
            lines.push((kind, action, level));
        }
    }
    lines
}

fn load_viewer(store: &Store, id: UserId) -> Viewer {
    store
        .read_now(|conn| store::roles::load_viewer(conn, id))
        .unwrap()
        .unwrap()
}
