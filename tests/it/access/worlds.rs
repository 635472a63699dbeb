//! Random worlds: companies with departments, roles, items, mailboxes and mail, tied in any way there is.
//!
//! Chosen by proptest, so that a world that shows a fault shrinks to a small one. `MAILROOM_TEST_SEED` sets the seed;
//! a failure prints it. `MAILROOM_TEST_LONG=1` asks for the long run.

use super::house::{BASE, STAGES};
use super::model::{
    About, Action, Change, Conversion, Email, Entry, Field, Id, Item, Kind, Level, Mailbox, Role,
    User, World,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub const KINDS: [Kind; 3] = [Kind::Lead, Kind::Deal, Kind::Contact];
pub const ACTIONS: [Action; 5] = [
    Action::Read,
    Action::Create,
    Action::Update,
    Action::Delete,
    Action::Export,
];
pub const LEVELS: [Level; 6] = [
    Level::None,
    Level::Own,
    Level::OwnDepartment,
    Level::DepartmentAndBelow,
    Level::OpenToEveryone,
    Level::All,
];
pub const FIELDS: [Field; 4] = [
    Field::LeadAddresses,
    Field::DealAmount,
    Field::ContactAddresses,
    Field::ContactPhones,
];

/// The first id of each kind of row.
pub const DEPARTMENT: Id = BASE + 1_000;
pub const USER: Id = BASE + 2_000;
pub const ROLE: Id = BASE + 3_000;
pub const ITEM: Id = BASE + 4_000;
pub const MAILBOX: Id = BASE + 6_000;
pub const THREAD: Id = BASE + 7_000;
pub const MESSAGE: Id = BASE + 8_000;
pub const EMAIL: Id = BASE + 10_000;
pub const ACTIVITY: Id = BASE + 12_000;
pub const CHANGE: Id = BASE + 14_000;

/// A world before its numbers are resolved: each picks one of what there is, so that every shrunk one is a world too.
#[derive(Clone)]
pub struct Seeds {
    departments: Vec<u16>,
    users: Vec<(u16, u16)>,
    roles: Vec<(Vec<(u16, u16, u16, u16)>, u16, u16)>,
    held: Vec<(u16, u16)>,
    items: Vec<(u16, u16, u16, u16)>,
    contacts: Vec<(u16, u16)>,
    conversions: Vec<(u16, u16, u16, u16)>,
    mailboxes: Vec<(u16, Vec<u16>, Vec<u16>)>,
    emails: Vec<(u16, u16, u16, Vec<u16>)>,
    changes: Vec<(u16, u16, u16)>,
    entries: Vec<(u16, u16, u16, u16)>,
}

impl fmt::Debug for Seeds {
    /// On one line: the world, as who reads of a failure wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = format!("{:?}", self.world());
        f.write_str(&world)
    }
}

/// How large worlds are.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub users: usize,
    pub items: usize,
    pub emails: usize,
    pub entries: usize,
}

pub const LARGE: Size = Size {
    users: 10,
    items: 42,
    emails: 40,
    entries: 110,
};

pub const SMALL: Size = Size {
    users: 6,
    items: 16,
    emails: 12,
    entries: 40,
};

pub fn seeds(size: Size) -> impl Strategy<Value = Seeds> {
    let n = any::<u16>;
    let people = (
        vec(n(), 2..7),
        vec((n(), n()), 3..=size.users),
        vec((vec((n(), n(), n(), n()), 2..14), n(), n()), 2..7),
        vec((n(), n()), 3..16),
    );
    let things = (
        vec((n(), n(), n(), n()), 4..=size.items),
        vec((n(), n()), 0..=size.items / 2),
        vec((n(), n(), n(), n()), 0..=size.items / 6),
    );
    let mail = (
        vec((n(), vec(n(), 0..3), vec(n(), 0..3)), 1..5),
        vec((n(), n(), n(), vec(n(), 0..5)), 2..=size.emails),
        vec((n(), n(), n()), 0..=size.emails),
        vec((n(), n(), n(), n()), 4..=size.entries),
    );
    (people, things, mail).prop_map(|(people, things, mail)| {
        let (departments, users, roles, held) = people;
        let (items, contacts, conversions) = things;
        let (mailboxes, emails, changes, entries) = mail;
        Seeds {
            departments,
            users,
            roles,
            held,
            items,
            contacts,
            conversions,
            mailboxes,
            emails,
            changes,
            entries,
        }
    })
}

/// One of `of`, by a number.
fn pick<T: Copy>(of: &[T], by: u16) -> Option<T> {
    of.get(usize::from(by).checked_rem(of.len())?).copied()
}

fn numbered<T>(first: Id, all: impl IntoIterator<Item = T>) -> BTreeMap<Id, T> {
    (first..).zip(all).collect()
}

impl Seeds {
    pub fn world(&self) -> World {
        let mut world = World::default();
        self.people(&mut world);
        self.items(&mut world);
        self.mail(&mut world);
        self.history(&mut world);
        world
    }

    fn people(&self, world: &mut World) {
        for (id, parent) in numbered(DEPARTMENT, &self.departments) {
            // Only one that is there already, so that there are no loops; about one in four stands at the top.
            let there: Vec<Id> = world.departments.keys().copied().collect();
            let parent = (parent % 4 != 0).then(|| pick(&there, *parent)).flatten();
            world.departments.insert(id, parent);
        }
        let departments: Vec<Id> = world.departments.keys().copied().collect();
        world.users = numbered(USER, &self.users)
            .into_iter()
            .map(|(id, (department, what))| {
                let department = (department % 7 != 0)
                    .then(|| pick(&departments, *department))
                    .flatten();
                let is_administrator = id == USER || what % 12 == 0;
                (
                    id,
                    User {
                        department,
                        is_administrator,
                    },
                )
            })
            .collect();
        world.roles = numbered(ROLE, &self.roles)
            .into_iter()
            .map(|(id, seeds)| (id, role(seeds)))
            .collect();
        let holders: Vec<Id> = world.users.keys().chain(&departments).copied().collect();
        let roles: Vec<Id> = world.roles.keys().copied().collect();
        let pair =
            |(holder, role): &(u16, u16)| Some((pick(&holders, *holder)?, pick(&roles, *role)?));
        world.held = self.held.iter().filter_map(pair).collect();
    }

    fn items(&self, world: &mut World) {
        let users: Vec<Id> = world.users.keys().copied().collect();
        for (id, (kind, responsible, stage, open)) in numbered(ITEM, &self.items) {
            let kind = pick(&KINDS, *kind).unwrap();
            let item = Item {
                kind,
                responsible: pick(&users, *responsible).unwrap(),
                stage: pick(&stages_of(kind), *stage),
                open: open % 3 == 0,
            };
            world.items.insert(id, item);
        }
        let of = |kind| -> Vec<Id> {
            world
                .items
                .iter()
                .filter(|(_, item)| item.kind == kind)
                .map(|(id, _)| *id)
                .collect()
        };
        let (leads, deals, contacts) = (of(Kind::Lead), of(Kind::Deal), of(Kind::Contact));
        let pair =
            |(deal, contact): &(u16, u16)| Some((pick(&deals, *deal)?, pick(&contacts, *contact)?));
        world.deal_contacts = self.contacts.iter().filter_map(pair).collect();
        for (lead, deal, contact, which) in &self.conversions {
            let Some(lead) = pick(&leads, *lead) else {
                continue;
            };
            let made = Conversion {
                deal: pick(&deals, *deal).filter(|_| which % 4 != 0),
                contact: pick(&contacts, *contact).filter(|_| which % 4 != 1),
            };
            if let Some(deal) = made.deal {
                world.origins.entry(deal).or_insert(lead);
            }
            world.conversions.insert(lead, made);
        }
    }

    fn mail(&self, world: &mut World) {
        let users: Vec<Id> = world.users.keys().copied().collect();
        let departments: Vec<Id> = world.departments.keys().copied().collect();
        let items: Vec<Id> = world.items.keys().copied().collect();
        let some = |of: &[Id], by: &[u16]| {
            by.iter()
                .filter_map(|by| pick(of, *by))
                .collect::<BTreeSet<Id>>()
        };
        for (id, (connector, given, departments_given)) in numbered(MAILBOX, &self.mailboxes) {
            let mailbox = Mailbox {
                connector: pick(&users, *connector).unwrap(),
                users: some(&users, given),
                departments: some(&departments, departments_given),
            };
            world.mailboxes.insert(id, mailbox);
        }
        let mailboxes: Vec<Id> = world.mailboxes.keys().copied().collect();
        for (id, (mailbox, thread, message, on)) in numbered(EMAIL, &self.emails) {
            let mailbox = pick(&mailboxes, *mailbox).unwrap();
            // About one in three is the same message as an earlier one, in another mailbox.
            let there: Vec<Id> = world.emails.keys().copied().collect();
            let copied = (message % 3 == 0).then(|| pick(&there, *message)).flatten();
            let copied =
                copied.map(|other| (world.emails[&other].message, world.emails[&other].thread));
            let is_there = |message| {
                world
                    .emails
                    .values()
                    .any(|email| email.message == message && email.mailbox == mailbox)
            };
            let (message, thread) = copied
                .filter(|(message, _)| !is_there(*message))
                .unwrap_or((MESSAGE + id - EMAIL, THREAD + Id::from(thread % 20)));
            let mut links = some(&items, on);
            // The deal of a converted lead holds the lead's emails too, more often than not.
            for (lead, made) in &world.conversions {
                if links.contains(lead) && id % 3 != 0 {
                    links.extend(made.deal);
                }
            }
            let primary = pick(
                &links.iter().copied().collect::<Vec<_>>(),
                on.first().copied().unwrap_or_default(),
            );
            let email = Email {
                message,
                mailbox,
                thread,
                saved: primary.is_some(),
                links,
                primary,
            };
            world.emails.insert(id, email);
        }
        let saved: BTreeSet<Id> = world
            .emails
            .values()
            .filter(|email| email.saved)
            .map(|email| email.message)
            .collect();
        world.activities = numbered(
            ACTIVITY,
            saved.into_iter().filter(|message| message % 5 != 0),
        );
    }

    fn history(&self, world: &mut World) {
        let items: Vec<Id> = world.items.keys().copied().collect();
        let emails: Vec<Id> = world.emails.keys().copied().collect();
        for (id, (email, from, to)) in numbered(CHANGE, &self.changes) {
            let change = Change {
                email: pick(&emails, *email).unwrap(),
                from: pick(&items, *from).filter(|_| from % 3 != 0),
                to: pick(&items, *to).filter(|_| to % 3 != 1 || from % 3 == 0),
            };
            world.changes.insert(id, change);
        }
        let mut told = BTreeSet::new();
        for (n, (item, what, email, other)) in (1..).zip(&self.entries) {
            let email = pick(&emails, *email).unwrap();
            let row = &world.emails[&email];
            // Most entries stand on an item that their email hangs on; some are left over from where it hung before.
            let linked: Vec<Id> = row.links.iter().copied().collect();
            let on = if item % 4 == 0 {
                None
            } else {
                pick(&linked, *item)
            };
            let item = on.or_else(|| pick(&items, *item)).unwrap();
            let has_activity = world
                .activities
                .values()
                .any(|message| *message == row.message);
            let other = pick(&items, *other).filter(|_| other % 4 != 0);
            // What was never saved was never told of.
            let about = match what % 5 {
                _ if !row.saved => About::Item,
                0 => About::Item,
                1 if has_activity => About::Activity(email),
                2 => About::Link(email, other),
                _ if told.insert((item, row.message)) => About::Email(email),
                _ => About::Item,
            };
            let is_left_over = !row.links.contains(&item);
            world.entries.insert(2 * n, Entry { item, about });
            if is_left_over && matches!(about, About::Email(_) | About::Activity(_)) {
                // Where it no longer hangs, an entry says that it went.
                let about = About::Link(email, other);
                world.entries.insert(2 * n + 1, Entry { item, about });
            }
        }
    }
}

fn stages_of(kind: Kind) -> Vec<Id> {
    STAGES
        .iter()
        .filter(|(_, of, _)| *of == kind)
        .map(|(id, _, _)| *id)
        .collect()
}

fn role((lines, hides, settings): &(Vec<(u16, u16, u16, u16)>, u16, u16)) -> Role {
    let mut role = Role {
        settings: settings % 6 == 0,
        ..Role::default()
    };
    for (kind, action, stage, level) in lines {
        let kind = pick(&KINDS, *kind).unwrap();
        // Reading is what most depends on: every second line is about it.
        let action = if action % 2 == 0 {
            Action::Read
        } else {
            pick(&ACTIONS, action / 2).unwrap()
        };
        let stage = pick(&stages_of(kind), *stage).filter(|_| stage % 3 == 0);
        role.lines
            .insert((kind, action, stage), pick(&LEVELS, *level).unwrap());
    }
    role.hides = FIELDS
        .into_iter()
        .zip(0..)
        .filter(|(_, bit)| hides >> bit & 1 == 1)
        .map(|(field, _)| field)
        .collect();
    role
}

/// Whether the long run is asked for.
pub fn is_long() -> bool {
    std::env::var("MAILROOM_TEST_LONG").is_ok_and(|value| value == "1")
}

/// The seed of this run. The short run is the same every time, so that a change is judged by itself; the long one looks
/// elsewhere each time.
pub fn seed() -> u64 {
    match std::env::var("MAILROOM_TEST_SEED") {
        Ok(text) => text.parse().expect("MAILROOM_TEST_SEED is a number"),
        Err(_) if is_long() => rand::random(),
        Err(_) => 1,
    }
}

/// Runs `test` on one value of a strategy after another until it says that it has enough. A failure prints its seed,
/// which as `MAILROOM_TEST_SEED` comes first, and the smallest value that fails.
pub fn for_all<S: Strategy>(
    strategy: &S,
    is_enough: impl Fn() -> bool,
    test: impl AsyncFn(S::Value) -> Result<(), String>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
        .unwrap();
    let mut seed = seed();
    println!("MAILROOM_TEST_SEED={seed}");
    while !is_enough() {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: 1,
            failure_persistence: None,
            max_shrink_iters: 1_000_000,
            max_shrink_time: 20_000,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let outcome = runner.run(strategy, |value| {
            runtime.block_on(test(value)).map_err(TestCaseError::fail)
        });
        if let Err(error) = outcome {
            panic!("MAILROOM_TEST_SEED={seed} fails: {error}");
        }
        seed = seed.wrapping_add(1);
    }
}
