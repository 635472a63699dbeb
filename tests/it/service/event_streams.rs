//! Server-sent events, a connection for each operation: as graphql-sse has them, within the limits of sockets.

use crate::on_both;
use crate::support::app::{PATIENCE, text};
use crate::transport::{Server, quick};
use mailroom::http::SocketTimes;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const EVENTS: &str = "text/event-stream";

/// A stream of events as a client reads it.
struct Stream {
    response: reqwest::Response,
    heard: String,
}

/// One event; `None`: the connection ended.
type Event = Option<(String, Value)>;

impl Stream {
    async fn open(url: &str, token: &str, request: &Value) -> Self {
        let response = reqwest::Client::new()
            .post(format!("{url}/graphql"))
            .header("accept", EVENTS)
            .bearer_auth(token)
            .json(request)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with(EVENTS), "{kind}");
        Self {
            response,
            heard: String::new(),
        }
    }

    async fn event(&mut self) -> Event {
        loop {
            while let Some((block, rest)) = self.heard.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.heard = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim().to_owned())
                };
                if let Some(kind) = field("event:") {
                    let data = field("data:").unwrap();
                    return Some((kind, serde_json::from_str(&data).unwrap_or(Value::Null)));
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("nothing came") {
                Ok(Some(chunk)) => self.heard += std::str::from_utf8(&chunk).unwrap(),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    async fn next(&mut self) -> Value {
        let (kind, data) = self.event().await.expect("the stream ended");
        assert_eq!(kind, "next");
        data
    }

    async fn ends_complete(&mut self) {
        assert_eq!(
            self.event().await,
            Some(("complete".to_owned(), Value::Null))
        );
        assert_eq!(self.event().await, None);
    }
}

const TIMELINE: &str =
    "subscription ($item: ID, $after: Cursor) { timeline(itemId: $item, after: $after) { __typename
  ... on EntryAdded { cursor entry { ... on NoteAdded { text } } } ... on CaughtUp { cursor } } }";

on_both! {
    async fn r38_a_timeline_comes_as_server_sent_events_and_resumes(app) {
        let lead = app.make(&app.admin, "createLead", json!({ "title": "L" }), "lead { id }").await;
        let lead = text(&lead["lead"]["id"]);
        let note = |words: &str| json!({ "itemId": lead, "text": words });
        let wanted = |after: Value| json!({ "query": TIMELINE, "variables": { "item": lead, "after": after } });
        let mut stream = Stream::open(&app.url, &app.admin, &wanted(Value::Null)).await;
        assert_eq!(stream.next().await["data"]["timeline"]["__typename"], "CaughtUp");
        app.make(&app.admin, "addNote", note("one"), "entry { id }").await;
        let event = stream.next().await;
        assert_eq!(event["data"]["timeline"]["entry"]["text"], "one");
        let cursor = event["data"]["timeline"]["cursor"].clone();
        app.make(&app.admin, "addNote", note("two"), "entry { id }").await;
        // A stop ends it without `complete`: it is one to open again.
        stream.next().await;
        app.stop().await;
        assert_eq!(stream.event().await, None);
        app.start_again().await;
        app.make(&app.admin, "addNote", note("three"), "entry { id }").await;
        let mut stream = Stream::open(&app.url, &app.admin, &wanted(cursor)).await;
        for expected in ["two", "three"] {
            assert_eq!(stream.next().await["data"]["timeline"]["entry"]["text"], expected);
        }
        assert_eq!(stream.next().await["data"]["timeline"]["__typename"], "CaughtUp");
        // Deactivated: the stream ends, within a second of the change.
        let token = app.user("Uma", "uma@ours.example", false).await;
        let uma = app.viewer_id(&token).await;
        let mut hers = Stream::open(&app.url, &token, &json!({ "query": TIMELINE })).await;
        assert_eq!(hers.next().await["data"]["timeline"]["__typename"], "CaughtUp");
        app.make(&app.admin, "updateUser", json!({ "userId": uma, "isActive": false }), "user { isActive }").await;
        let changed = Instant::now();
        while hers.event().await.is_some() {}
        assert!(changed.elapsed() < Duration::from_secs(5), "{:?}", changed.elapsed());
    }

    async fn a_query_and_a_refusal_are_one_event_each(app) {
        let mut stream = Stream::open(&app.url, &app.admin, &json!({ "query": "{ viewer { name } }" })).await;
        assert_eq!(stream.next().await, json!({ "data": { "viewer": { "name": "Ada Admin" } } }));
        stream.ends_complete().await;
        let mut stream = Stream::open(&app.url, &app.admin, &json!({ "query": "{ viewer { nothing } }" })).await;
        assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
        stream.ends_complete().await;
        let mut stream = Stream::open(&app.url, &app.admin, &json!({ "query": "{ viewer" })).await;
        assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "GRAPHQL_PARSE_FAILED");
        stream.ends_complete().await;
        // Whoever takes either gets a query's answer as JSON and a subscription's as events.
        let authorization = format!("Bearer {}", app.admin);
        let either = [("accept", "application/json, text/event-stream"), ("authorization", &authorization)];
        let (_status, body) = app.get("/graphql?query=%7Bviewer%7Bname%7D%7D", &either).await;
        assert!(body.starts_with('{'), "{body}");
    }
}

fn ask(query: &str) -> String {
    json!({ "query": query }).to_string()
}

#[tokio::test]
async fn what_may_be_asked_for_as_events() {
    let server = Server::start();
    let headers = |token: &'static str| {
        [
            ("Content-Type", "application/json"),
            ("Accept", EVENTS),
            ("Authorization", token),
        ]
    };
    let countdown = ask("subscription { countdown(from: 2) }");
    let answer = server
        .http("POST /graphql", &headers("Bearer good"), &countdown)
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-accel-buffering"), Some("no"));
    assert!(answer.header("x-request-id").is_some());
    for part in [
        "event: next\ndata: {\"data\":{\"countdown\":1}}\n\n",
        "event: next\ndata: {\"data\":{\"countdown\":0}}\n\n",
        "event: complete\ndata:\n\n",
    ] {
        assert!(answer.body.contains(part), "{}", answer.body);
    }
    // By GET too; a mutation never.
    let path = "GET /graphql?query=subscription%7Bcountdown(from:1)%7D";
    let answer = server.http(path, &headers("Bearer good"), "").await;
    assert!(answer.body.contains("{\"countdown\":0}"), "{}", answer.body);
    let answer = server
        .http(
            "GET /graphql?query=mutation%7Bbump%7D",
            &headers("Bearer good"),
            "",
        )
        .await;
    assert_eq!(answer.status, 405);
    // Without a token, or with a bad one, there is no stream.
    for token in ["Bearer wrong", "Bearer old"] {
        let answer = server
            .http("POST /graphql", &headers(token), &countdown)
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (401, json!("UNAUTHENTICATED"))
        );
    }
    let anonymous = [("Content-Type", "application/json"), ("Accept", EVENTS)];
    let answer = server.http("POST /graphql", &anonymous, &countdown).await;
    assert_eq!(
        (answer.status, answer.code()),
        (401, json!("UNAUTHENTICATED"))
    );
    server.stop().await;
}

/// A connection that has sent a request for events; what comes is read by the test, or not at all.
async fn connected(server: &Server, token: &str, query: &str) -> TcpStream {
    let body = ask(query);
    let request = format!(
        "POST /graphql HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: {EVENTS}\r\n\
         Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        server.address,
        body.len()
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until this text has come; all that was read.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(text) {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer));
        let count = read.await.expect("nothing came").unwrap();
        assert!(count > 0, "it ended after {heard}");
        heard += &String::from_utf8_lossy(&buffer[..count]);
    }
    heard
}

#[tokio::test]
async fn t34_a_stream_does_not_outlive_its_token() {
    let server = Server::start();
    let mut brief = connected(&server, "brief", "subscription { ticks }").await;
    let mut revocable = connected(&server, "revocable", "subscription { ticks }").await;
    until(&mut brief, "event: next").await;
    until(&mut revocable, "event: next").await;
    // The end of a body in chunks follows the reason.
    let heard = until(&mut brief, "0\r\n\r\n").await;
    assert!(
        heard.contains(": token expired") && !heard.contains("complete"),
        "{heard}"
    );
    let revoked = "revocable".to_owned();
    server.tokens.revoked.lock().unwrap().insert(revoked);
    let revoked_at = Instant::now();
    server.tokens.changes.send_modify(|changes| *changes += 1);
    let heard = until(&mut revocable, "0\r\n\r\n").await;
    assert!(
        heard.contains(": forbidden") && !heard.contains("complete"),
        "{heard}"
    );
    assert!(revoked_at.elapsed() < Duration::from_secs(1));
    server.stop().await;
}

#[tokio::test]
async fn streams_and_sockets_of_a_user_share_their_places() {
    let server = Server::start();
    let _socket = server.open("good").await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = connected(&server, "good", "subscription { ticks }").await;
        until(&mut stream, "event: next").await;
        streams.push(stream);
    }
    let mut refused = connected(&server, "good", "subscription { ticks }").await;
    let heard = until(&mut refused, "RATE_LIMITED").await;
    assert!(heard.starts_with("HTTP/1.1 429"), "{heard}");
    // Whoever leaves gives the place back.
    streams.pop();
    running(&server, 1).await;
    let mut again = connected(&server, "good", "subscription { ticks }").await;
    until(&mut again, "event: next").await;
    server.stop().await;
}

/// Waits until so many subscriptions run.
async fn running(server: &Server, wanted: usize) {
    let line = format!("\nmailroom_graphql_subscriptions {wanted}\n");
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        pace.tick().await;
        if server
            .http("GET /metrics", &[], "")
            .await
            .body
            .contains(&line)
        {
            return;
        }
    }
    panic!("never {wanted} subscriptions");
}

#[tokio::test]
async fn t35_a_reader_that_takes_nothing_is_given_up() {
    let server = Server::with(SocketTimes {
        write: Duration::from_millis(300),
        ..quick()
    });
    let slow = connected(&server, "good", "subscription { flood(bytes: 60000) }").await;
    running(&server, 1).await;
    running(&server, 0).await;
    drop(slow);
    server.stop().await;
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_lives() {
    let server = Server::with(quick());
    let mut stream = connected(&server, "good", "subscription { silent }").await;
    let mut heard = until(&mut stream, ":\n\n").await;
    while heard.matches(":\n\n").count() < 3 {
        heard += &until(&mut stream, ":\n\n").await;
    }
    server.stop().await;
}
