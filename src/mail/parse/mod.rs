//! What a mail says: parsing that never fails, never blows the stack and costs at most about a second.
//!
//! The structure (header blocks, parts, boundaries) is found by `entity`, in one pass without recursion, with
//! everything counted and capped; `mail-parser` only ever sees single, capped fields and decodes leaves. A
//! message inside a message stays an opaque attachment, so nothing here nests.
//!
//! What is wrong with a mail is noted as a `MailProblem`; it is data, not an error. No text that leaves this
//! module holds a NUL.
//! Not for: deciding what a mail means for the CRM, cleaning HTML, quotes and previews.

mod automatic;
mod bodies;
mod bounce;
mod contained;
mod decode;
mod entity;
mod extras;
mod fields;
mod headers;
mod key;
mod rtf;
mod tnef;
mod uuencode;

pub use automatic::AutomaticKind;
pub use bounce::BounceFacts;
pub use extras::{Extras, SpecialFormat, Unsubscribe};

use crate::mail::vcard::{self, Card};
use crate::model::Time;
use crate::model::email::Address;
use crate::text_enum;
use entity::Tree;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A mail's raw headers beyond this are not shown; no honest mail comes near.
const RAW_HEADERS_BYTES_MAX: usize = 256 * 1024;

text_enum! {
    /// What was found wrong with a mail.
    MailProblem {
        /// It could not be read at all; only its raw bytes are kept.
        Unparsed = "UNPARSED",
        /// More header fields than the limit; the rest was passed over.
        TooManyHeaders = "TOO_MANY_HEADERS",
        /// A header field longer than the limit was cut.
        HeaderCut = "HEADER_CUT",
        /// More addresses than the limit; the rest was passed over.
        TooManyAddresses = "TOO_MANY_ADDRESSES",
        /// More parts than the limit; the rest was passed over.
        TooManyParts = "TOO_MANY_PARTS",
        /// Parts nested deeper than the limit are kept as attachments.
        NestedTooDeep = "NESTED_TOO_DEEP",
        /// The body was longer than the limit and is shown cut.
        BodyCut = "BODY_CUT",
        /// A multipart that ends without its closing boundary.
        UnclosedPart = "UNCLOSED_PART",
        /// A transfer encoding that is broken in places.
        BrokenEncoding = "BROKEN_ENCODING",
        /// A charset that is not known; it was read as windows-1252.
        UnknownCharset = "UNKNOWN_CHARSET",
        /// Header bytes above ASCII that are not UTF-8.
        EightBitHeader = "EIGHT_BIT_HEADER",
        /// A Date that is none.
        BadDate = "BAD_DATE",
        /// No Message-ID, or none that can be used.
        NoMessageId = "NO_MESSAGE_ID",
        SeveralMessageIds = "SEVERAL_MESSAGE_IDS",
        NoSender = "NO_SENDER",
    }
}

text_enum! {
    /// Signs that a mail's sender may be forged to mislead people or rules; such mail is never linked by itself.
    Suspicion {
        SeveralFromFields = "SEVERAL_FROM_FIELDS",
        /// Several authors and no Sender that says who sent it.
        SeveralAuthors = "SEVERAL_AUTHORS",
        ControlInAddress = "CONTROL_IN_ADDRESS",
        /// The sender's display name holds another address than the sender's.
        NameLooksLikeAddress = "NAME_LOOKS_LIKE_ADDRESS",
    }
}

/// A mail, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedMail {
    /// Without angle brackets, at most 255 bytes.
    pub message_id: Option<String>,
    /// Message-IDs without angle brackets.
    pub in_reply_to: Vec<String>,
    /// The last 20, oldest first, without angle brackets.
    pub references: Vec<String>,
    /// The Date header, if it is a real date.
    pub date: Option<Time>,
    /// All authors, of all From fields.
    pub from: Vec<Address>,
    pub sender: Option<Address>,
    pub reply_to: Vec<Address>,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub bcc: Vec<Address>,
    /// On one line, without control and bidi characters; perhaps empty.
    pub subject: String,
    /// `None`: it has no plain text of its own.
    pub body_text: Option<String>,
    /// As it came; it must be cleaned before anyone sees it.
    pub body_html: Option<String>,
    pub attachments: Vec<ParsedAttachment>,
    pub has_received_header: bool,
    /// Why it is automatic (R18); `None`: a person seems to have written it.
    pub automatic: Option<AutomaticKind>,
    pub bounce: Option<BounceFacts>,
    /// Whom its vCard attachments are about.
    pub cards: Vec<Card>,
    pub suspicions: Vec<Suspicion>,
    pub problems: Vec<MailProblem>,
    /// Equal for copies of one message, different for any two messages: by Message-ID and a hash of From, Date,
    /// Subject and decoded content; without a Message-ID, by all bytes.
    pub content_key: [u8; 32],
}

/// A part that is not shown as the mail's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedAttachment {
    /// For `part_bytes`; that of a file in a `winmail.dat`, or in a text, is beyond all parts'.
    pub part_index: usize,
    /// A file name without path, control and bidi characters; never empty.
    pub name: String,
    /// In lower case.
    pub media_type: String,
    /// Decoded.
    pub size_bytes: u64,
    /// Without angle brackets; `cid:` in the HTML refers to it.
    pub content_id: Option<String>,
    pub is_inline: bool,
}

/// The decoded bytes of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartBytes {
    pub name: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl ParsedMail {
    fn unparsed(raw: &[u8]) -> Self {
        Self {
            message_id: None,
            in_reply_to: Vec::new(),
            references: Vec::new(),
            date: None,
            from: Vec::new(),
            sender: None,
            reply_to: Vec::new(),
            to: Vec::new(),
            cc: Vec::new(),
            bcc: Vec::new(),
            subject: String::new(),
            body_text: None,
            body_html: None,
            attachments: Vec::new(),
            has_received_header: false,
            automatic: None,
            bounce: None,
            cards: Vec::new(),
            suspicions: Vec::new(),
            problems: vec![MailProblem::Unparsed],
            content_key: key::of_raw(raw),
        }
    }

    /// The first author.
    pub fn author(&self) -> Option<&Address> {
        self.from.first()
    }
}

/// Reads a mail. Never fails: what can't be read is noted among its problems.
pub fn parse(raw: &[u8]) -> ParsedMail {
    // mail-parser is not known to panic on single fields; if it ever does, that is one mail's problem.
    catch_unwind(AssertUnwindSafe(|| parse_unguarded(raw)))
        .unwrap_or_else(|_| ParsedMail::unparsed(raw))
}

fn parse_unguarded(raw: &[u8]) -> ParsedMail {
    let mut problems = Vec::new();
    let tree = entity::walk(raw, &mut problems);
    let head = headers::read(&tree, &mut problems);
    let content = bodies::read(&tree, &mut problems);
    let bounce = bounce::read(&tree, &content);
    let automatic = automatic::judge(&tree, &head, bounce.as_ref());
    let content_key = key::of_content(raw, &head, &content.content_hash);
    problems.sort_unstable();
    problems.dedup();
    ParsedMail {
        message_id: head.message_id,
        in_reply_to: head.in_reply_to,
        references: head.references,
        date: head.date,
        from: head.from,
        sender: head.sender,
        reply_to: head.reply_to,
        to: head.to,
        cc: head.cc,
        bcc: head.bcc,
        subject: head.subject,
        body_text: content.text,
        body_html: content.html,
        attachments: content.attachments,
        has_received_header: head.has_received_header,
        automatic,
        bounce,
        cards: cards(&tree),
        suspicions: head.suspicions,
        problems,
        content_key,
    }
}

/// vCards of one mail: what people attach to introduce somebody. The rest of an address book is passed over.
const CARDS_MAX: usize = 20;

fn cards(tree: &Tree<'_>) -> Vec<Card> {
    let mut wrapped = 0;
    tree.leaves()
        .filter(|part| {
            wrapped += usize::from(contained::is_wrapped(part));
            !contained::is_wrapped(part) || wrapped <= contained::WRAPPED_MAX
        })
        .flat_map(cards_in)
        .take(CARDS_MAX)
        .collect()
}

fn cards_in(part: &entity::Part<'_>) -> Vec<Card> {
    if contained::is_wrapped(part) {
        let files = contained::files(part).into_iter();
        return files
            .filter(|file| vcard::is_vcard(&file.media_type, &file.name))
            .flat_map(|file| vcard::parse(&file.bytes))
            .take(CARDS_MAX)
            .collect();
    }
    if vcard::is_vcard(&part.media_type, &part.file_name()) {
        return vcard::parse(&decode::transfer(part, &mut Vec::new()));
    }
    Vec::new()
}

/// The decoded bytes of a part by its `part_index`. `None`: the mail has no such leaf.
pub fn part_bytes(raw: &[u8], part_index: usize) -> Option<PartBytes> {
    parts_bytes(raw, &[part_index]).pop()
}

/// The decoded bytes of several parts, by one walk through the mail; without those that are no leaves.
pub fn parts_bytes(raw: &[u8], part_indexes: &[usize]) -> Vec<PartBytes> {
    catch_unwind(AssertUnwindSafe(|| {
        let tree: Tree<'_> = entity::walk(raw, &mut Vec::new());
        let mut found = Vec::new();
        // What stands in one part is listed together, and that part is opened once.
        let mut opened: Option<(usize, Vec<PartBytes>)> = None;
        for (index, nth) in part_indexes.iter().map(|index| contained::place(*index)) {
            let Some(part) = tree.parts.get(index).filter(|part| !part.is_container) else {
                continue;
            };
            let Some(before) = nth.checked_sub(1) else {
                found.push(PartBytes {
                    name: part.file_name(),
                    media_type: part.media_type.clone(),
                    bytes: decode::transfer(part, &mut Vec::new()).into_owned(),
                });
                continue;
            };
            if opened.as_ref().is_none_or(|(of, _)| *of != index) {
                opened = Some((index, contained::files(part)));
            }
            let files = opened.as_ref().map(|(_, files)| files.as_slice());
            found.extend(files.and_then(|files| files.get(before)).cloned());
        }
        found
    }))
    .unwrap_or_default()
}

/// What a mail carries beside its words.
pub fn extras(raw: &[u8]) -> Extras {
    catch_unwind(AssertUnwindSafe(|| {
        extras::read(&entity::walk(raw, &mut Vec::new()))
    }))
    .unwrap_or_default()
}

/// The header block as text, to be shown as it is (R32).
pub fn raw_headers(raw: &[u8]) -> String {
    let block = raw.get(..fields::block_end(raw)).unwrap_or_default();
    let block = block.get(..RAW_HEADERS_BYTES_MAX).unwrap_or(block);
    decode::readable(block).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests;
