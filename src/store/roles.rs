//! Roles, and the viewer that they make.

use super::read::word;
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, users};
use crate::model::item::ItemKind;
use crate::model::people::{
    Department, Permission, PermissionAction, PermissionLevel, RestrictedField, Role, Viewer,
};
use crate::model::{DepartmentId, RoleId, StageId, UserId};
use std::collections::HashMap;

/// All roles, by name.
///
/// # Errors
/// What the database says.
pub fn list(conn: &mut AnyConn) -> Result<Vec<Role>, StoreError> {
    load(conn, &sql("SELECT id FROM roles"))
}

/// These roles, by name.
///
/// # Errors
/// What the database says.
pub fn get_many(conn: &mut AnyConn, ids: &[RoleId]) -> Result<Vec<Role>, StoreError> {
    let ids = sql("").list(ids.iter().map(|id| id.0));
    load(conn, &ids)
}

/// The roles given to the user directly.
///
/// # Errors
/// What the database says.
pub fn of_user(conn: &mut AnyConn, id: UserId) -> Result<Vec<Role>, StoreError> {
    let ids = sql("SELECT role_id FROM role_users WHERE user_id = ").bind(id.0);
    load(conn, &ids)
}

/// The roles given to the department itself.
///
/// # Errors
/// What the database says.
pub fn of_department(conn: &mut AnyConn, id: DepartmentId) -> Result<Vec<Role>, StoreError> {
    let ids = sql("SELECT role_id FROM role_departments WHERE department_id = ").bind(id.0);
    load(conn, &ids)
}

/// The id of a built-in role, by the word that code knows it by.
///
/// # Errors
/// What the database says.
pub fn built_in(conn: &mut AnyConn, word: &str) -> Result<Option<RoleId>, StoreError> {
    let id: Option<i64> = sql("SELECT id FROM roles WHERE built_in = ")
        .bind(word)
        .one(conn)?;
    Ok(id.map(RoleId))
}

/// The roles whose ids a sub-select (or list) gives.
fn load(conn: &mut AnyConn, ids: &Sql) -> Result<Vec<Role>, StoreError> {
    let within = |text: &'static str, order: &'static str| {
        sql(text)
            .push(" IN (")
            .then(ids.clone())
            .push(")")
            .push(order)
    };
    let heads: Vec<(i64, String, bool, i64)> = within(
        "SELECT id, name, may_change_crm_settings, version FROM roles WHERE id",
        " ORDER BY name, id",
    )
    .rows(conn)?;
    let lines: Vec<(i64, String, String, Option<i64>, String)> = within(
        "SELECT role_id, item_kind, action, stage_id, level FROM role_permissions WHERE role_id",
        " ORDER BY role_id, item_kind, action, stage_id",
    )
    .rows(conn)?;
    let hidden: Vec<(i64, String)> = within(
        "SELECT role_id, field FROM role_hidden_fields WHERE role_id",
        " ORDER BY role_id, field",
    )
    .rows(conn)?;
    let mut permissions: HashMap<i64, Vec<Permission>> = HashMap::new();
    for (role, kind, action, stage, level) in lines {
        let table = "role_permissions";
        permissions.entry(role).or_default().push(Permission {
            item: word(ItemKind::from_text, &kind, table, "item_kind", role)?,
            action: word(PermissionAction::from_text, &action, table, "action", role)?,
            level: word(PermissionLevel::from_text, &level, table, "level", role)?,
            stage_id: stage.map(StageId),
        });
    }
    let mut fields: HashMap<i64, Vec<RestrictedField>> = HashMap::new();
    for (role, field) in hidden {
        let field = word(
            RestrictedField::from_text,
            &field,
            "role_hidden_fields",
            "field",
            role,
        )?;
        fields.entry(role).or_default().push(field);
    }
    let role = |(id, name, may_change_crm_settings, version)| Role {
        id: RoleId(id),
        name,
        permissions: permissions.remove(&id).unwrap_or_default(),
        hidden_fields: fields.remove(&id).unwrap_or_default(),
        may_change_crm_settings,
        version,
    };
    Ok(heads.into_iter().map(role).collect())
}

/// The epoch of rights: it rises with every change of roles, departments or accounts.
///
/// # Errors
/// What the database says.
pub fn rights_epoch(conn: &mut AnyConn) -> Result<i64, StoreError> {
    let epoch: Option<i64> = sql("SELECT epoch FROM rights_epoch WHERE id = 1").one(conn)?;
    epoch.ok_or(StoreError::Corrupt {
        table: "rights_epoch",
        column: "id",
        row: 1,
    })
}

/// The viewer that an active user is; `None` for an unknown or deactivated one.
///
/// # Errors
/// What the database says.
pub fn load_viewer(conn: &mut AnyConn, id: UserId) -> Result<Option<Viewer>, StoreError> {
    // Read before the rights themselves: a change in between only makes the viewer be loaded once more.
    let rights_epoch = rights_epoch(conn)?;
    let Some(user) = users::get(conn, id)?.filter(|user| user.is_active) else {
        return Ok(None);
    };
    let all = users::departments(conn)?;
    let departments_above = user
        .department_id
        .map_or_else(Vec::new, |id| above(&all, id));
    let departments_below = user
        .department_id
        .map_or_else(Vec::new, |id| below(&all, id));
    let role_ids = sql("SELECT role_id FROM role_users WHERE user_id = ")
        .bind(id.0)
        .push(" UNION SELECT role_id FROM role_departments WHERE department_id IN (")
        .list(departments_above.iter().map(|id| id.0))
        .push(")");
    Ok(Some(Viewer {
        user_id: id,
        is_administrator: user.is_administrator,
        department_id: user.department_id,
        departments_below,
        departments_above,
        roles: load(conn, &role_ids)?,
        rights_epoch,
    }))
}

/// A department and those above it; a loop in the tree ends where it began.
fn above(all: &[Department], from: DepartmentId) -> Vec<DepartmentId> {
    let mut found = Vec::new();
    let mut next = Some(from);
    while let Some(id) = next.filter(|id| !found.contains(id)) {
        found.push(id);
        next = all
            .iter()
            .find(|department| department.id == id)
            .and_then(|department| department.parent_id);
    }
    found
}

/// A department and those below it.
fn below(all: &[Department], from: DepartmentId) -> Vec<DepartmentId> {
    let mut found = vec![from];
    let mut looked_at = 0;
    while let Some(&id) = found.get(looked_at) {
        looked_at += 1;
        for department in all {
            if department.parent_id == Some(id) && !found.contains(&department.id) {
                found.push(department.id);
            }
        }
    }
    found
}

/// The roles given to these users directly; users without any are left out.
///
/// # Errors
/// What the database says.
pub fn of_users(
    conn: &mut AnyConn,
    ids: &[UserId],
) -> Result<HashMap<UserId, Vec<Role>>, StoreError> {
    let pairs: Vec<(i64, i64)> = sql("SELECT user_id, role_id FROM role_users WHERE user_id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    let role_ids = sql("").list(pairs.iter().map(|(_user, role)| *role));
    let mut found: HashMap<UserId, Vec<Role>> = HashMap::new();
    for role in load(conn, &role_ids)? {
        for (user, _role) in pairs.iter().filter(|(_user, id)| *id == role.id.0) {
            found.entry(UserId(*user)).or_default().push(role.clone());
        }
    }
    Ok(found)
}

/// Whether a role is one that code knows by a word.
///
/// # Errors
/// What the database says.
pub fn is_built_in(conn: &mut AnyConn, id: RoleId) -> Result<bool, StoreError> {
    let found: Option<i64> = sql("SELECT id FROM roles WHERE built_in IS NOT NULL AND id = ")
        .bind(id.0)
        .one(conn)?;
    Ok(found.is_some())
}

/// How many users and departments hold a role.
///
/// # Errors
/// What the database says.
pub fn count_holders(conn: &mut AnyConn, id: RoleId) -> Result<(i64, i64), StoreError> {
    let mut count = |table: &'static str| -> Result<i64, StoreError> {
        let found: Option<i64> = sql("SELECT COUNT(*) FROM ")
            .push(table)
            .push(" WHERE role_id = ")
            .bind(id.0)
            .one(conn)?;
        Ok(found.unwrap_or(0))
    };
    Ok((count("role_users")?, count("role_departments")?))
}
