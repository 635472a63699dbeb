//! Invitations: what a calendar part asks (RFC 5545, 5546). A bad one is data: what can be read of it is read.
//! Not for: answering an invitation, or expanding repeated events.

use crate::model::Time;
use crate::model::email::Address;
use chrono::TimeZone;

/// Bytes of a part that are looked at: invitations have some KiB, whole calendars are none.
const PART_BYTES_MAX: usize = 256 * 1024;
/// A longer line holds a picture or a log.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// People of one event.
const PEOPLE_MAX: usize = 100;
/// Characters of a text.
const TEXT_CHARS_MAX: usize = 2_000;

/// When something begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// As the calendar's clock shows it: `2026-11-23T10:00:00`, or `2026-11-23` for a whole day.
    pub local: String,
    /// The zone of that clock, as it is named; `None`: it says none, or is UTC.
    pub zone: Option<String>,
    /// `None` for a whole day, and where the zone is not known.
    pub at: Option<Time>,
}

/// Somebody who is invited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attendee {
    pub who: Address,
    /// Their answer so far: `ACCEPTED`, `DECLINED`, `TENTATIVE`, `NEEDS-ACTION` …
    pub answer: Option<String>,
}

/// What a calendar part asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invitation {
    /// `REQUEST`, `CANCEL`, `REPLY` …; `PUBLISH` where it says nothing.
    pub method: String,
    pub uid: Option<String>,
    pub summary: Option<String>,
    pub location: Option<String>,
    pub description: Option<String>,
    pub starts: Option<Moment>,
    pub ends: Option<Moment>,
    /// Whether it happens more than once.
    pub is_repeated: bool,
    pub organizer: Option<Address>,
    pub attendees: Vec<Attendee>,
}

/// A property as it stands: `DTSTART;TZID=Europe/Berlin:20261123T100000`.
struct Property<'a> {
    /// In upper case.
    name: String,
    parameters: &'a str,
    value: &'a str,
}

/// The first event of a calendar part; `None` where there is none.
pub fn parse(part: &[u8]) -> Option<Invitation> {
    let part = part.get(..PART_BYTES_MAX).unwrap_or(part);
    let text = unfolded(&String::from_utf8_lossy(part));
    let mut found = Invitation {
        method: "PUBLISH".to_owned(),
        ..Invitation::default()
    };
    let mut depth_inside = 0_usize;
    let mut is_event = false;
    let mut has_event = false;
    for line in text.lines().filter(|line| line.len() <= LINE_BYTES_MAX) {
        let Some(property) = property(line) else {
            continue;
        };
        let value = property.value.trim();
        match property.name.as_str() {
            "BEGIN" if is_event => depth_inside = depth_inside.saturating_add(1),
            "BEGIN" if value.eq_ignore_ascii_case("VEVENT") && !has_event => {
                is_event = true;
                has_event = true;
            }
            "END" if depth_inside > 0 => depth_inside = depth_inside.saturating_sub(1),
            "END" if is_event && value.eq_ignore_ascii_case("VEVENT") => is_event = false,
            "METHOD" if !is_event => found.method = value.to_ascii_uppercase(),
            _ if is_event && depth_inside == 0 => take(&mut found, &property),
            _ => {}
        }
    }
    has_event.then_some(found)
}

/// Lines that were folded in one piece each.
fn unfolded(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace("\n ", "")
        .replace("\n\t", "")
}

/// A line's name, parameters and value; a colon within quotes belongs to a parameter.
fn property(line: &str) -> Option<Property<'_>> {
    let mut is_quoted = false;
    let colon = line.char_indices().find(|(_, c)| {
        is_quoted ^= *c == '"';
        *c == ':' && !is_quoted
    });
    let (front, value) = line.split_at_checked(colon?.0)?;
    let value = value.strip_prefix(':')?;
    let (name, parameters) = front.split_once(';').unwrap_or((front, ""));
    Some(Property {
        name: name.trim().to_ascii_uppercase(),
        parameters,
        value,
    })
}

impl Property<'_> {
    fn parameter(&self, wanted: &str) -> Option<String> {
        let mut is_quoted = false;
        let parts = self.parameters.split(|c: char| {
            is_quoted ^= c == '"';
            c == ';' && !is_quoted
        });
        let pairs = parts.filter_map(|part| part.split_once('='));
        let value = pairs
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().trim_matches('"'))
            .find(|value| !value.is_empty())?;
        Some(value.to_owned())
    }
}

fn take(into: &mut Invitation, property: &Property<'_>) {
    match property.name.as_str() {
        "UID" => into.uid = text(property.value),
        "SUMMARY" => into.summary = text(property.value),
        "LOCATION" => into.location = text(property.value),
        "DESCRIPTION" => into.description = text(property.value),
        "DTSTART" => into.starts = moment(property),
        "DTEND" => into.ends = moment(property),
        "RRULE" | "RDATE" => into.is_repeated = true,
        "ORGANIZER" => into.organizer = person(property),
        "ATTENDEE" if into.attendees.len() < PEOPLE_MAX => {
            let answer = property.parameter("PARTSTAT");
            let answer = answer.map(|answer| answer.to_ascii_uppercase());
            into.attendees
                .extend(person(property).map(|who| Attendee { who, answer }));
        }
        _ => {}
    }
}

/// A text without its escapes; `None` where it is empty.
fn text(value: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = value.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    let out: String = out.chars().take(TEXT_CHARS_MAX).collect();
    (!out.is_empty()).then_some(out)
}

fn person(property: &Property<'_>) -> Option<Address> {
    let value = property.value.trim();
    let front = value
        .get(..7)
        .filter(|front| front.eq_ignore_ascii_case("mailto:"));
    let address = front.map_or(value, |front| value.strip_prefix(front).unwrap_or(value));
    let is_address = address.contains('@') && !address.contains(char::is_whitespace);
    is_address.then(|| Address {
        name: property.parameter("CN").and_then(|name| text(&name)),
        address: address.to_owned(),
    })
}

/// `20261123`, `20261123T100000` or `20261123T100000Z`.
fn moment(property: &Property<'_>) -> Option<Moment> {
    let value = property.value.trim();
    let (day, clock) = value.split_once('T').unwrap_or((value, ""));
    let date = chrono::NaiveDate::parse_from_str(day, "%Y%m%d").ok()?;
    if clock.is_empty() {
        return Some(Moment {
            local: date.format("%Y-%m-%d").to_string(),
            zone: None,
            at: None,
        });
    }
    let is_utc = clock.ends_with('Z');
    let time = chrono::NaiveTime::parse_from_str(clock.trim_end_matches('Z'), "%H%M%S").ok()?;
    let local = date.and_time(time);
    let zone = property.parameter("TZID").filter(|_| !is_utc);
    let known = zone
        .as_deref()
        .and_then(|zone| zone.trim_start_matches('/').parse::<chrono_tz::Tz>().ok());
    let at = match known {
        _ if is_utc => Some(local.and_utc()),
        Some(zone) => zone
            .from_local_datetime(&local)
            .earliest()
            .map(|at| at.to_utc()),
        None => None,
    };
    Some(Moment {
        local: local.format("%Y-%m-%dT%H:%M:%S").to_string(),
        zone,
        at: at.map(|at| Time::from_micros(at.timestamp_micros())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\n\
        UID:1@client.example\r\nSUMMARY:Cranes\\, and\r\n  trucks\r\nLOCATION:Plant 3\r\nDTSTART;TZID=Europe/Berlin:20261123T100000\r\n\
        DTEND:20261123T100000Z\r\nRRULE:FREQ=WEEKLY\r\nORGANIZER;CN=\"Client: Cleo\":MAILTO:cleo@client.example\r\n\
        ATTENDEE;PARTSTAT=NEEDS-ACTION;CN=Ada:mailto:ada@ours.example\r\nATTENDEE:not an address\r\n\
        BEGIN:VALARM\r\nSUMMARY:Alarm\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

    #[test]
    fn r44_an_invitation_is_read_as_data() {
        let found = parse(REQUEST.as_bytes()).unwrap();
        assert_eq!(found.method, "REQUEST");
        assert_eq!(found.summary.as_deref(), Some("Cranes, and trucks"));
        assert_eq!(found.location.as_deref(), Some("Plant 3"));
        let starts = found.starts.unwrap();
        assert_eq!(
            (starts.local.as_str(), starts.zone.as_deref()),
            ("2026-11-23T10:00:00", Some("Europe/Berlin"))
        );
        assert_eq!(starts.at.unwrap().to_rfc3339(), "2026-11-23T09:00:00Z");
        assert_eq!(
            found.ends.unwrap().at.unwrap().to_rfc3339(),
            "2026-11-23T10:00:00Z"
        );
        assert!(found.is_repeated);
        let organizer = found.organizer.unwrap();
        assert_eq!(
            (organizer.name.as_deref(), organizer.address.as_str()),
            (Some("Client: Cleo"), "cleo@client.example")
        );
        assert_eq!(found.attendees.len(), 1);
        assert_eq!(found.attendees[0].answer.as_deref(), Some("NEEDS-ACTION"));
    }

    #[test]
    fn what_is_no_invitation_is_none_and_what_is_bad_is_left_out() {
        assert_eq!(parse(b"hello"), None);
        assert_eq!(
            parse(b"BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"),
            None
        );
        let bad = b"BEGIN:VEVENT\nDTSTART:tomorrow\nDTEND;TZID=Custom:20261340T996000\nSUMMARY:\nATTENDEE\nEND:VEVENT\n";
        let found = parse(bad).unwrap();
        assert_eq!(
            (found.starts, found.ends, found.summary),
            (None, None, None)
        );
        let day = parse(b"BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261123\nDTEND;TZID=W. Europe Standard Time:20261124T080000\nEND:VEVENT").unwrap();
        assert_eq!(day.starts.unwrap().local, "2026-11-23");
        assert_eq!(day.ends.unwrap().at, None);
        for end in 0..REQUEST.len() {
            // Cut anywhere, it is read as far as it goes.
            drop(parse(&REQUEST.as_bytes()[..end]));
        }
    }
}
