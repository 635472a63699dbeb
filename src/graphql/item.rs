//! Leads, deals and contacts as clients see them, and the interface they share.
//! Not for: which of them a viewer sees (that is the scope they were read under).

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Interface, Object, Result, SimpleObject};

use super::activity::{Activity, ActivityState};
use super::context::Ask;
use super::email::Email;
use super::error;
use super::ids::item_type;
use super::lists;
use super::loaders::{Addresses, Conversions, DealContacts, Facts, Items, Phones, Stages};
use super::paging::{Connection, Listed, PageArgs};
use super::scalars::{Cursor, DateTime};
use super::stage::Stage;
use super::straight::{LastWritten, Plan, Selected, write_plain, write_text};
use super::timeline::{TimelineConnection, TimelineKind};
use super::viewer::{ItemRights, User};
use crate::model::ItemId;
use crate::model::item::{Item as ItemFields, ItemKind as Kind, LeadConversion as ConversionRow};
use crate::model::people::{PermissionAction, RestrictedField};
use crate::rules::access;

/// An item of any kind, read under the viewer's scope.
#[derive(Clone)]
pub struct ItemRow {
    pub(super) ask: Ask,
    pub(super) row: Arc<ItemFields>,
}

impl ItemRow {
    async fn responsible(&self) -> Result<User> {
        User::named(&self.ask, self.row.responsible_id).await
    }

    async fn viewer_can(&self) -> Result<ItemRights> {
        let facts = self.ask.require::<Facts>(self.row.id).await?;
        let may = |action| access::decide(self.ask.viewer(), action, &facts).is_granted();
        Ok(ItemRights {
            read: may(PermissionAction::Read),
            update: may(PermissionAction::Update),
            delete: may(PermissionAction::Delete),
            export: may(PermissionAction::Export),
        })
    }

    async fn stage(&self) -> Result<Stage> {
        let id = self.row.stage_id.ok_or_else(error::not_found)?;
        Ok(Stage::new(&self.ask, self.ask.require::<Stages>(id).await?))
    }

    async fn addresses(&self, hidden_by: RestrictedField) -> Result<Vec<ClientAddress>> {
        if self.ask.hides(hidden_by) {
            return Err(error::forbidden());
        }
        let found = self.ask.load::<Addresses>(self.row.id).await?;
        let found = found.iter().flat_map(|addresses| addresses.iter());
        let shaped = found.enumerate().map(|(index, address)| ClientAddress {
            address: address.address.clone(),
            is_primary: index == 0,
            is_undeliverable: address.is_undeliverable,
        });
        Ok(shaped.collect())
    }

    async fn phones(&self) -> Result<Vec<String>> {
        if self.ask.hides(RestrictedField::ContactPhones) {
            return Err(error::forbidden());
        }
        let found = self.ask.load::<Phones>(self.row.id).await?;
        Ok(found.map(|phones| phones.to_vec()).unwrap_or_default())
    }

    fn amount(&self) -> Option<Result<Money>> {
        if self.ask.hides(RestrictedField::DealAmount) {
            return Some(Err(error::forbidden()));
        }
        let (amount, currency) = self.row.amount.clone()?;
        Some(Ok(Money { amount, currency }))
    }

    async fn contacts(&self) -> Result<Vec<Contact>> {
        let ids = self.ask.load::<DealContacts>(self.row.id).await?;
        let ids = ids.iter().flat_map(|ids| ids.iter().copied());
        let rows = self.ask.load_all::<Items>(ids).await?;
        let found = rows.into_iter().map(|row| Item::new(&self.ask, row));
        Ok(found.filter_map(Item::into_contact).collect())
    }

    async fn origin_lead(&self) -> Result<Option<Lead>> {
        match self.row.origin_lead_id {
            Some(id) => Lead::find(&self.ask, id).await,
            None => Ok(None),
        }
    }

    async fn conversion(&self) -> Result<Option<LeadConversion>> {
        let row = self.ask.load::<Conversions>(self.row.id).await?;
        Ok(row.map(|row| LeadConversion {
            ask: self.ask.clone(),
            row,
        }))
    }
}

/// Makes the type of one kind of item: the fields of the interface, and its own.
macro_rules! item_type {
    ($(#[$doc:meta])* $name:ident, $connection:literal, $edge:literal, $into:ident, { $($own:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(ItemRow);

        impl $name {
            /// The item with this id, if it is of this kind and the viewer may read it.
            ///
            /// # Errors
            /// `INTERNAL` where the store fails.
            pub async fn find(ask: &Ask, id: ItemId) -> Result<Option<Self>> {
                Ok(Item::find(ask, id).await?.and_then(Item::$into))
            }
        }

        impl Listed for $name {
            const CONNECTION: &'static str = $connection;
            const EDGE: &'static str = $edge;
        }

        impl FromItem for $name {
            const KIND: Kind = Kind::$name;
            fn from_item(item: ItemRow) -> Self {
                Self(item)
            }
        }

        $(#[$doc])*
        #[Object]
        impl $name {
            /// The opaque global id.
            pub async fn id(&self) -> ID {
                self.0.ask.seal_item(self.0.row.kind, self.0.row.id)
            }

            /// What it is called.
            pub async fn title(&self) -> &str {
                &self.0.row.title
            }

            /// The user who is responsible for it; its emails and activities follow.
            pub async fn responsible(&self) -> Result<User> {
                self.0.responsible().await
            }

            /// Whether it is open, by its stage; contacts are always open.
            pub async fn is_open(&self) -> bool {
                self.0.row.is_open
            }

            /// Whether it is open to everyone with a permission of that level.
            pub async fn open_to_everyone(&self) -> bool {
                self.0.row.open_to_everyone
            }

            /// When it was made.
            pub async fn created_at(&self) -> DateTime {
                self.0.row.created_at.into()
            }

            /// Rises with every change; give it as `expectedVersion` to change only what was read.
            pub async fn version(&self) -> i64 {
                self.0.row.version
            }

            /// What the viewer may do to it.
            pub async fn viewer_can(&self) -> Result<ItemRights> {
                self.0.viewer_can().await
            }

            $($own)*

            /// Its history, oldest first; page back from its end with `last`.
            pub async fn timeline(
                &self,
                ctx: &Context<'_>,
                #[graphql(desc = "Entries of these kinds only; none given: of every kind.")] kinds: Option<Vec<TimelineKind>>,
                #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
                #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
                #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
                #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
            ) -> Result<TimelineConnection> {
                let page = PageArgs { first, after, last, before };
                lists::timeline(ctx, &self.0.ask, Some(&self.0.row), kinds.unwrap_or_default(), page).await
            }

            /// The emails that are linked to it, newest first.
            pub async fn emails(
                &self,
                #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
                #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
                #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
                #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
            ) -> Result<Connection<Email>> {
                let page = PageArgs { first, after, last, before };
                lists::emails_of_item(&self.0.ask, self.0.row.id, page).await
            }

            /// The to-dos that its emails made, oldest first.
            pub async fn activities(
                &self,
                #[graphql(desc = "Those in this state only.")] state: Option<ActivityState>,
                #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
                #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
                #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
                #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
            ) -> Result<Connection<Activity>> {
                let page = PageArgs { first, after, last, before };
                lists::activities_of_item(&self.0.ask, self.0.row.id, state, page).await
            }
        }
    };
}

/// A kind of item that lists hold.
pub trait FromItem: Listed {
    const KIND: Kind;
    fn from_item(item: ItemRow) -> Self;
}

item_type! {
    /// Somebody who may become a client: a first contact that is not yet a deal.
    Lead, "LeadConnection", "LeadEdge", into_lead, {
        /// Where it stands.
        async fn stage(&self) -> Result<Stage> {
            self.0.stage().await
        }

        /// Where it came from: its mailbox's source, or what was entered.
        async fn source(&self) -> Option<&str> {
            self.0.row.source.as_deref()
        }

        /// The client's name.
        async fn name(&self) -> Option<&str> {
            self.0.row.name.as_deref()
        }

        /// The client's addresses, the primary one first; null with the error `FORBIDDEN` where a role hides them.
        async fn addresses(&self) -> Option<Result<Vec<ClientAddress>>> {
            Some(self.0.addresses(RestrictedField::LeadAddresses).await)
        }

        /// What it was converted to; null while it wasn't.
        async fn conversion(&self) -> Option<Result<LeadConversion>> {
            self.0.conversion().await.transpose()
        }
    }
}

item_type! {
    /// A piece of business with a client.
    Deal, "DealConnection", "DealEdge", into_deal, {
        /// Where it stands.
        async fn stage(&self) -> Result<Stage> {
            self.0.stage().await
        }

        /// What it is worth; null with the error `FORBIDDEN` where a role hides it.
        async fn amount(&self) -> Option<Result<Money>> {
            self.0.amount()
        }

        /// The client's people, as far as the viewer may read them.
        async fn contacts(&self) -> Result<Vec<Contact>> {
            self.0.contacts().await
        }

        /// The lead that it was converted from; null without one, and where the viewer may not read it.
        async fn origin_lead(&self) -> Option<Result<Lead>> {
            self.0.origin_lead().await.transpose()
        }
    }
}

item_type! {
    /// A person at a client.
    Contact, "ContactConnection", "ContactEdge", into_contact, {
        /// The person's name.
        async fn name(&self) -> &str {
            self.0.row.name.as_deref().unwrap_or(&self.0.row.title)
        }

        /// The person's addresses, the primary one first; null with the error `FORBIDDEN` where a role hides them.
        async fn addresses(&self) -> Option<Result<Vec<ClientAddress>>> {
            Some(self.0.addresses(RestrictedField::ContactAddresses).await)
        }

        /// The person's phone numbers; null with the error `FORBIDDEN` where a role hides them.
        async fn phones(&self) -> Option<Result<Vec<String>>> {
            Some(self.0.phones().await)
        }

        /// Where the person works.
        async fn company(&self) -> Option<&str> {
            self.0.row.company.as_deref()
        }

        /// Where the contact came from: its mailbox's source, or what was entered.
        async fn source(&self) -> Option<&str> {
            self.0.row.source.as_deref()
        }
    }
}

/// What emails are linked to: a lead, a deal or a contact. Each has one responsible user and a timeline.
#[expect(
    clippy::duplicated_attributes,
    reason = "several fields of the interface take the same arguments"
)]
#[derive(Interface, Clone)]
#[graphql(
    field(name = "id", ty = "ID", desc = "The opaque global id."),
    field(name = "title", ty = "&str", desc = "What it is called."),
    field(
        name = "responsible",
        ty = "User",
        desc = "The user who is responsible for it; its emails and activities follow."
    ),
    field(
        name = "is_open",
        ty = "bool",
        desc = "Whether it is open, by its stage; contacts are always open."
    ),
    field(
        name = "open_to_everyone",
        ty = "bool",
        desc = "Whether it is open to everyone with a permission of that level."
    ),
    field(name = "created_at", ty = "DateTime", desc = "When it was made."),
    field(
        name = "version",
        ty = "i64",
        desc = "Rises with every change; give it as `expectedVersion` to change only what was read."
    ),
    field(
        name = "viewer_can",
        ty = "ItemRights",
        desc = "What the viewer may do to it."
    ),
    field(
        name = "timeline",
        ty = "TimelineConnection",
        desc = "Its history, oldest first; page back from its end with `last`.",
        arg(
            name = "kinds",
            ty = "Option<Vec<TimelineKind>>",
            desc = "Entries of these kinds only; none given: of every kind."
        ),
        arg(
            name = "first",
            ty = "Option<i32>",
            desc = "How many from the start, 1 to 100."
        ),
        arg(
            name = "after",
            ty = "Option<Cursor>",
            desc = "Those behind this cursor."
        ),
        arg(
            name = "last",
            ty = "Option<i32>",
            desc = "How many from the end, 1 to 100."
        ),
        arg(
            name = "before",
            ty = "Option<Cursor>",
            desc = "Those before this cursor."
        )
    ),
    field(
        name = "emails",
        ty = "Connection<Email>",
        desc = "The emails that are linked to it, newest first.",
        arg(
            name = "first",
            ty = "Option<i32>",
            desc = "How many from the start, 1 to 100."
        ),
        arg(
            name = "after",
            ty = "Option<Cursor>",
            desc = "Those behind this cursor."
        ),
        arg(
            name = "last",
            ty = "Option<i32>",
            desc = "How many from the end, 1 to 100."
        ),
        arg(
            name = "before",
            ty = "Option<Cursor>",
            desc = "Those before this cursor."
        )
    ),
    field(
        name = "activities",
        ty = "Connection<Activity>",
        desc = "The to-dos that its emails made, oldest first.",
        arg(
            name = "state",
            ty = "Option<ActivityState>",
            desc = "Those in this state only."
        ),
        arg(
            name = "first",
            ty = "Option<i32>",
            desc = "How many from the start, 1 to 100."
        ),
        arg(
            name = "after",
            ty = "Option<Cursor>",
            desc = "Those behind this cursor."
        ),
        arg(
            name = "last",
            ty = "Option<i32>",
            desc = "How many from the end, 1 to 100."
        ),
        arg(
            name = "before",
            ty = "Option<Cursor>",
            desc = "Those before this cursor."
        )
    )
)]
pub enum Item {
    Lead(Lead),
    Deal(Deal),
    Contact(Contact),
}

impl Item {
    /// A loaded item.
    pub fn new(ask: &Ask, row: Arc<ItemFields>) -> Self {
        let kind = row.kind;
        let item = ItemRow {
            ask: ask.clone(),
            row,
        };
        match kind {
            Kind::Lead => Self::Lead(Lead(item)),
            Kind::Deal => Self::Deal(Deal(item)),
            Kind::Contact => Self::Contact(Contact(item)),
        }
    }

    /// The item with this id, if the viewer may read it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: ItemId) -> Result<Option<Self>> {
        let row = ask.load::<Items>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }

    /// The item that another row names; null where the viewer may not read it.
    pub async fn maybe(ask: &Ask, id: Option<ItemId>) -> Option<Result<Self>> {
        Self::find(ask, id?).await.transpose()
    }

    /// The item that an id of any kind names, if the viewer may read it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find_by_id(ask: &Ask, id: &ID) -> Result<Option<Self>> {
        let Some((kind, number)) = ask.open_item(id) else {
            return Ok(None);
        };
        let found = ask.load::<Items>(number).await?;
        Ok(found
            .filter(|row| row.kind == kind)
            .map(|row| Self::new(ask, row)))
    }

    /// The lead that it is.
    pub fn into_lead(self) -> Option<Lead> {
        match self {
            Self::Lead(lead) => Some(lead),
            _ => None,
        }
    }

    /// The deal that it is.
    pub fn into_deal(self) -> Option<Deal> {
        match self {
            Self::Deal(deal) => Some(deal),
            _ => None,
        }
    }

    /// The contact that it is.
    pub fn into_contact(self) -> Option<Contact> {
        match self {
            Self::Contact(contact) => Some(contact),
            _ => None,
        }
    }
}

/// An address of a client.
#[derive(SimpleObject, Clone)]
pub struct ClientAddress {
    /// The mail address.
    address: String,
    /// Whether it is the first one, which mail is sent to.
    is_primary: bool,
    /// Whether a mail to it bounced.
    is_undeliverable: bool,
}

/// What is written of an item of any kind.
#[derive(Clone, Copy)]
enum ItemField {
    Typename,
    Id,
    Title,
}

/// How items are written: fragments may ask other things of each kind.
pub struct ItemPlan<'a> {
    selected: Selected<'a>,
    plans: Vec<(&'static str, Plan<ItemField>)>,
    last: LastWritten<ItemId>,
}

impl<'a> ItemPlan<'a> {
    /// What is selected of items.
    pub const fn new(selected: Selected<'a>) -> Self {
        Self {
            selected,
            plans: Vec::new(),
            last: LastWritten::new(),
        }
    }

    /// Prepares for such an item; `None` where what is selected of it takes more than its row.
    pub fn prepare(&mut self, row: &ItemFields) -> Option<()> {
        let kind = item_type(row.kind);
        if self.plans.iter().all(|(of, _plan)| *of != kind) {
            let plan = Plan::new(
                &self.selected,
                &[kind, "Item", "Node"],
                |picked| match picked.name {
                    "__typename" => Some(ItemField::Typename),
                    "id" => Some(ItemField::Id),
                    "title" => Some(ItemField::Title),
                    _ => None,
                },
            )?;
            self.plans.push((kind, plan));
        }
        Some(())
    }

    /// Writes one that it is prepared for.
    pub fn write(&self, out: &mut Vec<u8>, ask: &Ask, row: &ItemFields) {
        let kind = item_type(row.kind);
        if let Some((_kind, plan)) = self.plans.iter().find(|(of, _plan)| *of == kind) {
            self.last.write(out, row.id, |out| {
                plan.write(out, |field, out| match field {
                    ItemField::Typename => write_plain(out, kind),
                    ItemField::Id => write_plain(out, &ask.codec().seal_id(kind, row.id.0)),
                    ItemField::Title => write_text(out, &row.title),
                });
            });
        }
    }
}

/// What converting a lead made.
#[derive(Clone)]
pub struct LeadConversion {
    pub(super) ask: Ask,
    pub(super) row: Arc<ConversionRow>,
}

/// What converting a lead made, as far as the viewer may read it.
#[Object]
impl LeadConversion {
    /// When it was converted.
    async fn at(&self) -> DateTime {
        self.row.at.into()
    }

    /// Who converted it.
    async fn by(&self) -> Option<Result<User>> {
        User::maybe(&self.ask, self.row.by).await
    }

    /// The deal that was made or chosen.
    async fn deal(&self) -> Option<Result<Deal>> {
        Deal::find(&self.ask, self.row.deal_id?).await.transpose()
    }

    /// The contact that was made or chosen.
    async fn contact(&self) -> Option<Result<Contact>> {
        let id = self.row.contact_id?;
        Contact::find(&self.ask, id).await.transpose()
    }
}

/// A sum of money.
#[derive(SimpleObject, Clone)]
pub struct Money {
    /// The sum, as a decimal in text: `1234.50`.
    amount: String,
    /// The currency's ISO 4217 code: `EUR`.
    currency: String,
}

/// The three kinds of item.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::item::ItemKind")]
pub enum ItemKind {
    /// Somebody who may become a client.
    Lead,
    /// A piece of business with a client.
    Deal,
    /// A person at a client.
    Contact,
}
