//! Mails that could not be taken in, as clients see them. Not for: trying them again (`mutation::mailboxes`).

use std::sync::Arc;

use async_graphql::{ID, Object, Result};

use super::context::Ask;
use super::error;
use super::loaders::Mailboxes;
use super::mailbox::{Folder, Mailbox};
use super::paging::{Connection, Counter, ListName, Listed, PageArgs};
use super::scalars::DateTime;
use crate::model::{MailboxId, PlacementId};
use crate::store::quarantine::{self, QuarantinedMail as Row};

/// A mail that could not be taken in.
#[derive(Clone)]
pub struct QuarantinedMail {
    ask: Ask,
    row: Arc<Row>,
}

impl QuarantinedMail {
    fn new(ask: &Ask, row: Row) -> Self {
        Self {
            ask: ask.clone(),
            row: Arc::new(row),
        }
    }

    /// The mail with this id, if it is in quarantine and the viewer sees its mailbox listed.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: PlacementId) -> Result<Option<Self>> {
        let found = ask.read(move |conn, scopes| quarantine::get(conn, scopes.mailboxes(), id));
        Ok(found.await?.map(|row| Self::new(ask, row)))
    }
}

impl Listed for QuarantinedMail {
    const CONNECTION: &'static str = "QuarantineConnection";
    const EDGE: &'static str = "QuarantineEdge";
}

/// A mail that could not be taken in. It stops nothing, and can be tried again.
#[Object]
impl QuarantinedMail {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// The mailbox that it came to.
    async fn mailbox(&self) -> Result<Mailbox> {
        let row = self.ask.require::<Mailboxes>(self.row.mailbox_id).await?;
        Ok(Mailbox::new(&self.ask, row))
    }

    /// The folder that it lies in.
    async fn folder(&self) -> Result<Folder> {
        let folder = Folder::find(&self.ask, self.row.folder_id).await?;
        folder.ok_or_else(error::not_found)
    }

    /// Its number in that folder, by the server; as text, since it may be above what `Int` can hold.
    async fn uid(&self) -> String {
        self.row.uid.to_string()
    }

    /// Its size in bytes, by the server.
    async fn size(&self) -> i64 {
        self.row.size_bytes
    }

    /// Why it could not be taken in.
    async fn reason(&self) -> &str {
        &self.row.reason
    }

    /// When it was first set aside.
    async fn since(&self) -> DateTime {
        self.row.since.into()
    }

    /// How often it was tried.
    async fn tries(&self) -> i64 {
        self.row.tries
    }

    /// Whether its bytes are kept here.
    async fn is_raw_kept(&self) -> bool {
        self.row.raw_hash.is_some()
    }

    /// Whether the server still has it, as far as is known.
    async fn is_on_server(&self) -> bool {
        self.row.is_on_server
    }
}

/// A page of what is set aside in the mailboxes that the viewer sees listed, the newest first.
///
/// # Errors
/// As for every list.
pub async fn list(
    ask: &Ask,
    mailbox: Option<MailboxId>,
    args: PageArgs,
) -> Result<Connection<QuarantinedMail>> {
    let name = ListName::new(ask.viewer().user_id, "quarantine", &mailbox);
    let request = args.request(ask.codec(), &name)?;
    let page = ask
        .read(move |conn, scopes| quarantine::list(conn, scopes.mailboxes(), mailbox, &request))
        .await?;
    let counter: Counter = Arc::new(move |conn, scopes, limit| {
        quarantine::count(conn, scopes.mailboxes(), mailbox, limit)
    });
    let shape = |row| QuarantinedMail::new(ask, row);
    Ok(Connection::new(ask, name, page, counter, shape))
}
