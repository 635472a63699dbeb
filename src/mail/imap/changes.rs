//! What became of mails that are known: flags, expunges, headers, and what a whole listing of folders tells.
//! Not for: new mail (that is `fetch`); a modseq never tells of it.

use super::fetch::{ListedMail, uid_sets};
use super::response::{FetchRow, Scanner};
use super::session::{Answers, Ended, ImapSession, out_of_step};
use crate::mail::error::{MailError, MailStep};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::{ControlFlow, RangeInclusive};

/// Header lines of one mail that are looked at: Message-ID, From, Date and Subject. Longer ones are fetched whole.
const HEADER_BYTES_MAX: u64 = 64 * 1024;
/// Rows of one answer: as many as the largest listing has.
const ROWS_MAX: usize = super::fetch::LISTED_MAX;
/// Above so many UIDs the whole folder is searched: one answer of 8 bytes a mail.
const SEARCHED_ONE_BY_ONE: usize = 2000;

/// How the server tells what became of mails that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Flags and expunges since a modseq.
    Qresync,
    /// Flags since a modseq.
    Condstore,
    /// Nothing but what is there now.
    Nothing,
}

/// What became of known mails since a modseq.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// UIDs with whether they are read now.
    pub seen: Vec<(u32, bool)>,
    /// What the server says is gone; it may name UIDs that never were, and some servers name ones that are there.
    pub vanished: Vec<RangeInclusive<u32>>,
    /// There was more than one answer may hold: the rest has to be looked up.
    pub is_cut: bool,
}

/// A mail with the header lines that tell it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedHeader {
    pub uid: u32,
    pub size_bytes: u64,
    /// Message-ID, From, Date and Subject, as they stand in the mail.
    pub header: Bytes,
}

/// What a folder holds, without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderStatus {
    pub uid_validity: Option<u32>,
    pub uid_next: Option<u32>,
    pub exists: Option<u32>,
    pub highest_modseq: Option<u64>,
}

impl ImapSession {
    /// Asks the server to tell of changes; before the first folder is opened. `may_resync`: QRESYNC is not known to be
    /// broken there.
    pub fn enable_changes(&mut self, may_resync: bool) -> Result<(), MailError> {
        let wanted = if may_resync && self.has_capability("QRESYNC") {
            Follows::Qresync
        } else if self.has_capability("CONDSTORE") || self.has_capability("QRESYNC") {
            Follows::Condstore
        } else {
            Follows::Nothing
        };
        if wanted == Follows::Nothing {
            return Ok(());
        }
        if !self.has_capability("ENABLE") {
            // CHANGEDSINCE enables CONDSTORE by itself; QRESYNC can't be had then.
            self.set_follows(Follows::Condstore);
            return Ok(());
        }
        let word = if wanted == Follows::Qresync {
            "QRESYNC"
        } else {
            "CONDSTORE"
        };
        // What the server lists as enabled is not looked at: iCloud lists nothing. HIGHESTMODSEQ tells.
        match self.ask(&format!("ENABLE {word}"), &mut |_row| {})? {
            None => self.set_follows(wanted),
            Some(error) if error.keeps_session() => {}
            Some(error) => return Err(error),
        }
        Ok(())
    }

    /// What became of the open folder's mails up to that UID, since a modseq that one of its answers to EXAMINE gave.
    pub fn changed_since(&mut self, modseq: u64, last_uid: u32) -> Result<Changes, MailError> {
        let vanished = match self.follows() {
            Follows::Qresync => " VANISHED",
            Follows::Condstore | Follows::Nothing => "",
        };
        // Not `1:*`: that ends at the last mail that is there, and Cyrus keeps silent about those behind it that are gone.
        let last_uid = last_uid.max(1);
        let tag = self.send(&format!(
            "UID FETCH 1:{last_uid} (UID FLAGS) (CHANGEDSINCE {modseq}{vanished})"
        ))?;
        let mut answer = Changed {
            tag,
            changes: Changes::default(),
            refusal: None,
        };
        self.read_answers(&mut answer)?;
        match answer.refusal {
            // Some servers refuse to look through an empty folder.
            Some(_) if self.was_empty() => Ok(Changes::default()),
            Some(error) => Err(error),
            None => Ok(answer.changes),
        }
    }

    /// Which of these UIDs (rising) the open folder still holds.
    pub fn search_among(&mut self, uids: &[u32]) -> Result<Vec<u32>, MailError> {
        let mut found = if uids.len() > SEARCHED_ONE_BY_ONE {
            self.search_all()?
        } else {
            let mut found = Vec::new();
            for set in uid_sets(uids) {
                found.extend(self.search(&format!("UID {set}"))?);
            }
            found
        };
        found.retain(|uid| uids.binary_search(uid).is_ok());
        Ok(found)
    }

    /// The UIDs of the open folder's mails that are read, rising.
    pub fn search_seen(&mut self) -> Result<Vec<u32>, MailError> {
        self.search("SEEN")
    }

    /// These mails of the open folder as a listing tells of them.
    pub fn list_some(&mut self, uids: &[u32]) -> Result<Vec<ListedMail>, MailError> {
        let mut mails = Vec::new();
        for set in uid_sets(uids) {
            mails.extend(self.list_uids(&set, 1, u32::MAX)?);
        }
        mails.retain(|mail| uids.binary_search(&mail.uid).is_ok());
        Ok(mails)
    }

    /// The header lines of these mails of the open folder; those that don't come are left out.
    pub fn list_headers(&mut self, uids: &[u32]) -> Result<Vec<ListedHeader>, MailError> {
        let mut found = Vec::new();
        for set in uid_sets(uids) {
            let command = format!(
                "UID FETCH {set} (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID FROM DATE SUBJECT)])"
            );
            let refusal = self.ask(&command, &mut |row| {
                if let (Some(uid), Some(size_bytes), Some(header)) =
                    (row.uid, row.size_bytes, row.header)
                    && uids.binary_search(&uid).is_ok()
                    && found.len() < uids.len()
                {
                    found.push(ListedHeader {
                        uid,
                        size_bytes,
                        header,
                    });
                }
            })?;
            if let Some(error @ MailError::Busy { .. }) = refusal {
                return Err(error);
            }
        }
        Ok(found)
    }

    /// What all folders hold, by the names that commands take, in one answer; `None` where the server can't say.
    pub fn statuses(&mut self) -> Result<Option<HashMap<String, FolderStatus>>, MailError> {
        if !self.has_capability("LIST-STATUS") {
            return Ok(None);
        }
        let modseq = match self.follows() {
            Follows::Nothing => "",
            Follows::Qresync | Follows::Condstore => " HIGHESTMODSEQ",
        };
        let tag = self.send(&format!(
            "LIST \"\" \"*\" RETURN (STATUS (UIDVALIDITY UIDNEXT MESSAGES{modseq}))"
        ))?;
        let mut answer = Statuses {
            tag,
            found: HashMap::new(),
            refusal: None,
        };
        self.read_answers(&mut answer)?;
        match answer.refusal {
            None => Ok(Some(answer.found)),
            Some(error) if error.keeps_session() => Ok(None),
            Some(error) => Err(error),
        }
    }

    /// Sends a command whose answer is rows; the refusal, where it was refused.
    fn ask(
        &mut self,
        command: &str,
        on_row: &mut dyn FnMut(FetchRow),
    ) -> Result<Option<MailError>, MailError> {
        let tag = self.send(command)?;
        let mut answer = Asked {
            tag,
            on_row,
            refusal: None,
        };
        self.read_answers(&mut answer)?;
        Ok(answer.refusal)
    }
}

/// The end of a command that is alone under way.
fn end(
    (tag, own): (&str, &str),
    ended: Ended,
    refusal: &mut Option<MailError>,
) -> Result<ControlFlow<()>, MailError> {
    if tag != own {
        return Err(out_of_step());
    }
    if let Ended::Refused(error) = ended {
        *refusal = Some(error);
    }
    Ok(ControlFlow::Break(()))
}

struct Asked<'a> {
    tag: String,
    on_row: &'a mut dyn FnMut(FetchRow),
    refusal: Option<MailError>,
}

impl Answers for Asked<'_> {
    fn literal_bytes_max(&self) -> u64 {
        HEADER_BYTES_MAX
    }

    fn row(&mut self, row: FetchRow) {
        (self.on_row)(row);
    }

    fn ended(&mut self, tag: &str, ended: Ended) -> Result<ControlFlow<()>, MailError> {
        end((tag, &self.tag), ended, &mut self.refusal)
    }
}

struct Changed {
    tag: String,
    changes: Changes,
    refusal: Option<MailError>,
}

impl Answers for Changed {
    fn literal_bytes_max(&self) -> u64 {
        HEADER_BYTES_MAX
    }

    fn row(&mut self, row: FetchRow) {
        let (Some(uid), Some(is_seen)) = (row.uid, row.is_seen) else {
            return;
        };
        if self.changes.seen.len() < ROWS_MAX {
            self.changes.seen.push((uid, is_seen));
        } else {
            self.changes.is_cut = true;
        }
    }

    fn untagged(&mut self, rest: &[u8], _literals: &[Bytes]) {
        if let Some(ranges) = vanished(rest) {
            self.changes.vanished.extend(ranges);
        }
    }

    fn ended(&mut self, tag: &str, ended: Ended) -> Result<ControlFlow<()>, MailError> {
        end((tag, &self.tag), ended, &mut self.refusal)
    }
}

/// Reads `VANISHED (EARLIER) 1:3,7`; what is no number is left out.
fn vanished(rest: &[u8]) -> Option<Vec<RangeInclusive<u32>>> {
    let text = std::str::from_utf8(rest).ok()?;
    let mut words = text.split_ascii_whitespace();
    if !words.next()?.eq_ignore_ascii_case("VANISHED") {
        return None;
    }
    let set = words.find(|word| !word.starts_with('('))?;
    let range = |part: &str| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(first.min(last)..=first.max(last))
    };
    Some(set.split(',').filter_map(range).collect())
}

struct Statuses {
    tag: String,
    found: HashMap<String, FolderStatus>,
    refusal: Option<MailError>,
}

impl Answers for Statuses {
    fn literal_bytes_max(&self) -> u64 {
        HEADER_BYTES_MAX
    }

    fn row(&mut self, _row: FetchRow) {}

    fn untagged(&mut self, rest: &[u8], literals: &[Bytes]) {
        if let Some((name, status)) = status(rest, literals) {
            self.found.insert(name, status);
        }
    }

    fn ended(&mut self, tag: &str, ended: Ended) -> Result<ControlFlow<()>, MailError> {
        end((tag, &self.tag), ended, &mut self.refusal)
    }
}

/// Reads `STATUS name (MESSAGES 1 …)`.
fn status(rest: &[u8], literals: &[Bytes]) -> Option<(String, FolderStatus)> {
    let mut scanner = Scanner::over_cut(rest, literals.to_vec());
    if !scanner.atom()?.eq_ignore_ascii_case(b"STATUS") {
        return None;
    }
    let name = String::from_utf8(scanner.string()?).ok()?;
    let words = scanner.list()?;
    let mut status = FolderStatus {
        uid_validity: None,
        uid_next: None,
        exists: None,
        highest_modseq: None,
    };
    for pair in words.chunks(2) {
        let [key, value] = pair else { break };
        let value = std::str::from_utf8(value).ok()?;
        match key.to_ascii_uppercase().as_slice() {
            b"UIDVALIDITY" => status.uid_validity = value.parse().ok(),
            b"UIDNEXT" => status.uid_next = value.parse().ok(),
            b"MESSAGES" => status.exists = value.parse().ok(),
            b"HIGHESTMODSEQ" => status.highest_modseq = value.parse().ok(),
            _ => {}
        }
    }
    Some((name, status))
}

/// Whether QRESYNC may be used at this host: iCloud's names mails as vanished that are there.
pub fn may_resync(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    !["mail.me.com", "icloud.com"]
        .iter()
        .any(|broken| host == *broken || host.ends_with(&format!(".{broken}")))
}

/// What went wrong with a folder whose UIDs begin anew each time it is looked at.
pub(crate) const fn unstable() -> MailError {
    MailError::Unstable {
        step: MailStep::Listing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r06_vanished_uids_are_read_as_servers_send_them() {
        type Row = (
            &'static str,
            &'static [u8],
            Option<Vec<RangeInclusive<u32>>>,
        );
        let rows: [Row; 6] = [
            (
                "earlier ones",
                b"VANISHED (EARLIER) 1:3,7\r\n",
                Some(vec![1..=3, 7..=7]),
            ),
            ("at this moment", b"VANISHED 9", Some(vec![9..=9])),
            (
                "a range turned round",
                b"vanished (EARLIER) 5:2",
                Some(vec![2..=5]),
            ),
            (
                "not a number, as iCloud sends",
                b"VANISHED (EARLIER) 4,x,*:8",
                Some(vec![4..=4]),
            ),
            ("without UIDs", b"VANISHED (EARLIER)", None),
            ("something else", b"5 EXPUNGE", None),
        ];
        for (what, line, expected) in rows {
            assert_eq!(vanished(line), expected, "{what}");
        }
    }

    #[test]
    fn statuses_are_read_with_names_of_any_form() {
        let full = FolderStatus {
            uid_validity: Some(7),
            uid_next: Some(9),
            exists: Some(3),
            highest_modseq: Some(12),
        };
        let line = b"STATUS \"a \\\"b\" (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 7 HIGHESTMODSEQ 12)";
        assert_eq!(status(line, &[]), Some(("a \"b".to_owned(), full)));
        let name = [Bytes::from_static(b"c d")];
        let found = status(b"STATUS {3} (MESSAGES 3 X-FOO 1)", &name).unwrap();
        assert_eq!((found.0.as_str(), found.1.exists), ("c d", Some(3)));
        assert_eq!(status(b"LIST () \"/\" a", &[]), None);
    }

    #[test]
    fn qresync_is_not_used_where_it_is_broken() {
        let rows = [
            ("imap.mail.me.com", false),
            ("IMAP.mail.me.com", false),
            ("p03-imap.mail.me.com", false),
            ("imap.example.com", true),
            ("notmail.me.com.example", true),
        ];
        for (host, may) in rows {
            assert_eq!(may_resync(host), may, "{host}");
        }
    }
}
