//! What runs by itself: mailboxes are synced, what was committed is told, what is old is swept.
//! Not for: rules and writes; workers call `actions`.

pub mod relay;
