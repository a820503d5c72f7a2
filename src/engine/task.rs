//! Tasks: one stream's series of one input partition, and how far their input was read.

use std::{fmt, sync::Arc};

use super::{future_covariates::TaskCovariates, series_table::SeriesTable};
use crate::snapshot::{TaskProgress, WeightsActivation};

/// The unit of assignment and of state: the series of one stream in one partition of one input topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The input topic.
    pub topic: Arc<str>,
    /// The partition of the input topic.
    pub partition: i32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}[{}]", self.stream, self.topic, self.partition)
    }
}

/// A task that is open in an [`Engine`](super::Engine).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskHandle(usize);

/// An open task.
pub(super) struct Task {
    pub id: TaskId,
    /// The index of its stream.
    pub stream: usize,
    /// The weights that serve.
    pub version: u64,
    /// The next offset to be read, the open transaction included.
    pub position: i64,
    /// Input before this offset is learnt from and not forecast.
    pub emit_from: i64,
    /// Which weights served from where on, oldest first.
    pub activations: Vec<WeightsActivation>,
    pub covariates: TaskCovariates,
    pub series: SeriesTable,
    /// Whether every transaction snapshots all series that it changed, and writes the checkpoint.
    pub snapshots_each_transaction: bool,
    /// Where a rollback of the open transaction returns to; none while the transaction has not touched the task.
    pub rollback_point: Option<RollbackPoint>,
}

/// A task as it was before the open transaction: its version and position, and how long its lists were.
pub(super) struct RollbackPoint {
    pub version: u64,
    pub position: i64,
    pub activations: usize,
    pub series: usize,
    pub dirty: usize,
}

impl Task {
    /// A task without series.
    pub fn new(id: TaskId, stream: usize, position: i64) -> Self {
        Self {
            id,
            stream,
            version: 0,
            position,
            emit_from: 0,
            activations: Vec::new(),
            covariates: TaskCovariates::default(),
            series: SeriesTable::default(),
            snapshots_each_transaction: false,
            rollback_point: None,
        }
    }

    /// The weights version that is recorded for input at `position`.
    pub fn recorded_version(&self, position: i64) -> u64 {
        self.activations.iter().rev().find(|made| made.position <= position).map_or(0, |made| made.version)
    }

    /// Records, once a transaction, what a rollback returns to.
    pub fn set_rollback_point(&mut self) {
        if self.rollback_point.is_none() {
            self.rollback_point = Some(RollbackPoint {
                version: self.version,
                position: self.position,
                activations: self.activations.len(),
                series: self.series.len(),
                dirty: self.series.dirty_len(),
            });
        }
    }

    /// Serves with `version` from the present position on.
    pub fn activate(&mut self, version: u64) {
        self.set_rollback_point();
        self.version = version;
        if self.recorded_version(self.position) != version {
            self.activations.push(WeightsActivation { position: self.position, version });
        }
    }

    /// Undoes what the open transaction did, except to the states of series that existed before it.
    pub fn roll_back(&mut self) {
        let Some(before) = self.rollback_point.take() else { return };
        self.version = before.version;
        self.position = before.position;
        self.activations.truncate(before.activations);
        self.series.truncate(before.series, before.dirty);
    }

    /// Makes a transaction final that snapshotted the `snapshots` series that were dirty longest.
    pub fn commit(&mut self, snapshots: usize, progress: &TaskProgress) {
        self.rollback_point = None;
        self.series.mark_clean(snapshots);
        let keep_from = progress.activations.first().map_or(0, |made| made.position);
        self.activations.retain(|made| made.position >= keep_from);
        self.covariates.commit(progress.replay_from);
    }

    /// The progress once the `snapshots` series that were dirty longest are snapshotted.
    pub fn progress(&self, snapshots: usize) -> TaskProgress {
        let replay_from = self.series.dirty_from(snapshots).unwrap_or(self.position);
        let first = self.activations.iter().rposition(|made| made.position <= replay_from).unwrap_or(0);
        let watermarks = self.covariates.watermarks_from(replay_from).to_vec();
        let (activations, emit_from) = (self.activations[first..].to_vec(), self.emit_from);
        TaskProgress { replay_from, activations, watermarks, emit_from }
    }
}

/// The open tasks of an engine, by handle. The place of a closed task is used again.
#[derive(Default)]
pub(super) struct Tasks(Vec<Option<Task>>);

impl Tasks {
    pub fn open(&mut self, task: Task) -> TaskHandle {
        let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if free == self.0.len() {
            self.0.push(None);
        }
        self.0[free] = Some(task);
        TaskHandle(free)
    }

    pub fn close(&mut self, task: TaskHandle) {
        self.0[task.0] = None;
    }

    pub fn get(&self, task: TaskHandle) -> &Task {
        self.0[task.0].as_ref().unwrap_or_else(|| unreachable!("the task of this handle is closed"))
    }

    pub fn get_mut(&mut self, task: TaskHandle) -> &mut Task {
        self.0[task.0].as_mut().unwrap_or_else(|| unreachable!("the task of this handle is closed"))
    }

    pub fn iter(&self) -> impl Iterator<Item = (TaskHandle, &Task)> {
        self.0.iter().enumerate().filter_map(|(index, task)| Some((TaskHandle(index), task.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (TaskHandle, &mut Task)> {
        self.0.iter_mut().enumerate().filter_map(|(index, task)| Some((TaskHandle(index), task.as_mut()?)))
    }
}
