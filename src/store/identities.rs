//! Who is who to issuers of tokens outside. Not for: tokens (`auth`).

use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::UserId;

/// The user that this subject of an issuer is.
///
/// # Errors
/// What the database says.
pub fn find(conn: &mut AnyConn, issuer: &str, subject: &str) -> Result<Option<UserId>, StoreError> {
    let user: Option<i64> = sql("SELECT user_id FROM user_identities WHERE issuer = ")
        .bind(issuer)
        .push(" AND subject = ")
        .bind(subject)
        .one(conn)?;
    Ok(user.map(UserId))
}

/// Makes a subject a user, unless it is one, or the user is another subject; who the subject is then.
///
/// # Errors
/// What the database says.
pub fn bind(
    tx: &mut Tx<'_>,
    issuer: &str,
    subject: &str,
    user: UserId,
) -> Result<Option<UserId>, StoreError> {
    sql("INSERT INTO user_identities (issuer, subject, user_id, created_at) VALUES (")
        .bind(issuer)
        .push(", ")
        .bind(subject)
        .push(", ")
        .bind(user.0)
        .push(", ")
        .bind(tx.now.micros())
        .push(") ON CONFLICT DO NOTHING")
        .run(tx.conn)?;
    find(tx.conn, issuer, subject)
}

/// Makes a user nobody to an issuer; whether they were somebody. Their tokens end at once.
///
/// # Errors
/// What the database says.
pub fn delete_of_user(tx: &mut Tx<'_>, issuer: &str, user: UserId) -> Result<bool, StoreError> {
    let count = sql("DELETE FROM user_identities WHERE issuer = ")
        .bind(issuer)
        .push(" AND user_id = ")
        .bind(user.0)
        .run(tx.conn)?;
    tx.rights_changed()?;
    Ok(count > 0)
}
