//! The tree of departments is changed by administrators (R45). Whoever reads by department gains or loses items with it:
//! the epoch of rights rises, so that live streams follow.
//! Not for: making departments and users (`people`).

use super::acting::{bad_input, departments_exist, require_administrator};
use super::change::Change;
use super::fields::{self, NAME_CHARS_MAX, check_all};
use super::people::{DEPARTMENT_DEPTH_MAX, depth, lock_people};
use super::{ActionResult, Actions, audit, check_version};
use crate::model::people::{Department, Viewer};
use crate::model::refusal::Refusal;
use crate::model::{DepartmentId, Time};
use crate::store::{self, Tx};
use serde_json::json;

/// What changes about a department.
#[derive(Debug, Clone)]
pub struct UpdateDepartment {
    pub department_id: DepartmentId,
    pub expected_version: Option<i64>,
    pub name: Change<String>,
    /// Cleared: it stands at the top.
    pub parent_id: Change<DepartmentId>,
}

impl UpdateDepartment {
    /// An update that changes nothing yet.
    pub const fn of(department_id: DepartmentId) -> Self {
        Self {
            department_id,
            expected_version: None,
            name: Change::Keep,
            parent_id: Change::Keep,
        }
    }
}

/// Renames a department or moves it, with all below it, under another one.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `STALE`, `BAD_INPUT` for a place below itself or too deep a tree.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateDepartment,
    now: Time,
) -> ActionResult<DepartmentId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            change(tx, viewer, input)
        })
        .await
}

fn change(tx: &mut Tx<'_>, viewer: &Viewer, input: UpdateDepartment) -> ActionResult<DepartmentId> {
    lock_people(tx)?;
    let all = store::users::departments(tx.conn)?;
    let before = find(&all, input.department_id)?.clone();
    check_version(input.expected_version, before.version)?;
    check_all! {
        name = input
            .name
            .try_map(|text| fields::line("name", &text, NAME_CHARS_MAX))
            .and_then(|change| change.applied_required("name", before.name.clone())),
    }
    let parent_id = input.parent_id.applied(before.parent_id);
    if let Some(parent) = parent_id.filter(|_parent| parent_id != before.parent_id) {
        departments_exist(tx, &[parent], "parentId")?;
        let moved = within(&all, before.id);
        if moved.iter().any(|(id, _depth)| *id == parent) {
            return Err(bad_input(
                "parentId",
                "A department can't lie below itself.",
            ));
        }
        let height = moved.iter().map(|(_id, depth)| *depth).max().unwrap_or(1);
        if depth(&all, parent) + height > DEPARTMENT_DEPTH_MAX {
            return Err(bad_input(
                "parentId",
                format!("The tree of departments is at most {DEPARTMENT_DEPTH_MAX} deep."),
            ));
        }
    }
    let after = Department {
        id: before.id,
        name,
        parent_id,
        version: before.version + 1,
    };
    store::user_writes::update_department(tx, &after)?;
    if after.parent_id != before.parent_id {
        tx.rights_changed()?;
    }
    let detail = json!({
        "before": { "parentId": before.parent_id }, "after": { "parentId": after.parent_id },
    });
    record(tx, viewer, "updateDepartment", after.id, &detail)?;
    Ok(after.id)
}

/// Deletes an empty department: nobody, active or not, is in it, and no department below it. Roles and mailboxes that
/// were given to it reached nobody any more; they are no longer given.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `STALE`, `BAD_INPUT` where it is not empty.
pub async fn delete(
    actions: &Actions,
    viewer: &Viewer,
    (id, expected_version): (DepartmentId, Option<i64>),
    now: Time,
) -> ActionResult<DepartmentId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            lock_people(tx)?;
            let all = store::users::departments(tx.conn)?;
            let found = find(&all, id)?;
            check_version(expected_version, found.version)?;
            if all.iter().any(|other| other.parent_id == Some(id)) {
                return Err(bad_input(
                    "departmentId",
                    "There are departments below it; move or delete them first.",
                ));
            }
            if store::users::any_in_department(tx.conn, id)? {
                return Err(bad_input(
                    "departmentId",
                    "There are users in it, perhaps deactivated ones; move them first.",
                ));
            }
            let detail = json!({ "parentId": found.parent_id });
            store::user_writes::delete_department(tx, id)?;
            tx.rights_changed()?;
            record(tx, viewer, "deleteDepartment", id, &detail)?;
            Ok(id)
        })
        .await
}

fn record(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    action: &str,
    id: DepartmentId,
    detail: &serde_json::Value,
) -> ActionResult<()> {
    let about = format!("department {}", id.0);
    audit::record(tx, Some(viewer.user_id), action, &about, detail)?;
    Ok(())
}

fn find(all: &[Department], id: DepartmentId) -> ActionResult<&Department> {
    all.iter()
        .find(|department| department.id == id)
        .ok_or_else(|| Refusal::not_found("departmentId").into())
}

/// A department and all below it, each with its depth counted from there: 1 for itself.
fn within(all: &[Department], top: DepartmentId) -> Vec<(DepartmentId, usize)> {
    let mut found = vec![(top, 1)];
    let mut looked_at = 0;
    while let Some(&(id, depth)) = found.get(looked_at) {
        looked_at += 1;
        for department in all.iter().filter(|it| it.parent_id == Some(id)) {
            if !found.iter().any(|(known, _depth)| *known == department.id) {
                found.push((department.id, depth + 1));
            }
        }
    }
    found
}
