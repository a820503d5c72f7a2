//! Where the tasks of this process stand. Lag monitor, trainer and dashboard read it; a forecast never does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::refusals::Refusals;
use super::split_series::SplitSeries;
use crate::dashboard::state::{DashboardState, PartitionState};
use crate::engine::TaskId;
use crate::forecast::{AccuracySums, DriftDetector};
use crate::telemetry::metrics;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskStatus {
    /// The state of its partition.
    pub state: PartitionState,
    /// The next input offset.
    pub position: i64,
    /// No record is between `position` and this offset: it is behind transaction markers, too.
    pub passed: i64,
    /// Its number of series.
    pub series: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// Records that the restore still has to read.
    pub remaining: u64,
}

/// Where an input partition stands that is copied to a repartition topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceStatus {
    /// The next offset to be copied.
    pub position: i64,
    /// No record is between `position` and this offset.
    pub passed: i64,
    /// Offsets before those that are forecast.
    pub remaining: u64,
}

/// Drift detection of one stream.
#[derive(Debug, Default)]
struct StreamDrift {
    detector: DriftDetector,
    /// Whether drift was detected since the trainer last asked.
    pending: bool,
}

/// Shared by all threads of a process.
#[derive(Debug, Default)]
pub struct Status {
    /// What the dashboard shows.
    pub dashboard: Arc<DashboardState>,
    /// What the streams refuse.
    pub refusals: Refusals,
    /// Series that are read from several partitions.
    pub split_series: SplitSeries,
    tasks: Mutex<BTreeMap<TaskId, TaskStatus>>,
    /// By stream and input partition.
    sources: Mutex<BTreeMap<TaskId, SourceStatus>>,
    drifts: Mutex<BTreeMap<String, StreamDrift>>,
}

impl Status {
    /// Sets where a task stands. While its position stays, so does what it is known to have passed.
    pub fn set(&self, task: &TaskId, mut status: TaskStatus) {
        let mut tasks = lock(&self.tasks);
        if let Some(before) = tasks.get(task).filter(|before| before.position == status.position) {
            status.passed = status.passed.max(before.passed);
        }
        tasks.insert(task.clone(), status);
    }

    /// Sets the next input offset of a task.
    pub fn advanced(&self, task: &TaskId, position: i64) {
        if let Some(status) = lock(&self.tasks).get_mut(task) {
            (status.position, status.passed) = (position, position);
        }
    }

    /// Sets which offset a task at `position` has passed.
    pub fn passed(&self, task: &TaskId, position: i64, passed: i64) {
        if let Some(status) = lock(&self.tasks).get_mut(task).filter(|status| status.position == position) {
            status.passed = passed.max(position);
        }
    }

    /// Sets where an input partition stands that is copied to a repartition topic.
    pub fn set_source(&self, source: &TaskId, status: SourceStatus) {
        lock(&self.sources).insert(source.clone(), status);
    }

    /// Removes an input partition that another shard copies now.
    pub fn remove_source(&self, source: &TaskId) {
        lock(&self.sources).remove(source);
        self.forget_metrics(source);
    }

    /// The input partitions that this process copies.
    pub fn sources(&self) -> Vec<(TaskId, SourceStatus)> {
        lock(&self.sources).iter().map(|(source, status)| (source.clone(), *status)).collect()
    }

    /// Removes a task that another shard owns now.
    pub fn remove(&self, task: &TaskId) {
        lock(&self.tasks).remove(task);
        self.forget_metrics(task);
    }

    fn forget_metrics(&self, task: &TaskId) {
        // A gauge keeps its last value, and an old lag would keep its alert firing: what is no number is not exposed.
        let number = task.partition.to_string();
        let labels = [("stream", &*task.stream), ("topic", &*task.topic), ("partition", &*number)];
        metrics::LAG.gauge(&labels).set(f64::NAN);
        metrics::RESTORE_REMAINING.gauge(&labels).set(0.0);
        self.dashboard.set_partition(&task.stream, &task.topic, task.partition, None);
    }

    /// Sets the serving weights of a stream, and when they were published (milliseconds since the Unix epoch).
    pub fn set_weights(&self, stream: &str, version: u64, created: i64) {
        self.dashboard.set_weights(stream, version, Some(created));
        metrics::WEIGHTS_VERSION.gauge(&[("stream", stream)]).set(version as f64);
        metrics::WEIGHTS_TIMESTAMP.gauge(&[("stream", stream)]).set(created as f64 / 1000.0);
    }

    /// Updates the drift detector of a stream with the accuracy of matured forecasts.
    pub fn check_drift(&self, stream: &str, sums: &AccuracySums) {
        let mut drifts = lock(&self.drifts);
        if !drifts.contains_key(stream) {
            drifts.insert(stream.to_owned(), StreamDrift::default());
        }
        let Some(drift) = drifts.get_mut(stream) else { return };
        if drift.detector.update(sums) {
            drift.pending = true;
            metrics::DRIFTS.counter(&[("stream", stream)]).increment(1);
            tracing::info!(stream, "forecast accuracy drift detected; training starts early");
        }
    }

    /// Whether drift was detected in a stream since this was last called.
    pub fn take_drift(&self, stream: &str) -> bool {
        lock(&self.drifts).get_mut(stream).is_some_and(|drift| std::mem::take(&mut drift.pending))
    }

    /// All tasks of this process.
    pub fn tasks(&self) -> Vec<(TaskId, TaskStatus)> {
        lock(&self.tasks).iter().map(|(task, status)| (task.clone(), *status)).collect()
    }
}

/// Locks also after a panic elsewhere: every change is a single step, so that the maps stay consistent.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
