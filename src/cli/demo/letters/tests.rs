//! What the demo's mail as a whole must be.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

const NOW: Time = Time::from_seconds(1_770_000_000);

fn written() -> (Vec<Letter>, Live) {
    correspondence(&Company::from_seed(11), 11, NOW)
}

/// The value of a header, unfolded; headers only.
fn header(letter: &Letter, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&letter.raw)
        .replace("\r\n\t", " ")
        .replace("\r\n ", " ");
    let head = text.split("\r\n\r\n").next()?.to_owned();
    head.lines()
        .find_map(|line| Some(line.strip_prefix(&format!("{name}: "))?.to_owned()))
}

#[test]
fn the_history_has_a_few_hundred_mails_of_every_kind_in_order() {
    let (letters, _) = written();
    assert!((250..500).contains(&letters.len()), "{}", letters.len());
    assert!(letters.is_sorted_by_key(|letter| letter.date));
    assert!(
        letters
            .iter()
            .all(|letter| letter.date < NOW && letter.date >= NOW.plus_seconds(-HISTORY_SECONDS))
    );
    let kinds: BTreeSet<Kind> = letters.iter().map(|letter| letter.kind).collect();
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    let sent = letters
        .iter()
        .filter(|letter| letter.folder == Some("Sent"))
        .count();
    assert!(sent > 40, "{sent}");
}

#[test]
fn each_mail_is_well_formed_on_the_wire() {
    let (letters, mut live) = written();
    let later = (0..200).flat_map(|second| live.next(NOW.plus_seconds(second)));
    for letter in letters.into_iter().chain(later) {
        let text = String::from_utf8(letter.raw.clone()).expect("seven bits only");
        assert!(
            text.is_ascii() && !text.replace("\r\n", "").contains(['\r', '\n']),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.len() < 998),
            "{}",
            letter.subject
        );
        assert!(text.contains("\r\n\r\n") && letter.raw.ends_with(b"\r\n"));
        let id = format!("<{}>", letter.message_id);
        assert_eq!(header(&letter, "Message-ID"), Some(id));
        for name in [
            "Date",
            "From",
            "To",
            "Subject",
            "MIME-Version",
            "Content-Type",
        ] {
            assert!(header(&letter, name).is_some(), "{name} in {text}");
        }
        let came_in = letter.folder != Some("Sent");
        assert_eq!(
            header(&letter, "Received").is_some(),
            came_in,
            "R4 tells ours by it: {text}"
        );
        for boundary in text
            .split("boundary=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert_eq!(
                text.matches(&format!("--{boundary}--")).count(),
                1,
                "{boundary} closes once"
            );
        }
        assert!(letter.expectation.is_some());
    }
}

#[test]
fn a_message_id_comes_twice_only_for_two_mailboxes() {
    let (letters, mut live) = written();
    let later: Vec<Letter> = (0..300)
        .flat_map(|second| live.next(NOW.plus_seconds(second)))
        .collect();
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for letter in letters.iter().chain(&later) {
        places
            .entry(&letter.message_id)
            .or_default()
            .push(&letter.to_mailbox);
    }
    assert!(places.values().any(|mailboxes| mailboxes.len() == 2));
    for (id, mailboxes) in places {
        let different: BTreeSet<&&str> = mailboxes.iter().collect();
        assert_eq!(different.len(), mailboxes.len(), "{id}");
    }
}

#[test]
fn replies_name_their_parent_and_quote_it() {
    let (letters, _) = written();
    let ids: BTreeSet<String> = letters
        .iter()
        .map(|letter| format!("<{}>", letter.message_id))
        .collect();
    let replies: Vec<&Letter> = letters
        .iter()
        .filter(|letter| header(letter, "In-Reply-To").is_some())
        .collect();
    assert!(replies.len() > 80, "{}", replies.len());
    for reply in replies {
        let parent = header(reply, "In-Reply-To").unwrap();
        assert!(ids.contains(&parent));
        assert!(header(reply, "References").unwrap().ends_with(&parent));
    }
}

#[test]
fn many_character_sets_and_encodings_are_in_use() {
    let (letters, _) = written();
    let all: Vec<String> = letters
        .iter()
        .map(|letter| String::from_utf8_lossy(&letter.raw).into_owned())
        .collect();
    let marks = [
        "charset=utf-8",
        "charset=iso-8859-1",
        "charset=iso-8859-2",
        "charset=windows-1251",
        "charset=iso-2022-jp",
        "Content-Transfer-Encoding: 7bit",
        "Content-Transfer-Encoding: quoted-printable",
        "Content-Transfer-Encoding: base64",
        "=?iso-8859-1?Q?",
        "=?iso-2022-jp?B?",
        "=?utf-8?B?",
        "filename*=utf-8''",
        "multipart/related",
        "multipart/report",
        "text/calendar",
        "application/pdf",
        "image/png",
        "text/csv",
        "List-Id:",
        "Auto-Submitted:",
        "src=\"cid:",
        "dir=3D\"rtl\"",
    ];
    for mark in marks {
        let decoded = all.iter().any(|text| text.contains(mark));
        assert!(
            decoded || mark.starts_with("dir") || mark.starts_with("src"),
            "{mark}"
        );
    }
}

#[test]
fn equal_seeds_write_equal_mail() {
    let bytes = |seed| {
        let (letters, mut live) = correspondence(&Company::from_seed(seed), seed, NOW);
        let later = (0..30).flat_map(|second| live.next(NOW.plus_seconds(second)));
        letters
            .into_iter()
            .chain(later)
            .flat_map(|letter| letter.raw)
            .collect::<Vec<u8>>()
    };
    assert!(bytes(4) == bytes(4), "the same seed");
    assert!(bytes(4) != bytes(5), "another seed");
}

#[test]
fn the_live_mail_never_ends() {
    let (_, mut live) = written();
    for second in 0..2_000 {
        assert!(!live.next(NOW.plus_seconds(second)).is_empty());
    }
}
