//! Secrets at rest: XChaCha20-Poly1305, bound to their table, row and column, so that a sealed text moved
//! to another row does not open. The keys come from the key file; without it nothing opens.

use super::dialect::{for_share, for_update};
use super::sql::sql;
use super::{StoreError, Tx};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, PoisonError, RwLock};

/// Where a secret is kept.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub table: &'static str,
    pub row: i64,
    pub column: &'static str,
}

/// Every column that holds a sealed secret, with the column that is the row's number.
pub const SEALED: [(&str, &str, &str); 3] = [
    ("mailboxes", "id", "secret_sealed"),
    ("mailbox_grants", "mailbox_id", "client_secret_sealed"),
    ("mailbox_grants", "mailbox_id", "refresh_token_sealed"),
];

/// A key of 32 bytes, with the name by which sealed texts tell it.
#[derive(Clone)]
struct SealingKey {
    id: String,
    bytes: [u8; 32],
}

/// The name of a key: it tells nothing of it.
pub fn key_id(key: &[u8; 32]) -> String {
    blake3::hash(key).to_hex().chars().take(8).collect()
}

/// Where the keys are read again when an unknown one is named.
type ReadAgain = Arc<dyn Fn() -> Option<Vec<[u8; 32]>> + Send + Sync>;

/// Seals and opens secrets with the keys of the key file. The database says which of them seals; the others only open.
/// Cheap to clone; the clones know the same keys.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<RwLock<Vec<SealingKey>>>,
    read_again: Option<ReadAgain>,
}

impl Sealer {
    /// With keys, the newest last. `read_again` gives those that there are by now: they may have been changed
    /// by another process.
    pub fn new(keys: &[[u8; 32]], read_again: Option<ReadAgain>) -> Self {
        let sealer = Self {
            keys: Arc::default(),
            read_again,
        };
        sealer.put(keys);
        sealer
    }

    fn put(&self, keys: &[[u8; 32]]) {
        let keys = keys.iter().map(|bytes| SealingKey {
            id: key_id(bytes),
            bytes: *bytes,
        });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.collect();
    }

    fn known(&self) -> Vec<SealingKey> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    fn key(&self, id: &str) -> Option<SealingKey> {
        let find = || self.known().into_iter().find(|key| key.id == id);
        find().or_else(|| {
            self.put(&self.read_again.as_ref()?()?);
            find()
        })
    }

    /// `v1.<key id>.<nonce and sealed text>`, with the key that seals at present; it stays so until this commits.
    ///
    /// # Errors
    /// `Setting` where the key file lacks that key, or the secret is absurdly long.
    pub fn seal(
        &self,
        tx: &mut Tx<'_>,
        place: Place,
        secret: &SecretString,
    ) -> Result<String, StoreError> {
        let id = match present_key(tx)? {
            Some(id) => id,
            None => {
                let newest = self.known().pop().map(|key| key.id).ok_or_else(no_key)?;
                sql("INSERT INTO sealing_key (id, key_id) VALUES (1, ")
                    .bind(newest)
                    .push(") ON CONFLICT (id) DO NOTHING")
                    .run(tx.conn)?;
                present_key(tx)?.ok_or_else(no_key)?
            }
        };
        let key = self.key(&id).ok_or_else(no_key)?;
        seal_with(&key, place, secret)
    }

    /// Opens what was sealed for this place with one of the keys.
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
        let key = self.key(key_id).ok_or_else(failed)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_bad| failed())?;
        let (nonce, sealed) = bytes.split_at_checked(24).ok_or_else(failed)?;
        let aad = associated(place);
        let payload = Payload {
            msg: sealed,
            aad: aad.as_bytes(),
        };
        let plain = XChaCha20Poly1305::new(&key.bytes.into())
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_forged| failed())?;
        String::from_utf8(plain)
            .map(SecretString::from)
            .map_err(|_not_text| failed())
    }
}

fn no_key() -> StoreError {
    StoreError::Setting(
        "the key file lacks the key that seals secrets at present; every process needs the same file".to_owned(),
    )
}

fn seal_with(key: &SealingKey, place: Place, secret: &SecretString) -> Result<String, StoreError> {
    let nonce: [u8; 24] = rand::random();
    let aad = associated(place);
    let payload = Payload {
        msg: secret.expose_secret().as_bytes(),
        aad: aad.as_bytes(),
    };
    let sealed = XChaCha20Poly1305::new(&key.bytes.into())
        .encrypt(XNonce::from_slice(&nonce), payload)
        .map_err(|_too_long| StoreError::Setting("the secret can't be sealed".to_owned()))?;
    let bytes = [nonce.as_slice(), &sealed].concat();
    Ok(format!("v1.{}.{}", key.id, URL_SAFE_NO_PAD.encode(bytes)))
}

/// The key that seals at present, held until the transaction ends; `None` before anything was sealed.
///
/// # Errors
/// What the database says.
pub fn present_key(tx: &mut Tx<'_>) -> Result<Option<String>, StoreError> {
    let query = sql("SELECT key_id FROM sealing_key WHERE id = 1");
    for_share(tx.conn, query).one(tx.conn)
}

/// Seals with this key from the commit on.
///
/// # Errors
/// What the database says.
pub fn use_key(tx: &mut Tx<'_>, key_id: &str) -> Result<(), StoreError> {
    sql("INSERT INTO sealing_key (id, key_id) VALUES (1, ")
        .bind(key_id)
        .push(") ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id")
        .run(tx.conn)?;
    Ok(())
}

/// What became of some secrets that another key had sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Sealed anew.
    pub done: u64,
    /// Rows whose secret none of the keys opens.
    pub unopened: Vec<i64>,
    /// The last row that was looked at; `None`: there are no more.
    pub last: Option<i64>,
}

/// Seals secrets of a column of [`SEALED`] anew that another key than the present one has sealed: at most `rows_max` of
/// them, behind the row `after`.
///
/// # Errors
/// What the database says.
pub fn reseal(
    tx: &mut Tx<'_>,
    sealer: &Sealer,
    (table, id_column, column): (&'static str, &'static str, &'static str),
    (after, rows_max): (i64, i64),
) -> Result<Resealed, StoreError> {
    let present = present_key(tx)?.ok_or_else(no_key)?;
    let query = sql(format!(
        "SELECT {id_column}, {column} FROM {table} WHERE {column} IS NOT NULL AND {column} NOT LIKE "
    ))
    .bind(format!("v1.{present}.%"))
    .push(format!(" AND {id_column} > "))
    .bind(after)
    .push(format!(" ORDER BY {id_column} LIMIT {rows_max}"));
    let rows: Vec<(i64, String)> = for_update(tx.conn, query).rows(tx.conn)?;
    let mut resealed = Resealed::default();
    for (row, sealed) in rows {
        resealed.last = Some(row);
        let place = Place { table, row, column };
        match sealer.open(place, &sealed) {
            Ok(secret) => {
                let sealed = sealer.seal(tx, place, &secret)?;
                sql(format!("UPDATE {table} SET {column} = "))
                    .bind(sealed)
                    .push(format!(" WHERE {id_column} = "))
                    .bind(row)
                    .run(tx.conn)?;
                resealed.done += 1;
            }
            Err(_unopened) => resealed.unopened.push(row),
        }
    }
    Ok(resealed)
}

fn associated(place: Place) -> String {
    format!("{}/{}/{}", place.table, place.row, place.column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_where_it_was_sealed() {
        let keys = [[7; 32], [8; 32]];
        let sealer = Sealer::new(&keys, None);
        let place = Place {
            table: "mailboxes",
            row: 5,
            column: "secret_sealed",
        };
        let newest = SealingKey {
            id: key_id(&keys[1]),
            bytes: keys[1],
        };
        let sealed = seal_with(&newest, place, &SecretString::from("hunter2")).unwrap();
        assert!(!sealed.contains("hunter2"));
        let opened = sealer.open(place, &sealed).unwrap();
        assert_eq!(opened.expose_secret(), "hunter2");
        let elsewhere = [
            ("another row", Place { row: 6, ..place }),
            (
                "another column",
                Place {
                    column: "refresh_token_sealed",
                    ..place
                },
            ),
            (
                "another table",
                Place {
                    table: "mailbox_grants",
                    ..place
                },
            ),
        ];
        for (what, place) in elsewhere {
            assert!(sealer.open(place, &sealed).is_err(), "{what}");
        }
        assert!(Sealer::new(&keys[..1], None).open(place, &sealed).is_err());
        let renamed = sealed.replacen(&key_id(&keys[1]), &key_id(&keys[0]), 1);
        assert!(
            sealer.open(place, &renamed).is_err(),
            "said to be another key's"
        );
    }

    #[test]
    fn a_key_that_came_since_is_read_when_it_is_named() {
        let place = Place {
            table: "mailboxes",
            row: 5,
            column: "secret_sealed",
        };
        let new = SealingKey {
            id: key_id(&[9; 32]),
            bytes: [9; 32],
        };
        let sealed = seal_with(&new, place, &SecretString::from("x")).unwrap();
        let sealer = Sealer::new(&[[7; 32]], Some(Arc::new(|| Some(vec![[7; 32], [9; 32]]))));
        assert_eq!(sealer.open(place, &sealed).unwrap().expose_secret(), "x");
    }
}
