//! From the library's response to the bytes that leave: codes, request ids, masked causes, no `data`
//! where nothing was run. Not for: status codes and frames, which belong to the transports.

use async_graphql::{PathSegment, Response, ServerError, Value};
use serde::Serialize;

use super::document::RequestError;
use super::error::{Code, INTERNAL_MESSAGE, InternalCause};
use super::straight::write_value;

/// Errors that a refusal names: one can cause thousands of others, and a small document would buy a
/// large answer.
const ERRORS_MAX: usize = 20;

/// The id under which a request's faults stand in the log and in its errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub std::sync::Arc<str>);

impl RequestId {
    /// A fresh one, for requests that no client has named.
    pub fn generate() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()).into())
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One GraphQL response, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResponse {
    /// The whole response as JSON.
    pub body: String,
    /// Its `errors` as a JSON array, where there are any.
    pub errors: Option<String>,
    /// Nothing was run (or, of a subscription, never began): `errors` is all there is, and its first
    /// error has this code.
    pub refused: Option<Code>,
    /// After how many seconds a refused request may be sent again, where that is known.
    pub retry_after_seconds: Option<u64>,
    /// `data` is there and not null.
    pub has_data: bool,
}

impl ApiResponse {
    /// The request itself was wrong: there is no `data` entry.
    pub fn is_request_error(&self) -> bool {
        self.refused.is_some()
    }

    /// A response that says only this, without `data`.
    pub fn refusal(code: Code, message: impl Into<String>, request_id: &RequestId) -> Self {
        refuse(vec![RequestError::new(code, message, None)], request_id)
    }
}

/// The response to a request that was not run.
pub fn refuse(errors: Vec<RequestError>, request_id: &RequestId) -> ApiResponse {
    let code = errors.first().map_or(Code::Internal, |error| error.code);
    let retry_after_seconds = errors.first().and_then(|error| error.retry_after_seconds);
    let errors: Vec<ServerError> = errors
        .into_iter()
        .map(|refused| {
            let mut error = ServerError::new(refused.message, None);
            error.locations = refused.locations;
            if let Some(seconds) = refused.retry_after_seconds {
                let extensions = error.extensions.get_or_insert_default();
                extensions.set("retryAfterSeconds", seconds);
            }
            coded(error, refused.code, request_id)
        })
        .collect();
    let errors = json(&errors);
    ApiResponse {
        body: format!("{{\"errors\":{errors}}}"),
        errors: Some(errors),
        refused: Some(code),
        retry_after_seconds,
        has_data: false,
    }
}

/// Shapes what the schema answered. `begins` is true for what a request can still be refused by:
/// the answer to a query or mutation, and the first response of a subscription.
pub fn shape(response: Response, begins: Begins, request_id: &RequestId) -> ApiResponse {
    let has_data = response.data != Value::Null;
    let ran = has_data || !fails_to_begin(&response, begins);
    let errors_max = if ran { usize::MAX } else { ERRORS_MAX };
    let errors: Vec<ServerError> = response
        .errors
        .into_iter()
        .take(errors_max)
        .map(|error| finish(error, ran, request_id))
        .collect();
    if !ran && !errors.is_empty() {
        let code = errors.first().and_then(code_of).unwrap_or(Code::Internal);
        let errors = json(&errors);
        return ApiResponse {
            body: format!("{{\"errors\":{errors}}}"),
            errors: Some(errors),
            refused: Some(code),
            retry_after_seconds: None,
            has_data: false,
        };
    }
    let errors = (!errors.is_empty()).then(|| json(&errors));
    let mut body = b"{".to_vec();
    if let Some(errors) = &errors {
        body.extend_from_slice(b"\"errors\":");
        body.extend_from_slice(errors.as_bytes());
        body.push(b',');
    }
    body.extend_from_slice(b"\"data\":");
    write_value(&mut body, &response.data);
    if !response.extensions.is_empty() {
        body.extend_from_slice(b",\"extensions\":");
        body.extend_from_slice(json(&response.extensions).as_bytes());
    }
    body.push(b'}');
    ApiResponse {
        body: String::from_utf8(body).unwrap_or_else(|error| {
            tracing::error!(%error, "a response is no text");
            "null".to_owned()
        }),
        errors,
        refused: None,
        retry_after_seconds: None,
        has_data,
    }
}

/// Where in a request's life a response stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// The one answer to a query or a mutation.
    Answer,
    /// The first response of a subscription.
    Stream,
    /// A later one.
    Event,
}

/// Errors without a path come from before the execution; a subscription whose root field itself
/// failed never had a stream.
fn fails_to_begin(response: &Response, begins: Begins) -> bool {
    let longest = response.errors.iter().map(|error| error.path.len()).max();
    match begins {
        Begins::Answer => longest == Some(0),
        Begins::Stream => matches!(longest, Some(0 | 1)),
        Begins::Event => false,
    }
}

/// Gives an error its code and request id, and takes out what clients must not read.
fn finish(mut error: ServerError, ran: bool, request_id: &RequestId) -> ServerError {
    let code = code_of(&error).unwrap_or_else(|| guess_code(&error, ran));
    if code == Code::Internal {
        log_internal(&error, request_id);
        error.message = INTERNAL_MESSAGE.to_owned();
        error.extensions = None;
    } else if error.message.contains('\n') {
        error.message = error
            .message
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
    }
    coded(error, code, request_id)
}

fn coded(mut error: ServerError, code: Code, request_id: &RequestId) -> ServerError {
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", code.as_text());
    extensions.set("requestId", request_id.0.as_ref());
    error.source = None;
    error
}

fn code_of(error: &ServerError) -> Option<Code> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Code::from_text(code),
        Value::Enum(code) => Code::from_text(code),
        _ => None,
    }
}

/// The code of an error that the library made itself; a resolver's own error without a code is ours to mask.
fn guess_code(error: &ServerError, ran: bool) -> Code {
    let message = error.message.as_str();
    if error.source.is_some() {
        return Code::Internal;
    }
    let starts = |words: &[&str]| words.iter().any(|word| message.starts_with(word));
    if starts(&[
        "Failed to parse \"",
        "Expected input type \"",
        "Invalid value for argument ",
    ]) {
        Code::BadUserInput
    } else if starts(&[
        "Query is too complex",
        "Query is nested too deep",
        "The recursion depth",
    ]) {
        Code::CostLimitExceeded
    } else if ran {
        Code::Internal
    } else {
        Code::ValidationFailed
    }
}

fn log_internal(error: &ServerError, request_id: &RequestId) {
    let cause = error
        .source
        .as_ref()
        .and_then(|source| source.downcast_ref::<InternalCause>())
        .map_or(error.message.as_str(), |cause| cause.0.as_str());
    tracing::error!(request_id = %request_id, path = %path_text(&error.path), cause, "internal error");
}

fn path_text(path: &[PathSegment]) -> String {
    let segments: Vec<String> = path
        .iter()
        .map(|segment| match segment {
            PathSegment::Field(name) => name.clone(),
            PathSegment::Index(index) => index.to_string(),
        })
        .collect();
    segments.join(".")
}

/// Values of GraphQL always have a JSON form; were there one without, clients would read `null`.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| {
        tracing::error!(%error, "a response has no JSON form");
        "null".to_owned()
    })
}
