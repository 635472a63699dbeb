//! Puts the company into an installation, through GraphQL as its administrator would.
//! Not for: what the company is (`company`), nor for its mail.

use super::company::{ACTIONS, Company, EXCLUDED_DOMAIN, Mailbox, Role};
use super::{Installation, Request};
use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The ids by which GraphQL knows the company.
#[derive(Debug, Default)]
pub struct Ids {
    departments: BTreeMap<&'static str, String>,
    roles: BTreeMap<&'static str, String>,
    /// By login.
    pub users: BTreeMap<&'static str, String>,
    stages: BTreeMap<String, String>,
    /// By address.
    pub mailboxes: BTreeMap<String, String>,
}

/// Where the mail server of the mailboxes listens, on loopback without TLS.
#[derive(Debug, Clone, Copy)]
pub struct MailServer<'a> {
    pub imap_port: u16,
    pub password: &'a str,
}

/// Makes departments, roles, people, contacts, deals, leads and the CRM's settings.
///
/// # Errors
/// The first thing that the installation refuses.
pub async fn make_company(
    installation: &mut impl Installation,
    token: &str,
    company: &Company,
) -> anyhow::Result<Ids> {
    let mut api = Api {
        installation,
        token,
    };
    let mut ids = Ids::default();
    for department in company.departments {
        let parent = department.parent.and_then(|name| ids.departments.get(name));
        let input = json!({ "name": department.name, "parentId": parent });
        let id = api.make("createDepartment", "department", input).await?;
        ids.departments.insert(department.name, id);
    }
    for role in company.roles {
        let id = api.make("createRole", "role", role_input(role)).await?;
        ids.roles.insert(role.name, id);
    }
    make_people(&mut api, company, &mut ids).await?;
    let exclusions = json!({ "exclusions": [EXCLUDED_DOMAIN] });
    api.change("updateCrmSettings", "crmSettings { version }", exclusions)
        .await?;
    ids.stages = api.stages().await?;
    make_items(&mut api, company, &ids).await?;
    Ok(ids)
}

async fn make_people<I: Installation>(
    api: &mut Api<'_, I>,
    company: &Company,
    ids: &mut Ids,
) -> anyhow::Result<()> {
    let viewer = api.ask("{ viewer { id } }", json!({})).await?;
    let administrator = text_at(&viewer, "/viewer/id")?;
    for person in company.people {
        let department = ids.departments.get(person.department);
        let role: Vec<&String> = person
            .role
            .and_then(|name| ids.roles.get(name))
            .into_iter()
            .collect();
        let id = if person.is_administrator {
            let input = json!({
                "userId": administrator, "departmentId": department, "timeZone": person.time_zone,
            });
            api.change("updateUser", "user { id }", input).await?;
            administrator.clone()
        } else {
            let input = json!({
                "name": person.name, "address": person.address(), "departmentId": department,
                "timeZone": person.time_zone, "roleIds": role,
            });
            api.make("createUser", "user", input).await?
        };
        ids.users.insert(person.login, id);
    }
    Ok(())
}

async fn make_items<I: Installation>(
    api: &mut Api<'_, I>,
    company: &Company,
    ids: &Ids,
) -> anyhow::Result<()> {
    let mut contacts = Vec::new();
    for client in &company.contacts {
        let input = json!({
            "name": client.name, "addresses": [client.address], "phones": [client.phone],
            "company": client.company, "source": "Address book",
            "responsibleId": ids.users.get(client.responsible), "openToEveryone": client.open_to_everyone,
        });
        contacts.push(api.make("createContact", "contact", input).await?);
    }
    for deal in &company.deals {
        let people: Vec<&String> = deal
            .contacts
            .iter()
            .filter_map(|place| contacts.get(*place))
            .collect();
        let stage = ids
            .stages
            .get(deal.stage)
            .with_context(|| format!("there is no stage {:?}", deal.stage))?;
        let input = json!({
            "title": deal.title, "stageId": stage, "contactIds": people,
            "amount": { "amount": deal.amount, "currency": deal.currency },
            "responsibleId": ids.users.get(deal.responsible), "openToEveryone": deal.open_to_everyone,
        });
        api.make("createDeal", "deal", input).await?;
    }
    for lead in &company.leads {
        let input = json!({
            "title": lead.title, "name": lead.name, "addresses": [lead.address], "source": lead.source,
            "responsibleId": ids.users.get(lead.responsible), "openToEveryone": lead.open_to_everyone,
        });
        api.make("createLead", "lead", input).await?;
    }
    Ok(())
}

/// Connects the mailboxes to the mail server, or makes them for mail from files where there is none, and lets the
/// administrator and the mailbox's department see them.
///
/// # Errors
/// The first thing that the installation refuses.
pub async fn connect_mailboxes(
    installation: &mut impl Installation,
    token: &str,
    company: &Company,
    ids: &mut Ids,
    server: Option<MailServer<'_>>,
) -> anyhow::Result<()> {
    for mailbox in company.mailboxes {
        let id = match server {
            Some(server) => {
                let mut api = Api {
                    installation,
                    token,
                };
                let input = mailbox_input(mailbox, ids, server);
                api.make("connectMailbox", "mailbox", input).await?
            }
            None => {
                let id = installation.make_file_mailbox(mailbox).await?;
                let input = json!({ "mailboxId": id, "settings": settings_input(mailbox, ids) });
                let mut api = Api {
                    installation,
                    token,
                };
                api.change("updateMailboxSettings", "mailbox { id }", input)
                    .await?;
                id
            }
        };
        let administrators = company
            .people
            .iter()
            .filter(|person| person.is_administrator);
        let users: Vec<&String> = administrators
            .filter_map(|person| ids.users.get(person.login))
            .collect();
        let departments: Vec<&String> = mailbox
            .shared_with
            .and_then(|name| ids.departments.get(name))
            .into_iter()
            .collect();
        let mut api = Api {
            installation,
            token,
        };
        let input = json!({ "mailboxId": id, "userIds": users, "departmentIds": departments });
        api.change("shareMailbox", "mailbox { id }", input).await?;
        ids.mailboxes.insert(mailbox.address(), id);
    }
    Ok(())
}

fn mailbox_input(mailbox: &Mailbox, ids: &Ids, server: MailServer<'_>) -> Value {
    json!({
        "address": mailbox.address(),
        "login": mailbox.address(),
        "imap": { "host": "127.0.0.1", "port": server.imap_port, "security": "PLAIN" },
        "secret": { "password": server.password },
        "connectorId": ids.users.get(mailbox.connector),
        "history": { "everything": true },
        "settings": settings_input(mailbox, ids),
        "folders": { "spam": "Junk" },
    })
}

fn settings_input(mailbox: &Mailbox, ids: &Ids) -> Value {
    let queue: Vec<&String> = mailbox
        .queue
        .iter()
        .filter_map(|login| ids.users.get(login))
        .collect();
    json!({
        "crmIntegration": true,
        "incomingCreates": mailbox.incoming_creates.as_text(),
        "outgoingCreates": mailbox.outgoing_creates.as_text(),
        "existingClientRouting": mailbox.routing.as_text(),
        "repliesFollowThread": true,
        "queueUserIds": queue,
        "source": mailbox.source,
    })
}

fn role_input(role: &Role) -> Value {
    let permissions: Vec<Value> = role
        .levels
        .iter()
        .flat_map(|(item, levels)| {
            ACTIONS.iter().zip(levels).map(|(action, level)| {
                json!({ "item": item.as_text(), "action": action.as_text(), "level": level.as_text() })
            })
        })
        .collect();
    let hidden: Vec<&str> = role
        .hidden_fields
        .iter()
        .map(|field| field.as_text())
        .collect();
    json!({
        "name": role.name, "permissions": permissions, "hiddenFields": hidden,
        "mayChangeCrmSettings": role.may_change_crm_settings,
    })
}

/// Asks as one user.
pub struct Api<'a, I> {
    pub installation: &'a mut I,
    pub token: &'a str,
}

impl<I: Installation> Api<'_, I> {
    /// Asks, and returns `data`.
    ///
    /// # Errors
    /// When the answer has errors.
    pub async fn ask(&mut self, document: &str, variables: Value) -> anyhow::Result<Value> {
        let request = Request {
            document: document.to_owned(),
            variables,
        };
        let mut answer = self.installation.execute(self.token, request).await?;
        match answer.get("errors").and_then(Value::as_array) {
            Some(errors) if !errors.is_empty() => {
                bail!("GraphQL refused {document:?}: {}", json!(errors))
            }
            _ => Ok(answer.get_mut("data").map(Value::take).unwrap_or_default()),
        }
    }

    /// Runs the mutation with its one `input`, and returns its payload.
    ///
    /// # Errors
    /// When the answer has errors of either sort.
    async fn change(&mut self, verb: &str, wanted: &str, input: Value) -> anyhow::Result<Value> {
        let told = input.clone();
        let data = self
            .ask(
                &mutation(verb, wanted),
                json!({ "input": without_nulls(input) }),
            )
            .await?;
        let payload = data.get(verb).cloned().unwrap_or_default();
        match payload.get("userErrors").and_then(Value::as_array) {
            Some(errors) if errors.is_empty() => Ok(payload),
            _ => bail!("{verb} refused {told}: {payload}"),
        }
    }

    /// Makes one thing and returns its id.
    async fn make(&mut self, verb: &str, noun: &str, input: Value) -> anyhow::Result<String> {
        let payload = self
            .change(verb, &format!("{noun} {{ id }}"), input)
            .await?;
        text_at(&payload, &format!("/{noun}/id"))
    }

    /// The deals' stages: id by name.
    async fn stages(&mut self) -> anyhow::Result<BTreeMap<String, String>> {
        let data = self.ask("{ dealStages { id name } }", json!({})).await?;
        let stages = data
            .get("dealStages")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        stages
            .iter()
            .map(|stage| Ok((text_at(stage, "/name")?, text_at(stage, "/id")?)))
            .collect()
    }
}

/// The document of a mutation that takes one `input`.
fn mutation(verb: &str, wanted: &str) -> String {
    let mut letters = verb.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let kind: String = first.into_iter().chain(letters).collect();
    format!(
        "mutation ($input: {kind}Input!) {{ {verb}(input: $input) {{ {wanted} userErrors {{ code message field }} }} }}"
    )
}

/// Absent means unchanged and null means cleared; what is not known is absent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(name, value)| (name, without_nulls(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        other => other,
    }
}

/// The text at a place of an answer.
///
/// # Errors
/// When there is none.
pub fn text_at(value: &Value, place: &str) -> anyhow::Result<String> {
    let text = value.pointer(place).and_then(Value::as_str);
    text.map(str::to_owned)
        .with_context(|| format!("the answer {value} has no text at {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_follow_the_one_shape() {
        let document = mutation("createLead", "lead { id }");
        let expected = "mutation ($input: CreateLeadInput!) \
                        { createLead(input: $input) { lead { id } userErrors { code message field } } }";
        assert_eq!(document, expected);
    }

    #[test]
    fn unknown_fields_are_left_out() {
        let input = json!({ "a": null, "b": { "c": null, "d": 1 }, "e": [null] });
        assert_eq!(
            without_nulls(input),
            json!({ "b": { "d": 1 }, "e": [null] })
        );
    }

    #[test]
    fn a_role_says_every_level() {
        let company = Company::from_seed(1);
        for role in company.roles {
            let input = role_input(role);
            assert_eq!(
                input["permissions"].as_array().unwrap().len(),
                15,
                "{}",
                role.name
            );
        }
    }
}
