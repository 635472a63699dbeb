//! Stages of leads and deals, and the items in them. Reading is in `settings`.

use super::sql::{insert_row, sql, update_row};
use super::{StoreError, Tx};
use crate::model::item::{Stage, StageKind};
use crate::model::{ItemId, StageId};

/// Adds a stage.
///
/// # Errors
/// What the database says.
pub fn insert_stage(tx: &mut Tx<'_>, stage: &Stage) -> Result<(), StoreError> {
    insert_row(
        "stages",
        vec![
            ("id", stage.id.0.into()),
            ("item_kind", stage.item_kind.as_text().into()),
            ("name", stage.name.as_str().into()),
            ("kind", stage.kind.as_text().into()),
            ("position", stage.position.into()),
            ("version", stage.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Writes a stage's name, place and version anew; what it means stays.
///
/// # Errors
/// What the database says.
pub fn update_stage(tx: &mut Tx<'_>, stage: &Stage) -> Result<(), StoreError> {
    update_row(
        "stages",
        stage.id.0,
        vec![
            ("name", stage.name.as_str().into()),
            ("position", stage.position.into()),
            ("version", stage.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Deletes a stage: no item can be in it any more. Its row stays for what names it.
///
/// # Errors
/// What the database says.
pub fn delete_stage(tx: &mut Tx<'_>, id: StageId) -> Result<(), StoreError> {
    sql("UPDATE stages SET version = version + 1, deleted_at = ")
        .bind(tx.now.micros())
        .push(" WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// The items in a stage, at most `limit`, in the order of their ids; locked until the end of the transaction.
///
/// # Errors
/// What the database says.
pub fn lock_items(tx: &mut Tx<'_>, id: StageId, limit: i64) -> Result<Vec<ItemId>, StoreError> {
    let query = sql("SELECT id FROM items WHERE stage_id = ")
        .bind(id.0)
        .push(" ORDER BY id LIMIT ")
        .bind(limit);
    let ids: Vec<i64> = super::dialect::for_update(tx.conn, query).rows(tx.conn)?;
    Ok(ids.into_iter().map(ItemId).collect())
}

/// Moves every item of a stage to another, whose kind makes them open or closed.
///
/// # Errors
/// What the database says.
pub fn move_items(tx: &mut Tx<'_>, from: StageId, to: &Stage) -> Result<(), StoreError> {
    sql("UPDATE items SET version = version + 1, stage_id = ")
        .bind(to.id.0)
        .push(", is_open = ")
        .bind(to.kind == StageKind::Open)
        .push(" WHERE stage_id = ")
        .bind(from.0)
        .run(tx.conn)?;
    Ok(())
}

/// Holds a stage until the end of the transaction, so that it is not deleted while an item moves there; false where it
/// was deleted.
///
/// # Errors
/// What the database says.
pub fn hold(tx: &mut Tx<'_>, id: StageId) -> Result<bool, StoreError> {
    let query = sql("SELECT id FROM stages WHERE deleted_at IS NULL AND id = ").bind(id.0);
    let found: Option<i64> = super::dialect::for_key_share(tx.conn, query).one(tx.conn)?;
    Ok(found.is_some())
}

/// Waits until nobody holds a stage, and keeps it for this transaction alone.
///
/// # Errors
/// What the database says.
pub fn lock(tx: &mut Tx<'_>, id: StageId) -> Result<(), StoreError> {
    let query = sql("SELECT id FROM stages WHERE id = ").bind(id.0);
    super::dialect::for_update(tx.conn, query).rows::<i64>(tx.conn)?;
    Ok(())
}
