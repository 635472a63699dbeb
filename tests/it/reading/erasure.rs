//! What is erased for good (R47): persons with all that is theirs, and old mail that is not in the CRM.

use crate::on_both;
use crate::sending::desk::{CLIENT, Desk, until_state};
use crate::spine::{connect, mail};
use crate::support::app::{TestApp, text};
use crate::support::dovecot;
use mailroom::clock;
use mailroom::model::Time;
use mailroom::store::StoreError;
use mailroom::store::sql::sql;
use mailroom::worker::upkeep::round_now;
use serde_json::{Value, json};

const ADA: &str = "ada@ours.example";
const REPORT: &str = "report { emails attachments bytes leads contacts itemsKept sharedEmailsKept emailsLeft drafts sharedDraftsKept }";

async fn upkeep(app: &TestApp, clock: fn() -> Time) {
    let services = app.app().upkeep_services();
    let round =
        tokio::task::spawn_blocking(move || round_now(&services, clock, &|| false).unwrap());
    round.await.unwrap().unwrap();
}

fn in_two_days() -> Time {
    clock::now().plus_seconds(2 * 86_400)
}

/// In 40 days, and so late that the mails of November 2026 are older than a year.
fn in_two_years() -> Time {
    clock::now().plus_seconds(2 * 365 * 86_400)
}

async fn subjects(app: &TestApp, token: &str) -> Vec<String> {
    let data = app
        .data(
            token,
            "{ emails(first: 50) { nodes { subject } } }",
            json!({}),
        )
        .await;
    let mut found: Vec<String> = data["emails"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|email| text(&email["subject"]))
        .collect();
    found.sort();
    found
}

async fn until_mails(app: &TestApp, token: &str, count: usize) {
    let query = ("{ emails(first: 50) { nodes { id } } }", json!({}));
    app.until(token, query, |data| {
        data["emails"]["nodes"].as_array().unwrap().len() == count
    })
    .await;
}

/// Every text and every byte string of the database, and every file of the raw store, that hold a word.
async fn places_of(app: &TestApp, word: &'static str) -> Vec<String> {
    let store = app.app().store.clone();
    let on_sqlite = app.database_url().is_none();
    let mut found: Vec<String> = store
        .read(move |conn| {
            let mut found = Vec::new();
            let columns: Vec<(String, String)> = if on_sqlite {
                sql("SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name NOT LIKE 'search%' AND p.type IN ('TEXT', 'BLOB')").rows(conn)?
            } else {
                sql("SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = current_schema() AND data_type = 'text'").rows(conn)?
            };
            for (table, column) in columns {
                let query = format!("SELECT COUNT(*) FROM {table} WHERE CAST({column} AS TEXT) LIKE '%{word}%'");
                let count: Option<i64> = sql(query).one(conn)?;
                if count.unwrap_or(0) > 0 {
                    found.push(format!("{table}.{column}"));
                }
            }
            Ok::<_, StoreError>(found)
        })
        .await
        .unwrap();
    let mut folders = vec![std::path::PathBuf::from(&app.app().config.raw_store)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path)
                .unwrap()
                .windows(word.len())
                .any(|window| window == word.as_bytes())
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

async fn search(app: &TestApp, token: &str, query: &str) -> Value {
    let data = app.data(
        token,
        "query ($q: String!) { search(query: $q) { totalCount { value } } }",
        json!({ "q": query }),
    );
    data.await["search"]["totalCount"]["value"].clone()
}

on_both! {
    async fn r47_a_person_is_erased_with_every_byte(app) {
        let token = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        let shared = mail("Other <other@client.example>", "ada@ours.example, zorro@client.example", "shared", "four@x");
        for raw in [
            mail("Zorro Person <zorro@client.example>", ADA, "zorro-one", "one@x"),
            mail("Zorro Person <zorro@client.example>", ADA, "zorro-two", "two@x"),
            mail("Other <other@client.example>", ADA, "other", "three@x"),
            shared,
        ] {
            dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
        }
        let mailbox = connect(&app, &dovecot, &token, ADA).await;
        until_mails(&app, &token, 4).await;
        let both = json!({ "name": "Two people", "addresses": ["zorro@client.example", "keeps@client.example"] });
        app.make(&token, "createContact", both, "contact { id }").await;
        let query = ("query { search(query: \"zorro\") { totalCount { value } } }", json!({}));
        app.until(&token, query, |data| data["search"]["totalCount"]["value"].as_i64().unwrap() >= 5).await;

        // Only administrators, and none of our own.
        let otto = app.user("Otto", "otto@ours.example", false).await;
        let input = json!({ "addresses": ["zorro@client.example"] });
        let refused = app.mutate(&otto, "erasePerson", input.clone(), REPORT).await;
        assert_eq!(refused["userErrors"][0]["code"], "FORBIDDEN");
        let refused = app.mutate(&token, "erasePerson", json!({ "addresses": [ADA] }), REPORT).await;
        assert_eq!(refused["userErrors"][0]["code"], "BAD_INPUT");

        let dry = json!({ "addresses": ["ZORRO@client.example"], "isDryRun": true });
        let planned = app.make(&token, "erasePerson", dry, REPORT).await;
        assert_eq!(subjects(&app, &token).await.len(), 4, "a dry run changes nothing");
        let done = app.make(&token, "erasePerson", input, REPORT).await;
        assert_eq!(planned["report"], done["report"]);
        let report = &done["report"];
        assert_eq!((&report["emails"], &report["leads"], &report["itemsKept"], &report["sharedEmailsKept"], &report["emailsLeft"]),
                   (&json!(2), &json!(1), &json!(1), &json!(1), &json!(0)), "{report:#}");
        assert!(report["bytes"].as_i64().unwrap() > 400);
        // At once they are found no more, and nothing of them is left but what others wrote.
        assert_eq!(search(&app, &token, "from:zorro or \"zorro one\"").await, 0);
        assert_eq!(subjects(&app, &token).await, ["other", "shared"]);
        let everything = json!({ "addresses": ["zorro@client.example"], "includeShared": true });
        let done = app.make(&token, "erasePerson", everything, REPORT).await;
        assert_eq!((&done["report"]["emails"], &done["report"]["sharedEmailsKept"]), (&json!(1), &json!(0)));
        upkeep(&app, in_two_days).await;
        assert_eq!(places_of(&app, "zorro").await, Vec::<String>::new());
        assert_ne!(places_of(&app, "other@client").await, Vec::<String>::new());

        // It is still on the server, and does not come back: neither by a comparison nor from another folder.
        app.make(&token, "reconcileMailbox", json!({ "mailboxId": mailbox }), "mailbox { id }").await;
        dovecot.append(ADA, "INBOX", mail("Zorro Person <zorro@client.example>", ADA, "zorro-one", "one@x").as_bytes()).unwrap();
        dovecot.append(ADA, "INBOX", mail("Other <other@client.example>", ADA, "new", "five@x").as_bytes()).unwrap();
        until_mails(&app, &token, 2).await;
        assert_eq!(subjects(&app, &token).await, ["new", "other"]);
        upkeep(&app, in_two_days).await;
        assert_eq!(places_of(&app, "zorro").await, Vec::<String>::new());
    }

    async fn r47_old_mail_that_is_not_in_the_crm_goes_where_its_mailbox_says_so(app) {
        let token = app.admin.clone();
        app.user("Bob", "bob@ours.example", false).await;
        let dovecot = dovecot::start(&[ADA]);
        for (from, id) in [("c@client.example", "saved"), ("bob@ours.example", "confidential")] {
            dovecot.append(ADA, "INBOX", mail(from, ADA, id, &format!("{id}@x")).as_bytes()).unwrap();
        }
        let mailbox = connect(&app, &dovecot, &token, ADA).await;
        until_mails(&app, &token, 2).await;
        upkeep(&app, in_two_years).await;
        assert_eq!(subjects(&app, &token).await, ["confidential", "saved"], "by itself nothing goes");
        let input = |days: Value| json!({ "mailboxId": mailbox, "days": days });
        let refused = app.mutate(&token, "updateMailboxRetention", input(json!(3)), "mailbox { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "BAD_INPUT");
        let otto = app.user("Otto", "otto@ours.example", false).await;
        let refused = app.mutate(&otto, "updateMailboxRetention", input(json!(30)), "mailbox { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
        let set = app.make(&token, "updateMailboxRetention", input(json!(365)), "mailbox { retentionDays }").await;
        assert_eq!(set["mailbox"]["retentionDays"], 365);
        upkeep(&app, in_two_years).await;
        assert_eq!(subjects(&app, &token).await, ["saved"]);
        assert_eq!(places_of(&app, "confidential").await, Vec::<String>::new());
        let set = app.make(&token, "updateMailboxRetention", input(json!(null)), "mailbox { retentionDays }").await;
        assert!(set["mailbox"]["retentionDays"].is_null());
    }

    async fn r47_a_mail_that_is_saved_while_it_is_to_be_erased_stays(app) {
        let token = app.admin.clone();
        app.user("Bob", "bob@ours.example", false).await;
        let dovecot = dovecot::start(&[ADA]);
        for (from, id) in [("c@client.example", "saved"), ("bob@ours.example", "confidential")] {
            dovecot.append(ADA, "INBOX", mail(from, ADA, id, &format!("{id}@x")).as_bytes()).unwrap();
        }
        let mailbox = connect(&app, &dovecot, &token, ADA).await;
        until_mails(&app, &token, 2).await;
        let input = json!({ "mailboxId": mailbox, "days": 365 });
        app.make(&token, "updateMailboxRetention", input, "mailbox { id }").await;
        let (locks, saves) = tokio::sync::oneshot::channel();
        let (store, on_sqlite) = (app.app().store.clone(), app.database_url().is_none());
        // Somebody saves it, and commits only when the upkeep waits for them.
        let saving = tokio::task::spawn_blocking(move || {
            store.write_now(clock::now(), |tx| {
                sql("INSERT INTO email_links (email_id, item_id, is_primary, received_at, linked_at) \
                     SELECT e.id, (SELECT MIN(id) FROM items), TRUE, e.received_at, 1 FROM emails e WHERE e.subject = 'confidential'")
                    .run(tx.conn)?;
                locks.send(()).unwrap();
                while !on_sqlite && sql("SELECT COUNT(*) FROM pg_locks \
                    WHERE NOT granted AND transactionid = CAST(pg_current_xact_id() AS xid)").one::<i64>(tx.conn)? == Some(0) {
                    std::thread::yield_now();
                }
                Ok::<_, StoreError>(())
            }).unwrap();
        });
        saves.await.unwrap();
        upkeep(&app, in_two_years).await;
        saving.await.unwrap();
        assert_eq!(subjects(&app, &token).await, ["confidential", "saved"]);
    }

    async fn r47_how_long_mail_is_kept_counts_as_it_is_when_it_would_go(app) {
        let token = app.admin.clone();
        app.user("Bob", "bob@ours.example", false).await;
        let dovecot = dovecot::start(&[ADA]);
        dovecot.append(ADA, "INBOX", mail("bob@ours.example", ADA, "confidential", "one@x").as_bytes()).unwrap();
        let mailbox = connect(&app, &dovecot, &token, ADA).await;
        until_mails(&app, &token, 1).await;
        let input = json!({ "mailboxId": mailbox, "days": 365 });
        app.make(&token, "updateMailboxRetention", input, "mailbox { id }").await;
        // Somebody wants it kept for ever after the round has begun.
        let (services, store) = (app.app().upkeep_services(), app.app().store.clone());
        let round = tokio::task::spawn_blocking(move || round_now(&services, in_two_years, &|| {
            store.write_now(clock::now(), |tx| sql("UPDATE mailboxes SET retention_days = NULL").run(tx.conn)).unwrap();
            false
        }).unwrap());
        assert_eq!(round.await.unwrap().unwrap().mails_erased, 0);
        assert_eq!(subjects(&app, &token).await, ["confidential"]);
    }

    async fn r47_what_a_person_wrote_to_others_outside_is_theirs_too(app) {
        let token = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        for (from, to, id) in [
            ("zorro@client.example", ADA, "to us alone"),
            ("zorro@client.example", "ada@ours.example, other@client.example", "to another, too"),
            ("ada@ours.example", "zorro@client.example", "from us to them alone"),
        ] {
            dovecot.append(ADA, "INBOX", mail(from, to, id, &format!("{}@x", id.len())).as_bytes()).unwrap();
        }
        connect(&app, &dovecot, &token, ADA).await;
        until_mails(&app, &token, 3).await;
        let done = app.make(&token, "erasePerson", json!({ "addresses": ["zorro@client.example"] }), REPORT).await;
        assert_eq!((&done["report"]["emails"], &done["report"]["sharedEmailsKept"]), (&json!(2), &json!(1)), "{done:#}");
        assert_eq!(subjects(&app, &token).await, ["to another, too"]);
    }

    async fn r47_a_person_is_erased_with_what_was_written_to_them(app) {
        let desk = Desk::new(&app).await;
        let token = app.admin.clone();
        let person = |shared: bool| json!({ "addresses": [CLIENT], "includeShared": shared });
        let report = |done: &Value| (done["report"]["emails"].clone(), done["report"]["drafts"].clone(), done["report"]["sharedDraftsKept"].clone());
        // A mail that went out, one that is being written with a file, one that is for somebody else as well.
        let sent = desk.draft(&app, CLIENT, "sent to zorro").await;
        desk.send(&app, &sent).await;
        until_state(&app, &sent, "SENT").await;
        let written = desk.draft(&app, "CLEO@client.example", "written to zorro").await;
        let file = json!({ "draftId": written, "name": "zorro.pdf", "mediaType": "application/pdf", "size": 9 });
        let file = app.make(&token, "addDraftAttachment", file, "uploadUrl").await;
        let put = reqwest::Client::new().put(text(&file["uploadUrl"])).body("zorro pdf").send().await.unwrap();
        assert_eq!(put.status(), 204);
        let to = json!([{ "address": CLIENT }, { "address": "dora@client.example" }]);
        let shared = json!({ "mailboxId": desk.mailbox, "to": to, "subject": "for two", "bodyText": "zorro" });
        app.make(&token, "createDraft", shared, "draft { id }").await;
        desk.draft(&app, "dora@client.example", "for another").await;
        // What waits to go out comes first.
        let waits = json!({ "draftId": written, "undoSeconds": 100 });
        app.make(&token, "sendEmail", waits, "draft { id }").await;
        let refused = app.mutate(&token, "erasePerson", person(false), REPORT).await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE", "{refused:#}");
        app.make(&token, "cancelSending", json!({ "draftId": written }), "draft { id }").await;
        let done = app.make(&token, "erasePerson", person(false), REPORT).await;
        assert_eq!(report(&done), (json!(1), json!(2), json!(1)), "{done:#}");
        let done = app.make(&token, "erasePerson", person(true), REPORT).await;
        assert_eq!(report(&done), (json!(0), json!(1), json!(0)), "{done:#}");
        upkeep(&app, in_two_days).await;
        for word in ["cleo@client", "zorro"] {
            assert_eq!(places_of(&app, word).await, Vec::<String>::new());
        }
        let left = app.data(&token, "{ drafts { nodes { subject } } }", json!({})).await;
        assert_eq!(left["drafts"]["nodes"], json!([{ "subject": "for another" }]));
    }

    async fn r47_an_old_mail_goes_with_what_was_written_in_answer(app) {
        let desk = Desk::new(&app).await;
        let token = app.admin.clone();
        desk.receive("q1@client.example", "A question");
        let email = desk.email(&app, "A question").await;
        app.make(&token, "removeEmail", json!({ "emailId": email["id"] }), "email { id }").await;
        let mut drafts = Vec::new();
        for _ in 0..2 {
            let answer = json!({ "originalId": email["id"], "kind": "REPLY", "bodyText": "Yes." });
            let made = app.make(&token, "createDraft", answer, "draft { id bodyText }").await;
            assert!(text(&made["draft"]["bodyText"]).contains("this is about A question"));
            drafts.push(text(&made["draft"]["id"]));
        }
        let input = json!({ "mailboxId": desk.mailbox, "days": 365 });
        app.make(&token, "updateMailboxRetention", input, "mailbox { id }").await;
        // What is on its way is waited for.
        app.make(&token, "sendEmail", json!({ "draftId": drafts[0], "undoSeconds": 100 }), "draft { id }").await;
        upkeep(&app, in_two_years).await;
        assert!(places_of(&app, "about A question").await.contains(&"drafts.content".to_owned()));
        app.make(&token, "cancelSending", json!({ "draftId": drafts[0] }), "draft { id }").await;
        upkeep(&app, in_two_years).await;
        assert_eq!(places_of(&app, "about A question").await, Vec::<String>::new());
    }
}
