//! A folder compared with its server, UID by UID (R9): what is missing on either side is told, and put right.
//! Not for: when that happens (that is `round`).

use super::folder::insert_listed;
use super::{Look, SyncError, changes};
use crate::mail::imap::{ImapSession, ListedMail};
use crate::model::PlacementId;
use crate::model::mailbox::{Folder, FolderDifference};
use crate::model::topic::Topic;
use crate::store::ledger;
use std::collections::{HashMap, HashSet};

/// UIDs of one folder and side that are told one by one.
const TOLD_MAX: usize = 100;

/// What one folder's comparison found.
pub(super) struct Compared {
    pub missing_here: usize,
    pub missing_there: usize,
    pub told: FolderDifference,
}

/// Compares the open folder, whose new mails were just listed, with the ledger, and puts right what differs. `exists`: how
/// many mails the server says it holds.
pub(super) fn compare(
    look: &Look,
    session: &mut ImapSession,
    folder: &Folder,
    exists: u32,
) -> Result<Compared, SyncError> {
    let place = (folder.id, folder.epoch);
    let there = session.search_all()?;
    let here = look
        .services
        .store
        .read_now(|conn| ledger::list_all(conn, place))?;
    let by_uid: HashMap<i64, (PlacementId, bool)> = here
        .iter()
        .map(|(id, uid, is_live)| (*uid, (*id, *is_live)))
        .collect();
    // What is above was delivered after the listing: the next one takes it in.
    let listed = there
        .iter()
        .copied()
        .filter(|uid| i64::from(*uid) < folder.discovered_next_uid);
    let (mut unknown, mut returned) = (Vec::new(), Vec::new());
    for uid in listed {
        match by_uid.get(&i64::from(uid)) {
            None => unknown.push(uid),
            Some((id, false)) => returned.push((uid, *id)),
            Some((_id, true)) => {}
        }
    }
    let is_whole = changes::is_whole(&there, exists);
    let gone: Vec<(i64, PlacementId)> = here
        .iter()
        .filter(|(_id, uid, is_live)| {
            is_whole
                && *is_live
                && u32::try_from(*uid).is_ok_and(|uid| there.binary_search(&uid).is_err())
        })
        .map(|(id, uid, _is_live)| (*uid, *id))
        .collect();
    repair(look, session, folder, (&unknown, &returned, &gone))?;
    let missing_here = unknown
        .iter()
        .copied()
        .chain(returned.iter().map(|(uid, _id)| *uid));
    Ok(Compared {
        missing_here: unknown.len() + returned.len(),
        missing_there: gone.len(),
        told: FolderDifference {
            folder_id: folder.id,
            path: folder.path.clone(),
            missing_here: missing_here.take(TOLD_MAX).map(i64::from).collect(),
            missing_there: gone.iter().take(TOLD_MAX).map(|(uid, _id)| *uid).collect(),
        },
    })
}

type Found<'a> = (
    &'a [u32],
    &'a [(u32, PlacementId)],
    &'a [(i64, PlacementId)],
);

fn repair(
    look: &Look,
    session: &mut ImapSession,
    folder: &Folder,
    (unknown, returned, gone): Found<'_>,
) -> Result<(), SyncError> {
    if unknown.is_empty() && returned.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let mut listed = session.list_some(unknown)?;
    // What the server finds and doesn't list is asked for all the same: it ends in quarantine where it does not come.
    let known: HashSet<u32> = listed.iter().map(|mail| mail.uid).collect();
    let unlisted = unknown.iter().filter(|uid| !known.contains(uid));
    listed.extend(unlisted.map(|uid| ListedMail {
        uid: *uid,
        size_bytes: 0,
        is_seen: false,
        internal_date: None,
    }));
    let returned: Vec<PlacementId> = returned.iter().map(|(_uid, id)| *id).collect();
    let gone: Vec<PlacementId> = gone.iter().map(|(_uid, id)| *id).collect();
    insert_listed(look, folder, &listed, None)?;
    look.write(|tx| {
        tx.wake(Topic::Mailbox(look.mailbox.id));
        ledger::update_returned(tx, &returned)?;
        ledger::update_vanished(tx, &gone)
    })?;
    Ok(())
}
