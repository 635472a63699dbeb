//! The facts that the rules judge a mail by, loaded inside the transaction that stores it.
//! The same facts come from a mail that has just arrived and from one that is saved by hand.

use crate::mail::address::{AddressKey, matches_pattern};
use crate::model::decisions::{Party, Who};
use crate::model::mailbox::{Folder, FolderRole, Mailbox, MailboxSettings};
use crate::model::people::CrmSettings;
use crate::model::{FolderId, MailboxId, Time};
use crate::rules::classify::FolderFacts;
use crate::store::{AnyConn, StoreError, clients, mailboxes, settings};
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

/// What a mail itself says, wherever it was read from.
#[derive(Debug, Clone)]
pub struct MailFacts {
    /// Canonical address and display name.
    pub sender: Option<(String, Option<String>)>,
    /// To, Cc and Bcc, in this order.
    pub recipients: Vec<(String, Option<String>)>,
    pub subject: String,
    pub subject_base: String,
    pub automatic: Option<String>,
    pub has_received_header: bool,
    pub in_reply_to: Vec<String>,
    /// In the header's order: the nearest last.
    pub references: Vec<String>,
    pub internal_date: Time,
    pub is_backfill: bool,
    pub is_seen: bool,
}
