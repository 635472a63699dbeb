//! A look at a large mailbox that was taken in before: with nothing new, and with what has changed in it.

use mailroom::app::{App, Purpose};
use mailroom::cli::demo::dovecot::Dovecot;
use mailroom::clock;
use mailroom::config::{Config, Given};
use mailroom::model::MailboxId;
use mailroom::store::leases::{self, Fence};
use mailroom::store::mailboxes;
use mailroom::worker::sync;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Looks with nothing new, of which the median counts.
const QUIET: usize = 9;

/// Milliseconds of a look.
pub struct Measured {
    pub nothing_new_ms: f64,
    /// 1,000 flags and 100 expunges.
    pub changes_ms: f64,
}

/// Looks at the mailbox that is kept in this folder, as its worker would, again and again.
pub async fn measure(data: &Path, dovecot: Arc<Dovecot>, address: &'static str) -> Measured {
    let given = Given {
        data_dir: Some(data.to_path_buf()),
        ..Given::default()
    };
    let app = App::open(Config::new(given).unwrap(), Purpose::Run)
        .await
        .unwrap();
    let services = app.sync_services();
    let times = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&times);
    let looks = tokio::task::spawn_blocking(move || {
        let store = &services.store;
        let id: MailboxId = store.read_now(mailboxes::connected).unwrap()[0].id;
        let name = format!("mailbox:{}", id.0);
        let claimed = store.write_now(clock::now(), |tx| {
            leases::clear(tx)?;
            leases::claim(tx, &name, "bench", 600)
        });
        let fence = Fence {
            name,
            number: claimed.unwrap().unwrap(),
        };
        let mut begun = Instant::now();
        let mut after = || {
            let mut times = told.lock().unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            let looks = times.len();
            drop(times);
            // The first connects, and compares with the server.
            if looks == QUIET + 1 {
                change(&dovecot, address);
            }
            begun = Instant::now();
            if looks > QUIET + 1 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        sync::passes(&services, (id, &fence), &Arc::default(), &mut after).unwrap();
    });
    looks.await.unwrap();
    let times = times.lock().unwrap();
    let mut quiet = times[1..=QUIET].to_vec();
    quiet.sort_by(f64::total_cmp);
    Measured {
        nothing_new_ms: quiet[QUIET / 2],
        changes_ms: times[QUIET + 1],
    }
}

fn change(dovecot: &Dovecot, address: &str) {
    let inbox = ["-u", address, "mailbox", "INBOX", "uid"];
    let flags = ["flags", "add", "-u", address, "\\Flagged"];
    dovecot
        .doveadm(&[&flags[..], &inbox[2..], &["1001:2000"]].concat())
        .unwrap();
    dovecot
        .doveadm(
            &[
                &["flags", "add", "-u", address, "\\Seen"][..],
                &inbox[2..],
                &["1001:2000"],
            ]
            .concat(),
        )
        .unwrap();
    dovecot
        .doveadm(&[&["expunge"], &inbox[..], &["5001:5100"]].concat())
        .unwrap();
}
