//! UIDs that begin anew lose nothing, double nothing, and fetch nothing twice that is known (R5, R7).

use super::office::{Office, mail, on_both_stores};
use crate::support::imap_server::ImapServer;
use mailroom::model::mailbox::SyncStage;

const CAPABILITIES: &str = "IDLE ENABLE CONDSTORE QRESYNC";

on_both_stores! {
    async fn r07_changed_uids_are_bound_to_known_mails_by_headers_alone(on) {
        let server = ImapServer::start(CAPABILITIES);
        for number in 1..=5 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        let (emails, entries) = (office.emails(), office.received());
        {
            let mut state = server.state();
            let inbox = state.folder("INBOX");
            inbox.expunge(2);
            // Between the last look and the change: new, and read.
            inbox.add(mail("m6"), 1_700_000_000);
            inbox.set_seen(1, true);
            inbox.renumber(Some(77), 100);
            state.told.clear();
        }
        office.quiet().await;
        assert_eq!(office.emails().len(), 6);
        assert_eq!(office.emails()[..5], emails);
        assert_eq!(office.received(), entries + 1);
        assert_eq!(office.lines().iter().filter(|(path, _, state)| path == "INBOX" && state == "STORED").count(), 5);
        let whole: Vec<String> = server.state().told.iter().filter(|command| command.contains("BODY.PEEK[]")).cloned().collect();
        assert_eq!(whole.len(), 1, "only the new one is fetched: {whole:?}");
        assert!(whole[0].starts_with("UID FETCH 104 "), "{whole:?}");
        let seen = office.count("SELECT COUNT(*) FROM placements WHERE uid = 100 AND is_seen = (1 = 1)");
        assert_eq!(seen, 1);
        assert_eq!(office.reconcile().await, (0, 0));
    }

    async fn r05_rewound_uids_begin_an_epoch(on) {
        let server = ImapServer::start(CAPABILITIES);
        for number in 1..=3 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        {
            let mut state = server.state();
            let inbox = state.folder("INBOX");
            inbox.mails.remove(0);
            inbox.renumber(Some(1), 1);
            inbox.mails[0].raw = mail("other").into();
        }
        office.quiet().await;
        let subjects: Vec<String> = office.emails().into_iter().map(|(subject, _)| subject).collect();
        assert_eq!(subjects, ["m1", "m2", "m3", "other"]);
        assert_eq!(office.reconcile().await, (0, 0));
    }

    async fn r05_a_server_without_uidnext_loses_nothing(on) {
        let server = ImapServer::start("IDLE");
        server.state().quirks.has_no_uid_next = true;
        server.state().quirks.sends_rows_without_uid = true;
        server.state().folder("INBOX").add(mail("m1"), 1_700_000_000);
        let office = Office::over(on, &server).await;
        office.quiet().await;
        server.state().folder("INBOX").add(mail("m2"), 1_700_000_000);
        office.quiet().await;
        assert_eq!(office.emails().len(), 2);
        assert_eq!(office.reconcile().await, (0, 0));
    }

    async fn r08_uids_that_begin_anew_each_time_are_told_of_and_lose_nothing(on) {
        let server = ImapServer::start("IDLE");
        server.state().folder("INBOX").add(mail("m1"), 1_700_000_000);
        let office = Office::over(on, &server).await;
        office.quiet().await;
        server.state().quirks.changes_validity = true;
        server.state().folder("INBOX").add(mail("m2"), 1_700_000_000);
        for _ in 0..6 {
            office.once().await.unwrap();
        }
        let state = office.state();
        assert_eq!(state.stage, SyncStage::NeedsAttention);
        let error = state.last_error.unwrap();
        assert!(error.message.contains("numbers a folder's mails anew"), "{}", error.message);
        assert_eq!((office.emails().len(), office.received()), (2, 2));
        // It is repaired: all is well again.
        server.state().quirks.changes_validity = false;
        for _ in 0..2 {
            office.once().await.unwrap();
        }
        assert_eq!(office.state().stage, SyncStage::Watching);
        assert!(office.state().last_error.is_none());
    }

    async fn r05_a_server_without_uidvalidity_is_synced_all_the_same(on) {
        let server = ImapServer::start("IDLE");
        server.state().folder("INBOX").uid_validity = None;
        server.state().folder("Sent").uid_validity = Some(0);
        server.state().folder("INBOX").add(mail("m1"), 1_700_000_000);
        server.state().folder("Sent").add(mail("m2"), 1_700_000_000);
        let office = Office::over(on, &server).await;
        for number in 3..=9 {
            office.quiet().await;
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        office.quiet().await;
        assert_eq!(office.emails().len(), 9);
        assert_eq!(office.received(), 8, "what lies in Sent goes to our own people");
    }
}
