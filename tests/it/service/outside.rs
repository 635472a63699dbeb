//! Tokens of an issuer outside (OpenID Connect): who they let in, over HTTP and on a socket, and for how long.

use crate::on_both;
use crate::support::app::{Events, TestApp};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mailroom::clock;
use mailroom::config::Given;
use mailroom::store::{StoreError, identities};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Instant;
use tempfile::TempDir;

const ISSUER: &str = "https://login.example.com/realm";

struct Issuer {
    pair: Ed25519KeyPair,
    folder: TempDir,
}

/// One issuer for all of these tests; its keys lie in a file.
static ISSUED: LazyLock<Issuer> = LazyLock::new(|| {
    let issuer = Issuer {
        pair: Ed25519KeyPair::generate().unwrap(),
        folder: tempfile::tempdir().unwrap(),
    };
    let x = URL_SAFE_NO_PAD.encode(issuer.pair.public_key().as_ref());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "first", "use": "sig", "alg": "EdDSA", "x": x }] });
    std::fs::write(issuer.folder.path().join("keys.json"), keys.to_string()).unwrap();
    issuer
});

/// A token for this subject with this address, for so many seconds.
fn token(subject: &str, address: &str, is_verified: bool, seconds: i64) -> String {
    let now = clock::now().seconds();
    let header = json!({ "typ": "JWT", "alg": "EdDSA", "kid": "first" });
    let claims = json!({ "iss": ISSUER, "aud": ["mailroom", "another"], "sub": subject, "iat": now, "exp": now + seconds,
        "email": address, "email_verified": is_verified });
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", text(&header), text(&claims));
    let signature = ISSUED.pair.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn given(users: &str) -> Given {
    let text = |text: &str| Some(text.to_owned());
    let keys = ISSUED.folder.path().join("keys.json");
    Given {
        oidc_issuer: text(ISSUER),
        oidc_audience: text("mailroom"),
        oidc_keys: Some(keys.display().to_string()),
        oidc_algorithms: text("RS256, EdDSA"),
        oidc_users: text(users),
        ..Given::default()
    }
}

/// Whom a token lets in; an empty name: nobody.
async fn who(app: &TestApp, token: &str) -> String {
    let answer = app.ask(token, "{ viewer { name } }", json!({})).await;
    if answer["data"].is_null() {
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED",
            "{answer:#}"
        );
        return String::new();
    }
    answer["data"]["viewer"]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

on_both! {
    async fn t28_a_verified_address_lets_in_once_and_the_subject_from_then_on(app with given("address")) {
        let uma = app.user("Uma", "uma@ours.example", false).await;
        app.user("Vic", "vic@ours.example", false).await;
        for (says, token) in [
            ("an address that is not verified", token("s1", "uma@ours.example", false, 300)),
            ("an address that nobody has", token("s1", "nobody@ours.example", true, 300)),
            ("no address", token("s1", "", true, 300)),
        ] {
            assert_eq!(who(&app, &token).await, "", "{says}");
        }
        assert_eq!(who(&app, &token("s1", "Uma@Ours.Example", true, 300)).await, "Uma");
        // The address goes to somebody else there: the subject stays who it is, and nobody else becomes Uma.
        assert_eq!(who(&app, &token("s1", "vic@ours.example", true, 300)).await, "Uma");
        assert_eq!(who(&app, &token("s2", "uma@ours.example", true, 300)).await, "");
        assert_eq!(who(&app, &token("s2", "vic@ours.example", true, 300)).await, "Vic");
        let log = app.data(&app.admin, "{ auditLog(first: 50) { nodes { action } } }", json!({})).await;
        let bound = log["auditLog"]["nodes"].as_array().unwrap().iter().filter(|entry| entry["action"] == "bindIdentity");
        assert_eq!(bound.count(), 2, "{log:#}");
        // Our own tokens are as good as before.
        assert_eq!(who(&app, &uma).await, "Uma");

        // A socket ends with the token that opened it.
        let brief = token("s1", "", true, 2);
        let opened = Instant::now();
        let mut events = Events::open(&app.url, &brief, "subscription { timeline { __typename } }", json!({})).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        assert_eq!(events.message().await, Value::Null);
        assert!(opened.elapsed().as_secs() < 10, "{:?}", opened.elapsed());

        // Deactivated, or nobody any more to the issuer: out at once.
        let kept = token("s1", "", false, 300);
        assert_eq!(who(&app, &kept).await, "Uma");
        let id = app.viewer_id(&uma).await;
        app.make(&app.admin, "updateUser", json!({ "userId": id, "isActive": false }), "user { isActive }").await;
        assert_eq!(who(&app, &kept).await, "");
    }

    async fn t28_by_subject_only_those_whom_an_operator_named_come_in(app with given("subject")) {
        app.user("Uma", "uma@ours.example", false).await;
        let hers = token("s1", "uma@ours.example", true, 300);
        assert_eq!(who(&app, &hers).await, "");
        let store = app.app().store.clone();
        let uma = store.read(|conn| mailroom::store::users::find_by_address_key(conn, "uma@ours.example")).await.unwrap().unwrap().id;
        let bound = store.write(clock::now(), move |tx| identities::bind(tx, ISSUER, "s1", uma)).await;
        assert_eq!(bound.unwrap(), Some(uma));
        assert_eq!(who(&app, &hers).await, "Uma");
        assert_eq!(who(&app, &token("s2", "uma@ours.example", true, 300)).await, "");
        let mut events = Events::open(&app.url, &hers, "subscription { timeline { __typename } }", json!({})).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let unbound = store.write(clock::now(), move |tx| identities::take_back(tx, ISSUER, uma)).await;
        assert!(unbound.map_err(|error: StoreError| error.to_string()).unwrap());
        assert_eq!(events.message().await, Value::Null);
        assert_eq!(who(&app, &hers).await, "");
    }

    async fn t28_whoever_was_taken_back_does_not_come_in_again_by_their_address(app with given("address")) {
        app.user("Uma", "uma@ours.example", false).await;
        let hers = token("s1", "uma@ours.example", true, 300);
        assert_eq!(who(&app, &hers).await, "Uma");
        let store = app.app().store.clone();
        let uma = store.read(|conn| mailroom::store::users::find_by_address_key(conn, "uma@ours.example")).await.unwrap().unwrap().id;
        let mut events = Events::open(&app.url, &hers, "subscription { timeline { __typename } }", json!({})).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let taken = store.write(clock::now(), move |tx| identities::take_back(tx, ISSUER, uma)).await;
        assert!(taken.map_err(|error: StoreError| error.to_string()).unwrap());
        assert_eq!(events.message().await, Value::Null);
        assert_eq!(who(&app, &hers).await, "");
        assert_eq!(who(&app, &token("s1", "uma@ours.example", true, 300)).await, "");
        // An operator names the subject again.
        let again = store.write(clock::now(), move |tx| identities::bind_again(tx, ISSUER, "s1", uma)).await;
        assert_eq!(again.unwrap(), Some(uma));
        assert_eq!(who(&app, &hers).await, "Uma");
    }
}
