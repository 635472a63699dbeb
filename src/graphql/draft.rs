//! Mails that people write, as clients see them: what they say, and where they stand on their way out.
//! Not for: writing or sending them (`mutation::drafts`).

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};

use super::context::Ask;
use super::email::{Address, Email};
use super::item::Item;
use super::loaders::{DraftFiles, Drafts, MailMailboxes};
use super::mailbox::Mailbox;
use super::paging::{Connection, Counter, ListName, Listed, PageArgs};
use super::scalars::DateTime;
use super::viewer::User;
use crate::model::DraftId;
use crate::model::draft::{Draft as Row, DraftAttachment as FileRow, SendingState as State};
use crate::store::drafts;

/// What a mail that somebody writes answers, if anything. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::draft::DraftKind")]
pub enum DraftKind {
    /// It answers nothing.
    New,
    /// It answers a mail's sender.
    Reply,
    /// It answers a mail's sender and all its recipients, but ourselves.
    ReplyAll,
    /// It passes a mail on, with its files.
    Forward,
}

/// Where a mail stands on its way out. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::draft::SendingState")]
pub enum SendingState {
    /// It is being written.
    Draft,
    /// It waits for its time, or to be tried again; it can be taken back.
    Queued,
    /// A server is being talked to.
    Sending,
    /// The server took it.
    Sent,
    /// It was refused, and nobody got it; `failures` says why.
    Failed,
    /// The connection broke when it had been handed over: it may have gone out, or not. It is never tried again by itself;
    /// it becomes SENT where a copy of it comes back. Sent once more and taken back or refused then, it is this again;
    /// `failures` says why it was refused.
    Unknown,
}

/// A mail that somebody writes.
#[derive(Clone)]
pub struct Draft {
    ask: Ask,
    row: Arc<Row>,
}

impl Draft {
    /// A draft that was read under the viewer's scope.
    pub fn new(ask: &Ask, row: Arc<Row>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The draft with this id, if the viewer sees it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: DraftId) -> Result<Option<Self>> {
        let row = ask.load::<Drafts>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }

    async fn files(&self) -> Result<Vec<DraftAttachment>> {
        let rows = self.ask.load::<DraftFiles>(self.row.id).await?;
        let rows = rows.iter().flat_map(|rows| rows.iter());
        Ok(rows
            .map(|row| DraftAttachment::new(&self.ask, row.clone()))
            .collect())
    }
}

impl Listed for Draft {
    const CONNECTION: &'static str = "DraftConnection";
    const EDGE: &'static str = "DraftEdge";
}

/// A mail that somebody writes, and its way out. Its author alone sees it, for as long as they may send as its mailbox.
#[Object]
impl Draft {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// Who writes it.
    async fn author(&self) -> Result<User> {
        User::named(&self.ask, self.row.author_id).await
    }

    /// The mailbox that it is sent from.
    async fn mailbox(&self) -> Result<Mailbox> {
        let row = self
            .ask
            .require::<MailMailboxes>(self.row.mailbox_id)
            .await?;
        Ok(Mailbox::new(&self.ask, row))
    }

    /// What it answers, if anything.
    async fn kind(&self) -> DraftKind {
        self.row.kind.into()
    }

    /// The email that it answers or passes on; null where there is none, or the viewer may not see it any more.
    async fn original(&self) -> Option<Result<Email>> {
        Email::find(&self.ask, self.row.original_id?)
            .await
            .transpose()
    }

    /// The item that it will be saved on; null where the rules choose, or the viewer may not read it.
    async fn item(&self) -> Option<Result<Item>> {
        Item::maybe(&self.ask, self.row.item_id).await
    }

    /// Who it is from.
    async fn from(&self) -> Address {
        Address::from(&self.row.content.from)
    }

    /// Whom it goes to.
    async fn to(&self) -> Vec<Address> {
        self.row.content.to.iter().map(Address::from).collect()
    }

    /// Who gets a copy.
    async fn cc(&self) -> Vec<Address> {
        self.row.content.cc.iter().map(Address::from).collect()
    }

    /// Who gets a copy that no other recipient reads of.
    async fn bcc(&self) -> Vec<Address> {
        self.row.content.bcc.iter().map(Address::from).collect()
    }

    /// The subject.
    async fn subject(&self) -> &str {
        &self.row.content.subject
    }

    /// The body as plain text, with what it quotes.
    async fn body_text(&self) -> &str {
        &self.row.content.body_text
    }

    /// The body as clean HTML; null where it goes out as plain text alone.
    async fn body_html(&self) -> Option<&str> {
        self.row.content.body_html.as_deref()
    }

    /// The files that go with it.
    async fn attachments(&self) -> Result<Vec<DraftAttachment>> {
        self.files().await
    }

    /// Where it stands.
    async fn state(&self) -> SendingState {
        self.row.state.into()
    }

    /// When it goes out, or is tried again; null where it does not wait.
    async fn send_at(&self) -> Option<DateTime> {
        let waits = self.row.state == State::Queued;
        self.row.due_at.filter(|_at| waits).map(DateTime::from)
    }

    /// How often a server was asked to take it.
    async fn tries(&self) -> i64 {
        self.row.tries
    }

    /// Whether it may have gone out although nobody knows: true in the state UNKNOWN, and while one that was is sent once more.
    async fn may_have_gone_out(&self) -> bool {
        match self.row.state {
            State::Sent => false,
            State::Unknown => true,
            _ => self.row.may_be_out,
        }
    }

    /// Why it did not go out, the last time that it was tried.
    async fn failures(&self) -> Vec<SendingFailure> {
        let all = self.row.failures.iter();
        all.map(|failure| SendingFailure {
            recipient: failure.recipient.clone(),
            reason: failure.reason.clone(),
            code: failure.code,
        })
        .collect()
    }

    /// Its Message-ID, which is fixed once it is on its way.
    async fn message_id(&self) -> Option<&str> {
        self.row.message_id_header.as_deref()
    }

    /// When the server took it.
    async fn sent_at(&self) -> Option<DateTime> {
        self.row.sent_at.map(DateTime::from)
    }

    /// The email that it became; null until it was sent, or where the viewer may not see that any more.
    async fn email(&self) -> Option<Result<Email>> {
        Email::find(&self.ask, self.row.email_id?).await.transpose()
    }

    /// When it was begun.
    async fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// When something about it last changed.
    async fn updated_at(&self) -> DateTime {
        self.row.updated_at.into()
    }

    /// Rises with every change; give it as `expectedVersion`.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// Why a mail did not go out.
#[derive(SimpleObject, Clone)]
pub struct SendingFailure {
    /// Whom it was for; null: the whole mail.
    recipient: Option<String>,
    /// Why, for people.
    reason: String,
    /// The code of the server's reply by SMTP; null where there was none.
    code: Option<i64>,
}

/// A file that goes out with a mail.
#[derive(Clone)]
pub struct DraftAttachment {
    ask: Ask,
    row: FileRow,
}

impl DraftAttachment {
    /// A file of a draft that the viewer sees.
    pub fn new(ask: &Ask, row: FileRow) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The file with this id, if the viewer sees its draft.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: crate::model::DraftAttachmentId) -> Result<Option<Self>> {
        let found = ask.read(move |conn, _scopes| drafts::attachment_by_id(conn, id));
        let Some(row) = found.await? else {
            return Ok(None);
        };
        let draft = Draft::find(ask, row.draft_id).await?;
        Ok(draft.map(|_draft| Self::new(ask, row)))
    }
}

/// A file that goes out with a mail.
#[Object]
impl DraftAttachment {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// What it is: `application/pdf`.
    async fn media_type(&self) -> &str {
        &self.row.media_type
    }

    /// Its size in bytes, as it was announced until it is uploaded.
    async fn size(&self) -> i64 {
        self.row.size_bytes
    }

    /// Whether it is here; a mail is sent only with all its files.
    async fn is_uploaded(&self) -> bool {
        self.row.raw_hash.is_some()
    }
}

/// A page of what the viewer writes, what was changed last first.
///
/// # Errors
/// As for every list.
pub async fn list(
    ask: &Ask,
    states: Vec<SendingState>,
    args: PageArgs,
) -> Result<Connection<Draft>> {
    let states: Arc<[State]> = states.into_iter().map(State::from).collect();
    let name = ListName::new(ask.viewer().user_id, "drafts", &states);
    let request = args.request(ask.codec(), &name)?;
    let wanted = states.clone();
    let page = ask
        .read(move |conn, scopes| drafts::list(conn, scopes.drafts(), &wanted, &request))
        .await?;
    let counter: Counter =
        Arc::new(move |conn, scopes, limit| drafts::count(conn, scopes.drafts(), &states, limit));
    let shape = |row| Draft::new(ask, Arc::new(row));
    Ok(Connection::new(ask, name, page, counter, shape))
}
