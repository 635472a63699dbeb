//! Leads, deals and contacts.

use super::{ItemId, StageId, Time, UserId};
use crate::text_enum;

text_enum! {
    /// The three kinds of item.
    ItemKind { Lead = "LEAD", Deal = "DEAL", Contact = "CONTACT" }
}

text_enum! {
    /// What a stage means; every kind but `Open` is closed.
    StageKind { Open = "OPEN", Converted = "CONVERTED", Junk = "JUNK", Won = "WON", Lost = "LOST" }
}

/// A stage of leads or of deals.
#[derive(Debug, Clone)]
pub struct Stage {
    pub id: StageId,
    pub item_kind: ItemKind,
    pub name: String,
    pub kind: StageKind,
    /// Its place among its item kind's, from 1.
    pub position: i64,
    pub version: i64,
}

/// What every item has, and what one kind alone has (empty for the others).
#[derive(Debug, Clone)]
pub struct Item {
    pub id: ItemId,
    pub kind: ItemKind,
    pub title: String,
    pub responsible_id: UserId,
    pub open_to_everyone: bool,
    /// `None` for contacts.
    pub stage_id: Option<StageId>,
    /// By its stage; contacts are always open.
    pub is_open: bool,
    pub created_at: Time,
    /// When its newest timeline entry was made.
    pub last_activity_at: Time,
    pub version: i64,
    /// Leads and contacts.
    pub name: Option<String>,
    /// Leads and contacts.
    pub source: Option<String>,
    /// Contacts.
    pub company: Option<String>,
    /// Deals: decimal as text and ISO 4217 code.
    pub amount: Option<(String, String)>,
    /// Deals made by converting a lead.
    pub origin_lead_id: Option<ItemId>,
    /// A lead that R15 made for one mail of a known client; such leads don't make their responsible the client's.
    pub is_extra_lead: bool,
}

/// The facts about an item that rights depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ItemFacts {
    pub id: ItemId,
    pub kind: ItemKind,
    pub stage_id: Option<StageId>,
    pub responsible_id: UserId,
    /// The department of the responsible.
    pub responsible_department_id: Option<super::DepartmentId>,
    pub open_to_everyone: bool,
}

/// An address of a lead or contact, in order; the first is the primary one.
#[derive(Debug, Clone)]
pub struct ClientAddress {
    pub address: String,
    pub is_undeliverable: bool,
}

/// What converting a lead made.
#[derive(Debug, Clone)]
pub struct LeadConversion {
    pub lead_id: ItemId,
    pub at: Time,
    pub by: Option<UserId>,
    pub deal_id: Option<ItemId>,
    pub contact_id: Option<ItemId>,
}
