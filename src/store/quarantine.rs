//! Mails that could not be taken in: what is known of each, and whose mailbox it is in (R5).
//! Not for: setting mails aside or trying them again (that is `placements`).

use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, placements, scope};
use crate::model::mailbox::FolderRole;
use crate::model::{FolderId, MailboxId, PlacementId, Time};
use crate::rules::access::MailboxScope;

/// A mail in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedMail {
    pub id: PlacementId,
    pub mailbox_id: MailboxId,
    pub folder_id: FolderId,
    pub uid: i64,
    /// As the server said.
    pub size_bytes: i64,
    pub reason: String,
    /// When it was first set aside.
    pub since: Time,
    /// How often it was tried.
    pub tries: i64,
    /// The hash of its bytes, where those are kept.
    pub raw_hash: Option<Vec<u8>>,
    /// Whether the server still has it, as far as is known.
    pub is_on_server: bool,
    pub internal_date: Option<Time>,
    pub is_seen: bool,
    pub is_backfill: bool,
    /// What its labels say, where labels stand for folders.
    pub labels: Vec<FolderRole>,
}

type QuarantinedRow = (
    i64,
    i64,
    i64,
    i64,
    i64,
    Option<String>,
    Option<i64>,
    i64,
    Option<Vec<u8>>,
    bool,
    Option<i64>,
    bool,
    bool,
    Option<String>,
);

// A folder's epoch that has passed is not on the server any more; its mails are there with other UIDs.
const COLUMNS: &str = "SELECT p.id, f.mailbox_id, p.folder_id, p.uid, p.size_bytes, p.error, p.failed_at, p.tries, p.raw_hash, \
     (p.gone_at IS NULL AND p.epoch = f.epoch), p.internal_date, p.is_seen, p.is_backfill, p.labels \
     FROM placements p JOIN folders f ON f.id = p.folder_id";

const IDS: &str = "SELECT p.id FROM placements p JOIN folders f ON f.id = p.folder_id";

fn within(select: &'static str, visible: &MailboxScope, mailbox: Option<MailboxId>) -> Sql {
    let mut query = sql(select)
        .push(" WHERE p.state = 'FAILED' AND f.mailbox_id IN (")
        .then(scope::mailbox_ids(visible))
        .push(")");
    if let Some(id) = mailbox {
        query = query.push(" AND f.mailbox_id = ").bind(id.0);
    }
    query
}

fn mail(row: QuarantinedRow) -> QuarantinedMail {
    #[rustfmt::skip]
    let (id, mailbox, folder, uid, size_bytes, reason, since, tries, raw_hash, is_on_server, internal_date, is_seen, is_backfill, labels) = row;
    QuarantinedMail {
        id: PlacementId(id),
        mailbox_id: MailboxId(mailbox),
        folder_id: FolderId(folder),
        uid,
        size_bytes,
        reason: reason.unwrap_or_default(),
        since: Time::from_micros(since.unwrap_or(0)),
        tries,
        raw_hash,
        is_on_server,
        internal_date: internal_date.map(Time::from_micros),
        is_seen,
        is_backfill,
        labels: placements::labels(labels.as_deref()),
    }
}

/// A page of what is set aside in the mailboxes of the scope, or in one of them; the newest first.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    visible: &MailboxScope,
    mailbox: Option<MailboxId>,
    page: &PageRequest,
) -> Result<Page<QuarantinedMail>, StoreError> {
    let order = Order {
        columns: &["p.id"],
        descending: true,
    };
    let query = page.finish(within(COLUMNS, visible, mailbox), order);
    let rows: Vec<QuarantinedRow> = query.rows(conn)?;
    let rows = rows
        .into_iter()
        .map(mail)
        .map(|mail| (vec![KeyPart::Number(mail.id.0)], mail));
    Ok(page.page(rows.collect()))
}

/// How many mails such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    visible: &MailboxScope,
    mailbox: Option<MailboxId>,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    count_up_to(conn, within(IDS, visible, mailbox), limit)
}

/// One mail that is set aside in a mailbox of the scope.
///
/// # Errors
/// What the database says.
pub fn get(
    conn: &mut AnyConn,
    visible: &MailboxScope,
    id: PlacementId,
) -> Result<Option<QuarantinedMail>, StoreError> {
    let query = within(COLUMNS, visible, None)
        .push(" AND p.id = ")
        .bind(id.0);
    let row: Option<QuarantinedRow> = query.one(conn)?;
    Ok(row.map(mail))
}
