//! Templates, senders and signatures.

use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::read::word;
use super::sql::{Sql, insert_row, sql, update_row};
use super::{AnyConn, StoreError, Tx};
use crate::model::template::{Sender, Signature, Template, TemplateSharing};
use crate::model::{DepartmentId, MailboxId, SenderId, TemplateId, UserId};
use crate::rules::access::TemplateScope;

type TemplateRow = (
    i64,
    i64,
    String,
    String,
    String,
    Option<String>,
    String,
    Option<i64>,
    i64,
);

const COLUMNS: &str = "SELECT t.id, t.owner_id, t.name, t.subject, t.body_text, t.body_html, t.sharing, t.department_id, t.version \
     FROM templates t";

fn template(row: TemplateRow) -> Result<Template, StoreError> {
    let (id, owner, name, subject, body_text, body_html, sharing, department, version) = row;
    Ok(Template {
        id: TemplateId(id),
        owner_id: UserId(owner),
        name,
        subject,
        body_text,
        body_html,
        sharing: word(
            TemplateSharing::from_text,
            &sharing,
            "templates",
            "sharing",
            id,
        )?,
        department_id: department.map(DepartmentId),
        version,
    })
}

fn within(select: &'static str, scope: &TemplateScope) -> Sql {
    sql(select)
        .push(" WHERE (t.owner_id = ")
        .bind(scope.viewer_id().0)
        .push(" OR t.sharing = 'ALL' OR (t.sharing = 'DEPARTMENT' AND t.department_id IN (")
        .list(scope.departments_above().iter().map(|id| id.0))
        .push(")))")
}

/// Those of these templates that are in the scope, in no order.
///
/// # Errors
/// What the database says.
pub fn visible(
    conn: &mut AnyConn,
    scope: &TemplateScope,
    ids: &[TemplateId],
) -> Result<Vec<Template>, StoreError> {
    let rows: Vec<TemplateRow> = within(COLUMNS, scope)
        .push(" AND t.id IN (")
        .any_of(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    rows.into_iter().map(template).collect()
}

const ORDER: Order = Order {
    columns: &["t.name", "t.id"],
    descending: false,
};

/// A page of the templates in the scope, by name.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    scope: &TemplateScope,
    page: &PageRequest,
) -> Result<Page<Template>, StoreError> {
    let rows: Vec<TemplateRow> = page.finish(within(COLUMNS, scope), ORDER).rows(conn)?;
    let rows = rows
        .into_iter()
        .map(|row| {
            let found = template(row)?;
            let key = vec![
                KeyPart::Text(found.name.clone()),
                KeyPart::Number(found.id.0),
            ];
            Ok((key, found))
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    Ok(page.page(rows))
}

/// How many such a list has, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    scope: &TemplateScope,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    count_up_to(conn, within("SELECT t.id FROM templates t", scope), limit)
}

/// What a template says.
#[derive(Debug, Clone)]
pub struct TemplateRowText {
    pub name: String,
    pub subject: String,
    pub body_text: String,
    pub body_html: Option<String>,
    pub sharing: TemplateSharing,
    pub department_id: Option<DepartmentId>,
}

/// Keeps a new template.
///
/// # Errors
/// What the database says.
pub fn insert(
    tx: &mut Tx<'_>,
    owner: UserId,
    new: &TemplateRowText,
) -> Result<TemplateId, StoreError> {
    let id = tx.id()?;
    let now = tx.now.micros();
    insert_row(
        "templates",
        vec![
            ("id", id.into()),
            ("owner_id", owner.0.into()),
            ("name", new.name.clone().into()),
            ("subject", new.subject.clone().into()),
            ("body_text", new.body_text.clone().into()),
            ("body_html", new.body_html.clone().into()),
            ("sharing", new.sharing.as_text().into()),
            ("department_id", new.department_id.map(|id| id.0).into()),
            ("created_at", now.into()),
            ("updated_at", now.into()),
            ("version", 1_i64.into()),
        ],
    )
    .run(tx.conn)?;
    Ok(TemplateId(id))
}

/// Writes what a template says.
///
/// # Errors
/// What the database says.
pub fn update(tx: &mut Tx<'_>, id: TemplateId, new: &TemplateRowText) -> Result<(), StoreError> {
    let now = tx.now.micros();
    update_row(
        "templates",
        id.0,
        vec![
            ("name", new.name.clone().into()),
            ("subject", new.subject.clone().into()),
            ("body_text", new.body_text.clone().into()),
            ("body_html", new.body_html.clone().into()),
            ("sharing", new.sharing.as_text().into()),
            ("department_id", new.department_id.map(|id| id.0).into()),
            ("updated_at", now.into()),
        ],
    )
    .run(tx.conn)?;
    sql("UPDATE templates SET version = version + 1 WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

/// Deletes a template.
///
/// # Errors
/// What the database says.
pub fn delete(tx: &mut Tx<'_>, id: TemplateId) -> Result<(), StoreError> {
    sql("DELETE FROM templates WHERE id = ")
        .bind(id.0)
        .run(tx.conn)?;
    Ok(())
}

// ── senders ──

/// The senders of mailboxes, whoever may use them, in their order.
///
/// # Errors
/// What the database says.
pub fn senders(conn: &mut AnyConn, ids: &[MailboxId]) -> Result<Vec<Sender>, StoreError> {
    let rows: Vec<(i64, i64, Option<String>, String, Option<i64>)> = sql(
        "SELECT id, mailbox_id, name, address, user_id FROM mailbox_senders WHERE mailbox_id IN (",
    )
    .any_of(ids.iter().map(|id| id.0))
    .push(") ORDER BY mailbox_id, position, id")
    .rows(conn)?;
    Ok(rows
        .into_iter()
        .map(|(id, mailbox, name, address, user)| Sender {
            id: SenderId(id),
            mailbox_id: MailboxId(mailbox),
            name,
            address,
            user_id: user.map(UserId),
        })
        .collect())
}

/// Replaces the senders of a mailbox: name, address, and who alone may use it.
///
/// # Errors
/// What the database says.
pub fn replace_senders(
    tx: &mut Tx<'_>,
    mailbox: MailboxId,
    all: &[(Option<String>, String, Option<UserId>)],
) -> Result<(), StoreError> {
    sql("DELETE FROM mailbox_senders WHERE mailbox_id = ")
        .bind(mailbox.0)
        .run(tx.conn)?;
    for (position, (name, address, user)) in (0_i64..).zip(all) {
        let id = tx.id()?;
        insert_row(
            "mailbox_senders",
            vec![
                ("id", id.into()),
                ("mailbox_id", mailbox.0.into()),
                ("position", position.into()),
                ("name", name.clone().into()),
                ("address", address.clone().into()),
                ("user_id", user.map(|id| id.0).into()),
            ],
        )
        .run(tx.conn)?;
    }
    Ok(())
}

// ── signatures ──

/// What stands below what a user writes for a mailbox; `None`: nothing.
///
/// # Errors
/// What the database says.
pub fn signature(
    conn: &mut AnyConn,
    user: UserId,
    mailbox: MailboxId,
) -> Result<Option<Signature>, StoreError> {
    let row: Option<(String, Option<String>)> =
        sql("SELECT body_text, body_html FROM signatures WHERE user_id = ")
            .bind(user.0)
            .push(" AND mailbox_id = ")
            .bind(mailbox.0)
            .one(conn)?;
    Ok(row.map(|(body_text, body_html)| Signature {
        body_text,
        body_html,
    }))
}

/// Writes it; `None` takes it away.
///
/// # Errors
/// What the database says.
pub fn put_signature(
    tx: &mut Tx<'_>,
    user: UserId,
    mailbox: MailboxId,
    signature: Option<&Signature>,
) -> Result<(), StoreError> {
    sql("DELETE FROM signatures WHERE user_id = ")
        .bind(user.0)
        .push(" AND mailbox_id = ")
        .bind(mailbox.0)
        .run(tx.conn)?;
    if let Some(signature) = signature {
        insert_row(
            "signatures",
            vec![
                ("user_id", user.0.into()),
                ("mailbox_id", mailbox.0.into()),
                ("body_text", signature.body_text.clone().into()),
                ("body_html", signature.body_html.clone().into()),
            ],
        )
        .run(tx.conn)?;
    }
    Ok(())
}
