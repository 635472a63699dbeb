//! An office with mailboxes whose mail goes through the real ingest, and what tests ask of it.

use crate::actions::world::World;
use crate::support::app::On;
use mailroom::actions::ingest::{Arrival, Taken, ingest_now};
use mailroom::actions::mailbox_settings::default_settings;
use mailroom::model::email::EmailOutcome;
use mailroom::model::item::ItemKind;
use mailroom::model::mailbox::{FolderRole, MailSecurity, MailServer, MailboxSettings};
use mailroom::model::{EmailId, FolderId, ItemId, MailboxId, PlacementId, Time, UserId};
use mailroom::store::mailbox_writes::{self, NewMailbox};
use mailroom::store::placements::{self, NewPlacement};
use mailroom::store::raw::RawStore;
use mailroom::store::sql::{Row, sql};
use mailroom::store::{self, StoreError};
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::runtime::Runtime;

/// 2026-11-24T09:00:00Z: when mail arrives that says nothing else.
pub const NINE: Time = Time::from_seconds(1_795_510_800);

pub struct Office {
    pub world: World,
    pub raw: RawStore,
    pub runtime: Runtime,
    uids: AtomicI64,
}

impl Deref for Office {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// A connected mailbox and its folders.
#[derive(Debug, Clone)]
pub struct Postbox {
    pub id: MailboxId,
    pub address: String,
    pub inbox: FolderId,
    pub sent: FolderId,
    pub spam: FolderId,
    pub trash: FolderId,
}

/// How a mail arrives.
#[derive(Debug, Clone, Copy)]
pub struct How {
    pub is_seen: bool,
    pub is_backfill: bool,
    pub at: Time,
}

pub const NEW: How = How {
    is_seen: false,
    is_backfill: false,
    at: NINE,
};

/// What became of an email, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub outcome: String,
    pub direction: String,
    /// The primary one first.
    pub items: Vec<ItemId>,
    /// Of the primary item.
    pub responsible: Option<UserId>,
}

impl Office {
    /// With one administrator, Ada.
    pub fn new(on: On) -> Self {
        let runtime = Runtime::new().unwrap();
        let world = runtime.block_on(World::new(on));
        let raw = world.folder().join("raw");
        let raw = RawStore::open(&raw.display().to_string(), runtime.handle().clone()).unwrap();
        Self {
            world,
            raw,
            runtime,
            uids: AtomicI64::new(1),
        }
    }

    /// Runs an action.
    pub fn act<T>(&self, action: impl Future<Output = T>) -> T {
        self.runtime.block_on(action)
    }

    /// An active user: `name@us.example`.
    pub fn employee(&self, name: &str) -> UserId {
        let id = self.act(self.world.user(name, None, None));
        let address = format!("{}@us.example", name.to_lowercase());
        self.write(&format!(
            "UPDATE users SET address = '{address}', address_key = '{address}' WHERE id = {}",
            id.0
        ));
        id
    }

    /// A mailbox with the default settings, but for these changes.
    pub fn postbox(
        &self,
        address: &str,
        connector: UserId,
        change: impl FnOnce(&mut MailboxSettings),
    ) -> Postbox {
        let mut settings = default_settings(connector);
        settings.version = 1;
        change(&mut settings);
        let imap = MailServer {
            host: "mail.us.example".into(),
            port: 993,
            security: MailSecurity::Tls,
        };
        let new = NewMailbox {
            address: address.into(),
            address_key: address.into(),
            connector_id: connector,
            imap,
            smtp: None,
            login: address.into(),
            history_since: None,
            settings,
        };
        let made: Result<Postbox, StoreError> = self.store().write_now(self.now(), |tx| {
            let id = mailbox_writes::insert(tx, &new)?;
            let mut folder = |path: &str, role| mailbox_writes::ensure_folder(tx, id, path, role);
            let postbox = Postbox {
                id,
                address: address.into(),
                inbox: folder("INBOX", Some(FolderRole::Inbox))?,
                sent: folder("Sent", Some(FolderRole::Sent))?,
                spam: folder("Junk", Some(FolderRole::Junk))?,
                trash: folder("Trash", Some(FolderRole::Trash))?,
            };
            mailbox_writes::update_spam_folder(tx, id, Some(postbox.spam))?;
            Ok(postbox)
        });
        made.unwrap()
    }

    /// Mail arrives in a folder in one batch, each with a UID of its own.
    pub fn deliver_all(
        &self,
        postbox: &Postbox,
        mails: &[(FolderId, String, How)],
        now: Time,
    ) -> Vec<Taken> {
        let placements = self.place(mails);
        let arrivals = mails
            .iter()
            .zip(placements)
            .map(|((folder, raw, how), placement)| Arrival {
                placement: Some(placement),
                folder: *folder,
                internal_date: how.at,
                is_seen: how.is_seen,
                is_backfill: how.is_backfill,
                labels: Vec::new(),
                raw: raw.clone().into_bytes().into(),
            })
            .collect();
        ingest_now(self.store(), &self.raw, (postbox.id, None), arrivals, now).unwrap()
    }

    /// Takes mails into the ledger, as sync does before it fetches them.
    pub fn place(&self, mails: &[(FolderId, String, How)]) -> Vec<PlacementId> {
        let placement = |how: &How| NewPlacement {
            uid: self.uids.fetch_add(1, Ordering::Relaxed),
            size_bytes: 1,
            internal_date: Some(how.at),
            is_seen: how.is_seen,
            is_backfill: how.is_backfill,
            is_old: false,
        };
        let new: Vec<(FolderId, NewPlacement)> = mails
            .iter()
            .map(|(folder, _raw, how)| (*folder, placement(how)))
            .collect();
        let done: Result<Vec<PlacementId>, StoreError> = self.store().write_now(NINE, |tx| {
            let mut ids = Vec::new();
            for (folder, placement) in &new {
                placements::insert(tx, (*folder, 1), &[*placement])?;
                let open = placements::list_from(tx.conn, (*folder, 1), placement.uid, 1)?;
                ids.push(open[0].id);
            }
            Ok(ids)
        });
        done.unwrap()
    }

    /// One mail arrives in the Inbox; its email.
    pub fn receive(&self, postbox: &Postbox, raw: &str) -> EmailId {
        self.arrive(postbox, postbox.inbox, raw, NEW)
    }

    /// One mail lies in Sent; its email.
    pub fn send(&self, postbox: &Postbox, raw: &str) -> EmailId {
        self.arrive(postbox, postbox.sent, raw, NEW)
    }

    /// One mail arrives; its email.
    pub fn arrive(&self, postbox: &Postbox, folder: FolderId, raw: &str, how: How) -> EmailId {
        let mails = [(folder, raw.to_owned(), how)];
        match self.deliver_all(postbox, &mails, self.now()).remove(0) {
            Taken::Stored(id, _) | Taken::Known(id) => id,
            other => panic!("{other:?}: {raw}"),
        }
    }

    /// What became of an email.
    pub fn kept(&self, id: EmailId) -> Kept {
        let (outcome, direction): (String, String) = self
            .rows(&format!(
                "SELECT outcome, direction FROM emails WHERE id = {}",
                id.0
            ))
            .remove(0);
        let links = self
            .store()
            .read_now(|conn| store::links::of_emails(conn, &[id]))
            .unwrap();
        let items: Vec<ItemId> = links.into_iter().map(|link| link.item_id).collect();
        Kept {
            outcome,
            direction,
            responsible: items.first().map(|id| self.get(*id).responsible_id),
            items,
        }
    }

    pub fn outcome(&self, id: EmailId) -> EmailOutcome {
        EmailOutcome::from_text(&self.kept(id).outcome).unwrap()
    }

    /// The only item of an email.
    pub fn item_of(&self, id: EmailId) -> ItemId {
        let kept = self.kept(id);
        assert_eq!(kept.items.len(), 1, "{kept:?}");
        kept.items[0]
    }

    /// How many items of a kind there are.
    pub fn count(&self, kind: ItemKind) -> i64 {
        self.rows(&format!(
            "SELECT COUNT(*) FROM items WHERE kind = '{}'",
            kind.as_text()
        ))[0]
    }

    pub fn number(&self, query: &str) -> i64 {
        let rows: Vec<i64> = self.rows(query);
        rows[0]
    }

    pub fn one<T: Row>(&self, query: &str) -> T {
        self.rows(query).remove(0)
    }

    /// Whose turn is next, as the row has it.
    pub fn pointer(&self, postbox: &Postbox) -> i64 {
        self.number(&format!(
            "SELECT queue_pointer FROM mailboxes WHERE id = {}",
            postbox.id.0
        ))
    }

    /// Changes rows behind the front door.
    pub fn write(&self, statement: &str) {
        let done: Result<usize, StoreError> = self
            .store()
            .write_now(self.now(), |tx| sql(statement.to_owned()).run(tx.conn));
        done.unwrap();
    }

    /// A contact of this responsible with this address.
    pub fn contact(&self, address: &str, responsible: UserId) -> ItemId {
        let id = self.act(self.world.item(ItemKind::Contact, responsible));
        self.address(id, address);
        id
    }

    /// A lead of this responsible with this address.
    pub fn lead(&self, address: &str, responsible: UserId) -> ItemId {
        let id = self.act(self.world.item(ItemKind::Lead, responsible));
        self.address(id, address);
        id
    }

    pub fn address(&self, item: ItemId, address: &str) {
        self.write(&format!(
            "INSERT INTO item_addresses (item_id, position, address, address_key, is_undeliverable) \
             SELECT {id}, COUNT(*), '{address}', '{address}', FALSE FROM item_addresses WHERE item_id = {id}",
            id = item.0
        ));
    }

    /// A deal of this responsible on a contact.
    pub fn deal(&self, contact: ItemId, responsible: UserId) -> ItemId {
        let id = self.act(self.world.item(ItemKind::Deal, responsible));
        self.write(&format!(
            "INSERT INTO deal_contacts (deal_id, contact_id, position) VALUES ({}, {}, 0)",
            id.0, contact.0
        ));
        id
    }

    pub fn close(&self, item: ItemId) {
        self.write(&format!(
            "UPDATE items SET is_open = FALSE WHERE id = {}",
            item.0
        ));
    }

    /// The warnings of a mailbox.
    pub fn warnings(&self, postbox: &Postbox) -> Vec<String> {
        self.rows(&format!(
            "SELECT warning FROM mailbox_warnings WHERE mailbox_id = {} ORDER BY warning",
            postbox.id.0
        ))
    }

    /// The thread of an email.
    pub fn thread(&self, id: EmailId) -> i64 {
        self.number(&format!(
            "SELECT g.thread_id FROM emails e JOIN messages g ON g.id = e.message_id WHERE e.id = {}",
            id.0
        ))
    }

    /// The reason that the trace of an email gives.
    pub fn reason(&self, id: EmailId) -> String {
        let trace = self
            .store()
            .read_now(|conn| store::emails::trace(conn, id))
            .unwrap()
            .unwrap();
        trace.reason
    }
}

/// A plain mail. `id` becomes the Message-ID `<id@mail.example>`.
pub fn mail(from: &str, to: &str, subject: &str, id: &str) -> String {
    with("", from, to, subject, id)
}

/// A mail with more header lines, each with its line end.
pub fn with(headers: &str, from: &str, to: &str, subject: &str, id: &str) -> String {
    format!(
        "Received: from outside by mx.us.example; Tue, 24 Nov 2026 09:00:00 +0000\r\nFrom: {from}\r\nTo: {to}\r\n\
         Subject: {subject}\r\nMessage-ID: <{id}@mail.example>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n{headers}\r\n\
         About {subject}: {id}.\r\n"
    )
}

/// The header that answers a mail.
pub fn answering(id: &str) -> String {
    format!("In-Reply-To: <{id}@mail.example>\r\n")
}
