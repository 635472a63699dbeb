//! The ledger against a real Dovecot: whatever happens to its mails, after quiet everything is settled, nothing is
//! doubled, and a comparison finds nothing.

use super::office::ADDRESS;
use super::play::{Contents, Play, Played, beside_a_sync, by_turns};
use crate::support::app::On;
use crate::support::dovecot::{self, Dovecot};
use std::path::PathBuf;

fn maildir(dovecot: &Dovecot, folder: &str) -> PathBuf {
    let home = dovecot.certificate().unwrap().with_file_name("mail");
    let maildir = home.join(ADDRESS).join("Maildir");
    match folder {
        "INBOX" => maildir,
        other => maildir.join(format!(".{other}")),
    }
}

impl Played for Dovecot {
    fn port(&self) -> u16 {
        self.imap_port()
    }

    fn password(&self) -> String {
        Self::password(self).to_owned()
    }

    fn append(&mut self, folder: &str, raw: &[u8]) {
        Self::append(self, ADDRESS, folder, raw).unwrap();
    }

    fn mark_seen(&mut self, folder: &str, message_id: &str) {
        self.add_flag(ADDRESS, folder, message_id, "\\Seen")
            .unwrap();
    }

    fn expunge(&mut self, folder: &str, message_id: &str) {
        Self::expunge(self, ADDRESS, folder, message_id).unwrap();
    }

    fn move_mail(&mut self, from: &str, to: &str, message_id: &str) {
        Self::move_mail(self, ADDRESS, from, to, message_id).unwrap();
    }

    /// Takes away what Dovecot knows of a folder: its mails get other UIDs, under another UIDVALIDITY.
    fn forget(&mut self, folder: &str) -> Option<Contents> {
        self.pause();
        let maildir = maildir(self, folder);
        for entry in std::fs::read_dir(&maildir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name == "dovecot-uidlist" || name.starts_with("dovecot.index") {
                std::fs::remove_file(path).unwrap();
            }
        }
        // Else the next UIDVALIDITY could be the one before.
        let list = maildir.join("dovecot-uidvalidity");
        if list.exists() {
            std::fs::remove_file(list).unwrap();
        }
        self.resume().unwrap();
        None
    }

    fn restart(&mut self) {
        self.pause();
        self.resume().unwrap();
    }

    fn cut(&mut self) {
        // It fails where there is no connection to cut.
        let _cut = self.doveadm(&["kick", ADDRESS]);
    }
}

fn rounds() -> usize {
    if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        200
    } else {
        14
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_random_play_with_a_dovecot_loses_and_doubles_nothing_on_sqlite() {
    let play = Play::new(dovecot::start(&[ADDRESS]), 11);
    by_turns(play, On::Sqlite, rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_random_play_with_a_dovecot_loses_and_doubles_nothing_on_postgresql() {
    let play = Play::new(dovecot::start(&[ADDRESS]), 12);
    by_turns(play, On::Postgresql, rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_play_with_a_dovecot_beside_a_running_sync_loses_and_doubles_nothing() {
    let play = Play::new(dovecot::start(&[ADDRESS]), 13);
    beside_a_sync(play, On::Sqlite, rounds() / 7).await;
}
