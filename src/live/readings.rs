//! One reading for all who follow a timeline: what lies behind a position, read once for this process, and judged for
//! each viewer in memory. Not for: what changes do to a screen, or how a stream begins; there each reads for itself.

use super::About;
use super::hub::{Hub, News, Wakes};
use crate::model::email::Email;
use crate::model::item::{Item, ItemFacts};
use crate::model::people::Viewer;
use crate::model::timeline::{Position, TimelineEntry};
use crate::model::{EmailId, ItemId};
use crate::rules::access;
use crate::store::{AnyConn, Store, StoreError, emails, items, links, roles, timeline};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Entries that one reading holds: whoever has more to read is behind, and reads for itself.
const ENTRIES_MAX: i64 = 200;
/// Who was woken by the clock alone wants a reading that is no older than this.
const OLD: Duration = Duration::from_secs(1);
/// What was judged this long ago is judged again before it is shown.
const JUDGED_LONG_AGO: Duration = Duration::from_millis(50);
/// Readings before this one whose lines it has too, for who is a little behind.
const PARTS_MAX: usize = 16;

/// What lies behind a position on a timeline, as of one moment, whoever asks.
pub(super) struct Reading {
    /// What comes behind this is here.
    behind: Position,
    /// Up to here.
    last: Position,
    /// Nothing took an entry off any screen between here and `last`.
    unchanged_since: Position,
    /// The epoch of rights at that moment: viewers of another are to be loaded anew.
    rights_epoch: i64,
    /// In the order of their positions.
    parts: Vec<Arc<Part>>,
    began: Began,
}

/// What one statement found.
struct Part {
    behind: Position,
    lines: Vec<Line>,
}

/// When a reading began.
#[derive(Clone, Copy)]
struct Began {
    /// It has all that wake-ups up to this number told of.
    heard: u64,
    at: Instant,
}

/// An entry with all that says who sees it.
struct Line {
    entry: Arc<TimelineEntry>,
    item: Arc<Item>,
    /// The email that the entry can't be shown without.
    email: Option<Arc<Email>>,
    facts: ItemFacts,
    /// The items that this email hangs on.
    linked: Option<Vec<ItemFacts>>,
}

/// What a reading must be to do.
#[derive(Clone, Copy)]
pub(super) struct Needed {
    /// It has what this wake-up told of.
    heard: u64,
    /// It began since then.
    since: Option<Instant>,
}

impl Needed {
    /// For a stream that these news woke; without news it was the clock, and only a present reading will do.
    pub fn after(news: &News, is_news: bool) -> Self {
        Self {
            heard: news.last(),
            since: if is_news {
                None
            } else {
                Instant::now().checked_sub(OLD)
            },
        }
    }
}

impl Reading {
    /// Who is behind it has to read alone.
    fn forget(&mut self) {
        self.parts.clear();
        self.behind = self.last;
    }

    fn does(&self, needed: &Needed) -> bool {
        self.began.heard >= needed.heard && needed.since.is_none_or(|since| self.began.at >= since)
    }
}

/// The timelines of this process that somebody follows; `None` is that of everything.
#[derive(Default)]
pub(super) struct Shelves(Mutex<HashMap<Option<ItemId>, Weak<Shelf>>>);

/// The latest reading of a timeline, for all who follow it.
pub(super) struct Shelf {
    store: Store,
    item: Option<ItemId>,
    wakes: Arc<Wakes>,
    latest: watch::Sender<Option<Arc<Reading>>>,
    /// Held by whoever reads.
    reader: tokio::sync::Mutex<()>,
}

impl Shelves {
    /// The shelf of this timeline.
    pub fn shelf(&self, store: &Store, hub: &Hub, item: Option<ItemId>) -> Arc<Shelf> {
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.get(&item).and_then(Weak::upgrade) {
            return shelf;
        }
        // Those that nobody uses any more go when there is no room left: there are never many more than are used.
        if shelves.len() == shelves.capacity() {
            shelves.retain(|_item, shelf| shelf.strong_count() > 0);
        }
        let shelf = Arc::new(Shelf {
            store: store.clone(),
            item,
            wakes: hub.wakes(),
            latest: watch::Sender::new(None),
            reader: tokio::sync::Mutex::default(),
        });
        shelves.insert(item, Arc::downgrade(&shelf));
        shelf
    }
}

impl Shelf {
    /// What there is behind the viewer's cursor; `None` where they have to read alone: rights or links changed, or it is too
    /// much.
    ///
    /// # Errors
    /// What the database says.
    pub async fn look(
        self: &Arc<Self>,
        viewer: &Arc<Viewer>,
        cursor: Position,
        needed: Needed,
    ) -> Result<Option<Found>, StoreError> {
        let reading = self.reading(cursor, needed).await?;
        let is_for_me = reading.behind <= cursor && reading.rights_epoch == viewer.rights_epoch;
        Ok(is_for_me.then(|| Found {
            reading,
            viewer: Arc::clone(viewer),
            shelf: Arc::clone(self),
        }))
    }

    /// A reading that does: the latest, or else a new one from where that ended, which the others find here. Where there
    /// is none that goes as far as `cursor`, it begins there.
    ///
    /// # Errors
    /// What the database says.
    async fn reading(&self, cursor: Position, needed: Needed) -> Result<Arc<Reading>, StoreError> {
        let mut latest = self.latest.subscribe();
        loop {
            let before = latest.borrow_and_update().clone();
            if let Some(reading) = &before
                && reading.does(&needed)
            {
                return Ok(Arc::clone(reading));
            }
            tokio::select! {
                biased;
                // The shelf holds the sender.
                _ = latest.changed() => {}
                _reading = self.reader.lock() => {
                    if latest.has_changed().unwrap_or(false) {
                        continue;
                    }
                    let read = self.read_on(before, cursor).await?;
                    self.latest.send_replace(Some(Arc::clone(&read)));
                    return Ok(read);
                }
            }
        }
    }

    async fn read_on(
        &self,
        before: Option<Arc<Reading>>,
        cursor: Position,
    ) -> Result<Arc<Reading>, StoreError> {
        let before = before.filter(|reading| reading.last >= cursor);
        let began = Began {
            heard: self.wakes.last(),
            at: Instant::now(),
        };
        let item = self.item;
        let read = self
            .store
            .read_at_once(move |conn| read(conn, item, (cursor, before.as_deref()), began));
        read.await.map(Arc::new)
    }
}

/// What there is on a timeline for one who follows it.
pub(super) struct Found {
    reading: Arc<Reading>,
    viewer: Arc<Viewer>,
    shelf: Arc<Shelf>,
}

impl Found {
    /// Up to where it was read.
    pub fn last(&self) -> Position {
        self.reading.last
    }

    /// The entries behind the cursor that the viewer sees, with what they are about.
    pub fn entries(&self, cursor: Position) -> Vec<(Arc<TimelineEntry>, About)> {
        let lines = self.reading.parts.iter().flat_map(|part| &part.lines);
        lines
            .filter(|line| line.entry.position > cursor)
            .filter(|line| access::sees_entry(&self.viewer, &line.facts, line.linked.as_deref()))
            .map(|line| {
                let about = About {
                    viewer: Arc::clone(&self.viewer),
                    item: Arc::clone(&line.item),
                    email: line.email.clone(),
                    judged: Judged {
                        began: self.reading.began,
                        at: self.reading.last,
                        rights_epoch: self.reading.rights_epoch,
                        shelf: Arc::clone(&self.shelf),
                    },
                };
                (Arc::clone(&line.entry), about)
            })
            .collect()
    }
}

/// As of when an entry was found to be visible.
#[derive(Clone)]
pub(super) struct Judged {
    began: Began,
    at: Position,
    rights_epoch: i64,
    shelf: Arc<Shelf>,
}

impl Judged {
    /// Whether nothing can have taken the entry off the screen since. False: it has to be judged again.
    pub async fn still_holds(&self) -> bool {
        let changed = self.shelf.wakes.last_of_changes();
        if self.began.at.elapsed() < JUDGED_LONG_AGO && changed <= self.began.heard {
            return true;
        }
        let needed = Needed {
            heard: changed,
            since: Instant::now().checked_sub(JUDGED_LONG_AGO),
        };
        match self.shelf.reading(self.at, needed).await {
            Ok(reading) => {
                reading.unchanged_since <= self.at && reading.rights_epoch == self.rights_epoch
            }
            // Whoever judges again will hear of it too.
            Err(_failed) => false,
        }
    }
}

fn read(
    conn: &mut AnyConn,
    item: Option<ItemId>,
    (cursor, before): (Position, Option<&Reading>),
    began: Began,
) -> Result<Reading, StoreError> {
    let behind = before.map_or(cursor, |reading| reading.last);
    let mut reading = Reading {
        behind: before.map_or(cursor, |reading| reading.behind),
        last: timeline::last_position(conn)?,
        unchanged_since: before.map_or(cursor, |reading| reading.unchanged_since),
        rights_epoch: roles::rights_epoch(conn)?,
        parts: before.map_or_else(Vec::new, |reading| reading.parts.clone()),
        began,
    };
    if reading.last <= behind {
        return Ok(reading);
    }
    let between = (behind, reading.last);
    if !timeline::changes_between(conn, between, 1)?.is_empty() {
        reading.unchanged_since = reading.last;
        reading.forget();
        return Ok(reading);
    }
    let limit = ENTRIES_MAX.saturating_add(1);
    let entries = timeline::between_for_all(conn, item, between, limit)?;
    if i64::try_from(entries.len()).is_ok_and(|count| count > ENTRIES_MAX) {
        reading.forget();
        return Ok(reading);
    }
    let lines = lines(conn, entries)?;
    reading.parts.push(Arc::new(Part { behind, lines }));
    if reading.parts.len() > PARTS_MAX {
        reading.parts.remove(0);
    }
    if let Some(first) = reading.parts.first() {
        reading.behind = first.behind;
    }
    Ok(reading)
}

fn lines(conn: &mut AnyConn, entries: Vec<TimelineEntry>) -> Result<Vec<Line>, StoreError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let email_ids: HashSet<EmailId> = entries
        .iter()
        .filter_map(|entry| access::shown_with(&entry.new.told))
        .collect();
    let email_ids: Vec<EmailId> = email_ids.into_iter().collect();
    let mut item_ids: HashSet<ItemId> = entries.iter().map(|entry| entry.new.item_id).collect();
    let own_ids: Vec<ItemId> = item_ids.iter().copied().collect();
    let mut mail = HashMap::new();
    let mut linked: HashMap<EmailId, Vec<ItemId>> = HashMap::new();
    if !email_ids.is_empty() {
        for email in emails::get_many(conn, &email_ids)? {
            mail.insert(email.id, Arc::new(email));
        }
        for link in links::of_emails(conn, &email_ids)? {
            item_ids.insert(link.item_id);
            linked.entry(link.email_id).or_default().push(link.item_id);
        }
    }
    let item_ids: Vec<ItemId> = item_ids.into_iter().collect();
    let facts = items::facts(conn, &item_ids)?.into_iter();
    let facts: HashMap<ItemId, ItemFacts> = facts.map(|facts| (facts.id, facts)).collect();
    let own = items::get_many(conn, &own_ids)?.into_iter();
    let own: HashMap<ItemId, Arc<Item>> = own.map(|item| (item.id, Arc::new(item))).collect();
    let line = |entry: TimelineEntry| {
        let email_id = access::shown_with(&entry.new.told);
        let linked = email_id.map(|email| {
            let on = linked.get(&email).into_iter().flatten();
            on.filter_map(|item| facts.get(item).copied()).collect()
        });
        let line = Line {
            item: Arc::clone(own.get(&entry.new.item_id)?),
            facts: *facts.get(&entry.new.item_id)?,
            email: email_id.and_then(|email| mail.get(&email).cloned()),
            linked,
            entry: Arc::new(entry),
        };
        // An email that is gone shows nowhere.
        (line.email.is_some() == email_id.is_some()).then_some(line)
    };
    Ok(entries.into_iter().filter_map(line).collect())
}
