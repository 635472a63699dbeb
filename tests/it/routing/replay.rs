//! Thousands of letters through the real ingest and through the model: the same outcome, the same items, the same
//! responsible, the same turns. `MAILROOM_TEST_LONG=1` replays ten thousand; the seed is printed.

use super::generate::{self, Event, Letter, USERS};
use super::model::{Fate, Model};
use super::office::{Office, Postbox};
use crate::support::app::On;
use mailroom::actions::ingest::Taken;
use mailroom::model::{ItemId, Time, UserId};
use std::collections::HashMap;

/// Both, side by side.
struct Replay {
    office: Office,
    users: Vec<UserId>,
    boxes: Vec<Postbox>,
    model: Model,
    /// The model's cards, as rows.
    rows: Vec<ItemId>,
    now: Time,
}

pub fn is_long() -> bool {
    std::env::var("MAILROOM_TEST_LONG").is_ok_and(|long| long == "1")
}

impl Replay {
    fn new(on: On) -> Self {
        let office = Office::new(on);
        let (users, boxes) = generate::open(&office);
        let model = Model::new(generate::settings(), USERS);
        Self {
            now: office.now(),
            office,
            users,
            boxes,
            model,
            rows: vec![],
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Batch(at, letters) => self.batch(*at, letters),
            Event::Active(user, is_active) => {
                self.model.active[*user] = *is_active;
                let id = self.users[*user].0;
                self.office.write(&format!(
                    "UPDATE users SET is_active = {is_active} WHERE id = {id}"
                ));
            }
            Event::Close(number) => {
                let open = self.numbered(*number, |card| {
                    card.open && card.kind != mailroom::model::item::ItemKind::Contact
                });
                if let Some(card) = open {
                    self.model.cards[card].open = false;
                    self.office.close(self.rows[card]);
                }
            }
            Event::Reassign(number, user) => {
                if let Some(card) = self.numbered(*number, |_| true) {
                    self.model.cards[card].responsible = *user;
                    self.office.write(&format!(
                        "UPDATE items SET responsible_id = {} WHERE id = {}",
                        self.users[*user].0, self.rows[card].0
                    ));
                }
            }
            Event::Contact(number, user) => self.meet(*number, *user),
            Event::Switch(at, follow, integration) => {
                self.model.boxes[*at].follow = *follow;
                self.model.boxes[*at].integration = *integration;
                self.office.write(&format!(
                    "UPDATE mailboxes SET replies_follow_thread = {follow}, crm_integration = {integration} WHERE id = {}",
                    self.boxes[*at].id.0
                ));
            }
        }
    }

    /// The n-th card of these, going round.
    fn numbered(
        &self,
        number: usize,
        is_wanted: impl Fn(&super::model::Card) -> bool,
    ) -> Option<usize> {
        let cards = &self.model.cards;
        let wanted: Vec<usize> = (0..cards.len())
            .filter(|&id| is_wanted(&cards[id]))
            .collect();
        (!wanted.is_empty()).then(|| wanted[number % wanted.len()])
    }

    /// A lead's client becomes a contact with a deal.
    fn meet(&mut self, number: usize, user: usize) {
        use mailroom::model::item::ItemKind::{Contact, Deal, Lead};
        let Some(lead) = self.numbered(number, |card| card.kind == Lead) else {
            return;
        };
        let address = self.model.cards[lead].address.clone();
        // Nobody makes items for whoever has left, but they may have had them before.
        let contact = self.office.contact(&address, self.users[0]);
        let deal = self.office.deal(contact, self.users[0]);
        let first = self.model.cards.len();
        self.model.clock += 1;
        for (kind, contact) in [(Contact, None), (Deal, Some(first))] {
            self.model.cards.push(super::model::Card {
                kind,
                open: true,
                responsible: user,
                extra: false,
                made: self.model.clock,
                newest: self.model.clock,
                address: address.clone(),
                contact,
            });
        }
        // Both at one moment, as the model has them.
        self.now = self.office.now();
        self.office.write(&format!(
            "UPDATE items SET created_at = {at}, last_activity_at = {at}, responsible_id = {} WHERE id IN ({}, {})",
            self.users[user].0,
            contact.0,
            deal.0,
            at = self.now.micros()
        ));
        self.rows.extend([contact, deal]);
    }

    fn batch(&mut self, at: usize, letters: &[Letter]) {
        let postbox = self.boxes[at].clone();
        let mails: Vec<_> = letters
            .iter()
            .map(|letter| (letter.folder(&postbox), letter.raw(), letter.how()))
            .collect();
        self.now = self.office.now();
        let taken = self.office.deliver_all(&postbox, &mails, self.now);
        let fates = self.model.batch(at, letters);
        for ((letter, taken), fate) in letters.iter().zip(&taken).zip(&fates) {
            self.compare(letter, taken, fate.as_ref());
        }
        let turns = self.office.pointer(&postbox);
        let expected = i64::try_from(self.model.boxes[at].turn).unwrap();
        assert_eq!(turns, expected, "whose turn is next in {}", postbox.address);
    }

    fn compare(&mut self, letter: &Letter, taken: &Taken, fate: Option<&Fate>) {
        let Some(fate) = fate else {
            assert!(matches!(taken, Taken::Known(_)), "{taken:?}: {letter:?}");
            return;
        };
        let (Taken::Stored(id, _) | Taken::Known(id)) = taken else {
            panic!("{taken:?}: {letter:?}");
        };
        let kept = self.office.kept(*id);
        let office = &self.office;
        let told = || format!("{letter:?}\n{}\n{kept:?}", office.reason(*id));
        match fate {
            Fate::Kept(outcome) => assert_eq!(kept.outcome, *outcome, "{}", told()),
            Fate::Saved(cards) => {
                assert_eq!(kept.outcome, "SAVED", "{}", told());
                assert_eq!(kept.items.len(), cards.len(), "{}", told());
                for (card, item) in cards.iter().zip(in_order(&self.rows, &kept.items, cards)) {
                    if *card == self.rows.len() {
                        self.rows.push(item);
                    }
                    let card_of = &self.model.cards[*card];
                    assert_eq!(self.rows[*card], item, "{card_of:?}\n{}", told());
                }
                let card = &self.model.cards[cards[0]];
                assert_eq!(kept.responsible, Some(self.users[card.responsible]));
                let item = office.get(kept.items[0]);
                assert_eq!((item.kind, item.is_extra_lead), (card.kind, card.extra));
            }
        }
    }
}

/// The primary item first; of the others, links say no order, so they stand as the model has them where they are known,
/// and new ones in the order of their rows.
fn in_order(rows: &[ItemId], items: &[ItemId], cards: &[usize]) -> Vec<ItemId> {
    let mut rest: Vec<ItemId> = items[1..].to_vec();
    let mut ordered = vec![items[0]];
    for card in &cards[1..] {
        let known = rows.get(*card).copied();
        let place = known.map_or(0, |known| {
            rest.iter().position(|item| *item == known).unwrap_or(0)
        });
        ordered.push(rest.remove(place));
    }
    ordered
}

fn replay(on: On, seed: u64, letters: usize) {
    println!("seed {seed}, {letters} letters");
    let mut replay = Replay::new(on);
    let begun = std::time::Instant::now();
    for event in generate::events(seed, letters) {
        replay.happens(&event);
    }
    let mut outcomes: HashMap<String, usize> = HashMap::new();
    for outcome in replay.office.rows::<String>("SELECT outcome FROM emails") {
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!(
        "{:?}, {} items: {outcomes:?}",
        begun.elapsed(),
        replay.rows.len()
    );
    if letters < 800 {
        return;
    }
    // The letters were of every kind.
    for outcome in [
        "SAVED",
        "INTERNAL",
        "SPAM_FOLDER",
        "TRASH_FOLDER",
        "INTEGRATION_OFF",
        "TOO_OLD",
        "EXCLUDED",
        "AUTOMATIC",
        "NOTHING_TO_CREATE",
        "RATE_GUARD",
    ] {
        assert!(
            outcomes.contains_key(outcome),
            "no {outcome} among {outcomes:?}"
        );
    }
}

#[test]
fn r15_the_rules_decide_as_the_model_does_on_sqlite() {
    replay(
        On::Sqlite,
        20_261_124,
        if is_long() { 10_000 } else { 2_500 },
    );
}

#[test]
fn r15_the_rules_decide_as_the_model_does_on_postgresql() {
    replay(On::Postgresql, 42, if is_long() { 1_500 } else { 800 });
}

#[test]
fn r15_the_rules_decide_as_the_model_does_under_any_seed() {
    let seeds = if is_long() { 10 } else { 1 };
    for _ in 0..seeds {
        replay(On::Sqlite, rand::random(), 500);
    }
}
