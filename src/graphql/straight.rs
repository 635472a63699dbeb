//! Pages written straight to JSON. A page of 50 entries with 28 fields each makes 1,400 futures and a tree of values when
//! every field is resolved for itself, and that takes several times as long as reading the rows. Where all that is
//! selected of a page's rows stands in rows that are there already, their text is written at once.
//!
//! What a field says is told twice then: by its resolver, and by the plan that stands beside it in the same file. The tests
//! compare both for every field and kind. Whatever a plan does not know, or fails, is left to the resolvers: they alone
//! make errors. Not for: anything that takes a right of its own, or a reading of its own.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use async_graphql::parser::types::{Field, FragmentDefinition, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::resolve_list;
use async_graphql::{ContextSelectionSet, Name, OutputType, Positioned, ServerResult, Value};
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::context::Ask;
use super::ids::Named;
use super::paging::{Edge, Listed};
use crate::model::Time;

/// Whether each list, and the entry of an event, is selected once in this request's document: what is selected twice under
/// one name is merged of both, and only values can be merged.
#[derive(Debug, Clone, Copy)]
pub struct ListsOnce(pub bool);

/// Whether text may stand for a value here. Whoever asks the schema past its wall, where the text is not made, gets values.
fn takes_text(ctx: &ContextSelectionSet<'_>) -> bool {
    matches!(ctx.data_opt::<ListsOnce>(), Some(ListsOnce(true)))
}

/// Fields of lists, and of events: what is selected of the rows hangs on these.
const ROW_FIELDS: [&str; 3] = ["edges", "nodes", "entry"];

/// Whether no two fields of this document are lists, or entries, under the same name.
pub fn lists_are_selected_once<'d>(selections: impl Iterator<Item = &'d SelectionSet>) -> bool {
    let mut seen = Vec::new();
    let mut sets: Vec<&SelectionSet> = selections.collect();
    while let Some(set) = sets.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    if ROW_FIELDS.contains(&field.node.name.node.as_str()) {
                        let key = &field.node.response_key().node;
                        if seen.contains(&key) {
                            return false;
                        }
                        seen.push(key);
                    }
                    sets.push(&field.node.selection_set.node);
                }
                Selection::InlineFragment(fragment) => {
                    sets.push(&fragment.node.selection_set.node);
                }
                // Fragments are given beside the operation.
                Selection::FragmentSpread(_) => {}
            }
        }
    }
    true
}

/// What is selected of a row.
#[derive(Clone)]
pub struct Selected<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    sets: Vec<&'a SelectionSet>,
}

/// A field that is selected, under its name in the answer.
pub struct Picked<'a> {
    key: &'a str,
    pub name: &'a str,
    pub within: Selected<'a>,
}

impl<'a> Selected<'a> {
    fn of(ctx: &ContextSelectionSet<'a>) -> Self {
        Self {
            fragments: &ctx.query_env.fragments,
            sets: vec![&ctx.item.node],
        }
    }

    /// The fields that apply to an object which is all of these types, in the order of the answer. `None` where one takes
    /// more than a row.
    pub fn fields(&self, is: &[&str]) -> Option<Vec<Picked<'a>>> {
        let mut found = Vec::new();
        for set in &self.sets {
            self.collect(set, is, &mut found)?;
        }
        Some(found)
    }

    fn collect(
        &self,
        set: &'a SelectionSet,
        is: &[&str],
        found: &mut Vec<Picked<'a>>,
    ) -> Option<()> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.pick(&field.node, found)?,
                Selection::InlineFragment(fragment) => {
                    let fragment = &fragment.node;
                    let condition = fragment.type_condition.as_ref();
                    let applies = condition.is_none_or(|on| is.contains(&on.node.on.node.as_str()));
                    if !fragment.directives.is_empty() {
                        return None;
                    }
                    if applies {
                        self.collect(&fragment.selection_set.node, is, found)?;
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = &self.fragments.get(&spread.node.fragment_name.node)?.node;
                    if !spread.node.directives.is_empty() {
                        return None;
                    }
                    if is.contains(&fragment.type_condition.node.on.node.as_str()) {
                        self.collect(&fragment.selection_set.node, is, found)?;
                    }
                }
            }
        }
        Some(())
    }

    fn pick(&self, field: &'a Field, found: &mut Vec<Picked<'a>>) -> Option<()> {
        if !field.arguments.is_empty() || !field.directives.is_empty() {
            return None;
        }
        let (key, name) = (field.response_key().node.as_str(), field.name.node.as_str());
        let set = &field.selection_set.node;
        match found.iter_mut().find(|picked| picked.key == key) {
            // The same field twice is one, with all that is selected of it.
            Some(picked) if picked.name == name => picked.within.sets.push(set),
            Some(_another) => return None,
            None => found.push(Picked {
                key,
                name,
                within: Self {
                    fragments: self.fragments,
                    sets: vec![set],
                },
            }),
        }
        Some(())
    }
}

/// Fields with what each writes, in the order of the answer.
pub struct Plan<F>(Vec<(Vec<u8>, F)>);

impl<F> Plan<F> {
    /// Plans what is selected of a type; `field` says what one of its fields writes.
    pub fn new<'a>(
        selected: &Selected<'a>,
        is: &[&str],
        field: impl Fn(&Picked<'a>) -> Option<F>,
    ) -> Option<Self> {
        let mut planned = Vec::new();
        for picked in selected.fields(is)? {
            let front = if planned.is_empty() { '{' } else { ',' };
            // Names need no escape.
            let key = format!("{front}\"{}\":", picked.key);
            planned.push((key.into_bytes(), field(&picked)?));
        }
        (!planned.is_empty()).then_some(Self(planned))
    }

    /// The fields.
    pub fn fields(&mut self) -> impl Iterator<Item = &mut F> {
        self.0.iter_mut().map(|(_key, field)| field)
    }

    /// Writes an object.
    pub fn write(&self, out: &mut Vec<u8>, mut value: impl FnMut(&F, &mut Vec<u8>)) {
        for (key, field) in &self.0 {
            out.extend_from_slice(key);
            value(field, out);
        }
        out.push(b'}');
    }
}

/// What was written last of rows that many others name: the next names the same, as a rule. Of one question, in which a row
/// is the same throughout.
pub struct LastWritten<K>(RefCell<Option<(K, Vec<u8>)>>);

impl<K: PartialEq> LastWritten<K> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Writes what has this key; `write` does so where it is not what was written last.
    pub fn write(&self, out: &mut Vec<u8>, key: K, write: impl FnOnce(&mut Vec<u8>)) {
        let mut last = self.0.borrow_mut();
        match &*last {
            Some((before, written)) if *before == key => out.extend_from_slice(written),
            _ => {
                let begin = out.len();
                write(out);
                *last = out.get(begin..).map(|written| (key, written.to_vec()));
            }
        }
    }
}

/// Writes a text.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _infallible = serde_json::to_writer(out, text);
}

/// Writes a text, or null.
pub fn write_maybe(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_text(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes a text that has nothing to be escaped.
pub fn write_plain(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Writes a moment.
pub fn write_time(out: &mut Vec<u8>, time: Time) {
    write_plain(out, &time.to_rfc3339());
}

/// Writes a number or a truth.
pub fn write_shown(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Writes the id of a row.
pub fn write_id<T: Named>(out: &mut Vec<u8>, ask: &Ask, id: T) {
    write_plain(out, &ask.codec().seal_id(T::TYPE, id.number()));
}

/// Writes the row of this index.
pub type WriteRow<'a> = Box<dyn Fn(&mut Vec<u8>, usize) + Send + 'a>;

/// How the rows of a page are written; `None` where what is selected of them takes more than they have.
pub type Writer<'a> = BoxFuture<'a, Option<WriteRow<'a>>>;

/// Edges or nodes of a page.
pub struct Straight<T>(pub Vec<T>);

/// Something that a page has for each of its rows.
pub trait OfRow: OutputType {
    /// How these are written.
    fn writer<'a>(rows: &'a [Self], selected: Selected<'a>) -> Writer<'a>
    where
        Self: Sized;
}

impl<N: Listed> OfRow for &N {
    fn writer<'a>(rows: &'a [Self], selected: Selected<'a>) -> Writer<'a> {
        N::writer(rows.to_vec(), selected)
    }
}

/// What is written of an edge.
enum EdgeField {
    Typename,
    Cursor,
    Node,
}

impl<N: Listed> OfRow for Edge<N> {
    fn writer<'a>(rows: &'a [Self], selected: Selected<'a>) -> Writer<'a> {
        Box::pin(async move {
            let fields = selected.fields(&[N::EDGE])?;
            let node = fields.into_iter().find(|picked| picked.name == "node");
            let mut plan = Plan::new(&selected, &[N::EDGE], |picked| match picked.name {
                "__typename" => Some(EdgeField::Typename),
                "cursor" => Some(EdgeField::Cursor),
                "node" => Some(EdgeField::Node),
                _ => None,
            })?;
            if plan
                .fields()
                .filter(|field| matches!(field, EdgeField::Node))
                .count()
                > 1
            {
                // Under two names.
                return None;
            }
            let nodes = rows.iter().map(Self::node_of).collect();
            let node: Option<WriteRow<'a>> = match node {
                Some(picked) => Some(N::writer(nodes, picked.within).await?),
                None => None,
            };
            let write = move |out: &mut Vec<u8>, index: usize| {
                let Some(row) = rows.get(index) else { return };
                plan.write(out, |field, out| match (field, &node) {
                    (EdgeField::Cursor, _) => write_plain(out, &row.sealed().0),
                    (EdgeField::Node, Some(node)) => node(out, index),
                    (EdgeField::Typename, _) => write_plain(out, N::EDGE),
                    (EdgeField::Node, None) => write_maybe(out, None),
                });
            };
            Some(Box::new(write) as WriteRow<'a>)
        })
    }
}

impl<T: OfRow> Straight<T> {
    async fn written(&self, ctx: &ContextSelectionSet<'_>) -> Option<Vec<u8>> {
        if !takes_text(ctx) {
            return None;
        }
        let write = T::writer(&self.0, Selected::of(ctx)).await?;
        let mut out = Vec::with_capacity(self.0.len().saturating_mul(512));
        out.push(b'[');
        for index in 0..self.0.len() {
            if index > 0 {
                out.push(b',');
            }
            write(&mut out, index);
        }
        out.push(b']');
        Some(out)
    }
}

impl<T: OfRow> OutputType for Straight<T> {
    fn type_name() -> Cow<'static, str> {
        Vec::<T>::type_name()
    }

    fn qualified_type_name() -> String {
        Vec::<T>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Vec::<T>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        match self.written(ctx).await {
            Some(written) => Ok(Value::Binary(Bytes::from(written))),
            None => resolve_list(ctx, field, &self.0, Some(self.0.len())).await,
        }
    }
}

/// One row that stands alone, as in an event.
pub struct StraightRow<T>(pub T);

impl<N: Listed> StraightRow<N> {
    async fn written(&self, ctx: &ContextSelectionSet<'_>) -> Option<Vec<u8>> {
        if !takes_text(ctx) {
            return None;
        }
        let write = N::writer(vec![&self.0], Selected::of(ctx)).await?;
        let mut out = Vec::with_capacity(512);
        write(&mut out, 0);
        Some(out)
    }
}

impl<N: Listed> OutputType for StraightRow<N> {
    fn type_name() -> Cow<'static, str> {
        N::type_name()
    }

    fn qualified_type_name() -> String {
        N::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        N::create_type_info(registry)
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        match self.written(ctx).await {
            Some(written) => Ok(Value::Binary(Bytes::from(written))),
            None => self.0.resolve(ctx, field).await,
        }
    }
}

/// Writes a value; one that is binary is JSON already.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => write_maybe(out, None),
        Value::Number(number) => write_shown(out, number),
        Value::String(text) => write_text(out, text),
        Value::Boolean(value) => write_shown(out, value),
        Value::Binary(written) => out.extend_from_slice(written),
        Value::Enum(word) => write_plain(out, word),
        Value::List(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, value);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (index, (key, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(out, key);
                out.push(b':');
                write_value(out, value);
            }
            out.push(b'}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::email::EmailPlan;
    use async_graphql::parser::parse_query;
    use async_graphql::parser::types::DocumentOperations;

    fn set_of(document: &async_graphql::parser::types::ExecutableDocument) -> &SelectionSet {
        let DocumentOperations::Single(operation) = &document.operations else {
            panic!("one operation");
        };
        &operation.node.selection_set.node
    }

    fn selects_once(query: &str) -> bool {
        let document = parse_query(query).unwrap();
        let fragments = document.fragments.values();
        let sets = fragments.map(|fragment| &fragment.node.selection_set.node);
        lists_are_selected_once(sets.chain([set_of(&document)]))
    }

    #[test]
    fn a_list_that_is_selected_twice_under_one_name_is_left_to_values() {
        assert!(selects_once(
            "{ a { edges { node { id } } } b { nodes { id } } }"
        ));
        assert!(selects_once(
            "{ a { ...F } } fragment F on A { edges { cursor } }"
        ));
        assert!(selects_once(
            "{ a { edges { cursor } more: edges { cursor } } }"
        ));
        assert!(!selects_once(
            "{ a { edges { cursor } edges { node { id } } } }"
        ));
        assert!(!selects_once(
            "{ a { edges { cursor } ...F } } fragment F on A { edges { node { id } } }"
        ));
        assert!(!selects_once(
            "{ a { edges { cursor } ... { nodes: edges { cursor } nodes { id } } } }"
        ));
    }

    /// Whether emails can be written so.
    fn plans(query: &str) -> bool {
        let document = parse_query(query).unwrap();
        let selected = Selected {
            fragments: &document.fragments,
            sets: vec![set_of(&document)],
        };
        EmailPlan::new(&selected).is_some()
    }

    #[test]
    fn only_what_stands_in_a_row_is_written_straight() {
        assert!(plans(
            "{ id subject again: subject from { name address } ... on Node { id } ...F } fragment F on Email { version }"
        ));
        assert!(plans("{ id ... on Deal { title } }"));
        for other in [
            "{ id bodyText }",
            "{ to { address } }",
            "{ from { name domain } }",
            "{ id: subject id }",
            "{ subject @include(if: true) }",
            "{ subject(long: true) }",
            "{ ... on Deal { title } }",
            "{ ...F } fragment F on Email { thread { id } }",
        ] {
            assert!(!plans(other), "{other}");
        }
    }

    #[test]
    fn values_are_written_as_json() {
        let value = Value::from_json(serde_json::json!({
            "text": "a \"quoted\" line\n\u{1}ü", "none": null, "list": [1, -2.5, true, []], "object": {},
        }))
        .unwrap();
        let mut out = Vec::new();
        write_value(&mut out, &value);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            serde_json::to_string(&value).unwrap()
        );
    }
}
