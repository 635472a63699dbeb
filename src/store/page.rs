//! Keyset paging: one page of a list, forward or backward, by the key of the row it starts behind.

use super::sql::{Sql, Value, sql};
use serde::{Deserialize, Serialize};

/// One part of a row's sort key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyPart {
    /// A time or an id.
    Number(i64),
    /// A title.
    Text(String),
}

impl From<KeyPart> for Value {
    fn from(part: KeyPart) -> Self {
        match part {
            KeyPart::Number(number) => Self::I64(number),
            KeyPart::Text(text) => Self::Text(text),
        }
    }
}

/// A row's place in a list: its sort key, the id last.
pub type Key = Vec<KeyPart>;

/// Which page is asked for. `limit` rows, from the start (or from `after`) forward, or from the end (or from `before`) backward.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    pub limit: i64,
    pub backward: bool,
    pub after: Option<Key>,
    pub before: Option<Key>,
}

/// One page: rows with their keys in the list's order, and whether there are more on either side.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub rows: Vec<(Key, T)>,
    pub has_next: bool,
    pub has_previous: bool,
}

/// The way a list is sorted: the columns of the key (the id last), all in one direction.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub columns: &'static [&'static str],
    pub descending: bool,
}

impl<T> Page<T> {
    /// The same page of something else.
    pub fn map<U>(self, mut shape: impl FnMut(T) -> U) -> Page<U> {
        Page {
            rows: self
                .rows
                .into_iter()
                .map(|(key, row)| (key, shape(row)))
                .collect(),
            has_next: self.has_next,
            has_previous: self.has_previous,
        }
    }
}

impl PageRequest {
    /// Ends a query whose text stands at a `WHERE …` with the keyset conditions, the order and the limit (one row more than asked, to know whether more follow).
    pub fn finish(&self, query: Sql, order: Order) -> Sql {
        self.finish_by(query, order, str::to_owned)
    }

    /// The same for few rows, which are to be sorted: a database that followed an index in this order would look at many
    /// others.
    pub fn finish_few(&self, query: Sql, order: Order) -> Sql {
        // No index is of this.
        self.finish_by(query, order, |name| format!("COALESCE({name}, {name})"))
    }

    fn finish_by(&self, mut query: Sql, order: Order, column: impl Fn(&str) -> String) -> Sql {
        let columns: Vec<String> = order.columns.iter().map(|name| column(name)).collect();
        let tuple = format!("({})", columns.join(", "));
        for (key, beyond) in [(&self.after, true), (&self.before, false)] {
            let Some(key) = key else { continue };
            let operator = if beyond == order.descending {
                " < ("
            } else {
                " > ("
            };
            query = query
                .push(" AND ")
                .push(tuple.clone())
                .push(operator)
                .list(key.iter().cloned())
                .push(")");
        }
        let descending = order.descending != self.backward;
        let direction = if descending { " DESC" } else { " ASC" };
        query = query.push(" ORDER BY ");
        for (index, column) in columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            query = query.push(format!("{comma}{column}{direction}"));
        }
        query.push(" LIMIT ").bind(self.limit.saturating_add(1))
    }

    /// Makes the page of the rows that such a query gave.
    pub fn page<T>(&self, mut rows: Vec<(Key, T)>) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        if self.backward {
            rows.reverse();
            Page {
                rows,
                has_next: self.before.is_some(),
                has_previous: more,
            }
        } else {
            Page {
                rows,
                has_next: more,
                has_previous: self.after.is_some(),
            }
        }
    }
}

/// Counts the rows of a query up to `limit`; whether that is all of them.
///
/// # Errors
/// What the database says.
pub fn count_up_to(
    conn: &mut super::AnyConn,
    query: Sql,
    limit: i64,
) -> Result<(i64, bool), super::StoreError> {
    let counted: Option<i64> = sql("SELECT COUNT(*) FROM (")
        .then(query)
        .push(" LIMIT ")
        .bind(limit.saturating_add(1))
        .push(") AS counted")
        .one(conn)?;
    let counted = counted.unwrap_or(0);
    Ok((counted.min(limit), counted <= limit))
}
