//! Local time of day, week and year in the time zone of a stream.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::arithmetic::sine;
use crate::time::EventTime;

/// A day of 24 hours, in milliseconds.
pub(super) const DAY: i64 = 86_400_000;
const WEEK: i64 = 7 * DAY;
/// The mean year of the Gregorian calendar, 365.2425 days, in milliseconds.
const YEAR: i64 = 31_556_952_000;
/// The Unix epoch was a Thursday; weeks begin on Monday.
const EPOCH_IN_WEEK: i64 = 3 * DAY;
/// The table of offsets spans 1970 to 2100; outside, the time zone database answers.
const TABLE_FROM: i64 = 0;
const TABLE_TO: i64 = 4_102_444_800_000;

/// The time zone of days and weeks, with a table of its UTC offsets: a lookup costs nanoseconds, and clones share it.
#[derive(Clone)]
pub struct Calendar {
    zone: TimeZone,
    /// Ascending by time; the first is at `TABLE_FROM`.
    changes: Arc<[Change]>,
}

/// A change of the UTC offset, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Change {
    from: i64,
    offset: i64,
}

impl Calendar {
    /// A calendar in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        let start = Timestamp::UNIX_EPOCH;
        let mut changes = vec![Change { from: TABLE_FROM, offset: offset_at(&zone, start) }];
        let later = zone.following(start).take_while(|change| change.timestamp().as_millisecond() < TABLE_TO);
        changes.extend(later.map(|change| Change {
            from: change.timestamp().as_millisecond(),
            offset: i64::from(change.offset().seconds()) * 1000,
        }));
        Self { zone, changes: changes.into() }
    }

    /// The calendar of Coordinated Universal Time.
    pub fn utc() -> Self {
        Self::new(TimeZone::UTC)
    }

    /// Local time less UTC at `time`, in milliseconds.
    pub fn utc_offset(&self, time: EventTime) -> i64 {
        if (TABLE_FROM..TABLE_TO).contains(&time.0) {
            let later = self.changes.partition_point(|change| change.from <= time.0);
            return self.changes[later - 1].offset; // the first change is at TABLE_FROM: `later` is at least 1
        }
        Timestamp::from_millisecond(time.0).map_or(0, |timestamp| offset_at(&self.zone, timestamp))
    }

    /// The changes of the UTC offset from 1970 to 2100, ascending: from a time on, the offset, in milliseconds. The
    /// first one is at the start.
    pub(super) fn changes(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.changes.iter().map(|change| (change.from, change.offset))
    }

    /// Sine and cosine of the local time of day, then of the local time of week (from Monday).
    pub fn day_and_week_phase(&self, time: EventTime) -> [f32; 4] {
        let local = time.0.saturating_add(self.utc_offset(time));
        let day = local.rem_euclid(DAY) as f32 / DAY as f32;
        let week = local.saturating_add(EPOCH_IN_WEEK).rem_euclid(WEEK) as f32 / WEEK as f32;
        [sine(day), sine(day + 0.25), sine(week), sine(week + 0.25)]
    }

    /// Sine and cosine of the local time of year, accurate to a day.
    pub fn year_phase(&self, time: EventTime) -> [f32; 2] {
        let local = time.0.saturating_add(self.utc_offset(time));
        let year = local.rem_euclid(YEAR) as f32 / YEAR as f32;
        [sine(year), sine(year + 0.25)]
    }

    /// Start of a local day and of the next one, in milliseconds; none at the limits of the time zone database.
    pub(super) fn bounds(&self, date: Date) -> Option<(i64, i64)> {
        let midnight = |date: Date| {
            let start = self.zone.to_ambiguous_zoned(date.at(0, 0, 0, 0)).compatible().ok()?;
            Some(start.timestamp().as_millisecond())
        };
        Some((midnight(date)?, midnight(date.checked_add(1.day()).ok()?)?))
    }
}

fn offset_at(zone: &TimeZone, timestamp: Timestamp) -> i64 {
    i64::from(zone.to_offset(timestamp).seconds()) * 1000
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone // the zone determines the table
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Calendar").field(&self.zone).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_daylight_saving_time_inside_and_outside_the_table() {
        let berlin = Calendar::new(TimeZone::get("Europe/Berlin").unwrap());
        for text in [
            "1960-07-01T00:00:00Z",
            "1985-03-31T00:59:59Z",
            "2024-03-31T00:59:59Z",
            "2024-03-31T01:00:00Z",
            "2024-10-27T01:00:00Z",
            "2099-07-01T00:00:00Z",
            "2150-07-01T00:00:00Z",
        ] {
            let timestamp: Timestamp = text.parse().unwrap();
            let expected = offset_at(&berlin.zone, timestamp);
            assert_eq!(berlin.utc_offset(EventTime(timestamp.as_millisecond())), expected, "{text}");
        }
        assert_eq!(berlin.utc_offset(EventTime(1_720_000_000_000)), 7_200_000);
    }

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
