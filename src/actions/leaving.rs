//! What becomes of the emails of an item that goes: the links that are left stay, one of them is the primary one; an email
//! that is left without any is no longer in the CRM (R21, R46) and has the outcome `REMOVED`. No mail is lost by it: it
//! stays in its mailbox, and can be saved by hand again.
//! Not for: rights, or unlinking single emails (`relink`).

use super::ActionResult;
use super::acting::bad_input;
use super::convert_lead::items_of_emails;
use super::ingest::CLIENT_LOCKS;
use super::relink::make_primary;
use crate::model::email::Email;
use crate::model::item::ItemFacts;
use crate::model::people::Viewer;
use crate::model::{EmailId, ItemId};
use crate::store::dialect::lock_keys;
use crate::store::link_writes::{self, LinkOfItem};
use crate::store::{self, StoreError, Tx};
use std::collections::HashMap;

/// Emails of one item that change in one transaction: below the ids that a transaction may use.
pub(super) const EMAILS_MAX: i64 = 20_000;

/// Changes that live streams are told of one by one: each stream looks at each of them. Of more, all streams are told to
/// read again, which says nothing of what changed.
pub(super) const TOLD_SINGLY_MAX: usize = 200;

/// Locks the addresses of these items and of their contacts, as ingest does: mail that comes meanwhile is judged before or
/// after the change. Call it before the items themselves are locked.
pub(super) fn lock_clients(tx: &mut Tx<'_>, items: &[ItemId]) -> Result<(), StoreError> {
    lock_clients_and(tx, items, &[])
}

/// The same with further addresses: two calls would not keep to the order.
pub(super) fn lock_clients_and(
    tx: &mut Tx<'_>,
    items: &[ItemId],
    more: &[String],
) -> Result<(), StoreError> {
    let contacts = store::items::deal_contacts(tx.conn, items)?;
    let all = items.iter().chain(contacts.values().flatten());
    let mut keys = more.to_vec();
    for item in all {
        let rows = store::item_writes::address_rows(tx, *item)?;
        keys.extend(rows.into_iter().map(|row| row.address_key));
    }
    lock_keys(tx, CLIENT_LOCKS, &keys)
}

/// The emails of an item, locked, with the facts of everything that each hangs on.
pub(super) struct Leaving {
    pub links: Vec<LinkOfItem>,
    before: HashMap<EmailId, Vec<ItemFacts>>,
}

impl Leaving {
    /// Reads them before anything changes.
    ///
    /// # Errors
    /// `BAD_INPUT` about `field` where there are too many for one transaction.
    pub fn of(tx: &mut Tx<'_>, item: ItemId, field: &str) -> ActionResult<Self> {
        if link_writes::count_of_item(tx, item, EMAILS_MAX)? > EMAILS_MAX {
            return Err(bad_input(
                field,
                format!(
                    "More than {EMAILS_MAX} emails are linked to it, too many to change at once."
                ),
            ));
        }
        let links = link_writes::lock_of_item(tx, item)?;
        let items = items_of_emails(tx, &links)?;
        let mut known: HashMap<ItemId, ItemFacts> = HashMap::new();
        let mut before = HashMap::with_capacity(items.len());
        for (email, ids) in items {
            let missing: Vec<ItemId> = ids
                .iter()
                .copied()
                .filter(|id| !known.contains_key(id))
                .collect();
            if !missing.is_empty() {
                let found = store::items::facts(tx.conn, &missing)?;
                known.extend(found.into_iter().map(|facts| (facts.id, facts)));
            }
            let facts = ids.iter().filter_map(|id| known.get(id).copied()).collect();
            before.insert(email, facts);
        }
        Ok(Self { links, before })
    }

    /// Tells the live streams of every email whose links changed.
    ///
    /// # Errors
    /// What the database says.
    pub fn tell(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if self.links.len() > TOLD_SINGLY_MAX {
            tx.history_changed(None);
            return Ok(());
        }
        for link in &self.links {
            let before = self
                .before
                .get(&link.email_id)
                .map_or(&[][..], Vec::as_slice);
            tx.links_changed_from(link.email_id, before)?;
        }
        Ok(())
    }

    /// Takes every email off the item; how many of them left the CRM with it.
    ///
    /// # Errors
    /// What the database says.
    pub fn take_off(&self, tx: &mut Tx<'_>, viewer: &Viewer, item: ItemId) -> ActionResult<usize> {
        link_writes::insert_removals(tx, item, &self.links, viewer.user_id)?;
        link_writes::delete_links_of_item(tx, item)?;
        let mut left = items_of_emails(tx, &self.links)?;
        let mut removed = Vec::new();
        for link in &self.links {
            match left.remove(&link.email_id).unwrap_or_default().first() {
                None => removed.push(link.email_id),
                Some(next) if link.is_primary => {
                    if let Some(email) = store::emails::get(tx.conn, link.email_id)? {
                        make_primary(tx, &email, *next)?;
                    }
                }
                Some(_primary) => store::email_writes::touch(tx, link.email_id)?,
            }
        }
        store::email_writes::update_removed(tx, &removed)?;
        store::activity_writes::settle_unsaved(tx, &removed, viewer.user_id)?;
        Ok(removed.len())
    }
}

/// Takes an email off all its items.
///
/// # Errors
/// What the database says.
pub(super) fn remove(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    (email, linked): (&Email, &[ItemFacts]),
) -> ActionResult<()> {
    for link in store::links::of_emails(tx.conn, &[email.id])? {
        let removed = LinkOfItem {
            email_id: email.id,
            received_at: email.received_at.micros(),
            is_primary: link.is_primary,
        };
        link_writes::insert_removals(tx, link.item_id, &[removed], viewer.user_id)?;
        store::email_writes::delete_link(tx, email.id, link.item_id)?;
    }
    store::email_writes::update_removed(tx, &[email.id])?;
    store::activity_writes::settle_unsaved(tx, &[email.id], viewer.user_id)?;
    tx.links_changed_from(email.id, linked)?;
    Ok(())
}
