//! Conversations as clients see them: who takes part, what is new, and by whom they were split and merged.
//! Not for: which emails a viewer sees (that is the scope they were read under).

use std::sync::Arc;

use async_graphql::{Enum, ID, InputObject, Object, Result};

use super::context::Ask;
use super::email::{Address, Email};
use super::error;
use super::lists;
use super::loaders::{Emails, ThreadPeople, ThreadSubjects, ThreadSummaries};
use super::paging::{Connection, Listed, PageArgs};
use super::scalars::{Cursor, DateTime};
use super::viewer::User;
use crate::model::email::ThreadChange as ChangeRow;
use crate::model::{ThreadChangeId, ThreadId};
use crate::rules::access::Surface;
use crate::store::threads::{self, ThreadSummary};

/// A conversation.
#[derive(Clone)]
pub struct Thread {
    ask: Ask,
    id: ThreadId,
}

impl Thread {
    /// The thread of an email that the viewer sees.
    pub fn new(ask: &Ask, id: ThreadId) -> Self {
        Self {
            ask: ask.clone(),
            id,
        }
    }

    /// The thread with this id, if the viewer sees an email of it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: ThreadId) -> Result<Option<Self>> {
        let subject = ask.load::<ThreadSubjects>(id).await?;
        Ok(subject.map(|_subject| Self::new(ask, id)))
    }

    async fn summary(&self) -> Result<ThreadSummary> {
        self.ask.require::<ThreadSummaries>(self.id).await
    }
}

impl Listed for Thread {
    const CONNECTION: &'static str = "ThreadConnection";
    const EDGE: &'static str = "ThreadEdge";
}

/// A conversation: emails that answer each other, as far as the viewer sees them. All that it shows is of those alone.
#[Object]
impl Thread {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.id)
    }

    /// The subject of its oldest email.
    async fn subject(&self) -> Result<String> {
        let subject = self.ask.load::<ThreadSubjects>(self.id).await?;
        Ok(subject
            .map(|subject| subject.to_string())
            .unwrap_or_default())
    }

    /// Its emails, oldest first.
    async fn emails(
        &self,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Email>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        lists::emails_of_thread(&self.ask, self.id, page).await
    }

    /// Who takes part: senders and visible recipients in the order in which they appear, each once; at most 100.
    async fn participants(&self) -> Result<Vec<Address>> {
        let people = self.ask.load::<ThreadPeople>(self.id).await?;
        let people = people.iter().flat_map(|people| people.iter());
        Ok(people.map(Address::from).collect())
    }

    /// How many messages it has; one that lies in several mailboxes counts once.
    async fn message_count(&self) -> Result<i64> {
        Ok(self.summary().await?.messages)
    }

    /// How many of its incoming messages the viewer has not read, as `isRead` says of each.
    async fn unread_count(&self) -> Result<i64> {
        Ok(self.summary().await?.unread)
    }

    /// Its newest email, whose `preview` shows the first words that say something.
    async fn last_email(&self) -> Result<Email> {
        let newest = self.summary().await?.newest;
        let row = self.ask.require::<Emails>(newest).await?;
        Ok(Email::new(&self.ask, row))
    }

    /// By whom it was split and merged, oldest first; at most 100 changes of what the viewer sees.
    async fn changes(&self) -> Result<Vec<ThreadChange>> {
        let id = self.id;
        let rows = self
            .ask
            .read(move |conn, scopes| threads::changes(conn, scopes.emails(Surface::Either), id))
            .await?;
        let shape = |row| ThreadChange::new(&self.ask, row);
        Ok(rows.into_iter().map(shape).collect())
    }
}

/// A split or merge of conversations.
#[derive(Clone)]
pub struct ThreadChange {
    ask: Ask,
    row: Arc<ChangeRow>,
}

impl ThreadChange {
    fn new(ask: &Ask, row: ChangeRow) -> Self {
        Self {
            ask: ask.clone(),
            row: Arc::new(row),
        }
    }

    /// The change with this id, if the viewer sees anything of what it moved.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: ThreadChangeId) -> Result<Option<Self>> {
        let row = ask
            .read(move |conn, scopes| {
                threads::visible_change(conn, scopes.emails(Surface::Either), id)
            })
            .await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }
}

/// A split or merge of conversations by hand. `undoThreadChange` takes it back.
#[Object]
impl ThreadChange {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// What was done.
    async fn kind(&self) -> ThreadChangeKind {
        self.row.kind.into()
    }

    /// When it was done.
    async fn at(&self) -> DateTime {
        self.row.at.into()
    }

    /// Who did it; null where their account is gone.
    async fn by(&self) -> Option<Result<User>> {
        User::maybe(&self.ask, self.row.by).await
    }

    /// The conversation that emails were moved into; null where the viewer sees nothing of it any more.
    async fn thread(&self) -> Option<Result<Thread>> {
        Thread::find(&self.ask, self.row.to).await.transpose()
    }

    /// When it was taken back; null where it was not.
    async fn undone_at(&self) -> Option<DateTime> {
        self.row.undone_at.map(DateTime::from)
    }
}

/// What was done to conversations by hand.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::email::ThreadChangeKind")]
pub enum ThreadChangeKind {
    /// Emails became a conversation of their own.
    Split,
    /// Conversations became one.
    Merge,
}

/// What a list of conversations is narrowed by: a conversation is in it with those of its emails that fit.
#[derive(InputObject, Default)]
pub struct ThreadFilter {
    /// Emails of this mailbox, that the viewer has access to.
    pub mailbox_id: Option<ID>,
    /// Emails on this lead, deal or contact, that the viewer may read.
    pub item_id: Option<ID>,
}

/// The conversation with this id, if there is one that the viewer sees something of.
///
/// # Errors
/// `INTERNAL` where the store fails.
pub async fn thread(ask: &Ask, id: &ID) -> Result<Option<Thread>> {
    match ask.open::<ThreadId>(id) {
        Some(id) => Thread::find(ask, id).await,
        None => Ok(None),
    }
}

/// The conversation that a mutation changed.
///
/// # Errors
/// `NOT_FOUND` where the viewer sees nothing of it any more.
pub async fn changed(ask: &Ask, id: ThreadId) -> Result<Thread> {
    Thread::find(ask, id).await?.ok_or_else(error::not_found)
}
