//! What people don't write anew each time: templates, senders, signatures.

use super::{DepartmentId, MailboxId, SenderId, TemplateId, UserId};
use crate::text_enum;

text_enum! {
    /// Who sees a template beside its owner.
    TemplateSharing { Own = "OWN", Department = "DEPARTMENT", All = "ALL" }
}

/// A mail with fields to fill in.
#[derive(Debug, Clone)]
pub struct Template {
    pub id: TemplateId,
    pub owner_id: UserId,
    pub name: String,
    pub subject: String,
    pub body_text: String,
    /// As it was written; what it is filled with is cleaned.
    pub body_html: Option<String>,
    pub sharing: TemplateSharing,
    /// Whose it is shared with, and those below it.
    pub department_id: Option<DepartmentId>,
    pub version: i64,
}

/// A name and address that a mailbox's mail may be sent under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub id: SenderId,
    pub mailbox_id: MailboxId,
    pub name: Option<String>,
    pub address: String,
    /// Who alone may use it; `None`: whoever may send as the mailbox.
    pub user_id: Option<UserId>,
}

/// What stands below what a user writes for a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub body_text: String,
    /// Clean.
    pub body_html: Option<String>,
}
