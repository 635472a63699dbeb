//! A client of SMTP submission (RFC 5321, RFC 6409): connecting step by step as for IMAP, and one mail after another over a
//! session. A mail is handed over in phases, so that its caller can note the moment from which on it may have gone out.
//! Blocking. Our own, since the vetted address is what is connected to, nothing that came before TLS is taken for the
//! server's word, and what a lost connection means depends on how far a mail had got.
//! Not for: making mails (that is `compose`), or trying again.

use super::compose::Envelope;
use super::error::{MailError, MailStep, TlsFault};
use super::hosts::{Host, HostPolicy, Resolve, connect_vetted, resolve_by_system};
use super::imap::Secret;
use super::tls::TlsTrust;
use crate::model::mailbox::{MailSecurity, MailServer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ClientConnection, StreamOwned};
use secrecy::ExposeSecret;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A reply's line has at most 512 bytes by RFC 5321; some servers are chatty.
const REPLY_BYTES_MAX: usize = 4096;
/// Lines of one reply; EHLO's has some twenty.
const REPLY_LINES_MAX: usize = 128;
/// What is written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// Where to connect to, as whom, and how patiently. It has no `Debug`: it holds a secret.
#[derive(Clone)]
pub struct SmtpTarget {
    pub server: MailServer,
    pub login: String,
    pub secret: Secret,
    pub trust: TlsTrust,
    pub hosts: Arc<HostPolicy>,
    pub times: SmtpTimes,
}

/// How long what is waited for.
#[derive(Debug, Clone, Copy)]
pub struct SmtpTimes {
    /// For resolving, and again for connecting.
    pub connect: Duration,
    /// For each reply, and for each write.
    pub reply: Duration,
    /// For the whole of a mail to go over.
    pub content: Duration,
    /// For the last reply, which many servers give after they have looked for viruses.
    pub taken: Duration,
}

impl Default for SmtpTimes {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            reply: Duration::from_secs(60),
            content: Duration::from_secs(300),
            taken: Duration::from_secs(300),
        }
    }
}

/// A reply by which the server said no. Its words are dropped: they are a stranger's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// RFC 3463: class, subject, detail.
    pub enhanced: Option<(u8, u16, u16)>,
}

impl Reply {
    const fn is(self, hundreds: u16) -> bool {
        self.code / 100 == hundreds
    }

    /// Whether the same may work later.
    pub const fn is_temporary(self) -> bool {
        self.is(4)
    }

    /// What it means, in our own words.
    pub const fn meaning(self) -> &'static str {
        match (self.enhanced, self.code) {
            (Some((_, 1, 1 | 2)), _) => "there is no such address",
            (Some((_, 1, _)), _) => "the address is not accepted",
            (Some((_, 2, 2)), _) | (None, 452 | 552) => {
                "the mailbox is full, or the mail too large for it"
            }
            (Some((_, 2, _)), _) => "the mailbox takes no mail at present",
            (Some((_, 3, 4)), _) => "the mail is too large for the server",
            (Some((_, 4, _)), _) => "the server could not reach where it goes",
            (Some((_, 5, 3)), _) => "it has too many recipients",
            (Some((_, 7, _)), _) => "the server's policy refuses it",
            (_, 421) => "the server is closing",
            (_, 450 | 451) => "the server asks to come back later",
            (_, 550 | 551) => "the address is not accepted",
            (_, 553) => "the sender or the address is not accepted",
            (_, code) if code / 100 == 4 => "the server can't take it at present",
            _ => "the server refuses it",
        }
    }
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The connection or the protocol broke before the end of the mail: the server has not taken it.
    Broken(MailError),
    /// The server said no to the whole mail.
    Refused(Reply),
    /// It said no to some recipients; nobody gets it then.
    Recipients(Vec<(String, Reply)>),
    /// It is larger than the server takes.
    TooLarge,
    /// The server had all of it, and did not say what became of it.
    Ambiguous,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(from),
            Self::Tls(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Lines, both ways.
struct Lines {
    reader: BufReader<Stream>,
}

/// A session that is logged in.
pub struct SmtpSession {
    lines: Lines,
    extensions: Vec<String>,
    times: SmtpTimes,
    /// Nothing said that it ends.
    is_usable: bool,
}

/// The server is about to hang up: said to any command, it ends the session.
const CLOSING: u16 = 421;

/// Connects, encrypts and logs in. The error says which step failed.
///
/// # Errors
/// As for IMAP: the name, the host, the connection, TLS, the login.
pub fn connect(target: &SmtpTarget) -> Result<SmtpSession, MailError> {
    connect_resolving(target, resolve_by_system)
}

fn connect_resolving(target: &SmtpTarget, resolve: Resolve) -> Result<SmtpSession, MailError> {
    let times = target.times;
    let addresses = target.hosts.vet(&target.server, resolve, times.connect)?;
    let host = Host::parse(&target.server.host).ok_or(MailError::InvalidHost)?;
    let socket = connect_vetted(&addresses, times.connect)?;
    socket
        .set_read_timeout(Some(times.reply))
        .and_then(|()| socket.set_write_timeout(Some(times.reply)))
        .and_then(|()| socket.set_nodelay(true))
        .map_err(|error| MailError::Unreachable(error.kind()))?;
    let hello = hello(&socket);
    let is_near = socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
    let stream = match target.server.security {
        MailSecurity::Tls => Stream::Tls(Box::new(target.trust.encrypt(&host, socket)?)),
        MailSecurity::Plain | MailSecurity::Starttls => Stream::Plain(socket),
    };
    let mut lines = Lines::new(stream);
    lines.greet(times.reply)?;
    let mut extensions = lines.hello(&hello, times.reply)?;
    if target.server.security == MailSecurity::Starttls {
        let socket = lines.ask_for_tls(&extensions, times.reply)?;
        let stream = target.trust.encrypt(&host, socket)?;
        lines = Lines::new(Stream::Tls(Box::new(stream)));
        // What the server said in clear is forgotten.
        extensions = lines.hello(&hello, times.reply)?;
    }
    let mut session = SmtpSession {
        lines,
        extensions,
        times,
        is_usable: true,
    };
    if session.mechanisms().is_empty() && is_near && target.server.security == MailSecurity::Plain {
        // A relay of this machine that knows everybody on it.
        return Ok(session);
    }
    session.log_in(target, &host)?;
    Ok(session)
}

/// What we call ourselves: the address that the server sees, which is always true.
fn hello(socket: &TcpStream) -> String {
    match socket
        .local_addr()
        .map(|address| address.ip().to_canonical())
    {
        Ok(IpAddr::V4(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Err(_unknown) => "[127.0.0.1]".to_owned(),
    }
}

impl Lines {
    fn new(stream: Stream) -> Self {
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        let stream = self.reader.get_mut();
        stream.write_all(line.as_bytes())?;
        stream.write_all(b"\r\n")?;
        stream.flush()
    }

    /// One line without its end; it must be there by the deadline, also from a server that sends a byte now and then.
    fn line(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let came = match self.reader.fill_buf() {
                Ok(came) => came,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if came.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = came.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(came.len(), |at| at + 1);
            line.extend_from_slice(came.get(..taken).unwrap_or_default());
            self.reader.consume(taken);
            if line.len() > REPLY_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if end.is_some() {
                line.truncate(line.trim_ascii_end().len());
                return Ok(line);
            }
        }
    }

    /// A whole reply, with its lines' texts.
    fn reply(&mut self, within: Duration) -> io::Result<(Reply, Vec<String>)> {
        let deadline = Instant::now() + within;
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let mut texts = Vec::new();
        loop {
            let line = self.line(deadline)?;
            let code = line
                .get(..3)
                .and_then(|code| std::str::from_utf8(code).ok());
            let code: u16 = code
                .and_then(|code| code.parse().ok())
                .ok_or_else(malformed)?;
            if !(200..600).contains(&code) || texts.len() >= REPLY_LINES_MAX {
                return Err(malformed());
            }
            let text = String::from_utf8_lossy(line.get(4..).unwrap_or_default()).into_owned();
            let goes_on = line.get(3) == Some(&b'-');
            texts.push(text);
            if !goes_on {
                let enhanced = texts.last().and_then(|text| enhanced(text));
                return Ok((Reply { code, enhanced }, texts));
            }
        }
    }

    fn command(&mut self, line: &str, within: Duration) -> io::Result<(Reply, Vec<String>)> {
        self.send(line)?;
        self.reply(within)
    }

    fn greet(&mut self, within: Duration) -> Result<(), MailError> {
        let step = MailStep::Connect;
        let (reply, _texts) = self
            .reply(within)
            .map_err(|error| MailError::from_io(&error, step))?;
        match reply.code {
            220 => Ok(()),
            code if code / 100 == 4 => Err(busy(step)),
            _ => Err(MailError::Protocol {
                step,
                what: "no SMTP greeting",
            }),
        }
    }

    fn hello(&mut self, name: &str, within: Duration) -> Result<Vec<String>, MailError> {
        let step = MailStep::Connect;
        let (reply, mut texts) = self
            .command(&format!("EHLO {name}"), within)
            .map_err(|error| MailError::from_io(&error, step))?;
        if reply.code != 250 {
            return Err(if reply.is_temporary() {
                busy(step)
            } else {
                MailError::Refused {
                    step,
                    command: "EHLO",
                }
            });
        }
        // The first line is a greeting.
        texts.remove(0);
        Ok(texts
            .into_iter()
            .map(|text| text.to_ascii_uppercase())
            .collect())
    }

    /// STARTTLS. Nothing may follow the answer in clear: it would be taken for the server's encrypted words.
    fn ask_for_tls(
        mut self,
        extensions: &[String],
        within: Duration,
    ) -> Result<TcpStream, MailError> {
        if !extensions.iter().any(|extension| extension == "STARTTLS") {
            return Err(MailError::Tls(TlsFault::StarttlsRefused));
        }
        let (reply, _texts) = self
            .command("STARTTLS", within)
            .map_err(|error| MailError::from_io(&error, MailStep::Tls))?;
        if reply.code != 220 {
            return Err(MailError::Tls(TlsFault::StarttlsRefused));
        }
        if !self.reader.buffer().is_empty() {
            return Err(MailError::Tls(TlsFault::StarttlsInjection));
        }
        match self.reader.into_inner() {
            Stream::Plain(socket) => Ok(socket),
            Stream::Tls(_) => Err(MailError::Tls(TlsFault::Handshake)),
        }
    }
}

const fn busy(step: MailStep) -> MailError {
    MailError::Busy {
        step,
        backoff_seconds: None,
    }
}

/// `5.1.1 …`
fn enhanced(text: &str) -> Option<(u8, u16, u16)> {
    let mut numbers = text.split_whitespace().next()?.split('.');
    let class = numbers.next()?.parse().ok()?;
    let subject = numbers.next()?.parse().ok()?;
    let detail = numbers.next()?.parse().ok()?;
    (numbers.next().is_none() && matches!(class, 2 | 4 | 5)).then_some((class, subject, detail))
}

impl SmtpSession {
    fn mechanisms(&self) -> Vec<&str> {
        self.extensions
            .iter()
            .filter_map(|extension| extension.strip_prefix("AUTH"))
            .flat_map(|rest| rest.trim_start_matches('=').split_whitespace())
            .collect()
    }

    /// How many bytes of a mail the server takes; `None`: it doesn't say.
    fn size_max(&self) -> Option<u64> {
        let sizes = self
            .extensions
            .iter()
            .filter_map(|extension| extension.strip_prefix("SIZE "));
        sizes
            .filter_map(|size| size.trim().parse().ok())
            .find(|size| *size > 0)
    }

    fn log_in(&mut self, target: &SmtpTarget, host: &Host) -> Result<(), MailError> {
        let offered: Vec<String> = self.mechanisms().into_iter().map(str::to_owned).collect();
        let offers = |name: &str| offered.iter().any(|offered| offered == name);
        let login = &target.login;
        match &target.secret {
            Secret::Password(password) if offers("PLAIN") => {
                let answer = format!("\0{login}\0{}", password.expose_secret());
                self.authenticate("PLAIN", &[answer])
            }
            Secret::Password(password) if offers("LOGIN") => {
                let password = password.expose_secret().to_owned();
                self.authenticate("LOGIN", &[login.clone(), password])
            }
            Secret::AccessToken(token) if offers("XOAUTH2") => {
                let token = token.expose_secret();
                let answer = format!("user={login}\x01auth=Bearer {token}\x01\x01");
                self.authenticate("XOAUTH2", &[answer])
            }
            Secret::AccessToken(token) if offers("OAUTHBEARER") => {
                let token = token.expose_secret();
                let login = login.replace('=', "=3D").replace(',', "=2C");
                let (host, port) = (host.to_text(), target.server.port);
                let answer = format!(
                    "n,a={login},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
                );
                self.authenticate("OAUTHBEARER", &[answer])
            }
            Secret::Password(_) | Secret::AccessToken(_) => Err(MailError::LoginUnsupported),
        }
    }

    /// Each answer to a challenge of the server; what is asked beyond them tells of an error, and is only acknowledged, so
    /// that the server goes on to its refusal.
    fn authenticate(&mut self, mechanism: &str, answers: &[String]) -> Result<(), MailError> {
        let step = MailStep::Login;
        let lost = |error: &io::Error| MailError::from_io(error, step);
        let within = self.times.reply;
        let mut said = self.lines.command(&format!("AUTH {mechanism}"), within);
        let mut left = answers.iter();
        // One more than any mechanism asks.
        for _ in 0..answers.len() + 2 {
            let (reply, _texts) = said.map_err(|error| lost(&error))?;
            match reply.code {
                235 => return Ok(()),
                334 => {
                    let answer = left.next().map(|answer| STANDARD.encode(answer));
                    said = self.lines.command(&answer.unwrap_or_default(), within);
                }
                _ if reply.is_temporary() => return Err(busy(step)),
                _ => return Err(MailError::LoginRefused),
            }
        }
        Err(MailError::Protocol {
            step,
            what: "endless login",
        })
    }

    /// Whether the session still lives.
    pub fn noop(&mut self) -> bool {
        let replied = self.lines.command("NOOP", self.times.reply);
        replied.is_ok_and(|(reply, _texts)| reply.code == 250)
    }

    /// Whether another mail may go over it: the server did not say that it closes, and knows of no mail that was begun.
    pub const fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Says goodbye and closes the connection.
    pub fn quit(mut self) {
        // The connection ends in any case; what the server makes of it changes nothing.
        let _ = self.lines.send("QUIT");
    }

    /// The first phase: whom it is from and for, until the server wants to have it. Nothing has gone out when this ends.
    ///
    /// # Errors
    /// Whatever of [`NotTaken`] but `Ambiguous`. If any recipient is refused, nobody gets the mail.
    pub fn begin(&mut self, envelope: &Envelope, size_bytes: usize) -> Result<(), NotTaken> {
        let all = std::iter::once(&envelope.from).chain(&envelope.recipients);
        let is_good = |text: &String| {
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte))
        };
        if !all.into_iter().all(is_good) {
            return Err(NotTaken::Broken(malformed()));
        }
        let size = u64::try_from(size_bytes).unwrap_or(u64::MAX);
        let declared = match self.size_max() {
            Some(most) if size > most => return Err(NotTaken::TooLarge),
            Some(_) => format!(" SIZE={size}"),
            None => String::new(),
        };
        let from = format!("MAIL FROM:<{}>{declared}", envelope.from);
        let reply = self.ask(&from)?;
        if !reply.is(2) {
            return Err(self.reset(NotTaken::Refused(reply)));
        }
        let mut refused = Vec::new();
        for recipient in &envelope.recipients {
            let reply = self.ask(&format!("RCPT TO:<{recipient}>"))?;
            if reply.code == CLOSING {
                return Err(NotTaken::Refused(reply));
            }
            if !reply.is(2) {
                refused.push((recipient.clone(), reply));
            }
        }
        if !refused.is_empty() {
            return Err(self.reset(NotTaken::Recipients(refused)));
        }
        let reply = self.ask("DATA")?;
        if reply.code != 354 {
            return Err(self.reset(NotTaken::Refused(reply)));
        }
        Ok(())
    }

    fn ask(&mut self, line: &str) -> Result<Reply, NotTaken> {
        let replied = self.lines.command(line, self.times.reply);
        self.is_usable &= replied
            .as_ref()
            .is_ok_and(|(reply, _texts)| reply.code != CLOSING);
        let (reply, _texts) = replied.map_err(|error| broken(&error))?;
        Ok(reply)
    }

    /// Takes the envelope back, so that the session can go on; where that fails, it can't.
    fn reset(&mut self, why: NotTaken) -> NotTaken {
        self.is_usable = self.is_usable && self.ask("RSET").is_ok_and(|reply| reply.is(2));
        why
    }

    /// The second phase: the mail, and the dot that ends it. From the dot on it may have gone out.
    ///
    /// # Errors
    /// `Broken` where the connection broke before the dot, `Refused`, and `Ambiguous`.
    pub fn finish(&mut self, raw: &[u8]) -> Result<(), NotTaken> {
        let deadline = Instant::now() + self.times.content;
        let wire = dotted(raw);
        // Until it is known how it ended.
        self.is_usable = false;
        let stream = self.lines.reader.get_mut();
        for part in wire.chunks(WRITE_BYTES) {
            if Instant::now() >= deadline {
                return Err(broken(&io::ErrorKind::TimedOut.into()));
            }
            stream.write_all(part).map_err(|error| broken(&error))?;
        }
        stream.flush().map_err(|error| broken(&error))?;
        if is_cut(stream.socket())
            || stream
                .socket()
                .set_read_timeout(Some(self.times.taken))
                .is_err()
        {
            return Err(broken(&io::ErrorKind::NotConnected.into()));
        }
        let ended = self.lines.send(".");
        let replied = ended.and_then(|()| self.lines.reply(self.times.taken));
        let (reply, _texts) = replied.map_err(|_silence| NotTaken::Ambiguous)?;
        let patient = self.lines.reader.get_ref().socket();
        self.is_usable =
            reply.code != CLOSING && patient.set_read_timeout(Some(self.times.reply)).is_ok();
        match reply.code / 100 {
            2 => Ok(()),
            4 | 5 => Err(NotTaken::Refused(reply)),
            _ => Err(NotTaken::Ambiguous),
        }
    }
}

/// Whether the server has hung up, as far as is known here: then the dot, which it never gets, need not be doubted.
fn is_cut(socket: &TcpStream) -> bool {
    if socket.set_nonblocking(true).is_err() {
        return true;
    }
    let is_cut = match socket.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    };
    socket.set_nonblocking(false).is_err() || is_cut
}

const fn malformed() -> MailError {
    MailError::Protocol {
        step: MailStep::Protocol,
        what: "an address that is none",
    }
}

fn broken(error: &io::Error) -> NotTaken {
    NotTaken::Broken(MailError::from_io(error, MailStep::Protocol))
}

/// The mail as it goes over the wire, without the dot that ends it: CRLF line ends, dots doubled at line starts.
fn dotted(raw: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(raw.len() + raw.len() / 32 + 8);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        let content = line
            .strip_suffix(b"\n")
            .map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        wire.extend_from_slice(content);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

#[cfg(test)]
mod tests;
