//! Mailroom in this process, as the demo needs it.

use super::data::user_with;
use super::demo::{DemoOptions, Installation, Request, company};
use crate::actions::import_mail::{ImportFolder, import_now, mailbox_for_files};
use crate::actions::people::{CreateUser, create_user_as_operator};
use crate::app::{self, App, Purpose, Running};
use crate::auth::Authenticator;
use crate::auth::accounts::{self, Accounts};
use crate::clock;
use crate::config::{Config, Given};
use crate::graphql::api::{ApiRequest, RequestId};
use crate::mail::mbox::StoredMail;
use crate::model::people::Session;
use crate::store::mailbox_writes;
use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Answers of a subscription that wait for the terminal.
const ANSWERS_WAITING: usize = 64;

/// A server and worker in this process.
#[derive(Default)]
pub struct InProcess {
    running: Option<(Running, Arc<Accounts>)>,
}

impl InProcess {
    fn running(&self) -> anyhow::Result<&(Running, Arc<Accounts>)> {
        self.running.as_ref().context("the server does not run")
    }

    fn app(&self) -> anyhow::Result<&App> {
        Ok(self.running()?.0.app())
    }

    async fn session(&self, token: &str) -> anyhow::Result<Session> {
        Ok(self.running()?.1.authenticate(token).await?)
    }

    fn request(request: Request) -> ApiRequest {
        let variables = match request.variables {
            Value::Object(map) => map,
            _ => serde_json::Map::new(),
        };
        ApiRequest {
            query: request.document,
            variables,
            ..ApiRequest::default()
        }
    }
}

impl Installation for InProcess {
    async fn start(&mut self, options: &DemoOptions, data_dir: &Path) -> anyhow::Result<String> {
        let config = Config::new(Given {
            data_dir: Some(data_dir.to_owned()),
            listen: Some(options.listen.to_string()),
            ..Given::default()
        })?;
        let app = App::open(config, Purpose::Run).await?;
        let running = app::serve(app).await?;
        let url = running.url.clone();
        let accounts = Arc::new(Accounts::new(
            running.app().store.clone(),
            &running.app().keys,
            &url,
        ));
        self.running = Some((running, accounts));
        Ok(url)
    }

    async fn make_administrator(&mut self, name: &str, address: &str) -> anyhow::Result<String> {
        let input = CreateUser {
            name: name.to_owned(),
            address: address.to_owned(),
            password: None,
            department_id: None,
            avatar_url: None,
            time_zone: None,
            is_administrator: true,
            role_ids: Some(Vec::new()),
        };
        create_user_as_operator(&self.app()?.actions, input, clock::now()).await?;
        self.make_token(address).await
    }

    async fn make_token(&mut self, address: &str) -> anyhow::Result<String> {
        let store = self.app()?.store.clone();
        let address = address.to_owned();
        tokio::task::spawn_blocking(move || {
            let user = user_with(&store, &address)?;
            anyhow::Ok(accounts::create_api_token(&store, user, clock::now())?)
        })
        .await?
    }

    async fn execute(&mut self, token: &str, request: Request) -> anyhow::Result<Value> {
        let session = self.session(token).await?;
        let api = self.running()?.0.api.clone().context("it serves no API")?;
        let answer = api
            .execute(Self::request(request), Some(session), RequestId::generate())
            .await;
        Ok(serde_json::from_str(&answer.body)?)
    }

    async fn subscribe(
        &mut self,
        token: &str,
        request: Request,
    ) -> anyhow::Result<mpsc::Receiver<Value>> {
        let session = self.session(token).await?;
        let api = self.running()?.0.api.clone().context("it serves no API")?;
        let mut answers =
            api.subscribe(Self::request(request), Some(session), RequestId::generate());
        let (send, receive) = mpsc::channel(ANSWERS_WAITING);
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                let Ok(value) = serde_json::from_str(&answer.body) else {
                    return;
                };
                if send.send(value).await.is_err() {
                    return;
                }
            }
        });
        Ok(receive)
    }

    async fn make_file_mailbox(&mut self, mailbox: &company::Mailbox) -> anyhow::Result<String> {
        let store = self.app()?.store.clone();
        let whole = |login: &str| format!("{login}@{}", company::DOMAIN);
        let (address, connector) = (mailbox.address(), whole(mailbox.connector));
        let queue: Vec<String> = mailbox.queue.iter().map(|login| whole(login)).collect();
        tokio::task::spawn_blocking(move || {
            let connector = user_with(&store, &connector)?;
            let queue = queue
                .iter()
                .map(|address| user_with(&store, address))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let id = mailbox_for_files(&store, &address, Some(connector), clock::now())?;
            store.write_now(clock::now(), |tx| {
                mailbox_writes::replace_queue(tx, id, &queue, 0)
            })?;
            anyhow::Ok(store.codec().seal_id("Mailbox", id.0))
        })
        .await?
    }

    async fn import(
        &mut self,
        address: &str,
        folder: Option<&str>,
        raw: &[u8],
    ) -> anyhow::Result<()> {
        let (store, raws) = (self.app()?.store.clone(), self.app()?.raw.clone());
        let (address, raw) = (address.to_owned(), raw.to_vec());
        let folder = ImportFolder::named(folder.unwrap_or("INBOX"));
        tokio::task::spawn_blocking(move || {
            let now = clock::now();
            let mailbox = mailbox_for_files(&store, &address, None, now)?;
            let mail = StoredMail {
                raw,
                date: Some(now),
                is_seen: Some(false),
            };
            let mut mails = std::iter::once(mail);
            import_now(&store, &raws, (mailbox, &folder), &mut mails, now)?;
            anyhow::Ok(())
        })
        .await?
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some((running, _accounts)) = self.running.take() {
            running.stop().await;
        }
        Ok(())
    }
}
