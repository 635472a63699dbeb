//! Reading single responses: pure functions over bytes that a server sent, which may be anything.
//! Not for: input and output, or state.

use crate::mail::error::{MailError, MailStep};
use crate::model::Time;
use crate::model::mailbox::FolderRole;
use bytes::Bytes;
use std::collections::VecDeque;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    No,
    Bad,
}

/// The size in `{n}`, `{n+}` or `~{n}` at the end of a line, if a literal follows.
fn announced_literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_suffix(b"}")?;
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let open = line.iter().rposition(|&byte| byte == b'{')?;
    let digits = line.get(open + 1..)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // What does not fit 64 bits is above any limit.
    Some(
        std::str::from_utf8(digits)
            .ok()?
            .parse()
            .unwrap_or(u64::MAX),
    )
}

/// The size of the literal that follows what has come of a response. The free text of status lines, tagged
/// lines and continuations may end in braces without meaning one.
pub(super) fn next_literal(response: &[u8]) -> Option<u64> {
    let rest = response.strip_prefix(b"* ")?;
    let is_status = [b"OK".as_slice(), b"NO", b"BAD", b"BYE", b"PREAUTH"]
        .iter()
        .any(|word| first_word(rest).eq_ignore_ascii_case(word));
    if is_status {
        None
    } else {
        announced_literal(rest)
    }
}

/// Tag and rest of a tagged line.
pub(super) fn split_tagged(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|&byte| byte == b' ')?;
    let (tag, rest) = line.split_at_checked(space)?;
    let is_tag = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
    is_tag.then(|| (tag, rest.get(1..).unwrap_or_default()))
}

/// The status that follows the tag.
pub(super) fn status(rest: &[u8]) -> Option<Status> {
    let word = first_word(rest);
    if word.eq_ignore_ascii_case(b"OK") {
        Some(Status::Ok)
    } else if word.eq_ignore_ascii_case(b"NO") {
        Some(Status::No)
    } else if word.eq_ignore_ascii_case(b"BAD") {
        Some(Status::Bad)
    } else {
        None
    }
}

fn first_word(text: &[u8]) -> &[u8] {
    text.split(|byte| byte.is_ascii_whitespace())
        .next()
        .unwrap_or_default()
}

/// Whether an untagged line (after `* `) says that the server hangs up.
pub(super) fn is_bye(rest: &[u8]) -> bool {
    first_word(rest).eq_ignore_ascii_case(b"BYE")
}

/// What an untagged line tells of changes in the open folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// So many mails are in it; some servers say so again and again.
    Exists(u32),
    Expunged,
    /// Flags, or expunges of which the count is not told.
    Other,
}

/// Reads an untagged line (after `* `) for news.
pub(super) fn news(rest: &[u8]) -> Option<News> {
    let mut words = rest
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let first = words.next()?;
    if first.eq_ignore_ascii_case(b"VANISHED") {
        return Some(News::Other);
    }
    let count = number(first)?;
    match words.next()?.to_ascii_uppercase().as_slice() {
        b"EXISTS" => Some(News::Exists(count)),
        b"EXPUNGE" => Some(News::Expunged),
        b"FETCH" => Some(News::Other),
        _ => None,
    }
}

/// Whether an untagged line (after `* `) is a FETCH.
pub(super) fn is_fetch(rest: &[u8]) -> bool {
    let mut words = rest.split(|&byte| byte == b' ');
    let number = words.next().unwrap_or_default();
    let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    is_number
        && words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH"))
}

/// Reads a refusal for signs that the server is only busy. Its words go no further than this.
pub(super) fn busy(text: &[u8], step: MailStep) -> Option<MailError> {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let backoff_seconds = backoff_seconds(&text);
    let code = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split([']', ' ']).next())
        .unwrap_or_default();
    if [
        "authenticationfailed",
        "authorizationfailed",
        "expired",
        "privacyrequired",
        "contactadmin",
    ]
    .contains(&code)
    {
        return None;
    }
    let is_busy_code = [
        "unavailable",
        "inuse",
        "limit",
        "throttled",
        "serverbug",
        "overquota",
    ]
    .contains(&code);
    let signs = [
        "too many",
        "try again",
        "try later",
        "temporar",
        "unavailable",
        "throttl",
        "maximum number of connections",
        "server busy",
        "rate limit",
        "overload",
        "backoff",
    ];
    let is_busy =
        backoff_seconds.is_some() || is_busy_code || signs.iter().any(|sign| text.contains(sign));
    is_busy.then_some(MailError::Busy {
        step,
        backoff_seconds,
    })
}

/// "Suggested Backoff Time: 300000 milliseconds", in lower case.
fn backoff_seconds(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("suggested backoff time:")?;
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let milliseconds: u64 = digits.parse().ok()?;
    // A day is the longest a server may keep us away.
    Some(milliseconds.div_ceil(1000).min(86_400))
}

/// What a FETCH response says of a mail's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// The response is about something else.
    Absent,
    /// The server has no body for it.
    Nil,
    Here(Bytes),
}

/// The folder that one of Gmail's labels stands for, where it says what a mail is.
fn role_of_label(word: &[u8]) -> Option<FolderRole> {
    match word.to_ascii_lowercase().as_slice() {
        b"\\inbox" => Some(FolderRole::Inbox),
        b"\\sent" => Some(FolderRole::Sent),
        b"\\draft" | b"\\drafts" => Some(FolderRole::Drafts),
        _ => None,
    }
}

/// One FETCH response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FetchRow {
    pub(super) uid: Option<u32>,
    pub(super) size_bytes: Option<u64>,
    pub(super) is_seen: Option<bool>,
    pub(super) internal_date: Option<Time>,
    /// What Gmail's labels say.
    pub(super) labels: Vec<FolderRole>,
    /// The header lines that were asked for.
    pub(super) header: Option<Bytes>,
    pub(super) body: Body,
}

/// Reads `n FETCH (…)`. Literals were cut out of `text`, their `{n}` left in place. Attributes come in any
/// order, unknown ones are skipped. `None`: not a FETCH, or not to be understood.
pub(super) fn fetch_row(text: &[u8], literals: Vec<Bytes>) -> Option<FetchRow> {
    let mut scanner = Scanner::over_cut(text, literals);
    scanner.atom()?;
    if !scanner.atom()?.eq_ignore_ascii_case(b"FETCH") {
        return None;
    }
    scanner.open()?;
    let mut row = FetchRow {
        uid: None,
        size_bytes: None,
        is_seen: None,
        internal_date: None,
        labels: Vec::new(),
        header: None,
        body: Body::Absent,
    };
    while !scanner.close() {
        let name = scanner.atom()?.to_ascii_uppercase();
        match name.as_slice() {
            b"UID" => row.uid = number(scanner.atom()?),
            b"RFC822.SIZE" => row.size_bytes = number(scanner.atom()?),
            b"FLAGS" => {
                let flags = scanner.list()?;
                row.is_seen = Some(
                    flags
                        .iter()
                        .any(|flag| flag.eq_ignore_ascii_case(b"\\Seen")),
                );
            }
            b"INTERNALDATE" => row.internal_date = internal_date(&scanner.string()?),
            b"BODY[]" | b"RFC822" => row.body = scanner.body()?,
            header if header.starts_with(b"BODY[HEADER") => {
                if let Body::Here(lines) = scanner.body()? {
                    row.header = Some(lines);
                }
            }
            b"X-GM-LABELS" => {
                let labels = scanner.list()?;
                row.labels = labels
                    .iter()
                    .filter_map(|word| role_of_label(word))
                    .collect();
            }
            partial if partial.starts_with(b"BODY[]<") => row.body = scanner.body()?,
            _ => scanner.skip()?,
        }
    }
    Some(row)
}

/// The UID in the part of a FETCH response that precedes a literal, if it is there already.
pub(super) fn uid_so_far(text: &[u8]) -> Option<u32> {
    let mut words = text.split(|byte| b" ()".contains(byte));
    words.find(|word| word.eq_ignore_ascii_case(b"UID"))?;
    number(words.next()?)
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// `17-Jul-1996 02:44:25 -0700`, the day perhaps padded with a space.
fn internal_date(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let moment = chrono::DateTime::parse_from_str(text, "%d-%b-%Y %H:%M:%S %z").ok()?;
    Some(Time::from_seconds(moment.timestamp()))
}

/// Reads the words, strings and lists of a response, one after another.
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
    /// `Some`: literals were cut out beforehand. `None`: they stand in the text.
    cut: Option<VecDeque<Bytes>>,
}

impl<'a> Scanner<'a> {
    /// Over text whose literals stand in it.
    pub(super) fn over_raw(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            cut: None,
        }
    }

    /// Over text whose literals were cut out.
    pub(super) fn over_cut(text: &'a [u8], literals: Vec<Bytes>) -> Self {
        Self {
            rest: text,
            cut: Some(literals.into()),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn advance(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn open(&mut self) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(b"(")?;
        Some(())
    }

    pub(super) fn close(&mut self) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(b")") {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A word up to a space or bracket; what stands in square brackets belongs to it.
    pub(super) fn atom(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let mut is_section = false;
        let end = self.rest.iter().position(|&byte| {
            match byte {
                b'[' => is_section = true,
                b']' => is_section = false,
                _ => {}
            }
            byte == b'\r' || byte == b'\n' || (!is_section && b" ()\"".contains(&byte))
        });
        let end = end.unwrap_or(self.rest.len());
        if end == 0 { None } else { self.advance(end) }
    }

    /// A quoted string, a literal or a word, its quoting undone. NIL is the empty string.
    pub(super) fn string(&mut self) -> Option<Vec<u8>> {
        self.skip_space();
        match self.rest.first()? {
            b'"' => self.quoted(),
            b'{' | b'~' => self.literal().map(|bytes| bytes.to_vec()),
            _ => {
                let word = self.atom()?;
                Some(if word.eq_ignore_ascii_case(b"NIL") {
                    Vec::new()
                } else {
                    word.to_vec()
                })
            }
        }
    }

    fn body(&mut self) -> Option<Body> {
        self.skip_space();
        match self.rest.first()? {
            b'"' => self.quoted().map(|text| Body::Here(text.into())),
            b'{' | b'~' => self.literal().map(Body::Here),
            _ => self
                .atom()?
                .eq_ignore_ascii_case(b"NIL")
                .then_some(Body::Nil),
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.rest = self.rest.strip_prefix(b"\"")?;
        let mut text = Vec::new();
        let mut is_escaped = false;
        for (at, &byte) in self.rest.iter().enumerate() {
            match byte {
                _ if is_escaped => {
                    text.push(byte);
                    is_escaped = false;
                }
                b'\\' => is_escaped = true,
                b'"' => {
                    self.advance(at + 1)?;
                    return Some(text);
                }
                _ => text.push(byte),
            }
        }
        None
    }

    fn literal(&mut self) -> Option<Bytes> {
        let rest = self.rest.strip_prefix(b"~").unwrap_or(self.rest);
        let digits_end = rest.iter().position(|&byte| byte == b'}')?;
        let announced = rest.get(..digits_end)?.strip_prefix(b"{")?;
        let announced = announced.strip_suffix(b"+").unwrap_or(announced);
        let count: usize = number(announced)?;
        self.rest = rest.get(digits_end + 1..)?;
        if let Some(cut) = &mut self.cut {
            return cut.pop_front();
        }
        self.rest = self
            .rest
            .strip_prefix(b"\r")
            .unwrap_or(self.rest)
            .strip_prefix(b"\n")?;
        self.advance(count).map(Bytes::copy_from_slice)
    }

    /// The words and strings of a list; lists in it are flattened.
    pub(super) fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        self.open()?;
        let mut depth = 1_u32;
        let mut words = Vec::new();
        while depth > 0 {
            if self.close() {
                depth -= 1;
            } else if self.open().is_some() {
                depth = depth.checked_add(1)?;
            } else {
                words.push(self.string()?);
            }
        }
        Some(words)
    }

    /// Passes over one value of any kind.
    pub(super) fn skip(&mut self) -> Option<()> {
        self.skip_space();
        if self.rest.starts_with(b"(") {
            self.list().map(drop)
        } else {
            self.string().map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(uid: Option<u32>, body: Body) -> FetchRow {
        FetchRow {
            uid,
            size_bytes: None,
            is_seen: None,
            internal_date: None,
            labels: Vec::new(),
            header: None,
            body,
        }
    }

    fn here(text: &str) -> Body {
        Body::Here(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn fetch_rows_are_read_in_whatever_order_and_form_servers_send_them() {
        let lit = |text: &str| vec![Bytes::copy_from_slice(text.as_bytes())];
        let time = Time::from_seconds(837_596_665);
        type Row = (&'static str, &'static [u8], Vec<Bytes>, Option<FetchRow>);
        let rows: [Row; 16] = [
            ("UID and a literal body", b"1 FETCH (UID 7 BODY[] {5})", lit("hello"), Some(row(Some(7), here("hello")))),
            ("the body before the UID", b"1 FETCH (BODY[] {5} UID 7)", lit("hello"), Some(row(Some(7), here("hello")))),
            ("a quoted body", b"1 FETCH (UID 7 BODY[] \"a\\\"b\")", vec![], Some(row(Some(7), here("a\"b")))),
            ("no body", b"1 FETCH (UID 7 BODY[] NIL)", vec![], Some(row(Some(7), Body::Nil))),
            ("a slice of a body", b"1 FETCH (UID 7 BODY[]<1024> {2})", lit("ab"), Some(row(Some(7), here("ab")))),
            ("a literal8", b"1 FETCH (UID 7 BODY[] ~{2})", lit("ab"), Some(row(Some(7), here("ab")))),
            ("flags without UID", b"3 FETCH (FLAGS (\\Seen $x))", vec![],
             Some(FetchRow { is_seen: Some(true), ..row(None, Body::Absent) })),
            ("everything", b"1 FETCH (FLAGS (\\Recent) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 44 UID 9)", vec![],
             Some(FetchRow { size_bytes: Some(44), is_seen: Some(false), internal_date: Some(time), ..row(Some(9), Body::Absent) })),
            ("a day padded with a space", b"1 FETCH (INTERNALDATE \" 7-Jul-1996 02:44:25 +0000\")", vec![],
             Some(FetchRow { internal_date: Some(Time::from_seconds(836_707_465)), ..row(None, Body::Absent) })),
            ("unknown attributes of any shape", b"1 FETCH (X-FOO 12 EMAILID (abc (d)) UID 4 X-OTHER (\"\\\\Inbox\" {3}) MODSEQ (5))",
             lit("a b"), Some(row(Some(4), Body::Absent))),
            ("Gmail's labels, of which one says what a mail is", b"1 FETCH (UID 4 X-GM-LABELS (\"\\\\Inbox\" {3}) MODSEQ (5))",
             lit("a b"), Some(FetchRow { labels: vec![FolderRole::Inbox], ..row(Some(4), Body::Absent) })),
            ("a section with spaces", b"1 FETCH (UID 2 BODY[HEADER.FIELDS (DATE FROM)] {1})", lit("x"),
             Some(FetchRow { header: Some(Bytes::from_static(b"x")), ..row(Some(2), Body::Absent) })),
            ("a UID beyond 32 bits", b"1 FETCH (UID 99999999999)", vec![], Some(row(None, Body::Absent))),
            ("a date that is none", b"1 FETCH (UID 1 INTERNALDATE \"soon\")", vec![], Some(row(Some(1), Body::Absent))),
            ("cut short", b"1 FETCH (UID 7 BODY[] ", vec![], None),
            ("no list", b"1 FETCH UID", vec![], None),
        ];
        for (what, text, literals, expected) in rows {
            assert_eq!(fetch_row(text, literals), expected, "{what}");
        }
    }

    #[test]
    fn deep_lists_cost_no_stack() {
        let mut text = b"1 FETCH (UID 1 BODYSTRUCTURE ".to_vec();
        text.extend(std::iter::repeat_n(b'(', 1_000_000));
        assert_eq!(fetch_row(&text, vec![]), None);
        text.extend(std::iter::repeat_n(b')', 1_000_001));
        assert_eq!(fetch_row(&text, vec![]).unwrap().uid, Some(1));
    }

    #[test]
    fn literals_are_recognised_at_the_end_of_a_line_only() {
        let rows: [(&[u8], Option<u64>); 7] = [
            (b"* 1 FETCH (BODY[] {12}\r\n", Some(12)),
            (b"BODY[] ~{12+}\n", Some(12)),
            (b"BODY[] {4294967295}\r\n", Some(4_294_967_295)),
            (b"BODY[] {99999999999999999999999}\r\n", Some(u64::MAX)),
            (b"text {12} more\r\n", None),
            (b"{}\r\n", None),
            (b"{x}\r\n", None),
        ];
        for (line, expected) in rows {
            assert_eq!(
                announced_literal(line),
                expected,
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn a_busy_server_is_told_from_a_refused_login() {
        let rows: [(&str, &str, Option<Option<u64>>); 8] = [
            (
                "throttled with a time",
                "NO [THROTTLED] Too many. Suggested Backoff Time: 300000 milliseconds",
                Some(Some(300)),
            ),
            (
                "too many connections",
                "NO [ALERT] Too many simultaneous connections. (Failure)",
                Some(None),
            ),
            ("unavailable", "NO [UNAVAILABLE] Internal error", Some(None)),
            ("in use", "NO [INUSE] locked", Some(None)),
            (
                "wrong password",
                "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
                None,
            ),
            (
                "wrong password, and words of another kind",
                "NO [AUTHENTICATIONFAILED] too many failures",
                None,
            ),
            ("no code", "NO LOGIN failed.", None),
            (
                "a time beyond reason",
                "BYE suggested backoff time: 999999999999 ms",
                Some(Some(86_400)),
            ),
        ];
        for (what, text, expected) in rows {
            let expected = expected.map(|backoff_seconds| MailError::Busy {
                step: MailStep::Login,
                backoff_seconds,
            });
            assert_eq!(busy(text.as_bytes(), MailStep::Login), expected, "{what}");
        }
    }
}
