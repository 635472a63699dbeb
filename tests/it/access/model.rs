//! Who sees and does what, said once more in sets and quantifiers (R21-R26, R34): plain data, the standard library,
//! and nothing of Mailroom. Where this and the product differ, one of them is wrong.

use std::collections::{BTreeMap, BTreeSet};

pub type Id = i64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)] pub enum Kind { Lead, Deal, Contact }
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)] pub enum Action { Read, Create, Update, Delete, Export }

/// Each level contains those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)] pub enum Level { None, Own, OwnDepartment, DepartmentAndBelow, OpenToEveryone, All }
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)] pub enum Field { LeadAddresses, DealAmount, ContactAddresses, ContactPhones }
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// Kind, action, stage (none: every stage that no other line of the role names) and how far it reaches.
    pub lines: BTreeMap<(Kind, Action, Option<Id>), Level>,
    pub hides: BTreeSet<Field>,
    pub settings: bool,
}

#[derive(Debug, Clone)] pub struct User { pub department: Option<Id>, pub is_administrator: bool }
#[derive(Debug, Clone)] pub struct Item { pub kind: Kind, pub responsible: Id, pub stage: Option<Id>, pub open: bool }
#[derive(Debug, Clone, Default)] pub struct Mailbox { pub connector: Id, pub users: BTreeSet<Id>, pub departments: BTreeSet<Id> }
#[derive(Debug, Clone)]
pub struct Email {
    pub message: Id,
    pub mailbox: Id,
    pub thread: Id,
    pub saved: bool,
    pub links: BTreeSet<Id>,
    pub primary: Option<Id>,
}

/// What an entry depends on, beside its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Nothing: the item was made, a note was written …
    Item,
    /// An email that came or went.
    Email(Id),
    /// The to-do of an email.
    Activity(Id),
    /// That an email was linked or unlinked, and the item at the other end.
    Link(Id, Option<Id>),
}

#[derive(Debug, Clone, Copy)] pub struct Entry { pub item: Id, pub about: About }

/// A line of an email's link history.
#[derive(Debug, Clone, Copy)] pub struct Change { pub email: Id, pub from: Option<Id>, pub to: Option<Id> }

/// What a lead became.
#[derive(Debug, Clone, Copy, Default)] pub struct Conversion { pub deal: Option<Id>, pub contact: Option<Id> }
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Each department with the one above it.
    pub departments: BTreeMap<Id, Option<Id>>,
    pub users: BTreeMap<Id, User>,
    pub roles: BTreeMap<Id, Role>,
    /// Who holds which role: users, and departments.
    pub held: BTreeSet<(Id, Id)>,
    pub items: BTreeMap<Id, Item>,
    /// Deals and their contacts.
    pub deal_contacts: BTreeSet<(Id, Id)>,
    pub conversions: BTreeMap<Id, Conversion>,
    /// Deals and the lead that they were made of.
    pub origins: BTreeMap<Id, Id>,
    pub mailboxes: BTreeMap<Id, Mailbox>,
    pub emails: BTreeMap<Id, Email>,
    /// To-dos and their messages.
    pub activities: BTreeMap<Id, Id>,
    pub changes: BTreeMap<Id, Change>,
    /// By position.
    pub entries: BTreeMap<Id, Entry>,
}

impl World {
    /// A department and all above it.
    fn above(&self, from: Option<Id>) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut next = from;
        while let Some(id) = next.filter(|id| !found.contains(id)) {
            found.insert(id);
            next = self.departments[&id];
        }
        found
    }

    /// Whether what is given to `upper` is given to `lower`.
    fn is_within(&self, lower: Option<Id>, upper: Id) -> bool { self.above(lower).contains(&upper) }

    /// Roles of the user, of their department and of those above it.
    fn roles_of(&self, user: Id) -> Vec<&Role> {
        let department = self.users[&user].department;
        let holds = |holder: Id| holder == user || self.is_within(department, holder);
        let ids: BTreeSet<Id> =
            (self.held.iter()).filter(|(holder, _)| holds(*holder)).map(|(_, role)| *role).collect();
        ids.iter().map(|id| &self.roles[id]).collect()
    }

    /// The widest level that a role gives; within a role the line of the stage goes before the general one.
    pub fn level(&self, user: Id, kind: Kind, action: Action, stage: Option<Id>) -> Level {
        let of = |role: &Role| {
            let exact = stage.and_then(|stage| role.lines.get(&(kind, action, Some(stage))));
            exact.or_else(|| role.lines.get(&(kind, action, None))).copied()
        };
        self.roles_of(user).into_iter().filter_map(of).max().unwrap_or(Level::None)
    }

    /// May the user do this to such an item (R23)?
    pub fn may(&self, user: Id, action: Action, item: &Item) -> bool {
        let who = &self.users[&user];
        let its = self.users[&item.responsible].department;
        let level = self.level(user, item.kind, action, item.stage);
        let grounds = [
            (Level::Own, item.responsible == user),
            (Level::OwnDepartment, its.is_some() && its == who.department),
            (Level::DepartmentAndBelow, who.department.is_some_and(|mine| self.is_within(its, mine))),
            (Level::OpenToEveryone, item.open),
            (Level::All, true),
        ];
        who.is_administrator || grounds.iter().any(|(needed, holds)| *holds && level >= *needed)
    }

    pub fn can(&self, user: Id, action: Action, item: Id) -> bool {
        self.items.get(&item).is_some_and(|item| self.may(user, action, item))
    }

    pub fn reads(&self, user: Id, item: Id) -> bool { self.can(user, Action::Read, item) }

    /// A field that every role hides (R26).
    pub fn hides(&self, user: Id, field: Field) -> bool {
        let roles = self.roles_of(user);
        !self.users[&user].is_administrator && !roles.is_empty() && roles.iter().all(|role| role.hides.contains(&field))
    }

    /// R22: the connector, or given. Being an administrator gives none.
    pub fn has_mailbox(&self, user: Id, mailbox: Id) -> bool {
        let department = self.users[&user].department;
        self.mailboxes.get(&mailbox).is_some_and(|mailbox| {
            mailbox.connector == user
                || mailbox.users.contains(&user)
                || mailbox.departments.iter().any(|given| self.is_within(department, *given))
        })
    }

    /// Roles and settings of the CRM and of every mailbox (R23, R25).
    pub fn changes_crm_settings(&self, user: Id) -> bool {
        self.users[&user].is_administrator || self.roles_of(user).iter().any(|role| role.settings)
    }

    pub fn lists_mailbox(&self, user: Id, mailbox: Id) -> bool {
        self.has_mailbox(user, mailbox) || (self.mailboxes.contains_key(&mailbox) && self.changes_crm_settings(user))
    }

    pub fn changes_mailbox_settings(&self, user: Id, mailbox: Id) -> bool {
        self.mailboxes[&mailbox].connector == user || self.changes_crm_settings(user)
    }

    /// Folders, sharing, secrets (R25).
    pub fn manages_mailbox(&self, user: Id, mailbox: Id) -> bool {
        self.mailboxes[&mailbox].connector == user || self.users[&user].is_administrator
    }

    /// R21: linked, and every linked item is readable.
    pub fn sees_in_crm(&self, user: Id, email: Id) -> bool {
        self.emails
            .get(&email)
            .is_some_and(|email| !email.links.is_empty() && email.links.iter().all(|item| self.reads(user, *item)))
    }

    /// By either way (R22).
    pub fn sees(&self, user: Id, email: Id) -> bool {
        self.sees_in_crm(user, email)
            || self.emails.get(&email).is_some_and(|found| self.has_mailbox(user, found.mailbox))
    }

    pub fn sees_entry(&self, user: Id, position: Id) -> bool {
        self.entries.get(&position).is_some_and(|entry| {
            self.reads(user, entry.item)
                && match entry.about {
                    About::Item | About::Link(..) => true,
                    About::Email(email) | About::Activity(email) => {
                        self.sees_in_crm(user, email) && self.emails[&email].links.contains(&entry.item)
                    }
                }
        })
    }

    fn emails_of(&self, message: Id) -> impl Iterator<Item = (Id, &Email)> {
        self.emails.iter().filter(move |(_, email)| email.message == message).map(|(id, email)| (*id, email))
    }

    /// Beside an email its to-do shows where its primary item is readable (R22).
    pub fn reads_primary(&self, user: Id, email: Id) -> bool {
        self.emails[&email].primary.is_some_and(|item| self.reads(user, item))
    }

    /// By its id: some email of its message shows it.
    pub fn finds_activity(&self, user: Id, activity: Id) -> bool {
        self.activities.get(&activity).is_some_and(|message| {
            self.emails_of(*message).any(|(email, _)| self.sees(user, email) && self.reads_primary(user, email))
        })
    }

    /// On an item's list (R21).
    pub fn activity_stands_on(&self, user: Id, item: Id, activity: Id) -> bool {
        let on = |(id, email): (Id, &Email)| email.links.contains(&item) && self.sees_in_crm(user, id);
        self.reads(user, item) && self.emails_of(self.activities[&activity]).any(on)
    }

    /// `Ok`, or the code of the refusal: it is seen in the CRM, and one of the items of such an email may be changed.
    pub fn changes_activity(&self, user: Id, activity: Id) -> Result<(), &'static str> {
        let Some(message) = self.activities.get(&activity) else {
            return Err("NOT_FOUND");
        };
        let seen: Vec<&Email> =
            self.emails_of(*message).filter(|(id, _)| self.sees_in_crm(user, *id)).map(|(_, email)| email).collect();
        let may = |email: &&Email| email.links.iter().any(|item| self.can(user, Action::Update, *item));
        if seen.is_empty() {
            Err("NOT_FOUND")
        } else if seen.iter().any(may) {
            Ok(())
        } else {
            Err("FORBIDDEN")
        }
    }

    pub fn sees_thread(&self, user: Id, thread: Id) -> bool {
        self.emails.iter().any(|(id, email)| email.thread == thread && self.sees(user, *id))
    }

    /// A line of a link history shows with its email, where one of the items that it names is readable (R22, R27).
    pub fn sees_change(&self, user: Id, change: Id) -> bool {
        self.changes.get(&change).is_some_and(|change| {
            let ends = [change.from, change.to];
            self.sees(user, change.email) && ends.iter().flatten().any(|item| self.reads(user, *item))
        })
    }

    /// Leads and deals that tie the email, both on it and one converted into the other (R34).
    fn ties(&self, email: &Email) -> Vec<[Id; 2]> {
        let tie = |(lead, made): (&Id, &Conversion)| Some([*lead, made.deal?]);
        let all = self.conversions.iter().filter_map(tie);
        all.filter(|ends| ends.iter().all(|item| email.links.contains(item))).collect()
    }

    /// `link.canMove`: from this item to another deal, or why not.
    pub fn can_move(&self, user: Id, email: Id, item: Id) -> Result<(), &'static str> {
        let email = &self.emails[&email];
        let ties: Vec<[Id; 2]> = self.ties(email).into_iter().filter(|tie| tie.contains(&item)).collect();
        let is_told = ties.iter().flatten().all(|end| self.reads(user, *end));
        if !email.saved {
            Err("NOT_SAVED")
        } else if !email.links.contains(&item) || !self.reads(user, item) || self.items[&item].kind != Kind::Deal {
            Err("NOT_ON_A_DEAL")
        } else if !self.can(user, Action::Update, item) || !is_told {
            Err("FORBIDDEN")
        } else if !ties.is_empty() {
            Err("CONVERTED_LEAD")
        } else {
            Ok(())
        }
    }

    /// `email.canRelink`: the answer nearest to a yes among its items.
    pub fn can_relink(&self, user: Id, email: Id) -> Result<(), &'static str> {
        let nearest = [Ok(()), Err("CONVERTED_LEAD"), Err("FORBIDDEN"), Err("NOT_SAVED")];
        let found: Vec<_> = self.emails[&email].links.iter().map(|item| self.can_move(user, email, *item)).collect();
        let otherwise = if self.emails[&email].saved { Err("NOT_ON_A_DEAL") } else { Err("NOT_SAVED") };
        nearest.into_iter().find(|verdict| found.contains(verdict)).unwrap_or(otherwise)
    }

    /// Changing links (R24, R34): `Ok`, or the code. Off `from` (if any), on to `to` (if any).
    pub fn change_links(&self, user: Id, email: Id, (from, to): (Option<Id>, Option<Id>)) -> Result<(), &'static str> {
        let ends = [from, to];
        let ends = || ends.iter().flatten();
        if !self.sees(user, email) || ends().any(|item| !self.reads(user, *item)) {
            return Err("NOT_FOUND");
        }
        let row = &self.emails[&email];
        let ties = self.ties(row);
        let ties_from = || ties.iter().filter(|tie| from.is_some_and(|from| tie.contains(&from)));
        let is_deal = |item: &Id| self.items[item].kind == Kind::Deal;
        let may_update = |item: &Id| self.can(user, Action::Update, *item);
        let needed: BTreeSet<Id> = match from {
            // Whoever adds a link hides the email from those who can't read the item: it takes all of them.
            None => ends().chain(&row.links).copied().collect(),
            Some(_) => ends().copied().collect(),
        };
        let ranking = [
            (!row.saved, "NOT_SAVED"),
            (!needed.iter().all(may_update) || ties_from().flatten().any(|end| !self.reads(user, *end)), "FORBIDDEN"),
            (from.is_some_and(|from| !row.links.contains(&from)), "NOT_LINKED"),
            (ties_from().next().is_some(), "CONVERTED_LEAD"),
            (from.is_some() && to.is_some() && !ends().all(is_deal), "BAD_INPUT"),
            (to.is_some_and(|to| row.links.contains(&to)), "ALREADY_LINKED"),
            (from.is_none() && to.is_some_and(|to| is_deal(&to)) && !ties.is_empty(), "CONVERTED_LEAD"),
            (to.is_none() && row.links.len() == 1, "LAST_LINK"),
        ];
        ranking.into_iter().find(|(holds, _)| *holds).map_or(Ok(()), |(_, code)| Err(code))
    }
}
