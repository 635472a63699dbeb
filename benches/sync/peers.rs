//! What Mailroom is measured beside: mbsync, and what our own reader and parser do when nothing is stored.

use mailroom::cli::demo::dovecot::Dovecot;
use mailroom::cli::demo::private_server::{PrivateFolder, find_program};
use mailroom::mail::hosts::{HostPolicy, LoopbackUse};
use mailroom::mail::imap::{Compress, FetchLimits, ImapSession, Secret, Target, connect};
use mailroom::mail::parse;
use mailroom::mail::tls::TlsTrust;
use mailroom::model::mailbox::{MailSecurity, MailServer};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Mails that are asked for at once, as the worker does.
const BATCH: usize = 200;

/// Whether mbsync may have the server compress what it sends, as it does by itself where that is offered. On loopback
/// it costs more than it saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    AsOffered,
    Off,
}

/// A full pull by mbsync, without fsync: its seconds, then those of a second pull that finds nothing new.
/// `None`: it is not installed.
pub fn mbsync(dovecot: &Dovecot, address: &str, compression: Compression) -> Option<(f64, f64)> {
    let program = find_program("mbsync")?;
    let folder = PrivateFolder::create("mbsync").unwrap();
    let path = folder.path().display();
    for name in ["state", "mail"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let (port, password) = (dovecot.imap_port(), dovecot.password());
    let disable = match compression {
        Compression::AsOffered => "",
        Compression::Off => "DisableExtension COMPRESS=DEFLATE\n",
    };
    let text = format!(
        "FSync no\n\nIMAPStore far\nHost 127.0.0.1\nPort {port}\nUser {address}\nPass {password}\nSSLType None\nAuthMechs LOGIN\n{disable}\n\
         MaildirStore near\nPath {path}/mail/\nInbox {path}/mail/INBOX\n\n\
         Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState {path}/state/\n"
    );
    let file = folder.path().join("config");
    std::fs::write(&file, text).unwrap();
    let pull = || {
        let started = Instant::now();
        let status = Command::new(&program)
            .arg("-q")
            .arg("-c")
            .arg(&file)
            .arg("c")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "mbsync failed");
        started.elapsed().as_secs_f64()
    };
    Some((pull(), pull()))
}

/// A session with the Inbox open.
fn session(address: &str, port: u16, password: &str) -> ImapSession {
    let target = Target {
        server: MailServer {
            host: "127.0.0.1".to_owned(),
            port,
            security: MailSecurity::Plain,
        },
        login: address.to_owned(),
        secret: Secret::Password(password.to_owned().into()),
        trust: TlsTrust::load(None).unwrap(),
        hosts: Arc::new(
            HostPolicy::parse("")
                .unwrap()
                .with_loopback(LoopbackUse::Allowed),
        ),
        compress: Compress::BeyondLoopback,
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(60),
    };
    let mut session = connect(&target).unwrap();
    session.examine("INBOX").unwrap();
    session
}

/// Fetches all mails and hands each to `on_mail`; the seconds, with login and listing.
fn fetch_all((address, port, password): (&str, u16, &str), on_mail: &mut dyn FnMut(&[u8])) -> f64 {
    let started = Instant::now();
    let mut session = session(address, port, password);
    let listed = session.list_new(1).unwrap();
    let uids: Vec<u32> = listed.iter().map(|mail| mail.uid).collect();
    let mut batches = uids.chunks(BATCH).map(<[u32]>::to_vec);
    session
        .fetch_batches(&mut batches, FetchLimits::default(), &mut |batch| {
            for mail in &batch.mails {
                on_mail(&mail.raw);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let seconds = started.elapsed().as_secs_f64();
    session.log_out();
    seconds
}

/// The limit: the same reader and the same parser, one after the other, nothing stored.
pub fn fetch_and_parse(place: (&str, u16, &str)) -> f64 {
    let mut problems = 0;
    let seconds = fetch_all(place, &mut |raw| {
        problems += parse::parse(raw).problems.len()
    });
    assert!(problems < usize::MAX);
    seconds
}

/// The reader alone.
pub fn fetch(place: (&str, u16, &str)) -> f64 {
    let mut bytes = 0;
    let seconds = fetch_all(place, &mut |raw| bytes += raw.len());
    assert!(bytes > 0, "nothing was fetched");
    seconds
}
