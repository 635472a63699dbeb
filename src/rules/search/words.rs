//! Words of a text as the index has them: without case, accents and width, so that `Éclair` is found by `eclair`.
//!
//! Scripts that put no spaces between words (Chinese, Japanese, Korean, Thai …) become pairs of characters, and the last
//! character once more alone: whatever part of such a text is looked for, its pairs stand one behind the other.

use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use std::borrow::Cow;

/// Characters of a word that count: longer ones are addresses of pages and the like, known by their beginning.
const WORD_CHARS_MAX: usize = 40;

/// A word, and where in the text it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As the index has it.
    pub folded: String,
    /// Its first byte in the text.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
    /// Where it is the last character of a run without spaces: how many characters the run has.
    pub ends_run_of: Option<usize>,
}

/// The text with each character in one piece, as [`words`] takes it.
pub fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// A character of a run without spaces.
struct Unit {
    folded: String,
    start: usize,
    end: usize,
}

/// The words of a composed text, in their order.
pub fn words(text: &str) -> Vec<Word> {
    let mut reader = Reader {
        found: Vec::new(),
        word: None,
        chars_in_word: 0,
        run: Vec::new(),
    };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let at = text.len() - rest.len();
        let letters = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let mut length = letters.max(c.len_utf8());
        let piece = rest.get(..length).unwrap_or_default();
        let end = at.saturating_add(length);
        if letters > 0 {
            reader.letters(at, piece);
        } else if c.is_ascii() {
            reader.close();
        } else if is_passed_over(c) {
            // As if it were not there.
        } else if !is_in_words(c) {
            reader.close();
        } else if is_unspaced(c) {
            // Half-width kana carry their voice marks behind them.
            let behind = rest.get(length..).and_then(|behind| behind.chars().next());
            let mark = behind.filter(|mark| is_half_voice_mark(*mark));
            length = length.saturating_add(mark.map_or(0, char::len_utf8));
            let piece = rest.get(..length).unwrap_or_default();
            let folded = ComposingNormalizerBorrowed::new_nfkc().normalize(piece);
            reader.unit(Unit {
                folded: folded.into_owned(),
                start: at,
                end: at.saturating_add(length),
            });
        } else {
            reader.letter(at, end, |word| fold(c, word));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    reader.close();
    reader.found
}

struct Reader {
    found: Vec<Word>,
    word: Option<Word>,
    chars_in_word: usize,
    run: Vec<Unit>,
}

impl Reader {
    fn letter(&mut self, start: usize, end: usize, push: impl FnOnce(&mut String)) {
        self.close_run();
        let chars_before = self.chars_in_word;
        let word = self.open(start, end);
        if chars_before < WORD_CHARS_MAX {
            push(&mut word.folded);
        }
        self.chars_in_word = chars_before.saturating_add(1);
    }

    /// Letters and digits of ASCII, all at once.
    fn letters(&mut self, start: usize, letters: &str) {
        self.close_run();
        let chars_before = self.chars_in_word;
        let word = self.open(start, start.saturating_add(letters.len()));
        let counting = letters
            .len()
            .min(WORD_CHARS_MAX.saturating_sub(chars_before));
        let from = word.folded.len();
        word.folded
            .push_str(letters.get(..counting).unwrap_or_default());
        if let Some(added) = word.folded.get_mut(from..) {
            added.make_ascii_lowercase();
        }
        self.chars_in_word = chars_before.saturating_add(letters.len());
    }

    /// The word that goes on up to here, or begins.
    fn open(&mut self, start: usize, end: usize) -> &mut Word {
        let word = self.word.get_or_insert_with(|| Word {
            folded: String::new(),
            start,
            end,
            ends_run_of: None,
        });
        word.end = end;
        word
    }

    fn unit(&mut self, unit: Unit) {
        self.close_word();
        self.run.push(unit);
    }

    fn close(&mut self) {
        self.close_word();
        self.close_run();
    }

    fn close_word(&mut self) {
        self.chars_in_word = 0;
        // A letter may fold to nothing: a mark that stands alone.
        self.found
            .extend(self.word.take().filter(|word| !word.folded.is_empty()));
    }

    fn close_run(&mut self) {
        let length = self.run.len();
        for pair in self.run.windows(2) {
            if let [first, second] = pair {
                self.found.push(Word {
                    folded: [first.folded.as_str(), &second.folded].concat(),
                    start: first.start,
                    end: second.end,
                    ends_run_of: None,
                });
            }
        }
        if let Some(last) = self.run.drain(..).next_back() {
            self.found.push(Word {
                folded: last.folded,
                start: last.start,
                end: last.end,
                ends_run_of: Some(length),
            });
        }
        self.run.clear();
    }
}

/// Adds a character without its case, accents and width.
fn fold(c: char, into: &mut String) {
    let decomposer = DecomposingNormalizerBorrowed::new_nfkd();
    for piece in decomposer.normalize_iter(c.to_lowercase()) {
        for letter in piece.to_lowercase() {
            if is_accent(letter) || !is_in_words(letter) {
                continue;
            }
            match letter {
                'ß' => into.push_str("ss"),
                'æ' => into.push_str("ae"),
                'œ' => into.push_str("oe"),
                'þ' => into.push_str("th"),
                'ø' => into.push('o'),
                'đ' | 'ð' => into.push('d'),
                'ł' => into.push('l'),
                'ħ' => into.push('h'),
                'ı' => into.push('i'),
                'ς' => into.push('σ'),
                other => into.push(other),
            }
        }
    }
}

fn is_in_words(c: char) -> bool {
    // What combines with a letter belongs to it: vowel killers are no letters themselves.
    c.is_alphanumeric() || CanonicalCombiningClassMapBorrowed::new().get_u8(c) != 0
}

/// Marks above and below letters that people leave out when they look for something. Vowel signs are letters.
const fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}'        // Latin, Greek, Cyrillic
        | '\u{483}'..='\u{487}'      // old Cyrillic
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}' | '\u{5c4}'..='\u{5c5}' | '\u{5c7}' // Hebrew points
        | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' // Arabic vowels
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// What stands within words without being seen: soft hyphens, joiners, tatweel.
const fn is_passed_over(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200c}' | '\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{640}'
    )
}

const fn is_half_voice_mark(c: char) -> bool {
    matches!(c, '\u{ff9e}' | '\u{ff9f}')
}

/// Whether its script puts no spaces between words.
const fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}'        // Thai, Lao
        | '\u{1000}'..='\u{109f}'    // Burmese
        | '\u{1100}'..='\u{11ff}'    // Hangul letters
        | '\u{1780}'..='\u{17ff}'    // Khmer
        | '\u{2e80}'..='\u{2fdf}'    // radicals
        | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3038}'..='\u{303b}'
        | '\u{3040}'..='\u{30ff}'    // kana
        | '\u{3100}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' // Han
        | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' // Hangul
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'    // half-width kana
        | '\u{20000}'..='\u{3ffff}')
}
