//! Reads HTML as a stream of tags and text in one linear pass that never fails.
//!
//! It cuts the text where a browser would cut it, but builds no tree. What a mail can't show as text
//! (scripts, styles, drawings) is passed over here, so that no reader has to think of it.
//! Not for judging what is safe: `html` asks ammonia for that.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Attributes kept of one tag. Real mails have fewer than 20; the parser behind us compares each with all before it.
const ATTRIBUTES_MAX: usize = 64;

/// The longest name of a character reference that is known here ("ZeroWidthSpace"), with room to spare.
const REFERENCE_BYTES_MAX: usize = 16;

/// Elements whose content is text to the parser, up to their end tag; none of it is meant to be read.
const RAW_TEXT: [&str; 9] = [
    "script",
    "style",
    "title",
    "textarea",
    "xmp",
    "iframe",
    "noembed",
    "noframes",
    "plaintext",
];

/// Elements that are passed over with all that they hold.
const PASSED_OVER: [&str; 4] = ["svg", "math", "template", "select"];

/// One piece of HTML.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text as it stands, character references not yet decoded.
    Text(&'a str),
    /// A start tag.
    Open(Tag<'a>),
    /// An end tag's name, in lower case.
    Close(Cow<'a, str>),
}

/// A start tag: names in lower case, values as they stand, the first of each name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub name: Cow<'a, str>,
    pub attributes: Vec<(Cow<'a, str>, &'a str)>,
    pub closes_itself: bool,
}

impl<'a> Tag<'a> {
    /// The undecoded value of the attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }
}

/// The pieces of this HTML, in order.
pub(super) fn tokens(html: &str) -> Tokens<'_> {
    Tokens { rest: html }
}

/// See [`tokens`].
pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            match self.piece()? {
                Token::Open(tag) if RAW_TEXT.contains(&&*tag.name) => self.pass_raw_text(&tag.name),
                Token::Open(tag) if PASSED_OVER.contains(&&*tag.name) => {
                    if !tag.closes_itself {
                        self.pass_over(&tag.name);
                    }
                }
                piece => return Some(piece),
            }
        }
    }
}

impl<'a> Tokens<'a> {
    /// How much is still to be read.
    pub const fn bytes_left(&self) -> usize {
        self.rest.len()
    }

    /// The next piece, whatever it is.
    fn piece(&mut self) -> Option<Token<'a>> {
        while !self.rest.is_empty() {
            let markup_at = markup_position(self.rest);
            if markup_at > 0 {
                let (text, rest) = self.rest.split_at_checked(markup_at)?;
                self.rest = rest;
                return Some(Token::Text(text));
            }
            let after = after(self.rest, 1);
            if let Some(body) = after.strip_prefix("!--") {
                self.rest = behind_comment(body);
            } else if after.starts_with(|first: char| first.is_ascii_alphabetic()) {
                if let Some(tag) = self.tag(after) {
                    return Some(Token::Open(tag));
                }
            } else if let Some(name) = after
                .strip_prefix('/')
                .filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()))
            {
                if let Some(tag) = self.tag(name) {
                    return Some(Token::Close(tag.name));
                }
            } else {
                // A declaration or a malformed end tag: to the parser a comment up to the next ">".
                self.rest = after.split_once('>').map_or("", |(_, rest)| rest);
            }
        }
        None
    }

    /// Reads a tag from its name on and moves behind it. `None`: it never ends, so that nothing is left.
    fn tag(&mut self, from_name: &'a str) -> Option<Tag<'a>> {
        let name_end = from_name
            .find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>')
            .unwrap_or(from_name.len());
        let name = lower(upto(from_name, name_end));
        let mut reader = Attributes {
            rest: after(from_name, name_end),
            closes_itself: false,
        };
        let mut attributes: Vec<(Cow<'a, str>, &'a str)> = Vec::new();
        while let Some((attribute, value)) = reader.next_attribute() {
            let attribute = lower(attribute);
            if attributes.len() < ATTRIBUTES_MAX
                && attributes.iter().all(|(known, _)| *known != attribute)
            {
                attributes.push((attribute, value));
            }
        }
        match reader.rest.strip_prefix('>') {
            Some(rest) => {
                self.rest = rest;
                Some(Tag {
                    name,
                    attributes,
                    closes_itself: reader.closes_itself,
                })
            }
            None => {
                self.rest = "";
                None
            }
        }
    }

    /// Moves behind the end tag of a raw text element, or to the end.
    fn pass_raw_text(&mut self, name: &str) {
        while let Some(at) = self.rest.find("</") {
            let from_name = after(self.rest, at.saturating_add(2));
            self.rest = from_name;
            let is_end = from_name
                .get(..name.len())
                .is_some_and(|found| found.eq_ignore_ascii_case(name));
            let rest = after(from_name, name.len());
            if is_end
                && name != "plaintext"
                && rest.starts_with(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>')
            {
                self.rest = rest.split_once('>').map_or("", |(_, rest)| rest);
                return;
            }
        }
        self.rest = "";
    }

    /// Moves behind the end tag of an element whose content counts for nothing, or to the end.
    fn pass_over(&mut self, name: &str) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.piece() {
                None => return,
                Some(Token::Open(tag)) if tag.name == name && !tag.closes_itself => {
                    depth = depth.saturating_add(1)
                }
                Some(Token::Close(closed)) if closed == name => depth = depth.saturating_sub(1),
                Some(_) => {}
            }
        }
    }
}

/// Where the next tag, comment or declaration begins; the length of the text if there is none.
fn markup_position(text: &str) -> usize {
    let mut from = 0;
    while let Some(offset) = after(text, from).find('<') {
        let at = from.saturating_add(offset);
        let next = after(text, at.saturating_add(1));
        if next.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '!' | '?' | '/')) {
            return at;
        }
        from = at.saturating_add(1);
    }
    text.len()
}

/// What follows a comment whose text begins here.
fn behind_comment(body: &str) -> &str {
    if let Some(rest) = body.strip_prefix('>').or_else(|| body.strip_prefix("->")) {
        return rest;
    }
    let mut body = body;
    while let Some(at) = body.find("--") {
        let rest = after(body, at.saturating_add(2));
        if let Some(behind) = rest.strip_prefix('>').or_else(|| rest.strip_prefix("!>")) {
            return behind;
        }
        body = after(body, at.saturating_add(1));
    }
    ""
}

/// Reads the attributes of one tag; stops at its ">".
struct Attributes<'a> {
    rest: &'a str,
    closes_itself: bool,
}

impl<'a> Attributes<'a> {
    /// The next attribute's name and undecoded value, or `None` at the end of the tag or of the text.
    fn next_attribute(&mut self) -> Option<(&'a str, &'a str)> {
        let start = self
            .rest
            .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        let passed = upto(self.rest, self.rest.len().saturating_sub(start.len()));
        self.rest = start;
        if start.is_empty() || start.starts_with('>') {
            self.closes_itself = passed.ends_with('/');
            return None;
        }
        // A "=" in the first place belongs to the name.
        let name_end = start
            .char_indices()
            .find(|(at, c)| {
                c.is_ascii_whitespace() || matches!(c, '/' | '>') || (*c == '=' && *at > 0)
            })
            .map_or(start.len(), |(at, _)| at);
        let name = upto(start, name_end);
        self.rest = after(start, name_end);
        let Some(value) = self.rest.trim_ascii_start().strip_prefix('=') else {
            return Some((name, ""));
        };
        let value = value.trim_ascii_start();
        let (value, rest) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => after(value, 1).split_once(quote).unwrap_or(("", "")),
            _ => {
                let end = value
                    .find(|c: char| c.is_ascii_whitespace() || c == '>')
                    .unwrap_or(value.len());
                (upto(value, end), after(value, end))
            }
        };
        self.rest = rest;
        Some((name, value))
    }
}

/// Decodes character references: numbers, the 252 names of HTML 4, and the few that hide addresses.
/// What is no reference stays as it stands.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('&') {
        out.push_str(before);
        match reference(from) {
            Some((decoded, behind)) => {
                out.push(decoded);
                rest = behind;
            }
            None => {
                out.push('&');
                rest = from;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character that a reference stands for and what follows it; the text begins behind its "&".
fn reference(text: &str) -> Option<(char, &str)> {
    if let Some(number) = text.strip_prefix('#') {
        let hexadecimal = number.strip_prefix(['x', 'X']);
        let (digits, radix) = hexadecimal.map_or((number, 10), |digits| (digits, 16));
        let end = digits
            .find(|c: char| !c.is_digit(radix))
            .unwrap_or(digits.len());
        if end == 0 {
            return None;
        }
        let code = u32::from_str_radix(upto(digits, end), radix).unwrap_or(u32::MAX);
        let behind = after(digits, end);
        return Some((
            char_of_number(code),
            behind.strip_prefix(';').unwrap_or(behind),
        ));
    }
    let end = text
        .bytes()
        .take(REFERENCE_BYTES_MAX)
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(text.len().min(REFERENCE_BYTES_MAX));
    let name = text.get(..end)?;
    let behind = after(text, end);
    if let Some(behind) = behind.strip_prefix(';') {
        return char_of_name(name).map(|decoded| (decoded, behind));
    }
    // The five that mails write without their ";". Before "=" they are part of an address.
    let bare = matches!(name, "amp" | "lt" | "gt" | "quot" | "nbsp") && !behind.starts_with('=');
    bare.then(|| char_of_name(name))
        .flatten()
        .map(|decoded| (decoded, behind))
}

/// The character of a numeric reference. 128 to 159 mean Windows-1252, as browsers read them.
fn char_of_number(code: u32) -> char {
    const WINDOWS: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    let windows = code
        .checked_sub(0x80)
        .and_then(|index| usize::try_from(index).ok())
        .and_then(|index| WINDOWS.get(index));
    match (code, windows) {
        (0, _) => char::REPLACEMENT_CHARACTER,
        (_, Some(windows)) => *windows,
        _ => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// The character of a named reference.
fn char_of_name(name: &str) -> Option<char> {
    static NAMED: LazyLock<HashMap<&str, char>> = LazyLock::new(|| {
        let latin = LATIN.split_ascii_whitespace().zip('\u{a0}'..='\u{ff}');
        let others = OTHERS
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(name, text)| Some((name, text.chars().next()?)));
        let spaces = [("Tab", '\t'), ("NewLine", '\n')];
        latin.chain(others).chain(spaces).collect()
    });
    NAMED.get(name).copied()
}

/// The names of U+00A0 to U+00FF, in order.
const LATIN: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para \
    middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml \
    Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave \
    aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde \
    ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml";

/// The other names of HTML 4, and punctuation that is written as a name to hide an address from filters.
const OTHERS: &str = "amp=& lt=< gt=> quot=\" apos=' colon=: sol=/ commat=@ period=. quest=? equals== num=# lpar=( rpar=) excl=! comma=, \
    lowbar=_ percnt=% semi=; AMP=& LT=< GT=> QUOT=\" fnof=ƒ Alpha=Α Beta=Β Gamma=Γ Delta=Δ Epsilon=Ε Zeta=Ζ Eta=Η Theta=Θ Iota=Ι Kappa=Κ \
    Lambda=Λ Mu=Μ Nu=Ν Xi=Ξ Omicron=Ο Pi=Π Rho=Ρ Sigma=Σ Tau=Τ Upsilon=Υ Phi=Φ Chi=Χ Psi=Ψ Omega=Ω alpha=α beta=β gamma=γ delta=δ \
    epsilon=ε zeta=ζ eta=η theta=θ iota=ι kappa=κ lambda=λ mu=μ nu=ν xi=ξ omicron=ο pi=π rho=ρ sigmaf=ς sigma=σ tau=τ upsilon=υ phi=φ \
    chi=χ psi=ψ omega=ω thetasym=ϑ upsih=ϒ piv=ϖ bull=• hellip=… prime=′ Prime=″ oline=‾ frasl=⁄ weierp=℘ image=ℑ real=ℜ trade=™ \
    alefsym=ℵ larr=← uarr=↑ rarr=→ darr=↓ harr=↔ crarr=↵ lArr=⇐ uArr=⇑ rArr=⇒ dArr=⇓ hArr=⇔ forall=∀ part=∂ exist=∃ empty=∅ nabla=∇ isin=∈ \
    notin=∉ ni=∋ prod=∏ sum=∑ minus=− lowast=∗ radic=√ prop=∝ infin=∞ ang=∠ and=∧ or=∨ cap=∩ cup=∪ int=∫ there4=∴ sim=∼ cong=≅ asymp=≈ ne=≠ \
    equiv=≡ le=≤ ge=≥ sub=⊂ sup=⊃ nsub=⊄ sube=⊆ supe=⊇ oplus=⊕ otimes=⊗ perp=⊥ sdot=⋅ lceil=⌈ rceil=⌉ lfloor=⌊ rfloor=⌋ lang=⟨ rang=⟩ \
    loz=◊ spades=♠ clubs=♣ hearts=♥ diams=♦ OElig=Œ oelig=œ Scaron=Š scaron=š Yuml=Ÿ circ=ˆ tilde=˜ ensp=\u{2002} emsp=\u{2003} \
    thinsp=\u{2009} zwnj=\u{200c} zwj=\u{200d} lrm=\u{200e} rlm=\u{200f} ndash=– mdash=— lsquo=‘ rsquo=’ sbquo=‚ ldquo=“ rdquo=” bdquo=„ \
    dagger=† Dagger=‡ permil=‰ lsaquo=‹ rsaquo=› euro=€ rarrw=↝ hyphen=‐ dash=‐ horbar=― numsp=\u{2007} puncsp=\u{2008} ZeroWidthSpace=\u{200b}";

/// Text behind this byte offset; nothing where there is none.
pub(super) fn after(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or("")
}

/// Text before this byte offset; all of it where there is no such offset.
pub(super) fn upto(text: &str, at: usize) -> &str {
    text.get(..at).unwrap_or(text)
}

/// The longest part of the text that has at most so many bytes and ends between two characters.
pub(super) fn within(text: &str, bytes_max: usize) -> &str {
    upto(text, text.floor_char_boundary(bytes_max))
}

/// In lower case, without a copy where it already is.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each piece on its own: text as it stands, `<name a=v>` and `</name>`.
    fn pieces(html: &str) -> Vec<String> {
        tokens(html)
            .map(|token| match token {
                Token::Text(text) => text.to_owned(),
                Token::Open(tag) => {
                    let attributes: Vec<String> = tag
                        .attributes
                        .iter()
                        .map(|(name, value)| format!(" {name}={value}"))
                        .collect();
                    format!("<{}{}>", tag.name, attributes.concat())
                }
                Token::Close(name) => format!("</{name}>"),
            })
            .collect()
    }

    #[test]
    fn html_is_cut_where_a_browser_cuts_it() {
        let rows: [(&str, &str, &[&str]); 20] = [
            (
                "plain text is one piece",
                "a < b & c > d <3",
                &["a < b & c > d <3"],
            ),
            (
                "names are lower-cased, quotes are optional",
                "<A HREF=x Title='y z' W = \"1\">",
                &["<a href=x title=y z w=1>"],
            ),
            (
                "a quoted > does not end a tag",
                "<a title='>'>t</a>",
                &["<a title=>>", "t", "</a>"],
            ),
            (
                "the first of two attributes counts",
                "<a x=1 X=2>",
                &["<a x=1>"],
            ),
            (
                "an attribute may have no value",
                "<td nowrap width=5>",
                &["<td nowrap= width=5>"],
            ),
            (
                "slashes between attributes are spaces",
                "<img/src=x/onerror=y>",
                &["<img src=x/onerror=y>"],
            ),
            (
                "an equals sign first is part of the name",
                "<a =x=y>",
                &["<a =x=y>"],
            ),
            ("comments vanish", "a<!-- <b> -- > -->b", &["a", "b"]),
            (
                "short comments vanish",
                "a<!-->b<!--->c<!--x--!>d",
                &["a", "b", "c", "d"],
            ),
            ("an open comment takes the rest", "a<!-- b", &["a"]),
            (
                "declarations vanish",
                "<!doctype html><?xml x?><![CDATA[x]]>a</ >b",
                &["a", "b"],
            ),
            (
                "scripts vanish with their text",
                "a<script>if (a<b) '</b>'</SCRIPT >b",
                &["a", "b"],
            ),
            ("an open style takes the rest", "a<style>b", &["a"]),
            (
                "a drawing vanishes with drawings inside it",
                "a<svg><svg/><svg></svg><p>x</svg>b",
                &["a", "b"],
            ),
            (
                "an empty drawing takes nothing else",
                "a<svg/>b",
                &["a", "b"],
            ),
            ("a tag without an end takes the rest", "a<b <c", &["a"]),
            (
                "a quote without an end takes the rest",
                "a<b c=\"d>e",
                &["a"],
            ),
            (
                "end tags may have attributes",
                "</p class='>'>x",
                &["</p>", "x"],
            ),
            (
                "raw text is not ended by a longer name",
                "<style>x</styles>y</style>z",
                &["z"],
            ),
            (
                "letters beyond ASCII stay whole",
                "é<b>日本</b>",
                &["é", "<b>", "日本", "</b>"],
            ),
        ];
        for (sentence, html, expected) in rows {
            assert_eq!(pieces(html), expected, "{sentence}");
        }
    }

    #[test]
    fn character_references_are_decoded_once() {
        for (text, expected) in [
            ("no reference", "no reference"),
            ("&lt;b&gt; &amp;amp; &quot;x&quot;", "<b> &amp; \"x\""),
            ("&eacute;&Uuml;&szlig;&nbsp;|", "éÜß\u{a0}|"),
            ("&#233;&#xE9;&#XE9;&#x65", "ééée"),
            ("&euro; &#128; &hellip;", "€ € …"),
            ("&#0;&#xD800;&#99999999999;", "\u{fffd}\u{fffd}\u{fffd}"),
            ("AT&T &unknown; &;& &#; &#x;", "AT&T &unknown; &;& &#; &#x;"),
            ("a&nbspb &amp c", "a&nbspb & c"),
            ("?a=1&lt=2&copy=3", "?a=1&lt=2&copy=3"),
            ("java&Tab;script&colon;x", "java\tscript:x"),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn no_input_stops_the_reader() {
        for hostile in [
            "<", "</", "<!", "<!-", "<!--", "<?", "<a", "<a ", "<a b", "<a b=", "<a b='", "</a",
            "<svg", "<svg>", "<a/", "&", "&#", "&#x",
        ] {
            assert!(tokens(hostile).count() <= 1, "{hostile}");
            assert!(decode(hostile).len() <= hostile.len(), "{hostile}");
        }
    }
}
