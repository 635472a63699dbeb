//! What the tests share: private servers, a running app, clients.

pub mod app;
pub mod cyrus;
pub mod dovecot;
pub mod imap_server;
pub mod postgres;
pub mod real_mails;
pub mod redis;
pub mod smtp_server;
pub mod vocabulary;

/// Mails that programs have stumbled over.
pub fn odd_mails() -> Vec<Vec<u8>> {
    let deep = (0..400).fold(
        String::from("Content-Type: text/plain\r\n\r\ndeep"),
        |inner, _| format!("Content-Type: message/rfc822\r\n\r\n{inner}"),
    );
    [
        "".to_owned(),
        "\r\n\r\n".to_owned(),
        "no header at all".to_owned(),
        "Subject: only a subject\r\n".to_owned(),
        "From: a@b.example\r\nFrom: c@d.example\r\nSubject: two senders\r\n\r\nx".to_owned(),
        "From: <ceo@y.example>\0<evil@x.example>\r\nSubject: nul \0 in it\r\n\r\nbody \0 here".to_owned(),
        "From: a@b.example\r\nSubject: =?utf-8?q?a=0D=0ABcc:_x=40y?=\r\n\r\nx".to_owned(),
        "From: a@b.example\r\nDate: Mon, 99 Foo 2026 99:99:99 +9999\r\nSubject: no date\r\n\r\nx".to_owned(),
        "From: a@b.example\r\nSubject: charset\r\nContent-Type: text/plain; charset=x-unknown-9\r\n\r\n\u{e9}".to_owned(),
        "From: a@b.example\r\nSubject: unclosed\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n\r\nsecond".to_owned(),
        "From: a@b.example\r\nMessage-ID: <same@b.example>\r\nSubject: one\r\n\r\nfirst".to_owned(),
        "From: a@b.example\r\nMessage-ID: <same@b.example>\r\nSubject: two\r\n\r\nsecond".to_owned(),
        format!("From: a@b.example\r\nSubject: long\r\n\r\n{}", "line of a long mail\r\n".repeat(60_000)),
        format!("From: a@b.example\r\nSubject: deep\r\n{deep}"),
        format!("From: a@b.example\r\n{}\r\nx", "X-Many: header\r\n".repeat(20_000)),
    ]
    .into_iter()
    .map(String::into_bytes)
    .chain([
        b"From: \xe4\xf6\xfc <a@b.example>\r\nSubject: Gr\xfc\xdfe\r\n\r\n\xff\xfe\x00binary".to_vec(),
        (0..=255_u8).collect(),
    ])
    .collect()
}
