//! Each rule of what is saved where, who answers for it and who sees it stands in the name of a test that proves it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rules, each in a few words.
const RULES: [(u32, &str); 44] = [
    (3, "spam, Trash and Drafts, and mail that is rescued"),
    (4, "the backfill"),
    (5, "every UID gets an outcome; quarantine"),
    (6, "flags, expunges and moves"),
    (7, "one message, many places; UIDs that begin anew"),
    (8, "the visible state of a sync"),
    (9, "comparing with the server"),
    (10, "disconnecting a mailbox, and handing it over"),
    (11, "the switch \"CRM integration\", and saving by hand"),
    (12, "mail from or to our own people"),
    (13, "what an unknown client makes"),
    (14, "the queue"),
    (15, "existing clients, and replies"),
    (16, "which of a client's items"),
    (17, "threads"),
    (18, "exclusions, always a lead, automatic mail, bounces"),
    (19, "vCards, and the rate guard"),
    (20, "why: traces, simulations, rerouting"),
    (
        21,
        "an email is visible where every linked item is readable",
    ),
    (22, "access to a mailbox shows its mail"),
    (23, "roles and levels"),
    (24, "which rights saving and moving take"),
    (25, "who changes a mailbox's settings"),
    (26, "restricted fields"),
    (27, "hidden is absent"),
    (28, "explainAccess"),
    (29, "one decision procedure, also for what is running"),
    (30, "an entry and an activity"),
    (31, "the responsible is the item's, today"),
    (32, "three times"),
    (33, "which activity, and its life"),
    (34, "moving an email"),
    (35, "the history of links, and undoing"),
    (36, "converting a lead"),
    (37, "notes and other entries"),
    (40, "threads as a client sees them"),
    (41, "writing and sending mail"),
    (42, "templates, senders and signatures"),
    (43, "searches"),
    (44, "mail is shown clean"),
    (45, "people, departments, items that go or become one"),
    (46, "removing a mail that was saved by mistake"),
    (47, "erasure and retention"),
    (48, "backup and restore"),
];

/// The numbers in the names of the tests of a file: `fn r15_r16_…` names two rules. A test is a function, or a module
/// that a macro makes of one.
fn numbers(source: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for line in source.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("async ").unwrap_or(line);
        let Some(name) = line.strip_prefix("fn ") else {
            continue;
        };
        for part in name.split('_') {
            let number = part
                .strip_prefix('r')
                .and_then(|digits| digits.parse().ok());
            let Some(number) = number else { break };
            found.insert(number);
        }
    }
    found
}

fn collect(folder: &Path, by_rule: &mut BTreeMap<u32, usize>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, by_rule);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for number in numbers(&std::fs::read_to_string(&path).unwrap()) {
                *by_rule.entry(number).or_default() += 1;
            }
        }
    }
}

#[test]
fn every_rule_is_named_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut by_rule = BTreeMap::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), &mut by_rule);
    }
    let unnamed: Vec<String> = RULES
        .iter()
        .filter(|(number, _title)| !by_rule.contains_key(number))
        .map(|(number, title)| format!("R{number} {title}"))
        .collect();
    assert!(unnamed.is_empty(), "no test names {unnamed:#?}");
}

#[test]
fn names_of_tests_tell_their_rules() {
    let source = "    async fn r15_r16_joins(app) {\nfn r7_x() {\nfn r_none() {}\nfn later_r9() {}\n// fn r8_comment() {}\n";
    assert_eq!(numbers(source), BTreeSet::from([7, 15, 16]));
    assert_eq!(numbers("fn r7_x() {}"), BTreeSet::from([7]));
}
