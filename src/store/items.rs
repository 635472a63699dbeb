//! Leads, deals and contacts, with their addresses, phones and ties to each other.

use super::narrow::{self, Narrow};
use super::page::{Key, KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::word;
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, dialect, scope};
use crate::model::item::{ClientAddress, Item, ItemFacts, ItemKind, LeadConversion};
use crate::model::{DepartmentId, ItemId, StageId, Time, UserId};
use crate::rules::access::ItemScope;
use std::collections::HashMap;

type ItemRow = (
    i64,
    String,
    String,
    i64,
    bool,
    Option<i64>,
    bool,
    i64,
    i64,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    bool,
);

/// The columns of an item; `$active` is the one that says when its newest entry was made.
macro_rules! columns {
    ($active:literal, $from:literal) => {
        concat!(
            "SELECT i.id, i.kind, i.title, i.responsible_id, i.open_to_everyone, i.stage_id, i.is_open, i.created_at, ",
            $active,
            ", i.version, i.name, i.source, i.company, i.amount, i.currency, i.origin_lead_id, i.is_extra_lead FROM ",
            $from
        )
    };
}

const COLUMNS: &str = columns!("i.last_activity_at", "items i");

fn item(row: ItemRow) -> Result<Item, StoreError> {
    #[rustfmt::skip]
    let (id, kind, title, responsible, open_to_everyone, stage, is_open, created, active, version,
        name, source, company, amount, currency, origin, is_extra_lead) = row;
    Ok(Item {
        id: ItemId(id),
        kind: word(ItemKind::from_text, &kind, "items", "kind", id)?,
        title,
        responsible_id: UserId(responsible),
        open_to_everyone,
        stage_id: stage.map(StageId),
        is_open,
        created_at: Time::from_micros(created),
        last_activity_at: Time::from_micros(active),
        version,
        name,
        source,
        company,
        amount: amount.zip(currency),
        origin_lead_id: origin.map(ItemId),
        is_extra_lead,
    })
}

/// What a list of items can be narrowed by.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct ItemFilter {
    pub stage_ids: Option<Vec<StageId>>,
    pub is_open: Option<bool>,
    pub responsible_id: Option<UserId>,
    /// A canonical address that the item has.
    pub address_key: Option<String>,
    /// A contact of the deal.
    pub contact_id: Option<ItemId>,
    /// A part of the title, name or company.
    pub text: Option<String>,
    pub created_since: Option<Time>,
}

/// What a list of items is sorted by (then by id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOrderField {
    CreatedAt,
    LastActivityAt,
    Title,
}

/// The order of a list of items.
#[derive(Debug, Clone, Copy)]
pub struct ItemOrder {
    pub field: ItemOrderField,
    pub descending: bool,
}

impl ItemOrder {
    /// Whether what the viewer may not see of timelines would show in this order (R27).
    fn needs_shown_entries(self, within: &ItemScope) -> bool {
        self.field == ItemOrderField::LastActivityAt && !scope::reaches_all(within)
    }

    fn order(self, within: &ItemScope) -> Order {
        Order {
            columns: match self.field {
                ItemOrderField::CreatedAt => &["i.created_at", "i.id"],
                ItemOrderField::LastActivityAt if self.needs_shown_entries(within) => {
                    &["i.shown_activity_at", "i.id"]
                }
                ItemOrderField::LastActivityAt => &["i.last_activity_at", "i.id"],
                ItemOrderField::Title => &["i.title", "i.id"],
            },
            descending: self.descending,
        }
    }

    /// The columns of a list in this order. A hidden email must not move the items that it hangs on, so that for whoever
    /// does not reach all items the newest entry is the newest of those that they may see.
    fn columns(self, within: &ItemScope) -> Sql {
        if !self.needs_shown_entries(within) {
            return sql(COLUMNS);
        }
        sql(columns!("i.shown_activity_at", "(SELECT o.*, COALESCE("))
            .push("(SELECT t.at FROM timeline_entries t WHERE t.item_id = o.id AND ")
            .then(scope::shown_entries(within))
            .push(" ORDER BY t.position DESC LIMIT 1), o.created_at) AS shown_activity_at FROM items o) i")
    }

    fn key(self, item: &Item) -> Key {
        let first = match self.field {
            ItemOrderField::CreatedAt => KeyPart::Number(item.created_at.micros()),
            ItemOrderField::LastActivityAt => KeyPart::Number(item.last_activity_at.micros()),
            ItemOrderField::Title => KeyPart::Text(item.title.clone()),
        };
        vec![first, KeyPart::Number(item.id.0)]
    }
}

/// One item, whoever asks: for actions, which judge it by its facts.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: ItemId) -> Result<Option<Item>, StoreError> {
    Ok(get_many(conn, &[id])?.into_iter().next())
}

/// These items, whoever asks, in no order.
///
/// # Errors
/// What the database says.
pub fn get_many(conn: &mut AnyConn, ids: &[ItemId]) -> Result<Vec<Item>, StoreError> {
    let rows: Vec<ItemRow> = sql(COLUMNS)
        .push(" WHERE i.id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    rows.into_iter().map(item).collect()
}

/// Those of these items that are in the scope, in no order.
///
/// # Errors
/// What the database says.
pub fn readable(
    conn: &mut AnyConn,
    within: &ItemScope,
    ids: &[ItemId],
) -> Result<Vec<Item>, StoreError> {
    let rows: Vec<ItemRow> = sql(COLUMNS)
        .push(" WHERE i.id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(") AND ")
        .then(scope::items(within, "i"))
        .rows(conn)?;
    rows.into_iter().map(item).collect()
}

/// The facts about these items that rights depend on, in no order.
///
/// # Errors
/// What the database says.
pub fn facts(conn: &mut AnyConn, ids: &[ItemId]) -> Result<Vec<ItemFacts>, StoreError> {
    let rows: Vec<(i64, String, Option<i64>, i64, Option<i64>, bool)> = sql(
        "SELECT i.id, i.kind, i.stage_id, i.responsible_id, u.department_id, i.open_to_everyone FROM items i \
         JOIN users u ON u.id = i.responsible_id WHERE i.id IN (",
    )
    .list(ids.iter().map(|id| id.0))
    .push(")")
    .rows(conn)?;
    rows.into_iter()
        .map(
            |(id, kind, stage, responsible, department, open_to_everyone)| {
                Ok(ItemFacts {
                    id: ItemId(id),
                    kind: word(ItemKind::from_text, &kind, "items", "kind", id)?,
                    stage_id: stage.map(StageId),
                    responsible_id: UserId(responsible),
                    responsible_department_id: department.map(DepartmentId),
                    open_to_everyone,
                })
            },
        )
        .collect()
}

fn filtered(
    conn: &AnyConn,
    select: Sql,
    within: &ItemScope,
    kind: ItemKind,
    filter: &ItemFilter,
) -> Sql {
    let mut query = select
        .push(" WHERE i.kind = ")
        .bind(kind.as_text())
        .push(" AND ")
        .then(scope::items(within, "i"));
    if let Some(stages) = &filter.stage_ids {
        query = query
            .push(" AND i.stage_id IN (")
            .list(stages.iter().map(|id| id.0))
            .push(")");
    }
    if let Some(is_open) = filter.is_open {
        query = query.push(" AND i.is_open = ").bind(is_open);
    }
    if let Some(responsible) = filter.responsible_id {
        query = query.push(" AND i.responsible_id = ").bind(responsible.0);
    }
    if let Some(address) = &filter.address_key {
        query = query
            .push(" AND EXISTS (SELECT 1 FROM item_addresses a WHERE a.item_id = i.id AND a.address_key = ")
            .bind(address.clone())
            .push(")");
    }
    if let Some(contact) = filter.contact_id {
        query = query
            .push(" AND EXISTS (SELECT 1 FROM deal_contacts d WHERE d.deal_id = i.id AND d.contact_id = ")
            .bind(contact.0)
            .push(")");
    }
    if let Some(text) = &filter.text {
        query = query
            .push(" AND (")
            .then(dialect::contains(conn, "i.title", text))
            .push(" OR ")
            .then(dialect::contains(conn, "COALESCE(i.name, '')", text))
            .push(" OR ")
            .then(dialect::contains(conn, "COALESCE(i.company, '')", text))
            .push(")");
    }
    if let Some(since) = filter.created_since {
        query = query.push(" AND i.created_at >= ").bind(since.micros());
    }
    query
}

/// Where the items of a list lie, if that is little.
fn narrow(
    conn: &mut AnyConn,
    within: &ItemScope,
    filter: &ItemFilter,
) -> Result<Option<Narrow>, StoreError> {
    let is_looked_up = filter.responsible_id.is_some()
        || filter.address_key.is_some()
        || filter.contact_id.is_some();
    if is_looked_up {
        return Ok(None);
    }
    narrow::items(conn, within)
}

/// A page of the items of one kind in the scope.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    within: &ItemScope,
    kind: ItemKind,
    filter: &ItemFilter,
    order: ItemOrder,
    page: &PageRequest,
) -> Result<Page<Item>, StoreError> {
    let narrow = narrow(conn, within, filter)?;
    let query = filtered(conn, order.columns(within), within, kind, filter);
    let query = Narrow::finish(narrow.as_ref(), query, page, order.order(within));
    let rows: Vec<ItemRow> = query.rows(conn)?;
    let rows = rows
        .into_iter()
        .map(|row| item(row).map(|item| (order.key(&item), item)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page.page(rows))
}

/// The next items of one kind, in the order of their ids, that lie in both scopes: what may be read and what may be exported.
///
/// # Errors
/// What the database says.
pub fn export_page(
    conn: &mut AnyConn,
    (readable, exportable): (&ItemScope, &ItemScope),
    (kind, filter): (ItemKind, &ItemFilter),
    after: ItemId,
    limit: i64,
) -> Result<Vec<Item>, StoreError> {
    let rows: Vec<ItemRow> = filtered(conn, sql(COLUMNS), readable, kind, filter)
        .push(" AND ")
        .then(scope::items(exportable, "i"))
        .push(" AND i.id > ")
        .bind(after.0)
        .push(" ORDER BY i.id LIMIT ")
        .bind(limit)
        .rows(conn)?;
    rows.into_iter().map(item).collect()
}

/// How many items such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    within: &ItemScope,
    kind: ItemKind,
    filter: &ItemFilter,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let narrow = narrow(conn, within, filter)?;
    let query = filtered(conn, sql("SELECT i.id FROM items i"), within, kind, filter);
    count_up_to(conn, Narrow::apply(narrow.as_ref(), query), limit)
}

/// The addresses of these items, in order.
///
/// # Errors
/// What the database says.
pub fn addresses(
    conn: &mut AnyConn,
    ids: &[ItemId],
) -> Result<HashMap<ItemId, Vec<ClientAddress>>, StoreError> {
    let rows: Vec<(i64, String, bool)> =
        sql("SELECT item_id, address, is_undeliverable FROM item_addresses WHERE item_id IN (")
            .list(ids.iter().map(|id| id.0))
            .push(") ORDER BY item_id, position")
            .rows(conn)?;
    let mut found: HashMap<ItemId, Vec<ClientAddress>> = HashMap::new();
    for (id, address, is_undeliverable) in rows {
        found.entry(ItemId(id)).or_default().push(ClientAddress {
            address,
            is_undeliverable,
        });
    }
    Ok(found)
}

/// The phones of these contacts, in order.
///
/// # Errors
/// What the database says.
pub fn phones(
    conn: &mut AnyConn,
    ids: &[ItemId],
) -> Result<HashMap<ItemId, Vec<String>>, StoreError> {
    let rows: Vec<(i64, String)> = sql("SELECT item_id, phone FROM item_phones WHERE item_id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(") ORDER BY item_id, position")
        .rows(conn)?;
    let mut found: HashMap<ItemId, Vec<String>> = HashMap::new();
    for (id, phone) in rows {
        found.entry(ItemId(id)).or_default().push(phone);
    }
    Ok(found)
}

/// The contacts of these deals, in order; whether they may be seen is the caller's question.
///
/// # Errors
/// What the database says.
pub fn deal_contacts(
    conn: &mut AnyConn,
    ids: &[ItemId],
) -> Result<HashMap<ItemId, Vec<ItemId>>, StoreError> {
    let rows: Vec<(i64, i64)> =
        sql("SELECT deal_id, contact_id FROM deal_contacts WHERE deal_id IN (")
            .list(ids.iter().map(|id| id.0))
            .push(") ORDER BY deal_id, position, contact_id")
            .rows(conn)?;
    let mut found: HashMap<ItemId, Vec<ItemId>> = HashMap::new();
    for (deal, contact) in rows {
        found.entry(ItemId(deal)).or_default().push(ItemId(contact));
    }
    Ok(found)
}

/// What converting these leads made; leads that were not converted are left out.
///
/// # Errors
/// What the database says.
pub fn conversions(
    conn: &mut AnyConn,
    lead_ids: &[ItemId],
) -> Result<Vec<LeadConversion>, StoreError> {
    let rows: Vec<(i64, i64, Option<i64>, Option<i64>, Option<i64>)> = sql(
        "SELECT lead_id, at, by_user_id, deal_id, contact_id FROM lead_conversions WHERE lead_id IN (",
    )
    .list(lead_ids.iter().map(|id| id.0))
    .push(")")
    .rows(conn)?;
    let conversion =
        |(lead, at, by, deal, contact): (i64, i64, Option<i64>, _, _)| LeadConversion {
            lead_id: ItemId(lead),
            at: Time::from_micros(at),
            by: by.map(UserId),
            deal_id: Option::map(deal, ItemId),
            contact_id: Option::map(contact, ItemId),
        };
    Ok(rows.into_iter().map(conversion).collect())
}

/// The leads that were converted into these deals, made or chosen for it; other deals are left out.
///
/// # Errors
/// What the database says.
pub fn converted_from(
    conn: &mut AnyConn,
    deal_ids: &[ItemId],
) -> Result<HashMap<ItemId, Vec<ItemId>>, StoreError> {
    let rows: Vec<(i64, i64)> =
        sql("SELECT deal_id, lead_id FROM lead_conversions WHERE deal_id IN (")
            .list(deal_ids.iter().map(|id| id.0))
            .push(") ORDER BY lead_id")
            .rows(conn)?;
    let mut found: HashMap<ItemId, Vec<ItemId>> = HashMap::new();
    for (deal, lead) in rows {
        found.entry(ItemId(deal)).or_default().push(ItemId(lead));
    }
    Ok(found)
}
