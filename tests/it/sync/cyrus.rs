//! The ledger against a real Cyrus, whose modseqs count for the whole account and whose special uses are in small letters.

use super::office::ADDRESS;
use super::play::{Contents, Play, Played, beside_a_sync, by_turns};
use crate::support::app::On;
use crate::support::cyrus::Cyrus;

impl Played for Cyrus {
    fn port(&self) -> u16 {
        Self::port(self)
    }

    fn password(&self) -> String {
        Self::password().to_owned()
    }

    fn append(&mut self, folder: &str, raw: &[u8]) {
        self.session().append(folder, raw);
    }

    fn mark_seen(&mut self, folder: &str, message_id: &str) {
        let mut session = self.session();
        let uid = session.find(folder, message_id);
        session.ask(&format!("UID STORE {uid} +FLAGS.SILENT (\\Seen)"));
    }

    fn expunge(&mut self, folder: &str, message_id: &str) {
        let mut session = self.session();
        let uid = session.find(folder, message_id);
        session.ask(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
        session.ask(&format!("UID EXPUNGE {uid}"));
    }

    fn move_mail(&mut self, from: &str, to: &str, message_id: &str) {
        let mut session = self.session();
        let uid = session.find(from, message_id);
        session.ask(&format!("UID MOVE {uid} {to}"));
    }

    /// The flags are lost with the index, and a mail that was expunged a moment ago may be back.
    fn forget(&mut self, folder: &str) -> Option<Contents> {
        self.lose_index(folder);
        Some(self.session().contents(folder))
    }

    fn restart(&mut self) {
        Self::restart(self);
    }

    fn cut(&mut self) {
        Self::cut(self);
    }
}

/// `None`, and a line that says so, where there is no Cyrus.
fn cyrus(seed: u64) -> Option<Play<Cyrus>> {
    let Some(cyrus) = Cyrus::start(ADDRESS) else {
        println!(
            "no Cyrus here, so nothing is tested against it: scripts/need.sh test unpacks one"
        );
        return None;
    };
    Some(Play::new(cyrus, seed))
}

fn rounds() -> usize {
    if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        200
    } else {
        14
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_random_play_with_a_cyrus_loses_and_doubles_nothing_on_sqlite() {
    if let Some(play) = cyrus(21) {
        by_turns(play, On::Sqlite, rounds()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_random_play_with_a_cyrus_loses_and_doubles_nothing_on_postgresql() {
    if let Some(play) = cyrus(22) {
        by_turns(play, On::Postgresql, rounds()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_play_with_a_cyrus_beside_a_running_sync_loses_and_doubles_nothing() {
    if let Some(play) = cyrus(23) {
        beside_a_sync(play, On::Sqlite, rounds() / 2).await;
    }
}
