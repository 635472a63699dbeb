//! Statements that write what people ask for, one file per noun; what reads the noun lies beside, in `store/<noun>.rs`.
//! All of them run inside a [`super::Tx`], take what was already judged and validated, and write it.
//! Not for: rules, validation, or the batches of mail that ingest writes.

pub mod activities;
pub mod idempotency;
pub mod items;
pub mod links;
pub mod mailboxes;
pub mod people;
pub mod roles;
pub mod settings;

use super::sql::{Sql, Value, sql};

/// `UPDATE table SET a = ?, b = ? WHERE id = ?`.
fn update(table: &'static str, id: i64, columns: Vec<(&'static str, Value)>) -> Sql {
    let mut statement = sql("UPDATE ").push(table).push(" SET ");
    for (index, (column, value)) in columns.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        statement = statement
            .push(comma)
            .push(column)
            .push(" = ")
            .bind(value);
    }
    statement.push(" WHERE id = ").bind(id)
}

/// `INSERT INTO table (a, b) VALUES (?, ?)`.
fn insert(table: &'static str, columns: Vec<(&'static str, Value)>) -> Sql {
    let mut statement = sql("INSERT INTO ").push(table).push(" (");
    let mut values = Vec::with_capacity(columns.len());
    for (index, (column, value)) in columns.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        statement = statement.push(comma).push(column);
        values.push(value);
    }
    statement.push(") VALUES (").list(values).push(")")
}
