//! COMPRESS=DEFLATE against a Dovecot that offers it: fewer bytes on the network than mail in the mailbox.

use crate::support::app::On;
use crate::support::dovecot::Dovecot;
use crate::sync::office::{ADDRESS, Office};
use mailroom::mail::imap::Compress;
use mailroom::model::mailbox::SyncStage;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    format!("From: c@client.example\r\nTo: {ADDRESS}\r\nMessage-ID: <{number}@c>\r\nSubject: Mail {number}\r\n\r\n{body}")
        .into_bytes()
}

/// Waits until so many mails are stored.
async fn until_stored(office: &Office, count: i64) {
    let stored = "SELECT COUNT(*) FROM placements WHERE state = 'STORED'";
    office
        .until("mails are stored", |office| office.count(stored) == count)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_can_compress_is_fetched_compressed_but_not_on_this_machine() {
    let dovecot = Dovecot::start_compressing(&[ADDRESS]).unwrap();
    for number in 1..=20 {
        dovecot.append(ADDRESS, "INBOX", &mail(number)).unwrap();
    }
    for compress in [Compress::Always, Compress::BeyondLoopback] {
        let (port, came) = counted(dovecot.imap_port());
        let mut office = Office::new(On::Sqlite, port, dovecot.password(), None).await;
        office.services.compress = compress;
        let running = office.start();
        until_stored(&office, 20).await;
        let bytes = office.count("SELECT CAST(SUM(byte_length) AS BIGINT) FROM raw_mails");
        let came_bytes = i64::try_from(came.load(Ordering::Acquire)).unwrap();
        assert!(bytes > 10_000_000, "{bytes}");
        match compress {
            Compress::Always => {
                assert!(came_bytes * 20 < bytes, "{came_bytes} bytes for {bytes}");
            }
            Compress::BeyondLoopback => assert!(came_bytes > bytes, "{came_bytes} for {bytes}"),
        }
        if compress == Compress::Always {
            // News are heard while it idles.
            office
                .until("it watches", |office| {
                    office.state().stage == SyncStage::Watching
                })
                .await;
            dovecot.append(ADDRESS, "INBOX", &mail(21)).unwrap();
            until_stored(&office, 21).await;
            let hashes: Vec<Vec<u8>> = office.rows("SELECT raw_hash FROM emails");
            let mut kept = Vec::new();
            for hash in hashes {
                let raw = &office.services.raw;
                kept.push(raw.get(office.store(), &hash).await.unwrap().to_vec());
            }
            for number in 1..=21 {
                assert!(
                    kept.contains(&mail(number)),
                    "mail {number} is kept as it was"
                );
            }
            dovecot.expunge(ADDRESS, "INBOX", "21@c").unwrap();
        }
        drop(running);
    }
}
