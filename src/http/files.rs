//! Raw mails, attachments and exports by signed address: always as a download that no browser runs, and only
//! while whoever asked for the address may still see what is in it.

use crate::actions::draft_files;
use crate::actions::export_items::{self, Download};
use crate::actions::read_mail::MailReader;
use crate::actions::{ActionError, ActionResult, Actions};
use crate::auth::file_links::{FileLinks, LinkedFile};
use crate::model::email::Email;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::model::{EmailId, Time};
use crate::rules::access::{self, Surface};
use crate::store::raw::Upload;
use crate::store::{Store, StoreError, emails, roles};
use actix_web::http::header;
use actix_web::web::{self, Data, Path, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::{Stream, StreamExt as _};
use std::fmt::Write as _;
use std::time::Duration;

/// What serving files takes.
#[derive(Clone)]
pub struct Files {
    pub store: Store,
    pub actions: Actions,
    pub reader: MailReader,
    pub links: FileLinks,
    pub clock: fn() -> Time,
    /// How long the body of an upload may take.
    pub upload_within: Duration,
}

/// The longest that the body of an upload may take: the largest file, by a slow line.
pub const UPLOAD_WITHIN: Duration = Duration::from_secs(15 * 60);

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
        Err(ActionError::Refused(refusals)) => not_taken(&refusals),
        Err(ActionError::Store(error)) => failed(&error),
    }
}

/// Its draft went on meanwhile, or it is nothing that whoever sent it may see.
fn not_taken(refusals: &[Refusal]) -> HttpResponse {
    let changed = refusals
        .iter()
        .find(|refusal| refusal.code == ErrorCode::ChangedSince);
    let Some(changed) = changed else {
        return missing();
    };
    HttpResponse::Conflict()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body(format!("{}: {}\n", changed.code.as_text(), changed.message))
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
    let file = draft_files::awaited(&files.actions, &viewer, id).await?;
    let bytes_max = u64::try_from(file.size_bytes).unwrap_or(0);
    let mut upload = files.actions.raw.upload(bytes_max).await?;
    let received = receive(&mut upload, &mut body, files.upload_within).await;
    let turned = match received {
        Ok(Received::Whole) => None,
        // Whoever sent it is gone.
        Ok(Received::BrokenOff) => Some(missing()),
        Ok(Received::TooLarge) => Some(plain(
            HttpResponse::PayloadTooLarge(),
            "The file is larger than was announced.\n",
        )),
        Ok(Received::TooSlow) => Some(plain(
            HttpResponse::RequestTimeout(),
            "The file took too long.\n",
        )),
        Err(error) => {
            upload.abort().await;
            return Err(error.into());
        }
    };
    if turned.is_some() {
        upload.abort().await;
        return Ok(turned);
    }
    draft_files::put(&files.actions, &viewer, &file, upload, (files.clock)()).await?;
    Ok(Some(HttpResponse::NoContent().finish()))
}

fn plain(mut response: HttpResponseBuilder, text: &'static str) -> HttpResponse {
    response
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body(text)
}

/// How a body ended.
enum Received {
    Whole,
    TooLarge,
    TooSlow,
    BrokenOff,
}

/// Writes a body away as it comes, all of it within this time: a sender that gives a byte now and then holds nothing for
/// ever.
async fn receive<E>(
    upload: &mut Upload,
    body: &mut (impl Stream<Item = Result<web::Bytes, E>> + Unpin),
    within: Duration,
) -> Result<Received, StoreError> {
    let all = async {
        while let Some(part) = body.next().await {
            let Ok(bytes) = part else {
                return Ok(Received::BrokenOff);
            };
            if !upload.write(&bytes).await? {
                return Ok(Received::TooLarge);
            }
        }
        Ok(Received::Whole)
    };
    tokio::time::timeout(within, all)
        .await
        .unwrap_or(Ok(Received::TooSlow))
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

/// The part of a file that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// These bytes, both ends included.
    Bytes(usize, usize),
    /// None that there is.
    Outside,
}

/// What a `Range` header asks for. One range is given; of several, and of what can't be read, the whole file is.
fn asked_part(range: Option<&str>, length: usize) -> Part {
    let Some((first, last)) = range
        .and_then(|range| range.trim().strip_prefix("bytes="))
        .filter(|range| !range.contains(','))
        .and_then(|range| range.split_once('-'))
    else {
        return Part::Whole;
    };
    let end = length.saturating_sub(1);
    let (start, stop) = match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
        (Ok(start), Ok(stop)) if start <= stop => (start, stop.min(end)),
        (Ok(start), Err(_)) if last.trim().is_empty() => (start, end),
        // The last so many bytes.
        (Err(_), Ok(0)) if first.trim().is_empty() => return Part::Outside,
        (Err(_), Ok(count)) if first.trim().is_empty() => (length.saturating_sub(count), end),
        _ => return Part::Whole,
    };
    if start >= length {
        Part::Outside
    } else {
        Part::Bytes(start, stop)
    }
}

/// Whether the bytes are a picture of the type that the mail says: else they are no picture to show.
fn is_picture_of(media_type: &str, bytes: &[u8]) -> bool {
    match media_type {
        "image/png" => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "image/jpeg" => bytes.starts_with(b"\xff\xd8\xff"),
        "image/gif" => bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a"),
        "image/webp" => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
        _ => false,
    }
}

fn answer(found: Found, request: &HttpRequest) -> HttpResponse {
    let says = found.media_type.as_str();
    let is_known = PLAIN_TYPES.contains(&says)
        && (!says.starts_with("image/") || is_picture_of(says, &found.bytes));
    let media_type = if is_known {
        says
    } else {
        "application/octet-stream"
    };
    let is_shown = found.is_picture && media_type.starts_with("image/");
    let disposition = if is_shown {
        "inline".to_owned()
    } else {
        attachment(&found.name)
    };
    let range = request.headers().get(header::RANGE);
    // A part of which version, is a question that only whole files answer.
    let range = range.filter(|_| !request.headers().contains_key(header::IF_RANGE));
    let length = found.bytes.len();
    let part = asked_part(range.and_then(|range| range.to_str().ok()), length);
    let bytes = web::Bytes::from(found.bytes);
    let (mut response, bytes) = match part {
        Part::Whole => (HttpResponse::Ok(), bytes),
        Part::Outside => {
            let said = format!("bytes */{length}");
            return HttpResponse::RangeNotSatisfiable()
                .insert_header((header::CONTENT_RANGE, said))
                .finish();
        }
        Part::Bytes(start, stop) => {
            let said = format!("bytes {start}-{stop}/{length}");
            let mut response = HttpResponse::PartialContent();
            response.insert_header((header::CONTENT_RANGE, said));
            (response, bytes.slice(start..stop.saturating_add(1)))
        }
    };
    response
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'",
        ))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .insert_header(("Cross-Origin-Resource-Policy", "cross-origin"))
        .body(bytes)
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
    use crate::store::raw::RawStore;

    #[test]
    fn r44_one_range_of_a_file_is_given() {
        // (header, the part of ten bytes)
        let rows = [
            (None, Part::Whole),
            (Some("bytes=0-3"), Part::Bytes(0, 3)),
            (Some("bytes=4-"), Part::Bytes(4, 9)),
            (Some("bytes=-3"), Part::Bytes(7, 9)),
            (Some("bytes=-30"), Part::Bytes(0, 9)),
            (Some("bytes=5-500"), Part::Bytes(5, 9)),
            (Some("bytes=9-9"), Part::Bytes(9, 9)),
            (Some("bytes=10-"), Part::Outside),
            (Some("bytes=-0"), Part::Outside),
            (Some("bytes=0-1,3-4"), Part::Whole),
            (Some("bytes=3-1"), Part::Whole),
            (Some("bytes=x-y"), Part::Whole),
            (Some("lines=0-3"), Part::Whole),
            (Some("bytes=99999999999999999999999-"), Part::Whole),
        ];
        for (range, part) in rows {
            assert_eq!(asked_part(range, 10), part, "{range:?}");
        }
        assert_eq!(asked_part(Some("bytes=0-"), 0), Part::Outside);
    }

    #[tokio::test]
    async fn r41_an_upload_ends_in_time_and_takes_no_more_than_was_announced() {
        use futures_util::stream::{iter, pending};
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Handle::current();
        let raw = RawStore::open(folder.path().to_str().unwrap(), runtime).unwrap();
        let parts = |all: &[&'static str]| {
            let all = all
                .iter()
                .map(|part| Ok(web::Bytes::from_static(part.as_bytes())));
            iter(all.collect::<Vec<Result<_, ()>>>())
        };
        let long = Duration::from_secs(60);
        let mut upload = raw.upload(4).await.unwrap();
        let received = receive(&mut upload, &mut parts(&["ab", "cd"]), long).await;
        assert!(matches!(received, Ok(Received::Whole)));
        let received = receive(&mut upload, &mut parts(&["e"]), long).await;
        assert!(matches!(received, Ok(Received::TooLarge)));
        let mut upload = raw.upload(4).await.unwrap();
        let received = receive(&mut upload, &mut iter([Err(())]), long).await;
        assert!(matches!(received, Ok(Received::BrokenOff)));
        let mut endless = parts(&["ab"]).chain(pending());
        let received = receive(&mut upload, &mut endless, Duration::from_millis(20)).await;
        assert!(matches!(received, Ok(Received::TooSlow)));
    }

    #[test]
    fn r44_a_picture_is_what_its_bytes_are() {
        assert!(is_picture_of("image/png", b"\x89PNG\r\n\x1a\nx"));
        assert!(is_picture_of("image/webp", b"RIFF....WEBPx"));
        for (says, bytes) in [
            ("image/png", &b"<script>alert(1)</script>"[..]),
            ("image/gif", b"GIF8"),
            ("image/svg+xml", b"<svg/>"),
            ("image/jpeg", b""),
        ] {
            assert!(!is_picture_of(says, bytes), "{says}");
        }
    }

    /// Names that have broken headers, folders and screens elsewhere: each in four surroundings, a hundred in all.
    #[test]
    fn r44_four_hundred_hostile_names_stay_names() {
        let seeds: Vec<String> = (0..100_u32)
            .map(|n| match n % 10 {
                0 => format!("../../{n}/etc/passwd"),
                1 => format!("a\r\nSet-Cookie: x={n}"),
                2 => format!("\u{202e}gpj.{n}.exe"),
                3 => format!("a\0{n}.txt"),
                4 => format!("\"; filename=evil{n}.html"),
                5 => format!("C:\\windows\\{n}.dll"),
                6 => format!("\u{2066}{n}\u{2069}\u{feff}.pdf"),
                7 => format!("%0d%0a{n}%00"),
                8 => "名前 é ✉ ".repeat(usize::try_from(n).unwrap()),
                _ => format!(
                    "{}\t\u{7f}\u{1b}[31m;*'()",
                    char::from_u32(n + 0x80).unwrap()
                ),
            })
            .collect();
        let names = seeds.iter().flat_map(|seed| {
            [
                seed.clone(),
                format!("x{seed}"),
                format!("{seed}.html"),
                seed.repeat(3),
            ]
        });
        let mut count = 0;
        for name in names {
            let said = attachment(&name);
            count += 1;
            assert!(said.starts_with("attachment; filename=\""), "{said}");
            assert_eq!(said.matches('"').count(), 2, "{said}");
            assert_eq!(
                said.matches(';').count() - said.split('"').nth(1).unwrap().matches(';').count(),
                2,
                "{said}"
            );
            assert!(
                said.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
                "{said}"
            );
            assert!(!said.contains('/') && !said.contains('\\'), "{said}");
            let value: Result<header::HeaderValue, _> = said.parse();
            assert!(value.is_ok(), "{said}");
        }
        assert_eq!(count, 400);
    }

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
