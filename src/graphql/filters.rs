//! What lists can be narrowed and ordered by: inputs in, the store's filters out.
//!
//! A filter that names what the viewer may not see matches nothing, as one that names nothing does (R27):
//! else it would tell whether a hidden thing is tied to a visible one.

use async_graphql::{Enum, ID, InputObject, Result};

use super::context::Ask;
use super::email::{Direction, EmailOutcome};
use super::error;
use super::ids::{no_item, nowhere};
use super::item::Item;
use super::loaders::MailMailboxes;
use super::scalars::DateTime;
use super::thread::ThreadFilter;
use crate::actions::fields;
use crate::model::item::ItemKind;
use crate::model::people::RestrictedField;
use crate::model::{ItemId, MailboxId, StageId, UserId};
use crate::store::emails::EmailFilter as EmailRows;
use crate::store::items::{ItemFilter, ItemOrder as RowOrder, ItemOrderField as RowField};
use crate::store::threads::ThreadFilter as ThreadRows;

/// What a list of items is ordered by.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::store::items::ItemOrderField")]
pub enum ItemOrderField {
    /// When they were made.
    CreatedAt,
    /// When their newest timeline entry was made.
    LastActivityAt,
    /// What they are called.
    Title,
}

/// Which end of a list comes first.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderDirection {
    /// The smallest or oldest first.
    Asc,
    /// The largest or newest first.
    Desc,
}

/// How a list of items is ordered; without it, the newest items come first.
#[derive(InputObject, Debug, Clone, Copy)]
pub struct ItemOrder {
    /// What it is ordered by.
    field: ItemOrderField,
    /// Which end comes first.
    #[graphql(default_with = "OrderDirection::Desc")]
    direction: OrderDirection,
}

/// The store's order.
pub fn row_order(order: Option<ItemOrder>) -> RowOrder {
    order.map_or(
        RowOrder {
            field: RowField::CreatedAt,
            descending: true,
        },
        |order| RowOrder {
            field: order.field.into(),
            descending: order.direction == OrderDirection::Desc,
        },
    )
}

/// What a list of leads is narrowed by; everything given must hold.
#[derive(InputObject, Debug, Clone, Default)]
pub struct LeadFilter {
    /// In one of these stages.
    stage_ids: Option<Vec<ID>>,
    /// Open, or closed.
    is_open: Option<bool>,
    /// With this user responsible.
    responsible_id: Option<ID>,
    /// With this mail address.
    address: Option<String>,
    /// With this in the title or name.
    text: Option<String>,
    /// Made at this moment or later.
    created_since: Option<DateTime>,
}

/// What a list of deals is narrowed by; everything given must hold.
#[derive(InputObject, Debug, Clone, Default)]
pub struct DealFilter {
    /// In one of these stages.
    stage_ids: Option<Vec<ID>>,
    /// Open, or closed.
    is_open: Option<bool>,
    /// With this user responsible.
    responsible_id: Option<ID>,
    /// With this contact.
    contact_id: Option<ID>,
    /// With this in the title.
    text: Option<String>,
    /// Made at this moment or later.
    created_since: Option<DateTime>,
}

/// What a list of contacts is narrowed by; everything given must hold.
#[derive(InputObject, Debug, Clone, Default)]
pub struct ContactFilter {
    /// With this user responsible.
    responsible_id: Option<ID>,
    /// With this mail address.
    address: Option<String>,
    /// With this in the name or company.
    text: Option<String>,
    /// Made at this moment or later.
    created_since: Option<DateTime>,
}

/// What a list of emails is narrowed by; everything given must hold.
#[derive(InputObject, Debug, Clone, Default)]
pub struct EmailFilter {
    /// Of this mailbox; none without access to it.
    mailbox_id: Option<ID>,
    /// Linked to this item.
    item_id: Option<ID>,
    /// Of this conversation.
    thread_id: Option<ID>,
    /// That came in, or went out.
    direction: Option<Direction>,
    /// With one of these outcomes.
    outcomes: Option<Vec<EmailOutcome>>,
    /// With this in the sender's name or address.
    from: Option<String>,
    /// With this in a recipient's name or address.
    to: Option<String>,
    /// With this in the subject.
    subject: Option<String>,
    /// With this Message-ID header.
    message_id: Option<String>,
    /// Received at this moment or later.
    received_since: Option<DateTime>,
    /// Received before this moment.
    received_before: Option<DateTime>,
}

fn stages(ask: &Ask, ids: Option<Vec<ID>>) -> Option<Vec<StageId>> {
    ids.map(|ids| ids.iter().map(|id| ask.open_for_filter(id)).collect())
}

fn responsible(ask: &Ask, id: Option<ID>) -> Option<UserId> {
    id.map(|id| ask.open_for_filter(&id))
}

/// A text to look for; one of blanks looks for nothing.
fn words(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

/// An address to look for, where the viewer may see the addresses: else lists would answer whose it is (R26).
fn address(
    ask: &Ask,
    address: Option<String>,
    hidden_by: RestrictedField,
) -> Result<Option<String>> {
    match address {
        Some(_) if ask.hides(hidden_by) => Err(error::forbidden()),
        // What is no address is nobody's.
        Some(address) => Ok(Some(
            fields::address("address", &address)
                .map_or_else(|_refused| String::new(), |(_written, key)| key),
        )),
        None => Ok(None),
    }
}

/// The item that a filter names, if the viewer may read it.
async fn item(ask: &Ask, id: Option<ID>, kind: Option<ItemKind>) -> Result<Option<ItemId>> {
    let Some(id) = id else { return Ok(None) };
    let named = ask
        .open_item(&id)
        .filter(|(found, _item)| kind.is_none_or(|kind| kind == *found));
    let Some((_kind, number)) = named else {
        return Ok(Some(no_item()));
    };
    let readable = Item::find(ask, number).await?.is_some();
    Ok(Some(if readable { number } else { no_item() }))
}

impl LeadFilter {
    /// The store's filter.
    ///
    /// # Errors
    /// `FORBIDDEN` for looking for an address whose field is hidden.
    pub fn rows(self, ask: &Ask) -> Result<ItemFilter> {
        Ok(ItemFilter {
            stage_ids: stages(ask, self.stage_ids),
            is_open: self.is_open,
            responsible_id: responsible(ask, self.responsible_id),
            address_key: address(ask, self.address, RestrictedField::LeadAddresses)?,
            contact_id: None,
            text: words(self.text),
            created_since: self.created_since.map(|since| since.0),
        })
    }
}

impl DealFilter {
    /// The store's filter.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn rows(self, ask: &Ask) -> Result<ItemFilter> {
        Ok(ItemFilter {
            stage_ids: stages(ask, self.stage_ids),
            is_open: self.is_open,
            responsible_id: responsible(ask, self.responsible_id),
            address_key: None,
            contact_id: item(ask, self.contact_id, Some(ItemKind::Contact)).await?,
            text: words(self.text),
            created_since: self.created_since.map(|since| since.0),
        })
    }
}

impl ContactFilter {
    /// The store's filter.
    ///
    /// # Errors
    /// `FORBIDDEN` for looking for an address whose field is hidden.
    pub fn rows(self, ask: &Ask) -> Result<ItemFilter> {
        Ok(ItemFilter {
            responsible_id: responsible(ask, self.responsible_id),
            address_key: address(ask, self.address, RestrictedField::ContactAddresses)?,
            text: words(self.text),
            created_since: self.created_since.map(|since| since.0),
            ..ItemFilter::default()
        })
    }
}

impl EmailFilter {
    /// The store's filter.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn rows(self, ask: &Ask) -> Result<EmailRows> {
        let outcomes = |outcomes: Vec<EmailOutcome>| outcomes.into_iter().map(Into::into).collect();
        Ok(EmailRows {
            mailbox_id: mailbox(ask, self.mailbox_id).await?,
            folder_id: None,
            item_id: item(ask, self.item_id, None).await?,
            thread_id: self.thread_id.map(|id| ask.open_for_filter(&id)),
            direction: self.direction.map(Into::into),
            outcomes: self.outcomes.map(outcomes),
            from: words(self.from),
            to: words(self.to),
            subject: words(self.subject),
            message_id: words(self.message_id),
            received_since: self.received_since.map(|since| since.0),
            received_before: self.received_before.map(|before| before.0),
        })
    }
}

impl ThreadFilter {
    /// The store's filter.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn rows(self, ask: &Ask) -> Result<ThreadRows> {
        Ok(ThreadRows {
            mailbox_id: mailbox(ask, self.mailbox_id).await?,
            item_id: item(ask, self.item_id, None).await?,
        })
    }
}

/// The mailbox that a filter names, with access to its mail: else the list would tell which mailbox an email is of.
async fn mailbox(ask: &Ask, id: Option<ID>) -> Result<Option<MailboxId>> {
    let Some(id) = id else { return Ok(None) };
    let Some(number) = ask.open::<MailboxId>(&id) else {
        return Ok(Some(nowhere()));
    };
    let accessible = ask.load::<MailMailboxes>(number).await?.is_some();
    Ok(Some(if accessible { number } else { nowhere() }))
}
