//! The product's rules: pure functions, facts in, a decision with its reason out.
//! No I/O, no async, no clock, no randomness, no `Result`.
//!
//! A mail passes them in this order: [`classify`] (is it client mail at all?), [`threading`] (which conversation?),
//! [`routing`] (which items?; what is made there is in [`creation`], whose turn it is in [`queue`]),
//! [`activity`] (what is left to do?). Each writes what it tried into the [`trace`].
//! Saved emails are moved under [`relink`]; who sees and does what is [`access`], and why is [`explain`].
//! Mail that goes out begins as [`answering`] says, carries a [`message_id`] of ours, and is [`sending`]'s.
//! [`introduction`] says whom vCards make contacts of, [`stages`] which stages there can be, [`erasing`] what goes with a
//! person who is erased.

pub mod access;
pub mod activity;
pub mod answering;
pub mod classify;
pub mod creation;
pub mod erasing;
pub mod explain;
pub mod grants;
pub mod introduction;
pub mod message_id;
pub mod queue;
pub mod received_at;
pub mod relink;
pub mod routing;
pub mod search;
pub mod sending;
pub mod stages;
pub mod threading;
pub mod trace;
