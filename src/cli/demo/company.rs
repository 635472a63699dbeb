//! The company that the demo plays: Tarn & Vale, who make espresso machines. People, rights and mailboxes as plain data.
//! Not for: its clients (`clients`), nor for putting it into an installation (`setup`).

use super::clients::{self, Client, Deal, Lead};
use super::dice::Dice;
use crate::model::item::ItemKind;
use crate::model::mailbox::{CreatedItem, ExistingClientRouting};
use crate::model::people::{PermissionAction, PermissionLevel, RestrictedField};

/// The company's own mail domain; `.example` can never be a real one.
pub const DOMAIN: &str = "tarnvale.example";

/// Sender whose mail the company keeps out of its CRM (R18).
pub const EXCLUDED_DOMAIN: &str = "paperworks.example";

/// A department; `parent` names another one.
#[derive(Debug, Clone, Copy)]
pub struct Department {
    pub name: &'static str,
    pub parent: Option<&'static str>,
}

/// An employee.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    pub name: &'static str,
    /// The part of the address before the `@`.
    pub login: &'static str,
    pub department: &'static str,
    pub role: Option<&'static str>,
    pub is_administrator: bool,
    pub time_zone: &'static str,
    /// Under the name in a signature.
    pub title: &'static str,
}

impl Person {
    /// The whole address.
    pub fn address(&self) -> String {
        format!("{}@{DOMAIN}", self.login)
    }
}

/// A role: for each kind of item how far reading, creating, updating, deleting and exporting reach.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    pub name: &'static str,
    pub levels: [(ItemKind, [PermissionLevel; 5]); 3],
    pub hidden_fields: &'static [RestrictedField],
    pub may_change_crm_settings: bool,
}

/// In the order of `Role::levels`.
pub const ACTIONS: [PermissionAction; 5] = [
    PermissionAction::Read,
    PermissionAction::Create,
    PermissionAction::Update,
    PermissionAction::Delete,
    PermissionAction::Export,
];

/// A mailbox, with the settings that are in force before its first mail.
#[derive(Debug, Clone, Copy)]
pub struct Mailbox {
    /// The part of the address before the `@`.
    pub login: &'static str,
    /// The login of the person who connects it.
    pub connector: &'static str,
    /// Logins of those who get new items in turn.
    pub queue: &'static [&'static str],
    pub incoming_creates: CreatedItem,
    pub outgoing_creates: CreatedItem,
    pub routing: ExistingClientRouting,
    pub source: &'static str,
    /// A department that may see it too.
    pub shared_with: Option<&'static str>,
}

impl Mailbox {
    /// The whole address.
    pub fn address(&self) -> String {
        format!("{}@{DOMAIN}", self.login)
    }
}

/// The whole company with its clients.
#[derive(Debug, Clone)]
pub struct Company {
    pub departments: &'static [Department],
    pub people: &'static [Person],
    pub roles: &'static [Role],
    pub mailboxes: &'static [Mailbox],
    pub contacts: Vec<Client>,
    pub deals: Vec<Deal>,
    pub leads: Vec<Lead>,
}

impl Company {
    /// Equal seeds make equal companies; people and mailboxes are always the same.
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x7A61_7276_616C_6500);
        let contacts = clients::contacts(&mut dice);
        let deals = clients::deals(&mut dice, &contacts);
        let leads = clients::leads(&mut dice);
        Self {
            departments: &DEPARTMENTS,
            people: &PEOPLE,
            roles: &ROLES,
            mailboxes: &MAILBOXES,
            contacts,
            deals,
            leads,
        }
    }

    /// Its size in one line.
    pub fn told(&self) -> String {
        format!(
            "Company: {} people, {} contacts, {} deals, {} leads, {} mailboxes",
            self.people.len(),
            self.contacts.len(),
            self.deals.len(),
            self.leads.len(),
            self.mailboxes.len(),
        )
    }

    /// Whoever has that login.
    pub fn person(&self, login: &str) -> Option<&'static Person> {
        self.people.iter().find(|person| person.login == login)
    }

    /// The people for whom the demo prints tokens: an administrator, a manager and a salesperson.
    pub fn guides(&self) -> [&'static str; 3] {
        ["ingrid.solberg", "tomasz.wojcik", "amara.okafor"]
    }
}

const DEPARTMENTS: [Department; 3] = [
    Department {
        name: "Sales",
        parent: None,
    },
    Department {
        name: "Key accounts",
        parent: Some("Sales"),
    },
    Department {
        name: "Service",
        parent: None,
    },
];

/// Short for a person without special rights.
const fn person(
    name: &'static str,
    login: &'static str,
    department: &'static str,
    role: &'static str,
    time_zone: &'static str,
    title: &'static str,
) -> Person {
    Person {
        name,
        login,
        department,
        role: Some(role),
        is_administrator: false,
        time_zone,
        title,
    }
}

const PEOPLE: [Person; 12] = [
    Person {
        name: "Ingrid Solberg",
        login: "ingrid.solberg",
        department: "Sales",
        role: None,
        is_administrator: true,
        time_zone: "Europe/Oslo",
        title: "Managing director",
    },
    person(
        "Tomasz Wójcik",
        "tomasz.wojcik",
        "Sales",
        "Sales manager",
        "Europe/Warsaw",
        "Head of sales",
    ),
    person(
        "Amara Okafor",
        "amara.okafor",
        "Sales",
        "Salesperson",
        "Africa/Lagos",
        "Sales",
    ),
    person(
        "Luca Bianchi",
        "luca.bianchi",
        "Sales",
        "Salesperson",
        "Europe/Rome",
        "Sales",
    ),
    person(
        "Mei Tanaka",
        "mei.tanaka",
        "Sales",
        "Salesperson",
        "Asia/Tokyo",
        "Sales, Japan",
    ),
    person(
        "Sofía Herrera",
        "sofia.herrera",
        "Key accounts",
        "Key account manager",
        "Europe/Madrid",
        "Key accounts",
    ),
    person(
        "Jonas Brandt",
        "jonas.brandt",
        "Key accounts",
        "Key account manager",
        "Europe/Berlin",
        "Key accounts",
    ),
    person(
        "Priya Raman",
        "priya.raman",
        "Key accounts",
        "Key account manager",
        "Asia/Kolkata",
        "Key accounts",
    ),
    person(
        "Fatima El Amrani",
        "fatima.elamrani",
        "Service",
        "Service lead",
        "Africa/Casablanca",
        "Head of service",
    ),
    person(
        "Dmitri Volkov",
        "dmitri.volkov",
        "Service",
        "Service technician",
        "Europe/Riga",
        "Service technician",
    ),
    person(
        "Chloé Martin",
        "chloe.martin",
        "Service",
        "Service technician",
        "Europe/Paris",
        "Service technician",
    ),
    person(
        "Kwame Mensah",
        "kwame.mensah",
        "Service",
        "Service technician",
        "Africa/Accra",
        "Spare parts",
    ),
];

const NONE: PermissionLevel = PermissionLevel::None;
const OWN: PermissionLevel = PermissionLevel::Own;
const TEAM: PermissionLevel = PermissionLevel::OwnDepartment;
const BELOW: PermissionLevel = PermissionLevel::DepartmentAndBelow;
const OPEN: PermissionLevel = PermissionLevel::OpenToEveryone;
const ALL: PermissionLevel = PermissionLevel::All;

// Levels stand in the order read, create, update, delete, export.
const ROLES: [Role; 5] = [
    Role {
        name: "Sales manager",
        levels: [
            (ItemKind::Lead, [BELOW, ALL, BELOW, BELOW, BELOW]),
            (ItemKind::Deal, [BELOW, ALL, BELOW, BELOW, BELOW]),
            (ItemKind::Contact, [ALL, ALL, ALL, BELOW, BELOW]),
        ],
        hidden_fields: &[],
        may_change_crm_settings: true,
    },
    Role {
        name: "Salesperson",
        levels: [
            (ItemKind::Lead, [OWN, OWN, OWN, OWN, NONE]),
            (ItemKind::Deal, [OWN, OWN, OWN, NONE, NONE]),
            (ItemKind::Contact, [OPEN, OWN, OWN, NONE, NONE]),
        ],
        hidden_fields: &[],
        may_change_crm_settings: false,
    },
    Role {
        name: "Key account manager",
        levels: [
            (ItemKind::Lead, [TEAM, OWN, TEAM, OWN, NONE]),
            (ItemKind::Deal, [TEAM, TEAM, TEAM, OWN, OWN]),
            (ItemKind::Contact, [OPEN, TEAM, TEAM, NONE, OWN]),
        ],
        hidden_fields: &[],
        may_change_crm_settings: false,
    },
    Role {
        name: "Service lead",
        levels: [
            (ItemKind::Lead, [TEAM, TEAM, TEAM, TEAM, NONE]),
            (ItemKind::Deal, [TEAM, NONE, NONE, NONE, NONE]),
            (ItemKind::Contact, [ALL, TEAM, TEAM, TEAM, NONE]),
        ],
        hidden_fields: &[RestrictedField::DealAmount],
        may_change_crm_settings: false,
    },
    Role {
        name: "Service technician",
        levels: [
            (ItemKind::Lead, [TEAM, OWN, OWN, NONE, NONE]),
            (ItemKind::Deal, [NONE, NONE, NONE, NONE, NONE]),
            (ItemKind::Contact, [OPEN, OWN, OWN, NONE, NONE]),
        ],
        hidden_fields: &[RestrictedField::DealAmount],
        may_change_crm_settings: false,
    },
];

const MAILBOXES: [Mailbox; 4] = [
    Mailbox {
        login: "sales",
        connector: "tomasz.wojcik",
        queue: &["amara.okafor", "luca.bianchi", "mei.tanaka"],
        incoming_creates: CreatedItem::Lead,
        outgoing_creates: CreatedItem::Contact,
        routing: ExistingClientRouting::AttachIfResponsibleInQueue,
        source: "Sales mailbox",
        shared_with: Some("Sales"),
    },
    Mailbox {
        login: "support",
        connector: "fatima.elamrani",
        queue: &["dmitri.volkov", "chloe.martin", "kwame.mensah"],
        incoming_creates: CreatedItem::Contact,
        outgoing_creates: CreatedItem::Contact,
        routing: ExistingClientRouting::AttachAlways,
        source: "Support",
        shared_with: Some("Service"),
    },
    Mailbox {
        login: "sofia.herrera",
        connector: "sofia.herrera",
        queue: &["sofia.herrera"],
        incoming_creates: CreatedItem::Deal,
        outgoing_creates: CreatedItem::Contact,
        routing: ExistingClientRouting::AttachAlways,
        source: "Key accounts",
        shared_with: None,
    },
    Mailbox {
        login: "info",
        connector: "ingrid.solberg",
        queue: &["amara.okafor", "kwame.mensah"],
        incoming_creates: CreatedItem::Nothing,
        outgoing_creates: CreatedItem::Nothing,
        routing: ExistingClientRouting::AttachAlways,
        source: "Website",
        shared_with: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_company_has_its_promised_size_and_no_dangling_names() {
        let company = Company::from_seed(1);
        let logins: BTreeSet<&str> = company.people.iter().map(|person| person.login).collect();
        let departments: BTreeSet<&str> = company
            .departments
            .iter()
            .map(|department| department.name)
            .collect();
        let roles: BTreeSet<&str> = company.roles.iter().map(|role| role.name).collect();
        assert_eq!(
            (logins.len(), departments.len(), company.mailboxes.len()),
            (12, 3, 4)
        );
        assert_eq!(
            (
                company.contacts.len(),
                company.deals.len(),
                company.leads.len()
            ),
            (40, 30, 20)
        );
        for person in company.people {
            assert!(departments.contains(person.department), "{}", person.name);
            assert!(
                person.role.is_none_or(|role| roles.contains(role)),
                "{}",
                person.name
            );
        }
        for mailbox in company.mailboxes {
            assert!(logins.contains(mailbox.connector) && !mailbox.queue.is_empty());
            assert!(
                mailbox.queue.iter().all(|login| logins.contains(login)),
                "{}",
                mailbox.login
            );
            assert!(
                mailbox
                    .shared_with
                    .is_none_or(|name| departments.contains(name)),
                "{}",
                mailbox.login
            );
        }
        for login in company.guides() {
            assert!(logins.contains(login));
        }
        assert!(
            company
                .departments
                .iter()
                .all(|it| it.parent.is_none_or(|parent| departments.contains(parent)))
        );
    }

    #[test]
    fn equal_seeds_make_equal_companies() {
        let told = |seed| format!("{:?}", Company::from_seed(seed));
        assert_eq!(told(5), told(5));
        assert_ne!(told(5), told(6));
    }
}
