//! The connection of a round, and which folder is open on it.
//! Not for: what is done in a folder.

use crate::mail::MailError;
use crate::mail::imap::{Examined, ImapSession};
use crate::model::FolderId;
use crate::model::mailbox::Folder;
use std::collections::HashMap;

/// What became of opening a folder that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It was open all the time: what the server has to say of it, it says.
    WasOpen,
    /// It is open now, and stands so: what came since it was looked at is told by nothing else.
    Opened(Examined),
    /// It is another by now, whose UIDs the ledger does not know.
    Another,
}

/// A session whose open folder is known.
pub(super) struct Connection {
    pub session: ImapSession,
    /// How folders are called on the wire, by their paths.
    raw_paths: HashMap<String, String>,
    /// The folders that were looked at, with the UIDVALIDITY that their lines in the ledger have.
    looked_at: HashMap<FolderId, (String, Option<i64>)>,
    open: Option<FolderId>,
}

impl Connection {
    pub fn new(session: ImapSession, raw_paths: HashMap<String, String>) -> Self {
        Self {
            session,
            raw_paths,
            looked_at: HashMap::new(),
            open: None,
        }
    }

    /// How a folder is called on the wire; `None`: the server did not list it.
    pub fn raw_path(&self, folder: &Folder) -> Option<&str> {
        self.raw_paths.get(&folder.path).map(String::as_str)
    }

    /// Opens a folder anew, whichever is open; `None`: the server did not list it.
    pub fn examine(&mut self, folder: &Folder) -> Result<Option<Examined>, MailError> {
        let Some(raw_path) = self.raw_paths.get(&folder.path) else {
            return Ok(None);
        };
        self.open = None;
        let examined = self.session.examine(raw_path)?;
        self.open = Some(folder.id);
        Ok(Some(examined))
    }

    /// The open folder was looked at, as of this epoch.
    pub fn known_as(&mut self, folder: &Folder) {
        if let Some(raw_path) = self.raw_paths.get(&folder.path) {
            let known = (raw_path.clone(), folder.uid_validity);
            self.looked_at.insert(folder.id, known);
        }
    }

    /// Opens a folder that was looked at; false where it is another by now, whose UIDs the ledger does not know.
    pub fn open(&mut self, id: FolderId) -> Result<bool, MailError> {
        Ok(self.open_again(id)? != Opening::Another)
    }

    /// The same, and how it stands.
    pub fn open_again(&mut self, id: FolderId) -> Result<Opening, MailError> {
        if self.open == Some(id) {
            return Ok(Opening::WasOpen);
        }
        let Some((raw_path, known)) = self.looked_at.get(&id) else {
            return Ok(Opening::Another);
        };
        self.open = None;
        let examined = self.session.examine(raw_path)?;
        let validity = examined.uid_validity.filter(|validity| *validity > 0);
        if validity.map(i64::from) != *known {
            return Ok(Opening::Another);
        }
        self.open = Some(id);
        Ok(Opening::Opened(examined))
    }
}
