//! Leads, deals and contacts.

use super::{insert, update};
use crate::model::{ItemId, UserId};
use crate::model::item::{Item, ItemFacts, LeadConversion};
use crate::store::dialect::for_update;
use crate::store::sql::{insert_all, sql};
use crate::store::{StoreError, Tx};

/// An address of an item, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRow {
    pub address: String,
    /// The canonical form, by which mail finds it.
    pub address_key: String,
    pub is_undeliverable: bool,
}

/// Locks these items until the end of the transaction, in the order of their ids, so that two writers never wait for each other.
///
/// # Errors
/// What the database says.
pub fn lock(tx: &mut Tx<'_>, ids: &[ItemId]) -> Result<(), StoreError> {
    let query = sql("SELECT id FROM items WHERE id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(") ORDER BY id");
    for_update(tx.conn, query).rows::<i64>(tx.conn)?;
    Ok(())
}

/// Adds an item.
///
/// # Errors
/// What the database says.
pub fn insert_item(tx: &mut Tx<'_>, item: &Item) -> Result<(), StoreError> {
    let (amount, currency) = item.amount.clone().unzip();
    insert(
        "items",
        vec![
            ("id", item.id.0.into()),
            ("kind", item.kind.as_text().into()),
            ("title", item.title.as_str().into()),
            ("responsible_id", item.responsible_id.0.into()),
            ("open_to_everyone", item.open_to_everyone.into()),
            ("stage_id", item.stage_id.map(|id| id.0).into()),
            ("is_open", item.is_open.into()),
            ("created_at", item.created_at.micros().into()),
            ("last_activity_at", item.last_activity_at.micros().into()),
            ("name", item.name.clone().into()),
            ("source", item.source.clone().into()),
            ("company", item.company.clone().into()),
            ("amount", amount.into()),
            ("currency", currency.into()),
            ("origin_lead_id", item.origin_lead_id.map(|id| id.0).into()),
            ("is_extra_lead", item.is_extra_lead.into()),
            ("version", item.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Writes an item's row anew; its kind, times and extra-lead mark stay what they are.
///
/// # Errors
/// What the database says.
pub fn update_item(tx: &mut Tx<'_>, item: &Item) -> Result<(), StoreError> {
    let (amount, currency) = item.amount.clone().unzip();
    update(
        "items",
        item.id.0,
        vec![
            ("title", item.title.as_str().into()),
            ("responsible_id", item.responsible_id.0.into()),
            ("open_to_everyone", item.open_to_everyone.into()),
            ("stage_id", item.stage_id.map(|id| id.0).into()),
            ("is_open", item.is_open.into()),
            ("name", item.name.clone().into()),
            ("source", item.source.clone().into()),
            ("company", item.company.clone().into()),
            ("amount", amount.into()),
            ("currency", currency.into()),
            ("origin_lead_id", item.origin_lead_id.map(|id| id.0).into()),
            ("version", item.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// The addresses of an item with their canonical forms, in order.
///
/// # Errors
/// What the database says.
pub fn address_rows(tx: &mut Tx<'_>, id: ItemId) -> Result<Vec<AddressRow>, StoreError> {
    let rows: Vec<(String, String, bool)> =
        sql("SELECT address, address_key, is_undeliverable FROM item_addresses WHERE item_id = ")
            .bind(id.0)
            .push(" ORDER BY position")
            .rows(tx.conn)?;
    let row = |(address, address_key, is_undeliverable)| AddressRow {
        address,
        address_key,
        is_undeliverable,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Gives an item exactly these addresses, the first being the primary one.
///
/// # Errors
/// What the database says.
pub fn save_addresses(
    tx: &mut Tx<'_>,
    id: ItemId,
    addresses: &[AddressRow],
) -> Result<(), StoreError> {
    sql("DELETE FROM item_addresses WHERE item_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    let rows = (0_i64..).zip(addresses).map(|(position, row)| {
        vec![
            id.0.into(),
            position.into(),
            row.address.as_str().into(),
            row.address_key.as_str().into(),
            row.is_undeliverable.into(),
        ]
    });
    insert_all(
        tx.conn,
        "item_addresses (item_id, position, address, address_key, is_undeliverable)",
        "",
        rows.collect(),
    )
}

/// Gives a contact exactly these phones.
///
/// # Errors
/// What the database says.
pub fn save_phones(tx: &mut Tx<'_>, id: ItemId, phones: &[String]) -> Result<(), StoreError> {
    sql("DELETE FROM item_phones WHERE item_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    let rows = (0_i64..)
        .zip(phones)
        .map(|(position, phone)| vec![id.0.into(), position.into(), phone.as_str().into()]);
    insert_all(
        tx.conn,
        "item_phones (item_id, position, phone)",
        "",
        rows.collect(),
    )
}

/// Gives a deal exactly these contacts, in this order.
///
/// # Errors
/// What the database says.
pub fn save_deal_contacts(
    tx: &mut Tx<'_>,
    id: ItemId,
    contacts: &[ItemId],
) -> Result<(), StoreError> {
    sql("DELETE FROM deal_contacts WHERE deal_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    let rows = (0_i64..)
        .zip(contacts)
        .map(|(position, contact)| vec![id.0.into(), contact.0.into(), position.into()]);
    insert_all(
        tx.conn,
        "deal_contacts (deal_id, contact_id, position)",
        "",
        rows.collect(),
    )
}

/// Records what converting a lead made.
///
/// # Errors
/// `Conflict` where it was converted before.
pub fn insert_conversion(tx: &mut Tx<'_>, conversion: &LeadConversion) -> Result<(), StoreError> {
    sql("INSERT INTO lead_conversions (lead_id, at, by_user_id, deal_id, contact_id) VALUES (")
        .bind(conversion.lead_id.0)
        .push(", ")
        .bind(conversion.at.micros())
        .push(", ")
        .bind(conversion.by.map(|id| id.0))
        .push(", ")
        .bind(conversion.deal_id.map(|id| id.0))
        .push(", ")
        .bind(conversion.contact_id.map(|id| id.0))
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// The facts of every item that a user is responsible for.
///
/// # Errors
/// What the database says.
pub fn facts_of_responsible(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<ItemFacts>, StoreError> {
    let ids: Vec<i64> = sql("SELECT id FROM items WHERE responsible_id = ")
        .bind(user.0)
        .push(" ORDER BY id")
        .rows(tx.conn)?;
    let mut found = Vec::with_capacity(ids.len());
    for part in ids.chunks(IDS_AT_ONCE) {
        let part: Vec<ItemId> = part.iter().copied().map(ItemId).collect();
        found.extend(crate::store::items::facts(tx.conn, &part)?);
    }
    Ok(found)
}

/// Ids bound in one statement: far below what either database takes.
const IDS_AT_ONCE: usize = 500;
