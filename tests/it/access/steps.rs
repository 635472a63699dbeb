//! What people do, one step after another, through GraphQL and in the model alike: whether it is allowed, and what is
//! there after it. Ids and positions that the product gives out are taken over; everything else is foretold.

use super::house::{House, STAGES, action_word, level_word, type_name, word};
use super::model::{About, Action, Change, Conversion, Entry, Id, Item, Kind, Level, Role, World};
use super::worlds::{ACTIONS, KINDS, LEVELS, Seeds};
use crate::support::app::On;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// A step before it is resolved: what, by whom, and three choices.
pub type Seed = (u16, u16, u16, u16, u16);

pub type Verdict = Result<(), &'static str>;

/// An installation, and the model of what is in it.
pub struct State {
    pub house: House,
    pub world: World,
    completed: BTreeMap<Id, bool>,
    last_entry: Id,
    steps: u64,
}

/// What a step did: which mutation, what was expected of it.
struct Done {
    what: String,
    answer: Json,
    wanted: Verdict,
    /// Entries that must be new, in any order.
    entries: Vec<(Id, About)>,
}

impl State {
    pub fn open(on: On, seeds: &Seeds) -> Self {
        let world = seeds.world();
        let house = House::with(on, &world);
        let completed = world
            .activities
            .keys()
            .map(|id| (*id, id % 3 == 0))
            .collect();
        Self {
            house,
            world,
            completed,
            last_entry: super::house::LAST_POSITION,
            steps: 0,
        }
    }

    fn administrator(&self) -> Id {
        *self
            .world
            .users
            .iter()
            .find(|(_, user)| user.is_administrator)
            .unwrap()
            .0
    }

    fn pick(of: impl Iterator<Item = Id>, by: u16) -> Option<Id> {
        let all: Vec<Id> = of.collect();
        all.get(usize::from(by).checked_rem(all.len())?).copied()
    }

    fn user(&self, by: u16) -> Id {
        Self::pick(self.world.users.keys().copied(), by).unwrap()
    }

    fn any_item(&self, by: u16) -> Id {
        Self::pick(self.world.items.keys().copied(), by).unwrap()
    }

    fn item_of(&self, kind: Kind, by: u16) -> Option<Id> {
        Self::pick(
            self.world
                .items
                .iter()
                .filter(|(_, item)| item.kind == kind)
                .map(|(id, _)| *id),
            by,
        )
    }

    fn item_id(&self, item: Id) -> String {
        self.house.id(type_name(self.world.items[&item].kind), item)
    }

    async fn run(&self, user: Id, mutation: &str, input: Json) -> Json {
        let mut input_type = mutation.to_owned();
        input_type[..1].make_ascii_uppercase();
        let query = format!(
            "mutation($input: {input_type}Input!) {{ answer: {mutation}(input: $input) {{ userErrors {{ code message field }} }} }}"
        );
        self.house
            .ask(user, &query, json!({ "input": input }))
            .await
    }

    /// What is refused about an item: not found where it is hidden, else forbidden where the right is missing.
    fn on(&self, user: Id, action: Action, item: Id) -> Verdict {
        if !self.world.reads(user, item) {
            Err("NOT_FOUND")
        } else if self.world.can(user, action, item) {
            Ok(())
        } else {
            Err("FORBIDDEN")
        }
    }

    /// Does a step, here and there; fails where the two disagree. Whether it was allowed.
    pub async fn step(&mut self, seed: Seed) -> Result<bool, String> {
        let (what, actor, a, b, c) = seed;
        let actor = self.user(actor);
        self.steps += 1;
        let done = match what % 16 {
            0 => self.note(actor, a).await,
            1 | 2 => self.hand_over(actor, (a, b)).await,
            3 => self.move_stage(actor, (a, b)).await,
            4 => self.open_to_everyone(actor, a).await,
            5 => self.link(actor, (a, b)).await,
            6 => self.unlink(actor, (a, b)).await,
            7 => self.relink(actor, (a, b, c)).await,
            8 => self.undo(actor, a).await,
            9 => self.save(actor, (a, b)).await,
            10 => self.convert(actor, (a, b, c)).await,
            11 => self.complete_or_reopen(actor, a).await,
            12 => self.create(actor, (a, b, c)).await,
            13 => self.change_role(actor, (a, b, c)).await,
            14 => self.assign_roles(actor, (a, b, c)).await,
            _ => self.move_user(actor, (a, b)).await,
        };
        let Some(done) = done else { return Ok(false) };
        self.check(done)
    }

    /// Compares the answer, takes over new positions, and compares the new entries.
    fn check(&mut self, done: Done) -> Result<bool, String> {
        let what = format!("step {}, {}", self.steps, done.what);
        let errors = &done.answer["data"]["answer"]["userErrors"];
        let Some(errors) = errors.as_array() else {
            return Err(format!("{what}: {}", done.answer));
        };
        let found = errors
            .first()
            .map_or(Ok(()), |error| Err(error["code"].as_str().unwrap_or("?")));
        if found != done.wanted {
            return Err(format!("{what}: found {found:?}, wanted {:?}", done.wanted));
        }
        let new = self.take_over_entries();
        let mut foretold = done.entries;
        let mut unexpected = Vec::new();
        for entry in new {
            match foretold.iter().position(|told| *told == entry) {
                Some(place) => drop(foretold.remove(place)),
                None => unexpected.push(entry),
            }
        }
        if !foretold.is_empty() || !unexpected.is_empty() {
            return Err(format!(
                "{what}: entries not told {foretold:?}, not foretold {unexpected:?}"
            ));
        }
        self.links_are_the_same(&what)?;
        Ok(found.is_ok())
    }

    /// Entries since the last look, put into the model.
    fn take_over_entries(&mut self) -> Vec<(Id, About)> {
        type Row = (Id, Id, String, Option<Id>, Option<Id>);
        let rows: Vec<Row> = self.house.rows(&format!(
            "SELECT position, item_id, kind, email_id, other_item_id FROM timeline_entries WHERE position > {} ORDER BY position",
            self.last_entry
        ));
        let mut new = Vec::new();
        for (position, item, kind, email, other) in rows {
            let about = match (kind.as_str(), email) {
                ("EMAIL_RECEIVED" | "EMAIL_SENT", Some(email)) => About::Email(email),
                ("EMAIL_LINKED" | "EMAIL_UNLINKED", Some(email)) => About::Link(email, other),
                ("ACTIVITY_COMPLETED" | "ACTIVITY_REOPENED", Some(email)) => About::Activity(email),
                _ => About::Item,
            };
            self.last_entry = position;
            self.world.entries.insert(position, Entry { item, about });
            new.push((item, about));
        }
        new
    }

    /// The links in the database are the model's. Which of several becomes primary, and the lines of histories, are taken over.
    fn links_are_the_same(&mut self, what: &str) -> Result<(), String> {
        let rows: Vec<(Id, Id, bool)> = self
            .house
            .rows("SELECT email_id, item_id, is_primary FROM email_links");
        let mut links: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
        let mut primary: BTreeMap<Id, Id> = BTreeMap::new();
        for (email, item, is_primary) in rows {
            links.entry(email).or_default().insert(item);
            if is_primary && primary.insert(email, item).is_some() {
                return Err(format!("{what}: email {email} has two primary links"));
            }
        }
        for (id, email) in &mut self.world.emails {
            let found = links.remove(id).unwrap_or_default();
            if found != email.links {
                return Err(format!(
                    "{what}: email {id} hangs on {found:?}, wanted {:?}",
                    email.links
                ));
            }
            email.primary = primary.get(id).copied();
            if email.primary.is_none() && !found.is_empty() {
                return Err(format!("{what}: email {id} has no primary link"));
            }
        }
        let known = self.world.changes.keys().max().copied().unwrap_or_default();
        let rows: Vec<(Id, Id, Option<Id>, Option<Id>)> = self
            .house
            .rows("SELECT id, email_id, from_item_id, to_item_id FROM link_changes");
        for (id, email, from, to) in rows {
            self.world
                .changes
                .entry(id)
                .or_insert(Change { email, from, to });
        }
        let _ = known;
        Ok(())
    }

    async fn note(&mut self, actor: Id, a: u16) -> Option<Done> {
        let item = self.any_item(a);
        let wanted = self.on(actor, Action::Update, item);
        let text = format!("Note {}", self.steps);
        let answer = self
            .run(
                actor,
                "addNote",
                json!({ "itemId": self.item_id(item), "text": text }),
            )
            .await;
        let entries = if wanted.is_ok() {
            vec![(item, About::Item)]
        } else {
            vec![]
        };
        Some(Done {
            what: format!("{actor} notes on {item}"),
            answer,
            wanted,
            entries,
        })
    }

    fn update(&self, item: Id) -> (&'static str, &'static str) {
        [
            ("updateLead", "leadId"),
            ("updateDeal", "dealId"),
            ("updateContact", "contactId"),
        ][self.world.items[&item].kind as usize]
    }

    async fn hand_over(&mut self, actor: Id, (a, b): (u16, u16)) -> Option<Done> {
        let (item, to) = (self.any_item(a), self.user(b));
        let (mutation, field) = self.update(item);
        let wanted = self.on(actor, Action::Update, item);
        let input =
            json!({ field: self.item_id(item), "responsibleId": self.house.id("User", to) });
        let answer = self.run(actor, mutation, input).await;
        let mut entries = vec![];
        let row = self.world.items.get_mut(&item).unwrap();
        if wanted.is_ok() && row.responsible != to {
            row.responsible = to;
            entries.push((item, About::Item));
        }
        Some(Done {
            what: format!("{actor} hands {item} to {to}"),
            answer,
            wanted,
            entries,
        })
    }

    async fn open_to_everyone(&mut self, actor: Id, a: u16) -> Option<Done> {
        let item = self.any_item(a);
        let (mutation, field) = self.update(item);
        let open = !self.world.items[&item].open;
        let wanted = self.on(actor, Action::Update, item);
        let answer = self
            .run(
                actor,
                mutation,
                json!({ field: self.item_id(item), "openToEveryone": open }),
            )
            .await;
        if wanted.is_ok() {
            self.world.items.get_mut(&item).unwrap().open = open;
        }
        Some(Done {
            what: format!("{actor} opens {item}: {open}"),
            answer,
            wanted,
            entries: vec![],
        })
    }

    async fn move_stage(&mut self, actor: Id, (a, b): (u16, u16)) -> Option<Done> {
        let item = self.any_item(a);
        let row = self.world.items[&item].clone();
        let stages = STAGES
            .iter()
            .filter(|(_, kind, _)| *kind == row.kind)
            .map(|(id, _, _)| *id);
        let stage = Self::pick(stages, b)?;
        let there = Item {
            stage: Some(stage),
            ..row.clone()
        };
        let stays = row.stage == Some(stage);
        let wanted = self.on(actor, Action::Update, item).and_then(|()| {
            let refusals = [
                (
                    self.world.conversions.contains_key(&item),
                    "ALREADY_CONVERTED",
                ),
                (stage == 3, "BAD_INPUT"),
                (!self.world.may(actor, Action::Update, &there), "FORBIDDEN"),
            ];
            let refused = refusals.into_iter().find(|(holds, _)| *holds && !stays);
            refused.map_or(Ok(()), |(_, code)| Err(code))
        });
        let (mutation, field) = self.update(item);
        let input = json!({ field: self.item_id(item), "stageId": self.house.id("Stage", stage) });
        let answer = self.run(actor, mutation, input).await;
        let mut entries = vec![];
        if wanted.is_ok() && !stays {
            self.world.items.insert(item, there);
            entries.push((item, About::Item));
        }
        Some(Done {
            what: format!("{actor} moves {item} to stage {stage}"),
            answer,
            wanted,
            entries,
        })
    }

    fn any_email(&self, a: u16) -> Id {
        Self::pick(self.world.emails.keys().copied(), a).unwrap()
    }

    /// Mostly an item that the email hangs on.
    fn item_near(&self, email: Id, b: u16) -> Id {
        let linked = Self::pick(self.world.emails[&email].links.iter().copied(), b);
        linked
            .filter(|_| b % 5 != 0)
            .unwrap_or_else(|| self.any_item(b))
    }

    /// Links of the model after a change that was allowed; the entries that tell of it.
    fn change_links(
        &mut self,
        email: Id,
        (from, to): (Option<Id>, Option<Id>),
    ) -> Vec<(Id, About)> {
        let row = self.world.emails.get_mut(&email).unwrap();
        let mut entries = Vec::new();
        if let Some(from) = from {
            row.links.remove(&from);
            entries.push((from, About::Link(email, to)));
        }
        if let Some(to) = to {
            row.links.insert(to);
            entries.push((to, About::Link(email, from)));
        }
        entries
    }

    async fn links(
        &mut self,
        actor: Id,
        mutation: &str,
        email: Id,
        ends: (Option<Id>, Option<Id>),
    ) -> Option<Done> {
        let wanted = self.world.change_links(actor, email, ends);
        let mut input = json!({ "emailId": self.house.id("Email", email) });
        for (field, end) in [("fromItemId", ends.0), ("toItemId", ends.1)] {
            if let Some(item) = end {
                input[field] = json!(self.item_id(item));
            }
        }
        let answer = self.run(actor, mutation, input).await;
        let entries = if wanted.is_ok() {
            self.change_links(email, ends)
        } else {
            vec![]
        };
        Some(Done {
            what: format!("{actor} {mutation} {email} {ends:?}"),
            answer,
            wanted,
            entries,
        })
    }

    async fn link(&mut self, actor: Id, (a, b): (u16, u16)) -> Option<Done> {
        let (email, to) = (self.any_email(a), self.any_item(b));
        self.links(actor, "linkEmail", email, (None, Some(to)))
            .await
    }

    async fn unlink(&mut self, actor: Id, (a, b): (u16, u16)) -> Option<Done> {
        let email = self.any_email(a);
        let from = self.item_near(email, b);
        self.links(actor, "unlinkEmail", email, (Some(from), None))
            .await
    }

    async fn relink(&mut self, actor: Id, (a, b, c): (u16, u16, u16)) -> Option<Done> {
        let email = self.any_email(a);
        let from = self.item_near(email, b);
        let to = self
            .item_of(Kind::Deal, c)
            .filter(|_| c % 7 != 0)
            .unwrap_or_else(|| self.any_item(c));
        self.links(actor, "relinkEmail", email, (Some(from), Some(to)))
            .await
    }

    async fn undo(&mut self, actor: Id, a: u16) -> Option<Done> {
        // Mostly one of the newest: older ones are rarely left standing.
        let ids: Vec<Id> = self.world.changes.keys().rev().copied().collect();
        let within = if a % 3 == 0 {
            ids.len()
        } else {
            ids.len().min(4)
        };
        let change = Self::pick(ids.into_iter().take(within), a)?;
        let row = self.world.changes[&change];
        let ends = (row.to, row.from);
        let named = || [row.from, row.to].into_iter().flatten();
        let linked = |item: &Id| self.world.emails[&row.email].links.contains(item);
        let stands =
            row.to.is_none_or(|to| linked(&to)) && row.from.is_none_or(|from| !linked(&from));
        let wanted = if !self.world.sees_change(actor, change) {
            Err("NOT_FOUND")
        } else if named().any(|item| self.on(actor, Action::Update, item).is_err()) {
            Err("FORBIDDEN")
        } else if !stands {
            Err("CHANGED_SINCE")
        } else {
            self.world.change_links(actor, row.email, ends)
        };
        let answer = self
            .run(
                actor,
                "undoRelink",
                json!({ "changeId": self.house.id("LinkChange", change) }),
            )
            .await;
        let entries = if wanted.is_ok() {
            self.change_links(row.email, ends)
        } else {
            vec![]
        };
        Some(Done {
            what: format!("{actor} undoes {change}: {row:?}"),
            answer,
            wanted,
            entries,
        })
    }

    async fn save(&mut self, actor: Id, (a, b): (u16, u16)) -> Option<Done> {
        let unsaved = self
            .world
            .emails
            .iter()
            .filter(|(_, email)| !email.saved)
            .map(|(id, _)| *id);
        let email = Self::pick(unsaved, a)
            .filter(|_| a % 5 != 0)
            .unwrap_or_else(|| self.any_email(a));
        let item = self.any_item(b);
        let row = self.world.emails[&email].clone();
        let told = |entry: &Entry| match entry.about {
            About::Email(other) => self.world.emails[&other].message == row.message,
            _ => false,
        };
        // An item has one such entry for a message, however many mailboxes it came to: where there is one, another test
        // says what a further copy tells.
        let of_item = |entry: &&Entry| entry.item == item;
        if self.world.entries.values().filter(of_item).any(told) {
            return None;
        }
        let wanted = if !self.world.sees(actor, email) {
            Err("NOT_FOUND")
        } else if row.saved {
            Err("ALREADY_LINKED")
        } else {
            self.on(actor, Action::Update, item)
        };
        let input = json!({ "emailId": self.house.id("Email", email), "target": { "itemId": self.item_id(item) } });
        let answer = self.run(actor, "saveEmail", input).await;
        let mut entries = vec![];
        if wanted.is_ok() {
            entries.push((item, About::Email(email)));
            let row = self.world.emails.get_mut(&email).unwrap();
            row.saved = true;
            row.links = [item].into();
            row.primary = Some(item);
            self.take_over_activities();
        }
        Some(Done {
            what: format!("{actor} saves {email} on {item}"),
            answer,
            wanted,
            entries,
        })
    }

    fn take_over_activities(&mut self) {
        let rows: Vec<(Id, Id, String)> = self
            .house
            .rows("SELECT id, message_id, state FROM activities");
        for (id, message, state) in rows {
            self.world.activities.entry(id).or_insert(message);
            self.completed.entry(id).or_insert(state == "COMPLETED");
        }
    }

    async fn convert(&mut self, actor: Id, (a, b, c): (u16, u16, u16)) -> Option<Done> {
        let lead = self.item_of(Kind::Lead, a)?;
        let row = self.world.items[&lead].clone();
        let deal = self.item_of(Kind::Deal, b).filter(|_| b % 2 == 0);
        let contact = self.item_of(Kind::Contact, c).filter(|_| c % 2 == 0);
        let part = |world: &Self, kind, existing: Option<Id>| match existing {
            Some(item) => world.on(actor, Action::Update, item),
            None => {
                let stage = (kind == Kind::Deal).then_some(5);
                let new = Item {
                    kind,
                    stage,
                    ..row.clone()
                };
                if world.world.may(actor, Action::Create, &new) {
                    Ok(())
                } else {
                    Err("FORBIDDEN")
                }
            }
        };
        let converted = self.world.conversions.contains_key(&lead);
        let wanted = self
            .on(actor, Action::Update, lead)
            .and_then(|()| {
                if converted {
                    Err("ALREADY_CONVERTED")
                } else {
                    Ok(())
                }
            })
            .and_then(|()| part(self, Kind::Contact, contact))
            .and_then(|()| part(self, Kind::Deal, deal));
        let existing = |item: Option<Id>| match item {
            Some(item) => json!({ "existingId": self.item_id(item) }),
            None => json!({ "create": {} }),
        };
        let input = json!({ "leadId": self.item_id(lead), "deal": existing(deal), "contact": existing(contact) });
        let answer = self.run(actor, "convertLead", input).await;
        let entries = if wanted.is_ok() {
            self.converted(lead, (deal, contact))
        } else {
            vec![]
        };
        Some(Done {
            what: format!("{actor} converts {lead} to {deal:?}, {contact:?}"),
            answer,
            wanted,
            entries,
        })
    }

    /// The model after a conversion that was allowed (R36).
    fn converted(&mut self, lead: Id, existing: (Option<Id>, Option<Id>)) -> Vec<(Id, About)> {
        let query =
            format!("SELECT deal_id, contact_id FROM lead_conversions WHERE lead_id = {lead}");
        let made: Vec<(Id, Id)> = self.house.rows(&query);
        let Some(&(deal, contact)) = made.first() else {
            return vec![];
        };
        let row = self.world.items[&lead].clone();
        let mut entries = vec![(lead, About::Item)];
        for (id, kind, existing) in [
            (deal, Kind::Deal, existing.0),
            (contact, Kind::Contact, existing.1),
        ] {
            if existing.is_none() {
                let stage = (kind == Kind::Deal).then_some(5);
                self.world.items.insert(
                    id,
                    Item {
                        kind,
                        stage,
                        ..row.clone()
                    },
                );
                entries.push((id, About::Item));
            }
        }
        self.world.deal_contacts.insert((deal, contact));
        self.world.origins.entry(deal).or_insert(lead);
        self.world.conversions.insert(
            lead,
            Conversion {
                deal: Some(deal),
                contact: Some(contact),
            },
        );
        self.world.items.get_mut(&lead).unwrap().stage = Some(3);
        for (id, email) in &mut self.world.emails {
            if email.links.contains(&lead) && email.links.insert(deal) {
                entries.push((deal, About::Link(*id, Some(lead))));
            }
        }
        entries
    }

    async fn complete_or_reopen(&mut self, actor: Id, a: u16) -> Option<Done> {
        let activity = Self::pick(self.world.activities.keys().copied(), a)?;
        let wanted = self.world.changes_activity(actor, activity);
        let was = self.completed[&activity];
        // Now and then what is done already, which changes nothing.
        let mutation = if was == (a % 7 == 0) {
            "completeActivity"
        } else {
            "reopenActivity"
        };
        let answer = self
            .run(
                actor,
                mutation,
                json!({ "activityId": self.house.id("Activity", activity) }),
            )
            .await;
        let becomes = mutation == "completeActivity";
        let mut entries = vec![];
        if wanted.is_ok() && was != becomes {
            self.completed.insert(activity, becomes);
            let message = self.world.activities[&activity];
            let mut on: BTreeMap<Id, Id> = BTreeMap::new();
            for (id, email) in self
                .world
                .emails
                .iter()
                .filter(|(_, email)| email.message == message)
            {
                for item in &email.links {
                    on.entry(*item).or_insert(*id);
                }
            }
            entries.extend(
                on.into_iter()
                    .map(|(item, email)| (item, About::Activity(email))),
            );
        }
        Some(Done {
            what: format!("{actor} {mutation} {activity}"),
            answer,
            wanted,
            entries,
        })
    }

    async fn create(&mut self, actor: Id, (a, b, c): (u16, u16, u16)) -> Option<Done> {
        let kind = KINDS[usize::from(a % 3)];
        let stage = [Some(1), Some(5), None][kind as usize];
        let new = Item {
            kind,
            responsible: self.user(b),
            stage,
            open: c % 2 == 0,
        };
        let wanted = if self.world.may(actor, Action::Create, &new) {
            Ok(())
        } else {
            Err("FORBIDDEN")
        };
        let (mutation, text) = [
            ("createLead", "title"),
            ("createDeal", "title"),
            ("createContact", "name"),
        ][kind as usize];
        let responsible = self.house.id("User", new.responsible);
        let input = json!({ text: super::house::title(Id::from(c)), "responsibleId": responsible, "openToEveryone": new.open });
        let answer = self.run(actor, mutation, input).await;
        let mut entries = vec![];
        let rows: Vec<Id> = self.house.rows("SELECT id FROM items");
        for id in rows
            .into_iter()
            .filter(|id| !self.world.items.contains_key(id))
            .collect::<Vec<_>>()
        {
            self.world.items.insert(id, new.clone());
            entries.push((id, About::Item));
        }
        let what = format!("{actor} makes a {kind:?} for {}", new.responsible);
        if wanted.is_ok() != (entries.len() == 1) {
            // Told as an entry that never comes.
            entries.push((0, About::Item));
        }
        Some(Done {
            what,
            answer,
            wanted,
            entries,
        })
    }

    /// Rights are changed by the administrator; nobody without the right to change settings may.
    fn who_rules(&self, actor: Id) -> (Id, Verdict) {
        if self.world.changes_crm_settings(actor) {
            (self.administrator(), Ok(()))
        } else {
            (actor, Err("FORBIDDEN"))
        }
    }

    async fn change_role(&mut self, actor: Id, (a, b, c): (u16, u16, u16)) -> Option<Done> {
        let (actor, wanted) = self.who_rules(actor);
        let role = Self::pick(self.world.roles.keys().copied(), a)?;
        let mut new = Role {
            hides: self.world.roles[&role].hides.clone(),
            ..Role::default()
        };
        for (n, kind) in KINDS.into_iter().enumerate() {
            for (m, action) in ACTIONS.into_iter().enumerate() {
                let level =
                    LEVELS[(usize::from(b) + n * 7 + m * usize::from(c % 5)) % LEVELS.len()];
                if level != Level::None {
                    new.lines.insert((kind, action, None), level);
                }
            }
        }
        if c % 3 == 0 {
            new.lines.insert(
                (Kind::Deal, Action::Read, Some(5)),
                LEVELS[usize::from(c) % LEVELS.len()],
            );
        }
        let stage = |stage: Option<Id>| stage.map(|stage| self.house.id("Stage", stage));
        let lines = new.lines.iter().map(|((kind, action, in_stage), level)| {
            json!({ "item": word(*kind), "action": action_word(*action), "level": level_word(*level), "stageId": stage(*in_stage) })
        });
        let input = json!({ "roleId": self.house.id("Role", role), "permissions": lines.collect::<Vec<_>>(), "mayChangeCrmSettings": false });
        let answer = self.run(actor, "updateRole", input).await;
        if wanted.is_ok() {
            self.world.roles.insert(role, new);
        }
        Some(Done {
            what: format!("{actor} changes role {role}"),
            answer,
            wanted,
            entries: vec![],
        })
    }

    async fn assign_roles(&mut self, actor: Id, (a, b, c): (u16, u16, u16)) -> Option<Done> {
        let (actor, wanted) = self.who_rules(actor);
        let holders = self
            .world
            .users
            .keys()
            .chain(self.world.departments.keys())
            .copied();
        let holder = Self::pick(holders, a)?;
        let is_user = self.world.users.contains_key(&holder);
        let roles: BTreeSet<Id> = [b, c]
            .iter()
            .filter(|by| **by % 3 != 0)
            .filter_map(|by| Self::pick(self.world.roles.keys().copied(), *by))
            .collect();
        let (field, name) = if is_user {
            ("userId", "User")
        } else {
            ("departmentId", "Department")
        };
        let ids: Vec<String> = roles
            .iter()
            .map(|role| self.house.id("Role", *role))
            .collect();
        let input = json!({ "holder": { field: self.house.id(name, holder) }, "roleIds": ids });
        let answer = self.run(actor, "assignRoles", input).await;
        if wanted.is_ok() {
            self.world.held.retain(|(other, _)| *other != holder);
            self.world
                .held
                .extend(roles.iter().map(|role| (holder, *role)));
        }
        Some(Done {
            what: format!("{actor} gives {holder} {roles:?}"),
            answer,
            wanted,
            entries: vec![],
        })
    }

    async fn move_user(&mut self, actor: Id, (a, b): (u16, u16)) -> Option<Done> {
        let user = self.user(a);
        let department =
            Self::pick(self.world.departments.keys().copied(), b).filter(|_| b % 6 != 0);
        let wanted = if self.world.users[&actor].is_administrator {
            Ok(())
        } else {
            Err("FORBIDDEN")
        };
        let id = department.map(|department| self.house.id("Department", department));
        let answer = self
            .run(
                actor,
                "updateUser",
                json!({ "userId": self.house.id("User", user), "departmentId": id }),
            )
            .await;
        if wanted.is_ok() {
            self.world.users.get_mut(&user).unwrap().department = department;
        }
        Some(Done {
            what: format!("{actor} moves {user} to {department:?}"),
            answer,
            wanted,
            entries: vec![],
        })
    }
}
