//! The transport with a small schema of its own: GraphQL over HTTP and WebSocket as their texts have
//! them, limits, tokens, origins, and the page. What Mailroom answers is other modules' business.

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
use mailroom::http::{HttpParts, MetricsReaders, SocketTimes, serve};
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
        let parts = HttpParts {
            api: api(),
            authenticator: tokens.clone(),
            clock: clock::now,
            ready: Arc::new(|| async { Err("database".to_owned()) }.boxed()),
            metrics: MetricsReaders::Loopback,
            watched: None,
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

// ── HTTP ──

#[tokio::test]
async fn http_answers_by_the_specification() {
    let server = Server::start();
    let json_type = ("Content-Type", "application/json");
    let legacy = ("Accept", "application/json");
    let modern = ("Accept", GRAPHQL);
    let rows: [(&str, &str, &[(&str, &str)], &str, u16); 22] = [
        (
            "a query",
            "POST",
            &[json_type, modern],
            r#"{"query":"{hello}"}"#,
            200,
        ),
        (
            "nulls are nothing",
            "POST",
            &[json_type],
            r#"{"query":"{hello}","operationName":null,"variables":null,"extensions":null}"#,
            200,
        ),
        ("no JSON", "POST", &[json_type, modern], "{ \"no", 400),
        (
            "no JSON, legacy",
            "POST",
            &[json_type, legacy],
            "{ \"no",
            400,
        ),
        ("no body", "POST", &[json_type], "", 400),
        (
            "no query",
            "POST",
            &[json_type],
            r#"{"qeury":"{hello}"}"#,
            400,
        ),
        (
            "a query that is a list",
            "POST",
            &[json_type],
            r#"{"query":["{hello}"]}"#,
            400,
        ),
        (
            "variables that are a list",
            "POST",
            &[json_type],
            r#"{"query":"{hello}","variables":[]}"#,
            400,
        ),
        (
            "a batch",
            "POST",
            &[json_type],
            r#"[{"query":"{hello}"}]"#,
            400,
        ),
        (
            "a syntax error",
            "POST",
            &[json_type, modern],
            r#"{"query":"{"}"#,
            400,
        ),
        (
            "a syntax error, legacy",
            "POST",
            &[json_type, legacy],
            r#"{"query":"{"}"#,
            200,
        ),
        (
            "an unknown field",
            "POST",
            &[json_type, modern],
            r#"{"query":"{nope}"}"#,
            400,
        ),
        (
            "an unknown field, legacy",
            "POST",
            &[json_type, legacy],
            r#"{"query":"{nope}"}"#,
            200,
        ),
        (
            "a variable without its value",
            "POST",
            &[json_type, modern],
            r#"{"query":"query($t:String!){echo(text:$t)}"}"#,
            400,
        ),
        (
            "a variable of another type",
            "POST",
            &[json_type, modern],
            r#"{"query":"query($t:String!){echo(text:$t)}","variables":{"t":7}}"#,
            400,
        ),
        (
            "two operations and no name",
            "POST",
            &[json_type, modern],
            r#"{"query":"query A{hello} query B{hello}"}"#,
            400,
        ),
        (
            "a subscription",
            "POST",
            &[json_type, modern],
            r#"{"query":"subscription{ticks}"}"#,
            400,
        ),
        (
            "no content type",
            "POST",
            &[],
            r#"{"query":"{hello}"}"#,
            415,
        ),
        (
            "a form's content type",
            "POST",
            &[("Content-Type", "text/plain")],
            r#"{"query":"{hello}"}"#,
            415,
        ),
        (
            "an answer nobody makes",
            "POST",
            &[json_type, ("Accept", "text/html")],
            r#"{"query":"{hello}"}"#,
            406,
        ),
        (
            "another method",
            "PUT",
            &[json_type],
            r#"{"query":"{hello}"}"#,
            405,
        ),
        (
            "a panic",
            "POST",
            &[json_type],
            r#"{"query":"{panics}"}"#,
            500,
        ),
    ];
    for (says, method, headers, body, status) in rows {
        let answer = server
            .http(&format!("{method} /graphql"), headers, body)
            .await;
        assert_eq!(answer.status, status, "{says}: {}", answer.body);
        let answer_type = if headers.contains(&modern) {
            GRAPHQL
        } else {
            "application/json"
        };
        assert!(
            answer
                .header("content-type")
                .unwrap()
                .starts_with(answer_type),
            "{says}"
        );
        let json = answer.json();
        if body.contains("{hello}\"") && status == 200 {
            assert_eq!(json, json!({ "data": { "hello": "world" } }), "{says}");
        } else {
            assert!(json.get("data").is_none(), "{says}: {json}");
            let message = json["errors"][0]["message"].as_str().unwrap();
            assert!(
                !message.contains('\n') && !message.contains("canary"),
                "{says}: {message}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_get_runs_queries_only_and_not_for_foreign_pages() {
    let server = Server::start();
    let before = BUMPS.load(Ordering::SeqCst);
    let query = "GET /graphql?query=%7Bhello%7D";
    let bump = "GET /graphql?query=mutation%7Bbump%7D";
    let rows: [(&str, &str, &[(&str, &str)], u16); 11] = [
        ("a program", query, &[], 200),
        (
            "a program with a token",
            query,
            &[("Authorization", "Bearer good")],
            200,
        ),
        (
            "with variables",
            "GET /graphql?query=query(%24t%3AString!)%7Becho(text%3A%24t)%7D&variables=%7B%22t%22%3A%22x%22%7D",
            &[],
            200,
        ),
        (
            "malformed variables",
            "GET /graphql?query=%7Bhello%7D&variables=x",
            &[],
            400,
        ),
        (
            "by its operation's name",
            "GET /graphql?query=query+A%7Bhello%7Dquery+B%7Bhello%7D&operationName=A",
            &[],
            200,
        ),
        ("a mutation", bump, &[], 405),
        (
            "a mutation with a token",
            bump,
            &[("Authorization", "Bearer good")],
            405,
        ),
        (
            "a page of another site",
            query,
            &[("Sec-Fetch-Site", "cross-site")],
            403,
        ),
        (
            "an image's address",
            query,
            &[("Sec-Fetch-Mode", "no-cors")],
            403,
        ),
        (
            "a type that needs no leave",
            query,
            &[("Content-Type", "text/plain")],
            403,
        ),
        (
            "a header that needs leave",
            query,
            &[
                ("Sec-Fetch-Site", "cross-site"),
                ("Apollo-Require-Preflight", "1"),
            ],
            200,
        ),
    ];
    for (says, head, headers, status) in rows {
        let answer = server.http(head, headers, "").await;
        assert_eq!(answer.status, status, "{says}: {}", answer.body);
    }
    assert_eq!(BUMPS.load(Ordering::SeqCst), before);
    server.stop().await;
}

#[tokio::test]
async fn a_token_is_none_or_good() {
    let server = Server::start();
    let ask = json!({ "query": "{ userId }" });
    let anonymous = server.post(&[("Accept", GRAPHQL)], &ask).await;
    assert_eq!(
        (anonymous.status, anonymous.code()),
        (200, json!("UNAUTHENTICATED"))
    );
    assert_eq!(anonymous.json()["data"], Value::Null);
    let good = server.post(&[("Authorization", "Bearer good")], &ask).await;
    assert_eq!(good.json(), json!({ "data": { "userId": 4 } }));
    for (authorization, status) in [
        ("Bearer bad", 401),
        ("Bearer old", 401),
        ("Basic good", 401),
        ("Bearer", 401),
        ("Bearer outage", 503),
    ] {
        let answer = server.post(&[("Authorization", authorization)], &ask).await;
        assert_eq!(answer.status, status, "{authorization}");
        assert!(answer.json().get("data").is_none());
        if status == 401 {
            assert_eq!(answer.code(), "UNAUTHENTICATED");
            assert_eq!(answer.header("www-authenticate"), Some("bearer"));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn errors_carry_a_code_and_the_requests_id_and_no_causes() {
    let server = Server::start();
    let rows = [
        ("{ hidden }", "NOT_FOUND"),
        ("{ broken }", "INTERNAL"),
        ("{ strict }", "INTERNAL"),
        ("{ panics }", "INTERNAL"),
        ("{ small(number: 4) }", "BAD_USER_INPUT"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ hello(x: 1) }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ echo }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ echo(text: 1) }", "BAD_USER_INPUT"),
        ("{ ...x }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        (
            "{ nest { page(first: 2000000000) { page(first: 2000000000) { page(first: 2000000000) { leaf } } } } }",
            "COST_LIMIT_EXCEEDED",
        ),
        (
            "{ ...f } fragment f on Query { ...f }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ];
    for (query, code) in rows {
        let headers = [("Accept", GRAPHQL), ("X-Request-Id", "req-7")];
        let answer = server.post(&headers, &json!({ "query": query })).await;
        assert_eq!(answer.code(), code, "{query}: {}", answer.body);
        assert_eq!(
            answer.json()["errors"][0]["extensions"]["requestId"],
            "req-7",
            "{query}"
        );
        assert_eq!(answer.header("x-request-id"), Some("req-7"));
        assert!(
            !answer.body.contains("canary") && !answer.body.contains("\\n"),
            "{}",
            answer.body
        );
    }
    let beside = server.query("{ hello hidden broken }").await;
    assert_eq!(
        beside.json()["data"],
        json!({ "hello": "world", "hidden": null, "broken": null })
    );
    let syntax = server.query("{ hello").await;
    let message = syntax.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.starts_with("Syntax error at 1:8: expected "),
        "{message}"
    );
    let suggestion = server.query("{ helo }").await;
    assert!(!suggestion.body.contains("hello"), "{}", suggestion.body);
    server.stop().await;
}

#[tokio::test]
async fn t35_bodies_and_ids_have_limits() {
    let server = Server::start();
    let large = json!({ "query": "{hello}", "variables": { "x": "y".repeat(257 * 1024) } });
    let answer = server.post(&[], &large).await;
    assert_eq!(
        (answer.status, answer.code()),
        (413, json!("COST_LIMIT_EXCEEDED"))
    );
    let chunked = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(chunked.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    for _ in 0..5 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    let strange = server
        .post(
            &[("X-Request-Id", "a b<script>")],
            &json!({ "query": "{hello}" }),
        )
        .await;
    assert_eq!(strange.header("x-request-id").unwrap().len(), 32);
    server.stop().await;
}

/// The query that GraphiQL and the code generators send.
const INTROSPECTION: &str =
    "query IntrospectionQuery { __schema { queryType { name } mutationType { name }
  subscriptionType { name } types { ...FullType }
  directives { name description locations args { ...InputValue } } } }
  fragment FullType on __Type { kind name description
  fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef }
  isDeprecated deprecationReason } inputFields { ...InputValue } interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef } }
  fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
  fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
  ofType { kind name } } } } } } } } } }";

#[tokio::test]
async fn whoever_is_signed_in_may_read_the_schema() {
    let server = Server::start();
    let signed_in = server.query(INTROSPECTION).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    assert_eq!(
        signed_in.json()["data"]["__schema"]["queryType"]["name"],
        "Query"
    );
    let anonymous = server.post(&[], &json!({ "query": INTROSPECTION })).await;
    assert_eq!(
        (anonymous.status, anonymous.code()),
        (401, json!("UNAUTHENTICATED"))
    );
    let harmless = server
        .post(&[], &json!({ "query": "{ __typename }" }))
        .await;
    assert_eq!(
        harmless.json(),
        json!({ "data": { "__typename": "Query" } })
    );
    server.stop().await;
}

/// The promise is for optimised builds: the parser alone is some twenty times slower without.
const AT_ONCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 20 });

/// T35 and the 50 ways to ask for too much: each is refused within 20 ms, before the schema is asked.
#[tokio::test]
async fn t35_floods_are_refused_at_once() {
    let api = api();
    let mut corpus: Vec<(String, String)> = Vec::new();
    for links in [13, 16, 20, 24, 28, 29, 30, 40, 100, 150] {
        let mut source = "{ nest { ...f0 } }".to_owned();
        for link in 0..links {
            source += &format!(" fragment f{link} on Nest {{ ...f{0} ...f{0} }}", link + 1);
        }
        corpus.push((
            format!("doubling {links}"),
            source + &format!(" fragment f{links} on Nest {{ leaf }}"),
        ));
    }
    for width in [3, 5, 9] {
        let mut source = "{ nest { ...f0 } }".to_owned();
        for link in 0..12 {
            let spreads = format!("nest {{ ...f{} }} ", link + 1).repeat(width);
            source += &format!(" fragment f{link} on Nest {{ {spreads} }}");
        }
        corpus.push((
            format!("growing {width}-fold"),
            source + " fragment f12 on Nest { leaf }",
        ));
    }
    for depth in [13, 20, 40, 63, 64, 500, 5_000] {
        let source = format!("{{ {}leaf{} }}", "nest { ".repeat(depth), "}".repeat(depth));
        corpus.push((format!("depth {depth}"), source));
    }
    for count in [31, 100, 400] {
        let fields: String = (0..count)
            .map(|number| format!("a{number}: leaf "))
            .collect();
        corpus.push((
            format!("{count} aliases"),
            format!("{{ nest {{ {fields} }} }}"),
        ));
        let logins: String = (0..count)
            .map(|number| format!("a{number}: bump "))
            .collect();
        corpus.push((
            format!("{count} attempts"),
            format!("mutation {{ {logins} }}"),
        ));
        corpus.push((
            format!("{count} root fields"),
            format!("{{ {} }}", "hello ".repeat(count)),
        ));
        let directives = "@skip(if: false) ".repeat(count);
        corpus.push((
            format!("{count} directives"),
            format!("{{ hello {directives} }}"),
        ));
        let list = "1 ".repeat(count + 220);
        corpus.push((
            format!("a list of {}", count + 220),
            format!("{{ echo(text: [{list}]) }}"),
        ));
    }
    for bracket in ["[", "{a:", "{ a ", "{ ... ", "(", "[[{a:"] {
        corpus.push((
            format!("open {bracket}"),
            format!("{{ echo(text: {}", bracket.repeat(3_000)),
        ));
        corpus.push((
            format!("many {bracket}"),
            format!("{{ echo {}", bracket.repeat(65)),
        ));
    }
    corpus.push((
        "a long name".into(),
        format!("{{ {} }}", "a".repeat(20_000)),
    ));
    corpus.push((
        "a cycle".into(),
        "{ ...f } fragment f on Query { ...f ...f }".into(),
    ));
    let wheel = "{ ...a } fragment a on Query { ...b ...b } fragment b on Query { ...a ...a }";
    corpus.push(("a wheel".into(), wheel.into()));
    let types = "{ type { fields ".repeat(8) + "{ name " + &"}}".repeat(9);
    corpus.push((
        "types of types".into(),
        format!("{{ __schema {{ types {{ fields {types} }} }} }}"),
    ));
    assert!(corpus.len() >= 50, "{}", corpus.len());
    let id = RequestId("t35".into());
    for (says, query) in corpus {
        // The best of three: other tests run beside this one.
        let mut best = Duration::MAX;
        let mut refused = None;
        for _ in 0..3 {
            let request = ApiRequest {
                query: query.clone(),
                ..ApiRequest::default()
            };
            let started = Instant::now();
            refused = Some(api.prepare(request, &id).expect_err(&says));
            best = best.min(started.elapsed());
        }
        assert!(best < AT_ONCE, "{says} took {best:?}");
        let refused = refused.unwrap();
        let body: Value = serde_json::from_str(&refused.body).unwrap();
        let code = body["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            [
                "COST_LIMIT_EXCEEDED",
                "GRAPHQL_VALIDATION_FAILED",
                "GRAPHQL_PARSE_FAILED"
            ]
            .contains(&code.as_str()),
            "{says}: {code}"
        );
    }
}

#[tokio::test]
async fn the_page_comes_whole_from_the_binary() {
    let server = Server::start();
    let home = server.http("GET /", &[], "").await;
    assert_eq!(
        (home.status, home.header("location")),
        (302, Some("/graphiql"))
    );
    let page = server.http("GET /graphiql", &[], "").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'self';") && !policy.contains("unsafe-eval"),
        "{policy}"
    );
    let files: Vec<&str> = page
        .body
        .split(['"'])
        .filter(|part| part.starts_with("/graphiql/"))
        .collect();
    assert_eq!(files.len(), 7, "{files:?}");
    for file in files {
        let answer = server.http(&format!("GET {file}"), &[], "").await;
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let tag = answer.header("etag").unwrap().to_owned();
        let again = server
            .http(&format!("GET {file}"), &[("If-None-Match", &tag)], "")
            .await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
    }
    assert_eq!(
        server.http("GET /graphiql/nope.js", &[], "").await.status,
        404
    );
    assert_eq!(server.http("GET /healthz", &[], "").await.status, 200);
    let ready = server.http("GET /readyz", &[], "").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (503, "not ready: database\n")
    );
    server.stop().await;
}

#[tokio::test]
async fn pages_of_named_origins_may_ask_and_read() {
    let server = Server::start();
    for (origin, wanted) in [
        ("https://crm.example.com", true),
        ("https://evil.example", false),
    ] {
        let asked = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
        ];
        let preflight = server.http("OPTIONS /graphql", &asked, "").await;
        assert_eq!(
            preflight.header("access-control-allow-origin").is_some(),
            wanted,
            "{origin}"
        );
        assert!(
            preflight
                .header("access-control-allow-credentials")
                .is_none()
        );
        let answer = server
            .post(&[("Origin", origin)], &json!({ "query": "{hello}" }))
            .await;
        assert_eq!(
            answer.header("access-control-allow-origin").is_some(),
            wanted,
            "{origin}"
        );
    }
    server.stop().await;
}

// ── WebSocket ──

pub fn quick() -> SocketTimes {
    SocketTimes {
        init: Duration::from_millis(200),
        ping: Duration::from_millis(100),
        pong: Duration::from_millis(300),
        write: Duration::from_millis(500),
        recheck: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_socket_opens_with_a_token_and_not_without() {
    let server = Server::start();
    server.open("good").await;
    let mut capital = server.socket().await;
    let payload = json!({ "Authorization": "bearer good" });
    capital
        .say(json!({ "type": "connection_init", "payload": payload }))
        .await;
    assert_eq!(capital.next().await["type"], "connection_ack");
    for (payload, code) in [
        (json!({ "authorization": "Bearer bad" }), 4403),
        (json!({ "authorization": "Bearer old" }), 4403),
        (json!({ "authorization": "good" }), 4403),
        (json!({ "authorization": "Bearer outage" }), 1013),
        (json!({}), 4403),
        (Value::Null, 4403),
    ] {
        let mut socket = server.socket().await;
        socket
            .say(json!({ "type": "connection_init", "payload": payload }))
            .await;
        assert_eq!(socket.closed().await.0, code, "{payload}");
    }
    let cookie = [
        ("cookie", "authorization=Bearer good"),
        ("authorization", "Bearer good"),
    ];
    let mut by_header = server.socket_with(&cookie).await.unwrap();
    by_header.say(json!({ "type": "connection_init" })).await;
    assert_eq!(by_header.closed().await.0, 4403);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_needs_the_protocol_and_a_known_origin() {
    let server = Server::start();
    let own = format!("http://{}", server.address);
    for (headers, wanted) in [
        (vec![("origin", own.as_str())], None),
        (vec![("origin", "https://crm.example.com")], None),
        (vec![("origin", "https://evil.example")], Some(403)),
        (vec![("origin", "null")], Some(403)),
        (vec![("sec-websocket-protocol", "graphql-ws")], Some(400)),
        (vec![("sec-websocket-protocol", "nope")], Some(400)),
    ] {
        let status = match server.socket_with(&headers).await {
            Ok(_) => None,
            Err(WsError::Http(response)) => Some(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(status, wanted, "{headers:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_the_protocol_forbids_closes_with_its_code() {
    let server = Server::start();
    let init = r#"{"type":"connection_init","payload":{"authorization":"Bearer good"}}"#;
    let silent = r#"{"id":"d","type":"subscribe","payload":{"query":"subscription{silent}"}}"#;
    let rows: [(&str, &[&str], u16, &str); 9] = [
        (
            "a second init",
            &[init, init],
            4429,
            "Too many initialisation requests",
        ),
        (
            "a subscription before the ack",
            &[silent],
            4401,
            "Unauthorized",
        ),
        (
            "an id in use",
            &[silent, silent],
            4409,
            "Subscriber for d already exists",
        ),
        ("no JSON", &["{\"nope"], 4400, "Message is not JSON"),
        (
            "an unknown type",
            &[r#"{"type":"nope"}"#],
            4400,
            "Message has an unknown type",
        ),
        (
            "the legacy start",
            &[r#"{"type":"start","id":"a"}"#],
            4400,
            "Message has an unknown type",
        ),
        (
            "an id that is a number",
            &[r#"{"type":"complete","id":1}"#],
            4400,
            "Message id is not a string",
        ),
        (
            "a payload that is text",
            &[r#"{"type":"ping","payload":"x"}"#],
            4400,
            "Message payload is not an object",
        ),
        (
            "no query",
            &[r#"{"type":"subscribe","id":"a","payload":{}}"#],
            4400,
            "Subscribe has an invalid payload",
        ),
    ];
    for (says, messages, code, reason) in rows {
        let needs_ack = code == 4409;
        let mut socket = if needs_ack {
            server.open("good").await
        } else {
            server.socket().await
        };
        for message in messages {
            socket.text(message).await;
        }
        assert_eq!(socket.closed().await, (code, reason.to_owned()), "{says}");
    }
    let mut binary = server.socket().await;
    binary
        .stream
        .send(Message::binary(init.as_bytes().to_vec()))
        .await
        .unwrap();
    assert_eq!(binary.closed().await.0, 4400);
    server.stop().await;
}

#[tokio::test]
async fn operations_run_and_end_as_the_protocol_says() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("q", "{ hello userId }").await;
    let next = socket.next().await;
    assert_eq!(
        next["payload"],
        json!({ "data": { "hello": "world", "userId": 4 } })
    );
    assert_eq!(
        socket.next().await,
        json!({ "id": "q", "type": "complete" })
    );
    socket
        .subscribe("q", "subscription { countdown(from: 3) }")
        .await;
    for wanted in [2, 1, 0] {
        let next = socket.next().await;
        assert_eq!(
            next,
            json!({ "id": "q", "type": "next", "payload": { "data": { "countdown": wanted } } })
        );
    }
    assert_eq!(socket.next().await["type"], "complete");
    let via_fragment =
        "subscription S { ...f } fragment f on Live { ... on Live { countdown(from: 1) } }";
    socket.subscribe("q", via_fragment).await;
    assert_eq!(socket.next().await["payload"]["data"]["countdown"], 0);
    assert_eq!(socket.next().await["type"], "complete");
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { a: silent b: silent }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { ...f ...f } fragment f on Live { silent }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { silent @skip(if: true) }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { refused }", "NOT_FOUND"),
    ] {
        socket.subscribe("q", query).await;
        let error = socket.next().await;
        assert_eq!(error["type"], "error", "{query}: {error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{query}");
    }
    socket.subscribe("q", "subscription { falters }").await;
    assert_eq!(socket.next().await["payload"]["data"]["falters"], 1);
    let faltering = socket.next().await;
    assert_eq!(faltering["type"], "next");
    assert_eq!(
        faltering["payload"]["errors"][0]["extensions"]["code"],
        "NOT_FOUND"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_ends_a_subscription_and_hears_no_more_of_it() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("t", "subscription { ticks }").await;
    assert_eq!(socket.next().await["payload"]["data"]["ticks"], 0);
    socket.say(json!({ "id": "t", "type": "complete" })).await;
    socket
        .say(json!({ "id": "unknown", "type": "complete" }))
        .await;
    socket
        .say(json!({ "type": "ping", "payload": { "last": true } }))
        .await;
    loop {
        let message = socket.next().await;
        if message == json!({ "type": "pong", "payload": { "last": true } }) {
            break;
        }
        assert_eq!(message["type"], "next");
    }
    socket.subscribe("t", "{ hello }").await;
    assert_eq!(socket.next().await["payload"]["data"]["hello"], "world");
    assert_eq!(socket.next().await["type"], "complete");
    socket.stream.close(None).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn busy_streams_leave_turns_to_quiet_ones() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("a", "subscription { flood }").await;
    socket.subscribe("b", "subscription { flood }").await;
    socket.subscribe("q", "{ hello }").await;
    // The first may have a start, since the others arrive after it.
    while socket.next().await["id"] != "b" {}
    let mut heard = [0_u32; 2];
    while heard[0] + heard[1] < 2_000 {
        match socket.next().await["id"].as_str().unwrap() {
            "a" => heard[0] += 1,
            "b" => heard[1] += 1,
            _ => {}
        }
    }
    assert!(heard[0].abs_diff(heard[1]) < 10, "{heard:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_socket_runs_twenty_subscriptions_and_no_more() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    for number in 0..21 {
        socket
            .subscribe(&format!("s{number}"), "subscription { silent }")
            .await;
    }
    let error = socket.next().await;
    assert_eq!(
        (error["id"].as_str(), error["type"].as_str()),
        (Some("s20"), Some("error"))
    );
    assert_eq!(error["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    for number in 0..20 {
        socket.subscribe(&format!("q{number}"), "{ hello }").await;
    }
    let mut completed = 0;
    while completed < 20 {
        completed += u32::from(socket.next().await["type"] == "complete");
    }
    server.stop().await;
}

#[tokio::test]
async fn t34_a_socket_does_not_outlive_its_token() {
    let server = Server::start();
    let mut brief = server.open("brief").await;
    let mut revocable = server.open("revocable").await;
    for socket in [&mut brief, &mut revocable] {
        socket.subscribe("t", "subscription { ticks }").await;
        assert_eq!(socket.next().await["type"], "next");
    }
    assert_eq!(brief.closed().await, (4403, "Token expired".to_owned()));
    server
        .tokens
        .revoked
        .lock()
        .unwrap()
        .insert("revocable".to_owned());
    let revoked_at = Instant::now();
    server.tokens.changes.send_modify(|changes| *changes += 1);
    assert_eq!(revocable.closed().await, (4403, "Forbidden".to_owned()));
    assert!(revoked_at.elapsed() < Duration::from_secs(1));
    server.stop().await;
}

#[tokio::test]
async fn a_user_has_so_many_sockets() {
    let server = Server::start();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(server.open("good").await);
    }
    let mut fourth = server.socket().await;
    fourth.init("good").await;
    assert_eq!(
        fourth.closed().await,
        (1013, "Too many sockets of one user".to_owned())
    );
    server.open("revocable").await;
    let mut first = open.remove(0);
    first.stream.close(None).await.unwrap();
    first.closed().await;
    server.open("good").await;
    server.stop().await;
}

#[tokio::test]
async fn an_operation_starts_with_the_rights_of_its_moment() {
    let server = Server::start();
    let mut socket = server.open("revocable").await;
    server
        .tokens
        .revoked
        .lock()
        .unwrap()
        .insert("revocable".to_owned());
    socket.subscribe("q", "{ hello }").await;
    assert_eq!(socket.closed().await.0, 4403);
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_speak_or_listen_is_closed() {
    // Who reads nothing answers no ping either: here only the writing is to end it.
    let server = Server::with(SocketTimes {
        pong: Duration::from_secs(60),
        ..quick()
    });
    let mut silent = server.socket().await;
    let reason = "Connection initialisation timeout".to_owned();
    assert_eq!(silent.closed().await, (4408, reason));
    // Reads nothing while the server has more to say than the network buffers hold.
    let mut slow = server.open("good").await;
    slow.subscribe("f", "subscription { flood(bytes: 60000) }")
        .await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (code, reason) = slow.closed().await;
    assert_eq!((code, reason.as_str()), (1013, "Reading too slowly"));
    server.stop().await;
}

#[tokio::test]
async fn the_server_asks_whether_the_client_lives() {
    let server = Server::with(quick());
    let mut socket = server.open("good").await;
    assert_eq!(socket.next().await, json!({ "type": "ping" }));
    // The frame was answered by the library: any sign of life will do.
    assert_eq!(socket.next().await, json!({ "type": "ping" }));
    let mut dead = server.open("good").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(dead.closed().await, (1013, "No sign of life".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn t35_a_message_has_64_kib_over_all_its_fragments() {
    let server = Server::start();
    let mut whole = server.open("good").await;
    let payload = "x".repeat(70 * 1024);
    let large = json!({ "type": "ping", "payload": { "x": payload } }).to_string();
    // The server may close while this is still being sent.
    let _ = whole.stream.send(Message::text(large)).await;
    assert_eq!(whole.closed().await.0, 1009);
    let mut parts = server.socket().await;
    let init = r#"{"type":"connection_init","payload":{"authorization":"Bearer good"}}"#;
    let (first, last) = init.split_at(20);
    let fragment = |text: &str, code, fin| {
        Message::Frame(Frame::message(
            text.as_bytes().to_vec(),
            OpCode::Data(code),
            fin,
        ))
    };
    parts
        .stream
        .send(fragment(first, Data::Text, false))
        .await
        .unwrap();
    parts
        .stream
        .send(fragment(last, Data::Continue, true))
        .await
        .unwrap();
    assert_eq!(parts.next().await["type"], "connection_ack");
    let chunk = "a".repeat(30_000);
    parts
        .stream
        .send(fragment(&chunk, Data::Text, false))
        .await
        .unwrap();
    for _ in 0..3 {
        let _ = parts
            .stream
            .send(fragment(&chunk, Data::Continue, false))
            .await;
    }
    assert_eq!(parts.closed().await.0, 1009);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_sends_sockets_away_to_come_back() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("t", "subscription { ticks }").await;
    socket.next().await;
    let started = Instant::now();
    let stopping = tokio::spawn(server.stop());
    assert_eq!(socket.closed().await, (1012, "Service restart".to_owned()));
    stopping.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
