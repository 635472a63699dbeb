//! What a change of links, items or rights does to a screen: entries come into view, or go from it (R29).
//! Both sides are judged by the viewer's rights as of now; a change of the rights themselves is told as a gap.

use super::{LiveEvent, Wanted};
use crate::model::item::ItemFacts;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::timeline::{Position, TimelineKind};
use crate::model::{EmailId, ItemId};
use crate::rules::access::{self, Surface};
use crate::store::timeline::{LinkedBefore, TimelineChange};
use crate::store::{AnyConn, StoreError, items, links, timeline};

/// Entries that one change is told for one by one; more are told as a gap.
const ENTRIES_PER_CHANGE_MAX: i64 = 200;

/// Whose screen it is, and what is on it.
pub(super) struct Seen<'a> {
    /// The viewer as of the last reading.
    pub before: &'a Viewer,
    /// The viewer as of now.
    pub viewer: &'a Viewer,
    pub wanted: &'a Wanted,
    /// Entries behind it were not delivered yet.
    pub cursor: Position,
}

/// What changes did.
#[derive(Default)]
pub(super) struct Effects {
    pub events: Vec<(Position, LiveEvent)>,
    /// The stream's own item went out of view.
    pub item_lost: Option<(Position, ItemId)>,
}

impl Seen<'_> {
    pub fn effects(
        &self,
        conn: &mut AnyConn,
        changes: Vec<(Position, TimelineChange)>,
    ) -> Result<Effects, StoreError> {
        let mut effects = Effects::default();
        for (at, change) in changes {
            match change {
                TimelineChange::Rights => self.rights(conn, at, &mut effects)?,
                TimelineChange::Links { email_id, before } => {
                    let before = facts_before(conn, &before)?;
                    self.email(conn, at, (email_id, &before), &mut effects)?;
                }
                TimelineChange::History(item) => self.history(conn, at, item, &mut effects)?,
                TimelineChange::Item { item_id, before } => {
                    self.item(conn, at, item_id, &before, &mut effects)?;
                }
            }
            if effects.item_lost.is_some() {
                break;
            }
        }
        Ok(effects)
    }

    fn reads(&self, facts: &ItemFacts) -> bool {
        access::decide(self.viewer, PermissionAction::Read, facts).is_granted()
    }

    /// The viewer's rights changed: too much may have come and gone to tell one by one.
    fn rights(
        &self,
        conn: &mut AnyConn,
        at: Position,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        if let Some(item) = self.wanted.item {
            let facts = items::facts(conn, &[item])?;
            if !facts.first().is_some_and(|facts| self.reads(facts)) {
                effects.item_lost = Some((at, item));
                return Ok(());
            }
        }
        let read = PermissionAction::Read;
        if access::items(self.before, read) != access::items(self.viewer, read) {
            effects.events.push((at, LiveEvent::Gap(at)));
        }
        Ok(())
    }

    /// What was read already changed, on one item or anywhere: it is to be read again.
    fn history(
        &self,
        conn: &mut AnyConn,
        at: Position,
        item: Option<ItemId>,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        if let (Some(wanted), Some(item)) = (self.wanted.item, item)
            && wanted != item
        {
            return Ok(());
        }
        if let Some(item) = self.wanted.item.or(item) {
            let facts = items::facts(conn, &[item])?;
            if !facts.first().is_some_and(|facts| self.reads(facts)) {
                if self.wanted.item.is_some() {
                    effects.item_lost = Some((at, item));
                }
                return Ok(());
            }
        }
        effects.events.push((at, LiveEvent::Gap(at)));
        Ok(())
    }

    /// An item's facts changed: the item itself, and the emails on it that are shown elsewhere too.
    fn item(
        &self,
        conn: &mut AnyConn,
        at: Position,
        item: ItemId,
        before: &str,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let before: ItemFacts =
            serde_json::from_str(before).map_err(|_error| StoreError::Corrupt {
                table: "timeline_changes",
                column: "before_json",
                row: at.0,
            })?;
        let now = items::facts(conn, &[item])?.into_iter().next();
        let (read_before, reads_now) = (
            self.reads(&before),
            now.as_ref().is_some_and(|facts| self.reads(facts)),
        );
        if read_before == reads_now {
            return Ok(());
        }
        if self.wanted.item == Some(item) {
            if !reads_now {
                effects.item_lost = Some((at, item));
            }
            return Ok(());
        }
        if self.wanted.item.is_none() {
            let event = if reads_now {
                LiveEvent::Gap(at)
            } else {
                LiveEvent::ItemRemoved { item, at }
            };
            effects.events.push((at, event));
            if reads_now {
                return Ok(());
            }
        }
        let emails = links::emails_of_item(conn, item, ENTRIES_PER_CHANGE_MAX)?;
        for email in emails {
            let mut linked = linked_facts(conn, email)?;
            for facts in &mut linked {
                if facts.id == item {
                    *facts = before;
                }
            }
            self.email(conn, at, (email, &linked), effects)?;
        }
        Ok(())
    }

    /// An email's visibility may have changed: `before` are the items it hung on, as they were.
    fn email(
        &self,
        conn: &mut AnyConn,
        at: Position,
        (email, before): (EmailId, &[ItemFacts]),
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let after = linked_facts(conn, email)?;
        let saw_before = access::sees_in_crm(self.viewer, before);
        let sees_now = access::sees_in_crm(self.viewer, &after);
        if !saw_before && !sees_now {
            return Ok(());
        }
        let on = |linked: &[ItemFacts], item| linked.iter().any(|facts| facts.id == item);
        let about = timeline::about_emails(conn, &[email], ENTRIES_PER_CHANGE_MAX)?;
        for (position, item, _email, kind) in about {
            // What lies behind the cursor is delivered as an entry of its own, if it is visible.
            if position > self.cursor || !self.is_wanted(item, kind) {
                continue;
            }
            match (saw_before && on(before, item), sees_now && on(&after, item)) {
                (true, false) => effects.events.push((
                    at,
                    LiveEvent::EntryRemoved {
                        entry: position,
                        at,
                    },
                )),
                (false, true) => {
                    let scope = access::emails(self.viewer, Surface::Crm);
                    if let Some(entry) = timeline::get(conn, &scope, position)? {
                        effects.events.push((at, LiveEvent::Added { entry, at }));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_wanted(&self, item: ItemId, kind: TimelineKind) -> bool {
        self.wanted.item.is_none_or(|wanted| wanted == item)
            && (self.wanted.kinds.is_empty() || self.wanted.kinds.contains(&kind))
    }
}

/// The facts about the items that an email hung on.
fn facts_before(conn: &mut AnyConn, before: &[LinkedBefore]) -> Result<Vec<ItemFacts>, StoreError> {
    let (mut found, mut ids) = (Vec::new(), Vec::new());
    for item in before {
        match item {
            LinkedBefore::Still(id) => ids.push(*id),
            LinkedBefore::As(facts) => found.push(*facts),
        }
    }
    if !ids.is_empty() {
        found.extend(items::facts(conn, &ids)?);
    }
    Ok(found)
}

/// The facts about the items that an email hangs on now.
fn linked_facts(conn: &mut AnyConn, email: EmailId) -> Result<Vec<ItemFacts>, StoreError> {
    let ids: Vec<ItemId> = links::of_emails(conn, &[email])?
        .into_iter()
        .map(|link| link.item_id)
        .collect();
    items::facts(conn, &ids)
}
