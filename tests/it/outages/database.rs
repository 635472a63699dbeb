//! PostgreSQL is stopped at random moments while a mailbox is synced and somebody follows, and comes back.

use super::{Front, Inbox, Program, Recoveries, check_all, lines_max, listening, moment};
use crate::crashes::{ADDRESS, Asked, PROGRAM, connect, is_long};
use crate::support::app::{PATIENCE, TestApp, text};
use crate::support::dovecot;
use crate::support::postgres::Postgres;
use futures_util::{SinkExt as _, StreamExt as _};
use rand::Rng as _;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const STORED: &str = "SELECT count(*) FROM placements WHERE state = 'STORED'";

/// Stops, and mails of each.
fn size() -> (u32, u64) {
    if is_long() { (50, 240) } else { (5, 240) }
}

/// Mails that come while the database is away.
const MORE: u64 = 30;
/// Longer than a lease.
const LONG_OUTAGE: Duration = Duration::from_secs(33);

fn duration(outage: u32) -> Duration {
    if is_long() && outage == 7 {
        LONG_OUTAGE
    } else {
        Duration::from_millis(rand::rng().random_range(0..2500))
    }
}

const TIMELINE: &str = "subscription ($after: Cursor) { timeline(after: $after) { __typename
  ... on EntryAdded { cursor entry { id } } ... on CaughtUp { cursor } ... on Gap { cursor } } }";

const MAILBOX: &str = "subscription ($id: ID!) { mailboxSync(mailboxId: $id) { address } }";

/// Closes that a client answers by coming back; 4408 as well, by the protocol's own client.
const RETRYABLE: [u16; 4] = [1011, 1012, 1013, 4408];

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Follows everything, and comes back behind the last cursor whenever the stream ends. Beside it, on the same sockets, it
/// watches the mailbox, which goes on being told for as long as the socket stands.
struct Follower {
    url: String,
    token: String,
    mailbox: String,
    cursor: Option<String>,
    heard: HashSet<String>,
    count: Arc<AtomicUsize>,
    /// Has a cursor: what comes from then on is not missed.
    follows: Arc<Notify>,
    streams: usize,
}

impl Follower {
    async fn follow(mut self, expected: tokio::sync::watch::Receiver<usize>) -> Self {
        let mut pace = tokio::time::interval(Duration::from_millis(200));
        let started = Instant::now();
        loop {
            pace.tick().await;
            if let Some(socket) = self.connect().await {
                self.streams += 1;
                if self.hear(socket, &expected).await {
                    return self;
                }
            }
            assert!(started.elapsed() < Duration::from_secs(900), "stuck");
        }
    }

    async fn connect(&self) -> Option<Socket> {
        let address = format!("{}/graphql", self.url.replacen("http", "ws", 1));
        let mut request = address.into_client_request().unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (mut socket, _response) = tokio_tungstenite::connect_async(request).await.ok()?;
        let authorization = format!("Bearer {}", self.token);
        let init =
            json!({ "type": "connection_init", "payload": { "authorization": authorization } });
        socket.send(Message::text(init.to_string())).await.ok()?;
        if message_of(&mut socket).await?["type"] != "connection_ack" {
            return None;
        }
        for (id, query, variables) in [
            ("1", TIMELINE, json!({ "after": self.cursor })),
            ("2", MAILBOX, json!({ "id": self.mailbox })),
        ] {
            let payload = json!({ "query": query, "variables": variables });
            let subscribe = json!({ "type": "subscribe", "id": id, "payload": payload });
            let message = Message::text(subscribe.to_string());
            socket.send(message).await.ok()?;
        }
        Some(socket)
    }

    /// Listens until the stream ends; whether all was heard.
    async fn hear(
        &mut self,
        mut socket: Socket,
        expected: &tokio::sync::watch::Receiver<usize>,
    ) -> bool {
        loop {
            if *expected.borrow() <= self.heard.len() {
                return true;
            }
            let next = message_of(&mut socket);
            let Ok(next) = tokio::time::timeout(Duration::from_millis(200), next).await else {
                continue;
            };
            let Some(message) = next else { return false };
            // A stream that can't begin says `error`.
            if message["id"] == "2" && message["type"] != "error" {
                let seen = &message["payload"]["data"]["mailboxSync"]["address"];
                assert_eq!(*seen, ADDRESS, "the mailbox is no longer told: {message}");
                continue;
            }
            if message["type"] != "next" || message["payload"].get("errors").is_some() {
                println!("a stream ended: {message}");
                return false;
            }
            let event = &message["payload"]["data"]["timeline"];
            match event["__typename"].as_str().unwrap() {
                "EntryAdded" => {
                    let id = text(&event["entry"]["id"]);
                    assert!(self.heard.insert(id), "an entry came twice: {event}");
                    self.count.store(self.heard.len(), Ordering::Relaxed);
                }
                "CaughtUp" => self.follows.notify_one(),
                other => panic!("{other}: nothing is missing here"),
            }
            self.cursor = Some(text(&event["cursor"]));
        }
    }
}

/// The next message of the protocol; `None` when the connection ends, which must be retryable.
async fn message_of(socket: &mut Socket) -> Option<Value> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] != "ping" {
                    return Some(message);
                }
                let pong = json!({ "type": "pong" }).to_string();
                socket.send(Message::text(pong)).await.ok()?;
            }
            Message::Close(frame) => {
                println!("a socket was closed: {frame:?}");
                let code = frame.map(|frame| u16::from(frame.code));
                assert!(code.is_none_or(|code| RETRYABLE.contains(&code)));
                return None;
            }
            _ => {}
        }
    }
}

/// How many mails are stored, once the database says so.
async fn stored(app: &TestApp, at_least: i64) -> i64 {
    let mut asked = Asked::of(app);
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    loop {
        pace.tick().await;
        let number = asked.number(STORED);
        if number >= at_least {
            return number;
        }
        assert!(started.elapsed() < PATIENCE, "{number} of {at_least}");
    }
}

/// R5, R8: stopped as `pg_ctl stop -m immediate` does.
#[tokio::test(flavor = "multi_thread")]
async fn r05_r08_a_database_that_stops_loses_nothing_and_is_gone_on_with() {
    let mut postgres = Postgres::start();
    let mut app = TestApp::start_with_database(postgres.url()).await;
    let dovecot = dovecot::start(&[ADDRESS]);
    let queue = connect(&app, &dovecot).await;
    app.stop().await;
    let before = Asked::of(&app).number("SELECT last FROM positions");
    let (url, environment) = listening(app.environment());
    let mut serve = Command::new(PROGRAM);
    serve.arg("serve");
    let mut server = Program::launch(serve, environment);
    let mut work = Command::new(PROGRAM);
    work.arg("worker");
    let mut worker = Program::launch(work, app.environment());
    let mut front = Front::at(&app, url.clone()).await;
    let count = Arc::<AtomicUsize>::default();
    let follows = Arc::<Notify>::default();
    let follower = Follower {
        url,
        token: app.admin.clone(),
        mailbox: front.mailbox_id().await,
        cursor: None,
        heard: HashSet::new(),
        count: Arc::clone(&count),
        follows: Arc::clone(&follows),
        streams: 0,
    };
    let (tell, told) = tokio::sync::watch::channel(usize::MAX);
    let following = tokio::spawn(follower.follow(told));
    tokio::time::timeout(PATIENCE, follows.notified())
        .await
        .expect("it follows");
    let mut inbox = Inbox::of(&dovecot);
    let (mut recoveries, mut reading) = (Recoveries::default(), Recoveries::default());
    let (stops, mails) = size();
    let mut in_the_middle = 0;
    for number in 0..stops {
        // Little is left over of the last outage.
        stored(&app, inbox.mails as i64 - MORE as i64).await;
        inbox.fill(mails);
        tokio::time::sleep(moment()).await;
        let lines = server.lines() + worker.lines();
        let began = Instant::now();
        postgres.stop_at_once();
        inbox.fill(MORE);
        tokio::time::sleep(duration(number)).await;
        let away_for = began.elapsed();
        let logged = server.lines() + worker.lines() - lines;
        assert!(
            logged < 2 * lines_max(away_for),
            "{logged} lines in {away_for:?}"
        );
        postgres.start_again();
        let recovered = Instant::now();
        let there = stored(&app, 0).await;
        in_the_middle += u32::from(there < (inbox.mails - MORE) as i64);
        let (took, (seen, read)) = tokio::join!(
            async {
                stored(&app, there + 1).await;
                recovered.elapsed()
            },
            async { (front.mailbox().await, recovered.elapsed()) }
        );
        println!(
            "stop {number}: away for {away_for:?} at {there} of {}, {logged} lines; went on after {took:?}",
            inbox.mails
        );
        recoveries.note(took);
        reading.note(read);
        assert_eq!(seen.quarantined, 0, "{seen:#?}");
        server.assert_runs();
        worker.assert_runs();
    }
    let expected = inbox.mails;
    front
        .until(PATIENCE, "all is taken in", |seen| {
            seen.done == expected && seen.stage == "WATCHING"
        })
        .await;
    let told = format!("SELECT count(*) FROM timeline_entries WHERE position > {before}");
    let told = usize::try_from(Asked::of(&app).number(&told)).unwrap();
    tell.send(told).unwrap();
    let Ok(follower) = tokio::time::timeout(PATIENCE, following).await else {
        panic!(
            "{} of {told} entries were heard",
            count.load(Ordering::Relaxed)
        );
    };
    let follower = follower.unwrap();
    assert_eq!(follower.heard.len(), told, "every entry was heard once");
    println!("{in_the_middle} stops were in the middle of a sync");
    assert!(in_the_middle > 0, "it was never in the middle of a sync");
    println!("{told} entries over {} streams", follower.streams);
    worker.end();
    server.end();
    app.start_again().await;
    check_all(&app, expected, &queue).await;
    recoveries.tell("stopped PostgreSQL", expected);
    reading.tell("its first answered question", expected);
}
