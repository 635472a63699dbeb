//! How long a look at a large mailbox takes. The figures are printed; what fails here is only what nobody would wait for.

use super::office::{ADDRESS, Office};
use crate::support::app::On;
use crate::support::dovecot;
use mailroom::cli::demo::dovecot::OldMail;
use mailroom::clock;
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

const MAILS: u64 = 20_000;
/// Many times what it takes, in a debug build on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let (mut begun, mut number) = (Instant::now(), 0);
    let after = move || {
        let took = begun.elapsed();
        number += 1;
        match number {
            1 => println!("the first look, with connecting: {took:?}"),
            2..=5 => println!("nothing new: {took:?}"),
            _ => println!("1,000 flags and 100 expunges: {took:?}"),
        }
        assert!(number == 1 || took < PATIENCE, "pass {number}: {took:?}");
        if number == 5 {
            let inbox = ["-u", ADDRESS, "mailbox", "INBOX", "uid"];
            let flags = ["flags", "add", "-u", ADDRESS, "\\Seen"];
            let flags = [&flags[..], &inbox[2..], &["1001:2000"]].concat();
            dovecot.doveadm(&flags).unwrap();
            let expunge = [&["expunge"], &inbox[..], &["5001:5100"]].concat();
            dovecot.doveadm(&expunge).unwrap();
        }
        begun = Instant::now();
        if number > 5 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    office.passes(after).await;
    let count = |condition: &str| {
        office.count(&format!(
            "SELECT COUNT(*) FROM placements WHERE {condition}"
        ))
    };
    assert_eq!(count("state IN ('OLD', 'GONE')"), 20_000);
    assert_eq!(count("is_seen = (1 = 1)"), 1000);
    assert_eq!(count("state = 'GONE'"), 100);
}
