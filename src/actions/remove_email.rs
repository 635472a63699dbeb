//! A mail that was saved by mistake is removed from the CRM by whoever may update all its items (R46). It keeps its bytes,
//! its place in the mailbox and its history; its outcome is `REMOVED`, and it can be saved by hand again. Its open to-do
//! is closed; where another mailbox's copy of the message is saved, the to-do stays open for that one.
//!
//! `CONVERTED_LEAD` (R34) does not hold it back: that refusal keeps a deal and its lead from being torn apart, and here
//! the email leaves both. Syncing and folder moves never save it again; only somebody does.
//! Not for: taking an email off one of its items (`relink`).

use super::items::tell;
use super::{ActionResult, Actions, acting, audit, check_version, idempotency, leaving};
use crate::model::email::{Email, EmailOutcome};
use crate::model::item::ItemFacts;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::timeline::Told;
use crate::model::{EmailId, ItemId, Time};
use crate::rules::access::{self, Surface};
use crate::store::{self, Tx};
use serde::Serialize;
use serde_json::json;

/// An email to remove.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RemoveEmail {
    pub email_id: EmailId,
    pub expected_version: Option<i64>,
}

/// Removes an email from the CRM.
///
/// # Errors
/// `NOT_FOUND`, `NOT_SAVED` where it is not in the CRM, `FORBIDDEN` without UPDATE on every item that it hangs on, `STALE`.
pub async fn remove(
    actions: &Actions,
    viewer: &Viewer,
    input: RemoveEmail,
    key: Option<String>,
    now: Time,
) -> ActionResult<EmailId> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let done = idempotency::once(tx, viewer, "removeEmail", key.as_deref(), &hash, |tx| {
                remove_once(tx, viewer, input)?;
                Ok(vec![input.email_id.0])
            })?;
            Ok(EmailId(idempotency::first(&done)?))
        })
        .await
}

fn remove_once(tx: &mut Tx<'_>, viewer: &Viewer, input: RemoveEmail) -> ActionResult<()> {
    let id = input.email_id;
    // Items before emails, as everywhere.
    let links = store::links::of_emails(tx.conn, &[id])?;
    let ids: Vec<ItemId> = links.iter().map(|link| link.item_id).collect();
    store::item_writes::lock(tx, &ids)?;
    store::email_writes::lock(tx, id)?;
    let scope = access::emails(viewer, Surface::Either);
    let email = store::emails::visible(tx.conn, &scope, &[id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("emailId"))?;
    if email.outcome != EmailOutcome::Saved {
        return Err(Refusal::at(
            ErrorCode::NotSaved,
            "emailId",
            "The email is not in the CRM.",
        )
        .into());
    }
    let locked = ids;
    let ids: Vec<ItemId> = store::links::of_emails(tx.conn, &[id])?
        .iter()
        .map(|link| link.item_id)
        .collect();
    if ids.iter().any(|id| !locked.contains(id)) {
        // It was moved while this waited; its new item can't be locked behind the email.
        return Err(Refusal::at(
            ErrorCode::Stale,
            "emailId",
            "Its links were changed at this moment; try again.",
        )
        .into());
    }
    let linked = store::items::facts(tx.conn, &ids)?;
    let may = |facts: &ItemFacts| {
        access::decide(viewer, PermissionAction::Update, facts).is_granted()
            && access::decide(viewer, PermissionAction::Read, facts).is_granted()
    };
    if !linked.iter().all(may) {
        return Err(acting::forbidden("emailId").into());
    }
    check_version(input.expected_version, email.version)?;
    leaving::remove(tx, viewer, (&email, &linked))?;
    for item in &linked {
        let told = Told::EmailUnlinked {
            email_id: id,
            to: None,
        };
        tell(tx, viewer, item.id, told);
    }
    tell_copies(tx, viewer, (&email, &linked))?;
    let items: Vec<String> = linked
        .iter()
        .map(|item| acting::about_item(item.kind, item.id))
        .collect();
    let about = format!("email {}", id.0);
    let detail = json!({ "items": items });
    audit::record(tx, Some(viewer.user_id), "removeEmail", &about, &detail)?;
    Ok(())
}

/// Another mailbox's copy of the message may hang on the same items. They tell of the message once (R7), by the email that
/// went; so they are told of the copy.
fn tell_copies(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    (email, linked): (&Email, &[ItemFacts]),
) -> ActionResult<()> {
    let copies = store::emails::saved_copies(tx.conn, email.message_id, email.id)?;
    if copies.is_empty() {
        return Ok(());
    }
    for link in store::links::of_emails(tx.conn, &copies)? {
        if linked.iter().any(|item| item.id == link.item_id) {
            let told = Told::EmailLinked {
                email_id: link.email_id,
                from: None,
            };
            tell(tx, viewer, link.item_id, told);
        }
    }
    Ok(())
}
