//! Writes one mail as bytes (RFC 5322, MIME): headers, text and HTML, inline pictures, attachments.
//! Not for: what it says (`phrases`), nor for Mailroom's own sending (`mail`).

use super::charset::{Charset, Transfer, base64_lines, header_text, quoted_printable};
use super::files::File;
use crate::model::Time;

/// A name and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    pub name: String,
    pub address: String,
}

impl Party {
    /// From borrowed texts.
    pub fn new(name: &str, address: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
        }
    }
}

/// Everything about a mail before it is written.
#[derive(Debug, Clone)]
pub struct Draft {
    pub from: Party,
    pub to: Vec<Party>,
    pub cc: Vec<Party>,
    pub subject: String,
    pub date: Time,
    /// Without angle brackets.
    pub message_id: String,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
    /// Headers before all others (`Received`), and after them.
    pub trace: Vec<(&'static str, String)>,
    pub extra: Vec<(&'static str, String)>,
    /// Lines end in LF.
    pub text: String,
    pub html: Option<String>,
    /// The set to try; texts that do not fit go in UTF-8.
    pub charset: Charset,
    pub transfer: Transfer,
    /// Shown by the HTML through their Content-ID.
    pub inline: Vec<File>,
    pub attachments: Vec<File>,
    /// A calendar beside the text.
    pub calendar: Option<String>,
}

/// A MIME part: its headers, each ended by CR LF, and its body.
struct Part {
    headers: String,
    body: Vec<u8>,
}

impl Draft {
    /// A draft with a sender, a recipient, a subject and a text; the rest is empty.
    pub fn new(from: Party, to: Party, subject: &str, date: Time, message_id: &str) -> Self {
        Self {
            from,
            to: vec![to],
            cc: Vec::new(),
            subject: subject.to_owned(),
            date,
            message_id: message_id.to_owned(),
            in_reply_to: None,
            references: Vec::new(),
            trace: Vec::new(),
            extra: Vec::new(),
            text: String::new(),
            html: None,
            charset: Charset::Utf8,
            transfer: Transfer::QuotedPrintable,
            inline: Vec::new(),
            attachments: Vec::new(),
            calendar: None,
        }
    }

    /// The mail's bytes, with lines that end in CR LF.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = String::new();
        for (name, value) in &self.trace {
            push_header(&mut head, name, value);
        }
        push_header(&mut head, "Date", &rfc_5322_date(self.date));
        push_header(&mut head, "From", &self.party(&self.from));
        push_header(&mut head, "To", &self.parties(&self.to));
        if !self.cc.is_empty() {
            push_header(&mut head, "Cc", &self.parties(&self.cc));
        }
        push_header(
            &mut head,
            "Subject",
            &header_text(&self.subject, self.charset),
        );
        push_header(&mut head, "Message-ID", &format!("<{}>", self.message_id));
        if let Some(parent) = &self.in_reply_to {
            push_header(&mut head, "In-Reply-To", &format!("<{parent}>"));
        }
        if !self.references.is_empty() {
            let list: Vec<String> = self.references.iter().map(|id| format!("<{id}>")).collect();
            push_header(&mut head, "References", &list.join("\r\n "));
        }
        for (name, value) in &self.extra {
            push_header(&mut head, name, value);
        }
        push_header(&mut head, "MIME-Version", "1.0");
        let body = self.body();
        head.push_str(&body.headers);
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body.body);
        bytes
    }

    fn party(&self, party: &Party) -> String {
        let is_atom =
            |character: char| character.is_ascii_alphanumeric() || " -".contains(character);
        if party.name.is_empty() {
            party.address.clone()
        } else if party.name.chars().all(is_atom) {
            format!("{} <{}>", party.name, party.address)
        } else if party.name.is_ascii() {
            format!(
                "\"{}\" <{}>",
                party.name.replace('\\', "\\\\").replace('"', "\\\""),
                party.address
            )
        } else {
            format!(
                "{} <{}>",
                header_text(&party.name, self.charset),
                party.address
            )
        }
    }

    fn parties(&self, parties: &[Party]) -> String {
        let list: Vec<String> = parties.iter().map(|party| self.party(party)).collect();
        list.join(",\r\n ")
    }

    fn body(&self) -> Part {
        let mut part = self.text_part("plain", &self.text);
        if let Some(html) = &self.html {
            let mut shown = self.text_part("html", html);
            if !self.inline.is_empty() {
                let pictures = self.inline.iter().map(file_part);
                shown = self.multipart("related", std::iter::once(shown).chain(pictures));
            }
            part = self.multipart("alternative", [part, shown]);
        }
        if let Some(calendar) = &self.calendar {
            let headers = "Content-Type: text/calendar; charset=utf-8; method=REQUEST\r\n\
                           Content-Transfer-Encoding: base64\r\n";
            let event = Part {
                headers: headers.to_owned(),
                body: base64_lines(calendar.as_bytes()),
            };
            part = self.multipart("alternative", [part, event]);
        }
        if self.attachments.is_empty() {
            return part;
        }
        let files = self.attachments.iter().map(file_part);
        self.multipart("mixed", std::iter::once(part).chain(files))
    }

    fn text_part(&self, subtype: &str, text: &str) -> Part {
        let text = text.replace('\n', "\r\n") + "\r\n";
        let (charset, bytes, transfer) = match self.charset.encode(&text) {
            Some(bytes) => (self.charset, bytes, self.transfer),
            None => (Charset::Utf8, text.into_bytes(), Transfer::Base64),
        };
        let (transfer, body) = match transfer {
            Transfer::SevenBit => ("7bit", bytes),
            Transfer::QuotedPrintable => ("quoted-printable", quoted_printable(&bytes)),
            Transfer::Base64 => ("base64", base64_lines(&bytes)),
        };
        let headers = format!(
            "Content-Type: text/{subtype}; charset={}\r\nContent-Transfer-Encoding: {transfer}\r\n",
            charset.name()
        );
        Part { headers, body }
    }

    fn multipart(&self, subtype: &str, parts: impl IntoIterator<Item = Part>) -> Part {
        // The Message-ID is unique, and `=_` can stand in neither quoted-printable nor base64.
        let unique: String = self
            .message_id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(24)
            .collect();
        let boundary = format!("=_{subtype}_{unique}");
        let mut body = Vec::new();
        for part in parts {
            body.extend_from_slice(format!("--{boundary}\r\n{}\r\n", part.headers).as_bytes());
            body.extend_from_slice(&part.body);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Part {
            headers: format!("Content-Type: multipart/{subtype};\r\n boundary=\"{boundary}\"\r\n"),
            body,
        }
    }
}

fn file_part(file: &File) -> Part {
    let (disposition, id) = match &file.content_id {
        Some(id) => ("inline", format!("Content-ID: <{id}>\r\n")),
        None => ("attachment", String::new()),
    };
    let name = if file.name.is_ascii() {
        format!("filename=\"{}\"", file.name)
    } else {
        // RFC 2231, since a file's name may be in any script.
        let coded: String = file.name.bytes().map(percent_coded).collect();
        format!("filename*=utf-8''{coded}")
    };
    let headers = format!(
        "Content-Type: {}\r\nContent-Transfer-Encoding: base64\r\n{id}Content-Disposition: {disposition};\r\n {name}\r\n",
        file.media_type
    );
    Part {
        headers,
        body: base64_lines(&file.bytes),
    }
}

fn percent_coded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b".-_".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

fn push_header(head: &mut String, name: &str, value: &str) {
    head.push_str(name);
    head.push_str(": ");
    head.push_str(value);
    head.push_str("\r\n");
}

/// For example `Tue, 3 Feb 2026 09:05:00 +0000`.
pub fn rfc_5322_date(time: Time) -> String {
    chrono::DateTime::from_timestamp(time.seconds(), 0)
        .map_or_else(String::new, |moment| moment.to_rfc2822())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let (from, to) = (
            Party::new("Jürgen Weiß", "weiss@a.example"),
            Party::new("Sales, all", "sales@b.example"),
        );
        let mut draft = Draft::new(
            from,
            to,
            "Grüße",
            Time::from_seconds(1_770_000_000),
            "1@a.example",
        );
        draft.charset = Charset::Latin1;
        draft.text = "Schöne Grüße\nJürgen".to_owned();
        draft
    }

    #[test]
    fn a_plain_mail_is_all_ascii_on_the_wire() {
        let bytes = draft().to_bytes();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_ascii() && !text.replace("\r\n", "").contains(['\r', '\n']));
        let head = "Date: Mon, 2 Feb 2026 02:40:00 +0000\r\n\
                    From: =?iso-8859-1?Q?J=FCrgen_Wei=DF?= <weiss@a.example>\r\n\
                    To: \"Sales, all\" <sales@b.example>\r\n\
                    Subject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n\
                    Message-ID: <1@a.example>\r\n";
        assert!(text.starts_with(head), "{text}");
        assert!(
            text.ends_with("\r\n\r\nSch=F6ne Gr=FC=DFe\r\nJ=FCrgen\r\n"),
            "{text}"
        );
    }

    #[test]
    fn parts_nest_from_mixed_to_plain() {
        let mut draft = draft();
        draft.html = Some("<p>Hi <img src=\"cid:logo@x\"></p>".to_owned());
        let picture = |id: Option<&str>| File {
            name: "Bild ü.png".to_owned(),
            media_type: "image/png",
            bytes: vec![1, 2, 3],
            content_id: id.map(str::to_owned),
        };
        draft.inline.push(picture(Some("logo@x")));
        draft.attachments.push(picture(None));
        let text = String::from_utf8(draft.to_bytes()).unwrap();
        let order = [
            "multipart/mixed",
            "multipart/alternative",
            "text/plain",
            "multipart/related",
            "text/html",
            "Content-ID: <logo@x>",
            "filename*=utf-8''Bild%20%C3%BC.png",
        ];
        let places: Vec<Option<usize>> = order.iter().map(|mark| text.find(mark)).collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{places:?}\n{text}"
        );
        assert_eq!(text.matches("--=_mixed_1aexample--").count(), 1);
    }

    #[test]
    fn what_the_set_lacks_goes_in_utf_8() {
        let mut draft = draft();
        draft.text = "Łódź".to_owned();
        let text = String::from_utf8(draft.to_bytes()).unwrap();
        assert!(
            text.contains("charset=utf-8") && text.contains("Content-Transfer-Encoding: base64")
        );
    }
}
