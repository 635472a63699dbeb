//! Templates, senders and signatures as clients see them. Not for: changing them (`mutation::templates`).

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};

use super::context::{Ask, failed};
use super::loaders::Templates;
use super::paging::{Connection, Counter, ListName, Listed, PageArgs};
use super::viewer::User;
use crate::actions::ActionError;
use crate::actions::templates::Filled;
use crate::model::template::{Sender as SenderRow, Template as Row};
use crate::model::{ItemId, MailboxId, TemplateId};
use crate::rules::access;
use crate::store::templates;

/// Who sees a template beside its owner. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::template::TemplateSharing")]
pub enum TemplateSharing {
    /// Nobody.
    Own,
    /// The department of whoever shared it, and those below it.
    Department,
    /// Everybody.
    All,
}

/// A mail with fields to fill in.
#[derive(Clone)]
pub struct Template {
    ask: Ask,
    row: Arc<Row>,
}

impl Template {
    /// A template that was read under the viewer's scope.
    pub fn new(ask: &Ask, row: Arc<Row>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The template with this id, if the viewer sees it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: TemplateId) -> Result<Option<Self>> {
        let row = ask.load::<Templates>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }
}

impl Listed for Template {
    const CONNECTION: &'static str = "TemplateConnection";
    const EDGE: &'static str = "TemplateEdge";
}

/// A mail with fields to fill in: `{{ client.name }}`. There are item.title, item.stage, item.source, item.responsible,
/// item.amount, item.currency, client.name, client.company, client.address, client.phone, user.name, user.address,
/// user.department and mailbox.address, beside conditions and loops as Jinja has them.
#[Object]
impl Template {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// What it is called.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// Whose it is.
    async fn owner(&self) -> Result<User> {
        User::named(&self.ask, self.row.owner_id).await
    }

    /// Who sees it beside its owner.
    async fn sharing(&self) -> TemplateSharing {
        self.row.sharing.into()
    }

    /// The subject, with its fields.
    async fn subject(&self) -> &str {
        &self.row.subject
    }

    /// The body as plain text, with its fields.
    async fn body_text(&self) -> &str {
        &self.row.body_text
    }

    /// The body as HTML, with its fields, as it was written: what it is filled with is cleaned. Null where there is none.
    async fn body_html(&self) -> Option<&str> {
        self.row.body_html.as_deref()
    }

    /// Whether the viewer may change it.
    async fn viewer_can_change(&self) -> bool {
        access::may_change_template(self.ask.viewer(), self.row.owner_id, self.row.sharing)
    }

    /// Rises with every change; give it as `expectedVersion`.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// A template that was filled in.
#[derive(SimpleObject)]
pub struct TemplatePreview {
    /// The subject.
    subject: String,
    /// The body as plain text.
    body_text: String,
    /// The body as clean HTML; null where the template has none.
    body_html: Option<String>,
    /// Fields that it asks for and that are empty, or that the viewer may not read.
    missing: Vec<String>,
    /// Why it can't be filled in; null where it can.
    problem: Option<String>,
}

/// A template filled in under the viewer's rights; null where they see no such template, item or mailbox.
///
/// # Errors
/// `INTERNAL` where the store fails.
pub async fn preview(
    ask: &Ask,
    id: TemplateId,
    (item, mailbox): (Option<ItemId>, Option<MailboxId>),
) -> Result<Option<TemplatePreview>> {
    let viewer = ask.viewer().clone();
    let filled = ask.read(move |conn, _scopes| {
        let about = (item, mailbox);
        Ok(crate::actions::templates::filled(conn, &viewer, id, about))
    });
    match filled.await? {
        Ok(filled) => Ok(Some(shown(filled, None))),
        Err(ActionError::Store(error)) => Err(failed(&error)),
        Err(ActionError::Refused(refusals)) => {
            use crate::model::refusal::ErrorCode;
            let problem = refusals
                .into_iter()
                .find(|refusal| refusal.code == ErrorCode::BadInput);
            Ok(problem.map(|refusal| shown(Filled::default(), Some(refusal.message))))
        }
    }
}

fn shown(filled: Filled, problem: Option<String>) -> TemplatePreview {
    TemplatePreview {
        subject: filled.subject,
        body_text: filled.body_text,
        body_html: filled.body_html,
        missing: filled.missing.into_iter().collect(),
        problem,
    }
}

/// A page of the templates that the viewer sees, by name.
///
/// # Errors
/// As for every list.
pub async fn list(ask: &Ask, args: PageArgs) -> Result<Connection<Template>> {
    let name = ListName::new(ask.viewer().user_id, "templates", &());
    let request = args.request(ask.codec(), &name)?;
    let page = ask
        .read(move |conn, scopes| templates::list(conn, scopes.templates(), &request))
        .await?;
    let counter: Counter =
        Arc::new(|conn, scopes, limit| templates::count(conn, scopes.templates(), limit));
    let shape = |row| Template::new(ask, Arc::new(row));
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// A name and address that a mailbox's mail may be sent under.
#[derive(Clone)]
pub struct Sender {
    ask: Ask,
    row: SenderRow,
}

impl Sender {
    /// A sender that the viewer may use, or may give to others.
    pub fn new(ask: &Ask, row: SenderRow) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }
}

/// A name and address that a mailbox's mail may be sent under.
#[Object]
impl Sender {
    /// The opaque id; give it as `senderId`.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// The display name; null where there is none.
    async fn name(&self) -> Option<&str> {
        self.row.name.as_deref()
    }

    /// The mail address.
    async fn address(&self) -> &str {
        &self.row.address
    }

    /// Who alone may use it; null: whoever may send as the mailbox.
    async fn user(&self) -> Option<Result<User>> {
        User::maybe(&self.ask, self.row.user_id).await
    }
}

/// What stands below what the viewer writes for a mailbox.
#[derive(SimpleObject)]
pub struct Signature {
    /// As plain text.
    pub body_text: String,
    /// As clean HTML; null: made of the text.
    pub body_html: Option<String>,
}
