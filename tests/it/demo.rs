//! The demo's mail, through a real mail server.

use crate::support::dovecot;
use mailroom::cli::demo::company::{Company, Mailbox};
use mailroom::cli::demo::letters::{Letter, correspondence};
use mailroom::cli::demo::post::through_dovecot;
use mailroom::model::Time;
use std::collections::BTreeMap;

const NOW: Time = Time::from_seconds(1_770_000_000);

#[test]
fn every_letter_finds_its_mailbox_and_folder() {
    let company = Company::from_seed(1);
    let addresses: Vec<String> = company.mailboxes.iter().map(Mailbox::address).collect();
    let dovecot = dovecot::start(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut letters, mut live) = correspondence(&company, 1, NOW);
    letters.extend((0..60).flat_map(|second| live.next(NOW.plus_seconds(second))));
    through_dovecot(&dovecot, &letters).unwrap();
    let mut expected: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for Letter {
        to_mailbox, folder, ..
    } in &letters
    {
        *expected
            .entry((to_mailbox, folder.unwrap_or("INBOX")))
            .or_default() += 1;
    }
    assert!(expected.len() >= 9, "{expected:?}");
    for ((address, folder), count) in expected {
        assert_eq!(
            dovecot.count(address, folder).unwrap(),
            count,
            "{address} {folder}"
        );
    }
}

#[test]
fn what_is_sent_is_kept_byte_for_byte() {
    let company = Company::from_seed(1);
    let (letters, _) = correspondence(&company, 1, NOW);
    let sent = letters
        .into_iter()
        .find(|letter| letter.folder == Some("Sent"))
        .unwrap();
    let dovecot = dovecot::start(&[&sent.to_mailbox]);
    through_dovecot(&dovecot, std::slice::from_ref(&sent)).unwrap();
    let fetched = dovecot
        .doveadm(&[
            "fetch",
            "-u",
            &sent.to_mailbox,
            "text",
            "mailbox",
            "Sent",
            "all",
        ])
        .unwrap();
    let text = String::from_utf8(sent.raw).unwrap();
    assert!(
        fetched
            .replace("\r\n", "\n")
            .contains(&text.replace("\r\n", "\n")),
        "{fetched}"
    );
}
