//! The ties between emails and items, and their history.

use super::sql::sql;
use super::{AnyConn, StoreError};
use crate::model::email::{EmailLink, LinkChange};
use crate::model::{EmailId, ItemId, LinkChangeId, Time, UserId};

/// All links of these emails, the primary ones first; which of them may be shown is the caller's question.
///
/// # Errors
/// What the database says.
pub fn of_emails(conn: &mut AnyConn, ids: &[EmailId]) -> Result<Vec<EmailLink>, StoreError> {
    let rows: Vec<(i64, i64, bool, i64, Option<i64>)> = sql(
        "SELECT email_id, item_id, is_primary, linked_at, linked_by FROM email_links WHERE email_id IN (",
    )
    .list(ids.iter().map(|id| id.0))
    .push(") ORDER BY email_id, is_primary DESC, linked_at, item_id")
    .rows(conn)?;
    let link = |(email, item, is_primary, at, by): (i64, i64, bool, i64, Option<i64>)| EmailLink {
        email_id: EmailId(email),
        item_id: ItemId(item),
        is_primary,
        linked_at: Time::from_micros(at),
        linked_by: by.map(UserId),
    };
    Ok(rows.into_iter().map(link).collect())
}

type ChangeRow = (i64, i64, i64, Option<i64>, Option<i64>, Option<i64>);

const CHANGE_COLUMNS: &str =
    "SELECT id, email_id, at, by_user_id, from_item_id, to_item_id FROM link_changes";

fn link_change(row: ChangeRow) -> LinkChange {
    let (id, email, at, by, from, to) = row;
    LinkChange {
        id: LinkChangeId(id),
        email_id: EmailId(email),
        at: Time::from_micros(at),
        by: by.map(UserId),
        from_item_id: from.map(ItemId),
        to_item_id: to.map(ItemId),
    }
}

/// The history of an email's links, oldest first.
///
/// # Errors
/// What the database says.
pub fn changes(conn: &mut AnyConn, id: EmailId) -> Result<Vec<LinkChange>, StoreError> {
    changes_of(conn, &[id])
}

/// One line of a history.
///
/// # Errors
/// What the database says.
pub fn change(conn: &mut AnyConn, id: LinkChangeId) -> Result<Option<LinkChange>, StoreError> {
    let row: Option<ChangeRow> = sql(CHANGE_COLUMNS)
        .push(" WHERE id = ")
        .bind(id.0)
        .one(conn)?;
    Ok(row.map(link_change))
}

/// The emails that hang on an item, newest first, at most `limit`.
///
/// # Errors
/// What the database says.
pub fn emails_of_item(
    conn: &mut AnyConn,
    item: ItemId,
    limit: i64,
) -> Result<Vec<EmailId>, StoreError> {
    let ids: Vec<i64> = sql("SELECT email_id FROM email_links WHERE item_id = ")
        .bind(item.0)
        .push(" ORDER BY received_at DESC, email_id DESC LIMIT ")
        .bind(limit)
        .rows(conn)?;
    Ok(ids.into_iter().map(EmailId).collect())
}

/// The histories of these emails' links, oldest first.
///
/// # Errors
/// What the database says.
pub fn changes_of(conn: &mut AnyConn, ids: &[EmailId]) -> Result<Vec<LinkChange>, StoreError> {
    let rows: Vec<ChangeRow> = sql(CHANGE_COLUMNS)
        .push(" WHERE email_id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(") ORDER BY at, id")
        .rows(conn)?;
    Ok(rows.into_iter().map(link_change).collect())
}

/// Whether a line of a history took the primary link away.
///
/// # Errors
/// What the database says.
pub fn was_primary(conn: &mut AnyConn, id: LinkChangeId) -> Result<bool, StoreError> {
    let was: Option<bool> = sql("SELECT was_primary FROM link_changes WHERE id = ")
        .bind(id.0)
        .one(conn)?;
    Ok(was.unwrap_or(false))
}

/// Whether a line of a history can't be taken back: an item of it is gone, or was merged.
///
/// # Errors
/// What the database says.
pub fn is_void(conn: &mut AnyConn, id: LinkChangeId) -> Result<bool, StoreError> {
    let void: Option<bool> = sql("SELECT is_void FROM link_changes WHERE id = ")
        .bind(id.0)
        .one(conn)?;
    Ok(void.unwrap_or(false))
}

/// Whether people have had a hand in where an email is: saved, linked, moved or removed it.
///
/// # Errors
/// What the database says.
pub fn is_by_people(conn: &mut AnyConn, email: EmailId) -> Result<bool, StoreError> {
    let found: Option<i64> =
        sql("SELECT found FROM (SELECT id AS found FROM link_changes WHERE by_user_id IS NOT NULL AND email_id = ")
            .bind(email.0)
            .push(" UNION ALL SELECT item_id FROM email_links WHERE linked_by IS NOT NULL AND email_id = ")
            .bind(email.0)
            .push(") AS by_people LIMIT 1")
            .one(conn)?;
    Ok(found.is_some())
}

/// Those of these items that no other email hangs on.
///
/// # Errors
/// What the database says.
pub fn with_no_other_email(
    conn: &mut AnyConn,
    email: EmailId,
    ids: &[ItemId],
) -> Result<Vec<ItemId>, StoreError> {
    let shared: Vec<i64> = sql("SELECT DISTINCT item_id FROM email_links WHERE email_id <> ")
        .bind(email.0)
        .push(" AND item_id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    let alone = ids.iter().filter(|id| !shared.contains(&id.0));
    Ok(alone.copied().collect())
}
