//! Emails are saved by hand, moved between items, and moved back.

use async_graphql::{Context, ID, InputObject, Object, OneofObject, Result};

use super::{answer, payload};
use crate::actions::relink::{self, SeenEmail};
use crate::actions::remove_email::{self, RemoveEmail};
use crate::actions::save_email::{self, Target};
use crate::graphql::context::Ask;
use crate::graphql::email::Email;
use crate::graphql::item::ItemKind;
use crate::graphql::link::LinkChange;
use crate::model::LinkChangeId;

/// Where an email is saved: on an item, or on a new one.
#[derive(OneofObject)]
pub enum SaveTargetInput {
    /// On this item.
    ItemId(ID),
    /// On a new item of this kind, whose responsible the viewer becomes.
    Create(ItemKind),
}

/// An email to save.
#[derive(InputObject)]
pub struct SaveEmailInput {
    /// The email.
    email_id: ID,
    /// Where; none: the rules choose, with the queue.
    target: Option<SaveTargetInput>,
    /// The version of the email that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// An email to move.
#[derive(InputObject)]
pub struct RelinkEmailInput {
    /// The email.
    email_id: ID,
    /// The deal that it hangs on.
    from_item_id: ID,
    /// The deal that it is moved to.
    to_item_id: ID,
    /// The version of the email that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// An email to link to one more item.
#[derive(InputObject)]
pub struct LinkEmailInput {
    /// The email.
    email_id: ID,
    /// The item.
    to_item_id: ID,
    /// The version of the email that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// An email to unlink from an item.
#[derive(InputObject)]
pub struct UnlinkEmailInput {
    /// The email.
    email_id: ID,
    /// The item; the last one stays.
    from_item_id: ID,
    /// The version of the email that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A change of links to take back.
#[derive(InputObject)]
pub struct UndoRelinkInput {
    /// The change.
    change_id: ID,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// An email to remove from the CRM.
#[derive(InputObject)]
pub struct RemoveEmailInput {
    /// The email.
    email_id: ID,
    /// The version of the email that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

payload! {
    /// The removed email.
    RemoveEmailPayload {
        /// The email, with the outcome `REMOVED`; null without access to its mailbox.
        email: Email,
    }
}
payload! {
    /// The saved email.
    SaveEmailPayload {
        /// The email; null where the viewer may no longer see it.
        email: Email,
    }
}
payload! {
    /// The moved email.
    RelinkEmailPayload {
        /// The email; null where the viewer may no longer see it.
        email: Email,
        /// The line of its link history; `undoRelink` takes it back.
        change: LinkChange,
    }
}
payload! {
    /// The email with its new link.
    LinkEmailPayload {
        /// The email; null where the viewer may no longer see it.
        email: Email,
        /// The line of its link history; `undoRelink` takes it back.
        change: LinkChange,
    }
}
payload! {
    /// The email without that link.
    UnlinkEmailPayload {
        /// The email; null where the viewer may no longer see it.
        email: Email,
        /// The line of its link history; `undoRelink` takes it back.
        change: LinkChange,
    }
}
payload! {
    /// The email as it was before.
    UndoRelinkPayload {
        /// The email; null where the viewer may no longer see it.
        email: Email,
    }
}

/// Saving and moving emails.
#[derive(Default)]
pub struct EmailMutation;

#[Object]
impl EmailMutation {
    /// Saves an email to the CRM by hand: on an item that the viewer may change, on a new one, or where the rules choose.
    async fn save_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: SaveEmailInput,
    ) -> Result<SaveEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let target = match &input.target {
            None => Target::Rules,
            Some(SaveTargetInput::ItemId(id)) => Target::Item(ask.named_item(id)),
            Some(SaveTargetInput::Create(kind)) => Target::Create((*kind).into()),
        };
        let email = SeenEmail {
            email_id: ask.named(&input.email_id),
            expected_version: input.expected_version,
        };
        let key = input.idempotency_key;
        let done = save_email::save(ask.actions(), ask.viewer(), email, target, key, ask.now());
        answer(done.await, |id| async move {
            Ok(SaveEmailPayload {
                email: Email::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Moves a saved email from one deal to another. It takes update on both.
    async fn relink_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: RelinkEmailInput,
    ) -> Result<RelinkEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let email = SeenEmail {
            email_id: ask.named(&input.email_id),
            expected_version: input.expected_version,
        };
        let between = (
            ask.named_item(&input.from_item_id),
            ask.named_item(&input.to_item_id),
        );
        let key = input.idempotency_key;
        let done = relink::relink(ask.actions(), ask.viewer(), email, between, key, ask.now());
        answer(done.await, |(id, change)| async move {
            Ok(RelinkEmailPayload {
                email: Email::find(ask, id).await?,
                change: change_of(ask, change).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Links a saved email to one more item. It takes update on it and on every item that the email hangs on.
    async fn link_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: LinkEmailInput,
    ) -> Result<LinkEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let email = SeenEmail {
            email_id: ask.named(&input.email_id),
            expected_version: input.expected_version,
        };
        let to = ask.named_item(&input.to_item_id);
        let key = input.idempotency_key;
        let done = relink::link(ask.actions(), ask.viewer(), email, to, key, ask.now());
        answer(done.await, |(id, change)| async move {
            Ok(LinkEmailPayload {
                email: Email::find(ask, id).await?,
                change: change_of(ask, change).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Unlinks a saved email from an item; the last link stays.
    async fn unlink_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UnlinkEmailInput,
    ) -> Result<UnlinkEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let email = SeenEmail {
            email_id: ask.named(&input.email_id),
            expected_version: input.expected_version,
        };
        let from = ask.named_item(&input.from_item_id);
        let key = input.idempotency_key;
        let done = relink::unlink(ask.actions(), ask.viewer(), email, from, key, ask.now());
        answer(done.await, |(id, change)| async move {
            Ok(UnlinkEmailPayload {
                email: Email::find(ask, id).await?,
                change: change_of(ask, change).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Removes an email that was saved by mistake from the CRM. It takes update on every item that it is linked to, also
    /// where the email came there with the conversion of a lead. It stays in its mailbox and can be saved by hand again.
    async fn remove_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: RemoveEmailInput,
    ) -> Result<RemoveEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let removal = RemoveEmail {
            email_id: ask.named(&input.email_id),
            expected_version: input.expected_version,
        };
        let key = input.idempotency_key;
        let done = remove_email::remove(ask.actions(), ask.viewer(), removal, key, ask.now());
        answer(done.await, |id| async move {
            Ok(RemoveEmailPayload {
                email: Email::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Takes a change of links back: restores the state before it, or says that something has changed since.
    async fn undo_relink(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UndoRelinkInput,
    ) -> Result<UndoRelinkPayload> {
        let ask = &Ask::of(ctx)?;
        let change: LinkChangeId = ask.named(&input.change_id);
        let key = input.idempotency_key;
        let done = relink::undo(ask.actions(), ask.viewer(), change, key, ask.now());
        answer(done.await, |id| async move {
            Ok(UndoRelinkPayload {
                email: Email::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }
}

async fn change_of(ask: &Ask, id: Option<LinkChangeId>) -> Result<Option<LinkChange>> {
    match id {
        Some(id) => LinkChange::find(ask, id).await,
        None => Ok(None),
    }
}
