//! Many who follow timelines: what each takes while nothing happens, and how long an entry takes to the screens of those
//! whom it concerns. The clock runs from the moment that the note is asked for until its event has been read. The same is
//! asked of a peer in Node. A server has a core, those who follow have the other.

use super::common::server::{Server, Setting, used};
use super::common::{Figures, percentile, subscribed};
use super::followers::{Followers, Heard};
use super::peers::Peer;
use super::{SERVERS_CORE, fill, pin};
use futures_util::StreamExt as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_tungstenite::MaybeTlsStream;

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

/// Sockets of one user: a server takes no more of each.
const OF_ONE_USER: usize = 50;
const SETTING: Setting = Setting {
    name: "sqlite",
    database_url: None,
    redis_url: None,
};

/// How long those who have heard everything go on listening: nothing may come twice.
const LISTENING: Duration = Duration::from_millis(200);

/// Whose timelines are followed.
struct Followed {
    http: reqwest::Client,
    graphql_url: String,
    socket_url: String,
    pid: u32,
    /// Of the one who writes, and of those who follow.
    token: String,
    tokens: Vec<String>,
    items: Vec<String>,
}

/// A server of ours with leads, and tokens enough for so many followers.
async fn start(followers: usize) -> (Server, Arc<Followed>) {
    let server = Server::start(&SETTING).await;
    pin(server.server_pid(), SERVERS_CORE);
    fill::fill(&server.sqlite_url(), 40_000);
    let mut items = Vec::new();
    let mut after = Value::Null;
    loop {
        let query = "query($after: Cursor) { leads(first: 100, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }";
        let mut page = server.ask(query, json!({ "after": after })).await["leads"].take();
        let nodes = page["nodes"].as_array().unwrap();
        items.extend(
            nodes
                .iter()
                .map(|node| node["id"].as_str().unwrap().to_owned()),
        );
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].take();
    }
    let users = (0_i64..).take(followers.div_ceil(OF_ONE_USER));
    let token = |user| server.token_of(&SETTING, &fill::address_of(user));
    let followed = Followed {
        http: reqwest::Client::new(),
        graphql_url: server.graphql_url(),
        socket_url: server.socket_url(),
        pid: server.server_pid(),
        token: server.token().to_owned(),
        tokens: users.map(token).collect(),
        items,
    };
    (server, Arc::new(followed))
}

/// The peer in Node, to which any word is an item's id and a token.
fn start_peer(redis_url: &str) -> (Peer, Arc<Followed>) {
    let peer = Peer::in_node(&format!("REDIS_URL={redis_url}"), "follow.mjs", &[]);
    let followed = Followed {
        http: reqwest::Client::new(),
        graphql_url: peer.graphql_url(),
        socket_url: peer.socket_url(),
        pid: peer.pid(),
        token: "any".to_owned(),
        tokens: vec!["any".to_owned(); FOLLOWERS.div_ceil(OF_ONE_USER)],
        items: (0..FOLLOWERS).map(|item| format!("lead-{item}")).collect(),
    };
    (peer, Arc::new(followed))
}

/// The socket of one who follows an item and has caught up.
async fn caught_up(url: String, token: String, item: String) -> std::net::TcpStream {
    let payload = json!({ "query": FOLLOW, "variables": { "item": item } });
    let mut socket = subscribed(url, &token, payload).await;
    loop {
        let message = socket.next().await.unwrap().unwrap();
        let text = message.to_text().unwrap_or_default();
        assert!(!text.contains("\"error"), "{text}");
        if text.contains("CaughtUp") {
            break;
        }
    }
    match socket.into_inner() {
        MaybeTlsStream::Plain(stream) => stream.into_std().unwrap(),
        _ => panic!("nothing is encrypted here"),
    }
}

impl Followed {
    /// Has so many follow the first items in turn, by these tokens; returns when all have caught up.
    async fn have_follow(
        &self,
        (items, tokens): (usize, &[String]),
        count: usize,
        followers: &Followers,
    ) {
        let opened = |number: usize| {
            tokio::spawn(tokio::time::timeout(
                Duration::from_secs(60),
                caught_up(
                    self.socket_url.clone(),
                    tokens[number / OF_ONE_USER].clone(),
                    self.items[number % items].clone(),
                ),
            ))
        };
        let mut sockets = futures_util::stream::iter((0..count).map(opened)).buffered(OPENING);
        while let Some(socket) = sockets.next().await {
            followers.add(socket.unwrap().unwrap());
        }
    }

    /// Has a note written to an item; when it was asked for.
    async fn note(self: Arc<Self>, number: usize, item: usize) -> Instant {
        let variables = json!({ "item": self.items[item], "text": format!("note {number}") });
        let request = self
            .http
            .post(&self.graphql_url)
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(json!({ "query": NOTE, "variables": variables }).to_string());
        let asked = Instant::now();
        let answer = request.send().await.unwrap().text().await.unwrap();
        assert!(
            answer.contains("{\"addNote\":{\"userErrors\":[]}}"),
            "{answer}"
        );
        asked
    }

    /// Has notes written to the first items in turn; how long each took to each of its followers, and to the last of
    /// them, in ms. Everybody must hear of each note of their item, once.
    async fn have_told(
        self: &Arc<Self>,
        items: usize,
        (events, per_second, of_each): (usize, u64, usize),
        followers: &Followers,
    ) -> (Vec<f64>, Vec<f64>) {
        let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
        let mut asking = Vec::new();
        for number in 0..events {
            tick.tick().await;
            asking.push(tokio::spawn(Arc::clone(self).note(number, number % items)));
        }
        let mut asked = Vec::new();
        for asking in asking {
            asked.push(asking.await.unwrap());
        }
        let (all, since) = (events * of_each, Instant::now());
        while followers.times() < all {
            let heard = followers.times();
            assert!(
                since.elapsed() < Duration::from_secs(30),
                "{heard} of {all} were heard"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(LISTENING).await;
        let mut heard = followers.take();
        heard.sort_by_key(|heard| (heard.note, heard.follower));
        let mut times = Vec::new();
        let mut last = Vec::new();
        for (note, heard) in heard.chunks(of_each).enumerate() {
            let expected = (0..of_each).map(|nth| (note, note % items + nth * items));
            assert!(
                expected.eq(heard.iter().map(|heard| (heard.note, heard.follower))),
                "not everybody heard of note {note} once: {heard:?}"
            );
            let took = |heard: &Heard| heard.at.duration_since(asked[note]).as_secs_f64() * 1e3;
            let first = times.len();
            times.extend(heard.iter().map(took));
            last.push(times[first..].iter().copied().fold(0.0, f64::max));
        }
        assert_eq!(times.len(), all);
        last.sort_by(f64::total_cmp);
        times.sort_by(f64::total_cmp);
        (times, last)
    }

    /// Each event concerns few of many.
    async fn few_of_many(self: Arc<Self>, figures: &mut Figures, whose: &str) {
        let followers = Followers::none();
        let items = FOLLOWERS / OF_ONE;
        let before = used(self.pid).resident_mb;
        self.have_follow((items, &self.tokens), FOLLOWERS, &followers)
            .await;
        let after = used(self.pid).resident_mb;
        figures.put(
            &format!("{whose}live_1000_kb_each"),
            (after - before) * 1024.0 / FOLLOWERS as f64,
        );
        let events = (EVENTS, EVENTS_PER_SECOND, OF_ONE);
        let (times, _last) = self.have_told(items, events, &followers).await;
        for percent in [50, 99] {
            let name = format!("{whose}live_1000_of_5_p{percent}_ms");
            figures.put(&name, percentile(&times, percent));
        }
    }

    /// All of them follow one item.
    async fn all_of_one(self: Arc<Self>, figures: &mut Figures, whose: &str) {
        let followers = Followers::none();
        self.have_follow((1, &self.tokens), FOLLOWERS, &followers)
            .await;
        let events = (SHARED_EVENTS, 5, FOLLOWERS);
        let (_times, last) = self.have_told(1, events, &followers).await;
        for percent in [50, 99] {
            let name = format!("{whose}live_1000_of_all_last_p{percent}_ms");
            figures.put(&name, percentile(&last, percent));
        }
    }
}

/// As many sockets as the system lets us have.
fn have_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Measures all of it.
pub async fn measure(figures: &mut Figures) {
    have_sockets();
    let (server, followed) = start(FOLLOWERS).await;
    followed.few_of_many(figures, "").await;
    drop(server);
    let (server, followed) = start(FOLLOWERS).await;
    followed.all_of_one(figures, "").await;
    drop(server);
    // They hold on, and nothing happens.
    let followers = Followers::none();
    let (server, followed) = start(FOLLOWERS + IDLE).await;
    let items = followed.items.len();
    let (few, many) = followed.tokens.split_at(FOLLOWERS / OF_ONE_USER);
    followed
        .have_follow((items, few), FOLLOWERS, &followers)
        .await;
    let before = used(followed.pid).resident_mb;
    followed.have_follow((items, many), IDLE, &followers).await;
    let after = used(followed.pid).resident_mb;
    figures.put(
        "live_10000_idle_kb_each",
        (after - before) * 1024.0 / IDLE as f64,
    );
    drop((followers, server));
}

/// Measures the peer in Node, over the Redis of the run.
pub async fn measure_peer(figures: &mut Figures) {
    have_sockets();
    let redis_url = std::env::var("MAILROOM_TEST_REDIS").unwrap();
    let (peer, followed) = start_peer(&redis_url);
    followed.few_of_many(figures, "yoga_").await;
    drop(peer);
    let (peer, followed) = start_peer(&redis_url);
    followed.all_of_one(figures, "yoga_").await;
    drop(peer);
    for (ratio, percent) in [("fanout_vs_yoga", 50), ("fanout_vs_yoga_p99", 99)] {
        let ours = format!("live_1000_of_all_last_p{percent}_ms");
        figures.put_ratio(ratio, &ours, &format!("yoga_{ours}"));
    }
}
