//! Brings letters to their mailbox: over LMTP and by `doveadm` where Dovecot is there, else through `import`.
//! Not for: writing them (`letters`).

use super::Installation;
use super::dovecot::{Dovecot, DovecotError};
use super::letters::Letter;
use anyhow::Context as _;
use std::sync::Arc;

/// The way that mail takes.
#[derive(Debug)]
pub enum Post {
    /// Through a mail server.
    Dovecot(Arc<Dovecot>),
    /// From files.
    Files,
}

impl Post {
    /// Starts Dovecot for these addresses; without it, the reason why not.
    ///
    /// # Errors
    /// When the thread that starts it fails.
    pub async fn open(addresses: Vec<String>) -> anyhow::Result<(Self, Option<DovecotError>)> {
        let started = tokio::task::spawn_blocking(move || {
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            Dovecot::start(&addresses)
        });
        Ok(match started.await.context("starting Dovecot")? {
            Ok(dovecot) => (Self::Dovecot(Arc::new(dovecot)), None),
            Err(error) => (Self::Files, Some(error)),
        })
    }

    /// The mail server, where there is one.
    pub fn dovecot(&self) -> Option<&Dovecot> {
        match self {
            Self::Dovecot(dovecot) => Some(dovecot),
            Self::Files => None,
        }
    }

    /// Delivers these letters in order.
    ///
    /// # Errors
    /// The first that is not taken.
    pub async fn deliver(
        &self,
        installation: &mut impl Installation,
        letters: Vec<Letter>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Dovecot(dovecot) => {
                let dovecot = Arc::clone(dovecot);
                let delivered =
                    tokio::task::spawn_blocking(move || through_dovecot(&dovecot, &letters));
                delivered.await.context("delivering mail")??;
            }
            Self::Files => {
                for letter in &letters {
                    installation
                        .import(&letter.to_mailbox, letter.folder, &letter.raw)
                        .await?;
                }
            }
        }
        Ok(())
    }
}

/// Delivers letters in order: into Sent as a mail program does, else over LMTP.
///
/// # Errors
/// The first that is not taken.
pub fn through_dovecot(dovecot: &Dovecot, letters: &[Letter]) -> Result<(), DovecotError> {
    let mut connection = dovecot.lmtp()?;
    for letter in letters {
        match letter.folder {
            // What we have sent is put there by the mail program, and bears no trace of a delivery.
            Some("Sent") => dovecot.append(&letter.to_mailbox, "Sent", &letter.raw)?,
            folder => {
                let recipient = match (folder, letter.to_mailbox.split_once('@')) {
                    (Some(folder), Some((login, domain))) => format!("{login}+{folder}@{domain}"),
                    _ => letter.to_mailbox.clone(),
                };
                connection.deliver(&letter.raw, &letter.from, &[&recipient])?;
            }
        }
    }
    connection.quit()?;
    Ok(())
}
