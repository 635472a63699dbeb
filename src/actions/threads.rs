//! Conversations are split and merged by hand (R40), with a history and the way back. Who does it may change what is moved:
//! has access to its mailbox, or may update every item that it hangs on. Only what they see is moved, so that nothing
//! tells of what is hidden (R27).
//! Not for: the threads that mails find by themselves (that is `rules::threading`), or links to items, which stay.

use super::{ActionResult, Actions, acting, audit, idempotency};
use crate::model::email::ThreadChangeKind;
use crate::model::item::ItemFacts;
use crate::model::people::{PermissionAction, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{EmailId, ItemId, MessageId, ThreadChangeId, ThreadId, Time};
use crate::rules::access::{self, Surface};
use crate::store::threads::{self, Messages};
use crate::store::{self, Tx};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Emails of a thread of which something is moved: more than any conversation has.
const EMAILS_MAX: usize = 500;
/// Emails that are split off at once: as many as a list of an input may have.
const SPLIT_MAX: usize = 250;
/// Emails of what is taken back: as many as a merge moves.
const UNDONE_EMAILS_MAX: i64 = 10_000;
/// Threads that are merged into another at once.
const THREADS_MAX: usize = 20;

/// Emails that are to be a conversation of their own.
#[derive(Debug, Clone, Serialize)]
pub struct SplitThread {
    pub email_ids: Vec<EmailId>,
}

/// Conversations that are one.
#[derive(Debug, Clone, Serialize)]
pub struct MergeThreads {
    pub thread_id: ThreadId,
    pub merge_thread_ids: Vec<ThreadId>,
}

/// What a change of threads made.
pub type Changed = (ThreadId, ThreadChangeId);

/// Gives emails of one thread a thread of their own.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT` for emails of several threads, or all of one.
pub async fn split(
    actions: &Actions,
    viewer: &Viewer,
    input: SplitThread,
    key: Option<String>,
    now: Time,
) -> ActionResult<Changed> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let done = idempotency::once(tx, viewer, "splitThread", key.as_deref(), &hash, |tx| {
                split_once(tx, viewer, &input)
            })?;
            changed(&done)
        })
        .await
}

/// Moves what the viewer sees of some threads into another.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `BAD_INPUT` for too many.
pub async fn merge(
    actions: &Actions,
    viewer: &Viewer,
    input: MergeThreads,
    key: Option<String>,
    now: Time,
) -> ActionResult<Changed> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let done =
                idempotency::once(tx, viewer, "mergeThreads", key.as_deref(), &hash, |tx| {
                    merge_once(tx, viewer, &input)
                })?;
            changed(&done)
        })
        .await
}

/// Takes a split or a merge back, as far as the viewer sees what it moved.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `CHANGED_SINCE` where it was taken back, or something of it has gone elsewhere since.
pub async fn undo(
    actions: &Actions,
    viewer: &Viewer,
    id: ThreadChangeId,
    key: Option<String>,
    now: Time,
) -> ActionResult<ThreadChangeId> {
    let hash = idempotency::input_hash(&id)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let name = "undoThreadChange";
            let done = idempotency::once(tx, viewer, name, key.as_deref(), &hash, |tx| {
                undo_once(tx, viewer, id)?;
                Ok(vec![id.0])
            })?;
            Ok(ThreadChangeId(idempotency::first(&done)?))
        })
        .await
}

fn changed(done: &[i64]) -> ActionResult<Changed> {
    let thread = idempotency::first(done)?;
    let change = idempotency::nth(done, 1)?;
    Ok((ThreadId(thread), ThreadChangeId(change)))
}

/// Emails that a viewer sees, by message.
type Seen = BTreeMap<MessageId, BTreeSet<EmailId>>;

/// What the viewer sees of a thread.
fn seen_of_thread(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    thread: ThreadId,
    field: &str,
) -> ActionResult<Seen> {
    let scope = access::emails(viewer, Surface::Either);
    let limit = i64::try_from(EMAILS_MAX.saturating_add(1)).unwrap_or(i64::MAX);
    let rows = threads::seen_messages(tx.conn, &scope, &Messages::OfThread(thread), limit)?;
    if rows.len() > EMAILS_MAX {
        let message = format!("The conversation has more than {EMAILS_MAX} emails.");
        return Err(acting::bad_input(field, message));
    }
    let mut seen = Seen::new();
    for (message, email, _thread) in rows {
        seen.entry(message).or_default().insert(email);
    }
    if seen.is_empty() {
        return Err(Refusal::not_found(field).into());
    }
    Ok(seen)
}

/// Refuses whoever may not change all of these: through access to the mailbox, or update on every item.
fn require_change(tx: &mut Tx<'_>, viewer: &Viewer, seen: &Seen, field: &str) -> ActionResult<()> {
    let ids: Vec<EmailId> = seen.values().flatten().copied().collect();
    let in_mailboxes = access::emails(viewer, Surface::Mailbox);
    let own: HashSet<EmailId> = store::emails::visible(tx.conn, &in_mailboxes, &ids)?
        .into_iter()
        .map(|email| email.id)
        .collect();
    let others: Vec<EmailId> = ids.into_iter().filter(|id| !own.contains(id)).collect();
    let items: BTreeSet<ItemId> = store::links::of_emails(tx.conn, &others)?
        .into_iter()
        .map(|link| link.item_id)
        .collect();
    let items: Vec<ItemId> = items.into_iter().collect();
    let may =
        |facts: &ItemFacts| access::decide(viewer, PermissionAction::Update, facts).is_granted();
    if store::items::facts(tx.conn, &items)?.iter().all(may) {
        Ok(())
    } else {
        Err(acting::forbidden(field).into())
    }
}

fn split_once(tx: &mut Tx<'_>, viewer: &Viewer, input: &SplitThread) -> ActionResult<Vec<i64>> {
    let field = "emailIds";
    if input.email_ids.is_empty() || input.email_ids.len() > SPLIT_MAX {
        let message = format!("Give 1 to {SPLIT_MAX} emails.");
        return Err(acting::bad_input(field, message));
    }
    let scope = access::emails(viewer, Surface::Either);
    let emails = store::emails::visible(tx.conn, &scope, &input.email_ids)?;
    let found: HashSet<EmailId> = emails.iter().map(|email| email.id).collect();
    let first = emails.first().ok_or_else(|| Refusal::not_found(field))?;
    if !input.email_ids.iter().all(|id| found.contains(id)) {
        return Err(Refusal::not_found(field).into());
    }
    if emails
        .iter()
        .any(|email| email.thread_id != first.thread_id)
    {
        return Err(acting::bad_input(
            field,
            "They are of several conversations.",
        ));
    }
    let mut seen = seen_of_thread(tx, viewer, first.thread_id, field)?;
    let wanted: BTreeSet<MessageId> = emails.iter().map(|email| email.message_id).collect();
    let all = seen.len();
    seen.retain(|message, _emails| wanted.contains(message));
    if seen.len() == all {
        return Err(acting::bad_input(field, "They are the whole conversation."));
    }
    require_change(tx, viewer, &seen, field)?;
    let moved = hold(tx, &seen, first.thread_id, field)?;
    let into = threads::insert(tx, &first.subject)?;
    record(tx, viewer, ThreadChangeKind::Split, into, &moved)
}

fn merge_once(tx: &mut Tx<'_>, viewer: &Viewer, input: &MergeThreads) -> ActionResult<Vec<i64>> {
    let field = "mergeThreadIds";
    let others: BTreeSet<ThreadId> = input.merge_thread_ids.iter().copied().collect();
    if others.is_empty() || others.len() > THREADS_MAX || others.contains(&input.thread_id) {
        let message = format!("Give 1 to {THREADS_MAX} other conversations.");
        return Err(acting::bad_input(field, message));
    }
    let target = seen_of_thread(tx, viewer, input.thread_id, "threadId")?;
    let mut parts = Vec::new();
    for thread in others {
        parts.push((thread, seen_of_thread(tx, viewer, thread, field)?));
    }
    require_change(tx, viewer, &target, "threadId")?;
    for (_thread, seen) in &parts {
        require_change(tx, viewer, seen, field)?;
    }
    let mut moved = Vec::new();
    for (thread, seen) in &parts {
        moved.extend(hold(tx, seen, *thread, field)?);
    }
    record(tx, viewer, ThreadChangeKind::Merge, input.thread_id, &moved)
}

/// Locks the messages, which must still be in the thread that they were seen in.
fn hold(
    tx: &mut Tx<'_>,
    seen: &Seen,
    thread: ThreadId,
    field: &str,
) -> ActionResult<Vec<(MessageId, ThreadId)>> {
    let ids: Vec<MessageId> = seen.keys().copied().collect();
    let locked = threads::lock_messages(tx, &ids)?;
    if ids.iter().any(|id| locked.get(id) != Some(&thread)) {
        let message = "The conversation was changed at this moment; try again.";
        return Err(Refusal::at(ErrorCode::Stale, field, message).into());
    }
    Ok(ids.into_iter().map(|id| (id, thread)).collect())
}

fn record(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    kind: ThreadChangeKind,
    into: ThreadId,
    moved: &[(MessageId, ThreadId)],
) -> ActionResult<Vec<i64>> {
    threads::move_messages(tx, moved, |_message, _from| into)?;
    let change = threads::insert_change(tx, kind, viewer.user_id, into, moved)?;
    let verb = match kind {
        ThreadChangeKind::Split => "splitThread",
        ThreadChangeKind::Merge => "mergeThreads",
    };
    let detail = json!({ "messages": moved.len(), "change": change.0 });
    let about = format!("thread {}", into.0);
    audit::record(tx, Some(viewer.user_id), verb, &about, &detail)?;
    Ok(vec![into.0, change.0])
}

fn undo_once(tx: &mut Tx<'_>, viewer: &Viewer, id: ThreadChangeId) -> ActionResult<()> {
    let field = "threadChangeId";
    let scope = access::emails(viewer, Surface::Either);
    let change =
        threads::visible_change(tx.conn, &scope, id)?.ok_or_else(|| Refusal::not_found(field))?;
    let moved = threads::moved_by(tx.conn, id)?;
    let all: Vec<MessageId> = moved.iter().map(|(message, _from)| *message).collect();
    let limit = UNDONE_EMAILS_MAX;
    let rows = threads::seen_messages(tx.conn, &scope, &Messages::These(all), limit)?;
    let mut seen = Seen::new();
    for (message, email, _thread) in rows {
        seen.entry(message).or_default().insert(email);
    }
    require_change(tx, viewer, &seen, field)?;
    // What they don't see stays where it is, and can be taken back by who sees it.
    let is_seen = |(message, _from): &(MessageId, ThreadId)| seen.contains_key(message);
    let (moved, hidden): (Vec<_>, Vec<_>) = moved.into_iter().partition(is_seen);
    let ids: Vec<MessageId> = moved.iter().map(|(message, _from)| *message).collect();
    let hidden: Vec<MessageId> = hidden.iter().map(|(message, _from)| *message).collect();
    let locked = threads::lock_messages(tx, &ids)?;
    if !hidden.is_empty() {
        threads::part_change(tx, &change, &hidden)?;
    }
    let is_there = ids.iter().all(|id| locked.get(id) == Some(&change.to));
    if !is_there || !threads::update_undone(tx, id)? {
        let message = "Something of it was taken back or moved since.";
        return Err(Refusal::at(ErrorCode::ChangedSince, field, message).into());
    }
    let back: BTreeMap<MessageId, ThreadId> = moved.iter().copied().collect();
    let now: Vec<(MessageId, ThreadId)> = ids.iter().map(|id| (*id, change.to)).collect();
    threads::move_messages(tx, &now, |message, there| {
        back.get(&message).copied().unwrap_or(there)
    })?;
    let about = format!("thread {}", change.to.0);
    let detail = json!({ "change": id.0 });
    audit::record(
        tx,
        Some(viewer.user_id),
        "undoThreadChange",
        &about,
        &detail,
    )?;
    Ok(())
}
