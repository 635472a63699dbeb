//! The same key and input give the same result; the answer is resolved anew.

use crate::actions::world::{new_item, new_user};
use mailroom::actions::items::{self, CreateItem};
use mailroom::actions::{notes, people};
use mailroom::model::item::ItemKind::{Deal, Lead};
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{Time, UserId};

const DAY: i64 = 24 * 60 * 60;

on_both_databases! {
async fn a_key_makes_a_change_once(world) {
    let other = world.user("Olga Other", None, None).await;
    let other = world.viewer(other);
    let key = || Some("2f1c7b1e-8f5e-4a39-9c55-6f1f0f3f2d11".to_owned());
    let make = |viewer, input, key, now| items::create(&world.actions, viewer, input, key, now);
    let first = make(&world.admin, new_item(Lead), key(), world.now())
        .await
        .unwrap();
    let before = world.dump();
    let again = make(&world.admin, new_item(Lead), key(), world.now())
        .await
        .unwrap();
    assert_eq!(
        (first, &before),
        (again, &world.dump()),
        "nothing is written the second time"
    );

    let changed = CreateItem {
        title: Some("Another".into()),
        ..new_item(Lead)
    };
    let done = make(&world.admin, changed, key(), world.now());
    world
        .refused(
            "another input",
            (Code::IdempotencyKeyReused, "idempotencyKey"),
            done,
        )
        .await;
    // Another user's key, another mutation's key and no key are none of it.
    let rows = [
        (
            "another user",
            make(&other, new_item(Lead), key(), world.now()).await,
        ),
        (
            "another mutation",
            make(&world.admin, new_item(Deal), key(), world.now()).await,
        ),
        (
            "no key",
            make(&world.admin, new_item(Lead), None, world.now()).await,
        ),
    ];
    for (what, made) in rows {
        assert_ne!(made.unwrap(), first, "{what}");
    }
    for (what, bad) in [("empty", String::new()), ("endless", "x".repeat(201))] {
        let done = make(&world.admin, new_item(Lead), Some(bad), world.now());
        world
            .refused(what, (Code::BadInput, "idempotencyKey"), done)
            .await;
    }
    let later = world.now().plus_seconds(DAY + 60);
    let made = make(&world.admin, new_item(Lead), key(), later)
        .await
        .unwrap();
    assert_ne!(made, first, "after a day the key is forgotten");
}
}

on_both_databases! {
async fn a_refused_change_uses_no_key_up(world) {
    let make = |input, now: Time| {
        items::create(&world.actions, &world.admin, input, Some("k".into()), now)
    };
    let refused = CreateItem {
        responsible_id: Some(UserId(-1)),
        ..new_item(Lead)
    };
    world
        .refused(
            "refused",
            (Code::NotFound, "responsibleId"),
            make(refused, world.now()),
        )
        .await;
    make(new_item(Lead), world.now()).await.unwrap();
}
}

on_both_databases! {
async fn a_note_and_a_user_are_made_once(world) {
    let deal = world.item(Deal, world.admin.user_id).await;
    let note = |now| {
        notes::add(
            &world.actions,
            &world.admin,
            (deal, "Called".to_owned()),
            Some("n".into()),
            now,
        )
    };
    let first = note(world.now()).await.unwrap();
    assert_eq!(note(world.now()).await.unwrap(), first);
    assert_eq!(world.told(deal), ["ITEM_CREATED", "NOTE_ADDED"]);

    let input = || people::CreateUser {
        password: Some("correct horse".into()),
        ..new_user("Eve Employee", None, None)
    };
    let user =
        |now| people::create_user(&world.actions, &world.admin, input(), Some("u".into()), now);
    let first = user(world.now()).await.unwrap();
    assert_eq!(user(world.now()).await.unwrap(), first);
}
}
