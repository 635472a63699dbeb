//! Flags, expunges and moves are followed, and change nothing in the CRM (R6); mail rescued from spam is judged again (R3).

use super::office::{Office, mail, on_both_stores};
use crate::support::app::On;
use crate::support::imap_server::ImapServer;
use mailroom::clock;

const SERVERS: [&str; 3] = [
    "IDLE ENABLE CONDSTORE QRESYNC LIST-EXTENDED SPECIAL-USE LIST-STATUS",
    "IDLE ENABLE CONDSTORE",
    "IDLE",
];

/// UIDs of the Inbox that are read, as the ledger has them.
fn seen(office: &Office) -> Vec<i64> {
    office.rows(
        "SELECT p.uid FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
         WHERE f.path = 'INBOX' AND p.is_seen = (1 = 1) AND p.state <> 'GONE' ORDER BY p.uid",
    )
}

async fn followed(on: On, capabilities: &str) {
    let server = ImapServer::start(capabilities);
    for number in 1..=6 {
        server
            .state()
            .folder("INBOX")
            .add(mail(&format!("m{number}")), 1_700_000_000);
    }
    let office = Office::over(on, &server).await;
    office.quiet().await;
    let (emails, entries) = (office.emails(), office.received());
    assert_eq!((emails.len(), entries), (6, 6), "{capabilities}");
    {
        let mut state = server.state();
        let inbox = state.folder("INBOX");
        inbox.set_seen(2, true);
        inbox.set_seen(3, true);
        inbox.expunge(5);
    }
    office.quiet().await;
    assert_eq!(seen(&office), [2, 3], "{capabilities}");
    assert_eq!(
        office.line("INBOX", 5),
        "STORED gone",
        "{capabilities}: it is held"
    );
    server.state().folder("INBOX").set_seen(2, false);
    // As many come as go.
    server.state().folder("INBOX").expunge(6);
    server
        .state()
        .folder("INBOX")
        .add(mail("m7"), 1_700_000_000);
    office.quiet().await;
    assert_eq!(seen(&office), [3], "{capabilities}");
    assert_eq!(office.line("INBOX", 6), "STORED gone", "{capabilities}");
    // What is gone from the server stays in the CRM.
    assert_eq!(office.emails()[..6], emails);
    assert_eq!(office.received(), entries + 1);
    assert_eq!(office.reconcile().await, (0, 0), "{capabilities}");
}

on_both_stores! {
    async fn r06_flags_and_expunges_are_followed_on_every_kind_of_server(on) {
        for capabilities in SERVERS {
            followed(on, capabilities).await;
        }
    }

    async fn r06_a_mail_that_is_said_to_be_gone_and_is_there_stays(on) {
        let server = ImapServer::start(SERVERS[0]);
        for number in 1..=3 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        {
            let mut state = server.state();
            state.quirks.lies_vanished.extend([1, 2, 4_000_000_000]);
            state.folder("INBOX").expunge(2);
        }
        office.quiet().await;
        assert_eq!(office.line("INBOX", 1), "STORED");
        assert_eq!(office.line("INBOX", 2), "STORED gone");
    }

    async fn r06_the_last_mails_of_a_folder_that_go_are_noticed_and_so_are_all(on) {
        let server = ImapServer::start(SERVERS[0]);
        for number in 1..=4 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        server.state().folder("INBOX").expunge(3);
        server.state().folder("INBOX").expunge(4);
        office.quiet().await;
        assert_eq!(office.line("INBOX", 2), "STORED");
        assert_eq!(office.line("INBOX", 3), "STORED gone");
        assert_eq!(office.line("INBOX", 4), "STORED gone");
        server.state().folder("INBOX").expunge(1);
        server.state().folder("INBOX").expunge(2);
        office.quiet().await;
        assert_eq!(office.line("INBOX", 1), "STORED gone");
        assert_eq!(office.line("INBOX", 2), "STORED gone");
        assert_eq!(office.reconcile().await, (0, 0));
    }

    async fn r06_a_search_that_finds_too_little_takes_nothing_away(on) {
        let server = ImapServer::start("IDLE");
        for number in 1..=3 {
            server.state().folder("INBOX").add(mail(&format!("m{number}")), 1_700_000_000);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        server.state().quirks.search_misses.insert(2);
        office.quiet().await;
        assert_eq!(office.line("INBOX", 2), "STORED");
        assert_eq!(office.reconcile().await, (0, 0));
        assert_eq!(office.line("INBOX", 2), "STORED", "nor does a comparison on demand");
    }

    async fn r06_r07_a_moved_mail_is_the_same_email_and_tells_nothing(on) {
        let server = ImapServer::start(SERVERS[0]);
        server.state().folder("INBOX").add(mail("moved"), 1_700_000_000);
        let office = Office::over(on, &server).await;
        office.quiet().await;
        server.state().folder("INBOX").expunge(1);
        office.quiet().await;
        assert_eq!(office.line("INBOX", 1), "STORED gone", "it may turn up elsewhere");
        server.state().folder("Sent").add(mail("moved"), 1_700_000_000);
        office.quiet().await;
        assert_eq!(office.line("INBOX", 1), "GONE gone");
        assert_eq!(office.line("Sent", 1), "STORED");
        assert_eq!((office.emails().len(), office.received()), (1, 1));
    }

    async fn r06_what_is_held_is_settled_when_its_time_is_over(on) {
        let server = ImapServer::start(SERVERS[0]);
        server.state().folder("INBOX").add(mail("deleted"), 1_700_000_000);
        let mut office = Office::over(on, &server).await;
        office.quiet().await;
        server.state().folder("INBOX").expunge(1);
        office.quiet().await;
        assert_eq!(office.line("INBOX", 1), "STORED gone");
        office.services.times.hold_seconds = 0;
        office.quiet().await;
        assert_eq!(office.line("INBOX", 1), "GONE gone");
        assert_eq!(office.emails(), [("deleted".to_owned(), "SAVED".to_owned())]);
    }

    async fn r06_a_modseq_never_hides_new_mail(on) {
        let server = ImapServer::start(SERVERS[0]);
        let office = Office::over(on, &server).await;
        server.state().folder("INBOX").add(mail("one"), 1_700_000_000);
        office.quiet().await;
        {
            // New mail whose arrival the modseq does not tell of, as on servers that count by account.
            let mut state = server.state();
            let inbox = state.folder("INBOX");
            inbox.add(mail("two"), 1_700_000_000);
            inbox.modseq -= 1;
            inbox.mails[1].modseq = 1;
        }
        office.quiet().await;
        assert_eq!(office.emails().len(), 2);
    }

    async fn r03_mail_that_is_moved_out_of_spam_is_judged_again_and_back_undoes_nothing(on) {
        for (folder, outcome) in [("Junk", "SPAM_FOLDER"), ("Trash", "TRASH_FOLDER")] {
            let server = ImapServer::start(SERVERS[0]);
            let office = Office::over(on, &server).await;
            office.quiet().await;
            office.store().write_now(clock::now(), |tx| {
                let id = mailroom::model::FolderId(office.count("SELECT id FROM folders WHERE path = 'Junk'"));
                mailroom::store::mailbox_writes::update_spam_folder(tx, office.mailbox, Some(id))
            }).unwrap();
            let at = clock::now().seconds() + 5;
            let uid = server.state().folder(folder).add(mail("rescued"), at);
            office.quiet().await;
            assert_eq!(office.emails(), [("rescued".to_owned(), outcome.to_owned())]);
            assert_eq!(office.received(), 0);
            server.state().folder(folder).expunge(uid);
            server.state().folder("INBOX").add(mail("rescued"), at);
            office.quiet().await;
            assert_eq!(office.emails(), [("rescued".to_owned(), "SAVED".to_owned())], "out of {folder}");
            let entries = office.received();
            assert!(entries >= 1);
            server.state().folder("INBOX").expunge(1);
            server.state().folder(folder).add(mail("rescued"), at);
            office.quiet().await;
            assert_eq!(office.emails(), [("rescued".to_owned(), "SAVED".to_owned())], "back to {folder}");
            assert_eq!(office.received(), entries);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r06_nothing_is_ever_changed_on_the_server() {
    let server = ImapServer::start(SERVERS[0]);
    server
        .state()
        .folder("INBOX")
        .add(mail("one"), 1_700_000_000);
    let office = Office::over(On::Sqlite, &server).await;
    office.quiet().await;
    server.state().folder("INBOX").set_seen(1, true);
    server
        .state()
        .folder("INBOX")
        .add(mail("two"), 1_700_000_000);
    office.quiet().await;
    office.reconcile().await;
    server.state().folder("INBOX").renumber(Some(2), 1);
    office.quiet().await;
    let allowed = [
        "CAPABILITY",
        "LOGIN",
        "ENABLE",
        "LIST",
        "EXAMINE",
        "UID SEARCH",
        "UID FETCH",
        "NOOP",
        "IDLE",
        "DONE",
        "LOGOUT",
    ];
    for command in &server.state().told {
        assert!(
            allowed.iter().any(|word| command.starts_with(word)) || command.is_empty(),
            "{command}"
        );
        assert!(!command.contains("BODY["), "without PEEK: {command}");
        assert!(command.len() < 1000, "{} bytes", command.len());
    }
    let is_seen: Vec<bool> = server
        .state()
        .folder("INBOX")
        .mails
        .iter()
        .map(|mail| mail.is_seen)
        .collect();
    assert_eq!(is_seen, [true, false]);
}
