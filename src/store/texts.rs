//! The texts of mails that were just read, held for the indexer: so it need not read the mails again from where they are kept.
//! Only a help: what is not held is read, and what nobody came for goes when the indexer looks next.
//! Not for: the bytes of mails (that is `raw`).

use super::lock;
use super::raw::RawHash;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Texts that are held, in bytes: where the indexer is further behind it reads for itself.
const BYTES_MAX: usize = 8 << 20;
/// A longer text is read again by the indexer.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// What nobody has come for after so long is not going to be asked for.
const HELD_FOR: Duration = Duration::from_secs(30);

/// The texts that are held, by the hashes of their mails.
#[derive(Debug, Default)]
pub struct Texts(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// The indexer of this process takes them.
    is_wanted: bool,
    by_hash: HashMap<RawHash, (String, Instant)>,
    bytes: usize,
}

impl Texts {
    /// Whether the indexer of this process takes texts from here; where it does not, none are held.
    pub fn want(&self, is_wanted: bool) {
        let mut held = lock(&self.0);
        if !is_wanted {
            *held = Held::default();
        }
        held.forget_old();
        held.is_wanted = is_wanted;
    }

    /// Holds the text of a mail, where there is room for it.
    pub fn hold(&self, hash: RawHash, text: String) {
        let mut held = lock(&self.0);
        if !held.is_wanted || text.len() > TEXT_BYTES_MAX {
            return;
        }
        if held.bytes.saturating_add(text.len()) > BYTES_MAX {
            return;
        }
        held.bytes = held.bytes.saturating_add(text.len());
        if let Some((before, _at)) = held.by_hash.insert(hash, (text, Instant::now())) {
            held.bytes = held.bytes.saturating_sub(before.len());
        }
    }

    /// The text of a mail, if it is held; then it is held no more.
    pub fn take(&self, hash: &[u8]) -> Option<String> {
        let mut held = lock(&self.0);
        let (text, _at) = held.by_hash.remove(hash)?;
        held.bytes = held.bytes.saturating_sub(text.len());
        Some(text)
    }
}

impl Held {
    fn forget_old(&mut self) {
        self.by_hash
            .retain(|_hash, (_text, at)| at.elapsed() < HELD_FOR);
        self.bytes = self.by_hash.values().map(|(text, _at)| text.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_given_once_and_only_where_it_is_wanted() {
        let texts = Texts::default();
        texts.hold([1; 32], "nobody takes it".to_owned());
        assert_eq!(texts.take(&[1; 32]), None);
        texts.want(true);
        texts.hold([1; 32], "words".to_owned());
        assert_eq!(texts.take(&[2; 32]), None);
        assert_eq!(texts.take(&[1; 32]).as_deref(), Some("words"));
        assert_eq!(texts.take(&[1; 32]), None);
        texts.hold([1; 32], "words".to_owned());
        texts.want(false);
        texts.want(true);
        assert_eq!(texts.take(&[1; 32]), None);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let texts = Texts::default();
        texts.want(true);
        texts.hold([0; 32], "x".repeat(TEXT_BYTES_MAX + 1));
        assert_eq!(texts.take(&[0; 32]), None, "too long");
        for number in 0..200 {
            texts.hold([number; 32], "x".repeat(TEXT_BYTES_MAX));
        }
        let held = (0..200).filter(|number| texts.take(&[*number; 32]).is_some());
        assert_eq!(held.count(), BYTES_MAX / TEXT_BYTES_MAX);
        texts.hold([1; 32], "x".repeat(TEXT_BYTES_MAX));
        texts.hold([1; 32], "y".to_owned());
        assert_eq!(lock(&texts.0).bytes, 1, "the same mail again");
    }
}
