//! Servers that misbehave before and while they are logged in to: what they don't prove gets no password (T43).

use super::*;
use crate::mail::error::HostRefusal;
use crate::mail::hosts::LoopbackUse;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;

const AUTHORITY: &[u8] = include_bytes!("../testdata/ca.pem");
const KEY: &[u8] = include_bytes!("../testdata/key.pem");
const LOCALHOST: &[u8] = include_bytes!("../testdata/localhost.pem");
const OTHER_HOST: &[u8] = include_bytes!("../testdata/other_host.pem");
const EXPIRED: &[u8] = include_bytes!("../testdata/expired.pem");
const SELF_SIGNED: &[u8] = include_bytes!("../testdata/self_signed.pem");

#[test]
fn dots_are_doubled_and_lines_end_as_the_protocol_wants() {
    assert_eq!(
        dotted(b".\r\n..a\nb.\r\n.c"),
        b"..\r\n...a\r\nb.\r\n..c\r\n"
    );
    assert_eq!(dotted(b""), b"");
}

#[test]
fn r41_what_a_reply_means() {
    let reply = |code, enhanced| Reply { code, enhanced };
    assert_eq!(enhanced("5.1.1 No such user"), Some((5, 1, 1)));
    assert_eq!(enhanced("No such user 5.1.1"), None);
    assert_eq!(enhanced("1.2.3.4 is blocked"), None);
    let unknown = reply(550, Some((5, 1, 1)));
    assert_eq!(unknown.meaning(), "there is no such address");
    assert_eq!(reply(550, None).meaning(), "the address is not accepted");
    assert!(reply(451, None).is_temporary() && !unknown.is_temporary());
    assert_eq!(reply(599, None).meaning(), "the server refuses it");
}

/// What a server does.
#[derive(Clone)]
struct Script {
    /// TLS from the first byte, with this certificate.
    tls: Option<&'static [u8]>,
    greeting: &'static str,
    /// The lines of EHLO's reply before TLS.
    offers: &'static str,
    /// The answer to STARTTLS, and the certificate behind it.
    starttls: Option<(&'static str, &'static [u8])>,
    /// The answers to AUTH, one after another.
    auth: &'static [&'static str],
}

const GOOD: Script = Script {
    tls: None,
    greeting: "220 hi\r\n",
    offers: "250-hi\r\n250 AUTH PLAIN LOGIN XOAUTH2\r\n",
    starttls: None,
    auth: &["334 \r\n", "235 ok\r\n"],
};

fn config(certificate: &'static [u8]) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

/// Speaks by the script until the client hangs up or asks for TLS; the lines that it was told.
fn speak<S: Read + Write>(
    stream: S,
    script: &Script,
    told: &Mutex<Vec<String>>,
    greets: bool,
) -> Option<S> {
    let mut reader = BufReader::new(stream);
    if greets {
        reader
            .get_mut()
            .write_all(script.greeting.as_bytes())
            .ok()?;
    }
    let mut answers = script.auth.iter();
    let mut in_auth = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        told.lock().unwrap().push(line.trim_end().to_owned());
        let answer = if in_auth || line.starts_with("AUTH") {
            let answer = *answers.next()?;
            in_auth = answer.starts_with("334");
            answer
        } else if line.starts_with("EHLO") {
            script.offers
        } else if line.starts_with("STARTTLS") {
            let (answer, _certificate) = script.starttls?;
            reader.get_mut().write_all(answer.as_bytes()).ok()?;
            return answer.starts_with("220").then(|| reader.into_inner());
        } else {
            "250 ok\r\n"
        };
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
        reader.get_mut().flush().ok()?;
    }
}

struct Server {
    port: u16,
    told: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let tls = |certificate, socket| {
                    let connection = ServerConnection::new(config(certificate)).unwrap();
                    StreamOwned::new(connection, socket)
                };
                if let Some(certificate) = script.tls {
                    speak(tls(certificate, socket), &script, &log, true);
                } else if let Some(socket) = speak(socket, &script, &log, true) {
                    let (_answer, certificate) = script.starttls.unwrap();
                    speak(tls(certificate, socket), &script, &log, false);
                }
            }
        });
        Self { port, told }
    }

    fn target(&self, security: MailSecurity) -> SmtpTarget {
        SmtpTarget {
            server: MailServer {
                host: "localhost".to_owned(),
                port: self.port,
                security,
            },
            login: "anna".to_owned(),
            secret: Secret::Password("geheim".to_owned().into()),
            trust: TlsTrust::load(Some(AUTHORITY)).unwrap(),
            hosts: Arc::new(HostPolicy::default().with_loopback(LoopbackUse::Allowed)),
            times: SmtpTimes {
                connect: Duration::from_secs(5),
                reply: Duration::from_millis(700),
                content: Duration::from_secs(5),
                taken: Duration::from_millis(700),
            },
        }
    }

    /// Whether anything was sent that is, or holds, the password.
    fn has_the_secret(&self) -> bool {
        let secret = STANDARD.encode("\0anna\0geheim");
        let told = self.told.lock().unwrap();
        told.iter()
            .any(|line| line.contains(&secret) || line.contains("geheim"))
    }
}

#[test]
fn r41_a_password_goes_only_to_a_server_that_proves_who_it_is() {
    use MailSecurity::{Starttls, Tls};
    let tls = |certificate| Script {
        tls: Some(certificate),
        ..GOOD
    };
    let offering = Script {
        offers: "250-hi\r\n250 STARTTLS\r\n",
        ..GOOD
    };
    let starttls = |answer, certificate| Script {
        starttls: Some((answer, certificate)),
        offers: "250-hi\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n",
        ..GOOD
    };
    let rows = [
        ("TLS", tls(LOCALHOST), Tls, None),
        (
            "TLS for another host",
            tls(OTHER_HOST),
            Tls,
            Some(TlsFault::WrongHost),
        ),
        (
            "TLS that is out of date",
            tls(EXPIRED),
            Tls,
            Some(TlsFault::OutOfDate),
        ),
        (
            "TLS that nobody vouches for",
            tls(SELF_SIGNED),
            Tls,
            Some(TlsFault::UnknownIssuer),
        ),
        (
            "STARTTLS",
            starttls("220 go\r\n", LOCALHOST),
            Starttls,
            None,
        ),
        (
            "STARTTLS for another host",
            starttls("220 go\r\n", OTHER_HOST),
            Starttls,
            Some(TlsFault::WrongHost),
        ),
        (
            "STARTTLS taken out of the offer",
            GOOD,
            Starttls,
            Some(TlsFault::StarttlsRefused),
        ),
        (
            "STARTTLS refused",
            Script {
                starttls: Some(("454 no\r\n", LOCALHOST)),
                ..offering
            },
            Starttls,
            Some(TlsFault::StarttlsRefused),
        ),
        (
            "words put behind STARTTLS",
            starttls("220 go\r\n250 AUTH PLAIN\r\n", LOCALHOST),
            Starttls,
            Some(TlsFault::StarttlsInjection),
        ),
    ];
    for (what, script, security, fault) in rows {
        let server = Server::start(script);
        let connected = connect(&server.target(security)).map(drop);
        match fault {
            None => assert_eq!(connected, Ok(()), "{what}"),
            Some(fault) => assert_eq!(connected, Err(MailError::Tls(fault)), "{what}"),
        }
        assert_eq!(server.has_the_secret(), fault.is_none(), "{what}");
    }
}

#[test]
fn r41_a_plain_login_stays_on_this_machine() {
    let server = Server::start(GOOD);
    let mut target = server.target(MailSecurity::Plain);
    assert!(connect(&target).is_ok());
    target.server.host = "93.184.216.34".to_owned();
    target.server.port = 587;
    let refused = connect(&target).map(drop);
    assert_eq!(
        refused,
        Err(MailError::HostRefused(HostRefusal::PlainBeyondLoopback))
    );
    target.server.security = MailSecurity::Tls;
    target.server.host = "10.0.0.1".to_owned();
    let refused = connect(&target).map(drop);
    assert_eq!(refused, Err(MailError::HostRefused(HostRefusal::Address)));
}

#[test]
fn r41_logins_by_each_way_and_what_refusals_mean() {
    let password = || Secret::Password("geheim".to_owned().into());
    let token = || Secret::AccessToken("token".to_owned().into());
    let rows: [(
        &str,
        &'static str,
        &'static [&'static str],
        Secret,
        Result<(), MailError>,
    ); 7] = [
        (
            "PLAIN",
            "250-hi\r\n250 AUTH PLAIN\r\n",
            &["334 \r\n", "235 ok\r\n"],
            password(),
            Ok(()),
        ),
        (
            "LOGIN",
            "250-hi\r\n250 AUTH=LOGIN\r\n",
            &["334 VXNlcg==\r\n", "334 UGFzcw==\r\n", "235 ok\r\n"],
            password(),
            Ok(()),
        ),
        (
            "XOAUTH2",
            "250-hi\r\n250 AUTH XOAUTH2\r\n",
            &["334 \r\n", "235 ok\r\n"],
            token(),
            Ok(()),
        ),
        (
            "XOAUTH2, refused",
            "250-hi\r\n250 AUTH XOAUTH2\r\n",
            &["334 \r\n", "334 eyJ9\r\n", "535 no\r\n"],
            token(),
            Err(MailError::LoginRefused),
        ),
        (
            "refused",
            GOOD.offers,
            &["334 \r\n", "535 5.7.8 no\r\n"],
            password(),
            Err(MailError::LoginRefused),
        ),
        (
            "busy",
            GOOD.offers,
            &["454 later\r\n"],
            password(),
            Err(busy(MailStep::Login)),
        ),
        (
            "no way for a token",
            "250-hi\r\n250 AUTH PLAIN\r\n",
            &[],
            token(),
            Err(MailError::LoginUnsupported),
        ),
    ];
    for (what, offers, auth, secret, expected) in rows {
        let server = Server::start(Script {
            offers,
            auth,
            ..GOOD
        });
        let mut target = server.target(MailSecurity::Plain);
        target.secret = secret;
        assert_eq!(connect(&target).map(drop), expected, "{what}");
    }
}

#[test]
fn r41_a_server_that_talks_nonsense_or_not_at_all_is_left() {
    for (what, greeting) in [
        ("silence", ""),
        ("a web server", "HTTP/1.1 400 Bad Request\r\n"),
        ("a code that is none", "999 hi\r\n"),
        (
            "an endless line",
            "220-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        ("closing", "421 busy\r\n"),
    ] {
        let server = Server::start(Script { greeting, ..GOOD });
        let error = connect(&server.target(MailSecurity::Plain))
            .map(drop)
            .unwrap_err();
        assert!(error.is_temporary(), "{what}: {error}");
        assert!(!server.has_the_secret(), "{what}");
    }
}

#[test]
fn r41_a_session_that_ends_or_holds_a_mail_is_not_used_again() {
    let envelope = Envelope {
        from: "a@ours.example".to_owned(),
        recipients: vec!["b@client.example".to_owned(), "c@client.example".to_owned()],
    };
    // (what, the answers to MAIL and what follows, whether it goes on)
    let rows: [(&str, &'static [&'static str], bool); 7] = [
        ("a refusal", &["550 no\r\n", "250 ok\r\n"], true),
        (
            "a refusal and no way back",
            &["550 no\r\n", "502 what\r\n"],
            false,
        ),
        ("closing at once", &["421 bye\r\n"], false),
        (
            "closing at a recipient",
            &["250 ok\r\n", "421 bye\r\n"],
            false,
        ),
        (
            "closing at DATA",
            &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "421 bye\r\n"],
            false,
        ),
        (
            "closing at the dot",
            &[
                "250 ok\r\n",
                "250 ok\r\n",
                "250 ok\r\n",
                "354 go\r\n",
                "421 bye\r\n",
            ],
            false,
        ),
        (
            "a refusal at the dot",
            &[
                "250 ok\r\n",
                "250 ok\r\n",
                "250 ok\r\n",
                "354 go\r\n",
                "554 no\r\n",
            ],
            true,
        ),
    ];
    for (what, answers, goes_on) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = thread::spawn(move || {
            let (mut socket, _from) = listener.accept().unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap());
            let said = ["220 hi\r\n", "250 hi\r\n"].iter().chain(answers);
            for answer in said {
                socket.write_all(answer.as_bytes()).unwrap();
                let mut line = String::new();
                // A mail ends with its dot.
                while lines.read_line(&mut line).unwrap_or(0) > 0
                    && answer.starts_with("354")
                    && line != ".\r\n"
                {
                    line.clear();
                }
            }
        });
        let server = Server {
            port,
            told: Arc::default(),
        };
        let mut session = connect(&server.target(MailSecurity::Plain)).unwrap();
        let taken = session
            .begin(&envelope, 10)
            .and_then(|()| session.finish(b"Subject: x\r\n\r\nx\r\n"));
        assert!(
            matches!(taken, Err(NotTaken::Refused(_))),
            "{what}: {taken:?}"
        );
        assert_eq!(session.is_usable(), goes_on, "{what}");
        drop(session);
        served.join().unwrap();
    }
}
