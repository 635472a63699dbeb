//! How much one GraphQL request may ask for. Everything here is checked before the schema sees the
//! document, in time linear in its length, since some of the library's own checks walk every fragment
//! at every spread and so need exponential time for a few hundred bytes.
//! Not for: rights, and rates over time.

use std::collections::HashMap;
use std::convert::Infallible;

use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, FragmentDefinition, Selection, SelectionSet,
};
use async_graphql::{
    Name, ObjectType, Positioned, SchemaBuilder, SubscriptionType, Value as ConstValue,
};

use super::error::Code;
use super::straight::lists_are_selected_once;

/// A generated query of our own clients has 2-6 KiB; more is no person's question.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024;
/// Bounds the parser's work, which is linear in tokens.
pub const TOKENS_MAX: usize = 2_000;
/// Brackets inside brackets. The parser recurses for each, on a thread's stack.
pub const NESTING_MAX: usize = 64;
/// Selections once every fragment is written out where it is spread: the validation's work.
pub const SELECTIONS_MAX: u64 = 5_000;
/// Fields inside fields: `mailboxes.edges.node.emails.edges.node.links.item.responsible.name` has 10.
pub const DEPTH_MAX: u64 = 12;
/// The same inside `__schema` and `__type`: GraphiQL's own query nests 15 deep, through `ofType`.
pub const INTROSPECTION_DEPTH_MAX: u64 = 20;
/// Selections inside `__schema` and `__type`, fragments written out: GraphiQL's own query has about
/// 280. The static cost can't multiply them by the size of the schema.
pub const INTROSPECTION_SELECTIONS_MAX: u64 = 500;
/// Lists inside lists of introspection (`fields { type { fields … } }`): each multiplies the answer.
pub const INTROSPECTION_LISTS_MAX: u64 = 2;
/// Fields, spreads and inline fragments inside each other: the library's recursion, on a thread's stack.
pub const RECURSION_MAX: usize = 32;
/// The same field many times under other names is how one request makes many attempts.
pub const ALIASES_MAX: u64 = 30;
/// Fields at the root of one operation.
pub const ROOT_FIELDS_MAX: u64 = 20;
/// Directives on one field, spread, operation or variable.
pub const DIRECTIVES_MAX: usize = 5;
/// Objects and lists inside each other in a value.
pub const VALUE_DEPTH_MAX: usize = 32;
/// Elements of one list in a value; `nodes(ids:)` takes 100.
pub const ARRAY_MAX: usize = 250;
/// The static cost of one request: a page of 50 timeline entries with their emails and links fits.
pub const COST_MAX: usize = 1_000;
/// The wall-clock time of one query or mutation; the database's own statement limit is below it.
pub const DEADLINE_SECONDS: u64 = 10;
/// The largest page, and the size of a page when neither `first` nor `last` is given.
const PAGE_MAX: i32 = 100;
const PAGE_DEFAULT: i32 = 20;

/// The lists of introspection that lead from a type to further types.
const INTROSPECTION_LISTS: [&str; 4] = ["fields", "inputFields", "interfaces", "possibleTypes"];

/// Why a request is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The document has more than {DOCUMENT_BYTES_MAX} bytes.")]
    DocumentBytes,
    #[error("The document has more than {TOKENS_MAX} tokens.")]
    Tokens,
    #[error("The document nests brackets more than {NESTING_MAX} deep.")]
    Nesting,
    #[error(
        "The document selects more than {SELECTIONS_MAX} fields once its fragments are written out."
    )]
    Selections,
    #[error("The document nests fields more than {DEPTH_MAX} deep.")]
    Depth,
    #[error("The document nests introspection too deep.")]
    IntrospectionDepth,
    #[error("The document reads more than {INTROSPECTION_SELECTIONS_MAX} fields of the schema.")]
    IntrospectionSelections,
    #[error("The document nests selections and fragments more than {RECURSION_MAX} deep.")]
    Recursion,
    #[error("The document has more than {ALIASES_MAX} aliases.")]
    Aliases,
    #[error("An operation has more than {ROOT_FIELDS_MAX} fields at its root.")]
    RootFields,
    #[error("There are more than {DIRECTIVES_MAX} directives in one place.")]
    Directives,
    #[error("A value nests more than {VALUE_DEPTH_MAX} deep.")]
    ValueDepth,
    #[error("A list in a value has more than {ARRAY_MAX} elements.")]
    Array,
    #[error("The fragment \"{0}\" spreads itself.")]
    Cycle(String),
}

impl Refusal {
    /// The code that goes with it.
    pub const fn code(&self) -> Code {
        match self {
            Self::Cycle(_) => Code::ValidationFailed,
            _ => Code::CostLimitExceeded,
        }
    }
}

/// Sets the limits that the schema itself keeps. Every schema that is put behind an
/// [`Api`](super::api::Api) is built through this.
///
/// The library's own depth limit stays off, since it would count introspection too; suggestions stay
/// off, since "Did you mean" names fields that introspection hides.
pub fn apply<Q, M, S>(builder: SchemaBuilder<Q, M, S>) -> SchemaBuilder<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    builder
        .limit_complexity(COST_MAX)
        .limit_recursive_depth(RECURSION_MAX)
        .disable_suggestions()
}

/// The cost of a page whose rows cost this much each.
/// Never overflows, whatever a caller writes into `first`.
pub fn page_cost(first: Option<i32>, last: Option<i32>, child_cost: usize) -> usize {
    let asked = first.or(last).unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let asked = usize::try_from(asked).unwrap_or(usize::MAX);
    // Far above COST_MAX and far below overflow when siblings are added up.
    const CEILING: usize = 1_000_000_000;
    asked
        .saturating_mul(child_cost)
        .saturating_add(1)
        .min(CEILING)
}

/// Checks the text before it is parsed: its length, its tokens and how deep its brackets nest.
pub fn check_source(source: &str) -> Result<(), Refusal> {
    if source.len() > DOCUMENT_BYTES_MAX {
        return Err(Refusal::DocumentBytes);
    }
    let mut tokens = 0_usize;
    let mut nesting = 0_usize;
    let mut rest = source.as_bytes();
    while let Some((token, after)) = next_token(rest) {
        rest = after;
        tokens += 1;
        match token {
            b'{' | b'[' | b'(' => nesting += 1,
            b'}' | b']' | b')' => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        if tokens > TOKENS_MAX {
            return Err(Refusal::Tokens);
        }
        if nesting > NESTING_MAX {
            return Err(Refusal::Nesting);
        }
    }
    Ok(())
}

/// The first byte of the next token and what follows that token; `None` at the end.
fn next_token(mut bytes: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        match bytes {
            [] => return None,
            [b' ' | b'\t' | b'\r' | b'\n' | b',', rest @ ..] | [0xEF, 0xBB, 0xBF, rest @ ..] => {
                bytes = rest;
            }
            [b'#', rest @ ..] => bytes = skip_while(rest, |byte| !matches!(byte, b'\r' | b'\n')),
            [b'"', b'"', b'"', rest @ ..] => return Some((b'"', skip_block_string(rest))),
            [b'"', rest @ ..] => return Some((b'"', skip_string(rest))),
            [b'.', b'.', b'.', rest @ ..] => return Some((b'.', rest)),
            [first, rest @ ..] if is_word(*first) => {
                return Some((*first, skip_while(rest, is_word)));
            }
            [first, rest @ ..] => return Some((*first, rest)),
        }
    }
}

/// Names and numbers; a minus or a point inside a number is a token of its own here, which is harmless.
const fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn skip_while(mut bytes: &[u8], wanted: impl Fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && wanted(*first)
    {
        bytes = rest;
    }
    bytes
}

fn skip_string(mut bytes: &[u8]) -> &[u8] {
    loop {
        match bytes {
            [] => return bytes,
            [b'\\', _, rest @ ..] => bytes = rest,
            [b'"' | b'\n' | b'\r', rest @ ..] => return rest,
            [_, rest @ ..] => bytes = rest,
        }
    }
}

fn skip_block_string(mut bytes: &[u8]) -> &[u8] {
    loop {
        match bytes {
            [] => return bytes,
            [b'\\', b'"', b'"', b'"', rest @ ..] => bytes = rest,
            [b'"', b'"', b'"', rest @ ..] => return rest,
            [_, rest @ ..] => bytes = rest,
        }
    }
}

/// Checks the variables' depth and the length of their lists.
pub fn check_variables(
    variables: &serde_json::Map<String, serde_json::Value>,
) -> Result<(), Refusal> {
    variables
        .values()
        .try_for_each(|value| check_json(value, VALUE_DEPTH_MAX))
}

fn check_json(value: &serde_json::Value, depth_left: usize) -> Result<(), Refusal> {
    use serde_json::Value as Json;
    let deeper = |value: &Json| match depth_left.checked_sub(1) {
        Some(left) => check_json(value, left),
        None => Err(Refusal::ValueDepth),
    };
    match value {
        Json::Array(items) if items.len() > ARRAY_MAX => Err(Refusal::Array),
        Json::Array(items) => items.iter().try_for_each(deeper),
        Json::Object(fields) => fields.values().try_for_each(deeper),
        _ => Ok(()),
    }
}

/// What a parsed and accepted document asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentFacts {
    /// It reads `__schema` or `__type`.
    pub uses_introspection: bool,
    /// No two of its fields are lists under the same name.
    pub selects_lists_once: bool,
}

/// Checks a parsed document. Each fragment is measured once, however often it is spread.
pub fn check_document(document: &ExecutableDocument) -> Result<DocumentFacts, Refusal> {
    let mut measure = Measure {
        fragments: &document.fragments,
        known: HashMap::new(),
    };
    let mut total = Size::default();
    for name in document.fragments.keys() {
        // Also those that nothing spreads, which the library validates too.
        measure.fragment(name, RECURSION_MAX)?;
    }
    for (_, operation) in document.operations.iter() {
        check_directives(&operation.node.directives)?;
        for variable in &operation.node.variable_definitions {
            check_directives(&variable.node.directives)?;
            if let Some(default) = &variable.node.default_value {
                check_const(&default.node, VALUE_DEPTH_MAX)?;
            }
        }
        let size = measure.selection_set(&operation.node.selection_set.node, RECURSION_MAX)?;
        if size.fields_here > ROOT_FIELDS_MAX {
            return Err(Refusal::RootFields);
        }
        total = total.beside(size);
    }
    total.within_limits()?;
    let operations = document.operations.iter();
    let sets = operations.map(|(_name, operation)| &operation.node.selection_set.node);
    let fragments = document.fragments.values();
    let sets = sets.chain(fragments.map(|fragment| &fragment.node.selection_set.node));
    Ok(DocumentFacts {
        uses_introspection: total.introspection_depth > 0,
        selects_lists_once: lists_are_selected_once(sets),
    })
}

/// The measures of some selections with their fragments written out. All arithmetic saturates.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    selections: u64,
    /// Fields at the top of these selections, whatever fragments they come through.
    fields_here: u64,
    aliases: u64,
    /// Fields inside fields, introspection left out.
    depth: u64,
    /// Fields, spreads and inline fragments inside each other.
    nesting: u64,
    /// Nested fields of a name that introspection uses for its lists.
    lists: u64,
    introspection_depth: u64,
    introspection_lists: u64,
    introspection_selections: u64,
}

impl Size {
    /// These selections and those, side by side.
    fn beside(self, other: Self) -> Self {
        Self {
            selections: self.selections.saturating_add(other.selections),
            fields_here: self.fields_here.saturating_add(other.fields_here),
            aliases: self.aliases.saturating_add(other.aliases),
            depth: self.depth.max(other.depth),
            nesting: self.nesting.max(other.nesting),
            lists: self.lists.max(other.lists),
            introspection_depth: self.introspection_depth.max(other.introspection_depth),
            introspection_lists: self.introspection_lists.max(other.introspection_lists),
            introspection_selections: self
                .introspection_selections
                .saturating_add(other.introspection_selections),
        }
    }

    /// The field whose sub-selections have this size.
    fn under(self, field: &Field) -> Self {
        let name = field.name.node.as_str();
        let mut size = Self {
            selections: self.selections.saturating_add(1),
            fields_here: 1,
            aliases: self
                .aliases
                .saturating_add(u64::from(field.alias.is_some())),
            depth: self.depth.saturating_add(1),
            nesting: self.nesting.saturating_add(1),
            lists: self
                .lists
                .saturating_add(u64::from(INTROSPECTION_LISTS.contains(&name))),
            ..self
        };
        if matches!(name, "__schema" | "__type") {
            // What is below belongs to introspection and has limits of its own.
            size.introspection_depth = size.depth.max(size.introspection_depth);
            size.introspection_lists = size.lists.max(size.introspection_lists);
            size.introspection_selections = size.selections;
            size.depth = 1;
            size.lists = 0;
        }
        size
    }

    /// The same through one more fragment.
    fn through_fragment(self) -> Self {
        Self {
            nesting: self.nesting.saturating_add(1),
            ..self
        }
    }

    fn within_limits(self) -> Result<(), Refusal> {
        let recursion_max = u64::try_from(RECURSION_MAX).unwrap_or(u64::MAX);
        if self.selections > SELECTIONS_MAX {
            Err(Refusal::Selections)
        } else if self.depth > DEPTH_MAX {
            Err(Refusal::Depth)
        } else if self.introspection_depth > INTROSPECTION_DEPTH_MAX
            || self.introspection_lists > INTROSPECTION_LISTS_MAX
        {
            Err(Refusal::IntrospectionDepth)
        } else if self.introspection_selections > INTROSPECTION_SELECTIONS_MAX {
            Err(Refusal::IntrospectionSelections)
        } else if self.nesting > recursion_max {
            Err(Refusal::Recursion)
        } else if self.aliases > ALIASES_MAX {
            Err(Refusal::Aliases)
        } else {
            Ok(())
        }
    }
}

/// Measures selections; `known` holds each fragment's size, or `None` while it is being measured.
struct Measure<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    known: HashMap<&'a str, Option<Size>>,
}

impl<'a> Measure<'a> {
    /// `left` bounds our own recursion: what needs more is over a limit anyway.
    fn selection_set(&mut self, set: &'a SelectionSet, left: usize) -> Result<Size, Refusal> {
        let left = left.checked_sub(1).ok_or(Refusal::Recursion)?;
        let mut total = Size::default();
        for selection in &set.items {
            check_directives(selection.node.directives())?;
            let size = match &selection.node {
                Selection::Field(field) => {
                    check_literals(
                        field
                            .node
                            .arguments
                            .iter()
                            .map(|(_, value)| value.node.clone().into_const_with(nothing)),
                    )?;
                    self.selection_set(&field.node.selection_set.node, left)?
                        .under(&field.node)
                }
                Selection::InlineFragment(inline) => self
                    .selection_set(&inline.node.selection_set.node, left)?
                    .through_fragment(),
                Selection::FragmentSpread(spread) => self
                    .fragment(&spread.node.fragment_name.node, left)?
                    .through_fragment(),
            };
            total = total.beside(size);
        }
        Ok(total)
    }

    fn fragment(&mut self, name: &str, left: usize) -> Result<Size, Refusal> {
        let Some((name, fragment)) = self.fragments.get_key_value(name) else {
            // The validation says so in its own words.
            return Ok(Size::default());
        };
        match self.known.get(name.as_str()) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(Refusal::Cycle(name.to_string())),
            None => {}
        }
        self.known.insert(name.as_str(), None);
        check_directives(&fragment.node.directives)?;
        let size = self.selection_set(&fragment.node.selection_set.node, left)?;
        self.known.insert(name.as_str(), Some(size));
        Ok(size)
    }
}

fn check_directives(directives: &[Positioned<Directive>]) -> Result<(), Refusal> {
    if directives.len() > DIRECTIVES_MAX {
        return Err(Refusal::Directives);
    }
    for directive in directives {
        check_literals(
            directive
                .node
                .arguments
                .iter()
                .map(|(_, value)| value.node.clone().into_const_with(nothing)),
        )?;
    }
    Ok(())
}

/// What stands for a variable in a literal: its value is checked by [`check_variables`].
fn nothing(_variable: Name) -> Result<ConstValue, Infallible> {
    Ok(ConstValue::Null)
}

fn check_literals(
    mut literals: impl Iterator<Item = Result<ConstValue, Infallible>>,
) -> Result<(), Refusal> {
    literals.try_for_each(|literal| match literal {
        Ok(literal) => check_const(&literal, VALUE_DEPTH_MAX),
        Err(never) => match never {},
    })
}

fn check_const(value: &ConstValue, depth_left: usize) -> Result<(), Refusal> {
    let deeper = |value: &ConstValue| match depth_left.checked_sub(1) {
        Some(left) => check_const(value, left),
        None => Err(Refusal::ValueDepth),
    };
    match value {
        ConstValue::List(items) if items.len() > ARRAY_MAX => Err(Refusal::Array),
        ConstValue::List(items) => items.iter().try_for_each(deeper),
        ConstValue::Object(fields) => fields.values().try_for_each(deeper),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;

    fn check(source: &str) -> Result<DocumentFacts, Refusal> {
        check_source(source)?;
        check_document(&parse_query(source).unwrap())
    }

    /// `{ a { a { … } } }`, this many fields deep.
    fn deep(levels: usize) -> String {
        format!("{{ a {}{}", "{ a ".repeat(levels - 1), "}".repeat(levels))
    }

    /// Each fragment spreads the next one twice: the work doubles with every link.
    fn doubling(links: usize) -> String {
        let mut source = "{ q { ...f0 } }".to_owned();
        for link in 0..links {
            source += &format!(" fragment f{link} on Q {{ ...f{0} ...f{0} }}", link + 1);
        }
        source + &format!(" fragment f{links} on Q {{ a }}")
    }

    /// Each fragment spreads the next one once: few selections, but deep.
    fn chain(links: usize) -> String {
        let fragments: String = (0..links)
            .map(|number| format!("fragment f{number} on Q {{ ...f{} }} ", number + 1))
            .collect();
        format!("{{ ...f0 }} {fragments} fragment f{links} on Q {{ a }}")
    }

    #[test]
    fn t35_what_asks_for_too_much_is_refused() {
        let rows: Vec<(&str, String, Option<Refusal>)> = vec![
            ("a plain query", "{ a { b } }".into(), None),
            ("12 deep", deep(12), None),
            ("13 deep", deep(13), Some(Refusal::Depth)),
            ("brackets 70 deep", deep(70), Some(Refusal::Nesting)),
            ("a list of lists", format!("{{ a(x: {}) }}", "[".repeat(9_000)), Some(Refusal::Nesting)),
            ("30 aliases", format!("{{ a {{ {} }} }}", aliases(30)), None),
            ("31 aliases", format!("{{ a {{ {} }} }}", aliases(31)), Some(Refusal::Aliases)),
            (
                "16 aliases spread twice",
                format!("{{ a {{ ...f }} b {{ ...f }} }} fragment f on Q {{ {} }}", aliases(16)),
                Some(Refusal::Aliases),
            ),
            ("20 root fields", format!("{{ {} }}", "a ".repeat(20)), None),
            ("21 root fields", format!("{{ {} }}", "a ".repeat(21)), Some(Refusal::RootFields)),
            (
                "21 root fields through a fragment",
                format!("{{ ...f }} fragment f on Q {{ {} }}", "a ".repeat(21)),
                Some(Refusal::RootFields),
            ),
            ("5 directives", format!("{{ a {} }}", "@x ".repeat(5)), None),
            ("6 directives", format!("{{ a {} }}", "@x ".repeat(6)), Some(Refusal::Directives)),
            (
                "6 directives on the operation",
                format!("query {} {{ a }}", "@x ".repeat(6)),
                Some(Refusal::Directives),
            ),
            ("250 ids", format!("{{ a(x: [{}]) }}", "1 ".repeat(250)), None),
            ("251 ids", format!("{{ a(x: [{}]) }}", "1 ".repeat(251)), Some(Refusal::Array)),
            ("a doubling that stays small", doubling(8), None),
            ("a doubling to 2^20", doubling(20), Some(Refusal::Selections)),
            ("a doubling to 2^28", doubling(28), Some(Refusal::Selections)),
            ("a long chain of fragments", chain(100), Some(Refusal::Recursion)),
            (
                "a fragment in itself",
                "{ ...f } fragment f on Q { ...f ...f }".into(),
                Some(Refusal::Cycle("f".into())),
            ),
            ("2,001 tokens", format!("{{ {} }}", "a ".repeat(1_999)), Some(Refusal::Tokens)),
            ("17 KiB", format!("{{ a }} # {}", "x".repeat(17 * 1024)), Some(Refusal::DocumentBytes)),
            (
                "the same field of the schema over and over",
                format!("{{ __schema {{ types {{ {} }} }} }}", "name ".repeat(500)),
                Some(Refusal::IntrospectionSelections),
            ),
            (
                "types of types of types",
                "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }"
                    .into(),
                Some(Refusal::IntrospectionDepth),
            ),
        ];
        for (says, source, wanted) in rows {
            assert_eq!(check(&source).err(), wanted, "{says}");
        }
        let idle_cycle = "{ a } fragment f on Q { ...g } fragment g on Q { a { ...f } }";
        assert!(matches!(check(idle_cycle), Err(Refusal::Cycle(_))));
    }

    fn aliases(count: usize) -> String {
        (0..count).map(|number| format!("x{number}: a ")).collect()
    }

    /// The promise is for optimised builds.
    const AT_ONCE_MS: u128 = if cfg!(debug_assertions) { 200 } else { 20 };

    #[test]
    fn t35_a_refusal_takes_no_time() {
        let sources = [
            doubling(28),
            doubling(200),
            deep(60),
            format!("{{ a(x: {}) }}", "[".repeat(16_000)),
            format!("{{ {} }}", "a ".repeat(7_000)),
            format!("{{ a(x: \"{}\") }}", "\\\"".repeat(9_000)),
        ];
        for source in sources {
            let started = std::time::Instant::now();
            assert!(check(&source).is_err(), "{:.40}", source);
            assert!(
                started.elapsed().as_millis() < AT_ONCE_MS,
                "{:.40} {:?}",
                source,
                started.elapsed()
            );
        }
    }

    #[test]
    fn tokens_are_counted_as_the_grammar_has_them() {
        let rows = [
            ("{ a }", 3),
            ("\u{feff}{a,b}#c {{{\n", 4),
            (r#"{ a(x: "}\"}", y: """ } \""" } """) }"#, 11),
            ("query Q($x: [Int!]! = [1, -2]) @d { ...f }", 24),
        ];
        for (source, wanted) in rows {
            let mut rest = source.as_bytes();
            let mut count = 0;
            while let Some((_, after)) = next_token(rest) {
                rest = after;
                count += 1;
            }
            assert_eq!(count, wanted, "{source}");
        }
    }

    #[test]
    fn variables_have_limits_too() {
        let read = |text: &str| serde_json::from_str(text).unwrap();
        let nested =
            |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(check_variables(&read(&nested(32))), Ok(()));
        assert_eq!(
            check_variables(&read(&nested(34))),
            Err(Refusal::ValueDepth)
        );
        let long = |count: usize| format!("{{\"x\":[{}1]}}", "1,".repeat(count - 1));
        assert_eq!(check_variables(&read(&long(250))), Ok(()));
        assert_eq!(check_variables(&read(&long(251))), Err(Refusal::Array));
    }

    #[test]
    fn the_cost_of_a_page_never_overflows() {
        let rows = [
            ("neither given: twenty", None, None, 3, 61),
            ("first", Some(50), None, 3, 151),
            ("last", None, Some(10), 3, 31),
            ("more than a page is a page", Some(i32::MAX), None, 1, 101),
            ("nonsense counts as one", Some(-5), None, 3, 4),
        ];
        for (says, first, last, child, wanted) in rows {
            assert_eq!(page_cost(first, last, child), wanted, "{says}");
        }
        assert_eq!(page_cost(Some(100), None, usize::MAX), 1_000_000_000);
    }
}
