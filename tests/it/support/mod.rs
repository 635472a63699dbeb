//! What the tests share: private servers, a running app, clients.

pub mod dovecot;
pub mod postgres;
pub mod redis;
