//! What a person reads of a kept mail: its text, clean HTML, headers, files. Read from the raw mail, and never stored, so
//! that a better parser or sanitiser shows in old mail too.
//! Not for: rights. Whoever calls has judged that the email may be seen.

mod bodies;

pub use crate::mail::calendar::{Attendee, Invitation, Moment};
use crate::mail::parse::{self, ParsedMail, PartBytes};
pub use crate::mail::parse::{Extras, SpecialFormat, Unsubscribe};
use crate::model::email::Email;
use crate::store::raw::RawStore;
use crate::store::{Store, StoreError};
use crate::view;
use bodies::{Bodies, Body};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// Makes the address of an inline image from its part's index.
pub type PartUrl = Arc<dyn Fn(usize) -> Option<String> + Send + Sync>;

/// Reads kept mails. Cheap to clone.
#[derive(Clone)]
pub struct MailReader {
    store: Store,
    raw: RawStore,
    bodies: Bodies,
}

impl MailReader {
    /// Over these stores.
    pub fn new(store: Store, raw: RawStore) -> Self {
        Self {
            store,
            raw,
            bodies: Bodies::default(),
        }
    }

    /// The message byte for byte as it came.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn bytes(&self, email: &Email) -> Result<Bytes, StoreError> {
        self.raw.get(&self.store, &email.raw_hash).await
    }

    /// Parsing may take its time: it is done where blocking is allowed.
    async fn parsed<T: Send + 'static>(
        &self,
        email: &Email,
        f: impl FnOnce(ParsedMail) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let raw = self.bytes(email).await?;
        on_blocking_thread(move || f(parse::parse(&raw))).await
    }

    /// The body as plain text, made from the HTML where there is no text; `None` where the mail has no body.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn text(&self, email: &Email) -> Result<Option<String>, StoreError> {
        self.parsed(email, text_of).await
    }

    /// The texts of those of these mails that can be read together, by their hashes: small ones, as nearly all are. Any other
    /// is to be asked for by itself.
    ///
    /// # Errors
    /// What the database says.
    pub async fn texts(
        &self,
        hashes: Vec<Vec<u8>>,
    ) -> Result<HashMap<Vec<u8>, Option<String>>, StoreError> {
        let (store, raw) = (self.store.clone(), self.raw.clone());
        on_blocking_thread(move || {
            let hashes: Vec<&[u8]> = hashes.iter().map(Vec::as_slice).collect();
            let found = raw.get_ahead_now(&store, &hashes)?;
            let text = |(hash, raw): (Vec<u8>, Bytes)| (hash, text_of(parse::parse(&raw)));
            Ok(found.into_iter().map(text).collect())
        })
        .await?
    }

    /// The body as plain text in blocks that can be folded; none where the mail has no body.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn blocks(
        &self,
        email: &Email,
    ) -> Result<Vec<(view::BlockKind, String)>, StoreError> {
        let text = self.text(email).await?.unwrap_or_default();
        on_blocking_thread(move || {
            let own = |block: view::Block<'_>| (block.kind, block.text.to_owned());
            view::blocks(&text).into_iter().map(own).collect()
        })
        .await
    }

    /// What the mail carries beside its words.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn extras(&self, email: &Email) -> Result<Extras, StoreError> {
        let raw = self.bytes(email).await?;
        on_blocking_thread(move || parse::extras(&raw)).await
    }

    /// Where the links of the body lead; none where it has no HTML.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn links(&self, email: &Email) -> Result<Vec<view::Link>, StoreError> {
        let no_picture: PartUrl = Arc::new(|_part| None);
        let html = self.html(email, no_picture).await?;
        Ok(html.map(|html| view::links(&html)).unwrap_or_default())
    }

    /// The body as sanitised HTML, made from the text where there is no HTML, or none that can be made safe.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn html(
        &self,
        email: &Email,
        part_url: PartUrl,
    ) -> Result<Option<String>, StoreError> {
        let body = match self.bodies.get(&email.raw_hash) {
            Some(body) => body,
            None => {
                let mail = email.raw_hash.clone();
                let make = move |parsed| Body::make(mail, |place| html_of(&parsed, place));
                let body = Arc::new(self.parsed(email, make).await?);
                self.bodies.keep(body.clone());
                body
            }
        };
        Ok(body.with_addresses(&*part_url))
    }

    /// The header section as text.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn raw_headers(&self, email: &Email) -> Result<String, StoreError> {
        let raw = self.bytes(email).await?;
        Ok(parse::raw_headers(&raw))
    }

    /// One part's decoded bytes, by its index.
    ///
    /// # Errors
    /// `Raw` where the bytes are missing.
    pub async fn part(
        &self,
        email: &Email,
        part_index: usize,
    ) -> Result<Option<PartBytes>, StoreError> {
        let raw = self.bytes(email).await?;
        on_blocking_thread(move || parse::part_bytes(&raw, part_index)).await
    }
}

/// The clean body; `place` says what stands for the address of a part.
fn html_of(parsed: &ParsedMail, place: &dyn Fn(usize) -> String) -> Option<String> {
    let of_content_id = |id: &str| {
        let part = parsed
            .attachments
            .iter()
            .find(|attachment| attachment.content_id.as_deref() == Some(id))?;
        // Only what browsers show as a picture, and can't run, is shown in place.
        let is_picture = matches!(
            part.media_type.as_str(),
            "image/png" | "image/jpeg" | "image/gif" | "image/webp"
        );
        is_picture.then(|| place(part.part_index))
    };
    let clean = parsed
        .body_html
        .as_deref()
        .and_then(|html| view::clean(html, &of_content_id));
    match (clean, &parsed.body_text, &parsed.body_html) {
        (Some(clean), ..) => Some(clean.html),
        (None, Some(text), _) => Some(view::html_of_text(text)),
        (None, None, Some(html)) => Some(view::html_of_text(&view::text_of_html(html))),
        (None, None, None) => None,
    }
}

/// The body as plain text, made from the HTML where there is no text.
pub(super) fn text_of(parsed: ParsedMail) -> Option<String> {
    match (parsed.body_text, parsed.body_html) {
        (Some(text), _) => Some(text),
        (None, Some(html)) => Some(view::text_of_html(&html)),
        (None, None) => None,
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(f)
        .await
        .map_err(|error| StoreError::Raw(error.to_string()))
}
