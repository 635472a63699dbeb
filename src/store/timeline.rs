//! Timeline entries, in the order of their positions.

use super::emails::{self, EmailRow, email_fields};
use super::narrow::{self, Narrow};
use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, scope};
use crate::model::draft::SendingState;
use crate::model::email::Email;
use crate::model::item::ItemFacts;
use crate::model::timeline::{NewTimelineEntry, Position, TimelineEntry, TimelineKind, Told};
use crate::model::{ActivityId, DraftId, EmailId, ItemId, StageId, Time, UserId};
use crate::rules::access::{EmailScope, ItemScope, shown_with};
use std::collections::HashMap;

type EntryRow = (
    i64,
    i64,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<String>,
);

macro_rules! columns {
    ($more:expr, $joined:literal) => {
        concat!(
            "SELECT t.position, t.item_id, t.kind, t.at, t.actor_id, t.email_id, t.activity_id, t.other_item_id, t.from_user_id, \
             t.to_user_id, t.from_stage_id, t.to_stage_id, t.note, t.draft_id, t.sending",
            $more,
            " FROM timeline_entries t JOIN items i ON i.id = t.item_id",
            $joined
        )
    };
}

const COLUMNS: &str = columns!("", "");

/// With the email that an entry is about, whoever may see it.
const COLUMNS_AND_EMAIL: &str = columns!(
    concat!(", ", email_fields!()),
    " LEFT JOIN emails e ON e.id = t.email_id LEFT JOIN messages g ON g.id = e.message_id"
);

fn entry(row: EntryRow) -> Result<TimelineEntry, StoreError> {
    #[rustfmt::skip]
    let (position, item, kind, at, actor, email, activity, other_item, from_user, to_user, from_stage, to_stage, note, draft, sending) = row;
    let corrupt = |column| StoreError::Corrupt {
        table: "timeline_entries",
        column,
        row: position,
    };
    let email = || email.map(EmailId).ok_or_else(|| corrupt("email_id"));
    let activity = || {
        activity
            .map(ActivityId)
            .ok_or_else(|| corrupt("activity_id"))
    };
    let kind = TimelineKind::from_text(&kind).ok_or_else(|| corrupt("kind"))?;
    let told = match kind {
        TimelineKind::EmailReceived => Told::EmailReceived { email_id: email()? },
        TimelineKind::EmailSent => Told::EmailSent { email_id: email()? },
        TimelineKind::EmailLinked => Told::EmailLinked {
            email_id: email()?,
            from: other_item.map(ItemId),
        },
        TimelineKind::EmailUnlinked => Told::EmailUnlinked {
            email_id: email()?,
            to: other_item.map(ItemId),
        },
        TimelineKind::ActivityCompleted => Told::ActivityCompleted {
            activity_id: activity()?,
            email_id: email()?,
        },
        TimelineKind::ActivityReopened => Told::ActivityReopened {
            activity_id: activity()?,
            email_id: email()?,
        },
        TimelineKind::ItemCreated => Told::ItemCreated,
        TimelineKind::LeadConverted => Told::LeadConverted,
        TimelineKind::ResponsibleChanged => Told::ResponsibleChanged {
            from: from_user
                .map(UserId)
                .ok_or_else(|| corrupt("from_user_id"))?,
            to: to_user.map(UserId).ok_or_else(|| corrupt("to_user_id"))?,
        },
        TimelineKind::StageChanged => Told::StageChanged {
            from: from_stage
                .map(StageId)
                .ok_or_else(|| corrupt("from_stage_id"))?,
            to: to_stage
                .map(StageId)
                .ok_or_else(|| corrupt("to_stage_id"))?,
        },
        TimelineKind::NoteAdded => Told::NoteAdded {
            text: note.ok_or_else(|| corrupt("note"))?,
        },
        TimelineKind::SendingChanged => Told::SendingChanged {
            draft_id: draft.map(DraftId).ok_or_else(|| corrupt("draft_id"))?,
            state: sending
                .and_then(|text| SendingState::from_text(&text))
                .ok_or_else(|| corrupt("sending"))?,
        },
    };
    Ok(TimelineEntry {
        position: Position(position),
        at: Time::from_micros(at),
        new: NewTimelineEntry {
            item_id: ItemId(item),
            actor_id: actor.map(UserId),
            told,
        },
    })
}

fn filtered(
    select: &'static str,
    within: &EmailScope,
    item: Option<ItemId>,
    kinds: &[TimelineKind],
) -> Sql {
    let mut query = sql(select).push(" WHERE ").then(scope::entries(within));
    if let Some(item) = item {
        query = query.push(" AND t.item_id = ").bind(item.0);
    }
    if !kinds.is_empty() {
        query = query
            .push(" AND t.kind IN (")
            .list(kinds.iter().map(|kind| kind.as_text()))
            .push(")");
    }
    query
}

const ORDER: Order = Order {
    columns: &["t.position"],
    descending: false,
};

/// Where the entries of everyone's timeline lie that the viewer may see, if that is little.
fn narrow(
    conn: &mut AnyConn,
    within: &EmailScope,
    item: Option<ItemId>,
) -> Result<Option<Narrow>, StoreError> {
    match item {
        // They are looked up by their item.
        Some(_item) => Ok(None),
        None => narrow::entries(conn, within.items()),
    }
}

/// A page of what the viewer may see of one item's timeline, or of everyone's; oldest first. No kinds: all of them.
/// Each entry has the email that it shows with: it is seen where the entry is, so that both are read by one statement.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    within: &EmailScope,
    item: Option<ItemId>,
    kinds: &[TimelineKind],
    page: &PageRequest,
) -> Result<Page<(TimelineEntry, Option<Email>)>, StoreError> {
    let narrow = narrow(conn, within, item)?;
    let query = filtered(COLUMNS_AND_EMAIL, within, item, kinds);
    let query = Narrow::finish(narrow.as_ref(), query, page, ORDER);
    let rows: Vec<(EntryRow, Option<EmailRow>)> = query.rows(conn)?;
    let rows = rows
        .into_iter()
        .map(|(row, joined)| {
            let found = entry(row)?;
            // That an email was linked or unlinked shows also to whoever may not see that email.
            let shown = shown_with(&found.new.told).and(joined);
            let key = vec![KeyPart::Number(found.position.0)];
            Ok((key, (found, shown.map(emails::email).transpose()?)))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(page.page(rows))
}

/// How many entries such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    within: &EmailScope,
    item: Option<ItemId>,
    kinds: &[TimelineKind],
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let narrow = narrow(conn, within, item)?;
    let select = "SELECT t.position FROM timeline_entries t JOIN items i ON i.id = t.item_id";
    let query = filtered(select, within, item, kinds);
    count_up_to(conn, Narrow::apply(narrow.as_ref(), query), limit)
}

/// One entry, if the viewer may see it.
///
/// # Errors
/// What the database says.
pub fn get(
    conn: &mut AnyConn,
    within: &EmailScope,
    position: Position,
) -> Result<Option<TimelineEntry>, StoreError> {
    let row: Option<EntryRow> = filtered(COLUMNS, within, None, &[])
        .push(" AND t.position = ")
        .bind(position.0)
        .one(conn)?;
    row.map(entry).transpose()
}

/// The entries behind a position that the viewer may see, at most `limit`, up to and including `until`.
///
/// # Errors
/// What the database says.
pub fn between(
    conn: &mut AnyConn,
    within: &EmailScope,
    item: Option<ItemId>,
    (after, until): (Position, Position),
    limit: i64,
) -> Result<Vec<TimelineEntry>, StoreError> {
    let rows: Vec<EntryRow> = filtered(COLUMNS, within, item, &[])
        .push(" AND t.position > ")
        .bind(after.0)
        .push(" AND t.position <= ")
        .bind(until.0)
        .push(" ORDER BY t.position LIMIT ")
        .bind(limit)
        .rows(conn)?;
    rows.into_iter().map(entry).collect()
}

/// The entries behind a position, whoever asks: at most `limit`, up to and including `until`.
///
/// # Errors
/// What the database says.
pub fn between_for_all(
    conn: &mut AnyConn,
    item: Option<ItemId>,
    (after, until): (Position, Position),
    limit: i64,
) -> Result<Vec<TimelineEntry>, StoreError> {
    let mut query = sql(COLUMNS)
        .push(" WHERE t.position > ")
        .bind(after.0)
        .push(" AND t.position <= ")
        .bind(until.0);
    if let Some(item) = item {
        query = query.push(" AND t.item_id = ").bind(item.0);
    }
    let rows: Vec<EntryRow> = query
        .push(" ORDER BY t.position LIMIT ")
        .bind(limit)
        .rows(conn)?;
    rows.into_iter().map(entry).collect()
}

/// The last position that was given.
///
/// # Errors
/// What the database says.
pub fn last_position(conn: &mut AnyConn) -> Result<Position, StoreError> {
    let last: Option<i64> = sql("SELECT last FROM positions WHERE id = 1").one(conn)?;
    Ok(Position(last.unwrap_or(0)))
}

/// Something that may have put entries on a screen, or taken them off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineChange {
    /// An email's links changed; it hung on these items before.
    Links {
        email_id: EmailId,
        before: Vec<LinkedBefore>,
    },
    /// The facts about an item that rights depend on changed; as they were before (JSON of `ItemFacts`).
    Item { item_id: ItemId, before: String },
    /// Somebody's rights changed.
    Rights,
    /// What lies in the past of this item's timeline changed; `None`: of anybody's.
    History(Option<ItemId>),
}

/// An item that an email hung on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged)]
pub enum LinkedBefore {
    /// It is still there: its facts are as they are now.
    Still(ItemId),
    /// As it was: it may be gone.
    As(ItemFacts),
}

impl LinkedBefore {
    /// Which item it is.
    pub const fn id(&self) -> ItemId {
        match self {
            Self::Still(id) => *id,
            Self::As(facts) => facts.id,
        }
    }
}

/// The changes behind a position, up to and including `until`, at most `limit`.
///
/// # Errors
/// What the database says.
pub fn changes_between(
    conn: &mut AnyConn,
    (after, until): (Position, Position),
    limit: i64,
) -> Result<Vec<(Position, TimelineChange)>, StoreError> {
    type Row = (i64, String, Option<i64>, Option<i64>, Option<String>);
    let rows: Vec<Row> = sql(
        "SELECT position, kind, email_id, item_id, before_json FROM timeline_changes WHERE position > ",
    )
    .bind(after.0)
    .push(" AND position <= ")
    .bind(until.0)
    .push(" ORDER BY position LIMIT ")
    .bind(limit)
    .rows(conn)?;
    rows.into_iter()
        .map(|(position, kind, email, item, before)| {
            let corrupt = |column| StoreError::Corrupt {
                table: "timeline_changes",
                column,
                row: position,
            };
            let before = before.unwrap_or_default();
            let change = match kind.as_str() {
                "LINKS" => TimelineChange::Links {
                    email_id: email.map(EmailId).ok_or_else(|| corrupt("email_id"))?,
                    before: serde_json::from_str(&before)
                        .map_err(|_error| corrupt("before_json"))?,
                },
                "ITEM" => TimelineChange::Item {
                    item_id: item.map(ItemId).ok_or_else(|| corrupt("item_id"))?,
                    before,
                },
                "RIGHTS" => TimelineChange::Rights,
                "HISTORY" => TimelineChange::History(item.map(ItemId)),
                _ => return Err(corrupt("kind")),
            };
            Ok((Position(position), change))
        })
        .collect()
}

/// The entries that are about these emails and depend on their visibility: position, item, email and kind,
/// whoever asks, at most `limit`.
///
/// # Errors
/// What the database says.
pub fn about_emails(
    conn: &mut AnyConn,
    email_ids: &[EmailId],
    limit: i64,
) -> Result<Vec<(Position, ItemId, EmailId, TimelineKind)>, StoreError> {
    let rows: Vec<(i64, i64, i64, String)> =
        sql("SELECT position, item_id, email_id, kind FROM timeline_entries WHERE email_id IN (")
            .list(email_ids.iter().map(|id| id.0))
            .push(") AND kind NOT IN ('EMAIL_LINKED', 'EMAIL_UNLINKED') ORDER BY position LIMIT ")
            .bind(limit)
            .rows(conn)?;
    rows.into_iter()
        .map(|(position, item, email, kind)| {
            let kind = TimelineKind::from_text(&kind).ok_or(StoreError::Corrupt {
                table: "timeline_entries",
                column: "kind",
                row: position,
            })?;
            Ok((Position(position), ItemId(item), EmailId(email), kind))
        })
        .collect()
}

/// Where a note stands: by its item, its author, the moment of its write, and its text. Two that are alike in all of
/// these are one to everybody; the first is given.
///
/// # Errors
/// What the database says.
pub fn find_note(
    conn: &mut AnyConn,
    item: ItemId,
    (author, at): (UserId, Time),
    text: &str,
) -> Result<Option<Position>, StoreError> {
    let position: Option<i64> =
        sql("SELECT position FROM timeline_entries WHERE kind = 'NOTE_ADDED' AND item_id = ")
            .bind(item.0)
            .push(" AND actor_id = ")
            .bind(author.0)
            .push(" AND at = ")
            .bind(at.micros())
            .push(" AND note = ")
            .bind(text)
            .push(" ORDER BY position LIMIT 1")
            .one(conn)?;
    Ok(position.map(Position))
}

/// Notes of an item in which is looked where something stands: nobody looks through more for it.
const NOTES_SHOWN_MAX: i64 = 100;
/// Notes of an item that are indexed: more than a document has room for.
const NOTES_INDEXED_MAX: i64 = 1_000;

/// The newest notes on those of these items that are in the scope, the newest first.
///
/// # Errors
/// What the database says.
pub fn newest_notes(
    conn: &mut AnyConn,
    within: &ItemScope,
    items: &[ItemId],
) -> Result<HashMap<ItemId, Vec<String>>, StoreError> {
    let readable = sql(" AND EXISTS (SELECT 1 FROM items i WHERE i.id = t.item_id AND ")
        .then(scope::items(within, "i"))
        .push(")");
    notes(conn, items, readable, NOTES_SHOWN_MAX)
}

/// The notes on these items that are indexed, the newest first: what is too much is what is oldest.
///
/// # Errors
/// What the database says.
pub fn indexed_notes(
    conn: &mut AnyConn,
    items: &[ItemId],
) -> Result<HashMap<ItemId, Vec<String>>, StoreError> {
    notes(conn, items, sql(""), NOTES_INDEXED_MAX)
}

fn notes(
    conn: &mut AnyConn,
    items: &[ItemId],
    condition: Sql,
    of_each: i64,
) -> Result<HashMap<ItemId, Vec<String>>, StoreError> {
    let rows: Vec<(i64, String)> = sql(
        "SELECT n.item_id, n.note FROM (SELECT t.item_id, COALESCE(t.note, '') AS note, \
         ROW_NUMBER() OVER (PARTITION BY t.item_id ORDER BY t.position DESC) AS place \
         FROM timeline_entries t WHERE t.kind = 'NOTE_ADDED' AND t.item_id IN (",
    )
    .any_of(items.iter().map(|id| id.0))
    .push(")")
    .then(condition)
    .push(") n WHERE n.place <= ")
    .bind(of_each)
    .push(" ORDER BY n.item_id, n.place")
    .rows(conn)?;
    let mut found: HashMap<ItemId, Vec<String>> = HashMap::new();
    for (item, note) in rows {
        found.entry(ItemId(item)).or_default().push(note);
    }
    Ok(found)
}
