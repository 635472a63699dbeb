//! What changes about mailboxes while mail comes in. Reading is in `mailboxes`.

use super::sql::{Value, sql};
use super::{AnyConn, StoreError, Tx, dialect};
use crate::model::mailbox::{FolderRole, MailboxWarning, SyncError, SyncStage};
use crate::model::topic::Topic;
use crate::model::{FolderId, MailboxId};

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
    sql("UPDATE folders SET discovered_next_uid = 1, highest_modseq = NULL, epoch = ")
        .bind(epoch)
        .push(", uid_validity = ")
        .bind(uid_validity)
        .push(" WHERE id = ")
        .bind(folder.0)
        .run(tx.conn)?;
    Ok(())
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
