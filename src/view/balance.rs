//! Puts HTML in order before the parser sees it: known elements and attributes only, every tag closed, nothing deeper than a limit.
//!
//! The HTML parser repairs what is out of order, and its repairs cost more than the input is long: it writes open
//! `<b>` tags again into each paragraph, compares each attribute with all others, and walks every open element for an end tag
//! that matches none. A mail of 1 MB can make it build millions of nodes. What comes out of here leaves nothing to repair.
//! Images are told apart here too: inline ones get the address of their attachment, remote ones lose theirs.
//! Not the judge of what is safe: ammonia judges what comes out of here as if it came from the mail.

use super::markup::{Tag, Token, after, decode, tokens, upto};
use std::collections::BTreeSet;

/// Open elements at once. Real newsletters nest some 60; the parser's cost grows with the square.
const NESTING_MAX: usize = 512;

/// The longest attribute kept. Longer links are not meant for people, and some browsers cut them off.
const ATTRIBUTE_BYTES_MAX: usize = 8 * 1024;

/// Elements in all. Real newsletters have some 5,000; each costs the parser about a microsecond and 200 bytes.
const ELEMENTS_MAX: usize = 100_000;

/// The depths of all elements together: the parser looks through what is open for each that begins. Real newsletters need
/// less than a tenth of it; this many take it about 0.2 s.
const DEPTHS_MAX: usize = 5_000_000;

/// Bytes out for each byte in, at most. `<p>` comes out as `<p></p>`, `<` as `&lt;`; what grows more means harm.
const GROWTH_MAX: usize = 4;

/// Text in one piece. The parser's writer looks through the rest of a piece for each `&` in it; a comment parts pieces
/// and leaves no trace.
const TEXT_PIECE_BYTES: usize = 4 * 1024;

/// Output that is never too much, so that short mails need not be measured.
const GROWTH_BYTES_FREE: usize = 64 * 1024;

/// An end tag out of order closes and opens again at most so many elements; beyond that it is dropped.
const REOPENED_MAX: usize = 8;

/// Elements without content.
pub(super) const EMPTY: [&str; 4] = ["br", "hr", "img", "wbr"];

/// Elements that mark a stretch of text.
pub(super) const INLINE: [&str; 29] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "i",
    "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup",
    "time", "tt", "u", "var",
];

/// Elements that stand on lines of their own.
pub(super) const BLOCK: [&str; 27] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "ul",
];

/// Tables and what they are made of. `col` is without content.
pub(super) const TABLE: [&str; 10] = [
    "caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr",
];

/// Attributes that every element may have.
pub(super) const ATTRIBUTES_OF_ALL: [&str; 3] = ["dir", "lang", "title"];

/// Attributes of some elements. None but `a href` and `img src` names an address; none carries style.
pub(super) const ATTRIBUTES: [(&str, &[&str]); 21] = [
    ("a", &["href"]),
    (
        "img",
        &["src", REMOTE_SRC, "alt", "width", "height", "align"],
    ),
    (
        "table",
        &["align", "width", "border", "cellpadding", "cellspacing"],
    ),
    ("caption", &["align"]),
    ("col", &["align", "span", "width"]),
    ("colgroup", &["align", "span", "width"]),
    ("thead", &["align", "valign"]),
    ("tbody", &["align", "valign"]),
    ("tfoot", &["align", "valign"]),
    ("tr", &["align", "valign"]),
    (
        "td",
        &["align", "valign", "width", "height", "colspan", "rowspan"],
    ),
    (
        "th",
        &["align", "valign", "width", "height", "colspan", "rowspan"],
    ),
    ("p", &["align"]),
    ("div", &["align"]),
    ("h1", &["align"]),
    ("h2", &["align"]),
    ("h3", &["align"]),
    ("ol", &["start", "type"]),
    ("ul", &["type"]),
    ("li", &["value"]),
    ("hr", &["align", "width"]),
];

/// Where the address of a remote image is kept: nothing loads it.
pub(super) const REMOTE_SRC: &str = "data-remote-src";

/// HTML in order, and what became of its images.
#[derive(Debug, Default)]
pub(super) struct Balanced {
    pub html: String,
    /// Addresses that the resolver gave for inline images.
    pub inline_images: BTreeSet<String>,
    /// Images whose address was taken away.
    pub remote_images: usize,
}

/// Puts the HTML in order. `None`: it is nested too deeply, has too many elements, or would grow too much.
/// `resolve_cid` gives the address of the part with this Content-ID (without angle brackets).
pub(super) fn balance(
    html: &str,
    resolve_cid: &dyn Fn(&str) -> Option<String>,
) -> Option<Balanced> {
    let bytes_max = html.len().saturating_mul(GROWTH_MAX).max(GROWTH_BYTES_FREE);
    let mut balancer = Balancer {
        done: Balanced::default(),
        open: Vec::new(),
        elements: 0,
        depths: 0,
        text_bytes: 0,
        resolve_cid,
    };
    let mut reader = tokens(html);
    let mut behind_pre = usize::MAX;
    while let Some(token) = reader.next() {
        match token {
            Token::Text(text) => {
                if behind_pre != text.len().saturating_add(reader.bytes_left()) {
                    balancer.part_from_pre();
                }
                balancer.text(text)?;
            }
            Token::Open(tag) => {
                balancer.start(&tag)?;
                if tag.name == "pre" {
                    behind_pre = reader.bytes_left();
                }
            }
            Token::Close(name) => balancer.end(&name),
        }
        let is_too_much = balancer.done.html.len() > bytes_max
            || balancer.elements > ELEMENTS_MAX
            || balancer.depths > DEPTHS_MAX;
        if is_too_much {
            return None;
        }
    }
    balancer.close_from(0);
    Some(balancer.done)
}

/// An element that is open in the output.
#[derive(Debug, Clone, Copy)]
struct Open {
    name: &'static str,
    /// Where its start tag stands in the output.
    tag_start: usize,
    tag_end: usize,
}

struct Balancer<'r> {
    done: Balanced,
    open: Vec<Open>,
    /// Written so far, reopened ones counted again.
    elements: usize,
    /// How deep they lie, added up.
    depths: usize,
    /// Bytes of text written since the last tag or comment.
    text_bytes: usize,
    resolve_cid: &'r dyn Fn(&str) -> Option<String>,
}

impl Balancer<'_> {
    /// Text. Between the cells of a table it gets a cell, or the parser would move it in front of the table.
    /// `None`: too deep.
    fn text(&mut self, text: &str) -> Option<()> {
        if self.is_between_cells() {
            if text.trim().is_empty() {
                return Some(());
            }
            self.start_table_part("td", &bare_tag("td"))?;
        }
        for (index, piece) in text.split('<').enumerate() {
            if index > 0 {
                self.write_text("&lt;");
            }
            self.write_text(piece);
        }
        Some(())
    }

    /// The parser drops a line end directly behind `<pre>`. Where the mail has something between the two that is left out
    /// here, a comment keeps the line end.
    fn part_from_pre(&mut self) {
        let written = self.done.html.len();
        let is_behind = |open: &Open| open.name == "pre" && open.tag_end == written;
        if self.open.last().is_some_and(is_behind) {
            self.done.html.push_str("<!---->");
        }
    }

    /// Writes text in pieces, none of which ends inside a character reference.
    fn write_text(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let room = rest.ceil_char_boundary(TEXT_PIECE_BYTES.saturating_sub(self.text_bytes));
            let starts_piece = |c: char| c == '&' || !c.is_ascii();
            let offset = after(rest, room).find(starts_piece);
            let piece = offset.map_or(rest, |offset| upto(rest, room.saturating_add(offset)));
            self.done.html.push_str(piece);
            self.text_bytes = self.text_bytes.saturating_add(piece.len());
            rest = after(rest, piece.len());
            if !rest.is_empty() {
                self.done.html.push_str("<!---->");
                self.text_bytes = 0;
            }
        }
    }

    /// A start tag. `None`: too deep.
    fn start(&mut self, tag: &Tag<'_>) -> Option<()> {
        if let Some(name) = known(&TABLE, &tag.name) {
            return self.start_table_part(name, tag);
        }
        if self.is_between_cells() {
            // Only parts of a table may stand here; what text it holds gets a cell.
            return Some(());
        }
        if let Some(name) = known(&EMPTY, &tag.name) {
            self.write_empty(name, tag);
            return Some(());
        }
        if let Some(name) = known(&INLINE, &tag.name) {
            return if name == "a" {
                self.start_link(tag)
            } else {
                self.push(name, tag)
            };
        }
        let Some(name) = known(&BLOCK, &tag.name) else {
            return Some(());
        };
        let floor = self.cell_floor();
        self.close_last("p", floor);
        match name {
            "li" => self.close_last("li", self.floor_above(&["ul", "ol"]).max(floor)),
            "dd" | "dt" => {
                let list_floor = self.floor_above(&["dl"]).max(floor);
                self.close_last("dd", list_floor);
                self.close_last("dt", list_floor);
            }
            _ if is_heading(name) && self.open.last().is_some_and(|open| is_heading(open.name)) => {
                self.close_from(self.open.len().saturating_sub(1));
            }
            _ => {}
        }
        self.push(name, tag)
    }

    /// A link. One that leads nowhere, or where no link may lead, is its words alone.
    fn start_link(&mut self, tag: &Tag<'_>) -> Option<()> {
        let address = decode(tag.attribute("href").unwrap_or(""));
        let address = trimmed(&address);
        if !is_link(address) {
            return Some(());
        }
        self.close_last("a", self.cell_floor());
        let address = address.replace('&', "&amp;").replace('"', "&quot;");
        let mut attributes = tag.attributes.clone();
        attributes.retain(|(name, _)| name != "href");
        attributes.insert(0, ("href".into(), &address));
        self.push(
            "a",
            &Tag {
                name: "a".into(),
                attributes,
                closes_itself: false,
            },
        )
    }

    /// A start tag of a table or of what it is made of.
    fn start_table_part(&mut self, name: &'static str, tag: &Tag<'_>) -> Option<()> {
        if name == "table" {
            self.close_last("p", self.cell_floor());
            if self.is_between_cells() {
                self.close_last("table", 0);
            }
            return self.push(name, tag);
        }
        // Without a table around them its parts mean nothing; their text stays.
        let Some(table) = self.last_open(&["table"], 0) else {
            return Some(());
        };
        let inside = table.saturating_add(1);
        let section = self
            .last_open(&["thead", "tbody", "tfoot"], inside)
            .map_or(inside, |at| at.saturating_add(1));
        match name {
            "col" => {
                let group = self
                    .last_open(&["colgroup"], inside)
                    .map_or(inside, |at| at.saturating_add(1));
                self.close_from(group);
                self.write_tag(name, tag);
                return Some(());
            }
            "tr" => self.close_from(section),
            "td" | "th" => match self.last_open(&["tr"], inside) {
                Some(row) => self.close_from(row.saturating_add(1)),
                None => {
                    self.close_from(section);
                    self.push("tr", &bare_tag("tr"))?;
                }
            },
            _ => self.close_from(inside),
        }
        self.push(name, tag)
    }

    /// An end tag: closes what it ends, with all that is open inside; dropped if it ends nothing.
    fn end(&mut self, name: &str) {
        let floor = self.cell_floor();
        if let Some(name) = known(&TABLE, name) {
            let floor = if name == "table" {
                0
            } else {
                self.last_open(&["table"], 0).unwrap_or(usize::MAX)
            };
            self.close_last(name, floor);
        } else if let Some(name) = known(&BLOCK, name) {
            if is_heading(name) {
                self.close_heading(floor);
            } else {
                self.close_last(name, floor);
            }
        } else if let Some(name) = known(&INLINE, name) {
            self.close_inline(name, floor);
        } else if name == "br" && !self.is_between_cells() {
            self.write_tag("br", &bare_tag("br"));
        }
    }

    /// Closes an inline element; what is open inside it goes on behind it.
    fn close_inline(&mut self, name: &str, floor: usize) {
        let Some(at) = self.last_open(&[name], floor) else {
            return;
        };
        let inside: Vec<Open> = self
            .open
            .iter()
            .skip(at.saturating_add(1))
            .copied()
            .collect();
        if inside.len() > REOPENED_MAX {
            return;
        }
        self.close_from(at);
        for element in inside {
            let tag = self
                .done
                .html
                .get(element.tag_start..element.tag_end)
                .unwrap_or("")
                .to_owned();
            let tag_start = self.done.html.len();
            self.done.html.push_str(&tag);
            self.note_element();
            self.open.push(Open {
                name: element.name,
                tag_start,
                tag_end: self.done.html.len(),
            });
        }
    }

    /// Closes the innermost open heading, of whatever rank.
    fn close_heading(&mut self, floor: usize) {
        if let Some(at) = self
            .open
            .iter()
            .rposition(|open| is_heading(open.name))
            .filter(|at| *at >= floor)
        {
            self.close_from(at);
        }
    }

    /// Closes the innermost open element of this name, with all inside it, if it is open above the floor.
    fn close_last(&mut self, name: &str, floor: usize) {
        if let Some(at) = self.last_open(&[name], floor) {
            self.close_from(at);
        }
    }

    /// Closes the open elements from this one on, innermost first.
    fn close_from(&mut self, at: usize) {
        while self.open.len() > at {
            if let Some(element) = self.open.pop() {
                self.text_bytes = 0;
                self.done.html.push_str("</");
                self.done.html.push_str(element.name);
                self.done.html.push('>');
            }
        }
    }

    /// Opens an element. `None`: too deep.
    fn push(&mut self, name: &'static str, tag: &Tag<'_>) -> Option<()> {
        if self.open.len() >= NESTING_MAX {
            return None;
        }
        let tag_start = self.done.html.len();
        self.write_tag(name, tag);
        self.open.push(Open {
            name,
            tag_start,
            tag_end: self.done.html.len(),
        });
        Some(())
    }

    /// Writes an element without content. An image without address and words is nothing to see.
    fn write_empty(&mut self, name: &'static str, tag: &Tag<'_>) {
        if name == "hr" {
            self.close_last("p", self.cell_floor());
        }
        if name != "img" {
            self.write_tag(name, tag);
            return;
        }
        let src = self.image_attribute(tag.attribute("src").unwrap_or(""));
        if src.is_none() && tag.attribute("alt").is_none_or(|alt| alt.trim().is_empty()) {
            return;
        }
        self.note_element();
        self.done.html.push_str("<img");
        if let Some((attribute, address)) = src {
            write_attribute(
                &mut self.done.html,
                attribute,
                &address.replace('&', "&amp;"),
            );
        }
        self.write_attributes(name, tag);
        self.done.html.push('>');
    }

    /// What becomes of an image's address: inline ones are resolved, remote ones put aside, others dropped.
    fn image_attribute(&mut self, raw: &str) -> Option<(&'static str, String)> {
        let src = decode(raw);
        let src = trimmed(&src);
        if let Some(content_id) = strip_prefix_ignoring_case(src, "cid:") {
            let content_id = percent_decoded(content_id);
            let address = (self.resolve_cid)(content_id.trim_matches(['<', '>']))?;
            self.done.inline_images.insert(address.clone());
            return Some(("src", address));
        }
        let remote = match src.strip_prefix("//") {
            Some(host) => format!("https://{host}"),
            None if is_web_address(src) => src.to_owned(),
            None => return None,
        };
        self.done.remote_images = self.done.remote_images.saturating_add(1);
        Some((REMOTE_SRC, remote))
    }

    fn write_tag(&mut self, name: &'static str, tag: &Tag<'_>) {
        self.note_element();
        self.done.html.push('<');
        self.done.html.push_str(name);
        self.write_attributes(name, tag);
        self.done.html.push('>');
    }

    /// Counts an element that is about to be written; text before and behind it are two pieces.
    fn note_element(&mut self) {
        self.elements = self.elements.saturating_add(1);
        self.depths = self.depths.saturating_add(self.open.len());
        self.text_bytes = 0;
    }

    /// Writes the attributes that this element may have, but for an image's address.
    fn write_attributes(&mut self, name: &str, tag: &Tag<'_>) {
        let own = ATTRIBUTES
            .iter()
            .find(|(element, _)| *element == name)
            .map_or(&[][..], |(_, attributes)| attributes);
        for (attribute, value) in &tag.attributes {
            let is_address_of_image =
                name == "img" && (attribute == "src" || attribute == REMOTE_SRC);
            let is_allowed =
                own.contains(&&**attribute) || ATTRIBUTES_OF_ALL.contains(&&**attribute);
            if is_allowed && !is_address_of_image {
                write_attribute(&mut self.done.html, attribute, value);
            }
        }
    }

    /// The index of the innermost open element with one of these names, at or above the floor.
    fn last_open(&self, names: &[&str], floor: usize) -> Option<usize> {
        self.open
            .iter()
            .rposition(|open| names.contains(&open.name))
            .filter(|at| *at >= floor)
    }

    /// The index above the innermost open element with one of these names; 0 if there is none.
    fn floor_above(&self, names: &[&str]) -> usize {
        self.last_open(names, 0)
            .map_or(0, |at| at.saturating_add(1))
    }

    /// What lies below this index is outside the table cell: nothing in the cell closes it.
    fn cell_floor(&self) -> usize {
        self.floor_above(&["td", "th", "caption", "table"])
    }

    /// Whether only parts of a table may stand here.
    fn is_between_cells(&self) -> bool {
        self.open.last().is_some_and(|open| {
            matches!(
                open.name,
                "table" | "thead" | "tbody" | "tfoot" | "tr" | "colgroup"
            )
        })
    }
}

/// A tag without attributes.
fn bare_tag(name: &str) -> Tag<'_> {
    Tag {
        name: name.into(),
        attributes: Vec::new(),
        closes_itself: false,
    }
}

/// The name as this list knows it.
fn known<const N: usize>(names: &[&'static str; N], name: &str) -> Option<&'static str> {
    names.iter().find(|known| **known == name).copied()
}

fn is_heading(name: &str) -> bool {
    matches!(name, "h1" | "h2" | "h3" | "h4" | "h5" | "h6")
}

/// Writes an attribute whose value's character references stand as they are; too long a value is left out.
fn write_attribute(out: &mut String, name: &str, value: &str) {
    if value.len() <= ATTRIBUTE_BYTES_MAX {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        out.push_str(&value.replace('"', "&quot;"));
        out.push('"');
    }
}

/// Without the spaces and control characters around it, which browsers pass over in addresses.
fn trimmed(address: &str) -> &str {
    address.trim_matches(|c: char| c == ' ' || c.is_ascii_control())
}

/// Whether a link leads where a link may lead. `https://good.example@evil.example/` is no such link.
pub(super) fn is_link(address: &str) -> bool {
    if strip_prefix_ignoring_case(address, "mailto:")
        .or_else(|| strip_prefix_ignoring_case(address, "tel:"))
        .is_some()
    {
        return true;
    }
    let host = strip_prefix_ignoring_case(address, "https://")
        .or_else(|| strip_prefix_ignoring_case(address, "http://"));
    host.is_some_and(|rest| {
        let authority = upto(rest, rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        !authority.is_empty() && !authority.contains('@')
    })
}

/// Whether this begins like an absolute address of the web.
pub(super) fn is_web_address(address: &str) -> bool {
    strip_prefix_ignoring_case(address, "http://")
        .or_else(|| strip_prefix_ignoring_case(address, "https://"))
        .is_some()
}

/// What follows the prefix, whose letters count in either case.
pub(super) fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| after(text, prefix.len()))
}

/// Decodes `%41`; what is not such a code, or not UTF-8 once decoded, stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = from
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after(from, 2);
            }
            None => {
                bytes.push(b'%');
                rest = from;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests;
