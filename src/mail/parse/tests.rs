//! Tables of small mails, and bombs.

use super::*;
use std::time::{Duration, Instant};

/// A mail from lines; each becomes one with CRLF.
fn mail(lines: &[&str]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\r\n"].concat())
        .collect()
}

/// A mail with this header and a short body.
fn headed(header: &str) -> ParsedMail {
    parse(format!("{header}\r\n\r\nbody\r\n").as_bytes())
}

fn address(name: Option<&str>, address: &str) -> Address {
    Address {
        name: name.map(str::to_owned),
        address: address.to_owned(),
    }
}

/// The address keys of a list.
fn plain(list: &[Address]) -> Vec<&str> {
    list.iter().map(|entry| entry.address.as_str()).collect()
}

#[test]
fn a_mail_is_read_field_by_field() {
    let raw = mail(&[
        "Received: from a by b; Tue, 24 Nov 2026 10:00:00 +0000",
        "From: =?utf-8?Q?J=C3=BCrgen_M=C3=BCller?= <Juergen@Example.ORG>",
        "Sender: office@example.org",
        "Reply-To: sales@example.org",
        "To: \"Weber, Anna\" <anna@firm.example>, bob@firm.example",
        "Cc: team: carol@firm.example, dave@firm.example;",
        "Bcc: undisclosed-recipients:;",
        "Subject: =?utf-8?B?QW5nZWJvdA==?=",
        " =?utf-8?B?IGbDvHIgU2ll?=",
        "Date: Tue, 24 Nov 2026 11:00:00 +0100",
        "Message-ID: <one@example.org>",
        "In-Reply-To: <zero@firm.example>",
        "References: <a@x> <b@x>",
        " <zero@firm.example>",
        "",
        "Guten Tag",
    ]);
    let found = parse(&raw);
    assert_eq!(
        found.from,
        [address(Some("Jürgen Müller"), "Juergen@Example.ORG")]
    );
    assert_eq!(found.sender, Some(address(None, "office@example.org")));
    assert_eq!(plain(&found.reply_to), ["sales@example.org"]);
    assert_eq!(
        found.to,
        [
            address(Some("Weber, Anna"), "anna@firm.example"),
            address(None, "bob@firm.example")
        ]
    );
    assert_eq!(
        plain(&found.cc),
        ["carol@firm.example", "dave@firm.example"]
    );
    assert_eq!(found.bcc, []);
    assert_eq!(found.subject, "Angebot für Sie");
    assert_eq!(found.date, Time::parse_rfc3339("2026-11-24T10:00:00Z"));
    assert_eq!(found.message_id.as_deref(), Some("one@example.org"));
    assert_eq!(found.in_reply_to, ["zero@firm.example"]);
    assert_eq!(found.references, ["a@x", "b@x", "zero@firm.example"]);
    assert_eq!(found.body_text.as_deref(), Some("Guten Tag\n"));
    assert_eq!(found.body_html, None);
    assert!(found.has_received_header);
    assert_eq!(
        (
            found.automatic,
            found.bounce,
            found.suspicions,
            found.problems
        ),
        (None, None, vec![], vec![])
    );
}

#[test]
fn header_blocks_are_found_in_their_odd_forms() {
    let rows: [(&str, &str, &str, &str); 10] = [
        ("LF only", "Subject: a\nTo: b@x\n\nbody", "a", "body"),
        (
            "an mbox line at the top",
            "From anna@x Fri Jul  8 12:08:34 2011\nSubject: a\n\nbody",
            "a",
            "body",
        ),
        (
            "an indented first field",
            " Subject: a\nTo: b@x\n\nbody",
            "a",
            "body",
        ),
        (
            "a stray line among fields",
            "To: b@x\nthis is no field\nSubject: a\n\nbody",
            "a",
            "body",
        ),
        (
            "no empty line before the body",
            "Subject: a\nDear all,\nbye",
            "a",
            "Dear all,\nbye",
        ),
        (
            "a space before the colon",
            "Subject : a\n\nbody",
            "a",
            "body",
        ),
        (
            "a folded empty line",
            "Subject: a\n \n b\n\nbody",
            "a b",
            "body",
        ),
        ("no header", "\nbody", "", "body"),
        ("no body", "Subject: a", "a", ""),
        (
            "two subjects",
            "Subject: a\nSubject: b\n\nbody",
            "a",
            "body",
        ),
    ];
    for (what, raw, subject, body) in rows {
        let found = parse(raw.as_bytes());
        assert_eq!(found.subject, subject, "{what}");
        assert_eq!(found.body_text.as_deref(), Some(body), "{what}");
    }
    assert_eq!(parse(b"").body_text.as_deref(), Some(""));
}

#[test]
fn subjects_are_one_clean_line() {
    let rows = [
        ("=?utf-8?q?a=0D=0ABcc:_x=40y?=", "a Bcc: x@y"),
        ("=?utf-8?q?a=00b?=", "ab"),
        ("a\0b", "a?b"),
        ("  many   spaces\t here ", "many spaces here"),
        ("=?utf-8?q?invoice=E2=80=AEfdp.exe?=", "invoicefdp.exe"),
        ("=?utf-8?q?cut", "=?utf-8?q?cut"),
        ("=?nope?q?x=E4?=", "x\u{fffd}"),
        ("plain ümläut", "plain ümläut"),
    ];
    for (field, expected) in rows {
        assert_eq!(
            headed(&format!("Subject: {field}")).subject,
            expected,
            "{field:?}"
        );
    }
    let latin = parse(b"Subject: Gr\xfc\xdfe\r\n\r\n");
    assert_eq!(latin.subject, "Grüße");
    assert!(latin.problems.contains(&MailProblem::EightBitHeader));
}

#[test]
fn r32_only_real_dates_count() {
    let rows = [
        (
            "Tue, 24 Nov 2026 11:00:00 +0100",
            Some("2026-11-24T10:00:00Z"),
        ),
        ("24 Nov 2026 11:00 -0500", Some("2026-11-24T16:00:00Z")),
        (
            "Tue, 24 Nov 2026 11:00:00 GMT (comment)",
            Some("2026-11-24T11:00:00Z"),
        ),
        (
            "Sat, 31 Dec 2016 23:59:60 +0000",
            Some("2016-12-31T23:59:59Z"),
        ),
        ("Mon, 30 Feb 2026 11:00:00 +0000", None),
        ("Tue, 99 Nov 2026 11:00:00 +0000", None),
        ("Tue, 24 Nov 2026 99:00:00 +0000", None),
        ("Tue, 24 Nov 2026 11:00:00 +9959", None),
        ("yesterday", None),
        ("", None),
    ];
    for (field, expected) in rows {
        let found = headed(&format!("Date: {field}"));
        assert_eq!(
            found.date.map(Time::to_rfc3339).as_deref(),
            expected,
            "{field:?}"
        );
        assert_eq!(
            found.problems.contains(&MailProblem::BadDate),
            expected.is_none(),
            "{field:?}"
        );
    }
}

#[test]
fn r17_message_ids_are_read_leniently() {
    let rows: [(&str, &[&str]); 7] = [
        ("<a@x>", &["a@x"]),
        ("a@x", &["a@x"]),
        ("Your mail of Monday <a@x>", &["a@x"]),
        ("Your mail of Monday", &[]),
        ("<a@x><b@x> <a@x>", &["a@x", "b@x"]),
        ("<a b@x>", &["ab@x"]),
        ("<>", &[]),
    ];
    for (field, expected) in rows {
        assert_eq!(
            headed(&format!("In-Reply-To: {field}")).in_reply_to,
            expected,
            "{field:?}"
        );
    }
    let many: String = (0..100).map(|n| format!("<{n}@x> ")).collect();
    let found = headed(&format!("References: {many}"));
    assert_eq!(found.references.len(), 20);
    assert_eq!(found.references.last().map(String::as_str), Some("99@x"));
    let long = headed(&format!("Message-ID: <{}@x>", "a".repeat(300)));
    assert_eq!(long.message_id, None);
    assert!(long.problems.contains(&MailProblem::NoMessageId));
    let two = headed("Message-ID: <a@x>\r\nMessage-ID: <b@x>");
    assert_eq!(two.message_id.as_deref(), Some("a@x"));
    assert!(two.problems.contains(&MailProblem::SeveralMessageIds));
}

#[test]
fn charsets_are_decoded_and_unknown_ones_guessed() {
    let rows: [(&str, &[u8], &str, bool); 10] = [
        (
            "text/plain; charset=utf-8",
            "Grüße".as_bytes(),
            "Grüße",
            false,
        ),
        (
            "text/plain; charset=iso-8859-1",
            b"Gr\xfc\xdfe",
            "Grüße",
            false,
        ),
        (
            "text/plain; charset=koi8-r",
            b"\xf0\xd2\xc9\xd7\xc5\xd4",
            "Привет",
            false,
        ),
        (
            "text/plain; charset=gb2312",
            b"\xc4\xe3\xba\xc3",
            "你好",
            false,
        ),
        (
            "text/plain; charset=iso-2022-jp",
            b"\x1b$B%O%m!<\x1b(B",
            "ハロー",
            false,
        ),
        (
            "text/plain; charset=us-ascii",
            "Grüße".as_bytes(),
            "Grüße",
            false,
        ),
        ("text/plain; charset=klingon", b"Gr\xfc\xdfe", "Grüße", true),
        ("text/plain", b"Gr\xfc\xdfe", "Grüße", true),
        ("text/plain", "Grüße".as_bytes(), "Grüße", false),
        (
            "text/plain; charset=utf-8",
            b"a\0b\r\nc\rd",
            "a\u{fffd}b\nc\nd",
            false,
        ),
    ];
    for (kind, body, expected, is_problem) in rows {
        let raw = [format!("Content-Type: {kind}\r\n\r\n").as_bytes(), body].concat();
        let found = parse(&raw);
        assert_eq!(
            found.body_text.as_deref(),
            Some(expected),
            "{kind} {body:?}"
        );
        assert_eq!(
            found.problems.contains(&MailProblem::UnknownCharset),
            is_problem,
            "{kind} {body:?}"
        );
    }
    let html = parse(b"Content-Type: text/html\r\n\r\n<meta charset=\"windows-1251\">\xcf\xf0");
    assert_eq!(
        html.body_html.as_deref(),
        Some("<meta charset=\"windows-1251\">Пр")
    );
}

#[test]
fn transfer_encodings_are_undone_as_far_as_they_go() {
    let rows: [(&str, &str, &str, bool); 8] = [
        ("base64", "R3LDvMOfZQ==", "Grüße", false),
        ("BASE64", "R3LD\r\nvMOf\r\nZQ==\r\n", "Grüße", false),
        (
            "base64",
            "R3LDvMOfZSBhbmQgbW9yZSB3b3Jkcw=!",
            "Grüße and more words",
            true,
        ),
        (
            "base64",
            "This is not base64 at all, it is prose.",
            "This is not base64 at all, it is prose.",
            true,
        ),
        (
            "quoted-printable",
            "Gr=C3=BC=C3=9Fe =\r\nx",
            "Grüße x",
            false,
        ),
        ("quoted-printable", "100=% sure=2", "100=% sure=2", true),
        ("8bit", "Grüße", "Grüße", false),
        ("x-unknown", "Grüße", "Grüße", false),
    ];
    for (encoding, body, expected, is_problem) in rows {
        let raw = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}");
        let found = parse(raw.as_bytes());
        assert_eq!(
            found.body_text.as_deref(),
            Some(expected),
            "{encoding} {body}"
        );
        assert_eq!(
            found.problems.contains(&MailProblem::BrokenEncoding),
            is_problem,
            "{encoding} {body}"
        );
    }
}

/// A multipart of these parts, each "header|body".
fn multipart(subtype: &str, boundary: &str, parts: &[&str]) -> String {
    let mut text =
        format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\r\n\r\npreamble\r\n");
    for part in parts {
        let (header, body) = part.split_once('|').unwrap();
        let header = if header.is_empty() {
            String::new()
        } else {
            format!("{header}\r\n")
        };
        text.push_str(&format!("--{boundary}\r\n{header}\r\n{body}\r\n"));
    }
    text.push_str(&format!("--{boundary}--\r\nepilogue\r\n"));
    text
}

/// A part that is itself a multipart.
fn inner(subtype: &str, boundary: &str, parts: &[&str]) -> String {
    multipart(subtype, boundary, parts).replacen("\r\n\r\n", "|", 1)
}

const PLAIN: &str = "Content-Type: text/plain|plain";
const HTML: &str = "Content-Type: text/html|<p>html</p>";
const IMAGE: &str =
    "Content-Type: image/png; name=a.png\r\nContent-ID: <img@x>\r\nContent-Disposition: inline|png";
const PDF: &str =
    "Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"b.pdf\"|pdf";

#[test]
#[expect(clippy::too_many_lines, reason = "a table of mails")]
fn bodies_are_told_from_attachments() {
    type Row = (
        &'static str,
        String,
        Option<&'static str>,
        Option<&'static str>,
        &'static [&'static str],
    );
    let rows: [Row; 14] = [
        (
            "an alternative",
            multipart("alternative", "b", &[PLAIN, HTML]),
            Some("plain"),
            Some("<p>html</p>"),
            &[],
        ),
        (
            "with an attachment",
            multipart("mixed", "b", &[PLAIN, PDF]),
            Some("plain"),
            None,
            &["b.pdf"],
        ),
        (
            "HTML with its image",
            multipart("related", "b", &[HTML, IMAGE]),
            None,
            Some("<p>html</p>"),
            &["a.png"],
        ),
        (
            "the image first",
            multipart("related", "b", &[IMAGE, HTML]),
            None,
            Some("<p>html</p>"),
            &["a.png"],
        ),
        (
            "all of it",
            multipart(
                "mixed",
                "b",
                &[
                    &inner(
                        "alternative",
                        "b2",
                        &[PLAIN, &inner("related", "b3", &[HTML, IMAGE])],
                    ),
                    PDF,
                ],
            ),
            Some("plain"),
            Some("<p>html</p>"),
            &["a.png", "b.pdf"],
        ),
        (
            "two texts",
            multipart("mixed", "b", &[PLAIN, "|footer"]),
            Some("plain\nfooter"),
            None,
            &[],
        ),
        (
            "HTML and a list's footer",
            multipart("mixed", "b", &[HTML, "|footer"]),
            Some("html\nfooter"),
            None,
            &[],
        ),
        (
            "a text file",
            multipart(
                "mixed",
                "b",
                &[PLAIN, "Content-Type: text/plain; name=log.txt|log"],
            ),
            Some("plain"),
            None,
            &["log.txt"],
        ),
        (
            "a forwarded mail",
            multipart(
                "mixed",
                "b",
                &[
                    PLAIN,
                    "Content-Type: message/rfc822|Subject: inner\r\n\r\ninside",
                ],
            ),
            Some("plain"),
            None,
            &["message.eml"],
        ),
        (
            "a digest",
            multipart("digest", "b", &["|Subject: inner\r\n\r\ninside"]),
            None,
            None,
            &["message.eml"],
        ),
        (
            "a boundary that begins like another",
            multipart(
                "mixed",
                "b",
                &[&inner("alternative", "bb", &[PLAIN, HTML]), PDF],
            ),
            Some("plain"),
            Some("<p>html</p>"),
            &["b.pdf"],
        ),
        (
            "no boundary",
            "Content-Type: multipart/mixed\r\n\r\nonly text".to_owned(),
            Some("only text"),
            None,
            &[],
        ),
        (
            "a boundary that never comes",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\nonly text".to_owned(),
            Some("only text"),
            None,
            &[],
        ),
        (
            "a single file",
            "Content-Type: application/pdf; name=\"b.pdf\"\r\n\r\npdf".to_owned(),
            None,
            None,
            &["b.pdf"],
        ),
    ];
    for (what, raw, text, html, names) in rows {
        let found = parse(raw.as_bytes());
        assert_eq!(
            found.body_text.as_deref().map(str::trim_end),
            text,
            "{what}"
        );
        let html_found = found.body_html.as_deref();
        if what == "HTML and a list's footer" {
            assert!(
                html_found.unwrap().starts_with("<p>html</p>\n"),
                "{what}: {html_found:?}"
            );
        } else {
            assert_eq!(html_found, html, "{what}");
        }
        assert_eq!(
            found
                .attachments
                .iter()
                .map(|file| file.name.as_str())
                .collect::<Vec<_>>(),
            names,
            "{what}"
        );
        for file in &found.attachments {
            let part = part_bytes(raw.as_bytes(), file.part_index).unwrap();
            assert_eq!(
                (&part.name, &part.media_type),
                (&file.name, &file.media_type),
                "{what}"
            );
            assert_eq!(
                u64::try_from(part.bytes.len()).unwrap(),
                file.size_bytes,
                "{what}"
            );
        }
        assert_eq!(part_bytes(raw.as_bytes(), 99), None, "{what}");
    }
}

#[test]
fn attachments_tell_what_they_are() {
    let raw = multipart(
        "mixed",
        "b",
        &[
            PLAIN,
            "Content-Type: IMAGE/PNG\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename*=utf-8''%C3%BC.png|aGVsbG8=",
        ],
    );
    let found = parse(raw.as_bytes());
    let expected = ParsedAttachment {
        part_index: 2,
        name: "ü.png".to_owned(),
        media_type: "image/png".to_owned(),
        size_bytes: 5,
        content_id: None,
        is_inline: false,
    };
    assert_eq!(found.attachments, [expected]);
    assert_eq!(part_bytes(raw.as_bytes(), 2).unwrap().bytes, b"hello");
    let related = parse(multipart("related", "b", &[HTML, IMAGE]).as_bytes());
    let image = &related.attachments[0];
    assert_eq!(
        (image.content_id.as_deref(), image.is_inline),
        (Some("img@x"), true)
    );
}

#[test]
fn file_names_are_harmless() {
    let rows = [
        ("\"../../etc/passwd\0.txt\"", "passwd?.txt"),
        ("\"C:\\\\Windows\\\\a.exe\"", "a.exe"),
        ("\"invoice\u{202e}fdp.exe\"", "invoicefdp.exe"),
        ("\"..\"", "attachment"),
        ("\"=?utf-8?q?=C3=BC?=.pdf\"", "ü.pdf"),
        ("\"a\r\n b.pdf\"", "a b.pdf"),
        ("\"   \"", "attachment"),
    ];
    for (name, expected) in rows {
        let raw = format!(
            "Content-Type: application/pdf\r\nContent-Disposition: attachment; filename={name}\r\n\r\nx"
        );
        assert_eq!(
            parse(raw.as_bytes()).attachments[0].name,
            expected,
            "{name:?}"
        );
    }
    let long = format!(
        "Content-Disposition: attachment; filename=\"{}\"\r\n\r\nx",
        "ü".repeat(500)
    );
    assert!(parse(long.as_bytes()).attachments[0].name.len() <= 200);
}

#[test]
fn forged_senders_are_noticed() {
    use Suspicion::{ControlInAddress, NameLooksLikeAddress, SeveralAuthors, SeveralFromFields};
    let rows: [(&str, &[Suspicion]); 9] = [
        ("From: anna@example.org", &[]),
        (
            "From: ceo@y.org\r\nFrom: evil@x.org",
            &[SeveralFromFields, SeveralAuthors],
        ),
        ("From: a@y.org, b@y.org", &[SeveralAuthors]),
        ("From: a@y.org, b@y.org\r\nSender: a@y.org", &[]),
        ("From: <ceo@y.org>\0<evil@x.org>", &[ControlInAddress]),
        ("From: \"ceo@y.org\" <evil@x.org>", &[NameLooksLikeAddress]),
        (
            "From: \"CEO (ceo@y.org)\" <evil@x.org>",
            &[NameLooksLikeAddress],
        ),
        ("From: \"Evil@X.org\" <evil@x.org>", &[]),
        ("From: \"Anna@Home\" <anna@x.org>", &[]),
    ];
    for (header, expected) in rows {
        let found = headed(header);
        assert_eq!(found.suspicions, expected, "{header:?}");
        assert!(
            !plain(&found.from)
                .iter()
                .any(|address| address.contains('\0')),
            "{header:?}"
        );
    }
    assert!(
        headed("Subject: a")
            .problems
            .contains(&MailProblem::NoSender)
    );
}

#[test]
fn r18_automatic_mail_is_recognised() {
    use AutomaticKind::{AutoSubmitted, Bulk, List, NullSender, OutOfOffice, SystemSender};
    let rows: [(&str, Option<AutomaticKind>); 23] = [
        ("Subject: hello", None),
        ("Auto-Submitted: no", None),
        ("Auto-Submitted: auto-generated", Some(AutoSubmitted)),
        (
            "Auto-Submitted: AUTO-NOTIFIED; owner=x",
            Some(AutoSubmitted),
        ),
        ("auto-submitted: auto-replied", Some(OutOfOffice)),
        ("X-Autoreply: yes", Some(OutOfOffice)),
        ("Precedence: auto_reply", Some(OutOfOffice)),
        ("Subject: Automatic reply: your offer", Some(OutOfOffice)),
        ("Subject: Abwesenheitsnotiz: Angebot", Some(OutOfOffice)),
        ("Subject: Re: Automatic reply: your offer", None),
        ("Subject: out of office chairs", None),
        ("X-Auto-Response-Suppress: All", Some(AutoSubmitted)),
        ("X-Auto-Response-Suppress: None", None),
        ("List-Id: <news.example.org>", Some(List)),
        ("Precedence: list", Some(List)),
        ("Precedence: Bulk", Some(Bulk)),
        ("Precedence: junk", Some(Bulk)),
        ("Precedence: first-class", None),
        ("From: MAILER-DAEMON@example.org", Some(SystemSender)),
        (
            "From: Postmaster <postmaster@example.org>",
            Some(SystemSender),
        ),
        ("Return-Path: <>", Some(NullSender)),
        ("Return-Path: < >", Some(NullSender)),
        ("Return-Path: <anna@example.org>", None),
    ];
    for (header, expected) in rows {
        assert_eq!(headed(header).automatic, expected, "{header:?}");
    }
}

#[test]
fn r18_invitations_are_told_from_calendar_files() {
    let rows = [
        (
            multipart(
                "alternative",
                "b",
                &[
                    PLAIN,
                    "Content-Type: text/calendar; method=REQUEST|BEGIN:VCALENDAR",
                ],
            ),
            true,
        ),
        (
            multipart(
                "mixed",
                "b",
                &[
                    PLAIN,
                    "Content-Type: text/calendar; method=CANCEL|BEGIN:VCALENDAR",
                ],
            ),
            true,
        ),
        (
            "Content-Type: text/calendar; method=REPLY\r\n\r\nBEGIN:VCALENDAR".to_owned(),
            true,
        ),
        (
            multipart(
                "mixed",
                "b",
                &[
                    PLAIN,
                    "Content-Type: text/calendar; name=a.ics\r\nContent-Disposition: attachment|BEGIN:VCALENDAR",
                ],
            ),
            false,
        ),
        (
            multipart(
                "mixed",
                "b",
                &[
                    PLAIN,
                    "Content-Type: text/calendar; name=a.ics|BEGIN:VCALENDAR",
                ],
            ),
            false,
        ),
    ];
    for (raw, is_invite) in rows {
        let expected = is_invite.then_some(AutomaticKind::CalendarInvite);
        assert_eq!(parse(raw.as_bytes()).automatic, expected, "{raw}");
    }
}

const STATUS: &str = concat!(
    "Content-Type: message/delivery-status|Reporting-MTA: dns; mx.example.org\r\n\r\n",
    "Final-Recipient: rfc822; Gone@Firm.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n",
    "Original-Recipient: rfc822;late@firm.example\r\nFinal-Recipient: rfc822;\r\n late@firm.example\r\nAction: delayed\r\n\r\n",
    "Final-Recipient: LOCAL; full@firm.example\r\nAction: FAILED",
);

#[test]
fn r18_bounces_tell_whom_they_are_about() {
    let report = |kind: &str, parts: &[&str]| {
        multipart("report", "b", parts).replacen(
            "multipart/report;",
            &format!("multipart/report; report-type={kind};"),
            1,
        )
    };
    let failed = BounceFacts {
        failed_recipients: vec![
            "full@firm.example".to_owned(),
            "gone@firm.example".to_owned(),
        ],
        original_message_id: Some("sent@us.example".to_owned()),
        is_disposition: false,
    };
    let rows: [(&str, String, Option<BounceFacts>, Option<AutomaticKind>); 9] = [
        ("a report with the mail", report("delivery-status", &[PLAIN, STATUS, "Content-Type: message/rfc822|Message-ID: <sent@us.example>\r\n\r\nx"]),
         Some(failed.clone()), Some(AutomaticKind::Bounce)),
        ("a report with headers alone", report("delivery-status", &[PLAIN, STATUS, "Content-Type: text/rfc822-headers|Subject: a\r\nMessage-ID:\r\n <sent@us.example>"]),
         Some(failed.clone()), Some(AutomaticKind::Bounce)),
        ("without report-type", multipart("report", "b", &[PLAIN, STATUS, "Content-Type: message/rfc822|Message-ID: <sent@us.example>\r\n\r\nx"]),
         Some(failed), Some(AutomaticKind::Bounce)),
        ("a read receipt", report("disposition-notification", &[PLAIN, "Content-Type: message/disposition-notification|Original-Message-ID: <sent@us.example>\r\nDisposition: manual-action; displayed"]),
         Some(BounceFacts { failed_recipients: vec![], original_message_id: Some("sent@us.example".to_owned()), is_disposition: true }),
         Some(AutomaticKind::DispositionReport)),
        ("Exim", "From: Mailer-Daemon@us.example\r\nX-Failed-Recipients: gone@firm.example, full@firm.example\r\n\r\n------ This is a copy ------\r\nMessage-ID: <sent@us.example>\r\n".to_owned(),
         Some(BounceFacts { failed_recipients: vec!["full@firm.example".to_owned(), "gone@firm.example".to_owned()], original_message_id: Some("sent@us.example".to_owned()), is_disposition: false }),
         Some(AutomaticKind::Bounce)),
        ("qmail", "From: MAILER-DAEMON@us.example\r\n\r\nHi. This is the qmail-send program at us.example.\r\n\r\nMessage-ID: <sent@us.example>\r\n".to_owned(),
         Some(BounceFacts { failed_recipients: vec![], original_message_id: Some("sent@us.example".to_owned()), is_disposition: false }),
         Some(AutomaticKind::Bounce)),
        ("qmail, naming whom", "From: MAILER-DAEMON@us.example\r\n\r\nHi. This is the qmail-send program at us.example.\r\n\r\n<Gone@firm.example>:\r\nSorry, no mailbox here by that name.\r\n\r\nMessage-ID: <sent@us.example>\r\n".to_owned(),
         Some(BounceFacts { failed_recipients: vec!["gone@firm.example".to_owned()], original_message_id: Some("sent@us.example".to_owned()), is_disposition: false }),
         Some(AutomaticKind::Bounce)),
        ("a forwarded address", report("delivery-status", &[PLAIN, "Content-Type: message/delivery-status|Reporting-MTA: dns; mx.example.org\r\n\r\nOriginal-Recipient: rfc822;info@firm.example\r\nFinal-Recipient: rfc822;old@else.example\r\nAction: failed", "Content-Type: message/rfc822|Message-ID: <sent@us.example>\r\n\r\nx"]),
         Some(BounceFacts { failed_recipients: vec!["info@firm.example".to_owned(), "old@else.example".to_owned()], original_message_id: Some("sent@us.example".to_owned()), is_disposition: false }),
         Some(AutomaticKind::Bounce)),
        ("a client who writes the header", "From: anna@firm.example\r\nX-Failed-Recipients: bob@firm.example\r\n\r\nx".to_owned(), None, None),
    ];
    for (what, raw, bounce, automatic) in rows {
        let found = parse(raw.as_bytes());
        assert_eq!(found.bounce, bounce, "{what}");
        assert_eq!(found.automatic, automatic, "{what}");
    }
}

#[test]
fn r7_copies_share_a_key_and_different_mails_never_do() {
    let base = "From: a@x\r\nDate: Tue, 24 Nov 2026 11:00:00 +0100\r\nSubject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n";
    let key = |raw: &str| parse(raw.as_bytes()).content_key;
    let same: [(&str, String); 5] = [
        (
            "another path",
            format!("Received: from y\r\nDelivered-To: b@x\r\n{base}"),
        ),
        ("LF", base.replace("\r\n", "\n")),
        ("a line more at the end", format!("{base}\r\n")),
        (
            "another encoding",
            base.replacen(
                "\r\n\r\nbody",
                "\r\nContent-Transfer-Encoding: base64\r\n\r\nYm9keQ==",
                1,
            ),
        ),
        (
            "another zone for the same time",
            base.replace("11:00:00 +0100", "10:00:00 +0000"),
        ),
    ];
    for (what, raw) in same {
        assert_eq!(key(&raw), key(base), "{what}");
    }
    let different = [
        ("another body", base.replace("body", "b0dy")),
        ("another author", base.replace("a@x", "b@x")),
        ("another subject", base.replace("hi", "ho")),
        ("another time", base.replace("11:00:00", "11:00:01")),
        ("another Message-ID", base.replace("<1@x>", "<2@x>")),
        ("no Message-ID", base.replace("Message-ID: <1@x>\r\n", "")),
        ("an attachment more", base.replacen("\r\n\r\nbody", "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nbody\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--", 1)),
    ];
    for (what, raw) in &different {
        assert_ne!(key(raw), key(base), "{what}");
    }
    let bare = base.replace("Message-ID: <1@x>\r\n", "");
    assert_ne!(
        key(&bare),
        key(&format!("Received: from y\r\n{bare}")),
        "without a Message-ID only equal bytes are equal"
    );
}

#[test]
fn raw_headers_are_shown_as_they_stand() {
    assert_eq!(
        raw_headers(b"Subject: a\r\n b\0\r\nX: \xfc\r\n\r\nbody"),
        "Subject: a\r\n b\u{fffd}\r\nX: ü\r\n\r\n"
    );
    assert!(raw_headers(&b"X: y\r\n".repeat(1_000_000)).len() <= 256 * 1024);
}

/// Parses on a thread with the stack of a worker and checks that time stays bounded, also unoptimised.
fn survive(what: &str, raw: Vec<u8>) -> ParsedMail {
    let begun = Instant::now();
    let parsed = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || parse(&raw))
        .unwrap()
        .join();
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(8), "{what} took {taken:?}");
    parsed.unwrap_or_else(|_| panic!("{what}"))
}

#[test]
fn bombs_cost_little() {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(1_000_000);
    let found = survive("a million messages in each other", nested.into_bytes());
    assert_eq!(found.attachments.len(), 1);

    let nested: String = (0..100_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    let found = survive(
        "a hundred thousand multiparts in each other",
        nested.into_bytes(),
    );
    assert!(
        found.problems.contains(&MailProblem::NestedTooDeep),
        "{:?}",
        found.problems
    );

    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
        "--b\r\n\r\nx\r\n".repeat(1_000_000)
    );
    let found = survive("a million parts", parts.into_bytes());
    assert!(found.problems.contains(&MailProblem::TooManyParts));

    let found = survive(
        "a million headers",
        format!("{}\r\nbody", "A: b\r\n".repeat(1_000_000)).into_bytes(),
    );
    assert!(found.problems.contains(&MailProblem::TooManyHeaders));
    assert_eq!(found.body_text.as_deref(), Some("body"));

    let found = survive(
        "one header of 20 MB",
        format!("Subject: {}\r\n\r\nbody", "x".repeat(20_000_000)).into_bytes(),
    );
    assert!(found.problems.contains(&MailProblem::HeaderCut) && found.subject.len() <= 2000);

    let addresses = "a@example.org, ".repeat(300_000);
    let found = survive(
        "three hundred thousand addresses",
        format!("To: {addresses}\r\n\r\n").into_bytes(),
    );
    assert!(found.to.len() <= 2000);

    let parameters: String = (0..200_000).map(|n| format!(";a*{n}=x")).collect();
    survive(
        "two hundred thousand parameters",
        format!("Content-Type: text/plain{parameters}\r\n\r\nx").into_bytes(),
    );

    let headers = format!("Content-Type: text/plain{}\r\n", &";a*1=x".repeat(1300)).repeat(50);
    let parts = format!("--b\r\n{headers}\r\nx\r\n").repeat(100);
    survive(
        "parameters in every part",
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}").into_bytes(),
    );

    for opening in [
        "(",
        "<",
        "\"",
        "a:",
        "=?",
        "=?utf-8?q?",
        "\\",
        "@",
        "[",
        ",",
        "=?utf-8?b?",
    ] {
        for field in ["From", "Subject", "Date", "References", "Content-Type"] {
            let raw = format!("{field}: {}\r\n\r\nx", opening.repeat(500_000));
            survive(
                &format!("half a million {opening} in {field}"),
                raw.into_bytes(),
            );
        }
    }
    let words = "=?utf-8?q?a?= ".repeat(100_000);
    survive(
        "a hundred thousand encoded words",
        format!("Subject: {words}\r\nFrom: {words}<a@x>\r\n\r\n").into_bytes(),
    );
    let groups = "g:a@x;".repeat(200_000);
    survive("groups", format!("To: {groups}\r\n\r\n").into_bytes());
    let tags = "<div>".repeat(2_000_000);
    let found = survive(
        "ten megabytes of HTML",
        format!("Content-Type: text/html\r\n\r\n{tags}").into_bytes(),
    );
    assert!(found.problems.contains(&MailProblem::BodyCut));
}

#[test]
fn a_base64_message_in_a_message_is_a_file() {
    use base64::Engine;
    let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
    let encoded = base64::engine::general_purpose::STANDARD.encode(deep.as_bytes());
    let raw = format!(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}"
    );
    let found = survive("base64 in rfc822", raw.clone().into_bytes());
    assert_eq!(found.attachments[0].media_type, "message/rfc822");
    assert_eq!(
        part_bytes(raw.as_bytes(), 0).unwrap().bytes,
        deep.as_bytes()
    );
}

/// Pieces that mails are made of, to be put together at random.
const PIECES: [&str; 24] = [
    "From: ",
    "Subject: ",
    "Content-Type: ",
    "multipart/mixed; boundary=b",
    "message/rfc822",
    "text/html; charset=",
    "utf-7",
    "\r\n",
    "\r\n\r\n",
    "--b",
    "--b--",
    "=?utf-8?q?",
    "?=",
    "\0",
    "<a@b.c>",
    "(",
    "\"",
    "\\",
    ";",
    "Date: 99 Foo",
    "=3D",
    "Content-Transfer-Encoding: base64",
    "name*0*=utf-8''%",
    "\u{202e}",
];

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic_or_leak_a_nul(pieces in proptest::collection::vec(0..PIECES.len(), 0..60), noise: Vec<u8>) {
        let mut raw: Vec<u8> = pieces.iter().flat_map(|&piece| PIECES[piece].bytes()).collect();
        raw.extend(noise);
        let found = parse(&raw);
        proptest::prop_assert!(!found.problems.contains(&MailProblem::Unparsed));
        let texts = [Some(&found.subject), found.body_text.as_ref(), found.body_html.as_ref(), found.message_id.as_ref()];
        proptest::prop_assert!(texts.into_iter().flatten().all(|text| !text.contains('\0')));
        for file in &found.attachments {
            let part = part_bytes(&raw, file.part_index).unwrap();
            proptest::prop_assert_eq!(u64::try_from(part.bytes.len()).unwrap(), file.size_bytes);
            proptest::prop_assert!(!file.name.is_empty() && !file.name.contains(char::is_control));
        }
    }
}
