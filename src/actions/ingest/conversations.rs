//! The conversations that some mails have to do with: the messages that they name, those that name or report on
//! them, and who takes part. Kept up to date as the mails are stored.
//! Not for: choosing a thread; that is `rules::threading`.

use super::facts::{MailFacts, Report};
use super::known::Wanted;
use crate::model::email::Direction;
use crate::model::{MessageId, ThreadId};
use crate::rules::threading::{
    BounceFacts, EarlyChild, ReportedMessage, ThreadCandidate, ThreadFacts,
};
use crate::store::messages::{self, MessageHead, NewMessage};
use crate::store::{AnyConn, StoreError, Tx};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Messages looked at that claim one of the ids a mail names: more claim it only to confuse.
const CANDIDATES_MAX: usize = 100;
/// Messages that name a late parent, or report on it, looked at: a conversation has fewer.
const CHILDREN_MAX: i64 = 200;

/// What is known of the conversations of a batch.
#[derive(Default)]
pub struct Conversations {
    heads: HashMap<MessageId, MessageHead>,
    by_header: HashMap<String, Vec<MessageId>>,
    people: HashMap<ThreadId, BTreeSet<String>>,
    children: HashMap<String, Vec<(MessageId, bool)>>,
    reports: HashMap<String, BTreeMap<MessageId, Vec<String>>>,
}

impl Conversations {
    /// Loads them; also the ids of the messages that the mails may answer.
    ///
    /// # Errors
    /// What the database says.
    pub fn load(
        conn: &mut AnyConn,
        wanted: &[Wanted<'_>],
    ) -> Result<(Self, Vec<MessageId>), StoreError> {
        let mut known = Self::default();
        let named: BTreeSet<&String> = wanted.iter().flat_map(|mail| mail.mail.named()).collect();
        let named: Vec<String> = named.into_iter().cloned().collect();
        let limit = i64::try_from(CANDIDATES_MAX).unwrap_or(i64::MAX);
        let parents = messages::ids_with_headers(conn, &named, limit)?;
        let own: BTreeSet<&str> = wanted.iter().filter_map(|mail| mail.header).collect();
        let own: Vec<String> = own.into_iter().map(str::to_owned).collect();
        let mut seen: BTreeSet<MessageId> = parents.iter().copied().collect();
        for (header, message, is_reply_to) in messages::naming(conn, &own, CHILDREN_MAX)? {
            seen.insert(message);
            known.note_child(header, message, is_reply_to);
        }
        for (header, message, key) in messages::reports_on(conn, &own, CHILDREN_MAX)? {
            seen.insert(message);
            let reports = known.reports.entry(header).or_default();
            reports.entry(message).or_default().push(key);
        }
        let seen: Vec<MessageId> = seen.into_iter().collect();
        for head in messages::heads(conn, &seen)? {
            known.note_head(head);
        }
        let threads = known.heads.values().map(|head| head.thread_id).collect();
        known.people = messages::people_of_threads(conn, &threads)?;
        Ok((known, parents))
    }

    fn note_head(&mut self, head: MessageHead) {
        if let Some(header) = &head.header {
            let claiming = self.by_header.entry(header.clone()).or_default();
            let place = (head.received_at, head.id);
            let at = claiming.partition_point(|other| {
                self.heads
                    .get(other)
                    .is_some_and(|other| (other.received_at, other.id) < place)
            });
            claiming.insert(at, head.id);
        }
        self.heads.insert(head.id, head);
    }

    fn note_child(&mut self, header: String, message: MessageId, is_reply_to: bool) {
        let children = self.children.entry(header).or_default();
        match children
            .iter_mut()
            .find(|(known, _reply)| *known == message)
        {
            Some((_known, reply)) => *reply |= is_reply_to,
            None => children.push((message, is_reply_to)),
        }
    }

    /// Keeps a message that is new, and what it reports.
    ///
    /// # Errors
    /// `Database` where ids run out.
    pub fn keep(
        &mut self,
        tx: &mut Tx<'_>,
        new: &NewMessage<'_>,
        sender_key: Option<String>,
        report: Option<&Report>,
    ) -> Result<(MessageId, ThreadId), StoreError> {
        let (id, thread_id) = messages::insert_later(tx, new)?;
        let named = new
            .in_reply_to
            .iter()
            .map(|named| (named, true))
            .chain(new.references.iter().map(|named| (named, false)));
        for (header, is_reply_to) in named {
            self.note_child(header.clone(), id, is_reply_to);
        }
        if let Some(report) = report {
            messages::insert_report_later(tx, id, &report.about, &report.failed_keys);
            let reports = self.reports.entry(report.about.clone()).or_default();
            reports.insert(id, report.failed_keys.clone());
        }
        self.note_head(MessageHead {
            id,
            thread_id,
            header: new.header.map(str::to_owned),
            subject_base: new.subject_base.to_owned(),
            received_at: new.received_at,
            sender_key,
            is_saved: false,
            is_outgoing: false,
        });
        Ok((id, thread_id))
    }

    /// These people take part in a thread now.
    pub fn join(&mut self, thread: ThreadId, keys: impl Iterator<Item = String>) {
        self.people.entry(thread).or_default().extend(keys);
    }

    /// What was found about a message: a copy is saved, or is outgoing.
    pub fn note_outcome(&mut self, message: MessageId, is_saved: bool, direction: Direction) {
        if let Some(head) = self.heads.get_mut(&message) {
            head.is_saved |= is_saved;
            head.is_outgoing |= direction == Direction::Outgoing;
        }
    }

    /// The messages that a mail names, as candidates for its thread.
    pub fn thread_facts(&self, mail: &MailFacts, sender_is_ours: bool) -> ThreadFacts {
        let mut left = CANDIDATES_MAX;
        let mut of = |id: &String| {
            let claiming = self.by_header.get(id).map_or(&[][..], Vec::as_slice);
            let found: Vec<&MessageHead> = claiming
                .iter()
                .filter_map(|id| self.heads.get(id))
                .take(left)
                .collect();
            left = left.saturating_sub(found.len());
            found
        };
        let candidates = |heads: Vec<&MessageHead>| -> Vec<ThreadCandidate> {
            heads.into_iter().map(|head| self.candidate(head)).collect()
        };
        ThreadFacts {
            in_reply_to: candidates(mail.in_reply_to.iter().flat_map(&mut of).collect()),
            references: candidates(mail.references.iter().rev().flat_map(&mut of).collect()),
            bounce: mail.report.as_ref().map(|report| BounceFacts {
                about: of(&report.about)
                    .into_iter()
                    .map(|head| ReportedMessage {
                        message: self.candidate(head),
                        we_sent_it: head.is_outgoing,
                    })
                    .collect(),
                failed_recipient_keys: report.failed_keys.clone(),
            }),
            subject_base: mail.subject_base.clone(),
            sender_key: mail.sender.as_ref().map(|(key, _name)| key.clone()),
            sender_is_ours,
        }
    }

    fn candidate(&self, head: &MessageHead) -> ThreadCandidate {
        ThreadCandidate {
            message_id: head.id,
            thread_id: head.thread_id,
            subject_base: head.subject_base.clone(),
            participants: self.people_of(head.thread_id),
            is_saved: head.is_saved,
        }
    }

    /// Canonical addresses of everybody in a thread that some mail of the batch has to do with.
    pub fn people_of(&self, thread: ThreadId) -> Vec<String> {
        let people = self.people.get(&thread);
        people.into_iter().flatten().cloned().collect()
    }

    /// The messages that came before and name this Message-ID as a parent.
    pub fn early_children(&self, header: &str) -> Vec<EarlyChild> {
        let children = self.children.get(header);
        children
            .into_iter()
            .flatten()
            .filter_map(|(id, is_reply_to)| self.child(*id, *is_reply_to, Vec::new()))
            .collect()
    }

    /// The reports that came before the mail with this Message-ID, which they are about.
    pub fn early_reports(&self, header: &str) -> Vec<(MessageId, EarlyChild)> {
        let reports = self.reports.get(header);
        reports
            .into_iter()
            .flatten()
            .filter_map(|(id, failed)| Some((*id, self.child(*id, false, failed.clone())?)))
            .collect()
    }

    fn child(
        &self,
        id: MessageId,
        is_reply_to: bool,
        failed_recipient_keys: Vec<String>,
    ) -> Option<EarlyChild> {
        let head = self.heads.get(&id)?;
        Some(EarlyChild {
            thread_id: head.thread_id,
            subject_base: head.subject_base.clone(),
            is_reply_to,
            failed_recipient_keys,
            sender_is_ours: head.is_outgoing,
            sender_key: head.sender_key.clone(),
            participants: self.people_of(head.thread_id),
        })
    }

    /// Threads, with all their messages, are in another one now.
    pub fn move_threads(&mut self, from: &[ThreadId], into: ThreadId) {
        for head in self.heads.values_mut() {
            if from.contains(&head.thread_id) {
                head.thread_id = into;
            }
        }
        for thread in from {
            let people = self.people.remove(thread).unwrap_or_default();
            self.join(into, people.into_iter());
        }
    }
}
