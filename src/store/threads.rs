//! Conversations as a viewer has them: what they see of each, and by whom threads were split and merged.
//! Not for: the emails in a thread (that is `emails`), or how a mail finds its thread (that is `rules::threading`).

use super::narrow::{self, Narrow};
use super::page::{Key, KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::word;
use super::sql::{BOUND_MAX, Sql, sql};
use super::{AnyConn, StoreError, Tx, dialect, reads, scope};
use crate::model::email::{Address, ThreadChange, ThreadChangeKind};
use crate::model::{EmailId, ItemId, MailboxId, MessageId, ThreadChangeId, ThreadId, Time, UserId};
use crate::rules::access::EmailScope;
use std::collections::{HashMap, HashSet};

/// What a list of threads can be narrowed by: a thread is in it with those of its emails that fit.
#[derive(Debug, Clone, Default)]
pub struct ThreadFilter {
    pub mailbox_id: Option<MailboxId>,
    pub item_id: Option<ItemId>,
}

/// The emails in the scope that fit the filter; `alias` is the email's row.
fn fitting(within: &EmailScope, filter: &ThreadFilter, alias: &'static str) -> Sql {
    let mut condition = scope::emails(within, alias);
    if let Some(mailbox) = filter.mailbox_id {
        condition = condition
            .push(" AND ")
            .push(alias)
            .push(".mailbox_id = ")
            .bind(mailbox.0);
    }
    if let Some(item) = filter.item_id {
        condition = condition
            .push(" AND EXISTS (SELECT 1 FROM email_links fl WHERE fl.email_id = ")
            .push(alias)
            .push(".id AND fl.item_id = ")
            .bind(item.0)
            .push(")");
    }
    condition
}

/// The newest email of each thread, of those that fit.
fn newest(columns: &'static str, within: &EmailScope, filter: &ThreadFilter) -> Sql {
    sql("SELECT ")
        .push(columns)
        .push(" FROM emails e JOIN messages g ON g.id = e.message_id WHERE ")
        .then(fitting(within, filter, "e"))
        .push(
            " AND NOT EXISTS (SELECT 1 FROM messages ng JOIN emails ne ON ne.message_id = ng.id WHERE ng.thread_id = g.thread_id \
             AND (ne.received_at > e.received_at OR (ne.received_at = e.received_at AND ne.id > e.id)) AND ",
        )
        .then(fitting(within, filter, "ne"))
        .push(")")
}

/// Where the emails of such a list lie, if that is little.
fn narrow(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &ThreadFilter,
) -> Result<Option<Narrow>, StoreError> {
    match (filter.item_id, filter.mailbox_id) {
        (Some(item), _) => narrow::emails_of_item(conn, item),
        (None, Some(_mailbox)) => Ok(None),
        (None, None) => narrow::emails(conn, within),
    }
}

/// A page of the threads of which the viewer sees something, the one with the newest email first.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &ThreadFilter,
    page: &PageRequest,
) -> Result<Page<ThreadId>, StoreError> {
    let narrow = narrow(conn, within, filter)?;
    let order = Order {
        columns: &["e.received_at", "e.id"],
        descending: true,
    };
    let query = newest("g.thread_id, e.received_at, e.id", within, filter);
    let rows: Vec<(i64, i64, i64)> =
        Narrow::finish(narrow.as_ref(), query, page, order).rows(conn)?;
    let row = |(thread, received_at, email): (i64, i64, i64)| -> (Key, ThreadId) {
        let key = vec![KeyPart::Number(received_at), KeyPart::Number(email)];
        (key, ThreadId(thread))
    };
    Ok(page.page(rows.into_iter().map(row).collect()))
}

/// How many threads such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &ThreadFilter,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let narrow = narrow(conn, within, filter)?;
    let query = newest("e.id", within, filter);
    count_up_to(conn, Narrow::apply(narrow.as_ref(), query), limit)
}

/// What a viewer sees of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadSummary {
    /// Messages, each counted once in whatever mailboxes it lies.
    pub messages: i64,
    /// Those of them that came in and that the viewer has not read.
    pub unread: i64,
    pub newest: EmailId,
}

fn of_threads(front: &'static str, within: &EmailScope, ids: &[ThreadId]) -> Sql {
    sql(front)
        .push(" FROM emails e JOIN messages g ON g.id = e.message_id WHERE g.thread_id IN (")
        .any_of(ids.iter().map(|id| id.0))
        .push(") AND ")
        .then(scope::emails(within, "e"))
}

/// What the viewer sees of these threads; those of which they see nothing are left out.
///
/// # Errors
/// What the database says.
pub fn summaries(
    conn: &mut AnyConn,
    within: &EmailScope,
    ids: &[ThreadId],
) -> Result<HashMap<ThreadId, ThreadSummary>, StoreError> {
    let front = "SELECT g.thread_id, COUNT(DISTINCT e.message_id)";
    let counted: Vec<(i64, i64)> = of_threads(front, within, ids)
        .push(" GROUP BY g.thread_id")
        .rows(conn)?;
    let unread: Vec<(i64, i64)> = of_threads(front, within, ids)
        .push(" AND ")
        .then(reads::is_unread(within, "e"))
        .push(" GROUP BY g.thread_id")
        .rows(conn)?;
    let unread: HashMap<i64, i64> = unread.into_iter().collect();
    let placed = "SELECT g.thread_id, e.id, ROW_NUMBER() OVER (PARTITION BY g.thread_id \
                  ORDER BY e.received_at DESC, e.id DESC) AS place";
    let newest: Vec<(i64, i64)> = sql("SELECT o.thread_id, o.id FROM (")
        .then(of_threads(placed, within, ids))
        .push(") o WHERE o.place = 1")
        .rows(conn)?;
    let newest: HashMap<i64, i64> = newest.into_iter().collect();
    let summary = |(thread, messages): (i64, i64)| {
        let summary = ThreadSummary {
            messages,
            unread: unread.get(&thread).copied().unwrap_or(0),
            newest: EmailId(*newest.get(&thread)?),
        };
        Some((ThreadId(thread), summary))
    };
    Ok(counted.into_iter().filter_map(summary).collect())
}

/// People of a thread that are given: mails to thousands exist.
const PEOPLE_MAX: usize = 100;
/// Rows of one thread that are read for them: a long conversation of a few.
const PEOPLE_ROWS_MAX: i64 = 2_000;

/// Who takes part in these threads, as far as the viewer sees: From, To and Cc, in the order in which they appear, each
/// once.
///
/// # Errors
/// What the database says.
pub fn people(
    conn: &mut AnyConn,
    within: &EmailScope,
    ids: &[ThreadId],
) -> Result<HashMap<ThreadId, Vec<Address>>, StoreError> {
    let front = "SELECT r.thread_id, r.name, r.address FROM (SELECT e.thread_id, p.name, p.address, \
                 ROW_NUMBER() OVER (PARTITION BY e.thread_id ORDER BY e.received_at, e.id, \
                 CASE p.role WHEN 'FROM' THEN 0 WHEN 'TO' THEN 1 ELSE 2 END, p.position) AS place \
                 FROM participants p JOIN (SELECT e.id, e.received_at, g.thread_id";
    let rows: Vec<(i64, Option<String>, String)> = of_threads(front, within, ids)
        .push(") e ON e.id = p.email_id WHERE p.role IN ('FROM', 'TO', 'CC')) r WHERE r.place <= ")
        .bind(PEOPLE_ROWS_MAX)
        .push(" ORDER BY r.thread_id, r.place")
        .rows(conn)?;
    let mut found: HashMap<ThreadId, Vec<Address>> = HashMap::new();
    let mut seen: HashMap<(i64, String), usize> = HashMap::new();
    for (thread, name, address) in rows {
        let people = found.entry(ThreadId(thread)).or_default();
        let name = name.filter(|name| !name.is_empty());
        match seen.get(&(thread, address.to_lowercase())) {
            Some(at) => {
                // Whoever is named anywhere is shown by that name.
                if let Some(known) = people.get_mut(*at).filter(|known| known.name.is_none()) {
                    known.name = name;
                }
            }
            None if people.len() < PEOPLE_MAX => {
                seen.insert((thread, address.to_lowercase()), people.len());
                people.push(Address { name, address });
            }
            None => {}
        }
    }
    Ok(found)
}

/// Messages of a thread, or these ones, that the viewer sees, with all emails of them that the viewer sees.
///
/// # Errors
/// What the database says.
pub fn seen_messages(
    conn: &mut AnyConn,
    within: &EmailScope,
    of: &Messages,
    limit: i64,
) -> Result<Vec<(MessageId, EmailId, ThreadId)>, StoreError> {
    let query = sql(
        "SELECT e.message_id, e.id, g.thread_id FROM emails e JOIN messages g ON g.id = e.message_id WHERE ",
    );
    let query = match of {
        Messages::OfThread(id) => query.push("g.thread_id = ").bind(id.0),
        Messages::These(ids) => query
            .push("g.id IN (")
            .any_of(ids.iter().map(|id| id.0))
            .push(")"),
    };
    let rows: Vec<(i64, i64, i64)> = query
        .push(" AND ")
        .then(scope::emails(within, "e"))
        .push(" ORDER BY e.received_at, e.id LIMIT ")
        .bind(limit)
        .rows(conn)?;
    let row = |(message, email, thread)| (MessageId(message), EmailId(email), ThreadId(thread));
    Ok(rows.into_iter().map(row).collect())
}

/// Which messages are meant.
#[derive(Debug, Clone)]
pub enum Messages {
    OfThread(ThreadId),
    These(Vec<MessageId>),
}

/// Locks these messages until the transaction ends; the threads that they are in.
///
/// # Errors
/// What the database says.
pub fn lock_messages(
    tx: &mut Tx<'_>,
    ids: &[MessageId],
) -> Result<HashMap<MessageId, ThreadId>, StoreError> {
    let query = sql("SELECT id, thread_id FROM messages WHERE id IN (")
        .any_of(ids.iter().map(|id| id.0))
        .push(") ORDER BY id");
    let rows: Vec<(i64, i64)> = dialect::for_update(tx.conn, query).rows(tx.conn)?;
    let row = |(message, thread)| (MessageId(message), ThreadId(thread));
    Ok(rows.into_iter().map(row).collect())
}

/// A thread with nothing in it yet.
///
/// # Errors
/// What the database says.
pub fn insert(tx: &mut Tx<'_>, subject: &str) -> Result<ThreadId, StoreError> {
    let id = tx.id()?;
    insert_as(tx, ThreadId(id), subject)?;
    Ok(ThreadId(id))
}

fn insert_as(tx: &mut Tx<'_>, id: ThreadId, subject: &str) -> Result<(), StoreError> {
    sql("INSERT INTO threads (id, subject, created_at) VALUES (")
        .bind(id.0)
        .push(", ")
        .bind(subject)
        .push(", ")
        .bind(tx.now.micros())
        .push(") ON CONFLICT (id) DO NOTHING")
        .run(tx.conn)?;
    Ok(())
}

/// Moves messages into a thread, which is made again where it is gone; threads that are left empty go.
///
/// # Errors
/// What the database says.
pub fn move_messages(
    tx: &mut Tx<'_>,
    moved: &[(MessageId, ThreadId)],
    into: impl Fn(MessageId, ThreadId) -> ThreadId,
) -> Result<(), StoreError> {
    let mut left = HashSet::new();
    for (message, from) in moved {
        let to = into(*message, *from);
        insert_as(tx, to, "")?;
        sql("UPDATE messages SET thread_id = ")
            .bind(to.0)
            .push(" WHERE id = ")
            .bind(message.0)
            .run(tx.conn)?;
        left.insert(from.0);
    }
    sql("DELETE FROM threads WHERE id IN (")
        .any_of(left)
        .push(") AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.thread_id = threads.id)")
        .run(tx.conn)?;
    Ok(())
}

/// Writes down that somebody moved these messages, each from its thread, into another.
///
/// # Errors
/// What the database says.
pub fn insert_change(
    tx: &mut Tx<'_>,
    kind: ThreadChangeKind,
    by: UserId,
    to: ThreadId,
    moved: &[(MessageId, ThreadId)],
) -> Result<ThreadChangeId, StoreError> {
    let id = tx.id()?;
    sql("INSERT INTO thread_changes (id, kind, at, by_user_id, to_thread_id) VALUES (")
        .bind(id)
        .push(", ")
        .bind(kind.as_text())
        .push(", ")
        .list([tx.now.micros(), by.0, to.0])
        .push(")")
        .run(tx.conn)?;
    for (message, from) in moved {
        sql("INSERT INTO thread_change_messages (change_id, message_id, from_thread_id) VALUES (")
            .list([id, message.0, from.0])
            .push(")")
            .run(tx.conn)?;
    }
    Ok(ThreadChangeId(id))
}

/// Writes down that these messages were moved by a change of their own: whoever takes the rest of it back does not see them.
///
/// # Errors
/// What the database says.
pub fn part_change(
    tx: &mut Tx<'_>,
    change: &ThreadChange,
    messages: &[MessageId],
) -> Result<(), StoreError> {
    let id = tx.id()?;
    sql("INSERT INTO thread_changes (id, kind, at, by_user_id, to_thread_id) SELECT ")
        .bind(id)
        .push(", kind, at, by_user_id, to_thread_id FROM thread_changes WHERE id = ")
        .bind(change.id.0)
        .run(tx.conn)?;
    for part in messages.chunks(BOUND_MAX) {
        sql("UPDATE thread_change_messages SET change_id = ")
            .bind(id)
            .push(" WHERE change_id = ")
            .bind(change.id.0)
            .push(" AND message_id IN (")
            .any_of(part.iter().map(|id| id.0))
            .push(")")
            .run(tx.conn)?;
    }
    Ok(())
}

/// Writes down that a change was taken back; `false` where it was before.
///
/// # Errors
/// What the database says.
pub fn update_undone(tx: &mut Tx<'_>, id: ThreadChangeId) -> Result<bool, StoreError> {
    let changed = sql("UPDATE thread_changes SET undone_at = ")
        .bind(tx.now.micros())
        .push(" WHERE undone_at IS NULL AND id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(changed > 0)
}

type ChangeRow = (i64, String, i64, Option<i64>, i64, Option<i64>);

const CHANGE_COLUMNS: &str = "SELECT c.id, c.kind, c.at, c.by_user_id, c.to_thread_id, c.undone_at FROM thread_changes c WHERE ";

fn change(row: ChangeRow) -> Result<ThreadChange, StoreError> {
    let (id, kind, at, by, to, undone_at) = row;
    Ok(ThreadChange {
        id: ThreadChangeId(id),
        kind: word(
            ThreadChangeKind::from_text,
            &kind,
            "thread_changes",
            "kind",
            id,
        )?,
        at: Time::from_micros(at),
        by: by.map(UserId),
        to: ThreadId(to),
        undone_at: undone_at.map(Time::from_micros),
    })
}

/// The condition that the viewer sees something of what a change `c` moved.
fn is_seen(within: &EmailScope) -> Sql {
    sql("EXISTS (SELECT 1 FROM thread_change_messages cm JOIN emails e ON e.message_id = cm.message_id WHERE cm.change_id = c.id AND ")
        .then(scope::emails(within, "e"))
        .push(")")
}

/// Changes of a thread that are given: nobody splits more often.
const CHANGES_MAX: i64 = 100;

/// What was moved into or out of a thread by hand, as far as the viewer sees anything of it; oldest first.
///
/// # Errors
/// What the database says.
pub fn changes(
    conn: &mut AnyConn,
    within: &EmailScope,
    thread: ThreadId,
) -> Result<Vec<ThreadChange>, StoreError> {
    let rows: Vec<ChangeRow> = sql(CHANGE_COLUMNS)
        .push("(c.to_thread_id = ")
        .bind(thread.0)
        .push(" OR EXISTS (SELECT 1 FROM thread_change_messages fm WHERE fm.change_id = c.id AND fm.from_thread_id = ")
        .bind(thread.0)
        .push(")) AND ")
        .then(is_seen(within))
        .push(" ORDER BY c.at, c.id LIMIT ")
        .bind(CHANGES_MAX)
        .rows(conn)?;
    rows.into_iter().map(change).collect()
}

/// One change, if the viewer sees anything of what it moved.
///
/// # Errors
/// What the database says.
pub fn visible_change(
    conn: &mut AnyConn,
    within: &EmailScope,
    id: ThreadChangeId,
) -> Result<Option<ThreadChange>, StoreError> {
    let row: Option<ChangeRow> = sql(CHANGE_COLUMNS)
        .push("c.id = ")
        .bind(id.0)
        .push(" AND ")
        .then(is_seen(within))
        .one(conn)?;
    row.map(change).transpose()
}

/// What a change moved: the messages, each with the thread that it came from.
///
/// # Errors
/// What the database says.
pub fn moved_by(
    conn: &mut AnyConn,
    id: ThreadChangeId,
) -> Result<Vec<(MessageId, ThreadId)>, StoreError> {
    let rows: Vec<(i64, i64)> =
        sql("SELECT message_id, from_thread_id FROM thread_change_messages WHERE change_id = ")
            .bind(id.0)
            .push(" ORDER BY message_id")
            .rows(conn)?;
    let row = |(message, thread)| (MessageId(message), ThreadId(thread));
    Ok(rows.into_iter().map(row).collect())
}
