//! Timeline entries as clients see them: one type for each kind, and the interface they share.
//! Not for: which of them a viewer sees (that is the scope they were read under).

use std::collections::HashSet;
use std::sync::Arc;

use async_graphql::{Enum, ID, Interface, Object, Result};

use super::activity::Activity;
use super::context::Ask;
use super::draft::{Draft, SendingState};
use super::email::{Email, EmailPlan};
use super::error;
use super::item::{Item, ItemPlan, LeadConversion};
use super::lists;
use super::loaders::{Activities, Conversions, CrmEmails, Items, Stages, Users};
use super::paging::{Connection, Count, Edge, ListName, Listed, PageInfo};
use super::scalars::{Cursor, DateTime};
use super::stage::Stage;
use super::straight::{
    Plan, Selected, Straight, WriteRow, Writer, write_id, write_maybe, write_plain, write_text,
    write_time,
};
use super::viewer::{User, UserPlan};
use crate::model::email::Email as EmailFields;
use crate::model::item::Item as ItemFields;
use crate::model::people::User as UserFields;
use crate::model::timeline::{Position, TimelineEntry as EntryFields, Told};
use crate::model::{ActivityId, EmailId, StageId};

/// An entry of any kind that the viewer may see.
#[derive(Clone)]
pub struct EntryRow {
    ask: Ask,
    row: Arc<EntryFields>,
}

impl EntryRow {
    async fn item(&self) -> Result<Item> {
        let row = self.ask.require::<Items>(self.row.new.item_id).await?;
        Ok(Item::new(&self.ask, row))
    }

    async fn email(&self, id: EmailId) -> Result<Email> {
        let row = self.ask.require::<CrmEmails>(id).await?;
        Ok(Email::new(&self.ask, row))
    }

    async fn activity(&self, id: ActivityId) -> Result<Activity> {
        let row = self.ask.require::<Activities>(id).await?;
        Ok(Activity::new(&self.ask, row))
    }

    async fn stage(&self, id: StageId) -> Result<Stage> {
        Ok(Stage::new(&self.ask, self.ask.require::<Stages>(id).await?))
    }

    async fn conversion(&self) -> Result<LeadConversion> {
        let row = self.ask.require::<Conversions>(self.row.new.item_id);
        Ok(LeadConversion {
            ask: self.ask.clone(),
            row: row.await?,
        })
    }
}

/// Makes the type of one kind of entry: the fields of the interface, and its own.
macro_rules! entry_type {
    ($(#[$doc:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(EntryRow);

        $(#[$doc])*
        #[Object]
        impl $name {
            /// The opaque global id.
            pub async fn id(&self) -> ID {
                self.0.ask.seal(self.0.row.position)
            }

            /// The item whose timeline it stands on.
            pub async fn item(&self) -> Result<Item> {
                self.0.item().await
            }

            /// When it happened.
            pub async fn at(&self) -> DateTime {
                self.0.row.at.into()
            }

            /// Who did it; null where the rules did.
            pub async fn actor(&self) -> Option<Result<User>> {
                User::maybe(&self.0.ask, self.0.row.new.actor_id).await
            }

            $($own)*
        }
    };
}

/// What can't be: an entry's type is chosen by what it tells.
fn told_otherwise<T>() -> Result<T> {
    let bug = std::io::Error::other("an entry tells something else than its type");
    Err(error::internal(&bug))
}

entry_type! {
    /// An email came in and was saved. Its actor is the mailbox's connector.
    EmailReceived {
        /// The email.
        async fn email(&self) -> Result<Email> {
            match self.0.row.new.told {
                Told::EmailReceived { email_id } => self.0.email(email_id).await,
                _ => told_otherwise(),
            }
        }
    }
}

entry_type! {
    /// An email went out and was saved. Its actor is the mailbox's connector.
    EmailSent {
        /// The email.
        async fn email(&self) -> Result<Email> {
            match self.0.row.new.told {
                Told::EmailSent { email_id } => self.0.email(email_id).await,
                _ => told_otherwise(),
            }
        }
    }
}

entry_type! {
    /// An email was linked to the item, or moved here from another.
    EmailLinked {
        /// The email; null where the viewer may not see it.
        async fn email(&self) -> Option<Result<Email>> {
            match self.0.row.new.told {
                Told::EmailLinked { email_id, .. } => Email::find_in_crm(&self.0.ask, email_id).await.transpose(),
                _ => Some(told_otherwise()),
            }
        }

        /// The item that it was moved from; null where it was on none, or on one that the viewer may not read.
        async fn from(&self) -> Option<Result<Item>> {
            match self.0.row.new.told {
                Told::EmailLinked { from, .. } => Item::maybe(&self.0.ask, from).await,
                _ => Some(told_otherwise()),
            }
        }
    }
}

entry_type! {
    /// An email was unlinked from the item, or moved from here to another.
    EmailUnlinked {
        /// The email; null where the viewer may not see it.
        async fn email(&self) -> Option<Result<Email>> {
            match self.0.row.new.told {
                Told::EmailUnlinked { email_id, .. } => Email::find_in_crm(&self.0.ask, email_id).await.transpose(),
                _ => Some(told_otherwise()),
            }
        }

        /// The item that it was moved to; null where it went to none, or to one that the viewer may not read.
        async fn to(&self) -> Option<Result<Item>> {
            match self.0.row.new.told {
                Told::EmailUnlinked { to, .. } => Item::maybe(&self.0.ask, to).await,
                _ => Some(told_otherwise()),
            }
        }
    }
}

entry_type! {
    /// A to-do was completed.
    ActivityCompleted {
        /// The to-do.
        async fn activity(&self) -> Result<Activity> {
            match self.0.row.new.told {
                Told::ActivityCompleted { activity_id, .. } => self.0.activity(activity_id).await,
                _ => told_otherwise(),
            }
        }
    }
}

entry_type! {
    /// A to-do was opened again.
    ActivityReopened {
        /// The to-do.
        async fn activity(&self) -> Result<Activity> {
            match self.0.row.new.told {
                Told::ActivityReopened { activity_id, .. } => self.0.activity(activity_id).await,
                _ => told_otherwise(),
            }
        }
    }
}

entry_type! {
    /// The item was made.
    ItemCreated {}
}

entry_type! {
    /// The lead was converted.
    LeadConverted {
        /// What was made of it.
        async fn conversion(&self) -> Result<LeadConversion> {
            self.0.conversion().await
        }
    }
}

entry_type! {
    /// Another user became responsible for the item.
    ResponsibleChanged {
        /// Who was responsible before.
        async fn from(&self) -> Result<User> {
            match self.0.row.new.told {
                Told::ResponsibleChanged { from, .. } => User::named(&self.0.ask, from).await,
                _ => told_otherwise(),
            }
        }

        /// Who became responsible.
        async fn to(&self) -> Result<User> {
            match self.0.row.new.told {
                Told::ResponsibleChanged { to, .. } => User::named(&self.0.ask, to).await,
                _ => told_otherwise(),
            }
        }
    }
}

entry_type! {
    /// The item went to another stage.
    StageChanged {
        /// The stage that it was in.
        async fn from(&self) -> Result<Stage> {
            match self.0.row.new.told {
                Told::StageChanged { from, .. } => self.0.stage(from).await,
                _ => told_otherwise(),
            }
        }

        /// The stage that it went to.
        async fn to(&self) -> Result<Stage> {
            match self.0.row.new.told {
                Told::StageChanged { to, .. } => self.0.stage(to).await,
                _ => told_otherwise(),
            }
        }
    }
}

entry_type! {
    /// Somebody wrote a note.
    NoteAdded {
        /// What was written.
        async fn text(&self) -> Result<&str> {
            match &self.0.row.new.told {
                Told::NoteAdded { text } => Ok(text.as_str()),
                _ => told_otherwise(),
            }
        }
    }
}

entry_type! {
    /// A mail that somebody writes for the item waits to be sent, was taken back, was refused, or may have gone out. Its
    /// actor is its author. What went out shows as `EmailSent`.
    SendingChanged {
        /// Where the mail stood then.
        async fn state(&self) -> Result<SendingState> {
            match self.0.row.new.told {
                Told::SendingChanged { state, .. } => Ok(state.into()),
                _ => told_otherwise(),
            }
        }

        /// The mail as it is now; null for everybody but its author, and where it was thrown away.
        async fn draft(&self) -> Option<Result<Draft>> {
            match self.0.row.new.told {
                Told::SendingChanged { draft_id, .. } => Draft::find(&self.0.ask, draft_id).await.transpose(),
                _ => Some(told_otherwise()),
            }
        }
    }
}

/// One line of an item's history. Entries are never edited. New kinds may be added.
#[derive(Interface, Clone)]
#[graphql(
    field(name = "id", ty = "ID", desc = "The opaque global id."),
    field(
        name = "item",
        ty = "Item",
        desc = "The item whose timeline it stands on."
    ),
    field(name = "at", ty = "DateTime", desc = "When it happened."),
    field(
        name = "actor",
        ty = "Option<Result<User>>",
        desc = "Who did it; null where the rules did."
    )
)]
pub enum TimelineEntry {
    EmailReceived(EmailReceived),
    EmailSent(EmailSent),
    EmailLinked(EmailLinked),
    EmailUnlinked(EmailUnlinked),
    ActivityCompleted(ActivityCompleted),
    ActivityReopened(ActivityReopened),
    ItemCreated(ItemCreated),
    LeadConverted(LeadConverted),
    ResponsibleChanged(ResponsibleChanged),
    StageChanged(StageChanged),
    NoteAdded(NoteAdded),
    SendingChanged(SendingChanged),
}

impl TimelineEntry {
    /// The name of its type, and what all of them have.
    const fn parts(&self) -> (&'static str, &EntryRow) {
        match self {
            Self::EmailReceived(entry) => ("EmailReceived", &entry.0),
            Self::EmailSent(entry) => ("EmailSent", &entry.0),
            Self::EmailLinked(entry) => ("EmailLinked", &entry.0),
            Self::EmailUnlinked(entry) => ("EmailUnlinked", &entry.0),
            Self::ActivityCompleted(entry) => ("ActivityCompleted", &entry.0),
            Self::ActivityReopened(entry) => ("ActivityReopened", &entry.0),
            Self::ItemCreated(entry) => ("ItemCreated", &entry.0),
            Self::LeadConverted(entry) => ("LeadConverted", &entry.0),
            Self::ResponsibleChanged(entry) => ("ResponsibleChanged", &entry.0),
            Self::StageChanged(entry) => ("StageChanged", &entry.0),
            Self::NoteAdded(entry) => ("NoteAdded", &entry.0),
            Self::SendingChanged(entry) => ("SendingChanged", &entry.0),
        }
    }

    /// An entry that the viewer may see.
    pub fn new(ask: &Ask, row: Arc<EntryFields>) -> Self {
        let entry = EntryRow {
            ask: ask.clone(),
            row: row.clone(),
        };
        match row.new.told {
            Told::EmailReceived { .. } => Self::EmailReceived(EmailReceived(entry)),
            Told::EmailSent { .. } => Self::EmailSent(EmailSent(entry)),
            Told::EmailLinked { .. } => Self::EmailLinked(EmailLinked(entry)),
            Told::EmailUnlinked { .. } => Self::EmailUnlinked(EmailUnlinked(entry)),
            Told::ActivityCompleted { .. } => Self::ActivityCompleted(ActivityCompleted(entry)),
            Told::ActivityReopened { .. } => Self::ActivityReopened(ActivityReopened(entry)),
            Told::ItemCreated => Self::ItemCreated(ItemCreated(entry)),
            Told::LeadConverted => Self::LeadConverted(LeadConverted(entry)),
            Told::ResponsibleChanged { .. } => Self::ResponsibleChanged(ResponsibleChanged(entry)),
            Told::StageChanged { .. } => Self::StageChanged(StageChanged(entry)),
            Told::NoteAdded { .. } => Self::NoteAdded(NoteAdded(entry)),
            Told::SendingChanged { .. } => Self::SendingChanged(SendingChanged(entry)),
        }
    }

    /// The entry at this position, if the viewer may see it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, position: Position) -> Result<Option<Self>> {
        let found = ask.read(move |conn, scopes| lists::entry(conn, scopes, position));
        let Some((row, concerned)) = found.await? else {
            return Ok(None);
        };
        Ok(concerned
            .keep(ask, &row)
            .then(|| Self::new(ask, Arc::new(row))))
    }

    /// The note at this position; for the payload of whoever just wrote it.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find_note(ask: &Ask, position: Position) -> Result<Option<NoteAdded>> {
        match Self::find(ask, position).await? {
            Some(Self::NoteAdded(note)) => Ok(Some(note)),
            _ => Ok(None),
        }
    }
}

impl Listed for TimelineEntry {
    const CONNECTION: &'static str = "TimelineConnection";
    const EDGE: &'static str = "TimelineEdge";

    fn writer<'a>(nodes: Vec<&'a Self>, selected: Selected<'a>) -> Writer<'a> {
        Box::pin(async move {
            let mut plans = EntryPlans::new(selected);
            plans.load_actors(&nodes).await?;
            let mut ready = Vec::with_capacity(nodes.len());
            for node in nodes {
                ready.push(plans.prepare(node).await?);
            }
            let write = move |out: &mut Vec<u8>, index: usize| {
                if let Some(entry) = ready.get(index) {
                    plans.write(out, entry);
                }
            };
            Some(Box::new(write) as WriteRow<'a>)
        })
    }
}

/// What is written of an entry.
enum EntryField<'a> {
    Typename,
    Id,
    At,
    Item(ItemPlan<'a>),
    Actor(UserPlan),
    Email(EmailPlan),
    Text,
}

/// How entries are written: fragments ask other things of each type.
struct EntryPlans<'a> {
    selected: Selected<'a>,
    plans: Vec<(&'static str, Plan<EntryField<'a>>)>,
}

/// An entry with the rows that are written of it.
struct ReadyEntry<'a> {
    type_name: &'static str,
    entry: &'a EntryRow,
    item: Option<Arc<ItemFields>>,
    actor: Option<Arc<UserFields>>,
    email: Option<Arc<EmailFields>>,
}

impl<'a> EntryPlans<'a> {
    const fn new(selected: Selected<'a>) -> Self {
        Self {
            selected,
            plans: Vec::new(),
        }
    }

    fn plan(&self, of: &'static str) -> Option<Plan<EntryField<'a>>> {
        Plan::new(&self.selected, &[of, "TimelineEntry", "Node"], |picked| {
            let within = &picked.within;
            Some(match (picked.name, of) {
                ("__typename", _) => EntryField::Typename,
                ("id", _) => EntryField::Id,
                ("at", _) => EntryField::At,
                ("item", _) => EntryField::Item(ItemPlan::new(within.clone())),
                ("actor", _) => EntryField::Actor(UserPlan::new(within)?),
                ("email", "EmailReceived" | "EmailSent") => {
                    EntryField::Email(EmailPlan::new(within)?)
                }
                ("text", "NoteAdded") => EntryField::Text,
                _ => return None,
            })
        })
    }

    /// The plan for a type.
    fn plan_for(&mut self, type_name: &'static str) -> Option<&mut Plan<EntryField<'a>>> {
        if self.plans.iter().all(|(of, _plan)| *of != type_name) {
            let plan = self.plan(type_name)?;
            self.plans.push((type_name, plan));
        }
        let mut plans = self.plans.iter_mut();
        plans
            .find(|(of, _plan)| *of == type_name)
            .map(|(_of, plan)| plan)
    }

    /// Reads everybody who is written as an actor by one statement.
    async fn load_actors(&mut self, nodes: &[&'a TimelineEntry]) -> Option<()> {
        let mut actors = HashSet::new();
        for node in nodes {
            let (type_name, entry) = node.parts();
            let mut fields = self.plan_for(type_name)?.fields();
            if fields.any(|field| matches!(field, EntryField::Actor(_))) {
                actors.extend(entry.row.new.actor_id);
            }
        }
        if let (Some(first), false) = (nodes.first(), actors.is_empty()) {
            let (_type_name, entry) = first.parts();
            entry.ask.load_all::<Users>(actors).await.ok()?;
        }
        Some(())
    }

    /// Reads what is written of an entry; `None` where that is not all there, or takes more.
    async fn prepare(&mut self, node: &'a TimelineEntry) -> Option<ReadyEntry<'a>> {
        let (type_name, entry) = node.parts();
        let mut ready = ReadyEntry {
            type_name,
            entry,
            item: None,
            actor: None,
            email: None,
        };
        for field in self.plan_for(type_name)?.fields() {
            match field {
                EntryField::Item(plan) => {
                    let row = entry
                        .ask
                        .load::<Items>(entry.row.new.item_id)
                        .await
                        .ok()??;
                    plan.prepare(&row)?;
                    ready.item = Some(row);
                }
                EntryField::Actor(_) => {
                    if let Some(id) = entry.row.new.actor_id {
                        ready.actor = Some(entry.ask.load::<Users>(id).await.ok()??);
                    }
                }
                EntryField::Email(_) => {
                    let (Told::EmailReceived { email_id } | Told::EmailSent { email_id }) =
                        entry.row.new.told
                    else {
                        return None;
                    };
                    ready.email = Some(entry.ask.load::<CrmEmails>(email_id).await.ok()??);
                }
                EntryField::Typename | EntryField::Id | EntryField::At | EntryField::Text => {}
            }
        }
        Some(ready)
    }

    fn write(&self, out: &mut Vec<u8>, ready: &ReadyEntry<'_>) {
        let (ask, row) = (&ready.entry.ask, &ready.entry.row);
        let mut plans = self.plans.iter();
        let Some((_of, plan)) = plans.find(|(of, _plan)| *of == ready.type_name) else {
            return;
        };
        plan.write(out, |field, out| match (field, ready) {
            (EntryField::Typename, _) => write_plain(out, ready.type_name),
            (EntryField::Id, _) => write_id(out, ask, row.position),
            (EntryField::At, _) => write_time(out, row.at),
            (
                EntryField::Item(plan),
                ReadyEntry {
                    item: Some(item), ..
                },
            ) => plan.write(out, ask, item),
            (
                EntryField::Actor(plan),
                ReadyEntry {
                    actor: Some(actor), ..
                },
            ) => plan.write(out, ask, actor),
            (
                EntryField::Email(plan),
                ReadyEntry {
                    email: Some(email), ..
                },
            ) => plan.write(out, ask, email),
            (EntryField::Text, _) => match &row.new.told {
                Told::NoteAdded { text } => write_text(out, text),
                _ => write_maybe(out, None),
            },
            (EntryField::Item(_) | EntryField::Actor(_) | EntryField::Email(_), _) => {
                write_maybe(out, None)
            }
        });
    }
}

/// One page of a timeline.
pub struct TimelineConnection {
    pub(super) ask: Ask,
    pub(super) list: ListName,
    pub(super) page: Connection<TimelineEntry>,
    /// The last position when the page was read: nothing behind it is on the page. Read where it is selected.
    pub(super) read_at: Option<Position>,
}

/// One page of a timeline, of what the viewer may see.
#[Object]
impl TimelineConnection {
    /// The entries of the page, each with its cursor.
    async fn edges(&self) -> Straight<Edge<TimelineEntry>> {
        Straight(self.page.edges_of())
    }

    /// The entries of the page.
    async fn nodes(&self) -> Straight<&TimelineEntry> {
        Straight(self.page.nodes_of())
    }

    /// Where the page stands in the timeline.
    async fn page_info(&self) -> PageInfo {
        self.page.info()
    }

    /// How long the whole timeline is; counted only when selected.
    async fn total_count(
        &self,
        #[graphql(
            default = 1000,
            desc = "Counting stops here, at most at 100,000; `isExact` says whether it did."
        )]
        limit: i32,
    ) -> Result<Count> {
        self.page.count(limit).await
    }

    /// Where the timeline stood when it was read: subscribe with it as `after`, and nothing falls between.
    async fn live_cursor(&self) -> Result<Cursor> {
        let Some(read_at) = self.read_at else {
            let bug = std::io::Error::other("the live cursor is selected, but was not foreseen");
            return Err(error::internal(&bug));
        };
        let key = lists::position_key(read_at);
        Ok(self.list.seal(self.ask.codec(), &key))
    }
}

/// What an entry tells. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::timeline::TimelineKind")]
pub enum TimelineKind {
    /// An email came in and was saved.
    EmailReceived,
    /// An email went out and was saved.
    EmailSent,
    /// An email was linked to the item, or moved here.
    EmailLinked,
    /// An email was unlinked from the item, or moved away.
    EmailUnlinked,
    /// A to-do was completed.
    ActivityCompleted,
    /// A to-do was opened again.
    ActivityReopened,
    /// The item was made.
    ItemCreated,
    /// The lead was converted.
    LeadConverted,
    /// Another user became responsible.
    ResponsibleChanged,
    /// The item went to another stage.
    StageChanged,
    /// Somebody wrote a note.
    NoteAdded,
    /// A mail waits to be sent, was taken back, was refused, or may have gone out.
    SendingChanged,
}
