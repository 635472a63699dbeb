//! The lists behind the connections: one store list under a scope each, its cursors' name, and how it is counted.
//! Not for: the fields of what they hold.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_graphql::{Context, Lookahead, Result};

use super::activity::{Activity, ActivityState};
use super::context::{Ask, Scopes};
use super::email::Email;
use super::error;
use super::item::{FromItem, ItemRow};
use super::loaders::{CrmEmails, Items, Users};
use super::mailbox::Mailbox;
use super::paging::{Connection, Counter, ListName, PageArgs};
use super::thread::Thread;
use super::timeline::{TimelineConnection, TimelineEntry, TimelineKind};
use super::viewer::User;
use crate::model::email::Email as EmailFields;
use crate::model::item::Item as ItemFields;
use crate::model::people::User as UserFields;
use crate::model::timeline::{Position, TimelineEntry as EntryFields, TimelineKind as Kind};
use crate::model::{EmailId, FolderId, ItemId, MailboxId, ThreadId, UserId};
use crate::rules::access::{self, Surface};
use crate::store::emails::EmailFilter;
use crate::store::items::{ItemFilter, ItemOrder};
use crate::store::page::{Key, KeyPart, Page, PageRequest};
use crate::store::threads::ThreadFilter;
use crate::store::{
    AnyConn, StoreError, activities, emails, items, mailboxes, roles, threads, timeline as entries,
    users,
};

/// A page of the items of one kind.
///
/// # Errors
/// `BAD_USER_INPUT` for a page that can't be, `INTERNAL` where the store fails.
pub async fn items_of_kind<N: FromItem>(
    ask: &Ask,
    filter: ItemFilter,
    order: ItemOrder,
    args: PageArgs,
) -> Result<Connection<N>> {
    let name = ListName::new(ask.viewer().user_id, N::CONNECTION, &(&filter, order));
    let request = args.request(ask.codec(), &name)?;
    let narrowed = filter.clone();
    let page = ask
        .read(move |conn, scopes| {
            items::list(conn, scopes.items(), N::KIND, &narrowed, order, &request)
        })
        .await?;
    let counter: Counter = Arc::new(move |conn, scopes, limit| {
        items::count(conn, scopes.items(), N::KIND, &filter, limit)
    });
    let shape = |row| {
        N::from_item(ItemRow {
            ask: ask.clone(),
            row: Arc::new(row),
        })
    };
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// A page of the users, by name.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn users(ask: &Ask, args: PageArgs) -> Result<Connection<User>> {
    let name = ListName::new(ask.viewer().user_id, "users", &());
    let request = args.request(ask.codec(), &name)?;
    let page = ask
        .read(move |conn, _scopes| users::list(conn, &request))
        .await?;
    let counter: Counter = Arc::new(|conn, _scopes, limit| users::count(conn, limit));
    let shape = |row| User::new(ask, Arc::new(row));
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// A page of the mailboxes that the viewer sees listed, by address.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn mailboxes(ask: &Ask, args: PageArgs) -> Result<Connection<Mailbox>> {
    let name = ListName::new(ask.viewer().user_id, "mailboxes", &());
    let request = args.request(ask.codec(), &name)?;
    let page = ask
        .read(move |conn, scopes| mailboxes::list(conn, scopes.mailboxes(), &request))
        .await?;
    let counter: Counter =
        Arc::new(|conn, scopes, limit| mailboxes::count(conn, scopes.mailboxes(), limit));
    let shape = |row| Mailbox::new(ask, Arc::new(row));
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// A page of the conversations of which the viewer sees something.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn threads(
    ask: &Ask,
    filter: ThreadFilter,
    args: PageArgs,
) -> Result<Connection<Thread>> {
    let name = ListName::new(ask.viewer().user_id, "threads", &filter);
    let request = args.request(ask.codec(), &name)?;
    let narrowed = filter.clone();
    let page = ask
        .read(move |conn, scopes| {
            threads::list(conn, scopes.emails(Surface::Either), &narrowed, &request)
        })
        .await?;
    let counter: Counter = Arc::new(move |conn, scopes, limit| {
        threads::count(conn, scopes.emails(Surface::Either), &filter, limit)
    });
    let shape = |id| Thread::new(ask, id);
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// Which end of a list of emails comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
}

async fn emails_by(
    ask: &Ask,
    surface: Surface,
    order: Order,
    filter: EmailFilter,
    args: PageArgs,
) -> Result<Connection<Email>> {
    let narrowed = (surface, order, &filter);
    let name = ListName::new(ask.viewer().user_id, "emails", &narrowed);
    let request = args.request(ask.codec(), &name)?;
    let narrowed = filter.clone();
    let page = ask
        .read(move |conn, scopes| {
            let scope = scopes.emails(surface);
            match order {
                Order::NewestFirst => emails::list(conn, scope, &narrowed, &request),
                Order::OldestFirst => emails::list_oldest_first(conn, scope, &narrowed, &request),
            }
        })
        .await?;
    let counter: Counter = Arc::new(move |conn, scopes, limit| {
        emails::count(conn, scopes.emails(surface), &filter, limit)
    });
    let shape = |row| Email::new(ask, Arc::new(row));
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// A page of the emails that the viewer sees in the CRM or in a mailbox (R22), newest first.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn emails(ask: &Ask, filter: EmailFilter, args: PageArgs) -> Result<Connection<Email>> {
    emails_by(ask, Surface::Either, Order::NewestFirst, filter, args).await
}

/// A page of the emails linked to a readable item, under R21 alone, newest first.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn emails_of_item(ask: &Ask, item: ItemId, args: PageArgs) -> Result<Connection<Email>> {
    let filter = EmailFilter {
        item_id: Some(item),
        ..EmailFilter::default()
    };
    emails_by(ask, Surface::Crm, Order::NewestFirst, filter, args).await
}

/// A page of a thread's emails, oldest first.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn emails_of_thread(
    ask: &Ask,
    thread: ThreadId,
    args: PageArgs,
) -> Result<Connection<Email>> {
    let filter = EmailFilter {
        thread_id: Some(thread),
        ..EmailFilter::default()
    };
    emails_by(ask, Surface::Either, Order::OldestFirst, filter, args).await
}

/// A page of the saved emails that their own responsible does not see (R21), newest first.
///
/// # Errors
/// `FORBIDDEN` for whoever is no administrator; as [`items_of_kind`].
pub async fn emails_hidden_from_responsible(
    ask: &Ask,
    args: PageArgs,
) -> Result<Connection<Email>> {
    if !ask.viewer().is_administrator {
        return Err(error::forbidden());
    }
    let name = ListName::new(ask.viewer().user_id, "hiddenFromResponsible", &());
    let request = args.request(ask.codec(), &name)?;
    let page = ask
        .read(move |conn, scopes| {
            let answering = answering(conn)?;
            let scope = scopes.emails(Surface::Crm);
            emails::list_hidden_from_responsible(conn, scope, &answering, &request)
        })
        .await?;
    let counter: Counter = Arc::new(move |conn, scopes, limit| {
        let answering = answering(conn)?;
        let scope = scopes.emails(Surface::Crm);
        emails::count_hidden_from_responsible(conn, scope, &answering, limit)
    });
    let shape = |row| Email::new(ask, Arc::new(row));
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// Who answers for saved mail, and what they see of it; those who see everything are left out.
fn answering(conn: &mut AnyConn) -> std::result::Result<Vec<emails::Answering>, StoreError> {
    let users = emails::responsible_users(conn)?;
    let mut found = Vec::with_capacity(users.len());
    for user in users {
        let viewer = roles::load_viewer(conn, user)?;
        let scope = viewer.map(|viewer| access::emails(&viewer, Surface::Crm));
        let sees_everything = scope
            .as_ref()
            .is_some_and(|scope| scope.items().is_everything());
        if !sees_everything {
            found.push((user, scope));
        }
    }
    Ok(found)
}

/// A page of a mailbox's mail, under access to the mailbox alone (R22), newest first.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn emails_of_mailbox(
    ask: &Ask,
    mailbox: MailboxId,
    folder: Option<FolderId>,
    args: PageArgs,
) -> Result<Connection<Email>> {
    let filter = EmailFilter {
        mailbox_id: Some(mailbox),
        folder_id: folder,
        ..EmailFilter::default()
    };
    emails_by(ask, Surface::Mailbox, Order::NewestFirst, filter, args).await
}

/// A page of a readable item's activities, oldest first.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn activities_of_item(
    ask: &Ask,
    item: ItemId,
    state: Option<ActivityState>,
    args: PageArgs,
) -> Result<Connection<Activity>> {
    let state = state.map(crate::model::activity::ActivityState::from);
    let name = ListName::new(ask.viewer().user_id, "activities", &(item, state));
    let request = args.request(ask.codec(), &name)?;
    let page = ask
        .read(move |conn, scopes| {
            let scope = scopes.emails(Surface::Crm);
            activities::list_of_item(conn, scope, item, state, &request)
        })
        .await?;
    let counter: Counter = Arc::new(move |conn, scopes, limit| {
        let scope = scopes.emails(Surface::Crm);
        activities::count_of_item(conn, scope, item, state, limit)
    });
    let shape = |row| Activity::new(ask, Arc::new(row));
    Ok(Connection::new(ask, name, page, counter, shape))
}

/// What a timeline's cursors are sealed for: edges, events and `liveCursor` of one timeline share it,
/// whatever kinds are asked for, so that a subscription goes on from any of them.
pub fn timeline_name(ask: &Ask, item: Option<ItemId>) -> ListName {
    ListName::new(ask.viewer().user_id, "timeline", &item)
}

/// The key of a place in a timeline.
pub fn position_key(position: Position) -> Key {
    vec![KeyPart::Number(position.0)]
}

/// The place in a timeline that a key says.
pub fn position_of(key: &Key) -> Option<Position> {
    match key.as_slice() {
        [KeyPart::Number(position)] => Some(Position(*position)),
        _ => None,
    }
}

/// What entries are about, read under the same scopes and at the same time as they were.
pub struct Concerned {
    items: HashMap<ItemId, Arc<ItemFields>>,
    emails: HashMap<EmailId, Arc<EmailFields>>,
}

impl Concerned {
    /// Reads the items and emails of these entries.
    ///
    /// # Errors
    /// What the database says.
    pub fn read<'e>(
        conn: &mut AnyConn,
        scopes: &Scopes,
        rows: impl Iterator<Item = &'e EntryFields> + Clone,
    ) -> Result<Self, StoreError> {
        let items = Self::read_items(conn, scopes, rows.clone())?;
        let email_ids: HashSet<EmailId> = rows
            .filter_map(|row| access::shown_with(&row.new.told))
            .collect();
        let email_ids: Vec<EmailId> = email_ids.into_iter().collect();
        let mut emails = HashMap::new();
        if !email_ids.is_empty() {
            let rows = emails::visible(conn, scopes.emails(Surface::Crm), &email_ids)?;
            emails.extend(rows.into_iter().map(|row| (row.id, Arc::new(row))));
        }
        Ok(Self { items, emails })
    }

    /// Reads the items of these entries.
    fn read_items<'e>(
        conn: &mut AnyConn,
        scopes: &Scopes,
        rows: impl Iterator<Item = &'e EntryFields>,
    ) -> Result<HashMap<ItemId, Arc<ItemFields>>, StoreError> {
        let ids: HashSet<ItemId> = rows.map(|row| row.new.item_id).collect();
        let ids: Vec<ItemId> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = items::readable(conn, scopes.items(), &ids)?;
        Ok(rows
            .into_iter()
            .map(|row| (row.id, Arc::new(row)))
            .collect())
    }

    /// Keeps what an entry is about for its fields. False where it went out of view
    /// between the statement that found the entry and the one that looked for this.
    pub fn keep(&self, ask: &Ask, entry: &EntryFields) -> bool {
        let Some(item) = self.items.get(&entry.new.item_id) else {
            return false;
        };
        if let Some(id) = access::shown_with(&entry.new.told) {
            let Some(email) = self.emails.get(&id) else {
                return false;
            };
            ask.keep::<CrmEmails>(id, email.clone());
        }
        ask.keep::<Items>(item.id, item.clone());
        true
    }
}

/// What of a page of a timeline is selected that takes statements of its own.
#[derive(Debug, Clone, Copy)]
struct TimelineSelected {
    /// Who did it.
    actors: bool,
    /// Where the timeline stands.
    live_cursor: bool,
}

impl TimelineSelected {
    fn of(ctx: &Context<'_>) -> Self {
        let selected = ctx.look_ahead();
        let actors = |nodes: Lookahead<'_>| nodes.field("actor").exists();
        Self {
            actors: actors(selected.field("nodes"))
                || actors(selected.field("edges").field("node")),
            live_cursor: selected.field("liveCursor").exists(),
        }
    }
}

/// A page of a timeline with everything that was read for it.
struct TimelineRead {
    page: Page<EntryFields>,
    concerned: Concerned,
    actors: Vec<UserFields>,
    read_at: Option<Position>,
}

/// A page of an item's timeline, or of everything that the viewer may see; oldest first.
///
/// # Errors
/// As [`items_of_kind`].
pub async fn timeline(
    ctx: &Context<'_>,
    ask: &Ask,
    item: Option<&Arc<ItemFields>>,
    kinds: Vec<TimelineKind>,
    args: PageArgs,
) -> Result<TimelineConnection> {
    let name = timeline_name(ask, item.map(|item| item.id));
    let request = args.request(ask.codec(), &name)?;
    let kinds: Arc<[Kind]> = kinds.into_iter().map(Kind::from).collect();
    let (wanted, of) = (kinds.clone(), item.cloned());
    let selected = TimelineSelected::of(ctx);
    let read = move |conn: &mut AnyConn, scopes: &Scopes| {
        read_timeline(conn, scopes, of, &wanted, &request, selected)
    };
    // One statement is of one moment: the page of an item. Who its actors are is no matter of a moment.
    let mut read = if item.is_some() && !selected.live_cursor {
        ask.read(read).await?
    } else {
        ask.read_at_once(read).await?
    };
    let rows = &mut read.page.rows;
    rows.retain(|(_key, row)| read.concerned.keep(ask, row));
    for actor in read.actors {
        ask.keep::<Users>(actor.id, Arc::new(actor));
    }
    let item = item.map(|item| item.id);
    let counter: Counter = Arc::new(move |conn, scopes, limit| {
        entries::count(conn, scopes.emails(Surface::Crm), item, &kinds, limit)
    });
    let shape = |row| TimelineEntry::new(ask, Arc::new(row));
    Ok(TimelineConnection {
        ask: ask.clone(),
        list: name.clone(),
        page: Connection::new(ask, name, read.page, counter, shape),
        read_at: read.read_at,
    })
}

/// Reads the page and where the timeline stands, as of one moment: a subscription from there on misses nothing and
/// tells nothing twice.
fn read_timeline(
    conn: &mut AnyConn,
    scopes: &Scopes,
    item: Option<Arc<ItemFields>>,
    kinds: &[Kind],
    request: &PageRequest,
    selected: TimelineSelected,
) -> Result<TimelineRead, StoreError> {
    let mut read_at = None;
    if selected.live_cursor {
        read_at = Some(entries::last_position(conn)?);
    }
    let (scope, item_id) = (
        scopes.emails(Surface::Crm),
        item.as_ref().map(|item| item.id),
    );
    let found = entries::list(conn, scope, item_id, kinds, request)?;
    let mut emails = HashMap::new();
    let page = found.map(|(row, email)| {
        emails.extend(email.map(|email| (email.id, Arc::new(email))));
        row
    });
    let rows = page.rows.iter().map(|(_key, row)| row);
    let items = match item {
        Some(item) => HashMap::from([(item.id, item)]),
        None => Concerned::read_items(conn, scopes, rows.clone())?,
    };
    let mut actors = Vec::new();
    if selected.actors {
        let ids: HashSet<UserId> = rows.filter_map(|row| row.new.actor_id).collect();
        let ids: Vec<UserId> = ids.into_iter().collect();
        if !ids.is_empty() {
            actors = users::get_many(conn, &ids)?;
        }
    }
    Ok(TimelineRead {
        page,
        concerned: Concerned { items, emails },
        actors,
        read_at,
    })
}

/// One entry, if the viewer may see it, with what it is about.
///
/// # Errors
/// What the database says.
pub fn entry(
    conn: &mut AnyConn,
    scopes: &Scopes,
    position: Position,
) -> Result<Option<(EntryFields, Concerned)>, StoreError> {
    let row = entries::get(conn, scopes.emails(Surface::Crm), position)?;
    row.map(|row| {
        let concerned = Concerned::read(conn, scopes, std::iter::once(&row))?;
        Ok((row, concerned))
    })
    .transpose()
}
