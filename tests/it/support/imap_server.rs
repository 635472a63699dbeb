//! A scripted IMAP server for one test: it keeps folders of mails, and misbehaves as it is told to, in the ways that real
//! servers do. It remembers every command.
//! Not for: how a well-behaved server works in detail (`dovecot` is one).

use mailroom::clock;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A mail in a folder.
#[derive(Debug, Clone)]
pub struct Mail {
    pub uid: u32,
    pub raw: Vec<u8>,
    pub is_seen: bool,
    pub modseq: u64,
    /// As INTERNALDATE says it, in seconds since 1970.
    pub at: i64,
    pub labels: &'static str,
}

/// A folder.
#[derive(Debug, Clone)]
pub struct Folder {
    pub name: &'static str,
    /// Its special use, with the backslash; empty: none.
    pub role: &'static str,
    pub uid_validity: Option<u32>,
    pub uid_next: u32,
    pub modseq: u64,
    pub mails: Vec<Mail>,
    pub expunged: Vec<(u32, u64)>,
}

impl Folder {
    pub fn new(name: &'static str, role: &'static str) -> Self {
        Self {
            name,
            role,
            uid_validity: Some(1),
            uid_next: 1,
            modseq: 1,
            mails: Vec::new(),
            expunged: Vec::new(),
        }
    }

    /// Puts a mail in; its UID.
    pub fn add(&mut self, raw: impl Into<Vec<u8>>, at: i64) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.modseq += 1;
        self.mails.push(Mail {
            uid,
            raw: raw.into(),
            is_seen: false,
            modseq: self.modseq,
            at,
            labels: "",
        });
        uid
    }

    pub fn expunge(&mut self, uid: u32) {
        self.mails.retain(|mail| mail.uid != uid);
        self.modseq += 1;
        self.expunged.push((uid, self.modseq));
    }

    pub fn set_seen(&mut self, uid: u32, is_seen: bool) {
        self.modseq += 1;
        let modseq = self.modseq;
        let mail = self.mails.iter_mut().find(|mail| mail.uid == uid).unwrap();
        (mail.is_seen, mail.modseq) = (is_seen, modseq);
    }

    /// The same mails with other UIDs, as after a repair or a migration.
    pub fn renumber(&mut self, uid_validity: Option<u32>, first_uid: u32) {
        self.uid_validity = uid_validity;
        self.uid_next = first_uid;
        self.expunged.clear();
        for mail in &mut self.mails {
            mail.uid = self.uid_next;
            self.uid_next += 1;
        }
    }
}

/// How it misbehaves.
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    /// Answers NO to a FETCH of bodies that names one of these.
    pub refuses: HashSet<u32>,
    /// Leaves these out of every FETCH of bodies.
    pub omits: HashSet<u32>,
    /// Breaks the protocol when the body of one of these is asked for.
    pub breaks_at: HashSet<u32>,
    /// Hangs up when the body of one of these is asked for.
    pub cuts_at: HashSet<u32>,
    /// Leaves these out of every search.
    pub search_misses: HashSet<u32>,
    /// Says that these are gone, though they are there.
    pub lies_vanished: HashSet<u32>,
    /// Says no UIDNEXT.
    pub has_no_uid_next: bool,
    /// Each opening of a folder tells another UIDVALIDITY.
    pub changes_validity: bool,
    /// Sends rows without UIDs in between.
    pub sends_rows_without_uid: bool,
    /// Never answers this command.
    pub hangs_at: Option<&'static str>,
    /// Waits before each FETCH of bodies.
    pub fetch_takes: Duration,
    /// This mail comes to the Inbox while this folder is opened, once.
    pub brings: Option<(&'static str, String)>,
}

/// Everything about it.
#[derive(Debug, Default)]
pub struct State {
    pub capabilities: String,
    pub folders: Vec<Folder>,
    pub quirks: Quirks,
    /// Every command, without its tag.
    pub told: Vec<String>,
}

impl State {
    pub fn folder(&mut self, name: &str) -> &mut Folder {
        self.folders
            .iter_mut()
            .find(|folder| folder.name == name)
            .unwrap()
    }
}

/// The running server; it ends with the test.
#[derive(Clone)]
pub struct ImapServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl ImapServer {
    /// Starts one with an Inbox, Sent, Junk and Trash. `capabilities` are those beyond IMAP4rev1.
    pub fn start(capabilities: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            capabilities: format!("IMAP4rev1 {capabilities}"),
            folders: vec![
                Folder::new("INBOX", ""),
                Folder::new("Sent", "\\Sent"),
                Folder::new("Junk", "\\Junk"),
                Folder::new("Trash", "\\Trash"),
            ],
            ..State::default()
        }));
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&served);
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

    /// How many commands it was told that begin so.
    pub fn count_told(&self, begins: &str) -> usize {
        let state = self.state();
        state
            .told
            .iter()
            .filter(|command| command.starts_with(begins))
            .count()
    }
}

struct Client {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
    state: Arc<Mutex<State>>,
    open: Option<String>,
    has_resync: bool,
}

impl Client {
    fn new(socket: TcpStream, state: Arc<Mutex<State>>) -> Self {
        Self {
            reader: BufReader::new(socket.try_clone().unwrap()),
            socket,
            state,
            open: None,
            has_resync: false,
        }
    }

    fn serve(mut self) {
        if self.socket.write_all(b"* OK ready\r\n").is_err() {
            return;
        }
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let (tag, command) = line
                .trim_end()
                .split_once(' ')
                .unwrap_or((line.trim_end(), ""));
            let (tag, command) = (tag.to_owned(), command.to_owned());
            self.state.lock().unwrap().told.push(command.clone());
            let hangs_at = self.state.lock().unwrap().quirks.hangs_at;
            if hangs_at.is_some_and(|at| command.starts_with(at)) {
                // Until the client gives up.
                let mut rest = String::new();
                let _ = self.reader.read_line(&mut rest);
                return;
            }
            if command == "IDLE" {
                if self.idle(&tag).is_none() {
                    return;
                }
                continue;
            }
            if command.starts_with("APPEND") {
                if self.append(&tag, &command).is_none() {
                    return;
                }
                continue;
            }
            let Some(answer) = self.answer(&tag, &command) else {
                let _ = self
                    .socket
                    .write_all(b"* 1 FETCH (((\x00{broken\r\n)) \r\n?\r\n");
                return;
            };
            let hangs_up = answer.is_empty();
            if hangs_up || self.socket.write_all(&answer).is_err() || command == "LOGOUT" {
                return;
            }
        }
    }

    fn append(&mut self, tag: &str, command: &str) -> Option<()> {
        let name = command.split('"').nth(1)?.to_owned();
        let length = command.rsplit_once('{')?.1.trim_end_matches('}');
        self.socket.write_all(b"+ go on\r\n").ok()?;
        let mut raw = vec![0; length.parse::<usize>().ok()?];
        self.reader.read_exact(&mut raw).ok()?;
        let mut end = String::new();
        self.reader.read_line(&mut end).ok()?;
        let at = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .ok()?;
        let at = i64::try_from(at.as_secs()).ok()?;
        self.state.lock().unwrap().folder(&name).add(raw, at);
        let done = format!("{tag} OK appended\r\n");
        self.socket.write_all(done.as_bytes()).ok()
    }

    fn exists(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        let open = self.open.clone().unwrap_or_default();
        state.folder(&open).mails.len()
    }

    fn idle(&mut self, tag: &str) -> Option<()> {
        self.socket.write_all(b"+ idling\r\n").ok()?;
        let mut before = self.exists();
        let timeout = Some(Duration::from_millis(20));
        self.socket.set_read_timeout(timeout).ok()?;
        let mut line = String::new();
        loop {
            match self.reader.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => break,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    let now = self.exists();
                    if now != before {
                        before = now;
                        let told = format!("* {now} EXISTS\r\n");
                        self.socket.write_all(told.as_bytes()).ok()?;
                    }
                }
                Err(_) => return None,
            }
        }
        self.socket.set_read_timeout(None).ok()?;
        let done = format!("{tag} OK done\r\n");
        self.socket.write_all(done.as_bytes()).ok()
    }

    /// `None`: the protocol is broken here.
    fn answer(&mut self, tag: &str, command: &str) -> Option<Vec<u8>> {
        let state = Arc::clone(&self.state);
        let mut state = state.lock().unwrap();
        let ok = |text: String| Some(format!("{text}{tag} OK done\r\n").into_bytes());
        let word = command.split(' ').next().unwrap_or_default();
        match word {
            "CAPABILITY" => ok(format!("* CAPABILITY {}\r\n", state.capabilities)),
            "LOGIN" | "NOOP" | "LOGOUT" => ok(String::new()),
            "ENABLE" => {
                self.has_resync = command.contains("QRESYNC");
                ok("* ENABLED\r\n".to_owned())
            }
            "LIST" => ok(list(&state, command)),
            "EXAMINE" => {
                let name = command.trim_start_matches("EXAMINE ").trim_matches('"');
                self.open = Some(name.to_owned());
                let brings = state.quirks.brings.take_if(|(at, _mail)| *at == name);
                if let Some((_at, mail)) = brings {
                    state.folder("INBOX").add(mail, clock::now().seconds());
                }
                ok(examine(&mut state, name))
            }
            "UID" => {
                let open = self.open.clone()?;
                if command.starts_with("UID SEARCH") {
                    ok(search(&mut state, &open, command))
                } else {
                    let takes = state.quirks.fetch_takes;
                    let answer = fetch(&mut state, &open, (tag, command), self.has_resync);
                    drop(state);
                    if command.contains("BODY.PEEK[]") {
                        std::thread::sleep(takes);
                    }
                    answer
                }
            }
            _ => Some(format!("{tag} BAD what?\r\n").into_bytes()),
        }
    }
}

fn list(state: &State, command: &str) -> String {
    let mut text = String::new();
    for folder in &state.folders {
        let _ = write!(
            text,
            "* LIST ({}) \"/\" \"{}\"\r\n",
            folder.role, folder.name
        );
        if command.contains("STATUS (") {
            let _ = write!(
                text,
                "* STATUS \"{}\" (MESSAGES {} UIDNEXT {} UIDVALIDITY {} HIGHESTMODSEQ {})\r\n",
                folder.name,
                folder.mails.len(),
                folder.uid_next,
                folder.uid_validity.unwrap_or(0),
                folder.modseq
            );
        }
    }
    text
}

fn examine(state: &mut State, name: &str) -> String {
    let quirks = state.quirks.clone();
    let has_modseq =
        state.capabilities.contains("CONDSTORE") || state.capabilities.contains("QRESYNC");
    let folder = state.folder(name);
    if quirks.changes_validity {
        folder.uid_validity = folder.uid_validity.map(|validity| validity + 1);
    }
    let mut text = format!(
        "* FLAGS (\\Seen)\r\n* {} EXISTS\r\n* 0 RECENT\r\n",
        folder.mails.len()
    );
    if let Some(validity) = folder.uid_validity {
        let _ = write!(text, "* OK [UIDVALIDITY {validity}] fine\r\n");
    }
    if !quirks.has_no_uid_next {
        let _ = write!(text, "* OK [UIDNEXT {}] fine\r\n", folder.uid_next);
    }
    if has_modseq {
        let _ = write!(text, "* OK [HIGHESTMODSEQ {}] fine\r\n", folder.modseq);
    }
    text
}

/// Whether a set like `1:3,7` or `5:*` names the UID.
fn names(set: &str, uid: u32, last: u32) -> bool {
    set.split(',').any(|part| {
        let (first, end) = part.split_once(':').unwrap_or((part, part));
        let number = |text: &str| text.parse().unwrap_or(last);
        let (first, end): (u32, u32) = (number(first), number(end));
        (first.min(end)..=first.max(end)).contains(&uid)
    })
}

fn search(state: &mut State, open: &str, command: &str) -> String {
    let misses = state.quirks.search_misses.clone();
    let query = command.trim_start_matches("UID SEARCH ");
    let folder = state.folder(open);
    let last = folder.mails.last().map_or(0, |mail| mail.uid);
    let found = folder.mails.iter().filter(|mail| match query {
        "ALL" => true,
        "SEEN" => mail.is_seen,
        other if other.starts_with("HEADER MESSAGE-ID ") => {
            let id = other.split('"').nth(1).unwrap_or_default();
            String::from_utf8_lossy(&mail.raw).contains(id)
        }
        other => names(other.trim_start_matches("UID "), mail.uid, last),
    });
    let mut text = "* SEARCH".to_owned();
    for mail in found.filter(|mail| !misses.contains(&mail.uid)) {
        let _ = write!(text, " {}", mail.uid);
    }
    text + "\r\n"
}

/// `None`: the protocol is broken here.
fn fetch(
    state: &mut State,
    open: &str,
    (tag, command): (&str, &str),
    has_resync: bool,
) -> Option<Vec<u8>> {
    let quirks = state.quirks.clone();
    let rest = command.trim_start_matches("UID FETCH ");
    let (set, items) = rest.split_once(' ').unwrap_or((rest, ""));
    let folder = state.folder(open);
    let last = folder.mails.last().map_or(0, |mail| mail.uid);
    let since: Option<u64> = items
        .split_once("CHANGEDSINCE ")
        .and_then(|(_, rest)| rest.split([' ', ')']).next()?.parse().ok());
    let is_whole = items.contains("BODY.PEEK[]");
    let asked = |uid: u32| names(set, uid, last);
    let mut answer = Vec::new();
    if since.is_some() && items.contains("VANISHED") && has_resync {
        let since = since.unwrap_or(0);
        let gone = folder
            .expunged
            .iter()
            // As the standard has it, and Cyrus: `*` is the last mail that is there.
            .filter(|(uid, modseq)| *modseq > since && asked(*uid))
            .map(|(uid, _modseq)| *uid);
        let gone: Vec<String> = gone
            .chain(quirks.lies_vanished.iter().copied())
            .map(|uid| uid.to_string())
            .collect();
        if !gone.is_empty() {
            answer.extend(format!("* VANISHED (EARLIER) {}\r\n", gone.join(",")).into_bytes());
        }
    }
    if is_whole
        && folder
            .mails
            .iter()
            .any(|mail| asked(mail.uid) && quirks.refuses.contains(&mail.uid))
    {
        return Some(format!("{tag} NO not that one\r\n").into_bytes());
    }
    for (index, mail) in folder.mails.iter().enumerate() {
        if !asked(mail.uid) || since.is_some_and(|since| mail.modseq <= since) {
            continue;
        }
        if is_whole && quirks.breaks_at.contains(&mail.uid) {
            return None;
        }
        if is_whole && quirks.cuts_at.contains(&mail.uid) {
            return Some(Vec::new());
        }
        if is_whole && quirks.omits.contains(&mail.uid) {
            continue;
        }
        if quirks.sends_rows_without_uid {
            answer.extend(format!("* {} FETCH (FLAGS ())\r\n", index + 1).into_bytes());
        }
        answer.extend(row(index + 1, mail, items));
    }
    answer.extend(format!("{tag} OK done\r\n").into_bytes());
    Some(answer)
}

fn row(number: usize, mail: &Mail, items: &str) -> Vec<u8> {
    let flags = if mail.is_seen { "\\Seen" } else { "" };
    let date = chrono::DateTime::from_timestamp(mail.at, 0).unwrap();
    let mut head = format!("* {number} FETCH (UID {} FLAGS ({flags})", mail.uid);
    if items.contains("CHANGEDSINCE") {
        let _ = write!(head, " MODSEQ ({})", mail.modseq);
    }
    if items.contains("RFC822.SIZE") {
        let _ = write!(head, " RFC822.SIZE {}", mail.raw.len());
    }
    if items.contains("INTERNALDATE") {
        let _ = write!(
            head,
            " INTERNALDATE \"{}\"",
            date.format("%d-%b-%Y %H:%M:%S +0000")
        );
    }
    if items.contains("X-GM-LABELS") {
        let _ = write!(head, " X-GM-LABELS ({})", mail.labels);
    }
    let mut text = head.into_bytes();
    let literal = |name: &str, bytes: &[u8]| {
        let mut literal = format!(" {name} {{{}}}\r\n", bytes.len()).into_bytes();
        literal.extend_from_slice(bytes);
        literal
    };
    if let Some((_, slice)) = items.split_once("BODY.PEEK[]<") {
        let (offset, length) = slice.split('>').next().unwrap().split_once('.').unwrap();
        let offset: usize = offset.parse::<usize>().unwrap().min(mail.raw.len());
        let end = (offset + length.parse::<usize>().unwrap()).min(mail.raw.len());
        text.extend(literal(
            &format!("BODY[]<{offset}>"),
            &mail.raw[offset..end],
        ));
    } else if items.contains("BODY.PEEK[]") {
        text.extend(literal("BODY[]", &mail.raw));
    } else if items.contains("BODY.PEEK[HEADER.FIELDS") {
        let raw = String::from_utf8_lossy(&mail.raw);
        let wanted = ["message-id:", "from:", "date:", "subject:"];
        let lines: String = raw
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .split("\r\n")
            .filter(|line| {
                wanted
                    .iter()
                    .any(|name| line.to_lowercase().starts_with(name))
            })
            .fold(String::new(), |lines, line| lines + line + "\r\n");
        let header = format!("{lines}\r\n");
        text.extend(literal(
            "BODY[HEADER.FIELDS (MESSAGE-ID FROM DATE SUBJECT)]",
            header.as_bytes(),
        ));
    }
    text.extend_from_slice(b")\r\n");
    text
}
