//! The page behind a link to set a password: it asks for the new one, once.
//! Not for: making such links (`createPasswordReset`).

use super::set_up::page_of;
use crate::actions::passwords::reset;
use crate::actions::{ActionError, Actions};
use crate::model::Time;
use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data, Json, ServiceConfig};
use secrecy::SecretString;
use serde::Deserialize;

/// What the page needs.
#[derive(Clone)]
pub struct ResetPage {
    pub actions: Actions,
    pub clock: fn() -> Time,
}

/// Mounts `/reset-password`.
pub fn mount(page: &ResetPage, config: &mut ServiceConfig) {
    config
        .app_data(Data::new(page.clone()))
        .route("/reset-password", web::get().to(show))
        .route("/reset-password.js", web::get().to(script))
        .route("/reset-password", web::post().to(set));
}

const PAGE: &str = include_str!("assets/reset-password.html");
const SCRIPT: &str = include_str!("assets/reset-password.js");

async fn show() -> HttpResponse {
    page_of(PAGE)
}

async fn script() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/javascript; charset=utf-8"))
        .body(SCRIPT)
}

#[derive(Deserialize)]
struct Wanted {
    token: String,
    password: String,
}

async fn set(wanted: Json<Wanted>, page: Data<ResetPage>) -> HttpResponse {
    let Wanted { token, password } = wanted.into_inner();
    let password = SecretString::from(password);
    match reset(&page.actions, &token, &password, (page.clock)()).await {
        Ok(()) => HttpResponse::Ok().json(serde_json::json!({ "done": true })),
        Err(ActionError::Refused(refusals)) => {
            let messages: Vec<String> = refusals
                .into_iter()
                .map(|refusal| refusal.message)
                .collect();
            HttpResponse::UnprocessableEntity().json(serde_json::json!({ "errors": messages }))
        }
        Err(ActionError::Store(error)) => {
            tracing::error!(%error, "a password could not be set");
            HttpResponse::InternalServerError()
                .json(serde_json::json!({ "errors": ["The database can't be written to at the moment."] }))
        }
    }
}
