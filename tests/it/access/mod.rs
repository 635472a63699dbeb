//! Who sees and does what (R21-R29), proven against an independent model, on both databases.
//!
//! `model` says the rules in sets; `house` is an installation with a model's world in it; `worlds` makes random ones;
//! `compare` asks everything of everybody.

mod compare;
mod house;
#[rustfmt::skip] // Its lines are sentences of the rules; broken up they no longer read as such.
mod model;
mod worlds;

mod hidden_rows;
mod live;
mod matrix;
mod random;
mod revocation;
mod sequences;
mod steps;
mod table;
