//! What a mail makes where it joins nothing (R13), and for whom (R14).
//! Not for: whether anything is to be made; that is ranked in `routing`.

use super::queue::next_turn;
use super::routing::RoutingFacts;
use crate::model::decisions::{Creation, NewItemPlan, RoutingDecision};
use crate::model::email::EmailOutcome;
use crate::model::item::ItemKind;
use crate::model::mailbox::CreatedItem;

/// Titles are one line of a list; a subject can be as long as a mail. Longer ones end in "…".
const TITLE_CHARS_MAX: usize = 250;

/// Whether a lead counts towards the client's responsible (R15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadKind {
    Ordinary,
    /// Made by R15 for one mail of a known client; it doesn't count.
    Extra,
}

/// What is made, and why it is not what was wanted, where it isn't.
pub struct Made {
    pub decision: RoutingDecision,
    pub remark: Option<&'static str>,
}

impl From<RoutingDecision> for Made {
    fn from(decision: RoutingDecision) -> Self {
        Self {
            decision,
            remark: None,
        }
    }
}

/// Makes what is wanted for the next in the queue.
pub fn create(facts: &RoutingFacts, wanted: CreatedItem, lead_kind: LeadKind) -> Made {
    if facts.is_held_back_as_automatic() {
        return keep(EmailOutcome::Automatic, "automatic mail makes no item");
    }
    if facts.is_held_back_as_excluded() {
        let remark = "the client is on the exclusion list: nothing new is made";
        return keep(EmailOutcome::Excluded, remark);
    }
    let items = plan(facts, wanted);
    let Some(first) = items.first() else {
        return keep(EmailOutcome::NothingToCreate, "the mailbox makes nothing");
    };
    if facts.is_flooded() {
        let remark = "mail has made as many items in this hour as one mailbox makes";
        return keep(EmailOutcome::RateGuard, remark);
    }
    let turn = next_turn(&facts.queue);
    let Some(responsible) = turn.responsible else {
        return keep(
            EmailOutcome::NothingToCreate,
            "no active user is there to be responsible",
        );
    };
    let is_lead = first.kind == ItemKind::Lead;
    RoutingDecision::Create(Creation {
        contact: facts.contact().map(|contact| contact.id),
        responsible,
        is_extra_lead: is_lead && lead_kind == LeadKind::Extra,
        new_pointer: turn.new_pointer,
        fallback: turn.fallback,
        items,
    })
    .into()
}

const fn keep(outcome: EmailOutcome, remark: &'static str) -> Made {
    Made {
        decision: RoutingDecision::Keep(outcome),
        remark: Some(remark),
    }
}

/// The items, the primary one first. A deal comes with a contact, unless the client has one; with leads off, both
/// stand in for a lead.
fn plan(facts: &RoutingFacts, wanted: CreatedItem) -> Vec<NewItemPlan> {
    match wanted {
        CreatedItem::Nothing => vec![],
        CreatedItem::Contact => vec![new_contact(facts)],
        CreatedItem::Lead if facts.leads_enabled => vec![new_lead(facts)],
        CreatedItem::Lead | CreatedItem::Deal if facts.contact().is_some() => vec![new_deal(facts)],
        CreatedItem::Lead | CreatedItem::Deal => vec![new_deal(facts), new_contact(facts)],
    }
}

fn new_lead(facts: &RoutingFacts) -> NewItemPlan {
    NewItemPlan {
        kind: ItemKind::Lead,
        title: title(facts),
        name: display_name(facts),
        source: one_line(&facts.settings.source),
    }
}

fn new_deal(facts: &RoutingFacts) -> NewItemPlan {
    NewItemPlan {
        kind: ItemKind::Deal,
        title: title(facts),
        name: None,
        source: None,
    }
}

/// A contact is a person, not a request: it is called by its name, not by the subject.
fn new_contact(facts: &RoutingFacts) -> NewItemPlan {
    let name = name_or_address(facts);
    NewItemPlan {
        kind: ItemKind::Contact,
        title: name.clone(),
        name: Some(name),
        source: one_line(&facts.settings.source),
    }
}

/// The subject, else "Email from …".
fn title(facts: &RoutingFacts) -> String {
    one_line(&facts.subject).unwrap_or_else(|| format!("Email from {}", name_or_address(facts)))
}

fn display_name(facts: &RoutingFacts) -> Option<String> {
    facts.client.name.as_deref().and_then(one_line)
}

fn name_or_address(facts: &RoutingFacts) -> String {
    display_name(facts).unwrap_or_else(|| facts.client.address_key.clone())
}

/// The text in one line of bounded length; `None` where nothing is left.
fn one_line(text: &str) -> Option<String> {
    let visible: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return None;
    }
    if line.chars().count() <= TITLE_CHARS_MAX {
        return Some(line);
    }
    let start: String = line.chars().take(TITLE_CHARS_MAX - 1).collect();
    Some(format!("{}…", start.trim_end()))
}

#[cfg(test)]
mod tests;
