//! What a timestamp says: a point in time, or a local time without a zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::time::EventTime;

pub(super) const DAY: i64 = 86_400_000;
const UNIX_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The order of the parts of a date whose year is not written first with four digits, such as 03/04/2024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    /// Day, month, year.
    DayFirst,
    /// Month, day, year.
    MonthFirst,
    /// Year with two digits, month, day.
    YearFirst,
}

impl DateOrder {
    /// The order in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DayFirst => "day first",
            Self::MonthFirst => "month first",
            Self::YearFirst => "year first",
        }
    }
}

/// A point in time, or a local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch, truncated. Of a local time, as if its zone were UTC.
    pub millis: i64,
    /// Whether the text names no zone.
    pub local: bool,
}

impl Moment {
    /// A point in time at a whole millisecond.
    pub(in crate::wire) fn at(millis: i64) -> Self {
        Self { millis, local: false }
    }

    /// A local time.
    pub(in crate::wire) fn of_civil(civil: DateTime) -> Option<Self> {
        let since = civil.duration_since(UNIX_EPOCH);
        let millis = i64::try_from(since.as_nanos().div_euclid(1_000_000)).ok()?;
        Some(Self { millis, local: true })
    }

    /// The event time. A local time is one of `zone`: one that occurs twice means the
    /// earlier one, one that is skipped moves forward by the length of the gap.
    pub fn in_zone(self, zone: &TimeZone) -> Option<EventTime> {
        if !self.local || *zone == TimeZone::UTC {
            return Some(EventTime(self.millis));
        }
        let civil = UNIX_EPOCH.checked_add(jiff::SignedDuration::from_millis(self.millis)).ok()?;
        let timestamp = zone.to_timestamp(civil).ok()?;
        Some(EventTime(timestamp.as_nanosecond().div_euclid(1_000_000) as i64))
    }
}

/// Days from the Unix epoch to a date of the years 1 to 9999; `None` where there is no such date.
pub(super) fn epoch_day(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=9999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    // The year begins in March here, so that a leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (century, of_century) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(146_097 * century + 365 * of_century + of_century / 4 - of_century / 100 + of_year - 719_468)
}
