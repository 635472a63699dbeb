//! Words that nobody uses, as frequent as words are. Benchmarks use them too.

/// Different words that there are.
const WORDS: f64 = 20_000.0;

/// The word of this rank: the first is in nearly every mail, the last in one of hundreds.
pub fn word(rank: u64) -> String {
    const PARTS: [&str; 16] = [
        "of", "ka", "ri", "men", "to", "sal", "pre", "con", "di", "ver", "lo", "an", "ti", "gra",
        "su", "be",
    ];
    let mut name = String::new();
    let mut left = rank + 16;
    while left > 0 {
        name.push_str(PARTS[(left % 16) as usize]);
        left /= 16;
    }
    name
}

/// A word as they come; `share` is any number from 0 to below 1.
pub fn any_word(share: f64) -> String {
    word((share.powi(3) * WORDS) as u64)
}
