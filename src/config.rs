//! Settings, parsed and checked: what stands here can be used. Flags and environment are read by `cli`;
//! nothing else looks at the environment.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use thiserror::Error;

/// A setting that can't be used: one sentence that names it and says what would do.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SettingError(pub String);

/// Settings as they were given; `None` where nothing was.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub data_dir: Option<PathBuf>,
    pub database_url: Option<String>,
    pub redis_url: Option<String>,
    pub listen: Option<String>,
    pub health_listen: Option<String>,
    pub public_url: Option<String>,
    pub allow_hosts: Option<String>,
    pub key_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub raw_store: Option<String>,
    pub allow_origins: Option<String>,
    pub erase_after_days: Option<String>,
    pub metrics: Option<String>,
    pub documents: Option<String>,
    pub rate_limit: Option<String>,
    pub introspection: Option<String>,
    pub oidc_issuer: Option<String>,
    pub oidc_audience: Option<String>,
    pub oidc_keys: Option<String>,
    pub oidc_algorithms: Option<String>,
    pub oidc_users: Option<String>,
}

/// The settings of a process.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    pub database_url: String,
    pub redis_url: Option<String>,
    pub listen: SocketAddr,
    /// Where a process says how it does, a server beside where it serves; `None`: nowhere else.
    pub health_listen: Option<SocketAddr>,
    /// Where clients reach this installation; `None`: at the address it listens on.
    pub public_url: Option<String>,
    /// Mail hosts that may be private: hosts, host:port or networks, by commas.
    pub allow_hosts: String,
    pub key_file: PathBuf,
    /// Further certificate authorities for mail servers, PEM.
    pub ca_file: Option<PathBuf>,
    pub raw_store: String,
    /// Origins whose pages may connect, beside our own.
    pub allow_origins: Vec<String>,
    /// Days after which what a disconnected mailbox held and the CRM did not save is erased; `None`: never.
    pub erase_after_days: Option<i64>,
    pub metrics: Metrics,
    pub documents: Documents,
    /// What each user may spend in a minute, in the cost of operations; `None`: as much as they like.
    pub rate_limit: Option<u64>,
    pub introspection: SchemaReaders,
    /// Whose tokens are believed beside our own.
    pub oidc: Option<Oidc>,
}

/// An issuer of OpenID Connect tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oidc {
    /// As it stands in its tokens.
    pub issuer: String,
    /// What its tokens for us say that they are for.
    pub audience: String,
    /// Where its keys are: an address or a file.
    pub keys: String,
    /// The names of the algorithms that are taken.
    pub algorithms: Vec<String>,
    pub users: OidcUsers,
}

/// By what the user of an outside token is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OidcUsers {
    /// The first time by the address that the issuer has verified, then by the subject.
    ByAddress,
    /// By a subject that the operator has named.
    BySubject,
}

/// Who may read the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaReaders {
    Everyone,
    SignedIn,
    Administrators,
    Nobody,
}

/// Which GraphQL documents are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Documents {
    /// Any.
    Open,
    /// Any, also by their hash (automatic persisted queries).
    Learnt,
    /// Those of a manifest alone.
    Trusted(PathBuf),
}

/// Who may read `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metrics {
    /// Nobody.
    Off,
    /// Whoever asks from this machine.
    Loopback,
    /// Whoever has the bearer token that stands in this file.
    TokenFile(PathBuf),
}

/// Where it listens by default: on loopback only.
const LISTEN: &str = "127.0.0.1:8080";

impl Config {
    /// Checks what was given and fills in the rest.
    ///
    /// # Errors
    /// The first setting that can't be used.
    pub fn new(given: Given) -> Result<Self, SettingError> {
        let oidc = oidc(&given)?;
        let data_dir = given
            .data_dir
            .unwrap_or_else(|| PathBuf::from("mailroom-data"));
        let listen = listen_address("MAILROOM_LISTEN", given.listen.as_deref().unwrap_or(LISTEN))?;
        let health_listen = given.health_listen.filter(|address| !address.is_empty());
        let health_listen = health_listen
            .map(|address| listen_address("MAILROOM_HEALTH_LISTEN", &address))
            .transpose()?;
        let database_url = match given.database_url.filter(|url| !url.is_empty()) {
            Some(url) => checked_database_url(url)?,
            None => format!("sqlite:{}", data_dir.join("mailroom.sqlite").display()),
        };
        let redis_url = given.redis_url.filter(|url| !url.is_empty());
        if let Some(url) = &redis_url
            && !["redis://", "rediss://", "redis+unix://", "unix://"]
                .iter()
                .any(|scheme| url.starts_with(scheme))
        {
            return Err(SettingError(
                "REDIS_URL must begin with redis://, for example redis://127.0.0.1:6379".to_owned(),
            ));
        }
        let public_url = given
            .public_url
            .filter(|url| !url.is_empty())
            .map(checked_public_url)
            .transpose()?;
        Ok(Self {
            key_file: given
                .key_file
                .unwrap_or_else(|| data_dir.join("mailroom.key")),
            raw_store: given
                .raw_store
                .unwrap_or_else(|| data_dir.join("raw").display().to_string()),
            database_url,
            redis_url,
            listen,
            health_listen,
            public_url,
            allow_hosts: given.allow_hosts.unwrap_or_default(),
            ca_file: given.ca_file,
            allow_origins: split(given.allow_origins.as_deref().unwrap_or_default()),
            erase_after_days: erase_after_days(given.erase_after_days.as_deref())?,
            metrics: metrics(given.metrics.as_deref()),
            documents: documents(given.documents.as_deref()),
            rate_limit: rate_limit(given.rate_limit.as_deref())?,
            introspection: schema_readers(given.introspection.as_deref())?,
            oidc,
            data_dir,
        })
    }

    /// Whether the database is the embedded one.
    pub fn is_sqlite(&self) -> bool {
        self.database_url.starts_with("sqlite:")
    }

    /// Whether Mailroom itself listens on loopback only: then mail servers on loopback may be connected too (R1).
    pub fn listens_on_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }
}

/// How long a mistaken disconnection can be taken back without loss.
const ERASE_AFTER_DAYS: i64 = 30;
/// More is "never".
const ERASE_AFTER_DAYS_MAX: i64 = 36_500;

fn erase_after_days(text: Option<&str>) -> Result<Option<i64>, SettingError> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(Some(ERASE_AFTER_DAYS)),
        Some("never") => Ok(None),
        Some(text) => match text.parse() {
            Ok(days) if (0..=ERASE_AFTER_DAYS_MAX).contains(&days) => Ok(Some(days)),
            _ => Err(SettingError(format!(
                "MAILROOM_ERASE_AFTER_DAYS must be a number of days up to {ERASE_AFTER_DAYS_MAX}, or never, not {text:?}"
            ))),
        },
    }
}

fn metrics(text: Option<&str>) -> Metrics {
    match text.map(str::trim) {
        None | Some("" | "loopback") => Metrics::Loopback,
        Some("off") => Metrics::Off,
        Some(file) => Metrics::TokenFile(PathBuf::from(file)),
    }
}

fn documents(text: Option<&str>) -> Documents {
    match text.map(str::trim) {
        None | Some("" | "apq") => Documents::Learnt,
        Some("open") => Documents::Open,
        Some(file) => Documents::Trusted(PathBuf::from(file)),
    }
}

/// Some fifteen of the dearest pages a second: far more than a person's screens, a few hundredths of what a core answers.
const RATE_LIMIT: u64 = 600_000;
/// What a single operation may cost.
const RATE_LIMIT_MIN: u64 = 1_000;

fn rate_limit(text: Option<&str>) -> Result<Option<u64>, SettingError> {
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(Some(RATE_LIMIT)),
        Some("off") => Ok(None),
        Some(text) => match text.parse() {
            Ok(cost) if cost >= RATE_LIMIT_MIN => Ok(Some(cost)),
            _ => Err(SettingError(format!(
                "MAILROOM_RATE_LIMIT must be a cost a minute of at least {RATE_LIMIT_MIN}, or off, not {text:?}"
            ))),
        },
    }
}

fn schema_readers(text: Option<&str>) -> Result<SchemaReaders, SettingError> {
    match text.map(str::trim) {
        None | Some("" | "signed-in") => Ok(SchemaReaders::SignedIn),
        Some("everyone") => Ok(SchemaReaders::Everyone),
        Some("administrators") => Ok(SchemaReaders::Administrators),
        Some("off") => Ok(SchemaReaders::Nobody),
        Some(text) => Err(SettingError(format!(
            "MAILROOM_INTROSPECTION must be everyone, signed-in, administrators or off, not {text:?}"
        ))),
    }
}

fn oidc(given: &Given) -> Result<Option<Oidc>, SettingError> {
    let text = |given: &Option<String>| given.clone().filter(|text| !text.trim().is_empty());
    let Some(issuer) = text(&given.oidc_issuer) else {
        let others = [
            ("MAILROOM_OIDC_AUDIENCE", &given.oidc_audience),
            ("MAILROOM_OIDC_KEYS", &given.oidc_keys),
            ("MAILROOM_OIDC_ALGORITHMS", &given.oidc_algorithms),
            ("MAILROOM_OIDC_USERS", &given.oidc_users),
        ];
        return match others
            .into_iter()
            .find(|(_name, value)| text(value).is_some())
        {
            Some((name, _value)) => Err(SettingError(format!(
                "{name} needs MAILROOM_OIDC_ISSUER too"
            ))),
            None => Ok(None),
        };
    };
    let needed = |name: &str, given: &Option<String>| {
        text(given).ok_or_else(|| SettingError(format!("MAILROOM_OIDC_ISSUER needs {name} too")))
    };
    let users = match given.oidc_users.as_deref().map(str::trim) {
        None | Some("" | "address") => OidcUsers::ByAddress,
        Some("subject") => OidcUsers::BySubject,
        Some(text) => {
            return Err(SettingError(format!(
                "MAILROOM_OIDC_USERS must be address or subject, not {text:?}"
            )));
        }
    };
    Ok(Some(Oidc {
        issuer,
        audience: needed("MAILROOM_OIDC_AUDIENCE", &given.oidc_audience)?,
        keys: needed("MAILROOM_OIDC_KEYS", &given.oidc_keys)?,
        algorithms: split(text(&given.oidc_algorithms).as_deref().unwrap_or("RS256")),
        users,
    }))
}

fn split(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn listen_address(setting: &str, text: &str) -> Result<SocketAddr, SettingError> {
    let bad = || {
        SettingError(format!(
            "{setting} must be an address and a port such as {LISTEN} (port 0 picks one), not {text:?}"
        ))
    };
    text.to_socket_addrs()
        .map_err(|_error| bad())?
        .next()
        .ok_or_else(bad)
}

fn checked_database_url(url: String) -> Result<String, SettingError> {
    let known = ["sqlite:", "postgres:", "postgresql:"];
    if known.iter().any(|scheme| url.starts_with(scheme)) {
        Ok(url)
    } else {
        Err(SettingError(
            "DATABASE_URL must begin with sqlite: or postgres:, for example sqlite:mailroom.sqlite or postgres://mailroom@db/mailroom"
                .to_owned(),
        ))
    }
}

fn checked_public_url(url: String) -> Result<String, SettingError> {
    match url::Url::parse(&url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(SettingError(
            "MAILROOM_PUBLIC_URL must be an http or https URL such as https://mail.example.com"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_is_an_embedded_server_on_loopback() {
        let config = Config::new(Given::default()).unwrap();
        assert!(config.is_sqlite() && config.listens_on_loopback());
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.erase_after_days, Some(30));
        assert_eq!(config.metrics, Metrics::Loopback);
    }

    #[test]
    fn a_bad_setting_is_named_in_one_sentence() {
        let text = |value: &str| Some(value.to_owned());
        let rows = [
            (
                Given {
                    database_url: text("mysql://x"),
                    ..Given::default()
                },
                "DATABASE_URL",
            ),
            (
                Given {
                    redis_url: text("localhost"),
                    ..Given::default()
                },
                "REDIS_URL",
            ),
            (
                Given {
                    listen: text("8080"),
                    ..Given::default()
                },
                "MAILROOM_LISTEN",
            ),
            (
                Given {
                    health_listen: text("8081"),
                    ..Given::default()
                },
                "MAILROOM_HEALTH_LISTEN",
            ),
            (
                Given {
                    public_url: text("ftp://x"),
                    ..Given::default()
                },
                "MAILROOM_PUBLIC_URL",
            ),
            (
                Given {
                    erase_after_days: text("soon"),
                    ..Given::default()
                },
                "MAILROOM_ERASE_AFTER_DAYS",
            ),
            (
                Given {
                    rate_limit: text("999"),
                    ..Given::default()
                },
                "MAILROOM_RATE_LIMIT",
            ),
            (
                Given {
                    introspection: text("me"),
                    ..Given::default()
                },
                "MAILROOM_INTROSPECTION",
            ),
            (
                Given {
                    oidc_issuer: text("https://login.example.com"),
                    oidc_audience: text("mailroom"),
                    ..Given::default()
                },
                "MAILROOM_OIDC_KEYS",
            ),
        ];
        for (given, name) in rows {
            let error = Config::new(given).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
