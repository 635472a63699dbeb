//! Templates, senders and signatures (R42).

use super::desk::{ADDRESS, CLIENT, Desk, until_state};
use crate::on_both;
use crate::support::app::text;
use serde_json::json;

on_both! {
    async fn r42_a_template_is_filled_in_for_an_item_and_says_what_is_missing(app) {
        let desk = Desk::new(&app).await;
        let input = json!({
            "name": "Offer", "subject": "About {{ item.title }}",
            "bodyText": "Dear {{ client.name }},\n{% if item.amount %}{{ item.amount }}{% else %}no price yet{% endif %}\n{{ user.name }}, {{ user.department }}",
            "bodyHtml": "<p onclick='x()'>Dear {{ client.name }}</p>",
        });
        let made = app.make(&app.admin, "createTemplate", input, "template { id sharing viewerCanChange version }").await;
        let template = text(&made["template"]["id"]);
        assert_eq!(made["template"]["sharing"], "OWN");
        let query = "query ($id: ID!, $item: ID) { previewTemplate(templateId: $id, itemId: $item) { subject bodyText bodyHtml missing problem } }";
        let preview = app.data(&app.admin, query, json!({ "id": template, "item": desk.deal })).await["previewTemplate"].clone();
        assert_eq!(preview["subject"], "About Ten machines");
        assert_eq!(preview["bodyText"], "Dear Cleo Client,\nno price yet\nAda Admin, ");
        assert_eq!(preview["bodyHtml"], "<p>Dear Cleo Client</p>");
        assert_eq!(preview["missing"], json!(["item.amount", "user.department"]));
        assert!(preview["problem"].is_null());
        // A name that is HTML stays text.
        let input = json!({ "name": "<b>Eve</b>", "addresses": ["eve@client.example"] });
        let eve = app.make(&app.admin, "createContact", input, "contact { id }").await;
        let preview = app.data(&app.admin, query, json!({ "id": template, "item": eve["contact"]["id"] })).await["previewTemplate"].clone();
        assert_eq!(preview["bodyHtml"], "<p>Dear &lt;b&gt;Eve&lt;/b&gt;</p>");
        // Begun with it, a draft goes to the client; what is given goes before it.
        let input = json!({ "mailboxId": desk.mailbox, "itemId": desk.deal, "templateId": template, "subject": "Mine" });
        let made = app.make(&app.admin, "createDraft", input, "draft { id subject bodyText to { address } }").await;
        assert_eq!(made["draft"]["subject"], "Mine");
        assert!(text(&made["draft"]["bodyText"]).starts_with("Dear Cleo Client,"));
        assert_eq!(made["draft"]["to"][0]["address"], CLIENT);
        for (field, source) in [("bodyText", "{{ client.name"), ("subject", "{% include 'x' %}")] {
            let input = json!({ "templateId": template, field: source });
            let refused = app.mutate(&app.admin, "updateTemplate", input, "template { id }").await;
            assert_eq!(refused["userErrors"][0]["field"], json!([field]), "{refused:#}");
        }
    }

    async fn r26_r27_r42_templates_are_seen_by_those_they_are_shared_with_and_filled_with_what_these_may_read(app) {
        let desk = Desk::new(&app).await;
        let create = |name: &str, sharing: &str| json!({ "name": name, "sharing": sharing, "bodyText": "{{ client.address }} {{ item.title }}" });
        let other = app.user("Olga Other", "olga@ours.example", false).await;
        let own = app.make(&app.admin, "createTemplate", create("Own", "OWN"), "template { id }").await;
        let all = app.make(&app.admin, "createTemplate", create("All", "ALL"), "template { id }").await;
        let list = "{ templates { totalCount { value } nodes { name viewerCanChange } } }";
        let seen = app.data(&other, list, json!({})).await["templates"].clone();
        assert_eq!(seen, json!({ "totalCount": { "value": 1 }, "nodes": [{ "name": "All", "viewerCanChange": false }] }));
        let preview = "query ($id: ID!, $item: ID) { previewTemplate(templateId: $id, itemId: $item) { bodyText missing } }";
        for (template, item) in [(&own["template"]["id"], json!(null)), (&all["template"]["id"], json!(desk.deal))] {
            let data = app.data(&other, preview, json!({ "id": template, "item": item })).await;
            assert!(data["previewTemplate"].is_null(), "hidden is absent: {data:#}");
        }
        for (verb, template, code) in [("updateTemplate", &own, "NOT_FOUND"), ("deleteTemplate", &own, "NOT_FOUND"), ("updateTemplate", &all, "FORBIDDEN"), ("deleteTemplate", &all, "FORBIDDEN")] {
            let input = json!({ "templateId": template["template"]["id"] });
            let wanted = if verb == "deleteTemplate" { "deletedTemplateId" } else { "template { id }" };
            let refused = app.mutate(&other, verb, input, wanted).await;
            assert_eq!(refused["userErrors"][0]["code"], code, "{verb}");
        }
        let refused = app.mutate(&other, "createTemplate", create("Mine", "ALL"), "template { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "FORBIDDEN");
        // Hidden fields are missing ones.
        let role = json!({ "name": "Blind", "permissions": [{ "item": "CONTACT", "action": "READ", "level": "ALL" }], "hiddenFields": ["CONTACT_ADDRESSES"] });
        let role = app.make(&app.admin, "createRole", role, "role { id }").await;
        let assign = json!({ "holder": { "userId": app.viewer_id(&other).await }, "roleIds": [role["role"]["id"]] });
        app.make(&app.admin, "assignRoles", assign, "__typename").await;
        let data = app.data(&other, preview, json!({ "id": all["template"]["id"], "item": desk.contact })).await;
        assert_eq!(data["previewTemplate"], json!({ "bodyText": " Cleo Client", "missing": ["client.address"] }));
        app.make(&app.admin, "deleteTemplate", json!({ "templateId": all["template"]["id"] }), "deletedTemplateId").await;
        assert_eq!(app.data(&other, list, json!({})).await["templates"]["totalCount"]["value"], 0);
    }

    async fn r42_senders_and_signatures_are_used_by_those_they_are_for(app) {
        let desk = Desk::new(&app).await;
        let other = app.user("Olga Other", "olga@ours.example", false).await;
        let olga = app.viewer_id(&other).await;
        let share = json!({ "mailboxId": desk.mailbox, "userIds": [olga] });
        app.make(&app.admin, "shareMailbox", share, "mailbox { id }").await;
        let senders = json!({ "mailboxId": desk.mailbox, "senders": [
            { "name": "The machine shop", "address": "shop@ours.example" }, { "name": "Olga of the shop", "userId": olga },
        ] });
        let refused = app.mutate(&other, "updateMailboxSenders", senders.clone(), "mailbox { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "FORBIDDEN");
        let made = app.make(&app.admin, "updateMailboxSenders", senders, "mailbox { senders { id name address } }").await;
        let of_all = text(&made["mailbox"]["senders"][0]["id"]);
        let query = "query ($id: ID!) { mailbox(id: $id) { senders { id name address } signature { bodyText } } }";
        let seen = app.data(&other, query, json!({ "id": desk.mailbox })).await["mailbox"].clone();
        assert_eq!(seen["senders"].as_array().unwrap().len(), 2);
        assert_eq!(seen["senders"][1]["address"], ADDRESS);
        let of_olga = text(&seen["senders"][1]["id"]);
        let create = |sender: &str| json!({ "mailboxId": desk.mailbox, "to": [{ "address": CLIENT }], "senderId": sender, "bodyText": "Hello" });
        let refused = app.mutate(&app.admin, "createDraft", create(&of_olga), "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "another's sender");
        let sign = json!({ "mailboxId": desk.mailbox, "bodyText": "Ada\nSales", "bodyHtml": "<b>Ada</b><script>x()</script>" });
        let made = app.make(&app.admin, "updateSignature", sign, "mailbox { signature { bodyText bodyHtml } }").await;
        assert_eq!(made["mailbox"]["signature"], json!({ "bodyText": "Ada\nSales", "bodyHtml": "<b>Ada</b>" }));
        let made = app.make(&app.admin, "createDraft", create(&of_all), "draft { id bodyText from { name address } }").await;
        assert_eq!(made["draft"]["bodyText"], "Hello\n\n-- \nAda\nSales");
        assert_eq!(made["draft"]["from"], json!({ "name": "The machine shop", "address": "shop@ours.example" }));
        let draft = text(&made["draft"]["id"]);
        desk.send(&app, &draft).await;
        until_state(&app, &draft, "SENT").await;
        let mail = desk.smtp.taken_for(CLIENT).remove(0);
        assert_eq!(mail.from, "shop@ours.example");
        assert!(mail.header("Message-ID").unwrap().ends_with("@ours.example>"));
        // A sender that is gone is not sent under any more.
        let made = app.make(&app.admin, "createDraft", create(&of_all), "draft { id }").await;
        let none = json!({ "mailboxId": desk.mailbox, "senders": [] });
        app.make(&app.admin, "updateMailboxSenders", none, "mailbox { id }").await;
        let refused = app.mutate(&app.admin, "sendEmail", json!({ "draftId": made["draft"]["id"] }), "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "BAD_INPUT", "{refused:#}");
    }
}
