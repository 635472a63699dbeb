//! The settings of the whole installation.

use super::sql::{insert_all, sql, update_row};
use super::{StoreError, Tx};
use crate::model::people::CrmSettings;

/// Writes the settings anew.
///
/// # Errors
/// What the database says.
pub fn save_crm_settings(tx: &mut Tx<'_>, settings: &CrmSettings) -> Result<(), StoreError> {
    update_row(
        "crm_settings",
        1,
        vec![
            ("leads_enabled", settings.leads_enabled.into()),
            (
                "sender_limit_per_hour",
                settings.sender_limit_per_hour.into(),
            ),
            ("version", settings.version.into()),
        ],
    )
    .run(tx.conn)?;
    sql("DELETE FROM crm_exclusions").run(tx.conn)?;
    let rows = settings
        .exclusions
        .iter()
        .map(|pattern| vec![pattern.as_str().into()]);
    insert_all(tx.conn, "crm_exclusions (pattern)", "", rows.collect())
}
