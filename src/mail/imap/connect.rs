//! From a host name to a session that is logged in, step by step (R1).
//! Not for: what is done in the session.

use super::link::Link;
use super::session::ImapSession;
use super::wire::{Answer, Wire, WireHandle};
use super::{folders, response};
use crate::mail::error::{MailError, MailStep, TlsFault};
use crate::mail::hosts::{Host, HostPolicy, Resolve, connect_vetted, resolve_by_system};
use crate::mail::tls::TlsTrust;
use crate::model::mailbox::{MailSecurity, MailServer};
use imap::types::Capabilities;
use secrecy::{ExposeSecret, SecretString};
use socket2::{SockRef, TcpKeepalive};
use std::cell::Cell;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// A silent peer is asked for a sign of life after this long, then each interval: a dead one is noticed
/// within 50 s, so that a stuck mailbox says so within the minute of R8.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// What we sent must be acknowledged within this time.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(45);

/// What proves that we may read the mailbox.
#[derive(Clone)]
pub enum Secret {
    Password(SecretString),
    /// An OAuth2 access token (XOAUTH2 or OAUTHBEARER).
    AccessToken(SecretString),
}

/// Where the server is to compress what it sends, if it can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compress {
    /// Not on this machine: there it costs several times what it saves.
    #[default]
    BeyondLoopback,
    Always,
}

/// Where to connect to, as whom, and how patiently. It has no `Debug`: it holds a secret.
#[derive(Clone)]
pub struct Target {
    pub server: MailServer,
    pub login: String,
    pub secret: Secret,
    pub trust: TlsTrust,
    pub hosts: Arc<HostPolicy>,
    pub compress: Compress,
    /// For resolving, and again for connecting.
    pub connect_timeout: Duration,
    /// For each single read and write afterwards.
    pub read_timeout: Duration,
}

/// Connects, encrypts and logs in. The error says which step failed.
pub fn connect(target: &Target) -> Result<ImapSession, MailError> {
    connect_resolving(target, resolve_by_system)
}

pub(super) fn connect_resolving(
    target: &Target,
    resolve: Resolve,
) -> Result<ImapSession, MailError> {
    let addresses = target
        .hosts
        .vet(&target.server, resolve, target.connect_timeout)?;
    let host = Host::parse(&target.server.host).ok_or(MailError::InvalidHost)?;
    let socket = connect_vetted(&addresses, target.connect_timeout)?;
    prepare(&socket, target.read_timeout)?;
    let link = match target.server.security {
        MailSecurity::Plain => greet(Wire::new(Link::plain(socket)))?.into_link(),
        MailSecurity::Tls => {
            let stream = target.trust.encrypt(&host, socket)?;
            greet(Wire::new(Link::tls(stream)))?.into_link()
        }
        MailSecurity::Starttls => {
            let wire = greet(Wire::new(Link::plain(socket)))?;
            let socket = ask_for_tls(wire)?;
            Link::tls(target.trust.encrypt(&host, socket)?)
        }
    };
    let socket = link
        .socket()
        .try_clone()
        .map_err(|error| MailError::Unreachable(error.kind()))?;
    let is_near = socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
    let handle = WireHandle::new(Wire::new(link));
    let (session, capabilities) = log_in(&handle, target, &host)?;
    let mut session = ImapSession::new(session, handle, socket, capabilities, target.read_timeout);
    // A mail is half as long then, and so is the wait for it.
    if is_near && target.compress == Compress::BeyondLoopback {
        return Ok(session);
    }
    if session.has_capability("COMPRESS=DEFLATE") {
        session.compress()?;
    }
    Ok(session)
}

fn prepare(socket: &TcpStream, timeout: Duration) -> Result<(), MailError> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let options = SockRef::from(socket);
    socket
        .set_read_timeout(Some(timeout))
        .and_then(|()| socket.set_write_timeout(Some(timeout)))
        .and_then(|()| socket.set_nodelay(true))
        .and_then(|()| options.set_tcp_keepalive(&keepalive))
        .and_then(|()| options.set_tcp_user_timeout(Some(ACKNOWLEDGE_WITHIN)))
        .map_err(|error| MailError::Unreachable(error.kind()))
}

/// Reads the greeting.
fn greet(mut wire: Wire) -> Result<Wire, MailError> {
    let step = MailStep::Connect;
    let mut line = Vec::new();
    wire.read_line(&mut line)
        .map_err(|error| MailError::from_io(&error, step))?;
    let rest = line.strip_prefix(b"* ").ok_or(MailError::Protocol {
        step,
        what: "no IMAP greeting",
    })?;
    if response::is_bye(rest) {
        return Err(response::busy(rest, step).unwrap_or(MailError::ConnectionLost { step }));
    }
    match response::status(rest) {
        Some(response::Status::Ok) => Ok(wire),
        // PREAUTH too: a session that someone else has logged in is none that we want.
        _ => Err(MailError::Protocol {
            step,
            what: "no IMAP greeting",
        }),
    }
}

/// STARTTLS. Nothing may follow the answer in clear: it would be taken for the server's encrypted words.
fn ask_for_tls(mut wire: Wire) -> Result<TcpStream, MailError> {
    let lost = |error: &std::io::Error| MailError::from_io(error, MailStep::Tls);
    wire.send(b"s1 STARTTLS\r\n")
        .map_err(|error| lost(&error))?;
    // A few capability lines may come first; a server that only talks is not waited for.
    for _ in 0..16 {
        let mut line = Vec::new();
        wire.read_line(&mut line).map_err(|error| lost(&error))?;
        let Some((_, rest)) = response::split_tagged(&line).filter(|(tag, _)| *tag == b"s1") else {
            continue;
        };
        if response::status(rest) != Some(response::Status::Ok) {
            return Err(MailError::Tls(TlsFault::StarttlsRefused));
        }
        if wire.has_unread() {
            return Err(MailError::Tls(TlsFault::StarttlsInjection));
        }
        return wire
            .into_link()
            .into_plain()
            .ok_or(MailError::Tls(TlsFault::Handshake));
    }
    Err(MailError::Tls(TlsFault::StarttlsRefused))
}

type LoggedIn = (imap::Session<WireHandle>, Capabilities);

fn log_in(wire: &WireHandle, target: &Target, host: &Host) -> Result<LoggedIn, MailError> {
    let step = MailStep::Login;
    let mut client = imap::Client::new(wire.clone());
    client.greeting_read = true;
    wire.lock().expect(Answer::Capability);
    let offered = client
        .capabilities()
        .map_err(|error| fault(&error, wire, step, "CAPABILITY"))?;
    wire.lock().expect(Answer::Login);
    let login = target.login.as_str();
    let outcome = match &target.secret {
        Secret::Password(password) => {
            let password = password.expose_secret();
            let is_plain_text = login.is_ascii() && password.is_ascii();
            if is_plain_text && !offered.has_str("LOGINDISABLED") {
                client.login(login, password)
            } else if offered.has_str("AUTH=PLAIN") {
                client.authenticate("PLAIN", &Sasl::new(format!("\0{login}\0{password}"), ""))
            } else if is_plain_text {
                return Err(MailError::LoginUnsupported);
            } else {
                client.login(login, password)
            }
        }
        Secret::AccessToken(token) => {
            let token = token.expose_secret();
            if offered.has_str("AUTH=XOAUTH2") {
                client.authenticate("XOAUTH2", &Sasl::xoauth2(login, token))
            } else if offered.has_str("AUTH=OAUTHBEARER") {
                client.authenticate(
                    "OAUTHBEARER",
                    &Sasl::oauthbearer(login, token, host, target.server.port),
                )
            } else {
                return Err(MailError::LoginUnsupported);
            }
        }
    };
    let mut session = outcome.map_err(|(error, _)| match error {
        imap::Error::No(_) | imap::Error::Bad(_) | imap::Error::Validate(_) => {
            wire.lock().busy(step).unwrap_or(MailError::LoginRefused)
        }
        other => fault(&other, wire, step, "LOGIN"),
    })?;
    wire.lock().expect(Answer::Capability);
    let capabilities = session
        .capabilities()
        .map_err(|error| fault(&error, wire, step, "CAPABILITY"))?;
    Ok((session, capabilities))
}

/// What an error of the crate means for us. Its text is dropped: it is the server's.
pub(super) fn fault(
    error: &imap::Error,
    wire: &WireHandle,
    step: MailStep,
    command: &'static str,
) -> MailError {
    match error {
        imap::Error::No(_) | imap::Error::Bad(_) => wire
            .lock()
            .busy(step)
            .unwrap_or(MailError::Refused { step, command }),
        imap::Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionAborted => wire
            .lock()
            .busy(step)
            .unwrap_or(MailError::ConnectionLost { step }),
        imap::Error::Io(cause) => MailError::from_io(cause, step),
        imap::Error::ConnectionLost => MailError::ConnectionLost { step },
        imap::Error::Validate(_) => MailError::Refused { step, command },
        imap::Error::TagMismatch(_) => MailError::Protocol {
            step,
            what: "answer to another command",
        },
        _ => MailError::Protocol {
            step,
            what: "unexpected answer",
        },
    }
}

/// A SASL exchange of one answer: the first challenge gets the secret, a second one tells of an error and is
/// only acknowledged, so that the server goes on to its refusal.
struct Sasl {
    answer: Vec<u8>,
    acknowledgement: &'static str,
    was_asked: Cell<bool>,
}

impl Sasl {
    fn new(answer: String, acknowledgement: &'static str) -> Self {
        Self {
            answer: answer.into_bytes(),
            acknowledgement,
            was_asked: Cell::new(false),
        }
    }

    fn xoauth2(login: &str, token: &str) -> Self {
        Self::new(format!("user={login}\x01auth=Bearer {token}\x01\x01"), "")
    }

    fn oauthbearer(login: &str, token: &str, host: &Host, port: u16) -> Self {
        let login = login.replace('=', "=3D").replace(',', "=2C");
        let host = host.to_text();
        let answer =
            format!("n,a={login},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01");
        Self::new(answer, "\x01")
    }
}

impl imap::Authenticator for Sasl {
    type Response = Vec<u8>;

    fn process(&self, _challenge: &[u8]) -> Vec<u8> {
        if self.was_asked.replace(true) {
            self.acknowledgement.as_bytes().to_vec()
        } else {
            self.answer.clone()
        }
    }
}

/// Whether the extended LIST with special use is to be had.
pub(super) fn lists_special_use(capabilities: &Capabilities) -> bool {
    folders::EXTENDED_LIST
        .iter()
        .all(|name| capabilities.has_str(name))
}
