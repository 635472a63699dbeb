//! `/metrics`: how this process and its installation do, in the text format of Prometheus. Numbers under a bounded set
//! of labels; never an address, a subject, or the name of an operation. Not for: what a single user may see.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::Watch;
use super::bearer;
use super::exposition::{CONTENT_TYPE, Exposition, Kind, Unit};
use crate::bus::Bus;
use crate::graphql::tally::Tally;
use crate::live::Hub;
use crate::model::Time;
use crate::model::measure::{Beats, Counter, Gauge};
use crate::store::figures::{Figures, figures};
use crate::store::{Store, StoreError};

/// Counting walks over an index of every mail: not at each scrape of each scraper.
const FIGURES_KEPT: Duration = Duration::from_secs(15);

/// Who may read `/metrics`. Others are told that there is no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsReaders {
    Nobody,
    /// Whoever asks from this machine, and not through a proxy.
    Loopback,
    /// Whoever has the token with this hash.
    Holder(blake3::Hash),
}

/// What is watched over beside the API and the transports.
#[derive(Clone)]
pub struct Watched {
    pub store: Store,
    pub bus: Bus,
    /// `None`: nobody follows timelines here.
    pub hub: Option<Arc<Hub>>,
    pub beats: Beats,
}

/// What the transports count of themselves.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Answers by route and the first digit of their status.
    answers: Mutex<BTreeMap<(String, u16), Counter>>,
    /// Open WebSockets.
    pub sockets: Arc<Gauge>,
    /// Open event streams.
    pub streams: Arc<Gauge>,
    /// Close frames that we sent, by code.
    closes: Mutex<BTreeMap<u16, Counter>>,
    figures: tokio::sync::Mutex<Option<(Instant, Figures)>>,
}

impl Traffic {
    /// An answer left. Routes are those that are mounted: a few.
    pub fn answered(&self, route: &str, status: u16) {
        let mut answers = lock(&self.answers);
        let place = (route.to_owned(), status / 100);
        answers.entry(place).or_default().count();
    }

    /// A socket was closed with one of our own codes.
    pub fn closed(&self, code: u16) {
        lock(&self.closes).entry(code).or_default().count();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers `/metrics`.
pub async fn show(request: HttpRequest, watch: Data<Watch>) -> HttpResponse {
    let parts = &watch.parts;
    if !may_read(parts.metrics, &request) {
        return super::not_found().await;
    }
    let mut out = Exposition::default();
    if let Some(served) = &watch.api {
        api(&mut out, served.tally());
    }
    transports(&mut out, &watch.traffic);
    if let Some(watched) = &parts.watched {
        process(&mut out, watched, (parts.clock)());
        match counted(&watch.traffic, &watched.store).await {
            Ok(figures) => installation(&mut out, &figures, (parts.clock)()),
            Err(error) => tracing::error!(%error, "the installation could not be counted"),
        }
    }
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, CONTENT_TYPE))
        .body(out.into_text())
}

fn may_read(readers: MetricsReaders, request: &HttpRequest) -> bool {
    match readers {
        MetricsReaders::Nobody => false,
        MetricsReaders::Loopback => {
            let peer = request.peer_addr().map(|peer| peer.ip());
            peer.is_some_and(is_loopback) && is_direct(request.headers())
        }
        MetricsReaders::Holder(wanted) => {
            let sent = request.headers().get(header::AUTHORIZATION);
            let token = sent
                .and_then(|sent| sent.to_str().ok())
                .and_then(bearer::token);
            // Hashes are compared in constant time.
            token.is_some_and(|token| blake3::hash(token.as_bytes()) == wanted)
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// A proxy on this machine asks for others, and a page that resolved its own name to this machine for itself.
fn is_direct(headers: &HeaderMap) -> bool {
    const SIGNS: [&str; 6] = [
        "forwarded",
        "x-forwarded-for",
        "x-real-ip",
        "via",
        "origin",
        "sec-fetch-site",
    ];
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let named = host.and_then(|host| url::Url::parse(&format!("http://{host}")).ok());
    let is_here = named.is_some_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => is_loopback(ip.into()),
        Some(url::Host::Ipv6(ip)) => is_loopback(ip.into()),
        None => false,
    });
    is_here && SIGNS.iter().all(|sign| !headers.contains_key(*sign))
}

/// The counts of the installation, at most so old.
async fn counted(traffic: &Traffic, store: &Store) -> Result<Figures, StoreError> {
    let mut kept = traffic.figures.lock().await;
    if let Some((at, known)) = kept.as_ref()
        && at.elapsed() < FIGURES_KEPT
    {
        return Ok(known.clone());
    }
    let found = store.read(figures).await?;
    *kept = Some((Instant::now(), found.clone()));
    Ok(found)
}

fn api(out: &mut Exposition, tally: &Tally) {
    let name = "mailroom_graphql_operations_total";
    let help = "GraphQL operations by type and how they ended: OK, ERRORS (some fields failed) or the code they were refused with.";
    out.family(name, Kind::Counter, help);
    for (kind, outcome, count) in tally.outcomes() {
        out.sample(name, &[("type", kind), ("outcome", outcome)], count);
    }
    let name = "mailroom_graphql_duration_seconds";
    out.family(name, Kind::Histogram, "How long queries and mutations ran.");
    for (kind, durations) in tally.durations() {
        out.spread(name, &[("type", kind)], &durations.spread(), Unit::Micros);
    }
    let name = "mailroom_graphql_cost";
    let help = "What operations within the limits cost before they ran.";
    out.family(name, Kind::Histogram, help);
    for (kind, costs) in tally.costs() {
        out.spread(name, &[("type", kind)], &costs.spread(), Unit::One);
    }
    let help = "Subscriptions that run, over any transport.";
    let running = tally.subscriptions.get();
    out.single("mailroom_graphql_subscriptions", Kind::Gauge, help, running);
    let name = "mailroom_graphql_events_total";
    let help = "Events that subscriptions have delivered.";
    out.single(name, Kind::Counter, help, tally.events.get());
}

fn transports(out: &mut Exposition, traffic: &Traffic) {
    let name = "mailroom_http_answers_total";
    let help = "Answers by route and class of their status.";
    out.family(name, Kind::Counter, help);
    for ((route, class), count) in &*lock(&traffic.answers) {
        let status = format!("{class}xx");
        let labels = [("route", route.as_str()), ("status", status.as_str())];
        out.sample(name, &labels, count.get());
    }
    let sockets = traffic.sockets.get();
    let name = "mailroom_websocket_sockets";
    out.single(name, Kind::Gauge, "Open WebSockets.", sockets);
    let streams = traffic.streams.get();
    let name = "mailroom_event_streams";
    let help = "Open streams of server-sent events.";
    out.single(name, Kind::Gauge, help, streams);
    let name = "mailroom_websocket_closes_total";
    let help = "WebSockets that the server closed, by close code.";
    out.family(name, Kind::Counter, help);
    for (code, count) in &*lock(&traffic.closes) {
        let code = code.to_string();
        out.sample(name, &[("code", code.as_str())], count.get());
    }
}

fn process(out: &mut Exposition, watched: &Watched, now: Time) {
    let database = match watched.store.kind() {
        crate::store::db::Kind::Sqlite => "sqlite",
        crate::store::db::Kind::Postgresql => "postgresql",
    };
    let name = "mailroom_build_info";
    out.family(name, Kind::Gauge, "Which program this is; always 1.");
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("database", database),
    ];
    out.sample(name, &labels, 1);
    let help = "Whether wake-ups get through to other processes (Redis).";
    let is_up = u8::from(watched.bus.is_up());
    out.single("mailroom_bus_up", Kind::Gauge, help, is_up);
    if let Some(hub) = &watched.hub {
        let help = "Topics that live streams of this process wait for.";
        let topics = hub.topics();
        out.single("mailroom_live_topics", Kind::Gauge, help, topics);
    }
    let help = "For how long not all that was committed has been told; up to a second where nothing is left to tell.";
    let lag = Unit::Micros.shown(watched.beats.outbox.age_micros(now));
    out.single("mailroom_outbox_lag_seconds", Kind::Gauge, help, lag);
    let name = "mailroom_loop_age_seconds";
    let help = "When the loops of this process last came round.";
    out.family(name, Kind::Gauge, help);
    let loops = [
        ("relay", Some(&watched.beats.relay)),
        ("supervisor", watched.beats.supervisor.as_ref()),
    ];
    for (word, beat) in loops {
        if let Some(beat) = beat {
            let age = Unit::Micros.shown(beat.age_micros(now));
            out.sample(name, &[("loop", word)], age);
        }
    }
    pools(out, &watched.store);
}

fn pools(out: &mut Exposition, store: &Store) {
    let pools = store.pools();
    let name = "mailroom_database_connections";
    let help = "Connections to the database by pool and state; max: as many as there may be.";
    out.family(name, Kind::Gauge, help);
    for pool in &pools {
        for (state, count) in [
            ("busy", pool.busy),
            ("idle", pool.idle),
            ("max", pool.connections_max),
        ] {
            out.sample(name, &[("pool", pool.name), ("state", state)], count);
        }
    }
    let name = "mailroom_database_wait_seconds";
    let help = "How long callers waited for a connection.";
    out.family(name, Kind::Histogram, help);
    for pool in &pools {
        out.spread(name, &[("pool", pool.name)], &pool.waits, Unit::Micros);
    }
}

fn installation(out: &mut Exposition, figures: &Figures, now: Time) {
    let name = "mailroom_mailboxes";
    let help = "Connected mailboxes by where their sync stands.";
    out.family(name, Kind::Gauge, help);
    for (stage, count) in &figures.mailboxes {
        out.sample(name, &[("stage", stage.as_text())], count);
    }
    let name = "mailroom_mails";
    let help = "UIDs of all mailboxes by what became of them; unsettled ones wait to be taken in.";
    out.family(name, Kind::Gauge, help);
    for (state, count) in [
        ("settled", figures.mails_settled),
        ("unsettled", figures.mails_unsettled),
        ("quarantined", figures.mails_quarantined),
    ] {
        out.sample(name, &[("state", state)], count);
    }
    let help = "Mails that the last hourly comparisons found on the mail servers and not in the ledger, before they were fetched.";
    let missing = figures.missing_here;
    out.single("mail_unsettled", Kind::Gauge, help, missing);
    let help = "Mails of the ledger that the last comparisons no longer found on the mail servers, before that was settled.";
    let missing = figures.missing_there;
    out.single("mailroom_mail_vanished", Kind::Gauge, help, missing);
    if let Some(at) = figures.compared_at {
        let age = now.micros().saturating_sub(at.micros());
        let age = Unit::Micros.shown(u64::try_from(age).unwrap_or(0));
        let help = "How long ago the mailbox was compared that was compared longest ago.";
        let name = "mailroom_mail_comparison_age_seconds";
        out.single(name, Kind::Gauge, help, age);
    }
    let help = "Committed changes that the relay has not let go of.";
    let rows = figures.outbox_rows;
    out.single("mailroom_outbox_rows", Kind::Gauge, help, rows);
    let help = "Mails and items that wait to be indexed for searches.";
    let rows = figures.search_rows;
    out.single("mailroom_search_waiting", Kind::Gauge, help, rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_who_asks_here_and_for_themselves_reads() {
        let rows: [(&str, &str, &[(&str, &str)], bool); 8] = [
            (
                "directly",
                "127.0.0.1:5000",
                &[("host", "127.0.0.1:8080")],
                true,
            ),
            ("by name", "[::1]:5000", &[("host", "localhost:8080")], true),
            (
                "over IPv6 as IPv4",
                "[::ffff:127.0.0.1]:5000",
                &[("host", "[::1]")],
                true,
            ),
            (
                "from elsewhere",
                "192.0.2.1:5000",
                &[("host", "127.0.0.1:8080")],
                false,
            ),
            (
                "through a proxy",
                "127.0.0.1:5000",
                &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")],
                false,
            ),
            (
                "under another name",
                "127.0.0.1:5000",
                &[("host", "evil.example")],
                false,
            ),
            ("without a name", "127.0.0.1:5000", &[], false),
            (
                "from a page",
                "127.0.0.1:5000",
                &[("host", "localhost"), ("origin", "http://localhost:3000")],
                false,
            ),
        ];
        for (says, peer, headers, wanted) in rows {
            let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
            for header in headers {
                request = request.insert_header(*header);
            }
            let request = request.to_http_request();
            assert_eq!(
                may_read(MetricsReaders::Loopback, &request),
                wanted,
                "{says}"
            );
            assert!(!may_read(MetricsReaders::Nobody, &request));
        }
    }

    #[test]
    fn a_token_is_the_one_that_was_set() {
        let readers = MetricsReaders::Holder(blake3::hash(b"a-long-enough-token"));
        let rows = [
            (None, false),
            (Some("Bearer a-long-enough-token"), true),
            (Some("Bearer a-long-enough-tokem"), false),
            (Some("a-long-enough-token"), false),
        ];
        for (sent, wanted) in rows {
            let mut request = TestRequest::default();
            if let Some(sent) = sent {
                request = request.insert_header(("authorization", sent));
            }
            assert_eq!(
                may_read(readers, &request.to_http_request()),
                wanted,
                "{sent:?}"
            );
        }
    }
}
