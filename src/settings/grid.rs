//! How event time is divided into steps: interval, season, and the aggregation of the readings of a step.

use std::fmt;

use serde::{Serialize, Serializer};

use super::declare::words;
use super::reader::{Entry, Reader, Setting};
use super::units;
use super::values::Millis;
use crate::time::{Grid, Length, Origin};

words! {
    /// How the readings within one slot become its value.
    pub enum Aggregation {
        /// Mean of the readings.
        Mean = "mean",
        /// Sum of the readings.
        Sum = "sum",
        /// Smallest reading.
        Min = "min",
        /// Largest reading.
        Max = "max",
        /// Reading with the earliest event time.
        First = "first",
        /// Reading with the latest event time.
        Last = "last",
        /// Number of readings.
        Count = "count",
    }
}

words! {
    /// A day of the week.
    pub enum Weekday {
        /// Monday.
        Monday = "monday",
        /// Tuesday.
        Tuesday = "tuesday",
        /// Wednesday.
        Wednesday = "wednesday",
        /// Thursday.
        Thursday = "thursday",
        /// Friday.
        Friday = "friday",
        /// Saturday.
        Saturday = "saturday",
        /// Sunday.
        Sunday = "sunday",
    }
}

impl From<Weekday> for jiff::civil::Weekday {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

/// How event time is divided into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Every distinct event time is a step of its own.
    Irregular,
    /// Steps of this length, at least 1 ms. Whole days are days of the local calendar.
    Every(Millis),
    /// Steps of so many months of the local calendar.
    Months(u32),
}

/// The period after which the pattern of a series repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// One day where the interval divides it into 4 to 1440 steps, one week where the interval is a day, one year where
    /// it is a week, a month or a quarter, else none.
    Auto,
    /// No season.
    None,
    /// A season of this length.
    Every(Millis),
    /// A season of so many months: twelve are a year.
    Months(u32),
}

impl Interval {
    /// Length of a step, the mean one of months; none where steps are irregular.
    pub fn nominal(self) -> Option<Millis> {
        match self {
            Self::Irregular => None,
            Self::Every(length) => Some(length),
            Self::Months(_) => self.length().map(|length| Millis(length.nominal_millis())),
        }
    }

    /// Length of a step, as a grid is laid out by it; none where steps are irregular.
    pub fn length(self) -> Option<Length> {
        match self {
            Self::Irregular => None,
            Self::Every(length) => Some(Length::Clock(length.0)),
            Self::Months(months) => Some(Length::Months(months)),
        }
    }
}

impl From<&Grid> for Interval {
    /// The interval of a grid.
    fn from(grid: &Grid) -> Self {
        match grid.length() {
            None => Self::Irregular,
            Some(Length::Clock(millis)) => Self::Every(Millis(millis)),
            Some(Length::Months(months)) => Self::Months(months),
        }
    }
}

/// Years of 365 days and months of 30, in milliseconds.
pub(super) fn months_millis(months: u32) -> i64 {
    let (years, months) = (i64::from(months / 12), i64::from(months % 12));
    Millis::days(365 * years + 30 * months).0
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Irregular => f.write_str("irregular"),
            Self::Every(length) => f.write_str(&units::INTERVAL.render(length.0.unsigned_abs())),
            Self::Months(months) => f.write_str(&units::MONTHS.render(u64::from(*months))),
        }
    }
}

impl fmt::Display for Season {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Every(length) => length.fmt(f),
            Self::Months(months) => f.write_str(&units::MONTHS.render(u64::from(*months))),
        }
    }
}

/// Implements `Serialize` by `Display`, whose form is the one of the configuration.
macro_rules! serialize_as_displayed {
    ($($kind:ty),+) => { $(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+ };
}

serialize_as_displayed!(Interval, Season, Origin);

/// A length of time, or a number of months.
fn read_length(entry: &Entry, reader: &mut Reader) -> Option<Length> {
    let months = entry.text().and_then(|text| units::MONTHS.parse(text));
    match months.and_then(|months| u32::try_from(months).ok()) {
        Some(months) => Some(Length::Months(months)),
        None => {
            let millis = reader.with_units(entry, &units::INTERVAL, &[&units::MONTHS])?;
            i64::try_from(millis).ok().map(Length::Clock)
        }
    }
}

impl Setting for Interval {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if entry.is("irregular") {
            return Some(Self::Irregular);
        }
        Some(match reader.or_words(&["irregular"], |reader| read_length(&entry, reader))? {
            Length::Clock(millis) => Self::Every(Millis(millis)),
            Length::Months(months) => Self::Months(months),
        })
    }
}

impl Setting for Season {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if entry.is("auto") {
            return Some(Self::Auto);
        }
        if entry.is("none") {
            return Some(Self::None);
        }
        Some(match reader.or_words(&["auto", "none"], |reader| read_length(&entry, reader))? {
            Length::Clock(millis) => Self::Every(Millis(millis)),
            Length::Months(months) => Self::Months(months),
        })
    }
}

impl Setting for Origin {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        let expected = "a time of day, a date, or both";
        let text = reader.text(&entry, expected)?;
        let hint = "such as \"06:00\", \"2026-04-01\" or \"2026-04-01T06:00\"";
        text.parse().ok().or_else(|| reader.refuse(&entry, expected, Some(hint.into())))
    }
}
