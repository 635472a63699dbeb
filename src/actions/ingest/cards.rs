//! Contacts from vCards (R19): whom a saved mail introduces becomes a contact, once.
//! Not for: reading cards (that is `mail::vcard`).

use super::facts::{Context, MailFacts, is_listed};
use super::known::Known;
use crate::actions::saving::cut;
use crate::mail::vcard::Card;
use crate::model::ItemId;
use crate::model::decisions::Who;
use crate::model::item::ItemKind;
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::rules::routing::MADE_PER_HOUR_MAX;
use crate::store::item_writes::{self, NewItem};
use crate::store::{StoreError, Tx};

/// Makes a contact of each card that names somebody outside whom no contact stands for yet. Whoever answers for the
/// mail (its primary item's responsible) answers for them too: an introduction is no new request, and takes no turn
/// in the queue. A card without an address makes nothing, since it could not be known again; nor do excluded ones.
pub(super) fn make_contacts(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (mail, cards): (&MailFacts, &[Card]),
    saved_on: &[ItemId],
) -> Result<(), StoreError> {
    if !context.settings.vcard_contacts || cards.is_empty() {
        return Ok(());
    }
    let Some(&primary) = saved_on.first() else {
        return Ok(());
    };
    let Some(responsible) = known
        .item(tx.conn, primary)?
        .map(|item| item.responsible_id)
    else {
        return Ok(());
    };
    for card in cards {
        let is_flooded = known.made(mail) >= MADE_PER_HOUR_MAX;
        if !is_flooded && is_stranger(tx, known, context, card)? {
            known.add_made(mail, 1);
            let new = NewItem::new(ItemKind::Contact, "", responsible);
            insert(tx, known, context, card, new)?;
        }
    }
    Ok(())
}

/// Whether all its addresses are a client's, none is excluded, and none has a contact.
fn is_stranger(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    card: &Card,
) -> Result<bool, StoreError> {
    for key in &card.addresses {
        let is_ours = context.party(key, None).who != Who::Client;
        if is_ours
            || is_listed(&context.crm.exclusions, key)
            || !known.client_facts(tx, key)?.contacts.is_empty()
        {
            return Ok(false);
        }
    }
    Ok(!card.addresses.is_empty())
}

fn insert(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    card: &Card,
    mut new: NewItem,
) -> Result<(), StoreError> {
    let first = card.addresses.first().cloned().unwrap_or_default();
    let name = cut(card.name.as_deref().unwrap_or(&first));
    new.title.clone_from(&name);
    new.name = Some(name);
    new.company = card.company.as_deref().map(cut);
    new.source = Some(context.settings.source.clone()).filter(|source| !source.is_empty());
    let contact = item_writes::insert_later(tx, new)?;
    // Introductions are few: their rows need not wait for others.
    tx.flush()?;
    let id = contact.id;
    let addresses: Vec<(String, String)> = card
        .addresses
        .iter()
        .map(|key| (key.clone(), key.clone()))
        .collect();
    item_writes::replace_addresses(tx, id, &addresses)?;
    item_writes::replace_phones(tx, id, &card.phones)?;
    let entry = NewTimelineEntry {
        item_id: id,
        actor_id: Some(context.mailbox.connector_id),
        told: Told::ItemCreated,
    };
    known.note_contact(contact, &card.addresses);
    known.tell(tx, entry, None);
    Ok(())
}
