//! What makes items. Reading is in `items`.

use super::sql::{insert_all, sql};
use super::{StoreError, Tx};
use crate::model::item::{ItemKind, StageKind};
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
    let id = tx.id()?;
    let (amount, currency) = new.amount.unzip();
    let row = vec![
        id.into(),
        new.kind.as_text().into(),
        new.title.into(),
        new.responsible_id.0.into(),
        new.open_to_everyone.into(),
        new.stage_id.map(|id| id.0).into(),
        new.is_open.into(),
        tx.now.micros().into(),
        tx.now.micros().into(),
        new.name.into(),
        new.source.into(),
        new.company.into(),
        amount.into(),
        currency.into(),
        new.origin_lead_id.map(|id| id.0).into(),
        new.is_extra_lead.into(),
        1_i64.into(),
    ];
    insert_all(
        tx.conn,
        "items (id, kind, title, responsible_id, open_to_everyone, stage_id, is_open, created_at, last_activity_at, name, \
         source, company, amount, currency, origin_lead_id, is_extra_lead, version)",
        "",
        vec![row],
    )?;
    Ok(ItemId(id))
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
    sql("DELETE FROM item_addresses WHERE item_id = ")
        .bind(item.0)
        .run(tx.conn)?;
    let rows = (0_i64..)
        .zip(addresses)
        .map(|(position, (address, key))| {
            vec![
                item.0.into(),
                position.into(),
                address.clone().into(),
                key.clone().into(),
                false.into(),
            ]
        })
        .collect();
    insert_all(
        tx.conn,
        "item_addresses (item_id, position, address, address_key, is_undeliverable)",
        "",
        rows,
    )
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
    let id: Option<i64> = sql("SELECT id FROM stages WHERE item_kind = ")
        .bind(kind.as_text())
        .push(" AND kind = ")
        .bind(StageKind::Open.as_text())
        .push(" ORDER BY position, id LIMIT 1")
        .one(tx.conn)?;
    Ok(id.map(StageId))
}
