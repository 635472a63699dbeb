//! Addresses of files that open without a bearer token: signed, and good for minutes. Whoever opens one is looked at
//! again under their present rights, so that a link never outlives a right.

use super::keys::Keys;
use crate::model::{AttachmentId, DraftAttachmentId, EmailId, ExportId, Time, UserId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How long a link is good for: long enough to start a download from a page that was open for a while.
const LINK_SECONDS: i64 = 15 * 60;

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkedFile {
    /// The message byte for byte as it came.
    RawMail(EmailId),
    /// One attachment, as a download.
    Attachment(AttachmentId),
    /// A picture inside a mail, by the index of its part.
    Part(EmailId, i64),
    /// Items as CSV.
    Export(ExportId),
    /// Where a file of a draft is put.
    Upload(DraftAttachmentId),
}

/// Signs and opens links.
#[derive(Clone)]
pub struct FileLinks {
    key: [u8; 32],
}

impl FileLinks {
    /// With the installation's keys.
    pub const fn new(keys: &Keys) -> Self {
        Self { key: keys.url_key }
    }

    /// The part of an address that names a file for a user, until it expires.
    pub fn seal(&self, viewer: UserId, file: LinkedFile, now: Time) -> String {
        let (kind, first, second) = match file {
            LinkedFile::RawMail(id) => (0_i64, id.0, 0),
            LinkedFile::Attachment(id) => (1, id.0, 0),
            LinkedFile::Part(id, part) => (2, id.0, part),
            LinkedFile::Export(id) => (3, id.0, 0),
            LinkedFile::Upload(id) => (4, id.0, 0),
        };
        let until = now.plus_seconds(LINK_SECONDS).seconds();
        let mut bytes = Vec::with_capacity(72);
        for number in [kind, viewer.0, first, second, until] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let tag = blake3::keyed_hash(&self.key, &bytes);
        bytes.extend_from_slice(tag.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whose link to what it is, while it is good.
    pub fn open(&self, text: &str, now: Time) -> Option<(UserId, LinkedFile)> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, tag) = bytes.split_at_checked(40)?;
        let expected = blake3::keyed_hash(&self.key, said);
        // Comparing hashes takes constant time.
        if expected != blake3::Hash::from_bytes(tag.try_into().ok()?) {
            return None;
        }
        let mut numbers = said.chunks_exact(8).map(|chunk| {
            let mut number = [0; 8];
            number.copy_from_slice(chunk);
            i64::from_le_bytes(number)
        });
        let mut next = || numbers.next();
        let (kind, viewer, first, second, until) = (next()?, next()?, next()?, next()?, next()?);
        if until < now.seconds() {
            return None;
        }
        let file = match kind {
            0 => LinkedFile::RawMail(EmailId(first)),
            1 => LinkedFile::Attachment(AttachmentId(first)),
            2 => LinkedFile::Part(EmailId(first), second),
            3 => LinkedFile::Export(ExportId(first)),
            4 => LinkedFile::Upload(DraftAttachmentId(first)),
            _ => return None,
        };
        Some((UserId(viewer), file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_until_it_expires_and_only_as_it_was_signed() {
        let links = FileLinks { key: [3; 32] };
        let now = Time::from_seconds(1_000_000);
        for file in [
            LinkedFile::RawMail(EmailId(7)),
            LinkedFile::Attachment(AttachmentId(8)),
            LinkedFile::Part(EmailId(9), 2),
            LinkedFile::Export(ExportId(10)),
            LinkedFile::Upload(DraftAttachmentId(11)),
        ] {
            let sealed = links.seal(UserId(5), file, now);
            assert_eq!(links.open(&sealed, now), Some((UserId(5), file)));
            let late = now.plus_seconds(LINK_SECONDS + 1);
            assert_eq!(links.open(&sealed, late), None);
            let forged = format!("Z{}", sealed.get(1..).unwrap());
            assert_eq!(links.open(&forged, now), None, "{forged}");
            let other = FileLinks { key: [4; 32] };
            assert_eq!(other.open(&sealed, now), None);
        }
    }
}
