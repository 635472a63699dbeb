//! Notes on an item's timeline (R37). Whoever may change an item may write on it; a note is never edited.

use super::fields::{self, NOTE_CHARS_MAX};
use super::items::tell;
use super::{ActionResult, Actions, acting, idempotency};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::timeline::{Position, Told};
use crate::model::{ItemId, Time};
use crate::store::{self, StoreError, Tx};
use serde_json::json;

/// Adds a note; where it stands on the timeline.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without UPDATE on the item, `BAD_INPUT`.
pub async fn add(
    actions: &Actions,
    viewer: &Viewer,
    (item_id, text): (ItemId, String),
    key: Option<String>,
    now: Time,
) -> ActionResult<Position> {
    let hash = idempotency::input_hash(&json!({ "itemId": item_id, "text": text }))?;
    let author = viewer.user_id;
    // Positions are given as the last step, after the key is kept: what is kept is the item and the moment.
    let (ids, text) = actions
        .write_as(viewer, now, move |tx, viewer| {
            let cleaned = fields::lines("text", &text, NOTE_CHARS_MAX);
            let told = cleaned.clone();
            let ids = idempotency::once(tx, viewer, "addNote", key.as_deref(), &hash, |tx| {
                write(tx, viewer, item_id, cleaned.map_err(Into::into))
            })?;
            Ok((ids, told?))
        })
        .await?;
    let (item, at) = (idempotency::first(&ids)?, idempotency::nth(&ids, 1)?);
    let (item, at) = (ItemId(item), Time::from_micros(at));
    let position = actions
        .store
        .read(move |conn| store::timeline::find_note(conn, item, (author, at), &text))
        .await?;
    // It was committed just now, and entries are never taken away while their item is there.
    Ok(position.ok_or(StoreError::Conflict("the item is gone".to_owned()))?)
}

fn write(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    item_id: ItemId,
    text: ActionResult<String>,
) -> ActionResult<Vec<i64>> {
    let wanted = (item_id, None);
    acting::item(tx, viewer, wanted, PermissionAction::Update, "itemId")?;
    tell(tx, viewer, item_id, Told::NoteAdded { text: text? });
    Ok(vec![item_id.0, tx.now.micros()])
}
