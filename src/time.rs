//! Event time and the grid that cuts it into slots.

use serde::{Deserialize, Serialize};

/// A moment in event time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    /// The earliest time that a record may carry: 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// The latest time that a record may carry: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);
}

/// How event time is cut into slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grid {
    /// Slots of equal length; slot `n` covers `[n * interval, (n + 1) * interval)` milliseconds.
    Regular {
        /// Length of a slot in milliseconds; at least 1.
        interval: i64,
    },
    /// Every distinct event time is a slot of its own; the slot's number is the time in milliseconds.
    Irregular,
}

impl Grid {
    /// The slot that holds `time`.
    pub fn slot(self, time: EventTime) -> i64 {
        match self {
            Self::Regular { interval } => time.0.div_euclid(interval),
            Self::Irregular => time.0,
        }
    }

    /// Whether `slot` lies within event time.
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

    /// The watermark from which `slot` is closed: its end on a regular grid, its own time on an irregular one.
    pub fn closes_at(self, slot: i64) -> EventTime {
        match self {
            Self::Regular { interval } => EventTime((slot + 1) * interval),
            Self::Irregular => EventTime(slot),
        }
    }
}
