//! The room `graphql`.

mod answer;
pub mod api;
mod document;
pub mod error;
pub mod limits;
