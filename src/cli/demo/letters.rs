//! Writes the demo's mail: some hundred mails of the past three weeks, and then one after the other without end.
//! Equal seeds write equal mails, byte for byte. What each mail must become is said with it.
//! Not for: delivering them (`post`).

pub mod charset;
pub mod compose;
pub mod conversation;
pub mod files;
pub mod phrases;
pub mod special;

use super::clients::STRANGERS;
use super::company::Company;
use super::dice::Dice;
use crate::model::Time;
use crate::model::email::EmailOutcome;
use conversation::{Conversation, Correspondent};
use phrases::Desk;

/// How far back the history goes.
const HISTORY_SECONDS: i64 = 21 * 24 * 3600;

/// The history ends so long before now, since clocks differ a little.
const HISTORY_ENDS_SECONDS: i64 = 120;

/// Strangers who have written already when the demo starts; the others come while it runs.
const STRANGERS_IN_HISTORY: usize = 24;

/// Every so many strangers one writes to the mailbox that makes nothing for strangers.
const STRANGER_TO_INFO_EVERY: usize = 6;

/// What sort of mail it is, for counting and colouring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// From a client who is known.
    Client,
    /// From somebody who never wrote before.
    Stranger,
    /// Ours, in Sent.
    Answer,
    Newsletter,
    Bounce,
    OutOfOffice,
    Invitation,
    Spam,
    Colleague,
    /// From the sender whom the company excludes.
    Supplier,
}

/// What a mail may become: any of these outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    pub outcomes: &'static [EmailOutcome],
}

/// A mail with where it goes.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The address of the mailbox that it is for.
    pub to_mailbox: String,
    /// The folder it goes to; `None`: the Inbox.
    pub folder: Option<&'static str>,
    /// The envelope's sender; empty for bounces.
    pub from: String,
    pub raw: Vec<u8>,
    /// Without angle brackets.
    pub message_id: String,
    pub subject: String,
    pub date: Time,
    pub kind: Kind,
    pub expectation: Option<Expectation>,
}

/// Draws and numbers, shared by all that write.
#[derive(Debug, Clone)]
pub struct Pen {
    pub dice: Dice,
    number: u32,
}

impl Pen {
    /// Starts at number 1.
    pub const fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            number: 0,
        }
    }

    /// A Message-ID that never comes twice, without angle brackets.
    pub fn message_id(&mut self, domain: &str) -> String {
        self.number += 1;
        format!("{:05}.{:016x}@{domain}", self.number, self.dice.bits())
    }
}

/// The mail that goes on while the demo runs.
#[derive(Debug, Clone)]
pub struct Live {
    pen: Pen,
    company: Company,
    open: Vec<Conversation>,
    strangers_seen: usize,
}

/// Writes the past three weeks before `now`, oldest first, and returns what carries on from there.
pub fn correspondence(company: &Company, seed: u64, now: Time) -> (Vec<Letter>, Live) {
    let mut pen = Pen::new(seed);
    let mut letters = Vec::new();
    let mut open = Vec::new();
    for mut conversation in past_conversations(company, &mut pen) {
        let day = i64::from(pen.dice.between(3600, 20 * 24 * 3600));
        let mut at = now.plus_seconds(day - HISTORY_SECONDS);
        let turns = pen.dice.between(1, 4);
        for _ in 0..turns {
            if conversation.is_over() || at > now.plus_seconds(-HISTORY_ENDS_SECONDS) {
                break;
            }
            letters.extend(conversation.next(&mut pen, at));
            at = at.plus_seconds(i64::from(pen.dice.between(1200, 26 * 3600)));
        }
        if !conversation.is_over() {
            open.push(conversation);
        }
    }
    for number in 0..60 {
        let at = now.plus_seconds(i64::from(pen.dice.between(0, 20 * 24 * 3600)) - HISTORY_SECONDS);
        letters.extend(past_special(number, &mut pen, company, at));
    }
    letters.sort_by_key(|letter| letter.date);
    (
        letters,
        Live {
            pen,
            company: company.clone(),
            open,
            strangers_seen: STRANGERS_IN_HISTORY,
        },
    )
}

/// One or two with each contact, one with most leads, one with the strangers of the past.
fn past_conversations(company: &Company, pen: &mut Pen) -> Vec<Conversation> {
    let mut conversations = Vec::new();
    for client in &company.contacts {
        let desk = if pen.dice.chance(65) {
            Desk::Sales
        } else {
            Desk::Service
        };
        conversations.extend(Conversation::begin(
            pen,
            company,
            Correspondent::from(client),
            desk,
        ));
        if pen.dice.chance(45) {
            conversations.extend(Conversation::begin(
                pen,
                company,
                Correspondent::from(client),
                Desk::Service,
            ));
        }
    }
    for lead in company.leads.iter().take(14) {
        conversations.extend(Conversation::begin(
            pen,
            company,
            Correspondent::from(lead),
            Desk::Sales,
        ));
    }
    for place in 0..STRANGERS_IN_HISTORY {
        conversations.extend(stranger(pen, company, place));
    }
    conversations
}

/// The conversation that a stranger begins.
fn stranger(pen: &mut Pen, company: &Company, place: usize) -> Option<Conversation> {
    let (name, address, language) = *STRANGERS.get(place)?;
    let person = Correspondent::stranger(name, address, language);
    let mut conversation = Conversation::begin(pen, company, person, Desk::Sales)?;
    if place % STRANGER_TO_INFO_EVERY == STRANGER_TO_INFO_EVERY - 1 {
        conversation.to_info();
    }
    Some(conversation)
}

/// The sixty mails of the past that are no conversation.
fn past_special(number: u32, pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    match number % 20 {
        0..=4 => special::newsletter(pen, company, at),
        5 => special::bounce(pen, company, at),
        6..=7 => special::out_of_office(pen, company, at),
        8..=9 => special::invitation(pen, company, at),
        10..=13 => special::spam(pen, company, at),
        14..=15 => special::colleague(pen, company, at),
        16 => special::note_to_colleague(pen, company, at),
        17 => special::to_two_mailboxes(pen, company, at),
        _ => special::supplier(pen, company, at),
    }
}

impl Live {
    /// The next mail, dated `at`; two letters where one mail goes to two mailboxes.
    pub fn next(&mut self, at: Time) -> Vec<Letter> {
        let draw = self.pen.dice.below(100);
        let letters = match draw {
            0..=44 => self.go_on(at),
            45..=69 => self.new_from_contact(at),
            70..=79 => self.new_from_stranger(at),
            80..=83 => special::newsletter(&mut self.pen, &self.company, at),
            84..=86 => special::colleague(&mut self.pen, &self.company, at),
            87..=89 => special::out_of_office(&mut self.pen, &self.company, at),
            90..=92 => special::spam(&mut self.pen, &self.company, at),
            93..=94 => special::supplier(&mut self.pen, &self.company, at),
            95..=96 => special::invitation(&mut self.pen, &self.company, at),
            97..=98 => special::to_two_mailboxes(&mut self.pen, &self.company, at),
            _ => special::bounce(&mut self.pen, &self.company, at),
        };
        if letters.is_empty() {
            self.new_from_contact(at)
        } else {
            letters
        }
    }

    /// Somebody answers in a conversation that is under way.
    fn go_on(&mut self, at: Time) -> Vec<Letter> {
        let Some(place) = self.pen.dice.place(self.open.len()) else {
            return Vec::new();
        };
        let mut conversation = self.open.swap_remove(place);
        let letters = conversation.next(&mut self.pen, at);
        if !conversation.is_over() {
            self.open.push(conversation);
        }
        letters
    }

    fn new_from_contact(&mut self, at: Time) -> Vec<Letter> {
        let Some(client) = self.pen.dice.pick(&self.company.contacts) else {
            return Vec::new();
        };
        let person = Correspondent::from(client);
        let desk = if self.pen.dice.chance(60) {
            Desk::Sales
        } else {
            Desk::Service
        };
        let begun = Conversation::begin(&mut self.pen, &self.company, person, desk);
        self.first_of(begun, at)
    }

    fn new_from_stranger(&mut self, at: Time) -> Vec<Letter> {
        let begun = stranger(&mut self.pen, &self.company, self.strangers_seen);
        self.strangers_seen += 1;
        self.first_of(begun, at)
    }

    fn first_of(&mut self, begun: Option<Conversation>, at: Time) -> Vec<Letter> {
        let Some(mut conversation) = begun else {
            return Vec::new();
        };
        let letters = conversation.next(&mut self.pen, at);
        if !conversation.is_over() {
            self.open.push(conversation);
        }
        letters
    }
}

#[cfg(test)]
#[path = "letters/tests.rs"]
mod tests;
