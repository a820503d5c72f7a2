//! Tasks: one stream's series of one input partition, and how far their input was read.

use std::{fmt, sync::Arc};

use super::{
    dirty_queue::InputPoint, future_covariates::TaskCovariates, record_clock::RecordClock, series_table::SeriesTable,
};
use crate::series::SeriesSpec;
use crate::snapshot::{TaskProgress, WeightsActivation};
use crate::time::EventTime;

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
    /// The newest event time of the observations so far, none of them counted later than the timestamp of its record,
    /// in milliseconds; [`i64::MIN`] before the first one.
    pub event_time: i64,
    /// The clock of the partition, where slots close by it.
    pub clock: RecordClock,
    /// A replay begins and ends series before this offset: their snapshots may be missing. Any other series is in the
    /// state topic from the transaction that begins it until the one that ends it.
    pub rebuilt_to: i64,
    /// Whether a replay starts partial series anew, each at its first observation.
    pub restarts_partial: bool,
    /// Input before this offset is learnt from and not forecast.
    pub emit_from: i64,
    /// Which weights served from where on, oldest first.
    pub activations: Vec<WeightsActivation>,
    pub covariates: TaskCovariates,
    pub series: SeriesTable,
    /// Whether every transaction snapshots all series that it changed, and writes the checkpoint.
    pub snapshots_each_transaction: bool,
    /// The fraction of a snapshot, below 1, that earlier transactions have left due.
    pub snapshots_owed: f64,
    /// Where a rollback of the open transaction returns to; none while the transaction has not touched the task.
    pub rollback_point: Option<RollbackPoint>,
}

/// A task as it was before the open transaction: its version and place in the input, and how long its lists were.
pub(super) struct RollbackPoint {
    pub version: u64,
    pub input: InputPoint,
    pub activations: usize,
    pub dirty: usize,
    pub snapshots_owed: f64,
}

impl Task {
    /// A task without series.
    pub fn new(id: TaskId, stream: usize, position: i64) -> Self {
        Self {
            id,
            stream,
            version: 0,
            position,
            event_time: i64::MIN,
            clock: RecordClock::default(),
            rebuilt_to: i64::MAX,
            restarts_partial: false,
            emit_from: 0,
            activations: Vec::new(),
            covariates: TaskCovariates::default(),
            series: SeriesTable::default(),
            snapshots_each_transaction: false,
            snapshots_owed: 0.0,
            rollback_point: None,
        }
    }

    /// The weights version that is recorded for input at `position`.
    pub fn recorded_version(&self, position: i64) -> u64 {
        self.activations.iter().rev().find(|made| made.position <= position).map_or(0, |made| made.version)
    }

    /// Where its input stands.
    pub fn input_point(&self) -> InputPoint {
        InputPoint { position: self.position, event_time: self.event_time, clock: self.clock.clock() }
    }

    /// Records, once a transaction, what a rollback returns to. Returns where the transaction began.
    pub fn set_rollback_point(&mut self) -> InputPoint {
        let input = self.input_point();
        let Self { version, activations, series, snapshots_owed, .. } = self;
        let point = self.rollback_point.get_or_insert_with(|| RollbackPoint {
            version: *version,
            input,
            activations: activations.len(),
            dirty: series.dirty_len(),
            snapshots_owed: *snapshots_owed,
        });
        point.input
    }

    /// Moves the event time of the task on, and the clock of the partition. Returns the time of the latter, where slots
    /// close by it.
    pub fn observe_time(&mut self, spec: &SeriesSpec, offset: i64, series: &str, time: EventTime) -> Option<EventTime> {
        self.event_time = self.event_time.max(time.0);
        self.clock.observe(spec, offset, series, time)
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
        let InputPoint { position, event_time, clock } = before.input;
        (self.position, self.event_time, self.clock) = (position, event_time, RecordClock::resume(clock));
        self.activations.truncate(before.activations);
        self.series.truncate_dirty(before.dirty);
        self.snapshots_owed = before.snapshots_owed;
    }

    /// How many series are due for a snapshot when `share` (0 to 1) of the changed ones are.
    pub fn due_snapshots(&mut self, share: f64) -> usize {
        let changed = self.series.dirty_len();
        let owed = self.snapshots_owed + changed as f64 * share.clamp(0.0, 1.0);
        let due = (owed as usize).min(changed);
        self.snapshots_owed = owed.fract();
        due
    }

    /// Makes a transaction final that snapshotted the `snapshots` series that were dirty longest.
    pub fn commit(&mut self, snapshots: usize, progress: &TaskProgress) {
        self.rollback_point = None;
        self.series.commit(snapshots);
        let keep_from = progress.activations.first().map_or(0, |made| made.position);
        self.activations.retain(|made| made.position >= keep_from);
        self.covariates.commit(progress.replay_from);
    }

    /// The progress once the `snapshots` series that were dirty longest are snapshotted.
    pub fn progress(&self, snapshots: usize) -> TaskProgress {
        let since = self.series.dirty_since(snapshots).unwrap_or_else(|| self.input_point());
        let InputPoint { position: replay_from, event_time, clock } = since;
        let first = self.activations.iter().rposition(|made| made.position <= replay_from).unwrap_or(0);
        let watermarks = self.covariates.watermarks_from(replay_from).to_vec();
        let (activations, emit_from) = (self.activations[first..].to_vec(), self.emit_from);
        // Beyond the end of what was rebuilt it says nothing.
        let rebuilt_to = if self.rebuilt_to > replay_from { self.rebuilt_to } else { 0 };
        TaskProgress { replay_from, event_time, rebuilt_to, activations, watermarks, emit_from, clock }
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
