//! Leads, deals and contacts are deleted, with the right to (R23, R45). An item goes with its timeline, addresses and
//! ties. Its emails lose this link; what that leads to is in `leaving`. A deal that a lead was converted into forgets the
//! lead; a lead whose deal or contact goes stays converted, into less.
//!
//! Who may read an email depends on all its items: with one gone, whoever reads the others may see it from now on.
//! Not for: what one person stored twice is (`merge_contacts`).

use super::acting::{self, facts_json};
use super::leaving::{Leaving, lock_clients};
use super::{ActionResult, Actions, audit, check_version, idempotency};
use crate::model::item::ItemKind;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::{ItemId, Time};
use crate::store::{self, Tx};
use serde::Serialize;
use serde_json::json;

/// An item to delete.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DeleteItem {
    pub kind: ItemKind,
    pub id: ItemId,
    pub expected_version: Option<i64>,
}

/// Deletes an item.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without DELETE on it, `STALE`, `BAD_INPUT` for one with too many emails.
pub async fn delete(
    actions: &Actions,
    viewer: &Viewer,
    input: DeleteItem,
    key: Option<String>,
    now: Time,
) -> ActionResult<ItemId> {
    let hash = idempotency::input_hash(&input)?;
    let mutation = match input.kind {
        ItemKind::Lead => "deleteLead",
        ItemKind::Deal => "deleteDeal",
        ItemKind::Contact => "deleteContact",
    };
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let done = idempotency::once(tx, viewer, mutation, key.as_deref(), &hash, |tx| {
                remove(tx, viewer, input, mutation)?;
                Ok(vec![input.id.0])
            })?;
            Ok(ItemId(idempotency::first(&done)?))
        })
        .await
}

/// Deletes it in this transaction; `mutation` is what the audit log calls it.
pub(super) fn remove(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    input: DeleteItem,
    mutation: &str,
) -> ActionResult<()> {
    let field = super::items::id_field(input.kind);
    lock_clients(tx, &[input.id])?;
    let wanted = (input.id, Some(input.kind));
    let (item, facts) = acting::item(tx, viewer, wanted, PermissionAction::Delete, field)?;
    check_version(input.expected_version, item.version)?;
    let leaving = Leaving::of(tx, item.id, field)?;
    let removed = leaving.take_off(tx, viewer, item.id)?;
    store::link_writes::void_changes_of(tx, item.id, None)?;
    store::item_writes::forget_item(tx, item.id)?;
    store::item_writes::delete(tx, item.id)?;
    tx.item_changed(item.id, facts_json(&facts)?);
    leaving.tell(tx)?;
    let about = acting::about_item(item.kind, item.id);
    let detail = json!({ "emails": leaving.links.len(), "emailsRemoved": removed });
    audit::record(tx, Some(viewer.user_id), mutation, &about, &detail)?;
    Ok(())
}
