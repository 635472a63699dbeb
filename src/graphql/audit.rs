//! The audit log as administrators see it: stored names of things become ids.
//! Not for: writing it (`store::audit`).

use std::sync::Arc;

use async_graphql::{ID, InputObject, Object, Result};
use serde_json::Value;

use super::context::Ask;
use super::error;
use super::ids::{AnyId, Named, item_type};
use super::paging::{Connection, Counter, ListName, Listed, PageArgs};
use super::scalars::DateTime;
use super::viewer::User;
use crate::model::item::ItemKind;
use crate::model::{AuditId, DepartmentId, EmailId, FolderId, MailboxId, RoleId, StageId, UserId};
use crate::store::audit::{self, AuditFilter as Rows, AuditRow};

/// What the audit log is narrowed by; everything given must hold.
#[derive(InputObject, Debug, Clone, Default)]
pub struct AuditFilter {
    /// Done by this user.
    actor_id: Option<ID>,
    /// With this name, mostly a mutation's: `updateRole`, `failedLogIn`.
    action: Option<String>,
    /// About the thing with this id.
    target: Option<ID>,
    /// At this moment or later.
    since: Option<DateTime>,
    /// Before this moment.
    before: Option<DateTime>,
}

impl AuditFilter {
    /// The store's filter; an id that names nothing matches nothing.
    pub fn rows(self, ask: &Ask) -> Rows {
        Rows {
            actor_id: self.actor_id.map(|id| ask.open_for_filter(&id)),
            action: self.action,
            target: self.target.map(|id| stored_name(ask, &id)),
            since: self.since.map(|since| since.0),
            before: self.before.map(|before| before.0),
        }
    }
}

/// The name by which the log knows the thing with this id.
fn stored_name(ask: &Ask, id: &ID) -> String {
    match ask.open_any(id) {
        Some(AnyId::User(id)) => format!("user {}", id.0),
        Some(AnyId::Department(id)) => format!("department {}", id.0),
        Some(AnyId::Role(id)) => format!("role {}", id.0),
        Some(AnyId::Stage(id)) => format!("stage {}", id.0),
        Some(AnyId::Mailbox(id)) => format!("mailbox {}", id.0),
        Some(AnyId::Email(id)) => format!("email {}", id.0),
        Some(AnyId::Item(kind, id)) => format!("{} {}", kind.as_text().to_lowercase(), id.0),
        _ => String::new(),
    }
}

/// The id of the thing that the log knows by this name; `None` for a name of nothing that has an id.
fn id_of(ask: &Ask, name: &str) -> Option<ID> {
    let (noun, number) = name.split_once(' ')?;
    let number: i64 = number.parse().ok()?;
    let seal = |type_name| ID(ask.codec().seal_id(type_name, number));
    Some(seal(match noun {
        "user" => UserId::TYPE,
        "department" => DepartmentId::TYPE,
        "role" => RoleId::TYPE,
        "stage" => StageId::TYPE,
        "mailbox" => MailboxId::TYPE,
        "email" => EmailId::TYPE,
        "lead" => item_type(ItemKind::Lead),
        "deal" => item_type(ItemKind::Deal),
        "contact" => item_type(ItemKind::Contact),
        _ => return None,
    }))
}

/// Which type the numbers below a key of a line's detail name.
fn type_below(key: &str) -> Option<&'static str> {
    Some(match key {
        "userId" | "connector" | "queue" | "users" => UserId::TYPE,
        "departmentId" | "parentId" | "departments" => DepartmentId::TYPE,
        "roleIds" => RoleId::TYPE,
        "stageId" => StageId::TYPE,
        "spam" | "notSynced" | "roles" => FolderId::TYPE,
        _ => return None,
    })
}

/// A detail whose numbers and names of rows have become ids.
fn sealed(ask: &Ask, value: Value, type_name: Option<&'static str>) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| {
                    let below = type_below(&key);
                    (key, sealed(ask, value, below))
                })
                .collect(),
        ),
        Value::Array(values) => Value::Array(
            values
                .into_iter()
                .map(|value| sealed(ask, value, type_name))
                .collect(),
        ),
        Value::Number(number) => match (type_name, number.as_i64()) {
            (Some(type_name), Some(number)) => ask.codec().seal_id(type_name, number).into(),
            _ => Value::Number(number),
        },
        Value::String(text) => match id_of(ask, &text) {
            Some(id) => id.0.into(),
            None => Value::String(text),
        },
        other => other,
    }
}

/// One line of the audit log.
#[derive(Clone)]
pub struct AuditEntry {
    ask: Ask,
    row: Arc<AuditRow>,
}

impl AuditEntry {
    fn new(ask: &Ask, row: AuditRow) -> Self {
        Self {
            ask: ask.clone(),
            row: Arc::new(row),
        }
    }

    /// The line with this id, for administrators.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: AuditId) -> Result<Option<Self>> {
        if !ask.viewer().is_administrator {
            return Ok(None);
        }
        let row = ask.read(move |conn, _scopes| audit::get(conn, id)).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }
}

impl Listed for AuditEntry {
    const CONNECTION: &'static str = "AuditConnection";
    const EDGE: &'static str = "AuditEdge";
}

/// One line of the audit log, which nobody changes or deletes: who did what, and to what.
#[Object]
impl AuditEntry {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// When it was done.
    async fn at(&self) -> DateTime {
        self.row.at.into()
    }

    /// Who did it; null for somebody who was not signed in, and for the operator.
    async fn actor(&self) -> Option<Result<User>> {
        User::maybe(&self.ask, self.row.actor_id).await
    }

    /// What was done, mostly by the name of the mutation.
    async fn action(&self) -> &str {
        &self.row.action
    }

    /// What it was done to, in a word: `role`, `mailbox`, `deal`; of a failed log-in, the address that was tried.
    async fn target(&self) -> &str {
        match id_of(&self.ask, &self.row.target) {
            Some(_id) => self.row.target.split(' ').next().unwrap_or_default(),
            None => &self.row.target,
        }
    }

    /// The id of what it was done to, which may be gone; null for what has none.
    async fn target_id(&self) -> Option<ID> {
        id_of(&self.ask, &self.row.target)
    }

    /// What changed, as JSON: ids and words, no secrets and no mail.
    async fn detail(&self) -> Result<String> {
        let value: Value =
            serde_json::from_str(&self.row.detail).map_err(|cause| error::internal(&cause))?;
        Ok(sealed(&self.ask, value, None).to_string())
    }
}

/// A page of the audit log, newest first.
///
/// # Errors
/// `FORBIDDEN` for whoever is no administrator; as for every list.
pub async fn log(ask: &Ask, filter: AuditFilter, args: PageArgs) -> Result<Connection<AuditEntry>> {
    if !ask.viewer().is_administrator {
        return Err(error::forbidden());
    }
    let filter = filter.rows(ask);
    let name = ListName::new(ask.viewer().user_id, "auditLog", &filter);
    let request = args.request(ask.codec(), &name)?;
    let narrowed = filter.clone();
    let page = ask
        .read(move |conn, _scopes| audit::list(conn, &narrowed, &request))
        .await?;
    let counter: Counter = Arc::new(move |conn, _scopes, limit| audit::count(conn, &filter, limit));
    let shape = |row| AuditEntry::new(ask, row);
    Ok(Connection::new(ask, name, page, counter, shape))
}
