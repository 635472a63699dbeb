//! How far back a mailbox's mail is synced (R4), changed at any time: also while the backfill runs, which goes on with
//! what lies in the new window. What is synced already stays. The connector and administrators (R25).
//! Not for: from when on mail is saved to the CRM (that is a CRM setting).

use super::connect_mailbox::History;
use super::{ActionResult, Actions, acting, audit};
use crate::model::people::Viewer;
use crate::model::topic::Topic;
use crate::model::{MailboxId, Time};
use crate::rules::access;
use crate::store::{ledger, mailbox_writes};
use serde_json::json;

/// Puts another window in force.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT`.
pub async fn change(
    actions: &Actions,
    viewer: &Viewer,
    id: MailboxId,
    history: History,
    now: Time,
) -> ActionResult<MailboxId> {
    history.check()?;
    let since = history.since(now);
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let mailbox = acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            mailbox_writes::update_history(tx, id, since)?;
            let changed = ledger::update_window(tx, id, since)?;
            tx.wake(Topic::Mailbox(id));
            tx.wake(Topic::Sync(id));
            let seconds = |time: Option<Time>| time.map(Time::seconds);
            let detail = json!({
                "before": { "since": seconds(mailbox.history_since) },
                "after": { "since": seconds(since), "mails": changed },
            });
            let about = format!("mailbox {}", id.0);
            audit::record(
                tx,
                Some(viewer.user_id),
                "updateMailboxHistory",
                &about,
                &detail,
            )?;
            Ok(id)
        })
        .await
}
