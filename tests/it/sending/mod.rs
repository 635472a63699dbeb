//! Mail goes out (R41): whatever fails, at most one copy of each, and no silence.

pub mod desk;
mod drafts;
mod faults;
mod follows;
mod killed;
mod python;
mod retries;
mod templates;
mod whole_way;
