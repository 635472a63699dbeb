//! A mailbox as companies have them: conversations among many clients, plain text beside HTML, quoted replies, now and
//! then a file. Equal numbers make equal mails.

use mailroom::cli::demo::dovecot::OldMail;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

const FIRST_NAMES: &[&str] = &[
    "Ada", "Bo", "Cem", "Dina", "Elif", "Finn", "Gul", "Hana", "Ivo", "Jana", "Kurt", "Lena",
    "Mia", "Nils", "Ole", "Pia", "Quin", "Rosa", "Sami", "Tove",
];
const LAST_NAMES: &[&str] = &[
    "Berg", "Celik", "Diaz", "Evans", "Fuchs", "Garcia", "Horn", "Ito", "Jensen", "Kaya",
];
const DOMAINS: &[&str] = &[
    "acme.example",
    "globex.example",
    "initech.example",
    "umbrella.example",
    "hooli.example",
];
const WORDS: &[&str] = &[
    "the",
    "of",
    "to",
    "and",
    "quote",
    "order",
    "invoice",
    "delivery",
    "contract",
    "meeting",
    "schedule",
    "project",
    "draft",
    "review",
    "please",
    "find",
    "attached",
    "regards",
    "thanks",
    "offer",
    "price",
    "budget",
    "deadline",
    "customer",
    "support",
    "ticket",
    "shipment",
    "approval",
    "next",
    "week",
    "update",
    "question",
    "about",
    "our",
    "system",
    "integration",
    "renewal",
    "proposal",
];
/// Replies go to one of this many newest conversations.
const LIVELY: usize = 400;

struct Person {
    name: String,
    address: String,
}

struct Conversation {
    subject: String,
    ids: Vec<String>,
    people: Vec<usize>,
}

/// The mails of one mailbox, oldest first.
pub struct Letters {
    random: StdRng,
    people: Vec<Person>,
    conversations: Vec<Conversation>,
    owner: String,
    number: u64,
    received_at: SystemTime,
}

impl Letters {
    /// Mail to this address, the last of `count` being a day old or so.
    pub fn to(owner: &str, count: u64) -> Self {
        let people = FIRST_NAMES.iter().flat_map(|first| {
            LAST_NAMES.iter().flat_map(move |last| {
                DOMAINS.iter().map(move |domain| Person {
                    name: format!("{first} {last}"),
                    address: format!("{first}.{last}@{domain}").to_lowercase(),
                })
            })
        });
        Self {
            random: StdRng::seed_from_u64(20_261_124),
            people: people.collect(),
            conversations: Vec::new(),
            owner: owner.to_owned(),
            number: 0,
            received_at: SystemTime::now() - Duration::from_secs(86_400 + count * 1800),
        }
    }

    fn words(&mut self, count: usize) -> String {
        let mut text = String::new();
        for index in 0..count {
            let space = if index == 0 { "" } else { " " };
            let word = WORDS.choose(&mut self.random).copied().unwrap_or_default();
            let _infallible = write!(text, "{space}{word}");
        }
        text
    }

    fn lines(&mut self, count: usize, before: &str, words: usize, after: &str) -> String {
        let mut text = String::new();
        for _line in 0..count {
            let line = self.words(words);
            let _infallible = writeln!(text, "{before}{line}{after}");
        }
        text
    }

    fn conversation(&mut self) -> usize {
        let is_reply = !self.conversations.is_empty() && self.random.random_bool(0.62);
        if is_reply {
            let first = self.conversations.len().saturating_sub(LIVELY);
            return self.random.random_range(first..self.conversations.len());
        }
        let count = self.random.random_range(3..=8);
        let subject = self.words(count);
        let people = (0..self.random.random_range(1..=3))
            .map(|_person| self.random.random_range(0..self.people.len()))
            .collect();
        self.conversations.push(Conversation {
            subject,
            ids: Vec::new(),
            people,
        });
        self.conversations.len() - 1
    }

    /// The header fields of a mail of this conversation.
    fn head(&mut self, conversation: usize) -> String {
        let number = self.number;
        let random = self.random.random::<u32>();
        let host = self.random.random_range(1..=9);
        let chat = &mut self.conversations[conversation];
        let from = &self.people[*chat.people.choose(&mut self.random).unwrap()];
        let others: Vec<String> = chat
            .people
            .iter()
            .map(|&person| &self.people[person])
            .filter(|person| person.address != from.address)
            .map(|person| format!("{} <{}>", person.name, person.address))
            .collect();
        let id = format!("<{number:06}.{random:08x}@{}>", from.address);
        let date = chrono::DateTime::<chrono::Utc>::from(self.received_at).to_rfc2822();
        let mut head = format!(
            "Return-Path: <{from}>\nReceived: from mx{host}.mail.example (mx [192.0.2.{host}])\n\tby mail.ours.example (Postfix) \
             with ESMTPS id {random:08X}\n\tfor <{owner}>; {date}\nFrom: {name} <{from}>\nTo: {owner}\nMessage-ID: {id}\nDate: {date}\n",
            from = from.address,
            name = from.name,
            owner = self.owner,
        );
        if !others.is_empty() {
            let _infallible = writeln!(head, "Cc: {}", others.join(",\n "));
        }
        let reply = if chat.ids.is_empty() { "" } else { "Re: " };
        let _infallible = writeln!(head, "Subject: {reply}{}", chat.subject);
        if let Some(parent) = chat.ids.last() {
            let _infallible = writeln!(head, "In-Reply-To: {parent}");
            let recent: Vec<&str> = chat
                .ids
                .iter()
                .rev()
                .take(12)
                .rev()
                .map(String::as_str)
                .collect();
            let _infallible = writeln!(head, "References: {}", recent.join("\n "));
        }
        chat.ids.push(id);
        head
    }

    fn plain_beside_html(&mut self) -> String {
        let number = self.number;
        let (written, quoted) = (
            self.random.random_range(8..50),
            self.random.random_range(0..50),
        );
        let paragraphs = self.random.random_range(10..90);
        let text = self.lines(written, "", 9, "");
        let quote = self.lines(quoted, "> ", 12, "");
        let html = self.lines(paragraphs, "<p style=\"margin:0\">", 14, "</p>");
        format!(
            "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"=_b{number}\"\n\n--=_b{number}\n\
             Content-Type: text/plain; charset=utf-8\n\n{text}\nOn Monday somebody wrote:\n{quote}\n--=_b{number}\n\
             Content-Type: text/html; charset=utf-8\n\n<html><body>{html}</body></html>\n--=_b{number}--\n"
        )
    }

    fn with_file(&mut self) -> String {
        use base64::Engine as _;
        let number = self.number;
        // Sizes of files are spread over orders of magnitude: 8 to 600 KB.
        let size = 2_f64.powf(self.random.random_range(13.0..19.2));
        let mut bytes = vec![0_u8; size as usize];
        self.random.fill(bytes.as_mut_slice());
        let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let mut lines = String::with_capacity(encoded.len() + encoded.len() / 70);
        for line in encoded.as_bytes().chunks(76) {
            lines.push_str(std::str::from_utf8(line).unwrap());
            lines.push('\n');
        }
        let text = self.words(120);
        format!(
            "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_m{number}\"\n\n--=_m{number}\n\
             Content-Type: text/plain; charset=utf-8\n\n{text}\n--=_m{number}\nContent-Type: application/pdf; name=\"offer-{number}.pdf\"\n\
             Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"offer-{number}.pdf\"\n\n{lines}\n--=_m{number}--\n"
        )
    }
}

impl Iterator for Letters {
    type Item = OldMail;

    fn next(&mut self) -> Option<OldMail> {
        self.number += 1;
        self.received_at += Duration::from_secs(self.random.random_range(20..3600));
        let conversation = self.conversation();
        let mut raw = self.head(conversation);
        let kind = self.random.random::<f64>();
        raw.push_str(&match kind {
            kind if kind < 0.42 => {
                let count = self.random.random_range(10..110);
                let text = self.lines(count, "", 12, "");
                format!("Content-Type: text/plain; charset=utf-8\n\n{text}")
            }
            kind if kind < 0.92 => self.plain_beside_html(),
            _ => self.with_file(),
        });
        Some(OldMail {
            raw: raw.into_bytes(),
            received_at: self.received_at,
            is_seen: self.random.random_bool(0.7),
        })
    }
}
