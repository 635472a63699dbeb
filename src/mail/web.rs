//! HTTP towards the few servers that mail needs of the web (token servers, their keys), over a small client of our own:
//! the address is vetted like a mail server's, no redirect is followed, and an answer is short and soon, or none.
//! Not for: anything that a mail names.

use super::error::{MailError, MailStep};
use super::hosts::{Host, HostPolicy, connect_vetted, resolve_by_system};
use super::tls::TlsTrust;
use crate::model::mailbox::{MailSecurity, MailServer};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The whole exchange takes no longer: issuers answer within a second, and whoever connects a mailbox waits for 10 s.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(7);
/// Answers are a few KB: tokens of up to 2 KB each, keys of less.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where something of the web is.
pub(super) struct WebAddress {
    server: MailServer,
    host: Host,
    /// For the `Host` header.
    authority: String,
    path: String,
}

impl WebAddress {
    /// Reads an address; a plain one reaches loopback alone, for which vetting sees.
    ///
    /// # Errors
    /// `InvalidTokenUrl`.
    pub(super) fn parse(text: &str) -> Result<Self, MailError> {
        let url = url::Url::parse(text).map_err(|_bad| MailError::InvalidTokenUrl)?;
        let security = match url.scheme() {
            "https" => MailSecurity::Tls,
            // Vetting lets this reach loopback only.
            "http" => MailSecurity::Plain,
            _ => return Err(MailError::InvalidTokenUrl),
        };
        let has_login = !url.username().is_empty() || url.password().is_some();
        let (Some(host), Some(port), false) =
            (url.host_str(), url.port_or_known_default(), has_login)
        else {
            return Err(MailError::InvalidTokenUrl);
        };
        let query = url
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        Ok(Self {
            host: Host::parse(host).ok_or(MailError::InvalidTokenUrl)?,
            server: MailServer {
                host: host.to_owned(),
                port,
                security,
            },
            authority: match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            },
            path: format!("{}{query}", url.path()),
        })
    }
}

fn lost(error: &io::Error) -> MailError {
    MailError::from_io(error, MailStep::Login)
}

const fn unclear(what: &'static str) -> MailError {
    MailError::Protocol {
        step: MailStep::Login,
        what,
    }
}

fn left(deadline: Instant) -> Result<Duration, MailError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(MailError::TimedOut {
            step: MailStep::Login,
        });
    }
    Ok(left)
}

/// A server that gives a byte now and then must not hold us for longer than the whole exchange may take.
fn patience(socket: &TcpStream, deadline: Instant) -> Result<(), MailError> {
    let left = left(deadline)?;
    socket
        .set_read_timeout(Some(left))
        .and_then(|()| socket.set_write_timeout(Some(left)))
        .map_err(|error| lost(&error))
}

/// What is asked for.
pub(super) enum Ask<'a> {
    Get,
    /// With a form.
    Post(&'a str),
}

/// Asks; the status and the body of the answer. It blocks.
///
/// # Errors
/// Where the address may not be connected to, and what goes wrong on the way.
pub(super) fn exchange(
    address: &WebAddress,
    ask: Ask<'_>,
    (trust, hosts): (&TlsTrust, &HostPolicy),
) -> Result<(u16, Vec<u8>), MailError> {
    let deadline = Instant::now() + EXCHANGE_TIMEOUT;
    let addresses = hosts.vet_web(&address.server, resolve_by_system, EXCHANGE_TIMEOUT)?;
    let socket = connect_vetted(&addresses, left(deadline)?)?;
    patience(&socket, deadline)?;
    match address.server.security {
        MailSecurity::Plain => talk(&mut &socket, &socket, (address, ask), deadline),
        _ => {
            let watched = socket.try_clone().map_err(|error| lost(&error))?;
            let mut stream = trust.encrypt(&address.host, socket)?;
            talk(&mut stream, &watched, (address, ask), deadline)
        }
    }
}

/// What lies at an address. It blocks.
///
/// # Errors
/// Where the address may not be connected to, and what goes wrong on the way; any status but 200 is an error.
pub fn get(url: &str, with: (&TlsTrust, &HostPolicy)) -> Result<Vec<u8>, MailError> {
    match exchange(&WebAddress::parse(url)?, Ask::Get, with)? {
        (200, body) => Ok(body),
        _ => Err(unclear("the server does not have it")),
    }
}

/// Whether this is an address that [`get`] could ask, as far as that can be told without asking: a plain one names this
/// machine.
pub fn is_web_address(url: &str) -> bool {
    WebAddress::parse(url).is_ok_and(|address| {
        let host = address.server.host.trim_matches(['[', ']']);
        let is_here = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        address.server.security == MailSecurity::Tls || is_here
    })
}

fn talk(
    stream: &mut (impl Read + Write),
    socket: &TcpStream,
    (address, ask): (&WebAddress, Ask<'_>),
    deadline: Instant,
) -> Result<(u16, Vec<u8>), MailError> {
    let (method, body) = match ask {
        Ask::Get => ("GET", String::new()),
        Ask::Post(form) => (
            "POST",
            format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
                form.len()
            ),
        ),
    };
    let end = if body.is_empty() { "\r\n" } else { "" };
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: mailroom\r\nAccept: application/json\r\n\
         Connection: close\r\n{body}{end}",
        address.path, address.authority,
    );
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.flush())
        .map_err(|error| lost(&error))?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        patience(socket, deadline)?;
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Many servers close without a goodbye of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(lost(&error)),
        };
        received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if let Some(answer) = answer(&received, count == 0)? {
            return Ok(answer);
        }
        if count == 0 {
            return Err(MailError::ConnectionLost {
                step: MailStep::Login,
            });
        }
        if received.len() > ANSWER_BYTES_MAX {
            return Err(unclear("the server's answer is too long"));
        }
    }
}

/// The status and body of an HTTP answer, once it is whole.
fn answer(received: &[u8], is_end: bool) -> Result<Option<(u16, Vec<u8>)>, MailError> {
    let bad = unclear("the server does not speak HTTP");
    let Some(head_end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = received.split_at(head_end.saturating_add(4));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
    let Some(status) = status else {
        return Err(bad);
    };
    let (mut length, mut is_chunked) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let Ok(count) = value.parse::<usize>() else {
                return Err(bad);
            };
            length = Some(count);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
    if is_chunked {
        return Ok(unchunked(body)?.map(|body| (status, body)));
    }
    let body = match length {
        Some(length) => body.get(..length),
        None => is_end.then_some(body),
    };
    Ok(body.map(|body| (status, body.to_vec())))
}

fn unchunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, MailError> {
    let mut body = Vec::new();
    loop {
        let Some(line_end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let (line, behind) = rest.split_at(line_end);
        let size = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split(';').next())
            .and_then(|size| usize::from_str_radix(size.trim(), 16).ok())
            .ok_or(unclear("the server does not speak HTTP"))?;
        if size == 0 {
            return Ok(Some(body));
        }
        let start = 2;
        let Some(chunk) = behind.get(start..size.saturating_add(start)) else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        let Some(next) = behind.get(size.saturating_add(4)..) else {
            return Ok(None);
        };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_answer_is_whole_or_awaited_or_refused() {
        // (what, received, at its end, the body or whether more is awaited)
        let rows: [(&str, &str, bool, Result<Option<&str>, ()>); 10] = [
            (
                "by its length",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest",
                false,
                Ok(Some("{}")),
            ),
            (
                "not all yet",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
                false,
                Ok(None),
            ),
            (
                "cut",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
                true,
                Ok(None),
            ),
            (
                "until the end",
                "HTTP/1.0 200 OK\r\n\r\n{}",
                true,
                Ok(Some("{}")),
            ),
            (
                "until the end, which is not there yet",
                "HTTP/1.0 200 OK\r\n\r\n{}",
                false,
                Ok(None),
            ),
            (
                "in chunks",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
                false,
                Ok(Some("{}")),
            ),
            (
                "in chunks, not all yet",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\nff\r\n}",
                false,
                Ok(None),
            ),
            (
                "chunks beyond any memory",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
                false,
                Ok(None),
            ),
            (
                "chunks that are none",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                false,
                Err(()),
            ),
            ("another protocol", "* OK IMAP\r\n\r\n", false, Err(())),
        ];
        for (what, received, is_end, expected) in rows {
            let found = answer(received.as_bytes(), is_end).map_err(drop);
            let found =
                found.map(|found| found.map(|(_status, body)| String::from_utf8(body).unwrap()));
            assert_eq!(
                found,
                expected.map(|body| body.map(str::to_owned)),
                "{what}"
            );
        }
    }
}
