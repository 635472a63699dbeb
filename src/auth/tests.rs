//! Forged and broken tokens (T27, F24): the same battery against our own tokens and those of an issuer outside.

use super::AuthRefusal;
use super::access_token::{ACCESS_SECONDS, AccessTokens};
use super::key_ring::{KeyRing, KeySource, KeyTimes};
use super::keys::Keys;
use super::outside_token::{FoundBy, OutsideTokens};
use crate::clock;
use crate::mail::hosts::{HostPolicy, LoopbackUse};
use crate::mail::tls::TlsTrust;
use crate::model::UserId;
use crate::store::codec::Codec;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What signs, and what a good token of it says.
struct Signer {
    pair: Ed25519KeyPair,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => panic!("no object"),
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// A token of these texts, whatever they say.
    fn signed(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64(header), base64(claims));
        let signature = base64(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn good(&self) -> String {
        self.with(&[], &[])
    }

    /// A token with these members in the place of those of a good one; null takes one out.
    fn with(&self, header: &[(&str, Value)], claims: &[(&str, Value)]) -> String {
        let changed = |map: &Map<String, Value>, changes: &[(&str, Value)]| {
            let mut map = map.clone();
            for (name, value) in changes {
                if value == &json!("(none)") {
                    map.remove(*name);
                } else {
                    map.insert((*name).to_owned(), value.clone());
                }
            }
            Value::Object(map).to_string()
        };
        self.signed(
            &changed(&self.header, header),
            &changed(&self.claims, claims),
        )
    }

    fn claim(&self, name: &str, value: Value) -> String {
        self.with(&[], &[(name, value)])
    }

    fn head(&self, name: &str, value: Value) -> String {
        self.with(&[(name, value)], &[])
    }

    /// The claims as text with one more member at the end, which may be there already.
    fn doubled(&self, member: &str) -> String {
        let claims = Value::Object(self.claims.clone()).to_string();
        let claims = format!("{},{member}}}", claims.trim_end_matches('}'));
        self.signed(&Value::Object(self.header.clone()).to_string(), &claims)
    }

    fn by_secret(&self, secret: &[u8]) -> String {
        let mut header = self.header.clone();
        header.insert("alg".to_owned(), json!("HS256"));
        let claims = Value::Object(self.claims.clone()).to_string();
        let message = format!(
            "{}.{}",
            base64(Value::Object(header).to_string()),
            base64(claims)
        );
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret),
            message.as_bytes(),
        );
        format!("{message}.{}", base64(tag))
    }

    fn jwk(&self) -> Value {
        let x = base64(self.pair.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.header["kid"] })
    }

    /// Forty-odd tokens that must open nothing.
    fn bad(&self) -> Vec<(&'static str, String)> {
        let now = clock::now().seconds();
        let none = || json!("(none)");
        let good = self.good();
        let parts: Vec<&str> = good.split('.').collect();
        let (header, claims, signature) = (parts[0], parts[1], parts[2]);
        let other = Signer {
            pair: Ed25519KeyPair::generate().unwrap(),
            header: self.header.clone(),
            claims: self.claims.clone(),
        };
        let public = self.pair.public_key().as_ref();
        let forged = base64(
            Value::Object(self.claims.clone())
                .to_string()
                .replace("\"sub\":\"", "\"sub\":\"x"),
        );
        let reheaded = base64(
            json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": self.header["kid"], "x": 1 })
                .to_string(),
        );
        vec![
            ("nothing", String::new()),
            ("a word", "token".to_owned()),
            ("two parts", format!("{header}.{claims}")),
            ("four parts", format!("{good}.{signature}")),
            ("empty parts", "..".to_owned()),
            ("no base64", format!("{header}.{claims}.!!!")),
            ("padded", format!("{good}==")),
            ("a space around", format!(" {good}")),
            ("no algorithm", self.head("alg", none())),
            ("the algorithm none", format!("{}.{claims}.", base64(json!({ "alg": "none", "typ": self.header["typ"], "kid": self.header["kid"] }).to_string()))),
            ("the algorithm nOnE", self.head("alg", json!("nOnE"))),
            ("the public key as a secret", self.by_secret(public)),
            ("the key's text as a secret", self.by_secret(self.jwk().to_string().as_bytes())),
            ("an empty secret", self.by_secret(b"")),
            ("another algorithm's name", self.head("alg", json!("RS256"))),
            ("another curve's name", self.head("alg", json!("ES256"))),
            ("a number for an algorithm", self.head("alg", json!(1))),
            ("another key's name", self.head("kid", json!("another"))),
            ("no key's name", self.head("kid", none())),
            ("an empty key's name", self.head("kid", json!(""))),
            ("a path for a key's name", self.head("kid", json!("../../../../dev/null"))),
            ("a number for a key's name", self.head("kid", json!(7))),
            ("another key", other.good()),
            ("its own key", other.head("jwk", other.jwk())),
            ("its own key's address", other.head("jku", json!("http://127.0.0.1:1/keys"))),
            ("a critical extension", self.head("crit", json!(["b64"]))),
            ("a payload that is not encoded", self.head("b64", json!(false))),
            ("compressed", self.head("zip", json!("DEF"))),
            ("another type", self.head("typ", json!("refresh+jwt"))),
            ("no signature", format!("{header}.{claims}.")),
            ("half a signature", format!("{header}.{claims}.{}", signature.chars().take(40).collect::<String>())),
            ("another's payload", format!("{header}.{forged}.{signature}")),
            ("another header", format!("{reheaded}.{claims}.{signature}")),
            ("ended", self.with(&[], &[("exp", json!(now - 3600)), ("iat", json!(now - 3700))])),
            ("an end as text", self.claim("exp", json!("9999999999"))),
            ("an end as a fraction", self.claim("exp", json!(9_999_999_999.5))),
            ("an end that is null", self.claim("exp", Value::Null)),
            ("no end", self.claim("exp", none())),
            ("an end before time began", self.claim("exp", json!(-1))),
            ("an end beyond numbers", self.claim("exp", json!(u64::MAX))),
            ("an end in an array", self.claim("exp", json!([now + 300]))),
            ("two ends", self.doubled(&format!("\"exp\":{}", now + 300))),
            ("a life of years", self.claim("exp", json!(now + 10 * 365 * 86_400))),
            ("a beginning as text", self.claim("nbf", json!("0"))),
            ("a beginning to come", self.claim("nbf", json!(now + 3600))),
            ("made in the future", self.with(&[], &[("iat", json!(now + 3600)), ("exp", json!(now + 3700))])),
            ("made at no time", self.claim("iat", none())),
            ("made at a text", self.claim("iat", json!("now"))),
            ("for somebody else", self.claim("aud", json!("another"))),
            ("for others", self.claim("aud", json!(["another", "third"]))),
            ("for nobody", self.claim("aud", json!([]))),
            ("without an audience", self.claim("aud", none())),
            ("by somebody else", self.claim("iss", json!("https://evil.example"))),
            ("by nearly the same", self.claim("iss", json!(format!("{}/", self.claims["iss"].as_str().unwrap())))),
            ("by several", self.claim("iss", json!([self.claims["iss"], "https://evil.example"]))),
            ("by nobody", self.claim("iss", none())),
            ("about nobody", self.claim("sub", none())),
            ("about an empty name", self.claim("sub", json!(""))),
            ("about a number", self.claim("sub", json!(1))),
            ("two subjects", self.doubled("\"sub\":\"x\"")),
            ("a payload that is a list", self.signed(&Value::Object(self.header.clone()).to_string(), "[]")),
            ("a payload that is no JSON", self.signed(&Value::Object(self.header.clone()).to_string(), "{")),
            ("a header that is no JSON", self.signed("{", &Value::Object(self.claims.clone()).to_string())),
            ("a huge payload", self.claim("more", json!("x".repeat(100_000)))),
        ]
    }

    /// A good token with one character changed, each in its turn.
    fn mutations(&self) -> Vec<String> {
        let good = self.good();
        (0..good.len())
            .map(|place| {
                let mut bytes = good.clone().into_bytes();
                bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
                String::from_utf8(bytes).unwrap()
            })
            .filter(|token| *token != good)
            .collect()
    }
}

fn is_refused<T>(outcome: &Result<T, AuthRefusal>) -> bool {
    matches!(outcome, Err(AuthRefusal::Invalid | AuthRefusal::Expired))
}

/// Our own tokens, and a forger who has our key.
fn ours(folder: &Path) -> (AccessTokens, Signer) {
    const ISSUER: &str = "https://mail.example.com";
    let keys = Keys::load_or_make(&folder.join("key")).unwrap();
    let codec = Codec::new(&[1; 32], &[2; 32]).unwrap();
    let tokens = AccessTokens::new(&keys, ISSUER, codec.clone());
    let now = clock::now().seconds();
    let signer = Signer {
        pair: Ed25519KeyPair::from_pkcs8_maybe_unchecked(&keys.private_der).unwrap(),
        header: object(json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": keys.key_id })),
        claims: object(
            json!({ "iss": ISSUER, "aud": "mailroom", "sub": codec.seal_id("User", 7), "iat": now, "nbf": now,
            "exp": now + ACCESS_SECONDS, "jti": "1", "sid": 1, "ver": 1 }),
        ),
    };
    (tokens, signer)
}

#[test]
fn t27_none_of_the_bad_tokens_is_ours() {
    let folder = tempfile::tempdir().unwrap();
    let (tokens, signer) = ours(folder.path());
    let good = tokens.verify(&signer.good(), clock::now()).unwrap();
    assert_eq!(good.user_id, UserId(7));
    let mut battery = signer.bad();
    let none = json!("(none)");
    for missing in ["nbf", "jti", "sid", "ver"] {
        battery.push((
            "without something of ours",
            signer.claim(missing, none.clone()),
        ));
    }
    battery.push(("another kind of id", signer.claim("sub", json!("Deal_abc"))));
    battery.push(("no type", signer.head("typ", none)));
    assert!(battery.len() >= 40);
    for (says, token) in battery {
        let outcome = tokens.verify(&token, clock::now());
        assert!(is_refused(&outcome), "{says}: {outcome:?}");
    }
    for token in signer.mutations() {
        assert!(is_refused(&tokens.verify(&token, clock::now())), "{token}");
    }
}

const ISSUER: &str = "https://login.example.com/realm";

fn outsider(key_id: &str) -> Signer {
    let now = clock::now().seconds();
    Signer {
        pair: Ed25519KeyPair::generate().unwrap(),
        header: object(json!({ "typ": "JWT", "alg": "EdDSA", "kid": key_id })),
        claims: object(
            json!({ "iss": ISSUER, "aud": "mailroom", "sub": "subject-7", "iat": now, "exp": now + 300,
            "email": "uma@ours.example", "email_verified": true }),
        ),
    }
}

fn ring(source: KeySource, times: KeyTimes) -> Arc<KeyRing> {
    let hosts = HostPolicy::parse("")
        .unwrap()
        .with_loopback(LoopbackUse::Allowed);
    let with = (TlsTrust::load(None).unwrap(), Arc::new(hosts));
    Arc::new(KeyRing::new(source, with, times))
}

fn believing(ring: Arc<KeyRing>) -> OutsideTokens {
    let names = (ISSUER.to_owned(), "mailroom".to_owned());
    OutsideTokens::new(names, vec![Algorithm::EdDSA], FoundBy::Address, ring)
}

fn write_keys(file: &Path, signers: &[&Signer]) {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    std::fs::write(file, json!({ "keys": keys }).to_string()).unwrap();
}

#[tokio::test]
async fn t27_none_of_the_bad_tokens_is_an_issuer_s() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let signer = outsider("first");
    write_keys(&file, &[&signer]);
    let tokens = believing(ring(KeySource::File(file), KeyTimes::default()));
    let verify = async |token: &str| tokens.verify(token, clock::now()).await;
    let good = verify(&signer.good()).await.unwrap();
    assert_eq!(good.subject, "subject-7");
    assert_eq!(good.address.as_deref(), Some("uma@ours.example"));
    let several = signer.claim("aud", json!(["another", "mailroom"]));
    assert!(verify(&several).await.is_ok());
    // An address counts only where the issuer says plainly that it has verified it.
    for doubtful in [json!(false), Value::Null, json!("(none)")] {
        let token = signer.claim("email_verified", doubtful);
        assert_eq!(verify(&token).await.unwrap().address, None);
    }
    let mut battery = signer.bad();
    battery.push((
        "verified by a word",
        signer.claim("email_verified", json!("true")),
    ));
    battery.push((
        "a long subject",
        signer.claim("sub", json!("x".repeat(256))),
    ));
    assert!(battery.len() >= 40);
    for (says, token) in battery {
        let outcome = verify(&token).await;
        assert!(is_refused(&outcome), "{says}: {outcome:?}");
    }
    for token in signer.mutations() {
        assert!(is_refused(&verify(&token).await), "{token}");
    }
}

#[tokio::test]
async fn keys_of_other_kinds_are_good_for_their_own_algorithm_alone() {
    let rsa = EncodingKey::from_rsa_pem(include_bytes!("testdata/rsa.pem")).unwrap();
    let curve = EncodingKey::from_ec_pem(include_bytes!("../mail/testdata/key.pem")).unwrap();
    let jwk = |key: &EncodingKey, algorithm, id: &str| {
        let jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(id);
        jwk
    };
    let keys = json!({ "keys": [jwk(&rsa, Algorithm::RS256, "rsa"), jwk(&curve, Algorithm::ES256, "curve")] });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, keys.to_string()).unwrap();
    let algorithms = vec![Algorithm::RS256, Algorithm::RS384, Algorithm::ES256];
    let names = (ISSUER.to_owned(), "mailroom".to_owned());
    let ring = ring(KeySource::File(file), KeyTimes::default());
    let tokens = OutsideTokens::new(names, algorithms, FoundBy::Address, ring);
    let claims = Value::Object(outsider("any").claims);
    for (says, key, algorithm, id, is_good) in [
        ("RSA", &rsa, Algorithm::RS256, "rsa", true),
        ("a curve", &curve, Algorithm::ES256, "curve", true),
        (
            "what the key is not for",
            &rsa,
            Algorithm::RS384,
            "rsa",
            false,
        ),
        ("what nobody named", &rsa, Algorithm::PS256, "rsa", false),
        (
            "under the other's name",
            &rsa,
            Algorithm::RS256,
            "curve",
            false,
        ),
    ] {
        let mut header = Header::new(algorithm);
        header.kid = Some(id.to_owned());
        let token = jsonwebtoken::encode(&header, &claims, key).unwrap();
        let outcome = tokens.verify(&token, clock::now()).await;
        assert_eq!(outcome.is_ok(), is_good, "{says}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_issuer_s_keys_roll_over_without_a_break() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (first, second) = (outsider("first"), outsider("second"));
    write_keys(&file, &[&first]);
    let times = KeyTimes {
        between: Duration::ZERO,
        ..KeyTimes::default()
    };
    let tokens = believing(ring(KeySource::File(file.clone()), times));
    let verify = async |signer: &Signer| tokens.verify(&signer.good(), clock::now()).await;
    assert!(verify(&first).await.is_ok());
    assert_eq!(verify(&second).await, Err(AuthRefusal::Invalid));
    // A new key is known with its first token; the old one as long as the issuer lists it.
    write_keys(&file, &[&first, &second]);
    assert!(verify(&second).await.is_ok() && verify(&first).await.is_ok());
    write_keys(&file, &[&second]);
    assert_eq!(verify(&outsider("third")).await, Err(AuthRefusal::Invalid));
    assert_eq!(verify(&first).await, Err(AuthRefusal::Invalid));
    // What can't be read changes nothing.
    std::fs::write(&file, "<html>").unwrap();
    assert_eq!(verify(&first).await, Err(AuthRefusal::Invalid));
    assert!(verify(&second).await.is_ok());
    // Keys that are too old to trust are none.
    let times = KeyTimes {
        kept: Duration::ZERO,
        ..times
    };
    let tokens = believing(ring(KeySource::File(file), times));
    let outcome = tokens.verify(&second.good(), clock::now()).await;
    assert_eq!(outcome, Err(AuthRefusal::Unavailable));
}

#[tokio::test]
async fn keys_that_nobody_has_don_t_make_us_ask_and_ask() {
    let signer = outsider("first");
    let keys = json!({ "keys": [signer.jwk()] }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 1024];
            let length = socket.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /keys HTTP/1.1\r\n"));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys.len());
            socket.write_all((head + &keys).as_bytes()).unwrap();
        }
    });
    let tokens = believing(ring(KeySource::Url(url), KeyTimes::default()));
    let verify = |token: String| {
        let tokens = &tokens;
        async move { tokens.verify(&token, clock::now()).await }
    };
    // All at once, and the first of them with a key that there is.
    let first = futures_util::future::join_all((0..20).map(|_| verify(signer.good())));
    assert!(first.await.iter().all(Result::is_ok));
    for number in 0..1_000 {
        let token = signer.head("kid", json!(format!("made-up-{number}")));
        assert_eq!(verify(token).await, Err(AuthRefusal::Invalid));
    }
    assert!(verify(signer.good()).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // An address that may not be asked is not asked: the token may be good, but nobody knows.
    for refused in ["https://10.0.0.1/keys", "http://192.0.2.1/keys"] {
        let tokens = believing(ring(
            KeySource::Url(refused.to_owned()),
            KeyTimes::default(),
        ));
        let outcome = tokens.verify(&signer.good(), clock::now()).await;
        assert_eq!(
            outcome.map(drop),
            Err(AuthRefusal::Unavailable),
            "{refused}"
        );
    }
}
