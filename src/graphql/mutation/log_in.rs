//! Logging in, refreshing a log-in, logging out. The only mutations for callers who are not signed in.

use std::sync::Arc;

use async_graphql::{Context, InputObject, Object, Result};
use secrecy::SecretString;

use super::{payload, refused};
use crate::auth::accounts::{LogInError, LoggedIn};
use crate::graphql::context::{Ask, Services, failed, services};
use crate::graphql::scalars::DateTime;
use crate::graphql::viewer::User;
use crate::store;

/// Who logs in.
#[derive(InputObject)]
pub struct LogInInput {
    /// The user's mail address.
    address: String,
    /// The user's password.
    #[graphql(secret)]
    password: String,
}

/// A log-in to go on with.
#[derive(InputObject)]
pub struct RefreshLogInInput {
    /// The refresh token that the last log-in or refresh gave. Each is good once: one that is used twice ends the log-in.
    #[graphql(secret)]
    refresh_token: String,
}

/// A log-in to end.
#[derive(InputObject)]
pub struct LogOutInput {
    /// The newest refresh token of the log-in.
    #[graphql(secret)]
    refresh_token: String,
}

payload! {
    /// A log-in, or why there is none.
    LogInPayload {
        /// What to send as `Authorization: Bearer`; good for minutes.
        access_token: String,
        /// What gets the next access token; good once.
        refresh_token: String,
        /// When the access token ends.
        expires_at: DateTime,
        /// Who is logged in.
        viewer: User,
    }
}

payload! {
    /// The log-in is over.
    LogOutPayload {}
}

/// Logging in and out.
#[derive(Default)]
pub struct LogInMutation;

#[Object]
impl LogInMutation {
    /// Logs in by address and password.
    async fn log_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: LogInInput,
    ) -> Result<LogInPayload> {
        let services = services(ctx)?;
        let password = SecretString::from(input.password);
        let now = (services.clock)();
        let done = services
            .accounts
            .log_in(&input.address, &password, now)
            .await;
        logged_in(services, done).await
    }

    /// Goes on with a log-in: a new pair of tokens for a refresh token.
    async fn refresh_log_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: RefreshLogInInput,
    ) -> Result<LogInPayload> {
        let services = services(ctx)?;
        let now = (services.clock)();
        let done = services.accounts.refresh(&input.refresh_token, now).await;
        logged_in(services, done).await
    }

    /// Ends a log-in with all its tokens, at once and everywhere.
    async fn log_out(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: LogOutInput,
    ) -> Result<LogOutPayload> {
        let services = services(ctx)?;
        let now = (services.clock)();
        let done = services.accounts.log_out(&input.refresh_token, now).await;
        done.map_err(|error| failed(&error))?;
        Ok(LogOutPayload::default())
    }
}

async fn logged_in(
    services: &Services,
    done: std::result::Result<LoggedIn, LogInError>,
) -> Result<LogInPayload> {
    let logged_in = match done {
        Ok(logged_in) => logged_in,
        Err(LogInError::Refused(refusal)) => return Ok(refused([refusal])),
        Err(LogInError::Store(error)) => return Err(failed(&error)),
    };
    let id = logged_in.user_id;
    let viewer = services
        .store
        .read(move |conn| store::roles::load_viewer(conn, id))
        .await
        .map_err(|error| failed(&error))?;
    let user = match viewer {
        Some(viewer) => User::find(&Ask::new(services.clone(), Arc::new(viewer)), id).await?,
        None => None,
    };
    Ok(LogInPayload {
        access_token: Some(logged_in.access_token),
        refresh_token: Some(logged_in.refresh_token),
        expires_at: Some(logged_in.expires_at.into()),
        viewer: user,
        user_errors: Vec::new(),
    })
}
