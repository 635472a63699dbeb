//! Departments and users are made and changed by administrators (R45).
//! Not for: logging in, or a user's own settings; the address of a user never changes here, since mail is judged by it.

use super::acting::{departments_exist, facts_json, require_administrator};
use super::change::Change;
use super::fields::{self, NAME_CHARS_MAX, check_all};
use super::{ActionError, ActionResult, Actions, audit, check_version, idempotency};
use crate::auth::passwords::{self, PasswordError};
use crate::model::people::{Department, User, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{DepartmentId, RoleId, Time, UserId};
use crate::store::dialect::lock_keys;
use crate::store::{self, StoreError, Tx};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;

/// How deep the tree of departments goes: deeper than any company, and every decision walks it.
pub(super) const DEPARTMENT_DEPTH_MAX: usize = 20;
/// How many departments there are: lists and scopes hold all of them.
const DEPARTMENTS_MAX: usize = 2_000;
/// One writer at a time changes people and roles: "the last administrator" and "no other has the address" must hold.
const PEOPLE_LOCK: i64 = 0x7065_6f70_6c65_0000;
/// The word that code knows the built-in role by.
const EMPLOYEE: &str = "EMPLOYEE";

/// A department to make.
#[derive(Debug, Clone, Serialize)]
pub struct CreateDepartment {
    pub name: String,
    pub parent_id: Option<DepartmentId>,
}

/// Makes a department. Administrators only.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND` for the parent, `BAD_INPUT`.
pub async fn create_department(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateDepartment,
    key: Option<String>,
    now: Time,
) -> ActionResult<DepartmentId> {
    let hash = idempotency::input_hash(&input)?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            let made = idempotency::once(
                tx,
                viewer,
                "createDepartment",
                key.as_deref(),
                &hash,
                |tx| add_department(tx, viewer, &input).map(|id| vec![id.0]),
            )?;
            Ok(DepartmentId(idempotency::first(&made)?))
        })
        .await
}

fn add_department(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    input: &CreateDepartment,
) -> ActionResult<DepartmentId> {
    let name = fields::line("name", &input.name, NAME_CHARS_MAX)?;
    lock_people(tx)?;
    let all = store::users::departments(tx.conn)?;
    if all.len() >= DEPARTMENTS_MAX {
        return Err(super::acting::bad_input(
            "name",
            format!(
                "There are {DEPARTMENTS_MAX} departments already, which is as many as there can be."
            ),
        ));
    }
    if let Some(parent) = input.parent_id {
        departments_exist(tx, &[parent], "parentId")?;
        if depth(&all, parent) >= DEPARTMENT_DEPTH_MAX {
            return Err(super::acting::bad_input(
                "parentId",
                format!("The tree of departments is at most {DEPARTMENT_DEPTH_MAX} deep."),
            ));
        }
    }
    let department = Department {
        id: DepartmentId(tx.id()?),
        name,
        parent_id: input.parent_id,
        version: 1,
    };
    store::user_writes::insert_department(tx, &department)?;
    tx.rights_changed()?;
    audit::record(
        tx,
        Some(viewer.user_id),
        "createDepartment",
        &format!("department {}", department.id.0),
        &json!({ "parentId": department.parent_id }),
    )?;
    Ok(department.id)
}

/// How many departments lie from the root down to this one, itself included.
pub(super) fn depth(all: &[Department], of: DepartmentId) -> usize {
    let mut next = Some(of);
    let mut found = 0;
    while let Some(id) = next.filter(|_| found <= DEPARTMENT_DEPTH_MAX) {
        found += 1;
        next = all
            .iter()
            .find(|department| department.id == id)
            .and_then(|department| department.parent_id);
    }
    found
}

/// A user to make.
#[derive(Debug, Clone)]
pub struct CreateUser {
    pub name: String,
    pub address: String,
    /// Without one the user can't log in until one is set by a link.
    pub password: Option<SecretString>,
    pub department_id: Option<DepartmentId>,
    pub avatar_url: Option<String>,
    /// UTC where none is given.
    pub time_zone: Option<String>,
    pub is_administrator: bool,
    /// `None`: the built-in role "Employee".
    pub role_ids: Option<Vec<RoleId>>,
}

/// Makes a user. Administrators only.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND` for the department or a role, `BAD_INPUT` (also where another user has the address).
pub async fn create_user(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateUser,
    key: Option<String>,
    now: Time,
) -> ActionResult<UserId> {
    // Asked before the password is hashed, which costs, and once more inside the transaction.
    require_administrator(viewer)?;
    let password_hash = hashed(input.password.as_ref()).await?;
    // The password stays out of the hash: a fast hash of it must not be kept.
    let hash = idempotency::input_hash(&json!({
        "name": input.name, "address": input.address, "hasPassword": input.password.is_some(),
        "departmentId": input.department_id, "avatarUrl": input.avatar_url, "timeZone": input.time_zone,
        "isAdministrator": input.is_administrator, "roleIds": input.role_ids,
    }))?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            let made = idempotency::once(tx, viewer, "createUser", key.as_deref(), &hash, |tx| {
                add_user(tx, Some(viewer.user_id), &input, password_hash).map(|id| vec![id.0])
            })?;
            Ok(UserId(idempotency::first(&made)?))
        })
        .await
}

/// Makes a user as the operator, who has the machine and is asked for no rights: the command line, the set-up link, the demo.
///
/// # Errors
/// As [`create_user`], but for `FORBIDDEN`.
pub async fn create_user_as_operator(
    actions: &Actions,
    input: CreateUser,
    now: Time,
) -> ActionResult<UserId> {
    let password_hash = hashed(input.password.as_ref()).await?;
    actions
        .store
        .write(now, move |tx| add_user(tx, None, &input, password_hash))
        .await
}

/// The first administrator, made behind the set-up link.
#[derive(Debug, Clone)]
pub struct SetUp {
    /// The one-time token of the link.
    pub token: String,
    pub name: String,
    pub address: String,
    pub password: SecretString,
}

/// Makes the first administrator and uses the link up. A refusal leaves the link good.
///
/// # Errors
/// `FORBIDDEN` for a link that is used or over, or where there are users already; `BAD_INPUT`.
pub async fn set_up(actions: &Actions, input: SetUp, now: Time) -> ActionResult<UserId> {
    let password_hash = hashed(Some(&input.password)).await?;
    actions
        .store
        .write(now, move |tx| {
            let is_good = crate::auth::accounts::claim_set_up_token(tx, &input.token)?;
            if !is_good || store::users::any(tx.conn)? {
                return Err(Refusal::new(
                    ErrorCode::Forbidden,
                    "This link was used, or its time is over. Start Mailroom again for a new one.",
                )
                .into());
            }
            let user = CreateUser {
                name: input.name,
                address: input.address,
                password: None,
                department_id: None,
                avatar_url: None,
                time_zone: None,
                is_administrator: true,
                role_ids: Some(Vec::new()),
            };
            add_user(tx, None, &user, password_hash)
        })
        .await
}

async fn hashed(password: Option<&SecretString>) -> ActionResult<Option<String>> {
    let Some(password) = password else {
        return Ok(None);
    };
    match passwords::hash(password).await {
        Ok(hash) => Ok(Some(hash)),
        Err(PasswordError::Unfit(why)) => Err(super::acting::bad_input("password", why)),
        Err(PasswordError::Failed(why)) => Err(ActionError::Store(StoreError::Database(why))),
    }
}

fn add_user(
    tx: &mut Tx<'_>,
    actor: Option<UserId>,
    input: &CreateUser,
    password_hash: Option<String>,
) -> ActionResult<UserId> {
    check_all! {
        name = fields::line("name", &input.name, NAME_CHARS_MAX),
        address = fields::address("address", &input.address),
        avatar_url = optional_web_address(input.avatar_url.as_deref()),
        time_zone = fields::time_zone("timeZone", input.time_zone.as_deref().unwrap_or("UTC")),
        role_ids = input
            .role_ids
            .as_ref()
            .map(|ids| fields::distinct("roleIds", ids, fields::ROLES_MAX))
            .transpose(),
    }
    let (address, address_key) = address;
    lock_people(tx)?;
    if let Some(department) = input.department_id {
        departments_exist(tx, &[department], "departmentId")?;
    }
    let role_ids = match role_ids {
        Some(ids) => ids,
        None => store::roles::built_in(tx.conn, EMPLOYEE)?
            .into_iter()
            .collect(),
    };
    if store::roles::get_many(tx.conn, &role_ids)?.len() != role_ids.len() {
        return Err(Refusal::not_found("roleIds").into());
    }
    if store::users::find_by_address_key(tx.conn, &address_key)?.is_some() {
        return Err(super::acting::bad_input(
            "address",
            "Another user has this address.",
        ));
    }
    let user = User {
        id: UserId(tx.id()?),
        name,
        address,
        avatar_url,
        department_id: input.department_id,
        time_zone,
        is_active: true,
        is_administrator: input.is_administrator,
        version: 1,
    };
    store::user_writes::insert_user(tx, &user, &address_key, password_hash)?;
    store::role_writes::set_of_user(tx, user.id, &role_ids)?;
    let detail = json!({
        "isAdministrator": user.is_administrator, "departmentId": user.department_id, "roleIds": role_ids,
    });
    audit::record(tx, actor, "createUser", &about(user.id), &detail)?;
    Ok(user.id)
}

fn optional_web_address(text: Option<&str>) -> Result<Option<String>, Refusal> {
    text.filter(|text| !text.trim().is_empty())
        .map(|text| fields::web_address("avatarUrl", text))
        .transpose()
}

/// What changes about a user.
#[derive(Debug, Clone)]
pub struct UpdateUser {
    pub user_id: UserId,
    pub expected_version: Option<i64>,
    pub name: Change<String>,
    pub department_id: Change<DepartmentId>,
    pub avatar_url: Change<String>,
    pub time_zone: Change<String>,
    pub is_active: Change<bool>,
    pub is_administrator: Change<bool>,
}

impl UpdateUser {
    /// An update that changes nothing yet.
    pub const fn of(user_id: UserId) -> Self {
        Self {
            user_id,
            expected_version: None,
            name: Change::Keep,
            department_id: Change::Keep,
            avatar_url: Change::Keep,
            time_zone: Change::Keep,
            is_active: Change::Keep,
            is_administrator: Change::Keep,
        }
    }
}

/// Changes a user. Administrators only. The last active administrator stays one; deactivating ends all sessions and
/// takes back API tokens and one-time links for good: an account that is activated again begins without any. Queues pass
/// over whoever is deactivated; their mailboxes go on until somebody hands them over or disconnects them (R10, R14).
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `STALE`, `BAD_INPUT`.
pub async fn update_user(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateUser,
    now: Time,
) -> ActionResult<UserId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            require_administrator(viewer)?;
            change_user(tx, viewer, input)
        })
        .await
}

fn change_user(tx: &mut Tx<'_>, viewer: &Viewer, input: UpdateUser) -> ActionResult<UserId> {
    lock_people(tx)?;
    let before =
        store::users::get(tx.conn, input.user_id)?.ok_or_else(|| Refusal::not_found("userId"))?;
    check_version(input.expected_version, before.version)?;
    let after = changed_user(&before, input)?;
    if let Some(department) = after.department_id {
        departments_exist(tx, &[department], "departmentId")?;
    }
    keep_an_administrator(tx, &before, &after)?;
    let rights = |user: &User| (user.department_id, user.is_active, user.is_administrator);
    let changes_rights = rights(&before) != rights(&after);
    if before.department_id != after.department_id {
        items_change_department(tx, after.id)?;
    }
    store::user_writes::update_user(tx, &after)?;
    if before.is_active && !after.is_active {
        store::user_writes::end_sessions(tx, after.id)?;
        store::credentials::delete_links_of_user(tx, after.id)?;
    }
    if changes_rights {
        tx.rights_changed()?;
        let told = |user: &User| {
            json!({
                "departmentId": user.department_id, "isActive": user.is_active,
                "isAdministrator": user.is_administrator,
            })
        };
        let detail = json!({ "before": told(&before), "after": told(&after) });
        audit::record(
            tx,
            Some(viewer.user_id),
            "updateUser",
            &about(after.id),
            &detail,
        )?;
    }
    Ok(after.id)
}

fn changed_user(before: &User, input: UpdateUser) -> ActionResult<User> {
    let user = before.clone();
    check_all! {
        name = input
            .name
            .try_map(|text| fields::line("name", &text, NAME_CHARS_MAX))
            .and_then(|change| change.applied_required("name", user.name)),
        avatar_url = fields::optional_change("avatarUrl", input.avatar_url, fields::URL_CHARS_MAX)
            .and_then(|change| change.try_map(|text| fields::web_address("avatarUrl", &text))),
        time_zone = input
            .time_zone
            .try_map(|text| fields::time_zone("timeZone", &text))
            .and_then(|change| change.applied_required("timeZone", user.time_zone)),
        is_active = input.is_active.applied_required("isActive", user.is_active),
        is_administrator = input
            .is_administrator
            .applied_required("isAdministrator", user.is_administrator),
    }
    Ok(User {
        id: user.id,
        address: user.address,
        name,
        avatar_url: avatar_url.applied(user.avatar_url),
        department_id: input.department_id.applied(user.department_id),
        time_zone,
        is_active,
        is_administrator,
        version: user.version + 1,
    })
}

/// The last active administrator can't be deactivated or made an ordinary user: nobody could undo it.
fn keep_an_administrator(tx: &mut Tx<'_>, before: &User, after: &User) -> ActionResult<()> {
    let administers = |user: &User| user.is_active && user.is_administrator;
    if !administers(before) || administers(after) {
        return Ok(());
    }
    let others = store::users::administrators(tx.conn)?;
    if others.iter().any(|id| *id != before.id) {
        return Ok(());
    }
    let field = if after.is_active {
        "isAdministrator"
    } else {
        "isActive"
    };
    Err(Refusal::at(
        ErrorCode::BadInput,
        field,
        "This is the last active administrator; make another one first.",
    )
    .into())
}

/// The items of a user who moves go with them to another department: whoever reads by department gains or loses them.
fn items_change_department(tx: &mut Tx<'_>, user: UserId) -> ActionResult<()> {
    for facts in store::item_writes::facts_of_responsible(tx, user)? {
        tx.item_changed(facts.id, facts_json(&facts)?);
    }
    Ok(())
}

/// Locks people and roles until the end of the transaction.
pub(super) fn lock_people(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    lock_keys(tx, PEOPLE_LOCK, &["people".to_owned()])
}

fn about(user: UserId) -> String {
    format!("user {}", user.0)
}
