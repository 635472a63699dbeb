//! The demo's course, with a made-up installation that takes its mail from files.

use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

/// Answers as an installation that saves whatever it is given, less what it is told to lose.
#[derive(Default)]
struct MadeUp {
    asked: BTreeMap<String, usize>,
    mails: Vec<(String, String)>,
    loses_every: Option<usize>,
    imported: usize,
    events: Option<tokio::sync::mpsc::Sender<Value>>,
    has_stopped: bool,
}

impl Installation for MadeUp {
    async fn start(&mut self, _: &DemoOptions, data_dir: &Path) -> anyhow::Result<String> {
        assert!(data_dir.is_dir());
        Ok("http://127.0.0.1:1".to_owned())
    }

    async fn make_administrator(&mut self, _: &str, address: &str) -> anyhow::Result<String> {
        self.make_token(address).await
    }

    async fn make_token(&mut self, address: &str) -> anyhow::Result<String> {
        Ok(format!("token-of-{address}"))
    }

    async fn execute(&mut self, _: &str, request: Request) -> anyhow::Result<Value> {
        if request.document.contains("mailbox(id:") {
            let mailbox = request.variables["mailbox"].as_str().unwrap();
            let nodes: Vec<Value> = self
                .mails
                .iter()
                .filter(|(address, _)| address == mailbox)
                .map(|(_, id)| json!({ "messageId": format!("<{id}>"), "outcome": "SAVED" }))
                .collect();
            let page =
                json!({ "nodes": nodes, "pageInfo": { "hasNextPage": false, "endCursor": null } });
            return Ok(json!({ "data": { "mailbox": { "emails": page } } }));
        }
        if request.document.contains("dealStages") {
            let names = ["New", "Preparation", "Proposal", "Won", "Lost"];
            let stages: Vec<Value> = names
                .iter()
                .map(|name| json!({ "id": name, "name": name }))
                .collect();
            return Ok(json!({ "data": { "dealStages": stages } }));
        }
        if request.document.contains("viewer") {
            return Ok(json!({ "data": { "viewer": { "id": "admin" } } }));
        }
        // `mutation (…) { verb(input: $input) { noun { id } … } }`
        let body = request.document.split(") { ").nth(1).unwrap_or_default();
        let verb = body.split('(').next().unwrap_or_default().to_owned();
        let noun = request
            .document
            .split("{ ")
            .nth(2)
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_default();
        let count = self.asked.entry(verb.clone()).or_default();
        *count += 1;
        Ok(
            json!({ "data": { verb.as_str(): { noun: { "id": format!("{noun}-{count}") }, "userErrors": [] } } }),
        )
    }

    async fn subscribe(&mut self, _: &str, _: Request) -> anyhow::Result<Receiver<Value>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1000);
        sender
            .send(json!({ "data": { "timeline": { "__typename": "CaughtUp", "cursor": "c" } } }))
            .await?;
        self.events = Some(sender);
        Ok(receiver)
    }

    async fn make_file_mailbox(
        &mut self,
        mailbox: &super::super::company::Mailbox,
    ) -> anyhow::Result<String> {
        Ok(mailbox.address())
    }

    async fn import(&mut self, address: &str, _: Option<&str>, raw: &[u8]) -> anyhow::Result<()> {
        self.imported += 1;
        if self
            .loses_every
            .is_some_and(|every| self.imported.is_multiple_of(every))
        {
            return Ok(());
        }
        let text = String::from_utf8_lossy(raw);
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("Message-ID: "))
            .unwrap();
        let id = bare_message_id(id).to_owned();
        if let Some(events) = &self.events {
            let entry = json!({
                "__typename": "EmailReceived", "at": "2026-02-03T09:05:07Z", "actor": null,
                "item": { "__typename": "Lead", "title": "A lead" },
                "email": { "subject": "Hello", "messageId": id },
            });
            events.send(json!({ "data": { "timeline": { "__typename": "EntryAdded", "entry": entry } } })).await?;
        }
        self.mails.push((address.to_owned(), id));
        Ok(())
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        self.has_stopped = true;
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays a demo of files alone, as where Dovecot is not installed.
fn play(installation: &mut MadeUp) -> (bool, Vec<String>) {
    let options = DemoOptions {
        seconds: Some(1),
        pause_milliseconds: 20,
        ..DemoOptions::default()
    };
    let sink = Sink::default();
    let mut screen = Screen::to(Box::new(sink.clone()), false);
    let folder = PrivateFolder::create("test").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let is_lossless = runtime.block_on(async {
        let mut stop = Stop::listen().unwrap();
        let mut demo = Demo {
            options: &options,
            installation,
            screen: &mut screen,
            company: Company::from_seed(1),
            tally: Tally::default(),
            started: Instant::now(),
        };
        let mut stage = demo.set_up_with(folder.path(), Post::Files).await.unwrap();
        demo.live(&mut stage, &mut stop).await.unwrap();
        demo.ask_outcomes(&stage.token, &stage.ids).await.unwrap();
        demo.name_troubles();
        demo.print_summary(None, false);
        demo.tally.missing().is_empty()
    });
    let text = String::from_utf8(sink.0.borrow().clone()).unwrap();
    (is_lossless, text.lines().map(str::to_owned).collect())
}

#[test]
fn the_whole_company_is_made_and_its_mail_accounted_for() {
    let mut installation = MadeUp::default();
    let (is_lossless, lines) = play(&mut installation);
    assert!(is_lossless);
    let asked = |verb: &str| installation.asked.get(verb).copied().unwrap_or(0);
    assert_eq!(
        (
            asked("createDepartment"),
            asked("createUser"),
            asked("createRole")
        ),
        (3, 11, 5)
    );
    assert_eq!(
        (
            asked("createContact"),
            asked("createDeal"),
            asked("createLead")
        ),
        (40, 30, 20)
    );
    assert_eq!(
        (
            asked("shareMailbox"),
            asked("updateCrmSettings"),
            asked("updateUser")
        ),
        (4, 1, 1)
    );
    let summary: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(summary["lost"], 0);
    assert_eq!(summary["delivered"], summary["recorded"]);
    assert!(summary["delivered"].as_u64().unwrap() > 260, "{summary}");
    assert!(
        summary["live"]["onTimeline"].as_u64().unwrap() > 5,
        "{summary}"
    );
    assert!(lines.iter().any(|line| line.contains("/graphiql")));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("token-of-amara.okafor@"))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("09:05:07  lead    A lead"))
    );
}

#[test]
fn a_lost_mail_is_named() {
    let mut installation = MadeUp {
        loses_every: Some(100),
        ..MadeUp::default()
    };
    let mut tally = Tally::default();
    let (letters, _) = correspondence(&Company::from_seed(1), 1, clock::now());
    for letter in &letters {
        tally.deliver(letter, None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(Post::Files.deliver(&mut installation, letters))
        .unwrap();
    for (address, id) in &installation.mails {
        tally.record(address, id, EmailOutcome::Saved);
    }
    assert_eq!(tally.missing().len(), installation.imported / 100);
}
