//! A scripted SMTP server for one test: it keeps the mails that it took, and fails in the ways that real ones do. How it
//! fails stands in a recipient's address: `fault-cut-after-dot-7@client.example`.
//! Not for: TLS (the client's own tests have that).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A mail that it took.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub from: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

impl Delivery {
    /// The mail as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// A header's value, on one line.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text
            .split("\r\n\r\n")
            .next()?
            .replace("\r\n ", " ")
            .replace("\r\n\t", " ");
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

/// The ways in which a mail can go wrong, as they stand in a recipient's address.
pub const FAULTS: [&str; 12] = [
    "none",
    "sender-refused",
    "recipient-refused",
    "recipient-later",
    "cut-at-recipient",
    "data-refused",
    "cut-at-data",
    "cut-in-mail",
    "cut-after-dot",
    "lost-after-dot",
    "dot-later",
    "dot-refused",
];

#[derive(Debug, Default)]
pub struct State {
    /// What it took, also where it did not say so.
    pub taken: Vec<Delivery>,
    /// Every command, but for what it was logged in with.
    pub told: Vec<String>,
    /// How often a fault was met, by the recipient.
    met: HashMap<String, usize>,
    /// Takes these access tokens in place of passwords, where there are any.
    pub tokens: Vec<String>,
    /// Refuses every log-in.
    pub refuses_login: bool,
    /// How often it was connected to.
    pub connections: usize,
    /// Hangs up on whoever connects.
    pub hangs_up: bool,
    /// Offers no more than this many bytes.
    pub size_max: usize,
    /// Waits before each reply.
    pub takes: Duration,
}

/// The running server; it ends with the test.
#[derive(Clone)]
pub struct SmtpServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl SmtpServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            size_max: 50_000_000,
            ..State::default()
        }));
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&served);
                // Whoever hangs up ends it.
                std::thread::spawn(move || Client::new(socket, state).serve());
            }
        });
        Self { address, state }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What it took for this recipient.
    pub fn taken_for(&self, recipient: &str) -> Vec<Delivery> {
        let state = self.state();
        let all = state.taken.iter();
        all.filter(|mail| mail.recipients.iter().any(|to| to == recipient))
            .cloned()
            .collect()
    }
}

struct Client {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    state: Arc<Mutex<State>>,
    from: String,
    recipients: Vec<String>,
}

impl Client {
    fn new(socket: TcpStream, state: Arc<Mutex<State>>) -> Self {
        Self {
            reader: BufReader::new(socket.try_clone().unwrap()),
            socket,
            state,
            from: String::new(),
            recipients: Vec::new(),
        }
    }

    fn say(&mut self, line: &str) -> Option<()> {
        let takes = self.state.lock().unwrap().takes;
        std::thread::sleep(takes);
        self.socket.write_all(format!("{line}\r\n").as_bytes()).ok()
    }

    /// The fault that a recipient of this mail names, and how often this step met it before.
    fn fault(&self, step: &str) -> Option<(String, usize)> {
        let found = self.recipients.iter().rev().find_map(|to| {
            let named = to.strip_prefix("fault-")?;
            let (named, _number) = named.split('@').next()?.rsplit_once('-')?;
            Some((to.clone(), named.to_owned()))
        });
        let (to, named) = found?;
        let mut state = self.state.lock().unwrap();
        let met = state.met.entry(format!("{step} {to}")).or_default();
        *met += 1;
        Some((named, *met - 1))
    }

    fn serve(mut self) -> Option<()> {
        {
            let mut state = self.state.lock().unwrap();
            state.connections += 1;
            if state.hangs_up {
                return None;
            }
        }
        self.say("220 smtp.example ready")?;
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            let upper = line.to_ascii_uppercase();
            if !upper.starts_with("AUTH") {
                self.state.lock().unwrap().told.push(line.clone());
            }
            if upper.starts_with("EHLO") {
                let (size, takes_tokens) = {
                    let state = self.state.lock().unwrap();
                    (state.size_max, !state.tokens.is_empty())
                };
                let ways = if takes_tokens {
                    "XOAUTH2"
                } else {
                    "PLAIN LOGIN"
                };
                self.say(&format!(
                    "250-smtp.example\r\n250-SIZE {size}\r\n250-AUTH {ways}\r\n250 8BITMIME"
                ))?;
            } else if upper.starts_with("AUTH XOAUTH2") {
                self.say("334 ")?;
                let mut answer = String::new();
                self.reader.read_line(&mut answer).ok()?;
                let answer = STANDARD.decode(answer.trim_end()).unwrap();
                let answer = String::from_utf8(answer).unwrap();
                let is_taken = {
                    let state = self.state.lock().unwrap();
                    let mut tokens = state.tokens.iter();
                    tokens.any(|token| answer.contains(&format!("Bearer {token}\u{1}")))
                };
                self.say(if is_taken {
                    "235 2.7.0 welcome"
                } else {
                    "535 5.7.8 no"
                })?;
            } else if upper.starts_with("AUTH PLAIN") {
                self.say("334 ")?;
                let mut secret = String::new();
                self.reader.read_line(&mut secret).ok()?;
                let refuses = self.state.lock().unwrap().refuses_login;
                self.say(if refuses {
                    "535 5.7.8 no"
                } else {
                    "235 2.7.0 welcome"
                })?;
            } else if upper.starts_with("MAIL FROM:") {
                self.from = bracketed(&line);
                self.recipients.clear();
                self.say("250 2.1.0 ok")?;
            } else if upper.starts_with("RCPT TO:") {
                self.recipient(&line)?;
            } else if upper == "DATA" {
                self.data()?;
            } else if upper == "QUIT" {
                self.say("221 bye")?;
                return None;
            } else {
                self.say("250 2.0.0 ok")?;
            }
        }
    }

    fn recipient(&mut self, line: &str) -> Option<()> {
        self.recipients.push(bracketed(line));
        let fault = self.fault("RCPT");
        match fault.as_ref().map(|(named, met)| (named.as_str(), *met)) {
            Some(("sender-refused", _)) => self.say("553 5.7.1 not from you"),
            Some(("recipient-refused", _)) => self.say("550 5.1.1 nobody"),
            Some(("recipient-later", 0)) => self.say("450 4.2.1 later"),
            Some(("cut-at-recipient", 0)) => None,
            _ => self.say("250 2.1.5 ok"),
        }
    }

    fn data(&mut self) -> Option<()> {
        let fault = self.fault("DATA");
        let named = fault.as_ref().map(|(named, met)| (named.as_str(), *met));
        match named {
            Some(("data-refused", _)) => return self.say("554 5.6.0 no mail of this kind"),
            Some(("cut-at-data", 0)) => {
                self.say("354 go on")?;
                return None;
            }
            _ => self.say("354 go on")?,
        }
        if named == Some(("cut-in-mail", 0)) {
            let mut some = [0; 64];
            let _ = self.reader.read(&mut some);
            return None;
        }
        let raw = self.content()?;
        let is_first = named.is_some_and(|(_named, met)| met == 0);
        let take = |client: &Self| {
            client.state.lock().unwrap().taken.push(Delivery {
                from: client.from.clone(),
                recipients: client.recipients.clone(),
                raw,
            });
        };
        match named {
            Some(("cut-after-dot", _)) => {
                take(self);
                None
            }
            Some(("lost-after-dot", _)) => None,
            Some(("dot-later", _)) if is_first => self.say("451 4.3.0 later"),
            Some(("dot-refused", _)) => self.say("554 5.7.1 spam"),
            _ => {
                take(self);
                self.say("250 2.0.0 taken")
            }
        }
    }

    fn content(&mut self) -> Option<Vec<u8>> {
        let mut raw = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line).ok()? == 0 {
                return None;
            }
            if line == b".\r\n" {
                return Some(raw);
            }
            raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

fn bracketed(line: &str) -> String {
    let behind = line.split('<').nth(1).unwrap_or_default();
    behind.split('>').next().unwrap_or_default().to_owned()
}
