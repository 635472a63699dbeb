//! The names and addresses that a mailbox's mail is sent under, and what stands below what its users write (R42).

use super::drafts::{html_body, may_send_as, text_body};
use super::{ActionResult, Actions, acting, audit};
use crate::mail::compose;
use crate::model::email::Address;
use crate::model::mailbox::Mailbox;
use crate::model::people::Viewer;
use crate::model::template::Signature;
use crate::model::{MailboxId, SenderId, Time, UserId};
use crate::rules::access;
use crate::store::{AnyConn, templates, users};

/// More than this is a list of the company.
const SENDERS_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 200;
const SIGNATURE_BYTES_MAX: usize = 64 * 1024;

/// A sender to keep.
#[derive(Debug, Clone)]
pub struct NewSender {
    pub name: Option<String>,
    /// `None`: the mailbox's own.
    pub address: Option<String>,
    /// Who alone may use it; `None`: whoever may send as the mailbox.
    pub user_id: Option<UserId>,
}

/// Replaces the senders of a mailbox: its connector and administrators.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT`.
pub async fn replace(
    actions: &Actions,
    viewer: &Viewer,
    (id, senders): (MailboxId, Vec<NewSender>),
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let mailbox = acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            if senders.len() > SENDERS_MAX {
                return Err(acting::bad_input(
                    "senders",
                    format!("At most {SENDERS_MAX}."),
                ));
            }
            let mut rows = Vec::with_capacity(senders.len());
            for sender in senders {
                if let Some(user) = sender.user_id {
                    acting::active_user(tx, user, "senders")?;
                }
                rows.push(row(&mailbox, sender)?);
            }
            templates::replace_senders(tx, id, &rows)?;
            let detail = serde_json::json!({ "senders": rows.len() });
            let about = format!("mailbox {}", id.0);
            audit::record(
                tx,
                Some(viewer.user_id),
                "updateMailboxSenders",
                &about,
                &detail,
            )?;
            Ok(id)
        })
        .await
}

fn row(
    mailbox: &Mailbox,
    sender: NewSender,
) -> ActionResult<(Option<String>, String, Option<UserId>)> {
    let address = sender.address.unwrap_or_else(|| mailbox.address.clone());
    let address = address.trim().to_owned();
    if let Err(error) = compose::wire_address(&address) {
        return Err(acting::bad_input("senders", error.to_string()));
    }
    let name = sender.name.map(|name| name.trim().to_owned());
    let name = name.filter(|name| !name.is_empty());
    let fits =
        |name: &String| name.chars().count() <= NAME_CHARS_MAX && !name.contains(char::is_control);
    if !name.as_ref().is_none_or(fits) {
        let message = format!("A name has at most {NAME_CHARS_MAX} characters.");
        return Err(acting::bad_input("senders", message));
    }
    Ok((name, address, sender.user_id))
}

/// Writes what stands below what the viewer writes for a mailbox; `None` takes it away.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT`.
pub async fn sign(
    actions: &Actions,
    viewer: &Viewer,
    (id, signature): (MailboxId, Option<Signature>),
    now: Time,
) -> ActionResult<MailboxId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            may_send_as(tx.conn, viewer, id)?;
            let checked = signature.map(checked).transpose()?;
            templates::put_signature(tx, viewer.user_id, id, checked.as_ref())?;
            Ok(id)
        })
        .await
}

fn checked(signature: Signature) -> ActionResult<Signature> {
    let html = signature.body_html.as_deref().map(html_body).transpose()?;
    let length = signature.body_text.len() + html.as_ref().map_or(0, String::len);
    if length > SIGNATURE_BYTES_MAX {
        let message = format!("A signature has at most {SIGNATURE_BYTES_MAX} bytes.");
        return Err(acting::bad_input("bodyText", message));
    }
    Ok(Signature {
        body_text: text_body(&signature.body_text)?,
        body_html: html,
    })
}

/// Who a mail of this viewer is from: a sender that they may use, or their name with the mailbox's address.
///
/// # Errors
/// `NOT_FOUND` for a sender of another mailbox, or of another user.
pub(super) fn from(
    conn: &mut AnyConn,
    viewer: &Viewer,
    mailbox: &Mailbox,
    sender: Option<SenderId>,
) -> ActionResult<Address> {
    let Some(id) = sender else {
        let name = users::get(conn, viewer.user_id)?.map(|user| user.name);
        return Ok(Address {
            name,
            address: mailbox.address.clone(),
        });
    };
    let all = templates::senders(conn, &[mailbox.id])?;
    all.into_iter()
        .find(|sender| sender.id == id && access::may_use(viewer.user_id, sender))
        .map(|sender| Address {
            name: sender.name,
            address: sender.address,
        })
        .ok_or_else(|| crate::model::refusal::Refusal::not_found("senderId").into())
}

/// Whether the viewer may (still) send under this address as the mailbox.
///
/// # Errors
/// What the database says.
pub fn may_be_from(
    conn: &mut AnyConn,
    viewer: UserId,
    mailbox: &Mailbox,
    address: &str,
) -> Result<bool, crate::store::StoreError> {
    let all = templates::senders(conn, &[mailbox.id])?;
    let of_mailbox = (mailbox.address.as_str(), all.as_slice());
    Ok(access::may_use_sender(viewer, address, of_mailbox))
}
