//! A folder compared with its server: what is missing on either side is told and put right (R9).

use super::office::{Office, mail, on_both_stores};
use crate::on_both;
use crate::support::app::text;
use crate::support::imap_server::ImapServer;
use mailroom::store::mailboxes;
use mailroom::store::sql::sql;
use mailroom::{clock, store::StoreError};
use serde_json::json;

on_both_stores! {
    async fn r09_reconciling_finds_what_is_missing_on_either_side_and_puts_it_right(on) {
        let server = ImapServer::start("IDLE ENABLE CONDSTORE QRESYNC");
        for number in 1..=5 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        assert_eq!(office.reconcile().await, (0, 0), "after a clean sync");
        let entries = office.received();
        // A line is lost, one is taken to be gone that is there, and one is there that is gone.
        let spoilt = office.store().write_now(clock::now(), |tx| {
            sql("DELETE FROM placements WHERE uid = 2").run(tx.conn)?;
            sql("UPDATE placements SET state = 'GONE', gone_at = 1 WHERE uid = 3").run(tx.conn)?;
            sql("UPDATE folders SET highest_modseq = 9999 WHERE path = 'INBOX'").run(tx.conn)?;
            Ok::<_, StoreError>(())
        });
        spoilt.unwrap();
        {
            let mut state = server.state();
            let inbox = state.folder("INBOX");
            inbox.expunge(5);
            // It does not tell.
            inbox.modseq = 9999;
        }
        assert_eq!(office.reconcile().await, (2, 1));
        let told = office.store().read_now(|conn| mailboxes::differences(conn, office.mailbox)).unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].path.as_str(), &told[0].missing_here[..], &told[0].missing_there[..]), ("INBOX", &[2, 3][..], &[5][..]));
        office.quiet().await;
        assert_eq!(office.reconcile().await, (0, 0));
        assert_eq!((office.line("INBOX", 2), office.line("INBOX", 3)), ("STORED".to_owned(), "STORED".to_owned()));
        assert_eq!((office.emails().len(), office.received()), (5, entries), "nothing is doubled");
    }

    async fn r09_a_mail_that_was_never_listed_is_found_and_taken_in(on) {
        let server = ImapServer::start("IDLE");
        server.state().folder("INBOX").add(mail("m1"), 1_700_000_000);
        server.state().folder("INBOX").add(mail("m2"), 1_700_000_000);
        let office = Office::over(on, &server).await;
        office.quiet().await;
        {
            // A mail with a UID below those that are known, as some servers deliver it.
            let mut state = server.state();
            let inbox = state.folder("INBOX");
            inbox.uid_next = 10;
            inbox.add(mail("m3"), 1_700_000_000);
        }
        office.quiet().await;
        {
            let mut state = server.state();
            let inbox = state.folder("INBOX");
            let mut late = inbox.mails[0].clone();
            (late.uid, late.raw) = (7, mail("late").into());
            inbox.mails.insert(2, late);
        }
        assert_eq!(office.reconcile().await, (1, 0));
        office.quiet().await;
        assert_eq!(office.emails().len(), 4);
    }
}

on_both! {
    async fn r09_a_mailbox_is_compared_with_its_server_on_demand(app) {
        let server = ImapServer::start("IDLE ENABLE CONDSTORE QRESYNC");
        server.state().folder("INBOX").add(mail("one"), 1_700_000_000);
        let input = json!({
            "address": "sales@ours.example",
            "imap": { "host": "127.0.0.1", "port": server.port(), "security": "PLAIN" },
            "secret": { "password": "secret" },
            "history": { "days": 1 },
        });
        let owner = app.user("Olga Owner", "olga@ours.example", false).await;
        let stranger = app.user("Stan Stranger", "stan@ours.example", false).await;
        let made = app.make(&owner, "connectMailbox", input, "mailbox { id }").await;
        let id = text(&made["mailbox"]["id"]);
        let asked = "query ($id: ID!) { mailbox(id: $id) { emails { nodes { subject } } sync { stage reconciliation { at missingHere missingOnServer folders { path missingHere missingOnServer } } } } }";
        let variables = json!({ "id": id });
        // A comparison follows the first sync by itself.
        let first = app.until(&owner, (asked, variables.clone()), |data| !data["mailbox"]["sync"]["reconciliation"].is_null()).await;
        let first = &first["mailbox"]["sync"]["reconciliation"];
        assert_eq!((&first["missingHere"], &first["missingOnServer"], &first["folders"]), (&json!(0), &json!(0), &json!([])));
        app.make(&owner, "reconcileMailbox", json!({ "mailboxId": id }), "mailbox { id }").await;
        app.until(&owner, (asked, variables.clone()), |data| data["mailbox"]["sync"]["reconciliation"]["at"] != first["at"]).await;
        // The mail is older than what is synced, until more is.
        let wider = json!({ "mailboxId": id, "history": { "everything": true } });
        app.make(&owner, "updateMailboxHistory", wider.clone(), "mailbox { id }").await;
        app.until(&owner, (asked, variables), |data| data["mailbox"]["emails"]["nodes"] == json!([{ "subject": "one" }])).await;
        for (verb, input) in [("reconcileMailbox", json!({ "mailboxId": id })), ("updateMailboxHistory", wider)] {
            let refused = app.mutate(&stranger, verb, input, "mailbox { id }").await;
            assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "R27: {verb}");
        }
        let bad = json!({ "mailboxId": id, "history": { "days": -1 } });
        let refused = app.mutate(&owner, "updateMailboxHistory", bad, "mailbox { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "BAD_INPUT");
    }
}
