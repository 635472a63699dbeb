//! Users and departments.

use super::sql::{insert_row, sql, update_row};
use super::{StoreError, Tx};
use crate::model::UserId;
use crate::model::people::{Department, User};

/// Adds a department.
///
/// # Errors
/// What the database says.
pub fn insert_department(tx: &mut Tx<'_>, department: &Department) -> Result<(), StoreError> {
    insert_row(
        "departments",
        vec![
            ("id", department.id.0.into()),
            ("name", department.name.as_str().into()),
            ("parent_id", department.parent_id.map(|id| id.0).into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Adds a user. `address_key` is the canonical form of the address, which no other user has.
///
/// # Errors
/// `Conflict` where another user has the address; else what the database says.
pub fn insert_user(
    tx: &mut Tx<'_>,
    user: &User,
    address_key: &str,
    password_hash: Option<String>,
) -> Result<(), StoreError> {
    insert_row(
        "users",
        vec![
            ("id", user.id.0.into()),
            ("name", user.name.as_str().into()),
            ("address", user.address.as_str().into()),
            ("address_key", address_key.into()),
            ("password_hash", password_hash.into()),
            ("avatar_url", user.avatar_url.clone().into()),
            ("department_id", user.department_id.map(|id| id.0).into()),
            ("time_zone", user.time_zone.as_str().into()),
            ("is_active", user.is_active.into()),
            ("is_administrator", user.is_administrator.into()),
            ("session_version", 1_i64.into()),
            ("created_at", tx.now.micros().into()),
            ("version", user.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Writes a user's row anew; the address stays what it is.
///
/// # Errors
/// What the database says.
pub fn update_user(tx: &mut Tx<'_>, user: &User) -> Result<(), StoreError> {
    update_row(
        "users",
        user.id.0,
        vec![
            ("name", user.name.as_str().into()),
            ("avatar_url", user.avatar_url.clone().into()),
            ("department_id", user.department_id.map(|id| id.0).into()),
            ("time_zone", user.time_zone.as_str().into()),
            ("is_active", user.is_active.into()),
            ("is_administrator", user.is_administrator.into()),
            ("version", user.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Ends every session of a user: access tokens by the raised version, refresh and API tokens by their rows.
///
/// # Errors
/// What the database says.
pub fn end_sessions(tx: &mut Tx<'_>, id: UserId) -> Result<(), StoreError> {
    sql("UPDATE users SET session_version = session_version + 1 WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    for table in ["refresh_tokens", "api_tokens"] {
        sql("UPDATE ")
            .push(table)
            .push(" SET revoked_at = ")
            .bind(tx.now.micros())
            .push(" WHERE revoked_at IS NULL AND user_id = ")
            .bind(id.0)
            .run(tx.conn)?;
    }
    Ok(())
}
