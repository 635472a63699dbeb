//! Templates of mails: text with fields, filled in. They read nothing but the fields, run no longer than a moment, and
//! what a field says is text in HTML, whatever it holds.
//! Not for: which fields somebody may read (that is for who gives them).

mod allowed;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, filters, tests as asked};
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
    #[error("Line {line} of the template says more than it may: {what}.")]
    NotAllowed { line: usize, what: &'static str },
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
    // Nothing is in it but what the list names: no function, and no way to say that a field's text is HTML.
    let mut env = Environment::empty();
    env.set_fuel(Some(FUEL));
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(move |_name| match filling {
        Filling::Text => AutoEscape::None,
        Filling::Html => AutoEscape::Html,
    });
    env.add_filter("upper", filters::upper);
    env.add_filter("lower", filters::lower);
    env.add_filter("title", filters::title);
    env.add_filter("capitalize", filters::capitalize);
    env.add_filter("trim", filters::trim);
    env.add_filter("default", filters::default);
    env.add_filter("d", filters::default);
    env.add_filter("length", filters::length);
    env.add_filter("int", filters::int);
    env.add_filter("float", filters::float);
    env.add_test("defined", asked::is_defined);
    env.add_test("undefined", asked::is_undefined);
    env.add_test("none", asked::is_none);
    env
}

fn read<'e>(
    env: &'e Environment<'static>,
    source: &'e str,
) -> Result<minijinja::Template<'e, 'e>, TemplateError> {
    if source.len() > TEMPLATE_BYTES_MAX {
        return Err(TemplateError::TooLong);
    }
    allowed::check(source)?;
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
    match path.split_once('.') {
        None => !fields.contains_key(path),
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

    fn filled(source: &str) -> Result<String, TemplateError> {
        fill(source, &fields(), Filling::Text).map(|(text, _missing)| text)
    }

    #[test]
    fn r42_a_template_may_ask_compare_and_choose() {
        let rows = [
            ("{{ client.company|default('nobody')|upper }}", ""),
            ("{{ client.fax|default('none given')|upper }}", "NONE GIVEN"),
            ("{{ client['name']|lower|trim }}", "cleo <script>"),
            (
                "{% if client.fax %}a{% elif user.name == 'Ada' and not client.company %}b{% else %}c{% endif %}",
                "b",
            ),
            (
                "{% if user.name is defined and 'd' in user.name %}y{% endif %}",
                "y",
            ),
            ("{{ 'long' if user.name|length > 2 else 'short' }}", "long"),
            ("{% if '12'|int >= 12 %}y{% endif %}", "y"),
            (
                "{% for a in ['x', 'y'] %}{% for b in [1, 2] %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{% endfor %}",
                "x11 x22 y11 y22 ",
            ),
            (
                "{% for part in client %}{{ part }} {% endfor %}",
                "company name ",
            ),
            ("{# a remark #}{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ];
        for (source, expected) in rows {
            assert_eq!(filled(source).as_deref(), Ok(expected), "{source}");
        }
        let (html, _missing) = fill(
            "{{ client.name|upper }}{{ client.fax|default('<b>') }}",
            &fields(),
            Filling::Html,
        )
        .unwrap();
        assert_eq!(html, "CLEO &lt;SCRIPT&gt;&lt;b&gt;");
    }

    #[test]
    fn r42_what_makes_much_of_little_is_refused_with_its_line() {
        let doubling = format!(
            "Dear\n{{% set a = 'a' %}}{}",
            "{% set a = a ~ a %}".repeat(40)
        );
        let rows = [
            (doubling.as_str(), 2),
            ("{{ 'a'|indent(200000000000) }}", 1),
            ("\n\n{{ client|slice(100000000) }}", 3),
            ("{{ client|batch(1000000000, 'x') }}", 1),
            ("{{ 'a' * 100000000000 }}", 1),
            ("{{ 'a' ~ 'a' }}", 1),
            ("{{ 'a' + 'a' }}", 1),
            ("{{ 9 ** 9 ** 9 }}", 1),
            ("{{ 'a'|replace('', 'aaaa')|replace('', 'aaaa') }}", 1),
            ("{{ '%999999999d'|format(1) }}", 1),
            ("{{ range(100000000) }}", 1),
            (
                "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
                1,
            ),
            ("{{ client.name.upper() }}", 1),
            ("{{ client.name[0:2] }}", 1),
            ("{{ client.name|trim('abc') }}", 1),
            ("{{ client.name is startingwith('x') }}", 1),
            ("{{ [1, [2]] }}", 1),
            ("{{ {'a': 1} }}", 1),
            ("{% for a in [[1]] %}x{% endfor %}", 1),
            ("{% for a in 'abc'|list %}x{% endfor %}", 1),
            ("{% for a in [1] recursive %}x{% endfor %}", 1),
            ("{% with a = 1 %}{{ a }}{% endwith %}", 1),
            ("{% set a %}x{% endset %}", 1),
            ("{% filter upper %}x{% endfilter %}", 1),
            (
                "{% autoescape false %}{{ client.name }}{% endautoescape %}",
                1,
            ),
            ("{{ client.name|safe }}", 1),
            ("{{ client.name|escape }}", 1),
            ("{% if 'x'|indent(9) %}{% endif %}", 1),
            ("{% if a %}{% else %}\n{{ b|indent(9) }}{% endif %}", 2),
            ("{{ a|default('x'|indent(9)) }}", 1),
            (
                "{% for a in [1] %}{% for b in [1] %}{% for c in [1] %}x{% endfor %}{% endfor %}{% endfor %}",
                1,
            ),
        ];
        for (source, expected) in rows {
            for found in [check(source), filled(source).map(drop)] {
                match found {
                    Err(TemplateError::NotAllowed { line, .. }) => {
                        assert_eq!(line, expected, "{source}")
                    }
                    other => panic!("{source}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn r42_what_goes_too_deep_is_refused_before_it_is_parsed() {
        let many = |text: &str| text.repeat(TEMPLATE_BYTES_MAX / text.len() - 8);
        let rows = [
            format!("{{{{ a{} }}}}", many(" or a")),
            format!("{{{{ a{} }}}}", many(".a")),
            format!("{{{{ a{} }}}}", many("|d")),
            format!("{{{{ {} a }}}}", many("not ")),
            format!("{{{{ {} }}}}", many("(")),
            format!("{{{{ {}a }}}}", many("-")),
            format!("{{% if a %}}{}", many("{%elif a%}")),
            format!("{{{{ '{}' }}}}", many("a")),
            many("{%if a%}"),
            many("{%for a in b%}"),
        ];
        for source in rows {
            assert!(source.len() <= TEMPLATE_BYTES_MAX);
            let begins: String = source.chars().take(20).collect();
            let found = check(&source);
            assert!(
                matches!(
                    found,
                    Err(TemplateError::NotAllowed { line: 1, .. }
                        | TemplateError::Unreadable { line: 1 })
                ),
                "{begins}: {found:?}"
            );
        }
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
        let list = format!("[{}]", "1,".repeat(90));
        let most = format!(
            "{{% for a in {list} %}}{{% for b in {list} %}}{}{{% endfor %}}{{% endfor %}}",
            "x".repeat(1000)
        );
        let steps = format!(
            "{{% for a in {list} %}}{{% for b in {list} %}}{}{{% endfor %}}{{% endfor %}}",
            "{{ x }}".repeat(100)
        );
        for source in [most, steps] {
            assert_eq!(filled(&source), Err(TemplateError::TooMuch));
        }
        let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        assert_eq!(check(&long), Err(TemplateError::TooLong));
    }
}
