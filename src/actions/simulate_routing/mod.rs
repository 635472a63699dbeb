//! What would have become of the stored mail of a mailbox under other settings (R20). Nothing is written and no queue's
//! pointer moves: turns are taken in memory.
//!
//! The mails of a period are judged again in the order in which they were judged, from the facts in their traces: the
//! sender's counts, the folders, who was active, what the client had. Where the simulation has decided something else
//! before, the facts are changed accordingly (`world`): items that it did not make are not there, those that it made
//! are, and the queue goes on from its own turns. A mail that was kept before its client was looked at has no such facts
//! in its trace; then the client's items are those of today that were there when it was judged.
//!
//! What people did is not simulated: a mail that somebody saved by hand stays there, and items are open or closed as they
//! were. Nor is what follows from saving: contacts from vCards, and marked addresses.
//! Under the settings by which the mails were judged nothing differs.

mod replay;
mod world;

use super::crm_settings::{self, UpdateCrmSettings};
use super::mailbox_settings::{self, SettingsChange, within_settings};
use super::{ActionResult, Actions, acting, fields};
use crate::actions::ingest::facts::Context;
use crate::model::email::{EmailOutcome, RoutingTrace};
use crate::model::item::ItemKind;
use crate::model::people::Viewer;
use crate::model::refusal::Refusal;
use crate::model::{EmailId, ItemId, MailboxId, Time, UserId};
use crate::rules::access;
use crate::store::{self, AnyConn, StoreError, emails};
use replay::Replay;
use std::collections::BTreeSet;

/// Mails of one simulation: some weeks of a busy mailbox. More would come near the ten seconds that a query may take.
pub const MAILS_MAX: i64 = 5_000;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Simulate {
    pub mailbox: MailboxId,
    /// The mails received from then on; `None`: all.
    pub since: Option<Time>,
    /// The mails received before; `None`: all.
    pub before: Option<Time>,
    /// What is changed of the mailbox's present settings.
    pub settings: SettingsChange,
    /// What is changed of the installation's present settings.
    pub crm: UpdateCrmSettings,
    /// Whether mails that would go the same way are listed too.
    pub lists: Lists,
    /// Listed mails that are passed over.
    pub skip: usize,
    /// Listed mails that are given.
    pub limit: usize,
}

/// Which mails a simulation lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    Differences,
    Everything,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulation {
    /// How many mails were judged again.
    pub judged: usize,
    /// How many of them would be decided otherwise.
    pub differing: usize,
    /// `false`: the period holds more than [`MAILS_MAX`] mails; those judged first were taken.
    pub is_complete: bool,
    /// A page of the listed mails.
    pub mails: Vec<SimulatedMail>,
    /// Whether more are listed after them.
    pub has_more: bool,
}

/// One mail: what was decided, and what would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedMail {
    pub email_id: EmailId,
    pub differs: bool,
    pub was: Routed,
    pub would: Routed,
}

/// What is decided about a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    pub outcome: EmailOutcome,
    /// The primary one first.
    pub items: Vec<RoutedItem>,
    /// The primary item's.
    pub responsible_id: Option<UserId>,
    pub trace: RoutingTrace,
}

/// An item that a mail joins or makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutedItem {
    /// Below zero: an item that only the simulation has made.
    pub id: ItemId,
    pub is_new: bool,
    /// Of an item that only the simulation has made: its kind and title.
    pub simulated: Option<(ItemKind, String)>,
}

/// Simulates. It takes the right to change the mailbox's settings (R25) and access to its mail (R22).
///
/// # Errors
/// `NOT_FOUND` where the mailbox is not listed for the viewer, `FORBIDDEN`, `BAD_INPUT` for settings that can't be.
pub async fn simulate(
    actions: &Actions,
    viewer: &Viewer,
    wish: Simulate,
) -> ActionResult<Simulation> {
    let (store, viewer) = (actions.store.clone(), viewer.clone());
    let joined = tokio::task::spawn_blocking(move || {
        let mut simulated = None;
        let read = store.read_now(|conn| {
            simulated = Some(simulate_now(conn, &viewer, wish));
            Ok(())
        });
        read?;
        simulated.unwrap_or_else(|| Err(StoreError::Unavailable("not read".to_owned()).into()))
    });
    joined
        .await
        .unwrap_or_else(|error| Err(StoreError::Database(error.to_string()).into()))
}

fn simulate_now(conn: &mut AnyConn, viewer: &Viewer, wish: Simulate) -> ActionResult<Simulation> {
    check_rights(conn, viewer, wish.mailbox)?;
    let missing = || Refusal::not_found("mailboxId");
    let present = store::mailboxes::settings(conn, wish.mailbox)?.ok_or_else(missing)?;
    let settings = mailbox_settings::changed(conn, &present, wish.settings.clone())
        .map_err(within_settings)?;
    let crm = store::settings::crm_settings(conn)?;
    let crm = crm_settings::changed(&crm, wish.crm.clone()).map_err(within_crm_settings)?;
    let mut mails = emails::judged(conn, wish.mailbox, (wish.since, wish.before), MAILS_MAX + 1)?;
    let most = usize::try_from(MAILS_MAX).unwrap_or(usize::MAX);
    let is_complete = mails.len() <= most;
    mails.truncate(most);
    let mut context = Context::load(conn, wish.mailbox, &BTreeSet::new())?.ok_or_else(missing)?;
    context.settings = settings;
    context.crm = crm;
    let mut replay = Replay::new(conn, context, &mails)?;
    let mut found = Simulation {
        judged: mails.len(),
        differing: 0,
        is_complete,
        mails: Vec::new(),
        has_more: false,
    };
    let mut listed = 0_usize;
    for mail in mails {
        let simulated = replay.judge(mail)?;
        found.differing += usize::from(simulated.differs);
        if simulated.differs || wish.lists == Lists::Everything {
            listed += 1;
            if listed > wish.skip && found.mails.len() < wish.limit {
                found.mails.push(simulated);
            }
        }
    }
    found.has_more = listed > wish.skip.saturating_add(found.mails.len());
    Ok(found)
}

fn check_rights(conn: &mut AnyConn, viewer: &Viewer, id: MailboxId) -> ActionResult<()> {
    let mailbox = store::mailboxes::listed(conn, &access::mailboxes(viewer), &[id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("mailboxId"))?;
    let reads_mail =
        !store::mailboxes::listed(conn, &access::mailboxes_with_mail(viewer), &[id])?.is_empty();
    if reads_mail && access::may_change_mailbox_settings(viewer, mailbox.connector_id) {
        Ok(())
    } else {
        Err(acting::forbidden("mailboxId").into())
    }
}

fn within_crm_settings(error: super::ActionError) -> super::ActionError {
    match error {
        super::ActionError::Refused(refusals) => super::ActionError::Refused(
            refusals
                .into_iter()
                .map(fields::within(&["crmSettings"]))
                .collect(),
        ),
        other => other,
    }
}
