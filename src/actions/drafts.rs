//! Mails that people write (R41): begun from nothing, from an item or from another mail, changed and thrown away.
//! Not for: sending them (that is `send_email`) or their files (`draft_files`).

mod begin;

use super::{
    ActionError, ActionResult, Actions, acting, audit, check_version, idempotency, senders,
};
use crate::actions::change::Change;
use crate::mail::compose;
use crate::model::draft::{Draft, DraftContent, DraftKind};
use crate::model::email::Address;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{DraftId, EmailId, ItemId, MailboxId, SenderId, TemplateId, Time};
use crate::rules::{access, sending};
use crate::store::{AnyConn, Tx, drafts, mailboxes};
use crate::view;
use serde::Serialize;

/// A body longer than this is no letter; files are for that.
const BODY_BYTES_MAX: usize = 1024 * 1024;
const SUBJECT_CHARS_MAX: usize = 900;

/// A draft to begin.
#[derive(Debug, Clone, Serialize)]
pub struct CreateDraft {
    pub kind: DraftKind,
    /// What it answers or forwards.
    pub original_id: Option<EmailId>,
    /// `None`: the original's.
    pub mailbox_id: Option<MailboxId>,
    /// `None`: the original's primary item, if the viewer may change that; else the rules choose.
    pub item_id: Option<ItemId>,
    /// Filled in where nothing is written.
    pub template_id: Option<TemplateId>,
    /// `None`: the viewer's name, with the mailbox's address.
    pub sender_id: Option<SenderId>,
    /// Whether the viewer's signature stands below what is written.
    pub signs: bool,
    pub to: Option<Vec<Address>>,
    pub cc: Option<Vec<Address>>,
    pub bcc: Vec<Address>,
    pub subject: Option<String>,
    pub body_text: Option<String>,
    pub body_html: Option<String>,
    /// Whether the original is quoted.
    pub quotes: bool,
}

/// What changes about a draft.
#[derive(Debug, Clone)]
pub struct UpdateDraft {
    pub draft_id: DraftId,
    pub expected_version: Option<i64>,
    pub item_id: Change<ItemId>,
    pub sender_id: Change<SenderId>,
    pub to: Change<Vec<Address>>,
    pub cc: Change<Vec<Address>>,
    pub bcc: Change<Vec<Address>>,
    pub subject: Change<String>,
    pub body_text: Change<String>,
    pub body_html: Change<String>,
}

/// Begins a draft.
///
/// # Errors
/// `NOT_FOUND` for an email, mailbox or item that the viewer can't see, `FORBIDDEN` for a mailbox that they may not send
/// as or an item that they may not change, `BAD_INPUT` for what can't be written.
pub async fn create(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateDraft,
    key: Option<String>,
    now: Time,
) -> ActionResult<DraftId> {
    let hash = idempotency::input_hash(&input)?;
    let input = begin::prepared(actions, viewer, input).await?;
    let begun = begin::begin(actions, viewer, &input).await?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let ids = idempotency::once(tx, viewer, "createDraft", key.as_deref(), &hash, |tx| {
                Ok(vec![begin::write(tx, viewer, &input, begun)?.0])
            })?;
            Ok(DraftId(idempotency::first(&ids)?))
        })
        .await
}

/// Changes what a draft says. One that was refused is a draft again.
///
/// # Errors
/// `NOT_FOUND`, `STALE`, `CHANGED_SINCE` for a mail that is on its way, `BAD_INPUT`; as [`create`] for the item.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateDraft,
    now: Time,
) -> ActionResult<DraftId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let id = input.draft_id;
            drafts::share_mailbox_of(tx, id)?;
            if let Change::Set(item) = input.item_id {
                let update = PermissionAction::Update;
                acting::item(tx, viewer, (item, None), update, "itemId")?;
            }
            let draft = editable(tx, viewer, (id, input.expected_version))?;
            let item = input.item_id.applied(draft.item_id);
            let sender = input.sender_id;
            let mut content = changed(draft.content, input)?;
            if sender.is_asked() {
                let mailbox = may_send_as(tx.conn, viewer, draft.mailbox_id)?;
                content.from = senders::from(tx.conn, viewer, &mailbox, sender.applied(None))?;
            }
            drafts::update_content(tx, id, item, &content)?;
            Ok(id)
        })
        .await
}

/// Throws a draft away. A mail that waits to be sent is not sent then.
///
/// # Errors
/// `NOT_FOUND`, `STALE`, `CHANGED_SINCE` for a mail that is being sent or was.
pub async fn delete(
    actions: &Actions,
    viewer: &Viewer,
    (id, expected_version): (DraftId, Option<i64>),
    now: Time,
) -> ActionResult<DraftId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let draft = own(tx, viewer, id)?;
            check_version(expected_version, draft.version)?;
            if !sending::may_delete(draft.state) {
                return Err(on_its_way());
            }
            drafts::unqueue(tx, id, sending::taken_back(draft.may_be_out))?;
            drafts::delete(tx, id)?;
            let about = format!("draft {}", id.0);
            let detail = serde_json::json!({ "state": draft.state });
            audit::record(tx, Some(viewer.user_id), "deleteDraft", &about, &detail)?;
            Ok(id)
        })
        .await
}

/// The draft, if the viewer sees it, locked.
///
/// # Errors
/// `NOT_FOUND`.
pub(super) fn own(tx: &mut Tx<'_>, viewer: &Viewer, id: DraftId) -> ActionResult<Draft> {
    drafts::lock(tx, id)?;
    own_now(tx.conn, viewer, id)
}

/// The same without a lock.
///
/// # Errors
/// `NOT_FOUND`.
pub(super) fn own_now(conn: &mut AnyConn, viewer: &Viewer, id: DraftId) -> ActionResult<Draft> {
    drafts::visible(conn, &access::drafts(viewer), &[id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("draftId").into())
}

/// The draft, locked, as one that may be changed.
///
/// # Errors
/// `NOT_FOUND`, `STALE`, `CHANGED_SINCE`.
pub(super) fn editable(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    (id, expected_version): (DraftId, Option<i64>),
) -> ActionResult<Draft> {
    let draft = own(tx, viewer, id)?;
    check_version(expected_version, draft.version)?;
    if sending::may_edit(draft.state) {
        Ok(draft)
    } else {
        Err(on_its_way())
    }
}

/// The refusal for a mail that can't be changed any more.
pub(super) fn on_its_way() -> ActionError {
    Refusal::at(
        ErrorCode::ChangedSince,
        "draftId",
        "The mail is on its way, or was sent. Take one that waits back first (cancelSending).",
    )
    .into()
}

/// Refuses a mailbox that the viewer can't see or send as.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`.
pub(super) fn may_send_as(
    conn: &mut AnyConn,
    viewer: &Viewer,
    id: MailboxId,
) -> ActionResult<crate::model::mailbox::Mailbox> {
    let mailbox = mailboxes::listed(conn, &access::mailboxes(viewer), &[id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("mailboxId"))?;
    let holders = mailboxes::holders(conn, id)?;
    if holders.is_some_and(|holders| access::may_send(viewer, &holders)) {
        Ok(mailbox)
    } else {
        Err(acting::forbidden("mailboxId").into())
    }
}

fn changed(mut content: DraftContent, input: UpdateDraft) -> ActionResult<DraftContent> {
    let list = |change: Change<Vec<Address>>, kept: Vec<Address>, field: &str| match change {
        Change::Keep => Ok(kept),
        Change::Clear => Ok(Vec::new()),
        Change::Set(all) => addresses(all, field),
    };
    content.to = list(input.to, content.to, "to")?;
    content.cc = list(input.cc, content.cc, "cc")?;
    content.bcc = list(input.bcc, content.bcc, "bcc")?;
    content.subject = match input.subject {
        Change::Keep => content.subject,
        Change::Clear => String::new(),
        Change::Set(text) => subject(&text)?,
    };
    let is_html_new = matches!(input.body_html, Change::Set(_));
    let html = match input.body_html {
        Change::Keep => content.body_html,
        Change::Clear => None,
        Change::Set(html) => Some(html_body(&html)?),
    };
    content.body_text = match (input.body_text, &html) {
        (Change::Set(text), _) => text_body(&text)?,
        (Change::Clear, Some(html)) => view::text_of_html(html),
        (Change::Clear, None) => String::new(),
        // Both parts say the same: new HTML takes the old text with it.
        (Change::Keep, Some(html)) if is_html_new => view::text_of_html(html),
        (Change::Keep, _) => content.body_text,
    };
    content.body_html = html;
    Ok(content)
}

/// Addresses that mail can be sent to. A draft may have none yet.
pub(super) fn addresses(all: Vec<Address>, field: &str) -> ActionResult<Vec<Address>> {
    if all.len() > compose::RECIPIENTS_MAX {
        let message = format!("At most {} addresses.", compose::RECIPIENTS_MAX);
        return Err(acting::bad_input(field, message));
    }
    for address in &all {
        if let Err(error) = compose::wire_address(&address.address) {
            return Err(acting::bad_input(field, error.to_string()));
        }
    }
    Ok(all)
}

pub(super) fn subject(text: &str) -> ActionResult<String> {
    let line: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if line.chars().count() > SUBJECT_CHARS_MAX {
        let message = format!("A subject has at most {SUBJECT_CHARS_MAX} characters.");
        return Err(acting::bad_input("subject", message));
    }
    Ok(line.trim().to_owned())
}

pub(super) fn text_body(text: &str) -> ActionResult<String> {
    fits(text, "bodyText")?;
    // PostgreSQL holds no NUL.
    Ok(text.replace('\0', ""))
}

/// What is written is cleaned as what is read is: nothing that runs goes out either.
pub(super) fn html_body(html: &str) -> ActionResult<String> {
    fits(html, "bodyHtml")?;
    let clean = view::clean(&html.replace('\0', ""), &|_cid| None);
    clean.map(|clean| clean.html).ok_or_else(|| {
        acting::bad_input(
            "bodyHtml",
            "This HTML is too deep or too long to be made safe.",
        )
    })
}

fn fits(text: &str, field: &str) -> ActionResult<()> {
    if text.len() > BODY_BYTES_MAX {
        return Err(acting::bad_input(field, "A body has at most 1 MiB."));
    }
    Ok(())
}
