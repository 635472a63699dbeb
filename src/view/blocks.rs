//! A plain text in blocks that a screen can fold: what the sender wrote, what they quote, and how they sign.
//! The blocks together are the text. Not for HTML, where quotes are `blockquote`s.

use super::preview::is_signature;
use super::quotes::{is_quoted_line, split_quoted};

/// A signature has no more lines than this; what has is no signature.
const SIGNATURE_LINES_MAX: usize = 15;

/// Blocks of a text; behind so many everything belongs to the last.
const BLOCKS_MAX: usize = 500;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Written by the sender.
    Own,
    /// Older text: lines behind ">", or the mail that is answered, with its announcement.
    Quoted,
    /// How the sender signs.
    Signature,
}

/// A part of a text, whole lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    pub kind: BlockKind,
    pub text: &'a str,
}

/// The text in blocks, in its order; no two of a kind stand side by side.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    let quoted = split_quoted(text);
    let (body, signature) = split_signature(quoted.own);
    let mut found: Vec<(BlockKind, usize)> = Vec::new();
    for line in body.split_inclusive('\n') {
        let kind = if is_quoted_line(line) {
            BlockKind::Quoted
        } else {
            BlockKind::Own
        };
        add(&mut found, kind, line.len());
    }
    add(&mut found, BlockKind::Signature, signature.len());
    add(&mut found, BlockKind::Quoted, quoted.tail.len());
    let mut rest = text;
    let mut blocks = Vec::with_capacity(found.len());
    for (kind, bytes) in found {
        let Some((front, behind)) = rest.split_at_checked(bytes) else {
            break;
        };
        blocks.push(Block { kind, text: front });
        rest = behind;
    }
    blocks
}

fn add(found: &mut Vec<(BlockKind, usize)>, kind: BlockKind, bytes: usize) {
    let is_full = found.len() >= BLOCKS_MAX;
    match found.last_mut() {
        _ if bytes == 0 => {}
        Some((last, length)) if *last == kind || is_full => *length = length.saturating_add(bytes),
        _ => found.push((kind, bytes)),
    }
}

/// Splits where the signature begins: at "-- ", or at a closing line near the end.
fn split_signature(own: &str) -> (&str, &str) {
    // Nothing above the last lines can begin one.
    let lines = own
        .split_inclusive('\n')
        .rev()
        .take(SIGNATURE_LINES_MAX)
        .take_while(|line| !is_quoted_line(line));
    let mut start = own.len();
    let mut found = None;
    for line in lines {
        start = start.saturating_sub(line.len());
        let is_marked = line.trim_end_matches(['\r', '\n']) == "-- ";
        if is_marked || is_signature(line.trim()) {
            found = Some(start);
        }
    }
    match found {
        Some(start) if start > 0 => own.split_at_checked(start).unwrap_or((own, "")),
        _ => (own, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<(BlockKind, &str)> {
        let found = blocks(text);
        let whole: String = found.iter().map(|block| block.text).collect();
        assert_eq!(whole, text, "the blocks are the text");
        found.iter().map(|block| (block.kind, block.text)).collect()
    }

    #[test]
    fn r40_quotes_and_signatures_are_blocks_of_their_own() {
        use BlockKind::{Own, Quoted, Signature};
        // (text, blocks)
        let rows: [(&str, &[(BlockKind, &str)]); 8] = [
            ("", &[]),
            ("Hello.\nYes.\n", &[(Own, "Hello.\nYes.\n")]),
            (
                "Yes.\n\nOn 1 Nov 2026, Ada wrote:\n> Really?\n",
                &[
                    (Own, "Yes.\n\n"),
                    (Quoted, "On 1 Nov 2026, Ada wrote:\n> Really?\n"),
                ],
            ),
            (
                "> When?\nToday.\n> Where?\nHere.\n",
                &[
                    (Quoted, "> When?\n"),
                    (Own, "Today.\n"),
                    (Quoted, "> Where?\n"),
                    (Own, "Here.\n"),
                ],
            ),
            (
                "Yes.\n-- \nAda\nPlant 3\n",
                &[(Own, "Yes.\n"), (Signature, "-- \nAda\nPlant 3\n")],
            ),
            (
                "Yes.\r\n\r\nBest regards\r\nAda\r\n",
                &[
                    (Own, "Yes.\r\n\r\n"),
                    (Signature, "Best regards\r\nAda\r\n"),
                ],
            ),
            (
                "Yes.\nCheers,\nAda\n\n-----Original Message-----\nFrom: Bob\nNo.\n",
                &[
                    (Own, "Yes.\n"),
                    (Signature, "Cheers,\nAda\n\n"),
                    (Quoted, "-----Original Message-----\nFrom: Bob\nNo.\n"),
                ],
            ),
            ("Best regards\nAda\n", &[(Own, "Best regards\nAda\n")]),
        ];
        for (text, expected) in rows {
            assert_eq!(said(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_mail_of_alternating_lines_has_not_endless_blocks() {
        let text = "> a\nb\n".repeat(5000);
        assert!(blocks(&text).len() <= BLOCKS_MAX);
        assert_eq!(
            blocks(&text)
                .iter()
                .map(|block| block.text.len())
                .sum::<usize>(),
            text.len()
        );
    }
}
