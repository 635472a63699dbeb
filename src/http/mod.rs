//! The room `http`: what the network sees. GraphQL over HTTP, WebSocket and server-sent events at `/graphql`, GraphiQL,
//! health, metrics, and the routes that others mount. The only room that names the web framework.
//! Not for: anything that a resolver could do.

pub mod bearer;
mod credential_watch;
mod envelope;
mod exposition;
pub mod files;
mod graphiql;
mod graphql;
mod health;
mod media;
mod metrics;
mod origin;
pub mod reset_password;
pub mod set_up;
mod sse;
mod ws;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use socket2::SockRef;
use tokio::sync::watch;

pub use health::{Readiness, ReadyProbe, probe};
pub use metrics::{MetricsReaders, Watched};
pub use ws::{SOCKETS_PER_USER_MAX, SocketTimes};

use crate::auth::Authenticator;
use crate::graphql::api::Api;
use crate::model::Time;
use metrics::Traffic;
use ws::SocketCount;

/// Mounts further routes, such as downloads, beside ours.
pub type Mount = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// Idle connections are kept longer than a person needs between two clicks.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// A request's head is short; whoever dribbles it holds a connection for nothing.
const HEAD_SECONDS_MAX: Duration = Duration::from_secs(10);
/// How long a stop waits for requests that run.
const SHUTDOWN_SECONDS: u64 = 10;
/// A peer that acknowledges nothing, or takes nothing, for so long is cut off by the kernel: twice
/// the time after which a socket's slow reader is told to go.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// What the server is made of.
#[derive(Clone)]
pub struct HttpParts {
    pub api: Api,
    pub authenticator: Arc<dyn Authenticator>,
    /// Made with the same `api`.
    pub watch: Arc<Watch>,
    /// Serve GraphiQL at `/graphiql`.
    pub graphiql: bool,
    /// Origins beside our own whose pages may connect, such as `https://crm.example.com`.
    pub allowed_origins: Vec<String>,
    /// Routes of other rooms.
    pub mounts: Vec<Mount>,
    pub socket_times: SocketTimes,
    /// WebSockets and event streams together that one user may have open in this process; [`SOCKETS_PER_USER_MAX`] unless a
    /// load test or a robot needs more.
    pub sockets_per_user_max: usize,
    /// Threads that serve; 0 means one a core.
    pub workers: usize,
}

/// What a process is watched by, at `/healthz`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub struct WatchParts {
    /// The clock that tokens' ends and ages are measured by.
    pub clock: fn() -> Time,
    pub ready: ReadyProbe,
    /// Who may read `/metrics`.
    pub metrics: MetricsReaders,
    /// What `/metrics` tells of beside requests; `None`: nothing.
    pub watched: Option<Watched>,
}

/// What the handlers of `/readyz` and `/metrics` share, wherever this process listens.
pub struct Watch {
    parts: WatchParts,
    /// `None`: this process answers no GraphQL.
    api: Option<Api>,
    traffic: Traffic,
}

impl Watch {
    /// Of a process that answers GraphQL by this API, or none.
    pub fn new(parts: WatchParts, api: Option<Api>) -> Arc<Self> {
        Arc::new(Self {
            parts,
            api,
            traffic: Traffic::default(),
        })
    }
}

/// What the other handlers share.
struct State {
    api: Api,
    authenticator: Arc<dyn Authenticator>,
    clock: fn() -> Time,
    watch: Arc<Watch>,
    graphiql: bool,
    origins: origin::AllowedOrigins,
    times: SocketTimes,
    sockets: SocketCount,
    shutdown: watch::Receiver<bool>,
}

/// Serves on `listener` until `shutdown` is done; then lets running requests end (at most 10 s),
/// closes every WebSocket with 1012 (clients come back and resume), and returns.
pub async fn serve(
    parts: HttpParts,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let origins = origin::AllowedOrigins::parse(&parts.allowed_origins).map_err(|origin| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{origin:?} is not an origin"),
        )
    })?;
    let watch = parts.watch;
    let state = Data::new(State {
        api: parts.api,
        authenticator: parts.authenticator,
        clock: watch.parts.clock,
        watch: watch.clone(),
        graphiql: parts.graphiql,
        origins,
        times: parts.socket_times,
        sockets: SocketCount::new(parts.sockets_per_user_max),
        shutdown: stopped,
    });
    let mounts = parts.mounts;
    let all = move |config: &mut ServiceConfig| {
        config.app_data(state.clone());
        routes(config, &mounts);
    };
    let server = start(listener, watch, all, parts.workers)?;
    // The server outlives its last receiver only when no socket is left to tell.
    run_until(server, shutdown, || {
        stop.send_replace(true);
    })
    .await
}

/// Serves `/healthz`, `/readyz` and `/metrics` alone, until `shutdown` is done.
///
/// # Errors
/// What the listener says.
pub async fn serve_watch(
    watch: Arc<Watch>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let server = start(listener, watch, |_config: &mut ServiceConfig| {}, 1)?;
    run_until(server, shutdown, || {}).await
}

async fn run_until(
    server: Server,
    shutdown: impl Future<Output = ()>,
    tell: impl FnOnce(),
) -> io::Result<()> {
    let handle = server.handle();
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown => {}
    }
    tell();
    let (ended, ()) = tokio::join!(server, handle.stop(true));
    ended
}

/// Starts the workers. Apart from [`serve`], whose future must be free to move between threads.
fn start(
    listener: TcpListener,
    watch: Arc<Watch>,
    others: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
    workers: usize,
) -> io::Result<Server> {
    listener.set_nonblocking(true)?;
    let watch = Data::from(watch);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(watch.clone())
            .wrap(from_fn(envelope::wrap))
            .route("/healthz", web::get().to(health::alive))
            .route("/readyz", web::get().to(health::ready))
            .route("/metrics", web::get().to(metrics::show))
            .default_service(web::to(not_found))
            .configure(others.clone())
    })
    .on_connect(|connection, _| settle_connection(connection))
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_SECONDS_MAX)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .tcp_nodelay(true)
    .disable_signals();
    let server = if workers > 0 {
        server.workers(workers)
    } else {
        server
    };
    Ok(server.listen(listener)?.run())
}

fn routes(config: &mut ServiceConfig, mounts: &[Mount]) {
    config
        .service(
            web::resource("/graphql")
                .route(
                    web::route()
                        .guard(actix_web::guard::Options())
                        .to(graphql::preflight),
                )
                .default_service(web::to(graphql_or_socket)),
        )
        .configure(graphiql::routes);
    for mount in mounts {
        mount(config);
    }
}

async fn graphql_or_socket(
    request: HttpRequest,
    body: Payload,
    state: Data<State>,
) -> HttpResponse {
    if ws::is_handshake(&request) {
        ws::upgrade(request, body, state).await
    } else {
        graphql::answer(request, body, state).await
    }
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body("There is nothing here.\n")
}

/// Cuts off peers that hang, which no timer above TCP can.
fn settle_connection(connection: &dyn std::any::Any) {
    #[cfg(target_os = "linux")]
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>()
        && let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
    {
        tracing::warn!(%error, "a connection has no time-out");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = connection;
}
