//! Moving, linking and unlinking saved emails (R34), and taking a change back (R35).
//! The rules judge; here are the facts they need and what is written.

use super::{ActionError, ActionResult, Actions, acting, audit, check_version, idempotency};
use crate::model::decisions::{LinkRefusal, LinkVerdict};
use crate::model::email::{Email, EmailLink, EmailOutcome};
use crate::model::item::ItemFacts;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::model::{EmailId, ItemId, LinkChangeId, Time};
use crate::rules::access::{self, Surface};
use crate::rules::relink::{ConcernedItem, RelinkFacts, judge_link, judge_relink, judge_unlink};
use crate::store::{StoreError, Tx, email_writes, emails, items, links};
use serde::Serialize;
use serde_json::json;

/// An email to change, and the version of it that the caller read, if they say so.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SeenEmail {
    pub email_id: EmailId,
    pub expected_version: Option<i64>,
}

impl From<EmailId> for SeenEmail {
    /// Whatever its version is.
    fn from(email_id: EmailId) -> Self {
        Self {
            email_id,
            expected_version: None,
        }
    }
}

/// What an email and the line of its history are after a change.
pub type Changed = (EmailId, Option<LinkChangeId>);

#[derive(Debug, Clone, Copy, Serialize)]
enum Wish {
    Move { from: ItemId, to: ItemId },
    Link { to: ItemId },
    Unlink { from: ItemId },
}

impl Wish {
    const fn mutation(self) -> &'static str {
        match self {
            Self::Move { .. } => "relinkEmail",
            Self::Link { .. } => "linkEmail",
            Self::Unlink { .. } => "unlinkEmail",
        }
    }
}

/// Moves an email from one deal to another.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without update on each item concerned, and the refusals of R34.
pub async fn relink(
    actions: &Actions,
    viewer: &Viewer,
    email: impl Into<SeenEmail>,
    (from, to): (ItemId, ItemId),
    key: Option<String>,
    now: Time,
) -> ActionResult<Changed> {
    change(
        actions,
        viewer,
        email.into(),
        Wish::Move { from, to },
        key,
        now,
    )
    .await
}

/// Links an email to one more item.
///
/// # Errors
/// As [`relink`].
pub async fn link(
    actions: &Actions,
    viewer: &Viewer,
    email: impl Into<SeenEmail>,
    to: ItemId,
    key: Option<String>,
    now: Time,
) -> ActionResult<Changed> {
    change(actions, viewer, email.into(), Wish::Link { to }, key, now).await
}

/// Takes an email off one of its items; the last link stays.
///
/// # Errors
/// As [`relink`].
pub async fn unlink(
    actions: &Actions,
    viewer: &Viewer,
    email: impl Into<SeenEmail>,
    from: ItemId,
    key: Option<String>,
    now: Time,
) -> ActionResult<Changed> {
    change(
        actions,
        viewer,
        email.into(),
        Wish::Unlink { from },
        key,
        now,
    )
    .await
}

async fn change(
    actions: &Actions,
    viewer: &Viewer,
    email: SeenEmail,
    wish: Wish,
    key: Option<String>,
    now: Time,
) -> ActionResult<Changed> {
    let mutation = wish.mutation();
    let hash = idempotency::input_hash(&(email, wish))?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let ids = idempotency::once(tx, viewer, mutation, key.as_deref(), &hash, |tx| {
                let change = change_once(tx, viewer, email, wish)?;
                Ok(vec![email.email_id.0, change.0])
            })?;
            Ok((
                EmailId(idempotency::first(&ids)?),
                Some(LinkChangeId(idempotency::nth(&ids, 1)?)),
            ))
        })
        .await
}

/// A saved email that the viewer can see, its links, and the facts that the rules judge by.
struct Loaded {
    email: Email,
    links: Vec<EmailLink>,
    facts: RelinkFacts,
}

impl Loaded {
    fn linked_ids(&self) -> Vec<ItemId> {
        self.links.iter().map(|link| link.item_id).collect()
    }

    fn is_primary(&self, item: ItemId) -> bool {
        self.links
            .iter()
            .any(|link| link.item_id == item && link.is_primary)
    }
}

fn load(tx: &mut Tx<'_>, viewer: &Viewer, id: EmailId) -> ActionResult<Loaded> {
    let scope = access::emails(viewer, Surface::Either);
    let email = emails::visible(tx.conn, &scope, &[id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("emailId"))?;
    let links = links::of_emails(tx.conn, &[id])?;
    let ids: Vec<ItemId> = links.iter().map(|link| link.item_id).collect();
    let facts = RelinkFacts {
        is_saved: email.outcome == EmailOutcome::Saved,
        links: concerned(tx, viewer, &ids)?,
    };
    Ok(Loaded {
        email,
        links,
        facts,
    })
}

pub(super) fn concerned(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    ids: &[ItemId],
) -> Result<Vec<ConcernedItem>, StoreError> {
    let may = |action, facts: &ItemFacts| access::decide(viewer, action, facts).is_granted();
    let origins = items::converted_from(tx.conn, ids)?;
    Ok(items::facts(tx.conn, ids)?
        .into_iter()
        .map(|facts| ConcernedItem {
            item_id: facts.id,
            kind: facts.kind,
            may_read: may(PermissionAction::Read, &facts),
            may_update: may(PermissionAction::Update, &facts),
            converted_from: origins.get(&facts.id).cloned().unwrap_or_default(),
        })
        .collect())
}

/// An item of the input, as the rules see it; hidden is absent.
fn named(tx: &mut Tx<'_>, viewer: &Viewer, id: ItemId, field: &str) -> ActionResult<ConcernedItem> {
    concerned(tx, viewer, &[id])?
        .into_iter()
        .find(|item| item.may_read)
        .ok_or_else(|| Refusal::not_found(field).into())
}

fn allowed(verdict: LinkVerdict, field: &str) -> ActionResult<()> {
    match verdict {
        LinkVerdict::Allowed => Ok(()),
        LinkVerdict::Refused(refusal) => Err(refused(refusal, field).into()),
    }
}

fn refused(refusal: LinkRefusal, field: &str) -> Refusal {
    match refusal {
        LinkRefusal::NotSaved => Refusal::at(refusal.code(), "emailId", refusal.message()),
        _ => Refusal::at(refusal.code(), field, refusal.message()),
    }
}

fn change_once(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    seen: SeenEmail,
    wish: Wish,
) -> ActionResult<LinkChangeId> {
    let wanted: Vec<ItemId> = match wish {
        Wish::Move { from, to } => vec![from, to],
        Wish::Link { to } => vec![to],
        Wish::Unlink { from } => vec![from],
    };
    crate::store::item_writes::lock(tx, &wanted)?;
    // Items before emails, as everywhere: an item that is deleted meanwhile holds its emails.
    email_writes::lock(tx, seen.email_id)?;
    let loaded = load(tx, viewer, seen.email_id)?;
    check_version(seen.expected_version, loaded.email.version)?;
    match wish {
        Wish::Move { from, to } => {
            let (from_item, to_item) = (
                named(tx, viewer, from, "fromItemId")?,
                named(tx, viewer, to, "toItemId")?,
            );
            let verdict = judge_relink(&loaded.facts, &from_item, &to_item);
            allowed(verdict, "fromItemId")?;
        }
        Wish::Link { to } => {
            let item = named(tx, viewer, to, "toItemId")?;
            allowed(judge_link(&loaded.facts, &item), "toItemId")?;
        }
        Wish::Unlink { from } => {
            let item = named(tx, viewer, from, "fromItemId")?;
            allowed(judge_unlink(&loaded.facts, &item), "fromItemId")?;
        }
    }
    let (from, to) = match wish {
        Wish::Move { from, to } => (Some(from), Some(to)),
        Wish::Link { to } => (None, Some(to)),
        Wish::Unlink { from } => (Some(from), None),
    };
    let change = write(tx, viewer, &loaded, (from, to))?;
    let kinds = items::facts(tx.conn, &wanted)?;
    let item = |id: Option<ItemId>| {
        let facts = kinds.iter().find(|facts| Some(facts.id) == id);
        facts.map(|facts| acting::about_item(facts.kind, facts.id))
    };
    let about = format!("email {}", loaded.email.id.0);
    let detail = json!({ "from": item(from), "to": item(to) });
    audit::record(tx, Some(viewer.user_id), wish.mutation(), &about, &detail)?;
    Ok(change)
}

/// Writes a change of links: the links, their history, an entry on each item, and who answers for it now.
fn write(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    loaded: &Loaded,
    (from, to): (Option<ItemId>, Option<ItemId>),
) -> ActionResult<LinkChangeId> {
    let email = &loaded.email;
    let by = Some(viewer.user_id);
    let before = loaded.linked_ids();
    let was_primary = from.is_some_and(|from| loaded.is_primary(from));
    if let Some(from) = from {
        email_writes::delete_link(tx, email.id, from)?;
        tell(
            tx,
            viewer,
            from,
            Told::EmailUnlinked {
                email_id: email.id,
                to,
            },
        );
    }
    if let Some(to) = to {
        email_writes::insert_link(tx, (email.id, to), false, email.received_at, by)?;
        tell(
            tx,
            viewer,
            to,
            Told::EmailLinked {
                email_id: email.id,
                from,
            },
        );
    }
    if was_primary {
        let next = to.or_else(|| before.iter().copied().find(|id| Some(*id) != from));
        if let Some(next) = next {
            make_primary(tx, email, next)?;
        }
    } else {
        email_writes::touch(tx, email.id)?;
    }
    let change = email_writes::insert_link_change(tx, email.id, by, (from, to), was_primary)?;
    tx.links_changed(email.id, &before);
    Ok(change)
}

pub(super) fn tell(tx: &mut Tx<'_>, viewer: &Viewer, item_id: ItemId, told: Told) {
    let entry = NewTimelineEntry {
        item_id,
        actor_id: Some(viewer.user_id),
        told,
    };
    tx.tell(entry, None);
}

/// The email's responsible is its primary item's, and so is its open activity's (R31).
pub(super) fn make_primary(tx: &mut Tx<'_>, email: &Email, item: ItemId) -> ActionResult<()> {
    email_writes::update_primary(tx, email.id, item)?;
    if let Some(item) = items::get(tx.conn, item)? {
        email_writes::update_activity_responsible(tx, email.message_id, item.responsible_id)?;
    }
    Ok(())
}

/// Takes a change of links back, if nothing has changed about these links since.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` (also where an item that is concerned is hidden), `CHANGED_SINCE`, and what the change back
/// itself is refused with.
pub async fn undo(
    actions: &Actions,
    viewer: &Viewer,
    change: LinkChangeId,
    key: Option<String>,
    now: Time,
) -> ActionResult<EmailId> {
    let hash = idempotency::input_hash(&change)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let ids = idempotency::once(tx, viewer, "undoRelink", key.as_deref(), &hash, |tx| {
                Ok(vec![undo_once(tx, viewer, change)?.0])
            })?;
            Ok(EmailId(idempotency::first(&ids)?))
        })
        .await
}

fn undo_once(tx: &mut Tx<'_>, viewer: &Viewer, id: LinkChangeId) -> ActionResult<EmailId> {
    let missing = || Refusal::not_found("changeId");
    let change = links::change(tx.conn, id)?.ok_or_else(missing)?;
    let ends: Vec<ItemId> = change
        .from_item_id
        .into_iter()
        .chain(change.to_item_id)
        .collect();
    crate::store::item_writes::lock(tx, &ends)?;
    let loaded = load(tx, viewer, change.email_id).map_err(about_change)?;
    let concerned = concerned(tx, viewer, &ends)?;
    // What names hidden items alone is hidden; of one hidden end no more is told than that it takes rights to it.
    if !concerned.iter().any(|item| item.may_read) {
        return Err(missing().into());
    }
    if !concerned
        .iter()
        .all(|item| item.may_read && item.may_update)
    {
        let forbidden = LinkRefusal::Forbidden;
        return Err(refused(forbidden, "changeId").into());
    }
    if links::is_void(tx.conn, id)? {
        return Err(Refusal::at(
            ErrorCode::ChangedSince,
            "changeId",
            "An item of this change was deleted or merged since.",
        )
        .into());
    }
    let linked = loaded.linked_ids();
    let stands = |item: Option<ItemId>, is_linked: bool| {
        item.is_none_or(|item| linked.contains(&item) == is_linked)
    };
    if !stands(change.to_item_id, true) || !stands(change.from_item_id, false) {
        return Err(Refusal::at(
            ErrorCode::ChangedSince,
            "changeId",
            "The email's links were changed again since; look at their history.",
        )
        .into());
    }
    let wish = match (change.from_item_id, change.to_item_id) {
        (Some(from), Some(to)) => Wish::Move { from: to, to: from },
        (None, Some(to)) => Wish::Unlink { from: to },
        (Some(from), None) => Wish::Link { to: from },
        (None, None) => return Err(missing().into()),
    };
    change_once(tx, viewer, change.email_id.into(), wish).map_err(about_change)?;
    if let Some(from) = change.from_item_id
        && links::was_primary(tx.conn, id)?
    {
        make_primary(tx, &loaded.email, from)?;
    }
    Ok(change.email_id)
}

/// The same refusals, about the one field that undoing has.
fn about_change(error: ActionError) -> ActionError {
    match error {
        ActionError::Refused(refusals) => {
            let at = |refusal: Refusal| Refusal::at(refusal.code, "changeId", refusal.message);
            ActionError::Refused(refusals.into_iter().map(at).collect())
        }
        store @ ActionError::Store(_) => store,
    }
}
