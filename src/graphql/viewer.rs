//! People and rights as clients see them: users, departments, roles, and the enums that permissions are made of.
//! Not for: deciding anything (`rules::access`).

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};

use super::context::Ask;
use super::item::ItemKind;
use super::loaders::{Departments, RolesOf, Stages, Users};
use super::paging::Listed;
use super::stage::Stage;
use super::straight::{
    LastWritten, Plan, Selected, write_id, write_maybe, write_plain, write_shown, write_text,
};
use crate::model::people::{
    Department as DepartmentRow, Permission as PermissionRow, Role as RoleRow, User as UserRow,
};
use crate::model::{DepartmentId, UserId};

/// An employee.
#[derive(Clone)]
pub struct User {
    ask: Ask,
    row: Arc<UserRow>,
}

impl User {
    /// A loaded user.
    pub fn new(ask: &Ask, row: Arc<UserRow>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The user with this id; everybody who is signed in sees users.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: UserId) -> Result<Option<Self>> {
        let row = ask.load::<Users>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }

    /// The user that another row names.
    ///
    /// # Errors
    /// As [`Ask::require`].
    pub async fn named(ask: &Ask, id: UserId) -> Result<Self> {
        Ok(Self::new(ask, ask.require::<Users>(id).await?))
    }

    /// The user that another row may name, for a field that is null where it doesn't.
    pub async fn maybe(ask: &Ask, id: Option<UserId>) -> Option<Result<Self>> {
        Some(Self::named(ask, id?).await)
    }

    /// These users, in their order.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn all(ask: &Ask, ids: impl IntoIterator<Item = UserId>) -> Result<Vec<Self>> {
        let rows = ask.load_all::<Users>(ids).await?;
        Ok(rows.into_iter().map(|row| Self::new(ask, row)).collect())
    }
}

impl Listed for User {
    const CONNECTION: &'static str = "UserConnection";
    const EDGE: &'static str = "UserEdge";
}

/// An employee with an account, in at most one department. Everybody who is signed in sees all users.
#[Object]
impl User {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// The full name.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// The mail address that the user signs in with.
    async fn address(&self) -> &str {
        &self.row.address
    }

    /// A picture of the user.
    async fn avatar_url(&self) -> Option<&str> {
        self.row.avatar_url.as_deref()
    }

    /// The department that the user is in.
    async fn department(&self) -> Option<Result<Department>> {
        let id = self.row.department_id?;
        Department::find(&self.ask, id).await.transpose()
    }

    /// The user's time zone, by its IANA name.
    async fn time_zone(&self) -> &str {
        &self.row.time_zone
    }

    /// Whether the account can be used; a deactivated one keeps its name in the history.
    async fn is_active(&self) -> bool {
        self.row.is_active
    }

    /// Whether the user is an administrator: may do everything to items and mailboxes, and reads mail only where given access.
    async fn is_administrator(&self) -> bool {
        self.row.is_administrator
    }

    /// The roles given to the user directly; those of departments come on top.
    async fn roles(&self) -> Result<Vec<Role>> {
        let roles = self.ask.load::<RolesOf>(self.row.id).await?;
        let roles = roles.iter().flat_map(|roles| roles.iter());
        Ok(roles
            .map(|role| Role::new(&self.ask, role.clone()))
            .collect())
    }

    /// Rises with every change; give it as `expectedVersion` to change only what was read.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// What is written of a user.
enum UserField {
    Typename,
    Id,
    Name,
    Address,
    AvatarUrl,
    TimeZone,
    IsActive,
    IsAdministrator,
    Version,
}

/// How users are written.
pub struct UserPlan {
    plan: Plan<UserField>,
    last: LastWritten<UserId>,
}

impl UserPlan {
    /// What is selected of users; `None` where that takes more than their rows.
    pub fn new(selected: &Selected<'_>) -> Option<Self> {
        let plan = Plan::new(selected, &["User", "Node"], |picked| {
            Some(match picked.name {
                "__typename" => UserField::Typename,
                "id" => UserField::Id,
                "name" => UserField::Name,
                "address" => UserField::Address,
                "avatarUrl" => UserField::AvatarUrl,
                "timeZone" => UserField::TimeZone,
                "isActive" => UserField::IsActive,
                "isAdministrator" => UserField::IsAdministrator,
                "version" => UserField::Version,
                _ => return None,
            })
        });
        plan.map(|plan| Self {
            plan,
            last: LastWritten::new(),
        })
    }

    /// Writes one.
    pub fn write(&self, out: &mut Vec<u8>, ask: &Ask, row: &UserRow) {
        self.last
            .write(out, row.id, |out| self.write_anew(out, ask, row));
    }

    fn write_anew(&self, out: &mut Vec<u8>, ask: &Ask, row: &UserRow) {
        self.plan.write(out, |field, out| match field {
            UserField::Typename => write_plain(out, "User"),
            UserField::Id => write_id(out, ask, row.id),
            UserField::Name => write_text(out, &row.name),
            UserField::Address => write_text(out, &row.address),
            UserField::AvatarUrl => write_maybe(out, row.avatar_url.as_deref()),
            UserField::TimeZone => write_text(out, &row.time_zone),
            UserField::IsActive => write_shown(out, row.is_active),
            UserField::IsAdministrator => write_shown(out, row.is_administrator),
            UserField::Version => write_shown(out, row.version),
        });
    }
}

/// A part of the company.
#[derive(Clone)]
pub struct Department {
    ask: Ask,
    row: Arc<DepartmentRow>,
}

impl Department {
    /// A loaded department.
    pub fn new(ask: &Ask, row: Arc<DepartmentRow>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The department with this id; everybody who is signed in sees departments.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: DepartmentId) -> Result<Option<Self>> {
        let row = ask.load::<Departments>(id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }
}

/// A part of the company. Departments form a tree: what is given to one is given to those below it.
#[Object]
impl Department {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// What the department is called.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// The department above it; null at the top.
    async fn parent(&self) -> Option<Result<Department>> {
        let id = self.row.parent_id?;
        Department::find(&self.ask, id).await.transpose()
    }

    /// Rises with every change; give it as `expectedVersion` to change only what was read.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// A set of permissions.
#[derive(Clone)]
pub struct Role {
    ask: Ask,
    row: RoleRow,
}

impl Role {
    /// A loaded role.
    pub fn new(ask: &Ask, row: RoleRow) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }
}

/// A set of permissions that users and departments can hold. Of several roles the widest wins.
#[Object]
impl Role {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// What the role is called.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// What it allows; what is not listed is allowed to nobody by this role.
    async fn permissions(&self) -> Vec<Permission> {
        let lines = self.row.permissions.iter();
        lines
            .map(|row| Permission {
                ask: self.ask.clone(),
                row: *row,
            })
            .collect()
    }

    /// Fields of items that read as null with the error `FORBIDDEN`, unless another role shows them.
    async fn hidden_fields(&self) -> Vec<RestrictedField> {
        let fields = self.row.hidden_fields.iter();
        fields.map(|field| RestrictedField::from(*field)).collect()
    }

    /// Whether its holders may edit roles and the settings of the CRM and of every mailbox.
    async fn may_change_crm_settings(&self) -> bool {
        self.row.may_change_crm_settings
    }

    /// Rises with every change; give it as `expectedVersion` to change only what was read.
    async fn version(&self) -> i64 {
        self.row.version
    }
}

/// One line of a role.
#[derive(Clone)]
pub struct Permission {
    ask: Ask,
    row: PermissionRow,
}

/// One line of a role: how far one action on one kind of item reaches.
#[Object]
impl Permission {
    /// The kind of item.
    async fn item(&self) -> ItemKind {
        self.row.item.into()
    }

    /// What it allows to do.
    async fn action(&self) -> PermissionAction {
        self.row.action.into()
    }

    /// To which items.
    async fn level(&self) -> PermissionLevel {
        self.row.level.into()
    }

    /// In which stage; null: in every stage that no other line names.
    async fn stage(&self) -> Option<Result<Stage>> {
        let id = self.row.stage_id?;
        let row = self.ask.load::<Stages>(id).await.transpose()?;
        Some(row.map(|row| Stage::new(&self.ask, row)))
    }
}

/// What the viewer may do to an item.
#[derive(SimpleObject, Clone, Copy)]
pub struct ItemRights {
    /// See it and its timeline.
    pub read: bool,
    /// Change it, and save emails on it.
    pub update: bool,
    /// Delete it.
    pub delete: bool,
    /// Take it out in bulk.
    pub export: bool,
}

/// What a permission allows on an item.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::people::PermissionAction")]
pub enum PermissionAction {
    /// See it and its timeline.
    Read,
    /// Make new ones.
    Create,
    /// Change it, and save emails on it.
    Update,
    /// Delete it.
    Delete,
    /// Take it out in bulk.
    Export,
}

/// How far a permission reaches. Each level contains those before it.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::people::PermissionLevel")]
pub enum PermissionLevel {
    /// To nothing.
    None,
    /// To items that the user is responsible for.
    Own,
    /// To items of the user's own department.
    OwnDepartment,
    /// To items of the user's department and those below it.
    DepartmentAndBelow,
    /// To those, and to items that are open to everyone.
    OpenToEveryone,
    /// To every item.
    All,
}

/// A field of items that a role can hide.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::people::RestrictedField")]
pub enum RestrictedField {
    /// `Lead.addresses`.
    LeadAddresses,
    /// `Deal.amount`.
    DealAmount,
    /// `Contact.addresses`.
    ContactAddresses,
    /// `Contact.phones`.
    ContactPhones,
}
