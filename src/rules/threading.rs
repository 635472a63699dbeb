//! Which conversation a message belongs to (R17).
//! Not for: which item a reply goes to (that is `routing`), nor for reading References out of headers.
//!
//! Naming a message proves nothing, since anybody can write any id into In-Reply-To. A message joins a thread only
//! if its sender takes part in that thread already, or is one of ours: else a stranger who has seen or guessed an id
//! could put text before our people under a client's name.

pub mod subject;

use crate::model::decisions::{Repair, ThreadChoice};
use crate::model::{MessageId, ThreadId};
use serde::{Deserialize, Serialize};
pub use subject::subject_base;

/// A stored message that a new one names as its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadCandidate {
    pub message_id: MessageId,
    pub thread_id: ThreadId,
    /// Of that message, by [`subject_base`].
    pub subject_base: String,
    /// Address keys of everybody in its thread: senders and recipients of all its messages.
    pub participants: Vec<String>,
    /// Whether that message is saved to the CRM.
    pub is_saved: bool,
}

/// A message that a delivery report claims to be about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedMessage {
    pub message: ThreadCandidate,
    /// It was found to be outgoing when it came (R4); a report on any other message proves nothing.
    pub we_sent_it: bool,
}

/// A delivery report: it comes from a mail system that takes part in nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BounceFacts {
    /// The messages with the id that it reports on; ids can be repeated or forged.
    pub about: Vec<ReportedMessage>,
    /// Whom the mail didn't reach, for good; a delay names nobody.
    pub failed_recipient_keys: Vec<String>,
}

/// Everything that choosing a thread depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadFacts {
    /// What In-Reply-To names; one id can name several messages, since ids can be repeated or forged.
    pub in_reply_to: Vec<ThreadCandidate>,
    /// What References names, the nearest first (so the header's order turned round).
    pub references: Vec<ThreadCandidate>,
    pub bounce: Option<BounceFacts>,
    /// Of the new message.
    pub subject_base: String,
    /// `None`: no sender can be read; such a message takes part in nothing.
    pub sender_key: Option<String>,
    /// The message is outgoing (R4), or its sender is an active user or a connected mailbox.
    pub sender_is_ours: bool,
}

/// A report joins the mail of ours that it reports on. Else In-Reply-To is trusted, then References under the same
/// subject; either only for a sender who takes part.
pub fn choose_thread(facts: &ThreadFacts) -> ThreadChoice {
    let takes_part = |candidate: &&ThreadCandidate| {
        facts.sender_is_ours || is_among(facts.sender_key.as_deref(), &candidate.participants)
    };
    let answered: Vec<&ThreadCandidate> = facts.in_reply_to.iter().filter(takes_part).collect();
    let referenced: Vec<&ThreadCandidate> = facts
        .references
        .iter()
        .filter(takes_part)
        .filter(|candidate| candidate.subject_base == facts.subject_base)
        .collect();

    if let Some(original) = facts.bounce.as_ref().and_then(reported) {
        return ThreadChoice {
            thread: Some(original.thread_id),
            parent: Some(original.message_id),
            is_reply_to_saved: original.is_saved,
            is_report: true,
            reason: "it reports on a mail that we sent".to_owned(),
        };
    }
    if let Some(nearest) = answered.first() {
        return join(nearest, &answered, &referenced, "In-Reply-To names it");
    }
    if let Some(nearest) = referenced.first() {
        let reason = "References name it, under the same subject";
        return join(nearest, &answered, &referenced, reason);
    }
    ThreadChoice {
        thread: None,
        parent: None,
        is_reply_to_saved: false,
        is_report: false,
        reason: why_none(facts).to_owned(),
    }
}

/// Joins the thread of the nearest; the parent is the nearest of that thread that is saved, since an answer to a
/// client's mail may pass through a colleague's, which never is (R12).
fn join(
    nearest: &ThreadCandidate,
    answered: &[&ThreadCandidate],
    referenced: &[&ThreadCandidate],
    reason: &str,
) -> ThreadChoice {
    let parent = answered
        .iter()
        .chain(referenced)
        .find(|candidate| candidate.thread_id == nearest.thread_id && candidate.is_saved)
        .copied()
        .unwrap_or(nearest);
    ThreadChoice {
        thread: Some(nearest.thread_id),
        parent: Some(parent.message_id),
        is_reply_to_saved: parent.is_saved,
        is_report: false,
        reason: reason.to_owned(),
    }
}

/// The mail that a delivery report is about, if we sent it and a failed recipient was in its thread: else anybody
/// who has seen an id could put a forged report before our people.
fn reported(bounce: &BounceFacts) -> Option<&ThreadCandidate> {
    bounce
        .about
        .iter()
        .filter(|about| about.we_sent_it)
        .map(|about| &about.message)
        .find(|message| any_among(&bounce.failed_recipient_keys, &message.participants))
}

const fn why_none(facts: &ThreadFacts) -> &'static str {
    if !facts.in_reply_to.is_empty() {
        "it names a message, but its sender takes no part in that thread"
    } else if !facts.references.is_empty() {
        "References name a message, but the subject is another or the sender takes no part"
    } else {
        "it names no message that is known"
    }
}

/// A message that has come and been given its thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivedMessage {
    pub thread_id: ThreadId,
    pub subject_base: String,
    pub sender_key: Option<String>,
    pub sender_is_ours: bool,
    /// Address keys of its sender and recipients, and of everybody else in its thread.
    pub participants: Vec<String>,
}

/// A message that came before and named the arrived one as its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyChild {
    pub thread_id: ThreadId,
    pub subject_base: String,
    /// It names it in In-Reply-To, not in References alone.
    pub is_reply_to: bool,
    /// Of a delivery report about the arrived message: whom it says that the mail didn't reach.
    pub failed_recipient_keys: Vec<String>,
    pub sender_key: Option<String>,
    pub sender_is_ours: bool,
    /// Address keys of everybody in its thread.
    pub participants: Vec<String>,
}

/// Everything that repairing threads depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairFacts {
    pub arrived: ArrivedMessage,
    pub children: Vec<EarlyChild>,
}

/// A parent that comes late gathers its children's threads into its own; links are never touched.
/// Both senders must take part in the other's thread: else a stranger could write the missing parent.
/// A report that came before the mail of ours that it is about is gathered too.
pub fn repair(facts: &RepairFacts) -> Repair {
    let arrived = &facts.arrived;
    let mut threads_to_move: Vec<ThreadId> = facts
        .children
        .iter()
        .filter(|child| child.thread_id != arrived.thread_id)
        .filter(|child| is_report_on(child, arrived) || is_answer_to(child, arrived))
        .map(|child| child.thread_id)
        .collect();
    threads_to_move.sort_unstable();
    threads_to_move.dedup();
    let reason = if threads_to_move.is_empty() {
        "no earlier message belongs to it"
    } else {
        "earlier messages answer it"
    };
    Repair {
        threads_to_move,
        into: arrived.thread_id,
        reason: reason.to_owned(),
    }
}

/// Whether an early child reports on the arrived message, which is ours.
pub fn is_report_on(child: &EarlyChild, arrived: &ArrivedMessage) -> bool {
    arrived.sender_is_ours && any_among(&child.failed_recipient_keys, &arrived.participants)
}

fn is_answer_to(child: &EarlyChild, arrived: &ArrivedMessage) -> bool {
    let names_it = child.is_reply_to || child.subject_base == arrived.subject_base;
    let child_takes_part =
        child.sender_is_ours || is_among(child.sender_key.as_deref(), &arrived.participants);
    let arrived_takes_part =
        arrived.sender_is_ours || is_among(arrived.sender_key.as_deref(), &child.participants);
    child.failed_recipient_keys.is_empty() && names_it && child_takes_part && arrived_takes_part
}

fn any_among(keys: &[String], participants: &[String]) -> bool {
    keys.iter().any(|key| participants.contains(key))
}

fn is_among(key: Option<&str>, participants: &[String]) -> bool {
    key.is_some_and(|key| participants.iter().any(|other| other == key))
}

#[cfg(test)]
mod tests;
