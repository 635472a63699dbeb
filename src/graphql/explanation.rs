//! Why somebody sees something, as administrators read it. Not for: finding out (`actions::explain_access`).

use async_graphql::{Enum, ID, Object, Result};

use super::context::{Ask, failed};
use super::error;
use super::item::Item;
use super::loaders::Stages;
use super::mailbox::Mailbox;
use super::stage::Stage;
use super::viewer::{PermissionAction, PermissionLevel, Role, User};
use crate::actions::ActionError;
use crate::actions::explain_access::{
    self, Explanation, ItemExplanation, MailboxExplanation, Subject,
};
use crate::model::UserId;
use crate::model::refusal::ErrorCode;
use crate::rules::access::{Access, Grant};
use crate::rules::explain::{self, Explained};
use crate::store;

/// Why a user sees an item or an email, or doesn't.
pub struct AccessExplanation {
    ask: Ask,
    user_id: UserId,
    found: Explanation,
}

/// Asks why a user sees what an id names.
///
/// # Errors
/// `BAD_USER_INPUT` unless exactly one thing is asked about, `FORBIDDEN` for whoever is no administrator, `NOT_FOUND`.
pub async fn explain_access(
    ask: &Ask,
    user_id: &ID,
    (item_id, email_id): (Option<ID>, Option<ID>),
) -> Result<AccessExplanation> {
    if !ask.viewer().is_administrator {
        return Err(error::forbidden());
    }
    let subject = match (item_id, email_id) {
        (Some(id), None) => ask.open_item(&id).map(|(_kind, id)| Subject::Item(id)),
        (None, Some(id)) => ask.open(&id).map(Subject::Email),
        _ => return Err(error::bad_input("Give `itemId` or `emailId`, one of them.")),
    };
    let (Some(subject), Some(user)) = (subject, ask.open::<UserId>(user_id)) else {
        return Err(error::not_found());
    };
    let actions = &ask.services().actions;
    let found = explain_access::explain(actions, ask.viewer(), (user, subject), ask.now()).await;
    match found {
        Ok(found) => Ok(AccessExplanation {
            ask: ask.clone(),
            user_id: user,
            found,
        }),
        Err(ActionError::Refused(refusals)) => {
            let is_absent = refusals.iter().any(|it| it.code == ErrorCode::NotFound);
            Err(if is_absent {
                error::not_found()
            } else {
                error::forbidden()
            })
        }
        Err(ActionError::Store(error)) => Err(failed(&error)),
    }
}

/// Why a user sees an item or an email, or doesn't: the decision itself, taken apart. Asking leaves a line in the audit log.
#[Object]
impl AccessExplanation {
    /// Whose rights were looked at.
    async fn user(&self) -> Result<User> {
        User::named(&self.ask, self.user_id).await
    }

    /// Whether the user sees it: the item; the email in the CRM or in its mailbox.
    async fn is_visible(&self) -> bool {
        self.found.is_visible
    }

    /// Why, in words for people.
    async fn summary(&self) -> &str {
        &self.found.summary
    }

    /// The decisions: of an item each action on it, of an email reading each item that it is linked to. None for a deactivated user.
    async fn decisions(&self) -> Vec<AccessDecision> {
        let decision = |item: &ItemExplanation| {
            let (ask, item_id) = (self.ask.clone(), item.item_id);
            let shape = move |explained: &Explained| AccessDecision {
                ask: ask.clone(),
                item_id,
                explained: *explained,
            };
            item.actions.iter().map(shape).collect::<Vec<_>>()
        };
        self.found.items.iter().flat_map(decision).collect()
    }

    /// Of an email: its mailbox, and why its mail is had or not.
    async fn mailbox(&self) -> Option<MailboxDecision> {
        self.found.mailbox.map(|explained| MailboxDecision {
            ask: self.ask.clone(),
            explained,
        })
    }
}

/// Whether one action on one item is allowed, and what decided it.
pub struct AccessDecision {
    ask: Ask,
    item_id: crate::model::ItemId,
    explained: Explained,
}

/// Whether one action on one item is allowed, and what decided it.
#[Object]
impl AccessDecision {
    /// The item.
    async fn item(&self) -> Option<Result<Item>> {
        Item::maybe(&self.ask, Some(self.item_id)).await
    }

    /// What it is about.
    async fn action(&self) -> PermissionAction {
        self.explained.action.into()
    }

    /// Whether it is allowed.
    async fn allowed(&self) -> bool {
        self.explained.access.is_granted()
    }

    /// The widest level that the user's roles give for such an item in its stage; administrators need none.
    async fn level(&self) -> PermissionLevel {
        self.explained.level.into()
    }

    /// The role that gives this level, directly or through a department; null for administrators, and without any role.
    async fn role(&self) -> Result<Option<Role>> {
        let Some(line) = self.explained.line else {
            return Ok(None);
        };
        let rows = self
            .ask
            .read(move |conn, _scopes| store::roles::get_many(conn, &[line.role_id]))
            .await?;
        Ok(rows.into_iter().next().map(|row| Role::new(&self.ask, row)))
    }

    /// The stage that the deciding line of that role names; null where it is the line for every other stage, or none.
    async fn stage(&self) -> Option<Result<Stage>> {
        let id = self.explained.line?.stage_id?;
        let row = self.ask.load::<Stages>(id).await.transpose()?;
        Some(row.map(|row| Stage::new(&self.ask, row)))
    }

    /// What about the item lets the level reach it; null where it is not allowed.
    async fn ground(&self) -> Option<AccessGround> {
        match self.explained.access {
            Access::Granted(grant) => Some(grant.into()),
            Access::Refused(_level) => None,
        }
    }

    /// The same in words for people.
    async fn words(&self) -> String {
        explain::words(&self.explained)
    }
}

/// Whether a mailbox's mail is had, and by what.
pub struct MailboxDecision {
    ask: Ask,
    explained: MailboxExplanation,
}

/// Whether a mailbox's mail is had, and by what.
#[Object]
impl MailboxDecision {
    /// The mailbox.
    async fn mailbox(&self) -> Option<Result<Mailbox>> {
        Mailbox::find(&self.ask, self.explained.mailbox_id)
            .await
            .transpose()
    }

    /// Whether its mail is had.
    async fn allowed(&self) -> bool {
        self.explained.ground.is_some()
    }

    /// By what; null where it is not.
    async fn ground(&self) -> Option<MailboxGround> {
        self.explained.ground.map(Into::into)
    }
}

/// What lets a level reach an item.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Grant")]
pub enum AccessGround {
    /// The user is an administrator.
    Administrator,
    /// The level reaches every item.
    All,
    /// The user is responsible.
    Responsible,
    /// The responsible is in the user's department.
    SameDepartment,
    /// The responsible is in a department below the user's.
    DepartmentBelow,
    /// The item is open to everyone.
    OpenToEveryone,
}

/// By what a mailbox's mail is had.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::rules::access::MailboxGround")]
pub enum MailboxGround {
    /// The user is its connector.
    Connector,
    /// It was given to the user.
    GivenToUser,
    /// It was given to the user's department, or to one above it.
    GivenToDepartment,
}
