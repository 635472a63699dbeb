//! What has to go, goes (R10): mails of disconnected mailboxes that the CRM never saved, and bytes that nothing names.

use super::{number, until_number};
use crate::on_both;
use crate::spine::{connect, mail};
use crate::support::app::TestApp;
use crate::support::dovecot;
use mailroom::clock;
use mailroom::model::Time;
use mailroom::store::{StoreError, leases};
use mailroom::worker::upkeep::{Upkept, round_now};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const ADA: &str = "ada@ours.example";
const BOB: &str = "bob@ours.example";
const EMAILS: &str = "SELECT count(*) FROM emails";

fn in_29_days() -> Time {
    clock::now().plus_seconds(29 * 86_400)
}

fn in_31_days() -> Time {
    clock::now().plus_seconds(31 * 86_400)
}

/// One round at this moment; it is told to stop after so many looks.
async fn round(app: &TestApp, clock: fn() -> Time, looks: u32) -> Option<Upkept> {
    let services = app.app().upkeep_services();
    let looked = AtomicU32::new(0);
    tokio::task::spawn_blocking(move || {
        let is_stopped = || looked.fetch_add(1, Ordering::AcqRel) >= looks;
        round_now(&services, clock, &is_stopped).unwrap()
    })
    .await
    .unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// Bytes in the raw store, and those that a mail names.
async fn bytes(app: &TestApp) -> (u64, u64) {
    let folder = PathBuf::from(&app.app().config.raw_store);
    let held = files_below(&folder)
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    let named = number(
        app.app(),
        "SELECT CAST(COALESCE(SUM(byte_length), 0) AS BIGINT) FROM raw_mails",
    )
    .await;
    (held, u64::try_from(named).unwrap())
}

/// Whether any file of the raw store holds this text.
fn is_held(app: &TestApp, needle: &str) -> bool {
    let folder = PathBuf::from(&app.app().config.raw_store);
    files_below(&folder).iter().any(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
    })
}

on_both! {
    async fn r10_what_the_crm_did_not_save_is_erased_after_30_days(app) {
        let token = app.admin.clone();
        app.user("Bob", BOB, false).await;
        let dovecot = dovecot::start(&[ADA]);
        // In one object of the raw store: two of clients, which are saved, and two of a colleague, which are not.
        for (from, id) in [("c@client.example", "one"), (BOB, "secret-two"), ("d@client.example", "three"), (BOB, "secret-four")] {
            dovecot.append(ADA, "INBOX", mail(from, ADA, id, &format!("{id}@x")).as_bytes()).unwrap();
        }
        let id = connect(&app, &dovecot, &token, ADA).await;
        until_number(app.app(), EMAILS, 4).await;
        // One that was saved, and taken out again: an entry of the timeline still names it.
        dovecot.append(ADA, "INBOX", mail("e@client.example", ADA, "secret-five", "five@x").as_bytes()).unwrap();
        until_number(app.app(), EMAILS, 5).await;
        let found = "query ($id: ID!) { mailbox(id: $id) { emails(first: 9) { nodes { id subject } } } }";
        let found = app.data(&token, found, json!({ "id": id })).await;
        let emails = found["mailbox"]["emails"]["nodes"].as_array().unwrap();
        let five = emails.iter().find(|email| email["subject"] == "secret-five").unwrap();
        app.make(&token, "removeEmail", json!({ "emailId": five["id"] }), "email { outcome }").await;

        app.make(&token, "disconnectMailbox", json!({ "mailboxId": id }), "mailbox { id }").await;
        assert_eq!(number(app.app(), "SELECT count(*) FROM mailboxes WHERE secret_sealed IS NOT NULL").await, 0);
        assert_eq!(round(&app, in_29_days, u32::MAX).await.unwrap(), Upkept::default());
        assert_eq!(number(app.app(), EMAILS).await, 5, "not before its time");

        // Ended at any point, it goes on with the next round.
        for looks in 1..6 {
            round(&app, in_31_days, looks).await;
        }
        round(&app, in_31_days, u32::MAX).await.unwrap();
        let subjects: Vec<String> = app.app().store.read(|conn| {
            mailroom::store::sql::sql("SELECT subject FROM emails ORDER BY subject").rows(conn)
        }).await.unwrap();
        assert_eq!(subjects, ["", "one", "three"], "what was taken out says nothing any more");
        assert!(!is_held(&app, "secret-"), "its bytes are gone too");
        assert!(is_held(&app, "this is about one") && is_held(&app, "this is about three"));
        let (held, named) = bytes(&app).await;
        assert_eq!(held, named, "no byte is held that nothing names");
        for table in ["participants", "messages"] {
            let text = format!("{:?}", app.app().store.read(move |conn| {
                let query = match table {
                    "participants" => "SELECT address FROM participants",
                    _ => "SELECT subject_base FROM messages",
                };
                mailroom::store::sql::sql(query).rows::<String>(conn)
            }).await.unwrap());
            assert!(!text.contains("secret-") && !text.contains("e@client.example"), "{table}: {text}");
        }
        let audited = app.data(&token, "{ auditLog(first: 20, filter: { action: \"eraseMailbox\" }) { nodes { action } } }", json!({})).await;
        assert_eq!(audited["auditLog"]["nodes"].as_array().unwrap().len(), 1, "once");
        assert_eq!(round(&app, in_31_days, u32::MAX).await.unwrap(), Upkept::default(), "nothing is left to do");

        // Connected again, it comes back, and what was saved is not doubled.
        let owner = app.viewer_id(&token).await;
        let input = json!({ "mailboxId": id, "connectorId": owner, "secret": { "password": dovecot.password() } });
        app.make(&token, "transferMailbox", input, "mailbox { id }").await;
        until_number(app.app(), "SELECT count(*) FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch WHERE p.state = 'STORED'", 5).await;
        assert_eq!(number(app.app(), "SELECT count(*) FROM timeline_entries WHERE kind = 'EMAIL_RECEIVED' AND message_id IN (SELECT message_id FROM emails WHERE subject IN ('one', 'three'))").await, 2);
    }

    async fn bytes_that_nothing_names_go_after_a_day_and_not_while_a_backup_runs(app) {
        let folder = PathBuf::from(&app.app().config.raw_store).join("mail/ab");
        std::fs::create_dir_all(&folder).unwrap();
        let (orphan, draft) = (folder.join("abcdef"), folder.join("abcdee#1"));
        std::fs::write(&orphan, "left by a crash").unwrap();
        std::fs::write(&draft, "half writ").unwrap();
        round(&app, clock::now, u32::MAX).await.unwrap();
        assert!(orphan.exists() && draft.exists(), "they may be named in a moment");

        let store = app.app().store.clone();
        let hold = |seconds| {
            let store = store.clone();
            async move {
                let name = format!("{}test", leases::BACKUP);
                store.write(in_31_days(), move |tx| {
                    if seconds > 0 {
                        leases::claim(tx, &name, "test", seconds).map(drop)
                    } else {
                        leases::release(tx, &name, "test")
                    }
                }).await.map_err(|error: StoreError| error.to_string()).unwrap();
            }
        };
        hold(600).await;
        round(&app, in_31_days, u32::MAX).await.unwrap();
        assert!(orphan.exists(), "a backup may be about to read it");
        hold(0).await;
        let upkept = round(&app, in_31_days, u32::MAX).await.unwrap();
        assert_eq!(upkept.objects_removed, 1);
        assert!(!orphan.exists() && !draft.exists());
        assert_eq!(bytes(&app).await, (0, 0));
    }
}
