//! The page behind a link to set a password: it asks for the new one, once.
//! Not for: making such links (`createPasswordReset`).

use super::set_up::{page_of, script_of, told};
use crate::actions::Actions;
use crate::actions::passwords::reset;
use crate::model::Time;
use actix_web::HttpResponse;
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
    script_of(SCRIPT)
}

#[derive(Deserialize)]
struct Wanted {
    token: String,
    password: String,
}

async fn set(wanted: Json<Wanted>, page: Data<ResetPage>) -> HttpResponse {
    let Wanted { token, password } = wanted.into_inner();
    let password = SecretString::from(password);
    let done = reset(&page.actions, &token, &password, (page.clock)()).await;
    told(done, "a password could not be set")
}
