//! What goes for good: a person's mail and data, and old mail that is not in the CRM.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

use super::{answer, payload};
use crate::actions::erase_person::{self, ErasePerson};
use crate::actions::mailbox_retention;
use crate::graphql::context::Ask;
use crate::graphql::mailbox::Mailbox;
use crate::model::MailboxId;

/// A person to erase.
#[derive(InputObject)]
pub struct ErasePersonInput {
    /// The person's mail addresses, at most 20; none of our own people.
    addresses: Vec<String>,
    /// Whether mails and drafts go too in which other people outside stand as well, whoever wrote them.
    #[graphql(default = false)]
    include_shared: bool,
    /// Whether it is only said what would go.
    #[graphql(default = false)]
    is_dry_run: bool,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// How long a mailbox keeps mail that is not in the CRM.
#[derive(InputObject)]
pub struct UpdateMailboxRetentionInput {
    /// The mailbox.
    mailbox_id: ID,
    /// Days, 7 at least; null: for ever.
    days: Option<i64>,
}

/// What of a person went, or would go.
#[derive(SimpleObject)]
pub struct ErasureReport {
    /// Mails.
    emails: i64,
    /// Files that hung on them.
    attachments: i64,
    /// Bytes of the mails as they came.
    bytes: i64,
    /// Leads that were theirs alone.
    leads: i64,
    /// Contacts that were theirs alone.
    contacts: i64,
    /// Leads and contacts with further addresses: they lost these ones and stayed.
    items_kept: i64,
    /// Mails in which other people outside stand as well; `includeShared` erases them.
    shared_emails_kept: i64,
    /// Mails that are left, since one request erases at most 1,000: ask again.
    emails_left: i64,
    /// What was written to them or in answer to the mails, with its files, and what the mails were written as.
    drafts: i64,
    /// Drafts that are for other people outside as well; `includeShared` erases them.
    shared_drafts_kept: i64,
}

impl From<erase_person::ErasureReport> for ErasureReport {
    fn from(report: erase_person::ErasureReport) -> Self {
        Self {
            emails: report.emails,
            attachments: report.attachments,
            bytes: report.bytes,
            leads: report.leads,
            contacts: report.contacts,
            items_kept: report.items_kept,
            shared_emails_kept: report.shared_emails_kept,
            emails_left: report.emails_left,
            drafts: report.drafts,
            shared_drafts_kept: report.shared_drafts_kept,
        }
    }
}

payload! {
    /// What went.
    ErasePersonPayload {
        /// In numbers.
        report: ErasureReport,
    }
}
payload! {
    /// The mailbox that keeps mail so long.
    UpdateMailboxRetentionPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}

/// Erasing for good.
#[derive(Default)]
pub struct ErasureMutation;

#[Object]
impl ErasureMutation {
    /// Erases a person outside: the mails in which nobody else outside stands with every byte, drafts to them or in answer to
    /// these, leads and contacts that are theirs alone, and their addresses on others. Mails and drafts in which others
    /// outside stand as well are kept and counted, unless `includeShared`. `CHANGED_SINCE` while mail to them waits to be
    /// sent or is being sent. Administrators only. It can't be undone; what is still on the mail server does not come back.
    /// The bytes leave the store of raw mails within a day; backups are not touched.
    async fn erase_person(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ErasePersonInput,
    ) -> Result<ErasePersonPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = ErasePerson {
            addresses: input.addresses,
            include_shared: input.include_shared,
            is_dry_run: input.is_dry_run,
        };
        let key = input.idempotency_key;
        let done = erase_person::erase(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |report| async move {
            Ok(ErasePersonPayload {
                report: Some(report.into()),
                ..Default::default()
            })
        })
        .await
    }

    /// Sets how long a mailbox keeps mail that is not in the CRM: what is older is erased for good, with drafts that answer
    /// it, and does not come back from the mail server. Its connector and administrators only.
    async fn update_mailbox_retention(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateMailboxRetentionInput,
    ) -> Result<UpdateMailboxRetentionPayload> {
        let ask = &Ask::of(ctx)?;
        let id: MailboxId = ask.named(&input.mailbox_id);
        let done =
            mailbox_retention::change(ask.actions(), ask.viewer(), id, input.days, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateMailboxRetentionPayload {
                mailbox: Mailbox::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }
}
