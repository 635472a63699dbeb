//! Mailroom's tests, through the front door: one module per product area.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "tests may fail loudly"
)]

mod access;
mod actions;
mod architecture;
mod crashes;
mod demo;
mod hostile;
mod outages;
mod people;
mod questions;
mod reading;
mod routing;
mod rules_named;
mod sending;
mod service;
mod spine;
mod store;
mod support;
mod sync;
mod transport;
mod vault;
