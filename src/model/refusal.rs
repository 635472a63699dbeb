//! Why a change was refused: something that its caller can mend.

use crate::text_enum;

text_enum! {
    /// The contract's codes of user errors.
    ErrorCode {
        NotFound = "NOT_FOUND", Forbidden = "FORBIDDEN", BadInput = "BAD_INPUT", Stale = "STALE",
        InternalEmail = "INTERNAL_EMAIL", ConvertedLead = "CONVERTED_LEAD", LastLink = "LAST_LINK",
        AlreadyLinked = "ALREADY_LINKED", NotLinked = "NOT_LINKED", NotSaved = "NOT_SAVED",
        AlreadyConverted = "ALREADY_CONVERTED", ChangedSince = "CHANGED_SINCE",
        IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", MailboxName = "MAILBOX_NAME",
        MailboxConnect = "MAILBOX_CONNECT", MailboxTls = "MAILBOX_TLS", MailboxLogin = "MAILBOX_LOGIN",
        MailboxListing = "MAILBOX_LISTING", MailboxHostRefused = "MAILBOX_HOST_REFUSED",
        MailboxExists = "MAILBOX_EXISTS", Storage = "STORAGE",
    }
}

/// One refusal: a code for programs, a sentence for people, and the input field it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    /// The path of the field within the input; empty where the whole input is meant.
    pub field: Vec<String>,
}

impl Refusal {
    /// About the whole input.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: Vec::new(),
        }
    }

    /// About one field of the input.
    pub fn at(code: ErrorCode, field: &str, message: impl Into<String>) -> Self {
        Self {
            field: vec![field.to_owned()],
            ..Self::new(code, message)
        }
    }

    /// The one answer for what is absent and what is hidden (R27).
    pub fn not_found(field: &str) -> Self {
        Self::at(
            ErrorCode::NotFound,
            field,
            "There is no such thing, or you may not see it.",
        )
    }
}
