//! Which parts are the mail's body and which hang on it; decodes each once.
//! Not for: cleaning HTML, folding quotes.

use super::contained::{self, WRAPPED_MAX};
use super::entity::{Part, Transfer, Tree};
use super::rtf::Letter;
use super::{MailProblem, ParsedAttachment, decode, key, tnef, uuencode};
use mail_parser::decoders::html::{html_to_text, text_to_html};
use std::collections::HashSet;

/// Text that is kept of a body, text and HTML each. What is longer is a log or a bomb; the raw mail has it all.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Encoded bytes that are decoded for a body: base64 and quoted-printable take up to three times the room.
const ENCODED_BYTES_MAX: usize = 3 * BODY_BYTES_MAX;

/// The body, the attachments, and a hash over all decoded content.
pub(super) struct Content {
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    pub(super) attachments: Vec<ParsedAttachment>,
    pub(super) content_hash: blake3::Hash,
}

/// A body part and what it counts for.
struct Shown {
    is_html: bool,
    in_alternative: bool,
    text: String,
}

pub(super) fn read(tree: &Tree<'_>, problems: &mut Vec<MailProblem>) -> Content {
    let mut hasher = key::content_hasher();
    let mut found = Found::default();
    for part in tree.leaves() {
        let decoded = decode::transfer(part, problems);
        key::add_part(&mut hasher, &part.media_type, &decoded);
        if is_body(part, found.shown.is_empty()) {
            found.add_body(part, &decoded, problems);
        } else {
            found.add_file(part, &decoded, problems);
        }
    }
    let Found {
        mut shown,
        mut attachments,
        wrapped,
        ..
    } = found;
    // What Outlook wrapped is the same letter once more, or the only one.
    if is_blank(&shown) && wrapped.is_some() {
        shown = Vec::from_iter(wrapped);
    }
    let html = joined(&shown, Form::Html, problems);
    note_inline(&mut attachments, html.as_deref().unwrap_or_default());
    Content {
        text: joined(&shown, Form::Text, problems),
        html,
        attachments,
        content_hash: hasher.finalize(),
    }
}

/// What the leaves were found to be.
#[derive(Default)]
struct Found {
    shown: Vec<Shown>,
    shown_bytes: usize,
    attachments: Vec<ParsedAttachment>,
    /// The letter in a `winmail.dat`.
    wrapped: Option<Shown>,
    wrapped_count: usize,
}

impl Found {
    fn add_body(&mut self, part: &Part<'_>, decoded: &[u8], problems: &mut Vec<MailProblem>) {
        let split = (part.media_type == "text/plain")
            .then(|| uuencode::split(decoded))
            .flatten();
        let files = split.as_ref().map(|split| split.files.as_slice());
        self.attachments
            .extend(contained::attachments(part, files.unwrap_or_default()));
        if self.shown_bytes >= 2 * BODY_BYTES_MAX {
            problems.push(MailProblem::BodyCut);
            return;
        }
        let around = split
            .as_ref()
            .map_or(decoded, |split| split.text.as_slice());
        let text = body_text(part, around, problems);
        self.shown_bytes = self.shown_bytes.saturating_add(text.len());
        self.shown.push(Shown {
            is_html: part.media_type == "text/html",
            in_alternative: part.in_alternative,
            text,
        });
    }

    /// A `winmail.dat` that could be read stands for what is in it; where something could not be, it is listed too.
    fn add_file(&mut self, part: &Part<'_>, decoded: &[u8], problems: &mut Vec<MailProblem>) {
        let wrapped = (contained::is_wrapped(part) && self.wrapped_count < WRAPPED_MAX)
            .then(|| tnef::read(decoded))
            .flatten();
        let Some(tnef) = wrapped else {
            self.attachments.push(attachment(part, decoded.len()));
            return;
        };
        self.wrapped_count += 1;
        if !tnef.is_whole {
            self.attachments.push(attachment(part, decoded.len()));
        }
        self.attachments
            .extend(contained::attachments(part, &tnef.files));
        if self.wrapped.is_none() && is_blank(&self.shown) {
            self.wrapped = tnef.letter().map(|letter| {
                let (is_html, text) = match letter {
                    Letter::Html(html) => (true, html),
                    Letter::Text(text) => (false, text),
                };
                Shown {
                    is_html,
                    in_alternative: false,
                    text: cut(text, problems),
                }
            });
        }
    }
}

fn is_blank(shown: &[Shown]) -> bool {
    shown.iter().all(|part| part.text.trim().is_empty())
}

/// Files out of a `winmail.dat` are inline where the HTML shows them.
fn note_inline(attachments: &mut [ParsedAttachment], html: &str) {
    let is_contained = |file: &ParsedAttachment| contained::place(file.part_index).1 > 0;
    if !attachments.iter().any(is_contained) {
        return;
    }
    let ends = |letter: char| letter.is_whitespace() || "\"'<>)".contains(letter);
    let named: HashSet<&str> = html
        .split("cid:")
        .skip(1)
        .filter_map(|behind| behind.split(ends).next())
        .collect();
    for file in attachments.iter_mut().filter(|file| is_contained(file)) {
        let id = file.content_id.as_deref();
        file.is_inline = id.is_some_and(|id| named.contains(id));
    }
}

/// Whether a leaf is part of what is shown: text without the disposition of an attachment, and, as RFC 8621
/// has it, without a file name unless it comes first. In multipart/related only the first part is, or, where
/// that is an image, the first text.
fn is_body(part: &Part<'_>, is_first_text: bool) -> bool {
    let is_text = matches!(part.media_type.as_str(), "text/plain" | "text/html");
    let is_main =
        part.is_first || (part.name.is_none() && (part.around != "related" || is_first_text));
    is_text && !part.is_attachment && is_main
}

fn body_text(part: &Part<'_>, decoded: &[u8], problems: &mut Vec<MailProblem>) -> String {
    let kept = decoded.get(..ENCODED_BYTES_MAX).map_or(decoded, |cut| {
        problems.push(MailProblem::BodyCut);
        cut
    });
    let text = decode::text(kept, part, problems);
    cut(text, problems)
}

fn cut(mut text: String, problems: &mut Vec<MailProblem>) -> String {
    if text.len() > BODY_BYTES_MAX {
        problems.push(MailProblem::BodyCut);
        let mut end = BODY_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

fn attachment(part: &Part<'_>, size: usize) -> ParsedAttachment {
    let is_referred_to = part.content_id.is_some() && part.around == "related";
    ParsedAttachment {
        part_index: part.index,
        name: part.file_name(),
        media_type: part.media_type.clone(),
        size_bytes: u64::try_from(size).unwrap_or(u64::MAX),
        content_id: part.content_id.clone(),
        is_inline: !part.is_attachment && (is_referred_to || part.name.is_none()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Html,
}

/// All body parts in one form. Of an alternative only that form counts; parts outside of one count for both
/// and are converted. `None`: nothing is in that form of itself.
fn joined(shown: &[Shown], form: Form, problems: &mut Vec<MailProblem>) -> Option<String> {
    let is_native = |part: &Shown| part.is_html == (form == Form::Html);
    if !shown.iter().any(is_native) {
        return None;
    }
    let mut text = String::new();
    for part in shown
        .iter()
        .filter(|part| is_native(part) || !part.in_alternative)
    {
        if text.len() + part.text.len() > 2 * BODY_BYTES_MAX {
            problems.push(MailProblem::BodyCut);
            break;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match (is_native(part), form) {
            (true, _) => text.push_str(&part.text),
            (false, Form::Text) => text.push_str(&html_to_text(&part.text)),
            (false, Form::Html) => text.push_str(&text_to_html(&part.text)),
        }
    }
    Some(text)
}

/// The readable text of a report's part, for `bounce`.
pub(super) fn small_text(part: &Part<'_>) -> String {
    let bytes_max = if part.transfer == Transfer::Plain {
        BODY_BYTES_MAX
    } else {
        ENCODED_BYTES_MAX
    };
    let body = part.body.get(..bytes_max).unwrap_or(part.body);
    let decoded = decode::transfer_bytes(body, part.transfer, &mut Vec::new());
    decode::text(&decoded, part, &mut Vec::new())
}
