//! One open socket, from the handshake to the close frame.
//!
//! Everything that can happen is awaited in one place and reacted to in another. Nothing is queued
//! without bound: an operation is asked for its next event only when the last one has left, and the
//! client is read only while there is room for the answers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Message};
use actix_ws::{ProtocolError, Session as Wire};
use futures_util::Sink;
use futures_util::future::FutureExt as _;
use futures_util::stream::{BoxStream, StreamExt as _};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::SocketPlace;
use super::message::{self, ClientMessage};
use super::pace::Pace;
use super::turns::{Event, Lasting, Operation, Turn, Turns};
use crate::auth::AuthRefusal;
use crate::graphql::api::{ApiRequest, ApiResponse, Prepared, RequestId};
use crate::graphql::error::Code;
use crate::http::credential_watch::{Check, moved, of_user, settled, shut_down};
use crate::http::{State, bearer};
use crate::model::UserId;
use crate::model::people::Session;

/// Subscriptions that one socket runs at once, and as many queries and mutations beside them.
const OPERATIONS_MAX: usize = 20;
/// Answers that wait for the writer before the client is read no further.
const WAITING_MAX: usize = 4;
/// How long what still waits may take to leave: as long as the kernel suffers a peer that takes nothing.
const LAST_WORDS: Duration = Duration::from_secs(60);
/// How long the peer may take to answer our close frame.
const GOODBYE: Duration = Duration::from_secs(1);
/// Stands in for "never" where a moment is asked for.
const FAR: Duration = Duration::from_secs(24 * 3_600);

/// Why the socket is closed, as the peer reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Close {
    code: u16,
    reason: Cow<'static, str>,
}

impl Close {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }
}

/// `None`: the peer is gone, and there is nobody to tell.
type Ending = Option<Close>;

/// How far the connection has come.
enum Phase {
    /// No `connection_init` yet.
    Waiting,
    /// The token is being looked up.
    Admitting { token: Arc<str> },
    /// Acknowledged.
    Open(Open),
}

struct Open {
    token: Arc<str>,
    /// Whom it was opened for.
    user_id: UserId,
    /// When the token ends.
    ends: Option<Instant>,
    _place: SocketPlace,
}

/// What can happen next.
enum Happening {
    Time,
    Shutdown,
    Written(Result<(), actix_ws::Closed>),
    Heard(Option<Result<AggregatedMessage, ProtocolError>>),
    Turn(Turn),
    Checked(Result<Session, AuthRefusal>),
    CredentialsChanged,
}

pub(super) struct Socket {
    state: Arc<State>,
    id: RequestId,
    /// Operations begun so far: numbers their request ids.
    begun: u64,
    phase: Phase,
    /// The look-up of a token that is under way.
    check: Option<Check>,
    /// Credentials changed during that look-up, so its answer may be old.
    check_again: bool,
    changes: watch::Receiver<u64>,
    shutdown: watch::Receiver<bool>,
    writer: Writer,
    messages: AggregatedMessageStream,
    turns: Turns,
    pace: Pace,
    init_until: Instant,
    recheck_at: Instant,
    ping_at: Instant,
    pong_until: Option<Instant>,
    /// Rings when something is due, or sooner: it is put forward only, as most of what it is set to never comes due.
    clock: Pin<Box<Sleep>>,
}

/// The way out. `waiting` is short: see [`WAITING_MAX`].
struct Writer {
    wire: Wire,
    waiting: VecDeque<Message>,
    /// Since when the first of them waits.
    since: Instant,
    /// The wire had no room for it at once.
    was_blocked: bool,
}

impl Writer {
    fn push(&mut self, message: Message) {
        if self.waiting.is_empty() {
            self.since = Instant::now();
            self.was_blocked = false;
        }
        self.waiting.push_back(message);
    }

    fn text(&mut self, text: impl Into<String>) {
        self.push(Message::Text(text.into().into()));
    }

    /// Lets go what the wire has room for at once. Whether the peer took something after it had taken nothing for a while.
    fn send_at_once(&mut self) -> Result<bool, actix_ws::Closed> {
        let mut takes_again = false;
        while !self.waiting.is_empty() {
            match self.ready().now_or_never() {
                Some(room) => room?,
                None => break,
            }
            takes_again |= self.was_blocked;
            self.send_first()?;
        }
        Ok(takes_again)
    }

    /// Waits for room. Safe to drop half-way: the room stays reserved.
    async fn ready(&mut self) -> Result<(), actix_ws::Closed> {
        poll_fn(|context| {
            let polled = Pin::new(&mut self.wire).poll_ready(context);
            self.was_blocked |= polled.is_pending();
            polled
        })
        .await
    }

    /// Sends the first that waits, into the room that [`Writer::ready`] found.
    fn send_first(&mut self) -> Result<(), actix_ws::Closed> {
        self.since = Instant::now();
        match self.waiting.pop_front() {
            Some(message) => Pin::new(&mut self.wire).start_send(message),
            None => Ok(()),
        }
    }
}

impl Socket {
    pub fn new(
        state: Arc<State>,
        wire: Wire,
        messages: AggregatedMessageStream,
        id: RequestId,
    ) -> Self {
        let now = Instant::now();
        let times = state.times;
        Self {
            changes: state.authenticator.changes(),
            shutdown: state.shutdown.clone(),
            state,
            id,
            begun: 0,
            phase: Phase::Waiting,
            check: None,
            check_again: false,
            writer: Writer {
                wire,
                waiting: VecDeque::new(),
                since: now,
                was_blocked: false,
            },
            messages,
            turns: Turns::default(),
            pace: Pace::default(),
            init_until: now + times.init,
            recheck_at: now + times.recheck,
            ping_at: now + times.ping,
            pong_until: None,
            clock: Box::pin(sleep_until(now)),
        }
    }

    /// Runs until either side ends it.
    pub async fn run(mut self) {
        let present = self.state.watch.traffic.sockets.enter();
        let ending = self.converse().await;
        // Subscriptions stop, and the user gets the place back, before the last frame is through.
        self.turns.clear();
        self.check = None;
        self.phase = Phase::Waiting;
        let code = ending.as_ref().map(|close| close.code);
        tracing::debug!(socket = %self.id, code, operations = self.begun, "socket closed");
        drop(present);
        if let Some(close) = ending {
            if !close.reason.is_empty() {
                // The peer's own codes come back without a reason.
                self.state.watch.traffic.closed(close.code);
            }
            self.say_goodbye(close).await;
        }
    }

    async fn converse(&mut self) -> Ending {
        loop {
            if let ControlFlow::Break(ending) = self.keep_time() {
                return ending;
            }
            let happening = self.next().await;
            if let ControlFlow::Break(ending) = self.react(happening) {
                return ending;
            }
            // What there is room for needs no further look at everything else that can happen.
            match self.writer.send_at_once() {
                // The peer lives.
                Ok(true) => self.pong_until = None,
                Ok(false) => {}
                Err(_closed) => return None,
            }
        }
    }

    async fn next(&mut self) -> Happening {
        let now = Instant::now();
        let is_open = matches!(self.phase, Phase::Open(_));
        let is_idle = self.writer.waiting.is_empty();
        let has_room = self.writer.waiting.len() < WAITING_MAX;
        let may_read = has_room && self.pace.wait_until(now).is_none();
        let wake_at = self.next_moment(now);
        if wake_at < self.clock.deadline() || self.clock.is_elapsed() {
            self.clock.as_mut().reset(wake_at);
        }
        tokio::select! {
            () = &mut self.clock => Happening::Time,
            () = shut_down(&mut self.shutdown) => Happening::Shutdown,
            written = self.writer.ready(), if !is_idle => Happening::Written(written),
            heard = self.messages.recv(), if may_read => Happening::Heard(heard),
            turn = self.turns.next(), if is_open && is_idle => Happening::Turn(turn),
            checked = settled(&mut self.check) => Happening::Checked(checked),
            () = moved(&mut self.changes), if is_open => Happening::CredentialsChanged,
        }
    }

    fn react(&mut self, happening: Happening) -> ControlFlow<Ending> {
        match happening {
            Happening::Time => ControlFlow::Continue(()),
            Happening::Shutdown => ControlFlow::Break(Some(Close::new(1012, "Service restart"))),
            Happening::Written(Err(_closed)) => ControlFlow::Break(None),
            Happening::Written(Ok(())) => {
                if self.writer.was_blocked {
                    // The peer took something: it lives.
                    self.pong_until = None;
                }
                self.writer
                    .send_first()
                    .map_or(ControlFlow::Break(None), ControlFlow::Continue)
            }
            Happening::Heard(None) => ControlFlow::Break(None),
            Happening::Heard(Some(Err(error))) => ControlFlow::Break(close_for(&error)),
            Happening::Heard(Some(Ok(message))) => {
                self.pong_until = None;
                self.hear(message)
            }
            Happening::Turn(turn) => self.speak(turn),
            Happening::Checked(result) => self.admit(result),
            Happening::CredentialsChanged => {
                self.look_up_again();
                ControlFlow::Continue(())
            }
        }
    }

    /// The soonest moment at which something is due.
    fn next_moment(&self, now: Instant) -> Instant {
        let by_phase = match &self.phase {
            Phase::Waiting | Phase::Admitting { .. } => [Some(self.init_until), None],
            Phase::Open(open) => [open.ends, Some(self.recheck_at)],
        };
        let stalled =
            (!self.writer.waiting.is_empty()).then(|| self.writer.since + self.state.times.write);
        let others = [
            Some(self.ping_at),
            self.pong_until,
            stalled,
            self.pace.wait_until(now),
        ];
        by_phase
            .into_iter()
            .chain(others)
            .flatten()
            .min()
            .unwrap_or(now + FAR)
    }

    /// Does what is due.
    fn keep_time(&mut self) -> ControlFlow<Ending> {
        let now = Instant::now();
        let is_over = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        let close = |code, reason| ControlFlow::Break(Some(Close::new(code, reason)));
        match &self.phase {
            Phase::Waiting | Phase::Admitting { .. } if self.init_until <= now => {
                return close(4408, "Connection initialisation timeout");
            }
            Phase::Open(open) if is_over(open.ends) => return close(4403, "Token expired"),
            _ => {}
        }
        if !self.writer.waiting.is_empty() && self.writer.since + self.state.times.write <= now {
            return close(1013, "Reading too slowly");
        }
        if is_over(self.pong_until) {
            return close(1013, "No sign of life");
        }
        if matches!(self.phase, Phase::Open(_)) && self.recheck_at <= now {
            self.look_up_again();
        }
        if self.ping_at <= now {
            self.ping_at = now + self.state.times.ping;
            if self.writer.waiting.is_empty() {
                self.pong_until.get_or_insert(now + self.state.times.pong);
                // The frame is answered by every library, the message by every client of the protocol.
                self.writer
                    .push(Message::Ping(actix_web::web::Bytes::new()));
                self.writer.text(message::PING);
            }
        }
        ControlFlow::Continue(())
    }

    fn hear(&mut self, message: AggregatedMessage) -> ControlFlow<Ending> {
        match message {
            AggregatedMessage::Text(text) => match message::parse(&text) {
                Ok(message) => self.obey(message),
                Err(reason) => ControlFlow::Break(Some(Close::new(4400, reason))),
            },
            AggregatedMessage::Binary(_) => {
                ControlFlow::Break(Some(Close::new(4400, "Messages are text frames")))
            }
            AggregatedMessage::Ping(bytes) => {
                self.writer.push(Message::Pong(bytes));
                ControlFlow::Continue(())
            }
            AggregatedMessage::Pong(_) => ControlFlow::Continue(()),
            AggregatedMessage::Close(reason) => {
                let code = reason.map_or(1000, |reason| u16::from(reason.code));
                ControlFlow::Break(Some(Close::new(code, "")))
            }
        }
    }

    fn obey(&mut self, message: ClientMessage) -> ControlFlow<Ending> {
        match message {
            ClientMessage::ConnectionInit { payload } => self.init(&payload),
            ClientMessage::Ping { payload } => {
                self.writer.text(message::pong(payload));
                ControlFlow::Continue(())
            }
            ClientMessage::Pong => ControlFlow::Continue(()),
            ClientMessage::Subscribe { id, request } => self.subscribe(id, request),
            ClientMessage::Complete { id } => {
                self.turns.remove(&id);
                ControlFlow::Continue(())
            }
        }
    }

    fn init(&mut self, payload: &Map<String, Value>) -> ControlFlow<Ending> {
        if !matches!(self.phase, Phase::Waiting) {
            let close = Close::new(4429, "Too many initialisation requests");
            return ControlFlow::Break(Some(close));
        }
        let Some(token) = bearer::token_of_payload(payload) else {
            return ControlFlow::Break(Some(Close::new(4403, "Forbidden")));
        };
        let token: Arc<str> = token.into();
        self.check = Some(self.look_up(&token));
        self.phase = Phase::Admitting { token };
        ControlFlow::Continue(())
    }

    fn look_up(&self, token: &Arc<str>) -> Check {
        let authenticator = Arc::clone(&self.state.authenticator);
        let token = Arc::clone(token);
        async move { authenticator.authenticate(&token).await }.boxed()
    }

    fn look_up_again(&mut self) {
        self.recheck_at = Instant::now() + self.state.times.recheck;
        let Phase::Open(open) = &self.phase else {
            return;
        };
        if self.check.is_some() {
            self.check_again = true;
        } else {
            self.check = Some(self.look_up(&open.token));
        }
    }

    /// The answer to a look-up: the first opens the connection, later ones keep it open.
    fn admit(&mut self, result: Result<Session, AuthRefusal>) -> ControlFlow<Ending> {
        self.check = None;
        let same_user = |session| match &self.phase {
            Phase::Open(open) => of_user(session, open.user_id),
            Phase::Waiting | Phase::Admitting { .. } => Ok(session),
        };
        let session = match result.and_then(same_user) {
            Ok(session) => session,
            Err(refusal) => return ControlFlow::Break(Some(close_for_refusal(refusal))),
        };
        let ends = bearer::moment_of_end(&session, (self.state.clock)());
        match &mut self.phase {
            Phase::Waiting => {}
            Phase::Admitting { token } => {
                let Some(place) = self.state.sockets.take(session.viewer.user_id) else {
                    let close = Close::new(1013, "Too many sockets of one user");
                    return ControlFlow::Break(Some(close));
                };
                let token = Arc::clone(token);
                self.phase = Phase::Open(Open {
                    token,
                    user_id: session.viewer.user_id,
                    ends,
                    _place: place,
                });
                self.writer.text(message::CONNECTION_ACK);
            }
            Phase::Open(open) => open.ends = ends,
        }
        if std::mem::take(&mut self.check_again) {
            self.look_up_again();
        }
        ControlFlow::Continue(())
    }

    fn subscribe(&mut self, id: String, request: ApiRequest) -> ControlFlow<Ending> {
        let Phase::Open(open) = &self.phase else {
            return ControlFlow::Break(Some(Close::new(4401, "Unauthorized")));
        };
        if self.turns.contains(&id) {
            let reason = format!("Subscriber for {id} already exists").into();
            return ControlFlow::Break(Some(Close { code: 4409, reason }));
        }
        self.begun += 1;
        self.pace.count(Instant::now());
        let request_id = RequestId(format!("{}-{}", self.id, self.begun).into());
        match self.state.api.prepare(request, &request_id) {
            Err(refused) => self.writer.text(message::response(&id, &refused)),
            Ok(prepared) if self.turns.count(Lasting::of(prepared.kind())) >= OPERATIONS_MAX => {
                let words = "This socket runs as many operations as it may: complete one first.";
                let refused = ApiResponse::refusal(Code::RateLimited, words, &request_id);
                self.writer.text(message::response(&id, &refused));
            }
            Ok(prepared) => {
                let kind = prepared.kind();
                let token = Arc::clone(&open.token);
                let events = events(Arc::clone(&self.state), token, prepared, request_id);
                self.turns.add(Operation { id, kind, events });
            }
        }
        ControlFlow::Continue(())
    }

    fn speak(&mut self, turn: Turn) -> ControlFlow<Ending> {
        match turn {
            Turn::Event {
                id,
                event: Event::Response(response),
            } => {
                if response.is_request_error() {
                    self.turns.remove(&id);
                }
                self.writer.text(message::response(&id, &response));
            }
            Turn::Event {
                event: Event::TokenRefused(refusal),
                ..
            } => {
                return ControlFlow::Break(Some(close_for_refusal(refusal)));
            }
            Turn::Ended { id } => self.writer.text(message::complete(&id)),
        }
        ControlFlow::Continue(())
    }

    /// Lets what waits go out, then the close frame, and hears the peer's own.
    async fn say_goodbye(mut self, close: Close) {
        let until = Instant::now() + LAST_WORDS;
        let description = (!close.reason.is_empty()).then(|| close.reason.into_owned());
        let reason = CloseReason {
            code: CloseCode::from(close.code),
            description,
        };
        self.writer.push(Message::Close(Some(reason)));
        while !self.writer.waiting.is_empty() {
            let written = tokio::select! {
                () = sleep_until(until) => return,
                written = self.writer.ready() => written,
            };
            if written.is_err() || self.writer.send_first().is_err() {
                return;
            }
        }
        let farewell = async {
            while let Some(Ok(message)) = self.messages.recv().await {
                if matches!(message, AggregatedMessage::Close(_)) {
                    break;
                }
            }
        };
        // Whether the peer answers or not, the socket is done.
        let _ = timeout(GOODBYE, farewell).await;
    }
}

/// The events of an operation that runs with the rights its user has when it starts.
fn events(
    state: Arc<State>,
    token: Arc<str>,
    prepared: Prepared,
    request_id: RequestId,
) -> BoxStream<'static, Event> {
    let events = async_stream::stream! {
        match state.authenticator.authenticate(&token).await {
            Err(refusal) => yield Event::TokenRefused(refusal),
            Ok(session) => {
                let mut responses = state.api.stream(prepared, Some(session), request_id);
                while let Some(response) = responses.next().await {
                    yield Event::Response(response);
                }
            }
        }
    };
    events.boxed()
}

/// Clients try 4403 again with a fresh token, and 1013 after a while.
const fn close_for_refusal(refusal: AuthRefusal) -> Close {
    match refusal {
        AuthRefusal::Invalid => Close::new(4403, "Forbidden"),
        AuthRefusal::Expired => Close::new(4403, "Token expired"),
        AuthRefusal::Unavailable => Close::new(1013, "Try again later"),
    }
}

fn close_for(error: &ProtocolError) -> Ending {
    match error {
        ProtocolError::Overflow => Some(Close::new(1009, "Message too big")),
        ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Some(Close::new(1007, "Text is not UTF-8"))
        }
        ProtocolError::Io(error) => {
            let is_gone = error
                .get_ref()
                .is_some_and(|inner| inner.downcast_ref::<PayloadError>().is_some());
            // The other one is of the gathering of fragments: they came to more than a message may have.
            (!is_gone).then(|| Close::new(1009, "Message too big"))
        }
        _ => Some(Close::new(1002, "Protocol error")),
    }
}
