//! The commands of the `mailroom` program. Standard output is for what was asked for, standard error for the log.

mod admin;
mod args;
mod data;
pub mod demo;
mod installation;
mod reconcile;
mod serve;
pub mod vault;

use crate::app::AppError;
use anyhow::Context as _;
use args::{Arguments, AuditCommand, Command, KeysCommand, Settings, TokenCommand, UserCommand};
use clap::Parser as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// A setting or argument can't be used.
const BAD_SETTING: u8 = 2;

/// Reads the arguments, runs the command, and says how it went as an exit code.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    // The demo's own lines are on standard output; the log speaks up only when something is wrong.
    let level = match arguments.command {
        Some(Command::Demo(_)) => "error",
        _ => "info",
    };
    if let Err(error) = start_log(&arguments.settings, level) {
        return failed(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime could not be started")
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(command(arguments)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn command(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let settings = &arguments.settings;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(settings.config()?).await,
        Command::Worker => serve::worker(settings.config()?).await,
        Command::Demo(demo) => demo_command(settings, &demo).await,
        Command::Migrate => admin::migrate(settings.config()?).await,
        Command::Import(import) => data::import(settings.config()?, import).await,
        Command::Backup(backup) => vault::back_up(settings.config()?, backup).await,
        Command::Restore(restore) => vault::restore(settings.config()?, restore).await,
        Command::Keys(KeysCommand::Rotate(rotate)) => {
            vault::rotate_keys(settings.config()?, rotate.prepare).await
        }
        Command::Reconcile(wanted) => {
            reconcile::reconcile(settings.config()?, wanted.mailbox).await
        }
        Command::User(UserCommand::Create(user)) => {
            admin::create_user(settings.config()?, user).await
        }
        Command::User(UserCommand::Bind(user)) => {
            admin::bind_identity(settings.config()?, user).await
        }
        Command::User(UserCommand::Unbind(user)) => {
            admin::unbind_identity(settings.config()?, &user.address).await
        }
        Command::Token(TokenCommand::Create(token)) => {
            admin::create_token(settings.config()?, &token.address).await
        }
        Command::Token(TokenCommand::Revoke(token)) => {
            admin::revoke_tokens(settings.config()?, &token.address).await
        }
        Command::Audit(AuditCommand::Verify) => admin::verify_audit(settings.config()?).await,
        Command::Schema => {
            say(crate::graphql::sdl().trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor => admin::doctor(settings.config()?).await,
        Command::Health => admin::health(&settings.config()?).await,
    }
}

async fn demo_command(
    settings: &Settings,
    arguments: &args::DemoArguments,
) -> anyhow::Result<ExitCode> {
    let config = settings.config()?;
    let options = demo::DemoOptions {
        seconds: arguments.seconds,
        listen: free_address(config.listen),
        seed: arguments.seed,
        pause_milliseconds: arguments.pause,
        ..demo::DemoOptions::default()
    };
    let mut installation = installation::InProcess::default();
    let mut screen = demo::screen::Screen::stdout(options.colour);
    demo::run(&options, &mut installation, &mut screen).await
}

/// The address, or one with another port where somebody listens there already: the demo prints where it is.
fn free_address(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_free) => wanted,
        Err(_taken) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// Writes a line to standard output.
///
/// # Errors
/// Where nobody reads it any more.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

fn start_log(settings: &Settings, level: &str) -> anyhow::Result<()> {
    let filter = settings.log.as_deref().unwrap_or(level);
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| AppError::Setting(format!("MAILROOM_LOG {filter:?}: {error}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = if settings.log_json {
        log.json().try_init()
    } else {
        log.try_init()
    };
    started.map_err(|error| anyhow::anyhow!("the log could not be started: {error}"))
}

/// Says what went wrong, in one line, and with which code to exit.
fn failed(error: &anyhow::Error) -> ExitCode {
    let is_setting = error.chain().any(|cause| {
        cause.is::<crate::config::SettingError>()
            || matches!(cause.downcast_ref::<AppError>(), Some(AppError::Setting(_)))
    });
    // Nothing is left to do where standard error is closed.
    drop(writeln!(std::io::stderr(), "mailroom: {error:#}"));
    if is_setting {
        ExitCode::from(BAD_SETTING)
    } else {
        ExitCode::FAILURE
    }
}
