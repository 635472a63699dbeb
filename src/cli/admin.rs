//! `migrate`, `user`, `token`, `audit`, `doctor`, `health`: for the operator, who has the machine.

use super::args::{UserBindArguments, UserCreateArguments};
use super::data::user_with;
use super::say;
use crate::actions::ActionError;
use crate::actions::people::{CreateUser, create_user_as_operator};
use crate::app::{App, AppError, Purpose};
use crate::auth::accounts;
use crate::clock;
use crate::config::Config;
use crate::model::mailbox::SyncStage;
use crate::store::{StoreError, audit, credentials, identities, mailboxes, users};
use anyhow::Context as _;
use secrecy::SecretString;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

/// Opening the database migrates it.
///
/// # Errors
/// What the database says.
pub async fn migrate(config: Config) -> anyhow::Result<ExitCode> {
    App::open(config, Purpose::Tool).await?;
    say("The database has this version's tables.")?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a user.
///
/// # Errors
/// What is wrong with the input, in its own words.
pub async fn create_user(
    config: Config,
    arguments: UserCreateArguments,
) -> anyhow::Result<ExitCode> {
    let password = if arguments.password_stdin {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("the password could not be read")?;
        Some(SecretString::from(
            text.trim_end_matches(['\r', '\n']).to_owned(),
        ))
    } else {
        None
    };
    let app = App::open(config, Purpose::Tool).await?;
    let input = CreateUser {
        name: arguments.name,
        address: arguments.address.clone(),
        password,
        department_id: None,
        avatar_url: None,
        time_zone: None,
        is_administrator: arguments.administrator,
        role_ids: None,
    };
    match create_user_as_operator(&app.actions, input, clock::now()).await {
        Ok(_id) => {
            say(&format!("Made {}.", arguments.address))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(ActionError::Refused(refusals)) => {
            let messages: Vec<String> = refusals
                .into_iter()
                .map(|refusal| refusal.message)
                .collect();
            Err(AppError::Failed(messages.join(" ")).into())
        }
        Err(ActionError::Store(error)) => Err(error.into()),
    }
}

/// Names a user's subject at the issuer of the settings.
///
/// # Errors
/// Where there is no issuer or no such user, and where either is somebody else already.
pub async fn bind_identity(
    config: Config,
    arguments: UserBindArguments,
) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Tool).await?;
    let issuer = issuer(&app)?;
    let address = arguments.address.clone();
    let is_bound = tokio::task::spawn_blocking(move || {
        let user = user_with(&app.store, &arguments.address)?;
        let bound = app.store.write_now(clock::now(), |tx| {
            let bound = identities::bind_again(tx, &issuer, &arguments.subject, user)?;
            if bound == Some(user) {
                let detail = serde_json::json!({ "issuer": issuer });
                let target = format!("user {}", user.0);
                audit::record(tx, None, "bindIdentity", &target, &detail)?;
            }
            Ok::<_, StoreError>(bound)
        })?;
        anyhow::Ok(bound == Some(user))
    })
    .await??;
    if !is_bound {
        let text = format!("{address} or the subject is bound already: unbind it first");
        return Err(AppError::Failed(text).into());
    }
    say(&format!("Bound {address}."))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a user nobody to the issuer of the settings.
///
/// # Errors
/// Where there is no issuer or no such user.
pub async fn unbind_identity(config: Config, address: &str) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Tool).await?;
    let issuer = issuer(&app)?;
    let text = address.to_owned();
    let was_bound = tokio::task::spawn_blocking(move || {
        let user = user_with(&app.store, &text)?;
        let was_bound = app.store.write_now(clock::now(), |tx| {
            let was_bound = identities::take_back(tx, &issuer, user)?;
            let detail = serde_json::json!({ "issuer": issuer });
            audit::record(
                tx,
                None,
                "unbindIdentity",
                &format!("user {}", user.0),
                &detail,
            )?;
            Ok::<_, StoreError>(was_bound)
        })?;
        anyhow::Ok(was_bound)
    })
    .await??;
    say(if was_bound {
        "Unbound."
    } else {
        "It was not bound."
    })?;
    Ok(ExitCode::SUCCESS)
}

fn issuer(app: &App) -> Result<String, AppError> {
    let oidc = app.config.oidc.as_ref();
    oidc.map(|oidc| oidc.issuer.clone())
        .ok_or_else(|| AppError::Setting("MAILROOM_OIDC_ISSUER is not set".to_owned()))
}

/// Makes an API token and prints it, alone.
///
/// # Errors
/// Where there is no such active user.
pub async fn create_token(config: Config, address: &str) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Tool).await?;
    let address = address.to_owned();
    let token = tokio::task::spawn_blocking(move || {
        let user = user_with(&app.store, &address)?;
        let is_active = app
            .store
            .read_now(|conn| users::get(conn, user))?
            .is_some_and(|user| user.is_active);
        if !is_active {
            return Err(AppError::Failed(format!("{address} is deactivated")).into());
        }
        anyhow::Ok(accounts::create_api_token(&app.store, user, clock::now())?)
    })
    .await??;
    say(&token)?;
    Ok(ExitCode::SUCCESS)
}

/// Revokes every API token of a user.
///
/// # Errors
/// Where there is no such user.
pub async fn revoke_tokens(config: Config, address: &str) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Tool).await?;
    let address = address.to_owned();
    let count = tokio::task::spawn_blocking(move || {
        let user = user_with(&app.store, &address)?;
        let count = app
            .store
            .write_now(clock::now(), |tx| credentials::revoke_api_tokens(tx, user));
        anyhow::Ok(count?)
    })
    .await??;
    say(&format!("Revoked {count}."))?;
    Ok(ExitCode::SUCCESS)
}

/// Follows the chain of the audit log.
///
/// # Errors
/// What the database says.
pub async fn verify_audit(config: Config) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Tool).await?;
    let (broken, (count, hash)) = app
        .store
        .read(|conn| Ok((audit::first_broken(conn)?, audit::end(conn)?)))
        .await?;
    match broken {
        None => {
            say(&format!("{count} lines, none changed. Last hash: {hash}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(line) => {
            say(&format!(
                "Line {line} does not fit the one before it: it was changed, or one before it was taken out."
            ))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Checks what the settings name and says what is wrong, a line each; exit code 1 where anything is.
///
/// # Errors
/// Where nobody reads the answer.
pub async fn doctor(config: Config) -> anyhow::Result<ExitCode> {
    let mut is_well = true;
    let mut check = |name: &str, outcome: Result<String, String>| -> anyhow::Result<()> {
        match outcome {
            Ok(text) => say(&format!("ok    {name}: {text}")),
            Err(text) => {
                is_well = false;
                say(&format!("WRONG {name}: {text}"))
            }
        }
    };
    let redis_url = config.redis_url.clone();
    let database = if config.is_sqlite() {
        "SQLite"
    } else {
        "PostgreSQL"
    };
    match App::open(config, Purpose::Tool).await {
        Ok(app) => {
            check(
                "database",
                Ok(format!("{database} answers, its tables are this version's")),
            )?;
            check("key file", Ok(app.config.key_file.display().to_string()))?;
            check("mailboxes", mailboxes_state(&app).await)?;
            let has_user = app.store.read(users::any).await?;
            let users = if has_user {
                Ok("there are some".to_owned())
            } else {
                Err(
                    "there are none; make an administrator: mailroom user create --administrator …"
                        .to_owned(),
                )
            };
            check("users", users)?;
            if let Some(url) = redis_url {
                check("Redis", redis_state(&app, &url).await)?;
            }
        }
        Err(error) => check("start", Err(error.to_string()))?,
    }
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn mailboxes_state(app: &App) -> Result<String, String> {
    let states = app
        .store
        .read(|conn| {
            let mut found = Vec::new();
            for mailbox in mailboxes::connected(conn)? {
                let state = mailboxes::sync_state(conn, mailbox.id)?;
                let counts = mailboxes::sync_counts(conn, &[mailbox.id])?.remove(&mailbox.id);
                let quarantined = counts.unwrap_or_default().quarantined;
                found.push((mailbox.address, state, quarantined));
            }
            Ok::<_, StoreError>(found)
        })
        .await
        .map_err(|error| error.to_string())?;
    let bad: Vec<String> = states
        .iter()
        .filter(|(_address, state, quarantined)| {
            matches!(state.stage, SyncStage::Retrying | SyncStage::NeedsAttention)
                || *quarantined > 0
        })
        .map(|(address, state, quarantined)| {
            let error = state.last_error.as_ref().map_or_else(String::new, |error| {
                format!(" {}. {}", error.message, error.advice)
            });
            format!(
                "{address} is {}, {quarantined} quarantined.{error}",
                state.stage.as_text(),
            )
        })
        .collect();
    if bad.is_empty() {
        Ok(format!("{} connected, none in trouble", states.len()))
    } else {
        Err(bad.join("; "))
    }
}

async fn redis_state(app: &App, _url: &str) -> Result<String, String> {
    let bus = app.bus().map_err(|error| error.to_string())?;
    let wake = crate::bus::Wake {
        topics: Vec::new(),
        position: 0,
    };
    let published = tokio::task::spawn_blocking(move || bus.publish(&wake))
        .await
        .map_err(|error| error.to_string())?;
    match published {
        Ok(()) => Ok("answers".to_owned()),
        Err(error) => Err(format!(
            "{error}; without it, live timelines lag by a second"
        )),
    }
}

/// How long a health check waits.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the server on the address of the settings whether it is ready.
///
/// # Errors
/// Where it does not answer, or is not ready.
pub async fn health(config: &Config) -> anyhow::Result<ExitCode> {
    let mut address = config.health_listen.unwrap_or(config.listen);
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let answer = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
        stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
    .await?
    .with_context(|| format!("nothing answers on {address}"))?;
    let is_ready = answer.starts_with("HTTP/1.1 200");
    let text = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    say(text.trim())?;
    Ok(if is_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
