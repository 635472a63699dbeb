//! Converting a lead makes a contact and/or a deal, or uses existing ones (R36). The lead's emails are then linked to the
//! deal, which becomes their primary item, and still to the lead; without a deal they stay on the lead alone. Mails that
//! are still being written for the lead are the deal's then.
//!
//! Rights: UPDATE on the lead and on what is used, CREATE for what is made. The lead's addresses go to the contact
//! whether or not the viewer may see them: they choose where, not what.
//! Not for: moving single emails.

use super::acting::{self, active_user, facts_json};
use super::fields::{self, ADDRESSES_MAX, Money, NAME_CHARS_MAX, TITLE_CHARS_MAX, check_all};
use super::ingest::CLIENT_LOCKS;
use super::items::{beginning, first_or_named_stage, insert, require_create, tell};
use super::{ActionError, ActionResult, Actions, check_version, idempotency};
use crate::model::item::{Item, ItemFacts, ItemKind, LeadConversion, StageKind};
use crate::model::people::{PermissionAction, RestrictedField, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::timeline::Told;
use crate::model::{EmailId, ItemId, Time, UserId};
use crate::rules::access;
use crate::store::dialect::lock_keys;
use crate::store::item_writes::{self, AddressRow, NewItem};
use crate::store::link_writes::{self, LinkOfItem};
use crate::store::sql::BOUND_MAX;
use crate::store::{self, StoreError, Tx};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Emails of one lead that move in one transaction: below the ids that a transaction may use.
const EMAILS_MAX: i64 = 20_000;

/// A deal to make of a lead.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewDeal {
    /// The lead's where none is given.
    pub title: Option<String>,
    pub amount: Option<Money>,
    /// The lead's where none is given.
    pub responsible_id: Option<UserId>,
}

/// A contact to make of a lead.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewContact {
    /// The lead's name where none is given, else its first address where it is not hidden from the viewer, else its title.
    pub name: Option<String>,
    /// The lead's where none is given.
    pub responsible_id: Option<UserId>,
}

/// What a part of a lead becomes.
#[derive(Debug, Clone, Serialize)]
pub enum Becomes<T> {
    /// A new item.
    New(T),
    /// One that there is.
    Existing(ItemId),
}

impl<T> Becomes<T> {
    const fn existing(&self) -> Option<ItemId> {
        match self {
            Self::New(_) => None,
            Self::Existing(id) => Some(*id),
        }
    }
}

/// A lead to convert. Neither a deal nor a contact: both are made.
#[derive(Debug, Clone, Serialize)]
pub struct ConvertLead {
    pub lead_id: ItemId,
    pub expected_version: Option<i64>,
    pub deal: Option<Becomes<NewDeal>>,
    pub contact: Option<Becomes<NewContact>>,
}

/// What a conversion led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    pub lead_id: ItemId,
    pub deal_id: Option<ItemId>,
    pub contact_id: Option<ItemId>,
}

/// Stands for "none" among the ids of a result; no row has it.
const NONE: i64 = 0;

/// Converts a lead.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `ALREADY_CONVERTED`, `STALE`, `BAD_INPUT`.
pub async fn convert(
    actions: &Actions,
    viewer: &Viewer,
    input: ConvertLead,
    key: Option<String>,
    now: Time,
) -> ActionResult<Converted> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let ids = idempotency::once(tx, viewer, "convertLead", key.as_deref(), &hash, |tx| {
                convert_now(tx, viewer, input)
            })?;
            let id = |place| -> ActionResult<Option<ItemId>> {
                let id = idempotency::nth(&ids, place)?;
                Ok((id != NONE).then_some(ItemId(id)))
            };
            Ok(Converted {
                lead_id: ItemId(idempotency::first(&ids)?),
                deal_id: id(1)?,
                contact_id: id(2)?,
            })
        })
        .await
}

fn convert_now(tx: &mut Tx<'_>, viewer: &Viewer, input: ConvertLead) -> ActionResult<Vec<i64>> {
    let mut ids = vec![input.lead_id];
    ids.extend(input.deal.as_ref().and_then(Becomes::existing));
    ids.extend(input.contact.as_ref().and_then(Becomes::existing));
    lock_addresses(tx, input.lead_id)?;
    // All at once, in the order of their ids.
    item_writes::lock(tx, &ids)?;
    let wanted = (input.lead_id, Some(ItemKind::Lead));
    let update = PermissionAction::Update;
    let (lead, facts) = acting::item(tx, viewer, wanted, update, "leadId")?;
    if !store::items::conversions(tx.conn, &[lead.id])?.is_empty() {
        return Err(Refusal::at(
            ErrorCode::AlreadyConverted,
            "leadId",
            "This lead was converted before.",
        )
        .into());
    }
    check_version(input.expected_version, lead.version)?;
    let (to_deal, to_contact) = match (input.deal, input.contact) {
        (None, None) => (
            Some(Becomes::New(NewDeal::default())),
            Some(Becomes::New(NewContact::default())),
        ),
        asked => asked,
    };
    let addresses = item_writes::address_rows(tx, lead.id)?;
    let contact_id = match to_contact {
        None => None,
        Some(Becomes::New(new)) => Some(
            make_contact(tx, viewer, &lead, &addresses, new).map_err(at(&["contact", "create"]))?,
        ),
        Some(Becomes::Existing(id)) => {
            Some(use_contact(tx, viewer, id, &addresses).map_err(at(&["contact"]))?)
        }
    };
    let deal = match to_deal {
        None => None,
        Some(Becomes::New(new)) => {
            Some(make_deal(tx, viewer, &lead, new).map_err(at(&["deal", "create"]))?)
        }
        Some(Becomes::Existing(id)) => {
            Some(use_deal(tx, viewer, id, lead.id).map_err(at(&["deal"]))?)
        }
    };
    if let (Some((deal, _)), Some(contact)) = (deal, contact_id) {
        add_contact(tx, deal, contact)?;
    }
    close(tx, &lead, &facts)?;
    let conversion = LeadConversion {
        lead_id: lead.id,
        at: tx.now,
        by: Some(viewer.user_id),
        deal_id: deal.map(|(id, _responsible)| id),
        contact_id,
    };
    item_writes::insert_conversion(tx, &conversion)?;
    tell(tx, viewer, lead.id, Told::LeadConverted);
    if let Some(deal) = deal {
        link_emails(tx, viewer, lead.id, deal)?;
        // What is still to be sent belongs where what was sent is now.
        store::drafts::move_to_item(tx, lead.id, deal.0)?;
    }
    let number = |id: Option<ItemId>| id.map_or(NONE, |id| id.0);
    Ok(vec![
        lead.id.0,
        number(conversion.deal_id),
        number(contact_id),
    ])
}

/// Locks the lead's addresses first, as ingest does: mail that comes while the lead is converted is judged before or after it.
fn lock_addresses(tx: &mut Tx<'_>, lead: ItemId) -> Result<(), StoreError> {
    let keys: Vec<String> = item_writes::address_rows(tx, lead)?
        .into_iter()
        .map(|row| row.address_key)
        .collect();
    lock_keys(tx, CLIENT_LOCKS, &keys)
}

/// The same error, about this part of the input.
fn at(part: &'static [&'static str]) -> impl Fn(ActionError) -> ActionError {
    move |error| match error {
        ActionError::Refused(refusals) => {
            let within = fields::within(part);
            ActionError::Refused(refusals.into_iter().map(within).collect())
        }
        other => other,
    }
}

/// An item to make in a lead's stead: as open as the lead, with the lead's responsible where no other is named.
fn beside(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    lead: &Item,
    kind: ItemKind,
    responsible_id: Option<UserId>,
) -> ActionResult<NewItem> {
    let responsible_id = responsible_id.unwrap_or(lead.responsible_id);
    let responsible = active_user(tx, responsible_id, "responsibleId")?;
    let stage = first_or_named_stage(tx, kind, None)?;
    let new = NewItem {
        open_to_everyone: lead.open_to_everyone,
        ..beginning(kind, &responsible, stage.as_ref())
    };
    require_create(viewer, &new, &responsible)?;
    Ok(new)
}

fn make_contact(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    lead: &Item,
    addresses: &[AddressRow],
    asked: NewContact,
) -> ActionResult<ItemId> {
    let new = beside(tx, viewer, lead, ItemKind::Contact, asked.responsible_id)?;
    let given = fields::optional_line("name", asked.name.as_deref(), NAME_CHARS_MAX)?;
    let hides = access::hidden_fields(viewer).contains(&RestrictedField::LeadAddresses);
    // A name that repeats an address would show it to whom addresses are hidden (R26).
    let shown = addresses.first().filter(|_first| !hides);
    let name = given
        .or_else(|| lead.name.clone())
        .or_else(|| shown.map(|row| row.address.clone()))
        .unwrap_or_else(|| lead.title.chars().take(NAME_CHARS_MAX).collect());
    let contact = NewItem {
        title: name.clone(),
        name: Some(name),
        source: lead.source.clone(),
        ..new
    };
    let id = insert(tx, viewer, contact)?;
    item_writes::replace_address_rows(tx, id, addresses)?;
    Ok(id)
}

/// An existing contact gets those of the lead's addresses that it doesn't have, as far as there is room.
fn use_contact(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    id: ItemId,
    addresses: &[AddressRow],
) -> ActionResult<ItemId> {
    let wanted = (id, Some(ItemKind::Contact));
    let update = PermissionAction::Update;
    let (mut contact, _facts) = acting::item(tx, viewer, wanted, update, "existingId")?;
    let mut rows = item_writes::address_rows(tx, id)?;
    let had = rows.len();
    for row in addresses {
        let known = rows.iter().any(|old| old.address_key == row.address_key);
        if !known && rows.len() < ADDRESSES_MAX {
            rows.push(row.clone());
        }
    }
    if rows.len() > had {
        item_writes::replace_address_rows(tx, id, &rows)?;
        contact.version += 1;
        item_writes::update(tx, &contact)?;
    }
    Ok(id)
}

fn make_deal(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    lead: &Item,
    asked: NewDeal,
) -> ActionResult<(ItemId, UserId)> {
    let new = beside(tx, viewer, lead, ItemKind::Deal, asked.responsible_id)?;
    let hides_amount = access::hidden_fields(viewer).contains(&RestrictedField::DealAmount);
    if asked.amount.is_some() && hides_amount {
        let message = "This field is hidden from you.";
        return Err(Refusal::at(ErrorCode::Forbidden, "amount", message).into());
    }
    check_all! {
        title = fields::optional_line("title", asked.title.as_deref(), TITLE_CHARS_MAX),
        amount = asked
            .amount
            .as_ref()
            .map(|money| fields::money("amount", money))
            .transpose(),
    }
    let responsible_id = new.responsible_id;
    let deal = NewItem {
        title: title.unwrap_or_else(|| lead.title.clone()),
        amount,
        origin_lead_id: Some(lead.id),
        ..new
    };
    Ok((insert(tx, viewer, deal)?, responsible_id))
}

/// An existing deal remembers the first lead that was converted into it.
fn use_deal(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    id: ItemId,
    lead: ItemId,
) -> ActionResult<(ItemId, UserId)> {
    let wanted = (id, Some(ItemKind::Deal));
    let update = PermissionAction::Update;
    let (mut deal, _facts) = acting::item(tx, viewer, wanted, update, "existingId")?;
    deal.origin_lead_id = deal.origin_lead_id.or(Some(lead));
    deal.version += 1;
    item_writes::update(tx, &deal)?;
    Ok((deal.id, deal.responsible_id))
}

fn add_contact(tx: &mut Tx<'_>, deal: ItemId, contact: ItemId) -> Result<(), StoreError> {
    let mut contacts = store::items::deal_contacts(tx.conn, &[deal])?
        .remove(&deal)
        .unwrap_or_default();
    if contacts.contains(&contact) {
        return Ok(());
    }
    contacts.push(contact);
    item_writes::replace_deal_contacts(tx, deal, &contacts)
}

/// The lead gets the stage Converted, which closes it.
fn close(tx: &mut Tx<'_>, lead: &Item, facts: &ItemFacts) -> ActionResult<()> {
    let stage = store::settings::stages(tx.conn)?
        .into_iter()
        .find(|stage| stage.item_kind == ItemKind::Lead && stage.kind == StageKind::Converted)
        // Every installation starts with one.
        .ok_or(StoreError::Corrupt {
            table: "stages",
            column: "kind",
            row: 0,
        })?;
    let closed = Item {
        stage_id: Some(stage.id),
        is_open: false,
        version: lead.version + 1,
        ..lead.clone()
    };
    item_writes::update(tx, &closed)?;
    tx.item_changed(lead.id, facts_json(facts)?);
    Ok(())
}

/// Links the lead's emails to the deal as well, makes it their primary item where the lead was, and gives it their open activities.
fn link_emails(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    lead: ItemId,
    (deal, responsible): (ItemId, UserId),
) -> ActionResult<()> {
    if link_writes::count_of_item(tx, lead, EMAILS_MAX)? > EMAILS_MAX {
        return Err(acting::bad_input(
            "deal",
            format!("This lead has more than {EMAILS_MAX} emails, too many to move at once."),
        ));
    }
    link_writes::lock_emails_of(tx, &[lead, deal])?;
    let links = link_writes::lock_of_item(tx, lead)?;
    let there: HashSet<EmailId> = link_writes::lock_of_item(tx, deal)?
        .iter()
        .map(|link| link.email_id)
        .collect();
    let new: Vec<LinkOfItem> = links
        .into_iter()
        .filter(|link| !there.contains(&link.email_id))
        .collect();
    let mut before = items_of_emails(tx, &new)?;
    link_writes::insert_links(tx, deal, &new, viewer.user_id)?;
    link_writes::insert_additions(tx, deal, &new, viewer.user_id)?;
    link_writes::move_primary(tx, lead, deal)?;
    store::activity_writes::reassign_open_of_item(tx, deal, responsible)?;
    for link in &new {
        let email_id = link.email_id;
        let items = before.remove(&email_id).unwrap_or_default();
        tx.links_changed(email_id, &items);
        let told = Told::EmailLinked {
            email_id,
            from: Some(lead),
        };
        tell(tx, viewer, deal, told);
    }
    Ok(())
}

/// The items that these emails hang on.
pub(super) fn items_of_emails(
    tx: &mut Tx<'_>,
    links: &[LinkOfItem],
) -> Result<HashMap<EmailId, Vec<ItemId>>, StoreError> {
    let mut found: HashMap<EmailId, Vec<ItemId>> = HashMap::new();
    for part in links.chunks(BOUND_MAX) {
        let ids: Vec<EmailId> = part.iter().map(|link| link.email_id).collect();
        for link in store::links::of_emails(tx.conn, &ids)? {
            found.entry(link.email_id).or_default().push(link.item_id);
        }
    }
    Ok(found)
}
