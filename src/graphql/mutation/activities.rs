//! To-dos are completed, reopened and postponed.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{answer, payload};
use crate::actions::activities::{self, SeenActivity};
use crate::graphql::activity::Activity;
use crate::graphql::context::Ask;
use crate::graphql::scalars::DateTime;

/// A to-do to complete.
#[derive(InputObject)]
pub struct CompleteActivityInput {
    /// The activity.
    activity_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
}

/// A to-do to reopen.
#[derive(InputObject)]
pub struct ReopenActivityInput {
    /// The activity.
    activity_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
}

/// A to-do to postpone.
#[derive(InputObject)]
pub struct PostponeActivityInput {
    /// The activity, which is open.
    activity_id: ID,
    /// Its new deadline, which lies ahead.
    deadline: DateTime,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
}

payload! {
    /// The completed to-do.
    CompleteActivityPayload {
        /// The activity.
        activity: Activity,
    }
}
payload! {
    /// The reopened to-do.
    ReopenActivityPayload {
        /// The activity; its responsible is its item's, as it is now.
        activity: Activity,
    }
}
payload! {
    /// The postponed to-do.
    PostponeActivityPayload {
        /// The activity.
        activity: Activity,
    }
}

/// To-dos.
#[derive(Default)]
pub struct ActivityMutation;

#[Object]
impl ActivityMutation {
    /// Completes a to-do. It takes update on an item that it is shown on; one that is completed stays as it is.
    async fn complete_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CompleteActivityInput,
    ) -> Result<CompleteActivityPayload> {
        let ask = &Ask::of(ctx)?;
        let seen = seen(ask, &input.activity_id, input.expected_version);
        let done = activities::complete(ask.actions(), ask.viewer(), seen, ask.now());
        answer(done.await, |id| async move {
            Ok(CompleteActivityPayload {
                activity: Activity::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Reopens a to-do. It takes update on an item that it is shown on; one that is open stays as it is.
    async fn reopen_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ReopenActivityInput,
    ) -> Result<ReopenActivityPayload> {
        let ask = &Ask::of(ctx)?;
        let seen = seen(ask, &input.activity_id, input.expected_version);
        let done = activities::reopen(ask.actions(), ask.viewer(), seen, ask.now());
        answer(done.await, |id| async move {
            Ok(ReopenActivityPayload {
                activity: Activity::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Gives an open to-do a later deadline. It takes update on an item that it is shown on.
    async fn postpone_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: PostponeActivityInput,
    ) -> Result<PostponeActivityPayload> {
        let ask = &Ask::of(ctx)?;
        let seen = seen(ask, &input.activity_id, input.expected_version);
        let wish = (seen, input.deadline.0);
        let done = activities::postpone(ask.actions(), ask.viewer(), wish, ask.now());
        answer(done.await, |id| async move {
            Ok(PostponeActivityPayload {
                activity: Activity::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }
}

fn seen(ask: &Ask, id: &ID, expected_version: Option<i64>) -> SeenActivity {
    SeenActivity {
        activity_id: ask.named(id),
        expected_version,
    }
}
