//! The matrix, whole: every level x kind of item x operation x relation to its responsible, over GraphQL, on both
//! databases, refusals included (R23-R25, R27). After a refused mutation the whole database is what it was, and what is
//! refused about a hidden thing is refused about an absent one in the same bytes.

use super::compare::View;
use super::house::{ABSENT, BASE, House, folder_of, type_name, word};
use super::model::{Action, Change, Email, Id, Item, Kind, Level, Mailbox, Role, User, World};
use super::worlds::{ACTIONS, KINDS, LEVELS};
use crate::support::app::On;
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};

const TOP: Id = BASE + 1;
const MINE: Id = BASE + 2;
const BELOW: Id = BASE + 3;
const ELSEWHERE: Id = BASE + 4;

/// A department with nobody in it.
const EMPTY: Id = BASE + 5;

const ADMIN: Id = BASE + 10;
const ME: Id = BASE + 11;
const COLLEAGUE: Id = BASE + 12;
const LOWER: Id = BASE + 13;
const UPPER: Id = BASE + 14;
const STRANGER: Id = BASE + 15;

const ROLE: Id = BASE + 20;
/// A role that nobody holds.
const SPARE_ROLE: Id = BASE + 21;
/// Another one.
const FREE_ROLE: Id = BASE + 22;

const MY_BOX: Id = BASE + 30;
const SHARED_BOX: Id = BASE + 31;
const DEPARTMENT_BOX: Id = BASE + 32;
const OTHER_BOX: Id = BASE + 33;

/// Whose an item is, seen from `ME`, and whether it is open to everyone.
const RELATIONS: [(&str, Id, bool); 6] = [
    ("mine", ME, false),
    ("of my department", COLLEAGUE, false),
    ("of a department below", LOWER, false),
    ("of a department above", UPPER, false),
    ("open, of a stranger", STRANGER, true),
    ("of a stranger", STRANGER, false),
];

/// What `ME` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    /// Everything at this level.
    Everything(Level),
    /// Reads all, and does everything else at this level.
    ReadsAll(Level),
    Administrator,
    /// Holds no role.
    Nobody,
    /// Holds "may change CRM settings" and nothing else.
    Settings,
}

/// The company as it is for every profile, without items.
fn company(profile: Profile) -> World {
    let mut world = World::default();
    world.departments = [
        (TOP, None),
        (MINE, Some(TOP)),
        (BELOW, Some(MINE)),
        (ELSEWHERE, None),
        (EMPTY, None),
    ]
    .into();
    let who = |department, is_administrator| User {
        department,
        is_administrator,
    };
    world.users = [
        (ADMIN, who(None, true)),
        (ME, who(Some(MINE), profile == Profile::Administrator)),
        (COLLEAGUE, who(Some(MINE), false)),
        (LOWER, who(Some(BELOW), false)),
        (UPPER, who(Some(TOP), false)),
        (STRANGER, who(Some(ELSEWHERE), false)),
    ]
    .into();
    let mut role = Role::default();
    for kind in KINDS {
        for action in ACTIONS {
            let level = match profile {
                Profile::Everything(level) => level,
                Profile::ReadsAll(_) if action == Action::Read => Level::All,
                Profile::ReadsAll(level) => level,
                Profile::Administrator | Profile::Nobody | Profile::Settings => continue,
            };
            role.lines.insert((kind, action, None), level);
        }
    }
    role.settings = profile == Profile::Settings;
    world.roles = [
        (ROLE, role),
        (SPARE_ROLE, Role::default()),
        (FREE_ROLE, Role::default()),
    ]
    .into();
    if !matches!(profile, Profile::Administrator | Profile::Nobody) {
        world.held.insert((ME, ROLE));
    }
    let mailbox = |connector| Mailbox {
        connector,
        ..Mailbox::default()
    };
    world.mailboxes = [
        (MY_BOX, mailbox(ME)),
        (
            SHARED_BOX,
            Mailbox {
                users: [ME].into(),
                ..mailbox(STRANGER)
            },
        ),
        (
            DEPARTMENT_BOX,
            Mailbox {
                departments: [TOP].into(),
                ..mailbox(STRANGER)
            },
        ),
        (OTHER_BOX, mailbox(STRANGER)),
    ]
    .into();
    world
}

/// A world in the making: hands out ids.
struct Making {
    world: World,
    next: Id,
}

impl Making {
    fn id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    fn item(&mut self, kind: Kind, responsible: Id, open: bool) -> Id {
        let stage = [Some(1), Some(5), None][kind as usize];
        let id = self.id();
        self.world.items.insert(
            id,
            Item {
                kind,
                responsible,
                stage,
                open,
            },
        );
        id
    }

    /// An email in a mailbox, with its to-do where it is saved.
    fn email(&mut self, mailbox: Id, links: &[Id]) -> Id {
        let (id, message) = (self.id(), self.id() * 4 + 1);
        let email = Email {
            message,
            mailbox,
            thread: message,
            saved: !links.is_empty(),
            links: links.iter().copied().collect(),
            primary: links.first().copied(),
        };
        self.world.emails.insert(id, email);
        if !links.is_empty() {
            let activity = self.id();
            self.world.activities.insert(activity, message);
        }
        id
    }

    fn activity_of(&self, email: Id) -> Id {
        let message = self.world.emails[&email].message;
        let found = self.world.activities.iter().find(|(_, of)| **of == message);
        *found.unwrap().0
    }
}

type Verdict = Result<(), &'static str>;

/// One cell: who (the profile) does what to which thing, and what must come of it.
struct Cell {
    what: String,
    mutation: &'static str,
    input: Json,
    /// The input field that names the thing, with the type of its id: for asking about an absent one.
    names: (&'static str, &'static str),
    wanted: Verdict,
}

/// What is refused about a thing: not found where it is hidden, else forbidden where the right is missing.
fn on_item(world: &World, action: Action, item: Id) -> Verdict {
    if !world.reads(ME, item) {
        Err("NOT_FOUND")
    } else if world.can(ME, action, item) {
        Ok(())
    } else {
        Err("FORBIDDEN")
    }
}

fn forbidden_unless(allowed: bool) -> Verdict {
    if allowed { Ok(()) } else { Err("FORBIDDEN") }
}

/// Stands for an id in an input until the installation is there that seals it.
fn sealed(name: &str, id: Id) -> Json {
    json!({ "sealed": [name, id] })
}

/// Seals what stands for ids; `absent` replaces this field's id by one that no row has.
fn seal(house: &House, input: &Json, absent: Option<(&str, &str)>) -> Json {
    match input {
        Json::Object(fields) => {
            if let Some(pair) = fields.get("sealed") {
                return json!(house.id(pair[0].as_str().unwrap(), pair[1].as_i64().unwrap()));
            }
            let one = |(key, value): (&String, &Json)| {
                let sealed = match absent {
                    Some((field, name)) if field == key => {
                        let id = json!(house.id(name, ABSENT));
                        if value.is_array() { json!([id]) } else { id }
                    }
                    _ => seal(house, value, absent),
                };
                (key.clone(), sealed)
            };
            Json::Object(fields.iter().map(one).collect())
        }
        Json::Array(values) => values
            .iter()
            .map(|value| seal(house, value, absent))
            .collect(),
        other => other.clone(),
    }
}

/// The cells that concern one item of this kind and relation.
fn item_cells(
    make: &mut Making,
    kind: Kind,
    (relation, responsible, open): (&str, Id, bool),
) -> Vec<Cell> {
    let mut cells = Vec::new();
    let name = type_name(kind);
    let mut add = |operation: &str, mutation, input, names, wanted| {
        let what = format!("{operation}: a {} {relation}", word(kind));
        cells.push(Cell {
            what,
            mutation,
            input,
            names,
            wanted,
        });
    };
    let update = ["updateLead", "updateDeal", "updateContact"][kind as usize];
    let (id_field, text) = ([
        ("leadId", "title"),
        ("dealId", "title"),
        ("contactId", "name"),
    ])[kind as usize];

    let it = make.item(kind, responsible, open);
    let wanted = on_item(&make.world, Action::Update, it);
    add(
        "update",
        update,
        json!({ id_field: sealed(name, it), text: "Changed" }),
        (id_field, name),
        wanted,
    );
    let it = make.item(kind, responsible, open);
    let input = json!({ id_field: sealed(name, it), "responsibleId": sealed("User", UPPER), "openToEveryone": true });
    add("hand over", update, input, (id_field, name), wanted);

    let it = make.item(kind, responsible, open);
    let wanted = on_item(&make.world, Action::Update, it);
    add(
        "note",
        "addNote",
        json!({ "itemId": sealed(name, it), "text": "A note" }),
        ("itemId", name),
        wanted,
    );

    let create = ["createLead", "createDeal", "createContact"][kind as usize];
    let stage = [Some(1), Some(5), None][kind as usize];
    let wanted = forbidden_unless(make.world.may(
        ME,
        Action::Create,
        &Item {
            kind,
            responsible,
            stage,
            open,
        },
    ));
    let input = json!({ text: "New", "responsibleId": sealed("User", responsible), "openToEveryone": open });
    add("create", create, input, ("", ""), wanted);

    let delete = ["deleteLead", "deleteDeal", "deleteContact"][kind as usize];
    let it = make.item(kind, responsible, open);
    let wanted = on_item(&make.world, Action::Delete, it);
    let input = json!({ id_field: sealed(name, it) });
    add("delete", delete, input, (id_field, name), wanted);

    let it = make.item(kind, responsible, open);
    let email = make.email(MY_BOX, &[it]);
    // The email is seen in its mailbox; its item stays as secret as it was.
    let wanted = forbidden_unless(on_item(&make.world, Action::Update, it).is_ok());
    let input = json!({ "emailId": sealed("Email", email) });
    add(
        "take off",
        "removeEmail",
        input,
        ("emailId", "Email"),
        wanted,
    );

    link_cells(make, kind, (responsible, open), &mut add);
    activity_cells(make, kind, (responsible, open), &mut add);
    conversion_cells(make, kind, (responsible, open), &mut add);
    cells
}

type Add<'a> = &'a mut dyn FnMut(&str, &'static str, Json, (&'static str, &'static str), Verdict);

fn link_cells(make: &mut Making, kind: Kind, (responsible, open): (Id, bool), add: Add<'_>) {
    let name = type_name(kind);
    // Of a mailbox of mine, so that the email itself is always seen; it hangs on something of mine.
    let (it, mine) = (
        make.item(kind, responsible, open),
        make.item(Kind::Contact, ME, false),
    );
    let email = make.email(MY_BOX, &[mine]);
    let wanted = make.world.change_links(ME, email, (None, Some(it)));
    let input = json!({ "emailId": sealed("Email", email), "toItemId": sealed(name, it) });
    add("link", "linkEmail", input, ("toItemId", name), wanted);

    let (it, mine) = (
        make.item(kind, responsible, open),
        make.item(Kind::Contact, ME, false),
    );
    let email = make.email(MY_BOX, &[mine, it]);
    let wanted = make.world.change_links(ME, email, (Some(it), None));
    let input = json!({ "emailId": sealed("Email", email), "fromItemId": sealed(name, it) });
    add("unlink", "unlinkEmail", input, ("fromItemId", name), wanted);

    for (operation, away) in [("move away from", true), ("move to", false)] {
        let (it, mine) = (
            make.item(kind, responsible, open),
            make.item(Kind::Deal, ME, false),
        );
        let (from, to) = if away { (it, mine) } else { (mine, it) };
        let email = make.email(MY_BOX, &[from]);
        let wanted = make.world.change_links(ME, email, (Some(from), Some(to)));
        let names = [("Deal", name), (name, "Deal")][usize::from(away)];
        let input = json!({
            "emailId": sealed("Email", email), "fromItemId": sealed(names.0, from), "toItemId": sealed(names.1, to),
        });
        let field = if away { "fromItemId" } else { "toItemId" };
        add(operation, "relinkEmail", input, (field, name), wanted);
    }

    // It was moved from there to a deal of mine.
    let (it, mine) = (
        make.item(kind, responsible, open),
        make.item(Kind::Deal, ME, false),
    );
    let email = make.email(MY_BOX, &[mine]);
    let change = make.id();
    make.world.changes.insert(
        change,
        Change {
            email,
            from: Some(it),
            to: Some(mine),
        },
    );
    let wanted = undo(&make.world, change);
    add(
        "undo",
        "undoRelink",
        json!({ "changeId": sealed("LinkChange", change) }),
        ("changeId", "LinkChange"),
        wanted,
    );

    let it = make.item(kind, responsible, open);
    let email = make.email(MY_BOX, &[]);
    let wanted = on_item(&make.world, Action::Update, it);
    let input =
        json!({ "emailId": sealed("Email", email), "target": { "itemId": sealed(name, it) } });
    add("save on", "saveEmail", input, ("itemId", name), wanted);
}

/// Taking a change back: the line must be seen, every item that it names be changeable, and the move back be allowed.
pub fn undo(world: &World, change: Id) -> Verdict {
    let row = world.changes[&change];
    let ends = [row.from, row.to];
    if !world.sees_change(ME, change) {
        return Err("NOT_FOUND");
    }
    let may = |item: &Id| world.reads(ME, *item) && world.can(ME, Action::Update, *item);
    if !ends.iter().flatten().all(may) {
        return Err("FORBIDDEN");
    }
    world.change_links(ME, row.email, (row.to, row.from))
}

fn activity_cells(make: &mut Making, kind: Kind, (responsible, open): (Id, bool), add: Add<'_>) {
    for (operation, mutation) in [
        ("complete", "completeActivity"),
        ("postpone", "postponeActivity"),
        ("reopen", "reopenActivity"),
    ] {
        let it = make.item(kind, responsible, open);
        // Nobody's mailbox: it is seen in the CRM or not at all. To-dos whose number is divisible are completed already.
        let is_reopening = operation == "reopen";
        let email = loop {
            let email = make.email(OTHER_BOX, &[it]);
            if (make.activity_of(email) % 3 == 0) == is_reopening {
                break email;
            }
            let activity = make.activity_of(email);
            make.world.activities.remove(&activity);
            make.world.emails.remove(&email);
            make.id();
        };
        let activity = make.activity_of(email);
        let wanted = make.world.changes_activity(ME, activity);
        let mut input = json!({ "activityId": sealed("Activity", activity) });
        if operation == "postpone" {
            input["deadline"] = json!("2030-01-01T00:00:00Z");
        }
        add(
            operation,
            mutation,
            input,
            ("activityId", "Activity"),
            wanted,
        );
    }
}

fn conversion_cells(make: &mut Making, kind: Kind, (responsible, open): (Id, bool), add: Add<'_>) {
    let may_create = |world: &World, kind, stage| {
        world.may(
            ME,
            Action::Create,
            &Item {
                kind,
                responsible,
                stage,
                open,
            },
        )
    };
    if kind == Kind::Lead {
        let it = make.item(kind, responsible, open);
        let on_lead = on_item(&make.world, Action::Update, it);
        let makes = may_create(&make.world, Kind::Contact, None)
            && may_create(&make.world, Kind::Deal, Some(5));
        let wanted = on_lead.and_then(|()| forbidden_unless(makes));
        add(
            "convert",
            "convertLead",
            json!({ "leadId": sealed("Lead", it) }),
            ("leadId", "Lead"),
            wanted,
        );
        return;
    }
    let (it, lead) = (
        make.item(kind, responsible, open),
        make.item(Kind::Lead, ME, false),
    );
    let on_lead = on_item(&make.world, Action::Update, lead);
    let wanted = on_lead.and_then(|()| on_item(&make.world, Action::Update, it));
    let name = type_name(kind);
    let part = if kind == Kind::Deal {
        "deal"
    } else {
        "contact"
    };
    let input = json!({ "leadId": sealed("Lead", lead), part: { "existingId": sealed(name, it) } });
    add(
        "convert into",
        "convertLead",
        input,
        ("existingId", name),
        wanted,
    );
    if kind == Kind::Contact {
        let (it, mine) = (
            make.item(kind, responsible, open),
            make.item(kind, ME, false),
        );
        let wanted = on_item(&make.world, Action::Update, mine)
            .and_then(|()| on_item(&make.world, Action::Update, it))
            .and_then(|()| on_item(&make.world, Action::Delete, it));
        let input = json!({ "contactId": sealed("Contact", mine), "mergeContactIds": [sealed("Contact", it)] });
        let names = ("mergeContactIds", "Contact");
        add("merge", "mergeContacts", input, names, wanted);
        let (it, mine) = (
            make.item(kind, responsible, open),
            make.item(kind, ME, false),
        );
        let wanted = on_item(&make.world, Action::Update, it)
            .and_then(|()| on_item(&make.world, Action::Update, mine))
            .and_then(|()| on_item(&make.world, Action::Delete, mine));
        let input = json!({ "contactId": sealed("Contact", it), "mergeContactIds": [sealed("Contact", mine)] });
        add(
            "merge into",
            "mergeContacts",
            input,
            ("contactId", "Contact"),
            wanted,
        );
        let (it, deal) = (
            make.item(kind, responsible, open),
            make.item(Kind::Deal, ME, false),
        );
        let on_deal = on_item(&make.world, Action::Update, deal);
        let is_there = if make.world.reads(ME, it) {
            Ok(())
        } else {
            Err("NOT_FOUND")
        };
        let input =
            json!({ "dealId": sealed("Deal", deal), "contactIds": [sealed("Contact", it)] });
        add(
            "put on a deal",
            "updateDeal",
            input,
            ("contactIds", "Contact"),
            on_deal.and_then(|()| is_there),
        );
        let it = make.item(kind, responsible, open);
        let may = make.world.may(
            ME,
            Action::Create,
            &Item {
                kind: Kind::Deal,
                responsible: ME,
                stage: Some(5),
                open: false,
            },
        );
        let is_there = if make.world.reads(ME, it) {
            Ok(())
        } else {
            Err("NOT_FOUND")
        };
        let input = json!({ "title": "New", "contactIds": [sealed("Contact", it)] });
        let wanted = forbidden_unless(may).and_then(|()| is_there);
        add(
            "make a deal with",
            "createDeal",
            input,
            ("contactIds", "Contact"),
            wanted,
        );
    }
}

/// The cells that concern one mailbox.
fn mailbox_cells(make: &mut Making, mailbox: Id) -> Vec<Cell> {
    let world = &make.world;
    let listed = world.lists_mailbox(ME, mailbox);
    let on_listed = |may: bool| {
        if listed {
            forbidden_unless(may)
        } else {
            Err("NOT_FOUND")
        }
    };
    let manages = on_listed(world.manages_mailbox(ME, mailbox));
    let syncs = on_listed(world.has_mailbox(ME, mailbox) || world.users[&ME].is_administrator);
    let settles = on_listed(world.changes_mailbox_settings(ME, mailbox));
    let has = world.has_mailbox(ME, mailbox);
    let saves = if has { Ok(()) } else { Err("NOT_FOUND") };
    let id = sealed("Mailbox", mailbox);
    let another = if mailbox == OTHER_BOX {
        MY_BOX
    } else {
        OTHER_BOX
    };
    let folder = sealed("Folder", folder_of(another));
    let of_another = manages.and(Err("NOT_FOUND"));
    let cell = |mutation: &'static str, mut input: Json, wanted| {
        input["mailboxId"] = id.clone();
        let what = format!("{mutation} of mailbox {mailbox}");
        Cell {
            what,
            mutation,
            input,
            names: ("mailboxId", "Mailbox"),
            wanted,
        }
    };
    let shared = json!({ "userIds": [sealed("User", ME), sealed("User", LOWER)], "departmentIds": [sealed("Department", TOP)] });
    let mut cells = vec![
        cell(
            "updateMailboxSettings",
            json!({ "settings": { "source": "Another" } }),
            settles,
        ),
        cell(
            "updateMailboxFolders",
            json!({ "sentId": null, "sync": [] }),
            manages,
        ),
        cell("shareMailbox", shared, manages),
        cell("syncMailbox", json!({}), syncs),
        // The last one: it takes the mailbox away.
        cell(
            "transferMailbox",
            json!({ "connectorId": sealed("User", COLLEAGUE) }),
            manages,
        ),
    ];
    // A folder of another mailbox is none of this one's.
    for field in [
        "spamFolderId",
        "inboxId",
        "sentId",
        "trashId",
        "draftsId",
        "folderId",
    ] {
        let input = match field {
            "folderId" => {
                json!({ "mailboxId": id, "sync": [{ "folderId": folder, "isSynced": false }] })
            }
            _ => json!({ "mailboxId": id, field: folder }),
        };
        let what = format!("another's folder as {field} of mailbox {mailbox}");
        let names = (field, "Folder");
        cells.insert(
            0,
            Cell {
                what,
                mutation: "updateMailboxFolders",
                input,
                names,
                wanted: of_another,
            },
        );
    }
    // Nobody outside wrote it before, so that the rules make something of their own.
    let email = make.email(mailbox, &[]);
    let input = json!({ "emailId": sealed("Email", email) });
    let what = format!("saveEmail by the rules from mailbox {mailbox}");
    cells.insert(
        0,
        Cell {
            what,
            mutation: "saveEmail",
            input,
            names: ("emailId", "Email"),
            wanted: saves,
        },
    );
    cells
}

/// The cells about people and the whole installation.
fn office_cells(make: &mut Making) -> Vec<Cell> {
    let world = &make.world;
    let administers = forbidden_unless(world.users[&ME].is_administrator);
    let settles = forbidden_unless(world.changes_crm_settings(ME));
    let all = |wanted: Verdict, mutation: &'static str, input: Json| Cell {
        what: mutation.to_owned(),
        mutation,
        input,
        names: ("", ""),
        wanted,
    };
    vec![
        all(administers, "createDepartment", json!({ "name": "New" })),
        all(
            administers,
            "createUser",
            json!({ "name": "New", "address": "new@ours.example" }),
        ),
        all(
            administers,
            "updateUser",
            json!({ "userId": sealed("User", LOWER), "name": "Changed" }),
        ),
        all(
            administers,
            "updateUser",
            json!({ "userId": sealed("User", ME), "isAdministrator": true }),
        ),
        all(
            settles,
            "createRole",
            json!({ "name": "New", "permissions": [] }),
        ),
        all(
            settles,
            "updateRole",
            json!({ "roleId": sealed("Role", SPARE_ROLE), "name": "Changed" }),
        ),
        all(
            settles,
            "assignRoles",
            json!({ "holder": { "userId": sealed("User", LOWER) }, "roleIds": [sealed("Role", SPARE_ROLE)] }),
        ),
        all(
            administers,
            "updateDepartment",
            json!({ "departmentId": sealed("Department", ELSEWHERE), "name": "Changed" }),
        ),
        all(
            settles,
            "createStage",
            json!({ "item": "LEAD", "name": "New", "kind": "OPEN" }),
        ),
        all(
            settles,
            "updateStage",
            json!({ "stageId": sealed("Stage", 2), "name": "Changed" }),
        ),
        all(
            administers,
            "deleteStage",
            json!({ "stageId": sealed("Stage", 4), "moveItemsToStageId": sealed("Stage", 2) }),
        ),
        all(
            settles,
            "deleteRole",
            json!({ "roleId": sealed("Role", FREE_ROLE) }),
        ),
        all(
            administers,
            "deleteDepartment",
            json!({ "departmentId": sealed("Department", EMPTY) }),
        ),
        all(
            administers,
            "createPasswordReset",
            json!({ "userId": sealed("User", LOWER) }),
        ),
        all(
            settles,
            "updateCrmSettings",
            json!({ "senderLimitPerHour": 77 }),
        ),
    ]
}

/// Runs the mutation of a cell: the codes of its user errors, and the bytes.
async fn run(house: &House, cell: &Cell, absent: Option<(&str, &str)>) -> (Vec<String>, String) {
    let mut input_type = cell.mutation.to_owned();
    input_type[..1].make_ascii_uppercase();
    let query = format!(
        "mutation($input: {input_type}Input!) {{ {}(input: $input) {{ userErrors {{ code message field }} }} }}",
        cell.mutation
    );
    let input = seal(house, &cell.input, absent);
    let body = house
        .bytes(Some(ME), &query, json!({ "input": input }))
        .await;
    let answer: Json = serde_json::from_str(&body).unwrap();
    let errors = &answer["data"][cell.mutation]["userErrors"];
    let errors = errors
        .as_array()
        .unwrap_or_else(|| panic!("{}: {body}", cell.what));
    (
        errors
            .iter()
            .map(|error| error["code"].as_str().unwrap().to_owned())
            .collect(),
        body,
    )
}

/// Every mutation of one profile; how many cells that were, and what went wrong.
async fn mutations(on: On, profile: Profile, faults: &mut Vec<String>) -> usize {
    let mut make = Making {
        world: company(profile),
        next: BASE + 100,
    };
    let mut cells = Vec::new();
    for kind in KINDS {
        for relation in RELATIONS {
            cells.extend(item_cells(&mut make, kind, relation));
        }
    }
    for mailbox in [MY_BOX, SHARED_BOX, DEPARTMENT_BOX, OTHER_BOX] {
        cells.extend(mailbox_cells(&mut make, mailbox));
    }
    cells.extend(office_cells(&mut make));
    let house = House::open_still(on);
    house.write(&make.world);
    let mut before = house.hash();
    for cell in &cells {
        let (codes, body) = run(&house, cell, None).await;
        let found = codes.first().map_or(Ok(()), |code| Err(code.as_str()));
        let what = format!("{profile:?}, {}", cell.what);
        if found != cell.wanted {
            faults.push(format!("{what}: found {found:?}, wanted {:?}", cell.wanted));
        }
        let after = house.hash();
        if (after == before) != found.is_err() && cell.mutation != "syncMailbox" {
            faults.push(format!(
                "{what}: {found:?}, and the database changed: {}",
                after != before
            ));
        }
        if found == Err("NOT_FOUND") && !cell.names.0.is_empty() {
            let (_, absent) = run(&house, cell, Some(cell.names)).await;
            if absent != body {
                faults.push(format!("{what}: hidden {body}, absent {absent}"));
            }
            if house.hash() != after {
                faults.push(format!("{what}: the absent thing wrote something"));
            }
        }
        before = after;
    }
    cells.len()
}

/// Reads of one profile: everything that `View` compares, and what each item and mailbox says to a subscriber.
async fn reads(on: On, profile: Profile, faults: &mut Vec<String>) -> usize {
    let mut make = Making {
        world: company(profile),
        next: BASE + 100,
    };
    let mut items = Vec::new();
    for kind in KINDS {
        for (_, responsible, open) in RELATIONS {
            let it = make.item(kind, responsible, open);
            make.email(
                [MY_BOX, SHARED_BOX, DEPARTMENT_BOX, OTHER_BOX][(it % 4) as usize],
                &[it],
            );
            items.push(it);
        }
    }
    let house = House::with(on, &make.world);
    let world = &make.world;
    let mut decided = 0;
    match View::new(&house, world, ME).compare().await {
        Ok(found) => decided += found as usize,
        Err(fault) => faults.push(format!("{profile:?}: {fault}")),
    }
    for item in items {
        let name = type_name(world.items[&item].kind);
        let begins = first_event(
            &house,
            "timeline(itemId: $id) { __typename }",
            house.id(name, item),
        )
        .await;
        let absent = first_event(
            &house,
            "timeline(itemId: $id) { __typename }",
            house.id(name, ABSENT),
        )
        .await;
        decided += 1;
        subscribed(
            format!("{profile:?}, subscribe to {name} {item}"),
            world.reads(ME, item),
            (begins, absent),
            faults,
        );
    }
    for mailbox in world.mailboxes.keys() {
        let begins = first_event(
            &house,
            "mailboxSync(mailboxId: $id) { id }",
            house.id("Mailbox", *mailbox),
        )
        .await;
        let absent = first_event(
            &house,
            "mailboxSync(mailboxId: $id) { id }",
            house.id("Mailbox", ABSENT),
        )
        .await;
        decided += 1;
        subscribed(
            format!("{profile:?}, watch mailbox {mailbox}"),
            world.lists_mailbox(ME, *mailbox),
            (begins, absent),
            faults,
        );
    }
    decided
}

fn subscribed(
    what: String,
    may: bool,
    (begins, absent): (String, String),
    faults: &mut Vec<String>,
) {
    if (begins == absent) == may || (!may && !begins.contains("NOT_FOUND")) {
        faults.push(format!("{what}: {begins}, wanted it to begin: {may}"));
    }
}

async fn first_event(house: &House, field: &str, id: String) -> String {
    let query = format!("subscription($id: ID!) {{ {field} }}");
    let mut events = house.watch(Some(ME), &query, json!({ "id": id }));
    events
        .next()
        .await
        .map_or_else(String::new, |event| event.body)
}

/// Every cell of these profiles.
async fn whole(on: On, profiles: &[Profile]) {
    let (mut faults, mut cells) = (Vec::new(), 0);
    for profile in profiles {
        cells += reads(on, *profile, &mut faults).await;
        cells += mutations(on, *profile, &mut faults).await;
    }
    let shown: Vec<&String> = faults.iter().take(20).collect();
    assert!(
        faults.is_empty(),
        "{} of {cells} cells: {shown:#?}",
        faults.len()
    );
    println!("{cells} cells of the matrix on {on:?}: 0 disagreements");
}

/// Simulating and rerouting, by everybody, for each mailbox; what they answer names readable items only.
async fn routing(on: On) {
    for profile in [
        Profile::Administrator,
        Profile::Nobody,
        Profile::Settings,
        Profile::Everything(Level::Own),
    ] {
        let mut make = Making {
            world: company(profile),
            next: BASE + 100,
        };
        let (mine, other) = (
            make.item(Kind::Lead, ME, false),
            make.item(Kind::Lead, STRANGER, false),
        );
        let boxes = [MY_BOX, SHARED_BOX, DEPARTMENT_BOX, OTHER_BOX];
        let emails = boxes.map(|mailbox| {
            (
                mailbox,
                make.email(mailbox, &[mine]),
                make.email(mailbox, &[other]),
            )
        });
        let house = House::open_still(on);
        house.write(&make.world);
        let world = &make.world;
        for (mailbox, on_mine, on_other) in emails {
            let what = format!("{profile:?}, mailbox {mailbox}");
            let wanted = if !world.lists_mailbox(ME, mailbox) {
                Err("NOT_FOUND")
            } else {
                forbidden_unless(
                    world.has_mailbox(ME, mailbox) && world.changes_mailbox_settings(ME, mailbox),
                )
            };
            let query = "query($id: ID!) { simulateRouting(input: { mailboxId: $id, onlyDifferences: false }) { judged userErrors { code message field }
                mails { email { id } was { items { item { id } } responsible { id } trace { reason } } would { items { item { id } } } } } }";
            let ask = async |id: Id| {
                house
                    .bytes(Some(ME), query, json!({ "id": house.id("Mailbox", id) }))
                    .await
            };
            let body = ask(mailbox).await;
            let answer: Json = serde_json::from_str(&body).unwrap();
            let found = &answer["data"]["simulateRouting"];
            let code = found["userErrors"][0]["code"].as_str();
            assert_eq!(code.map_or(Ok(()), Err), wanted, "{what}: {body}");
            if wanted == Err("NOT_FOUND") {
                assert_eq!(body, ask(ABSENT).await, "{what}");
            }
            for mail in found["mails"].as_array().into_iter().flatten() {
                for item in mail["was"]["items"]
                    .as_array()
                    .into_iter()
                    .chain(mail["would"]["items"].as_array())
                    .flatten()
                {
                    let is_new = item["item"].is_null();
                    assert!(
                        is_new || world.reads(ME, house.number(&item["item"]["id"])),
                        "{what}: {mail}"
                    );
                }
            }
            let query = "mutation($ids: [ID!]!) { rerouteEmails(input: { emailIds: $ids }) { results { emailId outcome email { id } } userErrors { code } } }";
            let ids = [on_mine, on_other].map(|id| house.id("Email", id));
            let data = house.data(ME, query, json!({ "ids": ids })).await;
            for (result, email) in data["rerouteEmails"]["results"]
                .as_array()
                .unwrap()
                .iter()
                .zip([on_mine, on_other])
            {
                let outcome = result["outcome"].as_str().unwrap();
                if !world.sees(ME, email) {
                    assert_eq!(outcome, "NOT_FOUND", "{what}, email {email}");
                } else if world.has_mailbox(ME, mailbox) {
                    assert_ne!(outcome, "NOT_FOUND", "{what}, email {email}");
                } else {
                    assert_eq!(outcome, "FORBIDDEN", "{what}, email {email}");
                }
                assert!(
                    result["email"].is_null() || world.sees(ME, email),
                    "{what}, email {email}: {result}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r20_r22_simulating_and_rerouting_take_access_to_the_mail() {
    routing(On::Sqlite).await;
    routing(On::Postgresql).await;
}

macro_rules! whole {
    ($name:ident, $profiles:expr) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                whole(On::Sqlite, &$profiles).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgresql() {
                whole(On::Postgresql, &$profiles).await;
            }
        }
    };
}

whole!(
    r23_r24_everything_at_each_level,
    LEVELS.map(Profile::Everything)
);
whole!(
    r23_r24_reads_all_and_does_the_rest_at_each_level,
    LEVELS.map(Profile::ReadsAll)
);
whole!(
    r22_r25_administrators_nobody_and_whoever_changes_settings,
    [Profile::Administrator, Profile::Nobody, Profile::Settings]
);
