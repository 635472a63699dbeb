//! Header blocks: splitting them into fields, with everything counted and cut before anyone parses it.
//! Not for: what a field means.

use super::MailProblem;
use std::borrow::Cow;

/// Fields of one block. Real mails have up to about 150 (each hop adds some).
const FIELDS_MAX: usize = 1000;

/// Bytes of one field. To with 2,000 addresses has this.
pub(super) const FIELD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a MIME field. A long file name in RFC 2231 takes some 3 KB.
pub(super) const MIME_FIELD_BYTES_MAX: usize = 8 * 1024;

/// Parameters of a MIME field: mail-parser's time grows with the square of their number. That long file name
/// has about 30 pieces.
const PARAMETERS_MAX: usize = 64;

/// Fields of one name that are parsed. The standard allows one; lists and gateways sometimes add a second.
const REPEATED_MAX: usize = 8;

/// One field: its name, and its value as it stands, folded, without the last line end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Field<'a> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value as mail-parser wants it: with a line end, cut, without NUL.
    pub(super) fn parsable(&self, bytes_max: usize, problems: &mut Vec<MailProblem>) -> Vec<u8> {
        let kept = self.value.get(..bytes_max).map_or(self.value, |cut| {
            problems.push(MailProblem::HeaderCut);
            cut
        });
        let mut text = utf8(kept, problems).into_owned().into_bytes();
        for byte in &mut text {
            if *byte == 0 {
                *byte = b'?';
            }
        }
        // A trailing line end would start a folded line that never comes.
        while text.last().is_some_and(|byte| b"\r\n".contains(byte)) {
            text.pop();
        }
        text.push(b'\n');
        text
    }

    /// The value of a field with parameters, cut to a number of them that costs little.
    pub(super) fn parsable_parameters(&self, problems: &mut Vec<MailProblem>) -> Vec<u8> {
        let mut semicolons = self
            .value
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b';');
        match semicolons.nth(PARAMETERS_MAX) {
            Some((end, _)) if end < MIME_FIELD_BYTES_MAX => {
                problems.push(MailProblem::HeaderCut);
                let value = self.value.get(..end).unwrap_or_default();
                Field {
                    name: self.name,
                    value,
                }
                .parsable(MIME_FIELD_BYTES_MAX, problems)
            }
            _ => self.parsable(MIME_FIELD_BYTES_MAX, problems),
        }
    }

    /// The value on one line.
    pub(super) fn text(&self, problems: &mut Vec<MailProblem>) -> String {
        let kept = self.value.get(..MIME_FIELD_BYTES_MAX).unwrap_or(self.value);
        let text = utf8(kept, problems);
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace(char::is_control, "")
    }
}

/// Header bytes as UTF-8. What is not UTF-8 was written by an old program in its own charset, mostly
/// windows-1252; what is UTF-8 for the most part was cut or broken on its way.
fn utf8<'a>(bytes: &'a [u8], problems: &mut Vec<MailProblem>) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(bytes);
    if let Cow::Owned(lossy) = &text {
        problems.push(MailProblem::EightBitHeader);
        let broken = lossy.chars().filter(|&letter| letter == '\u{fffd}').count();
        let whole = lossy.chars().filter(|letter| !letter.is_ascii()).count() - broken;
        if whole <= broken {
            return Cow::Owned(super::decode::windows_1252(bytes));
        }
    }
    text
}

/// The fields of a block.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields<'a> {
    list: Vec<Field<'a>>,
}

impl<'a> Fields<'a> {
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &Field<'a>> {
        self.list.iter().filter(move |field| field.is(name))
    }

    /// The first few fields of that name, for values that are dear to parse.
    pub(super) fn some<'s>(
        &'s self,
        name: &'static str,
        problems: &mut Vec<MailProblem>,
    ) -> impl Iterator<Item = &'s Field<'a>> + use<'s, 'a> {
        if self.all(name).nth(REPEATED_MAX).is_some() {
            problems.push(MailProblem::TooManyHeaders);
        }
        self.all(name).take(REPEATED_MAX)
    }

    pub(super) fn first(&self, name: &'static str) -> Option<&Field<'a>> {
        self.all(name).next()
    }

    pub(super) fn has(&self, name: &'static str) -> bool {
        self.first(name).is_some()
    }

    /// The first field of that name, on one line, in lower case.
    pub(super) fn lower(&self, name: &'static str) -> Option<String> {
        self.first(name)
            .map(|field| field.text(&mut Vec::new()).to_lowercase())
    }
}

/// Reads a block that begins at `start`. Returns its fields and where the body begins. `is_boundary` tells
/// lines that end a part, which then has no body.
pub(super) fn read<'a>(
    raw: &'a [u8],
    start: usize,
    is_boundary: &dyn Fn(&[u8]) -> bool,
    problems: &mut Vec<MailProblem>,
) -> (Fields<'a>, usize) {
    let mut list: Vec<Field<'a>> = Vec::new();
    // Name, and where the value begins and ends so far.
    let mut open: Option<(&'a [u8], usize, usize)> = None;
    let mut at = start;
    let body = loop {
        let Some((line, next)) = line_at(raw, at) else {
            break raw.len();
        };
        let content = line.trim_ascii_end();
        if content.is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            break next;
        }
        if is_boundary(line) {
            break at;
        }
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        // A first line that is indented is a field all the same: there is nothing it could continue.
        let line = if is_folded && open.is_none() {
            line.trim_ascii_start()
        } else {
            line
        };
        let at_text = next - line.len();
        if is_folded && let Some((_, _, end)) = &mut open {
            *end = at + content.len();
        } else if let Some(name) = name_of(line) {
            close(raw, open.take(), &mut list, problems);
            let colon = line.iter().position(|&byte| byte == b':').unwrap_or(0);
            let value = at_text + colon + 1;
            open = Some((name, value, at + content.len()));
        } else if !is_mbox_line(line, at == start) && !is_junk(raw, next) {
            // Not a field and not followed by one: the body begins without an empty line.
            break at;
        }
        at = next;
    };
    close(raw, open, &mut list, problems);
    (Fields { list }, body)
}

fn close<'a>(
    raw: &'a [u8],
    open: Option<(&'a [u8], usize, usize)>,
    list: &mut Vec<Field<'a>>,
    problems: &mut Vec<MailProblem>,
) {
    let Some((name, from, to)) = open else { return };
    if list.len() >= FIELDS_MAX {
        if problems.last() != Some(&MailProblem::TooManyHeaders) {
            problems.push(MailProblem::TooManyHeaders);
        }
        return;
    }
    list.push(Field {
        name,
        value: raw.get(from..to.max(from)).unwrap_or_default(),
    });
}

/// The line at an offset, with its line end, and where the next one begins.
pub(super) fn line_at(raw: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = raw.get(at..).filter(|rest| !rest.is_empty())?;
    let length = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(rest.len(), |end| end + 1);
    Some((rest.get(..length)?, at + length))
}

/// The field name that a line begins with.
fn name_of(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    // RFC 5322 allows any printable ASCII; spaces inside mean that this is prose.
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some(name)
}

/// A "From " line that an mbox left at the top.
fn is_mbox_line(line: &[u8], is_first: bool) -> bool {
    is_first && (line.starts_with(b"From ") || line.starts_with(b">From "))
}

/// Whether a line that is no field is a stray among fields: what follows it is a field again.
fn is_junk(raw: &[u8], next: usize) -> bool {
    line_at(raw, next)
        .is_some_and(|(line, _)| name_of(line).is_some_and(|name| name.iter().all(is_usual)))
}

fn is_usual(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'-'
}

/// Where the first header block ends, the empty line included.
pub(super) fn block_end(raw: &[u8]) -> usize {
    read(raw, 0, &|_| false, &mut Vec::new()).1
}
