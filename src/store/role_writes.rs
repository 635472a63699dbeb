//! Roles and who holds them.

use super::sql::{insert_all, insert_row, sql, update_row};
use super::{StoreError, Tx};
use crate::model::people::Role;
use crate::model::{DepartmentId, RoleId, StageId, UserId};

/// Adds a role.
///
/// # Errors
/// What the database says.
pub fn insert_role(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    insert_row(
        "roles",
        vec![
            ("id", role.id.0.into()),
            ("name", role.name.as_str().into()),
            (
                "may_change_crm_settings",
                role.may_change_crm_settings.into(),
            ),
            ("created_at", tx.now.micros().into()),
            ("version", role.version.into()),
        ],
    )
    .run(tx.conn)?;
    insert_lines(tx, role)
}

/// Writes a role anew, its lines and hidden fields with it.
///
/// # Errors
/// What the database says.
pub fn update_role(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    update_row(
        "roles",
        role.id.0,
        vec![
            ("name", role.name.as_str().into()),
            (
                "may_change_crm_settings",
                role.may_change_crm_settings.into(),
            ),
            ("version", role.version.into()),
        ],
    )
    .run(tx.conn)?;
    for table in ["role_permissions", "role_hidden_fields"] {
        sql("DELETE FROM ")
            .push(table)
            .push(" WHERE role_id = ")
            .bind(role.id.0)
            .run(tx.conn)?;
    }
    insert_lines(tx, role)
}

fn insert_lines(tx: &mut Tx<'_>, role: &Role) -> Result<(), StoreError> {
    let lines = role.permissions.iter().map(|line| {
        vec![
            role.id.0.into(),
            line.item.as_text().into(),
            line.action.as_text().into(),
            line.stage_id.map(|id| id.0).into(),
            line.level.as_text().into(),
        ]
    });
    insert_all(
        tx.conn,
        "role_permissions (role_id, item_kind, action, stage_id, level)",
        "",
        lines.collect(),
    )?;
    let fields = role
        .hidden_fields
        .iter()
        .map(|field| vec![role.id.0.into(), field.as_text().into()]);
    insert_all(
        tx.conn,
        "role_hidden_fields (role_id, field)",
        "",
        fields.collect(),
    )
}

/// Gives a user exactly these roles.
///
/// # Errors
/// What the database says.
pub fn set_of_user(tx: &mut Tx<'_>, id: UserId, roles: &[RoleId]) -> Result<(), StoreError> {
    sql("DELETE FROM role_users WHERE user_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    let rows = roles
        .iter()
        .map(|role| vec![role.0.into(), id.0.into()])
        .collect();
    insert_all(tx.conn, "role_users (role_id, user_id)", "", rows)
}

/// Gives a department exactly these roles.
///
/// # Errors
/// What the database says.
pub fn set_of_department(
    tx: &mut Tx<'_>,
    id: DepartmentId,
    roles: &[RoleId],
) -> Result<(), StoreError> {
    sql("DELETE FROM role_departments WHERE department_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    let rows = roles
        .iter()
        .map(|role| vec![role.0.into(), id.0.into()])
        .collect();
    insert_all(
        tx.conn,
        "role_departments (role_id, department_id)",
        "",
        rows,
    )
}

/// Deletes a role with its lines.
///
/// # Errors
/// What the database says.
pub fn delete_role(tx: &mut Tx<'_>, id: RoleId) -> Result<(), StoreError> {
    sql("DELETE FROM roles WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Takes every role's lines for a stage away; how many there were.
///
/// # Errors
/// What the database says.
pub fn delete_lines_of_stage(tx: &mut Tx<'_>, id: StageId) -> Result<usize, StoreError> {
    sql("DELETE FROM role_permissions WHERE stage_id = ")
        .bind(id.0)
        .run(tx.conn)
}
