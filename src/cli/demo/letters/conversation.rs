//! Conversations with clients: four turns in the client's language, quoting what went before.
//! Not for: mail that nobody answers (`special`).

use super::super::clients::{Client, Language, Lead, machines};
use super::super::company::{Company, DOMAIN, Mailbox, Person};
use super::charset::Charset;
use super::compose::{Draft, Party, rfc_5322_date};
use super::files::{self, File};
use super::phrases::{Desk, Topic, manners, topics};
use super::{Expectation, Kind, Letter, Pen};
use crate::model::Time;
use crate::model::email::EmailOutcome;

/// Columns after which a line of text is broken.
const COLUMNS: usize = 74;

/// Whoever writes from outside.
#[derive(Debug, Clone)]
pub struct Correspondent {
    pub name: String,
    pub address: String,
    pub company: String,
    pub language: Language,
    pub responsible: Option<&'static str>,
    pub is_known: bool,
}

impl From<&Client> for Correspondent {
    fn from(client: &Client) -> Self {
        Self {
            name: client.name.to_owned(),
            address: client.address.clone(),
            company: client.company.to_owned(),
            language: client.language,
            responsible: Some(client.responsible),
            is_known: true,
        }
    }
}

impl From<&Lead> for Correspondent {
    fn from(lead: &Lead) -> Self {
        Self {
            name: lead.name.to_owned(),
            address: lead.address.clone(),
            company: lead.name.to_owned(),
            language: lead.language,
            responsible: Some(lead.responsible),
            is_known: true,
        }
    }
}

impl Correspondent {
    /// Somebody who never wrote before.
    pub fn stranger(name: &str, address: &str, language: Language) -> Self {
        let (name, address) = (name.to_owned(), address.to_owned());
        Self {
            company: name.clone(),
            name,
            address,
            language,
            responsible: None,
            is_known: false,
        }
    }

    /// The domain of the address.
    pub fn domain(&self) -> &str {
        self.address.rsplit('@').next().unwrap_or(&self.address)
    }

    /// As it stands in a header.
    pub fn party(&self) -> Party {
        Party::new(&self.name, &self.address)
    }
}

/// What the last turn said, to be quoted.
#[derive(Debug, Clone)]
struct Said {
    by: String,
    at: Time,
    text: String,
}

/// A conversation under way.
#[derive(Debug, Clone)]
pub struct Conversation {
    client: Correspondent,
    mailbox: &'static Mailbox,
    agent: &'static Person,
    topic: Topic,
    machine: &'static str,
    count: u32,
    charset: Charset,
    has_html: bool,
    turn: usize,
    turns: usize,
    ids: Vec<String>,
    said: Option<Said>,
}

impl Conversation {
    /// Draws what it is about and whom it reaches; `None` only in a company without mailboxes.
    pub fn begin(
        pen: &mut Pen,
        company: &Company,
        client: Correspondent,
        desk: Desk,
    ) -> Option<Self> {
        let fitting: Vec<Topic> = topics(client.language)
            .iter()
            .copied()
            .filter(|topic| topic.desk == desk)
            .collect();
        let topic = *pen.dice.pick(&fitting)?;
        let login = match desk {
            Desk::Service => "support",
            Desk::Sales if client.responsible == Some("sofia.herrera") && pen.dice.chance(60) => {
                "sofia.herrera"
            }
            Desk::Sales if client.is_known && pen.dice.chance(8) => "info",
            Desk::Sales => "sales",
        };
        let mailbox = company
            .mailboxes
            .iter()
            .find(|mailbox| mailbox.login == login)?;
        let known = client
            .responsible
            .filter(|login| mailbox.queue.contains(login));
        let login = known.or_else(|| pen.dice.pick(mailbox.queue).copied())?;
        let names: Vec<&'static str> = machines().collect();
        let national = pen.dice.chance(55);
        Some(Self {
            machine: pen.dice.pick(&names).copied()?,
            count: pen.dice.between(2, 6),
            charset: if national {
                Charset::national(client.language)
            } else {
                Charset::Utf8
            },
            has_html: pen.dice.chance(60),
            agent: company.person(login)?,
            client,
            mailbox,
            topic,
            turn: 0,
            turns: topic.turns.len(),
            ids: Vec::new(),
            said: None,
        })
    }

    /// Lets it reach the mailbox that makes nothing for strangers; nobody answers there.
    pub fn to_info(&mut self) {
        if let Some(info) = Company::from_seed(0)
            .mailboxes
            .iter()
            .find(|mailbox| mailbox.login == "info")
        {
            self.mailbox = info;
            self.turns = 1;
        }
    }

    /// Whether everything is said.
    pub const fn is_over(&self) -> bool {
        self.turn >= self.turns
    }

    /// The next turn's mail: the client's into the Inbox, ours into Sent. Nothing once it is over.
    pub fn next(&mut self, pen: &mut Pen, at: Time) -> Vec<Letter> {
        let Some(text) = self
            .topic
            .turns
            .get(self.turn)
            .filter(|_| !self.is_over())
            .copied()
        else {
            return Vec::new();
        };
        let is_ours = self.turn % 2 == 1;
        let ours = Party::new(
            &format!("{} (Tarn & Vale)", self.agent.name),
            &self.mailbox.address(),
        );
        let (from, to) = if is_ours {
            (ours, self.client.party())
        } else {
            (self.client.party(), Party::new("", &self.mailbox.address()))
        };
        let domain = if is_ours {
            DOMAIN
        } else {
            self.client.domain()
        };
        let id = pen.message_id(domain);
        let mut draft = Draft::new(from, to, &self.subject(), at, &id);
        draft.charset = self.charset;
        draft.transfer = self.charset.transfer(self.client.language);
        draft.in_reply_to = self.ids.last().cloned();
        draft.references.clone_from(&self.ids);
        if !is_ours {
            draft.trace.push((
                "Received",
                received(pen, self.client.domain(), &self.mailbox.address(), at),
            ));
        }
        draft.extra.push(("User-Agent", user_agent(pen)));
        let body = self.letter_text(text, is_ours);
        draft.text = format!("{body}{}", self.quoted());
        if self.has_html || is_ours {
            self.add_html(pen, &mut draft, &body, is_ours);
        }
        draft.attachments.extend(self.attachment(pen, is_ours));
        self.said = Some(Said {
            by: draft.from.name.clone(),
            at,
            text: body,
        });
        self.ids.push(id.clone());
        self.turn += 1;
        vec![self.letter(&draft, is_ours)]
    }

    fn letter(&self, draft: &Draft, is_ours: bool) -> Letter {
        let kind = match (is_ours, self.client.is_known || self.turn > 1) {
            (true, _) => Kind::Answer,
            (false, true) => Kind::Client,
            (false, false) => Kind::Stranger,
        };
        let is_lost_on_info = !self.client.is_known && self.mailbox.login == "info";
        let outcomes: &[EmailOutcome] = if is_lost_on_info {
            &[EmailOutcome::NothingToCreate]
        } else {
            &[EmailOutcome::Saved]
        };
        Letter {
            to_mailbox: self.mailbox.address(),
            folder: is_ours.then_some("Sent"),
            from: draft.from.address.clone(),
            raw: draft.to_bytes(),
            message_id: draft.message_id.clone(),
            subject: draft.subject.clone(),
            date: draft.date,
            kind,
            expectation: Some(Expectation { outcomes }),
        }
    }

    fn subject(&self) -> String {
        let subject = self.filled(self.topic.subject);
        if self.turn == 0 {
            subject
        } else {
            format!("{}{subject}", manners(self.client.language).reply)
        }
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{machine}", self.machine)
            .replace("{count}", &self.count.to_string())
            .replace("{company}", &self.client.company)
    }

    /// Greeting, text, closing and name, without the quote.
    fn letter_text(&self, text: &str, is_ours: bool) -> String {
        let manners = manners(self.client.language);
        let signature = if is_ours {
            format!(
                "{}\n{}\nTarn & Vale\n{}",
                self.agent.name,
                self.agent.title,
                self.mailbox.address()
            )
        } else if self.client.company == self.client.name {
            self.client.name.clone()
        } else {
            format!("{}\n{}", self.client.name, self.client.company)
        };
        let text = wrapped(&self.filled(text), COLUMNS);
        format!(
            "{}\n\n{text}\n\n{}\n{signature}",
            manners.greeting, manners.closing
        )
    }

    /// The last turn as a quote; empty at the beginning.
    fn quoted(&self) -> String {
        let Some(said) = &self.said else {
            return String::new();
        };
        let lines: Vec<String> = said
            .text
            .lines()
            .map(|line| format!("> {line}").trim_end().to_owned())
            .collect();
        format!("\n\n{}\n{}", self.attribution(said), lines.join("\n"))
    }

    fn attribution(&self, said: &Said) -> String {
        let date = rfc_5322_date(said.at);
        let date = date.strip_suffix(" +0000").unwrap_or(&date);
        manners(self.client.language)
            .quoting
            .replace("{date}", date)
            .replace("{name}", &said.by)
    }

    fn add_html(&self, pen: &mut Pen, draft: &mut Draft, body: &str, is_ours: bool) {
        let direction = if self.client.language == Language::Arabic {
            " dir=\"rtl\""
        } else {
            ""
        };
        let mut html =
            format!("<!DOCTYPE html><html><body{direction} style=\"font-family:sans-serif\">\n");
        html.push_str(&paragraphs(body));
        if is_ours && pen.dice.chance(40) {
            let mut logo = files::png("logo.png", 32, &mut pen.dice);
            let id = format!("logo.{}", draft.message_id);
            html.push_str(&format!(
                "<p><img src=\"cid:{id}\" alt=\"Tarn &amp; Vale\" width=\"32\" height=\"32\"></p>\n"
            ));
            logo.content_id = Some(id);
            draft.inline.push(logo);
        }
        if let Some(said) = &self.said {
            let attribution = escaped(&self.attribution(said));
            let quote = paragraphs(&said.text);
            html.push_str(&format!(
                "<p>{attribution}</p>\n<blockquote type=\"cite\">\n{quote}</blockquote>\n"
            ));
        }
        html.push_str("</body></html>");
        draft.html = Some(html);
    }

    fn attachment(&self, pen: &mut Pen, is_ours: bool) -> Option<File> {
        match (self.topic.desk, is_ours) {
            (Desk::Sales, true) if pen.dice.chance(75) => {
                let number = pen.dice.between(1000, 9999);
                let name = format!("{} {number}.pdf", quote_name(self.client.language));
                let lines = [
                    format!("Tarn & Vale - quote {number}"),
                    format!("for {}", self.client.address),
                    format!("{} x {}", self.count, self.machine),
                    "Valid for thirty days.".to_owned(),
                ];
                Some(files::pdf(&name, &lines))
            }
            (Desk::Service, false) if self.turn == 0 && pen.dice.chance(70) => {
                Some(if pen.dice.chance(60) {
                    let number = pen.dice.between(1000, 9999);
                    files::png(&format!("IMG_{number}.png"), 64, &mut pen.dice)
                } else {
                    files::csv("parts.csv", self.machine, &mut pen.dice)
                })
            }
            _ => None,
        }
    }
}

/// How a quote's file is called.
const fn quote_name(language: Language) -> &'static str {
    match language {
        Language::English => "Quote",
        Language::German => "Angebot",
        Language::French => "Devis",
        Language::Spanish => "Presupuesto",
        Language::Polish => "Oferta",
        Language::Russian => "Предложение",
        Language::Japanese => "見積書",
        Language::Arabic => "عرض السعر",
    }
}

/// The header that the company's own server adds to what comes in.
pub fn received(pen: &mut Pen, domain: &str, mailbox: &str, at: Time) -> String {
    let (host, id) = (pen.dice.between(1, 250), pen.dice.bits() >> 24);
    format!(
        "from mx.{domain} (mx.{domain} [192.0.2.{host}])\r\n\tby mail.{DOMAIN} with ESMTPS id {id:010X}\r\n\t\
         for <{mailbox}>; {}",
        rfc_5322_date(at)
    )
}

fn user_agent(pen: &mut Pen) -> String {
    let agents = [
        "Mozilla Thunderbird",
        "Evolution 3.46.4",
        "K-9 Mail for Android",
        "Roundcube Webmail/1.6.5",
    ];
    pen.dice
        .pick(&agents)
        .copied()
        .unwrap_or("Mozilla Thunderbird")
        .to_owned()
}

/// Breaks lines at spaces; scripts without spaces keep their length.
fn wrapped(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > columns {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}

/// Text as HTML paragraphs: an empty line parts them, other line ends are kept.
fn paragraphs(text: &str) -> String {
    text.split("\n\n")
        .map(|part| format!("<p>{}</p>\n", escaped(part).replace('\n', "<br>\n")))
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
