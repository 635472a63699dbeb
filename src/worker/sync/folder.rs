//! One folder: what the server lists goes into the ledger, what waits in the ledger is fetched and taken in.
//! The ledger owns completeness: a UID leaves it only with a recorded outcome.

use super::{Signals, SyncError, SyncServices, now, pipeline, write_fenced};
use crate::actions::ingest::{Arrival, ingest_now};
use crate::mail::MailError;
use crate::mail::imap::{Examined, FetchLimits, FetchedBatch, ImapSession, ListedMail};
use crate::model::mailbox::{Folder, Mailbox};
use crate::model::topic::Topic;
use crate::model::{FolderId, Time};
use crate::store::leases::Fence;
use crate::store::placements::{NewPlacement, OpenPlacement};
use crate::store::{StoreError, Tx, mailbox_writes, placements};
use bytes::BytesMut;
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Mails of one batch at most: one transaction, one object of the raw store.
const BATCH_MAILS_MAX: usize = 200;
/// Bytes of one batch at most (one mail may be larger): they are held in memory twice.
const BATCH_BYTES_MAX: i64 = 4 << 20;
/// Mails above this are fetched in slices, alone.
const WHOLE_BYTES_MAX: i64 = 8 << 20;
const SLICE_BYTES: u32 = 1 << 20;
/// Larger mails are quarantined: no server that is known accepts them.
const MAIL_BYTES_MAX: usize = 128 << 20;
/// Ledger lines looked at before fetching: enough for many batches.
const OPEN_MAX: i64 = 4000;
/// Lines taken into the ledger by one transaction.
const LISTED_PER_WRITE: usize = 5000;
/// A UID that was asked for and did not come is asked for so often; then the server is asked whether it is there.
const TRIES_MAX: i64 = 3;
const TRY_AGAIN_SECONDS: i64 = 2;

/// How large batches may be at present. A batch that breaks the stream is halved until the one UID is found.
pub(super) struct Batches {
    mails_max: usize,
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            mails_max: BATCH_MAILS_MAX,
        }
    }
}

/// What looking at a folder needs.
pub(super) struct Look<'a> {
    pub services: &'a SyncServices,
    pub mailbox: &'a Mailbox,
    pub fence: &'a Fence,
    pub signals: &'a Signals,
}

impl Look<'_> {
    /// Writes under the mailbox's lease.
    fn write<T>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        write_fenced(&self.services.store, self.fence, f)
    }
}

/// Opens the folder, takes what is new into the ledger, and fetches what waits there.
pub(super) fn sync(
    look: &Look<'_>,
    session: &mut ImapSession,
    (folder, raw_path): (&Folder, &str),
    batches: &mut Batches,
) -> Result<(), SyncError> {
    let examined = session.examine(raw_path)?;
    let folder = present_epoch(look, folder, &examined)?;
    let next = i64::from(examined.uid_next.unwrap_or(u32::MAX));
    if examined.exists > 0 && next > folder.discovered_next_uid {
        list(look, session, &folder)?;
    }
    fetch_open(look, session, &folder, batches)
}

/// A folder whose UIDs began anew starts a new epoch; what is known is recognised by its content when it comes again.
fn present_epoch(
    look: &Look<'_>,
    folder: &Folder,
    examined: &Examined,
) -> Result<Folder, SyncError> {
    let validity = examined.uid_validity.map(i64::from);
    let is_rewound = examined
        .uid_next
        .is_some_and(|next| i64::from(next) < folder.discovered_next_uid);
    if folder.uid_validity == validity && validity.is_some() && !is_rewound {
        return Ok(folder.clone());
    }
    let is_first = folder.uid_validity.is_none() && folder.discovered_next_uid == 1;
    let epoch = if is_first {
        folder.epoch
    } else {
        folder.epoch + 1
    };
    if !is_first && validity.is_none() && !is_rewound {
        // A server without UIDVALIDITY: its UIDs are all there is to go by.
        return Ok(folder.clone());
    }
    let id = folder.id;
    look.write(|tx| mailbox_writes::update_folder_epoch(tx, id, epoch, validity))?;
    Ok(Folder {
        epoch,
        uid_validity: validity,
        discovered_next_uid: 1,
        ..folder.clone()
    })
}

/// Takes the UIDs that the ledger does not know yet into it; the cursor moves in the same transaction.
fn list(look: &Look<'_>, session: &mut ImapSession, folder: &Folder) -> Result<(), SyncError> {
    let from = u32::try_from(folder.discovered_next_uid).unwrap_or(u32::MAX);
    let listed = session.list_new(from)?;
    let place = (folder.id, folder.epoch);
    for chunk in listed.chunks(LISTED_PER_WRITE) {
        let Some(last) = chunk.last() else { continue };
        let next = i64::from(last.uid).saturating_add(1);
        let lines: Vec<NewPlacement> = chunk.iter().map(|mail| line(look.mailbox, mail)).collect();
        look.write(|tx| {
            placements::insert(tx, place, &lines)?;
            tx.wake(Topic::Mailbox(look.mailbox.id));
            mailbox_writes::update_folder_discovered(tx, folder.id, next)
        })?;
    }
    Ok(())
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

/// Fetches what waits in the ledger, oldest first, until nothing is left whose time has come.
fn fetch_open(
    look: &Look<'_>,
    session: &mut ImapSession,
    folder: &Folder,
    batches: &mut Batches,
) -> Result<(), SyncError> {
    while !look.signals.is_stopped() {
        let open = look.services.store.read_now(|conn| {
            placements::list_open(conn, (folder.id, folder.epoch), now(), OPEN_MAX)
        })?;
        if open.is_empty() {
            return Ok(());
        }
        let (large, small): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|line| line.size_bytes > WHOLE_BYTES_MAX);
        fetch_whole(look, session, folder.id, (&small, batches))?;
        for line in large {
            if look.signals.is_stopped() {
                return Ok(());
            }
            fetch_sliced(look, session, folder.id, line)?;
        }
    }
    Ok(())
}

/// Cuts the waiting lines into batches by count and bytes.
fn cut(lines: &[OpenPlacement], mails_max: usize) -> Vec<Vec<u32>> {
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut bytes = 0_i64;
    for line in lines {
        let Ok(uid) = u32::try_from(line.uid) else {
            continue;
        };
        bytes = bytes.saturating_add(line.size_bytes);
        match batches.last_mut() {
            Some(batch) if batch.len() < mails_max && bytes <= BATCH_BYTES_MAX => batch.push(uid),
            _ => {
                batches.push(vec![uid]);
                bytes = line.size_bytes;
            }
        }
    }
    batches
}

fn fetch_whole(
    look: &Look<'_>,
    session: &mut ImapSession,
    folder: FolderId,
    (lines, batches): (&[OpenPlacement], &mut Batches),
) -> Result<(), SyncError> {
    let by_uid: HashMap<u32, OpenPlacement> = lines
        .iter()
        .filter_map(|line| Some((u32::try_from(line.uid).ok()?, *line)))
        .collect();
    let cut = cut(lines, batches.mails_max);
    let mut absent = Vec::new();
    let outcome = if cut.len() <= 1 {
        // A thread for one batch would cost more than it gains.
        let mut failed: Option<StoreError> = None;
        let outcome = fetch_each(look, session, cut, &mut absent, &mut |batch| {
            let arrivals = arrivals(folder, &by_uid, batch);
            match take_in(look, arrivals) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        outcome
    } else {
        pipeline::run(look, |pipeline| {
            fetch_each(look, session, cut, &mut absent, &mut |batch| {
                pipeline.take(arrivals(folder, &by_uid, batch))
            })
        })?
    };
    match outcome {
        Ok(()) => batches.mails_max = BATCH_MAILS_MAX,
        Err(error) => {
            narrow(look, &error, (lines, batches))?;
            return Err(error.into());
        }
    }
    for uid in absent {
        if let Some(line) = by_uid.get(&uid) {
            tried(look, session, *line)?;
        }
    }
    Ok(())
}

/// Fetches batches, gives each on, and notes the UIDs that did not come.
fn fetch_each(
    look: &Look<'_>,
    session: &mut ImapSession,
    cut: Vec<Vec<u32>>,
    absent: &mut Vec<u32>,
    on_batch: &mut dyn FnMut(FetchedBatch) -> ControlFlow<()>,
) -> Result<(), MailError> {
    let limits = FetchLimits::default();
    session.fetch_batches(&mut cut.into_iter(), limits, &mut |batch: FetchedBatch| {
        absent.extend(missing(&batch));
        on_batch(batch)?;
        if look.signals.is_stopped() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })
}

fn missing(batch: &FetchedBatch) -> Vec<u32> {
    let came: std::collections::HashSet<u32> = batch.mails.iter().map(|mail| mail.uid).collect();
    batch
        .asked
        .iter()
        .copied()
        .filter(|uid| !came.contains(uid))
        .collect()
}

/// A fetch broke the stream: the next one is smaller, and where it was one mail alone, that mail is quarantined.
fn narrow(
    look: &Look<'_>,
    error: &MailError,
    (lines, batches): (&[OpenPlacement], &mut Batches),
) -> Result<(), SyncError> {
    let culprit = match (error, error.uid()) {
        (MailError::TooBig { .. }, Some(uid)) => {
            lines.iter().find(|line| line.uid == i64::from(uid))
        }
        (MailError::TooBig { .. } | MailError::Protocol { .. }, _) if batches.mails_max <= 1 => {
            lines.first()
        }
        _ => None,
    };
    if let Some(line) = culprit {
        let (id, reason) = (line.id, error.to_string());
        look.write(|tx| {
            tx.wake(Topic::Mailbox(look.mailbox.id));
            placements::update_failed(tx, id, &reason, None)
        })?;
        batches.mails_max = BATCH_MAILS_MAX;
    } else if matches!(
        error,
        MailError::TooBig { .. } | MailError::Protocol { .. } | MailError::ConnectionLost { .. }
    ) {
        batches.mails_max = (batches.mails_max / 2).max(1);
    }
    Ok(())
}

/// What a batch brings, in the order of its UIDs: so routing sees it.
fn arrivals(
    folder: FolderId,
    by_uid: &HashMap<u32, OpenPlacement>,
    batch: FetchedBatch,
) -> Vec<Arrival> {
    let mut mails = batch.mails;
    mails.sort_by_key(|mail| mail.uid);
    mails
        .into_iter()
        .filter_map(|mail| {
            let line = by_uid.get(&mail.uid)?;
            Some(arrival(
                folder,
                line,
                mail.internal_date,
                mail.is_seen,
                mail.raw,
            ))
        })
        .collect()
}

fn take_in(look: &Look<'_>, arrivals: Vec<Arrival>) -> Result<(), StoreError> {
    if arrivals.is_empty() {
        return Ok(());
    }
    let services = look.services;
    ingest_now(
        &services.store,
        &services.raw,
        (look.mailbox.id, Some(look.fence)),
        arrivals,
        now(),
    )?;
    Ok(())
}

fn arrival(
    folder: FolderId,
    line: &OpenPlacement,
    internal_date: Option<Time>,
    is_seen: bool,
    raw: bytes::Bytes,
) -> Arrival {
    Arrival {
        placement: Some(line.id),
        folder,
        internal_date: internal_date.or(line.internal_date).unwrap_or_else(now),
        is_seen,
        is_backfill: line.is_backfill,
        raw,
    }
}

/// A large mail, slice by slice.
fn fetch_sliced(
    look: &Look<'_>,
    session: &mut ImapSession,
    folder: FolderId,
    line: OpenPlacement,
) -> Result<(), SyncError> {
    let Ok(uid) = u32::try_from(line.uid) else {
        return Ok(());
    };
    let mut raw = BytesMut::new();
    loop {
        let offset = u64::try_from(raw.len()).unwrap_or(u64::MAX);
        let Some(slice) = session.fetch_slice(uid, offset, SLICE_BYTES)? else {
            return tried(look, session, line);
        };
        raw.extend_from_slice(&slice);
        let is_last = u32::try_from(slice.len()).is_ok_and(|length| length < SLICE_BYTES);
        if is_last {
            break;
        }
        if raw.len() > MAIL_BYTES_MAX {
            let reason = format!("the mail is larger than {} MB", MAIL_BYTES_MAX >> 20);
            look.write(|tx| placements::update_failed(tx, line.id, &reason, None))?;
            return Ok(());
        }
    }
    let arrival = arrival(folder, &line, None, line.is_seen, raw.freeze());
    take_in(look, vec![arrival])?;
    Ok(())
}

/// A UID that was asked for and did not come: tried again, then looked for, then settled as gone or quarantined.
fn tried(look: &Look<'_>, session: &mut ImapSession, line: OpenPlacement) -> Result<(), SyncError> {
    let tries = line.tries.saturating_add(1);
    if tries < TRIES_MAX {
        let again = now().plus_seconds(TRY_AGAIN_SECONDS << tries.min(8));
        look.write(|tx| placements::update_tried(tx, line.id, again))?;
        return Ok(());
    }
    let uid = u32::try_from(line.uid).unwrap_or(0);
    let is_there = session.search_uid(uid)?;
    look.write(|tx| {
        tx.wake(Topic::Mailbox(look.mailbox.id));
        if is_there {
            placements::update_failed(
                tx,
                line.id,
                "the server lists the mail but does not give it",
                None,
            )
        } else {
            placements::update_gone(tx, line.id)
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PlacementId;

    fn line(uid: i64, size_bytes: i64) -> OpenPlacement {
        OpenPlacement {
            id: PlacementId(uid),
            uid,
            size_bytes,
            internal_date: None,
            is_seen: false,
            is_backfill: false,
            tries: 0,
        }
    }

    #[test]
    fn batches_are_bounded_by_count_and_by_bytes() {
        let many: Vec<_> = (1..=5).map(|uid| line(uid, 10)).collect();
        assert_eq!(cut(&many, 2), [vec![1, 2], vec![3, 4], vec![5]]);
        let big = [line(1, BATCH_BYTES_MAX), line(2, 1), line(3, 1)];
        assert_eq!(cut(&big, 200), [vec![1], vec![2, 3]]);
        assert_eq!(cut(&[], 200), Vec::<Vec<u32>>::new());
    }
}
