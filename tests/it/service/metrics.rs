//! `/metrics` and `/readyz` tell how the service does, and nothing of what it holds.

use crate::on_both;
use crate::support::app::{On, TestApp, text};
use crate::support::redis::Redis;
use mailroom::clock;
use mailroom::config::Given;
use mailroom::store::{StoreError, figures};
use serde_json::json;
use std::collections::BTreeSet;

/// The value of one sample.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics
        .lines()
        .find(|line| {
            line.rsplit_once(' ')
                .is_some_and(|(found, _value)| found == name)
        })
        .unwrap_or_else(|| panic!("no {name} in {metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Whether the text is well-formed: each sample belongs to the family above it, each family is declared once.
fn check_format(metrics: &str) {
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in metrics.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            family = declared.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} is declared twice");
        } else if !line.starts_with("# HELP ") {
            let name = line.split(['{', ' ']).next().unwrap();
            let is_of_family = name
                .strip_prefix(family)
                .is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest));
            assert!(is_of_family, "{line} under {family}");
            let value = line.rsplit_once(' ').unwrap().1;
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

on_both! {
    async fn f25_metrics_tell_numbers_and_no_content(app) {
        let lead = app.make(&app.admin, "createLead", json!({ "title": "canary title" }), "lead { id }").await;
        let lead = text(&lead["lead"]["id"]);
        app.data(&app.admin, "query CanaryName { leads { nodes { title } } }", json!({})).await;
        app.ask(&app.admin, "{ canaryField }", json!({})).await;
        app.ask(&app.admin, "{ canary", json!({})).await;
        app.ask("", "{ viewer { id } }", json!({})).await;
        let mut events = app
            .subscribe(&app.admin, "subscription ($item: ID) { timeline(itemId: $item) { __typename } }", json!({ "item": lead }))
            .await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        app.make(&app.admin, "addNote", json!({ "itemId": lead, "text": "canary" }), "entry { id }").await;
        assert_eq!(events.next().await["timeline"]["__typename"], "EntryAdded");
        let (status, metrics) = app.get("/metrics", &[]).await;
        assert_eq!(status, 200);
        check_format(&metrics);
        assert!(!metrics.to_lowercase().contains("canary"), "{metrics}");
        assert!(!metrics.contains('@'), "{metrics}");
        let operations = |kind: &str, outcome: &str| {
            sample(&metrics, &format!("mailroom_graphql_operations_total{{type=\"{kind}\",outcome=\"{outcome}\"}}"))
        };
        assert!(operations("query", "OK") >= 1.0);
        assert!(operations("mutation", "OK") >= 2.0);
        assert_eq!(operations("query", "GRAPHQL_VALIDATION_FAILED"), 1.0);
        assert_eq!(operations("unknown", "GRAPHQL_PARSE_FAILED"), 1.0);
        assert_eq!(operations("subscription", "OK"), 1.0);
        for (name, wanted) in [
            ("mailroom_graphql_subscriptions", 1.0),
            ("mailroom_graphql_events_total", 2.0),
            ("mailroom_websocket_sockets", 1.0),
            ("mailroom_bus_up", 1.0),
            ("mail_unsettled", 0.0),
            ("mailroom_mails{state=\"unsettled\"}", 0.0),
            ("mailroom_mails{state=\"quarantined\"}", 0.0),
        ] {
            assert_eq!(sample(&metrics, name), wanted, "{name}");
        }
        assert!(sample(&metrics, "mailroom_graphql_duration_seconds_count{type=\"query\"}") >= 2.0);
        assert!(sample(&metrics, "mailroom_graphql_cost_sum{type=\"query\"}") >= 20.0);
        assert!(sample(&metrics, "mailroom_database_wait_seconds_count{pool=\"write\"}") >= 1.0);
        assert!(sample(&metrics, "mailroom_outbox_lag_seconds") < 30.0);
        assert!(sample(&metrics, "mailroom_loop_age_seconds{loop=\"relay\"}") < 30.0);
        let database = if app.on() == On::Sqlite { "sqlite" } else { "postgresql" };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(sample(&metrics, &format!("mailroom_build_info{{version=\"{version}\",database=\"{database}\"}}")), 1.0);
        // A proxy on the same machine asks for somebody else.
        let (status, body) = app.get("/metrics", &[("x-forwarded-for", "192.0.2.7")]).await;
        assert_eq!((status, body.contains("mailroom")), (404, false));
    }

    async fn a_server_is_ready_while_writes_get_through(app) {
        assert_eq!(app.get("/readyz", &[]).await, (200, "ready\n".to_owned()));
        let store = app.app().store.clone();
        let (held, is_held) = tokio::sync::oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || {
            store.write_now(clock::now(), |tx| {
                figures::rewrite_row(tx)?;
                held.send(()).unwrap();
                released.recv().unwrap();
                Ok::<_, StoreError>(())
            })
        });
        is_held.await.unwrap();
        // What was found out just before holds for a second.
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(300));
        let refused = loop {
            pace.tick().await;
            let (status, body) = app.get("/readyz", &[]).await;
            if status != 200 {
                break (status, body);
            }
        };
        assert_eq!(refused, (503, "not ready: the database takes no writes\n".to_owned()));
        assert_eq!(app.get("/healthz", &[]).await.0, 200);
        release.send(()).unwrap();
        holder.await.unwrap().unwrap();
        loop {
            pace.tick().await;
            if app.get("/readyz", &[]).await.0 == 200 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_server_is_degraded_and_not_dead() {
    let mut redis = Redis::start();
    let app = TestApp::start_with_redis(redis.url()).await;
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(200));
    let mut until = async |wanted: &str| {
        for _ in 0..150 {
            pace.tick().await;
            let (status, body) = app.get("/readyz", &[]).await;
            assert_eq!(status, 200, "{body}");
            if body.starts_with(wanted) {
                return;
            }
        }
        panic!("never {wanted}");
    };
    until("ready").await;
    redis.kill();
    until("degraded: Redis").await;
    let (_status, metrics) = app.get("/metrics", &[]).await;
    assert_eq!(sample(&metrics, "mailroom_bus_up"), 0.0);
    redis.restart();
    until("ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_whoever_has_the_token_where_one_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "a-token-for-the-scraper\n").unwrap();
    let given = |metrics: String| Given {
        metrics: Some(metrics),
        ..Given::default()
    };
    let app = TestApp::start_with(On::Sqlite, given(file.display().to_string())).await;
    assert_eq!(app.get("/metrics", &[]).await.0, 404);
    let wrong = ("authorization", "Bearer a-token-for-the-scrapes");
    assert_eq!(app.get("/metrics", &[wrong]).await.0, 404);
    let right = ("authorization", "Bearer a-token-for-the-scraper");
    assert_eq!(app.get("/metrics", &[right]).await.0, 200);
    let app = TestApp::start_with(On::Sqlite, given("off".to_owned())).await;
    assert_eq!(app.get("/metrics", &[]).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_says_how_it_does_where_it_is_told_to() {
    let given = Given {
        health_listen: Some("127.0.0.1:0".to_owned()),
        ..Given::default()
    };
    let app = TestApp::start_with(On::Postgresql, given).await;
    let address = app.worker_address().expect("the worker listens");
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}"))
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    check_format(&metrics);
    assert!(sample(&metrics, "mailroom_loop_age_seconds{loop=\"supervisor\"}") < 30.0);
    assert!(
        sample(
            &metrics,
            "mailroom_database_wait_seconds_count{pool=\"write\"}"
        ) >= 1.0
    );
    assert!(!metrics.contains("mailroom_graphql"), "{metrics}");
    // It is no second way to the data.
    for path in ["/graphql", "/graphiql", "/set-up"] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }
}
