//! The fields at the root of subscriptions: live streams of `live`, shaped under the viewer's rights as of each event.
//! Not for: what a stream delivers and when (`live`), or sockets (`http`).

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Result, SimpleObject, Subscription as Root, Union};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, Stream};

use super::context::{self, Ask, Scopes, Services, failed};
use super::error;
use super::item::Item;
use super::lists::{self, Concerned};
use super::loaders::{CrmEmails, Items, Load as _, Mailboxes};
use super::mailbox::Mailbox;
use super::paging::ListName;
use super::scalars::Cursor;
use super::straight::StraightRow;
use super::timeline::{TimelineEntry, TimelineKind};
use crate::live::{About, LiveEnd, LiveEvent, Patience, Wanted};
use crate::model::item::ItemKind;
use crate::model::mailbox::Mailbox as MailboxFields;
use crate::model::people::Viewer;
use crate::model::timeline::{Position, TimelineEntry as EntryFields, TimelineKind as Kind};
use crate::model::{ItemId, MailboxId, UserId};
use crate::store::{AnyConn, StoreError, roles};

/// The root of subscriptions.
#[derive(Default)]
pub struct Subscription;

/// What can be watched live.
#[Root]
impl Subscription {
    /// A timeline as it grows: an item's, or that of everything the viewer may see. Every visible entry comes once, in order.
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The item whose timeline it is; without it, everything that the viewer may see."
        )]
        item_id: Option<ID>,
        #[graphql(desc = "Entries of these kinds only; none given: of every kind.")] kinds: Option<
            Vec<TimelineKind>,
        >,
        #[graphql(
            desc = "Goes on behind it: an edge's cursor, an event's cursor or `liveCursor`. Without it, `CaughtUp` comes first, then what is new."
        )]
        after: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<TimelineEvent>> + use<>> {
        let ask = fresh_ask(ctx).await?;
        let item = match item_id {
            Some(id) => Some(readable_item(&ask, &id).await?),
            None => None,
        };
        let name = lists::timeline_name(&ask, item);
        let after = after
            .map(|cursor| name.open(ask.codec(), &cursor))
            .transpose()?;
        let wanted = Wanted {
            item,
            kinds: kinds
                .unwrap_or_default()
                .into_iter()
                .map(Kind::from)
                .collect(),
            after: after.as_ref().and_then(lists::position_of),
        };
        let events = ask.services().live.timeline(ask.viewer().clone(), wanted);
        Ok(shaped(ask, name, events))
    }

    /// A mailbox, now and whenever its sync moves on, its warnings or its settings change.
    async fn mailbox_sync(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The mailbox's id.")] mailbox_id: ID,
    ) -> Result<impl Stream<Item = Result<Mailbox>> + use<>> {
        let ask = fresh_ask(ctx).await?;
        let found = match ask.open::<MailboxId>(&mailbox_id) {
            Some(id) => Mailbox::find(&ask, id).await?.map(|_mailbox| id),
            None => None,
        };
        let id = found.ok_or_else(error::not_found)?;
        let news = ask.services().live.mailbox_sync(id);
        Ok(watched(ask, id, news))
    }
}

/// A question of the viewer with their rights as of now: a socket lives longer than what its session was made with.
async fn fresh_ask(ctx: &Context<'_>) -> Result<Ask> {
    let services = context::services(ctx)?.clone();
    let viewer = context::viewer(ctx)?.clone();
    let present = services
        .store
        .read(move |conn| present_viewer(conn, viewer))
        .await
        .map_err(|error| failed(&error))?;
    let viewer = present.ok_or_else(error::unauthenticated)?;
    Ok(Ask::new(services, viewer))
}

/// The viewer with their rights as of now; `None` once the account is deactivated.
fn present_viewer(
    conn: &mut AnyConn,
    viewer: Arc<Viewer>,
) -> Result<Option<Arc<Viewer>>, StoreError> {
    if roles::rights_epoch(conn)? == viewer.rights_epoch {
        return Ok(Some(viewer));
    }
    Ok(roles::load_viewer(conn, viewer.user_id)?.map(Arc::new))
}

/// The item that an id names. A hidden one and a bad id answer alike (R27).
async fn readable_item(ask: &Ask, id: &ID) -> Result<ItemId> {
    let named = Item::find_by_id(ask, id).await?;
    let opened = ask.open_item(id).map(|(_kind, item)| item);
    named.and(opened).ok_or_else(error::not_found)
}

/// Shapes the events of a timeline, each under the viewer's rights as of then. It ends with the first that can't be: what
/// comes behind it would be taken for all there is.
fn shaped(
    ask: Ask,
    name: ListName,
    events: BoxStream<'static, Result<LiveEvent, LiveEnd>>,
) -> impl Stream<Item = Result<TimelineEvent>> + use<> {
    let shape = Shape {
        services: ask.services().clone(),
        viewer: ask.viewer().clone(),
        name,
    };
    stream::unfold(Some((shape, events)), |state| async move {
        let (mut shape, mut events) = state?;
        loop {
            let event = events.next().await?;
            let shaped = match event {
                Ok(event) => shape.event(event).await.transpose(),
                Err(end) => Some(Err(end_error(end))),
            };
            if let Some(shaped) = shaped {
                let goes_on = shaped.is_ok();
                return Some((shaped, goes_on.then_some((shape, events))));
            }
        }
    })
}

fn end_error(end: LiveEnd) -> Error {
    match end {
        LiveEnd::NotFound => error::not_found(),
        LiveEnd::SignedOut => error::unauthenticated(),
        LiveEnd::Failed => error::internal(&end),
    }
}

struct Shape {
    services: Services,
    viewer: Arc<Viewer>,
    name: ListName,
}

impl Shape {
    fn cursor(&self, at: Position) -> Cursor {
        let codec = self.services.store.codec();
        self.name.seal(codec, &lists::position_key(at))
    }

    /// The event as a client sees it; `None` for an entry that went out of view since it was read.
    async fn event(&mut self, event: LiveEvent) -> Result<Option<TimelineEvent>> {
        Ok(Some(match event {
            LiveEvent::Added { entry, at, about } => {
                let Some(entry) = self.entry(entry, about).await? else {
                    return Ok(None);
                };
                TimelineEvent::EntryAdded(EntryAdded {
                    entry: StraightRow(entry),
                    cursor: self.cursor(at),
                })
            }
            LiveEvent::EntryRemoved { entry, at } => TimelineEvent::EntryRemoved(EntryRemoved {
                entry_id: ID(self
                    .services
                    .store
                    .codec()
                    .seal_id("TimelineEntry", entry.0)),
                cursor: self.cursor(at),
            }),
            LiveEvent::ItemRemoved { item, kind, at } => TimelineEvent::ItemRemoved(ItemRemoved {
                item_id: self.item_id(item, kind),
                cursor: self.cursor(at),
            }),
            LiveEvent::CaughtUp(at) => TimelineEvent::CaughtUp(CaughtUp {
                cursor: self.cursor(at),
            }),
            LiveEvent::Gap(at) => TimelineEvent::Gap(Gap {
                cursor: self.cursor(at),
            }),
        }))
    }

    async fn entry(
        &mut self,
        row: Arc<EntryFields>,
        about: Option<About>,
    ) -> Result<Option<TimelineEntry>> {
        if let Some(about) = about
            && about.still_holds().await
        {
            let ask = Ask::new(self.services.clone(), about.viewer);
            ask.keep::<Items>(about.item.id, about.item);
            if let Some(email) = about.email {
                ask.keep::<CrmEmails>(email.id, email);
            }
            return Ok(Some(TimelineEntry::new(&ask, row)));
        }
        let viewer = self.viewer.clone();
        let wanted = row.clone();
        let read = self.services.store.read(move |conn| {
            let Some(viewer) = present_viewer(conn, viewer)? else {
                return Ok(None);
            };
            let scopes = Scopes::new(viewer.clone());
            let concerned = Concerned::read(conn, &scopes, std::iter::once(&*wanted))?;
            Ok(Some((viewer, concerned)))
        });
        let Some((viewer, concerned)) = read.await.map_err(|error| failed(&error))? else {
            return Ok(None);
        };
        self.viewer = viewer.clone();
        let ask = Ask::new(self.services.clone(), viewer);
        Ok(concerned
            .keep(&ask, &row)
            .then(|| TimelineEntry::new(&ask, row)))
    }

    /// The id of an item that the viewer may no longer read, by the name that they knew it by.
    fn item_id(&self, item: ItemId, kind: Option<ItemKind>) -> ID {
        let type_name = super::ids::item_type(kind.unwrap_or(ItemKind::Deal));
        ID(self.services.store.codec().seal_id(type_name, item.0))
    }
}

/// A mailbox at each of these wake-ups, for as long as the viewer sees it.
fn watched(
    ask: Ask,
    id: MailboxId,
    news: BoxStream<'static, MailboxId>,
) -> impl Stream<Item = Result<Mailbox>> + use<> {
    let services = ask.services().clone();
    let user = ask.viewer().user_id;
    stream::unfold(Some((services, news)), move |state| async move {
        let (services, mut news) = state?;
        news.next().await?;
        let mut patience = Patience::default();
        loop {
            let reading = services
                .store
                .read(move |conn| read_watched(conn, user, id));
            return match reading.await {
                Ok(Some((viewer, row))) => {
                    let ask = Ask::new(services.clone(), viewer);
                    Some((Ok(Mailbox::new(&ask, row)), Some((services, news))))
                }
                Ok(None) => None,
                Err(error) if patience.bears(&error).await => continue,
                Err(error) => Some((Err(failed(&error)), None)),
            };
        }
    })
}

/// A mailbox as a viewer sees it with their rights as of now; `None`: not at all.
fn read_watched(
    conn: &mut AnyConn,
    user: UserId,
    id: MailboxId,
) -> Result<Option<(Arc<Viewer>, Arc<MailboxFields>)>, StoreError> {
    let Some(viewer) = roles::load_viewer(conn, user)? else {
        return Ok(None);
    };
    let viewer = Arc::new(viewer);
    let mut found = Mailboxes::read(conn, &Scopes::new(viewer.clone()), &[id])?;
    Ok(found.remove(&id).map(|row| (viewer, row)))
}

/// What a timeline's stream says.
#[derive(Union)]
pub enum TimelineEvent {
    EntryAdded(EntryAdded),
    EntryRemoved(EntryRemoved),
    ItemRemoved(ItemRemoved),
    CaughtUp(CaughtUp),
    Gap(Gap),
}

/// An entry came, or came into view.
#[derive(SimpleObject)]
pub struct EntryAdded {
    /// The entry.
    entry: StraightRow<TimelineEntry>,
    /// Go on from here.
    cursor: Cursor,
}

/// The viewer may no longer see an entry: take it off the screen.
#[derive(SimpleObject)]
pub struct EntryRemoved {
    /// The entry's id.
    entry_id: ID,
    /// Go on from here.
    cursor: Cursor,
}

/// The viewer may no longer see an item: take it and all its entries off the screen.
#[derive(SimpleObject)]
pub struct ItemRemoved {
    /// The item's id.
    item_id: ID,
    /// Go on from here.
    cursor: Cursor,
}

/// The backlog is delivered; what follows is live.
#[derive(SimpleObject)]
pub struct CaughtUp {
    /// Go on from here.
    cursor: Cursor,
}

/// What lies before can't be delivered one by one: read the list again, then go on from here.
#[derive(SimpleObject)]
pub struct Gap {
    /// Go on from here.
    cursor: Cursor,
}
