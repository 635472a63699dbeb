//! To-dos are completed, reopened and postponed (R33).

use crate::actions::world::{World, everything};
use mailroom::actions::activities::{complete, postpone, reopen};
use mailroom::model::activity::{Activity, ActivityState};
use mailroom::model::item::ItemKind::{Contact, Deal};
use mailroom::model::people::PermissionAction::{Read, Update};
use mailroom::model::people::PermissionLevel::{All, None as Nothing};
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{ActivityId, UserId};
use mailroom::store;

fn get(world: &World, id: ActivityId) -> Activity {
    world
        .store()
        .read_now(|conn| store::activities::get(conn, id))
        .unwrap()
        .unwrap()
}

on_both_databases! {
async fn r33_a_to_do_is_completed_and_reopened_and_every_item_tells(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    let (deal, contact) = (
        world.item(Deal, owner).await,
        world.item(Contact, owner).await,
    );
    let mailbox = world.mailbox(owner);
    let (_, id) = world.email(mailbox, &[deal, contact]);
    let me = world.viewer(owner);

    let now = world.now();
    complete(&world.actions, &me, id, now).await.unwrap();
    let done = get(&world, id);
    assert_eq!(
        (done.state, done.completed_at, done.completed_by),
        (ActivityState::Completed, Some(now), Some(owner))
    );
    assert_eq!(done.shown_time(), now, "R32");
    complete(&world.actions, &me, id, world.now())
        .await
        .unwrap();
    assert_eq!(get(&world, id).completed_at, Some(now), "completed once");

    // R31: while it was done, the deal went to another; once it is open again, it is theirs.
    let other = world.user("Nils New", None, None).await;
    let change = mailroom::actions::items::UpdateItem {
        responsible_id: mailroom::actions::change::Change::Set(other),
        ..mailroom::actions::items::UpdateItem::of(Deal, deal)
    };
    mailroom::actions::items::update(&world.actions, &world.admin, change, world.now())
        .await
        .unwrap();
    assert_eq!(get(&world, id).responsible_id, owner);
    reopen(&world.actions, &world.admin, id, world.now())
        .await
        .unwrap();
    let open = get(&world, id);
    assert_eq!(
        (
            open.state,
            open.completed_at,
            open.completed_by,
            open.responsible_id
        ),
        (ActivityState::Scheduled, None, None, other)
    );
    reopen(&world.actions, &world.admin, id, world.now())
        .await
        .unwrap();
    for item in [deal, contact] {
        let told: Vec<String> = world
            .told(item)
            .into_iter()
            .filter(|kind| kind.starts_with("ACTIVITY"))
            .collect();
        assert_eq!(told, ["ACTIVITY_COMPLETED", "ACTIVITY_REOPENED"]);
    }
}
}

on_both_databases! {
async fn r33_an_open_to_do_is_postponed_into_the_future(world) {
    let deal = world.item(Deal, world.admin.user_id).await;
    let mailbox = world.mailbox(world.admin.user_id);
    let (_, id) = world.email(mailbox, &[deal]);
    let now = world.now();
    let later = now.plus_seconds(3600);
    postpone(&world.actions, &world.admin, (id, later), now)
        .await
        .unwrap();
    assert_eq!(
        (get(&world, id).deadline, get(&world, id).version),
        (Some(later), 2)
    );
    let past = postpone(&world.actions, &world.admin, (id, now), world.now());
    world
        .refused("the past", (Code::BadInput, "deadline"), past)
        .await;
    complete(&world.actions, &world.admin, id, world.now())
        .await
        .unwrap();
    let done = postpone(&world.actions, &world.admin, (id, later), world.now());
    world
        .refused("a completed one", (Code::BadInput, "activityId"), done)
        .await;
}
}

on_both_databases! {
async fn r21_a_to_do_is_there_for_whoever_reads_every_item_of_its_email_and_may_change_one(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    let (deal, contact) = (
        world.item(Deal, owner).await,
        world.item(Contact, owner).await,
    );
    let mailbox = world.mailbox(owner);
    let (_, id) = world.email(mailbox, &[deal, contact]);
    let reads_both = [(Deal, Read, All), (Contact, Read, All)];
    let changes_one = world
        .user_with(
            "One",
            &[reads_both[0], reads_both[1], (Contact, Update, All)],
        )
        .await;
    let reads_only = world.user_with("Reader", &reads_both).await;
    let reads_one = world
        .user_with("Half", &[(Deal, Read, All), (Deal, Update, All)])
        .await;
    let nothing = world.user_with("Nothing", &everything(Nothing)).await;
    complete(&world.actions, &world.viewer(changes_one), id, world.now())
        .await
        .unwrap();
    let later = world.now().plus_seconds(3600);
    let rows: [(&str, UserId, ActivityId, (Code, &str)); 4] = [
        (
            "reads both, changes none",
            reads_only,
            id,
            (Code::Forbidden, "activityId"),
        ),
        (
            "reads one of two",
            reads_one,
            id,
            (Code::NotFound, "activityId"),
        ),
        ("reads nothing", nothing, id, (Code::NotFound, "activityId")),
        (
            "absent",
            changes_one,
            ActivityId(-1),
            (Code::NotFound, "activityId"),
        ),
    ];
    for (what, user, id, expected) in rows {
        let viewer = world.viewer(user);
        world
            .refused(
                what,
                expected,
                complete(&world.actions, &viewer, id, world.now()),
            )
            .await;
        world
            .refused(
                what,
                expected,
                reopen(&world.actions, &viewer, id, world.now()),
            )
            .await;
        world
            .refused(
                what,
                expected,
                postpone(&world.actions, &viewer, (id, later), world.now()),
            )
            .await;
    }
}
}
