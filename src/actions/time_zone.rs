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

/// How far a zone's clock is ahead of UTC when it shows this time (seconds since 1970, as the clock counts them); an unknown
/// zone counts as UTC. Of a time that it shows twice the first counts, of one that it skips the hour before.
pub fn utc_offset_seconds_at_local(zone: &str, local_seconds: i64) -> i64 {
    let (Ok(zone), Some(local)) = (
        zone.parse::<chrono_tz::Tz>(),
        chrono::DateTime::from_timestamp(local_seconds, 0),
    ) else {
        return 0;
    };
    let local = local.naive_utc();
    let found = zone
        .offset_from_local_datetime(&local)
        .earliest()
        .or_else(|| {
            let before = local.checked_sub_signed(chrono::TimeDelta::hours(1))?;
            zone.offset_from_local_datetime(&before).earliest()
        });
    found.map_or(0, |offset| i64::from(offset.fix().local_minus_utc()))
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

    #[test]
    fn a_zone_has_the_offset_of_the_day_that_its_clock_shows() {
        let local = |text: &str| Time::parse_rfc3339(text).unwrap().seconds();
        for (zone, at, seconds) in [
            ("Europe/Berlin", "2026-03-27T18:00:00Z", 3600),
            ("Europe/Berlin", "2026-03-30T18:00:00Z", 7200),
            ("Europe/Berlin", "2026-03-29T02:30:00Z", 3600),
            ("America/New_York", "2026-11-02T18:00:00Z", -18000),
            ("Nowhere/Land", "2026-03-30T18:00:00Z", 0),
        ] {
            let found = utc_offset_seconds_at_local(zone, local(at));
            assert_eq!(found, seconds, "{zone} {at}");
        }
    }
}
