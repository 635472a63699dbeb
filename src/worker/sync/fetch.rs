//! What waits in the ledger is fetched and taken in, in the order in which it is given: whatever folders it lies in.
//! Not for: which mails come next (that is `round`), or what is in a folder (that is `folder`).

use super::connection::Connection;
use super::{Look, SyncError, now, pipeline};
use crate::actions::ingest::{Arrival, ingest_now};
use crate::mail::imap::{FetchLimits, Fetched, FetchedBatch};
use crate::mail::{MailError, MailStep};
use crate::model::topic::Topic;
use crate::model::{FolderId, Time};
use crate::store::placements::OpenPlacement;
use crate::store::{StoreError, placements};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

/// Mails of one batch at most: one transaction, one object of the raw store.
const BATCH_MAILS_MAX: usize = 200;
/// Bytes of one batch at most (one mail may be larger): they are held in memory twice.
const BATCH_BYTES_MAX: i64 = 4 << 20;
/// Mails above this are fetched in slices, alone.
const WHOLE_BYTES_MAX: i64 = 8 << 20;
const SLICE_BYTES: u32 = 1 << 20;
/// Larger mails are quarantined: no server that is known accepts them.
const MAIL_BYTES_MAX: usize = 128 << 20;
/// A UID that was asked for and did not come is asked for so often; then the server is asked whether it is there.
const TRIES_MAX: i64 = 3;
/// A mail at which the connection broke is asked for so often, over some minutes: networks break too.
const CUTS_MAX: i64 = 6;

/// How large batches may be at present. A batch that breaks the stream is halved until the one UID is found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batches {
    mails_max: usize,
    /// The last failure narrowed down where the fault is.
    has_narrowed: bool,
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            mails_max: BATCH_MAILS_MAX,
            has_narrowed: false,
        }
    }
}

impl Batches {
    /// Whether the last failure narrowed down which mail breaks the stream: then the next try comes at once.
    pub const fn take_narrowed(&mut self) -> bool {
        std::mem::replace(&mut self.has_narrowed, false)
    }
}

/// A fetch under way.
pub(super) struct Fetching<'a> {
    pub look: &'a Look,
    pub connection: &'a mut Connection,
    pub batches: &'a mut Batches,
    /// When something else is due. What is under way then is ended in order.
    pub until: Option<Instant>,
}

/// What became of the lines of one fetch.
#[derive(Default)]
struct Fed {
    /// So many of them, from the first, were answered.
    answered: usize,
    absent: Vec<OpenPlacement>,
    /// They were asked for with others, and the server refused them together.
    refused: Vec<OpenPlacement>,
}

type Take<'t> = &'t mut dyn FnMut(Vec<Arrival>) -> ControlFlow<()>;

impl Fetching<'_> {
    /// Fetches these lines of folders that were looked at, in their order; how many of them, from the first, were seen to.
    /// Fewer than all: the time is over, or a folder is another by now.
    pub fn fetch(&mut self, lines: &[OpenPlacement]) -> Result<usize, SyncError> {
        let mut done = 0;
        while let Some(rest) = lines.get(done..)
            && let Some(first) = rest.first()
            && !self.is_over()
        {
            let small = rest
                .iter()
                .take_while(|line| line.size_bytes <= WHOLE_BYTES_MAX)
                .count();
            let seen_to = match rest.get(..small) {
                Some(lines) if small > 0 => self.fetch_whole(lines)?,
                _ => usize::from(self.fetch_sliced(*first)?),
            };
            if seen_to == 0 {
                break;
            }
            done += seen_to;
        }
        Ok(done)
    }

    fn is_over(&self) -> bool {
        self.look.signals.is_stopped() || self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn fetch_whole(&mut self, lines: &[OpenPlacement]) -> Result<usize, SyncError> {
        let look = self.look;
        let cut = cut(lines, self.batches.mails_max);
        let mut fed = Fed::default();
        let outcome =
            if cut.len() <= 1 {
                // A thread for one batch would cost more than it gains.
                let mut failed: Option<StoreError> = None;
                let outcome = self.feed(&cut, &mut fed, &mut |arrivals| match take_in(
                    look, arrivals,
                ) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                });
                if let Some(error) = failed {
                    return Err(error.into());
                }
                outcome
            } else {
                pipeline::run(look, |pipeline| {
                    self.feed(&cut, &mut fed, &mut |arrivals| pipeline.take(arrivals))
                })?
            };
        match outcome {
            Ok(()) => self.batches.mails_max = BATCH_MAILS_MAX,
            Err(error) => {
                return Err(self.narrow(error, lines, &fed)?);
            }
        }
        for line in std::mem::take(&mut fed.refused) {
            self.fetch_alone(line)?;
        }
        for line in fed.absent {
            self.tried(line)?;
        }
        Ok(fed.answered)
    }

    /// Fetches batches in their order, and gives each on.
    fn feed(
        &mut self,
        cut: &[&[OpenPlacement]],
        fed: &mut Fed,
        take: Take<'_>,
    ) -> Result<(), MailError> {
        let mut rest = cut;
        while let Some(first) = rest.first()
            && !self.is_over()
        {
            let flow = if let Some(folder) = folder_of(first) {
                let run = rest
                    .iter()
                    .take_while(|batch| folder_of(batch) == Some(folder))
                    .count();
                let (of_folder, behind) = rest.split_at_checked(run).unwrap_or((rest, &[]));
                rest = behind;
                self.feed_folder(folder, of_folder, fed, take)?
            } else {
                rest = rest.get(1..).unwrap_or_default();
                self.feed_mixed(first, fed, take)?
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Batches of one folder: while one is given on, the next is under way.
    fn feed_folder(
        &mut self,
        folder: FolderId,
        cut: &[&[OpenPlacement]],
        fed: &mut Fed,
        take: Take<'_>,
    ) -> Result<ControlFlow<()>, MailError> {
        if !self.connection.open(folder)? {
            return Ok(ControlFlow::Break(()));
        }
        let look = self.look;
        let until = self.until;
        let is_over =
            move || look.signals.is_stopped() || until.is_some_and(|until| Instant::now() >= until);
        let mut asked = cut
            .iter()
            .take_while(|_batch| !is_over())
            .map(|batch| uids(batch));
        let mut answered = cut.iter();
        let mut flow = ControlFlow::Continue(());
        self.connection.session.fetch_batches(
            &mut asked,
            limits(self.batches.mails_max),
            &mut |batch| {
                let lines = answered.next().copied().unwrap_or_default();
                look.signals.progressed();
                flow = take(fed.note(folder, lines, batch));
                if look.signals.is_stopped() {
                    flow = ControlFlow::Break(());
                }
                flow
            },
        )?;
        Ok(flow)
    }

    /// One batch of several folders.
    fn feed_mixed(
        &mut self,
        lines: &[OpenPlacement],
        fed: &mut Fed,
        take: Take<'_>,
    ) -> Result<ControlFlow<()>, MailError> {
        let mut folders: Vec<FolderId> = lines.iter().map(|line| line.folder_id).collect();
        folders.sort_unstable_by_key(|folder| folder.0);
        folders.dedup();
        let mut came = HashMap::new();
        let (mut absent, mut refused) = (Vec::new(), Vec::new());
        for folder in folders {
            if !self.connection.open(folder)? {
                return Ok(ControlFlow::Break(()));
            }
            let here: Vec<OpenPlacement> = lines
                .iter()
                .filter(|line| line.folder_id == folder)
                .copied()
                .collect();
            let limits = limits(self.batches.mails_max);
            let batch = self.connection.session.fetch(uids(&here), limits)?;
            self.look.signals.progressed();
            let mut one = Fed::default();
            for arrival in one.note(folder, &here, batch) {
                came.insert(arrival.placement, arrival);
            }
            absent.extend(one.absent);
            refused.extend(one.refused);
        }
        fed.answered += lines.len();
        fed.absent.extend(absent);
        fed.refused.extend(refused);
        let in_order = lines
            .iter()
            .filter_map(|line| came.remove(&Some(line.id)))
            .collect();
        Ok(take(in_order))
    }

    /// A mail that was refused together with others: it may be another's fault.
    fn fetch_alone(&mut self, line: OpenPlacement) -> Result<(), SyncError> {
        if !self.connection.open(line.folder_id)? {
            return Ok(());
        }
        let batch = match self.connection.session.fetch(uids(&[line]), limits(1)) {
            Ok(batch) => batch,
            Err(error) => return Err(self.broke_at(error, line)?),
        };
        let mut fed = Fed::default();
        let arrivals = fed.note(line.folder_id, &[line], batch);
        self.look.signals.progressed();
        if arrivals.is_empty() {
            return self.tried(line);
        }
        take_in(self.look, arrivals)?;
        Ok(())
    }

    /// A fetch broke the stream: the next one is smaller, until it is known which mail does it. The error to end with.
    fn narrow(
        &mut self,
        error: MailError,
        lines: &[OpenPlacement],
        fed: &Fed,
    ) -> Result<SyncError, SyncError> {
        let unanswered = lines.get(fed.answered..).unwrap_or_default();
        let culprit = match (&error, error.uid()) {
            (MailError::TooBig { .. }, Some(uid)) => {
                unanswered.iter().find(|line| line.uid == i64::from(uid))
            }
            _ if self.batches.mails_max <= 1 => unanswered.first(),
            _ => None,
        };
        if let Some(line) = culprit {
            return self.broke_at(error, *line);
        }
        if breaks_stream(&error) {
            let fewer = (self.batches.mails_max / 2).max(1);
            self.batches.has_narrowed = fewer < self.batches.mails_max;
            self.batches.mails_max = fewer;
        }
        Ok(error.into())
    }

    /// The stream broke when this mail alone was asked for: it is quarantined. Where the connection broke it may be the
    /// network: then the mail is asked for again, later each time, and others go before it. The error to end with.
    fn broke_at(&mut self, error: MailError, line: OpenPlacement) -> Result<SyncError, SyncError> {
        if !breaks_stream(&error) {
            return Ok(error.into());
        }
        let look = self.look;
        let is_cut = is_cut(&error);
        let tries = line.tries.saturating_add(1);
        look.write(|tx| {
            if is_cut && tries < CUTS_MAX {
                return placements::update_tried(tx, line.id, look.again(tries));
            }
            tx.wake(Topic::Mailbox(look.mailbox.id));
            let reason = if is_cut {
                "the connection breaks whenever the server is asked for the mail".to_owned()
            } else {
                error.to_string()
            };
            placements::update_failed(tx, line.id, &reason, None)
        })?;
        self.batches.mails_max = BATCH_MAILS_MAX;
        self.batches.has_narrowed = !is_cut;
        Ok(error.into())
    }

    /// A large mail, slice by slice; false where its folder is another by now.
    fn fetch_sliced(&mut self, line: OpenPlacement) -> Result<bool, SyncError> {
        let look = self.look;
        let Ok(uid) = u32::try_from(line.uid) else {
            return Ok(true);
        };
        if !self.connection.open(line.folder_id)? {
            return Ok(false);
        }
        let mut raw = BytesMut::new();
        loop {
            let offset = u64::try_from(raw.len()).unwrap_or(u64::MAX);
            let session = &mut self.connection.session;
            let slice = match session.fetch_slice(uid, offset, SLICE_BYTES) {
                Ok(Some(slice)) => slice,
                Ok(None) => {
                    self.tried(line)?;
                    return Ok(true);
                }
                Err(error) => return Err(self.broke_at(error, line)?),
            };
            look.signals.progressed();
            raw.extend_from_slice(&slice);
            let is_last = u32::try_from(slice.len()).is_ok_and(|length| length < SLICE_BYTES);
            if is_last {
                break;
            }
            if raw.len() > MAIL_BYTES_MAX {
                let reason = format!("the mail is larger than {} MB", MAIL_BYTES_MAX >> 20);
                look.write(|tx| placements::update_failed(tx, line.id, &reason, None))?;
                return Ok(true);
            }
        }
        let arrival = arrival(&line, None, line.is_seen, raw.freeze());
        take_in(look, vec![arrival])?;
        Ok(true)
    }

    /// A UID that was asked for and did not come: tried again, then looked for, then settled as gone or quarantined.
    fn tried(&mut self, line: OpenPlacement) -> Result<(), SyncError> {
        let look = self.look;
        let tries = line.tries.saturating_add(1);
        if tries < TRIES_MAX {
            look.write(|tx| placements::update_tried(tx, line.id, look.again(tries)))?;
            return Ok(());
        }
        if !self.connection.open(line.folder_id)? {
            return Ok(());
        }
        let uid = u32::try_from(line.uid).unwrap_or(0);
        let is_there = self.connection.session.search_uid(uid)?;
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
}

/// Whether the connection broke, or the server fell silent. It may be the network.
const fn is_cut(error: &MailError) -> bool {
    matches!(
        error,
        MailError::ConnectionLost { .. } | MailError::TimedOut { .. }
    )
}

/// Whether the error may be the fault of the mail that was asked for; one of another step is not.
fn breaks_stream(error: &MailError) -> bool {
    let is_of_kind = matches!(error, MailError::TooBig { .. } | MailError::Protocol { .. });
    (is_of_kind || is_cut(error)) && error.step() == MailStep::Protocol
}

impl Fed {
    /// Notes what came of a batch; its arrivals, in the order of the lines.
    fn note(
        &mut self,
        folder: FolderId,
        lines: &[OpenPlacement],
        batch: FetchedBatch,
    ) -> Vec<Arrival> {
        self.answered += lines.len();
        let is_refused = batch.is_refused && lines.len() > 1;
        let mut came: HashMap<i64, Fetched> = batch
            .mails
            .into_iter()
            .map(|mail| (i64::from(mail.uid), mail))
            .collect();
        let mut arrivals = Vec::with_capacity(lines.len());
        for line in lines.iter().filter(|line| line.folder_id == folder) {
            match came.remove(&line.uid) {
                Some(mail) => {
                    let mut came = arrival(line, mail.internal_date, mail.is_seen, mail.raw);
                    came.labels = mail.labels;
                    arrivals.push(came);
                }
                None if is_refused => self.refused.push(*line),
                None => self.absent.push(*line),
            }
        }
        arrivals
    }
}

/// Of several batches under way, nobody could say which one broke the stream: a mail alone goes alone.
fn limits(mails_max: usize) -> FetchLimits {
    let usual = FetchLimits::default();
    FetchLimits {
        depth: if mails_max <= 1 { 1 } else { usual.depth },
        ..usual
    }
}

/// The folder that all lines of a batch lie in.
fn folder_of(batch: &[OpenPlacement]) -> Option<FolderId> {
    let first = batch.first()?.folder_id;
    batch
        .iter()
        .all(|line| line.folder_id == first)
        .then_some(first)
}

fn uids(lines: &[OpenPlacement]) -> Vec<u32> {
    lines
        .iter()
        .filter_map(|line| u32::try_from(line.uid).ok())
        .collect()
}

/// Cuts the waiting lines into batches by count and bytes.
fn cut(lines: &[OpenPlacement], mails_max: usize) -> Vec<&[OpenPlacement]> {
    let mut batches = Vec::new();
    let mut rest = lines;
    while !rest.is_empty() {
        let mut bytes = 0_i64;
        let fitting = rest.iter().take(mails_max).take_while(|line| {
            bytes = bytes.saturating_add(line.size_bytes);
            bytes <= BATCH_BYTES_MAX
        });
        let count = fitting.count().max(1);
        let Some((batch, behind)) = rest.split_at_checked(count) else {
            break;
        };
        batches.push(batch);
        rest = behind;
    }
    batches
}

fn take_in(look: &Look, arrivals: Vec<Arrival>) -> Result<(), StoreError> {
    if arrivals.is_empty() {
        return Ok(());
    }
    let services = &look.services;
    ingest_now(
        &services.store,
        &services.raw,
        (look.mailbox.id, Some(&look.fence)),
        arrivals,
        now(),
    )?;
    Ok(())
}

fn arrival(
    line: &OpenPlacement,
    internal_date: Option<Time>,
    is_seen: bool,
    raw: Bytes,
) -> Arrival {
    Arrival {
        placement: Some(line.id),
        folder: line.folder_id,
        internal_date: internal_date.or(line.internal_date).unwrap_or_else(now),
        is_seen,
        is_backfill: line.is_backfill,
        labels: Vec::new(),
        raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PlacementId;

    fn line(folder: i64, uid: i64, size_bytes: i64) -> OpenPlacement {
        OpenPlacement {
            id: PlacementId(uid),
            folder_id: FolderId(folder),
            uid,
            size_bytes,
            internal_date: None,
            is_seen: false,
            is_backfill: false,
            tries: 0,
        }
    }

    fn cut_uids(lines: &[OpenPlacement], mails_max: usize) -> Vec<Vec<u32>> {
        cut(lines, mails_max).into_iter().map(uids).collect()
    }

    #[test]
    fn batches_are_bounded_by_count_and_by_bytes() {
        let many: Vec<_> = (1..=5).map(|uid| line(1, uid, 10)).collect();
        assert_eq!(cut_uids(&many, 2), [vec![1, 2], vec![3, 4], vec![5]]);
        let big = [
            line(1, 1, BATCH_BYTES_MAX + 1),
            line(1, 2, 1),
            line(2, 3, 1),
        ];
        assert_eq!(cut_uids(&big, 200), [vec![1], vec![2, 3]]);
        assert_eq!(cut_uids(&[], 200), Vec::<Vec<u32>>::new());
    }

    #[test]
    fn a_batch_of_several_folders_has_none_of_its_own() {
        assert_eq!(
            folder_of(&[line(1, 1, 1), line(1, 2, 1)]),
            Some(FolderId(1))
        );
        assert_eq!(folder_of(&[line(1, 1, 1), line(2, 2, 1)]), None);
        assert_eq!(folder_of(&[]), None);
    }
}
