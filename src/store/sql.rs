//! SQL text with its values, as one Diesel query node that runs on either database.
//!
//! The typed query builder can't express one query for both backends where a scope is composed into
//! it at run time; text can, and its prepared statement is cached by its text. Values are always bound, never spliced.
//! Not for: text that differs between the databases (that is `dialect`).

use super::StoreError;
use super::db::{AnyConn, MultiBackend};
use diesel::deserialize::FromSqlRow;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types as st;
use diesel::{RunQueryDsl, query_dsl::methods::LoadQuery};
use std::borrow::Cow;
use std::marker::PhantomData;

/// A value to bind.
#[derive(Debug, Clone)]
pub enum Value {
    I64(i64),
    OptI64(Option<i64>),
    Text(String),
    OptText(Option<String>),
    Bool(bool),
    Bytes(Vec<u8>),
    OptBytes(Option<Vec<u8>>),
}

macro_rules! values {
    ($($from:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$from> for Value { fn from(value: $from) -> Self { Self::$variant(value.into()) } }
    )+};
}
values! {
    i64 => I64, Option<i64> => OptI64, String => Text, &str => Text, Option<String> => OptText, bool => Bool,
    Vec<u8> => Bytes, Option<Vec<u8>> => OptBytes,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Cow<'static, str>),
    Value(Value),
}

/// SQL in the making.
#[derive(Debug, Clone, Default)]
pub struct Sql {
    parts: Vec<Part>,
}

/// Begins a piece of SQL.
pub fn sql(text: impl Into<Cow<'static, str>>) -> Sql {
    Sql::default().push(text)
}

impl Sql {
    /// Adds text.
    #[must_use]
    pub fn push(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    /// Adds a bound value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.parts.push(Part::Value(value.into()));
        self
    }

    /// Adds another piece.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }

    /// Adds bound values with commas between them; none at all become `NULL`, which `IN` never matches.
    #[must_use]
    pub fn list<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        let mut any = false;
        for value in values {
            if any {
                self = self.push(", ");
            }
            any = true;
            self = self.bind(value);
        }
        if any { self } else { self.push("NULL") }
    }

    /// Adds bound values for `IN (…)`, as many as the next power of two, the last one again and again: a statement
    /// for each length would fill the caches of prepared ones. None at all become `NULL`, which `IN` never matches.
    #[must_use]
    pub fn any_of<V: Into<Value> + Clone>(self, values: impl IntoIterator<Item = V>) -> Self {
        let mut values: Vec<V> = values.into_iter().collect();
        if let Some(last) = values.last().cloned() {
            values.resize(values.len().next_power_of_two(), last);
        }
        self.list(values)
    }

    /// Adds rows of bound values: `(…), (…)`.
    #[must_use]
    pub fn tuples<V: Into<Value>, const N: usize>(
        mut self,
        rows: impl IntoIterator<Item = [V; N]>,
    ) -> Self {
        for (index, row) in rows.into_iter().enumerate() {
            self = self
                .push(if index == 0 { "(" } else { ", (" })
                .list(row)
                .push(")");
        }
        self
    }

    /// All rows.
    ///
    /// # Errors
    /// What the database says.
    pub fn rows<T: Row>(self, conn: &mut AnyConn) -> Result<Vec<T>, StoreError> {
        Ok(T::load(self, conn)?)
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// What the database says.
    pub fn one<T: Row>(self, conn: &mut AnyConn) -> Result<Option<T>, StoreError> {
        Ok(T::load(self, conn)?.into_iter().next())
    }

    /// Runs it; how many rows it touched.
    ///
    /// # Errors
    /// What the database says.
    pub fn run(self, conn: &mut AnyConn) -> Result<usize, StoreError> {
        Ok(self.execute(conn)?)
    }
}

impl QueryFragment<MultiBackend> for Sql {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_sql(text),
                Part::Value(Value::I64(v)) => out.push_bind_param::<st::BigInt, _>(v)?,
                Part::Value(Value::OptI64(v)) => {
                    out.push_bind_param::<st::Nullable<st::BigInt>, _>(v)?;
                }
                Part::Value(Value::Text(v)) => out.push_bind_param::<st::Text, _>(v)?,
                Part::Value(Value::OptText(v)) => {
                    out.push_bind_param::<st::Nullable<st::Text>, _>(v)?;
                }
                Part::Value(Value::Bool(v)) => out.push_bind_param::<st::Bool, _>(v)?,
                Part::Value(Value::Bytes(v)) => out.push_bind_param::<st::Binary, _>(v)?,
                Part::Value(Value::OptBytes(v)) => {
                    out.push_bind_param::<st::Nullable<st::Binary>, _>(v)?;
                }
            }
        }
        Ok(())
    }
}

impl QueryId for Sql {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<AnyConn> for Sql {}

/// The same SQL, with the types of its columns.
struct Typed<S> {
    sql: Sql,
    columns: PhantomData<S>,
}

impl<S> QueryFragment<MultiBackend> for Typed<S> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        self.sql.walk_ast(out)
    }
}

impl<S> QueryId for Typed<S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S> Query for Typed<S> {
    type SqlType = S;
}

impl<S> RunQueryDsl<AnyConn> for Typed<S> {}

/// A Rust type that stands for one SQL column.
pub trait Column {
    /// Its SQL type.
    type Type;
}

macro_rules! columns {
    ($($rust:ty => $sql:ty),+ $(,)?) => {$(
        impl Column for $rust { type Type = $sql; }
        impl Column for Option<$rust> { type Type = st::Nullable<$sql>; }
    )+};
}
columns! { i64 => st::BigInt, String => st::Text, bool => st::Bool, Vec<u8> => st::Binary }

/// A tuple of columns (or one column alone) that rows are read into, in order.
pub trait Row: Sized {
    /// Runs the query and reads its rows.
    ///
    /// # Errors
    /// What the database says.
    fn load(sql: Sql, conn: &mut AnyConn) -> QueryResult<Vec<Self>>;
}

macro_rules! single_rows {
    ($($rust:ty),+ $(,)?) => {$(
        impl Row for $rust {
            fn load(sql: Sql, conn: &mut AnyConn) -> QueryResult<Vec<Self>> {
                load_typed::<<Self as Column>::Type, Self>(sql, conn)
            }
        }
    )+};
}
single_rows!(
    i64,
    String,
    bool,
    Vec<u8>,
    Option<i64>,
    Option<String>,
    Option<Vec<u8>>
);

fn load_typed<S, T>(sql: Sql, conn: &mut AnyConn) -> QueryResult<Vec<T>>
where
    Typed<S>: for<'q> LoadQuery<'q, AnyConn, T>,
{
    let typed = Typed::<S> {
        sql,
        columns: PhantomData,
    };
    typed.load(conn)
}

macro_rules! tuple_rows {
    ($(($($t:ident),+)),+ $(,)?) => {$(
        impl<$($t),+> Row for ($($t,)+)
        where
            $($t: Column,)+
            Self: FromSqlRow<($($t::Type,)+), MultiBackend>,
            Typed<($($t::Type,)+)>: for<'q> LoadQuery<'q, AnyConn, Self>,
        {
            fn load(sql: Sql, conn: &mut AnyConn) -> QueryResult<Vec<Self>> {
                load_typed::<($($t::Type,)+), Self>(sql, conn)
            }
        }
    )+};
}
tuple_rows!(
    (A, B),
    (A, B, C),
    (A, B, C, D),
    (A, B, C, D, E),
    (A, B, C, D, E, F),
    (A, B, C, D, E, F, G),
    (A, B, C, D, E, F, G, H),
    (A, B, C, D, E, F, G, H, I),
    (A, B, C, D, E, F, G, H, I, J),
    (A, B, C, D, E, F, G, H, I, J, K),
    (A, B, C, D, E, F, G, H, I, J, K, L),
    (A, B, C, D, E, F, G, H, I, J, K, L, M),
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N),
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N, O),
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P),
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q),
    (A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R)
);

/// `UPDATE table SET a = ?, b = ? WHERE id = ?`, for a row that is written whole.
pub fn update_row(table: &'static str, id: i64, columns: Vec<(&'static str, Value)>) -> Sql {
    let mut statement = sql("UPDATE ").push(table).push(" SET ");
    for (index, (column, value)) in columns.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        statement = statement.push(comma).push(column).push(" = ").bind(value);
    }
    statement.push(" WHERE id = ").bind(id)
}

/// `INSERT INTO table (a, b) VALUES (?, ?)`.
pub fn insert_row(table: &'static str, columns: Vec<(&'static str, Value)>) -> Sql {
    let mut statement = sql("INSERT INTO ").push(table).push(" (");
    let mut values = Vec::with_capacity(columns.len());
    for (index, (column, value)) in columns.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        statement = statement.push(comma).push(column);
        values.push(value);
    }
    statement.push(") VALUES (").list(values).push(")")
}

/// Values bound in one list: far below what either database takes (32,766 on SQLite, 65,535 on PostgreSQL).
pub const BOUND_MAX: usize = 500;

/// Rows of one `INSERT`, in sizes that are powers of two, so that few statements are ever prepared.
const INSERT_ROWS_MAX: usize = 256;

/// Inserts many rows with few statements. `into` is `table (column, …)`, `after` what follows the values
/// (`""` or an `ON CONFLICT` clause). Every row has the same number of values.
///
/// # Errors
/// What the database says.
pub fn insert_all(
    conn: &mut AnyConn,
    into: &'static str,
    after: &'static str,
    rows: Vec<Vec<Value>>,
) -> Result<(), StoreError> {
    let mut rows = rows.into_iter().peekable();
    let mut left = rows.len();
    while rows.peek().is_some() {
        let size = INSERT_ROWS_MAX.min(previous_power_of_two(left));
        left = left.saturating_sub(size);
        let mut statement = sql("INSERT INTO ").push(into).push(" VALUES ");
        for (index, row) in rows.by_ref().take(size).enumerate() {
            statement = statement
                .push(if index == 0 { "(" } else { ", (" })
                .list(row)
                .push(")");
        }
        statement.push(after).run(conn)?;
    }
    Ok(())
}

/// Cuts rows into parts whose lengths are powers of two, for statements that take many rows at once.
pub fn padded_parts<T>(mut rows: Vec<T>) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    while !rows.is_empty() {
        let rest = rows.split_off(INSERT_ROWS_MAX.min(previous_power_of_two(rows.len())));
        parts.push(std::mem::replace(&mut rows, rest));
    }
    parts
}

fn previous_power_of_two(n: usize) -> usize {
    if n == 0 { 0 } else { 1 << n.ilog2() }
}
