//! A mailbox that is synced against a server of the test's choice, on a database of its own, and what tests ask of it.

use crate::support::app::On;
use crate::support::imap_server::ImapServer;
use crate::support::postgres::TestDatabase;
use mailroom::actions::Actions;
use mailroom::actions::connect_mailbox::MailAccess;
use mailroom::actions::mailbox_settings::default_settings;
use mailroom::actions::people::{CreateUser, create_user_as_operator};
use mailroom::clock;
use mailroom::mail::hosts::{HostPolicy, LoopbackUse};
use mailroom::mail::imap::Compress;
use mailroom::mail::tls::TlsTrust;
use mailroom::model::mailbox::{
    MailSecurity, MailServer, SecretKind, SyncCounts, SyncStage, SyncState,
};
use mailroom::model::people::Viewer;
use mailroom::model::{MailboxId, Time};
use mailroom::store::leases::{self, Fence};
use mailroom::store::mailbox_writes::{self, NewMailbox};
use mailroom::store::raw::RawStore;
use mailroom::store::sealed::{Place, Sealer};
use mailroom::store::sql::{Row, sql};
use mailroom::store::{Store, StoreError, mailboxes, roles};
use mailroom::worker::sync::{self, Signals, SyncServices, SyncTimes, Turns};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub const ADDRESS: &str = "sales@ours.example";
/// Longer than anything that works takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Office {
    pub services: SyncServices,
    pub actions: Actions,
    pub admin: Viewer,
    pub mailbox: MailboxId,
    _folder: tempfile::TempDir,
    // Last: connections to it are closed before.
    _database: Option<TestDatabase>,
}

/// Waits that a test has the patience for. Comparisons run in every pass.
fn times() -> SyncTimes {
    SyncTimes {
        look_at_others: Duration::from_millis(300),
        look_at_many_others: Duration::from_millis(300),
        poll_every: Duration::from_millis(50),
        compare_every: Duration::ZERO,
        tick: Duration::from_millis(20),
        retry_first: Duration::from_millis(20),
        try_again_milliseconds: 1,
        hold_seconds: 600,
        reconcile_seconds: 3600,
    }
}

impl Office {
    /// Over a scripted server, whose mails of before this moment are the backfill.
    pub async fn over(on: On, server: &ImapServer) -> Self {
        Self::new(on, server.port(), "secret", None).await
    }

    pub async fn new(on: On, port: u16, password: &str, history_since: Option<Time>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = clock::now();
        let database = (on == On::Postgresql).then(|| {
            TestDatabase::from_template("sync", |url| drop(Store::open(url, now).unwrap()))
        });
        let url = database.as_ref().map_or_else(
            || format!("sqlite:{}", folder.path().join("mailroom.db").display()),
            TestDatabase::url,
        );
        let raw_url = format!("file://{}", folder.path().join("raw").display());
        let store = Store::open(&url, now).unwrap();
        let raw = RawStore::open(&raw_url, tokio::runtime::Handle::current()).unwrap();
        let sealer = Sealer::new(&[[7; 32]], None);
        let trust = TlsTrust::load(None).unwrap();
        let hosts = Arc::new(HostPolicy::default().with_loopback(LoopbackUse::Allowed));
        let actions = Actions {
            store: store.clone(),
            raw: raw.clone(),
            sealer: sealer.clone(),
            mail: MailAccess {
                trust: trust.clone(),
                hosts: Arc::clone(&hosts),
            },
        };
        let input = CreateUser {
            name: "Ada".to_owned(),
            address: "ada@ours.example".to_owned(),
            password: None,
            department_id: None,
            avatar_url: None,
            time_zone: None,
            is_administrator: true,
            role_ids: None,
        };
        let ada = create_user_as_operator(&actions, input, now).await.unwrap();
        let admin = store
            .read_now(|conn| roles::load_viewer(conn, ada))
            .unwrap()
            .unwrap();
        let new = NewMailbox {
            address: ADDRESS.to_owned(),
            address_key: ADDRESS.to_owned(),
            connector_id: ada,
            imap: MailServer {
                host: "127.0.0.1".to_owned(),
                port,
                security: MailSecurity::Plain,
            },
            smtp: None,
            login: ADDRESS.to_owned(),
            history_since,
            settings: default_settings(ada),
        };
        let mailbox = store
            .write_now(now, |tx| {
                let id = mailbox_writes::insert(tx, &new)?;
                let place = Place {
                    table: "mailboxes",
                    row: id.0,
                    column: "secret_sealed",
                };
                let sealed = sealer.seal(tx, place, &password.to_owned().into())?;
                mailbox_writes::update_secret(tx, id, SecretKind::Password, &sealed)?;
                mailbox_writes::put_sync_state(tx, id, SyncStage::Connecting, None)?;
                Ok::<_, StoreError>(id)
            })
            .unwrap();
        Self {
            services: SyncServices {
                store,
                raw,
                sealer,
                trust,
                hosts,
                times: times(),
                compress: Compress::default(),
            },
            actions,
            admin,
            mailbox,
            _folder: folder,
            _database: database,
        }
    }

    pub fn store(&self) -> &Store {
        &self.services.store
    }

    pub fn rows<T: Row>(&self, query: &str) -> Vec<T> {
        let read = self
            .store()
            .read_now(|conn| sql(query.to_owned()).rows(conn));
        read.unwrap()
    }

    pub fn count(&self, query: &str) -> i64 {
        self.rows::<i64>(query)[0]
    }

    fn fence(&self) -> Fence {
        let name = format!("mailbox:{}", self.mailbox.0);
        let claimed = self
            .store()
            .write_now(clock::now(), |tx| leases::claim(tx, &name, "test", 600));
        let number = claimed.unwrap().unwrap();
        Fence { name, number }
    }

    /// Syncs once.
    pub async fn once(&self) -> Result<(), String> {
        let (services, id, fence) = (self.services.clone(), self.mailbox, self.fence());
        tokio::task::spawn_blocking(move || sync::once(&services, id, &fence, &Arc::default()))
            .await
            .unwrap()
            .map_err(|error| error.to_string())
    }

    /// Passes on one connection: what happens after each, until it says that it is enough.
    pub async fn passes(&self, mut after: impl FnMut() -> ControlFlow<()> + Send + 'static) {
        let (services, id, fence) = (self.services.clone(), self.mailbox, self.fence());
        tokio::task::spawn_blocking(move || {
            sync::passes(&services, (id, &fence), &Arc::default(), &mut after)
        })
        .await
        .unwrap()
        .unwrap();
    }

    /// Syncs until nothing waits any more.
    pub async fn quiet(&self) {
        let begun = std::time::Instant::now();
        loop {
            self.once().await.unwrap();
            let waiting = "SELECT COUNT(*) FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch \
                WHERE p.state = 'NEW' AND f.is_synced";
            if self.count(waiting) == 0 {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "it does not become quiet: {:?}",
                self.lines()
            );
        }
    }

    /// Compares with the server; what was missing here and there.
    pub async fn reconcile(&self) -> (i64, i64) {
        let id = self.mailbox;
        self.store()
            .write_now(clock::now(), |tx| mailbox_writes::ask_to_reconcile(tx, id))
            .unwrap();
        self.once().await.unwrap();
        let found = self.state().reconciliation.unwrap();
        (found.missing_here, found.missing_there)
    }

    pub fn state(&self) -> SyncState {
        let id = self.mailbox;
        self.store()
            .read_now(|conn| mailboxes::sync_state(conn, id))
            .unwrap()
    }

    pub fn counts(&self) -> SyncCounts {
        let id = self.mailbox;
        let found = self
            .store()
            .read_now(|conn| mailboxes::sync_counts(conn, &[id]));
        found.unwrap().remove(&id).unwrap_or_default()
    }

    /// Folder, UID and state of every line of the present epochs.
    pub fn lines(&self) -> Vec<(String, i64, String)> {
        self.rows(
            "SELECT f.path, p.uid, CASE WHEN p.gone_at IS NOT NULL THEN p.state || ' gone' ELSE p.state END \
             FROM placements p JOIN folders f ON f.id = p.folder_id AND f.epoch = p.epoch ORDER BY f.path, p.uid",
        )
    }

    /// The state of one line.
    pub fn line(&self, folder: &str, uid: u32) -> String {
        let found = self.lines().into_iter();
        let mut found = found.filter(|(path, found, _)| path == folder && *found == i64::from(uid));
        found
            .next()
            .map_or_else(|| "none".to_owned(), |(.., state)| state)
    }

    /// Subjects with outcomes, by subject.
    pub fn emails(&self) -> Vec<(String, String)> {
        self.rows("SELECT subject, outcome FROM emails ORDER BY subject, id")
    }

    /// Entries that tell of a received mail.
    pub fn received(&self) -> i64 {
        self.count(
            "SELECT COUNT(*) FROM timeline_entries WHERE kind IN ('EMAIL_RECEIVED', 'EMAIL_SENT')",
        )
    }

    /// Starts the sync as a worker does.
    pub fn start(&self) -> Running {
        self.start_with(Turns::default())
    }

    /// The same, sharing these turns with others.
    pub fn start_with(&self, turns: Turns) -> Running {
        let (services, id, fence) = (self.services.clone(), self.mailbox, self.fence());
        let signals = Arc::new(Signals::default());
        let told = Arc::clone(&signals);
        Running {
            signals,
            task: Some(tokio::spawn(sync::run(services, (id, fence), told, turns))),
        }
    }

    /// Waits until this is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = std::time::Instant::now();
        while !is_so(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "never: {what}; {:?}",
                self.lines()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A sync that runs.
pub struct Running {
    pub signals: Arc<Signals>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signals.stop();
        if let Some(task) = self.task.take() {
            let ended =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(task));
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

/// A client's mail.
pub fn mail(subject: &str) -> String {
    format!(
        "Received: from client.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n\
         From: Cleo <cleo@client.example>\r\nTo: {ADDRESS}\r\nSubject: {subject}\r\n\
         Message-ID: <{subject}@client.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nAbout {subject}.\r\n"
    )
}

/// Makes two tests of one: on SQLite, and on PostgreSQL.
macro_rules! on_both_stores {
    ($(async fn $name:ident($on:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn test($on: $crate::support::app::On) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                test($crate::support::app::On::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgresql() {
                test($crate::support::app::On::Postgresql).await;
            }
        }
    )+};
}
pub(super) use on_both_stores;
