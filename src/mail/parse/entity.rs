//! The parts of a mail: one pass over its lines with a stack of open boundaries.
//!
//! A message inside a message is a leaf: its inside is never looked at, so depth costs nothing and the only
//! nesting is that of multiparts, which is limited. Not for: decoding contents.

use super::MailProblem;
use super::decode;
use super::fields::{self, Fields};
use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, HeaderValue};

/// Multiparts inside each other. Real mails have up to about 8 (a signed forward of a reply with images).
const DEPTH_MAX: usize = 32;

/// Parts of one mail. The largest real digests and photo mails have some hundreds.
const PARTS_MAX: usize = 2000;

/// A boundary is at most 70 characters by RFC 2046; some programs write a little more.
const BOUNDARY_BYTES_MAX: usize = 255;

/// A file name that every file system takes.
const NAME_BYTES_MAX: usize = 200;

/// How a leaf's bytes are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Plain,
    Base64,
    QuotedPrintable,
    /// What was written before there was MIME, and labelled since.
    Uuencoded,
}

/// One part: a leaf, or a multipart around others.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    pub(super) index: usize,
    pub(super) fields: Fields<'a>,
    /// Still encoded; empty for multiparts.
    pub(super) body: &'a [u8],
    pub(super) is_container: bool,
    /// Lower case, e.g. "text/plain".
    pub(super) media_type: String,
    pub(super) charset: Option<String>,
    /// A parameter of text/calendar.
    pub(super) method: Option<String>,
    /// A parameter of multipart/report.
    pub(super) report_type: Option<String>,
    pub(super) name: Option<String>,
    pub(super) content_id: Option<String>,
    pub(super) transfer: Transfer,
    pub(super) is_attachment: bool,
    /// The subtype of the multipart right around it; empty at the top.
    pub(super) around: String,
    /// Whether any multipart around it is an alternative.
    pub(super) in_alternative: bool,
    /// Whether it is the first part of the multipart around it.
    pub(super) is_first: bool,
}

impl Part<'_> {
    /// What the attachment is called, given a name where the mail has none.
    pub(super) fn file_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        match self.media_type.as_str() {
            "message/rfc822" | "message/global" => "message.eml".to_owned(),
            "text/calendar" => "invite.ics".to_owned(),
            "text/html" => "part.html".to_owned(),
            "message/delivery-status" => "delivery-status.txt".to_owned(),
            other if other.starts_with("text/") => "part.txt".to_owned(),
            _ => "attachment".to_owned(),
        }
    }

    /// The subtype after the slash.
    pub(super) fn subtype(&self) -> &str {
        self.media_type
            .split_once('/')
            .map_or("", |(_, subtype)| subtype)
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "message/rfc822" | "message/global"
        )
    }
}

/// All parts, in the order in which they begin. The first is the mail itself.
#[derive(Debug, Clone)]
pub(super) struct Tree<'a> {
    pub(super) parts: Vec<Part<'a>>,
}

impl<'a> Tree<'a> {
    /// The mail itself; `None` never happens, since `walk` always makes one.
    pub(super) fn root(&self) -> Option<&Part<'a>> {
        self.parts.first()
    }

    pub(super) fn leaves(&self) -> impl Iterator<Item = &Part<'a>> {
        self.parts.iter().filter(|part| !part.is_container)
    }
}

/// A multipart whose end has not come.
struct Open {
    boundary: Vec<u8>,
    subtype: String,
    in_alternative: bool,
    has_parts: bool,
    part_index: usize,
    body_start: usize,
}

/// The state of the pass.
struct Walk<'a, 'p> {
    raw: &'a [u8],
    parts: Vec<Part<'a>>,
    open: Vec<Open>,
    /// The leaf that the present line belongs to, and where its body begins.
    leaf: Option<(usize, usize)>,
    problems: &'p mut Vec<MailProblem>,
}

/// Finds the parts of a mail.
pub(super) fn walk<'a>(raw: &'a [u8], problems: &mut Vec<MailProblem>) -> Tree<'a> {
    let mut walk = Walk {
        raw,
        parts: Vec::new(),
        open: Vec::new(),
        leaf: None,
        problems,
    };
    let mut at = walk.begin(0);
    let mut is_full = false;
    while !walk.open.is_empty() {
        let Some((line, next)) = fields::line_at(raw, at) else {
            break;
        };
        let Some((level, is_close)) = boundary_of(&walk.open, line) else {
            at = next;
            continue;
        };
        walk.end_leaf(before_line_end(raw, at));
        walk.close_to(level + 1, before_line_end(raw, at));
        if is_close {
            walk.close_to(level, before_line_end(raw, at));
            at = next;
        } else if walk.parts.len() >= PARTS_MAX {
            walk.problems.push(MailProblem::TooManyParts);
            is_full = true;
            break;
        } else {
            at = walk.begin(next);
        }
    }
    if !walk.open.is_empty() && !is_full {
        walk.problems.push(MailProblem::UnclosedPart);
    }
    walk.end_leaf(raw.len());
    walk.close_to(0, raw.len());
    Tree { parts: walk.parts }
}

/// Which open multipart a line is a boundary of (innermost first), and whether it closes it.
fn boundary_of(open: &[Open], line: &[u8]) -> Option<(usize, bool)> {
    let text = line.strip_prefix(b"--")?.trim_ascii_end();
    open.iter()
        .enumerate()
        .rev()
        .find_map(
            |(level, multipart)| match text.strip_prefix(multipart.boundary.as_slice())? {
                b"" => Some((level, false)),
                b"--" => Some((level, true)),
                _ => None,
            },
        )
}

impl<'a> Walk<'a, '_> {
    /// Reads the header block at `start` and adds its part. Returns where to go on.
    fn begin(&mut self, start: usize) -> usize {
        let open = std::mem::take(&mut self.open);
        let (fields, body) = fields::read(
            self.raw,
            start,
            &|line| boundary_of(&open, line).is_some(),
            self.problems,
        );
        self.open = open;
        let (mut part, boundary) = self.part_of(fields);
        let is_multipart = part.media_type.starts_with("multipart/");
        match boundary.filter(|_| is_multipart) {
            Some(boundary) if self.open.len() < DEPTH_MAX => {
                part.is_container = true;
                let subtype = part.subtype().to_owned();
                let in_alternative = part.in_alternative || subtype == "alternative";
                let part_index = part.index;
                self.parts.push(part);
                self.open.push(Open {
                    boundary,
                    subtype,
                    in_alternative,
                    has_parts: false,
                    part_index,
                    body_start: body,
                });
            }
            boundary => {
                if boundary.is_some() {
                    self.problems.push(MailProblem::NestedTooDeep);
                } else if is_multipart {
                    // A multipart without a boundary can only be read as text.
                    "text/plain".clone_into(&mut part.media_type);
                }
                self.leaf = Some((part.index, body));
                self.parts.push(part);
            }
        }
        body
    }

    fn part_of(&mut self, fields: Fields<'a>) -> (Part<'a>, Option<Vec<u8>>) {
        let index = self.parts.len();
        let (around, in_alternative, is_first) = match self.open.last_mut() {
            Some(multipart) => {
                let is_first = !std::mem::replace(&mut multipart.has_parts, true);
                (
                    multipart.subtype.clone(),
                    multipart.in_alternative,
                    is_first,
                )
            }
            None => (String::new(), false, true),
        };
        let content_type = mime_field(&fields, "Content-Type", self.problems);
        let disposition = mime_field(&fields, "Content-Disposition", self.problems);
        let media_type = media_type(content_type.as_ref(), &around);
        let parameter = |name: &str| {
            content_type
                .as_ref()
                .and_then(|found| attribute(found, name))
        };
        let name = disposition
            .as_ref()
            .and_then(|found| attribute(found, "filename"))
            .or_else(|| parameter("name"))
            .and_then(|name| clean_name(&name));
        let boundary = parameter("boundary")
            .map(String::into_bytes)
            .filter(|boundary| !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX);
        let transfer = match fields.lower("Content-Transfer-Encoding").as_deref() {
            Some(encoding) if encoding.starts_with("base64") => Transfer::Base64,
            Some(encoding) if encoding.starts_with("quoted-printable") => Transfer::QuotedPrintable,
            Some("x-uuencode" | "x-uue" | "uuencode") => Transfer::Uuencoded,
            _ => Transfer::Plain,
        };
        let content_id = fields
            .first("Content-ID")
            .map(|field| field.text(self.problems))
            .and_then(|id| {
                let id =
                    id.trim_matches(|letter: char| letter.is_whitespace() || "<>".contains(letter));
                (!id.is_empty() && id.len() <= 255).then(|| id.to_owned())
            });
        let part = Part {
            index,
            body: &[],
            is_container: false,
            charset: parameter("charset"),
            method: parameter("method"),
            report_type: parameter("report-type").map(|kind| kind.to_ascii_lowercase()),
            media_type,
            name,
            content_id,
            transfer,
            is_attachment: disposition
                .is_some_and(|found| found.c_type.eq_ignore_ascii_case("attachment")),
            around,
            in_alternative,
            is_first,
            fields,
        };
        (part, boundary)
    }

    /// Ends the present leaf at an offset.
    fn end_leaf(&mut self, at: usize) {
        let Some((index, from)) = self.leaf.take() else {
            return;
        };
        if let Some(part) = self.parts.get_mut(index) {
            part.body = self.raw.get(from..at.max(from)).unwrap_or_default();
        }
    }

    /// Closes multiparts until `level` are open. One whose boundary never came is text after all.
    fn close_to(&mut self, level: usize, at: usize) {
        while self.open.len() > level {
            let Some(closed) = self.open.pop() else {
                return;
            };
            if let Some(part) = self
                .parts
                .get_mut(closed.part_index)
                .filter(|_| !closed.has_parts)
            {
                part.is_container = false;
                "text/plain".clone_into(&mut part.media_type);
                part.body = self
                    .raw
                    .get(closed.body_start..at.max(closed.body_start))
                    .unwrap_or_default();
            }
        }
    }
}

/// The line end before a boundary belongs to the boundary.
fn before_line_end(raw: &[u8], at: usize) -> usize {
    let before = raw.get(..at).unwrap_or_default();
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

/// A Content-Type or Content-Disposition, parsed.
fn mime_field(
    fields: &Fields<'_>,
    name: &'static str,
    problems: &mut Vec<MailProblem>,
) -> Option<ContentType<'static>> {
    let text = fields.first(name)?.parsable_parameters(problems);
    match MessageStream::new(&text).parse_content_type().into_owned() {
        HeaderValue::ContentType(found) => Some(found),
        _ => None,
    }
}

/// A parameter, encoded words in it decoded: RFC 2047 forbids them there, and half the world writes them.
fn attribute(found: &ContentType<'_>, name: &str) -> Option<String> {
    let attributes = found.attributes.as_ref()?;
    let value = attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))?
        .value
        .as_ref();
    if value.contains("=?") {
        Some(decode::encoded_words(value))
    } else {
        Some(value.to_owned())
    }
}

fn media_type(found: Option<&ContentType<'_>>, around: &str) -> String {
    let Some(found) = found else {
        return if around == "digest" {
            "message/rfc822"
        } else {
            "text/plain"
        }
        .to_owned();
    };
    let is_token = |text: &str| {
        !text.is_empty()
            && text.len() <= 127
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    let kind = found.c_type.to_ascii_lowercase();
    match found
        .c_subtype
        .as_ref()
        .map(|subtype| subtype.to_ascii_lowercase())
    {
        Some(subtype) if is_token(&kind) && is_token(&subtype) => format!("{kind}/{subtype}"),
        // "Content-Type: text" was written by programs older than MIME.
        None if kind == "text" => "text/plain".to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}

/// The type that a file's name says, where nothing else does: what is shown in place, or read.
pub(super) fn media_type_of_name(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    match ending.unwrap_or_default().to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "txt" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "ics" => "text/calendar",
        "vcf" => "text/vcard",
        "eml" => "message/rfc822",
        _ => "application/octet-stream",
    }
}

/// A file name without path, control and bidi characters.
pub(super) fn clean_name(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let mut clean = decode::one_line(name);
    let mut end = clean.len().min(NAME_BYTES_MAX);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    clean.truncate(end);
    let clean = clean.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    (!clean.is_empty()).then(|| clean.to_owned())
}
