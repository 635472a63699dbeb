//! Drafts: what an answer begins with, who sees them, their files, and the time in which a mail can be taken back.

use super::desk::{ADDRESS, CLIENT, DRAFT, Desk, hurry, seen, until_state};
use crate::on_both;
use crate::support::app::{TestApp, text};
use serde_json::{Value, json};

async fn answer(app: &TestApp, email: &Value, kind: &str, more: Value) -> Value {
    let mut input = json!({ "originalId": email["id"], "kind": kind });
    for (name, value) in more.as_object().unwrap() {
        input[name] = value.clone();
    }
    let made = app
        .make(
            &app.admin,
            "createDraft",
            input,
            &format!("draft {{ {DRAFT} }}"),
        )
        .await;
    made["draft"].clone()
}

fn addresses(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|address| text(&address["address"]))
        .collect()
}

fn rename(app: &TestApp, statement: &'static str) {
    let store = &app.app().store;
    let renamed = store.write_now(mailroom::clock::now(), |tx| {
        mailroom::store::sql::sql(statement).run(tx.conn).map(drop)
    });
    renamed.unwrap();
}

on_both! {
    async fn r41_new_html_takes_the_old_text_with_it(app) {
        let desk = Desk::new(&app).await;
        let draft = desk.draft(&app, CLIENT, "Both").await;
        // (what changes, the text that stands then)
        for (html, text, expected) in [
            ("<p>First</p>", json!(null), "First"),
            ("<p>Second</p>", json!("As text"), "As text"),
        ] {
            let mut input = json!({ "draftId": draft, "bodyHtml": html });
            if text.is_string() {
                input["bodyText"] = text;
            }
            let made = app.make(&app.admin, "updateDraft", input, "draft { bodyText }").await;
            assert_eq!(made["draft"]["bodyText"].as_str().unwrap().trim(), expected, "{html}");
        }
    }

    async fn r41_a_mail_with_more_files_than_one_sends_is_not_passed_on(app) {
        let desk = Desk::new(&app).await;
        let part = |number: usize| format!("--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=f{number}.txt\r\n\r\n{number}\r\n");
        for (subject, files) in [("Few files", 50), ("Many files", 51)] {
            let parts: String = (0..files).map(part).collect();
            let raw = format!(
                "Received: from client.example\r\nFrom: {CLIENT}\r\nTo: {ADDRESS}\r\nSubject: {subject}\r\nMessage-ID: <{files}@client.example>\r\n\
                 Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"
            );
            desk.imap.state().folder("INBOX").add(raw, mailroom::clock::now().seconds());
            let email = desk.email(&app, subject).await;
            let input = json!({ "originalId": email["id"], "kind": "FORWARD" });
            let made = app.mutate(&app.admin, "createDraft", input, "draft { attachments { name } }").await;
            if files == 50 {
                let names: Vec<&str> = made["draft"]["attachments"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
                assert_eq!((names.len(), names[49]), (50, "f49.txt"), "{made:#}");
            } else {
                assert_eq!(made["userErrors"][0]["field"], json!(["originalId"]), "{made:#}");
            }
        }
    }

    async fn r41_an_answer_knows_whom_it_goes_to_and_what_it_quotes(app) {
        let desk = Desk::new(&app).await;
        desk.receive("q1@client.example", "A question");
        let email = desk.email(&app, "A question").await;
        let reply = answer(&app, &email, "REPLY", json!({ "bodyText": "Yes." })).await;
        assert_eq!(addresses(&reply["to"]), [CLIENT]);
        assert_eq!(reply["subject"], "Re: A question");
        assert_eq!(reply["item"]["id"], desk.deal.as_str(), "saved where the question is");
        let body = text(&reply["bodyText"]);
        assert!(body.starts_with("Yes.\n\nOn 23 November 2026") && body.contains("> this is about A question."), "{body}");
        assert!(reply["bodyHtml"].is_null());
        let all = answer(&app, &email, "REPLY_ALL", json!({ "bodyHtml": "<p>Yes<script>x()</script></p>" })).await;
        assert_eq!((addresses(&all["to"]), addresses(&all["cc"])), (vec![CLIENT.to_owned()], vec!["dora@client.example".to_owned()]));
        let html = text(&all["bodyHtml"]);
        assert!(html.contains("<blockquote") && !html.contains("script"), "{html}");
        let bare = answer(&app, &email, "REPLY", json!({ "bodyText": "Yes.", "quote": "NOTHING" })).await;
        assert_eq!(bare["bodyText"], "Yes.");
        let forward = answer(&app, &email, "FORWARD", json!({ "to": [{ "address": "eve@client.example" }] })).await;
        assert_eq!((forward["subject"].as_str(), addresses(&forward["to"])), (Some("Fwd: A question"), vec!["eve@client.example".to_owned()]));
        // From an item: to its client.
        let input = json!({ "mailboxId": desk.mailbox, "itemId": desk.deal, "subject": "An offer" });
        let made = app.make(&app.admin, "createDraft", input, &format!("draft {{ {DRAFT} }}")).await;
        assert_eq!(addresses(&made["draft"]["to"]), [CLIENT]);
        assert_eq!(made["draft"]["from"], json!({ "name": "Ada Admin", "address": ADDRESS }));
        let list = app.data(&app.admin, "{ drafts { totalCount { value } nodes { subject } } }", json!({})).await;
        assert_eq!(list["drafts"]["totalCount"]["value"], 5);
        assert_eq!(list["drafts"]["nodes"][0]["subject"], "An offer");
    }

    async fn r41_a_sent_answer_is_one_email_however_it_comes_back(app) {
        let desk = Desk::new(&app).await;
        desk.receive("q1@client.example", "A question");
        let email = desk.email(&app, "A question").await;
        let reply = answer(&app, &email, "REPLY", json!({ "bodyText": "Yes.", "bcc": [{ "address": "boss@client.example" }] })).await;
        let draft = text(&reply["id"]);
        desk.send(&app, &draft).await;
        let sent = until_state(&app, &draft, "SENT").await;
        assert_eq!((sent["email"]["direction"].as_str(), sent["email"]["outcome"].as_str()), (Some("OUTGOING"), Some("SAVED")));
        let taken = desk.smtp.taken_for(CLIENT);
        let [mail] = taken.as_slice() else { panic!("{} copies", taken.len()) };
        assert_eq!(mail.recipients, [CLIENT, "boss@client.example"]);
        assert_eq!(mail.from, ADDRESS);
        assert!(!mail.text().to_lowercase().contains("bcc") && !mail.text().contains("boss@"), "no Bcc on the wire");
        assert_eq!(mail.header("In-Reply-To").as_deref(), Some("<q1@client.example>"));
        assert_eq!(mail.header("Message-ID"), Some(format!("<{}>", text(&sent["messageId"]))));
        for name in ["Auto-Submitted", "Precedence", "X-Auto-Response-Suppress", "Return-Path"] {
            assert!(mail.header(name).is_none(), "{name}: people's mail carries no automatic headers");
        }
        // The copy in Sent comes back by sync, and so does one in the Inbox.
        let query = "query ($id: ID!) { mailbox(id: $id) { sync { done } emails { totalCount { value } } } }";
        let at = mailroom::clock::now().seconds();
        let own = [b"Received: from smtp.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n".as_slice(), &mail.raw].concat();
        desk.imap.state().folder("INBOX").add(own, at);
        let data = app.until(&app.admin, (query, json!({ "id": desk.mailbox })), |data| data["mailbox"]["sync"]["done"] == 3).await;
        assert_eq!(desk.imap.state().folder("Sent").mails.len(), 1, "put into Sent, once");
        assert_eq!(data["mailbox"]["emails"]["totalCount"]["value"], 2, "the question and the answer");
        // A stranger who has seen the id, and says something else under it, is nobody of ours.
        let forged = mail.text().replace("Yes.", "Send the money elsewhere.").replace("Re: A question", "Re: A forged question");
        desk.imap.state().folder("INBOX").add(format!("Received: from evil.example\r\n{forged}"), at);
        let forged = desk.email(&app, "Re: A forged question").await;
        assert_eq!(forged["direction"], "INCOMING");
        assert_ne!(forged["outcome"], "SAVED");
        assert_eq!(desk.told(&app).await, ["QUEUED", "EmailSent"]);
        let refused = app.mutate(&app.admin, "deleteDraft", json!({ "draftId": draft }), "deletedDraftId").await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE", "what was sent stays");
    }

    async fn r41_a_mail_can_be_taken_back_while_it_waits_and_goes_out_at_its_time(app) {
        let desk = Desk::new(&app).await;
        let mut events = app.subscribe(&app.admin, "subscription ($id: ID!) { timeline(itemId: $id) { __typename
            ... on EntryAdded { entry { __typename ... on SendingChanged { state draft { id state } } ... on EmailSent { email { subject } } } } } }", json!({ "id": desk.deal })).await;
        assert_eq!(events.next().await["timeline"]["__typename"], "CaughtUp");
        let draft = desk.draft(&app, CLIENT, "In a minute").await;
        let input = json!({ "draftId": draft, "undoSeconds": 100 });
        let made = app.make(&app.admin, "sendEmail", input.clone(), "draft { state messageId version }").await;
        assert_eq!(made["draft"]["state"], "QUEUED");
        let entry = events.next().await["timeline"]["entry"].clone();
        assert_eq!((entry["state"].as_str(), entry["draft"]["id"].as_str()), (Some("QUEUED"), Some(draft.as_str())), "{entry:#}");
        let edit = json!({ "draftId": draft, "subject": "Other" });
        let refused = app.mutate(&app.admin, "updateDraft", edit.clone(), "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE");
        app.make(&app.admin, "cancelSending", json!({ "draftId": draft }), "draft { state }").await;
        assert_eq!(events.next().await["timeline"]["entry"]["state"], "DRAFT");
        app.make(&app.admin, "updateDraft", edit, "draft { id }").await;
        // Given to be sent far ahead, it waits for its time.
        let later = mailroom::clock::now().plus_seconds(3600).to_rfc3339();
        let input = json!({ "draftId": draft, "sendAt": later, "idempotencyKey": "once" });
        let made = app.make(&app.admin, "sendEmail", input.clone(), "draft { state sendAt }").await;
        assert_eq!(made["draft"]["sendAt"], later.as_str());
        let again = app.make(&app.admin, "sendEmail", input, "draft { state }").await;
        assert_eq!(again["draft"]["state"], "QUEUED", "the same key, the same result");
        assert!(desk.smtp.state().taken.is_empty());
        hurry(&app.app().store);
        until_state(&app, &draft, "SENT").await;
        assert_eq!(events.next().await["timeline"]["entry"]["state"], "QUEUED");
        let entry = events.next().await["timeline"]["entry"].clone();
        assert_eq!(entry["email"]["subject"], "Other", "{entry:#}");
        let refused = app.mutate(&app.admin, "cancelSending", json!({ "draftId": draft }), "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE");
        assert_eq!(desk.smtp.taken_for(CLIENT).len(), 1);
    }

    async fn r41_files_are_uploaded_to_a_signed_address_and_go_out_with_the_mail(app) {
        let desk = Desk::new(&app).await;
        let draft = desk.draft(&app, CLIENT, "With a file").await;
        let http = reqwest::Client::new();
        let add = |name: &str, size: usize| json!({ "draftId": draft, "name": name, "mediaType": "application/pdf", "size": size });
        let made = app.make(&app.admin, "addDraftAttachment", add("../offer.pdf", 300_000), "attachment { id name isUploaded } uploadUrl").await;
        assert_eq!(made["attachment"]["name"], ".._offer.pdf");
        let url = text(&made["uploadUrl"]);
        let early = json!({ "draftId": draft, "undoSeconds": 0 });
        let refused = app.mutate(&app.admin, "sendEmail", early.clone(), "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "BAD_INPUT", "not without its file");
        let too_large = http.put(&url).body(vec![b'x'; 300_001]).send().await.unwrap();
        assert_eq!(too_large.status(), 413);
        let forged = http.put(format!("{}x", &url[..url.len() - 1])).body("x").send().await.unwrap();
        assert_eq!(forged.status(), 404);
        assert_eq!(http.get(url.replace("/uploads/", "/files/")).send().await.unwrap().status(), 404);
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let put = http.put(&url).body(bytes.clone()).send().await.unwrap();
        assert_eq!(put.status(), 204);
        let none = app.make(&app.admin, "addDraftAttachment", add("x.pdf", 10), "attachment { id }").await;
        let input = json!({ "attachmentId": none["attachment"]["id"] });
        let made = app.make(&app.admin, "removeDraftAttachment", input, "draft { attachments { name size isUploaded } }").await;
        assert_eq!(made["draft"]["attachments"], json!([{ "name": ".._offer.pdf", "size": 300_000, "isUploaded": true }]));
        app.make(&app.admin, "sendEmail", early, "draft { id }").await;
        until_state(&app, &draft, "SENT").await;
        let mail = desk.smtp.taken_for(CLIENT).remove(0);
        let parsed = mailroom::mail::parse::parse(&mail.raw);
        let file = mailroom::mail::parse::part_bytes(&mail.raw, parsed.attachments[0].part_index).unwrap();
        assert_eq!(file.bytes, bytes);
        let late = http.put(&url).body("other").send().await.unwrap();
        assert_eq!(late.status(), 409, "what was sent does not change");
        assert!(late.text().await.unwrap().starts_with("CHANGED_SINCE: "));
        // A fault of ours is none of whoever uploads.
        rename(&app, "ALTER TABLE drafts RENAME TO drafts_away");
        let failed = http.put(&url).body("other").send().await.unwrap();
        assert_eq!(failed.status(), 500);
        rename(&app, "ALTER TABLE drafts_away RENAME TO drafts");
        let large = app.mutate(&app.admin, "addDraftAttachment", add("y", 26 * 1024 * 1024), "attachment { id }").await;
        assert!(large["userErrors"][0]["code"].is_string());
    }

    async fn r27_r41_a_draft_is_its_author_s_and_the_mailbox_s_are_those_who_have_access(app) {
        let desk = Desk::new(&app).await;
        let draft = desk.draft(&app, CLIENT, "Mine").await;
        let other = app.user("Olga Other", "olga@ours.example", false).await;
        let hidden = app.data(&other, "query ($id: ID!) { node(id: $id) { id } drafts { totalCount { value } } }", json!({ "id": draft })).await;
        assert_eq!(hidden, json!({ "node": null, "drafts": { "totalCount": { "value": 0 } } }));
        let made_up = "Draft_AAAAAAAAAAAAAAAAAAAAAA";
        for (verb, input, wanted) in [
            ("updateDraft", json!({ "subject": "x" }), "draft { id }"),
            ("deleteDraft", json!({}), "deletedDraftId"),
            ("sendEmail", json!({}), "draft { id }"),
            ("cancelSending", json!({}), "draft { id }"),
            ("addDraftAttachment", json!({ "name": "x", "size": 1 }), "uploadUrl"),
        ] {
            let mut with = input.clone();
            with["draftId"] = json!(draft);
            let refused = app.mutate(&other, verb, with.clone(), wanted).await;
            with["draftId"] = json!(made_up);
            let absent = app.mutate(&other, verb, with, wanted).await;
            assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "{verb}: {refused:#}");
            assert_eq!(refused, absent, "{verb}");
        }
        let create = json!({ "mailboxId": desk.mailbox, "to": [{ "address": CLIENT }] });
        let refused = app.mutate(&other, "createDraft", create.clone(), "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "a mailbox that is not listed for her");
        // With access she writes; the item takes the right to change it.
        let share = json!({ "mailboxId": desk.mailbox, "userIds": [app.viewer_id(&other).await] });
        app.make(&app.admin, "shareMailbox", share, "mailbox { id }").await;
        let made = app.make(&other, "createDraft", create.clone(), "draft { id from { name } }").await;
        assert_eq!(made["draft"]["from"]["name"], "Olga Other");
        let mut on_deal = create.clone();
        on_deal["itemId"] = json!(desk.deal);
        let refused = app.mutate(&other, "createDraft", on_deal, "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "an item that she may not read");
        // Access that is taken away while a mail waits: it does not go out, and says why.
        let waiting = text(&made["draft"]["id"]);
        app.make(&other, "sendEmail", json!({ "draftId": waiting, "undoSeconds": 100 }), "draft { id }").await;
        let begun = app.make(&other, "createDraft", create.clone(), "draft { id }").await;
        let file = json!({ "draftId": begun["draft"]["id"], "name": "x.pdf", "size": 1 });
        let announced = app.make(&other, "addDraftAttachment", file, "uploadUrl").await;
        let alone = json!({ "mailboxId": desk.mailbox, "userIds": [] });
        app.make(&app.admin, "shareMailbox", alone, "mailbox { id }").await;
        let put = reqwest::Client::new().put(text(&announced["uploadUrl"])).body("x").send().await.unwrap();
        assert_eq!(put.status(), 404, "an address is no better than the right behind it");
        hurry(&app.app().store);
        let failed = "SELECT COUNT(*) FROM drafts WHERE state = 'FAILED'";
        let started = std::time::Instant::now();
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            pace.tick().await;
            let count: Option<i64> = app.app().store.read_now(|conn| mailroom::store::sql::sql(failed).one(conn)).unwrap();
            if count == Some(1) {
                break;
            }
            assert!(started.elapsed() < crate::support::app::PATIENCE);
        }
        assert!(desk.smtp.state().taken.is_empty());
        assert!(app.data(&other, "query ($id: ID!) { node(id: $id) { id } }", json!({ "id": waiting })).await["node"].is_null());
        app.make(&app.admin, "deleteDraft", json!({ "draftId": draft }), "deletedDraftId").await;
        assert!(seen(&app, &draft).await.is_null());
    }

    async fn r41_what_can_t_be_sent_is_refused_with_its_field(app) {
        let desk = Desk::new(&app).await;
        for (input, field) in [
            (json!({ "to": [{ "address": "nobody" }] }), "to"),
            (json!({ "cc": [{ "address": "a@b.example\r\nBcc: c@d.example" }] }), "cc"),
            (json!({ "kind": "REPLY" }), "originalId"),
            (json!({ "subject": "x".repeat(1000) }), "subject"),
        ] {
            let mut input = input;
            input["mailboxId"] = json!(desk.mailbox);
            let refused = app.mutate(&app.admin, "createDraft", input, "draft { id }").await;
            assert_eq!(refused["userErrors"][0]["field"], json!([field]), "{refused:#}");
        }
        let nobody = json!({ "mailboxId": desk.mailbox, "subject": "To nobody" });
        let made = app.make(&app.admin, "createDraft", nobody, "draft { id version }").await;
        let draft = text(&made["draft"]["id"]);
        let refused = app.mutate(&app.admin, "sendEmail", json!({ "draftId": draft }), "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["field"], json!(["to"]), "{refused:#}");
        let stale = json!({ "draftId": draft, "expectedVersion": 7, "subject": "x" });
        let refused = app.mutate(&app.admin, "updateDraft", stale, "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "STALE");
    }

    async fn r18_r41_a_report_on_a_sent_mail_is_logged_on_it(app) {
        let desk = Desk::new(&app).await;
        let draft = desk.draft(&app, CLIENT, "Will it arrive?").await;
        desk.send(&app, &draft).await;
        let sent = until_state(&app, &draft, "SENT").await;
        let id = text(&sent["messageId"]);
        let report = format!("Received: from mx.example\r\nFrom: Mail Delivery <mailer-daemon@mx.example>\r\nTo: {ADDRESS}\r\nSubject: Undelivered\r\nMessage-ID: <r1@mx.example>\r\n\
            Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\n\r\nIt did not arrive.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n\
            Final-Recipient: rfc822; {CLIENT}\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{id}>\r\nSubject: Will it arrive?\r\n\r\n--b--\r\n");
        desk.imap.state().folder("INBOX").add(report, mailroom::clock::now().seconds());
        let query = "query ($id: ID!) { contact(id: $id) { addresses { isUndeliverable } } }";
        app.until(&app.admin, (query, json!({ "id": desk.contact })), |data| data["contact"]["addresses"][0]["isUndeliverable"] == true).await;
        let found = desk.email(&app, "Undelivered").await;
        let query = "query ($id: ID!) { email(id: $id) { outcome links { item { id } } } }";
        let data = app.data(&app.admin, query, json!({ "id": found["id"] })).await;
        assert_eq!(data["email"]["links"][0]["item"]["id"], desk.deal.as_str(), "{data:#}");
    }
}
