//! What both benchmarks stand on: a Mailroom of its own process, what is asked for on the command line, and the figures.

#[path = "../../tests/it/support/postgres.rs"]
#[allow(unreachable_pub, reason = "tests use more of it")]
pub mod postgres;
pub mod server;
#[path = "../../tests/it/support/vocabulary.rs"]
#[allow(dead_code, unreachable_pub, reason = "one benchmark and tests use it")]
pub mod vocabulary;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value, json};
use server::Setting;
use std::path::Path;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// The words of the command line: numbers by name (`--runs 3`), and parts of the benchmark; none: all of them.
pub struct Asked {
    numbers: Vec<(String, u64)>,
    parts: Vec<String>,
}

impl Asked {
    /// What this process was asked for.
    pub fn read() -> Self {
        let (mut numbers, mut parts) = (Vec::new(), Vec::new());
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                // cargo says that it is a benchmark.
                Some("bench") => {}
                Some(name) => {
                    let number = words.next().and_then(|word| word.parse().ok());
                    let number = number.unwrap_or_else(|| panic!("--{name} takes a number"));
                    numbers.push((name.to_owned(), number));
                }
                None => parts.push(word),
            }
        }
        Self { numbers, parts }
    }

    /// A number by its name.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        let mut numbers = self.numbers.iter();
        let given = numbers.find(|(given, _number)| given == name);
        given.map_or(default, |(_name, number)| *number)
    }

    /// Whether a part is wanted.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

/// The figures so far, by name.
#[derive(Default)]
pub struct Figures(Map<String, Value>);

impl Figures {
    /// Tells a figure, and keeps it.
    pub fn put(&mut self, name: &str, value: f64) {
        println!("{name:<40} {value:>12.3}");
        self.0
            .insert(name.to_owned(), json!((value * 1000.0).round() / 1000.0));
    }

    /// One that was told.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    /// How many times as fast the first is as the second, where both were measured.
    pub fn put_ratio(&mut self, name: &str, seconds_of: &str, than: &str) {
        if let (Some(ours), Some(theirs)) = (self.get(seconds_of), self.get(than)) {
            self.put(name, theirs / ours);
        }
    }

    /// Tells all of them in one line of JSON.
    pub fn end(self) {
        println!("{}", Value::Object(self.0));
    }
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that so many of a hundred do not exceed, of sorted ones.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// The same setting with a database of its own where it is on PostgreSQL; that goes when the guard is dropped.
pub fn on_its_own(setting: &Setting) -> (Option<postgres::TestDatabase>, Setting) {
    let database = setting
        .redis_url
        .is_some()
        .then(postgres::TestDatabase::empty);
    let setting = Setting {
        database_url: database.as_ref().map(postgres::TestDatabase::url),
        redis_url: setting.redis_url.clone(),
        ..*setting
    };
    (database, setting)
}

/// The address that a server writes into its log first.
pub fn address_in(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with("http://"))
        .map(str::to_owned)
}

/// A socket that speaks graphql-transport-ws, over which this was subscribed to.
pub async fn subscribed(
    url: String,
    token: &str,
    payload: Value,
) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let mut request = url.into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let (mut socket, _answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    let say = |value: Value| Message::text(value.to_string());
    let init = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } });
    socket.send(say(init)).await.unwrap();
    // Some servers hang up on whoever goes on before they have said yes.
    let answer = socket.next().await.unwrap().unwrap();
    let answer = answer.to_text().unwrap();
    assert!(answer.contains("connection_ack"), "{answer}");
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": payload });
    socket.send(say(subscribe)).await.unwrap();
    socket
}
