//! The page behind the set-up link: it makes the first administrator, once.

use crate::actions::people::{SetUp, set_up};
use crate::actions::{ActionError, ActionResult, Actions};
use crate::model::Time;
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data, Json, ServiceConfig};
use secrecy::SecretString;
use serde::Deserialize;

/// What the page needs.
#[derive(Clone)]
pub struct SetUpPage {
    pub actions: Actions,
    pub clock: fn() -> Time,
}

/// Mounts `/set-up`.
pub fn mount(page: &SetUpPage, config: &mut ServiceConfig) {
    config
        .app_data(Data::new(page.clone()))
        .route("/set-up", web::get().to(show))
        .route("/set-up.js", web::get().to(script))
        .route("/set-up", web::post().to(make));
}

const PAGE: &str = include_str!("assets/set-up.html");
const SCRIPT: &str = include_str!("assets/set-up.js");

async fn show() -> HttpResponse {
    page_of(PAGE)
}

/// A page with a secret in its address: it loads nothing from elsewhere and tells nobody where it is.
pub(super) fn page_of(page: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(page)
}

async fn script() -> HttpResponse {
    script_of(SCRIPT)
}

/// The script of such a page.
pub(super) fn script_of(script: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/javascript; charset=utf-8"))
        .body(script)
}

#[derive(Deserialize)]
struct Wanted {
    token: String,
    name: String,
    address: String,
    password: String,
}

async fn make(wanted: Json<Wanted>, page: Data<SetUpPage>) -> HttpResponse {
    let wanted = wanted.into_inner();
    let input = SetUp {
        token: wanted.token,
        name: wanted.name,
        address: wanted.address,
        password: SecretString::from(wanted.password),
    };
    let done = set_up(&page.actions, input, (page.clock)()).await;
    told(done.map(drop), "the set-up failed")
}

/// What came of a page's form: done, or the messages that it shows.
pub(super) fn told(done: ActionResult<()>, failure: &'static str) -> HttpResponse {
    match done {
        Ok(()) => HttpResponse::Ok().json(serde_json::json!({ "done": true })),
        Err(ActionError::Refused(refusals)) => {
            let messages: Vec<String> = refusals
                .into_iter()
                .map(|refusal| refusal.message)
                .collect();
            HttpResponse::UnprocessableEntity().json(serde_json::json!({ "errors": messages }))
        }
        Err(ActionError::Store(error)) => {
            tracing::error!(%error, "{failure}");
            HttpResponse::InternalServerError()
                .json(serde_json::json!({ "errors": ["The database can't be written to at the moment."] }))
        }
    }
}
