//! Stages and the settings of the whole installation.

use super::read::word;
use super::sql::sql;
use super::{AnyConn, StoreError};
use crate::model::StageId;
use crate::model::item::{ItemKind, Stage, StageKind};
use crate::model::people::CrmSettings;

/// All stages that items can be in, in their order, leads before deals.
///
/// # Errors
/// What the database says.
pub fn stages(conn: &mut AnyConn) -> Result<Vec<Stage>, StoreError> {
    read_stages(conn, " WHERE deleted_at IS NULL")
}

/// The same with those that were deleted: timeline entries still name them.
///
/// # Errors
/// What the database says.
pub fn stages_ever(conn: &mut AnyConn) -> Result<Vec<Stage>, StoreError> {
    read_stages(conn, "")
}

fn read_stages(conn: &mut AnyConn, which: &'static str) -> Result<Vec<Stage>, StoreError> {
    let rows: Vec<(i64, String, String, String, i64, i64)> =
        sql("SELECT id, item_kind, name, kind, position, version FROM stages")
            .push(which)
            .push(" ORDER BY item_kind DESC, position, id")
            .rows(conn)?;
    rows.into_iter()
        .map(|(id, item_kind, name, kind, position, version)| {
            Ok(Stage {
                id: StageId(id),
                item_kind: word(ItemKind::from_text, &item_kind, "stages", "item_kind", id)?,
                name,
                kind: word(StageKind::from_text, &kind, "stages", "kind", id)?,
                position,
                version,
            })
        })
        .collect()
}

/// The settings of the installation.
///
/// # Errors
/// What the database says.
pub fn crm_settings(conn: &mut AnyConn) -> Result<CrmSettings, StoreError> {
    let row: Option<(bool, i64, i64)> =
        sql("SELECT leads_enabled, sender_limit_per_hour, version FROM crm_settings WHERE id = 1")
            .one(conn)?;
    let (leads_enabled, sender_limit_per_hour, version) = row.ok_or(StoreError::Corrupt {
        table: "crm_settings",
        column: "id",
        row: 1,
    })?;
    let exclusions = sql("SELECT pattern FROM crm_exclusions ORDER BY pattern").rows(conn)?;
    Ok(CrmSettings {
        leads_enabled,
        exclusions,
        sender_limit_per_hour,
        version,
    })
}
