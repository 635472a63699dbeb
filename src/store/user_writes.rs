//! Users and departments.

use super::sql::{insert_row, sql, update_row};
use super::{StoreError, Tx};
use crate::model::people::{Department, User};
use crate::model::{DepartmentId, UserId};

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
            ("version", department.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Writes a department's row anew.
///
/// # Errors
/// What the database says.
pub fn update_department(tx: &mut Tx<'_>, department: &Department) -> Result<(), StoreError> {
    update_row(
        "departments",
        department.id.0,
        vec![
            ("name", department.name.as_str().into()),
            ("parent_id", department.parent_id.map(|id| id.0).into()),
            ("version", department.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Deletes a department; what was given to it goes with it.
///
/// # Errors
/// `Conflict` where somebody is in it or a department is below it.
pub fn delete_department(tx: &mut Tx<'_>, id: DepartmentId) -> Result<(), StoreError> {
    sql("DELETE FROM departments WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Gives a user another password.
///
/// # Errors
/// What the database says.
pub fn update_password(tx: &mut Tx<'_>, id: UserId, password_hash: &str) -> Result<(), StoreError> {
    sql("UPDATE users SET password_hash = ")
        .bind(password_hash)
        .push(" WHERE id = ")
        .bind(id.0)
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
    end_log_ins(tx, id)?;
    revoke(tx, "api_tokens", id)
}

/// Ends every log-in of a user; API tokens, which the operator made, stay good.
///
/// # Errors
/// What the database says.
pub fn end_log_ins(tx: &mut Tx<'_>, id: UserId) -> Result<(), StoreError> {
    sql("UPDATE users SET session_version = session_version + 1 WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    revoke(tx, "refresh_tokens", id)
}

fn revoke(tx: &mut Tx<'_>, table: &'static str, id: UserId) -> Result<(), StoreError> {
    sql("UPDATE ")
        .push(table)
        .push(" SET revoked_at = ")
        .bind(tx.now.micros())
        .push(" WHERE revoked_at IS NULL AND user_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}
