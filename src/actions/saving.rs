//! What saving an email writes, whoever saves it: items, links, entries, the activity. The rules have decided before.
//! Not for: deciding, or rights.

use super::ingest::known::Known;
use super::time_zone::{utc_offset_seconds, utc_offset_seconds_at_local};
use crate::model::activity::ActivityState;
use crate::model::decisions::{Creation, PlannedActivity};
use crate::model::email::Direction;
use crate::model::item::ItemKind;
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::model::{EmailId, ItemId, MessageId, Time, UserId};
use crate::rules::activity::{self, ActivityFacts};
use crate::store::email_writes::{self, NewActivity};
use crate::store::item_writes::NewItem;
use crate::store::{StoreError, Tx, activity_writes};

/// A title or name is cut here: what people read in lists.
const TITLE_CHARS_MAX: usize = 255;

/// The client that items are made for.
#[derive(Debug, Clone)]
pub struct ClientAddressed {
    /// As it stands in the mail.
    pub address: String,
    pub address_key: String,
}

/// An email that is being saved.
#[derive(Debug, Clone, Copy)]
pub struct Saving {
    pub email_id: EmailId,
    pub message_id: MessageId,
    pub received_at: Time,
    pub direction: Direction,
    /// The mailbox's connector: the actor of what the timeline says (R30).
    pub connector_id: UserId,
    /// Who saved it by hand; `None`: the rules did.
    pub by: Option<UserId>,
    pub is_seen: bool,
    pub is_backfill: bool,
}

/// Cuts a text for a title or a name, at a character.
pub fn cut(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(TITLE_CHARS_MAX)
        .collect();
    line.trim().to_owned()
}

/// Makes what the rules planned; the ids in the plan's order, the primary one first, and an existing contact last.
///
/// # Errors
/// What the database says.
pub fn create_items(
    tx: &mut Tx<'_>,
    known: &mut Known,
    plan: &Creation,
    client: &ClientAddressed,
    actor: UserId,
) -> Result<Vec<ItemId>, StoreError> {
    let mut made = Vec::new();
    let mut contact = plan.contact;
    for item in &plan.items {
        let stage_id = known.first_stage(tx, item.kind)?;
        let mut new = NewItem::new(item.kind, cut(&item.title), plan.responsible);
        new.stage_id = stage_id;
        new.name = item.name.as_deref().map(cut);
        new.source = item.source.clone();
        new.is_extra_lead = plan.is_extra_lead && item.kind == ItemKind::Lead;
        let id = known.make_item(tx, new, (&client.address, &client.address_key))?;
        if item.kind == ItemKind::Contact {
            contact = Some(id);
        }
        let entry = NewTimelineEntry {
            item_id: id,
            actor_id: Some(actor),
            told: Told::ItemCreated,
        };
        known.tell(tx, entry, None);
        made.push((id, item.kind));
    }
    if let Some(contact) = contact {
        for (deal, _kind) in made.iter().filter(|(_id, kind)| *kind == ItemKind::Deal) {
            known.tie(tx, *deal, contact);
        }
    }
    let mut ids: Vec<ItemId> = made.into_iter().map(|(id, _kind)| id).collect();
    if let Some(contact) = plan.contact
        && !ids.contains(&contact)
    {
        ids.push(contact);
    }
    Ok(ids)
}

/// Saves an email on these items, the first being its primary one: links with their history, an entry on each
/// item's timeline and the message's activity (R30). Whose the email is: its primary item's responsible.
///
/// # Errors
/// What the database says.
pub fn save_on(
    tx: &mut Tx<'_>,
    known: &mut Known,
    saving: &Saving,
    on: &[ItemId],
) -> Result<Option<UserId>, StoreError> {
    let Some(&primary) = on.first() else {
        return Ok(None);
    };
    let email = (saving.email_id, saving.message_id);
    // An item has one entry for a message (R7): a further copy is no news there. A copy that was only linked to it
    // has made none.
    let told_before = if known
        .items_of_message(saving.message_id, Some(saving.email_id))
        .is_empty()
    {
        Vec::new()
    } else {
        email_writes::items_told_of(tx, saving.message_id, on)?
    };
    if known.was_removed(email) {
        tell_again(tx, known, saving, on)?;
    }
    let begins = if known.may_have_activity(saving.message_id) {
        Begins::Anew
    } else {
        Begins::AtFirst
    };
    let mut linked = Vec::new();
    for &item in on {
        if linked.contains(&item) {
            continue;
        }
        linked.push(item);
        let when = (saving.received_at, saving.by);
        known.link(tx, email, (item, item == primary), when)?;
        let email_id = saving.email_id;
        let entry = NewTimelineEntry {
            item_id: item,
            actor_id: Some(saving.connector_id),
            told: match saving.direction {
                Direction::Incoming => Told::EmailReceived { email_id },
                Direction::Outgoing => Told::EmailSent { email_id },
            },
        };
        if !told_before.contains(&item) {
            known.tell(tx, entry, Some(saving.message_id));
        }
    }
    known.keep_saved(tx, email, primary, saving.direction)?;
    make_activity(tx, known, (saving, begins), primary).map(Some)
}

/// Whether a message gets its to-do, or may have one from before, when it was in the CRM already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    AtFirst,
    Anew,
}

/// The activity's responsible is the primary item's (R30, R31).
fn make_activity(
    tx: &mut Tx<'_>,
    known: &mut Known,
    (saving, begins): (&Saving, Begins),
    primary: ItemId,
) -> Result<UserId, StoreError> {
    let responsible_id = known
        .item(tx.conn, primary)?
        .map(|item| item.responsible_id)
        .ok_or(StoreError::Corrupt {
            table: "items",
            column: "id",
            row: primary.0,
        })?;
    let now = tx.now;
    let zone = known
        .time_zone(tx.conn, responsible_id)?
        .unwrap_or_default();
    let offset = utc_offset_seconds(zone, now);
    let plan = activity::plan(&ActivityFacts {
        direction: saving.direction,
        is_seen: saving.is_seen,
        is_backfill: saving.is_backfill,
        by_hand: saving.by.is_some(),
        now,
        utc_offset_seconds: offset,
        due_utc_offset_seconds: utc_offset_seconds_at_local(zone, activity::due(now, offset)),
    });
    let (state, deadline) = match plan.activity {
        PlannedActivity::Scheduled { deadline } => (ActivityState::Scheduled, Some(deadline)),
        PlannedActivity::Completed => (ActivityState::Completed, None),
    };
    let new = NewActivity {
        message_id: saving.message_id,
        responsible_id,
        state,
        deadline,
    };
    if begins == Begins::AtFirst || !activity_writes::restart(tx, saving.email_id, &new)? {
        email_writes::insert_activity_later(tx, new)?;
    }
    Ok(responsible_id)
}

/// A mail that was removed from the CRM is saved again (R46): the entries that told of it are shown once more, and beside
/// them, as one was told when it was taken off, that it was linked.
fn tell_again(
    tx: &mut Tx<'_>,
    known: &mut Known,
    saving: &Saving,
    on: &[ItemId],
) -> Result<(), StoreError> {
    for item_id in email_writes::items_told_of(tx, saving.message_id, on)? {
        let told = Told::EmailLinked {
            email_id: saving.email_id,
            from: None,
        };
        let entry = NewTimelineEntry {
            item_id,
            actor_id: saving.by,
            told,
        };
        known.tell(tx, entry, None);
    }
    tx.links_changed(saving.email_id, &[]);
    Ok(())
}
