//! Protocols and formats: mail in (IMAP, files), mail out (composing, SMTP) and what a mail says (parsing, addresses).
//! Not for: databases, rules about mail, or what a person sees of it.

pub mod address;
pub mod calendar;
pub mod compose;
pub mod error;
pub mod hosts;
pub mod imap;
pub mod lmtp;
pub mod mbox;
pub mod oauth;
pub mod parse;
pub mod smtp;
pub mod tls;
pub mod vcard;
pub mod web;

pub use error::{MailError, MailStep};
