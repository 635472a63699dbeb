//! vCards: whom a card is about (RFC 6350 and 2426, and the version 2.1 that telephones write).
//! A bad card is data: what can be read of it is read. Not for: what is made of a card, or writing cards.

use super::address::AddressKey;

/// Bytes of a file that are looked at: a card with a photo has some 100 KiB.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Cards of one file. A whole address book that somebody mails is no introduction.
const CARDS_MAX: usize = 20;

/// A longer line holds a photo or a key, which is passed over.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Addresses, and telephones, of one person.
const ENTRIES_MAX: usize = 10;

/// A name is one line of a list.
const NAME_CHARS_MAX: usize = 200;

/// A telephone number, with its extension and whatever people write around it.
const PHONE_CHARS_MAX: usize = 50;

/// One person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// `None`: the card has no name that can be read.
    pub name: Option<String>,
    /// Canonical, each once.
    pub addresses: Vec<String>,
    pub phones: Vec<String>,
    pub company: Option<String>,
}

/// A property as it stands: `TEL;TYPE=cell:+49 30 1234`.
struct Property<'a> {
    /// In upper case, without its group.
    name: String,
    /// In upper case.
    parameters: String,
    value: &'a str,
}

/// Whether a part of a mail is a vCard, by its media type or its file name.
pub fn is_vcard(media_type: &str, file_name: &str) -> bool {
    let is_text = matches!(
        media_type,
        "text/vcard" | "text/x-vcard" | "text/directory" | "application/vcard"
    );
    let has_name = file_name.to_lowercase().ends_with(".vcf");
    is_text || (has_name && matches!(media_type, "application/octet-stream" | "text/plain"))
}

/// The cards of a file, in its order. What is no card gives none.
pub fn parse(file: &[u8]) -> Vec<Card> {
    let file = file.get(..FILE_BYTES_MAX).unwrap_or(file);
    let text = text_of(file);
    let mut cards = Vec::new();
    let mut names = (None, None);
    let mut open: Option<Card> = None;
    for line in unfolded(&text) {
        let Some(property) = property_of(&line) else {
            continue;
        };
        let about_card = property.value.trim().eq_ignore_ascii_case("VCARD");
        match (property.name.as_str(), &mut open) {
            ("BEGIN", _) if about_card => {
                open = Some(Card::default());
                names = (None, None);
            }
            ("END", Some(card)) if about_card => {
                card.name = names.0.take().or_else(|| names.1.take());
                cards.extend(open.take());
                if cards.len() >= CARDS_MAX {
                    break;
                }
            }
            (_, Some(card)) => take(card, &mut names, &property),
            (_, None) => {}
        }
    }
    cards
}

/// Takes what a property says into the card; `names`: by FN, and by N.
fn take(card: &mut Card, names: &mut (Option<String>, Option<String>), property: &Property<'_>) {
    let value = decoded(property);
    match property.name.as_str() {
        "FN" => set(&mut names.0, one_line(&unescaped(&value), NAME_CHARS_MAX)),
        "N" => set(&mut names.1, structured_name(&value)),
        "ORG" => {
            let first = components(&value).into_iter().next().unwrap_or_default();
            set(&mut card.company, one_line(&first, NAME_CHARS_MAX));
        }
        "EMAIL" => {
            let value = unescaped(&value);
            let address = less_scheme(&value, "mailto:");
            if let Some(key) = AddressKey::parse(address) {
                add(&mut card.addresses, key.into_string());
            }
        }
        "TEL" => {
            let value = unescaped(&value);
            let number = less_scheme(&value, "tel:");
            let has_digit = number.contains(|letter: char| letter.is_ascii_digit());
            let number = one_line(number, PHONE_CHARS_MAX).filter(|_| has_digit);
            if let Some(number) = number {
                add(&mut card.phones, number);
            }
        }
        _ => {}
    }
}

/// The first that says something counts.
fn set(place: &mut Option<String>, found: Option<String>) {
    if place.is_none() {
        *place = found;
    }
}

fn add(list: &mut Vec<String>, found: String) {
    if list.len() < ENTRIES_MAX && !list.contains(&found) {
        list.push(found);
    }
}

/// "Family;Given;Additional;Prefixes;Suffixes" as people say it.
fn structured_name(value: &str) -> Option<String> {
    let parts = components(value);
    let part = |place: usize| parts.get(place).cloned().unwrap_or_default();
    one_line(
        &format!("{} {} {}", part(1), part(2), part(0)),
        NAME_CHARS_MAX,
    )
}

/// UTF-8, or Latin-1 where it is not.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{FEFF}').to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// The lines with their folded ends. Those of version 2.1 end in "=" where quoted-printable goes on.
fn unfolded(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut is_soft = false;
    for line in text.lines() {
        let is_folded = line.starts_with([' ', '\t']);
        match lines.last_mut() {
            Some(last) if is_folded || is_soft => {
                if last.len() < LINE_BYTES_MAX {
                    last.push_str(if is_folded {
                        line.get(1..).unwrap_or_default()
                    } else {
                        line
                    });
                }
            }
            _ => lines.push(line.to_owned()),
        }
        let last = lines.last_mut();
        is_soft = false;
        if let Some(last) = last
            && last.ends_with('=')
            && last.to_ascii_uppercase().contains("QUOTED-PRINTABLE")
        {
            last.pop();
            is_soft = true;
        }
    }
    lines.retain(|line| line.len() < LINE_BYTES_MAX);
    lines
}

fn property_of(line: &str) -> Option<Property<'_>> {
    let mut is_quoted = false;
    let colon = line.find(|letter| {
        is_quoted ^= letter == '"';
        letter == ':' && !is_quoted
    })?;
    let (head, value) = line.split_at_checked(colon)?;
    let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
    let name = name.rsplit('.').next().unwrap_or(name);
    Some(Property {
        name: name.trim().to_ascii_uppercase(),
        parameters: parameters.to_ascii_uppercase(),
        value: value.strip_prefix(':').unwrap_or(value),
    })
}

/// The value less its transfer encoding.
fn decoded(property: &Property<'_>) -> String {
    if !property.parameters.contains("QUOTED-PRINTABLE") {
        return property.value.to_owned();
    }
    let mut bytes = Vec::with_capacity(property.value.len());
    let mut rest = property.value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte = (first == b'=').then(|| hex_byte(after)).flatten();
        bytes.push(byte.unwrap_or(first));
        rest = match byte {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    text_of(&bytes)
}

fn hex_byte(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

/// The parts between semicolons that no backslash stands before.
fn components(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        let Some(part) = parts.last_mut() else { break };
        match letter {
            '\\' => {
                part.push('\\');
                part.extend(letters.next());
            }
            ';' => parts.push(String::new()),
            _ => part.push(letter),
        }
    }
    parts.iter().map(|part| unescaped(part)).collect()
}

fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n' | 'N') => text.push(' '),
                Some(other) => text.push(other),
                None => {}
            },
            _ => text.push(letter),
        }
    }
    text
}

fn less_scheme<'v>(value: &'v str, scheme: &str) -> &'v str {
    let value = value.trim();
    match value.split_at_checked(scheme.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(scheme) => rest,
        _ => value,
    }
}

/// On one line, without control and bidi characters; `None` where nothing is left.
fn one_line(text: &str, chars_max: usize) -> Option<String> {
    let is_bidi = |letter: char| matches!(letter, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let visible: String = text
        .chars()
        .filter(|letter| !is_bidi(*letter))
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().take(chars_max).collect();
    let line = line.trim_end();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn card(name: &str, addresses: &[&str], phones: &[&str], company: Option<&str>) -> Card {
        Card {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            addresses: addresses.iter().map(|&text| text.to_owned()).collect(),
            phones: phones.iter().map(|&text| text.to_owned()).collect(),
            company: company.map(str::to_owned),
        }
    }

    #[test]
    fn r19_cards_of_all_versions_tell_whom_they_are_about() {
        // (what, the lines between BEGIN and END, the card)
        let rows = [
            (
                "version 4.0",
                "VERSION:4.0\r\nFN:Cleo Client\r\nN:Client;Cleo;;;\r\nEMAIL;TYPE=work:Cleo@Client.example\r\nTEL;VALUE=uri;TYPE=\"voice,cell\":tel:+49-30-1234\r\nORG:Client Ltd;Sales\r\n",
                card(
                    "Cleo Client",
                    &["cleo@client.example"],
                    &["+49-30-1234"],
                    Some("Client Ltd"),
                ),
            ),
            (
                "version 3.0, folded, grouped and escaped",
                "VERSION:3.0\r\nitem1.FN:Cleo\r\n  Client\\, PhD\r\nitem1.EMAIL;type=INTERNET;type=pref:mailto:cleo@client.\r\n example\r\nORG:Client\\; Sons\\, Ltd\r\n",
                card(
                    "Cleo Client, PhD",
                    &["cleo@client.example"],
                    &[],
                    Some("Client; Sons, Ltd"),
                ),
            ),
            (
                "version 2.1 of a telephone",
                "VERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6=\r\nrg;;;\r\nTEL;CELL:0171 234\r\nEMAIL:joerg@client.example\r\n",
                card(
                    "Jörg Müller",
                    &["joerg@client.example"],
                    &["0171 234"],
                    None,
                ),
            ),
            (
                "Latin-1 in quoted-printable",
                "N;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;Jo;;;\n",
                card("Jo Müller", &[], &[], None),
            ),
            (
                "two of each, and one of them twice",
                "FN:A\nEMAIL:a@x.example\nEMAIL:A@X.example\nEMAIL:b@x.example\nTEL:1\nTEL:2\n",
                card("A", &["a@x.example", "b@x.example"], &["1", "2"], None),
            ),
            (
                "the first name counts, FN before N",
                "N:Last;First\nFN:\nFN:Full Name\nFN:Other\n",
                card("Full Name", &[], &[], None),
            ),
            (
                "no addresses that are any",
                "FN:A\nEMAIL:not an address\nEMAIL:\nTEL:call me\n",
                card("A", &[], &[], None),
            ),
            ("nothing", "", card("", &[], &[], None)),
            (
                "a photo of megabytes is passed over",
                &format!(
                    "PHOTO;ENCODING=b:{}\n {}\nFN:A\n",
                    "A".repeat(9_000),
                    "B".repeat(9_000)
                ),
                card("A", &[], &[], None),
            ),
            (
                "controls and bidi marks leave",
                "FN:A\u{202E}B\u{0}C\\nD\n",
                card("AB C D", &[], &[], None),
            ),
        ];
        for (what, lines, expected) in rows {
            let file = format!("BEGIN:VCARD\r\n{lines}END:VCARD\r\n");
            assert_eq!(parse(file.as_bytes()), [expected], "{what}");
        }
    }

    #[test]
    fn r19_what_is_no_card_gives_none() {
        let many = "BEGIN:VCARD\nFN:A\nEND:VCARD\n".repeat(100);
        // (what, file, how many cards)
        let rows: [(&str, &[u8], usize); 8] = [
            ("nothing", b"", 0),
            ("text", b"Hello\nFN:A\nEMAIL:a@x.example\n", 0),
            ("a card that never ends", b"BEGIN:VCARD\nFN:A\n", 0),
            ("an end without a card", b"END:VCARD\n", 0),
            ("a calendar", b"BEGIN:VCALENDAR\nEND:VCALENDAR\n", 0),
            (
                "a card after rubbish",
                b"\xff\xfe\nBEGIN:VCARD\nFN:A\nEND:VCARD",
                1,
            ),
            (
                "two cards, in any case",
                b"begin:vcard\nend:vcard\nBegin:vCard\nEnd:vCard\n",
                2,
            ),
            ("an address book", many.as_bytes(), CARDS_MAX),
        ];
        for (what, file, count) in rows {
            assert_eq!(parse(file).len(), count, "{what}");
        }
    }

    #[test]
    fn r19_cards_are_known_by_type_or_name() {
        // (media type, file name, whether it is a card)
        let rows = [
            ("text/vcard", "part.txt", true),
            ("text/x-vcard", "cleo.vcf", true),
            ("application/octet-stream", "Cleo.VCF", true),
            ("application/octet-stream", "cleo.pdf", false),
            ("image/png", "cleo.vcf", false),
            ("text/plain", "notes.txt", false),
        ];
        for (media_type, name, expected) in rows {
            assert_eq!(is_vcard(media_type, name), expected, "{media_type} {name}");
        }
    }

    proptest! {
        #[test]
        fn r19_no_bytes_are_too_bad(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut file = b"BEGIN:VCARD\nFN;ENCODING=QUOTED-PRINTABLE:".to_vec();
            file.extend(&bytes);
            file.extend(b"\nEND:VCARD\n");
            for card in parse(&file).into_iter().chain(parse(&bytes)) {
                prop_assert!(card.name.is_none_or(|name| !name.contains(char::is_control)));
            }
        }
    }
}
