//! The one table of stable codes of top-level errors, and how a resolver makes such an error.
//! Not for `userErrors`: what a user can put right is part of a mutation's payload.

use std::error::Error as StdError;
use std::fmt::Write as _;

use async_graphql::{Error, ErrorExtensions as _};

use crate::text_enum;

text_enum! {
    /// What a top-level error says in `extensions.code`. The list is closed: clients may match on it.
    Code {
        /// No token, a bad one, or one that has ended.
        Unauthenticated = "UNAUTHENTICATED",
        /// The caller may not see or do this, and already knows that it exists.
        Forbidden = "FORBIDDEN",
        /// Absent, or hidden from the caller (R27: the two are one).
        NotFound = "NOT_FOUND",
        /// An argument or a variable that no value of its type can mean.
        BadUserInput = "BAD_USER_INPUT",
        /// The document is not GraphQL.
        ParseFailed = "GRAPHQL_PARSE_FAILED",
        /// The document does not fit the schema, or breaks a rule that makes it run.
        ValidationFailed = "GRAPHQL_VALIDATION_FAILED",
        /// Too large, too deep, too dear or too slow.
        CostLimitExceeded = "COST_LIMIT_EXCEEDED",
        /// Too many in too short a time.
        RateLimited = "RATE_LIMITED",
        /// The hash names a document that the server does not have.
        PersistedQueryNotFound = "PERSISTED_QUERY_NOT_FOUND",
        /// The document is none of those that the server was told to run.
        OperationNotAllowed = "OPERATION_NOT_ALLOWED",
        /// The cursor is no longer one to continue from: read the list again.
        CursorExpired = "CURSOR_EXPIRED",
        /// Something else changed at the same time: try again.
        Conflict = "CONFLICT",
        /// The server's fault; the log has the cause under the request id.
        Internal = "INTERNAL",
    }
}

/// What clients read instead of the cause of an `INTERNAL` error.
pub const INTERNAL_MESSAGE: &str = "Something went wrong on our side.";

/// The cause of an `INTERNAL` error, kept for the log and never sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalCause(pub String);

/// An error with this code and message.
pub fn with_code(code: Code, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code.as_text()))
}

/// Nobody is signed in.
pub fn unauthenticated() -> Error {
    with_code(Code::Unauthenticated, "Sign in first.")
}

/// The caller lacks the right.
pub fn forbidden() -> Error {
    with_code(Code::Forbidden, "You may not do this.")
}

/// Absent or hidden: the same words for both.
pub fn not_found() -> Error {
    with_code(Code::NotFound, "There is no such thing.")
}

/// An argument makes no sense; `message` says which and why, and quotes nothing secret.
pub fn bad_input(message: impl Into<String>) -> Error {
    with_code(Code::BadUserInput, message)
}

/// The operation asks for too much.
pub fn cost_limit(message: impl Into<String>) -> Error {
    with_code(Code::CostLimitExceeded, message)
}

/// Too many attempts.
pub fn rate_limited(message: impl Into<String>) -> Error {
    with_code(Code::RateLimited, message)
}

/// The cursor can't be continued from.
pub fn cursor_expired() -> Error {
    with_code(
        Code::CursorExpired,
        "This cursor has expired: read the list again.",
    )
}

/// Another change came first.
pub fn conflict(message: impl Into<String>) -> Error {
    with_code(Code::Conflict, message)
}

/// A fault of the server. Clients read [`INTERNAL_MESSAGE`]; the cause with all its sources goes to
/// the log once, where the answer leaves, under the request's id.
pub fn internal(cause: &dyn StdError) -> Error {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(source) = next {
        // Writing to a string does not fail.
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    let mut error = with_code(Code::Internal, INTERNAL_MESSAGE);
    error.source = Some(std::sync::Arc::new(InternalCause(text)));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_text()), Some(*code));
        }
    }

    #[test]
    fn an_internal_error_keeps_its_cause_for_the_log_only() {
        let inner = std::io::Error::other("password=hunter2");
        let outer = std::io::Error::other(inner);
        let error = internal(&outer);
        assert_eq!(error.message, INTERNAL_MESSAGE);
        let source = error.source.clone().unwrap();
        let cause = source.downcast_ref::<InternalCause>().unwrap();
        assert!(cause.0.contains("hunter2"));
        assert!(!serde_json::to_string(&error).unwrap().contains("hunter2"));
    }
}
