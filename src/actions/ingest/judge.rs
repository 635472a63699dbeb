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

/// The email that is judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    pub email_id: EmailId,
    pub message_id: MessageId,
    pub received_at: Time,
    /// Who saves it by hand.
    pub by: Option<UserId>,
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
    let found = if judged.by.is_some() {
        match by_hand(known, context, mail, folder, thread) {
            Err(code) => return Ok(Judgement::Refused(code)),
            Ok(ByHand { client: None, .. }) => {
                return Ok(Judgement::Refused(ErrorCode::BadInput));
            }
            Ok(ByHand {
                direction,
                client: Some(client),
                steps,
            }) => Classification {
                direction,
                verdict: Verdict::Judge {
                    client,
                    other_clients: Vec::new(),
                },
                steps,
                reason: String::new(),
            },
        }
    } else {
        classify(&classify_facts(known, context, mail, folder, (None, thread)))
    };
    let Classification {
        direction,
        verdict,
        mut steps,
        reason,
    } = found;
    steps.push(trace::step(
        "R17 thread",
        &serde_json::json!({ "joins": thread.thread.is_some(), "is_reply_to_saved": thread.is_reply_to_saved }),
        thread.reason.clone(),
    ));
    let client = match verdict {
        Verdict::Keep(outcome) => {
            if outcome == EmailOutcome::RateGuard {
                warn(tx, known, context, MailboxWarning::SenderRateGuard)?;
            }
            keep(
                tx,
                known,
                context,
                judged,
                (direction, outcome),
                (steps, reason),
            )?;
            return Ok(Judgement::Kept(outcome));
        }
        Verdict::Judge { client, .. } => client,
    };
    if let Some(items) = join_copy(
        tx,
        known,
        context,
        (judged, mail),
        (direction, &mut steps),
    )? {
        return Ok(Judgement::Saved(items));
    }
    let facts = routing_facts(
        tx,
        known,
        context,
        mail,
        (direction, client.clone()),
        judged,
        thread,
    )?;
    let routing = route(&facts);
    steps.extend(routing.steps);
    match routing.decision {
        RoutingDecision::Keep(outcome) => {
            keep(
                tx,
                known,
                context,
                judged,
                (direction, outcome),
                (steps, routing.reason),
            )?;
            Ok(Judgement::Kept(outcome))
        }
        RoutingDecision::Attach { primary, also, .. } => {
            let mut on = vec![primary];
            on.extend(also);
            save(
                tx,
                known,
                context,
                (judged, mail),
                (direction, &on),
                (steps, routing.reason),
            )?;
            Ok(Judgement::Saved(on))
        }
        RoutingDecision::Create(creation) => {
            let on = make(tx, known, context, &creation, &client)?;
            save(
                tx,
                known,
                context,
                (judged, mail),
                (direction, &on),
                (steps, routing.reason),
            )?;
            Ok(Judgement::Saved(on))
        }
    }
}

/// A mail that somebody chose to save.
pub struct ByHand {
    pub direction: Direction,
    /// `None`: it names nobody outside.
    pub client: Option<Party>,
    pub steps: Vec<RoutingStep>,
}

/// Whether a mail may be saved by hand, or the code of why not (R12).
///
/// # Errors
/// The code.
pub fn by_hand(
    known: &mut Known,
    context: &Context,
    mail: &MailFacts,
    folder: FolderFacts,
    thread: &ThreadChoice,
) -> Result<ByHand, ErrorCode> {
    let chosen = Some(context.mailbox.connector_id);
    let facts = classify_facts(known, context, mail, folder, (chosen, thread));
    let found = rules_classify::by_hand(&facts);
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
    on: &[ItemId],
    found: ByHand,
) -> Result<(), StoreError> {
    let mut steps = found.steps;
    let reason = "somebody named where it belongs";
    let named: Vec<_> = on
        .iter()
        .map(|item| serde_json::json!({ "item_id": item.0 }))
        .collect();
    steps.push(trace::step("R24 saved by hand", &named, reason));
    let told = (steps, reason.to_owned());
    save(
        tx,
        known,
        context,
        (judged, mail),
        (found.direction, on),
        told,
    )
}

/// `by`: somebody saves it by hand, so no sender is counted.
fn classify_facts(
    known: &mut Known,
    context: &Context,
    mail: &MailFacts,
    folder: FolderFacts,
    (by, thread): (Option<UserId>, &ThreadChoice),
) -> ClassifyFacts {
    let sender_key = mail.sender.as_ref().map(|(key, _name)| key.as_str());
    let sender_count_last_hour = if by.is_none() {
        known.count_sender(mail)
    } else {
        0
    };
    ClassifyFacts {
        folder,
        spam_goes_to_inbox: context.spam_goes_to_inbox(),
        origin: OriginFacts {
            // Sending is not built yet: no Message-ID carries our signature.
            has_our_message_id: false,
            is_from_own_address: sender_key
                .is_some_and(|key| context.own_keys.iter().any(|own| own == key)),
            has_received_header: mail.has_received_header,
        },
        crm_integration: context.settings.crm_integration,
        sender: mail
            .sender
            .as_ref()
            .map(|(key, name)| context.party(key, name.as_deref())),
        recipients: mail
            .recipients
            .iter()
            .map(|(key, name)| context.party(key, name.as_deref()))
            .collect(),
        automatic: mail.automatic.clone(),
        is_reply_to_saved: thread.is_reply_to_saved,
        is_backfill: mail.is_backfill,
        internal_date: mail.internal_date,
        save_since: context.settings.save_since,
        sender_count_last_hour,
        sender_limit_per_hour: context.crm.sender_limit_per_hour,
    }
}

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
        contacts: of_client.contacts,
        open_deals: of_client.open_deals,
        leads: of_client.leads,
        queue: known.queue().clone(),
    })
}

/// R7: another mailbox's copy of the message is saved already; this one joins its items.
fn join_copy(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (judged, mail): (Judged, &MailFacts),
    (direction, steps): (Direction, &mut Vec<RoutingStep>),
) -> Result<Option<Vec<ItemId>>, StoreError> {
    let items = known.items_of_message(judged.message_id, Some(judged.email_id));
    if items.is_empty() {
        return Ok(None);
    }
    let reason = "another mailbox's copy of the message is saved on these items";
    let named: Vec<_> = items
        .iter()
        .map(|item| serde_json::json!({ "item_id": item.0 }))
        .collect();
    steps.push(trace::step("R7 one message", &named, reason));
    let told = (std::mem::take(steps), reason.to_owned());
    save(
        tx,
        known,
        context,
        (judged, mail),
        (direction, &items),
        told,
    )?;
    Ok(Some(items))
}

/// Makes the planned items, moves the queue's pointer with them, and says where the queue had nobody.
fn make(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    creation: &Creation,
    client: &Party,
) -> Result<Vec<ItemId>, StoreError> {
    let addressed = ClientAddressed {
        address: client.address_key.clone(),
        address_key: client.address_key.clone(),
    };
    let made = create_items(
        tx,
        known,
        creation,
        &addressed,
        context.mailbox.connector_id,
    )?;
    known.turn(creation.new_pointer);
    if creation.fallback == Fallback::None {
        known.unwarn(tx, MailboxWarning::QueueUnusable)?;
    } else {
        warn(tx, known, context, MailboxWarning::QueueUnusable)?;
    }
    Ok(made)
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
    judged: Judged,
    (direction, outcome): (Direction, EmailOutcome),
    told: (Vec<RoutingStep>, String),
) -> Result<(), StoreError> {
    let email = (judged.email_id, judged.message_id);
    known.keep_unsaved(tx, email, (outcome, direction))?;
    put_trace(tx, context, judged, told)
}

fn save(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (judged, mail): (Judged, &MailFacts),
    (direction, on): (Direction, &[ItemId]),
    told: (Vec<RoutingStep>, String),
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
    save_on(tx, known, &saving, on)?;
    put_trace(tx, context, judged, told)
}

fn put_trace(
    tx: &mut Tx<'_>,
    context: &Context,
    judged: Judged,
    (steps, reason): (Vec<RoutingStep>, String),
) -> Result<(), StoreError> {
    let trace = RoutingTrace {
        steps,
        reason,
        settings_version: context.settings.version,
    };
    email_writes::put_trace(tx, judged.email_id, &trace)
}
