//! What hostile mail does in a real browser (R44): nothing. Vectors that have run scripts or loaded things elsewhere are
//! cleaned and opened in headless Chromium, in the page itself rather than in a sandboxed frame, while a server notes
//! every request. Where there is no Chromium, the lists of the judge are proved by `view` alone.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a script would do that ran: `MARK` marks the page, `LEAK` is an address that tells.
const VECTORS: &[&str] = &[
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
    "<img src=//127.0.0.1:PORT/leak>",
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

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            let found = Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            found.is_ok_and(|status| status.success())
        })
}

/// Serves one page, and notes the path of every request.
async fn serve(page: String) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = page.replace("PORT", &port.to_string());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (page, noted) = (page.clone(), noted.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 8192];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let path = request.split_whitespace().nth(1).unwrap_or("").to_owned();
                let body = if path == "/page" { page } else { String::new() };
                noted.lock().unwrap().push(path);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                // A browser that has gone needs no answer.
                drop(stream.write_all(answer.as_bytes()).await);
            });
        }
    });
    (port, asked)
}

/// Opens a page; its document as it is then, and the paths that were asked for beside it.
async fn open(browser: &'static str, body: &str) -> (String, Vec<String>) {
    let page = format!(
        "<!doctype html><html><head><link rel=icon href=data:,></head><body>{body}</body></html>"
    );
    let (port, asked) = serve(page).await;
    let profile = tempfile::tempdir().unwrap();
    let folder = format!("--user-data-dir={}", profile.path().display());
    let opened = tokio::task::spawn_blocking(move || {
        Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--virtual-time-budget=4000",
                "--dump-dom",
                &folder,
            ])
            .arg(format!("http://127.0.0.1:{port}/page"))
            .stderr(Stdio::null())
            .output()
            .unwrap()
    });
    let output = opened.await.unwrap();
    let document = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = asked.lock().unwrap().clone();
    // A browser opens a second connection to the page's own server, over which it asks nothing.
    let is_other = |path: &String| !matches!(path.as_str(), "" | "/page" | "/favicon.ico");
    let others = paths.into_iter().filter(is_other);
    (document, others.collect())
}

fn armed(vector: &str, number: usize) -> String {
    let leak = format!("http://127.0.0.1:PORT/leak{number}");
    vector
        .replace("MARK", "document.documentElement.dataset.pwned=1")
        .replace("LEAK", &leak)
}

#[tokio::test(flavor = "multi_thread")]
async fn r44_hostile_mail_runs_and_loads_nothing_in_a_browser() {
    let Some(browser) = browser() else {
        println!("there is no Chromium here: nothing was opened");
        return;
    };
    // What is not cleaned does run and load: else this would prove nothing.
    let (document, paths) = open(browser, &(armed(VECTORS[1], 1) + &armed(VECTORS[2], 2))).await;
    assert!(document.contains("data-pwned"), "{document}");
    assert!(paths.iter().any(|path| path == "/leak2"), "{paths:?}");

    let mut clean = String::new();
    for (number, vector) in VECTORS.iter().enumerate() {
        let found = mailroom::view::clean(&armed(vector, number), &|_id| None);
        let shown = found.map_or_else(String::new, |found| found.html);
        clean.push_str(&format!("<div>{shown}</div>\n"));
    }
    let (document, paths) = open(browser, &clean).await;
    assert!(
        document.contains("<body>"),
        "the page was opened: {document}"
    );
    assert!(!document.contains("data-pwned"), "a script ran: {document}");
    assert_eq!(paths, Vec::<String>::new(), "something was loaded");
    println!(
        "{} vectors in {browser}: 0 scripts, 0 requests",
        VECTORS.len()
    );
}
