//! Which folder is which, which are synced, and where spam goes (R2, R3): the connector and administrators (R25).
//! A changed setting judges nothing again.
//! Not for: what the server lists.

use super::acting::{self, bad_input};
use super::change::Change;
use super::{ActionResult, Actions, audit};
use crate::model::mailbox::{Folder, FolderRole};
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::topic::Topic;
use crate::model::{FolderId, MailboxId, Time};
use crate::rules::access;
use crate::store::{self, StoreError, Tx};
use serde_json::{Value, json};

/// What changes about the folders. Null: no folder has that part; spam goes nowhere.
#[derive(Debug, Clone, Default)]
pub struct FoldersChange {
    pub spam: Change<FolderId>,
    pub inbox: Change<FolderId>,
    pub sent: Change<FolderId>,
    pub trash: Change<FolderId>,
    pub drafts: Change<FolderId>,
    /// Folders and whether they are synced; those not named stay as they are.
    pub sync: Vec<(FolderId, bool)>,
}

/// Changes the folders of a mailbox.
///
/// # Errors
/// `NOT_FOUND` for the mailbox or a folder that is none of its, `FORBIDDEN`, `BAD_INPUT`.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    id: MailboxId,
    change: FoldersChange,
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let mailbox = acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            let before = store::mailboxes::folders(tx.conn, id)?;
            let after = changed(&before, &change)?;
            let spam_before = mailbox.spam_folder_id;
            let spam = spam_folder(&before, spam_before, change.spam)?;
            write(tx, id, (&before, &after), (spam_before, spam))?;
            let detail = json!({
                "before": told(&before, spam_before), "after": told(&after, spam),
            });
            audit::record(
                tx,
                Some(viewer.user_id),
                "updateMailboxFolders",
                &format!("mailbox {}", id.0),
                &detail,
            )?;
            Ok(id)
        })
        .await
}

fn require_own(folders: &[Folder], id: FolderId, field: &str) -> Result<(), Refusal> {
    if folders.iter().any(|folder| folder.id == id) {
        Ok(())
    } else {
        Err(Refusal::not_found(field))
    }
}

fn spam_folder(
    folders: &[Folder],
    before: Option<FolderId>,
    change: Change<FolderId>,
) -> Result<Option<FolderId>, Refusal> {
    if let Change::Set(id) = change {
        require_own(folders, id, "spamFolderId")?;
    }
    Ok(change.applied(before))
}

/// The folders with their new roles and sync marks. A role has one folder, a folder one role.
fn changed(before: &[Folder], change: &FoldersChange) -> ActionResult<Vec<Folder>> {
    let roles = [
        ("inboxId", FolderRole::Inbox, change.inbox),
        ("sentId", FolderRole::Sent, change.sent),
        ("trashId", FolderRole::Trash, change.trash),
        ("draftsId", FolderRole::Drafts, change.drafts),
    ];
    let mut after = before.to_vec();
    for (_, role, _) in roles.iter().filter(|(_, _, change)| change.is_asked()) {
        for folder in after.iter_mut().filter(|folder| folder.role == Some(*role)) {
            folder.role = None;
        }
    }
    let mut given: Vec<FolderId> = Vec::new();
    for (field, role, change) in roles {
        let Change::Set(id) = change else { continue };
        require_own(before, id, field)?;
        if given.contains(&id) {
            return Err(bad_input(field, "A folder has one of these parts only."));
        }
        given.push(id);
        for folder in after.iter_mut().filter(|folder| folder.id == id) {
            folder.role = Some(role);
        }
    }
    if change.inbox == Change::Clear {
        return Err(bad_input("inboxId", "Every mailbox has an Inbox."));
    }
    for (id, is_synced) in &change.sync {
        require_own(before, *id, "sync")?;
        for folder in after.iter_mut().filter(|folder| folder.id == *id) {
            folder.is_synced = *is_synced;
        }
    }
    Ok(after)
}

fn write(
    tx: &mut Tx<'_>,
    id: MailboxId,
    (before, after): (&[Folder], &[Folder]),
    (spam_before, spam): (Option<FolderId>, Option<FolderId>),
) -> Result<(), StoreError> {
    for (old, new) in before.iter().zip(after) {
        if (old.role, old.is_synced) != (new.role, new.is_synced) {
            store::mailbox_writes::update_folder(tx, new.id, new.role, new.is_synced)?;
        }
    }
    if spam != spam_before {
        store::mailbox_writes::update_spam_folder(tx, id, spam)?;
    }
    store::mailbox_writes::raise_version(tx, id)?;
    tx.wake(Topic::Mailbox(id));
    tx.wake(Topic::Sync(id));
    Ok(())
}

/// Folders for the audit log, by their numbers: their names are the owner's words.
fn told(folders: &[Folder], spam: Option<FolderId>) -> Value {
    let roles: Vec<Value> = folders
        .iter()
        .filter_map(|folder| folder.role.map(|role| json!([folder.id, role])))
        .collect();
    let unsynced: Vec<FolderId> = folders
        .iter()
        .filter(|folder| !folder.is_synced)
        .map(|folder| folder.id)
        .collect();
    json!({ "roles": roles, "notSynced": unsynced, "spam": spam })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(id: i64, role: Option<FolderRole>) -> Folder {
        Folder {
            id: FolderId(id),
            mailbox_id: MailboxId(1),
            path: format!("f{id}"),
            role,
            is_synced: true,
            epoch: 0,
            uid_validity: None,
            discovered_next_uid: 1,
            highest_modseq: None,
            epochs_in_row: 0,
        }
    }

    fn roles(folders: &[Folder]) -> Vec<Option<FolderRole>> {
        folders.iter().map(|folder| folder.role).collect()
    }

    #[test]
    fn r2_a_role_moves_from_folder_to_folder() {
        use FolderRole::{Inbox, Sent, Trash};
        let before = [
            folder(1, Some(Inbox)),
            folder(2, Some(Sent)),
            folder(3, None),
        ];
        let change = |sent, trash| FoldersChange {
            sent,
            trash,
            ..FoldersChange::default()
        };
        let set = |id| Change::Set(FolderId(id));
        let after = changed(&before, &change(set(3), Change::Keep)).unwrap();
        assert_eq!(roles(&after), [Some(Inbox), None, Some(Sent)]);
        let after = changed(&before, &change(set(3), set(2))).unwrap();
        assert_eq!(roles(&after), [Some(Inbox), Some(Trash), Some(Sent)]);
        let after = changed(&before, &change(Change::Clear, Change::Keep)).unwrap();
        assert_eq!(roles(&after), [Some(Inbox), None, None]);
        for refused in [
            change(set(3), set(3)),
            change(set(9), Change::Keep),
            FoldersChange {
                inbox: Change::Clear,
                ..FoldersChange::default()
            },
            FoldersChange {
                sync: vec![(FolderId(9), false)],
                ..FoldersChange::default()
            },
        ] {
            assert!(changed(&before, &refused).is_err(), "{refused:?}");
        }
    }
}
