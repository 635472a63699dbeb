//! Files that older programs write into the text itself: `begin 644 name`, lines, `end`. Not for: which texts are
//! looked through.

use super::contained::{ContainedFile, FILES_MAX};
use super::entity;
use std::borrow::Cow;

/// A text and the files that were written into it.
pub(super) struct Split {
    /// What stands around the files.
    pub(super) text: Vec<u8>,
    pub(super) files: Vec<ContainedFile<'static>>,
}

/// Takes the files out of a text. What is broken or has no end is text. `None`: there is no file in it.
pub(super) fn split(bytes: &[u8]) -> Option<Split> {
    let mut found = Split {
        text: Vec::new(),
        files: Vec::new(),
    };
    // Behind the last file, and behind the last line that was looked at.
    let (mut around, mut rest) = (bytes, bytes);
    while let Some((line, behind)) = next_line(rest) {
        let file = begun_file(line)
            .filter(|_| found.files.len() < FILES_MAX)
            .and_then(|name| Some((name, file_bytes(behind)?)));
        let Some((name, (bytes, after))) = file else {
            rest = behind;
            continue;
        };
        let length = around.len() - rest.len();
        found
            .text
            .extend_from_slice(around.get(..length).unwrap_or_default());
        found.files.push(ContainedFile {
            media_type: entity::media_type_of_name(&name).to_owned(),
            name,
            content_id: None,
            bytes: Cow::Owned(bytes),
        });
        (around, rest) = (after, after);
    }
    if found.files.is_empty() {
        return None;
    }
    found.text.extend_from_slice(around);
    Some(found)
}

/// A line without its end, and what follows it.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let (line, behind) = match end {
        Some(end) => bytes.split_at_checked(end + 1)?,
        None => (bytes, [].as_slice()),
    };
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Some((line.strip_suffix(b"\r").unwrap_or(line), behind))
}

/// The name in `begin 644 name`.
fn begun_file(line: &[u8]) -> Option<String> {
    let line = line.strip_prefix(b"begin ")?;
    let mode = line.iter().take_while(|byte| matches!(byte, b'0'..=b'7'));
    let (mode, name) = line.split_at_checked(mode.count())?;
    let name = name.strip_prefix(b" ")?;
    if !(3..=4).contains(&mode.len()) {
        return None;
    }
    entity::clean_name(&super::decode::readable(name))
}

/// The file whose lines begin here, and what follows its end. It ends at the first line that is none of a file, so that
/// each line is read at most twice, however many files are begun.
fn file_bytes(lines: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut bytes = Vec::new();
    let mut rest = lines;
    loop {
        let (line, behind) = next_line(rest)?;
        rest = behind;
        match line.first() {
            // Writers say 0 as a backquote or as a space, which transports cut off.
            None | Some(b'`' | b' ') => break,
            Some(_) => decode_line(line, &mut bytes)?,
        }
    }
    let (end, behind) = next_line(rest)?;
    (end.trim_ascii_end() == b"end").then_some((bytes, behind))
}

fn decode_line(line: &[u8], into: &mut Vec<u8>) -> Option<()> {
    let (first, letters) = line.split_first()?;
    let length = usize::from(value(*first)?);
    let expected = length.div_ceil(3) * 4;
    // Some writers add a sum or a letter; spaces at the end may have been cut off.
    if letters.len() > expected + 2 {
        return None;
    }
    let mut left = length;
    for at in (0..expected).step_by(4) {
        let mut group = [0_u8; 4];
        for (offset, place) in group.iter_mut().enumerate() {
            *place = value(letters.get(at + offset).copied().unwrap_or(b' '))?;
        }
        let [one, two, three, four] = group;
        let decoded = [
            one << 2 | two >> 4,
            two << 4 | three >> 2,
            three << 6 | four,
        ];
        into.extend(decoded.into_iter().take(left));
        left = left.saturating_sub(3);
    }
    Some(())
}

/// Six bits. `None`: the letter is none of a file.
fn value(letter: u8) -> Option<u8> {
    matches!(letter, b' '..=b'`').then(|| letter.wrapping_sub(b' ') & 0x3f)
}
