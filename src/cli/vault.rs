//! `backup`, `restore` and `keys`: what an administrator keeps, and how it comes back.

use super::args::{BackupArguments, RestoreArguments};
use super::say;
use crate::app::{App, AppError, Purpose};
use crate::auth::key_rotation;
use crate::auth::keys;
use crate::clock;
use crate::config::Config;
use crate::store::backup::{self, Contents};
use crate::store::leases;
use crate::store::raw::RawStore;
use crate::store::{Store, StoreError};
use anyhow::Context as _;
use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// While a backup runs, no object of the raw store is taken away. One that was ended is forgotten after this.
const LEASE_SECONDS: i64 = 600;
const LEASE_RENEWED_EVERY: Duration = Duration::from_secs(60);

/// Writes everything into one file, while servers and workers run.
///
/// # Errors
/// A file that is there already, and what the database or the raw store says.
pub async fn back_up(config: Config, arguments: BackupArguments) -> anyhow::Result<ExitCode> {
    let key_text = if arguments.with_keys {
        Some(backup::read_text(&config.key_file)?)
    } else {
        None
    };
    let app = App::open(config, Purpose::Tool).await?;
    let path = archive_path(&arguments.path);
    let (written, key_file) = (path.clone(), app.config.key_file.clone());
    let contents =
        tokio::task::spawn_blocking(move || write_now(&app, &written, key_text.as_deref()))
            .await??;
    say(&format!("{}: {}", path.display(), told(&contents)))?;
    if contents.key_file.is_none() {
        say(&format!(
            "The key file {} is not in it: keep a copy of it elsewhere. Without it the mailboxes' secrets can't be opened.",
            key_file.display()
        ))?;
    }
    said_missing(&contents)
}

fn told(contents: &Contents) -> String {
    format!(
        "{} rows, {} raw mails in {} objects, as of {}",
        contents.rows,
        contents.mails,
        contents.objects,
        contents.made_at.to_rfc3339()
    )
}

fn said_missing(contents: &Contents) -> anyhow::Result<ExitCode> {
    if contents.missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "{} objects of the raw store were missing or damaged when it was made: {}",
        contents.missing.len(),
        contents.missing.join(", ")
    ))?;
    Ok(ExitCode::FAILURE)
}

/// A folder gets a file named by the moment.
fn archive_path(given: &Path) -> PathBuf {
    if given.is_dir() {
        let moment: String = clock::now()
            .to_rfc3339()
            .chars()
            .take_while(|c| *c != '.')
            .filter(char::is_ascii_alphanumeric)
            .collect();
        given.join(format!("mailroom-{moment}.backup"))
    } else {
        given.to_owned()
    }
}

/// Writes a backup of an installation; for worker threads.
///
/// # Errors
/// A file that is there already, and what the database or the raw store says; then no file is left.
pub fn write_now(app: &App, path: &Path, key_file: Option<&str>) -> anyhow::Result<Contents> {
    if path.exists() {
        return Err(AppError::Setting(format!("{} is there already", path.display())).into());
    }
    let holder = format!("{:016x}", rand::random::<u64>());
    let hold = |store: &Store| {
        store.write_now(clock::now(), |tx| {
            leases::claim(tx, &backup_lease(&holder), &holder, LEASE_SECONDS).map(drop)
        })
    };
    hold(&app.store)?;
    let mut held = Instant::now();
    let mut tick = || -> Result<(), StoreError> {
        if held.elapsed() >= LEASE_RENEWED_EVERY {
            hold(&app.store)?;
            held = Instant::now();
        }
        Ok(())
    };
    let draft = PathBuf::from(format!("{}.part", path.display()));
    let written = write_draft(app, &draft, key_file, &mut tick).and_then(|contents| {
        // Not over a file that came meanwhile.
        std::fs::hard_link(&draft, path)
            .with_context(|| format!("{} can't be written", path.display()))?;
        Ok(contents)
    });
    if !matches!(&written, Err(error) if error.is::<AppError>()) {
        // Else the draft is another's.
        drop(std::fs::remove_file(&draft));
    }
    let released = app.store.write_now(clock::now(), |tx| {
        leases::release(tx, &backup_lease(&holder), &holder)
    });
    let contents = written?;
    released?;
    Ok(contents)
}

fn backup_lease(holder: &str) -> String {
    format!("{}{holder}", leases::BACKUP)
}

fn write_draft(
    app: &App,
    draft: &Path,
    key_file: Option<&str>,
    tick: &mut dyn FnMut() -> Result<(), StoreError>,
) -> anyhow::Result<Contents> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(|error| {
            AppError::Setting(format!("{} can't be written: {error}", draft.display()))
        })?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let now = clock::now();
    let contents = backup::back_up_now((&app.store, &app.raw), &mut out, (now, key_file), tick)?;
    let file = out.into_inner().context("the backup can't be written")?;
    file.sync_all().context("the backup can't be written")?;
    Ok(contents)
}

/// Proves a backup and, unless it is only to be checked, makes a new installation of it where the settings say.
///
/// # Errors
/// What is wrong with the backup, or what is there already; then nothing is changed.
pub async fn restore(config: Config, arguments: RestoreArguments) -> anyhow::Result<ExitCode> {
    let path = arguments.file;
    let is_check = arguments.check;
    let runtime = tokio::runtime::Handle::current();
    let (contents, has_keys) = tokio::task::spawn_blocking(move || {
        let contents = backup::verify_now(&path).with_context(|| path.display().to_string())?;
        if is_check {
            return anyhow::Ok((contents, true));
        }
        restore_now(&config, runtime, &path, &contents)?;
        Ok((contents, config.key_file.exists()))
    })
    .await??;
    let verb = if is_check { "It is whole" } else { "Restored" };
    say(&format!("{verb}: {}", told(&contents)))?;
    if !has_keys {
        say(
            "The backup holds no key file and there is none: put the old one in its place before the first start, or give every mailbox its secret anew.",
        )?;
    }
    said_missing(&contents)
}

/// Makes a new installation of a backup that was verified; for worker threads.
///
/// # Errors
/// What is there already, and what the database, the raw store or the disk says.
pub fn restore_now(
    config: &Config,
    runtime: tokio::runtime::Handle,
    path: &Path,
    contents: &Contents,
) -> anyhow::Result<()> {
    if let Some(text) = &contents.key_file {
        if !keys::is_key_file(text) {
            return Err(AppError::Failed("the backup's key file is none".to_owned()).into());
        }
        if config.key_file.exists() {
            return Err(AppError::Setting(format!(
                "{} is there already; the backup holds a key file of its own",
                config.key_file.display()
            ))
            .into());
        }
    }
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("{} can't be used", config.data_dir.display()))?;
    let raw = RawStore::open(&config.raw_store, runtime)?;
    let url = config.database_url.as_str();
    backup::restore_now((url, &raw), path, contents, clock::now())?;
    if let Some(text) = &contents.key_file {
        keys::write_new(&config.key_file, text)?;
    }
    if let Ok(folder) = File::open(&config.data_dir) {
        folder
            .sync_all()
            .context("the restored files are not durable")?;
    }
    Ok(())
}

/// Makes a new key for sealed secrets and drops the old one, while servers and workers run.
///
/// # Errors
/// Secrets that none of the keys opens, and what the database or the file says; run again, it goes on.
pub async fn rotate_keys(config: Config, only_prepare: bool) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Tool).await?;
    let text = tokio::task::spawn_blocking(move || {
        let path = app.config.key_file.as_path();
        if only_prepare {
            let id = key_rotation::prepare_now(&app.store, path, clock::now())?;
            return anyhow::Ok(format!(
                "The key {id} is in {} and not used yet. Put the file on every machine, then run `mailroom keys rotate`.",
                path.display()
            ));
        }
        let services = (&app.store, &app.keys.sealer);
        let rotated = key_rotation::rotate_now(services, path, clock::now, &mut |step| {
            tracing::info!(?step, "rotating the keys");
            Ok(())
        })?;
        Ok(format!(
            "{} secrets are sealed with the new key {}; the old one is out of {}.",
            rotated.resealed,
            rotated.key_id,
            path.display()
        ))
    })
    .await??;
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}
