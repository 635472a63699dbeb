//! Copies of sent mail in the mailbox's Sent folder: looked for first, so that one that is there already (put by the
//! provider, or by a try that was cut off) gets no second.

use super::Sender;
use crate::clock;
use crate::mail::MailError;
use crate::model::mailbox::FolderRole;
use crate::rules::sending::keeps_sent_by_itself;
use crate::store::drafts::{self, WantedCopy};
use crate::store::{StoreError, mailboxes};
use crate::worker::sync::SyncError;
use crate::worker::sync::login;

/// Nobody else tries for so long; it doubles with every try.
const AGAIN_AFTER_SECONDS: i64 = 60;
/// After so many tries the mail stays without its copy; in the CRM it is all the same.
const TRIES_MAX: i64 = 8;

/// Puts what is due.
pub(super) fn put_all(sender: &Sender) {
    while !*sender.stop.borrow() {
        match put_next(sender) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "copies of sent mail wait");
                return;
            }
        }
    }
}

fn put_next(sender: &Sender) -> Result<bool, StoreError> {
    let store = &sender.services.sync.store;
    let claimed = store.write_now(clock::now(), |tx| {
        drafts::claim_copy(tx, AGAIN_AFTER_SECONDS)
    })?;
    let Some(copy) = claimed else {
        return Ok(false);
    };
    let is_done = match put(sender, &copy) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(draft = copy.id.0, tries = copy.tries, %error, "a sent mail got no copy in Sent");
            let is_hopeless = matches!(&error, SyncError::Mail(error) if !error.is_temporary());
            is_hopeless || copy.tries >= TRIES_MAX
        }
    };
    if is_done {
        store.write_now(clock::now(), |tx| drafts::end_copy(tx, copy.id))?;
    }
    Ok(true)
}

fn put(sender: &Sender, copy: &WantedCopy) -> Result<(), SyncError> {
    let services = &sender.services.sync;
    let Some(mailbox) = sender
        .mailbox(copy.mailbox_id)?
        .filter(|mailbox| mailbox.is_connected)
    else {
        return Ok(());
    };
    let folders = services
        .store
        .read_now(|conn| mailboxes::folders(conn, mailbox.id))?;
    let sent = folders
        .iter()
        .find(|folder| folder.role == Some(FolderRole::Sent));
    let Some(sent) = sent else {
        return Ok(());
    };
    let runtime = tokio::runtime::Handle::current();
    let raw = runtime.block_on(services.raw.get(&services.store, &copy.raw_hash))?;
    let mut session = login::connect(services, &sender.fence, &mailbox)?;
    if session.is_gmail() || keeps_sent_by_itself(&mailbox.imap.host) {
        return Ok(());
    }
    let listed = session.list_folders()?;
    let Some(folder) = listed.iter().find(|folder| folder.path == sent.path) else {
        return Ok(());
    };
    session.examine(&folder.raw_path)?;
    let is_there = match session.holds_message(&copy.message_id_header) {
        Ok(is_there) => is_there,
        // A server that can't search is not asked twice.
        Err(MailError::Refused { .. }) => copy.tries > 1,
        Err(error) => return Err(error.into()),
    };
    if !is_there {
        session.append_read(&folder.raw_path, &raw)?;
    }
    session.log_out();
    Ok(())
}
