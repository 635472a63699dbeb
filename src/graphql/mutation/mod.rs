//! Every mutation of the schema: it parses its one input, calls one action, and shapes the payload under the caller's
//! present rights. What does not open as an id becomes one that no row has, so that the action answers it as it
//! answers what is absent and what is hidden (R27).
//! Not for: decisions and writes (`actions`), or telling a user's mistakes from faults elsewhere than in `answer`.

mod activities;
mod drafts;
mod emails;
mod erasure;
mod items;
mod log_in;
pub(super) mod mailboxes;
mod passwords;
mod people;
mod reads;
mod removals;
mod routing;
mod stages;
mod templates;
mod threads;

use std::future::Future;

use async_graphql::{ID, MaybeUndefined, MergedObject, Result};

use super::context::{Ask, failed};
use super::ids::{Named, no_item};
use super::refusal::UserError;
use crate::actions::change::Change;
use crate::actions::{ActionError, ActionResult, Actions};
use crate::model::ItemId;
use crate::model::item::ItemKind;
use crate::model::refusal::Refusal;

/// The root of mutations.
#[derive(MergedObject, Default)]
pub struct Mutation(
    log_in::LogInMutation,
    people::PeopleMutation,
    mailboxes::MailboxMutation,
    emails::EmailMutation,
    items::ItemMutation,
    activities::ActivityMutation,
    passwords::PasswordMutation,
    stages::StageMutation,
    removals::RemovalMutation,
    routing::RoutingMutation,
    drafts::DraftMutation,
    templates::TemplateMutation,
    threads::ThreadMutation,
    erasure::ErasureMutation,
    reads::ReadMutation,
);

/// What a mutation answers: the changed thing, or what its caller can put right.
trait Payload {
    /// The payload of a change that was refused.
    fn refused(errors: Vec<UserError>) -> Self;
}

/// Makes the payload type of a mutation: nullable things, and `userErrors`.
macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(async_graphql::SimpleObject, Default)]
        pub struct $name {
            $($(#[$field_doc])* $field: Option<$type>,)*
            /// What the caller can put right; nothing was changed then.
            user_errors: Vec<$crate::graphql::refusal::UserError>,
        }

        impl $crate::graphql::mutation::Payload for $name {
            fn refused(user_errors: Vec<$crate::graphql::refusal::UserError>) -> Self {
                Self { $($field: None,)* user_errors }
            }
        }
    };
}
use payload;

/// Shapes what an action did: its result, or its refusals.
async fn answer<P, T, F>(done: ActionResult<T>, shape: impl FnOnce(T) -> F) -> Result<P>
where
    P: Payload,
    F: Future<Output = Result<P>>,
{
    match done {
        Ok(value) => shape(value).await,
        Err(ActionError::Refused(refusals)) => Ok(refused(refusals)),
        Err(ActionError::Store(error)) => Err(failed(&error)),
    }
}

fn refused<P: Payload>(refusals: impl IntoIterator<Item = Refusal>) -> P {
    P::refused(refusals.into_iter().map(UserError::from).collect())
}

impl Ask {
    fn actions(&self) -> &Actions {
        &self.services().actions
    }

    /// The row that an input names.
    fn named<T: Named>(&self, id: &ID) -> T {
        self.open_for_filter(id)
    }

    /// The rows that an input names.
    fn all_named<T: Named>(&self, ids: &[ID]) -> Vec<T> {
        ids.iter().map(|id| self.named(id)).collect()
    }

    /// The row that an update of a field names.
    fn change_named<T: Named>(&self, id: MaybeUndefined<ID>) -> Change<T> {
        changed(id, |id| self.named(&id))
    }

    /// The item of this kind that an input names.
    fn named_item_of(&self, kind: ItemKind, id: &ID) -> ItemId {
        self.open_item_of(kind, id).unwrap_or_else(no_item)
    }

    /// The item of any kind that an input names.
    fn named_item(&self, id: &ID) -> ItemId {
        self.open_item(id).map_or_else(no_item, |(_kind, id)| id)
    }

    /// The contacts that an input names.
    fn named_contacts(&self, ids: &[ID]) -> Vec<ItemId> {
        ids.iter()
            .map(|id| self.named_item_of(ItemKind::Contact, id))
            .collect()
    }
}

/// A field of an update: absent keeps, null clears, a value sets.
fn changed<T, U>(value: MaybeUndefined<T>, parse: impl FnOnce(T) -> U) -> Change<U> {
    match value {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Clear,
        MaybeUndefined::Value(value) => Change::Set(parse(value)),
    }
}

impl<T> From<MaybeUndefined<T>> for Change<T> {
    fn from(value: MaybeUndefined<T>) -> Self {
        changed(value, |value| value)
    }
}
