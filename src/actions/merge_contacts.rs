//! Contacts that are one person are merged into one of them (R45). It keeps what it has and gets what the others have:
//! addresses, phones, deals, emails, mails that are being written, and a company or source where it had none. Their timelines become one: entries keep
//! their positions, times and words, and stand on the contact that remains. Streams that show it are told by a gap, since
//! what is new to them lies in the past; those of the others end.
//!
//! Rights: UPDATE on all, and DELETE on those that go. The addresses and phones go along whether or not the viewer may see
//! them: they choose whose, not what. Changes of links that name a contact that went can't be taken back.
//! Not for: finding out who is one person.

use super::acting::{self, bad_input, facts_json};
use super::fields::{self, ADDRESSES_MAX, check_all};
use super::leaving::{Leaving, lock_clients};
use super::relink::make_primary;
use super::{ActionResult, Actions, audit, check_version, idempotency};
use crate::model::item::{Item, ItemFacts, ItemKind};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::{EmailId, ItemId, Time};
use crate::rules::access;
use crate::store::item_writes::{self, AddressRow};
use crate::store::link_writes::{self, LinkOfItem};
use crate::store::{self, Tx};
use serde::Serialize;
use serde_json::json;
use std::collections::HashSet;

/// Contacts that are merged at once: each brings its emails and entries into one transaction.
const MERGED_MAX: usize = 20;

/// Contacts to merge.
#[derive(Debug, Clone, Serialize)]
pub struct MergeContacts {
    /// The one that remains.
    pub contact_id: ItemId,
    /// Those that go.
    pub merge_contact_ids: Vec<ItemId>,
    /// Of the one that remains.
    pub expected_version: Option<i64>,
}

/// Merges contacts.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `STALE`, `BAD_INPUT` for none or too many, or more addresses than one contact has.
pub async fn merge(
    actions: &Actions,
    viewer: &Viewer,
    input: MergeContacts,
    key: Option<String>,
    now: Time,
) -> ActionResult<ItemId> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let done =
                idempotency::once(tx, viewer, "mergeContacts", key.as_deref(), &hash, |tx| {
                    merge_now(tx, viewer, &input)?;
                    Ok(vec![input.contact_id.0])
                })?;
            Ok(ItemId(idempotency::first(&done)?))
        })
        .await
}

fn merge_now(tx: &mut Tx<'_>, viewer: &Viewer, input: &MergeContacts) -> ActionResult<()> {
    let field = "mergeContactIds";
    let into = input.contact_id;
    let others = fields::distinct(field, &input.merge_contact_ids, MERGED_MAX)?;
    if others.is_empty() || others.contains(&into) {
        return Err(bad_input(
            field,
            "mergeContactIds names the other contacts, at least one.",
        ));
    }
    let all: Vec<ItemId> = std::iter::once(into)
        .chain(others.iter().copied())
        .collect();
    lock_clients(tx, &all)?;
    item_writes::lock(tx, &all)?;
    let wanted = (into, Some(ItemKind::Contact));
    let update = PermissionAction::Update;
    let (mut contact, _facts) = acting::item(tx, viewer, wanted, update, "contactId")?;
    let mut merged = Vec::with_capacity(others.len());
    for id in others {
        let wanted = (id, Some(ItemKind::Contact));
        let (other, facts) = acting::item(tx, viewer, wanted, PermissionAction::Delete, field)?;
        if !access::decide(viewer, update, &facts).is_granted() {
            return Err(acting::forbidden(field).into());
        }
        merged.push((other, facts));
    }
    check_version(input.expected_version, contact.version)?;
    link_writes::lock_emails_of(tx, &all)?;
    let (addresses, phones) = gathered(tx, into, &merged)?;
    let mut told = Vec::with_capacity(merged.len());
    for (other, facts) in &merged {
        told.push(take_in(tx, viewer, (into, other, facts))?);
        contact.company = contact.company.or_else(|| other.company.clone());
        contact.source = contact.source.or_else(|| other.source.clone());
    }
    item_writes::replace_address_rows(tx, into, &addresses)?;
    item_writes::replace_phones(tx, into, &phones)?;
    contact.version += 1;
    item_writes::update(tx, &contact)?;
    store::activity_writes::reassign_open_of_item(tx, into, contact.responsible_id)?;
    for leaving in &told {
        leaving.tell(tx)?;
    }
    tx.history_changed(Some(into));
    let ids: Vec<String> = merged
        .iter()
        .map(|(other, _facts)| format!("contact {}", other.id.0))
        .collect();
    let about = format!("contact {}", into.0);
    let detail =
        json!({ "merged": ids, "emails": told.iter().map(|it| it.links.len()).sum::<usize>() });
    audit::record(tx, Some(viewer.user_id), "mergeContacts", &about, &detail)?;
    Ok(())
}

/// The addresses and phones of all, in order, each once.
fn gathered(
    tx: &mut Tx<'_>,
    into: ItemId,
    merged: &[(Item, ItemFacts)],
) -> ActionResult<(Vec<AddressRow>, Vec<String>)> {
    let mut addresses = item_writes::address_rows(tx, into)?;
    let mut phones = item_writes::phones(tx, into)?;
    for (other, _facts) in merged {
        for row in item_writes::address_rows(tx, other.id)? {
            match addresses
                .iter_mut()
                .find(|known| known.address_key == row.address_key)
            {
                // A bounce that one of them knows of is known.
                Some(known) => known.is_undeliverable |= row.is_undeliverable,
                None => addresses.push(row),
            }
        }
        for phone in item_writes::phones(tx, other.id)? {
            if !phones.contains(&phone) {
                phones.push(phone);
            }
        }
    }
    let field = "mergeContactIds";
    check_all! {
        _addresses = fields::at_most(field, &addresses, ADDRESSES_MAX),
        _phones = fields::at_most(field, &phones, ADDRESSES_MAX),
    }
    Ok((addresses, phones))
}

/// Puts one contact's emails, deals and entries on the one that remains, and deletes it.
fn take_in(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    (into, other, facts): (ItemId, &Item, &ItemFacts),
) -> ActionResult<Leaving> {
    let leaving = Leaving::of(tx, other.id, "mergeContactIds")?;
    let there: HashSet<EmailId> = link_writes::lock_of_item(tx, into)?
        .iter()
        .map(|link| link.email_id)
        .collect();
    let new: Vec<LinkOfItem> = leaving
        .links
        .iter()
        .copied()
        .filter(|link| !there.contains(&link.email_id))
        .collect();
    link_writes::insert_links(tx, into, &new, viewer.user_id)?;
    link_writes::delete_links_of_item(tx, other.id)?;
    for link in &leaving.links {
        if !link.is_primary {
            store::email_writes::touch(tx, link.email_id)?;
        } else if let Some(email) = store::emails::get(tx.conn, link.email_id)? {
            make_primary(tx, &email, into)?;
        }
    }
    link_writes::void_changes_of(tx, other.id, Some(into))?;
    store::drafts::move_to_item(tx, other.id, into)?;
    item_writes::replace_contact(tx, other.id, into)?;
    item_writes::hand_over_entries(tx, other.id, into)?;
    item_writes::forget_item(tx, other.id)?;
    item_writes::delete(tx, other.id)?;
    tx.item_changed(other.id, facts_json(facts)?);
    Ok(leaving)
}
