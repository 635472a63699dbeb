//! Lists of whoever sees little of much. A list is read in its order until a page of it is found; for somebody who sees one
//! row in ten thousand that would be most of the table. Where what a viewer reaches is little, that is looked up by whose it
//! is, and sorted.
//! Not for: what is seen (that is `scope`, which stays in each statement): here is only where it can lie.

use super::page::{Order, PageRequest};
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, dialect, scope};
use crate::model::ItemId;
use crate::model::people::PermissionLevel;
use crate::rules::access::{EmailScope, ItemScope, ScopeLine, Surface};

/// Rows that are looked up and sorted for a page. Of a list of a million, a page of 50 is found within some ten thousand
/// rows by whoever sees more, which takes about as long. Tests' worlds are small, and both ways are to be gone in them.
const LITTLE: i64 = if cfg!(debug_assertions) { 12 } else { 4_000 };

/// Where everything that a viewer may see lies, which is little.
pub struct Narrow(Sql);

impl Narrow {
    /// Narrows a query whose text stands in its conditions.
    pub fn apply(narrow: Option<&Self>, query: Sql) -> Sql {
        match narrow {
            None => query,
            Some(Self(condition)) => query.push(" AND ").then(condition.clone()),
        }
    }

    /// A page of a query whose text stands in its conditions.
    pub fn finish(narrow: Option<&Self>, query: Sql, page: &PageRequest, order: Order) -> Sql {
        match narrow {
            None => page.finish(query, order),
            Some(_little) => page.finish_few(Self::apply(narrow, query), order),
        }
    }

    /// Rows by this column, where this select gives few values of it.
    fn if_little(
        conn: &mut AnyConn,
        column: &'static str,
        within: Sql,
    ) -> Result<Option<Self>, StoreError> {
        let is_little = is_little(conn, within.clone())?;
        Ok(is_little.then(|| Self(dialect::one_of(conn, column, within))))
    }
}

fn is_little(conn: &mut AnyConn, select: Sql) -> Result<bool, StoreError> {
    let counted: Option<i64> = sql("SELECT COUNT(*) FROM (")
        .then(select)
        .push(" LIMIT ")
        .bind(LITTLE + 1)
        .push(") AS reached")
        .one(conn)?;
    Ok(counted.unwrap_or(0) <= LITTLE)
}

/// The items in the scope, if those are few.
fn few_items(conn: &mut AnyConn, scope: &ItemScope) -> Result<Option<Sql>, StoreError> {
    match reached(scope) {
        Some(items) if is_little(conn, items.clone())? => Ok(Some(items)),
        _ => Ok(None),
    }
}

/// The items in the scope, by who is responsible for them; `None` where the scope reaches whatever there is of a kind.
fn reached(scope: &ItemScope) -> Option<Sql> {
    let levels = || scope.lines().iter().map(ScopeLine::level);
    if scope.is_everything() || levels().any(|level| level == PermissionLevel::All) {
        return None;
    }
    let reaches = |least: PermissionLevel| levels().any(|level| level >= least);
    let mut departments: Vec<i64> = Vec::new();
    if reaches(PermissionLevel::DepartmentAndBelow) {
        departments.extend(scope.departments_below().iter().map(|id| id.0));
    }
    if reaches(PermissionLevel::OwnDepartment) {
        departments.extend(scope.department_id().iter().map(|id| id.0));
    }
    let mut items = sql("SELECT ri.id FROM items ri WHERE ri.responsible_id ");
    items = if departments.is_empty() {
        items.push("= ").bind(scope.viewer_id().0)
    } else {
        items
            .push("IN (SELECT ru.id FROM users ru WHERE ru.id = ")
            .bind(scope.viewer_id().0)
            .push(" OR ru.department_id IN (")
            .list(departments)
            .push("))")
    };
    items = items.push(" AND ").then(scope::items(scope, "ri"));
    if reaches(PermissionLevel::OpenToEveryone) {
        items = items
            .push(" UNION SELECT oi.id FROM items oi WHERE oi.open_to_everyone AND ")
            .then(scope::items(scope, "oi"));
    }
    Some(items)
}

/// The emails (called `e`) in the scope.
///
/// # Errors
/// What the database says.
pub fn emails(conn: &mut AnyConn, scope: &EmailScope) -> Result<Option<Narrow>, StoreError> {
    let items = match scope.surface() {
        Surface::Mailbox => None,
        Surface::Crm | Surface::Either => few_items(conn, scope.items())?,
    };
    match reached_emails(conn, scope, items)? {
        Some(emails) => Narrow::if_little(conn, "e.id", emails),
        None => Ok(None),
    }
}

/// The emails in the scope, by these items, on which they hang, and the mailboxes that they lie in; `None` where the items
/// that it takes are not few.
fn reached_emails(
    conn: &mut AnyConn,
    scope: &EmailScope,
    items: Option<Sql>,
) -> Result<Option<Sql>, StoreError> {
    // Known beforehand: PostgreSQL takes any mailboxes for as full as the fullest, and would look through all mails for
    // somebody who has none.
    let mailboxes: Vec<i64> = match scope.surface() {
        Surface::Crm => Vec::new(),
        _ if scope.mailboxes().is_everything() => return Ok(None),
        Surface::Mailbox | Surface::Either => scope::mailbox_ids(scope.mailboxes()).rows(conn)?,
    };
    let reached = sql("SELECT re.id FROM emails re WHERE re.mailbox_id IN (")
        .any_of(mailboxes)
        .push(")");
    if scope.surface() == Surface::Mailbox {
        return Ok(Some(reached));
    }
    Ok(items.map(|items| {
        reached
            .push(" UNION ALL SELECT rl.email_id FROM email_links rl WHERE ")
            .then(dialect::one_of(conn, "rl.item_id", items))
    }))
}

/// What is searched for (documents called `d`), of the emails in the scope and the items that go with it.
///
/// # Errors
/// What the database says.
pub fn documents(conn: &mut AnyConn, scope: &EmailScope) -> Result<Option<Narrow>, StoreError> {
    let Some(items) = few_items(conn, scope.items())? else {
        return Ok(None);
    };
    let Some(emails) = reached_emails(conn, scope, Some(items.clone()))? else {
        return Ok(None);
    };
    if !is_little(conn, emails.clone())? {
        return Ok(None);
    }
    let within = sql("SELECT rd.id FROM search_docs rd WHERE rd.kind = 'EMAIL' AND ")
        .then(dialect::one_of(conn, "rd.subject_id", emails))
        .push(" UNION ALL SELECT rd.id FROM search_docs rd WHERE rd.kind IN ('LEAD', 'DEAL', 'CONTACT') AND ")
        .then(dialect::one_of(conn, "rd.subject_id", items));
    Ok(Some(Narrow(dialect::one_of(conn, "d.id", within))))
}

/// The emails (called `e`) that hang on an item.
///
/// # Errors
/// What the database says.
pub fn emails_of_item(conn: &mut AnyConn, item: ItemId) -> Result<Option<Narrow>, StoreError> {
    let links = sql("SELECT rl.email_id FROM email_links rl WHERE rl.item_id = ").bind(item.0);
    Narrow::if_little(conn, "e.id", links)
}

/// The entries (called `t`) of timelines of items in the scope.
///
/// # Errors
/// What the database says.
pub fn entries(conn: &mut AnyConn, scope: &ItemScope) -> Result<Option<Narrow>, StoreError> {
    let Some(items) = few_items(conn, scope)? else {
        return Ok(None);
    };
    let entries = sql("SELECT rt.position FROM timeline_entries rt WHERE ");
    let entries = entries.then(dialect::one_of(conn, "rt.item_id", items));
    Narrow::if_little(conn, "t.position", entries)
}

/// The items (called `i`) in the scope.
///
/// # Errors
/// What the database says.
pub fn items(conn: &mut AnyConn, scope: &ItemScope) -> Result<Option<Narrow>, StoreError> {
    let items = few_items(conn, scope)?;
    Ok(items.map(|items| Narrow(dialect::one_of(conn, "i.id", items))))
}
