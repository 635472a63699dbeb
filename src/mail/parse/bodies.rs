//! Which parts are the mail's body and which hang on it; decodes each once.
//! Not for: cleaning HTML, folding quotes.

use super::decode;
use super::entity::{Part, Transfer, Tree};
use super::{MailProblem, ParsedAttachment, key};
use mail_parser::decoders::html::{html_to_text, text_to_html};

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
    let mut shown: Vec<Shown> = Vec::new();
    let mut attachments = Vec::new();
    let mut shown_bytes = 0_usize;
    for part in tree.leaves() {
        let decoded = decode::transfer(part, problems);
        key::add_part(&mut hasher, &part.media_type, &decoded);
        if is_body(part, shown.is_empty()) {
            if shown_bytes >= 2 * BODY_BYTES_MAX {
                problems.push(MailProblem::BodyCut);
                continue;
            }
            let text = body_text(part, &decoded, problems);
            shown_bytes = shown_bytes.saturating_add(text.len());
            let is_html = part.media_type == "text/html";
            shown.push(Shown {
                is_html,
                in_alternative: part.in_alternative,
                text,
            });
        } else {
            attachments.push(attachment(part, decoded.len()));
        }
    }
    Content {
        text: joined(&shown, Form::Text, problems),
        html: joined(&shown, Form::Html, problems),
        attachments,
        content_hash: hasher.finalize(),
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
    let mut text = decode::text(kept, part, problems);
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
