//! One write: its statements, and what it tells. Entries get their positions as the last step.

use super::sql::{Rows, Value, padded_parts, sql};
use super::{AnyConn, IdBlock, StoreError, lock};
use crate::model::item::ItemFacts;
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::model::topic::Topic;
use crate::model::{EmailId, ItemId, MessageId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// What changed under a live stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// An email's links.
    Links,
    /// An item's responsible, stage or openness, or the item is gone.
    Item,
    /// Somebody's rights.
    Rights,
    /// What lies in the past of an item's timeline, or of everyone's: it is to be read again.
    History,
}

impl ChangeKind {
    /// Its text in the database.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Links => "LINKS",
            Self::Item => "ITEM",
            Self::Rights => "RIGHTS",
            Self::History => "HISTORY",
        }
    }
}

/// Tables whose rows a write may hold back, in the order that their foreign keys want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Later {
    Threads,
    Messages,
    References,
    Reports,
    Items,
    ItemAddresses,
    DealContacts,
    Emails,
    Participants,
    Attachments,
    Traces,
    Links,
    LinkChanges,
    Activities,
    SenderCounts,
}

impl Later {
    /// The table with its columns, and what follows the values.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Threads => ("threads (id, subject, created_at)", ""),
            Self::Messages => (
                "messages (id, content_key, message_id_header, subject_base, thread_id, received_at)",
                "",
            ),
            Self::References => (
                "message_references (message_id, position, referenced, is_reply_to)",
                "",
            ),
            Self::Reports => (
                "bounce_reports (message_id, original, recipient_key)",
                " ON CONFLICT (message_id, recipient_key) DO NOTHING",
            ),
            Self::Items => (
                "items (id, kind, title, responsible_id, open_to_everyone, stage_id, is_open, created_at, last_activity_at, \
                 name, source, company, amount, currency, origin_lead_id, is_extra_lead, version)",
                "",
            ),
            Self::ItemAddresses => (
                "item_addresses (item_id, position, address, address_key, is_undeliverable)",
                "",
            ),
            Self::DealContacts => ("deal_contacts (deal_id, contact_id, position)", ""),
            Self::Emails => (
                "emails (id, message_id, mailbox_id, raw_hash, direction, outcome, from_name, from_address, subject, \
                 preview, received_at, internal_date, saved_at, primary_item_id, automatic, problems, version)",
                "",
            ),
            Self::Participants => (
                "participants (email_id, role, position, name, address, address_key)",
                "",
            ),
            Self::Attachments => (
                "attachments (id, email_id, part_index, name, media_type, size_bytes, content_id, is_inline)",
                "",
            ),
            Self::Traces => (
                "routing_traces (email_id, trace, settings_version, judged_at)",
                " ON CONFLICT (email_id) DO UPDATE SET trace = excluded.trace, \
                 settings_version = excluded.settings_version, judged_at = excluded.judged_at",
            ),
            Self::Links => (
                "email_links (email_id, item_id, is_primary, received_at, linked_at, linked_by)",
                "",
            ),
            Self::LinkChanges => (
                "link_changes (id, email_id, at, by_user_id, from_item_id, to_item_id, was_primary)",
                "",
            ),
            Self::Activities => (
                "activities (id, message_id, responsible_id, state, scheduled_at, deadline, completed_at, version)",
                " ON CONFLICT (message_id) DO NOTHING",
            ),
            Self::SenderCounts => (
                "sender_counts (mailbox_id, address_key, hour, count)",
                " ON CONFLICT (mailbox_id, address_key, hour) DO UPDATE SET count = sender_counts.count + excluded.count",
            ),
        }
    }
}

/// An entry to come, with the moment at which it was told.
struct Entry {
    entry: NewTimelineEntry,
    message_id: Option<MessageId>,
    at: Time,
}

struct Change {
    kind: ChangeKind,
    email_id: Option<EmailId>,
    item_id: Option<ItemId>,
    before: Option<String>,
}

/// A write in progress. What it tells becomes visible together with what it wrote.
pub struct Tx<'a> {
    /// The connection, inside the transaction.
    pub conn: &'a mut AnyConn,
    /// The moment of this write. A write of many mails moves it on by a microsecond a mail, so that their order shows.
    pub now: Time,
    ids: &'a Mutex<IdBlock>,
    later: BTreeMap<Later, Rows>,
    entries: Vec<Entry>,
    changes: Vec<Change>,
    topics: BTreeSet<String>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a mut AnyConn, ids: &'a Mutex<IdBlock>, now: Time) -> Self {
        Self {
            conn,
            now,
            ids,
            later: BTreeMap::new(),
            entries: Vec::new(),
            changes: Vec::new(),
            topics: BTreeSet::new(),
        }
    }

    /// A fresh id, never given out before.
    ///
    /// # Errors
    /// `Database` where one transaction wants more ids than any should.
    pub fn id(&mut self) -> Result<i64, StoreError> {
        let mut block = lock(self.ids);
        if block.next >= block.end {
            return Err(StoreError::Database(
                "a transaction used up its ids".to_owned(),
            ));
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }

    /// Holds a row back, to be written with others of its table by few statements: at the end of the write, or by
    /// [`Tx::flush`]. Until then no query sees it.
    pub fn later<const N: usize>(&mut self, table: Later, row: [Value; N]) {
        self.later.entry(table).or_default().push(row);
    }

    /// Writes what was held back, in the order that foreign keys want.
    ///
    /// # Errors
    /// `Conflict` where a key stands in the way.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        for (table, rows) in std::mem::take(&mut self.later) {
            let (into, after) = table.texts();
            rows.insert(self.conn, into, after)?;
        }
        Ok(())
    }

    /// Adds a line to an item's timeline. `message_id` is given for EMAIL_RECEIVED and EMAIL_SENT:
    /// an item has one such entry for a message, however many mailboxes it came to.
    pub fn tell(&mut self, entry: NewTimelineEntry, message_id: Option<MessageId>) {
        self.entries.push(Entry {
            entry,
            message_id,
            at: self.now,
        });
    }

    /// Records that an email's links changed; `before` are the items it hung on.
    pub fn links_changed(&mut self, email_id: EmailId, before: &[ItemId]) {
        let ids: Vec<i64> = before.iter().map(|id| id.0).collect();
        self.changes.push(Change {
            kind: ChangeKind::Links,
            email_id: Some(email_id),
            item_id: None,
            before: serde_json::to_string(&ids).ok(),
        });
    }

    /// The same where an item is about to go: its facts can't be read any more when the change is told.
    ///
    /// # Errors
    /// `Database` never in practice: facts are plain numbers and words.
    pub fn links_changed_from(
        &mut self,
        email_id: EmailId,
        before: &[ItemFacts],
    ) -> Result<(), StoreError> {
        let before = serde_json::to_string(before)
            .map_err(|error| StoreError::Database(error.to_string()))?;
        self.changes.push(Change {
            kind: ChangeKind::Links,
            email_id: Some(email_id),
            item_id: None,
            before: Some(before),
        });
        Ok(())
    }

    /// Records that an item's timeline (`None`: anybody's) changed where it was read already, or that more items came
    /// into view or went from it than can be told one by one.
    pub fn history_changed(&mut self, item_id: Option<ItemId>) {
        self.changes.push(Change {
            kind: ChangeKind::History,
            email_id: None,
            item_id,
            before: None,
        });
    }

    /// Records that the facts about an item that rights depend on changed; `before` is their JSON.
    pub fn item_changed(&mut self, item_id: ItemId, before: String) {
        self.changes.push(Change {
            kind: ChangeKind::Item,
            email_id: None,
            item_id: Some(item_id),
            before: Some(before),
        });
    }

    /// Records that somebody's rights changed: every viewer is loaded anew.
    ///
    /// # Errors
    /// What the database says.
    pub fn rights_changed(&mut self) -> Result<(), StoreError> {
        sql("UPDATE rights_epoch SET epoch = epoch + 1 WHERE id = 1").run(self.conn)?;
        self.wake(Topic::Rights);
        self.changes.push(Change {
            kind: ChangeKind::Rights,
            email_id: None,
            item_id: None,
            before: None,
        });
        Ok(())
    }

    /// Wakes whoever waits for this topic, after the commit.
    pub fn wake(&mut self, topic: Topic) {
        self.topics.insert(topic.to_string());
    }

    /// Takes positions, as the last step: the locked counter makes their order the order of commits.
    /// Whether anything was told.
    pub(super) fn finish(&mut self) -> Result<bool, StoreError> {
        self.flush()?;
        let entries = std::mem::take(&mut self.entries);
        let changes = std::mem::take(&mut self.changes);
        if entries.is_empty() && changes.is_empty() && self.topics.is_empty() {
            return Ok(false);
        }
        let wanted = entries
            .len()
            .saturating_add(changes.len())
            .saturating_add(1);
        let wanted = i64::try_from(wanted).map_err(|e| StoreError::Database(e.to_string()))?;
        let last: i64 = sql("UPDATE positions SET last = last + ")
            .bind(wanted)
            .push(" WHERE id = 1 RETURNING last")
            .one(self.conn)?
            .ok_or(StoreError::Corrupt {
                table: "positions",
                column: "id",
                row: 1,
            })?;
        let mut position = last - wanted;
        let mut touched: BTreeMap<ItemId, Time> = BTreeMap::new();
        let mut entry_rows = Rows::default();
        for entry in &entries {
            position += 1;
            touched.insert(entry.entry.item_id, entry.at);
            entry_rows.push(entry_row(position, entry));
        }
        let mut change_rows = Rows::default();
        for change in &changes {
            position += 1;
            change_rows.push(change_row(position, self.now, change));
        }
        entry_rows.insert(self.conn, ENTRY_COLUMNS, " ON CONFLICT DO NOTHING")?;
        change_rows.insert(self.conn, CHANGE_COLUMNS, "")?;
        self.touch_items(&touched, last - wanted)?;
        let timeline = !entries.is_empty() || !changes.is_empty();
        if timeline {
            self.wake(Topic::Timeline);
        }
        if !changes.is_empty() {
            self.wake(Topic::Changes);
        }
        self.outbox(last, &touched)?;
        Ok(true)
    }

    /// An item's newest entry is what lists are sorted by, and mail goes by (R16). A further copy of a message makes no
    /// entry, and so is no news: only items with an entry behind this position count.
    fn touch_items(
        &mut self,
        touched: &BTreeMap<ItemId, Time>,
        behind: i64,
    ) -> Result<(), StoreError> {
        let rows = touched.iter().map(|(id, at)| [id.0, at.micros()]);
        for part in padded_parts(rows.collect()) {
            sql("WITH touched (id, at) AS (VALUES ")
                .tuples(part)
                .push(
                    ") UPDATE items SET last_activity_at = touched.at FROM touched \
                     WHERE items.id = touched.id AND items.last_activity_at < touched.at AND EXISTS \
                     (SELECT 1 FROM timeline_entries t WHERE t.item_id = items.id AND t.position > ",
                )
                .bind(behind)
                .push(")")
                .run(self.conn)?;
        }
        Ok(())
    }

    fn outbox(
        &mut self,
        position: i64,
        touched: &BTreeMap<ItemId, Time>,
    ) -> Result<(), StoreError> {
        let mut topics = std::mem::take(&mut self.topics);
        topics.extend(touched.keys().map(|id| Topic::Item(*id).to_string()));
        let topics = serde_json::to_string(&topics)
            .map_err(|error| StoreError::Database(error.to_string()))?;
        sql("INSERT INTO outbox (position, topics) VALUES (")
            .bind(position)
            .push(", ")
            .bind(topics)
            .push(")")
            .run(self.conn)?;
        Ok(())
    }
}

const ENTRY_COLUMNS: &str = "timeline_entries (position, item_id, kind, at, actor_id, email_id, message_id, activity_id, \
     other_item_id, from_user_id, to_user_id, from_stage_id, to_stage_id, note, draft_id, sending)";
const CHANGE_COLUMNS: &str =
    "timeline_changes (position, kind, at, email_id, item_id, before_json)";

fn change_row(position: i64, now: Time, change: &Change) -> [Value; 6] {
    [
        position.into(),
        change.kind.as_text().into(),
        now.micros().into(),
        change.email_id.map(|id| id.0).into(),
        change.item_id.map(|id| id.0).into(),
        change.before.clone().into(),
    ]
}

/// The columns of an entry that only some kinds have.
#[derive(Default)]
struct Concerns {
    email: Option<i64>,
    activity: Option<i64>,
    other_item: Option<i64>,
    users: (Option<i64>, Option<i64>),
    stages: (Option<i64>, Option<i64>),
    note: Option<String>,
    sending: Option<(i64, &'static str)>,
}

fn concerns(told: &Told) -> Concerns {
    let none = Concerns::default();
    match told {
        Told::EmailReceived { email_id } | Told::EmailSent { email_id } => Concerns {
            email: Some(email_id.0),
            ..none
        },
        Told::EmailLinked {
            email_id,
            from: other,
        }
        | Told::EmailUnlinked {
            email_id,
            to: other,
        } => Concerns {
            email: Some(email_id.0),
            other_item: other.map(|id| id.0),
            ..none
        },
        Told::ActivityCompleted {
            activity_id,
            email_id,
        }
        | Told::ActivityReopened {
            activity_id,
            email_id,
        } => Concerns {
            email: Some(email_id.0),
            activity: Some(activity_id.0),
            ..none
        },
        Told::ItemCreated | Told::LeadConverted => none,
        Told::ResponsibleChanged { from, to } => Concerns {
            users: (Some(from.0), Some(to.0)),
            ..none
        },
        Told::StageChanged { from, to } => Concerns {
            stages: (Some(from.0), Some(to.0)),
            ..none
        },
        Told::NoteAdded { text } => Concerns {
            note: Some(text.clone()),
            ..none
        },
        Told::SendingChanged { draft_id, state } => Concerns {
            sending: Some((draft_id.0, state.as_text())),
            ..none
        },
    }
}

fn entry_row(position: i64, told: &Entry) -> [Value; 16] {
    let Entry {
        entry,
        message_id,
        at,
    } = told;
    let about = concerns(&entry.told);
    [
        position.into(),
        entry.item_id.0.into(),
        entry.told.kind().as_text().into(),
        at.micros().into(),
        entry.actor_id.map(|id| id.0).into(),
        about.email.into(),
        message_id.map(|id| id.0).into(),
        about.activity.into(),
        about.other_item.into(),
        about.users.0.into(),
        about.users.1.into(),
        about.stages.0.into(),
        about.stages.1.into(),
        about.note.into(),
        about.sending.map(|(draft, _state)| draft).into(),
        about.sending.map(|(_draft, state)| state.to_owned()).into(),
    ]
}
