//! From settings to the parts that they mean, where that takes more than a value.

use super::{App, AppError};
use crate::auth::key_ring::{KeyRing, KeySource, KeyTimes};
use crate::auth::outside_token::{FoundBy, OutsideTokens, read_algorithms};
use crate::bus::{Bus, Spending};
use crate::clock;
use crate::config::{self, Config, Metrics, OidcUsers, SchemaReaders};
use crate::graphql::api::Introspection;
use crate::graphql::persisted::{Documents, Learnt, Manifest};
use crate::graphql::rates::Rates;
use crate::http::MetricsReaders;
use crate::mail::web;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// The issuer whose tokens are believed beside our own.
///
/// # Errors
/// A setting that can't be used.
pub(super) fn outside_tokens(app: &App) -> Result<Option<OutsideTokens>, AppError> {
    let Some(oidc) = &app.config.oidc else {
        return Ok(None);
    };
    let algorithms = read_algorithms(&oidc.algorithms).ok_or_else(|| {
        AppError::Setting(
            "MAILROOM_OIDC_ALGORITHMS must be some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA"
                .to_owned(),
        )
    })?;
    let source = if oidc.keys.contains("://") {
        if !web::is_web_address(&oidc.keys) {
            return Err(AppError::Setting(
                "MAILROOM_OIDC_KEYS must be an https address (http towards this machine alone) or a file".to_owned(),
            ));
        }
        KeySource::Url(oidc.keys.clone())
    } else {
        KeySource::File(PathBuf::from(&oidc.keys))
    };
    let found_by = match oidc.users {
        OidcUsers::ByAddress => FoundBy::Address,
        OidcUsers::BySubject => FoundBy::Subject,
    };
    let with = (app.mail.trust.clone(), app.mail.hosts.clone());
    let keys = Arc::new(KeyRing::new(source, with, KeyTimes::default()));
    let names = (oidc.issuer.clone(), oidc.audience.clone());
    Ok(Some(OutsideTokens::new(names, algorithms, found_by, keys)))
}

/// Who may read the schema.
pub(super) const fn introspection(config: &Config) -> Introspection {
    match config.introspection {
        SchemaReaders::Everyone => Introspection::Everyone,
        SchemaReaders::SignedIn => Introspection::SignedIn,
        SchemaReaders::Administrators => Introspection::Administrators,
        SchemaReaders::Nobody => Introspection::Nobody,
    }
}

/// Which documents are run.
///
/// # Errors
/// A manifest that can't be used.
pub(super) fn documents(documents: &config::Documents) -> Result<Documents, AppError> {
    let path = match documents {
        config::Documents::Open => return Ok(Documents::Open),
        config::Documents::Learnt => return Ok(Documents::Learnt(Learnt::default())),
        config::Documents::Trusted(path) => path,
    };
    let bad = |why: String| {
        let path = path.display();
        AppError::Setting(format!(
            "MAILROOM_DOCUMENTS must be open, apq or the file of a manifest; {path}: {why}"
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let manifest = Manifest::read(&text).map_err(bad)?;
    Ok(Documents::Trusted(manifest))
}

/// A shorter token could be guessed.
const METRICS_TOKEN_BYTES_MIN: usize = 16;

/// Who may read `/metrics`.
/// Clients that reach us by another name come through a proxy, which may stand on this machine and need not say so: then
/// nobody can be told from this machine itself, and it takes a token.
///
/// # Errors
/// A file without a good token.
pub(super) fn metrics_readers(config: &Config) -> Result<MetricsReaders, AppError> {
    let path = match &config.metrics {
        Metrics::Off => return Ok(MetricsReaders::Nobody),
        Metrics::Loopback if is_elsewhere(config.public_url.as_deref()) => {
            return Ok(MetricsReaders::Nobody);
        }
        Metrics::Loopback => return Ok(MetricsReaders::Loopback),
        Metrics::TokenFile(path) => path,
    };
    let bad = |why: String| {
        let path = path.display();
        AppError::Setting(format!(
            "MAILROOM_METRICS must be loopback, off or a file that holds a bearer token; {path} {why}"
        ))
    };
    let text =
        std::fs::read_to_string(path).map_err(|error| bad(format!("can't be read: {error}")))?;
    let token = text.trim();
    if token.len() < METRICS_TOKEN_BYTES_MIN {
        return Err(bad(format!(
            "holds fewer than {METRICS_TOKEN_BYTES_MIN} characters"
        )));
    }
    Ok(MetricsReaders::Holder(blake3::hash(token.as_bytes())))
}

/// Whether clients reach us by a name that is not this machine's alone.
fn is_elsewhere(public_url: Option<&str>) -> bool {
    public_url.is_some_and(|text| {
        let host = url::Url::parse(text);
        match host.as_ref().ok().and_then(url::Url::host) {
            Some(url::Host::Domain(name)) => name != "localhost",
            Some(url::Host::Ipv4(ip)) => !ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => !ip.is_loopback(),
            None => true,
        }
    })
}

/// What each user may ask for in a minute.
pub(super) fn rates(config: &Config) -> Option<Rates> {
    let limit_per_minute = config.rate_limit?;
    Some(Rates {
        limit_per_minute,
        spending: Arc::default(),
        clock: clock::now,
    })
}

/// Servers tell each other what users spent there this often: so much later a limit holds in all of them together.
const SHARE_EVERY: Duration = Duration::from_millis(250);

/// Exchanges counts with other servers until told to stop.
pub(super) async fn share_spending(
    bus: Bus,
    spending: Arc<Spending>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pace = tokio::time::interval(SHARE_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _moment = pace.tick() => {}
            _stopped = stop.wait_for(|stop| *stop) => return,
        }
        let (bus, spending) = (bus.clone(), spending.clone());
        let shared = tokio::task::spawn_blocking(move || bus.share(&spending)).await;
        if !matches!(shared, Ok(Ok(()))) {
            // The bus itself says that Redis is away; until it is back, each server counts alone.
            tracing::debug!("what users spent could not be shared");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_address_on_this_machine_lets_it_read_the_metrics() {
        for (url, elsewhere) in [
            (None, false),
            (Some("http://localhost:8080"), false),
            (Some("http://127.0.0.1:8080"), false),
            (Some("http://[::1]:8080"), false),
            (Some("https://mailroom.example"), true),
            (Some("https://localhost.example"), true),
            (Some("http://10.0.0.1"), true),
            (Some("no address"), true),
        ] {
            assert_eq!(is_elsewhere(url), elsewhere, "{url:?}");
        }
    }
}
