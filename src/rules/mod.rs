//! The product's rules: pure functions, facts in, a decision with its reason out.
//! No I/O, no async, no clock, no randomness, no `Result`.

pub mod access;
pub mod grants;
