//! What a draft begins with: recipients and subject by the rules, the original quoted, its files where it is forwarded.

use super::{CreateDraft, addresses, html_body, may_send_as, subject, text_body};
use crate::actions::draft_files::{FILES_BYTES_MAX, FILES_MAX};
use crate::actions::read_mail::MailReader;
use crate::actions::time_zone::utc_offset_seconds;
use crate::actions::{ActionResult, Actions, acting, senders, templates};
use crate::mail::address::AddressKey;
use crate::mail::compose;
use crate::mail::parse::{self, ParsedMail};
use crate::model::draft::{DraftContent, DraftKind};
use crate::model::email::{Address, Email, ParticipantRole};
use crate::model::item::ItemKind;
use crate::model::people::{PermissionAction, RestrictedField, User, Viewer};
use crate::model::refusal::Refusal;
use crate::model::template::Signature;
use crate::model::{DraftId, ItemId};
use crate::rules::access::{self, Surface};
use crate::rules::answering::{Answer, Original, Person, answer};
use crate::store::drafts::{self, NewDraft};
use crate::store::raw::{self, Durable, RawHash, hash_of};
use crate::store::templates as store_templates;
use crate::store::{AnyConn, StoreError, Tx, clients, emails, items, messages, users};
use crate::view::{self, QuoteHead, Quoting, quote_html, quote_text};
use bytes::Bytes;
use chrono::{DateTime, Duration};

/// What was found out before the transaction: it reads the original, which takes its time.
pub(super) struct Begun {
    original: Option<Email>,
    answer: Answer,
    body_text: String,
    body_html: Option<String>,
    files: Vec<KeptFile>,
    durable: Durable,
}

struct KeptFile {
    name: String,
    media_type: String,
    size_bytes: i64,
    hash: RawHash,
}

/// The input with what a template makes where nothing was written, and with the viewer's signature below.
///
/// # Errors
/// `NOT_FOUND` for a template or original that the viewer can't see; `BAD_INPUT` for a template that can't be filled in.
pub(super) async fn prepared(
    actions: &Actions,
    viewer: &Viewer,
    input: CreateDraft,
) -> ActionResult<CreateDraft> {
    let viewer = viewer.clone();
    let done = actions
        .store
        .read(move |conn| Ok(prepare(conn, &viewer, input)));
    done.await?
}

fn prepare(
    conn: &mut AnyConn,
    viewer: &Viewer,
    mut input: CreateDraft,
) -> ActionResult<CreateDraft> {
    let ids: Vec<_> = input.original_id.into_iter().collect();
    let scope = access::emails(viewer, Surface::Either);
    let original = emails::visible(conn, &scope, &ids)?.into_iter().next();
    let of_original = original.as_ref().map(|email| email.mailbox_id);
    let mailbox = input.mailbox_id.or(of_original);
    if let Some(template) = input.template_id {
        let primary = original.and_then(|email| email.primary_item_id);
        let scope = access::items(viewer, PermissionAction::Read);
        let readable = items::readable(conn, &scope, primary.as_slice())?;
        let item = input.item_id.or(readable.first().map(|item| item.id));
        let filled = templates::filled(conn, viewer, template, (item, mailbox))?;
        if input.body_text.is_none() && input.body_html.is_none() {
            input.body_text = Some(filled.body_text);
            input.body_html = filled.body_html;
        }
        // An answer keeps the subject of what it answers.
        if input.kind == DraftKind::New && input.subject.is_none() {
            input.subject = Some(filled.subject);
        }
    }
    let Some(mailbox) = mailbox.filter(|_id| input.signs) else {
        return Ok(input);
    };
    if let Some(signature) = store_templates::signature(conn, viewer.user_id, mailbox)? {
        sign(&mut input, &signature);
    }
    Ok(input)
}

/// Puts the signature below what is written, behind the line that readers know one by.
fn sign(input: &mut CreateDraft, signature: &Signature) {
    let text = input
        .body_text
        .take()
        .unwrap_or_else(|| text_of(input.body_html.as_deref()));
    input.body_text = Some(format!("{text}\n\n-- \n{}", signature.body_text));
    if let Some(html) = input.body_html.take() {
        let below = match &signature.body_html {
            Some(html) => html.clone(),
            None => view::html_of_text(&signature.body_text),
        };
        input.body_html = Some(format!("{html}<br><br>-- <br>{below}"));
    }
}

pub(super) async fn begin(
    actions: &Actions,
    viewer: &Viewer,
    input: &CreateDraft,
) -> ActionResult<Begun> {
    let text = input.body_text.as_deref().map(text_body).transpose()?;
    let html = input.body_html.as_deref().map(html_body).transpose()?;
    let nothing = Begun {
        original: None,
        answer: Answer {
            to: Vec::new(),
            cc: Vec::new(),
            subject: String::new(),
            in_reply_to: None,
            references: Vec::new(),
        },
        body_text: text.clone().unwrap_or_else(|| text_of(html.as_deref())),
        body_html: html.clone(),
        files: Vec::new(),
        durable: Durable::default(),
    };
    let Some(id) = input.original_id else {
        if input.kind != DraftKind::New {
            return Err(acting::bad_input(
                "originalId",
                "Name the email that is answered or forwarded.",
            ));
        }
        return Ok(nothing);
    };
    if input.kind == DraftKind::New {
        return Err(acting::bad_input(
            "originalId",
            "A new mail has no original: say REPLY, REPLY_ALL or FORWARD.",
        ));
    }
    let scope = access::emails(viewer, Surface::Either);
    let author = viewer.user_id;
    let found = actions.store.read(move |conn| {
        let Some(email) = emails::visible(conn, &scope, &[id])?.into_iter().next() else {
            return Ok(None);
        };
        let original = original(conn, &email)?;
        let author = users::get(conn, author)?;
        Ok(Some((email, original, author)))
    });
    let (email, original, author) = found
        .await?
        .ok_or_else(|| Refusal::not_found("originalId"))?;
    let reader = MailReader::new(actions.store.clone(), actions.raw.clone());
    let bytes = reader.bytes(&email).await?;
    let (kind, quotes) = (input.kind, input.quotes);
    let (store, raw) = (actions.store.clone(), actions.raw.clone());
    let written = (text, html);
    let work = move || {
        let parsed = parse::parse(&bytes);
        let (body_text, body_html) =
            body(kind, quotes, written, (&parsed, &email, author.as_ref()));
        let (files, kept) = match kind {
            DraftKind::Forward => files(&parsed, &bytes)?,
            _ => (Vec::new(), Vec::new()),
        };
        let durable = raw.keep_now(&store, kept)?;
        Ok(Begun {
            answer: answer(kind, &original),
            original: Some(email),
            body_text,
            body_html,
            files,
            durable,
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::Raw(error.to_string()))?
}

fn text_of(html: Option<&str>) -> String {
    html.map(view::text_of_html).unwrap_or_default()
}

/// The original as the rules see it.
fn original(conn: &mut AnyConn, email: &Email) -> Result<Original, StoreError> {
    let people = emails::participants(conn, &[email.id])?.remove(&email.id);
    let people = people.unwrap_or_default();
    let of = |wanted: ParticipantRole| -> Vec<Person> {
        let those = people.iter().filter(|(role, _address)| *role == wanted);
        those
            .map(|(_role, address)| Person {
                key: compose::wire_address(&address.address)
                    .ok()
                    .and_then(|_address| AddressKey::parse(&address.address))
                    .map(AddressKey::into_string),
                address: address.clone(),
            })
            .collect()
    };
    let (in_reply_to, mut references) = messages::references(conn, email.message_id)?;
    if references.is_empty() {
        references = in_reply_to;
    }
    Ok(Original {
        direction: email.direction,
        from: of(ParticipantRole::From),
        reply_to: of(ParticipantRole::ReplyTo),
        to: of(ParticipantRole::To),
        cc: of(ParticipantRole::Cc),
        subject: email.subject.clone(),
        message_id: email.message_id_header.clone(),
        references,
        own_keys: clients::own_keys(conn, email.mailbox_id)?,
    })
}

/// What was written, and the quote behind it. HTML goes out where HTML was written, or where a mail is passed on that was
/// HTML.
fn body(
    kind: DraftKind,
    quotes: bool,
    (text, html): (Option<String>, Option<String>),
    (parsed, email, author): (&ParsedMail, &Email, Option<&User>),
) -> (String, Option<String>) {
    let written = text.unwrap_or_else(|| text_of(html.as_deref()));
    if !quotes {
        return (written, html);
    }
    let quoting = match kind {
        DraftKind::Forward => Quoting::Forward,
        _ => Quoting::Answer,
    };
    let head = head(parsed, email, author);
    let quoted = match (&parsed.body_text, &parsed.body_html) {
        (Some(text), _) => text.clone(),
        (None, html) => text_of(html.as_deref()),
    };
    let is_html = html.is_some() || (kind == DraftKind::Forward && parsed.body_html.is_some());
    let both = is_html.then(|| {
        let front = html.unwrap_or_else(|| view::html_of_text(&written));
        let quote = quote_html(quoting, &head, parsed.body_html.as_deref(), &quoted);
        format!("{front}<br>{quote}")
    });
    let quote = quote_text(quoting, &head, &quoted);
    (format!("{written}\n\n{quote}"), both)
}

fn head(parsed: &ParsedMail, email: &Email, author: Option<&User>) -> QuoteHead {
    let people = |all: &[Address]| {
        let shown: Vec<String> = all.iter().take(20).map(shown_address).collect();
        shown.join(", ")
    };
    let zone = author
        .map(|user| user.time_zone.as_str())
        .unwrap_or_default();
    let offset = utc_offset_seconds(zone, email.received_at);
    let at = DateTime::from_timestamp_micros(email.received_at.micros()).unwrap_or_default();
    let at = at + Duration::seconds(offset);
    QuoteHead {
        from: email.from.as_ref().map(shown_address).unwrap_or_default(),
        date: at.format("%-d %B %Y at %H:%M").to_string(),
        to: people(&parsed.to),
        subject: email.subject.clone(),
    }
}

fn shown_address(address: &Address) -> String {
    match address.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} <{}>", address.address),
        None => address.address.clone(),
    }
}

type Kept = (Vec<KeptFile>, Vec<(RawHash, Bytes)>);

/// The files of a mail that is forwarded, as they came.
fn files(parsed: &ParsedMail, raw: &[u8]) -> ActionResult<Kept> {
    // Before anything is decoded.
    if parsed.attachments.len() > FILES_MAX {
        return Err(acting::bad_input(
            "originalId",
            format!("It has more files than can be sent on, {FILES_MAX}."),
        ));
    }
    let sum: u64 = parsed.attachments.iter().map(|file| file.size_bytes).sum();
    if i64::try_from(sum).is_ok_and(|sum| sum > FILES_BYTES_MAX) {
        return Err(acting::bad_input(
            "originalId",
            "Its files are too large to be sent on.",
        ));
    }
    let attached = parsed.attachments.iter();
    let indexes: Vec<usize> = attached.map(|file| file.part_index).collect();
    let mut files = Vec::new();
    let mut kept = Vec::new();
    for part in parse::parts_bytes(raw, &indexes) {
        let hash = hash_of(&part.bytes);
        files.push(KeptFile {
            name: compose::file_name(&part.name),
            media_type: compose::media_type(&part.media_type),
            size_bytes: i64::try_from(part.bytes.len()).unwrap_or(i64::MAX),
            hash,
        });
        kept.push((hash, Bytes::from(part.bytes)));
    }
    Ok((files, kept))
}

/// Writes the draft under the rights of this moment.
pub(super) fn write(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    input: &CreateDraft,
    begun: Begun,
) -> ActionResult<DraftId> {
    if let Some(email) = &begun.original {
        let scope = access::emails(viewer, Surface::Either);
        if emails::visible(tx.conn, &scope, &[email.id])?.is_empty() {
            return Err(Refusal::not_found("originalId").into());
        }
    }
    let mailbox_id = input
        .mailbox_id
        .or(begun.original.as_ref().map(|email| email.mailbox_id))
        .ok_or_else(|| acting::bad_input("mailboxId", "Name the mailbox that it is sent from."))?;
    drafts::share_mailbox(tx, mailbox_id)?;
    let mailbox = may_send_as(tx.conn, viewer, mailbox_id)?;
    let item_id = item(tx, viewer, input, begun.original.as_ref())?;
    let to = match &input.to {
        Some(to) => addresses(to.clone(), "to")?,
        None if input.kind == DraftKind::New => client(tx.conn, viewer, item_id)?,
        None => begun.answer.to,
    };
    let cc = match &input.cc {
        Some(cc) => addresses(cc.clone(), "cc")?,
        None => begun.answer.cc,
    };
    let content = DraftContent {
        from: senders::from(tx.conn, viewer, &mailbox, input.sender_id)?,
        to,
        cc,
        bcc: addresses(input.bcc.clone(), "bcc")?,
        subject: match &input.subject {
            Some(text) => subject(text)?,
            None => begun.answer.subject,
        },
        body_text: begun.body_text,
        body_html: begun.body_html,
        in_reply_to: begun.answer.in_reply_to,
        references: begun.answer.references,
    };
    raw::name(tx, &begun.durable)?;
    let new = NewDraft {
        author_id: viewer.user_id,
        mailbox_id,
        kind: input.kind,
        original_id: begun.original.map(|email| email.id),
        item_id,
        content,
    };
    let id = drafts::insert(tx, &new)?;
    for file in &begun.files {
        let named = (file.name.as_str(), file.media_type.as_str());
        drafts::insert_attachment(tx, id, named, file.size_bytes, Some(file.hash.to_vec()))?;
    }
    Ok(id)
}

/// The item that was named, which takes update on it; or that of the original, where the viewer has it.
fn item(
    tx: &mut Tx<'_>,
    viewer: &Viewer,
    input: &CreateDraft,
    original: Option<&Email>,
) -> ActionResult<Option<ItemId>> {
    if let Some(item) = input.item_id {
        acting::item(tx, viewer, (item, None), PermissionAction::Update, "itemId")?;
        return Ok(Some(item));
    }
    // A forwarded mail may be for somebody else altogether: the rules choose.
    let answers = matches!(input.kind, DraftKind::Reply | DraftKind::ReplyAll);
    let Some(item) = original
        .filter(|_email| answers)
        .and_then(|email| email.primary_item_id)
    else {
        return Ok(None);
    };
    let facts = items::facts(tx.conn, &[item])?.into_iter().next();
    let may = |action| {
        facts
            .as_ref()
            .is_some_and(|facts| access::decide(viewer, action, facts).is_granted())
    };
    Ok((may(PermissionAction::Read) && may(PermissionAction::Update)).then_some(item))
}

/// Whom a mail that is written from an item goes to: its client, if the viewer may see the address.
fn client(conn: &mut AnyConn, viewer: &Viewer, item: Option<ItemId>) -> ActionResult<Vec<Address>> {
    let Some(mut id) = item else {
        return Ok(Vec::new());
    };
    let scope = access::items(viewer, PermissionAction::Read);
    let kind = items::get(conn, id)?.map(|item| item.kind);
    if kind == Some(ItemKind::Deal) {
        let contacts = items::deal_contacts(conn, &[id])?
            .remove(&id)
            .unwrap_or_default();
        let readable = items::readable(conn, &scope, &contacts)?;
        let first = contacts
            .iter()
            .find(|id| readable.iter().any(|item| item.id == **id));
        let Some(contact) = first else {
            return Ok(Vec::new());
        };
        id = *contact;
    }
    let hidden = access::hidden_fields(viewer);
    let field = match kind {
        Some(ItemKind::Lead) => RestrictedField::LeadAddresses,
        _ => RestrictedField::ContactAddresses,
    };
    if hidden.contains(&field) {
        return Ok(Vec::new());
    }
    let name = items::readable(conn, &scope, &[id])?
        .into_iter()
        .next()
        .and_then(|item| item.name);
    let found = items::addresses(conn, &[id])?
        .remove(&id)
        .unwrap_or_default();
    Ok(found
        .into_iter()
        .take(1)
        .filter(|address| compose::wire_address(&address.address).is_ok())
        .map(|address| Address {
            name: name.clone(),
            address: address.address,
        })
        .collect())
}
