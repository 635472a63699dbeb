//! Reading a mailbox over IMAP: connect, list folders, list and fetch mail, wait for news. Blocking: one
//! worker thread drives one session, and none is needed while only news are waited for.
//!
//! The `imap` crate logs in, lists, opens folders and searches; bodies and IDLE are read by our own code on
//! the same stream, because the crate keeps whole batches in memory, runs its parser again for every line of
//! a literal, and loses step at unknown attributes. `wire` shows the crate nothing but the lines that its
//! parser is known to take.
//!
//! A mailbox is only ever read: folders are opened with EXAMINE, bodies asked for with PEEK.
//! Not for: what mail means, what is stored, when to try again.

mod append;
mod changes;
mod connect;
mod fetch;
mod folders;
mod idle;
mod link;
mod response;
mod session;
mod wire;

pub(crate) use changes::unstable;
pub use changes::{Changes, FolderStatus, Follows, ListedHeader, may_resync};
pub use connect::{Compress, Secret, Target, connect};
pub use fetch::{FetchLimits, Fetched, FetchedBatch, LISTED_MAX, ListedMail};
pub use folders::ListedFolder;
pub use idle::{Heard, IdleStart, idle_for};
pub use session::{CutHandle, Examined, ImapSession};

#[cfg(test)]
mod tests;
