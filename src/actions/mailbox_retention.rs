//! How long a mailbox keeps mail that is not in the CRM (R47): the connector and administrators (R25). What is older is
//! erased by the upkeep; what is saved to the CRM stays.
//! Not for: the history that is synced (`mailbox_history`).

use super::{ActionResult, Actions, acting, audit};
use crate::model::people::Viewer;
use crate::model::{MailboxId, Time};
use crate::rules::access;
use crate::store::erasure;
use serde_json::json;

/// Shorter and mail would be gone before anybody has judged whether it belongs into the CRM.
pub const DAYS_MIN: i64 = 7;
/// A hundred years: longer is for ever, which is said by none.
const DAYS_MAX: i64 = 36_500;

/// Sets after how many days such mail is erased; `None`: never.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT`.
pub async fn change(
    actions: &Actions,
    viewer: &Viewer,
    id: MailboxId,
    days: Option<i64>,
    now: Time,
) -> ActionResult<MailboxId> {
    if days.is_some_and(|days| !(DAYS_MIN..=DAYS_MAX).contains(&days)) {
        let message = format!("Mail is kept for {DAYS_MIN} to {DAYS_MAX} days, or for ever.");
        return Err(acting::bad_input("days", message));
    }
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let mailbox = acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            let before = erasure::retention(tx.conn, mailbox.id)?;
            erasure::update_retention(tx, mailbox.id, days)?;
            let about = format!("mailbox {}", id.0);
            let detail = json!({ "before": { "days": before }, "after": { "days": days } });
            let verb = "updateMailboxRetention";
            audit::record(tx, Some(viewer.user_id), verb, &about, &detail)?;
            Ok(id)
        })
        .await
}
