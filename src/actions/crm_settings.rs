//! The settings of the whole installation: leads on or off (R13), exclusions (R18), the rate guard's limit (R19).

use super::acting::require_crm_settings;
use super::change::Change;
use super::fields::{self, check_all};
use super::{ActionResult, Actions, audit, check_version};
use crate::model::Time;
use crate::model::people::{CrmSettings, Viewer};
use crate::store::dialect::lock_keys;
use crate::store::{self, Tx};
use serde_json::json;

/// The rate guard holds from one mail an hour at the least; a million an hour is no guard any more.
const SENDER_LIMIT: (i64, i64) = (1, 1_000_000);
/// One writer at a time: versions are compared and raised.
const SETTINGS_LOCK: i64 = 0x7365_7474_696e_6700;

/// What changes about the settings; lists replace.
#[derive(Debug, Clone, Default)]
pub struct UpdateCrmSettings {
    pub expected_version: Option<i64>,
    pub leads_enabled: Change<bool>,
    pub exclusions: Change<Vec<String>>,
    pub sender_limit_per_hour: Change<i64>,
}

/// Changes the settings: administrators and holders of "may change CRM settings". Mail is judged by them from the commit on.
///
/// # Errors
/// `FORBIDDEN`, `STALE`, `BAD_INPUT`.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateCrmSettings,
    now: Time,
) -> ActionResult<()> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_crm_settings(viewer)?;
            change(tx, viewer, input)
        })
        .await
}

fn change(tx: &mut Tx<'_>, viewer: &Viewer, input: UpdateCrmSettings) -> ActionResult<()> {
    lock_keys(tx, SETTINGS_LOCK, &["settings".to_owned()])?;
    let before = store::settings::crm_settings(tx.conn)?;
    check_version(input.expected_version, before.version)?;
    let after = changed(&before, input)?;
    store::settings_writes::save_crm_settings(tx, &after)?;
    // How many exclusions there are, not which: they are clients' addresses.
    let told = |settings: &CrmSettings| {
        json!({
            "leadsEnabled": settings.leads_enabled, "exclusions": settings.exclusions.len(),
            "senderLimitPerHour": settings.sender_limit_per_hour,
        })
    };
    let detail = json!({ "before": told(&before), "after": told(&after) });
    audit::record(
        tx,
        Some(viewer.user_id),
        "updateCrmSettings",
        "crmSettings",
        &detail,
    )?;
    Ok(())
}

/// The settings that a change makes of others.
///
/// # Errors
/// `BAD_INPUT`.
pub fn changed(before: &CrmSettings, input: UpdateCrmSettings) -> ActionResult<CrmSettings> {
    check_all! {
        leads_enabled = input
            .leads_enabled
            .applied_required("leadsEnabled", before.leads_enabled),
        exclusions = input
            .exclusions
            .try_map(|texts| fields::patterns("exclusions", &texts)),
        sender_limit_per_hour = input
            .sender_limit_per_hour
            .try_map(|limit| {
                let (min, max) = SENDER_LIMIT;
                fields::number("senderLimitPerHour", limit, min, max)
            })
            .and_then(|change| {
                change.applied_required("senderLimitPerHour", before.sender_limit_per_hour)
            }),
    }
    Ok(CrmSettings {
        leads_enabled,
        exclusions: exclusions.applied_list(before.exclusions.clone()),
        sender_limit_per_hour,
        version: before.version + 1,
    })
}
