//! Where what was looked for stands in a text: a short piece of it, in parts that are hits and parts that are not.
//! Not for: finding. What the index found is shown, whatever is marked in it.

use super::words::{Word, composed, words};
use super::{Phrase, Zone};
use std::collections::BTreeMap;

/// Characters of a snippet, at most: two or three lines.
pub const SNIPPET_CHARS_MAX: usize = 200;

/// Characters shown before the first hit.
const BEFORE_CHARS: usize = 60;

/// Bytes of texts that are read for one snippet: as much as is indexed of nearly any mail.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Words of a text that are looked at: as many as are indexed of it.
const WORDS_MAX: usize = 16_000;

/// Places of one phrase that are weighed: where it stands more often, one of these is as good as any.
const HITS_MAX: usize = 1_000;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub text: String,
    pub is_hit: bool,
}

/// The piece that has most of what is looked for in this zone, of the first of these texts that has anything of it, as
/// parts that follow each other; `None` where none has.
pub fn snippet<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    zone: Zone,
    phrases: &[&Phrase],
) -> Option<Vec<Part>> {
    let mut left = READ_BYTES_MAX;
    for text in texts {
        let mut end = text.len().min(left);
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let found = snippet_of(text.get(..end)?, zone, phrases);
        // Texts of nothing cost something, too.
        left = left.saturating_sub(end.saturating_add(1));
        if found.is_some() || left == 0 {
            return found;
        }
    }
    None
}

fn snippet_of(text: &str, zone: Zone, phrases: &[&Phrase]) -> Option<Vec<Part>> {
    let text = composed(text);
    let mut found = words(&text);
    found.truncate(WORDS_MAX);
    let mut hits: Vec<Hit> = Vec::new();
    for (index, phrase) in phrases.iter().enumerate() {
        if phrase.zones.has(zone) {
            hits.extend(hits_of(phrase, index, &found).take(HITS_MAX));
        }
    }
    hits.sort_unstable_by_key(|hit| (hit.start, hit.end));
    let best = best_window(&text, &hits)?;
    Some(parts(&text, best, &hits))
}

#[derive(Debug, Clone, Copy)]
struct Hit {
    start: usize,
    end: usize,
    phrase: usize,
}

fn hits_of<'w>(
    phrase: &'w Phrase,
    index: usize,
    found: &'w [Word],
) -> impl Iterator<Item = Hit> + 'w {
    let wanted = phrase.words.as_slice();
    let is_prefix = phrase.is_prefix;
    found
        .windows(wanted.len().max(1))
        .filter_map(move |window| {
            let last = wanted.len().saturating_sub(1);
            let is_match = window
                .iter()
                .zip(wanted)
                .enumerate()
                .all(|(place, (word, wanted))| {
                    if place == last && is_prefix {
                        word.folded.starts_with(wanted.as_str())
                    } else {
                        word.folded == *wanted
                    }
                });
            let (first, behind) = (window.first()?, window.last()?);
            (is_match && !wanted.is_empty()).then_some(Hit {
                start: first.start,
                end: behind.end,
                phrase: index,
            })
        })
}

/// The bytes to show: from a little before the hit behind which most different phrases follow closely.
fn best_window(text: &str, hits: &[Hit]) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    // The hits that follow closely, and how many there are of each phrase: both only move on.
    let mut following = hits.iter().peekable();
    let mut close: BTreeMap<usize, usize> = BTreeMap::new();
    for hit in hits {
        let within = hit
            .start
            .saturating_add(SNIPPET_CHARS_MAX.saturating_sub(BEFORE_CHARS));
        while let Some(other) = following.next_if(|other| other.end <= within) {
            let count = close.entry(other.phrase).or_default();
            *count = count.saturating_add(1);
        }
        let score = close.len();
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, hit.start));
        }
        if following
            .peek()
            .is_some_and(|next| std::ptr::eq(*next, hit))
        {
            // It is longer than what is shown.
            following.next();
        } else if let Some(count) = close.get_mut(&hit.phrase) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                close.remove(&hit.phrase);
            }
        }
    }
    let (_, hit) = best?;
    let start = chars_back(text, hit, BEFORE_CHARS);
    let end = text
        .get(start..)?
        .char_indices()
        .nth(SNIPPET_CHARS_MAX)
        .map_or(text.len(), |(at, _)| start.saturating_add(at));
    Some((at_word_start(text, start, hit), end))
}

fn chars_back(text: &str, from: usize, count: usize) -> usize {
    let front = text.get(..from).unwrap_or_default();
    front
        .char_indices()
        .rev()
        .take(count)
        .last()
        .map_or(from, |(at, _)| at)
}

/// The first word that begins at or behind `start`, up to `hit`.
fn at_word_start(text: &str, start: usize, hit: usize) -> usize {
    if start == 0 {
        return 0;
    }
    let between = text.get(start..hit).unwrap_or_default();
    between
        .char_indices()
        .skip_while(|(_, c)| !c.is_whitespace())
        .find(|(_, c)| !c.is_whitespace())
        .map_or(hit, |(at, _)| start.saturating_add(at))
}

fn parts(text: &str, (start, end): (usize, usize), hits: &[Hit]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut add = |from: usize, to: usize, is_hit: bool| {
        let text = text.get(from..to).unwrap_or_default();
        let text = text.replace(|c: char| c.is_control(), " ");
        if text.is_empty() {
            return;
        }
        match parts.last_mut() {
            Some(last) if last.is_hit == is_hit => last.text.push_str(&text),
            _ => parts.push(Part { text, is_hit }),
        }
    };
    let mut at = start;
    for hit in hits {
        // Pairs of characters overlap.
        let (from, to) = (hit.start.max(at), hit.end.min(end));
        if from >= to {
            continue;
        }
        add(at, from, false);
        add(from, to, true);
        at = to;
    }
    add(at, end, false);
    parts
}
