//! `serve` and `worker`: run until told to stop.

use super::say;
use crate::app::{self, App, Purpose, Running};
use crate::config::Config;
use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Serves until it is told to stop. The first line on standard output is the address.
///
/// # Errors
/// What keeps it from starting.
pub async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    allow_many_files();
    let app = App::open(config, Purpose::Run).await?;
    let running = app::serve(app).await?;
    if let Some(address) = running.address {
        say(&format!("http://{address}"))?;
    }
    if let Some(url) = &running.set_up_url {
        say(&format!(
            "There is no user yet. Make the first administrator within 15 minutes:\n{url}"
        ))?;
    }
    until_told(running).await
}

/// Syncs mailboxes until it is told to stop. The first line on standard output is the address, where it listens.
///
/// # Errors
/// What keeps it from starting.
pub async fn worker(config: Config) -> anyhow::Result<ExitCode> {
    allow_many_files();
    let app = App::open(config, Purpose::Run).await?;
    let running = app::work(app).await?;
    if let Some(address) = running.address {
        say(&format!("http://{address}"))?;
    }
    tracing::info!("the worker runs");
    until_told(running).await
}

/// Raises the number of open files to what the system lets this process have. A mailbox takes three while it waits for
/// news and a subscriber one, but many systems begin with 1,024 for the whole process.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

async fn until_told(mut running: Running) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
    let has_ended = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = running.ended() => true,
    };
    tracing::info!("stopping");
    running.stop().await;
    if has_ended {
        anyhow::bail!("a part of the server ended by itself; the log says why");
    }
    Ok(ExitCode::SUCCESS)
}
