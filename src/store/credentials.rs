//! Password hashes, refresh tokens, API tokens, one-time links, and counts of failed log-ins.
//! Only hashes of tokens are kept.

use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::{Time, UserId};

/// What a log-in needs to know about a user.
#[derive(Debug, Clone)]
pub struct Account {
    pub user_id: UserId,
    pub password_hash: Option<String>,
    pub session_version: i64,
    pub is_active: bool,
}

type AccountRow = (i64, Option<String>, i64, bool);

fn account(row: AccountRow) -> Account {
    let (id, password_hash, session_version, is_active) = row;
    Account {
        user_id: UserId(id),
        password_hash,
        session_version,
        is_active,
    }
}

/// The account with this canonical address.
///
/// # Errors
/// What the database says.
pub fn find_account_by_address(
    conn: &mut AnyConn,
    address_key: &str,
) -> Result<Option<Account>, StoreError> {
    let row: Option<AccountRow> =
        sql("SELECT id, password_hash, session_version, is_active FROM users WHERE address_key = ")
            .bind(address_key)
            .one(conn)?;
    Ok(row.map(account))
}

/// The account of a user.
///
/// # Errors
/// What the database says.
pub fn get_account(conn: &mut AnyConn, id: UserId) -> Result<Option<Account>, StoreError> {
    let row: Option<AccountRow> =
        sql("SELECT id, password_hash, session_version, is_active FROM users WHERE id = ")
            .bind(id.0)
            .one(conn)?;
    Ok(row.map(account))
}

/// A refresh token as it was found by its hash.
#[derive(Debug, Clone)]
pub struct RefreshToken {
    pub id: i64,
    pub family_id: i64,
    pub user_id: UserId,
    pub expires_at: Time,
    pub is_used: bool,
    pub is_revoked: bool,
}

/// Keeps a new refresh token; a new log-in begins a family of its own.
///
/// # Errors
/// What the database says.
pub fn insert_refresh_token(
    tx: &mut Tx<'_>,
    user_id: UserId,
    family_id: Option<i64>,
    token_hash: &[u8],
    expires_at: Time,
) -> Result<i64, StoreError> {
    let id = tx.id()?;
    let family_id = family_id.unwrap_or(id);
    sql("INSERT INTO refresh_tokens (id, family_id, user_id, token_hash, created_at, expires_at) VALUES (")
        .bind(id)
        .push(", ")
        .bind(family_id)
        .push(", ")
        .bind(user_id.0)
        .push(", ")
        .bind(token_hash.to_vec())
        .push(", ")
        .bind(tx.now.micros())
        .push(", ")
        .bind(expires_at.micros())
        .push(")")
        .run(tx.conn)?;
    Ok(family_id)
}

/// The refresh token with this hash, locked until the transaction ends.
///
/// # Errors
/// What the database says.
pub fn find_refresh_token(
    tx: &mut Tx<'_>,
    token_hash: &[u8],
) -> Result<Option<RefreshToken>, StoreError> {
    type Row = (i64, i64, i64, i64, bool, bool);
    let query = sql(
        "SELECT id, family_id, user_id, expires_at, used_at IS NOT NULL, revoked_at IS NOT NULL FROM refresh_tokens \
         WHERE token_hash = ",
    )
    .bind(token_hash.to_vec());
    let row: Option<Row> = super::dialect::for_update(tx.conn, query).one(tx.conn)?;
    let token = |(id, family_id, user, expires_at, is_used, is_revoked): Row| RefreshToken {
        id,
        family_id,
        user_id: UserId(user),
        expires_at: Time::from_micros(expires_at),
        is_used,
        is_revoked,
    };
    Ok(row.map(token))
}

/// Marks a refresh token as used: it never opens anything again.
///
/// # Errors
/// What the database says.
pub fn update_refresh_token_used(tx: &mut Tx<'_>, id: i64) -> Result<(), StoreError> {
    sql("UPDATE refresh_tokens SET used_at = ")
        .bind(tx.now.micros())
        .push(" WHERE id = ")
        .bind(id)
        .run(tx.conn)?;
    Ok(())
}

/// Ends a log-in: all its tokens. Every process looks at its sessions again.
///
/// # Errors
/// What the database says.
pub fn revoke_family(tx: &mut Tx<'_>, family_id: i64) -> Result<(), StoreError> {
    sql("UPDATE refresh_tokens SET revoked_at = ")
        .bind(tx.now.micros())
        .push(" WHERE revoked_at IS NULL AND family_id = ")
        .bind(family_id)
        .run(tx.conn)?;
    tx.rights_changed()
}

/// Whether a log-in stands.
///
/// # Errors
/// What the database says.
pub fn family_stands(conn: &mut AnyConn, family_id: i64) -> Result<bool, StoreError> {
    let id: Option<i64> =
        sql("SELECT id FROM refresh_tokens WHERE revoked_at IS NULL AND family_id = ")
            .bind(family_id)
            .push(" LIMIT 1")
            .one(conn)?;
    Ok(id.is_some())
}

/// Keeps a new API token.
///
/// # Errors
/// What the database says.
pub fn insert_api_token(
    tx: &mut Tx<'_>,
    user_id: UserId,
    token_hash: &[u8],
) -> Result<(), StoreError> {
    let id = tx.id()?;
    sql("INSERT INTO api_tokens (id, user_id, token_hash, created_at) VALUES (")
        .bind(id)
        .push(", ")
        .bind(user_id.0)
        .push(", ")
        .bind(token_hash.to_vec())
        .push(", ")
        .bind(tx.now.micros())
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// Whose API token has this hash, unless it was revoked.
///
/// # Errors
/// What the database says.
pub fn find_api_token(conn: &mut AnyConn, token_hash: &[u8]) -> Result<Option<UserId>, StoreError> {
    let user: Option<i64> =
        sql("SELECT user_id FROM api_tokens WHERE revoked_at IS NULL AND token_hash = ")
            .bind(token_hash.to_vec())
            .one(conn)?;
    Ok(user.map(UserId))
}

/// Revokes every API token of a user; how many there were.
///
/// # Errors
/// What the database says.
pub fn revoke_api_tokens(tx: &mut Tx<'_>, user_id: UserId) -> Result<usize, StoreError> {
    let count = sql("UPDATE api_tokens SET revoked_at = ")
        .bind(tx.now.micros())
        .push(" WHERE revoked_at IS NULL AND user_id = ")
        .bind(user_id.0)
        .run(tx.conn)?;
    tx.rights_changed()?;
    Ok(count)
}

/// Failed log-ins of a subject (an account, say) since a moment.
///
/// # Errors
/// What the database says.
pub fn count_attempts(conn: &mut AnyConn, subject: &str, since: Time) -> Result<i64, StoreError> {
    let count: Option<i64> = sql("SELECT COUNT(*) FROM log_in_attempts WHERE subject = ")
        .bind(subject)
        .push(" AND at > ")
        .bind(since.micros())
        .one(conn)?;
    Ok(count.unwrap_or(0))
}

/// Notes a failed log-in, and forgets those before `keep_since`.
///
/// # Errors
/// What the database says.
pub fn insert_attempt(tx: &mut Tx<'_>, subject: &str, keep_since: Time) -> Result<(), StoreError> {
    sql("DELETE FROM log_in_attempts WHERE at < ")
        .bind(keep_since.micros())
        .run(tx.conn)?;
    sql("INSERT INTO log_in_attempts (subject, at) VALUES (")
        .bind(subject)
        .push(", ")
        .bind(tx.now.micros())
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// Keeps a one-time link of this purpose, in place of earlier ones for the same user.
///
/// # Errors
/// What the database says.
pub fn replace_one_time_link(
    tx: &mut Tx<'_>,
    purpose: &str,
    user_id: Option<UserId>,
    token_hash: &[u8],
    expires_at: Time,
) -> Result<(), StoreError> {
    let user = user_id.map(|id| id.0);
    sql("DELETE FROM one_time_links WHERE purpose = ")
        .bind(purpose)
        .push(" AND COALESCE(user_id, 0) = COALESCE(")
        .bind(user)
        .push(", 0)")
        .run(tx.conn)?;
    let id = tx.id()?;
    sql("INSERT INTO one_time_links (id, purpose, user_id, token_hash, expires_at) VALUES (")
        .bind(id)
        .push(", ")
        .bind(purpose)
        .push(", ")
        .bind(user)
        .push(", ")
        .bind(token_hash.to_vec())
        .push(", ")
        .bind(expires_at.micros())
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// Uses up a one-time link; whether there was one, unused and in time.
///
/// # Errors
/// What the database says.
pub fn claim_one_time_link(
    tx: &mut Tx<'_>,
    purpose: &str,
    token_hash: &[u8],
) -> Result<bool, StoreError> {
    let used = sql("UPDATE one_time_links SET used_at = ")
        .bind(tx.now.micros())
        .push(" WHERE used_at IS NULL AND purpose = ")
        .bind(purpose)
        .push(" AND token_hash = ")
        .bind(token_hash.to_vec())
        .push(" AND expires_at > ")
        .bind(tx.now.micros())
        .run(tx.conn)?;
    Ok(used == 1)
}

/// Uses up a user's one-time link; whose it was, where it was unused and in time and its user is active.
///
/// # Errors
/// What the database says.
pub fn claim_link_of_user(
    tx: &mut Tx<'_>,
    purpose: &str,
    token_hash: &[u8],
) -> Result<Option<UserId>, StoreError> {
    let user: Option<i64> = sql("UPDATE one_time_links SET used_at = ")
        .bind(tx.now.micros())
        .push(" WHERE used_at IS NULL AND purpose = ")
        .bind(purpose)
        .push(" AND token_hash = ")
        .bind(token_hash.to_vec())
        .push(" AND expires_at > ")
        .bind(tx.now.micros())
        .push(" AND user_id IN (SELECT id FROM users WHERE is_active) RETURNING user_id")
        .one(tx.conn)?;
    Ok(user.map(UserId))
}

/// Whether such a link would be claimed at this moment.
///
/// # Errors
/// What the database says.
pub fn link_of_user_is_good(
    conn: &mut AnyConn,
    purpose: &str,
    token_hash: &[u8],
    now: Time,
) -> Result<bool, StoreError> {
    let id: Option<i64> = sql("SELECT id FROM one_time_links WHERE used_at IS NULL AND purpose = ")
        .bind(purpose)
        .push(" AND token_hash = ")
        .bind(token_hash.to_vec())
        .push(" AND expires_at > ")
        .bind(now.micros())
        .push(" AND user_id IN (SELECT id FROM users WHERE is_active)")
        .one(conn)?;
    Ok(id.is_some())
}

/// Takes back every one-time link of a user.
///
/// # Errors
/// What the database says.
pub fn delete_links_of_user(tx: &mut Tx<'_>, user: UserId) -> Result<(), StoreError> {
    sql("DELETE FROM one_time_links WHERE user_id = ")
        .bind(user.0)
        .run(tx.conn)?;
    Ok(())
}
