//! What a subject is about, less the marks that mail programs put before it in all languages (R17).
//! Not for: showing subjects (they are shown as they stand).

/// "Reply" and "forward" as mail programs write them before a subject, in lower case, each language once.
const MARKS: &[(&str, &[&str])] = &[
    ("English, and programs everywhere", &["re", "fw", "fwd"]),
    ("German", &["aw", "antwort", "wg", "weitergeleitet"]),
    ("Danish, Norwegian, Swedish", &["sv", "vs", "vb"]),
    ("Icelandic", &["fs"]),
    ("Finnish", &["vl"]),
    ("Dutch", &["antw", "doorst"]),
    ("French", &["réf", "rép", "tr"]),
    ("Italian", &["r", "rif", "i", "inoltro"]),
    ("Spanish and Portuguese", &["rv", "res", "enc"]),
    ("Polish, Czech and Slovak", &["odp", "pd"]),
    ("Croatian and Slovenian", &["odg"]),
    ("Hungarian", &["vá", "továbbítás"]),
    // The second is what "İLT" becomes in lower case.
    ("Turkish", &["ynt", "i\u{307}lt", "ilt", "ılt"]),
    ("Romanian", &["răsp"]),
    ("Latvian and Welsh", &["atb", "pārs", "yml"]),
    ("Lithuanian", &["ats"]),
    ("Indonesian", &["bls", "trs"]),
    ("Vietnamese", &["tl", "ct"]),
    // Outlook's "HA" in either alphabet.
    ("Russian", &["на", "ha", "отв", "ответ", "пересл"]),
    ("Ukrainian", &["відп", "прсл"]),
    ("Bulgarian", &["отг", "прен"]),
    ("Serbian", &["одг"]),
    ("Greek", &["απ", "σχετ", "πρθ"]),
    ("Hebrew", &["השב", "תגובה", "הועבר"]),
    ("Arabic", &["رد", "إعادة توجيه"]),
    ("Chinese", &["回复", "回覆", "答复", "答覆", "转发", "轉寄"]),
    ("Japanese", &["返信", "転送"]),
    ("Korean", &["회신", "답장", "전달"]),
    ("Thai", &["ตอบกลับ", "ส่งต่อ"]),
];

/// The subject in lower case, its white space folded, less every leading "Re:" and "Fwd:" (also counted ones, as in
/// `Re[2]:`), every trailing `(fwd)` and the brackets of `[Fwd: …]`. Two subjects are the same if these are equal.
pub fn subject_base(subject: &str) -> String {
    let visible: String = subject
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .filter(|letter| !is_invisible(*letter))
        .collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let folded = words.join(" ").to_lowercase();
    let mut base = folded.trim();
    // Each mark is a text of its own that is stripped, so this ends.
    while let Some(rest) = less_one_mark(base) {
        base = rest;
    }
    base.to_owned()
}

/// Marks of direction and joining that mail programs put into subjects unseen.
const fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
    )
}

/// The subject without its outermost mark; `None` where there is none.
fn less_one_mark(subject: &str) -> Option<&str> {
    if let Some(rest) = subject.strip_suffix("(fwd)") {
        return Some(rest.trim_end());
    }
    if let Some(inner) = forwarded_in_brackets(subject) {
        return Some(inner);
    }
    MARKS
        .iter()
        .flat_map(|(_, marks)| *marks)
        .filter_map(|mark| subject.strip_prefix(mark))
        .find_map(after_colon)
}

/// What stands in "[fwd: …]".
fn forwarded_in_brackets(subject: &str) -> Option<&str> {
    let inner = subject.strip_prefix('[')?.strip_suffix(']')?;
    let inner = inner
        .strip_prefix("fwd:")
        .or_else(|| inner.strip_prefix("fw:"))?;
    Some(inner.trim())
}

/// What follows a mark's counter, if any, and its colon (which can be a wide one).
fn after_colon(after_mark: &str) -> Option<&str> {
    let after_counter = less_counter(after_mark).unwrap_or(after_mark);
    let after_colon = after_counter.trim_start().strip_prefix([':', '：'])?;
    Some(after_colon.trim_start())
}

/// What follows a mark and counts it: a number in brackets, or behind a caret.
fn less_counter(after_mark: &str) -> Option<&str> {
    let after_mark = after_mark.trim_start();
    let (open, close) = [("[", "]"), ("(", ")"), ("^", "")]
        .into_iter()
        .find(|(open, _)| after_mark.starts_with(open))?;
    let counted = after_mark.strip_prefix(open)?;
    let after_digits = counted.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let has_digits = after_digits.len() < counted.len();
    has_digits
        .then(|| after_digits.strip_prefix(close))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn r17_a_subject_is_the_same_less_re_and_fwd_in_any_language() {
        let marks = [
            "Re: ",
            "RE:",
            "re : ",
            "Fwd: ",
            "FW: ",
            "AW: ",
            "Antwort: ",
            "WG: ",
            "SV: ",
            "VS: ",
            "VB: ",
            "VL: ",
            "Antw: ",
            "Doorst: ",
            "RÉF: ",
            "TR : ",
            "RIF: ",
            "R: ",
            "I: ",
            "RV: ",
            "RES: ",
            "ENC: ",
            "Odp: ",
            "PD: ",
            "Odg: ",
            "Vá: ",
            "YNT: ",
            "İLT: ",
            "ilt: ",
            "Atb: ",
            "Ats: ",
            "BLS: ",
            "TL: ",
            "НА: ",
            "HA: ",
            "Отв: ",
            "Відп: ",
            "Отг: ",
            "Одг: ",
            "ΑΠ: ",
            "ΣΧΕΤ: ",
            "השב: ",
            "رد: ",
            "回复：",
            "答复: ",
            "转发：",
            "回覆:",
            "轉寄: ",
            "返信: ",
            "転送: ",
            "회신: ",
            "전달: ",
            "ตอบกลับ: ",
            "Re[2]: ",
            "Re(3): ",
            "Re^4: ",
            "AW [12]: ",
            "Re: Re: RE: ",
            "AW: WG: Fwd: SV: ",
            "\u{200F}Re: \u{202B}",
            " \t Re:\r\n ",
            "RE: AW[2]: 回复：R: ",
        ];
        let plain = subject_base("Offer for 20 Chairs");
        for mark in marks {
            assert_eq!(
                subject_base(&format!("{mark}Offer for 20 Chairs")),
                plain,
                "{mark:?}"
            );
        }
        for around in [
            "Offer for 20 Chairs (fwd)",
            "[Fwd: Offer for 20 Chairs]",
            "Re: [FWD: Offer  for 20\tchairs] (Fwd)",
        ] {
            assert_eq!(subject_base(around), plain, "{around:?}");
        }
    }

    #[test]
    fn r17_what_is_no_mark_stays_part_of_the_subject() {
        // (subject, its base)
        let rows = [
            ("Report: May", "report: may"),
            ("Re-order of chairs", "re-order of chairs"),
            ("Reply: chairs", "reply: chairs"),
            ("Re[x]: chairs", "re[x]: chairs"),
            ("Re[]: chairs", "re[]: chairs"),
            (
                "Meeting at 10: bring a chair",
                "meeting at 10: bring a chair",
            ),
            ("R2: chairs", "r2: chairs"),
            ("[team] Re: chairs", "[team] re: chairs"),
            ("re chairs", "re chairs"),
            ("Re:", ""),
            ("", ""),
        ];
        for (subject, base) in rows {
            assert_eq!(subject_base(subject), base, "{subject:?}");
        }
    }

    proptest! {
        #[test]
        fn r17_the_base_of_a_base_is_itself(subject in r"([Rr][Ee]|AW|Fwd|İLT|回复|[ -~]|\PC){0,3}(\[[0-9]{1,2}\])?[:： ]{0,3}(\PC| |\(fwd\)){0,20}") {
            let once = subject_base(&subject);
            prop_assert_eq!(subject_base(&once), once.clone());
        }

        #[test]
        fn r17_a_reply_to_a_subject_is_about_the_same(subject in r"\PC{0,40}") {
            prop_assert_eq!(subject_base(&format!("Re: {subject}")), subject_base(&subject));
            prop_assert_eq!(subject_base(&format!("FWD: Re[3]: {subject}")), subject_base(&subject));
        }

        #[test]
        fn r17_no_subject_of_any_length_is_too_much(repeats in 1_usize..3_000) {
            prop_assert_eq!(subject_base(&format!("{}chairs", "Re: ".repeat(repeats))), "chairs");
        }
    }
}
