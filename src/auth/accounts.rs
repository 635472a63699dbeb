//! Bearer tokens into sessions, log-ins, and what ends them. Credentials are counted in the database,
//! so that nothing is let in while Redis is away.

use super::access_token::AccessTokens;
use super::keys::Keys;
use super::outside_token::{FoundBy, OutsideTokens, Subject};
use super::{AuthRefusal, Authenticator, passwords};
use crate::clock;
use crate::mail::address::AddressKey;
use crate::model::people::{Session, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{Time, UserId};
use crate::store::identities::Known;
use crate::store::{AnyConn, Store, StoreError, Tx, audit, credentials, identities, roles};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;
use tokio::sync::watch;

/// How long a refresh token is good for: a holiday.
const REFRESH_SECONDS: i64 = 30 * 24 * 3600;
/// Failed log-ins that an account takes before it must wait.
const ATTEMPTS_MAX: i64 = 5;
/// The time in which they are counted.
const ATTEMPTS_SECONDS: i64 = 15 * 60;
/// Sessions kept in memory; when there are more, all are looked up anew.
const SESSIONS_MAX: usize = 20_000;
/// How long a set-up link is good for.
pub const SET_UP_SECONDS: i64 = 15 * 60;
/// What an API token begins with, so that it is recognised when it leaks.
const API_TOKEN_PREFIX: &str = "mr_";
const SET_UP: &str = "SETUP";

/// Why nobody was let in.
#[derive(Debug, Error)]
pub enum LogInError {
    /// The caller can mend it.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a log-in gives.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    pub user_id: UserId,
    pub access_token: String,
    pub refresh_token: String,
    pub expires_at: Time,
}

/// The accounts of an installation.
pub struct Accounts {
    store: Store,
    tokens: AccessTokens,
    outside: Option<OutsideTokens>,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    changes: watch::Sender<u64>,
}

impl Accounts {
    /// Over this store; `issuer` is the installation's public URL.
    pub fn new(store: Store, keys: &Keys, issuer: &str) -> Self {
        let codec = store.codec().clone();
        Self {
            store,
            tokens: AccessTokens::new(keys, issuer, codec),
            outside: None,
            sessions: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// The same, believing another issuer's tokens too.
    #[must_use]
    pub fn with_outside(mut self, outside: Option<OutsideTokens>) -> Self {
        self.outside = outside;
        self
    }

    /// Some credential may have been revoked, here or in another process: open sockets look again.
    pub fn look_again(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// A log-in by address and password.
    ///
    /// # Errors
    /// `FORBIDDEN` for a wrong password, an unknown or an inactive account alike, and after too many failures.
    pub async fn log_in(
        &self,
        address: &str,
        password: &SecretString,
        now: Time,
    ) -> Result<LoggedIn, LogInError> {
        let key = AddressKey::parse(address).map_or_else(
            || address.trim().to_lowercase(),
            |key| key.as_str().to_owned(),
        );
        let subject = format!("account:{key}");
        let since = now.plus_seconds(-ATTEMPTS_SECONDS);
        let (account, attempts) = self
            .store
            .read({
                let subject = subject.clone();
                move |conn| {
                    Ok((
                        credentials::find_account_by_address(conn, &key)?,
                        credentials::count_attempts(conn, &subject, since)?,
                    ))
                }
            })
            .await?;
        if attempts >= ATTEMPTS_MAX {
            return Err(refused("Too many attempts. Wait a quarter of an hour."));
        }
        let stored = account
            .as_ref()
            .filter(|account| account.is_active)
            .and_then(|account| account.password_hash.as_deref());
        let fits = passwords::verify(password, stored)
            .await
            .map_err(|error| StoreError::Database(error.to_string()))?;
        let Some(account) = account.filter(|_account| fits) else {
            self.store
                .write(now, move |tx| {
                    audit::record(tx, None, "failedLogIn", &subject, &serde_json::json!({}))?;
                    credentials::insert_attempt(tx, &subject, since)
                })
                .await?;
            return Err(refused("The address or the password is not right."));
        };
        let (refresh_token, hash) = new_secret("");
        let user_id = account.user_id;
        let expires_at = now.plus_seconds(REFRESH_SECONDS);
        let family = self
            .store
            .write(now, move |tx| {
                credentials::insert_refresh_token(tx, user_id, None, &hash, expires_at)
            })
            .await?;
        self.logged_in(
            user_id,
            (family, account.session_version),
            refresh_token,
            now,
        )
    }

    fn logged_in(
        &self,
        user_id: UserId,
        family: (i64, i64),
        refresh_token: String,
        now: Time,
    ) -> Result<LoggedIn, LogInError> {
        let (access_token, expires_at) = self
            .tokens
            .issue(user_id, family, now)
            .ok_or_else(|| StoreError::Setting("tokens can't be signed".to_owned()))?;
        Ok(LoggedIn {
            user_id,
            access_token,
            refresh_token,
            expires_at,
        })
    }

    /// A refresh token for a new pair. One that was used before ends the whole log-in: somebody copied it.
    ///
    /// # Errors
    /// `FORBIDDEN` for any token that is not good.
    pub async fn refresh(&self, refresh_token: &str, now: Time) -> Result<LoggedIn, LogInError> {
        let hash = hash_of(refresh_token);
        let (fresh, fresh_hash) = new_secret("");
        let outcome = self
            .store
            .write(now, move |tx| {
                let Some(token) = credentials::find_refresh_token(tx, &hash)? else {
                    return Ok::<_, StoreError>(None);
                };
                if token.is_used && !token.is_revoked {
                    credentials::revoke_family(tx, token.family_id)?;
                    return Ok(None);
                }
                if token.is_revoked || token.expires_at <= now {
                    return Ok(None);
                }
                let account = credentials::get_account(tx.conn, token.user_id)?;
                let Some(account) = account.filter(|account| account.is_active) else {
                    return Ok(None);
                };
                credentials::update_refresh_token_used(tx, token.id)?;
                let family = Some(token.family_id);
                let until = now.plus_seconds(REFRESH_SECONDS);
                credentials::insert_refresh_token(tx, token.user_id, family, &fresh_hash, until)?;
                Ok(Some((
                    token.user_id,
                    (token.family_id, account.session_version),
                )))
            })
            .await?;
        let (user_id, family) =
            outcome.ok_or_else(|| refused("The log-in is over. Log in again."))?;
        self.logged_in(user_id, family, fresh, now)
    }

    /// Ends the log-in that a refresh token belongs to. An unknown token is no error: it opens nothing either way.
    ///
    /// # Errors
    /// What the database says.
    pub async fn log_out(&self, refresh_token: &str, now: Time) -> Result<(), StoreError> {
        let hash = hash_of(refresh_token);
        self.store
            .write(now, move |tx| {
                match credentials::find_refresh_token(tx, &hash)? {
                    Some(token) => credentials::revoke_family(tx, token.family_id),
                    None => Ok(()),
                }
            })
            .await
    }

    async fn session(&self, token: &str) -> Result<Session, SessionError> {
        let key = *blake3::hash(token.as_bytes()).as_bytes();
        let cached = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.get(&key).cloned()
        };
        let is_expired =
            |session: &Session| session.expires_at.is_some_and(|end| end <= clock::now());
        if let Some(session) = cached {
            let epoch = self.store.read(roles::rights_epoch).await?;
            if epoch == session.viewer.rights_epoch {
                return if is_expired(&session) {
                    Err(AuthRefusal::Expired.into())
                } else {
                    Ok(session)
                };
            }
        }
        let session = self.look_up(token).await?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_MAX {
            sessions.clear();
        }
        sessions.insert(key, session.clone());
        Ok(session)
    }

    async fn look_up(&self, token: &str) -> Result<Session, SessionError> {
        if token.starts_with(API_TOKEN_PREFIX) {
            let hash = hash_of(token);
            let viewer = self
                .store
                // As of one moment: a token that is revoked meanwhile must not stand beside the epoch that says so.
                .read_at_once(
                    move |conn| match credentials::find_api_token(conn, &hash)? {
                        Some(user) => roles::load_viewer(conn, user),
                        None => Ok(None),
                    },
                )
                .await?
                .ok_or(AuthRefusal::Invalid)?;
            return Ok(Session {
                viewer: Arc::new(viewer),
                expires_at: None,
            });
        }
        if let Some(outside) = &self.outside
            && !self.tokens.claims_ours(token)
        {
            return self.look_up_outside(outside, token).await;
        }
        let verified = self.tokens.verify(token, clock::now())?;
        let viewer = self
            .store
            .read(move |conn| {
                let viewer = roles::load_viewer(conn, verified.user_id)?;
                let account = credentials::get_account(conn, verified.user_id)?;
                let stands = credentials::family_stands(conn, verified.family_id)?
                    && account
                        .is_some_and(|account| account.session_version == verified.session_version);
                Ok(viewer.filter(|_viewer| stands))
            })
            .await?
            .ok_or(AuthRefusal::Invalid)?;
        Ok(Session {
            viewer: Arc::new(viewer),
            expires_at: Some(verified.expires_at),
        })
    }
}

impl Accounts {
    /// The session of a token that another issuer gave, where its subject is an active user.
    async fn look_up_outside(
        &self,
        outside: &OutsideTokens,
        token: &str,
    ) -> Result<Session, SessionError> {
        let now = clock::now();
        let subject = outside.verify(token, now).await?;
        let expires_at = Some(subject.expires_at);
        let issuer = outside.issuer.clone();
        // As of one moment, as above.
        let known = self.store.read_at_once({
            let (issuer, subject, found_by) = (issuer.clone(), subject.clone(), outside.found_by);
            move |conn| match identities::find(conn, &issuer, &subject.subject)? {
                Some(Known::User(user)) => Ok(Found::Viewer(roles::load_viewer(conn, user)?)),
                Some(Known::TakenBack) => Ok(Found::Viewer(None)),
                None if found_by == FoundBy::Subject => Ok(Found::Viewer(None)),
                // Whoever the issuer knows can ask: nothing is written unless there is somebody to introduce.
                None => Ok(match account_for(conn, &issuer, &subject)? {
                    Some(_account) => Found::ToIntroduce,
                    None => Found::Viewer(None),
                }),
            }
        });
        let viewer = match known.await? {
            Found::Viewer(viewer) => viewer,
            Found::ToIntroduce => {
                let write = self
                    .store
                    .write(now, move |tx| introduce(tx, &issuer, &subject));
                write.await?
            }
        };
        Ok(Session {
            viewer: Arc::new(viewer.ok_or(AuthRefusal::Invalid)?),
            expires_at,
        })
    }
}

/// What is known of an outside subject.
enum Found {
    Viewer(Option<Viewer>),
    /// It came for the first time, and there is a user for it.
    ToIntroduce,
}

/// The active user with the address that the issuer has verified, unless they are another subject already.
fn account_for(
    conn: &mut AnyConn,
    issuer: &str,
    subject: &Subject,
) -> Result<Option<UserId>, StoreError> {
    let Some(address) = subject.address.as_deref().and_then(AddressKey::parse) else {
        return Ok(None);
    };
    let account = credentials::find_account_by_address(conn, address.as_str())?;
    let Some(account) = account.filter(|account| account.is_active) else {
        return Ok(None);
    };
    let is_bound = identities::is_bound(conn, issuer, account.user_id)?;
    Ok((!is_bound).then_some(account.user_id))
}

/// Makes a subject that comes for the first time the active user with the address that its issuer has verified. From then on the
/// subject alone counts: an address that goes to somebody else takes nobody's account along.
fn introduce(
    tx: &mut Tx<'_>,
    issuer: &str,
    subject: &Subject,
) -> Result<Option<Viewer>, StoreError> {
    let Some(user) = account_for(tx.conn, issuer, subject)? else {
        return Ok(None);
    };
    if identities::bind(tx, issuer, &subject.subject, user)? != Some(user) {
        return Ok(None);
    }
    let viewer = roles::load_viewer(tx.conn, user)?;
    let detail = serde_json::json!({ "issuer": issuer });
    audit::record(
        tx,
        Some(user),
        "bindIdentity",
        &format!("user {}", user.0),
        &detail,
    )?;
    Ok(viewer)
}

#[derive(Debug, Error)]
enum SessionError {
    #[error(transparent)]
    Refused(#[from] AuthRefusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authenticator for Accounts {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Session, AuthRefusal>> {
        Box::pin(async move {
            self.session(token).await.map_err(|error| match error {
                SessionError::Refused(refusal) => refusal,
                SessionError::Store(error) => {
                    // Nobody is let in on a doubt.
                    tracing::error!(%error, "a token could not be looked up");
                    AuthRefusal::Unavailable
                }
            })
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

fn refused(message: &str) -> LogInError {
    LogInError::Refused(Refusal::new(ErrorCode::Forbidden, message))
}

fn hash_of(token: &str) -> Vec<u8> {
    blake3::hash(token.as_bytes()).as_bytes().to_vec()
}

/// A new random token of 256 bits and its hash.
fn new_secret(prefix: &str) -> (String, Vec<u8>) {
    let bytes: [u8; 32] = rand::random();
    let token = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = hash_of(&token);
    (token, hash)
}

/// Makes an API token for a user, good until it is revoked. It is shown once: only its hash is kept.
///
/// # Errors
/// What the database says.
pub fn create_api_token(store: &Store, user_id: UserId, now: Time) -> Result<String, StoreError> {
    let (token, hash) = new_secret(API_TOKEN_PREFIX);
    store.write_now(now, |tx| credentials::insert_api_token(tx, user_id, &hash))?;
    Ok(token)
}

/// Makes the one-time token with which the first administrator is set up.
///
/// # Errors
/// What the database says.
pub fn create_set_up_token(store: &Store, now: Time) -> Result<String, StoreError> {
    let (token, hash) = new_secret("");
    store.write_now(now, |tx| {
        let until = now.plus_seconds(SET_UP_SECONDS);
        credentials::replace_one_time_link(tx, SET_UP, None, &hash, until)
    })?;
    Ok(token)
}

/// Uses up the set-up token inside the write that makes the first administrator; whether it was good.
///
/// # Errors
/// What the database says.
pub fn claim_set_up_token(tx: &mut crate::store::Tx<'_>, token: &str) -> Result<bool, StoreError> {
    credentials::claim_one_time_link(tx, SET_UP, &hash_of(token))
}

/// How long a link to set a password is good for: until the next working day, also over a weekend.
pub const PASSWORD_LINK_SECONDS: i64 = 72 * 3600;
const PASSWORD: &str = "PASSWORD";

/// Makes the one-time token with which a user sets their password, in place of an earlier one.
///
/// # Errors
/// What the database says.
pub fn create_password_token(
    tx: &mut crate::store::Tx<'_>,
    user: UserId,
) -> Result<String, StoreError> {
    let (token, hash) = new_secret("");
    let until = tx.now.plus_seconds(PASSWORD_LINK_SECONDS);
    credentials::replace_one_time_link(tx, PASSWORD, Some(user), &hash, until)?;
    Ok(token)
}

/// Whether such a token would be claimed at this moment.
///
/// # Errors
/// What the database says.
pub fn password_token_is_good(
    conn: &mut crate::store::AnyConn,
    token: &str,
    now: Time,
) -> Result<bool, StoreError> {
    credentials::link_of_user_is_good(conn, PASSWORD, &hash_of(token), now)
}

/// Uses up such a token inside the write that sets the password; whose it was, where it was good.
///
/// # Errors
/// What the database says.
pub fn claim_password_token(
    tx: &mut crate::store::Tx<'_>,
    token: &str,
) -> Result<Option<UserId>, StoreError> {
    credentials::claim_link_of_user(tx, PASSWORD, &hash_of(token))
}
