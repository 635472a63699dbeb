//! The settings of the whole installation.

use super::update;
use crate::model::people::CrmSettings;
use crate::store::sql::{insert_all, sql};
use crate::store::{StoreError, Tx};

/// Writes the settings anew.
///
/// # Errors
/// What the database says.
pub fn save_crm_settings(tx: &mut Tx<'_>, settings: &CrmSettings) -> Result<(), StoreError> {
    update(
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
