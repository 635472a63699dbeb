//! The stream of one session, shared by the `imap` crate and our own readers.
//!
//! Towards the crate it is a filter: at most one line per read, so that the crate never buffers past a tagged
//! line; only lines that answer the running command, rewritten into the plainest form; and no more bytes than
//! such an answer can sensibly have. A hostile server so reaches neither the crate's recursive parsers nor
//! its unbounded buffers.

use super::link::Link;
use super::response::{self, News, Scanner};
use crate::mail::error::{MailError, MailStep};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is read from the socket at once. One TLS record is 16 KB; more saves system calls in a backfill.
const READ_BYTES: usize = 64 * 1024;

/// The same while only news are awaited: thousands of mailboxes may wait at once.
const IDLE_BYTES: usize = 1024;

/// Longest line outside literals. A SEARCH over a million mails is 8 MB long.
const LINE_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Literals in the crate's answers are folder names.
const NAME_LITERAL_BYTES_MAX: u64 = 4 * 1024;

/// All lines of an answer to LOGIN, CAPABILITY, EXAMINE and the like, with news that may come in between.
const SHORT_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// All lines of a listing; 20,000 folders take 2 MB.
const LISTING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// All lines of a search; a million UIDs take 8 MB.
const SEARCH_BYTES_MAX: usize = 12 * 1024 * 1024;

/// What is kept of a refusal, to judge it by.
const REFUSAL_BYTES_MAX: usize = 512;

/// Which untagged lines the crate's running command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Login,
    Capability,
    Listing,
    Examine,
    Search,
    Nothing,
}

impl Answer {
    const fn bytes_max(self) -> usize {
        match self {
            Self::Login | Self::Capability | Self::Examine | Self::Nothing => {
                SHORT_ANSWER_BYTES_MAX
            }
            Self::Listing => LISTING_BYTES_MAX,
            Self::Search => SEARCH_BYTES_MAX,
        }
    }
}

/// How long whoever idles waits for the end of a line.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// How long a server is waited for until it has to have said something worth the while.
const SLOW_AFTER: Duration = Duration::from_secs(60);

/// A server that says less than this in the answer to a command, for every second that it was waited for, is stuck,
/// even if a byte comes now and then: a mailbox that is stuck says so within a minute (R8).
const SLOW_BYTES_PER_SECOND: u64 = 8;

/// How a server has answered the command under way. Only waiting counts, not what we do meanwhile.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    const fn is_stuck(&self) -> bool {
        self.waited.as_secs() >= SLOW_AFTER.as_secs()
            && self.bytes < self.waited.as_secs().saturating_mul(SLOW_BYTES_PER_SECOND)
    }
}

/// Buffered reading and writing, and the filter's state.
pub(super) struct Wire {
    link: Link,
    received: Vec<u8>,
    start: usize,
    end: usize,
    answer: Answer,
    answer_bytes: usize,
    handed: Vec<u8>,
    handed_at: usize,
    refusal: Vec<u8>,
    has_news: bool,
    pace: Pace,
    /// Nothing is awaited but news: silence is fine, and no line is waited for to its end.
    is_idle: bool,
    /// How many mails the open folder holds, as far as it was told.
    exists: Option<u32>,
}

impl Wire {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            received: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            answer: Answer::Nothing,
            answer_bytes: 0,
            handed: Vec::new(),
            handed_at: 0,
            refusal: Vec::new(),
            has_news: false,
            pace: Pace::default(),
            is_idle: false,
            exists: None,
        }
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }

    /// Whether bytes have come in that nobody asked for yet.
    pub(super) fn has_unread(&self) -> bool {
        self.start < self.end
    }

    pub(super) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.link.socket().set_read_timeout(Some(timeout))
    }

    pub(super) fn send(&mut self, command: &[u8]) -> io::Result<()> {
        self.pace = Pace::default();
        self.link.write_all(command)?;
        self.link.flush()
    }

    /// Everything is compressed from here on, both ways.
    pub(super) fn compress(&mut self) {
        let came = self.unread().to_vec();
        self.start = self.end;
        self.link.compress(came);
    }

    pub(super) fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        self.link.socket().set_nonblocking(is_nonblocking)
    }

    /// Whether only news are awaited: few bytes, for which little room is kept.
    pub(super) fn set_idle(&mut self, is_idle: bool) {
        self.is_idle = is_idle;
        self.pace = Pace::default();
        let wanted = if is_idle { IDLE_BYTES } else { READ_BYTES };
        let unread = self.unread();
        if unread.len() <= wanted {
            let mut received = vec![0; wanted];
            let length = unread.len();
            if let Some(place) = received.get_mut(..length) {
                place.copy_from_slice(unread);
            }
            self.received = received;
            self.start = 0;
            self.end = length;
        }
    }

    /// Reads from the connection, and sees that the server keeps pace.
    fn receive(link: &mut Link, pace: &mut Pace, into: &mut [u8]) -> io::Result<usize> {
        if pace.is_stuck() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let begun = Instant::now();
        let count = loop {
            match link.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        pace.waited = pace.waited.saturating_add(begun.elapsed());
        if let Ok(count) = &count {
            let count = u64::try_from(*count).unwrap_or(u64::MAX);
            pace.bytes = pace.bytes.saturating_add(count);
        }
        count
    }

    /// Begins to watch a folder that was just opened.
    pub(super) fn watch(&mut self, exists: u32) {
        self.exists = Some(exists);
        self.has_news = false;
    }

    /// Notes what an untagged line (after `* `) tells. The count that is known already is no news, or a server
    /// that keeps repeating it would never let us rest.
    pub(super) fn note(&mut self, rest: &[u8]) {
        match response::news(rest) {
            None => {}
            Some(News::Exists(count)) => {
                self.has_news |= self.exists != Some(count);
                self.exists = Some(count);
            }
            Some(News::Expunged) => {
                self.has_news = true;
                self.exists = self.exists.map(|count| count.saturating_sub(1));
            }
            Some(News::Other) => self.has_news = true,
        }
    }

    /// Notes that the folder holds more than was listed.
    pub(super) fn note_news(&mut self) {
        self.has_news = true;
    }

    pub(super) fn forget_news(&mut self) {
        self.has_news = false;
    }

    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    fn unread(&self) -> &[u8] {
        self.received.get(self.start..self.end).unwrap_or_default()
    }

    /// Waits for more bytes. Nothing is lost when it fails: it can be called again after a time-out.
    fn fill(&mut self) -> io::Result<()> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if self.end == self.received.len() {
            if self.start > 0 {
                self.received.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.received
                    .resize(self.received.len().saturating_mul(2), 0);
            }
        }
        let room = self.received.get_mut(self.end..).unwrap_or_default();
        if self.is_idle {
            self.pace = Pace::default();
        }
        let count = Self::receive(&mut self.link, &mut self.pace, room)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += count;
        Ok(())
    }

    /// Appends one line, with its line end, to `into`. A time-out loses nothing of the line.
    pub(super) fn read_line(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut searched = 0;
        let begun = Instant::now();
        loop {
            let unread = self.unread();
            let fresh = unread.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let taken = searched + at + 1;
                into.extend_from_slice(unread.get(..taken).unwrap_or_default());
                self.start += taken;
                self.shrink();
                return Ok(());
            }
            searched = unread.len();
            if searched > LINE_BYTES_MAX {
                return Err(malformed());
            }
            if self.is_idle && begun.elapsed() >= IDLE_TICK {
                // Whoever idles wants to look up now and then, also where a line comes byte by byte.
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.fill()?;
        }
    }

    /// A single long line must not leave a large buffer behind for the life of the session.
    fn shrink(&mut self) {
        if self.start == self.end && self.received.len() > READ_BYTES {
            self.received = vec![0; READ_BYTES];
            self.start = 0;
            self.end = 0;
        }
    }

    /// Appends `count` bytes to `into`; memory grows with what arrives, not with what was announced.
    pub(super) fn read_bytes(&mut self, count: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let unread = self.unread();
        let here = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(unread.len());
        into.extend_from_slice(unread.get(..here).unwrap_or_default());
        self.start += here;
        let mut rest = count.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
        let mut room = vec![0; READ_BYTES];
        while rest > 0 {
            let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(room.len());
            let part = room.get_mut(..wanted).unwrap_or_default();
            let count = Self::receive(&mut self.link, &mut self.pace, part)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            into.extend_from_slice(part.get(..count).unwrap_or_default());
            rest = rest.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    // ── towards the crate ──

    /// Tells the filter which command comes next.
    pub(super) fn expect(&mut self, answer: Answer) {
        self.pace = Pace::default();
        self.answer = answer;
        self.answer_bytes = 0;
        self.handed.clear();
        self.handed_at = 0;
        self.refusal.clear();
    }

    fn hand_line(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.handed_at >= self.handed.len() {
            let line = self.next_line()?;
            if let Some(plain) = self.filter(line)? {
                self.handed = plain;
                self.handed_at = 0;
            }
        }
        let rest = self.handed.get(self.handed_at..).unwrap_or_default();
        let line = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(rest.len(), |at| at + 1);
        let count = line.min(into.len());
        for (to, from) in into.iter_mut().zip(rest.iter().take(count)) {
            *to = *from;
        }
        self.handed_at += count;
        Ok(count)
    }

    /// One whole response: its lines and the literals in between.
    fn next_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let before = line.len();
            self.read_line(&mut line)?;
            self.answer_bytes = self.answer_bytes.saturating_add(line.len() - before);
            if self.answer_bytes > self.answer.bytes_max() {
                return Err(malformed());
            }
            let Some(count) = response::next_literal(&line) else {
                return Ok(line);
            };
            if count > NAME_LITERAL_BYTES_MAX {
                return Err(malformed());
            }
            self.read_bytes(count, &mut line)?;
        }
    }

    /// The plain form of a line that the crate shall see, or `None`.
    fn filter(&mut self, line: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        if let Some(rest) = line.strip_prefix(b"* ") {
            if response::is_bye(rest) {
                self.keep_refusal(rest);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if self.answer != Answer::Examine {
                self.note(rest);
            }
            return Ok(plain_untagged(self.answer, rest));
        }
        if line.starts_with(b"+") {
            return Ok((self.answer == Answer::Login).then(|| ascii(&line)));
        }
        let (tag, rest) = response::split_tagged(&line).ok_or_else(malformed)?;
        let tag = ascii(tag);
        let status: &[u8] = match response::status(rest) {
            Some(response::Status::Ok) => b" OK done\r\n",
            Some(response::Status::No) => b" NO refused\r\n",
            Some(response::Status::Bad) => b" BAD refused\r\n",
            None => return Err(malformed()),
        };
        self.keep_refusal(rest);
        Ok(Some([tag.as_slice(), status].concat()))
    }

    fn keep_refusal(&mut self, text: &[u8]) {
        self.refusal = text.iter().take(REFUSAL_BYTES_MAX).copied().collect();
    }

    /// What the last tagged line or BYE said, as an error of `step`. `None`: it asks for nothing special.
    pub(super) fn busy(&self, step: MailStep) -> Option<MailError> {
        response::busy(&self.refusal, step)
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The crate's parser takes ASCII only outside literals.
fn ascii(line: &[u8]) -> Vec<u8> {
    let plain = |&byte: &u8| if byte == 0 || byte > 0x7e { b'?' } else { byte };
    line.iter().map(plain).collect()
}

fn plain_untagged(answer: Answer, rest: &[u8]) -> Option<Vec<u8>> {
    match answer {
        Answer::Login | Answer::Nothing => None,
        Answer::Capability => plain_capability(rest),
        Answer::Listing => plain_listing(rest),
        Answer::Examine => plain_examine(rest),
        Answer::Search => plain_search(rest),
    }
}

/// Upper case, single spaces, and IMAP4rev1 always among them: the crate insists on it.
fn plain_capability(rest: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(rest).ok()?;
    let mut words = text.split_ascii_whitespace();
    if !words.next()?.eq_ignore_ascii_case("CAPABILITY") {
        return None;
    }
    let is_plain = |word: &&str| {
        let after = word.strip_prefix("AUTH=").unwrap_or(word);
        !after.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte))
    };
    let mut line = b"* CAPABILITY IMAP4rev1".to_vec();
    for word in words
        .map(str::to_ascii_uppercase)
        .filter(|word| is_plain(&word.as_str()))
    {
        line.push(b' ');
        line.extend_from_slice(word.as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    Some(line)
}

/// The name as a literal, so that quoting is undone here and once.
fn plain_listing(rest: &[u8]) -> Option<Vec<u8>> {
    let mut scanner = Scanner::over_raw(rest);
    if !scanner.atom()?.eq_ignore_ascii_case(b"LIST") {
        return None;
    }
    let attributes: Vec<Vec<u8>> = scanner
        .list()?
        .into_iter()
        .filter(|word| word.starts_with(b"\\") && word.is_ascii())
        .collect();
    let delimiter = scanner.string()?;
    let name = scanner.string()?;
    std::str::from_utf8(&name)
        .ok()
        .filter(|name| !name.is_empty() && !name.contains(['\r', '\n', '\0']))?;
    let delimiter: &[u8] = match delimiter.as_slice() {
        [b'"'] => b"\"\\\"\"",
        [b'\\'] => b"\"\\\\\"",
        [byte] if byte.is_ascii_graphic() => &[b'"', *byte, b'"'],
        _ => b"NIL",
    };
    let mut line = b"* LIST (".to_vec();
    line.extend_from_slice(&attributes.join(&b' '));
    line.extend_from_slice(b") ");
    line.extend_from_slice(delimiter);
    line.extend_from_slice(format!(" {{{}}}\r\n", name.len()).as_bytes());
    line.extend_from_slice(&name);
    line.extend_from_slice(b"\r\n");
    Some(line)
}

fn plain_examine(rest: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(rest).ok()?.trim_end();
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    let second = words.next()?;
    if second.eq_ignore_ascii_case("EXISTS") {
        let count: u32 = first.parse().ok()?;
        return Some(format!("* {count} EXISTS\r\n").into_bytes());
    }
    if !first.eq_ignore_ascii_case("OK") {
        return None;
    }
    let code = second.strip_prefix('[')?.to_ascii_uppercase();
    let value = words.next()?.split(']').next()?;
    let value = match code.as_str() {
        // What does not fit is as good as absent; the caller then treats the folder as one without UIDs to trust.
        "UIDVALIDITY" | "UIDNEXT" => u64::from(value.parse::<u32>().ok()?),
        "HIGHESTMODSEQ" => value.parse::<u64>().ok()?,
        _ => return None,
    };
    Some(format!("* OK [{code} {value}] ok\r\n").into_bytes())
}

fn plain_search(rest: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(rest).ok()?;
    let mut words = text.split_ascii_whitespace();
    if !words.next()?.eq_ignore_ascii_case("SEARCH") {
        return None;
    }
    let mut line = b"* SEARCH".to_vec();
    for number in words.map_while(|word| word.parse::<u32>().ok()) {
        line.extend_from_slice(format!(" {number}").as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    Some(line)
}

/// The wire as the crate and the session hold it. The lock is never contended: one thread drives a session.
#[derive(Clone)]
pub(super) struct WireHandle(Arc<Mutex<Wire>>);

impl WireHandle {
    pub(super) fn new(wire: Wire) -> Self {
        Self(Arc::new(Mutex::new(wire)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for WireHandle {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.lock().hand_line(into)
    }
}

impl Write for WireHandle {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.lock().link.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().link.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(answer: Answer, rest: &[u8]) -> Option<String> {
        plain_untagged(answer, rest).map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of lines")]
    fn the_crate_sees_only_the_plainest_form_of_what_it_asked_for() {
        let rows: [(&str, Answer, &[u8], Option<&str>); 17] = [
            (
                "capabilities in any case and spacing",
                Answer::Capability,
                b"CAPABILITY  imap4rev1 idle auth=plain \r\n",
                Some("* CAPABILITY IMAP4rev1 IMAP4REV1 IDLE AUTH=PLAIN\r\n"),
            ),
            (
                "an empty mechanism is left out",
                Answer::Capability,
                b"CAPABILITY AUTH= IDLE\r\n",
                Some("* CAPABILITY IMAP4rev1 IDLE\r\n"),
            ),
            (
                "a folder with a quoted name",
                Answer::Listing,
                b"LIST (\\Sent) \"/\" \"a \\\"b\\\"\"\r\n",
                Some("* LIST (\\Sent) \"/\" {5}\r\na \"b\"\r\n"),
            ),
            (
                "a folder with a literal name",
                Answer::Listing,
                b"LIST () \"/\" {3}\r\na b\r\n",
                Some("* LIST () \"/\" {3}\r\na b\r\n"),
            ),
            (
                "a folder without hierarchy",
                Answer::Listing,
                b"LIST (\\Noselect) NIL x\r\n",
                Some("* LIST (\\Noselect) NIL {1}\r\nx\r\n"),
            ),
            (
                "extended data at the end is dropped",
                Answer::Listing,
                b"LIST () \"/\" x (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n",
                Some("* LIST () \"/\" {1}\r\nx\r\n"),
            ),
            (
                "a name that is not UTF-8 can't be asked for",
                Answer::Listing,
                b"LIST () \"/\" \"\xfc\"\r\n",
                None,
            ),
            (
                "exists",
                Answer::Examine,
                b"5 EXISTS\r\n",
                Some("* 5 EXISTS\r\n"),
            ),
            (
                "UIDVALIDITY",
                Answer::Examine,
                b"OK [UIDVALIDITY 7] fine\r\n",
                Some("* OK [UIDVALIDITY 7] ok\r\n"),
            ),
            (
                "a UIDNEXT beyond 32 bits",
                Answer::Examine,
                b"OK [UIDNEXT 99999999999] fine\r\n",
                None,
            ),
            (
                "HIGHESTMODSEQ of 64 bits",
                Answer::Examine,
                b"OK [HIGHESTMODSEQ 18446744073709551615] x\r\n",
                Some("* OK [HIGHESTMODSEQ 18446744073709551615] ok\r\n"),
            ),
            (
                "an untagged NO, at which the crate would panic",
                Answer::Examine,
                b"NO [ALERT] quota\r\n",
                None,
            ),
            (
                "flags with bytes above ASCII",
                Answer::Examine,
                b"FLAGS (\xff)\r\n",
                None,
            ),
            (
                "a search with a space at its end",
                Answer::Search,
                b"SEARCH 1 2 \r\n",
                Some("* SEARCH 1 2\r\n"),
            ),
            (
                "a search with a modseq",
                Answer::Search,
                b"SEARCH 1 2 (MODSEQ 5)\r\n",
                Some("* SEARCH 1 2\r\n"),
            ),
            (
                "a FETCH nobody asked for",
                Answer::Search,
                b"1 FETCH (BODYSTRUCTURE ((((\r\n",
                None,
            ),
            (
                "an ESEARCH, which would put the crate out of step",
                Answer::Search,
                b"ESEARCH (TAG \"A\") UID ALL 1\r\n",
                None,
            ),
        ];
        for (what, answer, line, expected) in rows {
            assert_eq!(plain(answer, line).as_deref(), expected, "{what}");
        }
    }
}
