//! A server of our own as a child process in a folder of its own.
//! It ends with us, however we end: a supervising shell holds a pipe from us, and stops the server once that closes.
//! Its own process group keeps the terminal's Ctrl-C from it, so that it outlives whoever still talks to it.
//! Not for: knowing what the server is (`dovecot` does, and the tests' own servers).

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to stop before it is killed; Dovecot and Redis need milliseconds, PostgreSQL a second.
const STOP_SECONDS: u64 = 10;

/// How long a folder may resist its removal.
const REMOVE_SECONDS: u64 = 5;

/// How long we wait for "it has died" between two tries whether it answers.
const TRY_AGAIN_MILLISECONDS: u64 = 10;

/// Starts the server (arguments: the log file, then the command), prints its process id, stops it when the pipe on
/// standard input closes, and ends with its exit code.
const SUPERVISOR: &str = r#"
log=$1; shift
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
server=$!
echo "$server"
exec >/dev/null 2>&1
( read -r _ <&3; kill -TERM "$server" ) &
watcher=$!
exec 3<&-
wait "$server"; code=$?
kill "$watcher"
exit "$code"
"#;

/// A folder that is removed with all it holds when this is dropped.
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
}

impl PrivateFolder {
    /// Makes a new folder in the system's temporary one. Others may enter it, since servers run as other users.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(name: &str) -> io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("mailroom-{name}-{:08x}", rand::random::<u32>()));
        // The mode is set at creation and fails on an existing folder, so nobody can have put something there.
        fs::DirBuilder::new().mode(0o755).create(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let started = Instant::now();
        while let Err(error) = fs::remove_dir_all(&self.path) {
            // The children of a server that has just ended may still be writing their last.
            if started.elapsed() > Duration::from_secs(REMOVE_SECONDS) {
                let folder = self.path.display();
                tracing::warn!(%error, %folder, "a temporary folder could not be removed");
                return;
            }
            std::thread::park_timeout(Duration::from_millis(TRY_AGAIN_MILLISECONDS));
        }
    }
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct PrivateServer {
    pid: u32,
    lifeline: Option<ChildStdin>,
    // Behind a lock only so that a server can be shared between threads.
    exit: Mutex<Receiver<io::Result<ExitStatus>>>,
    has_ended: bool,
    log: PathBuf,
}

/// Who the server runs as: user id and group id.
pub type Owner = (u32, u32);

impl PrivateServer {
    /// Starts `command` in the foreground, its output appended to `log`. As `owner`, if given (only root may).
    ///
    /// # Errors
    /// When the shell can't be started.
    pub fn start(
        program: &Path,
        arguments: &[&str],
        log: &Path,
        owner: Option<Owner>,
    ) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(SUPERVISOR)
            .arg("mailroom-server")
            .arg(log)
            .arg(program)
            .args(arguments);
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        if let Some((user, group)) = owner {
            shell.uid(user).gid(group);
        }
        let mut child = shell.spawn()?;
        let lifeline = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let (sender, exit) = channel();
        std::thread::spawn(move || sender.send(child.wait()));
        let pid = line
            .trim()
            .parse()
            .map_err(|_| io::Error::other("the server's shell gave no process id"))?;
        Ok(Self {
            pid,
            lifeline,
            exit: Mutex::new(exit),
            has_ended: false,
            log: log.to_owned(),
        })
    }

    /// The server's own process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The end of its log, for an error that says why.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(6)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Returns as soon as `answers` says so.
    ///
    /// # Errors
    /// When the server has ended, or does not answer in time; with the end of its log.
    pub fn wait_until(
        &mut self,
        deadline: Duration,
        mut answers: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let started = Instant::now();
        loop {
            if answers() {
                return Ok(());
            }
            match self.wait_for_exit(Duration::from_millis(TRY_AGAIN_MILLISECONDS)) {
                Err(RecvTimeoutError::Timeout) if started.elapsed() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    let why = format!(
                        "it did not answer within {} s: {}",
                        deadline.as_secs(),
                        self.log_tail()
                    );
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                    self.has_ended = true;
                    return Err(io::Error::other(format!(
                        "it ended at once: {}",
                        self.log_tail()
                    )));
                }
            }
        }
    }

    fn wait_for_exit(
        &mut self,
        patience: Duration,
    ) -> Result<io::Result<ExitStatus>, RecvTimeoutError> {
        self.exit
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(patience)
    }

    /// Sends it a signal by name (`KILL`, `STOP`, `CONT` …).
    ///
    /// # Errors
    /// When it no longer runs.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let status = Command::new("sh")
            .args([
                "-c",
                r#"kill -s "$1" "$2""#,
                "mailroom-signal",
                name,
                &self.pid.to_string(),
            ])
            .stderr(Stdio::null())
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("process {} is gone", self.pid)))
        }
    }

    /// Stops it and waits until it has ended.
    pub fn stop(&mut self) {
        drop(self.lifeline.take());
        if self.has_ended {
            return;
        }
        let ended = self.wait_for_exit(Duration::from_secs(STOP_SECONDS));
        if matches!(ended, Err(RecvTimeoutError::Timeout)) && self.signal("KILL").is_ok() {
            tracing::warn!(pid = self.pid, "a server did not stop and was killed");
            let _ended = self.wait_for_exit(Duration::from_secs(STOP_SECONDS));
        }
        self.has_ended = true;
    }

    /// Ends it as a crash would, and waits until it has ended.
    ///
    /// # Errors
    /// When it no longer runs.
    pub fn kill(&mut self) -> io::Result<()> {
        self.signal("KILL")?;
        self.stop();
        Ok(())
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Some loopback ports that nobody listens on at this moment.
///
/// # Errors
/// When there is none.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        // All are held until the last is found, so that they differ.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Finds a program on the given search path or in the folders where Debian keeps servers.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let places = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    let search = std::env::var_os("PATH").unwrap_or_default();
    let search: Vec<PathBuf> = std::env::split_paths(&search).collect();
    search
        .into_iter()
        .chain(places.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The user and group that this program's files belong to, and whether that is root.
///
/// # Errors
/// What the file system says.
pub fn owner_of(folder: &Path) -> io::Result<Owner> {
    use std::os::unix::fs::MetadataExt as _;
    let facts = fs::metadata(folder)?;
    Ok((facts.uid(), facts.gid()))
}

/// User and group id of a name in the system's list of users.
pub fn owner_named(name: &str) -> Option<Owner> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let user = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some((user, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(pid: u32) -> bool {
        Command::new("sh")
            .args(["-c", r#"kill -0 "$1""#, "sh", &pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    #[test]
    fn a_dropped_server_is_gone_and_so_is_its_folder() {
        let folder = PrivateFolder::create("test").unwrap();
        let path = folder.path().to_owned();
        let log = path.join("log");
        let server = PrivateServer::start(Path::new("sleep"), &["600"], &log, None).unwrap();
        let pid = server.pid();
        assert!(runs(pid));
        drop(server);
        assert!(!runs(pid));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error_with_its_last_words() {
        let folder = PrivateFolder::create("test").unwrap();
        let log = folder.path().join("log");
        let arguments = ["-c", "echo no such setting >&2; exit 3"];
        let mut server = PrivateServer::start(Path::new("sh"), &arguments, &log, None).unwrap();
        let error = server
            .wait_until(Duration::from_secs(20), || false)
            .unwrap_err();
        assert!(error.to_string().contains("no such setting"), "{error}");
    }

    #[test]
    fn a_killed_server_is_noticed() {
        let folder = PrivateFolder::create("test").unwrap();
        let log = folder.path().join("log");
        let mut server = PrivateServer::start(Path::new("sleep"), &["600"], &log, None).unwrap();
        server.kill().unwrap();
        assert!(!runs(server.pid()));
    }

    #[test]
    fn free_ports_differ() {
        let [one, two, three] = free_ports().unwrap();
        assert!(one != two && two != three && one != three);
    }
}
