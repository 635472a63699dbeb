//! What opens a mailbox: a password, an access token, or a grant that makes access tokens (R1). Kept sealed.
//! Not for: using it (that is `worker::sync`).

use super::connect_mailbox::MailAccess;
use super::{ActionError, ActionResult};
use crate::mail::MailError;
use crate::mail::imap::Secret;
pub use crate::mail::oauth::Grant;
use crate::mail::oauth::{self, Refreshed};
use crate::model::mailbox::SecretKind;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{MailboxId, Time};
use crate::store::grants::{self, SealedGrant};
use crate::store::sealed::{Place, Sealer};
use crate::store::{AnyConn, StoreError, Tx, mailbox_writes};
use secrecy::{ExposeSecret, SecretString};

/// A login, password or token longer than this is none.
const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Names of clients are far shorter.
const CLIENT_ID_BYTES_MAX: usize = 1024;
const URL_BYTES_MAX: usize = 2048;

/// What opens a mailbox. It has no `Debug`: it holds secrets.
#[derive(Clone)]
pub enum MailSecret {
    Password(SecretString),
    /// An OAuth2 access token alone: good until it expires.
    AccessToken(SecretString),
    /// An OAuth2 grant.
    Grant(GivenGrant),
}

/// A grant, with the access token that was made by it last.
#[derive(Clone)]
pub struct GivenGrant {
    pub grant: Grant,
    /// `None`: one is asked for.
    pub access_token: Option<SecretString>,
    pub expires_at: Option<Time>,
}

impl MailSecret {
    /// `BAD_INPUT` for what can be no secret; `field` is the input's.
    ///
    /// # Errors
    /// That refusal.
    pub fn check(&self, field: &str) -> ActionResult<()> {
        let bad = |names: &[&str], message: String| -> ActionError {
            let mut refusal = Refusal::at(ErrorCode::BadInput, field, message);
            refusal
                .field
                .extend(names.iter().map(|name| (*name).to_owned()));
            refusal.into()
        };
        let fits =
            |secret: &SecretString| (1..=SECRET_BYTES_MAX).contains(&secret.expose_secret().len());
        let all = match self {
            Self::Password(secret) | Self::AccessToken(secret) => vec![secret],
            Self::Grant(given) => {
                let grant = &given.grant;
                if grant.client_id.is_empty() || grant.client_id.len() > CLIENT_ID_BYTES_MAX {
                    let message = format!("A client id has 1 to {CLIENT_ID_BYTES_MAX} bytes.");
                    return Err(bad(&["oauth", "clientId"], message));
                }
                if grant.token_url.len() > URL_BYTES_MAX
                    || oauth::check_token_url(&grant.token_url).is_err()
                {
                    let message = "This is not the https address of a token server.".to_owned();
                    return Err(bad(&["oauth", "tokenUrl"], message));
                }
                let optional = [&given.access_token, &grant.client_secret];
                let mut all = vec![&grant.refresh_token];
                all.extend(optional.into_iter().flatten());
                all
            }
        };
        if all.into_iter().all(fits) {
            Ok(())
        } else {
            let message = format!("A secret has 1 to {SECRET_BYTES_MAX} bytes.");
            Err(bad(&[], message))
        }
    }

    /// With an access token at hand, which a grant is asked for where it has none. It blocks.
    ///
    /// # Errors
    /// What the token server says.
    pub fn made_ready(mut self, access: &MailAccess, now: Time) -> Result<Self, MailError> {
        if let Self::Grant(given) = &mut self
            && given.access_token.is_none()
        {
            let made = oauth::refresh(&given.grant, (&access.trust, &access.hosts), now)?;
            given.access_token = Some(made.access_token);
            given.expires_at = made.expires_at;
            if let Some(rotated) = made.refresh_token {
                given.grant.refresh_token = rotated;
            }
        }
        Ok(self)
    }

    /// What IMAP logs in with; for a grant that has no access token yet, an empty one.
    pub fn for_login(&self) -> Secret {
        match self {
            Self::Password(secret) => Secret::Password(secret.clone()),
            Self::AccessToken(token) => Secret::AccessToken(token.clone()),
            Self::Grant(given) => {
                Secret::AccessToken(given.access_token.clone().unwrap_or_default())
            }
        }
    }

    /// Keeps it sealed as the mailbox's one secret.
    ///
    /// # Errors
    /// What the database says.
    pub fn save(&self, tx: &mut Tx<'_>, sealer: &Sealer, id: MailboxId) -> Result<(), StoreError> {
        let (kind, secret) = match self.for_login() {
            Secret::Password(secret) => (SecretKind::Password, secret),
            Secret::AccessToken(token) => (SecretKind::AccessToken, token),
        };
        let sealed = sealer.seal(tx, secret_place(id), &secret)?;
        mailbox_writes::update_secret(tx, id, kind, &sealed)?;
        let Self::Grant(given) = self else {
            return grants::delete(tx, id);
        };
        let refresh = sealer.seal(tx, grants::refresh_place(id), &given.grant.refresh_token)?;
        let client_secret = match &given.grant.client_secret {
            Some(secret) => Some(sealer.seal(tx, grants::client_place(id), secret)?),
            None => None,
        };
        let row = SealedGrant {
            token_url: given.grant.token_url.clone(),
            client_id: given.grant.client_id.clone(),
            client_secret_sealed: client_secret,
            refresh_token_sealed: refresh,
            // Without an access token the next login asks for one.
            expires_at: match &given.access_token {
                Some(_token) => given.expires_at,
                None => Some(Time::from_micros(0)),
            },
        };
        grants::put(tx, id, &row)
    }
}

/// A token that ends so soon is made anew before it is used: the login must not meet its end, whatever the clocks say.
const REFRESH_BEFORE_SECONDS: i64 = 300;

/// A grant as it is kept, and when the access token ends that it made last.
pub struct KeptGrant {
    pub grant: Grant,
    /// `None`: not known.
    pub expires_at: Option<Time>,
}

impl KeptGrant {
    /// Whether the kept access token is good for a login, as far as is known.
    pub fn is_fresh(&self, now: Time) -> bool {
        let soon = now.plus_seconds(REFRESH_BEFORE_SECONDS);
        self.expires_at.is_none_or(|end| end > soon)
    }
}

/// The grant of a mailbox; `None` where it has a password, or a token alone.
///
/// # Errors
/// `Setting` where the key file does not open it; what the database says.
pub fn kept_grant(
    conn: &mut AnyConn,
    sealer: &Sealer,
    id: MailboxId,
) -> Result<Option<KeptGrant>, StoreError> {
    let Some(kept) = grants::get(conn, id)? else {
        return Ok(None);
    };
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
    Ok(Some(KeptGrant {
        grant,
        expires_at: kept.expires_at,
    }))
}

/// Keeps the access token that a grant made, together with the refresh token that goes on.
///
/// # Errors
/// `Conflict` where the mailbox got another grant meanwhile, or another made a token of this one.
pub fn keep_refreshed(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    id: MailboxId,
    (used, made): (&Grant, &Refreshed),
) -> Result<(), StoreError> {
    let kept = grants::lock(tx, id)?;
    let kept = kept.map(|sealed| sealer.open(grants::refresh_place(id), &sealed));
    let is_ours = matches!(&kept, Some(Ok(kept)) if kept.expose_secret() == used.refresh_token.expose_secret());
    if !is_ours {
        return Err(StoreError::Conflict(
            "the mailbox got another secret meanwhile".to_owned(),
        ));
    }
    let next = made.refresh_token.as_ref().unwrap_or(&used.refresh_token);
    let access = sealer.seal(tx, secret_place(id), &made.access_token)?;
    let refresh = sealer.seal(tx, grants::refresh_place(id), next)?;
    grants::update_tokens(tx, id, (&access, &refresh), made.expires_at)
}

/// What a mailbox logs in with at present; `None` once it is disconnected. A token may have ended since it was made.
///
/// # Errors
/// `Setting` where the key file does not open it; what the database says.
pub fn kept(
    conn: &mut AnyConn,
    sealer: &Sealer,
    id: MailboxId,
) -> Result<Option<Secret>, StoreError> {
    let Some((kind, sealed)) = mailbox_writes::sealed_secret(conn, id)? else {
        return Ok(None);
    };
    let secret = sealer.open(secret_place(id), &sealed)?;
    Ok(Some(match SecretKind::from_text(&kind) {
        Some(SecretKind::AccessToken) => Secret::AccessToken(secret),
        Some(SecretKind::Password) | None => Secret::Password(secret),
    }))
}

const fn secret_place(id: MailboxId) -> Place {
    Place {
        table: "mailboxes",
        row: id.0,
        column: "secret_sealed",
    }
}
