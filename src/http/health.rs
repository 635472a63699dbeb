//! Is the process alive, and can it serve? For supervisors and load balancers; says nothing about mail.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use futures_util::future::BoxFuture;

/// Tries what serving needs; the error names what is missing, in words that anybody may read.
pub type ReadyProbe = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// 200 as long as the process answers at all.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// 200 when the probe passes, else 503 with what is missing.
pub async fn ready(state: Data<super::State>) -> HttpResponse {
    let (mut response, text) = match (state.ready)().await {
        Ok(()) => (HttpResponse::Ok(), "ready\n".to_owned()),
        Err(missing) => (
            HttpResponse::ServiceUnavailable(),
            format!("not ready: {missing}\n"),
        ),
    };
    response
        .content_type("text/plain; charset=utf-8")
        .body(text)
}
