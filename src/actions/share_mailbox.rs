//! Who has a mailbox: sharing it, handing it to another connector, syncing it now, disconnecting it (R10, R22, R25).
//! Not for: connecting one, whose secret is tried first.

use super::acting::{self, active_user, active_users, bad_input, departments_exist};
use super::fields::{self, HOLDERS_MAX};
use super::mail_secret::MailSecret;
use super::{ActionResult, Actions, audit};
use crate::model::mailbox::{Mailbox, SyncStage};
use crate::model::people::Viewer;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::topic::Topic;
use crate::model::{DepartmentId, MailboxId, Time, UserId};
use crate::rules::access;
use crate::store::sealed::Sealer;
use crate::store::{self, Tx};
use serde_json::json;

/// Gives access to exactly these users and departments; the connector always keeps theirs.
///
/// # Errors
/// `NOT_FOUND` for the mailbox, a user or a department, `FORBIDDEN`, `BAD_INPUT` for a deactivated user.
pub async fn share(
    actions: &Actions,
    viewer: &Viewer,
    (id, user_ids, department_ids): (MailboxId, Vec<UserId>, Vec<DepartmentId>),
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let mailbox = acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            let mut users = fields::distinct("userIds", &user_ids, HOLDERS_MAX)?;
            let departments = fields::distinct("departmentIds", &department_ids, HOLDERS_MAX)?;
            active_users(tx, &users, "userIds")?;
            departments_exist(tx, &departments, "departmentIds")?;
            users.retain(|user| *user != mailbox.connector_id);
            let before = store::mailboxes::holders(tx.conn, id)?
                .ok_or_else(|| Refusal::not_found("mailboxId"))?;
            store::mailbox_writes::replace_holders(tx, id, &users, &departments)?;
            tx.rights_changed()?;
            tx.wake(Topic::Mailbox(id));
            let detail = json!({
                "before": { "users": before.user_ids, "departments": before.department_ids },
                "after": { "users": users, "departments": departments },
            });
            audit::record(
                tx,
                Some(viewer.user_id),
                "shareMailbox",
                &about(id),
                &detail,
            )?;
            Ok(id)
        })
        .await
}

/// A mailbox to hand over. It has no `Debug`: it holds a secret.
#[derive(Clone)]
pub struct TransferMailbox {
    pub mailbox_id: MailboxId,
    pub connector_id: UserId,
    /// The new connector's secret; it is tried by the sync that follows, whose state says whether it works.
    /// With one, a disconnected mailbox is connected again.
    pub secret: Option<MailSecret>,
}

/// Hands a mailbox to another connector, who gets the access that goes with it; the one before keeps none by it.
/// A queue that held the connector alone holds the new one.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT`, `MAILBOX_EXISTS` where its address was connected anew meanwhile.
pub async fn transfer(
    actions: &Actions,
    viewer: &Viewer,
    input: TransferMailbox,
    now: Time,
) -> ActionResult<MailboxId> {
    let sealer = actions.sealer.clone();
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let id = input.mailbox_id;
            let mailbox = acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            let connector = active_user(tx, input.connector_id, "connectorId")?;
            if let Some(secret) = &input.secret {
                save_secret(tx, &sealer, &mailbox, secret)?;
            }
            store::mailbox_writes::update_connector(tx, id, connector.id)?;
            hand_over_queue(tx, &mailbox, connector.id)?;
            hand_over_access(tx, id, connector.id)?;
            tx.rights_changed()?;
            tx.wake(Topic::Mailbox(id));
            tx.wake(Topic::Sync(id));
            let detail = json!({
                "before": { "connector": mailbox.connector_id },
                "after": { "connector": connector.id, "newSecret": input.secret.is_some() },
            });
            audit::record(
                tx,
                Some(viewer.user_id),
                "transferMailbox",
                &about(id),
                &detail,
            )?;
            Ok(id)
        })
        .await
}

fn save_secret(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    mailbox: &Mailbox,
    secret: &MailSecret,
) -> ActionResult<()> {
    secret.check("secret")?;
    let id = mailbox.id;
    if !mailbox.is_connected {
        if store::mailbox_writes::address_is_connected_elsewhere(tx, id)? {
            return Err(Refusal::at(
                ErrorCode::MailboxExists,
                "mailboxId",
                "A mailbox of this address is connected already.",
            )
            .into());
        }
        store::mailbox_writes::put_sync_state(tx, id, SyncStage::Connecting, Some(None))?;
    }
    secret.save(tx, sealer, id)?;
    Ok(())
}

fn hand_over_queue(tx: &mut Tx<'_>, mailbox: &Mailbox, to: UserId) -> ActionResult<()> {
    let settings = store::mailboxes::settings(tx.conn, mailbox.id)?;
    let alone = settings.is_some_and(|settings| settings.queue == [mailbox.connector_id]);
    if alone {
        store::mailbox_writes::replace_queue(tx, mailbox.id, &[to], 0)?;
    }
    Ok(())
}

/// What was given to the new connector is theirs by being the connector now.
fn hand_over_access(tx: &mut Tx<'_>, id: MailboxId, to: UserId) -> ActionResult<()> {
    let Some(holders) = store::mailboxes::holders(tx.conn, id)? else {
        return Ok(());
    };
    if holders.user_ids.contains(&to) {
        let users: Vec<UserId> = holders
            .user_ids
            .into_iter()
            .filter(|user| *user != to)
            .collect();
        store::mailbox_writes::replace_holders(tx, id, &users, &holders.department_ids)?;
    }
    Ok(())
}

/// Asks for a sync at once: whoever has access to the mailbox or manages it.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT` for a disconnected one.
pub async fn sync(
    actions: &Actions,
    viewer: &Viewer,
    id: MailboxId,
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            may_sync(tx, viewer, id)?;
            tx.wake(Topic::Sync(id));
            Ok(id)
        })
        .await
}

/// Asks for a comparison of a mailbox with its server (R9): whoever has access to the mailbox or manages it. The sync makes
/// it, and the state of the sync tells what it found.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT` for a disconnected one.
pub async fn reconcile(
    actions: &Actions,
    viewer: &Viewer,
    id: MailboxId,
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            may_sync(tx, viewer, id)?;
            store::mailbox_writes::ask_to_reconcile(tx, id)?;
            Ok(id)
        })
        .await
}

/// Refuses whoever has no access to the mailbox and doesn't manage it, and a mailbox that is disconnected.
fn may_sync(tx: &mut Tx<'_>, viewer: &Viewer, id: MailboxId) -> ActionResult<()> {
    let mailbox = acting::mailbox_to_sync(tx, viewer, id, "mailboxId")?;
    if !mailbox.is_connected {
        return Err(bad_input("mailboxId", "This mailbox is disconnected."));
    }
    Ok(())
}

/// Stops a mailbox's sync and forgets its secret; what the CRM saved stays. One that is disconnected stays so.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`.
pub async fn disconnect(
    actions: &Actions,
    viewer: &Viewer,
    id: MailboxId,
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let mailbox = acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            if !mailbox.is_connected {
                return Ok(id);
            }
            store::mailbox_writes::disconnect(tx, id)?;
            tx.wake(Topic::Mailbox(id));
            tx.wake(Topic::Sync(id));
            audit::record(
                tx,
                Some(viewer.user_id),
                "disconnectMailbox",
                &about(id),
                &json!({}),
            )?;
            Ok(id)
        })
        .await
}

fn about(id: MailboxId) -> String {
    format!("mailbox {}", id.0)
}
