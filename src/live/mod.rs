//! The room `live`.
