//! Roles are made, changed and given by administrators and by holders of "may change CRM settings" (R23);
//! nobody gives what they lack (`rules::grants`). Taking away is free.
//! Not for: what a role means (that is `rules::access`).

use super::acting::{bad_input, departments_exist, require_crm_settings};
use super::change::Change;
use super::fields::{self, NAME_CHARS_MAX, check_all};
use super::people::lock_people;
use super::{ActionError, ActionResult, Actions, audit, check_version, idempotency};
use crate::model::item::{ItemKind, Stage};
use crate::model::people::{
    Permission, PermissionAction, PermissionLevel, RestrictedField, Role, Viewer,
};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{DepartmentId, RoleId, StageId, Time, UserId};
use crate::rules::grants::{Lack, lacks};
use crate::store::{self, Tx};
use serde::Serialize;
use serde_json::{Value, json};

/// How many roles there are: they are listed whole.
const ROLES_MAX: usize = 1_000;

/// One line of a role to make.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PermissionLine {
    pub item: ItemKind,
    pub action: PermissionAction,
    pub level: PermissionLevel,
    pub stage_id: Option<StageId>,
}

/// A role to make.
#[derive(Debug, Clone, Serialize)]
pub struct CreateRole {
    pub name: String,
    pub permissions: Vec<PermissionLine>,
    pub hidden_fields: Vec<RestrictedField>,
    pub may_change_crm_settings: bool,
}

/// Makes a role.
///
/// # Errors
/// `FORBIDDEN` (also for what its maker lacks), `NOT_FOUND` for a stage, `BAD_INPUT`.
pub async fn create_role(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateRole,
    key: Option<String>,
    now: Time,
) -> ActionResult<RoleId> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_crm_settings(viewer)?;
            let made = idempotency::once(tx, viewer, "createRole", key.as_deref(), &hash, |tx| {
                add_role(tx, viewer, &input).map(|id| vec![id.0])
            })?;
            Ok(RoleId(idempotency::first(&made)?))
        })
        .await
}

fn add_role(tx: &mut Tx<'_>, viewer: &Viewer, input: &CreateRole) -> ActionResult<RoleId> {
    lock_people(tx)?;
    let stages = store::settings::stages(tx.conn)?;
    check_all! {
        name = fields::line("name", &input.name, NAME_CHARS_MAX),
        permissions = checked_lines(&input.permissions, &stages),
    }
    if store::roles::list(tx.conn)?.len() >= ROLES_MAX {
        return Err(bad_input(
            "name",
            format!("There are {ROLES_MAX} roles already, which is as many as there can be."),
        ));
    }
    let role = Role {
        id: RoleId(tx.id()?),
        name,
        permissions,
        hidden_fields: fields::distinct(
            "hiddenFields",
            &input.hidden_fields,
            RestrictedField::ALL.len(),
        )?,
        may_change_crm_settings: input.may_change_crm_settings,
        version: 1,
    };
    refuse_lacks(viewer, None, &role, &stages)?;
    store::role_writes::insert_role(tx, &role)?;
    let detail = json!({ "after": told(&role) });
    audit::record(
        tx,
        Some(viewer.user_id),
        "createRole",
        &about(role.id),
        &detail,
    )?;
    Ok(role.id)
}

/// What changes about a role; lists replace.
#[derive(Debug, Clone)]
pub struct UpdateRole {
    pub role_id: RoleId,
    pub expected_version: Option<i64>,
    pub name: Change<String>,
    pub permissions: Change<Vec<PermissionLine>>,
    pub hidden_fields: Change<Vec<RestrictedField>>,
    pub may_change_crm_settings: Change<bool>,
}

/// Changes a role; its holders have what it gives from the commit on.
///
/// # Errors
/// `FORBIDDEN` (also for what its changer lacks and the role did not give before), `NOT_FOUND`, `STALE`, `BAD_INPUT`.
pub async fn update_role(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateRole,
    now: Time,
) -> ActionResult<RoleId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_crm_settings(viewer)?;
            change_role(tx, viewer, input)
        })
        .await
}

fn change_role(tx: &mut Tx<'_>, viewer: &Viewer, input: UpdateRole) -> ActionResult<RoleId> {
    lock_people(tx)?;
    let before = store::roles::get_many(tx.conn, &[input.role_id])?
        .pop()
        .ok_or_else(|| Refusal::not_found("roleId"))?;
    check_version(input.expected_version, before.version)?;
    let stages = store::settings::stages(tx.conn)?;
    let role = before.clone();
    check_all! {
        name = input
            .name
            .try_map(|text| fields::line("name", &text, NAME_CHARS_MAX))
            .and_then(|change| change.applied_required("name", role.name)),
        permissions = input
            .permissions
            .try_map(|lines| checked_lines(&lines, &stages)),
        hidden_fields = input.hidden_fields.try_map(|list| {
            fields::distinct("hiddenFields", &list, RestrictedField::ALL.len())
        }),
        may_change_crm_settings = input
            .may_change_crm_settings
            .applied_required("mayChangeCrmSettings", role.may_change_crm_settings),
    }
    let after = Role {
        id: before.id,
        name,
        permissions: permissions.applied_list(role.permissions),
        hidden_fields: hidden_fields.applied_list(role.hidden_fields),
        may_change_crm_settings,
        version: role.version + 1,
    };
    refuse_lacks(viewer, Some(&before), &after, &stages)?;
    store::role_writes::update_role(tx, &after)?;
    tx.rights_changed()?;
    let detail = json!({ "before": told(&before), "after": told(&after) });
    audit::record(
        tx,
        Some(viewer.user_id),
        "updateRole",
        &about(after.id),
        &detail,
    )?;
    Ok(after.id)
}

/// Deletes a role that nobody holds. What code knows by a word, like "Employee", stays.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `STALE`, `BAD_INPUT` for a built-in role, or one that somebody holds.
pub async fn delete_role(
    actions: &Actions,
    viewer: &Viewer,
    (id, expected_version): (RoleId, Option<i64>),
    now: Time,
) -> ActionResult<RoleId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_crm_settings(viewer)?;
            lock_people(tx)?;
            let role = store::roles::get_many(tx.conn, &[id])?
                .pop()
                .ok_or_else(|| Refusal::not_found("roleId"))?;
            check_version(expected_version, role.version)?;
            if store::roles::is_built_in(tx.conn, id)? {
                return Err(bad_input(
                    "roleId",
                    "This role is built in; change what it allows instead.",
                ));
            }
            let (users, departments) = store::roles::count_holders(tx.conn, id)?;
            if (users, departments) != (0, 0) {
                return Err(bad_input(
                    "roleId",
                    format!(
                        "{users} users and {departments} departments hold this role; take it from them first."
                    ),
                ));
            }
            store::role_writes::delete_role(tx, id)?;
            let detail = json!({ "before": told(&role) });
            audit::record(tx, Some(viewer.user_id), "deleteRole", &about(id), &detail)?;
            Ok(id)
        })
        .await
}

/// Who holds roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleHolder {
    User(UserId),
    Department(DepartmentId),
}

/// Gives a user or a department exactly these roles. What is newly given, the giver must not lack;
/// what the holder has already may stay, and anything may be taken away.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND` for the holder or a role, `BAD_INPUT`.
pub async fn assign_roles(
    actions: &Actions,
    viewer: &Viewer,
    holder: RoleHolder,
    role_ids: Vec<RoleId>,
    now: Time,
) -> ActionResult<Vec<RoleId>> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_crm_settings(viewer)?;
            let role_ids = fields::distinct("roleIds", &role_ids, fields::ROLES_MAX)?;
            assign(tx, viewer, holder, &role_ids)?;
            Ok(role_ids)
        })
        .await
}

fn assign(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    holder: RoleHolder,
    role_ids: &[RoleId],
) -> ActionResult<()> {
    lock_people(tx)?;
    let held = match holder {
        RoleHolder::User(id) => {
            if store::users::get(tx.conn, id)?.is_none() {
                return Err(within_holder(Refusal::not_found("userId")).into());
            }
            store::roles::of_user(tx.conn, id)?
        }
        RoleHolder::Department(id) => {
            departments_exist(tx, &[id], "departmentId").map_err(|_absent| {
                ActionError::from(within_holder(Refusal::not_found("departmentId")))
            })?;
            store::roles::of_department(tx.conn, id)?
        }
    };
    let given = store::roles::get_many(tx.conn, role_ids)?;
    if given.len() != role_ids.len() {
        return Err(Refusal::not_found("roleIds").into());
    }
    let stages = store::settings::stages(tx.conn)?;
    for role in &given {
        if !held.iter().any(|other| other.id == role.id) {
            refuse_lacks(viewer, None, role, &stages)?;
        }
    }
    let about = match holder {
        RoleHolder::User(id) => {
            store::role_writes::set_of_user(tx, id, role_ids)?;
            format!("user {}", id.0)
        }
        RoleHolder::Department(id) => {
            store::role_writes::set_of_department(tx, id, role_ids)?;
            format!("department {}", id.0)
        }
    };
    tx.rights_changed()?;
    let before: Vec<RoleId> = held.iter().map(|role| role.id).collect();
    let detail = json!({ "before": { "roleIds": before }, "after": { "roleIds": role_ids } });
    audit::record(tx, Some(viewer.user_id), "assignRoles", &about, &detail)?;
    Ok(())
}

fn within_holder(refusal: Refusal) -> Refusal {
    fields::within(&["holder"])(refusal)
}

/// Lines as they are stored: each item, action and stage once, each stage one of its item's.
fn checked_lines(lines: &[PermissionLine], stages: &[Stage]) -> Result<Vec<Permission>, Refusal> {
    let bad = |message: String| Refusal::at(ErrorCode::BadInput, "permissions", message);
    let mut found: Vec<Permission> = Vec::with_capacity(lines.len());
    for line in lines {
        let place = (line.item, line.action, line.stage_id);
        let what = format!("{} {}", line.action.as_text(), line.item.as_text());
        if found
            .iter()
            .any(|other| (other.item, other.action, other.stage_id) == place)
        {
            return Err(bad(format!(
                "There are two lines for {what} in the same stage."
            )));
        }
        if let Some(stage_id) = line.stage_id {
            let stage = stages
                .iter()
                .find(|stage| stage.id == stage_id)
                .ok_or_else(|| Refusal::not_found("permissions"))?;
            if stage.item_kind != line.item {
                return Err(bad(format!(
                    "The stage \"{}\" is none of {}.",
                    stage.name,
                    line.item.as_text()
                )));
            }
        }
        found.push(Permission {
            item: line.item,
            action: line.action,
            level: line.level,
            stage_id: line.stage_id,
        });
    }
    Ok(found)
}

/// Refuses to give what the giver lacks, naming each thing once.
fn refuse_lacks(
    viewer: &Viewer,
    before: Option<&Role>,
    after: &Role,
    stages: &[Stage],
) -> ActionResult<()> {
    let mut refusals: Vec<Refusal> = Vec::new();
    for lack in lacks(viewer, before, after, stages) {
        let (field, what) = match lack {
            Lack::Level {
                item,
                action,
                given,
                ..
            } => (
                "permissions",
                format!(
                    "{} {} {}",
                    action.as_text(),
                    item.as_text(),
                    given.as_text()
                ),
            ),
            Lack::Field(field) => ("hiddenFields", field.as_text().to_owned()),
            Lack::CrmSettings => ("mayChangeCrmSettings", "that".to_owned()),
        };
        let refusal = Refusal::at(
            ErrorCode::Forbidden,
            field,
            format!("You can't give {what}: you don't have it yourself."),
        );
        if !refusals.contains(&refusal) {
            refusals.push(refusal);
        }
    }
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(ActionError::Refused(refusals))
    }
}

/// A role for the audit log.
fn told(role: &Role) -> Value {
    let lines: Vec<Value> = role
        .permissions
        .iter()
        .map(|line| {
            json!({
                "item": line.item, "action": line.action, "level": line.level, "stageId": line.stage_id,
            })
        })
        .collect();
    json!({
        "permissions": lines, "hiddenFields": role.hidden_fields,
        "mayChangeCrmSettings": role.may_change_crm_settings,
    })
}

fn about(role: RoleId) -> String {
    format!("role {}", role.0)
}
