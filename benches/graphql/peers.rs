//! Servers that ours is measured beside, and those of them that run on Node (`peers/`): these are installed when they are
//! first asked for.
//! Not for: what they are asked for (`main`, `live` and `plain` know).

use super::common::address_in;
use super::{SERVERS_CORE, pin};
use mailroom::cli::demo::private_server::{PrivateFolder, PrivateServer};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

/// Where the peers in Node are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/graphql/peers");

/// A running peer, on the servers' core.
pub struct Peer {
    server: PrivateServer,
    url: String,
    // The last: the server goes before its folder.
    _folder: PrivateFolder,
}

impl Peer {
    /// Starts a program that writes its address first.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        let folder = PrivateFolder::create("peer").unwrap();
        let log = folder.path().join("log");
        let mut server = PrivateServer::start(program, arguments, &log, None).unwrap();
        let read_url = || address_in(&log);
        server
            .wait_until(Duration::from_secs(30), || read_url().is_some())
            .unwrap();
        pin(server.pid(), SERVERS_CORE);
        Self {
            url: read_url().unwrap(),
            server,
            _folder: folder,
        }
    }

    /// Starts one of those in Node, over a database or a Redis (`NAME=url`).
    pub fn in_node(over: &str, script: &str, arguments: &[&str]) -> Self {
        let script = format!("{FOLDER}/{script}");
        let mut all = vec!["NODE_ENV=production", over, "node", &script];
        all.extend(arguments);
        Self::start(Path::new("/usr/bin/env"), &all)
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where GraphQL is asked.
    pub fn graphql_url(&self) -> String {
        format!("{}/graphql", self.url)
    }

    /// Where subscriptions are asked for.
    pub fn socket_url(&self) -> String {
        self.graphql_url().replacen("http", "ws", 1)
    }
}

/// Whether the peers in Node can run; why not is told once.
pub fn are_there() -> bool {
    static ARE_THERE: OnceLock<bool> = OnceLock::new();
    *ARE_THERE.get_or_init(install)
}

/// Installs the peers as their lock file says, unless they are.
fn install() -> bool {
    let written = |file: &str| -> Option<SystemTime> {
        let file = std::fs::metadata(Path::new(FOLDER).join(file)).ok()?;
        file.modified().ok()
    };
    let runs = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(FOLDER);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !runs("node", &["--version"]) {
        println!("no peers in Node: there is no node");
        return false;
    }
    if written("node_modules/.package-lock.json") >= written("package-lock.json") {
        return true;
    }
    let ci = ["ci", "--no-audit", "--no-fund", "--fetch-retries=1"];
    let installed = runs("npm", &ci);
    if !installed {
        println!("no peers in Node: npm is missing, or could not install them");
    }
    installed
}
