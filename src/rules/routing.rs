//! Which item a client's mail goes to (R13, R15, R16, R18).
//! Not for: whether the mail is client mail at all (that is `classify`), nor what exactly is made (`creation`).

use super::creation::{LeadKind, Made, create};
use super::queue::QueueFacts;
use super::trace;
use crate::model::decisions::{Party, Routing, RoutingDecision};
use crate::model::email::{Direction, EmailOutcome, RoutingStep};
use crate::model::item::ItemKind;
use crate::model::mailbox::{CreatedItem, ExistingClientRouting, MailboxSettings};
use crate::model::{ItemId, Time, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The step that saw all facts, for a simulation to replay.
pub const FACTS: &str = "R20 the facts about the client";

/// Items that new mail makes in a mailbox within an hour, at most (R19). The largest sales teams get some hundred new
/// clients an hour; ten thousand forged senders in a minute leave the rest of their mail waiting, unsaved.
pub const MADE_PER_HOUR_MAX: i64 = 2_000;

/// The settings of the mailbox that routing depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingSettings {
    pub incoming_creates: CreatedItem,
    pub outgoing_creates: CreatedItem,
    pub existing_client_routing: ExistingClientRouting,
    pub replies_follow_thread: bool,
    pub source: String,
}

impl From<&MailboxSettings> for RoutingSettings {
    fn from(settings: &MailboxSettings) -> Self {
        Self {
            incoming_creates: settings.incoming_creates,
            outgoing_creates: settings.outgoing_creates,
            existing_client_routing: settings.existing_client_routing,
            replies_follow_thread: settings.replies_follow_thread,
            source: settings.source.clone(),
        }
    }
}

/// An item that the mail could go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateItem {
    #[serde(rename = "item_id")]
    pub id: ItemId,
    pub kind: ItemKind,
    /// By its stage; contacts are always open.
    pub is_open: bool,
    pub responsible_id: UserId,
    pub newest_entry_at: Time,
    pub created_at: Time,
    /// A lead that R15 made.
    pub is_extra_lead: bool,
    /// Of a deal: the contact through whom it is the client's.
    pub contact_id: Option<ItemId>,
}

/// The saved email that the mail answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentFacts {
    /// All items it is linked to, the primary one first.
    pub items: Vec<CandidateItem>,
}

/// Everything that routing depends on, loaded while the client's addresses and the queue are locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingFacts {
    pub settings: RoutingSettings,
    /// `false`: leads are off for the whole installation.
    pub leads_enabled: bool,
    pub direction: Direction,
    pub client: Party,
    pub subject: String,
    /// What makes the mail automatic, in a word.
    pub automatic: Option<String>,
    /// Somebody has chosen to save it without naming a target: lists and machines don't hold it back.
    pub by_hand: bool,
    /// The client's address or domain is on the mailbox's "always a new lead" list.
    pub is_always_new_lead: bool,
    /// `None`: it answers no saved email.
    pub parent: Option<ParentFacts>,
    /// It is a delivery report about the parent, which we sent.
    pub is_report: bool,
    /// With the client's address.
    pub contacts: Vec<CandidateItem>,
    /// Of the client's contacts.
    pub open_deals: Vec<CandidateItem>,
    /// With the client's address, open or closed.
    pub leads: Vec<CandidateItem>,
    pub queue: QueueFacts,
    /// Items that mail of the same hour has made in this mailbox; 0 for the backfill, which is no flood.
    pub made_this_hour: i64,
}

impl RoutingFacts {
    /// Judges as if these items were not there.
    pub fn leave_out(&mut self, items: &[ItemId]) {
        let lists = [&mut self.contacts, &mut self.open_deals, &mut self.leads];
        let of_parent = self.parent.iter_mut().map(|parent| &mut parent.items);
        for list in lists.into_iter().chain(of_parent) {
            list.retain(|item| !items.contains(&item.id));
        }
    }

    /// The client's contact. Where several have the address, the oldest, so that it is always the same one.
    pub(super) fn contact(&self) -> Option<&CandidateItem> {
        self.contacts.iter().min_by_key(|contact| age(contact))
    }

    /// The client's responsible: the contact's; without a contact, that of the oldest lead that R15 did not make.
    fn client_responsible(&self) -> Option<UserId> {
        let oldest_lead = || {
            self.leads
                .iter()
                .filter(|lead| !lead.is_extra_lead)
                .min_by_key(|lead| age(lead))
        };
        self.contact()
            .or_else(oldest_lead)
            .map(|item| item.responsible_id)
    }

    /// Whether anything in the CRM, open or closed, is the client's.
    const fn is_known_client(&self) -> bool {
        !(self.contacts.is_empty() && self.leads.is_empty() && self.open_deals.is_empty())
    }

    /// What an unknown client's mail makes (R13).
    const fn creates(&self) -> CreatedItem {
        match self.direction {
            Direction::Incoming => self.settings.incoming_creates,
            Direction::Outgoing => self.settings.outgoing_creates,
        }
    }

    /// What mail of a client makes whose responsible is not in the queue: a lead, but nothing where nothing is made.
    const fn kind_for_outsider_of_queue(&self) -> CreatedItem {
        match self.creates() {
            CreatedItem::Nothing => CreatedItem::Nothing,
            _ => CreatedItem::Lead,
        }
    }

    /// What mail of a known client makes where it may not join: the same as a new client's, but no second contact
    /// of one person.
    const fn kind_for_another_of_client(&self) -> CreatedItem {
        match self.creates() {
            CreatedItem::Contact if !self.contacts.is_empty() => CreatedItem::Lead,
            kind => kind,
        }
    }

    /// Whether the mailbox's hour is used up by items that mail has made (R19). What somebody chose to save is no flood.
    pub(super) const fn is_flooded(&self) -> bool {
        !self.by_hand && self.made_this_hour >= MADE_PER_HOUR_MAX
    }

    /// Whether it is an excluded client's mail that nobody chose to save.
    pub(super) const fn is_held_back_as_excluded(&self) -> bool {
        self.client.is_excluded && !self.by_hand
    }

    /// Whether it is a machine's mail that nobody chose to save.
    pub(super) const fn is_held_back_as_automatic(&self) -> bool {
        self.automatic.is_some() && !self.by_hand
    }
}

/// What one rule said. Without a decision the next rule is tried.
struct Tried {
    step: RoutingStep,
    decision: Option<RoutingDecision>,
}

/// Finds where the mail goes, or what it makes.
pub fn route(facts: &RoutingFacts) -> Routing {
    let ranking: [fn(&RoutingFacts) -> Tried; 7] = [
        report,               // R18: a bounce is logged on the mail that it reports on
        always_new_lead,      // R18: listed addresses make a lead with each mail
        reply_follows_thread, // R15: a reply stays on the open item of the mail it answers
        exclusion,            // R18: excluded clients get no new saves
        existing_client, // R15: may the mail join the client's items, or does it make a new one?
        newest_candidate, // R16: the open deal with the newest entry, else the open lead, else the contact
        new_client,       // R13: nothing is there to join, so something is made
    ];
    let mut steps = vec![trace::step(FACTS, facts, "judged")];
    for rule in ranking {
        let Tried { step, decision } = rule(facts);
        let reason = step.decided.clone();
        steps.push(step);
        if let Some(decision) = decision {
            return Routing {
                decision,
                steps,
                reason,
            };
        }
    }
    Routing {
        decision: RoutingDecision::Keep(EmailOutcome::NothingToCreate),
        steps,
        reason: "no rule makes anything of it".to_owned(),
    }
}

/// R18: a bounce goes to all items of the mail that it reports on, open or closed: it is part of that mail's story.
fn report(facts: &RoutingFacts) -> Tried {
    let rule = "R18 bounces";
    let parent = facts.parent.as_ref().filter(|_| facts.is_report);
    let saw = json!({ "is_report": facts.is_report, "parent": parent });
    match parent.and_then(|parent| parent.items.split_first()) {
        Some((primary, others)) => {
            let joined = RoutingDecision::Attach {
                primary: primary.id,
                also: others.iter().map(|item| item.id).collect(),
                ambiguous: false,
            };
            let reason = "it is logged on the mail that it reports on";
            decide(rule, &saw, reason, joined)
        }
        None => pass(rule, &saw, "it reports on no saved mail of ours"),
    }
}

/// R18: what listed addresses send makes a lead each time, whatever there is already. An exclusion goes before it,
/// and automatic mail may only join.
fn always_new_lead(facts: &RoutingFacts) -> Tried {
    let rule = "R18 always a new lead";
    let saw = json!({
        "is_always_new_lead": facts.is_always_new_lead,
        "direction": facts.direction,
        "is_excluded": facts.client.is_excluded,
        "automatic": facts.automatic,
    });
    if !facts.is_always_new_lead || facts.direction == Direction::Outgoing {
        pass(rule, &saw, "not on the list")
    } else if facts.is_held_back_as_excluded() || facts.is_held_back_as_automatic() {
        pass(rule, &saw, "on the list, but excluded or automatic")
    } else {
        let made = create(facts, CreatedItem::Lead, LeadKind::Ordinary);
        decide(rule, &saw, "the list makes a new lead of each mail", made)
    }
}

/// R15, R16: a reply to a saved email stays on that email's open item, in every mode.
fn reply_follows_thread(facts: &RoutingFacts) -> Tried {
    let rule = "R15 replies follow their thread";
    let saw = json!({
        "replies_follow_thread": facts.settings.replies_follow_thread,
        "parent": facts.parent,
    });
    let Some(parent) = &facts.parent else {
        return pass(rule, &saw, "it answers no saved email");
    };
    if !facts.settings.replies_follow_thread {
        return pass(rule, &saw, "replies are judged like any other mail");
    }
    match open_item_of(parent) {
        Some(item) => decide(
            rule,
            &saw,
            "the reply stays on the open item of the email that it answers",
            attach(facts, item, Choice::Clear),
        ),
        None => pass(rule, &saw, "the email that it answers is on no open item"),
    }
}

/// The parent's open deal, else its open lead. Its contact only where it hung on contacts alone: a contact is
/// always open, and would keep replies away from the client's next deal after this one is closed.
fn open_item_of(parent: &ParentFacts) -> Option<&CandidateItem> {
    let open = |kind| liveliest(parent.items.iter().filter(move |item| item.kind == kind));
    let mut items = parent.items.iter();
    let is_on_contacts_alone = items.all(|item| item.kind == ItemKind::Contact);
    open(ItemKind::Deal)
        .or_else(|| open(ItemKind::Lead))
        .or_else(|| open(ItemKind::Contact).filter(|_| is_on_contacts_alone))
}

/// R18: an excluded client's replies to saved mail may join what there is; nothing else of theirs is saved.
fn exclusion(facts: &RoutingFacts) -> Tried {
    let rule = "R18 exclusion list";
    let saw = json!({
        "is_excluded": facts.client.is_excluded,
        "by_hand": facts.by_hand,
        "answers_saved_email": facts.parent.is_some(),
    });
    if !facts.is_held_back_as_excluded() {
        pass(rule, &saw, "nothing is excluded")
    } else if facts.parent.is_some() {
        let passes = "on the exclusion list, but it answers a saved mail: it may join";
        pass(rule, &saw, passes)
    } else {
        let keep = RoutingDecision::Keep(EmailOutcome::Excluded);
        decide(rule, &saw, "the client is on the exclusion list", keep)
    }
}

/// R15: "Route emails from existing clients to assigned CRM managers". It is about mail that comes from clients;
/// what our people write to a client joins what the client has.
fn existing_client(facts: &RoutingFacts) -> Tried {
    use ExistingClientRouting::{AlwaysNew, AttachAlways, AttachIfResponsibleInQueue};
    let rule = "R15 existing clients";
    let mode = facts.settings.existing_client_routing;
    let responsible = facts.client_responsible();
    let saw = json!({
        "existing_client_routing": mode,
        "direction": facts.direction,
        "contacts": facts.contacts,
        "leads": facts.leads,
        "responsible": responsible,
        "queue": facts.queue.members,
    });
    if !facts.is_known_client() {
        return pass(rule, &saw, "the client is unknown");
    }
    if facts.direction == Direction::Outgoing {
        return pass(rule, &saw, "outgoing mail joins what the client has");
    }
    match (mode, responsible) {
        (AttachAlways, _) => pass(rule, &saw, "it joins, whoever is responsible"),
        (AttachIfResponsibleInQueue, Some(user)) if facts.queue.has_active(user) => pass(
            rule,
            &saw,
            "it joins: the client's responsible is an active user of the queue",
        ),
        (AttachIfResponsibleInQueue, Some(_)) => decide(
            rule,
            &saw,
            "the client's responsible is not in the queue: each mail makes a new lead for the next in it",
            create(facts, facts.kind_for_outsider_of_queue(), LeadKind::Extra),
        ),
        (AttachIfResponsibleInQueue, None) => decide(
            rule,
            &saw,
            "nobody is responsible for the client: the mail makes what a new client's makes",
            create(facts, facts.creates(), LeadKind::Ordinary),
        ),
        (AlwaysNew, _) => decide(
            rule,
            &saw,
            "mail never joins here: it makes something new",
            create(facts, facts.kind_for_another_of_client(), LeadKind::Extra),
        ),
    }
}

/// R16: the client's open deal with the newest timeline entry, else the open lead, else the contact alone.
fn newest_candidate(facts: &RoutingFacts) -> Tried {
    let rule = "R16 candidates";
    let open_leads = || facts.leads.iter().filter(|lead| lead.is_open);
    let open_deals = || facts.open_deals.iter().filter(|deal| deal.is_open);
    let saw = json!({
        "open_deals": facts.open_deals,
        "open_leads": open_leads().collect::<Vec<_>>(),
        "contacts": facts.contacts,
    });
    let join = |item, choice, reason| decide(rule, &saw, reason, attach(facts, item, choice));
    if let Some(deal) = liveliest(open_deals()) {
        return if open_deals().count() > 1 {
            let reason = "AMBIGUOUS: of several open deals, it joins the one with the newest entry";
            join(deal, Choice::Ambiguous, reason)
        } else {
            join(deal, Choice::Clear, "it joins the client's open deal")
        };
    }
    if let Some(lead) = liveliest(open_leads()) {
        return join(lead, Choice::Clear, "it joins the client's open lead");
    }
    if let Some(contact) = facts.contact() {
        let reason = "it joins the contact alone: the client has no open deal or lead";
        return join(contact, Choice::Clear, reason);
    }
    pass(rule, &saw, "the client has nothing to join")
}

/// R13: what the mailbox makes of mail from, or to, a client with nothing to join.
fn new_client(facts: &RoutingFacts) -> Tried {
    let saw = json!({
        "creates": facts.creates(),
        "leads_enabled": facts.leads_enabled,
        "automatic": facts.automatic,
        "queue": facts.queue,
    });
    let made = create(facts, facts.creates(), LeadKind::Ordinary);
    let reason = "it makes what the mailbox makes of a new client's mail";
    decide("R13 new clients", &saw, reason, made)
}

/// Whether the choice of an item was clear.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Clear,
    Ambiguous,
}

/// Joins the item; the client's contact is linked too: the one that the deal hangs on, if it is one of the client's.
fn attach(facts: &RoutingFacts, item: &CandidateItem, choice: Choice) -> RoutingDecision {
    let of_client = facts.open_deals.iter().find(|deal| deal.id == item.id);
    let contact_id = of_client.unwrap_or(item).contact_id;
    let contact = facts
        .contacts
        .iter()
        .find(|contact| Some(contact.id) == contact_id)
        .or_else(|| facts.contact());
    RoutingDecision::Attach {
        primary: item.id,
        also: contact
            .map(|contact| contact.id)
            .filter(|id| *id != item.id)
            .into_iter()
            .collect(),
        ambiguous: choice == Choice::Ambiguous,
    }
}

/// Of these, the open one with the newest timeline entry; where two are as new, the later one.
fn liveliest<'a>(items: impl Iterator<Item = &'a CandidateItem>) -> Option<&'a CandidateItem> {
    items
        .filter(|item| item.is_open)
        .max_by_key(|item| (item.newest_entry_at, item.created_at, item.id))
}

/// Orders from the oldest on.
const fn age(item: &CandidateItem) -> (Time, ItemId) {
    (item.created_at, item.id)
}

fn pass(rule: &str, saw: &Value, passes: &str) -> Tried {
    Tried {
        step: trace::step(rule, saw, passes),
        decision: None,
    }
}

fn decide(rule: &str, saw: &Value, reason: &str, made: impl Into<Made>) -> Tried {
    let Made { decision, remark } = made.into();
    let decided = match remark {
        Some(remark) => format!("{reason}; but {remark}"),
        None => reason.to_owned(),
    };
    Tried {
        step: trace::step(rule, saw, decided),
        decision: Some(decision),
    }
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod tests;
