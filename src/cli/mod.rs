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
use crate::telemetry::{self, TelemetryError, TelemetrySettings};
use anyhow::Context as _;
use args::{Arguments, AuditCommand, Command, KeysCommand, Settings, TokenCommand, UserCommand};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

/// A setting or argument can't be used.
const BAD_SETTING: u8 = 2;

/// Settings that the demo has no use for: it runs on a SQLite file in its folder.
const NOT_FOR_DEMO: [&str; 2] = ["database_url", "redis_url"];

/// The folder that the demo is to keep its data in; none: one that goes when it ends. Only what is said in the command
/// counts: the environment names the folder of a real installation.
fn demo_folder(matches: &ArgMatches) -> Result<Option<PathBuf>, String> {
    let Some(("demo", of_demo)) = matches.subcommand() else {
        return Ok(None);
    };
    let is_said = |name: &str| of_demo.value_source(name) == Some(ValueSource::CommandLine);
    if let Some(name) = NOT_FOR_DEMO.into_iter().find(|name| is_said(name)) {
        let name = name.replace('_', "-");
        return Err(format!(
            "the demo runs on a SQLite file of its own: --{name} means nothing to it"
        ));
    }
    if !is_said("data_dir") {
        return Ok(None);
    }
    let folder = of_demo.get_one::<PathBuf>("data_dir").cloned();
    let holds_something = |folder: &PathBuf| {
        std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
    };
    match folder {
        Some(folder) if holds_something(&folder) => Err(format!(
            "the demo begins in an empty folder: {} holds something",
            folder.display()
        )),
        folder => Ok(folder),
    }
}

/// Where traces are sent: of what runs on, not of a look at it now and then. A variable that is empty says nothing.
fn otlp_endpoint(arguments: &Arguments) -> Option<&str> {
    let runs_on = matches!(
        arguments.command,
        None | Some(Command::Serve | Command::Worker)
    );
    let endpoint = arguments.settings.otlp_endpoint.as_deref()?.trim();
    (runs_on && !endpoint.is_empty()).then_some(endpoint)
}

/// Reads the arguments, runs the command, and says how it went as an exit code.
pub fn run() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let demo_folder = match demo_folder(&matches) {
        Ok(folder) => folder,
        Err(message) => Arguments::command()
            .error(ErrorKind::ArgumentConflict, message)
            .exit(),
    };
    // The demo's own lines are on standard output; the log speaks up only when something is wrong.
    let level = match arguments.command {
        Some(Command::Demo(_)) => "error",
        _ => "info",
    };
    let settings = &arguments.settings;
    let told = telemetry::start(TelemetrySettings {
        log: settings.log.as_deref().unwrap_or(level),
        log_json: settings.log_json,
        otlp_endpoint: otlp_endpoint(&arguments),
        ca_file: settings.ca_file.as_deref(),
    });
    let _telemetry = match told {
        Ok(telemetry) => telemetry,
        Err(TelemetryError::Setting(why)) => return failed(&AppError::Setting(why).into()),
        Err(error) => return failed(&error.into()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime could not be started")
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(command(arguments, demo_folder)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

async fn command(arguments: Arguments, demo_folder: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let settings = &arguments.settings;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(settings.config()?).await,
        Command::Worker => serve::worker(settings.config()?).await,
        Command::Demo(demo) => demo_command(settings, &demo, demo_folder).await,
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
    data_dir: Option<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let config = settings.config()?;
    let options = demo::DemoOptions {
        seconds: arguments.seconds,
        data_dir,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn traces_are_of_what_runs_on_and_an_empty_variable_says_nothing() {
        let sent = |words: &[&str]| {
            let words = ["mailroom"].iter().chain(words);
            let arguments = Arguments::try_parse_from(words).unwrap();
            otlp_endpoint(&arguments).map(str::to_owned)
        };
        let url = "http://127.0.0.1:4318";
        for command in [["serve"].as_slice(), &["worker"], &[]] {
            let with = |url| [command, &["--otlp-endpoint", url]].concat();
            assert_eq!(sent(&with(url)).as_deref(), Some(url));
            assert_eq!(sent(&with("")), None);
            assert_eq!(sent(command), None);
        }
        assert_eq!(sent(&["health", "--otlp-endpoint", url]), None);
    }

    #[test]
    fn the_demo_keeps_its_data_where_it_is_told_to_and_nowhere_that_holds_something() {
        let folder = tempfile::tempdir().unwrap();
        let full = folder.path().to_str().unwrap();
        let empty = folder.path().join("new");
        let empty = empty.to_str().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let demo = |words: &[&str]| {
            let words = ["mailroom"].iter().chain(words);
            demo_folder(&Arguments::command().try_get_matches_from(words).unwrap())
        };
        assert_eq!(demo(&["demo"]), Ok(None));
        assert_eq!(demo(&["serve", "--data-dir", full]), Ok(None));
        for words in [["demo", "--data-dir", empty], ["--data-dir", empty, "demo"]] {
            assert_eq!(demo(&words), Ok(Some(PathBuf::from(empty))));
        }
        let told = demo(&["demo", "--data-dir", full]).unwrap_err();
        assert!(told.contains("holds something"), "{told}");
        let told = demo(&["demo", "--redis-url", "redis://127.0.0.1"]).unwrap_err();
        assert!(told.contains("--redis-url"), "{told}");
    }
}
