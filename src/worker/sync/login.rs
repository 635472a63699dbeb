//! Logging in to a mailbox with what it has: a password, an access token, or one that its grant makes anew.
//! Not for: what is done in the session.

use super::{CONNECT_TIMEOUT, READ_TIMEOUT, SyncError, SyncServices, now, write_fenced};
use crate::mail::MailError;
use crate::mail::imap::{self, ImapSession, Secret, Target};
use crate::mail::oauth::{self, Grant};
use crate::model::Time;
use crate::model::mailbox::{Mailbox, SecretKind};
use crate::store::leases::Fence;
use crate::store::sealed::Place;
use crate::store::{StoreError, grants, mailbox_writes};
use secrecy::{ExposeSecret, SecretString};

/// A token that ends so soon is made anew before it is used: the login must not meet its end, whatever the clocks say.
const REFRESH_BEFORE_SECONDS: i64 = 300;

/// A grant as it is used, and when its access token ends.
type Usable = (Grant, Option<Time>);

/// Connects and logs in. A mailbox with a grant gets a new access token before the old one ends, and once when the
/// server refuses it.
pub(in crate::worker) fn connect(
    services: &SyncServices,
    fence: &Fence,
    mailbox: &Mailbox,
) -> Result<ImapSession, SyncError> {
    let (kind, secret) = secret(services, mailbox)?;
    let Some((grant, expires_at)) = grant(services, mailbox)? else {
        let secret = match kind {
            SecretKind::AccessToken => Secret::AccessToken(secret),
            SecretKind::Password => Secret::Password(secret),
        };
        return Ok(imap::connect(&target(services, mailbox, secret))?);
    };
    let soon = now().plus_seconds(REFRESH_BEFORE_SECONDS);
    if expires_at.is_none_or(|end| end > soon) {
        match imap::connect(&target(services, mailbox, Secret::AccessToken(secret))) {
            // It may have been withdrawn before its time.
            Err(MailError::LoginRefused) => {}
            other => return Ok(other?),
        }
    }
    let token = refresh(services, fence, mailbox, &grant)?;
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
    let Some((grant, expires_at)) = grant(services, mailbox)? else {
        let secret = match kind {
            SecretKind::AccessToken => Secret::AccessToken(secret),
            SecretKind::Password => Secret::Password(secret),
        };
        return Ok((token == Token::Kept).then_some(secret));
    };
    let soon = now().plus_seconds(REFRESH_BEFORE_SECONDS);
    if token == Token::Kept && expires_at.is_none_or(|end| end > soon) {
        return Ok(Some(Secret::AccessToken(secret)));
    }
    let token = refresh(services, fence, mailbox, &grant)?;
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
    let next = made
        .refresh_token
        .unwrap_or_else(|| grant.refresh_token.clone());
    let (id, sealer) = (mailbox.id, &services.sealer);
    let place = secret_place(mailbox);
    write_fenced(&services.store, fence, |tx| {
        let kept = grants::lock(tx, id)?;
        let kept = kept.map(|sealed| sealer.open(grants::refresh_place(id), &sealed));
        let is_ours = matches!(&kept, Some(Ok(kept)) if kept.expose_secret() == grant.refresh_token.expose_secret());
        if !is_ours {
            return Err(StoreError::Conflict(
                "the mailbox got another secret meanwhile".to_owned(),
            ));
        }
        let access = sealer.seal(tx, place, &made.access_token)?;
        let refresh = sealer.seal(tx, grants::refresh_place(id), &next)?;
        grants::update_tokens(tx, id, (&access, &refresh), made.expires_at)
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

fn grant(services: &SyncServices, mailbox: &Mailbox) -> Result<Option<Usable>, SyncError> {
    let id = mailbox.id;
    let Some(kept) = services.store.read_now(|conn| grants::get(conn, id))? else {
        return Ok(None);
    };
    let sealer = &services.sealer;
    let client_secret = kept
        .client_secret_sealed
        .map(|sealed| sealer.open(grants::client_place(id), &sealed))
        .transpose()?;
    let grant = Grant {
        token_url: kept.token_url,
        client_id: kept.client_id,
        client_secret,
        refresh_token: sealer.open(grants::refresh_place(id), &kept.refresh_token_sealed)?,
    };
    Ok(Some((grant, kept.expires_at)))
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
