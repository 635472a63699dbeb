//! A whole Mailroom for a test: server and worker in this process, on a database of its own, asked through the front door.

use super::postgres::TestDatabase;
use super::redis;
use futures_util::{SinkExt, StreamExt};
use mailroom::actions::people::{CreateUser, create_user_as_operator};
use mailroom::app::{self, App, Purpose, Running};
use mailroom::auth::accounts;
use mailroom::clock;
use mailroom::config::{Config, Given};
use mailroom::model::UserId;
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longer than anything that works takes, on a slow machine under load.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Which of the two settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Embedded: SQLite, an in-process bus.
    Sqlite,
    /// PostgreSQL and Redis, with a worker beside the server.
    Postgresql,
}

/// Makes two tests of one: on SQLite, and on PostgreSQL + Redis. `(app with given)` starts it with further settings.
#[macro_export]
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($app:ident $(with $given:expr)?) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn test(on: $crate::support::app::On) {
                #[allow(unused_mut, reason = "some tests stop the app")]
                let mut $app = {
                    let given = mailroom::config::Given::default();
                    $(let given = { drop(given); $given };)?
                    $crate::support::app::TestApp::start_with(on, given).await
                };
                $body
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                test($crate::support::app::On::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgresql() {
                test($crate::support::app::On::Postgresql).await;
            }
        }
    )+};
}

/// A running Mailroom with one administrator.
pub struct TestApp {
    on: On,
    // Servers go before what they run on.
    running: Vec<Running>,
    pub url: String,
    /// The administrator's token.
    pub admin: String,
    redis_url: Option<String>,
    http: reqwest::Client,
    folder: TempDir,
    database: Option<TestDatabase>,
    /// Settings beside those of the two settings.
    given: Given,
}

impl Drop for TestApp {
    /// What still runs would look for a database that is gone, and the test would wait for that.
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let may_block = runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        if self.database.is_some() && may_block && !std::thread::panicking() {
            tokio::task::block_in_place(|| runtime.block_on(self.stop()));
        }
    }
}

impl TestApp {
    /// Starts one with an administrator and nothing else.
    pub async fn start(on: On) -> Self {
        Self::start_with(on, Given::default()).await
    }

    /// The same with further settings.
    pub async fn start_with(on: On, given: Given) -> Self {
        let database = (on == On::Postgresql).then(TestDatabase::empty);
        let redis_url = (on == On::Postgresql).then(redis::shared_url);
        Self::start_on(on, database, redis_url, given).await
    }

    /// The same on PostgreSQL with a Redis of the test's own.
    pub async fn start_with_redis(url: String) -> Self {
        Self::start_with_redis_and(url, Given::default()).await
    }

    /// The same with further settings.
    pub async fn start_with_redis_and(url: String, given: Given) -> Self {
        let database = Some(TestDatabase::empty());
        Self::start_on(On::Postgresql, database, Some(url), given).await
    }

    /// The same on a PostgreSQL of the test's own.
    pub async fn start_with_database(url: String) -> Self {
        let given = Given {
            database_url: Some(url),
            ..Given::default()
        };
        Self::start_on(On::Postgresql, None, Some(redis::shared_url()), given).await
    }

    async fn start_on(
        on: On,
        database: Option<TestDatabase>,
        redis_url: Option<String>,
        given: Given,
    ) -> Self {
        let mut app = Self {
            on,
            running: Vec::new(),
            url: String::new(),
            admin: String::new(),
            redis_url,
            http: reqwest::Client::new(),
            folder: tempfile::tempdir().unwrap(),
            database,
            given,
        };
        app.start_again().await;
        app.admin = app.user("Ada Admin", "ada@ours.example", true).await;
        app
    }

    fn config(&self) -> Config {
        Config::new(Given {
            data_dir: Some(self.folder.path().to_owned()),
            database_url: self.database_url(),
            redis_url: self.redis_url.clone(),
            listen: Some("127.0.0.1:0".to_owned()),
            ..self.given.clone()
        })
        .unwrap()
    }

    /// Which of the two settings it runs on.
    pub const fn on(&self) -> On {
        self.on
    }

    /// Where its data lies.
    pub fn data_folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The URL of its PostgreSQL database; `None` on SQLite.
    pub fn database_url(&self) -> Option<String> {
        let own = self.database.as_ref().map(TestDatabase::url);
        own.or_else(|| self.given.database_url.clone())
    }

    /// The settings that give a process of its own the same data.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let config = self.config();
        let mut variables = vec![
            ("MAILROOM_DATA_DIR", config.data_dir.display().to_string()),
            ("MAILROOM_LISTEN", "127.0.0.1:0".to_owned()),
            ("DATABASE_URL", config.database_url),
        ];
        variables.extend(config.redis_url.map(|url| ("REDIS_URL", url)));
        variables
    }

    /// Starts the server (and a worker beside it, on PostgreSQL) on what there is.
    pub async fn start_again(&mut self) {
        let server = app::serve(App::open(self.config(), Purpose::Run).await.unwrap())
            .await
            .unwrap();
        self.url = format!("http://{}", server.address.unwrap());
        self.running.push(server);
        if self.on == On::Postgresql {
            let worker = app::work(App::open(self.config(), Purpose::Run).await.unwrap());
            self.running.push(worker.await.unwrap());
        }
    }

    /// A second server on the same database; its address.
    pub async fn second_server(&mut self) -> String {
        let server = app::serve(App::open(self.config(), Purpose::Run).await.unwrap())
            .await
            .unwrap();
        let url = format!("http://{}", server.address.unwrap());
        self.running.push(server);
        url
    }

    /// Where its worker says how it does.
    pub fn worker_address(&self) -> Option<std::net::SocketAddr> {
        self.running.get(1)?.address
    }

    /// Stops everything that runs; the data stays.
    pub async fn stop(&mut self) {
        for running in self.running.drain(..) {
            running.stop().await;
        }
    }

    /// The parts, for what a test does behind the front door.
    pub fn app(&self) -> &App {
        self.running[0].app()
    }

    /// Makes a user; their token.
    pub async fn user(&self, name: &str, address: &str, is_administrator: bool) -> String {
        let input = CreateUser {
            name: name.to_owned(),
            address: address.to_owned(),
            password: None,
            department_id: None,
            avatar_url: None,
            time_zone: None,
            is_administrator,
            role_ids: None,
        };
        let id: UserId = create_user_as_operator(&self.app().actions, input, clock::now())
            .await
            .unwrap();
        let store = self.app().store.clone();
        tokio::task::spawn_blocking(move || accounts::create_api_token(&store, id, clock::now()))
            .await
            .unwrap()
            .unwrap()
    }

    /// A plain GET of one of the server's paths: the status and the text.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = self.http.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Posts a whole request, such as one without a document; the whole response.
    pub async fn post(&self, token: &str, request: &Value) -> Value {
        post_at(&self.http, &self.url, token, request).await
    }

    /// Asks over HTTP; the whole response.
    pub async fn ask(&self, token: &str, query: &str, variables: Value) -> Value {
        ask_at(&self.http, &self.url, token, query, variables).await
    }

    /// The same at another server.
    pub async fn ask_server(&self, url: &str, token: &str, query: &str) -> Value {
        ask_at(&self.http, url, token, query, json!({})).await
    }

    /// Asks, and takes no errors.
    pub async fn data(&self, token: &str, query: &str, variables: Value) -> Value {
        let answer = self.ask(token, query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer:#}");
        answer["data"].clone()
    }

    /// Runs the mutation `verb` with its input, asking for `wanted` of the payload and its user errors.
    pub async fn mutate(&self, token: &str, verb: &str, input: Value, wanted: &str) -> Value {
        let mut type_name = verb.to_owned();
        type_name[..1].make_ascii_uppercase();
        let query = format!(
            "mutation ($input: {type_name}Input!) {{ {verb}(input: $input) {{ {wanted} userErrors {{ code message field }} }} }}"
        );
        let data = self.data(token, &query, json!({ "input": input })).await;
        data[verb].clone()
    }

    /// The same, and takes no user errors.
    pub async fn make(&self, token: &str, verb: &str, input: Value, wanted: &str) -> Value {
        let payload = self.mutate(token, verb, input, wanted).await;
        assert_eq!(payload["userErrors"], json!([]), "{verb}: {payload:#}");
        payload
    }

    /// The same at any server.
    pub async fn make_at(url: &str, token: &str, verb: &str, input: Value, wanted: &str) -> Value {
        let mut type_name = verb.to_owned();
        type_name[..1].make_ascii_uppercase();
        let query = format!(
            "mutation ($input: {type_name}Input!) {{ {verb}(input: $input) {{ {wanted} userErrors {{ code }} }} }}"
        );
        let http = reqwest::Client::new();
        let answer = ask_at(&http, url, token, &query, json!({ "input": input })).await;
        assert_eq!(answer["data"][verb]["userErrors"], json!([]), "{answer:#}");
        answer["data"][verb].clone()
    }

    /// The user's id.
    pub async fn viewer_id(&self, token: &str) -> String {
        let data = self.data(token, "{ viewer { id } }", json!({})).await;
        text(&data["viewer"]["id"])
    }

    /// Asks again and again until `is_there` says so; the answer. Fails after [`PATIENCE`].
    pub async fn until(
        &self,
        token: &str,
        (query, variables): (&str, Value),
        is_there: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = std::time::Instant::now();
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        loop {
            pace.tick().await;
            let data = self.data(token, query, variables.clone()).await;
            if is_there(&data) {
                return data;
            }
            assert!(started.elapsed() < PATIENCE, "it never came: {data:#}");
        }
    }

    /// Opens a subscription over WebSocket at the first server.
    pub async fn subscribe(&self, token: &str, query: &str, variables: Value) -> Events {
        Events::open(&self.url, token, query, variables).await
    }
}

async fn ask_at(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    query: &str,
    variables: Value,
) -> Value {
    let request = json!({ "query": query, "variables": variables });
    post_at(http, url, token, &request).await
}

async fn post_at(http: &reqwest::Client, url: &str, token: &str, request: &Value) -> Value {
    let request = http.post(format!("{url}/graphql")).json(request);
    let request = if token.is_empty() {
        request
    } else {
        request.bearer_auth(token)
    };
    request.send().await.unwrap().json().await.unwrap()
}

/// An id or another text of an answer.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value:#}"))
        .to_owned()
}

/// The events of one subscription.
pub struct Events(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Events {
    /// Opens a subscription at a server.
    pub async fn open(url: &str, token: &str, query: &str, variables: Value) -> Self {
        let payload = json!({ "query": query, "variables": variables });
        Self::open_with(url, token, payload).await
    }

    /// Runs an operation of this payload at a server.
    pub async fn open_with(url: &str, token: &str, payload: Value) -> Self {
        let address = format!("{}/graphql", url.replacen("http", "ws", 1));
        let mut request = address.into_client_request().unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _response) = tokio_tungstenite::connect_async(request).await.unwrap();
        let mut events = Self(socket);
        let init = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } });
        events.send(&init).await;
        assert_eq!(events.message().await["type"], "connection_ack");
        events
            .send(&json!({ "type": "subscribe", "id": "1", "payload": payload }))
            .await;
        events
    }

    async fn send(&mut self, message: &Value) {
        let message = Message::text(message.to_string());
        self.0.send(message).await.unwrap();
    }

    /// The next message of the protocol; `null` when the server closed.
    pub async fn message(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next())
                .await
                .expect("no message came");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    match message["type"].as_str() {
                        Some("ping") => self.send(&json!({ "type": "pong" })).await,
                        _ => return message,
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_)) | Some(Err(_)) | None => return Value::Null,
            }
        }
    }

    /// The `data` of the next event.
    pub async fn next(&mut self) -> Value {
        let message = self.message().await;
        assert_eq!(message["type"], "next", "{message:#}");
        assert!(message["payload"].get("errors").is_none(), "{message:#}");
        message["payload"]["data"].clone()
    }
}
