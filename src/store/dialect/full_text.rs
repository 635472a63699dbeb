//! The index of words: FTS5 on SQLite, a tsvector under GIN on PostgreSQL. Both are given the very words that
//! `rules::search` makes, so that both find the same.
//! Not for: who may see what is found, or what becomes a word.

use super::super::db::AnyConn;
use super::super::sql::{Sql, Value, insert_all, sql};
use super::super::{StoreError, Tx};
use crate::rules::search::{Literal, Phrase, SearchQuery, Sought, Zone, Zones};
use diesel::RunQueryDsl;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types as st;
use std::collections::HashMap;
use std::io::Write as _;

/// Words of one document, in all its zones: a tsvector has places up to 16,383.
const WORDS_MAX: usize = 16_000;
/// The last place that a tsvector can say.
const PLACE_MAX: u16 = (1 << 14) - 1;
/// Bytes of its words: a tsvector has a megabyte, places of words included.
const WORD_BYTES_MAX: usize = 400_000;
/// Places at which one word is known in one document: a tsvector keeps 255.
const PLACES_MAX: usize = 250;
/// Stands where no word is looked for: between two texts of one zone, and where a word stood once too often. It is a
/// character of nobody's language, which both databases take for a letter.
const GAP: &str = "\u{e000}";
/// The number of [`GAP`]: words are numbered from one.
const GAP_NUMBER: u32 = 0;
/// Before the word that says what a document is.
const KIND: char = '\u{e001}';

/// Before each word of a title or sender, where that stands once more: what stands there alone is found among few, instead
/// of looking through all that has the word anywhere.
const HEAD: char = '\u{e002}';

/// The kinds of documents, as their words have them.
pub const KINDS: [&str; 4] = ["EMAIL", "LEAD", "DEAL", "CONTACT"];

/// Stands beside the kind of a mail with a file.
const FILE: &str = "FILE";

/// The words of a document by zones, with their places.
#[derive(Debug, Clone)]
pub struct Document {
    /// The numbers of their words, in the order of [`Zone::ALL`].
    zones: [Vec<u32>; 4],
    /// Those of the title and of the sender once more, marked as such.
    heads: Vec<u32>,
    words: usize,
    bytes: usize,
    /// Each word, with its number and how often it came.
    seen: HashMap<String, (u32, usize)>,
}

impl Document {
    /// An empty one of this kind.
    pub fn new(kind: &str) -> Self {
        let mut document = Self {
            zones: [const { Vec::new() }; 4],
            heads: Vec::new(),
            words: 0,
            bytes: 0,
            seen: HashMap::new(),
        };
        document.add(Zone::Title, [kind_word(kind)]);
        document
    }

    /// Says that it has a file, so that few such mails are found among many as fast as a rare word. Before its texts.
    pub fn note_file(&mut self) {
        self.add(Zone::Title, [kind_word(FILE)]);
    }

    /// Adds a text's words to a zone; phrases don't reach from one text to the next. What is too much is left out.
    pub fn add(&mut self, zone: Zone, words: impl IntoIterator<Item = String>) {
        for word in words {
            if self.is_full(word.len()) {
                return;
            }
            let is_head = Zones::HEAD.has(zone) && !word.starts_with(KIND);
            let marked = is_head.then(|| format!("{HEAD}{word}"));
            let number = self.number(word);
            self.push(zone, number);
            if let Some(marked) = marked {
                let number = self.number(marked);
                self.push_head(number);
            }
        }
        if !self.is_full(0) {
            self.push(zone, GAP_NUMBER);
            if Zones::HEAD.has(zone) {
                self.push_head(GAP_NUMBER);
            }
        }
    }

    /// The number under which a word is known, or that of a gap where it stood too often.
    fn number(&mut self, word: String) -> u32 {
        self.bytes = self.bytes.saturating_add(word.len());
        let next = u32::try_from(self.seen.len()).map_or(u32::MAX, |count| count + 1);
        let (number, times) = self.seen.entry(word).or_insert((next, 0));
        *times = times.saturating_add(1);
        if *times > PLACES_MAX {
            GAP_NUMBER
        } else {
            *number
        }
    }

    fn push_head(&mut self, word: u32) {
        self.words = self.words.saturating_add(1);
        self.heads.push(word);
    }

    fn is_full(&self, more_bytes: usize) -> bool {
        self.words >= WORDS_MAX || self.bytes.saturating_add(more_bytes) > WORD_BYTES_MAX
    }

    fn push(&mut self, zone: Zone, word: u32) {
        self.words = self.words.saturating_add(1);
        let [title, sender, recipients, text] = &mut self.zones;
        match zone {
            Zone::Title => title.push(word),
            Zone::Sender => sender.push(word),
            Zone::Recipients => recipients.push(word),
            Zone::Text => text.push(word),
        }
    }

    /// The words, each at its number.
    fn by_number(&self) -> Vec<&str> {
        let mut words = vec![GAP; self.seen.len().saturating_add(1)];
        for (word, (number, _times)) in &self.seen {
            if let Some(place) = words.get_mut(index(*number)) {
                *place = word;
            }
        }
        words
    }

    /// The words of each zone, in their order, with spaces between them; the marked ones stand in the title.
    fn texts(&self) -> [String; 4] {
        let words = self.by_number();
        let mut texts = self.zones.each_ref().map(|numbers| {
            let mut text = String::new();
            write_words(&mut text, numbers, &words);
            text
        });
        let [title, ..] = &mut texts;
        write_words(title, &self.heads, &words);
        texts
    }

    /// The words as a tsvector, each with its places and the weights of their zones.
    fn vector(&self) -> Vector {
        let words = self.by_number();
        let mut places: Vec<Vec<u16>> = vec![Vec::new(); words.len()];
        let mut place = 0_u16;
        let heads = std::iter::once((&Zone::Title, &self.heads));
        for (zone, numbers) in heads.chain(Zone::ALL.iter().zip(&self.zones)) {
            for number in numbers {
                place = place.saturating_add(1);
                if *number != GAP_NUMBER
                    && place <= PLACE_MAX
                    && let Some(at) = places.get_mut(index(*number))
                {
                    at.push(weight_bits(*zone) | place);
                }
            }
            // No phrase reaches from zone to zone.
            place = place.saturating_add(1);
        }
        let placed = words.iter().zip(places);
        let mut placed: Vec<(&str, Vec<u16>)> = placed
            .filter(|(_word, at)| !at.is_empty())
            .map(|(word, at)| (*word, at))
            .collect();
        // In PostgreSQL's own order, which spares it the sorting.
        placed.sort_unstable_by_key(|(word, _at)| *word);
        Vector::of(&placed)
    }
}

/// PostgreSQL's type.
#[derive(Debug, Clone, Copy, diesel::sql_types::SqlType)]
#[diesel(postgres_type(oid = 3614, array_oid = 3643))]
struct TsVector;

/// A tsvector as it goes over the wire: how many words; of each its text, a zero, how many places, and these. Its text, which
/// would have to be read and sorted, takes PostgreSQL twice as long as all the rest of an insert.
#[derive(Debug)]
struct Vector(Vec<u8>);

impl Vector {
    fn of(words: &[(&str, Vec<u16>)]) -> Self {
        let mut bytes = Vec::with_capacity(words.len().saturating_mul(16));
        bytes.extend(u32::try_from(words.len()).unwrap_or(0).to_be_bytes());
        for (word, places) in words {
            bytes.extend(word.as_bytes());
            bytes.push(0);
            bytes.extend(u16::try_from(places.len()).unwrap_or(0).to_be_bytes());
            bytes.extend(places.iter().flat_map(|place| place.to_be_bytes()));
        }
        Self(bytes)
    }
}

impl ToSql<TsVector, Pg> for Vector {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0)?;
        Ok(IsNull::No)
    }
}

/// Documents with their vectors, to be inserted together.
struct InsertVectors<'e>(Vec<(&'e Entry<'e>, Vector)>);

impl QueryId for InsertVectors<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for InsertVectors<'_> {}

impl QueryFragment<Pg> for InsertVectors<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO search_docs (id, kind, subject_id, at, words) VALUES ");
        let mut before = "(";
        for (entry, vector) in &self.0 {
            out.push_sql(before);
            before = "), (";
            out.push_bind_param::<st::BigInt, _>(&entry.id)?;
            out.push_sql(", ");
            out.push_bind_param::<st::Text, _>(entry.kind)?;
            out.push_sql(", ");
            out.push_bind_param::<st::BigInt, _>(&entry.subject)?;
            out.push_sql(", ");
            out.push_bind_param::<st::BigInt, _>(&entry.at_micros)?;
            out.push_sql(", ");
            out.push_bind_param::<TsVector, _>(vector)?;
        }
        out.push_sql(")");
        Ok(())
    }
}

fn write_words(text: &mut String, numbers: &[u32], words: &[&str]) {
    for number in numbers {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(words.get(index(*number)).copied().unwrap_or(GAP));
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn kind_word(kind: &str) -> String {
    format!("{KIND}{}", kind.to_ascii_lowercase())
}

/// As queries name it.
const fn weight(zone: Zone) -> char {
    match zone {
        Zone::Title => 'A',
        Zone::Sender => 'B',
        Zone::Recipients => 'C',
        Zone::Text => 'D',
    }
}

/// As vectors have it: A to D are the two highest bits of a place.
const fn weight_bits(zone: Zone) -> u16 {
    let number = match zone {
        Zone::Title => 3,
        Zone::Sender => 2,
        Zone::Recipients => 1,
        Zone::Text => 0,
    };
    number << 14
}

const fn column(zone: Zone) -> &'static str {
    match zone {
        Zone::Title => "title",
        Zone::Sender => "sender",
        Zone::Recipients => "recipients",
        Zone::Text => "text",
    }
}

/// A document with its id, and when what it is about came or was made.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'d> {
    pub id: i64,
    pub kind: &'static str,
    pub subject: i64,
    pub at_micros: i64,
    pub document: &'d Document,
}

/// Documents of one statement: each may have half a megabyte.
const ENTRIES_PER_INSERT: usize = 32;

/// Puts documents into the index, where none of their ids is.
///
/// # Errors
/// What the database says.
pub fn insert(tx: &mut Tx<'_>, entries: &[Entry<'_>]) -> Result<(), StoreError> {
    for part in entries.chunks(ENTRIES_PER_INSERT) {
        if let AnyConn::Pg(conn) = tx.conn {
            let with_vectors = part.iter().map(|entry| (entry, entry.document.vector()));
            InsertVectors(with_vectors.collect()).execute(conn)?;
        } else {
            insert_texts(tx, part)?;
        }
    }
    Ok(())
}

fn insert_texts(tx: &mut Tx<'_>, entries: &[Entry<'_>]) -> Result<(), StoreError> {
    let documents = entries.iter().map(|entry| {
        vec![
            entry.id.into(),
            entry.kind.into(),
            entry.subject.into(),
            entry.at_micros.into(),
        ]
    });
    let into = "search_docs (id, kind, subject_id, at)";
    insert_all(tx.conn, into, "", documents.collect())?;
    let texts = entries.iter().map(|entry| {
        let texts = entry.document.texts().map(Value::from);
        std::iter::once(Value::from(entry.id))
            .chain(texts)
            .collect()
    });
    let into = "search_index (rowid, title, sender, recipients, text)";
    insert_all(tx.conn, into, "", texts.collect())
}

/// Takes these documents out of the index.
///
/// # Errors
/// What the database says.
pub fn delete(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let of = |front: &'static str| sql(front).any_of(ids.iter().copied()).push(")");
    if matches!(tx.conn, AnyConn::Sqlite(_)) {
        of("DELETE FROM search_index WHERE rowid IN (").run(tx.conn)?;
    }
    of("DELETE FROM search_docs WHERE id IN (").run(tx.conn)?;
    Ok(())
}

/// The words that the index has for beginnings of words, where they are few: FTS5 puts together all documents of all of
/// them before it gives the first, and alternatives one after the other. For short ones it has indexes of their own.
/// PostgreSQL needs none.
#[derive(Debug, Default)]
pub struct Completions(HashMap<String, Vec<String>>);

/// Beginnings of so many letters are indexed, as the table says (`prefix`). One letter is a beginning of Chinese or Japanese.
const INDEXED: std::ops::RangeInclusive<usize> = 2..=3;
/// With more words the alternatives cost more than they spare.
const COMPLETIONS_MAX: usize = 300;

impl Completions {
    /// Those of the beginnings in a query, as the index is at this moment.
    ///
    /// # Errors
    /// What the database says.
    pub fn of(conn: &mut AnyConn, query: &SearchQuery) -> Result<Self, StoreError> {
        let mut found = HashMap::new();
        if matches!(conn, AnyConn::Pg(_)) {
            return Ok(Self(found));
        }
        for literal in query.groups.iter().flatten() {
            let Sought::Phrase(phrase) = &literal.sought else {
                continue;
            };
            let Some(last) = phrase.words.last().filter(|_last| phrase.is_prefix) else {
                continue;
            };
            for begun in [last.clone(), format!("{HEAD}{last}")] {
                if INDEXED.contains(&begun.chars().count()) {
                    continue;
                }
                if let Some(words) = words_that_begin(conn, &begun)? {
                    found.insert(begun, words);
                }
            }
        }
        Ok(Self(found))
    }

    /// What the phrase may be in full, its words being written so; `None` where that is not known.
    fn of_phrase(&self, phrase: &Phrase, words: &[String]) -> Option<Vec<String>> {
        let (last, before) = words.split_last().filter(|_words| phrase.is_prefix)?;
        let in_full = |word: &String| {
            let words: Vec<&str> = before.iter().chain([word]).map(String::as_str).collect();
            format!("\"{}\"", words.join(" "))
        };
        Some(self.0.get(last)?.iter().map(in_full).collect())
    }
}

/// The words of SQLite's index that begin so, unless there are too many. It is asked for one after the other: to list them
/// it would go through all their documents.
fn words_that_begin(conn: &mut AnyConn, begun: &str) -> Result<Option<Vec<String>>, StoreError> {
    let mut words: Vec<String> = Vec::new();
    let mut from = begun.to_owned();
    // No word has this character.
    let behind = format!("{begun}\u{10ffff}");
    loop {
        let next: Option<String> = sql("SELECT term FROM search_words WHERE term >= ")
            .bind(from)
            .push(" AND term < ")
            .bind(behind.as_str())
            .push(" LIMIT 1")
            .one(conn)?;
        let Some(next) = next else {
            return Ok(Some(words));
        };
        if words.len() == COMPLETIONS_MAX {
            return Ok(None);
        }
        // No word has this one either, which comes before all others.
        from = format!("{next}\u{1}");
        words.push(next);
    }
}

/// What the index is asked: a condition on words, for either database.
#[derive(Debug, Clone)]
pub struct Words {
    /// Whether it is an "and" or "or" that needs brackets, or one thing alone.
    is_compound: bool,
    fts5: String,
    tsquery: String,
}

impl Words {
    fn one(fts5: String, tsquery: String) -> Self {
        Self {
            is_compound: false,
            fts5,
            tsquery,
        }
    }

    /// Documents of one of these kinds.
    pub fn kinds(kinds: &[&str]) -> Option<Self> {
        let one = |kind: &&str| {
            let word = kind_word(kind);
            Self::one(format!("\"{word}\""), format!("'{word}'"))
        };
        Self::joined(kinds.iter().map(one), " OR ", " | ")
    }

    /// Documents that have a file.
    pub fn with_file() -> Option<Self> {
        Self::kinds(&[FILE])
    }

    /// All of these; `None` of none.
    pub fn all(of: impl IntoIterator<Item = Self>) -> Option<Self> {
        Self::joined(of, " AND ", " & ")
    }

    fn joined(of: impl IntoIterator<Item = Self>, and: &str, sign: &str) -> Option<Self> {
        let mut of = of.into_iter();
        let first = of.next()?;
        let mut fts5 = first.bracketed().0;
        let mut tsquery = first.bracketed().1;
        let mut is_compound = false;
        for other in of {
            is_compound = true;
            let (their_fts5, their_tsquery) = other.bracketed();
            fts5.push_str(and);
            fts5.push_str(&their_fts5);
            tsquery.push_str(sign);
            tsquery.push_str(&their_tsquery);
        }
        if is_compound {
            return Some(Self {
                is_compound,
                fts5,
                tsquery,
            });
        }
        Some(first)
    }

    fn bracketed(&self) -> (String, String) {
        if self.is_compound {
            (format!("({})", self.fts5), format!("({})", self.tsquery))
        } else {
            (self.fts5.clone(), self.tsquery.clone())
        }
    }

    /// This, and not the other.
    #[must_use]
    pub fn but_not(&self, other: &Self) -> Self {
        let (fts5, tsquery) = self.bracketed();
        let (their_fts5, their_tsquery) = other.bracketed();
        Self {
            is_compound: true,
            fts5: format!("{fts5} NOT {their_fts5}"),
            tsquery: format!("{tsquery} & !{their_tsquery}"),
        }
    }

    /// A group that asks for words alone, looked for within these zones; `None` where it also asks something else.
    pub fn of_group(group: &[Literal], within: Zones, completions: &Completions) -> Option<Self> {
        let all: Option<Vec<Self>> = group
            .iter()
            .map(|literal| Self::of_literal(literal, within, completions))
            .collect();
        Self::joined(all?, " OR ", " | ")
    }

    /// One literal about words.
    pub fn of_literal(literal: &Literal, within: Zones, completions: &Completions) -> Option<Self> {
        let Sought::Phrase(phrase) = &literal.sought else {
            return None;
        };
        let there = Self::of_phrase(phrase, within, completions);
        if !literal.is_negated {
            return there.or_else(Self::nothing);
        }
        // The index only says what is there: everything is of some kind.
        let everything = Self::kinds(&KINDS)?;
        Some(there.map_or(everything.clone(), |there| everything.but_not(&there)))
    }

    /// What no document has.
    fn nothing() -> Option<Self> {
        Self::kinds(&["none"])
    }

    /// `None` where it can't stand in any of these zones, or no word begins so.
    fn of_phrase(phrase: &Phrase, within: Zones, completions: &Completions) -> Option<Self> {
        let zones = phrase.zones.and(within);
        if zones.is_empty() {
            return None;
        }
        let star = if phrase.is_prefix { "*" } else { "" };
        let is_marked = zones == Zones::HEAD;
        let marked = phrase.words.iter().map(|word| format!("{HEAD}{word}"));
        let words: Vec<String> = if is_marked {
            marked.collect()
        } else {
            phrase.words.clone()
        };
        let mut fts5 = match completions.of_phrase(phrase, &words) {
            Some(completed) if completed.is_empty() => return None,
            Some(completed) => format!("({})", completed.join(" OR ")),
            None => format!("\"{}\"{star}", words.join(" ")),
        };
        if zones != Zones::ALL && !is_marked {
            let columns: Vec<&str> = named(zones, column).collect();
            fts5 = format!("{{{}}} : {fts5}", columns.join(" "));
        }
        let weights: String = if zones == Zones::ALL || is_marked {
            String::new()
        } else {
            named(zones, weight).collect()
        };
        let last = words.len().saturating_sub(1);
        let words: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(place, word)| {
                let star = if place == last { star } else { "" };
                let colon = if star.is_empty() && weights.is_empty() {
                    ""
                } else {
                    ":"
                };
                format!("'{word}'{colon}{star}{weights}")
            })
            .collect();
        let found = Self {
            is_compound: words.len() > 1,
            fts5,
            tsquery: words.join(" <-> "),
        };
        if !phrase.emails_only {
            return Some(found);
        }
        Self::all([Self::kinds(&["EMAIL"])?, found])
    }

    /// The front of a query for documents with these words, up to its `WHERE …`: `d` is the document's row, and
    /// [`Words::place`] its id.
    pub fn select(&self, conn: &AnyConn, columns: &'static str) -> Sql {
        let front = sql("SELECT ").push(columns);
        match conn {
            // The index goes first: it gives its documents in the order of their ids.
            AnyConn::Sqlite(_) => front
                .push(
                    " FROM search_index f CROSS JOIN search_docs d ON d.id = f.rowid WHERE f.search_index MATCH ",
                )
                .bind(self.fts5.clone()),
            AnyConn::Pg(_) => front
                .push(" FROM search_docs d WHERE d.words @@ CAST(")
                .bind(self.tsquery.clone())
                .push(" AS tsquery)"),
        }
    }

    /// The column that [`Words::select`] orders by.
    pub const fn place(conn: &AnyConn) -> &'static str {
        match conn {
            AnyConn::Sqlite(_) => "f.rowid",
            AnyConn::Pg(_) => "d.id",
        }
    }

    /// The condition that a document, a row of `search_docs` called `d`, has these words.
    pub fn condition(&self, conn: &AnyConn) -> Sql {
        match conn {
            AnyConn::Sqlite(_) => {
                sql("d.id IN (SELECT w.rowid FROM search_index w WHERE w.search_index MATCH ")
                    .bind(self.fts5.clone())
                    .push(")")
            }
            AnyConn::Pg(_) => sql("d.words @@ CAST(")
                .bind(self.tsquery.clone())
                .push(" AS tsquery)"),
        }
    }
}

fn named<T>(zones: Zones, name: impl Fn(Zone) -> T) -> impl Iterator<Item = T> {
    Zone::ALL
        .into_iter()
        .filter(move |zone| zones.has(*zone))
        .map(name)
}

/// Has PostgreSQL plan each question by its own words, until the transaction ends: a plan for any words is bad for most.
/// A look at a document's words costs about as much on the way through all documents as by the index of words, which it
/// does not know: it takes the first to be nearly free, and what lies in memory to lie on disk. With rows as dear as pages
/// it changes its way where both take equally long. What several processes find together comes in no order.
///
/// # Errors
/// What the database says.
pub fn plan_by_words(conn: &mut AnyConn) -> Result<(), StoreError> {
    if matches!(conn, AnyConn::Pg(_)) {
        sql(
            "SELECT set_config('plan_cache_mode', 'force_custom_plan', TRUE), set_config('random_page_cost', '0.1', TRUE), \
             set_config('seq_page_cost', '0.1', TRUE), set_config('cpu_tuple_cost', '0.1', TRUE), \
             set_config('cpu_index_tuple_cost', '0.1', TRUE), set_config('max_parallel_workers_per_gather', '0', TRUE)",
        )
        .run(conn)?;
    }
    Ok(())
}

/// The month of a document `d` in UTC, `2026-10`.
pub const fn month(conn: &AnyConn) -> &'static str {
    match conn {
        AnyConn::Sqlite(_) => "strftime('%Y-%m', d.at / 1000000, 'unixepoch')",
        AnyConn::Pg(_) => "to_char(to_timestamp(d.at / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM')",
    }
}

/// Locks those rows that a query selects which nobody is about to delete, against deletion: others are left out.
pub fn undeleted(conn: &AnyConn, query: Sql) -> Sql {
    match conn {
        AnyConn::Sqlite(_) => query,
        AnyConn::Pg(_) => query.push(" FOR KEY SHARE SKIP LOCKED"),
    }
}

/// What follows the columns of an `INSERT` that gives numbers which the database else gives by itself.
pub const fn numbered(conn: &AnyConn) -> &'static str {
    match conn {
        AnyConn::Sqlite(_) => "",
        AnyConn::Pg(_) => " OVERRIDING SYSTEM VALUE",
    }
}
