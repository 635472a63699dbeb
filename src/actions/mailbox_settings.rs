//! The CRM settings of a mailbox (R11, R13-R15): its connector, administrators and holders of "may change CRM settings" (R25).
//! Each change raises the version that a routing trace names. Mail is judged by the new settings from the commit on; nothing is judged again.
//! Not for: folders and sharing.

use super::acting::{self, active_users_now, bad_input};
use super::change::Change;
use super::fields::{self, HOLDERS_MAX, NAME_CHARS_MAX, check_all};
use super::{ActionError, ActionResult, Actions, audit, check_version};
use crate::model::mailbox::{CreatedItem, ExistingClientRouting, MailboxSettings, MailboxWarning};
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::topic::Topic;
use crate::model::{MailboxId, Time, UserId};
use crate::rules::access;
use crate::store::{self, AnyConn, StoreError, Tx};
use serde::Serialize;
use serde_json::{Value, json};

/// What changes about the settings; lists replace.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SettingsChange {
    pub crm_integration: Change<bool>,
    pub incoming_creates: Change<CreatedItem>,
    pub outgoing_creates: Change<CreatedItem>,
    pub existing_client_routing: Change<ExistingClientRouting>,
    pub replies_follow_thread: Change<bool>,
    pub queue: Change<Vec<UserId>>,
    /// Null: no source.
    pub source: Change<String>,
    pub vcard_contacts: Change<bool>,
    pub read_state_follows_server: Change<bool>,
    pub always_new_lead_for: Change<Vec<String>>,
    pub save_since: Change<Time>,
}

/// What a mailbox begins with (R11, R13-R15).
pub fn default_settings(connector: UserId) -> MailboxSettings {
    MailboxSettings {
        crm_integration: true,
        incoming_creates: CreatedItem::Lead,
        outgoing_creates: CreatedItem::Contact,
        existing_client_routing: ExistingClientRouting::AttachIfResponsibleInQueue,
        replies_follow_thread: true,
        queue: vec![connector],
        source: "Email".to_owned(),
        vcard_contacts: false,
        read_state_follows_server: true,
        always_new_lead_for: Vec::new(),
        save_since: None,
        version: 0,
    }
}

/// Changes the settings of a mailbox.
///
/// # Errors
/// `NOT_FOUND` where the mailbox is not listed for the viewer, `FORBIDDEN`, `STALE` (of the settings' version), `BAD_INPUT`.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    (id, expected_version): (MailboxId, Option<i64>),
    change: SettingsChange,
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            acting::mailbox(tx, viewer, id, access::may_change_mailbox_settings)?;
            let before = store::mailboxes::settings(tx.conn, id)?
                .ok_or_else(|| Refusal::not_found("mailboxId"))?;
            check_version(expected_version, before.version)?;
            let after = changed(tx.conn, &before, change).map_err(within_settings)?;
            write(tx, viewer, id, &before, &after)?;
            Ok(id)
        })
        .await
}

/// Names the fields as they stand in inputs that hold the settings.
pub fn within_settings(error: ActionError) -> ActionError {
    match error {
        ActionError::Refused(refusals) => ActionError::Refused(
            refusals
                .into_iter()
                .map(fields::within(&["settings"]))
                .collect(),
        ),
        other => other,
    }
}

/// The settings that a change makes of others; also for the ones that a mailbox is connected with.
/// Fields of refusals are those of `MailboxSettingsInput`.
///
/// # Errors
/// `BAD_INPUT`, `NOT_FOUND` for a user of the queue.
pub fn changed(
    conn: &mut AnyConn,
    before: &MailboxSettings,
    change: SettingsChange,
) -> ActionResult<MailboxSettings> {
    let old = before.clone();
    check_all! {
        crm_integration = change
            .crm_integration
            .applied_required("crmIntegration", old.crm_integration),
        incoming_creates = change
            .incoming_creates
            .applied_required("incomingCreates", old.incoming_creates),
        outgoing_creates = change
            .outgoing_creates
            .applied_required("outgoingCreates", old.outgoing_creates),
        existing_client_routing = change
            .existing_client_routing
            .applied_required("existingClientRouting", old.existing_client_routing),
        replies_follow_thread = change
            .replies_follow_thread
            .applied_required("repliesFollowThread", old.replies_follow_thread),
        source = fields::optional_change("source", change.source, NAME_CHARS_MAX),
        vcard_contacts = change
            .vcard_contacts
            .applied_required("vcardContacts", old.vcard_contacts),
        read_state_follows_server = change
            .read_state_follows_server
            .applied_required("readStateFollowsServer", old.read_state_follows_server),
        always_new_lead_for = change
            .always_new_lead_for
            .try_map(|texts| fields::patterns("alwaysNewLeadFor", &texts)),
    }
    let queue = match change.queue {
        Change::Keep => old.queue,
        Change::Clear => return Err(empty_queue()),
        Change::Set(ids) => {
            // A user may stand there twice, who has two turns a round then.
            fields::at_most("queueUserIds", &ids, HOLDERS_MAX)?;
            if ids.is_empty() {
                return Err(empty_queue());
            }
            active_users_now(conn, &ids, "queueUserIds")?;
            ids
        }
    };
    Ok(MailboxSettings {
        crm_integration,
        incoming_creates,
        outgoing_creates,
        existing_client_routing,
        replies_follow_thread,
        queue,
        source: source.applied(Some(old.source)).unwrap_or_default(),
        vcard_contacts,
        read_state_follows_server,
        always_new_lead_for: always_new_lead_for.applied_list(old.always_new_lead_for),
        save_since: change.save_since.applied(old.save_since),
        version: old.version + 1,
    })
}

fn empty_queue() -> ActionError {
    bad_input(
        "queueUserIds",
        "The queue is never empty: somebody must get new items.",
    )
}

fn write(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    id: MailboxId,
    before: &MailboxSettings,
    after: &MailboxSettings,
) -> Result<(), StoreError> {
    store::mailbox_writes::update_settings(tx, id, after)?;
    if before.queue != after.queue {
        let pointer = store::mailbox_writes::lock_queue_pointer(tx, id)?;
        let pointer = pointer_after(&before.queue, pointer, &after.queue);
        store::mailbox_writes::replace_queue(tx, id, &after.queue, pointer)?;
        // Every user of the new queue is active.
        let warning = MailboxWarning::QueueUnusable;
        store::mailbox_writes::delete_warning(tx, id, warning)?;
    }
    tx.wake(Topic::Mailbox(id));
    let detail = json!({ "before": told(before), "after": told(after) });
    audit::record(
        tx,
        Some(viewer.user_id),
        "updateMailboxSettings",
        &format!("mailbox {}", id.0),
        &detail,
    )
}

/// Where the pointer stands in a new queue: at whose turn it is, or at whose turn is next of those who stay; else at the first.
pub fn pointer_after(before: &[UserId], pointer: i64, after: &[UserId]) -> i64 {
    let turn = usize::try_from(pointer)
        .ok()
        .and_then(|pointer| pointer.checked_rem(before.len()))
        .unwrap_or(0);
    before
        .iter()
        .cycle()
        .skip(turn)
        .take(before.len())
        .find_map(|user| after.iter().position(|other| other == user))
        .and_then(|place| i64::try_from(place).ok())
        .unwrap_or(0)
}

/// Settings for the audit log: how many patterns there are, not which, since they are clients' addresses.
fn told(settings: &MailboxSettings) -> Value {
    json!({
        "crmIntegration": settings.crm_integration, "incomingCreates": settings.incoming_creates,
        "outgoingCreates": settings.outgoing_creates, "existingClientRouting": settings.existing_client_routing,
        "repliesFollowThread": settings.replies_follow_thread, "queue": settings.queue,
        "vcardContacts": settings.vcard_contacts, "readStateFollowsServer": settings.read_state_follows_server,
        "alwaysNewLeadFor": settings.always_new_lead_for.len(),
        "saveSince": settings.save_since, "version": settings.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r14_a_changed_queue_goes_on_with_whose_turn_it_is() {
        // (what, before, pointer, after, pointer in it)
        let rows: [(&str, &[i64], i64, &[i64], i64); 7] = [
            ("the same", &[1, 2, 3], 1, &[1, 2, 3], 1),
            ("another order", &[1, 2, 3], 1, &[2, 3, 1], 0),
            ("one more before", &[1, 2], 1, &[9, 1, 2], 2),
            ("whose turn it is leaves", &[1, 2, 3], 1, &[1, 3], 1),
            (
                "the last leaves, so that it begins anew",
                &[1, 2, 3],
                2,
                &[1, 2],
                0,
            ),
            ("all leave", &[1, 2], 1, &[8, 9], 0),
            ("a pointer that counts on", &[1, 2, 3], 7, &[3, 2, 1], 1),
        ];
        let users = |ids: &[i64]| ids.iter().copied().map(UserId).collect::<Vec<_>>();
        for (what, before, pointer, after, expected) in rows {
            let found = pointer_after(&users(before), pointer, &users(after));
            assert_eq!(found, expected, "{what}");
        }
    }
}
