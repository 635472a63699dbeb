//! What a user has read.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{answer, payload};
use crate::actions::mark_read;
use crate::graphql::context::Ask;
use crate::graphql::email::Email;
use crate::graphql::thread::Thread;

/// An email that the viewer has read, or wants to read again.
#[derive(InputObject)]
pub struct MarkEmailInput {
    /// The email.
    email_id: ID,
    /// Whether it is read.
    is_read: bool,
}

/// A conversation that the viewer has read, or wants to read again.
#[derive(InputObject)]
pub struct MarkThreadInput {
    /// The conversation.
    thread_id: ID,
    /// Whether it is read.
    is_read: bool,
}

payload! {
    /// The marked email.
    MarkEmailPayload {
        /// The email.
        email: Email,
    }
}
payload! {
    /// The marked conversation.
    MarkThreadPayload {
        /// The conversation.
        thread: Thread,
    }
}

/// Marking what was read.
#[derive(Default)]
pub struct ReadMutation;

#[Object]
impl ReadMutation {
    /// Marks an email as read or unread, for the viewer alone. Nothing changes on the mail server, nor for others.
    async fn mark_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: MarkEmailInput,
    ) -> Result<MarkEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = (ask.named(&input.email_id), input.is_read);
        let done = mark_read::email(ask.actions(), ask.viewer(), wish, ask.now());
        answer(done.await, |id| async move {
            Ok(MarkEmailPayload {
                email: Email::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Marks what came in of a conversation as read or unread, as far as the viewer sees it and for the viewer alone; what
    /// comes later is unread. Nothing changes on the mail server, nor for others.
    async fn mark_thread(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: MarkThreadInput,
    ) -> Result<MarkThreadPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = (ask.named(&input.thread_id), input.is_read);
        let done = mark_read::thread(ask.actions(), ask.viewer(), wish, ask.now());
        answer(done.await, |id| async move {
            Ok(MarkThreadPayload {
                thread: Thread::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }
}
