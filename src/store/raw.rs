//! The raw store: every mail byte for byte, by its BLAKE3 hash. A batch of mails is one object
//! (one durable write, one request to S3); the table `raw_mails` says where in it each mail lies.
//! Not for: reading what a mail says (that is `mail::parse`).

use super::sql::{Rows, sql};
use super::{AnyConn, Store, StoreError, Tx};
use bytes::{Bytes, BytesMut};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::collections::HashSet;
use std::sync::Arc;

/// The BLAKE3 hash of a mail's bytes.
pub type RawHash = [u8; 32];

/// The hash by which a mail is kept.
pub fn hash_of(raw: &[u8]) -> RawHash {
    *blake3::hash(raw).as_bytes()
}

/// Where the bytes of mails are kept. Cheap to clone.
#[derive(Clone)]
pub struct RawStore {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    runtime: tokio::runtime::Handle,
}

/// Mails whose bytes are durable, to be named by the transaction that stores what they say.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    rows: Rows,
}

impl Durable {
    /// Takes those of another batch too.
    pub fn append(&mut self, other: Self) {
        self.rows.append(other.rows);
    }
}

impl RawStore {
    /// By URL: a folder (`file:///path` or a bare path, made if missing) or `s3://bucket/prefix`
    /// (credentials and endpoint from the usual `AWS_…` variables).
    ///
    /// # Errors
    /// `Setting` for a URL that can't be used.
    pub fn open(url: &str, runtime: tokio::runtime::Handle) -> Result<Self, StoreError> {
        let setting = |error: &dyn std::fmt::Display| {
            StoreError::Setting(format!("the raw store {url} can't be used: {error}"))
        };
        if let Some(rest) = url.strip_prefix("s3://") {
            let prefix = rest.split_once('/').map_or("", |(_bucket, prefix)| prefix);
            let objects = AmazonS3Builder::from_env()
                .with_url(url)
                .build()
                .map_err(|error| setting(&error))?;
            return Ok(Self {
                objects: Arc::new(objects),
                prefix: Path::parse(prefix).map_err(|error| setting(&error))?,
                runtime,
            });
        }
        let folder = url.strip_prefix("file://").unwrap_or(url);
        if folder.contains("://") {
            return Err(setting(&"only file:// and s3:// are known"));
        }
        std::fs::create_dir_all(folder).map_err(|error| setting(&error))?;
        // Bytes must be durable before the transaction that names them.
        let objects = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| setting(&error))?
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            prefix: Path::default(),
            runtime,
        })
    }

    /// Makes these mails durable, in one object; those that are kept already are left out.
    /// For worker threads: it blocks, and must not be called on a thread of the async runtime.
    ///
    /// # Errors
    /// `Raw` where the object could not be written; then nothing is kept.
    pub fn keep_now(
        &self,
        store: &Store,
        mails: &[(RawHash, Bytes)],
    ) -> Result<Durable, StoreError> {
        let known = store.read_now(|conn| known(conn, mails.iter().map(|(hash, _raw)| hash)))?;
        let mut seen = HashSet::new();
        let new: Vec<&(RawHash, Bytes)> = mails
            .iter()
            .filter(|(hash, _raw)| !known.contains(hash.as_slice()) && seen.insert(*hash))
            .collect();
        if new.is_empty() {
            return Ok(Durable::default());
        }
        // Named by what is in it, of which the mails' hashes say everything.
        let mut name = blake3::Hasher::new();
        let mut object = BytesMut::with_capacity(new.iter().map(|(_hash, raw)| raw.len()).sum());
        let mut places = Vec::with_capacity(new.len());
        for (hash, raw) in new {
            name.update(hash);
            places.push((hash, object.len(), raw.len()));
            object.extend_from_slice(raw);
        }
        let object = object.freeze();
        let key = self.key_of(&name.finalize().to_hex());
        let payload = PutPayload::from_bytes(object);
        self.runtime
            .block_on(self.objects.put(&key, payload))
            .map_err(|error| StoreError::Raw(error.to_string()))?;
        let mut rows = Rows::default();
        for (hash, offset, length) in places {
            rows.push([
                hash.to_vec().into(),
                key.to_string().into(),
                number(offset)?.into(),
                number(length)?.into(),
            ]);
        }
        Ok(Durable { rows })
    }

    fn key_of(&self, hash: &str) -> Path {
        let front: String = hash.chars().take(2).collect();
        self.prefix.clone().join("mail").join(front).join(hash)
    }

    /// The bytes of a mail.
    ///
    /// # Errors
    /// `Raw` where they are missing or can't be read, or are not what was written.
    pub async fn get(&self, store: &Store, hash: &[u8]) -> Result<Bytes, StoreError> {
        let wanted = hash.to_vec();
        let place: Option<(String, i64, i64)> = store
            .read(move |conn| {
                sql("SELECT object_key, byte_offset, byte_length FROM raw_mails WHERE hash = ")
                    .bind(wanted)
                    .one(conn)
            })
            .await?;
        let (key, offset, length) =
            place.ok_or_else(|| StoreError::Raw("no such mail is kept".to_owned()))?;
        let bad = |error: &dyn std::fmt::Display| StoreError::Raw(error.to_string());
        let start = u64::try_from(offset).map_err(|error| bad(&error))?;
        let length = u64::try_from(length).map_err(|error| bad(&error))?;
        let key = Path::parse(&key).map_err(|error| bad(&error))?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let bytes = self
            .objects
            .get_range(&key, start..start.saturating_add(length))
            .await
            .map_err(|error| bad(&error))?;
        if hash_of(&bytes).as_slice() != hash {
            return Err(StoreError::Raw(
                "a kept mail is not what was written".to_owned(),
            ));
        }
        Ok(bytes)
    }
}

/// Names durable bytes in this transaction. Another writer may have kept the same mail meanwhile: its copy serves too.
///
/// # Errors
/// What the database says.
pub fn name(tx: &mut Tx<'_>, durable: &Durable) -> Result<(), StoreError> {
    durable.rows.insert(
        tx.conn,
        "raw_mails (hash, object_key, byte_offset, byte_length)",
        " ON CONFLICT (hash) DO NOTHING",
    )
}

fn known<'h>(
    conn: &mut AnyConn,
    hashes: impl Iterator<Item = &'h RawHash>,
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let found: Vec<Vec<u8>> = sql("SELECT hash FROM raw_mails WHERE hash IN (")
        .list(hashes.map(|hash| hash.to_vec()))
        .push(")")
        .rows(conn)?;
    Ok(found.into_iter().collect())
}

fn number(n: usize) -> Result<i64, StoreError> {
    i64::try_from(n).map_err(|error| StoreError::Raw(error.to_string()))
}
