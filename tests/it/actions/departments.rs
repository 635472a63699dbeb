//! The tree of departments, roles that go, and accounts that are closed and opened again.

use crate::actions::world::{EMPLOYEE, World, everything};
use mailroom::actions::change::Change;
use mailroom::actions::departments::{self, UpdateDepartment};
use mailroom::actions::people::{self, UpdateUser};
use mailroom::actions::roles::{self, RoleHolder};
use mailroom::auth::accounts;
use mailroom::model::item::ItemKind::Deal;
use mailroom::model::people::PermissionAction::Read;
use mailroom::model::people::PermissionLevel::{All, DepartmentAndBelow};
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{DepartmentId, RoleId, UserId};
use mailroom::rules::access;
use mailroom::store;

async fn update(world: &World, change: UpdateDepartment) {
    departments::update(&world.actions, &world.admin, change, world.now())
        .await
        .unwrap();
}

fn reads(world: &World, user: UserId, item: mailroom::model::ItemId) -> bool {
    let facts = world
        .store()
        .read_now(|conn| store::items::facts(conn, &[item]))
        .unwrap();
    access::decide(&world.viewer(user), Read, &facts[0]).is_granted()
}

on_both_databases! {
async fn r45_a_department_that_moves_takes_what_is_below_it_along(world) {
    let north = world.department("North", None).await;
    let south = world.department("South", None).await;
    let below = world.department("North East", Some(north)).await;
    let role = world.role(&[(Deal, Read, DepartmentAndBelow)]).await;
    let boss = world.user("Bob Boss", Some(south), Some(vec![role])).await;
    let seller = world.user("Sam Seller", Some(below), None).await;
    let deal = world.item(Deal, seller).await;
    assert!(!reads(&world, boss, deal));
    let epoch = world.viewer(boss).rights_epoch;

    let change = UpdateDepartment {
        parent_id: Change::Set(south),
        ..UpdateDepartment::of(north)
    };
    update(&world, change).await;
    assert!(world.viewer(boss).rights_epoch > epoch, "live streams look again");
    assert!(reads(&world, boss, deal), "two departments below");
    let change = UpdateDepartment {
        name: Change::Set("Far North".into()),
        parent_id: Change::Clear,
        expected_version: Some(2),
        ..UpdateDepartment::of(north)
    };
    update(&world, change).await;
    assert!(!reads(&world, boss, deal));
    let all = world.store().read_now(store::users::departments).unwrap();
    let found = all.iter().find(|it| it.id == north).unwrap();
    assert_eq!((found.name.as_str(), found.parent_id, found.version), ("Far North", None, 3));

    let of = UpdateDepartment::of;
    let rows = [
        ("an employee", seller, of(north), (Code::Forbidden, "")),
        ("an absent one", world.admin.user_id, of(DepartmentId(-1)), (Code::NotFound, "departmentId")),
        ("below itself", world.admin.user_id, UpdateDepartment { parent_id: Change::Set(north), ..of(north) }, (Code::BadInput, "parentId")),
        ("below one of its own", world.admin.user_id, UpdateDepartment { parent_id: Change::Set(below), ..of(north) }, (Code::BadInput, "parentId")),
        ("an absent parent", world.admin.user_id, UpdateDepartment { parent_id: Change::Set(DepartmentId(-1)), ..of(north) }, (Code::NotFound, "parentId")),
        ("no name", world.admin.user_id, UpdateDepartment { name: Change::Set(" ".into()), ..of(north) }, (Code::BadInput, "name")),
        ("an old version", world.admin.user_id, UpdateDepartment { expected_version: Some(1), ..of(north) }, (Code::Stale, "expectedVersion")),
    ];
    for (what, user, change, expected) in rows {
        let viewer = world.viewer(user);
        let done = departments::update(&world.actions, &viewer, change, world.now());
        world.refused(what, expected, done).await;
    }
}
}

on_both_databases! {
async fn r45_the_tree_is_as_deep_as_it_may_be_also_after_a_move(world) {
    let mut deep = world.department("1", None).await;
    let mut chain = vec![deep];
    for level in 2..=19 {
        deep = world.department(&level.to_string(), Some(deep)).await;
        chain.push(deep);
    }
    let pair = world.department("upper", None).await;
    world.department("lower", Some(pair)).await;
    let under = |parent| UpdateDepartment {
        parent_id: Change::Set(parent),
        ..UpdateDepartment::of(pair)
    };
    let done = departments::update(&world.actions, &world.admin, under(deep), world.now());
    world.refused("two below the 19th", (Code::BadInput, "parentId"), done).await;
    update(&world, under(chain[17])).await;
}
}

on_both_databases! {
async fn r45_only_an_empty_department_is_deleted(world) {
    let top = world.department("Sales", None).await;
    let below = world.department("North", Some(top)).await;
    let user = world.user("Eve Employee", Some(below), None).await;
    let role = world.role(&everything(All)).await;
    let holder = RoleHolder::Department(below);
    roles::assign_roles(&world.actions, &world.admin, holder, vec![role], world.now())
        .await
        .unwrap();
    let delete = |id, version| departments::delete(&world.actions, &world.admin, (id, version), world.now());
    let in_it = (Code::BadInput, "departmentId");
    world.refused("one below", in_it, delete(top, None)).await;
    world.refused("a user", in_it, delete(below, None)).await;
    world.deactivate(user).await;
    world.refused("a deactivated user", in_it, delete(below, None)).await;
    let change = UpdateUser {
        department_id: Change::Clear,
        ..UpdateUser::of(user)
    };
    people::update_user(&world.actions, &world.admin, change, world.now())
        .await
        .unwrap();
    world.refused("an old version", (Code::Stale, "expectedVersion"), delete(below, Some(2))).await;
    world.refused("an absent one", (Code::NotFound, "departmentId"), delete(DepartmentId(-1), None)).await;
    let other = world.user("Olaf Other", None, None).await;
    let viewer = world.viewer(other);
    let refused = departments::delete(&world.actions, &viewer, (below, None), world.now());
    world.refused("an employee", (Code::Forbidden, ""), refused).await;
    delete(below, Some(1)).await.unwrap();
    delete(top, None).await.unwrap();
    assert!(world.store().read_now(store::users::departments).unwrap().is_empty());
    let given: Vec<i64> = world.rows("SELECT role_id FROM role_departments");
    assert!(given.is_empty());
}
}

on_both_databases! {
async fn r23_a_role_that_nobody_holds_is_deleted(world) {
    let top = world.department("Sales", None).await;
    let role = world.role(&everything(All)).await;
    let user = world.user("Eve Employee", None, Some(vec![role])).await;
    let delete = |id, version| roles::delete_role(&world.actions, &world.admin, (id, version), world.now());
    let held = (Code::BadInput, "roleId");
    world.refused("held by a user", held, delete(role, None)).await;
    for (holder, ids) in [
        (RoleHolder::Department(top), vec![role]),
        (RoleHolder::User(user), vec![]),
    ] {
        roles::assign_roles(&world.actions, &world.admin, holder, ids, world.now())
            .await
            .unwrap();
    }
    world.refused("held by a department", held, delete(role, None)).await;
    world.refused("built in", held, delete(EMPLOYEE, None)).await;
    world.refused("an absent one", (Code::NotFound, "roleId"), delete(RoleId(-1), None)).await;
    let viewer = world.viewer(user);
    let refused = roles::delete_role(&world.actions, &viewer, (role, None), world.now());
    world.refused("an employee", (Code::Forbidden, ""), refused).await;
    let holder = RoleHolder::Department(top);
    roles::assign_roles(&world.actions, &world.admin, holder, vec![], world.now())
        .await
        .unwrap();
    world.refused("an old version", (Code::Stale, "expectedVersion"), delete(role, Some(7))).await;
    delete(role, Some(1)).await.unwrap();
    let left = world.store().read_now(store::roles::list).unwrap();
    assert_eq!(left.iter().map(|role| role.id).collect::<Vec<_>>(), [EMPLOYEE]);
    let lines: Vec<i64> = world.rows(&format!("SELECT role_id FROM role_permissions WHERE role_id = {}", role.0));
    assert!(lines.is_empty());
}
}

on_both_databases! {
async fn r23_a_role_of_a_department_holds_for_those_below_it(world) {
    let top = world.department("Sales", None).await;
    let below = world.department("North", Some(top)).await;
    let user = world.user("Eve Employee", Some(below), Some(vec![])).await;
    let stranger = world.user("Olaf Other", None, Some(vec![])).await;
    let deal = world.item(Deal, world.admin.user_id).await;
    assert!(!reads(&world, user, deal));
    let role = world.role(&[(Deal, Read, All)]).await;
    let holder = RoleHolder::Department(top);
    roles::assign_roles(&world.actions, &world.admin, holder, vec![role], world.now())
        .await
        .unwrap();
    assert!(reads(&world, user, deal));
    assert!(!reads(&world, stranger, deal));
}
}

on_both_databases! {
async fn r45_a_deactivated_user_loses_every_token_at_once_and_gets_none_back(world) {
    let user = world.user("Eve Employee", None, None).await;
    let mailbox = world.mailbox(user);
    let token = accounts::create_api_token(world.store(), user, world.now()).unwrap();
    let hash = blake3_of(&token);
    let opens = |world: &World| {
        world
            .store()
            .read_now(|conn| store::credentials::find_api_token(conn, &hash))
            .unwrap()
    };
    assert_eq!(opens(&world), Some(user));
    let epoch = world.admin.rights_epoch;
    world.deactivate(user).await;
    assert_eq!(opens(&world), None);
    let now = world.store().read_now(store::roles::rights_epoch).unwrap();
    assert!(now > epoch, "open sockets look again");
    let viewer = world.store().read_now(|conn| store::roles::load_viewer(conn, user));
    assert!(viewer.unwrap().is_none());
    // The mailbox goes on.
    let connected: Vec<i64> = world.rows("SELECT id FROM mailboxes WHERE disconnected_at IS NULL AND secret_sealed IS NOT NULL");
    assert_eq!(connected, [mailbox.0]);

    let change = UpdateUser {
        is_active: Change::Set(true),
        ..UpdateUser::of(user)
    };
    people::update_user(&world.actions, &world.admin, change, world.now())
        .await
        .unwrap();
    assert_eq!(world.viewer(user).user_id, user);
    assert_eq!(opens(&world), None);
}
}

fn blake3_of(token: &str) -> Vec<u8> {
    mailroom::store::raw::hash_of(token.as_bytes()).to_vec()
}
