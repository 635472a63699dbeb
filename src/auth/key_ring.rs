//! The public keys of an issuer of tokens outside, from a file or an address (JWKS, RFC 7517). They roll over: a key that
//! is not known is looked for, but not more often than the issuer can bear, whatever tokens are sent.
//! Not for: what a token says (`outside_token`).

use super::AuthRefusal;
use crate::mail::hosts::HostPolicy;
use crate::mail::tls::TlsTrust;
use crate::mail::web;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Issuers have two to six keys.
const KEYS_MAX: usize = 32;
/// A set of keys has a few KB.
const SET_BYTES_MAX: usize = 64 * 1024;
/// Key ids are hashes or UUIDs.
const KEY_ID_BYTES_MAX: usize = 256;
/// Base64 of 2,048 bits: a shorter modulus is no longer safe.
const MODULUS_CHARS_MIN: usize = 342;

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    /// `https`; `http` towards loopback alone.
    Url(String),
}

/// How long keys are used before they are asked for again.
#[derive(Debug, Clone, Copy)]
pub struct KeyTimes {
    /// Then they are asked for beside the requests that use them.
    pub fresh: Duration,
    /// No two askings are closer together, whatever tokens come.
    pub between: Duration,
    /// Keys that could not be asked for again for so long are not used any more.
    pub kept: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(600),
            between: Duration::from_secs(10),
            kept: Duration::from_secs(24 * 3600),
        }
    }
}

/// A public key, and the algorithm that it is for where its set says so.
pub struct PublicKey {
    pub key: DecodingKey,
    pub algorithm: Option<Algorithm>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, Arc<PublicKey>>,
    loaded_at: Option<Instant>,
    tried_at: Option<Instant>,
}

/// The keys of one issuer.
pub struct KeyRing {
    source: KeySource,
    trust: TlsTrust,
    hosts: Arc<HostPolicy>,
    times: KeyTimes,
    known: Mutex<Known>,
    /// Held while keys are asked for: whoever waits for the same keys waits here.
    asking: tokio::sync::Mutex<()>,
}

/// What is to be done about a key.
enum Found {
    Key(Arc<PublicKey>),
    /// It is known, but it is time to ask again.
    Old(Arc<PublicKey>),
    /// It is not known, and may be asked for.
    Ask,
    /// It is not known, and was asked for just now.
    Unknown,
    /// No keys are known.
    Nothing,
}

impl KeyRing {
    /// No keys yet: they are asked for when the first token comes.
    pub fn new(
        source: KeySource,
        (trust, hosts): (TlsTrust, Arc<HostPolicy>),
        times: KeyTimes,
    ) -> Self {
        Self {
            source,
            trust,
            hosts,
            times,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// The key with this id.
    ///
    /// # Errors
    /// `Invalid` for a key that the issuer does not have, `Unavailable` while its keys can't be had.
    pub async fn key(self: &Arc<Self>, id: &str) -> Result<Arc<PublicKey>, AuthRefusal> {
        match self.find(id) {
            Found::Key(key) => return Ok(key),
            Found::Old(key) => {
                if self.asking.try_lock().is_ok() {
                    let ring = Arc::clone(self);
                    tokio::spawn(async move { ring.ask().await });
                }
                return Ok(key);
            }
            Found::Unknown => return Err(AuthRefusal::Invalid),
            Found::Nothing => return Err(AuthRefusal::Unavailable),
            Found::Ask => self.ask().await,
        }
        match self.find(id) {
            Found::Key(key) | Found::Old(key) => Ok(key),
            Found::Unknown => Err(AuthRefusal::Invalid),
            Found::Ask if self.has_keys() => Err(AuthRefusal::Invalid),
            Found::Nothing | Found::Ask => Err(AuthRefusal::Unavailable),
        }
    }

    fn has_keys(&self) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .loaded_at
            .is_some_and(|at| at.elapsed() < self.times.kept)
    }

    fn find(&self, id: &str) -> Found {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_younger =
            |at: Option<Instant>, than: Duration| at.is_some_and(|at| at.elapsed() < than);
        let may_ask = !is_younger(known.tried_at, self.times.between);
        let is_usable = is_younger(known.loaded_at, self.times.kept);
        match known.keys.get(id).filter(|_key| is_usable) {
            Some(key) if may_ask && !is_younger(known.loaded_at, self.times.fresh) => {
                Found::Old(Arc::clone(key))
            }
            Some(key) => Found::Key(Arc::clone(key)),
            None if may_ask => Found::Ask,
            None if is_usable => Found::Unknown,
            None => Found::Nothing,
        }
    }

    /// Asks for the keys, unless somebody has just done that.
    async fn ask(self: &Arc<Self>) {
        let _asking = self.asking.lock().await;
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let tried_at = known.tried_at;
            if tried_at.is_some_and(|at| at.elapsed() < self.times.between) {
                return;
            }
        }
        let ring = Arc::clone(self);
        let loaded = tokio::task::spawn_blocking(move || ring.load()).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.tried_at = Some(Instant::now());
        match loaded.map_err(|error| error.to_string()) {
            Ok(Ok(keys)) => {
                known.keys = keys;
                known.loaded_at = known.tried_at;
            }
            Ok(Err(why)) | Err(why) => {
                tracing::warn!(why, "the keys of the issuer of tokens could not be had");
            }
        }
    }

    fn load(&self) -> Result<HashMap<String, Arc<PublicKey>>, String> {
        let bytes = match &self.source {
            KeySource::File(path) => std::fs::read(path).map_err(|error| error.to_string())?,
            KeySource::Url(url) => {
                web::get(url, (&self.trust, &self.hosts)).map_err(|error| error.to_string())?
            }
        };
        let (keys, passed_over) =
            read_keys(&bytes).ok_or_else(|| "they are not a set of keys".to_owned())?;
        if keys.is_empty() {
            // The keys of before go on for their time.
            return Err("none of them can verify signatures".to_owned());
        }
        if passed_over > 0 {
            tracing::info!(
                passed_over,
                "keys of the issuer of tokens are of no use here"
            );
        }
        Ok(keys)
    }
}

/// The keys of a set that can verify signatures; those for anything else, secret ones and weak ones are passed over, and
/// counted.
fn read_keys(bytes: &[u8]) -> Option<(HashMap<String, Arc<PublicKey>>, usize)> {
    if bytes.len() > SET_BYTES_MAX {
        return None;
    }
    let set: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let keys = set.get("keys")?.as_array()?;
    let usable = keys.iter().filter_map(|key| {
        // One that is not understood does not spoil the others.
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        let id = jwk.common.key_id.clone()?;
        (id.len() <= KEY_ID_BYTES_MAX).then_some((id, Arc::new(public_key(&jwk)?)))
    });
    let usable: HashMap<_, _> = usable.take(KEYS_MAX).collect();
    let passed_over = keys.len().saturating_sub(usable.len());
    Some((usable, passed_over))
}

fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let is_strong = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => rsa.n.len() >= MODULUS_CHARS_MIN,
        AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_) => true,
        // A secret that signs is none where the public finds it.
        _ => false,
    };
    let signs = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    if !is_strong || !signs {
        return None;
    }
    let algorithm = match jwk.common.key_algorithm {
        Some(algorithm) => Some(algorithm.to_string().parse().ok()?),
        None => None,
    };
    Some(PublicKey {
        key: DecodingKey::from_jwk(jwk).ok()?,
        algorithm,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let modulus = "A".repeat(MODULUS_CHARS_MIN);
        let ed = |id: &str| json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": id });
        let set = json!({ "keys": [
            ed("ed"),
            { "kty": "RSA", "kid": "rsa", "n": modulus, "e": "AQAB", "use": "sig", "alg": "RS256" },
            { "kty": "RSA", "kid": "short", "n": "A".repeat(171), "e": "AQAB" },
            { "kty": "RSA", "kid": "sealing", "n": modulus, "e": "AQAB", "use": "enc" },
            { "kty": "oct", "kid": "secret", "k": "c2VjcmV0" },
            { "kty": "RSA", "n": modulus, "e": "AQAB" },
            { "kty": "new", "kid": "unknown" },
            7,
        ] });
        let (keys, skipped) = read_keys(set.to_string().as_bytes()).unwrap();
        assert_eq!(skipped, 6);
        let mut ids: Vec<&str> = keys.keys().map(String::as_str).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["ed", "rsa"]);
        assert_eq!(keys["rsa"].algorithm, Some(Algorithm::RS256));
        let many: Vec<_> = (0..100).map(|number| ed(&number.to_string())).collect();
        let (keys, _skipped) = read_keys(json!({ "keys": many }).to_string().as_bytes()).unwrap();
        assert_eq!(keys.len(), KEYS_MAX);
        for none in ["[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert!(read_keys(none.as_bytes()).is_none(), "{none}");
        }
    }
}
