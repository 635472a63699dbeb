//! Mailboxes, their folders, settings and sync as clients see them. Not for: mail itself (`email`).

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject, Union};

use super::context::Ask;
use super::email::Email;
use super::error;
use super::lists;
use super::loaders::{
    Departments, Folders, Holders, Mailboxes, Retentions, Senders, SettingsOf, SyncCountsOf,
    SyncStates, Warnings,
};
use super::paging::{Connection, Listed, PageArgs};
use super::refusal::ErrorCode;
use super::scalars::{Cursor, DateTime};
use super::template::{Sender, Signature};
use super::viewer::{Department, User};
use crate::model::mailbox::{
    Folder as FolderRow, FolderRole as Role, Mailbox as MailboxRow, MailboxSettings as SettingsRow,
    MailboxWarning as Warning, Reconciliation as ReconciliationRow, SyncCounts,
    SyncState as SyncRow,
};
use crate::model::{FolderId, MailboxId, Time};
use crate::rules::access;
use crate::store;

/// An IMAP account.
#[derive(Clone)]
pub struct Mailbox {
    ask: Ask,
    row: Arc<MailboxRow>,
}

impl Mailbox {
    /// A mailbox that the viewer sees listed.
    pub fn new(ask: &Ask, row: Arc<MailboxRow>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The mailbox with this id, if the viewer has access to it or may change its settings.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: MailboxId) -> Result<Option<Self>> {
        let row = ask.load::<Mailboxes>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }

    async fn folder_rows(&self) -> Result<Arc<Vec<FolderRow>>> {
        let rows = self.ask.load::<Folders>(self.row.id).await?;
        Ok(rows.unwrap_or_default())
    }

    async fn spam_folder_row(&self) -> Result<Option<FolderRow>> {
        let Some(id) = self.row.spam_folder_id else {
            return Ok(None);
        };
        let rows = self.folder_rows().await?;
        Ok(rows.iter().find(|row| row.id == id).cloned())
    }

    /// Since when what it gets can't be stored; a full database can't be told.
    fn full_since(&self) -> Option<Time> {
        let store = &self.ask.services().store;
        store.full_since().filter(|_since| self.row.is_connected)
    }

    fn may_change_settings(&self) -> bool {
        access::may_change_mailbox_settings(self.ask.viewer(), self.row.connector_id)
    }

    async fn all_warnings(&self) -> Result<Vec<MailboxWarning>> {
        let noted = self.ask.load::<Warnings>(self.row.id).await?;
        let mut warnings: Vec<Warning> = noted.map(|noted| noted.to_vec()).unwrap_or_default();
        // R3: this one holds for as long as the setting does, so nobody needs to note or clear it.
        warnings.retain(|warning| *warning != Warning::SpamFolderIsInbox);
        if self.full_since().is_some() && !warnings.contains(&Warning::StorageFull) {
            warnings.push(Warning::StorageFull);
        }
        let spam = self.spam_folder_row().await?;
        if spam.is_some_and(|folder| folder.role == Some(Role::Inbox)) {
            warnings.insert(0, Warning::SpamFolderIsInbox);
        }
        Ok(warnings.into_iter().map(MailboxWarning::from).collect())
    }

    async fn everybody_with_access(&self) -> Result<Vec<MailboxHolder>> {
        let Some(holders) = self.ask.load::<Holders>(self.row.id).await? else {
            return Ok(Vec::new());
        };
        let given = holders.user_ids.iter().copied();
        let given = given.filter(|user| *user != holders.connector_id);
        let users = std::iter::once(holders.connector_id).chain(given);
        let users = User::all(&self.ask, users).await?;
        let departments = holders.department_ids.iter().copied();
        let departments = self.ask.load_all::<Departments>(departments).await?;
        let departments = departments
            .into_iter()
            .map(|row| Department::new(&self.ask, row));
        Ok(users
            .into_iter()
            .map(MailboxHolder::User)
            .chain(departments.map(MailboxHolder::Department))
            .collect())
    }
}

impl Listed for Mailbox {
    const CONNECTION: &'static str = "MailboxConnection";
    const EDGE: &'static str = "MailboxEdge";
}

/// An IMAP account that a user, its connector, has connected; other users and departments can be given access to it.
#[Object]
impl Mailbox {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// Its mail address.
    async fn address(&self) -> &str {
        &self.row.address
    }

    /// Who connected it, or took it over; the actor of its mail on timelines.
    async fn connector(&self) -> Result<User> {
        User::named(&self.ask, self.row.connector_id).await
    }

    /// Its folders, INBOX first.
    async fn folders(&self) -> Result<Vec<Folder>> {
        let rows = self.folder_rows().await?;
        Ok(rows
            .iter()
            .map(|row| Folder::new(&self.ask, row.clone()))
            .collect())
    }

    /// Where spam goes: mail there is never saved by itself. Null: spam goes nowhere.
    async fn spam_folder(&self) -> Option<Result<Folder>> {
        let row = self.spam_folder_row().await.transpose()?;
        Some(row.map(|row| Folder::new(&self.ask, row)))
    }

    /// Its CRM settings; null unless the viewer may change them.
    async fn settings(&self) -> Option<Result<MailboxSettings>> {
        if !self.may_change_settings() {
            return None;
        }
        let row = self.ask.load::<SettingsOf>(self.row.id).await.transpose()?;
        Some(row.map(|row| MailboxSettings {
            ask: self.ask.clone(),
            row,
        }))
    }

    /// Whether the viewer may change its CRM settings.
    async fn viewer_can_change_settings(&self) -> bool {
        self.may_change_settings()
    }

    /// Whether the viewer may send mail as it, and it is set up to send.
    async fn viewer_can_send(&self) -> Result<bool> {
        let holders = self.ask.load::<Holders>(self.row.id).await?;
        let may = holders.is_some_and(|holders| access::may_send(self.ask.viewer(), &holders));
        Ok(may && self.row.is_connected && self.row.smtp.is_some())
    }

    /// The names and addresses that the viewer may send under as it, beside their own name with its address; all of them for
    /// its connector and administrators, who give them.
    async fn senders(&self) -> Result<Vec<Sender>> {
        let viewer = self.ask.viewer();
        let manages = access::may_manage_mailbox(viewer, self.row.connector_id);
        let holders = self.ask.load::<Holders>(self.row.id).await?;
        let may_send = holders.is_some_and(|holders| access::may_send(viewer, &holders));
        let rows = self.ask.load::<Senders>(self.row.id).await?;
        let rows = rows.iter().flat_map(|rows| rows.iter());
        Ok(rows
            .filter(|row| {
                let is_theirs = row.user_id.is_none_or(|user| user == viewer.user_id);
                manages || (may_send && is_theirs)
            })
            .map(|row| Sender::new(&self.ask, row.clone()))
            .collect())
    }

    /// What stands below what the viewer writes for it; null where there is nothing.
    async fn signature(&self) -> Result<Option<Signature>> {
        let (user, mailbox) = (self.ask.viewer().user_id, self.row.id);
        let found = self
            .ask
            .read(move |conn, _scopes| store::templates::signature(conn, user, mailbox));
        Ok(found.await?.map(|signature| Signature {
            body_text: signature.body_text,
            body_html: signature.body_html,
        }))
    }

    /// Where its sync stands.
    async fn sync(&self) -> Result<SyncState> {
        let row = self.ask.require::<SyncStates>(self.row.id).await?;
        let row = match self.full_since() {
            Some(since) => Arc::new(SyncRow::clone(&row).while_full(since)),
            None => row,
        };
        Ok(SyncState {
            ask: self.ask.clone(),
            mailbox_id: self.row.id,
            row,
        })
    }

    /// After how many days mail that is not in the CRM is erased for good; null: never.
    async fn retention_days(&self) -> Option<Result<i64>> {
        self.ask.load::<Retentions>(self.row.id).await.transpose()
    }

    /// What whoever looks after it should know.
    async fn warnings(&self) -> Result<Vec<MailboxWarning>> {
        self.all_warnings().await
    }

    /// Who has access to its mail: the connector first, then users, then departments.
    async fn access(&self) -> Result<Vec<MailboxHolder>> {
        self.everybody_with_access().await
    }

    /// Its mail, newest first, whatever the CRM says; empty for whoever may only change its settings.
    async fn emails(
        &self,
        #[graphql(desc = "Those in this folder only.")] folder_id: Option<ID>,
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
        let folder = folder_id.map(|id| self.ask.open_for_filter::<FolderId>(&id));
        lists::emails_of_mailbox(&self.ask, self.row.id, folder, page).await
    }
}

/// A user or department that has access to a mailbox.
#[derive(Union, Clone)]
pub enum MailboxHolder {
    User(User),
    Department(Department),
}

/// The CRM settings of a mailbox.
pub struct MailboxSettings {
    ask: Ask,
    row: Arc<SettingsRow>,
}

/// What happens to a mailbox's mail in the CRM.
#[Object]
impl MailboxSettings {
    /// Whether client mail is saved by itself.
    async fn crm_integration(&self) -> bool {
        self.row.crm_integration
    }

    /// What incoming mail of an unknown client makes.
    async fn incoming_creates(&self) -> CreatedItem {
        self.row.incoming_creates.into()
    }

    /// What outgoing mail to an unknown client makes.
    async fn outgoing_creates(&self) -> CreatedItem {
        self.row.outgoing_creates.into()
    }

    /// "Route emails from existing clients to assigned CRM managers".
    async fn existing_client_routing(&self) -> ExistingClientRouting {
        self.row.existing_client_routing.into()
    }

    /// Whether a reply to a saved email stays on that email's open item, whatever the routing.
    async fn replies_follow_thread(&self) -> bool {
        self.row.replies_follow_thread
    }

    /// Who gets new items, in turn.
    async fn queue(&self) -> Result<Vec<User>> {
        User::all(&self.ask, self.row.queue.iter().copied()).await
    }

    /// The source of the items that its mail makes.
    async fn source(&self) -> &str {
        &self.row.source
    }

    /// Whether vCard attachments make contacts.
    async fn vcard_contacts(&self) -> bool {
        self.row.vcard_contacts
    }

    /// Whether mail that was read on the server is read here too, for those who have access to the mailbox and did not mark
    /// it themselves. What is marked here never changes anything on the server.
    async fn read_state_follows_server(&self) -> bool {
        self.row.read_state_follows_server
    }

    /// Addresses and domains whose every mail makes a new lead.
    async fn always_new_lead_for(&self) -> &[String] {
        &self.row.always_new_lead_for
    }

    /// The first sync saves nothing older than this to the CRM; null: everything that is synced.
    async fn save_since(&self) -> Option<DateTime> {
        self.row.save_since.map(DateTime)
    }

    /// Rises with every change; give it as `expectedVersion` to change only what was read.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// A folder of a mailbox.
#[derive(Clone)]
pub struct Folder {
    ask: Ask,
    row: FolderRow,
}

impl Folder {
    /// A folder of a mailbox that the viewer sees listed.
    pub fn new(ask: &Ask, row: FolderRow) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The folder with this id, if the viewer sees its mailbox listed.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: FolderId) -> Result<Option<Self>> {
        let row = ask
            .read(move |conn, _scopes| crate::store::mailboxes::folder_by_id(conn, id))
            .await?;
        let Some(row) = row else { return Ok(None) };
        let mailbox = ask.load::<Mailboxes>(row.mailbox_id).await?;
        Ok(mailbox.map(|_mailbox| Self::new(ask, row)))
    }
}

/// A folder of a mailbox.
#[Object]
impl Folder {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// Its path on the mail server.
    async fn path(&self) -> &str {
        &self.row.path
    }

    /// What it is for; null: nothing special.
    async fn role(&self) -> Option<FolderRole> {
        self.row.role.map(FolderRole::from)
    }

    /// Whether it is synced.
    async fn is_synced(&self) -> bool {
        self.row.is_synced
    }
}

/// Where the sync of a mailbox stands.
pub struct SyncState {
    ask: Ask,
    mailbox_id: MailboxId,
    row: Arc<SyncRow>,
}

/// Where the sync of a mailbox stands.
#[Object]
impl SyncState {
    /// What it is doing.
    async fn stage(&self) -> SyncStage {
        self.row.stage.into()
    }

    /// How many mails there are; null before they were counted.
    async fn total(&self) -> Option<Result<i64>> {
        let counts = self.counts().await;
        counts.map(|counts| self.row.total(counts)).transpose()
    }

    /// How many of them have an outcome.
    async fn done(&self) -> Result<i64> {
        Ok(self.counts().await?.done)
    }

    /// How many of them could not be taken in; their bytes are kept, and they can be tried again.
    async fn quarantined(&self) -> Result<i64> {
        Ok(self.counts().await?.quarantined)
    }

    /// When it last knew that it had everything.
    async fn last_success_at(&self) -> Option<DateTime> {
        self.row.last_success_at.map(DateTime)
    }

    /// Seconds since then; null before the first time.
    async fn lag_seconds(&self) -> Option<i64> {
        let then = self.row.last_success_at?;
        Some((self.ask.now().seconds() - then.seconds()).max(0))
    }

    /// The last comparison with the mail server; null before the first.
    async fn reconciliation(&self) -> Option<Reconciliation> {
        let row = self.row.reconciliation?;
        Some(Reconciliation {
            ask: self.ask.clone(),
            mailbox_id: self.mailbox_id,
            row,
        })
    }

    /// What went wrong last; null where nothing has since the last success.
    async fn last_error(&self) -> Option<Result<SyncError>> {
        let row = self.row.last_error.as_ref()?;
        let Some(code) = crate::model::refusal::ErrorCode::from_text(&row.code) else {
            let corrupt = std::io::Error::other("a sync error has a code that is none");
            return Some(Err(error::internal(&corrupt)));
        };
        Some(Ok(SyncError {
            code: code.into(),
            message: row.message.clone(),
            advice: row.advice.clone(),
            at: row.at.into(),
        }))
    }
}

impl SyncState {
    /// A mailbox without folders has none.
    async fn counts(&self) -> Result<SyncCounts> {
        let counts = self.ask.load::<SyncCountsOf>(self.mailbox_id).await?;
        Ok(counts.unwrap_or_default())
    }
}

/// What a comparison of a mailbox with its mail server found, before it was put right.
pub struct Reconciliation {
    ask: Ask,
    mailbox_id: MailboxId,
    row: ReconciliationRow,
}

/// A comparison of a mailbox with its mail server, mail by mail. What differed was put right.
#[Object]
impl Reconciliation {
    /// When it was made.
    async fn at(&self) -> DateTime {
        self.row.at.into()
    }

    /// How many mails the server had that were not known here.
    async fn missing_here(&self) -> i64 {
        self.row.missing_here
    }

    /// How many mails were thought to be on the server and were not.
    async fn missing_on_server(&self) -> i64 {
        self.row.missing_there
    }

    /// The folders that differed.
    async fn folders(&self) -> Result<Vec<FolderDifference>> {
        let id = self.mailbox_id;
        let found = self
            .ask
            .read(move |conn, _scopes| crate::store::mailboxes::differences(conn, id));
        let texts = |uids: Vec<i64>| uids.iter().map(i64::to_string).collect();
        Ok(found
            .await?
            .into_iter()
            .map(|difference| FolderDifference {
                path: difference.path,
                missing_here: texts(difference.missing_here),
                missing_on_server: texts(difference.missing_there),
            })
            .collect())
    }
}

/// A folder that was not as its mail server had it.
#[derive(SimpleObject, Clone)]
pub struct FolderDifference {
    /// Its path on the mail server.
    path: String,
    /// UIDs that the server had and that were not known here, at most 100.
    missing_here: Vec<String>,
    /// UIDs that were thought to be on the server and were not, at most 100.
    missing_on_server: Vec<String>,
}

/// What went wrong with a sync.
#[derive(SimpleObject, Clone)]
pub struct SyncError {
    /// What went wrong, for programs.
    code: ErrorCode,
    /// What went wrong, for people.
    message: String,
    /// What to do about it.
    advice: String,
    /// When it went wrong.
    at: DateTime,
}

/// What mail of an unknown client makes.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::mailbox::CreatedItem")]
pub enum CreatedItem {
    /// A lead.
    Lead,
    /// A contact and a deal.
    Deal,
    /// A contact.
    Contact,
    /// Nothing: the mail is not saved.
    Nothing,
}

/// "Route emails from existing clients to assigned CRM managers".
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::mailbox::ExistingClientRouting")]
pub enum ExistingClientRouting {
    /// Switched on: mail joins the client's item if the client's responsible is in the queue; if not, each mail makes a new lead for the next in the queue.
    AttachIfResponsibleInQueue,
    /// Mail joins the client's item, whoever is responsible.
    AttachAlways,
    /// Mail never joins an item.
    AlwaysNew,
}

/// What a folder is for.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::mailbox::FolderRole")]
pub enum FolderRole {
    /// Where mail comes in.
    Inbox,
    /// Where sent mail is kept.
    Sent,
    /// Where unfinished mail is kept.
    Drafts,
    /// Where deleted mail goes.
    Trash,
    /// Where the mail server puts what it takes for spam.
    Junk,
    /// Where mail is put away.
    Archive,
    /// A view of all mail.
    All,
    /// A view of marked mail.
    Flagged,
}

/// What a sync is doing.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::mailbox::SyncStage")]
pub enum SyncStage {
    /// Reaching the mail server.
    Connecting,
    /// Asking which folders there are.
    Listing,
    /// Taking in what was there before.
    Backfill,
    /// Waiting for new mail.
    Watching,
    /// Waiting to try again.
    Retrying,
    /// It can't go on by itself: `lastError` says what to do.
    NeedsAttention,
    /// The mailbox is disconnected.
    Stopped,
}

/// What whoever looks after a mailbox should know. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::mailbox::MailboxWarning")]
pub enum MailboxWarning {
    /// Spam goes to the inbox, so nothing that comes in is saved by itself.
    SpamFolderIsInbox,
    /// Nobody in the queue can be given an item; they go to the connector or an administrator.
    QueueUnusable,
    /// The sync makes no progress.
    SyncStuck,
    /// The mail server refuses the login.
    LoginRefused,
    /// A sender sent so many mails in an hour that no more items are made for them.
    SenderRateGuard,
    /// Mail can't be stored: the server's storage is full, or can't be written to. The sync goes on by itself once it can be.
    StorageFull,
}
