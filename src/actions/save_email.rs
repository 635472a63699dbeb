//! Saving an email by hand (R11, R12, R24): on a named item, on a new one, or where the rules choose.
//! It is the same judgement and the same writing as when mail saves itself.

use super::acting;
use super::ingest::judge::{ByHand, Judged, Judgement, by_hand, judge, save_named};
use super::ingest::known::Known;
use super::ingest::stored::{self, Stored};
use super::relink::SeenEmail;
use super::saving::{ClientAddressed, create_items};
use super::{ActionResult, Actions, audit, check_version, idempotency};
use crate::model::decisions::{Creation, Fallback, NewItemPlan, Party};
use crate::model::email::EmailOutcome;
use crate::model::item::{ItemFacts, ItemKind};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{DepartmentId, EmailId, ItemId, Time, UserId};
use crate::rules::access::{self, Surface};
use crate::store::{Tx, emails};

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
    stored: Stored,
    known: Known,
    judged: Judged,
}

fn save_once(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    seen: SeenEmail,
    target: Target,
) -> ActionResult<()> {
    let id = seen.email_id;
    let scope = access::emails(viewer, Surface::Either);
    if emails::visible(tx.conn, &scope, &[id])?.is_empty() {
        return Err(Refusal::not_found("emailId").into());
    }
    let mut chosen = load(tx, viewer, id)?;
    check_version(seen.expected_version, chosen.stored.email.version)?;
    if chosen.stored.email.outcome == EmailOutcome::Saved {
        return match target {
            Target::Rules => Ok(()),
            Target::Item(_) | Target::Create(_) => Err(Refusal::new(
                ErrorCode::AlreadyLinked,
                "The email is saved already; link it to a further item, or move it.",
            )
            .into()),
        };
    }
    match target {
        Target::Rules => by_rules(tx, &mut chosen)?,
        Target::Item(item) => {
            let found = client(&chosen)?;
            let update = PermissionAction::Update;
            acting::item(tx, viewer, (item, None), update, "target")?;
            write(tx, &mut chosen, (&[item], &[]), found)?;
        }
        Target::Create(kind) => {
            let found = client(&chosen)?;
            let (made, on) = create(tx, viewer, &mut chosen, kind, found.client.as_ref())?;
            write(tx, &mut chosen, (&on, &made), found)?;
        }
    }
    chosen.known.finish(tx)?;
    record(tx, viewer, id)
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

/// The email as it is under the lock of its people: somebody else may have saved it meanwhile.
fn load(tx: &mut Tx<'_>, viewer: &Viewer, id: EmailId) -> ActionResult<Chosen> {
    let stored = stored::load_locked(tx, id)?.ok_or_else(|| Refusal::not_found("emailId"))?;
    let stored = stored.chosen_by_hand(tx.conn)?;
    let judged = Judged {
        email_id: id,
        message_id: stored.email.message_id,
        received_at: stored.email.received_at,
        by: Some(viewer.user_id),
        sender_count: None,
    };
    let known = stored.known(tx)?;
    Ok(Chosen {
        stored,
        known,
        judged,
    })
}

fn by_rules(tx: &mut Tx<'_>, chosen: &mut Chosen) -> ActionResult<()> {
    let stored = &chosen.stored;
    let judgement = judge(
        tx,
        &mut chosen.known,
        &stored.context,
        &stored.mail,
        stored.folder,
        chosen.judged,
        &stored.thread,
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

fn client(chosen: &Chosen) -> ActionResult<ByHand> {
    let Stored {
        context,
        mail,
        folder,
        thread,
        ..
    } = &chosen.stored;
    by_hand(context, mail, *folder, thread).map_err(|_internal| internal().into())
}

/// `on`, and those of them that were made for it.
fn write(
    tx: &mut Tx<'_>,
    chosen: &mut Chosen,
    on: (&[ItemId], &[ItemId]),
    found: ByHand,
) -> ActionResult<()> {
    let stored = &chosen.stored;
    save_named(
        tx,
        &mut chosen.known,
        &stored.context,
        (chosen.judged, &stored.mail),
        on,
        found,
    )?;
    Ok(())
}

/// Makes a new item for the email's client; a deal comes with the client's contact. What was made, and all that the
/// email goes on.
fn create(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    chosen: &mut Chosen,
    kind: ItemKind,
    client: Option<&Party>,
) -> ActionResult<(Vec<ItemId>, Vec<ItemId>)> {
    let client = client.ok_or_else(|| {
        Refusal::at(
            ErrorCode::BadInput,
            "target",
            "The email names nobody outside to make an item for.",
        )
    })?;
    let contacts = chosen.known.client_facts(tx, &client.address_key)?.contacts;
    let scope = access::items(viewer, PermissionAction::Read);
    let ids: Vec<ItemId> = contacts.iter().map(|contact| contact.id).collect();
    let readable = crate::store::items::readable(tx.conn, &scope, &ids)?;
    let contact = contacts
        .iter()
        .map(|contact| contact.id)
        .find(|id| readable.iter().any(|item| item.id == *id));
    let name = client
        .name
        .clone()
        .unwrap_or_else(|| client.address_key.clone());
    let title = if chosen.stored.email.subject.trim().is_empty() {
        format!("Email from {name}")
    } else {
        chosen.stored.email.subject.clone()
    };
    let source = Some(chosen.stored.context.settings.source.clone());
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
    let on = create_items(tx, &mut chosen.known, &creation, &addressed, viewer.user_id)?;
    let made = on.iter().copied().take(creation.items.len()).collect();
    Ok((made, on))
}

fn may_create(tx: &mut Tx<'_>, viewer: &Viewer, kind: ItemKind) -> ActionResult<()> {
    may_create_for(tx, viewer, kind, (viewer.user_id, viewer.department_id))
}

/// Making an item needs create (R24).
pub(super) fn may_create_for(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    kind: ItemKind,
    (responsible_id, responsible_department_id): (UserId, Option<DepartmentId>),
) -> ActionResult<()> {
    let facts = ItemFacts {
        id: ItemId(0),
        kind,
        stage_id: crate::store::item_writes::first_stage(tx, kind)?,
        responsible_id,
        responsible_department_id,
        open_to_everyone: false,
    };
    if access::decide(viewer, PermissionAction::Create, &facts).is_granted() {
        Ok(())
    } else {
        Err(acting::forbidden("target").into())
    }
}
