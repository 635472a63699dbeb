//! What is to be indexed for searching, and what is: a queue that the database itself fills with every mail and item that
//! comes or changes, in the transaction that does it, and documents that are put in place of it.
//! Not for: what the words of a document are (that is `actions::index_search`), or searching (that is `search`).

use super::dialect::full_text::{self, Document};
use super::sql::{BOUND_MAX, Sql, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::{EmailId, ItemId, Time};
use std::collections::{HashMap, HashSet};

/// How texts become words and words an index. When that changes, so does this number, and all is indexed anew.
const VERSION: i64 = 3;

/// Something that waits to be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    seq: i64,
    pub subject: Subject,
    /// How often its bytes could not be had, or the index did not take it, while others could be indexed.
    pub tries: i64,
}

/// What is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Email(EmailId),
    Item(ItemId),
}

impl Subject {
    const fn id(self) -> i64 {
        match self {
            Self::Email(EmailId(id)) | Self::Item(ItemId(id)) => id,
        }
    }
}

/// A document of a mail or an item.
#[derive(Debug, Clone)]
pub struct Indexed {
    pub subject: Subject,
    /// What it is, as [`full_text::KINDS`] have it.
    pub kind: &'static str,
    /// When it came, or was made.
    pub at: Time,
    /// The bytes that a mail's words are of: with others in their place it is another document. Nothing for an item.
    pub raw_hash: Vec<u8>,
    pub document: Document,
}

/// Where the index was made by another version, all mails and items wait for it anew.
///
/// # Errors
/// What the database says.
pub fn begin_anew_if_old(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let turned = sql("UPDATE search_state SET version = ")
        .bind(VERSION)
        .push(" WHERE id = 1 AND version <> ")
        .bind(VERSION)
        .run(tx.conn)?;
    if turned == 0 {
        return Ok(());
    }
    // What is new is looked for first. What waits already is among it. All of it is numbered below what comes from now on.
    sql("DELETE FROM search_queue").run(tx.conn)?;
    for select in [
        "'ITEM' AS kind, id, 0 AS tries, ROW_NUMBER() OVER (ORDER BY created_at DESC, id DESC) AS place FROM items",
        "'EMAIL' AS kind, id, 0 AS tries, ROW_NUMBER() OVER (ORDER BY received_at DESC, id DESC) AS place FROM emails",
    ] {
        sql("INSERT INTO search_queue (kind, subject_id, tries, seq)")
            .push(full_text::numbered(tx.conn))
            .push(" SELECT a.kind, a.id, a.tries, COALESCE((SELECT MIN(seq) FROM search_queue WHERE seq < 0), 0) - a.place FROM (SELECT ")
            .push(select)
            .push(") a")
            .run(tx.conn)?;
    }
    Ok(())
}

/// Whether there is anything to index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    UpToDate,
    /// Something waits.
    Behind,
    /// More than so much waits.
    FarBehind,
    /// It was made by another version of the program.
    Old,
}

/// How the index stands; it is far behind where more than `many` wait.
///
/// # Errors
/// What the database says.
pub fn standing(conn: &mut AnyConn, many: usize) -> Result<Standing, StoreError> {
    let version: Option<i64> = sql("SELECT version FROM search_state WHERE id = 1").one(conn)?;
    if version != Some(VERSION) {
        return Ok(Standing::Old);
    }
    let limit = i64::try_from(many).unwrap_or(i64::MAX).saturating_add(1);
    let waiting: Option<i64> = sql("SELECT COUNT(*) FROM (SELECT seq FROM search_queue LIMIT ")
        .bind(limit)
        .push(") q")
        .one(conn)?;
    Ok(match waiting.unwrap_or(0) {
        0 => Standing::UpToDate,
        some if some < limit => Standing::Behind,
        _ => Standing::FarBehind,
    })
}

/// What has waited longest, at most so many; what is only indexed anew comes behind that, the newest first.
///
/// # Errors
/// What the database says.
pub fn waiting(conn: &mut AnyConn, limit: i64) -> Result<Vec<Waiting>, StoreError> {
    let select = "SELECT seq, kind, subject_id, tries FROM search_queue WHERE seq ";
    let mut rows: Vec<(i64, String, i64, i64)> = sql(select)
        .push(">= 0 ORDER BY seq LIMIT ")
        .bind(limit)
        .rows(conn)?;
    let room = limit.saturating_sub(i64::try_from(rows.len()).unwrap_or(limit));
    if room > 0 {
        let old: Vec<(i64, String, i64, i64)> = sql(select)
            .push("< 0 ORDER BY seq DESC LIMIT ")
            .bind(room)
            .rows(conn)?;
        rows.extend(old);
    }
    let waiting = |(seq, kind, id, tries): (i64, String, i64, i64)| Waiting {
        seq,
        subject: if kind == "EMAIL" {
            Subject::Email(EmailId(id))
        } else {
            Subject::Item(ItemId(id))
        },
        tries,
    };
    Ok(rows.into_iter().map(waiting).collect())
}

/// What was read of a batch.
#[derive(Debug, Default)]
pub struct Batch {
    pub waiting: Vec<Waiting>,
    pub indexed: Vec<Indexed>,
    /// Mails whose bytes could not be had this time.
    pub unread: Vec<Waiting>,
}

/// Puts the documents of a batch into the index, takes those out whose mails and items are gone, and settles what waited.
/// What is about to be deleted at this moment goes on waiting. What says something else by now waits anew already.
///
/// # Errors
/// What the database says; then nothing was settled.
pub fn save(tx: &mut Tx<'_>, batch: &Batch) -> Result<(), StoreError> {
    super::dialect::plan_by_keys(tx)?;
    let subjects: HashSet<Subject> = batch.waiting.iter().map(|one| one.subject).collect();
    let subjects: Vec<Subject> = subjects.into_iter().collect();
    let mut there: HashMap<Subject, Vec<u8>> = HashMap::new();
    let mut held: HashMap<Subject, Vec<u8>> = HashMap::new();
    for part in subjects.chunks(BOUND_MAX) {
        there.extend(existing(tx, part, Hold::No)?);
        held.extend(existing(tx, part, Hold::Yes)?);
    }
    let settled =
        |one: &&Waiting| !there.contains_key(&one.subject) || held.contains_key(&one.subject);
    let settled: Vec<&Waiting> = batch.waiting.iter().filter(settled).collect();
    let replaced: Vec<Subject> = settled.iter().map(|one| one.subject).collect();
    for part in replaced.chunks(BOUND_MAX) {
        let ids = documents(tx.conn, part)?;
        full_text::delete(tx, &ids)?;
    }
    let kept: Vec<&Indexed> = batch
        .indexed
        .iter()
        .filter(|indexed| held.get(&indexed.subject) == Some(&indexed.raw_hash))
        .collect();
    insert(tx, &kept)?;
    for one in &batch.unread {
        if there.contains_key(&one.subject) {
            sql("INSERT INTO search_queue (kind, subject_id, tries) VALUES ('EMAIL', ")
                .list([one.subject.id(), one.tries.saturating_add(1)])
                .push(")")
                .run(tx.conn)?;
        }
    }
    let seqs: Vec<i64> = settled.iter().map(|one| one.seq).collect();
    for part in seqs.chunks(BOUND_MAX) {
        sql("DELETE FROM search_queue WHERE seq IN (")
            .any_of(part.iter().copied())
            .push(")")
            .run(tx.conn)?;
    }
    Ok(())
}

/// What the index did not take waits behind all others.
///
/// # Errors
/// What the database says.
pub fn wait_again(tx: &mut Tx<'_>, one: &Waiting) -> Result<(), StoreError> {
    give_up(tx, one)?;
    let kind = match one.subject {
        Subject::Email(_) => "EMAIL",
        Subject::Item(_) => "ITEM",
    };
    sql("INSERT INTO search_queue (kind, subject_id, tries) VALUES (")
        .bind(kind)
        .push(", ")
        .list([one.subject.id(), one.tries.saturating_add(1)])
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// What the index can't take, ever, waits no more.
///
/// # Errors
/// What the database says.
pub fn give_up(tx: &mut Tx<'_>, one: &Waiting) -> Result<(), StoreError> {
    sql("DELETE FROM search_queue WHERE seq = ")
        .bind(one.seq)
        .run(tx.conn)?;
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    No,
    /// Until the transaction ends, and only what nobody is deleting.
    Yes,
}

/// Those of these that are there, with what a mail's bytes are known by.
fn existing(
    tx: &mut Tx<'_>,
    subjects: &[Subject],
    hold: Hold,
) -> Result<Vec<(Subject, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    let emails = subjects.iter().filter_map(|subject| match subject {
        Subject::Email(id) => Some(id.0),
        Subject::Item(_) => None,
    });
    let items = subjects.iter().filter_map(|subject| match subject {
        Subject::Item(id) => Some(id.0),
        Subject::Email(_) => None,
    });
    let held = |conn: &AnyConn, query: Sql| match hold {
        Hold::No => query,
        Hold::Yes => full_text::undeleted(conn, query),
    };
    let query = sql("SELECT id, raw_hash FROM emails WHERE id IN (")
        .any_of(emails)
        .push(") ORDER BY id");
    let rows: Vec<(i64, Vec<u8>)> = held(tx.conn, query).rows(tx.conn)?;
    let email = |(id, raw_hash)| (Subject::Email(EmailId(id)), raw_hash);
    found.extend(rows.into_iter().map(email));
    let query = sql("SELECT id FROM items WHERE id IN (")
        .any_of(items)
        .push(") ORDER BY id");
    let ids: Vec<i64> = held(tx.conn, query).rows(tx.conn)?;
    let item = |id| (Subject::Item(ItemId(id)), Vec::new());
    found.extend(ids.into_iter().map(item));
    Ok(found)
}

/// The documents that there are of these.
fn documents(conn: &mut AnyConn, subjects: &[Subject]) -> Result<Vec<i64>, StoreError> {
    let of = |is_email: bool| {
        let ids = subjects
            .iter()
            .filter(move |subject| matches!(subject, Subject::Email(_)) == is_email);
        ids.map(|subject| subject.id())
    };
    sql("SELECT id FROM search_docs WHERE (kind = 'EMAIL' AND subject_id IN (")
        .any_of(of(true))
        .push(")) OR (kind IN ('LEAD', 'DEAL', 'CONTACT') AND subject_id IN (")
        .any_of(of(false))
        .push("))")
        .rows(conn)
}

/// The lower bits of a document's id, which are those of what it is about.
const OWN_BITS: u32 = 31;

/// By how much the ids of two documents differ that are so many seconds apart.
pub const fn apart(seconds: i64) -> i64 {
    seconds.saturating_mul(1 << OWN_BITS)
}

/// The number from which on the documents of this second are numbered.
pub fn numbered_from(at: Time) -> i64 {
    at.seconds().clamp(0, (1 << 32) - 1) << OWN_BITS
}

/// Documents are numbered by their time, so that the index gives the newest first.
fn id_of(indexed: &Indexed) -> i64 {
    numbered_from(indexed.at) | (indexed.subject.id() & ((1 << OWN_BITS) - 1))
}

fn insert(tx: &mut Tx<'_>, all: &[&Indexed]) -> Result<(), StoreError> {
    let mut taken: HashSet<i64> = HashSet::new();
    let wanted: Vec<i64> = all.iter().map(|indexed| id_of(indexed)).collect();
    for part in wanted.chunks(BOUND_MAX) {
        taken.extend(ids_taken(tx, part)?);
    }
    let mut entries = Vec::with_capacity(all.len());
    for (indexed, mut id) in all.iter().zip(wanted) {
        // Two can have one number only where their ids are two thousand million apart: then the next is as good.
        while taken.contains(&id) {
            id = id.saturating_add(1);
            taken.extend(ids_taken(tx, &[id])?);
        }
        taken.insert(id);
        entries.push(full_text::Entry {
            id,
            kind: indexed.kind,
            subject: indexed.subject.id(),
            at_micros: indexed.at.micros(),
            document: &indexed.document,
        });
    }
    full_text::insert(tx, &entries)
}

fn ids_taken(tx: &mut Tx<'_>, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
    sql("SELECT id FROM search_docs WHERE id IN (")
        .any_of(ids.iter().copied())
        .push(")")
        .rows(tx.conn)
}
