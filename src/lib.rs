//! Mailroom puts a company's mail into its CRM.
//!
//! The rooms and who may import whom (imports point down only):
//! `cli > http > graphql | worker > actions | live | auth > store | mail | view | bus > rules > model`.
//! ARCHITECTURE.md is the map.

pub mod actions;
pub mod app;
pub mod auth;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod graphql;
pub mod http;
pub mod live;
pub mod mail;
pub mod model;
pub mod rules;
pub mod store;
pub mod telemetry;
pub mod view;
pub mod worker;
