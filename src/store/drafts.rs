//! Mail that people write, and (in `sending`) its way out.
//! Not for: deciding what becomes of it (that is `rules::sending`).

mod files;
mod sending;

pub use files::{
    attachment_by_id, attachments, delete_attachment, insert_attachment, update_uploaded,
};
pub use sending::{
    ClaimLimits, Claimed, Ended, OwnMail, QueuedMail, SENDER, WantedCopy, claim, claim_copy,
    end_copy, find_own, hand_over, next_due, postpone_copy, queue, recover, unqueue, update_ended,
    update_sent, update_sent_unstored, update_stored,
};

use super::dialect::{for_key_share, for_key_share_of, for_update};
use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::word;
use super::sql::{Sql, insert_row, sql, update_row};
use super::{AnyConn, StoreError, Tx, scope};
use crate::model::draft::{Draft, DraftContent, DraftKind, SendingState};
use crate::model::{DraftId, EmailId, ItemId, MailboxId, Time, UserId};
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
    bool,
    Option<i64>,
    Option<i64>,
    i64,
    i64,
    i64,
);

const COLUMNS: &str = "SELECT d.id, d.author_id, d.mailbox_id, d.kind, d.original_id, d.item_id, d.content, d.state, d.due_at, \
     d.tries, d.message_id_header, d.failures, d.may_be_out, d.email_id, d.sent_at, d.created_at, d.updated_at, d.version FROM drafts d";

fn draft(row: DraftRow) -> Result<Draft, StoreError> {
    #[rustfmt::skip]
    let (id, author, mailbox, kind, original, item, content, state, due_at, tries, header, failures, may_be_out, email, sent_at, created_at, updated_at, version) = row;
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
        may_be_out,
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
            ("may_be_out", false.into()),
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

/// Drafts on an item are on this one now, whatever became of them: it stands in the other's stead.
///
/// # Errors
/// What the database says.
pub fn move_to_item(tx: &mut Tx<'_>, from: ItemId, to: ItemId) -> Result<(), StoreError> {
    sql("UPDATE drafts SET version = version + 1, item_id = ")
        .bind(to.0)
        .push(" WHERE item_id = ")
        .bind(from.0)
        .run(tx.conn)?;
    Ok(())
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
