//! Threads look to each user as the model says: those of which they see something, by what they see of each (R40, R21-R27).

use super::house::{House, type_name};
use super::model::{Id, World};
use super::reads;
use super::worlds::{self, LARGE, is_long};
use crate::support::app::On;
use serde_json::{Value as Json, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

const THREADS: &str = "query($filter: ThreadFilter, $cursor: Cursor, $first: Int) { threads(filter: $filter, first: $first, after: $cursor) {
    nodes { id messageCount unreadCount lastEmail { id } participants { address name } emails(first: 100) { nodes { id isRead } } }
    pageInfo { endCursor hasNextPage } totalCount { value } } }";

/// The emails of each thread that fit, the oldest first.
fn seen(
    world: &World,
    fits: impl Fn(Id) -> bool,
    order: &BTreeMap<Id, (i64, Id)>,
) -> BTreeMap<Id, Vec<Id>> {
    let mut found: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    for (id, email) in &world.emails {
        if fits(*id) {
            found.entry(email.thread).or_default().push(*id);
        }
    }
    for emails in found.values_mut() {
        emails.sort_by_key(|id| order[id]);
    }
    found
}

async fn compare(on: On, world: &World) -> Result<u64, String> {
    let house = House::with(on, world);
    let said = reads::statements(world);
    let done: Result<(), mailroom::store::StoreError> =
        house.store.write_now(super::house::now(), |tx| {
            for statement in said {
                mailroom::store::sql::sql(statement).run(tx.conn)?;
            }
            Ok(())
        });
    done.unwrap();
    let rows: Vec<(i64, i64)> = house.rows("SELECT id, received_at FROM emails");
    let order: BTreeMap<Id, (i64, Id)> = rows.into_iter().map(|(id, at)| (id, (at, id))).collect();
    let items: Vec<Id> = world.items.keys().copied().collect();
    let boxes: Vec<Id> = world.mailboxes.keys().copied().collect();
    let mut compared = 0;
    for user in world.users.keys() {
        let item = items[*user as usize % items.len()];
        let mailbox = boxes[*user as usize % boxes.len()];
        let item_id = house.id(type_name(world.items[&item].kind), item);
        let mailbox_id = house.id("Mailbox", mailbox);
        let whole = seen(world, |id| world.sees(*user, id), &order);
        let on_item = |id: Id| {
            world.sees(*user, id)
                && world.reads(*user, item)
                && world.emails[&id].links.contains(&item)
        };
        let in_box =
            |id: Id| world.has_mailbox(*user, mailbox) && world.emails[&id].mailbox == mailbox;
        let lists: [(Json, BTreeMap<Id, Vec<Id>>); 3] = [
            (json!(null), whole.clone()),
            (json!({ "itemId": item_id }), seen(world, on_item, &order)),
            (
                json!({ "mailboxId": mailbox_id }),
                seen(world, in_box, &order),
            ),
        ];
        for (filter, fitting) in lists {
            let mut wanted: Vec<Id> = fitting.keys().copied().collect();
            wanted.sort_by_key(|thread| std::cmp::Reverse(order[fitting[thread].last().unwrap()]));
            let (mut walked, mut cursor) = (Vec::new(), Json::Null);
            loop {
                let variables = json!({ "filter": filter, "cursor": cursor, "first": 7 });
                let answer = house.ask_much(*user, THREADS, variables).await;
                let page = &answer["data"]["threads"];
                if page.is_null() || page["totalCount"]["value"] != json!(wanted.len()) {
                    return Err(format!(
                        "user {user}, {filter}: {answer:#}, wanted {wanted:?}"
                    ));
                }
                for node in page["nodes"].as_array().unwrap() {
                    let thread = house.number(&node["id"]);
                    walked.push(thread);
                    check(&house, world, *user, node, whole.get(&thread))?;
                    compared += 1;
                }
                cursor = page["pageInfo"]["endCursor"].clone();
                if page["pageInfo"]["hasNextPage"] != json!(true) {
                    break;
                }
            }
            if walked != wanted {
                return Err(format!(
                    "user {user}, {filter}: {walked:?}, wanted {wanted:?}"
                ));
            }
        }
        for thread in world
            .emails
            .values()
            .map(|email| email.thread)
            .collect::<BTreeSet<Id>>()
        {
            let query = "query($id: ID!) { thread(id: $id) { id } }";
            let answer = house
                .ask_much(*user, query, json!({ "id": house.id("Thread", thread) }))
                .await;
            if answer["data"]["thread"].is_null() == whole.contains_key(&thread) {
                return Err(format!("user {user}, thread {thread}: {answer:#}"));
            }
        }
    }
    Ok(compared)
}

/// What a thread shows is of what the user sees of it alone.
fn check(
    house: &House,
    world: &World,
    user: Id,
    node: &Json,
    seen: Option<&Vec<Id>>,
) -> Result<(), String> {
    let Some(seen) = seen else {
        return Err(format!("user {user} sees nothing of {node:#}"));
    };
    let emails: Vec<Id> = node["emails"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|email| house.number(&email["id"]))
        .collect();
    let messages: BTreeSet<Id> = seen.iter().map(|id| world.emails[id].message).collect();
    let unread: BTreeSet<Id> = seen
        .iter()
        .map(|id| world.emails[id].message)
        .filter(|message| reads::is_unread(world, user, *message))
        .collect();
    let are_read = node["emails"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .all(|email| {
            let message = world.emails[&house.number(&email["id"])].message;
            email["isRead"] == json!(!unread.contains(&message))
        });
    let addresses: BTreeSet<String> = seen
        .iter()
        .flat_map(|id| {
            [
                super::house::client_address(*id),
                super::house::client_address(id + 1),
            ]
        })
        .collect();
    let people: Vec<String> = node["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["address"].as_str().unwrap().to_owned())
        .collect();
    let as_wanted = emails == *seen
        && are_read
        && node["messageCount"] == json!(messages.len())
        && node["unreadCount"] == json!(unread.len())
        && house.number(&node["lastEmail"]["id"]) == *seen.last().unwrap()
        && people.len() == addresses.len()
        && people.first() == Some(&super::house::client_address(seen[0]))
        && people.iter().cloned().collect::<BTreeSet<String>>() == addresses;
    if as_wanted {
        Ok(())
    } else {
        Err(format!(
            "user {user}: {node:#}, seen {seen:?}, unread {unread:?}, people {addresses:?}"
        ))
    }
}

fn compare_worlds(on: On, wanted: u64) {
    let compared = Cell::new(0_u64);
    let is_enough = || compared.get() >= wanted;
    worlds::for_all(&worlds::seeds(LARGE), is_enough, async |seeds| {
        compared.set(compared.get() + compare(on, &seeds.world()).await?);
        Ok(())
    });
    println!(
        "{} threads as users see them on {on:?}: 0 disagreements",
        compared.get()
    );
}

#[test]
fn r40_threads_look_as_the_model_says_on_sqlite() {
    compare_worlds(On::Sqlite, if is_long() { 20_000 } else { 1_000 });
}

#[test]
fn r40_threads_look_as_the_model_says_on_postgresql() {
    compare_worlds(On::Postgresql, if is_long() { 8_000 } else { 400 });
}
