//! Listing and fetching mail with our own FETCH reader.
//!
//! Several FETCH commands can be under way at once, so that the next batch travels while this one is stored.
//! Memory is bounded by the batch: a server that sends more than it announced is cut off.
//! Not for: deciding what to fetch; the placement ledger does.

use super::response::{Body, FetchRow};
use super::session::{Answers, Ended, ImapSession, out_of_step};
use crate::mail::error::MailError;
use crate::model::Time;
use crate::model::mailbox::FolderRole;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::ops::{ControlFlow, RangeInclusive};

/// Command lines stay under 1 KB (Office 365 fails on longer ones); the rest of the command needs 80 bytes.
const UID_SET_BYTES_MAX: usize = 900;

/// No literal is expected when mails are listed.
const LISTING_LITERAL_BYTES_MAX: u64 = 64 * 1024;

/// Mails of one listing, which a hostile server could make endless. Where a folder has more, those with the
/// lowest UIDs are listed and `ImapSession::has_news` stays true until the rest is.
pub const LISTED_MAX: usize = 500_000;

/// A mail as the listing tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedMail {
    pub uid: u32,
    /// As the server says; some are wrong by a little.
    pub size_bytes: u64,
    pub is_seen: bool,
    pub internal_date: Option<Time>,
}

/// A mail with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub uid: u32,
    pub internal_date: Option<Time>,
    pub is_seen: bool,
    /// Gmail's labels, which stand for folders there; empty elsewhere.
    pub labels: Vec<FolderRole>,
    pub raw: Bytes,
}

/// The limits of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// A mail above this ends the fetch with `MailError::TooBig`.
    pub mail_bytes_max: u64,
    /// All mails of one batch together; with several under way, their sum counts.
    pub batch_bytes_max: u64,
    /// How many batches are asked for at once; 0 counts as 1.
    pub depth: usize,
}

impl Default for FetchLimits {
    /// 50 MB is the largest mail that most servers accept; two batches under way hide a round trip.
    fn default() -> Self {
        Self {
            mail_bytes_max: 50 << 20,
            batch_bytes_max: 64 << 20,
            depth: 2,
        }
    }
}

/// What came of one batch. A UID that was asked for and is not among the mails got no body: absent, refused or
/// NIL; the caller counts its tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedBatch {
    /// Rising, each once.
    pub asked: Vec<u32>,
    /// In the order in which the server sent them, each UID once.
    pub mails: Vec<Fetched>,
    /// The server ended it with NO or BAD; what came before is whole all the same.
    pub is_refused: bool,
}

impl ImapSession {
    /// The mails of the open folder from `from_uid` on, by rising UID, at most `LISTED_MAX`.
    pub fn list_new(&mut self, from_uid: u32) -> Result<Vec<ListedMail>, MailError> {
        let from_uid = from_uid.max(1);
        // `n:*` names the last mail even where its UID is below n, so those are dropped.
        self.list_uids(&format!("{from_uid}:*"), from_uid, u32::MAX)
    }

    /// The mails of the open folder with UIDs from `from_uid` to `to_uid`, by rising UID.
    pub fn list_between(
        &mut self,
        from_uid: u32,
        to_uid: u32,
    ) -> Result<Vec<ListedMail>, MailError> {
        let from_uid = from_uid.max(1);
        if to_uid < from_uid {
            return Ok(Vec::new());
        }
        self.list_uids(&format!("{from_uid}:{to_uid}"), from_uid, to_uid)
    }

    pub(super) fn list_uids(
        &mut self,
        set: &str,
        from_uid: u32,
        to_uid: u32,
    ) -> Result<Vec<ListedMail>, MailError> {
        // What changes from here on is news that this listing may lack.
        self.wire().lock().forget_news();
        let tag = self.send(&format!(
            "UID FETCH {set} (UID RFC822.SIZE FLAGS INTERNALDATE)"
        ))?;
        let mut listing = Listing {
            tag,
            uids: from_uid..=to_uid,
            mails: Vec::new(),
            is_cut: false,
            refusal: None,
        };
        self.read_answers(&mut listing)?;
        if listing.is_cut {
            self.wire().lock().note_news();
        }
        match listing.refusal {
            None => Ok(listing.mails),
            // Some servers refuse to list an empty folder.
            Some(_) if self.was_empty() && listing.mails.is_empty() => Ok(Vec::new()),
            Some(error) => Err(error),
        }
    }

    /// Fetches batches of UIDs whole, without setting \Seen, and hands over each batch as it is complete.
    /// `ControlFlow::Break` ends it; the session stays usable. Batches of about 200 mails and 4 MB do well.
    pub fn fetch_batches(
        &mut self,
        batches: &mut dyn Iterator<Item = Vec<u32>>,
        limits: FetchLimits,
        on_batch: &mut dyn FnMut(FetchedBatch) -> ControlFlow<()>,
    ) -> Result<(), MailError> {
        let mut under_way = UnderWay {
            batches: VecDeque::new(),
            limits,
        };
        let mut is_over = false;
        let mut is_stopped = false;
        let mut busy = None;
        loop {
            while !is_over && under_way.batches.len() < limits.depth.max(1) {
                match batches.next() {
                    Some(uids) => under_way.batches.push_back(self.ask_for(uids)?),
                    None => is_over = true,
                }
            }
            if under_way.batches.is_empty() {
                return busy.map_or(Ok(()), Err);
            }
            let (batch, refusal) = self.next_batch(&mut under_way)?;
            if is_stopped {
                // It is only read to stay in step.
                continue;
            }
            is_stopped = on_batch(batch).is_break();
            if let Some(error @ MailError::Busy { .. }) = refusal {
                busy = Some(error);
                is_stopped = true;
            }
            is_over |= is_stopped;
        }
    }

    /// Fetches one batch of UIDs whole.
    pub fn fetch(
        &mut self,
        uids: Vec<u32>,
        limits: FetchLimits,
    ) -> Result<FetchedBatch, MailError> {
        let batch = self.ask_for(uids)?;
        let mut under_way = UnderWay {
            batches: VecDeque::from([batch]),
            limits,
        };
        let (batch, refusal) = self.next_batch(&mut under_way)?;
        match refusal {
            Some(error @ MailError::Busy { .. }) if batch.mails.is_empty() => Err(error),
            _ => Ok(batch),
        }
    }

    /// A slice of one mail's bytes, for mails too large to hold. Shorter than asked for: the mail ends there.
    /// `None`: the server has no (such) mail.
    pub fn fetch_slice(
        &mut self,
        uid: u32,
        offset: u64,
        length: u32,
    ) -> Result<Option<Bytes>, MailError> {
        let tag = self.send(&format!(
            "UID FETCH {uid} (UID BODY.PEEK[]<{offset}.{length}>)"
        ))?;
        let mut answer = Slice {
            tag,
            uid,
            bytes_max: u64::from(length),
            bytes: None,
            refusal: None,
        };
        self.read_answers(&mut answer)?;
        match answer.refusal {
            Some(error @ MailError::Busy { .. }) => Err(error),
            _ => Ok(answer.bytes),
        }
    }

    fn ask_for(&mut self, mut uids: Vec<u32>) -> Result<Asked, MailError> {
        uids.sort_unstable();
        uids.dedup();
        let labels = if self.has_labels() {
            " X-GM-LABELS"
        } else {
            ""
        };
        let mut tags = Vec::new();
        for set in uid_sets(&uids) {
            tags.push(self.send(&format!(
                "UID FETCH {set} (UID FLAGS INTERNALDATE{labels} BODY.PEEK[])"
            ))?);
        }
        Ok(Asked {
            uids,
            tags,
            rows: Rows::default(),
            refusal: None,
        })
    }

    /// Reads until the oldest batch under way is complete.
    fn next_batch(
        &self,
        under_way: &mut UnderWay,
    ) -> Result<(FetchedBatch, Option<MailError>), MailError> {
        if under_way
            .batches
            .front()
            .is_some_and(|batch| !batch.tags.is_empty())
        {
            self.read_answers(under_way)?;
        }
        let done = under_way.batches.pop_front().ok_or_else(out_of_step)?;
        let batch = FetchedBatch {
            asked: done.uids,
            mails: done.rows.into_mails(),
            is_refused: done.refusal.is_some(),
        };
        Ok((batch, done.refusal))
    }
}

/// The answer to the fetch of a slice.
struct Slice {
    tag: String,
    uid: u32,
    bytes_max: u64,
    bytes: Option<Bytes>,
    refusal: Option<MailError>,
}

impl Answers for Slice {
    fn literal_bytes_max(&self) -> u64 {
        self.bytes_max
    }

    fn row(&mut self, row: FetchRow) {
        if let Body::Here(bytes) = row.body
            && row.uid == Some(self.uid)
        {
            self.bytes.get_or_insert(bytes);
        }
    }

    fn ended(&mut self, tag: &str, ended: Ended) -> Result<ControlFlow<()>, MailError> {
        if tag != self.tag {
            return Err(out_of_step());
        }
        if let Ended::Refused(error) = ended {
            self.refusal = Some(error);
        }
        Ok(ControlFlow::Break(()))
    }
}

/// A batch whose commands are sent.
struct Asked {
    /// Rising, each once.
    uids: Vec<u32>,
    /// Of the commands that have not ended.
    tags: Vec<String>,
    rows: Rows,
    refusal: Option<MailError>,
}

/// The batches that the server works on. Dovecot starts the next command while it waits for us to read, so rows
/// of all batches come mixed.
struct UnderWay {
    batches: VecDeque<Asked>,
    limits: FetchLimits,
}

impl Answers for UnderWay {
    fn literal_bytes_max(&self) -> u64 {
        let held = self
            .batches
            .iter()
            .map(|batch| batch.rows.bytes)
            .fold(0_u64, u64::saturating_add);
        let count = u64::try_from(self.batches.len()).unwrap_or(u64::MAX);
        let room = self
            .limits
            .batch_bytes_max
            .saturating_mul(count)
            .saturating_sub(held);
        self.limits.mail_bytes_max.min(room)
    }

    fn row(&mut self, row: FetchRow) {
        // What no batch has asked for is a change of flags, or a server's mistake.
        let Some(uid) = row.uid else { return };
        let asked = |batch: &&mut Asked| batch.uids.binary_search(&uid).is_ok();
        if let Some(batch) = self.batches.iter_mut().find(asked) {
            batch.rows.take(uid, row);
        }
    }

    fn ended(&mut self, tag: &str, ended: Ended) -> Result<ControlFlow<()>, MailError> {
        let batch = self
            .batches
            .iter_mut()
            .find(|batch| batch.tags.iter().any(|sent| sent == tag));
        let batch = batch.ok_or_else(out_of_step)?;
        batch.tags.retain(|sent| sent != tag);
        if let Ended::Refused(error) = ended {
            batch.refusal = Some(error);
        }
        let is_done = self
            .batches
            .front()
            .is_some_and(|oldest| oldest.tags.is_empty());
        Ok(if is_done {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }
}

/// What rows without the body tell of a mail.
#[derive(Default)]
struct Facts {
    is_seen: Option<bool>,
    internal_date: Option<Time>,
    labels: Vec<FolderRole>,
    has_body: bool,
}

/// The rows of a batch. Servers may send flags and body of one mail in separate rows.
#[derive(Default)]
struct Rows {
    bodies: Vec<(u32, Bytes)>,
    facts: HashMap<u32, Facts>,
    bytes: u64,
}

impl Rows {
    fn take(&mut self, uid: u32, row: FetchRow) {
        let facts = self.facts.entry(uid).or_default();
        facts.is_seen = row.is_seen.or(facts.is_seen);
        facts.internal_date = row.internal_date.or(facts.internal_date);
        facts.labels.extend(row.labels);
        if let Body::Here(raw) = row.body
            && !facts.has_body
        {
            facts.has_body = true;
            self.bytes = self
                .bytes
                .saturating_add(u64::try_from(raw.len()).unwrap_or(u64::MAX));
            self.bodies.push((uid, raw));
        }
    }

    fn into_mails(self) -> Vec<Fetched> {
        let mut facts = self.facts;
        let bodies = self.bodies.into_iter();
        bodies
            .map(|(uid, raw)| {
                let facts = facts.remove(&uid).unwrap_or_default();
                Fetched {
                    uid,
                    internal_date: facts.internal_date,
                    is_seen: facts.is_seen.unwrap_or(false),
                    labels: facts.labels,
                    raw,
                }
            })
            .collect()
    }
}

/// What a listing holds so far: the lowest UIDs, so that memory stays bounded and none is skipped.
struct Listing {
    tag: String,
    uids: RangeInclusive<u32>,
    mails: Vec<ListedMail>,
    is_cut: bool,
    refusal: Option<MailError>,
}

impl Answers for Listing {
    fn literal_bytes_max(&self) -> u64 {
        LISTING_LITERAL_BYTES_MAX
    }

    fn row(&mut self, row: FetchRow) {
        let Some(uid) = row.uid.filter(|uid| self.uids.contains(uid)) else {
            return;
        };
        // A server may tell size and flags of one mail in separate rows, mostly one right after the other.
        match self.mails.last_mut() {
            Some(mail) if mail.uid == uid => add_facts(mail, &row),
            _ => {
                let mut mail = ListedMail {
                    uid,
                    size_bytes: 0,
                    is_seen: false,
                    internal_date: None,
                };
                add_facts(&mut mail, &row);
                self.mails.push(mail);
            }
        }
        if self.mails.len() >= 2 * LISTED_MAX {
            self.tidy();
        }
    }

    fn ended(&mut self, tag: &str, ended: Ended) -> Result<ControlFlow<()>, MailError> {
        if tag != self.tag {
            return Err(out_of_step());
        }
        if let Ended::Refused(error) = ended {
            self.refusal = Some(error);
        }
        self.tidy();
        Ok(ControlFlow::Break(()))
    }
}

impl Listing {
    /// Rising, each UID once, and no more than the limit.
    fn tidy(&mut self) {
        self.mails.sort_by_key(|mail| mail.uid);
        self.mails.dedup_by(|later, earlier| {
            let is_same = later.uid == earlier.uid;
            if is_same {
                earlier.size_bytes = earlier.size_bytes.max(later.size_bytes);
                earlier.is_seen |= later.is_seen;
                earlier.internal_date = earlier.internal_date.or(later.internal_date);
            }
            is_same
        });
        self.is_cut |= self.mails.len() > LISTED_MAX;
        self.mails.truncate(LISTED_MAX);
    }
}

fn add_facts(mail: &mut ListedMail, row: &FetchRow) {
    mail.size_bytes = row.size_bytes.unwrap_or(mail.size_bytes);
    mail.is_seen = row.is_seen.unwrap_or(mail.is_seen);
    mail.internal_date = row.internal_date.or(mail.internal_date);
}

/// Rising UIDs as IMAP sets ("1:5,9"), each short enough for one command.
pub(super) fn uid_sets(uids: &[u32]) -> Vec<String> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &uid in uids {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
            _ => ranges.push((uid, uid)),
        }
    }
    let mut sets: Vec<String> = Vec::new();
    for (first, last) in ranges {
        let range = if first == last {
            first.to_string()
        } else {
            format!("{first}:{last}")
        };
        match sets.last_mut() {
            Some(set) if set.len() + 1 + range.len() <= UID_SET_BYTES_MAX => {
                set.push(',');
                set.push_str(&range);
            }
            _ => sets.push(range),
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_become_short_sets() {
        let rows: [(&[u32], &[&str]); 4] = [
            (&[], &[]),
            (&[7], &["7"]),
            (&[1, 2, 3, 5, 8, 9], &["1:3,5,8:9"]),
            (&[u32::MAX - 1, u32::MAX], &["4294967294:4294967295"]),
        ];
        for (uids, expected) in rows {
            assert_eq!(uid_sets(uids), expected);
        }
        let odd: Vec<u32> = (0..1000).map(|n| 4_000_000_000 + 2 * n).collect();
        let sets = uid_sets(&odd);
        assert!(sets.iter().all(|set| set.len() <= UID_SET_BYTES_MAX));
        assert_eq!(
            sets.iter().map(|set| set.split(',').count()).sum::<usize>(),
            1000
        );
    }
}
