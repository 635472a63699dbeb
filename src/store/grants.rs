//! The OAuth2 grants of mailboxes, sealed.

use super::dialect::for_update;
use super::sealed::Place;
use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::{MailboxId, Time};

/// A grant as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedGrant {
    pub token_url: String,
    pub client_id: String,
    pub client_secret_sealed: Option<String>,
    pub refresh_token_sealed: String,
    /// Of the access token; `None`: not known.
    pub expires_at: Option<Time>,
}

/// Where the refresh token of a mailbox is kept.
pub const fn refresh_place(id: MailboxId) -> Place {
    Place {
        table: "mailbox_grants",
        row: id.0,
        column: "refresh_token_sealed",
    }
}

/// Where the client secret of a mailbox is kept.
pub const fn client_place(id: MailboxId) -> Place {
    Place {
        table: "mailbox_grants",
        row: id.0,
        column: "client_secret_sealed",
    }
}

/// The grant of a mailbox.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: MailboxId) -> Result<Option<SealedGrant>, StoreError> {
    type Row = (String, String, Option<String>, String, Option<i64>);
    let row: Option<Row> = sql(
        "SELECT token_url, client_id, client_secret_sealed, refresh_token_sealed, expires_at FROM mailbox_grants WHERE mailbox_id = ",
    )
    .bind(id.0)
    .one(conn)?;
    Ok(row.map(|row| SealedGrant {
        token_url: row.0,
        client_id: row.1,
        client_secret_sealed: row.2,
        refresh_token_sealed: row.3,
        expires_at: row.4.map(Time::from_micros),
    }))
}

/// Locks the grant of a mailbox until the end of the transaction; its sealed refresh token.
///
/// # Errors
/// What the database says.
pub fn lock(tx: &mut Tx<'_>, id: MailboxId) -> Result<Option<String>, StoreError> {
    let query =
        sql("SELECT refresh_token_sealed FROM mailbox_grants WHERE mailbox_id = ").bind(id.0);
    for_update(tx.conn, query).one(tx.conn)
}

/// Keeps a grant in place of the one before.
///
/// # Errors
/// What the database says.
pub fn put(tx: &mut Tx<'_>, id: MailboxId, grant: &SealedGrant) -> Result<(), StoreError> {
    delete(tx, id)?;
    sql("INSERT INTO mailbox_grants (mailbox_id, token_url, client_id, client_secret_sealed, refresh_token_sealed, expires_at) VALUES (")
        .bind(id.0)
        .push(", ")
        .bind(grant.token_url.as_str())
        .push(", ")
        .bind(grant.client_id.as_str())
        .push(", ")
        .bind(grant.client_secret_sealed.clone())
        .push(", ")
        .bind(grant.refresh_token_sealed.as_str())
        .push(", ")
        .bind(grant.expires_at.map(Time::micros))
        .push(")")
        .run(tx.conn)?;
    Ok(())
}

/// Keeps what the token server gave: the access token, its end, and the refresh token that goes on.
///
/// # Errors
/// What the database says.
pub fn update_tokens(
    tx: &mut Tx<'_>,
    id: MailboxId,
    (access_sealed, refresh_sealed): (&str, &str),
    expires_at: Option<Time>,
) -> Result<(), StoreError> {
    sql("UPDATE mailboxes SET secret_sealed = ")
        .bind(access_sealed)
        .push(" WHERE disconnected_at IS NULL AND id = ")
        .bind(id.0)
        .run(tx.conn)?;
    sql("UPDATE mailbox_grants SET refresh_token_sealed = ")
        .bind(refresh_sealed)
        .push(", expires_at = ")
        .bind(expires_at.map(Time::micros))
        .push(" WHERE mailbox_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Forgets the grant of a mailbox, if it has one.
///
/// # Errors
/// What the database says.
pub fn delete(tx: &mut Tx<'_>, id: MailboxId) -> Result<(), StoreError> {
    sql("DELETE FROM mailbox_grants WHERE mailbox_id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}
