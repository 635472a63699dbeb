//! The to-dos that saved messages make.

use super::dialect::for_update;
use super::sql::{BOUND_MAX, sql, update_row};
use super::{StoreError, Tx};
use crate::model::activity::{Activity, ActivityState};
use crate::model::{ActivityId, EmailId, ItemId, MessageId, UserId};

/// Locks an activity until the end of the transaction.
///
/// # Errors
/// What the database says.
pub fn lock(tx: &mut Tx<'_>, id: ActivityId) -> Result<(), StoreError> {
    let query = sql("SELECT id FROM activities WHERE id = ").bind(id.0);
    for_update(tx.conn, query).rows::<i64>(tx.conn)?;
    Ok(())
}

/// Writes an activity's row anew; its message and when it was scheduled stay what they are.
///
/// # Errors
/// What the database says.
pub fn update_activity(tx: &mut Tx<'_>, activity: &Activity) -> Result<(), StoreError> {
    let at = |time: Option<crate::model::Time>| time.map(crate::model::Time::micros);
    update_row(
        "activities",
        activity.id.0,
        vec![
            ("responsible_id", activity.responsible_id.0.into()),
            ("state", activity.state.as_text().into()),
            ("deadline", at(activity.deadline).into()),
            ("completed_at", at(activity.completed_at).into()),
            ("completed_by", activity.completed_by.map(|id| id.0).into()),
            ("version", activity.version.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(())
}

/// Gives the open activities of the emails whose primary item this is to another user (R31).
///
/// # Errors
/// What the database says.
pub fn reassign_open_of_item(tx: &mut Tx<'_>, item: ItemId, to: UserId) -> Result<(), StoreError> {
    // The link's own mark of the primary item is asked, not the email's column: it has the index.
    sql("UPDATE activities SET version = version + 1, responsible_id = ")
        .bind(to.0)
        .push(" WHERE state = ")
        .bind(ActivityState::Scheduled.as_text())
        .push(" AND responsible_id <> ")
        .bind(to.0)
        .push(
            " AND message_id IN (SELECT e.message_id FROM email_links l JOIN emails e ON e.id = l.email_id \
             WHERE l.is_primary AND l.item_id = ",
        )
        .bind(item.0)
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// The responsible of the primary item of a message's saved email (the oldest one, where several mailboxes saved it).
///
/// # Errors
/// What the database says.
pub fn responsible_of_message(
    tx: &mut Tx<'_>,
    message: MessageId,
) -> Result<Option<UserId>, StoreError> {
    let id: Option<i64> = sql(
        "SELECT i.responsible_id FROM emails e JOIN email_links l ON l.email_id = e.id AND l.is_primary \
         JOIN items i ON i.id = l.item_id WHERE e.message_id = ",
    )
    .bind(message.0)
    .push(" ORDER BY e.id LIMIT 1")
    .one(tx.conn)?;
    Ok(id.map(UserId))
}

/// What becomes of the to-dos of emails that were just taken out of the CRM. Where another mailbox's copy of the message
/// is still saved, the open to-do is that one's responsible's; else it is closed, by whoever took them out.
///
/// # Errors
/// What the database says.
pub fn settle_unsaved(tx: &mut Tx<'_>, emails: &[EmailId], by: UserId) -> Result<(), StoreError> {
    for part in emails.chunks(BOUND_MAX) {
        let messages = sql("SELECT message_id FROM emails WHERE id IN (")
            .list(part.iter().map(|id| id.0))
            .push(")");
        let saved = "EXISTS (SELECT 1 FROM emails o WHERE o.message_id = activities.message_id AND o.outcome = 'SAVED')";
        sql("UPDATE activities SET version = version + 1, state = 'COMPLETED', completed_at = ")
            .bind(tx.now.micros())
            .push(", completed_by = ")
            .bind(by.0)
            .push(" WHERE state = 'SCHEDULED' AND message_id IN (")
            .then(messages.clone())
            .push(") AND NOT ")
            .push(saved)
            .run(tx.conn)?;
        let left: Vec<i64> =
            sql("SELECT message_id FROM activities WHERE state = 'SCHEDULED' AND message_id IN (")
                .then(messages)
                .push(") AND ")
                .push(saved)
                .rows(tx.conn)?;
        for message in left {
            if let Some(responsible) = responsible_of_message(tx, MessageId(message))? {
                super::email_writes::update_activity_responsible(
                    tx,
                    MessageId(message),
                    responsible,
                )?;
            }
        }
    }
    Ok(())
}

/// The to-do of a message whose emails had all been taken out of the CRM begins anew with the one that is saved now;
/// false where there is none to begin anew.
///
/// # Errors
/// What the database says.
pub fn restart(
    tx: &mut Tx<'_>,
    saved: EmailId,
    new: &super::email_writes::NewActivity,
) -> Result<bool, StoreError> {
    let now = tx.now.micros();
    let completed_at = (new.state == ActivityState::Completed).then_some(now);
    let id: Option<i64> = sql(
        "UPDATE activities SET version = version + 1, completed_by = NULL, responsible_id = ",
    )
    .bind(new.responsible_id.0)
    .push(", state = ")
    .bind(new.state.as_text())
    .push(", scheduled_at = ")
    .bind(now)
    .push(", deadline = ")
    .bind(new.deadline.map(crate::model::Time::micros))
    .push(", completed_at = ")
    .bind(completed_at)
    .push(" WHERE message_id = ")
    .bind(new.message_id.0)
    .push(
        " AND NOT EXISTS (SELECT 1 FROM emails o WHERE o.message_id = activities.message_id \
             AND o.outcome = 'SAVED' AND o.id <> ",
    )
    .bind(saved.0)
    .push(") RETURNING id")
    .one(tx.conn)?;
    Ok(id.is_some())
}
