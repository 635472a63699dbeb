//! A person outside is erased (R47): the mails in which nobody else outside stands with every byte, drafts to them or in
//! answer to these, the leads and contacts that are theirs alone, their addresses on others. Mails and drafts in which other
//! people outside stand as well are erased only where that is asked for; they are counted in the report. While mail to them
//! is on its way, nothing is erased. A hash of each erased mail stays, so that it does not come back from the server; the
//! audit log keeps that something was erased, and numbers.
//!
//! Deals stay, without the contact; so do backups, which are the operator's. The bytes leave the raw store with the next
//! upkeep, a day later at most.
//! Not for: retention by age (that is `worker::upkeep`).

use super::delete_item::{self, DeleteItem};
use super::{ActionResult, Actions, acting, audit, fields, idempotency, leaving};
use crate::mail::address::AddressKey;
use crate::model::item::ItemKind;
use crate::model::people::Viewer;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{DraftId, EmailId, ItemId, Time};
use crate::rules::erasing::{Whose, whose};
use crate::store::persons::{self, Mails, PersonsDraft, PersonsItem};
use crate::store::{self, Tx, erasure};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;

/// Addresses of one person.
const ADDRESSES_MAX: usize = 20;
/// Mails that one request erases: each is a few statements. Whoever has more is asked for again.
const MAILS_MAX: i64 = 1_000;

/// A person to erase.
#[derive(Debug, Clone, Serialize)]
pub struct ErasePerson {
    pub addresses: Vec<String>,
    /// Also mails that are other people's as well.
    pub include_shared: bool,
    /// Only say what would go.
    pub is_dry_run: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasureReport {
    pub emails: i64,
    pub attachments: i64,
    pub bytes: i64,
    pub leads: i64,
    pub contacts: i64,
    /// Leads and contacts with further addresses, which lost these alone.
    pub items_kept: i64,
    /// Mails that other people outside stand in as well.
    pub shared_emails_kept: i64,
    /// Mails that are left for the next request.
    pub emails_left: i64,
    /// What was written and did not become a mail beside those.
    pub drafts: i64,
    /// Drafts that are for other people outside as well.
    pub shared_drafts_kept: i64,
}

impl ErasureReport {
    fn numbers(self) -> Vec<i64> {
        vec![
            self.emails,
            self.attachments,
            self.bytes,
            self.leads,
            self.contacts,
            self.items_kept,
            self.shared_emails_kept,
            self.emails_left,
            self.drafts,
            self.shared_drafts_kept,
        ]
    }

    fn of(numbers: &[i64]) -> ActionResult<Self> {
        let number = |place| idempotency::nth(numbers, place);
        Ok(Self {
            emails: number(0)?,
            attachments: number(1)?,
            bytes: number(2)?,
            leads: number(3)?,
            contacts: number(4)?,
            items_kept: number(5)?,
            shared_emails_kept: number(6)?,
            emails_left: number(7)?,
            // A result that was kept before drafts were erased has none of them.
            drafts: numbers.get(8).copied().unwrap_or(0),
            shared_drafts_kept: numbers.get(9).copied().unwrap_or(0),
        })
    }
}

/// Erases a person, or says what would go.
///
/// # Errors
/// `FORBIDDEN` for anybody but administrators, `BAD_INPUT` for what is no address, or one of our own people's,
/// `CHANGED_SINCE` while mail to them is on its way, `STALE` where their mails are moved at this moment.
pub async fn erase(
    actions: &Actions,
    viewer: &Viewer,
    input: ErasePerson,
    key: Option<String>,
    now: Time,
) -> ActionResult<ErasureReport> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            acting::require_administrator(viewer)?;
            let keys = keys_of(&input.addresses)?;
            if input.is_dry_run {
                return Ok(plan(tx, &keys, &input)?.report);
            }
            let done = idempotency::once(tx, viewer, "erasePerson", key.as_deref(), &hash, |tx| {
                Ok(erase_once(tx, viewer, &keys, &input)?.numbers())
            })?;
            ErasureReport::of(&done)
        })
        .await
}

fn keys_of(addresses: &[String]) -> ActionResult<Vec<String>> {
    if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
        let message = format!("Give 1 to {ADDRESSES_MAX} addresses.");
        return Err(acting::bad_input("addresses", message));
    }
    let mut keys = BTreeSet::new();
    for address in addresses {
        let (_written, key) = fields::address("addresses", address)?;
        keys.insert(key);
    }
    Ok(keys.into_iter().collect())
}

/// What is to go.
struct Plan {
    emails: Vec<EmailId>,
    drafts: Vec<DraftId>,
    items: Vec<PersonsItem>,
    report: ErasureReport,
}

fn plan(tx: &mut Tx<'_>, keys: &[String], input: &ErasePerson) -> ActionResult<Plan> {
    if !persons::ours_among(tx.conn, keys)?.is_empty() {
        let message = "One of them is of a user or a mailbox of ours.";
        return Err(acting::bad_input("addresses", message));
    }
    let mut emails = persons::emails(tx.conn, keys, Mails::Own, MAILS_MAX)?;
    let mut all = persons::count(tx.conn, keys, Mails::Own)?;
    let shared = persons::count(tx.conn, keys, Mails::Shared)?;
    let mut report = ErasureReport::default();
    if input.include_shared {
        let room = MAILS_MAX.saturating_sub(i64::try_from(emails.len()).unwrap_or(MAILS_MAX));
        emails.extend(persons::emails(tx.conn, keys, Mails::Shared, room)?);
        all = all.saturating_add(shared);
    } else {
        report.shared_emails_kept = shared;
    }
    let items = persons::items(tx.conn, keys)?;
    let gone = |kind| {
        let gone = items
            .iter()
            .filter(|item| item.kind == kind && item.other_addresses == 0);
        i64::try_from(gone.count()).unwrap_or(i64::MAX)
    };
    report.leads = gone(ItemKind::Lead);
    report.contacts = gone(ItemKind::Contact);
    let kept = items.iter().filter(|item| item.other_addresses > 0);
    report.items_kept = i64::try_from(kept.count()).unwrap_or(i64::MAX);
    (report.bytes, report.attachments) = persons::sizes(tx.conn, &emails)?;
    report.emails = i64::try_from(emails.len()).unwrap_or(i64::MAX);
    report.emails_left = all.saturating_sub(report.emails);
    let (drafts, others) = drafts(tx, keys, (&emails, &items))?;
    let mut drafts = drafts;
    if input.include_shared {
        drafts.extend(others);
    } else {
        report.shared_drafts_kept = i64::try_from(others.len()).unwrap_or(i64::MAX);
    }
    report.drafts = i64::try_from(drafts.len()).unwrap_or(i64::MAX);
    drafts.sort_unstable();
    Ok(Plan {
        emails,
        drafts,
        items,
        report,
    })
}

/// The drafts that are about this person alone, and those that are for others outside as well.
fn drafts(
    tx: &mut Tx<'_>,
    keys: &[String],
    (emails, items): (&[EmailId], &[PersonsItem]),
) -> ActionResult<(Vec<DraftId>, Vec<DraftId>)> {
    let gone: Vec<ItemId> = gone(items).collect();
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for draft in persons::drafts(tx.conn, keys, emails, &gone)? {
        let for_whom: BTreeSet<String> = draft
            .recipients
            .iter()
            .filter_map(|address| Some(AddressKey::parse(address)?.into_string()))
            .collect();
        let PersonsDraft { id, is_theirs, .. } = draft;
        if is_theirs {
            own.push(id);
            continue;
        }
        let recipients: Vec<String> = for_whom.iter().cloned().collect();
        let ours = persons::ever_ours_among(tx.conn, &recipients)?;
        match whose(keys, &for_whom, &ours) {
            Whose::Theirs => own.push(id),
            Whose::Shared => shared.push(id),
            Whose::Others => {}
        }
    }
    Ok((own, shared))
}

/// The items that are this person's alone.
fn gone(items: &[PersonsItem]) -> impl Iterator<Item = ItemId> {
    items
        .iter()
        .filter(|item| item.other_addresses == 0)
        .map(|item| item.id)
}

fn erase_once(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    keys: &[String],
    input: &ErasePerson,
) -> ActionResult<ErasureReport> {
    let items = persons::items(tx.conn, keys)?;
    let items: Vec<ItemId> = items.iter().map(|item| item.id).collect();
    leaving::lock_clients_and(tx, &items, keys)?;
    let plan = plan(tx, keys, input)?;
    lock(tx, &plan)?;
    for item in &plan.items {
        erase_item(tx, viewer, keys, item)?;
    }
    for id in &plan.emails {
        let Some(email) = store::emails::get(tx.conn, *id)? else {
            continue;
        };
        let linked: Vec<ItemId> = store::links::of_emails(tx.conn, &[*id])?
            .into_iter()
            .map(|link| link.item_id)
            .collect();
        if !linked.is_empty() {
            let facts = store::items::facts(tx.conn, &linked)?;
            leaving::remove(tx, viewer, (&email, &facts))?;
        }
    }
    erasure::erase_drafts(tx, &plan.drafts)?;
    erasure::erase_emails(tx, &plan.emails)?;
    persons::forget_counts(tx, keys)?;
    let report = plan.report;
    let detail = json!({
        "addresses": keys.len(), "emails": report.emails, "bytes": report.bytes, "leads": report.leads,
        "contacts": report.contacts, "emailsLeft": report.emails_left, "drafts": report.drafts,
    });
    audit::record(tx, Some(viewer.user_id), "erasePerson", "person", &detail)?;
    Ok(report)
}

/// Locks all that is to change, in the order that all keep: items, emails, drafts.
fn lock(tx: &mut Tx<'_>, plan: &Plan) -> ActionResult<()> {
    let links = store::links::of_emails(tx.conn, &plan.emails)?;
    let of_person = plan.items.iter().map(|item| item.id);
    let items: BTreeSet<ItemId> = of_person
        .chain(links.iter().map(|link| link.item_id))
        .collect();
    let locked: Vec<ItemId> = items.iter().copied().collect();
    store::item_writes::lock(tx, &locked)?;
    let gone: Vec<ItemId> = gone(&plan.items).collect();
    persons::lock_emails(tx, &plan.emails, &gone)?;
    let links = store::links::of_emails(tx.conn, &plan.emails)?;
    if links.iter().any(|link| !items.contains(&link.item_id)) {
        // One was moved while this waited; its new item can't be locked behind it.
        let message = "Their mails are moved at this moment; try again.";
        return Err(Refusal::at(ErrorCode::Stale, "addresses", message).into());
    }
    if persons::lock_drafts(tx, &plan.drafts)? > 0 {
        let message = "Mail to them is on its way, or waits to be sent: take it back (cancelSending), or wait until it has gone out.";
        return Err(Refusal::at(ErrorCode::ChangedSince, "addresses", message).into());
    }
    Ok(())
}

/// An item of this person alone goes; another loses these addresses.
fn erase_item(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    keys: &[String],
    item: &PersonsItem,
) -> ActionResult<()> {
    if item.other_addresses == 0 {
        let wish = DeleteItem {
            kind: item.kind,
            id: item.id,
            expected_version: None,
        };
        return delete_item::remove(tx, viewer, wish, "erasePerson");
    }
    store::item_writes::lock(tx, &[item.id])?;
    let mut rows = store::item_writes::address_rows(tx, item.id)?;
    rows.retain(|row| !keys.contains(&row.address_key));
    store::item_writes::replace_address_rows(tx, item.id, &rows)?;
    Ok(())
}
