//! What a user asks for is counted in its cost, over all transports and servers, and has an end in each minute.

use crate::on_both;
use crate::support::app::{Events, On, TestApp};
use crate::support::redis::Redis;
use mailroom::config::Given;
use serde_json::{Value, json};
use std::time::Duration;

fn given() -> Given {
    Given {
        rate_limit: Some("1000".to_owned()),
        ..Given::default()
    }
}

/// A query of this cost: a page of the users' list with its limit.
const DEAR: &str =
    "{ users(first: 99) { nodes { id } } rateLimit { cost limit remaining resetAt } }";

/// Asks until it is refused; the refusal.
async fn exhausted(app: &TestApp, token: &str) -> Value {
    // More than two minutes' worth, should one end meanwhile.
    for _ in 0..40 {
        let answer = app.ask(token, DEAR, json!({})).await;
        if answer.get("errors").is_some() {
            return answer;
        }
    }
    panic!("there is no limit");
}

on_both! {
    async fn t35_a_user_asks_for_so_much_in_a_minute(app with given()) {
        let uma = app.user("Uma", "uma@ours.example", false).await;
        let mut first = app.data(&uma, DEAR, json!({})).await;
        let cost = first["rateLimit"]["cost"].as_i64().unwrap();
        assert!((90..=110).contains(&cost), "{first:#}");
        assert_eq!(first["rateLimit"]["limit"], 1000);
        assert_eq!(first["rateLimit"]["remaining"], 1000 - cost);
        let second = loop {
            let next = app.data(&uma, DEAR, json!({})).await;
            if next["rateLimit"]["resetAt"] == first["rateLimit"]["resetAt"] {
                break next;
            }
            // A minute ended in between.
            first = next;
        };
        assert_eq!(second["rateLimit"]["remaining"], 1000 - 2 * cost);
        assert!(second["rateLimit"]["resetAt"].as_str().unwrap().ends_with(":00Z"));

        let refused = exhausted(&app, &uma).await;
        let error = &refused["errors"][0];
        assert_eq!(error["extensions"]["code"], "RATE_LIMITED", "{refused:#}");
        let wait = error["extensions"]["retryAfterSeconds"].as_i64().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert!(refused.get("data").is_none());
        // The same on a socket, where the operation alone is refused.
        let refused = loop {
            let mut events = Events::open(&app.url, &uma, DEAR, json!({})).await;
            let message = events.message().await;
            if message["type"] != "next" {
                break message;
            }
        };
        assert_eq!((&refused["type"], &refused["payload"][0]["extensions"]["code"]), (&json!("error"), &json!("RATE_LIMITED")));
        // Others have a limit of their own.
        app.data(&app.admin, DEAR, json!({})).await;
    }

    async fn the_cost_is_told_to_whoever_asks(app) {
        let ask = |header: Option<&str>| {
            let request = reqwest::Client::new()
                .post(format!("{}/graphql", app.url))
                .bearer_auth(&app.admin)
                .json(&json!({ "query": "{ viewer { id } }" }));
            match header {
                Some(header) => request.header("x-mailroom-cost", header),
                None => request,
            }
        };
        let answer: Value = ask(None).send().await.unwrap().json().await.unwrap();
        assert!(answer.get("extensions").is_none(), "{answer:#}");
        let answer: Value = ask(Some("1")).send().await.unwrap().json().await.unwrap();
        let cost = &answer["extensions"]["cost"];
        assert_eq!((&cost["requested"], &cost["limit"], &cost["perMinute"]), (&json!(1), &json!(1000), &json!(600_000)), "{answer:#}");
        assert!(cost["remaining"].as_i64().unwrap() < 600_000 && cost["resetAt"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t35_a_limit_is_an_answer_429_with_a_time() {
    let app = TestApp::start_with(On::Sqlite, given()).await;
    let answer = loop {
        let request = reqwest::Client::new()
            .post(format!("{}/graphql", app.url))
            .bearer_auth(&app.admin)
            .json(&json!({ "query": DEAR }));
        let answer = request.send().await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_eq!(answer.status(), 429);
    let seconds: u64 = answer.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds));
}

/// Two servers share one limit through Redis, and each keeps its own while Redis is away.
#[tokio::test(flavor = "multi_thread")]
async fn t35_servers_share_a_limit_and_keep_it_without_redis() {
    let mut redis = Redis::start();
    let mut app = TestApp::start_with_redis_and(redis.url(), given()).await;
    let other = app.second_server().await;
    // What was spent here is known there soon after something is spent there too.
    let query = "{ rateLimit { remaining } }";
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let mut left = i64::MAX;
    while left > 300 {
        pace.tick().await;
        app.ask(&app.admin, DEAR, json!({})).await;
        let answer = app.ask_server(&other, &app.admin, query).await;
        left = answer["data"]["rateLimit"]["remaining"]
            .as_i64()
            .unwrap_or(0);
    }
    redis.kill();
    let uma = app.user("Uma", "uma@ours.example", false).await;
    let refused = exhausted(&app, &uma).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "RATE_LIMITED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_is_read_by_those_who_may() {
    let query = "{ __schema { queryType { name } } }";
    for (setting, anonymous, user, administrator) in [
        ("everyone", "", "", ""),
        ("signed-in", "UNAUTHENTICATED", "", ""),
        ("administrators", "UNAUTHENTICATED", "FORBIDDEN", ""),
        ("off", "FORBIDDEN", "FORBIDDEN", "FORBIDDEN"),
    ] {
        let given = Given {
            introspection: Some(setting.to_owned()),
            ..Given::default()
        };
        let app = TestApp::start_with(On::Sqlite, given).await;
        let uma = app.user("Uma", "uma@ours.example", false).await;
        for (token, wanted) in [("", anonymous), (&uma, user), (&app.admin, administrator)] {
            let answer = app.ask(token, query, json!({})).await;
            let code = answer["errors"][0]["extensions"]["code"].as_str();
            assert_eq!(code.unwrap_or(""), wanted, "{setting}: {answer:#}");
        }
        // A name that is nearly right is not put right for anybody.
        let answer = app.ask(&app.admin, "{ viewe { id } }", json!({})).await;
        assert!(!answer.to_string().contains("viewer"), "{answer:#}");
    }
}
