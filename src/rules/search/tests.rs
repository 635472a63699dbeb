use super::*;

fn folded(text: &str) -> Vec<String> {
    words(&composed(text))
        .into_iter()
        .map(|word| word.folded)
        .collect()
}

#[test]
fn r43_words_have_no_case_accents_or_width() {
    // (what, text, words)
    let rows: [(&str, &str, &[&str]); 22] = [
        ("nothing", "", &[]),
        ("signs alone", " -- !? … ", &[]),
        ("case", "Hello WORLD", &["hello", "world"]),
        (
            "accents",
            "Éclair naïve Ångström",
            &["eclair", "naive", "angstrom"],
        ),
        ("decomposed accents", "E\u{301}clair", &["eclair"]),
        (
            "letters that are two",
            "Straße Œuvre Æsir",
            &["strasse", "oeuvre", "aesir"],
        ),
        ("a capital sharp s", "GROẞ", &["gross"]),
        ("strokes", "Łódź Ørsted Đorđe", &["lodz", "orsted", "dorde"]),
        ("the Turkish i", "İstanbul ısı", &["istanbul", "isi"]),
        ("Greek, with its last sigma", "Οδυσσεύς", &["οδυσσευσ"]),
        ("Cyrillic", "Ёлка Йод", &["елка", "иод"]),
        ("full width", "Ｍａｉｌ １２", &["mail", "12"]),
        ("ligatures", "ﬁnal", &["final"]),
        ("a soft hyphen", "Dampf\u{ad}schiff", &["dampfschiff"]),
        (
            "addresses are several words",
            "ada@mail.example",
            &["ada", "mail", "example"],
        ),
        ("Hebrew points", "שָׁלוֹם", &["שלום"]),
        ("Arabic vowels and tatweel", "مَرْحَبـا", &["مرحبا"]),
        ("Hindi keeps its vowels", "हिन्दी", &["हिन्दी"]),
        (
            "Chinese in pairs",
            "中文邮件",
            &["中文", "文邮", "邮件", "件"],
        ),
        ("one character", "中", &["中"]),
        (
            "kana of half and full width",
            "ｶﾞｽ ガス",
            &["ガス", "ス", "ガス", "ス"],
        ),
        (
            "scripts side by side",
            "ab中文cd",
            &["ab", "中文", "文", "cd"],
        ),
    ];
    for (what, text, expected) in rows {
        assert_eq!(folded(text), expected, "{what}");
    }
}

#[test]
fn words_say_where_they_stand() {
    let text = "  Éclair, 中文!";
    let found: Vec<(&str, &str)> = words(text)
        .iter()
        .map(|word| (text.get(word.start..word.end).unwrap(), ""))
        .collect();
    assert_eq!(found, [("Éclair", ""), ("中文", ""), ("文", "")]);
    let long = "x".repeat(5000);
    let found = words(&long);
    assert_eq!(
        (found.len(), found[0].folded.len(), found[0].end),
        (1, 40, 5000)
    );
}

fn understood(query: &str, typing: Typing) -> String {
    match read(query, typing) {
        Reading::Understood(found) => found
            .groups
            .iter()
            .map(|group| {
                let group: Vec<String> = group.iter().map(said).collect();
                group.join("|")
            })
            .collect::<Vec<_>>()
            .join(" "),
        Reading::Faulty(fault) => format!("{}!", fault.position),
    }
}

fn said(literal: &Literal) -> String {
    let what = match &literal.sought {
        Sought::Phrase(phrase) => {
            let zones: String = Zone::ALL
                .iter()
                .filter(|zone| phrase.zones.has(**zone) && phrase.zones != Zones::ALL)
                .map(|zone| format!("{zone:?}:"))
                .collect();
            let star = if phrase.is_prefix { "*" } else { "" };
            format!("{zones}{}{star}", phrase.words.join("_"))
        }
        Sought::Filter(Filter::Before(at)) => format!("<{}", at.to_rfc3339()),
        Sought::Filter(Filter::After(at)) => format!(">{}", at.to_rfc3339()),
        Sought::Filter(Filter::InItem { id, .. }) => format!("in {id}"),
        Sought::Filter(filter) => format!("{filter:?}"),
    };
    format!("{}{what}", if literal.is_negated { "-" } else { "" })
}

#[test]
fn r43_queries_are_read() {
    // (query, what it asks: groups apart, "|" within one; a number with "!": the position of the fault)
    let rows = [
        ("", ""),
        ("   ", ""),
        ("offer budget", "offer budget"),
        ("\"Next Week\"", "next_week"),
        ("bud*", "bud*"),
        ("\"next we\"*", "next_we*"),
        ("-draft offer", "-draft offer"),
        ("ada or bob", "ada|bob"),
        ("a b OR c d", "a b|c d"),
        ("a | b or c", "a|b|c"),
        ("\"or\"", "or"),
        ("from:Ada", "Sender:ada"),
        ("FROM:ada@b.example", "Sender:ada_b_example"),
        ("from:\"Ada B\"*", "Sender:ada_b*"),
        ("to:x subject:offer", "Recipients:x Title:offer"),
        ("-from:ada", "-Sender:ada"),
        ("has:attachment", "HasAttachment"),
        ("-has:files", "-HasAttachment"),
        ("in:deal", "InKind(Deal)"),
        ("in:Contacts or in:lead", "InKind(Contact)|InKind(Lead)"),
        ("in:Deal_abc", "in Deal_abc"),
        (
            "mailbox:Sales@Ours.example",
            "Mailbox(\"sales@ours.example\")",
        ),
        ("before:2026-10", "<2026-10-01T00:00:00Z"),
        ("after:2026", ">2026-01-01T00:00:00Z"),
        ("after:2026-2-3", ">2026-02-03T00:00:00Z"),
        ("is:unread", "IsUnread"),
        ("e-mail", "e_mail"),
        ("ada@b.example", "ada_b_example"),
        ("a & b !!!", "a b"),
        ("\"...\"", ""),
        ("Re: offer", "re offer"),
        ("http://b.example/x", "http_b_example_x"),
        ("10:30", "10_30"),
        ("中文邮", "中文_文邮"),
        ("中", "中*"),
        ("ab中", "ab_中*"),
        // What can't be understood, and where.
        ("offer \"next", "6!"),
        ("a \"\"", "2!"),
        ("from:", "5!"),
        ("from: ada", "5!"),
        ("x from:\"\"", "7!"),
        ("or a", "0!"),
        ("a or", "2!"),
        ("a or or b", "5!"),
        ("a -", "2!"),
        ("--a", "0!"),
        ("has:wings", "4!"),
        ("is:late", "3!"),
        ("in:nowhere", "3!"),
        ("form:ada", "0!"),
        ("before:yesterday", "7!"),
        ("before:2026-13", "7!"),
        ("before:2026-02-30", "7!"),
        ("a b*d", "3!"),
        ("*", "0!"),
        ("subject:!!!", "8!"),
        ("-!!!", "1!"),
    ];
    for (query, expected) in rows {
        assert_eq!(understood(query, Typing::Done), expected, "{query}");
    }
    let long = "a ".repeat(33);
    assert_eq!(understood(&long, Typing::Done), "64!");
    assert_eq!(understood(&"a".repeat(501), Typing::Done), "500!");
}

#[test]
fn r43_what_is_still_being_typed_is_taken_for_a_beginning() {
    let rows = [
        ("ad", "ad*"),
        ("a", "a"),
        ("ad ", "ad"),
        ("offer ad", "offer ad*"),
        ("from:ad", "Sender:ad*"),
        ("\"next we", "next_we*"),
        ("\"next week\"", "next_week"),
        ("中文", "中文"),
        ("a -", "a"),
        ("a or", "a or*"),
        ("a or ", "a"),
        ("from:", ""),
        ("has:att", ""),
        ("before:2026-", ""),
        ("has:wings a", "4!"),
        ("or a", "0!"),
    ];
    for (query, expected) in rows {
        assert_eq!(understood(query, Typing::GoingOn), expected, "{query}");
    }
}

fn marked(text: &str, query: &str, zone: Zone) -> Option<String> {
    let Reading::Understood(query) = read(query, Typing::Done) else {
        panic!("{query}");
    };
    let phrases: Vec<&Phrase> = query.phrases().collect();
    let parts = snippet([text], zone, &phrases)?;
    Some(
        parts
            .iter()
            .map(|part| {
                if part.is_hit {
                    format!("[{}]", part.text)
                } else {
                    part.text.clone()
                }
            })
            .collect(),
    )
}

#[test]
fn r43_hits_are_marked_where_they_stand() {
    let rows = [
        ("An Éclair, please", "eclair", Some("An [Éclair], please")),
        (
            "next week, next year",
            "\"next year\"",
            Some("next week, [next year]"),
        ),
        ("budgets and buds", "bud*", Some("[budgets] and [buds]")),
        ("nothing here", "elsewhere", None),
        ("about drafts", "-about drafts", Some("about [drafts]")),
        ("この中文邮件は", "中文邮", Some("この[中文邮]件は")),
        ("one\r\ntwo", "two", Some("one  [two]")),
        ("only in subjects", "subject:only", None),
    ];
    for (text, query, expected) in rows {
        assert_eq!(
            marked(text, query, Zone::Text).as_deref(),
            expected,
            "{text}"
        );
    }
    let long = format!(
        "{} the needle {}",
        "hay ".repeat(500),
        "more hay ".repeat(500)
    );
    let found = marked(&long, "needle", Zone::Text).unwrap();
    assert!(found.contains("the [needle] more"), "{found}");
    assert!(found.chars().count() <= SNIPPET_CHARS_MAX + 2, "{found}");
    // What stands in the second text is not sought behind what is read of the first.
    let Reading::Understood(query) = read("ada", Typing::Done) else {
        panic!();
    };
    let phrases: Vec<&Phrase> = query.phrases().collect();
    let short = snippet(["bob", "ada"], Zone::Text, &phrases);
    assert_eq!(short.unwrap().len(), 1);
    let long = "bob ".repeat(100_000);
    assert_eq!(snippet([long.as_str(), "ada"], Zone::Text, &phrases), None);
    // A better place further on goes before the first one.
    let far = format!("ada {} ada and bob {}", "x ".repeat(300), "y ".repeat(300));
    let found = marked(&far, "ada bob", Zone::Text).unwrap();
    assert!(found.contains("[ada] and [bob]"), "{found}");
}
