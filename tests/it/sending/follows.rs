//! Where mail that is being written goes with what it is about, and what went out is never lost.

use super::desk::{ADDRESS, CLIENT, DRAFT, Desk, hurry, seen, until_state};
use crate::on_both;
use crate::support::app::{TestApp, text};
use mailroom::clock;
use mailroom::model::topic::Topic;
use mailroom::store::sql::sql;
use mailroom::store::{Store, StoreError};
use serde_json::json;

/// A mail to the client on an item, which waits for a minute at least.
async fn waiting_on(app: &TestApp, desk: &Desk, item: &str, to: &str) -> String {
    let input = json!({ "mailboxId": desk.mailbox, "itemId": item, "to": [{ "address": to }], "subject": "On its way", "bodyText": "x" });
    let made = app
        .make(&app.admin, "createDraft", input, "draft { id }")
        .await;
    let draft = text(&made["draft"]["id"]);
    let input = json!({ "draftId": draft, "undoSeconds": 100 });
    app.make(&app.admin, "sendEmail", input, "draft { id }")
        .await;
    draft
}

fn run(store: &Store, statements: &'static [&'static str]) {
    let ran = store.write_now(clock::now(), |tx| {
        for statement in statements {
            sql(*statement).run(tx.conn)?;
        }
        tx.wake(Topic::Sending);
        Ok::<_, StoreError>(())
    });
    ran.unwrap();
}

on_both! {
    async fn r36_r41_mail_that_is_being_written_for_a_lead_is_saved_on_the_deal_that_it_becomes(app) {
        let desk = Desk::new(&app).await;
        let input = json!({ "title": "A lead", "addresses": ["lea@client.example"] });
        let made = app.make(&app.admin, "createLead", input, "lead { id }").await;
        let lead = text(&made["lead"]["id"]);
        let draft = waiting_on(&app, &desk, &lead, "lea@client.example").await;
        let made = app.make(&app.admin, "convertLead", json!({ "leadId": lead }), "deal { id }").await;
        let deal = &made["deal"]["id"];
        assert_eq!(seen(&app, &draft).await["item"]["id"], *deal);
        hurry(&app.app().store);
        let sent = until_state(&app, &draft, "SENT").await;
        assert_eq!(sent["email"]["links"][0]["item"]["id"], *deal, "{sent:#}");
    }

    async fn r41_r45_mail_that_is_being_written_for_a_contact_is_saved_on_the_one_that_remains(app) {
        let desk = Desk::new(&app).await;
        let input = json!({ "name": "Cleo's twin", "addresses": ["twin@client.example"] });
        let made = app.make(&app.admin, "createContact", input, "contact { id }").await;
        let twin = text(&made["contact"]["id"]);
        let draft = waiting_on(&app, &desk, &twin, "twin@client.example").await;
        let merge = json!({ "contactId": desk.contact, "mergeContactIds": [twin] });
        app.make(&app.admin, "mergeContacts", merge, "contact { id }").await;
        assert_eq!(seen(&app, &draft).await["item"]["id"], desk.contact.as_str());
        hurry(&app.app().store);
        let sent = until_state(&app, &draft, "SENT").await;
        assert_eq!(sent["email"]["links"][0]["item"]["id"], desk.contact.as_str(), "{sent:#}");
    }

    async fn r12_r41_a_mail_to_a_colleague_with_a_client_in_bcc_is_no_internal_one(app) {
        let desk = Desk::new(&app).await;
        let send = async |bcc: &str| {
            let input = json!({
                "mailboxId": desk.mailbox, "itemId": desk.deal, "to": [{ "address": "ada@ours.example" }], "bcc": [{ "address": bcc }],
                "subject": format!("Hidden from {bcc}"), "bodyText": "x",
            });
            let made = app.make(&app.admin, "createDraft", input, "draft { id }").await;
            let draft = text(&made["draft"]["id"]);
            desk.send(&app, &draft).await;
            until_state(&app, &draft, "SENT").await["email"].clone()
        };
        let email = send(CLIENT).await;
        assert_eq!((&email["outcome"], &email["links"][0]["item"]["id"]), (&json!("SAVED"), &json!(desk.deal)), "{email:#}");
        let email = send(ADDRESS).await;
        assert_eq!(email["outcome"], "INTERNAL", "{email:#}");
    }

    async fn r42_a_sender_that_is_taken_away_while_a_mail_waits_sends_nothing_and_says_so(app) {
        let desk = Desk::new(&app).await;
        let senders = json!({ "mailboxId": desk.mailbox, "senders": [{ "name": "The shop", "address": "shop@ours.example" }] });
        let made = app.make(&app.admin, "updateMailboxSenders", senders, "mailbox { senders { id } }").await;
        let input = json!({
            "mailboxId": desk.mailbox, "to": [{ "address": CLIENT }], "subject": "From the shop", "bodyText": "x",
            "senderId": made["mailbox"]["senders"][0]["id"],
        });
        let made = app.make(&app.admin, "createDraft", input, &format!("draft {{ {DRAFT} }}")).await;
        let draft = text(&made["draft"]["id"]);
        app.make(&app.admin, "sendEmail", json!({ "draftId": draft, "undoSeconds": 100 }), "draft { id }").await;
        let none = json!({ "mailboxId": desk.mailbox, "senders": [] });
        app.make(&app.admin, "updateMailboxSenders", none, "mailbox { id }").await;
        hurry(&app.app().store);
        let found = until_state(&app, &draft, "FAILED").await;
        assert!(text(&found["failures"][0]["reason"]).contains("sender's address"), "{found:#}");
        assert!(desk.smtp.state().taken.is_empty());
    }

    async fn r41_a_sent_mail_that_can_t_be_stored_gets_its_copy_and_is_stored_later(app) {
        let desk = Desk::new(&app).await;
        let store = app.app().store.clone();
        run(&store, &["ALTER TABLE participants RENAME TO participants_away"]);
        let draft = desk.draft(&app, CLIENT, "Not stored yet").await;
        desk.send(&app, &draft).await;
        let sent = until_state(&app, &draft, "SENT").await;
        assert!(sent["email"].is_null(), "{sent:#}");
        assert_eq!(desk.told(&app).await, ["QUEUED", "SENT"]);
        crate::hostile::until("a copy in Sent", || desk.imap.state().folder("Sent").mails.len() == 1).await;
        run(&store, &[
            "ALTER TABLE participants_away RENAME TO participants",
            "UPDATE drafts SET append_at = 0 WHERE is_append_wanted",
        ]);
        let query = format!("query ($id: ID!) {{ node(id: $id) {{ ... on Draft {{ {DRAFT} }} }} }}");
        let data = app
            .until(&app.admin, (&query, json!({ "id": draft })), |data| {
                run(&store, &["UPDATE drafts SET append_at = 0 WHERE is_append_wanted"]);
                !data["node"]["email"].is_null()
            })
            .await;
        assert_eq!(data["node"]["email"]["links"][0]["item"]["id"], desk.deal.as_str(), "{data:#}");
        assert_eq!(desk.told(&app).await, ["QUEUED", "SENT", "EmailSent"]);
        assert_eq!(desk.imap.state().folder("Sent").mails.len(), 1);
        assert_eq!(desk.smtp.taken_for(CLIENT).len(), 1);
    }

    async fn r41_a_session_is_used_only_with_what_it_was_opened_with(app) {
        let desk = Desk::new(&app).await;
        let first = desk.draft(&app, CLIENT, "By the first server").await;
        desk.send(&app, &first).await;
        until_state(&app, &first, "SENT").await;
        let other = crate::support::smtp_server::SmtpServer::start();
        let smtp = json!({ "host": "127.0.0.1", "port": other.port(), "security": "PLAIN" });
        let input = json!({ "mailboxId": desk.mailbox, "smtp": smtp });
        app.make(&app.admin, "updateMailboxSending", input, "mailbox { id }").await;
        let second = desk.draft(&app, CLIENT, "By the other").await;
        desk.send(&app, &second).await;
        until_state(&app, &second, "SENT").await;
        assert_eq!((desk.smtp.taken_for(CLIENT).len(), other.taken_for(CLIENT).len()), (1, 1));
    }
}
