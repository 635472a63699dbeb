//! The fields at the root of queries. Not for: how lists are read (`lists`) or what rows show.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result};

use super::activity::Counters;
use super::audit::{self, AuditEntry, AuditFilter};
use super::context::{self, Ask};
use super::draft::{self, Draft, SendingState};
use super::email::Email;
use super::error;
use super::explanation::{self, AccessExplanation};
use super::filters::{ContactFilter, DealFilter, EmailFilter, ItemOrder, LeadFilter, row_order};
use super::ids::no_item;
use super::item::{Contact, Deal, ItemKind, Lead};
use super::lists;
use super::mailbox::Mailbox;
use super::node::Node;
use super::paging::{Connection, PageArgs};
use super::quarantine::{self, QuarantinedMail};
use super::rates::{Charged, RateLimit};
use super::scalars::Cursor;
use super::search::{self, SearchConnection};
use super::settings::CrmSettings;
use super::simulation::{self, RoutingSimulation, SimulateRoutingInput};
use super::stage::Stage;
use super::template::{self, Template, TemplatePreview};
use super::thread::{self, Thread, ThreadFilter};
use super::timeline::{TimelineConnection, TimelineKind};
use super::viewer::{Department, Role, User};
use crate::model::item::ItemKind as Kind;
use crate::model::{EmailId, MailboxId};
use crate::rules::access::Surface;
use crate::rules::search::Typing;
use crate::store;

/// Ids that `nodes` takes at once: a page.
const NODES_MAX: usize = 100;

/// The root of queries.
#[derive(Default)]
pub struct Query;

/// What can be asked. Every field needs a signed-in viewer; what the viewer may not see is absent everywhere.
#[Object]
impl Query {
    /// Who is signed in.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<User> {
        let ask = Ask::of(ctx)?;
        // Whoever is signed in and has no account any more is not signed in.
        User::find(&ask, ask.viewer().user_id)
            .await?
            .ok_or_else(error::unauthenticated)
    }

    /// The thing with this id; null for a bad id, and where the viewer may not see it.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "An id of any type.")] id: ID,
    ) -> Option<Result<Node>> {
        match Ask::of(ctx) {
            Ok(ask) => Node::find(&ask, &id).await.transpose(),
            Err(error) => Some(Err(error)),
        }
    }

    /// The things with these ids, in their order; null as for `node`.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most 100 ids, of any types.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        let ask = Ask::of(ctx)?;
        if ids.len() > NODES_MAX {
            return Err(error::bad_input(format!("`ids` has at most {NODES_MAX}.")));
        }
        let found = ids.iter().map(|id| Node::find(&ask, id));
        futures_util::future::try_join_all(found).await
    }

    /// The lead with this id; null for a bad id, and where the viewer may not read it.
    async fn lead(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The lead's id.")] id: ID,
    ) -> Option<Result<Lead>> {
        let ask = match Ask::of(ctx) {
            Ok(ask) => ask,
            Err(error) => return Some(Err(error)),
        };
        let id = ask.open_item_of(Kind::Lead, &id)?;
        Lead::find(&ask, id).await.transpose()
    }

    /// The deal with this id; null for a bad id, and where the viewer may not read it.
    async fn deal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deal's id.")] id: ID,
    ) -> Option<Result<Deal>> {
        let ask = match Ask::of(ctx) {
            Ok(ask) => ask,
            Err(error) => return Some(Err(error)),
        };
        let id = ask.open_item_of(Kind::Deal, &id)?;
        Deal::find(&ask, id).await.transpose()
    }

    /// The contact with this id; null for a bad id, and where the viewer may not read it.
    async fn contact(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The contact's id.")] id: ID,
    ) -> Option<Result<Contact>> {
        let ask = match Ask::of(ctx) {
            Ok(ask) => ask,
            Err(error) => return Some(Err(error)),
        };
        let id = ask.open_item_of(Kind::Contact, &id)?;
        Contact::find(&ask, id).await.transpose()
    }

    /// The email with this id; null for a bad id, and where the viewer sees it neither in the CRM nor in a mailbox.
    async fn email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The email's id.")] id: ID,
    ) -> Option<Result<Email>> {
        let ask = match Ask::of(ctx) {
            Ok(ask) => ask,
            Err(error) => return Some(Err(error)),
        };
        let id = ask.open::<EmailId>(&id)?;
        Email::find(&ask, id).await.transpose()
    }

    /// The mailbox with this id; null for a bad id, and where the viewer neither has access to it nor may change its settings.
    async fn mailbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The mailbox's id.")] id: ID,
    ) -> Option<Result<Mailbox>> {
        let ask = match Ask::of(ctx) {
            Ok(ask) => ask,
            Err(error) => return Some(Err(error)),
        };
        let id = ask.open::<MailboxId>(&id)?;
        Mailbox::find(&ask, id).await.transpose()
    }

    /// The mailboxes that the viewer has access to or may change the settings of, by address.
    async fn mailboxes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Mailbox>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        lists::mailboxes(&Ask::of(ctx)?, page).await
    }

    /// The leads that the viewer may read.
    async fn leads(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What they are narrowed by.")] filter: Option<LeadFilter>,
        #[graphql(desc = "How they are ordered; without it, the newest come first.")]
        order_by: Option<ItemOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Lead>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let ask = Ask::of(ctx)?;
        let filter = filter.unwrap_or_default().rows(&ask)?;
        lists::items_of_kind(&ask, filter, row_order(order_by), page).await
    }

    /// The deals that the viewer may read.
    async fn deals(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What they are narrowed by.")] filter: Option<DealFilter>,
        #[graphql(desc = "How they are ordered; without it, the newest come first.")]
        order_by: Option<ItemOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Deal>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let ask = Ask::of(ctx)?;
        let filter = filter.unwrap_or_default().rows(&ask).await?;
        lists::items_of_kind(&ask, filter, row_order(order_by), page).await
    }

    /// The contacts that the viewer may read.
    async fn contacts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What they are narrowed by.")] filter: Option<ContactFilter>,
        #[graphql(desc = "How they are ordered; without it, the newest come first.")]
        order_by: Option<ItemOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Contact>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let ask = Ask::of(ctx)?;
        let filter = filter.unwrap_or_default().rows(&ask)?;
        lists::items_of_kind(&ask, filter, row_order(order_by), page).await
    }

    /// The emails that the viewer sees in the CRM or in a mailbox, newest first.
    async fn emails(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What they are narrowed by.")] filter: Option<EmailFilter>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Email>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let ask = Ask::of(ctx)?;
        let filter = filter.unwrap_or_default().rows(&ask).await?;
        lists::emails(&ask, filter, page).await
    }

    /// The conversation with this id; null for a bad id, and where the viewer sees nothing of it.
    async fn thread(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation's id.")] id: ID,
    ) -> Option<Result<Thread>> {
        match Ask::of(ctx) {
            Ok(ask) => thread::thread(&ask, &id).await.transpose(),
            Err(error) => Some(Err(error)),
        }
    }

    /// The conversations of which the viewer sees something, the one with the newest email first.
    async fn threads(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What they are narrowed by.")] filter: Option<ThreadFilter>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Thread>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let ask = Ask::of(ctx)?;
        let filter = filter.unwrap_or_default().rows(&ask).await?;
        lists::threads(&ask, filter, page).await
    }

    /// What a query finds among the emails, leads, deals and contacts that the viewer may see, the best first.
    ///
    /// All words of it are to be there, in any form of case and accents: `offer "next week" bud* -draft`, `ada or bob`.
    /// Filters narrow it: `from:ada to:bob subject:offer has:attachment in:deal in:<an item's id> mailbox:<address>
    /// before:2026-10 after:2026-10-05 is:unread`; `-` before anything excludes it. A query that can't be understood is
    /// `BAD_USER_INPUT` with the `position` of the fault, in characters from 0.
    async fn search(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "What is looked for; at most 500 characters. An empty one finds nothing."
        )]
        query: String,
        #[graphql(
            default = false,
            desc = "Whether the last word is still being typed: what begins so is found too, and what is not finished is passed over."
        )]
        is_typing: bool,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<SearchConnection> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let typing = if is_typing {
            Typing::GoingOn
        } else {
            Typing::Done
        };
        search::search_all(&Ask::of(ctx)?, &query, typing, page).await
    }

    /// The timeline of everything that the viewer may see, oldest first; page back from its end with `last`.
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of these kinds only; none given: of every kind.")] kinds: Option<
            Vec<TimelineKind>,
        >,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<TimelineConnection> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        lists::timeline(ctx, &Ask::of(ctx)?, None, kinds.unwrap_or_default(), page).await
    }

    /// Everybody with an account, by name.
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<User>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        lists::users(&Ask::of(ctx)?, page).await
    }

    /// All departments, by name.
    async fn departments(&self, ctx: &Context<'_>) -> Result<Vec<Department>> {
        let ask = Ask::of(ctx)?;
        let rows = ask
            .read(|conn, _scopes| store::users::departments(conn))
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| Department::new(&ask, Arc::new(row)))
            .collect())
    }

    /// All roles, by name.
    async fn roles(&self, ctx: &Context<'_>) -> Result<Vec<Role>> {
        let ask = Ask::of(ctx)?;
        let rows = ask.read(|conn, _scopes| store::roles::list(conn)).await?;
        Ok(rows.into_iter().map(|row| Role::new(&ask, row)).collect())
    }

    /// The stages of leads, in their order.
    async fn lead_stages(&self, ctx: &Context<'_>) -> Result<Vec<Stage>> {
        stages(&Ask::of(ctx)?, ItemKind::Lead).await
    }

    /// The stages of deals, in their order.
    async fn deal_stages(&self, ctx: &Context<'_>) -> Result<Vec<Stage>> {
        stages(&Ask::of(ctx)?, ItemKind::Deal).await
    }

    /// How much is left to do for the viewer: open to-dos of emails that they see.
    async fn counters(&self, ctx: &Context<'_>) -> Result<Counters> {
        let ask = Ask::of(ctx)?;
        let (user, now) = (ask.viewer().user_id, ask.now());
        let found = ask.read(move |conn, scopes| {
            store::activities::counters(conn, scopes.emails(Surface::Crm), user, now)
        });
        Ok(found.await?.into())
    }

    /// What this operation costs, and how much the viewer may still ask for in the running minute.
    async fn rate_limit(&self, ctx: &Context<'_>) -> Result<RateLimit> {
        context::viewer(ctx)?;
        let charged = ctx.data_opt::<Charged>().copied().unwrap_or_default();
        Ok(charged.into())
    }

    /// Saved emails that the user who is responsible for them does not see, since they may not read every item that the
    /// email is linked to, or are deactivated; newest first. Administrators only.
    async fn emails_hidden_from_responsible(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Email>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        lists::emails_hidden_from_responsible(&Ask::of(ctx)?, page).await
    }

    /// Why a user sees an item or an email, or doesn't: which role, level, item or mailbox decided. Administrators only.
    async fn explain_access(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user.")] user_id: ID,
        #[graphql(desc = "The item; or give `emailId`.")] item_id: Option<ID>,
        #[graphql(desc = "The email; or give `itemId`.")] email_id: Option<ID>,
    ) -> Option<Result<AccessExplanation>> {
        match Ask::of(ctx) {
            Ok(ask) => Some(explanation::explain_access(&ask, &user_id, (item_id, email_id)).await),
            Err(error) => Some(Err(error)),
        }
    }

    /// The audit log, newest first: changes of rights, settings, links and stages, deletions, exports, failed log-ins.
    /// Administrators only.
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is narrowed by.")] filter: Option<AuditFilter>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<AuditEntry>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        audit::log(&Ask::of(ctx)?, filter.unwrap_or_default(), page).await
    }

    /// Mails that could not be taken in, of the mailboxes that the viewer sees listed; the newest first. `retryEmail` tries
    /// one again.
    async fn quarantine(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Those of this mailbox only.")] mailbox_id: Option<ID>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<QuarantinedMail>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let ask = Ask::of(ctx)?;
        let mailbox = mailbox_id.map(|id| ask.open_for_filter::<MailboxId>(&id));
        quarantine::list(&ask, mailbox, page).await
    }

    /// The mails that the viewer writes, what was changed last first.
    async fn drafts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Those that stand there only; none: all.")] states: Option<
            Vec<SendingState>,
        >,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Draft>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        draft::list(&Ask::of(ctx)?, states.unwrap_or_default(), page).await
    }

    /// The templates that the viewer sees, by name: their own, and what is shared with them.
    async fn templates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Those behind this cursor.")] after: Option<Cursor>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Those before this cursor.")] before: Option<Cursor>,
    ) -> Result<Connection<Template>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        template::list(&Ask::of(ctx)?, page).await
    }

    /// A template filled in with what the viewer may read; null where they see no such template, item or mailbox.
    async fn preview_template(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The template.")] template_id: ID,
        #[graphql(desc = "The item whose fields it is filled with.")] item_id: Option<ID>,
        #[graphql(desc = "The mailbox that it would be sent from.")] mailbox_id: Option<ID>,
    ) -> Result<Option<TemplatePreview>> {
        let ask = Ask::of(ctx)?;
        let item = item_id.map(|id| ask.open_item(&id).map_or_else(no_item, |(_kind, id)| id));
        let mailbox = mailbox_id.map(|id| ask.open_for_filter::<MailboxId>(&id));
        let id = ask.open_for_filter(&template_id);
        template::preview(&ask, id, (item, mailbox)).await
    }

    /// What would have become of a mailbox's stored mail under other settings. Nothing is written, and no queue's turn is
    /// taken. It takes the right to change the mailbox's settings and access to its mail.
    async fn simulate_routing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: SimulateRoutingInput,
    ) -> Result<RoutingSimulation> {
        simulation::simulate(&Ask::of(ctx)?, input).await
    }

    /// The settings of the whole installation.
    async fn crm_settings(&self, ctx: &Context<'_>) -> Result<CrmSettings> {
        let ask = Ask::of(ctx)?;
        let row = ask.read(|conn, _scopes| store::settings::crm_settings(conn));
        Ok(row.await?.into())
    }
}

async fn stages(ask: &Ask, kind: ItemKind) -> Result<Vec<Stage>> {
    let rows = ask
        .read(|conn, _scopes| store::settings::stages(conn))
        .await?;
    Ok(rows
        .into_iter()
        .filter(|row| ItemKind::from(row.item_kind) == kind)
        .map(|row| Stage::new(ask, Arc::new(row)))
        .collect())
}
