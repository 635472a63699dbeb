//! The audit log as actions write it: rights, settings, sharing, secrets. It is kept in `store::audit`,
//! where `auth` writes failed log-ins too.

pub use crate::store::audit::{first_broken, record};
