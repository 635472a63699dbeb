//! Batched loading: the rows that sibling fields ask for at one time are read by one statement.
//!
//! The library's own loader waits a millisecond on a spawned task, so that batches depend on threads and time.
//! Here the first to ask steps back for as long as others of its request, which all run in one task, go on to ask;
//! so the number of statements is the same for a page of any size.
//! Not for: keeping rows beyond one [`Ask`](super::context::Ask).

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::context::Scopes;
use crate::model::activity::Activity;
use crate::model::draft::{Draft, DraftAttachment};
use crate::model::email::{
    Address, Attachment, Email, EmailLink, LinkChange, ParticipantRole, RoutingTrace,
};
use crate::model::item::{ClientAddress, Item, ItemFacts, LeadConversion, Stage as StageRow};
use crate::model::mailbox::{
    Folder, Mailbox, MailboxSettings, MailboxWarning, SyncCounts, SyncState,
};
use crate::model::people::{Department, Role, User};
use crate::model::template::{Sender, Template};
use crate::model::{
    ActivityId, DepartmentId, DraftId, EmailId, ItemId, MailboxId, MessageId, StageId, TemplateId,
    ThreadId, UserId,
};
use crate::rules::access::{MailboxHolders, Surface};
use crate::store::threads::ThreadSummary;
use crate::store::{
    AnyConn, Store, StoreError, activities, drafts, emails, erasure, items, links, mailboxes,
    reads, roles, settings, templates, threads, timeline, users,
};

/// A reading waits for those who ask this often at most: a page of 100 has asked after three or four.
const PAUSES_MAX: usize = 10;

/// One kind of row that is loaded by its key.
pub trait Load: Sized + 'static {
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    type Value: Clone + Send + Sync + 'static;

    /// Reads the rows with these keys; the absent and hidden are left out.
    ///
    /// # Errors
    /// What the database says.
    fn read(
        conn: &mut AnyConn,
        scopes: &Scopes,
        keys: &[Self::Key],
    ) -> Result<HashMap<Self::Key, Self::Value>, StoreError>;

    /// The batch of this kind.
    fn batch(loaders: &Loaders) -> &Batch<Self>;
}

/// The result of reading, as all who asked for it hear it.
type Told = Result<(), Arc<StoreError>>;

/// Keys that are to be read or being read, each with whoever waits for it beside the one who reads.
type Asked<K> = HashMap<K, Vec<oneshot::Sender<Told>>>;

/// The rows of one kind that are loaded or asked for.
pub struct Batch<L: Load>(Mutex<State<L>>);

struct State<L: Load> {
    /// What was read; `None` for what is absent or hidden.
    known: HashMap<L::Key, Option<L::Value>>,
    /// What the next reading is for.
    wanted: Asked<L::Key>,
    /// Whether somebody is about to do the next reading.
    is_led: bool,
    /// What is being read.
    in_flight: Asked<L::Key>,
}

impl<L: Load> Default for Batch<L> {
    fn default() -> Self {
        Self(Mutex::new(State {
            known: HashMap::new(),
            wanted: HashMap::new(),
            is_led: false,
            in_flight: HashMap::new(),
        }))
    }
}

/// What somebody who asks for a row does next.
enum Turn<V> {
    Have(Option<V>),
    Lead,
    Follow(oneshot::Receiver<Told>),
}

impl<L: Load> Batch<L> {
    fn state(&self) -> MutexGuard<'_, State<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a row that was read another way.
    pub fn keep(&self, key: L::Key, value: L::Value) {
        self.state().known.insert(key, Some(value));
    }

    /// Loads a row; `None`: absent or hidden.
    ///
    /// # Errors
    /// What the store says, to all who asked for the same reading.
    pub async fn load(
        &self,
        store: &Store,
        scopes: &Arc<Scopes>,
        key: L::Key,
    ) -> Result<Option<L::Value>, Arc<StoreError>> {
        loop {
            match self.turn(key) {
                Turn::Have(value) => return Ok(value),
                Turn::Lead => self.lead(store, scopes).await?,
                Turn::Follow(told) => {
                    // Tokio lets 128 receivers of a task hear at a time, which would tear a page apart.
                    let told = tokio::task::unconstrained(told).await;
                    // Whoever led may have been dropped with a part of the query that failed: then ask again.
                    if let Ok(told) = told {
                        told?;
                    }
                }
            }
        }
    }

    fn turn(&self, key: L::Key) -> Turn<L::Value> {
        let mut state = self.state();
        if let Some(value) = state.known.get(&key) {
            return Turn::Have(value.clone());
        }
        let is_led = state.is_led;
        let waiting = match state.in_flight.get_mut(&key) {
            Some(waiting) => waiting,
            None if is_led => state.wanted.entry(key).or_default(),
            None => {
                state.is_led = true;
                state.wanted.insert(key, Vec::new());
                return Turn::Lead;
            }
        };
        let (tell, told) = oneshot::channel();
        waiting.push(tell);
        Turn::Follow(told)
    }

    /// Steps back until nobody has asked for more since the last time.
    async fn until_nobody_asks(&self) {
        let mut asked = 0;
        for _ in 0..PAUSES_MAX {
            Pause::default().await;
            let wanted = self.state().wanted.len();
            if wanted == asked {
                return;
            }
            asked = wanted;
        }
    }

    async fn lead(&self, store: &Store, scopes: &Arc<Scopes>) -> Told {
        let mut reading = Reading {
            batch: self,
            stage: Stage::Gathering,
        };
        self.until_nobody_asks().await;
        let keys = reading.begin();
        let scopes = scopes.clone();
        let read = store.read(move |conn| L::read(conn, &scopes, &keys));
        match read.await {
            Ok(found) => {
                reading.end(found);
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                reading.fail(&error);
                Err(error)
            }
        }
    }
}

/// One reading. Dropped before its end, it gives back what it holds: its followers' senders go, and they ask again.
struct Reading<'a, L: Load> {
    batch: &'a Batch<L>,
    stage: Stage<L::Key>,
}

/// How far a reading is.
enum Stage<K> {
    /// It waits for others to ask.
    Gathering,
    /// It reads these.
    InFlight(Vec<K>),
    /// It has told its followers.
    Done,
}

impl<L: Load> Reading<'_, L> {
    /// Takes what is wanted, and lets another lead the next reading.
    fn begin(&mut self) -> Vec<L::Key> {
        let mut state = self.batch.state();
        state.is_led = false;
        let wanted = std::mem::take(&mut state.wanted);
        let keys: Vec<L::Key> = wanted.keys().copied().collect();
        state.in_flight.extend(wanted);
        self.stage = Stage::InFlight(keys.clone());
        keys
    }

    fn end(mut self, mut found: HashMap<L::Key, L::Value>) {
        self.finish(&Ok(()), |state, key| {
            state.known.insert(key, found.remove(&key));
        });
    }

    fn fail(mut self, error: &Arc<StoreError>) {
        self.finish(&Err(error.clone()), |_state, _key| {});
    }

    fn finish(&mut self, told: &Told, mut keep: impl FnMut(&mut State<L>, L::Key)) {
        let Stage::InFlight(keys) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return;
        };
        let mut state = self.batch.state();
        for key in keys {
            keep(&mut state, key);
            for follower in state.in_flight.remove(&key).into_iter().flatten() {
                // Who is gone no longer wants to know.
                let _ = follower.send(told.clone());
            }
        }
    }
}

impl<L: Load> Drop for Reading<'_, L> {
    fn drop(&mut self) {
        let mut state = self.batch.state();
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Gathering => {
                state.is_led = false;
                state.wanted.clear();
            }
            Stage::InFlight(keys) => {
                for key in keys {
                    state.in_flight.remove(&key);
                }
            }
            Stage::Done => {}
        }
    }
}

/// Waits until the runtime has run what was ready. Tokio's own yielding ends at its second poll, whoever causes it:
/// a sibling field's wake-up would end it while others have not asked yet.
#[derive(Default)]
struct Pause {
    waker: Arc<PauseWaker>,
    yielding: Option<BoxFuture<'static, ()>>,
}

#[derive(Default)]
struct PauseWaker {
    is_over: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Wake for PauseWaker {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Ordering::Release);
        let waiting = self.waiting.lock();
        if let Some(waiting) = waiting.unwrap_or_else(PoisonError::into_inner).take() {
            waiting.wake();
        }
    }
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waiting = self.waker.waiting.lock();
        *waiting.unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if self.yielding.is_none() {
            let waker = Waker::from(self.waker.clone());
            let yielding = self.yielding.insert(Box::pin(tokio::task::yield_now()));
            return yielding.as_mut().poll(&mut Context::from_waker(&waker));
        }
        if self.waker.is_over.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Groups rows by what they belong to.
fn grouped<K: Eq + Hash + Copy, V>(
    rows: impl IntoIterator<Item = V>,
    key: impl Fn(&V) -> K,
) -> HashMap<K, Arc<Vec<V>>> {
    let mut groups: HashMap<K, Vec<V>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    shared(groups)
}

fn shared<K: Eq + Hash, V>(groups: HashMap<K, V>) -> HashMap<K, Arc<V>> {
    groups
        .into_iter()
        .map(|(key, group)| (key, Arc::new(group)))
        .collect()
}

fn by_key<K: Eq + Hash, V>(
    rows: impl IntoIterator<Item = V>,
    key: impl Fn(&V) -> K,
) -> HashMap<K, Arc<V>> {
    rows.into_iter()
        .map(|row| (key(&row), Arc::new(row)))
        .collect()
}

macro_rules! loaders {
    ($(
        $(#[$doc:meta])*
        $field:ident: $name:ident($key:ty => $value:ty) |$conn:ident, $scopes:ident, $keys:ident| $read:expr;
    )+) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl Load for $name {
                type Key = $key;
                type Value = $value;

                fn read(
                    $conn: &mut AnyConn,
                    $scopes: &Scopes,
                    $keys: &[$key],
                ) -> Result<HashMap<$key, $value>, StoreError> {
                    Ok($read)
                }

                fn batch(loaders: &Loaders) -> &Batch<Self> {
                    &loaders.$field
                }
            }
        )+

        /// The batches of one question, one for each kind of row.
        #[derive(Default)]
        pub struct Loaders {
            $($field: Batch<$name>,)+
        }
    };
}

loaders! {
    /// Users; everybody who is signed in sees them.
    users: Users(UserId => Arc<User>) |conn, _scopes, keys|
        by_key(users::get_many(conn, keys)?, |user| user.id);
    /// Departments; there are few, so all are read.
    departments: Departments(DepartmentId => Arc<Department>) |conn, _scopes, _keys|
        by_key(users::departments(conn)?, |department| department.id);
    /// The roles that users were given themselves.
    roles_of: RolesOf(UserId => Arc<Vec<Role>>) |conn, _scopes, keys|
        shared(roles::of_users(conn, keys)?);
    /// Stages; there are few, so all are read.
    stages: Stages(StageId => Arc<StageRow>) |conn, _scopes, _keys|
        by_key(settings::stages_ever(conn)?, |stage| stage.id);

    /// Items that the viewer may read.
    items: Items(ItemId => Arc<Item>) |conn, scopes, keys|
        by_key(items::readable(conn, scopes.items(), keys)?, |item| item.id);
    /// What rights to items depend on, whoever asks: for decisions, never for showing.
    facts: Facts(ItemId => ItemFacts) |conn, _scopes, keys|
        items::facts(conn, keys)?.into_iter().map(|facts| (facts.id, facts)).collect();
    /// The addresses of items, in order.
    addresses: Addresses(ItemId => Arc<Vec<ClientAddress>>) |conn, _scopes, keys|
        shared(items::addresses(conn, keys)?);
    /// The phones of contacts, in order.
    phones: Phones(ItemId => Arc<Vec<String>>) |conn, _scopes, keys|
        shared(items::phones(conn, keys)?);
    /// The newest notes on items that the viewer may read, the newest first.
    notes: Notes(ItemId => Arc<Vec<String>>) |conn, scopes, keys|
        shared(timeline::newest_notes(conn, scopes.items(), keys)?);
    /// The contacts of deals, in order, readable or not.
    deal_contacts: DealContacts(ItemId => Arc<Vec<ItemId>>) |conn, _scopes, keys|
        shared(items::deal_contacts(conn, keys)?);
    /// What converting leads made, readable or not.
    conversions: Conversions(ItemId => Arc<LeadConversion>) |conn, _scopes, keys|
        by_key(items::conversions(conn, keys)?, |conversion| conversion.lead_id);

    /// The leads that were converted into deals, readable or not: for decisions, never for showing.
    converted_from: ConvertedFrom(ItemId => Arc<Vec<ItemId>>) |conn, _scopes, keys|
        shared(items::converted_from(conn, keys)?);

    /// Emails that the viewer sees in the CRM (R21).
    crm_emails: CrmEmails(EmailId => Arc<Email>) |conn, scopes, keys|
        by_key(emails::visible(conn, scopes.emails(Surface::Crm), keys)?, |email| email.id);
    /// Emails that the viewer sees in the CRM or in a mailbox (R22).
    emails: Emails(EmailId => Arc<Email>) |conn, scopes, keys|
        by_key(emails::visible(conn, scopes.emails(Surface::Either), keys)?, |email| email.id);
    /// Those emails that the viewer has not read.
    unread: Unread(EmailId => ()) |conn, scopes, keys|
        reads::unread_of(conn, scopes.emails(Surface::Either), keys)?.into_iter().map(|id| (id, ())).collect();
    /// Who stands in emails, in the order of the mail.
    participants: Participants(EmailId => Arc<Vec<(ParticipantRole, Address)>>) |conn, _scopes, keys|
        shared(emails::participants(conn, keys)?);
    /// The files of emails, in the order of the mail.
    attachments: Attachments(EmailId => Arc<Vec<Attachment>>) |conn, _scopes, keys|
        grouped(emails::attachments(conn, keys)?, |attachment| attachment.email_id);
    /// All links of emails, the primary ones first, readable or not.
    links: Links(EmailId => Arc<Vec<EmailLink>>) |conn, _scopes, keys|
        grouped(links::of_emails(conn, keys)?, |link| link.email_id);
    /// The histories of emails' links, oldest first, readable or not.
    link_changes: LinkChanges(EmailId => Arc<Vec<LinkChange>>) |conn, _scopes, keys|
        grouped(links::changes_of(conn, keys)?, |change| change.email_id);
    /// Why emails are where they are.
    traces: Traces(EmailId => Arc<RoutingTrace>) |conn, _scopes, keys|
        shared(emails::traces(conn, keys)?);
    /// The subjects of threads: of the oldest email in each that the viewer sees, since an older one may be hidden.
    thread_subjects: ThreadSubjects(ThreadId => Arc<String>) |conn, scopes, keys|
        shared(emails::thread_subjects(conn, scopes.emails(Surface::Either), keys)?);
    /// What the viewer sees of threads, in numbers.
    thread_summaries: ThreadSummaries(ThreadId => ThreadSummary) |conn, scopes, keys|
        threads::summaries(conn, scopes.emails(Surface::Either), keys)?;
    /// Who takes part in threads, as far as the viewer sees.
    thread_people: ThreadPeople(ThreadId => Arc<Vec<Address>>) |conn, scopes, keys|
        shared(threads::people(conn, scopes.emails(Surface::Either), keys)?);

    /// Activities, whoever asks: to be shown only behind what they are about.
    activities: Activities(ActivityId => Arc<Activity>) |conn, _scopes, keys|
        by_key(activities::get_many(conn, keys)?, |activity| activity.id);
    /// The activities of messages.
    message_activities: MessageActivities(MessageId => Arc<Activity>) |conn, _scopes, keys|
        by_key(activities::of_messages(conn, keys)?, |activity| activity.message_id);
    /// The emails that activities are about, seen or not.
    activity_emails: ActivityEmails(ActivityId => Arc<Vec<EmailId>>) |conn, _scopes, keys| {
        let mut found: HashMap<ActivityId, Vec<EmailId>> = HashMap::new();
        for (activity, email) in activities::emails_of(conn, keys)? {
            found.entry(activity).or_default().push(email);
        }
        shared(found)
    };

    /// What the viewer writes.
    drafts: Drafts(DraftId => Arc<Draft>) |conn, scopes, keys|
        by_key(drafts::visible(conn, scopes.drafts(), keys)?, |draft| draft.id);
    /// The files of drafts, in the order in which they were added.
    draft_files: DraftFiles(DraftId => Arc<Vec<DraftAttachment>>) |conn, _scopes, keys|
        grouped(drafts::attachments(conn, keys)?, |file| file.draft_id);

    /// Templates that the viewer sees.
    templates: Templates(TemplateId => Arc<Template>) |conn, scopes, keys|
        by_key(templates::visible(conn, scopes.templates(), keys)?, |template| template.id);
    /// The senders of mailboxes, whoever may use them.
    senders: Senders(MailboxId => Arc<Vec<Sender>>) |conn, _scopes, keys|
        grouped(templates::senders(conn, keys)?, |sender| sender.mailbox_id);

    /// Mailboxes that the viewer sees listed.
    mailboxes: Mailboxes(MailboxId => Arc<Mailbox>) |conn, scopes, keys|
        by_key(mailboxes::listed(conn, scopes.mailboxes(), keys)?, |mailbox| mailbox.id);
    /// Mailboxes whose mail the viewer may read (R22).
    mail_mailboxes: MailMailboxes(MailboxId => Arc<Mailbox>) |conn, scopes, keys|
        by_key(mailboxes::listed(conn, scopes.mailboxes_with_mail(), keys)?, |mailbox| mailbox.id);
    /// The folders of mailboxes, INBOX first.
    folders: Folders(MailboxId => Arc<Vec<Folder>>) |conn, _scopes, keys|
        grouped(mailboxes::folders_of(conn, keys)?, |folder| folder.mailbox_id);
    /// Who has access to mailboxes.
    holders: Holders(MailboxId => Arc<MailboxHolders>) |conn, _scopes, keys|
        shared(mailboxes::holders_of(conn, keys)?);
    /// After how many days mailboxes erase what is not in the CRM; those that never do are left out.
    retentions: Retentions(MailboxId => i64) |conn, _scopes, _keys|
        erasure::retentions(conn)?.into_iter().collect();
    /// The CRM settings of mailboxes, whoever asks.
    mailbox_settings: SettingsOf(MailboxId => Arc<MailboxSettings>) |conn, _scopes, keys|
        shared(mailboxes::settings_of(conn, keys)?);
    /// Where the syncs of mailboxes stand.
    sync_states: SyncStates(MailboxId => Arc<SyncState>) |conn, _scopes, keys|
        shared(mailboxes::sync_states(conn, keys)?);
    /// How far the syncs of mailboxes are.
    sync_counts: SyncCountsOf(MailboxId => SyncCounts) |conn, _scopes, keys|
        mailboxes::sync_counts(conn, keys)?;
    /// The warnings that were noted for mailboxes.
    warnings: Warnings(MailboxId => Arc<Vec<MailboxWarning>>) |conn, _scopes, keys|
        shared(mailboxes::warnings_of(conn, keys)?);
}
