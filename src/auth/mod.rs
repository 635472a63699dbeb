//! The room `auth`.

pub mod passwords;
