//! Timeline entries: one line of an item's history each, never edited, never renumbered.

use super::draft::SendingState;
use super::{ActivityId, DraftId, EmailId, ItemId, StageId, Time, UserId};
use crate::text_enum;

text_enum! {
    /// What an entry tells.
    TimelineKind {
        EmailReceived = "EMAIL_RECEIVED", EmailSent = "EMAIL_SENT", EmailLinked = "EMAIL_LINKED", EmailUnlinked = "EMAIL_UNLINKED",
        ActivityCompleted = "ACTIVITY_COMPLETED", ActivityReopened = "ACTIVITY_REOPENED", ItemCreated = "ITEM_CREATED",
        LeadConverted = "LEAD_CONVERTED", ResponsibleChanged = "RESPONSIBLE_CHANGED", StageChanged = "STAGE_CHANGED",
        NoteAdded = "NOTE_ADDED", SendingChanged = "SENDING_CHANGED",
    }
}

/// The one global position of an entry, in commit order; also its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

/// An entry as it stands in the database.
#[derive(Debug, Clone)]
pub struct TimelineEntry {
    pub position: Position,
    pub at: Time,
    pub new: NewTimelineEntry,
}

/// What an entry says, before it has its position and time.
#[derive(Debug, Clone)]
pub struct NewTimelineEntry {
    pub item_id: ItemId,
    pub actor_id: Option<UserId>,
    pub told: Told,
}

/// What happened, with what it concerns.
#[derive(Debug, Clone)]
pub enum Told {
    EmailReceived {
        email_id: EmailId,
    },
    EmailSent {
        email_id: EmailId,
    },
    EmailLinked {
        email_id: EmailId,
        from: Option<ItemId>,
    },
    EmailUnlinked {
        email_id: EmailId,
        to: Option<ItemId>,
    },
    ActivityCompleted {
        activity_id: ActivityId,
        email_id: EmailId,
    },
    ActivityReopened {
        activity_id: ActivityId,
        email_id: EmailId,
    },
    ItemCreated,
    LeadConverted,
    ResponsibleChanged {
        from: UserId,
        to: UserId,
    },
    StageChanged {
        from: StageId,
        to: StageId,
    },
    NoteAdded {
        text: String,
    },
    /// A mail that somebody writes for the item waits, was taken back, was refused, or may have gone out.
    SendingChanged {
        draft_id: DraftId,
        state: SendingState,
    },
}

impl Told {
    /// Its kind.
    pub const fn kind(&self) -> TimelineKind {
        match self {
            Self::EmailReceived { .. } => TimelineKind::EmailReceived,
            Self::EmailSent { .. } => TimelineKind::EmailSent,
            Self::EmailLinked { .. } => TimelineKind::EmailLinked,
            Self::EmailUnlinked { .. } => TimelineKind::EmailUnlinked,
            Self::ActivityCompleted { .. } => TimelineKind::ActivityCompleted,
            Self::ActivityReopened { .. } => TimelineKind::ActivityReopened,
            Self::ItemCreated => TimelineKind::ItemCreated,
            Self::LeadConverted => TimelineKind::LeadConverted,
            Self::ResponsibleChanged { .. } => TimelineKind::ResponsibleChanged,
            Self::StageChanged { .. } => TimelineKind::StageChanged,
            Self::NoteAdded { .. } => TimelineKind::NoteAdded,
            Self::SendingChanged { .. } => TimelineKind::SendingChanged,
        }
    }
}
