//! A session that is logged in: folders, searches, and the commands of our own readers.
//! Not for: connecting.

use super::changes::Follows;
use super::connect::{fault, lists_special_use};
use super::folders::{self, ListedFolder};
use super::response::{self, FetchRow, Status};
use super::wire::{Answer, Wire, WireHandle};
use crate::mail::error::{MailError, MailStep};
use crate::model::mailbox::FolderRole;
use bytes::Bytes;
use imap::types::Capabilities;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Literals in one FETCH response besides the body: labels and the like.
const LITERALS_MAX: usize = 64;

/// Lines of one answer outside the bodies, so that endless ones end. Listing ten million mails takes 1 GB.
const LINES_BYTES_MAX: u64 = 1 << 30;

/// Lines that may come before the answer to COMPRESS.
const COMPRESS_LINES_MAX: usize = 64;

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
    follows: Follows,
    /// The tag of the IDLE under way.
    idle_tag: Option<String>,
}

/// Cuts a session's connection from another thread: whatever it waits for ends at once with `ConnectionLost`.
#[derive(Debug, Clone)]
pub struct CutHandle(Arc<TcpStream>);

impl CutHandle {
    /// The connection, to watch whether bytes come; while the session idles it does not block.
    ///
    /// # Errors
    /// Where the process has no handles left.
    pub fn watch(&self) -> io::Result<TcpStream> {
        self.0.try_clone()
    }

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

/// Takes what the server answers to our own commands. Several can be under way, and servers work on them side
/// by side: rows and tagged lines of all of them may come in any order.
pub(super) trait Answers {
    /// The largest literal that the next response may hold, in bytes.
    fn literal_bytes_max(&self) -> u64;
    fn row(&mut self, row: FetchRow);
    /// Another untagged line (after `* `); its literals were cut out of it.
    fn untagged(&mut self, _rest: &[u8], _literals: &[Bytes]) {}
    /// A command has ended. `Break`: that was what was waited for.
    fn ended(&mut self, tag: &str, ended: Ended) -> Result<ControlFlow<()>, MailError>;
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
            follows: Follows::Nothing,
            idle_tag: None,
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

    /// Asks for compression. A server that refuses it after all is read as it is.
    pub(super) fn compress(&mut self) -> Result<(), MailError> {
        let step = MailStep::Login;
        let tag = self.send("COMPRESS DEFLATE")?;
        let mut wire = self.wire.lock();
        // A server that only talks is not waited for.
        for _ in 0..COMPRESS_LINES_MAX {
            let mut line = Vec::new();
            wire.read_line(&mut line)
                .map_err(|error| MailError::from_io(&error, step))?;
            let Some((found, rest)) = response::split_tagged(&line) else {
                continue;
            };
            if found != tag.as_bytes() {
                return Err(out_of_step());
            }
            if let Ended::Ok = ended(rest, "COMPRESS")? {
                wire.compress();
            }
            return Ok(());
        }
        Err(MailError::Protocol {
            step,
            what: "endless answer",
        })
    }

    /// Whether mails carry Gmail's labels.
    pub(super) fn has_labels(&self) -> bool {
        self.has_capability("X-GM-EXT-1")
    }

    /// Whether this is Gmail, where All Mail holds what the other folders show.
    pub fn is_gmail(&self) -> bool {
        self.has_labels()
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
        let mut listed = folders::with_roles(names.iter().map(folders::seen).collect());
        let has_all = listed
            .iter()
            .any(|folder| folder.role == Some(FolderRole::All));
        if self.is_gmail() && has_all {
            for folder in &mut listed {
                folder.is_view = !matches!(
                    folder.role,
                    Some(FolderRole::All | FolderRole::Junk | FolderRole::Trash)
                );
            }
        }
        Ok(listed)
    }

    fn list(&mut self, pattern: &str) -> Result<imap::types::Names, MailError> {
        self.wire.lock().expect(Answer::Listing);
        self.session
            .list(None, Some(pattern))
            .map_err(|error| fault(&error, &self.wire, MailStep::Listing, "LIST"))
    }

    /// Opens a folder, read only.
    pub fn examine(&mut self, raw_path: &str) -> Result<Examined, MailError> {
        self.wire.lock().expect(Answer::Examine);
        let folder = self
            .session
            .examine(raw_path)
            .map_err(|error| fault(&error, &self.wire, MailStep::Listing, "EXAMINE"))?;
        self.wire.lock().watch(folder.exists);
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

    pub(super) fn search(&mut self, query: &str) -> Result<Vec<u32>, MailError> {
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
    pub fn log_out(&mut self) {
        let wire = self.wire.clone();
        let mut wire = wire.lock();
        wire.expect(Answer::Nothing);
        // The connection ends in any case; what the server makes of it changes nothing.
        let _ = wire.set_read_timeout(LOGOUT_TIMEOUT);
        drop(wire);
        let _ = self.session.logout();
    }

    // ── our own commands on the same stream ──

    pub(super) fn wire(&self) -> &WireHandle {
        &self.wire
    }

    pub(super) const fn read_timeout(&self) -> Duration {
        self.read_timeout
    }

    /// How this server tells what became of known mails, once it was asked to.
    pub const fn follows(&self) -> Follows {
        self.follows
    }

    /// The tag of the IDLE under way, if there is one.
    pub(super) fn idle_tag(&self) -> Option<String> {
        self.idle_tag.clone()
    }

    pub(super) fn set_idle_tag(&mut self, tag: Option<String>) {
        self.idle_tag = tag;
    }

    pub(super) const fn set_follows(&mut self, follows: Follows) {
        self.follows = follows;
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

    /// Reads responses until `answers` has what it waits for.
    pub(super) fn read_answers(&self, answers: &mut dyn Answers) -> Result<(), MailError> {
        let step = MailStep::Protocol;
        let mut wire = self.wire.lock();
        let mut lines_bytes = 0_u64;
        loop {
            let mut text = Vec::new();
            wire.read_line(&mut text)
                .map_err(|error| MailError::from_io(&error, step))?;
            if let Some((tag, rest)) = response::split_tagged(&text) {
                let tag = String::from_utf8_lossy(tag);
                if answers.ended(&tag, ended(rest, "FETCH")?)?.is_break() {
                    return Ok(());
                }
                continue;
            }
            if text.starts_with(b"+") {
                continue;
            }
            let literals = read_literals(&mut wire, &mut text, answers.literal_bytes_max())?;
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
                    answers.row(row);
                }
            } else {
                answers.untagged(rest, &literals);
                wire.note(rest);
            }
        }
    }
}

/// The connection ends with the session, also while a `CutHandle` to it lives on.
impl Drop for ImapSession {
    fn drop(&mut self) {
        self.cut_handle().cut();
    }
}

/// Judges what follows the tag of a tagged line.
pub(super) fn ended(rest: &[u8], command: &'static str) -> Result<Ended, MailError> {
    let step = MailStep::Protocol;
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

/// The error for a tagged line that belongs to no command under way.
pub(super) const fn out_of_step() -> MailError {
    MailError::Protocol {
        step: MailStep::Protocol,
        what: "answer to another command",
    }
}

/// Reads the literals that a response announces, and the lines between; each `{n}` stays in the text.
fn read_literals(
    wire: &mut Wire,
    text: &mut Vec<u8>,
    bytes_max: u64,
) -> Result<Vec<Bytes>, MailError> {
    let step = MailStep::Protocol;
    let mut literals = Vec::new();
    let mut bytes_left = bytes_max;
    while let Some(announced) = response::next_literal(text) {
        if announced > bytes_left {
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
