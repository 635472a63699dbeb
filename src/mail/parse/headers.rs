//! What the header of a mail says: who, to whom, when, about what, in answer to what.
//! Not for: MIME fields (`entity`), signs of automatic mail (`automatic`).

use super::decode;
use super::entity::Tree;
use super::fields::{FIELD_BYTES_MAX, Field, Fields};
use super::{MailProblem, Suspicion};
use crate::mail::address::AddressKey;
use crate::model::Time;
use crate::model::email::Address;
use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

/// Bytes of a Subject field; some programs put whole letters in it.
const SUBJECT_FIELD_BYTES_MAX: usize = 8 * 1024;

/// Bytes of the subject that is kept.
const SUBJECT_BYTES_MAX: usize = 2000;

/// Addresses of one role.
const ADDRESSES_MAX: usize = 2000;

/// By RFC 5321 an address has at most 320 bytes.
const ADDRESS_BYTES_MAX: usize = 320;

/// A display name is one line of a list.
const NAME_BYTES_MAX: usize = 255;

/// A longer Message-ID can't be a database key; no program makes such.
const MESSAGE_ID_BYTES_MAX: usize = 255;

/// A thread's parent is always among the last.
const REFERENCES_MAX: usize = 20;

/// What the header says.
pub(super) struct Head {
    pub(super) message_id: Option<String>,
    pub(super) in_reply_to: Vec<String>,
    pub(super) references: Vec<String>,
    pub(super) date: Option<Time>,
    pub(super) from: Vec<Address>,
    pub(super) sender: Option<Address>,
    pub(super) reply_to: Vec<Address>,
    pub(super) to: Vec<Address>,
    pub(super) cc: Vec<Address>,
    pub(super) bcc: Vec<Address>,
    pub(super) subject: String,
    pub(super) has_received_header: bool,
    pub(super) suspicions: Vec<Suspicion>,
}

pub(super) fn read(tree: &Tree<'_>, problems: &mut Vec<MailProblem>) -> Head {
    let none = Fields::default();
    let fields = tree.root().map_or(&none, |root| &root.fields);
    let from = addresses(fields, "From", problems);
    let sender = addresses(fields, "Sender", problems).into_iter().next();
    if from.is_empty() {
        problems.push(MailProblem::NoSender);
    }
    let suspicions = suspicions(fields, &from, sender.as_ref());
    Head {
        message_id: message_id(fields, problems),
        in_reply_to: ids(fields, "In-Reply-To", problems),
        references: ids(fields, "References", problems),
        date: date(fields, problems),
        reply_to: addresses(fields, "Reply-To", problems),
        to: addresses(fields, "To", problems),
        cc: addresses(fields, "Cc", problems),
        bcc: addresses(fields, "Bcc", problems),
        subject: subject(fields, problems),
        has_received_header: fields.has("Received"),
        from,
        sender,
        suspicions,
    }
}

fn subject(fields: &Fields<'_>, problems: &mut Vec<MailProblem>) -> String {
    let Some(field) = fields.first("Subject") else {
        return String::new();
    };
    let text = field.parsable(SUBJECT_FIELD_BYTES_MAX, problems);
    let decoded = match MessageStream::new(&text).parse_unstructured() {
        HeaderValue::Text(decoded) => decoded.into_owned(),
        _ => String::new(),
    };
    cut(decode::one_line(&decoded), SUBJECT_BYTES_MAX)
}

/// All addresses of all fields of that name. Names without an address are left out.
fn addresses(
    fields: &Fields<'_>,
    name: &'static str,
    problems: &mut Vec<MailProblem>,
) -> Vec<Address> {
    let mut found = Vec::new();
    for field in fields.some(name, problems) {
        let text = field.parsable(FIELD_BYTES_MAX, problems);
        let HeaderValue::Address(list) = MessageStream::new(&text).parse_address() else {
            continue;
        };
        for entry in list.iter() {
            let Some(address) = entry.address.as_deref().and_then(clean_address) else {
                continue;
            };
            if found.len() >= ADDRESSES_MAX {
                problems.push(MailProblem::TooManyAddresses);
                return found;
            }
            let name = entry
                .name
                .as_deref()
                .map(decode::one_line)
                .filter(|name| !name.is_empty());
            found.push(Address {
                name: name.map(|name| cut(name, NAME_BYTES_MAX)),
                address,
            });
        }
    }
    found
}

fn clean_address(address: &str) -> Option<String> {
    let clean: String = address
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    let clean = clean.trim();
    (!clean.is_empty() && clean.len() <= ADDRESS_BYTES_MAX).then(|| clean.to_owned())
}

fn suspicions(fields: &Fields<'_>, from: &[Address], sender: Option<&Address>) -> Vec<Suspicion> {
    let mut found = Vec::new();
    if fields.all("From").count() > 1 {
        found.push(Suspicion::SeveralFromFields);
    }
    if from.len() > 1 && sender.is_none() {
        found.push(Suspicion::SeveralAuthors);
    }
    let senders = || fields.all("From").chain(fields.all("Sender"));
    if senders().any(has_control) {
        found.push(Suspicion::ControlInAddress);
    }
    if from.iter().any(names_another) {
        found.push(Suspicion::NameLooksLikeAddress);
    }
    found
}

fn has_control(field: &Field<'_>) -> bool {
    field
        .value
        .iter()
        .any(|byte| byte.is_ascii_control() && !b"\r\n\t".contains(byte))
}

/// Whether the display name holds an address, and another one than the real one.
fn names_another(address: &Address) -> bool {
    let Some(name) = &address.name else {
        return false;
    };
    let own = AddressKey::parse(&address.address);
    let words =
        name.split(|letter: char| letter.is_whitespace() || "<>()[]\"',;:".contains(letter));
    words
        .filter(|word| word.contains('@'))
        .filter_map(AddressKey::parse)
        .any(|key| {
            // A name like "Anna@Home" is no address.
            key.domain().contains('.') && Some(&key) != own.as_ref()
        })
}

fn message_id(fields: &Fields<'_>, problems: &mut Vec<MailProblem>) -> Option<String> {
    if fields.all("Message-ID").count() > 1 {
        problems.push(MailProblem::SeveralMessageIds);
    }
    let found = fields
        .some("Message-ID", problems)
        .find_map(|field| ids_of(field, problems).into_iter().next());
    if found.is_none() {
        problems.push(MailProblem::NoMessageId);
    }
    found
}

/// The last Message-IDs of all fields of that name, each once.
fn ids(fields: &Fields<'_>, name: &'static str, problems: &mut Vec<MailProblem>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for field in fields.some(name, problems) {
        found.extend(ids_of(field, problems));
    }
    let surplus = found.len().saturating_sub(REFERENCES_MAX);
    found.drain(..surplus);
    let mut unique: Vec<String> = Vec::with_capacity(found.len());
    for id in found {
        if !unique.contains(&id) {
            unique.push(id);
        }
    }
    unique
}

fn ids_of(field: &Field<'_>, problems: &mut Vec<MailProblem>) -> Vec<String> {
    let text = field.parsable(FIELD_BYTES_MAX, problems);
    let is_bracketed = text.contains(&b'<');
    let found: Vec<String> = match MessageStream::new(&text).parse_id() {
        HeaderValue::Text(id) if is_bracketed => vec![id.into_owned()],
        // Without brackets only what looks like an id counts: "Your mail of Monday" is none.
        HeaderValue::Text(text) => text
            .split_whitespace()
            .filter(|word| word.contains('@'))
            .map(str::to_owned)
            .collect(),
        HeaderValue::TextList(ids) => ids.into_iter().map(|id| id.into_owned()).collect(),
        _ => Vec::new(),
    };
    found.iter().filter_map(|id| clean_id(id)).collect()
}

fn clean_id(id: &str) -> Option<String> {
    let clean: String = id
        .chars()
        .filter(|letter| !letter.is_control() && !letter.is_whitespace() && !"<>".contains(*letter))
        .collect();
    (!clean.is_empty() && clean.len() <= MESSAGE_ID_BYTES_MAX).then_some(clean)
}

fn date(fields: &Fields<'_>, problems: &mut Vec<MailProblem>) -> Option<Time> {
    let field = fields.first("Date")?;
    let text = field.parsable(SUBJECT_FIELD_BYTES_MAX, problems);
    let found = match MessageStream::new(&text).parse_date() {
        HeaderValue::DateTime(found) if has_real_zone(&text) => real_time(&found),
        _ => None,
    };
    if found.is_none() {
        problems.push(MailProblem::BadDate);
    }
    found
}

/// mail-parser's zone has one byte for the hours, so "+9959" would come out as some other zone.
fn has_real_zone(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.split_whitespace().all(|word| {
        let digits = word
            .strip_prefix(['+', '-'])
            .filter(|digits| digits.len() == 4);
        match digits.and_then(|digits| digits.parse::<u16>().ok()) {
            Some(zone) => zone / 100 <= 14 && zone % 100 < 60,
            None => true,
        }
    })
}

/// mail-parser makes days like 99 of garbage, so every figure is checked against the calendar.
fn real_time(found: &mail_parser::DateTime) -> Option<Time> {
    let day = chrono::NaiveDate::from_ymd_opt(
        i32::from(found.year),
        u32::from(found.month),
        u32::from(found.day),
    )?;
    // A leap second is the last one of its minute.
    let second = u32::from(
        found
            .second
            .min(if found.second == 60 { 59 } else { found.second }),
    );
    let moment = day.and_hms_opt(u32::from(found.hour), u32::from(found.minute), second)?;
    let is_zone = found.tz_hour <= 14 && found.tz_minute < 60;
    let is_plausible = (1900..=3000).contains(&found.year);
    let offset = i64::from(found.tz_hour) * 3600 + i64::from(found.tz_minute) * 60;
    let offset = if found.tz_before_gmt { offset } else { -offset };
    (is_zone && is_plausible)
        .then(|| Time::from_seconds(moment.and_utc().timestamp()).plus_seconds(offset))
}

/// Cuts at a character's end.
fn cut(mut text: String, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
