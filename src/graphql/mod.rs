//! The schema: what clients can ask, change and watch. Resolvers parse input, ask one store list under a
//! scope or call one action, and shape the answer. Not for: decisions (`rules`), protocols, sockets.

mod activity;
mod answer;
pub mod api;
pub mod context;
mod cost;
mod document;
mod email;
pub mod error;
mod filters;
mod ids;
mod item;
pub mod limits;
mod link;
mod lists;
mod loaders;
mod mailbox;
mod node;
mod paging;
mod query;
mod refusal;
mod scalars;
mod settings;
mod subscription;
mod timeline;
mod viewer;

pub use context::{File, FileRef, FileUrls, Services};
pub use query::Query;
pub use subscription::Subscription;

use async_graphql::{EmptyMutation, SDLExportOptions, Schema, SchemaBuilder};

/// The root of mutations.
pub type Mutation = EmptyMutation;

/// The whole schema.
pub type MailroomSchema = Schema<Query, Mutation, Subscription>;

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    let builder = Schema::build(Query, EmptyMutation, Subscription);
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
