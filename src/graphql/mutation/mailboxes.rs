//! Mailboxes are connected, set up, shared, handed over, synced and disconnected.

use async_graphql::{Context, Enum, ID, InputObject, MaybeUndefined, Object, OneofObject, Result};

use super::{answer, changed, payload, refused};
use crate::actions::ActionResult;
use crate::actions::connect_mailbox::{self, ConnectMailbox, FolderPaths, History};
use crate::actions::mail_secret::{GivenGrant, Grant, MailSecret};
use crate::actions::mailbox_folders::{self, FoldersChange};
use crate::actions::mailbox_history;
use crate::actions::mailbox_settings::{self, SettingsChange};
use crate::actions::retry_email::{self, Retried};
use crate::actions::share_mailbox::{self, TransferMailbox};
use crate::graphql::context::Ask;
use crate::graphql::email::Email;
use crate::graphql::mailbox::{CreatedItem, ExistingClientRouting, Mailbox};
use crate::graphql::quarantine::QuarantinedMail;
use crate::graphql::scalars::DateTime;
use crate::model::mailbox::{MailSecurity as Security, MailServer};
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{MailboxId, PlacementId};

/// How a mail server is reached.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::mailbox::MailSecurity")]
pub enum MailSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS after a plain greeting; refused where the server has none.
    Starttls,
    /// No TLS; towards this machine itself only.
    Plain,
}

/// Where a mail server is.
#[derive(InputObject)]
pub struct MailServerInput {
    /// Its name or address.
    host: String,
    /// Its port; none: the usual one (IMAP 993, with STARTTLS or plain 143; SMTP 465, with STARTTLS 587, plain 25).
    port: Option<i64>,
    /// How it is reached.
    #[graphql(default_with = "MailSecurity::Tls")]
    security: MailSecurity,
}

/// What opens the mailbox.
#[derive(OneofObject)]
pub enum MailSecretInput {
    /// A password.
    #[graphql(secret)]
    Password(String),
    /// An OAuth2 access token alone: it is good until it expires.
    #[graphql(secret)]
    AccessToken(String),
    /// An OAuth2 grant, by which access tokens are made anew.
    #[graphql(secret)]
    Oauth(OAuthGrantInput),
}

/// What a mail provider gave for a mailbox (OAuth2), by which access tokens are made anew.
#[derive(InputObject)]
pub struct OAuthGrantInput {
    /// The access token; none: one is asked for at once.
    #[graphql(secret)]
    access_token: Option<String>,
    /// When the access token ends; none: it is used until the server refuses it.
    expires_at: Option<DateTime>,
    /// The refresh token.
    #[graphql(secret)]
    refresh_token: String,
    /// The id of the application that is registered with the provider.
    client_id: String,
    /// Its secret; none: it has none.
    #[graphql(secret)]
    client_secret: Option<String>,
    /// The https address of the provider's token server. It is vetted like a mail server's host.
    token_url: String,
}

/// How far back mail is synced.
#[derive(OneofObject)]
pub enum HistoryInput {
    /// So many days.
    Days(i64),
    /// Since this moment.
    Since(DateTime),
    /// Everything; only true makes sense.
    Everything(bool),
}

/// The CRM settings of a mailbox. Absent = unchanged (or the default), null = cleared; lists replace.
#[derive(InputObject, Default)]
pub struct MailboxSettingsInput {
    /// Whether client mail is saved by itself.
    crm_integration: MaybeUndefined<bool>,
    /// What incoming mail of an unknown client makes.
    incoming_creates: MaybeUndefined<CreatedItem>,
    /// What outgoing mail to an unknown client makes.
    outgoing_creates: MaybeUndefined<CreatedItem>,
    /// "Route emails from existing clients to assigned CRM managers".
    existing_client_routing: MaybeUndefined<ExistingClientRouting>,
    /// Whether a reply to a saved email stays on that email's open item, whatever the routing.
    replies_follow_thread: MaybeUndefined<bool>,
    /// Who gets new items, in turn: active users, at least one. A user who is named twice has two turns a round.
    queue_user_ids: MaybeUndefined<Vec<ID>>,
    /// The source of the items that its mail makes; null: none.
    source: MaybeUndefined<String>,
    /// Whether vCard attachments make contacts.
    vcard_contacts: MaybeUndefined<bool>,
    /// Whether mail that was read on the server is read here too, for those who have access to the mailbox and did not mark
    /// it themselves; on at first.
    read_state_follows_server: MaybeUndefined<bool>,
    /// Addresses, domains (`example.com`) and sub-domains (`*.example.com`) whose every mail makes a new lead.
    always_new_lead_for: MaybeUndefined<Vec<String>>,
    /// The first sync saves nothing older than this to the CRM; null: everything that is synced.
    save_since: MaybeUndefined<DateTime>,
}

/// What folders are for, by path, since ids are not known yet. Absent: as the server says.
#[derive(InputObject, Default)]
pub struct FolderPathsInput {
    /// Where spam goes: mail there is never saved by itself.
    spam: Option<String>,
    /// The Inbox.
    inbox: Option<String>,
    /// Sent mail.
    sent: Option<String>,
    /// Deleted mail.
    trash: Option<String>,
    /// Drafts.
    drafts: Option<String>,
    /// Folders that are not synced.
    do_not_sync: Option<Vec<String>>,
}

/// A mailbox to connect. The connection is tried before anything is saved; settings, folders and history are in force
/// before the first mail is judged.
#[derive(InputObject)]
pub struct ConnectMailboxInput {
    /// Its mail address.
    address: String,
    /// What to log in with; none: the address.
    login: Option<String>,
    /// Where its mail is read.
    imap: MailServerInput,
    /// Where mail is sent.
    smtp: Option<MailServerInput>,
    /// What opens it; kept sealed, never shown.
    secret: MailSecretInput,
    /// Whose mailbox it is; none: the viewer's. Another user's: administrators only.
    connector_id: Option<ID>,
    /// How far back its mail is synced.
    history: Option<HistoryInput>,
    /// Its CRM settings.
    settings: Option<MailboxSettingsInput>,
    /// What its folders are for.
    folders: Option<FolderPathsInput>,
    /// The same key and input give the same result.
    idempotency_key: Option<String>,
}

/// What changes about a mailbox's CRM settings.
#[derive(InputObject)]
pub struct UpdateMailboxSettingsInput {
    /// The mailbox.
    mailbox_id: ID,
    /// The version of the settings that was read; an older one is refused as `STALE`.
    expected_version: Option<i64>,
    /// The changes.
    settings: MailboxSettingsInput,
}

/// Whether a folder is synced.
#[derive(InputObject)]
pub struct FolderSyncInput {
    /// The folder.
    folder_id: ID,
    /// Whether it is synced from now on.
    is_synced: bool,
}

/// What changes about a mailbox's folders. Absent = unchanged, null = no folder.
#[derive(InputObject)]
pub struct UpdateMailboxFoldersInput {
    /// The mailbox.
    mailbox_id: ID,
    /// Where spam goes: mail there is never saved by itself; null: spam goes nowhere.
    spam_folder_id: MaybeUndefined<ID>,
    /// The Inbox; every mailbox has one.
    inbox_id: MaybeUndefined<ID>,
    /// Sent mail.
    sent_id: MaybeUndefined<ID>,
    /// Deleted mail.
    trash_id: MaybeUndefined<ID>,
    /// Drafts.
    drafts_id: MaybeUndefined<ID>,
    /// Which folders are synced; those not named stay as they are.
    sync: Option<Vec<FolderSyncInput>>,
}

/// Exactly who has access to a mailbox from now on, beside its connector.
#[derive(InputObject)]
pub struct ShareMailboxInput {
    /// The mailbox.
    mailbox_id: ID,
    /// Users.
    user_ids: Vec<ID>,
    /// Departments: what is given to one is given to those below it.
    #[graphql(default)]
    department_ids: Vec<ID>,
}

/// A mailbox to hand over.
#[derive(InputObject)]
pub struct TransferMailboxInput {
    /// The mailbox.
    mailbox_id: ID,
    /// The new connector.
    connector_id: ID,
    /// A new secret; with one, a disconnected mailbox is connected again.
    secret: Option<MailSecretInput>,
}

/// A mailbox to sync now.
#[derive(InputObject)]
pub struct SyncMailboxInput {
    /// The mailbox.
    mailbox_id: ID,
}

/// A mailbox to compare with its server.
#[derive(InputObject)]
pub struct ReconcileMailboxInput {
    /// The mailbox.
    mailbox_id: ID,
}

/// Another window of history.
#[derive(InputObject)]
pub struct UpdateMailboxHistoryInput {
    /// The mailbox.
    mailbox_id: ID,
    /// How far back its mail is synced. `days: 0` ends a backfill; what is synced already stays.
    history: HistoryInput,
}

/// A mail in quarantine to try again.
#[derive(InputObject)]
pub struct RetryEmailInput {
    /// The mail in quarantine.
    quarantined_mail_id: ID,
}

/// A mailbox to disconnect.
#[derive(InputObject)]
pub struct DisconnectMailboxInput {
    /// The mailbox.
    mailbox_id: ID,
}

payload! {
    /// The connected mailbox.
    ConnectMailboxPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}
payload! {
    /// The mailbox with its changed settings.
    UpdateMailboxSettingsPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}
payload! {
    /// The mailbox with its changed folders.
    UpdateMailboxFoldersPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}
payload! {
    /// The shared mailbox.
    ShareMailboxPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}
payload! {
    /// The mailbox with its new connector.
    TransferMailboxPayload {
        /// The mailbox; null where the viewer no longer sees it.
        mailbox: Mailbox,
    }
}
payload! {
    /// The mailbox that is synced now.
    SyncMailboxPayload {
        /// The mailbox; its sync goes on after this answer.
        mailbox: Mailbox,
    }
}
payload! {
    /// The mailbox whose comparison was asked for.
    ReconcileMailboxPayload {
        /// The mailbox; `sync.reconciliation` tells what was found once it is made.
        mailbox: Mailbox,
    }
}
payload! {
    /// The mailbox with its other window of history.
    UpdateMailboxHistoryPayload {
        /// The mailbox; its sync goes on after this answer.
        mailbox: Mailbox,
    }
}
payload! {
    /// What became of a mail in quarantine. Both null: the server is asked for it by the sync that follows.
    RetryEmailPayload {
        /// The email that it was taken in as.
        email: Email,
        /// The mail, where it could not be taken in this time either.
        quarantined_mail: QuarantinedMail,
    }
}
payload! {
    /// The disconnected mailbox.
    DisconnectMailboxPayload {
        /// The mailbox.
        mailbox: Mailbox,
    }
}

/// The payload of a mutation whose thing is a mailbox.
macro_rules! mailbox_payload {
    ($ask:expr, $done:expr, $payload:ident) => {
        answer($done, |id: MailboxId| async move {
            Ok($payload {
                mailbox: Mailbox::find($ask, id).await?,
                ..Default::default()
            })
        })
        .await
    };
}

/// Mailboxes.
#[derive(Default)]
pub struct MailboxMutation;

#[Object]
impl MailboxMutation {
    /// Connects a mailbox: tries the connection first, and says which step failed.
    async fn connect_mailbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] mut input: ConnectMailboxInput,
    ) -> Result<ConnectMailboxPayload> {
        let ask = &Ask::of(ctx)?;
        let key = input.idempotency_key.take();
        let mailbox = match mailbox_to_connect(ask, input) {
            Ok(mailbox) => mailbox,
            Err(refusal) => return Ok(refused([refusal])),
        };
        let done = connect_mailbox::connect(ask.actions(), ask.viewer(), mailbox, key, ask.now());
        mailbox_payload!(ask, done.await, ConnectMailboxPayload)
    }

    /// Changes a mailbox's CRM settings. Its connector, administrators and holders of "may change CRM settings".
    async fn update_mailbox_settings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateMailboxSettingsInput,
    ) -> Result<UpdateMailboxSettingsPayload> {
        let ask = &Ask::of(ctx)?;
        let which = (ask.named(&input.mailbox_id), input.expected_version);
        let change = settings_change(ask, input.settings);
        let done = mailbox_settings::update(ask.actions(), ask.viewer(), which, change, ask.now());
        mailbox_payload!(ask, done.await, UpdateMailboxSettingsPayload)
    }

    /// Says what a mailbox's folders are for and which are synced. Its connector and administrators.
    async fn update_mailbox_folders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateMailboxFoldersInput,
    ) -> Result<UpdateMailboxFoldersPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.mailbox_id);
        let sync = input.sync.unwrap_or_default();
        let change = FoldersChange {
            spam: ask.change_named(input.spam_folder_id),
            inbox: ask.change_named(input.inbox_id),
            sent: ask.change_named(input.sent_id),
            trash: ask.change_named(input.trash_id),
            drafts: ask.change_named(input.drafts_id),
            sync: sync
                .iter()
                .map(|folder| (ask.named(&folder.folder_id), folder.is_synced))
                .collect(),
        };
        let done = mailbox_folders::update(ask.actions(), ask.viewer(), id, change, ask.now());
        mailbox_payload!(ask, done.await, UpdateMailboxFoldersPayload)
    }

    /// Gives access to a mailbox to exactly these users and departments. Its connector and administrators.
    async fn share_mailbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ShareMailboxInput,
    ) -> Result<ShareMailboxPayload> {
        let ask = &Ask::of(ctx)?;
        let shared = (
            ask.named(&input.mailbox_id),
            ask.all_named(&input.user_ids),
            ask.all_named(&input.department_ids),
        );
        let done = share_mailbox::share(ask.actions(), ask.viewer(), shared, ask.now());
        mailbox_payload!(ask, done.await, ShareMailboxPayload)
    }

    /// Hands a mailbox to another connector. Its connector and administrators.
    async fn transfer_mailbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: TransferMailboxInput,
    ) -> Result<TransferMailboxPayload> {
        let ask = &Ask::of(ctx)?;
        let handed_over = TransferMailbox {
            mailbox_id: ask.named(&input.mailbox_id),
            connector_id: ask.named(&input.connector_id),
            secret: input.secret.map(secret),
        };
        let done = share_mailbox::transfer(ask.actions(), ask.viewer(), handed_over, ask.now());
        mailbox_payload!(ask, done.await, TransferMailboxPayload)
    }

    /// Syncs a mailbox now, without waiting for its turn. Whoever has access to it, and administrators.
    async fn sync_mailbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: SyncMailboxInput,
    ) -> Result<SyncMailboxPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.mailbox_id);
        let done: ActionResult<MailboxId> =
            share_mailbox::sync(ask.actions(), ask.viewer(), id, ask.now()).await;
        mailbox_payload!(ask, done, SyncMailboxPayload)
    }

    /// Compares a mailbox with its server, UID by UID, and puts right what differs. Whoever has access to it, or manages it.
    async fn reconcile_mailbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: ReconcileMailboxInput,
    ) -> Result<ReconcileMailboxPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.mailbox_id);
        let done = share_mailbox::reconcile(ask.actions(), ask.viewer(), id, ask.now());
        mailbox_payload!(ask, done.await, ReconcileMailboxPayload)
    }

    /// Changes how far back a mailbox's mail is synced, also while it is. Its connector and administrators.
    async fn update_mailbox_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: UpdateMailboxHistoryInput,
    ) -> Result<UpdateMailboxHistoryPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.mailbox_id);
        let history = match history(input.history) {
            Ok(history) => history,
            Err(refusal) => return Ok(refused([refusal])),
        };
        let done = mailbox_history::change(ask.actions(), ask.viewer(), id, history, ask.now());
        mailbox_payload!(ask, done.await, UpdateMailboxHistoryPayload)
    }

    /// Tries a mail again that could not be taken in: from its kept bytes, else from the server. Whoever has access to its
    /// mailbox, or manages it.
    async fn retry_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: RetryEmailInput,
    ) -> Result<RetryEmailPayload> {
        let ask = &Ask::of(ctx)?;
        let id: PlacementId = ask.named(&input.quarantined_mail_id);
        let done = retry_email::retry(ask.actions(), ask.viewer(), id, ask.now());
        answer(done.await, |retried| async move {
            let mut payload = RetryEmailPayload::default();
            match retried {
                Retried::TakenIn(email) => payload.email = Email::find(ask, email).await?,
                Retried::StillQuarantined => {
                    payload.quarantined_mail = QuarantinedMail::find(ask, id).await?;
                }
                Retried::Waits => {}
            }
            Ok(payload)
        })
        .await
    }

    /// Stops a mailbox's sync and forgets its secret; what the CRM saved stays. Its connector and administrators.
    async fn disconnect_mailbox(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is wanted, in one object.")] input: DisconnectMailboxInput,
    ) -> Result<DisconnectMailboxPayload> {
        let ask = &Ask::of(ctx)?;
        let id = ask.named(&input.mailbox_id);
        let done = share_mailbox::disconnect(ask.actions(), ask.viewer(), id, ask.now());
        mailbox_payload!(ask, done.await, DisconnectMailboxPayload)
    }
}

fn mailbox_to_connect(
    ask: &Ask,
    input: ConnectMailboxInput,
) -> std::result::Result<ConnectMailbox, Refusal> {
    let folders = input.folders.unwrap_or_default();
    Ok(ConnectMailbox {
        address: input.address,
        login: input.login,
        imap: server("imap", imap_port, input.imap)?,
        smtp: input
            .smtp
            .map(|smtp| smtp_server("smtp", smtp))
            .transpose()?,
        secret: secret(input.secret),
        connector_id: input.connector_id.map(|id| ask.named(&id)),
        history: input.history.map(history).transpose()?,
        settings: settings_change(ask, input.settings.unwrap_or_default()),
        folders: FolderPaths {
            spam: folders.spam,
            inbox: folders.inbox,
            sent: folders.sent,
            trash: folders.trash,
            drafts: folders.drafts,
            do_not_sync: folders.do_not_sync.unwrap_or_default(),
        },
    })
}

/// The change of settings that an input asks for.
pub(in crate::graphql) fn settings_change(
    ask: &Ask,
    input: MailboxSettingsInput,
) -> SettingsChange {
    SettingsChange {
        crm_integration: input.crm_integration.into(),
        incoming_creates: changed(input.incoming_creates, Into::into),
        outgoing_creates: changed(input.outgoing_creates, Into::into),
        existing_client_routing: changed(input.existing_client_routing, Into::into),
        replies_follow_thread: input.replies_follow_thread.into(),
        queue: changed(input.queue_user_ids, |ids| ask.all_named(&ids)),
        source: input.source.into(),
        vcard_contacts: input.vcard_contacts.into(),
        read_state_follows_server: input.read_state_follows_server.into(),
        always_new_lead_for: input.always_new_lead_for.into(),
        save_since: changed(input.save_since, |at| at.0),
    }
}

fn secret(input: MailSecretInput) -> MailSecret {
    match input {
        MailSecretInput::Password(text) => MailSecret::Password(text.into()),
        MailSecretInput::AccessToken(text) => MailSecret::AccessToken(text.into()),
        MailSecretInput::Oauth(given) => MailSecret::Grant(GivenGrant {
            grant: Grant {
                token_url: given.token_url,
                client_id: given.client_id,
                client_secret: given.client_secret.map(Into::into),
                refresh_token: given.refresh_token.into(),
            },
            access_token: given.access_token.map(Into::into),
            expires_at: given.expires_at.map(|at| at.0),
        }),
    }
}

fn history(input: HistoryInput) -> std::result::Result<History, Refusal> {
    match input {
        HistoryInput::Days(days) => Ok(History::Days(days)),
        HistoryInput::Since(at) => Ok(History::Since(at.0)),
        HistoryInput::Everything(true) => Ok(History::Everything),
        HistoryInput::Everything(false) => Err(bad(
            &["history", "everything"],
            "Only true makes sense; say how many days or since when instead.",
        )),
    }
}

const fn imap_port(security: Security) -> u16 {
    match security {
        Security::Tls => 993,
        Security::Starttls | Security::Plain => 143,
    }
}

const fn smtp_port(security: Security) -> u16 {
    match security {
        Security::Tls => 465,
        Security::Starttls => 587,
        Security::Plain => 25,
    }
}

/// A server that sends, with its usual port where none is given.
pub(super) fn smtp_server(
    field: &str,
    input: MailServerInput,
) -> std::result::Result<MailServer, Refusal> {
    server(field, smtp_port, input)
}

fn server(
    field: &str,
    usual: fn(Security) -> u16,
    input: MailServerInput,
) -> std::result::Result<MailServer, Refusal> {
    let security = input.security.into();
    let port = match input.port {
        None => usual(security),
        Some(port) => u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| bad(&[field, "port"], "A port is from 1 to 65535."))?,
    };
    Ok(MailServer {
        host: input.host,
        port,
        security,
    })
}

fn bad(field: &[&str], message: &str) -> Refusal {
    Refusal {
        field: field.iter().map(|name| (*name).to_owned()).collect(),
        ..Refusal::new(ErrorCode::BadInput, message)
    }
}
