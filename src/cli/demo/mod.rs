//! The demo: a made-up company with its mail.
pub mod clients;
pub mod company;
pub mod dice;
pub mod dovecot;
pub mod dovecot_config;
pub mod letters;
pub mod lmtp;
pub mod private_server;
