//! A mail that people write, as bytes. What they typed never becomes a header, a recipient or a command of its own:
//! every field has a type of its own, and control characters are gone before it is made (T42).
//! Not for: whom it goes to and whether (that is `rules`), or sending it (that is `smtp`).

use super::address::AddressKey;
use crate::model::Time;
use crate::model::email::Address;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, MessageBuilder, MultiPart, SinglePart};
use lettre::{Address as Addr, Message};
use std::time::{Duration, UNIX_EPOCH};

/// Servers take about a hundred recipients of one mail; more are a mailing's, which this is not for.
pub const RECIPIENTS_MAX: usize = 100;
/// A display name longer than this is none.
const NAME_CHARS_MAX: usize = 200;
const FILE_NAME_CHARS_MAX: usize = 150;
/// With its name before it, and nowhere to fold it, it is still no longer than a line may be.
const SUBJECT_CHARS_MAX: usize = 900;

/// A file that goes with it.
#[derive(Debug, Clone)]
pub struct OutgoingFile {
    pub name: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// Everything that it says.
#[derive(Debug, Clone)]
pub struct OutgoingMail {
    pub from: Address,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    /// They get it, and nobody reads that they did.
    pub bcc: Vec<Address>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    pub date: Time,
    /// Ids are without angle brackets.
    pub message_id: String,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
    pub files: Vec<OutgoingFile>,
}

/// A mail that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    pub raw: Vec<u8>,
    pub envelope: Envelope,
}

/// Whom the server is told that it is from and for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Envelope {
    pub from: String,
    /// Each once.
    pub recipients: Vec<String>,
}

/// Why no mail can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("It goes to nobody.")]
    NoRecipient,
    #[error("It goes to more than {RECIPIENTS_MAX} addresses.")]
    TooManyRecipients,
    #[error("{0:?} is no address that mail can be sent to.")]
    BadAddress(String),
    #[error("It can't be put into the form of a mail.")]
    Unformed,
}

/// An address that can be written to, as it goes over the wire: its domain in ASCII.
///
/// # Errors
/// `BadAddress`.
pub fn wire_address(address: &str) -> Result<String, ComposeError> {
    parsed(address).map(|address| address.to_string())
}

fn parsed(text: &str) -> Result<Addr, ComposeError> {
    let bad = || ComposeError::BadAddress(shown(text));
    let bare = text.trim();
    let key = AddressKey::parse(bare).ok_or_else(bad)?;
    let (local, _domain) = bare.rsplit_once('@').ok_or_else(bad)?;
    // Addresses beyond ASCII take a server that knows SMTPUTF8, which few do.
    let is_plain = local
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte));
    if !is_plain {
        return Err(bad());
    }
    Addr::new(local, key.domain()).map_err(|_error| bad())
}

/// A typed address within a sentence: short, and on one line.
fn shown(text: &str) -> String {
    one_line(text, 80)
}

/// On one line, without control characters and the unseen ones that turn text round.
fn one_line(text: &str, chars_max: usize) -> String {
    let plain: String = text
        .chars()
        .map(|letter| if is_break(letter) { ' ' } else { letter })
        .filter(|letter| !is_unseen(*letter))
        .take(chars_max)
        .collect();
    plain.trim().to_owned()
}

fn is_break(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

const fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Lines and tabs stay, other control characters go.
fn body(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'))
        .collect()
}

fn mailbox(address: &Address) -> Result<Mailbox, ComposeError> {
    let name = address
        .name
        .as_deref()
        .map(|name| one_line(name, NAME_CHARS_MAX));
    // A name of dots alone is none to many readers, and some break at it.
    let name = name.filter(|name| name.contains(char::is_alphanumeric));
    let name = name.map(|name| name.trim_start_matches(['.', ' ']).to_owned());
    Ok(Mailbox::new(name, parsed(&address.address)?))
}

/// Makes the mail.
///
/// # Errors
/// See [`ComposeError`].
pub fn compose(mail: &OutgoingMail) -> Result<Composed, ComposeError> {
    let all = mail.to.iter().chain(&mail.cc).chain(&mail.bcc);
    let envelope = envelope(&mail.from, all)?;
    let date = u64::try_from(mail.date.seconds()).unwrap_or(0);
    let mut builder = Message::builder()
        .date(UNIX_EPOCH + Duration::from_secs(date))
        .from(mailbox(&mail.from)?)
        .subject(one_line(&mail.subject, SUBJECT_CHARS_MAX))
        .message_id(Some(bracketed(&mail.message_id)));
    for address in &mail.to {
        builder = builder.to(mailbox(address)?);
    }
    for address in &mail.cc {
        builder = builder.cc(mailbox(address)?);
    }
    builder = builder.envelope(lettre_envelope(&envelope)?);
    if let Some(id) = &mail.in_reply_to {
        builder = builder.in_reply_to(bracketed(id));
    }
    if !mail.references.is_empty() {
        let all: Vec<String> = mail.references.iter().map(|id| bracketed(id)).collect();
        builder = builder.references(all.join(" "));
    }
    let message = with_body(builder, mail).map_err(|_error| ComposeError::Unformed)?;
    Ok(Composed {
        raw: message.formatted(),
        envelope,
    })
}

/// An id that came from another's mail may hold anything: what no id holds is left out.
fn bracketed(id: &str) -> String {
    let plain: String = id
        .chars()
        .filter(|letter| letter.is_ascii_graphic() && !"<>".contains(*letter))
        .take(250)
        .collect();
    format!("<{plain}>")
}

/// Whom a mail goes to over the wire: each once, and those who read it hidden too.
///
/// # Errors
/// `NoRecipient`, `TooManyRecipients`, `BadAddress`.
pub fn envelope<'a>(
    from: &Address,
    to: impl IntoIterator<Item = &'a Address>,
) -> Result<Envelope, ComposeError> {
    let mut recipients: Vec<String> = Vec::new();
    for address in to {
        let address = wire_address(&address.address)?;
        if !recipients.contains(&address) {
            recipients.push(address);
        }
    }
    if recipients.is_empty() {
        return Err(ComposeError::NoRecipient);
    }
    if recipients.len() > RECIPIENTS_MAX {
        return Err(ComposeError::TooManyRecipients);
    }
    Ok(Envelope {
        from: wire_address(&from.address)?,
        recipients,
    })
}

fn lettre_envelope(envelope: &Envelope) -> Result<lettre::address::Envelope, ComposeError> {
    let to = envelope
        .recipients
        .iter()
        .map(|address| parsed(address))
        .collect::<Result<Vec<_>, _>>()?;
    lettre::address::Envelope::new(Some(parsed(&envelope.from)?), to)
        .map_err(|_error| ComposeError::NoRecipient)
}

fn with_body(
    builder: MessageBuilder,
    mail: &OutgoingMail,
) -> Result<Message, lettre::error::Error> {
    let text = SinglePart::plain(body(&mail.text));
    let html = mail.html.as_ref().map(|html| SinglePart::html(body(html)));
    if mail.files.is_empty() {
        return match html {
            None => builder.singlepart(text),
            Some(html) => {
                builder.multipart(MultiPart::alternative().singlepart(text).singlepart(html))
            }
        };
    }
    let mut whole = match html {
        None => MultiPart::mixed().singlepart(text),
        Some(html) => {
            let both = MultiPart::alternative().singlepart(text).singlepart(html);
            MultiPart::mixed().multipart(both)
        }
    };
    for file in &mail.files {
        whole = whole.singlepart(attachment(file));
    }
    builder.multipart(whole)
}

fn attachment(file: &OutgoingFile) -> SinglePart {
    let name = file_name(&file.name);
    let bytes = lettre::message::Body::new_with_encoding(
        file.bytes.clone(),
        lettre::message::header::ContentTransferEncoding::Base64,
    );
    // Base64 takes any bytes.
    let bytes = bytes.unwrap_or_else(lettre::message::Body::new);
    Attachment::new(name).body(bytes, content_type(&file.media_type))
}

/// A name that is no path and turns no text round; never empty.
pub fn file_name(name: &str) -> String {
    let plain = one_line(name, FILE_NAME_CHARS_MAX).replace(['/', '\\'], "_");
    if plain.is_empty() || plain.bytes().all(|byte| byte == b'.') {
        "file".to_owned()
    } else {
        plain
    }
}

/// A type as it was given, unless it can't be a file's. A mail within a mail must not be encoded, so it goes as bytes.
pub fn media_type(given: &str) -> String {
    let given = given.trim().to_ascii_lowercase();
    let is_word = |word: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        (1..=60).contains(&word.len()) && word.bytes().all(fits)
    };
    match given.split_once('/') {
        Some((front, behind))
            if is_word(front) && is_word(behind) && !matches!(front, "multipart" | "message") =>
        {
            given
        }
        _ => "application/octet-stream".to_owned(),
    }
}

fn content_type(given: &str) -> ContentType {
    ContentType::parse(&media_type(given)).unwrap_or(ContentType::TEXT_PLAIN)
}

#[cfg(test)]
mod tests;
