//! Stages are made, ordered and deleted.

use crate::actions::world::{
    DEAL_NEW, DEAL_WON, LEAD_CONVERTED, LEAD_IN_PROCESS, LEAD_JUNK, LEAD_NEW, World, new_item,
    new_role,
};
use mailroom::actions::change::Change;
use mailroom::actions::items::{self, CreateItem, UpdateItem};
use mailroom::actions::roles::{self, CreateRole, PermissionLine};
use mailroom::actions::stages::{self, CreateStage, DeleteStage, UpdateStage};
use mailroom::model::StageId;
use mailroom::model::item::ItemKind::{self, Contact, Deal, Lead};
use mailroom::model::item::StageKind::{self, Converted, Junk, Lost, Open, Won};
use mailroom::model::people::PermissionAction::Read;
use mailroom::model::people::PermissionLevel::{All, Own};
use mailroom::model::people::Viewer;
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::store;

fn new(item_kind: ItemKind, kind: StageKind, position: Option<i64>) -> CreateStage {
    CreateStage {
        item_kind,
        name: "A stage".into(),
        kind,
        position,
    }
}

async fn create(world: &World, input: CreateStage) -> StageId {
    stages::create(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap()
}

fn order(world: &World, kind: ItemKind) -> Vec<(StageId, i64)> {
    let all = world.store().read_now(store::settings::stages).unwrap();
    all.into_iter()
        .filter(|stage| stage.item_kind == kind)
        .map(|stage| (stage.id, stage.position))
        .collect()
}

fn of(stage_id: StageId) -> UpdateStage {
    UpdateStage {
        stage_id,
        expected_version: None,
        name: Change::Keep,
        position: Change::Keep,
    }
}

const fn delete(stage_id: StageId, move_items_to: StageId) -> DeleteStage {
    DeleteStage {
        stage_id,
        expected_version: None,
        move_items_to,
    }
}

async fn settings_holder(world: &World) -> Viewer {
    let role = CreateRole {
        may_change_crm_settings: true,
        ..new_role("Settings")
    };
    let role = roles::create_role(&world.actions, &world.admin, role, None, world.now())
        .await
        .unwrap();
    let user = world.user("Hans Holder", None, Some(vec![role])).await;
    world.viewer(user)
}

on_both_databases! {
async fn r25_stages_are_made_and_ordered_and_an_open_one_stays_first(world) {
    let second = create(&world, new(Lead, Open, Some(2))).await;
    let spam = create(&world, new(Lead, Junk, None)).await;
    let expected = [LEAD_NEW, second, LEAD_IN_PROCESS, LEAD_CONVERTED, LEAD_JUNK, spam];
    let places: Vec<(StageId, i64)> = expected.into_iter().zip(1..).collect();
    assert_eq!(order(&world, Lead), places);

    let change = UpdateStage {
        name: Change::Set("Fresh".into()),
        position: Change::Set(1),
        expected_version: Some(1),
        ..of(second)
    };
    stages::update(&world.actions, &world.admin, change, world.now()).await.unwrap();
    let places = order(&world, Lead);
    assert_eq!((places[0].0, places[1].0), (second, LEAD_NEW));
    // New leads begin there.
    let lead = world.item(Lead, world.admin.user_id).await;
    assert_eq!(world.get(lead).stage_id, Some(second));

    let update = |change| stages::update(&world.actions, &world.admin, change, world.now());
    let rows = [
        ("junk first", UpdateStage { position: Change::Set(1), ..of(spam) }, (Code::BadInput, "position")),
        ("the place 0", UpdateStage { position: Change::Set(0), ..of(second) }, (Code::BadInput, "position")),
        ("a place behind the end", UpdateStage { position: Change::Set(7), ..of(second) }, (Code::BadInput, "position")),
        ("no name", UpdateStage { name: Change::Set(String::new()), ..of(second) }, (Code::BadInput, "name")),
        ("an old version", UpdateStage { expected_version: Some(1), ..of(second) }, (Code::Stale, "expectedVersion")),
        ("an absent one", of(StageId(-1)), (Code::NotFound, "stageId")),
    ];
    for (what, change, expected) in rows {
        world.refused(what, expected, update(change)).await;
    }
    let rows = [
        ("won leads", new(Lead, Won, None), "kind"),
        ("a second converted", new(Lead, Converted, None), "kind"),
        ("a second won", new(Deal, Won, None), "kind"),
        ("a contact's", new(Contact, Open, None), "kind"),
        ("lost first", new(Deal, Lost, Some(1)), "kind"),
        ("far behind", new(Deal, Lost, Some(9)), "position"),
    ];
    for (what, input, field) in rows {
        let done = stages::create(&world.actions, &world.admin, input, None, world.now());
        world.refused(what, (Code::BadInput, field), done).await;
    }
}
}

on_both_databases! {
async fn r25_holders_of_the_flag_make_stages_and_administrators_alone_delete_them(world) {
    let employee = world.user("Eve Employee", None, None).await;
    let employee = world.viewer(employee);
    let holder = settings_holder(&world).await;
    let key = Some("k".to_owned());
    let input = new(Deal, Lost, None);
    let refused = stages::create(&world.actions, &employee, input.clone(), None, world.now());
    world.refused("an employee", (Code::Forbidden, ""), refused).await;
    let made = stages::create(&world.actions, &holder, input.clone(), key.clone(), world.now()).await.unwrap();
    let again = stages::create(&world.actions, &holder, input, key, world.now()).await.unwrap();
    assert_eq!(made, again, "the same key makes one");
    let refused = stages::update(&world.actions, &employee, of(made), world.now());
    world.refused("an employee", (Code::Forbidden, ""), refused).await;
    let refused = stages::delete(&world.actions, &holder, delete(made, DEAL_NEW), world.now());
    world.refused("a holder", (Code::Forbidden, ""), refused).await;
    stages::delete(&world.actions, &world.admin, delete(made, DEAL_NEW), world.now()).await.unwrap();
}
}

on_both_databases! {
async fn r23_a_deleted_stage_moves_its_items_and_takes_its_lines_away(world) {
    let stage = create(&world, new(Deal, Open, None)).await;
    let line = |level, stage_id| PermissionLine { item: Deal, action: Read, level, stage_id };
    let role = CreateRole {
        permissions: vec![line(Own, None), line(All, Some(stage))],
        ..new_role("By stage")
    };
    let role = roles::create_role(&world.actions, &world.admin, role, None, world.now()).await.unwrap();
    let reader = world.user("Rita Reader", None, Some(vec![role])).await;
    let input = CreateItem { stage_id: Some(stage), ..new_item(Deal) };
    let deal = items::create(&world.actions, &world.admin, input, None, world.now()).await.unwrap();
    let reads = |world: &World| {
        let scope = mailroom::rules::access::items(&world.viewer(reader), Read);
        !world.store().read_now(|conn| store::items::readable(conn, &scope, &[deal])).unwrap().is_empty()
    };
    assert!(reads(&world));

    let gone = |to| stages::delete(&world.actions, &world.admin, delete(stage, to), world.now());
    let field = "moveItemsToStageId";
    world.refused("to itself", (Code::BadInput, field), gone(stage)).await;
    world.refused("to a lead's", (Code::BadInput, field), gone(LEAD_NEW)).await;
    world.refused("to an absent one", (Code::NotFound, field), gone(StageId(-1))).await;
    gone(DEAL_WON).await.unwrap();
    let row = world.get(deal);
    assert_eq!((row.stage_id, row.is_open), (Some(DEAL_WON), false));
    assert_eq!(world.told(deal), ["ITEM_CREATED", "STAGE_CHANGED"]);
    assert!(!reads(&world), "the line for the stage is gone");
    let lines: Vec<i64> = world.rows(&format!("SELECT role_id FROM role_permissions WHERE stage_id = {}", stage.0));
    assert!(lines.is_empty());
    assert!(!order(&world, Deal).iter().any(|(id, _place)| *id == stage));

    // Nothing gets there any more, and what was told of it can be read.
    let change = UpdateItem { stage_id: Change::Set(stage), ..UpdateItem::of(Deal, deal) };
    let refused = items::update(&world.actions, &world.admin, change, world.now());
    world.refused("into it", (Code::NotFound, "stageId"), refused).await;
    let input = CreateItem { stage_id: Some(stage), ..new_item(Deal) };
    let refused = items::create(&world.actions, &world.admin, input, None, world.now());
    world.refused("made in it", (Code::NotFound, "stageId"), refused).await;
    let ever = world.store().read_now(store::settings::stages_ever).unwrap();
    assert!(ever.iter().any(|it| it.id == stage && it.name == "A stage"));
    world.refused("once more", (Code::NotFound, "stageId"), gone(DEAL_NEW)).await;
}
}

on_both_databases! {
async fn r23_the_last_stage_of_a_kind_stays(world) {
    let rows = [
        ("the only converted one", LEAD_CONVERTED, LEAD_NEW),
        ("the only junk", LEAD_JUNK, LEAD_NEW),
        ("the only won one", DEAL_WON, DEAL_NEW),
    ];
    for (what, stage, to) in rows {
        let done = stages::delete(&world.actions, &world.admin, delete(stage, to), world.now());
        world.refused(what, (Code::BadInput, "stageId"), done).await;
    }
    // The first open one goes where another open one follows.
    let lead = world.item(Lead, world.admin.user_id).await;
    let to_converted = stages::delete(&world.actions, &world.admin, delete(LEAD_NEW, LEAD_CONVERTED), world.now());
    world.refused("to converted", (Code::BadInput, "moveItemsToStageId"), to_converted).await;
    stages::delete(&world.actions, &world.admin, delete(LEAD_NEW, LEAD_JUNK), world.now()).await.unwrap();
    assert!(!world.get(lead).is_open);
    let last = stages::delete(&world.actions, &world.admin, delete(LEAD_IN_PROCESS, LEAD_JUNK), world.now());
    world.refused("the last open one", (Code::BadInput, "stageId"), last).await;
    let next = world.item(Lead, world.admin.user_id).await;
    assert_eq!(world.get(next).stage_id, Some(LEAD_IN_PROCESS));
}
}
