//! Templates of mails: text with fields, filled in. They read nothing but the fields, run no longer than a moment, and
//! what a field says is text in HTML, whatever it holds.
//! Not for: which fields somebody may read (that is for who gives them).

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// A template longer than this is a book.
pub const TEMPLATE_BYTES_MAX: usize = 256 * 1024;
/// What a filled one may be long: a loop in it could write without end.
const FILLED_BYTES_MAX: usize = 1024 * 1024;
/// Steps that filling one takes at most; an honest one takes hundreds.
const FUEL: u64 = 50_000;

/// Fields by group and name: `client`, `name`. A field that is not there, or is empty, is missing.
pub type Fields = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

/// What is filled: text, or HTML, in which fields are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    Text,
    Html,
}

/// Why a template can't be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("Line {line} of the template can't be read.")]
    Unreadable { line: usize },
    #[error("The template is longer than {TEMPLATE_BYTES_MAX} bytes.")]
    TooLong,
    #[error("Filling the template in takes too long, or makes too much.")]
    TooMuch,
    #[error("Line {line} of the template asks for what there is not.")]
    Unfillable { line: usize },
}

/// Fills a template in; with the fields that it asks for and that are missing, which it is filled without.
///
/// # Errors
/// See [`TemplateError`].
pub fn fill(
    source: &str,
    fields: &Fields,
    filling: Filling,
) -> Result<(String, BTreeSet<String>), TemplateError> {
    let env = environment(filling);
    let template = read(&env, source)?;
    let missing = template
        .undeclared_variables(true)
        .into_iter()
        .filter(|path| is_missing(fields, path))
        .collect();
    let mut out = Bounded(Vec::new());
    template
        .render_captured_to(fields, &mut out)
        .map(drop)
        .map_err(|error| fault(&error))?;
    // Templates and fields are text, and so is what is made of them.
    let text = String::from_utf8(out.0).map_err(|_not_text| TemplateError::TooMuch)?;
    Ok((text, missing))
}

/// Whether a template can be read at all.
///
/// # Errors
/// As [`fill`].
pub fn check(source: &str) -> Result<(), TemplateError> {
    read(&environment(Filling::Text), source).map(drop)
}

fn environment(filling: Filling) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL));
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(move |_name| match filling {
        Filling::Text => AutoEscape::None,
        Filling::Html => AutoEscape::Html,
    });
    // They would let a template say that a field's text is HTML.
    env.remove_filter("safe");
    env.remove_test("safe");
    env
}

fn read<'e>(
    env: &'e Environment<'static>,
    source: &'e str,
) -> Result<minijinja::Template<'e, 'e>, TemplateError> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(TemplateError::TooLong);
    }
    env.template_from_str(source).map_err(|error| fault(&error))
}

/// Its words are dropped: they quote the template.
fn fault(error: &minijinja::Error) -> TemplateError {
    let line = error.line().unwrap_or(1);
    match error.kind() {
        ErrorKind::OutOfFuel | ErrorKind::WriteFailure => TemplateError::TooMuch,
        ErrorKind::SyntaxError
        | ErrorKind::UnknownFilter
        | ErrorKind::UnknownTest
        | ErrorKind::UnknownFunction => TemplateError::Unreadable { line },
        _ => TemplateError::Unfillable { line },
    }
}

fn is_missing(fields: &Fields, path: &str) -> bool {
    // What the language brings along.
    const FUNCTIONS: [&str; 4] = ["range", "dict", "namespace", "debug"];
    match path.split_once('.') {
        None => !fields.contains_key(path) && !FUNCTIONS.contains(&path),
        Some((group, name)) => fields
            .get(group)
            .and_then(|group| group.get(name))
            .is_none_or(|value| value.trim().is_empty()),
    }
}

/// Takes so much and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > FILLED_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let group = |all: &[(&'static str, &str)]| {
            let all = all.iter().map(|(name, value)| (*name, (*value).to_owned()));
            all.collect::<BTreeMap<_, _>>()
        };
        Fields::from([
            (
                "client",
                group(&[("name", "Cleo <script>"), ("company", "")]),
            ),
            ("user", group(&[("name", "Ada")])),
        ])
    }

    #[test]
    fn r42_a_template_is_filled_in_and_what_is_missing_is_named() {
        let rows = [
            ("Dear {{ client.name }},", "Dear Cleo <script>,", vec![]),
            ("{{ client.name|upper }}", "CLEO <SCRIPT>", vec![]),
            (
                "{% if client.company %}at {{ client.company }}{% endif %}!",
                "!",
                vec!["client.company"],
            ),
            (
                "{{ item.title }} {{ nobody }}.",
                " .",
                vec!["item.title", "nobody"],
            ),
            (
                "{{ client.company or 'you' }}",
                "you",
                vec!["client.company"],
            ),
            ("{{ user.name }}", "Ada", vec![]),
        ];
        for (source, expected, missing) in rows {
            let (text, found) = fill(source, &fields(), Filling::Text).unwrap();
            assert_eq!(text, expected, "{source}");
            assert_eq!(found.into_iter().collect::<Vec<_>>(), missing, "{source}");
        }
    }

    #[test]
    fn r42_a_field_is_text_in_html() {
        let (html, _missing) = fill("<b>{{ client.name }}</b>", &fields(), Filling::Html).unwrap();
        assert_eq!(html, "<b>Cleo &lt;script&gt;</b>");
        assert!(fill("{{ client.name|safe }}", &fields(), Filling::Html).is_err());
    }

    #[test]
    fn r42_a_template_reads_no_files_and_ends() {
        let unreadable =
            |source: &str| matches!(check(source), Err(TemplateError::Unreadable { .. }));
        assert!(unreadable("{{ x"));
        for source in [
            "{% include 'x' %}",
            "{% extends 'x' %}",
            "{% import 'x' as y %}",
            "{% macro m() %}{% endmacro %}",
            "{{ open('/etc/passwd') }}",
        ] {
            assert!(fill(source, &fields(), Filling::Text).is_err(), "{source}");
        }
        for source in [
            "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
            "{% for a in range(100000000) %}x{% endfor %}",
        ] {
            assert!(fill(source, &fields(), Filling::Text).is_err(), "{source}");
        }
        let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        assert_eq!(check(&long), Err(TemplateError::TooLong));
    }
}
