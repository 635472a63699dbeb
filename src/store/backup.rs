//! The whole installation in one archive, and back from it, on either database (R48). Rows are read as of one moment
//! and written as JSON, so that an archive of one database restores into the other; raw objects come after them, so
//! that every named one is there.
//! Not for: erasing or moving single things.

use super::archive::{ArchiveError, ArchiveReader, ArchiveWriter, BlockKind};
use super::catalog::{self, ColumnKind, Table};
use super::raw::{RawHash, RawStore, hash_of};
use super::sql::{Value, sql};
use super::{AnyConn, Store, StoreError, db};
use crate::model::Time;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use thiserror::Error;

/// Rows that are read and written at once.
const ROWS_PER_PAGE: usize = 1000;
/// A copy begins so far behind the ids and positions of its original, which went on after the backup: nothing that
/// clients hold from then names something else in the copy. There are 2^63 of each.
const JUMP: i64 = 1 << 40;

/// Why there is no backup, or no copy.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The archive is not whole.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The database or raw store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was made by a version that knows more than this one, or another order of tables.
    #[error("the backup does not fit this version of Mailroom: {0}")]
    Version(String),
    /// It says something that no backup says.
    #[error("the backup is damaged: {0}")]
    Content(String),
    /// Something is there already; nothing is overwritten.
    #[error("{0} is not empty; a backup is restored into a new installation only")]
    NotEmpty(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    made_at: i64,
    program: String,
    migrations: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Counts {
    rows: u64,
    objects: u64,
    missing: u64,
}

/// What is in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    pub made_at: Time,
    /// Of the Mailroom that made it.
    pub program: String,
    pub rows: u64,
    pub mails: u64,
    pub objects: u64,
    /// Names of objects that were not to be had, or not what was written.
    pub missing: Vec<String>,
    /// The text of the key file, if it is in it.
    pub key_file: Option<String>,
    migrations: Vec<String>,
}

/// Where a mail lies in its object.
struct MailPlace {
    hash: Vec<u8>,
    offset: i64,
    length: i64,
}

/// The mails of each object, by its name within the raw store.
type Objects = BTreeMap<String, Vec<MailPlace>>;

/// Writes everything that belongs to the installation; for worker threads. `tick` is called between blocks.
///
/// # Errors
/// What the file or the database says. Raw objects that can't be read are named in the answer instead.
pub fn back_up_now(
    (store, raw): (&Store, &RawStore),
    out: &mut dyn Write,
    (now, key_file): (Time, Option<&str>),
    tick: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<Contents, BackupError> {
    let mut writer = ArchiveWriter::new(out)?;
    let mut counts = Counts::default();
    let (header, objects) = store.read_moment_now(|conn| {
        Ok(write_rows(
            conn,
            raw,
            (&mut writer, &mut counts),
            (now, key_file),
            tick,
        ))
    })??;
    let mut missing = Vec::new();
    let mut mails = 0;
    for (name, places) in &objects {
        mails += count(places.len());
        let object = raw.object_now(name)?;
        match object.filter(|object| first_damaged(object, places).is_none()) {
            Some(object) => {
                writer.block(BlockKind::Object, &[name.as_bytes(), b"\n", &object])?;
                counts.objects += 1;
            }
            None => {
                writer.block(BlockKind::Missing, &[name.as_bytes()])?;
                counts.missing += 1;
                missing.push(name.clone());
            }
        }
        tick()?;
    }
    writer.block(BlockKind::End, &[&json(&counts)?])?;
    out.flush().map_err(ArchiveError::from)?;
    Ok(Contents {
        made_at: now,
        program: header.program,
        rows: counts.rows,
        mails,
        objects: counts.objects,
        missing,
        key_file: key_file.map(str::to_owned),
        migrations: header.migrations,
    })
}

fn write_rows(
    conn: &mut AnyConn,
    raw: &RawStore,
    (writer, counts): (&mut ArchiveWriter<'_>, &mut Counts),
    (now, key_file): (Time, Option<&str>),
    tick: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<(Header, Objects), BackupError> {
    let header = Header {
        made_at: now.micros(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        migrations: db::applied(conn)?,
    };
    writer.block(BlockKind::Header, &[&json(&header)?])?;
    if let Some(text) = key_file {
        writer.block(BlockKind::KeyFile, &[text.as_bytes()])?;
    }
    let mut objects = Objects::new();
    for table in catalog::tables(conn)? {
        writer.block(BlockKind::Table, &[&json(&table)?])?;
        let mut after = None;
        loop {
            let mut rows = catalog::page(conn, &table, after.as_deref(), ROWS_PER_PAGE)?;
            if table.name == RAW_MAILS {
                rows = rows
                    .into_iter()
                    .map(|row| with_local_name(raw, &table, &row, &mut objects))
                    .collect::<Result<_, _>>()?;
            }
            let Some(last) = rows.last() else { break };
            after = catalog::key_of(&table, &parsed(&table, last)?);
            counts.rows += count(rows.len());
            let packed = lz4_flex::compress_prepend_size(rows.join("\n").as_bytes());
            writer.block(BlockKind::Rows, &[&packed])?;
            tick()?;
            if after.is_none() {
                break;
            }
        }
    }
    Ok((header, objects))
}

const RAW_MAILS: &str = "raw_mails";

/// A row of `raw_mails` with its object's name as it is within any raw store; the place is noted.
fn with_local_name(
    raw: &RawStore,
    table: &Table,
    row: &str,
    objects: &mut Objects,
) -> Result<String, BackupError> {
    let mut values: Vec<serde_json::Value> =
        serde_json::from_str(row).map_err(|error| BackupError::Content(error.to_string()))?;
    let column = table
        .column("object_key")
        .ok_or_else(|| BackupError::Version("raw mails have no object".to_owned()))?;
    if let Some(value) = values.get_mut(column) {
        let name = value.as_str().and_then(|key| raw.local_name(key));
        *value = name.map_or_else(|| value.clone(), serde_json::Value::from);
    }
    let row = serde_json::Value::from(values).to_string();
    note_place(table, &parsed(table, &row)?, objects)?;
    Ok(row)
}

fn note_place(table: &Table, row: &[Value], objects: &mut Objects) -> Result<(), BackupError> {
    let at = |name: &str| table.column(name).and_then(|column| row.get(column));
    match (
        at("hash"),
        at("object_key"),
        at("byte_offset"),
        at("byte_length"),
    ) {
        (
            Some(Value::Bytes(hash)),
            Some(Value::Text(name)),
            Some(Value::I64(offset)),
            Some(Value::I64(length)),
        ) => {
            // An empty mail needs no object.
            if *length == 0 {
                return Ok(());
            }
            objects.entry(name.clone()).or_default().push(MailPlace {
                hash: hash.clone(),
                offset: *offset,
                length: *length,
            });
            Ok(())
        }
        _ => Err(BackupError::Content(
            "a raw mail has no place in an object".to_owned(),
        )),
    }
}

/// The first mail that is not in its place.
fn first_damaged<'p>(object: &[u8], places: &'p [MailPlace]) -> Option<&'p MailPlace> {
    places.iter().find(|place| {
        let start = usize::try_from(place.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(place.length).unwrap_or(usize::MAX));
        let found: Option<RawHash> = object.get(start..end).map(hash_of);
        found.is_none_or(|hash| hash.as_slice() != place.hash)
    })
}

/// Reads a whole archive and proves it: each block, each mail's hash, and that nothing is left out.
///
/// # Errors
/// What is wrong with it.
pub fn verify_now(path: &Path) -> Result<Contents, BackupError> {
    let mut reader = open(path)?;
    let mut found = Found::default();
    while let Some((kind, payload)) = reader.next_block()? {
        found.take(kind, &payload)?;
    }
    found.contents()
}

/// What has been seen of an archive while it is read.
#[derive(Default)]
struct Found {
    header: Option<Header>,
    key_file: Option<String>,
    table: Option<Table>,
    counts: Counts,
    promised: Option<Counts>,
    mails: u64,
    objects: Objects,
    missing: Vec<String>,
}

impl Found {
    fn take(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(), BackupError> {
        match kind {
            BlockKind::Header => self.header = Some(from_json(payload)?),
            BlockKind::KeyFile => self.key_file = Some(text(payload)?.to_owned()),
            BlockKind::Table => self.table = Some(from_json(payload)?),
            BlockKind::Rows => {
                let table = self.table.as_ref().ok_or_else(no_table)?;
                for row in rows(table, payload)? {
                    self.counts.rows += 1;
                    if table.name == RAW_MAILS {
                        note_place(table, &row, &mut self.objects)?;
                        self.mails += 1;
                    }
                }
            }
            BlockKind::Object => {
                let (name, object) = named_object(payload)?;
                let places = self.objects.remove(name).unwrap_or_default();
                if first_damaged(object, &places).is_some() {
                    return Err(BackupError::Content(format!(
                        "a mail in {name} is not what was written"
                    )));
                }
                self.counts.objects += 1;
            }
            BlockKind::Missing => {
                let name = text(payload)?.to_owned();
                self.objects.remove(&name);
                self.missing.push(name);
                self.counts.missing += 1;
            }
            BlockKind::End => self.promised = Some(from_json(payload)?),
        }
        Ok(())
    }

    fn contents(self) -> Result<Contents, BackupError> {
        let header = self
            .header
            .ok_or_else(|| BackupError::Content("it has no header".to_owned()))?;
        if self.promised != Some(self.counts) {
            return Err(BackupError::Content(
                "it holds another number of rows or objects than it says".to_owned(),
            ));
        }
        if let Some(name) = self.objects.keys().next() {
            return Err(BackupError::Content(format!("it lacks the object {name}")));
        }
        Ok(Contents {
            made_at: Time::from_micros(header.made_at),
            program: header.program,
            rows: self.counts.rows,
            mails: self.mails,
            objects: self.counts.objects,
            missing: self.missing,
            key_file: self.key_file,
            migrations: header.migrations,
        })
    }
}

/// Makes a new installation of an archive that [`verify_now`] has proved: raw objects first, then the rows in one
/// transaction. Where it fails, what it wrote is taken back.
///
/// # Errors
/// `NotEmpty` where anything is there already, `Version` where this version can't read it.
pub fn restore_now(
    (url, raw): (&str, &RawStore),
    path: &Path,
    contents: &Contents,
    now: Time,
) -> Result<(), BackupError> {
    let kind = db::Kind::of_url(url)?;
    let database = db::sqlite_path(url);
    let was_there = kind == db::Kind::Postgresql || Path::new(database).exists();
    let outcome = restore_into(url, raw, path, (contents, now));
    if outcome.is_err() && !was_there {
        for end in ["", "-wal", "-shm"] {
            // Nothing of it was there before; what is not there now need not be removed.
            drop(std::fs::remove_file(format!("{database}{end}")));
        }
    }
    outcome
}

fn restore_into(
    url: &str,
    raw: &RawStore,
    path: &Path,
    (contents, now): (&Contents, Time),
) -> Result<(), BackupError> {
    let mut conn = db::connect_alone(url)?;
    if !is_empty(&mut conn)? {
        return Err(BackupError::NotEmpty("the database".to_owned()));
    }
    if !raw.is_empty_now()? {
        return Err(BackupError::NotEmpty("the raw store".to_owned()));
    }
    db::migrate_as(&mut conn, &contents.migrations).map_err(BackupError::Version)?;
    let outcome = put_objects(raw, path).and_then(|()| {
        db::begin_write(&mut conn)?;
        let loaded = load(&mut conn, raw, path, now);
        match loaded {
            Ok(()) => Ok(db::commit(&mut conn)?),
            Err(error) => {
                db::rollback(&mut conn);
                Err(error)
            }
        }
    });
    if let Err(error) = outcome {
        for (key, _bytes, _modified) in raw.list_now()? {
            raw.delete_now(&key)?;
        }
        return Err(error);
    }
    db::migrate(&mut conn)?;
    catalog::analyze(&mut conn)?;
    Ok(())
}

/// Whether no installation is there. Tables without one are what a restore left that was ended.
fn is_empty(conn: &mut AnyConn) -> Result<bool, StoreError> {
    let is_there = catalog::tables(conn)?
        .iter()
        .any(|table| table.name == "installation");
    if !is_there {
        return Ok(true);
    }
    let found: Option<i64> = sql("SELECT count(*) FROM installation").one(conn)?;
    Ok(found.unwrap_or(0) == 0)
}

fn put_objects(raw: &RawStore, path: &Path) -> Result<(), BackupError> {
    let mut reader = open(path)?;
    while let Some((kind, payload)) = reader.next_block()? {
        if kind == BlockKind::Object {
            let payload = Bytes::from(payload);
            let (name, object) = named_object(&payload)?;
            raw.put_object_now(name, payload.slice_ref(object))?;
        }
    }
    Ok(())
}

fn load(conn: &mut AnyConn, raw: &RawStore, path: &Path, now: Time) -> Result<(), BackupError> {
    let known = catalog::tables(conn)?;
    let constraints = catalog::defer_constraints(conn)?;
    for table in &known {
        catalog::delete_all(conn, table)?;
    }
    let mut reader = open(path)?;
    let mut table: Option<Table> = None;
    let mut loaded = 0;
    while let Some((kind, payload)) = reader.next_block()? {
        match kind {
            BlockKind::Table => {
                let next: Table = from_json(&payload)?;
                if !known.iter().any(|table| table.is_like(&next)) {
                    return Err(BackupError::Version(format!(
                        "its table {} is another",
                        next.name
                    )));
                }
                loaded += 1;
                table = Some(next);
            }
            BlockKind::Rows => {
                let table = table.as_ref().ok_or_else(no_table)?;
                let rows = rows(table, &payload)?;
                let rows = rows.into_iter().map(|row| with_full_key(raw, table, row));
                catalog::insert(conn, table, rows.collect::<Result<_, _>>()?)?;
            }
            _ => {}
        }
    }
    if loaded != known.len() {
        return Err(BackupError::Version("tables are missing in it".to_owned()));
    }
    begin_anew(conn, now)?;
    catalog::restore_constraints(conn, constraints)?;
    Ok(())
}

fn with_full_key(
    raw: &RawStore,
    table: &Table,
    mut row: Vec<Value>,
) -> Result<Vec<Value>, BackupError> {
    if table.name == RAW_MAILS
        && let Some(Value::Text(name)) = table
            .column("object_key")
            .and_then(|column| row.get_mut(column))
    {
        *name = raw.key_named(name)?;
    }
    Ok(row)
}

/// The copy goes on apart from its original: far behind its ids and positions, with nobody at work, and whoever
/// comes with a cursor of the original is told to read everything again.
fn begin_anew(conn: &mut AnyConn, now: Time) -> Result<(), StoreError> {
    sql("UPDATE id_blocks SET next_id = next_id + ")
        .bind(JUMP)
        .run(conn)?;
    sql("UPDATE leases SET expires_at = 0").run(conn)?;
    sql("UPDATE rights_epoch SET epoch = epoch + 1").run(conn)?;
    sql("UPDATE positions SET last = last + ")
        .bind(JUMP)
        .run(conn)?;
    sql("INSERT INTO timeline_changes (position, kind, at) SELECT last, ")
        .bind(super::ChangeKind::History.as_text())
        .push(", ")
        .bind(now.micros())
        .push(" FROM positions")
        .run(conn)?;
    Ok(())
}

fn open(path: &Path) -> Result<ArchiveReader<BufReader<File>>, ArchiveError> {
    ArchiveReader::new(BufReader::with_capacity(1 << 20, File::open(path)?))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    serde_json::to_vec(value).map_err(|error| BackupError::Content(error.to_string()))
}

fn from_json<T: for<'d> Deserialize<'d>>(bytes: &[u8]) -> Result<T, BackupError> {
    serde_json::from_slice(bytes).map_err(|error| BackupError::Content(error.to_string()))
}

fn text(bytes: &[u8]) -> Result<&str, BackupError> {
    std::str::from_utf8(bytes).map_err(|error| BackupError::Content(error.to_string()))
}

fn named_object(payload: &[u8]) -> Result<(&str, &[u8]), BackupError> {
    let mut parts = payload.splitn(2, |byte| *byte == b'\n');
    match (parts.next(), parts.next()) {
        (Some(name), Some(object)) => Ok((text(name)?, object)),
        _ => Err(BackupError::Content("an object has no name".to_owned())),
    }
}

fn no_table() -> BackupError {
    BackupError::Content("rows come before their table".to_owned())
}

fn rows(table: &Table, packed: &[u8]) -> Result<Vec<Vec<Value>>, BackupError> {
    let bytes = lz4_flex::decompress_size_prepended(packed)
        .map_err(|error| BackupError::Content(error.to_string()))?;
    text(&bytes)?
        .split('\n')
        .map(|row| parsed(table, row))
        .collect()
}

fn parsed(table: &Table, row: &str) -> Result<Vec<Value>, BackupError> {
    let values: Vec<serde_json::Value> =
        serde_json::from_str(row).map_err(|error| BackupError::Content(error.to_string()))?;
    if values.len() != table.columns.len() {
        return Err(BackupError::Content(format!(
            "a row of {} has another number of columns",
            table.name
        )));
    }
    table
        .columns
        .iter()
        .zip(values)
        .map(|(column, value)| {
            value_of(column.kind, value).ok_or_else(|| {
                BackupError::Content(format!(
                    "a row of {} has no fit {}",
                    table.name, column.name
                ))
            })
        })
        .collect()
}

/// SQLite says 0 and 1 where PostgreSQL says false and true; bytes are in hexadecimal.
fn value_of(kind: ColumnKind, value: serde_json::Value) -> Option<Value> {
    use serde_json::Value as Json;
    match (kind, value) {
        (ColumnKind::Int, Json::Null) => Some(Value::OptI64(None)),
        (ColumnKind::Int, Json::Number(number)) => number.as_i64().map(Value::I64),
        (ColumnKind::Text, Json::Null) => Some(Value::OptText(None)),
        (ColumnKind::Text, Json::String(text)) => Some(Value::Text(text)),
        (ColumnKind::Bool, Json::Bool(is)) => Some(Value::Bool(is)),
        (ColumnKind::Bool, Json::Number(number)) => Some(Value::Bool(number.as_i64()? != 0)),
        (ColumnKind::Bytes, Json::Null) => Some(Value::OptBytes(None)),
        (ColumnKind::Bytes, Json::String(hex)) => bytes_of(&hex).map(Value::Bytes),
        _ => None,
    }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    hex.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Reads all of it, for small files such as the key file.
///
/// # Errors
/// `File`.
pub fn read_text(path: &Path) -> Result<String, ArchiveError> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}
