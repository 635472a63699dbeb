//! From a request's text to one operation that may run: parsed, within the limits, chosen by name.
//! Knows no schema but the name of its subscription root. Not for: running anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection,
};
use async_graphql::parser::{Error as ParserError, parse_query};
use async_graphql::{Name, Pos, Positioned};
use serde_json::{Map, Value as Json};

use super::error::Code;
use super::limits::{self, DocumentFacts, Refusal};

/// Documents kept parsed. Clients send the same few dozen; each may weigh 100 KB once parsed.
const CACHED_DOCUMENTS_MAX: usize = 128;
/// Longer documents are parsed each time, so that the cache can't be filled with large ones.
const CACHED_BYTES_MAX: usize = 4 * 1024;

/// Query, mutation or subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    Query,
    Mutation,
    Subscription,
}

impl OperationKind {
    /// The word for logs and messages.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Subscription => "subscription",
        }
    }
}

impl From<OperationType> for OperationKind {
    fn from(kind: OperationType) -> Self {
        match kind {
            OperationType::Query => Self::Query,
            OperationType::Mutation => Self::Mutation,
            OperationType::Subscription => Self::Subscription,
        }
    }
}

/// A document that parsed and is within the limits.
#[derive(Debug)]
pub struct Accepted {
    pub document: ExecutableDocument,
    pub facts: DocumentFacts,
}

/// An error of the request itself: nothing was run.
#[derive(Debug)]
pub struct RequestError {
    pub code: Code,
    pub message: String,
    /// Where in the document, the most telling place first.
    pub locations: Vec<Pos>,
    /// After how long it may be tried again, where that is known.
    pub retry_after_seconds: Option<u64>,
}

impl RequestError {
    /// One with a message and, where known, a place in the document.
    pub fn new(code: Code, message: impl Into<String>, position: Option<Pos>) -> Self {
        Self {
            code,
            message: message.into(),
            locations: position.into_iter().collect(),
            retry_after_seconds: None,
        }
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string(), None)
    }
}

impl From<ParserError> for RequestError {
    fn from(error: ParserError) -> Self {
        let mut positions = error.positions();
        let position = positions.next();
        let message = match &error {
            ParserError::Syntax { message, .. } => syntax_message(message, position),
            other => format!("Syntax error: {other}."),
        };
        let code = match error {
            ParserError::RecursionLimitExceeded => Code::CostLimitExceeded,
            _ => Code::ParseFailed,
        };
        let mut request_error = Self::new(code, message, position);
        request_error.locations.extend(positions);
        request_error
    }
}

/// The parser draws the place in several lines of ASCII art, and says what it expected on the last.
fn syntax_message(drawing: &str, position: Option<Pos>) -> String {
    let reason = drawing
        .lines()
        .rev()
        .find_map(|line| line.trim_start().strip_prefix("= "))
        .unwrap_or_else(|| drawing.lines().next().unwrap_or_default())
        .replace('_', " ");
    match position {
        Some(Pos { line, column }) => format!("Syntax error at {line}:{column}: {reason}."),
        None => format!("Syntax error: {reason}."),
    }
}

/// Parsed documents by their text; the one not used for longest gives way.
#[derive(Debug, Default)]
pub struct DocumentCache {
    inner: Mutex<CacheInner>,
}

#[derive(Debug, Default)]
struct CacheInner {
    clock: u64,
    entries: HashMap<Box<str>, (u64, Arc<Accepted>)>,
}

impl DocumentCache {
    /// The parsed document of this text, if it is one and is within the limits.
    pub fn accept(&self, source: &str) -> Result<Arc<Accepted>, RequestError> {
        if let Some(known) = self.get(source) {
            return Ok(known);
        }
        limits::check_source(source)?;
        let document = parse_query(source)?;
        let facts = limits::check_document(&document)?;
        let accepted = Arc::new(Accepted { document, facts });
        if source.len() <= CACHED_BYTES_MAX {
            self.insert(source, Arc::clone(&accepted));
        }
        Ok(accepted)
    }

    fn get(&self, source: &str) -> Option<Arc<Accepted>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        let (used, accepted) = inner.entries.get_mut(source)?;
        *used = now;
        Some(Arc::clone(accepted))
    }

    fn insert(&self, source: &str, accepted: Arc<Accepted>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.entries.len() >= CACHED_DOCUMENTS_MAX {
            let oldest = inner.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(text, _)| text.clone()) {
                inner.entries.remove(&oldest);
            }
        }
        let now = inner.clock;
        inner.entries.insert(source.into(), (now, accepted));
    }
}

/// The operation that the request means.
pub fn choose<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a Positioned<OperationDefinition>, RequestError> {
    let error = |message: String| RequestError::new(Code::ValidationFailed, message, None);
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(operation),
        (DocumentOperations::Multiple(operations), Some(name)) if operations.contains_key(name) => {
            operations
                .get(name)
                .ok_or_else(|| error("The operation is gone.".to_owned()))
        }
        (_, Some(name)) => Err(error(format!("Unknown operation named \"{name}\"."))),
        (DocumentOperations::Multiple(operations), None) => {
            let mut all = operations.values();
            match (all.next(), all.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(error(
                    "The document has several operations: operationName must say which.".to_owned(),
                )),
            }
        }
    }
}

/// Every variable that must have a value has one. The library checks only those that some argument uses.
pub fn check_required_variables(
    operation: &OperationDefinition,
    variables: &Map<String, Json>,
) -> Result<(), RequestError> {
    for definition in &operation.variable_definitions {
        let variable = &definition.node;
        if variable.var_type.node.nullable {
            continue;
        }
        let name = variable.name.node.as_str();
        let missing = match variables.get(name) {
            Some(Json::Null) => true,
            Some(_) => false,
            None => variable.default_value.is_none(),
        };
        if missing {
            let message = format!(
                "Variable \"${name}\" of the required type \"{}\" has no value.",
                variable.var_type.node
            );
            return Err(RequestError::new(
                Code::BadUserInput,
                message,
                Some(definition.pos),
            ));
        }
    }
    Ok(())
}

/// Makes sure that a subscription has exactly one field at its root, and that it stands there
/// itself: the library runs every root field as a stream of its own, and overlooks those in fragments.
pub fn settle_subscription_root(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    root_type: &str,
) -> Result<(), RequestError> {
    let operation = choose(document, name)?;
    let position = operation.pos;
    let mut used = Vec::new();
    let mut found = Vec::new();
    let items = &operation.node.selection_set.node.items;
    collect_root_fields(document, items, root_type, &mut used, &mut found)?;
    let mut fields = found.into_iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        let message = "A subscription must select exactly one field at its root.";
        return Err(RequestError::new(
            Code::ValidationFailed,
            message,
            Some(position),
        ));
    };
    if used.is_empty()
        && items.len() == 1
        && matches!(
            items.first().map(|item| &item.node),
            Some(Selection::Field(_))
        )
    {
        return Ok(());
    }
    for fragment in used {
        // On the subscription's root type, so nothing but such a root can spread it.
        document.fragments.remove(&fragment);
    }
    let operation = match (&mut document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get_mut(name),
        (DocumentOperations::Multiple(operations), None) => operations.values_mut().next(),
    };
    if let Some(operation) = operation {
        operation.node.selection_set.node.items = vec![field];
    }
    Ok(())
}

/// The fields that these root selections come to. Cycles were refused before.
fn collect_root_fields(
    document: &ExecutableDocument,
    items: &[Positioned<Selection>],
    root_type: &str,
    used: &mut Vec<Name>,
    found: &mut Vec<Positioned<Selection>>,
) -> Result<(), RequestError> {
    for item in items {
        if !item.node.directives().is_empty() {
            let message = "A subscription's root can't have directives.";
            return Err(RequestError::new(
                Code::ValidationFailed,
                message,
                Some(item.pos),
            ));
        }
        let (condition, inner) = match &item.node {
            Selection::Field(field) if field.node.name.node.starts_with("__") => {
                let message = "A subscription can't select introspection at its root.";
                return Err(RequestError::new(
                    Code::ValidationFailed,
                    message,
                    Some(item.pos),
                ));
            }
            Selection::Field(_) => {
                found.push(item.clone());
                continue;
            }
            Selection::InlineFragment(inline) => (
                inline.node.type_condition.as_ref(),
                &inline.node.selection_set.node.items,
            ),
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                let Some(fragment) = document.fragments.get(name) else {
                    let message = format!("Unknown fragment \"{name}\".");
                    return Err(RequestError::new(
                        Code::ValidationFailed,
                        message,
                        Some(item.pos),
                    ));
                };
                used.push(name.clone());
                (
                    Some(&fragment.node.type_condition),
                    &fragment.node.selection_set.node.items,
                )
            }
        };
        if let Some(condition) = condition
            && condition.node.on.node != root_type
        {
            let message = format!("A fragment at the root must be on \"{root_type}\".");
            return Err(RequestError::new(
                Code::ValidationFailed,
                message,
                Some(item.pos),
            ));
        }
        collect_root_fields(document, inner, root_type, used, found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_is_the_named_or_the_only_one() {
        let rows = [
            ("{ a }", None, true),
            ("query A { a }", None, true),
            ("query A { a }", Some("A"), true),
            ("query A { a } query B { b }", Some("B"), true),
            ("query A { a } query B { b }", None, false),
            ("query A { a }", Some("B"), false),
            ("{ a }", Some("A"), false),
        ];
        for (source, name, wanted) in rows {
            let document = parse_query(source).unwrap();
            assert_eq!(choose(&document, name).is_ok(), wanted, "{source} {name:?}");
        }
    }

    #[test]
    fn syntax_errors_take_one_line() {
        for source in [
            "{",
            "query ($x Int) { a }",
            "{ a(x: \"\n\") }",
            "type A { a: Int }",
            "{ a { } }",
        ] {
            let refused = DocumentCache::default().accept(source).unwrap_err();
            assert_eq!(refused.code, Code::ParseFailed, "{source}");
            let message = &refused.message;
            assert!(
                message.starts_with("Syntax error at ") && message.ends_with('.'),
                "{message}"
            );
            assert!(
                !message.contains('\n') && !message.contains('|'),
                "{message}"
            );
        }
    }

    #[test]
    fn the_cache_keeps_what_is_used_and_forgets_the_rest() {
        let cache = DocumentCache::default();
        let kept = cache.accept("{ kept }").unwrap();
        for number in 0..CACHED_DOCUMENTS_MAX * 2 {
            cache.accept(&format!("{{ a{number} }}")).unwrap();
            cache.accept("{ kept }").unwrap();
        }
        assert!(Arc::ptr_eq(&kept, &cache.accept("{ kept }").unwrap()));
        let inner = cache.inner.lock().unwrap();
        assert_eq!(inner.entries.len(), CACHED_DOCUMENTS_MAX);
        assert!(!inner.entries.contains_key("{ a0 }"));
    }
}
