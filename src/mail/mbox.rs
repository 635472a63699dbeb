//! Mail in files: mbox, Maildir, and single `.eml` files, as iterators of raw mails, one in memory at a time.
//! Nothing is changed on disk. Not for: what becomes of the mails.

use crate::model::Time;
use chrono::NaiveDateTime;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A single mail above this is an error of its own; no server accepts such.
const MAIL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How far into a mail its Status fields are looked for.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A mail from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMail {
    /// The bytes that were stored, without the container's own escaping.
    pub raw: Vec<u8>,
    /// When it came in, where the container knows.
    pub date: Option<Time>,
    /// Whether it was read, where the container knows.
    pub is_seen: Option<bool>,
}

/// Mails from files, one after another; an unreadable one is an error of its own and the next follows.
pub type StoredMails = Box<dyn Iterator<Item = io::Result<StoredMail>> + Send>;

/// Opens a path by what lies there: a Maildir (with `cur` or `new` in it), a folder of `.eml` files, an mbox
/// (beginning with "From "), else a single mail.
pub fn open(path: &Path) -> io::Result<StoredMails> {
    if path.is_dir() {
        if path.join("cur").is_dir() || path.join("new").is_dir() {
            return Ok(Box::new(read_maildir(path)?));
        }
        return Ok(Box::new(read_folder(path)?));
    }
    let mut reader = BufReader::new(File::open(path)?);
    if reader.fill_buf()?.starts_with(b"From ") {
        return Ok(Box::new(Mbox::new(reader, MboxKind::Rd)));
    }
    Ok(Box::new(
        std::iter::once(path.to_owned()).map(|path| read_eml(&path)),
    ))
}

// ── mbox ──

/// How lines of a body that begin with "From " were escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MboxKind {
    /// A `>` was put before "From " and before any number of `>` in front of it, so that it can be undone exactly.
    Rd,
    /// A `>` was put before "From " only; ">>From " stands for itself.
    O,
}

/// The mails of an mbox.
#[derive(Debug)]
pub struct Mbox<R> {
    reader: R,
    kind: MboxKind,
    /// The separator of the next mail, read already.
    separator: Option<Vec<u8>>,
    /// Whether separators must hold a date: they do in this file, so "From " without one is text.
    has_dates: bool,
    is_begun: bool,
}

impl<R: BufRead> Mbox<R> {
    pub const fn new(reader: R, kind: MboxKind) -> Self {
        Self {
            reader,
            kind,
            separator: None,
            has_dates: false,
            is_begun: false,
        }
    }

    /// Finds the first separator; what precedes it belongs to no mail.
    fn begin(&mut self) -> io::Result<()> {
        self.is_begun = true;
        let mut line = Vec::new();
        while self.reader.read_until(b'\n', &mut line)? > 0 {
            if line.starts_with(b"From ") {
                self.has_dates = separator_date(&line).is_some();
                self.separator = Some(line);
                return Ok(());
            }
            line.clear();
        }
        Ok(())
    }

    fn is_separator(&self, line: &[u8]) -> bool {
        line.starts_with(b"From ") && (!self.has_dates || separator_date(line).is_some())
    }

    fn read_mail(&mut self) -> io::Result<Option<StoredMail>> {
        if !self.is_begun {
            self.begin()?;
        }
        let Some(separator) = self.separator.take() else {
            return Ok(None);
        };
        let mut raw: Vec<u8> = Vec::new();
        // The empty line before a separator belongs to the container, so it is held back until it is known.
        let mut held: Vec<u8> = Vec::new();
        let mut is_after_empty = false;
        let mut is_too_big = false;
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if is_after_empty && self.is_separator(&line) {
                self.separator = Some(line);
                break;
            }
            raw.append(&mut held);
            is_after_empty = matches!(line.as_slice(), b"\n" | b"\r\n");
            if is_after_empty {
                held = line;
            } else {
                raw.extend_from_slice(unescaped(&line, self.kind));
            }
            if raw.len() > MAIL_BYTES_MAX {
                is_too_big = true;
                raw.clear();
            }
        }
        if is_too_big {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a mail of the mbox is too large",
            ));
        }
        let is_seen = seen_by_status(&raw);
        Ok(Some(StoredMail {
            raw,
            date: separator_date(&separator),
            is_seen,
        }))
    }
}

impl<R: BufRead> Iterator for Mbox<R> {
    type Item = io::Result<StoredMail>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_mail().transpose()
    }
}

fn unescaped(line: &[u8], kind: MboxKind) -> &[u8] {
    let Some(rest) = line.strip_prefix(b">") else {
        return line;
    };
    let depth = rest.iter().take_while(|&&byte| byte == b'>').count();
    let is_escape = rest
        .get(depth..)
        .is_some_and(|rest| rest.starts_with(b"From "));
    if is_escape && (kind == MboxKind::Rd || depth == 0) {
        rest
    } else {
        line
    }
}

/// The date in "From anna@example.org Fri Jul  8 12:08:34 2011 +0200", in its many forms.
fn separator_date(line: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let month = words.iter().position(|word| month_of(word).is_some())?;
    let rest = words.get(month..)?;
    let day: u32 = rest.get(1)?.parse().ok()?;
    let clock = rest.get(2)?;
    let year: i32 = rest
        .iter()
        .skip(3)
        .find_map(|word| word.parse().ok().filter(|year| (1970..3000).contains(year)))?;
    let month = month_of(rest.first()?)?;
    let clock = if clock.matches(':').count() == 1 {
        format!("{clock}:00")
    } else {
        (*clock).to_owned()
    };
    let moment = NaiveDateTime::parse_from_str(
        &format!("{year}-{month}-{day} {clock}"),
        "%Y-%m-%d %H:%M:%S",
    )
    .ok()?;
    let offset = rest
        .iter()
        .skip(3)
        .find_map(|word| offset_seconds(word))
        .unwrap_or(0);
    Some(Time::from_seconds(moment.and_utc().timestamp()).plus_seconds(-offset))
}

fn month_of(word: &str) -> Option<u32> {
    let months = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let at = months
        .iter()
        .position(|month| word.eq_ignore_ascii_case(month))?;
    u32::try_from(at + 1).ok()
}

/// "+0200" in seconds.
fn offset_seconds(word: &str) -> Option<i64> {
    let (sign, digits) = match word.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, word.strip_prefix('-')?),
    };
    let value: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (value / 100 * 3600 + value % 100 * 60))
}

/// What mail programs keep in the Status or X-Mozilla-Status field.
fn seen_by_status(raw: &[u8]) -> Option<bool> {
    let head = raw.get(..HEAD_BYTES_MAX).unwrap_or(raw);
    for line in head.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
            continue;
        };
        if name.eq_ignore_ascii_case(b"Status") {
            return Some(value.contains(&b'R'));
        }
        if name.eq_ignore_ascii_case(b"X-Mozilla-Status") {
            let flags = std::str::from_utf8(value)
                .ok()?
                .trim_start_matches(':')
                .trim();
            return u32::from_str_radix(flags, 16)
                .ok()
                .map(|flags| flags & 1 == 1);
        }
    }
    None
}

// ── Maildir ──

/// The mails of a Maildir, oldest first; its sub-folders are other Maildirs.
pub fn read_maildir(
    path: &Path,
) -> io::Result<impl Iterator<Item = io::Result<StoredMail>> + Send + use<>> {
    let mut found: Vec<(i64, PathBuf, bool)> = Vec::new();
    for (folder, is_new) in [("cur", false), ("new", true)] {
        let folder = path.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || !entry.file_type()?.is_file() {
                continue;
            }
            let flags = name.rsplit_once(":2,").map_or("", |(_, flags)| flags);
            let delivered = delivered_at(&name)
                .or_else(|| modified_at(&entry.path()))
                .unwrap_or(0);
            found.push((delivered, entry.path(), !is_new && flags.contains('S')));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(delivered, path, is_seen)| {
        let mail = read_eml(&path)?;
        Ok(StoredMail {
            date: Some(Time::from_seconds(delivered)),
            is_seen: Some(is_seen),
            ..mail
        })
    }))
}

/// Maildir file names begin with the seconds since 1970 of the delivery.
fn delivered_at(name: &str) -> Option<i64> {
    let seconds: i64 = name.split('.').next()?.parse().ok()?;
    (seconds > 0 && seconds < 100_000_000_000).then_some(seconds)
}

fn modified_at(path: &Path) -> Option<i64> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

// ── single files ──

/// The mail in one file.
pub fn read_eml(path: &Path) -> io::Result<StoredMail> {
    let size = fs::metadata(path)?.len();
    if size > u64::try_from(MAIL_BYTES_MAX).unwrap_or(u64::MAX) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the mail is too large",
        ));
    }
    Ok(StoredMail {
        raw: fs::read(path)?,
        date: None,
        is_seen: None,
    })
}

/// The `.eml` files of a folder, by name.
pub fn read_folder(
    path: &Path,
) -> io::Result<impl Iterator<Item = io::Result<StoredMail>> + Send + use<>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_mail = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("eml"));
        if is_mail && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found.into_iter().map(|path| read_eml(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mails(text: &str, kind: MboxKind) -> Vec<StoredMail> {
        Mbox::new(text.as_bytes(), kind)
            .collect::<io::Result<_>>()
            .unwrap()
    }

    /// Writes as an mboxrd writer does.
    fn written(mails: &[&str]) -> String {
        let mut text = String::new();
        for mail in mails {
            text.push_str("From anna@example.org Fri Jul  8 12:08:34 2011\n");
            for line in mail.split_inclusive('\n') {
                if line.trim_start_matches('>').starts_with("From ") {
                    text.push('>');
                }
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }

    #[test]
    fn what_an_mboxrd_writer_wrote_comes_back_byte_for_byte() {
        let originals = [
            "Subject: a\n\nFrom here on\n>From there\n>>From nowhere\n> From quoted\n",
            "Subject: b\r\n\r\nCRLF stays\r\n\r\n\r\n",
            "Subject: c\n\n\nFrom anna@example.org Fri Jul  8 12:08:34 2011\nlooks like a separator\n\n\n",
            "Subject: empty body\n\n",
            "Subject: no body\n",
        ];
        let found = mails(&written(&originals), MboxKind::Rd);
        let raws: Vec<String> = found
            .into_iter()
            .map(|mail| String::from_utf8(mail.raw).unwrap())
            .collect();
        assert_eq!(raws, originals);
    }

    #[test]
    fn mboxo_leaves_deeper_quotes_alone() {
        let text = "From a Fri Jul  8 12:08:34 2011\nS: a\n\n>From x\n>>From y\n";
        assert_eq!(
            mails(text, MboxKind::O)[0].raw,
            b"S: a\n\nFrom x\n>>From y\n"
        );
        assert_eq!(
            mails(text, MboxKind::Rd)[0].raw,
            b"S: a\n\nFrom x\n>From y\n"
        );
    }

    #[test]
    fn separators_are_told_from_text() {
        let rows: [(&str, &str, usize); 6] = [
            (
                "text that begins with From after an empty line",
                "From a Fri Jul  8 12:08:34 2011\nS: a\n\nFrom what I hear, no.\n",
                1,
            ),
            (
                "without empty line before it",
                "From a Fri Jul  8 12:08:34 2011\nS: a\n\nx\nFrom b Fri Jul  8 12:08:34 2011\ny\n",
                1,
            ),
            (
                "two mails",
                "From a Fri Jul  8 12:08:34 2011\nS: a\n\nx\n\nFrom b Fri Jul  8 12:08:34 2011\nS: b\n",
                2,
            ),
            (
                "separators without dates",
                "From a\nS: a\n\nx\n\nFrom b\nS: b\n",
                2,
            ),
            (
                "words before the first",
                "junk\n\nFrom - Fri Jul  8 12:08:34 2011\nS: a\n",
                1,
            ),
            ("nothing", "", 0),
        ];
        for (what, text, count) in rows {
            assert_eq!(mails(text, MboxKind::Rd).len(), count, "{what}");
        }
    }

    #[test]
    fn separators_tell_the_date() {
        let noon = Time::parse_rfc3339("2011-07-08T12:08:34Z");
        let rows = [
            ("From anna@example.org Fri Jul  8 12:08:34 2011", noon),
            ("From - Fri Jul 08 14:08:34 2011 +0200", noon),
            ("From anna@example.org Fri Jul  8 14:08:34 +0200 2011", noon),
            (
                "From anna@example.org Fri Jul  8 12:08 2011",
                Time::parse_rfc3339("2011-07-08T12:08:00Z"),
            ),
            ("From anna@example.org Fri Jul 38 12:08:34 2011", None),
            ("From the start", None),
        ];
        for (line, expected) in rows {
            assert_eq!(separator_date(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn status_fields_tell_what_was_read() {
        let rows: [(&[u8], Option<bool>); 5] = [
            (b"Status: RO\n\n", Some(true)),
            (b"Subject: x\r\nstatus: O\r\n\r\n", Some(false)),
            (b"X-Mozilla-Status: 0001\n\n", Some(true)),
            (b"X-Mozilla-Status: 0008\n\n", Some(false)),
            (b"Subject: x\n\nStatus: R\n", None),
        ];
        for (raw, expected) in rows {
            assert_eq!(
                seen_by_status(raw),
                expected,
                "{}",
                String::from_utf8_lossy(raw)
            );
        }
    }

    #[test]
    fn maildirs_and_folders_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("box");
        for name in ["cur", "new", "tmp"] {
            fs::create_dir_all(maildir.join(name)).unwrap();
        }
        fs::write(maildir.join("cur/1700000002.M1.host:2,RS"), b"second").unwrap();
        fs::write(maildir.join("cur/1700000001.M1.host:2,"), b"first").unwrap();
        fs::write(maildir.join("new/1700000003.M1.host"), b"third").unwrap();
        fs::write(maildir.join("tmp/1700000000.M1.host"), b"half written").unwrap();
        let found: Vec<StoredMail> = open(&maildir).unwrap().collect::<io::Result<_>>().unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|mail| {
                (
                    mail.raw.as_slice(),
                    mail.date.unwrap().seconds(),
                    mail.is_seen,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (b"first".as_slice(), 1_700_000_001, Some(false)),
                (b"second", 1_700_000_002, Some(true)),
                (b"third", 1_700_000_003, Some(false)),
            ]
        );

        fs::write(folder.path().join("2.eml"), b"two").unwrap();
        fs::write(folder.path().join("1.EML"), b"one").unwrap();
        fs::write(folder.path().join("notes.txt"), b"none").unwrap();
        let found: Vec<StoredMail> = open(folder.path())
            .unwrap()
            .collect::<io::Result<_>>()
            .unwrap();
        assert_eq!(
            found
                .iter()
                .map(|mail| mail.raw.as_slice())
                .collect::<Vec<_>>(),
            [b"one".as_slice(), b"two"]
        );
        let single: Vec<StoredMail> = open(&folder.path().join("2.eml"))
            .unwrap()
            .collect::<io::Result<_>>()
            .unwrap();
        assert_eq!(
            single,
            [StoredMail {
                raw: b"two".to_vec(),
                date: None,
                is_seen: None
            }]
        );
    }
}
