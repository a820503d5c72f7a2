//! Event time, and the grid that divides it into slots.

mod partition_clock;

use serde::{Deserialize, Serialize};

pub use partition_clock::PartitionClock;

/// A point in event time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The earliest valid time of a record: 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// The latest valid time of a record: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The time, but no later than the timestamp of its record, in milliseconds since the Unix epoch, where it has one.
    pub fn no_later_than(self, timestamp: Option<i64>) -> Self {
        Self(timestamp.map_or(self.0, |timestamp| timestamp.min(self.0)))
    }

    /// Whether it lies within [`Self::MIN`] and [`Self::MAX`].
    pub fn is_valid(self) -> bool {
        (Self::MIN..=Self::MAX).contains(&self)
    }
}

/// How event time is divided into slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grid {
    /// Slots of equal length; slot `n` covers `[n * interval, (n + 1) * interval)` milliseconds.
    Regular {
        /// Length of a slot in milliseconds; at least 1.
        interval: i64,
    },
    /// Every event time is a slot of its own, numbered by its milliseconds.
    Irregular,
}

impl Grid {
    /// The slot that contains `time`.
    pub fn slot(self, time: EventTime) -> i64 {
        match self {
            Self::Regular { interval } => time.0.div_euclid(interval),
            Self::Irregular => time.0,
        }
    }

    /// Whether `slot` lies within the valid event times.
    pub fn contains(self, slot: i64) -> bool {
        (self.slot(EventTime::MIN)..=self.slot(EventTime::MAX)).contains(&slot)
    }

    /// The event time at which `slot` begins.
    pub fn start(self, slot: i64) -> EventTime {
        match self {
            Self::Regular { interval } => EventTime(slot * interval),
            Self::Irregular => EventTime(slot),
        }
    }

    /// The watermark that closes `slot`: its end on a regular grid, its own time on an irregular one.
    pub fn closes_at(self, slot: i64) -> EventTime {
        match self {
            Self::Regular { interval } => EventTime((slot + 1) * interval),
            Self::Irregular => EventTime(slot),
        }
    }
}
