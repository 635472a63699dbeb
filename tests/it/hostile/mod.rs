//! Servers that are hostile, broken or odd: whatever they do, every UID is settled or the mailbox says what is wrong,
//! memory is bounded, and other mailboxes go on.

mod bombs;
mod cases;
mod compressed;
mod oauth;
mod server;

use crate::support::app::{PATIENCE, TestApp, text};
use serde_json::{Value, json};
use server::Server;
use std::time::{Duration, Instant};

pub const PASSWORD: &str = "correct horse";

/// Connects a mailbox on a scripted server; its id.
pub async fn connect(app: &TestApp, server: &Server, address: &str, secret: Value) -> String {
    let input = json!({
        "address": address,
        "imap": { "host": "127.0.0.1", "port": server.port, "security": "PLAIN" },
        "secret": secret,
        "history": { "everything": true },
    });
    let payload = app
        .make(&app.admin, "connectMailbox", input, "mailbox { id }")
        .await;
    text(&payload["mailbox"]["id"])
}

const SYNC: &str = "query ($id: ID!) { mailbox(id: $id) { sync { stage quarantined lastError { code message advice } } } }";

/// Waits until the mailbox's sync is as wanted; its state.
pub async fn until_sync(app: &TestApp, id: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let data = app
        .until(&app.admin, (SYNC, json!({ "id": id })), |data| {
            is_there(&data["mailbox"]["sync"])
        })
        .await;
    data["mailbox"]["sync"].clone()
}

/// Waits for what no event tells.
pub async fn until(what: &str, is_there: impl Fn() -> bool) {
    let started = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    while !is_there() {
        pace.tick().await;
        assert!(started.elapsed() < PATIENCE, "{what}");
    }
}
