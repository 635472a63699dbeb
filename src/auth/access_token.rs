//! Access tokens: JWTs of minutes, signed with Ed25519. One algorithm, every claim required.

use super::AuthRefusal;
use super::keys::Keys;
use super::outside_token::is_plain;
use crate::model::{Time, UserId};
use crate::store::codec::Codec;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// How long an access token is good for: long enough not to refresh all the time, short enough to lose little with one.
pub const ACCESS_SECONDS: i64 = 10 * 60;
/// Clocks of two servers differ by less than this.
const LEEWAY_SECONDS: u64 = 30;
/// A longer token is none of ours, and not worth the work.
const TOKEN_BYTES_MAX: usize = 2048;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    /// The log-in it belongs to; when that is revoked, so is the token.
    sid: i64,
    /// The user's session version.
    ver: i64,
}

/// What a good token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    pub user_id: UserId,
    pub family_id: i64,
    pub session_version: i64,
    pub expires_at: Time,
}

/// Signs and verifies access tokens.
pub struct AccessTokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    key_id: String,
    issuer: String,
    codec: Codec,
}

const AUDIENCE: &str = "mailroom";
const TYPE: &str = "at+jwt";

impl AccessTokens {
    /// With the installation's keys; `issuer` is its public URL.
    pub fn new(keys: &Keys, issuer: &str, codec: Codec) -> Self {
        Self {
            signing: EncodingKey::from_ed_der(&keys.private_der),
            verifying: DecodingKey::from_ed_der(&keys.public),
            key_id: keys.key_id.clone(),
            issuer: issuer.to_owned(),
            codec,
        }
    }

    /// A token for this user, and when it ends; `None` where signing fails, which no input causes.
    pub fn issue(
        &self,
        user_id: UserId,
        (family_id, session_version): (i64, i64),
        now: Time,
    ) -> Option<(String, Time)> {
        let expires_at = Time::from_seconds(now.seconds()).plus_seconds(ACCESS_SECONDS);
        let jti: [u8; 16] = rand::random();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: self.codec.seal_id("User", user_id.0),
            iat: now.seconds(),
            nbf: now.seconds(),
            exp: expires_at.seconds(),
            jti: blake3::hash(&jti).to_hex().chars().take(32).collect(),
            sid: family_id,
            ver: session_version,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.key_id.clone());
        match jsonwebtoken::encode(&header, &claims, &self.signing) {
            Ok(token) => Some((token, expires_at)),
            Err(error) => {
                tracing::error!(%error, "an access token could not be signed");
                None
            }
        }
    }

    /// Whether the token says that it is one of ours; nothing of it is proved.
    pub fn claims_ours(&self, token: &str) -> bool {
        let header = jsonwebtoken::decode_header(token);
        header.is_ok_and(|header| header.kid.as_deref() == Some(&self.key_id))
    }

    /// What the token says, if it is one of ours and its time is not over.
    ///
    /// # Errors
    /// `Expired` for one that was ours, else `Invalid`.
    pub fn verify(&self, token: &str, now: Time) -> Result<Verified, AuthRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthRefusal::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_error| AuthRefusal::Invalid)?;
        let is_ours = header.typ.as_deref() == Some(TYPE)
            && header.kid.as_deref() == Some(&self.key_id)
            && is_plain(&header);
        if !is_ours {
            return Err(AuthRefusal::Invalid);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "iat", "iss", "aud", "sub", "jti"]);
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation).map_err(
            |error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => AuthRefusal::Expired,
                _ => AuthRefusal::Invalid,
            },
        )?;
        let claims = decoded.claims;
        let latest = now.seconds().saturating_add(LEEWAY_SECONDS.cast_signed());
        let life = claims.exp.saturating_sub(claims.iat);
        if claims.iat > latest || claims.nbf > latest || !(1..=ACCESS_SECONDS).contains(&life) {
            return Err(AuthRefusal::Invalid);
        }
        let user = self
            .codec
            .open_id_of("User", &claims.sub)
            .ok_or(AuthRefusal::Invalid)?;
        Ok(Verified {
            user_id: UserId(user),
            family_id: claims.sid,
            session_version: claims.ver,
            expires_at: Time::from_seconds(claims.exp),
        })
    }
}
