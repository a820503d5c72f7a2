//! Event times in the formats of records.

use crate::time::EventTime;

/// The format of a time field.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeFormat {
    /// RFC 3339 text with a zone offset, such as `2024-05-01T12:30:00.250Z` or `2024-05-01 12:30:00+02:00`, truncated
    /// to the millisecond.
    Rfc3339,
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
        match self {
            Self::Rfc3339 => text.parse().ok().map(from_timestamp),
            Self::EpochSeconds => from_epoch(text, 1000, 1),
            Self::EpochMillis => from_epoch(text, 1, 1),
            Self::EpochMicros => from_epoch(text, 1, 1000),
            Self::EpochNanos => from_epoch(text, 1, 1_000_000),
            Self::Strftime { pattern, zone } => {
                let parsed = jiff::fmt::strtime::parse(pattern, text).ok()?;
                if let Ok(timestamp) = parsed.to_timestamp() {
                    return Some(from_timestamp(timestamp));
                }
                zone.to_timestamp(parsed.to_datetime().ok()?).ok().map(from_timestamp)
            }
        }
    }
}

/// A time as RFC 3339 text, or in milliseconds where it lies outside the calendar.
pub(super) fn format_time(time: EventTime) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| format!("{} ms", time.0), |stamp| stamp.to_string())
}

/// The millisecond that contains an instant.
fn from_timestamp(timestamp: jiff::Timestamp) -> EventTime {
    let within = timestamp.subsec_nanosecond().div_euclid(1_000_000);
    EventTime(timestamp.as_second() * 1000 + i64::from(within))
}

/// A count of units since the Unix epoch, each of `multiplier / divisor` milliseconds. Whole numbers are exact;
/// fractions and numbers with an exponent are rounded as doubles.
fn from_epoch(text: &str, multiplier: i64, divisor: i64) -> Option<EventTime> {
    if let Ok(count) = text.parse::<i64>() {
        return count.checked_mul(multiplier).map(|count| EventTime(count.div_euclid(divisor)));
    }
    let millis = (super::number::parse(text)? * multiplier as f64 / divisor as f64).round();
    // The limit lies far beyond year 9999 in both directions, fits an i64, and excludes NaN.
    (millis.abs() < 1e17).then_some(EventTime(millis as i64))
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
