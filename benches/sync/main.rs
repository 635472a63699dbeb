//! How fast a mailbox is taken in, everything stored and routed, beside mbsync and beside the bare reader and parser.
//! `make bench-sync` runs it; the last line that it prints is JSON with every figure and ratio.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measurement may fail loudly, and sizes are far below what doubles can count"
)]

mod again;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod common;
mod far;
mod letters;
mod many;
mod peers;

use common::server::{Server, Setting, Used};
use common::{Asked, Figures, median, on_its_own};
use letters::Letters;
use mailroom::cli::demo::dovecot::Dovecot;
use peers::Compression;
use std::time::{Duration, Instant};

const ADDRESS: &str = "bulk@ours.example";
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// What a full sync took.
struct FullSync {
    seconds: f64,
    /// By the syncing process, until everything was stored.
    used: Used,
    database_mb: f64,
}

/// A full sync on a new installation.
async fn full_sync(setting: &Setting, port: u16, password: &str, mails: u64) -> FullSync {
    // The database is dropped last, when the servers are gone.
    let (_database, setting) = on_its_own(setting);
    let server = Server::start(&setting).await;
    let before = server.used().cpu_seconds;
    let started = Instant::now();
    let mailbox = server.connect(ADDRESS, port, password).await;
    let done = server.wait_until_watching(&mailbox).await;
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(done, mails, "not everything was taken in");
    let mut used = server.used();
    used.cpu_seconds -= before;
    assert!(
        server.saved().await * 10 > mails * 9,
        "client mail is to be saved"
    );
    FullSync {
        seconds,
        used,
        database_mb: server.database_mb(),
    }
}

#[tokio::main]
async fn main() {
    let asked = Asked::read();
    let is_wanted = |part: &str| asked.wants(part);
    let mails = asked.number("mails", 20_000);
    let dovecot = Dovecot::start_compressing(&[ADDRESS]).unwrap();
    let mut bytes = 0_u64;
    let letters = Letters::to(ADDRESS, mails).take(mails as usize);
    dovecot
        .fill_inbox(
            ADDRESS,
            letters.inspect(|mail| bytes += mail.raw.len() as u64),
        )
        .unwrap();
    let (port, password) = (dovecot.imap_port(), dovecot.password().to_owned());
    let place = (ADDRESS, port, password.as_str());
    // Dovecot makes its index at the first look.
    peers::fetch(place);
    let mut figures = Figures::default();
    figures.put("mails", mails as f64);
    figures.put("megabytes", bytes as f64 / 1e6);
    let settings = settings(&is_wanted);
    let mut seconds: std::collections::BTreeMap<&str, Vec<f64>> = std::collections::BTreeMap::new();
    let mut noted: std::collections::BTreeMap<String, Vec<f64>> = std::collections::BTreeMap::new();
    // By turns, so that whatever else the machine does meets all alike.
    for _run in 0..asked.number("runs", 5) {
        for (name, compression) in [
            ("mbsync_seconds", Compression::AsOffered),
            ("mbsync_uncompressed_seconds", Compression::Off),
        ] {
            if is_wanted("mbsync")
                && let Some((full, again)) = peers::mbsync(&dovecot, ADDRESS, compression)
            {
                seconds.entry(name).or_default().push(full);
                seconds
                    .entry("mbsync_nothing_new_seconds")
                    .or_default()
                    .push(again);
            }
        }
        if is_wanted("limit") {
            seconds
                .entry("fetch_seconds")
                .or_default()
                .push(peers::fetch(place));
            seconds
                .entry("limit_seconds")
                .or_default()
                .push(peers::fetch_and_parse(place));
        }
        for setting in &settings {
            let found = full_sync(setting, port, &password, mails).await;
            seconds.entry(setting.name).or_default().push(found.seconds);
            let mut note = |what: &str, value: f64| {
                let name = setting.name.replace("seconds", what);
                noted.entry(name).or_default().push(value);
            };
            let each = |seconds: f64| seconds * 1e6 / mails as f64;
            note("peak_mb", found.used.peak_mb);
            note("cpu_microseconds_a_mail", each(found.used.cpu_seconds));
            note("database_mb", found.database_mb);
        }
    }
    for (name, values) in seconds {
        figures.put(name, median(values));
    }
    for (name, values) in noted {
        figures.put(&name, median(values));
    }
    if is_wanted("far") {
        far(&mut figures, mails, (port, &password)).await;
    }
    // The last on this Dovecot: it changes what is there.
    if is_wanted("again") {
        again(&mut figures, dovecot, (port, &password)).await;
    }
    if is_wanted("many") {
        many(&mut figures, asked.number("mailboxes", 500) as usize).await;
    }
    for name in ["sqlite", "postgres"] {
        let took = format!("{name}_seconds");
        if let Some(seconds) = figures.get(&took) {
            figures.put(&format!("{name}_mails_a_second"), mails as f64 / seconds);
        }
        figures.put_ratio(&format!("{name}_vs_mbsync"), &took, "mbsync_seconds");
        let uncompressed = "mbsync_uncompressed_seconds";
        figures.put_ratio(
            &format!("{name}_vs_mbsync_uncompressed"),
            &took,
            uncompressed,
        );
        figures.put_ratio(&format!("{name}_vs_limit"), &took, "limit_seconds");
    }
    figures.put_ratio("far_vs_fetch", "far_sqlite_seconds", "far_fetch_seconds");
    figures.end();
}

/// Over a server that is far away.
async fn far(figures: &mut Figures, mails: u64, (near, password): (u16, &str)) {
    let far = far::start(near, ROUND_TRIP);
    figures.put("far_fetch_seconds", peers::fetch((ADDRESS, far, password)));
    let setting = Setting {
        name: "far_sqlite_seconds",
        database_url: None,
        redis_url: None,
    };
    let found = full_sync(&setting, far, password, mails).await;
    figures.put(setting.name, found.seconds);
}

/// A mailbox that was taken in before.
async fn again(figures: &mut Figures, dovecot: Dovecot, (port, password): (u16, &str)) {
    let setting = Setting {
        name: "again",
        database_url: None,
        redis_url: None,
    };
    let server = Server::start(&setting).await;
    let mailbox = server.connect(ADDRESS, port, password).await;
    server.wait_until_watching(&mailbox).await;
    let folder = server.stop();
    let dovecot = std::sync::Arc::new(dovecot);
    let measured = again::measure(&folder.path().join("data"), dovecot, ADDRESS).await;
    figures.put("nothing_new_ms", measured.nothing_new_ms);
    figures.put("changes_ms", measured.changes_ms);
}

/// Many mailboxes on one worker, on both settings.
async fn many(figures: &mut Figures, mailboxes: usize) {
    for setting in &settings(&|_| true) {
        let (_database, setting) = on_its_own(setting);
        let measured = many::measure(&setting, mailboxes).await;
        let name = setting.name.replace("_seconds", "");
        for (what, value) in [
            ("connecting_seconds", measured.connecting_seconds),
            ("idle_kb_each", measured.idle_kb_each),
            ("idle_cpu_percent", measured.idle_cpu_percent),
            ("median_ms", measured.median_ms),
            ("p99_ms", measured.p99_ms),
        ] {
            figures.put(&format!("{name}_many_{what}"), value);
        }
    }
}

/// The settings that are measured: SQLite, and PostgreSQL where `tests/with-servers.sh` has started one.
fn settings(is_wanted: &dyn Fn(&str) -> bool) -> Vec<Setting> {
    let mut settings = Vec::new();
    if is_wanted("sqlite") {
        settings.push(Setting {
            name: "sqlite_seconds",
            database_url: None,
            redis_url: None,
        });
    }
    if is_wanted("postgres")
        && std::env::var("MAILROOM_TEST_POSTGRES").is_ok()
        && let Ok(redis_url) = std::env::var("MAILROOM_TEST_REDIS")
    {
        settings.push(Setting {
            name: "postgres_seconds",
            database_url: None,
            redis_url: Some(redis_url),
        });
    }
    settings
}
