//! One stream: read behind the cursor, tell what is there, wait.

use super::changes::{Effects, Seen};
use super::{Hub, LiveEnd, LiveEvent, Wanted};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::timeline::{Position, TimelineEntry};
use crate::model::topic::Topic;
use crate::rules::access::{self, Surface};
use crate::store::{AnyConn, Store, StoreError, items, roles, timeline};
use futures_util::stream::BoxStream;
use std::sync::Arc;

/// Entries read at once: a screenful or two; what is behind them is read when these are delivered.
const READ_ENTRIES: i64 = 200;

/// What one reading found.
pub(super) enum Step {
    /// These events, and the cursor behind them; whether there is more to read at once.
    Events {
        events: Vec<LiveEvent>,
        cursor: Position,
        viewer: Arc<Viewer>,
        is_caught_up: bool,
    },
    /// The stream ends after these events.
    End {
        events: Vec<LiveEvent>,
        end: Option<LiveEnd>,
    },
}

pub(super) fn timeline(
    store: Store,
    hub: &Hub,
    viewer: Arc<Viewer>,
    wanted: Wanted,
) -> BoxStream<'static, Result<LiveEvent, LiveEnd>> {
    // Listen first, read then: what is committed in between wakes the stream.
    let topic = wanted.item.map_or(Topic::Timeline, Topic::Item);
    let mut news = hub.listen_all([topic, Topic::Changes, Topic::Rights]);
    let wanted = Arc::new(wanted);
    Box::pin(async_stream::stream! {
        let mut viewer = viewer;
        let mut told_caught_up = false;
        let begun = store
            .read({ let (viewer, wanted) = (viewer.clone(), wanted.clone()); move |conn| begin(conn, &viewer, &wanted) })
            .await;
        let mut cursor = match begun {
            Ok(Some((cursor, None))) => cursor,
            Ok(Some((cursor, Some(gap)))) => { yield Ok(gap); cursor }
            Ok(None) => { yield Err(LiveEnd::NotFound); return }
            Err(error) => { yield Err(failed(&error)); return }
        };
        loop {
            let step = store
                .read({ let (viewer, wanted) = (viewer.clone(), wanted.clone()); move |conn| read_step(conn, viewer, &wanted, cursor) })
                .await;
            match step {
                Ok(Step::Events { events, cursor: behind, viewer: present, is_caught_up }) => {
                    for event in events { yield Ok(event); }
                    cursor = behind;
                    viewer = present;
                    if is_caught_up {
                        if !told_caught_up {
                            told_caught_up = true;
                            yield Ok(LiveEvent::CaughtUp(cursor));
                        }
                        news.wait().await;
                    }
                }
                Ok(Step::End { events, end }) => {
                    for event in events { yield Ok(event); }
                    if let Some(end) = end { yield Err(end); }
                    return;
                }
                Err(error) => { yield Err(failed(&error)); return }
            }
        }
    })
}

fn failed(error: &StoreError) -> LiveEnd {
    tracing::error!(%error, "a live timeline could not be read");
    LiveEnd::Failed
}

/// Where the stream starts, with a gap where the wanted cursor can't be honoured; `None` where the item can't be seen.
fn begin(
    conn: &mut AnyConn,
    viewer: &Viewer,
    wanted: &Wanted,
) -> Result<Option<(Position, Option<LiveEvent>)>, StoreError> {
    if let Some(item) = wanted.item {
        let scope = access::items(viewer, PermissionAction::Read);
        if items::readable(conn, &scope, &[item])?.is_empty() {
            return Ok(None);
        }
    }
    let last = timeline::last_position(conn)?;
    Ok(Some(match wanted.after {
        None => (last, None),
        Some(after) if after <= last => (after, None),
        // A cursor from the future: the database was restored from a backup.
        Some(_beyond) => (last, Some(LiveEvent::Gap(last))),
    }))
}

fn read_step(
    conn: &mut AnyConn,
    viewer: Arc<Viewer>,
    wanted: &Wanted,
    cursor: Position,
) -> Result<Step, StoreError> {
    let last = timeline::last_position(conn)?;
    // Rights as of now: what was granted or taken since the last reading holds for all that is read.
    let before = viewer.clone();
    let viewer = if roles::rights_epoch(conn)? == viewer.rights_epoch {
        viewer
    } else {
        match roles::load_viewer(conn, viewer.user_id)? {
            Some(present) => Arc::new(present),
            None => {
                return Ok(Step::End {
                    events: Vec::new(),
                    end: Some(LiveEnd::SignedOut),
                });
            }
        }
    };
    if last <= cursor {
        return Ok(Step::Events {
            events: Vec::new(),
            cursor,
            viewer,
            is_caught_up: true,
        });
    }
    let scope = access::emails(&viewer, Surface::Crm);
    let entries = timeline::between(conn, &scope, wanted.item, (cursor, last), READ_ENTRIES)?;
    let is_full = i64::try_from(entries.len()).is_ok_and(|count| count >= READ_ENTRIES);
    let horizon = match entries.last() {
        Some(entry) if is_full => entry.position,
        _ => last,
    };
    let changes = timeline::changes_between(conn, (cursor, horizon))?;
    let seen = Seen {
        before: &before,
        viewer: &viewer,
        wanted,
        cursor,
    };
    let effects = seen.effects(conn, changes)?;
    Ok(merged(entries, effects, wanted, viewer, horizon, last))
}

/// Entries and what changes did, in the order of their positions.
fn merged(
    entries: Vec<TimelineEntry>,
    effects: Effects,
    wanted: &Wanted,
    viewer: Arc<Viewer>,
    horizon: Position,
    last: Position,
) -> Step {
    let mut events: Vec<(Position, LiveEvent)> = entries
        .into_iter()
        .filter(|entry| wanted.kinds.is_empty() || wanted.kinds.contains(&entry.new.told.kind()))
        .map(|entry| {
            let at = entry.position;
            (at, LiveEvent::Added { entry, at })
        })
        .collect();
    events.extend(effects.events);
    events.sort_by_key(|(position, _event)| *position);
    if let Some((at, item)) = effects.item_lost {
        events.retain(|(position, _event)| *position < at);
        events.push((at, LiveEvent::ItemRemoved { item, at }));
    }
    let ends = effects.item_lost.is_some();
    let events = events.into_iter().map(|(_position, event)| event).collect();
    if ends {
        Step::End { events, end: None }
    } else {
        Step::Events {
            events,
            cursor: horizon,
            viewer,
            is_caught_up: horizon == last,
        }
    }
}
