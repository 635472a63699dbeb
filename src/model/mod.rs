//! Plain data of the whole house: id newtypes, enums of the contract, facts and decisions.
//! Not for: SQL, protocols, GraphQL.

pub mod activity;
pub mod decisions;
pub mod draft;
pub mod email;
pub mod item;
pub mod mailbox;
pub mod measure;
pub mod people;
pub mod refusal;
pub mod template;
pub mod timeline;
pub mod topic;

use serde::{Deserialize, Serialize};

/// Makes the newtype of one kind of id.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);
    )+};
}

ids! {
    /// An employee with an account.
    UserId,
    /// A department of the tree.
    DepartmentId,
    /// A role.
    RoleId,
    /// A stage of leads or deals.
    StageId,
    /// A connected mailbox.
    MailboxId,
    /// A folder of a mailbox.
    FolderId,
    /// One UID of one folder and epoch.
    PlacementId,
    /// One logical message, whatever mailboxes hold it.
    MessageId,
    /// One message of one mailbox.
    EmailId,
    /// An attachment of an email.
    AttachmentId,
    /// A conversation.
    ThreadId,
    /// One split or merge of conversations by hand.
    ThreadChangeId,
    /// A lead, a deal or a contact.
    ItemId,
    /// One change of an email's links.
    LinkChangeId,
    /// The to-do that a saved message makes.
    ActivityId,
    /// An export that somebody asked for.
    ExportId,
    /// A line of the audit log.
    AuditId,
    /// A mail that somebody writes.
    DraftId,
    /// A file that goes out with a draft.
    DraftAttachmentId,
    /// A mail with fields to fill in.
    TemplateId,
    /// A name and address that a mailbox's mail may be sent under.
    SenderId,
}

/// A moment, in microseconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From seconds since 1970; what lies outside the representable range is clamped to it.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment moved by so many microseconds (may be negative).
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// This moment moved by so many seconds (may be negative).
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// RFC 3339 in UTC, with microseconds only where there are any.
    pub fn to_rfc3339(self) -> String {
        chrono::DateTime::from_timestamp_micros(self.0).map_or_else(
            || "1970-01-01T00:00:00Z".to_owned(),
            |moment| moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        )
    }

    /// Reads RFC 3339 with any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(moment.timestamp_micros()))
    }
}

/// Makes an enum whose text form (in SQL and GraphQL alike) is SCREAMING_SNAKE_CASE.
#[macro_export]
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text that stands in the database and in GraphQL.
            pub const fn as_text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads that text back.
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
