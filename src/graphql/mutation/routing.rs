//! The rules are applied again to chosen emails.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};

use super::{answer, payload};
use crate::actions::reroute_emails;
use crate::graphql::context::Ask;
use crate::graphql::email::Email;

/// Emails to apply the rules to again.
#[derive(InputObject)]
pub struct RerouteEmailsInput {
    /// The emails: 1 to 100, each once.
    email_ids: Vec<ID>,
    /// The same key and input give the same result; a call that broke off is completed.
    idempotency_key: Option<String>,
}

/// What became of an email that the rules were applied to again. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::actions::reroute_emails::Rerouted")]
pub enum RerouteOutcome {
    /// It was not saved; now it is.
    Saved,
    /// The rules keep it unsaved, perhaps for another reason than before: see its trace.
    StaysUnsaved,
    /// The rules had saved it, and choose the same again.
    Unchanged,
    /// The rules had saved it, and now chose other items: it was moved there.
    Moved,
    /// The rules had saved it and now would not. It stays saved: taking it out is for people.
    StaysSaved,
    /// Somebody has saved, linked, moved or removed it by hand: it stays where it is.
    KeptByHand,
    /// There is no such email, or the viewer may not see it.
    NotFound,
    /// The viewer has no access to its mailbox, or may not change or make every item concerned.
    Forbidden,
}

/// What became of one email.
#[derive(SimpleObject)]
pub struct RerouteResult {
    /// The email's id as it was given.
    email_id: ID,
    /// The email; null where the viewer may not see it. Its trace says why it is where it is.
    email: Option<Email>,
    /// What became of it.
    outcome: RerouteOutcome,
}

payload! {
    /// What became of the emails.
    RerouteEmailsPayload {
        /// One result for each email, in the order asked for.
        results: Vec<RerouteResult>,
    }
}

/// Routing again.
#[derive(Default)]
pub struct RoutingMutation;

#[Object]
impl RoutingMutation {
    /// Applies the rules again, with the settings of today, to emails of mailboxes that the viewer has access to: those
    /// kept unsaved are judged as if they came now, those that the rules saved go where the rules send them now. What
    /// somebody saved, linked, moved or removed by hand stays, and nothing saved is taken out of the CRM. Moving takes
    /// update on each item concerned, old and new, and create for what is made.
    async fn reroute_emails(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: RerouteEmailsInput,
    ) -> Result<RerouteEmailsPayload> {
        let ask = &Ask::of(ctx)?;
        let ids = ask.all_named(&input.email_ids);
        let key = input.idempotency_key;
        let done = reroute_emails::reroute(ask.actions(), ask.viewer(), ids, key, ask.now());
        let given = input.email_ids;
        answer(done.await, |done| async move {
            let mut results = Vec::with_capacity(done.len());
            for (email_id, (id, outcome)) in given.into_iter().zip(done) {
                results.push(RerouteResult {
                    email_id,
                    email: Email::find(ask, id).await?,
                    outcome: outcome.into(),
                });
            }
            Ok(RerouteEmailsPayload {
                results: Some(results),
                ..Default::default()
            })
        })
        .await
    }
}
