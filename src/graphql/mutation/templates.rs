//! Templates, senders and signatures are made and changed.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result};

use super::{answer, changed, payload};
use crate::actions::senders::{self, NewSender};
use crate::actions::templates::{self, CreateTemplate, UpdateTemplate};
use crate::graphql::context::Ask;
use crate::graphql::mailbox::Mailbox;
use crate::graphql::template::{Template, TemplateSharing};
use crate::model::TemplateId;
use crate::model::template::Signature;

/// A template to make. Its texts name fields (`{{ client.name }}`), ask (`{% if item.amount %}`, comparisons, `and`, `or`, `not`)
/// and repeat (`{% for %}`); the filters upper, lower, title, capitalize, trim, default, length, int and float make
/// something of a field. What says more is refused with its line.
#[derive(InputObject)]
pub struct CreateTemplateInput {
    /// What it is called.
    name: String,
    /// The subject, with fields: `{{ item.title }}`.
    #[graphql(default)]
    subject: String,
    /// The body as plain text, with fields; none: made of the HTML.
    body_text: Option<String>,
    /// The body as HTML, with fields; none: mails are plain text.
    body_html: Option<String>,
    /// Who sees it: sharing with everybody takes the right to change the CRM's settings.
    #[graphql(default_with = "TemplateSharing::Own")]
    sharing: TemplateSharing,
}

/// What changes about a template. Absent = unchanged, null = cleared.
#[derive(InputObject)]
pub struct UpdateTemplateInput {
    /// The template.
    template_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// What it is called.
    name: MaybeUndefined<String>,
    /// The subject, with fields.
    subject: MaybeUndefined<String>,
    /// The body as plain text, with fields.
    body_text: MaybeUndefined<String>,
    /// The body as HTML, with fields.
    body_html: MaybeUndefined<String>,
    /// Who sees it.
    sharing: MaybeUndefined<TemplateSharing>,
}

/// A template to delete.
#[derive(InputObject)]
pub struct DeleteTemplateInput {
    /// The template.
    template_id: ID,
}

/// A sender of a mailbox.
#[derive(InputObject)]
pub struct SenderInput {
    /// The display name; none: the address alone.
    name: Option<String>,
    /// The mail address; none: the mailbox's own.
    address: Option<String>,
    /// Who alone may use it; none: whoever may send as the mailbox.
    user_id: Option<ID>,
}

/// Exactly which senders a mailbox has from now on.
#[derive(InputObject)]
pub struct UpdateMailboxSendersInput {
    /// The mailbox.
    mailbox_id: ID,
    /// Its senders, in their order.
    senders: Vec<SenderInput>,
}

/// What stands below what the viewer writes for a mailbox.
#[derive(InputObject)]
pub struct UpdateSignatureInput {
    /// The mailbox.
    mailbox_id: ID,
    /// The signature as plain text; null or none: there is none any more.
    body_text: Option<String>,
    /// The signature as HTML, which is cleaned; none: made of the text.
    body_html: Option<String>,
}

payload! {
    /// The template that was made.
    CreateTemplatePayload {
        /// The template.
        template: Template,
    }
}
payload! {
    /// The changed template.
    UpdateTemplatePayload {
        /// The template.
        template: Template,
    }
}
payload! {
    /// The template that is gone.
    DeleteTemplatePayload {
        /// Its id, which names nothing any more.
        deleted_template_id: ID,
    }
}
payload! {
    /// The mailbox with its senders.
    UpdateMailboxSendersPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}
payload! {
    /// The mailbox with the viewer's signature.
    UpdateSignaturePayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}

/// Making templates, senders and signatures.
#[derive(Default)]
pub struct TemplateMutation;

#[Object]
impl TemplateMutation {
    /// Makes a template. One that can't be read is refused with its line.
    async fn create_template(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateTemplateInput,
    ) -> Result<CreateTemplatePayload> {
        let ask = &Ask::of(ctx)?;
        let wanted = CreateTemplate {
            name: input.name,
            subject: input.subject,
            body_text: input.body_text,
            body_html: input.body_html,
            sharing: input.sharing.into(),
        };
        let done = templates::create(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateTemplatePayload {
                template: Template::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes a template: its owner; one that is shared also whoever may change the CRM's settings.
    async fn update_template(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateTemplateInput,
    ) -> Result<UpdateTemplatePayload> {
        let ask = &Ask::of(ctx)?;
        let wanted = UpdateTemplate {
            template_id: ask.named(&input.template_id),
            expected_version: input.expected_version,
            name: input.name.into(),
            subject: input.subject.into(),
            body_text: input.body_text.into(),
            body_html: input.body_html.into(),
            sharing: changed(input.sharing, Into::into),
        };
        let done = templates::update(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateTemplatePayload {
                template: Template::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Deletes a template; who may change it may. Mails that were begun with it stay as they are.
    async fn delete_template(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteTemplateInput,
    ) -> Result<DeleteTemplatePayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.template_id);
        let done = templates::delete(ask.actions(), ask.viewer(), id, ask.now());
        answer(done.await, |_id: TemplateId| async move {
            Ok(DeleteTemplatePayload {
                deleted_template_id: Some(input.template_id),
                ..Default::default()
            })
        })
        .await
    }

    /// Replaces the senders of a mailbox: its connector and administrators.
    async fn update_mailbox_senders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateMailboxSendersInput,
    ) -> Result<UpdateMailboxSendersPayload> {
        let ask = &Ask::of(ctx)?;
        let all = input.senders.into_iter().map(|sender| NewSender {
            name: sender.name,
            address: sender.address,
            user_id: sender.user_id.map(|id| ask.named(&id)),
        });
        let wanted = (ask.named(&input.mailbox_id), all.collect());
        let done = senders::replace(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateMailboxSendersPayload {
                mailbox: Mailbox::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes what stands below what the viewer writes for a mailbox that they may send as.
    async fn update_signature(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateSignatureInput,
    ) -> Result<UpdateSignaturePayload> {
        let ask = &Ask::of(ctx)?;
        let html = input.body_html;
        let signature = input.body_text.map(|body_text| Signature {
            body_text,
            body_html: html,
        });
        let wanted = (ask.named(&input.mailbox_id), signature);
        let done = senders::sign(ask.actions(), ask.viewer(), wanted, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateSignaturePayload {
                mailbox: Mailbox::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }
}
