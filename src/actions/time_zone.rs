//! Clocks of users.

use crate::model::Time;
use chrono::{Offset, TimeZone};

/// How far a zone's clock is ahead of UTC at a moment, in seconds; an unknown zone counts as UTC.
pub fn utc_offset_seconds(zone: &str, at: Time) -> i64 {
    let Ok(zone) = zone.parse::<chrono_tz::Tz>() else {
        return 0;
    };
    chrono::DateTime::from_timestamp_micros(at.micros()).map_or(0, |moment| {
        let offset = zone.offset_from_utc_datetime(&moment.naive_utc());
        i64::from(offset.fix().local_minus_utc())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_its_offset_of_that_day() {
        let winter = Time::parse_rfc3339("2026-01-15T12:00:00Z").unwrap();
        let summer = Time::parse_rfc3339("2026-07-15T12:00:00Z").unwrap();
        for (zone, at, seconds) in [
            ("Europe/Berlin", winter, 3600),
            ("Europe/Berlin", summer, 7200),
            ("Asia/Kolkata", winter, 19800),
            ("Nowhere/Land", winter, 0),
        ] {
            assert_eq!(utc_offset_seconds(zone, at), seconds, "{zone}");
        }
    }
}
