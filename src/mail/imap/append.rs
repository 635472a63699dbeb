//! Putting a copy of a sent mail into a folder: the only thing that we ever write to a mail server by IMAP, and never by
//! syncing.

use super::response;
use super::session::{Ended, ImapSession, ended};
use crate::mail::error::{MailError, MailStep};

/// Lines that may come before the answer: news of other folders.
const LINES_MAX: usize = 200;

impl ImapSession {
    /// Whether the open folder holds a mail with this Message-ID (without angle brackets).
    ///
    /// # Errors
    /// As for every search.
    pub fn holds_message(&mut self, id: &str) -> Result<bool, MailError> {
        let is_plain = id
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte));
        if !is_plain {
            return Ok(false);
        }
        let found = self.search(&format!("HEADER MESSAGE-ID \"<{id}>\""))?;
        Ok(!found.is_empty())
    }

    /// Appends a mail to a folder, as one that was read.
    ///
    /// # Errors
    /// `Refused` where the server does, which leaves the session usable.
    pub fn append_read(&mut self, raw_path: &str, raw: &[u8]) -> Result<(), MailError> {
        let path = raw_path.replace('\\', "\\\\").replace('"', "\\\"");
        if path.contains(['\r', '\n']) {
            return Err(MailError::Refused {
                step: MailStep::Listing,
                command: "APPEND",
            });
        }
        let tag = self.send(&format!("APPEND \"{path}\" (\\Seen) {{{}}}", raw.len()))?;
        match self.await_turn(&tag)? {
            Turn::Ours => {}
            Turn::Ended(Ended::Refused(error)) => return Err(error),
            Turn::Ended(Ended::Ok) => return Err(unexpected()),
        }
        {
            let mut wire = self.wire().lock();
            let sent = wire.send(raw).and_then(|()| wire.send(b"\r\n"));
            sent.map_err(|error| MailError::from_io(&error, MailStep::Protocol))?;
        }
        match self.await_turn(&tag)? {
            Turn::Ended(Ended::Ok) => Ok(()),
            Turn::Ended(Ended::Refused(error)) => Err(error),
            Turn::Ours => Err(unexpected()),
        }
    }

    /// Waits for the server to ask for the mail, or for the end of the command.
    fn await_turn(&mut self, tag: &str) -> Result<Turn, MailError> {
        let step = MailStep::Protocol;
        let mut wire = self.wire().lock();
        for _ in 0..LINES_MAX {
            let mut line = Vec::new();
            wire.read_line(&mut line)
                .map_err(|error| MailError::from_io(&error, step))?;
            if line.starts_with(b"+") {
                return Ok(Turn::Ours);
            }
            if let Some((found, rest)) = response::split_tagged(&line)
                && found == tag.as_bytes()
            {
                return ended(rest, "APPEND").map(Turn::Ended);
            }
            if let Some(rest) = line.strip_prefix(b"* ") {
                wire.note(rest);
            }
        }
        Err(MailError::Protocol {
            step,
            what: "endless answer",
        })
    }
}

/// What an append waits for.
enum Turn {
    /// The server wants the mail.
    Ours,
    Ended(Ended),
}

const fn unexpected() -> MailError {
    MailError::Protocol {
        step: MailStep::Protocol,
        what: "unexpected answer",
    }
}
