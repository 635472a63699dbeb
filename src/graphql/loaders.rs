//! Batched loading: the rows that sibling fields ask for at one time are read by one statement.
//!
//! The library's own loader waits a millisecond on a spawned task, so that batches depend on threads and time.
//! Here the first to ask steps back once; all resolvers of a request run in one task, so by its next turn every
//! sibling has asked, and the number of statements is the same for a page of any size.
//! Not for: keeping rows beyond one [`Ask`](super::context::Ask).

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::context::Scopes;
use crate::model::activity::Activity;
use crate::model::email::{
    Address, Attachment, Email, EmailLink, LinkChange, ParticipantRole, RoutingTrace,
};
use crate::model::item::{ClientAddress, Item, ItemFacts, LeadConversion, Stage};
use crate::model::mailbox::{Folder, Mailbox, MailboxSettings, MailboxWarning, SyncState};
use crate::model::people::{Department, Role, User};
use crate::model::{
    ActivityId, DepartmentId, EmailId, ItemId, MailboxId, MessageId, StageId, ThreadId, UserId,
};
use crate::rules::access::{MailboxHolders, Surface};
use crate::store::{
    AnyConn, Store, StoreError, activities, emails, items, links, mailboxes, roles, settings, users,
};

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

/// The rows of one kind that are loaded or asked for.
pub struct Batch<L: Load>(Mutex<State<L>>);

struct State<L: Load> {
    /// What was read; `None` for what is absent or hidden.
    known: HashMap<L::Key, Option<L::Value>>,
    /// What the next reading is for.
    wanted: HashSet<L::Key>,
    /// Who waits for the next reading, beside the one who does it.
    followers: Vec<oneshot::Sender<Told>>,
    /// Whether somebody is about to do the next reading.
    is_led: bool,
}

impl<L: Load> Default for Batch<L> {
    fn default() -> Self {
        Self(Mutex::new(State {
            known: HashMap::new(),
            wanted: HashSet::new(),
            followers: Vec::new(),
            is_led: false,
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
                    // Whoever led may have been dropped with a part of the query that failed: then ask again.
                    if let Ok(told) = told.await {
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
        state.wanted.insert(key);
        if state.is_led {
            let (tell, told) = oneshot::channel();
            state.followers.push(tell);
            Turn::Follow(told)
        } else {
            state.is_led = true;
            Turn::Lead
        }
    }

    async fn lead(&self, store: &Store, scopes: &Arc<Scopes>) -> Told {
        let stand_in = StandIn(self);
        tokio::task::yield_now().await;
        let (keys, followers) = {
            let mut state = self.state();
            let keys: Vec<L::Key> = state.wanted.drain().collect();
            (keys, std::mem::take(&mut state.followers))
        };
        drop(stand_in);
        let scopes = scopes.clone();
        let read = store.read(move |conn| {
            let found = L::read(conn, &scopes, &keys)?;
            Ok((keys, found))
        });
        let told = match read.await {
            Ok((keys, mut found)) => {
                let mut state = self.state();
                for key in keys {
                    state.known.insert(key, found.remove(&key));
                }
                Ok(())
            }
            Err(error) => Err(Arc::new(error)),
        };
        for follower in followers {
            // Who is gone no longer wants to know.
            let _ = follower.send(told.clone());
        }
        told
    }
}

/// Gives the lead back when the leader begins to read, or is dropped before.
struct StandIn<'a, L: Load>(&'a Batch<L>);

impl<L: Load> Drop for StandIn<'_, L> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_led = false;
        // Empty once the leader has taken them; else their senders go, and they ask again.
        state.followers.clear();
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
    stages: Stages(StageId => Arc<Stage>) |conn, _scopes, _keys|
        by_key(settings::stages(conn)?, |stage| stage.id);

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
    /// The CRM settings of mailboxes, whoever asks.
    mailbox_settings: SettingsOf(MailboxId => Arc<MailboxSettings>) |conn, _scopes, keys|
        shared(mailboxes::settings_of(conn, keys)?);
    /// Where the syncs of mailboxes stand.
    sync_states: SyncStates(MailboxId => Arc<SyncState>) |conn, _scopes, keys|
        shared(mailboxes::sync_states(conn, keys)?);
    /// The warnings that were noted for mailboxes.
    warnings: Warnings(MailboxId => Arc<Vec<MailboxWarning>>) |conn, _scopes, keys|
        shared(mailboxes::warnings_of(conn, keys)?);
}
