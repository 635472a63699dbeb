//! Hostile HTML that nobody has thought of: grammar without order, and known vectors cut, spliced and bent.

use super::vectors::{ATTRIBUTES, ELEMENTS, LOADS, PROPERTIES, VECTORS};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Addresses, in the disguises that browsers have seen through.
const ADDRESSES: [&str; 26] = [
    "LEAK",
    "//leak.example/relative",
    "\\\\leak.example/back",
    "http:leak.example/none",
    "javascript:MARK",
    "JaVaScRiPt:MARK",
    "java\tscript:MARK",
    "java\nscript:MARK",
    "\u{1}javascript:MARK",
    "&#106;avascript:MARK",
    "&#x6A&#x61vascript:MARK",
    "javascript&colon;MARK",
    "java&Tab;script:MARK",
    "javascript:\u{2028}MARK",
    "vbscript:MARK",
    "data:text/html,<script>MARK</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "data:image/svg+xml,<svg onload=MARK xmlns=http://www.w3.org/2000/svg>",
    "blob:http://page.example/x",
    "about:blank#MARK",
    "cid:known",
    "cid:x\" onerror=MARK y=\"",
    "mailto:a@b.example?body=\"><script>MARK</script>",
    "https://good.example@evil.example/",
    "http://x.example/\"onmouseover=MARK//",
    "#",
];

/// What ends or begins something else than it seems to.
const TURNS: [&str; 40] = [
    "<",
    ">",
    "</",
    "/>",
    "<!--",
    "-->",
    "--!>",
    "<!-->",
    "<!--->",
    "<![CDATA[",
    "]]>",
    "<?",
    "?>",
    "<!",
    "<!doctype html>",
    "<%",
    "\"",
    "'",
    "`",
    "=",
    "&",
    "&lt;",
    "&gt;",
    "&quot;",
    "&#39;",
    "&#x3c;",
    "&#0;",
    "&lt",
    "&nbsp",
    "\0",
    "\u{c}",
    "\u{feff}",
    "\u{2028}",
    "\u{fffd}",
    "\u{3c}\u{338}",
    "\r",
    "\n",
    "\t",
    "ſ",
    "K",
];

/// Elements within which text means something else; they close each other in ways that surprise.
const PLACES: [&str; 26] = [
    "style",
    "script",
    "title",
    "textarea",
    "xmp",
    "noscript",
    "noembed",
    "noframes",
    "iframe",
    "plaintext",
    "template",
    "select",
    "option",
    "svg",
    "math",
    "mtext",
    "mglyph",
    "malignmark",
    "annotation-xml",
    "foreignObject",
    "desc",
    "table",
    "caption",
    "form",
    "p",
    "pre",
];

/// So many documents, the same for the same seed.
pub fn documents(count: usize, seed: u64) -> impl Iterator<Item = String> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(move |_| {
        let written = match rng.random_range(0..4) {
            0 => bent(&mut rng),
            1 => spliced(&mut rng),
            _ => written(&mut rng),
        };
        if rng.random_bool(0.1) {
            bend(&mut rng, &written)
        } else {
            written
        }
    })
}

fn word<'a>(rng: &mut StdRng, words: &'a str) -> &'a str {
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    words.choose(rng).copied().unwrap()
}

fn one(rng: &mut StdRng, from: &[&'static str]) -> &'static str {
    from.choose(rng).copied().unwrap()
}

/// Tags, text and turns in any order.
fn written(rng: &mut StdRng) -> String {
    let mut out = String::new();
    let mut open: Vec<String> = Vec::new();
    for _ in 0..rng.random_range(1..12) {
        match rng.random_range(0..10) {
            0..5 => {
                let name = name(rng);
                out.push_str(&tag(rng, &name));
                open.push(name);
            }
            5 | 6 if !open.is_empty() => {
                // Any of what is open, not only the innermost.
                let name = open.remove(rng.random_range(0..open.len()));
                out.push_str(&format!("</{name}>"));
            }
            7 => out.push_str(one(rng, VECTORS)),
            8 => out.push_str(one(rng, &TURNS)),
            _ => out.push_str("text "),
        }
    }
    out
}

fn name(rng: &mut StdRng) -> String {
    let name = if rng.random_bool(0.5) {
        one(rng, &PLACES)
    } else {
        word(rng, ELEMENTS)
    };
    match rng.random_range(0..12) {
        0 => name.to_uppercase(),
        1 => format!("{name}{}", one(rng, &TURNS)),
        2 => format!("{}{name}", one(rng, &["/", "x:", "svg:", "html:"])),
        _ => name.to_owned(),
    }
}

fn tag(rng: &mut StdRng, name: &str) -> String {
    let mut out = format!("<{name}");
    for _ in 0..rng.random_range(0..4) {
        out.push_str(one(
            rng,
            &[
                " ", " ", " ", "/", "\n", "\t", "\u{c}", "\" ", "' ", "\u{b}",
            ],
        ));
        let attribute = word(rng, ATTRIBUTES);
        let value = match rng.random_range(0..6) {
            0 => format!("{}:{}", word(rng, PROPERTIES), one(rng, &LOADS)),
            1 => "MARK".to_owned(),
            2 => one(rng, VECTORS).to_owned(),
            3 => one(rng, &TURNS).to_owned(),
            _ => one(rng, &ADDRESSES).to_owned(),
        };
        let written = match rng.random_range(0..9) {
            0 => format!("{attribute}={value}"),
            1 => format!("{attribute} = '{value}'"),
            2 => format!("{attribute}=`{value}`"),
            // A quote that does not end.
            3 => format!("{attribute}=\"{value}"),
            4 => format!("{attribute}='{value}"),
            5 => attribute.to_uppercase(),
            _ => format!("{attribute}=\"{}\"", value.replace('"', "&quot;")),
        };
        out.push_str(&written);
    }
    out.push_str(one(rng, &[">", ">", ">", ">", "/>", "", " <", "\n>"]));
    out
}

/// A known vector within elements that read it otherwise, or two of them.
fn spliced(rng: &mut StdRng) -> String {
    let (first, second) = (one(rng, VECTORS), one(rng, VECTORS));
    let (outer, inner) = (one(rng, &PLACES), one(rng, &PLACES));
    match rng.random_range(0..5) {
        0 => format!("<{outer}><{inner}>{first}</{outer}>{second}</{inner}>"),
        1 => format!("<{outer}><{inner} title=\"</{outer}>{first}\">{second}"),
        2 => format!("<{outer}><!--</{outer}>{first}--></{inner}>{second}"),
        3 => {
            let at = middle(rng, first);
            format!("{}{second}{}", &first[..at], &first[at..])
        }
        _ => format!("<{outer}>{}<{inner}>{first}", one(rng, &TURNS)),
    }
}

fn bent(rng: &mut StdRng) -> String {
    let vector = one(rng, VECTORS);
    bend(rng, vector)
}

/// Cuts out, doubles, exchanges or puts in a few pieces.
fn bend(rng: &mut StdRng, vector: &str) -> String {
    let mut out = vector.to_owned();
    for _ in 0..rng.random_range(1..5) {
        let (a, b) = (middle(rng, &out), middle(rng, &out));
        let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 12));
        let to = out.ceil_char_boundary(to);
        match rng.random_range(0..5) {
            0 => out.replace_range(from..to, ""),
            1 => {
                let piece = out[from..to].to_owned();
                out.insert_str(to, &piece);
            }
            2 => out.replace_range(from..to, one(rng, &TURNS)),
            3 => {
                let piece = out[from..to].to_owned();
                let swapped: String = piece
                    .chars()
                    .map(|c| {
                        if c.is_ascii_lowercase() {
                            c.to_ascii_uppercase()
                        } else {
                            c.to_ascii_lowercase()
                        }
                    })
                    .collect();
                out.replace_range(from..to, &swapped);
            }
            _ => out.insert_str(from, one(rng, &TURNS)),
        }
    }
    out
}

/// Somewhere in it, between two characters.
fn middle(rng: &mut StdRng, text: &str) -> usize {
    text.floor_char_boundary(rng.random_range(0..=text.len()))
}
