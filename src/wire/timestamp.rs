//! Event times in the forms that records carry them.

use crate::time::EventTime;

/// How a time field is written.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeFormat {
    /// RFC 3339 text with a zone offset, such as `2024-05-01T12:30:00.250Z` or `2024-05-01 12:30:00+02:00`. What is
    /// finer than a millisecond is cut off.
    Rfc3339,
    /// Seconds since the Unix epoch; a fraction is rounded to the nearest millisecond.
    EpochSeconds,
    /// Milliseconds since the Unix epoch.
    EpochMillis,
    /// Microseconds since the Unix epoch; what is finer than a millisecond is cut off.
    EpochMicros,
    /// Nanoseconds since the Unix epoch; what is finer than a millisecond is cut off.
    EpochNanos,
    /// Text in a `strftime` pattern, such as `%Y-%m-%d %H:%M:%S`.
    Strftime {
        /// The pattern (jiff's `fmt::strtime`).
        pattern: String,
        /// The zone of a text without offset. A local time that occurs twice means the earlier one, and one that is
        /// skipped moves on by the length of the gap.
        zone: jiff::tz::TimeZone,
    },
}

impl TimeFormat {
    /// What the format expects, for error messages.
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

    /// Whether the time is a number (in JSON: not in quotes).
    pub(super) const fn is_number(&self) -> bool {
        !matches!(self, Self::Rfc3339 | Self::Strftime { .. })
    }

    /// Reads a time; `None` where the text is not in this format. Not limited to sane times.
    pub(super) fn parse(&self, text: &str) -> Option<EventTime> {
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

/// The millisecond that holds an instant.
fn from_timestamp(timestamp: jiff::Timestamp) -> EventTime {
    let within = timestamp.subsec_nanosecond().div_euclid(1_000_000);
    EventTime(timestamp.as_second() * 1000 + i64::from(within))
}

/// A count of units since the epoch, `multiplier / divisor` milliseconds each. Whole numbers are exact; fractions and
/// powers of ten are taken as a double and rounded.
fn from_epoch(text: &str, multiplier: i64, divisor: i64) -> Option<EventTime> {
    if let Ok(count) = text.parse::<i64>() {
        return count.checked_mul(multiplier).map(|count| EventTime(count.div_euclid(divisor)));
    }
    let millis = (super::number::parse_finite(text)? * multiplier as f64 / divisor as f64).round();
    // Far beyond year 9999 in both directions, and exact in an i64.
    (millis.abs() < 1e17).then_some(EventTime(millis as i64))
}
