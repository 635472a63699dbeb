//! One user's whole view of an installation, asked through GraphQL and compared with the model: each object by its id,
//! every list with its count and pages, nested edges, rights and restricted fields.

use super::house::{self, House, attachment_of, folder_of, is_open, title, type_name};
use super::model::{About, Action, Email, Field, Id, Kind, World};
use serde_json::{Value as Json, json};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Ids in one question: a page.
const AT_ONCE: usize = 50;

/// Compares, and counts what it decided.
pub struct View<'a> {
    pub house: &'a House,
    pub world: &'a World,
    pub user: Id,
    pub decided: Cell<u64>,
    pub faults: Vec<String>,
}

impl<'a> View<'a> {
    pub fn new(house: &'a House, world: &'a World, user: Id) -> Self {
        Self {
            house,
            world,
            user,
            decided: Cell::new(0),
            faults: Vec::new(),
        }
    }

    /// Everything that there is to compare; how many decisions that were.
    pub async fn compare(mut self) -> Result<u64, String> {
        self.nodes().await;
        self.items().await;
        self.emails().await;
        self.lists().await;
        self.filters().await;
        self.timeline().await;
        self.mailboxes().await;
        self.finish()
    }

    pub fn finish(self) -> Result<u64, String> {
        if self.faults.is_empty() {
            return Ok(self.decided.get());
        }
        let shown: Vec<&String> = self.faults.iter().take(8).collect();
        Err(format!("user {}: {shown:#?}", self.user))
    }

    fn same<T: PartialEq + Debug>(&mut self, what: impl Fn() -> String, found: T, wanted: T) {
        self.decided.set(self.decided.get() + 1);
        if found != wanted {
            self.faults
                .push(format!("{}: found {found:?}, wanted {wanted:?}", what()));
        }
    }

    /// Two sets, each of `of` being a decision.
    fn same_set(&mut self, what: &str, found: &[Id], wanted: &BTreeSet<Id>, of: usize) {
        self.decided.set(self.decided.get() + of.max(1) as u64);
        let set: BTreeSet<Id> = found.iter().copied().collect();
        if set.len() != found.len() {
            self.faults.push(format!("{what}: twice in {found:?}"));
        }
        if set != *wanted {
            let more: Vec<_> = set.difference(wanted).collect();
            let less: Vec<_> = wanted.difference(&set).collect();
            self.faults
                .push(format!("{what}: too many {more:?}, missing {less:?}"));
        }
    }

    fn ids(&self, nodes: &Json) -> Vec<Id> {
        let Some(nodes) = nodes.as_array() else {
            return vec![-1];
        };
        nodes.iter().map(|node| self.id(node)).collect()
    }

    fn id(&self, node: &Json) -> Id {
        self.house.number(&node["id"])
    }

    /// The id of a nullable node.
    fn maybe(&self, node: &Json) -> Option<Id> {
        (!node.is_null()).then(|| self.id(node))
    }

    async fn ask(&self, query: &str, variables: Json) -> Json {
        self.house.ask_much(self.user, query, variables).await
    }

    async fn data(&mut self, query: &str, variables: Json) -> Json {
        let answer = self.ask(query, variables.clone()).await;
        if let Some(errors) = answer.get("errors") {
            self.faults.push(format!("{query} {variables}: {errors}"));
        }
        answer["data"].clone()
    }

    fn item_id(&self, item: Id) -> String {
        self.house.id(type_name(self.world.items[&item].kind), item)
    }

    fn readable(&self, kind: Kind) -> BTreeSet<Id> {
        let all = self
            .world
            .items
            .iter()
            .filter(|(_, item)| item.kind == kind);
        all.map(|(id, _)| *id)
            .filter(|id| self.world.reads(self.user, *id))
            .collect()
    }

    fn seen_emails(&self) -> BTreeSet<Id> {
        let all = self.world.emails.keys().copied();
        all.filter(|id| self.world.sees(self.user, *id)).collect()
    }

    fn seen_entries(&self) -> BTreeSet<Id> {
        let all = self.world.entries.keys().copied();
        all.filter(|id| self.world.sees_entry(self.user, *id))
            .collect()
    }

    /// Each thing that has an id, by `nodes`, and some by `node` and their own fields.
    async fn nodes(&mut self) {
        let (world, user) = (self.world, self.user);
        let mut all: Vec<(&str, Id, bool)> = Vec::new();
        all.extend(
            world
                .items
                .iter()
                .map(|(id, item)| (type_name(item.kind), *id, world.reads(user, *id))),
        );
        // The same number under another type's name is nothing.
        all.extend(
            world
                .items
                .iter()
                .filter(|(_, item)| item.kind != Kind::Lead)
                .map(|(id, _)| ("Lead", *id, false)),
        );
        for id in world.emails.keys() {
            let seen = world.sees(user, *id);
            all.extend([
                ("Email", *id, seen),
                ("Attachment", attachment_of(*id), seen),
            ]);
        }
        let threads: BTreeSet<Id> = world.emails.values().map(|email| email.thread).collect();
        all.extend(
            threads
                .iter()
                .map(|id| ("Thread", *id, world.sees_thread(user, *id))),
        );
        all.extend(
            world
                .activities
                .keys()
                .map(|id| ("Activity", *id, world.finds_activity(user, *id))),
        );
        all.extend(
            world
                .changes
                .keys()
                .map(|id| ("LinkChange", *id, world.sees_change(user, *id))),
        );
        all.extend(
            world
                .entries
                .keys()
                .map(|id| ("TimelineEntry", *id, world.sees_entry(user, *id))),
        );
        for id in world.mailboxes.keys() {
            let listed = world.lists_mailbox(user, *id);
            all.extend([("Mailbox", *id, listed), ("Folder", folder_of(*id), listed)]);
        }
        all.extend(world.users.keys().map(|id| ("User", *id, true)));
        all.extend(world.departments.keys().map(|id| ("Department", *id, true)));
        all.extend(world.roles.keys().map(|id| ("Role", *id, true)));
        for part in all.chunks(100) {
            let ids: Vec<String> = part
                .iter()
                .map(|(name, id, _)| self.house.id(name, *id))
                .collect();
            let data = self
                .data(
                    "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
                    json!({ "ids": ids }),
                )
                .await;
            for ((name, id, seen), node) in part
                .iter()
                .zip(data["nodes"].as_array().cloned().unwrap_or_default())
            {
                self.same(|| format!("node {name} {id}"), !node.is_null(), *seen);
            }
        }
        self.roots().await;
    }

    /// The fields at the root that find one thing by its id.
    async fn roots(&mut self) {
        let (world, user) = (self.world, self.user);
        let mut all: Vec<(&str, String, bool)> = Vec::new();
        for (id, item) in &world.items {
            let field = ["lead", "deal", "contact"][item.kind as usize];
            all.push((field, self.item_id(*id), world.reads(user, *id)));
        }
        all.extend(
            world
                .emails
                .keys()
                .map(|id| ("email", self.house.id("Email", *id), world.sees(user, *id))),
        );
        all.extend(world.mailboxes.keys().map(|id| {
            (
                "mailbox",
                self.house.id("Mailbox", *id),
                world.lists_mailbox(user, *id),
            )
        }));
        for part in all.chunks(20) {
            let fields: Vec<String> = part
                .iter()
                .enumerate()
                .map(|(n, (field, id, _))| format!("a{n}: {field}(id: \"{id}\") {{ id }}"))
                .collect();
            let data = self
                .data(&format!("{{ {} }}", fields.join(" ")), json!({}))
                .await;
            for (n, (field, id, seen)) in part.iter().enumerate() {
                self.same(
                    || format!("{field} {id}"),
                    !data[format!("a{n}")].is_null(),
                    *seen,
                );
            }
        }
    }

    /// Items with all that they show.
    pub async fn items(&mut self) {
        const QUERY: &str = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename ... on Item { id title version isOpen openToEveryone
            responsible { id } viewerCan { read update delete export }
            timeline(first: 100) { nodes { id } totalCount { value isExact } }
            emails(first: 100) { nodes { id } totalCount { value isExact } }
            activities(first: 100) { nodes { id } totalCount { value isExact } } }
            ... on Lead { addresses { address } conversion { deal { id } contact { id } } }
            ... on Deal { amount { amount } contacts { id } originLead { id } }
            ... on Contact { addresses { address } phones } } }";
        let ids: Vec<Id> = self.world.items.keys().copied().collect();
        for part in ids.chunks(AT_ONCE) {
            let variables =
                json!({ "ids": part.iter().map(|id| self.item_id(*id)).collect::<Vec<_>>() });
            let answer = self.ask(QUERY, variables).await;
            let mut forbidden = BTreeSet::new();
            for (place, id) in part.iter().enumerate() {
                let node = &answer["data"]["nodes"][place];
                if self.world.reads(self.user, *id) && !node.is_null() {
                    self.item(*id, node);
                    forbidden.extend(
                        self.restricted(*id)
                            .into_iter()
                            .map(|field| format!("[\"nodes\",{place},\"{field}\"]")),
                    );
                }
            }
            self.same_errors(&answer, &forbidden);
        }
    }

    /// Nothing but FORBIDDEN, at exactly these paths (R26).
    fn same_errors(&mut self, answer: &Json, wanted: &BTreeSet<String>) {
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        let found: BTreeSet<String> = errors
            .iter()
            .map(|error| error["path"].to_string())
            .collect();
        self.same(|| "errors' paths".to_owned(), &found, wanted);
        for error in &errors {
            self.same(
                || error.to_string(),
                error["extensions"]["code"].as_str(),
                Some("FORBIDDEN"),
            );
        }
    }

    /// The fields of an item that are hidden from the user.
    fn restricted(&self, item: Id) -> Vec<&'static str> {
        let fields: &[(Field, &str)] = match self.world.items[&item].kind {
            Kind::Lead => &[(Field::LeadAddresses, "addresses")],
            Kind::Deal => &[(Field::DealAmount, "amount")],
            Kind::Contact => &[
                (Field::ContactAddresses, "addresses"),
                (Field::ContactPhones, "phones"),
            ],
        };
        let hidden = fields
            .iter()
            .filter(|(field, _)| self.world.hides(self.user, *field));
        hidden.map(|(_, name)| *name).collect()
    }

    fn item(&mut self, id: Id, node: &Json) {
        let (world, user) = (self.world, self.user);
        for (word, action) in [
            ("read", Action::Read),
            ("update", Action::Update),
            ("delete", Action::Delete),
            ("export", Action::Export),
        ] {
            let wanted = json!(world.can(user, action, id));
            self.same(
                || format!("item {id} viewerCan {word}"),
                &node["viewerCan"][word],
                &wanted,
            );
        }
        let hidden = self.restricted(id);
        let fields: &[&str] = match world.items[&id].kind {
            Kind::Lead => &["addresses"],
            Kind::Deal => &["amount"],
            Kind::Contact => &["addresses", "phones"],
        };
        for field in fields {
            self.same(
                || format!("item {id} hides {field}"),
                node[*field].is_null(),
                // Deals that were made since have no amount.
                hidden.contains(field) || (*field == "amount" && id < house::BASE),
            );
        }
        let entries = world.entries.iter().filter(|(_, entry)| entry.item == id);
        let entries: Vec<Id> = entries.map(|(position, _)| *position).collect();
        let wanted = entries
            .iter()
            .copied()
            .filter(|at| world.sees_entry(user, *at))
            .collect();
        self.connection(
            &format!("item {id} timeline"),
            &node["timeline"],
            &wanted,
            entries.len(),
        );
        let linked: Vec<Id> = world
            .emails
            .iter()
            .filter(|(_, email)| email.links.contains(&id))
            .map(|(id, _)| *id)
            .collect();
        let wanted = linked
            .iter()
            .copied()
            .filter(|email| world.sees_in_crm(user, *email))
            .collect();
        self.connection(
            &format!("item {id} emails"),
            &node["emails"],
            &wanted,
            linked.len(),
        );
        let wanted = world
            .activities
            .keys()
            .copied()
            .filter(|of| world.activity_stands_on(user, id, *of))
            .collect();
        self.connection(
            &format!("item {id} activities"),
            &node["activities"],
            &wanted,
            linked.len(),
        );
        match world.items[&id].kind {
            Kind::Lead => {
                let made = world.conversions.get(&id);
                self.same(
                    || format!("item {id} conversion"),
                    !node["conversion"].is_null(),
                    made.is_some(),
                );
                for (field, of) in [
                    ("deal", made.and_then(|made| made.deal)),
                    ("contact", made.and_then(|made| made.contact)),
                ] {
                    let found = self.maybe(&node["conversion"][field]);
                    let wanted = of.filter(|of| world.reads(user, *of));
                    self.same(|| format!("item {id} conversion {field}"), found, wanted);
                }
            }
            Kind::Deal => {
                let contacts: Vec<Id> = world
                    .deal_contacts
                    .iter()
                    .filter(|(deal, _)| *deal == id)
                    .map(|(_, contact)| *contact)
                    .collect();
                let wanted = contacts
                    .iter()
                    .copied()
                    .filter(|contact| world.reads(user, *contact))
                    .collect();
                self.same_set(
                    &format!("item {id} contacts"),
                    &self.ids(&node["contacts"]),
                    &wanted,
                    contacts.len(),
                );
                let wanted = world
                    .origins
                    .get(&id)
                    .copied()
                    .filter(|lead| world.reads(user, *lead));
                self.same(
                    || format!("item {id} originLead"),
                    self.maybe(&node["originLead"]),
                    wanted,
                );
            }
            Kind::Contact => {}
        }
    }

    /// A whole connection in one page, and its count.
    fn connection(&mut self, what: &str, found: &Json, wanted: &BTreeSet<Id>, of: usize) {
        self.same_set(what, &self.ids(&found["nodes"]), wanted, of);
        let count = json!({ "value": wanted.len(), "isExact": true });
        self.same(
            || format!("{what} totalCount"),
            &found["totalCount"],
            &count,
        );
    }

    /// Emails with all that they show.
    pub async fn emails(&mut self) {
        const QUERY: &str = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename ... on Email { id mailbox { id } responsible { id }
            activity { id email { id } items { id } } links { item { id } isPrimary canMove { allowed reason } }
            linkHistory { id from { id } to { id } } canRelink { allowed reason } routingTrace { reason } attachments { id }
            thread { id emails(first: 100) { nodes { id } totalCount { value isExact } } } } } }";
        let ids: Vec<Id> = self.world.emails.keys().copied().collect();
        for part in ids.chunks(AT_ONCE) {
            let variables = json!({ "ids": part.iter().map(|id| self.house.id("Email", *id)).collect::<Vec<_>>() });
            let data = self.data(QUERY, variables).await;
            for (id, node) in part
                .iter()
                .zip(data["nodes"].as_array().cloned().unwrap_or_default())
            {
                if self.world.sees(self.user, *id) && !node.is_null() {
                    self.email(*id, &node);
                }
            }
        }
    }

    fn verdict(&mut self, what: impl Fn() -> String, found: &Json, wanted: Result<(), &str>) {
        let wanted = json!({ "allowed": wanted.is_ok(), "reason": wanted.err() });
        self.same(what, found, &wanted);
    }

    fn email(&mut self, id: Id, node: &Json) {
        let (world, user) = (self.world, self.user);
        let email = &world.emails[&id];
        let wanted = Some(email.mailbox).filter(|mailbox| world.has_mailbox(user, *mailbox));
        self.same(
            || format!("email {id} mailbox"),
            self.maybe(&node["mailbox"]),
            wanted,
        );
        let primary = email.primary.filter(|item| world.reads(user, *item));
        let wanted = primary.map(|item| world.items[&item].responsible);
        self.same(
            || format!("email {id} responsible"),
            self.maybe(&node["responsible"]),
            wanted,
        );
        let activity = world
            .activities
            .iter()
            .find(|(_, message)| **message == email.message);
        let wanted = activity.map(|(id, _)| *id).filter(|_| primary.is_some());
        self.same(
            || format!("email {id} activity"),
            self.maybe(&node["activity"]),
            wanted,
        );
        if wanted.is_some() && !node["activity"].is_null() {
            self.activity(id, &node["activity"]);
        }
        let links = email
            .links
            .iter()
            .copied()
            .filter(|item| world.reads(user, *item))
            .collect();
        let found = node["links"].as_array().cloned().unwrap_or_default();
        let items: Vec<Id> = found.iter().map(|link| self.id(&link["item"])).collect();
        self.same_set(
            &format!("email {id} links"),
            &items,
            &links,
            email.links.len(),
        );
        for (item, link) in items.into_iter().zip(&found) {
            self.same(
                || format!("email {id} link {item}"),
                &link["isPrimary"],
                &json!(email.primary == Some(item)),
            );
            self.verdict(
                || format!("email {id} canMove {item}"),
                &link["canMove"],
                world.can_move(user, id, item),
            );
        }
        self.verdict(
            || format!("email {id} canRelink"),
            &node["canRelink"],
            world.can_relink(user, id),
        );
        let all = email.links.iter().all(|item| world.reads(user, *item));
        self.same(
            || format!("email {id} routingTrace"),
            !node["routingTrace"].is_null(),
            all,
        );
        self.history(id, node);
        let thread = &node["thread"];
        self.same(
            || format!("email {id} thread"),
            self.id(thread),
            email.thread,
        );
        let members: Vec<Id> = world
            .emails
            .iter()
            .filter(|(_, other)| other.thread == email.thread)
            .map(|(id, _)| *id)
            .collect();
        let wanted = members
            .iter()
            .copied()
            .filter(|other| world.sees(user, *other))
            .collect();
        self.connection(
            &format!("email {id} thread's emails"),
            &thread["emails"],
            &wanted,
            members.len(),
        );
    }

    fn history(&mut self, id: Id, node: &Json) {
        let (world, user) = (self.world, self.user);
        let changes: Vec<Id> = world
            .changes
            .iter()
            .filter(|(_, change)| change.email == id)
            .map(|(id, _)| *id)
            .collect();
        let wanted = changes
            .iter()
            .copied()
            .filter(|change| world.sees_change(user, *change))
            .collect();
        self.same_set(
            &format!("email {id} linkHistory"),
            &self.ids(&node["linkHistory"]),
            &wanted,
            changes.len(),
        );
        for line in node["linkHistory"].as_array().cloned().unwrap_or_default() {
            let change = self.id(&line);
            let row = world.changes[&change];
            for (word, end) in [("from", row.from), ("to", row.to)] {
                let wanted = end.filter(|item| world.reads(user, *item));
                self.same(
                    || format!("change {change} {word}"),
                    self.maybe(&line[word]),
                    wanted,
                );
            }
        }
    }

    /// A to-do, reached by an email that the user sees.
    fn activity(&mut self, email: Id, node: &Json) {
        let (world, user) = (self.world, self.user);
        let message = world.emails[&email].message;
        // A copy of the message that the user doesn't see tells nothing of where it hangs.
        let seen: BTreeMap<Id, &Email> = (world.emails.iter())
            .filter(|(id, other)| other.message == message && world.sees(user, **id))
            .map(|(id, other)| (*id, other))
            .collect();
        self.same(
            || format!("activity of {email}: email"),
            self.maybe(&node["email"]),
            seen.keys().next().copied(),
        );
        let linked: BTreeSet<Id> = seen
            .values()
            .flat_map(|email| email.links.iter().copied())
            .collect();
        let wanted = linked
            .iter()
            .copied()
            .filter(|item| world.reads(user, *item))
            .collect();
        self.same_set(
            &format!("activity of {email}: items"),
            &self.ids(&node["items"]),
            &wanted,
            linked.len(),
        );
    }

    /// The lists at the root, whole; in every order; page by page from both ends.
    pub async fn lists(&mut self) {
        const QUERY: &str = "{ leads(first: 100) { nodes { id } totalCount { value isExact } }
            deals(first: 100) { nodes { id } totalCount { value isExact } }
            contacts(first: 100) { nodes { id } totalCount { value isExact } }
            emails(first: 100) { nodes { id } totalCount { value isExact } }
            users(first: 100) { nodes { id } totalCount { value isExact } } }";
        let data = self.data(QUERY, json!({})).await;
        let world = self.world;
        for (list, kind) in [
            ("leads", Kind::Lead),
            ("deals", Kind::Deal),
            ("contacts", Kind::Contact),
        ] {
            let of = world
                .items
                .values()
                .filter(|item| item.kind == kind)
                .count();
            let wanted = self.readable(kind);
            self.connection(list, &data[list], &wanted, of);
            let orders = ["CREATED_AT", "LAST_ACTIVITY_AT", "TITLE"];
            let order = orders[(self.user as usize + kind as usize) % 3];
            let direction = ["ASC", "DESC"][self.user as usize % 2];
            self.pages(
                list,
                &format!("orderBy: {{ field: {order}, direction: {direction} }},"),
                &wanted,
            )
            .await;
        }
        let seen = self.seen_emails();
        self.connection("emails", &data["emails"], &seen, world.emails.len());
        self.pages("emails", "", &seen).await;
        let everybody = world.users.keys().copied().collect();
        self.connection("users", &data["users"], &everybody, world.users.len());
    }

    /// Walks a list by small pages, forwards and backwards: the same rows once each, in one order.
    async fn pages(&mut self, list: &str, arguments: &str, wanted: &BTreeSet<Id>) {
        // Walking takes many questions: each list is walked by some of the users, in each order by some of those.
        if (self.user as usize + list.len() + arguments.len()) % 3 != 0 {
            return;
        }
        let mut walks = Vec::new();
        for (take, from, end, more) in [
            ("first", "after", "endCursor", "hasNextPage"),
            ("last", "before", "startCursor", "hasPreviousPage"),
        ] {
            let query = format!(
                "query($cursor: Cursor) {{ list: {list}({arguments} {take}: 7, {from}: $cursor) {{ edges {{ node {{ id }} cursor }}
                 pageInfo {{ {end} {more} }} }} }}"
            );
            let (mut walked, mut cursor) = (Vec::new(), Json::Null);
            loop {
                let data = self.data(&query, json!({ "cursor": cursor })).await;
                let edges = data["list"]["edges"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let page: Vec<Id> = edges.iter().map(|edge| self.id(&edge["node"])).collect();
                if take == "first" {
                    walked.extend(page);
                } else {
                    walked.splice(0..0, page);
                }
                cursor = data["list"]["pageInfo"][end].clone();
                if data["list"]["pageInfo"][more] != json!(true) || walked.len() > 1000 {
                    break;
                }
            }
            self.same_set(
                &format!("{list} {arguments} by {take}"),
                &walked,
                wanted,
                wanted.len(),
            );
            walks.push(walked);
        }
        self.same(
            || format!("{list} {arguments}: forwards and backwards"),
            &walks[0],
            &walks[1],
        );
    }

    /// Filters narrow what is visible, and match nothing where they name what is hidden.
    pub async fn filters(&mut self) {
        let (world, user) = (self.world, self.user);
        // One responsible, stage, contact, item, thread and mailbox for each user, seen or not.
        let nth = |n: usize| user as usize + n;
        let ids: Vec<Id> = world.items.keys().copied().collect();
        let responsible = world.items[&ids[nth(0) % ids.len()]].responsible;
        let item = ids[nth(3) % ids.len()];
        let contacts: Vec<Id> = ids
            .iter()
            .copied()
            .filter(|id| world.items[id].kind == Kind::Contact)
            .collect();
        let contact = contacts.get(nth(1) % contacts.len().max(1)).copied();
        let mailboxes: Vec<Id> = world.mailboxes.keys().copied().collect();
        let mailbox = mailboxes[nth(0) % mailboxes.len()];
        let threads: Vec<Id> = world.emails.values().map(|email| email.thread).collect();
        let thread = threads[nth(5) % threads.len()];
        let contact_id = contact.map_or_else(
            || self.house.id("Contact", house::ABSENT),
            |id| self.house.id("Contact", id),
        );
        let page = "first: 100) { nodes { id } totalCount { value isExact } }";
        let query = format!(
            "query($responsible: ID, $item: ID, $contact: ID, $mailbox: ID, $thread: ID, $stages: [ID!]) {{
             responsible: deals(filter: {{ responsibleId: $responsible }}, {page}
             open: leads(filter: {{ isOpen: true, stageIds: $stages }}, {page} contact: deals(filter: {{ contactId: $contact }}, {page}
             text: contacts(filter: {{ text: \"alpha\" }}, {page} item: emails(filter: {{ itemId: $item }}, {page}
             mailbox: emails(filter: {{ mailboxId: $mailbox }}, {page} thread: emails(filter: {{ threadId: $thread }}, {page}
             saved: emails(filter: {{ outcomes: [SAVED] }}, {page} }}"
        );
        let variables = json!({
            "responsible": self.house.id("User", responsible), "item": self.item_id(item), "contact": contact_id,
            "mailbox": self.house.id("Mailbox", mailbox), "thread": self.house.id("Thread", thread),
            "stages": [self.house.id("Stage", 1), self.house.id("Stage", 2)],
        });
        let data = self.data(&query, variables).await;
        let readable = |kind, holds: &dyn Fn(Id) -> bool| -> BTreeSet<Id> {
            self.readable(kind)
                .into_iter()
                .filter(|id| holds(*id))
                .collect()
        };
        let seen = |holds: &dyn Fn(Id) -> bool| -> BTreeSet<Id> {
            self.seen_emails()
                .into_iter()
                .filter(|id| holds(*id))
                .collect()
        };
        let on = |deal| {
            contact.is_some_and(|contact| {
                world.reads(user, contact) && world.deal_contacts.contains(&(deal, contact))
            })
        };
        let wanted = [
            (
                "responsible",
                readable(Kind::Deal, &|id| {
                    world.items[&id].responsible == responsible
                }),
            ),
            (
                "open",
                readable(Kind::Lead, &|id| is_open(world.items[&id].stage)),
            ),
            ("contact", readable(Kind::Deal, &on)),
            (
                "text",
                readable(Kind::Contact, &|id| {
                    title(id).to_lowercase().contains("alpha")
                }),
            ),
            (
                "item",
                seen(&|id| world.reads(user, item) && world.emails[&id].links.contains(&item)),
            ),
            (
                "mailbox",
                seen(&|id| {
                    world.has_mailbox(user, mailbox) && world.emails[&id].mailbox == mailbox
                }),
            ),
            ("thread", seen(&|id| world.emails[&id].thread == thread)),
            ("saved", seen(&|id| world.emails[&id].saved)),
        ];
        for (what, wanted) in wanted {
            if what == "text" && self.has_history() {
                continue;
            }
            self.connection(
                &format!("filter {what}"),
                &data[what],
                &wanted,
                wanted.len() + 1,
            );
        }
        self.address_filters().await;
    }

    /// Whether steps were taken in this world: the model doesn't know the texts and addresses of what they made.
    fn has_history(&self) -> bool {
        let newest = self.world.entries.keys().max();
        newest.is_some_and(|position| *position > house::LAST_POSITION)
    }

    /// Nobody looks for addresses that they may not see (R26).
    async fn address_filters(&mut self) {
        let (world, user) = (self.world, self.user);
        let address = house::client_address(user);
        for (list, kind, field) in [
            ("leads", Kind::Lead, Field::LeadAddresses),
            ("contacts", Kind::Contact, Field::ContactAddresses),
        ] {
            let query = format!(
                "query($address: String) {{ list: {list}(filter: {{ address: $address }}, first: 100) {{ nodes {{ id }} totalCount {{ value isExact }} }} }}"
            );
            let answer = self.ask(&query, json!({ "address": address })).await;
            let refused = answer["errors"][0]["extensions"]["code"] == json!("FORBIDDEN");
            self.same(
                || format!("{list} by address"),
                refused,
                world.hides(user, field),
            );
            if !refused && !self.has_history() {
                let wanted = self
                    .readable(kind)
                    .into_iter()
                    .filter(|id| house::client_address(*id) == address)
                    .collect();
                self.connection(
                    &format!("{list} by address"),
                    &answer["data"]["list"],
                    &wanted,
                    wanted.len(),
                );
            }
        }
    }

    /// The timeline of everything, page by page, with what its entries show.
    pub async fn timeline(&mut self) {
        let seen = self.seen_entries();
        self.pages("timeline", "", &seen).await;
        self.pages("timeline", "kinds: [EMAIL_LINKED, EMAIL_UNLINKED],", &{
            let is_link = |id: &Id| matches!(self.world.entries[id].about, About::Link(..));
            seen.iter().copied().filter(is_link).collect()
        })
        .await;
        const QUERY: &str = "query($after: Cursor) { timeline(first: 60, after: $after) { totalCount { value isExact } pageInfo { hasNextPage endCursor }
            nodes { __typename id item { id } ... on EmailReceived { email { id } } ... on EmailSent { email { id } }
            ... on EmailLinked { linked: email { id } from { id } } ... on EmailUnlinked { linked: email { id } to { id } }
            ... on ActivityCompleted { activity { id } } } } }";
        let mut after = Json::Null;
        loop {
            let data = self.data(QUERY, json!({ "after": after })).await;
            let page = &data["timeline"];
            let count = json!({ "value": seen.len(), "isExact": true });
            self.same(
                || "timeline totalCount".to_owned(),
                &page["totalCount"],
                &count,
            );
            for node in page["nodes"].as_array().cloned().unwrap_or_default() {
                self.entry(&node);
            }
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] != json!(true) {
                break;
            }
        }
    }

    fn entry(&mut self, node: &Json) {
        let (world, user) = (self.world, self.user);
        let position = self.id(node);
        let Some(entry) = world.entries.get(&position) else {
            self.faults
                .push(format!("entry {position} is none of the world's"));
            return;
        };
        self.same(
            || format!("entry {position} item"),
            self.id(&node["item"]),
            entry.item,
        );
        match entry.about {
            About::Email(email) => self.same(
                || format!("entry {position} email"),
                self.id(&node["email"]),
                email,
            ),
            About::Link(email, other) => {
                let wanted = Some(email).filter(|email| world.sees_in_crm(user, *email));
                self.same(
                    || format!("entry {position} email"),
                    self.maybe(&node["linked"]),
                    wanted,
                );
                let end = if node["__typename"] == json!("EmailLinked") {
                    "from"
                } else {
                    "to"
                };
                let wanted = other.filter(|item| world.reads(user, *item));
                self.same(
                    || format!("entry {position} {end}"),
                    self.maybe(&node[end]),
                    wanted,
                );
            }
            About::Item | About::Activity(_) => {}
        }
    }

    /// Mailboxes with their mail and settings (R22, R25).
    pub async fn mailboxes(&mut self) {
        const QUERY: &str = "{ mailboxes(first: 8) { totalCount { value isExact } nodes { id viewerCanChangeSettings settings { version }
            folders { id } emails(first: 100) { nodes { id } totalCount { value isExact } } } } }";
        let (world, user) = (self.world, self.user);
        let data = self.data(QUERY, json!({})).await;
        let wanted = world
            .mailboxes
            .keys()
            .copied()
            .filter(|id| world.lists_mailbox(user, *id))
            .collect();
        self.connection(
            "mailboxes",
            &data["mailboxes"],
            &wanted,
            world.mailboxes.len(),
        );
        for node in data["mailboxes"]["nodes"]
            .as_array()
            .cloned()
            .unwrap_or_default()
        {
            let id = self.id(&node);
            let changes = world.changes_mailbox_settings(user, id);
            self.same(
                || format!("mailbox {id} settings"),
                !node["settings"].is_null(),
                changes,
            );
            self.same(
                || format!("mailbox {id} viewerCan"),
                &node["viewerCanChangeSettings"],
                &json!(changes),
            );
            let mail: Vec<Id> = world
                .emails
                .iter()
                .filter(|(_, email)| email.mailbox == id)
                .map(|(id, _)| *id)
                .collect();
            let wanted = mail
                .iter()
                .copied()
                .filter(|_| world.has_mailbox(user, id))
                .collect();
            self.connection(
                &format!("mailbox {id} emails"),
                &node["emails"],
                &wanted,
                mail.len(),
            );
        }
    }
}
