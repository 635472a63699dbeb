//! Templates (R42): made, changed and deleted; filled in for an item, under the rights of whoever reads it.
//! Not for: what a template may do while it is filled (that is `view::template`).

use super::drafts::may_send_as;
use super::{ActionError, ActionResult, Actions, acting, check_version};
use crate::actions::change::Change;
use crate::model::item::{Item, ItemKind};
use crate::model::people::{PermissionAction, RestrictedField, Viewer};
use crate::model::refusal::Refusal;
use crate::model::template::{Template, TemplateSharing};
use crate::model::{ItemId, MailboxId, TemplateId, Time};
use crate::rules::access;
use crate::store::templates::{self, TemplateRowText};
use crate::store::{AnyConn, StoreError, items, mailboxes, settings, users};
use crate::view;
use crate::view::template::{self, Fields, Filling, TemplateError};
use std::collections::{BTreeMap, BTreeSet};

const NAME_CHARS_MAX: usize = 200;

/// A template to make.
#[derive(Debug, Clone)]
pub struct CreateTemplate {
    pub name: String,
    pub subject: String,
    pub body_text: Option<String>,
    pub body_html: Option<String>,
    pub sharing: TemplateSharing,
}

/// What changes about a template.
#[derive(Debug, Clone)]
pub struct UpdateTemplate {
    pub template_id: TemplateId,
    pub expected_version: Option<i64>,
    pub name: Change<String>,
    pub subject: Change<String>,
    pub body_text: Change<String>,
    pub body_html: Change<String>,
    pub sharing: Change<TemplateSharing>,
}

/// A template that was filled in.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    pub subject: String,
    pub body_text: String,
    pub body_html: Option<String>,
    /// Fields that it asks for and that are empty, or hidden from the reader: `client.name`.
    pub missing: BTreeSet<String>,
}

/// Makes a template.
///
/// # Errors
/// `BAD_INPUT` for one that can't be read, `FORBIDDEN` for one that is shared further than the viewer may.
pub async fn create(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateTemplate,
    now: Time,
) -> ActionResult<TemplateId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let row = checked(
                viewer,
                TemplateRowText {
                    name: input.name,
                    subject: input.subject,
                    body_text: input
                        .body_text
                        .or_else(|| input.body_html.as_deref().map(view::text_of_html))
                        .unwrap_or_default(),
                    body_html: input.body_html,
                    sharing: input.sharing,
                    department_id: None,
                },
            )?;
            Ok(templates::insert(tx, viewer.user_id, &row)?)
        })
        .await
}

/// Changes a template: its owner; one that is shared also whoever may change the CRM's settings.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `STALE`, `BAD_INPUT`.
pub async fn update(
    actions: &Actions,
    viewer: &Viewer,
    input: UpdateTemplate,
    now: Time,
) -> ActionResult<TemplateId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let id = input.template_id;
            let found = changeable(tx.conn, viewer, id)?;
            check_version(input.expected_version, found.version)?;
            let sharing = input.sharing.applied(Some(found.sharing));
            let row = TemplateRowText {
                name: input.name.applied_required("name", found.name)?,
                subject: input
                    .subject
                    .applied(Some(found.subject))
                    .unwrap_or_default(),
                body_text: input
                    .body_text
                    .applied(Some(found.body_text))
                    .unwrap_or_default(),
                body_html: input.body_html.applied(found.body_html),
                sharing: sharing.unwrap_or(TemplateSharing::Own),
                department_id: found.department_id,
            };
            let is_reshared = row.sharing != found.sharing;
            let row = if is_reshared {
                checked(viewer, row)?
            } else {
                readable(row)?
            };
            templates::update(tx, id, &row)?;
            Ok(id)
        })
        .await
}

/// Deletes a template; as [`update`] for who may.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`.
pub async fn delete(
    actions: &Actions,
    viewer: &Viewer,
    id: TemplateId,
    now: Time,
) -> ActionResult<TemplateId> {
    actions
        .write_as(viewer, now, move |tx, viewer| {
            changeable(tx.conn, viewer, id)?;
            templates::delete(tx, id)?;
            Ok(id)
        })
        .await
}

fn seen(conn: &mut AnyConn, viewer: &Viewer, id: TemplateId) -> ActionResult<Template> {
    templates::visible(conn, &access::templates(viewer), &[id])?
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::not_found("templateId").into())
}

fn changeable(conn: &mut AnyConn, viewer: &Viewer, id: TemplateId) -> ActionResult<Template> {
    let found = seen(conn, viewer, id)?;
    if access::may_change_template(viewer, found.owner_id, found.sharing) {
        Ok(found)
    } else {
        Err(acting::forbidden("templateId").into())
    }
}

/// Refuses what the viewer may not share so far.
fn checked(viewer: &Viewer, mut row: TemplateRowText) -> ActionResult<TemplateRowText> {
    if !access::may_share_template(viewer, row.sharing) {
        return Err(acting::forbidden("sharing").into());
    }
    row.department_id = viewer
        .department_id
        .filter(|_id| row.sharing == TemplateSharing::Department);
    readable(row)
}

/// Refuses what can't be read as a template.
fn readable(mut row: TemplateRowText) -> ActionResult<TemplateRowText> {
    row.name = row.name.trim().to_owned();
    let is_name = (1..=NAME_CHARS_MAX).contains(&row.name.chars().count())
        && !row.name.contains(char::is_control);
    if !is_name {
        return Err(acting::bad_input(
            "name",
            format!("A name has 1 to {NAME_CHARS_MAX} characters."),
        ));
    }
    let html = row.body_html.as_deref().unwrap_or_default();
    for (field, source) in [
        ("subject", row.subject.as_str()),
        ("bodyText", &row.body_text),
        ("bodyHtml", html),
    ] {
        template::check(source).map_err(|error| unreadable(field, &error))?;
        if source.contains('\0') {
            return Err(acting::bad_input(field, "A template is text."));
        }
    }
    Ok(row)
}

fn unreadable(field: &str, error: &TemplateError) -> ActionError {
    acting::bad_input(field, error.to_string())
}

/// Fills a template in for an item and a mailbox, with what this viewer may read of them.
///
/// # Errors
/// `NOT_FOUND` for a template, item or mailbox that the viewer can't see; `BAD_INPUT` for one that can't be filled in.
pub fn filled(
    conn: &mut AnyConn,
    viewer: &Viewer,
    id: TemplateId,
    (item, mailbox): (Option<ItemId>, Option<MailboxId>),
) -> ActionResult<Filled> {
    let template = seen(conn, viewer, id)?;
    if let Some(mailbox) = mailbox {
        may_send_as(conn, viewer, mailbox)?;
    }
    let fields = fields(conn, viewer, (item, mailbox))?;
    let mut missing = BTreeSet::new();
    let mut fill = |field: &str, source: &str, filling| {
        let (text, lacks) =
            template::fill(source, &fields, filling).map_err(|error| unreadable(field, &error))?;
        missing.extend(lacks);
        Ok::<_, ActionError>(text)
    };
    let subject = fill("subject", &template.subject, Filling::Text)?;
    let body_text = fill("bodyText", &template.body_text, Filling::Text)?;
    let html = template.body_html.as_deref();
    let html = html
        .map(|html| fill("bodyHtml", html, Filling::Html))
        .transpose()?;
    Ok(Filled {
        subject: subject.split_whitespace().collect::<Vec<_>>().join(" "),
        body_text,
        body_html: html
            .map(|html| super::drafts::html_body(&html))
            .transpose()?,
        missing,
    })
}

/// Everything that a template can ask for: what is hidden from the viewer is as if it were empty.
fn fields(
    conn: &mut AnyConn,
    viewer: &Viewer,
    (item, mailbox): (Option<ItemId>, Option<MailboxId>),
) -> ActionResult<Fields> {
    let mut fields: Fields = ["item", "client", "user", "mailbox"]
        .into_iter()
        .map(|group| (group, BTreeMap::new()))
        .collect();
    let mut put = |group, name, value: Option<String>| {
        let value = value.filter(|value| !value.is_empty());
        if let (Some(group), Some(value)) = (fields.get_mut(group), value) {
            group.insert(name, value);
        }
    };
    if let Some(user) = users::get(conn, viewer.user_id)? {
        let departments = users::departments(conn)?;
        let department = departments
            .into_iter()
            .find(|found| Some(found.id) == user.department_id);
        put("user", "name", Some(user.name));
        put("user", "address", Some(user.address));
        put(
            "user",
            "department",
            department.map(|department| department.name),
        );
    }
    if let Some(id) = mailbox {
        put(
            "mailbox",
            "address",
            mailboxes::get(conn, id)?.map(|mailbox| mailbox.address),
        );
    }
    let Some(id) = item else {
        return Ok(fields);
    };
    let item = readable_item(conn, viewer, id)?.ok_or_else(|| Refusal::not_found("itemId"))?;
    let hidden = access::hidden_fields(viewer);
    let shows = |field| !hidden.contains(&field);
    let stages = settings::stages_ever(conn)?;
    let stage = stages
        .into_iter()
        .find(|stage| Some(stage.id) == item.stage_id);
    let responsible = users::get(conn, item.responsible_id)?;
    put("item", "title", Some(item.title.clone()));
    put("item", "stage", stage.map(|stage| stage.name));
    put("item", "source", item.source.clone());
    put("item", "responsible", responsible.map(|user| user.name));
    if shows(RestrictedField::DealAmount) {
        put(
            "item",
            "amount",
            item.amount
                .as_ref()
                .map(|(amount, _currency)| amount.clone()),
        );
        put(
            "item",
            "currency",
            item.amount
                .as_ref()
                .map(|(_amount, currency)| currency.clone()),
        );
    }
    let Some(client) = client(conn, viewer, item)? else {
        return Ok(fields);
    };
    put("client", "name", client.name.clone());
    put("client", "company", client.company.clone());
    let field = match client.kind {
        ItemKind::Lead => RestrictedField::LeadAddresses,
        ItemKind::Deal | ItemKind::Contact => RestrictedField::ContactAddresses,
    };
    if shows(field) {
        let found = items::addresses(conn, &[client.id])?.remove(&client.id);
        let first = found.into_iter().flatten().next();
        put("client", "address", first.map(|address| address.address));
    }
    if shows(RestrictedField::ContactPhones) {
        let found = items::phones(conn, &[client.id])?.remove(&client.id);
        put("client", "phone", found.into_iter().flatten().next());
    }
    Ok(fields)
}

fn readable_item(
    conn: &mut AnyConn,
    viewer: &Viewer,
    id: ItemId,
) -> Result<Option<Item>, StoreError> {
    let scope = access::items(viewer, PermissionAction::Read);
    Ok(items::readable(conn, &scope, &[id])?.into_iter().next())
}

/// The client of an item: itself, or a deal's first contact that the viewer may read.
fn client(conn: &mut AnyConn, viewer: &Viewer, item: Item) -> Result<Option<Item>, StoreError> {
    if item.kind != ItemKind::Deal {
        return Ok(Some(item));
    }
    let contacts = items::deal_contacts(conn, &[item.id])?.remove(&item.id);
    for contact in contacts.unwrap_or_default() {
        if let Some(found) = readable_item(conn, viewer, contact)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
