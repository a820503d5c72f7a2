//! What the shards tell the outside of themselves: read by the watch that measures lag, by the health checks and by
//! the page, never by a forecast.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::dashboard::state::{DashboardState, PartitionState};
use crate::{
    engine::TaskId,
    forecast::{AccuracySums, Drift},
    telemetry::metrics,
};

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskStatus {
    /// Where its partition is in its life.
    pub state: PartitionState,
    /// The next input offset.
    pub position: i64,
    /// Series held.
    pub series: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// Input records that the restore still has to read.
    pub remaining: u64,
}

/// Shared by the shards of a process.
#[derive(Debug, Default)]
pub struct Status {
    /// The picture behind the page.
    pub dashboard: Arc<DashboardState>,
    tasks: Mutex<BTreeMap<TaskId, TaskStatus>>,
    drifts: Mutex<BTreeMap<String, (Drift, bool)>>,
}

impl Status {
    /// Says where a task is.
    pub fn set(&self, task: &TaskId, status: TaskStatus) {
        self.lock().insert(task.clone(), status);
    }

    /// A task has moved on to this input offset.
    pub fn moved(&self, task: &TaskId, position: i64) {
        if let Some(status) = self.lock().get_mut(task) {
            status.position = position;
        }
    }

    /// The task has gone to another owner.
    pub fn remove(&self, task: &TaskId) {
        self.lock().remove(task);
        // A gauge never goes by itself, and an old lag would keep its alert alive.
        let number = task.partition.to_string();
        let labels = [("stream", &*task.stream), ("topic", &*task.topic), ("partition", &*number)];
        metrics::LAG.gauge(&labels).set(0.0);
        metrics::RESTORE_REMAINING.gauge(&labels).set(0.0);
        self.dashboard.set_partition(&task.stream, &task.topic, task.partition, None);
    }

    /// Weights are ready to serve: their version and when they were published (milliseconds since the Unix epoch).
    pub fn published(&self, stream: &str, version: u64, created: i64) {
        self.dashboard.set_weights(stream, version, Some(created));
        metrics::WEIGHTS_VERSION.gauge(&[("stream", stream)]).set(version as f64);
        metrics::WEIGHTS_TIMESTAMP.gauge(&[("stream", stream)]).set(created as f64 / 1000.0);
    }

    /// Takes in what matured of a stream, and tells the trainer when its forecasts have become lastingly worse.
    pub fn matured(&self, stream: &str, facts: &AccuracySums) {
        let mut drifts = lock(&self.drifts);
        if !drifts.contains_key(stream) {
            drifts.insert(stream.to_owned(), Default::default());
        }
        let Some((drift, told)) = drifts.get_mut(stream) else { return };
        if drift.update(facts) {
            *told = true;
            metrics::DRIFTS.counter(&[("stream", stream)]).increment(1);
            tracing::info!(stream, "the forecasts have become lastingly worse");
        }
    }

    /// Whether a stream's forecasts have become lastingly worse since this was last asked.
    pub fn take_drift(&self, stream: &str) -> bool {
        lock(&self.drifts).get_mut(stream).is_some_and(|(_, told)| std::mem::take(told))
    }

    /// All tasks of this process.
    pub fn tasks(&self) -> Vec<(TaskId, TaskStatus)> {
        self.lock().iter().map(|(task, status)| (task.clone(), *status)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, TaskStatus>> {
        lock(&self.tasks)
    }
}

/// A panic elsewhere leaves the maps whole: every change is one insert, one removal or one number.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
