//! Connecting a mailbox (R1, R2, R4): the connection is tried before anything is saved, and what is given with it
//! (settings, folders, history) is in force before the first mail is judged.

use super::mail_secret::MailSecret;
use super::mailbox_sending;
use super::mailbox_settings::{self, SettingsChange, default_settings};
use super::{ActionError, ActionResult, Actions, acting, audit, idempotency};
use crate::mail::MailError;
use crate::mail::address::AddressKey;
use crate::mail::hosts::HostPolicy;
use crate::mail::imap::{self, Compress, ListedFolder, Target};
use crate::mail::tls::TlsTrust;
use crate::model::mailbox::{FolderRole, MailServer, SyncStage};
use crate::model::people::Viewer;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::topic::Topic;
use crate::model::{MailboxId, Time, UserId};
use crate::store::mailbox_writes::{self, NewMailbox};
use crate::store::{StoreError, Tx, mailboxes};
use std::sync::Arc;
use std::time::Duration;

/// How mail servers are reached: whom to trust, where one may go. Cheap to clone.
#[derive(Clone)]
pub struct MailAccess {
    pub trust: TlsTrust,
    pub hosts: Arc<HostPolicy>,
}

/// Somebody waits for the answer: no step may take longer.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// How far back a new mailbox is synced where nothing is said.
const HISTORY_DAYS: i64 = 30;
/// More days than this is everything.
const HISTORY_DAYS_MAX: i64 = 36_500;

/// How far back the backfill goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    Days(i64),
    Since(Time),
    Everything,
}

impl History {
    /// Refuses days that can't be.
    ///
    /// # Errors
    /// `BAD_INPUT`.
    pub fn check(self) -> ActionResult<()> {
        match self {
            Self::Days(days) if !(0..=HISTORY_DAYS_MAX).contains(&days) => {
                Err(bad("history", "Days must be from 0 to 36500."))
            }
            _ => Ok(()),
        }
    }

    /// The moment from which on it goes; `None`: everything.
    pub const fn since(self, now: Time) -> Option<Time> {
        match self {
            Self::Days(days) => Some(now.plus_seconds(-days * 86_400)),
            Self::Since(time) => Some(time),
            Self::Everything => None,
        }
    }
}

/// What folders are for, by path; `None`: as the server says.
#[derive(Debug, Clone, Default)]
pub struct FolderPaths {
    pub spam: Option<String>,
    pub inbox: Option<String>,
    pub sent: Option<String>,
    pub trash: Option<String>,
    pub drafts: Option<String>,
    pub do_not_sync: Vec<String>,
}

/// A mailbox to connect. It has no `Debug`: it holds a secret.
#[derive(Clone)]
pub struct ConnectMailbox {
    pub address: String,
    /// `None`: the address.
    pub login: Option<String>,
    pub imap: MailServer,
    pub smtp: Option<MailServer>,
    pub secret: MailSecret,
    /// `None`: the viewer. Another user's: administrators only.
    pub connector_id: Option<UserId>,
    pub history: Option<History>,
    pub settings: SettingsChange,
    pub folders: FolderPaths,
}

/// Connects a mailbox.
///
/// # Errors
/// `MAILBOX_…` with the step that failed (nothing is saved then), `MAILBOX_EXISTS`, `BAD_INPUT`, `FORBIDDEN`.
pub async fn connect(
    actions: &Actions,
    viewer: &Viewer,
    input: ConnectMailbox,
    key: Option<String>,
    now: Time,
) -> ActionResult<MailboxId> {
    let address = check(viewer, &input)?;
    // The secret stays out of what is hashed: the hash is kept.
    let hash = idempotency::input_hash(&(
        input.address.as_str(),
        input.login.as_deref(),
        input.imap.host.as_str(),
        input.connector_id,
        &input.settings,
    ))?;
    let login = input.login.clone().unwrap_or_else(|| input.address.clone());
    let (access, secret) = (actions.mail.clone(), input.secret.clone());
    let mut target = target(actions, &input, login.clone());
    let (secret, listed) = tokio::task::spawn_blocking(move || {
        let secret = secret.made_ready(&access, now).map_err(|error| Refusal {
            field: vec!["secret".to_owned(), "oauth".to_owned()],
            ..refusal(&error)
        })?;
        target.secret = secret.for_login();
        Ok::<_, ActionError>((secret, try_out(&target)?))
    })
    .await
    .map_err(|error| StoreError::Database(error.to_string()))??;
    if let Some(server) = input.smtp.clone() {
        let with = (login.clone(), secret.for_login());
        mailbox_sending::try_out(actions, server, with).await?;
    }
    let folders = planned_folders(&listed, &input.folders)?;
    let sealer = actions.sealer.clone();
    actions
        .write_as(viewer, now, move |tx, viewer| {
            let ids =
                idempotency::once(tx, viewer, "connectMailbox", key.as_deref(), &hash, |tx| {
                    let connector = input.connector_id.unwrap_or(viewer.user_id);
                    acting::active_user(tx, connector, "connectorId")?;
                    let id = insert(tx, &input, (&address, login, connector))?;
                    secret.save(tx, &sealer, id)?;
                    put_folders(tx, id, &folders)?;
                    mailbox_writes::put_sync_state(tx, id, SyncStage::Connecting, None)?;
                    tx.wake(Topic::Sync(id));
                    tx.rights_changed()?;
                    let detail =
                        serde_json::json!({ "connector": connector.0, "address": input.address });
                    let about = format!("mailbox {}", id.0);
                    audit::record(tx, Some(viewer.user_id), "connectMailbox", &about, &detail)?;
                    Ok(vec![id.0])
                })?;
            Ok(MailboxId(idempotency::first(&ids)?))
        })
        .await
}

fn bad(field: &str, message: &str) -> ActionError {
    Refusal::at(ErrorCode::BadInput, field, message).into()
}

fn check(viewer: &Viewer, input: &ConnectMailbox) -> ActionResult<AddressKey> {
    if let Some(connector) = input.connector_id
        && connector != viewer.user_id
        && !viewer.is_administrator
    {
        return Err(acting::forbidden("connectorId").into());
    }
    input.secret.check("secret")?;
    if let Some(history) = input.history {
        history.check()?;
    }
    AddressKey::parse(&input.address).ok_or_else(|| bad("address", "This is not an email address."))
}

fn target(actions: &Actions, input: &ConnectMailbox, login: String) -> Target {
    Target {
        server: input.imap.clone(),
        login,
        secret: input.secret.for_login(),
        trust: actions.mail.trust.clone(),
        hosts: actions.mail.hosts.clone(),
        compress: Compress::default(),
        connect_timeout: STEP_TIMEOUT,
        read_timeout: STEP_TIMEOUT,
    }
}

/// Connects, logs in and lists, and tells which step failed.
fn try_out(target: &Target) -> ActionResult<Vec<ListedFolder>> {
    let listed = imap::connect(target).and_then(|mut session| {
        let listed = session.list_folders()?;
        session.log_out();
        Ok(listed)
    });
    listed.map_err(|error| refusal(&error).into())
}

fn refusal(error: &MailError) -> Refusal {
    let refusal = refusal_at("imap", error);
    match refusal.code {
        ErrorCode::MailboxLogin => Refusal {
            field: vec!["secret".to_owned()],
            ..refusal
        },
        _ => refusal,
    }
}

/// Which step failed, and what to do about it.
pub(super) fn refusal_at(field: &str, error: &MailError) -> Refusal {
    let code = ErrorCode::from_text(error.step().error_code()).unwrap_or(ErrorCode::MailboxConnect);
    Refusal::at(code, field, format!("{error}. {}", error.advice()))
}

/// A folder with what it is for and whether it is synced.
struct PlannedFolder {
    path: String,
    role: Option<FolderRole>,
    is_synced: bool,
    is_spam: bool,
}

fn planned_folders(
    listed: &[ListedFolder],
    paths: &FolderPaths,
) -> ActionResult<Vec<PlannedFolder>> {
    let given = [
        (&paths.inbox, Some(FolderRole::Inbox), "inbox"),
        (&paths.sent, Some(FolderRole::Sent), "sent"),
        (&paths.trash, Some(FolderRole::Trash), "trash"),
        (&paths.drafts, Some(FolderRole::Drafts), "drafts"),
        (&paths.spam, None, "spam"),
    ];
    let selectable = || listed.iter().filter(|folder| folder.is_selectable);
    let is_listed = |path: &str| selectable().any(|folder| folder.path == path);
    let named = given
        .iter()
        .filter_map(|(path, _role, field)| path.as_deref().map(|path| (path, *field)));
    let unsynced = paths
        .do_not_sync
        .iter()
        .map(|path| (path.as_str(), "doNotSync"));
    for (path, field) in named.chain(unsynced) {
        if !is_listed(path) {
            return Err(Refusal {
                code: ErrorCode::BadInput,
                message: format!("The server lists no folder {path:?}."),
                field: vec!["folders".to_owned(), field.to_owned()],
            }
            .into());
        }
    }
    Ok(selectable()
        .map(|folder| {
            let role = role_of(folder, &given);
            PlannedFolder {
                path: folder.path.clone(),
                role,
                is_synced: !folder.is_view && !paths.do_not_sync.contains(&folder.path),
                is_spam: match &paths.spam {
                    Some(path) => *path == folder.path,
                    None => role == Some(FolderRole::Junk),
                },
            }
        })
        .collect())
}

/// A role that was given to a path goes before the server's word, and is taken from the folder that the server meant.
fn role_of(
    folder: &ListedFolder,
    given: &[(&Option<String>, Option<FolderRole>, &str)],
) -> Option<FolderRole> {
    let is_given = |role: FolderRole| {
        given
            .iter()
            .any(|(path, of, _field)| path.is_some() && *of == Some(role))
    };
    given
        .iter()
        .find(|(path, role, _field)| role.is_some() && path.as_ref() == Some(&folder.path))
        .and_then(|(_path, role, _field)| *role)
        .or_else(|| folder.role.filter(|role| !is_given(*role)))
}

fn insert(
    tx: &mut Tx<'_>,
    input: &ConnectMailbox,
    (address, login, connector): (&AddressKey, String, UserId),
) -> ActionResult<MailboxId> {
    let settings = mailbox_settings::changed(
        tx.conn,
        &default_settings(connector),
        input.settings.clone(),
    )?;
    let history = input.history.unwrap_or(History::Days(HISTORY_DAYS));
    let history_since = history.since(tx.now);
    if mailboxes::find_connected(tx.conn, address.as_str())?.is_some() {
        return Err(Refusal::at(
            ErrorCode::MailboxExists,
            "address",
            "This mailbox is connected already.",
        )
        .into());
    }
    let new = NewMailbox {
        address: input.address.trim().to_owned(),
        address_key: address.as_str().to_owned(),
        connector_id: connector,
        imap: input.imap.clone(),
        smtp: input.smtp.clone(),
        login,
        history_since,
        settings,
    };
    Ok(mailbox_writes::insert(tx, &new)?)
}

fn put_folders(
    tx: &mut Tx<'_>,
    id: MailboxId,
    folders: &[PlannedFolder],
) -> Result<(), StoreError> {
    let listed: Vec<mailbox_writes::ListedFolder> = folders
        .iter()
        .map(|folder| mailbox_writes::ListedFolder {
            path: folder.path.clone(),
            role: folder.role,
            is_synced: folder.is_synced,
        })
        .collect();
    mailbox_writes::put_folders(tx, id, &listed)?;
    let spam = folders.iter().find(|folder| folder.is_spam);
    let kept = mailboxes::folders(tx.conn, id)?;
    let spam = spam.and_then(|spam| kept.iter().find(|folder| folder.path == spam.path));
    mailbox_writes::update_spam_folder(tx, id, spam.map(|folder| folder.id))
}
