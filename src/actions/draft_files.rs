//! Files that go out with a draft (R41): announced, uploaded to a signed address, taken off again.
//! Not for: who serves that address (that is `http::files`).

use super::drafts::{editable, on_its_way, own_now};
use super::{ActionError, ActionResult, Actions, acting};
use crate::mail::compose;
use crate::model::draft::{Draft, DraftAttachment};
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::{DraftAttachmentId, DraftId, Time};
use crate::rules::sending;
use crate::store::raw::{self, Upload};
use crate::store::{StoreError, drafts};

/// All files of a mail together: most servers take 25 MB as they are written, encoded by a third more.
pub const FILES_BYTES_MAX: i64 = 25 * 1024 * 1024;
/// More files than this want an archive.
pub const FILES_MAX: usize = 50;

/// A file to announce.
#[derive(Debug, Clone)]
pub struct AddDraftFile {
    pub draft_id: DraftId,
    pub expected_version: Option<i64>,
    pub name: String,
    pub media_type: String,
    pub size_bytes: i64,
}

/// Announces a file; it is uploaded after.
///
/// # Errors
/// `NOT_FOUND`, `STALE`, `CHANGED_SINCE`, `BAD_INPUT` for files that are too many or too large together.
pub async fn add(
    actions: &Actions,
    viewer: &Viewer,
    input: AddDraftFile,
    now: Time,
) -> ActionResult<DraftAttachmentId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let draft = editable(tx, viewer, (input.draft_id, input.expected_version))?;
            let files = drafts::attachments(tx.conn, &[draft.id])?;
            let sum: i64 = files.iter().map(|file| file.size_bytes).sum();
            if input.size_bytes < 0 || sum.saturating_add(input.size_bytes) > FILES_BYTES_MAX {
                let message =
                    format!("All files of a mail have at most {FILES_BYTES_MAX} bytes together.");
                return Err(acting::bad_input("size", message));
            }
            if files.len() >= FILES_MAX {
                return Err(acting::bad_input(
                    "draftId",
                    format!("At most {FILES_MAX} files."),
                ));
            }
            let name = compose::file_name(&input.name);
            let media_type = compose::media_type(&input.media_type);
            let named = (name.as_str(), media_type.as_str());
            let id = drafts::insert_attachment(tx, draft.id, named, input.size_bytes, None)?;
            drafts::touch(tx, draft.id)?;
            Ok(id)
        })
        .await
}

/// Takes a file off its draft.
///
/// # Errors
/// `NOT_FOUND`, `CHANGED_SINCE`.
pub async fn remove(
    actions: &Actions,
    viewer: &Viewer,
    id: DraftAttachmentId,
    now: Time,
) -> ActionResult<DraftId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let not_found = || Refusal::not_found("attachmentId");
            let file = drafts::attachment_by_id(tx.conn, id)?.ok_or_else(not_found)?;
            seen(own_now(tx.conn, viewer, file.draft_id))?.ok_or_else(not_found)?;
            let draft = editable(tx, viewer, (file.draft_id, None))?;
            drafts::delete_attachment(tx, id)?;
            drafts::touch(tx, draft.id)?;
            Ok(draft.id)
        })
        .await
}

/// The draft, where it is seen; a fault of the database stays one.
fn seen(found: ActionResult<Draft>) -> Result<Option<Draft>, StoreError> {
    match found {
        Ok(draft) => Ok(Some(draft)),
        Err(ActionError::Refused(_refusals)) => Ok(None),
        Err(ActionError::Store(error)) => Err(error),
    }
}

/// The file, if this viewer may upload it under their present rights.
///
/// # Errors
/// `NOT_FOUND`; `CHANGED_SINCE`: the draft went on meanwhile.
pub async fn awaited(
    actions: &Actions,
    viewer: &Viewer,
    id: DraftAttachmentId,
) -> ActionResult<DraftAttachment> {
    let viewer = viewer.clone();
    let found = actions.store.read(move |conn| {
        let Some(file) = drafts::attachment_by_id(conn, id)? else {
            return Ok(None);
        };
        let draft = seen(own_now(conn, &viewer, file.draft_id))?;
        Ok(draft.map(|draft| (file, draft.state)))
    });
    match found.await? {
        Some((file, state)) if sending::may_edit(state) => Ok(file),
        Some(_on_its_way) => Err(on_its_way()),
        None => Err(Refusal::not_found("attachmentId").into()),
    }
}

/// Binds what was uploaded to its file. A second upload replaces the first.
///
/// # Errors
/// `NOT_FOUND`, `CHANGED_SINCE`: the draft went on meanwhile.
pub async fn put(
    actions: &Actions,
    viewer: &Viewer,
    file: &DraftAttachment,
    upload: Upload,
    now: Time,
) -> ActionResult<()> {
    let (durable, hash, length) = upload.finish().await?;
    let (id, draft) = (file.id, file.draft_id);
    actions
        .write_as(viewer, now, move |tx, viewer| {
            editable(tx, viewer, (draft, None))?;
            if drafts::attachment_by_id(tx.conn, id)?.is_none() {
                return Err(Refusal::not_found("attachmentId").into());
            }
            raw::name(tx, &durable)?;
            drafts::update_uploaded(tx, id, (&hash, length))?;
            drafts::touch(tx, draft)?;
            Ok(())
        })
        .await
}
