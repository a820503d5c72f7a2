//! Local time of day, week and year in the time zone of a stream.

use jiff::tz::TimeZone;

use super::arithmetic::sine;
use crate::time::{EventTime, Zone};

/// A day of 24 hours, in milliseconds.
pub(super) const DAY: i64 = 86_400_000;
const WEEK: i64 = 7 * DAY;
/// The mean year of the Gregorian calendar, 365.2425 days, in milliseconds.
const YEAR: i64 = 31_556_952_000;
/// The Unix epoch was a Thursday; weeks begin on Monday.
const EPOCH_IN_WEEK: i64 = 3 * DAY;

/// The time of day, week and year in a time zone. Clones share its table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calendar {
    zone: Zone,
}

impl From<Zone> for Calendar {
    fn from(zone: Zone) -> Self {
        Self { zone }
    }
}

impl Calendar {
    /// A calendar in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone: Zone::new(zone) }
    }

    /// The calendar of Coordinated Universal Time.
    pub fn utc() -> Self {
        Self::default()
    }

    /// Its time zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Sine and cosine of the local time of day, then of the local time of week (from Monday).
    pub fn day_and_week_phase(&self, time: EventTime) -> [f32; 4] {
        let local = time.0.saturating_add(self.zone.utc_offset(time.0));
        let day = local.rem_euclid(DAY) as f32 / DAY as f32;
        let week = local.saturating_add(EPOCH_IN_WEEK).rem_euclid(WEEK) as f32 / WEEK as f32;
        [sine(day), sine(day + 0.25), sine(week), sine(week + 0.25)]
    }

    /// Sine and cosine of the local time of year, accurate to a day.
    pub fn year_phase(&self, time: EventTime) -> [f32; 2] {
        let local = time.0.saturating_add(self.zone.utc_offset(time.0));
        let year = local.rem_euclid(YEAR) as f32 / YEAR as f32;
        [sine(year), sine(year + 0.25)]
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn monday_midnight_begins_day_and_week() {
        let monday: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let at =
            |hours: i64| Calendar::utc().day_and_week_phase(EventTime(monday.as_millisecond() + hours * 3_600_000));
        let near = |left: [f32; 4], right: [f32; 4]| left.iter().zip(right).all(|(l, r)| (l - r).abs() < 1e-5);
        assert!(near(at(0), [0.0, 1.0, 0.0, 1.0]), "{:?}", at(0));
        assert!(near(at(42), [-1.0, 0.0, 1.0, 0.0]), "{:?}", at(42));
    }

    #[test]
    fn the_phase_of_the_year_follows_the_calendar() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", [0.0, 1.0]),
            ("2026-01-01T00:00:00Z", [0.0, 1.0]),
            ("2024-04-01T06:00:00Z", [1.0, 0.0]),
            ("2013-07-02T12:00:00Z", [0.0, -1.0]),
        ] {
            let timestamp: Timestamp = text.parse().unwrap();
            let phase = Calendar::utc().year_phase(EventTime(timestamp.as_millisecond()));
            let near = phase.iter().zip(expected).all(|(phase, expected)| (phase - expected).abs() < 0.02);
            assert!(near, "{text}: {phase:?}");
        }
    }

    #[test]
    fn phases_are_finite_at_the_limits_of_time() {
        for time in [EventTime::MIN, EventTime::MAX, EventTime(i64::MIN), EventTime(i64::MAX)] {
            let phases = Calendar::utc().day_and_week_phase(time).into_iter().chain(Calendar::utc().year_phase(time));
            assert!(phases.into_iter().all(|phase| phase.abs() <= 1.0 + 1e-5));
        }
    }
}
