//! What changes about mailboxes: while mail comes in, and by hand. Reading is in `mailboxes`.

use super::dialect::for_update;
use super::sql::{Value, insert_all, sql, update_row};
use super::{AnyConn, StoreError, Tx, dialect};
use crate::model::mailbox::{
    FolderDifference, FolderRole, MailServer, MailboxSettings, MailboxWarning, Reconciliation,
    SecretKind, SyncError, SyncStage,
};
use crate::model::topic::Topic;
use crate::model::{DepartmentId, FolderId, MailboxId, Time, UserId};

/// The queue's pointer, locked until the transaction ends, so that turns are exact under any number of workers (R14).
///
/// # Errors
/// What the database says.
pub fn lock_queue_pointer(tx: &mut Tx<'_>, id: MailboxId) -> Result<i64, StoreError> {
    let query = sql("SELECT queue_pointer FROM mailboxes WHERE id = ").bind(id.0);
    let pointer: Option<i64> = dialect::for_update(tx.conn, query).one(tx.conn)?;
    Ok(pointer.unwrap_or(0))
}

/// Moves the pointer, together with the item that was made.
///
/// # Errors
/// What the database says.
pub fn update_queue_pointer(
    tx: &mut Tx<'_>,
    id: MailboxId,
    pointer: i64,
) -> Result<(), StoreError> {
    sql("UPDATE mailboxes SET queue_pointer = ")
        .bind(pointer)
        .push(" WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Notes a warning; whether it is new.
///
/// # Errors
/// What the database says.
pub fn put_warning(
    tx: &mut Tx<'_>,
    id: MailboxId,
    warning: MailboxWarning,
) -> Result<bool, StoreError> {
    let added = sql("INSERT INTO mailbox_warnings (mailbox_id, warning, at) VALUES (")
        .bind(id.0)
        .push(", ")
        .bind(warning.as_text())
        .push(", ")
        .bind(tx.now.micros())
        .push(") ON CONFLICT (mailbox_id, warning) DO NOTHING")
        .run(tx.conn)?;
    if added > 0 {
        tx.wake(Topic::Mailbox(id));
    }
    Ok(added > 0)
}

/// Takes a warning back.
///
/// # Errors
/// What the database says.
pub fn delete_warning(
    tx: &mut Tx<'_>,
    id: MailboxId,
    warning: MailboxWarning,
) -> Result<(), StoreError> {
    let gone = sql("DELETE FROM mailbox_warnings WHERE mailbox_id = ")
        .bind(id.0)
        .push(" AND warning = ")
        .bind(warning.as_text())
        .run(tx.conn)?;
    if gone > 0 {
        tx.wake(Topic::Mailbox(id));
    }
    Ok(())
}

/// Where the sync of a mailbox stands now. `error`: `None` leaves the last one, `Some(None)` clears it.
///
/// # Errors
/// What the database says.
pub fn put_sync_state(
    tx: &mut Tx<'_>,
    id: MailboxId,
    stage: SyncStage,
    error: Option<Option<&SyncError>>,
) -> Result<(), StoreError> {
    sql("INSERT INTO mailbox_sync (mailbox_id, stage) VALUES (")
        .bind(id.0)
        .push(", ")
        .bind(stage.as_text())
        .push(") ON CONFLICT (mailbox_id) DO UPDATE SET stage = excluded.stage")
        .run(tx.conn)?;
    if stage == SyncStage::Watching {
        sql("UPDATE mailbox_sync SET last_success_at = ")
            .bind(tx.now.micros())
            .push(" WHERE mailbox_id = ")
            .bind(id.0)
            .run(tx.conn)?;
    }
    if let Some(error) = error {
        let text = |f: fn(&SyncError) -> &String| error.map(|error| f(error).clone());
        sql("UPDATE mailbox_sync SET error_code = ")
            .bind(text(|error| &error.code))
            .push(", error_message = ")
            .bind(text(|error| &error.message))
            .push(", error_advice = ")
            .bind(text(|error| &error.advice))
            .push(", error_at = ")
            .bind(error.map(|error| error.at.micros()))
            .push(" WHERE mailbox_id = ")
            .bind(id.0)
            .run(tx.conn)?;
    }
    tx.wake(Topic::Mailbox(id));
    Ok(())
}

/// A folder as the server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFolder {
    pub path: String,
    pub role: Option<FolderRole>,
    pub is_synced: bool,
}

/// Takes over the server's list: new folders are added, those that are gone are marked so; what users set stays.
///
/// # Errors
/// What the database says.
pub fn put_folders(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    listed: &[ListedFolder],
) -> Result<(), StoreError> {
    let known: Vec<(i64, String)> = sql("SELECT id, path FROM folders WHERE mailbox_id = ")
        .bind(mailbox.0)
        .rows(tx.conn)?;
    for folder in listed {
        if let Some((id, _path)) = known.iter().find(|(_id, path)| *path == folder.path) {
            sql("UPDATE folders SET is_gone = FALSE WHERE is_gone AND id = ")
                .bind(*id)
                .run(tx.conn)?;
            continue;
        }
        insert_folder(tx, mailbox, folder)?;
    }
    for (id, path) in &known {
        if !listed.iter().any(|folder| folder.path == *path) {
            sql("UPDATE folders SET is_gone = TRUE WHERE id = ")
                .bind(*id)
                .run(tx.conn)?;
        }
    }
    Ok(())
}

fn insert_folder(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    folder: &ListedFolder,
) -> Result<FolderId, StoreError> {
    let id = tx.id()?;
    sql("INSERT INTO folders (id, mailbox_id, path, role, is_synced, epoch, discovered_next_uid, is_gone) VALUES (")
        .list::<Value>([
            id.into(),
            mailbox.0.into(),
            folder.path.clone().into(),
            folder.role.map(FolderRole::as_text).map(str::to_owned).into(),
            folder.is_synced.into(),
            1_i64.into(),
            1_i64.into(),
            false.into(),
        ])
        .push(")")
        .run(tx.conn)?;
    Ok(FolderId(id))
}

/// A folder's UIDs begin anew: nothing of the new epoch is known yet.
///
/// # Errors
/// What the database says.
pub fn update_folder_epoch(
    tx: &mut Tx<'_>,
    folder: FolderId,
    epoch: i64,
    uid_validity: Option<i64>,
) -> Result<(), StoreError> {
    sql(
        "UPDATE folders SET discovered_next_uid = 1, highest_modseq = NULL, \
         epochs_in_row = CASE WHEN epoch = ",
    )
    .bind(epoch)
    .push(" THEN 0 ELSE epochs_in_row + 1 END, epoch = ")
    .bind(epoch)
    .push(", uid_validity = ")
    .bind(uid_validity)
    .push(" WHERE id = ")
    .bind(folder.0)
    .run(tx.conn)?;
    Ok(())
}

/// A folder's UIDs were the same as at the last look.
///
/// # Errors
/// What the database says.
pub fn update_folder_steady(tx: &mut Tx<'_>, folder: FolderId) -> Result<(), StoreError> {
    sql("UPDATE folders SET epochs_in_row = 0 WHERE id = ")
        .bind(folder.0)
        .run(tx.conn)?;
    Ok(())
}

/// Everything that was told up to this modseq is in the ledger.
///
/// # Errors
/// What the database says.
pub fn update_folder_modseq(
    tx: &mut Tx<'_>,
    folder: FolderId,
    modseq: i64,
) -> Result<(), StoreError> {
    sql("UPDATE folders SET highest_modseq = ")
        .bind(modseq)
        .push(" WHERE id = ")
        .bind(folder.0)
        .run(tx.conn)?;
    Ok(())
}

/// Asks for a comparison with the server.
///
/// # Errors
/// What the database says.
pub fn ask_to_reconcile(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), StoreError> {
    sql("UPDATE mailbox_sync SET reconcile_asked_at = ")
        .bind(tx.now.micros())
        .push(" WHERE mailbox_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    tx.wake(Topic::Sync(id));
    Ok(())
}

/// Keeps what a comparison with the server found.
///
/// # Errors
/// What the database says.
pub fn put_reconciled(
    tx: &mut Tx<'_>,
    id: MailboxId,
    found: &Reconciliation,
    differences: &[FolderDifference],
) -> Result<(), StoreError> {
    let report = serde_json::to_string(differences)
        .map_err(|error| StoreError::Database(error.to_string()))?;
    sql("UPDATE mailbox_sync SET reconciled_at = ")
        .bind(found.at.micros())
        .push(", missing_here = ")
        .bind(found.missing_here)
        .push(", missing_there = ")
        .bind(found.missing_there)
        .push(", reconcile_report = ")
        .bind(report)
        .push(" WHERE mailbox_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    tx.wake(Topic::Mailbox(id));
    Ok(())
}

/// How far back a mailbox's mail is synced (`None`: everything).
///
/// # Errors
/// What the database says.
pub fn update_history(
    tx: &mut Tx<'_>,
    id: MailboxId,
    since: Option<Time>,
) -> Result<(), StoreError> {
    update_row(
        "mailboxes",
        id.0,
        vec![("history_since", since.map(Time::micros).into())],
    )
    .run(tx.conn)?;
    raise_version(tx, id)
}

/// UIDs below this are in the ledger.
///
/// # Errors
/// What the database says.
pub fn update_folder_discovered(
    tx: &mut Tx<'_>,
    folder: FolderId,
    next_uid: i64,
) -> Result<(), StoreError> {
    sql("UPDATE folders SET discovered_next_uid = ")
        .bind(next_uid)
        .push(" WHERE id = ")
        .bind(folder.0)
        .run(tx.conn)?;
    Ok(())
}

/// The sealed secret of a mailbox and what it is; `None` once it is disconnected.
///
/// # Errors
/// What the database says.
pub fn sealed_secret(
    conn: &mut AnyConn,
    id: MailboxId,
) -> Result<Option<(String, String)>, StoreError> {
    let row: Option<(Option<String>, Option<String>)> =
        sql("SELECT secret_kind, secret_sealed FROM mailboxes WHERE id = ")
            .bind(id.0)
            .one(conn)?;
    Ok(row.and_then(|(kind, sealed)| kind.zip(sealed)))
}

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
pub fn update_settings(
    tx: &mut Tx<'_>,
    id: MailboxId,
    settings: &MailboxSettings,
) -> Result<(), StoreError> {
    update_row(
        "mailboxes",
        id.0,
        vec![
            ("crm_integration", settings.crm_integration.into()),
            (
                "incoming_creates",
                settings.incoming_creates.as_text().into(),
            ),
            (
                "outgoing_creates",
                settings.outgoing_creates.as_text().into(),
            ),
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
            (
                "read_state_follows_server",
                settings.read_state_follows_server.into(),
            ),
            (
                "save_since",
                settings.save_since.map(|at| at.micros()).into(),
            ),
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

/// Gives a mailbox exactly this queue, with the pointer at one of its places.
///
/// # Errors
/// What the database says.
pub fn replace_queue(
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
    update_row("mailboxes", id.0, vec![("queue_pointer", pointer.into())]).run(tx.conn)?;
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
pub fn update_spam_folder(
    tx: &mut Tx<'_>,
    id: MailboxId,
    folder: Option<FolderId>,
) -> Result<(), StoreError> {
    update_row(
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
pub fn update_folder(
    tx: &mut Tx<'_>,
    id: FolderId,
    role: Option<FolderRole>,
    is_synced: bool,
) -> Result<(), StoreError> {
    update_row(
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
pub fn replace_holders(
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
pub fn update_connector(tx: &mut Tx<'_>, id: MailboxId, to: UserId) -> Result<(), StoreError> {
    update_row("mailboxes", id.0, vec![("connector_id", to.0.into())]).run(tx.conn)?;
    raise_version(tx, id)
}

/// Whether another connected mailbox has this one's address.
///
/// # Errors
/// What the database says.
pub fn address_is_connected_elsewhere(tx: &mut Tx<'_>, id: MailboxId) -> Result<bool, StoreError> {
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
pub fn update_secret(
    tx: &mut Tx<'_>,
    id: MailboxId,
    kind: SecretKind,
    sealed: &str,
) -> Result<(), StoreError> {
    update_row(
        "mailboxes",
        id.0,
        vec![
            ("secret_kind", kind.as_text().into()),
            ("secret_sealed", sealed.into()),
            ("disconnected_at", None::<i64>.into()),
            ("erased_at", None::<i64>.into()),
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
    update_row(
        "mailboxes",
        id.0,
        vec![
            ("secret_kind", None::<String>.into()),
            ("secret_sealed", None::<String>.into()),
            ("disconnected_at", tx.now.micros().into()),
            ("erased_at", None::<i64>.into()),
        ],
    )
    .run(tx.conn)?;
    super::grants::delete(tx, id)?;
    raise_version(tx, id)?;
    put_sync_state(tx, id, SyncStage::Stopped, Some(None))
}

/// Writes the server that a mailbox sends by.
///
/// # Errors
/// What the database says.
pub fn update_smtp(
    tx: &mut Tx<'_>,
    id: MailboxId,
    smtp: Option<&MailServer>,
) -> Result<(), StoreError> {
    update_row(
        "mailboxes",
        id.0,
        vec![
            ("smtp_host", smtp.map(|server| server.host.clone()).into()),
            (
                "smtp_port",
                smtp.map(|server| i64::from(server.port)).into(),
            ),
            (
                "smtp_security",
                smtp.map(|server| server.security.as_text().to_owned())
                    .into(),
            ),
        ],
    )
    .run(tx.conn)?;
    raise_version(tx, id)
}

/// A mailbox to connect, with the settings that are in force from the start.
#[derive(Debug, Clone)]
pub struct NewMailbox {
    pub address: String,
    pub address_key: String,
    pub connector_id: UserId,
    pub imap: MailServer,
    pub smtp: Option<MailServer>,
    pub login: String,
    pub history_since: Option<Time>,
    pub settings: MailboxSettings,
}

/// Keeps a mailbox, without its secret: that is sealed for the row's id.
///
/// # Errors
/// `Conflict` where the address is connected already.
pub fn insert(tx: &mut Tx<'_>, new: &NewMailbox) -> Result<MailboxId, StoreError> {
    let id = tx.id()?;
    let settings = &new.settings;
    let smtp = new.smtp.as_ref();
    let row: Vec<Value> = vec![
        id.into(),
        new.address.clone().into(),
        new.address_key.clone().into(),
        new.connector_id.0.into(),
        new.imap.host.clone().into(),
        i64::from(new.imap.port).into(),
        new.imap.security.as_text().into(),
        smtp.map(|server| server.host.clone()).into(),
        smtp.map(|server| i64::from(server.port)).into(),
        smtp.map(|server| server.security.as_text().to_owned())
            .into(),
        new.login.clone().into(),
        new.history_since.map(Time::micros).into(),
        tx.now.micros().into(),
        settings.crm_integration.into(),
        settings.incoming_creates.as_text().into(),
        settings.outgoing_creates.as_text().into(),
        settings.existing_client_routing.as_text().into(),
        settings.replies_follow_thread.into(),
        settings.source.clone().into(),
        settings.vcard_contacts.into(),
        settings.read_state_follows_server.into(),
        settings.save_since.map(Time::micros).into(),
        0_i64.into(),
        settings.version.into(),
        tx.now.micros().into(),
        1_i64.into(),
    ];
    insert_all(
        tx.conn,
        "mailboxes (id, address, address_key, connector_id, imap_host, imap_port, imap_security, smtp_host, smtp_port, \
         smtp_security, login, history_since, connected_at, crm_integration, incoming_creates, outgoing_creates, \
         existing_client_routing, replies_follow_thread, source, vcard_contacts, read_state_follows_server, save_since, queue_pointer, \
         settings_version, created_at, version)",
        "",
        vec![row],
    )?;
    let queue = (0_i64..)
        .zip(&settings.queue)
        .map(|(position, user)| vec![id.into(), position.into(), user.0.into()])
        .collect();
    insert_all(
        tx.conn,
        "mailbox_queue (mailbox_id, position, user_id)",
        "",
        queue,
    )?;
    let always = settings
        .always_new_lead_for
        .iter()
        .map(|pattern| vec![id.into(), pattern.clone().into()])
        .collect();
    insert_all(
        tx.conn,
        "mailbox_always_new_lead (mailbox_id, pattern)",
        "",
        always,
    )?;
    Ok(MailboxId(id))
}

/// The folder with this path, made if it is not there.
///
/// # Errors
/// What the database says.
pub fn ensure_folder(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    path: &str,
    role: Option<FolderRole>,
) -> Result<FolderId, StoreError> {
    let known: Option<i64> = sql("SELECT id FROM folders WHERE mailbox_id = ")
        .bind(mailbox.0)
        .push(" AND path = ")
        .bind(path)
        .one(tx.conn)?;
    if let Some(id) = known {
        return Ok(FolderId(id));
    }
    let folder = ListedFolder {
        path: path.to_owned(),
        role,
        is_synced: true,
    };
    insert_folder(tx, mailbox, &folder)
}
