//! One mail after the other before the rules again, with the facts of its trace made what they would be.
//! Not for: how the simulated CRM differs (that is `world`).

use super::world::{Made, World};
use super::{Routed, RoutedItem, SimulatedMail};
use crate::actions::ingest::facts::{
    ClientFacts, Context, candidate_item, client_facts, is_listed, parent_facts, queue_at,
};
use crate::actions::ingest::judge::{
    COPY_STEP, ItemSeen, OUTCOME_STEP, OutcomeSeen, THREAD_STEP, ThreadSeen,
};
use crate::model::decisions::{Classification, Creation, Party, RoutingDecision, Verdict};
use crate::model::email::{Direction, EmailOutcome, RoutingStep, RoutingTrace};
use crate::model::{EmailId, ItemId, MessageId, Time, UserId};
use crate::rules::classify::{self, ClassifyFacts, classify};
use crate::rules::queue::{QueueFacts, QueueMember};
use crate::rules::routing::{
    self, CandidateItem, ParentFacts, RoutingFacts, RoutingSettings, route,
};
use crate::rules::trace::{facts_seen, step};
use crate::store::emails::JudgedMail;
use crate::store::{AnyConn, StoreError, clients, emails, items, users};
use serde::Deserialize;
use std::collections::HashSet;

/// The simulation while it runs.
pub(super) struct Replay<'a> {
    conn: &'a mut AnyConn,
    /// With the simulated settings.
    context: Context,
    /// Of the simulated queue, with who is active today.
    members: Vec<QueueMember>,
    world: World,
    /// The queue as it stood after the last mail whose trace tells.
    queue: QueueFacts,
    /// Items that mails of the simulation made, which have not come yet.
    to_come: HashSet<ItemId>,
}

/// A mail as it was judged.
struct Recorded {
    mail: JudgedMail,
    classify: ClassifyFacts,
    thread: Option<ThreadSeen>,
    routing: Option<RoutingFacts>,
    /// The items of another mailbox's copy that it joined.
    copy: Option<Vec<ItemId>>,
    outcome: OutcomeSeen,
}

impl Recorded {
    /// Hours since 1970; `None`: the backfill's mail, which is no flood.
    fn hour(&self) -> Option<i64> {
        let date = self.classify.internal_date;
        (!self.classify.is_backfill).then(|| date.seconds().div_euclid(3600))
    }

    fn made(&self) -> Made {
        let new = self.outcome.items.iter().filter(|item| item.is_new);
        let items: Vec<ItemId> = new.map(|item| item.item_id).collect();
        let plan = self.routing.as_ref().filter(|_facts| !items.is_empty());
        Made {
            plan: plan.and_then(|facts| match route(facts).decision {
                RoutingDecision::Create(creation) => Some(creation),
                _ => None,
            }),
            hour: self.hour(),
            items,
        }
    }
}

/// What the simulation decides, before it is set beside what was decided.
struct Decided {
    fate: Fate,
    steps: Vec<RoutingStep>,
    reason: String,
    /// Where the mail got as far as the client's items.
    routing: Option<RoutingFacts>,
}

enum Fate {
    Kept(EmailOutcome),
    Joins(Vec<ItemId>),
    Makes(Creation, Party),
}

#[derive(Deserialize)]
struct NamedItem {
    item_id: ItemId,
}

impl Recorded {
    /// What the trace tells; the mail itself where a version judged it that knew other facts.
    fn of(mail: JudgedMail) -> Result<Box<Self>, JudgedMail> {
        let steps = &mail.trace.steps;
        let seen = facts_seen(steps, classify::FACTS).zip(facts_seen(steps, OUTCOME_STEP));
        let Some((classify, outcome)) = seen else {
            return Err(mail);
        };
        let copy: Option<Vec<NamedItem>> = facts_seen(steps, COPY_STEP);
        Ok(Box::new(Self {
            classify,
            outcome,
            thread: facts_seen(steps, THREAD_STEP),
            routing: facts_seen(steps, routing::FACTS),
            copy: copy.map(|items| items.iter().map(|item| item.item_id).collect()),
            mail,
        }))
    }

    fn is_by_hand(&self) -> bool {
        let steps = &self.mail.trace.steps;
        steps.iter().any(|step| step.decided == classify::BY_HAND)
    }

    fn parent(&self) -> Option<MessageId> {
        self.thread.as_ref()?.parent_message_id
    }

    fn was(&self) -> Routed {
        let item = |item: &ItemSeen| RoutedItem {
            id: item.item_id,
            is_new: item.is_new,
            simulated: None,
        };
        Routed {
            outcome: self.outcome.outcome,
            items: self.outcome.items.iter().map(item).collect(),
            responsible_id: self.outcome.responsible_id,
            trace: self.mail.trace.clone(),
        }
    }
}

/// A mail that stays as it was.
fn unchanged(email_id: EmailId, was: Routed) -> SimulatedMail {
    SimulatedMail {
        email_id,
        differs: false,
        would: was.clone(),
        was,
    }
}

impl<'a> Replay<'a> {
    /// Before the first of these mails; `context`: the mailbox with the simulated settings.
    pub(super) fn new(
        conn: &'a mut AnyConn,
        context: Context,
        mails: &[JudgedMail],
    ) -> Result<Self, StoreError> {
        let active: HashSet<UserId> = users::get_many(conn, &context.settings.queue)?
            .into_iter()
            .filter(|user| user.is_active)
            .map(|user| user.id)
            .collect();
        let member = |&user_id: &UserId| QueueMember {
            user_id,
            is_active: active.contains(&user_id),
        };
        let members = context.settings.queue.iter().map(member).collect();
        let first = mails.iter().find_map(|mail| {
            facts_seen::<RoutingFacts>(&mail.trace.steps, routing::FACTS).map(|facts| facts.queue)
        });
        let queue = match first {
            Some(queue) => queue,
            None => queue_at(conn, &context, 0)?,
        };
        let to_come = mails
            .iter()
            .filter_map(|mail| facts_seen::<OutcomeSeen>(&mail.trace.steps, OUTCOME_STEP))
            .flat_map(|seen| seen.items)
            .filter(|item| item.is_new)
            .map(|item| item.item_id)
            .collect();
        Ok(Self {
            conn,
            context,
            members,
            world: World::default(),
            queue,
            to_come,
        })
    }

    /// The next mail.
    pub(super) fn judge(&mut self, mail: JudgedMail) -> Result<SimulatedMail, StoreError> {
        let recorded = match Recorded::of(mail) {
            Ok(recorded) => recorded,
            Err(mail) => {
                let was = Routed {
                    outcome: mail.outcome,
                    items: Vec::new(),
                    responsible_id: None,
                    trace: mail.trace,
                };
                return Ok(unchanged(mail.email_id, was));
            }
        };
        let made = recorded.made();
        let simulated = if recorded.is_by_hand() {
            if let (Some(facts), Some(_plan)) = (&recorded.routing, &made.plan) {
                self.world.turn_by_hand(&facts.queue, &self.members);
            }
            unchanged(recorded.mail.email_id, recorded.was())
        } else {
            let decided = self.decide(&recorded)?;
            self.carry_out(&recorded, &made, decided)
        };
        for item in &recorded.outcome.items {
            self.to_come.remove(&item.item_id);
        }
        if let Some(facts) = recorded.routing {
            let pointer = made
                .plan
                .map_or(facts.queue.pointer, |plan| plan.new_pointer);
            self.queue = QueueFacts {
                pointer,
                ..facts.queue
            };
        }
        Ok(simulated)
    }

    /// Asks the rules.
    fn decide(&mut self, recorded: &Recorded) -> Result<Decided, StoreError> {
        let facts = self.classify_facts(recorded);
        let Classification {
            verdict,
            mut steps,
            reason,
            direction,
        } = classify(&facts);
        if let Some(thread) = &recorded.thread {
            let seen = ThreadSeen {
                is_reply_to_saved: facts.is_reply_to_saved,
                ..thread.clone()
            };
            let told = recorded.mail.trace.steps.iter();
            let told = told.filter(|step| step.rule == THREAD_STEP);
            let told = told.map(|step| step.decided.clone()).next();
            steps.push(step(THREAD_STEP, &seen, told.unwrap_or_default()));
        }
        let kept = |fate, steps, reason| Decided {
            fate,
            steps,
            reason,
            routing: None,
        };
        let client = match verdict {
            Verdict::Keep(outcome) => return Ok(kept(Fate::Kept(outcome), steps, reason)),
            Verdict::Judge { client, .. } => client,
        };
        if let Some(items) = self.copy_items(recorded)? {
            let reason = "another mailbox's copy of the message is saved on these items";
            return Ok(kept(Fate::Joins(items), steps, reason.to_owned()));
        }
        let mut routing = match &recorded.routing {
            Some(facts) if facts.client.address_key == client.address_key => facts.clone(),
            _ => self.load(recorded, (direction, client.clone()))?,
        };
        self.settle(recorded, &mut routing, client.clone())?;
        let found = route(&routing);
        steps.extend(found.steps);
        Ok(Decided {
            fate: match found.decision {
                RoutingDecision::Keep(outcome) => Fate::Kept(outcome),
                RoutingDecision::Attach { primary, also, .. } => {
                    Fate::Joins(std::iter::once(primary).chain(also).collect())
                }
                RoutingDecision::Create(creation) => Fate::Makes(creation, client),
            },
            steps,
            reason: found.reason,
            routing: Some(routing),
        })
    }

    /// What was seen of the mail, under the simulated settings.
    fn classify_facts(&self, recorded: &Recorded) -> ClassifyFacts {
        let (settings, crm) = (&self.context.settings, &self.context.crm);
        let party = |party: &Party| Party {
            is_excluded: is_listed(&crm.exclusions, &party.address_key),
            ..party.clone()
        };
        let was = &recorded.classify;
        let elsewhere = self.world.elsewhere(recorded.parent());
        ClassifyFacts {
            crm_integration: settings.crm_integration,
            save_since: settings.save_since,
            sender_limit_per_hour: crm.sender_limit_per_hour,
            sender: was.sender.as_ref().map(party),
            recipients: was.recipients.iter().map(party).collect(),
            is_reply_to_saved: elsewhere.map_or(was.is_reply_to_saved, Option::is_some),
            ..was.clone()
        }
    }

    /// The items of another mailbox's copy, where the mail joined them, or would have.
    fn copy_items(&mut self, recorded: &Recorded) -> Result<Option<Vec<ItemId>>, StoreError> {
        if recorded.copy.is_some() || recorded.routing.is_some() {
            return Ok(recorded.copy.clone());
        }
        let JudgedMail {
            message_id,
            email_id,
            ..
        } = recorded.mail;
        let items = clients::items_of_message(self.conn, message_id, Some(email_id))?;
        Ok((!items.is_empty()).then_some(items))
    }

    /// The facts about a client whom nobody looked at when the mail was judged: what there is today, less what came
    /// later.
    fn load(
        &mut self,
        recorded: &Recorded,
        (direction, client): (Direction, Party),
    ) -> Result<RoutingFacts, StoreError> {
        let judged_at = recorded.mail.judged_at;
        let to_come = &self.to_come;
        let was_there = |item: &CandidateItem| {
            let is_older = judged_at == Time::from_micros(0) || item.created_at <= judged_at;
            is_older && !to_come.contains(&item.id)
        };
        let mut of_client = client_facts(self.conn, &client.address_key)?;
        let ClientFacts {
            contacts,
            open_deals,
            leads,
        } = &mut of_client;
        for list in [contacts, open_deals, leads] {
            list.retain(was_there);
        }
        let thread = recorded.thread.as_ref();
        let parent = match thread.and_then(|thread| thread.parent_message_id) {
            Some(parent) if recorded.classify.is_reply_to_saved => parent_facts(self.conn, parent)?,
            _ => None,
        };
        Ok(RoutingFacts {
            settings: RoutingSettings::from(&self.context.settings),
            leads_enabled: self.context.crm.leads_enabled,
            direction,
            client,
            subject: self.subject(recorded)?,
            automatic: recorded.classify.automatic.clone(),
            by_hand: false,
            is_always_new_lead: false,
            parent,
            is_report: thread.is_some_and(|thread| thread.is_report),
            contacts: of_client.contacts,
            open_deals: of_client.open_deals,
            leads: of_client.leads,
            queue: self.queue.clone(),
            made_this_hour: 0,
        })
    }

    fn subject(&mut self, recorded: &Recorded) -> Result<String, StoreError> {
        let email = emails::get(self.conn, recorded.mail.email_id)?;
        Ok(email.map(|email| email.subject).unwrap_or_default())
    }

    /// Makes the facts what they would be.
    fn settle(
        &mut self,
        recorded: &Recorded,
        facts: &mut RoutingFacts,
        client: Party,
    ) -> Result<(), StoreError> {
        let settings = &self.context.settings;
        facts.settings = RoutingSettings::from(settings);
        facts.leads_enabled = self.context.crm.leads_enabled;
        facts.is_always_new_lead = is_listed(&settings.always_new_lead_for, &client.address_key);
        facts.client = client;
        facts.queue = self.world.queue(&facts.queue, &self.members);
        let elsewhere = self.world.elsewhere(recorded.parent()).cloned();
        if let Some(elsewhere) = elsewhere {
            facts.parent = match elsewhere {
                Some(on) => Some(self.parent(&on)?),
                None => None,
            };
        }
        self.world.apply(facts, recorded.hour());
        Ok(())
    }

    fn parent(&mut self, on: &[ItemId]) -> Result<ParentFacts, StoreError> {
        let known = items::get_many(self.conn, on)?;
        Ok(self.world.parent(on, |id| {
            let item = known.iter().find(|item| item.id == id)?;
            Some(candidate_item(item, None))
        }))
    }

    /// Sets what is decided beside what was, and notes where they part.
    fn carry_out(&mut self, recorded: &Recorded, made: &Made, decided: Decided) -> SimulatedMail {
        let mail = &recorded.mail;
        self.turn(recorded, made, &decided);
        let (outcome, on, new) = match &decided.fate {
            Fate::Kept(outcome) => {
                self.world.unmake(made);
                (*outcome, Vec::new(), Vec::new())
            }
            Fate::Joins(on) => {
                self.world.unmake(made);
                (EmailOutcome::Saved, on.clone(), Vec::new())
            }
            Fate::Makes(creation, client) => {
                let new = self.world.make((creation, client, mail.judged_at), made);
                let on = new.iter().copied().chain(creation.contact).collect();
                (EmailOutcome::Saved, on, new)
            }
        };
        let responsible_id = self.responsible(recorded, &decided, &on);
        let was = recorded.was();
        let was_on: Vec<ItemId> = was.items.iter().map(|item| item.id).collect();
        let goes_elsewhere = outcome != was.outcome || on != was_on;
        if goes_elsewhere {
            self.world.touch(&on, mail.judged_at);
            let saved_on = (outcome == EmailOutcome::Saved).then(|| on.clone());
            self.world.went_elsewhere(mail.message_id, saved_on);
        }
        let is_new = |id: &ItemId| new.contains(id);
        SimulatedMail {
            email_id: mail.email_id,
            differs: goes_elsewhere || responsible_id != was.responsible_id,
            would: Routed {
                outcome,
                items: on
                    .iter()
                    .map(|id| self.world.routed(*id, is_new(id)))
                    .collect(),
                responsible_id,
                trace: RoutingTrace {
                    steps: decided.steps,
                    reason: decided.reason,
                    settings_version: self.context.settings.version,
                },
            },
            was,
        }
    }

    /// Whose turn is next in the simulation.
    fn turn(&mut self, recorded: &Recorded, made: &Made, decided: &Decided) {
        let was = made.plan.as_ref().map(|plan| plan.new_pointer);
        let taken = match &decided.fate {
            Fate::Makes(creation, _client) => Some(creation.new_pointer),
            Fate::Kept(_) | Fate::Joins(_) => None,
        };
        let before = recorded.routing.as_ref().map(|facts| &facts.queue);
        let before = before.unwrap_or(&self.queue);
        let simulated = match &decided.routing {
            Some(facts) => facts.queue.clone(),
            None => self.world.queue(before, &self.members),
        };
        self.world.turn((before, &simulated), taken, was);
    }

    /// Who answers for the mail: its primary item's responsible.
    fn responsible(&self, recorded: &Recorded, decided: &Decided, on: &[ItemId]) -> Option<UserId> {
        if let Fate::Makes(creation, _client) = &decided.fate {
            return Some(creation.responsible);
        }
        let primary = *on.first()?;
        let facts = decided.routing.as_ref();
        let of_parent = facts.and_then(|facts| facts.parent.as_ref());
        let mut candidates = facts
            .into_iter()
            .flat_map(|facts| [&facts.contacts, &facts.open_deals, &facts.leads])
            .chain(of_parent.map(|parent| &parent.items))
            .flatten();
        let candidate = candidates.find(|item| item.id == primary);
        let was = recorded.outcome.items.first();
        let as_it_was = was.filter(|item| item.item_id == primary);
        candidate
            .map(|item| item.responsible_id)
            .or_else(|| self.world.responsible(primary))
            .or_else(|| as_it_was.and(recorded.outcome.responsible_id))
    }
}
