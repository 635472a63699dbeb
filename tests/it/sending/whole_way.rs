//! The whole way with a real IMAP server: sent, put into Sent, read back by sync, and known there.

use super::desk::until_state;
use crate::on_both;
use crate::support::app::text;
use crate::support::dovecot;
use crate::support::smtp_server::SmtpServer;
use serde_json::json;

const ADDRESS: &str = "sales@ours.example";

on_both! {
    async fn r07_r41_sent_mail_lies_in_sent_once_and_is_one_email_dovecot(app) {
        let dovecot = dovecot::start(&[ADDRESS]);
        let smtp = SmtpServer::start();
        let input = json!({
            "address": ADDRESS,
            "imap": { "host": "127.0.0.1", "port": dovecot.imap_port(), "security": "PLAIN" },
            "smtp": { "host": "127.0.0.1", "port": smtp.port(), "security": "PLAIN" },
            "secret": { "password": dovecot.password() },
            "history": { "everything": true },
        });
        let made = app.make(&app.admin, "connectMailbox", input, "mailbox { id }").await;
        let mailbox = text(&made["mailbox"]["id"]);
        let input = json!({
            "mailboxId": mailbox, "to": [{ "name": "Cleo", "address": "cleo@client.example" }], "cc": [{ "address": ADDRESS }],
            "subject": "Gr\u{fc}\u{df}e", "bodyText": "Hello\n.\nBye", "bodyHtml": "<p>Hello</p>",
        });
        let made = app.make(&app.admin, "createDraft", input, "draft { id }").await;
        let draft = text(&made["draft"]["id"]);
        app.make(&app.admin, "sendEmail", json!({ "draftId": draft, "undoSeconds": 0 }), "draft { id }").await;
        let sent = until_state(&app, &draft, "SENT").await;
        let raw = smtp.taken_for("cleo@client.example").remove(0).raw;
        // The copy to ourselves, as its server delivers it.
        let received = [b"Received: from smtp.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n".as_slice(), &raw].concat();
        dovecot.deliver(&received, ADDRESS, ADDRESS).unwrap();
        let query = "query ($id: ID!) { mailbox(id: $id) { sync { done } emails { nodes { id direction outcome } } } }";
        let data = app
            .until(&app.admin, (query, json!({ "id": mailbox })), |data| data["mailbox"]["sync"]["done"] == 2)
            .await;
        assert_eq!(dovecot.count(ADDRESS, "Sent").unwrap(), 1);
        assert_eq!(dovecot.count(ADDRESS, "INBOX").unwrap(), 1);
        let emails = data["mailbox"]["emails"]["nodes"].as_array().unwrap();
        assert_eq!(emails.len(), 1, "{emails:#?}");
        assert_eq!(emails[0]["id"], sent["email"]["id"]);
        assert_eq!((emails[0]["direction"].as_str(), emails[0]["outcome"].as_str()), (Some("OUTGOING"), Some("SAVED")));
        let timeline = app.data(&app.admin, "{ timeline(kinds: [EMAIL_SENT]) { totalCount { value } } }", json!({})).await;
        assert_eq!(timeline["timeline"]["totalCount"]["value"], 1);
    }
}
