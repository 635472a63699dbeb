//! Mail in: a batch of raw mails becomes messages, emails, outcomes, and what the rules make of them,
//! in one transaction together with the settled UIDs. Replaying a batch changes nothing.
//! Not for: fetching (that is `worker::sync`) or what a mail's bytes mean (that is `mail::parse`).

mod cards;
mod conversations;
pub mod facts;
pub mod judge;
pub mod known;
mod own;
mod reports;
pub mod stored;

use crate::mail::address::AddressKey;
use crate::mail::parse::{self, ParsedMail};
use crate::model::decisions::{Repair, ThreadChoice};
use crate::model::email::{Address, Direction, EmailOutcome, ParticipantRole};
use crate::model::mailbox::FolderRole;
use crate::model::{EmailId, FolderId, MailboxId, MessageId, PlacementId, ThreadId, Time};
use crate::rules::classify::is_judged_again;
use crate::rules::message_id;
use crate::rules::received_at::received_at;
use crate::rules::threading::{self, ArrivedMessage, RepairFacts, choose_thread, subject_base};
use crate::store::email_writes::{NewAttachment, NewEmail, NewParticipant};
use crate::store::leases::{self, Fence};
use crate::store::messages::NewMessage;
use crate::store::raw::{self, Durable, Keeping, RawHash, RawStore};
use crate::store::{Store, StoreError, Tx, clients, dialect, erasure, figures, placements};
use crate::view;
use bytes::Bytes;
use facts::{Context, MailFacts, Report};
use judge::{Judged, Judgement, judge};
use known::{Known, Wanted, first_sender};
use std::collections::BTreeSet;

/// The space of the locks on clients' addresses.
pub(super) const CLIENT_LOCKS: i64 = 0x636c_6965_6e74;
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
    /// What its labels say, where labels stand for folders.
    pub labels: Vec<FolderRole>,
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
    preview: String,
    /// Its text, for the indexer.
    text: Option<String>,
    received_at: Time,
    /// The mailbox that we gave its Message-ID for, if it is signed by us.
    signed_for: Option<MailboxId>,
}

/// A batch whose mails are read and whose bytes are on their way to where they are kept: what is left is to wait for
/// them, and one transaction.
pub struct Prepared {
    reads: Vec<Read>,
    keeping: Keeping,
}

impl Prepared {
    /// How many mails it holds.
    pub fn len(&self) -> usize {
        self.reads.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// Takes the mails of the batch behind it too: one transaction for both costs less than two.
    pub fn append(&mut self, mut behind: Self) {
        self.reads.append(&mut behind.reads);
        self.keeping.append(behind.keeping);
    }
}

/// Reads the mails of a batch and begins to make their bytes durable. Blocks: for worker threads. It writes nothing to the
/// database, so it can run beside the storing of the batch before.
///
/// # Errors
/// `Unavailable` or `Raw` where the bytes could not be kept; the batch can be given again.
pub fn prepare_now(
    store: &Store,
    raw: &RawStore,
    arrivals: Vec<Arrival>,
) -> Result<Prepared, StoreError> {
    let key = store.codec().message_id_key();
    let reads = arrivals.into_iter().map(|arrival| read(arrival, &key));
    let mut reads: Vec<Read> = reads.collect();
    let bytes: Vec<(RawHash, Bytes)> = reads
        .iter_mut()
        .map(|read| (read.hash, std::mem::take(&mut read.arrival.raw)))
        .collect();
    let keeping = raw.begin_to_keep_now(store, bytes)?;
    for read in &mut reads {
        if let Some(text) = read.text.take() {
            raw.texts().hold(read.hash, text);
        }
    }
    Ok(Prepared { reads, keeping })
}

/// Takes a batch of mails of one mailbox in, in their order, once their bytes are durable. Blocks: for worker threads.
/// A mail that the database refuses is quarantined with its raw bytes and stops nothing.
/// `fence` is the lease under which a worker writes.
///
/// # Errors
/// `Unavailable`, `Storage` or `Raw` where nothing could be written; the batch can be given again. `Fenced` where another
/// worker has the mailbox now.
pub fn store_now(
    store: &Store,
    raw: &RawStore,
    (mailbox, fence): (MailboxId, Option<&Fence>),
    prepared: Prepared,
    now: Time,
) -> Result<Vec<Taken>, StoreError> {
    let Prepared { reads, keeping } = prepared;
    let count = reads.len();
    let _storing = tracing::info_span!("store_mail", mailbox = mailbox.0, count).entered();
    let durable = raw.kept_now(keeping)?;
    let place = (mailbox, fence);
    match write(store, place, &reads, &durable, now) {
        Ok(taken) => Ok(taken),
        Err(error) if error.is_outside() => Err(error),
        Err(error) => {
            tracing::warn!(mailbox = mailbox.0, %error, "a batch could not be stored; its mails are stored one by one");
            reads
                .iter()
                .map(|read| one_by_one(store, place, read, &durable, now))
                .collect()
        }
    }
}

/// Prepares a batch and stores it, on this thread.
///
/// # Errors
/// As [`prepare_now`] and [`store_now`].
pub fn ingest_now(
    store: &Store,
    raw: &RawStore,
    place: (MailboxId, Option<&Fence>),
    arrivals: Vec<Arrival>,
    now: Time,
) -> Result<Vec<Taken>, StoreError> {
    let prepared = prepare_now(store, raw, arrivals)?;
    store_now(store, raw, place, prepared, now)
}

fn one_by_one(
    store: &Store,
    place: (MailboxId, Option<&Fence>),
    read: &Read,
    durable: &Durable,
    now: Time,
) -> Result<Taken, StoreError> {
    let try_it = || write(store, place, std::slice::from_ref(read), durable, now);
    match try_it() {
        Ok(taken) => return Ok(taken.into_iter().next().unwrap_or(Taken::Settled)),
        Err(error) if error.is_outside() => return Err(error),
        Err(_again) => {}
    }
    // Another writer may have been first with the same message: now it is known. And a mail is blamed only by a database
    // that takes a write, and refuses the mail once more.
    store.write_now(now, figures::rewrite_row)?;
    let error = match try_it() {
        Ok(taken) => return Ok(taken.into_iter().next().unwrap_or(Taken::Settled)),
        Err(error) if error.is_outside() => return Err(error),
        Err(error) => error,
    };
    let reason = error.to_string();
    let (mailbox, fence) = place;
    tracing::error!(mailbox = mailbox.0, %error, "a mail is quarantined");
    store.write_now(now, |tx| {
        raw::name(tx, durable)?;
        if let Some(placement) = read.arrival.placement {
            placements::update_failed(tx, placement, &reason, Some(read.hash.to_vec()))?;
            if !read.arrival.labels.is_empty() {
                placements::update_labels(tx, placement, &read.arrival.labels)?;
            }
        }
        hold(tx, fence)
    })?;
    Ok(Taken::Quarantined(reason))
}

fn hold(tx: &mut Tx<'_>, fence: Option<&Fence>) -> Result<(), StoreError> {
    fence.map_or(Ok(()), |fence| leases::hold(tx, fence))
}

fn write(
    store: &Store,
    (mailbox, fence): (MailboxId, Option<&Fence>),
    reads: &[Read],
    durable: &Durable,
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
        dialect::plan_by_keys(tx)?;
        raw::name(tx, durable)?;
        lock_clients(tx, &keys)?;
        let context = Context::load(tx.conn, mailbox, &keys)?
            .ok_or_else(|| StoreError::Setting("the mailbox is gone".to_owned()))?;
        let wanted: Vec<Wanted<'_>> = reads
            .iter()
            .map(|read| Wanted {
                placement: read.arrival.placement,
                content_key: Some(&read.parsed.content_key),
                message_id: None,
                header: read.parsed.message_id.as_deref(),
                is_signed: read.signed_for == Some(mailbox),
                mail: &read.mail,
            })
            .collect();
        let mut known = Known::load(tx, &context, &wanted)?;
        let keys = reads.iter().map(|read| read.parsed.content_key.as_slice());
        let erased = erasure::erased_among(tx.conn, mailbox, keys)?;
        dialect::keep_plans(tx)?;
        let mut taken = Vec::with_capacity(reads.len());
        for read in reads {
            // What was erased for good does not come back (R47).
            if erased.contains(read.parsed.content_key.as_slice()) {
                erasure::settle_erased(tx, read.arrival.placement, &read.hash)?;
                taken.push(Taken::Settled);
                continue;
            }
            taken.push(take(tx, &mut known, &context, read)?);
            // Mails of one batch have an order too.
            tx.now = tx.now.plus_micros(1);
        }
        known.finish(tx)?;
        hold(tx, fence)?;
        Ok(taken)
    })
}

/// Locks the clients among these addresses: two first mails of one client at once make one item (R16). Our own
/// people's stand on many mails and are no clients.
///
/// # Errors
/// What the database says.
pub(super) fn lock_clients(tx: &mut Tx<'_>, keys: &BTreeSet<String>) -> Result<(), StoreError> {
    let who = clients::who(tx.conn, keys)?;
    let is_ours = |key: &&String| who.get(*key).is_some_and(|who| who.is_ours());
    let clients: Vec<String> = keys.iter().filter(|key| !is_ours(key)).cloned().collect();
    dialect::lock_keys(tx, CLIENT_LOCKS, &clients)
}

fn read(arrival: Arrival, message_id_key: &[u8; 32]) -> Read {
    let mut parsed = parse::parse(&arrival.raw);
    let (preview, text) = preview_and_text(&mut parsed);
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
        // Told apart inside the transaction, where what we sent is known.
        has_our_message_id: false,
        hides_client: false,
        in_reply_to: parsed.in_reply_to.clone(),
        references: parsed.references.clone(),
        internal_date: arrival.internal_date,
        is_backfill: arrival.is_backfill,
        is_seen: arrival.is_seen,
    };
    Read {
        hash: raw::hash_of(&arrival.raw),
        received_at: received_at(parsed.date, arrival.internal_date).time,
        signed_for: parsed
            .message_id
            .as_deref()
            .and_then(|id| message_id::mailbox_of(message_id_key, id)),
        participants,
        mail,
        preview,
        text,
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
fn take(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    read: &Read,
) -> Result<Taken, StoreError> {
    if let Some(placement) = read.arrival.placement
        && !known.is_open(placement)
    {
        return Ok(Taken::Settled);
    }
    let labels = &read.arrival.labels;
    let folder = context
        .folder(Some(read.arrival.folder))
        .with_labels(labels);
    let own = own::recognise(known, context, read, folder);
    let mail = own.mail.as_ref();
    let sender_is_ours = mail.is_from_us(context, folder);
    let stored = known
        .message(&read.parsed.content_key)
        .or_else(|| own.sent.as_ref().and_then(|sent| sent.stored));
    let choice = choose_thread(&known.conversations().thread_facts(mail, sender_is_ours));
    let (message_id, thread_id) = match stored {
        Some(stored) => stored,
        None => known.keep_message(
            tx,
            &new_message(read, choice.thread),
            first_sender(&read.participants),
            read.mail.report.as_ref(),
        )?,
    };
    let (email_id, is_judged, taken_as_known) = match known.copy(message_id) {
        Some((email_id, outcome)) => (email_id, is_judged_again(outcome, folder), true),
        None => {
            let new = new_email(context, read, message_id);
            (known.begin_email(tx, thread_id, new)?, true, false)
        }
    };
    if let Some(placement) = read.arrival.placement {
        known.settle(placement, email_id);
        if !labels.is_empty() {
            placements::update_labels(tx, placement, labels)?;
        }
    }
    if !is_judged {
        own::settle(tx, context, own.sent.as_ref(), (email_id, folder))?;
        return Ok(Taken::Known(email_id));
    }
    let judged = Judged {
        email_id,
        message_id,
        received_at: read.received_at,
        by: None,
        sender_count: None,
    };
    let judgement = match own
        .sent
        .as_ref()
        .and_then(|sent| Some((sent, sent.item_id?)))
    {
        Some((sent, item)) => {
            let by = (sent.author_id, item);
            own::save_on_item(tx, known, context, (judged, mail), folder, &choice, by)?
        }
        None => judge(tx, known, context, mail, folder, judged, &choice)?,
    };
    known.keep_fresh(tx)?;
    own::settle(tx, context, own.sent.as_ref(), (email_id, folder))?;
    if let Judgement::Saved(on) = &judgement {
        cards::make_contacts(tx, known, context, (mail, &read.parsed.cards), on)?;
    }
    reports::mark_unreached(tx, mail, folder, &choice)?;
    if stored.is_none() {
        let arrived = arrived_message(known, read, (thread_id, sender_is_ours), &choice);
        let reported = repair_threads(tx, known, read, arrived)?;
        reports::take_early(tx, known, message_id, &reported)?;
    }
    Ok(match judgement {
        _ if taken_as_known => Taken::Known(email_id),
        Judgement::Saved(_items) => Taken::Stored(email_id, EmailOutcome::Saved),
        Judgement::Kept(outcome) => Taken::Stored(email_id, outcome),
        Judgement::Refused(code) => Taken::Quarantined(code.as_text().to_owned()),
    })
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

fn new_email(context: &Context, read: &Read, message_id: MessageId) -> NewEmail {
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
    NewEmail {
        message_id,
        mailbox_id: context.mailbox.id,
        raw_hash: read.hash.to_vec(),
        // These are set by the judgement that follows in this transaction.
        direction: Direction::Incoming,
        outcome: EmailOutcome::NothingToCreate,
        saved: None,
        from: parsed.author().cloned(),
        subject: parsed.subject.clone(),
        preview: read.preview.clone(),
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
    }
}

/// HTML beyond this adds nothing to the first lines.
const PREVIEW_HTML_BYTES_MAX: usize = 64 * 1024;

/// A mail's first lines, and its text where all of it is known. A batch holds the bodies no longer: nothing asks for them
/// again before somebody reads the mail.
fn preview_and_text(parsed: &mut ParsedMail) -> (String, Option<String>) {
    match (parsed.body_text.take(), parsed.body_html.take()) {
        (Some(text), _) => (view::preview(&text), Some(text)),
        (None, Some(html)) => {
            let end = html.floor_char_boundary(PREVIEW_HTML_BYTES_MAX);
            let head = view::text_of_html(html.get(..end).unwrap_or_default());
            let preview = view::preview(&head);
            (preview, (end == html.len()).then_some(head))
        }
        (None, None) => (String::new(), Some(String::new())),
    }
}

/// The new message as its early children see it.
fn arrived_message(
    known: &Known,
    read: &Read,
    (thread_id, sender_is_ours): (ThreadId, bool),
    choice: &ThreadChoice,
) -> ArrivedMessage {
    let mut participants: Vec<String> = read
        .participants
        .iter()
        .filter_map(|participant| participant.address_key.clone())
        .collect();
    if choice.thread.is_some() {
        participants.extend(known.conversations().people_of(thread_id));
    }
    ArrivedMessage {
        thread_id,
        subject_base: read.mail.subject_base.clone(),
        sender_key: read.mail.sender.as_ref().map(|(key, _name)| key.clone()),
        sender_is_ours,
        participants,
    }
}

/// A parent that comes late gathers its children's threads (R17); links stay as they are. The reports on it that
/// had come before, with whom it didn't reach.
fn repair_threads(
    tx: &mut Tx<'_>,
    known: &mut Known,
    read: &Read,
    arrived: ArrivedMessage,
) -> Result<Vec<(MessageId, Vec<String>)>, StoreError> {
    let Some(header) = &read.parsed.message_id else {
        return Ok(Vec::new());
    };
    let mut children = known.conversations().early_children(header);
    let mut reported = Vec::new();
    for (id, report) in known.conversations().early_reports(header) {
        if threading::is_report_on(&report, &arrived) {
            reported.push((id, report.failed_recipient_keys.clone()));
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
        known.move_threads(tx, &threads_to_move, into)?;
    }
    Ok(reported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::index_search::text_of;

    const PLAIN: &str = "Content-Type: text/plain; charset=utf-8\n\nDas Angebot für Zürich.\n";
    const BOTH: &str = "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
                        words\n--b\nContent-Type: text/html\n\n<p>others</p>\n--b--\n";

    fn html(body: &str) -> String {
        format!("MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n{body}\n")
    }

    #[test]
    fn r43_the_text_that_is_held_for_the_indexer_is_the_one_that_it_would_read() {
        let long = "<p>a line of many</p>\n".repeat(PREVIEW_HTML_BYTES_MAX / 8);
        let mails = [
            (PLAIN.to_owned(), true),
            (BOTH.to_owned(), true),
            (html("<p>Hello <b>Ada</b> &amp; co</p>"), true),
            (html(&long), false),
            ("Subject: nothing\n\n".to_owned(), true),
            (String::new(), true),
        ];
        for (mail, is_held) in mails {
            let raw = mail.as_bytes();
            let (_preview, held) = preview_and_text(&mut parse::parse(raw));
            assert_eq!(held.is_some(), is_held, "{mail:.80}");
            if let Some(held) = held {
                assert_eq!(held, text_of(EmailId(1), raw), "{mail:.80}");
            }
        }
    }
}
