//! What access says beside single items: mailboxes, settings, fields, and the scopes of lists, line by line.

use super::fixture::{Line, viewer};
use super::*;

fn role(lines: &[Line]) -> Role {
    fixture::role(1, lines)
}

fn administrator() -> Viewer {
    Viewer {
        is_administrator: true,
        ..viewer(vec![])
    }
}

fn settings_holder() -> Viewer {
    let flag = Role {
        may_change_crm_settings: true,
        ..role(&[])
    };
    viewer(vec![role(&[]), flag])
}

#[test]
fn r22_access_to_a_mailbox_is_the_connector_s_or_given() {
    let holders = |connector: i64, users: &[i64], departments: &[i64]| MailboxHolders {
        connector_id: UserId(connector),
        user_ids: users.iter().copied().map(UserId).collect(),
        department_ids: departments.iter().copied().map(DepartmentId).collect(),
    };
    // (what, holders, whether user 1 of department 10 has it)
    let rows = [
        ("the connector", holders(1, &[], &[]), true),
        ("given to the user", holders(2, &[3, 1], &[]), true),
        ("given to the department", holders(2, &[], &[10]), true),
        ("given to one above it", holders(2, &[], &[8, 9]), true),
        ("given to one below it", holders(2, &[], &[11]), false),
        ("given to others", holders(2, &[3], &[12]), false),
        ("given to nobody", holders(2, &[], &[]), false),
    ];
    for (what, holders, has) in rows {
        assert_eq!(has_mailbox(&viewer(vec![]), &holders), has, "{what}");
        assert_eq!(
            has_mailbox(&administrator(), &holders),
            has,
            "{what}, to an administrator"
        );
        assert_eq!(may_sync_mailbox(&viewer(vec![]), &holders), has, "{what}");
        assert!(
            may_sync_mailbox(&administrator(), &holders),
            "{what}: administrators manage mailboxes"
        );
    }
}

#[test]
fn r25_who_changes_the_settings_of_a_mailbox() {
    // (who, viewer, whose mailbox, its CRM settings, its folders and sharing, the CRM's settings)
    let rows = [
        (
            "the connector",
            viewer(vec![role(&[])]),
            1,
            true,
            true,
            false,
        ),
        (
            "a stranger",
            viewer(vec![role(&[])]),
            2,
            false,
            false,
            false,
        ),
        ("an administrator", administrator(), 2, true, true, true),
        (
            "a holder of the flag",
            settings_holder(),
            2,
            true,
            false,
            true,
        ),
        (
            "who is also the connector",
            settings_holder(),
            1,
            true,
            true,
            true,
        ),
    ];
    for (who, viewer, connector, settings, manage, crm) in rows {
        let connector = UserId(connector);
        assert_eq!(
            may_change_mailbox_settings(&viewer, connector),
            settings,
            "{who}"
        );
        assert_eq!(may_manage_mailbox(&viewer, connector), manage, "{who}");
        assert_eq!(may_change_crm_settings(&viewer), crm, "{who}");
    }
}

#[test]
fn r26_a_field_is_hidden_by_every_role_or_not_at_all() {
    use RestrictedField::{ContactPhones, DealAmount};
    let hiding = |fields: &[RestrictedField]| Role {
        hidden_fields: fields.to_vec(),
        ..role(&[])
    };
    // (what, viewer, hidden fields)
    let rows = [
        (
            "one role",
            viewer(vec![hiding(&[DealAmount])]),
            vec![DealAmount],
        ),
        (
            "a role that shows it",
            viewer(vec![hiding(&[DealAmount]), hiding(&[])]),
            vec![],
        ),
        (
            "what both hide",
            viewer(vec![
                hiding(&[DealAmount, ContactPhones]),
                hiding(&[ContactPhones]),
            ]),
            vec![ContactPhones],
        ),
        ("no role", viewer(vec![]), vec![]),
        (
            "an administrator with a role that hides it",
            Viewer {
                is_administrator: true,
                ..viewer(vec![hiding(&[DealAmount])])
            },
            vec![],
        ),
    ];
    for (what, viewer, hidden) in rows {
        assert_eq!(hidden_fields(&viewer), hidden, "{what}");
    }
}

#[test]
fn r23_a_scope_has_a_line_for_each_kind_and_named_stage() {
    use ItemKind::{Contact, Deal};
    use PermissionAction::{Read, Update};
    use PermissionLevel as L;
    let who = viewer(vec![
        role(&[
            (Deal, Read, L::Own, None),
            (Deal, Read, L::None, Some(5)),
            (Deal, Read, L::All, Some(6)),
            (Deal, Update, L::All, Some(7)),
            (Contact, Update, L::All, None),
            (Contact, Read, L::None, None),
        ]),
        role(&[(Deal, Read, L::OwnDepartment, Some(6))]),
    ]);
    let scope = items(&who, Read);
    assert!(!scope.is_everything());
    assert_eq!(scope.viewer_id(), UserId(1));
    assert_eq!(scope.department_id(), Some(DepartmentId(10)));
    assert_eq!(
        scope.departments_below(),
        [DepartmentId(10), DepartmentId(11)]
    );
    let lines: Vec<(ItemKind, Stages, L)> = scope
        .lines()
        .iter()
        .map(|line| (line.kind(), line.stages().clone(), line.level()))
        .collect();
    // No line for stage 5, nor for contacts: nothing of them is reached. Stage 7 is about another action.
    let expected = [
        (Deal, Stages::Only(StageId(6)), L::All),
        (Deal, Stages::AnyBut(vec![StageId(5), StageId(6)]), L::Own),
    ];
    assert_eq!(lines, expected);
    let updates = items(&who, Update);
    let lines: Vec<(ItemKind, Stages, L)> = updates
        .lines()
        .iter()
        .map(|line| (line.kind(), line.stages().clone(), line.level()))
        .collect();
    let expected = [
        (Deal, Stages::Only(StageId(7)), L::All),
        (Contact, Stages::Any, L::All),
    ];
    assert_eq!(lines, expected);
    assert!(items(&administrator(), Read).is_everything());
    assert!(items(&viewer(vec![]), Read).lines().is_empty());
}

#[test]
fn r22_scopes_of_mailboxes_and_emails() {
    // (who, viewer, whether every mailbox is listed)
    let rows = [
        ("anybody", viewer(vec![]), false),
        ("a holder of the flag", settings_holder(), true),
        ("an administrator", administrator(), true),
    ];
    for (who, viewer, lists_all) in rows {
        let (listed, with_mail) = (mailboxes(&viewer), mailboxes_with_mail(&viewer));
        assert_eq!(listed.is_everything(), lists_all, "{who}");
        assert!(
            !with_mail.is_everything(),
            "{who}: mail is read by those with access alone"
        );
        for scope in [&listed, &with_mail] {
            assert_eq!(scope.viewer_id(), UserId(1), "{who}");
            assert_eq!(
                scope.departments_above(),
                [DepartmentId(10), DepartmentId(9)],
                "{who}"
            );
        }
        for surface in [Surface::Crm, Surface::Mailbox, Surface::Either] {
            let scope = emails(&viewer, surface);
            assert_eq!(scope.surface(), surface, "{who}");
            assert_eq!(
                scope.items(),
                &items(&viewer, PermissionAction::Read),
                "{who}"
            );
            assert_eq!(scope.mailboxes(), &with_mail, "{who}");
        }
    }
}

#[test]
fn r21_only_saved_mail_is_in_the_crm() {
    for &outcome in EmailOutcome::ALL {
        assert_eq!(
            is_in_crm(outcome),
            outcome == EmailOutcome::Saved,
            "{outcome:?}"
        );
    }
}

#[test]
fn r28_a_mailbox_is_had_by_one_of_three_grounds() {
    let holders = |connector, users: &[i64], departments: &[i64]| MailboxHolders {
        connector_id: UserId(connector),
        user_ids: users.iter().copied().map(UserId).collect(),
        department_ids: departments.iter().copied().map(DepartmentId).collect(),
    };
    let rows = [
        (
            "the connector",
            holders(1, &[], &[]),
            Some(MailboxGround::Connector),
        ),
        (
            "given",
            holders(2, &[1], &[]),
            Some(MailboxGround::GivenToUser),
        ),
        (
            "given to the department above",
            holders(2, &[], &[9]),
            Some(MailboxGround::GivenToDepartment),
        ),
        ("given to a department below", holders(2, &[], &[11]), None),
        ("a stranger's", holders(2, &[3], &[]), None),
    ];
    for (what, holders, expected) in rows {
        assert_eq!(
            mailbox_ground(&viewer(vec![]), &holders),
            expected,
            "{what}"
        );
    }
}
