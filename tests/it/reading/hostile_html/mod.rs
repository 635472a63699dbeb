//! What hostile mail does in a real browser (R44): nothing. It is cleaned and opened in headless Chromium, in the page itself
//! rather than in a sandboxed frame, behind a proxy that notes every request. Where there is no Chromium, the lists of the
//! judge are proved by `view` alone.

mod browser;
mod generate;
mod ordinary;
mod vectors;

use std::path::Path;
use vectors::{VECTORS, armed, each_with_each};

/// Generated documents; a hundred thousand with `MAILROOM_TEST_LONG`.
fn generated() -> usize {
    if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        100_000
    } else {
        3_000
    }
}

/// Each as a mail shows it; one that is too much to be shown as HTML, as its text.
fn cleaned(vectors: impl Iterator<Item = String>) -> Vec<String> {
    let known = |id: &str| (id == "known").then(|| "/inline".to_owned());
    vectors
        .enumerate()
        .map(|(number, vector)| {
            let html = armed(&vector, number);
            let clean = mailroom::view::clean(&html, &known);
            clean.map_or_else(
                || mailroom::view::html_of_text(&mailroom::view::text_of_html(&html)),
                |clean| clean.html,
            )
        })
        .collect()
}

/// Cleans and opens them; what they are called is printed with their number.
async fn do_nothing(what: &str, vectors: impl Iterator<Item = String>) {
    let Some(program) = browser::program() else {
        println!("there is no Chromium here: nothing was opened");
        return;
    };
    let documents = cleaned(vectors);
    let seen = browser::open(program, &documents).await;
    assert!(seen.pages > 0, "the pages were opened: {seen:?}");
    let is_quiet = seen.marked.is_empty()
        && seen.moved.is_empty()
        && seen.odd.is_empty()
        && seen.asked.is_empty();
    assert!(is_quiet, "{seen:#?}");
    println!(
        "{what}: {} documents in {program}, 0 scripts, 0 navigations, 0 requests",
        documents.len()
    );
}

/// What is not cleaned does run, lead elsewhere and load: else the others would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn r44_the_browser_notices_what_hostile_mail_does() {
    let Some(program) = browser::program() else {
        println!("there is no Chromium here: nothing was opened");
        return;
    };
    for (vector, is_noticed) in [
        (
            "<img src=x onerror=MARK>",
            (|seen| !seen.marked.is_empty()) as fn(&browser::Seen) -> bool,
        ),
        ("<p onclick=MARK>x</p>", |seen| !seen.odd.is_empty()),
        ("<img src=LEAK>", |seen| {
            seen.asked.contains("GET http://leak.example/7")
        }),
        ("<img src=https://leak.example/7>", |seen| {
            seen.asked.contains("CONNECT leak.example:443")
        }),
        ("<meta http-equiv=refresh content='0;url=LEAK'>", |seen| {
            !seen.moved.is_empty()
        }),
        ("<svg><script>alert(1)</script></svg>", |seen| {
            !seen.marked.is_empty()
        }),
    ] {
        let seen = browser::open(program, &[armed(vector, 7)]).await;
        assert!(is_noticed(&seen), "{vector}: {seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r44_hostile_mail_runs_and_loads_nothing_in_a_browser() {
    let known = VECTORS.iter().map(|vector| (*vector).to_owned());
    do_nothing("known", known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r44_no_element_attribute_or_property_loads_anything() {
    do_nothing("each with each", each_with_each().into_iter()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r44_nothing_that_can_be_written_runs_or_loads_anything() {
    let seed = rand::random();
    println!("seed {seed}");
    do_nothing("generated", generate::documents(generated(), seed)).await;
}

/// Fixtures of other sanitisers, a list of documents in JSON (`make hostile-html`).
#[tokio::test(flavor = "multi_thread")]
async fn r44_what_others_test_with_runs_and_loads_nothing() {
    let Some(path) = std::env::var_os("MAILROOM_TEST_HTML") else {
        println!("no fixtures of others are here: make hostile-html");
        return;
    };
    let read = std::fs::read(Path::new(&path)).unwrap();
    let fixtures: Vec<String> = serde_json::from_slice(&read).unwrap();
    assert!(!fixtures.is_empty());
    do_nothing("fixtures of others", fixtures.into_iter()).await;
}

/// What people see of ordinary mail is what they see of it cleaned: at least 995 words of a thousand.
#[tokio::test(flavor = "multi_thread")]
async fn r44_of_ordinary_mail_the_words_stay() {
    let Some(program) = browser::program() else {
        println!("there is no Chromium here: nothing was compared");
        return;
    };
    let documents: Vec<(String, String)> = ordinary::documents()
        .into_iter()
        .map(|html| {
            let clean = cleaned([html.clone()].into_iter()).remove(0);
            (html, clean)
        })
        .collect();
    let kept = browser::compare(program, &documents).await;
    assert_eq!(kept.len(), documents.len());
    let words: usize = kept.iter().map(|kept| kept.words).sum();
    let lost: usize = kept.iter().map(|kept| kept.lost.len()).sum();
    for (kept, (html, _clean)) in kept.iter().zip(&documents) {
        if !kept.lost.is_empty() {
            let begins: String = html.chars().take(60).collect();
            let some: Vec<&String> = kept.lost.iter().take(12).collect();
            println!(
                "{} of {} lost: {some:?} of {begins:?}",
                kept.lost.len(),
                kept.words
            );
        }
    }
    println!(
        "{} mails, {words} words, {lost} of them lost",
        documents.len()
    );
    assert!(words > 5_000, "{words}");
    assert!(lost * 1000 <= words * 5, "{lost} of {words}");
}
