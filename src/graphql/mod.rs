//! The room `graphql`.
