//! Trying a mail again that could not be taken in (R5): from its kept bytes at once, else from the server by the next
//! sync. Whoever has access to the mailbox, or manages it.
//! Not for: setting mails aside (that is `ingest` and `worker::sync`).

use super::acting::{self, bad_input};
use super::ingest::{Arrival, Taken, ingest_now};
use super::{ActionError, ActionResult, Actions, audit};
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::topic::Topic;
use crate::model::{EmailId, PlacementId, Time};
use crate::rules::access;
use crate::store::quarantine::QuarantinedMail;
use crate::store::{StoreError, Tx, placements, quarantine};
use serde_json::json;

/// The field of the input that names the mail.
const FIELD: &str = "quarantinedMailId";

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It was taken in, as this email.
    TakenIn(EmailId),
    /// The next sync, which is asked for, fetches it again.
    Waits,
    /// It could not be taken in this time either.
    StillQuarantined,
}

/// Tries a mail in quarantine again.
///
/// # Errors
/// `NOT_FOUND` where there is no such mail in quarantine, or its mailbox is hidden; `FORBIDDEN` for whoever only changes
/// the mailbox's settings; `BAD_INPUT` where neither its bytes are kept nor the server can be asked for it.
pub async fn retry(
    actions: &Actions,
    viewer: &Viewer,
    id: PlacementId,
    now: Time,
) -> ActionResult<Retried> {
    let mail = actions
        .write_as(viewer, now, move |tx, viewer| released(tx, viewer, id))
        .await?;
    let Some(hash) = mail.raw_hash.clone() else {
        return Ok(Retried::Waits);
    };
    let raw = actions.raw.get(&actions.store, &hash).await?;
    let arrival = Arrival {
        placement: Some(id),
        folder: mail.folder_id,
        internal_date: mail.internal_date.unwrap_or(now),
        is_seen: mail.is_seen,
        is_backfill: mail.is_backfill,
        labels: mail.labels.clone(),
        raw,
    };
    let (store, raw_store) = (actions.store.clone(), actions.raw.clone());
    let taken = tokio::task::spawn_blocking(move || {
        let place = (mail.mailbox_id, None);
        ingest_now(&store, &raw_store, place, vec![arrival], now)
    })
    .await
    .map_err(|error| StoreError::Database(error.to_string()))??;
    Ok(match taken.into_iter().next() {
        Some(Taken::Stored(email, _) | Taken::Known(email)) => Retried::TakenIn(email),
        Some(Taken::Quarantined(_)) => Retried::StillQuarantined,
        // A worker was faster; what it made of the mail shows in the mailbox.
        Some(Taken::Settled) | None => Retried::Waits,
    })
}

/// The mail, let out of quarantine.
fn released(tx: &mut Tx<'_>, viewer: &Viewer, id: PlacementId) -> ActionResult<QuarantinedMail> {
    let mail = quarantine::get(tx.conn, &access::mailboxes(viewer), id)?
        .ok_or_else(|| ActionError::from(Refusal::not_found(FIELD)))?;
    let mailbox = acting::mailbox_to_sync(tx, viewer, mail.mailbox_id, FIELD)?;
    if mail.raw_hash.is_none() && !(mail.is_on_server && mailbox.is_connected) {
        return Err(bad_input(
            FIELD,
            "Its bytes are not kept, and the server can't be asked for it any more.",
        ));
    }
    placements::update_retried(tx, id)?;
    tx.wake(Topic::Mailbox(mailbox.id));
    tx.wake(Topic::Sync(mailbox.id));
    let about = format!("mailbox {}", mailbox.id.0);
    let detail = json!({ "uid": mail.uid.to_string(), "tries": mail.tries });
    audit::record(tx, Some(viewer.user_id), "retryEmail", &about, &detail)?;
    Ok(mail)
}
