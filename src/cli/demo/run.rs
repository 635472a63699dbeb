//! The demo's course: mail server, company, history, then one mail after the other until it is told to stop.
//! Not for: its parts; each has a file of its own.

use super::company::{Company, DOMAIN, Mailbox};
use super::letters::{Letter, Live, correspondence};
use super::post::Post;
use super::private_server::PrivateFolder;
use super::screen::{Screen, TIMELINE, TimelineLine, bare_message_id};
use super::setup::{Api, Ids, MailServer, connect_mailboxes, make_company, text_at};
use super::tally::Tally;
use super::{DemoOptions, Installation, Request};
use crate::clock;
use crate::model::email::EmailOutcome;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::time::MissedTickBehavior;

/// The live part lasts at least so long, however much of the time the history took.
const LIVE_SECONDS_MIN: u64 = 10;

/// How long the installation may take for the history before the demo calls what is missing lost.
const HISTORY_SECONDS_MAX: u64 = 300;

/// The same for the last live mails: folders other than the Inbox may wait a minute for their turn.
const LAST_SECONDS_MAX: u64 = 90;

/// A subscription that says nothing for so long is broken.
const SUBSCRIBE_SECONDS_MAX: u64 = 20;

/// How often it asks for outcomes while it waits.
const ASK_MILLISECONDS: u64 = 400;

/// Lost and unexpected mails that are named one by one; the rest is counted.
const NAMED_MAX: usize = 10;

/// Asks for a page of a mailbox's mails with what became of them, and for its state.
const OUTCOMES: &str = "query ($mailbox: ID!, $after: Cursor) { mailbox(id: $mailbox) {
  sync { stage quarantined lastError { message advice } }
  emails(first: 100, after: $after) { nodes { messageId outcome } pageInfo { hasNextPage endCursor } }
} }";

/// Has a mailbox looked at now.
const SYNC: &str = "mutation ($mailbox: ID!) { syncMailbox(input: { mailboxId: $mailbox }) { userErrors { message } } }";

/// A query to begin with.
const FIRST_QUERY: &str = "{ deals(first: 5, orderBy: { field: LAST_ACTIVITY_AT }) { nodes { title stage { name } responsible { name }
  timeline(last: 5) { nodes { __typename at actor { name } ... on EmailReceived { email { subject from { address } } } } } } } }";

/// Signals that end the demo.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// What one run of the demo holds.
struct Demo<'a, I> {
    options: &'a DemoOptions,
    installation: &'a mut I,
    screen: &'a mut Screen,
    company: Company,
    tally: Tally,
    started: Instant,
}

/// The installation once it plays the company.
struct Stage {
    post: Post,
    token: String,
    ids: Ids,
    live: Live,
    events: Receiver<Value>,
}

/// Plays the demo. Exit code 0: every delivered mail has an outcome; 1: something was lost; 130: stopped before the
/// live part, or before the last mails were accounted for.
///
/// # Errors
/// When a part can't be started or the installation refuses something.
pub async fn run<I: Installation>(
    options: &DemoOptions,
    installation: &mut I,
    screen: &mut Screen,
) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let own_folder = match options.data_dir {
        Some(_) => None,
        None => Some(PrivateFolder::create("demo").context("making a folder for the demo's data")?),
    };
    let data_dir = own_folder
        .as_ref()
        .map(PrivateFolder::path)
        .or(options.data_dir.as_deref());
    let data_dir = data_dir.context("the demo has no folder")?.to_owned();
    std::fs::create_dir_all(&data_dir).context("making a folder for the demo's data")?;
    let company = Company::from_seed(options.seed);
    let mut demo = Demo {
        options,
        installation,
        screen,
        company,
        tally: Tally::default(),
        started: Instant::now(),
    };
    let played = demo.play(&data_dir, &mut stop).await;
    // Even after an error: whatever was started is stopped before the folder goes.
    let stopped = demo.installation.stop().await;
    // The mail server goes last: Mailroom's connections to it have ended by then.
    let (code, _stage) = played?;
    stopped.context("stopping the server")?;
    Ok(code)
}

impl<I: Installation> Demo<'_, I> {
    async fn play(
        &mut self,
        data_dir: &Path,
        stop: &mut Stop,
    ) -> anyhow::Result<(ExitCode, Option<Stage>)> {
        let staged = tokio::select! {
            staged = self.set_up(data_dir) => Some(staged?),
            () = stop.told() => None,
        };
        let Some(mut stage) = staged else {
            self.screen.line("Stopped before the live part.");
            self.print_summary(None, true);
            return Ok((ExitCode::from(130), None));
        };
        self.live(&mut stage, stop).await?;
        self.screen.line("");
        self.screen
            .line("Waiting for the last mails. Ctrl-C skips that.");
        let is_skipped = tokio::select! {
            waited = self.wait_for_the_last(&stage) => {
                waited?;
                false
            }
            () = stop.told() => true,
        };
        let version = stage
            .post
            .dovecot()
            .map(|dovecot| format!("Dovecot {}", dovecot.version()));
        if is_skipped {
            // Nobody asked what became of the last mails: that is not known, and so no loss.
            self.screen
                .line("Skipped: what became of the last mails was not asked.");
            self.print_summary(version.as_deref(), true);
            return Ok((ExitCode::from(130), Some(stage)));
        }
        self.name_troubles();
        self.print_summary(version.as_deref(), false);
        let is_lossless = self.tally.missing().is_empty();
        let code = if is_lossless {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
        Ok((code, Some(stage)))
    }

    /// Everything up to the live part.
    async fn set_up(&mut self, data_dir: &Path) -> anyhow::Result<Stage> {
        self.screen
            .heading("Mailroom demo: Tarn & Vale, makers of espresso machines");
        let addresses = self
            .company
            .mailboxes
            .iter()
            .map(Mailbox::address)
            .collect();
        let (post, why_not) = Post::open(addresses).await?;
        if let Some(dovecot) = post.dovecot() {
            let (version, port) = (dovecot.version(), dovecot.imap_port());
            self.screen.line(&format!(
                "Mail server: Dovecot {version}, IMAP on 127.0.0.1:{port}"
            ));
        }
        if let Some(reason) = why_not {
            self.screen.warning(&format!(
                "No mail server, so the same mail comes from files: {reason}"
            ));
        }
        self.set_up_with(data_dir, post).await
    }

    /// The same once it is clear which way mail takes.
    async fn set_up_with(&mut self, data_dir: &Path, post: Post) -> anyhow::Result<Stage> {
        let url = self
            .installation
            .start(self.options, data_dir)
            .await
            .context("starting Mailroom")?;
        let token = self.make_administrator().await?;
        let mut ids = make_company(self.installation, &token, &self.company)
            .await
            .context("making the company")?;
        self.screen.line(&self.company.told());
        let (history, live) = correspondence(&self.company, self.options.seed, clock::now());
        if matches!(post, Post::Dovecot(_)) {
            self.deliver(&post, history.clone(), false).await?;
        }
        let server = post.dovecot().map(|dovecot| MailServer {
            imap_port: dovecot.imap_port(),
            password: dovecot.password(),
        });
        connect_mailboxes(self.installation, &token, &self.company, &mut ids, server)
            .await
            .context("connecting the mailboxes")?;
        if matches!(post, Post::Files) {
            self.deliver(&post, history, false).await?;
        }
        self.screen.line(&format!(
            "History: {} mails of three weeks are delivered",
            self.tally.delivered_count()
        ));
        self.await_history(&token, &ids).await?;
        let events = self.follow(&token).await?;
        self.introduce(&url, &token).await?;
        Ok(Stage {
            post,
            token,
            ids,
            live,
            events,
        })
    }

    /// Follows the timeline; returns once the subscription says that from here on nothing is missed.
    async fn follow(&mut self, token: &str) -> anyhow::Result<Receiver<Value>> {
        let request = Request {
            document: TIMELINE.to_owned(),
            variables: json!({}),
        };
        let mut events = self
            .installation
            .subscribe(token, request)
            .await
            .context("following the timeline")?;
        let is_live = async {
            while let Some(event) = events.recv().await {
                let kind = event
                    .pointer("/data/timeline/__typename")
                    .and_then(Value::as_str);
                if kind == Some("CaughtUp") {
                    return Ok(());
                }
                if let Some(errors) = event.get("errors") {
                    bail!("the subscription says: {errors}");
                }
            }
            bail!("the subscription ended before it began");
        };
        let patience = Duration::from_secs(SUBSCRIBE_SECONDS_MAX);
        tokio::time::timeout(patience, is_live)
            .await
            .context("the subscription says nothing")??;
        Ok(events)
    }

    async fn make_administrator(&mut self) -> anyhow::Result<String> {
        let first = self
            .company
            .people
            .iter()
            .find(|person| person.is_administrator);
        let first = first.context("the company has no administrator")?;
        self.installation
            .make_administrator(first.name, &first.address())
            .await
            .context("making an administrator")
    }

    async fn deliver(
        &mut self,
        post: &Post,
        letters: Vec<Letter>,
        is_live: bool,
    ) -> anyhow::Result<()> {
        // Counted before it is sent: a mail can be on the timeline before the mail server has answered us.
        let now = is_live.then(Instant::now);
        for letter in &letters {
            // Only the Inbox tells of new mail by itself, so only its way to the timeline says something.
            self.tally
                .deliver(letter, now.filter(|_| letter.folder.is_none()));
        }
        post.deliver(self.installation, letters)
            .await
            .context("delivering mail")
    }

    /// Waits until the history is judged.
    async fn await_history(&mut self, token: &str, ids: &Ids) -> anyhow::Result<()> {
        self.wait_for_outcomes(token, ids, HISTORY_SECONDS_MAX)
            .await?;
        let (judged, all) = (self.tally.recorded_count(), self.tally.delivered_count());
        let saved = self
            .tally
            .outcomes()
            .get(EmailOutcome::Saved.as_text())
            .copied()
            .unwrap_or(0);
        let seconds = self.started.elapsed().as_secs();
        self.screen.line(&format!(
            "Mailroom has judged {judged} of {all}, {saved} saved, after {seconds} s"
        ));
        Ok(())
    }

    /// Tells a person where to look and with which tokens.
    async fn introduce(&mut self, url: &str, token: &str) -> anyhow::Result<()> {
        self.screen.line("");
        self.screen.heading(&format!("GraphiQL: {url}/graphiql"));
        self.screen.line(&format!(
            "  header  {{ \"Authorization\": \"Bearer {token}\" }}"
        ));
        self.screen.line(&format!(
            "  query   {}",
            FIRST_QUERY.replace('\n', "\n          ")
        ));
        self.screen.line("Tokens to compare what each may see:");
        for login in self.company.guides() {
            let Some(person) = self.company.person(login) else {
                continue;
            };
            let role = person.role.unwrap_or("Administrator");
            let theirs = if person.is_administrator {
                token.to_owned()
            } else {
                let address = format!("{login}@{DOMAIN}");
                self.installation
                    .make_token(&address)
                    .await
                    .with_context(|| format!("making a token for {address}"))?
            };
            self.screen
                .line(&format!("  {:<22} {:<15} {theirs}", person.name, role));
        }
        self.screen.line("");
        let end = match self.options.seconds {
            Some(_) => "It ends by itself.",
            None => "Ctrl-C stops everything.",
        };
        self.screen.heading(&format!("The live timeline. {end}"));
        Ok(())
    }

    /// One mail after the other, and the timeline as it comes.
    async fn live(&mut self, stage: &mut Stage, stop: &mut Stop) -> anyhow::Result<()> {
        let mut next = tokio::time::interval(Duration::from_millis(
            self.options.pause_milliseconds.max(1),
        ));
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let left = self.options.seconds.map(|seconds| {
            let total = Duration::from_secs(seconds);
            total
                .saturating_sub(self.started.elapsed())
                .max(Duration::from_secs(LIVE_SECONDS_MIN.min(seconds)))
        });
        let end = async move {
            match left {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        let mut is_open = true;
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                () = stop.told() => return Ok(()),
                event = stage.events.recv(), if is_open => match event {
                    Some(event) => self.show(&event),
                    None => {
                        is_open = false;
                        self.screen.warning("The subscription has ended; mail still goes on.");
                    }
                },
                _ = next.tick() => {
                    let letters = stage.live.next(clock::now());
                    self.deliver(&stage.post, letters, true).await?;
                }
            }
        }
    }

    fn show(&mut self, event: &Value) {
        if let Some(line) = TimelineLine::from_event(event) {
            if let Some(id) = &line.message_id {
                self.tally.on_timeline(id, Instant::now());
            }
            self.screen.timeline(&line);
        } else if let Some(errors) = event.get("errors") {
            self.screen
                .warning(&format!("The subscription says: {errors}"));
        }
    }

    async fn wait_for_the_last(&mut self, stage: &Stage) -> anyhow::Result<()> {
        self.hurry(stage).await?;
        self.wait_for_outcomes(&stage.token, &stage.ids, LAST_SECONDS_MAX)
            .await
    }

    /// Has every mailbox looked at now: only Inboxes tell of new mail, other folders wait for their turn.
    async fn hurry(&mut self, stage: &Stage) -> anyhow::Result<()> {
        if stage.post.dovecot().is_none() {
            return Ok(());
        }
        for id in stage.ids.mailboxes.values() {
            let mut api = Api {
                installation: &mut *self.installation,
                token: &stage.token,
            };
            api.ask(SYNC, json!({ "mailbox": id })).await?;
        }
        Ok(())
    }

    /// Asks until each delivered mail has its outcome, or so many seconds have passed.
    async fn wait_for_outcomes(
        &mut self,
        token: &str,
        ids: &Ids,
        seconds_max: u64,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(seconds_max);
        let mut ask = tokio::time::interval(Duration::from_millis(ASK_MILLISECONDS));
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ask.tick().await;
            self.ask_outcomes(token, ids).await?;
            if self.tally.missing().is_empty() || Instant::now() > deadline {
                return Ok(());
            }
        }
    }

    /// Reads what became of each mail in each mailbox.
    async fn ask_outcomes(&mut self, token: &str, ids: &Ids) -> anyhow::Result<()> {
        for (address, id) in &ids.mailboxes {
            let mut after: Option<String> = None;
            loop {
                let mut api = Api {
                    installation: &mut *self.installation,
                    token,
                };
                let data = api
                    .ask(OUTCOMES, json!({ "mailbox": id, "after": after }))
                    .await?;
                let page = data.pointer("/mailbox/emails").cloned().unwrap_or_default();
                let emails = page
                    .get("nodes")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                for email in &emails {
                    let outcome = EmailOutcome::from_text(&text_at(email, "/outcome")?);
                    let id = email
                        .get("messageId")
                        .and_then(Value::as_str)
                        .map(bare_message_id);
                    if let (Some(id), Some(outcome)) = (id, outcome) {
                        self.tally.record(address, id, outcome);
                    }
                }
                let has_next = page
                    .pointer("/pageInfo/hasNextPage")
                    .and_then(Value::as_bool);
                if has_next != Some(true) {
                    break;
                }
                after = Some(text_at(&page, "/pageInfo/endCursor")?);
            }
        }
        Ok(())
    }

    /// Names what was lost or became something else than foreseen.
    fn name_troubles(&mut self) {
        for (mailbox, id) in self.tally.missing().into_iter().take(NAMED_MAX) {
            self.screen.warning(&format!("Lost: {id} in {mailbox}"));
        }
        for (subject, outcome) in self.tally.unexpected().into_iter().take(NAMED_MAX) {
            self.screen.warning(&format!(
                "Unexpected: {} for {subject:?}",
                outcome.as_text()
            ));
        }
    }

    /// The account, for people and in one last line for programs.
    fn print_summary(&mut self, mail_server: Option<&str>, is_interrupted: bool) {
        let delivered = self.tally.delivered_count();
        let saved = self
            .tally
            .outcomes()
            .get(EmailOutcome::Saved.as_text())
            .copied()
            .unwrap_or(0);
        let lost = self.tally.missing().len();
        self.screen.heading(&if is_interrupted {
            format!("Delivered {delivered}, saved to the CRM {saved}, not asked about {lost}")
        } else {
            format!("Delivered {delivered}, saved to the CRM {saved}, lost {lost}")
        });
        for (outcome, count) in self.tally.outcomes() {
            self.screen.line(&format!("  {outcome:<20} {count:>5}"));
        }
        if let Some((median, longest)) = self.tally.delays_milliseconds() {
            self.screen.line(&format!(
                "  From delivery to timeline: median {median} ms, at most {longest} ms"
            ));
        }
        let summary = self.tally.summary(
            mail_server,
            self.started.elapsed().as_secs(),
            is_interrupted,
        );
        self.screen.line(&summary.to_string());
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
