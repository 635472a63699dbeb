//! Searching: pages, counts and facets of what a query finds among the emails and items that the viewer may see. The rights
//! are a part of each statement, so that nothing hidden is found, counted or ordered by.
//!
//! What is found is ranked by one number: its time, moved on by years where the words stand in what it is called or in
//! whose it is. Each rank is a list of its own that the index gives in the order of time, so that a page costs a page.
//! Not for: what a query means (that is `rules::search`).

use super::dialect::full_text::{self, Completions, KINDS, Words};
use super::narrow::{self, Narrow};
use super::page::{Key, KeyPart, Page, PageRequest, count_up_to};
use super::scope;
use super::search_index::{apart, numbered_from};
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError, reads};
use crate::model::item::ItemKind;
use crate::model::people::RestrictedField;
use crate::model::{EmailId, ItemId, MailboxId};
use crate::rules::access::EmailScope;
use crate::rules::search::{Filter, Group, Literal, SearchQuery, Sought, Zone, Zones};
use std::collections::BTreeMap;

/// An item that is called so goes before any mail of the last twenty years.
const CALLED_SO_SECONDS: i64 = 20 * 365 * 86_400;
/// A mail whose subject or sender has the words is taken to be so much newer.
const HEADED_SO_SECONDS: i64 = 180 * 86_400;

/// Ends a question about one document. PostgreSQL would read all mails into a table of its own to answer it for many, and
/// only a page of them is asked about.
const ONE_BY_ONE: &str = " LIMIT 1 OFFSET 0";

/// What is looked for, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Search<'s> {
    pub query: &'s SearchQuery,
    /// By either way (R22).
    pub within: &'s EmailScope,
    /// Fields that are hidden from the viewer (R26): nobody finds what they may not read.
    pub hidden: &'s [RestrictedField],
}

/// A search with what is looked up before its documents.
struct Prepared<'s> {
    search: &'s Search<'s>,
    /// Where the viewer sees few.
    narrow: Option<Narrow>,
    completions: Completions,
}

impl<'s> Prepared<'s> {
    /// Read within the moment that the documents are read in.
    fn new(conn: &mut AnyConn, search: &'s Search<'s>) -> Result<Self, StoreError> {
        let narrow = narrow::documents(conn, search.within)?;
        full_text::plan_by_words(conn)?;
        let completions = Completions::of(conn, search.query)?;
        Ok(Self {
            search,
            narrow,
            completions,
        })
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Email(EmailId),
    Item(ItemKind, ItemId),
}

/// Documents that are searched alike: of these kinds, in these zones.
#[derive(Debug, Clone)]
struct Shelf {
    kinds: Vec<&'static str>,
    zones: Zones,
}

/// One rank of a shelf: its words, and by how much its documents are put before others.
struct Rank {
    words: Option<Words>,
    kinds: Vec<&'static str>,
    ahead: i64,
}

impl Shelf {
    fn is_whole(&self) -> bool {
        self.kinds.len() == KINDS.len()
    }
}

/// The shelves of a viewer: items whose addresses are hidden from them are searched without those.
fn shelves(search: &Search<'_>) -> Vec<Shelf> {
    let hides = |field| search.hidden.contains(&field);
    let is_bare = |kind: &&'static str| match *kind {
        "LEAD" => hides(RestrictedField::LeadAddresses),
        "CONTACT" => hides(RestrictedField::ContactAddresses),
        _ => false,
    };
    let (bare, whole): (Vec<&str>, Vec<&str>) = KINDS.into_iter().partition(is_bare);
    let mut shelves = vec![Shelf {
        kinds: whole,
        zones: Zones::ALL,
    }];
    if !bare.is_empty() {
        shelves.push(Shelf {
            kinds: bare,
            zones: Zones::ALL.without(Zone::Sender),
        });
    }
    shelves
}

/// Whether a group asks for words anywhere: where all such groups stand in the head of a document, it goes before others.
fn is_plain(group: &Group) -> bool {
    group.iter().all(|literal| match &literal.sought {
        Sought::Phrase(phrase) => !literal.is_negated && phrase.zones == Zones::ALL,
        Sought::Filter(_) => false,
    })
}

/// The words that all groups about words ask for, within these zones, plain ones within `plain_zones` of them; `None` where
/// none is about words alone.
fn words_of(prepared: &Prepared<'_>, zones: Zones, plain_zones: Zones) -> Option<Words> {
    let completions = &prepared.completions;
    let mut excluded = Vec::new();
    let mut wanted = Vec::new();
    for group in &prepared.search.query.groups {
        match group.as_slice() {
            [one] if matches!(one.sought, Sought::Filter(Filter::HasAttachment)) => {
                let side = if one.is_negated {
                    &mut excluded
                } else {
                    &mut wanted
                };
                side.extend(Words::with_file());
            }
            [one] if one.is_negated => {
                let positive = Literal {
                    is_negated: false,
                    sought: one.sought.clone(),
                };
                excluded.extend(Words::of_literal(&positive, zones, completions));
            }
            _ if is_plain(group) => {
                wanted.extend(Words::of_group(group, plain_zones, completions));
            }
            group => wanted.extend(Words::of_group(group, zones, completions)),
        }
    }
    if wanted.is_empty() && !excluded.is_empty() {
        wanted.extend(Words::kinds(&KINDS));
    }
    let all = Words::all(wanted)?;
    let without = |found: Words, other: &Words| found.but_not(other);
    Some(excluded.iter().fold(all, without))
}

/// The plain groups, looked for in heads.
fn head_of(prepared: &Prepared<'_>, zones: Zones) -> Option<Words> {
    let groups = prepared.search.query.groups.iter();
    let plain = groups.filter(|group| is_plain(group));
    Words::all(plain.filter_map(|group| Words::of_group(group, zones, &prepared.completions)))
}

fn of_kinds(words: Words, kinds: &[&'static str]) -> Words {
    if kinds.len() == KINDS.len() {
        return words;
    }
    let kinds = Words::kinds(kinds);
    Words::all(kinds.into_iter().chain([words.clone()])).unwrap_or(words)
}

/// The ranks of a shelf, the first going before the others.
fn ranks(prepared: &Prepared<'_>, shelf: &Shelf) -> Vec<Rank> {
    let rank = |words: Option<Words>, kinds: Vec<&'static str>, ahead: i64| Rank {
        words: words.map(|words| of_kinds(words, &kinds)),
        kinds,
        ahead,
    };
    let words = words_of(prepared, shelf.zones, shelf.zones);
    let heads = shelf.zones.and(Zones::HEAD);
    let head = words.as_ref().and(head_of(prepared, heads));
    let (Some(words), Some(head)) = (&words, head) else {
        return vec![rank(words, shelf.kinds.clone(), 0)];
    };
    let (emails, items): (Vec<&str>, Vec<&str>) =
        shelf.kinds.iter().partition(|kind| **kind == "EMAIL");
    let headed = words_of(prepared, shelf.zones, heads);
    vec![
        rank(headed.clone(), items, apart(CALLED_SO_SECONDS)),
        rank(headed, emails, apart(HEADED_SO_SECONDS)),
        rank(Some(words.but_not(&head)), shelf.kinds.clone(), 0),
    ]
}

/// A query for documents up to its conditions on rows, and the column by which they are ordered.
fn select(
    conn: &AnyConn,
    prepared: &Prepared<'_>,
    (words, kinds): (Option<&Words>, &[&'static str]),
    columns: &'static str,
) -> (Sql, &'static str) {
    let narrow = prepared.narrow.as_ref();
    let (front, place) = match words {
        Some(words) => {
            let place = match conn {
                // PostgreSQL would follow the ids past all that the viewer does not see.
                AnyConn::Pg(_) if narrow.is_some() => "+d.id",
                _ => Words::place(conn),
            };
            (words.select(conn, columns), place)
        }
        None => {
            let front = sql("SELECT ")
                .push(columns)
                .push(" FROM search_docs d WHERE ");
            let front = if kinds.len() == KINDS.len() {
                front.push("TRUE")
            } else {
                front
                    .push("d.kind IN (")
                    .list(kinds.iter().copied())
                    .push(")")
            };
            // What is looked up is sorted.
            (front, if narrow.is_some() { "+d.id" } else { "d.id" })
        }
    };
    let query = Narrow::apply(narrow, front)
        .push(" AND ")
        .then(readable(prepared.search));
    (
        about_rows(conn, prepared, (query, place), |_group| true),
        place,
    )
}

/// A query with the groups that ask about rows, of those that are meant.
fn about_rows(
    conn: &AnyConn,
    prepared: &Prepared<'_>,
    (mut query, place): (Sql, &'static str),
    is_meant: impl Fn(&[Literal]) -> bool,
) -> Sql {
    let groups = prepared.search.query.groups.iter();
    for group in groups.filter(|group| is_about_rows(group) && is_meant(group)) {
        query = query.push(" AND (FALSE");
        for literal in group {
            query = query
                .push(" OR ")
                .then(literal_condition(conn, prepared, (literal, place)));
        }
        query = query.push(")");
    }
    query
}

/// Whether a group asks about time alone, which is the order of documents.
fn is_about_time(group: &[Literal]) -> bool {
    let is_time = |literal: &Literal| {
        let time = matches!(
            literal.sought,
            Sought::Filter(Filter::Before(_) | Filter::After(_))
        );
        time && !literal.is_negated
    };
    group.iter().all(is_time)
}

/// Whether a group asks more than the index knows.
fn is_about_rows(group: &[Literal]) -> bool {
    group
        .iter()
        .any(|literal| matches!(literal.sought, Sought::Filter(_)))
}

/// R21, R22, R23: what the document is about may be seen.
fn readable(search: &Search<'_>) -> Sql {
    sql("(CASE WHEN d.kind = 'EMAIL' THEN EXISTS (SELECT 1 FROM emails e WHERE e.id = d.subject_id AND ")
        .then(scope::emails(search.within, "e"))
        .push(ONE_BY_ONE)
        .push(") ELSE EXISTS (SELECT 1 FROM items i WHERE i.id = d.subject_id AND ")
        .then(scope::items(search.within.items(), "i"))
        .push(ONE_BY_ONE)
        .push(") END)")
}

fn literal_condition(
    conn: &AnyConn,
    prepared: &Prepared<'_>,
    (literal, place): (&Literal, &'static str),
) -> Sql {
    let condition = match &literal.sought {
        Sought::Filter(filter) => filter_condition(prepared.search, filter, place),
        Sought::Phrase(_) => {
            let positive = Literal {
                is_negated: false,
                sought: literal.sought.clone(),
            };
            phrase_condition(conn, prepared, &positive)
        }
    };
    let not = if literal.is_negated { "(NOT (" } else { "((" };
    sql(not).then(condition).push("))")
}

/// A phrase beside filters: in the zones of whichever shelf the document lies on.
fn phrase_condition(conn: &AnyConn, prepared: &Prepared<'_>, literal: &Literal) -> Sql {
    let mut condition = sql("(FALSE");
    for shelf in shelves(prepared.search) {
        let Some(words) = Words::of_literal(literal, shelf.zones, &prepared.completions) else {
            continue;
        };
        condition = condition.push(" OR (").then(words.condition(conn));
        if !shelf.is_whole() {
            condition = condition
                .push(" AND d.kind IN (")
                .list(shelf.kinds.iter().copied())
                .push(")");
        }
        condition = condition.push(")");
    }
    condition.push(")")
}

/// Emails that hang on items which the viewer may read and of which this holds; or such an item itself.
fn on_items(search: &Search<'_>, of: impl Fn(Sql, &'static str) -> Sql) -> Sql {
    let itself = of(sql("(d.kind <> 'EMAIL' AND "), "d");
    let linked = itself.push(
        ") OR (d.kind = 'EMAIL' AND EXISTS (SELECT 1 FROM email_links fl JOIN items fi ON fi.id = fl.item_id \
         WHERE fl.email_id = d.subject_id AND ",
    );
    of(linked, "fi")
        .push(" AND ")
        .then(scope::items(search.within.items(), "fi"))
        .push(ONE_BY_ONE)
        .push("))")
}

/// The rest of `EXISTS (… WHERE the email is the document's and lies in a mailbox that the viewer has`.
fn in_own_mailbox(search: &Search<'_>, front: &'static str) -> Sql {
    sql(front)
        .push(" fe.id = d.subject_id AND fe.mailbox_id IN (")
        .then(scope::mailbox_ids(search.within.mailboxes()))
        .push(")")
}

/// The condition of a filter; `place` is the column by which documents are numbered.
fn filter_condition(search: &Search<'_>, filter: &Filter, place: &'static str) -> Sql {
    match filter {
        Filter::HasAttachment => sql(
            "d.kind = 'EMAIL' AND EXISTS (SELECT 1 FROM attachments fa WHERE fa.email_id = d.subject_id AND NOT fa.is_inline",
        )
        .push(ONE_BY_ONE)
        .push(")"),
        Filter::InKind(kind) => on_items(search, |front, alias| {
            front.push(alias).push(".kind = ").bind(kind.as_text())
        }),
        Filter::InItem { item: None, .. } => sql("FALSE"),
        Filter::InItem { item: Some(id), .. } => on_items(search, |front, alias| {
            let column = if alias == "d" { ".subject_id" } else { ".id" };
            front.push(alias).push(column).push(" = ").bind(id.0)
        }),
        Filter::Mailbox(address) => in_own_mailbox(
            search,
            "d.kind = 'EMAIL' AND EXISTS (SELECT 1 FROM emails fe JOIN mailboxes fm ON fm.id = fe.mailbox_id WHERE",
        )
        .push(" AND LOWER(fm.address) = ")
        .bind(address.as_str())
        .push(ONE_BY_ONE)
        .push(")"),
        // Documents are numbered by their time, so that others are not even looked at.
        Filter::Before(at) => sql("d.at < ")
            .bind(at.micros())
            .push(" AND ")
            .push(place)
            .push(" < ")
            .bind(numbered_from(at.plus_seconds(1))),
        Filter::After(at) => sql("d.at >= ")
            .bind(at.micros())
            .push(" AND ")
            .push(place)
            .push(" >= ")
            .bind(numbered_from(*at)),
        // What may not be seen is passed over first, which costs less.
        Filter::IsUnread => sql(
            "d.kind = 'EMAIL' AND (CASE WHEN EXISTS (SELECT 1 FROM emails fe WHERE fe.id = d.subject_id AND ",
        )
        .then(scope::emails(search.within, "fe"))
        .push(ONE_BY_ONE)
        .push(") THEN EXISTS (SELECT 1 FROM emails ue WHERE ue.id = d.subject_id AND ")
        .then(reads::is_unread(search.within, "ue"))
        .push(ONE_BY_ONE)
        .push(") ELSE FALSE END)"),
    }
}

/// A page of what the query finds, the best first. Read within one moment: a page is several statements.
///
/// # Errors
/// What the database says.
pub fn list(
    conn: &mut AnyConn,
    search: &Search<'_>,
    page: &PageRequest,
) -> Result<Page<Found>, StoreError> {
    if search.query.is_empty() {
        return Ok(page.page(Vec::new()));
    }
    let prepared = Prepared::new(conn, search)?;
    let mut found = Vec::new();
    for shelf in shelves(search) {
        for rank in ranks(&prepared, &shelf) {
            if !rank.kinds.is_empty() {
                found.extend(of_rank(conn, &prepared, &rank, page)?);
            }
        }
    }
    // Each rank gave its beginning: so is what comes first of all ranks together.
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    if page.backward {
        found.reverse();
    }
    found.truncate(usize::try_from(page.limit.saturating_add(1)).unwrap_or(0));
    let row = |((score, id), found): ((i64, i64), Found)| {
        (vec![KeyPart::Number(score), KeyPart::Number(id)], found)
    };
    Ok(page.page(found.into_iter().map(row).collect()))
}

type Scored = ((i64, i64), Found);

/// What one rank has of a page: documents with their score and id.
fn of_rank(
    conn: &mut AnyConn,
    prepared: &Prepared<'_>,
    rank: &Rank,
    page: &PageRequest,
) -> Result<Vec<Scored>, StoreError> {
    let direction = if page.backward { " ASC" } else { " DESC" };
    let in_turn = |query: Sql, place: &'static str| {
        let query = between(query, place, (rank, page));
        query.push(" ORDER BY ").push(place).push(direction)
    };
    let query = match (&rank.words, &prepared.narrow) {
        (Some(words), None) if matches!(conn, AnyConn::Pg(_)) => {
            one_by_one(conn, prepared, words, in_turn)
        }
        (words, _narrow) => {
            let what = (words.as_ref(), rank.kinds.as_slice());
            let (query, place) = select(conn, prepared, what, "d.id, d.kind, d.subject_id");
            in_turn(query, place)
        }
    };
    let rows: Vec<(i64, String, i64)> = query
        .push(" LIMIT ")
        .bind(page.limit.saturating_add(1))
        .rows(conn)?;
    rows.into_iter()
        .map(|(id, kind, subject)| {
            let score = id.saturating_add(rank.ahead);
            Ok(((score, id), found(&kind, subject, id)?))
        })
        .collect()
}

/// A query of PostgreSQL for documents with these words, which `in_turn` puts into their order; each in turn is asked
/// whether it may be seen, and for what else there is to ask. SQLite's index gives one after the other; PostgreSQL would
/// ask all that have the words before it sorts them.
fn one_by_one(
    conn: &AnyConn,
    prepared: &Prepared<'_>,
    words: &Words,
    in_turn: impl Fn(Sql, &'static str) -> Sql,
) -> Sql {
    let asks_words = |literal: &Literal| matches!(literal.sought, Sought::Phrase(_));
    let mut groups = prepared.search.query.groups.iter();
    // What is sorted is small, unless a filter stands beside words.
    let columns = if groups.any(|group| is_about_rows(group) && group.iter().any(asks_words)) {
        "d.id, d.kind, d.subject_id, d.at, d.words"
    } else {
        "d.id, d.kind, d.subject_id, d.at"
    };
    let place = "d.id";
    let inner = words.select(conn, columns);
    let inner = about_rows(conn, prepared, (inner, place), is_about_time);
    let query = sql("SELECT d.id, d.kind, d.subject_id FROM (")
        .then(in_turn(inner, place))
        .push(" OFFSET 0) d WHERE ")
        .then(readable(prepared.search));
    let is_other = |group: &[Literal]| !is_about_time(group);
    // A subquery's order stays, as nothing is joined to it. To order by it again would have all of it read first.
    about_rows(conn, prepared, (query, place), is_other)
}

/// A query with the bounds of a page.
fn between(mut query: Sql, place: &'static str, (rank, page): (&Rank, &PageRequest)) -> Sql {
    if let Some((score, id)) = page.after.as_ref().and_then(place_of) {
        // Behind this place: a lower score, or the same with a lower id.
        let own = score.saturating_sub(rank.ahead);
        let below = own.saturating_add(i64::from(own < id));
        query = query.push(" AND ").push(place).push(" < ").bind(below);
    }
    if let Some((score, id)) = page.before.as_ref().and_then(place_of) {
        let own = score.saturating_sub(rank.ahead);
        let above = own.saturating_sub(i64::from(own > id));
        query = query.push(" AND ").push(place).push(" > ").bind(above);
    }
    query
}

fn place_of(key: &Key) -> Option<(i64, i64)> {
    match key.as_slice() {
        [KeyPart::Number(score), KeyPart::Number(id)] => Some((*score, *id)),
        _ => None,
    }
}

fn found(kind: &str, subject: i64, row: i64) -> Result<Found, StoreError> {
    if kind == "EMAIL" {
        return Ok(Found::Email(EmailId(subject)));
    }
    let kind = ItemKind::from_text(kind).ok_or(StoreError::Corrupt {
        table: "search_docs",
        column: "kind",
        row,
    })?;
    Ok(Found::Item(kind, ItemId(subject)))
}

/// All that a shelf has of the query, in no order.
fn whole_shelf(
    conn: &AnyConn,
    prepared: &Prepared<'_>,
    shelf: &Shelf,
    columns: &'static str,
) -> (Sql, &'static str) {
    let words =
        words_of(prepared, shelf.zones, shelf.zones).map(|words| of_kinds(words, &shelf.kinds));
    select(conn, prepared, (words.as_ref(), &shelf.kinds), columns)
}

/// How much the query finds, up to `limit`; whether that is all. Read within one moment, as a page.
///
/// # Errors
/// What the database says.
pub fn count(
    conn: &mut AnyConn,
    search: &Search<'_>,
    limit: i64,
) -> Result<(i64, bool), StoreError> {
    let mut total = 0_i64;
    if search.query.is_empty() {
        return Ok((0, true));
    }
    let prepared = Prepared::new(conn, search)?;
    for shelf in shelves(search) {
        let (query, _place) = whole_shelf(conn, &prepared, &shelf, "d.id");
        let (counted, is_exact) = count_up_to(conn, query, limit.saturating_sub(total))?;
        total = total.saturating_add(counted);
        if !is_exact {
            return Ok((limit, false));
        }
    }
    Ok((total, true))
}

/// By what found documents can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facet {
    Kind,
    /// Only mailboxes that the viewer has access to (R22).
    Mailbox,
    /// Senders, by their canonical address; given as written where that can't be searched for.
    Sender,
    /// In UTC.
    Month,
}

/// How many of the found documents have a value of a facet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacetCount {
    /// A kind, a mailbox's id, an address that `from:` finds, or a month (`2026-10`).
    pub value: String,
    pub count: i64,
}

impl FacetCount {
    /// The mailbox that it is about.
    pub fn mailbox(&self) -> Option<MailboxId> {
        self.value.parse().ok().map(MailboxId)
    }
}

/// Found documents that facets look at, the newest: a count reads every row that it counts.
pub const FACET_ROWS_MAX: i64 = 10_000;

/// The values of a facet with their counts, the most frequent first, at most so many; months by their order, the newest
/// first. Counts are of the newest [`FACET_ROWS_MAX`] documents of each shelf.
///
/// # Errors
/// What the database says.
pub fn facet(
    conn: &mut AnyConn,
    search: &Search<'_>,
    facet: Facet,
    values_max: usize,
) -> Result<Vec<FacetCount>, StoreError> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    if search.query.is_empty() {
        return Ok(Vec::new());
    }
    let prepared = Prepared::new(conn, search)?;
    for shelf in shelves(search) {
        for (value, count) in counts_of(conn, &prepared, &shelf, facet)? {
            let total = counts.entry(value).or_default();
            *total = total.saturating_add(count);
        }
    }
    let mut found: Vec<FacetCount> = counts
        .into_iter()
        .map(|(value, count)| FacetCount { value, count })
        .collect();
    if facet == Facet::Month {
        found.reverse();
    } else {
        found.sort_by_key(|one| std::cmp::Reverse(one.count));
    }
    found.truncate(values_max);
    Ok(found)
}

fn counts_of(
    conn: &mut AnyConn,
    prepared: &Prepared<'_>,
    shelf: &Shelf,
    facet: Facet,
) -> Result<Vec<(String, i64)>, StoreError> {
    let (rows, place) = whole_shelf(conn, prepared, shelf, "d.kind, d.subject_id, d.at");
    let newest = rows
        .push(" ORDER BY ")
        .push(place)
        .push(" DESC LIMIT ")
        .bind(FACET_ROWS_MAX);
    let front = match facet {
        Facet::Kind => sql("SELECT d.kind AS value, COUNT(*) FROM ("),
        Facet::Month => sql("SELECT ")
            .push(full_text::month(conn))
            .push(" AS value, COUNT(*) FROM ("),
        Facet::Mailbox => sql("SELECT CAST(fe.mailbox_id AS TEXT) AS value, COUNT(*) FROM ("),
        // Words are indexed as they are written: an international domain is not found by its canonical form.
        Facet::Sender => sql(
            "SELECT CASE WHEN fp.address_key LIKE '%xn--%' THEN MIN(fp.address) ELSE fp.address_key END AS value, \
             COUNT(DISTINCT d.subject_id) FROM (",
        ),
    };
    let query = front.then(newest).push(") d");
    let query = match facet {
        Facet::Kind | Facet::Month => query,
        Facet::Mailbox => query
            .push(" JOIN emails fe ON fe.id = d.subject_id WHERE d.kind = 'EMAIL' AND fe.mailbox_id IN (")
            .then(scope::mailbox_ids(prepared.search.within.mailboxes()))
            .push(")"),
        Facet::Sender => query.push(
            " JOIN participants fp ON fp.email_id = d.subject_id AND fp.role = 'FROM' \
             WHERE d.kind = 'EMAIL' AND fp.address_key IS NOT NULL",
        ),
    };
    let by = match facet {
        Facet::Sender => " GROUP BY fp.address_key",
        Facet::Kind | Facet::Month | Facet::Mailbox => " GROUP BY 1",
    };
    query.push(by).rows(conn)
}
