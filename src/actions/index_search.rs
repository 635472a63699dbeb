//! Indexing for searches: what waits becomes documents, a batch at a time, each in a transaction of its own behind the one
//! that stored the mail. Ended at any moment, it goes on with what still waits.
//! Not for: who finds what (that is `store::search` under a scope).

use super::read_mail;
use crate::mail::parse;
use crate::model::email::{Email, ParticipantRole};
use crate::model::item::Item;
use crate::model::{EmailId, ItemId};
use crate::rules::search::{Zone, composed, words};
use crate::store::dialect::full_text::Document;
use crate::store::leases::{self, Fence};
use crate::store::raw::RawStore;
use crate::store::search_index::{self, Batch, Indexed, Subject, Waiting};
use crate::store::{AnyConn, Store, StoreError, Tx, emails, items, timeline};
use std::collections::{HashMap, HashSet};

/// Mails and items of one transaction: few, so that nobody waits long for it on SQLite.
pub const BATCH: usize = 100;
/// The same while more than that waits: each transaction leaves parts of an index that are merged later, and the larger
/// they are, the fewer times.
pub const BATCH_BEHIND: usize = 400;
/// A mail whose bytes can't be had so often while others' can is indexed without its text; what the index refuses so often
/// while it takes others is left out.
const TRIES_MAX: i64 = 5;

/// Where one process at a time indexes, and under which lease.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub store: &'a Store,
    pub raw: &'a RawStore,
    /// The lease under which it writes; `None` where nobody else can.
    pub fence: Option<&'a Fence>,
}

/// Sees to it that all waits to be indexed anew where the index was made by another version.
///
/// # Errors
/// What the database says.
pub fn begin_now(place: Place<'_>, now: crate::model::Time) -> Result<(), StoreError> {
    place.store.write_now(now, |tx| {
        search_index::begin_anew_if_old(tx)?;
        hold(tx, place.fence)
    })
}

/// Indexes a batch of what waits, on this thread, at most `limit`; how much of it there was. None: nothing waits.
///
/// # Errors
/// What the database says, `Fenced` where another process indexes now, `Raw` while the raw store can't be reached; what was
/// indexed stays so, and the rest waits on.
pub fn index_batch_now(
    place: Place<'_>,
    now: crate::model::Time,
    limit: usize,
) -> Result<usize, StoreError> {
    let batch = read_now(place, i64::try_from(limit).unwrap_or(i64::MAX))?;
    let count = batch.waiting.len();
    if count == 0 {
        return Ok(0);
    }
    match save(place, &batch, now) {
        Ok(()) => Ok(count),
        Err(error) if error.is_outside() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a batch could not be indexed; what is in it is indexed one by one");
            one_by_one(place, batch, now)?;
            Ok(count)
        }
    }
}

fn save(place: Place<'_>, batch: &Batch, now: crate::model::Time) -> Result<(), StoreError> {
    place.store.write_now(now, |tx| {
        search_index::save(tx, batch)?;
        hold(tx, place.fence)
    })
}

/// What the database refuses of a batch stops nothing: it is tried again a few times, behind all others. Where nothing of the
/// batch can be indexed, it is no fault of what is in it.
fn one_by_one(place: Place<'_>, batch: Batch, now: crate::model::Time) -> Result<(), StoreError> {
    let mut refused = Vec::new();
    let mut is_any_taken = false;
    for waiting in batch.waiting {
        let of_it = |indexed: &&Indexed| indexed.subject == waiting.subject;
        let single = Batch {
            indexed: batch.indexed.iter().filter(of_it).cloned().collect(),
            unread: batch
                .unread
                .iter()
                .filter(|one| **one == waiting)
                .cloned()
                .collect(),
            waiting: vec![waiting.clone()],
        };
        match save(place, &single, now) {
            Ok(()) => is_any_taken = true,
            Err(error) if error.is_outside() => return Err(error),
            Err(error) => refused.push((waiting, error)),
        }
    }
    for (waiting, error) in refused {
        if !is_any_taken {
            return Err(error);
        }
        let is_last = waiting.tries >= TRIES_MAX;
        tracing::error!(subject = ?waiting.subject, %error, is_tried_again = !is_last, "it can't be indexed");
        place.store.write_now(now, |tx| {
            if is_last {
                search_index::give_up(tx, &waiting)?;
            } else {
                search_index::wait_again(tx, &waiting)?;
            }
            hold(tx, place.fence)
        })?;
    }
    Ok(())
}

fn hold(tx: &mut Tx<'_>, fence: Option<&Fence>) -> Result<(), StoreError> {
    fence.map_or(Ok(()), |fence| leases::hold(tx, fence))
}

/// What rows say of a batch.
struct Rows {
    waiting: Vec<Waiting>,
    emails: Vec<Email>,
    participants: HashMap<EmailId, Vec<(ParticipantRole, crate::model::email::Address)>>,
    files: HashMap<EmailId, Vec<String>>,
    with_file: HashSet<EmailId>,
    items: Vec<Item>,
    addresses: HashMap<ItemId, Vec<String>>,
    notes: HashMap<ItemId, Vec<String>>,
}

fn rows(conn: &mut AnyConn, limit: i64) -> Result<Rows, StoreError> {
    let waiting = search_index::waiting(conn, limit)?;
    let mut email_ids: Vec<EmailId> = Vec::new();
    let mut item_ids: Vec<ItemId> = Vec::new();
    for one in &waiting {
        match one.subject {
            Subject::Email(id) => email_ids.push(id),
            Subject::Item(id) => item_ids.push(id),
        }
    }
    email_ids.sort_unstable();
    email_ids.dedup();
    item_ids.sort_unstable();
    item_ids.dedup();
    let mut files: HashMap<EmailId, Vec<String>> = HashMap::new();
    for file in emails::attachments(conn, &email_ids)? {
        files.entry(file.email_id).or_default().push(file.name);
    }
    let addresses = items::addresses(conn, &item_ids)?
        .into_iter()
        .map(|(id, all)| (id, all.into_iter().map(|one| one.address).collect()))
        .collect();
    Ok(Rows {
        emails: emails::get_many(conn, &email_ids)?,
        participants: emails::participants(conn, &email_ids)?,
        files,
        with_file: emails::with_file(conn, &email_ids)?,
        items: items::get_many(conn, &item_ids)?,
        addresses,
        notes: timeline::indexed_notes(conn, &item_ids)?,
        waiting,
    })
}

/// Reads a batch: what waits, and the documents of what is there of it.
fn read_now(place: Place<'_>, limit: i64) -> Result<Batch, StoreError> {
    let rows = place.store.read_now(|conn| rows(conn, limit))?;
    let mut batch = Batch::default();
    let mut is_raw_store_there = false;
    let mut texts: HashMap<EmailId, String> = HashMap::new();
    let mut unheld: Vec<&[u8]> = Vec::new();
    for email in &rows.emails {
        match place.raw.texts().take(&email.raw_hash) {
            Some(text) => drop(texts.insert(email.id, text)),
            None => unheld.push(&email.raw_hash),
        }
    }
    let ahead = place.raw.get_ahead_now(place.store, &unheld)?;
    for email in &rows.emails {
        if let Some(text) = texts.remove(&email.id) {
            batch.indexed.push(email_document(email, &text, &rows));
            continue;
        }
        let got = match ahead.get(&email.raw_hash) {
            Some(raw) => Ok(raw.clone()),
            None => place.raw.get_now(place.store, &email.raw_hash),
        };
        let text = match got {
            Ok(raw) => {
                is_raw_store_there = true;
                text_of(email.id, &raw)
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            Err(error) => {
                // That nothing can be read is no fault of this mail.
                is_raw_store_there =
                    is_raw_store_there || place.raw.has_others_now(place.store, &email.raw_hash)?;
                if !is_raw_store_there {
                    return Err(error);
                }
                let waits = |one: &&Waiting| one.subject == Subject::Email(email.id);
                let again = rows
                    .waiting
                    .iter()
                    .filter(waits)
                    .max_by_key(|one| one.tries);
                let again = again.filter(|one| one.tries < TRIES_MAX);
                tracing::warn!(email = email.id.0, %error, is_tried_again = again.is_some(), "a mail's text can't be indexed");
                batch.unread.extend(again.cloned());
                String::new()
            }
        };
        batch.indexed.push(email_document(email, &text, &rows));
    }
    batch
        .indexed
        .extend(rows.items.iter().map(|item| item_document(item, &rows)));
    batch.waiting = rows.waiting;
    Ok(batch)
}

/// The text of a mail. Reading never fails; should it all the same, that mail alone is indexed without its text.
pub(super) fn text_of(id: EmailId, raw: &[u8]) -> String {
    let read =
        std::panic::catch_unwind(|| read_mail::text_of(parse::parse(raw)).unwrap_or_default());
    read.unwrap_or_else(|_panic| {
        tracing::error!(email = id.0, "a mail's text can't be read");
        String::new()
    })
}

fn add(document: &mut Document, zone: Zone, text: &str) {
    let found = words(&composed(text));
    document.add(zone, found.into_iter().map(|word| word.folded));
}

fn email_document(email: &Email, text: &str, rows: &Rows) -> Indexed {
    let mut document = Document::new("EMAIL");
    if rows.with_file.contains(&email.id) {
        document.note_file();
    }
    add(&mut document, Zone::Title, &email.subject);
    for (role, address) in rows.participants.get(&email.id).into_iter().flatten() {
        let zone = match role {
            ParticipantRole::From | ParticipantRole::Sender | ParticipantRole::ReplyTo => {
                Zone::Sender
            }
            ParticipantRole::To | ParticipantRole::Cc | ParticipantRole::Bcc => Zone::Recipients,
        };
        if let Some(name) = &address.name {
            add(&mut document, zone, name);
        }
        add(&mut document, zone, &address.address);
    }
    for name in rows.files.get(&email.id).into_iter().flatten() {
        add(&mut document, Zone::Text, name);
    }
    add(&mut document, Zone::Text, text);
    Indexed {
        subject: Subject::Email(email.id),
        kind: "EMAIL",
        at: email.received_at,
        raw_hash: email.raw_hash.to_vec(),
        document,
    }
}

fn item_document(item: &Item, rows: &Rows) -> Indexed {
    let mut document = Document::new(item.kind.as_text());
    let called = [Some(&item.title), item.name.as_ref(), item.company.as_ref()];
    for text in called.into_iter().flatten() {
        add(&mut document, Zone::Title, text);
    }
    for address in rows.addresses.get(&item.id).into_iter().flatten() {
        add(&mut document, Zone::Sender, address);
    }
    for note in rows.notes.get(&item.id).into_iter().flatten() {
        add(&mut document, Zone::Text, note);
    }
    Indexed {
        subject: Subject::Item(item.id),
        kind: item.kind.as_text(),
        at: item.created_at,
        raw_hash: Vec::new(),
        document,
    }
}
