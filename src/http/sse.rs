//! GraphQL over server-sent events, a connection for each operation (the "distinct connections" mode of graphql-sse), at
//! the same address as everything else: `Accept: text/event-stream` asks for it.
//!
//! The same limits hold as for sockets: a stream takes a place among its user's sockets, ends with its token, is
//! looked up again when credentials change, and is given up when nobody reads it. A stream that ends without
//! `complete` is one to open again. Not for: what happens inside an operation.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::future::FutureExt as _;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::State;
use super::bearer::moment_of_end;
use super::credential_watch::{Check, moved, of_user, settled, shut_down};
use super::ws::SocketPlace;
use crate::auth::AuthRefusal;
use crate::graphql::api::{ApiResponse, Prepared, RequestId};
use crate::model::UserId;
use crate::model::measure::Present;
use crate::model::people::Session;

/// A comment: shows proxies and clients that the stream lives.
const ALIVE: &str = ":\n\n";
const COMPLETE: &str = "event: complete\ndata:\n\n";

/// Whether a client takes a stream of events, by name. `*/*` does not say so.
pub fn is_accepted<'a>(accepts: impl Iterator<Item = &'a str>) -> bool {
    accepts.flat_map(|header| header.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"));
        is_named
            && parts.all(|parameter| !matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// Who a stream is for.
pub struct Reader {
    pub token: Arc<str>,
    pub session: Session,
    pub place: SocketPlace,
}

/// Answers with the events of an operation, or with the one that says why it is not run: whoever reads events reads no
/// other body.
pub fn answer(
    state: Arc<State>,
    reader: Reader,
    asked: Result<Prepared, ApiResponse>,
    request_id: RequestId,
) -> HttpResponse {
    // One event waits for the connection; the next is asked for once it has left.
    let (events, mut leaving) = mpsc::channel(1);
    let now = Instant::now();
    let running = Running {
        responses: match asked {
            Ok(prepared) => {
                let session = Some(reader.session.clone());
                state.api.stream(prepared, session, request_id.clone())
            }
            Err(refused) => stream::iter([refused]).boxed(),
        },
        id: request_id,
        ends: moment_of_end(&reader.session, (state.clock)()),
        token: reader.token,
        user_id: reader.session.viewer.user_id,
        check: None,
        check_again: false,
        changes: state.authenticator.changes(),
        shutdown: state.shutdown.clone(),
        recheck_at: now + state.times.recheck,
        ping_at: now + state.times.ping,
        _present: state.watch.traffic.streams.enter(),
        _place: reader.place,
        events,
        state,
    };
    actix_web::rt::spawn(running.run());
    let body = stream::poll_fn(move |context| leaving.poll_recv(context));
    HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store, no-transform"))
        // Some proxies gather an answer before they pass it on, unless they are told.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body.map(Ok::<Bytes, std::convert::Infallible>))
}

struct Running {
    state: Arc<State>,
    id: RequestId,
    token: Arc<str>,
    /// Whom it was begun for.
    user_id: UserId,
    responses: BoxStream<'static, ApiResponse>,
    events: mpsc::Sender<Bytes>,
    /// When the token ends.
    ends: Option<Instant>,
    check: Option<Check>,
    /// Credentials changed during that look-up, so its answer may be old.
    check_again: bool,
    changes: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
    recheck_at: Instant,
    ping_at: Instant,
    _present: Present,
    _place: SocketPlace,
}

/// What can happen next.
enum Happening {
    Response(Option<ApiResponse>),
    Checked(Result<Session, AuthRefusal>),
    Recheck,
    Ping,
    Expired,
    Shutdown,
    Gone,
}

/// Why a stream is over, for the log and as a comment to whoever reads it.
type Ending = &'static str;

impl Running {
    async fn run(mut self) {
        let ending = match self.say(ALIVE.to_owned()).await {
            ControlFlow::Continue(()) => self.tell().await,
            ControlFlow::Break(ending) => ending,
        };
        tracing::debug!(request_id = %self.id, ending, "event stream ended");
    }

    async fn tell(&mut self) -> Ending {
        loop {
            let happening = self.next().await;
            if let ControlFlow::Break(ending) = self.react(happening).await {
                return ending;
            }
        }
    }

    async fn next(&mut self) -> Happening {
        tokio::select! {
            // What ends the stream comes before what it would still tell.
            biased;
            () = shut_down(&mut self.shutdown) => Happening::Shutdown,
            () = self.events.closed() => Happening::Gone,
            () = moment(self.ends) => Happening::Expired,
            checked = settled(&mut self.check) => Happening::Checked(checked),
            () = moved(&mut self.changes) => Happening::Recheck,
            () = sleep_until(self.recheck_at) => Happening::Recheck,
            response = self.responses.next() => Happening::Response(response),
            () = sleep_until(self.ping_at) => Happening::Ping,
        }
    }

    async fn react(&mut self, happening: Happening) -> ControlFlow<Ending> {
        match happening {
            Happening::Response(None) => {
                self.say(COMPLETE.to_owned()).await?;
                ControlFlow::Break("complete")
            }
            Happening::Response(Some(response)) => {
                self.say(format!("event: next\ndata: {}\n\n", response.body))
                    .await
            }
            Happening::Checked(checked) => self.checked(checked).await,
            Happening::Recheck => {
                self.look_up_again();
                ControlFlow::Continue(())
            }
            Happening::Ping => self.say(ALIVE.to_owned()).await,
            Happening::Expired => self.part("token expired").await,
            Happening::Shutdown => self.part("service restart").await,
            Happening::Gone => ControlFlow::Break("the client left"),
        }
    }

    fn look_up_again(&mut self) {
        self.recheck_at = Instant::now() + self.state.times.recheck;
        if self.check.is_some() {
            self.check_again = true;
            return;
        }
        let authenticator = Arc::clone(&self.state.authenticator);
        let token = Arc::clone(&self.token);
        self.check = Some(async move { authenticator.authenticate(&token).await }.boxed());
    }

    async fn checked(&mut self, checked: Result<Session, AuthRefusal>) -> ControlFlow<Ending> {
        self.check = None;
        match checked.and_then(|session| of_user(session, self.user_id)) {
            Ok(session) => {
                self.ends = moment_of_end(&session, (self.state.clock)());
                if std::mem::take(&mut self.check_again) {
                    self.look_up_again();
                }
                ControlFlow::Continue(())
            }
            Err(AuthRefusal::Expired) => self.part("token expired").await,
            Err(AuthRefusal::Invalid) => self.part("forbidden").await,
            Err(AuthRefusal::Unavailable) => self.part("try again later").await,
        }
    }

    /// Hands text to the connection. Whoever takes nothing for so long reads no more.
    async fn say(&mut self, text: String) -> ControlFlow<Ending> {
        let now = Instant::now();
        self.ping_at = now + self.state.times.ping;
        let sent = self.events.send(Bytes::from(text));
        match timeout(self.state.times.write, sent).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_closed)) => ControlFlow::Break("the client left"),
            Err(_elapsed) => ControlFlow::Break("reading too slowly"),
        }
    }

    /// Ends the stream without `complete`, with the reason in a comment, if there is room for one.
    async fn part(&mut self, reason: Ending) -> ControlFlow<Ending> {
        self.say(format!(": {reason}\n\n")).await?;
        ControlFlow::Break(reason)
    }
}

async fn moment(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_asked_for_by_name() {
        let rows = [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream;q=0", false),
            ("text/*", false),
            ("*/*", false),
            ("", false),
        ];
        for (accept, wanted) in rows {
            assert_eq!(is_accepted([accept].into_iter()), wanted, "{accept:?}");
        }
    }
}
