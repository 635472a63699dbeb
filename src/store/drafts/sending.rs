//! Mail on its way out: what is written about a mail that is being sent is written under the attempt that it belongs to,
//! so that what an earlier attempt learns later changes nothing.
//! Not for: deciding what becomes of it (that is `rules::sending`).

use super::{json, raise_version, share_items, share_mailbox_of, text};
use crate::model::draft::{DraftContent, SendingFailure, SendingState};
use crate::model::email::Address;
use crate::model::timeline::{NewTimelineEntry, Told};
use crate::model::topic::Topic;
use crate::model::{DraftId, EmailId, ItemId, MailboxId, MessageId, ThreadId, Time, UserId};
use crate::store::dialect::{clock_micros, for_update_skipping, lock_keys};
use crate::store::sql::{Sql, sql, update_row};
use crate::store::{AnyConn, StoreError, Tx};

/// A mail as it was made when it was queued.
#[derive(Debug, Clone)]
pub struct QueuedMail {
    pub message_id_header: String,
    pub content_key: Vec<u8>,
    pub raw_hash: Vec<u8>,
    pub due_at: Time,
    /// Whether an earlier try may have gone out.
    pub may_be_out: bool,
}

/// Puts a draft on its way.
///
/// # Errors
/// What the database says.
pub fn queue(tx: &mut Tx<'_>, id: DraftId, mail: QueuedMail) -> Result<(), StoreError> {
    let now = tx.now.micros();
    update_row(
        "drafts",
        id.0,
        vec![
            ("state", SendingState::Queued.as_text().into()),
            ("due_at", Some(mail.due_at.micros()).into()),
            ("tries", 0_i64.into()),
            ("claimed_by", None::<String>.into()),
            ("is_handed_over", false.into()),
            ("message_id_header", Some(mail.message_id_header).into()),
            ("content_key", Some(mail.content_key).into()),
            ("raw_hash", Some(mail.raw_hash).into()),
            ("failures", "[]".into()),
            ("may_be_out", mail.may_be_out.into()),
            ("updated_at", now.into()),
        ],
    )
    .run(tx.conn)?;
    raise_version(tx, id)?;
    tx.wake(Topic::Sending);
    tell(tx, id, SendingState::Queued)
}

/// Says on the item's timeline where a mail stands.
fn tell(tx: &mut Tx<'_>, id: DraftId, state: SendingState) -> Result<(), StoreError> {
    let found: Option<(Option<i64>, i64)> =
        sql("SELECT item_id, author_id FROM drafts WHERE id = ")
            .bind(id.0)
            .one(tx.conn)?;
    if let Some((Some(item), author)) = found {
        let entry = NewTimelineEntry {
            item_id: ItemId(item),
            actor_id: Some(UserId(author)),
            told: Told::SendingChanged {
                draft_id: id,
                state,
            },
        };
        tx.tell(entry, None);
    }
    Ok(())
}

/// Takes a mail that waits back, to this state; whether it still waited. One that is a draft again gets a Message-ID anew.
///
/// # Errors
/// What the database says.
pub fn unqueue(tx: &mut Tx<'_>, id: DraftId, state: SendingState) -> Result<bool, StoreError> {
    let mut statement = sql("UPDATE drafts SET state = ").bind(state.as_text());
    if state == SendingState::Draft {
        statement = statement.push(", message_id_header = NULL");
    }
    let taken: Option<i64> = statement
        .push(", due_at = NULL, version = version + 1, updated_at = ")
        .bind(tx.now.micros())
        .push(" WHERE state = 'QUEUED' AND id = ")
        .bind(id.0)
        .push(" RETURNING id")
        .one(tx.conn)?;
    if taken.is_some() {
        tell(tx, id, state)?;
    }
    Ok(taken.is_some())
}

/// A mail that somebody sends, and which attempt it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub id: DraftId,
    pub mailbox_id: MailboxId,
    pub attempt: i64,
    /// How often it was tried, with this time.
    pub tries: i64,
    /// Whether a try before it was last put on its way may have gone out.
    pub may_be_out: bool,
    pub raw_hash: Vec<u8>,
}

/// The names of the leases under which mail is sent begin so.
pub const SENDER: &str = "sender:";

/// Whoever claims mails counts what others have claimed first: one after another.
const CLAIM_LOCK: i64 = 0x0073_656e_6465_7273;

/// How many mails are claimed at once.
#[derive(Debug, Clone, Copy)]
pub struct ClaimLimits {
    /// Mails.
    pub mails: i64,
    /// Mailboxes that they are of.
    pub mailboxes: i64,
    /// Mails of one mailbox within a minute, whoever sends them.
    pub per_minute: i64,
}

/// The mailboxes that have mail due, are not busy and may send more, those that wait longest first; with how many they sent
/// lately.
fn due_mailboxes(now: Time, busy: &[MailboxId], limits: ClaimLimits) -> Sql {
    sql("SELECT q.mailbox_id, ")
        .then(sent_lately(now))
        .push(" AS sent FROM drafts q WHERE q.state = 'QUEUED' AND q.due_at <= ")
        .bind(now.micros())
        .push(" AND q.mailbox_id NOT IN (")
        .list(busy.iter().map(|id| id.0).chain([0]))
        .push(") GROUP BY q.mailbox_id HAVING ")
        .then(sent_lately(now))
        .push(" < ")
        .bind(limits.per_minute)
        .push(" ORDER BY MIN(q.due_at), q.mailbox_id LIMIT ")
        .bind(limits.mailboxes)
}

/// How many mails of a mailbox were handed over within the last minute, or may be within the next.
fn sent_lately(now: Time) -> Sql {
    let since = now.plus_seconds(-60).micros();
    let of = |what: &'static str| {
        sql("(SELECT COUNT(*) FROM drafts r WHERE r.mailbox_id = q.mailbox_id AND ")
            .push(what)
            .bind(since)
    };
    sql("(")
        .then(of("r.handed_over_at > "))
        .push(") + ")
        .then(of(
            "r.state = 'SENDING' AND COALESCE(r.handed_over_at, 0) <= ",
        ))
        .push("))")
}

/// Claims mails that are due, of mailboxes that this process is not sending for already, within these limits.
///
/// # Errors
/// What the database says.
pub fn claim(
    tx: &mut Tx<'_>,
    holder: &str,
    busy: &[MailboxId],
    limits: ClaimLimits,
) -> Result<Vec<Claimed>, StoreError> {
    let now = tx.now;
    lock_keys(tx, CLAIM_LOCK, &[String::new()])?;
    // Which of its mailbox's each is, so that no mailbox gets more than it has left.
    let numbered = sql(
        "SELECT w.id, w.due_at, b.sent + ROW_NUMBER() OVER (PARTITION BY w.mailbox_id ORDER BY w.due_at, w.id) AS number \
         FROM drafts w JOIN (",
    )
    .then(due_mailboxes(now, busy, limits))
    .push(") AS b ON b.mailbox_id = w.mailbox_id WHERE w.state = 'QUEUED' AND w.due_at <= ")
    .bind(now.micros());
    let due = sql("SELECT d.id FROM drafts d WHERE d.id IN (SELECT n.id FROM (")
        .then(numbered)
        .push(") AS n WHERE n.number <= ")
        .bind(limits.per_minute)
        .push(" ORDER BY n.due_at, n.id LIMIT ")
        .bind(limits.mails)
        .push(")");
    let due = for_update_skipping(tx.conn, due, "d");
    let rows: Vec<(i64, i64, i64, i64, bool, Option<Vec<u8>>)> =
        sql("UPDATE drafts SET state = 'SENDING', attempt = attempt + 1, tries = tries + 1, is_handed_over = FALSE, \
             version = version + 1, claimed_by = ")
        .bind(holder)
        .push(" WHERE state = 'QUEUED' AND id IN (")
        .then(due)
        .push(") RETURNING id, mailbox_id, attempt, tries, may_be_out, raw_hash")
        .rows(tx.conn)?;
    let mut claimed: Vec<Claimed> = rows
        .into_iter()
        .map(
            |(id, mailbox, attempt, tries, may_be_out, raw_hash)| Claimed {
                id: DraftId(id),
                mailbox_id: MailboxId(mailbox),
                attempt,
                tries,
                may_be_out,
                raw_hash: raw_hash.unwrap_or_default(),
            },
        )
        .collect();
    claimed.sort_by_key(|mail| mail.id);
    Ok(claimed)
}

fn of_attempt(statement: Sql, mail: &Claimed) -> Sql {
    statement
        .push(" WHERE id = ")
        .bind(mail.id.0)
        .push(" AND attempt = ")
        .bind(mail.attempt)
}

/// Notes that from here on a mail may have gone out; whether the attempt still holds it.
///
/// # Errors
/// What the database says.
pub fn hand_over(tx: &mut Tx<'_>, mail: &Claimed) -> Result<bool, StoreError> {
    let statement =
        sql("UPDATE drafts SET is_handed_over = TRUE, handed_over_at = ").bind(tx.now.micros());
    let held: Option<i64> = of_attempt(statement, mail)
        .push(" AND state = 'SENDING' RETURNING id")
        .one(tx.conn)?;
    Ok(held.is_some())
}

/// What became of an attempt that did not end with a mail that went out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Again(Time, Vec<SendingFailure>),
    Failed(Vec<SendingFailure>),
    /// It may have gone out, with this or an earlier try; why this one certainly did not, where that is known.
    Unknown(Vec<SendingFailure>),
}

/// Writes what became of an attempt, unless the mail was seen to have gone out, or another attempt has it now.
///
/// # Errors
/// What the database says.
pub fn update_ended(tx: &mut Tx<'_>, mail: &Claimed, ended: &Ended) -> Result<(), StoreError> {
    share_mailbox_of(tx, mail.id)?;
    share_items(tx, sql("d.id = ").bind(mail.id.0))?;
    let (state, due_at, failures) = match ended {
        Ended::Again(at, why) => (SendingState::Queued, Some(at.micros()), text(why)?),
        Ended::Failed(why) => (SendingState::Failed, None, text(why)?),
        Ended::Unknown(why) => (SendingState::Unknown, None, text(why)?),
    };
    let statement = sql("UPDATE drafts SET claimed_by = NULL, is_handed_over = FALSE, version = version + 1, state = ")
        .bind(state.as_text())
        .push(", due_at = ")
        .bind(due_at)
        .push(", failures = ")
        .bind(failures)
        .push(", updated_at = ")
        .bind(tx.now.micros());
    // Who was taken for dead may know better afterwards that it did not go out.
    let from = match ended {
        Ended::Unknown(_) => " AND state = 'SENDING' RETURNING id",
        Ended::Again(..) | Ended::Failed(_) => " AND state IN ('SENDING', 'UNKNOWN') RETURNING id",
    };
    let written: Option<i64> = of_attempt(statement, mail).push(from).one(tx.conn)?;
    if written.is_some() && state != SendingState::Queued {
        tell(tx, mail.id, state)?;
    }
    Ok(())
}

/// The condition that whoever claimed a draft holds its lease no more.
fn is_lost(tx: &Tx<'_>, alias: &'static str) -> Sql {
    sql("NOT EXISTS (SELECT 1 FROM leases l WHERE l.name = '")
        .push(SENDER)
        .push("' || ")
        .push(alias)
        .push(".claimed_by AND l.expires_at > ")
        .then(clock_micros(tx.conn, tx.now))
        .push(")")
}

/// The condition that nobody works on a claimed draft any more: whoever claimed it has ended, or it was claimed by this
/// holder, which is not sending for its mailbox.
fn is_left(tx: &Tx<'_>, alias: &'static str, (holder, busy): (&str, &[MailboxId])) -> Sql {
    sql("(")
        .then(is_lost(tx, alias))
        .push(" OR (")
        .push(alias)
        .push(".claimed_by = ")
        .bind(holder)
        .push(" AND ")
        .push(alias)
        .push(".mailbox_id NOT IN (")
        .list(busy.iter().map(|id| id.0).chain([0]))
        .push(")))")
}

/// Takes mails back that nobody works on any more: those of senders that ended, and those that this holder claimed for
/// mailboxes that it is not busy with, as a job that panicked leaves them, or a claim of which the answer was lost. What
/// was not handed over is tried again, of the rest nobody knows.
///
/// # Errors
/// What the database says.
pub fn recover(tx: &mut Tx<'_>, holder: &str, busy: &[MailboxId]) -> Result<usize, StoreError> {
    let left = is_left(tx, "d", (holder, busy));
    share_items(tx, sql("d.state = 'SENDING' AND ").then(left))?;
    let rows: Vec<(i64, bool)> = sql(
        "UPDATE drafts SET claimed_by = NULL, version = version + 1, \
         state = CASE WHEN is_handed_over THEN 'UNKNOWN' ELSE 'QUEUED' END, updated_at = ",
    )
    .bind(tx.now.micros())
    .push(" WHERE state = 'SENDING' AND ")
    .then(is_left(tx, "drafts", (holder, busy)))
    .push(" RETURNING id, is_handed_over")
    .rows(tx.conn)?;
    for (id, is_unknown) in &rows {
        if *is_unknown {
            tell(tx, DraftId(*id), SendingState::Unknown)?;
        }
    }
    Ok(rows.len())
}

/// When the next mail is due, of those that were not yet due at this moment: what was, and was not claimed, has to wait for
/// something else.
///
/// # Errors
/// What the database says.
pub fn next_due(conn: &mut AnyConn, after: Time) -> Result<Option<Time>, StoreError> {
    let due: Option<Option<i64>> =
        sql("SELECT MIN(due_at) FROM drafts WHERE state = 'QUEUED' AND due_at > ")
            .bind(after.micros())
            .one(conn)?;
    Ok(due.flatten().map(Time::from_micros))
}

/// A mail of ours as it comes back.
#[derive(Debug, Clone)]
pub struct OwnMail {
    pub id: DraftId,
    pub author_id: UserId,
    pub item_id: Option<ItemId>,
    pub content_key: Vec<u8>,
    /// Whom it went to without its saying so.
    pub bcc: Vec<Address>,
    /// What it is stored as already.
    pub stored: Option<(MessageId, ThreadId)>,
    pub is_sent: bool,
}

/// The mails of this mailbox that we gave these Message-IDs, with them.
///
/// # Errors
/// What the database says.
pub fn find_own(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    headers: &[&str],
) -> Result<Vec<(String, OwnMail)>, StoreError> {
    type Row = (
        String,
        i64,
        i64,
        Option<i64>,
        Option<Vec<u8>>,
        String,
        String,
        Option<i64>,
        Option<i64>,
    );
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = sql("SELECT d.message_id_header, d.id, d.author_id, d.item_id, d.content_key, d.content, d.state, e.message_id, \
         g.thread_id FROM drafts d LEFT JOIN emails e ON e.id = d.email_id LEFT JOIN messages g ON g.id = e.message_id \
         WHERE d.mailbox_id = ")
    .bind(mailbox.0)
    .push(" AND d.message_id_header IN (")
    .any_of(headers.iter().copied())
    .push(")")
    .rows(conn)?;
    rows.into_iter()
        .map(
            |(header, id, author, item, content_key, content, state, message, thread)| {
                let content: DraftContent = json(&content, "content", id)?;
                let own = OwnMail {
                    id: DraftId(id),
                    author_id: UserId(author),
                    item_id: item.map(ItemId),
                    content_key: content_key.unwrap_or_default(),
                    bcc: content.bcc,
                    stored: message.map(MessageId).zip(thread.map(ThreadId)),
                    is_sent: state == SendingState::Sent.as_text(),
                };
                Ok((header, own))
            },
        )
        .collect()
}

/// Notes that a mail went out, and as what it is stored: by whoever learns it first, the sender or the sync.
///
/// # Errors
/// What the database says.
pub fn update_sent(
    tx: &mut Tx<'_>,
    id: DraftId,
    email: Option<EmailId>,
    wants_copy: bool,
) -> Result<(), StoreError> {
    let now = tx.now.micros();
    sql("UPDATE drafts SET state = 'SENT', claimed_by = NULL, due_at = NULL, failures = '[]', version = version + 1, sent_at = ")
        .bind(now)
        .push(", updated_at = ")
        .bind(now)
        .push(", email_id = ")
        .bind(email.map(|id| id.0))
        .push(", is_append_wanted = ")
        .bind(wants_copy)
        .push(", append_at = ")
        .bind(now)
        .push(" WHERE state <> 'SENT' AND id = ")
        .bind(id.0)
        .run(tx.conn)?;
    if wants_copy {
        tx.wake(Topic::Sending);
    }
    Ok(())
}

/// Notes that a mail went out that could not be stored: its item is told at least, and the copy in Sent, by which it is
/// stored again, is wanted.
///
/// # Errors
/// What the database says.
pub fn update_sent_unstored(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    update_sent(tx, id, None, true)?;
    tell(tx, id, SendingState::Sent)
}

/// Notes what a mail is stored as that had gone out before.
///
/// # Errors
/// What the database says.
pub fn update_stored(tx: &mut Tx<'_>, id: DraftId, email: EmailId) -> Result<(), StoreError> {
    sql("UPDATE drafts SET version = version + 1, email_id = ")
        .bind(email.0)
        .push(" WHERE state = 'SENT' AND email_id IS NULL AND id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// A sent mail of which a copy is wanted in Sent.
#[derive(Debug, Clone)]
pub struct WantedCopy {
    pub id: DraftId,
    pub mailbox_id: MailboxId,
    pub tries: i64,
    pub message_id_header: String,
    pub raw_hash: Vec<u8>,
    /// Whether it is stored in the CRM, as it should be since it went out.
    pub is_stored: bool,
}

/// Takes a sent mail of which a copy is due; nobody else takes it for `seconds`.
///
/// # Errors
/// What the database says.
pub fn claim_copy(tx: &mut Tx<'_>, seconds: i64) -> Result<Option<WantedCopy>, StoreError> {
    let now = tx.now;
    let due = sql("SELECT d.id FROM drafts d WHERE d.is_append_wanted AND d.append_at <= ")
        .bind(now.micros())
        .push(" ORDER BY d.append_at, d.id LIMIT 1");
    let due = for_update_skipping(tx.conn, due, "d");
    let row: Option<(i64, i64, i64, Option<String>, Option<Vec<u8>>, Option<i64>)> =
        sql("UPDATE drafts SET append_tries = append_tries + 1, append_at = ")
            .bind(now.plus_seconds(seconds).micros())
            .push(" WHERE is_append_wanted AND id IN (")
            .then(due)
            .push(") RETURNING id, mailbox_id, append_tries, message_id_header, raw_hash, email_id")
            .one(tx.conn)?;
    Ok(
        row.map(|(id, mailbox, tries, header, hash, email)| WantedCopy {
            id: DraftId(id),
            mailbox_id: MailboxId(mailbox),
            tries,
            message_id_header: header.unwrap_or_default(),
            raw_hash: hash.unwrap_or_default(),
            is_stored: email.is_some(),
        }),
    )
}

/// Puts off a copy that could not be put into Sent.
///
/// # Errors
/// What the database says.
pub fn postpone_copy(tx: &mut Tx<'_>, id: DraftId, until: Time) -> Result<(), StoreError> {
    sql("UPDATE drafts SET append_at = ")
        .bind(until.micros())
        .push(" WHERE is_append_wanted AND id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Notes that no copy is wanted any more.
///
/// # Errors
/// What the database says.
pub fn end_copy(tx: &mut Tx<'_>, id: DraftId) -> Result<(), StoreError> {
    sql("UPDATE drafts SET is_append_wanted = FALSE WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}
