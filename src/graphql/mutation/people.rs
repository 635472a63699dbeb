//! Departments, users, roles, and the settings of the whole installation.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, OneofObject, Result};
use secrecy::SecretString;

use super::{answer, changed, payload};
use crate::actions::crm_settings::{self, UpdateCrmSettings};
use crate::actions::departments::{self, UpdateDepartment};
use crate::actions::people::{self, CreateDepartment, CreateUser, UpdateUser};
use crate::actions::roles::{self, CreateRole, PermissionLine, RoleHolder, UpdateRole};
use crate::graphql::context::Ask;
use crate::graphql::item::ItemKind;
use crate::graphql::settings::CrmSettings;
use crate::graphql::viewer::{
    Department, PermissionAction, PermissionLevel, RestrictedField, Role, User,
};
use crate::model::RoleId;
use crate::store;

/// A department to make.
#[derive(InputObject)]
pub struct CreateDepartmentInput {
    /// What it is called; at most 200 characters.
    name: String,
    /// The department above it; none: it stands at the top.
    parent_id: Option<ID>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a department. Absent = unchanged, null = cleared.
#[derive(InputObject)]
pub struct UpdateDepartmentInput {
    /// The department.
    department_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// What it is called.
    name: MaybeUndefined<String>,
    /// The department above it, not one below itself; null: it stands at the top.
    parent_id: MaybeUndefined<ID>,
}

/// A department to delete.
#[derive(InputObject)]
pub struct DeleteDepartmentInput {
    /// The department, in and below which nobody is.
    department_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
}

/// A role to delete.
#[derive(InputObject)]
pub struct DeleteRoleInput {
    /// The role, which nobody holds and which is not built in.
    role_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
}

/// A user to make.
#[derive(InputObject)]
pub struct CreateUserInput {
    /// The full name; at most 200 characters.
    name: String,
    /// The mail address to sign in with; no other user has it.
    address: String,
    /// The password, of 8 characters or more; none: the user can't log in until one is set.
    #[graphql(secret)]
    password: Option<String>,
    /// The department that the user is in.
    department_id: Option<ID>,
    /// A picture of the user: an http or https address.
    avatar_url: Option<String>,
    /// The time zone by its IANA name; UTC where none is given.
    time_zone: Option<String>,
    /// Whether the user is an administrator.
    #[graphql(default)]
    is_administrator: bool,
    /// Roles given directly; none given: the built-in role "Employee".
    role_ids: Option<Vec<ID>>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a user. Absent = unchanged, null = cleared.
#[derive(InputObject)]
pub struct UpdateUserInput {
    /// The user.
    user_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The full name.
    name: MaybeUndefined<String>,
    /// The department; null: none. The user's items go with them.
    department_id: MaybeUndefined<ID>,
    /// A picture; null: none.
    avatar_url: MaybeUndefined<String>,
    /// The time zone by its IANA name.
    time_zone: MaybeUndefined<String>,
    /// Whether the account can be used; false ends all its sessions and tokens for good; its mailboxes go on, and queues pass it over.
    is_active: MaybeUndefined<bool>,
    /// Whether the user is an administrator; the last active one stays one.
    is_administrator: MaybeUndefined<bool>,
}

/// One line of a role. What is not listed is not allowed.
#[derive(InputObject)]
pub struct PermissionInput {
    /// The kind of item.
    item: ItemKind,
    /// What it allows to do.
    action: PermissionAction,
    /// To which items.
    level: PermissionLevel,
    /// In which stage; none: in every stage that no other line names.
    stage_id: Option<ID>,
}

/// A role to make. Nobody gives rights that they lack.
#[derive(InputObject)]
pub struct CreateRoleInput {
    /// What it is called; at most 200 characters.
    name: String,
    /// What it allows.
    permissions: Vec<PermissionInput>,
    /// Fields of items that it hides, unless another role shows them.
    #[graphql(default)]
    hidden_fields: Vec<RestrictedField>,
    /// Whether its holders may edit roles and the settings of the CRM and of every mailbox.
    #[graphql(default)]
    may_change_crm_settings: bool,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a role. Absent = unchanged; lists replace.
#[derive(InputObject)]
pub struct UpdateRoleInput {
    /// The role.
    role_id: ID,
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// What it is called.
    name: MaybeUndefined<String>,
    /// What it allows.
    permissions: MaybeUndefined<Vec<PermissionInput>>,
    /// Fields of items that it hides.
    hidden_fields: MaybeUndefined<Vec<RestrictedField>>,
    /// Whether its holders may edit roles and settings.
    may_change_crm_settings: MaybeUndefined<bool>,
}

/// Who holds roles: a user or a department.
#[derive(OneofObject)]
pub enum RoleHolderInput {
    /// A user.
    UserId(ID),
    /// A department: what is given to it is given to those below it.
    DepartmentId(ID),
}

/// Exactly the roles that a user or department holds from now on.
#[derive(InputObject)]
pub struct AssignRolesInput {
    /// Who holds them.
    holder: RoleHolderInput,
    /// The roles; those not named are taken away.
    role_ids: Vec<ID>,
}

/// What changes about the settings of the whole installation. Absent = unchanged; lists replace.
#[derive(InputObject)]
pub struct UpdateCrmSettingsInput {
    /// The version that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// Whether there are leads; without, a contact and a deal are made where a lead would be.
    leads_enabled: MaybeUndefined<bool>,
    /// Addresses, domains (`example.com`) and sub-domains (`*.example.com`) from which nothing new is saved.
    exclusions: MaybeUndefined<Vec<String>>,
    /// Mails an hour from one sender after which no more items are made for it.
    sender_limit_per_hour: MaybeUndefined<i64>,
}

payload! {
    /// The new department.
    CreateDepartmentPayload {
        /// The department.
        department: Department,
    }
}
payload! {
    /// The changed department.
    UpdateDepartmentPayload {
        /// The department.
        department: Department,
    }
}
payload! {
    /// The department is gone.
    DeleteDepartmentPayload {
        /// Its id, which names nothing any more.
        deleted_department_id: ID,
    }
}
payload! {
    /// The role is gone.
    DeleteRolePayload {
        /// Its id, which names nothing any more.
        deleted_role_id: ID,
    }
}
payload! {
    /// The new user.
    CreateUserPayload {
        /// The user.
        user: User,
    }
}
payload! {
    /// The changed user.
    UpdateUserPayload {
        /// The user.
        user: User,
    }
}
payload! {
    /// The new role.
    CreateRolePayload {
        /// The role.
        role: Role,
    }
}
payload! {
    /// The changed role.
    UpdateRolePayload {
        /// The role.
        role: Role,
    }
}
payload! {
    /// The roles that the holder has now.
    AssignRolesPayload {
        /// Those given directly.
        roles: Vec<Role>,
    }
}
payload! {
    /// The changed settings.
    UpdateCrmSettingsPayload {
        /// The settings of the whole installation.
        crm_settings: CrmSettings,
    }
}

/// People, rights and the settings of the whole installation.
#[derive(Default)]
pub struct PeopleMutation;

#[Object]
impl PeopleMutation {
    /// Makes a department. Administrators only.
    async fn create_department(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateDepartmentInput,
    ) -> Result<CreateDepartmentPayload> {
        let ask = &Ask::of(ctx)?;
        let department = CreateDepartment {
            name: input.name,
            parent_id: input.parent_id.map(|id| ask.named(&id)),
        };
        let key = input.idempotency_key;
        let done =
            people::create_department(ask.actions(), ask.viewer(), department, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateDepartmentPayload {
                department: Department::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Renames a department, or moves it with all below it. Administrators only; what people see by department follows at once.
    async fn update_department(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateDepartmentInput,
    ) -> Result<UpdateDepartmentPayload> {
        let ask = &Ask::of(ctx)?;
        let change = UpdateDepartment {
            department_id: ask.named(&input.department_id),
            expected_version: input.expected_version,
            name: input.name.into(),
            parent_id: ask.change_named(input.parent_id),
        };
        let done = departments::update(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateDepartmentPayload {
                department: Department::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Deletes an empty department. Administrators only.
    async fn delete_department(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteDepartmentInput,
    ) -> Result<DeleteDepartmentPayload> {
        let ask = &Ask::of(ctx)?;
        let wish = (ask.named(&input.department_id), input.expected_version);
        let done = departments::delete(ask.actions(), ask.viewer(), wish, ask.now());
        answer(done.await, |id| async move {
            Ok(DeleteDepartmentPayload {
                deleted_department_id: Some(ask.seal(id)),
                ..Default::default()
            })
        })
        .await
    }

    /// Makes a user. Administrators only.
    async fn create_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateUserInput,
    ) -> Result<CreateUserPayload> {
        let ask = &Ask::of(ctx)?;
        let user = CreateUser {
            name: input.name,
            address: input.address,
            password: input.password.map(SecretString::from),
            department_id: input.department_id.map(|id| ask.named(&id)),
            avatar_url: input.avatar_url,
            time_zone: input.time_zone,
            is_administrator: input.is_administrator,
            role_ids: input.role_ids.map(|ids| ask.all_named(&ids)),
        };
        let key = input.idempotency_key;
        let done = people::create_user(ask.actions(), ask.viewer(), user, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateUserPayload {
                user: User::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Changes a user. Administrators only.
    async fn update_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateUserInput,
    ) -> Result<UpdateUserPayload> {
        let ask = &Ask::of(ctx)?;
        let change = UpdateUser {
            user_id: ask.named(&input.user_id),
            expected_version: input.expected_version,
            name: input.name.into(),
            department_id: ask.change_named(input.department_id),
            avatar_url: input.avatar_url.into(),
            time_zone: input.time_zone.into(),
            is_active: input.is_active.into(),
            is_administrator: input.is_administrator.into(),
        };
        let done = people::update_user(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateUserPayload {
                user: User::find(ask, id).await?,
                ..Default::default()
            })
        })
        .await
    }

    /// Makes a role. Administrators and holders of "may change CRM settings", who can't give what they lack.
    async fn create_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: CreateRoleInput,
    ) -> Result<CreateRolePayload> {
        let ask = &Ask::of(ctx)?;
        let role = CreateRole {
            name: input.name,
            permissions: lines(ask, &input.permissions),
            hidden_fields: fields(&input.hidden_fields),
            may_change_crm_settings: input.may_change_crm_settings,
        };
        let key = input.idempotency_key;
        let done = roles::create_role(ask.actions(), ask.viewer(), role, key, ask.now());
        answer(done.await, |id| async move {
            Ok(CreateRolePayload {
                role: roles_of(ask, vec![id]).await?.pop(),
                ..Default::default()
            })
        })
        .await
    }

    /// Changes a role; its holders have what it gives at once. Administrators and holders of "may change CRM settings".
    async fn update_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateRoleInput,
    ) -> Result<UpdateRolePayload> {
        let ask = &Ask::of(ctx)?;
        let change = UpdateRole {
            role_id: ask.named(&input.role_id),
            expected_version: input.expected_version,
            name: input.name.into(),
            permissions: changed(input.permissions, |list| lines(ask, &list)),
            hidden_fields: changed(input.hidden_fields, |list| fields(&list)),
            may_change_crm_settings: input.may_change_crm_settings.into(),
        };
        let done = roles::update_role(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |id| async move {
            Ok(UpdateRolePayload {
                role: roles_of(ask, vec![id]).await?.pop(),
                ..Default::default()
            })
        })
        .await
    }

    /// Deletes a role that nobody holds. Administrators and holders of "may change CRM settings".
    async fn delete_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DeleteRoleInput,
    ) -> Result<DeleteRolePayload> {
        let ask = &Ask::of(ctx)?;
        let wish = (ask.named(&input.role_id), input.expected_version);
        let done = roles::delete_role(ask.actions(), ask.viewer(), wish, ask.now());
        answer(done.await, |id| async move {
            Ok(DeleteRolePayload {
                deleted_role_id: Some(ask.seal(id)),
                ..Default::default()
            })
        })
        .await
    }

    /// Gives a user or department exactly these roles. Administrators and holders of "may change CRM settings", who can't give what they lack.
    async fn assign_roles(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: AssignRolesInput,
    ) -> Result<AssignRolesPayload> {
        let ask = &Ask::of(ctx)?;
        let holder = match &input.holder {
            RoleHolderInput::UserId(id) => RoleHolder::User(ask.named(id)),
            RoleHolderInput::DepartmentId(id) => RoleHolder::Department(ask.named(id)),
        };
        let ids = ask.all_named(&input.role_ids);
        let done = roles::assign_roles(ask.actions(), ask.viewer(), holder, ids, ask.now());
        answer(done.await, |ids| async move {
            Ok(AssignRolesPayload {
                roles: Some(roles_of(ask, ids).await?),
                ..Default::default()
            })
        })
        .await
    }

    /// Changes the settings of the whole installation. Administrators and holders of "may change CRM settings".
    async fn update_crm_settings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateCrmSettingsInput,
    ) -> Result<UpdateCrmSettingsPayload> {
        let ask = &Ask::of(ctx)?;
        let change = UpdateCrmSettings {
            expected_version: input.expected_version,
            leads_enabled: input.leads_enabled.into(),
            exclusions: input.exclusions.into(),
            sender_limit_per_hour: input.sender_limit_per_hour.into(),
        };
        let done = crm_settings::update(ask.actions(), ask.viewer(), change, ask.now());
        answer(done.await, |()| async move {
            let row = ask.read(|conn, _scopes| store::settings::crm_settings(conn));
            Ok(UpdateCrmSettingsPayload {
                crm_settings: Some(row.await?.into()),
                ..Default::default()
            })
        })
        .await
    }
}

fn lines(ask: &Ask, inputs: &[PermissionInput]) -> Vec<PermissionLine> {
    let line = |input: &PermissionInput| PermissionLine {
        item: input.item.into(),
        action: input.action.into(),
        level: input.level.into(),
        stage_id: input.stage_id.as_ref().map(|id| ask.named(id)),
    };
    inputs.iter().map(line).collect()
}

fn fields(inputs: &[RestrictedField]) -> Vec<crate::model::people::RestrictedField> {
    inputs.iter().map(|field| (*field).into()).collect()
}

/// Everybody who is signed in sees roles.
async fn roles_of(ask: &Ask, ids: Vec<RoleId>) -> Result<Vec<Role>> {
    let rows = ask.read(move |conn, _scopes| store::roles::get_many(conn, &ids));
    let rows = rows.await?.into_iter();
    Ok(rows.map(|row| Role::new(ask, row)).collect())
}
