//! Characters as mail programs of several countries still write them.
//! Not for: reading mail (`mail::parse`), nor for every character of a set: only what the demo's texts use.

use super::super::clients::Language;

/// A character set and how its bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Latin1,
    Latin2,
    Windows1251,
    Iso2022Jp,
}

/// How bytes become the lines of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    SevenBit,
    QuotedPrintable,
    Base64,
}

impl Charset {
    /// Its name in a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Latin1 => "iso-8859-1",
            Self::Latin2 => "iso-8859-2",
            Self::Windows1251 => "windows-1251",
            Self::Iso2022Jp => "iso-2022-jp",
        }
    }

    /// The old national set of a language, where it has one here.
    pub const fn national(language: Language) -> Self {
        match language {
            Language::German | Language::French | Language::Spanish => Self::Latin1,
            Language::Polish => Self::Latin2,
            Language::Russian => Self::Windows1251,
            Language::Japanese => Self::Iso2022Jp,
            Language::English | Language::Arabic => Self::Utf8,
        }
    }

    /// The text's bytes; `None` if a character has no place in this set.
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Latin1 => text.chars().map(latin1).collect(),
            Self::Latin2 => text.chars().map(latin2).collect(),
            Self::Windows1251 => text.chars().map(windows_1251).collect(),
            Self::Iso2022Jp => iso_2022_jp(text),
        }
    }

    /// How its bytes are best carried: what is mostly readable stays so.
    pub const fn transfer(self, language: Language) -> Transfer {
        match (self, language) {
            (Self::Iso2022Jp, _) => Transfer::SevenBit,
            (_, Language::Russian | Language::Japanese | Language::Arabic) => Transfer::Base64,
            _ => Transfer::QuotedPrintable,
        }
    }
}

fn latin1(character: char) -> Option<u8> {
    u8::try_from(u32::from(character))
        .ok()
        .filter(|byte| !(0x80..0xA0).contains(byte))
}

/// ISO 8859-2 places of the Polish letters; the rest of its upper half the demo never writes.
const LATIN2: [(char, u8); 18] = [
    ('Ą', 0xA1),
    ('Ł', 0xA3),
    ('Ś', 0xA6),
    ('Ź', 0xAC),
    ('Ż', 0xAF),
    ('ą', 0xB1),
    ('ł', 0xB3),
    ('ś', 0xB6),
    ('ź', 0xBC),
    ('ż', 0xBF),
    ('Ć', 0xC6),
    ('Ę', 0xCA),
    ('Ń', 0xD1),
    ('Ó', 0xD3),
    ('ć', 0xE6),
    ('ę', 0xEA),
    ('ń', 0xF1),
    ('ó', 0xF3),
];

fn latin2(character: char) -> Option<u8> {
    if character.is_ascii() {
        return u8::try_from(character).ok();
    }
    LATIN2
        .iter()
        .find(|(letter, _)| *letter == character)
        .map(|(_, byte)| *byte)
}

fn windows_1251(character: char) -> Option<u8> {
    match character {
        'А'..='я' => u8::try_from(u32::from(character) - 0x0410 + 0xC0).ok(),
        'Ё' => Some(0xA8),
        'ё' => Some(0xB8),
        '«' => Some(0xAB),
        '»' => Some(0xBB),
        '—' => Some(0x97),
        _ if character.is_ascii() => u8::try_from(character).ok(),
        _ => None,
    }
}

/// The Japanese characters of the demo, in the order of `JIS`.
const JAPANESE: &str = "、。あいうえおかがきくけごさざしすせただちっつてでとどなにのはばまみめもよらりれろわをん一七上世事五今伊休会伝伺佐修健先入写出前力助口台合含咲品問喫営四圧夏太子小届山工店弁式待必恵手技持教整文新日明時曜月朝期木本来林株業樹橋水注渡珈理琲用由直真知確社積納終置美翔考者花茶荷葉藤行術裏要見設話認調費転辺送通週運部鈴開間電青願高";

/// Their codes in JIS X 0208, two printable bytes each.
const JIS: &str = "!\"!#$\"$$$&$($*$+$,$-$/$1$4$5$6$7$9$;$?$@$A$C$D$F$G$H$I$J$K$N$O$P$^$_$a$b$h$i$j$l$m$o$r$s0l<7>e@$;v8^:#0K5Y2qEA;G:4=$7r@hF~<L=PA0NO=u8}Bf9g4^:iIJLd5J1D;M052FB@;R>.FO;39)E9J[<0BTI,7C<j5;;}65@0J8?7F|L@;~MK7nD+4|LZK\\MhNS3t6H<y66?eCmEO`]M}`jMQM3D>??CN3N<R@QG<=*CVH~fF9M<T2VCc2YMUF#9T=QN\"MW8+@_OCG'D4HqE>JUAwDL=51?ItNk3+4VEE@D4j9b";

fn iso_2022_jp(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut is_japanese = false;
    for character in text.chars() {
        let wants_japanese = !character.is_ascii();
        if wants_japanese != is_japanese {
            bytes.extend_from_slice(if wants_japanese { b"\x1b$B" } else { b"\x1b(B" });
            is_japanese = wants_japanese;
        }
        if wants_japanese {
            let place = JAPANESE.chars().position(|known| known == character)?;
            bytes.extend_from_slice(JIS.as_bytes().get(place * 2..place * 2 + 2)?);
        } else {
            bytes.push(u8::try_from(character).ok()?);
        }
    }
    if is_japanese {
        bytes.extend_from_slice(b"\x1b(B");
    }
    Some(bytes)
}

/// Quoted-printable (RFC 2045) of text whose lines end in CR LF.
pub fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    /// A line's longest with its soft break.
    const LINE_MAX: usize = 76;
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
    let mut column = 0;
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            column = 0;
            rest = rest.get(2..).unwrap_or_default();
            continue;
        }
        let ends_line = after.is_empty() || after.starts_with(b"\r\n");
        let is_plain = matches!(byte, 33..=60 | 62..=126) || (*byte == b' ' && !ends_line);
        let width = if is_plain { 1 } else { 3 };
        if column + width > LINE_MAX - usize::from(!ends_line) {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if is_plain {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("={byte:02X}").as_bytes());
        }
        column += width;
        rest = after;
    }
    out
}

/// Base64 in lines of 76, each ended by CR LF.
pub fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut out = Vec::with_capacity(text.len() + text.len() / 38 + 2);
    for line in text.as_bytes().chunks(76) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A header's text: as it is if plain, else as encoded words (RFC 2047) in this character set, or in UTF-8.
pub fn header_text(text: &str, charset: Charset) -> String {
    if text.is_ascii() && !text.contains("=?") {
        return text.to_owned();
    }
    let charset = if charset.encode(text).is_some() {
        charset
    } else {
        Charset::Utf8
    };
    let mut words = Vec::new();
    let mut chunk = String::new();
    for character in text.chars() {
        chunk.push(character);
        if encoded_word(&chunk, charset).len() > WORD_MAX {
            // A word may not split a character, so the last one begins the next word.
            chunk.pop();
            words.push(encoded_word(&chunk, charset));
            chunk = character.to_string();
        }
    }
    words.push(encoded_word(&chunk, charset));
    words.join("\r\n ")
}

/// The longest that RFC 2047 allows.
const WORD_MAX: usize = 75;

fn encoded_word(text: &str, charset: Charset) -> String {
    use base64::Engine as _;
    let bytes = charset.encode(text).unwrap_or_default();
    if matches!(charset, Charset::Latin1 | Charset::Latin2) {
        let coded: String = bytes.iter().map(|byte| q_coded(*byte)).collect();
        format!("=?{}?Q?{coded}?=", charset.name())
    } else {
        format!(
            "=?{}?B?{}?=",
            charset.name(),
            base64::engine::general_purpose::STANDARD.encode(bytes)
        )
    }
}

fn q_coded(byte: u8) -> String {
    match byte {
        b' ' => "_".to_owned(),
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        _ => format!("={byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn national_sets_write_their_languages() {
        let rows: [(Charset, &str, &[u8]); 8] = [
            (Charset::Latin1, "Grüße", b"Gr\xFC\xDFe"),
            (Charset::Latin2, "Łódź", b"\xA3\xF3d\xBC"),
            (
                Charset::Windows1251,
                "Ёж — «я»",
                b"\xA8\xE6 \x97 \xAB\xFF\xBB",
            ),
            (Charset::Iso2022Jp, "納期 A", b"\x1b$BG<4|\x1b(B A"),
            (Charset::Iso2022Jp, "、", b"\x1b$B!\"\x1b(B"),
            (Charset::Iso2022Jp, "高", b"\x1b$B9b\x1b(B"),
            (Charset::Iso2022Jp, "plain", b"plain"),
            (Charset::Utf8, "é", b"\xC3\xA9"),
        ];
        for (charset, text, bytes) in rows {
            assert_eq!(charset.encode(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(Charset::Latin1.encode("Łódź"), None);
        assert_eq!(Charset::Iso2022Jp.encode("é"), None);
        assert_eq!(JAPANESE.chars().count() * 2, JIS.len());
    }

    #[test]
    fn quoted_printable_keeps_lines_short_and_trailing_spaces() {
        let rows: [(&[u8], &str); 4] = [
            (b"a=b \r\nc", "a=3Db=20\r\nc"),
            (b"\xFC", "=FC"),
            (b"", ""),
            (b"a b\r\n\r\nc", "a b\r\n\r\nc"),
        ];
        for (bytes, text) in rows {
            assert_eq!(String::from_utf8(quoted_printable(bytes)).unwrap(), text);
        }
        let long = quoted_printable("ü long line of text ".repeat(30).as_bytes());
        let long = String::from_utf8(long).unwrap();
        assert!(long.lines().all(|line| line.len() <= 76), "{long}");
        assert_eq!(
            long.replace("=\r\n", "")
                .replace("=C3=BC", "ü")
                .replace("=20", " "),
            "ü long line of text ".repeat(30)
        );
    }

    #[test]
    fn encoded_words_are_at_most_75_long() {
        for (text, charset) in [
            ("Grüße aus Köln und anderswo, ganz lang", Charset::Latin1),
            ("見積もりのお願い", Charset::Iso2022Jp),
            ("Коммерческое предложение", Charset::Utf8),
            ("𝒳𝒳𝒳𝒳𝒳𝒳𝒳𝒳𝒳𝒳𝒳𝒳", Charset::Latin1),
        ] {
            let words = header_text(text, charset);
            assert!(
                words.is_ascii()
                    && words
                        .split("\r\n ")
                        .all(|word| word.len() <= 75 && word.starts_with("=?")),
                "{words}"
            );
        }
        assert_eq!(header_text("plain", Charset::Latin1), "plain");
    }
}
