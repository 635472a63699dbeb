//! The transport with a small schema of its own: GraphQL over HTTP and WebSocket as their texts have
//! them, limits, tokens, origins, and the page. What Mailroom answers is other modules' business.

mod http;
mod websocket;

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_graphql::{Context, Object, Schema, Subscription};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use mailroom::auth::{AuthRefusal, Authenticator};
use mailroom::clock;
use mailroom::graphql::api::{Api, ApiRequest, Caller, Introspection, RequestId};
use mailroom::graphql::{error, limits};
use mailroom::http::{HttpParts, MetricsReaders, SocketTimes, Watch, WatchParts, serve};
use mailroom::model::UserId;
use mailroom::model::people::{Session, Viewer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

// ── a schema ──

static BUMPS: AtomicI32 = AtomicI32::new(0);

struct Query;

#[Object]
impl Query {
    async fn hello(&self) -> &str {
        "world"
    }
    async fn echo(&self, text: String) -> String {
        text
    }
    async fn small(&self, #[graphql(validator(maximum = 3))] number: i32) -> i32 {
        number
    }
    async fn user_id(&self, context: &Context<'_>) -> async_graphql::Result<i64> {
        let caller = context.data::<Caller>()?;
        let session = caller.0.as_ref().ok_or_else(error::unauthenticated)?;
        Ok(session.viewer.user_id.0)
    }
    async fn hidden(&self) -> Option<async_graphql::Result<String>> {
        Some(Err(error::not_found()))
    }
    async fn broken(&self) -> Option<async_graphql::Result<String>> {
        Some(Err(std::io::Error::other("canary: password=hunter2").into()))
    }
    async fn strict(&self) -> async_graphql::Result<String> {
        Err(error::internal(&std::io::Error::other(
            "canary: table users",
        )))
    }
    async fn panics(&self) -> i32 {
        let empty: [i32; 0] = [];
        *empty.first().expect("canary: panicked")
    }
    async fn nest(&self) -> Nest {
        Nest
    }
    async fn items(
        &self,
        #[graphql(default)] first: Option<i32>,
        #[graphql(default)] last: Option<i32>,
    ) -> i32 {
        first.or(last).unwrap_or(0)
    }
}

struct Nest;

#[Object]
impl Nest {
    async fn nest(&self) -> Nest {
        Nest
    }
    async fn leaf(&self) -> i32 {
        1
    }
    #[graphql(complexity = "limits::page_cost(first, last, child_complexity)")]
    async fn page(
        &self,
        #[graphql(default)] first: Option<i32>,
        #[graphql(default)] last: Option<i32>,
    ) -> Vec<Nest> {
        let _ = (first, last);
        vec![Nest]
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn bump(&self) -> i32 {
        BUMPS.fetch_add(1, Ordering::SeqCst) + 1
    }
}

struct Live;

#[Subscription]
impl Live {
    async fn ticks(&self) -> impl Stream<Item = i32> {
        let clock = tokio::time::interval(Duration::from_millis(20));
        stream::unfold((clock, 0), |(mut clock, number)| async move {
            clock.tick().await;
            Some((number, (clock, number + 1)))
        })
    }
    async fn countdown(&self, from: i32) -> impl Stream<Item = i32> {
        stream::iter((0..from).rev())
    }
    async fn flood(&self, #[graphql(default = 10)] bytes: usize) -> impl Stream<Item = String> {
        stream::repeat("x".repeat(bytes))
    }
    async fn silent(&self) -> impl Stream<Item = i32> {
        stream::pending()
    }
    async fn refused(&self) -> async_graphql::Result<stream::Pending<i32>> {
        Err(error::not_found())
    }
    async fn falters(&self) -> impl Stream<Item = async_graphql::Result<i32>> {
        stream::iter([Ok(1), Err(error::not_found()), Ok(3)])
    }
}

// ── a server ──

pub struct Tokens {
    pub revoked: Mutex<HashSet<String>>,
    pub changes: watch::Sender<u64>,
    started: mailroom::model::Time,
}

impl Authenticator for Tokens {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Session, AuthRefusal>> {
        let is_revoked = self.revoked.lock().unwrap().contains(token);
        let user_id = UserId(i64::from(token.len() as u32));
        let viewer = Arc::new(Viewer {
            user_id,
            is_administrator: false,
            department_id: None,
            departments_below: Vec::new(),
            departments_above: Vec::new(),
            roles: Vec::new(),
            rights_epoch: 0,
        });
        let session = |expires_at| Ok(Session { viewer, expires_at });
        let result = match token {
            _ if is_revoked => Err(AuthRefusal::Invalid),
            "good" | "revocable" => session(None),
            "brief" => {
                let end = self.started.micros() + 400_000;
                session(Some(mailroom::model::Time::from_micros(end)))
            }
            "old" => Err(AuthRefusal::Expired),
            "outage" => Err(AuthRefusal::Unavailable),
            _ => Err(AuthRefusal::Invalid),
        };
        async move { result }.boxed()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub tokens: Arc<Tokens>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

fn api() -> Api {
    let schema = limits::apply(Schema::build(Query, Mutation, Live)).finish();
    Api::new(schema, Introspection::SignedIn)
}

impl Server {
    pub fn start() -> Self {
        Self::with(SocketTimes::default())
    }

    pub fn with(socket_times: SocketTimes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tokens = Arc::new(Tokens {
            revoked: Mutex::default(),
            changes: watch::channel(0).0,
            started: clock::now(),
        });
        let api = api();
        let watch = WatchParts {
            clock: clock::now,
            ready: Arc::new(|| async { Err("database".to_owned()) }.boxed()),
            metrics: MetricsReaders::Loopback,
            watched: None,
        };
        let parts = HttpParts {
            api: api.clone(),
            authenticator: tokens.clone(),
            watch: Watch::new(watch, Some(api)),
            graphiql: true,
            allowed_origins: vec!["https://crm.example.com".to_owned()],
            mounts: Vec::new(),
            socket_times,
            sockets_per_user_max: 3,
            workers: 1,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(serve(parts, listener, stopped.map(|_| ())));
        Self {
            address,
            tokens,
            stop: Some(stop),
            ended: Some(ended),
        }
    }

    /// Sends one request and reads the answer to its end.
    pub async fn http(&self, head: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!(
            "{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += &format!("\r\n{body}");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Answer::read(&String::from_utf8(bytes).unwrap())
    }

    async fn post(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.http("POST /graphql", &all, &body.to_string()).await
    }

    async fn query(&self, query: &str) -> Answer {
        let headers = [("Accept", GRAPHQL), ("Authorization", "Bearer good")];
        self.post(&headers, &json!({ "query": query })).await
    }

    async fn socket(&self) -> Socket {
        self.socket_with(&[]).await.unwrap()
    }

    async fn socket_with(&self, headers: &[(&'static str, &str)]) -> Result<Socket, WsError> {
        let mut request = format!("ws://{}/graphql", self.address).into_client_request()?;
        let sent = request.headers_mut();
        sent.insert(
            "sec-websocket-protocol",
            "graphql-transport-ws".parse().unwrap(),
        );
        for (name, value) in headers {
            sent.insert(*name, value.parse().unwrap());
        }
        let (stream, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Socket { stream })
    }

    /// An acknowledged socket of this token.
    pub async fn open(&self, token: &str) -> Socket {
        let mut socket = self.socket().await;
        socket.init(token).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket
    }

    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended.take().unwrap().await.unwrap().unwrap();
    }
}

const GRAPHQL: &str = "application/graphql-response+json";

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}\n{}", self.head, self.body))
    }

    pub fn code(&self) -> Value {
        self.json()["errors"][0]["extensions"]["code"].clone()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    async fn say(&mut self, message: Value) {
        self.text(&message.to_string()).await;
    }

    async fn text(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    async fn init(&mut self, token: &str) {
        let payload = json!({ "authorization": format!("Bearer {token}") });
        self.say(json!({ "type": "connection_init", "payload": payload }))
            .await;
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({ "id": id, "type": "subscribe", "payload": { "query": query } }))
            .await;
    }

    async fn frame(&mut self) -> Option<Message> {
        let frame = tokio::time::timeout(Duration::from_secs(10), self.stream.next());
        frame
            .await
            .expect("the server is silent")
            .map(Result::unwrap)
    }

    /// The next message of the protocol.
    async fn next(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Message::Text(text)) => return serde_json::from_str(&text).unwrap(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("no message but {other:?}"),
            }
        }
    }

    /// Reads on to the close frame.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(_) => {}
                None => panic!("gone without a close frame"),
            }
        }
    }
}

/// Short times, so that what happens when they are over can be waited for.
pub fn quick() -> SocketTimes {
    SocketTimes {
        init: Duration::from_millis(200),
        ping: Duration::from_millis(100),
        pong: Duration::from_millis(300),
        write: Duration::from_millis(500),
        recheck: Duration::from_secs(60),
    }
}
