//! Mailboxes, their folders and settings.

use super::refusal::ErrorCode;
use super::{FolderId, MailboxId, Time, UserId};
use crate::text_enum;

text_enum! {
    /// What mail of an unknown client makes (R13). `Deal`: a contact and a deal.
    CreatedItem { Lead = "LEAD", Deal = "DEAL", Contact = "CONTACT", Nothing = "NOTHING" }
}

text_enum! {
    /// "Route emails from existing clients to assigned CRM managers" (R15).
    ExistingClientRouting {
        /// Joins the client's item where the client's responsible is in the queue; else each email makes a lead.
        AttachIfResponsibleInQueue = "ATTACH_IF_RESPONSIBLE_IN_QUEUE",
        /// Joins, whoever is responsible.
        AttachAlways = "ATTACH_ALWAYS",
        /// Never joins.
        AlwaysNew = "ALWAYS_NEW",
    }
}

text_enum! {
    /// What a folder is for (special use).
    FolderRole {
        Inbox = "INBOX", Sent = "SENT", Drafts = "DRAFTS", Trash = "TRASH", Junk = "JUNK",
        Archive = "ARCHIVE", All = "ALL", Flagged = "FLAGGED",
    }
}

text_enum! {
    /// Where the sync of a mailbox stands (R8).
    SyncStage {
        Connecting = "CONNECTING", Listing = "LISTING", Backfill = "BACKFILL", Watching = "WATCHING",
        Retrying = "RETRYING", NeedsAttention = "NEEDS_ATTENTION", Stopped = "STOPPED",
    }
}

text_enum! {
    /// What an administrator should know about a mailbox.
    MailboxWarning {
        SpamFolderIsInbox = "SPAM_FOLDER_IS_INBOX", QueueUnusable = "QUEUE_UNUSABLE", SyncStuck = "SYNC_STUCK",
        LoginRefused = "LOGIN_REFUSED", SenderRateGuard = "SENDER_RATE_GUARD",
        StorageFull = "STORAGE_FULL",
    }
}

text_enum! {
    /// How a mail server is reached. `Plain` only towards loopback (R1).
    MailSecurity { Tls = "TLS", Starttls = "STARTTLS", Plain = "PLAIN" }
}

text_enum! {
    /// What the sealed secret of a mailbox is.
    SecretKind { Password = "PASSWORD", AccessToken = "ACCESS_TOKEN" }
}

/// Where a mail server is and how to speak to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
    pub security: MailSecurity,
}

/// A connected mailbox.
#[derive(Debug, Clone)]
pub struct Mailbox {
    pub id: MailboxId,
    pub address: String,
    pub connector_id: UserId,
    pub imap: MailServer,
    pub smtp: Option<MailServer>,
    pub login: String,
    /// `None` once it is disconnected.
    pub is_connected: bool,
    /// The folder that spam goes to; `None`: spam goes nowhere.
    pub spam_folder_id: Option<FolderId>,
    /// From when on mail is synced by the backfill; `None`: everything.
    pub history_since: Option<Time>,
    pub connected_at: Time,
    pub version: i64,
}

/// The CRM settings of a mailbox (R11, R13-R15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxSettings {
    pub crm_integration: bool,
    pub incoming_creates: CreatedItem,
    pub outgoing_creates: CreatedItem,
    pub existing_client_routing: ExistingClientRouting,
    pub replies_follow_thread: bool,
    /// Who gets new items, in turn; never empty.
    pub queue: Vec<UserId>,
    pub source: String,
    pub vcard_contacts: bool,
    /// Whether mail that was read on the server is read for those who have access to the mailbox and said nothing themselves.
    pub read_state_follows_server: bool,
    /// Addresses and domains whose every mail makes a new lead.
    pub always_new_lead_for: Vec<String>,
    /// The backfill saves nothing older than this to the CRM; `None`: everything that is synced.
    pub save_since: Option<Time>,
    pub version: i64,
}

/// A folder of a mailbox.
#[derive(Debug, Clone)]
pub struct Folder {
    pub id: FolderId,
    pub mailbox_id: MailboxId,
    pub path: String,
    pub role: Option<FolderRole>,
    pub is_synced: bool,
    /// Raised when the server's UIDs begin anew.
    pub epoch: i64,
    pub uid_validity: Option<i64>,
    /// UIDs below this are in the placement ledger.
    pub discovered_next_uid: i64,
    pub highest_modseq: Option<i64>,
    /// Epochs that began one after another, without a look in between at which the UIDs were the same.
    pub epochs_in_row: i64,
}

/// The visible state of a mailbox's sync (R8).
#[derive(Debug, Clone)]
pub struct SyncState {
    pub stage: SyncStage,
    pub last_success_at: Option<Time>,
    pub last_error: Option<SyncError>,
    /// The last comparison with the server.
    pub reconciliation: Option<Reconciliation>,
}

/// How far a mailbox's sync is (R8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncCounts {
    /// Mails that its folders hold, without those before the history that was asked for.
    pub mails: i64,
    /// Those of them that have an outcome.
    pub done: i64,
    pub quarantined: i64,
}

impl SyncState {
    /// How many mails there are. Before the first listing nobody knows.
    pub const fn total(&self, counts: SyncCounts) -> Option<i64> {
        if self.last_success_at.is_some() || counts.mails > 0 {
            Some(counts.mails)
        } else {
            None
        }
    }

    /// The same while nothing that is taken in can be stored, which may be more than the database can be told.
    pub fn while_full(mut self, since: Time) -> Self {
        self.stage = SyncStage::Retrying;
        self.last_error = Some(SyncError::of_storage(since));
        self
    }
}

impl SyncError {
    /// There is nowhere to store mail.
    pub fn of_storage(at: Time) -> Self {
        Self {
            code: ErrorCode::Storage.as_text().to_owned(),
            message: "Mail can't be stored: the server's storage is full, or can't be written to."
                .to_owned(),
            advice: "Free space for the database and the raw mails; nothing is lost, and the sync goes on by itself."
                .to_owned(),
            at,
        }
    }
}

/// What a comparison of a mailbox with its server found, before it was put right (R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciliation {
    pub at: Time,
    /// Mails that the server has and the ledger did not know of.
    pub missing_here: i64,
    /// UIDs that the ledger took to be on the server, and are not.
    pub missing_there: i64,
}

/// What was missing in one folder, on either side.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FolderDifference {
    pub folder_id: FolderId,
    pub path: String,
    /// UIDs, at most a hundred.
    pub missing_here: Vec<i64>,
    pub missing_there: Vec<i64>,
}

/// The last error of a mailbox's sync, with what to do about it.
#[derive(Debug, Clone)]
pub struct SyncError {
    /// A value of the contract's `ErrorCode`.
    pub code: String,
    pub message: String,
    pub advice: String,
    pub at: Time,
}
