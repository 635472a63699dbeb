//! What the demo shows in the terminal: plain lines, coloured only for a person.
//! Not for: logs (`tracing`), nor for what it counts (`tally`).

use serde_json::Value;
use std::io::{self, IsTerminal as _, Write};

/// Characters of an item's title that are shown; more would wrap in a terminal of 120 columns.
const TITLE_CHARACTERS: usize = 38;

/// Characters of a subject that are shown.
const SUBJECT_CHARACTERS: usize = 52;

/// One entry of the live timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineLine {
    /// RFC 3339.
    pub at: String,
    /// What happened, as GraphQL names the type.
    pub kind: String,
    pub item_kind: String,
    pub item_title: String,
    pub actor: Option<String>,
    pub subject: Option<String>,
    /// Without angle brackets.
    pub message_id: Option<String>,
}

/// Asks for every new entry that the viewer may see.
pub const TIMELINE: &str = "subscription { timeline { __typename ... on EntryAdded { cursor entry {
  __typename at actor { name } item { __typename title }
  ... on EmailReceived { email { subject messageId } }
  ... on EmailSent { email { subject messageId } }
} } } }";

impl TimelineLine {
    /// Reads one event of the subscription; `None` for events that are no new entry.
    pub fn from_event(event: &Value) -> Option<Self> {
        let entry = event.pointer("/data/timeline/entry")?;
        let text = |place: &str| {
            entry
                .pointer(place)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        Some(Self {
            at: text("/at")?,
            kind: text("/__typename")?,
            item_kind: text("/item/__typename")?,
            item_title: text("/item/title")?,
            actor: text("/actor/name"),
            subject: text("/email/subject"),
            message_id: text("/email/messageId").map(|id| bare_message_id(&id).to_owned()),
        })
    }
}

/// A Message-ID without its angle brackets.
pub fn bare_message_id(id: &str) -> &str {
    id.trim().trim_start_matches('<').trim_end_matches('>')
}

/// Where lines go.
pub struct Screen {
    out: Box<dyn Write>,
    has_colour: bool,
}

impl Screen {
    /// Standard output; coloured if that is a terminal, unless told otherwise.
    pub fn stdout(colour: Option<bool>) -> Self {
        let has_colour = colour.unwrap_or_else(|| io::stdout().is_terminal());
        Self {
            out: Box::new(io::stdout()),
            has_colour,
        }
    }

    /// Anything else.
    pub fn to(out: Box<dyn Write>, has_colour: bool) -> Self {
        Self { out, has_colour }
    }

    /// One line. A closed output is no reason to stop the demo.
    pub fn line(&mut self, text: &str) {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        if let Err(error) = written {
            tracing::debug!(%error, "the demo's output is closed");
        }
    }

    /// A line that stands out.
    pub fn heading(&mut self, text: &str) {
        let text = self.coloured("1", text);
        self.line(&text);
    }

    /// A line about something that should not be.
    pub fn warning(&mut self, text: &str) {
        let text = self.coloured("31", text);
        self.line(&text);
    }

    /// One entry: time, item, what happened, actor, subject.
    pub fn timeline(&mut self, line: &TimelineLine) {
        let (sign, colour) = match line.kind.as_str() {
            "EmailReceived" => ("<- mail", "32"),
            "EmailSent" => ("-> mail", "36"),
            "ItemCreated" => ("+ new", "33"),
            "ActivityCompleted" => ("v done", "35"),
            other => (other, "35"),
        };
        let clock = line.at.get(11..19).unwrap_or(&line.at);
        let item = format!(
            "{:<7} {}",
            line.item_kind.to_lowercase(),
            padded(&line.item_title, TITLE_CHARACTERS)
        );
        let actor = padded(line.actor.as_deref().unwrap_or("Mailroom"), 16);
        let subject = line
            .subject
            .as_deref()
            .map(|text| shown(text, SUBJECT_CHARACTERS))
            .unwrap_or_default();
        let sign = self.coloured(colour, &format!("{sign:<8}"));
        let clock = self.coloured("2", clock);
        self.line(format!("{clock}  {item}  {sign} {actor}  {subject}").trim_end());
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.has_colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Mail is written by strangers: what could move the cursor or turn the text around is left out.
fn shown(text: &str, characters: usize) -> String {
    let is_safe = |character: &char| {
        !character.is_control()
            && !matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let safe: Vec<char> = text.chars().filter(is_safe).collect();
    if safe.len() <= characters {
        return safe.into_iter().collect();
    }
    let mut short: String = safe
        .into_iter()
        .take(characters.saturating_sub(1))
        .collect();
    short.push('…');
    short
}

/// The text cut and filled to so many columns; wide characters take two.
fn padded(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for character in shown(text, columns).chars() {
        let width = if matches!(character, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{ffdc}') {
            2
        } else {
            1
        };
        if column + width > columns {
            break;
        }
        out.push(character);
        column += width;
    }
    out.push_str(&" ".repeat(columns.saturating_sub(column)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({ "data": { "timeline": { "__typename": "EntryAdded", "cursor": "x", "entry": {
            "__typename": "EmailReceived", "at": "2026-02-03T09:05:07Z", "actor": { "name": "Tomasz Wójcik" },
            "item": { "__typename": "Deal", "title": "3 × Tarn Duo for 喫茶青葉" },
            "email": { "subject": "Re: \u{1b}[2J\u{202e}quote", "messageId": "<1@a.example>" },
        } } } })
    }

    #[test]
    fn an_entry_is_one_readable_line_without_tricks() {
        let line = TimelineLine::from_event(&event()).unwrap();
        assert_eq!(line.message_id.as_deref(), Some("1@a.example"));
        let shared = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        struct Sink(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);
        impl Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.borrow_mut().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        Screen::to(Box::new(Sink(shared.clone())), false).timeline(&line);
        let text = String::from_utf8(shared.borrow().clone()).unwrap();
        let title = format!("3 × Tarn Duo for 喫茶青葉{}", " ".repeat(38 - 17 - 8));
        let expected =
            format!("09:05:07  deal    {title}  <- mail  Tomasz Wójcik     Re: [2Jquote\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn other_events_are_no_entries() {
        for event in [
            json!({ "data": { "timeline": { "__typename": "CaughtUp", "cursor": "x" } } }),
            json!({}),
        ] {
            assert_eq!(TimelineLine::from_event(&event), None);
        }
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(shown("abcdef", 4), "abc…");
        assert_eq!(shown("abcd", 4), "abcd");
        assert_eq!(padded("喫茶青葉", 5), "喫茶 ");
    }
}
