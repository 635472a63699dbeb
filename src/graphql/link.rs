//! The ties between emails and items as clients see them, their history, and whether they can be moved.
//! Not for: moving them (`actions::relink`).

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};

use super::context::Ask;
use super::email::Email;
use super::item::Item;
use super::loaders::{ConvertedFrom, Facts, Items, Links};
use super::scalars::DateTime;
use super::viewer::User;
use crate::model::email::{Email as EmailFields, EmailLink as LinkRow, LinkChange as ChangeRow};
use crate::model::item::{Item as ItemFields, ItemFacts, ItemKind};
use crate::model::people::PermissionAction;
use crate::model::{ItemId, LinkChangeId};
use crate::rules::access;
use crate::rules::relink::{self, ConcernedItem, RelinkFacts};

/// The links of an email to items that the viewer may read, the primary one first.
///
/// # Errors
/// `INTERNAL` where the store fails.
pub async fn readable_links(ask: &Ask, email: &Arc<EmailFields>) -> Result<Vec<EmailLink>> {
    let Some(links) = ask.load::<Links>(email.id).await? else {
        return Ok(Vec::new());
    };
    let items = ask.load_all::<Items>(links.iter().map(|link| link.item_id));
    let items = items.await?;
    let shape = |link: &LinkRow| {
        let item = items.iter().find(|item| item.id == link.item_id)?;
        Some(EmailLink {
            ask: ask.clone(),
            email: email.clone(),
            item: item.clone(),
            row: link.clone(),
        })
    };
    Ok(links.iter().filter_map(shape).collect())
}

/// A tie of an email to an item.
pub struct EmailLink {
    ask: Ask,
    email: Arc<EmailFields>,
    item: Arc<ItemFields>,
    row: LinkRow,
}

/// A tie of an email to an item that the viewer may read.
#[Object]
impl EmailLink {
    /// The item.
    async fn item(&self) -> Item {
        Item::new(&self.ask, self.item.clone())
    }

    /// Whether it is the email's primary item, whose responsible is the email's.
    async fn is_primary(&self) -> bool {
        self.row.is_primary
    }

    /// When the email was linked to it.
    async fn linked_at(&self) -> DateTime {
        self.row.linked_at.into()
    }

    /// Who linked it; null where the rules did.
    async fn linked_by(&self) -> Option<Result<User>> {
        User::maybe(&self.ask, self.row.linked_by).await
    }

    /// Whether the email can be moved from this item to another deal ("Change deal"), or why not.
    async fn can_move(&self) -> Result<RelinkVerdict> {
        can_move(&self.ask, &self.email, self.row.item_id).await
    }
}

/// One line of the history of an email's links.
#[derive(Clone)]
pub struct LinkChange {
    ask: Ask,
    row: ChangeRow,
}

impl LinkChange {
    fn new(ask: &Ask, row: ChangeRow) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The line with this id, if the viewer sees its email and may read an item that it names.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: LinkChangeId) -> Result<Option<Self>> {
        let row = ask
            .read(move |conn, _scopes| crate::store::links::change(conn, id))
            .await?;
        let Some(row) = row else { return Ok(None) };
        if Email::find(ask, row.email_id).await?.is_none() {
            return Ok(None);
        }
        Ok(Self::shown(ask, &[row]).await?.pop())
    }

    /// Those of these lines of an email that the viewer sees which name an item that they may read: a line about
    /// hidden items alone would tell that they exist (R27).
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn shown(ask: &Ask, rows: &[ChangeRow]) -> Result<Vec<Self>> {
        let named = rows
            .iter()
            .flat_map(|row| row.from_item_id.into_iter().chain(row.to_item_id));
        let readable = ask.load_all::<Items>(named).await?;
        let reads =
            |id: Option<ItemId>| id.is_some_and(|id| readable.iter().any(|item| item.id == id));
        Ok(rows
            .iter()
            .filter(|row| reads(row.from_item_id) || reads(row.to_item_id))
            .map(|row| Self::new(ask, row.clone()))
            .collect())
    }
}

/// One line of the history of an email's links: from nothing, to nothing, or from item to item.
#[Object]
impl LinkChange {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// When it was changed.
    async fn at(&self) -> DateTime {
        self.row.at.into()
    }

    /// Who changed it; null where the rules did.
    async fn by(&self) -> Option<Result<User>> {
        User::maybe(&self.ask, self.row.by).await
    }

    /// The item that it was taken off; null: nothing, or an item that the viewer may not read.
    async fn from(&self) -> Option<Result<Item>> {
        Item::maybe(&self.ask, self.row.from_item_id).await
    }

    /// The item that it was put on; null: nothing, or an item that the viewer may not read.
    async fn to(&self) -> Option<Result<Item>> {
        Item::maybe(&self.ask, self.row.to_item_id).await
    }
}

/// Whether an email can be moved.
#[derive(SimpleObject, Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelinkVerdict {
    /// Whether it can.
    pub allowed: bool,
    /// Why not; null where it can.
    pub reason: Option<RelinkRefusal>,
}

/// Why an email can't be moved.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::email::RelinkRefusal")]
pub enum RelinkRefusal {
    /// It is not in the CRM.
    NotSaved,
    /// It does not hang on a deal.
    NotOnADeal,
    /// The viewer may not update what it hangs on.
    Forbidden,
    /// It also hangs on the lead that the deal was converted from.
    ConvertedLead,
}

/// Whether the email can be moved from one of its deals to another (R34).
///
/// # Errors
/// `INTERNAL` where the store fails.
pub async fn can_relink(ask: &Ask, email: &EmailFields) -> Result<RelinkVerdict> {
    let facts = relink_facts(ask, email).await?;
    Ok(relink::can_relink(&facts).into())
}

/// Whether the email can be moved from this item to another deal (R34).
async fn can_move(ask: &Ask, email: &EmailFields, item: ItemId) -> Result<RelinkVerdict> {
    let facts = relink_facts(ask, email).await?;
    Ok(relink::can_move_from(&facts, item).into())
}

/// The email with everything it is linked to, readable or not: for the decision, never for showing.
async fn relink_facts(ask: &Ask, email: &EmailFields) -> Result<RelinkFacts> {
    let links = ask.load::<Links>(email.id).await?;
    let links = links.iter().flat_map(|links| links.iter());
    let linked: Vec<ItemId> = links.map(|link| link.item_id).collect();
    let facts = ask.load_all::<Facts>(linked).await?;
    let concerned = facts.into_iter().map(|facts| concerned(ask, facts));
    Ok(RelinkFacts {
        is_saved: access::is_in_crm(email.outcome),
        links: futures_util::future::try_join_all(concerned).await?,
    })
}

async fn concerned(ask: &Ask, facts: ItemFacts) -> Result<ConcernedItem> {
    let may = |action| access::decide(ask.viewer(), action, &facts).is_granted();
    let converted_from = match facts.kind {
        ItemKind::Deal => ask.load::<ConvertedFrom>(facts.id).await?,
        ItemKind::Lead | ItemKind::Contact => None,
    };
    Ok(ConcernedItem {
        item_id: facts.id,
        kind: facts.kind,
        may_read: may(PermissionAction::Read),
        may_update: may(PermissionAction::Update),
        converted_from: converted_from
            .map(|leads| leads.to_vec())
            .unwrap_or_default(),
    })
}

impl From<crate::model::decisions::RelinkVerdict> for RelinkVerdict {
    fn from(verdict: crate::model::decisions::RelinkVerdict) -> Self {
        Self {
            allowed: verdict.allowed,
            reason: verdict.refusal.map(RelinkRefusal::from),
        }
    }
}
