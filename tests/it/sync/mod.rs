//! The ledger of UIDs against servers that behave and servers that don't.

mod cyrus;
mod dovecot;
mod epochs;
mod follows;
mod gmail;
pub mod office;
mod order;
mod play;
mod quarantine;
mod reconcile;
mod speed;
mod turns;
