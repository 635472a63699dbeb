//! Mailboxes, their folders, settings and state.

use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::{optional_word, word};
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, scope};
use crate::model::mailbox::{
    CreatedItem, ExistingClientRouting, Folder, FolderDifference, FolderRole, MailSecurity,
    MailServer, Mailbox, MailboxSettings, MailboxWarning, Reconciliation, SyncCounts, SyncError,
    SyncStage, SyncState,
};
use crate::model::{DepartmentId, FolderId, MailboxId, Time, UserId};
use crate::rules::access::{MailboxHolders, MailboxScope};
use std::collections::HashMap;

type MailboxRow = (
    i64,
    String,
    i64,
    String,
    i64,
    String,
    Option<String>,
    Option<i64>,
    Option<String>,
    String,
    bool,
    Option<i64>,
    Option<i64>,
    i64,
    i64,
);

const COLUMNS: &str = "SELECT m.id, m.address, m.connector_id, m.imap_host, m.imap_port, m.imap_security, m.smtp_host, \
     m.smtp_port, m.smtp_security, m.login, m.disconnected_at IS NULL, m.spam_folder_id, m.history_since, m.connected_at, \
     m.version FROM mailboxes m";

fn server(id: i64, host: String, port: i64, security: &str) -> Result<MailServer, StoreError> {
    Ok(MailServer {
        host,
        port: u16::try_from(port).map_err(|_error| StoreError::Corrupt {
            table: "mailboxes",
            column: "imap_port or smtp_port",
            row: id,
        })?,
        security: word(
            MailSecurity::from_text,
            security,
            "mailboxes",
            "imap_security or smtp_security",
            id,
        )?,
    })
}

fn mailbox(row: MailboxRow) -> Result<Mailbox, StoreError> {
    #[rustfmt::skip]
    let (id, address, connector, imap_host, imap_port, imap_security, smtp_host, smtp_port, smtp_security,
        login, is_connected, spam_folder, history_since, connected_at, version) = row;
    let smtp = match (smtp_host, smtp_port, smtp_security) {
        (Some(host), Some(port), Some(security)) => Some(server(id, host, port, &security)?),
        _ => None,
    };
    Ok(Mailbox {
        id: MailboxId(id),
        address,
        connector_id: UserId(connector),
        imap: server(id, imap_host, imap_port, &imap_security)?,
        smtp,
        login,
        is_connected,
        spam_folder_id: spam_folder.map(FolderId),
        history_since: history_since.map(Time::from_micros),
        connected_at: Time::from_micros(connected_at),
        version,
    })
}

fn mailboxes(rows: Vec<MailboxRow>) -> Result<Vec<Mailbox>, StoreError> {
    rows.into_iter().map(mailbox).collect()
}

fn within(select: &'static str, visible: &MailboxScope) -> Sql {
    sql(select)
        .push(" WHERE m.id IN (")
        .then(scope::mailbox_ids(visible))
        .push(")")
}

/// One mailbox, whoever asks.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: MailboxId) -> Result<Option<Mailbox>, StoreError> {
    let row: Option<MailboxRow> = sql(COLUMNS).push(" WHERE m.id = ").bind(id.0).one(conn)?;
    row.map(mailbox).transpose()
}

/// The mailboxes that are connected, for the workers.
///
/// # Errors
/// What the database says.
pub fn connected(conn: &mut AnyConn) -> Result<Vec<Mailbox>, StoreError> {
    mailboxes(
        sql(COLUMNS)
            .push(" WHERE m.disconnected_at IS NULL AND m.secret_sealed IS NOT NULL ORDER BY m.id")
            .rows(conn)?,
    )
}

/// The connected mailbox with this canonical address, whoever asks.
///
/// # Errors
/// What the database says.
pub fn find_connected(
    conn: &mut AnyConn,
    address_key: &str,
) -> Result<Option<MailboxId>, StoreError> {
    let id: Option<i64> =
        sql("SELECT id FROM mailboxes WHERE disconnected_at IS NULL AND address_key = ")
            .bind(address_key)
            .one(conn)?;
    Ok(id.map(MailboxId))
}

/// Those of these mailboxes that are in the scope, in no order.
///
/// # Errors
/// What the database says.
pub fn listed(
    conn: &mut AnyConn,
    visible: &MailboxScope,
    ids: &[MailboxId],
) -> Result<Vec<Mailbox>, StoreError> {
    mailboxes(
        within(COLUMNS, visible)
            .push(" AND m.id IN (")
            .list(ids.iter().map(|id| id.0))
            .push(")")
            .rows(conn)?,
    )
}

/// A page of the mailboxes in the scope, by address.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    visible: &MailboxScope,
    page: &PageRequest,
) -> Result<Page<Mailbox>, StoreError> {
    let order = Order {
        columns: &["m.address", "m.id"],
        descending: false,
    };
    let found = mailboxes(page.finish(within(COLUMNS, visible), order).rows(conn)?)?;
    let rows = found.into_iter().map(|mailbox| {
        let key = vec![
            KeyPart::Text(mailbox.address.clone()),
            KeyPart::Number(mailbox.id.0),
        ];
        (key, mailbox)
    });
    Ok(page.page(rows.collect()))
}

/// How many mailboxes are in the scope, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    visible: &MailboxScope,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    count_up_to(conn, within("SELECT m.id FROM mailboxes m", visible), limit)
}

/// Who has access to its mail.
///
/// # Errors
/// What the database says.
pub fn holders(conn: &mut AnyConn, id: MailboxId) -> Result<Option<MailboxHolders>, StoreError> {
    Ok(holders_of(conn, &[id])?.remove(&id))
}

/// The CRM settings of a mailbox.
///
/// # Errors
/// What the database says.
pub fn settings(conn: &mut AnyConn, id: MailboxId) -> Result<Option<MailboxSettings>, StoreError> {
    Ok(settings_of(conn, &[id])?.remove(&id))
}

type SettingsRow = (
    i64,
    bool,
    String,
    String,
    String,
    bool,
    String,
    bool,
    bool,
    Option<i64>,
    i64,
);

const SETTINGS_COLUMNS: &str = "SELECT id, crm_integration, incoming_creates, outgoing_creates, existing_client_routing, \
     replies_follow_thread, source, vcard_contacts, read_state_follows_server, save_since, settings_version FROM mailboxes";

fn mailbox_settings(
    row: SettingsRow,
    queue: Vec<i64>,
    always_new_lead_for: Vec<String>,
) -> Result<MailboxSettings, StoreError> {
    #[rustfmt::skip]
    let (id, crm_integration, incoming, outgoing, routing, replies_follow_thread, source, vcard_contacts, read_state_follows_server, since, version) = row;
    let created = |text: &str, column| word(CreatedItem::from_text, text, "mailboxes", column, id);
    Ok(MailboxSettings {
        crm_integration,
        incoming_creates: created(&incoming, "incoming_creates")?,
        outgoing_creates: created(&outgoing, "outgoing_creates")?,
        existing_client_routing: word(
            ExistingClientRouting::from_text,
            &routing,
            "mailboxes",
            "existing_client_routing",
            id,
        )?,
        replies_follow_thread,
        queue: queue.into_iter().map(UserId).collect(),
        source,
        vcard_contacts,
        read_state_follows_server,
        always_new_lead_for,
        save_since: since.map(Time::from_micros),
        version,
    })
}

/// The CRM settings of these mailboxes.
///
/// # Errors
/// What the database says.
pub fn settings_of(
    conn: &mut AnyConn,
    ids: &[MailboxId],
) -> Result<HashMap<MailboxId, MailboxSettings>, StoreError> {
    let rows: Vec<SettingsRow> = sql(SETTINGS_COLUMNS)
        .push(" WHERE id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    let mut queues: HashMap<i64, Vec<i64>> = belonging(
        conn,
        "SELECT mailbox_id, user_id FROM mailbox_queue WHERE mailbox_id IN",
        ids,
        " ORDER BY position",
    )?;
    let mut always: HashMap<i64, Vec<String>> = belonging(
        conn,
        "SELECT mailbox_id, pattern FROM mailbox_always_new_lead WHERE mailbox_id IN",
        ids,
        " ORDER BY pattern",
    )?;
    rows.into_iter()
        .map(|row| {
            let id = row.0;
            let queue = queues.remove(&id).unwrap_or_default();
            let always = always.remove(&id).unwrap_or_default();
            Ok((MailboxId(id), mailbox_settings(row, queue, always)?))
        })
        .collect()
}

type FolderRow = (
    i64,
    i64,
    String,
    Option<String>,
    bool,
    i64,
    Option<i64>,
    i64,
    Option<i64>,
    i64,
);

const FOLDER_COLUMNS: &str = "SELECT f.id, f.mailbox_id, f.path, f.role, f.is_synced, f.epoch, f.uid_validity, \
     f.discovered_next_uid, f.highest_modseq, f.epochs_in_row FROM folders f";

fn folder(row: FolderRow) -> Result<Folder, StoreError> {
    let (id, mailbox, path, role, is_synced, epoch, uid_validity, next_uid, modseq, epochs_in_row) =
        row;
    Ok(Folder {
        id: FolderId(id),
        mailbox_id: MailboxId(mailbox),
        path,
        role: optional_word(
            FolderRole::from_text,
            role.as_deref(),
            "folders",
            "role",
            id,
        )?,
        is_synced,
        epoch,
        uid_validity,
        discovered_next_uid: next_uid,
        highest_modseq: modseq,
        epochs_in_row,
    })
}

/// The folders that a mailbox has on its server, by path, INBOX first.
///
/// # Errors
/// What the database says.
pub fn folders(conn: &mut AnyConn, id: MailboxId) -> Result<Vec<Folder>, StoreError> {
    folders_of(conn, &[id])
}

/// One folder, whoever asks.
///
/// # Errors
/// What the database says.
pub fn folder_by_id(conn: &mut AnyConn, id: FolderId) -> Result<Option<Folder>, StoreError> {
    let row: Option<FolderRow> = sql(FOLDER_COLUMNS)
        .push(" WHERE f.id = ")
        .bind(id.0)
        .one(conn)?;
    row.map(folder).transpose()
}

/// Where the sync of a mailbox stands (R8).
///
/// # Errors
/// What the database says.
pub fn sync_state(conn: &mut AnyConn, id: MailboxId) -> Result<SyncState, StoreError> {
    let found = sync_states(conn, &[id])?.remove(&id);
    found.map_or_else(|| sync_state_of(id.0, None), Ok)
}

type SyncRow = (
    i64,
    String,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn sync_state_of(id: i64, row: Option<SyncRow>) -> Result<SyncState, StoreError> {
    let stage = "CONNECTING".to_owned();
    #[rustfmt::skip]
    let (_, stage, last_success, code, message, advice, error_at, reconciled_at, missing_here, missing_there) =
        row.unwrap_or((id, stage, None, None, None, None, None, None, None, None));
    let last_error = match (code, message, advice, error_at) {
        (Some(code), Some(message), Some(advice), Some(at)) => Some(SyncError {
            code,
            message,
            advice,
            at: Time::from_micros(at),
        }),
        _ => None,
    };
    Ok(SyncState {
        stage: word(SyncStage::from_text, &stage, "mailbox_sync", "stage", id)?,
        last_success_at: last_success.map(Time::from_micros),
        last_error,
        reconciliation: reconciled_at.map(|at| Reconciliation {
            at: Time::from_micros(at),
            missing_here: missing_here.unwrap_or(0),
            missing_there: missing_there.unwrap_or(0),
        }),
    })
}

/// Where the syncs of these mailboxes stand (R8).
///
/// # Errors
/// What the database says.
pub fn sync_states(
    conn: &mut AnyConn,
    ids: &[MailboxId],
) -> Result<HashMap<MailboxId, SyncState>, StoreError> {
    let rows: Vec<SyncRow> = sql(
        "SELECT mailbox_id, stage, last_success_at, error_code, error_message, error_advice, error_at, reconciled_at, \
         missing_here, missing_there FROM mailbox_sync WHERE mailbox_id IN (",
    )
    .list(ids.iter().map(|id| id.0))
    .push(")")
    .rows(conn)?;
    let mut rows: HashMap<i64, SyncRow> = rows.into_iter().map(|row| (row.0, row)).collect();
    ids.iter()
        .map(|id| Ok((*id, sync_state_of(id.0, rows.remove(&id.0))?)))
        .collect()
}

/// How far the syncs of these mailboxes are (R8). Each number is counted by an index, line by line: for whoever asks.
///
/// # Errors
/// What the database says.
pub fn sync_counts(
    conn: &mut AnyConn,
    ids: &[MailboxId],
) -> Result<HashMap<MailboxId, SyncCounts>, StoreError> {
    let rows: Vec<(i64, i64, i64, i64, i64, i64)> = sql(
        "SELECT f.mailbox_id, \
         (SELECT COUNT(*) FROM placements p WHERE p.folder_id = f.id AND p.epoch = f.epoch), \
         (SELECT COUNT(*) FROM placements p WHERE p.folder_id = f.id AND p.epoch = f.epoch AND (gone_at IS NOT NULL OR state = 'GONE')), \
         (SELECT COUNT(*) FROM placements p WHERE p.folder_id = f.id AND p.epoch = f.epoch AND state IN ('OLD', 'ERASED') AND gone_at IS NULL), \
         (SELECT COUNT(*) FROM placements p WHERE p.folder_id = f.id AND p.epoch = f.epoch AND state = 'NEW' AND gone_at IS NULL), \
         (SELECT COUNT(*) FROM placements p WHERE p.folder_id = f.id AND p.epoch = f.epoch AND state = 'FAILED' AND gone_at IS NULL) \
         FROM folders f WHERE f.mailbox_id IN (",
    )
    .list(ids.iter().map(|id| id.0))
    .push(")")
    .rows(conn)?;
    let mut counts: HashMap<MailboxId, SyncCounts> = HashMap::new();
    for (mailbox, all, gone, old, new, failed) in rows {
        let mails = all - gone - old;
        let of_mailbox = counts.entry(MailboxId(mailbox)).or_default();
        of_mailbox.mails += mails;
        of_mailbox.done += mails - new;
        of_mailbox.quarantined += failed;
    }
    Ok(counts)
}

/// When somebody last asked for a comparison of a mailbox with its server, and when one was last made.
///
/// # Errors
/// What the database says.
pub fn reconcile_times(
    conn: &mut AnyConn,
    id: MailboxId,
) -> Result<(Option<Time>, Option<Time>), StoreError> {
    let row: Option<(Option<i64>, Option<i64>)> =
        sql("SELECT reconcile_asked_at, reconciled_at FROM mailbox_sync WHERE mailbox_id = ")
            .bind(id.0)
            .one(conn)?;
    let (asked, made) = row.unwrap_or_default();
    Ok((asked.map(Time::from_micros), made.map(Time::from_micros)))
}

/// What the last comparison of a mailbox with its server found in each folder.
///
/// # Errors
/// `Corrupt` where it can't be read, and what the database says.
pub fn differences(conn: &mut AnyConn, id: MailboxId) -> Result<Vec<FolderDifference>, StoreError> {
    let report: Option<Option<String>> =
        sql("SELECT reconcile_report FROM mailbox_sync WHERE mailbox_id = ")
            .bind(id.0)
            .one(conn)?;
    let Some(report) = report.flatten() else {
        return Ok(Vec::new());
    };
    serde_json::from_str(&report).map_err(|_error| StoreError::Corrupt {
        table: "mailbox_sync",
        column: "reconcile_report",
        row: id.0,
    })
}

/// The warnings that were noted for a mailbox.
///
/// # Errors
/// What the database says.
pub fn warnings(conn: &mut AnyConn, id: MailboxId) -> Result<Vec<MailboxWarning>, StoreError> {
    Ok(warnings_of(conn, &[id])?.remove(&id).unwrap_or_default())
}

/// The folders that these mailboxes have on their servers, by path, INBOX first.
///
/// # Errors
/// What the database says.
pub fn folders_of(conn: &mut AnyConn, ids: &[MailboxId]) -> Result<Vec<Folder>, StoreError> {
    let rows: Vec<FolderRow> = sql(FOLDER_COLUMNS)
        .push(" WHERE NOT f.is_gone AND f.mailbox_id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(") ORDER BY CASE WHEN f.role = 'INBOX' THEN 0 ELSE 1 END, f.path")
        .rows(conn)?;
    rows.into_iter().map(folder).collect()
}

/// Rows of a table that belong to these mailboxes, by mailbox: `select` names the mailbox first and ends at its `IN`.
fn belonging<T>(
    conn: &mut AnyConn,
    select: &'static str,
    ids: &[MailboxId],
    order: &'static str,
) -> Result<HashMap<i64, Vec<T>>, StoreError>
where
    (i64, T): super::sql::Row,
{
    let rows: Vec<(i64, T)> = sql(select)
        .push(" (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .push(order)
        .rows(conn)?;
    let mut found: HashMap<i64, Vec<T>> = HashMap::new();
    for (mailbox, row) in rows {
        found.entry(mailbox).or_default().push(row);
    }
    Ok(found)
}

/// Who has access to the mail of these mailboxes.
///
/// # Errors
/// What the database says.
pub fn holders_of(
    conn: &mut AnyConn,
    ids: &[MailboxId],
) -> Result<HashMap<MailboxId, MailboxHolders>, StoreError> {
    let connectors: HashMap<i64, Vec<i64>> = belonging(
        conn,
        "SELECT id, connector_id FROM mailboxes WHERE id IN",
        ids,
        "",
    )?;
    let mut users: HashMap<i64, Vec<i64>> = belonging(
        conn,
        "SELECT mailbox_id, user_id FROM mailbox_users WHERE mailbox_id IN",
        ids,
        " ORDER BY user_id",
    )?;
    let mut departments: HashMap<i64, Vec<i64>> = belonging(
        conn,
        "SELECT mailbox_id, department_id FROM mailbox_departments WHERE mailbox_id IN",
        ids,
        " ORDER BY department_id",
    )?;
    let mut found = HashMap::new();
    for (id, connector) in connectors {
        let Some(connector) = connector.into_iter().next() else {
            continue;
        };
        let (users, departments) = (users.remove(&id), departments.remove(&id));
        let holders = MailboxHolders {
            connector_id: UserId(connector),
            user_ids: users.into_iter().flatten().map(UserId).collect(),
            department_ids: departments
                .into_iter()
                .flatten()
                .map(DepartmentId)
                .collect(),
        };
        found.insert(MailboxId(id), holders);
    }
    Ok(found)
}

/// The warnings that were noted for these mailboxes.
///
/// # Errors
/// What the database says.
pub fn warnings_of(
    conn: &mut AnyConn,
    ids: &[MailboxId],
) -> Result<HashMap<MailboxId, Vec<MailboxWarning>>, StoreError> {
    let select = "SELECT mailbox_id, warning FROM mailbox_warnings WHERE mailbox_id IN";
    let noted: HashMap<i64, Vec<String>> = belonging(conn, select, ids, " ORDER BY warning")?;
    let read = |id: i64, text: &String| {
        word(
            MailboxWarning::from_text,
            text,
            "mailbox_warnings",
            "warning",
            id,
        )
    };
    let mut found: HashMap<MailboxId, Vec<MailboxWarning>> = noted
        .into_iter()
        .map(|(id, texts)| {
            let warnings: Result<_, StoreError> = texts.iter().map(|text| read(id, text)).collect();
            Ok((MailboxId(id), warnings?))
        })
        .collect::<Result<_, StoreError>>()?;
    for id in abandoned(conn, ids)? {
        let warnings = found.entry(id).or_default();
        if !warnings.contains(&MailboxWarning::SyncStuck) {
            warnings.push(MailboxWarning::SyncStuck);
        }
    }
    Ok(found)
}

/// How long after its end a lease that nobody took over says that nobody works on a mailbox: together with the lease's
/// own half minute, within the minute of R8.
const ABANDONED_AFTER_SECONDS: i64 = 15;

/// Those of these mailboxes that a worker had, which ended without giving them back, and that no other has taken over.
/// One process alone, which SQLite has, can't be asked when it has ended.
fn abandoned(conn: &mut AnyConn, ids: &[MailboxId]) -> Result<Vec<MailboxId>, StoreError> {
    let AnyConn::Pg(_) = conn else {
        return Ok(Vec::new());
    };
    let now = super::dialect::clock_micros(conn, Time::from_micros(0));
    let found: Vec<i64> = sql(
        "SELECT m.id FROM mailboxes m JOIN leases l ON l.name = 'mailbox:' || m.id WHERE m.disconnected_at IS NULL \
         AND l.expires_at > 0 AND l.expires_at + ",
    )
    .bind(ABANDONED_AFTER_SECONDS * 1_000_000)
    .push(" < ")
    .then(now)
    .push(" AND m.id IN (")
    .list(ids.iter().map(|id| id.0))
    .push(")")
    .rows(conn)?;
    Ok(found.into_iter().map(MailboxId).collect())
}
