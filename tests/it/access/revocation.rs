//! What is taken away is taken at once (F12, R29): while notes are written without pause, a right goes, and no stream
//! that depended on it sends a word of what was written after; its removal comes within a second.

use super::house::{BASE, House};
use super::model::{Action, Id, Item, Kind, Level, Role, User, World};
use super::worlds::is_long;
use crate::support::app::On;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use mailroom::graphql::api::ApiResponse;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SALES: Id = BASE + 1;
const ELSEWHERE: Id = BASE + 2;
const ADMIN: Id = BASE + 10;
const VIEWER: Id = BASE + 11;
const COLLEAGUE: Id = BASE + 12;
const ROLE: Id = BASE + 20;
/// The colleague's, which the viewer reads by the role, by the department, and as long as it is the colleague's.
const DEAL: Id = BASE + 30;
/// The viewer's own.
const OWN: Id = BASE + 31;

const PATIENCE: Duration = Duration::from_secs(20);

fn world() -> World {
    let mut world = World::default();
    world.departments = [(SALES, None), (ELSEWHERE, None)].into();
    let who = |department, is_administrator| User {
        department: Some(department),
        is_administrator,
    };
    world.users = [
        (ADMIN, who(ELSEWHERE, true)),
        (VIEWER, who(SALES, false)),
        (COLLEAGUE, who(SALES, false)),
    ]
    .into();
    world.roles = [(ROLE, Role::default())].into();
    world.held = [(VIEWER, ROLE)].into();
    let deal = |responsible| Item {
        kind: Kind::Deal,
        responsible,
        stage: Some(5),
        open: false,
    };
    world.items = [(DEAL, deal(COLLEAGUE)), (OWN, deal(VIEWER))].into();
    let role = world.roles.get_mut(&ROLE).unwrap();
    role.lines
        .insert((Kind::Deal, Action::Read, None), Level::OwnDepartment);
    world
}

/// How a right goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The role gives less.
    Role,
    /// The viewer goes to another department.
    Department,
    /// The colleague goes.
    Colleague,
    /// The item gets another responsible.
    Responsible,
    /// The item goes to a stage that the role excepts.
    Stage,
}

const WAYS: [Way; 5] = [
    Way::Role,
    Way::Department,
    Way::Colleague,
    Way::Responsible,
    Way::Stage,
];

async fn mutate(house: &House, mutation: &str, input: Json) {
    let mut input_type = mutation.to_owned();
    input_type[..1].make_ascii_uppercase();
    let query = format!(
        "mutation($input: {input_type}Input!) {{ answer: {mutation}(input: $input) {{ userErrors {{ code }} }} }}"
    );
    let data = house.data(ADMIN, &query, json!({ "input": input })).await;
    assert_eq!(data["answer"]["userErrors"], json!([]), "{mutation}");
}

/// Takes the right (or gives it back).
async fn turn(house: &House, way: Way, takes: bool) {
    let user = |id| house.id("User", id);
    let department = |away: bool| house.id("Department", if away { ELSEWHERE } else { SALES });
    let deal = house.id("Deal", DEAL);
    match way {
        Way::Role => {
            let level = if takes { "OWN" } else { "OWN_DEPARTMENT" };
            let lines = json!([
                { "item": "DEAL", "action": "READ", "level": level },
                { "item": "DEAL", "action": "READ", "level": "OWN", "stageId": house.id("Stage", 6) },
            ]);
            mutate(
                house,
                "updateRole",
                json!({ "roleId": house.id("Role", ROLE), "permissions": lines }),
            )
            .await;
        }
        Way::Department => {
            mutate(
                house,
                "updateUser",
                json!({ "userId": user(VIEWER), "departmentId": department(takes) }),
            )
            .await
        }
        Way::Colleague => {
            mutate(
                house,
                "updateUser",
                json!({ "userId": user(COLLEAGUE), "departmentId": department(takes) }),
            )
            .await
        }
        Way::Responsible => {
            let to = if takes { ADMIN } else { COLLEAGUE };
            mutate(
                house,
                "updateDeal",
                json!({ "dealId": deal, "responsibleId": user(to) }),
            )
            .await;
        }
        Way::Stage => {
            let stage = house.id("Stage", if takes { 6 } else { 5 });
            mutate(
                house,
                "updateDeal",
                json!({ "dealId": deal, "stageId": stage }),
            )
            .await;
        }
    }
}

/// A stream, and when each of its events came.
struct Watched(BoxStream<'static, ApiResponse>);

impl Watched {
    async fn open(house: &House, item: Option<Id>) -> Self {
        let query = "subscription($item: ID) { timeline(itemId: $item) { __typename ... on EntryAdded { entry { id item { id } } } ... on ItemRemoved { itemId } } }";
        let item = item.map(|item| house.id("Deal", item));
        let mut watched = Self(house.watch(Some(VIEWER), query, json!({ "item": item })));
        let first = watched.next().await.expect("a first event");
        assert_eq!(first["__typename"], json!("CaughtUp"));
        watched
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Json> {
        let next = tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .expect("an event");
        next.map(|event| {
            let answer: Json = serde_json::from_str(&event.body).unwrap();
            assert!(answer.get("errors").is_none(), "{answer}");
            answer["data"]["timeline"].clone()
        })
    }
}

async fn note(house: &House, item: Id, text: &str) {
    mutate(
        house,
        "addNote",
        json!({ "itemId": house.id("Deal", item), "text": text }),
    )
    .await;
}

/// One revocation on streams that are busy; how long after its answer the last of them knew.
async fn revoke(house: &Arc<House>, way: Way) -> Duration {
    let mut everything = Watched::open(house, None).await;
    let mut deal = Watched::open(house, Some(DEAL)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (house, stop) = (house.clone(), stop.clone());
        async move {
            let mut written = 0;
            // One more than those that are waited for: it comes after the right has gone.
            while written <= 3 || !stop.load(Ordering::Relaxed) {
                note(&house, DEAL, &format!("Note {written}")).await;
                written += 1;
            }
        }
    });
    // Some of them are on their way before the right goes.
    for _ in 0..3 {
        assert_eq!(
            deal.next().await.unwrap()["__typename"],
            json!("EntryAdded")
        );
    }
    turn(house, way, true).await;
    let answered = Instant::now();
    let changed: Vec<Id> = house.rows("SELECT MAX(position) FROM timeline_changes");
    let changed = changed[0];
    let check = |event: &Json| {
        if event["__typename"] != json!("EntryAdded")
            || house.number(&event["entry"]["item"]["id"]) != DEAL
        {
            return;
        }
        let position = house.number(&event["entry"]["id"]);
        assert!(
            position < changed,
            "{way:?}: an entry that was written after the right had gone"
        );
        assert!(
            answered.elapsed() < Duration::from_secs(1),
            "{way:?}: an event too late"
        );
    };
    // The item's own stream ends with its removal.
    loop {
        let event = deal.next().await.expect("a removal before the end");
        if event["__typename"] == json!("ItemRemoved") {
            break;
        }
        check(&event);
    }
    let mut knew = answered.elapsed();
    assert!(
        deal.next().await.is_none(),
        "{way:?}: an event after the item's removal"
    );
    // The stream of everything says that the item is gone (or that there is a gap), and goes on with what is left.
    loop {
        let event = everything.next().await.expect("the stream goes on");
        if [json!("ItemRemoved"), json!("Gap")].contains(&event["__typename"]) {
            break;
        }
        check(&event);
    }
    knew = knew.max(answered.elapsed());
    note(house, OWN, "A mark").await;
    loop {
        let event = everything.next().await.expect("the mark");
        check(&event);
        if event["__typename"] == json!("EntryAdded")
            && house.number(&event["entry"]["item"]["id"]) == OWN
        {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    turn(house, way, false).await;
    knew
}

async fn run(on: On, rounds: usize) {
    let house = Arc::new(House::with(on, &world()));
    turn(&house, Way::Role, false).await;
    let mut took = Vec::new();
    for round in 0..rounds {
        took.push(revoke(&house, WAYS[round % WAYS.len()]).await);
    }
    took.sort_unstable();
    let (median, last) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{rounds} revocations on {on:?}: no event after; known after {median:?} (median), {last:?} at most"
    );
    assert!(
        last < Duration::from_secs(1),
        "a stream knew only after {last:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r29_no_stream_tells_of_what_was_taken_away_on_sqlite() {
    run(On::Sqlite, if is_long() { 750 } else { 25 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r29_no_stream_tells_of_what_was_taken_away_on_postgresql() {
    run(On::Postgresql, if is_long() { 250 } else { 10 }).await;
}
