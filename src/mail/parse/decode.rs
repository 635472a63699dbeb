//! From encoded bytes to bytes, and from bytes to text. Not for: choosing what to decode.

use super::MailProblem;
use super::entity::{Part, Transfer};
use super::uuencode;
use mail_parser::HeaderValue;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use std::borrow::Cow;

/// How far into HTML its own charset declaration is looked for; browsers look at 1 KB.
const META_BYTES_MAX: usize = 2048;

/// The bytes of a leaf. What is broken is decoded as far as it goes.
pub(super) fn transfer<'a>(part: &Part<'a>, problems: &mut Vec<MailProblem>) -> Cow<'a, [u8]> {
    transfer_bytes(part.body, part.transfer, problems)
}

/// The same for bytes that are only a part of a leaf.
pub(super) fn transfer_bytes<'a>(
    body: &'a [u8],
    transfer: Transfer,
    problems: &mut Vec<MailProblem>,
) -> Cow<'a, [u8]> {
    let decoded = match transfer {
        Transfer::Plain => return Cow::Borrowed(body),
        Transfer::Base64 => base64_decode(body),
        Transfer::QuotedPrintable => quoted_printable_decode(body),
        Transfer::Uuencoded => uuencode::split(body)
            .and_then(|found| found.files.into_iter().next())
            .map(|file| file.bytes.into_owned()),
    };
    Cow::Owned(decoded.unwrap_or_else(|| {
        problems.push(MailProblem::BrokenEncoding);
        match transfer {
            Transfer::Base64 => lenient_base64(body),
            Transfer::Uuencoded => body.to_vec(),
            _ => lenient_quoted_printable(body),
        }
    }))
}

/// Base64 with everything left out that is not of its alphabet. Where much is left out, it is no base64 at all
/// but text that was labelled wrongly, and stays as it is.
fn lenient_base64(body: &[u8]) -> Vec<u8> {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let letters: Vec<u8> = body.iter().copied().filter(is_letter).collect();
    let strays = body
        .iter()
        .filter(|byte| !is_letter(byte) && !b"=\r\n".contains(byte))
        .count();
    if strays > letters.len() / 20 {
        body.to_vec()
    } else {
        base64_decode(&letters).unwrap_or_default()
    }
}

/// Quoted-printable in which a `=` that begins nothing stays as it is.
fn lenient_quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(body.len());
    let mut rest = body;
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'=' {
            decoded.push(*first);
            continue;
        }
        match behind {
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => rest = after,
            [high, low, after @ ..] => {
                let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                match byte {
                    Some(byte) => {
                        decoded.push(byte);
                        rest = after;
                    }
                    None => decoded.push(b'='),
                }
            }
            _ => decoded.push(b'='),
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// The text of a leaf, with line ends `\n` and without NUL.
pub(super) fn text(bytes: &[u8], part: &Part<'_>, problems: &mut Vec<MailProblem>) -> String {
    let declared = part
        .charset
        .clone()
        .or_else(|| meta_charset(bytes, &part.media_type));
    tidy(charset_text(bytes, declared.as_deref(), problems))
}

/// Line ends `\n`, and no NUL.
pub(super) fn tidy(text: String) -> String {
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    };
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

fn charset_text(bytes: &[u8], declared: Option<&str>, problems: &mut Vec<MailProblem>) -> String {
    let declared = declared.map(str::trim).filter(|name| !name.is_empty());
    let is_vague = declared.is_none_or(|name| {
        [
            "us-ascii",
            "ascii",
            "utf-8",
            "utf8",
            "unknown-8bit",
            "x-unknown",
        ]
        .iter()
        .any(|vague| name.eq_ignore_ascii_case(vague))
    });
    // Undeclared and "ASCII" text above 127 is UTF-8 if it can be.
    if is_vague && let Ok(text) = std::str::from_utf8(bytes) {
        return text.trim_start_matches('\u{feff}').to_owned();
    }
    match declared.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decoder) => decoder(bytes),
        None => {
            if let Ok(text) = std::str::from_utf8(bytes)
                && text.is_ascii()
            {
                return text.to_owned();
            }
            problems.push(MailProblem::UnknownCharset);
            windows_1252(bytes)
        }
    }
}

/// The charset that an HTML document declares in itself.
fn meta_charset(bytes: &[u8], media_type: &str) -> Option<String> {
    if media_type != "text/html" {
        return None;
    }
    let head = bytes
        .get(..META_BYTES_MAX)
        .unwrap_or(bytes)
        .to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let (_, after) = head.split_once("charset=")?;
    let name = after.trim_start_matches(['"', '\'', ' ']);
    let name: String = name
        .chars()
        .take_while(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter))
        .collect();
    // UTF-16 can't be what carried this declaration.
    (!name.is_empty() && name.len() <= 45 && !name.starts_with("utf-16")).then_some(name)
}

/// The codepage that stands for nothing said.
pub(super) const WINDOWS_1252: u32 = 1252;

/// Text in a codepage of Windows, by its number; one that is not known is read as windows-1252.
pub(super) fn in_codepage(bytes: &[u8], codepage: u32) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && (text.is_ascii() || codepage == 65_001)
    {
        return text.to_owned();
    }
    charset_decoder(codepage_name(codepage).as_bytes())
        .map_or_else(|| windows_1252(bytes), |decoder| decoder(bytes))
}

/// The same for HTML, which may say its charset itself.
pub(super) fn html_in_codepage(bytes: &[u8], codepage: u32) -> String {
    let declared = meta_charset(bytes, "text/html");
    let name = declared.unwrap_or_else(|| codepage_name(codepage));
    tidy(charset_text(bytes, Some(&name), &mut Vec::new()))
}

fn codepage_name(codepage: u32) -> String {
    match codepage {
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 | 51_949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        10_000 => "macintosh".to_owned(),
        20_866 => "koi8-r".to_owned(),
        21_866 => "koi8-u".to_owned(),
        50_220..=50_222 => "iso-2022-jp".to_owned(),
        51_932 => "euc-jp".to_owned(),
        54_936 => "gb18030".to_owned(),
        65_001 => "utf-8".to_owned(),
        437..=866 => format!("cp{codepage}"),
        28_591..=28_605 => format!("iso-8859-{}", codepage - 28_590),
        other => format!("windows-{other}"),
    }
}

/// Every byte has a meaning in it, so it is the last resort.
pub(super) fn windows_1252(bytes: &[u8]) -> String {
    charset_decoder(b"windows-1252").map_or_else(
        || String::from_utf8_lossy(bytes).into_owned(),
        |decoder| decoder(bytes),
    )
}

/// Bytes to be read by people: UTF-8 or windows-1252.
pub(super) fn readable(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| windows_1252(bytes), str::to_owned)
}

/// Decodes the encoded words of a text.
pub(super) fn encoded_words(text: &str) -> String {
    let line = format!("{text}\n");
    match MessageStream::new(line.as_bytes()).parse_unstructured() {
        HeaderValue::Text(decoded) => decoded.into_owned(),
        _ => text.to_owned(),
    }
}

/// Text for a single line of a list: no control or bidi characters, spaces made single.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut is_gap = false;
    for letter in text.chars() {
        if letter.is_whitespace() {
            is_gap = true;
        } else if !letter.is_control() && !is_invisible_control(letter) {
            if is_gap && !line.is_empty() {
                line.push(' ');
            }
            is_gap = false;
            line.push(letter);
        }
    }
    line
}

/// Characters that turn or hide what stands beside them.
fn is_invisible_control(letter: char) -> bool {
    matches!(letter,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
