//! What is written straight to JSON is what the resolvers say, byte for byte, for random worlds and random selections:
//! pages, and the events of streams.

use super::house::{ABSENT, House};
use super::model::{Item, Kind};
use super::worlds::{self, LARGE, is_long};
use crate::support::app::On;
use futures_util::StreamExt as _;
use proptest::prelude::*;
use serde_json::json;
use std::cell::Cell;

/// Fields that a selection is made of, some of which take more than a row.
const OF_ENTRIES: &[&str] = &[
    "__typename",
    "id",
    "at",
    "when: at",
    "item { id title }",
    "item { __typename ... on Deal { title again: id } ... on Lead { id } }",
    "item { id responsible { name } }",
    "actor { id name address timeZone avatarUrl isActive isAdministrator version __typename }",
    "actor { name ... { id } }",
    "who: actor { ...U }",
    "... on EmailReceived { email { ...E } }",
    "... on EmailReceived { email { id } email { subject from { name address } } }",
    "... on EmailSent { mail: email { ...E id } }",
    "... on EmailLinked { email { id } from { id } }",
    "... on EmailUnlinked { email { subject } to { title } }",
    "... on NoteAdded { text }",
    "... on Node { id }",
    "... on TimelineEntry { at actor { id } }",
    "... on StageChanged { from { name } to { name } }",
    "... on EmailReceived { email { to { address } } }",
];
const OF_EMAILS: &[&str] = &[
    "__typename",
    "id",
    "...E",
    "from { name }",
    "from { address __typename }",
    "direction outcome",
    "subject preview",
    "messageId receivedAt internalDate savedAt version",
    "first: subject second: subject",
    "... on Node { id }",
    "... on Email { subject }",
    "thread { id }",
    "to { address }",
    "mailbox { address }",
    "links { isPrimary }",
];
const FRAGMENTS: &[(&str, &str)] = &[
    (
        "...E",
        "fragment E on Email { __typename id direction outcome subject preview from { name address __typename } messageId \
         receivedAt internalDate savedAt version }",
    ),
    ("...U", "fragment U on User { __typename id name address }"),
];

/// How a list is asked for, around what is selected of its rows.
const AROUND: &[(&str, &str)] = &[
    ("nodes { ", " }"),
    ("edges { cursor node { ", " } }"),
    ("edges { node { ", " } __typename at: cursor }"),
    ("pageInfo { hasNextPage endCursor } rows: nodes { id ", " }"),
    // The same list twice under one name is one, with what is selected of both.
    ("nodes { id } nodes { ", " }"),
    ("edges { cursor } edges { node { ", " } }"),
    ("edges { one: node { id } two: node { ", " } }"),
];

fn selection(fields: &'static [&'static str]) -> impl Strategy<Value = String> {
    let fields = proptest::sample::subsequence(fields, 1..=5).prop_shuffle();
    (fields, proptest::sample::select(AROUND))
        .prop_map(|(fields, (front, back))| format!("{front}{}{back}", fields.join(" ")))
}

/// A query with the fragments that it uses.
fn with_fragments(mut query: String) -> String {
    for (spread, fragment) in FRAGMENTS {
        if query.contains(spread) {
            query.push_str(fragment);
        }
    }
    query
}

/// Asks the same both ways; whether anything was found.
async fn compare(house: &House, user: i64, query: &str, lead: Option<i64>) -> Result<bool, String> {
    let variables = json!({ "lead": house.id("Lead", lead.unwrap_or(ABSENT)) });
    let straight = house.bytes(Some(user), query, variables.clone()).await;
    let resolved = house.resolved(user, query, variables).await;
    // Errors are made by resolvers alone; behind the wall they have a request id.
    if straight.contains("\"errors\"") || resolved.contains("\"errors\"") {
        return if straight.contains("\"errors\"") == resolved.contains("\"errors\"") {
            Ok(false)
        } else {
            Err(format!("{query}\n{straight}\n{resolved}"))
        };
    }
    if straight == resolved {
        Ok(straight.contains("__typename"))
    } else {
        Err(format!(
            "{query}\nstraight: {straight}\nresolved: {resolved}"
        ))
    }
}

/// What a stream of everything tells of the user's second entry and those behind it, up to where it has caught up.
async fn events(house: &House, user: i64, entry: &str) -> Vec<String> {
    let first = house
        .data(
            user,
            "{ timeline(first: 1) { edges { cursor } } }",
            json!({}),
        )
        .await;
    let query = with_fragments(format!(
        "subscription($after: Cursor!) {{ timeline(after: $after) {{ __typename ... on EntryAdded {{ cursor {entry} }} }} }}"
    ));
    let after = &first["timeline"]["edges"][0]["cursor"];
    let mut told = Vec::new();
    if after.is_null() {
        return told;
    }
    let mut stream = house.watch(Some(user), &query, json!({ "after": after }));
    while let Some(event) = stream.next().await {
        let body = event.body;
        if body.contains("CaughtUp") || event.refused.is_some() {
            break;
        }
        told.push(body);
    }
    told
}

/// Follows the same both ways: an entry that is selected twice is made of values.
async fn compare_events(house: &House, user: i64, selected: &str) -> Result<usize, String> {
    let entry = format!("entry {{ {selected} }}");
    let straight = events(house, user, &entry).await;
    let resolved = events(house, user, &format!("{entry} {entry}")).await;
    let bare = |event: &String| !event.contains("\"errors\"");
    let (straight, resolved): (Vec<_>, Vec<_>) = (
        straight.into_iter().filter(bare).collect(),
        resolved.into_iter().filter(bare).collect(),
    );
    if straight == resolved {
        Ok(straight.len())
    } else {
        Err(format!(
            "{selected}\nstraight: {straight:#?}\nresolved: {resolved:#?}"
        ))
    }
}

fn compare_selections(on: On, wanted: u32) {
    let (compared, told) = (Cell::new(0_u32), Cell::new(0_u32));
    let followed = Cell::new(0_usize);
    let selections = proptest::collection::vec((selection(OF_ENTRIES), selection(OF_EMAILS)), 20);
    let seeds = (worlds::seeds(LARGE), selections);
    worlds::for_all(
        &seeds,
        || compared.get() >= wanted,
        async |(seeds, selections)| {
            let world = seeds.world();
            let house = House::with(on, &world);
            let mut users = world.users.keys().copied().cycle();
            let of_kind = |(id, item): (&i64, &Item)| (item.kind == Kind::Lead).then_some(*id);
            let leads: Vec<i64> = world.items.iter().filter_map(of_kind).collect();
            for (index, (entries, emails)) in selections.iter().enumerate() {
                let Some(user) = users.next() else { break };
                let lead = leads.get(index.checked_rem(leads.len()).unwrap_or(0));
                for query in [
                    format!("{{ timeline(last: 30) {{ {entries} }} }}"),
                    format!("{{ emails(first: 30) {{ {emails} }} }}"),
                    format!(
                        "query($lead: ID!) {{ lead(id: $lead) {{ timeline {{ {entries} }} emails {{ {emails} }} }} }}"
                    ),
                ] {
                    let query = with_fragments(query);
                    let found = compare(&house, user, &query, lead.copied()).await?;
                    compared.set(compared.get() + 1);
                    told.set(told.get() + u32::from(found));
                }
                let fields = OF_ENTRIES.iter().cycle().skip(index).step_by(3).take(4);
                let fields: Vec<&str> = fields.copied().collect();
                let found = compare_events(&house, user, &fields.join(" ")).await?;
                followed.set(followed.get() + found);
            }
            Ok(())
        },
    );
    println!(
        "{} questions on {on:?}, {} with something in the answer; {} events",
        compared.get(),
        told.get(),
        followed.get()
    );
    assert!(told.get() * 4 > compared.get(), "too little was found");
    assert!(followed.get() > 100, "too little was followed");
}

#[test]
fn what_is_written_straight_is_what_resolvers_say_on_sqlite() {
    compare_selections(On::Sqlite, if is_long() { 20_000 } else { 1_500 });
}

#[test]
fn what_is_written_straight_is_what_resolvers_say_on_postgresql() {
    compare_selections(On::Postgresql, if is_long() { 5_000 } else { 500 });
}
