//! The clock of a partition, as its records move it.

use crate::nn::fnv_1a;
use crate::series::{CloseBy, SeriesSpec};
use crate::time::{EventTime, PartitionClock};

/// The clock of a partition, and the record that it has seen last.
#[derive(Debug)]
pub struct RecordClock {
    clock: PartitionClock,
    offset: i64,
}

impl Default for RecordClock {
    /// A clock that has seen no record.
    fn default() -> Self {
        Self::resume(PartitionClock::default())
    }
}

impl RecordClock {
    /// Goes on where a clock stood between two records.
    pub fn resume(clock: PartitionClock) -> Self {
        Self { clock, offset: i64::MIN }
    }

    /// What it has seen so far.
    pub fn clock(&self) -> PartitionClock {
        self.clock
    }

    /// Sees an observation of the record at `offset`. The series of one record are one clock, also where they are
    /// copied one by one. Returns the time of the partition, where slots close by it and two series agree on one.
    pub fn observe(&mut self, spec: &SeriesSpec, offset: i64, series: &str, time: EventTime) -> Option<EventTime> {
        if spec.close_by != CloseBy::Partition {
            return None;
        }
        if self.offset != offset {
            self.offset = offset;
            let key = spec.extra.future_covariates.record_key(series);
            self.clock.observe(fnv_1a(key.bytes()), time.0, spec.clock_tolerance());
        }
        self.clock.time().map(EventTime)
    }
}
