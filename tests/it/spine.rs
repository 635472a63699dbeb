//! Mail delivered to a real IMAP server appears live on a deal's timeline: the way through the whole house.

use crate::on_both;
use crate::support::app::{Events, PATIENCE, TestApp, text};
use crate::support::dovecot::Dovecot;
use crate::support::redis::Redis;
use mailroom::clock;
use mailroom::store::leases;
use serde_json::{Value, json};

const TIMELINE: &str = "subscription ($item: ID, $after: Cursor) { timeline(itemId: $item, after: $after) { __typename
  ... on EntryAdded { cursor entry { __typename id actor { name } item { id } ... on EmailReceived { email { subject messageId } }
    ... on EmailLinked { email { subject } } ... on NoteAdded { text } } }
  ... on EntryRemoved { entryId } ... on ItemRemoved { itemId } ... on CaughtUp { cursor } ... on Gap { cursor } } }";

/// A mail as a client's program writes it.
pub fn mail(from: &str, to: &str, subject: &str, id: &str) -> String {
    format!(
        "Received: from client.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000\r\nFrom: {from}\r\nTo: {to}\r\n\
         Subject: {subject}\r\nMessage-ID: <{id}>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nHello,\r\nthis is about {subject}.\r\n"
    )
}

/// Connects a Dovecot user's mailbox as the token's holder; its id.
pub async fn connect(app: &TestApp, dovecot: &Dovecot, token: &str, address: &str) -> String {
    connect_with(app, dovecot, token, address, json!({})).await
}

async fn connect_with(
    app: &TestApp,
    dovecot: &Dovecot,
    token: &str,
    address: &str,
    settings: Value,
) -> String {
    let input = json!({
        "address": address,
        "imap": { "host": "127.0.0.1", "port": dovecot.imap_port(), "security": "PLAIN" },
        "secret": { "password": dovecot.password() },
        "settings": settings,
        "history": { "everything": true },
    });
    let payload = app
        .make(token, "connectMailbox", input, "mailbox { id }")
        .await;
    let id = text(&payload["mailbox"]["id"]);
    let state = "query ($id: ID!) { mailbox(id: $id) { sync { stage lastError { message } } } }";
    app.until(token, (state, json!({ "id": id })), |data| {
        data["mailbox"]["sync"]["stage"] == "WATCHING"
    })
    .await;
    id
}

async fn contact(app: &TestApp, token: &str, name: &str, address: &str) -> String {
    let input = json!({ "name": name, "addresses": [address] });
    let payload = app
        .make(token, "createContact", input, "contact { id }")
        .await;
    text(&payload["contact"]["id"])
}

async fn deal(app: &TestApp, token: &str, title: &str, contact: &str) -> String {
    let input = json!({ "title": title, "contactIds": [contact] });
    let payload = app.make(token, "createDeal", input, "deal { id }").await;
    text(&payload["deal"]["id"])
}

/// The mailbox's emails with their outcomes, once there are so many.
async fn emails(app: &TestApp, token: &str, mailbox: &str, count: usize) -> Vec<Value> {
    let query = "query ($id: ID!) { mailbox(id: $id) { emails(first: 100) { nodes { id subject outcome direction messageId
      from { address } links { isPrimary item { __typename id title responsible { name } } canMove { allowed reason } }
      canRelink { allowed reason } activity { state responsible { name } } routingTrace { reason steps { rule decided } } } } } }";
    let variables = json!({ "id": mailbox });
    let data = app
        .until(token, (query, variables), |data| {
            data["mailbox"]["emails"]["nodes"].as_array().unwrap().len() >= count
        })
        .await;
    data["mailbox"]["emails"]["nodes"]
        .as_array()
        .unwrap()
        .clone()
}

fn by_subject<'e>(emails: &'e [Value], subject: &str) -> &'e Value {
    emails
        .iter()
        .find(|email| email["subject"] == subject)
        .unwrap_or_else(|| panic!("no {subject:?} among {emails:#?}"))
}

on_both! {
    async fn r38_delivered_mail_appears_live_on_the_deals_timeline_dovecot(app) {
        let dovecot = Dovecot::start(&["sales@ours.example"]).unwrap();
        let contact = contact(&app, &app.admin, "Cleo Client", "cleo@client.example").await;
        let deal = deal(&app, &app.admin, "Ten machines", &contact).await;
        connect(&app, &dovecot, &app.admin, "sales@ours.example").await;
        let mut events = app.subscribe(&app.admin, TIMELINE, json!({ "item": deal })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");

        let raw = mail("Cleo Client <cleo@client.example>", "sales@ours.example", "A question", "one@client.example");
        let delivered = std::time::Instant::now();
        dovecot.deliver(raw.as_bytes(), "cleo@client.example", "sales@ours.example").unwrap();
        let event = events.next().await;
        println!("delivery to event: {:?}", delivered.elapsed());
        let entry = &event["timeline"]["entry"];
        assert_eq!(entry["__typename"], "EmailReceived", "{event:#}");
        assert_eq!(entry["email"]["subject"], "A question");
        assert_eq!(entry["email"]["messageId"], "one@client.example");
        // R30: the actor is the mailbox's connector.
        assert_eq!(entry["actor"]["name"], "Ada Admin");

        // R16, R30, R31: on the deal and the contact, one open activity of the deal's responsible.
        let query = "query ($id: ID!) { deal(id: $id) { emails { nodes { outcome savedAt links { isPrimary item { id } } activity { state deadline responsible { name } } } } } }";
        let data = app.data(&app.admin, query, json!({ "id": deal })).await;
        let email = &data["deal"]["emails"]["nodes"][0];
        assert_eq!(email["outcome"], "SAVED");
        assert_eq!(email["links"].as_array().unwrap().len(), 2, "{email:#}");
        assert_eq!(email["links"][0]["item"]["id"], deal.as_str());
        assert_eq!(email["activity"]["state"], "SCHEDULED");
        assert!(email["activity"]["deadline"].is_string());
    }

    async fn r13_r14_unknown_clients_make_leads_in_turn_dovecot(app) {
        let dovecot = Dovecot::start(&["info@ours.example"]).unwrap();
        let first = app.user("Uma", "uma@ours.example", false).await;
        let second = app.user("Vic", "vic@ours.example", false).await;
        let queue = [app.viewer_id(&first).await, app.viewer_id(&second).await];
        let mailbox = connect_with(&app, &dovecot, &app.admin, "info@ours.example", json!({ "queueUserIds": queue, "source": "Web" })).await;
        for number in 1..=4 {
            let from = format!("c{number}@client.example");
            let raw = mail(&from, "info@ours.example", &format!("Request {number}"), &format!("{number}@client.example"));
            dovecot.deliver(raw.as_bytes(), &from, "info@ours.example").unwrap();
            // Dovecot may number mails that it notices together the other way round.
            emails(&app, &app.admin, &mailbox, number).await;
        }
        let emails = emails(&app, &app.admin, &mailbox, 4).await;
        for (number, responsible) in [(1, "Uma"), (2, "Vic"), (3, "Uma"), (4, "Vic")] {
            let email = by_subject(&emails, &format!("Request {number}"));
            let item = &email["links"][0]["item"];
            assert_eq!(item["__typename"], "Lead", "{email:#}");
            assert_eq!(item["title"], format!("Request {number}"));
            assert_eq!(item["responsible"]["name"], responsible);
            assert_eq!(email["activity"]["responsible"]["name"], responsible);
        }
        let data = app.data(&app.admin, "{ leads { totalCount { value } nodes { source addresses { address } } } }", json!({})).await;
        assert_eq!(data["leads"]["totalCount"]["value"], 4);
        assert_eq!(data["leads"]["nodes"][0]["source"], "Web");
    }

    /// Else the next to start would have to wait until its leases are over.
    async fn who_stops_gives_its_mailboxes_back_dovecot(app) {
        let dovecot = Dovecot::start(&["info@ours.example"]).unwrap();
        connect(&app, &dovecot, &app.admin, "info@ours.example").await;
        let store = app.app().store.clone();
        let held = || {
            let leases = store.read_now(|conn| leases::list(conn, clock::now())).unwrap();
            leases.iter().filter(|(name, _holder)| name.starts_with("mailbox:")).count()
        };
        assert_eq!(held(), 1);
        app.stop().await;
        assert_eq!(held(), 0);
    }

    async fn r12_r18_r3_internal_automatic_and_spam_mail_makes_nothing_dovecot(app) {
        let dovecot = Dovecot::start(&["info@ours.example"]).unwrap();
        let mailbox = connect(&app, &dovecot, &app.admin, "info@ours.example").await;
        let to = "info@ours.example";
        let internal = mail("Ada <ada@ours.example>", to, "Lunch", "i@ours.example");
        dovecot.deliver(internal.as_bytes(), "ada@ours.example", to).unwrap();
        let list = mail("news@list.example", to, "News", "n@list.example").replacen("Subject:", "List-Id: <news.list.example>\r\nSubject:", 1);
        dovecot.deliver(list.as_bytes(), "news@list.example", to).unwrap();
        let spam = mail("win@spam.example", to, "Win", "s@spam.example");
        dovecot.append(to, "Junk", spam.as_bytes()).unwrap();
        app.make(&app.admin, "syncMailbox", json!({ "mailboxId": mailbox }), "mailbox { id }").await;
        let found = emails(&app, &app.admin, &mailbox, 3).await;
        for (subject, outcome) in [("Lunch", "INTERNAL"), ("News", "AUTOMATIC"), ("Win", "SPAM_FOLDER")] {
            let email = by_subject(&found, subject);
            assert_eq!(email["outcome"], outcome, "{email:#}");
            assert_eq!(email["links"], json!([]));
            assert!(!email["routingTrace"]["steps"].as_array().unwrap().is_empty(), "R20: {email:#}");
        }
        let data = app.data(&app.admin, "{ leads { nodes { id } } contacts { nodes { id } } }", json!({})).await;
        assert_eq!(data, json!({ "leads": { "nodes": [] }, "contacts": { "nodes": [] } }));

        // By hand: our own people's mail is refused, spam is saved all the same.
        let id = &by_subject(&found, "Lunch")["id"];
        let refused = app.mutate(&app.admin, "saveEmail", json!({ "emailId": id }), "email { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "INTERNAL_EMAIL");
        let id = &by_subject(&found, "Win")["id"];
        let saved = app.make(&app.admin, "saveEmail", json!({ "emailId": id }), "email { outcome links { item { __typename title } } activity { state } }").await;
        assert_eq!(saved["email"]["outcome"], "SAVED");
        assert_eq!(saved["email"]["links"][0]["item"], json!({ "__typename": "Lead", "title": "Win" }));
        assert_eq!(saved["email"]["activity"]["state"], "SCHEDULED");
    }

    async fn r21_r22_mail_on_an_unreadable_contact_is_absent_from_the_deal_and_live_dovecot(app) {
        let dovecot = Dovecot::start(&["sales@ours.example"]).unwrap();
        let sam = app.user("Sam Seller", "sam@ours.example", false).await;
        let sam_id = app.viewer_id(&sam).await;
        let contact = contact(&app, &app.admin, "Cleo", "cleo@client.example").await;
        let deal = deal(&app, &app.admin, "Sam's deal", &contact).await;
        app.make(&app.admin, "updateDeal", json!({ "dealId": deal, "responsibleId": sam_id }), "deal { id }").await;
        let mailbox = connect_with(&app, &dovecot, &app.admin, "sales@ours.example", json!({ "existingClientRouting": "ATTACH_ALWAYS" })).await;
        let mut events = app.subscribe(&sam, TIMELINE, json!({ "item": deal })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let raw = mail("cleo@client.example", "sales@ours.example", "Secret", "secret@client.example");
        dovecot.deliver(raw.as_bytes(), "cleo@client.example", "sales@ours.example").unwrap();
        let saved = emails(&app, &app.admin, &mailbox, 1).await;
        let email = text(&saved[0]["id"]);

        // Sam reads the deal but not the contact: no email, no entry, no activity, and `email` answers as if there were none.
        let query = "query ($deal: ID!, $email: ID!) { deal(id: $deal) { contacts { id } emails { nodes { id } totalCount { value } } activities { nodes { id } }
          timeline(kinds: [EMAIL_RECEIVED]) { nodes { id } totalCount { value } } } email(id: $email) { id } node(id: $email) { id } emails { nodes { id } } }";
        let data = app.data(&sam, query, json!({ "deal": deal, "email": email })).await;
        assert_eq!(data["deal"]["contacts"], json!([]));
        assert_eq!(data["deal"]["emails"], json!({ "nodes": [], "totalCount": { "value": 0 } }));
        assert_eq!(data["deal"]["activities"]["nodes"], json!([]));
        assert_eq!(data["deal"]["timeline"]["totalCount"]["value"], 0);
        assert_eq!((&data["email"], &data["node"], &data["emails"]["nodes"]), (&Value::Null, &Value::Null, &json!([])));

        // The next live event is a note, not the hidden mail; then Sam gets the contact, and the entry is added.
        app.make(&app.admin, "addNote", json!({ "itemId": deal, "text": "Call them" }), "entry { id }").await;
        let event = events.next().await;
        assert_eq!(event["timeline"]["entry"]["text"], "Call them", "{event:#}");
        app.make(&app.admin, "updateContact", json!({ "contactId": contact, "responsibleId": sam_id }), "contact { id }").await;
        let event = events.next().await;
        assert_eq!(event["timeline"]["entry"]["email"]["subject"], "Secret", "{event:#}");
        // And loses it again.
        let admin_id = app.viewer_id(&app.admin).await;
        app.make(&app.admin, "updateContact", json!({ "contactId": contact, "responsibleId": admin_id }), "contact { id }").await;
        let event = events.next().await;
        assert_eq!(event["timeline"]["__typename"], "EntryRemoved", "{event:#}");

        // R22: access to the mailbox shows it there, whatever the CRM says; links show readable items only.
        app.make(&app.admin, "shareMailbox", json!({ "mailboxId": mailbox, "userIds": [sam_id] }), "mailbox { id }").await;
        let found = emails(&app, &sam, &mailbox, 1).await;
        assert_eq!(found[0]["subject"], "Secret");
        let linked: Vec<&Value> = found[0]["links"].as_array().unwrap().iter().map(|link| &link["item"]["id"]).collect();
        assert_eq!(linked, [&json!(deal)]);
    }

    async fn r34_r35_r36_moving_undoing_and_the_converted_lead_dovecot(app) {
        let dovecot = Dovecot::start(&["sales@ours.example"]).unwrap();
        let mailbox = connect(&app, &dovecot, &app.admin, "sales@ours.example").await;
        let raw = mail("New Client <new@client.example>", "sales@ours.example", "First", "first@client.example");
        dovecot.deliver(raw.as_bytes(), "new@client.example", "sales@ours.example").unwrap();
        let found = emails(&app, &app.admin, &mailbox, 1).await;
        let (email, lead) = (text(&found[0]["id"]), text(&found[0]["links"][0]["item"]["id"]));
        assert_eq!(found[0]["canRelink"], json!({ "allowed": false, "reason": "NOT_ON_A_DEAL" }));

        let converted = app.make(&app.admin, "convertLead", json!({ "leadId": lead }), "lead { isOpen } deal { id } contact { name }").await;
        let converted_deal = text(&converted["deal"]["id"]);
        assert_eq!(converted["lead"]["isOpen"], false);
        assert_eq!(converted["contact"]["name"], "New Client");
        let other = app.make(&app.admin, "createDeal", json!({ "title": "Another" }), "deal { id }").await;
        let other = text(&other["deal"]["id"]);
        let refused = app.mutate(&app.admin, "relinkEmail", json!({ "emailId": email, "fromItemId": converted_deal, "toItemId": other }), "email { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "CONVERTED_LEAD", "{refused:#}");

        // Mail that comes after the conversion is on the deal only, and moves freely.
        let raw = mail("new@client.example", "sales@ours.example", "Second", "second@client.example");
        dovecot.deliver(raw.as_bytes(), "new@client.example", "sales@ours.example").unwrap();
        let found = emails(&app, &app.admin, &mailbox, 2).await;
        let second = by_subject(&found, "Second");
        assert_eq!(second["links"][0]["item"]["id"], converted_deal.as_str(), "{second:#}");
        assert_eq!(second["canRelink"]["allowed"], true, "{second:#}");
        let id = &second["id"];
        let moved = app.make(&app.admin, "relinkEmail", json!({ "emailId": id, "fromItemId": converted_deal, "toItemId": other, "idempotencyKey": "k1" }), "change { id } email { links { isPrimary item { id } } }").await;
        assert!(moved["email"]["links"].as_array().unwrap().iter().any(|link| link["item"]["id"] == other.as_str() && link["isPrimary"] == true), "{moved:#}");
        let again = app.make(&app.admin, "relinkEmail", json!({ "emailId": id, "fromItemId": converted_deal, "toItemId": other, "idempotencyKey": "k1" }), "change { id }").await;
        assert_eq!(again["change"]["id"], moved["change"]["id"]);
        let undone = app.make(&app.admin, "undoRelink", json!({ "changeId": moved["change"]["id"] }), "email { links { isPrimary item { id } } linkHistory { from { id } to { id } } }").await;
        assert!(undone["email"]["links"].as_array().unwrap().iter().any(|link| link["item"]["id"] == converted_deal.as_str() && link["isPrimary"] == true), "{undone:#}");
        let stale = app.mutate(&app.admin, "undoRelink", json!({ "changeId": moved["change"]["id"] }), "email { id }").await;
        assert_eq!(stale["userErrors"][0]["code"], "CHANGED_SINCE");
    }

    async fn r38_a_subscription_resumes_after_a_restart_without_loss_or_repeat(app) {
        let lead = app.make(&app.admin, "createLead", json!({ "title": "Kept" }), "lead { id }").await;
        let lead = text(&lead["lead"]["id"]);
        let note = |number: i32| json!({ "itemId": lead, "text": format!("note {number}") });
        let mut events = app.subscribe(&app.admin, TIMELINE, json!({ "item": lead })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        app.make(&app.admin, "addNote", note(1), "entry { id }").await;
        let event = events.next().await;
        assert_eq!(event["timeline"]["entry"]["text"], "note 1");
        let cursor = text(&event["timeline"]["cursor"]);
        app.make(&app.admin, "addNote", note(2), "entry { id }").await;
        app.stop().await;
        app.start_again().await;
        app.make(&app.admin, "addNote", note(3), "entry { id }").await;
        let mut events = app.subscribe(&app.admin, TIMELINE, json!({ "item": lead, "after": cursor })).await;
        for expected in ["note 2", "note 3"] {
            assert_eq!(events.next().await["timeline"]["entry"]["text"], expected);
        }
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");

        // The list's liveCursor closes the gap between asking and subscribing.
        let query = "query ($id: ID!) { lead(id: $id) { timeline(last: 1) { liveCursor nodes { __typename ... on NoteAdded { text } } edges { cursor } } } }";
        let data = app.data(&app.admin, query, json!({ "id": lead })).await;
        assert_eq!(data["lead"]["timeline"]["nodes"][0]["text"], "note 3");
        app.make(&app.admin, "addNote", note(4), "entry { id }").await;
        let after = &data["lead"]["timeline"]["liveCursor"];
        let mut events = app.subscribe(&app.admin, TIMELINE, json!({ "item": lead, "after": after })).await;
        assert_eq!(events.next().await["timeline"]["entry"]["text"], "note 4");
    }

    async fn r7_one_message_in_two_mailboxes_is_one_entry_and_one_activity_dovecot(app) {
        let dovecot = Dovecot::start(&["sales@ours.example", "info@ours.example"]).unwrap();
        let sales = connect(&app, &dovecot, &app.admin, "sales@ours.example").await;
        let info = connect(&app, &dovecot, &app.admin, "info@ours.example").await;
        let raw = mail("both@client.example", "sales@ours.example, info@ours.example", "To both", "both@client.example");
        for to in ["sales@ours.example", "info@ours.example"] {
            dovecot.deliver(raw.as_bytes(), "both@client.example", to).unwrap();
        }
        let (first, second) = (emails(&app, &app.admin, &sales, 1).await, emails(&app, &app.admin, &info, 1).await);
        assert_ne!(first[0]["id"], second[0]["id"]);
        assert_eq!(first[0]["links"][0]["item"]["id"], second[0]["links"][0]["item"]["id"]);
        let data = app.data(&app.admin, "{ leads(first: 3) { nodes { timeline(kinds: [EMAIL_RECEIVED]) { totalCount { value } } activities { totalCount { value } } emails { totalCount { value } } } } }", json!({})).await;
        let leads = data["leads"]["nodes"].as_array().unwrap();
        assert_eq!(leads.len(), 1, "{data:#}");
        assert_eq!(leads[0], json!({ "timeline": { "totalCount": { "value": 1 } }, "activities": { "totalCount": { "value": 1 } }, "emails": { "totalCount": { "value": 2 } } }));
    }

    async fn r1_a_mailbox_that_can_not_be_connected_is_not_kept(app) {
        let input = |host: &str, port: u16, security: &str| json!({
            "address": "x@ours.example", "imap": { "host": host, "port": port, "security": security }, "secret": { "password": "never-shown-4711" },
        });
        let (refused, _kept) = { let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); (listener.local_addr().unwrap().port(), drop(listener)) };
        for (input, code) in [
            (input("no such host", 993, "TLS"), "MAILBOX_NAME"),
            (input("10.1.2.3", 993, "TLS"), "MAILBOX_HOST_REFUSED"),
            (input("127.0.0.1", refused, "PLAIN"), "MAILBOX_CONNECT"),
        ] {
            let payload = app.mutate(&app.admin, "connectMailbox", input, "mailbox { id }").await;
            assert_eq!(payload["userErrors"][0]["code"], code, "{payload:#}");
            assert_eq!(payload["mailbox"], Value::Null);
            assert!(!payload.to_string().contains("never-shown"), "{payload:#}");
        }
        let data = app.data(&app.admin, "{ mailboxes { nodes { id } } }", json!({})).await;
        assert_eq!(data["mailboxes"]["nodes"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_second_server_hears_of_mail_that_the_worker_took_in_dovecot() {
    let mut app = TestApp::start(crate::support::app::On::Postgresql).await;
    let other = app.second_server().await;
    let dovecot = Dovecot::start(&["sales@ours.example"]).unwrap();
    connect(&app, &dovecot, &app.admin, "sales@ours.example").await;
    let mut events = Events::open(&other, &app.admin, TIMELINE, json!({})).await;
    assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
    let raw = mail(
        "far@client.example",
        "sales@ours.example",
        "From afar",
        "far@client.example",
    );
    dovecot
        .deliver(raw.as_bytes(), "far@client.example", "sales@ours.example")
        .unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&json!("EmailReceived")) {
        seen.push(events.next().await["timeline"]["entry"]["__typename"].clone());
    }
    assert!(seen.contains(&json!("ItemCreated")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_without_redis_entries_still_come() {
    let mut redis = Redis::start();
    let app = TestApp::start_with_redis(redis.url()).await;
    let lead = app
        .make(
            &app.admin,
            "createLead",
            json!({ "title": "L" }),
            "lead { id }",
        )
        .await;
    let lead = text(&lead["lead"]["id"]);
    let mut events = app
        .subscribe(&app.admin, TIMELINE, json!({ "item": lead }))
        .await;
    assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
    let note = |words: &str| json!({ "itemId": lead, "text": words });
    app.make(&app.admin, "addNote", note("with"), "entry { id }")
        .await;
    assert_eq!(events.next().await["timeline"]["entry"]["text"], "with");
    redis.kill();
    let started = std::time::Instant::now();
    app.make(&app.admin, "addNote", note("without"), "entry { id }")
        .await;
    assert_eq!(events.next().await["timeline"]["entry"]["text"], "without");
    println!("without Redis: {:?}", started.elapsed());
    assert!(started.elapsed() < PATIENCE / 4);
    redis.restart();
    app.make(&app.admin, "addNote", note("again"), "entry { id }")
        .await;
    assert_eq!(events.next().await["timeline"]["entry"]["text"], "again");
}
