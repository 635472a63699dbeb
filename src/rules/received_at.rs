//! When a mail was received (R32): its own Date where that can be believed, else the server's INTERNALDATE.
//! Not for: reading dates out of headers (that is `mail::parse`).

use crate::model::Time;
use crate::model::decisions::{DateReason, ReceivedAt};

/// 1990-01-01T00:00:00Z. Before it there was hardly any mail that a CRM would know; such dates come from dead clocks.
const EARLIEST: Time = Time::from_seconds(631_152_000);

/// How far a Date may lie ahead of INTERNALDATE: a day covers every time zone that a sender can have wrong.
const AHEAD_SECONDS_MAX: i64 = 86_400;

/// `header`: the Date of the mail, `None` where it is absent or can't be parsed. `internal`: INTERNALDATE.
pub fn received_at(header: Option<Time>, internal: Time) -> ReceivedAt {
    let by_server = |reason| ReceivedAt {
        time: internal,
        reason,
    };
    match header {
        None => by_server(DateReason::Absent),
        Some(date) if date < EARLIEST => by_server(DateReason::Before1990),
        Some(date) if date > internal.plus_seconds(AHEAD_SECONDS_MAX) => {
            by_server(DateReason::Ahead)
        }
        Some(date) => ReceivedAt {
            time: date,
            reason: DateReason::Header,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r32_the_date_of_the_mail_counts_where_it_can_be_believed() {
        // (what, Date, whether it counts, reason); INTERNALDATE is noon of 2024-05-10.
        let rows = [
            (
                "an ordinary date",
                Some("2024-05-10T11:59:00Z"),
                true,
                DateReason::Header,
            ),
            (
                "years before it came",
                Some("1999-01-01T00:00:00Z"),
                true,
                DateReason::Header,
            ),
            (
                "the first believable moment",
                Some("1990-01-01T00:00:00Z"),
                true,
                DateReason::Header,
            ),
            (
                "a second before that",
                Some("1989-12-31T23:59:59Z"),
                false,
                DateReason::Before1990,
            ),
            (
                "the dead clock",
                Some("1970-01-01T00:00:00Z"),
                false,
                DateReason::Before1990,
            ),
            (
                "exactly a day ahead",
                Some("2024-05-11T12:00:00Z"),
                true,
                DateReason::Header,
            ),
            (
                "a second more",
                Some("2024-05-11T12:00:01Z"),
                false,
                DateReason::Ahead,
            ),
            ("no date", None, false, DateReason::Absent),
        ];
        let internal = Time::parse_rfc3339("2024-05-10T12:00:00Z").unwrap();
        for (what, header, counts, reason) in rows {
            let header = header.map(|text| Time::parse_rfc3339(text).unwrap());
            let decided = received_at(header, internal);
            let expected = if counts { header.unwrap() } else { internal };
            assert_eq!(decided.time, expected, "{what}");
            assert_eq!(decided.reason, reason, "{what}");
        }
    }
}
