//! The ledger against a real Dovecot: whatever happens to its mails, after quiet everything is settled, nothing is
//! doubled, and a comparison finds nothing.

use super::office::{ADDRESS, Office, mail};
use crate::support::app::On;
use crate::support::dovecot::{self, Dovecot};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const FOLDERS: [&str; 4] = ["INBOX", "Sent", "Archive", "Junk"];

/// What should be on the server: by folder, each mail with whether it is read.
type Model = BTreeMap<&'static str, BTreeMap<String, bool>>;

fn maildir(dovecot: &Dovecot, folder: &str) -> PathBuf {
    let home = dovecot.certificate().unwrap().with_file_name("mail");
    let maildir = home.join(ADDRESS).join("Maildir");
    match folder {
        "INBOX" => maildir,
        other => maildir.join(format!(".{other}")),
    }
}

/// Takes away what Dovecot knows of a folder: its mails get other UIDs, under another UIDVALIDITY.
fn forget(dovecot: &mut Dovecot, folder: &str) {
    dovecot.pause();
    let maildir = maildir(dovecot, folder);
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
    dovecot.resume().unwrap();
}

struct Play {
    dovecot: Dovecot,
    model: Model,
    rng: StdRng,
    delivered: usize,
}

impl Play {
    fn any_mail(&mut self) -> Option<(&'static str, String)> {
        let all: Vec<(&'static str, String)> = self
            .model
            .iter()
            .flat_map(|(folder, mails)| mails.keys().map(|id| (*folder, id.clone())))
            .collect();
        (!all.is_empty()).then(|| all[self.rng.random_range(0..all.len())].clone())
    }

    fn any_folder(&mut self) -> &'static str {
        FOLDERS[self.rng.random_range(0..FOLDERS.len())]
    }

    fn step(&mut self) {
        let what = self.rng.random_range(0..100);
        if what < 45 {
            let id = format!("m{}", self.delivered);
            self.delivered += 1;
            let folder = self.any_folder();
            self.dovecot
                .append(ADDRESS, folder, mail(&id).as_bytes())
                .unwrap();
            self.model.entry(folder).or_default().insert(id, false);
            return;
        }
        let Some((folder, id)) = self.any_mail() else {
            return;
        };
        let header = format!("{id}@client.example");
        match what {
            45..60 => {
                self.dovecot
                    .add_flag(ADDRESS, folder, &header, "\\Seen")
                    .unwrap();
                self.model.get_mut(folder).unwrap().insert(id, true);
            }
            60..75 => {
                self.dovecot.expunge(ADDRESS, folder, &header).unwrap();
                self.model.get_mut(folder).unwrap().remove(&id);
            }
            75..92 => {
                let to = self.any_folder();
                if to == folder
                    || self
                        .model
                        .get(to)
                        .is_some_and(|mails| mails.contains_key(&id))
                {
                    return;
                }
                self.dovecot
                    .move_mail(ADDRESS, folder, to, &header)
                    .unwrap();
                let is_seen = self.model.get_mut(folder).unwrap().remove(&id).unwrap();
                self.model.entry(to).or_default().insert(id, is_seen);
            }
            92..96 => forget(&mut self.dovecot, folder),
            _ => {
                self.dovecot.pause();
                self.dovecot.resume().unwrap();
            }
        }
    }

    fn check(&self, office: &Office, round: usize) {
        let rows: Vec<(String, String, bool)> = office.rows(
            "SELECT f.path, e.subject, p.is_seen FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
             JOIN emails e ON e.id = p.email_id WHERE p.state = 'STORED' AND p.gone_at IS NULL",
        );
        let found: BTreeSet<(String, String, bool)> = rows.iter().cloned().collect();
        assert_eq!(
            found.len(),
            rows.len(),
            "round {round}: a place stands twice"
        );
        let expected: BTreeSet<(String, String, bool)> = self
            .model
            .iter()
            .flat_map(|(folder, mails)| {
                mails
                    .iter()
                    .map(|(id, is_seen)| ((*folder).to_owned(), id.clone(), *is_seen))
            })
            .collect();
        let lacking: Vec<_> = expected.difference(&found).collect();
        let surplus: Vec<_> = found.difference(&expected).collect();
        assert!(
            lacking.is_empty() && surplus.is_empty(),
            "round {round}: lacking {lacking:?}, surplus {surplus:?}"
        );
        let unsettled = "SELECT COUNT(*) FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
            WHERE p.state IN ('NEW', 'FAILED')";
        assert_eq!(office.count(unsettled), 0, "round {round}");
        let doubled = "SELECT COUNT(*) FROM (SELECT subject FROM emails GROUP BY subject HAVING COUNT(*) > 1) d";
        assert_eq!(
            office.count(doubled),
            0,
            "round {round}: an email stands twice"
        );
        let doubled = "SELECT COUNT(*) FROM (SELECT email_id, item_id FROM timeline_entries \
            WHERE kind IN ('EMAIL_RECEIVED', 'EMAIL_SENT') GROUP BY email_id, item_id HAVING COUNT(*) > 1) d";
        assert_eq!(
            office.count(doubled),
            0,
            "round {round}: an entry stands twice"
        );
    }
}

async fn played(on: On, seed: u64, rounds: usize) {
    let dovecot = dovecot::start(&[ADDRESS]);
    let (port, password) = (dovecot.imap_port(), dovecot.password().to_owned());
    let mut play = Play {
        dovecot,
        model: Model::new(),
        rng: StdRng::seed_from_u64(seed),
        delivered: 0,
    };
    let office = Office::new(on, port, &password, None).await;
    for round in 0..rounds {
        let steps = play.rng.random_range(1..9);
        for _ in 0..steps {
            play.step();
        }
        office.quiet().await;
        play.check(&office, round);
        assert_eq!(
            office.reconcile().await,
            (0, 0),
            "round {round} of seed {seed}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_random_play_with_a_dovecot_loses_and_doubles_nothing_on_sqlite() {
    let rounds = if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        200
    } else {
        14
    };
    played(On::Sqlite, 11, rounds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r05_r06_r07_r09_random_play_with_a_dovecot_loses_and_doubles_nothing_on_postgresql() {
    let rounds = if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        200
    } else {
        14
    };
    played(On::Postgresql, 12, rounds).await;
}
