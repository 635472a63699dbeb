//! What resolvers work with: the services, and one question with its viewer, scopes and loaders.
//! Not for: sessions and requests (`api`), or any field of the schema.

use std::sync::{Arc, OnceLock};

use async_graphql::{Context, Error, Result};

use super::api::Caller;
use super::error;
use super::loaders::{Load, Loaders};
use crate::actions::Actions;
use crate::actions::read_mail::MailReader;
use crate::auth::accounts::Accounts;
use crate::live::Live;
use crate::model::people::{PermissionAction, RestrictedField, Viewer};
use crate::model::{AttachmentId, DraftAttachmentId, EmailId, ExportId, Time, UserId};
use crate::rules::access::{
    self, DraftScope, EmailScope, ItemScope, MailboxScope, Surface, TemplateScope,
};
use crate::store::codec::Codec;
use crate::store::{AnyConn, Store, StoreError};

/// A file that a signed, short-lived address is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The message byte for byte as it came.
    RawMail(EmailId),
    /// One attachment.
    Attachment(AttachmentId),
    /// A picture inside the body, by its part's index.
    Part(EmailId, usize),
    /// Items as CSV.
    Export(ExportId),
    /// Where a file of a draft is put.
    Upload(DraftAttachmentId),
}

/// A file, and the user who asked for its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRef {
    pub viewer_id: UserId,
    pub file: File,
}

/// Makes the signed address of a file; `None` where files are not served.
pub type FileUrls = Arc<dyn Fn(FileRef) -> Option<String> + Send + Sync>;

/// Everything that resolvers call. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    pub store: Store,
    pub actions: Actions,
    pub accounts: Arc<Accounts>,
    pub live: Live,
    pub mail: MailReader,
    pub file_urls: FileUrls,
    /// Where browsers reach the server, without a slash at its end: from the settings alone, never from a request.
    pub public_url: Arc<str>,
    /// The present moment.
    pub clock: fn() -> Time,
}

/// What a viewer may see, in the forms that lists take; each is made when it is first needed.
pub struct Scopes {
    viewer: Arc<Viewer>,
    items: OnceLock<ItemScope>,
    in_crm: OnceLock<EmailScope>,
    in_mailbox: OnceLock<EmailScope>,
    drafts: OnceLock<DraftScope>,
    templates: OnceLock<TemplateScope>,
    either: OnceLock<EmailScope>,
    mailboxes: OnceLock<MailboxScope>,
    mailboxes_with_mail: OnceLock<MailboxScope>,
}

impl Scopes {
    /// Those of this viewer.
    pub fn new(viewer: Arc<Viewer>) -> Self {
        Self {
            viewer,
            items: OnceLock::new(),
            in_crm: OnceLock::new(),
            in_mailbox: OnceLock::new(),
            drafts: OnceLock::new(),
            templates: OnceLock::new(),
            either: OnceLock::new(),
            mailboxes: OnceLock::new(),
            mailboxes_with_mail: OnceLock::new(),
        }
    }

    /// The items that the viewer may read.
    pub fn items(&self) -> &ItemScope {
        self.items
            .get_or_init(|| access::items(&self.viewer, PermissionAction::Read))
    }

    /// The emails that the viewer sees by this way.
    pub fn emails(&self, surface: Surface) -> &EmailScope {
        let scope = match surface {
            Surface::Crm => &self.in_crm,
            Surface::Mailbox => &self.in_mailbox,
            Surface::Either => &self.either,
        };
        scope.get_or_init(|| access::emails(&self.viewer, surface))
    }

    /// What the viewer writes.
    pub fn drafts(&self) -> &DraftScope {
        self.drafts.get_or_init(|| access::drafts(&self.viewer))
    }

    /// The templates that the viewer sees.
    pub fn templates(&self) -> &TemplateScope {
        self.templates
            .get_or_init(|| access::templates(&self.viewer))
    }

    /// The mailboxes that the viewer sees listed.
    pub fn mailboxes(&self) -> &MailboxScope {
        self.mailboxes
            .get_or_init(|| access::mailboxes(&self.viewer))
    }

    /// The mailboxes whose mail the viewer may read.
    pub fn mailboxes_with_mail(&self) -> &MailboxScope {
        self.mailboxes_with_mail
            .get_or_init(|| access::mailboxes_with_mail(&self.viewer))
    }
}

/// One question: who asks, under which scopes, and what was loaded for it so far.
///
/// Every field at the root of a query or mutation has one of its own, a subscription one for each event; nothing
/// that was loaded outlives it, so nobody reads another's rows and no payload shows what was there before its change.
#[derive(Clone)]
pub struct Ask(Arc<Asked>);

struct Asked {
    services: Services,
    scopes: Arc<Scopes>,
    loaders: Loaders,
    now: Time,
}

impl Ask {
    /// The question of whoever is signed in. A mutation asks this after its action, for the payload.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for nobody.
    pub fn of(ctx: &Context<'_>) -> Result<Self> {
        Ok(Self::new(services(ctx)?.clone(), viewer(ctx)?.clone()))
    }

    /// The question of this viewer.
    pub fn new(services: Services, viewer: Arc<Viewer>) -> Self {
        let now = (services.clock)();
        Self(Arc::new(Asked {
            services,
            scopes: Arc::new(Scopes::new(viewer)),
            loaders: Loaders::default(),
            now,
        }))
    }

    /// Who asks.
    pub fn viewer(&self) -> &Arc<Viewer> {
        &self.0.scopes.viewer
    }

    /// The moment of the question.
    pub fn now(&self) -> Time {
        self.0.now
    }

    /// What resolvers call.
    pub fn services(&self) -> &Services {
        &self.0.services
    }

    /// Seals and opens ids and cursors.
    pub fn codec(&self) -> &Codec {
        self.0.services.store.codec()
    }

    /// Whether this field of items is hidden from the viewer (R26).
    pub fn hides(&self, field: RestrictedField) -> bool {
        access::hidden_fields(self.viewer()).contains(&field)
    }

    /// Reads under the viewer's scopes.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn read<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConn, &Scopes) -> Result<T, StoreError> + Send + 'static,
    {
        let scopes = self.0.scopes.clone();
        let found = self.0.services.store.read(move |conn| read(conn, &scopes));
        found.await.map_err(|error| failed(&error))
    }

    /// Reads the database as of one moment under the viewer's scopes.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn read_at_once<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut AnyConn, &Scopes) -> Result<T, StoreError> + Send + 'static,
    {
        let scopes = self.0.scopes.clone();
        let store = &self.0.services.store;
        let found = store.read_at_once(move |conn| read(conn, &scopes));
        found.await.map_err(|error| failed(&error))
    }

    /// Loads one row, together with all that are asked for at the same time; `None`: absent or hidden.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn load<L: Load>(&self, key: L::Key) -> Result<Option<L::Value>> {
        let (store, scopes) = (&self.0.services.store, &self.0.scopes);
        let found = L::batch(&self.0.loaders).load(store, scopes, key).await;
        found.map_err(|error| failed(&error))
    }

    /// Loads these rows, in the order of their keys; the absent and hidden are left out.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn load_all<L: Load>(
        &self,
        keys: impl IntoIterator<Item = L::Key>,
    ) -> Result<Vec<L::Value>> {
        let loads = keys.into_iter().map(|key| self.load::<L>(key));
        let found = futures_util::future::try_join_all(loads).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Loads a row that the row naming it can't be without.
    ///
    /// # Errors
    /// `NOT_FOUND` where it is gone all the same, `INTERNAL` where the store fails.
    pub async fn require<L: Load>(&self, key: L::Key) -> Result<L::Value> {
        self.load::<L>(key).await?.ok_or_else(error::not_found)
    }

    /// Keeps a row that was read under this question's scopes, so that it needs no loading.
    pub fn keep<L: Load>(&self, key: L::Key, value: L::Value) {
        L::batch(&self.0.loaders).keep(key, value);
    }
}

/// The services behind this schema.
///
/// # Errors
/// `INTERNAL` for a schema that was built to be printed only.
pub fn services<'ctx>(ctx: &Context<'ctx>) -> Result<&'ctx Services> {
    ctx.data::<Services>()
        .map_err(|_absent| error::internal(&std::io::Error::other("the schema has no services")))
}

/// Who is signed in.
///
/// # Errors
/// `UNAUTHENTICATED` for nobody.
pub fn viewer<'ctx>(ctx: &Context<'ctx>) -> Result<&'ctx Arc<Viewer>> {
    match ctx.data_opt::<Caller>() {
        Some(Caller(Some(session))) => Ok(&session.viewer),
        _ => Err(error::unauthenticated()),
    }
}

/// What clients read of a failing store.
pub fn failed(error: &StoreError) -> Error {
    match error {
        StoreError::Conflict(_) | StoreError::Deadlock(_) => {
            error::conflict("Something else changed first: try again.")
        }
        _ => error::internal(error),
    }
}
