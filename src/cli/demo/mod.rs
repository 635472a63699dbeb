//! The demo: a made-up company (`company`, `clients`) whose mail (`letters`) is delivered to a private Dovecot
//! (`dovecot`) that Mailroom reads, and whose timeline is followed in the terminal (`screen`).
//! The way through it is in `run`. Not for: anything that a real installation needs.

pub mod clients;
pub mod company;
pub mod dice;
pub mod dovecot;
pub mod dovecot_config;
pub mod letters;
pub mod post;
pub mod private_server;
pub mod run;
pub mod screen;
pub mod setup;
pub mod tally;

pub use run::run;

use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Receiver;

/// How the demo is to run.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Ends by itself after so long; `None`: runs until it is stopped.
    pub seconds: Option<u64>,
    /// Where Mailroom keeps its data; `None`: a temporary folder that is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// Where Mailroom listens. Loopback, since the mail server is on loopback too (R1).
    pub listen: SocketAddr,
    /// Equal seeds play the same company and the same mail.
    pub seed: u64,
    /// Time between two mails of the live part.
    pub pause_milliseconds: u64,
    /// `None`: coloured if standard output is a terminal.
    pub colour: Option<bool>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            seconds: None,
            data_dir: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            seed: 1,
            pause_milliseconds: 2500,
            colour: None,
        }
    }
}

/// A GraphQL request.
#[derive(Debug, Clone)]
pub struct Request {
    pub document: String,
    pub variables: Value,
}

/// What the demo needs of the program around it. The rooms of the program implement it, and tests do.
///
/// Errors are for people: each ends the demo with its text.
pub trait Installation {
    /// Starts server and worker in this process, on this folder; returns the address for browsers, for example
    /// `http://127.0.0.1:8080`.
    fn start(
        &mut self,
        options: &DemoOptions,
        data_dir: &Path,
    ) -> impl Future<Output = anyhow::Result<String>>;

    /// Makes the first user, an administrator without a password; returns an API token of theirs.
    fn make_administrator(
        &mut self,
        name: &str,
        address: &str,
    ) -> impl Future<Output = anyhow::Result<String>>;

    /// An API token of an existing user.
    fn make_token(&mut self, address: &str) -> impl Future<Output = anyhow::Result<String>>;

    /// Answers a query or mutation as the token's holder; the whole response with `data` and `errors`.
    fn execute(
        &mut self,
        token: &str,
        request: Request,
    ) -> impl Future<Output = anyhow::Result<Value>>;

    /// Subscribes as the token's holder; each value is a whole response. The channel closes with the subscription.
    fn subscribe(
        &mut self,
        token: &str,
        request: Request,
    ) -> impl Future<Output = anyhow::Result<Receiver<Value>>>;

    /// Without a mail server: makes a mailbox that is connected nowhere, with these settings, connector and queue
    /// (by address, they exist); returns its GraphQL id.
    fn make_file_mailbox(
        &mut self,
        mailbox: &company::Mailbox,
    ) -> impl Future<Output = anyhow::Result<String>>;

    /// Without a mail server: takes in one mail as `import` does, into `Sent`, `Junk` or the Inbox (`None`) of the
    /// mailbox with that address.
    fn import(
        &mut self,
        address: &str,
        folder: Option<&str>,
        raw: &[u8],
    ) -> impl Future<Output = anyhow::Result<()>>;

    /// Stops server and worker, and returns once they have let go of their folder.
    fn stop(&mut self) -> impl Future<Output = anyhow::Result<()>>;
}
