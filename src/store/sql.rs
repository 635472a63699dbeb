//! SQL text with its values, as one Diesel query node that runs on either database.
//!
//! The typed query builder can't express one query for both backends where a scope is composed into
//! it at run time; text can, and its prepared statement is cached by its text. Values are always bound, never spliced.
//! Each node is written for both backends, and runs on the connection of one: Diesel's own enum of connections boxes
//! every value that it binds.
//! Not for: text that differs between the databases (that is `dialect`).

use super::StoreError;
use super::db::AnyConn;
use diesel::deserialize::FromSqlRow;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types as st;
use diesel::sqlite::Sqlite;
use diesel::{PgConnection, RunQueryDsl, SqliteConnection, query_dsl::methods::LoadQuery};
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
        Ok(match conn {
            AnyConn::Pg(conn) => self.execute(conn)?,
            AnyConn::Sqlite(conn) => self.execute(conn)?,
        })
    }
}

impl Value {
    const fn number(&self) -> Option<i64> {
        match self {
            Self::I64(value) => Some(*value),
            Self::OptI64(value) => *value,
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            Self::OptText(value) => value.as_deref(),
            _ => None,
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            Self::OptBytes(value) => value.as_deref(),
            _ => None,
        }
    }

    /// Binds it, where the statement being built has its place.
    fn bind<'b, DB: Binds>(&'b self, out: &mut AstPass<'_, 'b, DB>) -> QueryResult<()> {
        match self {
            Self::I64(v) => DB::number(out, v),
            Self::OptI64(v) => DB::number_or_null(out, v),
            Self::Text(v) => DB::text(out, v),
            Self::OptText(v) => DB::text_or_null(out, v),
            Self::Bool(v) => DB::truth(out, v),
            Self::Bytes(v) => DB::bytes(out, v),
            Self::OptBytes(v) => DB::bytes_or_null(out, v),
        }
    }
}

/// How a database takes each kind of value.
trait Binds: diesel::backend::Backend {
    fn number<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b i64) -> QueryResult<()>;
    fn number_or_null<'b>(
        out: &mut AstPass<'_, 'b, Self>,
        value: &'b Option<i64>,
    ) -> QueryResult<()>;
    fn text<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b str) -> QueryResult<()>;
    fn text_or_null<'b>(
        out: &mut AstPass<'_, 'b, Self>,
        value: &'b Option<String>,
    ) -> QueryResult<()>;
    fn truth<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b bool) -> QueryResult<()>;
    fn bytes<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b [u8]) -> QueryResult<()>;
    fn bytes_or_null<'b>(
        out: &mut AstPass<'_, 'b, Self>,
        value: &'b Option<Vec<u8>>,
    ) -> QueryResult<()>;
}

macro_rules! binds {
    ($backend:ty) => {
        impl Binds for $backend {
            fn number<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b i64) -> QueryResult<()> {
                out.push_bind_param::<st::BigInt, _>(value)
            }
            fn number_or_null<'b>(
                out: &mut AstPass<'_, 'b, Self>,
                value: &'b Option<i64>,
            ) -> QueryResult<()> {
                out.push_bind_param::<st::Nullable<st::BigInt>, _>(value)
            }
            fn text<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b str) -> QueryResult<()> {
                out.push_bind_param::<st::Text, _>(value)
            }
            fn text_or_null<'b>(
                out: &mut AstPass<'_, 'b, Self>,
                value: &'b Option<String>,
            ) -> QueryResult<()> {
                out.push_bind_param::<st::Nullable<st::Text>, _>(value)
            }
            fn truth<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b bool) -> QueryResult<()> {
                out.push_bind_param::<st::Bool, _>(value)
            }
            fn bytes<'b>(out: &mut AstPass<'_, 'b, Self>, value: &'b [u8]) -> QueryResult<()> {
                out.push_bind_param::<st::Binary, _>(value)
            }
            fn bytes_or_null<'b>(
                out: &mut AstPass<'_, 'b, Self>,
                value: &'b Option<Vec<u8>>,
            ) -> QueryResult<()> {
                out.push_bind_param::<st::Nullable<st::Binary>, _>(value)
            }
        }

        impl QueryFragment<$backend> for Sql {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                for part in &self.parts {
                    match part {
                        Part::Text(text) => out.push_sql(text),
                        Part::Value(value) => value.bind(&mut out)?,
                    }
                }
                Ok(())
            }
        }

        impl<S> QueryFragment<$backend> for Typed<S> {
            fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                self.sql.walk_ast(out)
            }
        }
    };
}
binds!(Sqlite);
binds!(Pg);

impl QueryId for Sql {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for Sql {}

/// An `INSERT` of many rows on SQLite, whose values are only looked at.
struct Insert<'v> {
    into: &'static str,
    after: &'static str,
    columns: usize,
    values: &'v [Value],
}

impl QueryId for Insert<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for Insert<'_> {}

impl QueryFragment<Sqlite> for Insert<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        out.push_sql(self.into);
        out.push_sql(" VALUES ");
        let mut before_row = "(";
        for row in self.values.chunks(self.columns) {
            let mut before_value = before_row;
            for value in row {
                out.push_sql(before_value);
                value.bind(&mut out)?;
                before_value = ", ";
            }
            before_row = "), (";
        }
        out.push_sql(")");
        out.push_sql(self.after);
        Ok(())
    }
}

/// The values of one column, for PostgreSQL.
enum ColumnValues<'v> {
    Numbers(Vec<Option<i64>>),
    Texts(Vec<Option<&'v str>>),
    Truths(Vec<bool>),
    Bytes(Vec<Option<&'v [u8]>>),
}

impl<'v> ColumnValues<'v> {
    /// Those of one column; all are of the kind of the first.
    fn of(values: impl Iterator<Item = &'v Value> + Clone) -> Self {
        match values.clone().next() {
            None | Some(Value::I64(_) | Value::OptI64(_)) => {
                Self::Numbers(values.map(Value::number).collect())
            }
            Some(Value::Text(_) | Value::OptText(_)) => {
                Self::Texts(values.map(Value::text).collect())
            }
            Some(Value::Bool(_)) => Self::Truths(
                values
                    .map(|value| matches!(value, Value::Bool(true)))
                    .collect(),
            ),
            Some(Value::Bytes(_) | Value::OptBytes(_)) => {
                Self::Bytes(values.map(Value::bytes).collect())
            }
        }
    }
}

/// An `INSERT` of many rows on PostgreSQL, column by column.
struct InsertColumns<'v> {
    into: &'static str,
    after: &'static str,
    columns: Vec<ColumnValues<'v>>,
}

impl QueryId for InsertColumns<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for InsertColumns<'_> {}

impl QueryFragment<Pg> for InsertColumns<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO ");
        out.push_sql(self.into);
        let mut before = " SELECT * FROM unnest(";
        for column in &self.columns {
            out.push_sql(before);
            before = ", ";
            match column {
                ColumnValues::Numbers(values) => {
                    out.push_bind_param::<st::Array<st::Nullable<st::BigInt>>, _>(values)?;
                }
                ColumnValues::Texts(values) => {
                    out.push_bind_param::<st::Array<st::Nullable<st::Text>>, _>(values)?;
                }
                ColumnValues::Truths(values) => {
                    out.push_bind_param::<st::Array<st::Bool>, _>(values)?;
                }
                ColumnValues::Bytes(values) => {
                    out.push_bind_param::<st::Array<st::Nullable<st::Binary>>, _>(values)?;
                }
            }
        }
        out.push_sql(")");
        out.push_sql(self.after);
        Ok(())
    }
}

/// The same SQL, with the types of its columns.
struct Typed<S> {
    sql: Sql,
    columns: PhantomData<S>,
}

impl<S> QueryId for Typed<S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S> Query for Typed<S> {
    type SqlType = S;
}

impl<S, C> RunQueryDsl<C> for Typed<S> {}

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
    Typed<S>: for<'q> LoadQuery<'q, PgConnection, T> + for<'q> LoadQuery<'q, SqliteConnection, T>,
{
    let typed = Typed::<S> {
        sql,
        columns: PhantomData,
    };
    match conn {
        AnyConn::Pg(conn) => typed.load(conn),
        AnyConn::Sqlite(conn) => typed.load(conn),
    }
}

macro_rules! tuple_rows {
    ($(($($t:ident),+)),+ $(,)?) => {$(
        /// Columns that are read together, or are absent together where a row joins none.
        impl<$($t: Column),+> Column for ($($t,)+) {
            type Type = ($($t::Type,)+);
        }
        impl<$($t: Column),+> Column for Option<($($t,)+)> {
            type Type = st::Nullable<($($t::Type,)+)>;
        }
        impl<$($t),+> Row for ($($t,)+)
        where
            $($t: Column,)+
            Self: FromSqlRow<($($t::Type,)+), Pg> + FromSqlRow<($($t::Type,)+), Sqlite>,
            Typed<($($t::Type,)+)>:
                for<'q> LoadQuery<'q, PgConnection, Self> + for<'q> LoadQuery<'q, SqliteConnection, Self>,
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

/// Rows of one `INSERT` on PostgreSQL: what the statement holds in memory.
const UNNESTED_ROWS_MAX: usize = 4096;

/// Rows of one `INSERT` on SQLite, in sizes that are powers of two, so that few statements are ever prepared.
const INSERT_ROWS_MAX: usize = 256;

/// Rows that are inserted together, each with the same number of values, held one after the other.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    columns: usize,
    values: Vec<Value>,
}

impl Rows {
    /// Adds a row; all have the same number of values.
    pub fn push<const N: usize>(&mut self, row: [Value; N]) {
        self.columns = N;
        self.values.extend(row);
    }

    /// Adds the rows of another batch, which are as wide.
    pub fn append(&mut self, mut other: Self) {
        self.columns = self.columns.max(other.columns);
        self.values.append(&mut other.values);
    }

    /// Inserts them with few statements. `into` is `table (column, …)`, `after` what follows the values
    /// (`""` or an `ON CONFLICT` clause).
    ///
    /// # Errors
    /// What the database says.
    pub fn insert(
        &self,
        conn: &mut AnyConn,
        into: &'static str,
        after: &'static str,
    ) -> Result<(), StoreError> {
        if let AnyConn::Pg(conn) = conn {
            return self.insert_columns(conn, into, after);
        }
        let mut left = self.values.as_slice();
        while !left.is_empty() {
            let rows = left.len().checked_div(self.columns).unwrap_or_default();
            let size = INSERT_ROWS_MAX.min(previous_power_of_two(rows)).max(1);
            let (values, rest) = left
                .split_at_checked(size.saturating_mul(self.columns))
                .unwrap_or((left, &[]));
            left = rest;
            let insert = Insert {
                into,
                after,
                columns: self.columns.max(1),
                values,
            };
            if let AnyConn::Sqlite(conn) = conn {
                insert.execute(conn)?;
            }
        }
        Ok(())
    }

    /// The same on PostgreSQL, by one array for each column: it takes one short statement for any number of rows, which
    /// is planned once, where a list of tuples is planned and evaluated value by value.
    fn insert_columns(
        &self,
        conn: &mut PgConnection,
        into: &'static str,
        after: &'static str,
    ) -> Result<(), StoreError> {
        let columns = self.columns.max(1);
        for values in self
            .values
            .chunks(columns.saturating_mul(UNNESTED_ROWS_MAX))
        {
            let columns = (0..columns)
                .map(|column| ColumnValues::of(values.iter().skip(column).step_by(columns)))
                .collect();
            let insert = InsertColumns {
                into,
                after,
                columns,
            };
            insert.execute(conn)?;
        }
        Ok(())
    }
}

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
    let rows = Rows {
        columns: rows.first().map_or(0, Vec::len),
        values: rows.into_iter().flatten().collect(),
    };
    rows.insert(conn, into, after)
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
