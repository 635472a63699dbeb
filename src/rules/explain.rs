//! Why somebody reaches an item or an email, or not (R28): the decision itself, taken apart.
//! It asks `access` and adds which role's which line gave the level. Not for: deciding anything.

use super::access::{Access, Grant, decide, level_for, level_in};
use crate::model::item::{ItemFacts, ItemKind};
use crate::model::people::{PermissionAction, PermissionLevel, Role, Viewer};
use crate::model::{RoleId, StageId};

/// The line of a role that gave the widest level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecidingLine {
    pub role_id: RoleId,
    /// The stage that the line names; `None`: it is the general one, or the role has no line and so gives nothing.
    pub stage_id: Option<StageId>,
}

/// Why an action on an item is allowed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained {
    pub action: PermissionAction,
    pub access: Access,
    /// The widest level of all roles for this kind, stage and action. Administrators need none.
    pub level: PermissionLevel,
    /// `None` for administrators, and for whoever has no role at all.
    pub line: Option<DecidingLine>,
}

/// Why the viewer may do this to the item, or may not.
pub fn item(viewer: &Viewer, action: PermissionAction, facts: &ItemFacts) -> Explained {
    let level = level_for(viewer, facts.kind, action, facts.stage_id);
    let line = if viewer.is_administrator {
        None
    } else {
        deciding_line(viewer, (facts.kind, action, facts.stage_id), level)
    };
    Explained {
        action,
        access: decide(viewer, action, facts),
        level,
        line,
    }
}

/// The first role that gives this level, and which of its lines does.
fn deciding_line(
    viewer: &Viewer,
    (kind, action, stage_id): (ItemKind, PermissionAction, Option<StageId>),
    level: PermissionLevel,
) -> Option<DecidingLine> {
    let role = viewer
        .roles
        .iter()
        .find(|role| level_in(role, kind, action, stage_id) == level)?;
    let names_stage = |role: &Role| {
        role.permissions
            .iter()
            .any(|line| line.item == kind && line.action == action && line.stage_id == stage_id)
    };
    Some(DecidingLine {
        role_id: role.id,
        stage_id: stage_id.filter(|_stage| names_stage(role)),
    })
}

/// What lets the viewer reach the item, or what would have had to, in words for people.
pub fn words(explained: &Explained) -> String {
    let reaches = |ground: &str| {
        let level = explained.level.as_text();
        format!("The level {level} reaches it: {ground}.")
    };
    match explained.access {
        Access::Granted(grant) => match grant {
            Grant::Administrator => "Administrators reach everything.".to_owned(),
            Grant::All => reaches("it reaches every item"),
            Grant::Responsible => reaches("the user is responsible"),
            Grant::SameDepartment => reaches("the responsible is in the user's department"),
            Grant::DepartmentBelow => {
                reaches("the responsible is in a department below the user's")
            }
            Grant::OpenToEveryone => reaches("the item is open to everyone"),
        },
        Access::Refused(PermissionLevel::None) if explained.line.is_none() => {
            "The user has no role.".to_owned()
        }
        Access::Refused(PermissionLevel::None) => {
            "No role of the user allows this for such items.".to_owned()
        }
        Access::Refused(level) => format!(
            "The widest level is {}, which does not reach it: {}.",
            level.as_text(),
            lacking_words(level)
        ),
    }
}

const fn lacking_words(level: PermissionLevel) -> &'static str {
    match level {
        PermissionLevel::None => "it reaches nothing",
        PermissionLevel::Own => "somebody else is responsible",
        PermissionLevel::OwnDepartment => "the responsible is not in the user's department",
        PermissionLevel::DepartmentAndBelow => {
            "the responsible is neither in the user's department nor below it"
        }
        PermissionLevel::OpenToEveryone => {
            "the responsible is not in the user's departments, and the item is not open to everyone"
        }
        PermissionLevel::All => "it reaches every item",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DepartmentId, ItemId, UserId};
    use crate::rules::access::fixture::{role_on_deals as role, viewer};
    use PermissionAction::{Read, Update};
    use PermissionLevel as L;

    const DEAL: ItemFacts = ItemFacts {
        id: ItemId(5),
        kind: ItemKind::Deal,
        stage_id: Some(StageId(7)),
        responsible_id: UserId(2),
        responsible_department_id: Some(DepartmentId(10)),
        open_to_everyone: false,
    };

    #[test]
    fn r28_the_deciding_line_is_the_widest_role_s_own() {
        let line = |role, stage: Option<i64>| {
            Some(DecidingLine {
                role_id: RoleId(role),
                stage_id: stage.map(StageId),
            })
        };
        // (what, roles, whether it is allowed, level, line)
        let rows = [
            ("no role", vec![], false, L::None, None),
            (
                "a role without a line",
                vec![role(1, &[])],
                false,
                L::None,
                line(1, None),
            ),
            (
                "own, of somebody else",
                vec![role(1, &[(Read, L::Own, None)])],
                false,
                L::Own,
                line(1, None),
            ),
            (
                "own department",
                vec![role(1, &[(Read, L::OwnDepartment, None)])],
                true,
                L::OwnDepartment,
                line(1, None),
            ),
            (
                "the wider of two",
                vec![
                    role(1, &[(Read, L::Own, None)]),
                    role(2, &[(Read, L::All, None)]),
                ],
                true,
                L::All,
                line(2, None),
            ),
            (
                "the stage's line goes before the general one",
                vec![role(1, &[(Read, L::All, None), (Read, L::None, Some(7))])],
                false,
                L::None,
                line(1, Some(7)),
            ),
            (
                "another stage's line is none",
                vec![role(1, &[(Read, L::All, Some(8))])],
                false,
                L::None,
                line(1, None),
            ),
            (
                "another action's line is none",
                vec![role(1, &[(Update, L::All, None)])],
                false,
                L::None,
                line(1, None),
            ),
        ];
        for (what, roles, allowed, level, line) in rows {
            let found = item(&viewer(roles), Read, &DEAL);
            assert_eq!(found.access.is_granted(), allowed, "{what}");
            assert_eq!((found.level, found.line), (level, line), "{what}");
            assert!(!words(&found).is_empty(), "{what}");
        }
        let mut boss = viewer(vec![]);
        boss.is_administrator = true;
        let found = item(&boss, Read, &DEAL);
        assert_eq!(found.access, Access::Granted(Grant::Administrator));
        assert_eq!(found.line, None);
    }

    #[test]
    fn r28_the_explanation_is_the_decision() {
        for &level in L::ALL {
            for responsible in [1, 2, 3] {
                for department in [10, 11, 99] {
                    for open_to_everyone in [false, true] {
                        let facts = ItemFacts {
                            responsible_id: UserId(responsible),
                            responsible_department_id: Some(DepartmentId(department)),
                            open_to_everyone,
                            ..DEAL
                        };
                        let who = viewer(vec![role(1, &[(Read, level, None)])]);
                        for action in [Read, Update] {
                            let found = item(&who, action, &facts);
                            assert_eq!(found.access, decide(&who, action, &facts));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn r28_an_explanation_says_what_reached_the_item_or_did_not() {
        let read = |level| vec![role(1, &[(Read, level, None)])];
        let facts = |responsible, department, open_to_everyone| ItemFacts {
            responsible_id: UserId(responsible),
            responsible_department_id: Some(DepartmentId(department)),
            open_to_everyone,
            ..DEAL
        };
        let (own, near, below) = (
            facts(1, 10, false),
            facts(2, 10, false),
            facts(2, 11, false),
        );
        let (open, far) = (facts(2, 99, true), facts(2, 99, false));
        // (roles, item, what is said)
        let rows = [
            (
                read(L::Own),
                own,
                "The level OWN reaches it: the user is responsible.",
            ),
            (
                read(L::OwnDepartment),
                near,
                "The level OWN_DEPARTMENT reaches it: the responsible is in the user's department.",
            ),
            (
                read(L::DepartmentAndBelow),
                below,
                "The level DEPARTMENT_AND_BELOW reaches it: the responsible is in a department below the user's.",
            ),
            (
                read(L::OpenToEveryone),
                open,
                "The level OPEN_TO_EVERYONE reaches it: the item is open to everyone.",
            ),
            (
                read(L::All),
                far,
                "The level ALL reaches it: it reaches every item.",
            ),
            (vec![], own, "The user has no role."),
            (
                vec![role(1, &[])],
                own,
                "No role of the user allows this for such items.",
            ),
            (
                read(L::Own),
                near,
                "The widest level is OWN, which does not reach it: somebody else is responsible.",
            ),
            (
                read(L::OwnDepartment),
                below,
                "The widest level is OWN_DEPARTMENT, which does not reach it: the responsible is not in the user's department.",
            ),
            (
                read(L::DepartmentAndBelow),
                far,
                "The widest level is DEPARTMENT_AND_BELOW, which does not reach it: the responsible is neither in the user's \
                 department nor below it.",
            ),
            (
                read(L::OpenToEveryone),
                far,
                "The widest level is OPEN_TO_EVERYONE, which does not reach it: the responsible is not in the user's \
                 departments, and the item is not open to everyone.",
            ),
        ];
        for (roles, facts, said) in rows {
            assert_eq!(words(&item(&viewer(roles), Read, &facts)), said);
        }
        let mut boss = viewer(vec![]);
        boss.is_administrator = true;
        let said = words(&item(&boss, Read, &far));
        assert_eq!(said, "Administrators reach everything.");
    }
}
