//! Lists of somebody who may see few of many.

use super::common::server::{Server, Setting};
use super::common::{Asked, Figures, on_its_own};
use super::fill;
use super::load::Load;
use serde_json::json;
use std::time::Duration;

/// Leads of the company, over which the entries are spread.
const LEADS: i64 = 10_000;

/// What somebody looks at: the lists, with what a page of them shows.
const LISTS: [(&str, &str); 5] = [
    (
        "emails",
        "{ emails(first: 50) { nodes { id subject preview from { name address } receivedAt } } }",
    ),
    (
        "emails_counted",
        "{ emails(first: 50) { totalCount { value } nodes { id subject } } }",
    ),
    (
        "timeline",
        "{ timeline(last: 50) { edges { cursor node { id at item { id title } } } } }",
    ),
    (
        "leads",
        "{ leads(first: 50) { nodes { id title createdAt version } } }",
    ),
    (
        "emails_of_a_lead",
        "{ leads(first: 1) { nodes { emails(first: 50) { nodes { id subject preview } } } } }",
    ),
];

/// Who sees how many of the leads.
const VIEWERS: [(&str, i64); 2] = [("1_in_10000", 1), ("1_in_100", 100)];

/// Measures one client's pages.
pub async fn measure(figures: &mut Figures, setting: &Setting, asked: &Asked) {
    let entries = asked.number("entries", 1_000_000).cast_signed();
    for (viewer, own) in VIEWERS {
        let (_database, own_setting) = on_its_own(setting);
        let setting = &Setting {
            redis_url: None,
            ..own_setting
        };
        let server = Server::start(setting).await;
        let sqlite_url = server.sqlite_url();
        let url = setting.database_url.clone().unwrap_or(sqlite_url);
        let address = fill::fill_for_one(&url, entries, (LEADS, own));
        let token = server.token_of(setting, &address);
        for (list, query) in LISTS {
            let body = json!({ "query": query }).to_string();
            let load = Load::posts(server.graphql_url(), &token, vec![body]);
            let measured = load.run(1, Duration::from_secs(3)).await;
            let name = format!("{}_{viewer}_{list}", setting.name);
            figures.put(&format!("{name}_p50_ms"), measured.median_ms);
            figures.put(&format!("{name}_p99_ms"), measured.p99_ms);
            figures.put(&format!("{name}_kb"), measured.bytes_each / 1e3);
        }
        drop(server.stop());
    }
}
