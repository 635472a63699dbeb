//! What there is of a person outside, by their addresses: mails and items, for erasing them (R47).
//! Not for: what mail is routed by (that is `clients`), or erasing (that is `erasure`).

use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::item::ItemKind;
use crate::model::{EmailId, ItemId};

/// Those of these addresses that are of an active user, a connected mailbox or one of its aliases.
///
/// # Errors
/// What the database says.
pub fn ours_among(conn: &mut AnyConn, keys: &[String]) -> Result<Vec<String>, StoreError> {
    let all = |front: &'static str| sql(front).any_of(keys.iter().map(String::as_str)).push(")");
    all("SELECT address_key FROM users WHERE is_active AND address_key IN (")
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
    /// From them, and those whose only recipient outside they are.
    Own,
    /// Those beside: they are other people's mail as well.
    Shared,
}

fn has(roles: &'static str, keys: &[String]) -> Sql {
    sql("EXISTS (SELECT 1 FROM participants p WHERE p.email_id = e.id AND p.role IN (")
        .push(roles)
        .push(") AND p.address_key IN (")
        .any_of(keys.iter().map(String::as_str))
        .push("))")
}

fn own(keys: &[String]) -> Sql {
    has("'FROM', 'SENDER', 'REPLY_TO'", keys)
        .push(" OR NOT EXISTS (SELECT 1 FROM participants o WHERE o.email_id = e.id AND o.address_key NOT IN (")
        .any_of(keys.iter().map(String::as_str))
        .push(
            ") AND NOT EXISTS (SELECT 1 FROM users u WHERE u.address_key = o.address_key) \
             AND NOT EXISTS (SELECT 1 FROM mailboxes m WHERE m.address_key = o.address_key) \
             AND NOT EXISTS (SELECT 1 FROM mailbox_aliases s WHERE s.address_key = o.address_key))",
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
