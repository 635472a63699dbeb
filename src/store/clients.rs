//! Whose addresses these are, and what there is of a client already.

use super::sql::{BOUND_MAX, Value, padded_parts, sql};
use super::{AnyConn, Later, StoreError, Tx};
use crate::model::decisions::Who;
use crate::model::{EmailId, ItemId, MailboxId, MessageId};
use std::collections::{BTreeSet, HashMap};

/// Whose each of these canonical addresses is; those that are nobody's of ours are a client's.
///
/// # Errors
/// What the database says.
pub fn who(
    conn: &mut AnyConn,
    keys: &BTreeSet<String>,
) -> Result<HashMap<String, Who>, StoreError> {
    let mut found: HashMap<String, Who> =
        keys.iter().map(|key| (key.clone(), Who::Client)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for part in keys.chunks(BOUND_MAX) {
        let list = || part.iter().copied();
        let mailboxes: Vec<String> = sql(
            "SELECT m.address_key FROM mailboxes m WHERE m.disconnected_at IS NULL AND m.address_key IN (",
        )
        .any_of(list())
        .push(
            ") UNION SELECT a.address_key FROM mailbox_aliases a JOIN mailboxes m ON m.id = a.mailbox_id \
             WHERE m.disconnected_at IS NULL AND a.address_key IN (",
        )
        .any_of(list())
        .push(")")
        .rows(conn)?;
        for key in mailboxes {
            found.insert(key, Who::ConnectedMailbox);
        }
        let users: Vec<String> =
            sql("SELECT address_key FROM users WHERE is_active AND address_key IN (")
                .any_of(list())
                .push(")")
                .rows(conn)?;
        for key in users {
            found.insert(key, Who::ActiveUser);
        }
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientItems {
    /// Leads and contacts with the client's address.
    pub addressed: Vec<ItemId>,
    /// Deals of those contacts, each with the first of its contacts that is the client's.
    pub deals: Vec<(ItemId, ItemId)>,
}

impl ClientItems {
    /// All of them.
    pub fn item_ids(&self) -> impl Iterator<Item = ItemId> {
        let deals = self.deals.iter().map(|(deal, _contact)| deal);
        self.addressed.iter().chain(deals).copied()
    }
}

/// Items of one client that are looked at, at most: more than any person has, and a bound for a shared address.
const CLIENT_ITEMS_MAX: usize = 500;

/// The contacts and leads with each of these canonical addresses, and the deals of those contacts. Every address
/// that was asked for is in the answer.
///
/// # Errors
/// What the database says.
pub fn items_of(
    conn: &mut AnyConn,
    keys: &[&str],
) -> Result<HashMap<String, ClientItems>, StoreError> {
    let mut found: HashMap<String, ClientItems> = keys
        .iter()
        .map(|key| ((*key).to_owned(), ClientItems::default()))
        .collect();
    for part in keys.chunks(BOUND_MAX) {
        let rows: Vec<(String, i64)> =
            sql("SELECT address_key, item_id FROM item_addresses WHERE address_key IN (")
                .any_of(part.iter().copied())
                .push(") ORDER BY address_key, item_id")
                .rows(conn)?;
        for (key, item) in rows {
            if let Some(client) = found.get_mut(&key)
                && client.addressed.len() < CLIENT_ITEMS_MAX
            {
                client.addressed.push(ItemId(item));
            }
        }
    }
    let addressed: BTreeSet<i64> = found
        .values()
        .flat_map(|client| client.addressed.iter().map(|id| id.0))
        .collect();
    let addressed: Vec<i64> = addressed.into_iter().collect();
    let mut ties: HashMap<ItemId, Vec<ItemId>> = HashMap::new();
    for part in addressed.chunks(BOUND_MAX) {
        let rows: Vec<(i64, i64)> =
            sql("SELECT deal_id, contact_id FROM deal_contacts WHERE contact_id IN (")
                .any_of(part.iter().copied())
                .push(") ORDER BY deal_id DESC, position")
                .rows(conn)?;
        for (deal, contact) in rows {
            ties.entry(ItemId(contact)).or_default().push(ItemId(deal));
        }
    }
    for client in found.values_mut() {
        for contact in &client.addressed {
            for deal in ties.get(contact).into_iter().flatten() {
                let is_known = client.deals.iter().any(|(known, _contact)| known == deal);
                if !is_known && client.deals.len() < CLIENT_ITEMS_MAX {
                    client.deals.push((*deal, *contact));
                }
            }
        }
    }
    Ok(found)
}

/// An item that a saved copy of a message hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hanging {
    pub email_id: EmailId,
    pub item_id: ItemId,
}

/// The items that saved copies of these messages hang on: of the oldest copy first, and its primary one first.
///
/// # Errors
/// What the database says.
pub fn items_of_messages(
    conn: &mut AnyConn,
    messages: &[MessageId],
) -> Result<HashMap<MessageId, Vec<Hanging>>, StoreError> {
    let mut found: HashMap<MessageId, Vec<Hanging>> = HashMap::new();
    for part in messages.chunks(BOUND_MAX) {
        let rows: Vec<(i64, i64, i64)> = sql(
            "SELECT e.message_id, e.id, l.item_id FROM emails e JOIN email_links l ON l.email_id = e.id WHERE e.message_id IN (",
        )
        .any_of(part.iter().map(|id| id.0))
        .push(") ORDER BY e.id, l.is_primary DESC, l.linked_at, l.item_id")
        .rows(conn)?;
        for (message, email, item) in rows {
            found.entry(MessageId(message)).or_default().push(Hanging {
                email_id: EmailId(email),
                item_id: ItemId(item),
            });
        }
    }
    Ok(found)
}

/// How many mails of each of these senders came to a mailbox in an hour (since 1970). What a backfill asks for is spread
/// over many hours: only the pairs that are named are looked at.
///
/// # Errors
/// What the database says.
pub fn sender_counts(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    wanted: &BTreeSet<(&str, i64)>,
) -> Result<HashMap<(String, i64), i64>, StoreError> {
    let mut found = HashMap::new();
    let wanted: Vec<[Value; 2]> = wanted
        .iter()
        .map(|(key, hour)| [(*key).into(), (*hour).into()])
        .collect();
    for part in padded_parts(wanted) {
        // Each is looked up by the table's key, whatever a database thinks of its size.
        let rows: Vec<(String, i64, Option<i64>)> = sql("WITH wanted (k, h) AS (VALUES ")
            .tuples(part)
            .push(
                ") SELECT w.k, w.h, (SELECT c.count FROM sender_counts c WHERE c.address_key = w.k AND c.hour = w.h \
                 AND c.mailbox_id = ",
            )
            .bind(mailbox.0)
            .push(") FROM wanted w")
            .rows(conn)?;
        found.extend(
            rows.into_iter()
                .filter_map(|(key, hour, count)| Some(((key, hour), count?))),
        );
    }
    Ok(found)
}

/// Counts mails of senders in a mailbox, by hour; written with the rest of the batch.
pub fn add_sender_counts(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    counts: impl IntoIterator<Item = ((String, i64), i64)>,
) {
    for ((key, hour), count) in counts {
        let row = [mailbox.0.into(), key.into(), hour.into(), count.into()];
        tx.later(Later::SenderCounts, row);
    }
}

/// Stands for the mailbox as a whole among the counts of its senders: no address is empty.
pub const WHOLE_MAILBOX: &str = "";

/// The items that saved copies of a message hang on, but for one of the copies.
///
/// # Errors
/// What the database says.
pub fn items_of_message(
    conn: &mut AnyConn,
    message: MessageId,
    but_email: Option<EmailId>,
) -> Result<Vec<ItemId>, StoreError> {
    let hung = items_of_messages(conn, &[message])?
        .remove(&message)
        .unwrap_or_default();
    Ok(items_but(&hung, but_email))
}

/// Each item once, in order, but for those that one of the copies alone hangs on.
pub fn items_but(hung: &[Hanging], but_email: Option<EmailId>) -> Vec<ItemId> {
    let mut seen = Vec::new();
    for hung in hung {
        if Some(hung.email_id) != but_email && !seen.contains(&hung.item_id) {
            seen.push(hung.item_id);
        }
    }
    seen
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
    .any_of(keys.iter().map(String::as_str))
    .push(")")
    .rows(tx.conn)?;
    let marked: Vec<i64> =
        sql("UPDATE item_addresses SET is_undeliverable = TRUE WHERE NOT is_undeliverable AND address_key IN (")
            .any_of(reached)
            .push(") RETURNING item_id")
            .rows(tx.conn)?;
    sql("UPDATE items SET version = version + 1 WHERE id IN (")
        .any_of(marked)
        .push(")")
        .run(tx.conn)?;
    Ok(())
}
