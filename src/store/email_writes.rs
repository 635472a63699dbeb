//! What keeps an email, and what ties it to the CRM. Reading is in `emails` and `links`.

use super::sql::{BOUND_MAX, sql};
use super::{AnyConn, Later, StoreError, Tx};
use crate::model::activity::ActivityState;
use crate::model::email::{Address, Direction, EmailOutcome, ParticipantRole, RoutingTrace};
use crate::model::{EmailId, ItemId, LinkChangeId, MailboxId, MessageId, Time, UserId};
use std::collections::HashMap;

/// Somebody who stands in a mail.
#[derive(Debug, Clone)]
pub struct NewParticipant {
    pub role: ParticipantRole,
    pub address: Address,
    /// `None` where the address is none.
    pub address_key: Option<String>,
}

/// A file that hangs on a mail.
#[derive(Debug, Clone)]
pub struct NewAttachment {
    pub part_index: i64,
    pub name: String,
    pub media_type: String,
    pub size_bytes: i64,
    pub content_id: Option<String>,
    pub is_inline: bool,
}

/// An email to keep; it is judged right after.
#[derive(Debug, Clone)]
pub struct NewEmail {
    pub message_id: MessageId,
    pub mailbox_id: MailboxId,
    pub raw_hash: Vec<u8>,
    pub direction: Direction,
    pub outcome: EmailOutcome,
    /// Where it is saved from the first: when, and its primary item.
    pub saved: Option<(Time, ItemId)>,
    pub from: Option<Address>,
    pub subject: String,
    pub preview: String,
    pub received_at: Time,
    pub internal_date: Time,
    /// What makes it automatic, in a word.
    pub automatic: Option<String>,
    pub problems: String,
    pub participants: Vec<NewParticipant>,
    pub attachments: Vec<NewAttachment>,
}

/// Keeps an email with its participants and attachments, under an id that was taken before; its rows are held back
/// until the rest of the batch is written.
///
/// # Errors
/// `Database` where ids run out.
pub fn insert_later(tx: &mut Tx<'_>, id: EmailId, new: NewEmail) -> Result<(), StoreError> {
    let (from_name, from_address) = match new.from {
        Some(from) => (from.name, Some(from.address)),
        None => (None, None),
    };
    let row = [
        id.0.into(),
        new.message_id.0.into(),
        new.mailbox_id.0.into(),
        new.raw_hash.into(),
        new.direction.as_text().into(),
        new.outcome.as_text().into(),
        from_name.into(),
        from_address.into(),
        new.subject.into(),
        new.preview.into(),
        new.received_at.micros().into(),
        new.internal_date.micros().into(),
        new.saved.map(|(at, _primary)| at.micros()).into(),
        new.saved.map(|(_at, primary)| primary.0).into(),
        new.automatic.into(),
        new.problems.into(),
        1_i64.into(),
    ];
    tx.later(Later::Emails, row);
    for (position, participant) in (0_i64..).zip(new.participants) {
        let row = [
            id.0.into(),
            participant.role.as_text().into(),
            position.into(),
            participant.address.name.into(),
            participant.address.address.into(),
            participant.address_key.into(),
        ];
        tx.later(Later::Participants, row);
    }
    for attachment in new.attachments {
        let row = [
            tx.id()?.into(),
            id.0.into(),
            attachment.part_index.into(),
            attachment.name.into(),
            attachment.media_type.into(),
            attachment.size_bytes.into(),
            attachment.content_id.into(),
            attachment.is_inline.into(),
        ];
        tx.later(Later::Attachments, row);
    }
    Ok(())
}

/// The emails of these messages in a mailbox, with their outcomes.
///
/// # Errors
/// What the database says.
pub fn find_copies(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    messages: &[MessageId],
) -> Result<HashMap<MessageId, (EmailId, EmailOutcome)>, StoreError> {
    let mut found = HashMap::new();
    for part in messages.chunks(BOUND_MAX) {
        let rows: Vec<(i64, i64, String)> =
            sql("SELECT message_id, id, outcome FROM emails WHERE mailbox_id = ")
                .bind(mailbox.0)
                .push(" AND message_id IN (")
                .any_of(part.iter().map(|id| id.0))
                .push(")")
                .rows(conn)?;
        for (message, id, outcome) in rows {
            let outcome = EmailOutcome::from_text(&outcome).ok_or(StoreError::Corrupt {
                table: "emails",
                column: "outcome",
                row: id,
            })?;
            found.insert(MessageId(message), (EmailId(id), outcome));
        }
    }
    Ok(found)
}

/// Ties an email that is being saved to an item, with the line in its link history; held back until the rest of the
/// batch is written.
///
/// # Errors
/// `Database` where ids run out.
pub fn insert_link_later(
    tx: &mut Tx<'_>,
    (email, item): (EmailId, ItemId),
    is_primary: bool,
    received_at: Time,
    by: Option<UserId>,
) -> Result<(), StoreError> {
    let (now, by) = (tx.now.micros(), by.map(|id| id.0));
    let link = [
        email.0.into(),
        item.0.into(),
        is_primary.into(),
        received_at.micros().into(),
        now.into(),
        by.into(),
    ];
    let change = [
        tx.id()?.into(),
        email.0.into(),
        now.into(),
        by.into(),
        None::<i64>.into(),
        item.0.into(),
        is_primary.into(),
    ];
    tx.later(Later::Links, link);
    tx.later(Later::LinkChanges, change);
    Ok(())
}

/// What became of an email that is not saved.
///
/// # Errors
/// What the database says.
pub fn update_outcome(
    tx: &mut Tx<'_>,
    email: EmailId,
    outcome: EmailOutcome,
    direction: Direction,
) -> Result<(), StoreError> {
    sql("UPDATE emails SET outcome = ")
        .bind(outcome.as_text())
        .push(", direction = ")
        .bind(direction.as_text())
        .push(", version = version + 1 WHERE id = ")
        .bind(email.0)
        .run(tx.conn)?;
    Ok(())
}

/// The email is in the CRM, on this primary item. The time it was first saved stays.
///
/// # Errors
/// What the database says.
pub fn update_saved(
    tx: &mut Tx<'_>,
    email: EmailId,
    primary: ItemId,
    direction: Direction,
) -> Result<(), StoreError> {
    sql("UPDATE emails SET outcome = 'SAVED', saved_at = COALESCE(saved_at, ")
        .bind(tx.now.micros())
        .push("), primary_item_id = ")
        .bind(primary.0)
        .push(", direction = ")
        .bind(direction.as_text())
        .push(", version = version + 1 WHERE id = ")
        .bind(email.0)
        .run(tx.conn)?;
    Ok(())
}

/// Something about the email changed: its version rises.
///
/// # Errors
/// What the database says.
pub fn touch(tx: &mut Tx<'_>, email: EmailId) -> Result<(), StoreError> {
    sql("UPDATE emails SET version = version + 1 WHERE id = ")
        .bind(email.0)
        .run(tx.conn)?;
    Ok(())
}

/// Makes an item the primary one among an email's links.
///
/// # Errors
/// What the database says.
pub fn update_primary(tx: &mut Tx<'_>, email: EmailId, primary: ItemId) -> Result<(), StoreError> {
    // Two statements: at no moment are there two primary links.
    sql("UPDATE email_links SET is_primary = FALSE WHERE is_primary AND email_id = ")
        .bind(email.0)
        .run(tx.conn)?;
    sql("UPDATE email_links SET is_primary = TRUE WHERE email_id = ")
        .bind(email.0)
        .push(" AND item_id = ")
        .bind(primary.0)
        .run(tx.conn)?;
    sql("UPDATE emails SET version = version + 1, primary_item_id = ")
        .bind(primary.0)
        .push(" WHERE id = ")
        .bind(email.0)
        .run(tx.conn)?;
    Ok(())
}

/// Ties an email to an item; whether it is the email's first and so primary link.
///
/// # Errors
/// `Conflict` where it is linked there already.
pub fn insert_link(
    tx: &mut Tx<'_>,
    (email, item): (EmailId, ItemId),
    is_primary: bool,
    received_at: Time,
    by: Option<UserId>,
) -> Result<(), StoreError> {
    sql("INSERT INTO email_links (email_id, item_id, is_primary, received_at, linked_at, linked_by) VALUES (")
        .list::<super::sql::Value>([
            email.0.into(),
            item.0.into(),
            is_primary.into(),
            received_at.micros().into(),
            tx.now.micros().into(),
            by.map(|id| id.0).into(),
        ])
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// Unties an email from an item.
///
/// # Errors
/// What the database says.
pub fn delete_link(tx: &mut Tx<'_>, email: EmailId, item: ItemId) -> Result<(), StoreError> {
    sql("DELETE FROM email_links WHERE email_id = ")
        .bind(email.0)
        .push(" AND item_id = ")
        .bind(item.0)
        .run(tx.conn)?;
    Ok(())
}

/// Writes a line of an email's link history.
///
/// # Errors
/// What the database says.
pub fn insert_link_change(
    tx: &mut Tx<'_>,
    email: EmailId,
    by: Option<UserId>,
    (from, to): (Option<ItemId>, Option<ItemId>),
    was_primary: bool,
) -> Result<LinkChangeId, StoreError> {
    let id = tx.id()?;
    sql("INSERT INTO link_changes (id, email_id, at, by_user_id, from_item_id, to_item_id, was_primary) VALUES (")
        .list::<super::sql::Value>([
            id.into(),
            email.0.into(),
            tx.now.micros().into(),
            by.map(|id| id.0).into(),
            from.map(|id| id.0).into(),
            to.map(|id| id.0).into(),
            was_primary.into(),
        ])
        .push(")")
        .run(tx.conn)?;
    Ok(LinkChangeId(id))
}

/// An activity to make.
#[derive(Debug, Clone, Copy)]
pub struct NewActivity {
    pub message_id: MessageId,
    pub responsible_id: UserId,
    pub state: ActivityState,
    pub deadline: Option<Time>,
}

/// Makes a message's activity, unless it has one; its row is held back until the rest of the batch is written.
///
/// # Errors
/// `Database` where ids run out.
pub fn insert_activity_later(tx: &mut Tx<'_>, new: NewActivity) -> Result<(), StoreError> {
    let now = tx.now.micros();
    let completed_at = (new.state == ActivityState::Completed).then_some(now);
    let row = [
        tx.id()?.into(),
        new.message_id.0.into(),
        new.responsible_id.0.into(),
        new.state.as_text().into(),
        now.into(),
        new.deadline.map(Time::micros).into(),
        completed_at.into(),
        1_i64.into(),
    ];
    tx.later(Later::Activities, row);
    Ok(())
}

/// The open activities of a message follow its primary item's responsible (R31).
///
/// # Errors
/// What the database says.
pub fn update_activity_responsible(
    tx: &mut Tx<'_>,
    message: MessageId,
    responsible: UserId,
) -> Result<(), StoreError> {
    sql("UPDATE activities SET version = version + 1, responsible_id = ")
        .bind(responsible.0)
        .push(" WHERE state = 'SCHEDULED' AND message_id = ")
        .bind(message.0)
        .run(tx.conn)?;
    Ok(())
}

/// Keeps why an email is where it is, in place of an earlier trace; held back until the rest of the batch is written.
pub fn put_trace(tx: &mut Tx<'_>, email: EmailId, trace: &RoutingTrace) {
    let row = [
        email.0.into(),
        super::traces::pack(trace).into(),
        trace.settings_version.into(),
        tx.now.micros().into(),
    ];
    tx.later(Later::Traces, row);
}

/// These emails are no longer in the CRM: they have no links, no time of saving and no primary item.
///
/// # Errors
/// What the database says.
pub fn update_removed(tx: &mut Tx<'_>, ids: &[EmailId]) -> Result<(), StoreError> {
    for part in ids.chunks(BOUND_MAX) {
        sql("UPDATE emails SET outcome = 'REMOVED', saved_at = NULL, primary_item_id = NULL, version = version + 1 \
             WHERE id IN (")
        .list(part.iter().map(|id| id.0))
        .push(")")
        .run(tx.conn)?;
    }
    Ok(())
}

/// Locks an email until the end of the transaction.
///
/// # Errors
/// What the database says.
pub fn lock(tx: &mut Tx<'_>, id: EmailId) -> Result<(), StoreError> {
    let query = sql("SELECT id FROM emails WHERE id = ").bind(id.0);
    super::dialect::for_update(tx.conn, query).rows::<i64>(tx.conn)?;
    Ok(())
}

/// Of these items, those whose timeline tells already that this message came or went.
///
/// # Errors
/// What the database says.
pub fn items_told_of(
    tx: &mut Tx<'_>,
    message: MessageId,
    items: &[ItemId],
) -> Result<Vec<ItemId>, StoreError> {
    let ids: Vec<i64> = sql(
        "SELECT item_id FROM timeline_entries WHERE kind IN ('EMAIL_RECEIVED', 'EMAIL_SENT') AND message_id = ",
    )
    .bind(message.0)
    .push(" AND item_id IN (")
    .list(items.iter().map(|id| id.0))
    .push(")")
    .rows(tx.conn)?;
    Ok(ids.into_iter().map(ItemId).collect())
}
