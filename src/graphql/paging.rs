//! Relay connections over the store's keyset pages: arguments in, cursors and counts out.
//! Not for: what a list holds.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use async_graphql::{Object, OutputType, Result, SimpleObject, TypeName};

use super::context::{Ask, Scopes};
use super::error;
use super::scalars::Cursor;
use super::straight::{Selected, Straight, Writer};
use crate::model::UserId;
use crate::store::codec::Codec;
use crate::store::page::{Key, Page, PageRequest};
use crate::store::{AnyConn, StoreError};

/// The largest page: each node is a future of its own, and half the time of 1,000 goes into those.
pub const PAGE_MAX: i32 = 100;
/// The page when neither `first` nor `last` is given.
const PAGE_DEFAULT: i64 = 20;
/// The most that `totalCount` counts to: a count reads every row that it counts.
const COUNT_MAX: i32 = 100_000;

/// The four arguments of every connection.
#[derive(Debug, Clone, Default)]
pub struct PageArgs {
    pub first: Option<i32>,
    pub after: Option<Cursor>,
    pub last: Option<i32>,
    pub before: Option<Cursor>,
}

/// Names one list of one viewer. Cursors are sealed for it and open nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListName(Arc<str>);

impl ListName {
    /// A list by its own name and whatever narrows and orders it.
    pub fn new(viewer: UserId, list: &str, narrowed: &impl Debug) -> Self {
        Self(format!("{}/{list}/{narrowed:?}", viewer.0).into())
    }

    /// The cursor of a row in this list.
    pub fn seal(&self, codec: &Codec, key: &Key) -> Cursor {
        Cursor(codec.seal_cursor(&self.0, key))
    }

    /// The row's key in a cursor of this list.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` for any other text.
    pub fn open(&self, codec: &Codec, cursor: &Cursor) -> Result<Key> {
        codec
            .open_cursor(&self.0, &cursor.0)
            .ok_or_else(|| error::bad_input("This cursor was not given for this list."))
    }
}

impl PageArgs {
    /// The page that is asked for.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` for both of `first` and `last`, for a number outside 1 to 100, and for a cursor of another list.
    pub fn request(&self, codec: &Codec, list: &ListName) -> Result<PageRequest> {
        let (asked, backward) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(error::bad_input("Give `first` or `last`, not both."));
            }
            (first, None) => (first, false),
            (None, last) => (last, true),
        };
        if asked.is_some_and(|asked| !(1..=PAGE_MAX).contains(&asked)) {
            let name = if backward { "last" } else { "first" };
            return Err(error::bad_input(format!(
                "`{name}` is between 1 and {PAGE_MAX}."
            )));
        }
        let open = |cursor: &Option<Cursor>| {
            cursor
                .as_ref()
                .map(|cursor| list.open(codec, cursor))
                .transpose()
        };
        Ok(PageRequest {
            limit: asked.map_or(PAGE_DEFAULT, i64::from),
            backward,
            after: open(&self.after)?,
            before: open(&self.before)?,
        })
    }
}

/// A type that lists hold, and how its connection and edges are called.
pub trait Listed: OutputType + Clone {
    const CONNECTION: &'static str;
    const EDGE: &'static str;

    /// How nodes are written straight to JSON; `None` where what is selected of them takes more than their rows.
    fn writer<'a>(_nodes: Vec<&'a Self>, _selected: Selected<'a>) -> Writer<'a> {
        Box::pin(std::future::ready(None))
    }
}

/// Counts a list up to a limit: how many, and whether that is all of them.
pub type Counter =
    Arc<dyn Fn(&mut AnyConn, &Scopes, i64) -> Result<(i64, bool), StoreError> + Send + Sync>;

/// One page of a list.
pub struct Connection<N: Listed> {
    ask: Ask,
    list: ListName,
    rows: Vec<(Key, N)>,
    has_next: bool,
    has_previous: bool,
    counter: Counter,
}

impl<N: Listed> Connection<N> {
    /// The page that the store gave, its rows shaped.
    pub fn new<T>(
        ask: &Ask,
        list: ListName,
        page: Page<T>,
        counter: Counter,
        shape: impl Fn(T) -> N,
    ) -> Self {
        Self {
            ask: ask.clone(),
            list,
            rows: page
                .rows
                .into_iter()
                .map(|(key, row)| (key, shape(row)))
                .collect(),
            has_next: page.has_next,
            has_previous: page.has_previous,
            counter,
        }
    }

    /// The page's edges.
    pub fn edges_of(&self) -> Vec<Edge<N>> {
        let edge = |(key, node): &(Key, N)| Edge {
            ask: self.ask.clone(),
            list: self.list.clone(),
            key: key.clone(),
            node: node.clone(),
        };
        self.rows.iter().map(edge).collect()
    }

    /// The page's nodes.
    pub fn nodes_of(&self) -> Vec<&N> {
        self.rows.iter().map(|(_key, node)| node).collect()
    }

    /// Where the page stands in the list.
    pub fn info(&self) -> PageInfo {
        let seal = |row: &(Key, N)| self.list.seal(self.ask.codec(), &row.0);
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: self.rows.first().map(seal),
            end_cursor: self.rows.last().map(seal),
        }
    }

    /// How long the list is, counted up to `limit`.
    ///
    /// # Errors
    /// `BAD_USER_INPUT` for a limit outside 1 to 100,000, `INTERNAL` where the store fails.
    pub async fn count(&self, limit: i32) -> Result<Count> {
        if !(1..=COUNT_MAX).contains(&limit) {
            return Err(error::bad_input(format!(
                "`limit` is between 1 and {COUNT_MAX}."
            )));
        }
        let counter = self.counter.clone();
        let (value, is_exact) = self
            .ask
            .read_at_once(move |conn, scopes| counter(conn, scopes, i64::from(limit)))
            .await?;
        Ok(Count { value, is_exact })
    }
}

impl<N: Listed> TypeName for Connection<N> {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed(N::CONNECTION)
    }
}

/// One page of a list, of what the viewer may see.
#[Object(name_type)]
impl<N: Listed> Connection<N> {
    /// The rows of the page, each with its cursor.
    async fn edges(&self) -> Straight<Edge<N>> {
        Straight(self.edges_of())
    }

    /// The rows of the page.
    async fn nodes(&self) -> Straight<&N> {
        Straight(self.nodes_of())
    }

    /// Where the page stands in the list.
    async fn page_info(&self) -> PageInfo {
        self.info()
    }

    /// How long the whole list is; counted only when selected.
    async fn total_count(
        &self,
        #[graphql(
            default = 1000,
            desc = "Counting stops here, at most at 100,000; `isExact` says whether it did."
        )]
        limit: i32,
    ) -> Result<Count> {
        self.count(limit).await
    }
}

/// A row of a page.
pub struct Edge<N: Listed> {
    ask: Ask,
    list: ListName,
    key: Key,
    node: N,
}

impl<N: Listed> Edge<N> {
    /// The row.
    pub const fn node_of(&self) -> &N {
        &self.node
    }

    /// Its place in the list.
    pub fn sealed(&self) -> Cursor {
        self.list.seal(self.ask.codec(), &self.key)
    }
}

impl<N: Listed> TypeName for Edge<N> {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed(N::EDGE)
    }
}

/// A row of a page, with its place in the list.
#[Object(name_type)]
impl<N: Listed> Edge<N> {
    /// The row.
    async fn node(&self) -> &N {
        &self.node
    }

    /// Its place, for `after` and `before`.
    async fn cursor(&self) -> Cursor {
        self.sealed()
    }
}

/// Where a page stands in its list.
#[derive(SimpleObject, Default)]
pub struct PageInfo {
    /// Whether rows follow the page.
    pub has_next_page: bool,
    /// Whether rows come before the page.
    pub has_previous_page: bool,
    /// The cursor of the first row; null on an empty page.
    pub start_cursor: Option<Cursor>,
    /// The cursor of the last row; null on an empty page.
    pub end_cursor: Option<Cursor>,
}

/// How many rows a list has, of what the viewer may see.
#[derive(SimpleObject)]
pub struct Count {
    /// As many as were counted.
    value: i64,
    /// Whether those are all; false: the counting stopped at its limit.
    is_exact: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::page::KeyPart;

    fn codec() -> Codec {
        Codec::new(&[1; 32], &[2; 32]).unwrap()
    }

    fn list(viewer: i64, name: &str) -> ListName {
        ListName::new(UserId(viewer), name, &())
    }

    fn code_of(error: &async_graphql::Error) -> Option<String> {
        match error.extensions.as_ref()?.get("code")? {
            async_graphql::Value::String(code) => Some(code.clone()),
            _ => None,
        }
    }

    #[test]
    fn a_page_is_first_or_last_between_1_and_100_and_20_by_itself() {
        // (what, first, last, the page's limit and direction)
        let rows = [
            ("nothing asked", None, None, Some((20, false))),
            ("one from the start", Some(1), None, Some((1, false))),
            ("a hundred from the end", None, Some(100), Some((100, true))),
            ("none from the start", Some(0), None, None),
            ("fewer than none", None, Some(-1), None),
            ("more than a hundred", Some(101), None, None),
            ("from both ends", Some(5), Some(5), None),
        ];
        for (what, first, last, wanted) in rows {
            let args = PageArgs {
                first,
                last,
                ..PageArgs::default()
            };
            match (args.request(&codec(), &list(1, "deals")), wanted) {
                (Ok(page), Some(wanted)) => {
                    assert_eq!((page.limit, page.backward), wanted, "{what}");
                }
                (Err(error), None) => {
                    assert_eq!(code_of(&error).as_deref(), Some("BAD_USER_INPUT"), "{what}");
                }
                (found, wanted) => panic!("{what}: {found:?}, wanted {wanted:?}"),
            }
        }
    }

    #[test]
    fn r27_a_cursor_opens_only_for_its_viewer_list_and_filter() {
        let key = vec![KeyPart::Number(5), KeyPart::Number(7)];
        let home = list(1, "deals");
        let cursor = home.seal(&codec(), &key);
        assert_eq!(home.open(&codec(), &cursor).unwrap(), key);
        let elsewhere = [
            ("another viewer", list(2, "deals")),
            ("another list", list(1, "leads")),
            ("another filter", ListName::new(UserId(1), "deals", &"open")),
        ];
        for (what, list) in elsewhere {
            let error = list.open(&codec(), &cursor).unwrap_err();
            assert_eq!(code_of(&error).as_deref(), Some("BAD_USER_INPUT"), "{what}");
        }
        let args = PageArgs {
            before: Some(Cursor("made up".into())),
            ..PageArgs::default()
        };
        assert!(args.request(&codec(), &home).is_err());
    }
}
