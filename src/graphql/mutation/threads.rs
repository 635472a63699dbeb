//! Conversations are split, merged and put back by hand.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{answer, payload};
use crate::actions::threads::{self, MergeThreads, SplitThread};
use crate::graphql::context::Ask;
use crate::graphql::thread::{Thread, ThreadChange, changed};

/// Emails that are to be a conversation of their own.
#[derive(InputObject)]
pub struct SplitThreadInput {
    /// Emails of one conversation, at most 250, and not all of it. It has at most 500.
    email_ids: Vec<ID>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// Conversations that are one.
#[derive(InputObject)]
pub struct MergeThreadsInput {
    /// The conversation that remains.
    thread_id: ID,
    /// The conversations that go, at most 20 of at most 500 emails each. What the viewer does not see of them stays where it
    /// is.
    merge_thread_ids: Vec<ID>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A change to take back.
#[derive(InputObject)]
pub struct UndoThreadChangeInput {
    /// The split or merge.
    thread_change_id: ID,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

payload! {
    /// The new conversation.
    SplitThreadPayload {
        /// The conversation that the emails are now.
        thread: Thread,
        /// The change, for taking it back.
        change: ThreadChange,
    }
}
payload! {
    /// The conversation that remained.
    MergeThreadsPayload {
        /// The conversation.
        thread: Thread,
        /// The change, for taking it back.
        change: ThreadChange,
    }
}
payload! {
    /// The change that was taken back.
    UndoThreadChangePayload {
        /// The change.
        change: ThreadChange,
    }
}

/// Splitting and merging conversations.
#[derive(Default)]
pub struct ThreadMutation;

#[Object]
impl ThreadMutation {
    /// Gives emails of one conversation a conversation of their own. It takes access to their mailboxes, or update on every
    /// item that they hang on. Links and activities stay.
    async fn split_thread(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: SplitThreadInput,
    ) -> Result<SplitThreadPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = SplitThread {
            email_ids: ask.all_named(&input.email_ids),
        };
        let key = input.idempotency_key;
        let done = threads::split(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |(thread, change)| async move {
            Ok(SplitThreadPayload {
                thread: Some(changed(ask, thread).await?),
                change: ThreadChange::find(ask, change).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Moves what the viewer sees of some conversations into another one. It takes access to the mailboxes of all emails
    /// that it concerns, or update on every item that they hang on. Links and activities stay.
    async fn merge_threads(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: MergeThreadsInput,
    ) -> Result<MergeThreadsPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = MergeThreads {
            thread_id: ask.named(&input.thread_id),
            merge_thread_ids: ask.all_named(&input.merge_thread_ids),
        };
        let key = input.idempotency_key;
        let done = threads::merge(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |(thread, change)| async move {
            Ok(MergeThreadsPayload {
                thread: Some(changed(ask, thread).await?),
                change: ThreadChange::find(ask, change).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Takes a split or merge back, unless something of it was taken back or moved since (`CHANGED_SINCE`). What the viewer
    /// does not see of it stays where it is. It takes what making it took.
    async fn undo_thread_change(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UndoThreadChangeInput,
    ) -> Result<UndoThreadChangePayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.thread_change_id);
        let key = input.idempotency_key;
        let done = threads::undo(ask.actions(), ask.viewer(), id, key, ask.now());
        answer(done.await, |id| async move {
            Ok(UndoThreadChangePayload {
                change: ThreadChange::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }
}
