//! What is known about a batch of mails: loaded at once, under the locks, and kept up to date as its mails are judged,
//! so that a batch takes as many queries as one mail does. What the batch writes is held back in the same way.
//! Not for: deciding; the rules get their facts from here.

use super::facts::{Context, MailFacts};
use crate::model::email::{Direction, EmailOutcome, ParticipantRole};
use crate::model::item::{Item, ItemKind};
use crate::model::mailbox::MailboxWarning;
use crate::model::timeline::NewTimelineEntry;
use crate::model::{EmailId, ItemId, MailboxId, MessageId, PlacementId, StageId, ThreadId, UserId};
use crate::rules::queue::{Connector, QueueFacts, QueueMember};
use crate::rules::routing::{CandidateItem, ParentFacts};
use crate::rules::threading::{EarlyChild, ThreadCandidate, ThreadFacts};
use crate::store::clients::{self, ClientItems, Hanging};
use crate::store::email_writes::{self, NewEmail};
use crate::store::item_writes::{self, NewItem};
use crate::store::messages::{self, MessageHead, NewMessage};
use crate::store::{AnyConn, StoreError, Tx, items, mailbox_writes, mailboxes, placements, users};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Messages looked at that claim one of the ids a mail names: more claim it only to confuse.
const CANDIDATES_MAX: usize = 100;
/// Messages that name a late parent, looked at: a conversation has fewer.
const CHILDREN_MAX: i64 = 200;
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
    pub mail: &'a MailFacts,
}

/// What a client has: contacts, open deals and leads.
pub struct ClientFacts {
    pub contacts: Vec<CandidateItem>,
    pub open_deals: Vec<CandidateItem>,
    pub leads: Vec<CandidateItem>,
}

/// The state of a batch.
pub struct Known {
    mailbox: MailboxId,
    open: HashSet<PlacementId>,
    stored: Vec<(PlacementId, EmailId)>,
    messages: HashMap<Vec<u8>, (MessageId, ThreadId)>,
    copies: HashMap<MessageId, (EmailId, EmailOutcome)>,
    heads: HashMap<MessageId, MessageHead>,
    by_header: HashMap<String, Vec<MessageId>>,
    people: HashMap<ThreadId, BTreeSet<String>>,
    children: HashMap<String, Vec<(MessageId, bool)>>,
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
            copies: HashMap::new(),
            heads: HashMap::new(),
            by_header: HashMap::new(),
            people: HashMap::new(),
            children: HashMap::new(),
            hanging: HashMap::new(),
            clients: HashMap::new(),
            items: HashMap::new(),
            queue: queue_facts(tx, context)?,
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
        let named: BTreeSet<&String> = wanted
            .iter()
            .flat_map(|mail| mail.mail.in_reply_to.iter().chain(&mail.mail.references))
            .collect();
        let named: Vec<String> = named.into_iter().cloned().collect();
        let limit = i64::try_from(CANDIDATES_MAX).unwrap_or(i64::MAX);
        let parents = messages::ids_with_headers(conn, &named, limit)?;
        let own: BTreeSet<&str> = wanted.iter().filter_map(|mail| mail.header).collect();
        let own: Vec<String> = own.into_iter().map(str::to_owned).collect();
        let mut seen: BTreeSet<MessageId> = parents.iter().copied().collect();
        for (header, message, is_reply_to) in messages::naming(conn, &own, CHILDREN_MAX)? {
            seen.insert(message);
            self.note_child(header, message, is_reply_to);
        }
        let seen: Vec<MessageId> = seen.into_iter().collect();
        for head in messages::heads(conn, &seen)? {
            self.note_head(head);
        }
        let threads = self.heads.values().map(|head| head.thread_id).collect();
        self.people = messages::people_of_threads(conn, &threads)?;
        let stored: BTreeSet<MessageId> = self
            .messages
            .values()
            .map(|(message, _thread)| *message)
            .chain(wanted.iter().filter_map(|mail| mail.message_id))
            .collect();
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
            .flat_map(items_of_client)
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
        for part in missing.chunks(ITEMS_AT_ONCE) {
            for item in items::get_many(conn, part)? {
                self.items.insert(item.id, item);
            }
        }
        Ok(())
    }

    fn load_counts(
        &mut self,
        conn: &mut AnyConn,
        wanted: &[Wanted<'_>],
    ) -> Result<(), StoreError> {
        // What is stored already is not counted again.
        let arrived = || wanted.iter().filter(|mail| mail.message_id.is_none());
        let senders: BTreeSet<&str> = arrived()
            .filter_map(|mail| mail.mail.sender.as_ref())
            .map(|(key, _name)| key.as_str())
            .collect();
        let hours: BTreeSet<i64> = arrived().map(|mail| hour(mail.mail)).collect();
        if senders.is_empty() {
            return Ok(());
        }
        let senders: Vec<&str> = senders.into_iter().collect();
        self.counts = clients::sender_counts(conn, self.mailbox, (&senders, &hours))?;
        Ok(())
    }

    fn note_head(&mut self, head: MessageHead) {
        if let Some(header) = &head.header {
            let claiming = self.by_header.entry(header.clone()).or_default();
            let place = (head.received_at, head.id);
            let at = claiming.partition_point(|other| {
                self.heads
                    .get(other)
                    .is_some_and(|other| (other.received_at, other.id) < place)
            });
            claiming.insert(at, head.id);
        }
        self.heads.insert(head.id, head);
    }

    fn note_child(&mut self, header: String, message: MessageId, is_reply_to: bool) {
        let children = self.children.entry(header).or_default();
        match children.iter_mut().find(|(known, _reply)| *known == message) {
            Some((_known, reply)) => *reply |= is_reply_to,
            None => children.push((message, is_reply_to)),
        }
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

    /// Keeps a message that is new.
    ///
    /// # Errors
    /// `Database` where ids run out.
    pub fn keep_message(
        &mut self,
        tx: &mut Tx<'_>,
        new: &NewMessage<'_>,
        sender_key: Option<String>,
    ) -> Result<(MessageId, ThreadId), StoreError> {
        let (id, thread_id) = messages::insert_later(tx, new)?;
        self.messages
            .insert(new.content_key.to_vec(), (id, thread_id));
        let named = new
            .in_reply_to
            .iter()
            .map(|named| (named, true))
            .chain(new.references.iter().map(|named| (named, false)));
        for (header, is_reply_to) in named {
            self.note_child(header.clone(), id, is_reply_to);
        }
        self.note_head(MessageHead {
            id,
            thread_id,
            header: new.header.map(str::to_owned),
            subject_base: new.subject_base.to_owned(),
            received_at: new.received_at,
            sender_key,
            is_saved: false,
            is_outgoing: false,
        });
        Ok((id, thread_id))
    }

    /// The mailbox's email of a message.
    pub fn copy(&self, message: MessageId) -> Option<(EmailId, EmailOutcome)> {
        self.copies.get(&message).copied()
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
        self.people.entry(thread).or_default().extend(keys);
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
        if let Some(head) = self.heads.get_mut(&message) {
            head.is_saved |= outcome == EmailOutcome::Saved;
            head.is_outgoing |= direction == Direction::Outgoing;
        }
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

    /// The messages that a mail names, as candidates for its thread.
    pub fn thread_facts(&self, mail: &MailFacts, sender_is_ours: bool) -> ThreadFacts {
        let mut left = CANDIDATES_MAX;
        let mut of = |id: &String| {
            let claiming = self.by_header.get(id).map_or(&[][..], Vec::as_slice);
            let found: Vec<ThreadCandidate> = claiming
                .iter()
                .filter_map(|id| self.heads.get(id))
                .take(left)
                .map(|head| self.candidate(head))
                .collect();
            left = left.saturating_sub(found.len());
            found
        };
        let in_reply_to = mail.in_reply_to.iter().flat_map(&mut of).collect();
        let references = mail.references.iter().rev().flat_map(of).collect();
        ThreadFacts {
            in_reply_to,
            references,
            bounce: None,
            subject_base: mail.subject_base.clone(),
            sender_key: mail.sender.as_ref().map(|(key, _name)| key.clone()),
            sender_is_ours,
        }
    }

    fn candidate(&self, head: &MessageHead) -> ThreadCandidate {
        ThreadCandidate {
            message_id: head.id,
            thread_id: head.thread_id,
            subject_base: head.subject_base.clone(),
            participants: self.people_of(head.thread_id),
            is_saved: head.is_saved,
        }
    }

    /// Canonical addresses of everybody in a thread that some mail of the batch has to do with.
    pub fn people_of(&self, thread: ThreadId) -> Vec<String> {
        let people = self.people.get(&thread);
        people.into_iter().flatten().cloned().collect()
    }

    /// The messages that came before and name this Message-ID as a parent.
    pub fn early_children(&self, header: &str) -> Vec<EarlyChild> {
        let children = self.children.get(header);
        let child = |(id, is_reply_to): &(MessageId, bool)| {
            let head = self.heads.get(id)?;
            Some(EarlyChild {
                thread_id: head.thread_id,
                subject_base: head.subject_base.clone(),
                is_reply_to: *is_reply_to,
                sender_is_ours: head.is_outgoing,
                sender_key: head.sender_key.clone(),
                participants: self.people_of(head.thread_id),
            })
        };
        children.into_iter().flatten().filter_map(child).collect()
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
        let moved = |thread: &mut ThreadId| {
            if from.contains(thread) {
                *thread = into;
            }
        };
        self.heads
            .values_mut()
            .for_each(|head| moved(&mut head.thread_id));
        self.messages
            .values_mut()
            .for_each(|(_message, thread)| moved(thread));
        for thread in from {
            let people = self.people.remove(thread).unwrap_or_default();
            self.people.entry(into).or_default().extend(people);
        }
        Ok(())
    }

    /// What the client with this canonical address has.
    ///
    /// # Errors
    /// What the database says.
    pub fn client_facts(
        &mut self,
        tx: &mut Tx<'_>,
        key: &str,
    ) -> Result<ClientFacts, StoreError> {
        if !self.clients.contains_key(key) {
            // A contact of several addresses may have got a deal by a mail before.
            tx.flush()?;
            let found = clients::items_of(tx.conn, &[key])?;
            let ids: Vec<ItemId> = found.values().flat_map(items_of_client).collect();
            self.load_items(tx.conn, ids)?;
            self.clients.extend(found);
        }
        let client = self.clients.get(key).cloned().unwrap_or_default();
        let addressed = |kind: ItemKind| {
            let mut items: Vec<CandidateItem> = client
                .addressed
                .iter()
                .filter_map(|id| self.items.get(id))
                .filter(|item| item.kind == kind)
                .map(|item| candidate_item(item, None))
                .collect();
            items.sort_by_key(|item| (item.created_at, item.id));
            items
        };
        let mut open_deals: Vec<CandidateItem> = client
            .deals
            .iter()
            .filter_map(|(deal, contact)| Some((self.items.get(deal)?, *contact)))
            .filter(|(deal, _contact)| deal.is_open && deal.kind == ItemKind::Deal)
            .map(|(deal, contact)| candidate_item(deal, Some(contact)))
            .collect();
        open_deals.sort_by_key(|item| (item.created_at, item.id));
        Ok(ClientFacts {
            contacts: addressed(ItemKind::Contact),
            open_deals,
            leads: addressed(ItemKind::Lead),
        })
    }

    /// The items that saved copies of a message hang on, but for one of the copies.
    pub fn items_of_message(&self, message: MessageId, but: Option<EmailId>) -> Vec<ItemId> {
        let mut seen = Vec::new();
        for hung in self.hanging.get(&message).into_iter().flatten() {
            if Some(hung.email_id) != but && !seen.contains(&hung.item_id) {
                seen.push(hung.item_id);
            }
        }
        seen
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
        if !self.time_zones.contains_key(&user) {
            let zone = users::get(conn, user)?.map(|user| user.time_zone);
            self.time_zones.insert(user, zone);
        }
        Ok(self.time_zones.get(&user).and_then(Option::as_deref))
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
        let place = (key.clone(), hour(mail));
        let before = self.counts.entry(place.clone()).or_default();
        let found = *before;
        *before += 1;
        *self.counted.entry(place).or_default() += 1;
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

/// Items bound in one statement.
const ITEMS_AT_ONCE: usize = 1 << 10;

fn items_of_client(client: &ClientItems) -> impl Iterator<Item = ItemId> {
    client
        .addressed
        .iter()
        .chain(client.deals.iter().map(|(deal, _contact)| deal))
        .copied()
}

const fn hour(mail: &MailFacts) -> i64 {
    mail.internal_date.seconds().div_euclid(HOUR_SECONDS)
}

/// An item as routing sees it.
pub const fn candidate_item(item: &Item, contact: Option<ItemId>) -> CandidateItem {
    CandidateItem {
        id: item.id,
        kind: item.kind,
        is_open: item.is_open,
        responsible_id: item.responsible_id,
        newest_entry_at: item.last_activity_at,
        created_at: item.created_at,
        is_extra_lead: item.is_extra_lead,
        contact_id: contact,
    }
}

/// The queue, its pointer locked until the transaction ends.
fn queue_facts(tx: &mut Tx<'_>, context: &Context) -> Result<QueueFacts, StoreError> {
    let pointer = mailbox_writes::lock_queue_pointer(tx, context.mailbox.id)?;
    let connector = context.mailbox.connector_id;
    let mut ids = context.settings.queue.clone();
    ids.push(connector);
    let known: HashMap<_, _> = users::get_many(tx.conn, &ids)?
        .into_iter()
        .map(|user| (user.id, user.is_active))
        .collect();
    let is_active = |id| known.get(&id).copied().unwrap_or(false);
    Ok(QueueFacts {
        members: context
            .settings
            .queue
            .iter()
            .map(|&user_id| QueueMember {
                user_id,
                is_active: is_active(user_id),
            })
            .collect(),
        pointer,
        connector: Connector {
            user_id: connector,
            is_active: is_active(connector),
        },
        administrators: users::administrators(tx.conn)?,
    })
}

/// The first sender who stands in a mail, whether or not it is to be believed.
pub fn first_sender(new: &[email_writes::NewParticipant]) -> Option<String> {
    new.iter()
        .filter(|participant| participant.role == ParticipantRole::From)
        .find_map(|participant| participant.address_key.clone())
}
