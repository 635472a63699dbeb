//! A field of an update: left out, cleared, or set.
//! Not for: whether the new value is any good (that is `fields`).

use crate::model::refusal::{ErrorCode, Refusal};
use serde::Serialize;

/// What an update does to one field. Absent = unchanged, null = cleared, lists replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Change<T> {
    /// The field was left out.
    #[default]
    Keep,
    /// The field was null.
    Clear,
    /// The field has this new value.
    Set(T),
}

impl<T> Change<T> {
    /// Whether the field was named at all.
    pub const fn is_asked(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    /// The new value by reference.
    pub const fn as_ref(&self) -> Change<&T> {
        match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(value),
        }
    }

    /// The new value, made into another by what may refuse it.
    ///
    /// # Errors
    /// That refusal.
    pub fn try_map<U>(self, f: impl FnOnce(T) -> Result<U, Refusal>) -> Result<Change<U>, Refusal> {
        Ok(match self {
            Self::Keep => Change::Keep,
            Self::Clear => Change::Clear,
            Self::Set(value) => Change::Set(f(value)?),
        })
    }

    /// What a field that may be empty becomes.
    pub fn applied(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// What a field that can't be empty becomes.
    ///
    /// # Errors
    /// `BAD_INPUT` where it was to be cleared.
    pub fn applied_required(self, field: &str, before: T) -> Result<T, Refusal> {
        match self {
            Self::Keep => Ok(before),
            Self::Clear => Err(Refusal::at(
                ErrorCode::BadInput,
                field,
                format!("{field} can't be null; leave it out to keep it."),
            )),
            Self::Set(value) => Ok(value),
        }
    }

    /// What a list becomes; null empties it.
    pub fn applied_list<U>(self, before: Vec<U>) -> Vec<U>
    where
        T: Into<Vec<U>>,
    {
        match self {
            Self::Keep => before,
            Self::Clear => Vec::new(),
            Self::Set(values) => values.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_keeps_null_clears_and_a_value_sets() {
        assert_eq!(Change::Keep.applied(Some(1)), Some(1));
        assert_eq!(Change::Clear.applied(Some(1)), None);
        assert_eq!(Change::Set(2).applied(Some(1)), Some(2));
        assert_eq!(Change::Keep.applied_required("title", 1), Ok(1));
        assert_eq!(Change::Set(2).applied_required("title", 1), Ok(2));
        let refused = Change::Clear.applied_required("title", 1).unwrap_err();
        assert_eq!(refused.field, ["title"]);
        assert!(Change::<Vec<i32>>::Clear.applied_list(vec![1]).is_empty());
    }
}
