//! Leads, deals and contacts are made, changed and converted; notes are added to them.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, OneofObject, Result};

use super::{answer, changed, payload};
use crate::actions::convert_lead::{self, Becomes, ConvertLead, NewContact, NewDeal};
use crate::actions::fields::Money;
use crate::actions::items::{self, CreateItem, UpdateItem};
use crate::actions::notes;
use crate::graphql::context::Ask;
use crate::graphql::item::{Contact, Deal, Lead};
use crate::graphql::timeline::{NoteAdded, TimelineEntry};
use crate::model::item::ItemKind;

/// An amount of money.
#[derive(InputObject)]
pub struct MoneyInput {
    /// A decimal as text, like `1250.50`.
    amount: String,
    /// Three capital letters, like `EUR` (ISO 4217).
    currency: String,
}

impl From<MoneyInput> for Money {
    fn from(input: MoneyInput) -> Self {
        Self {
            amount: input.amount,
            currency: input.currency,
        }
    }
}

/// A lead to make; it begins in the first open stage.
#[derive(InputObject)]
pub struct CreateLeadInput {
    /// What it is called; at most 500 characters.
    title: String,
    /// The client's name.
    name: Option<String>,
    /// The client's mail addresses, the primary one first.
    addresses: Option<Vec<String>>,
    /// Where it came from.
    source: Option<String>,
    /// Who is responsible; none: the viewer.
    responsible_id: Option<ID>,
    /// Whether it is open to everyone with a permission of that level.
    #[graphql(default)]
    open_to_everyone: bool,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a lead. Absent = unchanged, null = cleared; lists replace.
#[derive(InputObject)]
pub struct UpdateLeadInput {
    /// The lead.
    lead_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// What it is called.
    title: MaybeUndefined<String>,
    /// The client's name.
    name: MaybeUndefined<String>,
    /// The client's mail addresses, the primary one first.
    addresses: MaybeUndefined<Vec<String>>,
    /// Where it came from.
    source: MaybeUndefined<String>,
    /// Its stage; the one of kind `CONVERTED` only by `convertLead`.
    stage_id: MaybeUndefined<ID>,
    /// Who is responsible: an active user, who need not be able to read it; its open activities follow.
    responsible_id: MaybeUndefined<ID>,
    /// Whether it is open to everyone.
    open_to_everyone: MaybeUndefined<bool>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A deal to make.
#[derive(InputObject)]
pub struct CreateDealInput {
    /// What it is called; at most 500 characters.
    title: String,
    /// Its stage; none: the first open one.
    stage_id: Option<ID>,
    /// What it is worth.
    amount: Option<MoneyInput>,
    /// Its contacts, that the viewer may read.
    contact_ids: Option<Vec<ID>>,
    /// Who is responsible; none: the viewer.
    responsible_id: Option<ID>,
    /// Whether it is open to everyone with a permission of that level.
    #[graphql(default)]
    open_to_everyone: bool,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a deal. Absent = unchanged, null = cleared; lists replace.
#[derive(InputObject)]
pub struct UpdateDealInput {
    /// The deal.
    deal_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// What it is called.
    title: MaybeUndefined<String>,
    /// Its stage.
    stage_id: MaybeUndefined<ID>,
    /// What it is worth.
    amount: MaybeUndefined<MoneyInput>,
    /// Its contacts; those that are hidden from the viewer stay.
    contact_ids: MaybeUndefined<Vec<ID>>,
    /// Who is responsible: an active user, who need not be able to read it; its open activities follow.
    responsible_id: MaybeUndefined<ID>,
    /// Whether it is open to everyone.
    open_to_everyone: MaybeUndefined<bool>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A contact to make.
#[derive(InputObject)]
pub struct CreateContactInput {
    /// The person's name; at most 200 characters.
    name: String,
    /// Mail addresses, the primary one first; several contacts may have the same.
    addresses: Option<Vec<String>>,
    /// Phone numbers.
    phones: Option<Vec<String>>,
    /// The company.
    company: Option<String>,
    /// Where it came from.
    source: Option<String>,
    /// Who is responsible; none: the viewer.
    responsible_id: Option<ID>,
    /// Whether it is open to everyone with a permission of that level.
    #[graphql(default)]
    open_to_everyone: bool,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a contact. Absent = unchanged, null = cleared; lists replace.
#[derive(InputObject)]
pub struct UpdateContactInput {
    /// The contact.
    contact_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The person's name.
    name: MaybeUndefined<String>,
    /// Mail addresses, the primary one first.
    addresses: MaybeUndefined<Vec<String>>,
    /// Phone numbers.
    phones: MaybeUndefined<Vec<String>>,
    /// The company.
    company: MaybeUndefined<String>,
    /// Where it came from.
    source: MaybeUndefined<String>,
    /// Who is responsible: an active user, who need not be able to read it; its open activities follow.
    responsible_id: MaybeUndefined<ID>,
    /// Whether it is open to everyone.
    open_to_everyone: MaybeUndefined<bool>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A deal to make of a lead.
#[derive(InputObject)]
pub struct NewDealInput {
    /// What it is called; none: as the lead.
    title: Option<String>,
    /// What it is worth.
    amount: Option<MoneyInput>,
    /// Who is responsible; none: the lead's responsible.
    responsible_id: Option<ID>,
}

/// A contact to make of a lead, with its addresses.
#[derive(InputObject)]
pub struct NewContactInput {
    /// The person's name; none: the lead's.
    name: Option<String>,
    /// Who is responsible; none: the lead's responsible.
    responsible_id: Option<ID>,
}

/// The deal that a lead becomes.
#[derive(OneofObject)]
pub enum ConvertToDealInput {
    /// A new one.
    Create(NewDealInput),
    /// One that there is, and that the viewer may change.
    ExistingId(ID),
}

/// The contact that a lead becomes.
#[derive(OneofObject)]
pub enum ConvertToContactInput {
    /// A new one.
    Create(NewContactInput),
    /// One that there is, and that the viewer may change; it gets the lead's addresses.
    ExistingId(ID),
}

/// A lead to convert. Neither a deal nor a contact: both are made.
#[derive(InputObject)]
pub struct ConvertLeadInput {
    /// The lead.
    lead_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The deal; the lead's emails are linked to it, too.
    deal: Option<ConvertToDealInput>,
    /// The contact.
    contact: Option<ConvertToContactInput>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A note to add to an item's timeline.
#[derive(InputObject)]
pub struct AddNoteInput {
    /// The lead, deal or contact, that the viewer may change.
    item_id: ID,
    /// The note; at most 20,000 characters.
    text: String,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

payload! {
    /// The new lead.
    CreateLeadPayload {
        /// The lead; null where the viewer may not read it.
        lead: Lead,
    }
}
payload! {
    /// The changed lead.
    UpdateLeadPayload {
        /// The lead; null where the viewer may no longer read it.
        lead: Lead,
    }
}
payload! {
    /// What became of a lead.
    ConvertLeadPayload {
        /// The lead.
        lead: Lead,
        /// The deal, if there is one; null where the viewer may not read it.
        deal: Deal,
        /// The contact, if there is one; null where the viewer may not read it.
        contact: Contact,
    }
}
payload! {
    /// The new deal.
    CreateDealPayload {
        /// The deal; null where the viewer may not read it.
        deal: Deal,
    }
}
payload! {
    /// The changed deal.
    UpdateDealPayload {
        /// The deal; null where the viewer may no longer read it.
        deal: Deal,
    }
}
payload! {
    /// The new contact.
    CreateContactPayload {
        /// The contact; null where the viewer may not read it.
        contact: Contact,
    }
}
payload! {
    /// The changed contact.
    UpdateContactPayload {
        /// The contact; null where the viewer may no longer read it.
        contact: Contact,
    }
}
payload! {
    /// The new note.
    AddNotePayload {
        /// Its timeline entry.
        entry: NoteAdded,
    }
}

/// Leads, deals, contacts and notes.
#[derive(Default)]
pub struct ItemMutation;

#[Object]
impl ItemMutation {
    /// Makes a lead.
    async fn create_lead(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateLeadInput,
    ) -> Result<CreateLeadPayload> {
        let ask = &Ask::of(ctx)?;
        let lead = CreateItem {
            title: Some(input.title),
            name: input.name,
            addresses: input.addresses.unwrap_or_default(),
            source: input.source,
            responsible_id: input.responsible_id.map(|id| ask.named(&id)),
            open_to_everyone: input.open_to_everyone,
            ..CreateItem::of(ItemKind::Lead)
        };
        let key = input.idempotency_key;
        let done = items::create(ask.actions(), ask.viewer(), lead, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateLeadPayload {
                lead: Lead::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes a lead.
    async fn update_lead(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateLeadInput,
    ) -> Result<UpdateLeadPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named_item_of(ItemKind::Lead, &input.lead_id);
        let change = UpdateItem {
            expected_version: input.expected_version,
            idempotency_key: input.idempotency_key,
            title: input.title.into(),
            name: input.name.into(),
            addresses: input.addresses.into(),
            source: input.source.into(),
            stage_id: ask.change_named(input.stage_id),
            responsible_id: ask.change_named(input.responsible_id),
            open_to_everyone: input.open_to_everyone.into(),
            ..UpdateItem::of(ItemKind::Lead, id)
        };
        let done = items::update(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateLeadPayload {
                lead: Lead::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Converts a lead into a deal and/or a contact. Its emails are then linked to the deal and still to the lead.
    async fn convert_lead(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ConvertLeadInput,
    ) -> Result<ConvertLeadPayload> {
        let ask = &Ask::of(ctx)?;
        let conversion = ConvertLead {
            lead_id: ask.named_item_of(ItemKind::Lead, &input.lead_id),
            expected_version: input.expected_version,
            deal: input.deal.map(|deal| to_deal(ask, deal)),
            contact: input.contact.map(|contact| to_contact(ask, contact)),
        };
        let key = input.idempotency_key;
        let done = convert_lead::convert(ask.actions(), ask.viewer(), conversion, key, ask.now());
        answer(done.await, |done| async move {
            let deal = match done.deal_id {
                Some(id) => Deal::find(ask, id).await?,
                None => None,
            };
            let contact = match done.contact_id {
                Some(id) => Contact::find(ask, id).await?,
                None => None,
            };
            Ok(ConvertLeadPayload {
                lead: Lead::find(ask, done.lead_id).await?,
                deal,
                contact,
                ..Default::default()
            })
        })
        .await
    }

    /// Makes a deal.
    async fn create_deal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateDealInput,
    ) -> Result<CreateDealPayload> {
        let ask = &Ask::of(ctx)?;
        let deal = CreateItem {
            title: Some(input.title),
            stage_id: input.stage_id.map(|id| ask.named(&id)),
            amount: input.amount.map(Money::from),
            contact_ids: ask.named_contacts(&input.contact_ids.unwrap_or_default()),
            responsible_id: input.responsible_id.map(|id| ask.named(&id)),
            open_to_everyone: input.open_to_everyone,
            ..CreateItem::of(ItemKind::Deal)
        };
        let key = input.idempotency_key;
        let done = items::create(ask.actions(), ask.viewer(), deal, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateDealPayload {
                deal: Deal::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes a deal.
    async fn update_deal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateDealInput,
    ) -> Result<UpdateDealPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named_item_of(ItemKind::Deal, &input.deal_id);
        let change = UpdateItem {
            expected_version: input.expected_version,
            idempotency_key: input.idempotency_key,
            title: input.title.into(),
            stage_id: ask.change_named(input.stage_id),
            amount: changed(input.amount, Money::from),
            contact_ids: changed(input.contact_ids, |ids| ask.named_contacts(&ids)),
            responsible_id: ask.change_named(input.responsible_id),
            open_to_everyone: input.open_to_everyone.into(),
            ..UpdateItem::of(ItemKind::Deal, id)
        };
        let done = items::update(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateDealPayload {
                deal: Deal::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Makes a contact.
    async fn create_contact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateContactInput,
    ) -> Result<CreateContactPayload> {
        let ask = &Ask::of(ctx)?;
        let contact = CreateItem {
            name: Some(input.name),
            addresses: input.addresses.unwrap_or_default(),
            phones: input.phones.unwrap_or_default(),
            company: input.company,
            source: input.source,
            responsible_id: input.responsible_id.map(|id| ask.named(&id)),
            open_to_everyone: input.open_to_everyone,
            ..CreateItem::of(ItemKind::Contact)
        };
        let key = input.idempotency_key;
        let done = items::create(ask.actions(), ask.viewer(), contact, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateContactPayload {
                contact: Contact::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes a contact.
    async fn update_contact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateContactInput,
    ) -> Result<UpdateContactPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named_item_of(ItemKind::Contact, &input.contact_id);
        let change = UpdateItem {
            expected_version: input.expected_version,
            idempotency_key: input.idempotency_key,
            name: input.name.into(),
            addresses: input.addresses.into(),
            phones: input.phones.into(),
            company: input.company.into(),
            source: input.source.into(),
            responsible_id: ask.change_named(input.responsible_id),
            open_to_everyone: input.open_to_everyone.into(),
            ..UpdateItem::of(ItemKind::Contact, id)
        };
        let done = items::update(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateContactPayload {
                contact: Contact::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Adds a note to an item's timeline. It takes update on the item; a note is never edited.
    async fn add_note(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: AddNoteInput,
    ) -> Result<AddNotePayload> {
        let ask = &Ask::of(ctx)?;
        let note = (ask.named_item(&input.item_id), input.text);
        let key = input.idempotency_key;
        let done = notes::add(ask.actions(), ask.viewer(), note, key, ask.now());
        answer(done.await, |position| async move {
            Ok(AddNotePayload {
                entry: TimelineEntry::find_note(ask, position).await?,
                ..Default::default()
            })
        })
        .await
    }
}

fn to_deal(ask: &Ask, input: ConvertToDealInput) -> Becomes<NewDeal> {
    match input {
        ConvertToDealInput::Create(new) => Becomes::New(NewDeal {
            title: new.title,
            amount: new.amount.map(Money::from),
            responsible_id: new.responsible_id.map(|id| ask.named(&id)),
        }),
        ConvertToDealInput::ExistingId(id) => {
            Becomes::Existing(ask.named_item_of(ItemKind::Deal, &id))
        }
    }
}

fn to_contact(ask: &Ask, input: ConvertToContactInput) -> Becomes<NewContact> {
    match input {
        ConvertToContactInput::Create(new) => Becomes::New(NewContact {
            name: new.name,
            responsible_id: new.responsible_id.map(|id| ask.named(&id)),
        }),
        ConvertToContactInput::ExistingId(id) => {
            Becomes::Existing(ask.named_item_of(ItemKind::Contact, &id))
        }
    }
}
