//! Delivery reports (R18): whom a mail of ours didn't reach is marked, and a report that came before the mail that it
//! is about is logged on it once that comes.
//! Not for: reading reports (that is `mail::parse`), or whether one counts (that is `rules::threading`).

use super::facts::MailFacts;
use super::judge::{Judged, judge};
use super::known::Known;
use super::stored;
use crate::model::MessageId;
use crate::model::decisions::ThreadChoice;
use crate::model::email::EmailOutcome;
use crate::rules::classify::FolderFacts;
use crate::store::{StoreError, Tx, clients, emails};

/// Marks the addresses that a report names, if it reports on a mail of ours that went to them; a report that lies
/// where spam goes, in Trash or in Drafts marks nothing.
pub(super) fn mark_unreached(
    tx: &mut Tx<'_>,
    mail: &MailFacts,
    folder: FolderFacts,
    thread: &ThreadChoice,
) -> Result<(), StoreError> {
    match (&mail.report, thread.parent) {
        (Some(report), Some(original)) if thread.is_report && !folder.holds_back() => {
            // The mail may be of this very batch.
            tx.flush()?;
            clients::mark_undeliverable(tx, original, &report.failed_keys)
        }
        _ => Ok(()),
    }
}

/// Reports that came before the mail of ours that they are about: what they name is marked, and those that this
/// mailbox kept as automatic are judged again, now that there is something to log them on.
pub(super) fn take_early(
    tx: &mut Tx<'_>,
    known: &mut Known,
    original: MessageId,
    reports: &[(MessageId, Vec<String>)],
) -> Result<(), StoreError> {
    for (report, failed_keys) in reports {
        // All of them may be of this very batch.
        tx.flush()?;
        clients::mark_undeliverable(tx, original, failed_keys)?;
        let Some(email) = emails::of_message(tx.conn, known.mailbox(), *report)? else {
            continue;
        };
        if email.outcome != EmailOutcome::Automatic {
            continue;
        }
        let Some(stored) = stored::load(tx.conn, email.id)? else {
            continue;
        };
        let judged = Judged {
            email_id: email.id,
            message_id: email.message_id,
            received_at: email.received_at,
            by: None,
            sender_count: Some(stored.sender_count()),
        };
        judge(
            tx,
            known,
            &stored.context,
            &stored.mail,
            stored.folder,
            judged,
            &stored.thread,
        )?;
    }
    Ok(())
}
