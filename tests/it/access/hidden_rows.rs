//! Hidden is absent (R27): for every user of a random world the same question with and without all that is hidden from
//! them in the database has the same answer, byte for byte: each query, filter, order, page, count, error and stream.
//!
//! The two databases share their keys, ids, positions and clock, so that equal rows have equal ids and cursors.

use super::house::{House, attachment_of, folder_of, type_name};
use super::model::{About, Id, Kind, World};
use super::searching;
use super::worlds::{self, SMALL, Size, is_long};
use crate::support::app::On;
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};
use std::cell::Cell;
use std::collections::BTreeSet;

/// The world as it would be if what is hidden from this user were not there.
///
/// What shows on something visible stays: an email of a mailbox of theirs says that it is saved, wherever; one that
/// hangs on something readable and something hidden is not seen in the CRM because of the hidden one; that an email was
/// linked shows where its item is readable. So such emails and their items stay, hidden as they are.
fn without_hidden(world: &World, user: Id) -> World {
    let mut less = world.clone();
    let seen_entries = |world: &World| -> BTreeSet<Id> {
        let all = world.entries.keys().copied();
        all.filter(|at| world.sees_entry(user, *at)).collect()
    };
    let entries = seen_entries(world);
    less.entries.retain(|at, _| entries.contains(at));
    let told_of: BTreeSet<Id> = less
        .entries
        .values()
        .filter_map(|entry| match entry.about {
            About::Link(email, _) => Some(email),
            _ => None,
        })
        .collect();
    less.emails
        .retain(|id, _| world.sees(user, *id) || told_of.contains(id));
    let holds: BTreeSet<Id> = less
        .emails
        .values()
        .flat_map(|email| email.links.iter().copied())
        .collect();
    less.items
        .retain(|id, _| world.reads(user, *id) || holds.contains(id));
    let there = |id: &Id| less.items.contains_key(id);
    let there_of = |id: Option<Id>| id.filter(|id| there(id) && world.reads(user, *id));
    for email in less.emails.values_mut() {
        email.links.retain(|item| there(item));
        email.primary = email.primary.filter(|item| there(item));
    }
    less.deal_contacts
        .retain(|(deal, contact)| there(deal) && there(contact));
    less.conversions.retain(|lead, _| there(lead));
    for made in less.conversions.values_mut() {
        // A tie that binds stays, whoever sees it.
        made.deal = made.deal.filter(there);
        made.contact = there_of(made.contact);
    }
    less.origins.retain(|deal, lead| there(deal) && there(lead));
    less.changes.retain(|id, _| world.sees_change(user, *id));
    for change in less.changes.values_mut() {
        (change.from, change.to) = (there_of(change.from), there_of(change.to));
    }
    for entry in less.entries.values_mut() {
        if let About::Link(email, other) = entry.about {
            entry.about = About::Link(email, there_of(other));
        }
    }
    let messages: BTreeSet<Id> = less.emails.values().map(|email| email.message).collect();
    less.activities
        .retain(|_, message| messages.contains(message));
    let mailboxes: BTreeSet<Id> = less.emails.values().map(|email| email.mailbox).collect();
    less.mailboxes
        .retain(|id, _| world.lists_mailbox(user, *id) || mailboxes.contains(id));
    less
}

const ENTRY: &str = "__typename id at item { id title } actor { id } ... on EmailReceived { email { id subject } } ... on EmailSent { email { id } }
    ... on EmailLinked { linked: email { id } from { id } } ... on EmailUnlinked { linked: email { id } to { id } }
    ... on ActivityCompleted { activity { id email { id } items { id } } } ... on LeadConverted { conversion { at deal { id } contact { id } } }
    ... on NoteAdded { text }";
const EMAIL: &str = "id subject version outcome receivedAt savedAt mailbox { id address } responsible { id } activity { id state responsible { id } email { id } items { id } }
    links { item { id title } isPrimary linkedAt canMove { allowed reason } } linkHistory { id at from { id } to { id } } canRelink { allowed reason }
    routingTrace { reason } attachments { id url } rawUrl thread { id subject emails(first: 9) { nodes { id } totalCount { value } } }";
const ITEM: &str = "id title version isOpen openToEveryone createdAt responsible { id } viewerCan { read update delete export }
    timeline(last: 9) { nodes { id } totalCount { value } pageInfo { hasPreviousPage startCursor } liveCursor }
    emails(first: 5) { nodes { id } totalCount { value isExact } pageInfo { hasNextPage endCursor } }
    activities(first: 5) { nodes { id state } totalCount { value } }";
const PAGE: &str =
    "pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount { value isExact }";

const FOUND: &str = "found { __typename ... on Email { id } ... on Lead { id } ... on Deal { id } ... on Contact { id } }";

/// The questions of one user; ids of what is hidden and of what is not stand in them alike.
fn questions(house: &House, world: &World, user: Id) -> Vec<(String, Json)> {
    let mut all = Vec::new();
    let mut ask = |query: String, variables: Json| all.push((query, variables));
    for list in ["leads", "deals", "contacts"] {
        for field in ["CREATED_AT", "LAST_ACTIVITY_AT", "TITLE"] {
            for (direction, take) in [("ASC", "first: 5"), ("DESC", "last: 4")] {
                ask(
                    format!(
                        "{{ {list}(orderBy: {{ field: {field}, direction: {direction} }}, {take}) {{ edges {{ cursor node {{ {ITEM} }} }} {PAGE} }} }}"
                    ),
                    json!({}),
                );
            }
        }
        ask(
            format!(
                "{{ {list}(filter: {{ text: \"alpha\" }}, first: 9) {{ nodes {{ id }} {PAGE} }} }}"
            ),
            json!({}),
        );
    }
    for address in [
        "client1@client.example",
        "client2@client.example",
        "nobody@client.example",
    ] {
        for list in ["leads", "contacts"] {
            ask(
                format!(
                    "query($a: String) {{ {list}(filter: {{ address: $a }}) {{ nodes {{ id }} {PAGE} }} }}"
                ),
                json!({ "a": address }),
            );
        }
        ask(
            format!(
                "query($a: String) {{ emails(filter: {{ from: $a }}) {{ nodes {{ id }} {PAGE} }} }}"
            ),
            json!({ "a": address }),
        );
    }
    for query in [
        "alpha or beta",
        "subject note*",
        "-client2 pdf or in:deal",
        "from:client1 has:attachment",
        "client3@client.example",
    ] {
        ask(
            format!(
                "query($q: String!) {{ search(query: $q, first: 6) {{ edges {{ cursor node {{ {FOUND} snippets {{ zone parts {{ text isHit }} }} }} }} {PAGE} }} }}"
            ),
            json!({ "q": query }),
        );
        ask(
            "query($q: String!) { search(query: $q) { facets { kinds { kind count } mailboxes { mailbox { id } count } senders { address count } months { month count } } } }".to_owned(),
            json!({ "q": query }),
        );
    }
    for take in ["first: 6", "last: 6"] {
        ask(
            format!("{{ emails({take}) {{ edges {{ cursor node {{ {EMAIL} }} }} {PAGE} }} }}"),
            json!({}),
        );
        ask(
            format!(
                "{{ timeline({take}) {{ edges {{ cursor node {{ {ENTRY} }} }} {PAGE} liveCursor }} }}"
            ),
            json!({}),
        );
        ask(
            format!(
                "{{ mailboxes({take}) {{ nodes {{ id address settings {{ version }} emails(first: 5) {{ nodes {{ id }} {PAGE} }} }} {PAGE} }} }}"
            ),
            json!({}),
        );
    }
    ask(
        format!(
            "{{ timeline(kinds: [EMAIL_RECEIVED, EMAIL_SENT], first: 9) {{ nodes {{ id }} {PAGE} }} }}"
        ),
        json!({}),
    );
    ask(
        format!(
            "{{ users(first: 9) {{ nodes {{ id name }} {PAGE} }} departments {{ id }} roles {{ id }} leadStages {{ id }} crmSettings {{ version }} }}"
        ),
        json!({}),
    );
    for (id, item) in &world.items {
        let field = ["lead", "deal", "contact"][item.kind as usize];
        let more = match item.kind {
            Kind::Lead => "addresses { address } conversion { deal { id } contact { id } }",
            Kind::Deal => "amount { amount } contacts { id } originLead { id }",
            Kind::Contact => "addresses { address } phones",
        };
        let id = house.id(type_name(item.kind), *id);
        ask(
            format!(
                "query($id: ID!) {{ {field}(id: $id) {{ {ITEM} {more} }} node(id: $id) {{ id }} }}"
            ),
            json!({ "id": id }),
        );
        ask(
            format!(
                "query($id: ID!) {{ emails(filter: {{ itemId: $id }}) {{ nodes {{ id }} {PAGE} }} deals(filter: {{ contactId: $id }}) {{ nodes {{ id }} {PAGE} }} }}"
            ),
            json!({ "id": id }),
        );
    }
    for (id, email) in &world.emails {
        let (id, thread) = (house.id("Email", *id), house.id("Thread", email.thread));
        ask(
            format!("query($id: ID!) {{ email(id: $id) {{ {EMAIL} }} }}"),
            json!({ "id": id }),
        );
        ask(
            format!(
                "query($id: ID) {{ emails(filter: {{ threadId: $id }}) {{ nodes {{ id }} {PAGE} }} }}"
            ),
            json!({ "id": thread }),
        );
    }
    let threads: BTreeSet<Id> = world.emails.values().map(|email| email.thread).collect();
    let named: Vec<(&str, Id)> = (world.activities.keys().map(|id| ("Activity", *id)))
        .chain(world.changes.keys().map(|id| ("LinkChange", *id)))
        .chain(world.entries.keys().map(|id| ("TimelineEntry", *id)))
        .chain(threads.into_iter().map(|id| ("Thread", id)))
        .chain(
            world
                .mailboxes
                .keys()
                .flat_map(|id| [("Mailbox", *id), ("Folder", folder_of(*id))]),
        )
        .chain(
            world
                .emails
                .keys()
                .map(|id| ("Attachment", attachment_of(*id))),
        )
        .collect();
    for part in named.chunks(60) {
        let ids: Vec<String> = part.iter().map(|(name, id)| house.id(name, *id)).collect();
        ask(
            "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Activity { state responsible { id } items { id } email { id } }
             ... on LinkChange { at from { id } to { id } } ... on Thread { subject emails(first: 3) { nodes { id } totalCount { value } } } } }"
                .to_owned(),
            json!({ "ids": ids }),
        );
    }
    refusals(house, world, user, &mut all);
    all
}

/// Mutations that name hidden things, which must be refused as if those were absent.
fn refusals(house: &House, world: &World, user: Id, all: &mut Vec<(String, Json)>) {
    let own_email = world
        .emails
        .keys()
        .copied()
        .find(|id| world.sees(user, *id));
    for (id, item) in world
        .items
        .iter()
        .filter(|(id, _)| !world.reads(user, **id))
    {
        let id = house.id(type_name(item.kind), *id);
        let (mutation, field) = [
            ("updateLead", "leadId"),
            ("updateDeal", "dealId"),
            ("updateContact", "contactId"),
        ][item.kind as usize];
        let kind = ["Lead", "Deal", "Contact"][item.kind as usize];
        let payload = "userErrors { code message field } }";
        all.push((
            format!("mutation($id: ID!) {{ {mutation}(input: {{ {field}: $id }}) {{ {} {{ id }} {payload} addNote(input: {{ itemId: $id, text: \"x\" }}) {{ {payload} }}", kind.to_lowercase()),
            json!({ "id": id }),
        ));
        if let Some(email) = own_email {
            all.push((
                format!("mutation($id: ID!, $email: ID!) {{ linkEmail(input: {{ emailId: $email, toItemId: $id }}) {{ {payload} unlinkEmail(input: {{ emailId: $email, fromItemId: $id }}) {{ {payload}
                  saveEmail(input: {{ emailId: $email, target: {{ itemId: $id }} }}) {{ {payload} }}"),
                json!({ "id": id, "email": house.id("Email", email) }),
            ));
        }
    }
    for id in world
        .activities
        .keys()
        .filter(|id| world.changes_activity(user, **id) == Err("NOT_FOUND"))
    {
        all.push((
            "mutation($id: ID!) { completeActivity(input: { activityId: $id }) { activity { id } userErrors { code message field } } }".to_owned(),
            json!({ "id": house.id("Activity", *id) }),
        ));
    }
    for id in world
        .changes
        .keys()
        .filter(|id| !world.sees_change(user, **id))
    {
        all.push((
            "mutation($id: ID!) { undoRelink(input: { changeId: $id }) { email { id } userErrors { code message field } } }".to_owned(),
            json!({ "id": house.id("LinkChange", *id) }),
        ));
    }
}

/// The whole backlog of a subscription, from the first position there is up to `CaughtUp`.
async fn backlog(house: &House, user: Id, from: &str, item: Option<String>) -> Vec<String> {
    let query = format!(
        "subscription($item: ID, $after: Cursor) {{ timeline(itemId: $item, after: $after) {{ __typename ... on EntryAdded {{ cursor entry {{ {ENTRY} }} }}
         ... on EntryRemoved {{ entryId cursor }} ... on ItemRemoved {{ itemId cursor }} ... on CaughtUp {{ cursor }} ... on Gap {{ cursor }} }} }}"
    );
    let mut events = house.watch(Some(user), &query, json!({ "item": item, "after": from }));
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        let is_last = event.body.contains("CaughtUp") || event.is_request_error();
        all.push(event.body);
        if is_last {
            break;
        }
    }
    all
}

/// Two texts from shortly before where they begin to differ.
fn difference(one: &str, other: &str) -> (String, String) {
    let same = one
        .chars()
        .zip(other.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let part = |text: &str| {
        text.chars()
            .skip(same.saturating_sub(150))
            .take(500)
            .collect()
    };
    (part(one), part(other))
}

/// Compares every question of every user; how many pairs of answers that were.
async fn compare(on: On, world: &World) -> Result<u64, String> {
    let house = House::with(on, world);
    searching::index(&house).await;
    let mut pairs = 0;
    for user in world.users.keys() {
        let less = without_hidden(world, *user);
        let other = House::with(on, &less);
        searching::index(&other).await;
        for (query, variables) in questions(&house, world, *user) {
            let with = house.bytes(Some(*user), &query, variables.clone()).await;
            let without = other.bytes(Some(*user), &query, variables.clone()).await;
            pairs += 1;
            if with.contains("COST_LIMIT")
                || with.contains("VALIDATION")
                || with.contains("INTERNAL")
            {
                return Err(format!(
                    "user {user}, {query}: no answer to compare: {with}"
                ));
            }
            if with != without {
                let (with, without) = difference(&with, &without);
                return Err(format!(
                    "user {user}, {query} {variables}\n   with {with}\nwithout {without}"
                ));
            }
        }
        let from = first_cursor(&house, *user);
        let with = backlog(&house, *user, &from, None).await;
        let without = backlog(&other, *user, &from, None).await;
        pairs += with.len() as u64;
        if with != without {
            return Err(format!(
                "user {user}, backlog\n   with {with:#?}\nwithout {without:#?}"
            ));
        }
    }
    Ok(pairs)
}

/// The cursor before everything in the timeline of all that a user sees.
pub fn first_cursor(house: &House, user: Id) -> String {
    cursor(house, user, 0)
}

/// The cursor of a position in that timeline.
pub fn cursor(house: &House, user: Id, position: Id) -> String {
    use mailroom::store::page::KeyPart;
    let list = format!("{user}/timeline/None");
    house
        .store
        .codec()
        .seal_cursor(&list, &vec![KeyPart::Number(position)])
}

fn compare_pairs(on: On, size: Size, wanted: u64) {
    let pairs = Cell::new(0_u64);
    let is_enough = || pairs.get() >= wanted;
    worlds::for_all(&worlds::seeds(size), is_enough, async |seeds| {
        pairs.set(pairs.get() + compare(on, &seeds.world()).await?);
        Ok(())
    });
    println!(
        "{} pairs of answers with and without hidden rows on {on:?}: 0 bytes differ",
        pairs.get()
    );
}

#[test]
fn r27_hidden_rows_change_no_byte_of_any_answer_on_sqlite() {
    compare_pairs(On::Sqlite, SMALL, if is_long() { 16_000 } else { 500 });
}

#[test]
fn r27_hidden_rows_change_no_byte_of_any_answer_on_postgresql() {
    compare_pairs(On::Postgresql, SMALL, if is_long() { 4_500 } else { 150 });
}
