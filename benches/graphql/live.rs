//! Many who follow timelines: what each takes while nothing happens, and how long an entry takes to the screens of those
//! whom it concerns. The clock runs from the moment that the note is asked for until its event has been read.

use super::common::server::{Server, Setting, used};
use super::common::{Figures, percentile, subscribed};
use super::fill;
use futures_util::StreamExt as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Those who follow while it is measured, and those who only hold on.
const FOLLOWERS: usize = 1_000;
const IDLE: usize = 10_000;
/// Followers of one item: whom an event concerns.
const OF_ONE: usize = 5;
const EVENTS_PER_SECOND: u64 = 200;
const EVENTS: usize = 3_000;
/// Events that all followers of one item hear.
const SHARED_EVENTS: usize = 50;
/// Sockets that are opened at once.
const OPENING: usize = 50;

const FOLLOW: &str = "subscription($item: ID!) { timeline(itemId: $item) { __typename ... on EntryAdded { cursor entry { id \
    at ... on NoteAdded { text } } } } }";
const NOTE: &str = "mutation($item: ID!, $text: String!) { addNote(input: { itemId: $item, text: $text }) { userErrors { message } } }";

type Told = mpsc::UnboundedSender<(String, Instant)>;

/// Sockets of one user: a server takes no more of each.
const OF_ONE_USER: usize = 50;
const SETTING: Setting = Setting {
    name: "sqlite",
    database_url: None,
    redis_url: None,
};

/// A server with leads, the ids of these, and tokens enough for so many followers.
async fn start(followers: usize) -> (Server, Vec<String>, Vec<String>) {
    let server = Server::start(&SETTING).await;
    fill::fill(&server.sqlite_url(), 40_000);
    let mut ids = Vec::new();
    let mut after = Value::Null;
    loop {
        let query = "query($after: Cursor) { leads(first: 100, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }";
        let mut page = server.ask(query, json!({ "after": after })).await["leads"].take();
        let nodes = page["nodes"].as_array().unwrap();
        ids.extend(
            nodes
                .iter()
                .map(|node| node["id"].as_str().unwrap().to_owned()),
        );
        if page["pageInfo"]["hasNextPage"] == false {
            let users = (0_i64..).take(followers.div_ceil(OF_ONE_USER));
            let token = |user| server.token_of(&SETTING, &fill::address_of(user));
            let tokens = users.map(token).collect();
            return (server, ids, tokens);
        }
        after = page["pageInfo"]["endCursor"].take();
    }
}

/// Follows an item until the test is over; each note's text with the moment that it was read.
async fn follow(url: String, token: String, item: String, told: Told, ready: mpsc::Sender<()>) {
    let payload = json!({ "query": FOLLOW, "variables": { "item": item } });
    let mut socket = subscribed(url, &token, payload).await;
    let mut ready = Some(ready);
    while let Some(Ok(message)) = socket.next().await {
        let read = Instant::now();
        let Ok(text) = message.to_text() else {
            continue;
        };
        assert!(!text.contains("\"error\""), "{text}");
        if text.contains("CaughtUp")
            && let Some(ready) = ready.take()
        {
            ready.send(()).await.unwrap();
        }
        if text.contains("\"text\"") {
            let event: Value = serde_json::from_str(text).unwrap();
            let note = &event["payload"]["data"]["timeline"]["entry"]["text"];
            told.send((note.as_str().unwrap().to_owned(), read))
                .unwrap();
        }
    }
}

/// Has so many follow these items in turn; returns when all have caught up.
async fn have_follow(
    server: &Server,
    (items, tokens): (&[String], &[String]),
    count: usize,
    told: &Told,
) {
    let (ready, mut are_ready) = mpsc::channel(OPENING);
    let opened = |number: usize| {
        tokio::spawn(follow(
            server.socket_url(),
            tokens[number / OF_ONE_USER].clone(),
            items[number % items.len()].clone(),
            told.clone(),
            ready.clone(),
        ));
    };
    let mut begun = 0;
    for done in 0..count {
        while begun < count && begun < done + OPENING {
            opened(begun);
            begun += 1;
        }
        tokio::time::timeout(Duration::from_secs(60), are_ready.recv())
            .await
            .unwrap()
            .unwrap();
    }
}

/// Has notes written to these items in turn; how long each took to each of its followers, and to the last of them, in ms.
async fn have_told(
    server: Arc<Server>,
    items: &[String],
    (events, per_second, followers): (usize, u64, usize),
    heard: &mut mpsc::UnboundedReceiver<(String, Instant)>,
) -> (Vec<f64>, Vec<f64>) {
    let asked: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let asking = {
        let (asked, items) = (Arc::clone(&asked), items.to_vec());
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
            let mut asking = Vec::new();
            for number in 0..events {
                tick.tick().await;
                let (server, asked) = (Arc::clone(&server), Arc::clone(&asked));
                let item = items[number % items.len()].clone();
                asking.push(tokio::spawn(async move {
                    let text = format!("note {number}");
                    asked.lock().unwrap().insert(text.clone(), Instant::now());
                    let variables = json!({ "item": item, "text": text });
                    let answer = server.ask(NOTE, variables).await;
                    assert_eq!(answer["addNote"]["userErrors"], json!([]), "{answer}");
                }));
            }
            for asking in asking {
                asking.await.unwrap();
            }
        })
    };
    let mut times = Vec::new();
    let mut counts: HashMap<String, (usize, f64)> = HashMap::new();
    while times.len() < events * followers {
        let next = tokio::time::timeout(Duration::from_secs(30), heard.recv());
        let Ok(Some((text, read))) = next.await else {
            panic!(
                "{} of {} events were heard",
                times.len(),
                events * followers
            );
        };
        let since = asked.lock().unwrap()[&text];
        let time = read.duration_since(since).as_secs_f64() * 1e3;
        times.push(time);
        let count = counts.entry(text).or_default();
        *count = (count.0 + 1, count.1.max(time));
    }
    asking.await.unwrap();
    assert!(counts.values().all(|(heard, _last)| *heard == followers));
    let mut last: Vec<f64> = counts.into_values().map(|(_heard, last)| last).collect();
    last.sort_by(f64::total_cmp);
    times.sort_by(f64::total_cmp);
    (times, last)
}

/// Measures all of it.
pub async fn measure(figures: &mut Figures) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let (tell, mut heard) = mpsc::unbounded_channel();
    // Each event concerns few of many.
    let (server, ids, tokens) = start(FOLLOWERS).await;
    let server = Arc::new(server);
    let items = &ids[..FOLLOWERS / OF_ONE];
    let before = used(server.server_pid()).resident_mb;
    have_follow(&server, (items, &tokens), FOLLOWERS, &tell).await;
    let after = used(server.server_pid()).resident_mb;
    figures.put(
        "live_1000_kb_each",
        (after - before) * 1024.0 / FOLLOWERS as f64,
    );
    let events = (EVENTS, EVENTS_PER_SECOND, OF_ONE);
    let (times, _last) = have_told(Arc::clone(&server), items, events, &mut heard).await;
    figures.put("live_1000_of_5_p50_ms", percentile(&times, 50));
    figures.put("live_1000_of_5_p99_ms", percentile(&times, 99));
    drop(server);
    // All of them follow one item.
    let (tell, mut heard) = mpsc::unbounded_channel();
    let (server, ids, tokens) = start(FOLLOWERS).await;
    let server = Arc::new(server);
    have_follow(&server, (&ids[..1], &tokens), FOLLOWERS, &tell).await;
    let events = (SHARED_EVENTS, 5, FOLLOWERS);
    let (_times, last) = have_told(Arc::clone(&server), &ids[..1], events, &mut heard).await;
    figures.put("live_1000_of_all_last_p50_ms", percentile(&last, 50));
    figures.put("live_1000_of_all_last_p99_ms", percentile(&last, 99));
    drop(server);
    // They hold on, and nothing happens.
    let (tell, _heard) = mpsc::unbounded_channel();
    let (server, ids, tokens) = start(FOLLOWERS + IDLE).await;
    let (few, many) = tokens.split_at(FOLLOWERS / OF_ONE_USER);
    have_follow(&server, (&ids, few), FOLLOWERS, &tell).await;
    let before = used(server.server_pid()).resident_mb;
    have_follow(&server, (&ids, many), IDLE, &tell).await;
    let after = used(server.server_pid()).resident_mb;
    figures.put(
        "live_10000_idle_kb_each",
        (after - before) * 1024.0 / IDLE as f64,
    );
}
