//! The first words of a mail that say something, for lists and timelines.
//!
//! Greetings, quotes, signatures, banners and lines of decoration are passed over; if nothing else is there, they are better
//! than nothing. Not for reading the whole mail, and not for judging it: no rule looks at a preview.

use super::markup::within;
use super::quotes::{is_quoted_line, is_separator, split_quoted};

/// Characters of a preview, at most: two lines of a list.
pub const PREVIEW_CHARS_MAX: usize = 200;

/// What is read of a text for its preview: most have enough to say at their beginning. Banners and greetings are shorter
/// than the most that is read.
const READ_BYTES: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;

/// A line that greets has no more characters than this; longer ones go on to say something.
const GREETING_CHARS_MAX: usize = 48;

/// Where a word is looked for to end the preview with, in characters before its longest form.
const WORD_CHARS_SOUGHT: usize = 24;

/// How mails begin. A line that begins so and is short says nothing.
const GREETINGS: [&str; 58] = [
    "hi",
    "hello",
    "hey",
    "dear",
    "good morning",
    "good afternoon",
    "good evening",
    "greetings",
    "hallo",
    "guten tag",
    "guten morgen",
    "guten abend",
    "sehr geehrte",
    "liebe",
    "lieber",
    "moin",
    "grüß gott",
    "servus",
    "bonjour",
    "bonsoir",
    "cher",
    "chère",
    "madame",
    "monsieur",
    "salut",
    "hola",
    "buenos días",
    "buenas tardes",
    "estimado",
    "estimada",
    "estimados",
    "querido",
    "querida",
    "olá",
    "oi",
    "bom dia",
    "boa tarde",
    "prezado",
    "prezada",
    "caro",
    "cara",
    "buongiorno",
    "buonasera",
    "ciao",
    "gentile",
    "egregio",
    "beste",
    "geachte",
    "goedemorgen",
    "hej",
    "hei",
    "dzień dobry",
    "szanowni",
    "szanowna",
    "cześć",
    "здравствуйте",
    "добрый день",
    "уважаем",
];

/// Lines with which a mail ends: what follows is the signature.
const CLOSINGS: [&str; 34] = [
    "best regards",
    "kind regards",
    "warm regards",
    "regards",
    "best wishes",
    "all the best",
    "sincerely",
    "yours sincerely",
    "cheers",
    "many thanks",
    "thanks and regards",
    "mit freundlichen grüßen",
    "mit freundlichem gruß",
    "freundliche grüße",
    "viele grüße",
    "beste grüße",
    "liebe grüße",
    "mfg",
    "cordialement",
    "bien cordialement",
    "bien à vous",
    "saludos",
    "un saludo",
    "saludos cordiales",
    "atentamente",
    "atenciosamente",
    "cumprimentos",
    "cordiali saluti",
    "distinti saluti",
    "met vriendelijke groet",
    "med vänliga hälsningar",
    "med venlig hilsen",
    "z poważaniem",
    "с уважением",
];

/// What programs, gateways and newsletters write around the words of a mail.
const BOILERPLATE: [&str; 38] = [
    "sent from my ",
    "sent from outlook",
    "sent from mail for",
    "get outlook for",
    "von meinem ",
    "gesendet von ",
    "diese nachricht wurde von meinem",
    "envoyé de mon ",
    "envoyé depuis ",
    "enviado desde ",
    "enviado do meu ",
    "inviato da ",
    "verzonden vanaf ",
    "skickat från ",
    "sendt fra ",
    "wysłane z ",
    "отправлено с ",
    "отправлено из ",
    "view this email in your browser",
    "view in browser",
    "view online",
    "having trouble viewing",
    "if you can't see this",
    "if this email doesn't display",
    "im browser ansehen",
    "im browser öffnen",
    "wenn diese e-mail nicht",
    "falls diese e-mail nicht",
    "voir dans le navigateur",
    "afficher dans le navigateur",
    "ver en el navegador",
    "visualizza nel browser",
    "caution: this email",
    "caution: external",
    "external email",
    "[external]",
    "you don't often get email from",
    "achtung: diese e-mail",
];

/// The preview of a mail's plain text: one line, at most [`PREVIEW_CHARS_MAX`] characters.
pub fn preview(text: &str) -> String {
    let beginning = within(text, READ_BYTES);
    if beginning.len() < text.len() {
        let said = gathered(said_lines(split_quoted(beginning).own));
        if said.chars().count() > PREVIEW_CHARS_MAX {
            return cut(said);
        }
    }
    let text = within(text, READ_BYTES_MAX);
    let parts = split_quoted(text);
    let said = first_words(said_lines(parts.own));
    if !said.is_empty() {
        return said;
    }
    let own = first_words(
        parts
            .own
            .lines()
            .filter(|line| !is_quoted_line(line) && !is_decoration(line)),
    );
    if !own.is_empty() {
        return own;
    }
    // Nothing of their own: a forwarded mail, or a bare quote.
    first_words(
        parts
            .tail
            .lines()
            .filter(|line| !is_separator(line) && !is_decoration(line))
            .map(unquoted),
    )
}

/// The lines that say something, up to the signature.
fn said_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut greeted = false;
    text.lines()
        .take_while(|line| !is_signature(line))
        .filter(|line| !is_quoted_line(line) && !is_decoration(line) && !is_boilerplate(line))
        .filter(move |line| {
            let greets = !greeted && is_greeting(line);
            greeted |= greets || !line.trim().is_empty();
            !greets
        })
}

/// The words of these lines on one line, cut to the length of a preview.
fn first_words<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    cut(gathered(lines))
}

/// The words of these lines on one line, no more than show that they must be cut.
fn gathered<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    let mut chars: usize = 0;
    for word in lines.flat_map(str::split_whitespace) {
        // One character more than a preview has shows that it must be cut.
        if chars > PREVIEW_CHARS_MAX {
            break;
        }
        let word: String = word
            .chars()
            .filter(|c| !is_hidden(*c))
            .take(PREVIEW_CHARS_MAX.saturating_mul(2))
            .collect();
        if word.chars().all(is_invisible) || is_address_in_brackets(&word) {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
            chars = chars.saturating_add(1);
        }
        chars = chars.saturating_add(word.chars().count());
        out.push_str(&word);
    }
    out
}

/// Cut to the length of a preview, after a word where one ends nearby, never inside what is read as one character.
fn cut(text: String) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= PREVIEW_CHARS_MAX {
        return text;
    }
    // One character less, for the ellipsis.
    let longest = PREVIEW_CHARS_MAX.saturating_sub(1);
    let is_space_at = |at: &usize| chars.get(*at).is_some_and(|c| *c == ' ');
    let shortest = longest.saturating_sub(WORD_CHARS_SOUGHT);
    let mut end = (shortest..=longest)
        .rev()
        .find(is_space_at)
        .unwrap_or(longest);
    while end > shortest && !is_boundary(&chars, end) {
        end = end.saturating_sub(1);
    }
    let kept: String = chars.into_iter().take(end).collect();
    format!("{}…", kept.trim_end())
}

/// Whether a text may be cut before this character: it does not join the one before it.
fn is_boundary(chars: &[char], at: usize) -> bool {
    let is_flag_letter = |c: &char| matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
    let (Some(next), Some(before)) = (
        chars.get(at),
        at.checked_sub(1).and_then(|before| chars.get(before)),
    ) else {
        return true;
    };
    if is_flag_letter(next) && is_flag_letter(before) {
        // Two letters are one flag: cut between flags, not between letters.
        let letters = chars
            .iter()
            .take(at)
            .rev()
            .take_while(|c| is_flag_letter(c))
            .count();
        return letters % 2 == 0;
    }
    *before != '\u{200d}' && !joins(*next)
}

/// Whether this character joins the one before it: accents, vowel signs, variation selectors, skin tones, joiners.
fn joins(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}' | '\u{981}'..='\u{983}' | '\u{9bc}'..='\u{9cd}' | '\u{b82}' | '\u{bbe}'..='\u{bcd}'
        | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{200c}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}' | '\u{3099}' | '\u{309a}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
}

/// Characters that turn the direction of what follows, or control a terminal: never in a list.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that take no room: newsletters fill their previews with them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{2800}' | '\u{3164}' | '\u{feff}')
}

/// `<https://…>` or `[cid:…]`, as programs write links and pictures into plain text.
fn is_address_in_brackets(word: &str) -> bool {
    let inner = word.strip_prefix(['<', '[']).unwrap_or("");
    ["http://", "https://", "mailto:", "cid:", "image:"]
        .iter()
        .any(|scheme| inner.starts_with(scheme))
}

/// A line without a letter or digit: a rule, a frame, stars.
fn is_decoration(line: &str) -> bool {
    !line.chars().any(char::is_alphanumeric) && !line.chars().any(|c| c > '\u{2fff}')
}

pub(super) fn is_signature(line: &str) -> bool {
    if matches!(line.trim_end_matches('\r'), "-- " | "--") {
        return true;
    }
    let line = line.trim().trim_end_matches([',', '.', '!']).to_lowercase();
    CLOSINGS.contains(&line.as_str())
}

fn is_boilerplate(line: &str) -> bool {
    let line = within(line.trim(), 200).to_lowercase().replace('’', "'");
    BOILERPLATE.iter().any(|start| line.starts_with(start))
        || line.starts_with("[image")
        || line.starts_with("[cid:")
}

/// Whether a line greets and says nothing else.
fn is_greeting(line: &str) -> bool {
    let line = line.trim();
    if line.is_empty()
        || line.chars().count() > GREETING_CHARS_MAX
        || line.ends_with(['.', '?', ':', ';'])
    {
        return false;
    }
    let lower = line.to_lowercase();
    let greets = GREETINGS.iter().any(|greeting| {
        // A whole word, but for the stem "уважаем".
        lower
            .strip_prefix(greeting)
            .is_some_and(|rest| *greeting == "уважаем" || !rest.starts_with(char::is_alphanumeric))
    });
    // A greeting ends with a mark or is only a few words; "Hi all the documents are here" is neither.
    greets && (line.ends_with([',', '!', '，', '！']) || line.split_whitespace().count() <= 4)
}

/// A line without its marks of quoting.
fn unquoted(line: &str) -> &str {
    line.trim_start_matches(['>', ' ', '|'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it is about, a text, and its preview.
    const PREVIEWS: &[(&str, &str, &str)] = &[
        (
            "words on one line",
            "The offer\n\n  is   fine.\r\n",
            "The offer is fine.",
        ),
        (
            "without the greeting",
            "Hi Anna,\n\nthe offer is fine.",
            "the offer is fine.",
        ),
        (
            "in German",
            "Sehr geehrte Frau Berg,\n\nanbei das Angebot.",
            "anbei das Angebot.",
        ),
        (
            "in French",
            "Bonjour Madame,\nvoici l’offre.",
            "voici l’offre.",
        ),
        (
            "in Spanish",
            "Estimada señora Ruiz:\n",
            "Estimada señora Ruiz:",
        ),
        (
            "in Polish",
            "Dzień dobry,\nw załączeniu oferta.",
            "w załączeniu oferta.",
        ),
        (
            "in Russian",
            "Уважаемая Анна!\nПредложение во вложении.",
            "Предложение во вложении.",
        ),
        (
            "a greeting that goes on is kept",
            "Hi Anna, the offer is fine.",
            "Hi Anna, the offer is fine.",
        ),
        (
            "a sentence that begins like one is kept",
            "Hi all the documents are here",
            "Hi all the documents are here",
        ),
        (
            "a word that begins like one is kept",
            "History is written",
            "History is written",
        ),
        (
            "only the first line greets",
            "Hi,\nHello world",
            "Hello world",
        ),
        (
            "a greeting alone is better than nothing",
            "Hello Anna,\n",
            "Hello Anna,",
        ),
        (
            "without the signature",
            "Fine.\n-- \nAnna Berg\nBerg Ltd",
            "Fine.",
        ),
        (
            "without the closing",
            "Fine.\n\nMit freundlichen Grüßen\nAnna Berg",
            "Fine.",
        ),
        (
            "without what phones write",
            "Fine.\n\nSent from my iPhone",
            "Fine.",
        ),
        (
            "also before the words",
            "Von meinem iPhone gesendet\nPasst.",
            "Passt.",
        ),
        (
            "without banners",
            "CAUTION: This email originated from outside.\n\nFine.",
            "Fine.",
        ),
        (
            "without the link to the browser",
            "View this email in your browser <https://x.example/1>\n*****\nSpring sale",
            "Spring sale",
        ),
        (
            "without the quoted tail",
            "Fine.\n\nOn 3 March 2026, Anna <a@x.example> wrote:\n> Is it fine?",
            "Fine.",
        ),
        ("an answer below the quote", "> Is it fine?\n\nYes.", "Yes."),
        (
            "a forwarded mail shows what it forwards",
            "---------- Forwarded message ---------\nFrom: Anna\nHello",
            "From: Anna Hello",
        ),
        (
            "a bare quote shows what it quotes",
            "> Is it fine?",
            "Is it fine?",
        ),
        (
            "without links in brackets",
            "See our shop <https://x.example/a/b/c> now [cid:logo@x]",
            "See our shop now",
        ),
        (
            "without filling",
            "Sale \u{200c}\u{a0}\u{200c} \u{feff}\u{34f} today",
            "Sale today",
        ),
        ("without turned text", "a\u{202e}b\u{7}c", "abc"),
        ("emoji alone say something", "👍", "👍"),
        ("nothing is nothing", " \n\n-----\n", ""),
    ];

    #[test]
    fn r40_a_preview_shows_the_first_words_that_say_something() {
        for (sentence, text, expected) in PREVIEWS {
            assert_eq!(preview(text), *expected, "{sentence}");
        }
    }

    #[test]
    fn r40_a_preview_is_cut_between_what_is_read_as_characters() {
        let cut_at = |text: &str| preview(text).chars().count();
        for (sentence, text, expected) in [
            (
                "after a word",
                "word ".repeat(100),
                format!("{}…", "word ".repeat(40).trim_end()),
            ),
            (
                "inside a word that has no end",
                "x".repeat(500),
                format!("{}…", "x".repeat(199)),
            ),
            (
                "before a letter with its accent",
                "e\u{301}".repeat(200),
                format!("{}…", "e\u{301}".repeat(99)),
            ),
            (
                "between flags",
                "🇩🇪".repeat(150),
                format!("{}…", "🇩🇪".repeat(99)),
            ),
            (
                "before a family",
                format!("{}{}", "x".repeat(198), "👩\u{200d}👩\u{200d}👧".repeat(20)),
                format!("{}…", "x".repeat(198)),
            ),
            (
                "between two signs",
                "日".repeat(300),
                format!("{}…", "日".repeat(199)),
            ),
        ] {
            assert_eq!(preview(&text), expected, "{sentence}");
            assert!(cut_at(&text) <= PREVIEW_CHARS_MAX, "{sentence}");
        }
        assert_eq!(
            preview(&"x".repeat(PREVIEW_CHARS_MAX)),
            "x".repeat(PREVIEW_CHARS_MAX),
            "what fits is not cut"
        );
        assert_eq!(
            preview(&format!("x{}", "\u{301}".repeat(10_000)))
                .chars()
                .count(),
            176,
            "marks without end are cut all the same"
        );
    }

    #[test]
    fn any_text_has_a_preview() {
        for text in [
            "\u{0}",
            "\u{fffd}",
            "é".repeat(1_000_000).as_str(),
            "\n".repeat(1_000_000).as_str(),
            "> \n".repeat(300_000).as_str(),
            "a ".repeat(500_000).as_str(),
        ] {
            assert!(preview(text).chars().count() <= PREVIEW_CHARS_MAX);
        }
    }
}
