//! What is composed is read by another's parser too, and says there what was meant: Python's, where it is installed.

use mailroom::mail::compose::{OutgoingFile, OutgoingMail, compose};
use mailroom::model::Time;
use mailroom::model::email::Address;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

/// A million with `MAILROOM_TEST_LONG`.
fn mails() -> usize {
    if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        1_000_000
    } else {
        5_000
    }
}

/// Reads a mail a frame (its length on a line, then its bytes); says on a line what it found.
const PROGRAM: &str = r#"
import sys, json, email, email.policy, email.utils
source = sys.stdin.buffer
while True:
    line = source.readline()
    if not line:
        break
    mail = email.message_from_bytes(source.read(int(line)), policy=email.policy.default)
    addresses = lambda name: [a.addr_spec for header in mail.get_all(name, []) for a in header.addresses]
    files = [part.get_filename() for part in mail.walk() if part.get_content_disposition() == 'attachment']
    print(json.dumps({
        'names': sorted({name.lower() for name in mail.keys()}), 'count': len(mail.keys()),
        'from': addresses('From'), 'to': addresses('To'), 'cc': addresses('Cc'),
        'id': mail['Message-ID'].strip(), 'files': len(files),
        'text': mail.get_body(('plain',)).get_content(),
    }), flush=True)
"#;

const PIECES: [&str; 22] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\u{2028}",
    "\u{85}",
    "\r\n.\r\n",
    "Bcc: evil@evil.example",
    "\r\n\r\n",
    "=?utf-8?q?a=0D=0ABcc:_x=40y?=",
    "\u{202e}",
    "\" <evil@evil.example>,",
    "\\",
    "(",
    ")",
    "\t",
    "From ",
    "Gr\u{fc}\u{df}e",
    "\u{1f600}\u{1f600}\u{1f600}",
    "a b c",
    ";",
    "<x@y.example>",
];

fn typed(rng: &mut StdRng) -> String {
    let count = rng.random_range(0..7);
    (0..count)
        .map(|_| PIECES[rng.random_range(0..PIECES.len())])
        .collect()
}

fn outgoing(rng: &mut StdRng) -> OutgoingMail {
    let address = |name: String, address: &str| Address {
        name: Some(name),
        address: address.to_owned(),
    };
    let text = typed(rng);
    OutgoingMail {
        from: address(typed(rng), "sales@ours.example"),
        to: vec![
            address(typed(rng), "carl@client.example"),
            address(typed(rng), "c2@client.example"),
        ],
        cc: vec![address(typed(rng), "d@client.example")],
        bcc: vec![address(typed(rng), "hidden@client.example")],
        subject: typed(rng),
        text: format!("Hello {text}"),
        html: rng.random_bool(0.5).then(|| typed(rng)),
        date: Time::from_seconds(1_800_000_000),
        message_id: "v1.a.b@ours.example".to_owned(),
        in_reply_to: Some(format!("a{}@x", typed(rng))),
        references: vec![format!("b{}@x", typed(rng))],
        files: rng
            .random_bool(0.3)
            .then(|| OutgoingFile {
                name: typed(rng),
                media_type: typed(rng),
                bytes: vec![0, 13, 10, 46],
            })
            .into_iter()
            .collect(),
    }
}

#[test]
fn r41_another_parser_reads_what_was_meant() {
    let found = Command::new("python3").arg("--version").output();
    if found.is_err() {
        println!("python3 is not installed: nothing was compared");
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let compared: usize = std::thread::scope(|scope| {
        let share = mails().div_ceil(threads);
        let seeds = (0..threads as u64).map(|number| seed.wrapping_add(number));
        let running: Vec<_> = seeds
            .map(|seed| scope.spawn(move || compare(share, seed)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(compared >= mails());
    println!("{compared} mails were read alike");
}

/// Composes so many mails, and asks a Python of its own what each says. Answers how many were compared.
fn compare(mails: usize, seed: u64) -> usize {
    let mut python = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut into = python.stdin.take().unwrap();
    let mut out = BufReader::new(python.stdout.take().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    for number in 0..mails {
        if number % 50_000 == 0 && number > 0 {
            println!("{number} of {mails}");
        }
        let mail = outgoing(&mut rng);
        let raw = compose(&mail).unwrap().raw;
        writeln!(into, "{}", raw.len()).unwrap();
        into.write_all(&raw).unwrap();
        into.flush().unwrap();
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let found: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&raw)));
        let shown = || format!("{found:#}\n{}", String::from_utf8_lossy(&raw));
        let mut names = vec![
            "cc",
            "content-type",
            "date",
            "from",
            "in-reply-to",
            "message-id",
            "mime-version",
            "references",
            "subject",
            "to",
        ];
        if found["names"]
            .as_array()
            .unwrap()
            .contains(&json!("content-transfer-encoding"))
        {
            names.push("content-transfer-encoding");
            names.sort_unstable();
        }
        assert_eq!(found["names"], json!(names), "{}", shown());
        assert_eq!(found["count"], names.len(), "{}", shown());
        assert_eq!(found["from"], json!(["sales@ours.example"]), "{}", shown());
        assert_eq!(
            found["to"],
            json!(["carl@client.example", "c2@client.example"]),
            "{}",
            shown()
        );
        assert_eq!(found["cc"], json!(["d@client.example"]), "{}", shown());
        assert_eq!(found["id"], "<v1.a.b@ours.example>", "{}", shown());
        assert_eq!(found["files"], mail.files.len(), "{}", shown());
        assert!(
            found["text"].as_str().unwrap().starts_with("Hello"),
            "{}",
            shown()
        );
    }
    drop(into);
    assert!(python.wait().unwrap().success());
    mails
}
