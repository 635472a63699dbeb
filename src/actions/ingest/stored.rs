//! A stored mail as the rules see it when it is judged again, or saved by hand: what it said when it came, and where
//! it lies now.
//! Not for: the mail's bytes; everything that the rules ask about was kept in rows.

use super::conversations::Conversations;
use super::facts::{Context, MailFacts, Report};
use super::known::{Known, Wanted};
use super::lock_clients;
use crate::mail::address::AddressKey;
use crate::mail::parse::Suspicion;
use crate::model::EmailId;
use crate::model::decisions::ThreadChoice;
use crate::model::email::{Email, ParticipantRole};
use crate::rules::classify::{self, ClassifyFacts, FolderFacts};
use crate::rules::threading::{choose_thread, subject_base};
use crate::rules::trace::facts_seen;
use crate::store::{AnyConn, StoreError, Tx, emails, messages, placements};
use std::collections::BTreeSet;

/// A stored mail with everything that judging it takes.
pub struct Stored {
    pub email: Email,
    pub mail: MailFacts,
    pub context: Context,
    /// What the folder that it lies in is for.
    pub folder: FolderFacts,
    pub thread: ThreadChoice,
    /// What was seen when it was judged last; `None`: a version that knew other facts judged it.
    pub seen: Option<ClassifyFacts>,
}

/// The mail, with its people's addresses locked: two first mails of one client at once make one item (R16), whoever
/// has them saved.
///
/// # Errors
/// What the database says.
pub fn load_locked(tx: &mut Tx<'_>, id: EmailId) -> Result<Option<Stored>, StoreError> {
    // A mail's people never change, so they can be read before the lock.
    let keys: BTreeSet<String> = people(tx.conn, id)?
        .into_iter()
        .map(|(_role, key, _name)| key)
        .collect();
    lock_clients(tx, &keys)?;
    load(tx.conn, id)
}

/// The mail, without any lock.
///
/// # Errors
/// What the database says.
pub fn load(conn: &mut AnyConn, id: EmailId) -> Result<Option<Stored>, StoreError> {
    let Some(email) = emails::get(conn, id)? else {
        return Ok(None);
    };
    let seen = emails::trace(conn, id)?
        .and_then(|trace| facts_seen::<ClassifyFacts>(&trace.steps, classify::FACTS));
    let people = people(conn, id)?;
    let mut mail = mail_facts(conn, &email, &people, seen.as_ref())?;
    let keys: BTreeSet<String> = people
        .iter()
        .map(|(_role, key, _name)| key.clone())
        .collect();
    let Some(context) = Context::load(conn, email.mailbox_id, &keys)? else {
        return Ok(None);
    };
    let places = placements::places(conn, id)?;
    // Of several folders, Sent says that it is ours, and one that holds nothing back lets it into the CRM (R3).
    let rank = |folder: &FolderFacts| (!folder.is_sent, folder.holds_back());
    let place = places
        .iter()
        .map(|place| {
            let folder = context.folder(Some(place.folder_id));
            (folder.with_labels(&place.labels), place)
        })
        .min_by_key(|(folder, _place)| rank(folder));
    let folder = match place {
        Some((folder, place)) => {
            mail.is_seen = place.is_seen;
            mail.is_backfill = place.is_backfill;
            folder
        }
        // It lies nowhere any more: where it was judged.
        None => seen.as_ref().map(|seen| seen.folder).unwrap_or_default(),
    };
    let is_ours = mail.is_from_us(&context, folder);
    let wanted = Wanted::stored(email.message_id, &mail);
    let (conversations, _parents) = Conversations::load(conn, &[wanted])?;
    let thread = choose_thread(&conversations.thread_facts(&mail, is_ours));
    Ok(Some(Stored {
        email,
        mail,
        context,
        folder,
        thread,
        seen,
    }))
}

type Person = (ParticipantRole, String, Option<String>);

/// Who stands in it, as canonical addresses with their names.
fn people(conn: &mut AnyConn, id: EmailId) -> Result<Vec<Person>, StoreError> {
    let found = emails::participants(conn, &[id])?.remove(&id);
    Ok(found
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(role, address)| {
            let key = AddressKey::parse(&address.address)?.into_string();
            Some((role, key, address.name))
        })
        .collect())
}

fn mail_facts(
    conn: &mut AnyConn,
    email: &Email,
    people: &[Person],
    seen: Option<&ClassifyFacts>,
) -> Result<MailFacts, StoreError> {
    let keyed = |wanted: ParticipantRole| {
        people
            .iter()
            .filter(move |(role, ..)| *role == wanted)
            .map(|(_role, key, name)| (key.clone(), name.clone()))
    };
    let (automatic, problems) = emails::findings(conn, email.id)?.unwrap_or_default();
    let is_suspicious = problems
        .split(',')
        .any(|problem| Suspicion::from_text(problem).is_some());
    let (in_reply_to, references) = messages::references(conn, email.message_id)?;
    let report = messages::report(conn, email.message_id)?;
    let recipients = [
        ParticipantRole::To,
        ParticipantRole::Cc,
        ParticipantRole::Bcc,
    ];
    Ok(MailFacts {
        sender: keyed(ParticipantRole::From)
            .next()
            .filter(|_sender| !is_suspicious),
        is_suspicious,
        recipients: recipients.into_iter().flat_map(keyed).collect(),
        subject: email.subject.clone(),
        subject_base: subject_base(&email.subject),
        automatic,
        report: report.map(|(about, failed_keys)| Report { about, failed_keys }),
        has_received_header: seen.is_none_or(|seen| seen.origin.has_received_header),
        has_our_message_id: seen.is_some_and(|seen| seen.origin.has_our_message_id),
        hides_client: seen.is_some_and(|seen| seen.hides_client),
        in_reply_to,
        references,
        internal_date: email.internal_date,
        is_backfill: seen.is_some_and(|seen| seen.is_backfill),
        is_seen: false,
    })
}

impl Stored {
    /// What judging it again, or saving it by hand, starts from; the addresses of its people are locked.
    ///
    /// # Errors
    /// What the database says.
    pub fn known(&self, tx: &mut Tx<'_>) -> Result<Known, StoreError> {
        let wanted = Wanted::stored(self.email.message_id, &self.mail);
        Known::load(tx, &self.context, &[wanted])
    }

    /// Mails of its sender that came before it within the hour, as they were counted when it came.
    pub fn sender_count(&self) -> i64 {
        let seen = self.seen.as_ref();
        seen.map_or(0, |seen| seen.sender_count_last_hour)
    }

    /// The mail as somebody who saves it by hand takes it: its author is the sender even where that may be forged, and
    /// its direction is what was found when it came.
    ///
    /// # Errors
    /// What the database says.
    pub fn chosen_by_hand(mut self, conn: &mut AnyConn) -> Result<Self, StoreError> {
        let author = people(conn, self.email.id)?
            .into_iter()
            .find(|(role, ..)| *role == ParticipantRole::From);
        self.mail.sender = author.map(|(_role, key, name)| (key, name));
        self.folder = FolderFacts {
            is_sent: self.email.direction == crate::model::email::Direction::Outgoing,
            ..FolderFacts::default()
        };
        self.mail.has_received_header = true;
        self.mail.has_our_message_id = false;
        Ok(self)
    }
}
