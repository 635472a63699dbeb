//! Flags and environment. Every setting has a flag and a variable; nothing else is read.

use crate::config::{Config, Given, SettingError};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Puts a company's mail into its CRM: reads mailboxes over IMAP, saves each client's mail on the right lead, deal or
/// contact, and streams every new timeline entry over GraphQL subscriptions.
#[derive(Debug, Parser)]
#[command(
    name = "mailroom",
    version,
    after_help = "Without a command, `mailroom` serves.\nExit codes: 0 it went well, 1 it failed, 2 a setting or argument can't be used."
)]
pub struct Arguments {
    #[command(flatten)]
    pub settings: Settings,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Settings of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Folder for the database, the raw mails and the key file [default: mailroom-data]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_DATA_DIR",
        value_name = "FOLDER",
        hide_env_values = true
    )]
    data_dir: Option<PathBuf>,
    /// sqlite:PATH or postgres://… [default: a SQLite file in the data folder]
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// redis://…, to run several servers and workers on PostgreSQL [default: none]
    #[arg(
        long,
        global = true,
        env = "REDIS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    redis_url: Option<String>,
    /// Address and port to serve on; port 0 picks one [default: 127.0.0.1:8080]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_LISTEN",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    listen: Option<String>,
    /// Where a worker answers /healthz, /readyz and /metrics, and a server does too; `mailroom health` asks there where
    /// it is set [default: workers nowhere, servers where they serve]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_HEALTH_LISTEN",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    health_listen: Option<String>,
    /// Where clients reach this installation [default: where it listens]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_PUBLIC_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    public_url: Option<String>,
    /// Private mail servers that may be connected to: hosts, host:port or networks, by commas [default: none]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_ALLOW_HOSTS",
        value_name = "LIST",
        hide_env_values = true
    )]
    allow_hosts: Option<String>,
    /// Origins whose pages may connect, by commas [default: our own]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_ALLOW_ORIGINS",
        value_name = "LIST",
        hide_env_values = true
    )]
    allow_origins: Option<String>,
    /// The key file; made at the first start [default: mailroom.key in the data folder]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_KEY_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    key_file: Option<PathBuf>,
    /// Further certificate authorities for mail servers and the collector of traces, PEM [default: the system's alone]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_CA_FILE",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub ca_file: Option<PathBuf>,
    /// Where raw mails are kept: a folder, or s3://bucket/prefix [default: raw in the data folder]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_RAW_STORE",
        value_name = "URL",
        hide_env_values = true
    )]
    raw_store: Option<String>,
    /// Days after which what a disconnected mailbox held and the CRM did not save is erased, or never [default: 30]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_ERASE_AFTER_DAYS",
        value_name = "DAYS",
        hide_env_values = true
    )]
    erase_after_days: Option<String>,
    /// Who may read /metrics: loopback, off, or a file that holds a bearer token [default: loopback]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_METRICS",
        value_name = "WHO",
        hide_env_values = true
    )]
    metrics: Option<String>,
    /// Which GraphQL documents are run: open, apq (any, also by hash), or the file of a manifest (its own alone) [default: apq]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_DOCUMENTS",
        value_name = "WHICH",
        hide_env_values = true
    )]
    documents: Option<String>,
    /// What each user may ask for in a minute, in the cost of operations (a page of 50 entries: some 600), or off [default: 600000]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_RATE_LIMIT",
        value_name = "COST",
        hide_env_values = true
    )]
    rate_limit: Option<String>,
    /// Who may read the schema: everyone, signed-in, administrators, or off [default: signed-in]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_INTROSPECTION",
        value_name = "WHO",
        hide_env_values = true
    )]
    introspection: Option<String>,
    /// An issuer whose OpenID Connect tokens are believed beside our own, as it stands in them [default: none]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_OIDC_ISSUER",
        value_name = "URL",
        hide_env_values = true
    )]
    oidc_issuer: Option<String>,
    /// What the issuer's tokens say that they are for
    #[arg(
        long,
        global = true,
        env = "MAILROOM_OIDC_AUDIENCE",
        value_name = "TEXT",
        hide_env_values = true
    )]
    oidc_audience: Option<String>,
    /// Where the issuer's public keys are (JWKS): an https address or a file
    #[arg(
        long,
        global = true,
        env = "MAILROOM_OIDC_KEYS",
        value_name = "URL",
        hide_env_values = true
    )]
    oidc_keys: Option<String>,
    /// The algorithms that the issuer signs with, by commas [default: RS256]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_OIDC_ALGORITHMS",
        value_name = "LIST",
        hide_env_values = true
    )]
    oidc_algorithms: Option<String>,
    /// How the issuer's users are found: address (verified, the first time) or subject (`mailroom user bind`) [default: address]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_OIDC_USERS",
        value_name = "HOW",
        hide_env_values = true
    )]
    oidc_users: Option<String>,
    /// What is logged to standard error: error, warn, info, debug, or a filter like mailroom=debug [default: info]
    #[arg(
        long,
        global = true,
        env = "MAILROOM_LOG",
        value_name = "FILTER",
        hide_env_values = true
    )]
    pub log: Option<String>,
    /// Log lines as JSON
    #[arg(long, global = true, env = "MAILROOM_LOG_JSON", hide_env_values = true)]
    pub log_json: bool,
    /// Where traces are sent: the base address of a collector that takes OTLP over HTTP [default: nowhere]
    #[arg(
        long,
        global = true,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        hide_env_values = true
    )]
    pub otlp_endpoint: Option<String>,
}

impl Settings {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first that can't be used.
    pub fn config(&self) -> Result<Config, SettingError> {
        Config::new(Given {
            data_dir: self.data_dir.clone(),
            database_url: self.database_url.clone(),
            redis_url: self.redis_url.clone(),
            listen: self.listen.clone(),
            health_listen: self.health_listen.clone(),
            public_url: self.public_url.clone(),
            allow_hosts: self.allow_hosts.clone(),
            allow_origins: self.allow_origins.clone(),
            key_file: self.key_file.clone(),
            ca_file: self.ca_file.clone(),
            raw_store: self.raw_store.clone(),
            erase_after_days: self.erase_after_days.clone(),
            metrics: self.metrics.clone(),
            documents: self.documents.clone(),
            rate_limit: self.rate_limit.clone(),
            introspection: self.introspection.clone(),
            oidc_issuer: self.oidc_issuer.clone(),
            oidc_audience: self.oidc_audience.clone(),
            oidc_keys: self.oidc_keys.clone(),
            oidc_algorithms: self.oidc_algorithms.clone(),
            oidc_users: self.oidc_users.clone(),
        })
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve GraphQL, and sync the mailboxes unless workers do (the default)
    Serve,
    /// Sync mailboxes beside servers; needs PostgreSQL and Redis
    Worker,
    /// Play a made-up company with a private mail server, and follow its timeline
    Demo(DemoArguments),
    /// Bring the database to this version's tables
    Migrate,
    /// Take mail from files into a mailbox: mbox, Maildir, .eml files or folders of them
    Import(ImportArguments),
    /// Write everything into one file, while servers and workers run
    Backup(BackupArguments),
    /// Make a new installation of a backup, on either database; nothing that is there is overwritten
    Restore(RestoreArguments),
    /// The keys that seal the mailboxes' secrets
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Compare mailboxes with their mail servers, print what was missing on either side, and put it right
    Reconcile(ReconcileArguments),
    /// Accounts of employees
    #[command(subcommand)]
    User(UserCommand),
    /// API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// The log of who changed rights, settings and links
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the GraphQL schema
    Schema,
    /// Check database, Redis, key file and mailboxes, and say what is wrong
    Doctor,
    /// Ask a running server whether it is ready; for container health checks
    Health,
}

/// How the demo runs.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// End after so many seconds [default: when it is stopped]
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Equal seeds play the same company and mail
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Milliseconds between two new mails
    #[arg(long, value_name = "N", default_value_t = 2500)]
    pub pause: u64,
}

/// What to import, and where to.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Address of the mailbox
    #[arg(long, value_name = "ADDRESS")]
    pub mailbox: String,
    /// Address of the user who becomes connector, where there is no such mailbox yet
    #[arg(long, value_name = "ADDRESS")]
    pub connector: Option<String>,
    /// Folder of the mailbox
    #[arg(long, value_name = "NAME", default_value = "INBOX")]
    pub folder: String,
    /// Files or folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// Where a backup goes.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// A file that is not there yet, or a folder, in which the file is named by the moment
    #[arg(value_name = "FILE|FOLDER")]
    pub path: PathBuf,
    /// Put the key file in too: whoever has the backup can then open the mailboxes' secrets
    #[arg(long)]
    pub with_keys: bool,
}

/// What is restored.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only prove that it is whole
    #[arg(long)]
    pub check: bool,
}

/// What to do about keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new key, seal every secret with it, and drop the old one; run again, it goes on where it was ended
    Rotate(RotateArguments),
}

/// How keys are rotated.
#[derive(Debug, Args)]
pub struct RotateArguments {
    /// Only put the new key into the key file, to be handed to every machine first
    #[arg(long)]
    pub prepare: bool,
}

/// What to compare.
#[derive(Debug, Args)]
pub struct ReconcileArguments {
    /// Address of the mailbox [default: all that are connected]
    #[arg(value_name = "MAILBOX")]
    pub mailbox: Option<String>,
}

/// What to do about accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user
    Create(UserCreateArguments),
    /// Name a user's subject at the issuer of the settings
    Bind(UserBindArguments),
    /// Make a user nobody to the issuer of the settings; their tokens of it end at once
    Unbind(TokenArguments),
}

/// Who is who to the issuer.
#[derive(Debug, Args)]
pub struct UserBindArguments {
    /// Email address of the user
    #[arg(long, value_name = "ADDRESS")]
    pub address: String,
    /// What stands as `sub` in the tokens of the user
    #[arg(long, value_name = "TEXT")]
    pub subject: String,
}

/// A user to make.
#[derive(Debug, Args)]
pub struct UserCreateArguments {
    /// Name
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Email address
    #[arg(long, value_name = "ADDRESS")]
    pub address: String,
    /// Make an administrator
    #[arg(long)]
    pub administrator: bool,
    /// Read the password from standard input; without it the user can't log in by password
    #[arg(long)]
    pub password_stdin: bool,
}

/// What to do about API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make an API token and print it, alone
    Create(TokenArguments),
    /// Revoke every API token of a user
    Revoke(TokenArguments),
}

/// What to do about the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no line was changed or taken out, and print how many there are and the last one's hash; exit code 1 where one was
    Verify,
}

/// Whose token.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// Email address of the user
    #[arg(long, value_name = "ADDRESS")]
    pub address: String,
}
