//! What there is of a person outside, by their addresses: mails, drafts and items, for erasing them (R47).
//! Not for: what mail is routed by (that is `clients`), or erasing (that is `erasure`).

use super::dialect::{contains, for_update};
use super::sql::{BOUND_MAX, Sql, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::draft::{DraftContent, SendingState};
use crate::model::item::ItemKind;
use crate::model::{DraftId, EmailId, ItemId};
use crate::rules::sending::ON_ITS_WAY;
use std::collections::{BTreeMap, BTreeSet};

/// Those of these addresses that are of an active user, a mailbox or one of its aliases, whether it is connected or not.
///
/// # Errors
/// What the database says.
pub fn ours_among(conn: &mut AnyConn, keys: &[String]) -> Result<Vec<String>, StoreError> {
    addresses_among(
        conn,
        keys,
        "SELECT address_key FROM users WHERE is_active AND address_key IN (",
    )
}

/// The same, users who have left among them: nobody of them is outside.
///
/// # Errors
/// What the database says.
pub fn ever_ours_among(conn: &mut AnyConn, keys: &[String]) -> Result<Vec<String>, StoreError> {
    addresses_among(
        conn,
        keys,
        "SELECT address_key FROM users WHERE address_key IN (",
    )
}

fn addresses_among(
    conn: &mut AnyConn,
    keys: &[String],
    users: &'static str,
) -> Result<Vec<String>, StoreError> {
    let all = |front: &'static str| sql(front).any_of(keys.iter().map(String::as_str)).push(")");
    all(users)
        .then(all(
            " UNION SELECT address_key FROM mailboxes WHERE address_key IN (",
        ))
        .then(all(
            " UNION SELECT address_key FROM mailbox_aliases WHERE address_key IN (",
        ))
        .rows(conn)
}

/// A lead or contact that has one of a person's addresses, and how many addresses it has beside those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonsItem {
    pub id: ItemId,
    pub kind: ItemKind,
    pub other_addresses: i64,
}

/// The leads and contacts that have one of these addresses, by id.
///
/// # Errors
/// What the database says; `Corrupt` for an item of no kind.
pub fn items(conn: &mut AnyConn, keys: &[String]) -> Result<Vec<PersonsItem>, StoreError> {
    let all = || keys.iter().map(String::as_str);
    let rows: Vec<(i64, String, i64)> = sql(
        "SELECT i.id, i.kind, (SELECT COUNT(*) FROM item_addresses o WHERE o.item_id = i.id AND o.address_key NOT IN (",
    )
    .any_of(all())
    .push(")) FROM items i WHERE i.id IN (SELECT a.item_id FROM item_addresses a WHERE a.address_key IN (")
    .any_of(all())
    .push(")) ORDER BY i.id")
    .rows(conn)?;
    rows.into_iter()
        .map(|(id, kind, other_addresses)| {
            Ok(PersonsItem {
                id: ItemId(id),
                kind: ItemKind::from_text(&kind).ok_or(StoreError::Corrupt {
                    table: "items",
                    column: "kind",
                    row: id,
                })?,
                other_addresses,
            })
        })
        .collect()
}

/// Which of the mails that name a person are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mails {
    /// Those in which nobody else outside stands, whoever wrote them.
    Own,
    /// Those in which others outside stand as well: they are other people's mail too.
    Shared,
}

fn own(keys: &[String]) -> Sql {
    sql("NOT EXISTS (SELECT 1 FROM participants o WHERE o.email_id = e.id AND (o.address_key IS NULL OR o.address_key NOT IN (")
        .any_of(keys.iter().map(String::as_str))
        .push(
            ") AND NOT EXISTS (SELECT 1 FROM users u WHERE u.address_key = o.address_key) \
             AND NOT EXISTS (SELECT 1 FROM mailboxes m WHERE m.address_key = o.address_key) \
             AND NOT EXISTS (SELECT 1 FROM mailbox_aliases s WHERE s.address_key = o.address_key)))",
        )
}

fn mails(columns: &'static str, keys: &[String], which: Mails) -> Sql {
    let query = sql(columns)
        .push(" FROM emails e WHERE e.id IN (SELECT n.email_id FROM participants n WHERE n.address_key IN (")
        .any_of(keys.iter().map(String::as_str))
        .push(")) AND ");
    let not = if which == Mails::Own { "(" } else { "NOT (" };
    query.push(not).then(own(keys)).push(")")
}

/// The mails of a person, the oldest first, at most so many.
///
/// # Errors
/// What the database says.
pub fn emails(
    conn: &mut AnyConn,
    keys: &[String],
    which: Mails,
    limit: i64,
) -> Result<Vec<EmailId>, StoreError> {
    let ids: Vec<i64> = mails("SELECT e.id", keys, which)
        .push(" ORDER BY e.id LIMIT ")
        .bind(limit)
        .rows(conn)?;
    Ok(ids.into_iter().map(EmailId).collect())
}

/// How many such mails there are.
///
/// # Errors
/// What the database says.
pub fn count(conn: &mut AnyConn, keys: &[String], which: Mails) -> Result<i64, StoreError> {
    let found: Option<i64> = mails("SELECT COUNT(*)", keys, which).one(conn)?;
    Ok(found.unwrap_or(0))
}

/// A draft that may be about a person, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonsDraft {
    pub id: DraftId,
    pub state: SendingState,
    /// Whether it is known to be theirs, whoever it is for.
    pub is_theirs: bool,
    /// Addresses as they are written.
    pub recipients: Vec<String>,
}

fn draft(
    (id, state, content): (i64, String, String),
    is_theirs: bool,
) -> Result<PersonsDraft, StoreError> {
    let corrupt = |column| StoreError::Corrupt {
        table: "drafts",
        column,
        row: id,
    };
    let state = SendingState::from_text(&state).ok_or_else(|| corrupt("state"))?;
    let content: DraftContent =
        serde_json::from_str(&content).map_err(|_error| corrupt("content"))?;
    let all = content.to.into_iter().chain(content.cc).chain(content.bcc);
    Ok(PersonsDraft {
        id: DraftId(id),
        state,
        is_theirs,
        recipients: all.map(|address| address.address).collect(),
    })
}

const DRAFT: &str = "SELECT d.id, d.state, d.content FROM drafts d WHERE ";

/// What these emails were written as, drafts that answer them or are meant for these items, and drafts in which something
/// like one of these addresses stands; by id. A draft that became another email is not among them: that email says it.
///
/// # Errors
/// What the database says; `Corrupt` for a draft that says nothing.
pub fn drafts(
    conn: &mut AnyConn,
    keys: &[String],
    emails: &[EmailId],
    items: &[ItemId],
) -> Result<Vec<PersonsDraft>, StoreError> {
    let mut found: BTreeMap<DraftId, PersonsDraft> = BTreeMap::new();
    let mut take = |rows: Vec<(i64, String, String)>, is_theirs: bool| {
        for row in rows {
            let one = draft(row, is_theirs)?;
            found.entry(one.id).or_insert(one);
        }
        Ok::<_, StoreError>(())
    };
    for part in emails.chunks(BOUND_MAX) {
        let all = |query: Sql| query.any_of(part.iter().map(|id| id.0)).push(")");
        let query = all(sql(DRAFT).push("d.email_id IN ("));
        let query = all(query.push(" OR d.email_id IS NULL AND d.original_id IN ("));
        take(query.rows(conn)?, true)?;
    }
    for part in items.chunks(BOUND_MAX) {
        let query = sql(DRAFT)
            .push("d.email_id IS NULL AND d.item_id IN (")
            .any_of(part.iter().map(|id| id.0))
            .push(")");
        take(query.rows(conn)?, true)?;
    }
    let local = |key: &String| {
        key.rsplit_once('@')
            .map(|(local, _domain)| local.to_owned())
    };
    let locals: BTreeSet<String> = keys.iter().filter_map(local).collect();
    for local in locals {
        let query = sql(DRAFT).push("d.email_id IS NULL");
        // Others are written in more ways than one: then all drafts are looked through.
        let is_plain = local
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        let query = if is_plain {
            query
                .push(" AND ")
                .then(contains(conn, "d.content", &local))
        } else {
            query
        };
        take(query.rows(conn)?, false)?;
    }
    Ok(found.into_values().collect())
}

/// Locks these drafts until the end of the transaction, behind the emails; those of them that are on their way.
///
/// # Errors
/// What the database says.
pub fn lock_drafts(tx: &mut Tx<'_>, ids: &[DraftId]) -> Result<usize, StoreError> {
    let mut on_their_way = 0_usize;
    for part in ids.chunks(BOUND_MAX) {
        let query = sql("SELECT state FROM drafts WHERE id IN (")
            .any_of(part.iter().map(|id| id.0))
            .push(") ORDER BY id");
        let states: Vec<String> = for_update(tx.conn, query).rows(tx.conn)?;
        let is_on_its_way =
            |state: &&String| ON_ITS_WAY.iter().any(|one| one.as_text() == state.as_str());
        on_their_way = on_their_way.saturating_add(states.iter().filter(is_on_its_way).count());
    }
    Ok(on_their_way)
}

/// Locks these emails and those of these items until the end of the transaction, all in one order.
///
/// # Errors
/// What the database says.
pub fn lock_emails(tx: &mut Tx<'_>, emails: &[EmailId], of: &[ItemId]) -> Result<(), StoreError> {
    let query = sql("SELECT id FROM emails WHERE id IN (")
        .any_of(emails.iter().map(|id| id.0))
        .push(") OR id IN (SELECT email_id FROM email_links WHERE item_id IN (")
        .any_of(of.iter().map(|id| id.0))
        .push(")) ORDER BY id");
    for_update(tx.conn, query).rows::<i64>(tx.conn)?;
    Ok(())
}

/// The bytes of these mails, and the files that hang on them.
///
/// # Errors
/// What the database says.
pub fn sizes(conn: &mut AnyConn, ids: &[EmailId]) -> Result<(i64, i64), StoreError> {
    let all = |front: &'static str| sql(front).any_of(ids.iter().map(|id| id.0)).push(")");
    let bytes: Option<i64> = all(
        "SELECT CAST(COALESCE(SUM(r.byte_length), 0) AS BIGINT) FROM emails e JOIN raw_mails r ON r.hash = e.raw_hash WHERE e.id IN (",
    )
    .one(conn)?;
    let files: Option<i64> =
        all("SELECT COUNT(*) FROM attachments WHERE NOT is_inline AND email_id IN (").one(conn)?;
    Ok((bytes.unwrap_or(0), files.unwrap_or(0)))
}

/// Forgets what is counted and reported under these addresses.
///
/// # Errors
/// What the database says.
pub fn forget_counts(tx: &mut Tx<'_>, keys: &[String]) -> Result<(), StoreError> {
    let all = |front: &'static str| sql(front).any_of(keys.iter().map(String::as_str)).push(")");
    all("DELETE FROM sender_counts WHERE address_key IN (").run(tx.conn)?;
    all("DELETE FROM bounce_reports WHERE recipient_key IN (").run(tx.conn)?;
    Ok(())
}
