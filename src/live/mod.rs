//! A cursor and a viewer in, events out (R29, R38): each visible entry once per cursor, in order.
//!
//! A stream holds nothing but its cursor. A wake-up (or the clock: wake-ups may be lost) makes it read the
//! store behind the cursor under the viewer's present rights. Not for: sockets (`http`) or deciding rights (`rules::access`).

mod changes;
mod hub;
mod patience;
mod readings;
mod stream;

pub use hub::Hub;
pub use patience::Patience;

use crate::model::email::Email;
use crate::model::item::{Item, ItemKind};
use crate::model::people::Viewer;
use crate::model::timeline::{Position, TimelineEntry, TimelineKind};
use crate::model::topic::Topic;
use crate::model::{ItemId, MailboxId};
use crate::store::Store;
use futures_util::stream::BoxStream;
use readings::{Judged, Shelves};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// What a stream of a timeline says.
#[derive(Debug, Clone)]
pub enum LiveEvent {
    /// An entry is to be shown; `at` is the event's cursor.
    Added {
        entry: Arc<TimelineEntry>,
        at: Position,
        /// What it is about; `None`: it is to be read, under the viewer's rights of then.
        about: Option<About>,
    },
    /// The viewer may no longer see an entry.
    EntryRemoved { entry: Position, at: Position },
    /// Nor an item with all its entries. Its kind is known, unless it is gone without a word.
    ItemRemoved {
        item: ItemId,
        kind: Option<ItemKind>,
        at: Position,
    },
    /// The backlog is delivered; what follows is live.
    CaughtUp(Position),
    /// What lies before can't be delivered one by one: read the list again.
    Gap(Position),
}

/// What an entry is about, as the viewer sees it.
#[derive(Clone)]
pub struct About {
    /// The viewer, with the rights under which it was judged.
    pub viewer: Arc<Viewer>,
    pub item: Arc<Item>,
    /// The email that the entry can't be shown without.
    pub email: Option<Arc<Email>>,
    judged: Judged,
}

impl About {
    /// Whether it may be shown as it is. False: what the viewer may see may have changed since, and is to be read again.
    pub async fn still_holds(&self) -> bool {
        self.judged.still_holds().await
    }
}

impl fmt::Debug for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("About")
            .field("item", &self.item.id)
            .finish_non_exhaustive()
    }
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LiveEnd {
    /// The item is absent or hidden (R27).
    #[error("there is no such item, or you may not see it")]
    NotFound,
    /// The viewer's account was deactivated.
    #[error("the account is no longer active")]
    SignedOut,
    /// The database failed; the client resumes from its cursor.
    #[error("the timeline could not be read")]
    Failed,
}

/// What a stream was asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// One item's timeline; `None`: everything that the viewer may see.
    pub item: Option<ItemId>,
    /// No kinds: all of them.
    pub kinds: Vec<TimelineKind>,
    /// From behind this position; `None`: from now on.
    pub after: Option<Position>,
}

/// Opens live streams. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    store: Store,
    hub: Arc<Hub>,
    shelves: Arc<Shelves>,
}

impl Live {
    /// Over this store, woken by this hub.
    pub fn new(store: Store, hub: Arc<Hub>) -> Self {
        Self {
            store,
            hub,
            shelves: Arc::default(),
        }
    }

    /// The events of a timeline. It ends when the item goes out of view, or with an error.
    pub fn timeline(
        &self,
        viewer: Arc<Viewer>,
        wanted: Wanted,
    ) -> BoxStream<'static, Result<LiveEvent, LiveEnd>> {
        let item = wanted.item;
        let topic = item.map_or(Topic::Timeline, Topic::Item);
        // Listen first, read then: what is committed in between wakes the stream.
        let news = self.hub.listen_all([topic, Topic::Changes, Topic::Rights]);
        let shelf = self.shelves.shelf(&self.store, &self.hub, item);
        stream::timeline(self.store.clone(), (shelf, news), viewer, wanted)
    }

    /// The mailbox's id, now and whenever its visible state changes. Whether it may be seen is the caller's question, at each event.
    pub fn mailbox_sync(&self, mailbox: MailboxId) -> BoxStream<'static, MailboxId> {
        let mut news = self.hub.listen(Topic::Mailbox(mailbox));
        Box::pin(async_stream::stream! {
            loop {
                yield mailbox;
                news.wait().await;
            }
        })
    }
}
