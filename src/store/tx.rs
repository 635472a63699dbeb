//! One write: its statements, and what it tells. Entries get their positions as the last step.

use super::sql::{Value, insert_all, sql};
use super::{AnyConn, IdBlock, StoreError, lock};
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::model::topic::Topic;
use crate::model::{EmailId, ItemId, MessageId, Time};
use std::collections::BTreeSet;
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
}

impl ChangeKind {
    /// Its text in the database.
    pub const fn as_text(self) -> &'static str {
        match self {
            Self::Links => "LINKS",
            Self::Item => "ITEM",
            Self::Rights => "RIGHTS",
        }
    }
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
    /// The moment of this write.
    pub now: Time,
    ids: &'a Mutex<IdBlock>,
    entries: Vec<(NewTimelineEntry, Option<MessageId>)>,
    changes: Vec<Change>,
    topics: BTreeSet<String>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a mut AnyConn, ids: &'a Mutex<IdBlock>, now: Time) -> Self {
        Self {
            conn,
            now,
            ids,
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

    /// Adds a line to an item's timeline. `message_id` is given for EMAIL_RECEIVED and EMAIL_SENT:
    /// an item has one such entry for a message, however many mailboxes it came to.
    pub fn tell(&mut self, entry: NewTimelineEntry, message_id: Option<MessageId>) {
        self.entries.push((entry, message_id));
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
        let mut touched = BTreeSet::new();
        let mut entry_rows = Vec::with_capacity(entries.len());
        for (entry, message_id) in &entries {
            position += 1;
            touched.insert(entry.item_id);
            entry_rows.push(entry_row(position, self.now, entry, *message_id));
        }
        let mut change_rows = Vec::with_capacity(changes.len());
        for change in &changes {
            position += 1;
            change_rows.push(change_row(position, self.now, change));
        }
        insert_all(
            self.conn,
            ENTRY_COLUMNS,
            " ON CONFLICT DO NOTHING",
            entry_rows,
        )?;
        insert_all(self.conn, CHANGE_COLUMNS, "", change_rows)?;
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
    fn touch_items(&mut self, touched: &BTreeSet<ItemId>, behind: i64) -> Result<(), StoreError> {
        if touched.is_empty() {
            return Ok(());
        }
        sql("UPDATE items SET last_activity_at = ")
            .bind(self.now.micros())
            .push(" WHERE id IN (")
            .list(touched.iter().map(|id| id.0))
            .push(") AND last_activity_at < ")
            .bind(self.now.micros())
            .push(" AND EXISTS (SELECT 1 FROM timeline_entries t WHERE t.item_id = items.id AND t.position > ")
            .bind(behind)
            .push(")")
            .run(self.conn)?;
        Ok(())
    }

    fn outbox(&mut self, position: i64, touched: &BTreeSet<ItemId>) -> Result<(), StoreError> {
        let mut topics = std::mem::take(&mut self.topics);
        topics.extend(touched.iter().map(|id| Topic::Item(*id).to_string()));
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
     other_item_id, from_user_id, to_user_id, from_stage_id, to_stage_id, note)";
const CHANGE_COLUMNS: &str =
    "timeline_changes (position, kind, at, email_id, item_id, before_json)";

fn change_row(position: i64, now: Time, change: &Change) -> Vec<Value> {
    vec![
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
    }
}

fn entry_row(
    position: i64,
    now: Time,
    entry: &NewTimelineEntry,
    message_id: Option<MessageId>,
) -> Vec<Value> {
    let about = concerns(&entry.told);
    vec![
        position.into(),
        entry.item_id.0.into(),
        entry.told.kind().as_text().into(),
        now.micros().into(),
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
    ]
}
