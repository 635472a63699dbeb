//! Whose addresses these are, and what there is of a client already.

use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::decisions::Who;
use crate::model::item::Item;
use crate::model::{EmailId, ItemId, MailboxId, MessageId, Time};
use std::collections::{BTreeSet, HashMap};

/// Whose each of these canonical addresses is; those that are nobody's of ours are a client's.
///
/// # Errors
/// What the database says.
pub fn who(
    conn: &mut AnyConn,
    keys: &BTreeSet<String>,
) -> Result<HashMap<String, Who>, StoreError> {
    let list = || keys.iter().map(String::as_str);
    let mut found: HashMap<String, Who> =
        keys.iter().map(|key| (key.clone(), Who::Client)).collect();
    if keys.is_empty() {
        return Ok(found);
    }
    let mailboxes: Vec<String> = sql(
        "SELECT m.address_key FROM mailboxes m WHERE m.disconnected_at IS NULL AND m.address_key IN (",
    )
    .list(list())
    .push(
        ") UNION SELECT a.address_key FROM mailbox_aliases a JOIN mailboxes m ON m.id = a.mailbox_id \
         WHERE m.disconnected_at IS NULL AND a.address_key IN (",
    )
    .list(list())
    .push(")")
    .rows(conn)?;
    for key in mailboxes {
        found.insert(key, Who::ConnectedMailbox);
    }
    let users: Vec<String> =
        sql("SELECT address_key FROM users WHERE is_active AND address_key IN (")
            .list(list())
            .push(")")
            .rows(conn)?;
    for key in users {
        found.insert(key, Who::ActiveUser);
    }
    Ok(found)
}

/// The canonical addresses that are a mailbox's own: its address and its aliases.
///
/// # Errors
/// What the database says.
pub fn own_keys(conn: &mut AnyConn, mailbox: MailboxId) -> Result<Vec<String>, StoreError> {
    sql("SELECT address_key FROM mailboxes WHERE id = ")
        .bind(mailbox.0)
        .push(" UNION SELECT address_key FROM mailbox_aliases WHERE mailbox_id = ")
        .bind(mailbox.0)
        .rows(conn)
}

/// What there is of a client.
#[derive(Debug, Clone, Default)]
pub struct ClientItems {
    pub contacts: Vec<Item>,
    pub deals: Vec<Item>,
    pub leads: Vec<Item>,
    /// The first contact of each deal that is the client's.
    pub deal_contact: HashMap<ItemId, ItemId>,
}

/// Items of one client that are looked at, at most: more than any person has, and a bound for a shared address.
const CLIENT_ITEMS_MAX: i64 = 500;

/// The contacts and leads with this canonical address, and the deals of those contacts.
///
/// # Errors
/// What the database says.
pub fn items_of(conn: &mut AnyConn, key: &str) -> Result<ClientItems, StoreError> {
    let own: Vec<i64> = sql("SELECT item_id FROM item_addresses WHERE address_key = ")
        .bind(key)
        .push(" ORDER BY item_id LIMIT ")
        .bind(CLIENT_ITEMS_MAX)
        .rows(conn)?;
    if own.is_empty() {
        return Ok(ClientItems::default());
    }
    let ties: Vec<(i64, i64)> =
        sql("SELECT deal_id, contact_id FROM deal_contacts WHERE contact_id IN (")
            .list(own.iter().copied())
            .push(") ORDER BY deal_id DESC, position LIMIT ")
            .bind(CLIENT_ITEMS_MAX)
            .rows(conn)?;
    let mut deal_contact = HashMap::new();
    for (deal, contact) in &ties {
        deal_contact
            .entry(ItemId(*deal))
            .or_insert(ItemId(*contact));
    }
    let ids: Vec<ItemId> = own
        .iter()
        .chain(ties.iter().map(|(deal, _contact)| deal))
        .map(|id| ItemId(*id))
        .collect();
    let mut found = ClientItems {
        deal_contact,
        ..ClientItems::default()
    };
    for item in super::items::get_many(conn, &ids)? {
        use crate::model::item::ItemKind;
        match item.kind {
            ItemKind::Contact => found.contacts.push(item),
            ItemKind::Deal => found.deals.push(item),
            ItemKind::Lead => found.leads.push(item),
        }
    }
    for list in [&mut found.contacts, &mut found.deals, &mut found.leads] {
        list.sort_by_key(|item| (item.created_at, item.id));
    }
    Ok(found)
}

/// The items that saved copies of a message hang on, primary ones first.
///
/// # Errors
/// What the database says.
pub fn items_of_message(
    conn: &mut AnyConn,
    message: MessageId,
    but_email: Option<EmailId>,
) -> Result<Vec<ItemId>, StoreError> {
    let ids: Vec<i64> = sql(
        "SELECT l.item_id FROM email_links l JOIN emails e ON e.id = l.email_id WHERE e.message_id = ",
    )
    .bind(message.0)
    .push(" AND e.id <> ")
    .bind(but_email.map_or(0, |id| id.0))
    .push(" ORDER BY e.id, l.is_primary DESC, l.linked_at, l.item_id")
    .rows(conn)?;
    let mut seen = BTreeSet::new();
    Ok(ids
        .into_iter()
        .map(ItemId)
        .filter(|id| seen.insert(*id))
        .collect())
}

/// Counts one more mail of a sender in a mailbox, in the hour of its INTERNALDATE; how many came before it in that hour.
///
/// # Errors
/// What the database says.
pub fn count_mail(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    key: &str,
    internal_date: Time,
) -> Result<i64, StoreError> {
    let hour = hour_of(internal_date);
    let count: Option<i64> =
        sql("INSERT INTO sender_counts (mailbox_id, address_key, hour, count) VALUES (")
            .bind(mailbox.0)
            .push(", ")
            .bind(key)
            .push(", ")
            .bind(hour)
            .push(", 1) ON CONFLICT (mailbox_id, address_key, hour) DO UPDATE SET count = sender_counts.count + 1 RETURNING count")
            .one(tx.conn)?;
    Ok(count.unwrap_or(1) - 1)
}

/// Stands for the mailbox as a whole among the counts of its senders: no address is empty.
const WHOLE_MAILBOX: &str = "";

fn hour_of(internal_date: Time) -> i64 {
    internal_date.seconds().div_euclid(3600)
}

/// How many items mail of the same hour has made in a mailbox.
///
/// # Errors
/// What the database says.
pub fn count_made(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    internal_date: Time,
) -> Result<i64, StoreError> {
    let count: Option<i64> = sql("SELECT count FROM sender_counts WHERE mailbox_id = ")
        .bind(mailbox.0)
        .push(" AND address_key = ")
        .bind(WHOLE_MAILBOX)
        .push(" AND hour = ")
        .bind(hour_of(internal_date))
        .one(conn)?;
    Ok(count.unwrap_or(0))
}

/// Counts so many items more that mail of that hour has made in a mailbox.
///
/// # Errors
/// What the database says.
pub fn add_made(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    internal_date: Time,
    made: i64,
) -> Result<(), StoreError> {
    sql("INSERT INTO sender_counts (mailbox_id, address_key, hour, count) VALUES (")
        .list::<super::sql::Value>([
            mailbox.0.into(),
            WHOLE_MAILBOX.into(),
            hour_of(internal_date).into(),
            made.into(),
        ])
        .push(") ON CONFLICT (mailbox_id, address_key, hour) DO UPDATE SET count = sender_counts.count + excluded.count")
        .run(tx.conn)?;
    Ok(())
}

/// Marks addresses undeliverable, on every lead and contact that has them: those of them that the message was
/// sent to, since a report can name anybody.
///
/// # Errors
/// What the database says.
pub fn mark_undeliverable(
    tx: &mut Tx<'_>,
    message: MessageId,
    keys: &[String],
) -> Result<(), StoreError> {
    let reached: Vec<String> = sql(
        "SELECT DISTINCT p.address_key FROM participants p JOIN emails e ON e.id = p.email_id \
         WHERE p.role IN ('TO', 'CC', 'BCC') AND e.message_id = ",
    )
    .bind(message.0)
    .push(" AND p.address_key IN (")
    .list(keys.iter().map(String::as_str))
    .push(")")
    .rows(tx.conn)?;
    let marked: Vec<i64> =
        sql("UPDATE item_addresses SET is_undeliverable = TRUE WHERE NOT is_undeliverable AND address_key IN (")
            .list(reached)
            .push(") RETURNING item_id")
            .rows(tx.conn)?;
    sql("UPDATE items SET version = version + 1 WHERE id IN (")
        .list(marked)
        .push(")")
        .run(tx.conn)?;
    Ok(())
}
