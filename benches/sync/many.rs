//! Many mailboxes on one worker: what an idle one takes, and how long a mail takes from the server's word of it to the
//! screen of somebody who follows the timeline. The server is our own, and tells of a mail the moment that it has it.

use super::common::server::{Server, Setting, used};
use super::common::{percentile, subscribed};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Mails that are delivered, and the time between two of them.
const MAILS: usize = 300;
const EVERY: Duration = Duration::from_millis(100);
/// How long idle mailboxes are watched.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// What came of it.
pub struct Measured {
    pub idle_kb_each: f64,
    /// Of one core, while nothing happens.
    pub idle_cpu_percent: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
    pub connecting_seconds: f64,
}

/// One mailbox: its mails, and whoever waits for news of it.
#[derive(Default)]
struct Inbox {
    mails: Vec<String>,
    waits: Option<TcpStream>,
}

#[derive(Clone, Default)]
struct Post(Arc<Mutex<HashMap<String, Inbox>>>);

impl Post {
    /// Starts the server; its port. It runs until the process ends.
    fn start(&self) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let post = self.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let post = post.clone();
                let serve = move || drop(post.serve(&socket));
                std::thread::Builder::new()
                    .stack_size(128 << 10)
                    .spawn(serve)
                    .unwrap();
            }
        });
        port
    }

    /// Puts a mail in, and tells of it.
    fn deliver(&self, address: &str, mail: String) {
        let mut boxes = self.0.lock().unwrap();
        let inbox = boxes.entry(address.to_owned()).or_default();
        inbox.mails.push(mail);
        if let Some(waits) = &mut inbox.waits {
            waits
                .write_all(format!("* {} EXISTS\r\n", inbox.mails.len()).as_bytes())
                .unwrap();
        }
    }

    fn waiting(&self) -> usize {
        let boxes = self.0.lock().unwrap();
        boxes.values().filter(|inbox| inbox.waits.is_some()).count()
    }

    fn serve(&self, socket: &TcpStream) -> std::io::Result<()> {
        let mut out = socket.try_clone()?;
        out.set_nodelay(true)?;
        out.write_all(b"* OK ready\r\n")?;
        let mut reader = BufReader::with_capacity(512, socket.try_clone()?);
        let mut address = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let (tag, command) = line.trim_end().split_once(' ').unwrap_or_default();
            if let Some(login) = command.strip_prefix("LOGIN ") {
                address = login.split('"').nth(1).unwrap_or_default().to_owned();
            }
            if command == "IDLE" {
                {
                    let mut boxes = self.0.lock().unwrap();
                    out.write_all(b"+ idling\r\n")?;
                    boxes.entry(address.clone()).or_default().waits = Some(out.try_clone()?);
                }
                let tag = tag.to_owned();
                line.clear();
                let ended = reader.read_line(&mut line);
                self.0
                    .lock()
                    .unwrap()
                    .entry(address.clone())
                    .or_default()
                    .waits = None;
                if ended? == 0 {
                    return Ok(());
                }
                out.write_all(format!("{tag} OK done\r\n").as_bytes())?;
                continue;
            }
            let mut answer = self.answer(&address, command);
            let _ = write!(answer, "{tag} OK done\r\n");
            out.write_all(answer.as_bytes())?;
        }
    }

    fn answer(&self, address: &str, command: &str) -> String {
        let mut boxes = self.0.lock().unwrap();
        let mails = &boxes.entry(address.to_owned()).or_default().mails;
        let mut answer = String::new();
        if command == "CAPABILITY" {
            answer.push_str("* CAPABILITY IMAP4rev1 IDLE\r\n");
        } else if command.starts_with("LIST") {
            answer.push_str("* LIST () \"/\" \"INBOX\"\r\n");
        } else if command.starts_with("EXAMINE") {
            let (exists, next) = (mails.len(), mails.len() + 1);
            let _ = write!(
                answer,
                "* {exists} EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT {next}] ok\r\n"
            );
        } else if command.starts_with("UID SEARCH") {
            answer.push_str("* SEARCH");
            for uid in 1..=mails.len() {
                let _ = write!(answer, " {uid}");
            }
            answer.push_str("\r\n");
        } else if let Some(rest) = command.strip_prefix("UID FETCH ") {
            let (set, items) = rest.split_once(' ').unwrap_or_default();
            let (first, last) = set.split_once(':').unwrap_or((set, set));
            let first: usize = first.parse().unwrap_or(1);
            let last = last.parse().unwrap_or(mails.len());
            for (uid, mail) in (1..)
                .zip(mails)
                .filter(|(uid, _)| (first..=last).contains(uid))
            {
                let size = mail.len();
                let date = chrono::Utc::now().format("%d-%b-%Y %H:%M:%S +0000");
                let _ = write!(
                    answer,
                    "* {uid} FETCH (UID {uid} FLAGS () RFC822.SIZE {size} INTERNALDATE \"{date}\""
                );
                if items.contains("BODY.PEEK[]") {
                    let _ = write!(answer, " BODY[] {{{size}}}\r\n{mail}");
                }
                answer.push_str(")\r\n");
            }
        }
        answer
    }
}

fn letter(number: usize) -> String {
    format!(
        "Received: from client.example by ours.example; {date}\r\nFrom: Cleo {number} <cleo{number}@client.example>\r\n\
         To: us@ours.example\r\nSubject: number-{number}\r\nMessage-ID: <{number}@client.example>\r\nDate: {date}\r\n\r\n\
         Dear all, this is about order {number}.\r\n",
        date = chrono::Utc::now().to_rfc2822()
    )
}

/// Connects so many mailboxes to one worker, lets them idle, and then delivers mail.
pub async fn measure(setting: &Setting, mailboxes: usize) -> Measured {
    let post = Post::default();
    let port = post.start();
    let server = Server::start(setting).await;
    let address = |number: usize| format!("box{number}@ours.example");
    let before = server.used();
    let begun = Instant::now();
    for number in 0..mailboxes {
        server.connect(&address(number), port, "secret").await;
    }
    while post.waiting() < mailboxes {
        assert!(
            begun.elapsed() < Duration::from_secs(600),
            "{} wait",
            post.waiting()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let connecting_seconds = begun.elapsed().as_secs_f64();
    let idle = used(server.pid());
    tokio::time::sleep(IDLE_FOR).await;
    let after = used(server.pid());
    let idle_cpu = after.cpu_seconds - idle.cpu_seconds;
    let mut times = follow(&server, &post, &address, mailboxes).await;
    times.sort_by(f64::total_cmp);
    Measured {
        idle_kb_each: (after.resident_mb - before.resident_mb) * 1024.0 / mailboxes as f64,
        idle_cpu_percent: idle_cpu * 100.0 / IDLE_FOR.as_secs_f64(),
        median_ms: percentile(&times, 50),
        p99_ms: percentile(&times, 99),
        connecting_seconds,
    }
}

/// Delivers mails to the mailboxes in turn; how long each took until it was told of, in milliseconds.
async fn follow(
    server: &Server,
    post: &Post,
    address: &impl Fn(usize) -> String,
    mailboxes: usize,
) -> Vec<f64> {
    let query = "subscription { timeline { __typename ... on EntryAdded { entry { ... on EmailReceived { email { subject } } } } } }";
    let payload = json!({ "query": query });
    let mut socket = subscribed(server.socket_url(), server.token(), payload).await;
    let mut sent: HashMap<String, Instant> = HashMap::new();
    let mut times = Vec::new();
    let mut is_caught_up = false;
    let mut tick = tokio::time::interval(EVERY);
    let mut number = 0;
    while times.len() < MAILS {
        tokio::select! {
            _ = tick.tick(), if is_caught_up && number < MAILS => {
                // Spread over all mailboxes, neighbours far apart.
                let to = address(number * 7919 % mailboxes);
                sent.insert(format!("number-{number}"), Instant::now());
                post.deliver(&to, letter(number));
                number += 1;
            }
            came = socket.next() => {
                let text = came.unwrap().unwrap().into_text().unwrap();
                assert!(!text.contains("\"error\""), "{text}");
                is_caught_up |= text.contains("CaughtUp");
                let told: Value = serde_json::from_str(&text).unwrap_or_default();
                let subject = told["payload"]["data"]["timeline"]["entry"]["email"]["subject"].as_str();
                if let Some(at) = subject.and_then(|subject| sent.remove(subject)) {
                    times.push(at.elapsed().as_secs_f64() * 1000.0);
                }
            }
        }
    }
    times
}
