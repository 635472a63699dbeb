//! A private Dovecot on loopback ports of its own, in a temporary folder: IMAP, IMAPS and LMTP, one user per mailbox
//! address, all with one password, Maildir, folders with special use. It never touches the system's own Dovecot.
//! Not for: speaking IMAP; that is `mail`. The tests use it too.

use super::dovecot_config::{Layout, configuration};
use super::private_server::{
    PrivateFolder, PrivateServer, find_program, free_ports, owner_named, owner_of,
};
use crate::mail::lmtp::{LmtpClient, LmtpError};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Dovecot starts within 200 ms; a machine that is busy building may need seconds.
const START_SECONDS: u64 = 30;

/// Somebody else may take a free port between our look and Dovecot's start.
const START_TRIES: u32 = 4;

/// Who owns the mails when root starts it; Dovecot refuses to store mail as root.
const MAIL_OWNER: &str = "nobody";

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum DovecotError {
    /// Not there, or not all of it.
    #[error("{0} is not installed (Debian: dovecot-imapd and dovecot-lmtpd)")]
    NotInstalled(&'static str),
    /// An address that can't name a folder.
    #[error("the address {0:?} can't be a Dovecot user")]
    Address(String),
    /// It does not start.
    #[error("Dovecot {version} did not start: {reason}")]
    Start {
        /// What `dovecot --version` says.
        version: String,
        /// The end of its log.
        reason: String,
    },
    /// A file or a process.
    #[error("{doing}: {error}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// `doveadm` failed.
    #[error("doveadm {command}: {reason}")]
    Doveadm {
        /// Its subcommand.
        command: String,
        /// What it said.
        reason: String,
    },
    /// A mail was not taken.
    #[error(transparent)]
    Lmtp(#[from] LmtpError),
}

/// For `map_err`: which step failed.
fn while_doing(doing: &'static str) -> impl Fn(io::Error) -> DovecotError {
    move |error| DovecotError::System { doing, error }
}

/// The installed programs.
#[derive(Debug, Clone)]
pub struct Programs {
    dovecot: PathBuf,
    doveadm: PathBuf,
    /// As `dovecot --version` prints it, without the commit.
    pub version: String,
}

impl Programs {
    /// Finds them.
    ///
    /// # Errors
    /// `NotInstalled` with the part that is missing.
    pub fn find() -> Result<Self, DovecotError> {
        let dovecot = find_program("dovecot").ok_or(DovecotError::NotInstalled("Dovecot"))?;
        let doveadm = find_program("doveadm").ok_or(DovecotError::NotInstalled("doveadm"))?;
        let libraries = [
            "/usr/lib/dovecot",
            "/usr/libexec/dovecot",
            "/usr/local/libexec/dovecot",
        ];
        let has_part = |part: &str| {
            libraries
                .iter()
                .any(|folder| Path::new(folder).join(part).exists())
        };
        if !has_part("imap") {
            return Err(DovecotError::NotInstalled("Dovecot's IMAP server"));
        }
        if !has_part("lmtp") {
            return Err(DovecotError::NotInstalled("Dovecot's LMTP server"));
        }
        let printed = Command::new(&dovecot)
            .arg("--version")
            .output()
            .map_err(while_doing("asking Dovecot's version"))?;
        let printed = String::from_utf8_lossy(&printed.stdout);
        let version = printed
            .split_whitespace()
            .next()
            .unwrap_or("2.3")
            .to_owned();
        Ok(Self {
            dovecot,
            doveadm,
            version,
        })
    }
}

/// A mail that lies in a folder before anybody looks.
#[derive(Debug, Clone)]
pub struct OldMail {
    /// With LF line ends.
    pub raw: Vec<u8>,
    /// Its INTERNALDATE.
    pub received_at: SystemTime,
    pub is_seen: bool,
}

/// The running server. Dropping it stops it and removes its folder with all mail.
#[derive(Debug)]
pub struct Dovecot {
    // Stopped first: fields are dropped in the order in which they stand here.
    server: PrivateServer,
    folder: PrivateFolder,
    programs: Programs,
    password: String,
    imap_port: u16,
    imaps_port: u16,
    lmtp_port: u16,
    has_certificate: bool,
    compresses: bool,
}

impl Dovecot {
    /// Starts it with one user for each address, and returns once IMAP and LMTP answer.
    ///
    /// # Errors
    /// When it is not installed or does not start; `Start` has the end of its log.
    pub fn start(addresses: &[&str]) -> Result<Self, DovecotError> {
        Self::start_with(addresses, false)
    }

    /// The same, offering compression.
    ///
    /// # Errors
    /// As [`Dovecot::start`].
    pub fn start_compressing(addresses: &[&str]) -> Result<Self, DovecotError> {
        Self::start_with(addresses, true)
    }

    fn start_with(addresses: &[&str], compresses: bool) -> Result<Self, DovecotError> {
        let programs = Programs::find()?;
        let folder =
            PrivateFolder::create("dovecot").map_err(while_doing("making a folder for Dovecot"))?;
        let password = format!("{:032x}", rand::random::<u128>());
        prepare(folder.path(), addresses, &password)?;
        let has_certificate =
            make_certificate(folder.path()).map_err(while_doing("making a certificate"))?;
        let mut tries = 0;
        loop {
            tries += 1;
            let [imap_port, imaps_port, lmtp_port] =
                free_ports().map_err(while_doing("finding free ports"))?;
            let ports = Ports {
                imap: imap_port,
                imaps: imaps_port,
                lmtp: lmtp_port,
            };
            match launch(
                &programs,
                folder.path(),
                &ports,
                (has_certificate, compresses),
            ) {
                Ok(server) => {
                    return Ok(Self {
                        server,
                        folder,
                        programs,
                        password,
                        imap_port,
                        imaps_port,
                        lmtp_port,
                        has_certificate,
                        compresses,
                    });
                }
                Err(DovecotError::Start { reason, .. })
                    if tries < START_TRIES && reason.contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The version, for example `2.3.19.1`.
    pub fn version(&self) -> &str {
        &self.programs.version
    }

    /// Every user's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The loopback port of plain IMAP (STARTTLS too, where there is a certificate).
    pub const fn imap_port(&self) -> u16 {
        self.imap_port
    }

    /// The loopback port of IMAP over TLS; `None` where no certificate could be made.
    pub const fn imaps_port(&self) -> Option<u16> {
        if self.has_certificate {
            Some(self.imaps_port)
        } else {
            None
        }
    }

    /// The loopback port of LMTP.
    pub const fn lmtp_port(&self) -> u16 {
        self.lmtp_port
    }

    /// The self-made certificate (PEM, for `localhost` and 127.0.0.1), to be trusted by who connects over TLS.
    pub fn certificate(&self) -> Option<PathBuf> {
        self.has_certificate
            .then(|| self.folder.path().join("certificate.pem"))
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }

    /// A connection to deliver mails over.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn lmtp(&self) -> Result<LmtpClient, DovecotError> {
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, self.lmtp_port));
        Ok(LmtpClient::connect(place)?)
    }

    /// Delivers a mail into an Inbox, over a connection of its own. For many mails use one `lmtp()`.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn deliver(&self, raw: &[u8], from: &str, address: &str) -> Result<(), DovecotError> {
        let mut connection = self.lmtp()?;
        connection.deliver(raw, from, &[address])?;
        connection.quit()?;
        Ok(())
    }

    /// Puts a mail into a folder byte for byte, as a mail program does with what it has sent.
    ///
    /// # Errors
    /// When there is no such user or folder.
    pub fn append(&self, address: &str, folder: &str, raw: &[u8]) -> Result<(), DovecotError> {
        self.doveadm_with_input(&["save", "-u", address, "-m", folder], raw)
            .map(drop)
    }

    /// Puts many mails into an Inbox that is still untouched, as if they had lain there for long. Each is given with
    /// LF line ends.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn fill_inbox(
        &self,
        address: &str,
        mails: impl IntoIterator<Item = OldMail>,
    ) -> Result<(), DovecotError> {
        let maildir = self
            .folder
            .path()
            .join("mail")
            .join(address)
            .join("Maildir");
        let owner = owner_of(&self.folder.path().join("mail").join(address))
            .map_err(while_doing("asking whose mail it is"))?;
        let is_root = owner_of(self.folder.path())
            .map_err(while_doing("asking who we are"))?
            .0
            == 0;
        let give = |path: &Path| match is_root {
            true => chown(path, Some(owner.0), Some(owner.1)),
            false => Ok(()),
        };
        for folder in ["", "cur", "new", "tmp"] {
            let path = maildir.join(folder);
            fs::create_dir_all(&path)
                .and_then(|()| give(&path))
                .map_err(while_doing("making a Maildir"))?;
        }
        for (number, mail) in mails.into_iter().enumerate() {
            let seconds = mail
                .received_at
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            let seen = if mail.is_seen { "S" } else { "" };
            let size = mail.raw.len();
            let name = format!("{seconds}.M{number}P1.host,S={size}:2,{seen}");
            let path = maildir.join("cur").join(name);
            let write = || {
                let mut file = fs::File::create(&path)?;
                file.write_all(&mail.raw)?;
                file.set_modified(mail.received_at)?;
                give(&path)
            };
            write().map_err(while_doing("writing a mail"))?;
        }
        Ok(())
    }

    /// Expunges the mails with that Message-ID (without angle brackets) from a folder.
    ///
    /// # Errors
    /// When there is no such user or folder.
    pub fn expunge(
        &self,
        address: &str,
        folder: &str,
        message_id: &str,
    ) -> Result<(), DovecotError> {
        let search = [
            "expunge",
            "-u",
            address,
            "mailbox",
            folder,
            "header",
            "message-id",
            message_id,
        ];
        self.doveadm(&search).map(drop)
    }

    /// Moves the mails with that Message-ID (without angle brackets) from one folder to another.
    ///
    /// # Errors
    /// When there is no such user or folder.
    pub fn move_mail(
        &self,
        address: &str,
        from: &str,
        to: &str,
        message_id: &str,
    ) -> Result<(), DovecotError> {
        let search = [
            "move",
            "-u",
            address,
            to,
            "mailbox",
            from,
            "header",
            "message-id",
            message_id,
        ];
        self.doveadm(&search).map(drop)
    }

    /// Marks the mails with that Message-ID (without angle brackets), for example with `\Seen`.
    ///
    /// # Errors
    /// When there is no such user or folder.
    pub fn add_flag(
        &self,
        address: &str,
        folder: &str,
        message_id: &str,
        flag: &str,
    ) -> Result<(), DovecotError> {
        let search = [
            "flags",
            "add",
            "-u",
            address,
            flag,
            "mailbox",
            folder,
            "header",
            "message-id",
            message_id,
        ];
        self.doveadm(&search).map(drop)
    }

    /// How many mails a folder holds.
    ///
    /// # Errors
    /// When there is no such user or folder.
    pub fn count(&self, address: &str, folder: &str) -> Result<u64, DovecotError> {
        let printed = self.doveadm(&[
            "-f", "tab", "mailbox", "status", "-u", address, "messages", folder,
        ])?;
        let number = printed
            .lines()
            .last()
            .and_then(|line| line.rsplit('\t').next()?.trim().parse().ok());
        number.ok_or_else(|| DovecotError::Doveadm {
            command: "mailbox status".to_owned(),
            reason: printed,
        })
    }

    /// Runs any `doveadm` command against this server; returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn doveadm(&self, arguments: &[&str]) -> Result<String, DovecotError> {
        self.doveadm_with_input(arguments, &[])
    }

    fn doveadm_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<String, DovecotError> {
        let mut child = Command::new(&self.programs.doveadm)
            .arg("-c")
            .arg(self.folder.path().join("dovecot.conf"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(while_doing("starting doveadm"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(input)
                .map_err(while_doing("handing a mail to doveadm"))?;
        }
        let output = child
            .wait_with_output()
            .map_err(while_doing("waiting for doveadm"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let command = arguments.first().copied().unwrap_or_default().to_owned();
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(DovecotError::Doveadm { command, reason })
    }

    /// Stops it; its mail, ports and password stay, for `resume`.
    pub fn pause(&mut self) {
        self.server.stop();
    }

    /// Starts it again where it stood.
    ///
    /// # Errors
    /// When it does not start.
    pub fn resume(&mut self) -> Result<(), DovecotError> {
        self.server.stop();
        let ports = Ports {
            imap: self.imap_port,
            imaps: self.imaps_port,
            lmtp: self.lmtp_port,
        };
        self.server = launch(
            &self.programs,
            self.folder.path(),
            &ports,
            (self.has_certificate, self.compresses),
        )?;
        Ok(())
    }
}

/// Loopback ports of the three services.
struct Ports {
    imap: u16,
    imaps: u16,
    lmtp: u16,
}

/// Writes the list of users and the folders of their mail.
fn prepare(folder: &Path, addresses: &[&str], password: &str) -> Result<(), DovecotError> {
    let ours = owner_of(folder).map_err(while_doing("asking who we are"))?;
    let is_root = ours.0 == 0;
    let (user, group) = if is_root {
        owner_named(MAIL_OWNER).unwrap_or((65534, 65534))
    } else {
        ours
    };
    let mail = folder.join("mail");
    for path in [&mail, &folder.join("run"), &folder.join("state")] {
        fs::create_dir(path).map_err(while_doing("making Dovecot's folders"))?;
    }
    let mut users = String::new();
    for address in addresses {
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "@.-_".contains(character);
        // Dovecot folds names to lower case; a dot at the start would hide the folder or leave it.
        if !address.chars().all(is_plain)
            || address.starts_with('.')
            || address.to_lowercase() != **address
        {
            return Err(DovecotError::Address((*address).to_owned()));
        }
        let home = mail.join(address);
        fs::create_dir(&home).map_err(while_doing("making a user's folder"))?;
        if is_root {
            chown(&home, Some(user), Some(group))
                .map_err(while_doing("giving a folder to the mail's owner"))?;
        }
        let _infallible = writeln!(
            users,
            "{address}:{{PLAIN}}{password}:{user}:{group}::{}::",
            home.display()
        );
    }
    let path = folder.join("users");
    fs::write(&path, users).map_err(while_doing("writing the list of users"))?;
    // Dovecot's login service reads it as an unprivileged user of Dovecot's own when root started it.
    let mode = if is_root { 0o644 } else { 0o600 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        .map_err(while_doing("guarding the list of users"))
}

/// Writes the configuration for these ports, starts Dovecot and waits until it greets.
fn launch(
    programs: &Programs,
    folder: &Path,
    ports: &Ports,
    (has_certificate, compresses): (bool, bool),
) -> Result<PrivateServer, DovecotError> {
    let ours = owner_of(folder).map_err(while_doing("asking who we are"))?;
    let names = if ours.0 == 0 {
        None
    } else {
        Some((name_by("-un")?, name_by("-gn")?))
    };
    let layout = Layout {
        folder,
        imap_port: ports.imap,
        imaps_port: ports.imaps,
        lmtp_port: ports.lmtp,
        has_certificate,
        started_by: names
            .as_ref()
            .map(|(user, group)| (user.as_str(), group.as_str())),
        compresses,
    };
    let file = folder.join("dovecot.conf");
    fs::write(&file, configuration(&programs.version, &layout))
        .map_err(while_doing("writing the configuration"))?;
    let log = folder.join("dovecot.log");
    // An earlier try's log would be taken for this one's.
    fs::write(&log, "").map_err(while_doing("emptying Dovecot's log"))?;
    let arguments = ["-F", "-c", &file.to_string_lossy()];
    let mut server = PrivateServer::start(&programs.dovecot, &arguments, &log, None)
        .map_err(while_doing("starting Dovecot"))?;
    let answers = || greets(ports.imap, b"* OK") && greets(ports.lmtp, b"220 ");
    server
        .wait_until(Duration::from_secs(START_SECONDS), answers)
        .map_err(|error| DovecotError::Start {
            version: programs.version.clone(),
            reason: error.to_string(),
        })?;
    Ok(server)
}

/// Whether the service at that port says its first words.
fn greets(port: u16, greeting: &[u8; 4]) -> bool {
    let place = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let timeout = Duration::from_secs(START_SECONDS);
    let Ok(mut stream) = TcpStream::connect_timeout(&place, timeout) else {
        return false;
    };
    let mut heard = [0; 4];
    stream.set_read_timeout(Some(timeout)).is_ok()
        && stream.read_exact(&mut heard).is_ok()
        && heard == *greeting
}

/// Our user's or group's name, as `id` knows it.
fn name_by(option: &str) -> Result<String, DovecotError> {
    let output = Command::new("id")
        .arg(option)
        .output()
        .map_err(while_doing("asking our own name"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A certificate for loopback that is no authority, so that strict clients take it once they trust it.
const CERTIFICATE_REQUEST: &str = "[req]
distinguished_name = name
x509_extensions = server
prompt = no
[name]
CN = localhost
[server]
subjectAltName = DNS:localhost,IP:127.0.0.1
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
";

/// Makes a key and a certificate of 30 days; `false` where there is no `openssl`.
fn make_certificate(folder: &Path) -> io::Result<bool> {
    let Some(openssl) = find_program("openssl") else {
        return Ok(false);
    };
    let request = folder.join("certificate.cnf");
    fs::write(&request, CERTIFICATE_REQUEST)?;
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let status = Command::new(openssl)
        .args(["req", "-x509", "-days", "30"])
        .args(key)
        .arg("-config")
        .arg(&request)
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("certificate.pem"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}
