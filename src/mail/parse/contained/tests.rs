//! What Outlook wraps and what older programs write into the text, and both broken in every way.

use super::super::{ParsedMail, SpecialFormat, extras, parse, part_bytes, parts_bytes};
use super::FILES_MAX;
use base64::Engine as _;
use std::time::{Duration, Instant};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nnot much";

/// Bytes behind the length that they say.
fn long(bytes: &[u8]) -> Vec<u8> {
    let mut counted = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
    counted.extend(bytes);
    counted
}

fn attribute(level: u8, id: u32, data: &[u8]) -> Vec<u8> {
    let sum = data
        .iter()
        .fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    [
        &[level],
        id.to_le_bytes().as_slice(),
        &long(data),
        &sum.to_le_bytes(),
    ]
    .concat()
}

fn property(kind: u16, id: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), &id.to_le_bytes(), value].concat()
}

/// A property whose length is said.
fn long_property(kind: u16, id: u16, bytes: &[u8]) -> Vec<u8> {
    let mut value = 1_u32.to_le_bytes().to_vec();
    value.extend(long(bytes));
    value.resize(value.len().next_multiple_of(4), 0);
    property(kind, id, &value)
}

fn wide_property(id: u16, text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
    long_property(0x1f, id, &bytes)
}

fn properties(all: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(all.len()).unwrap();
    [count.to_le_bytes().to_vec(), all.concat()].concat()
}

fn tnef(attributes: &[Vec<u8>]) -> Vec<u8> {
    let head = [0x78, 0x9f, 0x3e, 0x22, 1, 0];
    [head.to_vec(), attributes.concat()].concat()
}

fn message(all: &[Vec<u8>]) -> Vec<u8> {
    attribute(1, 0x0006_9003, &properties(all))
}

/// A file as old programs write it: a short title, the bytes.
fn file(title: &[u8], bytes: &[u8]) -> Vec<u8> {
    let begin = attribute(2, 0x0006_9002, &[0; 14]);
    let title = attribute(2, 0x0001_8010, &[title, b"\0"].concat());
    [begin, title, attribute(2, 0x0006_800f, bytes)].concat()
}

/// What newer ones add to it.
fn file_properties(all: &[Vec<u8>]) -> Vec<u8> {
    attribute(2, 0x0006_9005, &properties(all))
}

fn mail(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut raw =
        b"From: a@x\r\nMessage-ID: <1@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n".to_vec();
    for (header, body) in parts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(body);
        let lines: Vec<String> = encoded
            .as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let part = format!(
            "\r\n--b\r\nContent-Type: {header}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            lines.join("\r\n")
        );
        raw.extend(part.bytes());
    }
    raw.extend(b"\r\n--b--\r\n");
    raw
}

const WRAPPED: &str = "application/ms-tnef; name=\"winmail.dat\"";

fn wrapped(attributes: &[Vec<u8>]) -> Vec<u8> {
    mail(&[(WRAPPED, &tnef(attributes))])
}

/// The names, types and bytes of a mail's files.
fn files(raw: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let found = parse(raw).attachments;
    let indexes: Vec<usize> = found.iter().map(|file| file.part_index).collect();
    let all = parts_bytes(raw, &indexes);
    assert_eq!(all.len(), found.len());
    for (listed, given) in found.iter().zip(&all) {
        assert_eq!(
            (&listed.name, &listed.media_type),
            (&given.name, &given.media_type)
        );
        assert_eq!(listed.size_bytes, u64::try_from(given.bytes.len()).unwrap());
        assert_eq!(part_bytes(raw, listed.part_index).as_ref(), Some(given));
    }
    let plain = |file: super::super::PartBytes| (file.name, file.media_type, file.bytes);
    all.into_iter().map(plain).collect()
}

fn names(raw: &[u8]) -> Vec<String> {
    files(raw).into_iter().map(|(name, ..)| name).collect()
}

fn owned(name: &str, media_type: &str, bytes: &[u8]) -> (String, String, Vec<u8>) {
    (name.to_owned(), media_type.to_owned(), bytes.to_vec())
}

#[test]
fn r44_files_in_a_winmail_dat_are_files_of_the_mail() {
    let inner = tnef(&[
        message(&[wide_property(0x1000, "The order itself.")]),
        file(b"inner.csv", b"a;b"),
    ]);
    let object = [[7; 16].to_vec(), inner].concat();
    let raw = wrapped(&[
        attribute(1, 0x0006_9007, &[0xe3, 4, 0, 0, 0, 0, 0, 0]),
        file(b"\xcf\xf0\xe8.txt", b"old"),
        file(b"LONGNA~1.PNG", PNG),
        file_properties(&[
            property(0x0003, 0x3705, &1_u32.to_le_bytes()),
            wide_property(0x3707, "..\\..\\A long näme.png"),
            long_property(0x1e, 0x370e, b"image/png\0"),
            long_property(0x1e, 0x3712, b"<pic@x>\0"),
        ]),
        attribute(2, 0x0006_9002, &[0; 14]),
        file_properties(&[
            wide_property(0x3001, "Order 7"),
            long_property(0x0d, 0x3701, &object),
        ]),
    ]);
    assert_eq!(
        files(&raw),
        [
            owned("При.txt", "text/plain", b"old"),
            owned("A long näme.png", "image/png", PNG),
            owned("Order 7.txt", "text/plain", b"The order itself."),
            owned("inner.csv", "text/csv", b"a;b"),
        ]
    );
    assert_eq!(extras(&raw).formats, [SpecialFormat::Tnef]);
    let found = parse(&raw);
    assert_eq!(found.attachments[1].content_id.as_deref(), Some("pic@x"));
    assert_eq!((found.body_text, found.body_html), (None, None));
}

#[test]
fn r19_cards_in_a_winmail_dat_introduce_people() {
    let card = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Cleo Client\r\nEMAIL:cleo@client.example\r\nEND:VCARD\r\n";
    let raw = wrapped(&[file(b"cleo.vcf", card), file(b"note.txt", card)]);
    let cards = parse(&raw).cards;
    assert_eq!(cards.len(), 1);
    assert_eq!(cards[0].name.as_deref(), Some("Cleo Client"));
}

#[test]
fn r44_what_could_not_be_read_whole_stays_a_file_too() {
    let good = [file(b"one.txt", b"1"), file(b"two.txt", b"2")];
    let whole = tnef(&good);
    let cut = mail(&[(WRAPPED, &whole[..whole.len() - 4])]);
    assert_eq!(names(&cut), ["winmail.dat", "one.txt"]);
    let padded = mail(&[(WRAPPED, &[whole.as_slice(), b"\r\n\0"].concat())]);
    assert_eq!(names(&padded), ["one.txt", "two.txt"]);
    let linked = wrapped(&[file(b"one.txt", b"1"), attribute(2, 0x0006_9002, &[0; 14])]);
    assert_eq!(names(&linked), ["winmail.dat", "one.txt"]);
    let strange = wrapped(&[
        good[0].clone(),
        file_properties(&[property(0x0fff, 0x3707, b"")]),
    ]);
    assert_eq!(names(&strange), ["winmail.dat", "one.txt"]);
    for (media_type, bytes) in [
        (WRAPPED, b"x".as_slice()),
        (WRAPPED, b""),
        ("application/zip; name=a.zip", &whole),
    ] {
        assert_eq!(parse(&mail(&[(media_type, bytes)])).attachments.len(), 1);
    }
    // Its name alone is enough.
    let unlabelled = mail(&[("application/octet-stream; name=\"WINMAIL.DAT\"", &whole)]);
    assert_eq!(names(&unlabelled), ["one.txt", "two.txt"]);
}

#[test]
fn r44_the_letter_in_a_winmail_dat_is_shown_where_there_is_no_other() {
    let text = || wide_property(0x1000, "The text\r\nitself");
    let html = || long_property(0x102, 0x1013, b"<p>\xfc <img src=\"cid:pic\"></p>");
    let rtf = || {
        long_property(
            0x102,
            0x1009,
            b"\0\0\0\0\0\0\0\0MELA\0\0\0\0{\\rtf1 Rich\\par text}",
        )
    };
    let rtf_html = || {
        long_property(
            0x102,
            0x1009,
            b"\0\0\0\0\0\0\0\0MELA\0\0\0\0{\\rtf1\\fromhtml1 {\\*\\htmltag64 <p>}rich}",
        )
    };
    let shown_html = Some("<p>\u{fc} <img src=\"cid:pic\"></p>");
    // (its properties, the text, the HTML)
    let rows = [
        (vec![], None, None),
        (vec![text()], Some("The text\nitself"), None),
        (vec![html()], None, shown_html),
        (vec![rtf()], Some("Rich\ntext"), None),
        (vec![rtf_html()], None, Some("<p>rich")),
        (vec![text(), rtf()], Some("The text\nitself"), None),
        (vec![text(), rtf(), html()], None, shown_html),
        (
            vec![wide_property(0x1000, "  "), rtf()],
            Some("Rich\ntext"),
            None,
        ),
    ];
    for (all, said_text, said_html) in rows {
        let whole = tnef(&[message(&all)]);
        let alone = parse(&mail(&[(WRAPPED, &whole)]));
        assert_eq!(alone.body_text.as_deref(), said_text);
        assert_eq!(alone.body_html.as_deref(), said_html);
        assert_eq!(alone.attachments, []);
        let behind_nothing = parse(&mail(&[("text/plain", b" \r\n"), (WRAPPED, &whole)]));
        if said_text.or(said_html).is_some() {
            assert_eq!(behind_nothing.body_text.as_deref(), said_text);
        }
        for parts in [
            [("text/plain", b"Hello".as_slice()), (WRAPPED, &whole)],
            [(WRAPPED, &whole), ("text/plain", b"Hello")],
        ] {
            let beside = parse(&mail(&parts));
            assert_eq!(
                (beside.body_text.as_deref(), beside.body_html),
                (Some("Hello"), None)
            );
        }
    }
}

#[test]
fn r44_only_pictures_that_the_html_shows_are_inline() {
    let picture = |id: &[u8]| {
        let named = long_property(0x1e, 0x3712, id);
        [file(b"a.png", PNG), file_properties(&[named])].concat()
    };
    let html = long_property(0x102, 0x1013, b"<img src=\"cid:shown\"><img src=cid:bare>");
    let raw = wrapped(&[
        message(&[html]),
        picture(b"shown"),
        picture(b"bare"),
        picture(b"other"),
    ]);
    let inline: Vec<bool> = parse(&raw)
        .attachments
        .iter()
        .map(|file| file.is_inline)
        .collect();
    assert_eq!(inline, [true, true, false]);
}

/// Bytes as uuencode writes them.
fn uuencoded(name: &str, bytes: &[u8]) -> String {
    let letter = |value: u8| char::from(if value == 0 { b'`' } else { value + 32 });
    let mut text = format!("begin 644 {name}\n");
    for line in bytes.chunks(45) {
        text.push(letter(u8::try_from(line.len()).unwrap()));
        for group in line.chunks(3) {
            let at = |index: usize| group.get(index).copied().unwrap_or(0);
            let (one, two, three) = (at(0), at(1), at(2));
            let values = [
                one >> 2,
                (one & 3) << 4 | two >> 4,
                (two & 15) << 2 | three >> 6,
                three & 63,
            ];
            text.extend(values.map(letter));
        }
        text.push('\n');
    }
    text + "`\nend\n"
}

fn plain(text: &str) -> Vec<u8> {
    format!("From: a@x\nSubject: s\nMessage-ID: <1@x>\n\n{text}").into_bytes()
}

fn said(found: &ParsedMail) -> &str {
    found.body_text.as_deref().unwrap()
}

#[test]
fn r44_files_written_into_the_text_are_files_of_the_mail() {
    let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let raw = plain(&format!(
        "Before\n{}Between\n{}After\n",
        uuencoded("../a b.png", PNG),
        uuencoded("b.dat", &bytes)
    ));
    assert_eq!(
        files(&raw),
        [
            owned("a b.png", "image/png", PNG),
            owned("b.dat", "application/octet-stream", &bytes)
        ]
    );
    assert_eq!(said(&parse(&raw)), "Before\nBetween\nAfter\n");
    assert_eq!(extras(&raw).formats, [SpecialFormat::Uuencoded]);
    // Spaces for zeros, cut off at the end; line ends of the network; an empty file.
    let zeros = plain(
        &uuencoded("z", &[0; 50])
            .replace('`', " ")
            .lines()
            .map(|line| line.trim_end().to_owned() + "\r\n")
            .collect::<String>(),
    );
    assert_eq!(
        files(&zeros),
        [owned("z", "application/octet-stream", &[0; 50])]
    );
    assert_eq!(
        files(&plain("begin 644 e\n`\nend\n")),
        [owned("e", "application/octet-stream", b"")]
    );
    // As a part of its own.
    let mut part = b"From: a@x\nContent-Type: image/png; name=p.png\nContent-Transfer-Encoding: x-uuencode\nContent-Disposition: attachment\n\n".to_vec();
    part.extend(uuencoded("other.png", PNG).bytes());
    assert_eq!(files(&part), [owned("p.png", "image/png", PNG)]);
}

#[test]
fn r44_what_only_looks_like_uuencode_is_text() {
    let rows = [
        "begin 644 a\nHello there,\nend\n",
        "begin 644 a\n#0V%T\n`\n",
        "begin 644 a\n#0V%T\n`\nEND\n",
        "begin 644 a\n",
        "begin 99 a\n`\nend\n",
        "begin 644 \n`\nend\n",
        "begin the day\n`\nend\n",
        "begin 644 a\n#0V%Tmore\n`\nend\n",
    ];
    for text in rows {
        let raw = plain(text);
        let found = parse(&raw);
        assert_eq!((said(&found), found.attachments.len()), (text, 0));
        assert_eq!(extras(&raw).formats, []);
    }
}

#[test]
fn containers_that_lie_cost_little() {
    let begun = "begin 644 a\n#0V%T\n".repeat(200_000);
    let many = uuencoded("a", b"1").repeat(100_000);
    let huge = [
        attribute(1, 0x0006_9003, &[0xff; 4]),
        attribute(
            1,
            0x0006_9003,
            &properties(&[property(0x101e, 1, &[0xff; 400_000])]),
        ),
    ];
    let empty: Vec<u8> = [
        u32::MAX.to_le_bytes().to_vec(),
        property(0x101e, 1, &u32::MAX.to_le_bytes()),
        vec![0; 4_000_000],
    ]
    .concat();
    let mut nested = tnef(&[file(b"deep", b"1")]);
    for _ in 0..200 {
        let object = [[7; 16].to_vec(), nested].concat();
        nested = tnef(&[
            attribute(2, 0x0006_9002, &[0; 14]),
            file_properties(&[long_property(0x0d, 0x3701, &object)]),
        ]);
    }
    // All of it refers back: as much as can be unpacked of the fewest bytes.
    let mut bomb = b"\0\0\0\0\0\0\0\0LZFu\0\0\0\0".to_vec();
    bomb.extend([0xff, 0x00, 0x0f, 0x00, 0x0f].repeat(100_000));
    let bomb = tnef(&[message(&[long_property(0x102, 0x1009, &bomb)])]);
    let object = [[7; 16].to_vec(), bomb.clone()].concat();
    let forwarded = [
        attribute(2, 0x0006_9002, &[0; 14]),
        file_properties(&[long_property(0x0d, 0x3701, &object)]),
    ];
    let forwarded = tnef(&vec![forwarded.concat(); 100]);
    let zeros = [tnef(&[]), vec![0; 4_000_000], vec![1]].concat();
    let many_files = tnef(&vec![file(b"a.txt", b"1"); 20_000]);
    let rows = [
        ("begun files", plain(&begun)),
        ("many files", plain(&many)),
        ("counts that are claimed", wrapped(&huge)),
        (
            "values without end",
            wrapped(&[attribute(1, 0x0006_9003, &empty)]),
        ),
        ("messages in messages", mail(&[(WRAPPED, &nested)])),
        (
            "rich text that grows",
            mail(&vec![(WRAPPED, bomb.as_slice()); 40]),
        ),
        ("many wrapped files", mail(&[(WRAPPED, &many_files)])),
        ("messages that grow", mail(&[(WRAPPED, &forwarded)])),
        ("zeros, and then something", mail(&[(WRAPPED, &zeros)])),
    ];
    for (what, raw) in rows {
        let started = Instant::now();
        let found = parse(&raw);
        // Without optimisation, on a machine that does other things too.
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{what}: {:?}",
            started.elapsed()
        );
        assert!(found.attachments.len() <= FILES_MAX + 40, "{what}");
        let started = Instant::now();
        let indexes: Vec<usize> = found
            .attachments
            .iter()
            .map(|file| file.part_index)
            .collect();
        assert_eq!(parts_bytes(&raw, &indexes).len(), indexes.len(), "{what}");
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{what}: {:?}",
            started.elapsed()
        );
    }
}

/// One of everything.
fn rich() -> Vec<u8> {
    let named = [
        [0x1f, 0x10, 0x00, 0x80].to_vec(),
        vec![9; 16],
        1_u32.to_le_bytes().to_vec(),
        long(b"n\0a\0m\0"),
        vec![0; 2],
    ]
    .concat();
    let named = [
        named,
        2_u32.to_le_bytes().to_vec(),
        long(b"a\0b\0"),
        long(b"c\0"),
        vec![0; 2],
    ]
    .concat();
    let inner = [
        [7; 16].to_vec(),
        tnef(&[
            message(&[wide_property(0x1000, "in")]),
            file(b"in.txt", b"in"),
        ]),
    ]
    .concat();
    tnef(&[
        attribute(1, 0x0006_9007, &[0xe4, 4, 0, 0, 0, 0, 0, 0]),
        message(&[
            property(0x0040, 0x3007, &[0; 8]),
            named,
            property(0x1003, 0x6001, &[2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]),
            wide_property(0x1000, "text"),
            long_property(0x102, 0x1013, b"<p>html</p>"),
            long_property(
                0x102,
                0x1009,
                b"\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4KQ\x41\0\x04\x20WXYZ\x0d\x6e\x7d\x01\x0e\xb0",
            ),
        ]),
        file(b"a.txt", b"bytes"),
        file_properties(&[
            wide_property(0x3707, "b.txt"),
            long_property(0x1e, 0x3712, b"id"),
        ]),
        attribute(2, 0x0006_9002, &[0; 14]),
        file_properties(&[long_property(0x0d, 0x3701, &inner)]),
    ])
}

#[test]
fn a_winmail_dat_that_ends_anywhere_gives_what_came_before() {
    let whole = rich();
    assert_eq!(
        names(&mail(&[(WRAPPED, &whole)])),
        ["b.txt", "attachment.txt", "in.txt"]
    );
    let is_silent = |end: &usize| {
        let found = names(&mail(&[(WRAPPED, &whole[..*end])]));
        !found.contains(&"winmail.dat".to_owned())
    };
    // What is cut off is kept as it came; only where the cut falls between two attributes, nobody can know.
    assert_eq!((0..whole.len()).filter(is_silent).count(), 5);
}

proptest::proptest! {
    #[test]
    fn no_container_makes_reading_panic(changes in proptest::collection::vec((0..1000_usize, proptest::num::u8::ANY), 0..8), noise: Vec<u8>) {
        let mut bytes = rich();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.extend(noise);
        let raw = mail(&[(WRAPPED, &bytes)]);
        proptest::prop_assert_ne!(&parse(&raw).problems, &[super::super::MailProblem::Unparsed]);
        let found = files(&raw);
        proptest::prop_assert!(found.iter().all(|(name, ..)| !name.is_empty() && !name.contains(char::is_control)));
    }

    #[test]
    fn a_file_that_is_written_into_a_text_comes_out_as_it_was(bytes: Vec<u8>, cut in 0..400_usize) {
        let text = uuencoded("a.bin", &bytes);
        proptest::prop_assert_eq!(&files(&plain(&text))[0].2, &bytes);
        let broken = text.get(..cut.min(text.len() - 5)).unwrap();
        proptest::prop_assert_eq!(parse(&plain(broken)).attachments.len(), 0);
    }
}
