//! How the CRM of a simulation differs from the CRM as it was: items that it has not made, items that it alone has made,
//! items that another would answer for, and whose turn is next.
//! Not for: judging, or loading facts.

use super::RoutedItem;
use crate::actions::mailbox_settings::pointer_after;
use crate::model::decisions::{Creation, Party};
use crate::model::item::ItemKind;
use crate::model::{ItemId, MessageId, Time, UserId};
use crate::rules::queue::{QueueFacts, QueueMember, next_turn};
use crate::rules::routing::{CandidateItem, ParentFacts, RoutingFacts};
use std::collections::{HashMap, HashSet};

/// The differences; empty while the simulation has decided everything as it was decided.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Items that the simulation has not made.
    gone: HashSet<ItemId>,
    /// Items that others would answer for, or that would be extra leads, or none.
    changed: HashMap<ItemId, (UserId, bool)>,
    /// Items that only the simulation has made, with the addresses of their clients.
    made: Vec<(String, CandidateItem, String)>,
    /// Mails that went another way: the items that they are on, or none where they are kept unsaved.
    elsewhere: HashMap<MessageId, Option<Vec<ItemId>>>,
    /// The newest entry of items that mails of the simulation alone have joined.
    newest: HashMap<ItemId, Time>,
    /// Items made in an hour, less those that were made as it was.
    made_more: HashMap<i64, i64>,
    /// The queue's pointer, once its turns differ.
    pointer: Option<i64>,
}

/// What was made of a mail.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// In the order of the plan.
    pub items: Vec<ItemId>,
    pub plan: Option<Creation>,
    /// Hours since 1970, by INTERNALDATE; `None`: the backfill's mail, whose items are not counted.
    pub hour: Option<i64>,
}

fn kinds(plan: &Creation) -> Vec<ItemKind> {
    plan.items.iter().map(|item| item.kind).collect()
}

fn user_ids(members: &[QueueMember]) -> Vec<UserId> {
    members.iter().map(|member| member.user_id).collect()
}

impl World {
    /// Where a mail of the simulation went, if it went another way than it did: its items, or none.
    pub(super) fn elsewhere(&self, message: Option<MessageId>) -> Option<&Option<Vec<ItemId>>> {
        self.elsewhere.get(&message?)
    }

    /// Notes that a mail went another way.
    pub(super) fn went_elsewhere(&mut self, message: MessageId, on: Option<Vec<ItemId>>) {
        self.elsewhere.insert(message, on);
    }

    /// An item that only the simulation has made.
    pub(super) fn simulated(&self, id: ItemId) -> Option<(&CandidateItem, &str)> {
        self.made
            .iter()
            .find(|(_key, item, _title)| item.id == id)
            .map(|(_key, item, title)| (item, title.as_str()))
    }

    /// An item of a decision, with what is known of it if only the simulation has made it.
    pub(super) fn routed(&self, id: ItemId, is_new: bool) -> RoutedItem {
        RoutedItem {
            id,
            is_new,
            simulated: self
                .simulated(id)
                .map(|(item, title)| (item.kind, title.to_owned())),
        }
    }

    /// Who answers for an item in the simulation.
    pub(super) fn responsible(&self, id: ItemId) -> Option<UserId> {
        let simulated = self.simulated(id).map(|(item, _title)| item.responsible_id);
        simulated.or_else(|| self.changed.get(&id).map(|(user, _extra)| *user))
    }

    /// Makes the facts what they would be in the simulation.
    pub(super) fn apply(&self, facts: &mut RoutingFacts, hour: Option<i64>) {
        let key = facts.client.address_key.clone();
        let of_client = |kind: ItemKind| {
            self.made
                .iter()
                .filter(|(client, item, _title)| *client == key && item.kind == kind)
                .map(|(_key, item, _title)| item.clone())
                .collect::<Vec<_>>()
        };
        facts.contacts.extend(of_client(ItemKind::Contact));
        facts.open_deals.extend(of_client(ItemKind::Deal));
        facts.leads.extend(of_client(ItemKind::Lead));
        let lists = [&mut facts.contacts, &mut facts.open_deals, &mut facts.leads];
        let of_parent = facts.parent.iter_mut().map(|parent| &mut parent.items);
        for list in lists.into_iter().chain(of_parent) {
            list.retain(|item| !self.gone.contains(&item.id));
            list.iter_mut().for_each(|item| self.retouch(item));
        }
        let more = hour.and_then(|hour| self.made_more.get(&hour).copied());
        let more = more.unwrap_or(0);
        facts.made_this_hour = facts.made_this_hour.saturating_add(more).max(0);
    }

    fn retouch(&self, item: &mut CandidateItem) {
        if let Some((user, is_extra)) = self.changed.get(&item.id) {
            item.responsible_id = *user;
            item.is_extra_lead = *is_extra;
        }
        if let Some(newest) = self.newest.get(&item.id) {
            item.newest_entry_at = item.newest_entry_at.max(*newest);
        }
    }

    /// The parent of a mail whose own parent went another way.
    pub(super) fn parent(
        &self,
        on: &[ItemId],
        mut known: impl FnMut(ItemId) -> Option<CandidateItem>,
    ) -> ParentFacts {
        let item = |id: &ItemId| {
            let simulated = self.simulated(*id).map(|(item, _title)| item.clone());
            simulated.or_else(|| known(*id))
        };
        ParentFacts {
            items: on.iter().filter_map(item).collect(),
        }
    }

    /// The queue as it would stand: `members` are those of the simulated settings.
    pub(super) fn queue(&self, was: &QueueFacts, members: &[QueueMember]) -> QueueFacts {
        let (before, after) = (user_ids(&was.members), user_ids(members));
        // The same queue: who was active then counts, not who is today.
        let is_same = before == after;
        let pointer = match self.pointer {
            Some(pointer) => pointer,
            None if is_same => was.pointer,
            None => pointer_after(&before, was.pointer, &after),
        };
        QueueFacts {
            members: if is_same {
                was.members.clone()
            } else {
                members.to_vec()
            },
            pointer,
            ..was.clone()
        }
    }

    /// A turn was taken (the pointer after it), or not. The simulated queue has a pointer of its own from where its turns,
    /// or its members, are not what they were.
    pub(super) fn turn(
        &mut self,
        (was, simulated): (&QueueFacts, &QueueFacts),
        taken: Option<i64>,
        was_taken: Option<i64>,
    ) {
        let is_same = user_ids(&was.members) == user_ids(&simulated.members);
        if self.pointer.is_some() || taken != was_taken || !is_same {
            self.pointer = Some(taken.unwrap_or(simulated.pointer));
        }
    }

    /// A turn that was taken for a mail that somebody saved by hand is taken in the simulation too.
    pub(super) fn turn_by_hand(&mut self, was: &QueueFacts, members: &[QueueMember]) {
        if self.pointer.is_some() {
            self.pointer = Some(next_turn(&self.queue(was, members)).new_pointer);
        }
    }

    /// What the simulation makes of a mail beside what was made of it: the ids of its items. The same kinds stand for
    /// the items that there are.
    pub(super) fn make(
        &mut self,
        (creation, client, at): (&Creation, &Party, Time),
        was: &Made,
    ) -> Vec<ItemId> {
        let kinds = kinds(creation);
        if let Some(plan) = was.plan.as_ref().filter(|plan| self::kinds(plan) == kinds) {
            let told = |plan: &Creation| (plan.responsible, plan.is_extra_lead);
            if told(plan) != told(creation) {
                let changed = was.items.iter().map(|id| (*id, told(creation)));
                self.changed.extend(changed);
            }
            return was.items.clone();
        }
        self.unmake(was);
        let first = self.made.len();
        let ids: Vec<ItemId> = (first..)
            .zip(&kinds)
            .map(|(place, _kind)| ItemId(-1 - i64::try_from(place).unwrap_or(i64::MAX - 1)))
            .collect();
        let new_contact = ids
            .iter()
            .zip(&kinds)
            .find(|(_id, kind)| **kind == ItemKind::Contact)
            .map(|(id, _kind)| *id);
        let contact = creation.contact.or(new_contact);
        for (id, plan) in ids.iter().zip(&creation.items) {
            let item = CandidateItem {
                id: *id,
                kind: plan.kind,
                is_open: true,
                responsible_id: creation.responsible,
                newest_entry_at: at,
                created_at: at,
                is_extra_lead: creation.is_extra_lead && plan.kind == ItemKind::Lead,
                contact_id: contact.filter(|_id| plan.kind == ItemKind::Deal),
            };
            let key = client.address_key.clone();
            self.made.push((key, item, plan.title.clone()));
        }
        self.count(was.hour, ids.len(), 1);
        ids
    }

    /// What was made of a mail is not made in the simulation.
    pub(super) fn unmake(&mut self, was: &Made) {
        self.gone.extend(was.items.iter().copied());
        self.count(was.hour, was.items.len(), -1);
    }

    fn count(&mut self, hour: Option<i64>, items: usize, sign: i64) {
        if let Some(hour) = hour {
            let items = i64::try_from(items).unwrap_or(0);
            *self.made_more.entry(hour).or_default() += items.saturating_mul(sign);
        }
    }

    /// A mail joined these items in the simulation alone.
    pub(super) fn touch(&mut self, on: &[ItemId], at: Time) {
        for id in on {
            if let Some((_key, item, _title)) =
                self.made.iter_mut().find(|(_, item, _)| item.id == *id)
            {
                item.newest_entry_at = item.newest_entry_at.max(at);
            } else {
                self.newest.insert(*id, at);
            }
        }
    }
}
