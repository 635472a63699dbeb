//! What became of mails that are in the ledger: flags and expunges, by a modseq where the server has one, else by looking
//! at all UIDs now and then. A modseq is kept only together with what was read at it, and never says that mail is new.
//! Not for: what a gone mail means to the CRM: nothing.

use super::{Look, SyncError};
use crate::mail::MailError;
use crate::mail::imap::{Changes, Examined, Follows, ImapSession};
use crate::model::PlacementId;
use crate::model::mailbox::Folder;
use crate::store::ledger::{self, LivePlacement, Place};
use crate::store::mailbox_writes;
use std::collections::HashSet;

/// Above so many UIDs that are said to be gone, the whole folder's ledger is loaded instead of asked for each.
const ASKED_ONE_BY_ONE: usize = 2000;

/// What is known of a folder beside what its opening told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// All its UIDs were listed in this look, with their flags.
    pub is_fresh: bool,
    /// It is time to compare all UIDs, where the server tells of no changes by itself.
    pub is_due: bool,
}

/// Takes over what changed in the open folder; whether all its UIDs are known to be as they are in the ledger.
pub(super) fn follow(
    look: &Look,
    session: &mut ImapSession,
    folder: &Folder,
    examined: &Examined,
    known: Known,
) -> Result<bool, SyncError> {
    // A server without modseqs says none, or 0.
    let now = examined
        .highest_modseq
        .and_then(|modseq| i64::try_from(modseq).ok())
        .filter(|modseq| *modseq > 0 && session.follows() != Follows::Nothing);
    let Some(now) = now else {
        return compare_where_due(look, session, folder, examined, known);
    };
    match folder.highest_modseq {
        Some(then) if then == now => {}
        Some(then) if then < now => {
            let Some(changes) = changed_since(session, then, examined)? else {
                compare(look, session, folder, examined, Some(now))?;
                return Ok(true);
            };
            let gone = confirmed_gone(look, session, folder, &changes)?;
            let seen = changes.seen.into_iter();
            let seen = seen
                .map(|(uid, is_seen)| (i64::from(uid), is_seen))
                .collect();
            write(look, folder, (seen, &gone), Some(now))?;
        }
        // The server went back to an earlier state, or nothing is known yet.
        _ if !known.is_fresh => {
            compare(look, session, folder, examined, Some(now))?;
            return Ok(true);
        }
        _ => write(look, folder, (Vec::new(), &[]), Some(now))?,
    }
    // CONDSTORE alone does not tell what is gone.
    match session.follows() {
        Follows::Condstore => compare_where_due(look, session, folder, examined, known),
        Follows::Qresync | Follows::Nothing => Ok(known.is_fresh),
    }
}

/// Compares all UIDs, where it is time or their number is not what it should be; whether they are as in the ledger then.
fn compare_where_due(
    look: &Look,
    session: &mut ImapSession,
    folder: &Folder,
    examined: &Examined,
    known: Known,
) -> Result<bool, SyncError> {
    if known.is_fresh {
        return Ok(true);
    }
    let place = (folder.id, folder.epoch);
    let store = &look.services.store;
    let is_due = known.is_due
        || store.read_now(|conn| ledger::count_live(conn, place))? != i64::from(examined.exists);
    if is_due {
        compare(look, session, folder, examined, None)?;
    }
    Ok(is_due)
}

/// `None`: there is more than one answer may hold, or the server can't say.
fn changed_since(
    session: &mut ImapSession,
    then: i64,
    examined: &Examined,
) -> Result<Option<Changes>, MailError> {
    let last_uid = examined
        .uid_next
        .map_or(u32::MAX, |next| next.saturating_sub(1));
    match session.changed_since(u64::try_from(then).unwrap_or(0), last_uid) {
        Ok(changes) if changes.is_cut => Ok(None),
        Ok(changes) => Ok(Some(changes)),
        Err(error @ MailError::Refused { .. }) if error.keeps_session() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The mails that the server says are gone, and that a search doesn't find either: some servers say so of mails that are
/// there.
fn confirmed_gone(
    look: &Look,
    session: &mut ImapSession,
    folder: &Folder,
    changes: &Changes,
) -> Result<Vec<PlacementId>, SyncError> {
    if changes.vanished.is_empty() {
        return Ok(Vec::new());
    }
    let told = named(look, (folder.id, folder.epoch), changes)?;
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let uids: Vec<u32> = told
        .iter()
        .filter_map(|line| u32::try_from(line.uid).ok())
        .collect();
    let there: HashSet<i64> = session
        .search_among(&uids)?
        .into_iter()
        .map(i64::from)
        .collect();
    Ok(told
        .into_iter()
        .filter(|line| !there.contains(&line.uid))
        .map(|line| line.id)
        .collect())
}

/// The lines of the ledger that are said to be gone, rising by UID.
fn named(look: &Look, place: Place, changes: &Changes) -> Result<Vec<LivePlacement>, SyncError> {
    let store = &look.services.store;
    let count = changes
        .vanished
        .iter()
        .map(|range| u64::from(range.end() - range.start()) + 1)
        .fold(0_u64, u64::saturating_add);
    if count <= u64::try_from(ASKED_ONE_BY_ONE).unwrap_or(u64::MAX) {
        let uids: Vec<i64> = changes
            .vanished
            .iter()
            .flat_map(|range| range.clone().map(i64::from))
            .collect();
        return Ok(store.read_now(|conn| ledger::list_live_among(conn, place, &uids))?);
    }
    let mut ranges: Vec<(i64, i64)> = changes
        .vanished
        .iter()
        .map(|range| (i64::from(*range.start()), i64::from(*range.end())))
        .collect();
    ranges.sort_unstable();
    // Ranges that overlap become one, so that one search decides.
    let mut apart: Vec<(i64, i64)> = Vec::new();
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    let is_named = |uid: i64| {
        let behind = apart.partition_point(|(first, _last)| *first <= uid);
        let range = behind.checked_sub(1).and_then(|at| apart.get(at));
        range.is_some_and(|(_first, last)| uid <= *last)
    };
    let mut live = store.read_now(|conn| ledger::list_live(conn, place))?;
    live.retain(|line| is_named(line.uid));
    Ok(live)
}

/// Compares all UIDs and flags of the open folder with the ledger.
fn compare(
    look: &Look,
    session: &mut ImapSession,
    folder: &Folder,
    examined: &Examined,
    modseq: Option<i64>,
) -> Result<(), SyncError> {
    let there = session.search_all()?;
    let seen: HashSet<u32> = session.search_seen()?.into_iter().collect();
    let place = (folder.id, folder.epoch);
    let live = look
        .services
        .store
        .read_now(|conn| ledger::list_live(conn, place))?;
    let is_there = |line: &LivePlacement| {
        u32::try_from(line.uid).is_ok_and(|uid| there.binary_search(&uid).is_ok())
    };
    let is_seen =
        |line: &LivePlacement| u32::try_from(line.uid).is_ok_and(|uid| seen.contains(&uid));
    let changed = live
        .iter()
        .filter(|line| is_there(line) && is_seen(line) != line.is_seen)
        .map(|line| (line.uid, !line.is_seen))
        .collect();
    let is_whole = is_whole(&there, examined.exists);
    let gone: Vec<PlacementId> = live
        .iter()
        .filter(|line| is_whole && !is_there(line))
        .map(|line| line.id)
        .collect();
    write(look, folder, (changed, &gone), modseq)
}

/// Whether a search for everything found everything: one that finds less than the folder is said to hold has not, and
/// nothing is taken to be gone then.
pub(super) fn is_whole(there: &[u32], exists: u32) -> bool {
    there.len() >= usize::try_from(exists).unwrap_or(usize::MAX)
}

/// Writes what changed, and with it the modseq at which it was read.
fn write(
    look: &Look,
    folder: &Folder,
    (seen, gone): (Vec<(i64, bool)>, &[PlacementId]),
    modseq: Option<i64>,
) -> Result<(), SyncError> {
    if seen.is_empty() && gone.is_empty() && modseq.is_none() {
        return Ok(());
    }
    let place = (folder.id, folder.epoch);
    look.write(|tx| {
        ledger::update_seen(tx, place, seen)?;
        ledger::update_vanished(tx, gone)?;
        match modseq {
            Some(modseq) => mailbox_writes::update_folder_modseq(tx, folder.id, modseq),
            None => Ok(()),
        }
    })?;
    Ok(())
}
