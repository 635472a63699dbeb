//! Stages of leads and deals are made, renamed, ordered and deleted (R23, R25): making and ordering them takes "may change
//! CRM settings"; deleting, which moves items and takes lines of roles away, administrators alone.
//! Not for: moving single items between stages (`items`); which stages there can be is `rules::stages`.

use super::acting::{bad_input, facts_json, require_administrator, require_crm_settings};
use super::change::Change;
use super::fields::{self, NAME_CHARS_MAX, check_all};
use super::items::tell;
use super::leaving::TOLD_SINGLY_MAX;
use super::{ActionError, ActionResult, Actions, audit, check_version, idempotency};
use crate::model::item::{ItemKind, Stage, StageKind};
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::timeline::Told;
use crate::model::{StageId, Time};
use crate::rules::stages::{self, StageFault};
use crate::store::dialect::lock_keys;
use crate::store::{self, Tx};
use serde::Serialize;
use serde_json::json;

/// Stages of one kind of item: a board shows them side by side, and roles can have a line for each.
const STAGES_MAX: usize = 100;
/// Items that one deletion moves: each gets a timeline entry in the same transaction.
const ITEMS_MAX: i64 = 50_000;
/// One writer at a time: places are counted and the last one of a kind is kept.
const STAGES_LOCK: i64 = 0x7374_6167_6573_0000;

/// A stage to make.
#[derive(Debug, Clone, Serialize)]
pub struct CreateStage {
    pub item_kind: ItemKind,
    pub name: String,
    pub kind: StageKind,
    /// Its place among its item kind's, from 1; `None`: behind the last one of its kind.
    pub position: Option<i64>,
}

/// Makes a stage. The roles' lines without a stage hold for it at once.
///
/// # Errors
/// `FORBIDDEN`, `BAD_INPUT` for a kind that it can't be or a place that it can't have.
pub async fn create(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateStage,
    key: Option<String>,
    now: Time,
) -> ActionResult<StageId> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_crm_settings(viewer)?;
            let made = idempotency::once(tx, viewer, "createStage", key.as_deref(), &hash, |tx| {
                add(tx, viewer, &input).map(|id| vec![id.0])
            })?;
            Ok(StageId(idempotency::first(&made)?))
        })
        .await
}

fn add(tx: &mut Tx<'_>, viewer: &Viewer, input: &CreateStage) -> ActionResult<StageId> {
    let name = fields::line("name", &input.name, NAME_CHARS_MAX)?;
    let mut all = locked(tx, input.item_kind)?;
    if all.len() >= STAGES_MAX {
        return Err(bad_input(
            "name",
            format!(
                "There are {STAGES_MAX} such stages already, which is as many as there can be."
            ),
        ));
    }
    let stage = Stage {
        id: StageId(tx.id()?),
        item_kind: input.item_kind,
        name,
        kind: input.kind,
        position: 0,
        version: 1,
    };
    let last_alike = all.iter().rposition(|other| other.kind == stage.kind);
    let place = match input.position {
        Some(position) => place(position, all.len() + 1)?,
        None => last_alike.map_or(all.len(), |index| index + 1),
    };
    let id = stage.id;
    all.insert(place, stage);
    refuse_fault(input.item_kind, &all, "kind")?;
    number(tx, &mut all, Some(id))?;
    let detail = json!({
        "item": input.item_kind.as_text(), "kind": input.kind.as_text(), "position": place + 1,
    });
    record(tx, viewer, "createStage", id, &detail)?;
    Ok(id)
}

/// What changes about a stage; what it means stays.
#[derive(Debug, Clone)]
pub struct UpdateStage {
    pub stage_id: StageId,
    pub expected_version: Option<i64>,
    pub name: Change<String>,
    /// The others move up or down.
    pub position: Change<i64>,
}

/// Renames a stage or gives it another place.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `STALE`, `BAD_INPUT`.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateStage,
    now: Time,
) -> ActionResult<StageId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_crm_settings(viewer)?;
            change(tx, viewer, input)
        })
        .await
}

fn change(tx: &mut Tx<'_>, viewer: &Viewer, input: UpdateStage) -> ActionResult<StageId> {
    let (mut all, index) = locked_with(tx, input.stage_id)?;
    let mut stage = all.remove(index);
    let before = stage.clone();
    check_version(input.expected_version, stage.version)?;
    check_all! {
        name = input
            .name
            .try_map(|text| fields::line("name", &text, NAME_CHARS_MAX))
            .and_then(|change| change.applied_required("name", before.name.clone())),
        position = input
            .position
            .applied_required("position", before.position),
    }
    stage.name = name;
    stage.version += 1;
    let item_kind = stage.item_kind;
    all.insert(place(position, all.len() + 1)?, stage);
    refuse_fault(item_kind, &all, "position")?;
    number(tx, &mut all, Some(before.id))?;
    let detail = json!({
        "before": { "name": before.name, "position": before.position }, "after": { "position": position },
    });
    record(tx, viewer, "updateStage", before.id, &detail)?;
    Ok(before.id)
}

/// A stage to delete, and where its items go.
#[derive(Debug, Clone, Copy)]
pub struct DeleteStage {
    pub stage_id: StageId,
    pub expected_version: Option<i64>,
    pub move_items_to: StageId,
}

/// Deletes a stage: its items go to another one, which makes them open or closed and is told on their timelines, and the
/// roles' lines for it go with it. Administrators only. What the timeline told of it stays readable.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `STALE`, `BAD_INPUT` for the last one of its kind, or where its items can't go there.
pub async fn delete(
    actions: &Actions,
    viewer: &Viewer,
    input: DeleteStage,
    now: Time,
) -> ActionResult<StageId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            remove(tx, viewer, input)
        })
        .await
}

fn remove(tx: &mut Tx<'_>, viewer: &Viewer, input: DeleteStage) -> ActionResult<StageId> {
    let (mut all, index) = locked_with(tx, input.stage_id)?;
    let stage = all.remove(index);
    check_version(input.expected_version, stage.version)?;
    refuse_fault(stage.item_kind, &all, "stageId")?;
    let field = "moveItemsToStageId";
    let to = store::settings::stages(tx.conn)?
        .into_iter()
        .find(|other| other.id == input.move_items_to)
        .ok_or_else(|| Refusal::not_found(field))?;
    if !stages::takes_items_of(&stage, &to) {
        return Err(bad_input(
            field,
            format!("Items of \"{}\" can't go to \"{}\".", stage.name, to.name),
        ));
    }
    store::stage_writes::lock(tx, stage.id)?;
    let items = store::stage_writes::lock_items(tx, stage.id, ITEMS_MAX + 1)?;
    if items.len() > usize::try_from(ITEMS_MAX).unwrap_or(usize::MAX) {
        return Err(bad_input(
            "stageId",
            format!("More than {ITEMS_MAX} items are in this stage; move some of them first."),
        ));
    }
    if items.len() <= TOLD_SINGLY_MAX {
        for facts in store::items::facts(tx.conn, &items)? {
            tx.item_changed(facts.id, facts_json(&facts)?);
        }
    } else {
        tx.history_changed(None);
    }
    store::stage_writes::move_items(tx, stage.id, &to)?;
    for item in &items {
        let told = Told::StageChanged {
            from: stage.id,
            to: to.id,
        };
        tell(tx, viewer, *item, told);
    }
    let lines = store::role_writes::delete_lines_of_stage(tx, stage.id)?;
    store::stage_writes::delete_stage(tx, stage.id)?;
    number(tx, &mut all, None)?;
    tx.rights_changed()?;
    let detail = json!({ "movedTo": format!("stage {}", to.id.0), "items": items.len(), "roleLines": lines });
    record(tx, viewer, "deleteStage", stage.id, &detail)?;
    Ok(stage.id)
}

/// The stages of one kind of item in their order, none of which changes until the end of the transaction.
fn locked(tx: &mut Tx<'_>, item: ItemKind) -> ActionResult<Vec<Stage>> {
    lock_keys(tx, STAGES_LOCK, &["stages".to_owned()])?;
    Ok(store::settings::stages(tx.conn)?
        .into_iter()
        .filter(|stage| stage.item_kind == item)
        .collect())
}

/// The same, with the place of this stage among them.
fn locked_with(tx: &mut Tx<'_>, id: StageId) -> ActionResult<(Vec<Stage>, usize)> {
    let missing = || ActionError::from(Refusal::not_found("stageId"));
    let named = store::settings::stages(tx.conn)?
        .into_iter()
        .find(|stage| stage.id == id)
        .ok_or_else(missing)?;
    let all = locked(tx, named.item_kind)?;
    let index = all
        .iter()
        .position(|stage| stage.id == id)
        .ok_or_else(missing)?;
    Ok((all, index))
}

/// The index of a position among so many.
fn place(position: i64, count: usize) -> ActionResult<usize> {
    let max = i64::try_from(count).unwrap_or(i64::MAX);
    let position = fields::number("position", position, 1, max)?;
    Ok(usize::try_from(position - 1).unwrap_or(0))
}

fn refuse_fault(item: ItemKind, all: &[Stage], field: &str) -> ActionResult<()> {
    let message = match stages::fault(item, all) {
        None => return Ok(()),
        Some(StageFault::WrongKind) => format!(
            "Stages of this kind are none of a {}.",
            item.as_text().to_lowercase()
        ),
        Some(StageFault::ExactlyOne(kind)) => {
            format!("There is exactly one stage of the kind {}.", kind.as_text())
        }
        Some(StageFault::LastOne(kind)) => {
            format!("It is the last stage of the kind {}.", kind.as_text())
        }
        Some(StageFault::FirstIsNotOpen) => {
            "An open stage comes first: items begin there.".to_owned()
        }
    };
    Err(bad_input(field, message))
}

/// Numbers the stages in their order from 1 and writes those that changed; `asked` is written anyway, or added.
fn number(tx: &mut Tx<'_>, all: &mut [Stage], asked: Option<StageId>) -> ActionResult<()> {
    for (position, stage) in (1_i64..).zip(all) {
        let is_new = stage.position == 0;
        let moved = stage.position != position;
        stage.position = position;
        if is_new {
            store::stage_writes::insert_stage(tx, stage)?;
        } else if moved || Some(stage.id) == asked {
            if Some(stage.id) != asked {
                stage.version += 1;
            }
            store::stage_writes::update_stage(tx, stage)?;
        }
    }
    Ok(())
}

fn record(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    action: &str,
    id: StageId,
    detail: &serde_json::Value,
) -> ActionResult<()> {
    let about = format!("stage {}", id.0);
    audit::record(tx, Some(viewer.user_id), action, &about, detail)?;
    Ok(())
}
