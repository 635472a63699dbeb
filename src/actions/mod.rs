//! One file per thing that changes the CRM, whoever asks for it: load facts, ask the rules, write once.
//! Not for: reading (resolvers ask `store` under a scope) or effects outside (they come from what was committed).

pub mod acting;
pub mod activities;
pub mod audit;
pub mod change;
pub mod connect_mailbox;
pub mod convert_lead;
pub mod crm_settings;
pub mod delete_item;
pub mod departments;
pub mod draft_files;
pub mod drafts;
pub mod erase_person;
pub mod explain_access;
pub mod export_items;
pub mod fields;
pub mod idempotency;
pub mod import_mail;
pub mod index_search;
pub mod ingest;
pub mod items;
mod leaving;
pub mod mail_secret;
pub mod mailbox_folders;
pub mod mailbox_history;
pub mod mailbox_retention;
pub mod mailbox_sending;
pub mod mailbox_settings;
pub mod mark_read;
pub mod merge_contacts;
pub mod notes;
pub mod passwords;
pub mod people;
pub mod read_mail;
pub mod relink;
pub mod remove_email;
pub mod reroute_emails;
pub mod retry_email;
pub mod roles;
pub mod save_email;
mod saving;
pub mod send_email;
pub mod senders;
pub mod share_mailbox;
pub mod simulate_routing;
pub mod stages;
pub mod templates;
pub mod threads;
mod time_zone;

use crate::model::refusal::{ErrorCode, Refusal};
use crate::store::raw::RawStore;
use crate::store::sealed::Sealer;
use crate::store::{Store, StoreError};
use thiserror::Error;

/// What every action needs.
#[derive(Clone)]
pub struct Actions {
    pub store: Store,
    pub raw: RawStore,
    pub sealer: Sealer,
    pub mail: connect_mailbox::MailAccess,
}

/// Why an action did nothing.
#[derive(Debug, Error)]
pub enum ActionError {
    /// Its caller can mend it; nothing was written.
    #[error("refused: {0:?}")]
    Refused(Vec<Refusal>),
    /// The database or the raw store failed; nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Refusal> for ActionError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

/// The result of an action.
pub type ActionResult<T> = Result<T, ActionError>;

/// `STALE` where the caller saw an older version than there is.
///
/// # Errors
/// That refusal.
pub fn check_version(expected: Option<i64>, found: i64) -> ActionResult<()> {
    match expected {
        Some(version) if version != found => Err(Refusal::at(
            ErrorCode::Stale,
            "expectedVersion",
            format!("It was changed since: it is at version {found} now."),
        )
        .into()),
        _ => Ok(()),
    }
}
