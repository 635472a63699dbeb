//! What is known about a batch of mails: loaded at once, under the locks, and kept up to date as its mails are judged,
//! so that a batch takes as many queries as one mail does. What the batch writes is held back in the same way.
//! Not for: deciding; the rules get their facts from here.

use super::conversations::Conversations;
use super::facts::{ClientFacts, Context, MailFacts, Report, candidate_item, queue_at};
use super::own::{self, Ours};
use crate::model::email::{Direction, EmailOutcome, ParticipantRole};
use crate::model::item::{Item, ItemKind};
use crate::model::mailbox::MailboxWarning;
use crate::model::timeline::NewTimelineEntry;
use crate::model::{EmailId, ItemId, MailboxId, MessageId, PlacementId, StageId, ThreadId, UserId};
use crate::rules::queue::QueueFacts;
use crate::rules::routing::{CandidateItem, ParentFacts};
use crate::store::clients::{self, ClientItems, Hanging};
use crate::store::email_writes::{self, NewEmail};
use crate::store::item_writes::{self, NewItem};
use crate::store::messages::{self, NewMessage};
use crate::store::sql::BOUND_MAX;
use crate::store::{AnyConn, StoreError, Tx, items, mailbox_writes, mailboxes, placements, users};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The clients of a mail with more recipients than this are looked up when one of them turns out to matter.
const RECIPIENTS_AHEAD_MAX: usize = 8;
/// A sender is counted by the hour of the mails' INTERNALDATE.
const HOUR_SECONDS: i64 = 3600;

/// A mail of the batch, as far as loading needs it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub placement: Option<PlacementId>,
    /// Of a mail that arrives.
    pub content_key: Option<&'a [u8]>,
    /// Of a mail that is stored already.
    pub message_id: Option<MessageId>,
    /// Its own Message-ID.
    pub header: Option<&'a str>,
    /// We gave that Message-ID, for this mailbox.
    pub is_signed: bool,
    pub mail: &'a MailFacts,
}

impl<'a> Wanted<'a> {
    /// A mail that is stored already.
    pub const fn stored(message_id: MessageId, mail: &'a MailFacts) -> Self {
        Self {
            placement: None,
            content_key: None,
            message_id: Some(message_id),
            header: None,
            is_signed: false,
            mail,
        }
    }
}

/// The state of a batch.
pub struct Known {
    mailbox: MailboxId,
    open: HashSet<PlacementId>,
    stored: Vec<(PlacementId, EmailId)>,
    messages: HashMap<Vec<u8>, (MessageId, ThreadId)>,
    /// What we sent under the Message-IDs of the batch that are ours.
    own: HashMap<String, Ours>,
    copies: HashMap<MessageId, (EmailId, EmailOutcome)>,
    /// The messages that were there before this batch.
    stored_before: BTreeSet<MessageId>,
    conversations: Conversations,
    hanging: HashMap<MessageId, Vec<Hanging>>,
    clients: HashMap<String, ClientItems>,
    items: HashMap<ItemId, Item>,
    queue: QueueFacts,
    has_turned: bool,
    counts: HashMap<(String, i64), i64>,
    counted: BTreeMap<(String, i64), i64>,
    warnings: BTreeSet<MailboxWarning>,
    time_zones: HashMap<UserId, Option<String>>,
    stages: HashMap<ItemKind, Option<StageId>>,
    /// The email that is being taken: its row is written once it is judged.
    fresh: Option<(EmailId, NewEmail)>,
}

impl Known {
    /// Loads what the database says about these mails. The clients' addresses are locked already; this locks the
    /// placements and the queue.
    ///
    /// # Errors
    /// What the database says.
    pub fn load(
        tx: &mut Tx<'_>,
        context: &Context,
        wanted: &[Wanted<'_>],
    ) -> Result<Self, StoreError> {
        let mailbox = context.mailbox.id;
        let placed: Vec<PlacementId> = wanted.iter().filter_map(|mail| mail.placement).collect();
        let mut known = Self {
            mailbox,
            open: placements::lock_open(tx, &placed)?,
            stored: Vec::new(),
            messages: messages::find_by_content_keys(
                tx.conn,
                wanted.iter().filter_map(|mail| mail.content_key),
            )?,
            own: {
                let signed = wanted.iter().filter(|mail| mail.is_signed);
                let headers: Vec<&str> = signed.filter_map(|mail| mail.header).collect();
                own::find(tx.conn, mailbox, &headers)?
            },
            copies: HashMap::new(),
            stored_before: BTreeSet::new(),
            conversations: Conversations::default(),
            hanging: HashMap::new(),
            clients: HashMap::new(),
            items: HashMap::new(),
            queue: {
                let pointer = mailbox_writes::lock_queue_pointer(tx, mailbox)?;
                queue_at(tx.conn, context, pointer)?
            },
            has_turned: false,
            counts: HashMap::new(),
            counted: BTreeMap::new(),
            warnings: mailboxes::warnings(tx.conn, mailbox)?.into_iter().collect(),
            time_zones: HashMap::new(),
            stages: HashMap::new(),
            fresh: None,
        };
        known.load_conversations(tx.conn, wanted)?;
        known.load_clients(tx.conn, context, wanted)?;
        known.load_counts(tx.conn, wanted)?;
        Ok(known)
    }

    /// The messages that the mails name, those that name the mails, and what saved copies hang on.
    fn load_conversations(
        &mut self,
        conn: &mut AnyConn,
        wanted: &[Wanted<'_>],
    ) -> Result<(), StoreError> {
        let (conversations, parents) = Conversations::load(conn, wanted)?;
        self.conversations = conversations;
        let stored: BTreeSet<MessageId> = self
            .messages
            .values()
            .map(|(message, _thread)| *message)
            .chain(wanted.iter().filter_map(|mail| mail.message_id))
            .chain(self.own.values().filter_map(|own| Some(own.mail.stored?.0)))
            .collect();
        self.stored_before.clone_from(&stored);
        let stored: Vec<MessageId> = stored.into_iter().collect();
        self.copies = email_writes::find_copies(conn, self.mailbox, &stored)?;
        let hung: Vec<MessageId> = stored.into_iter().chain(parents).collect();
        self.hanging = clients::items_of_messages(conn, &hung)?;
        Ok(())
    }

    /// What the clients have who are likely to be the mails'.
    fn load_clients(
        &mut self,
        conn: &mut AnyConn,
        context: &Context,
        wanted: &[Wanted<'_>],
    ) -> Result<(), StoreError> {
        let of_mail = |mail: &MailFacts| {
            let recipients = if mail.recipients.len() <= RECIPIENTS_AHEAD_MAX {
                mail.recipients.clone()
            } else {
                Vec::new()
            };
            mail.sender.clone().into_iter().chain(recipients)
        };
        let keys: BTreeSet<String> = wanted
            .iter()
            .flat_map(|mail| of_mail(mail.mail))
            .map(|(key, _name)| key)
            .filter(|key| !context.is_ours(key))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.clients = clients::items_of(conn, &keys)?;
        let ids: BTreeSet<ItemId> = self
            .clients
            .values()
            .flat_map(ClientItems::item_ids)
            .chain(self.hanging.values().flatten().map(|hung| hung.item_id))
            .collect();
        self.load_items(conn, ids)
    }

    fn load_items(
        &mut self,
        conn: &mut AnyConn,
        ids: impl IntoIterator<Item = ItemId>,
    ) -> Result<(), StoreError> {
        let missing: Vec<ItemId> = ids
            .into_iter()
            .filter(|id| !self.items.contains_key(id))
            .collect();
        for part in missing.chunks(BOUND_MAX) {
            for item in items::get_many(conn, part)? {
                self.items.insert(item.id, item);
            }
        }
        Ok(())
    }

    fn load_counts(&mut self, conn: &mut AnyConn, wanted: &[Wanted<'_>]) -> Result<(), StoreError> {
        let mut pairs = BTreeSet::new();
        for mail in wanted {
            let hour = hour(mail.mail);
            pairs.insert((clients::WHOLE_MAILBOX, hour));
            if let Some((key, _name)) = &mail.mail.sender {
                pairs.insert((key.as_str(), hour));
            }
        }
        self.counts = clients::sender_counts(conn, self.mailbox, &pairs)?;
        Ok(())
    }

    /// Whose mails they are.
    pub const fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// Whether the UID still waits.
    pub fn is_open(&self, placement: PlacementId) -> bool {
        self.open.contains(&placement)
    }

    /// The UID is settled: its mail is this email. Written at the end.
    pub fn settle(&mut self, placement: PlacementId, email: EmailId) {
        self.open.remove(&placement);
        self.stored.push((placement, email));
    }

    /// The message with this content, and its thread.
    pub fn message(&self, content_key: &[u8]) -> Option<(MessageId, ThreadId)> {
        self.messages.get(content_key).copied()
    }

    /// The mail that we sent under this Message-ID, which is signed by us.
    pub fn own_mail(&self, header: &str) -> Option<&Ours> {
        self.own.get(header)
    }

    /// Keeps a message that is new, and what it reports.
    ///
    /// # Errors
    /// `Database` where ids run out.
    pub fn keep_message(
        &mut self,
        tx: &mut Tx<'_>,
        new: &NewMessage<'_>,
        sender_key: Option<String>,
        report: Option<&Report>,
    ) -> Result<(MessageId, ThreadId), StoreError> {
        let kept = self.conversations.keep(tx, new, sender_key, report)?;
        self.messages.insert(new.content_key.to_vec(), kept);
        Ok(kept)
    }

    /// The mailbox's email of a message.
    pub fn copy(&self, message: MessageId) -> Option<(EmailId, EmailOutcome)> {
        self.copies.get(&message).copied()
    }

    /// Whether an email that is about to be saved was in the CRM before and was taken out of it (R46).
    pub fn was_removed(&self, (email, message): (EmailId, MessageId)) -> bool {
        self.copy(message) == Some((email, EmailOutcome::Removed))
    }

    /// Whether a message that no saved email stands for may have a to-do all the same, from before it was taken out.
    pub fn may_have_activity(&self, message: MessageId) -> bool {
        self.stored_before.contains(&message) && self.items_of_message(message, None).is_empty()
    }

    /// Begins an email that is new; it is written by [`Known::keep_fresh`], once it is judged.
    ///
    /// # Errors
    /// `Database` where ids run out.
    pub fn begin_email(
        &mut self,
        tx: &mut Tx<'_>,
        thread: ThreadId,
        new: NewEmail,
    ) -> Result<EmailId, StoreError> {
        let id = EmailId(tx.id()?);
        let keys = new
            .participants
            .iter()
            .filter_map(|participant| participant.address_key.clone());
        self.conversations.join(thread, keys);
        self.copies.insert(new.message_id, (id, new.outcome));
        self.fresh = Some((id, new));
        Ok(id)
    }

    /// Writes the email that was begun, as it was judged.
    ///
    /// # Errors
    /// `Database` where ids run out.
    pub fn keep_fresh(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        match self.fresh.take() {
            Some((id, new)) => email_writes::insert_later(tx, id, new),
            None => Ok(()),
        }
    }

    /// The email stays unsaved, with this outcome.
    ///
    /// # Errors
    /// What the database says.
    pub fn keep_unsaved(
        &mut self,
        tx: &mut Tx<'_>,
        (email, message): (EmailId, MessageId),
        (outcome, direction): (EmailOutcome, Direction),
    ) -> Result<(), StoreError> {
        self.note_outcome((email, message), (outcome, direction));
        match self.fresh.as_mut().filter(|(id, _new)| *id == email) {
            Some((_id, new)) => {
                new.outcome = outcome;
                new.direction = direction;
                Ok(())
            }
            None => email_writes::update_outcome(tx, email, outcome, direction),
        }
    }

    /// The email is saved to the CRM, with this primary item.
    ///
    /// # Errors
    /// What the database says.
    pub fn keep_saved(
        &mut self,
        tx: &mut Tx<'_>,
        (email, message): (EmailId, MessageId),
        primary: ItemId,
        direction: Direction,
    ) -> Result<(), StoreError> {
        let outcome = EmailOutcome::Saved;
        self.note_outcome((email, message), (outcome, direction));
        match self.fresh.as_mut().filter(|(id, _new)| *id == email) {
            Some((_id, new)) => {
                new.outcome = outcome;
                new.direction = direction;
                new.saved = Some((tx.now, primary));
                Ok(())
            }
            None => email_writes::update_saved(tx, email, primary, direction),
        }
    }

    fn note_outcome(
        &mut self,
        (email, message): (EmailId, MessageId),
        (outcome, direction): (EmailOutcome, Direction),
    ) {
        self.copies.insert(message, (email, outcome));
        let is_saved = outcome == EmailOutcome::Saved;
        self.conversations
            .note_outcome(message, is_saved, direction);
    }

    /// Ties an email that is being saved to an item.
    ///
    /// # Errors
    /// `Database` where ids run out.
    pub fn link(
        &mut self,
        tx: &mut Tx<'_>,
        (email, message): (EmailId, MessageId),
        (item_id, is_primary): (ItemId, bool),
        (received_at, by): (crate::model::Time, Option<UserId>),
    ) -> Result<(), StoreError> {
        email_writes::insert_link_later(tx, (email, item_id), is_primary, received_at, by)?;
        self.hanging.entry(message).or_default().push(Hanging {
            email_id: email,
            item_id,
        });
        Ok(())
    }

    /// Adds a line to an item's timeline: the item is the liveliest from here on.
    pub fn tell(
        &mut self,
        tx: &mut Tx<'_>,
        entry: NewTimelineEntry,
        message_id: Option<MessageId>,
    ) {
        if let Some(item) = self.items.get_mut(&entry.item_id) {
            item.last_activity_at = item.last_activity_at.max(tx.now);
        }
        tx.tell(entry, message_id);
    }

    /// The conversations of the batch.
    pub const fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// Moves threads, with all their messages, into another one.
    ///
    /// # Errors
    /// What the database says.
    pub fn move_threads(
        &mut self,
        tx: &mut Tx<'_>,
        from: &[ThreadId],
        into: ThreadId,
    ) -> Result<(), StoreError> {
        // Rows that are held back say the old thread; it is seldom enough to write them first.
        tx.flush()?;
        messages::update_threads(tx, from, into)?;
        for (_message, thread) in self.messages.values_mut() {
            if from.contains(thread) {
                *thread = into;
            }
        }
        self.conversations.move_threads(from, into);
        Ok(())
    }

    /// What the client with this canonical address has.
    ///
    /// # Errors
    /// What the database says.
    pub fn client_facts(&mut self, tx: &mut Tx<'_>, key: &str) -> Result<ClientFacts, StoreError> {
        if !self.clients.contains_key(key) {
            // A contact of several addresses may have got a deal by a mail before.
            tx.flush()?;
            let found = clients::items_of(tx.conn, &[key])?;
            let ids: Vec<ItemId> = found.values().flat_map(ClientItems::item_ids).collect();
            self.load_items(tx.conn, ids)?;
            self.clients.extend(found);
        }
        let none = ClientItems::default();
        let client = self.clients.get(key).unwrap_or(&none);
        Ok(ClientFacts::of(client, &self.items))
    }

    /// The items that saved copies of a message hang on, but for one of the copies.
    pub fn items_of_message(&self, message: MessageId, but: Option<EmailId>) -> Vec<ItemId> {
        let hung = self.hanging.get(&message).map_or(&[][..], Vec::as_slice);
        clients::items_but(hung, but)
    }

    /// The items of the saved message that a mail answers.
    pub fn parent_facts(&self, parent: MessageId) -> Option<ParentFacts> {
        let items: Vec<CandidateItem> = self
            .items_of_message(parent, None)
            .iter()
            .filter_map(|id| self.items.get(id))
            .map(|item| candidate_item(item, None))
            .collect();
        (!items.is_empty()).then_some(ParentFacts { items })
    }

    /// An item that was loaded, or made here; else from the database.
    ///
    /// # Errors
    /// What the database says.
    pub fn item(&mut self, conn: &mut AnyConn, id: ItemId) -> Result<Option<&Item>, StoreError> {
        self.load_items(conn, [id])?;
        Ok(self.items.get(&id))
    }

    /// Makes an item for a client, with its address where its kind has one.
    ///
    /// # Errors
    /// `Database` where ids run out.
    pub fn make_item(
        &mut self,
        tx: &mut Tx<'_>,
        new: NewItem,
        (address, address_key): (&str, &str),
    ) -> Result<ItemId, StoreError> {
        let item = item_writes::insert_later(tx, new)?;
        let id = item.id;
        if item.kind != ItemKind::Deal {
            item_writes::insert_address_later(tx, id, address, address_key);
            if let Some(client) = self.clients.get_mut(address_key) {
                client.addressed.push(id);
            }
        }
        self.items.insert(id, item);
        Ok(id)
    }

    /// Notes a contact that was made here and has all its rows.
    pub fn note_contact(&mut self, contact: Item, keys: &[String]) {
        for key in keys {
            if let Some(client) = self.clients.get_mut(key) {
                client.addressed.push(contact.id);
            }
        }
        self.items.insert(contact.id, contact);
    }

    /// Gives a deal that was made here its contact.
    pub fn tie(&mut self, tx: &mut Tx<'_>, deal: ItemId, contact: ItemId) {
        item_writes::insert_deal_contact_later(tx, deal, contact);
        for client in self.clients.values_mut() {
            if client.addressed.contains(&contact) {
                client.deals.push((deal, contact));
            }
        }
    }

    /// Where items of this kind begin.
    ///
    /// # Errors
    /// What the database says.
    pub fn first_stage(
        &mut self,
        tx: &mut Tx<'_>,
        kind: ItemKind,
    ) -> Result<Option<StageId>, StoreError> {
        if let Some(stage) = self.stages.get(&kind) {
            return Ok(*stage);
        }
        let stage = item_writes::first_stage(tx, kind)?;
        self.stages.insert(kind, stage);
        Ok(stage)
    }

    /// A user's time zone.
    ///
    /// # Errors
    /// What the database says.
    pub fn time_zone(
        &mut self,
        conn: &mut AnyConn,
        user: UserId,
    ) -> Result<Option<&str>, StoreError> {
        let zone = match self.time_zones.entry(user) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(users::get(conn, user)?.map(|user| user.time_zone)),
        };
        Ok(zone.as_deref())
    }

    /// The queue as it stands after the turns of this batch.
    pub const fn queue(&self) -> &QueueFacts {
        &self.queue
    }

    /// A turn was taken; the pointer is written at the end.
    pub const fn turn(&mut self, new_pointer: i64) {
        self.queue.pointer = new_pointer;
        self.has_turned = true;
    }

    /// Counts one more mail of its sender; how many came before it in its hour.
    pub fn count_sender(&mut self, mail: &MailFacts) -> i64 {
        let Some((key, _name)) = &mail.sender else {
            return 0;
        };
        self.count((key.clone(), hour(mail)), 1)
    }

    /// How many items mail of the same hour has made in the mailbox.
    pub fn made(&self, mail: &MailFacts) -> i64 {
        let place = (clients::WHOLE_MAILBOX.to_owned(), hour(mail));
        self.counts.get(&place).copied().unwrap_or(0)
    }

    /// Counts so many items more that the mail has made.
    pub fn add_made(&mut self, mail: &MailFacts, made: usize) {
        let place = (clients::WHOLE_MAILBOX.to_owned(), hour(mail));
        self.count(place, i64::try_from(made).unwrap_or(i64::MAX));
    }

    /// Adds to a count; what it was.
    fn count(&mut self, place: (String, i64), more: i64) -> i64 {
        let before = self.counts.entry(place.clone()).or_default();
        let found = *before;
        *before = before.saturating_add(more);
        *self.counted.entry(place).or_default() += more;
        found
    }

    /// Notes a warning; whether it is new.
    ///
    /// # Errors
    /// What the database says.
    pub fn warn(&mut self, tx: &mut Tx<'_>, warning: MailboxWarning) -> Result<bool, StoreError> {
        if !self.warnings.insert(warning) {
            return Ok(false);
        }
        mailbox_writes::put_warning(tx, self.mailbox, warning)
    }

    /// Takes a warning back.
    ///
    /// # Errors
    /// What the database says.
    pub fn unwarn(&mut self, tx: &mut Tx<'_>, warning: MailboxWarning) -> Result<(), StoreError> {
        if self.warnings.remove(&warning) {
            mailbox_writes::delete_warning(tx, self.mailbox, warning)?;
        }
        Ok(())
    }

    /// Writes what was held back. Nothing of the batch is judged after it.
    ///
    /// # Errors
    /// What the database says.
    pub fn finish(self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        clients::add_sender_counts(tx, self.mailbox, self.counted);
        if self.has_turned {
            mailbox_writes::update_queue_pointer(tx, self.mailbox, self.queue.pointer)?;
        }
        tx.flush()?;
        placements::update_stored(tx, self.stored)
    }
}

const fn hour(mail: &MailFacts) -> i64 {
    mail.internal_date.seconds().div_euclid(HOUR_SECONDS)
}

/// The first sender who stands in a mail, whether or not it is to be believed.
pub fn first_sender(new: &[email_writes::NewParticipant]) -> Option<String> {
    new.iter()
        .filter(|participant| participant.role == ParticipantRole::From)
        .find_map(|participant| participant.address_key.clone())
}
