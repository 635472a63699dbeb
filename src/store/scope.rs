//! Scopes of `rules::access` as SQL conditions. Every list in this room takes one.

use super::sql::{Sql, sql};
use crate::model::item::ItemKind;
use crate::model::people::PermissionLevel;
use crate::rules::access::{EmailScope, ItemScope, MailboxScope, ScopeLine, Stages, Surface};

/// The condition that an item (a row of `items` called `alias`) is in the scope; never NULL.
pub fn items(scope: &ItemScope, alias: &'static str) -> Sql {
    if scope.is_everything() {
        return sql("TRUE");
    }
    let mut condition = sql("(FALSE");
    let alike = all_kinds_alike(scope);
    for line in scope.lines() {
        if alike && line.kind() != ItemKind::Lead {
            continue;
        }
        condition = condition.push(" OR (");
        if !alike {
            condition = condition
                .push(alias)
                .push(".kind = ")
                .bind(line.kind().as_text())
                .push(" AND ");
        }
        condition = condition
            .then(stages(line, alias))
            .push(" AND ")
            .then(reach(scope, line.level(), alias))
            .push(")");
    }
    condition.push(")")
}

/// Whether leads, deals and contacts are reached alike, so that the kind needs no look.
fn all_kinds_alike(scope: &ItemScope) -> bool {
    let lines = scope.lines();
    lines.len() == ItemKind::ALL.len()
        && lines.iter().all(|line| *line.stages() == Stages::Any)
        && lines
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.level() == b.level()))
}

fn stages(line: &ScopeLine, alias: &'static str) -> Sql {
    match line.stages() {
        Stages::Any => sql("TRUE"),
        Stages::Only(stage) => sql("COALESCE(")
            .push(alias)
            .push(".stage_id, 0) = ")
            .bind(stage.0),
        Stages::AnyBut(stages) => sql("COALESCE(")
            .push(alias)
            .push(".stage_id, 0) NOT IN (")
            .list(stages.iter().map(|stage| stage.0))
            .push(")"),
    }
}

fn reach(scope: &ItemScope, level: PermissionLevel, alias: &'static str) -> Sql {
    if level == PermissionLevel::All {
        return sql("TRUE");
    }
    let mut condition = sql("(")
        .push(alias)
        .push(".responsible_id = ")
        .bind(scope.viewer_id().0);
    let departments: Vec<i64> = if level >= PermissionLevel::DepartmentAndBelow {
        scope.departments_below().iter().map(|id| id.0).collect()
    } else if level >= PermissionLevel::OwnDepartment {
        scope.department_id().iter().map(|id| id.0).collect()
    } else {
        Vec::new()
    };
    if !departments.is_empty() {
        condition = condition
            .push(" OR ")
            .push(alias)
            .push(".responsible_id IN (SELECT u.id FROM users u WHERE u.department_id IN (")
            .list(departments)
            .push("))");
    }
    if level >= PermissionLevel::OpenToEveryone {
        condition = condition.push(" OR ").push(alias).push(".open_to_everyone");
    }
    condition.push(")")
}

/// The condition that an email (a row of `emails` called `alias`) is in the scope.
pub fn emails(scope: &EmailScope, alias: &'static str) -> Sql {
    match scope.surface() {
        Surface::Crm => in_crm(scope, alias),
        Surface::Mailbox => in_mailbox(scope, alias),
        Surface::Either => sql("(")
            .then(in_mailbox(scope, alias))
            .push(" OR ")
            .then(in_crm(scope, alias))
            .push(")"),
    }
}

/// R21: linked, and no linked item is unreadable.
fn in_crm(scope: &EmailScope, alias: &'static str) -> Sql {
    let linked = sql("EXISTS (SELECT 1 FROM email_links sl WHERE sl.email_id = ")
        .push(alias)
        .push(".id)");
    if scope.items().is_everything() {
        return linked;
    }
    sql("(")
        .then(linked)
        .push(
            " AND NOT EXISTS (SELECT 1 FROM email_links sl JOIN items si ON si.id = sl.item_id WHERE sl.email_id = ",
        )
        .push(alias)
        .push(".id AND NOT ")
        .then(items(scope.items(), "si"))
        .push("))")
}

fn in_mailbox(scope: &EmailScope, alias: &'static str) -> Sql {
    sql(alias)
        .push(".mailbox_id IN (")
        .then(mailbox_ids(scope.mailboxes()))
        .push(")")
}

/// The ids of the mailboxes in the scope, as a sub-select.
pub fn mailbox_ids(scope: &MailboxScope) -> Sql {
    if scope.is_everything() {
        return sql("SELECT sm.id FROM mailboxes sm");
    }
    let viewer = scope.viewer_id().0;
    sql("SELECT sm.id FROM mailboxes sm WHERE sm.connector_id = ")
        .bind(viewer)
        .push(" UNION SELECT su.mailbox_id FROM mailbox_users su WHERE su.user_id = ")
        .bind(viewer)
        .push(" UNION SELECT sd.mailbox_id FROM mailbox_departments sd WHERE sd.department_id IN (")
        .list(scope.departments_above().iter().map(|id| id.0))
        .push(")")
}

/// Whether every item is in the scope, whatever it is.
pub fn reaches_all(scope: &ItemScope) -> bool {
    let reaches_all = |line: &ScopeLine| line.level() == PermissionLevel::All;
    scope.is_everything() || (all_kinds_alike(scope) && scope.lines().iter().all(reaches_all))
}

/// The condition that a timeline entry (called `t`, its item `i`) may be seen (R21): its item is readable, and it shows there.
pub fn entries(scope: &EmailScope) -> Sql {
    sql("(")
        .then(items(scope.items(), "i"))
        .push(" AND ")
        .then(shown_entries(scope.items()))
        .push(")")
}

/// The condition that an entry (called `t`) of a readable item shows: an entry or activity about an email
/// also needs the email visible and still linked there.
/// That an email was linked or unlinked shows where the item is readable.
pub fn shown_entries(scope: &ItemScope) -> Sql {
    sql("(t.email_id IS NULL OR t.kind IN ('EMAIL_LINKED', 'EMAIL_UNLINKED') OR \
         (EXISTS (SELECT 1 FROM email_links tl WHERE tl.email_id = t.email_id AND tl.item_id = t.item_id)")
        .then(no_unreadable_link(scope))
        .push("))")
}

fn no_unreadable_link(scope: &ItemScope) -> Sql {
    if scope.is_everything() {
        return Sql::default();
    }
    sql(
        " AND NOT EXISTS (SELECT 1 FROM email_links sl JOIN items si ON si.id = sl.item_id \
         WHERE sl.email_id = t.email_id AND NOT ",
    )
    .then(items(scope, "si"))
    .push(")")
}
