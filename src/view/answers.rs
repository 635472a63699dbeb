//! What an answer quotes: the original under a line that says whose it is, as text and as HTML.
//! Not for: telling quoted text apart in mails that came (that is `quotes`).

use super::html::{clean, html_of_text};
use std::fmt::Write as _;

/// A quote longer than this is cut: the original is in the thread.
const QUOTE_BYTES_MAX: usize = 200 * 1024;

/// What stands over a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteHead {
    /// The sender as people read it.
    pub from: String,
    /// The day and time as people read it.
    pub date: String,
    /// Only in a forwarded mail.
    pub to: String,
    pub subject: String,
}

/// Whether an answer quotes, or a mail is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    Answer,
    Forward,
}

/// The quote as text.
pub fn quote_text(quoting: Quoting, head: &QuoteHead, text: &str) -> String {
    let shown = cut(text);
    let mut out = String::with_capacity(shown.len().saturating_mul(2));
    match quoting {
        Quoting::Answer => {
            // Writing to a string does not fail.
            let _ = writeln!(out, "On {}, {} wrote:", head.date, head.from);
            for line in shown.trim_end().lines() {
                out.push_str(if line.starts_with('>') { ">" } else { "> " });
                out.push_str(line);
                out.push('\n');
            }
        }
        Quoting::Forward => {
            let _ = write!(
                out,
                "---------- Forwarded message ----------\nFrom: {}\nDate: {}\nSubject: {}\nTo: {}\n\n{}",
                head.from, head.date, head.subject, head.to, shown
            );
        }
    }
    out
}

/// The quote as clean HTML: nothing of it runs, and nothing is loaded from elsewhere.
pub fn quote_html(quoting: Quoting, head: &QuoteHead, html: Option<&str>, text: &str) -> String {
    let body = html
        .and_then(|html| clean(cut(html), &|_cid| None))
        .map_or_else(|| html_of_text(cut(text)), |clean| clean.html);
    let (over, open, close) = match quoting {
        Quoting::Answer => (
            format!("On {}, {} wrote:", head.date, head.from),
            "<blockquote type=\"cite\">",
            "</blockquote>",
        ),
        Quoting::Forward => (
            format!(
                "---------- Forwarded message ----------\nFrom: {}\nDate: {}\nSubject: {}\nTo: {}",
                head.from, head.date, head.subject, head.to
            ),
            "<div>",
            "</div>",
        ),
    };
    format!("<div>{}</div>{open}{body}{close}", html_of_text(&over))
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(QUOTE_BYTES_MAX))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> QuoteHead {
        QuoteHead {
            from: "Carl <carl@client.example>".to_owned(),
            date: "24 November 2026 at 09:30".to_owned(),
            to: "sales@ours.example".to_owned(),
            subject: "An offer <b>".to_owned(),
        }
    }

    #[test]
    fn r41_an_answer_quotes_line_by_line() {
        let quoted = quote_text(Quoting::Answer, &head(), "Hello\n> earlier\n\nBye\n\n");
        let expected = "On 24 November 2026 at 09:30, Carl <carl@client.example> wrote:\n> Hello\n>> earlier\n> \n> Bye\n";
        assert_eq!(quoted, expected);
        let passed_on = quote_text(Quoting::Forward, &head(), "Hello");
        assert!(passed_on.contains("Subject: An offer <b>\n") && passed_on.ends_with("\n\nHello"));
    }

    #[test]
    fn r41_a_quote_is_cut_as_text_and_as_html() {
        let long = "a ".repeat(QUOTE_BYTES_MAX);
        let html = format!("<p>{long}</p><p>the end</p>");
        for quoted in [
            quote_text(Quoting::Forward, &head(), &long),
            quote_html(Quoting::Forward, &head(), Some(&html), ""),
        ] {
            assert!(quoted.len() < QUOTE_BYTES_MAX + 1000, "{}", quoted.len());
            assert!(!quoted.contains("the end"));
        }
    }

    #[test]
    fn r44_nothing_that_is_quoted_runs_or_loads() {
        let html = "<p onclick='x()'>Hi</p><script>alert(1)</script><img src='https://evil.example/x.png'>";
        for quoting in [Quoting::Answer, Quoting::Forward] {
            let quoted = quote_html(quoting, &head(), Some(html), "Hi");
            assert!(quoted.contains("<p>Hi</p>"), "{quoted}");
            assert!(
                !quoted.contains("script") && !quoted.contains("onclick"),
                "{quoted}"
            );
            assert!(!quoted.contains(" src="), "{quoted}");
            assert!(!quoted.contains("<b>"), "the head is text: {quoted}");
        }
        let plain = quote_html(Quoting::Answer, &head(), None, "1 < 2");
        assert!(plain.contains("1 &lt; 2"), "{plain}");
    }
}
