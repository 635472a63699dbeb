//! Wires the rooms together: from settings to a running server or worker.
//! Not for: anything that a room could do itself.

mod parts;

use crate::actions::Actions;
use crate::actions::connect_mailbox::MailAccess;
use crate::actions::read_mail::MailReader;
use crate::auth::accounts::{self, Accounts};
use crate::auth::file_links::{FileLinks, LinkedFile};
use crate::auth::keys::{KeyError, Keys};
use crate::bus::{Bus, BusError};
use crate::clock;
use crate::config::Config;
use crate::graphql::api::Api;
use crate::graphql::{self, File, FileRef, Services};
use crate::http::files::{Files, UPLOAD_WITHIN};
use crate::http::reset_password::ResetPage;
use crate::http::set_up::SetUpPage;
use crate::http::{self, HttpParts, MetricsReaders, SocketTimes, Watch, WatchParts, Watched};
use crate::live::{Hub, Live};
use crate::mail::hosts::{HostPolicy, LoopbackUse};
use crate::mail::imap::Compress;
use crate::mail::smtp::SmtpTimes;
use crate::mail::tls::TlsTrust;
use crate::model::measure::{Beats, Syncs};
use crate::model::timeline::Position;
use crate::model::topic::Topic;
use crate::store::db::Kind;
use crate::store::raw::RawStore;
use crate::store::{Store, StoreError, roles, timeline, users};
use crate::worker::search::{self, IndexServices};
use crate::worker::send::{self, SendServices};
use crate::worker::sync::{SyncServices, SyncTimes};
use crate::worker::upkeep::{self, UpkeepServices};
use crate::worker::{relay, supervisor};
use std::fs::{File as LockFile, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why a process could not start, in a sentence for the operator.
#[derive(Debug, Error)]
pub enum AppError {
    /// A setting can't be used.
    #[error("{0}")]
    Setting(String),
    /// Something that is needed is not there.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Setting(text) => Self::Setting(text),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<BusError> for AppError {
    fn from(error: BusError) -> Self {
        Self::Setting(error.to_string())
    }
}

impl From<KeyError> for AppError {
    fn from(error: KeyError) -> Self {
        Self::Setting(error.to_string())
    }
}

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It serves or syncs, and must be alone on an embedded database.
    Run,
    /// It looks or changes a little, beside a running server.
    Tool,
}

/// The parts of an installation, opened.
pub struct App {
    pub config: Config,
    pub store: Store,
    pub raw: RawStore,
    pub keys: Keys,
    pub actions: Actions,
    pub mail: MailAccess,
    /// Held for as long as the process runs.
    _lock: Option<LockFile>,
}

impl App {
    /// Opens everything that the settings name. Call it within the async runtime.
    ///
    /// # Errors
    /// See [`AppError`]; another process on an embedded database is one.
    pub async fn open(config: Config, purpose: Purpose) -> Result<Self, AppError> {
        std::fs::create_dir_all(&config.data_dir).map_err(|error| {
            AppError::Setting(format!(
                "MAILROOM_DATA_DIR {} can't be used: {error}",
                config.data_dir.display()
            ))
        })?;
        let lock = match purpose {
            Purpose::Run if config.is_sqlite() => Some(lock(&config)?),
            Purpose::Run | Purpose::Tool => None,
        };
        let mail = mail_access(&config)?;
        let keys = Keys::load_or_make(&config.key_file)?;
        let runtime = tokio::runtime::Handle::current();
        let (database_url, raw_url) = (config.database_url.clone(), config.raw_store.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(&database_url, clock::now())?;
            let raw = RawStore::open(&raw_url, runtime)?;
            Ok::<_, StoreError>((store, raw))
        });
        let (store, raw) = opened
            .await
            .map_err(|error| AppError::Failed(error.to_string()))??;
        let actions = Actions {
            store: store.clone(),
            raw: raw.clone(),
            sealer: keys.sealer.clone(),
            mail: mail.clone(),
        };
        Ok(Self {
            config,
            store,
            raw,
            keys,
            actions,
            mail,
            _lock: lock,
        })
    }

    /// The bus that the settings name.
    ///
    /// # Errors
    /// A Redis URL that can't be used.
    pub fn bus(&self) -> Result<Bus, AppError> {
        match &self.config.redis_url {
            Some(url) => Ok(Bus::redis(url, &self.store.codec().installation())?),
            None => Ok(Bus::memory()),
        }
    }

    /// What looks after things that have to go.
    pub fn upkeep_services(&self) -> UpkeepServices {
        UpkeepServices {
            store: self.store.clone(),
            raw: self.raw.clone(),
            erase_after_days: self.config.erase_after_days,
        }
    }

    /// What sending mail needs.
    pub fn send_services(&self) -> SendServices {
        SendServices {
            sync: self.sync_services(),
            times: SmtpTimes::default(),
        }
    }

    /// What the indexer needs.
    pub fn index_services(&self) -> IndexServices {
        IndexServices {
            store: self.store.clone(),
            raw: self.raw.clone(),
        }
    }

    /// What syncing needs.
    pub fn sync_services(&self) -> SyncServices {
        SyncServices {
            store: self.store.clone(),
            raw: self.raw.clone(),
            sealer: self.keys.sealer.clone(),
            trust: self.mail.trust.clone(),
            hosts: self.mail.hosts.clone(),
            times: SyncTimes::default(),
            compress: Compress::default(),
        }
    }
}

/// One process at a time on an embedded database.
fn lock(config: &Config) -> Result<LockFile, AppError> {
    let path = config.data_dir.join("mailroom.lock");
    let failed = |error: std::io::Error| {
        AppError::Setting(format!("{} can't be used: {error}", path.display()))
    };
    let file = LockFile::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AppError::Setting(format!(
            "another Mailroom runs on {}; several servers or workers need PostgreSQL and Redis (DATABASE_URL, REDIS_URL)",
            config.data_dir.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn mail_access(config: &Config) -> Result<MailAccess, AppError> {
    let loopback = if config.listens_on_loopback() {
        LoopbackUse::Allowed
    } else {
        LoopbackUse::ListedOnly
    };
    let hosts = HostPolicy::parse(&config.allow_hosts)
        .map_err(|error| AppError::Setting(format!("MAILROOM_ALLOW_HOSTS: {error}")))?
        .with_loopback(loopback);
    let trust = TlsTrust::load_file(config.ca_file.as_deref())
        .map_err(|error| AppError::Setting(format!("MAILROOM_CA_FILE: {error}")))?;
    Ok(MailAccess {
        trust,
        hosts: Arc::new(hosts),
    })
}

/// A server or worker that runs.
pub struct Running {
    /// Where it listens; `None` for a worker that listens nowhere.
    pub address: Option<SocketAddr>,
    /// Where browsers reach it.
    pub url: String,
    /// The path with the token that sets the first administrator up, where there is no user yet.
    pub set_up_url: Option<String>,
    pub api: Option<Api>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    app: App,
}

/// How long a stop waits for what runs.
const STOP_WITHIN: Duration = Duration::from_secs(15);

impl Running {
    /// The parts that it runs on.
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// Ends when any of its tasks has ended by itself, which none should.
    pub async fn ended(&mut self) {
        let (_ended, index, _rest) = futures_util::future::select_all(&mut self.tasks).await;
        drop(self.tasks.remove(index));
    }

    /// Stops, and returns once everything has let go of its folder.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let all = futures_util::future::join_all(self.tasks);
        if tokio::time::timeout(STOP_WITHIN, all).await.is_err() {
            tracing::warn!("not everything stopped in time");
        }
    }
}

/// Whether a server also syncs mailboxes: in the embedded setting, and wherever there is no Redis to tell workers of news.
fn syncs_too(config: &Config) -> bool {
    config.is_sqlite() || config.redis_url.is_none()
}

fn listen(on: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let listener = TcpListener::bind(on)
        .map_err(|error| AppError::Failed(format!("{on} can't be listened on: {error}")))?;
    let address = listener.local_addr();
    let address = address.map_err(|error| AppError::Failed(error.to_string()))?;
    Ok((listener, address))
}

/// Where clients reach the server, if nothing else is set.
fn public_url(config: &Config, address: SocketAddr) -> String {
    let set = config.public_url.clone();
    set.unwrap_or_else(|| format!("http://{address}"))
}

/// Starts a server, and a worker in it where the setting is embedded.
///
/// # Errors
/// An address that is taken, or a second server without Redis.
pub async fn serve(app: App) -> Result<Running, AppError> {
    let (listener, address) = listen(app.config.listen)?;
    let health = app.config.health_listen.map(listen).transpose()?;
    if app.store.kind() == Kind::Postgresql && app.config.redis_url.is_none() {
        alone_without_redis(&app).await?;
    }
    let url = public_url(&app.config, address);
    let bus = app.bus()?;
    let told = told_before(&app.store, &bus).await?;
    let hub = Hub::start(&bus);
    hub.look_after(app.store.clone());
    let (stop, stopped) = watch::channel(false);
    let accounts = Accounts::new(app.store.clone(), &app.keys, &url);
    let accounts = Arc::new(accounts.with_outside(parts::outside_tokens(&app)?));
    let links = FileLinks::new(&app.keys);
    let reader = MailReader::new(app.store.clone(), app.raw.clone());
    let services = Services {
        store: app.store.clone(),
        actions: app.actions.clone(),
        accounts: accounts.clone(),
        live: Live::new(app.store.clone(), hub.clone()),
        mail: reader.clone(),
        file_urls: file_urls(links.clone(), url.clone()),
        public_url: url.as_str().into(),
        clock: clock::now,
    };
    let rates = parts::rates(&app.config);
    let api = Api::new(graphql::schema(services), parts::introspection(&app.config))
        .with_documents(parts::documents(&app.config.documents)?)
        .with_rates(rates.clone());
    let set_up_url = set_up_url(&app, &url).await?;
    let syncs = if syncs_too(&app.config) {
        Syncs::Here
    } else {
        Syncs::Elsewhere
    };
    let beats = Beats::new(clock::now(), syncs);
    let watched = Watched {
        store: app.store.clone(),
        bus: bus.clone(),
        hub: Some(hub.clone()),
        beats: beats.clone(),
    };
    let metrics = parts::metrics_readers(&app.config)?;
    let parts = http_parts(
        &app,
        api.clone(),
        accounts.clone(),
        (reader, links),
        watch_of(watched, metrics, Some(api.clone())),
    );
    let carriers = vec![
        tokio::spawn(look_again(accounts, hub.clone(), app.store.clone())),
        tokio::spawn(relay::run(
            app.store.clone(),
            bus.clone(),
            beats.clone(),
            told,
        )),
    ];
    let health = health.map(|(listener, _address)| {
        http::serve_watch(parts.watch.clone(), listener, told_to_stop(&stopped))
    });
    let mut tasks: Vec<JoinHandle<()>> = health.into_iter().map(server_of).collect();
    tasks.push(server_of(http::serve(
        parts,
        listener,
        told_to_stop(&stopped),
    )));
    if let Some(rates) = rates.filter(|_rates| bus.is_shared()) {
        let sharing = parts::share_spending(bus.clone(), rates.spending, stopped.clone());
        tasks.push(tokio::spawn(sharing));
    }
    if syncs == Syncs::Here {
        tasks.extend(work_of(&app, &bus, beats, &stopped));
    }
    Ok(Running {
        address: Some(address),
        url,
        set_up_url,
        api: Some(api),
        tasks: until_stopped(carriers, tasks, &stopped),
        stop,
        app,
    })
}

/// Starts a worker that syncs mailboxes beside others.
///
/// # Errors
/// Where there is no PostgreSQL with Redis.
pub async fn work(app: App) -> Result<Running, AppError> {
    if app.config.is_sqlite() || app.config.redis_url.is_none() {
        return Err(AppError::Setting(
            "worker needs PostgreSQL and Redis (DATABASE_URL, REDIS_URL); without them `mailroom serve` syncs mailboxes itself"
                .to_owned(),
        ));
    }
    let listener = app.config.health_listen.map(listen).transpose()?;
    let metrics = parts::metrics_readers(&app.config)?;
    let bus = app.bus()?;
    let (stop, stopped) = watch::channel(false);
    let beats = Beats::new(clock::now(), Syncs::Here);
    let told = told_before(&app.store, &bus).await?;
    let relay = relay::run(app.store.clone(), bus.clone(), beats.clone(), told);
    let carriers = vec![tokio::spawn(relay)];
    let mut tasks = Vec::new();
    let address = listener.as_ref().map(|(_listener, address)| *address);
    if let Some((listener, _address)) = listener {
        let watched = Watched {
            store: app.store.clone(),
            bus: bus.clone(),
            hub: None,
            beats: beats.clone(),
        };
        let watch = watch_of(watched, metrics, None);
        let stop = told_to_stop(&stopped);
        tasks.push(server_of(http::serve_watch(watch, listener, stop)));
    }
    tasks.extend(work_of(&app, &bus, beats, &stopped));
    Ok(Running {
        address,
        url: String::new(),
        set_up_url: None,
        api: None,
        tasks: until_stopped(carriers, tasks, &stopped),
        stop,
        app,
    })
}

/// Done when the process is told to stop.
fn told_to_stop(stopped: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut stopped = stopped.clone();
    async move {
        // The sender lives as long as what runs.
        drop(stopped.wait_for(|stop| *stop).await);
    }
}

fn server_of(server: impl Future<Output = io::Result<()>> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the server ended");
        }
    })
}

fn watch_of(watched: Watched, metrics: MetricsReaders, api: Option<Api>) -> Arc<Watch> {
    let parts = WatchParts {
        clock: clock::now,
        ready: http::probe(watched.clone(), clock::now),
        metrics,
        watched: Some(watched),
    };
    Watch::new(parts, api)
}

/// Starts what a worker does, whether it is alone or in a server.
fn work_of(
    app: &App,
    bus: &Bus,
    beats: Beats,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let supervisor = supervisor::run(app.sync_services(), bus.clone(), beats, stopped.clone());
    vec![
        tokio::spawn(supervisor),
        tokio::spawn(send::run(app.send_services(), bus.clone(), stopped.clone())),
        tokio::spawn(upkeep::run(app.upkeep_services(), stopped.clone())),
        tokio::spawn(search::run(app.index_services(), stopped.clone())),
    ]
}

/// Tasks that only carry wake-ups don't watch for a stop: they end with it. The others end by themselves.
fn until_stopped(
    carriers: Vec<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    /// What ends by itself gets this long to do so.
    const GRACE: Duration = Duration::from_secs(12);
    let carriers = carriers.into_iter().map(|task| (task, Duration::ZERO));
    let tasks = tasks.into_iter().map(|task| (task, GRACE));
    carriers
        .chain(tasks)
        .map(|(mut task, grace)| {
            let mut stopped = stopped.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ended = &mut task => return,
                    _stopped = stopped.wait_for(|stop| *stop) => {}
                }
                if tokio::time::timeout(grace, &mut task).await.is_err() {
                    task.abort();
                }
            })
        })
        .collect()
}

fn http_parts(
    app: &App,
    api: Api,
    accounts: Arc<Accounts>,
    (reader, links): (MailReader, FileLinks),
    watch: Arc<Watch>,
) -> HttpParts {
    let files = Files {
        store: app.store.clone(),
        actions: app.actions.clone(),
        reader,
        links,
        clock: clock::now,
        upload_within: UPLOAD_WITHIN,
    };
    let page = SetUpPage {
        actions: app.actions.clone(),
        clock: clock::now,
    };
    let reset = ResetPage {
        actions: app.actions.clone(),
        clock: clock::now,
    };
    HttpParts {
        api,
        authenticator: accounts,
        watch,
        graphiql: true,
        allowed_origins: app.config.allow_origins.clone(),
        mounts: vec![
            Arc::new(move |config| http::files::mount(&files, config)),
            Arc::new(move |config| http::set_up::mount(&page, config)),
            Arc::new(move |config| http::reset_password::mount(&reset, config)),
        ],
        socket_times: SocketTimes::default(),
        sockets_per_user_max: http::SOCKETS_PER_USER_MAX,
        workers: 0,
    }
}

/// Up to where nobody has to be told of anything: where this process is alone, nobody has waited for what was there before it.
async fn told_before(store: &Store, bus: &Bus) -> Result<Position, StoreError> {
    if bus.is_shared() {
        Ok(Position(0))
    } else {
        store.read(timeline::last_position).await
    }
}

/// Open sockets look at their tokens again whenever a right or a credential changed.
async fn look_again(accounts: Arc<Accounts>, hub: Arc<Hub>, store: Store) {
    let mut news = hub.listen(Topic::Rights);
    let mut known = None;
    loop {
        let is_told = news.wait().await;
        if is_told {
            accounts.look_again();
        }
        // Woken by the clock alone, they look only if something changed that nobody told of.
        let epoch = store.read(roles::rights_epoch).await.ok();
        if !is_told && (epoch.is_none() || epoch != known) {
            accounts.look_again();
        }
        known = epoch;
    }
}

async fn set_up_url(app: &App, url: &str) -> Result<Option<String>, AppError> {
    if app.store.read(users::any).await? {
        return Ok(None);
    }
    let store = app.store.clone();
    let token =
        tokio::task::spawn_blocking(move || accounts::create_set_up_token(&store, clock::now()))
            .await
            .map_err(|error| AppError::Failed(error.to_string()))??;
    Ok(Some(format!("{url}/set-up#token={token}")))
}

/// Without Redis a second server would hear nothing of the first one's changes.
async fn alone_without_redis(app: &App) -> Result<(), AppError> {
    let is_alone = app.store.hold_alone().await?;
    if is_alone {
        Ok(())
    } else {
        Err(AppError::Setting(
            "another server runs on this database; several need Redis (REDIS_URL)".to_owned(),
        ))
    }
}

fn file_urls(links: FileLinks, url: String) -> graphql::FileUrls {
    Arc::new(move |wanted: FileRef| {
        let file = match wanted.file {
            File::RawMail(id) => LinkedFile::RawMail(id),
            File::Attachment(id) => LinkedFile::Attachment(id),
            File::Part(id, part) => LinkedFile::Part(id, i64::try_from(part).ok()?),
            File::Export(id) => LinkedFile::Export(id),
            File::Upload(id) => LinkedFile::Upload(id),
        };
        let folder = match file {
            LinkedFile::Upload(_) => "uploads",
            _ => "files",
        };
        let link = links.seal(wanted.viewer_id, file, clock::now());
        Some(format!("{url}/{folder}/{link}"))
    })
}
