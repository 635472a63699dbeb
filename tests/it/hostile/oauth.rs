//! OAuth2 grants of mailboxes (R1), against an issuer and an IMAP server of the test's own.

use super::server::{Act, Said, Script, Server, Session};
use super::{connect, until_sync};
use crate::on_both;
use crate::support::app::TestApp;
use crate::support::smtp_server::SmtpServer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailroom::store::sql::sql;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ADA: &str = "ada@ours.example";

/// What an issuer writes, given the form it got; it closes afterwards.
type Answer = Box<dyn Fn(&Issued, &mut TcpStream) + Send + Sync>;

/// What it has been asked, and gives.
#[derive(Default)]
struct Issued {
    forms: Mutex<Vec<BTreeMap<String, String>>>,
}

struct Issuer {
    port: u16,
    issued: Arc<Issued>,
    answer: Arc<Mutex<Answer>>,
}

impl Issuer {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let issued = Arc::new(Issued::default());
        let answer = Arc::new(Mutex::new(answer));
        let (for_thread, answers) = (issued.clone(), answer.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                if let Some(form) = form(&socket) {
                    for_thread.forms.lock().unwrap().push(form);
                    answers.lock().unwrap()(&for_thread, &mut socket);
                }
            }
        });
        Self {
            port,
            issued,
            answer,
        }
    }

    fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    fn refresh_tokens(&self) -> Vec<String> {
        let forms = self.issued.forms.lock().unwrap();
        forms
            .iter()
            .map(|form| form["refresh_token"].clone())
            .collect()
    }
}

fn form(socket: &TcpStream) -> Option<BTreeMap<String, String>> {
    let mut lines = BufReader::new(socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some(url::form_urlencoded::parse(&body).into_owned().collect())
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Gives `access-N` and the rotated `refresh-N` the Nth time; an old refresh token is none.
fn rotating(life_seconds: u32) -> Answer {
    Box::new(move |issued, socket| {
        let forms = issued.forms.lock().unwrap();
        let count = forms.len();
        let given = &forms[count - 1];
        let is_good = given["client_id"] == "mailroom-app"
            && given["client_secret"] == "client-secret"
            && given["refresh_token"] == format!("refresh-{}", count - 1);
        let answer = if is_good {
            let body = json!({ "access_token": format!("access-{count}"), "expires_in": life_seconds,
                "refresh_token": format!("refresh-{count}"), "token_type": "Bearer" });
            http("200 OK", &body.to_string())
        } else {
            http("400 Bad Request", r#"{"error":"invalid_grant"}"#)
        };
        let _ = socket.write_all(&answer);
    })
}

/// A server that takes the access tokens that are in the list by now.
fn token_server(mechanism: &'static str, taken: Arc<Mutex<Vec<String>>>) -> Server {
    let script: Script = Arc::new(move |said: &Said, session: &mut Session<'_>| {
        if said.verb != "AUTHENTICATE" {
            return Act::Honest;
        }
        assert_eq!(said.rest, mechanism);
        session.write("+ \r\n");
        let Some(answer) = session.line() else {
            return Act::Close;
        };
        let answer = String::from_utf8(STANDARD.decode(answer).unwrap()).unwrap();
        let token = answer.split("Bearer ").nth(1).unwrap();
        let token = token.split('\u{1}').next().unwrap().to_owned();
        if taken.lock().unwrap().contains(&token) {
            session.ok(said);
            return Act::Done;
        }
        // The reason is a challenge, and is acknowledged: by an empty line, or what RFC 7628 wants.
        let reason = STANDARD.encode(r#"{"status":"invalid_token"}"#);
        session.write(format!("+ {reason}\r\n"));
        let acknowledged = session.line();
        let expected = if mechanism == "XOAUTH2" { "" } else { "AQ==" };
        assert_eq!(acknowledged.as_deref(), Some(expected));
        session.write(format!("{} NO not with this\r\n", said.tag));
        Act::Done
    });
    let mail = b"From: c@client.example\r\nMessage-ID: <1@c>\r\nSubject: x\r\n\r\nHello.\r\n";
    let capabilities = format!("IMAP4rev1 IDLE AUTH={mechanism}");
    Server::with(&capabilities, b"* OK ready\r\n", [mail.to_vec()], script)
}

fn grant(issuer: &Issuer) -> Value {
    json!({ "oauth": { "refreshToken": "refresh-0", "clientId": "mailroom-app", "clientSecret": "client-secret",
        "tokenUrl": issuer.url() } })
}

fn is_watching(sync: &Value) -> bool {
    sync["stage"] == "WATCHING"
}

/// None of these stands in the database.
async fn nothing_is_kept_in_clear(app: &TestApp) {
    let rows: Vec<(String, String)> = app
        .app()
        .store
        .read(|conn| {
            sql("SELECT m.secret_sealed, g.refresh_token_sealed || COALESCE(g.client_secret_sealed, '') \
                 FROM mailboxes m JOIN mailbox_grants g ON g.mailbox_id = m.id")
            .rows(conn)
        })
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let text = format!("{rows:?}");
    for secret in ["access-", "refresh-", "client-secret"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

on_both! {
    /// Each login of a token that is about to end is preceded by a new one, and the rotated refresh token is the next one used.
    async fn r01_an_access_token_is_made_anew_before_it_ends(app) {
        let issuer = Issuer::start(rotating(60));
        let taken = Arc::new(Mutex::new((1..=9).map(|n| format!("access-{n}")).collect()));
        let server = token_server("XOAUTH2", taken);
        let id = connect(&app, &server, ADA, grant(&issuer)).await;
        until_sync(&app, &id, is_watching).await;
        nothing_is_kept_in_clear(&app).await;
        // Once when it was tried out, once by the worker: a minute is too little.
        assert_eq!(issuer.refresh_tokens(), ["refresh-0", "refresh-1"]);
        app.stop().await;
        app.start_again().await;
        crate::hostile::until("a third token", || issuer.refresh_tokens().len() == 3).await;
        until_sync(&app, &id, is_watching).await;
        assert_eq!(issuer.refresh_tokens()[2], "refresh-2");
    }

    /// One that lives long is used until the server refuses it; then once more is tried with a new one.
    async fn r01_a_refused_access_token_is_made_anew_once(app) {
        let issuer = Issuer::start(rotating(3600));
        let taken = Arc::new(Mutex::new(vec!["access-1".to_owned()]));
        let server = token_server("OAUTHBEARER", taken.clone());
        let id = connect(&app, &server, ADA, grant(&issuer)).await;
        until_sync(&app, &id, is_watching).await;
        assert_eq!(issuer.refresh_tokens().len(), 1);
        app.stop().await;
        *taken.lock().unwrap() = vec!["access-2".to_owned()];
        app.start_again().await;
        crate::hostile::until("a second token", || issuer.refresh_tokens().len() == 2).await;
        until_sync(&app, &id, is_watching).await;
        // A new token that is refused too is not asked for again and again.
        app.stop().await;
        taken.lock().unwrap().clear();
        app.start_again().await;
        let sync = until_sync(&app, &id, |sync| sync["stage"] == "NEEDS_ATTENTION").await;
        assert_eq!(sync["lastError"]["code"], "MAILBOX_LOGIN");
        assert_eq!(issuer.refresh_tokens().len(), 3);
    }

    /// How it sends is tried with a token that is good: one that has ended, or is refused, is made anew first.
    async fn r01_r41_a_server_to_send_by_is_tried_with_a_token_that_has_not_ended(app) {
        // (for how long a token lives, those that the server takes)
        for (life_seconds, good) in [(60, 3), (3600, 2)] {
            let issuer = Issuer::start(rotating(life_seconds));
            let taken = Arc::new(Mutex::new((1..=9).map(|n| format!("access-{n}")).collect()));
            let server = token_server("XOAUTH2", taken);
            let address = format!("ada{good}@ours.example");
            let id = connect(&app, &server, &address, grant(&issuer)).await;
            until_sync(&app, &id, is_watching).await;
            assert_eq!(issuer.refresh_tokens().len(), good - 1);
            let smtp = SmtpServer::start();
            smtp.state().tokens = vec![format!("access-{good}")];
            let input = json!({ "mailboxId": id, "smtp": { "host": "127.0.0.1", "port": smtp.port(), "security": "PLAIN" } });
            let made = app.make(&app.admin, "updateMailboxSending", input, "mailbox { viewerCanSend }").await;
            assert_eq!(made["mailbox"]["viewerCanSend"], true);
            assert_eq!(issuer.refresh_tokens().len(), good);
        }
    }

    async fn r01_a_grant_that_is_gone_says_what_to_do_and_a_new_one_heals(app) {
        let issuer = Issuer::start(rotating(1));
        let taken = Arc::new(Mutex::new((1..=9).map(|n| format!("access-{n}")).collect()));
        let server = token_server("XOAUTH2", taken);
        let id = connect(&app, &server, ADA, grant(&issuer)).await;
        until_sync(&app, &id, is_watching).await;
        app.stop().await;
        issuer.say(Box::new(|_issued, socket| {
            let _ = socket.write_all(&http("400 Bad Request", r#"{"error":"invalid_grant"}"#));
        }));
        app.start_again().await;
        let sync = until_sync(&app, &id, |sync| sync["stage"] == "NEEDS_ATTENTION").await;
        let advice = sync["lastError"]["advice"].as_str().unwrap();
        assert!(advice.contains("Sign in at the mail provider again"), "{advice}");
        issuer.say(rotating(3600));
        let count = issuer.refresh_tokens().len();
        let secret = json!({ "oauth": { "refreshToken": format!("refresh-{count}"), "clientId": "mailroom-app",
            "clientSecret": "client-secret", "tokenUrl": issuer.url() } });
        let owner = app.viewer_id(&app.admin).await;
        let input = json!({ "mailboxId": id, "connectorId": owner, "secret": secret });
        app.make(&app.admin.clone(), "transferMailbox", input, "mailbox { id }").await;
        until_sync(&app, &id, is_watching).await;
        let asked = issuer.refresh_tokens();
        let mut once = asked.clone();
        once.dedup();
        assert_eq!(asked, once, "what was refused is not tried again by itself");
    }

    /// Whatever an issuer answers, it is told in time, and nothing is kept.
    async fn r01_a_hostile_issuer_is_told_and_nothing_is_kept(app) {
        let server = token_server("XOAUTH2", Arc::default());
        let rows: [(&str, Answer, &str); 7] = [
            ("gone", Box::new(|_, socket| drop(socket.write_all(&http("400 Bad Request", r#"{"error":"invalid_grant"}"#)))), "withdrawn"),
            ("another client", Box::new(|_, socket| drop(socket.write_all(&http("401 Unauthorized", r#"{"error":"invalid_client"}"#)))), "client id"),
            ("a redirect into our network", Box::new(|_, socket| drop(socket.write_all(b"HTTP/1.1 307 x\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"))), "answer is none"),
            ("an endless answer", Box::new(|_, socket| {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while socket.write_all(&[b' '; 4096]).is_ok() {}
            }), "too long"),
            ("an endless header", Box::new(|_, socket| {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n");
                while socket.write_all(b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzz\r\n").is_ok() {}
            }), "too long"),
            ("a token that ends the login", Box::new(|_, socket| drop(socket.write_all(&http("200 OK", "{\"access_token\":\"a\\u0001\\r\\nx LOGOUT\"}")))), "no access token"),
            ("a byte now and then", Box::new(|_, socket| {
                let _ = socket.set_nodelay(true);
                while socket.write_all(b"H").is_ok() {
                    std::thread::park_timeout(Duration::from_millis(200));
                }
            }), "in time"),
        ];
        for (what, answer, expected) in rows {
            let issuer = Issuer::start(answer);
            let started = Instant::now();
            let input = json!({
                "address": ADA,
                "imap": { "host": "127.0.0.1", "port": server.port, "security": "PLAIN" },
                "secret": grant(&issuer),
            });
            let payload = app.mutate(&app.admin, "connectMailbox", input, "mailbox { id }").await;
            let message = payload["userErrors"][0]["message"].as_str().unwrap_or_default();
            assert!(message.contains(expected), "{what}: {payload:#}");
            assert!(started.elapsed() < Duration::from_secs(30), "{what}");
            assert_eq!(payload["mailbox"], Value::Null, "{what}");
        }
        assert_eq!(server.count("AUTHENTICATE"), 0, "nobody logged in");
    }

    /// The token server's host is vetted like a mail server's (T24).
    async fn t24_a_token_server_in_a_private_network_is_not_asked(app) {
        let server = token_server("XOAUTH2", Arc::default());
        let rows = [
            ("https://10.0.0.1/token", "MAILBOX_HOST_REFUSED"),
            ("https://[::ffff:192.168.1.1]/token", "MAILBOX_HOST_REFUSED"),
            ("http://169.254.169.254/latest/meta-data", "MAILBOX_HOST_REFUSED"),
            ("http://1.1.1.1/token", "MAILBOX_HOST_REFUSED"),
            ("https://1.1.1.1:22/token", "MAILBOX_HOST_REFUSED"),
            ("gopher://127.0.0.1/token", "BAD_INPUT"),
            ("https://user@127.0.0.1/token", "BAD_INPUT"),
        ];
        for (url, expected) in rows {
            let input = json!({
                "address": ADA,
                "imap": { "host": "127.0.0.1", "port": server.port, "security": "PLAIN" },
                "secret": { "oauth": { "refreshToken": "r", "clientId": "c", "tokenUrl": url } },
            });
            let payload = app.mutate(&app.admin, "connectMailbox", input, "mailbox { id }").await;
            assert_eq!(payload["userErrors"][0]["code"], expected, "{url}: {payload:#}");
        }
    }
}
