//! The schema: what clients can ask, change and watch. Resolvers parse input, ask one store list under a
//! scope or call one action, and shape the answer. Not for: decisions (`rules`), protocols, sockets.

mod activity;
mod answer;
pub mod api;
mod audit;
pub mod context;
mod cost;
mod document;
mod draft;
mod email;
pub mod error;
mod explanation;
mod filters;
mod ids;
mod item;
pub mod limits;
mod link;
mod lists;
mod loaders;
mod mail_extras;
mod mailbox;
mod mutation;
mod node;
mod paging;
pub mod persisted;
mod quarantine;
mod query;
pub mod rates;
mod refusal;
mod scalars;
mod search;
mod settings;
mod simulation;
mod stage;
mod straight;
mod subscription;
pub mod tally;
mod template;
mod thread;
mod timeline;
mod trace;
mod viewer;

pub use context::{File, FileRef, FileUrls, Services};
pub use mutation::Mutation;
pub use query::Query;
pub use subscription::Subscription;

use async_graphql::{SDLExportOptions, Schema, SchemaBuilder};

/// The whole schema.
pub type MailroomSchema = Schema<Query, Mutation, Subscription>;

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    let builder = Schema::build(Query, Mutation::default(), Subscription);
    limits::apply(builder)
        .register_output_type::<node::Node>()
        .register_output_type::<item::Item>()
        .register_output_type::<timeline::TimelineEntry>()
}

/// The schema over these services, within the limits.
pub fn schema(services: Services) -> MailroomSchema {
    builder().data(services).finish()
}

/// The schema as text: the same for the same program.
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .include_specified_by()
        .prefer_single_line_descriptions()
        .use_space_ident();
    builder().finish().sdl_with_options(options)
}

#[cfg(test)]
mod tests {
    use async_graphql::Positioned;
    use async_graphql::parser::parse_schema;
    use async_graphql::parser::types::{
        FieldDefinition, InputValueDefinition, TypeDefinition, TypeKind, TypeSystemDefinition,
    };

    type Text = Option<Positioned<String>>;

    fn look(missing: &mut Vec<String>, at: String, description: &Text) {
        if description.as_ref().is_none_or(|text| text.node.len() <= 3) {
            missing.push(at);
        }
    }

    fn look_at_inputs(
        missing: &mut Vec<String>,
        at: &str,
        inputs: &[Positioned<InputValueDefinition>],
    ) {
        for input in inputs {
            let at = format!("{at}.{}", input.node.name.node);
            look(missing, at, &input.node.description);
        }
    }

    fn look_at_fields(
        missing: &mut Vec<String>,
        name: &str,
        fields: &[Positioned<FieldDefinition>],
    ) {
        for field in fields {
            let at = format!("{name}.{}", field.node.name.node);
            look(missing, at.clone(), &field.node.description);
            look_at_inputs(missing, &at, &field.node.arguments);
        }
    }

    fn look_at_type(missing: &mut Vec<String>, definition: &TypeDefinition) {
        let name = definition.name.node.to_string();
        look(missing, name.clone(), &definition.description);
        match &definition.kind {
            TypeKind::Object(object) => look_at_fields(missing, &name, &object.fields),
            TypeKind::Interface(interface) => look_at_fields(missing, &name, &interface.fields),
            TypeKind::InputObject(input) => look_at_inputs(missing, &name, &input.fields),
            TypeKind::Enum(values) => {
                for value in &values.values {
                    let at = format!("{name}.{}", value.node.value.node);
                    look(missing, at, &value.node.description);
                }
            }
            TypeKind::Scalar | TypeKind::Union(_) => {}
        }
    }

    #[test]
    fn every_type_field_argument_and_value_is_described() {
        let document = parse_schema(super::sdl()).unwrap();
        let mut missing = Vec::new();
        for definition in &document.definitions {
            if let TypeSystemDefinition::Type(definition) = definition {
                look_at_type(&mut missing, &definition.node);
            }
        }
        assert!(missing.is_empty(), "without a description: {missing:#?}");
    }

    #[test]
    fn the_schema_s_text_is_the_same_each_time() {
        assert_eq!(super::sdl(), super::sdl());
    }
}
