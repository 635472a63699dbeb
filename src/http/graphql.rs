//! GraphQL over HTTP: POST with JSON, GET for queries. Statuses and media types as the specification
//! has them; what the operation does is the [`Api`](crate::graphql::api::Api)'s business.
//! Not for: what subscriptions answer with, which are [`ws`](super::ws) and [`sse`].

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};

use super::media::{self, AnswerType};
use super::{State, bearer, envelope, sse};
use crate::auth::AuthRefusal;
use crate::graphql::api::{
    ApiRequest, ApiResponse, OperationKind, Prepared, RequestId, names_document,
};
use crate::graphql::error::Code;
use crate::model::people::Session;

/// A document of 16 KiB with its variables fits many times; uploads do not go this way.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// A client that needs longer for its body holds a connection for nothing.
const BODY_SECONDS_MAX: u64 = 10;
/// Whoever sends this header, with any value, is told in `extensions.cost` what the operation cost.
const COST_HEADER: &str = "x-mailroom-cost";
/// The trace that the caller is in, by W3C Trace Context.
const TRACE_HEADER: &str = "traceparent";
/// A name of a document: a hash with a prefix, or what a compiler made up.
const DOCUMENT_ID_BYTES_MAX: usize = 128;
/// One of these shows that the sender is a program, or a page that asked before it sent.
const PREFLIGHTED_HEADERS: [&str; 3] = [
    "authorization",
    "apollo-require-preflight",
    "x-apollo-operation-name",
];

/// Why a request never reached the schema.
struct Turned {
    status: StatusCode,
    code: Code,
    message: &'static str,
    allow: Option<&'static str>,
}

impl Turned {
    const fn new(status: StatusCode, code: Code, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            allow: None,
        }
    }

    const fn bad(message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
    }
}

/// A request that was read, and who sent it.
struct Asked {
    /// The operation, or why it is not run.
    prepared: Result<Prepared, ApiResponse>,
    token: Option<Arc<str>>,
    session: Option<Session>,
}

/// Answers `/graphql` for every method but the WebSocket's handshake.
pub async fn answer(request: HttpRequest, body: Payload, state: Data<State>) -> HttpResponse {
    let request_id = envelope::request_id(&request);
    let accepts = || {
        let headers = request.headers().get_all(header::ACCEPT);
        headers.filter_map(|value| value.to_str().ok())
    };
    let negotiated = media::negotiate(accepts());
    let takes_events = sse::is_accepted(accepts());
    let answer_type = negotiated.unwrap_or(AnswerType::Json);
    let asked = match *request.method() {
        _ if negotiated.is_none() && !takes_events => Err(Turned::new(
            StatusCode::NOT_ACCEPTABLE,
            Code::BadUserInput,
            "Answers are application/graphql-response+json, application/json or text/event-stream.",
        )),
        Method::POST => posted(&request, body, &state, &request_id).await,
        Method::GET => got(&request, &state, &request_id, takes_events).await,
        _ => Err(Turned {
            allow: Some("GET, POST, OPTIONS"),
            ..Turned::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::BadUserInput,
                "Use POST or GET.",
            )
        }),
    };
    let answered = match asked {
        Ok(asked) if takes_events && (negotiated.is_none() || is_subscription(&asked)) => {
            streamed(asked, &state, &request_id)
        }
        Ok(asked) => Ok(run(asked, &state, answer_type, &request_id).await),
        Err(turned) => Err(turned),
    };
    let mut response = answered.unwrap_or_else(|turned| refuse(&turned, answer_type, &request_id));
    allow_origin(&request, &state, response.headers_mut());
    response
}

fn is_subscription(asked: &Asked) -> bool {
    let prepared = asked.prepared.as_ref();
    prepared.is_ok_and(|prepared| prepared.kind() == OperationKind::Subscription)
}

/// One answer, once the operation is done.
async fn run(
    asked: Asked,
    state: &State,
    answer_type: AnswerType,
    request_id: &RequestId,
) -> HttpResponse {
    let answer = match asked.prepared {
        Ok(prepared) => {
            let running = state.api.run(prepared, asked.session, request_id.clone());
            running.await
        }
        Err(refused) => refused,
    };
    let status = status(&answer, answer_type);
    let mut response = HttpResponse::build(status);
    sign_in_hint(&mut response, status);
    if let Some(seconds) = answer.retry_after_seconds {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    response
        .content_type(answer_type.content_type())
        .body(answer.body)
}

/// A stream of answers, for whoever is signed in and has a place left.
fn streamed(
    asked: Asked,
    state: &Data<State>,
    request_id: &RequestId,
) -> Result<HttpResponse, Turned> {
    let (Some(token), Some(session)) = (asked.token, asked.session) else {
        return Err(Turned::new(
            StatusCode::UNAUTHORIZED,
            Code::Unauthenticated,
            "Streams need a token.",
        ));
    };
    let place = state.sockets.take(session.viewer.user_id).ok_or_else(|| {
        let message = "Too many streams and sockets of one user.";
        Turned::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, message)
    })?;
    let reader = sse::Reader {
        token,
        session,
        place,
    };
    let state = Arc::clone(state);
    Ok(sse::answer(
        state,
        reader,
        asked.prepared,
        request_id.clone(),
    ))
}

fn refuse(turned: &Turned, answer_type: AnswerType, request_id: &RequestId) -> HttpResponse {
    let mut response = HttpResponse::build(turned.status);
    sign_in_hint(&mut response, turned.status);
    if let Some(allow) = turned.allow {
        response.insert_header((header::ALLOW, allow));
    }
    let answer = ApiResponse::refusal(turned.code, turned.message, request_id);
    response
        .content_type(answer_type.content_type())
        .body(answer.body)
}

fn sign_in_hint(response: &mut HttpResponseBuilder, status: StatusCode) {
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
}

/// `application/json` answers 200 to every well-formed request, whatever its document; the newer type
/// says in its status whether anything was run.
fn status(answer: &ApiResponse, answer_type: AnswerType) -> StatusCode {
    match (answer.refused, answer_type) {
        (None, _) => StatusCode::OK,
        (Some(Code::Internal), _) => StatusCode::INTERNAL_SERVER_ERROR,
        (Some(Code::Unauthenticated), _) => StatusCode::UNAUTHORIZED,
        (Some(Code::RateLimited), _) => StatusCode::TOO_MANY_REQUESTS,
        (Some(_), AnswerType::Json) => StatusCode::OK,
        (Some(_), AnswerType::GraphqlResponse) => StatusCode::BAD_REQUEST,
    }
}

async fn posted(
    request: &HttpRequest,
    body: Payload,
    state: &State,
    request_id: &RequestId,
) -> Result<Asked, Turned> {
    let content_type = header_text(request.headers(), &header::CONTENT_TYPE);
    let encoding = header_text(request.headers(), &header::CONTENT_ENCODING);
    if !media::is_json_body(content_type) || encoding.is_some_and(|name| name != "identity") {
        return Err(Turned::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::BadUserInput,
            "The body must be application/json in UTF-8.",
        ));
    }
    let bytes = read_body(request, body).await?;
    let mut api_request = parse_body(&bytes)?;
    read_headers(request, &mut api_request);
    let (token, session) = session(request, state).await?;
    Ok(Asked {
        prepared: state.api.prepare(api_request, request_id),
        token,
        session,
    })
}

async fn got(
    request: &HttpRequest,
    state: &State,
    request_id: &RequestId,
    takes_events: bool,
) -> Result<Asked, Turned> {
    if !may_get(request) {
        return Err(Turned::new(
            StatusCode::FORBIDDEN,
            Code::Forbidden,
            "A page of another site can't send this: add the header Apollo-Require-Preflight.",
        ));
    }
    let mut api_request = parse_query(request.query_string())?;
    read_headers(request, &mut api_request);
    let (token, session) = session(request, state).await?;
    let prepared = state.api.prepare(api_request, request_id);
    let kind = prepared.as_ref().ok().map(Prepared::kind);
    let is_allowed = match kind {
        None | Some(OperationKind::Query) => true,
        Some(OperationKind::Subscription) => takes_events,
        Some(OperationKind::Mutation) => false,
    };
    if !is_allowed {
        return Err(Turned {
            allow: Some("POST"),
            ..Turned::new(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::BadUserInput,
                "GET runs queries only: use POST.",
            )
        });
    }
    Ok(Asked {
        prepared,
        token,
        session,
    })
}

/// What headers say about how a request is answered.
fn read_headers(request: &HttpRequest, api_request: &mut ApiRequest) {
    let headers = request.headers();
    api_request.tells_cost = headers.contains_key(COST_HEADER);
    let caller = headers
        .get(TRACE_HEADER)
        .and_then(|value| value.to_str().ok());
    api_request.trace_parent = caller.map(str::to_owned);
}

/// The guard against cross-site GETs. Queries change nothing and cookies mean nothing here, so what a
/// foreign page could gain is load alone. A request passes if it has a header that a page must ask
/// leave for; else if nothing shows that a browser sent it for another site or as a plain link,
/// image or form.
fn may_get(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let content_type = header_text(headers, &header::CONTENT_TYPE);
    if PREFLIGHTED_HEADERS
        .iter()
        .any(|name| headers.contains_key(*name))
        || content_type.is_some_and(|content_type| !media::is_simple_type(content_type))
    {
        return true;
    }
    let text = |name: &'static str| header_text(headers, &HeaderName::from_static(name));
    let is_foreign = matches!(text("sec-fetch-site"), Some("cross-site" | "same-site"));
    let is_embedded = matches!(text("sec-fetch-mode"), Some("no-cors" | "navigate"));
    content_type.is_none() && !is_foreign && !is_embedded && !headers.contains_key(header::ORIGIN)
}

/// The token that was sent, and the session that it opens.
async fn session(
    request: &HttpRequest,
    state: &State,
) -> Result<(Option<Arc<str>>, Option<Session>), Turned> {
    let refusal = |message| Turned::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, message);
    let mut sent = request.headers().get_all(header::AUTHORIZATION);
    let Some(authorization) = sent.next() else {
        return Ok((None, None));
    };
    let token = authorization.to_str().ok().and_then(bearer::token);
    let (Some(token), None) = (token, sent.next()) else {
        return Err(refusal(
            "The Authorization header must be \"Bearer\" and a token.",
        ));
    };
    match state.authenticator.authenticate(token).await {
        Ok(session) => Ok((Some(token.into()), Some(session))),
        Err(AuthRefusal::Expired) => Err(refusal("The token has expired.")),
        Err(AuthRefusal::Invalid) => Err(refusal("The token is not valid.")),
        Err(AuthRefusal::Unavailable) => Err(Turned::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal,
            "The token can't be checked at the moment: try again.",
        )),
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

async fn read_body(request: &HttpRequest, body: Payload) -> Result<Bytes, Turned> {
    let too_large = Turned::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        Code::CostLimitExceeded,
        "The body has more than 256 KiB.",
    );
    let announced = header_text(request.headers(), &header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large);
    }
    let deadline = Duration::from_secs(BODY_SECONDS_MAX);
    match tokio::time::timeout(deadline, gather(body)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large),
        Ok(Err(_broken)) => Err(Turned::bad("The body broke off.")),
        Err(_elapsed) => Err(Turned::new(
            StatusCode::REQUEST_TIMEOUT,
            Code::BadUserInput,
            "The body took too long.",
        )),
    }
}

/// All bytes; `None` when there are too many.
async fn gather(mut body: Payload) -> Result<Option<Bytes>, actix_web::error::PayloadError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if bytes.len().saturating_add(chunk.len()) > BODY_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes.freeze()))
}

fn parse_body(bytes: &[u8]) -> Result<ApiRequest, Turned> {
    if bytes.is_empty() {
        return Err(Turned::bad("The body is missing."));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => read_request(members).map_err(Turned::bad),
        Ok(Value::Array(_)) => Err(Turned::bad(
            "Batches are not taken: send one request at a time.",
        )),
        Ok(_) => Err(Turned::bad("The body must be a JSON object.")),
        Err(_) => Err(Turned::bad("The body is not JSON.")),
    }
}

/// A GraphQL request from its JSON members; the error says which of them is wrong.
/// Unknown members are passed over, as the specification asks.
pub fn read_request(mut members: Map<String, Value>) -> Result<ApiRequest, &'static str> {
    let query = match members.remove("query") {
        Some(Value::String(query)) => Some(query),
        Some(Value::Null) | None => None,
        Some(_) => return Err("\"query\" must be a string."),
    };
    let document_id = match members.remove("documentId") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.len() <= DOCUMENT_ID_BYTES_MAX => Some(id),
        Some(_) => return Err("\"documentId\" must be a short string or null."),
    };
    let operation_name = match members.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err("\"operationName\" must be a string or null."),
    };
    let mut map = |name: &str, message| match members.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(message),
    };
    let variables = map("variables", "\"variables\" must be an object or null.")?;
    let extensions = map("extensions", "\"extensions\" must be an object or null.")?;
    let is_named = document_id.is_some() || names_document(&extensions);
    Ok(ApiRequest {
        query: match query {
            Some(query) => query,
            None if is_named => String::new(),
            None => return Err("\"query\" is missing."),
        },
        document_id,
        operation_name,
        variables,
        extensions,
        tells_cost: false,
        trace_parent: None,
    })
}

/// The same from a query string, where `variables` and `extensions` are JSON.
fn parse_query(query_string: &str) -> Result<ApiRequest, Turned> {
    let mut members = Map::new();
    for (name, text) in url::form_urlencoded::parse(query_string.as_bytes()) {
        let value = match name.as_ref() {
            "query" | "operationName" | "documentId" => Value::String(text.into_owned()),
            "variables" | "extensions" if text.is_empty() => Value::Null,
            "variables" | "extensions" => serde_json::from_str(&text)
                .map_err(|_| Turned::bad("\"variables\" and \"extensions\" must be JSON."))?,
            _ => continue,
        };
        if members.insert(name.into_owned(), value).is_some() {
            return Err(Turned::bad("A parameter is given twice."));
        }
    }
    read_request(members).map_err(Turned::bad)
}

/// Answers a browser that asks whether a page of another origin may send a request.
pub async fn preflight(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    allow_origin(&request, &state, response.headers_mut());
    if response
        .headers()
        .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    {
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "authorization, content-type, accept, x-request-id, x-mailroom-cost, apollo-require-preflight, traceparent",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ] {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
    }
    response
}

/// Pages of the origins that the operator named may read answers; credentials are never ambient here.
fn allow_origin(request: &HttpRequest, state: &State, headers: &mut HeaderMap) {
    headers.insert(
        header::VARY,
        header::HeaderValue::from_static("Origin, Accept"),
    );
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return;
    };
    if !origin
        .to_str()
        .is_ok_and(|origin| state.origins.lists(origin))
    {
        return;
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let readable = header::HeaderValue::from_static("x-request-id, retry-after");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    let shared = header::HeaderValue::from_static("cross-origin");
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        shared,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_its_members() {
        let rows = [
            (r#"{"query":"{a}"}"#, true),
            (
                r#"{"query":"{a}","operationName":null,"variables":null,"extensions":null}"#,
                true,
            ),
            (r#"{"query":"{a}","variables":{"a":1},"more":1}"#, true),
            (r#"{"documentId":"sha256:0"}"#, true),
            (r#"{"extensions":{"persistedQuery":{}}}"#, true),
            (r#"{"query":null}"#, false),
            (r#"{"documentId":7}"#, false),
            (r#"{"extensions":{"persistedQuery":7}}"#, false),
            (r#"{"query":7}"#, false),
            (r#"{"query":"{a}","operationName":1}"#, false),
            (r#"{"query":"{a}","variables":[]}"#, false),
            (r#"{"query":"{a}","extensions":"x"}"#, false),
            (r#"{}"#, false),
            (r#"[{"query":"{a}"}]"#, false),
            (r#""x""#, false),
            (r#"{"#, false),
            ("", false),
        ];
        for (body, wanted) in rows {
            assert_eq!(parse_body(body.as_bytes()).is_ok(), wanted, "{body}");
        }
    }

    #[test]
    fn a_query_string_is_read_too() {
        let request = parse_query("query=%7Ba%7D&variables=%7B%22x%22%3A1%7D&operationName=Q").ok();
        let request = request.unwrap();
        assert_eq!(request.query, "{a}");
        assert_eq!(request.operation_name.as_deref(), Some("Q"));
        assert_eq!(request.variables.get("x"), Some(&Value::from(1)));
        assert!(parse_query("query={a}&query={b}").is_err());
        assert!(parse_query("query={a}&variables=x").is_err());
        assert!(parse_query("").is_err());
    }
}
