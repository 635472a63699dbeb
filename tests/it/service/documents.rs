//! Documents that are named instead of sent, in the three modes, over each transport.

use crate::on_both;
use crate::support::app::{Events, On, TestApp};
use mailroom::app::{self, App, Purpose};
use mailroom::config::{Config, Given};
use serde_json::{Value, json};
use std::path::Path;

const VIEWER: &str = "{ viewer { name } }";

fn by_hash(hash: &str) -> Value {
    json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } })
}

fn with_document(hash: &str, query: &str) -> Value {
    let mut request = by_hash(hash);
    request["query"] = json!(query);
    request
}

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

fn given(documents: &str) -> Given {
    Given {
        documents: Some(documents.to_owned()),
        ..Given::default()
    }
}

/// A hash that is right for a text, as any client makes it.
fn hash(text: &str) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    let digest = digest(&SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

on_both! {
    async fn a_document_is_known_by_its_hash_once_it_was_valid(app) {
        let viewer = hash(VIEWER);
        let refused = app.post(&app.admin, &by_hash(&viewer)).await;
        assert_eq!(code(&refused), "PERSISTED_QUERY_NOT_FOUND", "{refused:#}");
        assert_eq!(refused["errors"][0]["message"], "PersistedQueryNotFound");
        // Nobody who is not signed in teaches the server anything, nor does a document that fails.
        let query = "{ viewer { nothing } }";
        for (token, query, says) in [("", VIEWER, "UNAUTHENTICATED"), (&app.admin, query, "GRAPHQL_VALIDATION_FAILED")] {
            let answer = app.post(token, &with_document(&hash(query), query)).await;
            assert_eq!(code(&answer), says, "{answer:#}");
            let refused = app.post(&app.admin, &by_hash(&hash(query))).await;
            assert_eq!(code(&refused), "PERSISTED_QUERY_NOT_FOUND");
        }
        let refused = app.post(&app.admin, &with_document(&hash("{ other }"), VIEWER)).await;
        assert_eq!(code(&refused), "BAD_USER_INPUT");
        let taught = app.post(&app.admin, &with_document(&viewer, VIEWER)).await;
        assert_eq!(taught["data"]["viewer"]["name"], "Ada Admin");
        let known = app.post(&app.admin, &by_hash(&viewer)).await;
        assert_eq!(known["data"]["viewer"]["name"], "Ada Admin");
        let known = app.post(&app.admin, &json!({ "documentId": format!("sha256:{viewer}") })).await;
        assert_eq!(known["data"]["viewer"]["name"], "Ada Admin");
        // The same by GET and on a socket.
        let extensions = by_hash(&viewer)["extensions"].to_string();
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("extensions", &extensions).finish();
        let authorization = format!("Bearer {}", app.admin);
        let (status, body) = app.get(&format!("/graphql?{query}"), &[("authorization", &authorization)]).await;
        assert_eq!((status, body.contains("Ada Admin")), (200, true), "{body}");
        let mut events = Events::open_with(&app.url, &app.admin, by_hash(&viewer)).await;
        assert_eq!(events.next().await["viewer"]["name"], "Ada Admin");
        // A subscription is learnt from its first event.
        let live = "subscription { timeline { __typename } }";
        let mut events = Events::open_with(&app.url, &app.admin, with_document(&hash(live), live)).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let mut events = Events::open_with(&app.url, &app.admin, by_hash(&hash(live))).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let streamed = reqwest::Client::new().post(format!("{}/graphql", app.url)).bearer_auth(&app.admin)
            .header("accept", "text/event-stream").json(&by_hash(&viewer)).send().await.unwrap().text().await.unwrap();
        assert!(streamed.contains("event: next\ndata: {\"data\":{\"viewer\":{\"name\":\"Ada Admin\"}}}"), "{streamed}");
        let mut events = Events::open_with(&app.url, &app.admin, by_hash(&hash("{ other }"))).await;
        let refused = events.message().await;
        assert_eq!(refused["type"], "error", "{refused:#}");
        assert_eq!(refused["payload"][0]["extensions"]["code"], "PERSISTED_QUERY_NOT_FOUND");
    }

    async fn an_open_server_takes_whole_documents_only(app with given("open")) {
        let viewer = hash(VIEWER);
        for _ in 0..2 {
            let sent = app.post(&app.admin, &with_document(&viewer, VIEWER)).await;
            assert_eq!(sent["data"]["viewer"]["name"], "Ada Admin");
            let refused = app.post(&app.admin, &by_hash(&viewer)).await;
            // The message by which clients know that they need not try again.
            assert_eq!(refused["errors"][0]["message"], "PersistedQueryNotSupported");
        }
    }
}

fn manifest(folder: &Path, text: &str) -> Given {
    let file = folder.join("manifest.json");
    std::fs::write(&file, text).unwrap();
    given(&file.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_s_operations_alone_are_run() {
    let live = "subscription { timeline { __typename } }";
    let folder = tempfile::tempdir().unwrap();
    let text = json!({ "viewer-1": VIEWER, "live-1": live }).to_string();
    for on in [On::Sqlite, On::Postgresql] {
        let app = TestApp::start_with(on, manifest(folder.path(), &text)).await;
        for request in [
            json!({ "documentId": "viewer-1" }),
            json!({ "query": VIEWER }),
            by_hash("viewer-1"),
            by_hash(&hash(VIEWER)),
        ] {
            let answer = app.post(&app.admin, &request).await;
            assert_eq!(answer["data"]["viewer"]["name"], "Ada Admin", "{request}");
        }
        for request in [
            json!({ "query": "{ viewer { id } }" }),
            json!({ "query": "{ __schema { queryType { name } } }" }),
            with_document(&hash("{ viewer { id } }"), "{ viewer { id } }"),
            json!({ "documentId": "viewer-2" }),
        ] {
            let answer = app.post(&app.admin, &request).await;
            assert_eq!(code(&answer), "OPERATION_NOT_ALLOWED", "{request}");
            let mut events = Events::open_with(&app.url, &app.admin, request).await;
            let refused = events.message().await;
            let code = &refused["payload"][0]["extensions"]["code"];
            assert_eq!(code, "OPERATION_NOT_ALLOWED");
        }
        let wanted = json!({ "documentId": "live-1" });
        let mut events = Events::open_with(&app.url, &app.admin, wanted).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_can_not_be_run_keeps_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let given = Given {
        data_dir: Some(folder.path().to_owned()),
        listen: Some("127.0.0.1:0".to_owned()),
        ..manifest(folder.path(), r#"{"broken-1":"{ viewer {"}"#)
    };
    let config = Config::new(given).unwrap();
    let app = App::open(config, Purpose::Run).await.unwrap();
    let refused = app::serve(app).await.err().unwrap().to_string();
    assert!(refused.contains("broken-1"), "{refused}");
}
