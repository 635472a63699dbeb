//! New access tokens for a mailbox from its grant (RFC 6749, section 6), over a small HTTP client of our own: the token
//! server's address is vetted like a mail server's, no redirect is followed, and an answer is short and soon, or none.
//! Not for: asking a person for the grant, or any other HTTP.

use super::error::{MailError, MailStep};
use super::hosts::{Host, HostPolicy, connect_vetted, resolve_by_system};
use super::tls::TlsTrust;
use crate::model::Time;
use crate::model::mailbox::{MailSecurity, MailServer};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The whole exchange takes no longer: issuers answer within a second, and whoever connects a mailbox waits for 10 s.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(7);
/// Answers are a few KB, with tokens of up to 2 KB each.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longer tokens are none: they would not fit into a login either.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Nobody issues access tokens for longer than a year.
const LIFE_SECONDS_MAX: i64 = 366 * 86_400;

/// What makes new access tokens. It has no `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Grant {
    pub token_url: String,
    pub client_id: String,
    pub client_secret: Option<SecretString>,
    pub refresh_token: SecretString,
}

/// What a token server gave.
pub struct Refreshed {
    pub access_token: SecretString,
    /// `None`: the one before stays good.
    pub refresh_token: Option<SecretString>,
    /// `None`: it did not say.
    pub expires_at: Option<Time>,
}

/// Where a token server is.
struct Issuer {
    server: MailServer,
    host: Host,
    /// For the `Host` header.
    authority: String,
    path: String,
}

impl Issuer {
    fn parse(text: &str) -> Result<Self, MailError> {
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

/// Whether this is the address of a token server, as far as that can be told without asking it.
///
/// # Errors
/// `InvalidTokenUrl`.
pub fn check_token_url(text: &str) -> Result<(), MailError> {
    Issuer::parse(text).map(drop)
}

/// Asks the token server for a new access token. For worker threads: it blocks.
///
/// # Errors
/// `GrantGone` and `ClientRefused` stay until somebody does something; anything else of it is tried again.
pub fn refresh(
    grant: &Grant,
    (trust, hosts): (&TlsTrust, &HostPolicy),
    now: Time,
) -> Result<Refreshed, MailError> {
    let issuer = Issuer::parse(&grant.token_url)?;
    let deadline = Instant::now() + EXCHANGE_TIMEOUT;
    let addresses = hosts.vet_web(&issuer.server, resolve_by_system, EXCHANGE_TIMEOUT)?;
    let socket = connect_vetted(&addresses, left(deadline)?)?;
    patience(&socket, deadline)?;
    let (status, body) = match issuer.server.security {
        MailSecurity::Plain => exchange(&mut &socket, &socket, (&issuer, grant), deadline),
        _ => {
            let watched = socket.try_clone().map_err(|error| lost(&error))?;
            let mut stream = trust.encrypt(&issuer.host, socket)?;
            exchange(&mut stream, &watched, (&issuer, grant), deadline)
        }
    }?;
    judged(status, &body, now)
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

fn exchange(
    stream: &mut (impl Read + Write),
    socket: &TcpStream,
    (issuer, grant): (&Issuer, &Grant),
    deadline: Instant,
) -> Result<(u16, Vec<u8>), MailError> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", grant.refresh_token.expose_secret())
        .append_pair("client_id", &grant.client_id);
    if let Some(secret) = &grant.client_secret {
        form.append_pair("client_secret", secret.expose_secret());
    }
    let form = form.finish();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: mailroom\r\nAccept: application/json\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        issuer.path,
        issuer.authority,
        form.len()
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
            return Err(unclear("the token server's answer is too long"));
        }
    }
}

/// The status and body of an HTTP answer, once it is whole.
fn answer(received: &[u8], is_end: bool) -> Result<Option<(u16, Vec<u8>)>, MailError> {
    let bad = unclear("the token server does not speak HTTP");
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
            .ok_or(unclear("the token server does not speak HTTP"))?;
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

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    refresh_token: Option<String>,
    /// A number; some say it as a text.
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
}

fn judged(status: u16, body: &[u8], now: Time) -> Result<Refreshed, MailError> {
    let parsed: Option<TokenAnswer> = serde_json::from_slice(body).ok();
    match (status, parsed) {
        (200, Some(answer)) => {
            let access_token = answer
                .access_token
                .filter(|token| is_token(token))
                .ok_or(unclear("the token server gives no access token"))?;
            let life = answer.expires_in.and_then(|life| {
                let number = life.as_i64();
                number.or_else(|| life.as_str()?.parse().ok())
            });
            Ok(Refreshed {
                access_token: access_token.into(),
                refresh_token: answer
                    .refresh_token
                    .filter(|token| is_token(token))
                    .map(SecretString::from),
                expires_at: life.map(|life| now.plus_seconds(life.clamp(0, LIFE_SECONDS_MAX))),
            })
        }
        (400 | 401, Some(answer)) => Err(match answer.error.as_deref() {
            Some("invalid_grant") => MailError::GrantGone,
            Some("invalid_client" | "unauthorized_client") => MailError::ClientRefused,
            _ => unclear("the token server refuses without a reason that is known"),
        }),
        (429 | 500..=599, _) => Err(MailError::Busy {
            step: MailStep::Login,
            backoff_seconds: None,
        }),
        _ => Err(unclear("the token server's answer is none")),
    }
}

/// What can stand in a login: nothing that would end it and begin something else.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOKEN_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_seconds(1_000);

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

    #[test]
    fn what_a_token_server_says_is_a_token_or_a_reason() {
        let gone = Err(MailError::GrantGone);
        let busy = MailError::Busy {
            step: MailStep::Login,
            backoff_seconds: None,
        };
        let none = unclear("the token server gives no access token");
        let nothing = unclear("the token server's answer is none");
        let rows: [(&str, u16, &str, Result<(Option<i64>, bool), MailError>); 11] = [
            (
                "a token",
                200,
                r#"{"access_token":"a","expires_in":3600}"#,
                Ok((Some(4600), false)),
            ),
            (
                "a life in a text",
                200,
                r#"{"access_token":"a","expires_in":"60","refresh_token":"r"}"#,
                Ok((Some(1060), true)),
            ),
            (
                "no life",
                200,
                r#"{"access_token":"a","refresh_token":""}"#,
                Ok((None, false)),
            ),
            (
                "a life that is over",
                200,
                r#"{"access_token":"a","expires_in":-5}"#,
                Ok((Some(1000), false)),
            ),
            (
                "an empty token",
                200,
                r#"{"access_token":""}"#,
                Err(none.clone()),
            ),
            (
                "a token that would end the login",
                200,
                "{\"access_token\":\"a\\u0001b\"}",
                Err(none),
            ),
            ("gone", 400, r#"{"error":"invalid_grant"}"#, gone),
            (
                "another client",
                401,
                r#"{"error":"invalid_client"}"#,
                Err(MailError::ClientRefused),
            ),
            ("broken", 503, "<html>", Err(busy)),
            ("elsewhere", 302, "{}", Err(nothing.clone())),
            ("no JSON", 200, "<html>", Err(nothing)),
        ];
        for (what, status, body, expected) in rows {
            let found = judged(status, body.as_bytes(), NOW);
            let found = found.map(|found| {
                (
                    found.expires_at.map(Time::seconds),
                    found.refresh_token.is_some(),
                )
            });
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn only_a_plain_web_address_is_a_token_server() {
        let rows = [
            ("https://login.example.com/token", true),
            ("https://login.example.com:8443/token?x=y", true),
            ("http://127.0.0.1:9/token", true),
            ("ftp://login.example.com/", false),
            ("https://user:secret@login.example.com/", false),
            ("token", false),
            ("file:///etc/passwd", false),
        ];
        for (url, expected) in rows {
            assert_eq!(check_token_url(url).is_ok(), expected, "{url}");
        }
    }
}
