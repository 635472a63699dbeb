//! Emails, without their bodies: those are read from the raw mail.

use super::narrow::{self, Narrow};
use super::page::{Key, KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::word;
use super::sql::{BOUND_MAX, Sql, sql};
use super::{AnyConn, StoreError, dialect, scope, traces};
use crate::model::email::{
    Address, Attachment, Direction, Email, EmailOutcome, ParticipantRole, RoutingTrace,
};
use crate::model::{
    AttachmentId, EmailId, FolderId, ItemId, MailboxId, MessageId, ThreadId, Time, UserId,
};
use crate::rules::access::EmailScope;
use std::collections::{HashMap, HashSet};

/// An email as it is read, beside what joins it.
pub(super) type EmailRow = (
    i64,
    i64,
    i64,
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
    String,
    String,
    Option<String>,
    Vec<u8>,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    i64,
);

/// The fields of an email (a row of `emails` called `e`) and of its message (called `g`).
macro_rules! email_fields {
    () => {
        "e.id, e.message_id, e.mailbox_id, g.thread_id, e.direction, e.outcome, e.from_name, e.from_address, e.subject, \
         e.preview, g.message_id_header, e.raw_hash, e.received_at, e.internal_date, e.saved_at, e.primary_item_id, e.version"
    };
}
pub(super) use email_fields;

const COLUMNS: &str = concat!(
    "SELECT ",
    email_fields!(),
    " FROM emails e JOIN messages g ON g.id = e.message_id"
);

/// The email of a row.
///
/// # Errors
/// `Corrupt` for words that mean nothing.
pub(super) fn email(row: EmailRow) -> Result<Email, StoreError> {
    #[rustfmt::skip]
    let (id, message, mailbox, thread, direction, outcome, from_name, from_address, subject, preview, header,
        raw_hash, received_at, internal_date, saved_at, primary_item, version) = row;
    Ok(Email {
        id: EmailId(id),
        message_id: MessageId(message),
        mailbox_id: MailboxId(mailbox),
        thread_id: ThreadId(thread),
        direction: word(Direction::from_text, &direction, "emails", "direction", id)?,
        outcome: word(EmailOutcome::from_text, &outcome, "emails", "outcome", id)?,
        from: from_address.map(|address| Address {
            name: from_name,
            address,
        }),
        subject,
        preview,
        message_id_header: header,
        raw_hash,
        received_at: Time::from_micros(received_at),
        internal_date: Time::from_micros(internal_date),
        saved_at: saved_at.map(Time::from_micros),
        primary_item_id: primary_item.map(ItemId),
        version,
    })
}

fn emails(rows: Vec<EmailRow>) -> Result<Vec<Email>, StoreError> {
    rows.into_iter().map(email).collect()
}

/// What a list of emails can be narrowed by.
#[derive(Debug, Clone, Default)]
pub struct EmailFilter {
    pub mailbox_id: Option<MailboxId>,
    pub folder_id: Option<FolderId>,
    pub item_id: Option<ItemId>,
    pub thread_id: Option<ThreadId>,
    pub direction: Option<Direction>,
    pub outcomes: Option<Vec<EmailOutcome>>,
    /// A part of the sender's name or address.
    pub from: Option<String>,
    /// A part of a recipient's name or address.
    pub to: Option<String>,
    /// A part of the subject.
    pub subject: Option<String>,
    /// The Message-ID header, whole.
    pub message_id: Option<String>,
    pub received_since: Option<Time>,
    pub received_before: Option<Time>,
}

/// One email, whoever asks: for actions, which judge by its facts.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: EmailId) -> Result<Option<Email>, StoreError> {
    let row: Option<EmailRow> = sql(COLUMNS).push(" WHERE e.id = ").bind(id.0).one(conn)?;
    row.map(email).transpose()
}

/// These emails, whoever asks, in no order.
///
/// # Errors
/// What the database says.
pub fn get_many(conn: &mut AnyConn, ids: &[EmailId]) -> Result<Vec<Email>, StoreError> {
    emails(
        sql(COLUMNS)
            .push(" WHERE e.id IN (")
            .any_of(ids.iter().map(|id| id.0))
            .push(")")
            .rows(conn)?,
    )
}

/// Those of these emails that are in the scope, in no order.
///
/// # Errors
/// What the database says.
pub fn visible(
    conn: &mut AnyConn,
    within: &EmailScope,
    ids: &[EmailId],
) -> Result<Vec<Email>, StoreError> {
    emails(
        sql(COLUMNS)
            .push(" WHERE e.id IN (")
            .list(ids.iter().map(|id| id.0))
            .push(") AND ")
            .then(scope::emails(within, "e"))
            .rows(conn)?,
    )
}

fn filtered(
    conn: &AnyConn,
    select: &'static str,
    within: &EmailScope,
    filter: &EmailFilter,
) -> Sql {
    let mut query = sql(select).push(" WHERE ").then(scope::emails(within, "e"));
    if let Some(mailbox) = filter.mailbox_id {
        query = query.push(" AND e.mailbox_id = ").bind(mailbox.0);
    }
    if let Some(folder) = filter.folder_id {
        query = query
            .push(" AND EXISTS (SELECT 1 FROM placements p WHERE p.email_id = e.id AND p.state = 'STORED' AND p.folder_id = ")
            .bind(folder.0)
            .push(")");
    }
    if let Some(item) = filter.item_id {
        query = query
            .push(" AND EXISTS (SELECT 1 FROM email_links fl WHERE fl.email_id = e.id AND fl.item_id = ")
            .bind(item.0)
            .push(")");
    }
    if let Some(thread) = filter.thread_id {
        query = query.push(" AND g.thread_id = ").bind(thread.0);
    }
    if let Some(direction) = filter.direction {
        query = query.push(" AND e.direction = ").bind(direction.as_text());
    }
    if let Some(outcomes) = &filter.outcomes {
        query = query
            .push(" AND e.outcome IN (")
            .list(outcomes.iter().map(|outcome| outcome.as_text()))
            .push(")");
    }
    if let Some(id) = &filter.message_id {
        let bare = id.trim().trim_start_matches('<').trim_end_matches('>');
        query = query.push(" AND g.message_id_header = ").bind(bare);
    }
    if let Some(since) = filter.received_since {
        query = query.push(" AND e.received_at >= ").bind(since.micros());
    }
    if let Some(before) = filter.received_before {
        query = query.push(" AND e.received_at < ").bind(before.micros());
    }
    by_text(conn, query, filter)
}

/// The filters that look for a part of a text.
fn by_text(conn: &AnyConn, mut query: Sql, filter: &EmailFilter) -> Sql {
    if let Some(subject) = &filter.subject {
        query = query
            .push(" AND ")
            .then(dialect::contains(conn, "e.subject", subject));
    }
    if let Some(from) = &filter.from {
        query = query
            .push(" AND (")
            .then(dialect::contains(
                conn,
                "COALESCE(e.from_address, '')",
                from,
            ))
            .push(" OR ")
            .then(dialect::contains(conn, "COALESCE(e.from_name, '')", from))
            .push(")");
    }
    if let Some(to) = &filter.to {
        query = query
            .push(" AND EXISTS (SELECT 1 FROM participants r WHERE r.email_id = e.id AND r.role IN ('TO', 'CC', 'BCC') AND (")
            .then(dialect::contains(conn, "r.address", to))
            .push(" OR ")
            .then(dialect::contains(conn, "COALESCE(r.name, '')", to))
            .push("))");
    }
    query
}

fn key(email: &Email) -> Key {
    vec![
        KeyPart::Number(email.received_at.micros()),
        KeyPart::Number(email.id.0),
    ]
}

/// A page of the emails in the scope, newest first.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &EmailFilter,
    page: &PageRequest,
) -> Result<Page<Email>, StoreError> {
    list_ordered(conn, within, filter, page, Newest::First)
}

/// A page of the emails in the scope, oldest first: a thread's order.
///
/// # Errors
/// What the database says.
pub fn list_oldest_first(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &EmailFilter,
    page: &PageRequest,
) -> Result<Page<Email>, StoreError> {
    list_ordered(conn, within, filter, page, Newest::Last)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Newest {
    First,
    Last,
}

/// Where the emails of a list lie, if that is little.
fn narrow(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &EmailFilter,
) -> Result<Option<Narrow>, StoreError> {
    if let Some(item) = filter.item_id {
        return narrow::emails_of_item(conn, item);
    }
    let is_looked_up =
        filter.mailbox_id.is_some() || filter.thread_id.is_some() || filter.message_id.is_some();
    if is_looked_up {
        return Ok(None);
    }
    narrow::emails(conn, within)
}

fn list_ordered(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &EmailFilter,
    page: &PageRequest,
    newest: Newest,
) -> Result<Page<Email>, StoreError> {
    let narrow = narrow(conn, within, filter)?;
    let order = Order {
        columns: &["e.received_at", "e.id"],
        descending: newest == Newest::First,
    };
    let query = filtered(conn, COLUMNS, within, filter);
    let query = Narrow::finish(narrow.as_ref(), query, page, order);
    let found = emails(query.rows(conn)?)?;
    Ok(page.page(
        found
            .into_iter()
            .map(|email| (key(&email), email))
            .collect(),
    ))
}

/// How many emails such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    within: &EmailScope,
    filter: &EmailFilter,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let narrow = narrow(conn, within, filter)?;
    let select = "SELECT e.id FROM emails e JOIN messages g ON g.id = e.message_id";
    let query = filtered(conn, select, within, filter);
    count_up_to(conn, Narrow::apply(narrow.as_ref(), query), limit)
}

/// Who stands in these emails, in the order of the mail.
///
/// # Errors
/// What the database says.
pub fn participants(
    conn: &mut AnyConn,
    ids: &[EmailId],
) -> Result<HashMap<EmailId, Vec<(ParticipantRole, Address)>>, StoreError> {
    let rows: Vec<(i64, String, Option<String>, String)> =
        sql("SELECT email_id, role, name, address FROM participants WHERE email_id IN (")
            .list(ids.iter().map(|id| id.0))
            .push(") ORDER BY email_id, role, position")
            .rows(conn)?;
    let mut found: HashMap<EmailId, Vec<(ParticipantRole, Address)>> = HashMap::new();
    for (id, role, name, address) in rows {
        let role = word(
            ParticipantRole::from_text,
            &role,
            "participants",
            "role",
            id,
        )?;
        found
            .entry(EmailId(id))
            .or_default()
            .push((role, Address { name, address }));
    }
    Ok(found)
}

type AttachmentRow = (i64, i64, i64, String, String, i64);

const ATTACHMENT_COLUMNS: &str =
    "SELECT id, email_id, part_index, name, media_type, size_bytes FROM attachments";

fn attachment(row: AttachmentRow) -> Attachment {
    let (id, email, part_index, name, media_type, size_bytes) = row;
    Attachment {
        id: AttachmentId(id),
        email_id: EmailId(email),
        part_index,
        name,
        media_type,
        size_bytes,
    }
}

/// Those of these emails that have a file beside what their bodies show.
///
/// # Errors
/// What the database says.
pub fn with_file(conn: &mut AnyConn, ids: &[EmailId]) -> Result<HashSet<EmailId>, StoreError> {
    let mut found = HashSet::new();
    for part in ids.chunks(BOUND_MAX) {
        let rows: Vec<i64> =
            sql("SELECT DISTINCT email_id FROM attachments WHERE NOT is_inline AND email_id IN (")
                .any_of(part.iter().map(|id| id.0))
                .push(")")
                .rows(conn)?;
        found.extend(rows.into_iter().map(EmailId));
    }
    Ok(found)
}

/// The files of these emails that are shown as such (inline images are part of the body), in the order of the mail.
///
/// # Errors
/// What the database says.
pub fn attachments(conn: &mut AnyConn, ids: &[EmailId]) -> Result<Vec<Attachment>, StoreError> {
    let rows: Vec<AttachmentRow> = sql(ATTACHMENT_COLUMNS)
        .push(" WHERE email_id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(") ORDER BY email_id, part_index")
        .rows(conn)?;
    Ok(rows.into_iter().map(attachment).collect())
}

/// One attachment, whoever asks: who may see its email may see it.
///
/// # Errors
/// What the database says.
pub fn attachment_by_id(
    conn: &mut AnyConn,
    id: AttachmentId,
) -> Result<Option<Attachment>, StoreError> {
    let row: Option<AttachmentRow> = sql(ATTACHMENT_COLUMNS)
        .push(" WHERE id = ")
        .bind(id.0)
        .one(conn)?;
    Ok(row.map(attachment))
}

/// Why an email is where it is; `None` before it was ever judged.
///
/// # Errors
/// What the database says.
pub fn trace(conn: &mut AnyConn, id: EmailId) -> Result<Option<RoutingTrace>, StoreError> {
    Ok(traces(conn, &[id])?.remove(&id))
}

/// The subject of a thread.
///
/// # Errors
/// What the database says.
pub fn thread_subject(conn: &mut AnyConn, id: ThreadId) -> Result<Option<String>, StoreError> {
    sql("SELECT subject FROM threads WHERE id = ")
        .bind(id.0)
        .one(conn)
}

/// Why these emails are where they are; those that were never judged are left out.
///
/// # Errors
/// What the database says, and `Corrupt` for a trace that can't be read.
pub fn traces(
    conn: &mut AnyConn,
    ids: &[EmailId],
) -> Result<HashMap<EmailId, RoutingTrace>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> =
        sql("SELECT email_id, trace FROM routing_traces WHERE email_id IN (")
            .list(ids.iter().map(|id| id.0))
            .push(")")
            .rows(conn)?;
    rows.into_iter()
        .map(|(id, kept)| Ok((EmailId(id), traces::unpack(id, &kept)?)))
        .collect()
}

/// The subject of the oldest email in the scope of each of these threads; a thread without such an email is left out.
///
/// # Errors
/// What the database says.
pub fn thread_subjects(
    conn: &mut AnyConn,
    within: &EmailScope,
    ids: &[ThreadId],
) -> Result<HashMap<ThreadId, String>, StoreError> {
    let rows: Vec<(i64, String)> = sql(
        "SELECT o.thread_id, o.subject FROM (SELECT g.thread_id, e.subject, \
         ROW_NUMBER() OVER (PARTITION BY g.thread_id ORDER BY e.received_at, e.id) AS place \
         FROM emails e JOIN messages g ON g.id = e.message_id WHERE g.thread_id IN (",
    )
    .list(ids.iter().map(|id| id.0))
    .push(") AND ")
    .then(scope::emails(within, "e"))
    .push(") o WHERE o.place = 1")
    .rows(conn)?;
    let pair = |(id, subject)| (ThreadId(id), subject);
    Ok(rows.into_iter().map(pair).collect())
}

/// The other mailboxes' emails of a message that are in the CRM.
///
/// # Errors
/// What the database says.
pub fn saved_copies(
    conn: &mut AnyConn,
    message: MessageId,
    but: EmailId,
) -> Result<Vec<EmailId>, StoreError> {
    let ids: Vec<i64> = sql("SELECT id FROM emails WHERE outcome = 'SAVED' AND message_id = ")
        .bind(message.0)
        .push(" AND id <> ")
        .bind(but.0)
        .push(" ORDER BY id")
        .rows(conn)?;
    Ok(ids.into_iter().map(EmailId).collect())
}

/// Somebody who answers for items, and what they see in the CRM; `None`: they are deactivated and see nothing.
pub type Answering = (UserId, Option<EmailScope>);

/// The users who are responsible for the primary item of a saved email, in the order of their ids.
///
/// # Errors
/// What the database says.
pub fn responsible_users(conn: &mut AnyConn) -> Result<Vec<UserId>, StoreError> {
    let ids: Vec<i64> = sql(
        "SELECT DISTINCT i.responsible_id FROM email_links l JOIN items i ON i.id = l.item_id WHERE l.is_primary \
         ORDER BY i.responsible_id",
    )
    .rows(conn)?;
    Ok(ids.into_iter().map(UserId).collect())
}

/// The emails in the scope that their own responsible, one of these, does not see (R21).
fn hidden(select: &'static str, within: &EmailScope, answering: &[Answering]) -> Sql {
    let mut query = sql(select)
        .push(" JOIN email_links pl ON pl.email_id = e.id AND pl.is_primary JOIN items pi ON pi.id = pl.item_id WHERE ")
        .then(scope::emails(within, "e"))
        .push(" AND (FALSE");
    for (user, sees) in answering {
        query = query.push(" OR (pi.responsible_id = ").bind(user.0);
        if let Some(sees) = sees {
            query = query.push(" AND NOT ").then(scope::emails(sees, "e"));
        }
        query = query.push(")");
    }
    query.push(")")
}

/// A page of the saved emails in the scope that their own responsible does not see, newest first. `answering` is asked in
/// parts, each by one statement.
///
/// # Errors
/// What the database says.
pub fn list_hidden_from_responsible(
    conn: &mut AnyConn,
    within: &EmailScope,
    answering: &[Answering],
    page: &PageRequest,
) -> Result<Page<Email>, StoreError> {
    let order = Order {
        columns: &["e.received_at", "e.id"],
        descending: true,
    };
    let mut found = Vec::new();
    for part in answering.chunks(ANSWERING_AT_ONCE) {
        let query = hidden(COLUMNS, within, part);
        found.extend(emails(page.finish(query, order).rows(conn)?)?);
    }
    // Each part is the beginning of its list: so is what comes first of all parts together.
    found.sort_by_key(|email| (email.received_at, email.id));
    if !page.backward {
        found.reverse();
    }
    found.truncate(usize::try_from(page.limit.saturating_add(1)).unwrap_or(0));
    Ok(page.page(
        found
            .into_iter()
            .map(|email| (key(&email), email))
            .collect(),
    ))
}

/// Scopes in one statement: each binds some twenty values, and both databases take thirty thousand.
const ANSWERING_AT_ONCE: usize = 100;

/// How many emails such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count_hidden_from_responsible(
    conn: &mut AnyConn,
    within: &EmailScope,
    answering: &[Answering],
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let mut total = 0_i64;
    for part in answering.chunks(ANSWERING_AT_ONCE) {
        let query = hidden("SELECT e.id FROM emails e", within, part);
        let (counted, is_exact) = count_up_to(conn, query, limit.saturating_sub(total))?;
        total = total.saturating_add(counted);
        if !is_exact {
            return Ok((limit, false));
        }
    }
    Ok((total, true))
}

/// What was found about a mail when it came: what makes it automatic, in a word, and what is wrong with it, in words
/// with commas between them.
///
/// # Errors
/// What the database says.
pub fn findings(
    conn: &mut AnyConn,
    id: EmailId,
) -> Result<Option<(Option<String>, String)>, StoreError> {
    sql("SELECT automatic, problems FROM emails WHERE id = ")
        .bind(id.0)
        .one(conn)
}

/// The email of a message in a mailbox.
///
/// # Errors
/// What the database says.
pub fn of_message(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    message: MessageId,
) -> Result<Option<Email>, StoreError> {
    let row: Option<EmailRow> = sql(COLUMNS)
        .push(" WHERE e.mailbox_id = ")
        .bind(mailbox.0)
        .push(" AND e.message_id = ")
        .bind(message.0)
        .one(conn)?;
    row.map(email).transpose()
}

/// A judged mail of a mailbox.
#[derive(Debug, Clone)]
pub struct JudgedMail {
    pub email_id: EmailId,
    pub message_id: MessageId,
    pub outcome: EmailOutcome,
    pub judged_at: Time,
    pub trace: RoutingTrace,
}

/// The judged mails of a mailbox that were received in a period, in the order in which they were judged.
///
/// # Errors
/// What the database says, and `Corrupt` for a trace that can't be read.
pub fn judged(
    conn: &mut AnyConn,
    mailbox: MailboxId,
    (since, before): (Option<Time>, Option<Time>),
    limit: i64,
) -> Result<Vec<JudgedMail>, StoreError> {
    let mut query = sql(
        "SELECT e.id, e.message_id, e.outcome, t.judged_at, t.trace FROM emails e \
         JOIN routing_traces t ON t.email_id = e.id WHERE e.mailbox_id = ",
    )
    .bind(mailbox.0);
    if let Some(since) = since {
        query = query.push(" AND e.received_at >= ").bind(since.micros());
    }
    if let Some(before) = before {
        query = query.push(" AND e.received_at < ").bind(before.micros());
    }
    let rows: Vec<(i64, i64, String, i64, Vec<u8>)> = query
        .push(" ORDER BY t.judged_at, e.id LIMIT ")
        .bind(limit)
        .rows(conn)?;
    rows.into_iter()
        .map(|(id, message, outcome, judged_at, trace)| {
            Ok(JudgedMail {
                email_id: EmailId(id),
                message_id: MessageId(message),
                outcome: word(EmailOutcome::from_text, &outcome, "emails", "outcome", id)?,
                judged_at: Time::from_micros(judged_at),
                trace: traces::unpack(id, &trace)?,
            })
        })
        .collect()
}
