//! Reading enum texts out of rows: an unknown text is a corrupt row, never a guess.

use super::StoreError;

/// Reads an enum's text, or says which row is corrupt.
///
/// # Errors
/// `Corrupt` for a text that the enum doesn't know.
pub fn word<T>(
    from_text: impl Fn(&str) -> Option<T>,
    text: &str,
    table: &'static str,
    column: &'static str,
    row: i64,
) -> Result<T, StoreError> {
    from_text(text).ok_or(StoreError::Corrupt { table, column, row })
}

/// The same for a column that may be NULL.
///
/// # Errors
/// As [`word`].
pub fn optional_word<T>(
    from_text: impl Fn(&str) -> Option<T>,
    text: Option<&str>,
    table: &'static str,
    column: &'static str,
    row: i64,
) -> Result<Option<T>, StoreError> {
    text.map(|text| word(from_text, text, table, column, row))
        .transpose()
}
