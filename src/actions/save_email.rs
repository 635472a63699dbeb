//! Saving an email by hand (R11, R12, R24): on a named item, on a new one, or where the rules choose.
//! It is the same judgement and the same writing as when mail saves itself.

use super::acting;
use super::ingest::facts::{Context, MailFacts, thread_facts};
use super::ingest::judge::{ByHand, Judged, Judgement, by_hand, judge, save_named};
use super::relink::SeenEmail;
use super::saving::{ClientAddressed, create_items};
use super::{ActionResult, Actions, audit, check_version, idempotency};
use crate::mail::address::AddressKey;
use crate::model::decisions::{Creation, Fallback, NewItemPlan, Party, ThreadChoice};
use crate::model::email::{Direction, Email, EmailOutcome, ParticipantRole};
use crate::model::item::{ItemFacts, ItemKind};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{EmailId, ItemId, Time};
use crate::rules::access::{self, Surface};
use crate::rules::classify::FolderFacts;
use crate::rules::threading::{choose_thread, subject_base};
use crate::store::{StoreError, Tx, clients, emails, messages};
use std::collections::BTreeSet;

/// Where the email is to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Target {
    /// The rules choose, with the queue; access to the mailbox is enough.
    Rules,
    /// This item; it takes update on it.
    Item(ItemId),
    /// A new item of this kind, whose responsible the viewer becomes; it takes create.
    Create(ItemKind),
}

/// Saves an email. One that is saved already stays as it is.
///
/// # Errors
/// `NOT_FOUND` for an email or item that the viewer can't see, `FORBIDDEN` without the rights, `INTERNAL_EMAIL` for
/// our own people's mail, `BAD_INPUT` where the rules make nothing and no target is named, `ALREADY_LINKED` where a
/// target is named for an email that is saved already (link or move it instead).
pub async fn save(
    actions: &Actions,
    viewer: &Viewer,
    email: impl Into<SeenEmail>,
    target: Target,
    key: Option<String>,
    now: Time,
) -> ActionResult<EmailId> {
    let email = email.into();
    let hash = idempotency::input_hash(&(email, target))?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let ids = idempotency::once(tx, viewer, "saveEmail", key.as_deref(), &hash, |tx| {
                save_once(tx, viewer, email, target)?;
                Ok(vec![email.email_id.0])
            })?;
            Ok(EmailId(idempotency::first(&ids)?))
        })
        .await
}

/// An email with everything that judging it takes.
struct Chosen {
    email: Email,
    mail: MailFacts,
    context: Context,
    folder: FolderFacts,
    judged: Judged,
    thread: ThreadChoice,
}

fn save_once(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    seen: SeenEmail,
    target: Target,
) -> ActionResult<()> {
    let scope = access::emails(viewer, Surface::Either);
    let email = emails::visible(tx.conn, &scope, &[seen.email_id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("emailId"))?;
    check_version(seen.expected_version, email.version)?;
    if email.outcome == EmailOutcome::Saved {
        return match target {
            Target::Rules => Ok(()),
            Target::Item(_) | Target::Create(_) => Err(Refusal::new(
                ErrorCode::AlreadyLinked,
                "The email is saved already; link it to a further item, or move it.",
            )
            .into()),
        };
    }
    let chosen = load(tx, viewer, email)?;
    match target {
        Target::Rules => by_rules(tx, &chosen)?,
        Target::Item(item) => {
            let found = client(tx, &chosen)?;
            let update = PermissionAction::Update;
            acting::item(tx, viewer, (item, None), update, "target")?;
            write(tx, &chosen, &[item], found)?;
        }
        Target::Create(kind) => {
            let found = client(tx, &chosen)?;
            let on = create(tx, viewer, &chosen, kind, found.client.as_ref())?;
            write(tx, &chosen, &on, found)?;
        }
    }
    record(tx, viewer, seen.email_id)
}

/// Who ties an email to items by hand stands in the audit log, as for every change of links.
fn record(tx: &mut Tx<'_>, viewer: &Viewer, id: EmailId) -> ActionResult<()> {
    let ids: Vec<ItemId> = crate::store::links::of_emails(tx.conn, &[id])?
        .iter()
        .map(|link| link.item_id)
        .collect();
    let items: Vec<String> = crate::store::items::facts(tx.conn, &ids)?
        .iter()
        .map(|facts| acting::about_item(facts.kind, facts.id))
        .collect();
    let about = format!("email {}", id.0);
    let detail = serde_json::json!({ "items": items });
    audit::record(tx, Some(viewer.user_id), "saveEmail", &about, &detail)?;
    Ok(())
}

fn load(tx: &mut Tx<'_>, viewer: &Viewer, email: Email) -> ActionResult<Chosen> {
    let mail = stored_facts(tx, &email)?;
    let keys: BTreeSet<String> = mail
        .sender
        .iter()
        .chain(&mail.recipients)
        .map(|(key, _name)| key.clone())
        .collect();
    let context = Context::load(tx.conn, email.mailbox_id, &keys)?
        .ok_or_else(|| Refusal::not_found("emailId"))?;
    let is_outgoing = email.direction == Direction::Outgoing;
    let thread = choose_thread(&thread_facts(tx.conn, &mail, is_outgoing)?);
    Ok(Chosen {
        judged: Judged {
            email_id: email.id,
            message_id: email.message_id,
            received_at: email.received_at,
            by: Some(viewer.user_id),
        },
        // Its direction was found when it came: outgoing mail counts as lying in Sent.
        folder: FolderFacts {
            is_sent: is_outgoing,
            ..FolderFacts::default()
        },
        email,
        mail,
        context,
        thread,
    })
}

/// What the stored email says, as it said when it came.
fn stored_facts(tx: &mut Tx<'_>, email: &Email) -> Result<MailFacts, StoreError> {
    let people = emails::participants(tx.conn, &[email.id])?
        .remove(&email.id)
        .unwrap_or_default();
    let keyed = |role: ParticipantRole| {
        people
            .iter()
            .filter(|(found, _address)| *found == role)
            .filter_map(|(_role, address)| {
                let key = AddressKey::parse(&address.address)?.into_string();
                Some((key, address.name.clone()))
            })
            .collect::<Vec<_>>()
    };
    let (in_reply_to, references) = messages::references(tx.conn, email.message_id)?;
    let recipients = [
        ParticipantRole::To,
        ParticipantRole::Cc,
        ParticipantRole::Bcc,
    ];
    Ok(MailFacts {
        sender: keyed(ParticipantRole::From).into_iter().next(),
        recipients: recipients.into_iter().flat_map(keyed).collect(),
        subject: email.subject.clone(),
        subject_base: subject_base(&email.subject),
        automatic: None,
        has_received_header: true,
        in_reply_to,
        references,
        internal_date: email.internal_date,
        is_backfill: false,
        is_seen: false,
    })
}

fn by_rules(tx: &mut Tx<'_>, chosen: &Chosen) -> ActionResult<()> {
    let judgement = judge(
        tx,
        &chosen.context,
        &chosen.mail,
        chosen.folder,
        chosen.judged,
        &chosen.thread,
    )?;
    match judgement {
        Judgement::Saved(_items) => Ok(()),
        Judgement::Refused(ErrorCode::InternalEmail) => Err(internal().into()),
        Judgement::Refused(_) | Judgement::Kept(_) => Err(Refusal::at(
            ErrorCode::BadInput,
            "target",
            "The mailbox's settings make nothing of this email; name an item, or what to create.",
        )
        .into()),
    }
}

fn internal() -> Refusal {
    Refusal::at(
        ErrorCode::InternalEmail,
        "emailId",
        "Mail from or to our own people is not saved to the CRM.",
    )
}

fn client(tx: &mut Tx<'_>, chosen: &Chosen) -> ActionResult<ByHand> {
    by_hand(
        tx,
        &chosen.context,
        &chosen.mail,
        chosen.folder,
        &chosen.thread,
    )?
    .map_err(|_internal| internal().into())
}

fn write(tx: &mut Tx<'_>, chosen: &Chosen, on: &[ItemId], found: ByHand) -> ActionResult<()> {
    save_named(tx, &chosen.context, chosen.judged, &chosen.mail, on, found)?;
    Ok(())
}

/// Makes a new item for the email's client; a deal comes with the client's contact.
fn create(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    chosen: &Chosen,
    kind: ItemKind,
    client: Option<&Party>,
) -> ActionResult<Vec<ItemId>> {
    let client = client.ok_or_else(|| {
        Refusal::at(
            ErrorCode::BadInput,
            "target",
            "The email names nobody outside to make an item for.",
        )
    })?;
    let known = clients::items_of(tx.conn, &client.address_key)?.contacts;
    let scope = access::items(viewer, PermissionAction::Read);
    let ids: Vec<ItemId> = known.iter().map(|contact| contact.id).collect();
    let readable = crate::store::items::readable(tx.conn, &scope, &ids)?;
    let contact = known
        .iter()
        .map(|contact| contact.id)
        .find(|id| readable.iter().any(|item| item.id == *id));
    let name = client
        .name
        .clone()
        .unwrap_or_else(|| client.address_key.clone());
    let title = if chosen.email.subject.trim().is_empty() {
        format!("Email from {name}")
    } else {
        chosen.email.subject.clone()
    };
    let source = Some(chosen.context.settings.source.clone());
    let plan = |kind, title: &str| NewItemPlan {
        kind,
        title: title.to_owned(),
        name: (kind != ItemKind::Deal).then(|| name.clone()),
        source: source.clone().filter(|_source| kind != ItemKind::Deal),
    };
    let mut items = vec![match kind {
        ItemKind::Contact => plan(kind, &name),
        ItemKind::Lead | ItemKind::Deal => plan(kind, &title),
    }];
    if kind == ItemKind::Deal && contact.is_none() {
        items.push(plan(ItemKind::Contact, &name));
    }
    for item in &items {
        may_create(tx, viewer, item.kind)?;
    }
    let creation = Creation {
        items,
        contact: contact.filter(|_id| kind == ItemKind::Deal),
        responsible: viewer.user_id,
        is_extra_lead: false,
        new_pointer: 0,
        fallback: Fallback::None,
    };
    let addressed = ClientAddressed {
        address: client.address_key.clone(),
        address_key: client.address_key.clone(),
    };
    Ok(create_items(tx, &creation, &addressed, viewer.user_id)?)
}

/// Making an item needs create (R24).
fn may_create(tx: &mut Tx<'_>, viewer: &Viewer, kind: ItemKind) -> ActionResult<()> {
    let facts = ItemFacts {
        id: ItemId(0),
        kind,
        stage_id: crate::store::item_writes::first_stage(tx, kind)?,
        responsible_id: viewer.user_id,
        responsible_department_id: viewer.department_id,
        open_to_everyone: false,
    };
    if access::decide(viewer, PermissionAction::Create, &facts).is_granted() {
        Ok(())
    } else {
        Err(acting::forbidden("target").into())
    }
}
