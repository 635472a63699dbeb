//! What a user can put right, as part of a payload. Not for: top-level errors (`error`).

use async_graphql::{Enum, SimpleObject};

use crate::model::refusal::Refusal;

/// Something that the user can put right; nothing was changed.
#[derive(SimpleObject, Debug, Clone)]
pub struct UserError {
    /// What is wrong, for programs.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub message: String,
    /// The path of the field within `input`; null where the whole input is meant.
    pub field: Option<Vec<String>>,
}

impl From<Refusal> for UserError {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.into(),
            message: refusal.message,
            field: (!refusal.field.is_empty()).then_some(refusal.field),
        }
    }
}

/// What is wrong. New values may be added: treat an unknown one as `BAD_INPUT`.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::refusal::ErrorCode")]
pub enum ErrorCode {
    /// There is no such thing, or the viewer may not see it.
    NotFound,
    /// The viewer may not do this.
    Forbidden,
    /// A value makes no sense here.
    BadInput,
    /// It was changed since `expectedVersion`.
    Stale,
    /// Mail among our own people is never saved.
    InternalEmail,
    /// The email also hangs on the lead that the deal was converted from.
    ConvertedLead,
    /// The last link of an email stays.
    LastLink,
    /// The email is already linked there.
    AlreadyLinked,
    /// The email is not linked there.
    NotLinked,
    /// The email is not in the CRM.
    NotSaved,
    /// The lead was converted before.
    AlreadyConverted,
    /// Something changed since, so that it can't be undone.
    ChangedSince,
    /// The key was used before with another input.
    IdempotencyKeyReused,
    /// The mail server's name has no address.
    MailboxName,
    /// The mail server can't be reached.
    MailboxConnect,
    /// The mail server's certificate or TLS is not in order.
    MailboxTls,
    /// The mail server refused the login.
    MailboxLogin,
    /// The mail server did not list its folders.
    MailboxListing,
    /// Hosts in private networks need the operator's permission.
    MailboxHostRefused,
    /// This mailbox is connected already.
    MailboxExists,
    /// Mail can't be stored: the server's storage is full, or can't be written to.
    Storage,
}
