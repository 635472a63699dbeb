//! What a giver of rights may give (R23): nobody gives what they lack.
//! Not for: who may give at all (that is `access::may_change_crm_settings`).

use super::access::{hidden_fields, level_for, level_in, may_change_crm_settings};
use crate::model::StageId;
use crate::model::item::{ItemKind, Stage};
use crate::model::people::{PermissionAction, PermissionLevel, RestrictedField, Role, Viewer};

/// Something in a role that its giver lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A level above the giver's own, for items of this kind in this stage (`None`: in every stage not named).
    Level {
        item: ItemKind,
        action: PermissionAction,
        stage_id: Option<StageId>,
        given: PermissionLevel,
    },
    /// A field that is hidden from the giver and that the role shows.
    Field(RestrictedField),
    /// "May change CRM settings".
    CrmSettings,
}

/// What the giver lacks of what a role gives. `before` is the role as it was: what it gave already is not given anew.
pub fn lacks(giver: &Viewer, before: Option<&Role>, after: &Role, stages: &[Stage]) -> Vec<Lack> {
    if giver.is_administrator {
        return Vec::new();
    }
    let mut found = Vec::new();
    for &item in ItemKind::ALL {
        let of_kind = stages.iter().filter(|stage| stage.item_kind == item);
        let places = std::iter::once(None).chain(of_kind.map(|stage| Some(stage.id)));
        for stage_id in places {
            for &action in PermissionAction::ALL {
                let given = level_in(after, item, action, stage_id);
                let had = before.map_or(PermissionLevel::None, |role| {
                    level_in(role, item, action, stage_id)
                });
                if given > had && given > level_for(giver, item, action, stage_id) {
                    found.push(Lack::Level {
                        item,
                        action,
                        stage_id,
                        given,
                    });
                }
            }
        }
    }
    // A field is hidden from whom every role hides it, so that a role which shows it gives it.
    let shows = |role: &Role, field| !role.hidden_fields.contains(field);
    let hidden = hidden_fields(giver);
    let shown = hidden
        .iter()
        .filter(|field| shows(after, field) && !before.is_some_and(|role| shows(role, field)));
    found.extend(shown.map(|&field| Lack::Field(field)));
    let gives_settings =
        after.may_change_crm_settings && !before.is_some_and(|role| role.may_change_crm_settings);
    if gives_settings && !may_change_crm_settings(giver) {
        found.push(Lack::CrmSettings);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::item::StageKind;
    use crate::model::people::Permission;
    use crate::model::{RoleId, UserId};
    use PermissionAction::{Read, Update};
    use PermissionLevel as L;

    type Line = (PermissionAction, PermissionLevel, Option<i64>);

    fn role(lines: &[Line], hidden: &[RestrictedField], settings: bool) -> Role {
        Role {
            id: RoleId(1),
            name: "r".into(),
            permissions: lines
                .iter()
                .map(|&(action, level, stage)| Permission {
                    item: ItemKind::Deal,
                    action,
                    level,
                    stage_id: stage.map(StageId),
                })
                .collect(),
            hidden_fields: hidden.to_vec(),
            may_change_crm_settings: settings,
            version: 1,
        }
    }

    fn giver(role: Role) -> Viewer {
        Viewer {
            user_id: UserId(1),
            is_administrator: false,
            department_id: None,
            departments_below: vec![],
            departments_above: vec![],
            roles: vec![role],
            rights_epoch: 0,
        }
    }

    fn stages() -> Vec<Stage> {
        let stage = |id| Stage {
            id: StageId(id),
            item_kind: ItemKind::Deal,
            name: "s".into(),
            kind: StageKind::Open,
            position: id,
            version: 1,
        };
        vec![stage(5), stage(6)]
    }

    #[test]
    fn r23_nobody_gives_a_level_that_they_lack() {
        let own = giver(role(
            &[(Read, L::OwnDepartment, None), (Read, L::None, Some(6))],
            &[],
            true,
        ));
        // (what, before, after, whether the giver lacks it)
        let rows: Vec<(&str, Option<Role>, Role, bool)> = vec![
            (
                "less than one's own",
                None,
                role(
                    &[(Read, L::Own, None), (Read, L::None, Some(6))],
                    &[],
                    false,
                ),
                false,
            ),
            (
                "as much as one's own",
                None,
                role(&[(Read, L::OwnDepartment, Some(5))], &[], false),
                false,
            ),
            (
                "more than one's own",
                None,
                role(&[(Read, L::All, Some(5))], &[], false),
                true,
            ),
            (
                "another action",
                None,
                role(&[(Update, L::Own, Some(5))], &[], false),
                true,
            ),
            (
                "a stage that is closed to oneself",
                None,
                role(&[(Read, L::Own, Some(6))], &[], false),
                true,
            ),
            (
                "that stage by the general line",
                None,
                role(&[(Read, L::Own, None)], &[], false),
                true,
            ),
            (
                "what the role gave already",
                Some(role(&[(Read, L::All, None)], &[], false)),
                role(&[(Read, L::All, None)], &[], false),
                false,
            ),
            (
                "a stage opened by taking its line away",
                Some(role(
                    &[(Read, L::All, None), (Read, L::None, Some(6))],
                    &[],
                    false,
                )),
                role(&[(Read, L::All, None)], &[], false),
                true,
            ),
        ];
        for (what, before, after, lacking) in rows {
            let found = lacks(&own, before.as_ref(), &after, &stages());
            assert_eq!(!found.is_empty(), lacking, "{what}: {found:?}");
            let mut boss = own.clone();
            boss.is_administrator = true;
            assert!(
                lacks(&boss, before.as_ref(), &after, &stages()).is_empty(),
                "{what}"
            );
        }
    }

    #[test]
    fn r26_nobody_shows_others_a_field_that_is_hidden_from_them() {
        let amount = RestrictedField::DealAmount;
        let blind = giver(role(&[], &[amount], true));
        let showing = role(&[], &[], false);
        let hiding = role(&[], &[amount], false);
        assert_eq!(lacks(&blind, None, &showing, &[]), [Lack::Field(amount)]);
        assert_eq!(
            lacks(&blind, Some(&hiding), &showing, &[]),
            [Lack::Field(amount)]
        );
        assert!(lacks(&blind, Some(&showing), &showing, &[]).is_empty());
        assert!(lacks(&blind, None, &hiding, &[]).is_empty());
    }

    #[test]
    fn r23_the_flag_is_given_by_its_holders_alone() {
        let flagged = role(&[], &[], true);
        assert!(lacks(&giver(flagged.clone()), None, &flagged, &[]).is_empty());
        let without = giver(role(&[], &[], false));
        assert_eq!(lacks(&without, None, &flagged, &[]), [Lack::CrmSettings]);
    }

    #[test]
    fn r23_only_holders_give_the_right_to_change_settings() {
        // (the giver has it, before, after, whether the giver lacks it)
        let rows = [
            (false, None, false, false),
            (false, None, true, true),
            (false, Some(false), true, true),
            (false, Some(true), true, false),
            (false, Some(true), false, false),
            (false, Some(false), false, false),
            (true, None, true, false),
        ];
        for (has, before, after, lacks_it) in rows {
            let before = before.map(|flag| role(&[], &[], flag));
            let found = lacks(
                &giver(role(&[], &[], has)),
                before.as_ref(),
                &role(&[], &[], after),
                &stages(),
            );
            let expected = if lacks_it {
                vec![Lack::CrmSettings]
            } else {
                vec![]
            };
            assert_eq!(found, expected, "{has} {before:?} {after}");
        }
    }
}
