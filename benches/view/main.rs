//! How fast the HTML of mails is made safe, on one core. `make bench-view` runs it; the last line that it prints is JSON.
//! With `MAILROOM_TEST_CORPUS`, a folder of mails, also the HTML bodies of these.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement may fail loudly, and sizes are far below what doubles can count"
)]

#[path = "../../tests/it/support/real_mails.rs"]
#[allow(unreachable_pub, reason = "tests use it too")]
mod real_mails;

use mailroom::mail::mbox::StoredMail;
use mailroom::mail::parse;
use mailroom::view;
use real_mails::real_mails;
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const MEGABYTE: usize = 1_000_000;

/// As newsletters are written: tables, styles, links, and some words between.
const NEWSLETTER: &str = r#"<tr><td style="padding: 4px 8px; color: #333333; font-family: Arial, sans-serif" align="left" valign="top">
<a href="https://shop.example/offers/1234?from=mail" style="text-decoration: none; color: #0066cc">Our offer of the week</a><br>
We have put together what our customers liked best, at prices that stay until Sunday evening. Shipping costs nothing.</td></tr>
"#;
/// As little text as there is in real mail: an element or attribute every few bytes.
const DENSE: &str = r#"<p><b>a</b> <i>b</i> <a href="https://x.example">c</a> <span style="color: red">d</span></p>"#;

fn of_megabytes(part: &str, front: &str, back: &str) -> String {
    let body = part.repeat(MEGABYTE / part.len() + 1);
    format!("{front}{body}{back}")
}

/// Cleans all of them again and again for some seconds: bytes a second, and how long one round takes at best.
fn measure(documents: &[String]) -> (f64, Duration) {
    let bytes: usize = documents.iter().map(String::len).sum();
    let (began, mut rounds, mut best) = (Instant::now(), 0_u32, Duration::MAX);
    while began.elapsed() < Duration::from_secs(3) {
        let round = Instant::now();
        for html in documents {
            black_box(view::clean(black_box(html), &|_part| None));
        }
        best = best.min(round.elapsed());
        rounds += 1;
    }
    let all = bytes as f64 * f64::from(rounds);
    (all / began.elapsed().as_secs_f64(), best)
}

fn main() {
    let mut figures: Map<String, Value> = Map::new();
    let mut documents = vec![
        (
            "newsletter",
            vec![of_megabytes(NEWSLETTER, "<table>", "</table>")],
        ),
        ("dense", vec![of_megabytes(DENSE, "<div>", "</div>")]),
    ];
    let html = |mail: StoredMail| parse::parse(&mail.raw).body_html;
    let real: Vec<String> = real_mails().into_iter().filter_map(html).collect();
    if !real.is_empty() {
        documents.push(("real", real));
    }
    for (name, documents) in documents {
        let (per_second, best) = measure(&documents);
        let (speed, each) = (per_second / 1e6, best.as_secs_f64() * 1e3);
        let count = documents.len();
        println!("{name}: {count} documents, {speed:.1} MB/s, {each:.1} ms for all");
        figures.insert(format!("clean_{name}_mb_per_second"), json!(speed));
        figures.insert(format!("clean_{name}_ms"), json!(each));
    }
    println!("{}", Value::Object(figures));
}
