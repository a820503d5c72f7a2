//! Event times in the formats of records.

use super::stamp::{DateOrder, Moment, parse_stamp};
use crate::time::EventTime;

/// The day that spreadsheets count from, 1899-12-30, in milliseconds since the Unix epoch.
const SERIAL_EPOCH: i64 = -25_569 * 86_400_000;
/// Serial dates lie below this one, in the year 9999.
const MAX_SERIAL: f64 = 2_958_466.0;

/// The format of a time field.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeFormat {
    /// RFC 3339 text with a zone offset, such as `2024-05-01T12:30:00.250Z` or `2024-05-01 12:30:00+02:00`, truncated
    /// to the millisecond. Offsets such as `+02` and `+0200`, `UTC`, and commas before fractions are read, too.
    Rfc3339,
    /// Text in any form of [`parse_stamp`].
    AnyStamp {
        /// The order of day and month.
        order: DateOrder,
        /// The zone of a text without offset.
        zone: jiff::tz::TimeZone,
    },
    /// Days since 1899-12-30, with a fraction for the time of day, as spreadsheets store times, rounded to the nearest
    /// millisecond.
    Serial {
        /// Their zone.
        zone: jiff::tz::TimeZone,
    },
    /// Seconds since the Unix epoch, rounded to the nearest millisecond.
    EpochSeconds,
    /// Milliseconds since the Unix epoch.
    EpochMillis,
    /// Microseconds since the Unix epoch, truncated to the millisecond.
    EpochMicros,
    /// Nanoseconds since the Unix epoch, truncated to the millisecond.
    EpochNanos,
    /// Text in a `strftime` pattern, such as `%Y-%m-%d %H:%M:%S`.
    Strftime {
        /// The pattern (jiff's `fmt::strtime`).
        pattern: String,
        /// The zone of a text without offset. A local time that occurs twice means the earlier one. A local time that
        /// is skipped moves forward by the length of the gap.
        zone: jiff::tz::TimeZone,
    },
}

impl TimeFormat {
    /// Describes the format in error messages.
    pub fn expectation(&self) -> String {
        match self {
            Self::Rfc3339 => "an RFC 3339 time with a zone offset, such as 2024-05-01T12:30:00Z".into(),
            Self::AnyStamp { order, .. } => format!("a date, with or without a time of day, {}", order.name()),
            Self::Serial { .. } => "days since 1899-12-30 as a number".into(),
            Self::EpochSeconds => "seconds since 1970 as a number".into(),
            Self::EpochMillis => "milliseconds since 1970 as a number".into(),
            Self::EpochMicros => "microseconds since 1970 as a number".into(),
            Self::EpochNanos => "nanoseconds since 1970 as a number".into(),
            Self::Strftime { pattern, .. } => format!("a time in the pattern {pattern:?}"),
        }
    }

    /// Whether the time is a number, which in JSON has no quotes.
    pub(super) const fn is_number(&self) -> bool {
        !matches!(self, Self::Rfc3339 | Self::Strftime { .. })
    }

    /// Parses a time. `None` where the text is not in this format. The time may be implausible.
    pub fn parse(&self, text: &str) -> Option<EventTime> {
        let moment = self.moment(text)?;
        match self {
            Self::AnyStamp { zone, .. } | Self::Serial { zone } | Self::Strftime { zone, .. } => moment.in_zone(zone),
            _ => Some(EventTime(moment.millis)),
        }
    }

    /// Parses a time, and leaves a local time without its zone. `None` where the text is not in this format.
    pub fn moment(&self, text: &str) -> Option<Moment> {
        match self {
            Self::Rfc3339 => {
                let stamp = parse_stamp(text, DateOrder::YearFirst)?;
                (!stamp.moment.local && !stamp.by_order).then_some(stamp.moment)
            }
            Self::AnyStamp { order, .. } => parse_stamp(text, *order).map(|stamp| stamp.moment),
            Self::Serial { .. } => {
                let days = super::number::parse(text).filter(|days| (0.0..MAX_SERIAL).contains(days))?;
                let millis = (days * 86_400_000.0).round() as i64;
                Some(Moment { local: true, ..Moment::at(SERIAL_EPOCH + millis) })
            }
            Self::EpochSeconds => from_epoch(text, 1_000_000_000),
            Self::EpochMillis => from_epoch(text, 1_000_000),
            Self::EpochMicros => from_epoch(text, 1000),
            Self::EpochNanos => from_epoch(text, 1),
            Self::Strftime { pattern, .. } => {
                let parsed = jiff::fmt::strtime::parse(pattern, text).ok()?;
                if let Ok(timestamp) = parsed.to_timestamp() {
                    return Some(from_timestamp(timestamp));
                }
                Moment::of_civil(parsed.to_datetime().ok()?)
            }
        }
    }
}

/// A time as RFC 3339 text, or in milliseconds where it lies outside the calendar.
pub(super) fn format_time(time: EventTime) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| format!("{} ms", time.0), |stamp| stamp.to_string())
}

/// The millisecond that contains an instant.
fn from_timestamp(timestamp: jiff::Timestamp) -> Moment {
    // In range: the years of a timestamp are below 10000.
    Moment::at(timestamp.as_nanosecond().div_euclid(1_000_000) as i64)
}

/// A count of units since the Unix epoch, each of `unit` nanoseconds. Whole numbers are exact. Fractions and numbers
/// with an exponent are rounded as doubles, and to the nearest millisecond if a unit is longer than one.
fn from_epoch(text: &str, unit: i64) -> Option<Moment> {
    if let Ok(count) = text.parse::<i64>() {
        let nanos = i128::from(count) * i128::from(unit);
        return i64::try_from(nanos.div_euclid(1_000_000)).ok().map(Moment::at);
    }
    let millis = super::number::parse(text)? * (unit as f64 / 1e6);
    // The limit lies far beyond year 9999 in both directions, fits an i64, and excludes NaN.
    (millis.abs() < 1e17).then(|| Moment::at(millis.round() as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(format: &TimeFormat, text: &str) -> Option<i64> {
        format.parse(text).map(|time| time.0)
    }

    #[test]
    fn rfc_3339_needs_an_offset_and_is_truncated_to_milliseconds() {
        let read = |text| millis(&TimeFormat::Rfc3339, text);
        assert_eq!(read("1970-01-01T00:00:01.2349Z"), Some(1234));
        assert_eq!(read("1969-12-31T23:59:59.9999Z"), Some(-1));
        assert_eq!(read("2024-05-01 12:30:00+02:00"), Some(1_714_559_400_000));
        assert_eq!(read("2024-05-01T12:30:00"), None);
        assert_eq!(read("2024-13-01T12:30:00Z"), None);
        assert_eq!(read("yesterday"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn counts_since_the_unix_epoch_become_milliseconds() {
        assert_eq!(millis(&TimeFormat::EpochSeconds, "1700000000"), Some(1_700_000_000_000));
        assert_eq!(millis(&TimeFormat::EpochSeconds, "1700000000.123"), Some(1_700_000_000_123));
        assert_eq!(millis(&TimeFormat::EpochSeconds, "-0.0006"), Some(-1));
        assert_eq!(millis(&TimeFormat::EpochMillis, "1.7e12"), Some(1_700_000_000_000));
        assert_eq!(millis(&TimeFormat::EpochMicros, "-1"), Some(-1));
        assert_eq!(millis(&TimeFormat::EpochNanos, "1700000000123999999"), Some(1_700_000_000_123));
        for text in ["NaN", "inf", "1e300", "", "x", "9223372036854775807"] {
            assert_eq!(millis(&TimeFormat::EpochSeconds, text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_uses_its_own_zone_or_that_of_the_text() {
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let format = |pattern: &str| TimeFormat::Strftime { pattern: pattern.into(), zone: zone.clone() };
        let local = format("%Y-%m-%d %H:%M:%S");
        assert_eq!(millis(&local, "2024-07-01 02:00:00"), Some(1_719_792_000_000));
        // This time occurs twice that night. The next one never occurs.
        assert_eq!(millis(&local, "2024-10-27 02:30:00"), Some(1_729_989_000_000));
        assert_eq!(millis(&local, "2024-03-31 02:30:00"), Some(1_711_848_600_000));
        assert_eq!(millis(&local, "2024-07-01"), None);
        assert_eq!(millis(&format("%Y-%m-%d"), "1970-01-02"), Some(82_800_000));
        assert_eq!(millis(&format("%Y-%m-%dT%H:%M%z"), "1970-01-01T00:00+0000"), Some(0));
    }

    proptest! {
        #[test]
        fn every_millisecond_is_read_back(time in EventTime::MIN.0..=EventTime::MAX.0) {
            let text = jiff::Timestamp::from_millisecond(time).unwrap().to_string();
            prop_assert_eq!(millis(&TimeFormat::Rfc3339, &text), Some(time));
            prop_assert_eq!(millis(&TimeFormat::EpochMillis, &time.to_string()), Some(time));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "(?s).{0,40}", digits in "[0-9T:.eZ+-]{0,40}") {
            let (pattern, zone) = ("%Y-%m-%d %H:%M:%S%.f".into(), jiff::tz::TimeZone::UTC);
            let pattern = TimeFormat::Strftime { pattern, zone };
            for format in [TimeFormat::Rfc3339, TimeFormat::EpochSeconds, TimeFormat::EpochNanos, pattern] {
                let _ = (format.parse(&text), format.parse(&digits));
            }
        }
    }
}
