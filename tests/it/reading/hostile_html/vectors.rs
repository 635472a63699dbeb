//! Hostile HTML: what is known to have worked somewhere, and every element with every attribute that ever loaded or ran
//! anything. `MARK` is a script that marks the page, `LEAK` an address that tells.

/// Puts in what marks the page, and an address of its own.
pub fn armed(vector: &str, number: usize) -> String {
    vector
        .replace("MARK", "document.documentElement.dataset.pwned=1")
        .replace("LEAK", &format!("http://leak.example/{number}"))
}

/// What has run scripts or loaded things elsewhere.
pub const VECTORS: &[&str] = &[
    "<script>MARK</script>",
    "<img src=x onerror=\"MARK\">",
    "<img src=LEAK>",
    "<img src='LEAK' srcset='LEAK 2x'>",
    "<svg onload=MARK></svg>",
    "<svg><script>MARK</script></svg>",
    "<svg><animate onbegin=MARK attributeName=x dur=1s></svg>",
    "<svg><image href=LEAK></svg>",
    "<svg><use href='LEAK#x'></use></svg>",
    "<svg><style>@import 'LEAK';</style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=MARK>",
    "<math><annotation-xml encoding='text/html'><img src=x onerror=MARK></annotation-xml></math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=MARK>",
    "<noscript><p title=\"</noscript><img src=x onerror=MARK>\">",
    "<template><img src=x onerror=MARK></template>",
    "<xmp><p title='</xmp><img src=x onerror=MARK>'>",
    "<textarea><img title='</textarea><img src=x onerror=MARK>'></textarea>",
    "<title><img title='</title><img src=x onerror=MARK>'></title>",
    "<style>@import url(LEAK);</style>",
    "<style>body{background:url(LEAK)}</style>",
    "<link rel=stylesheet href=LEAK>",
    "<link rel=preload as=image href=LEAK>",
    "<link rel=dns-prefetch href=LEAK>",
    "<div style='background:url(LEAK)'>x</div>",
    "<div style='background-image:image-set(\"LEAK\" 1x)'>x</div>",
    "<body background=LEAK onload=MARK>",
    "<table background=LEAK><tr><td background=LEAK>x</td></tr></table>",
    "<iframe src=LEAK></iframe>",
    "<iframe srcdoc='<script>parent.document.documentElement.dataset.pwned=1</script>'></iframe>",
    "<object data=LEAK></object>",
    "<embed src=LEAK>",
    "<video src=LEAK poster=LEAK autoplay></video>",
    "<audio src=LEAK autoplay></audio>",
    "<video><source src=LEAK onerror=MARK></video>",
    "<picture><source srcset=LEAK><img src=x></picture>",
    "<input type=image src=LEAK>",
    "<input autofocus onfocus=MARK>",
    "<button autofocus onfocus=MARK>x</button>",
    "<details open ontoggle=MARK>x</details>",
    "<marquee onstart=MARK>x</marquee>",
    "<meta http-equiv=refresh content='0;url=LEAK'>",
    "<meta http-equiv=refresh content='0;url=javascript:MARK'>",
    "<base href=LEAK><img src=x>",
    "<a href='javascript:MARK' id=a>x</a>",
    "<a href='&#106;avascript:MARK'>x</a>",
    "<a href='java\nscript:MARK'>x</a>",
    "<a href=' data:text/html,<script>MARK</script>'>x</a>",
    "<a href='https://x.example' ping=LEAK>x</a>",
    "<p onmouseover=MARK style='position:fixed;inset:0'>x</p>",
    "<img src='data:image/svg+xml,<svg onload=MARK xmlns=http://www.w3.org/2000/svg>'>",
    "<img src=\"cid:x\" onerror=MARK>",
    "<img alt=\"`><script>MARK</script>\" src=x>",
    "<img src=//leak.example/other>",
    "<img src=/leak>",
    "<img src=leak>",
    "<!--><script>MARK</script>-->",
    "<![CDATA[><script>MARK</script>]]>",
    "<p title=\"\u{0}\"><script\u{0}>MARK</script>",
    "<scr<script>ipt>MARK</scr</script>ipt>",
    "<select><iframe></select><img src=x onerror=MARK>",
    "<table><td><table><style></table><img src=x onerror=MARK></style>",
    "<portal src=LEAK></portal>",
    "<frameset onload=MARK><frame src=LEAK></frameset>",
    "<isindex action=LEAK type=image src=LEAK>",
    "<bgsound src=LEAK>",
    "<layer src=LEAK></layer>",
    "<blockquote cite=LEAK>x</blockquote>",
    "<q cite=LEAK>x</q>",
    "<img longdesc=LEAK lowsrc=LEAK dynsrc=LEAK src=x usemap=LEAK>",
];

/// Elements of HTML, SVG and MathML, old ones and such as only some browsers had among them.
pub const ELEMENTS: &str = "a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink blockquote \
    body br button canvas caption center cite code col colgroup command content data datalist dd del details dfn dialog dir div dl dt \
    element em embed fencedframe fieldset figcaption figure font footer form frame frameset h1 h2 head header hgroup hr html i iframe \
    ilayer image img input ins isindex kbd keygen label layer legend li link listing main map mark marquee menu menuitem meta meter \
    multicol nav nextid nobr noembed noframes noscript object ol optgroup option output p param picture plaintext portal pre progress q \
    rb rp rt rtc ruby s samp script search section select shadow slot small source spacer span strike strong style sub summary sup \
    table tbody td template textarea tfoot th thead time title tr track tt u ul var video wbr xmp x-own \
    svg animate animateMotion animateTransform circle clipPath defs desc feImage filter font-face font-face-uri foreignObject g glyph \
    linearGradient mask mpath pattern path script set style switch symbol text textPath title tref use view \
    math annotation annotation-xml maction malignmark menclose merror mglyph mi mn mo mphantom mrow ms mspace mstyle mtable mtext \
    none semantics";

/// Attributes that load, run, lead elsewhere, or give something a name that a page may fall for.
pub const ATTRIBUTES: &str = "action actiontype archive attributionsrc background cite class classid code codebase content data datasrc \
    definitionurl dynsrc fill filter formaction from href icon id imagesrcset imgsrc is itemid longdesc lowsrc manifest mask name nohref \
    nonce part ping pluginspage pluginurl poster profile rel slot src srcdoc srcset standby style target to url usemap value values vrml \
    xlink:actuate xlink:href xlink:show xml:base xmlns xmlns:xlink by begin attributeName http-equiv autofocus contenteditable \
    onload onerror onfocus onbegin onend onrepeat onstart ontoggle onbeforetoggle oncanplay onloadstart onprogress onanimationstart \
    onpageshow onresize onscroll onselectionchange onpropertychange onreadystatechange onfinish onbounce onfilterchange onseeked";

/// Ways to name an address in CSS.
pub const LOADS: [&str; 12] = [
    "url(LEAK)",
    "url('LEAK')",
    "u\\72l(LEAK)",
    "url(//leak.example/css)",
    "image-set('LEAK' 1x)",
    "-webkit-image-set(url(LEAK) 1x)",
    "cross-fade(url(LEAK), url(LEAK), 50%)",
    "image('LEAK')",
    "src('LEAK')",
    "expression(MARK)",
    "url(javascript:MARK)",
    "url(\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><image href='LEAK'/></svg>\")",
];

/// Properties that load what they name.
pub const PROPERTIES: &str = "background background-image border-image border-image-source content cursor list-style list-style-image \
    mask mask-image -webkit-mask-image mask-border-source shape-outside clip-path filter backdrop-filter offset-path src behavior \
    -moz-binding fill stroke marker marker-end symbols additive-symbols --own";

/// Every element with every attribute, by an address and by a script; every property with every way to load.
pub fn each_with_each() -> Vec<String> {
    let mut documents = Vec::new();
    for element in ELEMENTS.split_ascii_whitespace() {
        for attribute in ATTRIBUTES.split_ascii_whitespace() {
            let value = match attribute {
                name if name.starts_with("on") => "MARK",
                "style" => "background:url(LEAK);behavior:url(LEAK)",
                "srcset" | "imagesrcset" => "LEAK 1x, LEAK 2x",
                "srcdoc" => "<img src=LEAK>",
                "content" => "0;url=LEAK",
                "http-equiv" => "refresh",
                "rel" => "stylesheet",
                _ => "LEAK",
            };
            documents.push(format!("<{element} {attribute}=\"{value}\">x</{element}>"));
        }
        documents.push(format!(
            "<svg><{element} href='LEAK' xlink:href='LEAK' onload=MARK></{element}></svg>"
        ));
        documents.push(format!(
            "<a href='javascript:MARK'><{element} href=' &#1;java\tscript:MARK' src='javascript:MARK'>x</a>"
        ));
    }
    for property in PROPERTIES.split_ascii_whitespace() {
        for load in LOADS {
            documents.push(format!(
                "<p style=\"{property}:{}\">x</p>",
                load.replace('"', "&quot;")
            ));
            documents.push(format!(
                "<style>*{{{property}:{load}}} @font-face{{font-family:x;src:{load}}}</style>"
            ));
            documents.push(format!(
                "<svg><style>@import {load};*{{{property}:{load}}}</style></svg>"
            ));
        }
    }
    documents
}
