//! Whether somebody whom a vCard introduces becomes a contact (R19).
//! Not for: reading cards, or who answers for the contact (whoever answers for the mail that brought it).

use super::routing::MADE_PER_HOUR_MAX;
use crate::model::decisions::Who;

/// One address of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardAddress {
    pub who: Who,
    /// It or its domain is on the exclusion list (R18).
    pub is_excluded: bool,
    /// A contact has it already.
    pub has_contact: bool,
}

/// Everything that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFacts {
    pub addresses: Vec<CardAddress>,
    /// Items that mail of the same hour has made in the mailbox.
    pub made_this_hour: i64,
}

/// What becomes of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduction {
    MakesContact,
    /// It could not be known again.
    WithoutAddress,
    /// It names one of our own people, who are no clients (R12).
    Ours,
    Excluded,
    /// A contact stands for them already.
    Known,
    /// Mail has made as many items in this hour as one mailbox makes.
    Flooded,
}

/// Each person becomes a contact once: somebody outside, whom nothing excludes.
pub fn introduce(facts: &CardFacts) -> Introduction {
    let any = |is: fn(&CardAddress) -> bool| facts.addresses.iter().any(is);
    if facts.addresses.is_empty() {
        Introduction::WithoutAddress
    } else if any(|address| address.who.is_ours()) {
        Introduction::Ours
    } else if any(|address| address.is_excluded) {
        Introduction::Excluded
    } else if any(|address| address.has_contact) {
        Introduction::Known
    } else if facts.made_this_hour >= MADE_PER_HOUR_MAX {
        Introduction::Flooded
    } else {
        Introduction::MakesContact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r19_a_card_makes_a_contact_of_a_stranger_once() {
        let stranger = CardAddress {
            who: Who::Client,
            is_excluded: false,
            has_contact: false,
        };
        let colleague = CardAddress {
            who: Who::ActiveUser,
            ..stranger
        };
        let mailbox = CardAddress {
            who: Who::ConnectedMailbox,
            ..stranger
        };
        let excluded = CardAddress {
            is_excluded: true,
            ..stranger
        };
        let known = CardAddress {
            has_contact: true,
            ..stranger
        };
        let last = MADE_PER_HOUR_MAX - 1;
        // (what, addresses, items made in the hour, what becomes of it)
        let rows = [
            ("a stranger", vec![stranger], 0, Introduction::MakesContact),
            (
                "with two addresses",
                vec![stranger, stranger],
                0,
                Introduction::MakesContact,
            ),
            (
                "without an address",
                vec![],
                0,
                Introduction::WithoutAddress,
            ),
            (
                "a colleague",
                vec![stranger, colleague],
                0,
                Introduction::Ours,
            ),
            ("a mailbox of ours", vec![mailbox], 0, Introduction::Ours),
            (
                "excluded by one address",
                vec![stranger, excluded],
                0,
                Introduction::Excluded,
            ),
            (
                "known by one address",
                vec![stranger, known],
                0,
                Introduction::Known,
            ),
            (
                "the last of an hour",
                vec![stranger],
                last,
                Introduction::MakesContact,
            ),
            (
                "one more than that",
                vec![stranger],
                MADE_PER_HOUR_MAX,
                Introduction::Flooded,
            ),
        ];
        for (what, addresses, made_this_hour, expected) in rows {
            let facts = CardFacts {
                addresses,
                made_this_hour,
            };
            assert_eq!(introduce(&facts), expected, "{what}");
        }
    }
}
