//! Leads, deals and contacts are made and changed by hand.
//!
//! Rights (R23): making needs CREATE on the item as it will be, its responsible included, so that "own" makes items for
//! oneself alone. Changing needs UPDATE on the item as it is; a new stage must be one in which it may be changed too.
//! Handing an item over needs no right to it afterwards: "own" may give away what it has. Whoever gets it must be an
//! active user and need not be able to read it: who answers for an item is a matter of work, who sees it of roles;
//! administrators find saved mail that its responsible can't see listed (R21). A hidden field can't be
//! written (R26). New contacts of a deal must be readable; those that are hidden from whoever replaces the list stay on it.
//! Not for: converting a lead, or items that mail makes.

use super::acting::{self, active_user, bad_input, facts_json};
use super::change::Change;
use super::fields::{self, DEAL_CONTACTS_MAX, Money, NAME_CHARS_MAX, TITLE_CHARS_MAX, check_all};
use super::{ActionResult, Actions, check_version, idempotency};
use crate::model::item::{Item, ItemFacts, ItemKind, Stage, StageKind};
use crate::model::people::{PermissionAction, RestrictedField, User, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::model::{ItemId, StageId, Time, UserId};
use crate::rules::access;
use crate::store::item_writes::{self, AddressRow, NewItem};
use crate::store::{self, StoreError, Tx};
use serde::Serialize;

/// An item to make. What its kind doesn't have stays empty.
#[derive(Debug, Clone, Serialize)]
pub struct CreateItem {
    pub kind: ItemKind,
    /// Leads and deals; a contact is titled by its name.
    pub title: Option<String>,
    /// Leads and contacts.
    pub name: Option<String>,
    pub source: Option<String>,
    pub company: Option<String>,
    pub amount: Option<Money>,
    pub addresses: Vec<String>,
    pub phones: Vec<String>,
    pub contact_ids: Vec<ItemId>,
    /// The first open stage where none is given.
    pub stage_id: Option<StageId>,
    /// The viewer where none is given.
    pub responsible_id: Option<UserId>,
    pub open_to_everyone: bool,
}

impl CreateItem {
    /// An empty item of this kind.
    pub const fn of(kind: ItemKind) -> Self {
        Self {
            kind,
            title: None,
            name: None,
            source: None,
            company: None,
            amount: None,
            addresses: Vec::new(),
            phones: Vec::new(),
            contact_ids: Vec::new(),
            stage_id: None,
            responsible_id: None,
            open_to_everyone: false,
        }
    }
}

/// Makes a lead, a deal or a contact.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND` for what is named, `BAD_INPUT`.
pub async fn create(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateItem,
    key: Option<String>,
    now: Time,
) -> ActionResult<ItemId> {
    let hash = idempotency::input_hash(&input)?;
    let mutation = match input.kind {
        ItemKind::Lead => "createLead",
        ItemKind::Deal => "createDeal",
        ItemKind::Contact => "createContact",
    };
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let made = idempotency::once(tx, viewer, mutation, key.as_deref(), &hash, |tx| {
                add(tx, viewer, &input).map(|id| vec![id.0])
            })?;
            Ok(ItemId(idempotency::first(&made)?))
        })
        .await
}

fn add(tx: &mut Tx<'_>, viewer: &Viewer, input: &CreateItem) -> ActionResult<ItemId> {
    let kind = input.kind;
    let responsible_id = input.responsible_id.unwrap_or(viewer.user_id);
    let responsible = active_user(tx, responsible_id, "responsibleId")?;
    let stage = first_or_named_stage(tx, kind, input.stage_id)?;
    let new = NewItem {
        open_to_everyone: input.open_to_everyone,
        ..beginning(kind, &responsible, stage.as_ref())
    };
    require_create(viewer, &new, &responsible)?;
    refuse_hidden(viewer, kind, |field| match field {
        Restricted::Addresses => !input.addresses.is_empty(),
        Restricted::Phones => !input.phones.is_empty(),
        Restricted::Amount => input.amount.is_some(),
    })?;
    let optional = |field, text: &Option<String>| {
        fields::optional_line(field, text.as_deref(), NAME_CHARS_MAX)
    };
    let titled = |text: &Option<String>, field, max| {
        fields::line(field, text.as_deref().unwrap_or_default(), max)
    };
    check_all! {
        title = match kind {
            ItemKind::Contact => titled(&input.name, "name", NAME_CHARS_MAX),
            ItemKind::Lead | ItemKind::Deal => titled(&input.title, "title", TITLE_CHARS_MAX),
        },
        name = optional("name", &input.name),
        source = optional("source", &input.source),
        company = optional("company", &input.company),
        amount = input
            .amount
            .as_ref()
            .map(|money| fields::money("amount", money))
            .transpose(),
        addresses = fields::addresses("addresses", &input.addresses),
        phones = fields::phones("phones", &input.phones),
        contacts = fields::distinct("contactIds", &input.contact_ids, DEAL_CONTACTS_MAX),
    }
    require_readable_contacts(tx, viewer, &contacts)?;
    let new = NewItem {
        title,
        name,
        source,
        company,
        amount,
        ..new
    };
    let id = insert(tx, viewer, new)?;
    item_writes::replace_address_rows(tx, id, &addresses)?;
    item_writes::replace_phones(tx, id, &phones)?;
    item_writes::replace_deal_contacts(tx, id, &contacts)?;
    Ok(id)
}

/// A new item with nothing but its kind, responsible and stage.
pub(super) fn beginning(kind: ItemKind, responsible: &User, stage: Option<&Stage>) -> NewItem {
    NewItem {
        stage_id: stage.map(|stage| stage.id),
        is_open: stage.is_none_or(|stage| stage.kind == StageKind::Open),
        ..NewItem::new(kind, "", responsible.id)
    }
}

/// Writes a new item and its first timeline entry.
pub(super) fn insert(tx: &mut Tx<'_>, viewer: &Viewer, new: NewItem) -> Result<ItemId, StoreError> {
    let id = item_writes::insert(tx, new)?;
    tell(tx, viewer, id, Told::ItemCreated);
    Ok(id)
}

/// Adds an entry whose actor is the viewer.
pub(super) fn tell(tx: &mut Tx<'_>, viewer: &Viewer, item_id: ItemId, told: Told) {
    let entry = NewTimelineEntry {
        item_id,
        actor_id: Some(viewer.user_id),
        told,
    };
    tx.tell(entry, None);
}

/// Refuses to make an item that the viewer's level doesn't reach. Where it is the responsible alone that lies beyond it,
/// the refusal names that field.
pub(super) fn require_create(
    viewer: &Viewer,
    new: &NewItem,
    responsible: &User,
) -> Result<(), Refusal> {
    let may = |responsible_id, responsible_department_id| {
        let facts = ItemFacts {
            // It has none yet, and no right depends on it.
            id: ItemId(0),
            kind: new.kind,
            stage_id: new.stage_id,
            responsible_id,
            responsible_department_id,
            open_to_everyone: new.open_to_everyone,
        };
        access::decide(viewer, PermissionAction::Create, &facts).is_granted()
    };
    if may(responsible.id, responsible.department_id) {
        return Ok(());
    }
    let what = new.kind.as_text().to_lowercase();
    let forbidden = ErrorCode::Forbidden;
    if may(viewer.user_id, viewer.department_id) {
        let message = format!("You may not make a {what} for {}.", responsible.name);
        Err(Refusal::at(forbidden, "responsibleId", message))
    } else {
        let message = format!("You may not make a {what} here.");
        Err(Refusal::new(forbidden, message))
    }
}

/// What changes about an item; lists replace. What its kind doesn't have is left at `Keep`.
#[derive(Debug, Clone, Serialize)]
pub struct UpdateItem {
    pub id: ItemId,
    pub kind: ItemKind,
    pub expected_version: Option<i64>,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
    pub title: Change<String>,
    pub name: Change<String>,
    pub source: Change<String>,
    pub company: Change<String>,
    pub amount: Change<Money>,
    pub addresses: Change<Vec<String>>,
    pub phones: Change<Vec<String>>,
    pub contact_ids: Change<Vec<ItemId>>,
    pub stage_id: Change<StageId>,
    pub responsible_id: Change<UserId>,
    pub open_to_everyone: Change<bool>,
}

impl UpdateItem {
    /// An update that changes nothing yet.
    pub const fn of(kind: ItemKind, id: ItemId) -> Self {
        Self {
            id,
            kind,
            expected_version: None,
            idempotency_key: None,
            title: Change::Keep,
            name: Change::Keep,
            source: Change::Keep,
            company: Change::Keep,
            amount: Change::Keep,
            addresses: Change::Keep,
            phones: Change::Keep,
            contact_ids: Change::Keep,
            stage_id: Change::Keep,
            responsible_id: Change::Keep,
            open_to_everyone: Change::Keep,
        }
    }
}

/// Changes a lead, a deal or a contact. A new responsible gets its open activities (R31).
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `STALE`, `ALREADY_CONVERTED` for the stage of a converted lead, `BAD_INPUT`.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateItem,
    now: Time,
) -> ActionResult<ItemId> {
    let hash = idempotency::input_hash(&input)?;
    let mutation = match input.kind {
        ItemKind::Lead => "updateLead",
        ItemKind::Deal => "updateDeal",
        ItemKind::Contact => "updateContact",
    };
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let key = input.idempotency_key.clone();
            let done = idempotency::once(tx, viewer, mutation, key.as_deref(), &hash, |tx| {
                change(tx, viewer, input).map(|id| vec![id.0])
            })?;
            Ok(ItemId(idempotency::first(&done)?))
        })
        .await
}

/// The input field that names an item of this kind.
pub(super) const fn id_field(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Lead => "leadId",
        ItemKind::Deal => "dealId",
        ItemKind::Contact => "contactId",
    }
}

fn change(tx: &mut Tx<'_>, viewer: &Viewer, input: UpdateItem) -> ActionResult<ItemId> {
    let update = PermissionAction::Update;
    let wanted = (input.id, Some(input.kind));
    let (before, facts) = acting::item(tx, viewer, wanted, update, id_field(input.kind))?;
    refuse_hidden(viewer, input.kind, |field| match field {
        Restricted::Addresses => input.addresses.is_asked(),
        Restricted::Phones => input.phones.is_asked(),
        Restricted::Amount => input.amount.is_asked(),
    })?;
    check_version(input.expected_version, before.version)?;
    let mut after = changed_texts(&before, &input)?;
    check_all! {
        addresses = input
            .addresses
            .try_map(|texts| fields::addresses("addresses", &texts)),
        phones = input.phones.try_map(|texts| fields::phones("phones", &texts)),
        contacts = input
            .contact_ids
            .try_map(|ids| fields::distinct("contactIds", &ids, DEAL_CONTACTS_MAX)),
        open_to_everyone = input
            .open_to_everyone
            .applied_required("openToEveryone", before.open_to_everyone),
    }
    after.open_to_everyone = open_to_everyone;
    move_stage(tx, viewer, &facts, &mut after, input.stage_id)?;
    if let Some(user) = new_responsible(tx, &before, input.responsible_id)? {
        after.responsible_id = user.id;
    }
    after.version = before.version + 1;
    item_writes::update(tx, &after)?;
    save_lists(tx, viewer, after.id, addresses, phones, contacts)?;
    tell_changes(tx, viewer, (&before, &facts), &after)?;
    Ok(after.id)
}

/// The item with its new texts and amount.
fn changed_texts(before: &Item, input: &UpdateItem) -> ActionResult<Item> {
    let optional = |field, change: &Change<String>| {
        fields::optional_change(field, change.clone(), NAME_CHARS_MAX)
    };
    let required = |field, change: &Change<String>, max, old: &str| {
        change
            .clone()
            .try_map(|text| fields::line(field, &text, max))
            .and_then(|change| change.applied_required(field, old.to_owned()))
    };
    let is_contact = before.kind == ItemKind::Contact;
    check_all! {
        title = if is_contact {
            required("name", &input.name, NAME_CHARS_MAX, &before.title)
        } else {
            required("title", &input.title, TITLE_CHARS_MAX, &before.title)
        },
        name = if is_contact {
            // Its check is the title's.
            Ok(Change::Keep)
        } else {
            optional("name", &input.name)
        },
        source = optional("source", &input.source),
        company = optional("company", &input.company),
        amount = input
            .amount
            .clone()
            .try_map(|money| fields::money("amount", &money)),
    }
    let before = before.clone();
    Ok(Item {
        name: if is_contact {
            Some(title.clone())
        } else {
            name.applied(before.name)
        },
        title,
        source: source.applied(before.source),
        company: company.applied(before.company),
        amount: amount.applied(before.amount),
        ..before
    })
}

/// Moves the item to its new stage, whose kind makes it open or closed.
fn move_stage(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    facts: &ItemFacts,
    item: &mut Item,
    change: Change<StageId>,
) -> ActionResult<()> {
    let stage_id = match change {
        Change::Keep => return Ok(()),
        Change::Clear => return Err(bad_input("stageId", "stageId can't be null.")),
        Change::Set(id) if Some(id) == item.stage_id => return Ok(()),
        Change::Set(id) => id,
    };
    let stage = named_stage(tx, item.kind, stage_id)?;
    if !store::items::conversions(tx.conn, &[item.id])?.is_empty() {
        return Err(Refusal::at(
            ErrorCode::AlreadyConverted,
            "stageId",
            "This lead was converted; it keeps its stage.",
        )
        .into());
    }
    if stage.kind == StageKind::Converted {
        return Err(bad_input(
            "stageId",
            "A lead gets this stage by convertLead only.",
        ));
    }
    let there = ItemFacts {
        stage_id: Some(stage.id),
        ..*facts
    };
    if !access::decide(viewer, PermissionAction::Update, &there).is_granted() {
        return Err(acting::forbidden("stageId").into());
    }
    item.stage_id = Some(stage.id);
    item.is_open = stage.kind == StageKind::Open;
    Ok(())
}

/// The new responsible, where there is to be another one.
fn new_responsible(
    tx: &mut Tx<'_>,
    before: &Item,
    change: Change<UserId>,
) -> ActionResult<Option<User>> {
    match change {
        Change::Set(id) if id != before.responsible_id => {
            active_user(tx, id, "responsibleId").map(Some)
        }
        Change::Keep | Change::Set(_) => Ok(None),
        Change::Clear => Err(bad_input(
            "responsibleId",
            "responsibleId can't be null: every item has a responsible.",
        )),
    }
}

fn save_lists(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    id: ItemId,
    addresses: Change<Vec<AddressRow>>,
    phones: Change<Vec<String>>,
    contacts: Change<Vec<ItemId>>,
) -> ActionResult<()> {
    if addresses.is_asked() {
        let before = item_writes::address_rows(tx, id)?;
        let mut rows = addresses.applied_list(Vec::new());
        for row in &mut rows {
            // An address that bounced is no better for being written again.
            row.is_undeliverable = before
                .iter()
                .any(|old| old.address_key == row.address_key && old.is_undeliverable);
        }
        item_writes::replace_address_rows(tx, id, &rows)?;
    }
    if phones.is_asked() {
        item_writes::replace_phones(tx, id, &phones.applied_list(Vec::new()))?;
    }
    if contacts.is_asked() {
        let rows = replaced_contacts(tx, viewer, id, contacts.applied_list(Vec::new()))?;
        item_writes::replace_deal_contacts(tx, id, &rows)?;
    }
    Ok(())
}

/// The new contacts of a deal, and behind them those it has that are hidden from the viewer: nobody takes off what they can't see.
fn replaced_contacts(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    deal: ItemId,
    wanted: Vec<ItemId>,
) -> ActionResult<Vec<ItemId>> {
    require_readable_contacts(tx, viewer, &wanted)?;
    let had = store::items::deal_contacts(tx.conn, &[deal])?
        .remove(&deal)
        .unwrap_or_default();
    let scope = access::items(viewer, PermissionAction::Read);
    let seen = store::items::readable(tx.conn, &scope, &had)?;
    let hidden = had
        .into_iter()
        .filter(|id| !seen.iter().any(|item| item.id == *id));
    Ok(wanted.into_iter().chain(hidden).collect())
}

/// Refuses contacts that are absent, hidden or no contacts.
fn require_readable_contacts(tx: &mut Tx<'_>, viewer: &Viewer, ids: &[ItemId]) -> ActionResult<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let scope = access::items(viewer, PermissionAction::Read);
    let seen = store::items::readable(tx.conn, &scope, ids)?;
    let contacts = seen
        .iter()
        .filter(|item| item.kind == ItemKind::Contact)
        .count();
    if contacts == ids.len() {
        Ok(())
    } else {
        Err(Refusal::not_found("contactIds").into())
    }
}

/// Tells the timeline, the live streams and the activities what became of the facts.
fn tell_changes(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    (before, facts): (&Item, &ItemFacts),
    after: &Item,
) -> ActionResult<()> {
    let looked_at = |item: &Item| (item.responsible_id, item.stage_id, item.open_to_everyone);
    if looked_at(before) == looked_at(after) {
        return Ok(());
    }
    tx.item_changed(after.id, facts_json(facts)?);
    if before.responsible_id != after.responsible_id {
        let (from, to) = (before.responsible_id, after.responsible_id);
        store::activity_writes::reassign_open_of_item(tx, after.id, to)?;
        tell(tx, viewer, after.id, Told::ResponsibleChanged { from, to });
    }
    if let (Some(from), Some(to)) = (before.stage_id, after.stage_id)
        && from != to
    {
        tell(tx, viewer, after.id, Told::StageChanged { from, to });
    }
    Ok(())
}

/// The parts of an item that a role can hide.
#[derive(Debug, Clone, Copy)]
enum Restricted {
    Addresses,
    Phones,
    Amount,
}

/// Refuses to write what is hidden from the viewer (R26). `writes` tells whether the input writes that part.
fn refuse_hidden(
    viewer: &Viewer,
    kind: ItemKind,
    writes: impl Fn(Restricted) -> bool,
) -> ActionResult<()> {
    let parts: &[(Restricted, RestrictedField, &str)] = match kind {
        ItemKind::Lead => &[(
            Restricted::Addresses,
            RestrictedField::LeadAddresses,
            "addresses",
        )],
        ItemKind::Deal => &[(Restricted::Amount, RestrictedField::DealAmount, "amount")],
        ItemKind::Contact => &[
            (
                Restricted::Addresses,
                RestrictedField::ContactAddresses,
                "addresses",
            ),
            (Restricted::Phones, RestrictedField::ContactPhones, "phones"),
        ],
    };
    let hidden = access::hidden_fields(viewer);
    let refusals: Vec<Refusal> = parts
        .iter()
        .filter(|(part, field, _)| hidden.contains(field) && writes(*part))
        .map(|(_, _, name)| {
            let message = "This field is hidden from you.";
            Refusal::at(ErrorCode::Forbidden, name, message)
        })
        .collect();
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(super::ActionError::Refused(refusals))
    }
}

/// The stage that is named, else the first open one of the kind; contacts have none.
pub(super) fn first_or_named_stage(
    tx: &mut Tx<'_>,
    kind: ItemKind,
    named: Option<StageId>,
) -> ActionResult<Option<Stage>> {
    if let Some(id) = named {
        let stage = named_stage(tx, kind, id)?;
        if stage.kind == StageKind::Converted {
            return Err(bad_input(
                "stageId",
                "A lead gets this stage by convertLead only.",
            ));
        }
        return Ok(Some(stage));
    }
    if kind == ItemKind::Contact {
        return Ok(None);
    }
    let id = item_writes::first_stage(tx, kind)?;
    let first = store::settings::stages(tx.conn)?
        .into_iter()
        .find(|stage| Some(stage.id) == id);
    // There is always an open stage of both kinds.
    let missing = StoreError::Corrupt {
        table: "stages",
        column: "kind",
        row: 0,
    };
    Ok(Some(first.ok_or(missing)?))
}

fn named_stage(tx: &mut Tx<'_>, kind: ItemKind, id: StageId) -> ActionResult<Stage> {
    if !store::stage_writes::hold(tx, id)? {
        return Err(Refusal::not_found("stageId").into());
    }
    let stage = store::settings::stages(tx.conn)?
        .into_iter()
        .find(|stage| stage.id == id)
        .ok_or_else(|| Refusal::not_found("stageId"))?;
    if stage.item_kind == kind {
        Ok(stage)
    } else {
        Err(bad_input(
            "stageId",
            format!(
                "The stage \"{}\" is none of a {}.",
                stage.name,
                kind.as_text().to_lowercase()
            ),
        ))
    }
}
