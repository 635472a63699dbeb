//! What there is, counted, for whoever runs it: no row leaves here. Also the smallest write there is, to see whether
//! writes get through. Not for: what a viewer may see.

use super::read::word;
use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::Time;
use crate::model::mailbox::SyncStage;

/// The counts of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Connected mailboxes by where their sync stands.
    pub mailboxes: Vec<(SyncStage, i64)>,
    /// UIDs of the ledger that wait to be taken in.
    pub mails_unsettled: i64,
    /// UIDs that were set aside.
    pub mails_quarantined: i64,
    /// All other UIDs of the ledger.
    pub mails_settled: i64,
    /// Mails that the last comparisons with the mail servers found there and not here, before they were fetched.
    pub missing_here: i64,
    /// The other way round.
    pub missing_there: i64,
    /// When the mailbox that was compared longest ago was compared; `None`: none was yet.
    pub compared_at: Option<Time>,
    /// Committed changes that the relay has not let go of.
    pub outbox_rows: i64,
    /// Mails and items that wait to be indexed for searches.
    pub search_rows: i64,
}

/// Counts everything.
///
/// # Errors
/// What the database says.
pub fn figures(conn: &mut AnyConn) -> Result<Figures, StoreError> {
    const CONNECTED: &str = " FROM mailboxes m LEFT JOIN mailbox_sync s ON s.mailbox_id = m.id \
         WHERE m.disconnected_at IS NULL AND m.secret_sealed IS NOT NULL";
    let stages: Vec<(String, i64)> = sql("SELECT COALESCE(s.stage, 'CONNECTING'), COUNT(*)")
        .push(CONNECTED)
        .push(" GROUP BY 1 ORDER BY 1")
        .rows(conn)?;
    let mailboxes = stages
        .into_iter()
        .map(|(stage, count)| {
            let stage = word(SyncStage::from_text, &stage, "mailbox_sync", "stage", 0)?;
            Ok((stage, count))
        })
        .collect::<Result<_, StoreError>>()?;
    let compared: Option<(i64, i64, Option<i64>)> = sql(
        "SELECT CAST(COALESCE(SUM(s.missing_here), 0) AS BIGINT), CAST(COALESCE(SUM(s.missing_there), 0) AS BIGINT), MIN(s.reconciled_at)",
    )
    .push(CONNECTED)
    .one(conn)?;
    let (missing_here, missing_there, compared_at) = compared.unwrap_or_default();
    let mut count =
        |query: &'static str| -> Result<i64, StoreError> { Ok(sql(query).one(conn)?.unwrap_or(0)) };
    let all = count("SELECT COUNT(*) FROM placements")?;
    let mails_unsettled = count("SELECT COUNT(*) FROM placements WHERE state = 'NEW'")?;
    let mails_quarantined = count("SELECT COUNT(*) FROM placements WHERE state = 'FAILED'")?;
    Ok(Figures {
        mailboxes,
        mails_unsettled,
        mails_quarantined,
        mails_settled: (all - mails_unsettled - mails_quarantined).max(0),
        missing_here,
        missing_there,
        compared_at: compared_at.map(Time::from_micros),
        outbox_rows: count("SELECT COUNT(*) FROM outbox")?,
        search_rows: count("SELECT COUNT(*) FROM search_queue")?,
    })
}

/// Writes a row as it is. It commits like any other write, or shows why none does.
///
/// # Errors
/// What the database says.
pub fn rewrite_row(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    sql("UPDATE installation SET created_at = created_at WHERE id = 1").run(tx.conn)?;
    Ok(())
}
