//! Rights, removals, passwords and exports through the front door: what clients, browsers and live streams see.

use crate::on_both;
use crate::support::app::{TestApp, text};
use mailroom::actions::import_mail::{ImportFolder, import_now, mailbox_for_files};
use mailroom::clock;
use mailroom::mail::mbox::StoredMail;
use mailroom::model::UserId;
use mailroom::store::sql::sql;
use mailroom::store::{AnyConn, Store, StoreError};
use serde_json::{Value, json};

const TIMELINE: &str = "subscription ($item: ID) { timeline(itemId: $item) { __typename
  ... on EntryAdded { entry { __typename item { id } ... on NoteAdded { text } } } ... on EntryRemoved { entryId } ... on ItemRemoved { itemId }
  ... on CaughtUp { cursor } ... on Gap { cursor } } }";

async fn item(app: &TestApp, verb: &str, input: Value) -> String {
    let noun = verb.trim_start_matches("create").to_lowercase();
    let payload = app
        .make(&app.admin, verb, input, &format!("{noun} {{ id }}"))
        .await;
    text(&payload[&noun]["id"])
}

async fn note(app: &TestApp, item: &str, words: &str) {
    let input = json!({ "itemId": item, "text": words });
    app.make(&app.admin, "addNote", input, "entry { id }").await;
}

on_both! {
    async fn r29_r45_streams_are_told_of_deleted_and_merged_items(app) {
        let deal = item(&app, "createDeal", json!({ "title": "Gone" })).await;
        let (into, from) = (
            item(&app, "createContact", json!({ "name": "Cleo" })).await,
            item(&app, "createContact", json!({ "name": "C. Client" })).await,
        );
        note(&app, &from, "told to the other").await;
        let mut of_deal = app.subscribe(&app.admin, TIMELINE, json!({ "item": deal })).await;
        let mut of_into = app.subscribe(&app.admin, TIMELINE, json!({ "item": into })).await;
        let mut of_all = app.subscribe(&app.admin, TIMELINE, json!({})).await;
        for events in [&mut of_deal, &mut of_into, &mut of_all] {
            assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        }
        let gone = app.make(&app.admin, "deleteDeal", json!({ "dealId": deal, "expectedVersion": 1 }), "deletedDealId").await;
        assert_eq!(gone["deletedDealId"], deal.as_str());
        let removed = json!({ "timeline": { "__typename": "ItemRemoved", "itemId": deal } });
        assert_eq!(of_deal.next().await, removed);
        assert_eq!(of_deal.message().await["type"], "complete");
        assert_eq!(of_all.next().await, removed);
        let data = app.data(&app.admin, "query ($id: ID!) { node(id: $id) { id } deal(id: $id) { id } }", json!({ "id": deal })).await;
        assert_eq!(data, json!({ "node": null, "deal": null }));

        let input = json!({ "contactId": into, "mergeContactIds": [from], "expectedVersion": 1 });
        app.make(&app.admin, "mergeContacts", input, "contact { id version }").await;
        assert_eq!(of_into.next().await["timeline"]["__typename"], "Gap");
        // Entries of the past have moved: the list is to be read again, and then lacks the one that is gone.
        assert_eq!(of_all.next().await["timeline"]["__typename"], "Gap");
        let query = "query ($id: ID!) { contact(id: $id) { timeline { nodes { __typename item { id } ... on NoteAdded { text } } } } }";
        let data = app.data(&app.admin, query, json!({ "id": into })).await;
        let nodes = data["contact"]["timeline"]["nodes"].as_array().unwrap();
        assert!(nodes.iter().any(|node| node["text"] == "told to the other"), "{data:#}");
        assert!(nodes.iter().all(|node| node["item"]["id"] == into.as_str()), "{data:#}");
        // The stream goes on behind the gap.
        note(&app, &into, "what comes then").await;
        assert_eq!(of_into.next().await["timeline"]["entry"]["text"], "what comes then");
    }

    async fn r29_a_contact_with_more_mail_than_is_told_singly_is_told_by_a_gap(app) {
        let (into, from) = (
            item(&app, "createContact", json!({ "name": "Cleo" })).await,
            item(&app, "createContact", json!({ "name": "C. Client" })).await,
        );
        let deal = item(&app, "createDeal", json!({ "title": "Beside" })).await;
        let email = imported(&app, "cleo@client.example").await;
        app.make(&app.admin, "saveEmail", json!({ "emailId": email, "target": { "itemId": from } }), "email { id }").await;
        let codec = app.app().store.codec().clone();
        let (_kind, from_number) = codec.open_id(&from).unwrap();
        let (_kind, email_number) = codec.open_id(&email).unwrap();
        let store = app.app().store.clone();
        let many = tokio::task::spawn_blocking(move || {
            store.write_now(clock::now(), |tx| {
                for number in 1..=200_i64 {
                    let copy = email_number + 1_000_000 + number;
                    let raw = format!("'{number:064}'");
                    let raw = if matches!(tx.conn, AnyConn::Sqlite(_)) { format!("CAST({raw} AS BLOB)") } else { format!("{raw}::bytea") };
                    sql(format!("INSERT INTO messages (id, content_key, message_id_header, subject_base, thread_id, received_at) SELECT {copy}, {raw}, NULL, subject_base, thread_id, received_at FROM messages WHERE id = (SELECT message_id FROM emails WHERE id = {email_number})")).run(tx.conn)?;
                    sql(format!("INSERT INTO emails (id, message_id, mailbox_id, raw_hash, direction, outcome, subject, preview, received_at, internal_date, saved_at, primary_item_id, problems, version) SELECT {copy}, {copy}, mailbox_id, raw_hash, direction, outcome, subject, preview, received_at, internal_date, saved_at, primary_item_id, problems, 1 FROM emails WHERE id = {email_number}")).run(tx.conn)?;
                    sql(format!("INSERT INTO email_links (email_id, item_id, is_primary, received_at, linked_at) VALUES ({copy}, {from_number}, TRUE, 5, 5)")).run(tx.conn)?;
                }
                Ok::<_, StoreError>(())
            })
        });
        many.await.unwrap().unwrap();
        let mut events = app.subscribe(&app.admin, TIMELINE, json!({ "item": deal })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        app.make(&app.admin, "mergeContacts", json!({ "contactId": into, "mergeContactIds": [from] }), "contact { id }").await;
        assert_eq!(events.next().await["timeline"]["__typename"], "Gap");
        let data = app.data(&app.admin, "query ($id: ID!) { contact(id: $id) { emails { totalCount { value } } } }", json!({ "id": into })).await;
        assert_eq!(data["contact"]["emails"]["totalCount"]["value"], 201);
        app.make(&app.admin, "deleteContact", json!({ "contactId": into }), "deletedContactId").await;
        assert_eq!(events.next().await["timeline"]["__typename"], "Gap");
        let data = app.data(&app.admin, "{ emails(filter: { outcomes: [REMOVED] }) { totalCount { value } } }", json!({})).await;
        assert_eq!(data["emails"]["totalCount"]["value"], 201);
    }

    async fn r29_a_department_that_moves_changes_running_streams(app) {
        let made = |name: &str, parent: Value| json!({ "name": name, "parentId": parent });
        let top = app.make(&app.admin, "createDepartment", made("Top", Value::Null), "department { id }").await;
        let north = app.make(&app.admin, "createDepartment", made("North", Value::Null), "department { id }").await;
        let (top, north) = (text(&top["department"]["id"]), text(&north["department"]["id"]));
        let boss = app.user("Bob Boss", "bob@ours.example", false).await;
        let seller = app.user("Sam Seller", "sam@ours.example", false).await;
        let (boss_id, seller_id) = (app.viewer_id(&boss).await, app.viewer_id(&seller).await);
        let role = json!({ "name": "Below", "permissions": [{ "item": "DEAL", "action": "READ", "level": "DEPARTMENT_AND_BELOW" }] });
        let role = app.make(&app.admin, "createRole", role, "role { id }").await;
        app.make(&app.admin, "assignRoles", json!({ "holder": { "departmentId": top }, "roleIds": [role["role"]["id"]] }), "roles { id }").await;
        for (user, department) in [(&boss_id, &top), (&seller_id, &north)] {
            app.make(&app.admin, "updateUser", json!({ "userId": user, "departmentId": department }), "user { id }").await;
        }
        let deal = item(&app, "createDeal", json!({ "title": "North's", "responsibleId": seller_id })).await;
        let mut events = app.subscribe(&boss, TIMELINE, json!({})).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let query = "query ($id: ID!) { deal(id: $id) { title } }";
        assert_eq!(app.data(&boss, query, json!({ "id": deal })).await["deal"], Value::Null);
        let moved = app.make(&app.admin, "updateDepartment", json!({ "departmentId": north, "parentId": top }), "department { parent { name } version }").await;
        assert_eq!(moved["department"], json!({ "parent": { "name": "Top" }, "version": 2 }));
        assert_eq!(events.next().await["timeline"]["__typename"], "Gap");
        assert_eq!(app.data(&boss, query, json!({ "id": deal })).await["deal"]["title"], "North's");
        let mut events = app.subscribe(&boss, TIMELINE, json!({ "item": deal })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        app.make(&app.admin, "updateDepartment", json!({ "departmentId": north, "parentId": null }), "department { id }").await;
        assert_eq!(events.next().await["timeline"], json!({ "__typename": "ItemRemoved", "itemId": deal }));
    }

    async fn r29_a_deleted_stage_is_told_to_streams(app) {
        let deal = item(&app, "createDeal", json!({ "title": "Moves" })).await;
        let stage = app.make(&app.admin, "createStage", json!({ "item": "DEAL", "name": "Trial", "kind": "OPEN" }), "stage { id position kind version }").await["stage"].clone();
        assert_eq!((&stage["position"], &stage["kind"]), (&json!(4), &json!("OPEN")));
        app.make(&app.admin, "updateDeal", json!({ "dealId": deal, "stageId": stage["id"] }), "deal { id }").await;
        let stages = app.data(&app.admin, "{ dealStages { id name } }", json!({})).await;
        let lost = stages["dealStages"].as_array().unwrap().iter().find(|stage| stage["name"] == "Lost").unwrap()["id"].clone();
        let mut events = app.subscribe(&app.admin, TIMELINE, json!({ "item": deal })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        app.make(&app.admin, "deleteStage", json!({ "stageId": stage["id"], "moveItemsToStageId": lost }), "deletedStageId").await;
        assert_eq!(events.next().await["timeline"]["entry"]["__typename"], "StageChanged");
        // To whoever sees it before and after, the entry is all.
        note(&app, &deal, "next").await;
        assert_eq!(events.next().await["timeline"]["entry"]["text"], "next");
        let query = "query ($id: ID!) { deal(id: $id) { isOpen stage { name } timeline(kinds: [STAGE_CHANGED], last: 1) { nodes { ... on StageChanged { from { name } to { name } } } } } dealStages { name } }";
        let data = app.data(&app.admin, query, json!({ "id": deal })).await;
        assert_eq!(data["deal"]["timeline"]["nodes"][0], json!({ "from": { "name": "Trial" }, "to": { "name": "Lost" } }));
        assert_eq!((&data["deal"]["isOpen"], &data["deal"]["stage"]["name"]), (&json!(false), &json!("Lost")));
        assert!(!data["dealStages"].to_string().contains("Trial"));
    }

    async fn r29_a_deleted_stage_takes_items_off_the_screens_of_those_who_saw_them_by_it(app) {
        let stage = app.make(&app.admin, "createStage", json!({ "item": "DEAL", "name": "Open house", "kind": "OPEN" }), "stage { id }").await["stage"]["id"].clone();
        let role = json!({ "name": "House", "permissions": [{ "item": "DEAL", "action": "READ", "level": "ALL", "stageId": stage }] });
        let role = app.make(&app.admin, "createRole", role, "role { id }").await["role"]["id"].clone();
        let eve = app.user("Eve", "eve@ours.example", false).await;
        let eve_id = app.viewer_id(&eve).await;
        app.make(&app.admin, "assignRoles", json!({ "holder": { "userId": eve_id }, "roleIds": [role] }), "roles { id }").await;
        let deal = item(&app, "createDeal", json!({ "title": "Seen by its stage", "stageId": stage })).await;
        let mut of_deal = app.subscribe(&eve, TIMELINE, json!({ "item": deal })).await;
        assert_eq!(of_deal.next().await["timeline"]["__typename"], "CaughtUp");
        let to = first_stage(&app).await;
        app.make(&app.admin, "deleteStage", json!({ "stageId": stage, "moveItemsToStageId": to }), "deletedStageId").await;
        assert_eq!(of_deal.next().await["timeline"], json!({ "__typename": "ItemRemoved", "itemId": deal }));
        let data = app.data(&eve, "{ deals { nodes { id } totalCount { value } } }", json!({})).await;
        assert_eq!(data["deals"], json!({ "nodes": [], "totalCount": { "value": 0 } }));
    }

    async fn r29_r46_a_removed_email_goes_from_the_screen_and_comes_back(app) {
        let lead = item(&app, "createLead", json!({ "title": "Elsewhere" })).await;
        let email = imported(&app, "cleo@client.example").await;
        app.make(&app.admin, "saveEmail", json!({ "emailId": email, "target": { "itemId": lead } }), "email { outcome }").await;
        let query = "query ($id: ID!) { lead(id: $id) { timeline(last: 1) { nodes { id __typename } } emails { nodes { version } } } }";
        let data = app.data(&app.admin, query, json!({ "id": lead })).await;
        let (entry, version) = (&data["lead"]["timeline"]["nodes"][0], &data["lead"]["emails"]["nodes"][0]["version"]);
        assert_eq!(entry["__typename"], "EmailReceived");
        let mut events = app.subscribe(&app.admin, TIMELINE, json!({ "item": lead })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let removed = app.make(&app.admin, "removeEmail", json!({ "emailId": email, "expectedVersion": version }), "email { outcome savedAt links { item { id } } linkHistory { from { id } to { id } } }").await;
        assert_eq!((&removed["email"]["outcome"], &removed["email"]["savedAt"], &removed["email"]["links"]), (&json!("REMOVED"), &Value::Null, &json!([])));
        assert_eq!(removed["email"]["linkHistory"][1], json!({ "from": { "id": lead }, "to": null }));
        assert_eq!(events.next().await["timeline"]["entry"]["__typename"], "EmailUnlinked");
        assert_eq!(events.next().await["timeline"], json!({ "__typename": "EntryRemoved", "entryId": entry["id"] }));
        let counters = app.data(&app.admin, "{ counters { incoming overdue } }", json!({})).await;
        assert_eq!(counters["counters"], json!({ "incoming": 0, "overdue": 0 }));

        app.make(&app.admin, "saveEmail", json!({ "emailId": email, "target": { "itemId": lead } }), "email { outcome }").await;
        assert_eq!(events.next().await["timeline"]["entry"]["__typename"], "EmailLinked");
        assert_eq!(events.next().await["timeline"]["entry"]["__typename"], "EmailReceived");
        let counters = app.data(&app.admin, "{ counters { incoming overdue } }", json!({})).await;
        assert_eq!(counters["counters"], json!({ "incoming": 1, "overdue": 0 }));
    }

    async fn r45_a_password_is_set_on_the_page_behind_the_link(app) {
        let eve = app.user("Eve", "eve@ours.example", false).await;
        let id = app.viewer_id(&eve).await;
        let made = app.make(&app.admin, "createPasswordReset", json!({ "userId": id }), "url expiresAt").await;
        let url = text(&made["url"]);
        let (page, token) = url.split_once("#token=").unwrap();
        assert_eq!(page, format!("{}/reset-password", app.url));
        let http = reqwest::Client::new();
        let shown = http.get(page).send().await.unwrap();
        assert_eq!(shown.status(), 200);
        assert_eq!(shown.headers()["referrer-policy"], "no-referrer");
        let policy = shown.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(shown.text().await.unwrap().contains("/reset-password.js"));
        let script = http.get(format!("{page}.js")).send().await.unwrap();
        assert!(script.headers()["content-type"].to_str().unwrap().starts_with("text/javascript"));
        let set = |token: &str, password: &str| http.post(page).json(&json!({ "token": token, "password": password })).send();
        let wrong = set("not-a-token-at-all", "battery staple").await.unwrap();
        assert_eq!(wrong.status(), 422);
        let good = set(token, "battery staple").await.unwrap();
        assert_eq!((good.status().as_u16(), good.json::<Value>().await.unwrap()), (200, json!({ "done": true })));
        let used = set(token, "battery staple").await.unwrap();
        assert_eq!((used.status().as_u16(), used.text().await.unwrap()), (422, wrong.text().await.unwrap()));
        let log_in = |password: &str| json!({ "address": "eve@ours.example", "password": password });
        let session = app.make("", "logIn", log_in("battery staple"), "accessToken").await;
        // Her token of before is over; a change ends the new one too.
        let answer = app.ask(&eve, "{ viewer { id } }", json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer:#}");
        let token = text(&session["accessToken"]);
        let wrong = app.mutate(&token, "changePassword", json!({ "current": "correct horse", "new": "battery horse" }), "").await;
        assert_eq!(wrong["userErrors"][0]["code"], "FORBIDDEN");
        app.make(&token, "changePassword", json!({ "current": "battery staple", "new": "battery horse" }), "").await;
        let answer = app.ask(&token, "{ viewer { id } }", json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{answer:#}");
        app.make("", "logIn", log_in("battery horse"), "accessToken").await;
        // The mutation takes the link as well as the page does, for nobody who is signed in.
        let made = app.make(&app.admin, "createPasswordReset", json!({ "userId": id }), "url").await;
        let token = text(&made["url"]).split_once("#token=").unwrap().1.to_owned();
        app.make("", "resetPassword", json!({ "token": token, "password": "battery staple" }), "").await;
        let over = app.mutate("", "resetPassword", json!({ "token": token, "password": "battery staple" }), "").await;
        assert_eq!(over["userErrors"][0]["code"], "FORBIDDEN");
    }

    async fn r23_an_export_is_a_file_by_a_signed_address(app) {
        item(&app, "createLead", json!({ "title": "@SUM(1)", "addresses": ["cleo@client.example"] })).await;
        item(&app, "createLead", json!({ "title": "Other" })).await;
        let input = json!({ "items": { "leads": { "address": "Cleo@client.example" } }, "idempotencyKey": "k" });
        let made = app.make(&app.admin, "exportItems", input.clone(), "url expiresAt").await;
        let file = reqwest::get(text(&made["url"])).await.unwrap();
        assert_eq!(file.status(), 200);
        assert_eq!(file.headers()["content-type"], "text/csv; charset=utf-8");
        assert_eq!(file.headers()["content-disposition"].to_str().unwrap().split(';').next(), Some("attachment"));
        assert_eq!(file.headers()["x-content-type-options"], "nosniff");
        assert_eq!(file.headers()["cache-control"], "private, no-store");
        let body = file.text().await.unwrap();
        assert_eq!(body.matches("\r\n").count(), 2, "{body}");
        assert!(body.contains("\"'@SUM(1)\"") && body.contains("cleo@client.example"), "{body}");
        let again = app.make(&app.admin, "exportItems", input, "url").await;
        assert_eq!(reqwest::get(text(&again["url"])).await.unwrap().status(), 200);
        let mut forged = text(&made["url"]);
        forged.pop();
        assert_eq!(reqwest::get(forged).await.unwrap().status(), 404);
        let eve = app.user("Eve", "eve@ours.example", false).await;
        let refused = app.mutate(&eve, "exportItems", json!({ "items": { "leads": {} } }), "url").await;
        assert_eq!((&refused["url"], &refused["userErrors"][0]["code"]), (&Value::Null, &json!("FORBIDDEN")));
        let log = app.data(&app.admin, "{ auditLog(filter: { action: \"downloadExport\" }) { totalCount { value } nodes { actor { name } target targetId detail } } }", json!({})).await;
        assert_eq!(log["auditLog"]["totalCount"]["value"], 2);
        assert_eq!(log["auditLog"]["nodes"][0], json!({ "actor": { "name": "Ada Admin" }, "target": "items", "targetId": null, "detail": "{\"item\":\"LEAD\"}" }));
    }

    async fn r28_explanations_counters_and_the_log_are_for_those_who_may(app) {
        let eve = app.user("Eve", "eve@ours.example", false).await;
        let eve_id = app.viewer_id(&eve).await;
        let deal = item(&app, "createDeal", json!({ "title": "Ada's" })).await;
        let query = "query ($user: ID!, $item: ID, $email: ID) { explainAccess(userId: $user, itemId: $item, emailId: $email) { isVisible summary user { name }
          decisions { action allowed level ground words role { name } stage { name } item { id } } mailbox { allowed } } }";
        let found = app.data(&app.admin, query, json!({ "user": eve_id, "item": deal })).await["explainAccess"].clone();
        assert_eq!((&found["isVisible"], &found["user"]["name"], &found["mailbox"]), (&json!(false), &json!("Eve"), &Value::Null));
        let read = &found["decisions"][0];
        assert_eq!(
            (&read["action"], &read["allowed"], &read["level"], &read["ground"], &read["role"]["name"], &read["stage"], &read["item"]["id"]),
            (&json!("READ"), &json!(false), &json!("OWN"), &Value::Null, &json!("Employee"), &Value::Null, &json!(deal)),
        );
        assert_eq!(found["decisions"].as_array().unwrap().len(), 4);
        let code = |answer: &Value| answer["errors"][0]["extensions"]["code"].clone();
        for (token, variables, expected) in [
            (&eve, json!({ "user": eve_id, "item": deal }), "FORBIDDEN"),
            (&eve, json!({ "user": eve_id, "item": "nothing" }), "FORBIDDEN"),
            (&app.admin, json!({ "user": eve_id }), "BAD_USER_INPUT"),
            (&app.admin, json!({ "user": eve_id, "item": deal, "email": deal }), "BAD_USER_INPUT"),
            (&app.admin, json!({ "user": eve_id, "item": "nothing" }), "NOT_FOUND"),
            (&app.admin, json!({ "user": deal, "item": deal }), "NOT_FOUND"),
        ] {
            let answer = app.ask(token, query, variables.clone()).await;
            assert_eq!(code(&answer), expected, "{variables}: {answer:#}");
        }
        for list in ["auditLog", "emailsHiddenFromResponsible"] {
            let query = format!("{{ {list} {{ nodes {{ id }} totalCount {{ value }} }} }}");
            assert_eq!(code(&app.ask(&eve, &query, json!({})).await), "FORBIDDEN");
            app.data(&app.admin, &query, json!({})).await;
        }
        let counters = app.data(&eve, "{ counters { incoming overdue } }", json!({})).await;
        assert_eq!(counters["counters"], json!({ "incoming": 0, "overdue": 0 }));

        // The log tells of things by their ids alone, and each line can be found by its own.
        let role = app.make(&app.admin, "createRole", json!({ "name": "R", "permissions": [{ "item": "DEAL", "action": "READ", "level": "ALL", "stageId": first_stage(&app).await }] }), "role { id }").await["role"]["id"].clone();
        app.make(&app.admin, "assignRoles", json!({ "holder": { "userId": eve_id }, "roleIds": [role] }), "roles { id }").await;
        let query = "query ($target: ID, $actor: ID) { auditLog(filter: { target: $target, actorId: $actor }, first: 2) { nodes { id action target targetId detail } } }";
        let log = app.data(&app.admin, query, json!({ "target": role })).await["auditLog"]["nodes"].clone();
        assert_eq!((&log[0]["action"], &log[0]["target"], &log[0]["targetId"]), (&json!("createRole"), &json!("role"), &role));
        assert!(log[0]["detail"].as_str().unwrap().contains("\"stageId\":\"Stage_"), "{log:#}");
        let log = app.data(&app.admin, query, json!({ "target": eve_id })).await["auditLog"]["nodes"].clone();
        assert_eq!(log[0]["action"], "assignRoles");
        assert!(log[0]["detail"].as_str().unwrap().contains(role.as_str().unwrap()), "{log:#}");
        assert_eq!(app.data(&app.admin, query, json!({ "actor": eve_id })).await["auditLog"]["nodes"], json!([]));
        let node = "query ($id: ID!) { node(id: $id) { ... on AuditEntry { action } } }";
        let id = &log[0]["id"];
        assert_eq!(app.data(&app.admin, node, json!({ "id": id })).await["node"]["action"], "assignRoles");
        assert_eq!(app.data(&eve, node, json!({ "id": id })).await["node"], Value::Null);
    }
}

/// An email from a client in a mailbox of the administrator's whose CRM integration is off; its id.
async fn imported(app: &TestApp, from: &str) -> String {
    let admin = app.viewer_id(&app.admin).await;
    let codec = app.app().store.codec().clone();
    let connector = UserId(codec.open_id_of("User", &admin).unwrap());
    let raw = crate::spine::mail(
        from,
        "files@ours.example",
        "A question",
        "one@client.example",
    );
    let mail = StoredMail {
        raw: raw.into_bytes(),
        date: None,
        is_seen: None,
    };
    let (store, raws) = (app.app().store.clone(), app.app().raw.clone());
    let (mailbox, id) = tokio::task::spawn_blocking(move || {
        let now = clock::now();
        let mailbox =
            mailbox_for_files(&store, "files@ours.example", Some(connector), now).unwrap();
        (mailbox, codec.seal_id("Mailbox", mailbox.0))
    })
    .await
    .unwrap();
    let off = json!({ "mailboxId": id, "settings": { "crmIntegration": false } });
    app.make(&app.admin, "updateMailboxSettings", off, "mailbox { id }")
        .await;
    let store = app.app().store.clone();
    tokio::task::spawn_blocking(move || {
        let folder = ImportFolder::named("INBOX");
        let mut mails = vec![mail].into_iter();
        import_now(&store, &raws, (mailbox, &folder), &mut mails, clock::now()).unwrap();
    })
    .await
    .unwrap();
    let data = app
        .data(&app.admin, "{ emails { nodes { id outcome } } }", json!({}))
        .await;
    assert_eq!(data["emails"]["nodes"][0]["outcome"], "INTEGRATION_OFF");
    text(&data["emails"]["nodes"][0]["id"])
}

/// What the program says to these arguments, and its exit code.
fn program(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_mailroom"))
        .arg("--data-dir")
        .arg(folder)
        .args(arguments)
        .env_remove("DATABASE_URL")
        .output()
        .unwrap();
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

#[test]
fn the_audit_log_is_verified_by_command() {
    let folder = tempfile::tempdir().unwrap();
    let user = [
        "user",
        "create",
        "--name",
        "Ada",
        "--address",
        "ada@ours.example",
    ];
    assert_eq!(program(folder.path(), &user).0, Some(0));
    let (code, said) = program(folder.path(), &["audit", "verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("1 lines, none changed. Last hash: "),
        "{said}"
    );
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|it| it == "sqlite" || it == "db")
        })
        .collect();
    let store = Store::open(&format!("sqlite:{}", files[0].display()), clock::now()).unwrap();
    let changed: Result<(), StoreError> = store.write_now(clock::now(), |tx| {
        sql("DROP TRIGGER audit_log_is_not_updated").run(tx.conn)?;
        sql("UPDATE audit_log SET actor_id = 7").run(tx.conn)?;
        Ok(())
    });
    changed.unwrap();
    drop(store);
    let (code, said) = program(folder.path(), &["audit", "verify"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("Line 1 does not fit"), "{said}");
}

async fn first_stage(app: &TestApp) -> Value {
    let stages = app
        .data(&app.admin, "{ dealStages { id } }", json!({}))
        .await;
    stages["dealStages"][0]["id"].clone()
}
