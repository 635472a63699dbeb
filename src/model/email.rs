//! Emails, their outcomes, links and traces.

use super::{
    AttachmentId, EmailId, ItemId, LinkChangeId, MailboxId, MessageId, ThreadChangeId, ThreadId,
    Time, UserId,
};
use crate::text_enum;
use serde::{Deserialize, Serialize};

text_enum! {
    /// Which way a mail went (R4).
    Direction { Incoming = "INCOMING", Outgoing = "OUTGOING" }
}

text_enum! {
    /// What became of an email: saved, or kept unsaved with the reason (R5).
    EmailOutcome {
        Saved = "SAVED", SpamFolder = "SPAM_FOLDER", TrashFolder = "TRASH_FOLDER", DraftsFolder = "DRAFTS_FOLDER",
        IntegrationOff = "INTEGRATION_OFF", Internal = "INTERNAL", TooOld = "TOO_OLD", Excluded = "EXCLUDED",
        Automatic = "AUTOMATIC", NothingToCreate = "NOTHING_TO_CREATE", RateGuard = "RATE_GUARD", Removed = "REMOVED",
    }
}

text_enum! {
    /// Where an address stands in a mail.
    ParticipantRole { From = "FROM", Sender = "SENDER", ReplyTo = "REPLY_TO", To = "TO", Cc = "CC", Bcc = "BCC" }
}

text_enum! {
    /// Why an email can't be moved (R34).
    RelinkRefusal {
        NotSaved = "NOT_SAVED", NotOnADeal = "NOT_ON_A_DEAL", Forbidden = "FORBIDDEN", ConvertedLead = "CONVERTED_LEAD",
    }
}

/// A display name (may be empty) and an address as they stand in the mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub name: Option<String>,
    pub address: String,
}

/// One message of one mailbox, without its body (that is read from the raw mail).
#[derive(Debug, Clone)]
pub struct Email {
    pub id: EmailId,
    pub message_id: MessageId,
    pub mailbox_id: MailboxId,
    pub thread_id: ThreadId,
    pub direction: Direction,
    pub outcome: EmailOutcome,
    pub from: Option<Address>,
    pub subject: String,
    pub preview: String,
    /// The Message-ID header, as it stands.
    pub message_id_header: Option<String>,
    pub raw_hash: Vec<u8>,
    pub received_at: Time,
    pub internal_date: Time,
    pub saved_at: Option<Time>,
    /// One of its links, once it is saved.
    pub primary_item_id: Option<ItemId>,
    pub version: i64,
}

/// A file that hangs on an email.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub id: AttachmentId,
    pub email_id: EmailId,
    /// Which part of the parsed mail it is.
    pub part_index: i64,
    pub name: String,
    pub media_type: String,
    pub size_bytes: i64,
}

/// One tie of an email to an item.
#[derive(Debug, Clone)]
pub struct EmailLink {
    pub email_id: EmailId,
    pub item_id: ItemId,
    pub is_primary: bool,
    pub linked_at: Time,
    pub linked_by: Option<UserId>,
}

/// One line of an email's link history: from nothing, to nothing, or from item to item.
#[derive(Debug, Clone)]
pub struct LinkChange {
    pub id: LinkChangeId,
    pub email_id: EmailId,
    pub at: Time,
    pub by: Option<UserId>,
    pub from_item_id: Option<ItemId>,
    pub to_item_id: Option<ItemId>,
}

text_enum! {
    /// What somebody did to conversations by hand (R40).
    ThreadChangeKind { Split = "SPLIT", Merge = "MERGE" }
}

/// One split or merge of conversations.
#[derive(Debug, Clone)]
pub struct ThreadChange {
    pub id: ThreadChangeId,
    pub kind: ThreadChangeKind,
    pub at: Time,
    pub by: Option<UserId>,
    /// The thread that emails were moved into.
    pub to: ThreadId,
    pub undone_at: Option<Time>,
}

/// One rule that was tried: what it saw (the facts themselves) and what it decided (R20).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingStep {
    pub rule: String,
    pub saw: String,
    pub decided: String,
}

/// Why an email is where it is (R20).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingTrace {
    pub steps: Vec<RoutingStep>,
    pub reason: String,
    pub settings_version: i64,
}
