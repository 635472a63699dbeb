//! Mailroom's tests, through the front door: one module per product area.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests may fail loudly"
)]

mod demo;
mod support;
mod transport;
