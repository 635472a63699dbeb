//! Roles, who holds them, the settings of the installation, and the audit log.

use crate::actions::world::{DEAL_WON, LEAD_NEW};
use crate::actions::world::{EMPLOYEE, World, new_role};
use mailroom::actions::change::Change;
use mailroom::actions::crm_settings::{self, UpdateCrmSettings};
use mailroom::actions::roles::{self, CreateRole, PermissionLine, RoleHolder, UpdateRole};
use mailroom::actions::{ActionError, audit};
use mailroom::model::item::ItemKind;
use mailroom::model::people::{PermissionAction, PermissionLevel, RestrictedField, Viewer};
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{DepartmentId, RoleId, StageId, UserId};
use mailroom::store;
use mailroom::store::db::Kind;

fn line(level: PermissionLevel, stage: Option<StageId>) -> PermissionLine {
    PermissionLine {
        item: ItemKind::Deal,
        action: PermissionAction::Read,
        level,
        stage_id: stage,
    }
}

/// A holder of "may change CRM settings" who reads deals of their department.
async fn holder(world: &World) -> Viewer {
    let input = CreateRole {
        permissions: vec![line(PermissionLevel::OwnDepartment, None)],
        hidden_fields: vec![RestrictedField::DealAmount],
        may_change_crm_settings: true,
        ..new_role("Office manager")
    };
    let role = roles::create_role(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap();
    let id = world.user("Olga Office", None, Some(vec![role])).await;
    world.viewer(id)
}

fn of(role_id: RoleId) -> UpdateRole {
    UpdateRole {
        role_id,
        expected_version: None,
        name: Change::Keep,
        permissions: Change::Keep,
        hidden_fields: Change::Keep,
        may_change_crm_settings: Change::Keep,
    }
}

on_both_databases! {
async fn r23_roles_are_made_by_administrators_and_holders_of_the_flag_within_their_own_rights(world) {
    use PermissionLevel::{All, Own, OwnDepartment};
    let olga = holder(&world).await;
    let employee = world.user("Eve Employee", None, None).await;
    let employee = world.viewer(employee);
    let hidden = vec![RestrictedField::DealAmount];
    let role = |lines: Vec<PermissionLine>, hidden_fields: Vec<RestrictedField>| CreateRole {
        permissions: lines,
        hidden_fields,
        ..new_role("New")
    };
    let create =
        |viewer, input| roles::create_role(&world.actions, viewer, input, None, world.now());
    for (what, input) in [
        (
            "as much as she has",
            role(vec![line(OwnDepartment, None)], hidden.clone()),
        ),
        (
            "less, for one stage",
            role(vec![line(Own, Some(DEAL_WON))], hidden.clone()),
        ),
        (
            "with the flag",
            CreateRole {
                may_change_crm_settings: true,
                ..role(vec![], hidden.clone())
            },
        ),
    ] {
        create(&olga, input).await.expect(what);
    }
    create(&world.admin, role(vec![line(All, None)], vec![]))
        .await
        .unwrap();

    let rows = [
        (
            "an employee",
            &employee,
            role(vec![], vec![]),
            (Code::Forbidden, ""),
        ),
        (
            "more than she has",
            &olga,
            role(vec![line(All, None)], hidden.clone()),
            (Code::Forbidden, "permissions"),
        ),
        (
            "a field that is hidden from her",
            &olga,
            role(vec![], vec![]),
            (Code::Forbidden, "hiddenFields"),
        ),
        (
            "two lines for one thing",
            &world.admin,
            role(vec![line(Own, None), line(All, None)], vec![]),
            (Code::BadInput, "permissions"),
        ),
        (
            "a lead's stage for deals",
            &world.admin,
            role(vec![line(Own, Some(LEAD_NEW))], vec![]),
            (Code::BadInput, "permissions"),
        ),
        (
            "an absent stage",
            &world.admin,
            role(vec![line(Own, Some(StageId(-1)))], vec![]),
            (Code::NotFound, "permissions"),
        ),
        (
            "no name",
            &world.admin,
            CreateRole {
                name: " ".into(),
                ..role(vec![], vec![])
            },
            (Code::BadInput, "name"),
        ),
    ];
    for (what, viewer, input, expected) in rows {
        world.refused(what, expected, create(viewer, input)).await;
    }
}
}

on_both_databases! {
async fn r23_a_changed_role_gives_at_once_and_nobody_widens_it_beyond_themselves(world) {
    use PermissionLevel::{All, Own};
    let olga = holder(&world).await;
    let wide = CreateRole {
        permissions: vec![line(All, None)],
        ..new_role("Wide")
    };
    let wide = roles::create_role(&world.actions, &world.admin, wide, None, world.now())
        .await
        .unwrap();
    let update = |viewer, change| roles::update_role(&world.actions, viewer, change, world.now());

    // She may rename what reaches further than she does, and take from it; not give it back.
    update(
        &olga,
        UpdateRole {
            name: Change::Set("Wider".into()),
            ..of(wide)
        },
    )
    .await
    .unwrap();
    let narrow = UpdateRole {
        permissions: Change::Set(vec![line(Own, None)]),
        ..of(wide)
    };
    update(&olga, narrow).await.unwrap();
    let widen = UpdateRole {
        permissions: Change::Set(vec![line(All, None)]),
        ..of(wide)
    };
    world
        .refused(
            "widened",
            (Code::Forbidden, "permissions"),
            update(&olga, widen.clone()),
        )
        .await;
    let before = world.store().read_now(store::roles::rights_epoch).unwrap();
    update(&world.admin, widen).await.unwrap();
    assert!(world.store().read_now(store::roles::rights_epoch).unwrap() > before);

    let stale = UpdateRole {
        expected_version: Some(1),
        ..of(wide)
    };
    world
        .refused(
            "an old version",
            (Code::Stale, "expectedVersion"),
            update(&world.admin, stale),
        )
        .await;
    world
        .refused(
            "an absent role",
            (Code::NotFound, "roleId"),
            update(&world.admin, of(RoleId(-1))),
        )
        .await;
    let nameless = UpdateRole {
        name: Change::Clear,
        ..of(EMPLOYEE)
    };
    world
        .refused(
            "no name",
            (Code::BadInput, "name"),
            update(&world.admin, nameless),
        )
        .await;
}
}

on_both_databases! {
async fn r23_roles_are_given_to_users_and_departments_by_whoever_has_what_they_give(world) {
    let sales = world.department("Sales", None).await;
    let olga = holder(&world).await;
    let own_role = olga.roles[0].id;
    let eve = world.user("Eve Employee", Some(sales), None).await;
    let employee = world.user("Max Muster", None, None).await;
    let employee = world.viewer(employee);
    let assign =
        |viewer, holder, ids| roles::assign_roles(&world.actions, viewer, holder, ids, world.now());
    let (user, department) = (RoleHolder::User(eve), RoleHolder::Department(sales));

    let given = assign(&olga, user, vec![own_role, own_role]).await.unwrap();
    assert_eq!(given, [own_role], "and what she had is taken away");
    assign(&world.admin, department, vec![EMPLOYEE])
        .await
        .unwrap();
    let mut roles: Vec<RoleId> = world.viewer(eve).roles.iter().map(|role| role.id).collect();
    roles.sort_unstable();
    assert_eq!(roles, [EMPLOYEE, own_role]);

    let rows = [
        (
            "an employee",
            &employee,
            user,
            vec![EMPLOYEE],
            (Code::Forbidden, ""),
        ),
        (
            "an absent user",
            &world.admin,
            RoleHolder::User(UserId(-1)),
            vec![],
            (Code::NotFound, "holder.userId"),
        ),
        (
            "an absent department",
            &world.admin,
            RoleHolder::Department(DepartmentId(-1)),
            vec![],
            (Code::NotFound, "holder.departmentId"),
        ),
        (
            "an absent role",
            &world.admin,
            user,
            vec![RoleId(-1)],
            (Code::NotFound, "roleIds"),
        ),
    ];
    for (what, viewer, holder, ids, expected) in rows {
        world
            .refused(what, expected, assign(viewer, holder, ids))
            .await;
    }
    // "Employee" makes deals, which Olga may not: given by nobody who lacks it, not even to herself; and it shows amounts.
    let before = world.dump();
    let done = assign(
        &olga,
        RoleHolder::User(olga.user_id),
        vec![own_role, EMPLOYEE],
    )
    .await;
    let Err(ActionError::Refused(refusals)) = done else {
        panic!("{done:?}")
    };
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.code == Code::Forbidden),
        "{refusals:?}"
    );
    assert_eq!(before, world.dump());
}
}

on_both_databases! {
async fn r18_settings_are_changed_by_administrators_and_holders_of_the_flag(world) {
    let olga = holder(&world).await;
    let employee = world.user("Eve Employee", None, None).await;
    let employee = world.viewer(employee);
    let update = |viewer, change| crm_settings::update(&world.actions, viewer, change, world.now());
    let exclusions = [
        "News@Example.ORG",
        "@spam.example",
        "*.bulk.example",
        "bücher.example",
        "spam.example",
    ];
    let change = UpdateCrmSettings {
        expected_version: Some(1),
        leads_enabled: Change::Set(false),
        exclusions: Change::Set(exclusions.map(str::to_owned).to_vec()),
        sender_limit_per_hour: Change::Keep,
    };
    update(&olga, change.clone()).await.unwrap();
    let settings = world
        .store()
        .read_now(store::settings::crm_settings)
        .unwrap();
    assert_eq!(
        settings.exclusions,
        [
            "*.bulk.example",
            "news@example.org",
            "spam.example",
            "xn--bcher-kva.example"
        ]
    );
    assert_eq!(
        (
            settings.leads_enabled,
            settings.sender_limit_per_hour,
            settings.version
        ),
        (false, 2000, 2)
    );

    let none = UpdateCrmSettings::default;
    let rows = [
        ("an employee", &employee, none(), (Code::Forbidden, "")),
        (
            "an old version",
            &olga,
            change,
            (Code::Stale, "expectedVersion"),
        ),
        (
            "no address",
            &olga,
            UpdateCrmSettings {
                exclusions: Change::Set(vec!["a b".into()]),
                ..none()
            },
            (Code::BadInput, "exclusions"),
        ),
        (
            "no limit",
            &olga,
            UpdateCrmSettings {
                sender_limit_per_hour: Change::Set(0),
                ..none()
            },
            (Code::BadInput, "senderLimitPerHour"),
        ),
        (
            "null",
            &olga,
            UpdateCrmSettings {
                leads_enabled: Change::Clear,
                ..none()
            },
            (Code::BadInput, "leadsEnabled"),
        ),
    ];
    for (what, viewer, change, expected) in rows {
        world.refused(what, expected, update(viewer, change)).await;
    }
}
}

on_both_databases! {
async fn the_audit_log_shows_a_row_that_was_changed_or_taken_out(world) {
    world.department("Sales", None).await;
    world.department("Support", None).await;
    holder(&world).await;
    let broken = |world: &World| world.store().read_now(audit::first_broken).unwrap();
    assert_eq!(broken(&world), None);
    let rows: Vec<i64> = world.rows("SELECT id FROM audit_log ORDER BY id");
    assert!(rows.len() >= 4, "{rows:?}");
    let run = |text: String| {
        world
            .store()
            .write_now::<_, store::StoreError>(world.now(), |tx| store::sql::sql(text).run(tx.conn))
    };
    // The database itself refuses to change what was written.
    let on_sqlite = world.store().kind() == Kind::Sqlite;
    let mut attempts = vec![
        "UPDATE audit_log SET detail = '{}' WHERE id = 2",
        "DELETE FROM audit_log WHERE id = 2",
        "DELETE FROM audit_log",
    ];
    if !on_sqlite {
        attempts.push("TRUNCATE audit_log");
    }
    for attempt in &attempts {
        let refused = run((*attempt).to_owned()).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{attempt}: {refused}");
    }
    assert_eq!(broken(&world), None);
    // Whoever takes the guards away is found out by the chain.
    for (guard, attempt, first) in [
        ("audit_log_is_not_updated", attempts[0], 2),
        ("audit_log_is_not_deleted", attempts[1], 3),
    ] {
        let of = if on_sqlite { "" } else { " ON audit_log" };
        run(format!("DROP TRIGGER {guard}{of}")).unwrap();
        run(attempt.to_owned()).unwrap();
        assert_eq!(broken(&world), Some(first), "{attempt}");
    }
}
}
