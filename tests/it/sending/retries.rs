//! What is tried again, how often, and what is never forgotten over it.

use super::desk::{CLIENT, Desk, hurry, seen, until_state};
use crate::on_both;
use crate::support::app::{TestApp, text};
use mailroom::clock;
use mailroom::model::topic::Topic;
use mailroom::store::drafts::{self, ClaimLimits};
use mailroom::store::sql::sql;
use mailroom::store::{Store, StoreError};
use serde_json::{Value, json};

/// Begins a mail that waits for a minute at least.
async fn waiting(app: &TestApp, desk: &Desk, to: &str, subject: &str) -> String {
    let draft = desk.draft(app, to, subject).await;
    let input = json!({ "draftId": draft, "undoSeconds": 100 });
    app.make(&app.admin, "sendEmail", input, "draft { id }")
        .await;
    draft
}

/// The mails that wait are claimed by the sender that runs, which knows nothing of it: as after a claim of which the answer
/// was lost, or a job that panicked.
fn claim_for_nobody(store: &Store, subject: &str, is_handed_over: bool) {
    let claimed = store.write_now(clock::now(), |tx| {
        let holder: Option<String> = sql(
            "SELECT holder FROM leases WHERE name LIKE 'sender:%' ORDER BY expires_at DESC LIMIT 1",
        )
        .one(tx.conn)?;
        sql("UPDATE drafts SET state = 'SENDING', attempt = attempt + 1, claimed_by = ")
            .bind(holder.unwrap())
            .push(", is_handed_over = ")
            .bind(is_handed_over)
            .push(" WHERE state = 'QUEUED' AND content LIKE ")
            .bind(format!("%{subject}%"))
            .run(tx.conn)?;
        tx.wake(Topic::Sending);
        Ok::<_, StoreError>(())
    });
    claimed.unwrap();
}

/// How many mails a sender without any mailbox would claim twice, one claim after the other, were all of them due; and
/// whether it would then find the next one due. Nothing of it is kept.
fn claimed(store: &Store, limits: ClaimLimits) -> (usize, usize, bool) {
    let mut found = None;
    let undone = store.write_now(clock::now(), |tx| {
        sql("UPDATE drafts SET due_at = 1 WHERE state = 'QUEUED'").run(tx.conn)?;
        let is_due = drafts::next_due(tx.conn, tx.now)?.is_some();
        let first = drafts::claim(tx, "nobody", &[], limits)?.len();
        let second = drafts::claim(tx, "nobody", &[], limits)?.len();
        found = Some((first, second, is_due));
        Err::<(), _>(StoreError::Setting("undone".to_owned()))
    });
    assert!(undone.is_err());
    found.unwrap()
}

on_both! {
    async fn r41_what_may_have_gone_out_still_may_have_whatever_becomes_of_it_sent_once_more(app) {
        let desk = Desk::new(&app).await;
        let to = "fault-cut-after-dot-1@client.example";
        let draft = desk.draft(&app, to, "Once more").await;
        desk.send(&app, &draft).await;
        let unknown = until_state(&app, &draft, "UNKNOWN").await;
        assert_eq!(unknown["mayHaveGoneOut"], true);
        // Taken back while it waits, it is no draft: the first try may have gone out.
        let again = |seconds: u32| json!({ "draftId": draft, "undoSeconds": seconds, "evenIfItMayHaveGoneOut": true });
        let made = app.make(&app.admin, "sendEmail", again(100), "draft { state mayHaveGoneOut }").await;
        assert_eq!(made["draft"], json!({ "state": "QUEUED", "mayHaveGoneOut": true }));
        app.make(&app.admin, "cancelSending", json!({ "draftId": draft }), "draft { id }").await;
        let found = seen(&app, &draft).await;
        assert_eq!((&found["state"], &found["messageId"]), (&json!("UNKNOWN"), &unknown["messageId"]), "{found:#}");
        let plain = json!({ "draftId": draft, "undoSeconds": 0 });
        let refused = app.mutate(&app.admin, "sendEmail", plain, "draft { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE");
        // Refused, it did not fail for good: nobody has learnt what became of the first.
        desk.smtp.state().size_max = 100;
        app.make(&app.admin, "sendEmail", again(0), "draft { id }").await;
        let found = until_state(&app, &draft, "UNKNOWN").await;
        assert!(found["failures"][0]["reason"].as_str().unwrap().contains("larger"), "{found:#}");
        let told = ["QUEUED", "UNKNOWN", "QUEUED", "UNKNOWN", "QUEUED", "UNKNOWN"];
        assert_eq!(desk.told(&app).await, told);
        // The copy that comes back settles it.
        let raw = desk.smtp.taken_for(to)[0].raw.clone();
        desk.imap.state().folder("Sent").add(raw, clock::now().seconds());
        let found = until_state(&app, &draft, "SENT").await;
        assert_eq!(found["mayHaveGoneOut"], false);
    }

    async fn r41_what_a_sender_claimed_and_does_not_send_is_taken_back_while_it_runs(app) {
        let desk = Desk::new(&app).await;
        let begun = waiting(&app, &desk, CLIENT, "Not begun").await;
        let handed = waiting(&app, &desk, CLIENT, "Handed over").await;
        let store = app.app().store.clone();
        claim_for_nobody(&store, "Not begun", false);
        claim_for_nobody(&store, "Handed over", true);
        until_state(&app, &begun, "QUEUED").await;
        until_state(&app, &handed, "UNKNOWN").await;
        hurry(&store);
        until_state(&app, &begun, "SENT").await;
        assert_eq!(desk.smtp.taken_for(CLIENT).len(), 1);
    }

    async fn r41_a_server_that_lets_nobody_in_is_asked_once_for_all_mails_that_are_due(app) {
        let desk = Desk::new(&app).await;
        let mut all = Vec::new();
        for number in 0..5 {
            all.push(waiting(&app, &desk, CLIENT, &format!("Mail {number}")).await);
        }
        let before = {
            let mut state = desk.smtp.state();
            state.hangs_up = true;
            state.connections
        };
        hurry(&app.app().store);
        let query = "{ drafts { nodes { state tries failures { reason } } } }";
        let data = app
            .until(&app.admin, (query, json!({})), |data| {
                let all = data["drafts"]["nodes"].as_array().unwrap();
                all.iter().all(|draft| draft["tries"] == 1 && draft["state"] == "QUEUED")
            })
            .await;
        assert_eq!(data["drafts"]["nodes"][4]["failures"].as_array().map(Vec::len), Some(1));
        assert_eq!(desk.smtp.state().connections, before + 1);
        desk.smtp.state().hangs_up = false;
        hurry(&app.app().store);
        for draft in &all {
            until_state(&app, draft, "SENT").await;
        }
    }

    async fn r41_no_mailbox_sends_more_within_a_minute_than_it_may_however_many_claim(app) {
        let desk = Desk::new(&app).await;
        let input = json!({
            "address": "support@ours.example",
            "imap": { "host": "127.0.0.1", "port": desk.imap.port(), "security": "PLAIN" },
            "smtp": { "host": "127.0.0.1", "port": desk.smtp.port(), "security": "PLAIN" },
            "secret": { "password": "secret" },
        });
        let made = app.make(&app.admin, "connectMailbox", input, "mailbox { id }").await;
        let support: &Value = &made["mailbox"]["id"];
        for number in 0..5 {
            waiting(&app, &desk, CLIENT, &format!("Mail {number}")).await;
            let input = json!({ "mailboxId": support, "to": [{ "address": CLIENT }], "subject": "Support", "bodyText": "x" });
            let made = app.make(&app.admin, "createDraft", input, "draft { id }").await;
            let input = json!({ "draftId": text(&made["draft"]["id"]), "undoSeconds": 100 });
            app.make(&app.admin, "sendEmail", input, "draft { id }").await;
        }
        let store = app.app().store.clone();
        let limits = |mails, mailboxes, per_minute| ClaimLimits { mails, mailboxes, per_minute };
        // (limits, what the first claim gets, what the second gets)
        let rows = [
            (limits(40, 8, 60), 10, 0),
            (limits(40, 8, 3), 6, 0),
            (limits(4, 8, 3), 4, 2),
            (limits(40, 1, 60), 5, 5),
            (limits(40, 1, 3), 3, 3),
        ];
        for (limits, first, second) in rows {
            // What was due when mail was looked for is nothing to wake up for.
            assert_eq!(claimed(&store, limits), (first, second, false), "{limits:?}");
        }
    }
}
