//! What one epoch has to write: a value, with no effect until the shell commits it.

use std::sync::Arc;

use super::{Stream, TaskHandle};
use crate::{
    forecast::{AccuracySums, Anomaly},
    snapshot::TaskProgress,
    time::EventTime,
};

/// Outputs, state changes and positions of one epoch.
#[derive(Debug)]
pub struct Transaction {
    /// The forecasts, each series' in event-time order.
    pub forecasts: Vec<ForecastRow>,
    /// `[forecasts, outputs]` of each row in turn (rows of different streams may differ in how many there are).
    pub points: Vec<f64>,
    /// `[forecasts, outputs, levels]` of each row in turn.
    pub quantiles: Vec<f64>,
    /// Snapshots of changed series that are due.
    pub snapshots: Vec<Snapshot>,
    /// The tasks whose input moved on.
    pub tasks: Vec<TaskAdvance>,
    /// Sums over what matured, by the stream's index.
    pub accuracy: Vec<AccuracySums>,
    /// `(stream's index, series stepped at once)`, one entry a batch.
    pub batches: Vec<(usize, usize)>,
    /// Observations taken onto the grid, by the stream's index.
    pub observations: Vec<u64>,
    /// Forecasts made, by the stream's index.
    pub forecast_counts: Vec<u64>,
    /// Closed slots that were stepped, empty ones included, by the stream's index.
    pub steps: Vec<u64>,
    /// Series that re-ran their context through new weights, by the stream's index.
    pub burn_ins: Vec<u64>,
}

impl Transaction {
    /// Whether the input of a task moved on.
    pub fn moved(&self, task: TaskHandle) -> bool {
        self.tasks.iter().any(|done| done.task == task)
    }
}

/// One forecast of an [`Transaction`].
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastRow {
    /// Its task.
    pub task: TaskHandle,
    /// The index of its series in the task.
    pub series: u32,
    /// The slot that has just closed.
    pub slot: i64,
    /// When that slot began.
    pub origin: EventTime,
    /// The slot's value.
    pub value: f64,
    /// The series' scale, in the value's own unit.
    pub scale: f64,
    /// How unusual the value was; none while there was no forecast for it.
    pub anomaly: Option<Anomaly>,
    /// How probably what is forecast crosses the threshold; none where there is none.
    pub crossing: Option<f32>,
    /// The weights that made the forecast.
    pub weights_version: u64,
    /// The record that closed the slot.
    pub offset: i64,
    /// Where its path begins in [`Transaction::points`].
    pub point: usize,
    /// Where its quantiles begin in [`Transaction::quantiles`].
    pub quantile: usize,
}

/// One series' state, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its task.
    pub task: TaskHandle,
    /// The series' key.
    pub series: Arc<str>,
    /// Input before this offset is in it.
    pub position: i64,
    /// The state's bytes.
    pub body: Vec<u8>,
}

/// What an epoch did to one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskAdvance {
    /// The task.
    pub task: TaskHandle,
    /// The first offset that the epoch took.
    pub from: i64,
    /// The offset after the last one.
    pub to: i64,
    /// How many of its series are in [`Transaction::snapshots`].
    pub snapshots: usize,
    /// Whether the task took up other weights in this epoch, or saw more of the second topic: its progress must be written with
    /// it.
    pub checkpoint_due: bool,
    /// Where the task stands once the epoch is committed.
    pub progress: TaskProgress,
}

impl Transaction {
    pub(super) fn new(streams: &[Stream]) -> Self {
        let zeros = vec![0; streams.len()];
        Self {
            forecasts: Vec::new(),
            points: Vec::new(),
            quantiles: Vec::new(),
            snapshots: Vec::new(),
            tasks: Vec::new(),
            accuracy: streams.iter().map(|stream| AccuracySums::new(&stream.spec.forecast)).collect(),
            batches: Vec::new(),
            observations: zeros.clone(),
            forecast_counts: zeros.clone(),
            steps: zeros.clone(),
            burn_ins: zeros,
        }
    }

    /// Back to nothing, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.forecasts.clear();
        self.points.clear();
        self.quantiles.clear();
        self.snapshots.clear();
        self.tasks.clear();
        self.accuracy.iter_mut().for_each(AccuracySums::clear);
        self.batches.clear();
        for sums in [&mut self.observations, &mut self.forecast_counts, &mut self.steps, &mut self.burn_ins] {
            sums.fill(0);
        }
    }
}
