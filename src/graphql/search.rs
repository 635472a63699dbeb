//! Searching as clients see it: what was found with the places where it stands, and by what it can be told apart.
//! Not for: what a query means (`rules::search`), or who finds what (the scope that it is asked under).

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Enum, Error, ErrorExtensions as _, Object, Result, SimpleObject, Union};
use tokio::sync::OnceCell;

use super::context::{Ask, Scopes};
use super::email::Email;
use super::error;
use super::item::{Contact, Deal, Item, Lead};
use super::loaders::{Addresses, Attachments, Emails, Items, MailMailboxes, Notes, Participants};
use super::mailbox::Mailbox;
use super::paging::{Connection, Count, Counter, Edge, ListName, Listed, PageArgs, PageInfo};
use crate::actions::read_mail::MailReader;
use crate::model::email::{Address, Email as EmailFields, ParticipantRole};
use crate::model::item::{Item as ItemFields, ItemKind};
use crate::model::people::RestrictedField;
use crate::model::{EmailId, ItemId};
use crate::rules::access::{self, Surface};
use crate::rules::search::{self as language, Fault, Phrase, Reading, SearchQuery, Typing, Zone};
use crate::store::page::{Page, PageRequest};
use crate::store::search::{self, Facet, FacetCount, Found, Search};
use crate::store::{AnyConn, StoreError, emails, items};

/// Values of a facet that are given: what a person looks through.
const FACET_VALUES_MAX: usize = 20;

/// Texts of so many bytes are marked in a fraction of a millisecond.
const MARKED_AT_ONCE_BYTES_MAX: usize = 8 * 1024;

/// One question to the index, and by whom.
#[derive(Debug)]
struct Asked {
    query: SearchQuery,
    hidden: Vec<RestrictedField>,
}

impl Asked {
    fn search<'s>(&'s self, scopes: &'s Scopes) -> Search<'s> {
        Search {
            query: &self.query,
            within: scopes.emails(Surface::Either),
            hidden: &self.hidden,
        }
    }
}

/// The texts of a page's mails, which are read together once the first is asked for.
struct Texts {
    hashes: Vec<Vec<u8>>,
    read: OnceCell<HashMap<Vec<u8>, Option<String>>>,
}

impl Texts {
    /// The text of one of them; nothing where it can't be read, which the email itself says where its body is asked for.
    async fn get(&self, mail: &MailReader, email: &EmailFields) -> String {
        let read = self.read.get_or_init(|| async {
            let read = mail.texts(self.hashes.clone()).await;
            read.unwrap_or_else(|error| {
                tracing::warn!(%error, "a page of found mails can't be read together");
                HashMap::new()
            })
        });
        let text = match read.await.get(&email.raw_hash) {
            Some(text) => Ok(text.clone()),
            None => mail.text(email).await,
        };
        text.unwrap_or_else(|error| {
            tracing::warn!(email = email.id.0, %error, "a found mail's text can't be read");
            None
        })
        .unwrap_or_default()
    }
}

/// What a page of a search holds, read as of one moment.
enum Row {
    Email(Arc<EmailFields>),
    Item(Arc<ItemFields>),
}

/// A page of what the query finds.
///
/// # Errors
/// `BAD_USER_INPUT` for a query that can't be understood, with its `position`, and for a page that can't be; `INTERNAL`
/// where the store fails.
pub async fn search_all(
    ask: &Ask,
    query: &str,
    typing: Typing,
    args: PageArgs,
) -> Result<SearchConnection> {
    let mut query = match language::read(query, typing) {
        Reading::Understood(query) => query,
        Reading::Faulty(fault) => return Err(misunderstood(&fault)),
    };
    query.resolve(|id| {
        let (_kind, id) = ask.open_item(&id.to_owned().into())?;
        Some(id)
    });
    let asked = Arc::new(Asked {
        query,
        hidden: access::hidden_fields(ask.viewer()),
    });
    let name = ListName::new(ask.viewer().user_id, "search", &asked.query);
    let request = args.request(ask.codec(), &name)?;
    let for_page = asked.clone();
    let page = ask
        .read_at_once(move |conn, scopes| read_page(conn, scopes, &for_page, &request))
        .await?;
    let for_count = asked.clone();
    let counter: Counter =
        Arc::new(move |conn, scopes, limit| search::count(conn, &for_count.search(scopes), limit));
    let hashes = page.rows.iter().filter_map(|(_key, row)| match row {
        Row::Email(row) => Some(row.raw_hash.clone()),
        Row::Item(_) => None,
    });
    let texts = Arc::new(Texts {
        hashes: hashes.collect(),
        read: OnceCell::new(),
    });
    let shape = |row| SearchHit::new(ask, row, (&asked, &texts));
    Ok(SearchConnection {
        ask: ask.clone(),
        page: Connection::new(ask, name, page, counter, shape),
        asked: asked.clone(),
    })
}

fn misunderstood(fault: &Fault) -> Error {
    let position = i64::try_from(fault.position).unwrap_or(i64::MAX);
    error::bad_input(format!(
        "The query can't be understood at character {}: {}",
        position.saturating_add(1),
        fault.message
    ))
    .extend_with(|_, extensions| extensions.set("position", position))
}

fn read_page(
    conn: &mut AnyConn,
    scopes: &Scopes,
    asked: &Asked,
    request: &PageRequest,
) -> Result<Page<Row>, StoreError> {
    let page = search::list(conn, &asked.search(scopes), request)?;
    let mut email_ids: Vec<EmailId> = Vec::new();
    let mut item_ids: Vec<ItemId> = Vec::new();
    for (_key, found) in &page.rows {
        match found {
            Found::Email(id) => email_ids.push(*id),
            Found::Item(_, id) => item_ids.push(*id),
        }
    }
    let emails = if email_ids.is_empty() {
        Vec::new()
    } else {
        emails::visible(conn, scopes.emails(Surface::Either), &email_ids)?
    };
    let items = if item_ids.is_empty() {
        Vec::new()
    } else {
        items::readable(conn, scopes.items(), &item_ids)?
    };
    let emails: Vec<Arc<EmailFields>> = emails.into_iter().map(Arc::new).collect();
    let items: Vec<Arc<ItemFields>> = items.into_iter().map(Arc::new).collect();
    let row = |found: &Found| match found {
        Found::Email(id) => emails
            .iter()
            .find(|email| email.id == *id)
            .map(|email| Row::Email(email.clone())),
        Found::Item(_, id) => items
            .iter()
            .find(|item| item.id == *id)
            .map(|item| Row::Item(item.clone())),
    };
    let rows = page
        .rows
        .iter()
        .filter_map(|(key, found)| Some((key.clone(), row(found)?)));
    Ok(Page {
        rows: rows.collect(),
        has_next: page.has_next,
        has_previous: page.has_previous,
    })
}

/// One page of what a search finds.
pub struct SearchConnection {
    ask: Ask,
    page: Connection<SearchHit>,
    asked: Arc<Asked>,
}

/// One page of what a search finds among what the viewer may see, the best first: items that are called so, then by time,
/// whereby mail with the words in its subject or sender counts as half a year newer.
#[Object]
impl SearchConnection {
    /// What was found on the page, each with its cursor.
    async fn edges(&self) -> Vec<Edge<SearchHit>> {
        self.page.edges_of()
    }

    /// What was found on the page.
    async fn nodes(&self) -> Vec<&SearchHit> {
        self.page.nodes_of()
    }

    /// Where the page stands.
    async fn page_info(&self) -> PageInfo {
        self.page.info()
    }

    /// How much is found in all; counted only when selected.
    async fn total_count(
        &self,
        #[graphql(
            default = 1000,
            desc = "Counting stops here, at most at 100,000; `isExact` says whether it did."
        )]
        limit: i32,
    ) -> Result<Count> {
        self.page.count(limit).await
    }

    /// By what it can be told apart; each is counted only when selected, among the newest 10,000 that are found.
    async fn facets(&self) -> SearchFacets {
        SearchFacets {
            ask: self.ask.clone(),
            asked: self.asked.clone(),
        }
    }
}

/// Something that a search found.
#[derive(Clone)]
pub struct SearchHit {
    ask: Ask,
    found: FoundRow,
    asked: Arc<Asked>,
    texts: Arc<Texts>,
}

#[derive(Clone)]
enum FoundRow {
    Email(Arc<EmailFields>),
    Item(Arc<ItemFields>),
}

impl SearchHit {
    fn new(ask: &Ask, row: Row, (asked, texts): (&Arc<Asked>, &Arc<Texts>)) -> Self {
        let found = match row {
            Row::Email(row) => {
                ask.keep::<Emails>(row.id, row.clone());
                FoundRow::Email(row)
            }
            Row::Item(row) => {
                ask.keep::<Items>(row.id, row.clone());
                FoundRow::Item(row)
            }
        };
        Self {
            ask: ask.clone(),
            found,
            asked: asked.clone(),
            texts: texts.clone(),
        }
    }

    /// Marks what was looked for in these texts: of each zone the first that has anything of it. It reads up to a quarter
    /// of a megabyte of each: more than a few pages are not for a thread that others wait for.
    async fn marked(&self, texts: Vec<(Zone, Vec<String>)>) -> Result<Vec<SearchSnippet>> {
        let asked = self.asked.clone();
        let all = texts.iter().flat_map(|(_zone, texts)| texts);
        if all.map(String::len).sum::<usize>() <= MARKED_AT_ONCE_BYTES_MAX {
            return Ok(snippets(&asked, &texts));
        }
        tokio::task::spawn_blocking(move || snippets(&asked, &texts))
            .await
            .map_err(|error| error::internal(&error))
    }

    async fn of_email(&self, row: &Arc<EmailFields>) -> Result<Vec<SearchSnippet>> {
        let participants = self.ask.load::<Participants>(row.id).await?;
        let people = |sends: bool| {
            participants
                .iter()
                .flat_map(|found| found.iter())
                .filter(move |(role, _)| is_sender(*role) == sends)
                .map(|(_, address)| with_name(address))
                .collect::<Vec<String>>()
        };
        let files = self.ask.load::<Attachments>(row.id).await?;
        let files = files.iter().flat_map(|files| files.iter());
        let text = self.texts.get(&self.ask.services().mail, row).await;
        self.marked(vec![
            (Zone::Title, vec![row.subject.clone()]),
            (Zone::Sender, people(true)),
            (Zone::Recipients, people(false)),
            (Zone::Text, vec![text]),
            (Zone::Text, files.map(|file| file.name.clone()).collect()),
        ])
        .await
    }

    async fn of_item(&self, row: &Arc<ItemFields>) -> Result<Vec<SearchSnippet>> {
        let called = [Some(&row.title), row.name.as_ref(), row.company.as_ref()];
        let mut texts = vec![(Zone::Title, called.into_iter().flatten().cloned().collect())];
        let hidden_by = match row.kind {
            ItemKind::Lead => Some(RestrictedField::LeadAddresses),
            ItemKind::Contact => Some(RestrictedField::ContactAddresses),
            ItemKind::Deal => None,
        };
        if hidden_by.is_some_and(|field| !self.ask.hides(field)) {
            let addresses = self.ask.load::<Addresses>(row.id).await?;
            let addresses = addresses.iter().flat_map(|addresses| addresses.iter());
            texts.push((
                Zone::Sender,
                addresses.map(|one| one.address.clone()).collect(),
            ));
        }
        let notes = self.ask.load::<Notes>(row.id).await?;
        texts.push((
            Zone::Text,
            notes.map(|notes| notes.to_vec()).unwrap_or_default(),
        ));
        self.marked(texts).await
    }
}

fn snippets(asked: &Asked, texts: &[(Zone, Vec<String>)]) -> Vec<SearchSnippet> {
    let phrases: Vec<&Phrase> = asked.query.phrases().collect();
    let mut found: Vec<SearchSnippet> = Vec::new();
    for (zone, texts) in texts {
        let shown = SearchZone::from(*zone);
        if found.iter().any(|snippet| snippet.zone == shown) {
            continue;
        }
        let texts = texts.iter().map(String::as_str);
        if let Some(parts) = language::snippet(texts, *zone, &phrases) {
            let part = |part: language::Part| SnippetPart {
                text: part.text,
                is_hit: part.is_hit,
            };
            found.push(SearchSnippet {
                zone: shown,
                parts: parts.into_iter().map(part).collect(),
            });
        }
    }
    found
}

fn is_sender(role: ParticipantRole) -> bool {
    matches!(
        role,
        ParticipantRole::From | ParticipantRole::Sender | ParticipantRole::ReplyTo
    )
}

fn with_name(address: &Address) -> String {
    match address.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} <{}>", address.address),
        None => address.address.clone(),
    }
}

impl Listed for SearchHit {
    const CONNECTION: &'static str = "SearchConnection";
    const EDGE: &'static str = "SearchEdge";
}

/// Something that a search found.
#[Object]
impl SearchHit {
    /// The email or item.
    async fn found(&self) -> Result<SearchResult> {
        Ok(match &self.found {
            FoundRow::Email(row) => SearchResult::Email(Email::new(&self.ask, row.clone())),
            FoundRow::Item(row) => match Item::new(&self.ask, row.clone()) {
                Item::Lead(lead) => SearchResult::Lead(lead),
                Item::Deal(deal) => SearchResult::Deal(deal),
                Item::Contact(contact) => SearchResult::Contact(contact),
            },
        })
    }

    /// Where what was looked for stands: at most one piece of each zone, none where nothing of it stands there.
    async fn snippets(&self) -> Result<Vec<SearchSnippet>> {
        match &self.found {
            FoundRow::Email(row) => self.of_email(row).await,
            FoundRow::Item(row) => self.of_item(row).await,
        }
    }
}

/// What a search finds.
#[derive(Union, Clone)]
pub enum SearchResult {
    Email(Email),
    Lead(Lead),
    Deal(Deal),
    Contact(Contact),
}

/// A short piece of a text, with what was looked for in it.
#[derive(SimpleObject, Clone)]
pub struct SearchSnippet {
    /// Where the text stands.
    zone: SearchZone,
    /// The piece, cut into parts that follow each other. Plain text: show it as such.
    parts: Vec<SnippetPart>,
}

/// A part of a snippet.
#[derive(SimpleObject, Clone)]
pub struct SnippetPart {
    /// Plain text.
    text: String,
    /// Whether it is what was looked for.
    is_hit: bool,
}

/// Where in an email or an item a text stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::rules::search::Zone")]
pub enum SearchZone {
    /// The subject of an email; an item's title, name and company.
    Title,
    /// Who an email is from; an item's addresses.
    Sender,
    /// Who an email is to.
    Recipients,
    /// An email's text and the names of its files; an item's notes.
    Text,
}

/// By what found things can be told apart.
pub struct SearchFacets {
    ask: Ask,
    asked: Arc<Asked>,
}

impl SearchFacets {
    async fn counts(&self, facet: Facet) -> Result<Vec<FacetCount>> {
        let asked = self.asked.clone();
        self.ask
            .read_at_once(move |conn, scopes| {
                search::facet(conn, &asked.search(scopes), facet, FACET_VALUES_MAX)
            })
            .await
    }
}

/// By what found things can be told apart, with how many there are; of each at most 20 values, the most frequent first.
#[Object]
impl SearchFacets {
    /// By what they are.
    async fn kinds(&self) -> Result<Vec<SearchKindCount>> {
        let shape = |found: FacetCount| {
            let kind = match found.value.as_str() {
                "EMAIL" => SearchKind::Email,
                "LEAD" => SearchKind::Lead,
                "DEAL" => SearchKind::Deal,
                "CONTACT" => SearchKind::Contact,
                _ => return None,
            };
            let count = found.count;
            Some(SearchKindCount { kind, count })
        };
        Ok(self
            .counts(Facet::Kind)
            .await?
            .into_iter()
            .filter_map(shape)
            .collect())
    }

    /// Emails by their mailbox, of those that the viewer has access to.
    async fn mailboxes(&self) -> Result<Vec<SearchMailboxCount>> {
        let counts = self.counts(Facet::Mailbox).await?;
        let ids: Vec<_> = counts.iter().filter_map(FacetCount::mailbox).collect();
        let rows = self.ask.load_all::<MailMailboxes>(ids).await?;
        let shape = |found: &FacetCount| {
            let id = found.mailbox()?;
            let row = rows.iter().find(|row| row.id == id)?;
            Some(SearchMailboxCount {
                mailbox: Mailbox::new(&self.ask, row.clone()),
                count: found.count,
            })
        };
        Ok(counts.iter().filter_map(shape).collect())
    }

    /// Emails by the address that they are from.
    async fn senders(&self) -> Result<Vec<SearchSenderCount>> {
        let shape = |found: FacetCount| SearchSenderCount {
            address: found.value,
            count: found.count,
        };
        let counts = self.counts(Facet::Sender).await?;
        Ok(counts.into_iter().map(shape).collect())
    }

    /// By the month in UTC in which they came or were made; the newest first.
    async fn months(&self) -> Result<Vec<SearchMonthCount>> {
        let shape = |found: FacetCount| SearchMonthCount {
            month: found.value,
            count: found.count,
        };
        let counts = self.counts(Facet::Month).await?;
        Ok(counts.into_iter().map(shape).collect())
    }
}

/// What something is that was found. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchKind {
    /// An email.
    Email,
    /// A lead.
    Lead,
    /// A deal.
    Deal,
    /// A contact.
    Contact,
}

/// How many of a kind were found.
#[derive(SimpleObject)]
pub struct SearchKindCount {
    /// What they are.
    kind: SearchKind,
    /// How many.
    count: i64,
}

/// How many emails of a mailbox were found.
#[derive(SimpleObject)]
pub struct SearchMailboxCount {
    /// The mailbox.
    mailbox: Mailbox,
    /// How many.
    count: i64,
}

/// How many emails from an address were found.
#[derive(SimpleObject)]
pub struct SearchSenderCount {
    /// The address in its canonical form, or as it is written where its domain is an international one; `from:` finds its
    /// emails.
    address: String,
    /// How many.
    count: i64,
}

/// How many of a month were found.
#[derive(SimpleObject)]
pub struct SearchMonthCount {
    /// Year and month, `2026-10`; `after:` and `before:` take it.
    month: String,
    /// How many.
    count: i64,
}
