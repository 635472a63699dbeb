//! Whom an answer goes to, what it is called and which messages it names (R41).
//! Not for: what it says, or whether it may be sent.

use super::threading::subject_base;
use crate::model::draft::DraftKind;
use crate::model::email::{Address, Direction};
use std::collections::BTreeSet;

/// Message-IDs that an answer names at most, as readers of References keep them.
const REFERENCES_MAX: usize = 20;
/// A subject is cut here: longer ones are nobody's.
const SUBJECT_CHARS_MAX: usize = 900;

/// Somebody who stands in the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub address: Address,
    /// The canonical address; `None`: it is none.
    pub key: Option<String>,
}

/// The mail that is answered or forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    pub direction: Direction,
    pub from: Vec<Person>,
    pub reply_to: Vec<Person>,
    pub to: Vec<Person>,
    pub cc: Vec<Person>,
    pub subject: String,
    pub message_id: Option<String>,
    /// As its own header has them: the oldest first.
    pub references: Vec<String>,
    /// Canonical addresses of the mailbox itself.
    pub own_keys: Vec<String>,
}

/// What an answer begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub subject: String,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
}

/// What a mail of this kind begins with. A forwarded mail goes to nobody yet, and is no part of the conversation.
pub fn answer(kind: DraftKind, original: &Original) -> Answer {
    let (to, cc) = match kind {
        DraftKind::New | DraftKind::Forward => (Vec::new(), Vec::new()),
        DraftKind::Reply => (distinct(answered(original), &mut seen(&[])), Vec::new()),
        DraftKind::ReplyAll => reply_all(original),
    };
    let subject = subject(kind, &original.subject);
    let (in_reply_to, references) = match kind {
        DraftKind::New | DraftKind::Forward => (None, Vec::new()),
        DraftKind::Reply | DraftKind::ReplyAll => (original.message_id.clone(), named(original)),
    };
    Answer {
        to,
        cc,
        subject,
        in_reply_to,
        references,
    }
}

/// Who is answered: where the sender wants answers, or whom we wrote to where the mail is our own.
fn answered(original: &Original) -> &[Person] {
    match original.direction {
        Direction::Outgoing => &original.to,
        Direction::Incoming if original.reply_to.is_empty() => &original.from,
        Direction::Incoming => &original.reply_to,
    }
}

/// Everybody once, without ourselves: unless we wrote to ourselves alone.
fn reply_all(original: &Original) -> (Vec<Address>, Vec<Address>) {
    let mut known = seen(&original.own_keys);
    let mut to = distinct(answered(original), &mut known);
    let mut cc = match original.direction {
        Direction::Incoming => distinct(&original.to, &mut known),
        Direction::Outgoing => Vec::new(),
    };
    cc.extend(distinct(&original.cc, &mut known));
    if to.is_empty() {
        to = if cc.is_empty() {
            distinct(answered(original), &mut seen(&[]))
        } else {
            std::mem::take(&mut cc)
        };
    }
    (to, cc)
}

fn seen(keys: &[String]) -> BTreeSet<String> {
    keys.iter().cloned().collect()
}

/// Those whose addresses can be written to and were not named before.
fn distinct(people: &[Person], known: &mut BTreeSet<String>) -> Vec<Address> {
    people
        .iter()
        .filter(|person| person.key.clone().is_some_and(|key| known.insert(key)))
        .map(|person| person.address.clone())
        .collect()
}

/// `Re:` or `Fwd:` and the subject without what earlier answers put before it.
fn subject(kind: DraftKind, original: &str) -> String {
    let prefix = match kind {
        DraftKind::New => return String::new(),
        DraftKind::Reply | DraftKind::ReplyAll => "Re:",
        DraftKind::Forward => "Fwd:",
    };
    let bare = bare(original);
    format!("{prefix} {bare}")
        .chars()
        .take(SUBJECT_CHARS_MAX)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// The subject from where its base begins: [`subject_base`] folds case and spaces, which people want to keep.
fn bare(original: &str) -> &str {
    let trimmed = original.trim();
    let mut rest = trimmed;
    loop {
        let Some((front, behind)) = rest.split_once(':') else {
            return rest;
        };
        let behind = behind.trim_start();
        let is_prefix = front.chars().count() <= 12 && subject_base(rest) == subject_base(behind);
        if !is_prefix {
            return rest;
        }
        rest = behind;
    }
}

/// The original's own References with itself behind them; of many the first and the last ones.
fn named(original: &Original) -> Vec<String> {
    let mut all: Vec<String> = original.references.clone();
    all.extend(original.message_id.clone());
    if all.len() > REFERENCES_MAX {
        let first = all.first().cloned();
        all.drain(..=all.len() - REFERENCES_MAX);
        all.splice(0..0, first);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(address: &str) -> Person {
        Person {
            address: Address {
                name: None,
                address: address.to_owned(),
            },
            key: address.contains('@').then(|| address.to_lowercase()),
        }
    }

    fn people(list: &str) -> Vec<Person> {
        list.split_whitespace().map(person).collect()
    }

    fn original(direction: Direction, lists: [&str; 4]) -> Original {
        let [from, reply_to, to, cc] = lists.map(people);
        Original {
            direction,
            from,
            reply_to,
            to,
            cc,
            subject: "An offer".to_owned(),
            message_id: Some("m@c".to_owned()),
            references: vec!["a@c".to_owned()],
            own_keys: vec!["sales@us".to_owned(), "info@us".to_owned()],
        }
    }

    fn shown(addresses: &[Address]) -> String {
        let all: Vec<&str> = addresses.iter().map(|a| a.address.as_str()).collect();
        all.join(" ")
    }

    #[test]
    fn r41_whom_an_answer_goes_to() {
        use Direction::{Incoming, Outgoing};
        use DraftKind::{Forward, Reply, ReplyAll};
        // (what, direction, [from, reply-to, to, cc], kind, to, cc)
        let rows = [
            (
                "a reply goes to the sender",
                Incoming,
                ["c@x", "", "sales@us", "d@x"],
                Reply,
                "c@x",
                "",
            ),
            (
                "or where the sender wants it",
                Incoming,
                ["c@x", "r@x", "sales@us", ""],
                Reply,
                "r@x",
                "",
            ),
            (
                "all: everybody but ourselves",
                Incoming,
                ["c@x", "", "Sales@us e@x", "d@x info@us"],
                ReplyAll,
                "c@x",
                "e@x d@x",
            ),
            (
                "all: everybody once",
                Incoming,
                ["c@x", "", "C@x e@x", "E@x c@x"],
                ReplyAll,
                "c@x",
                "e@x",
            ),
            (
                "all: reply-to instead of from",
                Incoming,
                ["c@x", "r@x", "sales@us", ""],
                ReplyAll,
                "r@x",
                "",
            ),
            (
                "our own mail: those we wrote to",
                Outgoing,
                ["sales@us", "", "c@x", "d@x"],
                Reply,
                "c@x",
                "",
            ),
            (
                "our own mail, all",
                Outgoing,
                ["sales@us", "", "c@x", "d@x info@us"],
                ReplyAll,
                "c@x",
                "d@x",
            ),
            (
                "ourselves alone",
                Incoming,
                ["sales@us", "", "sales@us", ""],
                ReplyAll,
                "sales@us",
                "",
            ),
            (
                "what is no address is left out",
                Incoming,
                ["nobody", "", "sales@us", "d@x"],
                ReplyAll,
                "d@x",
                "",
            ),
            (
                "a forwarded mail goes to nobody yet",
                Incoming,
                ["c@x", "", "sales@us", "d@x"],
                Forward,
                "",
                "",
            ),
        ];
        for (what, direction, lists, kind, to, cc) in rows {
            let found = answer(kind, &original(direction, lists));
            assert_eq!(
                (shown(&found.to), shown(&found.cc)),
                (to.to_owned(), cc.to_owned()),
                "{what}"
            );
        }
    }

    #[test]
    fn r41_a_subject_says_re_once_and_keeps_its_own_letters() {
        use DraftKind::{Forward, New, Reply};
        let rows = [
            (Reply, "An Offer: 5% off", "Re: An Offer: 5% off"),
            (Reply, "RE: An Offer", "Re: An Offer"),
            (Reply, "AW: Re: Fwd: An Offer", "Re: An Offer"),
            (Forward, "Re: An Offer", "Fwd: An Offer"),
            (Reply, "", "Re:"),
            (New, "An Offer", ""),
        ];
        for (kind, before, after) in rows {
            assert_eq!(subject(kind, before), after, "{before:?}");
        }
    }

    #[test]
    fn r17_an_answer_names_what_it_answers_and_the_first_of_a_long_row() {
        let mut given = original(Direction::Incoming, ["c@x", "", "sales@us", ""]);
        let found = answer(DraftKind::Reply, &given);
        assert_eq!(found.in_reply_to.as_deref(), Some("m@c"));
        assert_eq!(found.references, ["a@c", "m@c"]);
        given.references = (0..40).map(|n| format!("{n}@c")).collect();
        let found = answer(DraftKind::Reply, &given);
        assert_eq!(found.references.len(), REFERENCES_MAX);
        assert_eq!(found.references.first().map(String::as_str), Some("0@c"));
        assert_eq!(found.references.get(1).map(String::as_str), Some("22@c"));
        assert_eq!(found.references.last().map(String::as_str), Some("m@c"));
        let forwarded = answer(DraftKind::Forward, &given);
        assert!(forwarded.in_reply_to.is_none() && forwarded.references.is_empty());
    }
}
