//! `import`: mail from files.

use super::args::ImportArguments;
use super::say;
use crate::actions::import_mail::{ImportFolder, Imported, import_now, mailbox_for_files};
use crate::app::{App, AppError, Purpose};
use crate::clock;
use crate::config::Config;
use crate::mail::address::AddressKey;
use crate::mail::mbox;
use crate::model::UserId;
use crate::store::{Store, users};
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Imports files; non-zero where a file could not be read.
///
/// # Errors
/// What keeps it from starting, and what the store says.
pub async fn import(config: Config, arguments: ImportArguments) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Run).await?;
    let report = tokio::task::spawn_blocking(move || import_all(&app, &arguments)).await??;
    let (imported, unread) = report;
    say(&format!(
        "{} stored ({} saved to the CRM), {} known already, {} quarantined, {unread} files unreadable",
        imported.stored, imported.saved, imported.known, imported.quarantined
    ))?;
    Ok(if unread > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn import_all(app: &App, arguments: &ImportArguments) -> anyhow::Result<(Imported, u64)> {
    let connector = match &arguments.connector {
        Some(address) => Some(user_with(&app.store, address)?),
        None => None,
    };
    let now = clock::now();
    let mailbox = mailbox_for_files(&app.store, &arguments.mailbox, connector, now)
        .map_err(AppError::from)?;
    let folder = ImportFolder::named(&arguments.folder);
    let mut unread = 0;
    let mut mails = readable(&arguments.paths, &mut unread)?;
    let imported = import_now(&app.store, &app.raw, (mailbox, &folder), &mut mails, now)?;
    drop(mails);
    Ok((imported, unread))
}

/// The mails of these paths; what can't be read is named, counted and passed over.
fn readable<'u>(
    paths: &[PathBuf],
    unread: &'u mut u64,
) -> anyhow::Result<Box<dyn Iterator<Item = mbox::StoredMail> + 'u>> {
    let mut opened = Vec::new();
    for path in paths {
        let mails =
            mbox::open(path).with_context(|| format!("{} can't be read", path.display()))?;
        opened.push((path.clone(), mails));
    }
    Ok(Box::new(
        opened
            .into_iter()
            .flat_map(|(path, mails)| mails.map(move |mail| (path.clone(), mail)))
            .filter_map(move |(path, mail)| match mail {
                Ok(mail) => Some(mail),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a mail could not be read");
                    *unread += 1;
                    None
                }
            }),
    ))
}

/// The user with this address.
///
/// # Errors
/// Where there is none.
pub fn user_with(store: &Store, address: &str) -> anyhow::Result<UserId> {
    let key = AddressKey::parse(address)
        .ok_or_else(|| AppError::Setting(format!("{address:?} is not an email address")))?;
    let user = store.read_now(|conn| users::find_by_address_key(conn, key.as_str()))?;
    let user = user.ok_or_else(|| AppError::Failed(format!("there is no user {address}")))?;
    Ok(user.id)
}
