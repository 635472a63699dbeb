//! What signed addresses of exports stand for, for as long as they are good.

use super::read::word;
use super::sql::{insert_row, sql};
use super::{AnyConn, StoreError, Tx};
use crate::model::item::ItemKind;
use crate::model::{ExportId, Time, UserId};

/// An export that somebody asked for.
#[derive(Debug, Clone)]
pub struct Export {
    pub id: ExportId,
    pub user_id: UserId,
    pub kind: ItemKind,
    /// The filter as JSON.
    pub filter: String,
    pub expires_at: Time,
}

/// Keeps an export, in place of an earlier one with its id, and forgets those whose time is over.
///
/// # Errors
/// What the database says.
pub fn put(tx: &mut Tx<'_>, export: &Export) -> Result<(), StoreError> {
    sql("DELETE FROM exports WHERE expires_at < ")
        .bind(tx.now.micros())
        .run(tx.conn)?;
    insert_row(
        "exports",
        vec![
            ("id", export.id.0.into()),
            ("user_id", export.user_id.0.into()),
            ("item_kind", export.kind.as_text().into()),
            ("filter", export.filter.as_str().into()),
            ("expires_at", export.expires_at.micros().into()),
        ],
    )
    .push(" ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at")
    .run(tx.conn)?;
    Ok(())
}

/// The export with this id, while it is good.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: ExportId, now: Time) -> Result<Option<Export>, StoreError> {
    let row: Option<(i64, String, String, i64)> =
        sql("SELECT user_id, item_kind, filter, expires_at FROM exports WHERE id = ")
            .bind(id.0)
            .push(" AND expires_at >= ")
            .bind(now.micros())
            .one(conn)?;
    row.map(|(user, kind, filter, expires_at)| {
        Ok(Export {
            id,
            user_id: UserId(user),
            kind: word(ItemKind::from_text, &kind, "exports", "item_kind", id.0)?,
            filter,
            expires_at: Time::from_micros(expires_at),
        })
    })
    .transpose()
}
