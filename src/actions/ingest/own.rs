//! Mail of ours that comes back: by the sender that has just handed it over, by the folder that sent mail lies in, or
//! as a copy to ourselves. It is one email, saved where its author wanted it, and proof that it went out (R4, R41).
//! Not for: believing anybody who has seen a Message-ID of ours, as all its recipients have.

use super::Read;
use super::facts::{Context, MailFacts};
use super::judge::{Judged, Judgement, by_hand, judge, save_named};
use super::known::Known;
use crate::mail::address::AddressKey;
use crate::model::decisions::ThreadChoice;
use crate::model::email::Address;
use crate::model::{EmailId, ItemId, MailboxId, UserId};
use crate::rules::classify::FolderFacts;
use crate::rules::sending::keeps_sent_by_itself;
use crate::store::drafts::{self, OwnMail};
use crate::store::{AnyConn, StoreError, Tx, clients};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// A mail that we sent, and what it does not say itself.
pub struct Ours {
    pub mail: OwnMail,
    /// It went to somebody outside by Bcc, which its bytes don't name.
    pub hides_client: bool,
}

/// The mails of this mailbox that we gave these Message-IDs, with them.
///
/// # Errors
/// What the database says.
pub(super) fn find(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    headers: &[&str],
) -> Result<HashMap<String, Ours>, StoreError> {
    let key = |address: &Address| AddressKey::parse(&address.address).map(AddressKey::into_string);
    let found = drafts::find_own(conn, mailbox, headers)?;
    let hidden: BTreeSet<String> = found
        .iter()
        .flat_map(|(_header, own)| own.bcc.iter().filter_map(key))
        .collect();
    let who = clients::who(conn, &hidden)?;
    let is_outside = |key: String| who.get(&key).is_some_and(|who| !who.is_ours());
    Ok(found
        .into_iter()
        .map(|(header, mail)| {
            let hides_client = mail.bcc.iter().filter_map(key).any(is_outside);
            (header, Ours { mail, hides_client })
        })
        .collect())
}

/// A mail as the rules see it, and the draft that it was, if that is known.
pub(super) struct Recognised<'r> {
    pub mail: Cow<'r, MailFacts>,
    pub sent: Option<OwnMail>,
}

/// Whether it is a mail that we sent. One that says something else than what we sent under its id is a stranger's, unless
/// it lies in Sent: some servers change what they put there, and nobody else can.
pub(super) fn recognise<'r>(
    known: &Known,
    context: &Context,
    read: &'r Read,
    folder: FolderFacts,
) -> Recognised<'r> {
    if read.signed_for != Some(context.mailbox.id) {
        let mail = Cow::Borrowed(&read.mail);
        return Recognised { mail, sent: None };
    }
    let mut mail = read.mail.clone();
    let header = read.parsed.message_id.as_deref().unwrap_or_default();
    let sent = match known.own_mail(header) {
        Some(ours) => {
            let is_it = ours.mail.content_key == read.parsed.content_key || folder.is_sent;
            mail.has_our_message_id = is_it;
            mail.hides_client = is_it && ours.hides_client;
            is_it.then(|| ours.mail.clone())
        }
        None => {
            // What was written is gone, as in a restored copy: then it must at least say that it is ours.
            let sender = mail.sender.as_ref().map(|(key, _name)| key.as_str());
            mail.has_our_message_id = sender.is_some_and(|key| context.is_own(key));
            None
        }
    };
    let mail = Cow::Owned(mail);
    Recognised { mail, sent }
}

/// Saves it on the item that its author chose, unless it is our own people's mail, which never is saved (R12).
pub(super) fn save_on_item(
    tx: &mut Tx<'_>,
    known: &mut Known,
    context: &Context,
    (judged, mail): (Judged, &MailFacts),
    folder: FolderFacts,
    thread: &ThreadChoice,
    (author, item): (UserId, ItemId),
) -> Result<Judgement, StoreError> {
    match by_hand(context, mail, folder, thread) {
        Ok(found) => {
            let judged = Judged {
                by: Some(author),
                ..judged
            };
            save_named(tx, known, context, (judged, mail), (&[item], &[]), found)?;
            Ok(Judgement::Saved(vec![item]))
        }
        Err(_internal) => judge(tx, known, context, mail, folder, judged, thread),
    }
}

/// Notes that it went out, and as what it is stored.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    context: &Context,
    sent: Option<&OwnMail>,
    (email, folder): (EmailId, FolderFacts),
) -> Result<(), StoreError> {
    let Some(sent) = sent.filter(|sent| !sent.is_sent || sent.stored.is_none()) else {
        return Ok(());
    };
    // The row of the email, which this names, may be held back.
    tx.flush()?;
    if sent.is_sent {
        return drafts::update_stored(tx, sent.id, email);
    }
    let wants_copy = !folder.is_sent
        && context.has_sent_folder()
        && !keeps_sent_by_itself(&context.mailbox.imap.host);
    drafts::update_sent(tx, sent.id, Some(email), wants_copy)
}
