//! The tables as the database itself lists them, and whole rows as JSON: what a backup needs of any table.
//! Not for: anything that knows what a table is about.

use super::StoreError;
use super::db::{self, AnyConn};
use super::sql::{BOUND_MAX, Sql, Value, sql};
use serde::{Deserialize, Serialize};

/// The kinds of columns that the migrations use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Int,
    Text,
    Bool,
    Bytes,
}

impl ColumnKind {
    /// By the word of either database.
    fn of(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "bigint" | "integer" => Some(Self::Int),
            "text" => Some(Self::Text),
            "boolean" => Some(Self::Bool),
            "bytea" | "blob" => Some(Self::Bytes),
            _ => None,
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
}

/// A table with its columns, and the places among them of its primary key, in the key's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    #[serde(skip)]
    key: Vec<usize>,
}

impl Table {
    /// The place of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Whether it has the same name and columns, in whatever order: the databases differ in that.
    pub fn is_like(&self, other: &Self) -> bool {
        let sorted = |table: &Self| {
            let mut columns = table.columns.clone();
            columns.sort();
            columns
        };
        self.name == other.name && sorted(self) == sorted(other)
    }

    fn quoted(&self) -> String {
        quoted(&self.name)
    }

    fn quoted_columns(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|c| quoted(&c.name)).collect();
        names.join(", ")
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What diesel keeps for itself.
const MIGRATIONS: &str = "__diesel_schema_migrations";

/// The names of tables begin so that hold nothing but what is made of others.
const DERIVED: &str = "search_";

/// Every table of ours that holds something of its own, by name.
///
/// # Errors
/// What the database says; `Corrupt` where a column is of a kind that no migration uses.
pub fn tables(conn: &mut AnyConn) -> Result<Vec<Table>, StoreError> {
    let query = match conn {
        AnyConn::Sqlite(_) => sql(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             AND name <> ",
        ),
        AnyConn::Pg(_) => sql(
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema() \
             AND table_type = 'BASE TABLE' AND table_name <> ",
        ),
    };
    let mut names: Vec<String> = query.bind(MIGRATIONS).rows(conn)?;
    // What is made of other tables is made anew.
    names.retain(|name| !name.starts_with(DERIVED));
    names.sort();
    names.into_iter().map(|name| table(conn, name)).collect()
}

fn table(conn: &mut AnyConn, name: String) -> Result<Table, StoreError> {
    let query = match conn {
        AnyConn::Sqlite(_) => sql("SELECT name, type FROM pragma_table_info(")
            .bind(name.as_str())
            .push(") ORDER BY cid"),
        AnyConn::Pg(_) => sql(
            "SELECT column_name::text, data_type::text FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = ",
        )
        .bind(name.as_str())
        .push(" ORDER BY ordinal_position"),
    };
    let found: Vec<(String, String)> = query.rows(conn)?;
    let unknown = || StoreError::Database(format!("{name} has a column of an unknown kind"));
    let columns = found
        .into_iter()
        .map(|(name, word)| {
            let kind = ColumnKind::of(&word)?;
            Some(Column { name, kind })
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(unknown)?;
    let query = match conn {
        AnyConn::Sqlite(_) => sql("SELECT name FROM pragma_table_info(")
            .bind(name.as_str())
            .push(") WHERE pk > 0 ORDER BY pk"),
        AnyConn::Pg(_) => sql(
            "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
             WHERE i.indisprimary AND i.indrelid = to_regclass(",
        )
        .bind(name.as_str())
        .push(") ORDER BY array_position(i.indkey::int2[], a.attnum)"),
    };
    let key: Vec<String> = query.rows(conn)?;
    let key = key
        .iter()
        .filter_map(|name| columns.iter().position(|column| column.name == *name))
        .collect();
    Ok(Table { name, columns, key })
}

/// The next rows behind a key, in its order, each a JSON list. Bytes are in hexadecimal. A table without a primary key
/// is given whole, once: those are small.
///
/// # Errors
/// What the database says.
pub fn page(
    conn: &mut AnyConn,
    table: &Table,
    after: Option<&[Value]>,
    rows_max: usize,
) -> Result<Vec<String>, StoreError> {
    let (list, is_sqlite) = match conn {
        AnyConn::Sqlite(_) => ("json_array", true),
        AnyConn::Pg(_) => ("json_build_array", false),
    };
    let values: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let name = quoted(&column.name);
            match (column.kind, is_sqlite) {
                // hex(NULL) would be an empty text.
                (ColumnKind::Bytes, true) => {
                    format!("CASE WHEN {name} IS NULL THEN NULL ELSE hex({name}) END")
                }
                (ColumnKind::Bytes, false) => format!("encode({name}, 'hex')"),
                _ => name,
            }
        })
        .collect();
    let cast = if is_sqlite { "" } else { "::text" };
    let mut query = sql(format!(
        "SELECT {list}({}){cast} FROM {}",
        values.join(", "),
        table.quoted()
    ));
    if table.key.is_empty() {
        return query.rows(conn);
    }
    let names: Vec<String> = table
        .key
        .iter()
        .filter_map(|place| table.columns.get(*place))
        .map(|column| quoted(&column.name))
        .collect();
    let names = names.join(", ");
    if let Some(after) = after {
        query = query
            .push(format!(" WHERE ({names}) > ("))
            .list(after.iter().cloned())
            .push(")");
    }
    query
        .push(format!(" ORDER BY {names} LIMIT {rows_max}"))
        .rows(conn)
}

/// The primary key of a row; `None` where its table has none.
pub fn key_of(table: &Table, row: &[Value]) -> Option<Vec<Value>> {
    if table.key.is_empty() {
        return None;
    }
    table
        .key
        .iter()
        .map(|place| row.get(*place).cloned())
        .collect()
}

/// Inserts whole rows.
///
/// # Errors
/// What the database says.
pub fn insert(conn: &mut AnyConn, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
    // As many values in one statement as any other takes.
    let per_statement = (BOUND_MAX * 8 / table.columns.len().max(1)).max(1);
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut statement: Sql = sql(format!(
            "INSERT INTO {} ({}) VALUES ",
            table.quoted(),
            table.quoted_columns()
        ));
        for (index, row) in rows.by_ref().take(per_statement).enumerate() {
            statement = statement
                .push(if index == 0 { "(" } else { ", (" })
                .list(row)
                .push(")");
        }
        statement.run(conn)?;
    }
    Ok(())
}

/// Deletes what a new installation starts with.
///
/// # Errors
/// What the database says.
pub fn delete_all(conn: &mut AnyConn, table: &Table) -> Result<(), StoreError> {
    sql(format!("DELETE FROM {}", table.quoted())).run(conn)?;
    Ok(())
}

/// Foreign keys that were made to wait: table and name.
pub struct Deferred(Vec<(String, String)>);

/// Lets foreign keys wait for the end of the transaction, so that tables can be filled in any order.
///
/// # Errors
/// What the database says.
pub fn defer_constraints(conn: &mut AnyConn) -> Result<Deferred, StoreError> {
    if matches!(conn, AnyConn::Sqlite(_)) {
        db::run_batch(conn, "PRAGMA defer_foreign_keys = ON")?;
        return Ok(Deferred(Vec::new()));
    }
    let keys: Vec<(String, String)> = sql(
        "SELECT c.conrelid::regclass::text, quote_ident(c.conname::text) FROM pg_constraint c \
         JOIN pg_namespace n ON n.oid = c.connamespace \
         WHERE c.contype = 'f' AND NOT c.condeferrable AND n.nspname = current_schema()",
    )
    .rows(conn)?;
    for (table, name) in &keys {
        db::run_batch(
            conn,
            &format!("ALTER TABLE {table} ALTER CONSTRAINT {name} DEFERRABLE INITIALLY DEFERRED"),
        )?;
    }
    Ok(Deferred(keys))
}

/// Checks the foreign keys that waited, and lets them wait no more.
///
/// # Errors
/// `Conflict` where a row names another that is not there.
pub fn restore_constraints(conn: &mut AnyConn, deferred: Deferred) -> Result<(), StoreError> {
    if matches!(conn, AnyConn::Sqlite(_)) {
        let broken: Option<i64> = sql("SELECT count(*) FROM pragma_foreign_key_check").one(conn)?;
        return match broken {
            Some(0) => Ok(()),
            _ => Err(StoreError::Conflict(
                "a row names another that is not there".to_owned(),
            )),
        };
    }
    db::run_batch(conn, "SET CONSTRAINTS ALL IMMEDIATE")?;
    for (table, name) in deferred.0 {
        db::run_batch(
            conn,
            &format!("ALTER TABLE {table} ALTER CONSTRAINT {name} NOT DEFERRABLE"),
        )?;
    }
    Ok(())
}

/// Lets the database look at how its new tables are filled, so that its plans are good from the start.
///
/// # Errors
/// What the database says.
pub fn analyze(conn: &mut AnyConn) -> Result<(), StoreError> {
    db::run_batch(conn, "ANALYZE")
}
