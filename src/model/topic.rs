//! What a wake-up is about. Wake-ups carry no content: whoever is woken reads the store.

use super::{ItemId, MailboxId};
use std::fmt;

/// One subject of wake-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Any timeline entry, or anything that puts one on a screen or takes it off.
    Timeline,
    /// Links, items or rights changed: entries may have come into view or gone from it.
    Changes,
    /// Somebody's rights changed, or a credential was revoked.
    Rights,
    /// A new entry of this item.
    Item(ItemId),
    /// The visible state of this mailbox changed (R8).
    Mailbox(MailboxId),
    /// This mailbox should be synced now, or was connected, changed or disconnected.
    Sync(MailboxId),
    /// Mail waits to be sent.
    Sending,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeline => f.write_str("timeline"),
            Self::Changes => f.write_str("changes"),
            Self::Rights => f.write_str("rights"),
            Self::Item(id) => write!(f, "item:{}", id.0),
            Self::Mailbox(id) => write!(f, "mailbox:{}", id.0),
            Self::Sync(id) => write!(f, "sync:{}", id.0),
            Self::Sending => f.write_str("sending"),
        }
    }
}

impl Topic {
    /// The mailbox that this topic, as it is written, wants synced.
    pub fn synced(topic: &str) -> Option<MailboxId> {
        topic.strip_prefix("sync:")?.parse().ok().map(MailboxId)
    }
}
