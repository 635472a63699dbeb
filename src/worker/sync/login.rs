//! Logging in to a mailbox with what it has: a password, an access token, or one that its grant makes anew.
//! Not for: what is done in the session.

use super::{CONNECT_TIMEOUT, READ_TIMEOUT, SyncError, SyncServices, now, write_fenced};
use crate::actions::mail_secret::{self, KeptGrant};
use crate::mail::MailError;
use crate::mail::imap::{self, ImapSession, Secret, Target};
use crate::mail::oauth::{self, Grant};
use crate::model::mailbox::{Mailbox, SecretKind};
use crate::store::leases::Fence;
use crate::store::mailbox_writes;
use crate::store::sealed::Place;
use secrecy::SecretString;

/// Connects and logs in. A mailbox with a grant gets a new access token before the old one ends, and once when the
/// server refuses it.
pub(in crate::worker) fn connect(
    services: &SyncServices,
    fence: &Fence,
    mailbox: &Mailbox,
) -> Result<ImapSession, SyncError> {
    let (kind, secret) = secret(services, mailbox)?;
    let Some(kept) = grant(services, mailbox)? else {
        let secret = match kind {
            SecretKind::AccessToken => Secret::AccessToken(secret),
            SecretKind::Password => Secret::Password(secret),
        };
        return Ok(imap::connect(&target(services, mailbox, secret))?);
    };
    if kept.is_fresh(now()) {
        match imap::connect(&target(services, mailbox, Secret::AccessToken(secret))) {
            // It may have been withdrawn before its time.
            Err(MailError::LoginRefused) => {}
            other => return Ok(other?),
        }
    }
    let token = refresh(services, fence, mailbox, &kept.grant)?;
    Ok(imap::connect(&target(
        services,
        mailbox,
        Secret::AccessToken(token),
    ))?)
}

/// Whether an access token that a grant made is used once more, or made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Token {
    /// While it is good.
    Kept,
    /// The server has refused the one that is kept.
    Anew,
}

/// What proves to another server of the mailbox's provider that we may use it. `Anew` without a grant gives `None`:
/// there is nothing to make one of.
pub(in crate::worker) fn present_secret(
    services: &SyncServices,
    fence: &Fence,
    mailbox: &Mailbox,
    token: Token,
) -> Result<Option<Secret>, SyncError> {
    let (kind, secret) = secret(services, mailbox)?;
    let Some(kept) = grant(services, mailbox)? else {
        let secret = match kind {
            SecretKind::AccessToken => Secret::AccessToken(secret),
            SecretKind::Password => Secret::Password(secret),
        };
        return Ok((token == Token::Kept).then_some(secret));
    };
    if token == Token::Kept && kept.is_fresh(now()) {
        return Ok(Some(Secret::AccessToken(secret)));
    }
    let token = refresh(services, fence, mailbox, &kept.grant)?;
    Ok(Some(Secret::AccessToken(token)))
}

/// Asks for a new access token, and keeps it together with the refresh token that goes on.
fn refresh(
    services: &SyncServices,
    fence: &Fence,
    mailbox: &Mailbox,
    grant: &Grant,
) -> Result<SecretString, SyncError> {
    let made = oauth::refresh(grant, (&services.trust, &services.hosts), now())?;
    write_fenced(&services.store, fence, |tx| {
        mail_secret::keep_refreshed(tx, &services.sealer, mailbox.id, (grant, &made))
    })?;
    Ok(made.access_token)
}

const fn secret_place(mailbox: &Mailbox) -> Place {
    Place {
        table: "mailboxes",
        row: mailbox.id.0,
        column: "secret_sealed",
    }
}

fn secret(
    services: &SyncServices,
    mailbox: &Mailbox,
) -> Result<(SecretKind, SecretString), SyncError> {
    let sealed = services
        .store
        .read_now(|conn| mailbox_writes::sealed_secret(conn, mailbox.id))?;
    let (kind, sealed) =
        sealed.ok_or_else(|| SyncError::Gone("the mailbox has no secret".to_owned()))?;
    let secret = services.sealer.open(secret_place(mailbox), &sealed)?;
    let kind = SecretKind::from_text(&kind).unwrap_or(SecretKind::Password);
    Ok((kind, secret))
}

fn grant(services: &SyncServices, mailbox: &Mailbox) -> Result<Option<KeptGrant>, SyncError> {
    let kept = services
        .store
        .read_now(|conn| mail_secret::kept_grant(conn, &services.sealer, mailbox.id));
    Ok(kept?)
}

/// Where and as whom to connect.
fn target(services: &SyncServices, mailbox: &Mailbox, secret: Secret) -> Target {
    Target {
        server: mailbox.imap.clone(),
        login: mailbox.login.clone(),
        secret,
        trust: services.trust.clone(),
        hosts: services.hosts.clone(),
        compress: services.compress,
        connect_timeout: CONNECT_TIMEOUT,
        read_timeout: READ_TIMEOUT,
    }
}
