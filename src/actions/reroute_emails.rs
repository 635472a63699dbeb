//! The rules applied again to chosen emails (R3, R20): after the settings were changed, or a mail was held back.
//!
//! - An email that is not saved is judged as if it came now, from the folder that it lies in now. Access to the mailbox
//!   is enough (R24): the rules choose, with the queue.
//! - An email that somebody has saved, linked, moved or taken out by hand stays where it is.
//! - An email that the rules saved, and nobody has touched, is judged as if it were not saved yet, and as if the items
//!   that it made alone were not there. Where the rules choose the same again, nothing changes. Where they choose other
//!   items, it is moved there, with an entry on each item; that takes update on each item concerned, old and new, and
//!   create for what is made. Where the rules would not save it, it stays saved: taking it out is for people.
//! - Whatever is decided, nothing is deleted, and the time that it was saved stays.
//!
//! Each email is changed in a transaction of its own, so that a hundred mails hold no locks for each other; an
//! idempotency key goes with each, so that a call that broke off is completed by asking again.
//! Not for: emails of mailboxes that the caller has no access to.

use super::ingest::judge::{
    Decided, Fate, Judged, Judgement, OUTCOME_STEP, OutcomeSeen, decide, judge, make, put_trace,
    saved_step,
};
use super::ingest::known::Known;
use super::ingest::stored::{self, Stored};
use super::{ActionError, ActionResult, Actions, acting, idempotency, relink, save_email};
use crate::model::email::{Email, EmailOutcome};
use crate::model::item::ItemKind;
use crate::model::people::Viewer;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::timeline::Told;
use crate::model::{EmailId, ItemId, Time, UserId};
use crate::rules::access::{self, Surface};
use crate::rules::trace::facts_seen;
use crate::store::{Tx, email_writes, emails, item_writes, items, links, users};
use crate::text_enum;

/// Emails of one call: a page of a list. More are asked for page by page.
pub const EMAILS_MAX: usize = 100;

text_enum! {
    /// What became of an email that the rules were applied to again.
    Rerouted {
        /// It was not saved; now it is.
        Saved = "SAVED",
        /// The rules keep it unsaved, perhaps for another reason than before.
        StaysUnsaved = "STAYS_UNSAVED",
        /// The rules had saved it, and choose the same again.
        Unchanged = "UNCHANGED",
        /// The rules had saved it, and now chose other items: it was moved there.
        Moved = "MOVED",
        /// The rules had saved it and now would not: it stays saved.
        StaysSaved = "STAYS_SAVED",
        /// Somebody has saved, linked, moved or removed it by hand: it stays where it is.
        KeptByHand = "KEPT_BY_HAND",
        /// There is no such email, or the caller may not see it.
        NotFound = "NOT_FOUND",
        /// The caller has no access to its mailbox, or may not change or make every item concerned.
        Forbidden = "FORBIDDEN",
    }
}

/// Applies the rules again; what became of each email, in the order asked for.
///
/// # Errors
/// `BAD_INPUT` for no email, more than [`EMAILS_MAX`] or one that is named twice, `IDEMPOTENCY_KEY_REUSED`. What an
/// email is refused with stands in its result.
pub async fn reroute(
    actions: &Actions,
    viewer: &Viewer,
    ids: Vec<EmailId>,
    key: Option<String>,
    now: Time,
) -> ActionResult<Vec<(EmailId, Rerouted)>> {
    check(&ids)?;
    let hash = idempotency::input_hash(&ids)?;
    let whole = key.clone();
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let name = "rerouteEmails";
            idempotency::once(tx, viewer, name, whole.as_deref(), &hash, |_tx| Ok(vec![]))
        })
        .await?;
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        let key = key.as_ref().map(|key| key_of_one(key, id));
        let done = actions.write_as(viewer, now, move |tx, viewer| {
            let hash = idempotency::input_hash(&id)?;
            let name = "rerouteEmails.one";
            let ids = idempotency::once(tx, viewer, name, key.as_deref(), &hash, |tx| {
                let rerouted = reroute_one(tx, viewer, id)?;
                let place = Rerouted::ALL.iter().position(|other| *other == rerouted);
                let place = place.and_then(|place| i64::try_from(place).ok());
                Ok(vec![place.unwrap_or(0)])
            })?;
            let place = usize::try_from(idempotency::first(&ids)?).unwrap_or(0);
            let rerouted = Rerouted::ALL.get(place).copied();
            Ok(rerouted.unwrap_or(Rerouted::NotFound))
        });
        results.push((id, done.await?));
    }
    Ok(results)
}

fn check(ids: &[EmailId]) -> ActionResult<()> {
    let refused = |message: &str| Err(acting::bad_input("emailIds", message));
    if ids.is_empty() || ids.len() > EMAILS_MAX {
        return refused(&format!("emailIds has 1 to {EMAILS_MAX} emails."));
    }
    let mut unique = ids.to_vec();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() < ids.len() {
        return refused("emailIds names an email twice.");
    }
    Ok(())
}

/// A key for one email of the call: short, whatever the caller's is.
fn key_of_one(key: &str, id: EmailId) -> String {
    let hash = blake3::hash(key.as_bytes());
    format!("{}-{}", hash.to_hex(), id.0)
}

fn reroute_one(tx: &mut Tx<'_>, viewer: &Viewer, id: EmailId) -> ActionResult<Rerouted> {
    let mut sees = |surface| -> ActionResult<bool> {
        let scope = access::emails(viewer, surface);
        Ok(!emails::visible(tx.conn, &scope, &[id])?.is_empty())
    };
    if !sees(Surface::Mailbox)? {
        return Ok(if sees(Surface::Crm)? {
            Rerouted::Forbidden
        } else {
            Rerouted::NotFound
        });
    }
    let Some(stored) = stored::load_locked(tx, id)? else {
        return Ok(Rerouted::NotFound);
    };
    if links::is_by_people(tx.conn, id)? || stored.email.outcome == EmailOutcome::Removed {
        return Ok(Rerouted::KeptByHand);
    }
    if stored.email.outcome == EmailOutcome::Saved {
        return judge_saved(tx, viewer, &stored);
    }
    let mut known = stored.known(tx)?;
    let judgement = judge(
        tx,
        &mut known,
        &stored.context,
        &stored.mail,
        stored.folder,
        judged(&stored),
        &stored.thread,
    )?;
    known.finish(tx)?;
    Ok(match judgement {
        Judgement::Saved(_items) => Rerouted::Saved,
        Judgement::Kept(_) | Judgement::Refused(_) => Rerouted::StaysUnsaved,
    })
}

fn judged(stored: &Stored) -> Judged {
    Judged {
        email_id: stored.email.id,
        message_id: stored.email.message_id,
        received_at: stored.email.received_at,
        by: None,
        // It was counted when it came.
        sender_count: Some(stored.sender_count()),
    }
}

/// Judges a mail that the rules saved, as if they had not, and moves it where they choose other items.
fn judge_saved(tx: &mut Tx<'_>, viewer: &Viewer, stored: &Stored) -> ActionResult<Rerouted> {
    let email = &stored.email;
    let made_alone = made_alone(tx, email)?;
    let mut known = stored.known(tx)?;
    let decided = decide(
        tx,
        &mut known,
        &stored.context,
        &stored.mail,
        stored.folder,
        judged(stored),
        (&stored.thread, &made_alone),
    )?;
    let Ok(decided) = decided else {
        return Ok(Rerouted::StaysSaved);
    };
    let linked: Vec<ItemId> = links::of_emails(tx.conn, &[email.id])?
        .into_iter()
        .map(|link| link.item_id)
        .collect();
    match &decided.fate {
        Fate::Kept(_) => Ok(Rerouted::StaysSaved),
        Fate::Joins(on) if is_same(on, &linked) => Ok(Rerouted::Unchanged),
        Fate::Makes(creation, _client) => {
            let wanted = creation.items.iter().map(|item| item.kind);
            let made: Vec<ItemId> = linked
                .iter()
                .copied()
                .filter(|id| made_alone.contains(id))
                .collect();
            if !made.is_empty() && kinds(tx, &made)? == sorted(wanted.collect()) {
                return Ok(Rerouted::Unchanged);
            }
            move_to(tx, viewer, (stored, known), (&linked, &made_alone), decided)
        }
        Fate::Joins(_) => move_to(tx, viewer, (stored, known), (&linked, &made_alone), decided),
    }
}

/// The items that the mail made, now or when it was judged before, and that nothing else hangs on.
fn made_alone(tx: &mut Tx<'_>, email: &Email) -> ActionResult<Vec<ItemId>> {
    let trace = emails::trace(tx.conn, email.id)?;
    let seen: Option<OutcomeSeen> = trace.and_then(|trace| facts_seen(&trace.steps, OUTCOME_STEP));
    let made: Vec<ItemId> = seen
        .iter()
        .flat_map(|seen| seen.items.iter().chain(&seen.left))
        .filter(|item| item.is_new)
        .map(|item| item.item_id)
        .collect();
    Ok(links::with_no_other_email(tx.conn, email.id, &made)?)
}

/// The same items, and the same one first.
fn is_same(on: &[ItemId], linked: &[ItemId]) -> bool {
    on.first() == linked.first() && sorted(on.to_vec()) == sorted(linked.to_vec())
}

fn kinds(tx: &mut Tx<'_>, ids: &[ItemId]) -> ActionResult<Vec<ItemKind>> {
    let found = items::get_many(tx.conn, ids)?;
    Ok(sorted(found.into_iter().map(|item| item.kind).collect()))
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

/// Moves it, if the caller may (R24).
fn move_to(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    (stored, mut known): (&Stored, Known),
    (linked, made_alone): (&[ItemId], &[ItemId]),
    decided: Decided,
) -> ActionResult<Rerouted> {
    let joined: &[ItemId] = match &decided.fate {
        Fate::Joins(on) => on,
        Fate::Makes(creation, _client) => creation.contact.as_slice(),
        Fate::Kept(_) => &[],
    };
    let all = sorted(linked.iter().chain(joined).copied().collect());
    item_writes::lock(tx, &all)?;
    email_writes::lock(tx, stored.email.id)?;
    // A converted lead holds no mail here: whoever converted it has linked its mail by hand.
    let concerned = relink::concerned(tx, viewer, &all)?;
    if concerned.iter().any(|item| !item.may_update) {
        return Ok(Rerouted::Forbidden);
    }
    let Decided {
        fate,
        mut steps,
        reason,
        ..
    } = decided;
    let context = &stored.context;
    let (made, on) = match fate {
        Fate::Kept(_) => return Ok(Rerouted::StaysSaved),
        Fate::Joins(on) => (Vec::new(), on),
        Fate::Makes(creation, client) => {
            for item in &creation.items {
                if !may_make(tx, viewer, item.kind, creation.responsible)? {
                    return Ok(Rerouted::Forbidden);
                }
            }
            make(tx, &mut known, context, &stored.mail, &creation, &client)?
        }
    };
    known.finish(tx)?;
    let responsible = write(tx, viewer, &stored.email, linked, &on)?;
    let left: Vec<ItemId> = made_alone
        .iter()
        .copied()
        .filter(|id| !on.contains(id))
        .collect();
    steps.push(saved_step((&on, &made, &left), responsible, &reason));
    put_trace(tx, context, stored.email.id, (steps, reason));
    Ok(Rerouted::Moved)
}

fn may_make(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    kind: ItemKind,
    responsible: UserId,
) -> ActionResult<bool> {
    let department = users::get(tx.conn, responsible)?.and_then(|user| user.department_id);
    match save_email::may_create_for(tx, viewer, kind, (responsible, department)) {
        Ok(()) => Ok(true),
        Err(ActionError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the move: the links, their history, an entry on each item, and who answers for it now.
fn write(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    email: &Email,
    linked: &[ItemId],
    on: &[ItemId],
) -> ActionResult<Option<UserId>> {
    let Some(&primary) = on.first() else {
        return Err(Refusal::new(ErrorCode::BadInput, "There is nothing to move it to.").into());
    };
    let was_primary = linked.first().copied();
    for &from in linked.iter().filter(|id| !on.contains(id)) {
        email_writes::delete_link(tx, email.id, from)?;
        let change = (Some(from), None);
        let is_primary = Some(from) == was_primary;
        email_writes::insert_link_change(tx, email.id, None, change, is_primary)?;
        let told = Told::EmailUnlinked {
            email_id: email.id,
            to: Some(primary),
        };
        relink::tell(tx, viewer, from, told);
    }
    for &to in on.iter().filter(|id| !linked.contains(id)) {
        email_writes::insert_link(tx, (email.id, to), false, email.received_at, None)?;
        let change = (None, Some(to));
        email_writes::insert_link_change(tx, email.id, None, change, to == primary)?;
        let told = Told::EmailLinked {
            email_id: email.id,
            from: was_primary,
        };
        relink::tell(tx, viewer, to, told);
    }
    relink::make_primary(tx, email, primary)?;
    tx.links_changed(email.id, linked);
    Ok(items::get(tx.conn, primary)?.map(|item| item.responsible_id))
}
