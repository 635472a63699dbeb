//! A session that is logged in: folders, searches, and the commands of our own readers.
//! Not for: connecting.

use super::connect::{fault, lists_special_use};
use super::folders::{self, ListedFolder};
use super::response::{self, FetchRow, Status};
use super::wire::{Answer, Wire, WireHandle};
use crate::mail::error::{MailError, MailStep};
use bytes::Bytes;
use imap::types::Capabilities;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Literals in one FETCH response besides the body: labels and the like.
const LITERALS_MAX: usize = 64;

/// Lines of one answer outside the bodies, so that endless ones end. Listing ten million mails takes 1 GB.
const LINES_BYTES_MAX: u64 = 1 << 30;

/// Saying goodbye is a courtesy; it is not waited for longer.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// What opening a folder tells of it. `None`: the server did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    pub uid_validity: Option<u32>,
    pub uid_next: Option<u32>,
    pub highest_modseq: Option<u64>,
    /// How many mails are in it.
    pub exists: u32,
}

/// A logged-in session. Any error for which `MailError::keeps_session` is false leaves it unusable.
pub struct ImapSession {
    session: imap::Session<WireHandle>,
    wire: WireHandle,
    socket: Arc<TcpStream>,
    capabilities: Capabilities,
    read_timeout: Duration,
    last_tag: u64,
    exists: u32,
}

/// Cuts a session's connection from another thread: whatever it waits for ends at once with `ConnectionLost`.
#[derive(Debug, Clone)]
pub struct CutHandle(Arc<TcpStream>);

impl CutHandle {
    /// Cuts it. Harmless when it is closed already.
    pub fn cut(&self) {
        // The only failure is that there is nothing left to cut.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// How one of our own commands ended.
pub(super) enum Ended {
    Ok,
    /// NO or BAD; the error says whether the server is only busy.
    Refused(MailError),
}

/// How much an answer to one of our own commands may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerLimits {
    pub(super) literal_bytes_max: u64,
    pub(super) bodies_bytes_max: u64,
}

impl ImapSession {
    pub(super) fn new(
        session: imap::Session<WireHandle>,
        wire: WireHandle,
        socket: TcpStream,
        capabilities: Capabilities,
        read_timeout: Duration,
    ) -> Self {
        Self {
            session,
            wire,
            socket: Arc::new(socket),
            capabilities,
            read_timeout,
            last_tag: 0,
            exists: 0,
        }
    }

    /// Lets another thread end this session's waiting.
    pub fn cut_handle(&self) -> CutHandle {
        CutHandle(Arc::clone(&self.socket))
    }

    /// Whether the server says it can do this ("IDLE", "CONDSTORE", "QRESYNC"; upper case).
    pub fn has_capability(&self, name: &str) -> bool {
        self.capabilities.has_str(name)
    }

    /// All folders, with what they are for. Names that are not UTF-8 are left out: they can't be asked for.
    pub fn list_folders(&mut self) -> Result<Vec<ListedFolder>, MailError> {
        let mut listed = None;
        if lists_special_use(&self.capabilities) {
            listed = match self.list("\"*\" RETURN (SPECIAL-USE)") {
                Ok(names) => Some(names),
                Err(error) if error.keeps_session() => None,
                Err(error) => return Err(error),
            };
        }
        let names = match listed {
            Some(names) => names,
            None => self.list("\"*\"")?,
        };
        Ok(folders::with_roles(
            names.iter().map(folders::seen).collect(),
        ))
    }

    fn list(&mut self, pattern: &str) -> Result<imap::types::Names, MailError> {
        self.wire.lock().expect(Answer::Listing);
        self.session
            .list(None, Some(pattern))
            .map_err(|error| fault(&error, &self.wire, MailStep::Listing, "LIST"))
    }

    /// Opens a folder, read only.
    pub fn examine(&mut self, raw_path: &str) -> Result<Examined, MailError> {
        let mut wire = self.wire.lock();
        wire.expect(Answer::Examine);
        wire.forget_news();
        drop(wire);
        let folder = self
            .session
            .examine(raw_path)
            .map_err(|error| fault(&error, &self.wire, MailStep::Listing, "EXAMINE"))?;
        self.exists = folder.exists;
        Ok(Examined {
            uid_validity: folder.uid_validity,
            uid_next: folder.uid_next,
            highest_modseq: folder.highest_mod_seq,
            exists: folder.exists,
        })
    }

    /// Whether the open folder still holds this UID.
    pub fn search_uid(&mut self, uid: u32) -> Result<bool, MailError> {
        Ok(self
            .search(&format!("UID {uid}"))?
            .binary_search(&uid)
            .is_ok())
    }

    /// All UIDs of the open folder, rising.
    pub fn search_all(&mut self) -> Result<Vec<u32>, MailError> {
        self.search("ALL")
    }

    fn search(&mut self, query: &str) -> Result<Vec<u32>, MailError> {
        self.wire.lock().expect(Answer::Search);
        let found = self
            .session
            .uid_search(query)
            .map_err(|error| fault(&error, &self.wire, MailStep::Protocol, "SEARCH"))?;
        let mut uids: Vec<u32> = found.into_iter().collect();
        uids.sort_unstable();
        Ok(uids)
    }

    /// Asks for nothing, so that the server can tell its news.
    pub fn noop(&mut self) -> Result<(), MailError> {
        self.wire.lock().expect(Answer::Nothing);
        self.session
            .noop()
            .map_err(|error| fault(&error, &self.wire, MailStep::Protocol, "NOOP"))
    }

    /// Whether the server has said, since the folder was last opened or listed, that it has changed.
    pub fn has_news(&self) -> bool {
        self.wire.lock().has_news()
    }

    /// Says goodbye and closes the connection.
    pub fn log_out(mut self) {
        let wire = self.wire.clone();
        let mut wire = wire.lock();
        wire.expect(Answer::Nothing);
        // The connection ends in any case; what the server makes of it changes nothing.
        let _ = wire.set_read_timeout(LOGOUT_TIMEOUT);
        drop(wire);
        let _ = self.session.logout();
        self.cut_handle().cut();
    }

    // ── our own commands on the same stream ──

    pub(super) fn wire(&self) -> &WireHandle {
        &self.wire
    }

    pub(super) const fn read_timeout(&self) -> Duration {
        self.read_timeout
    }

    /// Whether the folder was empty when it was opened.
    pub(super) const fn was_empty(&self) -> bool {
        self.exists == 0
    }

    /// Sends a command (without tag and line end) and returns its tag.
    pub(super) fn send(&mut self, command: &str) -> Result<String, MailError> {
        self.last_tag += 1;
        let tag = format!("m{}", self.last_tag);
        self.wire
            .lock()
            .send(format!("{tag} {command}\r\n").as_bytes())
            .map_err(|error| MailError::from_io(&error, MailStep::Protocol))?;
        Ok(tag)
    }

    /// Reads up to the tagged line of `tag` and hands over each FETCH response on the way.
    pub(super) fn read_answer(
        &self,
        tag: &str,
        limits: AnswerLimits,
        on_row: &mut dyn FnMut(FetchRow) -> Result<(), MailError>,
    ) -> Result<Ended, MailError> {
        let step = MailStep::Protocol;
        let mut wire = self.wire.lock();
        let mut bodies_bytes_left = limits.bodies_bytes_max;
        let mut lines_bytes = 0_u64;
        loop {
            let mut text = Vec::new();
            wire.read_line(&mut text)
                .map_err(|error| MailError::from_io(&error, step))?;
            if let Some((found, rest)) = response::split_tagged(&text) {
                return ended(found, tag, rest, "FETCH");
            }
            if text.starts_with(b"+") {
                continue;
            }
            let limits = AnswerLimits {
                bodies_bytes_max: bodies_bytes_left,
                ..limits
            };
            let literals = read_literals(&mut wire, &mut text, limits)?;
            let literal_bytes: usize = literals.iter().map(Bytes::len).sum();
            bodies_bytes_left =
                bodies_bytes_left.saturating_sub(u64::try_from(literal_bytes).unwrap_or(u64::MAX));
            lines_bytes = lines_bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
            if lines_bytes > LINES_BYTES_MAX {
                return Err(MailError::Protocol {
                    step,
                    what: "endless answer",
                });
            }
            let rest = text.strip_prefix(b"* ").ok_or(MailError::Protocol {
                step,
                what: "malformed line",
            })?;
            if response::is_bye(rest) {
                return Err(
                    response::busy(rest, step).unwrap_or(MailError::ConnectionLost { step })
                );
            }
            if response::is_fetch(rest) {
                // A row that can't be read leaves its UID unanswered, which the caller notices.
                if let Some(row) = response::fetch_row(rest, literals) {
                    on_row(row)?;
                }
            } else if response::is_news(rest) {
                wire.note_news();
            }
        }
    }
}

/// Judges a tagged line against the tag that is waited for.
pub(super) fn ended(
    found: &[u8],
    tag: &str,
    rest: &[u8],
    command: &'static str,
) -> Result<Ended, MailError> {
    let step = MailStep::Protocol;
    if found != tag.as_bytes() {
        return Err(MailError::Protocol {
            step,
            what: "answer to another command",
        });
    }
    match response::status(rest) {
        Some(Status::Ok) => Ok(Ended::Ok),
        Some(Status::No | Status::Bad) => Ok(Ended::Refused(
            response::busy(rest, step).unwrap_or(MailError::Refused { step, command }),
        )),
        None => Err(MailError::Protocol {
            step,
            what: "malformed line",
        }),
    }
}

/// Reads the literals that a response announces, and the lines between; each `{n}` stays in the text.
fn read_literals(
    wire: &mut Wire,
    text: &mut Vec<u8>,
    limits: AnswerLimits,
) -> Result<Vec<Bytes>, MailError> {
    let step = MailStep::Protocol;
    let mut literals = Vec::new();
    let mut bytes_left = limits.bodies_bytes_max;
    while let Some(announced) = response::next_literal(text) {
        if announced > limits.literal_bytes_max || announced > bytes_left {
            return Err(MailError::TooBig {
                uid: response::uid_so_far(text),
                announced_bytes: announced,
            });
        }
        if literals.len() >= LITERALS_MAX {
            return Err(MailError::Protocol {
                step,
                what: "too many literals",
            });
        }
        bytes_left -= announced;
        text.truncate(text.trim_ascii_end().len());
        let mut literal = Vec::new();
        wire.read_bytes(announced, &mut literal)
            .map_err(|error| MailError::from_io(&error, step))?;
        literals.push(Bytes::from(literal));
        wire.read_line(text)
            .map_err(|error| MailError::from_io(&error, step))?;
    }
    Ok(literals)
}
