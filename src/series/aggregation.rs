//! How the readings of one slot become its value.

use serde::{Deserialize, Serialize};

use super::value_limit::VALUE_LIMIT;

/// How the readings of one slot become its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aggregation {
    /// The arithmetic mean.
    Mean,
    /// The sum.
    Sum,
    /// The smallest reading.
    Min,
    /// The largest reading.
    Max,
    /// The reading with the earliest event time; of equal ones the first to arrive.
    First,
    /// The reading with the latest event time; of equal ones the last to arrive.
    Last,
    /// The number of readings. A slot without readings has the value 0 and is not missing.
    Count,
}

/// A slot that still accepts readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenSlot {
    /// Number of the slot on the grid.
    pub slot: i64,
    /// Event time of the reading that `First` and `Last` keep.
    pub time: i64,
    /// The aggregate so far.
    pub value: f64,
    pub readings: u32,
}

impl OpenSlot {
    pub fn new(slot: i64, time: i64, value: f64) -> Self {
        Self { slot, time, value, readings: 1 }
    }
    pub fn add(&mut self, aggregation: Aggregation, time: i64, value: f64) {
        self.readings = self.readings.saturating_add(1);
        match aggregation {
            Aggregation::Mean => self.value += (value - self.value) / f64::from(self.readings),
            Aggregation::Sum => self.value = (self.value + value).clamp(-VALUE_LIMIT, VALUE_LIMIT),
            Aggregation::Min => self.value = self.value.min(value),
            Aggregation::Max => self.value = self.value.max(value),
            Aggregation::First if time < self.time => (self.time, self.value) = (time, value),
            Aggregation::Last if time >= self.time => (self.time, self.value) = (time, value),
            Aggregation::First | Aggregation::Last | Aggregation::Count => {}
        }
    }
    pub fn result(&self, aggregation: Aggregation) -> f64 {
        match aggregation {
            Aggregation::Count => f64::from(self.readings),
            _ => self.value,
        }
    }
}
