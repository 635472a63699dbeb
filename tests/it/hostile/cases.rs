//! Each server does one thing that no server should. Whatever it is, every UID is settled, or the mailbox says what is
//! wrong and what to do; all of them together cost bounded memory; a mailbox on an honest server goes on beside them;
//! and no server is ever told anything but to give mail to read (T14, T36-T40).

use super::server::{Act, CAPABILITIES, Said, Script, Server, Session, row};
use super::{PASSWORD, connect, until_sync};
use crate::support::app::{On, PATIENCE, TestApp, text};
use crate::vault::until_number;
use mailroom::store::StoreError;
use mailroom::store::sql::sql;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Mails in each mailbox.
const MAILS: u32 = 5;

/// How a case ends.
enum End {
    /// Every UID has this outcome: so many stored, failed, gone.
    Settled(u32, u32, u32),
    /// The mailbox says this code, and what to do.
    Says(&'static str),
}

use End::{Says, Settled};

const ALL: End = Settled(MAILS, 0, 0);

struct Case {
    what: &'static str,
    end: End,
    capabilities: String,
    script: Script,
}

/// A case whose script takes part from the second session on: in the first, the mailbox is tried out.
fn case(
    what: &'static str,
    end: End,
    script: impl Fn(&Said, &mut Session<'_>) -> Act + Send + Sync + 'static,
) -> Case {
    Case {
        what,
        end,
        capabilities: CAPABILITIES.to_owned(),
        script: Arc::new(move |said, session| {
            if said.session == 1 {
                Act::Honest
            } else {
                script(said, session)
            }
        }),
    }
}

fn mail(number: u32) -> Vec<u8> {
    format!(
        "From: Client <c{number}@client.example>\r\nTo: a@ours.example\r\nMessage-ID: <{number}@c>\r\nSubject: Mail {number}\r\n\r\nHello {number}.\r\n"
    )
    .into_bytes()
}

fn is_listing(said: &Said) -> bool {
    said.verb == "UID FETCH" && !said.rest.contains("BODY.PEEK[]")
}

fn is_body(said: &Said) -> bool {
    said.verb == "UID FETCH" && said.rest.contains("BODY.PEEK[]")
}

/// Whether a set names this UID.
fn asks_for(said: &Said, uid: u32) -> bool {
    let set = said.rest.split(' ').next().unwrap_or_default();
    set.split(',').any(|part| {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        (number(from)..=number(to)).contains(&uid)
    })
}

/// An honest answer, with these lines before it.
fn with(said: &Said, session: &mut Session<'_>, lines: impl AsRef<[u8]>) -> Act {
    session.write(lines);
    session.answer(said);
    Act::Done
}

/// The rows of a FETCH, each as this makes it.
fn rows(said: &Said, session: &mut Session<'_>, make: impl Fn(usize, u32, &[u8], &str) -> Vec<u8>) {
    let folder = session.folder().clone();
    let items = said.rest.split_once(' ').map_or("", |(_set, items)| items);
    for (index, (uid, raw)) in folder.mails.iter().enumerate() {
        if asks_for(said, *uid) {
            let made = make(index + 1, *uid, raw, items);
            session.write(made);
        }
    }
}

fn done(said: &Said, session: &mut Session<'_>) -> Act {
    session.ok(said);
    Act::Done
}

/// What servers do wrong when they list or give mail.
fn fetching() -> Vec<Case> {
    vec![
        case(
            "a literal of 4 GB",
            Settled(MAILS - 1, 1, 0),
            |said, session| {
                if !(is_body(said) && asks_for(said, 1)) {
                    return Act::Honest;
                }
                session.write("* 1 FETCH (UID 1 BODY[] {4294967295}\r\nabc");
                session.line();
                Act::Close
            },
        ),
        case("a literal that is cut, once", ALL, |said, session| {
            if !is_body(said) || said.time > 2 {
                return Act::Honest;
            }
            session.write("* 1 FETCH (UID 1 BODY[] {100000}\r\nSubject: x\r\n\r\nhel");
            Act::Close
        }),
        case(
            "a connection that is cut between two mails, once",
            ALL,
            |said, session| {
                if !is_body(said) || said.time > 2 {
                    return Act::Honest;
                }
                let first = row(1, 1, &mail(1), "BODY.PEEK[]");
                session.write(first);
                Act::Close
            },
        ),
        case(
            "BYE in the middle of an answer, once",
            ALL,
            |said, session| {
                if !is_body(said) || said.time > 2 {
                    return Act::Honest;
                }
                let first = row(1, 1, &mail(1), "BODY.PEEK[]");
                session.write(first);
                session.write("* BYE timeout\r\n");
                Act::Close
            },
        ),
        case(
            "BYE whenever mail is asked for",
            Says("MAILBOX_CONNECT"),
            |said, session| {
                if !is_body(said) {
                    return Act::Honest;
                }
                session.write("* BYE no mail today\r\n");
                Act::Close
            },
        ),
        case(
            "the answer to another command, once",
            ALL,
            |said, session| {
                if !is_body(said) || said.time > 1 {
                    return Act::Honest;
                }
                session.write("x99 OK done\r\n");
                done(said, session)
            },
        ),
        case(
            "the answer to another command, always",
            Says("MAILBOX_CONNECT"),
            |said, session| {
                if !is_listing(said) {
                    return Act::Honest;
                }
                session.write("x99 OK done\r\n");
                Act::Done
            },
        ),
        case("a flood of untagged lines", ALL, |said, session| {
            if is_body(said) {
                session.flood(
                    b"* OK still here, do not go away\r\n* 5 EXISTS\r\n",
                    8 << 20,
                );
            }
            Act::Honest
        }),
        case("UIDs beyond 32 bits", ALL, |said, session| {
            if is_listing(said) {
                return with(
                    said,
                    session,
                    "* 9 FETCH (UID 4294967296 RFC822.SIZE 5 FLAGS ())\r\n* 9 FETCH (UID 99999999999999999999 RFC822.SIZE 5 FLAGS ())\r\n",
                );
            }
            Act::Honest
        }),
        case("rows without a UID", ALL, |said, session| {
            if said.verb == "UID FETCH" {
                return with(
                    said,
                    session,
                    "* 1 FETCH (FLAGS (\\Seen))\r\n* 2 FETCH (RFC822.SIZE 99)\r\n",
                );
            }
            Act::Honest
        }),
        case(
            "UIDs that are listed and never given",
            Settled(MAILS - 2, 2, 0),
            |said, session| {
                if !is_body(said) {
                    return Act::Honest;
                }
                rows(said, session, |number, uid, raw, items| {
                    if uid == 2 || uid == 4 {
                        Vec::new()
                    } else {
                        row(number, uid, raw, items)
                    }
                });
                done(said, session)
            },
        ),
        case(
            "UIDs that are listed and gone",
            Settled(MAILS - 1, 0, 1),
            |said, session| {
                if is_body(said) && asks_for(said, 3) {
                    session.shared.remove(3);
                }
                Act::Honest
            },
        ),
        case(
            "a body that is NIL",
            Settled(MAILS - 1, 1, 0),
            |said, session| {
                if !is_body(said) {
                    return Act::Honest;
                }
                rows(said, session, |number, uid, raw, items| match uid {
                    2 => b"* 2 FETCH (UID 2 BODY[] NIL)\r\n".to_vec(),
                    _ => row(number, uid, raw, items),
                });
                done(said, session)
            },
        ),
        case(
            "the same UID twice, with other bytes",
            ALL,
            |said, session| {
                if !is_body(said) {
                    return Act::Honest;
                }
                rows(said, session, |number, uid, raw, items| {
                    [
                        row(number, uid, raw, items),
                        row(number, uid, b"Subject: other\r\n\r\nother", items),
                    ]
                    .concat()
                });
                done(said, session)
            },
        ),
        case("mails that nobody asked for", ALL, |said, session| {
            if is_body(said) {
                let extra = row(9, 900, b"Subject: extra\r\n\r\nx", "BODY.PEEK[]");
                return with(said, session, extra);
            }
            Act::Honest
        }),
        case("sizes that are too small", ALL, |said, session| {
            if !is_listing(said) {
                return Act::Honest;
            }
            rows(said, session, |number, uid, _raw, items| {
                row(number, uid, b"x", items)
            });
            done(said, session)
        }),
        case("sizes of 4 GB", ALL, |said, session| {
            if !is_listing(said) {
                return Act::Honest;
            }
            rows(said, session, |number, uid, _raw, _items| {
                format!("* {number} FETCH (UID {uid} RFC822.SIZE 4294967295 FLAGS ())\r\n")
                    .into_bytes()
            });
            done(said, session)
        }),
        case("no sizes and no dates", ALL, |said, session| {
            if !is_listing(said) {
                return Act::Honest;
            }
            rows(said, session, |number, uid, _raw, _items| {
                format!("* {number} FETCH (UID {uid} FLAGS ())\r\n").into_bytes()
            });
            done(said, session)
        }),
        case(
            "one mail that it refuses",
            Settled(MAILS - 1, 1, 0),
            |said, session| {
                if !is_body(said) {
                    return Act::Honest;
                }
                rows(said, session, |number, uid, raw, items| {
                    if uid == 3 {
                        Vec::new()
                    } else {
                        row(number, uid, raw, items)
                    }
                });
                let end = if asks_for(said, 3) {
                    "NO can't"
                } else {
                    "OK done"
                };
                session.write(format!("{} {end}\r\n", said.tag));
                Act::Done
            },
        ),
        case(
            "rows that no parser should nest into",
            ALL,
            |said, session| {
                if is_body(said) && said.time == 1 {
                    let deep = [
                        b"* 1 FETCH (BODYSTRUCTURE ".to_vec(),
                        vec![b'('; 1 << 20],
                        b"\r\n".to_vec(),
                    ]
                    .concat();
                    return with(said, session, deep);
                }
                Act::Honest
            },
        ),
        case("bytes that are no text", ALL, |said, session| {
            if said.verb == "UID FETCH" {
                return with(said, session, b"* 1 FETCH (ENVELOPE (NIL \"H\xfcnstig\0\" NIL))\r\n* OK \0\0\xff\xfe\r\n* \0 FETCH (\0)\r\n");
            }
            Act::Honest
        }),
        case("things that other servers know", ALL, |said, session| {
            if said.verb == "UID FETCH" {
                return with(
                    said,
                    session,
                    "* 1 FETCH (X-FOO 12 EMAILID (abc) THREADID NIL MODSEQ (5) X-BAR {3}\r\na b)\r\n* ESEARCH (TAG \"A3\") UID COUNT 1 ALL 1\r\n* VANISHED (EARLIER) 1:3,7\r\n* LIST () \"/\" x\r\n",
                );
            }
            Act::Honest
        }),
        case("expunges and counts in the middle", ALL, |said, session| {
            if said.verb == "UID FETCH" {
                return with(
                    said,
                    session,
                    "* 4294967295 EXISTS\r\n* 7 EXPUNGE\r\n* 0 EXPUNGE\r\n* 5 EXISTS\r\n",
                );
            }
            Act::Honest
        }),
        case(
            "it is overloaded",
            Says("MAILBOX_CONNECT"),
            |said, session| {
                if !is_body(said) {
                    return Act::Honest;
                }
                session.write(format!("{} NO [THROTTLED] Too many requests. Suggested Backoff Time: 300000 milliseconds\r\n", said.tag));
                Act::Done
            },
        ),
    ]
}

/// What servers do wrong before any mail is asked for, and while they are watched.
fn around() -> Vec<Case> {
    let mut cases = vec![
        case(
            "a line that never ends",
            Says("MAILBOX_LISTING"),
            |said, session| {
                if said.verb != "EXAMINE" {
                    return Act::Honest;
                }
                session.write("* OK ");
                session.flood(b"a", 16 << 20);
                Act::Close
            },
        ),
        case(
            "untagged lines that never end",
            Says("MAILBOX_LISTING"),
            |said, session| {
                if said.verb != "EXAMINE" {
                    return Act::Honest;
                }
                session.flood(b"* OK still here\r\n", 16 << 20);
                Act::Close
            },
        ),
        case(
            "folders that never end",
            Says("MAILBOX_LISTING"),
            |said, session| {
                if said.verb != "LIST" {
                    return Act::Honest;
                }
                session.flood(
                    b"* LIST () \"/\" \"a folder of many that are told\"\r\n",
                    16 << 20,
                );
                Act::Close
            },
        ),
        case(
            "a folder that can't be opened",
            Says("MAILBOX_LISTING"),
            |said, session| {
                if said.verb != "EXAMINE" {
                    return Act::Honest;
                }
                session.write(format!("{} NO not today\r\n", said.tag));
                Act::Done
            },
        ),
        case(
            "it hangs up at the login",
            Says("MAILBOX_LOGIN"),
            |said, _session| {
                if said.verb == "LOGIN" {
                    Act::Close
                } else {
                    Act::Honest
                }
            },
        ),
        case(
            "it refuses the login",
            Says("MAILBOX_LOGIN"),
            |said, session| {
                if said.verb != "LOGIN" {
                    return Act::Honest;
                }
                session.write(format!("{} NO [AUTHENTICATIONFAILED] no\r\n", said.tag));
                Act::Done
            },
        ),
        case("no UIDVALIDITY", ALL, |said, session| {
            if said.verb == "EXAMINE" {
                session.write(format!(
                    "* {MAILS} EXISTS\r\n* OK [UIDNEXT {}] x\r\n",
                    MAILS + 1
                ));
                return done(said, session);
            }
            Act::Honest
        }),
        case("neither UIDVALIDITY nor UIDNEXT", ALL, |said, session| {
            if said.verb == "EXAMINE" {
                session.write(format!("* {MAILS} EXISTS\r\n"));
                return done(said, session);
            }
            Act::Honest
        }),
        case("a UIDNEXT that is rewound, once", ALL, |said, session| {
            if said.verb == "EXAMINE" && said.time == 3 {
                session.write(format!(
                    "* {MAILS} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 2] x\r\n"
                ));
                return done(said, session);
            }
            Act::Honest
        }),
        case("a UIDVALIDITY that changes, once", ALL, |said, session| {
            if said.verb == "EXAMINE" && said.time == 3 {
                session.shared.renumber();
            }
            Act::Honest
        }),
        case("no idling", ALL, |said, session| {
            if said.verb == "IDLE" {
                session.write(format!("{} NO idle\r\n", said.tag));
                return Act::Done;
            }
            Act::Honest
        }),
        case("news before idling begins", ALL, |said, session| {
            if said.verb == "IDLE" {
                session.write(format!("* {MAILS} EXISTS\r\n* OK hm\r\n"));
            }
            Act::Honest
        }),
        case("talk while idling, byte by byte", ALL, |said, session| {
            if said.verb != "IDLE" {
                return Act::Honest;
            }
            session.write("+ idling\r\n* OK ");
            while !session.is_over() && session.write("z") && !session.has_line() {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            session.write("\r\n");
            session.line();
            done(said, session)
        }),
        case("many capabilities", ALL, |_said, _session| Act::Honest),
    ];
    for case in &mut cases {
        if case.what == "many capabilities" {
            case.capabilities
                .push_str(&" X-CAPABILITY-OF-OURS".repeat(10_000));
        }
    }
    cases
}

/// The states of the UIDs of a mailbox's folders as they are numbered now.
async fn outcomes(app: &TestApp, address: &str) -> BTreeMap<String, i64> {
    let address = address.to_owned();
    let rows: Result<Vec<(String, i64)>, StoreError> = app
        .app()
        .store
        .read(move |conn| {
            sql("SELECT p.state, count(*) FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
                 JOIN mailboxes m ON m.id = f.mailbox_id WHERE m.address = ")
                .bind(address)
                .push(" GROUP BY p.state")
                .rows(conn)
        })
        .await;
    rows.unwrap().into_iter().collect()
}

async fn ends_as_it_should(app: &TestApp, case: &Case, id: &str, address: &str) {
    // Shown where it fails.
    println!("{}", case.what);
    match case.end {
        Says(code) => {
            let sync = until_sync(app, id, |sync| sync["lastError"] != Value::Null).await;
            assert_eq!(sync["lastError"]["code"], code, "{}: {sync:#}", case.what);
            let advice = text(&sync["lastError"]["advice"]);
            assert!(advice.len() > 20, "{}: {advice}", case.what);
            let stage = text(&sync["stage"]);
            // It may be trying again at this moment.
            let is_told = [
                "RETRYING",
                "NEEDS_ATTENTION",
                "CONNECTING",
                "LISTING",
                "BACKFILL",
            ]
            .contains(&stage.as_str());
            assert!(is_told, "{}: {stage}", case.what);
        }
        Settled(stored, failed, gone) => {
            let wanted: BTreeMap<String, i64> =
                [("STORED", stored), ("FAILED", failed), ("GONE", gone)]
                    .into_iter()
                    .filter(|(_state, count)| *count > 0)
                    .map(|(state, count)| (state.to_owned(), i64::from(count)))
                    .collect();
            let started = Instant::now();
            let mut pace = tokio::time::interval(Duration::from_millis(100));
            loop {
                pace.tick().await;
                let found = outcomes(app, address).await;
                if found == wanted {
                    break;
                }
                assert!(
                    started.elapsed() < PATIENCE,
                    "{}: {found:?}, not {wanted:?}",
                    case.what
                );
            }
        }
    }
}

fn most_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// What this process may hold at the most: the servers, their floods, Mailroom, and a worker for each mailbox.
const MEMORY_KIB_MAX: u64 = 300 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn t14_whatever_a_server_does_is_settled_or_told() {
    let app = TestApp::start(On::Sqlite).await;
    let honest = Server::start(
        (1..=MAILS).map(mail),
        Arc::new(|_said, _session| Act::Honest),
    );
    let password = json!({ "password": PASSWORD });
    let honest_id = connect(&app, &honest, "honest@ours.example", password.clone()).await;
    let mut running = Vec::new();
    for (number, case) in fetching().into_iter().chain(around()).enumerate() {
        let mails = (0..MAILS).map(|n| mail(1_000 * (u32::try_from(number).unwrap() + 1) + n));
        let server = Server::with(
            &case.capabilities,
            b"* OK ready\r\n",
            mails,
            case.script.clone(),
        );
        server.open(false);
        let address = format!("case{number}@ours.example");
        let id = connect(&app, &server, &address, password.clone()).await;
        running.push((case, server, id, address));
    }
    assert!(running.len() >= 24);
    for (_case, server, _id, _address) in &running {
        server.open(true);
    }
    // In the middle of it all, a mail comes to the honest server.
    honest.change(|folder| {
        folder.add(mail(99));
    });
    let stored = "SELECT count(*) FROM emails e JOIN mailboxes m ON m.id = e.mailbox_id WHERE m.address = 'honest@ours.example'";
    until_number(app.app(), stored, i64::from(MAILS) + 1).await;
    for (case, _server, id, address) in &running {
        ends_as_it_should(&app, case, id, address).await;
    }
    let sync = until_sync(&app, &honest_id, |sync| sync["stage"] == "WATCHING").await;
    assert_eq!(
        sync["lastError"],
        Value::Null,
        "the honest one was not disturbed"
    );
    // The same mail is one email, however often its UID changed.
    let doubled = "SELECT count(*) FROM (SELECT mailbox_id, message_id FROM emails GROUP BY mailbox_id, message_id HAVING count(*) > 1) AS doubled";
    until_number(app.app(), doubled, 0).await;
    for (case, server, _id, _address) in &running {
        for line in server.said() {
            let line = line.to_ascii_uppercase();
            let is_reading = [
                "STORE", "EXPUNGE", "SELECT", "APPEND", "COPY", "MOVE", "DELETE", "BODY[", "CLOSE",
            ]
            .iter()
            .all(|word| !line.split([' ', '(']).any(|said| said.starts_with(word)));
            assert!(is_reading, "{}: {line}", case.what);
        }
    }
    let memory = most_memory_kib();
    println!("{memory} KiB at the most, {} servers", running.len());
    assert!(memory <= MEMORY_KIB_MAX, "{memory} KiB");
    app_stops(app).await;
}

async fn app_stops(mut app: TestApp) {
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t43_a_server_that_is_none_is_told_when_it_is_connected() {
    let app = TestApp::start(On::Sqlite).await;
    let honest: Script = Arc::new(|_said, _session| Act::Honest);
    let injecting: Script = Arc::new(|said, session| {
        if said.verb == "STARTTLS" {
            session.write(format!("{} OK go on\r\n* OK injected\r\n", said.tag));
            return Act::Done;
        }
        Act::Honest
    });
    let endless: Script = Arc::new(|said, session| {
        if said.verb == "CAPABILITY" {
            session.write("* CAPABILITY IMAP4rev1");
            session.flood(b" X-ENDLESS", 16 << 20);
            return Act::Close;
        }
        Act::Honest
    });
    let rows: [(&str, &[u8], Script, &str, &str); 6] = [
        (
            "BYE for a greeting",
            b"* BYE full\r\n",
            honest.clone(),
            "PLAIN",
            "MAILBOX_CONNECT",
        ),
        (
            "a session that somebody has logged in",
            b"* PREAUTH hello\r\n",
            honest.clone(),
            "PLAIN",
            "MAILBOX_CONNECT",
        ),
        (
            "another protocol",
            b"220 smtp.example ESMTP\r\n",
            honest.clone(),
            "PLAIN",
            "MAILBOX_CONNECT",
        ),
        (
            "a greeting of binary",
            b"\x16\x03\x01\0\0\r\n",
            honest,
            "PLAIN",
            "MAILBOX_CONNECT",
        ),
        (
            "more than the answer to STARTTLS",
            b"* OK ready\r\n",
            injecting,
            "STARTTLS",
            "MAILBOX_TLS",
        ),
        (
            "capabilities that never end",
            b"* OK ready\r\n",
            endless,
            "PLAIN",
            "MAILBOX_LOGIN",
        ),
    ];
    for (what, greeting, script, security, expected) in rows {
        let server = Server::with(CAPABILITIES, greeting, [], script);
        let input = json!({
            "address": "ada@ours.example",
            "imap": { "host": "127.0.0.1", "port": server.port, "security": security },
            "secret": { "password": PASSWORD },
        });
        let payload = app
            .mutate(&app.admin, "connectMailbox", input, "mailbox { id }")
            .await;
        assert_eq!(
            payload["userErrors"][0]["code"], expected,
            "{what}: {payload:#}"
        );
        assert!(
            !server.said().iter().any(|line| line.contains(PASSWORD)),
            "{what}: the password was not said"
        );
    }
}
