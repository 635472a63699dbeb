//! Tokens that somebody else issues (OpenID Connect): whose they are, once their signature, issuer, audience and times hold.
//! The algorithms are those that the operator named, never those that a token names.
//! Not for: where the issuer's keys come from (`key_ring`), or which user it is (`accounts`).

use super::AuthRefusal;
use super::key_ring::KeyRing;
use crate::model::Time;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::Deserialize;
use std::sync::Arc;

/// Clocks of two machines differ by less than this.
const LEEWAY_SECONDS: u64 = 30;
/// Tokens with many groups in them have 4 KB.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// What an issuer takes back is known only when its tokens end: longer ones are not taken.
const LIFE_SECONDS_MAX: i64 = 24 * 3600;
/// Subjects are at most this long (OpenID Connect Core, section 2).
const SUBJECT_BYTES_MAX: usize = 255;

/// By what an outside token's user is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// By the subject alone, once an operator has named whose it is.
    Subject,
    /// By the subject, and the first time by the address that the issuer has verified.
    Address,
}

/// An issuer that is believed.
pub struct OutsideTokens {
    pub issuer: String,
    audience: String,
    algorithms: Vec<Algorithm>,
    pub found_by: FoundBy,
    keys: Arc<KeyRing>,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub subject: String,
    /// Only where the issuer says that it has verified it.
    pub address: Option<String>,
    pub expires_at: Time,
}

/// One audience or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Read strictly: a time that is a text, a fraction or null is none, and a member that comes twice spoils the token.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    iat: i64,
    nbf: Option<i64>,
    exp: i64,
    email: Option<String>,
    email_verified: Option<bool>,
}

/// The algorithms that may be named: signatures by a private key alone.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Reads names of algorithms; `None` where one is not among those that may be used.
pub fn read_algorithms(names: &[String]) -> Option<Vec<Algorithm>> {
    let known = names.iter().map(|name| {
        let algorithm: Algorithm = name.parse().ok()?;
        ALGORITHMS.contains(&algorithm).then_some(algorithm)
    });
    known
        .collect::<Option<Vec<_>>>()
        .filter(|known| !known.is_empty())
}

/// What a header must not have: it would say something about how the token is to be read.
pub(super) fn is_plain(header: &Header) -> bool {
    header.crit.is_none()
        && header.enc.is_none()
        && header.zip.is_none()
        && header.jku.is_none()
        && header.jwk.is_none()
        && header.x5u.is_none()
        && !header.extras.inner().contains_key("b64")
}

impl OutsideTokens {
    /// An issuer with its keys.
    pub fn new(
        (issuer, audience): (String, String),
        algorithms: Vec<Algorithm>,
        found_by: FoundBy,
        keys: Arc<KeyRing>,
    ) -> Self {
        Self {
            issuer,
            audience,
            algorithms,
            found_by,
            keys,
        }
    }

    /// Whose the token is, if it is a good one.
    ///
    /// # Errors
    /// `Expired` for one that was good, `Unavailable` while the issuer's keys can't be had, else `Invalid`.
    pub async fn verify(&self, token: &str, now: Time) -> Result<Subject, AuthRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthRefusal::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_error| AuthRefusal::Invalid)?;
        let is_ours = matches!(header.typ.as_deref(), None | Some("JWT" | "jwt" | "at+jwt"));
        if !is_ours || !is_plain(&header) || !self.algorithms.contains(&header.alg) {
            return Err(AuthRefusal::Invalid);
        }
        let id = header.kid.as_deref().ok_or(AuthRefusal::Invalid)?;
        let key = self.keys.key(id).await?;
        if key
            .algorithm
            .is_some_and(|algorithm| algorithm != header.alg)
        {
            return Err(AuthRefusal::Invalid);
        }
        let claims = self.decode(token, header.alg, &key.key)?;
        self.judge(claims, now)
    }

    fn decode(
        &self,
        token: &str,
        algorithm: Algorithm,
        key: &DecodingKey,
    ) -> Result<Claims, AuthRefusal> {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation);
        decoded
            .map(|decoded| decoded.claims)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => AuthRefusal::Expired,
                _ => AuthRefusal::Invalid,
            })
    }

    /// The same once more in our own words, and what the library does not look at.
    fn judge(&self, claims: Claims, now: Time) -> Result<Subject, AuthRefusal> {
        let is_for_us = match &claims.aud {
            Audience::One(audience) => *audience == self.audience,
            Audience::Many(audiences) => audiences.contains(&self.audience),
        };
        let latest = now.seconds().saturating_add(LEEWAY_SECONDS.cast_signed());
        let is_timely = claims.iat <= latest
            && claims.nbf.is_none_or(|nbf| nbf <= latest)
            && claims.exp > claims.iat
            && claims.exp.saturating_sub(claims.iat) <= LIFE_SECONDS_MAX;
        let has_subject = (1..=SUBJECT_BYTES_MAX).contains(&claims.sub.len());
        if claims.iss != self.issuer || !is_for_us || !is_timely || !has_subject {
            return Err(AuthRefusal::Invalid);
        }
        let is_verified = claims.email_verified == Some(true);
        Ok(Subject {
            subject: claims.sub,
            address: claims.email.filter(|_address| is_verified),
            expires_at: Time::from_seconds(claims.exp),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signatures_by_private_keys_may_be_named() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let both = read_algorithms(&names(&["RS256", "EdDSA"]));
        assert_eq!(both, Some(vec![Algorithm::RS256, Algorithm::EdDSA]));
        for refused in [&["HS256"][..], &["none"], &["RS256", "HS512"], &[], &[""]] {
            assert_eq!(read_algorithms(&names(refused)), None, "{refused:?}");
        }
    }
}
