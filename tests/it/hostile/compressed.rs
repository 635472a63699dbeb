//! COMPRESS=DEFLATE against a Dovecot that offers it: fewer bytes on the network than mail in the mailbox.

use crate::support::app::{On, TestApp, text};
use crate::support::dovecot::Dovecot;
use crate::vault::{number, until_number};
use mailroom::store::sql::sql;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ADA: &str = "ada@ours.example";

/// Hands everything on to a port, and counts what comes from there.
fn counted(port: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (up, down) = (
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            );
            std::thread::spawn(move || pump(up.0, up.1, &AtomicU64::new(0)));
            let counter = counter.clone();
            std::thread::spawn(move || pump(down.0, down.1, &counter));
        }
    });
    (ours, count)
}

fn pump(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    // Whichever side hangs up, the other one hears of it.
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        count.fetch_add(u64::try_from(read).unwrap(), Ordering::AcqRel);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn mail(number: u32) -> Vec<u8> {
    // The last one is fetched in slices.
    let lines = if number == 20 { 250_000 } else { 2_000 };
    let body = "A line that is said again and again.\r\n".repeat(lines);
    format!("From: c@client.example\r\nTo: {ADA}\r\nMessage-ID: <{number}@c>\r\nSubject: Mail {number}\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_can_compress_is_fetched_compressed() {
    let app = TestApp::start(On::Sqlite).await;
    let dovecot = Dovecot::start_compressing(&[ADA]).unwrap();
    for number in 1..=20 {
        dovecot.append(ADA, "INBOX", &mail(number)).unwrap();
    }
    let (port, came) = counted(dovecot.imap_port());
    let input = json!({
        "address": ADA,
        "imap": { "host": "127.0.0.1", "port": port, "security": "PLAIN" },
        "secret": { "password": dovecot.password() },
        "history": { "everything": true },
    });
    let made = app
        .make(&app.admin, "connectMailbox", input, "mailbox { id }")
        .await;
    let id = text(&made["mailbox"]["id"]);
    until_number(
        app.app(),
        "SELECT count(*) FROM placements WHERE state = 'STORED'",
        20,
    )
    .await;
    let bytes = number(
        app.app(),
        "SELECT CAST(SUM(byte_length) AS BIGINT) FROM raw_mails",
    )
    .await;
    let came_bytes = i64::try_from(came.load(Ordering::Acquire)).unwrap();
    assert!(bytes > 10_000_000, "{bytes}");
    assert!(came_bytes * 20 < bytes, "{came_bytes} bytes for {bytes}");
    // News are heard while it idles.
    crate::hostile::until_sync(&app, &id, |sync| sync["stage"] == "WATCHING").await;
    dovecot.append(ADA, "INBOX", &mail(21)).unwrap();
    until_number(
        app.app(),
        "SELECT count(*) FROM placements WHERE state = 'STORED'",
        21,
    )
    .await;
    let hashes: Vec<Vec<u8>> = app
        .app()
        .store
        .read(|conn| sql("SELECT raw_hash FROM emails").rows(conn))
        .await
        .unwrap();
    let mut kept = Vec::new();
    for hash in hashes {
        kept.push(
            app.app()
                .raw
                .get(&app.app().store, &hash)
                .await
                .unwrap()
                .to_vec(),
        );
    }
    for number in 1..=21 {
        assert!(
            kept.contains(&mail(number)),
            "mail {number} is kept as it was"
        );
    }
}
