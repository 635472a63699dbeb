//! Contacts from vCards (R19): whom a saved mail introduces becomes a contact, once.
//! Not for: reading cards (that is `mail::vcard`), or whom they make contacts of (that is `rules::introduction`).

use super::facts::{Context, MailFacts};
use super::known::Known;
use crate::actions::saving::cut;
use crate::mail::vcard::Card;
use crate::model::ItemId;
use crate::model::item::ItemKind;
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::rules::introduction::{CardAddress, CardFacts, Introduction, introduce};
use crate::store::item_writes::{self, NewItem};
use crate::store::{StoreError, Tx};

/// Makes the contacts that the mail's cards introduce. Whoever answers for the mail (its primary item's responsible)
/// answers for them too: an introduction is no new request, and takes no turn in the queue.
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
        let facts = card_facts(tx, known, context, (mail, card))?;
        if introduce(&facts) == Introduction::MakesContact {
            known.add_made(mail, 1);
            let new = NewItem::new(ItemKind::Contact, "", responsible);
            insert(tx, known, context, card, new)?;
        }
    }
    Ok(())
}

fn card_facts(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (mail, card): (&MailFacts, &Card),
) -> Result<CardFacts, StoreError> {
    let mut addresses = Vec::with_capacity(card.addresses.len());
    for key in &card.addresses {
        let party = context.party(key, None);
        addresses.push(CardAddress {
            who: party.who,
            is_excluded: party.is_excluded,
            has_contact: !known.client_facts(tx, key)?.contacts.is_empty(),
        });
    }
    Ok(CardFacts {
        addresses,
        made_this_hour: known.made(mail),
    })
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
