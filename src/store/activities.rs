//! The to-dos that saved messages make.

use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::word;
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, scope};
use crate::model::activity::{Activity, ActivityState};
use crate::model::{ActivityId, EmailId, ItemId, MessageId, Time, UserId};
use crate::rules::access::EmailScope;

type ActivityRow = (
    i64,
    i64,
    i64,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    i64,
);

const COLUMNS: &str = "SELECT a.id, a.message_id, a.responsible_id, a.state, a.scheduled_at, a.deadline, a.completed_at, \
     a.completed_by, a.version FROM activities a";

fn activity(row: ActivityRow) -> Result<Activity, StoreError> {
    let (id, message, responsible, state, scheduled, deadline, completed, completed_by, version) =
        row;
    Ok(Activity {
        id: ActivityId(id),
        message_id: MessageId(message),
        responsible_id: UserId(responsible),
        state: word(ActivityState::from_text, &state, "activities", "state", id)?,
        scheduled_at: Time::from_micros(scheduled),
        deadline: deadline.map(Time::from_micros),
        completed_at: completed.map(Time::from_micros),
        completed_by: completed_by.map(UserId),
        version,
    })
}

/// One activity, whoever asks.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: ActivityId) -> Result<Option<Activity>, StoreError> {
    let row: Option<ActivityRow> = sql(COLUMNS).push(" WHERE a.id = ").bind(id.0).one(conn)?;
    row.map(activity).transpose()
}

/// These activities, whoever asks, in no order.
///
/// # Errors
/// What the database says.
pub fn get_many(conn: &mut AnyConn, ids: &[ActivityId]) -> Result<Vec<Activity>, StoreError> {
    let rows: Vec<ActivityRow> = sql(COLUMNS)
        .push(" WHERE a.id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    rows.into_iter().map(activity).collect()
}

/// The activities of these messages, in no order.
///
/// # Errors
/// What the database says.
pub fn of_messages(conn: &mut AnyConn, ids: &[MessageId]) -> Result<Vec<Activity>, StoreError> {
    let rows: Vec<ActivityRow> = sql(COLUMNS)
        .push(" WHERE a.message_id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    rows.into_iter().map(activity).collect()
}

/// The emails that these activities are about (one of a message for each of its mailboxes), oldest first.
///
/// # Errors
/// What the database says.
pub fn emails_of(
    conn: &mut AnyConn,
    ids: &[ActivityId],
) -> Result<Vec<(ActivityId, EmailId)>, StoreError> {
    let rows: Vec<(i64, i64)> = sql(
        "SELECT a.id, e.id FROM activities a JOIN emails e ON e.message_id = a.message_id WHERE a.id IN (",
    )
    .list(ids.iter().map(|id| id.0))
    .push(") ORDER BY a.id, e.id")
    .rows(conn)?;
    let pair = |(activity, email)| (ActivityId(activity), EmailId(email));
    Ok(rows.into_iter().map(pair).collect())
}

/// An item's activities whose email is visible in the CRM; the item itself must have been found readable.
fn of_item(
    select: &'static str,
    within: &EmailScope,
    item: ItemId,
    state: Option<ActivityState>,
) -> Sql {
    let mut query = sql(select)
        .push(
            " WHERE EXISTS (SELECT 1 FROM emails e JOIN email_links l ON l.email_id = e.id WHERE e.message_id = a.message_id \
             AND l.item_id = ",
        )
        .bind(item.0)
        .push(" AND ")
        .then(scope::emails(within, "e"))
        .push(")");
    if let Some(state) = state {
        query = query.push(" AND a.state = ").bind(state.as_text());
    }
    query
}

/// A page of an item's activities, oldest first.
///
/// # Errors
/// What the database says.
pub fn list_of_item(
    conn: &mut AnyConn,
    within: &EmailScope,
    item: ItemId,
    state: Option<ActivityState>,
    page: &PageRequest,
) -> Result<Page<Activity>, StoreError> {
    let order = Order {
        columns: &["a.scheduled_at", "a.id"],
        descending: false,
    };
    let query = of_item(COLUMNS, within, item, state);
    let rows: Vec<ActivityRow> = page.finish(query, order).rows(conn)?;
    let rows = rows
        .into_iter()
        .map(|row| {
            activity(row).map(|found| {
                let key = vec![
                    KeyPart::Number(found.scheduled_at.micros()),
                    KeyPart::Number(found.id.0),
                ];
                (key, found)
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page.page(rows))
}

/// How many activities such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count_of_item(
    conn: &mut AnyConn,
    within: &EmailScope,
    item: ItemId,
    state: Option<ActivityState>,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let query = of_item("SELECT a.id FROM activities a", within, item, state);
    count_up_to(conn, query, limit)
}

/// The open to-dos of a user that they see, of incoming mail and overdue: see [`Counters`].
///
/// # Errors
/// What the database says.
pub fn counters(
    conn: &mut AnyConn,
    within: &EmailScope,
    responsible: UserId,
    now: Time,
) -> Result<Counters, StoreError> {
    let visible = |direction: &'static str| {
        sql("EXISTS (SELECT 1 FROM emails e WHERE e.message_id = a.message_id")
            .push(direction)
            .push(" AND ")
            .then(scope::emails(within, "e"))
            .push(")")
    };
    let row: Option<(i64, i64)> = sql(
        "SELECT CAST(COALESCE(SUM(CASE WHEN o.is_incoming THEN 1 ELSE 0 END), 0) AS BIGINT), \
         CAST(COALESCE(SUM(CASE WHEN o.deadline < ",
    )
    .bind(now.micros())
    .push(" THEN 1 ELSE 0 END), 0) AS BIGINT) FROM (SELECT a.deadline, ")
    .then(visible(" AND e.direction = 'INCOMING'"))
    .push(" AS is_incoming FROM activities a WHERE a.responsible_id = ")
    .bind(responsible.0)
    .push(" AND a.state = 'SCHEDULED' AND ")
    .then(visible(""))
    .push(") o")
    .one(conn)?;
    let (incoming, overdue) = row.unwrap_or((0, 0));
    Ok(Counters { incoming, overdue })
}

/// What is left for a user to do (R33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Open to-dos of incoming mail.
    pub incoming: i64,
    /// Open to-dos whose deadline has passed.
    pub overdue: i64,
}
