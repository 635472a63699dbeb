//! The settings of the whole installation as clients see them. Not for: a mailbox's settings (`mailbox`).

use async_graphql::SimpleObject;

use crate::model::people::CrmSettings as CrmSettingsRow;

/// The settings of the whole installation.
#[derive(SimpleObject, Clone)]
pub struct CrmSettings {
    /// Whether there are leads; without, a contact and a deal are made where a lead would be.
    leads_enabled: bool,
    /// Addresses and domains from which nothing new is saved; replies to saved mail still are.
    exclusions: Vec<String>,
    /// Mails an hour from one sender after which the rate guard holds: no more items are made for it.
    sender_limit_per_hour: i64,
    /// Rises with every change; give it as `expectedVersion` to change only what was read.
    version: i64,
}

impl From<CrmSettingsRow> for CrmSettings {
    fn from(row: CrmSettingsRow) -> Self {
        Self {
            leads_enabled: row.leads_enabled,
            exclusions: row.exclusions,
            sender_limit_per_hour: row.sender_limit_per_hour,
            version: row.version,
        }
    }
}
