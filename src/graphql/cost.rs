//! What one operation may cost, before it runs: the rows that it can load, taking every page to be full.
//!
//! Worked out here from the schema's own types, since the library's numbers are written on fields by hand, leave
//! out whatever is selected through an interface, and charge an enum as much as a row. Rules:
//! a row (a type with an id) costs 1; a value inside a row nothing; a page its size times what a row of it selects;
//! a list without pages twice what one of it selects; of the kinds that one row can be, the dearest counts.
//! Not for: the length and depth of documents (`limits`), which bound this walk too.

use std::collections::{BTreeMap, HashMap};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, Field, FieldDefinition, OperationDefinition, OperationType,
    Selection, SelectionSet, Type, TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, Positioned, Value};
use serde_json::{Map, Value as Json};

use super::limits::{COST_MAX, page_cost};

/// Rows of a list without pages, on average: links of an email, folders of a mailbox.
const LIST_FACTOR: usize = 2;
/// Fields that read the raw mail and parse it, count rows, or judge thousands of mails: beside what they select.
const DEAR: [(&str, usize); 13] = [
    ("simulateRouting", 400),
    ("bodyText", 4),
    ("bodyBlocks", 4),
    ("bodyLinks", 4),
    ("unsubscribe", 4),
    ("invitation", 4),
    ("specialFormats", 4),
    ("bodyHtml", 4),
    ("rawHeaders", 4),
    ("totalCount", 4),
    ("search", 10),
    ("snippets", 4),
    ("facets", 40),
];

/// How a field leads to another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    /// To one, or none.
    One,
    /// To a page, by `first` or `last`.
    Page,
    /// To a list of any length.
    List,
}

#[derive(Debug)]
struct Lead {
    to: String,
    many: Many,
}

#[derive(Debug, Default)]
struct Shape {
    /// Whether it has an id, and so is a row.
    is_row: bool,
    /// Whether it is one object type, which excludes any other.
    is_object: bool,
    /// Fields that lead to objects, interfaces and unions.
    leads: HashMap<String, Lead>,
}

/// The costs of the fields of one schema.
#[derive(Debug, Default)]
pub struct Costs {
    shapes: HashMap<String, Shape>,
    roots: [String; 3],
}

/// The document asks for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The operation costs {cost}, more than {COST_MAX}: ask for smaller pages or fewer fields.")]
pub struct TooDear {
    pub cost: usize,
}

impl Costs {
    /// Works them out of a schema's text. One that can't be read costs nothing; the schema's own tests read it.
    pub fn of_schema(sdl: &str) -> Self {
        let mut costs = Self {
            shapes: HashMap::new(),
            roots: ["Query", "Mutation", "Subscription"].map(str::to_owned),
        };
        let Ok(document) = parse_schema(sdl) else {
            tracing::error!("the schema's text can't be read: no operation has a cost");
            return costs;
        };
        for definition in document.definitions {
            match definition {
                TypeSystemDefinition::Type(definition) => {
                    let name = definition.node.name.node.to_string();
                    if let Some(shape) = shape(&definition.node.kind) {
                        costs.shapes.insert(name, shape);
                    }
                }
                TypeSystemDefinition::Schema(schema) => {
                    let roots = [
                        schema.node.query,
                        schema.node.mutation,
                        schema.node.subscription,
                    ];
                    for (root, named) in costs.roots.iter_mut().zip(roots) {
                        if let Some(named) = named {
                            *root = named.node.to_string();
                        }
                    }
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        costs.forget_scalars();
        costs
    }

    /// Fields that lead to scalars and enums cost nothing: those have no shape.
    fn forget_scalars(&mut self) {
        let shaped: Vec<String> = self.shapes.keys().cloned().collect();
        for shape in self.shapes.values_mut() {
            shape.leads.retain(|_field, lead| shaped.contains(&lead.to));
        }
    }

    /// Judges one operation, and says what it costs.
    ///
    /// # Errors
    /// `TooDear` above [`COST_MAX`].
    pub fn check(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Map<String, Json>,
    ) -> Result<usize, TooDear> {
        let cost = self.cost(document, operation, variables);
        if cost > COST_MAX {
            return Err(TooDear { cost });
        }
        Ok(cost)
    }

    /// What an operation costs.
    pub fn cost(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Map<String, Json>,
    ) -> usize {
        let walk = Walk {
            costs: self,
            document,
            operation,
            variables,
        };
        let [query, mutation, subscription] = &self.roots;
        let root = match operation.ty {
            OperationType::Query => query,
            OperationType::Mutation => mutation,
            OperationType::Subscription => subscription,
        };
        walk.selection(root, &operation.selection_set.node)
    }
}

fn shape(kind: &TypeKind) -> Option<Shape> {
    let (fields, is_object): (&[Positioned<FieldDefinition>], bool) = match kind {
        TypeKind::Object(object) => (&object.fields, true),
        TypeKind::Interface(interface) => (&interface.fields, false),
        TypeKind::Union(_) => (&[], false),
        TypeKind::Scalar | TypeKind::Enum(_) | TypeKind::InputObject(_) => return None,
    };
    let lead = |field: &Positioned<FieldDefinition>| {
        let (to, is_list) = innermost(&field.node.ty.node);
        let many = if is_list {
            Many::List
        } else if to.ends_with("Connection") {
            Many::Page
        } else {
            Many::One
        };
        (field.node.name.node.to_string(), Lead { to, many })
    };
    Some(Shape {
        is_row: fields.iter().any(|field| field.node.name.node == "id"),
        is_object,
        leads: fields.iter().map(lead).collect(),
    })
}

/// The named type inside, and whether a list is around it.
fn innermost(ty: &Type) -> (String, bool) {
    match &ty.base {
        BaseType::Named(name) => (name.to_string(), false),
        BaseType::List(inner) => (innermost(inner).0, true),
    }
}

struct Walk<'a> {
    costs: &'a Costs,
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Map<String, Json>,
}

impl Walk<'_> {
    /// What one thing of this type costs, beside itself.
    fn selection(&self, type_name: &str, set: &SelectionSet) -> usize {
        let mut common = 0_usize;
        let mut by_kind: BTreeMap<&str, usize> = BTreeMap::new();
        for item in &set.items {
            let (condition, inner) = match &item.node {
                Selection::Field(field) => {
                    common = common.saturating_add(self.field(type_name, &field.node));
                    continue;
                }
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref();
                    (condition, &inline.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let Some(fragment) = self.document.fragments.get(name) else {
                        continue;
                    };
                    let condition = Some(&fragment.node.type_condition);
                    (condition, &fragment.node.selection_set.node)
                }
            };
            let narrowed = condition.map_or(type_name, |condition| condition.node.on.node.as_str());
            let cost = self.selection(narrowed, inner);
            if narrowed != type_name && self.is_object(narrowed) {
                let kind = by_kind.entry(narrowed).or_default();
                *kind = kind.saturating_add(cost);
            } else {
                common = common.saturating_add(cost);
            }
        }
        common.saturating_add(by_kind.into_values().max().unwrap_or(0))
    }

    fn is_object(&self, type_name: &str) -> bool {
        let shape = self.costs.shapes.get(type_name);
        shape.is_some_and(|shape| shape.is_object)
    }

    fn field(&self, type_name: &str, field: &Field) -> usize {
        let name = field.name.node.as_str();
        let dear = DEAR.iter().find(|(dear, _cost)| *dear == name);
        let dear = dear.map_or(0, |(_name, cost)| *cost);
        let shape = self.costs.shapes.get(type_name);
        let Some(lead) = shape.and_then(|shape| shape.leads.get(name)) else {
            return dear;
        };
        let inner = match lead.many {
            Many::One => self.one(&lead.to, &field.selection_set.node),
            Many::List => self
                .one(&lead.to, &field.selection_set.node)
                .saturating_mul(self.list_size(field)),
            Many::Page => self.page(&lead.to, field),
        };
        dear.saturating_add(inner)
    }

    fn one(&self, type_name: &str, set: &SelectionSet) -> usize {
        let shape = self.costs.shapes.get(type_name);
        let itself = usize::from(shape.is_some_and(|shape| shape.is_row));
        itself.saturating_add(self.selection(type_name, set))
    }

    /// `nodes(ids:)` has as many as it is asked for.
    fn list_size(&self, field: &Field) -> usize {
        match self.argument(field, "ids") {
            Some(Value::List(ids)) => ids.len(),
            Some(_) => 1,
            None => LIST_FACTOR,
        }
    }

    /// A page: what it selects beside its rows once, and of each row what is dearer, `nodes` or `edges`, or both.
    fn page(&self, connection: &str, field: &Field) -> usize {
        let mut of_row = 0_usize;
        let mut once = 0_usize;
        self.page_fields(
            connection,
            &field.selection_set.node,
            &mut of_row,
            &mut once,
        );
        let size = |name| self.number(field, name);
        page_cost(size("first"), size("last"), of_row.max(1)).saturating_add(once)
    }

    fn page_fields(
        &self,
        connection: &str,
        set: &SelectionSet,
        of_row: &mut usize,
        once: &mut usize,
    ) {
        for item in &set.items {
            match &item.node {
                Selection::Field(selected) => {
                    let selected = &selected.node;
                    let shape = self.costs.shapes.get(connection);
                    let lead = shape.and_then(|shape| shape.leads.get(selected.name.node.as_str()));
                    match lead {
                        Some(lead) if lead.many == Many::List => {
                            let row = self.one(&lead.to, &selected.selection_set.node);
                            *of_row = of_row.saturating_add(row);
                        }
                        _ => *once = once.saturating_add(self.field(connection, selected)),
                    }
                }
                Selection::InlineFragment(inline) => {
                    self.page_fields(connection, &inline.node.selection_set.node, of_row, once);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name) {
                        let inner = &fragment.node.selection_set.node;
                        self.page_fields(connection, inner, of_row, once);
                    }
                }
            }
        }
    }

    /// A number among the arguments; one that can't be is refused elsewhere.
    fn number(&self, field: &Field, argument: &str) -> Option<i32> {
        match self.argument(field, argument)? {
            Value::Number(number) => as_i32(&number),
            _ => None,
        }
    }

    /// An argument, written out or in a variable.
    fn argument(&self, field: &Field, argument: &str) -> Option<Value> {
        let value = field.get_argument(argument)?.node.clone();
        value
            .into_const_with(|name| self.variable(&name).ok_or(()))
            .ok()
    }

    fn variable(&self, name: &Name) -> Option<Value> {
        if let Some(given) = self.variables.get(name.as_str()) {
            return Value::from_json(given.clone()).ok();
        }
        let mut defined = self.operation.variable_definitions.iter();
        let defined = defined.find(|defined| defined.node.name.node == *name)?;
        Some(defined.node.default_value.as_ref()?.node.clone())
    }
}

/// What is out of range counts as the largest page.
fn as_i32(number: &serde_json::Number) -> Option<i32> {
    Some(
        number
            .as_i64()
            .and_then(|n| i32::try_from(n).ok())
            .unwrap_or(i32::MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;

    fn cost(query: &str, variables: Json) -> usize {
        let costs = Costs::of_schema(&crate::graphql::sdl());
        let document = parse_query(query).unwrap();
        let Json::Object(variables) = variables else {
            panic!("variables are an object");
        };
        let operation = document.operations.iter().next().unwrap().1;
        costs.cost(&document, &operation.node, &variables)
    }

    const ENTRIES: &str = "pageInfo { endCursor hasNextPage } liveCursor edges { cursor node { __typename id at actor { id name avatarUrl }
        item { __typename id title }
        ... on EmailReceived { email { ...E } } ... on EmailSent { email { ...E } } ... on EmailLinked { email { ...E } from { title } }
        ... on StageChanged { from { name } to { name } } ... on NoteAdded { text } } }";
    const EMAIL: &str = "fragment E on Email { id subject preview direction from { name address } to { name address } receivedAt savedAt
        links { isPrimary item { id title } } responsible { name } attachments { name url } activity { state deadline }
        canRelink { allowed reason } }";

    #[test]
    fn a_page_of_50_entries_with_emails_and_links_fits() {
        let query = format!("{{ timeline(last: 50) {{ {ENTRIES} }} }} {EMAIL}");
        let cost = cost(&query, serde_json::json!({}));
        assert!((400..=COST_MAX).contains(&cost), "{cost}");
    }

    #[test]
    fn pages_inside_pages_multiply_through_interfaces_fragments_and_variables() {
        // (what, query, variables, at least)
        let inner = "timeline(first: 100) { nodes { item { id } } }";
        let rows = [
            (
                "an interface",
                format!("{{ timeline(first: 100) {{ nodes {{ item {{ {inner} }} }} }} }}"),
                serde_json::json!({}),
                20_000,
            ),
            (
                "a fragment",
                format!(
                    "{{ deals(first: 100) {{ ...D }} }} fragment D on DealConnection {{ nodes {{ {inner} }} }}"
                ),
                serde_json::json!({}),
                20_000,
            ),
            (
                "a variable",
                "query($n: Int) { deals(first: $n) { nodes { id } } }".to_owned(),
                serde_json::json!({"n": 90}),
                90,
            ),
            (
                "a variable's default",
                "query($n: Int = 80) { deals(first: $n) { nodes { id } } }".to_owned(),
                serde_json::json!({}),
                80,
            ),
            (
                "ids",
                "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Deal { contacts { id } } } }"
                    .to_owned(),
                serde_json::json!({"ids": ["a", "b", "c"]}),
                9,
            ),
            (
                "bodies",
                "{ emails(first: 100) { nodes { bodyHtml } } }".to_owned(),
                serde_json::json!({}),
                500,
            ),
        ];
        for (what, query, variables, least) in rows {
            let cost = cost(&query, variables);
            assert!((least..least * 2).contains(&cost), "{what}: {cost}");
        }
    }

    #[test]
    fn of_the_kinds_that_an_item_can_be_the_dearest_counts() {
        let lead = "... on Lead { stage { name } conversion { deal { id } } }";
        let both = format!("{{ node(id: \"x\") {{ {lead} ... on Deal {{ stage {{ name }} }} }} }}");
        let alone = format!("{{ node(id: \"x\") {{ {lead} }} }}");
        let none = serde_json::json!({});
        assert_eq!(cost(&both, none.clone()), cost(&alone, none));
    }
}
