//! New access tokens for a mailbox from its grant (RFC 6749, section 6).
//! Not for: asking a person for the grant, or how the token server is spoken to (`web`).

use super::error::{MailError, MailStep};
use super::hosts::HostPolicy;
use super::tls::TlsTrust;
use super::web::{self, Ask, WebAddress};
use crate::model::Time;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

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

/// Whether this is the address of a token server, as far as that can be told without asking it.
///
/// # Errors
/// `InvalidTokenUrl`.
pub fn check_token_url(text: &str) -> Result<(), MailError> {
    WebAddress::parse(text).map(drop)
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
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", grant.refresh_token.expose_secret())
        .append_pair("client_id", &grant.client_id);
    if let Some(secret) = &grant.client_secret {
        form.append_pair("client_secret", secret.expose_secret());
    }
    let form = form.finish();
    let address = WebAddress::parse(&grant.token_url)?;
    let (status, body) = web::exchange(&address, Ask::Post(&form), (trust, hosts))?;
    judged(status, &body, now)
}

const fn unclear(what: &'static str) -> MailError {
    MailError::Protocol {
        step: MailStep::Login,
        what,
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
