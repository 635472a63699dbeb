//! Is this mail client mail that saves itself to the CRM (R3, R4, R11, R12, R18, R19)?
//! Not for: which item it goes to (that is `routing`), nor for what a mail's headers mean (that is `mail::parse`).
//!
//! The ranking goes from what nothing can mend to what a setting mends, so that the outcome always tells the
//! deepest reason: a mail with another outcome than `INTERNAL` can be saved by hand.

use super::trace;
use crate::model::Time;
use crate::model::decisions::{
    Classification, HandClassification, HandVerdict, Party, Verdict, Who,
};
use crate::model::email::{Direction, EmailOutcome, RoutingStep};
use crate::model::mailbox::FolderRole;
use crate::model::refusal::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The step that saw all facts, for a simulation to replay.
pub const FACTS: &str = "R20 the facts about the mail";

/// What that step decided where somebody has chosen to save the mail.
pub const BY_HAND: &str = "judged, saved by hand";

/// What the folder that a mail lies in is for. One folder can be several of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FolderFacts {
    /// It is the one that the mailbox's spam goes to.
    pub is_spam_folder: bool,
    pub is_inbox: bool,
    pub is_sent: bool,
    pub is_trash: bool,
    pub is_drafts: bool,
}

impl FolderFacts {
    /// With what the mail's labels say, where labels stand for folders.
    pub fn with_labels(self, labels: &[FolderRole]) -> Self {
        let has = |role| labels.contains(&role);
        Self {
            is_inbox: self.is_inbox || has(FolderRole::Inbox),
            is_sent: self.is_sent || has(FolderRole::Sent),
            is_drafts: self.is_drafts || has(FolderRole::Drafts),
            ..self
        }
    }

    /// Whether mail that lies in it is kept from the CRM (R3), whoever sent it: where spam goes, Trash and Drafts.
    pub const fn holds_back(self) -> bool {
        self.is_spam_folder || self.is_trash || self.is_drafts
    }
}

/// R3: mail that a folder held back is judged again once it is moved to one that doesn't.
pub const fn is_judged_again(outcome: EmailOutcome, moved_to: FolderFacts) -> bool {
    let was_held_back = matches!(
        outcome,
        EmailOutcome::SpamFolder | EmailOutcome::TrashFolder | EmailOutcome::DraftsFolder
    );
    was_held_back && !moved_to.holds_back()
}

/// What tells our own mail from what others sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OriginFacts {
    /// Its Message-ID carries our signature.
    pub has_our_message_id: bool,
    /// It claims to come from the mailbox's own address or alias, which anybody can claim …
    pub is_from_own_address: bool,
    /// … but mail that came from outside has at least one Received header.
    pub has_received_header: bool,
}

/// Everything that classifying a mail depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassifyFacts {
    pub folder: FolderFacts,
    /// The mailbox's setting: spam goes to the Inbox (the warning `SPAM_FOLDER_IS_INBOX`).
    pub spam_goes_to_inbox: bool,
    pub origin: OriginFacts,
    /// The mailbox's switch (R11).
    pub crm_integration: bool,
    /// `None`: the mail names nobody that can be read as its sender, or it may be forged.
    pub sender: Option<Party>,
    /// Its sender may be forged to mislead people or rules: several authors, control characters in an address, a name
    /// that shows another address.
    pub is_suspicious: bool,
    /// To, Cc and Bcc, in this order.
    pub recipients: Vec<Party>,
    /// It is ours, and went by Bcc to somebody outside, whom it does not name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hides_client: bool,
    /// What makes the mail automatic, in a word ("auto-reply", "list", "bounce" …).
    pub automatic: Option<String>,
    /// It answers a mail that is saved to the CRM (by `threading`).
    pub is_reply_to_saved: bool,
    /// It was there before the mailbox was connected.
    pub is_backfill: bool,
    /// INTERNALDATE.
    pub internal_date: Time,
    /// The backfill saves nothing older; `None`: whatever is synced.
    pub save_since: Option<Time>,
    /// Mails of the same sender in this mailbox whose INTERNALDATE lies within the hour before this one's,
    /// without this one: so a backfill of years is no flood.
    pub sender_count_last_hour: i64,
    /// How many an hour are let through (R19); 0 or less: the guard is off.
    pub sender_limit_per_hour: i64,
}

/// What one rule said: the trace of it, and the outcome with its reason where the rule keeps the mail unsaved.
struct Tried {
    step: RoutingStep,
    keeps: Option<EmailOutcome>,
}

/// Keeps the mail unsaved with a reason, or names the client on whose items routing is to decide.
pub fn classify(facts: &ClassifyFacts) -> Classification {
    let ranking: [fn(&ClassifyFacts, Direction) -> Tried; 7] = [
        internal_mail,    // R12: mail from or to our own people is never saved
        held_back_folder, // R3: spam, Trash and Drafts never save themselves
        integration,      // R11: nor does anything while the integration is off
        age,              // R4: the backfill leaves alone what is older than asked for
        client,           // R12: somebody outside must be there to save it for
        exclusion,        // R18: no new saves for these addresses
        rate_guard,       // R19: a flood makes no flood of items
    ];
    let (direction, direction_step) = direction(facts);
    let mut steps = vec![trace::step(FACTS, facts, "judged"), direction_step];
    for rule in ranking {
        let Tried { step, keeps } = rule(facts, direction);
        let reason = step.decided.clone();
        steps.push(step);
        if let Some(outcome) = keeps {
            return Classification {
                direction,
                verdict: Verdict::Keep(outcome),
                steps,
                reason,
            };
        }
    }
    let (client, other_clients) = clients(facts, direction);
    Classification {
        direction,
        verdict: client.map_or(Verdict::Keep(EmailOutcome::NothingToCreate), |client| {
            Verdict::Judge {
                client,
                other_clients,
            }
        }),
        steps,
        reason: "it is client mail".to_owned(),
    }
}

/// Saving by hand asks one question only: is it our own people's mail (R12)? Folders, switches, lists and age
/// hold back what saves itself, not what somebody chose (R3, R11).
pub fn by_hand(facts: &ClassifyFacts) -> HandClassification {
    let (direction, direction_step) = direction(facts);
    let Tried { step, keeps } = internal_mail(facts, direction);
    let verdict = if keeps.is_some() {
        HandVerdict::Refused(ErrorCode::InternalEmail)
    } else {
        let (client, other_clients) = clients(facts, direction);
        HandVerdict::Judge {
            client,
            other_clients,
        }
    };
    HandClassification {
        direction,
        verdict,
        steps: vec![trace::step(FACTS, facts, BY_HAND), direction_step, step],
    }
}

/// R4: which way the mail went.
fn direction(facts: &ClassifyFacts) -> (Direction, RoutingStep) {
    let OriginFacts {
        has_our_message_id,
        is_from_own_address,
        has_received_header,
    } = facts.origin;
    let (direction, decided) = if facts.folder.is_sent {
        (Direction::Outgoing, "outgoing: it lies in Sent")
    } else if has_our_message_id {
        (Direction::Outgoing, "outgoing: its Message-ID is ours")
    } else if is_from_own_address && !has_received_header {
        (
            Direction::Outgoing,
            "outgoing: it comes from the mailbox's own address and was never received",
        )
    } else {
        (Direction::Incoming, "incoming")
    };
    let saw = json!({ "is_sent": facts.folder.is_sent, "origin": facts.origin });
    (direction, trace::step("R4 direction", &saw, decided))
}

/// R12: incoming, when the sender is one of ours; outgoing, when every recipient is, also those whom it does not name.
fn internal_mail(facts: &ClassifyFacts, direction: Direction) -> Tried {
    let (saw, is_internal) = match direction {
        Direction::Incoming => (
            json!({ "sender": facts.sender }),
            facts
                .sender
                .as_ref()
                .is_some_and(|sender| sender.who.is_ours()),
        ),
        Direction::Outgoing => (
            json!({ "recipients": facts.recipients }),
            !facts.hides_client
                && !facts.recipients.is_empty()
                && facts.recipients.iter().all(|to| to.who.is_ours()),
        ),
    };
    let internal = match direction {
        Direction::Incoming => {
            "internal: it says that one of ours has sent it, which nothing verifies"
        }
        Direction::Outgoing => "internal: every recipient is one of ours",
    };
    tried(
        "R12 internal mail",
        saw,
        is_internal.then_some((EmailOutcome::Internal, internal)),
        "not internal",
    )
}

/// R3: mail in the folder that spam goes to, in Trash and in Drafts; where spam goes to the Inbox, all that comes in.
/// Sent mail is saved all the same.
fn held_back_folder(facts: &ClassifyFacts, direction: Direction) -> Tried {
    let folder = facts.folder;
    let comes_in = direction == Direction::Incoming;
    let keeps = if folder.is_sent {
        None
    } else if folder.is_trash && !folder.is_spam_folder {
        Some((EmailOutcome::TrashFolder, "it lies in Trash"))
    } else if folder.is_drafts && !folder.is_spam_folder {
        Some((EmailOutcome::DraftsFolder, "it lies in Drafts"))
    } else if folder.is_spam_folder && (comes_in || !folder.is_inbox) {
        Some((
            EmailOutcome::SpamFolder,
            "it lies in the folder that spam goes to",
        ))
    } else if facts.spam_goes_to_inbox && comes_in {
        Some((
            EmailOutcome::SpamFolder,
            "spam goes to the Inbox, so nothing that comes in is saved by itself",
        ))
    } else {
        None
    };
    let saw = json!({ "folder": folder, "spam_goes_to_inbox": facts.spam_goes_to_inbox });
    tried("R3 folder", saw, keeps, "its folder holds nothing back")
}

/// R11: the mailbox's switch.
fn integration(facts: &ClassifyFacts, _: Direction) -> Tried {
    let keeps = (!facts.crm_integration).then_some((
        EmailOutcome::IntegrationOff,
        "the CRM integration of the mailbox is off",
    ));
    let saw = json!({ "crm_integration": facts.crm_integration });
    tried("R11 CRM integration", saw, keeps, "the integration is on")
}

/// R4: what arrives after connecting is never too old, whatever its dates say.
fn age(facts: &ClassifyFacts, _: Direction) -> Tried {
    let is_older = facts
        .save_since
        .is_some_and(|since| facts.internal_date < since);
    let keeps = (facts.is_backfill && is_older).then_some((
        EmailOutcome::TooOld,
        "it is older than what the mailbox saves of its history",
    ));
    let saw = json!({
        "is_backfill": facts.is_backfill,
        "internal_date": facts.internal_date,
        "save_since": facts.save_since,
    });
    tried("R4 history", saw, keeps, "not too old")
}

/// R12: mail is saved for a client. A mail without a legible sender, or without recipients, has none.
fn client(facts: &ClassifyFacts, direction: Direction) -> Tried {
    let (client, other_clients) = clients(facts, direction);
    let saw = json!({
        "client": client,
        "other_clients": other_clients,
        "is_suspicious": facts.is_suspicious,
    });
    let reason = if facts.is_suspicious && direction == Direction::Incoming {
        "its sender may be forged, so it is not saved by itself"
    } else {
        "it names no client to save it for"
    };
    let keeps = client
        .is_none()
        .then_some((EmailOutcome::NothingToCreate, reason));
    tried("R12 client", saw, keeps, "it is a client's")
}

/// R18: excluded clients get no new saves; their replies to saved mail go on to routing, which saves them on its items.
fn exclusion(facts: &ClassifyFacts, direction: Direction) -> Tried {
    let (client, _) = clients(facts, direction);
    let is_excluded = client.is_some_and(|client| client.is_excluded);
    let keeps = (is_excluded && !facts.is_reply_to_saved).then_some((
        EmailOutcome::Excluded,
        "the client is on the exclusion list",
    ));
    let saw = json!({ "is_excluded": is_excluded, "is_reply_to_saved": facts.is_reply_to_saved });
    let passes = if is_excluded {
        "on the exclusion list, but it answers a saved mail"
    } else {
        "not on the exclusion list"
    };
    tried("R18 exclusion list", saw, keeps, passes)
}

/// R19: above the limit, a sender's mail stays in the mailbox view. Our own outgoing mail is no flood.
fn rate_guard(facts: &ClassifyFacts, direction: Direction) -> Tried {
    let (count, limit) = (facts.sender_count_last_hour, facts.sender_limit_per_hour);
    let is_flood = direction == Direction::Incoming && limit > 0 && count >= limit;
    let keeps = is_flood.then_some((
        EmailOutcome::RateGuard,
        "its sender has sent more within the hour than the limit lets through",
    ));
    let saw = json!({ "sender_count_last_hour": count, "sender_limit_per_hour": limit });
    tried("R19 rate guard", saw, keeps, "within the limit")
}

/// The client that the mail is saved for, and the other clients it went to, each once.
/// Of several recipients the first that is not excluded counts.
fn clients(facts: &ClassifyFacts, direction: Direction) -> (Option<Party>, Vec<Party>) {
    let parties: Vec<&Party> = match direction {
        Direction::Incoming => facts.sender.iter().collect(),
        Direction::Outgoing => facts.recipients.iter().collect(),
    };
    let mut found: Vec<&Party> = Vec::new();
    for party in parties {
        let is_known = found
            .iter()
            .any(|other| other.address_key == party.address_key);
        if party.who == Who::Client && !is_known {
            found.push(party);
        }
    }
    let wanted = found.iter().find(|party| !party.is_excluded);
    let client = wanted.or_else(|| found.first()).copied();
    let others = found
        .iter()
        .filter(|party| !party.is_excluded && client != Some(**party))
        .map(|party| (*party).clone())
        .collect();
    (client.cloned(), others)
}

/// What a rule said: the outcome with its reason, or how the mail passed.
fn tried(rule: &str, saw: Value, keeps: Option<(EmailOutcome, &str)>, passes: &str) -> Tried {
    let decided = keeps.map_or(passes, |(_, reason)| reason);
    Tried {
        step: trace::step(rule, &saw, decided),
        keeps: keeps.map(|(outcome, _)| outcome),
    }
}

#[cfg(test)]
mod tests;
