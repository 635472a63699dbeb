//! Headless Chromium whose every request comes to us: we are its proxy, the page that it opens, and the rest of the web.

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Documents on a page.
const DOCUMENTS_A_PAGE: usize = 200;

/// Longest wait for the next page to be judged.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the browser did.
#[derive(Debug, Default)]
pub struct Seen {
    /// Pages that were judged.
    pub pages: usize,
    /// Pages on which a script ran.
    pub marked: BTreeSet<usize>,
    /// Pages that led elsewhere by themselves.
    pub moved: BTreeSet<usize>,
    /// Elements that do, load or say what clean HTML must not.
    pub odd: Vec<String>,
    /// What was asked for beside the pages.
    pub asked: BTreeSet<String>,
}

/// The name of Chromium's program, where there is one.
pub fn program() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| {
            let found = std::process::Command::new(name)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            found.is_ok_and(|status| status.success())
        })
}

/// Opens each page in a frame, looks through what became of it, writes its HTML anew as a careless front end does, and
/// looks again. `judge` knows nothing of Mailroom's lists: it names what can do harm.
const OUTER: &str = r#"<!doctype html><html><head><link rel=icon href=data:,></head><body><script>
const acting = new Set(('applet area audio base basefont bgsound body button canvas command dialog embed fencedframe form frame frameset ' +
  'head html iframe image input isindex keygen label layer link map marquee math meta noembed noframes noscript object option param ' +
  'picture plaintext portal script select slot source style svg template textarea title track video xmp').split(' '));
const harmful = new Set(('action attributionsrc autofocus background cite class classid code codebase content contenteditable data datasrc ' +
  'dynsrc formaction http-equiv icon id imagesrcset is longdesc lowsrc manifest name nonce ping poster profile slot src srcdoc srcset ' +
  'style usemap xlink:href xml:base').split(' '));
function judge(root) {
  const odd = [];
  for (const element of root.querySelectorAll('*')) {
    let is_odd = element.namespaceURI !== 'http://www.w3.org/1999/xhtml' || acting.has(element.localName);
    for (const { name } of element.attributes) {
      const is_inline = name === 'src' && element.localName === 'img' && element.getAttribute('src') === '/inline';
      is_odd ||= /^on/i.test(name) || (harmful.has(name) && !is_inline);
      if (name === 'href') is_odd ||= element.localName !== 'a' || !['http:', 'https:', 'mailto:', 'tel:'].includes(element.protocol);
    }
    if (is_odd && odd.length < 20) odd.push(element.outerHTML.slice(0, 300));
  }
  return odd;
}
const a_while = () => new Promise((resolve) => setTimeout(resolve, 40));
const is_marked = (page) => 'pwned' in page.documentElement.dataset;
async function judge_page(number) {
  const frame = document.createElement('iframe');
  frame.src = '/page/' + number;
  const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }));
  document.body.append(frame);
  await loaded;
  await a_while();
  const odd = [];
  try {
    const { body } = frame.contentDocument;
    odd.push(...judge(body));
    body.innerHTML = body.innerHTML;
    odd.push(...judge(body));
  } catch (error) { /* It has moved, which is seen at its end. */ }
  return { number, odd, frame };
}
async function end_page({ number, odd, frame }) {
  const told = { number, odd, marked: false, moved: true };
  try {
    const page = frame.contentDocument;
    told.marked = is_marked(page) || is_marked(document);
    told.moved = page.location.pathname !== '/page/' + number;
  } catch (error) { /* Another site's page can't be looked at. */ }
  frame.remove();
  await fetch('/told', { method: 'POST', body: JSON.stringify(told) });
}
(async () => {
  // What a page does by itself it may do late: a few stay open while others come.
  const open = [];
  for (let number = 0; number < COUNT; number++) {
    open.push(await judge_page(number));
    if (open.length > 8) await end_page(open.shift());
  }
  for (let left = 0; left < 20; left++) await a_while();
  for (const page of open) await end_page(page);
  await fetch('/done', { method: 'POST' });
})();
</script></body></html>"#;

/// Opens two pages at a time, with scripts off, and tells which words of the first are not to be seen on the second.
const COMPARING: &str = r#"<!doctype html><html><head><link rel=icon href=data:,></head><body><script>
async function words_of(number) {
  const frame = document.createElement('iframe');
  frame.sandbox = 'allow-same-origin';
  frame.width = 1000;
  frame.src = '/page/' + number;
  const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }));
  document.body.append(frame);
  await loaded;
  const words = frame.contentDocument.body.innerText.split(/[\s\u200b-\u200f\u034f\u00ad\u2060\ufeff]+/u).filter((word) => word !== '');
  frame.remove();
  return words;
}
(async () => {
  for (let number = 0; number < COUNT; number += 2) {
    const [words, others] = await Promise.all([words_of(number), words_of(number + 1)]);
    const left = new Map();
    for (const word of others) left.set(word, (left.get(word) ?? 0) + 1);
    const lost = words.filter((word) => {
      const count = left.get(word) ?? 0;
      left.set(word, count - 1);
      return count <= 0;
    });
    await fetch('/told', { method: 'POST', body: JSON.stringify({ words: words.length, lost }) });
  }
  await fetch('/done', { method: 'POST' });
})();
</script></body></html>"#;

/// What fixtures of others do when they run.
const TELLTALE: &str = "<script>for (const name of ['alert', 'confirm', 'prompt', 'print', 'open']) \
    window[name] = () => { document.documentElement.dataset.pwned = 1 }</script>";

/// What a page says when all others were opened.
#[derive(Debug, Default)]
struct Said {
    told: Vec<Value>,
    asked: BTreeSet<String>,
}

struct Site {
    /// Opens the others.
    outer: String,
    pages: Vec<String>,
    said: Mutex<Said>,
    /// Something was told.
    told: Notify,
    is_done: std::sync::atomic::AtomicBool,
}

impl Site {
    /// Answers one request; the body to send back.
    fn answer(&self, method: &str, target: &str, body: &str) -> String {
        let path = target.strip_prefix("http://page.example").unwrap_or(target);
        let page = path
            .strip_prefix("/page/")
            .and_then(|number| number.parse::<usize>().ok())
            .and_then(|number| self.pages.get(number));
        match (method, path) {
            ("GET", "/") => return self.outer.clone(),
            // An image that came with the mail.
            ("GET", "/inline") => {}
            ("POST", "/told") => {
                let told = serde_json::from_str(body).unwrap();
                self.said.lock().unwrap().told.push(told);
            }
            ("POST", "/done") => self
                .is_done
                .store(true, std::sync::atomic::Ordering::SeqCst),
            _ => {
                if let Some(page) = page {
                    return page.clone();
                }
                self.note_asked(method, target);
            }
        }
        self.told.notify_one();
        String::new()
    }

    /// Notes what was asked for beside the pages, but for the browser's own errands with its maker.
    fn note_asked(&self, method: &str, target: &str) {
        let address = target.strip_prefix("http://").unwrap_or(target);
        let host = address.split(['/', ':']).next().unwrap_or("");
        let is_of_maker = host.ends_with(".google.com") || host.ends_with(".googleapis.com");
        if !is_of_maker || self.pages.iter().any(|page| page.contains(host)) {
            let asked = format!("{method} {target}");
            self.said.lock().unwrap().asked.insert(asked);
        }
    }
}

/// Reads one request: its method, its target and its body.
async fn request(stream: &mut TcpStream) -> Option<(String, String, String)> {
    let mut bytes = Vec::new();
    loop {
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head_end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse::<usize>().ok())?
                })
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                let mut words = head.split_ascii_whitespace().map(str::to_owned);
                let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                return Some((words.next()?, words.next()?, body));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn serve(listener: TcpListener, site: Arc<Site>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let site = site.clone();
        tokio::spawn(async move {
            let Some((method, target, body)) = request(&mut stream).await else {
                return;
            };
            let answer = if method == "CONNECT" {
                site.note_asked(&method, &target);
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    .to_owned()
            } else {
                let body = site.answer(&method, &target, &body);
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
            };
            // A browser that has gone needs no answer.
            drop(stream.write_all(answer.as_bytes()).await);
        });
    }
}

/// Opens these documents, some on a page, one page after the other, in a browser of its own.
pub async fn open(program: &str, documents: &[String]) -> Seen {
    let pages = documents.chunks(DOCUMENTS_A_PAGE).map(|documents| {
        let body = documents.join("</div>\n<div>");
        format!(
            "<!doctype html><html><head><link rel=icon href=data:,>{TELLTALE}</head><body><div>{body}</div></body></html>"
        )
    });
    let said = run(program, OUTER, pages.collect()).await;
    let mut seen = Seen {
        pages: said.told.len(),
        asked: said.asked,
        ..Seen::default()
    };
    for told in said.told {
        let number = usize::try_from(told["number"].as_u64().unwrap()).unwrap();
        if told["marked"] == true {
            seen.marked.insert(number);
        }
        if told["moved"] != false {
            seen.moved.insert(number);
        }
        let odd = told["odd"].as_array().unwrap().iter();
        seen.odd
            .extend(odd.map(|odd| format!("page {number}: {}", odd.as_str().unwrap())));
    }
    seen
}

/// How many words of a document somebody sees, and which of them are not to be seen in the other.
#[derive(Debug)]
pub struct Kept {
    pub words: usize,
    pub lost: Vec<String>,
}

/// Compares what is to be seen of the first with what is to be seen of the second, of each two.
pub async fn compare(program: &str, documents: &[(String, String)]) -> Vec<Kept> {
    // Nothing is loaded: words are what counts.
    let policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">";
    let page = |html: &String| {
        format!("<!doctype html><html><head>{policy}</head><body>{html}</body></html>")
    };
    let pages = documents
        .iter()
        .flat_map(|(first, second)| [page(first), page(second)]);
    let said = run(program, COMPARING, pages.collect()).await;
    let kept = said.told.iter().map(|told| Kept {
        words: usize::try_from(told["words"].as_u64().unwrap()).unwrap(),
        lost: serde_json::from_value(told["lost"].clone()).unwrap(),
    });
    kept.collect()
}

/// Lets a browser of its own open the outer page, which opens the others.
async fn run(program: &str, outer: &str, pages: Vec<String>) -> Said {
    let site = Arc::new(Site {
        outer: outer.replace("COUNT", &pages.len().to_string()),
        pages,
        said: Mutex::default(),
        told: Notify::new(),
        is_done: false.into(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(serve(listener, site.clone()));
    let profile = tempfile::tempdir().unwrap();
    let mut browser = tokio::process::Command::new(program)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-popup-blocking",
            "--remote-debugging-port=0",
            // Requests to this machine too.
            "--proxy-bypass-list=<-loopback>",
        ])
        .arg(format!("--proxy-server=http://127.0.0.1:{port}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("http://page.example/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while !site.is_done.load(std::sync::atomic::Ordering::SeqCst) {
        let waited = tokio::time::timeout(PATIENCE, site.told.notified()).await;
        assert!(
            waited.is_ok(),
            "the browser stopped: {:?}",
            site.said.lock()
        );
    }
    browser.kill().await.unwrap();
    serving.abort();
    std::mem::take(&mut *site.said.lock().unwrap())
}
