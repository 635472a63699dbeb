//! To-dos are completed, reopened and postponed (R33).
//!
//! Rights: the activity must be visible in the CRM, that is one of its emails (R21), and one of the items of such an
//! email must be the viewer's to change. That they are its responsible gives nothing by itself.
//! Not for: the to-dos that saving a mail makes.

use super::acting::bad_input;
use super::fields;
use super::items::tell;
use super::{ActionResult, Actions, acting, check_version};
use crate::model::activity::{Activity, ActivityState};
use crate::model::item::ItemFacts;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::Refusal;
use crate::model::timeline::Told;
use crate::model::{ActivityId, EmailId, ItemId, Time};
use crate::rules::access;
use crate::store::{self, Tx};
use std::collections::BTreeMap;

/// A to-do to change, and the version of it that the caller read, if they say so.
#[derive(Debug, Clone, Copy)]
pub struct SeenActivity {
    pub activity_id: ActivityId,
    pub expected_version: Option<i64>,
}

impl From<ActivityId> for SeenActivity {
    /// Whatever its version is.
    fn from(activity_id: ActivityId) -> Self {
        Self {
            activity_id,
            expected_version: None,
        }
    }
}

/// Completes a to-do; one that is completed stays as it is.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `STALE`.
pub async fn complete(
    actions: &Actions,
    viewer: &Viewer,
    seen: impl Into<SeenActivity>,
    now: Time,
) -> ActionResult<ActivityId> {
    let seen = seen.into();
    let id = seen.activity_id;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let (activity, items) = visible(tx, viewer, seen)?;
            if activity.state == ActivityState::Completed {
                return Ok(id);
            }
            let completed = Activity {
                state: ActivityState::Completed,
                completed_at: Some(tx.now),
                completed_by: Some(viewer.user_id),
                version: activity.version + 1,
                ..activity
            };
            store::activity_writes::update_activity(tx, &completed)?;
            for (item, email_id) in items {
                let told = Told::ActivityCompleted {
                    activity_id: id,
                    email_id,
                };
                tell(tx, viewer, item, told);
            }
            Ok(id)
        })
        .await
}

/// Reopens a to-do; its responsible is its item's, as it is now (R31). One that is open stays as it is.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `STALE`.
pub async fn reopen(
    actions: &Actions,
    viewer: &Viewer,
    seen: impl Into<SeenActivity>,
    now: Time,
) -> ActionResult<ActivityId> {
    let seen = seen.into();
    let id = seen.activity_id;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let (activity, items) = visible(tx, viewer, seen)?;
            if activity.state == ActivityState::Scheduled {
                return Ok(id);
            }
            let responsible =
                store::activity_writes::responsible_of_message(tx, activity.message_id)?;
            let reopened = Activity {
                state: ActivityState::Scheduled,
                responsible_id: responsible.unwrap_or(activity.responsible_id),
                completed_at: None,
                completed_by: None,
                version: activity.version + 1,
                ..activity
            };
            store::activity_writes::update_activity(tx, &reopened)?;
            for (item, email_id) in items {
                let told = Told::ActivityReopened {
                    activity_id: id,
                    email_id,
                };
                tell(tx, viewer, item, told);
            }
            Ok(id)
        })
        .await
}

/// Gives an open to-do another deadline, which lies ahead.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT` for a completed one or a deadline that has passed.
pub async fn postpone(
    actions: &Actions,
    viewer: &Viewer,
    (seen, deadline): (impl Into<SeenActivity>, Time),
    now: Time,
) -> ActionResult<ActivityId> {
    let seen = seen.into();
    let id = seen.activity_id;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let (activity, _items) = visible(tx, viewer, seen)?;
            if activity.state == ActivityState::Completed {
                return Err(bad_input("activityId", "It is completed; reopen it first."));
            }
            let deadline = fields::future("deadline", deadline, tx.now)?;
            let postponed = Activity {
                deadline: Some(deadline),
                version: activity.version + 1,
                ..activity
            };
            store::activity_writes::update_activity(tx, &postponed)?;
            Ok(id)
        })
        .await
}

/// The activity, locked, with every item that it is shown on and the email there.
///
/// # Errors
/// `NOT_FOUND` where none of its emails is visible in the CRM, `FORBIDDEN` where the viewer may change none of their items.
fn visible(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    seen: SeenActivity,
) -> ActionResult<(Activity, BTreeMap<ItemId, EmailId>)> {
    let id = seen.activity_id;
    let not_found = || Refusal::not_found("activityId");
    store::activity_writes::lock(tx, id)?;
    let activity = store::activities::get(tx.conn, id)?.ok_or_else(not_found)?;
    let emails: Vec<EmailId> = store::activities::emails_of(tx.conn, &[id])?
        .into_iter()
        .map(|(_, email)| email)
        .collect();
    let links = store::links::of_emails(tx.conn, &emails)?;
    let item_ids: Vec<ItemId> = links.iter().map(|link| link.item_id).collect();
    let facts = store::items::facts(tx.conn, &item_ids)?;
    let (mut is_visible, mut is_changeable) = (false, false);
    for email in &emails {
        let linked: Vec<ItemFacts> = links
            .iter()
            .filter(|link| link.email_id == *email)
            .filter_map(|link| facts.iter().find(|facts| facts.id == link.item_id).copied())
            .collect();
        if access::sees_in_crm(viewer, &linked) {
            is_visible = true;
            is_changeable |= linked
                .iter()
                .any(|item| access::decide(viewer, PermissionAction::Update, item).is_granted());
        }
    }
    if !is_visible {
        return Err(not_found().into());
    }
    if !is_changeable {
        return Err(acting::forbidden("activityId").into());
    }
    check_version(seen.expected_version, activity.version)?;
    let mut items = BTreeMap::new();
    for link in links {
        items.entry(link.item_id).or_insert(link.email_id);
    }
    Ok((activity, items))
}
