//! HTML of a mail as clean HTML, as plain text, and plain text as HTML.
//!
//! The clean HTML loads nothing by itself: remote images keep their address in `data-remote-src` only,
//! there is no style, no form, no script, no frame, and links open elsewhere without telling where they were.
//! Not for deciding whether remote images may be loaded, nor for serving attachments.

use super::balance::{
    ATTRIBUTES, ATTRIBUTES_OF_ALL, BLOCK, EMPTY, INLINE, REMOTE_SRC, TABLE, balance, is_link,
    is_web_address,
};
use super::markup::{Token, after, decode, tokens, upto, within};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

/// Raised with every change of what [`clean`] lets through, so that what was cached by an older one is made anew.
pub const SANITISER_VERSION: u32 = 2;

/// Longer HTML is shown as plain text: sanitising 1 MB takes up to half a second, and no person writes as much.
pub const HTML_BYTES_MAX: usize = 1024 * 1024;

/// What is read of a body as plain text: far more than a screen shows or a search needs.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Levels of quoting that are shown; deeper ones look like this one.
const QUOTE_DEPTH_MAX: usize = 8;

/// What links tell the page they open, and search engines: nothing.
const LINK_REL: &str = "noopener noreferrer nofollow";

/// Schemes that a link may have.
const LINK_SCHEMES: [&str; 4] = ["http", "https", "mailto", "tel"];

/// HTML that is safe to show, and what was held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanHtml {
    pub html: String,
    /// Images that were not loaded because they lie elsewhere (in `data-remote-src`).
    pub remote_images: usize,
}

/// Cleans the HTML of a mail. `resolve_cid` gives the address of the inline part with this Content-ID
/// (without angle brackets), or `None` if there is none. `None`: too long, too deep or too much; show plain text.
pub fn clean(html: &str, resolve_cid: &dyn Fn(&str) -> Option<String>) -> Option<CleanHtml> {
    if html.len() > HTML_BYTES_MAX {
        return None;
    }
    let balanced = balance(html, resolve_cid)?;
    let html = if balanced.inline_images.is_empty() {
        WITHOUT_IMAGES.clean(&balanced.html).to_string()
    } else {
        judge(balanced.inline_images)
            .clean(&balanced.html)
            .to_string()
    };
    Some(CleanHtml {
        html: with_first_line_ends(&html),
        remote_images: balanced.remote_images,
    })
}

/// Whoever reads HTML drops a line end directly behind `<pre>`, and ammonia does not write it: where preformatted text
/// begins with a line end, there have to be two.
fn with_first_line_ends(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut copied = 0;
    let (mut tag_at, mut is_quoted) = (None, false);
    for (at, byte) in html.bytes().enumerate() {
        match (tag_at, byte) {
            (None, b'<') => tag_at = Some(at),
            (Some(_), b'"') => is_quoted = !is_quoted,
            (Some(start), b'>') if !is_quoted => {
                tag_at = None;
                let tag = after(html, start);
                let behind = at.saturating_add(1);
                if (tag.starts_with("<pre>") || tag.starts_with("<pre "))
                    && after(html, behind).starts_with('\n')
                {
                    out.push_str(html.get(copied..behind).unwrap_or_default());
                    out.push('\n');
                    copied = behind;
                }
            }
            _ => {}
        }
    }
    out.push_str(after(html, copied));
    out
}

/// The judge of mails without inline images, which are most: making one takes as long as judging a short mail.
static WITHOUT_IMAGES: LazyLock<ammonia::Builder<'static>> =
    LazyLock::new(|| judge(BTreeSet::new()));

/// The judge: what is not on these lists does not pass, whoever wrote it.
fn judge(inline_images: BTreeSet<String>) -> ammonia::Builder<'static> {
    let tags: HashSet<&str> = EMPTY
        .iter()
        .chain(&INLINE)
        .chain(&BLOCK)
        .chain(&TABLE)
        .copied()
        .collect();
    let attributes: HashMap<&str, HashSet<&str>> = ATTRIBUTES
        .iter()
        .map(|(tag, attributes)| (*tag, attributes.iter().copied().collect()))
        .collect();
    let mut builder = ammonia::Builder::default();
    builder
        .tags(tags)
        .clean_content_tags(HashSet::from(["script", "style"]))
        .tag_attributes(attributes)
        .generic_attributes(HashSet::from(ATTRIBUTES_OF_ALL))
        .url_schemes(HashSet::from(LINK_SCHEMES))
        // Inline images have addresses of ours, which may be relative; the filter drops all other relative ones.
        .url_relative(ammonia::UrlRelative::PassThrough)
        .link_rel(Some(LINK_REL))
        .set_tag_attribute_value("a", "target", "_blank")
        .strip_comments(true)
        .attribute_filter(move |_, attribute, value| {
            let passes = match attribute {
                "href" => is_link(value),
                "src" => inline_images.contains(value),
                REMOTE_SRC => is_web_address(value),
                "width" | "height" | "border" | "cellpadding" | "cellspacing" | "colspan"
                | "rowspan" | "span" | "start" | "value" => is_small_number(value),
                "align" | "valign" | "dir" | "type" => {
                    value.len() <= 10 && value.bytes().all(|byte| byte.is_ascii_alphanumeric())
                }
                "lang" => {
                    value.len() <= 35
                        && value
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                }
                "alt" | "title" | "rel" | "target" => true,
                _ => false,
            };
            passes.then_some(Cow::Borrowed(value))
        });
    builder
}

/// A number of at most four digits, perhaps in per cent.
fn is_small_number(value: &str) -> bool {
    let digits = value.strip_suffix('%').unwrap_or(value);
    (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The words of an HTML body, as plain text: a line for each block, `> ` before what is quoted, no markup.
/// Reads at most [`TEXT_BYTES_MAX`] of it.
pub fn text_of_html(html: &str) -> String {
    let mut writer = TextWriter::default();
    for token in tokens(within(html, TEXT_BYTES_MAX)) {
        match token {
            Token::Text(text) if writer.preformatted > 0 => writer.write_lines(&decode(text)),
            Token::Text(text) => writer.write_words(&decode(text)),
            Token::Open(tag) => writer.open(&tag.name),
            Token::Close(name) => writer.close(&name),
        }
    }
    writer.out.truncate(writer.out.trim_end().len());
    writer.out
}

/// Writes words and line ends so that there is never more space than a reader needs.
#[derive(Default)]
struct TextWriter {
    out: String,
    /// Line ends owed before the next word: 1 ends the line, 2 leave a line empty.
    line_ends: usize,
    /// A space is owed before the next word.
    space: bool,
    quote_depth: usize,
    preformatted: usize,
}

impl TextWriter {
    fn open(&mut self, name: &str) {
        match name {
            "br" => self.break_line(),
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "table" => {
                self.end_line(2)
            }
            "blockquote" => {
                self.end_line(1);
                self.quote_depth = self.quote_depth.saturating_add(1);
            }
            "li" => {
                self.end_line(1);
                self.write_words("- ");
            }
            "pre" => {
                self.end_line(1);
                self.preformatted = self.preformatted.saturating_add(1);
            }
            "td" | "th" => self.space = true,
            _ if is_block(name) => self.end_line(1),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "table" => {
                self.end_line(2)
            }
            "blockquote" => {
                self.end_line(1);
                self.quote_depth = self.quote_depth.saturating_sub(1);
            }
            "pre" => {
                self.end_line(1);
                self.preformatted = self.preformatted.saturating_sub(1);
            }
            _ if is_block(name) => self.end_line(1),
            _ => {}
        }
    }

    /// Owes at least so many line ends.
    fn end_line(&mut self, line_ends: usize) {
        self.line_ends = self.line_ends.max(line_ends);
        self.space = false;
    }

    /// A line break that was written as one: two leave a line empty.
    fn break_line(&mut self) {
        self.line_ends = self.line_ends.saturating_add(1).min(2);
        self.space = false;
    }

    fn write_words(&mut self, text: &str) {
        for word in text.split_inclusive(is_space) {
            let bare = word.trim_end_matches(is_space);
            if !bare.is_empty() {
                self.write(bare);
            }
            self.space |= bare.len() < word.len();
        }
    }

    fn write_lines(&mut self, text: &str) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.break_line();
            }
            let line = line.trim_end();
            if !line.is_empty() {
                self.write(line);
            }
        }
    }

    fn write(&mut self, words: &str) {
        let begins_line = self.out.is_empty() || self.line_ends > 0;
        if !self.out.is_empty() {
            for _ in 0..self.line_ends {
                self.out.push('\n');
            }
        }
        if begins_line {
            for _ in 0..self.quote_depth.min(QUOTE_DEPTH_MAX) {
                self.out.push_str("> ");
            }
        } else if self.space {
            self.out.push(' ');
        }
        self.out.push_str(words);
        self.line_ends = 0;
        self.space = false;
    }
}

/// What separates words; the no-break space does so too once it is plain text.
fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{a0}'
}

/// Whether the element begins and ends a line.
fn is_block(name: &str) -> bool {
    BLOCK.contains(&name)
        || matches!(
            name,
            "hr" | "tr" | "caption" | "form" | "fieldset" | "body" | "details" | "summary"
        )
}

/// Plain text as HTML that is safe to show: escaped, its lines and indents kept, `>` as quotes, addresses as links.
/// Shows at most [`TEXT_BYTES_MAX`] of it.
pub fn html_of_text(text: &str) -> String {
    let shown = within(text, TEXT_BYTES_MAX);
    let mut out = String::with_capacity(shown.len().saturating_mul(2));
    let mut depth = 0;
    let mut is_first = true;
    for line in shown.trim_end().lines() {
        let (line_depth, words) = quote_depth(line);
        if line_depth == depth && !is_first {
            out.push_str("<br>");
        }
        for _ in depth..line_depth {
            out.push_str("<blockquote>");
        }
        for _ in line_depth..depth {
            out.push_str("</blockquote>");
        }
        depth = line_depth;
        is_first = false;
        write_line(&mut out, words);
    }
    for _ in 0..depth {
        out.push_str("</blockquote>");
    }
    if shown.len() < text.len() {
        out.push_str("<br>…");
    }
    out
}

/// How deeply a line is quoted, and its words without the marks.
fn quote_depth(line: &str) -> (usize, &str) {
    let mut depth: usize = 0;
    let mut rest = line;
    while let Some(next) = rest.strip_prefix('>') {
        depth = depth.saturating_add(1);
        rest = next.strip_prefix(' ').unwrap_or(next);
    }
    (depth.min(QUOTE_DEPTH_MAX), rest)
}

/// Writes one line: words escaped, addresses as links, more than one space kept.
fn write_line(out: &mut String, line: &str) {
    let mut after_space = true;
    for piece in line.split_inclusive([' ', '\t']) {
        let word = piece.trim_end_matches([' ', '\t']);
        if !word.is_empty() {
            write_word(out, word);
            after_space = false;
        }
        if word.len() < piece.len() {
            out.push_str(match (piece.ends_with('\t'), after_space) {
                (true, _) => "&nbsp;&nbsp;&nbsp; ",
                (false, true) => "&nbsp;",
                (false, false) => " ",
            });
            after_space = true;
        }
    }
}

/// Writes a word, as a link where it is or holds an address.
fn write_word(out: &mut String, word: &str) {
    let at = word.find("https://").or_else(|| word.find("http://"));
    if let Some((before, from)) = at.and_then(|at| word.split_at_checked(at)) {
        let address =
            without_closing_marks(upto(from, from.find(['<', '>', '"']).unwrap_or(from.len())));
        if is_link(address) {
            escape(out, before);
            write_link(out, "", address);
            escape(out, after(from, address.len()));
            return;
        }
    }
    let bare = word.trim_start_matches(['<', '(', '[', '"', '\'']);
    let address = without_closing_marks(upto(
        bare,
        bare.find(['>', ')', ']', '"']).unwrap_or(bare.len()),
    ));
    if is_mail_address(address) {
        escape(out, upto(word, word.len().saturating_sub(bare.len())));
        write_link(out, "mailto:", address);
        escape(out, after(bare, address.len()));
    } else {
        escape(out, word);
    }
}

fn write_link(out: &mut String, scheme: &str, address: &str) {
    out.push_str("<a href=\"");
    out.push_str(scheme);
    escape(out, address);
    out.push_str("\" target=\"_blank\" rel=\"");
    out.push_str(LINK_REL);
    out.push_str("\">");
    escape(out, address);
    out.push_str("</a>");
}

/// Without the marks of the sentence around it; a bracket that the address opened stays.
fn without_closing_marks(address: &str) -> &str {
    let opened = address.matches(['(', '[']).count();
    let mut closed = address.matches([')', ']']).count();
    let mut address = address;
    loop {
        address = address.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '…']);
        match address.strip_suffix([')', ']']) {
            Some(inner) if closed > opened => {
                address = inner;
                closed = closed.saturating_sub(1);
            }
            _ => return address,
        }
    }
}

/// Whether this looks like a mail address and nothing more.
fn is_mail_address(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    word.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && local.chars().all(is_plain)
            && domain
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
            && domain
                .split_once('.')
                .is_some_and(|(host, top)| !host.is_empty() && !top.is_empty())
    })
}

/// Writes text so that it is text wherever it stands.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
