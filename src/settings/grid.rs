//! How event time is divided into steps: interval, season, and the aggregation of the readings of a step.

use std::fmt;

use serde::{Serialize, Serializer};

use super::declare::words;
use super::reader::{Entry, Reader, Setting};
use super::values::Millis;

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

/// How event time is divided into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Every distinct event time is a step of its own.
    Irregular,
    /// Steps of this length, at least 1 ms.
    Every(Millis),
}

/// The period after which the pattern of a series repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Season {
    /// One day where the interval divides it into 4 to 1440 steps, one week where the interval is a day, else none.
    Auto,
    /// No season.
    None,
    /// A season of this length.
    Every(Millis),
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Irregular => f.write_str("irregular"),
            Self::Every(length) => length.fmt(f),
        }
    }
}

impl fmt::Display for Season {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Every(length) => length.fmt(f),
        }
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Season {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Setting for Interval {
    fn read(entry: Entry, reader: &mut Reader) -> Option<Self> {
        if entry.is("irregular") {
            return Some(Self::Irregular);
        }
        reader.or_words(&["irregular"], |reader| Millis::read(entry, reader)).map(Self::Every)
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
        reader.or_words(&["auto", "none"], |reader| Millis::read(entry, reader)).map(Self::Every)
    }
}
