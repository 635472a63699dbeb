//! Traces go to a collector that is named, join their caller's, and hold no content.

use crate::crashes::PROGRAM;
use crate::on_both;
use crate::outages::{Front, Program, listening};
use crate::support::app::PATIENCE;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};

/// A trace and the span in it that the caller was in, as the header has them.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A collector: what it is sent, head and body.
struct Collector {
    url: String,
    sent: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (send, sent) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let send = send.clone();
                std::thread::spawn(move || {
                    let mut socket = socket;
                    while let Some(request) = read_request(&mut socket) {
                        let _ = send.send(request);
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        let _ = socket.write_all(answer);
                    }
                });
            }
        });
        Self { url, sent }
    }

    /// All that it is sent until this is in it.
    fn until(&self, wanted: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        while !holds(&all, wanted) {
            let (head, body) = self.sent.recv_timeout(PATIENCE).expect("it is sent");
            assert!(head.starts_with("POST /v1/traces "), "{head}");
            all.extend(body);
        }
        all
    }
}

/// The head and the body of a request that has a length; `None` at the end of the connection.
fn read_request(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.expect("a length")];
    socket.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn holds(all: &[u8], wanted: &[u8]) -> bool {
    all.windows(wanted.len()).any(|part| part == wanted)
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

on_both! {
    async fn f25_traces_are_sent_where_a_collector_is_named_and_join_their_callers(app) {
        let mut app = app;
        app.stop().await;
        let collector = Collector::start();
        let (url, mut environment) = listening(app.environment());
        environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/", collector.url)));
        let mut serve = Command::new(PROGRAM);
        serve.arg("serve");
        let mut server = Program::launch(serve, environment);
        let _front = Front::at(&app, url.clone()).await;
        let asked = reqwest::Client::new()
            .post(format!("{url}/graphql"))
            .bearer_auth(&app.admin)
            .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
            .json(&json!({ "query": "query CanaryName { viewer { address } }" }));
        let answer = asked.send().await.unwrap().text().await.unwrap();
        // What waits is sent at the end.
        server.end();
        let sent = collector.until(&bytes_of(TRACE));
        assert!(holds(&sent, &bytes_of(SPAN)), "it hangs on its caller's span");
        for word in ["operation", "mailroom", "service.name", "kind"] {
            assert!(holds(&sent, word.as_bytes()), "no {word}: {}", String::from_utf8_lossy(&sent));
        }
        let address = answer.split('"').find(|word| word.contains('@')).expect("an address");
        for word in ["anary", "viewer", address] {
            assert!(!holds(&sent, word.as_bytes()), "{word} is in the traces");
        }
        app.start_again().await;
    }
}
