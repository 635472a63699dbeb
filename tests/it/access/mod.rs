//! Who sees and does what (R21-R29), proven against an independent model, on both databases.
//!
//! `model` says the rules in sets; `house` is an installation with a model's world in it; `worlds` makes random ones;
//! `compare` asks everything of everybody.

#![allow(
    clippy::cast_sign_loss,
    clippy::manual_is_multiple_of,
    clippy::field_reassign_with_default,
    clippy::unnecessary_lazy_evaluations,
    reason = "ids of the model are small, and its rules read as sentences"
)]

mod compare;
mod house;
#[rustfmt::skip] // Its lines are sentences of the rules; broken up they no longer read as such.
mod model;
mod worlds;

mod hidden_rows;
mod live;
mod matrix;
mod random;
mod reads;
mod revocation;
mod searching;
mod sequences;
mod steps;
mod straight;
mod table;
mod threads;
