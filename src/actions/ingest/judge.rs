//! One mail before the rules, and what they decide written down: the same way for mail that arrives, mail that is
//! judged again, and mail that is saved by hand without a target.

use super::facts::{Context, MailFacts, is_listed};
use super::known::Known;
use crate::actions::saving::{ClientAddressed, Saving, create_items, save_on};
use crate::model::decisions::{
    Classification, Creation, Fallback, HandVerdict, Party, RoutingDecision, ThreadChoice, Verdict,
};
use crate::model::email::{Direction, EmailOutcome, RoutingStep, RoutingTrace};
use crate::model::mailbox::MailboxWarning;
use crate::model::refusal::ErrorCode;
use crate::model::{EmailId, ItemId, MessageId, Time, UserId};
use crate::rules::classify::{ClassifyFacts, FolderFacts, OriginFacts, classify};
use crate::rules::routing::{RoutingFacts, RoutingSettings, route};
use crate::rules::{classify as rules_classify, trace};
use crate::store::{StoreError, Tx, email_writes};
use serde::{Deserialize, Serialize};

/// The email that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    pub email_id: EmailId,
    pub message_id: MessageId,
    pub received_at: Time,
    /// Who saves it by hand.
    pub by: Option<UserId>,
    /// Mails of its sender that came before it within the hour, where they were counted before; `None`: it is
    /// counted now.
    pub sender_count: Option<i64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Saved, on these items, the primary one first.
    Saved(Vec<ItemId>),
    /// Kept unsaved.
    Kept(EmailOutcome),
    /// It can't be saved by hand.
    Refused(ErrorCode),
}

/// What the rules make of a mail, before anything is written.
pub struct Decided {
    pub direction: Direction,
    pub fate: Fate,
    pub steps: Vec<RoutingStep>,
    pub reason: String,
}

/// Where a mail goes.
pub enum Fate {
    Kept(EmailOutcome),
    /// On these items, the primary one first.
    Joins(Vec<ItemId>),
    /// Items are made for the client.
    Makes(Creation, Party),
}

/// Judges a mail and writes what was decided, with its trace.
pub fn judge(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    mail: &MailFacts,
    folder: FolderFacts,
    judged: Judged,
    thread: &ThreadChoice,
) -> Result<Judgement, StoreError> {
    match decide(tx, known, context, mail, folder, judged, (thread, &[]))? {
        Ok(decided) => carry_out(tx, known, context, (judged, mail), decided),
        Err(code) => Ok(Judgement::Refused(code)),
    }
}

/// Asks the rules about a mail; `without`: items that count as not there. Only the sender's count is written.
pub fn decide(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    mail: &MailFacts,
    folder: FolderFacts,
    judged: Judged,
    (thread, without): (&ThreadChoice, &[ItemId]),
) -> Result<Result<Decided, ErrorCode>, StoreError> {
    let found = match classified(known, context, mail, folder, judged, thread) {
        Ok(found) => found,
        Err(code) => return Ok(Err(code)),
    };
    let Classification {
        direction,
        verdict,
        mut steps,
        reason,
    } = found;
    steps.push(trace::step(
        THREAD_STEP,
        &ThreadSeen::of(thread),
        thread.reason.clone(),
    ));
    let client = match verdict {
        Verdict::Keep(outcome) => {
            return Ok(Ok(Decided {
                direction,
                fate: Fate::Kept(outcome),
                steps,
                reason,
            }));
        }
        Verdict::Judge { client, .. } => client,
    };
    if let Some(items) = copy_items(known, judged) {
        let reason = "another mailbox's copy of the message is saved on these items";
        let named: Vec<_> = items
            .iter()
            .map(|item| serde_json::json!({ "item_id": item.0 }))
            .collect();
        steps.push(trace::step(COPY_STEP, &named, reason));
        return Ok(Ok(Decided {
            direction,
            fate: Fate::Joins(items),
            steps,
            reason: reason.to_owned(),
        }));
    }
    let mut facts = routing_facts(
        tx,
        known,
        context,
        mail,
        (direction, client.clone()),
        judged,
        thread,
    )?;
    facts.leave_out(without);
    let routing = route(&facts);
    steps.extend(routing.steps);
    Ok(Ok(Decided {
        direction,
        fate: match routing.decision {
            RoutingDecision::Keep(outcome) => Fate::Kept(outcome),
            RoutingDecision::Attach { primary, also, .. } => {
                Fate::Joins(std::iter::once(primary).chain(also).collect())
            }
            RoutingDecision::Create(creation) => Fate::Makes(creation, client),
        },
        steps,
        reason: routing.reason,
    }))
}

/// Whether it is to be judged further, or the code of why it can't be saved by hand.
fn classified(
    known: &mut Known,
    context: &Context,
    mail: &MailFacts,
    folder: FolderFacts,
    judged: Judged,
    thread: &ThreadChoice,
) -> Result<Classification, ErrorCode> {
    if judged.by.is_none() {
        let count = judged
            .sender_count
            .unwrap_or_else(|| known.count_sender(mail));
        let facts = classify_facts(context, mail, folder, (count, thread));
        return Ok(classify(&facts));
    }
    match by_hand(context, mail, folder, thread) {
        Err(code) => Err(code),
        Ok(ByHand { client: None, .. }) => Err(ErrorCode::BadInput),
        Ok(ByHand {
            direction,
            client: Some(client),
            steps,
        }) => Ok(Classification {
            direction,
            verdict: Verdict::Judge {
                client,
                other_clients: Vec::new(),
            },
            steps,
            reason: String::new(),
        }),
    }
}

/// Writes what was decided.
fn carry_out(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (judged, mail): (Judged, &MailFacts),
    decided: Decided,
) -> Result<Judgement, StoreError> {
    let Decided {
        direction,
        fate,
        steps,
        reason,
    } = decided;
    let told = (steps, reason);
    match fate {
        Fate::Kept(outcome) => {
            if outcome == EmailOutcome::RateGuard {
                warn(tx, known, context, MailboxWarning::SenderRateGuard)?;
            }
            let email = (judged.email_id, judged.message_id);
            keep(tx, known, context, email, (direction, outcome), told)?;
            Ok(Judgement::Kept(outcome))
        }
        Fate::Joins(on) => {
            save(
                tx,
                known,
                context,
                (judged, mail),
                (direction, &on, &[]),
                told,
            )?;
            Ok(Judgement::Saved(on))
        }
        Fate::Makes(creation, client) => {
            let (made, on) = make(tx, known, context, mail, &creation, &client)?;
            save(
                tx,
                known,
                context,
                (judged, mail),
                (direction, &on, &made),
                told,
            )?;
            Ok(Judgement::Saved(on))
        }
    }
}

/// The step of a trace that says which conversation a mail joined.
pub const THREAD_STEP: &str = "R17 thread";
/// The step that says that another mailbox's copy of the message was saved before.
pub const COPY_STEP: &str = "R7 one message";
/// The last step, which says what became of the mail.
pub const OUTCOME_STEP: &str = "R5 outcome";

/// What the trace says about the conversation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThreadSeen {
    pub joins: bool,
    pub is_reply_to_saved: bool,
    pub is_report: bool,
    /// The message that it answers.
    pub parent_message_id: Option<MessageId>,
}

impl ThreadSeen {
    fn of(thread: &ThreadChoice) -> Self {
        Self {
            joins: thread.thread.is_some(),
            is_reply_to_saved: thread.is_reply_to_saved,
            is_report: thread.is_report,
            parent_message_id: thread.parent,
        }
    }
}

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeSeen {
    pub outcome: EmailOutcome,
    /// The primary one first; none where it is kept unsaved.
    pub items: Vec<ItemSeen>,
    pub responsible_id: Option<UserId>,
    /// Items that it made when it was judged before, and that it was moved off since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ItemSeen>,
}

/// An item that a mail was saved on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemSeen {
    pub item_id: ItemId,
    /// The mail made it.
    pub is_new: bool,
}

/// A mail that somebody chose to save.
pub struct ByHand {
    pub direction: Direction,
    /// `None`: it names nobody outside.
    pub client: Option<Party>,
    pub steps: Vec<RoutingStep>,
}

/// Whether a mail may be saved by hand, or the code of why not (R12).
pub fn by_hand(
    context: &Context,
    mail: &MailFacts,
    folder: FolderFacts,
    thread: &ThreadChoice,
) -> Result<ByHand, ErrorCode> {
    let found = rules_classify::by_hand(&classify_facts(context, mail, folder, (0, thread)));
    match found.verdict {
        HandVerdict::Refused(code) => Err(code),
        HandVerdict::Judge { client, .. } => Ok(ByHand {
            direction: found.direction,
            client,
            steps: found.steps,
        }),
    }
}

/// Saves a mail on items that somebody named.
pub fn save_named(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (judged, mail): (Judged, &MailFacts),
    (on, made): (&[ItemId], &[ItemId]),
    found: ByHand,
) -> Result<(), StoreError> {
    let mut steps = found.steps;
    let reason = "somebody named where it belongs";
    let named: Vec<_> = on
        .iter()
        .map(|item| serde_json::json!({ "item_id": item.0 }))
        .collect();
    steps.push(trace::step(BY_HAND_STEP, &named, reason));
    let told = (steps, reason.to_owned());
    save(
        tx,
        known,
        context,
        (judged, mail),
        (found.direction, on, made),
        told,
    )
}

/// The step that says that somebody has named where a mail belongs.
pub const BY_HAND_STEP: &str = "R24 saved by hand";

/// `sender_count`: mails of the sender that came before it within the hour.
fn classify_facts(
    context: &Context,
    mail: &MailFacts,
    folder: FolderFacts,
    (sender_count, thread): (i64, &ThreadChoice),
) -> ClassifyFacts {
    let party = |(key, name): &(String, Option<String>)| context.party(key, name.as_deref());
    ClassifyFacts {
        folder,
        spam_goes_to_inbox: context.spam_goes_to_inbox(),
        origin: OriginFacts {
            has_our_message_id: mail.has_our_message_id,
            is_from_own_address: mail
                .sender
                .as_ref()
                .is_some_and(|(key, _name)| context.is_own(key)),
            has_received_header: mail.has_received_header,
        },
        crm_integration: context.settings.crm_integration,
        sender: mail.sender.as_ref().map(party),
        is_suspicious: mail.is_suspicious,
        recipients: mail.recipients.iter().map(party).collect(),
        hides_client: mail.hides_client,
        automatic: mail.automatic.clone(),
        is_reply_to_saved: thread.is_reply_to_saved,
        is_backfill: mail.is_backfill,
        internal_date: mail.internal_date,
        save_since: context.settings.save_since,
        sender_count_last_hour: sender_count,
        sender_limit_per_hour: context.crm.sender_limit_per_hour,
    }
}

/// What routing asks about, the queue being locked.
fn routing_facts(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    mail: &MailFacts,
    (direction, client): (Direction, Party),
    judged: Judged,
    thread: &ThreadChoice,
) -> Result<RoutingFacts, StoreError> {
    let of_client = known.client_facts(tx, &client.address_key)?;
    let parent = thread
        .parent
        .filter(|_parent| thread.is_reply_to_saved)
        .and_then(|parent| known.parent_facts(parent));
    let is_always_new_lead = is_listed(&context.settings.always_new_lead_for, &client.address_key);
    let is_flood_possible = judged.by.is_none() && !mail.is_backfill;
    let made_this_hour = if is_flood_possible {
        known.made(mail)
    } else {
        0
    };
    Ok(RoutingFacts {
        settings: RoutingSettings::from(&context.settings),
        leads_enabled: context.crm.leads_enabled,
        direction,
        client,
        subject: mail.subject.clone(),
        automatic: mail.automatic.clone(),
        by_hand: judged.by.is_some(),
        is_always_new_lead,
        parent,
        is_report: thread.is_report,
        contacts: of_client.contacts,
        open_deals: of_client.open_deals,
        leads: of_client.leads,
        queue: known.queue().clone(),
        made_this_hour,
    })
}

/// R7: the items of another mailbox's copy of the message, where that is saved already.
fn copy_items(known: &Known, judged: Judged) -> Option<Vec<ItemId>> {
    let items = known.items_of_message(judged.message_id, Some(judged.email_id));
    (!items.is_empty()).then_some(items)
}

/// Makes the planned items, moves the queue's pointer with them, and says where the queue had nobody: what was made,
/// and all that the mail goes on.
pub fn make(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    mail: &MailFacts,
    creation: &Creation,
    client: &Party,
) -> Result<(Vec<ItemId>, Vec<ItemId>), StoreError> {
    let addressed = ClientAddressed {
        address: client.address_key.clone(),
        address_key: client.address_key.clone(),
    };
    let connector = context.mailbox.connector_id;
    let on = create_items(tx, known, creation, &addressed, connector)?;
    let made: Vec<ItemId> = on.iter().copied().take(creation.items.len()).collect();
    known.turn(creation.new_pointer);
    if !mail.is_backfill {
        known.add_made(mail, made.len());
    }
    if creation.fallback == Fallback::None {
        known.unwarn(tx, MailboxWarning::QueueUnusable)?;
    } else {
        warn(tx, known, context, MailboxWarning::QueueUnusable)?;
    }
    Ok((made, on))
}

fn warn(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    warning: MailboxWarning,
) -> Result<(), StoreError> {
    if known.warn(tx, warning)? {
        let id = context.mailbox.id.0;
        tracing::warn!(mailbox = id, warning = warning.as_text(), "mailbox");
    }
    Ok(())
}

fn keep(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    email: (EmailId, MessageId),
    (direction, outcome): (Direction, EmailOutcome),
    (mut steps, reason): (Vec<RoutingStep>, String),
) -> Result<(), StoreError> {
    known.keep_unsaved(tx, email, (outcome, direction))?;
    let seen = OutcomeSeen {
        outcome,
        items: Vec::new(),
        responsible_id: None,
        left: Vec::new(),
    };
    steps.push(trace::step(OUTCOME_STEP, &seen, reason.clone()));
    put_trace(tx, context, email.0, (steps, reason));
    Ok(())
}

/// Saves it on these items; `made`: those of them that were made for it.
fn save(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (judged, mail): (Judged, &MailFacts),
    (direction, on, made): (Direction, &[ItemId], &[ItemId]),
    (mut steps, reason): (Vec<RoutingStep>, String),
) -> Result<(), StoreError> {
    let saving = Saving {
        email_id: judged.email_id,
        message_id: judged.message_id,
        received_at: judged.received_at,
        direction,
        connector_id: context.mailbox.connector_id,
        by: judged.by,
        is_seen: mail.is_seen,
        is_backfill: mail.is_backfill,
    };
    let responsible_id = save_on(tx, known, &saving, on)?;
    steps.push(saved_step((on, made, &[]), responsible_id, &reason));
    put_trace(tx, context, judged.email_id, (steps, reason));
    Ok(())
}

/// The last step of a saved mail's trace: what it is on, what of that it made, and what it made before.
pub fn saved_step(
    (on, made, left): (&[ItemId], &[ItemId], &[ItemId]),
    responsible_id: Option<UserId>,
    reason: &str,
) -> RoutingStep {
    let seen = OutcomeSeen {
        outcome: EmailOutcome::Saved,
        items: on
            .iter()
            .map(|&item_id| ItemSeen {
                item_id,
                is_new: made.contains(&item_id),
            })
            .collect(),
        responsible_id,
        left: left
            .iter()
            .map(|&item_id| ItemSeen {
                item_id,
                is_new: true,
            })
            .collect(),
    };
    trace::step(OUTCOME_STEP, &seen, reason)
}

/// Keeps the trace, with the version of the settings that it was judged by.
pub fn put_trace(
    tx: &mut Tx<'_>,
    context: &Context,
    email: EmailId,
    (steps, reason): (Vec<RoutingStep>, String),
) {
    let trace = RoutingTrace {
        steps,
        reason,
        settings_version: context.settings.version,
    };
    email_writes::put_trace(tx, email, &trace);
}
