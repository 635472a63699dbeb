//! Where mail that is being written goes with what it is about, and what went out is never lost.

use super::desk::{Desk, hurry, seen, until_state};
use crate::on_both;
use crate::support::app::{TestApp, text};
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
}
