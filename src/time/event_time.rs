//! Points in event time.

use serde::{Deserialize, Serialize};

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
