//! Searching finds what an independent reading of texts and rights says (R43, R21-R27), in random worlds, by random queries,
//! on both databases.

use super::house::{House, attachment_of, client_address, now, type_name};
use super::model::{Field, Id, Kind, World};
use super::reads;
use super::worlds::{self, LARGE, is_long};
use crate::support::app::On;
use bytes::Bytes;
use mailroom::actions::index_search::{BATCH, Place, begin_now, index_batch_now};
use mailroom::store::StoreError;
use mailroom::store::raw::{self, hash_of};
use mailroom::store::sql::sql;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// Words as they stand in texts, and as people look for them.
const WORDS: [(&str, &str); 10] = [
    ("Alpha", "alpha"),
    ("Äpfel", "apfel"),
    ("apfelsaft", "apfelsaft"),
    ("Straße", "strasse"),
    ("naïve", "naive"),
    ("Offer", "offer"),
    ("OFFICE", "office"),
    ("Éclair", "eclair"),
    ("中文邮件", ""),
    ("日本語", ""),
];
/// Parts of the words that have no spaces around theirs.
const RUNS: [&str; 7] = ["中", "中文", "文邮", "文邮件", "件", "本語", "語"];
const PREFIXES: [&str; 6] = ["al", "apf", "off", "offi", "STRA", "na"];

fn word(by: u64) -> &'static str {
    WORDS[(by % 10) as usize].0
}

/// A text of so many words that depends on these numbers alone.
fn text(seed: u64, count: u64) -> String {
    let mixed = |n: u64| {
        (seed + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(17 * n as u32)
            >> 7
    };
    let words: Vec<&str> = (0..count).map(|n| word(mixed(n))).collect();
    words.join(" ")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Title,
    Sender,
    Recipients,
    Text,
}

/// What can be found, as the test knows it.
#[derive(Debug, Clone)]
struct Document {
    kind: Option<Kind>,
    id: Id,
    at_seconds: i64,
    fields: Vec<(Zone, String)>,
}

/// Lower case, without the accents that stand in [`WORDS`].
fn plain(text: &str) -> String {
    text.to_lowercase()
        .replace('ä', "a")
        .replace('é', "e")
        .replace('ï', "i")
        .replace('ß', "ss")
}

fn tokens(text: &str) -> Vec<String> {
    plain(text)
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[derive(Debug, Clone)]
enum What {
    Word(&'static str),
    Prefix(&'static str),
    Run(&'static str),
    Phrase(&'static str, &'static str),
    Address(Id),
    From(&'static str),
    To(&'static str),
    Subject(&'static str),
    HasAttachment,
    In(Kind),
    InItem(Id),
    Mailbox(Id),
    Before(i64),
    After(i64),
    Unread,
}

#[derive(Debug, Clone)]
struct Literal {
    is_negated: bool,
    what: What,
}

/// Groups that all hold, of each of which one literal holds.
type Query = Vec<Vec<Literal>>;

fn days_ago(days: u16) -> i64 {
    now().seconds() - 1_000_000 - i64::from(days % 12) * 86_400
}

fn day(seconds: i64) -> String {
    mailroom::model::Time::from_seconds(seconds).to_rfc3339()[..10].to_owned()
}

/// The beginning of that day.
fn midnight(seconds: i64) -> i64 {
    seconds - seconds.rem_euclid(86_400)
}

fn literal(world: &World, (what, by, sign): (u16, u16, u16)) -> Literal {
    let searched = WORDS[usize::from(by) % 8].1;
    let items: Vec<Id> = world.items.keys().copied().collect();
    let boxes: Vec<Id> = world.mailboxes.keys().copied().collect();
    let by_id = |ids: &[Id]| ids[usize::from(by) % ids.len()];
    let what = match what % 23 {
        0..=5 => What::Word(searched),
        6 | 7 => What::Prefix(PREFIXES[usize::from(by) % 6]),
        8 | 9 => What::Run(RUNS[usize::from(by) % 7]),
        10 | 11 => What::Phrase(searched, WORDS[usize::from(by / 8) % 8].1),
        12 => What::Address(Id::from(by % 5)),
        13 => What::From(searched),
        14 => What::To(searched),
        15 => What::Subject(searched),
        16 => What::HasAttachment,
        17 => What::In(worlds::KINDS[usize::from(by) % 3]),
        18 => What::InItem(by_id(&items)),
        19 => What::Mailbox(by_id(&boxes)),
        20 => What::Before(midnight(days_ago(by))),
        21 => What::Unread,
        _ => What::After(midnight(days_ago(by))),
    };
    Literal {
        is_negated: sign % 5 == 0,
        what,
    }
}

fn queries(world: &World, seeds: &[Vec<(u16, u16, u16)>]) -> Vec<Query> {
    seeds
        .iter()
        .map(|seed| {
            let mut query: Query = Vec::new();
            for one in seed {
                let literal = literal(world, *one);
                match query.last_mut() {
                    Some(group) if one.2 % 4 == 1 => group.push(literal),
                    _ => query.push(vec![literal]),
                }
            }
            query
        })
        .collect()
}

fn written(house: &House, world: &World, query: &Query) -> String {
    let one = |literal: &Literal| {
        let what = match &literal.what {
            What::Word(word) => word.to_uppercase(),
            What::Prefix(prefix) => format!("{prefix}*"),
            What::Run(run) => (*run).to_owned(),
            What::Phrase(one, other) => format!("\"{one} {other}\""),
            What::Address(n) => format!("client{n}@client.example"),
            What::From(word) => format!("from:{word}"),
            What::To(word) => format!("to:{word}"),
            What::Subject(word) => format!("subject:{word}"),
            What::HasAttachment => "has:attachment".to_owned(),
            What::In(kind) => ["in:lead", "in:deal", "in:contact"][*kind as usize].to_owned(),
            What::InItem(id) => format!("in:{}", house.id(type_name(world.items[id].kind), *id)),
            What::Mailbox(id) => format!("mailbox:box{id}@ours.example"),
            What::Before(at) => format!("before:{}", day(*at)),
            What::After(at) => format!("after:{}", day(*at)),
            What::Unread => "is:unread".to_owned(),
        };
        format!("{}{what}", if literal.is_negated { "-" } else { "" })
    };
    let group = |group: &Vec<Literal>| group.iter().map(one).collect::<Vec<_>>().join(" or ");
    query.iter().map(group).collect::<Vec<_>>().join(" ")
}

/// Writes texts into a house, indexes it, and says what there is to find.
async fn furnish(house: &House, world: &World) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut statements: Vec<String> = reads::statements(world);
    let mut mails: Vec<(Id, Bytes)> = Vec::new();
    for (id, email) in &world.emails {
        let n = *id as u64;
        let (subject, body) = (text(n, 2), text(n + 71, 5));
        let (from, to, file) = (word(n), word(n * 3 + 1), word(n * 7 + 2));
        statements.push(format!(
            "UPDATE emails SET subject = '{subject}' WHERE id = {id}"
        ));
        statements.push(format!(
            "UPDATE participants SET name = CASE role WHEN 'FROM' THEN '{from}' ELSE '{to}' END WHERE email_id = {id}"
        ));
        statements.push(format!(
            "UPDATE attachments SET name = '{file}.pdf', is_inline = {} WHERE id = {}",
            if n.is_multiple_of(3) { "TRUE" } else { "FALSE" },
            attachment_of(*id)
        ));
        let raw = format!("Subject: {n}\nContent-Type: text/plain; charset=utf-8\n\n{body}\n");
        mails.push((*id, Bytes::from(raw)));
        documents.push(Document {
            kind: None,
            id: *id,
            at_seconds: house
                .rows::<i64>(&format!("SELECT received_at FROM emails WHERE id = {id}"))[0]
                / 1_000_000,
            fields: vec![
                (Zone::Title, subject),
                (Zone::Sender, from.to_owned()),
                (Zone::Sender, client_address(*id)),
                (Zone::Recipients, to.to_owned()),
                (Zone::Recipients, client_address(*id + 1)),
                (Zone::Text, format!("{file}.pdf")),
                (Zone::Text, body),
            ],
        });
        assert_eq!(email.links.is_empty(), !email.saved);
    }
    for (id, item) in &world.items {
        let n = *id as u64;
        let (title, name) = (text(n, 2), text(n + 13, 2));
        statements.push(format!(
            "UPDATE items SET title = '{title}', name = '{name}' WHERE id = {id}"
        ));
        let mut fields = vec![(Zone::Title, title), (Zone::Title, name)];
        if item.kind != Kind::Deal {
            fields.push((Zone::Sender, client_address(*id)));
        }
        let notes: Vec<i64> = house.rows(&format!(
            "SELECT position FROM timeline_entries WHERE kind = 'NOTE_ADDED' AND item_id = {id}"
        ));
        for position in notes {
            let note = text(position as u64 + 5, 3);
            statements.push(format!(
                "UPDATE timeline_entries SET note = '{note}' WHERE position = {position}"
            ));
            fields.push((Zone::Text, note));
        }
        let at = house.rows::<i64>(&format!("SELECT created_at FROM items WHERE id = {id}"))[0];
        documents.push(Document {
            kind: Some(item.kind),
            id: *id,
            at_seconds: at / 1_000_000,
            fields,
        });
    }
    let (store, kept) = (house.store.clone(), house.actions.raw.clone());
    tokio::task::spawn_blocking(move || {
        let raws: Vec<_> = mails
            .iter()
            .map(|(_, raw)| (hash_of(raw), raw.clone()))
            .collect();
        let durable = kept.keep_now(&store, raws.clone()).unwrap();
        let done: Result<(), StoreError> = store.write_now(now(), |tx| {
            raw::name(tx, &durable)?;
            for ((id, _), (hash, _)) in mails.iter().zip(&raws) {
                sql("UPDATE emails SET raw_hash = ")
                    .bind(hash.to_vec())
                    .push(" WHERE id = ")
                    .bind(*id)
                    .run(tx.conn)?;
            }
            for statement in statements {
                sql(statement).run(tx.conn)?;
            }
            Ok(())
        });
        done.unwrap();
    })
    .await
    .unwrap();
    index(house).await;
    documents
}

/// Indexes all that waits.
pub async fn index(house: &House) {
    let (store, raw) = (house.store.clone(), house.actions.raw.clone());
    tokio::task::spawn_blocking(move || {
        let place = Place {
            store: &store,
            raw: &raw,
            fence: None,
        };
        begin_now(place, now()).unwrap();
        while index_batch_now(place, now(), BATCH).unwrap() > 0 {}
    })
    .await
    .unwrap();
}

/// What one user finds.
struct Reader<'w> {
    world: &'w World,
    user: Id,
}

impl Reader<'_> {
    fn sees(&self, document: &Document) -> bool {
        match document.kind {
            None => self.world.sees(self.user, document.id),
            Some(_) => self.world.reads(self.user, document.id),
        }
    }

    /// The texts of these zones that the user may look into.
    fn texts<'d>(
        &self,
        document: &'d Document,
        zones: &'d [Zone],
    ) -> impl Iterator<Item = &'d str> {
        let hidden = match document.kind {
            Some(Kind::Lead) => self.world.hides(self.user, Field::LeadAddresses),
            Some(Kind::Contact) => self.world.hides(self.user, Field::ContactAddresses),
            _ => false,
        };
        document
            .fields
            .iter()
            .filter(move |(zone, _)| zones.contains(zone) && !(hidden && *zone == Zone::Sender))
            .map(|(_, text)| text.as_str())
    }

    fn has_phrase(&self, document: &Document, zones: &[Zone], wanted: &[&str]) -> bool {
        self.texts(document, zones).any(|text| {
            let found = tokens(text);
            found
                .windows(wanted.len())
                .any(|window| window.iter().zip(wanted).all(|(a, b)| a == b))
        })
    }

    fn on_item(&self, document: &Document, holds: impl Fn(Id) -> bool) -> bool {
        match document.kind {
            Some(_) => holds(document.id),
            None => self.world.emails[&document.id]
                .links
                .iter()
                .any(|item| holds(*item) && self.world.reads(self.user, *item)),
        }
    }

    fn holds(&self, document: &Document, what: &What, zones: &[Zone]) -> bool {
        let is_email = document.kind.is_none();
        match what {
            What::Word(word) => self.has_phrase(document, zones, &[word]),
            What::Prefix(prefix) => self.texts(document, zones).any(|text| {
                tokens(text)
                    .iter()
                    .any(|word| word.starts_with(&prefix.to_lowercase()))
            }),
            What::Run(run) => self.texts(document, zones).any(|text| text.contains(run)),
            What::Phrase(one, other) => self.has_phrase(document, zones, &[one, other]),
            What::Address(n) => self.has_phrase(
                document,
                zones,
                &[&format!("client{n}"), "client", "example"],
            ),
            What::From(word) => is_email && self.has_phrase(document, &[Zone::Sender], &[word]),
            What::To(word) => is_email && self.has_phrase(document, &[Zone::Recipients], &[word]),
            What::Subject(word) => self.has_phrase(document, &[Zone::Title], &[word]),
            What::HasAttachment => is_email && !(document.id as u64).is_multiple_of(3),
            What::In(kind) => self.on_item(document, |item| self.world.items[&item].kind == *kind),
            What::InItem(id) => self.on_item(document, |item| item == *id),
            What::Mailbox(id) => {
                is_email
                    && self.world.emails[&document.id].mailbox == *id
                    && self.world.has_mailbox(self.user, *id)
            }
            What::Before(at) => document.at_seconds < *at,
            What::After(at) => document.at_seconds >= *at,
            What::Unread => {
                is_email && {
                    let message = self.world.emails[&document.id].message;
                    reads::is_unread(self.world, self.user, message)
                }
            }
        }
    }

    fn finds(&self, document: &Document, query: &Query) -> bool {
        const ALL: [Zone; 4] = [Zone::Title, Zone::Sender, Zone::Recipients, Zone::Text];
        let holds =
            |literal: &Literal| self.holds(document, &literal.what, &ALL) != literal.is_negated;
        self.sees(document) && query.iter().all(|group| group.iter().any(holds))
    }

    /// By what the found are ordered: their time, moved on where all words stand in the head.
    fn rank(&self, document: &Document, query: &Query) -> i64 {
        const HEAD: [Zone; 2] = [Zone::Title, Zone::Sender];
        let is_plain = |literal: &Literal| {
            !literal.is_negated
                && matches!(
                    literal.what,
                    What::Word(_)
                        | What::Prefix(_)
                        | What::Run(_)
                        | What::Phrase(..)
                        | What::Address(_)
                )
        };
        let mut plain = query
            .iter()
            .filter(|group| group.iter().all(is_plain))
            .peekable();
        let has_plain = plain.peek().is_some();
        let in_head = |group: &Vec<Literal>| {
            group
                .iter()
                .any(|literal| self.holds(document, &literal.what, &HEAD))
        };
        let years = if document.kind.is_some() {
            20 * 365
        } else {
            180
        };
        let ahead = if has_plain && plain.all(in_head) {
            years * 86_400
        } else {
            0
        };
        document.at_seconds + ahead
    }
}

const QUERY: &str = "query($q: String!, $first: Int, $after: Cursor) { search(query: $q, first: $first, after: $after) {
    edges { cursor node { found { __typename ... on Email { id } ... on Lead { id } ... on Deal { id } ... on Contact { id } } } }
    pageInfo { hasNextPage endCursor } totalCount(limit: 1000) { value isExact } facets { kinds { kind count } mailboxes { mailbox { id } count } } } }";

fn ids(house: &House, answer: &Json) -> Vec<Id> {
    let edges = answer["edges"].as_array().unwrap();
    edges
        .iter()
        .map(|edge| house.number(&edge["node"]["found"]["id"]))
        .collect()
}

async fn compare(
    on: On,
    world: &World,
    seeds: &[Vec<(u16, u16, u16)>],
) -> Result<(u64, u64), String> {
    let house = House::with(on, world);
    let documents = furnish(&house, world).await;
    let by_id: BTreeMap<Id, &Document> = documents
        .iter()
        .map(|document| (document.id, document))
        .collect();
    let (mut decided, mut hits) = (0, 0);
    for query in queries(world, seeds) {
        let asked = written(&house, world, &query);
        for user in world.users.keys() {
            let reader = Reader { world, user: *user };
            let wanted: BTreeSet<Id> = documents
                .iter()
                .filter(|document| reader.finds(document, &query))
                .map(|document| document.id)
                .collect();
            let fault = |what: &str, found: &dyn std::fmt::Debug| {
                Err(format!(
                    "user {user}, {asked}: {what}: found {found:?}, wanted {wanted:?}"
                ))
            };
            let answer = house
                .ask_much(*user, QUERY, json!({ "q": asked, "first": 100 }))
                .await;
            let answer = &answer["data"]["search"];
            if answer.is_null() {
                return fault("no answer", &answer);
            }
            let found = ids(&house, answer);
            let as_set: BTreeSet<Id> = found.iter().copied().collect();
            if as_set != wanted || found.len() != wanted.len() {
                return fault("what is found", &found);
            }
            if answer["totalCount"]["value"] != json!(wanted.len()) {
                return fault("the count", &answer["totalCount"]);
            }
            let ranks: Vec<i64> = found
                .iter()
                .map(|id| reader.rank(by_id[id], &query))
                .collect();
            if !ranks.is_sorted_by(|one, next| one >= next) {
                return fault("the order", &ranks);
            }
            let counted: i64 = answer["facets"]["kinds"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["count"].as_i64().unwrap())
                .sum();
            if counted != wanted.len() as i64 {
                return fault("the facets", &answer["facets"]);
            }
            let boxes = answer["facets"]["mailboxes"].as_array().unwrap();
            if let Some(hidden) = boxes
                .iter()
                .find(|one| !world.has_mailbox(*user, house.number(&one["mailbox"]["id"])))
            {
                return fault("a hidden mailbox", hidden);
            }
            // Page by page it is the same.
            let (mut walked, mut cursor) = (Vec::new(), Json::Null);
            while walked.len() < found.len() {
                let page = house
                    .ask_much(
                        *user,
                        QUERY,
                        json!({ "q": asked, "first": 7, "after": cursor }),
                    )
                    .await;
                let page = &page["data"]["search"];
                let part = ids(&house, page);
                if part.is_empty() {
                    break;
                }
                walked.extend(part);
                cursor = page["pageInfo"]["endCursor"].clone();
            }
            if walked != found {
                return fault("page by page", &walked);
            }
            decided += documents.len() as u64;
            hits += wanted.len() as u64;
        }
    }
    Ok((decided, hits))
}

fn compare_worlds(on: On, decisions: u64) {
    let (decided, hits) = (Cell::new(0_u64), Cell::new(0_u64));
    let n = any::<u16>;
    let seeds = (worlds::seeds(LARGE), vec(vec((n(), n(), n()), 1..5), 6..14));
    let is_enough = || decided.get() >= decisions;
    worlds::for_all(&seeds, is_enough, async |(seeds, queries)| {
        let (more, found) = compare(on, &seeds.world(), &queries).await?;
        decided.set(decided.get() + more);
        hits.set(hits.get() + found);
        Ok(())
    });
    println!(
        "{} decisions (user, query, document), {} found, on {on:?}: 0 disagreements",
        decided.get(),
        hits.get()
    );
}

#[test]
fn r43_searches_find_what_the_model_says_on_sqlite() {
    compare_worlds(On::Sqlite, if is_long() { 1_000_000 } else { 60_000 });
}

#[test]
fn r43_searches_find_what_the_model_says_on_postgresql() {
    compare_worlds(On::Postgresql, if is_long() { 400_000 } else { 30_000 });
}
