//! Putting a draft on its way (R41), now, later, or after the time in which it can be taken back; and taking it back.
//! The mail is made here, with its Message-ID, so that whatever happens after is about these bytes.
//! Not for: speaking to servers (that is `worker::send`).

use super::drafts::{own, own_now};
use super::{
    ActionError, ActionResult, Actions, acting, audit, check_version, idempotency, senders,
};
use crate::mail::address::AddressKey;
use crate::mail::compose::{self, ComposeError, OutgoingFile, OutgoingMail};
use crate::mail::parse;
use crate::model::draft::{Draft, SendingState};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{DraftId, Time};
use crate::rules::{message_id, sending};
use crate::store::StoreError;
use crate::store::drafts::{self, QueuedMail};
use crate::store::raw::{self, Durable, hash_of};
use bytes::Bytes;
use serde::Serialize;

/// Longer than anybody waits before they turn to something else.
pub const UNDO_SECONDS_MAX: i64 = 120;
/// Nobody plans mail for later than this.
const DAYS_AHEAD_MAX: i64 = 400;

/// A draft to send.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SendEmail {
    pub draft_id: DraftId,
    pub expected_version: Option<i64>,
    /// `None`: now.
    pub send_at: Option<Time>,
    /// For how long it waits at least, to be taken back.
    pub undo_seconds: i64,
    /// Send it although an earlier attempt may have gone out.
    pub even_if_it_may_have_gone_out: bool,
}

/// Makes the mail and puts it on its way.
///
/// # Errors
/// `NOT_FOUND`, `STALE`, `CHANGED_SINCE` for a mail that is on its way or may have gone out, `BAD_INPUT` for one that
/// can't be sent as it is, `FORBIDDEN` for a mailbox or an item that the viewer may not write for any more.
pub async fn send(
    actions: &Actions,
    viewer: &Viewer,
    input: SendEmail,
    key: Option<String>,
    now: Time,
) -> ActionResult<DraftId> {
    let due_at = due_at(&input, now)?;
    let hash = idempotency::input_hash(&input)?;
    let id = input.draft_id;
    let draft = {
        let viewer = viewer.clone();
        let found = actions
            .store
            .read(move |conn| Ok(own_now(conn, &viewer, id)));
        found.await??
    };
    let made = make(actions, &draft, due_at).await;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let ids = idempotency::once(tx, viewer, "sendEmail", key.as_deref(), &hash, |tx| {
                drafts::share_mailbox_of(tx, id)?;
                if let Some(item) = draft.item_id {
                    let update = PermissionAction::Update;
                    acting::item(tx, viewer, (item, None), update, "draftId")?;
                }
                let present = own(tx, viewer, id)?;
                check_version(input.expected_version, present.version)?;
                if !sending::may_send(present.state, input.even_if_it_may_have_gone_out) {
                    return Err(not_sent(present.state));
                }
                if present.version != draft.version {
                    check_version(Some(draft.version), present.version)?;
                }
                let mailbox = super::drafts::may_send_as(tx.conn, viewer, present.mailbox_id)?;
                if !mailbox.is_connected || mailbox.smtp.is_none() {
                    let message = "The mailbox is not set up to send: see updateMailboxSending.";
                    return Err(acting::bad_input("draftId", message));
                }
                let author = viewer.user_id;
                let from = &present.content.from.address;
                if !senders::may_be_from(tx.conn, author, &mailbox, from)? {
                    let message = "You may not send under this address any more: choose another sender.";
                    return Err(acting::bad_input("draftId", message));
                }
                let made = made?;
                raw::name(tx, &made.durable)?;
                let may_be_out = present.may_be_out || present.state == SendingState::Unknown;
                drafts::queue(tx, id, QueuedMail { may_be_out, ..made.mail })?;
                let about = format!("draft {}", id.0);
                let detail = serde_json::json!({ "mailbox": present.mailbox_id.0, "due_at": due_at.micros() });
                audit::record(tx, Some(viewer.user_id), "sendEmail", &about, &detail)?;
                Ok(vec![id.0])
            })?;
            Ok(DraftId(idempotency::first(&ids)?))
        })
        .await
}

/// Takes a mail back that still waits. It is a draft again; one that may have gone out before stays one that may have.
///
/// # Errors
/// `NOT_FOUND`; `CHANGED_SINCE` where it is too late.
pub async fn cancel(
    actions: &Actions,
    viewer: &Viewer,
    id: DraftId,
    now: Time,
) -> ActionResult<DraftId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let draft = own(tx, viewer, id)?;
            if draft.state == SendingState::Draft {
                return Ok(id);
            }
            if !drafts::unqueue(tx, id, sending::taken_back(draft.may_be_out))? {
                return Err(Refusal::at(
                    ErrorCode::ChangedSince,
                    "draftId",
                    "It is too late: the mail does not wait any more.",
                )
                .into());
            }
            let about = format!("draft {}", id.0);
            let detail = serde_json::json!({});
            audit::record(tx, Some(viewer.user_id), "cancelSending", &about, &detail)?;
            Ok(id)
        })
        .await
}

fn due_at(input: &SendEmail, now: Time) -> ActionResult<Time> {
    if !(0..=UNDO_SECONDS_MAX).contains(&input.undo_seconds) {
        let message = format!("From 0 to {UNDO_SECONDS_MAX} seconds.");
        return Err(acting::bad_input("undoSeconds", message));
    }
    let soonest = now.plus_seconds(input.undo_seconds);
    let wanted = input.send_at.unwrap_or(soonest);
    if wanted > now.plus_seconds(DAYS_AHEAD_MAX * 86_400) {
        return Err(acting::bad_input(
            "sendAt",
            format!("At most {DAYS_AHEAD_MAX} days ahead."),
        ));
    }
    Ok(wanted.max(soonest))
}

fn not_sent(state: SendingState) -> ActionError {
    let message = match state {
        SendingState::Unknown => {
            "It may have gone out already. Send it with evenIfItMayHaveGoneOut if it did not arrive."
        }
        SendingState::Sent => "It was sent.",
        _ => "It is on its way.",
    };
    Refusal::at(ErrorCode::ChangedSince, "draftId", message).into()
}

struct Made {
    durable: Durable,
    mail: QueuedMail,
}

/// Makes the mail of what the draft says, and keeps its bytes. One that may have gone out keeps its Message-ID, so that
/// its recipients' servers can tell the second copy.
async fn make(actions: &Actions, draft: &Draft, due_at: Time) -> ActionResult<Made> {
    let id = draft.id;
    let files = actions
        .store
        .read(move |conn| drafts::attachments(conn, &[id]));
    let mut outgoing = Vec::new();
    for file in files.await? {
        let Some(hash) = file.raw_hash else {
            let message = format!("{:?} was not uploaded yet.", file.name);
            return Err(acting::bad_input("draftId", message));
        };
        outgoing.push(OutgoingFile {
            name: file.name,
            media_type: file.media_type,
            bytes: actions.raw.get(&actions.store, &hash).await?.to_vec(),
        });
    }
    let content = &draft.content;
    let sender = AddressKey::parse(&content.from.address);
    let domain = sender
        .as_ref()
        .map_or("localhost", AddressKey::domain)
        .to_owned();
    let header = draft.message_id_header.clone().unwrap_or_else(|| {
        let key = actions.store.codec().message_id_key();
        message_id::sign(&key, draft.mailbox_id, rand::random(), &domain)
    });
    let mail = OutgoingMail {
        from: content.from.clone(),
        to: content.to.clone(),
        cc: content.cc.clone(),
        bcc: content.bcc.clone(),
        subject: content.subject.clone(),
        text: content.body_text.clone(),
        html: content.body_html.clone(),
        date: due_at,
        message_id: header.clone(),
        in_reply_to: content.in_reply_to.clone(),
        references: content.references.clone(),
        files: outgoing,
    };
    let (store, raw) = (actions.store.clone(), actions.raw.clone());
    let work = move || {
        let composed = compose::compose(&mail).map_err(|error| unsendable(&error))?;
        let content_key = parse::parse(&composed.raw).content_key;
        let bytes = Bytes::from(composed.raw);
        let raw_hash = hash_of(&bytes);
        let durable = raw.keep_now(&store, vec![(raw_hash, bytes)])?;
        Ok(Made {
            durable,
            mail: QueuedMail {
                message_id_header: header,
                content_key: content_key.to_vec(),
                raw_hash: raw_hash.to_vec(),
                due_at,
                may_be_out: false,
            },
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Raw(error.to_string()))?
}

fn unsendable(error: &ComposeError) -> ActionError {
    let field = match error {
        ComposeError::NoRecipient | ComposeError::TooManyRecipients => "to",
        ComposeError::BadAddress(_) | ComposeError::Unformed => "draftId",
    };
    acting::bad_input(field, error.to_string())
}
