//! Copies of sent mail in the mailbox's Sent folder: looked for first, so that one that is there already (put by the
//! provider, or by a try that was cut off) gets no second. A sent mail that could not be stored is stored with its copy.

use super::{Sender, outgoing};
use crate::clock;
use crate::mail::MailError;
use crate::model::mailbox::FolderRole;
use crate::rules::sending::{copy_again, keeps_sent_by_itself};
use crate::store::drafts::{self, WantedCopy};
use crate::store::{StoreError, mailboxes};
use crate::worker::sync::SyncError;
use crate::worker::sync::login;

/// Nobody else tries for so long: longer than a try takes, also where a server is slow.
const TAKEN_FOR_SECONDS: i64 = 900;

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
    let claimed = store.write_now(clock::now(), |tx| drafts::claim_copy(tx, TAKEN_FOR_SECONDS))?;
    let Some(copy) = claimed else {
        return Ok(false);
    };
    let put = put(sender, &copy);
    if let Err(error) = &put {
        tracing::warn!(draft = copy.id.0, tries = copy.tries, %error, "a sent mail got no copy in Sent");
    }
    let is_stored = copy.is_stored || store_again(sender, &copy);
    let is_over = is_stored && put.as_ref().err().is_none_or(is_hopeless);
    let now = clock::now();
    let again = copy_again(copy.tries, is_stored, now).filter(|_again| !is_over);
    store.write_now(now, |tx| match again {
        Some(at) => drafts::postpone_copy(tx, copy.id, at),
        None => drafts::end_copy(tx, copy.id),
    })?;
    Ok(true)
}

/// Whether trying again would lead to the same: the mailbox is gone, or its server takes no such mail. A password that is
/// refused is given anew.
const fn is_hopeless(error: &SyncError) -> bool {
    match error {
        SyncError::Gone(_) => true,
        SyncError::Mail(MailError::Refused { command, .. }) => {
            matches!(command.as_bytes(), b"APPEND")
        }
        SyncError::Mail(_) | SyncError::Store(_) => false,
    }
}

/// Stores a mail that could not be stored when it went out; whether that is done.
fn store_again(sender: &Sender, copy: &WantedCopy) -> bool {
    let services = &sender.services.sync;
    let runtime = tokio::runtime::Handle::current();
    let stored = runtime
        .block_on(services.raw.get(&services.store, &copy.raw_hash))
        .and_then(|raw| outgoing::store(sender, copy.mailbox_id, &raw));
    match stored {
        Ok(true) => true,
        Ok(false) => {
            tracing::error!(
                draft = copy.id.0,
                tries = copy.tries,
                "a sent mail could still not be stored"
            );
            false
        }
        Err(error) => {
            tracing::warn!(draft = copy.id.0, %error, "a sent mail waits to be stored");
            false
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::MailStep;

    #[test]
    fn r41_a_copy_is_given_up_only_where_its_mailbox_is_gone_or_its_server_takes_none() {
        let step = MailStep::Protocol;
        let refused = |command| SyncError::Mail(MailError::Refused { step, command });
        // (why there is no copy, whether there never will be)
        let rows = [
            (refused("APPEND"), true),
            (
                SyncError::Gone("the mailbox has no secret".to_owned()),
                true,
            ),
            (refused("EXAMINE"), false),
            (SyncError::Mail(MailError::LoginRefused), false),
            (SyncError::Mail(MailError::GrantGone), false),
            (SyncError::Mail(MailError::ConnectionLost { step }), false),
            (
                SyncError::Store(StoreError::Unavailable("x".to_owned())),
                false,
            ),
        ];
        for (error, expected) in rows {
            assert_eq!(is_hopeless(&error), expected, "{error}");
        }
    }
}
