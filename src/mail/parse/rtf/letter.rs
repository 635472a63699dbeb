//! What rich text says: the HTML that was wrapped in it, or its text. One pass with a stack of groups.

use crate::mail::parse::decode;

/// Groups inside each other. Word writes up to about 20; what is deeper is not read.
const DEPTH_MAX: usize = 200;

/// Fonts that are remembered, for their charsets. Outlook writes dozens.
const FONTS_MAX: usize = 1000;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mail::parse) enum Letter {
    Html(String),
    Text(String),
}

/// Reads rich text as far as it goes.
pub(in crate::mail::parse) fn read(rtf: &[u8]) -> Letter {
    let mut reading = Reading {
        rest: rtf,
        groups: vec![Group::default()],
        codepage: decode::WINDOWS_1252,
        fonts: Vec::new(),
        is_html: false,
        is_optional: false,
        skipped: 0,
        high: None,
        pending: Vec::new(),
        text: String::new(),
    };
    while reading.step().is_some() {}
    reading.flush();
    let text = decode::tidy(reading.text);
    if reading.is_html {
        Letter::Html(text)
    } else {
        Letter::Text(text)
    }
}

/// What a group's text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Shown,
    /// A piece of the HTML that was wrapped.
    Html,
    Fonts,
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    destination: Use,
    /// Inside `\htmlrtf`: for those who show rich text only.
    is_for_rtf: bool,
    font: Option<i32>,
    /// How many letters stand behind each `\u` for those who don't know it.
    replaced: usize,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            destination: Use::Shown,
            is_for_rtf: false,
            font: None,
            replaced: 1,
        }
    }
}

struct Reading<'a> {
    rest: &'a [u8],
    /// Never empty while it is read.
    groups: Vec<Group>,
    codepage: u32,
    /// Numbers and codepages.
    fonts: Vec<(i32, u32)>,
    is_html: bool,
    /// `\*` came: what follows is passed over, unless its word is known.
    is_optional: bool,
    /// Letters that are still to be passed over behind a `\u`.
    skipped: usize,
    /// The first half of a letter of two `\u`.
    high: Option<u16>,
    /// Bytes of letters, in the codepage of the font.
    pending: Vec<u8>,
    text: String,
}

impl Reading<'_> {
    /// `None`: it is over.
    fn step(&mut self) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        match first {
            b'{' => {
                self.flush();
                self.skipped = 0;
                let group = *self.groups.last()?;
                if self.groups.len() >= DEPTH_MAX {
                    return None;
                }
                self.groups.push(group);
            }
            b'}' => {
                self.flush();
                self.skipped = 0;
                self.is_optional = false;
                self.groups.pop();
                self.groups.last()?;
            }
            b'\\' => self.control()?,
            b'\r' | b'\n' | 0 => {}
            byte => self.byte(*byte),
        }
        Some(())
    }

    fn control(&mut self) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        if first.is_ascii_alphabetic() {
            let (word, number) = self.word();
            self.flush();
            return self.obey(word, number);
        }
        self.rest = rest;
        match first {
            b'\'' => {
                let (digits, rest) = rest.split_at_checked(2)?;
                self.rest = rest;
                let digits = std::str::from_utf8(digits).ok();
                if let Some(byte) = digits.and_then(|text| u8::from_str_radix(text, 16).ok()) {
                    self.byte(byte);
                }
            }
            b'*' => self.is_optional = true,
            b'~' => self.letter("\u{a0}"),
            b'_' => self.letter("-"),
            b'\r' | b'\n' => self.letter("\n"),
            b'\\' | b'{' | b'}' => self.byte(*first),
            _ => {}
        }
        Some(())
    }

    /// A word and the number behind it; the space that ends it goes with it.
    fn word(&mut self) -> (&'static str, Option<i32>) {
        let is_digit = |byte: &&u8| byte.is_ascii_digit();
        let letters = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let (word, rest) = self.rest.split_at_checked(letters).unwrap_or_default();
        let is_negative =
            rest.first() == Some(&b'-') && rest.get(1).is_some_and(u8::is_ascii_digit);
        let digits = if is_negative {
            rest.get(1..)
        } else {
            Some(rest)
        }
        .unwrap_or_default();
        let (digits, rest) = digits
            .split_at_checked(digits.iter().take_while(is_digit).count())
            .unwrap_or_default();
        let number = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse::<i32>().ok())
            .map(|number| if is_negative { -number } else { number });
        self.rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let known = WORDS.iter().find(|known| known.as_bytes() == word);
        (known.copied().unwrap_or(""), number)
    }

    fn obey(&mut self, word: &str, number: Option<i32>) -> Option<()> {
        let is_optional = std::mem::take(&mut self.is_optional);
        let count = number.and_then(|number| usize::try_from(number).ok());
        let codepage = self.codepage;
        let group = self.groups.last_mut()?;
        match word {
            "htmltag" if is_optional && self.is_html && group.destination == Use::Shown => {
                group.destination = Use::Html;
            }
            _ if is_optional => group.destination = Use::Nothing,
            "fonttbl" => group.destination = Use::Fonts,
            "colortbl" | "stylesheet" | "info" | "pict" | "object" | "header" | "footer"
            | "headerl" | "headerr" | "headerf" | "footerl" | "footerr" | "footerf" | "fldinst"
            | "mhtmltag" | "nonshppict" | "themedata" => group.destination = Use::Nothing,
            "htmlrtf" => group.is_for_rtf = number != Some(0),
            "fromhtml" => self.is_html = true,
            "ansicpg" => self.codepage = number.and_then(|number| u32::try_from(number).ok())?,
            "f" => group.font = number,
            "plain" => group.font = None,
            "fcharset" if group.destination == Use::Fonts => {
                let font = group.font.zip(number);
                if let Some((font, charset)) = font.filter(|_| self.fonts.len() < FONTS_MAX) {
                    let codepage = codepage_of(charset).unwrap_or(codepage);
                    self.fonts.push((font, codepage));
                }
            }
            "uc" => group.replaced = count.unwrap_or(1).min(16),
            "u" => {
                let skipped = group.replaced;
                // Numbers are of 16 bits with a sign; two of them can be one letter.
                let unit = number.and_then(|number| u16::try_from(number & 0xffff).ok());
                self.skipped = 0;
                self.unicode(unit.unwrap_or(0xfffd));
                self.skipped = skipped;
            }
            "bin" => {
                let length = count.unwrap_or(0).min(self.rest.len());
                self.rest = self.rest.get(length..).unwrap_or_default();
            }
            word => {
                if let Some(text) = text_of(word) {
                    self.letter(text);
                }
            }
        }
        Some(())
    }

    /// A unit of UTF-16; the first of a pair waits for the second.
    fn unicode(&mut self, unit: u16) {
        let high = self.high.take();
        if high.is_none() && matches!(unit, 0xd800..=0xdbff) {
            self.high = Some(unit);
            return;
        }
        for letter in char::decode_utf16(high.into_iter().chain([unit])) {
            let letter = letter.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.letter(letter.encode_utf8(&mut [0; 4]));
        }
    }

    /// Whether what is read now is part of what was written.
    fn is_shown(&self) -> bool {
        self.groups
            .last()
            .is_some_and(|group| match group.destination {
                Use::Shown => !(self.is_html && group.is_for_rtf),
                Use::Html => true,
                Use::Fonts | Use::Nothing => false,
            })
    }

    fn byte(&mut self, byte: u8) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else if self.is_shown() {
            self.pending.push(byte);
        }
    }

    fn letter(&mut self, text: &str) {
        self.flush();
        if self.skipped > 0 {
            self.skipped -= 1;
        } else if self.is_shown() {
            self.text.push_str(text);
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let font = self
            .groups
            .last()
            .and_then(|group| match group.destination {
                Use::Shown => group.font,
                _ => None,
            });
        let of_font = font.and_then(|font| {
            let known = self.fonts.iter().rev().find(|(number, _)| *number == font);
            known.map(|(_, codepage)| *codepage)
        });
        let codepage = of_font.unwrap_or(self.codepage);
        let pending = std::mem::take(&mut self.pending);
        if pending.is_ascii() {
            self.text.extend(pending.into_iter().map(char::from));
        } else {
            self.text.push_str(&decode::in_codepage(&pending, codepage));
        }
    }
}

/// The words that are obeyed; all others say how something looks.
const WORDS: [&str; 49] = [
    "htmltag",
    "mhtmltag",
    "htmlrtf",
    "fromhtml",
    "fonttbl",
    "colortbl",
    "stylesheet",
    "info",
    "pict",
    "object",
    "header",
    "footer",
    "headerl",
    "headerr",
    "headerf",
    "footerl",
    "footerr",
    "footerf",
    "fldinst",
    "nonshppict",
    "themedata",
    "ansicpg",
    "f",
    "plain",
    "fcharset",
    "uc",
    "u",
    "bin",
    "par",
    "line",
    "sect",
    "page",
    "row",
    "tab",
    "cell",
    "emdash",
    "endash",
    "emspace",
    "enspace",
    "bullet",
    "lquote",
    "rquote",
    "ldblquote",
    "rdblquote",
    "zwj",
    "zwnj",
    "ltrmark",
    "rtlmark",
    "qmspace",
];

/// Words that stand for letters.
fn text_of(word: &str) -> Option<&'static str> {
    Some(match word {
        "par" | "line" | "sect" | "page" | "row" => "\n",
        "tab" | "cell" => "\t",
        "emdash" => "\u{2014}",
        "endash" => "\u{2013}",
        "emspace" => "\u{2003}",
        "enspace" => "\u{2002}",
        "qmspace" => "\u{2005}",
        "bullet" => "\u{2022}",
        "lquote" => "\u{2018}",
        "rquote" => "\u{2019}",
        "ldblquote" => "\u{201c}",
        "rdblquote" => "\u{201d}",
        "zwj" => "\u{200d}",
        "zwnj" => "\u{200c}",
        "ltrmark" => "\u{200e}",
        "rtlmark" => "\u{200f}",
        _ => return None,
    })
}

/// The codepage of a font's charset. `None`: that of the whole.
fn codepage_of(charset: i32) -> Option<u32> {
    Some(match charset {
        0 => 1252,
        77 => 10_000,
        128 => 932,
        129 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rich_text_gives_what_was_written() {
        // (rich text, what it says)
        let rows: [(&[u8], Letter); 12] = [
            (br"{\rtf1\ansi\pard Hello,\par world!\par}", text("Hello,\nworld!\n")),
            (br"{\rtf1{\fonttbl{\f0\fswiss Arial;}}{\colortbl;\red0\green0\blue0;}{\*\generator Riched20;}{\info{\author Ada}}a}", text("a")),
            (br"{\rtf1\ansi\ansicpg1251 \'cf\'f0\'e8\'e2\'e5\'f2}", text("Привет")),
            (br"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset204 B;}{\f2\fcharset128 C;}}\f0 \'fc\f1 \'fc\f2 \'82\'a0\plain \'fc}", text("üьあü")),
            (br"{\rtf1 \u8364?\uc0\u8364 x\u-10179\u-8704 {\uc2\u8364 ab}c}", text("€€x😀€c")),
            (br"{\rtf1 a\~b\{c\}\\\emdash\tab d\bin3 }}}e}", text("a\u{a0}b{c}\\\u{2014}\td" ).and("e")),
            (br"{\rtf1\fromtext one\line two}", text("one\ntwo")),
            (br"{\rtf1\ansi\fromhtml1 {\*\htmltag18 <html>}\htmlrtf {\htmlrtf0 {\*\htmltag64 <p>}\htmlrtf \par\htmlrtf0 Hi{\*\htmltag84 &amp;}\'fc{\*\mhtmltag84 x}{\*\htmltag72 </p>\par }\htmlrtf }\htmlrtf0 }", html("<html><p>Hi&amp;ü</p>\n")),
            (br"{\rtf1 {\*\htmltag64 <p>}no HTML}", text("no HTML")),
            (br"{\rtf1 open {group", text("open group")),
            (b"", text("")),
            (br"}}}{\", text("")),
        ];
        for (rtf, said) in rows {
            assert_eq!(read(rtf), said, "{}", String::from_utf8_lossy(rtf));
        }
        let deep = b"{".repeat(1_000_000);
        assert_eq!(read(&deep), text(""));
    }

    fn text(text: &str) -> Letter {
        Letter::Text(text.to_owned())
    }

    fn html(text: &str) -> Letter {
        Letter::Html(text.to_owned())
    }

    impl Letter {
        fn and(self, more: &str) -> Self {
            match self {
                Self::Text(text) => Self::Text(text + more),
                Self::Html(html) => Self::Html(html + more),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_rich_text_panics_or_grows(pieces in proptest::collection::vec(0..WORDS.len(), 0..40), noise: Vec<u8>) {
            let mut rtf: Vec<u8> = b"{\\rtf1\\fromhtml1 ".to_vec();
            for (piece, byte) in pieces.iter().zip(noise.iter().chain(std::iter::repeat(&b'{'))) {
                rtf.extend([b"{\\*\\".as_slice(), WORDS[*piece].as_bytes(), &[*byte]].concat());
            }
            rtf.extend(&noise);
            let (Letter::Html(said) | Letter::Text(said)) = read(&rtf);
            proptest::prop_assert!(said.len() <= 3 * rtf.len() && !said.contains('\0'));
        }
    }
}
