//! What changes of links, items and rights do to a screen: entries come into view, or go from it (R29).
//!
//! A change says how things were before it. So the present is walked back to the moment that the screen was filled, and
//! forward again, change by change: what came into view and what went from it is told at the place of the change. All is
//! judged by the viewer's rights as of now. Where more has changed than can be told one by one, or the rights themselves,
//! there is a gap: the list is to be read again.

use super::{LiveEvent, Wanted};
use crate::model::item::ItemFacts;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::timeline::{Position, TimelineKind};
use crate::model::{EmailId, ItemId};
use crate::rules::access::{self, EmailScope, Surface};
use crate::store::timeline::{LinkedBefore, TimelineChange};
use crate::store::{AnyConn, StoreError, items, links, timeline};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Emails whose entries are looked at for the changes of one reading; more are told as a gap.
const EMAILS_MAX: usize = 200;
/// Entries about them; more are told as a gap.
const ENTRIES_MAX: usize = 1_000;

/// Whose screen it is, and what is on it.
pub(super) struct Seen<'a> {
    /// The viewer as of now.
    pub viewer: &'a Viewer,
    pub wanted: &'a Wanted,
    /// Entries behind it were not delivered yet.
    pub cursor: Position,
    /// Whether the screen was filled under other rights, or nobody knows under which.
    pub rights_may_differ: bool,
}

/// What changes did.
pub(super) enum Effects {
    /// These events, in the order of their changes.
    Told(Vec<(Position, LiveEvent)>),
    /// Too much to tell: the list is to be read again.
    Gap,
    /// The stream's own item went out of view.
    ItemLost(LiveEvent),
}

/// An entry that shows where its email is visible.
type About = (Position, ItemId, TimelineKind);

/// Things as they are at one place among the changes.
#[derive(Default)]
struct State {
    facts: HashMap<ItemId, ItemFacts>,
    links: HashMap<EmailId, Vec<ItemId>>,
}

/// One change, as a way forward: what things are after it.
enum Forward {
    Links(EmailId, Vec<ItemId>),
    /// `None`: the item is gone.
    Item(ItemId, Option<ItemFacts>),
}

/// What there is to compare the states with.
struct Context {
    about: HashMap<EmailId, Vec<About>>,
    scope: EmailScope,
    /// Which items are readable in the end.
    reads_now: HashSet<ItemId>,
}

impl Seen<'_> {
    pub fn effects(
        &self,
        conn: &mut AnyConn,
        changes: &[(Position, TimelineChange)],
    ) -> Result<Effects, StoreError> {
        if changes.is_empty() {
            return Ok(Effects::Told(Vec::new()));
        }
        if let Some(lost) = self.lost_item(conn, changes)? {
            return Ok(Effects::ItemLost(lost));
        }
        if self.must_be_read_again(conn, changes)? {
            return Ok(Effects::Gap);
        }
        let Some(emails) = self.concerned(conn, changes)? else {
            return Ok(Effects::Gap);
        };
        let Some(about) = about(conn, &emails)? else {
            return Ok(Effects::Gap);
        };
        let mut state = present(conn, changes, &emails)?;
        let context = Context {
            about,
            scope: access::emails(self.viewer, Surface::Crm),
            reads_now: self.readable(&state),
        };
        let steps = walk_back(&mut state, changes)?;
        self.walk_forward(conn, &mut state, steps, &context)
    }

    fn reads(&self, facts: &ItemFacts) -> bool {
        access::decide(self.viewer, PermissionAction::Read, facts).is_granted()
    }

    fn readable(&self, state: &State) -> HashSet<ItemId> {
        let readable = state.facts.values().filter(|facts| self.reads(facts));
        readable.map(|facts| facts.id).collect()
    }

    /// The removal of the stream's own item, where it is out of view now.
    fn lost_item(
        &self,
        conn: &mut AnyConn,
        changes: &[(Position, TimelineChange)],
    ) -> Result<Option<LiveEvent>, StoreError> {
        let Some(item) = self.wanted.item else {
            return Ok(None);
        };
        let now = items::facts(conn, &[item])?.into_iter().next();
        if now.as_ref().is_some_and(|facts| self.reads(facts)) {
            return Ok(None);
        }
        let mut kind = now.map(|facts| facts.kind);
        for (at, change) in changes {
            if let TimelineChange::Item { item_id, before } = change
                && *item_id == item
            {
                kind = kind.or(Some(parsed(before, *at)?.kind));
            }
        }
        let at = changes.last().map_or(self.cursor, |(at, _change)| *at);
        Ok(Some(LiveEvent::ItemRemoved { item, kind, at }))
    }

    /// Whether the rights changed, or what lies in the past of a timeline that the viewer sees.
    fn must_be_read_again(
        &self,
        conn: &mut AnyConn,
        changes: &[(Position, TimelineChange)],
    ) -> Result<bool, StoreError> {
        for (_at, change) in changes {
            let is_seen = match change {
                TimelineChange::Rights => self.rights_may_differ,
                TimelineChange::History(None) => true,
                TimelineChange::History(Some(item)) => match self.wanted.item {
                    Some(wanted) => wanted == *item,
                    None => {
                        let facts = items::facts(conn, &[*item])?;
                        facts.first().is_some_and(|facts| self.reads(facts))
                    }
                },
                TimelineChange::Links { .. } | TimelineChange::Item { .. } => false,
            };
            if is_seen {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The emails whose visibility may have changed; `None`: too many.
    fn concerned(
        &self,
        conn: &mut AnyConn,
        changes: &[(Position, TimelineChange)],
    ) -> Result<Option<Vec<EmailId>>, StoreError> {
        let limit = i64::try_from(EMAILS_MAX.saturating_add(1)).unwrap_or(i64::MAX);
        let mut emails = BTreeSet::new();
        let mut looked_at = HashSet::new();
        for (at, change) in changes {
            match change {
                TimelineChange::Links { email_id, .. } => {
                    emails.insert(*email_id);
                }
                TimelineChange::Item { item_id, before } => {
                    let now = items::facts(conn, &[*item_id])?.into_iter().next();
                    let reads_now = now.as_ref().is_some_and(|facts| self.reads(facts));
                    let read_before = self.reads(&parsed(before, *at)?);
                    // Who never reads it has none of its emails on the screen.
                    if (reads_now || read_before) && looked_at.insert(*item_id) {
                        emails.extend(links::emails_of_item(conn, *item_id, limit)?);
                    }
                }
                TimelineChange::Rights | TimelineChange::History(_) => {}
            }
            if emails.len() > EMAILS_MAX {
                return Ok(None);
            }
        }
        Ok(Some(emails.into_iter().collect()))
    }

    fn sees(&self, state: &State, email: EmailId) -> bool {
        let linked = state.links.get(&email).map_or(&[][..], Vec::as_slice);
        let facts: Vec<ItemFacts> = linked
            .iter()
            .filter_map(|item| state.facts.get(item).copied())
            .collect();
        facts.len() == linked.len() && access::sees_in_crm(self.viewer, &facts)
    }

    /// Goes through the changes and tells what each did.
    fn walk_forward(
        &self,
        conn: &mut AnyConn,
        state: &mut State,
        steps: Vec<(Position, Forward)>,
        context: &Context,
    ) -> Result<Effects, StoreError> {
        let mut events = Vec::new();
        // Came into view and went again before anybody could be shown them.
        let mut never_shown = HashSet::new();
        for (at, forward) in steps.into_iter().rev() {
            let concerned = match &forward {
                Forward::Links(email, _) => vec![*email],
                Forward::Item(item, _) => emails_on(state, *item),
            };
            let before: Vec<(EmailId, Vec<ItemId>)> = concerned
                .iter()
                .map(|email| (*email, self.shown_on(state, *email)))
                .collect();
            if let Forward::Item(item, after) = &forward {
                match self.item(state, (*item, after.as_ref()), at) {
                    Some(LiveEvent::Gap(_)) if context.reads_now.contains(item) => {
                        return Ok(Effects::Gap);
                    }
                    Some(LiveEvent::Gap(_)) | None => {}
                    Some(removed) => events.push((at, removed)),
                }
            }
            apply(state, forward);
            for (email, was_on) in before {
                let is_on = self.shown_on(state, email);
                for entry in context.about.get(&email).into_iter().flatten() {
                    if !self.is_on_screen(entry) {
                        continue;
                    }
                    let (position, item, _kind) = *entry;
                    match (was_on.contains(&item), is_on.contains(&item)) {
                        (true, false)
                            if !never_shown.remove(&position) && self.reads_in(state, item) =>
                        {
                            let entry = position;
                            events.push((at, LiveEvent::EntryRemoved { entry, at }));
                        }
                        (false, true) => match timeline::get(conn, &context.scope, position)? {
                            Some(entry) => {
                                let entry = Arc::new(entry);
                                let about = None;
                                events.push((at, LiveEvent::Added { entry, at, about }));
                            }
                            None => {
                                never_shown.insert(position);
                            }
                        },
                        _ => {}
                    }
                }
            }
        }
        Ok(Effects::Told(events))
    }

    /// The items on whose timelines the email shows.
    fn shown_on(&self, state: &State, email: EmailId) -> Vec<ItemId> {
        if self.sees(state, email) {
            state.links.get(&email).cloned().unwrap_or_default()
        } else {
            Vec::new()
        }
    }

    fn reads_in(&self, state: &State, item: ItemId) -> bool {
        state
            .facts
            .get(&item)
            .is_some_and(|facts| self.reads(facts))
    }

    /// What becoming like this does to an item on the timeline of everything: it goes, or it comes with all its past.
    fn item(
        &self,
        state: &State,
        (item, after): (ItemId, Option<&ItemFacts>),
        at: Position,
    ) -> Option<LiveEvent> {
        if self.wanted.item.is_some() {
            return None;
        }
        let reads_after = after.is_some_and(|facts| self.reads(facts));
        match (self.reads_in(state, item), reads_after) {
            (true, false) => {
                let kind = state.facts.get(&item).map(|facts| facts.kind);
                Some(LiveEvent::ItemRemoved { item, kind, at })
            }
            (false, true) => Some(LiveEvent::Gap(at)),
            _ => None,
        }
    }

    /// Whether an entry may stand on the screen: what lies behind the cursor is delivered on its own, if it is visible.
    fn is_on_screen(&self, (position, item, kind): &About) -> bool {
        *position <= self.cursor
            && self.wanted.item.is_none_or(|wanted| wanted == *item)
            && (self.wanted.kinds.is_empty() || self.wanted.kinds.contains(kind))
    }
}

fn parsed(before: &str, at: Position) -> Result<ItemFacts, StoreError> {
    serde_json::from_str(before).map_err(|_error| StoreError::Corrupt {
        table: "timeline_changes",
        column: "before_json",
        row: at.0,
    })
}

/// The entries about these emails that depend on their visibility; `None`: too many.
fn about(
    conn: &mut AnyConn,
    emails: &[EmailId],
) -> Result<Option<HashMap<EmailId, Vec<About>>>, StoreError> {
    let limit = i64::try_from(ENTRIES_MAX.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = timeline::about_emails(conn, emails, limit)?;
    if rows.len() > ENTRIES_MAX {
        return Ok(None);
    }
    let mut found: HashMap<EmailId, Vec<About>> = HashMap::new();
    for (position, item, email, kind) in rows {
        found.entry(email).or_default().push((position, item, kind));
    }
    Ok(Some(found))
}

/// How things are now, as far as the changes concern them.
fn present(
    conn: &mut AnyConn,
    changes: &[(Position, TimelineChange)],
    emails: &[EmailId],
) -> Result<State, StoreError> {
    let mut state = State::default();
    for email in emails {
        state.links.insert(*email, Vec::new());
    }
    let mut ids = BTreeSet::new();
    for link in links::of_emails(conn, emails)? {
        ids.insert(link.item_id);
        state
            .links
            .entry(link.email_id)
            .or_default()
            .push(link.item_id);
    }
    for (_at, change) in changes {
        match change {
            TimelineChange::Links { before, .. } => {
                ids.extend(before.iter().map(LinkedBefore::id));
            }
            TimelineChange::Item { item_id, .. } => {
                ids.insert(*item_id);
            }
            TimelineChange::Rights | TimelineChange::History(_) => {}
        }
    }
    let ids: Vec<ItemId> = ids.into_iter().collect();
    for facts in items::facts(conn, &ids)? {
        state.facts.insert(facts.id, facts);
    }
    Ok(state)
}

/// Takes the changes back, the last one first; the ways forward again, in that order.
fn walk_back(
    state: &mut State,
    changes: &[(Position, TimelineChange)],
) -> Result<Vec<(Position, Forward)>, StoreError> {
    let mut steps = Vec::with_capacity(changes.len());
    for (at, change) in changes.iter().rev() {
        match change {
            TimelineChange::Links { email_id, before } => {
                for item in before {
                    // An item that is gone is known from here.
                    if let LinkedBefore::As(facts) = item {
                        state.facts.entry(facts.id).or_insert(*facts);
                    }
                }
                let ids = before.iter().map(LinkedBefore::id).collect();
                let after = state.links.insert(*email_id, ids).unwrap_or_default();
                steps.push((*at, Forward::Links(*email_id, after)));
            }
            TimelineChange::Item { item_id, before } => {
                let after = state.facts.insert(*item_id, parsed(before, *at)?);
                steps.push((*at, Forward::Item(*item_id, after)));
            }
            TimelineChange::Rights | TimelineChange::History(_) => {}
        }
    }
    Ok(steps)
}

fn apply(state: &mut State, forward: Forward) {
    match forward {
        Forward::Links(email, after) => {
            state.links.insert(email, after);
        }
        Forward::Item(item, Some(after)) => {
            state.facts.insert(item, after);
        }
        Forward::Item(item, None) => {
            state.facts.remove(&item);
        }
    }
}

/// The emails that hang on an item in this state.
fn emails_on(state: &State, item: ItemId) -> Vec<EmailId> {
    let mut found: Vec<EmailId> = state
        .links
        .iter()
        .filter(|(_email, linked)| linked.contains(&item))
        .map(|(email, _linked)| *email)
        .collect();
    found.sort_unstable();
    found
}
