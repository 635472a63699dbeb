//! A private Cyrus for one test: its own folder, a loopback port, no root. `scripts/need.sh` unpacks Debian's package
//! without installing it, since that and Dovecot's exclude each other.
//! Not for: what is done with its mails (`sync::cyrus`).

use mailroom::cli::demo::private_server::{
    Owner, PrivateFolder, PrivateServer, free_ports, owner_named, owner_of,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PASSWORD: &str = "a password for tests";
const FOLDERS: [&str; 5] = ["Sent", "Drafts", "Archive", "Junk", "Trash"];
/// Root runs it as somebody who owns nothing else: Cyrus refuses root.
const OWNER: &str = "nobody";
/// Longer than anything that works takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether an old port is free.
const TRIES: usize = 4;

/// Where the programs are: a root of the file system, or of an unpacked package.
struct Programs {
    bin: PathBuf,
    saslpasswd: PathBuf,
    libraries: OsString,
    plugins: OsString,
}

/// The folders `<root>/<middle>/*/<end>` that there are: libraries stand under their architecture.
fn by_architecture(root: &Path, middle: &str, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root.join(middle)) else {
        return Vec::new();
    };
    let found = entries.map(|entry| entry.unwrap().path().join(end));
    found.filter(|path| path.is_dir()).collect()
}

impl Programs {
    /// Those of the system, else those that `scripts/need.sh` unpacked.
    fn find() -> Option<(Self, PathBuf)> {
        let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("cyrus");
        let roots = [PathBuf::from("/"), unpacked];
        roots
            .into_iter()
            .find_map(|root| Self::under(&root).map(|programs| (programs, root)))
    }

    fn under(root: &Path) -> Option<Self> {
        let (bin, saslpasswd) = (
            root.join("usr/lib/cyrus/bin"),
            root.join("usr/sbin/saslpasswd2"),
        );
        if !bin.join("imapd").is_file() || !saslpasswd.is_file() {
            return None;
        }
        let libraries = ["usr/lib", "lib"].map(|middle| by_architecture(root, middle, ""));
        let ours = by_architecture(root, "usr/lib", "sasl2");
        let plugins = ours
            .into_iter()
            .chain(by_architecture(Path::new("/"), "usr/lib", "sasl2"));
        Some(Self {
            bin,
            saslpasswd,
            libraries: std::env::join_paths(libraries.concat()).unwrap(),
            plugins: std::env::join_paths(plugins).unwrap(),
        })
    }
}

pub struct Cyrus {
    // Before the folder, so that it has ended when that goes.
    server: PrivateServer,
    programs: Programs,
    folder: PrivateFolder,
    owner: Option<Owner>,
    address: String,
    port: u16,
}

impl Cyrus {
    /// Starts one with a user of that address; `None` where there is no Cyrus.
    pub fn start(address: &str) -> Option<Self> {
        let (mut programs, root) = Programs::find()?;
        let folder = PrivateFolder::create("cyrus").unwrap();
        let is_root = owner_of(folder.path()).unwrap().0 == 0;
        let owner = is_root.then(|| owner_named(OWNER).unwrap());
        if is_root && root != Path::new("/") {
            // The folder of what cargo builds need not be open to somebody else.
            let copy = folder.path().join("programs");
            run(Command::new("cp").arg("-r").arg(&root).arg(&copy));
            programs = Programs::under(&copy).unwrap();
        }
        let mut tries = 0..TRIES;
        loop {
            let [port] = free_ports().unwrap();
            prepare(&folder, &programs, address, port, owner);
            match launch(&folder, &programs, port, owner) {
                Ok(server) => {
                    let cyrus = Self {
                        server,
                        programs,
                        folder,
                        owner,
                        address: address.to_owned(),
                        port,
                    };
                    // The first to log in makes the folders.
                    drop(cyrus.session());
                    return Some(cyrus);
                }
                Err(error) => assert!(tries.next().is_some(), "Cyrus does not start: {error}"),
            }
        }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub const fn password() -> &'static str {
        PASSWORD
    }

    /// A connection of the user's own.
    pub fn session(&self) -> Session {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut session = Session(BufReader::new(stream));
        session.line();
        session.ask(&format!("LOGIN {} \"{PASSWORD}\"", self.address));
        session
    }

    pub fn restart(&mut self) {
        self.server.stop();
        self.server = launch(&self.folder, &self.programs, self.port, self.owner).unwrap();
    }

    /// Kills the processes that serve connections, as a crash or a lost line would.
    pub fn cut(&self) {
        for entry in std::fs::read_dir(self.folder.path().join("config/proc")).unwrap() {
            let name = entry.unwrap().file_name();
            // Whoever has ended since is no matter.
            let _ended = Command::new("sh")
                .args(["-c", r#"kill -s KILL "$1""#, "mailroom-cut"])
                .arg(name)
                .stderr(Stdio::null())
                .status()
                .unwrap();
        }
    }

    /// Loses the index of a folder and makes it anew from the mails, under another UIDVALIDITY, as after a fault of the
    /// disk. UIDs that were expunged last are given once more.
    pub fn lose_index(&mut self, folder: &str) {
        let name = match folder {
            "INBOX" => String::new(),
            other => format!("/{other}"),
        };
        let (local, domain) = self.address.split_once('@').unwrap();
        let name = format!("user/{local}{name}@{domain}");
        let before = self.uid_validity(folder);
        while self.uid_validity(folder) == before {
            self.server.stop();
            let place = self.tool("mbpath").arg(&name).output().unwrap();
            let place = String::from_utf8(place.stdout).unwrap();
            std::fs::remove_file(Path::new(place.trim()).join("cyrus.index")).unwrap();
            run(self.tool("reconstruct").arg(&name));
            self.server = launch(&self.folder, &self.programs, self.port, self.owner).unwrap();
        }
    }

    fn uid_validity(&self, folder: &str) -> String {
        let answer = self
            .session()
            .ask(&format!("STATUS {folder} (UIDVALIDITY)"));
        answer[0].clone()
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.bin.join(name));
        command
            .arg("-C")
            .arg(self.folder.path().join("imapd.conf"))
            .env("LD_LIBRARY_PATH", &self.programs.libraries);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Writes the settings and the password, and makes the folders.
fn prepare(
    folder: &PrivateFolder,
    programs: &Programs,
    address: &str,
    port: u16,
    owner: Option<Owner>,
) {
    let place = folder.path();
    for name in [
        "config/socket",
        "config/proc",
        "config/db",
        "config/log",
        "spool",
    ] {
        std::fs::create_dir_all(place.join(name)).unwrap();
    }
    let user = match owner {
        Some(_) => OWNER.to_owned(),
        None => {
            let named = Command::new("id").arg("-un").output().unwrap();
            String::from_utf8(named.stdout).unwrap().trim().to_owned()
        }
    };
    let (at, bin) = (place.display(), programs.bin.display());
    let special = FOLDERS.map(|name| format!("xlist-{}: {name}\n", name.to_lowercase()));
    let settings = format!(
        "configdirectory: {at}/config\npartition-default: {at}/spool\ndefaultpartition: default\ncyrus_user: {user}\n\
         sasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\nsasl_sasldb_path: {at}/sasldb2\nsasl_mech_list: PLAIN\n\
         allowplaintext: yes\nvirtdomains: userid\ndefaultdomain: internal\nunixhierarchysep: yes\naltnamespace: yes\n\
         autocreate_quota: 0\nautocreate_inbox_folders: {}\n{}\
         idlesocket: {at}/config/socket/idle\nexpunge_mode: immediate\ndelete_mode: immediate\n",
        FOLDERS.join("|"),
        special.concat()
    );
    std::fs::write(place.join("imapd.conf"), settings).unwrap();
    let services = format!(
        "START {{ }}\nSERVICES {{\n  imap cmd=\"{bin}/imapd -C {at}/imapd.conf\" listen=\"127.0.0.1:{port}\" proto=tcp4 prefork=0\n}}\n\
         DAEMON {{\n  idled cmd=\"{bin}/idled -C {at}/imapd.conf -d\"\n}}\nEVENTS {{ }}\n"
    );
    std::fs::write(place.join("cyrus.conf"), services).unwrap();
    let (local, domain) = address.split_once('@').unwrap();
    let mut child = Command::new(&programs.saslpasswd)
        .args(["-p", "-c", "-u", domain, "-f"])
        .arg(place.join("sasldb2"))
        .arg(local)
        .env("LD_LIBRARY_PATH", &programs.libraries)
        .env("SASL_PATH", &programs.plugins)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(PASSWORD.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    if let Some((user, group)) = owner {
        for name in ["config", "spool", "sasldb2"] {
            give(&place.join(name), user, group);
        }
        chown(place, Some(user), Some(group)).unwrap();
    }
}

/// Gives a file, or a folder with all it holds, to somebody else.
fn give(path: &Path, user: u32, group: u32) {
    chown(path, Some(user), Some(group)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user, group);
        }
    }
}

/// Starts the master process, and waits until it serves.
fn launch(
    folder: &PrivateFolder,
    programs: &Programs,
    port: u16,
    owner: Option<Owner>,
) -> std::io::Result<PrivateServer> {
    let place = folder.path();
    let variable = |name: &str, value: &OsString| format!("{name}={}", value.to_str().unwrap());
    let libraries = variable("LD_LIBRARY_PATH", &programs.libraries);
    let plugins = variable("SASL_PATH", &programs.plugins);
    let path = |name: &str| place.join(name).to_str().unwrap().to_owned();
    let (settings, services, pid) = (path("imapd.conf"), path("cyrus.conf"), path("config/pid"));
    let master = programs.bin.join("master").to_str().unwrap().to_owned();
    // In a process group of its own: it ends all of its group when it stops.
    let command = [
        "env", &libraries, &plugins, &master, "-D", "-C", &settings, "-M", &services, "-p", &pid,
    ];
    let log = place.join("config/master.log");
    let mut server = PrivateServer::start(Path::new("setsid"), &command, &log, owner)?;
    let greets = || {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else {
            return false;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("* OK")
    };
    server.wait_until(PATIENCE, greets)?;
    Ok(server)
}

/// Speaks IMAP as far as tests need it. After a fault of the disk Cyrus's words need not be text.
pub struct Session(BufReader<TcpStream>);

impl Session {
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        assert!(!line.is_empty(), "Cyrus closed the connection");
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Everything that is answered to a command that succeeds.
    pub fn ask(&mut self, command: &str) -> Vec<String> {
        write!(self.0.get_mut(), "a {command}\r\n").unwrap();
        let mut lines = vec![self.line()];
        while !lines.last().unwrap().starts_with("a ") {
            lines.push(self.line());
        }
        assert!(
            lines.last().unwrap().starts_with("a OK"),
            "{command}: {lines:?}"
        );
        lines
    }

    pub fn append(&mut self, folder: &str, raw: &[u8]) {
        write!(self.0.get_mut(), "a APPEND {folder} {{{}+}}\r\n", raw.len()).unwrap();
        self.0.get_mut().write_all(raw).unwrap();
        self.0.get_mut().write_all(b"\r\n").unwrap();
        let line = self.line();
        assert!(line.starts_with("a OK"), "{line}");
    }

    /// Opens the folder; the UID of its only mail with that Message-ID, without angle brackets.
    pub fn find(&mut self, folder: &str, message_id: &str) -> u32 {
        self.ask(&format!("SELECT {folder}"));
        let answer = self.ask(&format!("UID SEARCH HEADER Message-ID \"<{message_id}>\""));
        let found = answer
            .iter()
            .find_map(|line| line.strip_prefix("* SEARCH"))
            .unwrap();
        found.trim().parse().unwrap()
    }

    /// The subjects of a folder's mails, each with whether it is read.
    pub fn contents(&mut self, folder: &str) -> BTreeMap<String, bool> {
        self.ask(&format!("SELECT {folder}"));
        let answer = self
            .ask("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            .concat();
        let mails = answer.split(" FETCH (").skip(1);
        let contents = mails.map(|mail| {
            let subject = mail.split_once("\nSubject: ").unwrap().1;
            let subject = subject.lines().next().unwrap().to_owned();
            (subject, mail.contains("\\Seen"))
        });
        contents.collect()
    }
}
