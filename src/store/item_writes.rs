//! What makes items. Reading is in `items`.

use super::dialect::{for_key_share, for_update};
use super::sql::{BOUND_MAX, insert_all, sql, update_row};
use super::{Later, StoreError, Tx};
use crate::model::item::{Item, ItemFacts, ItemKind, LeadConversion, StageKind};
use crate::model::{ItemId, StageId, UserId};

/// An item to make; fields that its kind doesn't have stay empty.
#[derive(Debug, Clone)]
pub struct NewItem {
    pub kind: ItemKind,
    pub title: String,
    pub responsible_id: UserId,
    pub open_to_everyone: bool,
    /// `None` for contacts.
    pub stage_id: Option<StageId>,
    pub is_open: bool,
    pub name: Option<String>,
    pub source: Option<String>,
    pub company: Option<String>,
    pub amount: Option<(String, String)>,
    pub origin_lead_id: Option<ItemId>,
    pub is_extra_lead: bool,
}

impl NewItem {
    /// An item with a title and a responsible, and nothing else yet.
    pub fn new(kind: ItemKind, title: impl Into<String>, responsible_id: UserId) -> Self {
        Self {
            kind,
            title: title.into(),
            responsible_id,
            open_to_everyone: false,
            stage_id: None,
            is_open: true,
            name: None,
            source: None,
            company: None,
            amount: None,
            origin_lead_id: None,
            is_extra_lead: false,
        }
    }
}

/// Makes an item. Its ItemCreated entry is the caller's to tell.
///
/// # Errors
/// `Conflict` where the responsible or the stage is not there.
pub fn insert(tx: &mut Tx<'_>, new: NewItem) -> Result<ItemId, StoreError> {
    let made = insert_later(tx, new)?;
    tx.flush()?;
    Ok(made.id)
}

/// Makes an item, whose row is held back until the rest of the batch is written.
///
/// # Errors
/// `Database` where ids run out.
pub fn insert_later(tx: &mut Tx<'_>, new: NewItem) -> Result<Item, StoreError> {
    let item = Item {
        id: ItemId(tx.id()?),
        kind: new.kind,
        title: new.title,
        responsible_id: new.responsible_id,
        open_to_everyone: new.open_to_everyone,
        stage_id: new.stage_id,
        is_open: new.is_open,
        created_at: tx.now,
        last_activity_at: tx.now,
        version: 1,
        name: new.name,
        source: new.source,
        company: new.company,
        amount: new.amount,
        origin_lead_id: new.origin_lead_id,
        is_extra_lead: new.is_extra_lead,
    };
    let (amount, currency) = item.amount.clone().unzip();
    let row = [
        item.id.0.into(),
        item.kind.as_text().into(),
        item.title.as_str().into(),
        item.responsible_id.0.into(),
        item.open_to_everyone.into(),
        item.stage_id.map(|id| id.0).into(),
        item.is_open.into(),
        item.created_at.micros().into(),
        item.last_activity_at.micros().into(),
        item.name.clone().into(),
        item.source.clone().into(),
        item.company.clone().into(),
        amount.into(),
        currency.into(),
        item.origin_lead_id.map(|id| id.0).into(),
        item.is_extra_lead.into(),
        item.version.into(),
    ];
    tx.later(Later::Items, row);
    Ok(item)
}

/// Gives a new lead or contact its one address, held back until the rest of the batch is written.
pub fn insert_address_later(tx: &mut Tx<'_>, item: ItemId, address: &str, address_key: &str) {
    let row = [
        item.0.into(),
        0_i64.into(),
        address.into(),
        address_key.into(),
        false.into(),
    ];
    tx.later(Later::ItemAddresses, row);
}

/// Gives a new deal its contact, held back until the rest of the batch is written.
pub fn insert_deal_contact_later(tx: &mut Tx<'_>, deal: ItemId, contact: ItemId) {
    let row = [deal.0.into(), contact.0.into(), 0_i64.into()];
    tx.later(Later::DealContacts, row);
}

/// Replaces the addresses of a lead or contact: as written, and canonical.
///
/// # Errors
/// `Conflict` where one stands twice.
pub fn replace_addresses(
    tx: &mut Tx<'_>,
    item: ItemId,
    addresses: &[(String, String)],
) -> Result<(), StoreError> {
    let rows: Vec<AddressRow> = addresses
        .iter()
        .map(|(address, address_key)| AddressRow {
            address: address.clone(),
            address_key: address_key.clone(),
            is_undeliverable: false,
        })
        .collect();
    replace_address_rows(tx, item, &rows)
}

/// Replaces the phones of a contact.
///
/// # Errors
/// What the database says.
pub fn replace_phones(tx: &mut Tx<'_>, item: ItemId, phones: &[String]) -> Result<(), StoreError> {
    sql("DELETE FROM item_phones WHERE item_id = ")
        .bind(item.0)
        .run(tx.conn)?;
    let rows = (0_i64..)
        .zip(phones)
        .map(|(position, phone)| vec![item.0.into(), position.into(), phone.clone().into()])
        .collect();
    insert_all(tx.conn, "item_phones (item_id, position, phone)", "", rows)
}

/// Replaces the contacts of a deal.
///
/// # Errors
/// `Conflict` where one stands twice or is not there.
pub fn replace_deal_contacts(
    tx: &mut Tx<'_>,
    deal: ItemId,
    contacts: &[ItemId],
) -> Result<(), StoreError> {
    sql("DELETE FROM deal_contacts WHERE deal_id = ")
        .bind(deal.0)
        .run(tx.conn)?;
    let rows = (0_i64..)
        .zip(contacts)
        .map(|(position, contact)| vec![deal.0.into(), contact.0.into(), position.into()])
        .collect();
    insert_all(
        tx.conn,
        "deal_contacts (deal_id, contact_id, position)",
        "",
        rows,
    )
}

/// The first open stage of leads or deals: where new ones begin. Contacts have none.
///
/// # Errors
/// What the database says.
pub fn first_stage(tx: &mut Tx<'_>, kind: ItemKind) -> Result<Option<StageId>, StoreError> {
    if kind == ItemKind::Contact {
        return Ok(None);
    }
    let first = || {
        sql("SELECT id FROM stages WHERE item_kind = ")
            .bind(kind.as_text())
            .push(" AND deleted_at IS NULL AND kind = ")
            .bind(StageKind::Open.as_text())
            .push(" ORDER BY position, id LIMIT 1")
    };
    let mut id: Option<i64> = for_key_share(tx.conn, first()).one(tx.conn)?;
    if id.is_none() {
        // It was deleted while this waited for it: the one behind it is the first now.
        id = for_key_share(tx.conn, first()).one(tx.conn)?;
    }
    Ok(id.map(StageId))
}

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

/// Writes an item's row anew; its kind, times and extra-lead mark stay what they are.
///
/// # Errors
/// What the database says.
pub fn update(tx: &mut Tx<'_>, item: &Item) -> Result<(), StoreError> {
    let (amount, currency) = item.amount.clone().unzip();
    update_row(
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
pub fn replace_address_rows(
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
    for part in ids.chunks(BOUND_MAX) {
        let part: Vec<ItemId> = part.iter().copied().map(ItemId).collect();
        found.extend(super::items::facts(tx.conn, &part)?);
    }
    Ok(found)
}

/// Forgets that items name this one: the deals that a lead became, and what conversions made.
///
/// # Errors
/// What the database says.
pub fn forget_item(tx: &mut Tx<'_>, id: ItemId) -> Result<(), StoreError> {
    sql("UPDATE items SET origin_lead_id = NULL, version = version + 1 WHERE origin_lead_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    for column in ["deal_id", "contact_id"] {
        sql("UPDATE lead_conversions SET ")
            .push(column)
            .push(" = NULL WHERE ")
            .push(column)
            .push(" = ")
            .bind(id.0)
            .run(tx.conn)?;
    }
    Ok(())
}

/// Deletes an item with its own rows: addresses, phones, ties to deals, links and timeline entries.
///
/// # Errors
/// `Conflict` where something still names it (see [`forget_item`]).
pub fn delete(tx: &mut Tx<'_>, id: ItemId) -> Result<(), StoreError> {
    sql("DELETE FROM items WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// The contact `into` takes the place of `from` in deals and conversions.
///
/// # Errors
/// What the database says.
pub fn replace_contact(tx: &mut Tx<'_>, from: ItemId, into: ItemId) -> Result<(), StoreError> {
    sql("DELETE FROM deal_contacts WHERE contact_id = ")
        .bind(from.0)
        .push(" AND deal_id IN (SELECT deal_id FROM deal_contacts WHERE contact_id = ")
        .bind(into.0)
        .push(")")
        .run(tx.conn)?;
    for table in ["deal_contacts", "lead_conversions"] {
        sql("UPDATE ")
            .push(table)
            .push(" SET contact_id = ")
            .bind(into.0)
            .push(" WHERE contact_id = ")
            .bind(from.0)
            .run(tx.conn)?;
    }
    Ok(())
}

/// The timeline entries of an item stand on another from now on: their positions, times and words stay. Of an email that
/// both tell of, the other's entry stays.
///
/// # Errors
/// What the database says.
pub fn hand_over_entries(tx: &mut Tx<'_>, from: ItemId, to: ItemId) -> Result<(), StoreError> {
    let of_emails = "kind IN ('EMAIL_RECEIVED', 'EMAIL_SENT')";
    sql("DELETE FROM timeline_entries WHERE item_id = ")
        .bind(from.0)
        .push(" AND ")
        .push(of_emails)
        .push(" AND message_id IN (SELECT message_id FROM timeline_entries WHERE item_id = ")
        .bind(to.0)
        .push(" AND ")
        .push(of_emails)
        .push(")")
        .run(tx.conn)?;
    for column in ["item_id", "other_item_id"] {
        sql("UPDATE timeline_entries SET ")
            .push(column)
            .push(" = ")
            .bind(to.0)
            .push(" WHERE ")
            .push(column)
            .push(" = ")
            .bind(from.0)
            .run(tx.conn)?;
    }
    Ok(())
}

/// The phones of a contact, in order.
///
/// # Errors
/// What the database says.
pub fn phones(tx: &mut Tx<'_>, id: ItemId) -> Result<Vec<String>, StoreError> {
    sql("SELECT phone FROM item_phones WHERE item_id = ")
        .bind(id.0)
        .push(" ORDER BY position")
        .rows(tx.conn)
}
