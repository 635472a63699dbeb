//! Mails are written, given files, sent and taken back.

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, Result};

use super::mailboxes::{MailServerInput, smtp_server};
use super::{answer, changed, payload, refused};
use crate::actions::draft_files::{self, AddDraftFile};
use crate::actions::drafts::{self, CreateDraft, UpdateDraft};
use crate::actions::mailbox_sending;
use crate::actions::send_email::{self, SendEmail};
use crate::graphql::context::{Ask, File, FileRef};
use crate::graphql::draft::{Draft, DraftAttachment, DraftKind};
use crate::graphql::mailbox::Mailbox;
use crate::graphql::scalars::DateTime;
use crate::model::DraftId;
use crate::model::email::Address;

/// A name and a mail address.
#[derive(InputObject)]
pub struct AddressInput {
    /// The display name; none: the address alone.
    name: Option<String>,
    /// The mail address.
    address: String,
}

fn addresses(list: Vec<AddressInput>) -> Vec<Address> {
    list.into_iter()
        .map(|given| Address {
            name: given.name.filter(|name| !name.trim().is_empty()),
            address: given.address.trim().to_owned(),
        })
        .collect()
}

/// Whether the original stands below what is written.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// It does: as text, and as clean HTML where HTML is written.
    Original,
    /// It does not.
    Nothing,
}

/// A mail to begin. What is left out comes from what it answers, or from the item that it is written from.
#[derive(InputObject)]
pub struct CreateDraftInput {
    /// What it answers, if anything.
    #[graphql(default_with = "DraftKind::New")]
    kind: DraftKind,
    /// The email that it answers or passes on.
    original_id: Option<ID>,
    /// The mailbox that it is sent from; none: that of the original.
    mailbox_id: Option<ID>,
    /// The item that it is saved on, which takes update on it; none: that of the email that it answers, or what the rules choose.
    item_id: Option<ID>,
    /// A template that is filled in where nothing is written.
    template_id: Option<ID>,
    /// Who it is from; none: the viewer's name, with the mailbox's address.
    sender_id: Option<ID>,
    /// Whether the viewer's signature stands below what is written.
    #[graphql(default = true)]
    sign: bool,
    /// Whom it goes to; none: whom an answer goes to, or the item's client.
    to: Option<Vec<AddressInput>>,
    /// Who gets a copy; none: whom an answer to all goes to.
    cc: Option<Vec<AddressInput>>,
    /// Who gets a copy that no other recipient reads of.
    #[graphql(default)]
    bcc: Vec<AddressInput>,
    /// The subject; none: that of the original with `Re:` or `Fwd:`.
    subject: Option<String>,
    /// What is written, as plain text; none: made of the HTML.
    body_text: Option<String>,
    /// What is written, as HTML, which is cleaned; none: it goes out as plain text alone.
    body_html: Option<String>,
    /// Whether the original stands below it.
    #[graphql(default_with = "Quote::Original")]
    quote: Quote,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a mail that is being written. Absent = unchanged, null = cleared; lists replace.
#[derive(InputObject)]
pub struct UpdateDraftInput {
    /// The draft.
    draft_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The item that it is saved on; null: the rules choose.
    item_id: MaybeUndefined<ID>,
    /// Who it is from; null: the viewer's name, with the mailbox's address.
    sender_id: MaybeUndefined<ID>,
    /// Whom it goes to.
    to: MaybeUndefined<Vec<AddressInput>>,
    /// Who gets a copy.
    cc: MaybeUndefined<Vec<AddressInput>>,
    /// Who gets a copy that no other recipient reads of.
    bcc: MaybeUndefined<Vec<AddressInput>>,
    /// The subject.
    subject: MaybeUndefined<String>,
    /// The body as plain text; null, and absent where the HTML changes: made of the HTML.
    body_text: MaybeUndefined<String>,
    /// The body as HTML, which is cleaned; null: it goes out as plain text alone.
    body_html: MaybeUndefined<String>,
}

/// A draft to throw away.
#[derive(InputObject)]
pub struct DeleteDraftInput {
    /// The draft.
    draft_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
}

/// A file to announce.
#[derive(InputObject)]
pub struct AddDraftAttachmentInput {
    /// The draft.
    draft_id: ID,
    /// The version of the draft that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The file's name.
    name: String,
    /// What it is: `application/pdf`.
    #[graphql(default_with = "String::from(\"application/octet-stream\")")]
    media_type: String,
    /// Its size in bytes; no more is taken.
    size: i64,
}

/// A file to take off its draft.
#[derive(InputObject)]
pub struct RemoveDraftAttachmentInput {
    /// The file.
    attachment_id: ID,
}

/// A draft to send.
#[derive(InputObject)]
pub struct SendEmailInput {
    /// The draft.
    draft_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// When it goes out; none: now.
    send_at: Option<DateTime>,
    /// For how many seconds it waits at least, so that it can be taken back: 0 to 120.
    #[graphql(default = 10)]
    undo_seconds: i64,
    /// Send a mail whose state is UNKNOWN once more, although it may have gone out.
    #[graphql(default)]
    even_if_it_may_have_gone_out: bool,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A mail to take back.
#[derive(InputObject)]
pub struct CancelSendingInput {
    /// The draft.
    draft_id: ID,
}

/// The server that a mailbox sends by.
#[derive(InputObject)]
pub struct UpdateMailboxSendingInput {
    /// The mailbox.
    mailbox_id: ID,
    /// Where it sends; it is tried with the mailbox's login before it is saved. Null or none: it sends nothing any more.
    smtp: Option<MailServerInput>,
}

payload! {
    /// The draft that was begun.
    CreateDraftPayload {
        /// The draft.
        draft: Draft,
    }
}
payload! {
    /// The changed draft.
    UpdateDraftPayload {
        /// The draft.
        draft: Draft,
    }
}
payload! {
    /// The draft that is gone.
    DeleteDraftPayload {
        /// Its id, which names nothing any more.
        deleted_draft_id: ID,
    }
}
payload! {
    /// The announced file.
    AddDraftAttachmentPayload {
        /// The file.
        attachment: DraftAttachment,
        /// Where its bytes are put (HTTP PUT): signed, good for a quarter of an hour, for this viewer and file alone.
        upload_url: String,
    }
}
payload! {
    /// The draft without that file.
    RemoveDraftAttachmentPayload {
        /// The draft.
        draft: Draft,
    }
}
payload! {
    /// The mail on its way.
    SendEmailPayload {
        /// The mail.
        draft: Draft,
    }
}
payload! {
    /// The mail that was taken back.
    CancelSendingPayload {
        /// The mail, a draft again.
        draft: Draft,
    }
}
payload! {
    /// The mailbox with its other way of sending.
    UpdateMailboxSendingPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}

/// Writing and sending mail.
#[derive(Default)]
pub struct DraftMutation;

#[Object]
impl DraftMutation {
    /// Begins a mail: a new one, an answer, an answer to all, or one that passes another on. It takes access to the mailbox.
    async fn create_draft(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateDraftInput,
    ) -> Result<CreateDraftPayload> {
        let ask = &Ask::of(ctx)?;
        let wanted = CreateDraft {
            kind: input.kind.into(),
            original_id: input.original_id.map(|id| ask.named(&id)),
            mailbox_id: input.mailbox_id.map(|id| ask.named(&id)),
            item_id: input.item_id.map(|id| ask.named_item(&id)),
            template_id: input.template_id.map(|id| ask.named(&id)),
            sender_id: input.sender_id.map(|id| ask.named(&id)),
            signs: input.sign,
            to: input.to.map(addresses),
            cc: input.cc.map(addresses),
            bcc: addresses(input.bcc),
            subject: input.subject,
            body_text: input.body_text,
            body_html: input.body_html,
            quotes: input.quote == Quote::Original,
        };
        let key = input.idempotency_key;
        let done = drafts::create(ask.actions(), ask.viewer(), wanted, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateDraftPayload {
                draft: Draft::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes what a draft says, or where it will be saved. A mail that was refused is a draft again.
    async fn update_draft(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateDraftInput,
    ) -> Result<UpdateDraftPayload> {
        let ask = &Ask::of(ctx)?;
        let wanted = UpdateDraft {
            draft_id: ask.named(&input.draft_id),
            expected_version: input.expected_version,
            item_id: changed(input.item_id, |id| ask.named_item(&id)),
            sender_id: changed(input.sender_id, |id| ask.named(&id)),
            to: changed(input.to, addresses),
            cc: changed(input.cc, addresses),
            bcc: changed(input.bcc, addresses),
            subject: input.subject.into(),
            body_text: input.body_text.into(),
            body_html: input.body_html.into(),
        };
        let done = drafts::update(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateDraftPayload {
                draft: Draft::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Throws a draft away, also one that waits to be sent: it is not sent then. What was sent stays.
    async fn delete_draft(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteDraftInput,
    ) -> Result<DeleteDraftPayload> {
        let ask = &Ask::of(ctx)?;
        let wanted = (ask.named(&input.draft_id), input.expected_version);
        let done = drafts::delete(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |_id: DraftId| async move {
            Ok(DeleteDraftPayload {
                deleted_draft_id: Some(input.draft_id),
                ..Default::default()
            })
        })
        .await
    }

    /// Announces a file that goes out with a draft; its bytes are put to the address that this answers.
    async fn add_draft_attachment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: AddDraftAttachmentInput,
    ) -> Result<AddDraftAttachmentPayload> {
        let ask = &Ask::of(ctx)?;
        let wanted = AddDraftFile {
            draft_id: ask.named(&input.draft_id),
            expected_version: input.expected_version,
            name: input.name,
            media_type: input.media_type,
            size_bytes: input.size,
        };
        let done = draft_files::add(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |id| async move {
            let file = FileRef {
                viewer_id: ask.viewer().user_id,
                file: File::Upload(id),
            };
            Ok(AddDraftAttachmentPayload {
                attachment: DraftAttachment::find(ask, id).await?,
                upload_url: (ask.services().file_urls)(file),
                ..Default::default()
            })
        })
        .await
    }

    /// Takes a file off a draft.
    async fn remove_draft_attachment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: RemoveDraftAttachmentInput,
    ) -> Result<RemoveDraftAttachmentPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.attachment_id);
        let done = draft_files::remove(ask.actions(), ask.viewer(), id, ask.now());
        answer(done.await, |id| async move {
            Ok(RemoveDraftAttachmentPayload {
                draft: Draft::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Puts a draft on its way: now, or at a time. Its Message-ID and bytes are fixed with it; at most one copy goes out.
    async fn send_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: SendEmailInput,
    ) -> Result<SendEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let wanted = SendEmail {
            draft_id: ask.named(&input.draft_id),
            expected_version: input.expected_version,
            send_at: input.send_at.map(|at| at.0),
            undo_seconds: input.undo_seconds,
            even_if_it_may_have_gone_out: input.even_if_it_may_have_gone_out,
        };
        let key = input.idempotency_key;
        let done = send_email::send(ask.actions(), ask.viewer(), wanted, key, ask.now());
        answer(done.await, |id| async move {
            Ok(SendEmailPayload {
                draft: Draft::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Takes a mail back that still waits to be sent: it is a draft again, or UNKNOWN where it may have gone out before.
    async fn cancel_sending(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CancelSendingInput,
    ) -> Result<CancelSendingPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.draft_id);
        let done = send_email::cancel(ask.actions(), ask.viewer(), id, ask.now());
        answer(done.await, |id| async move {
            Ok(CancelSendingPayload {
                draft: Draft::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes the server that a mailbox sends by: its connector and administrators. The answer says which step failed.
    async fn update_mailbox_sending(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateMailboxSendingInput,
    ) -> Result<UpdateMailboxSendingPayload> {
        let ask = &Ask::of(ctx)?;
        let smtp = match input
            .smtp
            .map(|server| smtp_server("smtp", server))
            .transpose()
        {
            Ok(smtp) => smtp,
            Err(refusal) => return Ok(refused([refusal])),
        };
        let wanted = (ask.named(&input.mailbox_id), smtp);
        let done = mailbox_sending::update(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateMailboxSendingPayload {
                mailbox: Mailbox::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }
}
