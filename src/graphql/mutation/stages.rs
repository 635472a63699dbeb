//! Stages of leads and deals are made, ordered and deleted.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result};

use super::{answer, payload};
use crate::actions::stages::{self, CreateStage, DeleteStage, UpdateStage};
use crate::graphql::context::Ask;
use crate::graphql::item::ItemKind;
use crate::graphql::stage::{Stage, StageKind};

/// A stage to make.
#[derive(InputObject)]
pub struct CreateStageInput {
    /// Of leads or of deals.
    item: ItemKind,
    /// What it is called; at most 200 characters.
    name: String,
    /// What it means. Leads have `OPEN`, `JUNK` and one `CONVERTED` stage, deals `OPEN`, `LOST` and one `WON` stage.
    kind: StageKind,
    /// Its place among the stages, from 1, which an open one holds; none: behind the last one of its kind.
    position: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a stage. Absent = unchanged.
#[derive(InputObject)]
pub struct UpdateStageInput {
    /// The stage.
    stage_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// What it is called.
    name: MaybeUndefined<String>,
    /// Its place among the stages, from 1; the others move up or down.
    position: MaybeUndefined<i64>,
}

/// A stage to delete.
#[derive(InputObject)]
pub struct DeleteStageInput {
    /// The stage; the last one of its kind stays.
    stage_id: ID,
    /// Where the items in it go: another stage of the same kind of item, but for the one of kind `CONVERTED`.
    move_items_to_stage_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
}

payload! {
    /// The new stage.
    CreateStagePayload {
        /// The stage.
        stage: Stage,
    }
}
payload! {
    /// The changed stage.
    UpdateStagePayload {
        /// The stage.
        stage: Stage,
    }
}
payload! {
    /// The stage is gone from the lists; timelines still tell of it.
    DeleteStagePayload {
        /// Its id.
        deleted_stage_id: ID,
    }
}

/// Stages.
#[derive(Default)]
pub struct StageMutation;

#[Object]
impl StageMutation {
    /// Makes a stage; the lines of roles without a stage hold for it at once. Administrators and holders of "may change CRM settings".
    async fn create_stage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateStageInput,
    ) -> Result<CreateStagePayload> {
        let ask = &Ask::of(ctx)?;
        let stage = CreateStage {
            item_kind: input.item.into(),
            name: input.name,
            kind: input.kind.into(),
            position: input.position,
        };
        let key = input.idempotency_key;
        let done = stages::create(ask.actions(), ask.viewer(), stage, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateStagePayload {
                stage: Stage::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Renames a stage or gives it another place. Administrators and holders of "may change CRM settings".
    async fn update_stage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateStageInput,
    ) -> Result<UpdateStagePayload> {
        let ask = &Ask::of(ctx)?;
        let change = UpdateStage {
            stage_id: ask.named(&input.stage_id),
            expected_version: input.expected_version,
            name: input.name.into(),
            position: input.position.into(),
        };
        let done = stages::update(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateStagePayload {
                stage: Stage::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Deletes a stage and the lines of roles for it; the items in it go to another one. Administrators only.
    async fn delete_stage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteStageInput,
    ) -> Result<DeleteStagePayload> {
        let ask = &Ask::of(ctx)?;
        let wish = DeleteStage {
            stage_id: ask.named(&input.stage_id),
            expected_version: input.expected_version,
            move_items_to: ask.named(&input.move_items_to_stage_id),
        };
        let done = stages::delete(ask.actions(), ask.viewer(), wish, ask.now());
        answer(done.await, |id| async move {
            Ok(DeleteStagePayload {
                deleted_stage_id: Some(ask.seal(id)),
                ..Default::default()
            })
        })
        .await
    }
}
