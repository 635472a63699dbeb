//! Mailboxes: their settings, folders, holders and end. Connecting one is written where it is tried.

use super::update;
use crate::model::mailbox::{FolderRole, MailboxSettings, MailboxWarning, SecretKind, SyncStage};
use crate::model::{DepartmentId, FolderId, MailboxId, UserId};
use crate::store::dialect::for_update;
use crate::store::sql::{insert_all, sql};
use crate::store::{StoreError, Tx};

/// Locks a mailbox until the end of the transaction; the queue is locked with it.
///
/// # Errors
/// What the database says.
pub fn lock(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), StoreError> {
    let query = sql("SELECT id FROM mailboxes WHERE id = ").bind(id.0);
    for_update(tx.conn, query).rows::<i64>(tx.conn)?;
    Ok(())
}

/// Writes a mailbox's CRM settings anew, but for the queue.
///
/// # Errors
/// What the database says.
pub fn save_settings(
    tx: &mut Tx<'_>,
    id: MailboxId,
    settings: &MailboxSettings,
) -> Result<(), StoreError> {
    update(
        "mailboxes",
        id.0,
        vec![
            ("crm_integration", settings.crm_integration.into()),
            ("incoming_creates", settings.incoming_creates.as_text().into()),
            ("outgoing_creates", settings.outgoing_creates.as_text().into()),
            (
                "existing_client_routing",
                settings.existing_client_routing.as_text().into(),
            ),
            (
                "replies_follow_thread",
                settings.replies_follow_thread.into(),
            ),
            ("source", settings.source.as_str().into()),
            ("vcard_contacts", settings.vcard_contacts.into()),
            ("save_since", settings.save_since.map(|at| at.micros()).into()),
            ("settings_version", settings.version.into()),
        ],
    )
    .run(tx.conn)?;
    sql("DELETE FROM mailbox_always_new_lead WHERE mailbox_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    let rows = settings
        .always_new_lead_for
        .iter()
        .map(|pattern| vec![id.0.into(), pattern.as_str().into()]);
    insert_all(
        tx.conn,
        "mailbox_always_new_lead (mailbox_id, pattern)",
        "",
        rows.collect(),
    )
}

/// Where the queue's pointer stands.
///
/// # Errors
/// What the database says.
pub fn queue_pointer(tx: &mut Tx<'_>, id: MailboxId) -> Result<i64, StoreError> {
    let pointer: Option<i64> = sql("SELECT queue_pointer FROM mailboxes WHERE id = ")
        .bind(id.0)
        .one(tx.conn)?;
    Ok(pointer.unwrap_or(0))
}

/// Gives a mailbox exactly this queue, with the pointer at one of its places.
///
/// # Errors
/// What the database says.
pub fn save_queue(
    tx: &mut Tx<'_>,
    id: MailboxId,
    queue: &[UserId],
    pointer: i64,
) -> Result<(), StoreError> {
    sql("DELETE FROM mailbox_queue WHERE mailbox_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    let rows = (0_i64..)
        .zip(queue)
        .map(|(position, user)| vec![id.0.into(), position.into(), user.0.into()]);
    insert_all(
        tx.conn,
        "mailbox_queue (mailbox_id, position, user_id)",
        "",
        rows.collect(),
    )?;
    update("mailboxes", id.0, vec![("queue_pointer", pointer.into())]).run(tx.conn)?;
    Ok(())
}

/// Notes a warning, or takes it back.
///
/// # Errors
/// What the database says.
pub fn set_warning(
    tx: &mut Tx<'_>,
    id: MailboxId,
    warning: MailboxWarning,
    holds: bool,
) -> Result<(), StoreError> {
    if holds {
        sql("INSERT INTO mailbox_warnings (mailbox_id, warning, at) VALUES (")
            .bind(id.0)
            .push(", ")
            .bind(warning.as_text())
            .push(", ")
            .bind(tx.now.micros())
            .push(") ON CONFLICT DO NOTHING")
            .run(tx.conn)?;
    } else {
        sql("DELETE FROM mailbox_warnings WHERE mailbox_id = ")
            .bind(id.0)
            .push(" AND warning = ")
            .bind(warning.as_text())
            .run(tx.conn)?;
    }
    Ok(())
}

/// Raises a mailbox's version: something about it, but for its settings, has changed.
///
/// # Errors
/// What the database says.
pub fn raise_version(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), StoreError> {
    sql("UPDATE mailboxes SET version = version + 1 WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Says where spam goes (`None`: nowhere).
///
/// # Errors
/// What the database says.
pub fn set_spam_folder(
    tx: &mut Tx<'_>,
    id: MailboxId,
    folder: Option<FolderId>,
) -> Result<(), StoreError> {
    update(
        "mailboxes",
        id.0,
        vec![("spam_folder_id", folder.map(|id| id.0).into())],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Writes a folder's role and whether it is synced.
///
/// # Errors
/// What the database says.
pub fn save_folder(
    tx: &mut Tx<'_>,
    id: FolderId,
    role: Option<FolderRole>,
    is_synced: bool,
) -> Result<(), StoreError> {
    update(
        "folders",
        id.0,
        vec![
            ("role", role.map(|role| role.as_text().to_owned()).into()),
            ("is_synced", is_synced.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Gives access to exactly these users and departments, beside the connector.
///
/// # Errors
/// What the database says.
pub fn set_holders(
    tx: &mut Tx<'_>,
    id: MailboxId,
    users: &[UserId],
    departments: &[DepartmentId],
) -> Result<(), StoreError> {
    for table in ["mailbox_users", "mailbox_departments"] {
        sql("DELETE FROM ")
            .push(table)
            .push(" WHERE mailbox_id = ")
            .bind(id.0)
            .run(tx.conn)?;
    }
    let users = users.iter().map(|user| vec![id.0.into(), user.0.into()]);
    insert_all(
        tx.conn,
        "mailbox_users (mailbox_id, user_id)",
        "",
        users.collect(),
    )?;
    let departments = departments
        .iter()
        .map(|department| vec![id.0.into(), department.0.into()]);
    insert_all(
        tx.conn,
        "mailbox_departments (mailbox_id, department_id)",
        "",
        departments.collect(),
    )?;
    raise_version(tx, id)
}

/// Hands a mailbox to another connector.
///
/// # Errors
/// What the database says.
pub fn set_connector(tx: &mut Tx<'_>, id: MailboxId, to: UserId) -> Result<(), StoreError> {
    update("mailboxes", id.0, vec![("connector_id", to.0.into())]).run(tx.conn)?;
    raise_version(tx, id)
}

/// Whether another connected mailbox has this one's address.
///
/// # Errors
/// What the database says.
pub fn address_is_connected_elsewhere(
    tx: &mut Tx<'_>,
    id: MailboxId,
) -> Result<bool, StoreError> {
    let other: Option<i64> = sql(
        "SELECT o.id FROM mailboxes m JOIN mailboxes o ON o.address_key = m.address_key AND o.id <> m.id \
         WHERE o.disconnected_at IS NULL AND m.id = ",
    )
    .bind(id.0)
    .one(tx.conn)?;
    Ok(other.is_some())
}

/// Keeps a mailbox's sealed secret; with one it is connected.
///
/// # Errors
/// `Conflict` where another connected mailbox has the address.
pub fn save_secret(
    tx: &mut Tx<'_>,
    id: MailboxId,
    kind: SecretKind,
    sealed: &str,
) -> Result<(), StoreError> {
    update(
        "mailboxes",
        id.0,
        vec![
            ("secret_kind", kind.as_text().into()),
            ("secret_sealed", sealed.into()),
            ("disconnected_at", None::<i64>.into()),
        ],
    )
    .run(tx.conn)?;
    raise_version(tx, id)
}

/// Forgets a mailbox's secret; what it saved stays.
///
/// # Errors
/// What the database says.
pub fn disconnect(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), StoreError> {
    update(
        "mailboxes",
        id.0,
        vec![
            ("secret_kind", None::<String>.into()),
            ("secret_sealed", None::<String>.into()),
            ("disconnected_at", tx.now.micros().into()),
        ],
    )
    .run(tx.conn)?;
    raise_version(tx, id)?;
    set_sync_stage(tx, id, SyncStage::Stopped)
}

/// Says where the sync stands, with no error.
///
/// # Errors
/// What the database says.
pub fn set_sync_stage(
    tx: &mut Tx<'_>,
    id: MailboxId,
    stage: SyncStage,
) -> Result<(), StoreError> {
    sql("INSERT INTO mailbox_sync (mailbox_id, stage) VALUES (")
        .bind(id.0)
        .push(", ")
        .bind(stage.as_text())
        .push(
            ") ON CONFLICT (mailbox_id) DO UPDATE SET stage = excluded.stage, error_code = NULL, error_message = NULL, \
             error_advice = NULL, error_at = NULL",
        )
        .run(tx.conn)?;
    Ok(())
}
