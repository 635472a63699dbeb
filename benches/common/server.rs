//! A Mailroom of its own process, asked through the front door.

use super::address_in;
use mailroom::cli::demo::private_server::{PrivateFolder, PrivateServer};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The program that is measured: this one, or another to compare with (`MAILROOM_PROGRAM`).
fn program() -> String {
    std::env::var("MAILROOM_PROGRAM")
        .unwrap_or_else(|_unset| env!("CARGO_BIN_EXE_mailroom").to_owned())
}

/// How often the state of a sync is asked for: it counts placements, and so is not asked too often.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Who may do everything.
pub const ADMINISTRATOR: &str = "ada@ours.example";

/// What it runs on.
pub struct Setting {
    pub name: &'static str,
    /// Each run on PostgreSQL has a database of its own.
    pub database_url: Option<String>,
    /// Where there is one, it runs on PostgreSQL, with a worker beside the server.
    pub redis_url: Option<String>,
}

/// The running server, with a worker beside it on PostgreSQL.
pub struct Server {
    server: PrivateServer,
    worker: Option<PrivateServer>,
    url: String,
    token: String,
    http: reqwest::Client,
    // The last: servers go before their folder.
    folder: PrivateFolder,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Its largest resident size, and its present one.
    pub peak_mb: f64,
    pub resident_mb: f64,
    pub cpu_seconds: f64,
}

/// Reads a process's figures from /proc.
pub fn used(pid: u32) -> Used {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let megabytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kilobytes.unwrap_or_default() / 1024.0
    };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_name, rest)| rest);
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    Used {
        peak_mb: megabytes("VmHWM:"),
        resident_mb: megabytes("VmRSS:"),
        // Linux counts in hundredths of a second wherever it runs today.
        cpu_seconds: ticks / 100.0,
    }
}

impl Server {
    /// Starts one with an administrator.
    pub async fn start(setting: &Setting) -> Self {
        Self::start_after(setting, |_run| {}).await
    }

    /// The same, once other commands were run over its data: some want it for themselves.
    pub async fn start_after(
        setting: &Setting,
        prepare: impl FnOnce(&dyn Fn(&[&str]) -> String),
    ) -> Self {
        let folder = PrivateFolder::create("bench").unwrap();
        let create = [
            "user",
            "create",
            "--name",
            "Ada",
            "--address",
            ADMINISTRATOR,
            "--administrator",
        ];
        run(setting, folder.path(), &create);
        prepare(&|arguments| run(setting, folder.path(), arguments));
        let server = launch(setting, folder.path(), "serve");
        let mut server = server.unwrap();
        let log = folder.path().join("serve.log");
        let read_url = || address_in(&log);
        server
            .wait_until(Duration::from_secs(30), || read_url().is_some())
            .unwrap();
        let worker = setting
            .redis_url
            .is_some()
            .then(|| launch(setting, folder.path(), "worker").unwrap());
        let token = token_of(setting, folder.path(), ADMINISTRATOR);
        Self {
            server,
            worker,
            url: read_url().unwrap(),
            token,
            http: reqwest::Client::new(),
            folder,
        }
    }

    /// The process that syncs.
    pub fn pid(&self) -> u32 {
        self.worker.as_ref().unwrap_or(&self.server).pid()
    }

    /// The process that answers.
    pub fn server_pid(&self) -> u32 {
        self.server.pid()
    }

    fn sqlite_file(&self) -> std::path::PathBuf {
        self.folder.path().join("data/mailroom.sqlite")
    }

    /// Where its database is, on SQLite.
    pub fn sqlite_url(&self) -> String {
        format!("sqlite:{}", self.sqlite_file().display())
    }

    /// Where GraphQL is asked.
    pub fn graphql_url(&self) -> String {
        format!("{}/graphql", self.url)
    }

    /// What the process that syncs has used.
    pub fn used(&self) -> Used {
        used(self.pid())
    }

    /// Stops it; the folder that it kept its data in.
    pub fn stop(self) -> PrivateFolder {
        drop((self.server, self.worker));
        self.folder
    }

    /// Where subscriptions are asked for.
    pub fn socket_url(&self) -> String {
        format!("{}/graphql", self.url.replacen("http", "ws", 1))
    }

    /// A token of another user.
    pub fn token_of(&self, setting: &Setting, address: &str) -> String {
        token_of(setting, self.folder.path(), address)
    }

    /// Runs another command over its data; what that printed.
    pub fn run(&self, setting: &Setting, arguments: &[&str]) -> String {
        run(setting, self.folder.path(), arguments)
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// How large the data has become.
    pub fn database_mb(&self) -> f64 {
        std::fs::metadata(self.sqlite_file()).map_or(0.0, |file| file.len() as f64 / 1e6)
    }

    /// Asks; panics with what is wrong.
    pub async fn ask(&self, query: &str, variables: Value) -> Value {
        let request = self
            .http
            .post(format!("{}/graphql", self.url))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(json!({ "query": query, "variables": variables }).to_string());
        let text = request.send().await.unwrap().text().await.unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer.get("errors").is_none(), "{text}");
        answer["data"].take()
    }

    /// Connects a mailbox with all its history; its id.
    pub async fn connect(&self, address: &str, port: u16, password: &str) -> String {
        let query = "mutation($input: ConnectMailboxInput!) { connectMailbox(input: $input) { mailbox { id } \
                     userErrors { code message } } }";
        let input = json!({
            "address": address,
            "imap": { "host": "127.0.0.1", "port": port, "security": "PLAIN" },
            "secret": { "password": password },
            "history": { "everything": true },
        });
        let answer = self.ask(query, json!({ "input": input })).await;
        let id = answer["connectMailbox"]["mailbox"]["id"].as_str();
        id.unwrap_or_else(|| panic!("not connected: {answer}"))
            .to_owned()
    }

    /// Waits until the mailbox has everything; how many mails that are.
    pub async fn wait_until_watching(&self, mailbox: &str) -> u64 {
        let stage = "query($id: ID!) { mailbox(id: $id) { sync { stage lastError { message } } } }";
        let counts = "query($id: ID!) { mailbox(id: $id) { sync { done quarantined } } }";
        let started = Instant::now();
        loop {
            let sync = self.ask(stage, json!({ "id": mailbox })).await["mailbox"]["sync"].take();
            if sync["stage"] == "WATCHING" {
                let sync =
                    self.ask(counts, json!({ "id": mailbox })).await["mailbox"]["sync"].take();
                assert_eq!(sync["quarantined"], 0, "{sync}");
                return sync["done"].as_u64().unwrap();
            }
            assert!(
                started.elapsed() < Duration::from_secs(900),
                "the sync hangs: {sync}"
            );
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// How many of its emails were saved to the CRM.
    pub async fn saved(&self) -> u64 {
        let query =
            "{ emails(filter: { outcomes: [SAVED] }) { totalCount(limit: 100000) { value } } }";
        let answer = self.ask(query, json!({})).await;
        answer["emails"]["totalCount"]["value"].as_u64().unwrap()
    }
}

fn variables(setting: &Setting, folder: &Path) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        (
            "MAILROOM_DATA_DIR",
            folder.join("data").display().to_string(),
        ),
        ("MAILROOM_LISTEN", "127.0.0.1:0".to_owned()),
        ("MAILROOM_LOG", "warn".to_owned()),
        // One user asks for everything here.
        ("MAILROOM_RATE_LIMIT", "off".to_owned()),
    ];
    variables.extend(
        setting
            .database_url
            .clone()
            .map(|url| ("DATABASE_URL", url)),
    );
    variables.extend(setting.redis_url.clone().map(|url| ("REDIS_URL", url)));
    variables
}

fn launch(setting: &Setting, folder: &Path, command: &str) -> std::io::Result<PrivateServer> {
    // `env` hands the settings on; our own environment is left as it is.
    let given: Vec<String> = variables(setting, folder)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let program = program();
    let arguments: Vec<&str> = given
        .iter()
        .map(String::as_str)
        .chain([program.as_str(), command])
        .collect();
    let log = folder.join(format!("{command}.log"));
    PrivateServer::start(Path::new("/usr/bin/env"), &arguments, &log, None)
}

/// A token of the user with this address, of an installation in this folder.
fn token_of(setting: &Setting, folder: &Path, address: &str) -> String {
    run(setting, folder, &["token", "create", "--address", address])
}

fn run(setting: &Setting, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program())
        .args(arguments)
        .envs(variables(setting, folder))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
