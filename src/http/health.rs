//! Is the process alive, and can it serve? For supervisors and load balancers, in words that anybody may read;
//! says nothing about mail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::web::Data;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::metrics::Watched;
use crate::model::Time;
use crate::model::measure::{Beat, micros};
use crate::store::figures;

/// A write that takes longer is none: the longest batch of mail is stored in less.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// The relay comes round each second, unless a wake-up takes its time.
const RELAY_WITHIN: Duration = Duration::from_secs(30);
/// Mailboxes are looked through every five seconds; a write may make that wait.
const SUPERVISOR_WITHIN: Duration = Duration::from_secs(60);
/// Changes that are not told for so long are more than a burst.
const OUTBOX_WITHIN: Duration = Duration::from_secs(60);
/// Anybody may ask, and asking writes: so often at most.
const KEPT: Duration = Duration::from_secs(1);

/// A process that can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// With all that belongs to it.
    Whole,
    /// Without something that it can do without for a while: what that is.
    Degraded(&'static str),
}

/// Tries what serving needs; the error says what is missing.
pub type ReadyProbe = Arc<dyn Fn() -> BoxFuture<'static, Result<Readiness, String>> + Send + Sync>;

/// 200 as long as the process answers at all.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// 200 when the probe passes, else 503 with what is missing.
pub async fn ready(watch: Data<super::Watch>) -> HttpResponse {
    let (mut response, text) = match (watch.parts.ready)().await {
        Ok(Readiness::Whole) => (HttpResponse::Ok(), "ready\n".to_owned()),
        Ok(Readiness::Degraded(without)) => (HttpResponse::Ok(), format!("degraded: {without}\n")),
        Err(missing) => (
            HttpResponse::ServiceUnavailable(),
            format!("not ready: {missing}\n"),
        ),
    };
    response
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

struct Last {
    at: Instant,
    outcome: Result<Readiness, String>,
}

/// The probe of a whole server or worker: the database takes a write, the loops come round, what is committed is told.
pub fn probe(watched: Watched, clock: fn() -> Time) -> ReadyProbe {
    let last: Arc<Mutex<Option<Last>>> = Arc::default();
    Arc::new(move || {
        let (watched, last) = (watched.clone(), last.clone());
        async move {
            // Whoever comes while another asks waits for the same answer.
            let mut last = last.lock().await;
            if let Some(last) = last.as_ref().filter(|last| last.at.elapsed() < KEPT) {
                return last.outcome.clone();
            }
            let outcome = look(&watched, clock).await.map_err(str::to_owned);
            *last = Some(Last {
                at: Instant::now(),
                outcome: outcome.clone(),
            });
            outcome
        }
        .boxed()
    })
}

async fn look(watched: &Watched, clock: fn() -> Time) -> Result<Readiness, &'static str> {
    let written = watched.store.write(clock(), figures::rewrite_row);
    let why = match timeout(WRITE_WITHIN, written).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_elapsed) => Some(format!("none within {} s", WRITE_WITHIN.as_secs())),
    };
    if let Some(why) = why {
        tracing::warn!(why, "not ready: the database takes no writes");
        return Err("the database takes no writes");
    }
    judged(watched, clock())
}

fn judged(watched: &Watched, now: Time) -> Result<Readiness, &'static str> {
    let is_late = |beat: &Beat, within: Duration| beat.age_micros(now) > micros(within);
    let beats = &watched.beats;
    if is_late(&beats.relay, RELAY_WITHIN) {
        return Err("the relay of changes stands still");
    }
    let supervisor = beats.supervisor.as_ref();
    if supervisor.is_some_and(|beat| is_late(beat, SUPERVISOR_WITHIN)) {
        return Err("the sync of mailboxes stands still");
    }
    if !watched.bus.is_up() {
        return Ok(Readiness::Degraded(
            "Redis is away; live events come from the database, a little later",
        ));
    }
    if is_late(&beats.outbox, OUTBOX_WITHIN) {
        return Err("changes are not told");
    }
    Ok(Readiness::Whole)
}
