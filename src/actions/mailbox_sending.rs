//! How a mailbox sends (R41): the server is tried before anything is saved, as it is for reading.

use super::connect_mailbox::{STEP_TIMEOUT, refusal_at};
use super::mail_secret::{self, KeptGrant};
use super::{ActionError, ActionResult, Actions, acting, audit};
use crate::mail::imap::Secret;
use crate::mail::oauth;
use crate::mail::smtp::{self, SmtpTarget, SmtpTimes};
use crate::model::mailbox::{MailServer, Mailbox};
use crate::model::people::Viewer;
use crate::model::refusal::{ErrorCode, Refusal};
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
        try_kept(actions, mailbox, server, now).await?;
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

/// Tries a server with what the mailbox logs in with; a grant makes a new access token where the one that is kept has ended,
/// or is refused.
async fn try_kept(
    actions: &Actions,
    mailbox: Mailbox,
    server: MailServer,
    now: Time,
) -> ActionResult<()> {
    let (secret, grant) = kept(actions, mailbox.id).await?;
    let login = mailbox.login;
    let Some(grant) = grant else {
        return try_out(actions, server, (login, secret)).await;
    };
    if grant.is_fresh(now) {
        let tried = try_out(actions, server.clone(), (login.clone(), secret)).await;
        if !is_login_refused(&tried) {
            return tried;
        }
    }
    let secret = refreshed(actions, mailbox.id, grant, now).await?;
    try_out(actions, server, (login, secret)).await
}

async fn kept(actions: &Actions, id: MailboxId) -> ActionResult<(Secret, Option<KeptGrant>)> {
    let sealer = actions.sealer.clone();
    let found = actions.store.read(move |conn| {
        let secret = mail_secret::kept(conn, &sealer, id)?;
        Ok((secret, mail_secret::kept_grant(conn, &sealer, id)?))
    });
    match found.await? {
        (Some(secret), grant) => Ok((secret, grant)),
        (None, _) => Err(acting::bad_input(
            "mailboxId",
            "The mailbox is not connected.",
        )),
    }
}

fn is_login_refused(tried: &ActionResult<()>) -> bool {
    match tried {
        Err(ActionError::Refused(refusals)) => refusals
            .iter()
            .any(|refusal| refusal.code == ErrorCode::MailboxLogin),
        Ok(()) | Err(ActionError::Store(_)) => false,
    }
}

/// A new access token, which is kept.
async fn refreshed(
    actions: &Actions,
    id: MailboxId,
    kept_grant: KeptGrant,
    now: Time,
) -> ActionResult<Secret> {
    let asking = actions.clone();
    let made = tokio::task::spawn_blocking(move || {
        let access = (&asking.mail.trust, asking.mail.hosts.as_ref());
        let made = oauth::refresh(&kept_grant.grant, access, now)
            .map_err(|error| refusal_at("smtp", &error))?;
        let grant = (&kept_grant.grant, &made);
        let written = asking.store.write_now(now, |tx| {
            mail_secret::keep_refreshed(tx, &asking.sealer, id, grant)
        });
        match written {
            Ok(()) => Ok(Some(Secret::AccessToken(made.access_token))),
            // The sync was first: what it was given is kept.
            Err(StoreError::Conflict(_)) => Ok(None),
            Err(error) => Err(ActionError::from(error)),
        }
    });
    let made = made
        .await
        .map_err(|error| StoreError::Database(error.to_string()))??;
    match made {
        Some(secret) => Ok(secret),
        None => Ok(kept(actions, id).await?.0),
    }
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
