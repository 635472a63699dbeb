//! New mail is not held up by the backfill, which saves in the order in which mail was received (R4, R8).

use super::office::{Office, mail, on_both_stores};
use crate::support::imap_server::ImapServer;
use mailroom::actions::connect_mailbox::History;
use mailroom::actions::mailbox_history;
use mailroom::clock;
use mailroom::model::mailbox::SyncStage;
use std::time::Duration;

const CAPABILITIES: &str = "IDLE ENABLE CONDSTORE QRESYNC";

on_both_stores! {
    async fn r04_the_backfill_saves_in_received_order_across_folders(on) {
        let server = ImapServer::start(CAPABILITIES);
        for number in 0..30_i64 {
            let folder = if number % 3 == 0 { "Sent" } else { "INBOX" };
            server.state().folder(folder).add(mail(&format!("m{number:02}")), 1_700_000_000 + number);
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        let saved: Vec<String> = office.rows("SELECT subject FROM emails ORDER BY id");
        let expected: Vec<String> = (0..30).map(|number| format!("m{number:02}")).collect();
        assert_eq!(saved, expected);
    }

    async fn r08_new_mail_is_not_held_up_by_the_backfill(on) {
        let server = ImapServer::start(CAPABILITIES);
        for number in 0..3000_i64 {
            server.state().folder("INBOX").add(mail(&format!("old{number}")), 1_700_000_000 + number);
        }
        server.state().quirks.fetch_takes = Duration::from_millis(700);
        let office = Office::over(on, &server).await;
        let running = office.start();
        office.until("the backfill has begun", |office| office.counts().done > 0).await;
        let (state, counts) = (office.state(), office.counts());
        assert_eq!((state.stage, state.total(counts)), (SyncStage::Backfill, Some(3000)), "all of it is known from the start");
        let at = clock::now().seconds() + 1;
        server.state().folder("INBOX").add(mail("new"), at);
        office.until("the new mail is in", |office| office.emails().iter().any(|(subject, _)| subject == "new")).await;
        let done = office.counts().done;
        assert!(done < 3000, "it came before the backfill was over: {done}");
        assert!(office.received() > 0);
        server.state().quirks.fetch_takes = Duration::ZERO;
        office.until("the backfill is over", |office| office.counts().done == 3001).await;
        drop(running);
    }

    async fn r04_the_window_of_history_is_changed_while_the_backfill_runs(on) {
        let server = ImapServer::start(CAPABILITIES);
        for number in 0..2000_i64 {
            server.state().folder("INBOX").add(mail(&format!("old{number}")), 1_700_000_000 + number);
        }
        server.state().quirks.fetch_takes = Duration::from_millis(400);
        let office = Office::over(on, &server).await;
        let running = office.start();
        office.until("the backfill has begun", |office| office.counts().done > 0).await;
        // Nothing older than now: the backfill is over.
        let change = |history| mailbox_history::change(&office.actions, &office.admin, office.mailbox, history, clock::now());
        change(History::Days(0)).await.unwrap();
        running.signals.poke();
        office.until("nothing waits", |office| office.count("SELECT COUNT(*) FROM placements WHERE state = 'NEW'") == 0).await;
        let taken = office.emails().len();
        assert!(taken < 2000, "{taken}");
        // All of it after all.
        server.state().quirks.fetch_takes = Duration::ZERO;
        change(History::Everything).await.unwrap();
        running.signals.poke();
        office.until("all is in", |office| office.emails().len() == 2000).await;
    }

    async fn r08_a_server_that_says_nothing_any_more_is_told_of_within_the_minute(on) {
        let server = ImapServer::start(CAPABILITIES);
        server.state().quirks.hangs_at = Some("EXAMINE");
        let office = Office::over(on, &server).await;
        let running = office.start();
        office.until("the folder is asked for", |_| server.count_told("EXAMINE") > 0).await;
        let before = running.signals.quiet_for();
        office.until("time passes", |_| running.signals.quiet_for() > before + Duration::from_millis(500)).await;
        server.state().quirks.hangs_at = None;
        running.signals.stop();
        running.signals.cut();
    }
}
