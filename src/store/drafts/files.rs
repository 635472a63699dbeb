//! Files that go out with drafts; their bytes lie in the raw store.

use crate::model::draft::DraftAttachment;
use crate::model::{DraftAttachmentId, DraftId};
use crate::store::sql::{insert_row, sql, update_row};
use crate::store::{AnyConn, StoreError, Tx};

type AttachmentRow = (i64, i64, String, String, i64, Option<Vec<u8>>);

const ATTACHMENT_COLUMNS: &str =
    "SELECT id, draft_id, name, media_type, size_bytes, raw_hash FROM draft_attachments";

fn attachment(row: AttachmentRow) -> DraftAttachment {
    let (id, draft, name, media_type, size_bytes, raw_hash) = row;
    DraftAttachment {
        id: DraftAttachmentId(id),
        draft_id: DraftId(draft),
        name,
        media_type,
        size_bytes,
        raw_hash,
    }
}

/// The files of drafts, in the order in which they were added.
///
/// # Errors
/// What the database says.
pub fn attachments(
    conn: &mut AnyConn,
    ids: &[DraftId],
) -> Result<Vec<DraftAttachment>, StoreError> {
    let rows: Vec<AttachmentRow> = sql(ATTACHMENT_COLUMNS)
        .push(" WHERE draft_id IN (")
        .any_of(ids.iter().map(|id| id.0))
        .push(") ORDER BY draft_id, id")
        .rows(conn)?;
    Ok(rows.into_iter().map(attachment).collect())
}

/// One file, whoever asks.
///
/// # Errors
/// What the database says.
pub fn attachment_by_id(
    conn: &mut AnyConn,
    id: DraftAttachmentId,
) -> Result<Option<DraftAttachment>, StoreError> {
    let row: Option<AttachmentRow> = sql(ATTACHMENT_COLUMNS)
        .push(" WHERE id = ")
        .bind(id.0)
        .one(conn)?;
    Ok(row.map(attachment))
}

/// Adds a file to a draft; `raw_hash` where its bytes are kept already.
///
/// # Errors
/// What the database says.
pub fn insert_attachment(
    tx: &mut Tx<'_>,
    draft: DraftId,
    (name, media_type): (&str, &str),
    size_bytes: i64,
    raw_hash: Option<Vec<u8>>,
) -> Result<DraftAttachmentId, StoreError> {
    let id = tx.id()?;
    insert_row(
        "draft_attachments",
        vec![
            ("id", id.into()),
            ("draft_id", draft.0.into()),
            ("name", name.into()),
            ("media_type", media_type.into()),
            ("size_bytes", size_bytes.into()),
            ("raw_hash", raw_hash.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(DraftAttachmentId(id))
}

/// Notes that a file's bytes are kept.
///
/// # Errors
/// What the database says.
pub fn update_uploaded(
    tx: &mut Tx<'_>,
    id: DraftAttachmentId,
    (hash, size_bytes): (&[u8], i64),
) -> Result<(), StoreError> {
    update_row(
        "draft_attachments",
        id.0,
        vec![
            ("raw_hash", Some(hash.to_vec()).into()),
            ("size_bytes", size_bytes.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Takes a file off its draft.
///
/// # Errors
/// What the database says.
pub fn delete_attachment(tx: &mut Tx<'_>, id: DraftAttachmentId) -> Result<(), StoreError> {
    sql("DELETE FROM draft_attachments WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}
