//! Mail that people write, and its way out. What is written about a mail that is being sent is written under the attempt
//! that it belongs to: what an earlier attempt learns later changes nothing.
//! Not for: deciding what becomes of it (that is `rules::sending`).

use super::dialect::{
    clock_micros, for_key_share, for_key_share_of, for_update, for_update_skipping,
};
use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::word;
use super::sql::{Sql, insert_row, sql, update_row};
use super::{AnyConn, StoreError, Tx, scope};
use crate::model::draft::{
    Draft, DraftAttachment, DraftContent, DraftKind, SendingFailure, SendingState,
};
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::model::topic::Topic;
use crate::model::{
    DraftAttachmentId, DraftId, EmailId, ItemId, MailboxId, MessageId, ThreadId, Time, UserId,
};
use crate::rules::access::DraftScope;
use serde::Serialize;
use serde::de::DeserializeOwned;

type DraftRow = (
    i64,
    i64,
    i64,
    String,
    Option<i64>,
    Option<i64>,
    String,
    String,
    Option<i64>,
    i64,
    Option<String>,
    String,
    Option<i64>,
    Option<i64>,
    i64,
    i64,
    i64,
);

const COLUMNS: &str = "SELECT d.id, d.author_id, d.mailbox_id, d.kind, d.original_id, d.item_id, d.content, d.state, d.due_at, \
     d.tries, d.message_id_header, d.failures, d.email_id, d.sent_at, d.created_at, d.updated_at, d.version FROM drafts d";

fn draft(row: DraftRow) -> Result<Draft, StoreError> {
    #[rustfmt::skip]
    let (id, author, mailbox, kind, original, item, content, state, due_at, tries, header, failures, email, sent_at, created_at, updated_at, version) = row;
    Ok(Draft {
        id: DraftId(id),
        author_id: UserId(author),
        mailbox_id: MailboxId(mailbox),
        kind: word(DraftKind::from_text, &kind, "drafts", "kind", id)?,
        original_id: original.map(EmailId),
        item_id: item.map(ItemId),
        content: json(&content, "content", id)?,
        state: word(SendingState::from_text, &state, "drafts", "state", id)?,
        due_at: due_at.map(Time::from_micros),
        tries,
        message_id_header: header,
        failures: json(&failures, "failures", id)?,
        email_id: email.map(EmailId),
        sent_at: sent_at.map(Time::from_micros),
        created_at: Time::from_micros(created_at),
        updated_at: Time::from_micros(updated_at),
        version,
    })
}

fn json<T: DeserializeOwned>(text: &str, column: &'static str, row: i64) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_error| StoreError::Corrupt {
        table: "drafts",
        column,
        row,
    })
}

fn text<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Database(error.to_string()))
}

/// One draft, whoever asks: for actions and workers.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: DraftId) -> Result<Option<Draft>, StoreError> {
    let row: Option<DraftRow> = sql(COLUMNS).push(" WHERE d.id = ").bind(id.0).one(conn)?;
    row.map(draft).transpose()
}

fn within(select: &'static str, scope: &DraftScope) -> Sql {
    sql(select)
        .push(" WHERE d.author_id = ")
        .bind(scope.author_id().0)
        .push(" AND d.mailbox_id IN (")
        .then(scope::mailbox_ids(scope.mailboxes()))
        .push(")")
}

/// Those of these drafts that are in the scope, in no order.
///
/// # Errors
/// What the database says.
pub fn visible(
    conn: &mut AnyConn,
    scope: &DraftScope,
    ids: &[DraftId],
) -> Result<Vec<Draft>, StoreError> {
    let rows: Vec<DraftRow> = within(COLUMNS, scope)
        .push(" AND d.id IN (")
        .any_of(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    rows.into_iter().map(draft).collect()
}

fn filtered(select: &'static str, scope: &DraftScope, states: &[SendingState]) -> Sql {
    let query = within(select, scope);
    if states.is_empty() {
        return query;
    }
    query
        .push(" AND d.state IN (")
        .list(states.iter().map(|state| state.as_text()))
        .push(")")
}

const ORDER: Order = Order {
    columns: &["d.updated_at", "d.id"],
    descending: true,
};

/// A page of what somebody writes, what was changed last first. No states: all of them.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    scope: &DraftScope,
    states: &[SendingState],
    page: &PageRequest,
) -> Result<Page<Draft>, StoreError> {
    let rows: Vec<DraftRow> = page
        .finish(filtered(COLUMNS, scope, states), ORDER)
        .rows(conn)?;
    let rows = rows
        .into_iter()
        .map(|row| {
            let found = draft(row)?;
            let key = vec![
                KeyPart::Number(found.updated_at.micros()),
                KeyPart::Number(found.id.0),
            ];
            Ok((key, found))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(page.page(rows))
}

/// How many such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    scope: &DraftScope,
    states: &[SendingState],
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let select = "SELECT d.id FROM drafts d";
    count_up_to(conn, filtered(select, scope, states), limit)
}

/// Locks a draft until the end of the transaction; its mailbox and item are kept before it, as the order of locks wants.
///
/// # Errors
/// What the database says.
pub fn lock(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    share_mailbox_of(tx, id)?;
    share_items(tx, sql("d.id = ").bind(id.0))?;
    let query = sql("SELECT id FROM drafts WHERE id = ").bind(id.0);
    let _locked: Option<i64> = for_update(tx.conn, query).one(tx.conn)?;
    Ok(())
}

/// Keeps the mailbox of a draft as [`share_mailbox`] does: for whoever locks an item before the draft.
///
/// # Errors
/// What the database says.
pub fn share_mailbox_of(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    let query =
        sql("SELECT m.id FROM mailboxes m JOIN drafts d ON d.mailbox_id = m.id WHERE d.id = ")
            .bind(id.0);
    let _shared: Option<i64> = for_key_share_of(tx.conn, query, "m").one(tx.conn)?;
    Ok(())
}

/// Keeps the items of these drafts from being deleted or locked, until the end of the transaction.
fn share_items(tx: &mut Tx<'_>, of: Sql) -> Result<(), StoreError> {
    let query = sql("SELECT i.id FROM items i JOIN drafts d ON d.item_id = i.id WHERE ")
        .then(of)
        .push(" ORDER BY i.id");
    let _shared: Vec<i64> = for_key_share_of(tx.conn, query, "i").rows(tx.conn)?;
    Ok(())
}

/// A draft to keep.
#[derive(Debug, Clone)]
pub struct NewDraft {
    pub author_id: UserId,
    pub mailbox_id: MailboxId,
    pub kind: DraftKind,
    pub original_id: Option<EmailId>,
    pub item_id: Option<ItemId>,
    pub content: DraftContent,
}

/// Keeps a mailbox from being locked, as a queue is, until the end of the transaction: whoever writes for it and locks an
/// item does so first, as the order of locks wants.
///
/// # Errors
/// What the database says.
pub fn share_mailbox(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), StoreError> {
    let query = sql("SELECT id FROM mailboxes WHERE id = ").bind(id.0);
    let _shared: Option<i64> = for_key_share(tx.conn, query).one(tx.conn)?;
    Ok(())
}

/// Keeps a new draft.
///
/// # Errors
/// What the database says.
pub fn insert(tx: &mut Tx<'_>, new: &NewDraft) -> Result<DraftId, StoreError> {
    let id = tx.id()?;
    let now = tx.now.micros();
    insert_row(
        "drafts",
        vec![
            ("id", id.into()),
            ("author_id", new.author_id.0.into()),
            ("mailbox_id", new.mailbox_id.0.into()),
            ("kind", new.kind.as_text().into()),
            ("original_id", new.original_id.map(|id| id.0).into()),
            ("item_id", new.item_id.map(|id| id.0).into()),
            ("content", text(&new.content)?.into()),
            ("state", SendingState::Draft.as_text().into()),
            ("tries", 0_i64.into()),
            ("attempt", 0_i64.into()),
            ("is_handed_over", false.into()),
            ("failures", "[]".into()),
            ("is_append_wanted", false.into()),
            ("append_tries", 0_i64.into()),
            ("created_at", now.into()),
            ("updated_at", now.into()),
            ("version", 1_i64.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(DraftId(id))
}

/// Writes what a draft says; it is a draft again, whatever became of it before.
///
/// # Errors
/// What the database says.
pub fn update_content(
    tx: &mut Tx<'_>,
    id: DraftId,
    item: Option<ItemId>,
    content: &DraftContent,
) -> Result<(), StoreError> {
    let now = tx.now.micros();
    update_row(
        "drafts",
        id.0,
        vec![
            ("item_id", item.map(|id| id.0).into()),
            ("content", text(content)?.into()),
            ("state", SendingState::Draft.as_text().into()),
            ("failures", "[]".into()),
            ("due_at", None::<i64>.into()),
            ("updated_at", now.into()),
        ],
    )
    .run(tx.conn)?;
    raise_version(tx, id)
}

fn raise_version(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    sql("UPDATE drafts SET version = version + 1 WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Notes that something about a draft changed.
///
/// # Errors
/// What the database says.
pub fn touch(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    sql("UPDATE drafts SET updated_at = ")
        .bind(tx.now.micros())
        .push(" WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    raise_version(tx, id)
}

/// Deletes a draft with its files.
///
/// # Errors
/// What the database says.
pub fn delete(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    sql("DELETE FROM drafts WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

// ── files ──

type AttachmentRow = (i64, i64, String, String, i64, Option<Vec<u8>>);

const ATTACHMENT_COLUMNS: &str =
    "SELECT id, draft_id, name, media_type, size_bytes, raw_hash FROM draft_attachments";

fn attachment(row: AttachmentRow) -> DraftAttachment {
    let (id, draft, name, media_type, size_bytes, raw_hash) = row;
    DraftAttachment {
        id: DraftAttachmentId(id),
        draft_id: DraftId(draft),
        name,
        media_type,
        size_bytes,
        raw_hash,
    }
}

/// The files of drafts, in the order in which they were added.
///
/// # Errors
/// What the database says.
pub fn attachments(
    conn: &mut AnyConn,
    ids: &[DraftId],
) -> Result<Vec<DraftAttachment>, StoreError> {
    let rows: Vec<AttachmentRow> = sql(ATTACHMENT_COLUMNS)
        .push(" WHERE draft_id IN (")
        .any_of(ids.iter().map(|id| id.0))
        .push(") ORDER BY draft_id, id")
        .rows(conn)?;
    Ok(rows.into_iter().map(attachment).collect())
}

/// One file, whoever asks.
///
/// # Errors
/// What the database says.
pub fn attachment_by_id(
    conn: &mut AnyConn,
    id: DraftAttachmentId,
) -> Result<Option<DraftAttachment>, StoreError> {
    let row: Option<AttachmentRow> = sql(ATTACHMENT_COLUMNS)
        .push(" WHERE id = ")
        .bind(id.0)
        .one(conn)?;
    Ok(row.map(attachment))
}

/// Adds a file to a draft; `raw_hash` where its bytes are kept already.
///
/// # Errors
/// What the database says.
pub fn insert_attachment(
    tx: &mut Tx<'_>,
    draft: DraftId,
    (name, media_type): (&str, &str),
    size_bytes: i64,
    raw_hash: Option<Vec<u8>>,
) -> Result<DraftAttachmentId, StoreError> {
    let id = tx.id()?;
    insert_row(
        "draft_attachments",
        vec![
            ("id", id.into()),
            ("draft_id", draft.0.into()),
            ("name", name.into()),
            ("media_type", media_type.into()),
            ("size_bytes", size_bytes.into()),
            ("raw_hash", raw_hash.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(DraftAttachmentId(id))
}

/// Notes that a file's bytes are kept.
///
/// # Errors
/// What the database says.
pub fn update_uploaded(
    tx: &mut Tx<'_>,
    id: DraftAttachmentId,
    (hash, size_bytes): (&[u8], i64),
) -> Result<(), StoreError> {
    update_row(
        "draft_attachments",
        id.0,
        vec![
            ("raw_hash", Some(hash.to_vec()).into()),
            ("size_bytes", size_bytes.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Takes a file off its draft.
///
/// # Errors
/// What the database says.
pub fn delete_attachment(tx: &mut Tx<'_>, id: DraftAttachmentId) -> Result<(), StoreError> {
    sql("DELETE FROM draft_attachments WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

// ── on its way ──

/// A mail as it was made when it was queued.
#[derive(Debug, Clone)]
pub struct QueuedMail {
    pub message_id_header: String,
    pub content_key: Vec<u8>,
    pub raw_hash: Vec<u8>,
    pub due_at: Time,
}

/// Puts a draft on its way.
///
/// # Errors
/// What the database says.
pub fn queue(tx: &mut Tx<'_>, id: DraftId, mail: QueuedMail) -> Result<(), StoreError> {
    let now = tx.now.micros();
    update_row(
        "drafts",
        id.0,
        vec![
            ("state", SendingState::Queued.as_text().into()),
            ("due_at", Some(mail.due_at.micros()).into()),
            ("tries", 0_i64.into()),
            ("claimed_by", None::<String>.into()),
            ("is_handed_over", false.into()),
            ("message_id_header", Some(mail.message_id_header).into()),
            ("content_key", Some(mail.content_key).into()),
            ("raw_hash", Some(mail.raw_hash).into()),
            ("failures", "[]".into()),
            ("updated_at", now.into()),
        ],
    )
    .run(tx.conn)?;
    raise_version(tx, id)?;
    tx.wake(Topic::Sending);
    tell(tx, id, SendingState::Queued)
}

/// Says on the item's timeline where a mail stands.
fn tell(tx: &mut Tx<'_>, id: DraftId, state: SendingState) -> Result<(), StoreError> {
    let found: Option<(Option<i64>, i64)> =
        sql("SELECT item_id, author_id FROM drafts WHERE id = ")
            .bind(id.0)
            .one(tx.conn)?;
    if let Some((Some(item), author)) = found {
        let entry = NewTimelineEntry {
            item_id: ItemId(item),
            actor_id: Some(UserId(author)),
            told: Told::SendingChanged {
                draft_id: id,
                state,
            },
        };
        tx.tell(entry, None);
    }
    Ok(())
}

/// Takes a mail that waits back; whether it still waited.
///
/// # Errors
/// What the database says.
pub fn unqueue(tx: &mut Tx<'_>, id: DraftId) -> Result<bool, StoreError> {
    let taken: Option<i64> = sql(
        "UPDATE drafts SET state = 'DRAFT', due_at = NULL, message_id_header = NULL, \
         version = version + 1, updated_at = ",
    )
    .bind(tx.now.micros())
    .push(" WHERE state = 'QUEUED' AND id = ")
    .bind(id.0)
    .push(" RETURNING id")
    .one(tx.conn)?;
    if taken.is_some() {
        tell(tx, id, SendingState::Draft)?;
    }
    Ok(taken.is_some())
}

/// A mail that somebody sends, and which attempt it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub id: DraftId,
    pub mailbox_id: MailboxId,
    pub attempt: i64,
    /// How often it was tried, with this time.
    pub tries: i64,
    pub raw_hash: Vec<u8>,
}

/// The names of the leases under which mail is sent begin so.
pub const SENDER: &str = "sender:";

/// Claims mails that are due, of mailboxes that this process is not sending for already, and that did not send as many as
/// `per_minute` within the last minute.
///
/// # Errors
/// What the database says.
pub fn claim(
    tx: &mut Tx<'_>,
    holder: &str,
    busy: &[MailboxId],
    (limit, per_minute): (i64, i64),
) -> Result<Vec<Claimed>, StoreError> {
    let now = tx.now;
    let due = sql("SELECT d.id FROM drafts d WHERE d.state = 'QUEUED' AND d.due_at <= ")
        .bind(now.micros())
        .push(" AND d.mailbox_id NOT IN (")
        .list(busy.iter().map(|id| id.0).chain([0]))
        .push(") AND (SELECT COUNT(*) FROM drafts r WHERE r.mailbox_id = d.mailbox_id AND r.handed_over_at > ")
        .bind(now.plus_seconds(-60).micros())
        .push(") < ")
        .bind(per_minute)
        .push(" ORDER BY d.due_at, d.id LIMIT ")
        .bind(limit);
    let due = for_update_skipping(tx.conn, due, "d");
    let rows: Vec<(i64, i64, i64, i64, Option<Vec<u8>>)> =
        sql("UPDATE drafts SET state = 'SENDING', attempt = attempt + 1, tries = tries + 1, is_handed_over = FALSE, \
             version = version + 1, claimed_by = ")
        .bind(holder)
        .push(" WHERE state = 'QUEUED' AND id IN (")
        .then(due)
        .push(") RETURNING id, mailbox_id, attempt, tries, raw_hash")
        .rows(tx.conn)?;
    let mut claimed: Vec<Claimed> = rows
        .into_iter()
        .map(|(id, mailbox, attempt, tries, raw_hash)| Claimed {
            id: DraftId(id),
            mailbox_id: MailboxId(mailbox),
            attempt,
            tries,
            raw_hash: raw_hash.unwrap_or_default(),
        })
        .collect();
    claimed.sort_by_key(|mail| mail.id);
    Ok(claimed)
}

fn of_attempt(statement: Sql, mail: &Claimed) -> Sql {
    statement
        .push(" WHERE id = ")
        .bind(mail.id.0)
        .push(" AND attempt = ")
        .bind(mail.attempt)
}

/// Notes that from here on a mail may have gone out; whether the attempt still holds it.
///
/// # Errors
/// What the database says.
pub fn hand_over(tx: &mut Tx<'_>, mail: &Claimed) -> Result<bool, StoreError> {
    let statement =
        sql("UPDATE drafts SET is_handed_over = TRUE, handed_over_at = ").bind(tx.now.micros());
    let held: Option<i64> = of_attempt(statement, mail)
        .push(" AND state = 'SENDING' RETURNING id")
        .one(tx.conn)?;
    Ok(held.is_some())
}

/// What became of an attempt that did not end with a mail that went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Again(Time, Vec<SendingFailure>),
    Failed(Vec<SendingFailure>),
    Unknown,
}

/// Writes what became of an attempt, unless the mail was seen to have gone out, or another attempt has it now.
///
/// # Errors
/// What the database says.
pub fn update_ended(tx: &mut Tx<'_>, mail: &Claimed, ended: &Ended) -> Result<(), StoreError> {
    share_mailbox_of(tx, mail.id)?;
    share_items(tx, sql("d.id = ").bind(mail.id.0))?;
    let (state, due_at, failures) = match ended {
        Ended::Again(at, why) => (SendingState::Queued, Some(at.micros()), text(why)?),
        Ended::Failed(why) => (SendingState::Failed, None, text(why)?),
        Ended::Unknown => (SendingState::Unknown, None, "[]".to_owned()),
    };
    let statement = sql("UPDATE drafts SET claimed_by = NULL, is_handed_over = FALSE, version = version + 1, state = ")
        .bind(state.as_text())
        .push(", due_at = ")
        .bind(due_at)
        .push(", failures = ")
        .bind(failures)
        .push(", updated_at = ")
        .bind(tx.now.micros());
    // Who was taken for dead may know better afterwards that it did not go out.
    let from = match ended {
        Ended::Unknown => " AND state = 'SENDING' RETURNING id",
        Ended::Again(..) | Ended::Failed(_) => " AND state IN ('SENDING', 'UNKNOWN') RETURNING id",
    };
    let written: Option<i64> = of_attempt(statement, mail).push(from).one(tx.conn)?;
    if written.is_some() && state != SendingState::Queued {
        tell(tx, mail.id, state)?;
    }
    Ok(())
}

/// The condition that whoever claimed a draft holds its lease no more.
fn is_lost(tx: &Tx<'_>, alias: &'static str) -> Sql {
    sql("NOT EXISTS (SELECT 1 FROM leases l WHERE l.name = '")
        .push(SENDER)
        .push("' || ")
        .push(alias)
        .push(".claimed_by AND l.expires_at > ")
        .then(clock_micros(tx.conn, tx.now))
        .push(")")
}

/// Takes mails back from senders that ended: what was not handed over is tried again, of the rest nobody knows.
///
/// # Errors
/// What the database says.
pub fn recover(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    share_items(tx, sql("d.state = 'SENDING' AND ").then(is_lost(tx, "d")))?;
    let rows: Vec<(i64, bool)> = sql(
        "UPDATE drafts SET claimed_by = NULL, version = version + 1, \
         state = CASE WHEN is_handed_over THEN 'UNKNOWN' ELSE 'QUEUED' END, updated_at = ",
    )
    .bind(tx.now.micros())
    .push(" WHERE state = 'SENDING' AND ")
    .then(is_lost(tx, "drafts"))
    .push(" RETURNING id, is_handed_over")
    .rows(tx.conn)?;
    for (id, is_unknown) in &rows {
        if *is_unknown {
            tell(tx, DraftId(*id), SendingState::Unknown)?;
        }
    }
    Ok(rows.len())
}

/// When the next mail is due, of those that wait.
///
/// # Errors
/// What the database says.
pub fn next_due(conn: &mut AnyConn) -> Result<Option<Time>, StoreError> {
    let due: Option<Option<i64>> =
        sql("SELECT MIN(due_at) FROM drafts WHERE state = 'QUEUED'").one(conn)?;
    Ok(due.flatten().map(Time::from_micros))
}

/// A mail of ours as it comes back.
#[derive(Debug, Clone)]
pub struct OwnMail {
    pub id: DraftId,
    pub author_id: UserId,
    pub item_id: Option<ItemId>,
    pub content_key: Vec<u8>,
    /// What it is stored as already.
    pub stored: Option<(MessageId, ThreadId)>,
    pub is_sent: bool,
}

/// The mails of this mailbox that we gave these Message-IDs, with them.
///
/// # Errors
/// What the database says.
pub fn find_own(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    headers: &[&str],
) -> Result<Vec<(String, OwnMail)>, StoreError> {
    type Row = (
        String,
        i64,
        i64,
        Option<i64>,
        Option<Vec<u8>>,
        String,
        Option<i64>,
        Option<i64>,
    );
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = sql("SELECT d.message_id_header, d.id, d.author_id, d.item_id, d.content_key, d.state, e.message_id, \
         g.thread_id FROM drafts d LEFT JOIN emails e ON e.id = d.email_id LEFT JOIN messages g ON g.id = e.message_id \
         WHERE d.mailbox_id = ")
    .bind(mailbox.0)
    .push(" AND d.message_id_header IN (")
    .any_of(headers.iter().copied())
    .push(")")
    .rows(conn)?;
    Ok(rows
        .into_iter()
        .map(
            |(header, id, author, item, content_key, state, message, thread)| {
                let own = OwnMail {
                    id: DraftId(id),
                    author_id: UserId(author),
                    item_id: item.map(ItemId),
                    content_key: content_key.unwrap_or_default(),
                    stored: message.map(MessageId).zip(thread.map(ThreadId)),
                    is_sent: state == SendingState::Sent.as_text(),
                };
                (header, own)
            },
        )
        .collect())
}

/// Notes that a mail went out, and as what it is stored: by whoever learns it first, the sender or the sync.
///
/// # Errors
/// What the database says.
pub fn update_sent(
    tx: &mut Tx<'_>,
    id: DraftId,
    email: Option<EmailId>,
    wants_copy: bool,
) -> Result<(), StoreError> {
    let now = tx.now.micros();
    sql("UPDATE drafts SET state = 'SENT', claimed_by = NULL, due_at = NULL, failures = '[]', version = version + 1, sent_at = ")
        .bind(now)
        .push(", updated_at = ")
        .bind(now)
        .push(", email_id = ")
        .bind(email.map(|id| id.0))
        .push(", is_append_wanted = ")
        .bind(wants_copy)
        .push(", append_at = ")
        .bind(now)
        .push(" WHERE state <> 'SENT' AND id = ")
        .bind(id.0)
        .run(tx.conn)?;
    if wants_copy {
        tx.wake(Topic::Sending);
    }
    Ok(())
}

/// A sent mail of which a copy is wanted in Sent.
#[derive(Debug, Clone)]
pub struct WantedCopy {
    pub id: DraftId,
    pub mailbox_id: MailboxId,
    pub tries: i64,
    pub message_id_header: String,
    pub raw_hash: Vec<u8>,
}

/// Takes a sent mail of which a copy is due; nobody else takes it for `seconds`.
///
/// # Errors
/// What the database says.
pub fn claim_copy(tx: &mut Tx<'_>, seconds: i64) -> Result<Option<WantedCopy>, StoreError> {
    let now = tx.now;
    let due = sql("SELECT d.id FROM drafts d WHERE d.is_append_wanted AND d.append_at <= ")
        .bind(now.micros())
        .push(" ORDER BY d.append_at, d.id LIMIT 1");
    let due = for_update_skipping(tx.conn, due, "d");
    let row: Option<(i64, i64, i64, Option<String>, Option<Vec<u8>>)> =
        sql("UPDATE drafts SET append_tries = append_tries + 1, append_at = ")
            .bind(now.plus_seconds(seconds).micros())
            .push(" WHERE is_append_wanted AND id IN (")
            .then(due)
            .push(") RETURNING id, mailbox_id, append_tries, message_id_header, raw_hash")
            .one(tx.conn)?;
    Ok(row.map(|(id, mailbox, tries, header, hash)| WantedCopy {
        id: DraftId(id),
        mailbox_id: MailboxId(mailbox),
        tries,
        message_id_header: header.unwrap_or_default(),
        raw_hash: hash.unwrap_or_default(),
    }))
}

/// Notes that no copy is wanted any more.
///
/// # Errors
/// What the database says.
pub fn end_copy(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    sql("UPDATE drafts SET is_append_wanted = FALSE WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}
