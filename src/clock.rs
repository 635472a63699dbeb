//! The one place that reads the clock. Everything else gets the time as an argument.

use crate::model::Time;

/// The present moment, in UTC microseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one home of the clock"
)]
pub fn now() -> Time {
    Time::from_micros(chrono::Utc::now().timestamp_micros())
}
