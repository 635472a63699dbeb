//! Which documents are run, and those that clients name instead of sending: by their SHA-256 (automatic persisted
//! queries), or from a list that was made when the clients were built. One answer for every transport.
//! Not for: parsing documents (`document`), or what they may cost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::parse_query;
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value as Json;

use super::api::ApiRequest;
use super::document::RequestError;
use super::error::Code;
use super::limits;

/// Documents that clients taught: more than all the pages of a large client have.
const LEARNT_MAX: usize = 1_000;
/// Their bytes together; each has at most 16 KiB.
const LEARNT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Documents of a manifest; clients of several versions together have fewer.
const MANIFEST_MAX: usize = 20_000;

/// What clients of automatic persisted queries match on, word by word.
const NOT_FOUND: &str = "PersistedQueryNotFound";
const NOT_SUPPORTED: &str = "PersistedQueryNotSupported";

type Hash = [u8; 32];

/// Which documents are run.
#[derive(Debug)]
pub enum Documents {
    /// Any that is sent whole.
    Open,
    /// Any, and those that were sent once and are named by their hash since.
    Learnt(Learnt),
    /// Those of a list alone.
    Trusted(Manifest),
}

/// Documents by their hash; the one not used for longest gives way.
#[derive(Debug, Default)]
pub struct Learnt(Mutex<LearntInner>);

#[derive(Debug, Default)]
struct LearntInner {
    clock: u64,
    bytes: usize,
    entries: HashMap<Hash, (u64, Arc<str>)>,
}

/// The documents that clients were built with, by the ids that their compiler gave them.
#[derive(Debug, Default)]
pub struct Manifest {
    by_id: HashMap<String, Arc<str>>,
    by_hash: HashMap<Hash, Arc<str>>,
}

/// The document that a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    pub text: Arc<str>,
    /// To be kept under this hash, once it has proved to be valid.
    pub learn: Option<Hash>,
}

/// A document's name, as a request gives it.
struct Name {
    /// As it was sent, without a prefix that says what it is.
    id: String,
    hash: Option<Hash>,
}

impl Documents {
    /// The document that a request means.
    ///
    /// # Errors
    /// `PERSISTED_QUERY_NOT_FOUND` for a hash that nothing was sent under, `OPERATION_NOT_ALLOWED` for what no manifest
    /// lists, `BAD_USER_INPUT` for a hash of something else.
    pub fn resolve(&self, request: &ApiRequest) -> Result<Meant, RequestError> {
        let name = name_of(request)?;
        let sent = request.query.as_str();
        let plain = || Meant {
            text: sent.into(),
            learn: None,
        };
        match (self, name) {
            (Self::Trusted(manifest), name) => manifest.find(sent, name.as_ref()),
            (Self::Open, Some(_name)) if sent.is_empty() => Err(missing(NOT_SUPPORTED)),
            (Self::Open, _) | (Self::Learnt(_), None) => Ok(plain()),
            (Self::Learnt(learnt), Some(name)) => {
                let hash = name.hash.ok_or_else(|| {
                    bad("The document's id must be its SHA-256, in hexadecimal digits.")
                })?;
                if sent.is_empty() {
                    let text = learnt.get(&hash).ok_or_else(|| missing(NOT_FOUND))?;
                    return Ok(Meant { text, learn: None });
                }
                if hash_of(sent) != hash {
                    return Err(bad("The hash is not that of the document."));
                }
                let learn = learnt.get(&hash).is_none().then_some(hash);
                Ok(Meant { learn, ..plain() })
            }
        }
    }

    /// Keeps a document that was valid.
    pub fn learn(&self, hash: Hash, text: &str) {
        if let Self::Learnt(learnt) = self {
            learnt.insert(hash, text);
        }
    }
}

fn bad(message: &str) -> RequestError {
    RequestError::new(Code::BadUserInput, message, None)
}

fn missing(message: &str) -> RequestError {
    RequestError::new(Code::PersistedQueryNotFound, message, None)
}

/// Whether a request's members name a document: then it needs none.
pub fn names_document(extensions: &serde_json::Map<String, Json>) -> bool {
    extensions
        .get("persistedQuery")
        .is_some_and(Json::is_object)
}

/// The name in `documentId`, or in `extensions.persistedQuery`.
fn name_of(request: &ApiRequest) -> Result<Option<Name>, RequestError> {
    if let Some(id) = &request.document_id {
        return Ok(Some(named(id)));
    }
    let Some(Json::Object(persisted)) = request.extensions.get("persistedQuery") else {
        return Ok(None);
    };
    let is_known = persisted.get("version").and_then(Json::as_u64) == Some(1);
    match (persisted.get("sha256Hash"), is_known) {
        (Some(Json::String(id)), true) => Ok(Some(named(id))),
        _ => Err(bad(
            "\"persistedQuery\" must have \"version\": 1 and a \"sha256Hash\".",
        )),
    }
}

fn named(id: &str) -> Name {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    Name {
        id: id.to_owned(),
        hash: read_hash(id),
    }
}

/// 64 hexadecimal digits; a hash is its own id only in lower case.
fn read_hash(text: &str) -> Option<Hash> {
    if text.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        let is_plain = digits
            .bytes()
            .all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
        *byte = is_plain.then(|| u8::from_str_radix(digits, 16).ok())??;
    }
    Some(hash)
}

fn hash_of(text: &str) -> Hash {
    let digest = digest(&SHA256, text.as_bytes());
    let mut hash = [0; 32];
    for (byte, found) in hash.iter_mut().zip(digest.as_ref()) {
        *byte = *found;
    }
    hash
}

impl Learnt {
    fn get(&self, hash: &Hash) -> Option<Arc<str>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        let (used, text) = inner.entries.get_mut(hash)?;
        *used = now;
        Some(Arc::clone(text))
    }

    fn insert(&self, hash: Hash, text: &str) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        if let Some((_used, old)) = inner.entries.insert(hash, (now, text.into())) {
            inner.bytes -= old.len();
        }
        inner.bytes += text.len();
        while inner.entries.len() > LEARNT_MAX || inner.bytes > LEARNT_BYTES_MAX {
            let oldest = inner.entries.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(hash, _)| *hash) else {
                return;
            };
            if let Some((_used, text)) = inner.entries.remove(&oldest) {
                inner.bytes -= text.len();
            }
        }
    }
}

impl Manifest {
    /// Reads a manifest: an object of ids and documents, as Relay's compiler writes it, or
    /// `{"operations":[{"id":…,"body":…}]}`, as Apollo's does. Each document must be one that would be run.
    ///
    /// # Errors
    /// In a sentence: what is wrong, and with which document.
    pub fn read(text: &str) -> Result<Self, String> {
        let json: Json =
            serde_json::from_str(text).map_err(|_error| "it is not JSON".to_owned())?;
        let Json::Object(members) = json else {
            return Err("it is not a JSON object".to_owned());
        };
        let pairs: Vec<(String, String)> = match members.get("operations") {
            Some(Json::Array(operations)) => operations
                .iter()
                .map(|operation| {
                    let text = |name: &str| Some(operation.get(name)?.as_str()?.to_owned());
                    text("id").zip(text("body"))
                })
                .collect::<Option<_>>()
                .ok_or("an operation has no id or no body")?,
            _ => members
                .into_iter()
                .map(|(id, body)| match body {
                    Json::String(body) => Ok((id, body)),
                    _ => Err(format!("what stands under {id:?} is not a document")),
                })
                .collect::<Result<_, _>>()?,
        };
        if pairs.len() > MANIFEST_MAX {
            return Err(format!("it has more than {MANIFEST_MAX} documents"));
        }
        let mut manifest = Self::default();
        for (id, body) in pairs {
            check(&body).map_err(|why| format!("the document {id:?} can't be run: {why}"))?;
            let body: Arc<str> = body.into();
            manifest.by_hash.insert(hash_of(&body), Arc::clone(&body));
            manifest.by_id.insert(id, body);
        }
        Ok(manifest)
    }

    fn find(&self, sent: &str, name: Option<&Name>) -> Result<Meant, RequestError> {
        let found = match name {
            Some(name) => self
                .by_id
                .get(&name.id)
                .or_else(|| self.by_hash.get(&name.hash?)),
            None => self.by_hash.get(&hash_of(sent)),
        };
        let text = found.cloned().ok_or_else(|| {
            let message = "Only operations that the server knows are run here.";
            RequestError::new(Code::OperationNotAllowed, message, None)
        })?;
        Ok(Meant { text, learn: None })
    }
}

fn check(body: &str) -> Result<(), String> {
    limits::check_source(body).map_err(|refusal| refusal.to_string())?;
    let document = parse_query(body).map_err(|error| RequestError::from(error).message)?;
    limits::check_document(&document).map_err(|refusal| refusal.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DOCUMENT: &str = "{ hello }";

    fn hex(text: &str) -> String {
        hash_of(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn request(query: &str, hash: Option<&str>) -> ApiRequest {
        let mut request = ApiRequest {
            query: query.to_owned(),
            ..ApiRequest::default()
        };
        if let Some(hash) = hash {
            let persisted = json!({ "version": 1, "sha256Hash": hash });
            request
                .extensions
                .insert("persistedQuery".to_owned(), persisted);
        }
        request
    }

    fn code(documents: &Documents, request: &ApiRequest) -> Result<String, Code> {
        let meant = documents.resolve(request).map_err(|error| error.code)?;
        Ok(meant.text.to_string())
    }

    #[test]
    fn a_hash_is_known_once_its_document_was_learnt() {
        let documents = Documents::Learnt(Learnt::default());
        let hash = hex(DOCUMENT);
        let by_hash = request("", Some(&hash));
        assert_eq!(
            code(&documents, &by_hash),
            Err(Code::PersistedQueryNotFound)
        );
        let meant = documents.resolve(&request(DOCUMENT, Some(&hash))).unwrap();
        assert_eq!(meant.learn, read_hash(&hash));
        assert_eq!(
            code(&documents, &by_hash),
            Err(Code::PersistedQueryNotFound)
        );
        documents.learn(meant.learn.unwrap(), &meant.text);
        assert_eq!(code(&documents, &by_hash), Ok(DOCUMENT.to_owned()));
        let by_id = ApiRequest {
            document_id: Some(format!("sha256:{hash}")),
            ..ApiRequest::default()
        };
        assert_eq!(code(&documents, &by_id), Ok(DOCUMENT.to_owned()));
        for wrong in [
            hex("{ other }"),
            hash.to_uppercase(),
            "1".to_owned(),
            String::new(),
        ] {
            let refused = code(&documents, &request(DOCUMENT, Some(&wrong)));
            assert_eq!(refused, Err(Code::BadUserInput), "{wrong}");
        }
    }

    #[test]
    fn what_is_learnt_is_bounded_and_the_used_stays() {
        let learnt = Learnt::default();
        let kept = hash_of(DOCUMENT);
        learnt.insert(kept, DOCUMENT);
        for number in 0..LEARNT_MAX * 2 {
            let text = format!("{{ a{number} {} }}", "#".repeat(8_000));
            learnt.insert(hash_of(&text), &text);
            assert!(learnt.get(&kept).is_some());
        }
        let inner = learnt.0.lock().unwrap();
        assert!(inner.entries.len() <= LEARNT_MAX && inner.bytes <= LEARNT_BYTES_MAX);
        let bytes: usize = inner.entries.values().map(|(_, text)| text.len()).sum();
        assert_eq!(bytes, inner.bytes);
    }

    #[test]
    fn a_manifest_allows_its_own_documents_by_id_hash_or_text() {
        let relay = json!({ "0d5a": DOCUMENT }).to_string();
        let apollo = json!({ "format": "apollo-persisted-query-manifest", "version": 1,
            "operations": [{ "id": "0d5a", "body": DOCUMENT, "name": "", "type": "query" }] });
        for text in [relay, apollo.to_string()] {
            let documents = Documents::Trusted(Manifest::read(&text).unwrap());
            let by_id = ApiRequest {
                document_id: Some("0d5a".to_owned()),
                ..ApiRequest::default()
            };
            for allowed in [
                by_id,
                request("", Some("0d5a")),
                request("", Some(&hex(DOCUMENT))),
                request(DOCUMENT, None),
            ] {
                assert_eq!(code(&documents, &allowed), Ok(DOCUMENT.to_owned()));
            }
            for refused in [
                request("{ other }", None),
                request("{hello}", None),
                request("{ other }", Some(&hex("{ other }"))),
                request("", None),
            ] {
                assert_eq!(code(&documents, &refused), Err(Code::OperationNotAllowed));
            }
        }
    }

    #[test]
    fn a_manifest_that_could_not_be_run_is_refused_with_its_document() {
        for (text, says) in [
            ("[", "JSON"),
            ("[]", "object"),
            (r#"{"a":7}"#, "\"a\""),
            (r#"{"a":"{"}"#, "\"a\""),
            (r#"{"operations":[{"id":"x"}]}"#, "body"),
        ] {
            let refused = Manifest::read(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn an_open_server_says_that_it_learns_nothing() {
        let hash = hex(DOCUMENT);
        let refused = Documents::Open
            .resolve(&request("", Some(&hash)))
            .unwrap_err();
        assert_eq!(refused.message, NOT_SUPPORTED);
        let sent = request(DOCUMENT, Some(&hash));
        assert_eq!(code(&Documents::Open, &sent), Ok(DOCUMENT.to_owned()));
    }
}
