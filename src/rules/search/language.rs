//! The language of searches, read.
//!
//! ```text
//! offer budget          both words, anywhere, in any order and in any form of case and accents
//! "next week"           these words one behind the other
//! bud*                  words that begin so
//! -draft                not this word; "-" goes before anything
//! ada or bob            one of both; "or" ties the two beside it closer than anything else: a b or c is a (b or c)
//! from:ada to:"bob b"   who it is from (From, Sender, Reply-To), who it is to (To, Cc, Bcc)
//! subject:offer         the subject of an email, the title of an item
//! has:attachment        emails with files
//! in:deal in:Deal_…     emails on a lead, deal or contact, or on this one; and such items themselves
//! mailbox:a@b.example   emails of a mailbox that the viewer has access to
//! before:2026-10 after:2026-10-05   days, months and years in UTC: before it begins; from its beginning on
//! is:unread             emails that came in and the viewer has not read
//! ```
//! Words with other signs in them are phrases: `ada@b.example` is "ada b example". Names of filters don't mind their case.
//! Not for: what a word is (that is [`words`](super::words())).

use super::words::{Word, composed, words};
use super::{Filter, Literal, Phrase, SearchQuery, Sought, Zone, Zones};
use crate::model::Time;
use crate::model::item::ItemKind;

/// Characters of a query: nobody types more.
const QUERY_CHARS_MAX: usize = 500;
/// Things looked for at once: each is a reading of the index.
const LITERALS_MAX: usize = 32;
/// A word that is still being typed is taken for its beginning from so many characters on: fewer are the beginning of
/// most words.
const TYPED_CHARS_MIN: usize = 2;

/// Why a query can't be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The character that it is about, counted from 0.
    pub position: usize,
    /// In a sentence.
    pub message: String,
}

/// What a query turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    Understood(SearchQuery),
    Faulty(Fault),
}

/// Whether the query is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// It is.
    Done,
    /// Its last word is still being typed: what begins so is found, and what is not finished is passed over.
    GoingOn,
}

/// Reads a query. One without anything to look for asks nothing, and is no fault.
pub fn read(query: &str, typing: Typing) -> Reading {
    let chars: Vec<char> = composed(query).chars().collect();
    if chars.len() > QUERY_CHARS_MAX {
        let message = format!("A query has at most {QUERY_CHARS_MAX} characters.");
        let position = QUERY_CHARS_MAX;
        return Reading::Faulty(Fault { position, message });
    }
    let mut reader = Reader {
        chars: &chars,
        at: 0,
        typing,
        groups: Vec::new(),
        or_at: None,
        literals: 0,
    };
    match reader.all() {
        None => Reading::Understood(SearchQuery {
            groups: reader.groups,
        }),
        Some(fault) => Reading::Faulty(fault),
    }
}

/// One piece of a query, or what is wrong with it.
enum Piece<T> {
    Is(T),
    /// There is nothing in it to look for.
    Nothing,
    Wrong(Fault),
}

struct Reader<'q> {
    chars: &'q [char],
    at: usize,
    typing: Typing,
    groups: Vec<Vec<Literal>>,
    /// Where an "or" stands that waits for what is behind it.
    or_at: Option<usize>,
    literals: usize,
}

/// A value as it was written.
struct Value {
    text: String,
    position: usize,
    is_quoted: bool,
    has_star: bool,
}

const FILTERS: &str = "from:, to:, subject:, has:, in:, mailbox:, before:, after: and is:";

fn wrong<T>(position: usize, message: impl Into<String>) -> Piece<T> {
    Piece::Wrong(Fault {
        position,
        message: message.into(),
    })
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next_is(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at = self.at.saturating_add(usize::from(is_next));
        is_next
    }

    fn pass_spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn is_unfinished(&self) -> bool {
        self.typing == Typing::GoingOn && self.at >= self.chars.len()
    }

    fn all(&mut self) -> Option<Fault> {
        loop {
            self.pass_spaces();
            if self.at >= self.chars.len() {
                break;
            }
            let position = self.at;
            if let Some(length) = self.operator() {
                self.at = self.at.saturating_add(length);
                if self.or_at.is_some() || self.groups.is_empty() {
                    let message = "\"or\" stands between two things to look for.";
                    return Some(fault(position, message));
                }
                self.or_at = Some(position);
                continue;
            }
            match self.literal() {
                Piece::Is(literal) => self.add(literal),
                Piece::Nothing => {}
                Piece::Wrong(fault) => return Some(fault),
            }
            if self.literals > LITERALS_MAX {
                let message = format!("A query looks for at most {LITERALS_MAX} things.");
                return Some(fault(position, message));
            }
        }
        let or_at = self.or_at.filter(|_| !self.is_unfinished())?;
        Some(fault(or_at, "Nothing stands behind this \"or\"."))
    }

    fn add(&mut self, literal: Literal) {
        self.literals = self.literals.saturating_add(1);
        let is_other = self.or_at.take().is_some();
        match self.groups.last_mut() {
            Some(group) if is_other => group.push(literal),
            _ => self.groups.push(vec![literal]),
        }
    }

    /// The length of an "or" that stands here alone.
    fn operator(&self) -> Option<usize> {
        let rest = self.chars.get(self.at..)?;
        let word: String = rest
            .iter()
            .take_while(|c| !c.is_whitespace())
            .take(3)
            .collect();
        let is_or = word.eq_ignore_ascii_case("or") || word == "|";
        // Typed to its end, it may be the beginning of a word.
        let is_open = self.typing == Typing::GoingOn && rest.len() == word.len() && word != "|";
        (is_or && !is_open).then_some(word.len())
    }

    fn literal(&mut self) -> Piece<Literal> {
        let position = self.at;
        let is_negated = self.next_is('-');
        if is_negated && self.peek().is_none_or(|c| c.is_whitespace() || c == '-') {
            if self.is_unfinished() {
                return Piece::Nothing;
            }
            return wrong(position, "Behind \"-\" stands what is not to be found.");
        }
        let sought = match self.filter_name() {
            Some(name) => self.filter(&name),
            None => self.anywhere(is_negated),
        };
        match sought {
            Piece::Is(sought) => Piece::Is(Literal { is_negated, sought }),
            Piece::Nothing => Piece::Nothing,
            Piece::Wrong(fault) => Piece::Wrong(fault),
        }
    }

    /// The name before a ":" with something behind it, or nothing at all behind it.
    fn filter_name(&self) -> Option<String> {
        let rest = self.chars.get(self.at..)?;
        let name: String = rest
            .iter()
            .take_while(|c| c.is_ascii_alphabetic())
            .collect();
        let behind = rest.get(name.len()..)?;
        // "http://…" and "Re: …" are text.
        let is_text = matches!(behind, [':', '/', '/', ..]);
        let is_name = !name.is_empty() && behind.first() == Some(&':') && !is_text;
        let is_known = |name: &str| {
            let known = [
                "from", "to", "subject", "has", "in", "mailbox", "before", "after", "is",
            ];
            known.contains(&name)
        };
        let name = name.to_ascii_lowercase();
        let has_value = behind.get(1).is_some_and(|c| !c.is_whitespace());
        (is_name && (has_value || is_known(&name))).then_some(name)
    }

    fn filter(&mut self, name: &str) -> Piece<Sought> {
        let position = self.at;
        self.at = self.at.saturating_add(name.len()).saturating_add(1);
        let value = match self.value() {
            Piece::Is(value) => value,
            Piece::Nothing if self.is_unfinished() => return Piece::Nothing,
            Piece::Nothing => {
                return wrong(self.at, format!("Nothing stands behind \"{name}:\"."));
            }
            Piece::Wrong(fault) => return Piece::Wrong(fault),
        };
        match name {
            "from" => self.phrase(&value, Zones::only(Zone::Sender), EmailsOnly::Yes),
            "to" => self.phrase(&value, Zones::only(Zone::Recipients), EmailsOnly::Yes),
            "subject" => self.phrase(&value, Zones::only(Zone::Title), EmailsOnly::No),
            _ => self.fact(name, position, &value),
        }
    }

    /// A filter that is not about words.
    fn fact(&self, name: &str, position: usize, value: &Value) -> Piece<Sought> {
        let text = value.text.to_lowercase();
        let found = match (name, text.as_str()) {
            ("has", "attachment" | "attachments" | "file" | "files") => Filter::HasAttachment,
            ("is", "unread") => Filter::IsUnread,
            ("in", "lead" | "leads") => Filter::InKind(ItemKind::Lead),
            ("in", "deal" | "deals") => Filter::InKind(ItemKind::Deal),
            ("in", "contact" | "contacts") => Filter::InKind(ItemKind::Contact),
            ("in", _) if is_item_id(&value.text) => Filter::InItem {
                id: value.text.clone(),
                item: None,
            },
            ("mailbox", _) => Filter::Mailbox(text),
            ("before" | "after", _) => match beginning(&text) {
                Some(at) if name == "before" => Filter::Before(at),
                Some(at) => Filter::After(at),
                None if self.is_unfinished() => return Piece::Nothing,
                None => {
                    let message = format!(
                        "Behind \"{name}:\" stands a day, a month or a year: 2026-10-05, 2026-10, 2026."
                    );
                    return wrong(value.position, message);
                }
            },
            ("has" | "is" | "in", _) if self.is_unfinished() => return Piece::Nothing,
            ("has", _) => return wrong(value.position, "Behind \"has:\" stands attachment."),
            ("is", _) => return wrong(value.position, "Behind \"is:\" stands unread."),
            ("in", _) => {
                let message =
                    "Behind \"in:\" stands lead, deal or contact, or the id of one of them.";
                return wrong(value.position, message);
            }
            _ => {
                let message = format!(
                    "There is no filter \"{name}:\". There are {FILTERS}; put quotes around it to look for the text."
                );
                return wrong(position, message);
            }
        };
        Piece::Is(Sought::Filter(found))
    }

    /// Words that may stand anywhere.
    fn anywhere(&mut self, is_negated: bool) -> Piece<Sought> {
        match self.value() {
            Piece::Is(value) => match self.phrase(&value, Zones::ALL, EmailsOnly::No) {
                // Signs alone say nothing: they are passed over.
                Piece::Wrong(_) if !is_negated && !has_words(&value.text) && !value.has_star => {
                    Piece::Nothing
                }
                read => read,
            },
            Piece::Nothing => Piece::Nothing,
            Piece::Wrong(fault) => Piece::Wrong(fault),
        }
    }

    /// Text in quotes, or up to the next space; with a star at its end or without.
    fn value(&mut self) -> Piece<Value> {
        let position = self.at;
        if !self.next_is('"') {
            let rest = self.chars.get(self.at..).unwrap_or_default();
            let text: String = rest.iter().take_while(|c| !c.is_whitespace()).collect();
            self.at = self.at.saturating_add(text.chars().count());
            if text.is_empty() {
                return Piece::Nothing;
            }
            return with_star(text, position);
        }
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let text: String = rest.iter().take_while(|c| **c != '"').collect();
        self.at = self.at.saturating_add(text.chars().count());
        let is_closed = self.next_is('"');
        if !is_closed && self.typing == Typing::Done {
            return wrong(position, "This quote has no end.");
        }
        if text.trim().is_empty() {
            if self.is_unfinished() {
                return Piece::Nothing;
            }
            return wrong(position, "Nothing stands between these quotes.");
        }
        let has_star = is_closed && self.next_is('*');
        Piece::Is(Value {
            text,
            position,
            is_quoted: is_closed,
            has_star,
        })
    }

    fn phrase(&self, value: &Value, zones: Zones, emails_only: EmailsOnly) -> Piece<Sought> {
        let found = words(&value.text);
        let last_length = found.last().map_or(0, |word| word.folded.chars().count());
        let is_typed = self.is_unfinished()
            && !value.is_quoted
            && last_length >= TYPED_CHARS_MIN
            && value.text.ends_with(char::is_alphanumeric);
        match sequence(found, value.has_star || is_typed) {
            Some((words, is_prefix)) => Piece::Is(Sought::Phrase(Phrase {
                words,
                is_prefix,
                zones,
                emails_only: emails_only == EmailsOnly::Yes,
            })),
            None => wrong(value.position, "There are no letters or digits in this."),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EmailsOnly {
    Yes,
    No,
}

fn fault(position: usize, message: impl Into<String>) -> Fault {
    Fault {
        position,
        message: message.into(),
    }
}

fn has_words(text: &str) -> bool {
    !words(text).is_empty()
}

/// A bare value; "*" stands at its end or nowhere.
fn with_star(text: String, position: usize) -> Piece<Value> {
    let (text, has_star) = match text.strip_suffix('*') {
        Some(front) => (front.to_owned(), true),
        None => (text, false),
    };
    if let Some(index) = text.chars().position(|c| c == '*') {
        let message = "\"*\" stands at the end of a word, for whatever follows.";
        return wrong(position.saturating_add(index), message);
    }
    Piece::Is(Value {
        text,
        position,
        is_quoted: false,
        has_star,
    })
}

/// The words as the index has them one behind the other, and whether the last may go on. A run without spaces that ends
/// the phrase may go on in the text: its pairs say all, and a character alone begins a pair.
fn sequence(mut found: Vec<Word>, is_prefix: bool) -> Option<(Vec<String>, bool)> {
    let run = found.last()?.ends_run_of;
    let is_prefix = match run {
        Some(1) => true,
        Some(_) => {
            found.pop();
            false
        }
        None => is_prefix,
    };
    Some((
        found.into_iter().map(|word| word.folded).collect(),
        is_prefix,
    ))
}

fn is_item_id(text: &str) -> bool {
    ["Lead_", "Deal_", "Contact_"]
        .iter()
        .any(|front| text.starts_with(front))
}

/// The beginning of a day, a month or a year in UTC.
fn beginning(text: &str) -> Option<Time> {
    let mut numbers = text.split(['-', '/', '.']);
    let year = numbers.next().filter(|year| year.len() == 4)?;
    let month = numbers.next().unwrap_or("1");
    let day = numbers.next().unwrap_or("1");
    let is_number = |part: &str| {
        (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if numbers.next().is_some() || ![year, month, day].into_iter().all(is_number) {
        return None;
    }
    Time::parse_rfc3339(&format!("{year}-{month:0>2}-{day:0>2}T00:00:00Z"))
}
