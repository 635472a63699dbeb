//! Users and departments. Every signed-in user may see who works here; there is no scope.

use super::page::{KeyPart, Order, Page, PageRequest, count_up_to};
use super::sql::{Sql, sql};
use super::{AnyConn, StoreError};
use crate::model::people::{Department, User};
use crate::model::{DepartmentId, UserId};

type UserRow = (
    i64,
    String,
    String,
    Option<String>,
    Option<i64>,
    String,
    bool,
    bool,
    i64,
);

const COLUMNS: &str = "SELECT u.id, u.name, u.address, u.avatar_url, u.department_id, u.time_zone, u.is_active, \
     u.is_administrator, u.version FROM users u";

fn select() -> Sql {
    sql(COLUMNS)
}

fn user(row: UserRow) -> User {
    let (
        id,
        name,
        address,
        avatar_url,
        department,
        time_zone,
        is_active,
        is_administrator,
        version,
    ) = row;
    User {
        id: UserId(id),
        name,
        address,
        avatar_url,
        department_id: department.map(DepartmentId),
        time_zone,
        is_active,
        is_administrator,
        version,
    }
}

/// One user.
///
/// # Errors
/// What the database says.
pub fn get(conn: &mut AnyConn, id: UserId) -> Result<Option<User>, StoreError> {
    let row = select().push(" WHERE u.id = ").bind(id.0).one(conn)?;
    Ok(row.map(user))
}

/// These users, in no order; unknown ids are left out.
///
/// # Errors
/// What the database says.
pub fn get_many(conn: &mut AnyConn, ids: &[UserId]) -> Result<Vec<User>, StoreError> {
    let rows = select()
        .push(" WHERE u.id IN (")
        .list(ids.iter().map(|id| id.0))
        .push(")")
        .rows(conn)?;
    Ok(rows.into_iter().map(user).collect())
}

/// The user with this canonical address.
///
/// # Errors
/// What the database says.
pub fn find_by_address_key(conn: &mut AnyConn, key: &str) -> Result<Option<User>, StoreError> {
    let row = select()
        .push(" WHERE u.address_key = ")
        .bind(key)
        .one(conn)?;
    Ok(row.map(user))
}

/// A page of users, by name.
///
/// # Errors
/// What the database says.
pub fn list(conn: &mut AnyConn, page: &PageRequest) -> Result<Page<User>, StoreError> {
    let order = Order {
        columns: &["u.name", "u.id"],
        descending: false,
    };
    let rows: Vec<UserRow> = page
        .finish(select().push(" WHERE TRUE"), order)
        .rows(conn)?;
    let rows = rows.into_iter().map(user).map(|user| {
        let key = vec![KeyPart::Text(user.name.clone()), KeyPart::Number(user.id.0)];
        (key, user)
    });
    Ok(page.page(rows.collect()))
}

/// How many users there are, up to `limit`.
///
/// # Errors
/// What the database says.
pub fn count(conn: &mut AnyConn, limit: i64) -> Result<(i64, bool), StoreError> {
    count_up_to(conn, sql("SELECT id FROM users"), limit)
}

/// The active administrators, oldest account first.
///
/// # Errors
/// What the database says.
pub fn administrators(conn: &mut AnyConn) -> Result<Vec<UserId>, StoreError> {
    let ids: Vec<i64> =
        sql("SELECT id FROM users WHERE is_administrator AND is_active ORDER BY created_at, id")
            .rows(conn)?;
    Ok(ids.into_iter().map(UserId).collect())
}

/// Whether there is any user at all.
///
/// # Errors
/// What the database says.
pub fn any(conn: &mut AnyConn) -> Result<bool, StoreError> {
    let id: Option<i64> = sql("SELECT id FROM users LIMIT 1").one(conn)?;
    Ok(id.is_some())
}

/// All departments, by name.
///
/// # Errors
/// What the database says.
pub fn departments(conn: &mut AnyConn) -> Result<Vec<Department>, StoreError> {
    let rows: Vec<(i64, String, Option<i64>, i64)> =
        sql("SELECT id, name, parent_id, version FROM departments ORDER BY name, id").rows(conn)?;
    let department = |(id, name, parent, version): (i64, String, Option<i64>, i64)| Department {
        id: DepartmentId(id),
        name,
        parent_id: parent.map(DepartmentId),
        version,
    };
    Ok(rows.into_iter().map(department).collect())
}

/// Whether anybody, active or not, is in this department.
///
/// # Errors
/// What the database says.
pub fn any_in_department(conn: &mut AnyConn, id: DepartmentId) -> Result<bool, StoreError> {
    let user: Option<i64> = sql("SELECT id FROM users WHERE department_id = ")
        .bind(id.0)
        .push(" LIMIT 1")
        .one(conn)?;
    Ok(user.is_some())
}
