//! The mutations of the schema: names, inputs and payloads; ids that open nothing; what is resolved anew.

use crate::actions::world::World;
use async_graphql::{Request, Variables};
use mailroom::auth::accounts::Accounts;
use mailroom::auth::keys::Keys;
use mailroom::bus::Bus;
use mailroom::graphql::api::Caller;
use mailroom::graphql::{MailroomSchema, Services, schema};
use mailroom::live::{Hub, Live};
use mailroom::model::UserId;
use mailroom::model::item::ItemKind;
use mailroom::model::people::Session;
use mailroom::store::raw::RawStore;
use serde_json::{Value, json};
use std::sync::Arc;

/// A world with its schema.
struct Front {
    world: World,
    schema: MailroomSchema,
}

impl Front {
    async fn new(world: World) -> Self {
        let store = world.store().clone();
        let raw = world.folder().join("raw");
        std::fs::create_dir_all(&raw).unwrap();
        let raw = format!("file://{}", raw.display());
        let raw = RawStore::open(&raw, tokio::runtime::Handle::current()).unwrap();
        let keys = Keys::load_or_make(&world.folder().join("mailroom.key")).unwrap();
        let services = Services {
            store: store.clone(),
            actions: world.actions.clone(),
            accounts: Arc::new(Accounts::new(store.clone(), &keys, "http://127.0.0.1")),
            live: Live::new(store.clone(), Hub::start(&Bus::memory())),
            mail: mailroom::actions::read_mail::MailReader::new(store, raw),
            file_urls: Arc::new(|_file| None),
            public_url: "http://127.0.0.1".into(),
            clock: mailroom::clock::now,
        };
        Self {
            world,
            schema: schema(services),
        }
    }

    /// The payload of `mutation name(input: …) { fields userErrors { code field } }`; there are no top-level errors.
    async fn change(&self, user: Option<UserId>, name: &str, input: Value, fields: &str) -> Value {
        let answer = self.answer(user, name, input, fields).await;
        assert!(answer.get("errors").is_none(), "{name}: {answer:#}");
        answer["data"][name].clone()
    }

    async fn answer(&self, user: Option<UserId>, name: &str, input: Value, fields: &str) -> Value {
        let type_name: String = name[..1].to_uppercase() + &name[1..] + "Input";
        let query = format!(
            "mutation ($input: {type_name}!) {{ {name}(input: $input) {{ {fields} userErrors {{ code message field }} }} }}"
        );
        let session = user.map(|id| Session {
            viewer: Arc::new(self.world.viewer(id)),
            expires_at: None,
        });
        let request = Request::new(query)
            .variables(Variables::from_json(json!({ "input": input })))
            .data(Caller(session));
        serde_json::to_value(self.schema.execute(request).await).unwrap()
    }

    /// As an administrator, without user errors.
    async fn done(&self, name: &str, input: Value, fields: &str) -> Value {
        let admin = Some(self.world.admin.user_id);
        let payload = self.change(admin, name, input, fields).await;
        assert_eq!(payload["userErrors"], json!([]), "{name}");
        payload
    }

    fn id(&self, type_name: &str, number: i64) -> String {
        self.world.store().codec().seal_id(type_name, number)
    }
}

on_both_databases! {
async fn people_rights_and_settings_are_changed_through_the_schema(world) {
    let front = Front::new(world).await;
    let top = front
        .done(
            "createDepartment",
            json!({ "name": "Sales" }),
            "department { id name parent { id } }",
        )
        .await;
    let top = &top["department"];
    let below = json!({ "name": "North", "parentId": top["id"], "idempotencyKey": "d" });
    let below = front
        .done(
            "createDepartment",
            below,
            "department { id parent { name } }",
        )
        .await;
    assert_eq!(below["department"]["parent"]["name"], "Sales");

    let role = json!({
        "name": "Seller", "hiddenFields": ["DEAL_AMOUNT"],
        "permissions": [
            { "item": "DEAL", "action": "READ", "level": "ALL" },
            { "item": "DEAL", "action": "READ", "level": "OWN", "stageId": front.id("Stage", 8) },
        ],
    });
    let fields = "role { id name permissions { item action level stage { name } } hiddenFields mayChangeCrmSettings version }";
    let role = front.done("createRole", role, fields).await["role"].clone();
    assert_eq!(role["permissions"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&role["hiddenFields"], &role["mayChangeCrmSettings"]),
        (&json!(["DEAL_AMOUNT"]), &json!(false))
    );
    let update =
        json!({ "roleId": role["id"], "expectedVersion": 1, "mayChangeCrmSettings": true });
    let updated = front.done("updateRole", update, fields).await["role"].clone();
    assert_eq!(
        (&updated["version"], &updated["permissions"]),
        (&json!(2), &role["permissions"])
    );

    let user = json!({ "name": "Eve", "address": "eve@example.com", "departmentId": top["id"], "password": "correct horse" });
    let fields = "user { id name address department { name } timeZone isActive isAdministrator roles { name } version }";
    let user = front.done("createUser", user, fields).await["user"].clone();
    assert_eq!(
        (&user["roles"], &user["timeZone"]),
        (&json!([{ "name": "Employee" }]), &json!("UTC"))
    );
    let update = json!({ "userId": user["id"], "departmentId": null, "timeZone": "Europe/Berlin" });
    let updated = front.done("updateUser", update, fields).await["user"].clone();
    assert_eq!(
        (
            &updated["department"],
            &updated["timeZone"],
            &updated["name"]
        ),
        (&Value::Null, &json!("Europe/Berlin"), &json!("Eve"))
    );
    let holder = json!({ "holder": { "userId": user["id"] }, "roleIds": [role["id"]] });
    let roles = front.done("assignRoles", holder, "roles { name }").await;
    assert_eq!(roles["roles"], json!([{ "name": "Seller" }]));

    let change = json!({ "exclusions": ["@Spam.example"], "senderLimitPerHour": 10 });
    let fields = "crmSettings { leadsEnabled exclusions senderLimitPerHour version }";
    let settings = front.done("updateCrmSettings", change, fields).await["crmSettings"].clone();
    assert_eq!(
        settings,
        json!({ "leadsEnabled": true, "exclusions": ["spam.example"], "senderLimitPerHour": 10, "version": 2 })
    );

    let address = json!({ "address": "Eve@example.com", "password": "correct horse" });
    let fields = "accessToken refreshToken expiresAt viewer { name }";
    let log_in = front.change(None, "logIn", address, fields).await;
    assert_eq!(
        (&log_in["viewer"]["name"], &log_in["userErrors"]),
        (&json!("Eve"), &json!([]))
    );
    let refresh = json!({ "refreshToken": log_in["refreshToken"] });
    let next = front
        .change(None, "refreshLogIn", refresh.clone(), fields)
        .await;
    assert_ne!(next["refreshToken"], log_in["refreshToken"]);
    let out = json!({ "refreshToken": next["refreshToken"] });
    front.change(None, "logOut", out.clone(), "").await;
    let over = front.change(None, "refreshLogIn", out, fields).await;
    assert_eq!(
        (&over["accessToken"], &over["userErrors"][0]["code"]),
        (&Value::Null, &json!("FORBIDDEN"))
    );
}
}

on_both_databases! {
async fn items_are_changed_and_leads_converted_through_the_schema(world) {
    let front = Front::new(world).await;
    let contact = json!({ "name": "Anna", "addresses": ["anna@example.org"], "phones": ["1"], "company": "Weber" });
    let fields = "contact { id title name company addresses { address isPrimary } phones responsible { name } version }";
    let contact = front.done("createContact", contact, fields).await["contact"].clone();
    let update = json!({ "contactId": contact["id"], "company": null, "phones": [] });
    let updated = front.done("updateContact", update, fields).await["contact"].clone();
    assert_eq!(
        (
            &updated["company"],
            &updated["phones"],
            &updated["addresses"]
        ),
        (&Value::Null, &json!([]), &contact["addresses"])
    );

    let deal = json!({ "title": "Ten chairs", "amount": { "amount": "10.50", "currency": "EUR" }, "contactIds": [contact["id"]] });
    let fields = "deal { id title stage { name } amount { amount currency } contacts { name } isOpen version }";
    let deal = front.done("createDeal", deal, fields).await["deal"].clone();
    assert_eq!(
        (&deal["amount"]["amount"], &deal["contacts"]),
        (&json!("10.50"), &json!([{ "name": "Anna" }]))
    );
    let update = json!({ "dealId": deal["id"], "stageId": front.id("Stage", 8), "amount": null, "contactIds": null });
    let won = front.done("updateDeal", update, fields).await["deal"].clone();
    assert_eq!(
        (
            &won["stage"]["name"],
            &won["amount"],
            &won["contacts"],
            &won["isOpen"]
        ),
        (&json!("Won"), &Value::Null, &json!([]), &json!(false))
    );

    let lead = json!({ "title": "Asks", "name": "Max", "addresses": ["max@example.org"], "source": "Web" });
    let fields = "lead { id title name source addresses { address } version stage { kind } conversion { deal { id } contact { id } by { name } } }";
    let lead = front.done("createLead", lead, fields).await["lead"].clone();
    let update = json!({ "leadId": lead["id"], "title": "Asks again", "openToEveryone": true });
    assert_eq!(
        front.done("updateLead", update, fields).await["lead"]["title"],
        "Asks again"
    );
    let note = json!({ "itemId": lead["id"], "text": "Call back", "idempotencyKey": "n" });
    let entry = "entry { id text item { id } actor { name } at }";
    let first = front.done("addNote", note.clone(), entry).await["entry"].clone();
    assert_eq!(
        (&first["text"], &first["item"]["id"]),
        (&json!("Call back"), &lead["id"])
    );
    assert_eq!(front.done("addNote", note, entry).await["entry"], first);

    let convert = json!({ "leadId": lead["id"], "deal": { "create": { "title": "From Max" } }, "contact": { "existingId": contact["id"] } });
    let fields = format!(
        "{fields} deal {{ id title originLead {{ id }} contacts {{ id }} }} contact {{ id addresses {{ address }} }}"
    );
    let made = front.done("convertLead", convert, &fields).await;
    assert_eq!(
        (&made["deal"]["title"], &made["deal"]["originLead"]["id"]),
        (&json!("From Max"), &lead["id"])
    );
    assert_eq!(made["deal"]["contacts"], json!([{ "id": contact["id"] }]));
    assert_eq!(made["lead"]["conversion"]["deal"]["id"], made["deal"]["id"]);
    assert_eq!(made["contact"]["addresses"].as_array().unwrap().len(), 2);
}
}

on_both_databases! {
async fn mailboxes_emails_and_activities_are_changed_through_the_schema(world) {
    let front = Front::new(world).await;
    let world = &front.world;
    let admin = world.admin.user_id;
    let eve = world.user("Eve Employee", None, None).await;
    let mailbox = world.mailbox(admin);
    let (deal, other) = (
        world.item(ItemKind::Deal, admin).await,
        world.item(ItemKind::Deal, admin).await,
    );
    let contact = world.item(ItemKind::Contact, admin).await;
    let (email, activity) = world.email(mailbox, &[deal]);
    let (box_id, eve_id) = (front.id("Mailbox", mailbox.0), front.id("User", eve.0));

    let settings = json!({ "queueUserIds": [eve_id], "incomingCreates": "DEAL", "saveSince": "2026-01-01T00:00:00+01:00", "source": null });
    let change = json!({ "mailboxId": box_id, "settings": settings });
    let fields = "mailbox { settings { queue { name } incomingCreates saveSince source version } }";
    let found =
        front.done("updateMailboxSettings", change, fields).await["mailbox"]["settings"].clone();
    assert_eq!(
        (&found["queue"], &found["incomingCreates"]),
        (&json!([{ "name": "Eve Employee" }]), &json!("DEAL"))
    );
    assert_eq!(
        (&found["saveSince"], &found["source"]),
        (&json!("2025-12-31T23:00:00Z"), &json!(""))
    );

    let folder: i64 = world
        .rows::<i64>("SELECT id FROM folders WHERE path = 'INBOX'")
        .remove(0);
    let folder = front.id("Folder", folder);
    let change = json!({ "mailboxId": box_id, "spamFolderId": folder, "sync": [{ "folderId": folder, "isSynced": false }] });
    let fields = "mailbox { spamFolder { path isSynced } warnings }";
    let found = front.done("updateMailboxFolders", change, fields).await;
    assert_eq!(
        found["mailbox"],
        json!({ "spamFolder": { "path": "INBOX", "isSynced": false }, "warnings": ["SPAM_FOLDER_IS_INBOX"] })
    );
    let found = front
        .done(
            "updateMailboxFolders",
            json!({ "mailboxId": box_id, "spamFolderId": null }),
            fields,
        )
        .await;
    assert_eq!(
        found["mailbox"],
        json!({ "spamFolder": null, "warnings": [] })
    );

    let shared = json!({ "mailboxId": box_id, "userIds": [eve_id] });
    let access = "mailbox { access { ... on User { name } } connector { name } }";
    let found = front.done("shareMailbox", shared, access).await;
    assert_eq!(found["mailbox"]["access"][1]["name"], "Eve Employee");

    let (email_id, deal_id, other_id) = (
        front.id("Email", email.0),
        front.id("Deal", deal.0),
        front.id("Deal", other.0),
    );
    let fields = "email { links { item { id } isPrimary } } change { id from { id } to { id } }";
    let moved = json!({ "emailId": email_id, "fromItemId": deal_id, "toItemId": other_id, "idempotencyKey": "m" });
    let moved = front.done("relinkEmail", moved, fields).await;
    assert_eq!(
        moved["email"]["links"],
        json!([{ "item": { "id": other_id }, "isPrimary": true }])
    );
    assert_eq!(
        (&moved["change"]["from"]["id"], &moved["change"]["to"]["id"]),
        (&json!(deal_id), &json!(other_id))
    );
    let linked = json!({ "emailId": email_id, "toItemId": front.id("Contact", contact.0) });
    let linked = front.done("linkEmail", linked, fields).await;
    assert_eq!(linked["email"]["links"].as_array().unwrap().len(), 2);
    let unlinked = json!({ "emailId": email_id, "fromItemId": front.id("Contact", contact.0) });
    let unlinked = front.done("unlinkEmail", unlinked, fields).await;
    let undo = json!({ "changeId": unlinked["change"]["id"] });
    let undone = front
        .done("undoRelink", undo, "email { links { item { id } } }")
        .await;
    assert_eq!(undone["email"]["links"].as_array().unwrap().len(), 2);
    let saved = front
        .done(
            "saveEmail",
            json!({ "emailId": email_id }),
            "email { id outcome }",
        )
        .await;
    assert_eq!(
        saved["email"],
        json!({ "id": email_id, "outcome": "SAVED" })
    );

    let id = front.id("Activity", activity.0);
    let fields = "activity { state completedBy { name } deadline items { id } }";
    let deadline = json!({ "activityId": id, "deadline": "2099-01-01T00:00:00Z" });
    let found = front.done("postponeActivity", deadline, fields).await;
    assert_eq!(found["activity"]["deadline"], "2099-01-01T00:00:00Z");
    let found = front
        .done("completeActivity", json!({ "activityId": id }), fields)
        .await;
    assert_eq!(
        (
            &found["activity"]["state"],
            &found["activity"]["completedBy"]["name"]
        ),
        (&json!("COMPLETED"), &json!("Ada Admin"))
    );
    let found = front
        .done("reopenActivity", json!({ "activityId": id }), fields)
        .await;
    assert_eq!(found["activity"]["state"], "SCHEDULED");

    front
        .done(
            "syncMailbox",
            json!({ "mailboxId": box_id }),
            "mailbox { id }",
        )
        .await;
    let stopped = front
        .done(
            "disconnectMailbox",
            json!({ "mailboxId": box_id }),
            "mailbox { sync { stage } }",
        )
        .await;
    assert_eq!(stopped["mailbox"]["sync"]["stage"], "STOPPED");
    let transferred =
        json!({ "mailboxId": box_id, "connectorId": eve_id, "secret": { "password": "hunter2" } });
    let transferred = front.done("transferMailbox", transferred, access).await;
    assert_eq!(transferred["mailbox"]["connector"]["name"], "Eve Employee");

    let server = |more: Value| {
        let mut imap = json!({ "host": "mail.example.org" });
        imap.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "address": "b@example.org", "imap": imap, "secret": { "password": "x" }, "history": { "everything": true } })
    };
    let mut no_history = server(json!({}));
    no_history["history"] = json!({ "everything": false });
    for (what, input, field) in [
        (
            "a port that is none",
            server(json!({ "port": 70000 })),
            json!(["imap", "port"]),
        ),
        (
            "nothing of everything",
            no_history,
            json!(["history", "everything"]),
        ),
    ] {
        let refused = front
            .change(Some(admin), "connectMailbox", input, "mailbox { id }")
            .await;
        assert_eq!(
            (
                &refused["userErrors"][0]["code"],
                &refused["userErrors"][0]["field"]
            ),
            (&json!("BAD_INPUT"), &field),
            "{what}"
        );
    }
}
}

on_both_databases! {
async fn r27_an_id_that_opens_nothing_answers_as_what_is_hidden(world) {
    let front = Front::new(world).await;
    let world = &front.world;
    let eve = world.user("Eve Employee", None, None).await;
    let lead = world.item(ItemKind::Lead, world.admin.user_id).await;
    let mailbox = world.mailbox(world.admin.user_id);
    let (email, activity) = world.email(mailbox, &[lead]);
    let hidden = |type_name, number| front.id(type_name, number);
    // (mutation, how its input names a thing, that thing hidden, of another type, never given out)
    let rows: [(&str, fn(&str) -> Value, String, &str, &str); 9] = [
        (
            "updateLead",
            |id| json!({ "leadId": id }),
            hidden("Lead", lead.0),
            "lead { id }",
            "leadId",
        ),
        (
            "convertLead",
            |id| json!({ "leadId": id }),
            hidden("Lead", lead.0),
            "lead { id }",
            "leadId",
        ),
        (
            "addNote",
            |id| json!({ "itemId": id, "text": "x" }),
            hidden("Lead", lead.0),
            "entry { id }",
            "itemId",
        ),
        (
            "completeActivity",
            |id| json!({ "activityId": id }),
            hidden("Activity", activity.0),
            "activity { id }",
            "activityId",
        ),
        (
            "syncMailbox",
            |id| json!({ "mailboxId": id }),
            hidden("Mailbox", mailbox.0),
            "mailbox { id }",
            "mailboxId",
        ),
        (
            "disconnectMailbox",
            |id| json!({ "mailboxId": id }),
            hidden("Mailbox", mailbox.0),
            "mailbox { id }",
            "mailboxId",
        ),
        (
            "updateMailboxSettings",
            |id| json!({ "mailboxId": id, "settings": {} }),
            hidden("Mailbox", mailbox.0),
            "mailbox { id }",
            "mailboxId",
        ),
        (
            "saveEmail",
            |id| json!({ "emailId": id }),
            hidden("Email", email.0),
            "email { id }",
            "emailId",
        ),
        (
            "relinkEmail",
            |id| json!({ "emailId": id, "fromItemId": "x", "toItemId": "y" }),
            hidden("Email", email.0),
            "email { id }",
            "emailId",
        ),
    ];
    for (name, input, hidden, fields, field) in rows {
        let mut answers = Vec::new();
        for id in [hidden.as_str(), &front.id("User", eve.0), "nonsense", ""] {
            answers.push(front.change(Some(eve), name, input(id), fields).await);
        }
        let error = &answers[0]["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("NOT_FOUND"), &json!([field])),
            "{name}"
        );
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{name}: {answers:?}"
        );
        let nobody = front.answer(None, name, input(&hidden), fields).await;
        assert_eq!(
            nobody["errors"][0]["extensions"]["code"], "UNAUTHENTICATED",
            "{name}: {nobody}"
        );
    }
}
}

on_both_databases! {
async fn the_answer_of_a_key_is_resolved_anew_under_the_rights_of_now(world) {
    let front = Front::new(world).await;
    let (world, admin) = (&front.world, Some(front.world.admin.user_id));
    let eve = world.user("Eve Employee", None, None).await;
    let lead = json!({ "title": "Asks", "idempotencyKey": "k" });
    let made = front
        .change(Some(eve), "createLead", lead.clone(), "lead { id title }")
        .await;
    let given = json!({ "leadId": made["lead"]["id"], "title": "Asked", "responsibleId": front.id("User", world.admin.user_id.0) });
    front
        .change(admin, "updateLead", given, "lead { id }")
        .await;
    let again = front
        .change(Some(eve), "createLead", lead, "lead { id title }")
        .await;
    assert_eq!(
        again,
        json!({ "lead": null, "userErrors": [] }),
        "done, and no longer hers to see"
    );
}
}
