//! What was read (R40): by each user for themselves, and on the server where the mailbox's settings say so.

use crate::on_both;
use crate::spine::connect;
use crate::support::app::{TestApp, text};
use crate::support::dovecot;
use serde_json::json;
use std::collections::BTreeMap;

const ADA: &str = "ada@ours.example";
const ALL: &str = "query { threads { nodes { id unreadCount emails(first: 9) { nodes { id subject isRead } } } } }";
const UNREAD: &str =
    "query { search(query: \"is:unread\") { nodes { found { ... on Email { subject } } } } }";

fn mail(number: u8, parent: Option<u8>) -> String {
    let parent = parent.map_or(String::new(), |parent| {
        format!("In-Reply-To: <{parent}@client.example>\r\n")
    });
    format!(
        "Received: from client.example by ours.example; Mon, 23 Nov 2026 10:0{number}:00 +0000\r\nFrom: Cleo <cleo@client.example>\r\nTo: {ADA}\r\n\
         Subject: Cranes {number}\r\nMessage-ID: <{number}@client.example>\r\n{parent}Date: Mon, 23 Nov 2026 10:0{number}:00 +0000\r\n\r\nHello.\r\n"
    )
}

/// How many are unread in the conversation, and the subjects of those that are.
async fn unread(app: &TestApp, token: &str) -> (i64, Vec<String>) {
    let data = app.data(token, ALL, json!({})).await;
    let thread = &data["threads"]["nodes"][0];
    let emails = thread["emails"]["nodes"].as_array().unwrap();
    let of = |email: &serde_json::Value| {
        (email["isRead"] == json!(false)).then(|| text(&email["subject"]))
    };
    (
        thread["unreadCount"].as_i64().unwrap(),
        emails.iter().filter_map(of).collect(),
    )
}

async fn assert_unread(app: &TestApp, token: &str, wanted: &[u8]) {
    let subjects: Vec<String> = wanted
        .iter()
        .map(|number| format!("Cranes {number}"))
        .collect();
    assert_eq!(
        unread(app, token).await,
        (i64::try_from(wanted.len()).unwrap(), subjects.clone())
    );
    let asked = app.until(token, (UNREAD, json!({})), |data| {
        data["search"]["nodes"].as_array().unwrap().len() == subjects.len()
    });
    let found = asked.await;
    let mut found: Vec<String> = found["search"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| text(&hit["found"]["subject"]))
        .collect();
    found.sort();
    assert_eq!(found, subjects);
}

on_both! {
    async fn r40_each_user_has_read_what_they_have_read(app) {
        let ada = app.admin.clone();
        let otto = app.user("Otto", "otto@ours.example", false).await;
        let eva = app.user("Eva", "eva@ours.example", false).await;
        let dovecot = dovecot::start(&[ADA]);
        for raw in [mail(1, None), mail(2, Some(1)), mail(3, Some(2))] {
            dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
        }
        dovecot.add_flag(ADA, "INBOX", "2@client.example", "\\Seen").unwrap();
        connect(&app, &dovecot, &ada, ADA).await;
        let data = app.until(&ada, (ALL, json!({})), |data| data["threads"]["nodes"][0]["emails"]["nodes"].as_array().is_some_and(|all| all.len() == 3)).await;
        let thread = text(&data["threads"]["nodes"][0]["id"]);
        let emails: BTreeMap<String, String> = data["threads"]["nodes"][0]["emails"]["nodes"].as_array().unwrap().iter().map(|email| (text(&email["subject"]), text(&email["id"]))).collect();
        let mailbox = app.data(&ada, "{ mailboxes { nodes { id } } }", json!({})).await["mailboxes"]["nodes"][0]["id"].clone();
        app.make(&ada, "shareMailbox", json!({ "mailboxId": mailbox, "userIds": [app.viewer_id(&otto).await] }), "mailbox { id }").await;
        for reader in [&ada, &otto] {
            assert_unread(&app, reader, &[1, 3]).await;
        }
        // Each for themselves.
        let marked = app.make(&ada, "markEmail", json!({ "emailId": emails["Cranes 1"], "isRead": true }), "email { subject isRead }").await;
        assert_eq!(marked["email"], json!({ "subject": "Cranes 1", "isRead": true }));
        assert_unread(&app, &ada, &[3]).await;
        assert_unread(&app, &otto, &[1, 3]).await;
        // Their own word counts over the server's.
        let marked = app.make(&ada, "markThread", json!({ "threadId": thread, "isRead": false }), "thread { unreadCount }").await;
        assert_eq!(marked["thread"]["unreadCount"], 3);
        assert_unread(&app, &ada, &[1, 2, 3]).await;
        let marked = app.make(&otto, "markThread", json!({ "threadId": thread, "isRead": true }), "thread { unreadCount }").await;
        assert_eq!(marked["thread"]["unreadCount"], 0);
        app.make(&otto, "markEmail", json!({ "emailId": emails["Cranes 3"], "isRead": false }), "email { isRead }").await;
        assert_unread(&app, &otto, &[3]).await;
        assert_unread(&app, &ada, &[1, 2, 3]).await;
        // What comes later is unread, and nobody is told what they don't see.
        dovecot.append(ADA, "INBOX", mail(4, Some(3)).as_bytes()).unwrap();
        app.until(&otto, (ALL, json!({})), |data| data["threads"]["nodes"][0]["emails"]["nodes"].as_array().unwrap().len() == 4).await;
        assert_unread(&app, &otto, &[3, 4]).await;
        for (verb, input) in [("markEmail", json!({ "emailId": emails["Cranes 1"], "isRead": true })), ("markThread", json!({ "threadId": thread, "isRead": true }))] {
            let refused = app.mutate(&eva, verb, input, "__typename").await;
            assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "{verb}: {refused:#}");
        }
        // The server was told nothing.
        let seen = dovecot.doveadm(&["search", "-u", ADA, "mailbox", "INBOX", "seen"]).unwrap();
        assert_eq!(seen.lines().count(), 1);
    }

    async fn r40_the_server_s_flags_count_where_the_mailbox_says_so(app) {
        let ada = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        for raw in [mail(1, None), mail(2, Some(1))] {
            dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
        }
        connect(&app, &dovecot, &ada, ADA).await;
        app.until(&ada, (ALL, json!({})), |data| data["threads"]["nodes"][0]["unreadCount"] == 2).await;
        dovecot.add_flag(ADA, "INBOX", "2@client.example", "\\Seen").unwrap();
        app.until(&ada, (ALL, json!({})), |data| data["threads"]["nodes"][0]["unreadCount"] == 1).await;
        assert_unread(&app, &ada, &[1]).await;
        let mailbox = app.data(&ada, "{ mailboxes { nodes { id settings { readStateFollowsServer } } } }", json!({})).await["mailboxes"]["nodes"][0].clone();
        assert_eq!(mailbox["settings"]["readStateFollowsServer"], true);
        let set = async |follows: bool| {
            let input = json!({ "mailboxId": mailbox["id"], "settings": { "readStateFollowsServer": follows } });
            let set = app.make(&ada, "updateMailboxSettings", input, "mailbox { settings { readStateFollowsServer } }").await;
            assert_eq!(set["mailbox"]["settings"]["readStateFollowsServer"], follows);
        };
        set(false).await;
        assert_unread(&app, &ada, &[1, 2]).await;
        set(true).await;
        assert_unread(&app, &ada, &[1]).await;
        // What is gone from the server is nothing new.
        dovecot.expunge(ADA, "INBOX", "1@client.example").unwrap();
        app.until(&ada, (ALL, json!({})), |data| data["threads"]["nodes"][0]["unreadCount"] == 0).await;
        assert_unread(&app, &ada, &[]).await;
    }
}
