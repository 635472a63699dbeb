//! Mail in: a batch of raw mails becomes messages, emails, outcomes, and what the rules make of them,
//! in one transaction together with the settled UIDs. Replaying a batch changes nothing.
//! Not for: fetching (that is `worker::sync`) or what a mail's bytes mean (that is `mail::parse`).

mod cards;
pub mod facts;
pub mod judge;
mod reports;
pub mod stored;

use crate::mail::address::AddressKey;
use crate::mail::parse::{self, ParsedMail};
use crate::model::decisions::{Repair, ThreadChoice};
use crate::model::email::{Address, Direction, EmailOutcome, ParticipantRole};
use crate::model::{EmailId, FolderId, MailboxId, MessageId, PlacementId, ThreadId, Time};
use crate::rules::received_at::received_at;
use crate::rules::threading::{
    self, ArrivedMessage, EarlyChild, RepairFacts, choose_thread, subject_base,
};
use crate::store::email_writes::{self, NewAttachment, NewEmail, NewParticipant};
use crate::store::messages::{MessageHead, NewMessage};
use crate::store::raw::{self, Durable, RawHash, RawStore};
use crate::store::{Store, StoreError, Tx, dialect, messages, placements};
use crate::view;
use bytes::Bytes;
use facts::{Context, MailFacts, Report, thread_facts};
use judge::{Judged, Judgement, judge};
use std::collections::BTreeSet;

/// The space of the locks on clients' addresses.
pub(super) const CLIENT_LOCKS: i64 = 0x636c_6965_6e74;
/// Messages that name a late parent, or report on it, looked at: a conversation has fewer.
const CHILDREN_MAX: i64 = 200;
/// Addresses of one mail that are kept: all others are in its raw headers.
const PARTICIPANTS_MAX: usize = 500;

/// A mail as it came from a folder, or from a file.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The UID's line in the ledger, settled together with the mail; `None` for what has no UID.
    pub placement: Option<PlacementId>,
    pub folder: FolderId,
    pub internal_date: Time,
    pub is_seen: bool,
    pub is_backfill: bool,
    pub raw: Bytes,
}

/// What became of one mail of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Stored anew, as this email, with this outcome.
    Stored(EmailId, EmailOutcome),
    /// A further place of an email that is known.
    Known(EmailId),
    /// Its UID had been settled before.
    Settled,
    /// It could not be stored; it is kept in quarantine with the reason.
    Quarantined(String),
}

/// A mail that was read, with what the rules want to know of it.
struct Read {
    arrival: Arrival,
    hash: RawHash,
    parsed: ParsedMail,
    participants: Vec<NewParticipant>,
    mail: MailFacts,
    received_at: Time,
}

/// Takes a batch of mails of one mailbox in, in their order. Blocks: for worker threads.
/// A mail that the database refuses is quarantined with its raw bytes and stops nothing.
///
/// # Errors
/// `Unavailable` or `Raw` where nothing could be written; the batch can be given again.
pub fn ingest_now(
    store: &Store,
    raw: &RawStore,
    mailbox: MailboxId,
    arrivals: Vec<Arrival>,
    now: Time,
) -> Result<Vec<Taken>, StoreError> {
    let reads: Vec<Read> = arrivals.into_iter().map(read).collect();
    let bytes: Vec<(RawHash, Bytes)> = reads
        .iter()
        .map(|read| (read.hash, read.arrival.raw.clone()))
        .collect();
    let durable = raw.keep_now(store, &bytes)?;
    match write(store, mailbox, &reads, durable.clone(), now) {
        Ok(taken) => Ok(taken),
        Err(error) if is_outside(&error) => Err(error),
        Err(error) => {
            tracing::warn!(mailbox = mailbox.0, %error, "a batch could not be stored; its mails are stored one by one");
            reads
                .iter()
                .map(|read| one_by_one(store, mailbox, read, durable.clone(), now))
                .collect()
        }
    }
}

/// Whether the error is the world's and not a mail's.
const fn is_outside(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Unavailable(_) | StoreError::Raw(_) | StoreError::Setting(_)
    )
}

fn one_by_one(
    store: &Store,
    mailbox: MailboxId,
    read: &Read,
    durable: Durable,
    now: Time,
) -> Result<Taken, StoreError> {
    let mut error = match write(
        store,
        mailbox,
        std::slice::from_ref(read),
        durable.clone(),
        now,
    ) {
        Ok(taken) => return Ok(taken.into_iter().next().unwrap_or(Taken::Settled)),
        Err(error) if is_outside(&error) => return Err(error),
        Err(error) => error,
    };
    if matches!(error, StoreError::Conflict(_)) {
        // Another writer was first with the same message: now it is known.
        match write(
            store,
            mailbox,
            std::slice::from_ref(read),
            durable.clone(),
            now,
        ) {
            Ok(taken) => return Ok(taken.into_iter().next().unwrap_or(Taken::Settled)),
            Err(again) => error = again,
        }
    }
    if is_outside(&error) {
        return Err(error);
    }
    let reason = error.to_string();
    tracing::error!(mailbox = mailbox.0, %error, "a mail is quarantined");
    store.write_now(now, |tx| {
        raw::name(tx, durable)?;
        if let Some(placement) = read.arrival.placement {
            placements::update_failed(tx, placement, &reason, Some(read.hash.to_vec()))?;
        }
        Ok::<_, StoreError>(())
    })?;
    Ok(Taken::Quarantined(reason))
}

fn write(
    store: &Store,
    mailbox: MailboxId,
    reads: &[Read],
    durable: Durable,
    now: Time,
) -> Result<Vec<Taken>, StoreError> {
    let of_people = reads
        .iter()
        .flat_map(|read| &read.participants)
        .filter_map(|participant| participant.address_key.clone());
    let of_cards = reads
        .iter()
        .flat_map(|read| &read.parsed.cards)
        .flat_map(|card| card.addresses.iter().cloned());
    let keys: BTreeSet<String> = of_people.chain(of_cards).collect();
    store.write_now(now, |tx| {
        raw::name(tx, durable)?;
        let context = Context::load(tx.conn, mailbox, &keys)?
            .ok_or_else(|| StoreError::Setting("the mailbox is gone".to_owned()))?;
        // Two first mails of one client at once make one item (R16).
        let locked: Vec<String> = keys.iter().cloned().collect();
        dialect::lock_keys(tx, CLIENT_LOCKS, &locked)?;
        reads.iter().map(|read| take(tx, &context, read)).collect()
    })
}

fn read(arrival: Arrival) -> Read {
    let parsed = parse::parse(&arrival.raw);
    let participants = participants(&parsed);
    let keyed = |roles: &[ParticipantRole]| {
        participants
            .iter()
            .filter(|participant| roles.contains(&participant.role))
            .filter_map(|participant| {
                let key = participant.address_key.clone()?;
                Some((key, participant.address.name.clone()))
            })
            .collect::<Vec<_>>()
    };
    // A sender that may be forged to mislead the rules counts as none: such mail is never linked by itself.
    let sender = if parsed.suspicions.is_empty() {
        keyed(&[ParticipantRole::From]).into_iter().next()
    } else {
        None
    };
    let recipients = [
        ParticipantRole::To,
        ParticipantRole::Cc,
        ParticipantRole::Bcc,
    ]
    .iter()
    .flat_map(|role| keyed(&[*role]))
    .collect();
    let report = parsed.bounce.as_ref().and_then(|bounce| {
        Some(Report {
            about: bounce.original_message_id.clone()?,
            failed_keys: bounce.failed_recipients.clone(),
        })
    });
    let mail = MailFacts {
        sender,
        is_suspicious: !parsed.suspicions.is_empty(),
        recipients,
        subject_base: subject_base(&parsed.subject),
        subject: parsed.subject.clone(),
        automatic: parsed.automatic.map(|kind| kind.as_text().to_owned()),
        report,
        has_received_header: parsed.has_received_header,
        in_reply_to: parsed.in_reply_to.clone(),
        references: parsed.references.clone(),
        internal_date: arrival.internal_date,
        is_backfill: arrival.is_backfill,
        is_seen: arrival.is_seen,
    };
    Read {
        hash: raw::hash_of(&arrival.raw),
        received_at: received_at(parsed.date, arrival.internal_date).time,
        participants,
        mail,
        parsed,
        arrival,
    }
}

fn participants(parsed: &ParsedMail) -> Vec<NewParticipant> {
    let sender: Vec<Address> = parsed.sender.iter().cloned().collect();
    let lists = [
        (ParticipantRole::From, &parsed.from),
        (ParticipantRole::Sender, &sender),
        (ParticipantRole::ReplyTo, &parsed.reply_to),
        (ParticipantRole::To, &parsed.to),
        (ParticipantRole::Cc, &parsed.cc),
        (ParticipantRole::Bcc, &parsed.bcc),
    ];
    lists
        .into_iter()
        .flat_map(|(role, addresses)| addresses.iter().map(move |address| (role, address)))
        .take(PARTICIPANTS_MAX)
        .map(|(role, address)| NewParticipant {
            role,
            address_key: AddressKey::parse(&address.address).map(AddressKey::into_string),
            address: address.clone(),
        })
        .collect()
}

/// Stores one mail, or recognises it.
fn take(tx: &mut Tx<'_>, context: &Context, read: &Read) -> Result<Taken, StoreError> {
    if let Some(placement) = read.arrival.placement
        && !placements::lock_open(tx, placement)?
    {
        return Ok(Taken::Settled);
    }
    let folder = context.folder(Some(read.arrival.folder));
    let sender_is_ours = read.mail.is_from_us(context, folder);
    let known = messages::find_by_content_key(tx.conn, &read.parsed.content_key)?;
    let choice = choose_thread(&thread_facts(tx.conn, &read.mail, sender_is_ours)?);
    let (message_id, thread_id) = match known {
        Some(known) => known,
        None => insert_message(tx, read, choice.thread)?,
    };
    let copy = email_writes::find_copy(tx, context.mailbox.id, message_id)?;
    let (email_id, is_judged, taken_as_known) = match copy {
        // R3: mail that is moved out of the folders that hold it back is judged again.
        Some((email_id, outcome)) => {
            let was_held = matches!(
                outcome,
                EmailOutcome::SpamFolder | EmailOutcome::TrashFolder | EmailOutcome::DraftsFolder
            );
            let is_held = folder.is_spam_folder || folder.is_trash || folder.is_drafts;
            (email_id, was_held && !is_held, true)
        }
        None => (insert(tx, context, read, message_id)?, true, false),
    };
    if let Some(placement) = read.arrival.placement {
        placements::update_stored(tx, placement, email_id)?;
    }
    if !is_judged {
        return Ok(Taken::Known(email_id));
    }
    let judged = Judged {
        email_id,
        message_id,
        received_at: read.received_at,
        by: None,
        sender_count: None,
    };
    let judgement = judge(tx, context, &read.mail, folder, judged, &choice)?;
    if let Judgement::Saved(on) = &judgement {
        cards::make_contacts(tx, context, &read.mail, &read.parsed.cards, on)?;
    }
    reports::mark_unreached(tx, &read.mail, folder, &choice)?;
    if known.is_none() {
        let arrived = arrived_message(tx, read, (thread_id, sender_is_ours), &choice)?;
        let reported = repair_threads(tx, read, arrived)?;
        reports::take_early(tx, context.mailbox.id, message_id, &reported)?;
    }
    Ok(match judgement {
        _ if taken_as_known => Taken::Known(email_id),
        Judgement::Saved(_items) => Taken::Stored(email_id, EmailOutcome::Saved),
        Judgement::Kept(outcome) => Taken::Stored(email_id, outcome),
        Judgement::Refused(code) => Taken::Quarantined(code.as_text().to_owned()),
    })
}

fn insert_message(
    tx: &mut Tx<'_>,
    read: &Read,
    thread: Option<ThreadId>,
) -> Result<(MessageId, ThreadId), StoreError> {
    let inserted = messages::insert(tx, &new_message(read, thread))?;
    if let Some(report) = &read.mail.report {
        messages::insert_report(tx, inserted.0, &report.about, &report.failed_keys)?;
    }
    Ok(inserted)
}

fn new_message<'r>(read: &'r Read, thread_id: Option<ThreadId>) -> NewMessage<'r> {
    NewMessage {
        content_key: &read.parsed.content_key,
        header: read.parsed.message_id.as_deref(),
        subject: &read.parsed.subject,
        subject_base: &read.mail.subject_base,
        received_at: read.received_at,
        in_reply_to: &read.parsed.in_reply_to,
        references: &read.parsed.references,
        thread_id,
    }
}

fn insert(
    tx: &mut Tx<'_>,
    context: &Context,
    read: &Read,
    message_id: MessageId,
) -> Result<EmailId, StoreError> {
    let parsed = &read.parsed;
    let problems: Vec<&str> = parsed
        .problems
        .iter()
        .map(|problem| problem.as_text())
        .chain(
            parsed
                .suspicions
                .iter()
                .map(|suspicion| suspicion.as_text()),
        )
        .collect();
    email_writes::insert(
        tx,
        NewEmail {
            message_id,
            mailbox_id: context.mailbox.id,
            raw_hash: read.hash.to_vec(),
            // Both are set by the judgement that follows in this transaction.
            direction: Direction::Incoming,
            outcome: EmailOutcome::NothingToCreate,
            from: parsed.author().cloned(),
            subject: parsed.subject.clone(),
            preview: preview(parsed),
            received_at: read.received_at,
            internal_date: read.arrival.internal_date,
            automatic: read.mail.automatic.clone(),
            problems: problems.join(","),
            participants: read.participants.clone(),
            attachments: parsed
                .attachments
                .iter()
                .map(|attachment| NewAttachment {
                    part_index: i64::try_from(attachment.part_index).unwrap_or(i64::MAX),
                    name: attachment.name.clone(),
                    media_type: attachment.media_type.clone(),
                    size_bytes: i64::try_from(attachment.size_bytes).unwrap_or(i64::MAX),
                    content_id: attachment.content_id.clone(),
                    is_inline: attachment.is_inline,
                })
                .collect(),
        },
    )
}

/// HTML beyond this adds nothing to the first lines.
const PREVIEW_HTML_BYTES_MAX: usize = 64 * 1024;

fn preview(parsed: &ParsedMail) -> String {
    match (&parsed.body_text, &parsed.body_html) {
        (Some(text), _) => view::preview(text),
        (None, Some(html)) => {
            let end = html.floor_char_boundary(PREVIEW_HTML_BYTES_MAX);
            let head = html.get(..end).unwrap_or_default();
            view::preview(&view::text_of_html(head))
        }
        (None, None) => String::new(),
    }
}

/// The new message as its early children see it.
fn arrived_message(
    tx: &mut Tx<'_>,
    read: &Read,
    (thread_id, sender_is_ours): (ThreadId, bool),
    choice: &ThreadChoice,
) -> Result<ArrivedMessage, StoreError> {
    let mut participants: Vec<String> = read
        .participants
        .iter()
        .filter_map(|participant| participant.address_key.clone())
        .collect();
    if choice.thread.is_some() {
        participants.extend(messages::participants_of_thread(tx.conn, thread_id)?);
    }
    Ok(ArrivedMessage {
        thread_id,
        subject_base: read.mail.subject_base.clone(),
        sender_key: read.mail.sender.as_ref().map(|(key, _name)| key.clone()),
        sender_is_ours,
        participants,
    })
}

/// A parent that comes late gathers its children's threads (R17); links stay as they are. The reports on it that
/// had come before, with whom it didn't reach.
fn repair_threads(
    tx: &mut Tx<'_>,
    read: &Read,
    arrived: ArrivedMessage,
) -> Result<Vec<(MessageId, Vec<String>)>, StoreError> {
    let Some(header) = &read.parsed.message_id else {
        return Ok(Vec::new());
    };
    let child = |head: MessageHead, is_reply_to, failed_recipient_keys| EarlyChild {
        thread_id: head.thread_id,
        subject_base: head.subject_base,
        is_reply_to,
        failed_recipient_keys,
        sender_is_ours: head.is_outgoing,
        sender_key: head.sender_key,
        participants: head.participant_keys,
    };
    let mut children: Vec<EarlyChild> = messages::naming(tx.conn, header, CHILDREN_MAX)?
        .into_iter()
        .map(|(head, is_reply_to)| child(head, is_reply_to, Vec::new()))
        .collect();
    let mut reported = Vec::new();
    for (head, failed) in messages::reports_on(tx.conn, header, CHILDREN_MAX)? {
        let id = head.id;
        let report = child(head, false, failed.clone());
        if threading::is_report_on(&report, &arrived) {
            reported.push((id, failed));
        }
        children.push(report);
    }
    if children.is_empty() {
        return Ok(reported);
    }
    let Repair {
        threads_to_move,
        into,
        ..
    } = threading::repair(&RepairFacts { arrived, children });
    if !threads_to_move.is_empty() {
        messages::update_threads(tx, &threads_to_move, into)?;
    }
    Ok(reported)
}
