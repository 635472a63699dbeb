//! `mailroom reconcile`: mailboxes are compared with their servers, mail by mail (R9). Where a server or worker has a
//! mailbox, it is asked to; else the comparison is made here.
//! Not for: what a comparison is (that is `worker::sync`).

use super::say;
use crate::app::{App, AppError, Purpose};
use crate::clock;
use crate::config::Config;
use crate::model::mailbox::{Mailbox, Reconciliation};
use crate::model::{MailboxId, Time};
use crate::store::leases::{self, Fence};
use crate::store::{StoreError, mailbox_writes, mailboxes};
use crate::worker::supervisor::lease_name;
use crate::worker::sync::{self, Signals};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// A lease that is renewed every few seconds: another worker waits no longer where we are killed.
const LEASE_SECONDS: i64 = 30;
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long a server is waited for: it may be in the middle of a large mail.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Compares one mailbox, or all that are connected, with their servers, and prints what was missing on either side. Exit
/// code 1 where anything was, though it is put right.
pub async fn reconcile(config: Config, address: Option<String>) -> anyhow::Result<ExitCode> {
    let app = App::open(config, Purpose::Tool).await?;
    let mut wanted = app
        .store
        .read(mailboxes::connected)
        .await
        .map_err(AppError::from)?;
    if let Some(address) = &address {
        wanted.retain(|mailbox| mailbox.address.eq_ignore_ascii_case(address));
        if wanted.is_empty() {
            let message = format!("there is no connected mailbox {address}");
            return Err(AppError::Failed(message).into());
        }
    }
    let mut differs = false;
    for mailbox in &wanted {
        match compared(&app, mailbox.id).await {
            Ok(found) => differs |= tell(&app, mailbox, found).await?,
            Err(error) => {
                differs = true;
                say(&format!("{}: not compared: {error:#}", mailbox.address))?;
            }
        }
    }
    Ok(if differs {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn compared(app: &App, id: MailboxId) -> anyhow::Result<Reconciliation> {
    let asked = clock::now();
    app.store
        .write(asked, move |tx| mailbox_writes::ask_to_reconcile(tx, id))
        .await?;
    let holder = format!("reconcile-{:016x}", rand::random::<u64>());
    match claim(app, id, &holder).await? {
        Some(fence) => {
            let outcome = compare_here(app, id, fence, &holder).await;
            let name = lease_name(id);
            app.store
                .write(clock::now(), move |tx| leases::release(tx, &name, &holder))
                .await?;
            outcome?;
            made_since(app, id, asked)
                .await?
                .ok_or_else(|| anyhow::anyhow!("the sync ended before it"))
        }
        None => answered(app, id, asked).await,
    }
}

async fn claim(app: &App, id: MailboxId, holder: &str) -> Result<Option<Fence>, StoreError> {
    let (name, holder) = (lease_name(id), holder.to_owned());
    app.store
        .write(clock::now(), move |tx| {
            let number = leases::claim(tx, &name, &holder, LEASE_SECONDS)?;
            Ok(number.map(|number| Fence { name, number }))
        })
        .await
}

/// Syncs once, renewing the lease meanwhile.
async fn compare_here(app: &App, id: MailboxId, fence: Fence, holder: &str) -> anyhow::Result<()> {
    let services = app.sync_services();
    let signals = Arc::new(Signals::default());
    let told = Arc::clone(&signals);
    let mut thread = tokio::task::spawn_blocking(move || sync::once(&services, id, &fence, &told));
    loop {
        tokio::select! {
            ended = &mut thread => {
                ended??;
                return Ok(());
            }
            () = tokio::time::sleep(RENEW_EVERY) => {
                if claim(app, id, holder).await?.is_none() {
                    signals.stop();
                }
            }
        }
    }
}

/// The comparison that whoever has the mailbox makes.
async fn answered(app: &App, id: MailboxId, asked: Time) -> anyhow::Result<Reconciliation> {
    let answer = async {
        loop {
            if let Some(found) = made_since(app, id, asked).await? {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, answer)
        .await
        .map_err(|_late| anyhow::anyhow!("the server that syncs it did not answer in time"))?
}

async fn made_since(
    app: &App,
    id: MailboxId,
    asked: Time,
) -> Result<Option<Reconciliation>, StoreError> {
    let state = app
        .store
        .read(move |conn| mailboxes::sync_state(conn, id))
        .await?;
    Ok(state.reconciliation.filter(|found| found.at >= asked))
}

/// Prints what was found; whether anything was missing.
async fn tell(app: &App, mailbox: &Mailbox, found: Reconciliation) -> anyhow::Result<bool> {
    let address = &mailbox.address;
    if found.missing_here + found.missing_there == 0 {
        say(&format!("{address}: nothing is missing"))?;
        return Ok(false);
    }
    say(&format!(
        "{address}: {} missing here, {} missing on the server; put right",
        found.missing_here, found.missing_there
    ))?;
    let id = mailbox.id;
    let folders = app
        .store
        .read(move |conn| mailboxes::differences(conn, id))
        .await?;
    for folder in folders {
        for (side, uids) in [
            ("here", folder.missing_here),
            ("on the server", folder.missing_there),
        ] {
            if !uids.is_empty() {
                let uids: Vec<String> = uids.iter().map(i64::to_string).collect();
                say(&format!(
                    "  {}: {side}: UID {}",
                    folder.path,
                    uids.join(" ")
                ))?;
            }
        }
    }
    Ok(true)
}
