//! Files that do not stand in parts of their own: in a `winmail.dat`, or uuencoded in a text. They are numbered behind
//! all parts, so that they are given like these. Not for: reading either format.

use super::entity::Part;
use super::{MailProblem, ParsedAttachment, PartBytes, decode, tnef, uuencode};
use std::borrow::Cow;

/// Files in one container. The largest real mails have some dozens.
pub(super) const FILES_MAX: usize = 200;

/// A `winmail.dat` beyond so many in one mail stays a file; programs write one.
pub(super) const WRAPPED_MAX: usize = 20;

/// More than a mail has parts: the n-th file in a part has the number of its part and n times this.
const PART_INDEXES: usize = 4096;

/// A file in a container.
pub(super) struct ContainedFile<'a> {
    /// Clean; never empty.
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) content_id: Option<String>,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Whether a leaf says that it is a `winmail.dat`.
pub(super) fn is_wrapped(part: &Part<'_>) -> bool {
    matches!(
        part.media_type.as_str(),
        "application/ms-tnef" | "application/vnd.ms-tnef"
    ) || part.file_name().eq_ignore_ascii_case("winmail.dat")
}

/// How the files of a part are listed.
pub(super) fn attachments(part: &Part<'_>, files: &[ContainedFile<'_>]) -> Vec<ParsedAttachment> {
    let listed = files
        .iter()
        .zip(1_usize..)
        .map(|(file, nth)| ParsedAttachment {
            part_index: part.index + nth * PART_INDEXES,
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size_bytes: u64::try_from(file.bytes.len()).unwrap_or(u64::MAX),
            content_id: file.content_id.clone(),
            is_inline: false,
        });
    listed.collect()
}

/// The part that a number is about, and which of the files in it; 0 is the part itself.
pub(super) fn place(part_index: usize) -> (usize, usize) {
    (part_index % PART_INDEXES, part_index / PART_INDEXES)
}

/// The files in a leaf, in the order of their numbers.
pub(super) fn files(part: &Part<'_>) -> Vec<PartBytes> {
    let mut problems: Vec<MailProblem> = Vec::new();
    let decoded = decode::transfer(part, &mut problems);
    let files = if is_wrapped(part) {
        tnef::read(&decoded).map(|found| found.files)
    } else {
        uuencode::split(&decoded).map(|found| found.files)
    };
    let owned = |file: ContainedFile<'_>| PartBytes {
        name: file.name,
        media_type: file.media_type,
        bytes: file.bytes.into_owned(),
    };
    files.into_iter().flatten().map(owned).collect()
}

#[cfg(test)]
mod tests;
