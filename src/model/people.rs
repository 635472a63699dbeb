//! Employees, departments, roles and their levels (R23, R25, R26).

use super::{DepartmentId, RoleId, StageId, Time, UserId};
use crate::model::item::ItemKind;
use crate::text_enum;

text_enum! {
    /// What a permission allows on an item.
    PermissionAction { Read = "READ", Create = "CREATE", Update = "UPDATE", Delete = "DELETE", Export = "EXPORT" }
}

text_enum! {
    /// How far a permission reaches; each level contains those before it (R23).
    PermissionLevel {
        /// Nothing.
        None = "NONE",
        /// Items the user is responsible for.
        Own = "OWN",
        /// Items of the user's own department.
        OwnDepartment = "OWN_DEPARTMENT",
        /// Items of the user's department and those below it.
        DepartmentAndBelow = "DEPARTMENT_AND_BELOW",
        /// Those, and items that are open to everyone.
        OpenToEveryone = "OPEN_TO_EVERYONE",
        /// Every item.
        All = "ALL",
    }
}

text_enum! {
    /// A field that a role can hide (R26).
    RestrictedField {
        LeadAddresses = "LEAD_ADDRESSES",
        DealAmount = "DEAL_AMOUNT",
        ContactAddresses = "CONTACT_ADDRESSES",
        ContactPhones = "CONTACT_PHONES",
    }
}

/// An employee with an account, in at most one department.
#[derive(Debug, Clone)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub address: String,
    pub avatar_url: Option<String>,
    pub department_id: Option<DepartmentId>,
    pub time_zone: String,
    pub is_active: bool,
    pub is_administrator: bool,
    pub version: i64,
}

/// A department; `parent_id` makes the tree.
#[derive(Debug, Clone)]
pub struct Department {
    pub id: DepartmentId,
    pub name: String,
    pub parent_id: Option<DepartmentId>,
    pub version: i64,
}

/// One line of a role. Without a stage it holds for every stage that no other line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    pub item: ItemKind,
    pub action: PermissionAction,
    pub level: PermissionLevel,
    pub stage_id: Option<StageId>,
}

/// A set of permissions that users and departments can hold.
#[derive(Debug, Clone)]
pub struct Role {
    pub id: RoleId,
    pub name: String,
    pub permissions: Vec<Permission>,
    pub hidden_fields: Vec<RestrictedField>,
    pub may_change_crm_settings: bool,
    pub version: i64,
}

/// Who asks: everything about one user that decisions need, as of one rights epoch.
/// Loaded by `auth`; only `rules::access` reads the rights in it.
#[derive(Debug, Clone)]
pub struct Viewer {
    pub user_id: UserId,
    pub is_administrator: bool,
    pub department_id: Option<DepartmentId>,
    /// The viewer's department and all below it.
    pub departments_below: Vec<DepartmentId>,
    /// The viewer's department and all above it: what is given to one of them is given to the viewer.
    pub departments_above: Vec<DepartmentId>,
    /// All roles, of the user and of their departments (own and the ones above).
    pub roles: Vec<Role>,
    /// The epoch of rights that this was loaded at; a later one means: load again.
    pub rights_epoch: i64,
}

/// The settings of the whole installation.
#[derive(Debug, Clone)]
pub struct CrmSettings {
    /// `false`: a contact and a deal are made where a lead would be (R13).
    pub leads_enabled: bool,
    /// Addresses and domains from which nothing new is saved (R18).
    pub exclusions: Vec<String>,
    /// Mails an hour from one sender after which the rate guard holds (R19).
    pub sender_limit_per_hour: i64,
    pub version: i64,
}

/// A signed-in caller: the viewer and when the credential ends (`None`: an API token, until revoked).
#[derive(Debug, Clone)]
pub struct Session {
    pub viewer: std::sync::Arc<Viewer>,
    pub expires_at: Option<Time>,
}
