//! The inside of a `winmail.dat`: what Outlook wraps a letter and its files in (MS-OXTNEF). One pass, nothing set
//! aside for lengths that the mail claims. Not for: which of its bodies is shown.

use super::contained::{ContainedFile, FILES_MAX};
use super::rtf::{self, Letter};
use super::{decode, entity};
use std::borrow::Cow;

const SIGNATURE: u32 = 0x223e_9f78;

/// Messages inside each other. Each is kept with its files; deeper ones stay in the raw mail.
const DEPTH_MAX: usize = 3;

/// Messages inside, at all depths, and what their bodies may take together, unpacked: each may be packed tightly.
const MESSAGES_MAX: usize = 50;
const BODIES_BYTES_MAX: usize = 8 << 20;

/// Before a message inside stands what kind of object it is.
const INTERFACE_BYTES: usize = 16;

/// Attributes by their numbers.
mod attribute {
    pub(super) const BODY: u32 = 0x0002_800c;
    pub(super) const ATTACHMENT_BEGINS: u32 = 0x0006_9002;
    pub(super) const ATTACHMENT_TITLE: u32 = 0x0001_8010;
    pub(super) const ATTACHMENT_DATA: u32 = 0x0006_800f;
    pub(super) const ATTACHMENT_PROPERTIES: u32 = 0x0006_9005;
    pub(super) const MESSAGE_PROPERTIES: u32 = 0x0006_9003;
    pub(super) const CODEPAGE: u32 = 0x0006_9007;
}

/// Properties by their numbers.
mod property {
    pub(super) const BODY: u16 = 0x1000;
    pub(super) const RTF_COMPRESSED: u16 = 0x1009;
    pub(super) const HTML: u16 = 0x1013;
    pub(super) const INTERNET_CODEPAGE: u16 = 0x3fde;
    pub(super) const DISPLAY_NAME: u16 = 0x3001;
    pub(super) const ATTACHMENT_DATA: u16 = 0x3701;
    pub(super) const ATTACHMENT_SHORT_NAME: u16 = 0x3704;
    pub(super) const ATTACHMENT_LONG_NAME: u16 = 0x3707;
    pub(super) const ATTACHMENT_MEDIA_TYPE: u16 = 0x370e;
    pub(super) const ATTACHMENT_CONTENT_ID: u16 = 0x3712;
}

/// Types of values by their numbers.
mod kind {
    pub(super) const TEXT: u16 = 0x001e;
    pub(super) const WIDE_TEXT: u16 = 0x001f;
    pub(super) const OBJECT: u16 = 0x000d;
    pub(super) const BYTES: u16 = 0x0102;
    pub(super) const SEVERAL: u16 = 0x1000;
}

/// What stands in a `winmail.dat`.
pub(super) struct Tnef<'a> {
    letter: Bodies<'a>,
    pub(super) files: Vec<ContainedFile<'a>>,
    /// Whether all of it was read: nothing is cut off, broken or beyond a limit.
    pub(super) is_whole: bool,
}

/// The bodies of one message, as they stand in it.
#[derive(Default)]
struct Bodies<'a> {
    codepage: u32,
    /// Of the HTML.
    internet_codepage: Option<u32>,
    text: Option<Value<'a>>,
    html: Option<Value<'a>>,
    rtf: Option<&'a [u8]>,
}

/// A file as its attributes come.
#[derive(Default)]
struct Attachment<'a> {
    title: Option<String>,
    short_name: Option<String>,
    long_name: Option<String>,
    display_name: Option<String>,
    media_type: Option<String>,
    content_id: Option<String>,
    bytes: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
}

/// The first value of a property.
#[derive(Clone, Copy)]
struct Value<'a> {
    kind: u16,
    bytes: &'a [u8],
}

/// What may still be read of messages inside.
struct Room {
    messages: usize,
    bodies_bytes: usize,
}

/// Reads what is there. `None`: it is no TNEF.
pub(super) fn read(bytes: &[u8]) -> Option<Tnef<'_>> {
    let mut room = Room {
        messages: MESSAGES_MAX,
        bodies_bytes: BODIES_BYTES_MAX,
    };
    read_at(bytes, 1, &mut room)
}

fn read_at<'a>(bytes: &'a [u8], depth: usize, room: &mut Room) -> Option<Tnef<'a>> {
    let mut input = Input(bytes);
    if input.u32()? != SIGNATURE {
        return None;
    }
    input.u16()?;
    let mut reading = Reading {
        tnef: Tnef {
            letter: Bodies {
                codepage: decode::WINDOWS_1252,
                ..Bodies::default()
            },
            files: Vec::new(),
            is_whole: true,
        },
        attachment: None,
        depth,
        room,
    };
    while let Some((id, data)) = attribute(&mut input) {
        reading.take(id, data);
    }
    reading.tnef.is_whole &= input.is_over();
    reading.end_attachment();
    Some(reading.tnef)
}

/// `None`, and nothing of it is taken: there is no whole one.
fn attribute<'a>(input: &mut Input<'a>) -> Option<(u32, &'a [u8])> {
    let mut ahead = Input(input.0);
    // Of the message, or of an attachment.
    if !matches!(ahead.take(1)?, [1 | 2]) {
        return None;
    }
    let id = ahead.u32()?;
    let length = usize::try_from(ahead.u32()?).ok()?;
    let data = ahead.take(length)?;
    // A sum over the bytes, which half of its writers get wrong.
    ahead.u16()?;
    *input = ahead;
    Some((id, data))
}

struct Reading<'a, 'r> {
    tnef: Tnef<'a>,
    attachment: Option<Attachment<'a>>,
    depth: usize,
    room: &'r mut Room,
}

impl<'a> Reading<'a, '_> {
    fn take(&mut self, id: u32, data: &'a [u8]) {
        let codepage = self.tnef.letter.codepage;
        match id {
            attribute::CODEPAGE => {
                self.tnef.letter.codepage = Input(data).u32().unwrap_or(codepage);
            }
            attribute::BODY => {
                let kind = kind::TEXT;
                let text = Value { kind, bytes: data };
                self.tnef.letter.text.get_or_insert(text);
            }
            attribute::MESSAGE_PROPERTIES => {
                let letter = &mut self.tnef.letter;
                self.tnef.is_whole &= properties(data, &mut |id, value| letter.take(id, value));
            }
            attribute::ATTACHMENT_BEGINS => {
                self.end_attachment();
                self.attachment = Some(Attachment::default());
            }
            _ => {
                let Some(attachment) = &mut self.attachment else {
                    return;
                };
                match id {
                    attribute::ATTACHMENT_TITLE => {
                        let kind = kind::TEXT;
                        let value = Value { kind, bytes: data };
                        attachment.title = value.text(codepage);
                    }
                    attribute::ATTACHMENT_DATA => attachment.bytes = Some(data),
                    attribute::ATTACHMENT_PROPERTIES => {
                        self.tnef.is_whole &=
                            properties(data, &mut |id, value| attachment.take(id, value, codepage));
                    }
                    _ => {}
                }
            }
        }
    }

    fn end_attachment(&mut self) {
        let Some(attachment) = self.attachment.take() else {
            return;
        };
        let name = attachment.name();
        if let Some(message) = attachment.message {
            self.keep_message(&name, message);
            return;
        }
        // What is only a link, or was lost on the way, has no bytes.
        let Some(bytes) = attachment.bytes else {
            self.tnef.is_whole = false;
            return;
        };
        let media_type = attachment.media_type.filter(|said| is_media_type(said));
        self.keep(ContainedFile {
            media_type: media_type.unwrap_or_else(|| entity::media_type_of_name(&name).to_owned()),
            name,
            content_id: attachment.content_id.filter(|id| id.len() <= 255),
            bytes: Cow::Borrowed(bytes),
        });
    }

    fn keep(&mut self, file: ContainedFile<'a>) {
        if self.tnef.files.len() < FILES_MAX {
            self.tnef.files.push(file);
        } else {
            self.tnef.is_whole = false;
        }
    }

    /// A message inside is given as its body in a file, and its own files.
    fn keep_message(&mut self, name: &str, message: &'a [u8]) {
        let has_room = self.depth < DEPTH_MAX && self.room.messages > 0;
        self.room.messages = self.room.messages.saturating_sub(1);
        let inner = has_room
            .then(|| read_at(message, self.depth + 1, self.room))
            .flatten();
        let Some(inner) = inner else {
            self.tnef.is_whole = false;
            return;
        };
        self.tnef.is_whole &= inner.is_whole;
        // What can't be kept need not be read.
        if self.tnef.files.len() >= FILES_MAX {
            self.tnef.is_whole = false;
            return;
        }
        let unpacked_max = self.room.bodies_bytes.min(rtf::RTF_BYTES_MAX);
        let (letter, unpacked) = inner.letter_within(unpacked_max);
        self.room.bodies_bytes = self.room.bodies_bytes.saturating_sub(unpacked);
        let (text, ending) = match letter {
            Some(Letter::Html(html)) => (html, "html"),
            Some(Letter::Text(text)) => (text, "txt"),
            None => (String::new(), "txt"),
        };
        let is_too_much = text.len() > self.room.bodies_bytes;
        self.room.bodies_bytes = self.room.bodies_bytes.saturating_sub(text.len());
        self.tnef.is_whole &= !is_too_much;
        if !text.is_empty() && !is_too_much {
            let name = format!("{name}.{ending}");
            self.keep(ContainedFile {
                media_type: entity::media_type_of_name(&name).to_owned(),
                name,
                content_id: None,
                bytes: Cow::Owned(text.into_bytes()),
            });
        }
        for file in inner.files {
            self.keep(file);
        }
    }
}

impl Tnef<'_> {
    /// What was written: as HTML if it has that, else as text, else what its rich text says.
    pub(super) fn letter(&self) -> Option<Letter> {
        self.letter_within(rtf::RTF_BYTES_MAX).0
    }

    /// The same, and how many bytes of rich text were unpacked for it, of which there may be so many.
    fn letter_within(&self, unpacked_max: usize) -> (Option<Letter>, usize) {
        if let Some(letter) = self.plain_letter() {
            return (Some(letter), 0);
        }
        let rtf = self.letter.rtf;
        let Some(rtf) = rtf.and_then(|packed| rtf::decompress(packed, unpacked_max)) else {
            return (None, 0);
        };
        let letter = Some(rtf::read(&rtf)).filter(|letter| match letter {
            Letter::Html(text) | Letter::Text(text) => is_written(text),
        });
        (letter, rtf.len())
    }

    /// What was written as HTML or text.
    fn plain_letter(&self) -> Option<Letter> {
        let Bodies {
            codepage,
            internet_codepage,
            ..
        } = self.letter;
        let html = self.letter.html.and_then(|html| match html.kind {
            kind::BYTES => {
                let said = internet_codepage.unwrap_or(codepage);
                Some(decode::html_in_codepage(html.bytes, said))
            }
            _ => html.text(codepage),
        });
        if let Some(html) = html.filter(|html| is_written(html)) {
            return Some(Letter::Html(html));
        }
        let text = self.letter.text.and_then(|text| text.text(codepage));
        text.filter(|text| is_written(text)).map(Letter::Text)
    }
}

fn is_written(text: &str) -> bool {
    !text.trim().is_empty()
}

impl<'a> Bodies<'a> {
    fn take(&mut self, id: u16, value: Value<'a>) {
        match id {
            property::BODY => self.text = Some(value),
            property::HTML => self.html = Some(value),
            property::RTF_COMPRESSED if value.kind == kind::BYTES => self.rtf = Some(value.bytes),
            property::INTERNET_CODEPAGE => self.internet_codepage = Input(value.bytes).u32(),
            _ => {}
        }
    }
}

impl<'a> Attachment<'a> {
    fn take(&mut self, id: u16, value: Value<'a>, codepage: u32) {
        match (id, value.kind) {
            (property::ATTACHMENT_DATA, kind::BYTES) => self.bytes = Some(value.bytes),
            (property::ATTACHMENT_DATA, kind::OBJECT) => {
                let object = value.bytes.get(INTERFACE_BYTES..).unwrap_or_default();
                let is_message = Input(object).u32() == Some(SIGNATURE);
                self.message = is_message.then_some(object);
                self.bytes = Some(object);
            }
            (property::ATTACHMENT_LONG_NAME, _) => self.long_name = value.text(codepage),
            (property::ATTACHMENT_SHORT_NAME, _) => self.short_name = value.text(codepage),
            (property::DISPLAY_NAME, _) => self.display_name = value.text(codepage),
            (property::ATTACHMENT_MEDIA_TYPE, _) => {
                let said = value.text(codepage);
                self.media_type = said.map(|said| said.to_ascii_lowercase());
            }
            (property::ATTACHMENT_CONTENT_ID, _) => {
                let id = value.text(codepage);
                let is_around = |letter: char| letter.is_whitespace() || "<>".contains(letter);
                self.content_id = id
                    .map(|id| id.trim_matches(is_around).to_owned())
                    .filter(|id| !id.is_empty());
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        let names = [
            &self.long_name,
            &self.title,
            &self.short_name,
            &self.display_name,
        ];
        let mut names = names.into_iter().flatten();
        names
            .find_map(|name| entity::clean_name(name))
            .unwrap_or_else(|| "attachment".to_owned())
    }
}

fn is_media_type(said: &str) -> bool {
    let is_token = |text: &str| {
        (1..=127).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    said.split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

impl Value<'_> {
    /// `None`: it is no text.
    fn text(self, codepage: u32) -> Option<String> {
        let text = match self.kind {
            kind::TEXT => decode::in_codepage(self.bytes, codepage),
            kind::WIDE_TEXT => {
                let units = self.bytes.chunks_exact(2).map(|pair| match pair {
                    [low, high] => u16::from_le_bytes([*low, *high]),
                    _ => 0,
                });
                char::decode_utf16(units)
                    .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect()
            }
            _ => return None,
        };
        Some(decode::tidy(text.trim_end_matches('\0').to_owned()))
    }
}

/// Gives each property's first value to `take`. Whether all of them could be read.
fn properties<'a>(data: &'a [u8], take: &mut impl FnMut(u16, Value<'a>)) -> bool {
    let mut input = Input(data);
    let Some(count) = input.u32() else {
        return false;
    };
    for _ in 0..count {
        match next_property(&mut input) {
            Some((id, Some(value))) => take(id, value),
            Some((_, None)) => {}
            None => return false,
        }
    }
    true
}

/// A property and its first value, if it has any. `None`: it can't be read, nor what follows.
fn next_property<'a>(input: &mut Input<'a>) -> Option<(u16, Option<Value<'a>>)> {
    let whole_kind = input.u16()?;
    let id = input.u16()?;
    if id >= 0x8000 {
        skip_name(input)?;
    }
    let kind = whole_kind & !kind::SEVERAL;
    let is_long = matches!(
        kind,
        kind::TEXT | kind::WIDE_TEXT | kind::OBJECT | kind::BYTES
    );
    let is_counted = is_long || whole_kind & kind::SEVERAL != 0;
    let count = if is_counted { input.u32()? } else { 1 };
    let mut first = None;
    for _ in 0..count {
        // Each takes at least four bytes, so that a count that is claimed costs no more than what is there.
        let length = match fixed_bytes(kind) {
            _ if is_long => usize::try_from(input.u32()?).ok()?,
            Some(length) => length,
            None => return None,
        };
        let bytes = input.take(length)?;
        input.skip_padding(length);
        first.get_or_insert(Value { kind, bytes });
    }
    Some((id, first))
}

/// What a property is called that has no number of its own.
fn skip_name(input: &mut Input<'_>) -> Option<()> {
    input.take(16)?;
    match input.u32()? {
        0 => input.take(4)?,
        _ => {
            let length = usize::try_from(input.u32()?).ok()?;
            let name = input.take(length)?;
            input.skip_padding(length);
            name
        }
    };
    Some(())
}

/// How long values of a type are whose length is not said.
fn fixed_bytes(kind: u16) -> Option<usize> {
    match kind {
        0x0001 | 0x0002 | 0x0003 | 0x0004 | 0x000a | 0x000b => Some(4),
        0x0005 | 0x0006 | 0x0007 | 0x0014 | 0x0040 => Some(8),
        0x0048 => Some(16),
        _ => None,
    }
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Values begin at multiples of four bytes; the last of all may go without.
    fn skip_padding(&mut self, length: usize) {
        let padding = length.wrapping_neg() % 4;
        self.0 = self.0.get(padding..).unwrap_or_default();
    }

    /// Transports add empty lines and zeros at the end.
    fn is_over(&self) -> bool {
        self.0.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n'))
    }
}
