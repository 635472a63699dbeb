//! Secrets at rest: XChaCha20-Poly1305, bound to their table, row and column, so that a sealed text moved
//! to another row does not open. The key comes from the key file; without it nothing opens.

use super::StoreError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretString};

/// Where a secret is kept.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub table: &'static str,
    pub row: i64,
    pub column: &'static str,
}

/// Seals and opens secrets with one key.
#[derive(Clone)]
pub struct Sealer {
    key: [u8; 32],
    key_id: String,
}

impl Sealer {
    /// With a key of 32 bytes.
    pub fn new(key: [u8; 32]) -> Self {
        let key_id = blake3::hash(&key).to_hex().chars().take(8).collect();
        Self { key, key_id }
    }

    /// `v1.<key id>.<nonce and sealed text>`.
    ///
    /// # Errors
    /// `Setting` where the secret is absurdly long.
    pub fn seal(&self, place: Place, secret: &SecretString) -> Result<String, StoreError> {
        let nonce: [u8; 24] = rand::random();
        let aad = associated(place);
        let payload = Payload {
            msg: secret.expose_secret().as_bytes(),
            aad: aad.as_bytes(),
        };
        let sealed = XChaCha20Poly1305::new(&self.key.into())
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_too_long| StoreError::Setting("the secret can't be sealed".to_owned()))?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(format!(
            "v1.{}.{}",
            self.key_id,
            URL_SAFE_NO_PAD.encode(bytes)
        ))
    }

    /// Opens what was sealed for this place with this key.
    ///
    /// # Errors
    /// `Setting` where it was sealed with another key, for another place, or was changed.
    pub fn open(&self, place: Place, sealed: &str) -> Result<SecretString, StoreError> {
        let failed = || {
            StoreError::Setting(format!(
                "the secret in {}.{} can't be opened with this key file",
                place.table, place.column
            ))
        };
        let mut parts = sealed.splitn(3, '.');
        let (Some("v1"), Some(key_id), Some(text)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(failed());
        };
        if key_id != self.key_id {
            return Err(failed());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_bad| failed())?;
        let (nonce, sealed) = bytes.split_at_checked(24).ok_or_else(failed)?;
        let aad = associated(place);
        let payload = Payload {
            msg: sealed,
            aad: aad.as_bytes(),
        };
        let plain = XChaCha20Poly1305::new(&self.key.into())
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_forged| failed())?;
        String::from_utf8(plain)
            .map(SecretString::from)
            .map_err(|_not_text| failed())
    }
}

fn associated(place: Place) -> String {
    format!("{}/{}/{}", place.table, place.row, place.column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_where_it_was_sealed() {
        let sealer = Sealer::new([7; 32]);
        let place = Place {
            table: "mailboxes",
            row: 5,
            column: "secret_sealed",
        };
        let sealed = sealer.seal(place, &SecretString::from("hunter2")).unwrap();
        assert!(!sealed.contains("hunter2"));
        let opened = sealer.open(place, &sealed).unwrap();
        assert_eq!(opened.expose_secret(), "hunter2");
        assert!(sealer.open(Place { row: 6, ..place }, &sealed).is_err());
        assert!(Sealer::new([8; 32]).open(place, &sealed).is_err());
    }
}
