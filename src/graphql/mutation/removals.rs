//! Items are deleted, merged and taken out in bulk.

use async_graphql::{Context, ID, InputObject, Object, OneofObject, Result};

use super::{answer, payload};
use crate::actions::delete_item::{self, DeleteItem};
use crate::actions::export_items;
use crate::actions::merge_contacts::{self, MergeContacts};
use crate::graphql::context::{Ask, File, FileRef};
use crate::graphql::filters::{ContactFilter, DealFilter, LeadFilter};
use crate::graphql::item::Contact;
use crate::graphql::scalars::DateTime;
use crate::model::item::ItemKind;

/// A lead to delete.
#[derive(InputObject)]
pub struct DeleteLeadInput {
    /// The lead.
    lead_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A deal to delete.
#[derive(InputObject)]
pub struct DeleteDealInput {
    /// The deal.
    deal_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// A contact to delete.
#[derive(InputObject)]
pub struct DeleteContactInput {
    /// The contact.
    contact_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// Contacts that are one person.
#[derive(InputObject)]
pub struct MergeContactsInput {
    /// The contact that remains, with what it has.
    contact_id: ID,
    /// The contacts that go, at most 20: what they have goes to the one that remains.
    merge_contact_ids: Vec<ID>,
    /// The version that was read of the one that remains; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// Items to take out: of one kind, narrowed as in their list (`{}`: all).
#[derive(OneofObject)]
pub enum ExportedItemsInput {
    /// Leads.
    Leads(LeadFilter),
    /// Deals.
    Deals(DealFilter),
    /// Contacts.
    Contacts(ContactFilter),
}

/// Items to take out in bulk.
#[derive(InputObject)]
pub struct ExportItemsInput {
    /// Which ones.
    items: ExportedItemsInput,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

payload! {
    /// The lead is gone.
    DeleteLeadPayload {
        /// Its id, which names nothing any more.
        deleted_lead_id: ID,
    }
}
payload! {
    /// The deal is gone.
    DeleteDealPayload {
        /// Its id, which names nothing any more.
        deleted_deal_id: ID,
    }
}
payload! {
    /// The contact is gone.
    DeleteContactPayload {
        /// Its id, which names nothing any more.
        deleted_contact_id: ID,
    }
}
payload! {
    /// The contact that remained.
    MergeContactsPayload {
        /// The contact.
        contact: Contact,
    }
}
payload! {
    /// Where the file is.
    ExportItemsPayload {
        /// The signed address of the CSV file; it opens for minutes, and reads what the viewer may export and read then.
        url: String,
        /// When the address is over.
        expires_at: DateTime,
    }
}

/// Deleting, merging and exporting items.
#[derive(Default)]
pub struct RemovalMutation;

#[Object]
impl RemovalMutation {
    /// Deletes a lead with its timeline. It takes delete on it. Its emails lose this link; one that is left without any is
    /// no longer in the CRM (`REMOVED`) and stays in its mailbox.
    async fn delete_lead(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteLeadInput,
    ) -> Result<DeleteLeadPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = wish(ask, ItemKind::Lead, &input.lead_id, input.expected_version);
        let key = input.idempotency_key;
        let done = delete_item::delete(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |id| async move {
            Ok(DeleteLeadPayload {
                deleted_lead_id: Some(ask.seal_item(ItemKind::Lead, id)),
                ..Default::default()
            })
        })
        .await
    }

    /// Deletes a deal with its timeline. It takes delete on it. Its emails lose this link, as with `deleteLead`.
    async fn delete_deal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteDealInput,
    ) -> Result<DeleteDealPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = wish(ask, ItemKind::Deal, &input.deal_id, input.expected_version);
        let key = input.idempotency_key;
        let done = delete_item::delete(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |id| async move {
            Ok(DeleteDealPayload {
                deleted_deal_id: Some(ask.seal_item(ItemKind::Deal, id)),
                ..Default::default()
            })
        })
        .await
    }

    /// Deletes a contact with its timeline. It takes delete on it. Its emails lose this link, as with `deleteLead`; its deals stay.
    async fn delete_contact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteContactInput,
    ) -> Result<DeleteContactPayload> {
        let ask = &Ask::of(ctx)?;
        let id = &input.contact_id;
        let wish = wish(ask, ItemKind::Contact, id, input.expected_version);
        let key = input.idempotency_key;
        let done = delete_item::delete(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |id| async move {
            Ok(DeleteContactPayload {
                deleted_contact_id: Some(ask.seal_item(ItemKind::Contact, id)),
                ..Default::default()
            })
        })
        .await
    }

    /// Merges contacts that are one person: addresses, phones, deals, emails and timeline entries go to the one that
    /// remains. It takes update on all, and delete on those that go. It can't be undone.
    async fn merge_contacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: MergeContactsInput,
    ) -> Result<MergeContactsPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = MergeContacts {
            contact_id: ask.named_item_of(ItemKind::Contact, &input.contact_id),
            merge_contact_ids: ask.named_contacts(&input.merge_contact_ids),
            expected_version: input.expected_version,
        };
        let key = input.idempotency_key;
        let done = merge_contacts::merge(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |id| async move {
            Ok(MergeContactsPayload {
                contact: Contact::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Takes items out as a CSV file: those that the viewer may both read and export, without fields that are hidden.
    async fn export_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ExportItemsInput,
    ) -> Result<ExportItemsPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = match input.items {
            ExportedItemsInput::Leads(filter) => (ItemKind::Lead, filter.rows(ask)?),
            ExportedItemsInput::Deals(filter) => (ItemKind::Deal, filter.rows(ask).await?),
            ExportedItemsInput::Contacts(filter) => (ItemKind::Contact, filter.rows(ask)?),
        };
        let key = input.idempotency_key;
        let done = export_items::ask(ask.actions(), ask.viewer(), wish, key, ask.now());
        answer(done.await, |asked| async move {
            let file = FileRef {
                viewer_id: ask.viewer().user_id,
                file: File::Export(asked.id),
            };
            Ok(ExportItemsPayload {
                url: (ask.services().file_urls)(file),
                expires_at: Some(asked.expires_at.into()),
                ..Default::default()
            })
        })
        .await
    }
}

fn wish(ask: &Ask, kind: ItemKind, id: &ID, expected_version: Option<i64>) -> DeleteItem {
    DeleteItem {
        kind,
        id: ask.named_item_of(kind, id),
        expected_version,
    }
}
