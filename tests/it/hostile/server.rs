//! A scripted IMAP server: honest in everything, but for what a test makes it do otherwise.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// One folder, INBOX, as all sessions see it.
#[derive(Debug, Clone)]
pub struct Folder {
    pub validity: Option<u64>,
    /// What is said to be the next UID; `None`: the true one.
    pub said_next: Option<u64>,
    pub mails: BTreeMap<u32, Vec<u8>>,
    next: u32,
}

impl Folder {
    pub fn add(&mut self, raw: Vec<u8>) -> u32 {
        let uid = self.next;
        self.next += 1;
        self.mails.insert(uid, raw);
        uid
    }

    fn next(&self) -> u64 {
        self.said_next.unwrap_or_else(|| self.next.into())
    }
}

/// A command of the client: its tag, its words in upper case, and the line as it came.
#[derive(Debug, Clone)]
pub struct Said {
    pub tag: String,
    pub verb: String,
    pub rest: String,
    /// How many commands with this verb came in all sessions, with this one.
    pub time: u32,
    /// Which session it is, from 1.
    pub session: u32,
}

/// What a script does about a command.
pub enum Act {
    /// What an honest server does.
    Honest,
    /// The script has answered.
    Done,
    /// The connection is closed.
    Close,
}

/// What a server does otherwise.
pub type Script = Arc<dyn Fn(&Said, &mut Session<'_>) -> Act + Send + Sync>;

/// What the sessions share.
pub struct Shared {
    folder: Mutex<Folder>,
    changed: Condvar,
    is_over: AtomicBool,
    /// Sessions after the first wait until the test says so.
    is_open: AtomicBool,
    sessions: AtomicU32,
    counts: Mutex<BTreeMap<String, u32>>,
    /// Every command, for what must never be said.
    log: Mutex<Vec<String>>,
    pub capabilities: String,
    /// Instead of the greeting.
    greeting: Vec<u8>,
    script: Script,
}

/// A server on a loopback port of its own; it ends with this.
pub struct Server {
    pub port: u16,
    shared: Arc<Shared>,
}

/// One connection.
pub struct Session<'s> {
    pub shared: &'s Shared,
    socket: &'s TcpStream,
    lines: BufReader<&'s TcpStream>,
    told: usize,
}

pub const CAPABILITIES: &str = "IMAP4rev1 IDLE UIDPLUS AUTH=PLAIN";

impl Server {
    pub fn start(mails: impl IntoIterator<Item = Vec<u8>>, script: Script) -> Self {
        Self::with(CAPABILITIES, b"* OK ready\r\n", mails, script)
    }

    pub fn with(
        capabilities: &str,
        greeting: &[u8],
        mails: impl IntoIterator<Item = Vec<u8>>,
        script: Script,
    ) -> Self {
        let mut folder = Folder {
            validity: Some(7),
            said_next: None,
            mails: BTreeMap::new(),
            next: 1,
        };
        for raw in mails {
            folder.add(raw);
        }
        let shared = Arc::new(Shared {
            folder: Mutex::new(folder),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
            is_open: AtomicBool::new(true),
            sessions: AtomicU32::new(0),
            counts: Mutex::default(),
            log: Mutex::default(),
            capabilities: capabilities.to_owned(),
            greeting: greeting.to_vec(),
            script,
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let for_thread = shared.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if for_thread.is_over.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(socket), shared) = (socket, for_thread.clone()) else {
                    continue;
                };
                std::thread::spawn(move || {
                    let mut session = Session {
                        shared: &shared,
                        socket: &socket,
                        lines: BufReader::new(&socket),
                        told: 0,
                    };
                    // A client that hangs up ends the session.
                    let _ = session.run();
                });
            }
        });
        Self { port, shared }
    }

    pub fn folder(&self) -> MutexGuard<'_, Folder> {
        self.shared.folder.lock().unwrap()
    }

    /// Lets the sessions after the first wait, or go on.
    pub fn open(&self, is_open: bool) {
        self.shared.is_open.store(is_open, Ordering::Release);
        self.shared.changed.notify_all();
    }

    /// Changes the folder; sessions that idle hear of it.
    pub fn change(&self, change: impl FnOnce(&mut Folder)) {
        change(&mut self.folder());
        self.shared.changed.notify_all();
    }

    /// How many commands with this verb have come.
    pub fn count(&self, verb: &str) -> u32 {
        let counts = self.shared.counts.lock().unwrap();
        counts.get(verb).copied().unwrap_or(0)
    }

    /// Every line that clients have said.
    pub fn said(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }
}

impl Shared {
    /// A mail goes.
    pub fn remove(&self, uid: u32) {
        self.folder.lock().unwrap().mails.remove(&uid);
    }

    /// The folder is made anew: other UIDs, the same mails.
    pub fn renumber(&self) {
        let mut folder = self.folder.lock().unwrap();
        folder.validity = folder.validity.map(|validity| validity + 1);
        let mails = std::mem::take(&mut folder.mails);
        folder.next = 1;
        for raw in mails.into_values() {
            folder.add(raw);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Session<'_> {
    /// Writes; an error ends the session with the next command.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// Writes the same again and again until the client hangs up, or so many bytes have gone.
    pub fn flood(&mut self, bytes: &[u8], bytes_max: usize) {
        let block = bytes.repeat((64 * 1024 / bytes.len()).max(1));
        let mut written = 0;
        while written < bytes_max && self.write(&block) {
            written += block.len();
        }
    }

    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let count = self.lines.read_until(b'\n', &mut line).ok()?;
        (count > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Whether the client has said something more.
    pub fn has_line(&self) -> bool {
        let mut byte = [0; 1];
        self.socket.set_nonblocking(true).unwrap();
        let heard = self.socket.peek(&mut byte);
        self.socket.set_nonblocking(false).unwrap();
        !self.lines.buffer().is_empty() || heard.is_ok()
    }

    pub fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    pub fn folder(&self) -> MutexGuard<'_, Folder> {
        self.shared.folder.lock().unwrap()
    }

    fn run(&mut self) -> Option<()> {
        let number = self.shared.sessions.fetch_add(1, Ordering::AcqRel) + 1;
        if number > 1 {
            let folder = self.folder();
            let waits =
                |_: &mut Folder| !self.shared.is_open.load(Ordering::Acquire) && !self.is_over();
            drop(self.shared.changed.wait_while(folder, waits).unwrap());
        }
        if !self.write(self.shared.greeting.clone()) {
            return None;
        }
        loop {
            let line = self.line()?;
            self.shared.log.lock().unwrap().push(line.clone());
            let mut words = line.splitn(3, ' ');
            let tag = words.next()?.to_owned();
            let mut verb = words.next().unwrap_or_default().to_ascii_uppercase();
            let mut rest = words.next().unwrap_or_default().to_owned();
            if verb == "UID" {
                let (second, behind) = rest.split_once(' ').unwrap_or((&rest, ""));
                verb = format!("UID {}", second.to_ascii_uppercase());
                rest = behind.to_owned();
            }
            let time = {
                let mut counts = self.shared.counts.lock().unwrap();
                let count = counts.entry(verb.clone()).or_default();
                *count += 1;
                *count
            };
            let said = Said {
                tag,
                verb,
                rest,
                time,
                session: number,
            };
            let script = self.shared.script.clone();
            match script(&said, self) {
                Act::Honest => self.answer(&said)?,
                Act::Done => {}
                Act::Close => return None,
            }
            if said.verb == "LOGOUT" {
                return None;
            }
        }
    }

    /// The tagged end of a command.
    pub fn ok(&mut self, said: &Said) -> Option<()> {
        self.write(format!("{} OK done\r\n", said.tag))
            .then_some(())
    }

    /// What an honest server answers.
    pub fn answer(&mut self, said: &Said) -> Option<()> {
        match said.verb.as_str() {
            "CAPABILITY" => {
                let line = format!("* CAPABILITY {}\r\n", self.shared.capabilities);
                self.write(line);
            }
            "LIST" => {
                self.write("* LIST (\\HasNoChildren) \"/\" INBOX\r\n");
            }
            "EXAMINE" => {
                let folder = self.folder().clone();
                self.told = folder.mails.len();
                let mut text = format!(
                    "* {} EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n",
                    folder.mails.len()
                );
                if let Some(validity) = folder.validity {
                    text.push_str(&format!("* OK [UIDVALIDITY {validity}] x\r\n"));
                }
                text.push_str(&format!("* OK [UIDNEXT {}] x\r\n", folder.next()));
                self.write(text);
                self.write(format!("{} OK [READ-ONLY] done\r\n", said.tag));
                return Some(());
            }
            "UID SEARCH" => {
                let wanted = said.rest.to_ascii_uppercase();
                let only = wanted
                    .strip_prefix("UID ")
                    .map(|set| uids(set, &self.folder()));
                let found: Vec<String> = self
                    .folder()
                    .mails
                    .keys()
                    .filter(|uid| only.as_ref().is_none_or(|only| only.contains(uid)))
                    .map(ToString::to_string)
                    .collect();
                self.write(format!("* SEARCH {}\r\n", found.join(" ")));
            }
            "UID FETCH" => self.fetch(said),
            "IDLE" => return self.idle(said),
            "COMPRESS" => {
                self.write(format!("{} NO not here\r\n", said.tag));
                return Some(());
            }
            "LOGOUT" => {
                self.write("* BYE\r\n");
            }
            _ => {}
        }
        self.ok(said)
    }

    /// The rows of a FETCH.
    pub fn fetch(&mut self, said: &Said) {
        let folder = self.folder().clone();
        let (set, items) = said.rest.split_once(' ').unwrap_or((&said.rest, ""));
        let wanted = uids(set, &folder);
        for (index, (uid, raw)) in folder.mails.iter().enumerate() {
            if wanted.contains(uid) {
                let row = row(index + 1, *uid, raw, items);
                self.write(row);
            }
        }
    }

    fn idle(&mut self, said: &Said) -> Option<()> {
        self.write("+ idling\r\n");
        let tick = Duration::from_millis(100);
        self.socket.set_read_timeout(Some(tick)).ok()?;
        let mut byte = [0; 1];
        // The line end of DONE ends it; between two looks, news are told.
        let mut heard = Vec::new();
        let outcome = loop {
            let count = self.folder().mails.len();
            if count != self.told {
                self.told = count;
                self.write(format!("* {count} EXISTS\r\n"));
            }
            match self.lines.read(&mut byte) {
                Ok(0) => break None,
                Ok(_) => heard.push(byte[0]),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    if self.is_over() {
                        break None;
                    }
                }
                Err(_) => break None,
            }
            if heard.ends_with(b"\n") {
                break Some(());
            }
        };
        self.socket.set_read_timeout(None).ok()?;
        outcome?;
        self.ok(said)
    }
}

/// The UIDs of a set.
fn uids(set: &str, folder: &Folder) -> Vec<u32> {
    let last = folder.mails.keys().next_back().copied().unwrap_or(0);
    let number = |text: &str| {
        if text == "*" {
            last
        } else {
            text.parse().unwrap_or(0)
        }
    };
    let mut found = Vec::new();
    for part in set.split(',') {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let (from, to) = (number(from), number(to));
        let (from, to) = (from.min(to), from.max(to));
        found.extend(folder.mails.range(from..=to).map(|(uid, _raw)| *uid));
    }
    found
}

/// A row of an honest FETCH.
pub fn row(number: usize, uid: u32, raw: &[u8], items: &str) -> Vec<u8> {
    let mut row = format!("* {number} FETCH (UID {uid}");
    if items.contains("RFC822.SIZE") {
        row.push_str(&format!(" RFC822.SIZE {}", raw.len()));
    }
    if items.contains("FLAGS") {
        row.push_str(" FLAGS ()");
    }
    if items.contains("INTERNALDATE") {
        row.push_str(" INTERNALDATE \"24-Nov-2026 10:00:00 +0000\"");
    }
    let mut row = row.into_bytes();
    if let Some(at) = items.find("BODY.PEEK[]<") {
        let numbers = &items[at + 12..];
        let (offset, length) = numbers[..numbers.find('>').unwrap()]
            .split_once('.')
            .unwrap();
        let start = offset.parse::<usize>().unwrap().min(raw.len());
        let end = (start + length.parse::<usize>().unwrap()).min(raw.len());
        row.extend_from_slice(format!(" BODY[]<{start}> {{{}}}\r\n", end - start).as_bytes());
        row.extend_from_slice(&raw[start..end]);
    } else if items.contains("BODY.PEEK[]") {
        row.extend_from_slice(format!(" BODY[] {{{}}}\r\n", raw.len()).as_bytes());
        row.extend_from_slice(raw);
    }
    row.extend_from_slice(b")\r\n");
    row
}
