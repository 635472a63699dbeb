//! Who acts, with the rights they have inside the transaction, and the things they may act on.
//! What is hidden answers as what is absent (R27); what is seen but not allowed answers FORBIDDEN.
//! Not for: deciding (that is `rules::access`).

use super::{ActionError, ActionResult, Actions};
use crate::model::item::{Item, ItemFacts, ItemKind};
use crate::model::mailbox::Mailbox;
use crate::model::people::{PermissionAction, User, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{DepartmentId, ItemId, MailboxId, Time, UserId};
use crate::rules::access;
use crate::store::{self, AnyConn, StoreError, Tx};

impl Actions {
    /// Writes as this viewer. Rights may have changed since the viewer was loaded: inside the transaction
    /// they are loaded anew where the epoch of rights has risen.
    ///
    /// # Errors
    /// `FORBIDDEN` where the account is no longer active; whatever `f` returns (then nothing was written).
    pub async fn write_as<T, F>(&self, viewer: &Viewer, now: Time, f: F) -> ActionResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>, &Viewer) -> ActionResult<T> + Send + 'static,
    {
        let viewer = viewer.clone();
        self.store
            .write(now, move |tx| {
                let viewer = present(tx, viewer)?;
                f(tx, &viewer)
            })
            .await
    }
}

/// The viewer with the rights they have now.
fn present(tx: &mut Tx<'_>, viewer: Viewer) -> ActionResult<Viewer> {
    if store::roles::rights_epoch(tx.conn)? == viewer.rights_epoch {
        return Ok(viewer);
    }
    store::roles::load_viewer(tx.conn, viewer.user_id)?.ok_or_else(|| {
        Refusal::new(ErrorCode::Forbidden, "Your account is no longer active.").into()
    })
}

/// The one refusal for what is seen but not allowed.
pub fn forbidden(field: &str) -> Refusal {
    Refusal::at(ErrorCode::Forbidden, field, "You may not do this.")
}

/// Refuses whoever is no administrator.
///
/// # Errors
/// `FORBIDDEN`.
pub fn require_administrator(viewer: &Viewer) -> ActionResult<()> {
    require(viewer.is_administrator, "Only administrators may do this.")
}

/// Refuses whoever may not change the CRM's settings.
///
/// # Errors
/// `FORBIDDEN`.
pub fn require_crm_settings(viewer: &Viewer) -> ActionResult<()> {
    require(
        access::may_change_crm_settings(viewer),
        "Only administrators and holders of \"may change CRM settings\" may do this.",
    )
}

fn require(allowed: bool, otherwise: &str) -> ActionResult<()> {
    if allowed {
        Ok(())
    } else {
        Err(Refusal::new(ErrorCode::Forbidden, otherwise).into())
    }
}

/// The item, of this kind, on which the viewer may do this; locked until the end of the transaction.
///
/// # Errors
/// `NOT_FOUND` where it is absent, of another kind or hidden; `FORBIDDEN` where it is seen but this is not allowed.
pub fn item(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    (id, kind): (ItemId, Option<ItemKind>),
    action: PermissionAction,
    field: &str,
) -> ActionResult<(Item, ItemFacts)> {
    store::item_writes::lock(tx, &[id])?;
    let item = store::items::get(tx.conn, id)?;
    let facts = store::items::facts(tx.conn, &[id])?.into_iter().next();
    let found = item
        .zip(facts)
        .filter(|(item, _)| kind.is_none_or(|kind| kind == item.kind))
        .filter(|(_, facts)| access::decide(viewer, PermissionAction::Read, facts).is_granted())
        .ok_or_else(|| Refusal::not_found(field))?;
    if access::decide(viewer, action, &found.1).is_granted() {
        Ok(found)
    } else {
        Err(forbidden(field).into())
    }
}

/// What the viewer wants to do to a mailbox, as a question to the rules.
pub type MayMailbox = fn(&Viewer, UserId) -> bool;

/// The mailbox to which the viewer may do this; locked until the end of the transaction.
///
/// # Errors
/// `NOT_FOUND` where it is absent or not listed for the viewer; `FORBIDDEN` where it is listed but this is not allowed.
pub fn mailbox(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    id: MailboxId,
    may: MayMailbox,
) -> ActionResult<Mailbox> {
    store::mailbox_writes::lock(tx, id)?;
    let mailbox = store::mailboxes::listed(tx.conn, &access::mailboxes(viewer), &[id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("mailboxId"))?;
    if may(viewer, mailbox.connector_id) {
        Ok(mailbox)
    } else {
        Err(forbidden("mailboxId").into())
    }
}

/// A mailbox that the viewer may have looked at, locked; `field` is what a refusal names.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`.
pub fn mailbox_to_sync(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    id: MailboxId,
    field: &str,
) -> ActionResult<Mailbox> {
    let mailbox = mailbox(tx, viewer, id, |_viewer, _connector| true)?;
    let holders = store::mailboxes::holders(tx.conn, id)?;
    if holders.is_some_and(|holders| access::may_sync_mailbox(viewer, &holders)) {
        Ok(mailbox)
    } else {
        Err(forbidden(field).into())
    }
}

/// These users, all of them active, in the order asked for.
///
/// # Errors
/// `NOT_FOUND` for an unknown one, `BAD_INPUT` for one that is deactivated.
pub fn active_users(tx: &mut Tx<'_>, ids: &[UserId], field: &str) -> ActionResult<Vec<User>> {
    active_users_now(tx.conn, ids, field)
}

/// The same, for what writes nothing.
///
/// # Errors
/// As [`active_users`].
pub fn active_users_now(
    conn: &mut AnyConn,
    ids: &[UserId],
    field: &str,
) -> ActionResult<Vec<User>> {
    let found = store::users::get_many(conn, ids)?;
    let mut users = Vec::with_capacity(ids.len());
    for id in ids {
        let user = found
            .iter()
            .find(|user| user.id == *id)
            .ok_or_else(|| Refusal::not_found(field))?;
        if !user.is_active {
            let message = format!("{} is deactivated.", user.name);
            return Err(Refusal::at(ErrorCode::BadInput, field, message).into());
        }
        users.push(user.clone());
    }
    Ok(users)
}

/// This user, who is active.
///
/// # Errors
/// As [`active_users`].
pub fn active_user(tx: &mut Tx<'_>, id: UserId, field: &str) -> ActionResult<User> {
    active_users(tx, &[id], field)?
        .pop()
        .ok_or_else(|| Refusal::not_found(field).into())
}

/// Refuses departments that don't exist.
///
/// # Errors
/// `NOT_FOUND`.
pub fn departments_exist(tx: &mut Tx<'_>, ids: &[DepartmentId], field: &str) -> ActionResult<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let all = store::users::departments(tx.conn)?;
    if ids
        .iter()
        .all(|id| all.iter().any(|department| department.id == *id))
    {
        Ok(())
    } else {
        Err(Refusal::not_found(field).into())
    }
}

/// The facts of an item as JSON, for the live streams' record of what it was before.
///
/// # Errors
/// `Database` never in practice: facts are plain numbers and words.
pub fn facts_json(facts: &ItemFacts) -> Result<String, StoreError> {
    serde_json::to_string(facts).map_err(|error| StoreError::Database(error.to_string()))
}

/// How the audit log names an item.
pub fn about_item(kind: ItemKind, id: ItemId) -> String {
    format!("{} {}", kind.as_text().to_lowercase(), id.0)
}

/// The refusal alone, for those who look at one.
pub fn bad_input(field: &str, message: impl Into<String>) -> ActionError {
    Refusal::at(ErrorCode::BadInput, field, message).into()
}
