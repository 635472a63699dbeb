//! Administrators ask why somebody sees an item or an email, or doesn't (R28). The answer is the decision of
//! `rules::access` itself, taken apart by `rules::explain`. Asking leaves a line in the audit log.
//! Not for: asking about oneself (`viewerCan` tells what one may do).

use super::acting::{self, require_administrator};
use super::{ActionResult, Actions, audit};
use crate::model::item::{ItemFacts, ItemKind};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::Refusal;
use crate::model::{EmailId, ItemId, MailboxId, Time, UserId};
use crate::rules::access;
use crate::rules::access::MailboxGround;
use crate::rules::explain::{self, Explained};
use crate::store::{self, Tx};
use serde_json::json;

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Item(ItemId),
    Email(EmailId),
}

/// Why an item is reached or not, for each action that is asked about.
#[derive(Debug, Clone)]
pub struct ItemExplanation {
    pub item_id: ItemId,
    pub kind: ItemKind,
    pub actions: Vec<Explained>,
}

/// The mailbox of an email, and why its mail is had or not.
#[derive(Debug, Clone, Copy)]
pub struct MailboxExplanation {
    pub mailbox_id: MailboxId,
    pub ground: Option<MailboxGround>,
}

/// Why somebody sees what was asked about, or doesn't.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Whether they see it at all.
    pub is_visible: bool,
    /// In words for people.
    pub summary: String,
    /// The item, or each item that the email hangs on; none for a deactivated user, who has no rights to look at.
    pub items: Vec<ItemExplanation>,
    /// Of an email.
    pub mailbox: Option<MailboxExplanation>,
}

/// Explains what a user sees. Administrators only.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND` for the user or what is asked about.
pub async fn explain(
    actions: &Actions,
    viewer: &Viewer,
    (user, subject): (UserId, Subject),
    now: Time,
) -> ActionResult<Explanation> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            if store::users::get(tx.conn, user)?.is_none() {
                return Err(Refusal::not_found("userId").into());
            }
            let who = store::roles::load_viewer(tx.conn, user)?;
            let (found, about) = match subject {
                Subject::Item(id) => of_item(tx, who.as_ref(), id)?,
                Subject::Email(id) => of_email(tx, who.as_ref(), id)?,
            };
            let detail = json!({ "userId": user });
            audit::record(tx, Some(viewer.user_id), "explainAccess", &about, &detail)?;
            Ok(found)
        })
        .await
}

const DEACTIVATED: &str = "The account is deactivated: it sees nothing.";

fn of_item(
    tx: &mut Tx<'_>,
    who: Option<&Viewer>,
    id: ItemId,
) -> ActionResult<(Explanation, String)> {
    let facts = store::items::facts(tx.conn, &[id])?
        .pop()
        .ok_or_else(|| Refusal::not_found("itemId"))?;
    let about = acting::about_item(facts.kind, id);
    let Some(who) = who else {
        return Ok((deactivated(None), about));
    };
    let asked = [
        PermissionAction::Read,
        PermissionAction::Update,
        PermissionAction::Delete,
        PermissionAction::Export,
    ];
    let item = item(who, &facts, &asked);
    let read = item.actions.first();
    let is_visible = read.is_some_and(|read| read.access.is_granted());
    let found = Explanation {
        is_visible,
        summary: read.map(explain::words).unwrap_or_default(),
        items: vec![item],
        mailbox: None,
    };
    Ok((found, about))
}

fn item(who: &Viewer, facts: &ItemFacts, asked: &[PermissionAction]) -> ItemExplanation {
    ItemExplanation {
        item_id: facts.id,
        kind: facts.kind,
        actions: asked
            .iter()
            .map(|action| explain::item(who, *action, facts))
            .collect(),
    }
}

fn of_email(
    tx: &mut Tx<'_>,
    who: Option<&Viewer>,
    id: EmailId,
) -> ActionResult<(Explanation, String)> {
    let email = store::emails::get(tx.conn, id)?.ok_or_else(|| Refusal::not_found("emailId"))?;
    let about = format!("email {}", id.0);
    let Some(who) = who else {
        let mailbox = MailboxExplanation {
            mailbox_id: email.mailbox_id,
            ground: None,
        };
        return Ok((deactivated(Some(mailbox)), about));
    };
    let ids: Vec<ItemId> = store::links::of_emails(tx.conn, &[id])?
        .iter()
        .map(|link| link.item_id)
        .collect();
    let linked = store::items::facts(tx.conn, &ids)?;
    let holders = store::mailboxes::holders(tx.conn, email.mailbox_id)?;
    let ground = holders.and_then(|holders| access::mailbox_ground(who, &holders));
    let sees_in_crm = access::sees_in_crm(who, &linked);
    let items: Vec<ItemExplanation> = linked
        .iter()
        .map(|facts| item(who, facts, &[PermissionAction::Read]))
        .collect();
    let unreadable = items
        .iter()
        .flat_map(|item| &item.actions)
        .filter(|read| !read.access.is_granted())
        .count();
    let in_crm = match (linked.len(), unreadable) {
        (0, _) => "It is not in the CRM.".to_owned(),
        (all, 0) => format!("In the CRM it is seen: each of its {all} items can be read."),
        (all, some) => format!("In the CRM it is hidden: {some} of its {all} items can't be read."),
    };
    let in_mailbox = match ground {
        Some(MailboxGround::Connector) => "In the mailbox it is seen: the user is its connector.",
        Some(MailboxGround::GivenToUser) => {
            "In the mailbox it is seen: the mailbox was given to the user."
        }
        Some(MailboxGround::GivenToDepartment) => {
            "In the mailbox it is seen: the mailbox was given to the user's department or one above it."
        }
        None => "The user has no access to its mailbox.",
    };
    let found = Explanation {
        is_visible: sees_in_crm || ground.is_some(),
        summary: format!("{in_crm} {in_mailbox}"),
        items,
        mailbox: Some(MailboxExplanation {
            mailbox_id: email.mailbox_id,
            ground,
        }),
    };
    Ok((found, about))
}

fn deactivated(mailbox: Option<MailboxExplanation>) -> Explanation {
    Explanation {
        is_visible: false,
        summary: DEACTIVATED.to_owned(),
        items: Vec::new(),
        mailbox,
    }
}
