//! How fast timelines are read, beside plain JSON of one joined statement over the same store and beside graphql-yoga over
//! the same PostgreSQL, how far that depends on how many entries there are, and how fast those who follow them hear of
//! news, beside graphql-ws over Redis. `make bench-graphql` runs it; the last line that it prints is JSON with every
//! figure and ratio.
//! Its parts are `sqlite`, `postgres`, `peers` (with `postgres`), `growth`, `few`, `search` (beside notmuch, where it is),
//! `live` and `live-peers`: all, unless some are named.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement may fail loudly, and sizes are far below what doubles can count"
)]

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod common;
mod few;
mod fill;
mod followers;
mod live;
mod load;
mod peers;
mod plain;
mod searches;

use common::server::{Server, Setting};
use common::{Asked, Figures, median, on_its_own};
use fill::Filled;
use load::{Load, Measured};
use peers::Peer;
use serde_json::{Value, json};
use std::time::Duration;

/// Clients at once.
const CONNECTIONS: usize = 32;
/// Items whose timelines are asked for.
const LEADS: usize = 50;
/// Entries of a page.
const PAGE: usize = 50;
/// The server runs on the first core, whoever asks on the second.
const SERVERS_CORE: &str = "0";
const ASKERS_CORE: &str = "1";

/// 28 fields of each entry.
const TIMELINE: &str = "query($id: ID!, $after: Cursor) { lead(id: $id) { timeline(first: 50, after: $after) { edges { cursor node { \
    __typename id at item { __typename id title } actor { __typename id name address timeZone } ... on EmailReceived { email { \
    __typename id direction outcome subject preview from { name address } receivedAt messageId version } } } } } } }";

/// Puts a process, with all its threads, on a core.
fn pin(pid: u32, core: &str) {
    let done = std::process::Command::new("taskset")
        .args(["-a", "-p", "-c", core, &pid.to_string()])
        .stdout(std::process::Stdio::null())
        .status();
    assert!(done.is_ok_and(|status| status.success()), "no taskset");
}

/// The median run of several, by its rate.
async fn medians(runs: usize, load: &Load, duration: Duration) -> Measured {
    let mut measured = Vec::new();
    for _run in 0..runs {
        measured.push(load.run(CONNECTIONS, duration).await);
    }
    measured.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    measured.swap_remove(measured.len() / 2)
}

/// Where each of the items' timelines is asked for, somewhere in its middle.
async fn timelines(server: &Server) -> Vec<String> {
    let mut bodies = Vec::new();
    let ids = "query($first: Int!) { leads(first: $first) { nodes { id } } }";
    let leads = server.ask(ids, json!({ "first": LEADS })).await;
    for lead in leads["leads"]["nodes"].as_array().unwrap() {
        let middle =
            "query($id: ID!) { lead(id: $id) { timeline(first: 100) { pageInfo { endCursor } } } }";
        let found = server.ask(middle, json!({ "id": lead["id"] })).await;
        let after = &found["lead"]["timeline"]["pageInfo"]["endCursor"];
        let variables = json!({ "id": lead["id"], "after": after });
        let page = server.ask(TIMELINE, variables.clone()).await;
        let edges = page["lead"]["timeline"]["edges"].as_array().unwrap();
        assert_eq!(edges.len(), PAGE, "{page}");
        assert!(
            edges
                .iter()
                .all(|edge| edge["node"]["email"]["subject"].is_string())
        );
        bodies.push(json!({ "query": TIMELINE, "variables": variables }).to_string());
    }
    assert!(!bodies.is_empty());
    bodies
}

/// Ids and cursors are each server's own.
fn without_ids(page: &mut Value) {
    match page {
        Value::Object(fields) => {
            fields.retain(|name, _value| name != "id" && name != "cursor");
            fields.values_mut().for_each(without_ids);
        }
        Value::Array(values) => values.iter_mut().for_each(without_ids),
        _ => {}
    }
}

/// The same pages, asked of graphql-yoga; one of them must be the page that ours has answered.
async fn yoga_load(yoga: &Peer, filled: &Filled, mut ours: Value) -> Load {
    without_ids(&mut ours);
    let mut theirs = Vec::new();
    let mut bodies = Vec::new();
    for (item, after) in &filled.middles {
        let variables = json!({ "id": item.to_string(), "after": after.to_string() });
        let body = json!({ "query": TIMELINE, "variables": variables }).to_string();
        let request = reqwest::Client::new()
            .post(yoga.graphql_url())
            .header("content-type", "application/json");
        let answer = request.body(body.clone()).send().await.unwrap();
        let mut page: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        without_ids(&mut page);
        theirs.push(page["data"].take());
        bodies.push(body);
    }
    assert!(
        theirs.contains(&ours),
        "ours: {ours}, theirs: {}",
        theirs[0]
    );
    // As many as ours is asked for.
    bodies.truncate(LEADS);
    Load::posts(yoga.graphql_url(), "", bodies)
}

/// Timelines by GraphQL and as plain JSON, on one core each in turn.
async fn beside_plain(figures: &mut Figures, setting: &Setting, asked: &Asked) {
    let (_database, setting) = on_its_own(setting);
    // One server does everything.
    let setting = &Setting {
        redis_url: None,
        ..setting
    };
    let server = Server::start(setting).await;
    let url = setting
        .database_url
        .clone()
        .unwrap_or_else(|| server.sqlite_url());
    let filled = fill::fill(&url, asked.number("entries", 200_000).cast_signed());
    let bodies = timelines(&server).await;
    let duration = Duration::from_secs(asked.number("seconds", 5));
    pin(server.server_pid(), SERVERS_CORE);
    let first = bodies[0].clone();
    let graphql = Load::posts(server.graphql_url(), server.token(), bodies);
    let measured = medians(asked.number("runs", 3) as usize, &graphql, duration).await;
    let plain = plain::start(&url);
    let load = plain::load(&plain, &filled);
    let beside = medians(asked.number("runs", 3) as usize, &load, duration).await;
    let name = setting.name;
    for (what, measured) in [("graphql", &measured), ("plain", &beside)] {
        figures.put(
            &format!("timeline_{name}_{what}_per_second"),
            measured.per_second,
        );
        figures.put(
            &format!("timeline_{name}_{what}_p50_ms"),
            measured.median_ms,
        );
        figures.put(&format!("timeline_{name}_{what}_p99_ms"), measured.p99_ms);
        figures.put(
            &format!("timeline_{name}_{what}_kb"),
            measured.bytes_each / 1e3,
        );
    }
    figures.put(
        &format!("timeline_{name}_vs_raw"),
        measured.per_second / beside.per_second,
    );
    drop(plain);
    if name == "postgres" && asked.wants("peers") && peers::are_there() {
        let body: Value = serde_json::from_str(&first).unwrap();
        let page = server.ask(TIMELINE, body["variables"].clone()).await;
        for (peer, flags) in [("yoga", [].as_slice()), ("yoga_jit", &["--jit"])] {
            let yoga = Peer::in_node(&format!("DATABASE_URL={url}"), "yoga.mjs", flags);
            let load = yoga_load(&yoga, &filled, page.clone()).await;
            let theirs = medians(asked.number("runs", 3) as usize, &load, duration).await;
            figures.put(&format!("{peer}_per_second"), theirs.per_second);
            figures.put(&format!("{peer}_p50_ms"), theirs.median_ms);
            figures.put(&format!("{peer}_p99_ms"), theirs.p99_ms);
            figures.put(&format!("{peer}_kb"), theirs.bytes_each / 1e3);
            let ratio = measured.per_second / theirs.per_second;
            figures.put(&format!("requests_vs_{peer}"), ratio);
        }
    }
    drop(server.stop());
}

/// One client's page, with few entries in the database and with many.
async fn as_it_grows(figures: &mut Figures, asked: &Asked) {
    let mut p50 = Vec::new();
    for (entries, name) in [(10_000, "10k"), (1_000_000, "1m")] {
        let setting = Setting {
            name: "sqlite",
            database_url: None,
            redis_url: None,
        };
        let server = Server::start(&setting).await;
        pin(server.server_pid(), SERVERS_CORE);
        fill::fill(&server.sqlite_url(), entries);
        let bodies = timelines(&server).await;
        let load = Load::posts(server.graphql_url(), server.token(), bodies);
        let mut runs = Vec::new();
        for _run in 0..asked.number("runs", 3) as usize {
            runs.push(
                load.run(1, Duration::from_secs(asked.number("seconds", 5)))
                    .await
                    .median_ms,
            );
        }
        let median_ms = median(runs);
        figures.put(&format!("timeline_sqlite_{name}_p50_ms"), median_ms);
        p50.push(median_ms);
        drop(server.stop());
    }
    figures.put("timeline_sqlite_1m_vs_10k", p50[1] / p50[0]);
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_program, command, url] = words.as_slice()
        && command == plain::COMMAND
    {
        return plain::serve(url);
    }
    pin(std::process::id(), ASKERS_CORE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&Asked::read()));
}

async fn measure(asked: &Asked) {
    let mut figures = Figures::default();
    let sqlite = Setting {
        name: "sqlite",
        database_url: None,
        redis_url: None,
    };
    if asked.wants("sqlite") {
        beside_plain(&mut figures, &sqlite, asked).await;
    }
    let postgres = Setting {
        name: "postgres",
        database_url: None,
        redis_url: Some(String::new()),
    };
    if asked.wants("postgres") || asked.wants("peers") {
        beside_plain(&mut figures, &postgres, asked).await;
    }
    if asked.wants("growth") {
        as_it_grows(&mut figures, asked).await;
    }
    if asked.wants("few") {
        for setting in [&sqlite, &postgres] {
            few::measure(&mut figures, setting, asked).await;
        }
    }
    if asked.wants("search") {
        searches::measure(&mut figures, &[&sqlite, &postgres], asked).await;
    }
    if asked.wants("live") {
        live::measure(&mut figures).await;
    }
    if asked.wants("live-peers") && peers::are_there() {
        live::measure_peer(&mut figures).await;
    }
    figures.end();
}
