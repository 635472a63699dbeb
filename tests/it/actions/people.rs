//! Departments and users.

use crate::actions::world::{EMPLOYEE, new_user};
use mailroom::actions::change::Change;
use mailroom::actions::people::{self, CreateDepartment, CreateUser, UpdateUser};
use mailroom::model::item::ItemKind;
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{DepartmentId, RoleId, UserId};
use mailroom::store;
use secrecy::SecretString;

const NOBODY: UserId = UserId(-1);

on_both_databases! {
async fn r45_departments_form_a_tree_that_administrators_make(world) {
    let top = world.department("Sales", None).await;
    let below = world.department("Sales North", Some(top)).await;
    let all = world.store().read_now(store::users::departments).unwrap();
    let parent = all.iter().find(|it| it.id == below).unwrap().parent_id;
    assert_eq!(parent, Some(top));

    let employee = world.user("Eve Employee", Some(below), None).await;
    let employee = world.viewer(employee);
    assert_eq!(employee.departments_above, [below, top]);
    let input = |name: &str, parent_id| CreateDepartment {
        name: name.to_owned(),
        parent_id,
    };
    let rows = [
        (
            "an employee",
            false,
            input("X", None),
            (Code::Forbidden, ""),
        ),
        (
            "an absent parent",
            true,
            input("X", Some(DepartmentId(-1))),
            (Code::NotFound, "parentId"),
        ),
        ("no name", true, input("  ", None), (Code::BadInput, "name")),
        (
            "a long name",
            true,
            input(&"x".repeat(201), None),
            (Code::BadInput, "name"),
        ),
        (
            "a name of two lines",
            true,
            input("a\nb", None),
            (Code::BadInput, "name"),
        ),
    ];
    for (what, as_admin, input, expected) in rows {
        let viewer = if as_admin { &world.admin } else { &employee };
        let done = people::create_department(&world.actions, viewer, input, None, world.now());
        world.refused(what, expected, done).await;
    }
}
}

on_both_databases! {
async fn r45_a_user_has_an_address_of_their_own_and_the_role_employee(world) {
    let input = CreateUser {
        password: Some(SecretString::from("correct horse")),
        time_zone: Some("Europe/Berlin".into()),
        avatar_url: Some("https://example.com/eve.png".into()),
        ..new_user("Eve Employee", None, None)
    };
    let id = people::create_user(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap();
    let user = world
        .store()
        .read_now(|conn| store::users::get(conn, id))
        .unwrap()
        .unwrap();
    assert_eq!(
        (user.time_zone.as_str(), user.is_administrator),
        ("Europe/Berlin", false)
    );
    let roles = world.viewer(id).roles;
    assert_eq!(
        roles.iter().map(|role| role.id).collect::<Vec<_>>(),
        [EMPLOYEE]
    );
    let hashes: Vec<Option<String>> = world.rows(&format!(
        "SELECT password_hash FROM users WHERE id = {}",
        id.0
    ));
    assert!(hashes[0].as_ref().unwrap().starts_with("$argon2id$"));

    let without = world.user("Nora None", None, Some(vec![])).await;
    assert!(world.viewer(without).roles.is_empty());

    let plain = || new_user("Max Muster", None, None);
    let employee = world.viewer(id);
    let rows = [
        ("an employee", false, plain(), (Code::Forbidden, "")),
        (
            "an address that another has, in other letters",
            true,
            CreateUser {
                address: "EVE.employee@Example.com".into(),
                ..plain()
            },
            (Code::BadInput, "address"),
        ),
        (
            "no address",
            true,
            CreateUser {
                address: "eve".into(),
                ..plain()
            },
            (Code::BadInput, "address"),
        ),
        (
            "no name",
            true,
            CreateUser {
                name: String::new(),
                ..plain()
            },
            (Code::BadInput, "name"),
        ),
        (
            "an unknown zone",
            true,
            CreateUser {
                time_zone: Some("Mars/Base".into()),
                ..plain()
            },
            (Code::BadInput, "timeZone"),
        ),
        (
            "a picture that is a script",
            true,
            CreateUser {
                avatar_url: Some("javascript:alert(1)".into()),
                ..plain()
            },
            (Code::BadInput, "avatarUrl"),
        ),
        (
            "a short password",
            true,
            CreateUser {
                password: Some(SecretString::from("short")),
                ..plain()
            },
            (Code::BadInput, "password"),
        ),
        (
            "an absent role",
            true,
            CreateUser {
                role_ids: Some(vec![RoleId(-1)]),
                ..plain()
            },
            (Code::NotFound, "roleIds"),
        ),
        (
            "an absent department",
            true,
            CreateUser {
                department_id: Some(DepartmentId(-1)),
                ..plain()
            },
            (Code::NotFound, "departmentId"),
        ),
    ];
    for (what, as_admin, input, expected) in rows {
        let viewer = if as_admin { &world.admin } else { &employee };
        let done = people::create_user(&world.actions, viewer, input, None, world.now());
        world.refused(what, expected, done).await;
    }
}
}

on_both_databases! {
async fn r45_the_last_active_administrator_stays_one(world) {
    let me = world.admin.user_id;
    let demoted = |id| UpdateUser {
        is_administrator: Change::Set(false),
        ..UpdateUser::of(id)
    };
    let deactivated = |id| UpdateUser {
        is_active: Change::Set(false),
        ..UpdateUser::of(id)
    };
    let update = |change| people::update_user(&world.actions, &world.admin, change, world.now());
    world
        .refused(
            "demoted",
            (Code::BadInput, "isAdministrator"),
            update(demoted(me)),
        )
        .await;
    world
        .refused(
            "deactivated",
            (Code::BadInput, "isActive"),
            update(deactivated(me)),
        )
        .await;

    let other = world.user("Otto Other", None, None).await;
    let promoted = UpdateUser {
        is_administrator: Change::Set(true),
        ..UpdateUser::of(other)
    };
    update(promoted).await.unwrap();
    update(deactivated(me)).await.unwrap();
    // Whoever was loaded before is nobody now, and the other one is the last.
    world
        .refused(
            "by whom is gone",
            (Code::Forbidden, ""),
            update(demoted(other)),
        )
        .await;
    let last = world.viewer(other);
    let done = people::update_user(&world.actions, &last, demoted(other), world.now());
    world
        .refused("the new last", (Code::BadInput, "isAdministrator"), done)
        .await;
}
}

on_both_databases! {
async fn r45_deactivating_ends_every_session_and_takes_the_rights(world) {
    let id = world.user("Eve Employee", None, None).await;
    world
        .store()
        .write_now::<_, store::StoreError>(world.now(), |tx| {
            store::credentials::insert_api_token(tx, id, b"token")?;
            store::credentials::insert_refresh_token(
                tx,
                id,
                None,
                b"refresh",
                tx.now.plus_seconds(60),
            )?;
            Ok(())
        })
        .unwrap();
    let employee = world.viewer(id);
    let versions = |world: &World| -> Vec<i64> {
        world.rows(&format!(
            "SELECT session_version FROM users WHERE id = {}",
            id.0
        ))
    };
    let before = versions(&world)[0];
    world.deactivate(id).await;
    assert_eq!(versions(&world)[0], before + 1);
    let open: Vec<i64> = world.rows(
        "SELECT id FROM api_tokens WHERE revoked_at IS NULL UNION SELECT id FROM refresh_tokens WHERE revoked_at IS NULL",
    );
    assert!(open.is_empty());
    let input = crate::actions::world::new_item(ItemKind::Lead);
    let done =
        mailroom::actions::items::create(&world.actions, &employee, input, None, world.now());
    world
        .refused("a viewer of before", (Code::Forbidden, ""), done)
        .await;
}
}

on_both_databases! {
async fn r45_what_changes_about_a_user(world) {
    let sales = world.department("Sales", None).await;
    let id = world.user("Eve Employee", Some(sales), None).await;
    let deal = world.item(ItemKind::Deal, id).await;
    let epoch = |world: &World| world.store().read_now(store::roles::rights_epoch).unwrap();
    let before = epoch(&world);
    let change = UpdateUser {
        name: Change::Set(" Eve Eager ".into()),
        expected_version: Some(1),
        ..UpdateUser::of(id)
    };
    people::update_user(&world.actions, &world.admin, change, world.now())
        .await
        .unwrap();
    assert_eq!(epoch(&world), before, "a name is no right");

    let change = UpdateUser {
        department_id: Change::Clear,
        ..UpdateUser::of(id)
    };
    people::update_user(&world.actions, &world.admin, change, world.now())
        .await
        .unwrap();
    assert!(epoch(&world) > before);
    let user = world
        .store()
        .read_now(|conn| store::users::get(conn, id))
        .unwrap()
        .unwrap();
    assert_eq!(
        (user.name.as_str(), user.department_id, user.version),
        ("Eve Eager", None, 3)
    );
    // R29: her items were in her department, and whoever read them by it hears of the change.
    let told: Vec<String> = world.rows(&format!(
        "SELECT before_json FROM timeline_changes WHERE kind = 'ITEM' AND item_id = {}",
        deal.0
    ));
    assert!(
        told[0].contains(&format!("\"responsible_department_id\":{}", sales.0)),
        "{told:?}"
    );

    let employee = world.viewer(id);
    let of = UpdateUser::of;
    let rows = [
        (
            "herself",
            false,
            UpdateUser {
                is_administrator: Change::Set(true),
                ..of(id)
            },
            (Code::Forbidden, ""),
        ),
        (
            "an absent user",
            true,
            of(NOBODY),
            (Code::NotFound, "userId"),
        ),
        (
            "an old version",
            true,
            UpdateUser {
                expected_version: Some(1),
                ..of(id)
            },
            (Code::Stale, "expectedVersion"),
        ),
        (
            "no name",
            true,
            UpdateUser {
                name: Change::Clear,
                ..of(id)
            },
            (Code::BadInput, "name"),
        ),
        (
            "no zone",
            true,
            UpdateUser {
                time_zone: Change::Clear,
                ..of(id)
            },
            (Code::BadInput, "timeZone"),
        ),
        (
            "an absent department",
            true,
            UpdateUser {
                department_id: Change::Set(DepartmentId(-1)),
                ..of(id)
            },
            (Code::NotFound, "departmentId"),
        ),
    ];
    for (what, as_admin, change, expected) in rows {
        let viewer = if as_admin { &world.admin } else { &employee };
        let done = people::update_user(&world.actions, viewer, change, world.now());
        world.refused(what, expected, done).await;
    }
}
}
