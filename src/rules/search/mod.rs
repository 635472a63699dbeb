//! Searching: what a query asks, said as plain data, and how texts become words.
//!
//! Both databases index the very words that [`words()`] makes, so that a search finds the same in either.
//! Not for: SQL (that is `store::search`), or who may see what is found (that is `rules::access`).

mod language;
mod marks;
mod words;

pub use language::{Fault, Reading, Typing, read};
pub use marks::{Part, SNIPPET_CHARS_MAX, snippet};
pub use words::{Word, composed, words};

use crate::model::item::ItemKind;
use crate::model::{ItemId, Time};

/// Where in a mail or an item a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// The subject of an email; an item's title, name and company.
    Title,
    /// Who an email is from; an item's addresses.
    Sender,
    /// Who an email is to.
    Recipients,
    /// An email's text and the names of its files; an item's notes.
    Text,
}

impl Zone {
    /// All of them, in the order in which they are indexed.
    pub const ALL: [Self; 4] = [Self::Title, Self::Sender, Self::Recipients, Self::Text];

    const fn bit(self) -> u8 {
        match self {
            Self::Title => 1,
            Self::Sender => 2,
            Self::Recipients => 4,
            Self::Text => 8,
        }
    }
}

/// A set of zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zones(u8);

impl Zones {
    /// Everywhere.
    pub const ALL: Self = Self(15);
    /// Where what something is called stands, and whose it is.
    pub const HEAD: Self = Self(3);

    /// One zone.
    pub const fn only(zone: Zone) -> Self {
        Self(zone.bit())
    }

    /// Without this one.
    #[must_use]
    pub const fn without(self, zone: Zone) -> Self {
        Self(self.0 & !zone.bit())
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the zone is one of them.
    pub const fn has(self, zone: Zone) -> bool {
        self.0 & zone.bit() != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Words that stand one behind the other. One word alone is a phrase too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// Folded as the index has them; never empty.
    pub words: Vec<String>,
    /// Whether the last word may go on.
    pub is_prefix: bool,
    /// Where it is looked for.
    pub zones: Zones,
    /// Whether only emails have what is looked for: `from:` and `to:`.
    pub emails_only: bool,
}

/// What is not about words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `has:attachment`.
    HasAttachment,
    /// `in:deal`: emails on such an item, and such items themselves.
    InKind(ItemKind),
    /// `in:Deal_…`: emails on this item, and the item itself.
    InItem {
        /// The id as it was written.
        id: String,
        /// The item that it names; `None`: it names none.
        item: Option<ItemId>,
    },
    /// `mailbox:`, by its address in lower case.
    Mailbox(String),
    /// `before:`: what came, or was made, before this moment.
    Before(Time),
    /// `after:`: at this moment or behind it.
    After(Time),
    /// `is:unread`: what came in and the viewer has not read.
    IsUnread,
}

/// One thing that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    Phrase(Phrase),
    Filter(Filter),
}

/// One thing that is to be there, or with `-` before it not to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    pub is_negated: bool,
    pub sought: Sought,
}

/// Of these, one at least holds.
pub type Group = Vec<Literal>;

/// What a query asks: all groups hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchQuery {
    pub groups: Vec<Group>,
}

impl SearchQuery {
    /// Whether it asks nothing.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Looks up the ids that it names.
    pub fn resolve(&mut self, find: impl Fn(&str) -> Option<ItemId>) {
        for literal in self.groups.iter_mut().flatten() {
            if let Sought::Filter(Filter::InItem { id, item }) = &mut literal.sought {
                *item = find(id);
            }
        }
    }

    /// The phrases that what is found can have, for marking them.
    pub fn phrases(&self) -> impl Iterator<Item = &Phrase> {
        let wanted = self.groups.iter().flatten().filter(|one| !one.is_negated);
        wanted.filter_map(|one| match &one.sought {
            Sought::Phrase(phrase) => Some(phrase),
            Sought::Filter(_) => None,
        })
    }
}

#[cfg(test)]
mod tests;
