//! Raw mails, attachments and exports by signed address: always as a download that no browser runs, and only
//! while whoever asked for the address may still see what is in it.

use crate::actions::draft_files;
use crate::actions::export_items::{self, Download};
use crate::actions::read_mail::MailReader;
use crate::actions::{ActionError, ActionResult, Actions};
use crate::auth::file_links::{FileLinks, LinkedFile};
use crate::model::email::Email;
use crate::model::{EmailId, Time};
use crate::rules::access::{self, Surface};
use crate::store::{Store, StoreError, emails, roles};
use actix_web::http::header;
use actix_web::web::{self, Data, Path, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use std::fmt::Write as _;

/// What serving files takes.
#[derive(Clone)]
pub struct Files {
    pub store: Store,
    pub actions: Actions,
    pub reader: MailReader,
    pub links: FileLinks,
    pub clock: fn() -> Time,
}

/// Mounts `/files/…`.
pub fn mount(files: &Files, config: &mut ServiceConfig) {
    config
        .app_data(Data::new(files.clone()))
        .route("/files/{link}", web::get().to(download))
        .route("/uploads/{link}", web::put().to(upload));
}

struct Found {
    name: String,
    media_type: String,
    bytes: Vec<u8>,
    is_picture: bool,
}

async fn download(link: Path<String>, files: Data<Files>, request: HttpRequest) -> HttpResponse {
    let now = (files.clock)();
    if let Some((viewer, LinkedFile::Export(id))) = files.links.open(&link, now) {
        return match export_items::open(&files.store, (viewer, id), now).await {
            Ok(Some(export)) => csv(export),
            Ok(None) => missing(),
            Err(error) => failed(&error),
        };
    }
    match find(&files, &link).await {
        Ok(Some(found)) => answer(found, &request),
        Ok(None) => missing(),
        Err(error) => failed(&error),
    }
}

fn missing() -> HttpResponse {
    HttpResponse::NotFound()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body("There is no such file, or its address has expired.\n")
}

fn failed(error: &StoreError) -> HttpResponse {
    tracing::error!(%error, "a file could not be read");
    HttpResponse::InternalServerError()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body("The file can't be read at the moment.\n")
}

/// Takes a file of a draft in, and binds it to the draft. Nothing of it is held in memory but what is under way.
async fn upload(link: Path<String>, files: Data<Files>, body: Payload) -> HttpResponse {
    match take_upload(&files, &link, body).await {
        Ok(Some(response)) => response,
        Ok(None) => missing(),
        Err(ActionError::Refused(_refusals)) => missing(),
        Err(ActionError::Store(error)) => failed(&error),
    }
}

async fn take_upload(
    files: &Files,
    link: &str,
    mut body: Payload,
) -> ActionResult<Option<HttpResponse>> {
    let now = (files.clock)();
    let Some((viewer, LinkedFile::Upload(id))) = files.links.open(link, now) else {
        return Ok(None);
    };
    let viewer = files
        .store
        .read(move |conn| roles::load_viewer(conn, viewer));
    let Some(viewer) = viewer.await? else {
        return Ok(None);
    };
    let Some(file) = draft_files::awaited(&files.actions, &viewer, id).await? else {
        return Ok(None);
    };
    let bytes_max = u64::try_from(file.size_bytes).unwrap_or(0);
    let mut upload = files.actions.raw.upload(bytes_max).await?;
    while let Some(part) = body.next().await {
        let fits = match part {
            Ok(bytes) => upload.write(&bytes).await?,
            // Whoever sent it is gone.
            Err(_broken) => {
                upload.abort().await;
                return Ok(None);
            }
        };
        if !fits {
            upload.abort().await;
            let answer = HttpResponse::PayloadTooLarge()
                .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
                .body("The file is larger than was announced.\n");
            return Ok(Some(answer));
        }
    }
    draft_files::put(&files.actions, &viewer, &file, upload, (files.clock)()).await?;
    Ok(Some(HttpResponse::NoContent().finish()))
}

/// Streams an export. Where it breaks off (the rights changed, the database failed) the connection does, so that no half
/// of a file looks whole.
fn csv(export: Download) -> HttpResponse {
    let disposition = attachment(export.file_name());
    let parts = futures_util::stream::try_unfold(export, |mut export| async move {
        match export.next().await {
            Ok(Some(text)) => Ok(Some((web::Bytes::from(text), export))),
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, "an export broke off");
                Err(actix_web::error::ErrorInternalServerError(
                    "the export broke off",
                ))
            }
        }
    });
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .streaming(parts)
}

async fn find(files: &Files, link: &str) -> Result<Option<Found>, StoreError> {
    let Some((viewer, file)) = files.links.open(link, (files.clock)()) else {
        return Ok(None);
    };
    let found = files
        .store
        .read(move |conn| {
            let Some(viewer) = roles::load_viewer(conn, viewer)? else {
                return Ok(None);
            };
            let (email, part) = match file {
                LinkedFile::RawMail(id) => (id, None),
                LinkedFile::Part(id, part) => (id, Some((part, true))),
                LinkedFile::Attachment(id) => match emails::attachment_by_id(conn, id)? {
                    Some(found) => (found.email_id, Some((found.part_index, false))),
                    None => return Ok(None),
                },
                // They are no parts of a mail: see `csv` and `upload`.
                LinkedFile::Export(_) | LinkedFile::Upload(_) => return Ok(None),
            };
            let scope = access::emails(&viewer, Surface::Either);
            let visible = emails::visible(conn, &scope, &[email])?;
            Ok(visible.into_iter().next().map(|email| (email, part)))
        })
        .await?;
    match found {
        Some((email, None)) => raw_mail(files, &email).await.map(Some),
        Some((email, Some((part, is_picture)))) => {
            let Ok(index) = usize::try_from(part) else {
                return Ok(None);
            };
            let part = files.reader.part(&email, index).await?;
            Ok(part.map(|part| Found {
                name: part.name,
                media_type: part.media_type,
                bytes: part.bytes,
                is_picture,
            }))
        }
        None => Ok(None),
    }
}

async fn raw_mail(files: &Files, email: &Email) -> Result<Found, StoreError> {
    let EmailId(_number) = email.id;
    Ok(Found {
        name: "message.eml".to_owned(),
        media_type: "message/rfc822".to_owned(),
        bytes: files.reader.bytes(email).await?.to_vec(),
        is_picture: false,
    })
}

/// Types that are handed out as what they are; everything else is bytes.
const PLAIN_TYPES: [&str; 10] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "application/pdf",
    "application/zip",
    "text/plain",
    "text/csv",
    "text/calendar",
    "message/rfc822",
];

fn answer(found: Found, _request: &HttpRequest) -> HttpResponse {
    let media_type = if PLAIN_TYPES.contains(&found.media_type.as_str()) {
        found.media_type.as_str()
    } else {
        "application/octet-stream"
    };
    let is_shown = found.is_picture && media_type.starts_with("image/");
    let disposition = if is_shown {
        "inline".to_owned()
    } else {
        attachment(&found.name)
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header(("Cross-Origin-Resource-Policy", "cross-origin"))
        .body(found.bytes)
}

/// RFC 6266: the name in ASCII for old clients, and whole for all others.
fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|letter| match letter {
            '"' | '\\' | '/' => '_',
            letter if letter.is_ascii_graphic() || letter == ' ' => letter,
            _ => '_',
        })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else if write!(encoded, "%{byte:02X}").is_err() {
            // Writing to a string does not fail.
            break;
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_neither_leave_its_quotes_nor_break_the_header() {
        for name in [
            "a\"; x=\"b.html",
            "réport.pdf",
            "a\r\nSet-Cookie: x",
            "../../etc/passwd",
        ] {
            let said = attachment(name);
            assert_eq!(said.matches('"').count(), 2, "{said}");
            assert!(
                said.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
                "{said}"
            );
            assert!(!said.contains('/'), "{said}");
        }
    }
}
