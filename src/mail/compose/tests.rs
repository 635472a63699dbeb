//! What is composed says what was meant, and nothing else, whatever was typed.

use super::*;
use crate::mail::parse;
use proptest::prelude::*;

fn address(name: &str, address: &str) -> Address {
    Address {
        name: (!name.is_empty()).then(|| name.to_owned()),
        address: address.to_owned(),
    }
}

fn mail() -> OutgoingMail {
    OutgoingMail {
        from: address("Sally Sales", "sales@ours.example"),
        to: vec![address("Carl Client", "carl@client.example")],
        cc: Vec::new(),
        bcc: vec![address("", "secret@client.example")],
        subject: "An offer".to_owned(),
        text: "Hello\n.\nFrom here on\n".to_owned(),
        html: None,
        date: Time::from_seconds(1_800_000_000),
        message_id: "v1.a.b@ours.example".to_owned(),
        in_reply_to: Some("m@client.example".to_owned()),
        references: vec!["a@client.example".to_owned(), "m@client.example".to_owned()],
        files: Vec::new(),
    }
}

/// The names of the header fields, in lower case.
fn fields(raw: &[u8]) -> Vec<String> {
    let text = String::from_utf8(raw.to_vec()).unwrap();
    let head = text.split("\r\n\r\n").next().unwrap().to_owned();
    head.split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split(':').next().unwrap().to_lowercase())
        .collect()
}

const EXPECTED: [&str; 10] = [
    "cc",
    "content-transfer-encoding",
    "content-type",
    "date",
    "from",
    "in-reply-to",
    "message-id",
    "mime-version",
    "references",
    "subject",
];

#[test]
fn r41_a_mail_says_what_was_meant_and_tells_nobody_of_bcc() {
    let composed = compose(&mail()).unwrap();
    let text = String::from_utf8(composed.raw.clone()).unwrap();
    assert!(!text.contains("secret@client.example") && !text.to_lowercase().contains("bcc"));
    let recipients = ["carl@client.example", "secret@client.example"];
    assert_eq!(composed.envelope.recipients, recipients);
    let parsed = parse::parse(&composed.raw);
    assert_eq!(parsed.message_id.as_deref(), Some("v1.a.b@ours.example"));
    assert_eq!(parsed.in_reply_to, ["m@client.example"]);
    assert_eq!(parsed.references, ["a@client.example", "m@client.example"]);
    assert_eq!(parsed.date, Some(Time::from_seconds(1_800_000_000)));
    assert_eq!(parsed.from, [address("Sally Sales", "sales@ours.example")]);
    assert_eq!(parsed.to, [address("Carl Client", "carl@client.example")]);
    assert!(
        parsed.automatic.is_none(),
        "people's mail carries no automatic headers"
    );
    assert!(parsed.problems.is_empty() && parsed.suspicions.is_empty());
    assert_eq!(
        parsed.body_text.unwrap().replace("\r\n", "\n").trim_end(),
        "Hello\n.\nFrom here on"
    );
}

#[test]
fn r41_files_and_html_go_with_it() {
    let file = |name: &str, media_type: &str| OutgoingFile {
        name: name.to_owned(),
        media_type: media_type.to_owned(),
        bytes: (0..=255).collect(),
    };
    let composed = compose(&OutgoingMail {
        html: Some("<p>H\u{e9}llo</p>".to_owned()),
        files: vec![
            file("../r\u{e9}port\r\nX: y.pdf", "application/pdf"),
            file("mail.eml", "message/rfc822"),
            file("x.bin", "bad type\r\nX: y"),
        ],
        ..mail()
    });
    let parsed = parse::parse(&composed.unwrap().raw);
    assert_eq!(parsed.body_html.unwrap().trim_end(), "<p>H\u{e9}llo</p>");
    let found: Vec<(&str, &str, u64)> = parsed
        .attachments
        .iter()
        .map(|file| {
            (
                file.name.as_str(),
                file.media_type.as_str(),
                file.size_bytes,
            )
        })
        .collect();
    let bytes = "application/octet-stream";
    assert_eq!(
        found[1..],
        [("mail.eml", bytes, 256), ("x.bin", bytes, 256)]
    );
    assert_eq!((found[0].1, found[0].2), ("application/pdf", 256));
    assert!(
        found[0].0.ends_with("X: y.pdf") && !found[0].0.contains(char::is_control),
        "{}",
        found[0].0
    );
}

#[test]
fn r41_what_is_no_address_is_named_and_nothing_is_made() {
    for bad in [
        "",
        "nobody",
        "a@",
        "a b@x.example",
        "a@x.example\r\nBcc: b@y.example",
        "<a>b@x.example",
        "\u{e9}@x.example",
        "a@x.example,b@y.example",
    ] {
        let mut mail = mail();
        mail.to = vec![address("", bad)];
        assert!(
            matches!(compose(&mail), Err(ComposeError::BadAddress(_))),
            "{bad:?}"
        );
    }
    let nobody = OutgoingMail {
        to: Vec::new(),
        bcc: Vec::new(),
        ..mail()
    };
    assert_eq!(compose(&nobody), Err(ComposeError::NoRecipient));
    let many = (0..=RECIPIENTS_MAX).map(|n| address("", &format!("a{n}@x.example")));
    let many = OutgoingMail {
        to: many.collect(),
        ..mail()
    };
    assert_eq!(compose(&many), Err(ComposeError::TooManyRecipients));
    assert_eq!(
        wire_address("Jo@B\u{fc}cher.example").unwrap(),
        "Jo@xn--bcher-kva.example"
    );
}

/// Text as an attacker types it: line ends of all kinds, headers, dots, encoded words, what turns text round.
fn typed() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\u{85}".to_owned()),
        Just("\r\n.\r\n".to_owned()),
        Just("Bcc: evil@evil.example".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("=?utf-8?q?a=0D=0ABcc:_x=40y?=".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("\" <evil@evil.example>,".to_owned()),
        Just("\\".to_owned()),
        Just("(".to_owned()),
        Just("\t".to_owned()),
        Just("From ".to_owned()),
        "[ -~]{0,40}",
        "\\PC{0,20}",
        Just("\u{1f600}".repeat(40)),
        Just("x".repeat(1200)),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn checked(composed: &Composed) {
    let raw = &composed.raw;
    let head_end = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(
        raw.iter().all(|byte| byte.is_ascii() && *byte != 0),
        "only ASCII goes out"
    );
    let is_bare = |at: usize, byte: u8| match byte {
        b'\n' => at == 0 || raw[at - 1] != b'\r',
        b'\r' => raw.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    assert!(
        !raw.iter().enumerate().any(|(at, byte)| is_bare(at, *byte)),
        "a bare line end"
    );
    let lines = raw.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
    assert!(lines.unwrap() <= 999, "a line is too long");
    let mut names = fields(&raw[..head_end + 4]);
    names.retain(|name| name != "to");
    names.sort();
    let mut expected: Vec<&str> = EXPECTED.to_vec();
    if !names.contains(&"content-transfer-encoding".to_owned()) {
        expected.retain(|name| *name != "content-transfer-encoding");
    }
    assert_eq!(names, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn r41_nothing_typed_becomes_a_header_a_recipient_or_a_line_of_its_own(
        subject in typed(), name in typed(), other in typed(), text in typed(), html in prop::option::of(typed()),
        file in typed(), media in typed(), id in typed(), with_file in any::<bool>(),
    ) {
        let given = OutgoingMail {
            from: address(&name, "sales@ours.example"),
            to: vec![address(&other, "carl@client.example")],
            cc: vec![address(&name, "d@client.example")],
            subject: subject.clone(),
            text,
            html,
            in_reply_to: Some(format!("a{id}@x")),
            references: vec![format!("b{id}@x")],
            files: with_file.then(|| OutgoingFile { name: file, media_type: media, bytes: vec![0, 13, 10, 46] }).into_iter().collect(),
            ..mail()
        };
        let composed = compose(&given).unwrap();
        checked(&composed);
        prop_assert_eq!(composed.envelope.recipients.len(), 3);
        let parsed = parse::parse(&composed.raw);
        let addresses = |list: &[Address]| list.iter().map(|a| a.address.clone()).collect::<Vec<_>>();
        prop_assert_eq!(addresses(&parsed.from), ["sales@ours.example"]);
        prop_assert_eq!(addresses(&parsed.to), ["carl@client.example"]);
        prop_assert_eq!(addresses(&parsed.cc), ["d@client.example"]);
        prop_assert!(parsed.bcc.is_empty() && parsed.automatic.is_none());
        prop_assert_eq!(parsed.message_id.as_deref(), Some("v1.a.b@ours.example"));
        prop_assert_eq!(parsed.attachments.len(), usize::from(with_file));
    }
}

/// A million with `MAILROOM_TEST_LONG`.
pub fn cases() -> u32 {
    if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        1_000_000
    } else {
        600
    }
}
