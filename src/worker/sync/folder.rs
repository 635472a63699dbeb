//! One folder: what the server lists goes into the ledger.
//! The ledger owns completeness: a UID leaves it only with a recorded outcome.
//! Not for: fetching what waits there (that is `fetch`).

pub(super) use super::Look;
use super::changes::{self, Known};
use super::connection::Connection;
use super::{SyncError, epoch};
use crate::mail::imap::{Examined, ListedMail};
use crate::model::mailbox::{Folder, Mailbox};
use crate::model::topic::Topic;
use crate::store::mailbox_writes;
use crate::store::placements::{self, NewPlacement};

/// Lines taken into the ledger by one transaction.
const LISTED_PER_WRITE: usize = 5000;

/// What a look at a folder found.
pub(super) struct Seen {
    /// As it is in the ledger now.
    pub folder: Folder,
    pub examined: Examined,
    /// Its UIDs began anew.
    pub is_new_epoch: bool,
    /// All its UIDs were compared.
    pub is_compared: bool,
}

/// Opens the folder, takes what is new into the ledger, and takes over what changed. `is_due`: it is time to compare all
/// UIDs where the server tells of no changes by itself. `None`: the server did not list it.
pub(super) fn look_at(
    look: &Look,
    connection: &mut Connection,
    known: &Folder,
    is_due: bool,
) -> Result<Option<Seen>, SyncError> {
    let Some(examined) = connection.examine(known)? else {
        return Ok(None);
    };
    let folder = epoch::present(look, known, &examined)?;
    connection.known_as(&folder);
    let before = folder.discovered_next_uid;
    let next = i64::from(examined.uid_next.unwrap_or(u32::MAX));
    let (mut discovered, mut is_whole) = (before, true);
    if examined.exists > 0 && next > before {
        let from = u32::try_from(before).unwrap_or(u32::MAX);
        let listed = connection.session.list_new(from)?;
        look.signals.progressed();
        discovered = insert_listed(look, &folder, &listed, Some(before))?;
        is_whole = listed.len() < crate::mail::imap::LISTED_MAX;
    }
    epoch::bind_known(look, &mut connection.session, &folder)?;
    let known_now = Known {
        is_fresh: before == 1 && is_whole,
        is_due,
    };
    let is_compared =
        is_whole && changes::follow(look, &mut connection.session, &folder, &examined, known_now)?;
    Ok(Some(Seen {
        is_new_epoch: folder.epoch != known.epoch,
        is_compared,
        folder: Folder {
            discovered_next_uid: discovered,
            ..folder
        },
        examined,
    }))
}

/// Takes listed UIDs that the ledger does not know yet into it. With `next_uid`, the cursor moves behind them in the same
/// transactions; where it is then.
pub(super) fn insert_listed(
    look: &Look,
    folder: &Folder,
    listed: &[ListedMail],
    next_uid: Option<i64>,
) -> Result<i64, SyncError> {
    let place = (folder.id, folder.epoch);
    let mut discovered = next_uid.unwrap_or(folder.discovered_next_uid);
    for chunk in listed.chunks(LISTED_PER_WRITE) {
        let Some(last) = chunk.last() else { continue };
        let lines: Vec<NewPlacement> = chunk.iter().map(|mail| line(&look.mailbox, mail)).collect();
        if next_uid.is_some() {
            discovered = i64::from(last.uid).saturating_add(1);
        }
        look.write(|tx| {
            placements::insert(tx, place, &lines)?;
            tx.wake(Topic::Mailbox(look.mailbox.id));
            match next_uid {
                Some(_) => mailbox_writes::update_folder_discovered(tx, folder.id, discovered),
                None => Ok(()),
            }
        })?;
    }
    Ok(discovered)
}

/// Whether the backfill should sync it (R4). What arrives after connecting always is.
fn is_within_history(mailbox: &Mailbox, mail: &ListedMail) -> bool {
    match (mailbox.history_since, mail.internal_date) {
        (Some(since), Some(at)) => at >= since || at >= mailbox.connected_at,
        _ => true,
    }
}

fn line(mailbox: &Mailbox, mail: &ListedMail) -> NewPlacement {
    NewPlacement {
        uid: i64::from(mail.uid),
        size_bytes: i64::try_from(mail.size_bytes).unwrap_or(i64::MAX),
        internal_date: mail.internal_date,
        is_seen: mail.is_seen,
        is_backfill: mail
            .internal_date
            .is_none_or(|at| at < mailbox.connected_at),
        is_old: !is_within_history(mailbox, mail),
    }
}
