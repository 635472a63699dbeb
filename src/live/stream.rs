//! One stream: read behind the cursor, tell what is there, wait. Each reading sees the database as of one moment:
//! what it says about changes holds together with what it says about entries. Entries alone are read together with all
//! who follow the same timeline; who is behind, and everybody where rights or links changed, reads alone.

use super::changes::{Effects, Seen};
use super::hub::News;
use super::patience::Patience;
use super::readings::{Needed, Shelf};
use super::{LiveEnd, LiveEvent, Wanted};
use crate::model::people::{PermissionAction, Viewer};
use crate::model::timeline::{Position, TimelineEntry};
use crate::rules::access::{self, ItemScope, Surface};
use crate::store::{AnyConn, Store, StoreError, items, roles, timeline};
use futures_util::stream::BoxStream;
use std::sync::Arc;

/// Entries read at once: a screenful or two; what is behind them is read when these are delivered.
const READ_ENTRIES: i64 = 200;
/// Entries read at once where things changed meanwhile, which is told as a whole; more are told as a gap.
const READ_ENTRIES_MAX: usize = 2_000;
/// Changes that one reading tells of; more are told as a gap.
const READ_CHANGES_MAX: i64 = 500;

/// What one reading found.
pub(super) enum Step {
    /// These events, and where the screen stands behind them; whether there is more to read at once.
    Events {
        events: Vec<LiveEvent>,
        screen: Screen,
        is_caught_up: bool,
    },
    /// The stream ends after these events.
    End {
        events: Vec<LiveEvent>,
        end: Option<LiveEnd>,
    },
}

/// What was delivered so far.
#[derive(Clone)]
pub(super) struct Screen {
    /// Everything up to here.
    cursor: Position,
    /// The viewer, as of the last reading.
    viewer: Arc<Viewer>,
    /// What the viewer could read when the screen was filled; `None`: somebody else filled it.
    filled_under: Option<ItemScope>,
}

pub(super) fn timeline(
    store: Store,
    (shelf, mut news): (Arc<Shelf>, News),
    viewer: Arc<Viewer>,
    wanted: Wanted,
) -> BoxStream<'static, Result<LiveEvent, LiveEnd>> {
    let wanted = Arc::new(wanted);
    Box::pin(async_stream::stream! {
        let mut told_caught_up = false;
        let begun = store
            .read_at_once({ let wanted = wanted.clone(); move |conn| begin(conn, viewer, &wanted) })
            .await;
        let mut screen = match begun {
            Ok(Begun::At(screen, None)) => screen,
            Ok(Begun::At(screen, Some(gap))) => { yield Ok(gap); screen }
            Ok(Begun::Refused(end)) => { yield Err(end); return }
            Err(error) => { yield Err(failed(&error)); return }
        };
        let mut needed = None;
        let mut patience = Patience::default();
        loop {
            let step = match needed.take() {
                Some(needed) => with_others(&shelf, &screen, &wanted, needed).await,
                None => Ok(None),
            };
            let step = match step {
                Ok(None) => store
                    .read_at_once({ let (screen, wanted) = (screen.clone(), wanted.clone()); move |conn| read_step(conn, screen, &wanted) })
                    .await,
                Ok(Some(step)) => Ok(step),
                Err(error) => Err(error),
            };
            match step {
                Ok(Step::Events { events, screen: behind, is_caught_up }) => {
                    patience.rests();
                    for event in events { yield Ok(event); }
                    screen = behind;
                    if is_caught_up {
                        if !told_caught_up {
                            told_caught_up = true;
                            yield Ok(LiveEvent::CaughtUp(screen.cursor));
                        }
                        let is_news = news.wait().await;
                        needed = Some(Needed::after(&news, is_news));
                    }
                }
                Ok(Step::End { events, end }) => {
                    for event in events { yield Ok(event); }
                    if let Some(end) = end { yield Err(end); }
                    return;
                }
                // Its cursor says from where it goes on.
                Err(error) if patience.bears(&error).await => {}
                Err(error) => { yield Err(failed(&error)); return }
            }
        }
    })
}

/// What is told to all who follow the timeline, as far as this viewer sees it; `None`: the viewer has to read alone.
async fn with_others(
    shelf: &Arc<Shelf>,
    screen: &Screen,
    wanted: &Wanted,
    needed: Needed,
) -> Result<Option<Step>, StoreError> {
    let Screen { cursor, viewer, .. } = screen;
    let found = shelf.look(viewer, *cursor, needed).await?;
    Ok(found.map(|found| {
        let events = found
            .entries(*cursor)
            .into_iter()
            .filter(|(entry, _about)| is_wanted(entry, wanted))
            .map(|(entry, about)| LiveEvent::Added {
                at: entry.position,
                about: Some(about),
                entry,
            })
            .collect();
        Step::Events {
            events,
            screen: Screen {
                // This stream may have read on alone since.
                cursor: found.last().max(*cursor),
                ..screen.clone()
            },
            is_caught_up: true,
        }
    }))
}

fn is_wanted(entry: &TimelineEntry, wanted: &Wanted) -> bool {
    wanted.kinds.is_empty() || wanted.kinds.contains(&entry.new.told.kind())
}

fn failed(error: &StoreError) -> LiveEnd {
    tracing::error!(%error, "a live timeline could not be read");
    LiveEnd::Failed
}

/// How a stream begins.
enum Begun {
    /// From here, with a gap where the wanted cursor can't be honoured.
    At(Screen, Option<LiveEvent>),
    /// Not at all.
    Refused(LiveEnd),
}

/// The viewer with the rights of now; `None` once the account is deactivated.
fn present_viewer(
    conn: &mut AnyConn,
    viewer: Arc<Viewer>,
) -> Result<Option<Arc<Viewer>>, StoreError> {
    if roles::rights_epoch(conn)? == viewer.rights_epoch {
        return Ok(Some(viewer));
    }
    Ok(roles::load_viewer(conn, viewer.user_id)?.map(Arc::new))
}

fn begin(conn: &mut AnyConn, viewer: Arc<Viewer>, wanted: &Wanted) -> Result<Begun, StoreError> {
    // Rights may have gone since the session was opened.
    let Some(viewer) = present_viewer(conn, viewer)? else {
        return Ok(Begun::Refused(LiveEnd::SignedOut));
    };
    let scope = access::items(&viewer, PermissionAction::Read);
    if let Some(item) = wanted.item
        && items::readable(conn, &scope, &[item])?.is_empty()
    {
        return Ok(Begun::Refused(LiveEnd::NotFound));
    }
    let last = timeline::last_position(conn)?;
    let from_now = Screen {
        cursor: last,
        viewer,
        filled_under: Some(scope),
    };
    Ok(match wanted.after {
        None => Begun::At(from_now, None),
        Some(after) if after <= last => {
            let screen = Screen {
                cursor: after,
                filled_under: None,
                ..from_now
            };
            Begun::At(screen, None)
        }
        // A cursor from the future: the database was restored from a backup.
        Some(_beyond) => Begun::At(from_now, Some(LiveEvent::Gap(last))),
    })
}

fn read_step(conn: &mut AnyConn, screen: Screen, wanted: &Wanted) -> Result<Step, StoreError> {
    let last = timeline::last_position(conn)?;
    // Rights as of now: what was granted or taken since the last reading holds for all that is read.
    let Some(viewer) = present_viewer(conn, screen.viewer)? else {
        return Ok(Step::End {
            events: Vec::new(),
            end: Some(LiveEnd::SignedOut),
        });
    };
    let cursor = screen.cursor;
    let scope = access::items(&viewer, PermissionAction::Read);
    let rights_may_differ = screen.filled_under.as_ref() != Some(&scope);
    let caught_up = |events, viewer| Step::Events {
        events,
        screen: Screen {
            cursor: last,
            viewer,
            filled_under: Some(scope.clone()),
        },
        is_caught_up: true,
    };
    if last <= cursor {
        return Ok(caught_up(Vec::new(), viewer));
    }
    let limit = READ_CHANGES_MAX.saturating_add(1);
    let changes = timeline::changes_between(conn, (cursor, last), limit)?;
    let seen = Seen {
        viewer: &viewer,
        wanted,
        cursor,
        rights_may_differ,
    };
    let too_many = i64::try_from(changes.len()).is_ok_and(|count| count > READ_CHANGES_MAX);
    let effects = if too_many {
        Effects::Gap
    } else {
        seen.effects(conn, &changes)?
    };
    let told = match effects {
        Effects::Told(events) => events,
        Effects::Gap => return Ok(caught_up(vec![LiveEvent::Gap(last)], viewer)),
        Effects::ItemLost(removed) => {
            return Ok(Step::End {
                events: vec![removed],
                end: None,
            });
        }
    };
    let Some((entries, horizon)) =
        read_entries(conn, &viewer, (wanted, cursor), (last, !changes.is_empty()))?
    else {
        return Ok(caught_up(vec![LiveEvent::Gap(last)], viewer));
    };
    let events = merged(entries, told, wanted);
    if horizon == last {
        return Ok(caught_up(events, viewer));
    }
    Ok(Step::Events {
        events,
        // Nothing changed up to `last`, the rights neither.
        screen: Screen {
            cursor: horizon,
            viewer,
            filled_under: Some(scope.clone()),
        },
        is_caught_up: false,
    })
}

/// The visible entries behind the cursor, and how far they go: to the last, or where nothing changed meanwhile as many
/// as are read at once. `None`: things changed, and there are too many.
fn read_entries(
    conn: &mut AnyConn,
    viewer: &Viewer,
    (wanted, cursor): (&Wanted, Position),
    (last, is_whole): (Position, bool),
) -> Result<Option<(Vec<TimelineEntry>, Position)>, StoreError> {
    let scope = access::emails(viewer, Surface::Crm);
    let mut found: Vec<TimelineEntry> = Vec::new();
    loop {
        let behind = found.last().map_or(cursor, |entry| entry.position);
        let page = timeline::between(conn, &scope, wanted.item, (behind, last), READ_ENTRIES)?;
        let is_full = i64::try_from(page.len()).is_ok_and(|count| count >= READ_ENTRIES);
        found.extend(page);
        match found.last() {
            Some(entry) if is_full && !is_whole => {
                let horizon = entry.position;
                return Ok(Some((found, horizon)));
            }
            Some(_) if is_full && found.len() >= READ_ENTRIES_MAX => return Ok(None),
            Some(_) if is_full => {}
            _ => return Ok(Some((found, last))),
        }
    }
}

/// Entries and what changes did, in the order of their positions.
fn merged(
    entries: Vec<TimelineEntry>,
    told: Vec<(Position, LiveEvent)>,
    wanted: &Wanted,
) -> Vec<LiveEvent> {
    let mut events: Vec<(Position, LiveEvent)> = entries
        .into_iter()
        .filter(|entry| is_wanted(entry, wanted))
        .map(|entry| {
            let at = entry.position;
            let added = LiveEvent::Added {
                entry: Arc::new(entry),
                at,
                about: None,
            };
            (at, added)
        })
        .collect();
    events.extend(told);
    events.sort_by_key(|(position, _event)| *position);
    events.into_iter().map(|(_position, event)| event).collect()
}
