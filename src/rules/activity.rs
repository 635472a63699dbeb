//! What is left to do about a saved mail (R33).
//! Not for: whose to-do it is (the item's responsible, R30) or its later life.

use crate::model::Time;
use crate::model::decisions::{ActivityPlan, PlannedActivity};
use crate::model::email::Direction;
use serde::{Deserialize, Serialize};

/// Answers are due by the end of a working day, 18:00 on the responsible's clock.
const END_OF_DAY_SECONDS: i64 = 18 * 3_600;
const DAY_SECONDS: i64 = 86_400;
/// No place on Earth is further than this from UTC; what is beyond is a broken setting.
const UTC_OFFSET_SECONDS_MAX: i64 = 14 * 3_600;

/// What the activity of a mail depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityFacts {
    pub direction: Direction,
    /// The server says that somebody has read it.
    pub is_seen: bool,
    /// The mail was there before the mailbox was connected.
    pub is_backfill: bool,
    pub by_hand: bool,
    /// When it is saved.
    pub now: Time,
    /// How far the responsible's clock is ahead of UTC now; behind it: negative.
    pub utc_offset_seconds: i64,
    /// The same when the to-do is due (see [`due`]): clocks change over weekends.
    pub due_utc_offset_seconds: i64,
}

/// Incoming mail asks for an answer; outgoing mail, and old mail that has been read, does not.
pub fn plan(facts: &ActivityFacts) -> ActivityPlan {
    let scheduled = PlannedActivity::Scheduled {
        deadline: deadline(
            facts.now,
            facts.utc_offset_seconds,
            facts.due_utc_offset_seconds,
        ),
    };
    let (activity, reason) = match facts.direction {
        Direction::Outgoing => (
            PlannedActivity::Completed,
            "outgoing mail leaves nothing to do",
        ),
        Direction::Incoming if facts.by_hand => {
            (scheduled, "incoming mail saved by hand asks for an answer")
        }
        Direction::Incoming if facts.is_backfill && facts.is_seen => (
            PlannedActivity::Completed,
            "the mail had been read before the mailbox was connected",
        ),
        Direction::Incoming => (scheduled, "incoming mail asks for an answer"),
    };
    ActivityPlan {
        activity,
        reason: reason.to_owned(),
    }
}

/// 18:00 of the next working day (Monday to Friday) after today, in seconds since 1970 as a clock on the wall counts them
/// that is so far ahead of UTC now.
pub fn due(now: Time, utc_offset_seconds: i64) -> i64 {
    let local = now.plus_seconds(clamped(utc_offset_seconds)).seconds();
    let today = local.div_euclid(DAY_SECONDS);
    today
        .saturating_add(days_to_next_working_day(today))
        .saturating_mul(DAY_SECONDS)
        .saturating_add(END_OF_DAY_SECONDS)
}

/// That moment, by how far the clock is ahead of UTC now, and will be then.
pub fn deadline(now: Time, utc_offset_seconds: i64, due_utc_offset_seconds: i64) -> Time {
    let due = due(now, utc_offset_seconds);
    Time::from_seconds(due.saturating_sub(clamped(due_utc_offset_seconds)))
}

fn clamped(utc_offset_seconds: i64) -> i64 {
    utc_offset_seconds.clamp(-UTC_OFFSET_SECONDS_MAX, UTC_OFFSET_SECONDS_MAX)
}

/// From a day (counted since 1970-01-01, which was a Thursday) to the next that is neither Saturday nor Sunday.
const fn days_to_next_working_day(day: i64) -> i64 {
    let days_since_monday = day.saturating_add(3).rem_euclid(7);
    match days_since_monday {
        4 => 3,
        5 => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn r33_incoming_mail_opens_an_activity() {
        use Direction::{Incoming, Outgoing};
        // (what, direction, seen, backfill, by hand, whether an activity is opened)
        let rows = [
            ("new unread mail", Incoming, false, false, false, true),
            (
                "new mail, read on the phone meanwhile",
                Incoming,
                true,
                false,
                false,
                true,
            ),
            ("old unread mail", Incoming, false, true, false, true),
            (
                "old mail that had been read",
                Incoming,
                true,
                true,
                false,
                false,
            ),
            (
                "old mail that had been read, saved by hand",
                Incoming,
                true,
                true,
                true,
                true,
            ),
            ("new mail saved by hand", Incoming, false, false, true, true),
            ("outgoing mail", Outgoing, true, false, false, false),
            (
                "outgoing mail that looks unread",
                Outgoing,
                false,
                false,
                false,
                false,
            ),
            (
                "outgoing mail saved by hand",
                Outgoing,
                true,
                false,
                true,
                false,
            ),
        ];
        for (what, direction, is_seen, is_backfill, by_hand, opens) in rows {
            let facts = ActivityFacts {
                direction,
                is_seen,
                is_backfill,
                by_hand,
                now: at("2024-05-10T12:00:00Z"),
                utc_offset_seconds: 0,
                due_utc_offset_seconds: 0,
            };
            let is_scheduled = matches!(plan(&facts).activity, PlannedActivity::Scheduled { .. });
            assert_eq!(is_scheduled, opens, "{what}");
        }
    }

    #[test]
    fn r33_the_deadline_is_the_end_of_the_next_working_day() {
        // (what, now, offset in hours, deadline)
        let rows = [
            (
                "Wednesday: Thursday",
                "2024-05-08T09:00:00Z",
                0,
                "2024-05-09T18:00:00Z",
            ),
            (
                "late on Wednesday: Thursday",
                "2024-05-08T23:59:59Z",
                0,
                "2024-05-09T18:00:00Z",
            ),
            (
                "Thursday: Friday",
                "2024-05-09T00:00:00Z",
                0,
                "2024-05-10T18:00:00Z",
            ),
            (
                "Friday: Monday",
                "2024-05-10T09:00:00Z",
                0,
                "2024-05-13T18:00:00Z",
            ),
            (
                "Saturday: Monday",
                "2024-05-11T09:00:00Z",
                0,
                "2024-05-13T18:00:00Z",
            ),
            (
                "Sunday: Monday",
                "2024-05-12T09:00:00Z",
                0,
                "2024-05-13T18:00:00Z",
            ),
            (
                "Friday in Tokyo while Thursday in London: Monday",
                "2024-05-09T22:00:00Z",
                9,
                "2024-05-13T09:00:00Z",
            ),
            (
                "Thursday in New York while Friday in London: Friday",
                "2024-05-10T02:00:00Z",
                -5,
                "2024-05-10T23:00:00Z",
            ),
            (
                "before 1970",
                "1969-12-31T12:00:00Z",
                0,
                "1970-01-01T18:00:00Z",
            ),
        ];
        for (what, now, hours, expected) in rows {
            assert_eq!(
                deadline(at(now), hours * 3_600, hours * 3_600).to_rfc3339(),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn r33_the_deadline_is_six_by_the_clock_that_was_put_forward_or_back_meanwhile() {
        // (what, now, offset now, offset when it is due, deadline)
        let rows = [
            (
                "Friday before summer time in Berlin",
                "2026-03-27T12:00:00Z",
                3_600,
                7_200,
                "2026-03-30T16:00:00Z",
            ),
            (
                "Friday before winter time in Berlin",
                "2026-10-23T12:00:00Z",
                7_200,
                3_600,
                "2026-10-26T17:00:00Z",
            ),
            (
                "no change in between",
                "2026-03-26T12:00:00Z",
                3_600,
                3_600,
                "2026-03-27T17:00:00Z",
            ),
        ];
        for (what, now, offset, due_offset, expected) in rows {
            let found = deadline(at(now), offset, due_offset).to_rfc3339();
            assert_eq!(found, expected, "{what}");
        }
    }
}
