//! Passwords are set by one-time links that administrators make, and changed by whoever knows the old one (R45).
//! Either ends what was logged in before. Nothing here tells whether an address or a token exists: links are made for
//! users whom administrators see, and a token that is wrong, used or late is answered alike.
//! Not for: hashing (`auth::passwords`) or logging in (`auth::accounts`).

use super::acting::{active_user, bad_input, require_administrator};
use super::{ActionError, ActionResult, Actions, audit};
use crate::auth::accounts::{self, PASSWORD_LINK_SECONDS};
use crate::auth::passwords::{self, PasswordError};
use crate::model::people::Viewer;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{Time, UserId};
use crate::store::{self, StoreError, Tx};
use secrecy::SecretString;
use serde_json::json;

/// Links that are made for one user in an hour: more are a mistake or an attack, and each one ends the one before.
const LINKS_PER_HOUR_MAX: i64 = 3;
/// Wrong old passwords that a user may give before they must wait, as at the log-in.
const ATTEMPTS_MAX: i64 = 5;
/// The time in which they are counted.
const ATTEMPTS_SECONDS: i64 = 15 * 60;
const CREATED: &str = "createPasswordReset";

/// A link to set a password with.
#[derive(Debug, Clone)]
pub struct PasswordReset {
    /// The one-time token; only its hash is kept.
    pub token: String,
    pub expires_at: Time,
}

/// Makes a one-time link for an active user, in place of an earlier one. Administrators only. The password that there is
/// stays good until the link is used.
///
/// # Errors
/// `FORBIDDEN` (also after too many for this user), `NOT_FOUND`, `BAD_INPUT` for a deactivated user.
pub async fn create_reset(
    actions: &Actions,
    viewer: &Viewer,
    user: UserId,
    now: Time,
) -> ActionResult<PasswordReset> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            let user = active_user(tx, user, "userId")?;
            let about = about(user.id);
            let since = tx.now.plus_seconds(-3600);
            if store::audit::count_since(tx.conn, (CREATED, &about), since)? >= LINKS_PER_HOUR_MAX {
                return Err(Refusal::at(
                    ErrorCode::Forbidden,
                    "userId",
                    format!(
                        "{LINKS_PER_HOUR_MAX} links were made for this user within an hour; wait."
                    ),
                )
                .into());
            }
            let token = accounts::create_password_token(tx, user.id)?;
            audit::record(tx, Some(viewer.user_id), CREATED, &about, &json!({}))?;
            Ok(PasswordReset {
                token,
                expires_at: tx.now.plus_seconds(PASSWORD_LINK_SECONDS),
            })
        })
        .await
}

/// Sets a password behind a one-time link, for nobody who is signed in. It uses the link up, and ends every session and
/// API token of the user.
///
/// # Errors
/// `FORBIDDEN` for a token that is not good, `BAD_INPUT` for a password that can't be.
pub async fn reset(
    actions: &Actions,
    token: &str,
    password: &SecretString,
    now: Time,
) -> ActionResult<()> {
    check(password, "password")?;
    // Looked up before the password is hashed, which costs: tokens of 256 bits are not found by trying.
    let looked_up = token.to_owned();
    let is_good = actions
        .store
        .read(move |conn| accounts::password_token_is_good(conn, &looked_up, now))
        .await?;
    if !is_good {
        return Err(link_is_over().into());
    }
    let hash = hashed(password, "password").await?;
    let token = token.to_owned();
    actions
        .store
        .write(now, move |tx| {
            let user = accounts::claim_password_token(tx, &token)?.ok_or_else(link_is_over)?;
            store::user_writes::update_password(tx, user, &hash)?;
            store::user_writes::end_sessions(tx, user)?;
            store::credentials::delete_links_of_user(tx, user)?;
            tx.rights_changed()?;
            audit::record(tx, Some(user), "resetPassword", &about(user), &json!({}))?;
            Ok(())
        })
        .await
}

fn link_is_over() -> Refusal {
    Refusal::at(
        ErrorCode::Forbidden,
        "token",
        "This link was used, or its time is over. Ask an administrator for a new one.",
    )
}

/// Changes one's own password, for whoever knows the old one. It ends every log-in of the user, this one too; API tokens
/// stay good.
///
/// # Errors
/// `FORBIDDEN` for a wrong old password and after too many of them, `BAD_INPUT` for a new one that can't be.
pub async fn change(
    actions: &Actions,
    viewer: &Viewer,
    (current, new): (SecretString, SecretString),
    now: Time,
) -> ActionResult<()> {
    check(&new, "new")?;
    let user = viewer.user_id;
    let subject = format!("password:{}", user.0);
    let since = now.plus_seconds(-ATTEMPTS_SECONDS);
    let (account, attempts) = actions
        .store
        .read({
            let subject = subject.clone();
            move |conn| {
                Ok((
                    store::credentials::get_account(conn, user)?,
                    store::credentials::count_attempts(conn, &subject, since)?,
                ))
            }
        })
        .await?;
    if attempts >= ATTEMPTS_MAX {
        return Err(wrong("Too many attempts. Wait a quarter of an hour."));
    }
    let stored = account.and_then(|account| account.password_hash);
    let fits = passwords::verify(&current, stored.as_deref())
        .await
        .map_err(|error| StoreError::Database(error.to_string()))?;
    if !fits {
        let missed = actions.store.write(now, move |tx| {
            store::credentials::insert_attempt(tx, &subject, since)?;
            audit::record(
                tx,
                Some(user),
                "failedPasswordChange",
                &about(user),
                &json!({}),
            )
        });
        missed.await?;
        return Err(wrong("This is not your password."));
    }
    let hash = hashed(&new, "new").await?;
    actions
        .write_as(viewer, now, move |tx, _viewer| {
            write_changed(tx, user, (stored, &hash))
        })
        .await
}

fn write_changed(
    tx: &mut Tx<'_>,
    user: UserId,
    (verified, hash): (Option<String>, &str),
) -> ActionResult<()> {
    // Another change came in between: what was verified is no longer the password.
    let account = store::credentials::get_account(tx.conn, user)?;
    if account.and_then(|account| account.password_hash) != verified {
        return Err(wrong("This is not your password."));
    }
    store::user_writes::update_password(tx, user, hash)?;
    store::user_writes::end_log_ins(tx, user)?;
    store::credentials::delete_links_of_user(tx, user)?;
    tx.rights_changed()?;
    audit::record(tx, Some(user), "changePassword", &about(user), &json!({}))?;
    Ok(())
}

fn wrong(message: &str) -> ActionError {
    Refusal::at(ErrorCode::Forbidden, "current", message).into()
}

fn check(password: &SecretString, field: &str) -> ActionResult<()> {
    passwords::check(password).map_err(|error| unfit(error, field))
}

async fn hashed(password: &SecretString, field: &str) -> ActionResult<String> {
    let hash = passwords::hash(password).await;
    hash.map_err(|error| unfit(error, field))
}

fn unfit(error: PasswordError, field: &str) -> ActionError {
    match error {
        PasswordError::Unfit(why) => bad_input(field, why),
        PasswordError::Failed(why) => StoreError::Database(why).into(),
    }
}

fn about(user: UserId) -> String {
    format!("user {}", user.0)
}
