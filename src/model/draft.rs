//! Mail that people write, and its way out.

use super::email::Address;
use super::{DraftAttachmentId, DraftId, EmailId, ItemId, MailboxId, Time, UserId};
use crate::text_enum;
use serde::{Deserialize, Serialize};

text_enum! {
    /// What a draft answers, if anything.
    DraftKind { New = "NEW", Reply = "REPLY", ReplyAll = "REPLY_ALL", Forward = "FORWARD" }
}

text_enum! {
    /// Where a mail that somebody writes stands on its way out (R41).
    SendingState {
        /// It is being written.
        Draft = "DRAFT",
        /// It waits for its time, or to be tried again.
        Queued = "QUEUED",
        /// A server is being talked to.
        Sending = "SENDING",
        /// The server took it.
        Sent = "SENT",
        /// It was refused, and nobody got it.
        Failed = "FAILED",
        /// The connection broke when it had been handed over: it may have gone out, or not.
        Unknown = "UNKNOWN",
    }
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftContent {
    pub from: Address,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub bcc: Vec<Address>,
    pub subject: String,
    pub body_text: String,
    /// Clean.
    pub body_html: Option<String>,
    /// The Message-ID that it answers, without angle brackets.
    pub in_reply_to: Option<String>,
    /// Message-IDs, the oldest first, without angle brackets.
    pub references: Vec<String>,
}

/// A mail that somebody writes.
#[derive(Debug, Clone)]
pub struct Draft {
    pub id: DraftId,
    pub author_id: UserId,
    pub mailbox_id: MailboxId,
    pub kind: DraftKind,
    /// The email that it answers or forwards.
    pub original_id: Option<EmailId>,
    /// The item that it will be saved on; `None`: the rules choose.
    pub item_id: Option<ItemId>,
    pub content: DraftContent,
    pub state: SendingState,
    /// When it goes out, or is tried again.
    pub due_at: Option<Time>,
    /// How often a server was asked to take it.
    pub tries: i64,
    /// Fixed once it is queued; without angle brackets.
    pub message_id_header: Option<String>,
    pub failures: Vec<SendingFailure>,
    /// A try that ended before it was last put on its way may have gone out.
    pub may_be_out: bool,
    /// What it became.
    pub email_id: Option<EmailId>,
    pub sent_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub version: i64,
}

/// Why a mail did not go out, in our own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingFailure {
    /// Whom it was for; `None`: the whole mail.
    pub recipient: Option<String>,
    pub reason: String,
    /// The reply's code by SMTP, where there was one.
    pub code: Option<i64>,
}

/// A file that goes out with a draft.
#[derive(Debug, Clone)]
pub struct DraftAttachment {
    pub id: DraftAttachmentId,
    pub draft_id: DraftId,
    pub name: String,
    pub media_type: String,
    /// As it was announced, until it is uploaded.
    pub size_bytes: i64,
    /// `None` until it is uploaded.
    pub raw_hash: Option<Vec<u8>>,
}
