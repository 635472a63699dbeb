//! Live without loss (R38, F5): while entries are written, the server and Redis are killed and sockets are dropped, and
//! what each client has heard is what stands in the table, each entry once and in its order.
//! `MAILROOM_TEST_LONG=1`: 200 entries a second for minutes, 100 kills, 40 subscribers.

use crate::support::app::{On, PATIENCE, TestApp, text};
use crate::support::redis::Redis;
use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use mailroom::cli::demo::private_server::free_ports;
use rand::Rng as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mailroom");
const LAST: &str = "the last note";
const WRITERS: usize = 8;

fn is_long() -> bool {
    std::env::var("MAILROOM_TEST_LONG").is_ok()
}

/// How bad the storm is.
#[derive(Clone, Copy)]
struct Size {
    notes: usize,
    /// Between two notes of one writer.
    pause: Duration,
    subscribers: usize,
    kills: usize,
}

fn size() -> Size {
    if is_long() {
        Size {
            notes: 40_000,
            pause: Duration::from_millis(40),
            subscribers: 40,
            kills: 100,
        }
    } else {
        Size {
            notes: 800,
            pause: Duration::from_millis(40),
            subscribers: 5,
            kills: 4,
        }
    }
}

/// A server in a process of its own, always at the same port.
struct Server {
    port: u16,
    environment: Vec<(&'static str, String)>,
    child: Child,
}

impl Server {
    fn start(mut environment: Vec<(&'static str, String)>) -> Self {
        let [port] = free_ports().unwrap();
        environment.retain(|(name, _value)| *name != "MAILROOM_LISTEN");
        environment.push(("MAILROOM_LISTEN", format!("127.0.0.1:{port}")));
        let child = Self::launch(&environment);
        Self {
            port,
            environment,
            child,
        }
    }

    fn launch(environment: &[(&'static str, String)]) -> Child {
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .env_clear()
            .envs(environment.iter().cloned())
            .env("MAILROOM_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Its first line says that it listens.
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
        lines.read_line(&mut line).unwrap();
        assert!(line.starts_with("http://"), "{line}");
        child
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = Self::launch(&self.environment);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client that comes back with its last cursor for as long as it takes.
struct Follower {
    address: String,
    token: String,
    item: Option<String>,
    cursor: Option<String>,
    heard: Vec<String>,
    /// Connections that it made.
    connections: usize,
    /// It drops its own socket after some number of events below this; 0: never.
    drops_within: usize,
}

const TIMELINE: &str = "subscription ($item: ID, $after: Cursor) { timeline(itemId: $item, after: $after) { __typename
  ... on EntryAdded { cursor entry { ... on NoteAdded { text } } } ... on CaughtUp { cursor } ... on Gap { cursor } } }";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Follower {
    fn new(
        port: u16,
        token: &str,
        (item, cursor): (Option<&str>, &str),
        drops_within: usize,
    ) -> Self {
        Self {
            address: format!("ws://127.0.0.1:{port}/graphql"),
            token: token.to_owned(),
            item: item.map(str::to_owned),
            cursor: Some(cursor.to_owned()),
            heard: Vec::new(),
            connections: 0,
            drops_within,
        }
    }

    /// Follows until the last note; every note that it heard, in the order in which it came.
    async fn follow(mut self) -> (Vec<String>, usize) {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        let mut progress = (0, Instant::now());
        loop {
            pace.tick().await;
            if let Some(socket) = self.connect().await
                && self.hear(socket).await
            {
                return (self.heard, self.connections);
            }
            if self.heard.len() > progress.0 {
                progress = (self.heard.len(), Instant::now());
            }
            assert!(
                progress.1.elapsed() < 2 * PATIENCE,
                "stuck at {}",
                progress.0
            );
        }
    }

    async fn connect(&mut self) -> Option<Socket> {
        let mut request = self.address.as_str().into_client_request().unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (mut socket, _response) = tokio_tungstenite::connect_async(request).await.ok()?;
        let authorization = format!("Bearer {}", self.token);
        let variables = json!({ "item": self.item, "after": self.cursor });
        for message in [
            json!({ "type": "connection_init", "payload": { "authorization": authorization } }),
            json!({ "type": "subscribe", "id": "1", "payload": { "query": TIMELINE, "variables": variables } }),
        ] {
            socket.send(Message::text(message.to_string())).await.ok()?;
            if message["type"] == "connection_init" {
                let acknowledged = message_of(&mut socket).await?;
                assert_eq!(acknowledged["type"], "connection_ack");
            }
        }
        self.connections += 1;
        Some(socket)
    }

    /// Listens until the connection ends; whether the last note was heard.
    async fn hear(&mut self, mut socket: Socket) -> bool {
        let drops_at = match self.drops_within {
            0 => usize::MAX,
            within => self.heard.len() + rand::rng().random_range(1..within),
        };
        while let Some(message) = message_of(&mut socket).await {
            assert_eq!(message["type"], "next", "{message:#}");
            let event = &message["payload"]["data"]["timeline"];
            match event["__typename"].as_str().unwrap() {
                "EntryAdded" => {
                    self.cursor = Some(text(&event["cursor"]));
                    if let Some(note) = event["entry"]["text"].as_str() {
                        self.heard.push(note.to_owned());
                        if note == LAST {
                            return true;
                        }
                    }
                }
                "CaughtUp" => self.cursor = Some(text(&event["cursor"])),
                other => panic!("{other}: nothing is missing here"),
            }
            if self.heard.len() >= drops_at {
                return false;
            }
        }
        false
    }
}

/// The next message of the protocol; `None` when the connection is gone.
async fn message_of(socket: &mut Socket) -> Option<Value> {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.ok()?;
        match message?.ok()? {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] != "ping" {
                    return Some(message);
                }
                let pong = json!({ "type": "pong" }).to_string();
                socket.send(Message::text(pong)).await.ok()?;
            }
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

/// Writes a note until the server says that it is there; the key makes it one note, whatever became of the answers.
async fn write_note(http: &reqwest::Client, port: u16, token: &str, item: &str, note: &str) {
    let query = "mutation ($input: AddNoteInput!) { addNote(input: $input) { entry { id } userErrors { code } } }";
    let input = json!({ "itemId": item, "text": note, "idempotencyKey": note });
    let request = json!({ "query": query, "variables": { "input": input } });
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    for _ in 0..4_000 {
        pace.tick().await;
        let sent = http
            .post(format!("http://127.0.0.1:{port}/graphql"))
            .bearer_auth(token)
            .json(&request)
            .send();
        let Ok(answer) = sent.await else { continue };
        let Ok(answer) = answer.json::<Value>().await else {
            continue;
        };
        if answer["data"]["addNote"]["entry"]["id"].is_string() {
            return;
        }
        // Two writings of the same key at once, or a server that is about to end.
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        assert!(matches!(code, Some("CONFLICT" | "INTERNAL")), "{answer:#}");
    }
    panic!("{note} could not be written");
}

/// All writers, each a part of the notes.
async fn write_all(ports: &[u16], token: &str, item: &str, size: Size, written: &AtomicUsize) {
    let http = reqwest::Client::new();
    let writers = (0..WRITERS).map(|writer| {
        let (http, port) = (http.clone(), ports[writer % ports.len()]);
        async move {
            let mut pace = tokio::time::interval(size.pause);
            for number in (writer..size.notes).step_by(WRITERS) {
                pace.tick().await;
                write_note(&http, port, token, item, &format!("note {number}")).await;
                written.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    join_all(writers).await;
    write_note(&http, ports[0], token, item, LAST).await;
}

/// The notes by the table, in the order of their positions.
async fn table(app: &TestApp, item: &str) -> Vec<String> {
    let query = "query ($item: ID!, $after: Cursor) { node(id: $item) { ... on Lead { timeline(kinds: [NOTE_ADDED], first: 100, after: $after)
        { nodes { ... on NoteAdded { text } } pageInfo { hasNextPage endCursor } } } } }";
    let mut notes = Vec::new();
    let mut after = Value::Null;
    loop {
        let variables = json!({ "item": item, "after": after });
        let data = app.data(&app.admin, query, variables).await;
        let page = &data["node"]["timeline"];
        let nodes = page["nodes"].as_array().unwrap();
        notes.extend(nodes.iter().map(|node| text(&node["text"])));
        if page["pageInfo"]["hasNextPage"] == false {
            return notes;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

async fn lead(app: &TestApp) -> String {
    let made = app.make(
        &app.admin,
        "createLead",
        json!({ "title": "Stormy" }),
        "lead { id }",
    );
    text(&made.await["lead"]["id"])
}

/// Where the timeline of everything stands, and that of the item: from there on nothing may be missing.
async fn cursors(app: &TestApp, item: &str) -> [String; 2] {
    let query = "query ($item: ID!) { timeline(last: 1) { liveCursor } node(id: $item) { ... on Lead { timeline(last: 1) { liveCursor } } } }";
    let data = app.data(&app.admin, query, json!({ "item": item })).await;
    [&data["timeline"], &data["node"]["timeline"]].map(|timeline| text(&timeline["liveCursor"]))
}

async fn storm(mut app: TestApp, mut redis: Option<Redis>) {
    let size = size();
    let item = lead(&app).await;
    let [all, one] = cursors(&app, &item).await;
    let token = app.admin.clone();
    app.stop().await;
    let mut server = Server::start(app.environment());
    let port = server.port;
    let followers: Vec<_> = (0..size.subscribers)
        .map(|number| {
            let from = match number % 2 {
                0 => (Some(item.as_str()), one.as_str()),
                _ => (None, all.as_str()),
            };
            let drops_within = if number % 3 == 0 { 0 } else { 300 };
            tokio::spawn(Follower::new(port, &token, from, drops_within).follow())
        })
        .collect();
    let written = Arc::new(AtomicUsize::new(0));
    let writing = tokio::spawn({
        let (token, item, written) = (token.clone(), item.clone(), written.clone());
        async move { write_all(&[port], &token, &item, size, &written).await }
    });
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for kill in 1..=size.kills {
        while written.load(Ordering::SeqCst) < kill * size.notes / (size.kills + 1) {
            pace.tick().await;
            assert!(!writing.is_finished(), "the writers ended early");
        }
        match &mut redis {
            Some(redis) if kill % 2 == 0 => {
                redis.kill();
                // Some of the notes are written without it.
                let until = written.load(Ordering::SeqCst) + size.notes / (4 * size.kills);
                while written.load(Ordering::SeqCst) < until.min(size.notes) {
                    pace.tick().await;
                }
                redis.restart();
            }
            _ => {
                server.kill();
                server.restart();
            }
        }
    }
    writing.await.unwrap();
    let heard: Vec<_> = join_all(followers).await;
    drop(server);
    app.start_again().await;
    let wanted = table(&app, &item).await;
    assert_eq!(wanted.len(), size.notes + 1);
    for (number, follower) in heard.into_iter().enumerate() {
        let (heard, connections) = follower.unwrap();
        println!(
            "follower {number}: {} notes over {connections} connections",
            heard.len()
        );
        assert!(connections > 1, "follower {number} was never disturbed");
        assert_eq!(heard, wanted, "follower {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r38_f5_no_entry_is_lost_or_doubled_by_crashes_on_sqlite() {
    storm(TestApp::start(On::Sqlite).await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r38_f5_no_entry_is_lost_or_doubled_by_crashes_of_server_and_redis_on_postgresql() {
    let redis = Redis::start();
    let app = TestApp::start_with_redis(redis.url()).await;
    storm(app, Some(redis)).await;
}

/// Eight writers at two servers commit in whatever order; positions follow the commits, and nobody who reads behind a
/// cursor misses one that committed late.
async fn crowd(mut app: TestApp) {
    let size = Size {
        notes: if is_long() { 10_000 } else { 400 },
        pause: Duration::from_millis(1),
        ..size()
    };
    let item = lead(&app).await;
    let first = port_of(&app.url);
    let mut ports = vec![first];
    if app.on() == On::Postgresql {
        ports.push(port_of(&app.second_server().await));
    }
    let [all, one] = cursors(&app, &item).await;
    let followers: Vec<_> = ports
        .iter()
        .flat_map(|port| {
            let from = [(None, all.as_str()), (Some(item.as_str()), one.as_str())];
            from.map(|from| tokio::spawn(Follower::new(*port, &app.admin, from, 50).follow()))
        })
        .collect();
    write_all(&ports, &app.admin, &item, size, &AtomicUsize::new(0)).await;
    let wanted = table(&app, &item).await;
    assert_eq!(wanted.len(), size.notes + 1);
    for heard in join_all(followers).await {
        let (heard, connections) = heard.unwrap();
        println!("{} notes over {connections} connections", heard.len());
        assert_eq!(heard, wanted);
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn r38_eight_writers_leave_no_gap_on_sqlite() {
    crowd(TestApp::start(On::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r38_eight_writers_at_two_servers_leave_no_gap_on_postgresql() {
    crowd(TestApp::start(On::Postgresql).await).await;
}
