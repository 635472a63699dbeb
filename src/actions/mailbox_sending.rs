//! How a mailbox sends (R41): the server is tried before anything is saved, as it is for reading.

use super::connect_mailbox::{STEP_TIMEOUT, refusal_at};
use super::{ActionResult, Actions, acting, audit, mail_secret};
use crate::mail::imap::Secret;
use crate::mail::smtp::{self, SmtpTarget, SmtpTimes};
use crate::model::mailbox::{MailServer, Mailbox};
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::{MailboxId, Time};
use crate::rules::access;
use crate::store::{StoreError, mailbox_writes, mailboxes};

/// Changes the server that a mailbox sends by; `None`: it sends nothing from now on.
///
/// # Errors
/// `MAILBOX_…` with the step that failed (nothing is saved then), `NOT_FOUND`, `FORBIDDEN`.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    (id, smtp): (MailboxId, Option<MailServer>),
    now: Time,
) -> ActionResult<MailboxId> {
    if let Some(server) = smtp.clone() {
        let mailbox = manageable(actions, viewer, id).await?;
        try_kept(actions, mailbox, server).await?;
    }
    actions
        .write_as(viewer, now, move |tx, viewer| {
            acting::mailbox(tx, viewer, id, access::may_manage_mailbox)?;
            mailbox_writes::update_smtp(tx, id, smtp.as_ref())?;
            let detail =
                serde_json::json!({ "host": smtp.as_ref().map(|server| server.host.as_str()) });
            let about = format!("mailbox {}", id.0);
            audit::record(
                tx,
                Some(viewer.user_id),
                "updateMailboxSending",
                &about,
                &detail,
            )?;
            Ok(id)
        })
        .await
}

/// The mailbox, if the viewer may manage it: nobody else has its secret tried at a server of their choice.
async fn manageable(actions: &Actions, viewer: &Viewer, id: MailboxId) -> ActionResult<Mailbox> {
    let scope = access::mailboxes(viewer);
    let found = actions
        .store
        .read(move |conn| mailboxes::listed(conn, &scope, &[id]));
    let mailbox = found.await?.into_iter().next();
    let mailbox = mailbox.ok_or_else(|| Refusal::not_found("mailboxId"))?;
    if access::may_manage_mailbox(viewer, mailbox.connector_id) {
        Ok(mailbox)
    } else {
        Err(acting::forbidden("mailboxId").into())
    }
}

async fn try_kept(actions: &Actions, mailbox: Mailbox, server: MailServer) -> ActionResult<()> {
    let (sealer, id) = (actions.sealer.clone(), mailbox.id);
    let secret = actions
        .store
        .read(move |conn| mail_secret::kept(conn, &sealer, id))
        .await?;
    let Some(secret) = secret else {
        return Err(acting::bad_input(
            "mailboxId",
            "The mailbox is not connected.",
        ));
    };
    try_out(actions, server, (mailbox.login, secret)).await
}

/// Connects and logs in, and tells which step failed.
///
/// # Errors
/// `MAILBOX_…`.
pub(super) async fn try_out(
    actions: &Actions,
    server: MailServer,
    (login, secret): (String, Secret),
) -> ActionResult<()> {
    let target = SmtpTarget {
        server,
        login,
        secret,
        trust: actions.mail.trust.clone(),
        hosts: actions.mail.hosts.clone(),
        times: SmtpTimes {
            connect: STEP_TIMEOUT,
            reply: STEP_TIMEOUT,
            ..SmtpTimes::default()
        },
    };
    let tried =
        tokio::task::spawn_blocking(move || smtp::connect(&target).map(smtp::SmtpSession::quit));
    tried
        .await
        .map_err(|error| StoreError::Database(error.to_string()))?
        .map_err(|error| refusal_at("smtp", &error).into())
}
