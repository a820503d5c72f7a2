//! Timestamps of a file: detects their format from the first rows.

use jiff::tz::TimeZone;

use crate::{time::EventTime, wire::TimeFormat};

/// Formats of a date with a time of day, and of a date alone.
#[rustfmt::skip]
const PATTERNS: [&str; 14] = [
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M",
    "%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y",
];

/// Smaller whole numbers count steps. Larger ones count time since 1970; in seconds, this bound is March 1973.
const MIN_EPOCH_NUMBER: f64 = 1e8;

/// The format of all timestamps of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TimestampFormat {
    /// A format of wire records.
    Time(TimeFormat),
    /// Whole numbers that count steps of the grid.
    Steps,
}

impl TimestampFormat {
    /// The format that fits every timestamp of `sample`. If several fit, as for `3/4/2020`, one in which time never
    /// goes back is preferred.
    pub fn detect(sample: &[&str], zone: &TimeZone) -> Option<Self> {
        let fits = |format: &Self| sample.iter().all(|text| format.read(text, 1).is_some());
        let ascends = |format: &Self| sample.is_sorted_by_key(|text| format.read(text, 1));
        let fitting: Vec<Self> = Self::candidates(sample, zone).into_iter().filter(fits).collect();
        fitting.iter().find(|format| ascends(format)).or(fitting.first()).cloned()
    }

    fn candidates(sample: &[&str], zone: &TimeZone) -> Vec<Self> {
        let numbers: Option<Vec<f64>> = sample.iter().map(|text| text.parse().ok()).collect();
        if let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) {
            let largest = numbers.iter().fold(0.0, |largest: f64, number| largest.max(number.abs()));
            let formats = [(1e11, TimeFormat::EpochSeconds), (1e14, TimeFormat::EpochMillis)];
            let finer = [(1e17, TimeFormat::EpochMicros), (f64::INFINITY, TimeFormat::EpochNanos)];
            if largest < MIN_EPOCH_NUMBER && numbers.iter().all(|number| number.fract() == 0.0) {
                return vec![Self::Steps];
            }
            let found = formats.into_iter().chain(finer).find(|(below, _)| largest < *below);
            return found.map(|(_, format)| Self::Time(format)).into_iter().collect();
        }
        let pattern =
            |pattern: &&str| Self::Time(TimeFormat::Strftime { pattern: (*pattern).to_owned(), zone: zone.clone() });
        std::iter::once(Self::Time(TimeFormat::Rfc3339)).chain(PATTERNS.iter().map(pattern)).collect()
    }

    /// Parses a timestamp. `interval` is the length of a step in milliseconds.
    pub fn read(&self, text: &str, interval: i64) -> Option<EventTime> {
        let time = match self {
            Self::Time(format) => format.parse(text)?,
            Self::Steps => {
                let count: f64 = text.parse().ok()?;
                // Exact: a whole number below 2^53.
                let whole = (count.fract() == 0.0 && count.abs() < 9e15).then_some(count as i64)?;
                EventTime(whole.checked_mul(interval)?)
            }
        };
        (EventTime::MIN..=EventTime::MAX).contains(&time).then_some(time)
    }

    /// The expected format, for error messages.
    pub fn expectation(&self) -> String {
        match self {
            Self::Time(format) => {
                format!("{}, between the years 1 and 9999, as in earlier rows", format.expectation())
            }
            Self::Steps => "a whole number that counts steps, as in earlier rows".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(sample: &[&str]) -> Option<Vec<i64>> {
        let format = TimestampFormat::detect(sample, &TimeZone::UTC)?;
        sample.iter().map(|text| format.read(text, 1000).map(|time| time.0)).collect()
    }

    #[test]
    fn formats_are_detected() {
        let hour = 3_600_000;
        for sample in [
            ["2016-07-01 00:00:00", "2016-07-01 01:00:00"],
            ["2016-07-01T00:00:00Z", "2016-07-01T03:00:00+02:00"],
            ["2016/7/1 0:00", "2016/7/1 1:00"],
            ["7/1/2016 0:00", "7/1/2016 1:00"],
            ["2016-07-01 00:00", "2016-07-01 01:00"],
            ["1467331200", "1467334800"],
            ["1467331200000", "1467334800000"],
            ["1467331200000000", "1467334800000000"],
        ] {
            let start = 1_467_331_200_000;
            assert_eq!(times(&sample), Some(vec![start, start + hour]), "{sample:?}");
        }
        assert_eq!(times(&["2016-07-01", "2016-07-02"]), Some(vec![1_467_331_200_000, 1_467_417_600_000]));
        assert_eq!(times(&["0", "1", "7"]), Some(vec![0, 1000, 7000]));
        assert_eq!(times(&["yesterday"]), None);
        assert_eq!(times(&["1", "2016-07-01"]), None);
    }

    #[test]
    fn the_order_of_time_distinguishes_days_from_months() {
        let day = 86_400_000;
        let read = times(&["30/4/2020 0:00", "1/5/2020 0:00"]).unwrap();
        assert_eq!(read[1] - read[0], day);
        let read = times(&["4/12/2020 0:00", "5/12/2020 0:00", "6/12/2020 0:00"]).unwrap();
        assert!(read.is_sorted());
        let read = times(&["9/1/2020 0:00", "10/1/2020 0:00", "1/2/2020 0:00"]).unwrap();
        assert_eq!(read[1] - read[0], day, "with the month first, time would go back at the third timestamp");
    }
}
