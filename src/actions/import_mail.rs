//! Mail from files into a mailbox, through the same ingest as mail from a server.
//! The mailbox may be one that is connected nowhere: then its files are all it has.

use super::ingest::{Arrival, Taken, ingest_now};
use super::mailbox_settings::default_settings;
use crate::mail::address::AddressKey;
use crate::mail::mbox::StoredMail;
use crate::model::mailbox::{FolderRole, MailSecurity, MailServer, SyncStage};
use crate::model::{FolderId, MailboxId, Time, UserId};
use crate::store::mailbox_writes::{self, NewMailbox};
use crate::store::placements::{self, NewPlacement};
use crate::store::raw::RawStore;
use crate::store::{Store, StoreError, mailboxes};
use bytes::Bytes;

/// Mails of one transaction.
const BATCH_MAILS: usize = 100;
/// Bytes of one transaction, about: a batch is held in memory.
const BATCH_BYTES: usize = 8 << 20;

/// The folder that imported mail lies in.
#[derive(Debug, Clone)]
pub struct ImportFolder {
    pub path: String,
    pub role: Option<FolderRole>,
}

impl ImportFolder {
    /// By its usual name: INBOX, Sent, Junk, Trash, Drafts, Archive; another name is for nothing in particular.
    pub fn named(path: &str) -> Self {
        let role = match path.to_ascii_lowercase().as_str() {
            "inbox" => Some(FolderRole::Inbox),
            "sent" => Some(FolderRole::Sent),
            "junk" | "spam" => Some(FolderRole::Junk),
            "trash" => Some(FolderRole::Trash),
            "drafts" => Some(FolderRole::Drafts),
            "archive" => Some(FolderRole::Archive),
            _ => None,
        };
        Self {
            path: path.to_owned(),
            role,
        }
    }
}

/// The connected mailbox with this address, or a new one that only files fill, with this connector.
///
/// # Errors
/// `Setting` for an address that is none, or where there is no such mailbox and no connector is given.
pub fn mailbox_for_files(
    store: &Store,
    address: &str,
    connector: Option<UserId>,
    now: Time,
) -> Result<MailboxId, StoreError> {
    let key = AddressKey::parse(address)
        .ok_or_else(|| StoreError::Setting(format!("{address:?} is not an email address")))?;
    store.write_now(now, |tx| {
        if let Some(id) = mailboxes::find_connected(tx.conn, key.as_str())? {
            return Ok(id);
        }
        let connector = connector.ok_or_else(|| {
            StoreError::Setting(format!(
                "there is no mailbox {address}; name its connector with --connector to make one"
            ))
        })?;
        let new = NewMailbox {
            address: address.trim().to_owned(),
            address_key: key.as_str().to_owned(),
            connector_id: connector,
            imap: MailServer {
                host: String::new(),
                port: 0,
                security: MailSecurity::Tls,
            },
            smtp: None,
            login: String::new(),
            history_since: None,
            settings: default_settings(connector),
        };
        let id = mailbox_writes::insert(tx, &new)?;
        mailbox_writes::put_sync_state(tx, id, SyncStage::Stopped, None)?;
        tx.rights_changed()?;
        Ok(id)
    })
}

/// What became of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    pub stored: u64,
    /// Of those, saved to the CRM.
    pub saved: u64,
    /// Already there.
    pub known: u64,
    pub quarantined: u64,
}

/// Takes mails in, in their order. Blocks: for the command line and worker threads.
/// A mail without a date of its own was received at `now`.
///
/// # Errors
/// What the store says; what was taken in before stays.
pub fn import_now(
    store: &Store,
    raw: &RawStore,
    (mailbox, folder): (MailboxId, &ImportFolder),
    mails: &mut dyn Iterator<Item = StoredMail>,
    now: Time,
) -> Result<Imported, StoreError> {
    let folder_id = store.write_now(now, |tx| {
        let id = mailbox_writes::ensure_folder(tx, mailbox, &folder.path, folder.role)?;
        if folder.role == Some(FolderRole::Junk) {
            mailbox_writes::update_spam_folder(tx, mailbox, Some(id))?;
        }
        Ok::<_, StoreError>(id)
    })?;
    let mut report = Imported::default();
    let mut batch = Vec::new();
    let mut bytes = 0_usize;
    loop {
        let next = mails.next();
        let is_last = next.is_none();
        if let Some(mail) = next {
            bytes = bytes.saturating_add(mail.raw.len());
            batch.push(mail);
        }
        if (is_last && !batch.is_empty()) || batch.len() >= BATCH_MAILS || bytes >= BATCH_BYTES {
            let taken = import_batch(store, raw, (mailbox, folder_id), &mut batch, now)?;
            for taken in taken {
                match taken {
                    Taken::Stored(_id, outcome) => {
                        report.stored += 1;
                        if outcome == crate::model::email::EmailOutcome::Saved {
                            report.saved += 1;
                        }
                    }
                    Taken::Known(_) | Taken::Settled => report.known += 1,
                    Taken::Quarantined(_reason) => report.quarantined += 1,
                }
            }
            bytes = 0;
        }
        if is_last {
            return Ok(report);
        }
    }
}

fn import_batch(
    store: &Store,
    raw: &RawStore,
    (mailbox, folder): (MailboxId, FolderId),
    batch: &mut Vec<StoredMail>,
    now: Time,
) -> Result<Vec<Taken>, StoreError> {
    let mails = std::mem::take(batch);
    let first = store.write_now(now, |tx| {
        let first = placements::next_uid(tx.conn, folder)?;
        let lines: Vec<NewPlacement> = (first..)
            .zip(&mails)
            .map(|(uid, mail)| NewPlacement {
                uid,
                size_bytes: i64::try_from(mail.raw.len()).unwrap_or(i64::MAX),
                internal_date: mail.date,
                is_seen: mail.is_seen.unwrap_or(false),
                is_backfill: true,
                is_old: false,
            })
            .collect();
        placements::insert(tx, (folder, 1), &lines)?;
        Ok::<_, StoreError>(first)
    })?;
    let limit = i64::try_from(mails.len()).unwrap_or(i64::MAX);
    let open = store.read_now(|conn| placements::list_from(conn, (folder, 1), first, limit))?;
    let arrivals = mails
        .into_iter()
        .zip(open)
        .map(|(mail, line)| Arrival {
            placement: Some(line.id),
            folder,
            internal_date: mail.date.unwrap_or(now),
            is_seen: mail.is_seen.unwrap_or(false),
            is_backfill: true,
            labels: Vec::new(),
            raw: Bytes::from(mail.raw),
        })
        .collect();
    ingest_now(store, raw, (mailbox, None), arrivals, now)
}
