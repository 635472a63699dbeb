//! Every way in which a server fails, by many mails: each gets at most one copy out, and says what became of it.

use super::desk::{Desk, hurry, seen, until_state};
use crate::on_both;
use crate::support::app::{PATIENCE, TestApp};
use crate::support::smtp_server::FAULTS;
use serde_json::json;
use std::time::{Duration, Instant};

/// 500 mails of each kind with `MAILROOM_TEST_LONG`.
fn mails_of_each() -> usize {
    if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        500
    } else {
        3
    }
}

/// What becomes of a mail, and how many copies its recipient gets.
fn expected(fault: &str) -> (&'static str, usize) {
    match fault {
        "sender-refused" | "recipient-refused" | "data-refused" | "dot-refused" => ("FAILED", 0),
        "cut-after-dot" => ("UNKNOWN", 1),
        "lost-after-dot" => ("UNKNOWN", 0),
        _ => ("SENT", 1),
    }
}

/// Waits until no mail is on its way any more, as long as they become fewer.
async fn until_none_waits(app: &TestApp) {
    let query = "{ drafts(states: [QUEUED, SENDING]) { totalCount(limit: 100000) { value } } }";
    let (mut fewest, mut since) = (i64::MAX, Instant::now());
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        hurry(&app.app().store);
        let data = app.data(&app.admin, query, json!({})).await;
        let left = data["drafts"]["totalCount"]["value"].as_i64().unwrap();
        match left {
            0 => return,
            left if left < fewest => (fewest, since) = (left, Instant::now()),
            left => assert!(since.elapsed() < PATIENCE, "{left} mails wait for ever"),
        }
    }
}

on_both! {
    async fn r41_whatever_fails_each_mail_goes_out_at_most_once_and_nothing_is_silent(app) {
        let desk = Desk::new(&app).await;
        let mut all = Vec::new();
        for fault in FAULTS {
            for number in 0..mails_of_each() {
                let to = format!("fault-{fault}-{number}@client.example");
                let draft = desk.draft(&app, &to, &format!("{fault} {number}")).await;
                desk.send(&app, &draft).await;
                all.push((draft, fault, to));
            }
        }
        until_none_waits(&app).await;
        let (mut failed, mut unnoticed) = (0, 0);
        for (draft, fault, to) in &all {
            let (state, copies) = expected(fault);
            let found = seen(&app, draft).await;
            // Where it was cut off before the dot, and that was not noticed in time, nobody knows either.
            let is_cut = ["cut-at-data", "cut-in-mail"].contains(fault);
            if is_cut && found["state"] == "UNKNOWN" {
                assert!(desk.smtp.taken_for(to).is_empty(), "{fault}");
                unnoticed += 1;
                continue;
            }
            assert_eq!(found["state"], state, "{fault}: {found:#}");
            assert_eq!(desk.smtp.taken_for(to).len(), copies, "{fault}: copies of one mail");
            if state == "FAILED" {
                failed += 1;
                let why = &found["failures"][0];
                assert!(!why["reason"].as_str().unwrap().is_empty(), "{fault}: {found:#}");
                let of_recipient = ["sender-refused", "recipient-refused"].contains(fault);
                assert_eq!(why["recipient"].as_str().is_some(), of_recipient, "{fault}");
            }
        }
        // What failed, and what may have gone out, stands on the item's timeline.
        if mails_of_each() < 5 {
            let told = desk.told(&app).await;
            let count = |what: &str| told.iter().filter(|told| *told == what).count();
            assert_eq!(count("FAILED"), failed, "{told:?}");
            assert_eq!(count("UNKNOWN"), 2 * mails_of_each() + unnoticed);
            assert_eq!(count("EmailSent"), (FAULTS.len() - 6) * mails_of_each() - unnoticed);
        }
    }

    async fn r41_one_refused_recipient_and_nobody_gets_it(app) {
        let desk = Desk::new(&app).await;
        let input = json!({
            "mailboxId": desk.mailbox, "to": [{ "address": "good@client.example" }],
            "bcc": [{ "address": "fault-recipient-refused-1@client.example" }], "subject": "To both", "bodyText": "x",
        });
        let made = app.make(&app.admin, "createDraft", input, "draft { id }").await;
        let draft = crate::support::app::text(&made["draft"]["id"]);
        desk.send(&app, &draft).await;
        let found = until_state(&app, &draft, "FAILED").await;
        assert_eq!(found["failures"].as_array().unwrap().len(), 1, "{found:#}");
        assert_eq!(found["failures"][0]["recipient"], "fault-recipient-refused-1@client.example");
        assert!(desk.smtp.state().taken.is_empty());
        // Put right, it goes out, once.
        let input = json!({ "draftId": draft, "bcc": [] });
        app.make(&app.admin, "updateDraft", input, "draft { state }").await;
        desk.send(&app, &draft).await;
        until_state(&app, &draft, "SENT").await;
        assert_eq!(desk.smtp.taken_for("good@client.example").len(), 1);
    }

    async fn r41_what_may_have_gone_out_is_settled_by_the_copy_that_comes_back_and_never_sent_again_by_itself(app) {
        let desk = Desk::new(&app).await;
        let to = "fault-cut-after-dot-1@client.example";
        let draft = desk.draft(&app, to, "Did it arrive?").await;
        desk.send(&app, &draft).await;
        until_state(&app, &draft, "UNKNOWN").await;
        let again = json!({ "draftId": draft, "undoSeconds": 0 });
        let refused = app.mutate(&app.admin, "sendEmail", again, "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE");
        let raw = desk.smtp.taken_for(to)[0].raw.clone();
        let at = mailroom::clock::now().seconds();
        desk.imap.state().folder("Sent").add(raw, at);
        let found = until_state(&app, &draft, "SENT").await;
        assert_eq!(found["email"]["direction"], "OUTGOING", "{found:#}");
        assert_eq!(found["email"]["links"][0]["item"]["id"], desk.deal.as_str());
        assert_eq!(desk.told(&app).await, ["QUEUED", "UNKNOWN", "EmailSent"]);
        assert_eq!(desk.smtp.taken_for(to).len(), 1);
    }

    async fn r41_a_refused_login_says_so_and_what_is_too_large_is_not_tried(app) {
        let desk = Desk::new(&app).await;
        desk.smtp.state().size_max = 100;
        let draft = desk.draft(&app, "large@client.example", "Too large").await;
        desk.send(&app, &draft).await;
        let found = until_state(&app, &draft, "FAILED").await;
        assert!(found["failures"][0]["reason"].as_str().unwrap().contains("larger"), "{found:#}");
        let smtp = json!({ "host": "127.0.0.1", "port": desk.smtp.port(), "security": "PLAIN" });
        desk.smtp.state().refuses_login = true;
        let input = json!({ "mailboxId": desk.mailbox, "smtp": smtp });
        let refused = app.mutate(&app.admin, "updateMailboxSending", input, "mailbox { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "MAILBOX_LOGIN", "{refused:#}");
        assert_eq!(refused["userErrors"][0]["field"], json!(["smtp"]));
        let nowhere = json!({ "mailboxId": desk.mailbox, "smtp": { "host": "127.0.0.1", "port": 1, "security": "PLAIN" } });
        let refused = app.mutate(&app.admin, "updateMailboxSending", nowhere, "mailbox { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "MAILBOX_CONNECT");
        let none = json!({ "mailboxId": desk.mailbox });
        let made = app.make(&app.admin, "updateMailboxSending", none, "mailbox { viewerCanSend }").await;
        assert_eq!(made["mailbox"]["viewerCanSend"], false);
    }
}
