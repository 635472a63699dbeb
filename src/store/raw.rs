//! The raw store: every mail byte for byte, by its BLAKE3 hash. A batch of mails is one object
//! (one durable write, one request to S3); the table `raw_mails` says where in it each mail lies.
//! Not for: reading what a mail says (that is `mail::parse`).

use super::sql::{Rows, sql};
use super::{AnyConn, Store, StoreError, Tx};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::collections::HashSet;
use std::path::PathBuf;
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
    /// Where it is a folder of this machine.
    folder: Option<PathBuf>,
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
                folder: None,
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
            folder: Some(PathBuf::from(folder)),
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
        let mut hashes: Vec<&[u8]> = Vec::with_capacity(new.len());
        let mut object = BytesMut::with_capacity(new.iter().map(|(_hash, raw)| raw.len()).sum());
        let mut places = Vec::with_capacity(new.len());
        for (hash, raw) in new {
            hashes.push(hash);
            places.push((hash, object.len(), raw.len()));
            object.extend_from_slice(raw);
        }
        let key = self.put_packed_now(&hashes, object.freeze())?;
        let mut rows = Rows::default();
        for (hash, offset, length) in places {
            rows.push([
                hash.to_vec().into(),
                key.as_str().into(),
                number(offset)?.into(),
                number(length)?.into(),
            ]);
        }
        Ok(Durable { rows })
    }

    /// The name of an object within this store: its key without the store's own prefix.
    pub fn local_name(&self, key: &str) -> Option<String> {
        let key = Path::parse(key).ok()?;
        let rest = key.prefix_match(&self.prefix)?;
        Some(rest.collect::<Path>().to_string())
    }

    /// The key of the object that has this name within a store.
    ///
    /// # Errors
    /// `Raw` for a name that none can have.
    pub fn key_named(&self, name: &str) -> Result<String, StoreError> {
        Ok(self.path_named(name)?.to_string())
    }

    fn path_named(&self, name: &str) -> Result<Path, StoreError> {
        let name = Path::parse(name).map_err(|error| StoreError::Raw(error.to_string()))?;
        let mut path = self.prefix.clone();
        for part in name.parts() {
            path = path.join(part);
        }
        Ok(path)
    }

    /// The whole object of this name; `None` where there is none. For worker threads.
    ///
    /// # Errors
    /// `Raw` where it can't be read.
    pub fn object_now(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.path_named(name)?;
        let found = self.runtime.block_on(async {
            match self.objects.get(&path).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        found.map_err(|error| StoreError::Raw(error.to_string()))
    }

    /// Makes an object durable. For worker threads.
    ///
    /// # Errors
    /// `Raw` where it can't be written.
    pub fn put_object_now(&self, name: &str, object: Bytes) -> Result<(), StoreError> {
        let path = self.path_named(name)?;
        self.runtime
            .block_on(self.objects.put(&path, PutPayload::from_bytes(object)))
            .map(drop)
            .map_err(|error| StoreError::Raw(error.to_string()))
    }

    /// Takes an object away, if it is there. For worker threads.
    ///
    /// # Errors
    /// `Raw` where it can't be.
    pub fn delete_now(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path_named(name)?;
        match self.runtime.block_on(self.objects.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::Raw(error.to_string())),
        }
    }

    /// Every object: its name, its bytes, and when it was written (microseconds since 1970). For worker threads.
    ///
    /// # Errors
    /// `Raw` where they can't be listed.
    pub fn list_now(&self) -> Result<Vec<(String, u64, i64)>, StoreError> {
        let listed: Result<Vec<_>, _> = self
            .runtime
            .block_on(self.objects.list(Some(&self.prefix)).try_collect());
        let listed = listed.map_err(|error| StoreError::Raw(error.to_string()))?;
        Ok(listed
            .into_iter()
            .filter_map(|object| {
                let name = self.local_name(object.location.as_ref())?;
                Some((name, object.size, object.last_modified.timestamp_micros()))
            })
            .collect())
    }

    /// Whether there is no object. For worker threads.
    ///
    /// # Errors
    /// `Raw` where they can't be listed.
    pub fn is_empty_now(&self) -> Result<bool, StoreError> {
        let first = self
            .runtime
            .block_on(self.objects.list(Some(&self.prefix)).try_next())
            .map_err(|error| StoreError::Raw(error.to_string()))?;
        Ok(first.is_none())
    }

    /// Makes mails durable that lie one behind the other; the key of their object. It is named by what is in it, of which
    /// the mails' hashes say everything. For worker threads.
    ///
    /// # Errors
    /// `Raw` where it can't be written.
    pub fn put_packed_now(&self, hashes: &[&[u8]], object: Bytes) -> Result<String, StoreError> {
        let mut name = blake3::Hasher::new();
        for hash in hashes {
            name.update(hash);
        }
        let key = self.key_of(&name.finalize().to_hex());
        self.runtime
            .block_on(self.objects.put(&key, PutPayload::from_bytes(object)))
            .map_err(|error| StoreError::Raw(error.to_string()))?;
        Ok(key.to_string())
    }

    /// When an object was written, in microseconds since 1970; `None` where there is none. For worker threads.
    ///
    /// # Errors
    /// `Raw` where it can't be told.
    pub fn modified_now(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let path = self.path_named(name)?;
        match self.runtime.block_on(self.objects.head(&path)) {
            Ok(found) => Ok(Some(found.last_modified.timestamp_micros())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StoreError::Raw(error.to_string())),
        }
    }

    /// Removes what writers that were ended left half written in a folder (`name#1`) before this moment, in
    /// microseconds since 1970. Other stores show nothing half written.
    ///
    /// # Errors
    /// `Raw` where the folder can't be read.
    pub fn remove_drafts_now(&self, before: i64) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::Raw(error.to_string());
        let mut folders: Vec<PathBuf> = self.folder.iter().cloned().collect();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // What is gone meanwhile is no draft any more.
                let Ok(about) = entry.metadata() else {
                    continue;
                };
                let modified = about.modified().ok().and_then(|at| {
                    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
                    i64::try_from(since.as_micros()).ok()
                });
                let name = entry.file_name();
                let is_draft =
                    name.to_string_lossy()
                        .rsplit_once('#')
                        .is_some_and(|(_name, number)| {
                            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
                        });
                if about.is_dir() {
                    folders.push(entry.path());
                } else if is_draft && modified.is_some_and(|at| at < before) {
                    std::fs::remove_file(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    fn key_of(&self, hash: &str) -> Path {
        let front: String = hash.chars().take(2).collect();
        self.prefix.clone().join("mail").join(front).join(hash)
    }

    /// The bytes of a mail, on this thread. For worker threads.
    ///
    /// # Errors
    /// As [`RawStore::get`].
    pub fn get_now(&self, store: &Store, hash: &[u8]) -> Result<Bytes, StoreError> {
        self.runtime.block_on(self.get(store, hash))
    }

    /// The bytes of a mail.
    ///
    /// # Errors
    /// `Raw` where they are missing or can't be read, or are not what was written.
    pub async fn get(&self, store: &Store, hash: &[u8]) -> Result<Bytes, StoreError> {
        match self.get_once(store, hash).await {
            // Upkeep may have moved it between the look at its place and the reading.
            Err(_moved) => self.get_once(store, hash).await,
            found => found,
        }
    }

    async fn get_once(&self, store: &Store, hash: &[u8]) -> Result<Bytes, StoreError> {
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
