//! Ordinary HTML mail: letters, replies, newsletters, receipts and notices, written as usual programs write them; and the
//! HTML of real mails, where somebody has a folder of them (`MAILROOM_TEST_CORPUS`).

use crate::support::real_mails::real_mails;
use mailroom::mail::mbox::StoredMail;
use mailroom::mail::parse::parse;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// A hundred; at least five hundred with real ones among them, and with `MAILROOM_TEST_LONG`.
pub fn documents() -> Vec<String> {
    let html = |mail: StoredMail| parse(&mail.raw).body_html;
    let real = real_mails().into_iter().filter_map(html);
    let mut documents: Vec<String> = real.filter(|html| html.contains('<')).collect();
    println!("{} of real mails", documents.len());
    let is_long = !documents.is_empty() || std::env::var_os("MAILROOM_TEST_LONG").is_some();
    let count = if is_long { 500 } else { 100 };
    let mut rng = StdRng::seed_from_u64(44);
    while documents.len() < count {
        let kinds = [letter, reply, newsletter, receipt, notice];
        let kind = kinds.choose(&mut rng).unwrap();
        documents.push(kind(&mut rng));
    }
    documents
}

const WORDS: [&str; 40] = [
    "the",
    "offer",
    "we",
    "sent",
    "you",
    "on",
    "Monday",
    "includes",
    "delivery",
    "within",
    "10",
    "days;",
    "please",
    "let",
    "us",
    "know",
    "whether",
    "Gr\u{fc}\u{df}e",
    "r&eacute;sum&eacute;",
    "&euro;&nbsp;1,200.00",
    "(net)",
    "caf\u{e9}",
    "&quot;as",
    "agreed&quot;",
    "\u{2013}",
    "\u{4f60}\u{597d}",
    "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
    "A&amp;B",
    "3&lt;5",
    "info@client.example",
    "https://client.example/a?b=1&amp;c=2",
    "&#8364;5",
    "\u{1f600}",
    "don&rsquo;t",
    "invoice",
    "no.",
    "2026/114",
    "Best",
    "regards",
];

fn words(rng: &mut StdRng, from: usize, to: usize) -> String {
    let count = rng.random_range(from..to);
    let words: Vec<&str> = (0..count).map(|_| *WORDS.choose(rng).unwrap()).collect();
    words.join(" ")
}

/// As Outlook writes it.
fn letter(rng: &mut StdRng) -> String {
    let paragraphs: String = (0..rng.random_range(2..8))
        .map(|_| {
            format!(
                "<p class=\"MsoNormal\" style=\"margin:0cm\"><span lang=\"EN-US\" style=\"font-size:11.0pt;font-family:&quot;Calibri&quot;,sans-serif\">{}<o:p></o:p></span></p>",
                words(rng, 5, 40)
            )
        })
        .collect();
    format!(
        "<html xmlns:v=\"urn:schemas-microsoft-com:vml\" xmlns:o=\"urn:schemas-microsoft-com:office:office\"><head><meta name=\"Generator\" content=\"Microsoft Word 15\">\
         <!--[if gte mso 9]><xml><o:shapedefaults v:ext=\"edit\"/></xml><![endif]--><style><!-- p.MsoNormal {{margin:0cm}} --></style></head>\
         <body lang=\"EN-US\" link=\"#0563C1\"><div class=\"WordSection1\">{paragraphs}<ul type=disc><li class=MsoListParagraph>{}</li><li>{}</li></ul>\
         <p><![if !supportLists]>1.<![endif]> {}</p></div></body></html>",
        words(rng, 2, 8),
        words(rng, 2, 8),
        words(rng, 2, 8),
    )
}

/// As Gmail and Apple Mail write it.
fn reply(rng: &mut StdRng) -> String {
    format!(
        "<div dir=\"ltr\">{}<div><br></div><div><i>{}</i> <b>{}</b></div></div><br><div class=\"gmail_quote\"><div dir=\"ltr\" class=\"gmail_attr\">On Mon, 5 Oct 2026 at \
         10:00, Carl &lt;<a href=\"mailto:carl@client.example\">carl@client.example</a>&gt; wrote:<br></div><blockquote class=\"gmail_quote\" style=\"margin:0 0 0 .8ex;border-left:1px solid \
         #ccc\">{}<blockquote type=\"cite\"><font color=\"#500050\" size=2>{}</font></blockquote></blockquote></div><pre class=\"moz-signature\">-- \n{}</pre>",
        words(rng, 5, 60),
        words(rng, 1, 6),
        words(rng, 1, 6),
        words(rng, 5, 60),
        words(rng, 5, 60),
        words(rng, 2, 6),
    )
}

/// Tables in tables, as the builders of newsletters write them.
fn newsletter(rng: &mut StdRng) -> String {
    let rows: String = (0..rng.random_range(2..6))
        .map(|_| {
            format!(
                "<tr><td align=center valign=top bgcolor=\"#ffffff\" style=\"padding:20px\"><table width=\"100%\" cellpadding=0 cellspacing=0 border=0 role=presentation><tr><td width=280>\
                 <img src=\"https://img.example/{}.png\" width=280 height=90 alt=\"\" style=\"display:block\"></td><td><h2 style=\"font:bold 20px Arial\">{}</h2><p>{}</p>\
                 <a href=\"https://news.example/c?x={}\" style=\"background:#f60;color:#fff\"><span>{}</span></a></td></tr></table></td></tr>",
                rng.random_range(0..99),
                words(rng, 2, 6),
                words(rng, 10, 60),
                rng.random_range(0..9999),
                words(rng, 1, 3),
            )
        })
        .collect();
    format!(
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \"x\"><html><head><title>{}</title><style type=\"text/css\">.a{{color:red}} @media only screen{{.b{{width:100%}}}}</style></head>\
         <body bgcolor=\"#eeeeee\"><div style=\"display:none;max-height:0\">{}</div><center><table width=\"100%\" bgcolor=\"#eee\"><tbody><tr><td align=\"center\"><!--[if mso]><table width=600><tr><td><![endif]-->\
         <table class=b style=\"max-width:600px\">{rows}<tr><td><font size=\"1\">{}<br>{} <a href=\"https://news.example/u\">Unsubscribe</a></font></td></tr></table>\
         <!--[if mso]></td></tr></table><![endif]--></td></tr></tbody></table></center><img src=\"https://news.example/o.gif\" width=1 height=1></body></html>",
        words(rng, 2, 5),
        words(rng, 5, 10),
        words(rng, 5, 20),
        words(rng, 2, 9),
    )
}

/// Figures in a table.
fn receipt(rng: &mut StdRng) -> String {
    let lines: String = (1..rng.random_range(3..12))
        .map(|number| {
            format!(
                "<tr><td>{number}</td><td>{}</td><td align=right nowrap>{}.{:02}&nbsp;&euro;</td></tr>",
                words(rng, 1, 5),
                rng.random_range(1..999),
                rng.random_range(0..100)
            )
        })
        .collect();
    format!(
        "<html><body><h1>{}</h1><p>{}</p><table border=1><caption>{}</caption><thead><tr><th>No.</th><th>What</th><th>Price</th></tr></thead><tbody>{lines}</tbody><tfoot><tr><td colspan=2>\
         Total</td><td><strong>{}.00</strong></td></tr></tfoot></table><hr><address>{}</address><dl><dt>Paid by</dt><dd>Card</dd></dl></body></html>",
        words(rng, 1, 4),
        words(rng, 5, 20),
        words(rng, 1, 3),
        rng.random_range(100..9999),
        words(rng, 3, 9),
    )
}

/// Careless HTML: nothing closed, marks crossed.
fn notice(rng: &mut StdRng) -> String {
    format!(
        "<HTML><BODY><FONT FACE=arial SIZE=+1><P>{}<P>{} <B>{} <I>{}</B> {}</I><BR><CENTER>{}</CENTER><UL><LI>{}<LI>{}</UL><TABLE><TR><TD>{}<TD>{}<TR><TD COLSPAN=2>{}</TABLE><A HREF=http://x.example/>{}</A>\
         <DIV><SPAN>{}</DIV></SPAN> <U>{}</U><TT>{}</TT>",
        words(rng, 3, 20),
        words(rng, 3, 20),
        words(rng, 1, 4),
        words(rng, 1, 4),
        words(rng, 1, 4),
        words(rng, 2, 6),
        words(rng, 2, 6),
        words(rng, 2, 6),
        words(rng, 1, 4),
        words(rng, 1, 4),
        words(rng, 1, 4),
        words(rng, 1, 4),
        words(rng, 1, 4),
        words(rng, 1, 4),
        words(rng, 1, 4),
    )
}
