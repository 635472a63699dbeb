//! Which media type a request speaks and which one its answer takes (GraphQL over HTTP).
//! Pure: header texts in, decisions out.

/// The media type of an answer; both are UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerType {
    /// `application/json`: errors in the document still answer 200.
    Json,
    /// `application/graphql-response+json`: the status says whether the request was run.
    GraphqlResponse,
}

impl AnswerType {
    /// What stands in `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        }
    }

    const fn subtype(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::GraphqlResponse => "graphql-response+json",
        }
    }
}

/// How well one `Accept` item fits a type: the quality in thousandths, and how exactly it names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    exactness: u8,
    quality: u16,
}

/// The answer's type for these `Accept` headers; `None` when none of ours will do.
/// Without any, and for `*/*`, that is `application/json`, as older clients expect.
pub fn negotiate<'a>(accepts: impl Iterator<Item = &'a str>) -> Option<AnswerType> {
    let items: Vec<&str> = accepts
        .flat_map(|header| header.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect();
    if items.is_empty() {
        return Some(AnswerType::Json);
    }
    let best = |answer: AnswerType| items.iter().filter_map(|item| fit(item, answer)).max();
    let json = best(AnswerType::Json).filter(|fit| fit.quality > 0);
    let graphql = best(AnswerType::GraphqlResponse).filter(|fit| fit.quality > 0);
    match (json, graphql) {
        (None, None) => None,
        (Some(_), None) => Some(AnswerType::Json),
        (None, Some(_)) => Some(AnswerType::GraphqlResponse),
        (Some(json), Some(graphql)) => {
            let by_wildcard = graphql.exactness < 2;
            let prefers_json =
                json.quality > graphql.quality || (json.quality == graphql.quality && by_wildcard);
            Some(if prefers_json {
                AnswerType::Json
            } else {
                AnswerType::GraphqlResponse
            })
        }
    }
}

fn fit(item: &str, answer: AnswerType) -> Option<Fit> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let exactness = match name.split_once('/')? {
        ("*", "*") => 0,
        ("application", "*") => 1,
        ("application", subtype) if subtype == answer.subtype() => 2,
        _ => return None,
    };
    let mut quality = 1_000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = thousandths(value.trim()),
            "charset" if !is_utf8(value) => return None,
            _ => {}
        }
    }
    Some(Fit { exactness, quality })
}

/// `0.8` as 800; what is no quality counts as 1.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole != "0" {
        return 1_000;
    }
    let digits = fraction.chars().chain("000".chars()).take(3);
    digits.fold(0, |sum, digit| {
        sum * 10
            + digit
                .to_digit(10)
                .and_then(|digit| u16::try_from(digit).ok())
                .unwrap_or(0)
    })
}

fn is_utf8(charset: &str) -> bool {
    let charset = charset.trim().trim_matches('"');
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

/// Whether a body of this `Content-Type` is JSON in UTF-8: the only kind that is taken. A browser's
/// form or a no-questions-asked cross-site request can't carry it, which is the guard against CSRF.
pub fn is_json_body(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else {
        return false;
    };
    let mut parts = content_type.split(';').map(str::trim);
    let names_json = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    names_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((key, value)) if key.trim().eq_ignore_ascii_case("charset") => is_utf8(value),
            _ => true,
        })
}

/// Whether this is one of the types that a page may send to another site without being asked.
pub fn is_simple_type(content_type: &str) -> bool {
    let name = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    matches!(
        name.as_str(),
        "" | "text/plain" | "application/x-www-form-urlencoded" | "multipart/form-data"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_type_follows_accept() {
        use AnswerType::{GraphqlResponse, Json};
        let rows: [(&str, &[&str], Option<AnswerType>); 13] = [
            ("nothing accepted means json", &[], Some(Json)),
            ("anything means json", &["*/*"], Some(Json)),
            (
                "any application type means json",
                &["application/*"],
                Some(Json),
            ),
            ("json", &["application/json"], Some(Json)),
            (
                "the newer type",
                &["application/graphql-response+json"],
                Some(GraphqlResponse),
            ),
            (
                "both alike mean the newer",
                &["application/json, application/graphql-response+json"],
                Some(GraphqlResponse),
            ),
            (
                "the better quality wins",
                &["application/graphql-response+json;q=0.5, application/json;q=0.9"],
                Some(Json),
            ),
            (
                "what Apollo sends",
                &["application/graphql-response+json,application/json;q=0.9"],
                Some(GraphqlResponse),
            ),
            (
                "what a browser sends",
                &["text/html,application/xml;q=0.9,*/*;q=0.8"],
                Some(Json),
            ),
            (
                "several headers are one list",
                &["text/html", "APPLICATION/JSON"],
                Some(Json),
            ),
            ("neither", &["text/html"], None),
            ("quality zero is a no", &["application/json;q=0"], None),
            (
                "another charset is a no",
                &["application/json; charset=latin1"],
                None,
            ),
        ];
        for (says, accepts, wanted) in rows {
            assert_eq!(negotiate(accepts.iter().copied()), wanted, "{says}");
        }
    }

    #[test]
    fn only_json_in_utf_8_is_a_body() {
        let rows = [
            (Some("application/json"), true),
            (Some("application/json; charset=utf-8"), true),
            (Some("Application/JSON;charset=\"UTF-8\""), true),
            (Some("application/json; charset=utf-16"), false),
            (Some("text/plain"), false),
            (Some("application/x-www-form-urlencoded"), false),
            (Some("multipart/form-data; boundary=x"), false),
            (Some("application/jsonp"), false),
            (None, false),
        ];
        for (content_type, wanted) in rows {
            assert_eq!(is_json_body(content_type), wanted, "{content_type:?}");
        }
    }
}
