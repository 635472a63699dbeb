use super::*;

fn balanced(html: &str) -> String {
    balance(html, &|id| {
        (id == "logo@x").then(|| "/files/1?a&b".to_owned())
    })
    .unwrap()
    .html
}

/// What it is about, HTML as it comes, and how it comes out.
const IN_ORDER: &[(&str, &str, &str)] = &[
    (
        "what is in order stays",
        "<p>a <b>b</b></p>",
        "<p>a <b>b</b></p>",
    ),
    ("what is open is closed", "<div><b>a", "<div><b>a</b></div>"),
    ("what closes nothing is dropped", "</b>a</div>", "a"),
    (
        "unknown elements go, their text stays",
        "<form><input>a<blink>b</blink></form>",
        "ab",
    ),
    (
        "unknown attributes go",
        "<p class=x onclick=y style=z align=left>a</p>",
        "<p align=\"left\">a</p>",
    ),
    (
        "quotes in values are kept inside",
        "<p title='a\"b'>",
        "<p title=\"a&quot;b\"></p>",
    ),
    ("a stray < is text", "1 < 2", "1 &lt; 2"),
    (
        "a paragraph ends the one before",
        "<p>a<p>b",
        "<p>a</p><p>b</p>",
    ),
    (
        "what a paragraph holds ends with it",
        "<p><b>a<p>b",
        "<p><b>a</b></p><p>b</p>",
    ),
    (
        "a block ends a paragraph",
        "<p>a<div>b</div>",
        "<p>a</p><div>b</div>",
    ),
    (
        "list items end each other",
        "<ul><li>a<li>b<ul><li>c</ul></ul>",
        "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>",
    ),
    (
        "terms end each other",
        "<dl><dt>a<dd>b<dt>c</dl>",
        "<dl><dt>a</dt><dd>b</dd><dt>c</dt></dl>",
    ),
    (
        "crossing marks are put right",
        "<b>1<i>2</b>3</i>4",
        "<b>1<i>2</i></b><i>3</i>4",
    ),
    (
        "a mark that ends inside a block ends there",
        "<b><p>1</b>2</p>3",
        "<b><p>1</p></b><p>2</p>3",
    ),
    (
        "rows and cells end each other",
        "<table><tr><td>a<td>b<tr><td>c</table>",
        "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
    ),
    (
        "a cell without a row gets one",
        "<table><td>a",
        "<table><tr><td>a</td></tr></table>",
    ),
    ("cells without a table are text", "<td>a</td>", "a"),
    (
        "an end tag in a cell closes nothing outside",
        "<b><table><tr><td></b>x</td></tr></table></b>",
        "<b><table><tr><td>x</td></tr></table></b>",
    ),
    (
        "text between cells gets a cell",
        "<table> a <b>b<tr><td>c</table>",
        "<table><tr><td> a <b>b</b></td></tr><tr><td>c</td></tr></table>",
    ),
    (
        "marks between cells are dropped",
        "<table><b><tr><td>a</table>",
        "<table><tr><td>a</td></tr></table>",
    ),
    (
        "a table in a table needs a cell",
        "<table><table><tr><td>a</table>",
        "<table></table><table><tr><td>a</td></tr></table>",
    ),
    (
        "tables nest in cells",
        "<table><tr><td><table><tr><td>a</table>b</table>",
        "<table><tr><td><table><tr><td>a</td></tr></table>b</td></tr></table>",
    ),
    (
        "sections and columns keep their place",
        "<table><colgroup><col span=2><thead><tr><th>a<tbody><tr><td>b</table>",
        "<table><colgroup><col span=\"2\"></colgroup><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>",
    ),
    (
        "a heading ends a heading",
        "<h1>a<h2>b</h1>c",
        "<h1>a</h1><h2>b</h2>c",
    ),
    (
        "links don't nest",
        "<a href=tel:1>1<a href=tel:2>2</a>3",
        "<a href=\"tel:1\">1</a><a href=\"tel:2\">2</a>3",
    ),
    (
        "links that lead nowhere go",
        "<a name=top>1<p>2<a href=x>3",
        "1<p>23</p>",
    ),
    (
        "addresses are written plainly",
        "<a title=t href=' &#104;ttps&colon;//x/?a&b '>1",
        "<a href=\"https://x/?a&amp;b\" title=\"t\">1</a>",
    ),
    ("a rule ends a paragraph", "<p>a<hr>b", "<p>a</p><hr>b"),
];

#[test]
fn html_comes_out_in_order() {
    for (sentence, html, expected) in IN_ORDER {
        assert_eq!(balanced(html), *expected, "{sentence}");
    }
}

#[test]
fn images_are_told_apart() {
    for (sentence, html, expected) in [
        (
            "an inline image gets the address of its part",
            "<img src='cid:logo@x' alt=a>",
            "<img src=\"/files/1?a&amp;b\" alt=\"a\">",
        ),
        (
            "its id may be encoded",
            "<img src=CID:%3Clogo%40x%3E>",
            "<img src=\"/files/1?a&amp;b\">",
        ),
        (
            "an unknown id leaves the words",
            "<img src=cid:other alt=a>",
            "<img alt=\"a\">",
        ),
        ("or nothing", "<img src=cid:other alt=' '>", ""),
        (
            "a remote image loses its address",
            "<img src=' HTTP://x/?a=1&amp;b'>",
            "<img data-remote-src=\"HTTP://x/?a=1&amp;b\">",
        ),
        (
            "also without scheme",
            "<img src=//x/y>",
            "<img data-remote-src=\"https://x/y\">",
        ),
        (
            "also when it is disguised",
            "<img src='&#104;ttps&colon;//x'>",
            "<img data-remote-src=\"https://x\">",
        ),
        (
            "a mail can't set it itself",
            "<img data-remote-src=javascript:x alt=a>",
            "<img alt=\"a\">",
        ),
        (
            "other addresses go",
            "<img src=data:image/png;base64,x><img src=x.png><img src=file:///x><img srcset='https://x 2x'>",
            "",
        ),
    ] {
        assert_eq!(balanced(html), expected, "{sentence}");
    }
}

/// Eight long marks inside 400 others: each of those that ends writes the eight again.
fn reopened_marks() -> String {
    let long = format!("<u title={}>", "x".repeat(1000));
    [
        "<b>".repeat(400),
        long.repeat(REOPENED_MAX),
        "</b>".repeat(400),
    ]
    .concat()
}

#[test]
fn long_text_comes_in_pieces_that_are_one_to_the_reader() {
    for (sentence, text) in [
        ("only references", "&amp;".repeat(10_000)),
        ("bare ampersands", "&".repeat(10_000)),
        ("words and references", "a few words&nbsp;".repeat(3_000)),
        ("letters beyond ASCII", "é".repeat(10_000)),
        ("signs without spaces", "日本".repeat(10_000)),
        ("comparisons", "<".repeat(10_000)),
    ] {
        let html = balanced(&text);
        assert_eq!(
            html.replace("<!---->", ""),
            text.replace('<', "&lt;"),
            "{sentence}"
        );
        let longest = html.split("<!---->").map(str::len).max().unwrap();
        assert!(longest <= TEXT_PIECE_BYTES + 20, "{sentence}: {longest}");
    }
    let words = "x".repeat(10_000);
    assert_eq!(balanced(&words), words, "what needs no care is left alone");
}

#[test]
fn too_deep_or_too_costly_html_is_refused() {
    for (sentence, html, is_refused) in [
        ("511 levels pass", "<div>".repeat(NESTING_MAX), false),
        ("one more does not", "<div>".repeat(NESTING_MAX + 1), true),
        (
            "end tags that end nothing don't help",
            "<div></span>".repeat(NESTING_MAX + 1),
            true,
        ),
        (
            "closed elements don't count",
            "<div>a</div>".repeat(10_000),
            false,
        ),
        (
            "paragraphs that are never closed don't count",
            "<p>a".repeat(10_000),
            false,
        ),
        (
            "nor do cells",
            format!("<table>{}", "<tr><td>a".repeat(10_000)),
            false,
        ),
        (
            "more elements than anybody reads are refused",
            "<p>a</p>".repeat(ELEMENTS_MAX + 1),
            true,
        ),
        (
            "many elements deep inside others are refused",
            format!("{}{}", "<b>".repeat(500), "<i>a</i>".repeat(11_000)),
            true,
        ),
        (
            "marks that are opened again and again are refused",
            reopened_marks(),
            true,
        ),
    ] {
        assert_eq!(
            balance(&html, &|_| None).is_none(),
            is_refused,
            "{sentence}"
        );
    }
}
