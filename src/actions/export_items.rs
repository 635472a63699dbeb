//! Items are taken out in bulk as CSV (R23): by a signed address that is good for minutes, and that its maker alone opens.
//! What it gives is read at the download, page by page, under the rights of that moment: what may be exported *and* read,
//! without fields that are hidden (R26). Asking for it and downloading it each leave a line in the audit log.
//! Not for: emails, or serving the file (`http::files`).

use super::{ActionResult, Actions, audit, idempotency};
use crate::model::item::{Item, ItemKind};
use crate::model::people::{PermissionAction, RestrictedField, User, Viewer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{ExportId, ItemId, Time, UserId};
use crate::rules::access;
use crate::store::exports::{self, Export};
use crate::store::items::{self, ItemFilter};
use crate::store::{self, AnyConn, Store, StoreError, Tx};
use serde_json::json;
use std::collections::HashMap;

/// How long an address is good for: long enough to click it, too short to be passed on.
pub const EXPORT_SECONDS: i64 = 15 * 60;
/// Items of one reading: few enough to hold, enough to keep the network busy.
const PAGE_ITEMS: i64 = 500;

/// An export that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub id: ExportId,
    pub expires_at: Time,
}

/// Asks for an export of the items of one kind that a filter leaves. The same key gives the same export, good for another
/// quarter of an hour.
///
/// # Errors
/// `FORBIDDEN` for whoever may export no item of this kind.
pub async fn ask(
    actions: &Actions,
    viewer: &Viewer,
    (kind, filter): (ItemKind, ItemFilter),
    key: Option<String>,
    now: Time,
) -> ActionResult<Asked> {
    let filter =
        serde_json::to_string(&filter).map_err(|error| StoreError::Database(error.to_string()))?;
    let hash = idempotency::input_hash(&(kind, &filter))?;
    actions
        .write_as(viewer, now, move |tx, viewer| {
            if !may_export(viewer, kind) {
                let what = kind.as_text().to_lowercase();
                return Err(Refusal::new(
                    ErrorCode::Forbidden,
                    format!("You may not export any {what}."),
                )
                .into());
            }
            let made = idempotency::once(tx, viewer, "exportItems", key.as_deref(), &hash, |tx| {
                let id = tx.id()?;
                record(tx, viewer.user_id, "exportItems", kind)?;
                Ok(vec![id])
            })?;
            let export = Export {
                id: ExportId(idempotency::first(&made)?),
                user_id: viewer.user_id,
                kind,
                filter,
                expires_at: tx.now.plus_seconds(EXPORT_SECONDS),
            };
            exports::put(tx, &export)?;
            Ok(Asked {
                id: export.id,
                expires_at: export.expires_at,
            })
        })
        .await
}

fn may_export(viewer: &Viewer, kind: ItemKind) -> bool {
    let scope = access::items(viewer, PermissionAction::Export);
    scope.is_everything() || scope.lines().iter().any(|line| line.kind() == kind)
}

fn record(tx: &mut Tx<'_>, user: UserId, action: &str, kind: ItemKind) -> Result<(), StoreError> {
    let detail = json!({ "item": kind.as_text() });
    audit::record(tx, Some(user), action, "items", &detail)
}

/// A download in progress.
pub struct Download {
    store: Store,
    export: Export,
    filter: ItemFilter,
    columns: Vec<Column>,
    after: ItemId,
    is_begun: bool,
    is_done: bool,
}

/// Begins a download; `None` for an export that is not there, not this user's, over, or that the user may no longer make.
///
/// # Errors
/// What the database says.
pub async fn open(
    store: &Store,
    (user, id): (UserId, ExportId),
    now: Time,
) -> Result<Option<Download>, StoreError> {
    let owned = store.clone();
    let opened = store.write(now, move |tx| {
        let Some(export) = exports::get(tx.conn, id, now)?.filter(|it| it.user_id == user) else {
            return Ok::<_, StoreError>(None);
        };
        let Some(viewer) = store::roles::load_viewer(tx.conn, user)? else {
            return Ok(None);
        };
        let filter: ItemFilter =
            serde_json::from_str(&export.filter).map_err(|_error| StoreError::Corrupt {
                table: "exports",
                column: "filter",
                row: id.0,
            })?;
        if !may_export(&viewer, export.kind)
            || looks_for_hidden(&viewer, export.kind, &filter)
            || names_hidden(tx.conn, &viewer, &filter)?
        {
            return Ok(None);
        }
        record(tx, user, "downloadExport", export.kind)?;
        Ok(Some((columns(&viewer, export.kind), export, filter)))
    });
    Ok(opened.await?.map(|(columns, export, filter)| Download {
        store: owned,
        export,
        filter,
        columns,
        after: ItemId(0),
        is_begun: false,
        is_done: false,
    }))
}

/// Whether a list narrowed so would tell whose an address is, to whom addresses are hidden.
fn looks_for_hidden(viewer: &Viewer, kind: ItemKind, filter: &ItemFilter) -> bool {
    let hidden = access::hidden_fields(viewer);
    let field = match kind {
        ItemKind::Lead => RestrictedField::LeadAddresses,
        ItemKind::Contact => RestrictedField::ContactAddresses,
        ItemKind::Deal => return false,
    };
    filter.address_key.is_some() && hidden.contains(&field)
}

/// Whether a list narrowed so would tell which deals have a contact that the viewer may not read, or no longer.
fn names_hidden(
    conn: &mut AnyConn,
    viewer: &Viewer,
    filter: &ItemFilter,
) -> Result<bool, StoreError> {
    let Some(contact) = filter.contact_id else {
        return Ok(false);
    };
    let scope = access::items(viewer, PermissionAction::Read);
    Ok(items::readable(conn, &scope, &[contact])?.is_empty())
}

impl Download {
    /// What the file is called.
    pub const fn file_name(&self) -> &'static str {
        match self.export.kind {
            ItemKind::Lead => "leads.csv",
            ItemKind::Deal => "deals.csv",
            ItemKind::Contact => "contacts.csv",
        }
    }

    /// The next part of the file; `None` at its end.
    ///
    /// # Errors
    /// `Conflict` where the rights changed so that the file can't go on as it began; else what the database says.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        if self.is_done {
            return Ok(None);
        }
        let (columns, after) = (self.columns.clone(), self.after);
        let (export, filter) = (self.export.clone(), self.filter.clone());
        let codec = self.store.codec().clone();
        let rows = self
            .store
            .read(move |conn| {
                let viewer = present(conn, &export, &columns)?;
                let scopes = (
                    access::items(&viewer, PermissionAction::Read),
                    access::items(&viewer, PermissionAction::Export),
                );
                let found = items::export_page(
                    conn,
                    (&scopes.0, &scopes.1),
                    (export.kind, &filter),
                    after,
                    PAGE_ITEMS,
                )?;
                let beside = Beside::load(conn, &viewer, &found, &columns)?;
                let seal = |item: &Item| codec.seal_id(type_name(item.kind), item.id.0);
                let mut text = String::new();
                for item in &found {
                    let cells = columns
                        .iter()
                        .map(|column| column.cell(item, &seal(item), &beside));
                    line(&mut text, cells);
                }
                Ok((text, found.last().map(|item| item.id), found.len()))
            })
            .await?;
        let (mut text, last, count) = rows;
        self.after = last.unwrap_or(after);
        self.is_done = i64::try_from(count).map_or(true, |count| count < PAGE_ITEMS);
        if !self.is_begun {
            self.is_begun = true;
            text = head(&self.columns) + &text;
        }
        Ok(Some(text))
    }
}

/// The viewer as of now, who must still see the columns that the file began with.
fn present(conn: &mut AnyConn, export: &Export, begun: &[Column]) -> Result<Viewer, StoreError> {
    let changed = || StoreError::Conflict("the rights to this export changed".to_owned());
    let viewer = store::roles::load_viewer(conn, export.user_id)?.ok_or_else(changed)?;
    if may_export(&viewer, export.kind) && columns(&viewer, export.kind) == begun {
        Ok(viewer)
    } else {
        Err(changed())
    }
}

const fn type_name(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Lead => "Lead",
        ItemKind::Deal => "Deal",
        ItemKind::Contact => "Contact",
    }
}

/// What a column shows; named as the schema names its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    Title,
    Name,
    Stage,
    Responsible,
    IsOpen,
    OpenToEveryone,
    CreatedAt,
    LastActivityAt,
    Source,
    Company,
    Amount,
    Currency,
    Contacts,
    Addresses,
    Phones,
}

/// The columns of a kind, without those whose field is hidden from the viewer.
fn columns(viewer: &Viewer, kind: ItemKind) -> Vec<Column> {
    use Column as C;
    let all: &[C] = match kind {
        ItemKind::Lead => &[
            C::Id,
            C::Title,
            C::Name,
            C::Stage,
            C::Responsible,
            C::IsOpen,
            C::OpenToEveryone,
            C::CreatedAt,
            C::LastActivityAt,
            C::Source,
            C::Addresses,
        ],
        ItemKind::Deal => &[
            C::Id,
            C::Title,
            C::Stage,
            C::Responsible,
            C::IsOpen,
            C::OpenToEveryone,
            C::CreatedAt,
            C::LastActivityAt,
            C::Amount,
            C::Currency,
            C::Contacts,
        ],
        ItemKind::Contact => &[
            C::Id,
            C::Name,
            C::Responsible,
            C::OpenToEveryone,
            C::CreatedAt,
            C::LastActivityAt,
            C::Company,
            C::Source,
            C::Addresses,
            C::Phones,
        ],
    };
    let hidden = access::hidden_fields(viewer);
    let field = |column: C| match (kind, column) {
        (ItemKind::Lead, C::Addresses) => Some(RestrictedField::LeadAddresses),
        (ItemKind::Contact, C::Addresses) => Some(RestrictedField::ContactAddresses),
        (_, C::Phones) => Some(RestrictedField::ContactPhones),
        (_, C::Amount | C::Currency) => Some(RestrictedField::DealAmount),
        _ => None,
    };
    all.iter()
        .copied()
        .filter(|column| !field(*column).is_some_and(|field| hidden.contains(&field)))
        .collect()
}

/// What stands beside the items' own rows.
struct Beside {
    stages: HashMap<crate::model::StageId, String>,
    users: HashMap<UserId, User>,
    addresses: HashMap<ItemId, Vec<String>>,
    phones: HashMap<ItemId, Vec<String>>,
    /// The names of a deal's contacts that the viewer may read.
    contacts: HashMap<ItemId, Vec<String>>,
}

impl Beside {
    fn load(
        conn: &mut AnyConn,
        viewer: &Viewer,
        found: &[Item],
        columns: &[Column],
    ) -> Result<Self, StoreError> {
        let ids: Vec<ItemId> = found.iter().map(|item| item.id).collect();
        let user_ids: Vec<UserId> = found.iter().map(|item| item.responsible_id).collect();
        let wants = |column| columns.contains(&column) && !ids.is_empty();
        let stages = store::settings::stages(conn)?;
        let users = store::users::get_many(conn, &user_ids)?;
        let mut beside = Self {
            stages: stages.into_iter().map(|it| (it.id, it.name)).collect(),
            users: users.into_iter().map(|user| (user.id, user)).collect(),
            addresses: HashMap::new(),
            phones: HashMap::new(),
            contacts: HashMap::new(),
        };
        if wants(Column::Addresses) {
            let rows = items::addresses(conn, &ids)?.into_iter();
            let texts = |(id, rows): (ItemId, Vec<crate::model::item::ClientAddress>)| {
                (id, rows.into_iter().map(|row| row.address).collect())
            };
            beside.addresses = rows.map(texts).collect();
        }
        if wants(Column::Phones) {
            beside.phones = items::phones(conn, &ids)?;
        }
        if wants(Column::Contacts) {
            beside.contacts = contact_names(conn, viewer, &ids)?;
        }
        Ok(beside)
    }
}

fn contact_names(
    conn: &mut AnyConn,
    viewer: &Viewer,
    deals: &[ItemId],
) -> Result<HashMap<ItemId, Vec<String>>, StoreError> {
    let ties = items::deal_contacts(conn, deals)?;
    let mut ids: Vec<ItemId> = ties.values().flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let scope = access::items(viewer, PermissionAction::Read);
    let mut names = HashMap::new();
    // Far below what either database binds in one statement.
    for part in ids.chunks(1_000) {
        let readable = items::readable(conn, &scope, part)?;
        names.extend(readable.into_iter().map(|item| (item.id, item.title)));
    }
    let of_deal = |(deal, contacts): (ItemId, Vec<ItemId>)| {
        let known = contacts.iter().filter_map(|id| names.get(id).cloned());
        (deal, known.collect())
    };
    Ok(ties.into_iter().map(of_deal).collect())
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Title => "title",
            Self::Name => "name",
            Self::Stage => "stage",
            Self::Responsible => "responsible",
            Self::IsOpen => "isOpen",
            Self::OpenToEveryone => "openToEveryone",
            Self::CreatedAt => "createdAt",
            Self::LastActivityAt => "lastActivityAt",
            Self::Source => "source",
            Self::Company => "company",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Contacts => "contacts",
            Self::Addresses => "addresses",
            Self::Phones => "phones",
        }
    }

    fn cell(self, item: &Item, id: &str, beside: &Beside) -> String {
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        let list = |values: Option<&Vec<String>>| values.map(|it| joined(it)).unwrap_or_default();
        match self {
            Self::Id => id.to_owned(),
            Self::Title => item.title.clone(),
            Self::Name => text(item.name.as_ref()),
            Self::Stage => text(item.stage_id.and_then(|id| beside.stages.get(&id))),
            Self::Responsible => text(
                beside
                    .users
                    .get(&item.responsible_id)
                    .map(|user| &user.name),
            ),
            Self::IsOpen => item.is_open.to_string(),
            Self::OpenToEveryone => item.open_to_everyone.to_string(),
            Self::CreatedAt => item.created_at.to_rfc3339(),
            Self::LastActivityAt => item.last_activity_at.to_rfc3339(),
            Self::Source => text(item.source.as_ref()),
            Self::Company => text(item.company.as_ref()),
            Self::Amount => text(item.amount.as_ref().map(|(amount, _currency)| amount)),
            Self::Currency => text(item.amount.as_ref().map(|(_amount, currency)| currency)),
            Self::Contacts => list(beside.contacts.get(&item.id)),
            Self::Addresses => list(beside.addresses.get(&item.id)),
            Self::Phones => list(beside.phones.get(&item.id)),
        }
    }
}

/// Several values in one cell. Each is neutralised by itself: some spreadsheets split cells again.
fn joined(values: &[String]) -> String {
    let parts: Vec<String> = values.iter().map(|value| neutral(value)).collect();
    parts.join(" | ")
}

/// The first line, behind the mark by which spreadsheets know UTF-8.
fn head(columns: &[Column]) -> String {
    let mut text = "\u{feff}".to_owned();
    line(
        &mut text,
        columns.iter().map(|column| column.name().to_owned()),
    );
    text
}

/// Adds a line as RFC 4180 has it, every cell in quotes.
fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (index, cell) in cells.enumerate() {
        text.push_str(if index == 0 { "\"" } else { ",\"" });
        text.push_str(&neutral(&cell).replace('"', "\"\""));
        text.push('"');
    }
    text.push_str("\r\n");
}

/// A text that no spreadsheet takes for a formula: an apostrophe stands before whatever begins like one.
fn neutral(text: &str) -> String {
    const BEGINNINGS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let first = text.trim_start().chars().next();
    let begins_badly = first.is_some_and(|first| BEGINNINGS.contains(&first))
        || text.starts_with(['\t', '\r', '\n', '|', '%']);
    if begins_badly {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r23_no_cell_is_a_formula() {
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("=1+1", "'=1+1"),
            (" =1+1", "' =1+1"),
            ("+49 30 1234", "'+49 30 1234"),
            ("-2+3", "'-2+3"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("＝1+1", "'＝1+1"),
            ("a=1", "a=1"),
            ("'=1", "'=1"),
        ] {
            assert_eq!(neutral(text), expected, "{text:?}");
        }
        let both = joined(&["a".to_owned(), "=b".to_owned()]);
        assert_eq!(both, "a | '=b");
    }

    #[test]
    fn r23_a_line_keeps_quotes_commas_and_line_breaks_in_their_cells() {
        let mut text = String::new();
        let cells = ["a,b", "say \"hi\"", "two\nlines", ""].map(str::to_owned);
        line(&mut text, cells.into_iter());
        assert_eq!(text, "\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\"\"\r\n");
    }
}
