//! What a mail carries beside its words: how to leave a list, an invitation, and formats that are not read here.
//! Not for: what the rules judge by (that is in `ParsedMail`).

use super::entity::{Part, Tree};
use super::{contained, decode, uuencode};
use crate::mail::calendar::{self, Invitation};
use crate::text_enum;

/// How far into a text is looked for what is signed or encrypted in it.
const LOOKED_AT_BYTES_MAX: usize = 256 * 1024;

text_enum! {
    /// A format beyond plain MIME. Signed and encrypted mail is shown as what it is, and not read; the files in the others
    /// are given as files of the mail.
    SpecialFormat {
        PgpSigned = "PGP_SIGNED", PgpEncrypted = "PGP_ENCRYPTED", SmimeSigned = "SMIME_SIGNED",
        SmimeEncrypted = "SMIME_ENCRYPTED", Tnef = "TNEF", Uuencoded = "UUENCODED",
    }
}

/// How to leave the list that a mail came by (RFC 2369, 8058).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsubscribe {
    /// `https:` alone.
    pub url: Option<String>,
    /// A `mailto:` address.
    pub mailto: Option<String>,
    /// Whether a POST of `List-Unsubscribe=One-Click` to the address is enough.
    pub is_one_click: bool,
}

/// What a mail carries beside its words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    pub unsubscribe: Option<Unsubscribe>,
    pub invitation: Option<Invitation>,
    /// Each once.
    pub formats: Vec<SpecialFormat>,
}

pub(super) fn read(tree: &Tree<'_>) -> Extras {
    let mut formats: Vec<SpecialFormat> = tree.leaves().flat_map(formats_of).collect();
    formats.sort_unstable();
    formats.dedup();
    let is_calendar = |part: &&Part<'_>| {
        matches!(
            part.media_type.as_str(),
            "text/calendar" | "application/ics"
        )
    };
    Extras {
        unsubscribe: unsubscribe(tree),
        invitation: tree
            .leaves()
            .filter(is_calendar)
            .find_map(|part| calendar::parse(&decode::transfer(part, &mut Vec::new()))),
        formats,
    }
}

fn unsubscribe(tree: &Tree<'_>) -> Option<Unsubscribe> {
    let fields = &tree.root()?.fields;
    let text = fields.first("list-unsubscribe")?.text(&mut Vec::new());
    let mut found = Unsubscribe::default();
    for piece in text.split('<').skip(1) {
        let Some((address, _)) = piece.split_once('>') else {
            continue;
        };
        let address: String = address.split_whitespace().collect();
        let lower = address.to_ascii_lowercase();
        if lower.starts_with("https://") {
            found.url.get_or_insert(address);
        } else if lower.starts_with("mailto:") {
            found.mailto.get_or_insert(address);
        }
    }
    let post = fields.lower("list-unsubscribe-post");
    found.is_one_click = found.url.is_some()
        && post.is_some_and(|post| post.replace(' ', "") == "list-unsubscribe=one-click");
    (found.url.is_some() || found.mailto.is_some()).then_some(found)
}

fn formats_of(part: &Part<'_>) -> Vec<SpecialFormat> {
    let is_signed_data = || {
        let kind = part.fields.lower("content-type").unwrap_or_default();
        kind.contains("signed-data") || kind.contains("certs-only")
    };
    let found = match part.media_type.as_str() {
        "application/pgp-signature" => SpecialFormat::PgpSigned,
        "application/pgp-encrypted" => SpecialFormat::PgpEncrypted,
        "application/pkcs7-signature" | "application/x-pkcs7-signature" => {
            SpecialFormat::SmimeSigned
        }
        "application/pkcs7-mime" | "application/x-pkcs7-mime" if is_signed_data() => {
            SpecialFormat::SmimeSigned
        }
        "application/pkcs7-mime" | "application/x-pkcs7-mime" => SpecialFormat::SmimeEncrypted,
        _ if contained::is_wrapped(part) => SpecialFormat::Tnef,
        "text/plain" => return formats_in_text(part),
        _ => return Vec::new(),
    };
    vec![found]
}

/// What older programs write into the text itself.
fn formats_in_text(part: &Part<'_>) -> Vec<SpecialFormat> {
    let bytes = decode::transfer(part, &mut Vec::new());
    let mut found = Vec::new();
    if uuencode::split(&bytes).is_some() {
        found.push(SpecialFormat::Uuencoded);
    }
    let head = bytes.get(..LOOKED_AT_BYTES_MAX).unwrap_or(&bytes);
    for line in head
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
    {
        match line {
            b"-----BEGIN PGP MESSAGE-----" => found.push(SpecialFormat::PgpEncrypted),
            b"-----BEGIN PGP SIGNED MESSAGE-----" => found.push(SpecialFormat::PgpSigned),
            _ => {}
        }
    }
    found
}
