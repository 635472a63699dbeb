//! Mail that can't be taken in stops nothing, is listed, and is tried again (R5).

use super::office::{Office, mail, on_both_stores};
use crate::on_both;
use crate::support::app::text;
use crate::support::imap_server::ImapServer;
use bytes::Bytes;
use mailroom::actions::retry_email::{Retried, retry};
use mailroom::clock;
use mailroom::model::{PlacementId, Time};
use mailroom::store::placements::{self, NewPlacement};
use mailroom::store::raw;
use mailroom::store::{StoreError, Tx};
use serde_json::json;

on_both_stores! {
    async fn r05_a_mail_that_the_server_refuses_is_set_aside_and_the_others_come(on) {
        let server = ImapServer::start("IDLE");
        for number in 1..=5 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        server.state().quirks.refuses.insert(3);
        let office = Office::over(on, &server).await;
        office.quiet().await;
        assert_eq!(office.line("INBOX", 3), "FAILED");
        assert_eq!(office.emails().len(), 4, "{:?}", office.emails());
        assert_eq!(office.counts().quarantined, 1);

        let id = PlacementId(office.count("SELECT id FROM placements WHERE state = 'FAILED'"));
        let tries = "SELECT tries FROM placements WHERE state = 'FAILED'";
        assert_eq!(office.count(tries), 3);
        // It still refuses: the mail is set aside again.
        let retried = retry(&office.actions, &office.admin, id, clock::now()).await.unwrap();
        assert_eq!(retried, Retried::Waits);
        office.quiet().await;
        assert_eq!((office.line("INBOX", 3).as_str(), office.count(tries)), ("FAILED", 4));
        // It gives it: the mail is taken in.
        server.state().quirks.refuses.clear();
        retry(&office.actions, &office.admin, id, clock::now()).await.unwrap();
        office.quiet().await;
        assert_eq!(office.line("INBOX", 3), "STORED");
        assert_eq!((office.emails().len(), office.counts().quarantined), (5, 0));
    }

    async fn r05_a_mail_that_breaks_the_protocol_is_found_and_set_aside(on) {
        let server = ImapServer::start("IDLE");
        for number in 1..=40 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000 + number);
        }
        server.state().quirks.breaks_at.insert(17);
        let office = Office::over(on, &server).await;
        office.quiet().await;
        assert_eq!(office.line("INBOX", 17), "FAILED");
        assert_eq!(office.emails().len(), 39);
    }

    async fn r05_a_mail_at_which_the_connection_always_breaks_is_set_aside_and_holds_up_no_other(on) {
        let server = ImapServer::start("IDLE");
        for number in 1..=40 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000 + number);
        }
        server.state().quirks.cuts_at.insert(17);
        let office = Office::over(on, &server).await;
        let mut cuts = 0;
        while office.line("INBOX", 17) != "FAILED" {
            // Until it is set aside, or its time has not come, each sync ends with the connection.
            cuts += usize::from(office.once().await.is_err());
            assert!(cuts < 20, "it is asked for without end: {:?}", office.lines());
        }
        assert!(cuts > 2, "once or twice it may be the network");
        office.quiet().await;
        assert_eq!((office.emails().len(), office.counts().quarantined), (39, 1));
        server.state().quirks.cuts_at.clear();
    }

    async fn r05_a_large_mail_at_which_the_connection_always_breaks_holds_up_no_other(on) {
        let server = ImapServer::start("IDLE");
        // It is fetched in slices, alone, and is the oldest.
        let large = format!("{}{}", mail("large"), "x".repeat(9 << 20));
        server.state().folder("INBOX").add(large, 1_700_000_000);
        for number in 1..=5 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000 + number);
        }
        server.state().quirks.cuts_at.insert(1);
        let office = Office::over(on, &server).await;
        let mut cuts = 0;
        while office.line("INBOX", 1) != "FAILED" {
            cuts += usize::from(office.once().await.is_err());
            assert!(cuts < 20, "it is asked for without end: {:?}", office.lines());
        }
        office.quiet().await;
        assert_eq!((office.emails().len(), office.counts().quarantined), (5, 1));
    }

    async fn r05_a_mail_that_does_not_come_is_gone_or_set_aside(on) {
        let server = ImapServer::start("IDLE");
        for number in 1..=3 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        {
            let mut state = server.state();
            state.quirks.omits.extend([1, 2]);
            state.quirks.search_misses.insert(2);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        assert_eq!(office.line("INBOX", 1), "FAILED", "the server lists it");
        assert_eq!(office.line("INBOX", 2), "GONE gone", "the server does not find it");
        assert_eq!(office.line("INBOX", 3), "STORED");
    }

    async fn r05_kept_bytes_are_taken_in_though_the_server_no_longer_has_the_mail(on) {
        let server = ImapServer::start("IDLE");
        let office = Office::over(on, &server).await;
        office.quiet().await;
        let bytes = Bytes::from(mail("kept"));
        let (store, kept) = (office.services.clone(), bytes.clone());
        let durable = tokio::task::spawn_blocking(move || {
            store.raw.keep_now(&store.store, vec![(raw::hash_of(&kept), kept)]).unwrap()
        });
        let durable = durable.await.unwrap();
        let folder = office.count("SELECT id FROM folders WHERE path = 'INBOX'");
        let place = (mailroom::model::FolderId(folder), 1);
        let set_aside = |tx: &mut Tx<'_>| {
            raw::name(tx, &durable)?;
            let new = NewPlacement {
                uid: 1,
                size_bytes: 10,
                internal_date: Some(Time::from_seconds(1_790_000_000)),
                is_seen: false,
                is_backfill: true,
                is_old: false,
            };
            placements::insert(tx, place, &[new])?;
            let open = placements::list_from(tx.conn, place, 1, 1)?;
            placements::update_failed(tx, open[0].id, "the database said no", Some(raw::hash_of(&bytes).to_vec()))?;
            mailroom::store::ledger::update_vanished(tx, &[open[0].id])?;
            Ok::<_, StoreError>(open[0].id)
        };
        let id = office.store().write_now(clock::now(), set_aside).unwrap();
        assert_eq!(office.line("INBOX", 1), "FAILED gone", "its bytes are all there is");
        let retried = retry(&office.actions, &office.admin, id, clock::now()).await.unwrap();
        assert!(matches!(retried, Retried::TakenIn(_)), "{retried:?}");
        assert_eq!(office.emails(), [("kept".to_owned(), "SAVED".to_owned())]);
        // Taken in, it is in quarantine no more.
        let again = retry(&office.actions, &office.admin, id, clock::now()).await;
        assert!(again.is_err());
    }
}

const LIST: &str = "query ($mailbox: ID) { quarantine(mailboxId: $mailbox) { totalCount { value } nodes { id uid size reason since tries
  isRawKept isOnServer mailbox { address } folder { path } } } }";

on_both! {
    async fn r05_quarantined_mail_is_listed_and_tried_again(app) {
        let server = ImapServer::start("IDLE");
        server.state().folder("INBOX").add(mail("good"), 1_700_000_000);
        server.state().folder("INBOX").add(mail("bad"), 1_700_000_000);
        server.state().quirks.refuses.insert(2);
        let input = json!({
            "address": "sales@ours.example",
            "imap": { "host": "127.0.0.1", "port": server.port(), "security": "PLAIN" },
            "secret": { "password": "secret" },
            "history": { "everything": true },
        });
        let owner = app.user("Olga Owner", "olga@ours.example", false).await;
        let stranger = app.user("Stan Stranger", "stan@ours.example", false).await;
        let made = app.make(&owner, "connectMailbox", input, "mailbox { id }").await;
        let mailbox = text(&made["mailbox"]["id"]);
        let variables = json!({ "mailbox": mailbox });
        let listed = app.until(&owner, (LIST, variables.clone()), |data| data["quarantine"]["totalCount"]["value"] == 1).await;
        let line = &listed["quarantine"]["nodes"][0];
        assert_eq!(line["uid"], "2", "{line:#}");
        assert_eq!(line["tries"], 3);
        assert_eq!((&line["isRawKept"], &line["isOnServer"]), (&json!(false), &json!(true)));
        assert_eq!((&line["mailbox"]["address"], &line["folder"]["path"]), (&json!("sales@ours.example"), &json!("INBOX")));
        assert_eq!(line["reason"], "the server lists the mail but does not give it");
        let id = text(&line["id"]);

        // R25: administrators see it; R27: to a stranger there is none.
        let seen = app.data(&app.admin, LIST, json!({})).await;
        assert_eq!(seen["quarantine"]["nodes"][0]["id"], id.as_str());
        let hidden = app.data(&stranger, LIST, variables.clone()).await;
        assert_eq!(hidden["quarantine"], json!({ "totalCount": { "value": 0 }, "nodes": [] }));
        let node = app.data(&stranger, "query ($id: ID!) { node(id: $id) { id } }", json!({ "id": id })).await;
        assert_eq!(node["node"], json!(null));
        let refused = app.mutate(&stranger, "retryEmail", json!({ "quarantinedMailId": id }), "email { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");

        server.state().quirks.refuses.clear();
        let waits = app.make(&owner, "retryEmail", json!({ "quarantinedMailId": id }), "email { id } quarantinedMail { id }").await;
        assert_eq!((&waits["email"], &waits["quarantinedMail"]), (&json!(null), &json!(null)));
        let emails = "query ($id: ID!) { mailbox(id: $id) { sync { quarantined } emails { nodes { subject } } } }";
        let data = app.until(&owner, (emails, json!({ "id": mailbox })), |data| data["mailbox"]["emails"]["nodes"].as_array().unwrap().len() == 2).await;
        assert_eq!(data["mailbox"]["sync"]["quarantined"], 0);
    }
}
