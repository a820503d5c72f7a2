//! Counts of one restore.

use crate::telemetry::metrics;

/// What the restore of a partition has read, counted since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreStats {
    /// Series restored from snapshots.
    pub snapshots: usize,
    /// How many of these came from a standby copy.
    pub from_standby: usize,
    /// Records of the state topic that could not be used.
    pub rejected: usize,
    /// Input records replayed.
    pub replayed: usize,
    /// Tasks whose state was missing and is rebuilt from the input.
    pub rebuilt: usize,
    /// Input records that retention deleted before they could be replayed or read, and offsets without a record in what
    /// was replayed of a compacted topic.
    pub lost: u64,
    /// Series that the task checkpoints count and that could not be restored.
    pub lost_series: u64,
}

impl RestoreStats {
    /// Adds a finished restore, which took so many microseconds, to the metrics of its stream.
    pub fn record(&self, stream: &str, micros: u64) {
        let labels = [("stream", stream)];
        metrics::RESTORE_SNAPSHOTS.counter(&labels).increment(self.snapshots as u64);
        metrics::RESTORE_RECORDS.counter(&labels).increment(self.replayed as u64);
        metrics::RESTORE_REBUILT.counter(&labels).increment(self.rebuilt as u64);
        metrics::RESTORE_LOST.counter(&labels).increment(self.lost);
        metrics::RESTORE_LOST_SERIES.counter(&labels).increment(self.lost_series);
        metrics::RESTORE_SECONDS.histogram(&labels).record(micros as f64 / 1e6);
    }
}
