//! Simulations of routing as clients see them. Not for: simulating (`actions::simulate_routing`).

use std::collections::HashMap;

use async_graphql::{ID, InputObject, MaybeUndefined, Object, Result, SimpleObject};

use super::context::{Ask, failed};
use super::email::{Email, EmailOutcome, RoutingTrace};
use super::error;
use super::item::{Item, ItemKind};
use super::loaders::Items;
use super::mutation::mailboxes::{MailboxSettingsInput, settings_change};
use super::paging::{ListName, PageInfo};
use super::refusal::UserError;
use super::scalars::{Cursor, DateTime};
use super::trace::shown;
use super::viewer::User;
use crate::actions::ActionError;
use crate::actions::crm_settings::UpdateCrmSettings;
use crate::actions::simulate_routing::{
    self, Lists, Routed as RoutedFields, RoutedItem as RoutedItemFields, Simulate,
    SimulatedMail as MailFields, Simulation,
};
use crate::rules::trace::items_named;
use crate::store::page::KeyPart;

/// Mails of a page: each shows two decisions with their traces.
const MAILS_MAX: i32 = 50;
/// Mails of a page when `first` is not given.
const MAILS_DEFAULT: i32 = 20;

/// Other settings of the whole installation. Absent = unchanged; lists replace.
#[derive(InputObject, Default)]
pub struct CrmSettingsInput {
    /// Whether there are leads; without, a contact and a deal are made where a lead would be.
    leads_enabled: MaybeUndefined<bool>,
    /// Addresses, domains (`example.com`) and sub-domains (`*.example.com`) from which nothing new is saved.
    exclusions: MaybeUndefined<Vec<String>>,
    /// Mails an hour from one sender after which no more items are made for it.
    sender_limit_per_hour: MaybeUndefined<i64>,
}

/// What is simulated. Settings that are not named are those of today.
#[derive(InputObject)]
pub struct SimulateRoutingInput {
    /// The mailbox.
    mailbox_id: ID,
    /// The mails received from then on; none: from the first on.
    received_since: Option<DateTime>,
    /// The mails received before; none: to the last.
    received_before: Option<DateTime>,
    /// What is changed of the mailbox's settings.
    settings: Option<MailboxSettingsInput>,
    /// What is changed of the installation's settings.
    crm_settings: Option<CrmSettingsInput>,
    /// Whether only mails that would go another way are listed.
    #[graphql(default = true)]
    only_differences: bool,
    /// How many mails are listed, 1 to 50; none: 20.
    first: Option<i32>,
    /// Those behind this cursor, of the same simulation.
    after: Option<Cursor>,
}

/// What a simulation has found.
#[derive(SimpleObject, Default)]
pub struct RoutingSimulation {
    /// How many mails were judged again: at most 5,000, those judged first.
    judged: usize,
    /// How many of them would be decided otherwise.
    differing: usize,
    /// Whether that was all mail of the period.
    is_complete: bool,
    /// The listed mails, in the order in which they were judged.
    mails: Vec<SimulatedMail>,
    /// Where this page stands.
    page_info: PageInfo,
    /// What the caller can put right; nothing was simulated then.
    user_errors: Vec<UserError>,
}

/// One mail: what was decided, and what would be.
pub struct SimulatedMail {
    ask: Ask,
    row: MailFields,
}

/// One mail: what was decided about it, and what would be.
#[Object]
impl SimulatedMail {
    /// The email; null where the viewer can no longer see it.
    async fn email(&self) -> Option<Result<Email>> {
        Email::find(&self.ask, self.row.email_id).await.transpose()
    }

    /// Whether something else would be decided: another outcome, other items, another responsible.
    async fn differs(&self) -> bool {
        self.row.differs
    }

    /// What was decided, also where people have changed it since.
    async fn was(&self) -> RoutingResult {
        self.result(&self.row.was)
    }

    /// What would be decided.
    async fn would(&self) -> RoutingResult {
        self.result(&self.row.would)
    }
}

impl SimulatedMail {
    fn result(&self, routed: &RoutedFields) -> RoutingResult {
        RoutingResult {
            ask: self.ask.clone(),
            routed: routed.clone(),
        }
    }
}

/// What is decided about a mail.
pub struct RoutingResult {
    ask: Ask,
    routed: RoutedFields,
}

impl RoutingResult {
    /// The items, as far as the viewer may read them.
    async fn readable(&self) -> Result<Vec<RoutedItem>> {
        let mut found = Vec::new();
        for item in &self.routed.items {
            let shown = match &item.simulated {
                Some((kind, title)) => Some(RoutedItem {
                    item: None,
                    kind: (*kind).into(),
                    title: title.clone(),
                    is_new: item.is_new,
                }),
                None => self.existing(item).await?,
            };
            found.extend(shown);
        }
        Ok(found)
    }

    async fn existing(&self, item: &RoutedItemFields) -> Result<Option<RoutedItem>> {
        let row = self.ask.load::<Items>(item.id).await?;
        Ok(row.map(|row| RoutedItem {
            kind: row.kind.into(),
            title: row.title.clone(),
            is_new: item.is_new,
            item: Some(Item::new(&self.ask, row)),
        }))
    }

    /// Whether the viewer may read every item of the decision.
    async fn shows_all(&self) -> Result<bool> {
        Ok(self.readable().await?.len() == self.routed.items.len())
    }

    async fn responsible_user(&self) -> Result<Option<User>> {
        let Some(primary) = self.routed.items.first() else {
            return Ok(None);
        };
        let is_shown = primary.simulated.is_some() || self.existing(primary).await?.is_some();
        match self.routed.responsible_id.filter(|_id| is_shown) {
            Some(id) => User::named(&self.ask, id).await.map(Some),
            None => Ok(None),
        }
    }

    async fn shown_trace(&self) -> Result<Option<RoutingTrace>> {
        if !self.shows_all().await? {
            return Ok(None);
        }
        let named = items_named(&self.routed.trace.steps);
        let readable = self.ask.load_all::<Items>(named).await?;
        let readable: HashMap<_, _> = readable.iter().map(|item| (item.id, item.kind)).collect();
        let trace = shown(&self.ask, &self.routed.trace, &readable);
        Ok(Some(RoutingTrace::from(&trace)))
    }
}

/// What is decided about a mail; of items, what the viewer may read.
#[Object]
impl RoutingResult {
    /// Saved, or kept unsaved for this reason.
    async fn outcome(&self) -> EmailOutcome {
        self.routed.outcome.into()
    }

    /// The items that it joins or makes, the primary one first; only those that the viewer may read.
    async fn items(&self) -> Result<Vec<RoutedItem>> {
        self.readable().await
    }

    /// Who answers for its primary item; null where it is kept unsaved, and where the viewer may not read that item.
    async fn responsible(&self) -> Option<Result<User>> {
        self.responsible_user().await.transpose()
    }

    /// Why, rule by rule; null where the viewer may not read every item of the decision.
    async fn trace(&self) -> Option<Result<RoutingTrace>> {
        self.shown_trace().await.transpose()
    }
}

/// An item that a mail joins or makes.
#[derive(SimpleObject, Clone)]
pub struct RoutedItem {
    /// The item; null: only the simulation has made it.
    item: Option<Item>,
    /// Its kind.
    kind: ItemKind,
    /// Its title.
    title: String,
    /// Whether the mail makes it.
    is_new: bool,
}

/// Simulates, and shapes the page.
///
/// # Errors
/// `BAD_USER_INPUT` for a page that can't be, `INTERNAL` where the store fails.
pub async fn simulate(ask: &Ask, input: SimulateRoutingInput) -> Result<RoutingSimulation> {
    let first = input.first.unwrap_or(MAILS_DEFAULT);
    let limit = usize::try_from(first).unwrap_or(0);
    if !(1..=MAILS_MAX).contains(&first) {
        let message = format!("`first` is between 1 and {MAILS_MAX}.");
        return Err(error::bad_input(message));
    }
    let crm = input.crm_settings.unwrap_or_default();
    let mut wish = Simulate {
        mailbox: ask.open_for_filter(&input.mailbox_id),
        since: input.received_since.map(|at| at.0),
        before: input.received_before.map(|at| at.0),
        settings: settings_change(ask, input.settings.unwrap_or_default()),
        crm: UpdateCrmSettings {
            expected_version: None,
            leads_enabled: crm.leads_enabled.into(),
            exclusions: crm.exclusions.into(),
            sender_limit_per_hour: crm.sender_limit_per_hour.into(),
        },
        lists: if input.only_differences {
            Lists::Differences
        } else {
            Lists::Everything
        },
        skip: 0,
        limit,
    };
    let list = ListName::new(
        ask.viewer().user_id,
        "simulateRouting",
        &(
            wish.mailbox,
            wish.since,
            wish.before,
            &wish.settings,
            &wish.crm,
            wish.lists,
        ),
    );
    if let Some(after) = &input.after {
        wish.skip = match list.open(ask.codec(), after)?.first() {
            Some(KeyPart::Number(skip)) => usize::try_from(*skip).unwrap_or(0),
            _ => 0,
        };
    }
    let skip = wish.skip;
    let actions = &ask.services().actions;
    match simulate_routing::simulate(actions, ask.viewer(), wish).await {
        Ok(found) => Ok(page(ask, &list, skip, found)),
        Err(ActionError::Refused(refusals)) => Ok(RoutingSimulation {
            user_errors: refusals.into_iter().map(UserError::from).collect(),
            ..RoutingSimulation::default()
        }),
        Err(ActionError::Store(error)) => Err(failed(&error)),
    }
}

fn page(ask: &Ask, list: &ListName, skip: usize, found: Simulation) -> RoutingSimulation {
    let cursor = |place: usize| {
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        list.seal(ask.codec(), &vec![KeyPart::Number(place)])
    };
    let end = skip.saturating_add(found.mails.len());
    let is_empty = found.mails.is_empty();
    RoutingSimulation {
        judged: found.judged,
        differing: found.differing,
        is_complete: found.is_complete,
        page_info: PageInfo {
            has_next_page: found.has_more,
            has_previous_page: skip > 0,
            start_cursor: (!is_empty).then(|| cursor(skip.saturating_add(1))),
            end_cursor: (!is_empty).then(|| cursor(end)),
        },
        mails: found
            .mails
            .into_iter()
            .map(|row| SimulatedMail {
                ask: ask.clone(),
                row,
            })
            .collect(),
        user_errors: Vec::new(),
    }
}
