//! A folder whose UIDs began anew: UIDVALIDITY changed or is missing, or UIDNEXT was rewound. What is known is recognised
//! by its headers and given its new UIDs, without bodies, emails or events; the rest is fetched, and recognised by its
//! content if it is known all the same.
//! Not for: fetching (that is `folder`).

use super::{Look, SyncError};
use crate::mail::imap::{Examined, ImapSession, ListedHeader};
use crate::mail::parse;
use crate::model::mailbox::Folder;
use crate::model::topic::Topic;
use crate::model::{EmailId, PlacementId};
use crate::store::ledger::{self, KnownMail};
use crate::store::placements::OpenPlacement;
use crate::store::{mailbox_writes, placements};
use std::collections::{HashMap, HashSet};

/// Mails whose headers are asked for, and that are bound, at a time.
const BOUND_AT_ONCE: i64 = 1000;
/// So many epochs in a row, and the server is said to be at fault.
pub(super) const EPOCHS_MAX: i64 = 5;

/// The folder as of the epoch that the server is in; a new one is begun where its UIDs are others than before.
pub(super) fn present(
    look: &Look,
    folder: &Folder,
    examined: &Examined,
) -> Result<Folder, SyncError> {
    // 0 is no UIDVALIDITY.
    let validity = examined.uid_validity.filter(|validity| *validity > 0);
    let validity = validity.map(i64::from);
    let is_rewound = examined
        .uid_next
        .is_some_and(|next| i64::from(next) < folder.discovered_next_uid);
    let id = folder.id;
    if folder.uid_validity == validity && validity.is_some() && !is_rewound {
        if folder.epochs_in_row > 0 {
            look.write(|tx| mailbox_writes::update_folder_steady(tx, id))?;
        }
        return Ok(Folder {
            epochs_in_row: 0,
            ..folder.clone()
        });
    }
    let is_first = folder.uid_validity.is_none() && folder.discovered_next_uid == 1;
    let epoch = if is_first {
        folder.epoch
    } else {
        folder.epoch + 1
    };
    look.write(|tx| mailbox_writes::update_folder_epoch(tx, id, epoch, validity))?;
    if !is_first {
        tracing::info!(
            mailbox = look.mailbox.id.0,
            folder = id.0,
            epoch,
            "a folder's UIDs began anew"
        );
    }
    Ok(Folder {
        epoch,
        uid_validity: validity,
        discovered_next_uid: 1,
        highest_modseq: None,
        epochs_in_row: if is_first {
            0
        } else {
            folder.epochs_in_row + 1
        },
        ..folder.clone()
    })
}

/// Gives the known mails of an open folder's passed epochs their new UIDs, and forgets the passed epochs.
pub(super) fn bind_known(
    look: &Look,
    session: &mut ImapSession,
    folder: &Folder,
) -> Result<(), SyncError> {
    let place = (folder.id, folder.epoch);
    let store = &look.services.store;
    if !store.read_now(|conn| ledger::has_older(conn, place))? {
        return Ok(());
    }
    let mut from = 0;
    loop {
        let open =
            store.read_now(|conn| placements::list_from(conn, place, from, BOUND_AT_ONCE))?;
        let Some(last) = open.last() else { break };
        from = last.uid + 1;
        let uids: Vec<u32> = open
            .iter()
            .filter_map(|line| u32::try_from(line.uid).ok())
            .collect();
        let headers = session.list_headers(&uids)?;
        look.signals.progressed();
        bind(look, folder, &open, &headers)?;
    }
    look.write(|tx| ledger::delete_older(tx, place))?;
    Ok(())
}

fn bind(
    look: &Look,
    folder: &Folder,
    open: &[OpenPlacement],
    headers: &[ListedHeader],
) -> Result<(), SyncError> {
    let read: Vec<Here> = headers
        .iter()
        .filter_map(|header| here(open, header))
        .collect();
    let ids: Vec<String> = read.iter().map(|mail| mail.message_id.clone()).collect();
    let place = (folder.id, folder.epoch);
    let known = look
        .services
        .store
        .read_now(|conn| ledger::list_known(conn, place, &ids))?;
    let pairs = pairs(&read, &known);
    if pairs.is_empty() {
        return Ok(());
    }
    look.write(|tx| {
        tx.wake(Topic::Mailbox(look.mailbox.id));
        placements::update_stored(tx, pairs)
    })?;
    Ok(())
}

/// A mail of the new epoch, as its headers tell it from others.
struct Here {
    placement: PlacementId,
    message_id: String,
    size_bytes: i64,
    from_address: Option<String>,
    subject: String,
}

fn here(open: &[OpenPlacement], header: &ListedHeader) -> Option<Here> {
    let line = open.iter().find(|line| line.uid == i64::from(header.uid))?;
    let parsed = parse::parse(&header.header);
    Some(Here {
        placement: line.id,
        from_address: parsed.author().map(|author| author.address.clone()),
        message_id: parsed.message_id?,
        size_bytes: i64::try_from(header.size_bytes).ok()?,
        subject: parsed.subject,
    })
}

/// Which mail is which: those that are alike in everything that is looked at, and alone in it on both sides. The others
/// are fetched.
fn pairs(here: &[Here], known: &[KnownMail]) -> Vec<(PlacementId, EmailId)> {
    type Likeness<'a> = (&'a str, i64, Option<&'a str>, &'a str);
    fn of_here(mail: &Here) -> Likeness<'_> {
        let from = mail.from_address.as_deref();
        (&mail.message_id, mail.size_bytes, from, &mail.subject)
    }
    let mut by_likeness: HashMap<Likeness<'_>, Vec<EmailId>> = HashMap::new();
    for mail in known {
        let from = mail.from_address.as_deref();
        let likeness = (
            mail.message_id.as_str(),
            mail.size_bytes,
            from,
            mail.subject.as_str(),
        );
        by_likeness.entry(likeness).or_default().push(mail.email_id);
    }
    let mut seen = HashSet::new();
    let twice: HashSet<Likeness<'_>> = here
        .iter()
        .map(of_here)
        .filter(|likeness| !seen.insert(*likeness))
        .collect();
    here.iter()
        .filter(|mail| !twice.contains(&of_here(mail)))
        .filter_map(
            |mail| match by_likeness.get(&of_here(mail)).map(Vec::as_slice) {
                Some([email]) => Some((mail.placement, *email)),
                _ => None,
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(placement: i64, message_id: &str, size_bytes: i64) -> Here {
        Here {
            placement: PlacementId(placement),
            message_id: message_id.to_owned(),
            size_bytes,
            from_address: Some("a@b.example".to_owned()),
            subject: "Hello".to_owned(),
        }
    }

    fn known(email: i64, message_id: &str, size_bytes: i64) -> KnownMail {
        KnownMail {
            email_id: EmailId(email),
            message_id: message_id.to_owned(),
            size_bytes,
            from_address: Some("a@b.example".to_owned()),
            subject: "Hello".to_owned(),
        }
    }

    #[test]
    fn r07_headers_bind_what_is_alike_and_alone_on_both_sides() {
        type Row = (&'static str, Vec<Here>, Vec<KnownMail>, Vec<(i64, i64)>);
        let other_subject = KnownMail {
            subject: "Another".to_owned(),
            ..known(7, "x", 10)
        };
        let rows: [Row; 6] = [
            (
                "the same mail",
                vec![here(1, "x", 10)],
                vec![known(7, "x", 10)],
                vec![(1, 7)],
            ),
            (
                "another size",
                vec![here(1, "x", 11)],
                vec![known(7, "x", 10)],
                vec![],
            ),
            (
                "another subject",
                vec![here(1, "x", 10)],
                vec![other_subject],
                vec![],
            ),
            (
                "two new ones alike",
                vec![here(1, "x", 10), here(2, "x", 10)],
                vec![known(7, "x", 10)],
                vec![],
            ),
            (
                "two known ones alike",
                vec![here(1, "x", 10)],
                vec![known(7, "x", 10), known(8, "x", 10)],
                vec![],
            ),
            (
                "one that is known beside one that is not",
                vec![here(1, "x", 10), here(2, "y", 10)],
                vec![known(7, "x", 10)],
                vec![(1, 7)],
            ),
        ];
        for (what, here, known, expected) in rows {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(placement, email)| (PlacementId(placement), EmailId(email)))
                .collect();
            assert_eq!(pairs(&here, &known), expected, "{what}");
        }
    }
}
