//! The raw store: every mail byte for byte, by its BLAKE3 hash. A batch of mails is one object
//! (one durable write, one request to S3); the table `raw_mails` says where in it each mail lies.
//! Not for: reading what a mail says (that is `mail::parse`).

use super::sql::{Rows, sql};
use super::texts::Texts;
use super::{AnyConn, Store, StoreError, Tx, lock};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

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
    writes: Arc<Semaphore>,
    tried: Arc<Mutex<Option<Tried>>>,
    texts: Arc<Texts>,
}

/// What became of the last try whether anything can be written.
struct Tried {
    at: Instant,
    outcome: Result<(), String>,
}

/// What is written to see whether there is space: not quite nothing.
const TRY_BYTES: usize = 256 << 10;
/// However many ask whether there is space, it is tried so often.
const TRY_EVERY: Duration = Duration::from_millis(300);

/// Objects that are written at once: the next is on its way to the disk while one is waited for.
const WRITES_AT_ONCE: usize = 3;

/// Bytes that are read ahead at once, as many as a batch of mails is fetched with, and of one mail: reading a larger one
/// takes longer than asking for it.
const AHEAD_BYTES_MAX: u64 = 8 << 20;
const AHEAD_MAIL_BYTES_MAX: u64 = 256 << 10;
/// Objects that are read from at a time.
const AHEAD_OBJECTS_AT_ONCE: usize = 8;

/// Mails that are tried to see whether the store is there: as many may be lost themselves.
const PROBES_MAX: i64 = 3;

/// Mails whose bytes are durable, to be named by the transaction that stores what they say.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    rows: Rows,
}

/// Mails whose bytes are being made durable.
#[derive(Debug, Default)]
pub struct Keeping {
    rows: Rows,
    writes: Vec<JoinHandle<Result<(), object_store::Error>>>,
}

impl Keeping {
    /// Takes those of another batch too.
    pub fn append(&mut self, mut other: Self) {
        self.rows.append(other.rows);
        self.writes.append(&mut other.writes);
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
                writes: Arc::new(Semaphore::new(WRITES_AT_ONCE)),
                tried: Arc::default(),
                texts: Arc::default(),
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
            writes: Arc::new(Semaphore::new(WRITES_AT_ONCE)),
            tried: Arc::default(),
            texts: Arc::default(),
        })
    }

    /// The texts of mails that were just read.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Begins to make these mails durable, in one object; those that are kept already are left out.
    /// For worker threads: it blocks while several are being written, and must not be called on a thread of the async
    /// runtime.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin_to_keep_now(
        &self,
        store: &Store,
        mails: Vec<(RawHash, Bytes)>,
    ) -> Result<Keeping, StoreError> {
        let known = store.read_now(|conn| known(conn, mails.iter().map(|(hash, _raw)| hash)))?;
        let mut seen = HashSet::new();
        let new: Vec<(RawHash, Bytes)> = mails
            .into_iter()
            .filter(|(hash, _raw)| !known.contains(hash.as_slice()) && seen.insert(*hash))
            .collect();
        if new.is_empty() {
            return Ok(Keeping::default());
        }
        let hashes: Vec<&[u8]> = new.iter().map(|(hash, _raw)| hash.as_slice()).collect();
        let key = self.key_of_packed(&hashes);
        let name = key.to_string();
        let mut rows = Rows::default();
        let mut offset = 0;
        for (hash, raw) in &new {
            rows.push([
                hash.to_vec().into(),
                name.as_str().into(),
                number(offset)?.into(),
                number(raw.len())?.into(),
            ]);
            offset += raw.len();
        }
        // The bytes are written from where they came in.
        let payload: PutPayload = new.into_iter().map(|(_hash, raw)| raw).collect();
        let permit = self
            .runtime
            .block_on(Arc::clone(&self.writes).acquire_owned());
        let objects = Arc::clone(&self.objects);
        let write = self.runtime.spawn(async move {
            let _permit = permit;
            objects.put(&key, payload).await.map(drop)
        });
        Ok(Keeping {
            rows,
            writes: vec![write],
        })
    }

    /// Tries whether an object can be written; for whoever could not write one. Those who ask at the same time share a try.
    /// For worker threads.
    ///
    /// # Errors
    /// `Raw` where none can be.
    pub fn try_now(&self) -> Result<(), StoreError> {
        let mut tried = lock(&self.tried);
        let fresh = tried.take().filter(|tried| tried.at.elapsed() < TRY_EVERY);
        let last = fresh.unwrap_or_else(|| Tried {
            outcome: self.try_once(),
            at: Instant::now(),
        });
        let outcome = last.outcome.clone();
        *tried = Some(last);
        outcome.map_err(StoreError::Raw)
    }

    fn try_once(&self) -> Result<(), String> {
        // Where it stays behind, it goes with what nothing names.
        let name = format!("try/{:032x}", rand::random::<u128>());
        let written = self.put_object_now(&name, Bytes::from(vec![0; TRY_BYTES]));
        let gone = self.delete_now(&name);
        written.and(gone).map_err(|error| match error {
            StoreError::Raw(text) => text,
            other => other.to_string(),
        })
    }

    /// Makes these mails durable, in one object. For worker threads.
    ///
    /// # Errors
    /// `Raw` where the object could not be written; then nothing is kept. What the database says.
    pub fn keep_now(
        &self,
        store: &Store,
        mails: Vec<(RawHash, Bytes)>,
    ) -> Result<Durable, StoreError> {
        let keeping = self.begin_to_keep_now(store, mails)?;
        self.kept_now(keeping)
    }

    /// Waits until these mails are durable. For worker threads.
    ///
    /// # Errors
    /// `Raw` where an object could not be written; then none is kept.
    pub fn kept_now(&self, keeping: Keeping) -> Result<Durable, StoreError> {
        for write in keeping.writes {
            self.runtime
                .block_on(write)
                .map_err(|error| StoreError::Raw(error.to_string()))?
                .map_err(|error| StoreError::Raw(error.to_string()))?;
        }
        Ok(Durable { rows: keeping.rows })
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
        let key = self.key_of_packed(hashes);
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

    fn key_of_packed(&self, hashes: &[&[u8]]) -> Path {
        let mut name = blake3::Hasher::new();
        for hash in hashes {
            name.update(hash);
        }
        self.key_of(&name.finalize().to_hex())
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

    /// The bytes of those of these mails that can be read together: small ones that lie in few objects. Any other is to be got
    /// by itself, which also says why it can't be had. For worker threads, as [`RawStore::get_now`].
    ///
    /// # Errors
    /// What the database says.
    pub fn get_ahead_now(
        &self,
        store: &Store,
        hashes: &[&[u8]],
    ) -> Result<HashMap<Vec<u8>, Bytes>, StoreError> {
        let places: Vec<(Vec<u8>, String, i64, i64)> = store.read_now(|conn| {
            sql("SELECT hash, object_key, byte_offset, byte_length FROM raw_mails WHERE hash IN (")
                .any_of(hashes.iter().map(|hash| hash.to_vec()))
                .push(")")
                .rows(conn)
        })?;
        let mut by_object: HashMap<String, Vec<(Vec<u8>, Range<u64>)>> = HashMap::new();
        let mut room = AHEAD_BYTES_MAX;
        for (hash, key, offset, length) in places {
            let (Ok(start), Ok(length)) = (u64::try_from(offset), u64::try_from(length)) else {
                continue;
            };
            if length > 0 && length <= AHEAD_MAIL_BYTES_MAX && length <= room {
                room -= length;
                let wanted = by_object.entry(key).or_default();
                wanted.push((hash, start..start.saturating_add(length)));
            }
        }
        let objects = by_object.into_iter().filter_map(|(key, wanted)| {
            let key = Path::parse(&key).ok()?;
            Some(async move {
                let ranges: Vec<Range<u64>> =
                    wanted.iter().map(|(_hash, range)| range.clone()).collect();
                let all = self.objects.get_ranges(&key, &ranges).await;
                // What can't be read so is got by itself.
                let all = all.unwrap_or_default();
                wanted
                    .into_iter()
                    .zip(all)
                    .map(|((hash, _range), bytes)| (hash, bytes))
                    .filter(|(hash, bytes)| hash_of(bytes).as_slice() == hash.as_slice())
                    .collect::<Vec<_>>()
            })
        });
        let mut read = futures_util::stream::iter(objects).buffer_unordered(AHEAD_OBJECTS_AT_ONCE);
        let found = self.runtime.block_on(async {
            let mut found = HashMap::new();
            while let Some(of_one) = read.next().await {
                found.extend(of_one);
            }
            found
        });
        Ok(found)
    }

    /// Whether mails of other objects than this one's can be read, or where none are named, there is any object: then that
    /// this one can't be read is its own fault, and else the store's. For worker threads, as [`RawStore::get_now`].
    ///
    /// # Errors
    /// What the database says.
    pub fn has_others_now(&self, store: &Store, hash: &[u8]) -> Result<bool, StoreError> {
        let hash = hash.to_vec();
        let others: Vec<Vec<u8>> = store.read_now(|conn| {
            sql("SELECT hash FROM raw_mails WHERE byte_length > 0 AND object_key NOT IN (SELECT object_key FROM raw_mails WHERE hash = ")
                .bind(hash)
                .push(") ORDER BY hash LIMIT ")
                .bind(PROBES_MAX)
                .rows(conn)
        })?;
        if others.is_empty() {
            return Ok(self.list_now().is_ok_and(|listed| !listed.is_empty()));
        }
        Ok(others.iter().any(|hash| self.get_now(store, hash).is_ok()))
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

/// A file on its way into the store: what comes is written on, and never all held in memory.
pub struct Upload {
    writer: WriteMultipart,
    path: Path,
    hasher: blake3::Hasher,
    length: u64,
    length_max: u64,
}

/// What is written on at once; S3 takes parts of 5 MB and more.
const UPLOAD_PART_BYTES: usize = 5 << 20;
/// Parts under way at once.
const UPLOAD_PARTS_MAX: usize = 2;

impl RawStore {
    /// Begins an upload of at most so many bytes.
    ///
    /// # Errors
    /// `Raw` where it can't be begun.
    pub async fn upload(&self, length_max: u64) -> Result<Upload, StoreError> {
        let name = format!("{:032x}", rand::random::<u128>());
        let path = self.prefix.clone().join("upload").join(name);
        let begun = self.objects.put_multipart(&path).await;
        let begun = begun.map_err(|error| StoreError::Raw(error.to_string()))?;
        Ok(Upload {
            writer: WriteMultipart::new_with_chunk_size(begun, UPLOAD_PART_BYTES),
            path,
            hasher: blake3::Hasher::new(),
            length: 0,
            length_max,
        })
    }
}

impl Upload {
    /// Writes on; `false` where it is more than was allowed.
    ///
    /// # Errors
    /// `Raw` where it can't be written.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<bool, StoreError> {
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(more);
        if self.length > self.length_max {
            return Ok(false);
        }
        let ready = self.writer.wait_for_capacity(UPLOAD_PARTS_MAX).await;
        ready.map_err(|error| StoreError::Raw(error.to_string()))?;
        self.hasher.update(bytes);
        self.writer.write(bytes);
        Ok(true)
    }

    /// Makes it durable: what names it, its hash and its length.
    ///
    /// # Errors
    /// `Raw` where it can't be.
    pub async fn finish(self) -> Result<(Durable, RawHash, i64), StoreError> {
        let hash = *self.hasher.finalize().as_bytes();
        let length = i64::try_from(self.length).unwrap_or(i64::MAX);
        let done = self.writer.finish().await;
        done.map_err(|error| StoreError::Raw(error.to_string()))?;
        let mut rows = Rows::default();
        rows.push([
            hash.to_vec().into(),
            self.path.to_string().into(),
            0_i64.into(),
            length.into(),
        ]);
        Ok((Durable { rows }, hash, length))
    }

    /// Gives it up.
    pub async fn abort(self) {
        if let Err(error) = self.writer.abort().await {
            // What it left goes with what nothing names.
            tracing::warn!(%error, "an upload that was given up was not taken away");
        }
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
        .any_of(hashes.map(|hash| hash.to_vec()))
        .push(")")
        .rows(conn)?;
    Ok(found.into_iter().collect())
}

fn number(n: usize) -> Result<i64, StoreError> {
    i64::try_from(n).map_err(|error| StoreError::Raw(error.to_string()))
}
