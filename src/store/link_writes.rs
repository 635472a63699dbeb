//! The ties between emails and items, where a whole item's emails change theirs at once.

use super::dialect::for_update;
use super::sql::{insert_all, sql};
use super::{StoreError, Tx};
use crate::model::{EmailId, ItemId, LinkChangeId, UserId};

/// A link of one item, as converting a lead needs it.
#[derive(Debug, Clone, Copy)]
pub struct LinkOfItem {
    pub email_id: EmailId,
    /// The email's, in microseconds: it stands in the link for the item's list.
    pub received_at: i64,
    /// Whether the item is the email's primary one.
    pub is_primary: bool,
}

/// How many links an item has, up to `limit` + 1.
///
/// # Errors
/// What the database says.
pub fn count_of_item(tx: &mut Tx<'_>, item: ItemId, limit: i64) -> Result<i64, StoreError> {
    let (counted, all) = crate::store::page::count_up_to(
        tx.conn,
        sql("SELECT email_id FROM email_links WHERE item_id = ").bind(item.0),
        limit,
    )?;
    Ok(if all { counted } else { limit + 1 })
}

/// Locks every email that hangs on one of these items until the end of the transaction, in the order of their ids, so that
/// two writers never wait for each other. Where emails of several items change, this goes before all else about them.
///
/// # Errors
/// What the database says.
pub fn lock_emails_of(tx: &mut Tx<'_>, items: &[ItemId]) -> Result<(), StoreError> {
    let emails = sql(
        "SELECT id FROM emails WHERE id IN (SELECT email_id FROM email_links WHERE item_id IN (",
    )
    .list(items.iter().map(|id| id.0))
    .push(")) ORDER BY id");
    for_update(tx.conn, emails).rows::<i64>(tx.conn)?;
    Ok(())
}

/// The links of an item, oldest mail first; their emails are locked until the end of the transaction.
///
/// # Errors
/// What the database says.
pub fn lock_of_item(tx: &mut Tx<'_>, item: ItemId) -> Result<Vec<LinkOfItem>, StoreError> {
    let emails =
        sql("SELECT id FROM emails WHERE id IN (SELECT email_id FROM email_links WHERE item_id = ")
            .bind(item.0)
            .push(") ORDER BY id");
    for_update(tx.conn, emails).rows::<i64>(tx.conn)?;
    let rows: Vec<(i64, i64, bool)> =
        sql("SELECT email_id, received_at, is_primary FROM email_links WHERE item_id = ")
            .bind(item.0)
            .push(" ORDER BY received_at, email_id")
            .rows(tx.conn)?;
    let link = |(email, received_at, is_primary)| LinkOfItem {
        email_id: EmailId(email),
        received_at,
        is_primary,
    };
    Ok(rows.into_iter().map(link).collect())
}

/// The emails that hang on both items.
const ON_BOTH: &str = "email_id IN (SELECT email_id FROM email_links WHERE item_id = ";

/// Makes `to` the primary item of every email whose primary item is `from`; both links are there.
///
/// # Errors
/// What the database says.
pub fn move_primary(tx: &mut Tx<'_>, from: ItemId, to: ItemId) -> Result<(), StoreError> {
    // Off before on: an email has one primary link at any moment.
    sql("UPDATE email_links SET is_primary = FALSE WHERE is_primary AND item_id = ")
        .bind(from.0)
        .push(" AND ")
        .push(ON_BOTH)
        .bind(to.0)
        .push(")")
        .run(tx.conn)?;
    sql("UPDATE email_links SET is_primary = TRUE WHERE item_id = ")
        .bind(to.0)
        .push(" AND email_id IN (SELECT id FROM emails WHERE primary_item_id = ")
        .bind(from.0)
        .push(")")
        .run(tx.conn)?;
    sql("UPDATE emails SET version = version + 1, primary_item_id = ")
        .bind(to.0)
        .push(" WHERE primary_item_id = ")
        .bind(from.0)
        .push(" AND id IN (SELECT email_id FROM email_links WHERE item_id = ")
        .bind(to.0)
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// Ties these emails to an item, not as its primary one.
///
/// # Errors
/// `Conflict` where one is tied to it already.
pub fn insert_links(
    tx: &mut Tx<'_>,
    item: ItemId,
    links: &[LinkOfItem],
    by: UserId,
) -> Result<(), StoreError> {
    let now = tx.now.micros();
    let rows = links.iter().map(|link| {
        vec![
            link.email_id.0.into(),
            item.0.into(),
            false.into(),
            link.received_at.into(),
            now.into(),
            by.0.into(),
        ]
    });
    insert_all(
        tx.conn,
        "email_links (email_id, item_id, is_primary, received_at, linked_at, linked_by)",
        "",
        rows.collect(),
    )
}

/// Records in the emails' histories that they were tied to an item, which becomes primary where the item before was.
///
/// # Errors
/// What the database says.
pub fn insert_additions(
    tx: &mut Tx<'_>,
    item: ItemId,
    links: &[LinkOfItem],
    by: UserId,
) -> Result<Vec<LinkChangeId>, StoreError> {
    let now = tx.now.micros();
    let mut ids = Vec::with_capacity(links.len());
    let mut rows = Vec::with_capacity(links.len());
    for link in links {
        let id = tx.id()?;
        ids.push(LinkChangeId(id));
        rows.push(vec![
            id.into(),
            link.email_id.0.into(),
            now.into(),
            by.0.into(),
            None::<i64>.into(),
            item.0.into(),
            link.is_primary.into(),
        ]);
    }
    insert_all(
        tx.conn,
        "link_changes (id, email_id, at, by_user_id, from_item_id, to_item_id, was_primary)",
        "",
        rows,
    )?;
    Ok(ids)
}

/// Records in the emails' histories that they were taken off an item for good: no such line can be taken back.
///
/// # Errors
/// What the database says.
pub fn insert_removals(
    tx: &mut Tx<'_>,
    item: ItemId,
    links: &[LinkOfItem],
    by: UserId,
) -> Result<(), StoreError> {
    let now = tx.now.micros();
    let mut rows = Vec::with_capacity(links.len());
    for link in links {
        rows.push(vec![
            tx.id()?.into(),
            link.email_id.0.into(),
            now.into(),
            by.0.into(),
            item.0.into(),
            None::<i64>.into(),
            link.is_primary.into(),
        ]);
    }
    insert_all(
        tx.conn,
        "link_changes (id, email_id, at, by_user_id, from_item_id, to_item_id, was_primary)",
        "",
        rows,
    )
}

/// No change of links that names this item can be taken back any more; the histories name `instead` from now on, or
/// nothing.
///
/// # Errors
/// What the database says.
pub fn void_changes_of(
    tx: &mut Tx<'_>,
    item: ItemId,
    instead: Option<ItemId>,
) -> Result<(), StoreError> {
    for column in ["from_item_id", "to_item_id"] {
        // At once: where a row is written twice by one transaction, PostgreSQL looks at all that it names again, and
        // waits for whoever holds the change's other item.
        sql("UPDATE link_changes SET is_void = TRUE, ")
            .push(column)
            .push(" = ")
            .bind(instead.map(|id| id.0))
            .push(" WHERE ")
            .push(column)
            .push(" = ")
            .bind(item.0)
            .run(tx.conn)?;
    }
    Ok(())
}

/// Takes every email off an item.
///
/// # Errors
/// What the database says.
pub fn delete_links_of_item(tx: &mut Tx<'_>, item: ItemId) -> Result<(), StoreError> {
    sql("DELETE FROM email_links WHERE item_id = ")
        .bind(item.0)
        .run(tx.conn)?;
    Ok(())
}
