//! Screens (R29, R38): whoever watches a timeline, an item's or everything, sees after every change what the model says,
//! whether they watched all the time or came back with their last cursor. And nothing that they may no longer see
//! is sent to them once the change that took it has been answered (F12).

use super::house::{House, type_name};
use super::model::{Id, World};
use super::steps::{Seed, State};
use super::worlds::{self, SMALL, is_long};
use crate::support::app::On;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use mailroom::graphql::api::ApiResponse;
use mailroom::store::page::KeyPart;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longer than any event takes to come, on a slow machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

const QUERY: &str = "subscription($item: ID, $after: Cursor) { timeline(itemId: $item, after: $after) { __typename
    ... on EntryAdded { cursor entry { id item { id } } } ... on EntryRemoved { cursor entryId } ... on ItemRemoved { cursor itemId }
    ... on CaughtUp { cursor } ... on Gap { cursor } } }";

/// What a client shows of a timeline.
struct Screen {
    user: Id,
    item: Option<Id>,
    /// Entries with their items.
    entries: BTreeMap<Id, Id>,
    cursor: String,
    events: BoxStream<'static, ApiResponse>,
    /// The stream has ended: its item is out of view.
    is_over: bool,
    told: u64,
}

/// The entries that the user sees on this timeline.
fn wanted(world: &World, user: Id, item: Option<Id>) -> BTreeMap<Id, Id> {
    let all = world.entries.iter();
    all.filter(|(_, entry)| item.is_none_or(|item| entry.item == item))
        .filter(|(at, _)| world.sees_entry(user, **at))
        .map(|(at, entry)| (*at, entry.item))
        .collect()
}

fn position_of(house: &House, user: Id, item: Option<Id>, cursor: &str) -> Id {
    let item = item.map(mailroom::model::ItemId);
    let list = format!("{user}/timeline/{item:?}");
    match house.store.codec().open_cursor(&list, cursor).as_deref() {
        Some([KeyPart::Number(position)]) => *position,
        _ => panic!("no cursor of {list}: {cursor}"),
    }
}

impl Screen {
    /// A screen filled by the list, then kept by a stream from there on.
    async fn open(state: &State, user: Id, item: Option<Id>) -> Self {
        let world = &state.world;
        let mut screen = Self {
            user,
            item,
            entries: wanted(world, user, item),
            cursor: String::new(),
            events: futures_util::stream::empty().boxed(),
            is_over: item.is_some_and(|item| !world.reads(user, item)),
            told: 0,
        };
        if !screen.is_over {
            screen.cursor = screen.live_cursor(state).await;
            screen.watch(state);
        }
        screen
    }

    fn item_id(&self, state: &State) -> Option<String> {
        let item = self.item?;
        Some(
            state
                .house
                .id(type_name(state.world.items[&item].kind), item),
        )
    }

    async fn live_cursor(&self, state: &State) -> String {
        let (query, variables) = match self.item_id(state) {
            None => ("{ timeline(last: 1) { liveCursor } }", json!({})),
            Some(id) => (
                "query($id: ID!) { node(id: $id) { ... on Item { timeline(last: 1) { liveCursor } } } }",
                json!({ "id": id }),
            ),
        };
        let data = state.house.data(self.user, query, variables).await;
        let timeline = if self.item.is_some() {
            &data["node"]["timeline"]
        } else {
            &data["timeline"]
        };
        timeline["liveCursor"]
            .as_str()
            .expect("a cursor")
            .to_owned()
    }

    fn watch(&mut self, state: &State) {
        let variables = json!({ "item": self.item_id(state), "after": self.cursor });
        self.events = state.house.watch(Some(self.user), QUERY, variables);
    }

    async fn next(&mut self) -> Result<Option<Json>, String> {
        let next = tokio::time::timeout(PATIENCE, self.events.next());
        let Ok(next) = next.await else {
            return Err(format!(
                "user {}, {:?}: no event came",
                self.user, self.item
            ));
        };
        Ok(next.map(|event| serde_json::from_str(&event.body).unwrap()))
    }

    /// Shows one event; whether it was `CaughtUp`.
    fn show(&mut self, house: &House, world: &World, answer: &Json) -> Result<bool, String> {
        let event = &answer["data"]["timeline"];
        let fault = |what: &str| {
            Err(format!(
                "user {}, {:?}: {what}: {answer}",
                self.user, self.item
            ))
        };
        self.told += 1;
        let before = self.cursor.clone();
        if let Some(cursor) = event["cursor"].as_str() {
            self.cursor = cursor.to_owned();
            if position_of(house, self.user, self.item, &self.cursor)
                < position_of(house, self.user, self.item, &before)
            {
                return fault("its cursor lies before the last one");
            }
        }
        match event["__typename"].as_str() {
            Some("EntryAdded") => {
                let (entry, item) = (
                    house.number(&event["entry"]["id"]),
                    house.number(&event["entry"]["item"]["id"]),
                );
                if self.entries.insert(entry, item).is_some() {
                    return fault("an entry came twice");
                }
            }
            Some("EntryRemoved") => {
                if self
                    .entries
                    .remove(&house.number(&event["entryId"]))
                    .is_none()
                {
                    return fault("an entry was removed that was not there");
                }
            }
            Some("ItemRemoved") => {
                let item = house.number(&event["itemId"]);
                let kind = world.items.get(&item).map(|item| type_name(item.kind));
                if event["itemId"].as_str().and_then(|id| id.split('_').next()) != kind {
                    return fault("an item was removed under another name");
                }
                self.entries.retain(|_, of| *of != item);
                self.is_over = self.item == Some(item);
            }
            // The list is read again.
            Some("Gap") => self.entries = wanted(world, self.user, self.item),
            Some("CaughtUp") => return Ok(true),
            _ => return fault("what is this"),
        }
        Ok(false)
    }

    /// A stream begins when it is first looked at; nothing has changed since the list was read.
    async fn begin(&mut self, state: &State) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        match self.next().await? {
            Some(event) if self.show(&state.house, &state.world, &event)? => Ok(()),
            event => Err(format!(
                "user {}, {:?}: began with {event:?}",
                self.user, self.item
            )),
        }
    }

    /// Follows the open stream until the screen is what it must be.
    async fn follow(&mut self, state: &State) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        let must = wanted(&state.world, self.user, self.item);
        let ends = self
            .item
            .is_some_and(|item| !state.world.reads(self.user, item));
        while !self.is_over && (self.entries != must || ends) {
            match self.next().await {
                Ok(Some(event)) => drop(self.show(&state.house, &state.world, &event)?),
                Ok(None) => {
                    return Err(format!(
                        "user {}, {:?}: the stream ended",
                        self.user, self.item
                    ));
                }
                Err(fault) => return Err(format!("{fault}; {}", self.difference(&must))),
            }
        }
        self.ended(state).await
    }

    /// Leaves, and comes back with the last cursor: the backlog up to `CaughtUp` makes the screen what it must be.
    async fn come_back(&mut self, state: &State) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        let must = wanted(&state.world, self.user, self.item);
        let is_hidden = self
            .item
            .is_some_and(|item| !state.world.reads(self.user, item));
        self.watch(state);
        loop {
            let Some(event) = self.next().await? else {
                return Err(format!("user {}, {:?}: no backlog", self.user, self.item));
            };
            if is_hidden {
                // As for an item that never was.
                self.is_over = true;
                self.entries.clear();
                let code = &event["errors"][0]["extensions"]["code"];
                let refused = *code == json!("NOT_FOUND");
                return if refused {
                    Ok(())
                } else {
                    Err(format!("a hidden item's stream: {event}"))
                };
            }
            if self.show(&state.house, &state.world, &event)? {
                break;
            }
        }
        if self.entries == must {
            Ok(())
        } else {
            Err(format!(
                "user {}, {:?}, back again: {}",
                self.user,
                self.item,
                self.difference(&must)
            ))
        }
    }

    async fn ended(&mut self, state: &State) -> Result<(), String> {
        let must = wanted(&state.world, self.user, self.item);
        if self.entries != must {
            return Err(format!(
                "user {}, {:?}: {}",
                self.user,
                self.item,
                self.difference(&must)
            ));
        }
        // What becomes readable again later is nothing to a stream that has ended.
        if self.is_over && self.next().await?.is_some() {
            return Err(format!(
                "user {}, {:?}: an event after the end",
                self.user, self.item
            ));
        }
        Ok(())
    }

    fn difference(&self, must: &BTreeMap<Id, Id>) -> String {
        let (found, must): (BTreeSet<Id>, BTreeSet<Id>) = (
            self.entries.keys().copied().collect(),
            must.keys().copied().collect(),
        );
        let more: Vec<_> = found.difference(&must).collect();
        let less: Vec<_> = must.difference(&found).collect();
        format!("on the screen but hidden {more:?}, visible but not there {less:?}")
    }
}

/// Screens of some users: everything, and an item that they read.
async fn screens(state: &State) -> Vec<Screen> {
    let mut all = Vec::new();
    for user in state.world.users.keys().copied() {
        all.push(Screen::open(state, user, None).await);
        let mut items = state.world.items.keys().copied();
        let nth = (user as usize) % state.world.items.len();
        if let Some(item) = items.nth(nth) {
            all.push(Screen::open(state, user, Some(item)).await);
        }
    }
    all
}

/// Watches sequences of changes until so many events were told.
fn run(on: On, wanted_events: u64) {
    let steps = (worlds::seeds(SMALL), vec(vec(any::<Seed>(), 1..4), 1..25));
    let (told, changes) = (Cell::new(0_u64), Cell::new(0_u64));
    let is_enough = || told.get() >= wanted_events;
    worlds::for_all(&steps, is_enough, async |(seeds, batches)| {
        let mut state = State::open(on, &seeds);
        let mut open = screens(&state).await;
        for screen in &mut open {
            screen.begin(&state).await?;
        }
        let mut coming_back = screens(&state).await;
        for batch in &batches {
            // Several changes between two looks, now and then.
            for seed in batch {
                changes.set(changes.get() + u64::from(state.step(*seed).await?));
            }
            for screen in &mut open {
                screen.follow(&state).await?;
            }
            for screen in &mut coming_back {
                screen.come_back(&state).await?;
            }
        }
        told.set(
            told.get()
                + open
                    .iter()
                    .chain(&coming_back)
                    .map(|screen| screen.told)
                    .sum::<u64>(),
        );
        Ok(())
    });
    println!(
        "{} events of {} changes on {on:?}: every screen as the model says",
        told.get(),
        changes.get()
    );
}

#[test]
fn r29_a_screen_shows_what_the_model_says_after_every_change_on_sqlite() {
    run(On::Sqlite, if is_long() { 60_000 } else { 2_000 });
}

#[test]
fn r29_a_screen_shows_what_the_model_says_after_every_change_on_postgresql() {
    run(On::Postgresql, if is_long() { 20_000 } else { 800 });
}
