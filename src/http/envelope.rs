//! What every answer carries, whatever its route: a request id and the headers that keep browsers
//! from guessing. Also the one log line of a request.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use super::Watch;
use crate::graphql::api::RequestId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A proxy's ids are UUIDs or 32 hex digits; longer ones only fill logs.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// Set on every answer that does not set them itself.
const HEADERS: [(&str, &str); 7] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
];

/// Wraps every request.
pub async fn wrap(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let request_id = RequestId(sent_id(request.headers()).unwrap_or_else(new_id).into());
    request.extensions_mut().insert(request_id.clone());
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(value) = HeaderValue::from_str(&request_id.0) {
        headers.insert(REQUEST_ID, value);
    }
    let route = response.request().match_pattern();
    let route = route.as_deref().unwrap_or("other");
    if let Some(watch) = response.request().app_data::<Data<Watch>>() {
        watch.traffic.answered(route, response.status().as_u16());
    }
    tracing::debug!(
        request_id = %request_id,
        method = %response.request().method(),
        route,
        status = response.status().as_u16(),
        microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request",
    );
    Ok(response)
}

/// The id of the request that a handler is busy with.
pub fn request_id(request: &HttpRequest) -> RequestId {
    request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_else(|| RequestId(new_id().into()))
}

/// The caller's own id, where it is one that can stand in a log.
fn sent_id(headers: &HeaderMap) -> Option<String> {
    let sent = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=REQUEST_ID_LENGTH_MAX).contains(&sent.len())
        && sent
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    fits.then(|| sent.to_owned())
}

fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
