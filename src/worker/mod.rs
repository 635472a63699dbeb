//! What runs by itself: mailboxes are synced, mail goes out, what was committed is told.
//! Not for: rules and writes; workers call `actions`.

pub mod relay;
pub mod search;
pub mod send;
pub mod supervisor;
pub mod sync;
pub mod upkeep;
