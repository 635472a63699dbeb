//! Random play with a server's mails, and what the ledger must say afterwards: everything is settled, nothing is doubled,
//! and a comparison finds nothing. Not for: what a server is (`dovecot`, `cyrus`).

use super::office::{Office, mail};
use crate::support::app::On;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub const FOLDERS: [&str; 4] = ["INBOX", "Sent", "Archive", "Junk"];

/// Longer than anything that works takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Mails by their subjects, each with whether it is read.
pub type Contents = BTreeMap<String, bool>;

/// What should be on the server, by folder.
type Model = BTreeMap<&'static str, Contents>;

/// A server whose mails are played with. Mails are named by their Message-ID, without angle brackets.
pub trait Played {
    fn port(&self) -> u16;
    fn password(&self) -> String;
    fn append(&mut self, folder: &str, raw: &[u8]);
    fn mark_seen(&mut self, folder: &str, message_id: &str);
    fn expunge(&mut self, folder: &str, message_id: &str);
    fn move_mail(&mut self, from: &str, to: &str, message_id: &str);
    /// Gives a folder another UIDVALIDITY; what it holds then, where that need not be what it held before.
    fn forget(&mut self, folder: &str) -> Option<Contents>;
    fn restart(&mut self);
    /// Cuts the connections that there are.
    fn cut(&mut self);
}

pub struct Play<S> {
    pub server: S,
    model: Model,
    rng: StdRng,
    delivered: usize,
}

impl<S: Played> Play<S> {
    pub fn new(server: S, seed: u64) -> Self {
        Self {
            server,
            model: Model::new(),
            rng: StdRng::seed_from_u64(seed),
            delivered: 0,
        }
    }

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

    pub fn step(&mut self) {
        let what = self.rng.random_range(0..100);
        if what < 45 {
            let id = format!("m{}", self.delivered);
            self.delivered += 1;
            let folder = self.any_folder();
            println!("{id} comes into {folder}");
            self.server.append(folder, mail(&id).as_bytes());
            self.model.entry(folder).or_default().insert(id, false);
            return;
        }
        let Some((folder, id)) = self.any_mail() else {
            return;
        };
        let header = format!("{id}@client.example");
        match what {
            45..60 => {
                println!("{id} of {folder} is read");
                self.server.mark_seen(folder, &header);
                self.model.get_mut(folder).unwrap().insert(id, true);
            }
            60..75 => {
                println!("{id} of {folder} is expunged");
                self.server.expunge(folder, &header);
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
                println!("{id} of {folder} is moved to {to}");
                self.server.move_mail(folder, to, &header);
                let is_seen = self.model.get_mut(folder).unwrap().remove(&id).unwrap();
                self.model.entry(to).or_default().insert(id, is_seen);
            }
            92..96 => {
                println!("{folder} is forgotten");
                if let Some(contents) = self.server.forget(folder) {
                    self.model.insert(folder, contents);
                }
            }
            96..98 => {
                println!("connections are cut");
                self.server.cut();
            }
            _ => {
                println!("the server is started again");
                self.server.restart();
            }
        }
    }

    /// What the ledger lacks, and what it has beside.
    fn differences(&self, office: &Office) -> (Vec<Place>, Vec<Place>) {
        let rows: Vec<Place> = office.rows(
            "SELECT f.path, e.subject, p.is_seen FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
             JOIN emails e ON e.id = p.email_id WHERE p.state = 'STORED' AND p.gone_at IS NULL",
        );
        let mut surplus = Vec::new();
        let mut expected: BTreeSet<Place> = self
            .model
            .iter()
            .flat_map(|(folder, mails)| {
                mails
                    .iter()
                    .map(|(id, is_seen)| ((*folder).to_owned(), id.clone(), *is_seen))
            })
            .collect();
        // A place that stands twice is surplus the second time.
        for row in rows {
            if !expected.remove(&row) {
                surplus.push(row);
            }
        }
        (expected.into_iter().collect(), surplus)
    }

    fn check(&self, office: &Office, round: usize) {
        let (lacking, surplus) = self.differences(office);
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

/// Folder, subject, whether it is read.
type Place = (String, String, bool);

/// Plays while nothing syncs, then syncs until it is quiet, over and over.
pub async fn by_turns<S: Played>(mut play: Play<S>, on: On, rounds: usize) {
    let office = Office::new(on, play.server.port(), &play.server.password(), None).await;
    for round in 0..rounds {
        let steps = play.rng.random_range(1..9);
        for _ in 0..steps {
            play.step();
        }
        office.quiet().await;
        println!("round {round}: {:?}", office.lines());
        play.check(&office, round);
        assert_eq!(office.reconcile().await, (0, 0), "round {round}");
    }
}

/// Plays while a worker syncs, so that all of it may happen at any moment of a sync.
pub async fn beside_a_sync<S: Played>(mut play: Play<S>, on: On, rounds: usize) {
    let office = Office::new(on, play.server.port(), &play.server.password(), None).await;
    for round in 0..rounds {
        let running = office.start();
        let steps = play.rng.random_range(4..24);
        for _ in 0..steps {
            tokio::task::block_in_place(|| play.step());
        }
        // Nobody tells the sync of anything: it sees for itself.
        let begun = Instant::now();
        loop {
            let (lacking, surplus) = play.differences(&office);
            if lacking.is_empty() && surplus.is_empty() {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "round {round}: the sync leaves {lacking:?} lacking and {surplus:?} surplus"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(running);
        office.quiet().await;
        play.check(&office, round);
        assert_eq!(office.reconcile().await, (0, 0), "round {round}");
    }
}
