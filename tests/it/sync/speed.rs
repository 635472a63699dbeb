//! How long a look at a large mailbox takes. The figures are printed; what fails here is only what nobody would wait for.

use super::office::{ADDRESS, Office};
use crate::support::app::On;
use crate::support::dovecot::{self, Dovecot};
use mailroom::cli::demo::dovecot::OldMail;
use mailroom::clock;
use std::time::{Duration, Instant, SystemTime};

const MAILS: u64 = 20_000;
/// Many times what it takes, in a debug build on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(5);

async fn timed(office: &Office, what: &str) {
    let begun = Instant::now();
    office.once().await.unwrap();
    let took = begun.elapsed();
    println!("{what}, with connecting: {took:?}");
    assert!(took < PATIENCE, "{what}: {took:?}");
}

fn flag(dovecot: &Dovecot, arguments: &[&str]) {
    dovecot.doveadm(arguments).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r06_nothing_new_and_a_thousand_flags_in_twenty_thousand_mails_are_quick() {
    let dovecot = dovecot::start(&[ADDRESS]);
    let mails = (0..MAILS).map(|number| OldMail {
        raw: format!(
            "From: a@b.example\nSubject: m{number}\nMessage-ID: <{number}@b.example>\n\nx\n"
        )
        .into_bytes(),
        received_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + number),
        is_seen: false,
    });
    dovecot.fill_inbox(ADDRESS, mails).unwrap();
    // They lie before the history that is asked for: they are in the ledger, and need no fetching.
    let port = dovecot.imap_port();
    let office = Office::new(On::Sqlite, port, dovecot.password(), Some(clock::now())).await;
    let begun = Instant::now();
    office.quiet().await;
    println!("the first look: {:?}", begun.elapsed());
    assert_eq!(
        office.count("SELECT COUNT(*) FROM placements WHERE state = 'OLD'"),
        20_000
    );
    timed(&office, "nothing new").await;
    timed(&office, "nothing new").await;
    flag(
        &dovecot,
        &[
            "flags",
            "add",
            "-u",
            ADDRESS,
            "\\Seen",
            "mailbox",
            "INBOX",
            "uid",
            "1001:2000",
        ],
    );
    flag(
        &dovecot,
        &[
            "expunge",
            "-u",
            ADDRESS,
            "mailbox",
            "INBOX",
            "uid",
            "5001:5100",
        ],
    );
    timed(&office, "1,000 flags and 100 expunges").await;
    assert_eq!(
        office.count("SELECT COUNT(*) FROM placements WHERE is_seen = (1 = 1)"),
        1000
    );
    assert_eq!(
        office.count("SELECT COUNT(*) FROM placements WHERE state = 'GONE'"),
        100
    );
    let begun = Instant::now();
    assert_eq!(office.reconcile().await, (0, 0));
    println!("a comparison, with connecting: {:?}", begun.elapsed());
}
