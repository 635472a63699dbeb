//! Mailboxes share their worker's threads and memory: one that waits has no thread, and few take in many mails at once.

use super::office::{Office, mail, on_both_stores};
use crate::support::imap_server::ImapServer;
use mailroom::clock;
use mailroom::model::mailbox::SyncStage;
use mailroom::worker::sync::Turns;
use std::time::Duration;

const CAPABILITIES: &str = "IDLE ENABLE CONDSTORE QRESYNC";

on_both_stores! {
    async fn r06_a_mailbox_that_waits_for_news_has_no_thread(on) {
        let server = ImapServer::start(CAPABILITIES);
        let office = Office::over(on, &server).await;
        let turns = Turns::default();
        let running = office.start_with(turns.clone());
        for number in 1..=3_usize {
            let idles = || server.count_told("IDLE") >= number && turns.at_work() == 0;
            office.until("it waits without a thread", |_| idles()).await;
            server.state().folder("INBOX").add(mail(&format!("m{number}")), clock::now().seconds());
            office.until("the mail is in", |office| office.emails().len() == number).await;
        }
        drop(running);
        assert_eq!(turns.at_work(), 0);
    }

    async fn r06_mail_that_comes_while_another_folder_is_open_waits_for_no_other_news(on) {
        let server = ImapServer::start(CAPABILITIES);
        let mut office = Office::over(on, &server).await;
        // Nothing but what the server says makes it look again.
        office.services.times.look_at_others = Duration::from_secs(3600);
        server.state().quirks.brings = Some(("Junk", mail("meanwhile")));
        let running = office.start();
        office.until("the mail is in", |office| office.emails().len() == 1).await;
        drop(running);
    }

    async fn r08_a_mailbox_that_waits_for_its_turn_still_takes_new_mail_in(on) {
        let server = ImapServer::start(CAPABILITIES);
        for number in 0..100_i64 {
            server.state().folder("INBOX").add(mail(&format!("old{number}")), 1_700_000_000 + number);
        }
        let office = Office::over(on, &server).await;
        // Others have all the turns, for ever.
        let turns = Turns::of(4, 0);
        let running = office.start_with(turns.clone());
        office.until("it waits for its turn", |_| turns.waiting() == 1 && turns.at_work() == 0).await;
        let (state, counts) = (office.state(), office.counts());
        assert_eq!((state.stage, state.total(counts), counts.done), (SyncStage::Backfill, Some(100), 0));
        server.state().folder("INBOX").add(mail("new"), clock::now().seconds() + 1);
        office.until("the new mail is in", |office| office.emails() == [("new".to_owned(), "SAVED".to_owned())]).await;
        office.until("it waits again", |_| turns.waiting() == 1 && turns.at_work() == 0).await;
        assert_eq!(office.counts().done, 1);
        drop(running);
        // Its turn comes.
        let running = office.start();
        office.until("the backfill is over", |office| office.state().stage == SyncStage::Watching && office.counts().done == 101).await;
        drop(running);
    }

    async fn r08_one_that_has_a_turn_gives_it_up_where_others_wait(on) {
        let server = ImapServer::start(CAPABILITIES);
        for number in 0..4000_i64 {
            server.state().folder("INBOX").add(mail(&format!("old{number}")), 1_700_000_000 + number);
        }
        server.state().quirks.fetch_takes = Duration::from_millis(300);
        let (one, other) = (Office::over(on, &server).await, Office::over(on, &server).await);
        let turns = Turns::of(4, 1);
        let (first, second) = (one.start_with(turns.clone()), other.start_with(turns.clone()));
        let seen = std::cell::Cell::new((0, 0));
        one.until("both get on, or one is through", |one| {
            seen.set((one.counts().done, other.counts().done));
            let (done, other_done) = seen.get();
            (done > 0 && other_done > 0) || done == 4000 || other_done == 4000
        })
        .await;
        let (done, other_done) = seen.get();
        assert!(done > 0 && other_done > 0, "by turns: {done}, {other_done}");
        server.state().quirks.fetch_takes = Duration::ZERO;
        one.until("both are through", |one| one.counts().done == 4000 && other.counts().done == 4000).await;
        drop((first, second));
    }
}
