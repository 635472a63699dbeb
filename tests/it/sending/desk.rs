//! A desk that mail is written at: a mailbox over scripted servers, a client with a deal, and what tests do there.

use crate::support::app::{TestApp, text};
use crate::support::imap_server::ImapServer;
use crate::support::smtp_server::SmtpServer;
use mailroom::clock;
use mailroom::model::topic::Topic;
use mailroom::store::sql::sql;
use mailroom::store::{Store, StoreError};
use serde_json::{Value, json};

pub const ADDRESS: &str = "sales@ours.example";
pub const CLIENT: &str = "cleo@client.example";

/// What is asked of a draft.
pub const DRAFT: &str = "id kind state subject bodyText bodyHtml version tries messageId sendAt sentAt mayHaveGoneOut from { name address }
  to { name address } cc { address } bcc { address } item { id } original { id } email { id direction outcome links { item { id } } }
  failures { recipient reason code } attachments { id name mediaType size isUploaded }";

pub struct Desk {
    pub imap: ImapServer,
    pub smtp: SmtpServer,
    pub mailbox: String,
    pub contact: String,
    pub deal: String,
}

impl Desk {
    /// Set up by the administrator, whose mailbox it is.
    pub async fn new(app: &TestApp) -> Self {
        let imap = ImapServer::start("IDLE SPECIAL-USE LIST-EXTENDED");
        let smtp = SmtpServer::start();
        let token = &app.admin;
        let input = json!({ "name": "Cleo Client", "addresses": [CLIENT] });
        let made = app
            .make(token, "createContact", input, "contact { id }")
            .await;
        let contact = text(&made["contact"]["id"]);
        let input = json!({ "title": "Ten machines", "contactIds": [contact] });
        let made = app.make(token, "createDeal", input, "deal { id }").await;
        let deal = text(&made["deal"]["id"]);
        let input = json!({
            "address": ADDRESS,
            "imap": { "host": "127.0.0.1", "port": imap.port(), "security": "PLAIN" },
            "smtp": { "host": "127.0.0.1", "port": smtp.port(), "security": "PLAIN" },
            "secret": { "password": "secret" },
            "history": { "everything": true },
        });
        let made = app
            .make(
                token,
                "connectMailbox",
                input,
                "mailbox { id viewerCanSend }",
            )
            .await;
        assert_eq!(made["mailbox"]["viewerCanSend"], true);
        let mailbox = text(&made["mailbox"]["id"]);
        let query = "query ($id: ID!) { mailbox(id: $id) { sync { stage } } }";
        app.until(token, (query, json!({ "id": mailbox })), |data| {
            data["mailbox"]["sync"]["stage"] == "WATCHING"
        })
        .await;
        Self {
            imap,
            smtp,
            mailbox,
            contact,
            deal,
        }
    }

    /// Begins a new mail to somebody, saved on the deal; its id.
    pub async fn draft(&self, app: &TestApp, to: &str, subject: &str) -> String {
        let input = json!({
            "mailboxId": self.mailbox, "itemId": self.deal, "to": [{ "address": to }], "subject": subject,
            "bodyText": format!("About {subject}.\n.\nBye"),
        });
        let made = app
            .make(&app.admin, "createDraft", input, "draft { id }")
            .await;
        text(&made["draft"]["id"])
    }

    /// Sends a draft at once.
    pub async fn send(&self, app: &TestApp, draft: &str) {
        let input = json!({ "draftId": draft, "undoSeconds": 0 });
        app.make(&app.admin, "sendEmail", input, "draft { id }")
            .await;
    }

    /// A mail that comes in from the client.
    pub fn receive(&self, id: &str, subject: &str) {
        let raw = crate::spine::mail(
            &format!("Cleo Client <{CLIENT}>"),
            &format!("{ADDRESS}, Dora <dora@client.example>"),
            subject,
            id,
        );
        let at = clock::now().seconds();
        self.imap.state().folder("INBOX").add(raw, at);
    }

    /// The mailbox's email with this subject, once it is there.
    pub async fn email(&self, app: &TestApp, subject: &str) -> Value {
        let query = "query ($id: ID!) { mailbox(id: $id) { emails(first: 100) { nodes { id subject outcome direction } } } }";
        let variables = json!({ "id": self.mailbox });
        let found = |data: &Value| {
            let nodes = data["mailbox"]["emails"]["nodes"]
                .as_array()
                .unwrap()
                .clone();
            nodes.into_iter().find(|email| email["subject"] == subject)
        };
        let data = app
            .until(&app.admin, (query, variables), |data| found(data).is_some())
            .await;
        found(&data).unwrap()
    }

    /// What the deal's timeline tells of mail: kinds, with states.
    pub async fn told(&self, app: &TestApp) -> Vec<String> {
        let query = "query ($id: ID!) { deal(id: $id) { timeline(first: 100) { nodes { __typename
          ... on SendingChanged { state } } } } }";
        let data = app
            .data(&app.admin, query, json!({ "id": self.deal }))
            .await;
        let nodes = data["deal"]["timeline"]["nodes"]
            .as_array()
            .unwrap()
            .clone();
        nodes
            .iter()
            .filter_map(|node| match node["__typename"].as_str().unwrap() {
                "SendingChanged" => Some(text(&node["state"])),
                "EmailSent" => Some("EmailSent".to_owned()),
                _ => None,
            })
            .collect()
    }
}

/// The draft as it is now.
pub async fn seen(app: &TestApp, draft: &str) -> Value {
    let query = format!("query ($id: ID!) {{ node(id: $id) {{ ... on Draft {{ {DRAFT} }} }} }}");
    app.data(&app.admin, &query, json!({ "id": draft })).await["node"].clone()
}

/// The draft, once it is in this state.
pub async fn until_state(app: &TestApp, draft: &str, state: &str) -> Value {
    let query = format!("query ($id: ID!) {{ node(id: $id) {{ ... on Draft {{ {DRAFT} }} }} }}");
    let data = app
        .until(&app.admin, (&query, json!({ "id": draft })), |data| {
            data["node"]["state"] == state
        })
        .await;
    data["node"].clone()
}

/// What waits is due now: time is not what is tested.
pub fn hurry(store: &Store) {
    let hurry = || {
        store.write_now(clock::now(), |tx| {
            // Those alone that are not hurried yet: thousands may wait.
            sql("UPDATE drafts SET due_at = 0 WHERE state = 'QUEUED' AND due_at <> 0")
                .run(tx.conn)?;
            sql("UPDATE drafts SET handed_over_at = 0 WHERE handed_over_at <> 0").run(tx.conn)?;
            tx.wake(Topic::Sending);
            Ok::<_, StoreError>(())
        })
    };
    // It touches many drafts at once, in another order than the worker that sends them.
    while let Err(error) = hurry() {
        assert!(matches!(error, StoreError::Deadlock(_)), "{error}");
    }
}
