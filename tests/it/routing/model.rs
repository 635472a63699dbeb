//! Routing once more, told plainly, without any code of Mailroom's rules: as a clerk with a card index would do it.

use super::generate::{EXCLUDED, Letter, Lies, SENDER_LIMIT, Setting};
use mailroom::model::item::ItemKind::{self, Contact, Deal, Lead};
use mailroom::model::mailbox::{CreatedItem, ExistingClientRouting as Mode};
use std::collections::{BTreeMap, BTreeSet};

/// A card of the index. `address`: of leads and contacts; `contact`: of deals.
#[derive(Debug, Clone)]
pub struct Card {
    pub kind: ItemKind, pub open: bool, pub responsible: usize, pub extra: bool,
    pub made: usize, pub newest: usize, pub address: String, pub contact: Option<usize>,
}

/// What becomes of a letter: kept unsaved, or on these cards, the first being the primary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate { Kept(&'static str), Saved(Vec<usize>) }

/// A message that has come. `names`: those that it answers, and whether by In-Reply-To; `on`: the cards of its copies.
#[derive(Debug, Clone)]
struct Message {
    from: String, subject: String, ours: bool,
    thread: usize, names: Vec<(usize, bool)>, on: Vec<usize>,
}

/// A mailbox: `has` says of each letter whether it is held back as spam or in Trash.
pub struct Mailbox {
    pub setting: Setting, pub follow: bool, pub integration: bool, pub turn: usize,
    counts: BTreeMap<(String, i64), i64>, has: BTreeMap<usize, bool>,
}

pub struct Model {
    pub cards: Vec<Card>, pub active: Vec<bool>, pub boxes: Vec<Mailbox>, pub clock: usize,
    messages: BTreeMap<usize, Message>, threads: BTreeMap<usize, BTreeSet<String>>,
}

impl Model {
    pub fn new(settings: Vec<Setting>, users: usize) -> Self {
        let mailbox = |setting| Mailbox { setting, follow: true, integration: true, turn: 0, counts: BTreeMap::new(), has: BTreeMap::new() };
        Self { cards: vec![], active: vec![true; users], boxes: settings.into_iter().map(mailbox).collect(), messages: BTreeMap::new(), threads: BTreeMap::new(), clock: 0 }
    }

    /// Letters that come at once come one after the other.
    pub fn batch(&mut self, mailbox: usize, letters: &[Letter]) -> Vec<Option<Fate>> {
        letters.iter().map(|letter| self.letter(mailbox, letter)).collect()
    }

    fn is_ours(&self, address: &str) -> bool {
        let user = (1..self.active.len()).any(|user| self.active[user] && address == format!("u{user}@us.example"));
        user || self.boxes.iter().any(|other| other.setting.address == address)
    }

    /// `None`: the mailbox has it already.
    fn letter(&mut self, at: usize, letter: &Letter) -> Option<Fate> {
        self.clock += 1;
        if let Some(held) = self.boxes[at].has.get(&letter.id).copied() {
            // Out of spam or Trash it is judged again.
            if !held || matches!(letter.lies, Lies::Spam | Lies::Trash) {
                return None;
            }
        }
        let own = letter.from == self.boxes[at].setting.address && !letter.is_forged;
        let ours = letter.lies == Lies::Sent || (own && !letter.is_received);
        let from = (!letter.is_forged).then(|| letter.from.clone());
        let parent = self.parent(letter, from.as_deref(), ours);
        let thread = parent.map(|(thread, _)| thread);
        let is_new = !self.messages.contains_key(&letter.id);
        let mut people: BTreeSet<String> = letter.to.iter().cloned().collect();
        people.insert(letter.from.clone());
        if letter.is_forged {
            people.insert("boss@elsewhere.example".into());
        }
        if is_new {
            let message = Message {
                from: letter.from.clone(),
                subject: base(&letter.subject),
                ours,
                thread: thread.unwrap_or(letter.id),
                names: letter.references.iter().map(|id| (*id, false)).chain(letter.replies_to.map(|id| (id, true))).collect(),
                on: vec![],
            };
            self.threads.entry(message.thread).or_default().extend(people);
            self.messages.insert(letter.id, message);
        } else if ours {
            self.messages.get_mut(&letter.id).unwrap().ours = true;
        }
        let answers = parent.map(|(_, parent)| self.messages[&parent].on.clone()).filter(|on| !on.is_empty());
        let fate = self.judge(at, letter, (from.clone(), ours), answers);
        let held = matches!(&fate, Fate::Kept("SPAM_FOLDER" | "TRASH_FOLDER"));
        self.boxes[at].has.insert(letter.id, held);
        if let Fate::Saved(on) = &fate {
            let message = self.messages.get_mut(&letter.id).unwrap();
            let new: Vec<usize> = on.iter().copied().filter(|card| !message.on.contains(card)).collect();
            message.on.extend(new.iter().copied());
            // One entry a message on each card: a further copy is no news.
            for card in new {
                self.cards[card].newest = self.clock;
            }
        }
        if is_new {
            self.gather(letter.id, from, ours);
        }
        Some(fate)
    }

    /// The thread that it joins and the message that it answers: of that thread the nearest that is saved.
    fn parent(&self, letter: &Letter, from: Option<&str>, ours: bool) -> Option<(usize, usize)> {
        let takes_part = |id: &usize| {
            let message = self.messages.get(id)?;
            let part = ours || from.is_some_and(|from| self.threads[&message.thread].contains(from));
            part.then_some((message.thread, *id))
        };
        let same_subject = |(_, id): &(usize, usize)| self.messages[id].subject == base(&letter.subject);
        let answered = letter.replies_to.iter().filter_map(takes_part);
        let referenced = letter.references.iter().rev().filter_map(takes_part).filter(same_subject);
        let named: Vec<(usize, usize)> = answered.chain(referenced).collect();
        let nearest = *named.first()?;
        let saved = named.iter().find(|(thread, id)| *thread == nearest.0 && !self.messages[id].on.is_empty());
        Some(*saved.unwrap_or(&nearest))
    }

    /// A letter that others had named before it came: their threads become its own.
    fn gather(&mut self, id: usize, from: Option<String>, ours: bool) {
        let arrived = self.messages[&id].clone();
        let mut moved = BTreeSet::new();
        for child in self.messages.values() {
            let replies = child.names.contains(&(id, true));
            let refers = child.names.contains(&(id, false)) && child.subject == arrived.subject;
            if (replies || refers) && child.thread != arrived.thread {
                let theirs = child.ours || self.threads[&arrived.thread].contains(&child.from);
                let part = ours || from.as_ref().is_some_and(|from| self.threads[&child.thread].contains(from));
                if theirs && part {
                    moved.insert(child.thread);
                }
            }
        }
        for message in self.messages.values_mut().filter(|message| moved.contains(&message.thread)) {
            message.thread = arrived.thread;
        }
        for thread in moved {
            let people = self.threads.remove(&thread).unwrap();
            self.threads.get_mut(&arrived.thread).unwrap().extend(people);
        }
    }

    fn judge(&mut self, at: usize, letter: &Letter, (from, ours): (Option<String>, bool), answers: Option<Vec<usize>>) -> Fate {
        let (setting, integration) = (self.boxes[at].setting.clone(), self.boxes[at].integration);
        let count = from.clone().map_or(0, |from| {
            let count = self.boxes[at].counts.entry((from, letter.hour)).or_default();
            *count += 1;
            *count - 1
        });
        let excluded = |address: &String| address.ends_with(EXCLUDED);
        let parties: Vec<String> = if ours { letter.to.clone() } else { from.clone().into_iter().collect() };
        if !parties.is_empty() && parties.iter().all(|party| self.is_ours(party)) {
            return Fate::Kept("INTERNAL");
        }
        match letter.lies {
            Lies::Trash => return Fate::Kept("TRASH_FOLDER"),
            Lies::Spam => return Fate::Kept("SPAM_FOLDER"),
            Lies::Inbox | Lies::Sent => {}
        }
        if !integration {
            return Fate::Kept("INTEGRATION_OFF");
        }
        if letter.is_backfill && setting.save_since_hour.is_some_and(|hour| letter.hour < hour) {
            return Fate::Kept("TOO_OLD");
        }
        let clients: Vec<&String> = parties.iter().filter(|party| !self.is_ours(party)).collect();
        let wanted = clients.iter().find(|client| !excluded(client)).or(clients.first());
        let Some(client) = wanted.map(|client| (*client).clone()) else {
            return Fate::Kept("NOTHING_TO_CREATE");
        };
        if excluded(&client) && answers.is_none() {
            return Fate::Kept("EXCLUDED");
        }
        if !ours && count >= SENDER_LIMIT {
            return Fate::Kept("RATE_GUARD");
        }
        let copies = self.messages[&letter.id].on.clone();
        if copies.is_empty() { self.route(at, letter, &client, ours, answers) } else { Fate::Saved(copies) }
    }

    fn of_client(&self, kind: ItemKind, client: &str) -> Vec<usize> {
        let has = |card: &Card| match card.kind {
            Deal => card.contact.is_some_and(|contact| self.cards[contact].address == client),
            Lead | Contact => card.address == client,
        };
        (0..self.cards.len()).filter(|&id| self.cards[id].kind == kind && has(&self.cards[id])).collect()
    }

    fn liveliest(&self, cards: &[usize], kind: ItemKind) -> Option<usize> {
        let open = cards.iter().copied().filter(|&id| self.cards[id].open && self.cards[id].kind == kind);
        open.max_by_key(|&id| (self.cards[id].newest, self.cards[id].made, id))
    }

    fn route(&mut self, at: usize, letter: &Letter, client: &str, ours: bool, answers: Option<Vec<usize>>) -> Fate {
        let setting = self.boxes[at].setting.clone();
        let (contacts, leads, deals) = (self.of_client(Contact, client), self.of_client(Lead, client), self.of_client(Deal, client));
        let excluded = client.ends_with(EXCLUDED);
        let creates = if ours { setting.outgoing } else { setting.incoming };
        if client.ends_with(setting.always_new) && !ours && letter.automatic.is_none() {
            return self.make(at, letter, client, CreatedItem::Lead, false);
        }
        let join = |card: usize| {
            let through = self.cards[card].contact.filter(|contact| contacts.contains(contact));
            let contact = through.or(contacts.first().copied()).filter(|&contact| contact != card);
            Fate::Saved([Some(card), contact].into_iter().flatten().collect())
        };
        if let Some(on) = answers.as_ref().filter(|_| self.boxes[at].follow) {
            let alone = on.iter().all(|&card| self.cards[card].kind == Contact);
            let contact = self.liveliest(on, Contact).filter(|_| alone);
            if let Some(card) = self.liveliest(on, Deal).or(self.liveliest(on, Lead)).or(contact) {
                return join(card);
            }
        }
        let oldest_lead = leads.iter().find(|&&lead| !self.cards[lead].extra);
        let answerable = contacts.first().or(oldest_lead).map(|&card| self.cards[card].responsible);
        let is_known = !contacts.is_empty() || !leads.is_empty();
        let in_queue = answerable.is_some_and(|user| self.active[user] && setting.queue.contains(&user));
        if is_known && !ours {
            match setting.mode {
                Mode::AttachAlways => {}
                Mode::AttachIfResponsibleInQueue if in_queue => {}
                Mode::AttachIfResponsibleInQueue if answerable.is_none() => {
                    return self.make_unless(excluded, at, letter, client, creates, false);
                }
                Mode::AttachIfResponsibleInQueue => {
                    let lead = if creates == CreatedItem::Nothing { creates } else { CreatedItem::Lead };
                    return self.make_unless(excluded, at, letter, client, lead, true);
                }
                Mode::AlwaysNew => {
                    let second = creates == CreatedItem::Contact && !contacts.is_empty();
                    let other = if second { CreatedItem::Lead } else { creates };
                    return self.make_unless(excluded, at, letter, client, other, true);
                }
            }
        }
        match self.liveliest(&deals, Deal).or(self.liveliest(&leads, Lead)).or(contacts.first().copied()) {
            Some(card) => join(card),
            None => self.make_unless(excluded, at, letter, client, creates, false),
        }
    }

    fn make_unless(&mut self, excluded: bool, at: usize, letter: &Letter, client: &str, what: CreatedItem, extra: bool) -> Fate {
        if excluded && letter.automatic.is_none() {
            return Fate::Kept("EXCLUDED");
        }
        self.make(at, letter, client, what, extra)
    }

    fn make(&mut self, at: usize, letter: &Letter, client: &str, what: CreatedItem, extra: bool) -> Fate {
        if letter.automatic.is_some() {
            return Fate::Kept("AUTOMATIC");
        }
        let contact = self.of_client(Contact, client).first().copied();
        let kinds: &[ItemKind] = match what {
            CreatedItem::Nothing => return Fate::Kept("NOTHING_TO_CREATE"),
            CreatedItem::Lead => &[Lead],
            CreatedItem::Contact => &[Contact],
            CreatedItem::Deal if contact.is_some() => &[Deal],
            CreatedItem::Deal => &[Deal, Contact],
        };
        let responsible = self.next(at);
        let first = self.cards.len();
        for kind in kinds {
            self.cards.push(Card {
                kind: *kind,
                open: true,
                responsible,
                extra: extra && *kind == Lead,
                made: self.clock,
                newest: self.clock,
                address: client.to_owned(),
                contact: (*kind == Deal).then(|| contact.unwrap_or(first + 1)),
            });
        }
        Fate::Saved((first..self.cards.len()).chain(contact).collect())
    }

    /// The next who is there; else the connector, else the administrator, and then nobody has had a turn.
    fn next(&mut self, at: usize) -> usize {
        let queue = self.boxes[at].setting.queue.clone();
        for step in 0..queue.len() {
            let place = (self.boxes[at].turn + step) % queue.len();
            if self.active[queue[place]] {
                self.boxes[at].turn = (place + 1) % queue.len();
                return queue[place];
            }
        }
        let connector = self.boxes[at].setting.connector;
        if self.active[connector] { connector } else { 0 }
    }
}

/// What a subject is about; these letters say "Re" and "AW" only.
fn base(subject: &str) -> String {
    subject.replace("Re: ", "").replace("AW: ", "").to_lowercase()
}
