//! What changes the CRM, on a database of its own each: rights on both sides, refusals that write nothing, and what is told.

mod activities;
mod convert_lead;
mod idempotency;
mod items;
mod mailboxes;
mod mutations;
mod people;
mod roles;
mod world;
