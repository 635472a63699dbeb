//! Everything with an id, found by it under the same rights as its own lists and fields.

use async_graphql::{ID, Interface, Result};

use super::activity::Activity;
use super::audit::AuditEntry;
use super::context::Ask;
use super::draft::{Draft, DraftAttachment};
use super::email::{Attachment, Email};
use super::ids::AnyId;
use super::item::{Contact, Deal, Item, Lead};
use super::link::LinkChange;
use super::loaders::Stages;
use super::mailbox::{Folder, Mailbox};
use super::quarantine::QuarantinedMail;
use super::stage::Stage;
use super::template::Template;
use super::thread::{Thread, ThreadChange};
use super::timeline::{
    ActivityCompleted, ActivityReopened, EmailLinked, EmailReceived, EmailSent, EmailUnlinked,
    ItemCreated, LeadConverted, NoteAdded, ResponsibleChanged, SendingChanged, StageChanged,
    TimelineEntry,
};
use super::viewer::{Department, Role, User};
use crate::model::item::ItemKind;
use crate::model::{AttachmentId, ItemId, RoleId};
use crate::store;

/// Anything with a global id.
#[derive(Interface, Clone)]
#[graphql(field(name = "id", ty = "ID", desc = "The opaque global id."))]
pub enum Node {
    User(User),
    Department(Department),
    Role(Role),
    Stage(Stage),
    Lead(Lead),
    Deal(Deal),
    Contact(Contact),
    Mailbox(Mailbox),
    Folder(Folder),
    Email(Email),
    Attachment(Attachment),
    LinkChange(LinkChange),
    Thread(Thread),
    ThreadChange(ThreadChange),
    Activity(Activity),
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
    AuditEntry(AuditEntry),
    QuarantinedMail(QuarantinedMail),
    Draft(Draft),
    DraftAttachment(DraftAttachment),
    Template(Template),
    SendingChanged(SendingChanged),
}

impl Node {
    /// What an id names, if the viewer may see it (R27: else the same as for an id that names nothing).
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: &ID) -> Result<Option<Self>> {
        let Some(id) = ask.open_any(id) else {
            return Ok(None);
        };
        Ok(match id {
            AnyId::User(id) => User::find(ask, id).await?.map(Self::User),
            AnyId::Department(id) => Department::find(ask, id).await?.map(Self::Department),
            AnyId::Role(id) => role(ask, id).await?.map(Self::Role),
            AnyId::Stage(id) => {
                let row = ask.load::<Stages>(id).await?;
                row.map(|row| Self::Stage(Stage::new(ask, row)))
            }
            AnyId::Item(kind, id) => item(ask, kind, id).await?,
            AnyId::Mailbox(id) => Mailbox::find(ask, id).await?.map(Self::Mailbox),
            AnyId::Folder(id) => Folder::find(ask, id).await?.map(Self::Folder),
            AnyId::Email(id) => Email::find(ask, id).await?.map(Self::Email),
            AnyId::Attachment(id) => attachment(ask, id).await?.map(Self::Attachment),
            AnyId::LinkChange(id) => LinkChange::find(ask, id).await?.map(Self::LinkChange),
            AnyId::Thread(id) => Thread::find(ask, id).await?.map(Self::Thread),
            AnyId::ThreadChange(id) => {
                let found = ThreadChange::find(ask, id).await?;
                found.map(Self::ThreadChange)
            }
            AnyId::Activity(id) => Activity::find(ask, id).await?.map(Self::Activity),
            AnyId::Quarantined(id) => {
                let found = QuarantinedMail::find(ask, id).await?;
                found.map(Self::QuarantinedMail)
            }
            AnyId::Draft(id) => Draft::find(ask, id).await?.map(Self::Draft),
            AnyId::Template(id) => Template::find(ask, id).await?.map(Self::Template),
            AnyId::DraftFile(id) => {
                let found = DraftAttachment::find(ask, id).await?;
                found.map(Self::DraftAttachment)
            }
            AnyId::Audit(id) => AuditEntry::find(ask, id).await?.map(Self::AuditEntry),
            AnyId::Entry(position) => TimelineEntry::find(ask, position).await?.map(Self::from),
        })
    }
}

async fn item(ask: &Ask, kind: ItemKind, id: ItemId) -> Result<Option<Node>> {
    Ok(match (kind, Item::find(ask, id).await?) {
        (ItemKind::Lead, Some(Item::Lead(lead))) => Some(Node::Lead(lead)),
        (ItemKind::Deal, Some(Item::Deal(deal))) => Some(Node::Deal(deal)),
        (ItemKind::Contact, Some(Item::Contact(contact))) => Some(Node::Contact(contact)),
        _ => None,
    })
}

async fn role(ask: &Ask, id: RoleId) -> Result<Option<Role>> {
    let found = ask.read(move |conn, _scopes| store::roles::get_many(conn, &[id]));
    let row = found.await?.into_iter().next();
    Ok(row.map(|row| Role::new(ask, row)))
}

/// An attachment, if the viewer sees its email.
async fn attachment(ask: &Ask, id: AttachmentId) -> Result<Option<Attachment>> {
    let found = ask.read(move |conn, _scopes| store::emails::attachment_by_id(conn, id));
    let Some(row) = found.await? else {
        return Ok(None);
    };
    let email = Email::find(ask, row.email_id).await?;
    Ok(email.map(|_email| Attachment::new(ask, row)))
}

impl From<TimelineEntry> for Node {
    fn from(entry: TimelineEntry) -> Self {
        match entry {
            TimelineEntry::EmailReceived(entry) => Self::EmailReceived(entry),
            TimelineEntry::EmailSent(entry) => Self::EmailSent(entry),
            TimelineEntry::EmailLinked(entry) => Self::EmailLinked(entry),
            TimelineEntry::EmailUnlinked(entry) => Self::EmailUnlinked(entry),
            TimelineEntry::ActivityCompleted(entry) => Self::ActivityCompleted(entry),
            TimelineEntry::ActivityReopened(entry) => Self::ActivityReopened(entry),
            TimelineEntry::ItemCreated(entry) => Self::ItemCreated(entry),
            TimelineEntry::LeadConverted(entry) => Self::LeadConverted(entry),
            TimelineEntry::ResponsibleChanged(entry) => Self::ResponsibleChanged(entry),
            TimelineEntry::StageChanged(entry) => Self::StageChanged(entry),
            TimelineEntry::NoteAdded(entry) => Self::NoteAdded(entry),
            TimelineEntry::SendingChanged(entry) => Self::SendingChanged(entry),
        }
    }
}
