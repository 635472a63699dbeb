//! The house is built as ARCHITECTURE.md says: imports point down, each outside crate has one home, nothing names a machine.
//! Reads the sources as text; the compiler proves the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("rules", &["model"]),
    ("store", &["rules", "model"]),
    ("mail", &["rules", "model"]),
    ("view", &["rules", "model"]),
    ("bus", &["rules", "model"]),
    (
        "actions",
        &["store", "mail", "view", "bus", "rules", "model"],
    ),
    ("live", &["store", "mail", "view", "bus", "rules", "model"]),
    ("auth", &["store", "mail", "view", "bus", "rules", "model"]),
    (
        "worker",
        &[
            "actions", "live", "auth", "store", "mail", "view", "bus", "rules", "model",
        ],
    ),
    // Resolvers parse input, call one action or one store list, and shape the answer: mail and worker are none of their business.
    (
        "graphql",
        &[
            "actions", "live", "auth", "store", "view", "bus", "rules", "model",
        ],
    ),
    (
        "http",
        &[
            "graphql", "actions", "live", "auth", "store", "mail", "view", "bus", "rules", "model",
        ],
    ),
    (
        "cli",
        &[
            "http", "graphql", "worker", "actions", "live", "auth", "store", "mail", "view", "bus",
            "rules", "model",
        ],
    ),
];

/// Imports between rooms of one level, each with its reason. Never both ways.
const SIDEWAYS: &[(&str, &str, &str)] = &[(
    "actions",
    "auth",
    "a new user's password is hashed where passwords are at home",
)];

/// Files that wire the rooms together, and the rooms that may import them. They may import every room, but for `config` and `clock`.
const WIRING: &[(&str, &[&str])] = &[
    ("app", &["cli"]),
    (
        "config",
        &[
            "cli", "http", "graphql", "worker", "actions", "live", "auth", "store", "mail", "bus",
        ],
    ),
    ("telemetry", &["cli", "graphql"]),
    (
        "clock",
        &[
            "cli", "http", "graphql", "worker", "actions", "live", "auth", "store", "mail", "bus",
        ],
    ),
];

/// What the crate's root exports besides rooms: macros of `model`.
const ROOT_MACROS: &[&str] = &["text_enum"];

/// Outside crates, as they are written in code, and the only room or file that may use them.
const HOMES: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("libsqlite3_sys", &["store"]),
    ("r2d2", &["store"]),
    ("object_store", &["store"]),
    ("lz4_flex", &["store"]),
    ("flate2", &["mail"]),
    ("icu_normalizer", &["rules"]),
    ("async_graphql", &["graphql"]),
    ("actix_web", &["http"]),
    ("actix_ws", &["http"]),
    ("imap", &["mail"]),
    ("mail_parser", &["mail"]),
    ("lettre", &["mail"]),
    ("utf7_imap", &["mail"]),
    ("ammonia", &["view"]),
    ("minijinja", &["view"]),
    ("redis", &["bus"]),
    ("jsonwebtoken", &["auth"]),
    ("argon2", &["auth"]),
    ("clap", &["cli", "config"]),
    ("anyhow", &["cli"]),
    ("rustix", &["cli"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("reqwest", &["telemetry"]),
];

/// Lines that a file of the product, or of its tests, has at most. Beyond that nobody finds anything; most are far shorter.
const LINES_MAX: usize = 1000;
const TEST_LINES_MAX: usize = 1500;

/// Files that are kept as they came, wherever they lie.
const DATA_FOLDERS: &[&str] = &["tests/mail", "src/http/assets"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the repository, without what builds leave there.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_left_by_builds = matches!(name.as_str(), "target" | "node_modules" | ".git");
        if path.is_dir() && !is_left_by_builds {
            files_below(&path, found);
        } else if path.is_file() && name != ".git" {
            found.push(path);
        }
    }
}

/// The path of each file below a folder of the repository, from its root, with its text; files that are no text are left out.
fn texts_below(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    files_below(&root().join(folder), &mut files);
    files.sort();
    files
        .into_iter()
        .filter_map(|file| {
            let path = file
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/");
            let text = String::from_utf8(fs::read(&file).unwrap()).ok()?;
            let is_data = DATA_FOLDERS.iter().any(|folder| path.starts_with(folder));
            (!is_data).then_some((path, text))
        })
        .collect()
}

/// Rust source with comments, strings and character literals made blank; line ends stay.
fn code_only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let mut index = 0;
    while index < chars.len() {
        let end = match (at(index), at(index + 1)) {
            ('/', '/') => (index..chars.len())
                .find(|i| at(*i) == '\n')
                .unwrap_or(chars.len()),
            ('/', '*') => block_comment_end(&chars, index),
            ('"', _) => string_end(&chars, index + 1),
            ('r', '"' | '#') if !is_part_of_word(at(index.wrapping_sub(1))) => {
                raw_string_end(&chars, index).unwrap_or(index)
            }
            // A character literal, not a lifetime.
            ('\'', '\\') => (index + 3..chars.len())
                .find(|i| at(*i) == '\'')
                .map_or(chars.len(), |i| i + 1),
            ('\'', _) if at(index + 2) == '\'' => index + 3,
            _ => index,
        };
        if end == index {
            out.push(at(index));
            index += 1;
        } else {
            out.extend(chars[index..end].iter().map(|c| blank(*c)));
            index = end;
        }
    }
    out
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut index = start;
    while index + 1 < chars.len() {
        match (chars[index], chars[index + 1]) {
            ('/', '*') => {
                depth += 1;
                index += 2;
            }
            ('*', '/') => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], inside: usize) -> usize {
    let mut index = inside;
    while index < chars.len() {
        match chars[index] {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"` or `r#"…"#`; `None` if it is another thing, such as `r#type`.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return None;
    }
    let closing: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let inside = start + 2 + hashes;
    let found = chars[inside..]
        .windows(closing.len())
        .position(|window| window == closing.as_slice());
    Some(found.map_or(chars.len(), |offset| inside + offset + closing.len()))
}

fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The names that follow this path prefix anywhere in the code: `crate::a`, and each of `crate::{a, b::c}`.
fn names_behind(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at]
            .chars()
            .next_back()
            .is_some_and(|before| is_part_of_word(before) || before == '$')
        {
            continue;
        }
        let rest = code[at + prefix.len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            names.extend(group_members(group));
        } else {
            names.insert(rest.chars().take_while(|c| is_part_of_word(*c)).collect());
        }
    }
    names
}

/// The first name of each member of a `use` group whose text begins behind its "{".
fn group_members(group: &str) -> BTreeSet<String> {
    let mut members = BTreeSet::new();
    let mut depth = 0;
    let mut member = String::new();
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => {
                members.insert(std::mem::take(&mut member));
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            c if depth == 0 => member.push(c),
            _ => {}
        }
    }
    members.insert(member);
    let first_name = |member: &String| {
        member
            .trim()
            .chars()
            .take_while(|c| is_part_of_word(*c))
            .collect::<String>()
    };
    members
        .iter()
        .map(first_name)
        .filter(|name| !name.is_empty())
        .collect()
}

/// The room or wiring file that a source file belongs to: `src/store/users.rs` and `src/store.rs` are of `store`.
fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split_once('/').map_or_else(
        || inside.strip_suffix(".rs").unwrap_or(inside),
        |(room, _)| room,
    )
}

/// Whether a file holds tests alone.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Every source file of the crate: its path, its room, and its code without comments and strings.
fn sources() -> Vec<(String, String, String)> {
    texts_below("src")
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| {
            let room = room_of(&path).to_owned();
            (path, room, code_only(&text))
        })
        .collect()
}

/// What is wrong with an import of `name` by `room`, if anything.
fn import_fault(room: &str, name: &str) -> Option<String> {
    if room == name || ROOT_MACROS.contains(&name) || matches!(room, "app" | "main" | "lib") {
        return None;
    }
    if let Some((_, importers)) = WIRING.iter().find(|(wiring, _)| *wiring == name) {
        return (!importers.contains(&room)).then(|| format!("{room} may not import {name}"));
    }
    let allowed = match room {
        "config" | "clock" => &["model"][..],
        room => ROOMS
            .iter()
            .find(|(known, _)| *known == room)
            .map(|(_, allowed)| *allowed)?,
    };
    let is_sideways = SIDEWAYS
        .iter()
        .any(|(importer, imported, _)| *importer == room && *imported == name);
    (!allowed.contains(&name) && !is_sideways).then(|| format!("{room} may not import {name}"))
}

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for (path, room, code) in sources() {
        for name in names_behind(&code, "crate::") {
            faults.extend(import_fault(&room, &name).map(|fault| format!("{path}: {fault}")));
        }
        if !matches!(room.as_str(), "main" | "lib") {
            faults.extend(
                names_behind(&code, "mailroom::")
                    .into_iter()
                    .map(|name| format!("{path}: write crate::{name}")),
            );
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn nobody_climbs_out_of_a_room_by_super() {
    let mut faults = Vec::new();
    for (path, _, code) in sources() {
        let inside = path.strip_prefix("src/").unwrap();
        let modules = inside.split('/').count() - usize::from(inside.ends_with("mod.rs"));
        for (at, _) in code.match_indices("super::") {
            if code[..at].ends_with("super::") {
                continue;
            }
            let climbs = code[at..]
                .split("super::")
                .take_while(|between| between.is_empty())
                .count();
            // A module of tests inside the file is one step further down.
            let depth = modules + usize::from(code[..at].contains("mod tests"));
            if climbs >= depth {
                faults.push(format!(
                    "{path}: {}",
                    code[at..].lines().next().unwrap_or("")
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_room_is_known_and_there() {
    let rooms: BTreeSet<String> = sources().into_iter().map(|(_, room, _)| room).collect();
    let known: BTreeSet<String> = ROOMS
        .iter()
        .map(|(room, _)| *room)
        .chain(WIRING.iter().map(|(wiring, _)| *wiring))
        .chain(["main", "lib"])
        .map(str::to_owned)
        .collect();
    assert_eq!(rooms, known);
    let sideways = SIDEWAYS.iter().map(|(room, other, _)| (*room, *other));
    let reversed = |(room, other)| {
        SIDEWAYS
            .iter()
            .any(|(importer, imported, _)| (*importer, *imported) == (other, room))
    };
    assert!(!sideways.clone().any(reversed));
    for (room, allowed) in ROOMS {
        for below in *allowed {
            let (_, below_allowed) = ROOMS.iter().find(|(known, _)| known == below).unwrap();
            assert!(
                !below_allowed.contains(room),
                "{room} and {below} may import each other"
            );
        }
    }
}

#[test]
fn every_outside_crate_has_one_home() {
    let mut faults = Vec::new();
    for (path, room, code) in sources() {
        for (outside, homes) in HOMES {
            let is_used = code.match_indices(outside).any(|(at, _)| {
                let before = code[..at].trim_end();
                let behind = &code[at + outside.len()..];
                let is_whole_word =
                    !code[..at].ends_with(is_part_of_word) && !behind.starts_with(is_part_of_word);
                // `imap` may be a module or a field of ours; a path or a `use` that begins with it is the crate.
                let begins_path =
                    !before.ends_with("::") && !before.ends_with('.') && behind.starts_with("::");
                let is_imported = before.ends_with("use") && behind.starts_with([';', ' ']);
                is_whole_word && (begins_path || is_imported)
            });
            if is_used
                && !homes.contains(&room.as_str())
                && !is_module_of_ours(&path, &code, outside)
            {
                faults.push(format!("{path}: {outside} is at home in {homes:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Whether the file names a module of its own like the crate (`mod redis;` in `bus`, `use crate::mail::imap`).
fn is_module_of_ours(path: &str, code: &str, name: &str) -> bool {
    let inside_own_module =
        path.contains(&format!("/{name}/")) || path.ends_with(&format!("/{name}.rs"));
    let imported = code
        .lines()
        .any(|line| line.contains("crate::") && line.contains(name));
    inside_own_module || imported || code.contains(&format!("mod {name};"))
}

#[test]
fn rules_are_pure() {
    let words = [
        "async fn", "std::fs", "std::env", "std::net", "std::io", "tokio::", "rand::", "chrono::",
        "Instant", "Result<",
    ];
    let mut faults = Vec::new();
    for (path, room, code) in sources() {
        if room == "rules" {
            let product = code.split("mod tests").next().unwrap_or("");
            faults.extend(
                words
                    .iter()
                    .filter(|word| product.contains(*word))
                    .map(|word| format!("{path}: {word}")),
            );
        }
    }
    assert!(
        faults.is_empty(),
        "rules does no I/O and has no async, clock, randomness or Result: {faults:#?}"
    );
}

#[test]
fn nothing_names_a_machine() {
    let needles = [
        ["/wo", "rk/"].concat(),
        ["/tmp/", "boot"].concat(),
        ["../sha", "red"].concat(),
    ];
    let mut faults = Vec::new();
    for (path, text) in texts_below("") {
        for (index, line) in text.lines().enumerate() {
            if needles.iter().any(|needle| line.contains(needle)) {
                faults.push(format!("{path}:{}: {line}", index + 1));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let mut trees = BTreeMap::new();
    for database in ["sqlite", "postgresql"] {
        let files = texts_below(&format!("migrations/{database}"));
        let names: BTreeSet<String> = files
            .iter()
            .map(|(path, _)| path.replace(&format!("migrations/{database}/"), ""))
            .collect();
        assert!(!names.is_empty(), "there are migrations for {database}");
        for name in &names {
            let (folder, file) = name
                .split_once('/')
                .unwrap_or_else(|| panic!("{name} lies in a folder of its own"));
            assert!(matches!(file, "up.sql" | "down.sql"), "{database}: {name}");
            for other in ["up.sql", "down.sql"] {
                assert!(
                    names.contains(&format!("{folder}/{other}")),
                    "{database}: {folder} has {other}"
                );
            }
        }
        trees.insert(database, names);
    }
    assert_eq!(trees["sqlite"], trees["postgresql"]);
}

#[test]
fn no_source_file_is_too_long() {
    let mut faults = Vec::new();
    for (path, text) in texts_below("src").into_iter().chain(texts_below("tests")) {
        let lines = text.lines().count();
        let lines_max = if is_test(&path) {
            TEST_LINES_MAX
        } else {
            LINES_MAX
        };
        if path.ends_with(".rs") && lines > lines_max {
            faults.push(format!("{path}: {lines} lines"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_module_says_what_it_is() {
    let faults: Vec<String> = texts_below("src")
        .into_iter()
        .filter(|(path, text)| path.ends_with(".rs") && !is_test(path) && !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(
        faults.is_empty(),
        "a module begins with its //! documentation: {faults:#?}"
    );
}

#[test]
fn the_reader_of_sources_sees_code_only() {
    for (sentence, source, expected) in [
        ("line comments", "a // b\nc", &["a", "c"][..]),
        (
            "block comments, also nested",
            "a /* b /* c */ d */ e",
            &["a", "e"],
        ),
        ("strings", "a \"b \\\" c\" d", &["a", "d"]),
        (
            "raw strings",
            "a r#\"b \" c\"# d r\"e\" f",
            &["a", "d", "f"],
        ),
        ("raw names are code", "r#type", &["r#type"]),
        (
            "characters are not lifetimes",
            "'\"' a '\\'' b <'c> d",
            &["a", "b", "<'c>", "d"],
        ),
    ] {
        assert_eq!(
            code_only(source).split_whitespace().collect::<Vec<_>>(),
            expected,
            "{sentence}"
        );
    }
    let code = "use crate::{a::{b, c}, d}; crate::e::f(); xcrate::g; use crate::h as i;";
    assert_eq!(
        names_behind(code, "crate::")
            .into_iter()
            .collect::<Vec<_>>(),
        ["a", "d", "e", "h"]
    );
    assert_eq!(
        (
            room_of("src/store/users.rs"),
            room_of("src/live.rs"),
            room_of("src/app.rs")
        ),
        ("store", "live", "app")
    );
}
