//! Emails as clients see them, and what hangs on them: addresses, attachments, threads and traces.
//! Not for: which emails a viewer sees (that is the scope they were read under), or reading bodies (`Bodies`).

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};

use super::activity::Activity;
use super::context::{Ask, File, FileRef, failed};
use super::link::{self, EmailLink, LinkChange, RelinkVerdict};
use super::loaders::{
    Attachments, CrmEmails, Emails, Items, LinkChanges, Links, MailMailboxes, Participants, Traces,
    Unread,
};
use super::mail_extras::{BodyLink, Invitation, SpecialFormat, Unsubscribe};
use super::mailbox::Mailbox;
use super::paging::Listed;
use super::scalars::DateTime;
use super::straight::{
    Plan, Selected, WriteRow, Writer, write_id, write_maybe, write_plain, write_shown, write_text,
    write_time,
};
use super::thread::Thread;
use super::trace::shown;
use super::viewer::User;
use crate::actions::read_mail;
use crate::model::EmailId;
use crate::model::email::{
    Address as AddressFields, Attachment as AttachmentRow, Email as EmailFields, ParticipantRole,
    RoutingTrace as TraceRow,
};
use crate::model::item::Item as ItemFields;
use crate::rules::trace::items_named;
use crate::view;

/// Addresses of each kind that an email shows; mails to thousands exist, and all are in `rawHeaders`.
const ADDRESSES_MAX: usize = 100;

/// One message of one mailbox.
#[derive(Clone)]
pub struct Email {
    ask: Ask,
    row: Arc<EmailFields>,
}

impl Email {
    /// An email that was read under one of the viewer's scopes.
    pub fn new(ask: &Ask, row: Arc<EmailFields>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The email with this id, if the viewer sees it in the CRM or in a mailbox (R22).
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: EmailId) -> Result<Option<Self>> {
        let row = ask.load::<Emails>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }

    /// The email with this id, if the viewer sees it in the CRM (R21).
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find_in_crm(ask: &Ask, id: EmailId) -> Result<Option<Self>> {
        let row = ask.load::<CrmEmails>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }

    /// Its primary item, if the viewer may read it: what may be said about the email in the CRM depends on it (R22).
    pub(super) async fn readable_primary(
        ask: &Ask,
        row: &EmailFields,
    ) -> Result<Option<Arc<ItemFields>>> {
        match row.primary_item_id {
            Some(id) => ask.load::<Items>(id).await,
            None => Ok(None),
        }
    }

    async fn responsible_user(&self) -> Result<Option<User>> {
        let primary = Self::readable_primary(&self.ask, &self.row).await?;
        let Some(primary) = primary else {
            return Ok(None);
        };
        let user = User::named(&self.ask, primary.responsible_id).await?;
        Ok(Some(user))
    }

    /// The trace, unless a linked item is hidden: its words name what the rules saw.
    async fn trace(&self) -> Result<Option<RoutingTrace>> {
        let links = self.ask.load::<Links>(self.row.id).await?;
        let linked: Vec<_> = links
            .iter()
            .flat_map(|links| links.iter().map(|link| link.item_id))
            .collect();
        let readable = self.ask.load_all::<Items>(linked.iter().copied()).await?;
        if readable.len() < linked.len() {
            return Ok(None);
        }
        let Some(row) = self.ask.load::<Traces>(self.row.id).await? else {
            return Ok(None);
        };
        // The rules looked at more items than the email hangs on.
        let named = items_named(&row.steps);
        let readable = self.ask.load_all::<Items>(named).await?;
        let readable = readable.iter().map(|item| (item.id, item.kind)).collect();
        Ok(Some(RoutingTrace::from(&shown(&self.ask, &row, &readable))))
    }

    async fn recipients(&self, role: ParticipantRole) -> Result<Vec<Address>> {
        let found = self.ask.load::<Participants>(self.row.id).await?;
        let found = found.iter().flat_map(|found| found.iter());
        Ok(found
            .filter(|(stands_as, _address)| *stands_as == role)
            .take(ADDRESSES_MAX)
            .map(|(_role, address)| Address::from(address))
            .collect())
    }

    fn file_url(&self, file: File) -> Option<String> {
        file_url(&self.ask, file)
    }

    async fn extras(&self) -> Result<read_mail::Extras> {
        let extras = self.ask.services().mail.extras(&self.row).await;
        extras.map_err(|error| failed(&error))
    }
}

fn file_url(ask: &Ask, file: File) -> Option<String> {
    (ask.services().file_urls)(FileRef {
        viewer_id: ask.viewer().user_id,
        file,
    })
}

impl Listed for Email {
    const CONNECTION: &'static str = "EmailConnection";
    const EDGE: &'static str = "EmailEdge";

    fn writer<'a>(nodes: Vec<&'a Self>, selected: Selected<'a>) -> Writer<'a> {
        let plan = EmailPlan::new(&selected);
        let write = plan.map(|plan| {
            let write = move |out: &mut Vec<u8>, index: usize| {
                if let Some(node) = nodes.get(index) {
                    plan.write(out, &node.ask, &node.row);
                }
            };
            Box::new(write) as WriteRow<'a>
        });
        Box::pin(std::future::ready(write))
    }
}

/// One message of one mailbox. The same message in two mailboxes is two emails, in one thread and with one activity.
#[Object]
impl Email {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// The mailbox that it came to or was sent from; null without access to that mailbox.
    async fn mailbox(&self) -> Option<Result<Mailbox>> {
        let row = self.ask.load::<MailMailboxes>(self.row.mailbox_id).await;
        let row = row.transpose()?;
        Some(row.map(|row| Mailbox::new(&self.ask, row)))
    }

    /// Whether it came in or went out.
    async fn direction(&self) -> Direction {
        self.row.direction.into()
    }

    /// Who it is from; null where the mail doesn't say.
    async fn from(&self) -> Option<Address> {
        self.row.from.as_ref().map(Address::from)
    }

    /// Who it is to: at most 100, all are in `rawHeaders`.
    async fn to(&self) -> Result<Vec<Address>> {
        self.recipients(ParticipantRole::To).await
    }

    /// Who got a copy: at most 100, all are in `rawHeaders`.
    async fn cc(&self) -> Result<Vec<Address>> {
        self.recipients(ParticipantRole::Cc).await
    }

    /// The subject as it stands; may be empty.
    async fn subject(&self) -> &str {
        &self.row.subject
    }

    /// The first lines of what was written.
    async fn preview(&self) -> &str {
        &self.row.preview
    }

    /// The body as plain text; null where the mail has none.
    async fn body_text(&self) -> Option<Result<String>> {
        let body = self.ask.services().mail.text(&self.row).await;
        body.map_err(|error| failed(&error)).transpose()
    }

    /// The body as plain text in blocks that can be folded, in their order: what was written, what it quotes, how it is
    /// signed. Together they are `bodyText`; none where the mail has none.
    async fn body_blocks(&self) -> Option<Result<Vec<BodyBlock>>> {
        let blocks = self.ask.services().mail.blocks(&self.row).await;
        let shape = |(kind, text): (view::BlockKind, String)| BodyBlock {
            kind: kind.into(),
            text,
        };
        let shaped = blocks.map(|blocks| blocks.into_iter().map(shape).collect());
        Some(shaped.map_err(|error| failed(&error)))
    }

    /// The body as HTML, sanitised: no scripts, no forms. Null where the mail has none.
    async fn body_html(
        &self,
        #[graphql(
            default = false,
            desc = "Whether images may be loaded, through the installation's proxy where there is one, never directly."
        )]
        load_remote: bool,
    ) -> Option<Result<String>> {
        // There is no proxy, and never a direct load: both answers are the same until there is one.
        let _ = load_remote;
        let (ask, id) = (self.ask.clone(), self.row.id);
        let picture_url = move |part| file_url(&ask, File::Part(id, part));
        let reader = &self.ask.services().mail;
        let body = reader.html(&self.row, Arc::new(picture_url)).await;
        body.map_err(|error| failed(&error)).transpose()
    }

    /// Where the links of its body lead, and which of them don't say so; at most 200.
    async fn body_links(&self) -> Option<Result<Vec<BodyLink>>> {
        let links = self.ask.services().mail.links(&self.row).await;
        let shaped = links.map(|links| links.into_iter().map(BodyLink::from).collect());
        Some(shaped.map_err(|error| failed(&error)))
    }

    /// How to leave the list that it came by; null where it doesn't say. Nothing of it is ever followed by the server.
    async fn unsubscribe(&self) -> Option<Result<Unsubscribe>> {
        let extras = self.extras().await.map(|extras| extras.unsubscribe);
        extras.transpose().map(|found| found.map(Unsubscribe::from))
    }

    /// The first event of its calendar part; null where it has none.
    async fn invitation(&self) -> Option<Result<Invitation>> {
        let extras = self.extras().await.map(|extras| extras.invitation);
        extras.transpose().map(|found| found.map(Invitation::from))
    }

    /// Formats in it that are shown as what they are and not read: signatures, encryption, and what old programs write. The
    /// parts themselves are among the attachments.
    async fn special_formats(&self) -> Option<Result<Vec<SpecialFormat>>> {
        let extras = self.extras().await;
        let shape = |extras: read_mail::Extras| {
            extras
                .formats
                .into_iter()
                .map(SpecialFormat::from)
                .collect()
        };
        Some(extras.map(shape))
    }

    /// The header section as it stands.
    async fn raw_headers(&self) -> Option<Result<String>> {
        let headers = self.ask.services().mail.raw_headers(&self.row).await;
        Some(headers.map_err(|error| failed(&error)))
    }

    /// Where the message can be downloaded byte for byte as it came: signed and short-lived.
    async fn raw_url(&self) -> Option<String> {
        self.file_url(File::RawMail(self.row.id))
    }

    /// The Message-ID header; null where the mail has none.
    async fn message_id(&self) -> Option<&str> {
        self.row.message_id_header.as_deref()
    }

    /// The files that hang on it.
    async fn attachments(&self) -> Result<Vec<Attachment>> {
        let rows = self.ask.load::<Attachments>(self.row.id).await?;
        let rows = rows.iter().flat_map(|rows| rows.iter());
        Ok(rows
            .map(|row| Attachment::new(&self.ask, row.clone()))
            .collect())
    }

    /// When it was sent, by its own header; by the mail server's time where that is missing or can't be.
    async fn received_at(&self) -> DateTime {
        self.row.received_at.into()
    }

    /// When the mail server got it.
    async fn internal_date(&self) -> DateTime {
        self.row.internal_date.into()
    }

    /// When it got into the CRM; null while it is not in it.
    async fn saved_at(&self) -> Option<DateTime> {
        self.row.saved_at.map(DateTime)
    }

    /// Its ties to items, the primary one first; only items that the viewer may read.
    async fn links(&self) -> Result<Vec<EmailLink>> {
        link::readable_links(&self.ask, &self.row).await
    }

    /// How its links changed, oldest first; only changes that name an item that the viewer may read.
    async fn link_history(&self) -> Result<Vec<LinkChange>> {
        match self.ask.load::<LinkChanges>(self.row.id).await? {
            Some(rows) => LinkChange::shown(&self.ask, &rows).await,
            None => Ok(Vec::new()),
        }
    }

    /// Its primary item's responsible, today; null while it is not in the CRM, and where the viewer may not read that item.
    async fn responsible(&self) -> Option<Result<User>> {
        self.responsible_user().await.transpose()
    }

    /// The to-do that it made; null without one, and where the viewer may not read its primary item.
    async fn activity(&self) -> Option<Result<Activity>> {
        Activity::of_email(&self.ask, &self.row).await.transpose()
    }

    /// Whether it can be moved to another deal, or why not.
    async fn can_relink(&self) -> Result<RelinkVerdict> {
        link::can_relink(&self.ask, &self.row).await
    }

    /// The conversation that it belongs to.
    async fn thread(&self) -> Thread {
        Thread::new(&self.ask, self.row.thread_id)
    }

    /// Why it is where it is; null before it was judged, and where it hangs on an item that the viewer may not read.
    async fn routing_trace(&self) -> Option<Result<RoutingTrace>> {
        self.trace().await.transpose()
    }

    /// What became of it.
    async fn outcome(&self) -> EmailOutcome {
        self.row.outcome.into()
    }

    /// Whether the viewer has read it. What they said themselves counts (`markEmail`, `markThread`); else, in mailboxes whose
    /// `readStateFollowsServer` is on and to which they have access, whether it was read there. Outgoing mail always is.
    async fn is_read(&self) -> Result<bool> {
        let unread = self.ask.load::<Unread>(self.row.id).await?;
        Ok(unread.is_none())
    }

    /// Rises with every change.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// What is written of an address.
enum AddressField {
    Typename,
    Name,
    Address,
}

/// What is written of an email.
enum EmailField {
    Typename,
    Id,
    Direction,
    Outcome,
    Subject,
    Preview,
    MessageId,
    ReceivedAt,
    InternalDate,
    SavedAt,
    Version,
    From(Plan<AddressField>),
}

/// How emails are written.
pub struct EmailPlan(Plan<EmailField>);

impl EmailPlan {
    /// What is selected of emails; `None` where that takes more than their rows.
    pub fn new(selected: &Selected<'_>) -> Option<Self> {
        let plan =
            Plan::new(selected, &["Email", "Node"], |picked| {
                Some(match picked.name {
                    "__typename" => EmailField::Typename,
                    "id" => EmailField::Id,
                    "direction" => EmailField::Direction,
                    "outcome" => EmailField::Outcome,
                    "subject" => EmailField::Subject,
                    "preview" => EmailField::Preview,
                    "messageId" => EmailField::MessageId,
                    "receivedAt" => EmailField::ReceivedAt,
                    "internalDate" => EmailField::InternalDate,
                    "savedAt" => EmailField::SavedAt,
                    "version" => EmailField::Version,
                    "from" => {
                        EmailField::From(Plan::new(&picked.within, &["Address"], |picked| {
                            match picked.name {
                                "__typename" => Some(AddressField::Typename),
                                "name" => Some(AddressField::Name),
                                "address" => Some(AddressField::Address),
                                _ => None,
                            }
                        })?)
                    }
                    _ => return None,
                })
            });
        plan.map(Self)
    }

    /// Writes one.
    pub fn write(&self, out: &mut Vec<u8>, ask: &Ask, row: &EmailFields) {
        self.0.write(out, |field, out| match field {
            EmailField::Typename => write_plain(out, "Email"),
            EmailField::Id => write_id(out, ask, row.id),
            EmailField::Direction => write_plain(out, row.direction.as_text()),
            EmailField::Outcome => write_plain(out, row.outcome.as_text()),
            EmailField::Subject => write_text(out, &row.subject),
            EmailField::Preview => write_text(out, &row.preview),
            EmailField::MessageId => write_maybe(out, row.message_id_header.as_deref()),
            EmailField::ReceivedAt => write_time(out, row.received_at),
            EmailField::InternalDate => write_time(out, row.internal_date),
            EmailField::SavedAt => match row.saved_at {
                Some(time) => write_time(out, time),
                None => write_maybe(out, None),
            },
            EmailField::Version => write_shown(out, row.version),
            EmailField::From(plan) => match &row.from {
                Some(from) => plan.write(out, |field, out| match field {
                    AddressField::Typename => write_plain(out, "Address"),
                    AddressField::Name => {
                        write_maybe(out, from.name.as_deref().filter(|name| !name.is_empty()));
                    }
                    AddressField::Address => write_text(out, &from.address),
                }),
                None => write_maybe(out, None),
            },
        });
    }
}

/// A part of a mail's text.
#[derive(SimpleObject)]
pub struct BodyBlock {
    /// What it is.
    kind: BodyBlockKind,
    /// Whole lines of plain text.
    text: String,
}

/// What a part of a mail's text is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::view::BlockKind")]
pub enum BodyBlockKind {
    /// Written by the sender.
    Own,
    /// Older text: quoted lines, or the mail that is answered, with its announcement.
    Quoted,
    /// How the sender signs.
    Signature,
}

/// A name and a mail address as they stand in a mail.
#[derive(SimpleObject, Clone)]
pub struct Address {
    /// The display name; null where there is none.
    name: Option<String>,
    /// The mail address.
    address: String,
}

impl From<&AddressFields> for Address {
    fn from(fields: &AddressFields) -> Self {
        Self {
            name: fields.name.clone().filter(|name| !name.is_empty()),
            address: fields.address.clone(),
        }
    }
}

/// A file that hangs on an email.
#[derive(Clone)]
pub struct Attachment {
    ask: Ask,
    row: AttachmentRow,
}

impl Attachment {
    /// An attachment of an email that the viewer sees.
    pub fn new(ask: &Ask, row: AttachmentRow) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }
}

/// A file that hangs on an email.
#[Object]
impl Attachment {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// The file's name; null where the mail gives none.
    async fn name(&self) -> Option<&str> {
        Some(self.row.name.as_str()).filter(|name| !name.is_empty())
    }

    /// What the mail says that it is: `application/pdf`.
    async fn media_type(&self) -> &str {
        &self.row.media_type
    }

    /// Its size in bytes, decoded.
    async fn size(&self) -> i64 {
        self.row.size_bytes
    }

    /// Where it can be downloaded: signed and short-lived.
    async fn url(&self) -> Option<String> {
        file_url(&self.ask, File::Attachment(self.row.id))
    }
}

/// Why an email is where it is.
#[derive(SimpleObject, Clone)]
pub struct RoutingTrace {
    /// The rules in the order they were tried.
    steps: Vec<RoutingStep>,
    /// What decided, in words.
    reason: String,
    /// The version of the mailbox's settings that were in force.
    settings_version: i64,
}

impl From<&TraceRow> for RoutingTrace {
    fn from(row: &TraceRow) -> Self {
        let step = |step: &crate::model::email::RoutingStep| RoutingStep {
            rule: step.rule.clone(),
            saw: step.saw.clone(),
            decided: step.decided.clone(),
        };
        Self {
            steps: row.steps.iter().map(step).collect(),
            reason: row.reason.clone(),
            settings_version: row.settings_version,
        }
    }
}

/// One rule that was tried.
#[derive(SimpleObject, Clone)]
pub struct RoutingStep {
    /// The rule's name.
    rule: String,
    /// The facts that it saw.
    saw: String,
    /// What it decided.
    decided: String,
}

/// Which way a mail went.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::email::Direction")]
pub enum Direction {
    /// To us.
    Incoming,
    /// From us.
    Outgoing,
}

/// What became of an email: saved to the CRM, or kept unsaved with the reason. New values may be added. Saved later by hand: `SAVED`.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::email::EmailOutcome")]
pub enum EmailOutcome {
    /// It is in the CRM.
    Saved,
    /// It lay in the folder that spam goes to.
    SpamFolder,
    /// It lay in the trash.
    TrashFolder,
    /// It lay among the drafts.
    DraftsFolder,
    /// The mailbox saves nothing by itself.
    IntegrationOff,
    /// It is mail among our own people.
    Internal,
    /// It is older than what the mailbox saves.
    TooOld,
    /// Its sender is on the exclusion list.
    Excluded,
    /// A machine wrote it: a newsletter, a bounce, an out-of-office note.
    Automatic,
    /// The client is unknown, and the mailbox makes nothing for such mail.
    NothingToCreate,
    /// Its sender sent too many in an hour.
    RateGuard,
    /// It was taken out of the CRM again.
    Removed,
}
