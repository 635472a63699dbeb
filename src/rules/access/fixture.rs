//! A viewer and roles for the tests of access.

use super::*;
use crate::model::RoleId;
use crate::model::people::Permission;

/// A line of a role: of what, doing what, how far, and in which stage alone.
pub type Line = (ItemKind, PermissionAction, PermissionLevel, Option<i64>);

pub fn role(id: i64, lines: &[Line]) -> Role {
    Role {
        id: RoleId(id),
        name: "r".into(),
        permissions: lines
            .iter()
            .map(|&(item, action, level, stage)| Permission {
                item,
                action,
                level,
                stage_id: stage.map(StageId),
            })
            .collect(),
        hidden_fields: vec![],
        may_change_crm_settings: false,
        version: 1,
    }
}

/// A role about deals alone.
pub fn role_on_deals(id: i64, lines: &[(PermissionAction, PermissionLevel, Option<i64>)]) -> Role {
    let lines: Vec<Line> = lines
        .iter()
        .map(|&(action, level, stage)| (ItemKind::Deal, action, level, stage))
        .collect();
    role(id, &lines)
}

/// User 1 of department 10, which lies below 9 and above 11.
pub fn viewer(roles: Vec<Role>) -> Viewer {
    Viewer {
        user_id: UserId(1),
        is_administrator: false,
        department_id: Some(DepartmentId(10)),
        departments_below: vec![DepartmentId(10), DepartmentId(11)],
        departments_above: vec![DepartmentId(10), DepartmentId(9)],
        roles,
        rights_epoch: 0,
    }
}
