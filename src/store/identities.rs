//! Who is who to issuers of tokens outside. Not for: tokens (`auth`).

use super::sql::sql;
use super::{AnyConn, StoreError, Tx};
use crate::model::UserId;

/// Who a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    User(UserId),
    /// It was somebody, and that was taken back: it is nobody until an operator names it again.
    TakenBack,
}

impl Known {
    /// The user, if it is one.
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::TakenBack => None,
        }
    }
}

/// Who this subject of an issuer is; `None`: it was never seen.
///
/// # Errors
/// What the database says.
pub fn find(conn: &mut AnyConn, issuer: &str, subject: &str) -> Result<Option<Known>, StoreError> {
    let user: Option<Option<i64>> = sql("SELECT user_id FROM user_identities WHERE issuer = ")
        .bind(issuer)
        .push(" AND subject = ")
        .bind(subject)
        .one(conn)?;
    Ok(user.map(|user| user.map_or(Known::TakenBack, |id| Known::User(UserId(id)))))
}

/// Whether a user is some subject of this issuer.
///
/// # Errors
/// What the database says.
pub fn is_bound(conn: &mut AnyConn, issuer: &str, user: UserId) -> Result<bool, StoreError> {
    let found: Option<i64> = sql("SELECT user_id FROM user_identities WHERE issuer = ")
        .bind(issuer)
        .push(" AND user_id = ")
        .bind(user.0)
        .one(conn)?;
    Ok(found.is_some())
}

/// Makes a subject that was never seen a user, unless the user is another subject; who the subject is then.
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
    Ok(find(tx.conn, issuer, subject)?.and_then(Known::user))
}

/// The same by an operator, who may also name a subject again that was taken back.
///
/// # Errors
/// What the database says.
pub fn bind_again(
    tx: &mut Tx<'_>,
    issuer: &str,
    subject: &str,
    user: UserId,
) -> Result<Option<UserId>, StoreError> {
    sql("DELETE FROM user_identities WHERE user_id IS NULL AND issuer = ")
        .bind(issuer)
        .push(" AND subject = ")
        .bind(subject)
        .run(tx.conn)?;
    bind(tx, issuer, subject, user)
}

/// Makes a user nobody to an issuer; whether they were somebody. Their tokens end at once, and their subject does not
/// become anybody again by its address.
///
/// # Errors
/// What the database says.
pub fn take_back(tx: &mut Tx<'_>, issuer: &str, user: UserId) -> Result<bool, StoreError> {
    let count = sql("UPDATE user_identities SET user_id = NULL WHERE issuer = ")
        .bind(issuer)
        .push(" AND user_id = ")
        .bind(user.0)
        .run(tx.conn)?;
    tx.rights_changed()?;
    Ok(count > 0)
}
