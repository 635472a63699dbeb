//! Where the links of a clean HTML body lead, and whether they say so: what people are shown before they follow one.
//! Not for deciding which links may be there (that is `html`).

use super::markup::{Token, decode, tokens};

/// Links that are told of one mail: a newsletter has some dozens.
const LINKS_MAX: usize = 200;
/// Characters of a link's words.
const TEXT_CHARS_MAX: usize = 200;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub url: String,
    /// The host that it leads to, as it is reached; `None` for mail and telephone.
    pub host: Option<String>,
    /// What is written on it.
    pub text: String,
    /// Whether it says that it leads elsewhere, hides its host behind a name, or has a host of letters that look like others.
    pub is_misleading: bool,
}

/// The links of a clean body, in their order.
pub fn links(clean_html: &str) -> Vec<Link> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for token in tokens(clean_html) {
        match token {
            Token::Open(tag) if tag.name == "a" => {
                let address = decode(tag.attribute("href").unwrap_or("")).into_owned();
                found.extend(open.take().map(link));
                open = (!address.is_empty()).then(|| (address, String::new()));
            }
            Token::Close(name) if name == "a" => found.extend(open.take().map(link)),
            Token::Text(text) => {
                if let Some((_, words)) = &mut open {
                    words.push_str(&decode(text));
                }
            }
            Token::Open(_) | Token::Close(_) => {}
        }
        if found.len() >= LINKS_MAX {
            return found;
        }
    }
    found.extend(open.map(link));
    found
}

fn link((url, words): (String, String)) -> Link {
    let words: Vec<&str> = words.split_whitespace().collect();
    let text: String = words.join(" ").chars().take(TEXT_CHARS_MAX).collect();
    let parsed = url::Url::parse(&url).ok();
    let host = parsed.as_ref().and_then(|url| url.host_str());
    let host = host.map(str::to_owned);
    let has_name = parsed
        .as_ref()
        .is_some_and(|url| !url.username().is_empty() || url.password().is_some());
    let is_foreign = |host: &String| host.split('.').any(|label| label.starts_with("xn--"));
    let says_otherwise = host
        .as_ref()
        .is_some_and(|host| said_host(&text).is_some_and(|said| !is_same_site(&said, host)));
    Link {
        is_misleading: host.is_some() && (has_name || says_otherwise)
            || host.as_ref().is_some_and(is_foreign),
        url,
        host,
        text,
    }
}

/// The host that a link's words name, where they look like an address and nothing else.
fn said_host(text: &str) -> Option<String> {
    if text.contains(char::is_whitespace) || !text.contains('.') || text.contains('@') {
        return None;
    }
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let url = url::Url::parse(&with_scheme).ok()?;
    let host = url.host_str()?;
    let last = host.rsplit('.').next()?;
    let is_name = last.len() >= 2 && !last.bytes().all(|byte| byte.is_ascii_digit());
    is_name.then(|| host.to_owned())
}

/// Whether one host is the other, or lies below it.
fn is_same_site(one: &str, other: &str) -> bool {
    let bare = |host: &str| host.strip_prefix("www.").unwrap_or(host).to_lowercase();
    let (one, other) = (bare(one), bare(other));
    let is_below = |lower: &str, upper: &str| lower.ends_with(&format!(".{upper}"));
    one == other || is_below(&one, &other) || is_below(&other, &one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r44_links_show_where_they_lead() {
        // (HTML, host, text, whether it misleads)
        let rows = [
            (
                "<a href=\"https://good.example/a\">Our offer</a>",
                Some("good.example"),
                "Our offer",
                false,
            ),
            (
                "<a href=\"https://good.example/a\">good.example</a>",
                Some("good.example"),
                "good.example",
                false,
            ),
            (
                "<a href=\"https://www.good.example/\">https://good.example/login</a>",
                Some("www.good.example"),
                "https://good.example/login",
                false,
            ),
            (
                "<a href=\"https://evil.example/\">https://good.example/login</a>",
                Some("evil.example"),
                "https://good.example/login",
                true,
            ),
            (
                "<a href=\"https://evil.example/\">good.example</a>",
                Some("evil.example"),
                "good.example",
                true,
            ),
            (
                "<a href=\"https://good.example@evil.example/\">Log in</a>",
                Some("evil.example"),
                "Log in",
                true,
            ),
            (
                "<a href=\"https://xn--pypal-4ve.example/\">Log in</a>",
                Some("xn--pypal-4ve.example"),
                "Log in",
                true,
            ),
            (
                "<a href=\"https://pаypal.example/\">Log in</a>",
                Some("xn--pypal-4ve.example"),
                "Log in",
                true,
            ),
            (
                "<a href=\"mailto:a@good.example\">a@good.example</a>",
                None,
                "a@good.example",
                false,
            ),
            (
                "<a href=\"https://good.example/\">Version 2.0</a>",
                Some("good.example"),
                "Version 2.0",
                false,
            ),
            (
                "<a href=\"https://good.example/\">3.14</a>",
                Some("good.example"),
                "3.14",
                false,
            ),
            (
                "<a href=\"https://good.example/?a=1&amp;b=2\"><b>see</b>\n  this",
                Some("good.example"),
                "see this",
                false,
            ),
        ];
        for (html, host, text, is_misleading) in rows {
            let found = links(html);
            assert_eq!(found.len(), 1, "{html}");
            let found = &found[0];
            assert_eq!(
                (
                    found.host.as_deref(),
                    found.text.as_str(),
                    found.is_misleading
                ),
                (host, text, is_misleading),
                "{html}"
            );
        }
        assert_eq!(links("<p>no link</p>"), []);
    }
}
