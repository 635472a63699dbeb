//! The facts that the rules judge a mail by, loaded inside the transaction that stores it.
//! The same facts come from a mail that has just arrived and from one that is saved by hand.

use crate::mail::address::{AddressKey, matches_pattern};
use crate::model::decisions::{Party, Who};
use crate::model::item::{Item, ItemKind};
use crate::model::mailbox::{Folder, FolderRole, Mailbox, MailboxSettings};
use crate::model::people::CrmSettings;
use crate::model::{FolderId, ItemId, MailboxId, MessageId, Time};
use crate::rules::classify::FolderFacts;
use crate::rules::queue::{Connector, QueueFacts, QueueMember};
use crate::rules::routing::{CandidateItem, ParentFacts};
use crate::store::clients::ClientItems;
use crate::store::{AnyConn, StoreError, clients, items, mailboxes, settings, users};
use std::collections::{BTreeSet, HashMap};

/// What holds for all mails of a batch.
pub struct Context {
    pub mailbox: Mailbox,
    pub settings: MailboxSettings,
    pub crm: CrmSettings,
    pub own_keys: Vec<String>,
    folders: HashMap<FolderId, Folder>,
    who: HashMap<String, Who>,
}

impl Context {
    /// For a mailbox; `keys` are the canonical addresses that stand in the mails.
    pub fn load(
        conn: &mut AnyConn,
        id: MailboxId,
        keys: &BTreeSet<String>,
    ) -> Result<Option<Self>, StoreError> {
        let (Some(mailbox), Some(of_mailbox)) =
            (mailboxes::get(conn, id)?, mailboxes::settings(conn, id)?)
        else {
            return Ok(None);
        };
        let folders = mailboxes::folders(conn, id)?;
        Ok(Some(Self {
            mailbox,
            settings: of_mailbox,
            crm: settings::crm_settings(conn)?,
            own_keys: clients::own_keys(conn, id)?,
            folders: folders
                .into_iter()
                .map(|folder| (folder.id, folder))
                .collect(),
            who: clients::who(conn, keys)?,
        }))
    }

    /// Whether an address is the mailbox's own, or its alias.
    pub fn is_own(&self, key: &str) -> bool {
        self.own_keys.iter().any(|own| own == key)
    }

    /// Whether an address is one of our own people's.
    pub fn is_ours(&self, key: &str) -> bool {
        self.who.get(key).is_some_and(|who| who.is_ours())
    }

    /// What a folder is for; one that is gone or unknown is for nothing in particular.
    pub fn folder(&self, id: Option<FolderId>) -> FolderFacts {
        let Some(folder) = id.and_then(|id| self.folders.get(&id)) else {
            return FolderFacts::default();
        };
        let is = |role| folder.role == Some(role);
        FolderFacts {
            is_spam_folder: self.mailbox.spam_folder_id == Some(folder.id),
            is_inbox: is(FolderRole::Inbox),
            is_sent: is(FolderRole::Sent),
            is_trash: is(FolderRole::Trash),
            is_drafts: is(FolderRole::Drafts),
        }
    }

    /// Whether it has a folder for sent mail.
    pub fn has_sent_folder(&self) -> bool {
        self.folders
            .values()
            .any(|folder| folder.role == Some(FolderRole::Sent))
    }

    /// Whether spam goes to the Inbox (R3).
    pub fn spam_goes_to_inbox(&self) -> bool {
        self.mailbox
            .spam_folder_id
            .and_then(|id| self.folders.get(&id))
            .is_some_and(|folder| folder.role == Some(FolderRole::Inbox))
    }

    /// Somebody who stands in a mail.
    pub fn party(&self, key: &str, name: Option<&str>) -> Party {
        Party {
            address_key: key.to_owned(),
            name: name.map(str::to_owned),
            who: self.who.get(key).copied().unwrap_or(Who::Client),
            is_excluded: is_listed(&self.crm.exclusions, key),
        }
    }
}

/// Whether an address is on a list of addresses and domains.
pub fn is_listed(patterns: &[String], key: &str) -> bool {
    AddressKey::parse(key).is_some_and(|key| {
        patterns
            .iter()
            .any(|pattern| matches_pattern(&key, pattern))
    })
}

/// What a delivery report says.
#[derive(Debug, Clone)]
pub struct Report {
    /// The Message-ID of the mail that it is about.
    pub about: String,
    /// Canonical addresses that the mail didn't reach, for good.
    pub failed_keys: Vec<String>,
}

/// What a mail itself says, wherever it was read from.
#[derive(Debug, Clone)]
pub struct MailFacts {
    /// Canonical address and display name; `None` where there is none, or it may be forged.
    pub sender: Option<(String, Option<String>)>,
    pub is_suspicious: bool,
    /// To, Cc and Bcc, in this order.
    pub recipients: Vec<(String, Option<String>)>,
    pub subject: String,
    pub subject_base: String,
    pub automatic: Option<String>,
    pub report: Option<Report>,
    pub has_received_header: bool,
    /// Its Message-ID is one that we gave to a mail of this mailbox, and nothing speaks against its being that mail.
    pub has_our_message_id: bool,
    /// It is ours, and went to somebody outside whom it does not name.
    pub hides_client: bool,
    pub in_reply_to: Vec<String>,
    /// In the header's order: the nearest last.
    pub references: Vec<String>,
    pub internal_date: Time,
    pub is_backfill: bool,
    pub is_seen: bool,
}

impl MailFacts {
    /// Every Message-ID that it names.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        let about = self.report.iter().map(|report| &report.about);
        self.in_reply_to.iter().chain(&self.references).chain(about)
    }

    /// Whether it is ours (R4): a From that names a colleague proves nothing, only what is outgoing is ours.
    pub fn is_from_us(&self, context: &Context, folder: FolderFacts) -> bool {
        let own = self.sender.as_ref().map(|(key, _name)| key.as_str());
        let is_own = own.is_some_and(|key| context.is_own(key));
        folder.is_sent || self.has_our_message_id || (is_own && !self.has_received_header)
    }
}

/// An item as routing sees it.
pub const fn candidate_item(item: &Item, contact: Option<ItemId>) -> CandidateItem {
    CandidateItem {
        id: item.id,
        kind: item.kind,
        is_open: item.is_open,
        responsible_id: item.responsible_id,
        newest_entry_at: item.last_activity_at,
        created_at: item.created_at,
        is_extra_lead: item.is_extra_lead,
        contact_id: contact,
    }
}

/// What the client has: contacts, open deals and leads.
pub struct ClientFacts {
    pub contacts: Vec<CandidateItem>,
    pub open_deals: Vec<CandidateItem>,
    pub leads: Vec<CandidateItem>,
}

impl ClientFacts {
    /// What a client has, of these items.
    pub fn of(client: &ClientItems, items: &HashMap<ItemId, Item>) -> Self {
        let addressed = |kind: ItemKind| {
            let mut items: Vec<CandidateItem> = client
                .addressed
                .iter()
                .filter_map(|id| items.get(id))
                .filter(|item| item.kind == kind)
                .map(|item| candidate_item(item, None))
                .collect();
            items.sort_by_key(|item| (item.created_at, item.id));
            items
        };
        let mut open_deals: Vec<CandidateItem> = client
            .deals
            .iter()
            .filter_map(|(deal, contact)| Some((items.get(deal)?, *contact)))
            .filter(|(deal, _contact)| deal.is_open && deal.kind == ItemKind::Deal)
            .map(|(deal, contact)| candidate_item(deal, Some(contact)))
            .collect();
        open_deals.sort_by_key(|item| (item.created_at, item.id));
        Self {
            contacts: addressed(ItemKind::Contact),
            open_deals,
            leads: addressed(ItemKind::Lead),
        }
    }
}

/// Loads what the client with this canonical address has.
pub fn client_facts(conn: &mut AnyConn, key: &str) -> Result<ClientFacts, StoreError> {
    let client = clients::items_of(conn, &[key])?
        .remove(key)
        .unwrap_or_default();
    let ids: Vec<ItemId> = client.item_ids().collect();
    let items = items::get_many(conn, &ids)?;
    let items = items.into_iter().map(|item| (item.id, item)).collect();
    Ok(ClientFacts::of(&client, &items))
}

/// The items of the saved message that the mail answers, the primary one first.
pub fn parent_facts(
    conn: &mut AnyConn,
    parent: MessageId,
) -> Result<Option<ParentFacts>, StoreError> {
    let ids = clients::items_of_message(conn, parent, None)?;
    if ids.is_empty() {
        return Ok(None);
    }
    let mut found = items::get_many(conn, &ids)?;
    found.sort_by_key(|item| ids.iter().position(|id| *id == item.id));
    Ok(Some(ParentFacts {
        items: found
            .iter()
            .map(|item| candidate_item(item, None))
            .collect(),
    }))
}

/// The queue with this pointer.
pub fn queue_at(
    conn: &mut AnyConn,
    context: &Context,
    pointer: i64,
) -> Result<QueueFacts, StoreError> {
    let connector = context.mailbox.connector_id;
    let mut ids = context.settings.queue.clone();
    ids.push(connector);
    let known: HashMap<_, _> = users::get_many(conn, &ids)?
        .into_iter()
        .map(|user| (user.id, user.is_active))
        .collect();
    let is_active = |id| known.get(&id).copied().unwrap_or(false);
    Ok(QueueFacts {
        members: context
            .settings
            .queue
            .iter()
            .map(|&user_id| QueueMember {
                user_id,
                is_active: is_active(user_id),
            })
            .collect(),
        pointer,
        connector: Connector {
            user_id: connector,
            is_active: is_active(connector),
        },
        administrators: users::administrators(conn)?,
    })
}
