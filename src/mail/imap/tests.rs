//! A scripted server in the process, which misbehaves in the ways that real ones do (and hostile ones might).

use super::connect::connect_resolving;
use super::*;
use crate::mail::error::{HostRefusal, MailError, MailStep, TlsFault};
use crate::mail::hosts::{HostPolicy, LoopbackUse};
use crate::mail::tls::TlsTrust;
use crate::model::Time;
use crate::model::mailbox::{FolderRole, MailSecurity, MailServer};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What the server does with a command; `None`: what a good server does.
type Script = Arc<dyn Fn(&str, &str) -> Option<Reply> + Send + Sync>;

enum Reply {
    Say(Vec<u8>),
    SayAndHangUp(Vec<u8>),
}

fn say(text: impl Into<Vec<u8>>) -> Option<Reply> {
    Some(Reply::Say(text.into()))
}

fn say_and_hang_up(text: impl Into<Vec<u8>>) -> Option<Reply> {
    Some(Reply::SayAndHangUp(text.into()))
}

/// A server for one script; it remembers what it was told.
struct Scripted {
    address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn start(script: impl Fn(&str, &str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::greeting("* OK hi\r\n", Arc::new(script))
    }

    /// A server that is good but for one command, which it answers with this text. `{tag}` in it is the
    /// command's tag, `{BODY}` a body, and `{cut}` at its end hangs up.
    fn answering(command: &'static str, text: &'static str) -> Self {
        Self::greeting("* OK hi\r\n", answer(command, text))
    }

    fn greeting(greeting: &'static str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                thread::spawn(move || serve(socket, greeting, &script, &log));
            }
        });
        Self { address, told }
    }

    fn target(&self, security: MailSecurity) -> Target {
        Target {
            server: MailServer {
                host: "127.0.0.1".to_owned(),
                port: self.address.port(),
                security,
            },
            login: "anna".to_owned(),
            secret: Secret::Password("secret".to_owned().into()),
            trust: TlsTrust::load(None).unwrap(),
            hosts: Arc::new(HostPolicy::default().with_loopback(LoopbackUse::Allowed)),
            compress: Compress::default(),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(2),
        }
    }

    fn connect(&self) -> Result<ImapSession, MailError> {
        connect(&self.target(MailSecurity::Plain))
    }

    fn session(&self) -> ImapSession {
        let mut session = self.connect().unwrap();
        session.examine("INBOX").unwrap();
        session
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

fn serve(mut socket: TcpStream, greeting: &str, script: &Script, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    if socket.write_all(greeting.as_bytes()).is_err() {
        return;
    }
    let mut idle_tag = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        log.lock().unwrap().push(line.clone());
        let line = line.trim_end();
        let (tag, command) = if line == "DONE" {
            (idle_tag.as_str(), line)
        } else {
            line.split_once(' ').unwrap_or((line, ""))
        };
        let tag = tag.to_owned();
        if command == "IDLE" {
            idle_tag.clone_from(&tag);
        }
        let reply =
            script(&tag, command).unwrap_or_else(|| Reply::Say(good(&tag, command).into_bytes()));
        let (bytes, goes_on) = match reply {
            Reply::Say(bytes) => (bytes, true),
            Reply::SayAndHangUp(bytes) => (bytes, false),
        };
        if socket.write_all(&bytes).is_err() || !goes_on {
            return;
        }
    }
}

/// The script of `Scripted::answering`.
fn answer(command: &'static str, text: &'static str) -> Script {
    Arc::new(move |tag, told| {
        if !told.starts_with(command) {
            return None;
        }
        let full = text.replace("{tag}", tag).replace("{BODY}", BODY);
        match full.strip_suffix("{cut}") {
            Some(before) => say_and_hang_up(before),
            None => say(full),
        }
    })
}

fn good(tag: &str, command: &str) -> String {
    let word = command.split(' ').next().unwrap_or_default();
    match word {
        "CAPABILITY" => format!("* CAPABILITY IMAP4rev1 IDLE\r\n{tag} OK\r\n"),
        "EXAMINE" => format!(
            "* FLAGS (\\Seen)\r\n* 5 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 6] x\r\n* OK [HIGHESTMODSEQ 99] x\r\n{tag} OK [READ-ONLY] fine\r\n"
        ),
        "LOGOUT" => format!("* BYE bye\r\n{tag} OK\r\n"),
        _ => format!("{tag} OK fine\r\n"),
    }
}

const BODY: &str = "BODY[] {21}\r\nSubject: x\r\n\r\nhello\r\n";
const RAW: &[u8] = b"Subject: x\r\n\r\nhello\r\n";

/// How waiting for news ended.
#[derive(Debug, PartialEq, Eq)]
enum IdleEnd {
    Changed,
    TimedOut,
    Stopped,
    Unsupported,
}

/// Waits for news, as a worker does, but on this thread.
fn idle(
    session: &mut ImapSession,
    timeout: Duration,
    is_stopped: bool,
) -> Result<IdleEnd, MailError> {
    match session.begin_idle()? {
        IdleStart::Changed => return Ok(IdleEnd::Changed),
        IdleStart::Unsupported => return Ok(IdleEnd::Unsupported),
        IdleStart::Idling => {}
    }
    let begun = Instant::now();
    let end = loop {
        match session.hear(Duration::from_millis(10))? {
            Heard::Changed => break IdleEnd::Changed,
            Heard::Unsupported => return Ok(IdleEnd::Unsupported),
            Heard::Nothing if is_stopped => break IdleEnd::Stopped,
            Heard::Nothing if begun.elapsed() >= timeout => break IdleEnd::TimedOut,
            Heard::Nothing => {}
        }
    };
    session.end_idle()?;
    Ok(end)
}

fn limits() -> FetchLimits {
    FetchLimits {
        mail_bytes_max: 1000,
        batch_bytes_max: 2000,
        depth: 2,
    }
}

/// Fetches UIDs 1 and 2 from a server that answers the fetch like this.
fn fetch(text: &'static str) -> Result<FetchedBatch, MailError> {
    Scripted::answering("UID FETCH", text)
        .session()
        .fetch(vec![1, 2], limits())
}

fn uids(batch: &FetchedBatch) -> Vec<u32> {
    batch.mails.iter().map(|mail| mail.uid).collect()
}

fn is_fetch(command: &str) -> bool {
    command.starts_with("UID FETCH")
}

#[test]
fn r1_each_step_of_connecting_fails_with_its_own_error() {
    let busy = |step, backoff_seconds| MailError::Busy {
        step,
        backoff_seconds,
    };
    let protocol = |step, what| MailError::Protocol { step, what };
    let no_greeting = || protocol(MailStep::Connect, "no IMAP greeting");
    let step = MailStep::Login;
    let greetings = [
        ("not IMAP", "220 smtp\r\n", no_greeting()),
        (
            "logged in by someone else",
            "* PREAUTH hi\r\n",
            no_greeting(),
        ),
        (
            "bye at once",
            "* BYE too many connections\r\n",
            busy(MailStep::Connect, None),
        ),
    ];
    for (what, greeting, expected) in greetings {
        let server = Scripted::greeting(greeting, Arc::new(|_, _| None));
        assert_eq!(server.connect().err(), Some(expected), "{what}");
    }
    let throttled = "{tag} NO [THROTTLED] Suggested Backoff Time: 300000 milliseconds\r\n";
    let no_login = "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n{tag} OK\r\n";
    let logins = [
        (
            "wrong password",
            "LOGIN",
            "{tag} NO [AUTHENTICATIONFAILED] ä\r\n",
            MailError::LoginRefused,
        ),
        ("throttled", "LOGIN", throttled, busy(step, Some(300))),
        (
            "hung up",
            "LOGIN",
            "{cut}",
            MailError::ConnectionLost { step },
        ),
        ("silent", "LOGIN", "", MailError::TimedOut { step }),
        (
            "garbage",
            "LOGIN",
            "what?\r\n",
            protocol(step, "malformed line"),
        ),
        (
            "no plain login",
            "CAPABILITY",
            no_login,
            MailError::LoginUnsupported,
        ),
    ];
    for (what, command, text, expected) in logins {
        assert_eq!(
            Scripted::answering(command, text).connect().err(),
            Some(expected),
            "{what}"
        );
    }
}

#[test]
fn r1_hosts_are_vetted_before_anything_is_sent() {
    let server = Scripted::start(|_, _| None);
    let mut target = server.target(MailSecurity::Plain);
    target.hosts = Arc::new(HostPolicy::default());
    let refused = |refusal| Some(MailError::HostRefused(refusal));
    assert_eq!(
        connect(&target).err(),
        refused(HostRefusal::Address),
        "loopback is not listed"
    );
    target.server.host = "mail.example.org".to_owned();
    target.server.security = MailSecurity::Tls;
    let to_loopback: crate::mail::hosts::Resolve = |_| Ok(vec![IpAddr::from([127, 0, 0, 1])]);
    assert_eq!(
        connect_resolving(&target, to_loopback).err(),
        refused(HostRefusal::Address),
        "a name that leads home"
    );
    assert!(server.told().is_empty());
}

#[test]
fn starttls_that_is_refused_or_injected_never_sees_the_login() {
    let rows = [
        ("refused", "{tag} NO\r\n", TlsFault::StarttlsRefused),
        (
            "more than the answer",
            "{tag} OK go\r\n* CAPABILITY AUTH=PLAIN\r\n",
            TlsFault::StarttlsInjection,
        ),
        (
            "no TLS behind it",
            "{tag} OK go\r\n{cut}",
            TlsFault::Handshake,
        ),
    ];
    for (what, text, fault) in rows {
        let server = Scripted::answering("STARTTLS", text);
        assert_eq!(
            connect(&server.target(MailSecurity::Starttls)).err(),
            Some(MailError::Tls(fault)),
            "{what}"
        );
        let told = server.told();
        assert!(
            told.iter()
                .all(|line| !line.contains("LOGIN") && !line.contains("secret")),
            "{what}: {told:?}"
        );
    }
}

#[test]
fn access_tokens_log_in_by_sasl_and_an_error_challenge_is_acknowledged() {
    use base64::Engine;
    fn script(tag: &str, command: &str) -> Option<Reply> {
        match command {
            "CAPABILITY" => say(format!(
                "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK\r\n"
            )),
            "AUTHENTICATE XOAUTH2" => say("+ \r\n"),
            // The answer to the challenge has no space in it, so it comes as a tag.
            "" if !tag.is_empty() => say("+ eyJzdGF0dXMiOiI0MDEifQ==\r\n"),
            "" => say("a2 NO [AUTHENTICATIONFAILED] no\r\n"),
            _ => None,
        }
    }
    let server = Scripted::start(script);
    let mut target = server.target(MailSecurity::Plain);
    target.secret = Secret::AccessToken("token".to_owned().into());
    assert_eq!(connect(&target).err(), Some(MailError::LoginRefused));
    let told = server.told();
    let answer =
        base64::engine::general_purpose::STANDARD.encode("user=anna\x01auth=Bearer token\x01\x01");
    assert_eq!(
        told.get(2).map(|line| line.trim_end()),
        Some(answer.as_str())
    );
    assert_eq!(
        told.get(3).map(String::as_str),
        Some("\r\n"),
        "an empty line ends the exchange"
    );
}

#[test]
fn a_password_beyond_ascii_goes_by_authenticate_plain() {
    let server = Scripted::start(|tag, command| match command {
        "CAPABILITY" => say(format!("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK\r\n")),
        "AUTHENTICATE PLAIN" => say("+\r\n"),
        "" => say("* OK almost\r\na2 OK in\r\n"),
        _ => None,
    });
    let mut target = server.target(MailSecurity::Plain);
    target.secret = Secret::Password("pässword".to_owned().into());
    assert!(connect(&target).is_ok());
}

/// A server that offers to compress, and answers so when it is asked to.
fn compressing(answer: &'static [u8]) -> Scripted {
    Scripted::start(move |tag, command| match command {
        "CAPABILITY" => say(format!(
            "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\n{tag} OK done\r\n"
        )),
        "COMPRESS DEFLATE" => say([tag.as_bytes(), b" ", answer].concat()),
        _ => None,
    })
}

#[test]
fn compression_is_asked_for_beyond_loopback_and_a_server_that_makes_none_of_it_is_found_out() {
    let connect_always = |server: &Scripted| {
        connect(&Target {
            compress: Compress::Always,
            ..server.target(MailSecurity::Plain)
        })
    };
    let asks = |server: &Scripted| server.told().iter().any(|line| line.contains("COMPRESS"));
    let near = compressing(b"OK active\r\n");
    near.session();
    assert!(!asks(&near), "on this machine it only costs");
    let refusing = compressing(b"NO not now\r\n");
    let mut session = connect_always(&refusing).unwrap();
    assert!(asks(&refusing));
    session.list_folders().unwrap();
    let lying = compressing(b"OK active\r\n\xff\xff\xff\xff\xff\xff\xff\xff");
    let failed = connect_always(&lying).and_then(|mut session| session.list_folders().map(drop));
    assert!(failed.is_err());
}

#[test]
fn r2_folders_are_listed_with_their_roles() {
    let server = Scripted::start(|tag, command| {
        if !command.starts_with("LIST") {
            return None;
        }
        let mut text = b"* OK [ALERT] \xff\r\n* 3 FETCH (BODYSTRUCTURE ((((((\r\n".to_vec();
        text.extend_from_slice(
            b"* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\Noselect) \"/\" Work\r\n",
        );
        text.extend_from_slice(b"* LIST () \"/\" {4}\r\nJunk\r\n* LIST (\\Sent) \"/\" \"Gesendete \\\"&APY-\\\"\"\r\n* LIST () \"/\" \"\xfc\"\r\n");
        text.extend_from_slice(b"* LIST (\\HasNoChildren) NIL Entw&APw-rfe (CHILDINFO)\r\n");
        text.extend_from_slice(format!("{tag} OK done\r\n").as_bytes());
        say(text)
    });
    let folders = server.connect().unwrap().list_folders().unwrap();
    let told: Vec<_> = folders
        .iter()
        .map(|folder| (folder.path.as_str(), folder.role, folder.is_selectable))
        .collect();
    assert_eq!(
        told,
        [
            ("INBOX", Some(FolderRole::Inbox), true),
            ("Work", None, false),
            ("Junk", Some(FolderRole::Junk), true),
            ("Gesendete \"ö\"", Some(FolderRole::Sent), true),
            ("Entwürfe", Some(FolderRole::Drafts), true),
        ]
    );
    assert_eq!(folders[3].raw_path, "Gesendete \"&APY-\"");
}

#[test]
fn folders_are_opened_read_only_and_tell_their_state() {
    let server = Scripted::start(|tag, command| match command {
        "EXAMINE \"Sparse\"" => say(format!(
            "* 3 EXISTS\r\n* NO [ALERT] quota\r\n* OK [UIDNEXT 99999999999] x\r\n* OK \u{e4}\r\n{tag} OK\r\n"
        )),
        "EXAMINE \"Gone\"" => say(format!("{tag} NO [NONEXISTENT] gone\r\n")),
        _ => None,
    });
    let mut session = server.connect().unwrap();
    let full = Examined {
        uid_validity: Some(7),
        uid_next: Some(6),
        highest_modseq: Some(99),
        exists: 5,
    };
    assert_eq!(session.examine("INBOX"), Ok(full));
    let sparse = Examined {
        uid_validity: None,
        uid_next: None,
        highest_modseq: None,
        exists: 3,
    };
    assert_eq!(session.examine("Sparse"), Ok(sparse));
    let gone = session.examine("Gone").unwrap_err();
    assert_eq!(
        gone,
        MailError::Refused {
            step: MailStep::Listing,
            command: "EXAMINE"
        }
    );
    assert!(gone.keeps_session());
    assert!(
        session.examine("a\r\nb").is_err(),
        "a name can't smuggle a command"
    );
    assert_eq!(session.examine("a\"b\\c"), Ok(full));
    session.log_out();
    let told = server.told();
    assert!(
        told.iter()
            .any(|line| line.contains("EXAMINE \"a\\\"b\\\\c\"")),
        "{told:?}"
    );
    assert!(
        told.iter().all(|line| !line.contains(" SELECT")),
        "{told:?}"
    );
}

#[test]
fn listing_drops_what_is_below_and_merges_what_is_split() {
    let server = Scripted::start(|tag, command| {
        let text = match command {
            "UID FETCH 6:* (UID RFC822.SIZE FLAGS INTERNALDATE)" => {
                "* 5 FETCH (UID 5 RFC822.SIZE 1 FLAGS ())\r\n"
            }
            "UID FETCH 2:* (UID RFC822.SIZE FLAGS INTERNALDATE)" => concat!(
                "* 9 EXISTS\r\n* 3 FETCH (UID 3 FLAGS (\\Seen))\r\n",
                "* 2 FETCH (FLAGS (\\Recent) UID 2 INTERNALDATE \"24-Nov-2026 10:00:00 +0100\" RFC822.SIZE 22)\r\n",
                "* 7 FETCH (FLAGS ())\r\n* 3 FETCH (UID 3 RFC822.SIZE 33 X-NEW (1 (2)))\r\n* VANISHED (EARLIER) 1:4\r\n",
            ),
            _ => return None,
        };
        say(format!("{text}{tag} OK done\r\n"))
    });
    let mut session = server.session();
    assert_eq!(
        session.list_new(6),
        Ok(vec![]),
        "n:* names the last mail even where it is below n"
    );
    assert!(!session.has_news());
    let date = Time::parse_rfc3339("2026-11-24T09:00:00Z");
    assert_eq!(
        session.list_new(2),
        Ok(vec![
            ListedMail {
                uid: 2,
                size_bytes: 22,
                is_seen: false,
                internal_date: date
            },
            ListedMail {
                uid: 3,
                size_bytes: 33,
                is_seen: true,
                internal_date: None
            },
        ])
    );
    assert!(
        session.has_news(),
        "it came while listing, so the listing may lack it"
    );
    assert_eq!(
        idle(&mut session, Duration::from_secs(9), false),
        Ok(IdleEnd::Changed),
        "and is not slept over"
    );
}

#[test]
fn fetching_takes_what_servers_send_in_their_odd_ways() {
    let rows: [(&str, &str, &[u32], bool); 12] = [
        (
            "plain",
            "* 1 FETCH (UID 1 FLAGS (\\Seen) {BODY})\r\n* 2 FETCH ({BODY} UID 2)\r\n{tag} OK\r\n",
            &[1, 2],
            false,
        ),
        (
            "unknown attributes",
            "* 1 FETCH (UID 1 X-FOO 12 EMAILID (abc) {BODY})\r\n{tag} OK\r\n",
            &[1],
            false,
        ),
        (
            "unsolicited lines",
            "* 6 EXISTS\r\n* OK hello {5}\r\n* 1 FETCH (UID 1 {BODY})\r\n* ESEARCH (TAG \"x\") UID\r\n{tag} OK\r\n",
            &[1],
            false,
        ),
        (
            "flags without UID",
            "* 1 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (UID 1 {BODY})\r\n{tag} OK\r\n",
            &[1],
            false,
        ),
        (
            "a body without UID",
            "* 1 FETCH ({BODY})\r\n{tag} OK\r\n",
            &[],
            false,
        ),
        (
            "no body",
            "* 1 FETCH (UID 1 BODY[] NIL)\r\n* 2 FETCH (UID 2 {BODY})\r\n{tag} OK\r\n",
            &[2],
            false,
        ),
        (
            "nothing at all, as Exchange does",
            "{tag} OK\r\n",
            &[],
            false,
        ),
        (
            "a mail nobody asked for",
            "* 9 FETCH (UID 9 {BODY})\r\n* 1 FETCH (UID 1 {BODY})\r\n{tag} OK\r\n",
            &[1],
            false,
        ),
        (
            "the same mail twice",
            "* 1 FETCH (UID 1 {BODY})\r\n* 1 FETCH (UID 1 {BODY})\r\n{tag} OK\r\n",
            &[1],
            false,
        ),
        (
            "a row that can't be read",
            "* 1 FETCH (UID 1 \"\r\n* 2 FETCH (UID 2 {BODY})\r\n{tag} OK\r\n",
            &[2],
            false,
        ),
        (
            "refused in the middle",
            "* 1 FETCH (UID 1 {BODY})\r\n{tag} NO some are gone\r\n",
            &[1],
            true,
        ),
        (
            "BAD, as Exchange says it",
            "{tag} BAD Command Error. 12\r\n",
            &[],
            true,
        ),
    ];
    for (what, text, expected, is_refused) in rows {
        let batch = fetch(text).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(uids(&batch), expected, "{what}");
        assert_eq!(batch.is_refused, is_refused, "{what}");
        assert!(batch.mails.iter().all(|mail| mail.raw == RAW), "{what}");
    }
    let quoted = fetch("* 1 FETCH (UID 1 BODY[] \"a\" FLAGS (\\Seen))\r\n{tag} OK\r\n").unwrap();
    let expected = Fetched {
        uid: 1,
        internal_date: None,
        is_seen: true,
        labels: Vec::new(),
        raw: "a".into(),
    };
    assert_eq!(quoted.mails, [expected]);
}

#[test]
fn a_stream_out_of_step_ends_the_session() {
    let step = MailStep::Protocol;
    let lost = || MailError::ConnectionLost { step };
    let big = |uid, announced_bytes| MailError::TooBig {
        uid,
        announced_bytes,
    };
    let throttled = "{tag} NO [THROTTLED] Suggested Backoff Time: 5000 milliseconds\r\n";
    let other = MailError::Protocol {
        step,
        what: "answer to another command",
    };
    let rows = [
        (
            "cut in a body",
            "* 1 FETCH (UID 1 BODY[] {900}\r\nSubject{cut}",
            lost(),
        ),
        (
            "cut between mails",
            "* 1 FETCH (UID 1 {BODY})\r\n{cut}",
            lost(),
        ),
        (
            "bye",
            "* 1 FETCH (UID 1 {BODY})\r\n* BYE timeout\r\n{cut}",
            lost(),
        ),
        ("silence", "* 1 FETCH (UID 1", MailError::TimedOut { step }),
        (
            "throttled",
            throttled,
            MailError::Busy {
                step,
                backoff_seconds: Some(5),
            },
        ),
        ("another tag", "zz OK\r\n", other),
        (
            "a literal of 4 GB",
            "* 1 FETCH (UID 2 BODY[] {4294967295}\r\n",
            big(Some(2), 4_294_967_295),
        ),
        (
            "a mail above the limit before its UID",
            "* 1 FETCH (BODY[] {1001}\r\n",
            big(None, 1001),
        ),
    ];
    for (what, text, expected) in rows {
        assert_eq!(fetch(text), Err(expected), "{what}");
    }
}

#[test]
fn batches_are_bounded_whatever_sizes_the_server_announced() {
    let script = |tag: &str, command: &str| {
        let rows: String = (1..=3)
            .map(|uid| {
                format!(
                    "* {uid} FETCH (UID {uid} BODY[] {{900}}\r\n{})\r\n",
                    "x".repeat(900)
                )
            })
            .collect();
        if is_fetch(command) {
            say(format!("{rows}{tag} OK\r\n"))
        } else {
            None
        }
    };
    let error = Scripted::start(script)
        .session()
        .fetch(vec![1, 2, 3], limits())
        .unwrap_err();
    assert_eq!(
        error,
        MailError::TooBig {
            uid: Some(3),
            announced_bytes: 900
        }
    );
}

/// Answers two fetches only once both have come, their rows mixed and their ends swapped.
fn mixing(tag: &str, command: &str) -> Option<Reply> {
    if !is_fetch(command) {
        return None;
    }
    // The tags count up, so the second command of each pair has an even one.
    let number: u32 = tag.trim_start_matches('m').parse().unwrap();
    if number % 2 == 1 {
        return say("");
    }
    let [first, second] = [number - 1, number];
    say(format!(
        "* 1 FETCH (UID {second}0 {BODY})\r\n* 1 FETCH (UID {first}0 {BODY})\r\nm{second} OK\r\n* 1 FETCH (UID {first}1 {BODY})\r\nm{first} OK\r\n"
    ))
}

#[test]
fn batches_under_way_may_be_answered_in_any_order() {
    let mut session = Scripted::start(mixing).session();
    let mut batches = [vec![10, 11], vec![20, 21]].into_iter();
    let mut seen = Vec::new();
    let mut take = |batch: FetchedBatch| {
        seen.push((batch.asked.clone(), uids(&batch)));
        ControlFlow::Continue(())
    };
    session
        .fetch_batches(&mut batches, limits(), &mut take)
        .unwrap();
    assert_eq!(
        seen,
        [(vec![10, 11], vec![10, 11]), (vec![20, 21], vec![20])]
    );
}

#[test]
fn a_fetch_that_the_caller_ends_leaves_the_session_in_step() {
    let mut session = Scripted::start(mixing).session();
    let mut asked = 0;
    let mut batches = std::iter::from_fn(|| {
        asked += 1;
        Some(vec![asked * 10])
    });
    session
        .fetch_batches(&mut batches, limits(), &mut |_| ControlFlow::Break(()))
        .unwrap();
    assert_eq!(asked, 2);
    assert_eq!(session.noop(), Ok(()));
}

#[test]
fn long_uid_lists_go_in_short_commands() {
    let server = Scripted::start(|_, _| None);
    let mut session = server.session();
    let many: Vec<u32> = (0..500).map(|n| 4_000_000_000 + n * 3).collect();
    let batch = session.fetch(many.clone(), limits()).unwrap();
    assert_eq!((batch.asked, batch.mails.len()), (many, 0));
    let told = server.told();
    assert!(told.iter().filter(|line| line.contains("FETCH")).count() > 1);
    assert!(told.iter().all(|line| line.len() < 1000));
}

#[test]
fn slices_of_large_mails_are_fetched_by_offset() {
    let server = Scripted::start(|tag, command| match command {
        "UID FETCH 3 (UID BODY.PEEK[]<0.4>)" => say(format!(
            "* 1 FETCH (UID 3 BODY[]<0> {{4}}\r\nabcd)\r\n{tag} OK\r\n"
        )),
        "UID FETCH 3 (UID BODY.PEEK[]<4.4>)" => {
            say(format!("* 1 FETCH (BODY[]<4> \"e\" UID 3)\r\n{tag} OK\r\n"))
        }
        "UID FETCH 4 (UID BODY.PEEK[]<0.4>)" => say(format!("{tag} NO gone\r\n")),
        "UID FETCH 5 (UID BODY.PEEK[]<0.4>)" => say("* 1 FETCH (UID 5 BODY[]<0> {5}\r\nabcde)\r\n"),
        _ => None,
    });
    let mut session = server.session();
    assert_eq!(
        session.fetch_slice(3, 0, 4).unwrap().as_deref(),
        Some(b"abcd".as_slice())
    );
    assert_eq!(
        session.fetch_slice(3, 4, 4).unwrap().as_deref(),
        Some(b"e".as_slice())
    );
    assert_eq!(session.fetch_slice(4, 0, 4), Ok(None));
    assert_eq!(
        session.fetch_slice(5, 0, 4),
        Err(MailError::TooBig {
            uid: Some(5),
            announced_bytes: 5
        })
    );
}

#[test]
fn searches_tell_what_is_there() {
    let server = Scripted::start(|tag, command| match command {
        "UID SEARCH ALL" => say(format!("* SEARCH 9 2 \r\n* SEARCH 4\r\n{tag} OK\r\n")),
        "UID SEARCH UID 4" => say(format!("* SEARCH 4 (MODSEQ 7)\r\n{tag} OK\r\n")),
        _ => None,
    });
    let mut session = server.session();
    assert_eq!(session.search_all(), Ok(vec![2, 4, 9]));
    assert_eq!(session.search_uid(4), Ok(true));
    assert_eq!(session.search_uid(5), Ok(false));
}

#[test]
fn endless_answers_are_cut_off() {
    let server = Scripted::start(|_, command| match command {
        "NOOP" => say(b"* 1 FETCH (FLAGS ())\r\n".repeat(20_000)),
        "UID SEARCH ALL" => say([
            b"* OK ".as_slice(),
            &b"still searching ".repeat(5000),
            b"\r\n",
        ]
        .concat()
        .repeat(200)),
        _ => None,
    });
    let step = MailStep::Protocol;
    let malformed = Err(MailError::Protocol {
        step,
        what: "malformed line",
    });
    assert_eq!(server.session().noop(), malformed);
    assert_eq!(server.session().search_all().map(drop), malformed);
}

#[test]
fn r6_idle_ends_at_news_at_its_time_or_when_told_to() {
    let step = MailStep::Protocol;
    let (long, short) = (Duration::from_secs(30), Duration::from_millis(600));
    let rows = [
        (
            "news after the plus",
            "+ idling\r\n* 6 EXISTS\r\n",
            long,
            false,
            Ok(IdleEnd::Changed),
        ),
        (
            "news before the plus",
            "* 6 EXISTS\r\n+ idling\r\n",
            long,
            false,
            Ok(IdleEnd::Changed),
        ),
        (
            "a bare plus",
            "+\r\n* 3 EXPUNGE\r\n",
            long,
            false,
            Ok(IdleEnd::Changed),
        ),
        (
            "only a sign of life",
            "+ \r\n* OK Still here\r\n",
            short,
            false,
            Ok(IdleEnd::TimedOut),
        ),
        ("told to stop", "+ \r\n", long, true, Ok(IdleEnd::Stopped)),
        (
            "refused",
            "{tag} NO idle\r\n",
            long,
            false,
            Ok(IdleEnd::Unsupported),
        ),
        (
            "unknown",
            "{tag} BAD what\r\n",
            long,
            false,
            Ok(IdleEnd::Unsupported),
        ),
        (
            "bye",
            "+ \r\n* BYE restart\r\n{cut}",
            long,
            false,
            Err(MailError::ConnectionLost { step }),
        ),
        (
            "no plus",
            "* OK wait\r\n",
            long,
            false,
            Err(MailError::TimedOut { step }),
        ),
    ];
    for (what, text, timeout, stop, expected) in rows {
        let mut session = Scripted::answering("IDLE", text).session();
        let begun = Instant::now();
        assert_eq!(idle(&mut session, timeout, stop), expected, "{what}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        if matches!(
            expected,
            Ok(IdleEnd::TimedOut | IdleEnd::Stopped | IdleEnd::Unsupported)
        ) {
            assert_eq!(
                idle(&mut session, timeout, stop),
                expected,
                "{what}: the session is still in step"
            );
        }
    }
}

#[test]
fn news_that_come_with_the_go_ahead_are_heard_before_anybody_watches_the_connection() {
    for text in [
        "* 6 EXISTS\r\n+ idling\r\n",
        "+ idling\r\n* 6 EXISTS\r\n",
        "* OK wait\r\n+\r\n* OK still\r\n* 3 EXPUNGE\r\n",
    ] {
        let mut session = Scripted::answering("IDLE", text).session();
        let begun = session.begin_idle();
        assert_eq!(begun, Ok(IdleStart::Changed), "{text:?}");
        session.noop().unwrap();
    }
    let mut session = Scripted::answering("IDLE", "+ idling\r\n* OK still here\r\n").session();
    assert_eq!(session.begin_idle(), Ok(IdleStart::Idling));
    assert_eq!(session.hear(Duration::ZERO), Ok(Heard::Nothing));
    session.end_idle().unwrap();
    session.noop().unwrap();
}

#[test]
fn a_count_that_is_known_already_is_no_news() {
    let server = Scripted::answering("NOOP", "* 5 EXISTS\r\n* 0 RECENT\r\n{tag} OK\r\n");
    let mut session = server.session();
    session.noop().unwrap();
    assert!(!session.has_news());
    let server = Scripted::answering("NOOP", "* 2 EXPUNGE\r\n* 5 EXISTS\r\n{tag} OK\r\n");
    let mut session = server.session();
    session.noop().unwrap();
    assert!(session.has_news(), "one went and one came");
    session.list_new(1).unwrap();
    session.noop().unwrap();
    assert!(session.has_news(), "and again");
}

#[test]
fn a_waiting_session_is_cut_from_another_thread() {
    let mut session = Scripted::start(|_, command| {
        if command == "IDLE" {
            say("+ \r\n")
        } else {
            None
        }
    })
    .session();
    let cut = session.cut_handle();
    let cutter = thread::spawn(move || cut.cut());
    let begun = Instant::now();
    let ended = idle(&mut session, Duration::from_secs(30), false);
    assert_eq!(
        ended,
        Err(MailError::ConnectionLost {
            step: MailStep::Protocol
        })
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
    cutter.join().unwrap();
}

#[test]
fn a_mailbox_is_only_ever_read() {
    let server = Scripted::start(|tag, command| {
        if command == "IDLE" {
            say(format!("+ \r\n* 6 EXISTS\r\n{tag} OK\r\n"))
        } else {
            None
        }
    });
    let mut session = server.session();
    session.list_folders().unwrap();
    session.list_new(1).unwrap();
    session.list_between(1, 5).unwrap();
    session.fetch(vec![1], limits()).unwrap();
    session.fetch_slice(1, 0, 10).unwrap();
    session.search_all().unwrap();
    session.noop().unwrap();
    session.log_out();
    for line in server.told() {
        for word in [
            "STORE", "EXPUNGE", "SELECT", "COPY", "MOVE", "APPEND", "DELETE", "CLOSE", "BODY[",
        ] {
            assert!(!line.contains(word), "{line}");
        }
    }
}

#[test]
fn errors_never_tell_what_the_server_or_the_user_said() {
    let server = Scripted::start(|tag, command| {
        if command.starts_with("LOGIN") {
            say(format!("{tag} NO canary-of-the-server\r\n"))
        } else {
            None
        }
    });
    let mut target = server.target(MailSecurity::Plain);
    target.secret = Secret::Password("canary-of-the-user".to_owned().into());
    let error = connect(&target).err().unwrap();
    let told = format!("{error} {error:?} {}", error.advice());
    assert!(!told.contains("canary"), "{told}");
}
