//! The outcome of one batch transaction: a value that has no effect until the caller writes and commits it.

use std::sync::Arc;

use super::{stream::Stream, task::TaskHandle};
use crate::forecast::{AccuracySums, AnomalyScore, ValueBounds};
use crate::snapshot::TaskProgress;
use crate::time::EventTime;

/// Forecasts, snapshots and progress that are written to Kafka in one transaction.
#[derive(Debug)]
pub struct Transaction {
    /// The forecasts. Those of one series are in the order of event time.
    pub forecasts: Vec<ForecastRow>,
    /// `[forecasts, outputs]`: the points, row after row. Streams may differ in their number of outputs.
    pub points: Vec<f64>,
    /// `[forecasts, outputs, levels]`: the quantiles, row after row.
    pub quantiles: Vec<f64>,
    /// The snapshots of changed series that are due.
    pub snapshots: Vec<Snapshot>,
    /// The keys of the series that have begun.
    pub begun: Vec<(TaskHandle, Arc<str>)>,
    /// The series that have ended. A snapshot of the same key in this transaction is of the series that began after it.
    pub ended: Vec<EndedSeries>,
    /// The tasks whose input moved on.
    pub tasks: Vec<TaskAdvance>,
    /// Sums by the stream's index.
    pub streams: Vec<StreamSums>,
}

/// One forecast of a [`Transaction`].
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastRow {
    /// The task.
    pub task: TaskHandle,
    /// The index of the series in the task.
    pub series: u32,
    /// The slot that has just closed.
    pub slot: i64,
    /// When that slot began.
    pub origin: EventTime,
    /// The slot's value; of an empty slot the last one before it.
    pub value: f64,
    /// Whether the slot is empty.
    pub absent: bool,
    /// The series' scale, in the unit of the value.
    pub scale: f64,
    /// The declared bounds of the series' field, which points and quantiles keep to.
    pub bounds: ValueBounds,
    /// How anomalous the value is; none where nothing had been forecast for it.
    pub anomaly: Option<AnomalyScore>,
    /// The probability that the forecast target crosses the threshold; none without a threshold.
    pub crossing: Option<f32>,
    /// The version of the weights that made the forecast.
    pub weights_version: u64,
    /// The offset of the record that closed the slot.
    pub offset: i64,
    /// Where its points begin in [`Transaction::points`].
    pub point: usize,
    /// Where its quantiles begin in [`Transaction::quantiles`].
    pub quantile: usize,
}

/// The state of one series, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The task.
    pub task: TaskHandle,
    /// The series' key.
    pub series: Arc<str>,
    /// The state contains the input before this offset.
    pub position: i64,
    /// The parts of the state, as bytes.
    pub body: Vec<u8>,
}

/// A series that has ended: its state is gone, and its snapshot must go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSeries {
    /// The task.
    pub task: TaskHandle,
    /// The series' key.
    pub series: Arc<str>,
    /// Why it ended.
    pub reason: EndReason,
}

/// Why a series has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndReason {
    /// It had no observation for `series_ttl`.
    Silent,
    /// It was silent longest when another one began, and the task held as many as it may.
    Evicted,
    /// A record without a value deleted it.
    Deleted,
}

impl EndReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Silent, Self::Evicted, Self::Deleted];

    /// The name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Evicted => "evicted",
            Self::Deleted => "deleted",
        }
    }
}

/// What a transaction did to one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskAdvance {
    /// The task.
    pub task: TaskHandle,
    /// The first offset that the transaction read.
    pub from: i64,
    /// The offset after the last one.
    pub to: i64,
    /// How many of the task's series that were dirty longest are not any more: they are in [`Transaction::snapshots`],
    /// or have ended.
    pub snapshots: usize,
    /// Whether the transaction must write the task's checkpoint: other weights began to serve, more of the future
    /// covariates became visible, or series have ended.
    pub checkpoint_due: bool,
    /// The progress once the transaction is committed.
    pub progress: TaskProgress,
}

/// What a transaction did for one stream.
#[derive(Debug)]
pub struct StreamSums {
    /// Accuracy of the forecasts that matured.
    pub accuracy: AccuracySums,
    /// Accepted observations.
    pub observations: u64,
    /// Forecasts.
    pub forecasts: u64,
    /// Values of forecast slots that lie beyond the declared bounds of their field.
    pub beyond_bounds: u64,
    /// Closed slots that were stepped, empty ones included.
    pub steps: u64,
    /// Series whose recent steps ran again through new weights.
    pub burn_ins: u64,
    /// How many series were stepped at once, one entry per batch.
    pub batches: Vec<usize>,
}

impl StreamSums {
    fn new(accuracy: AccuracySums) -> Self {
        Self { accuracy, observations: 0, forecasts: 0, beyond_bounds: 0, steps: 0, burn_ins: 0, batches: Vec::new() }
    }

    fn clear(&mut self) {
        self.accuracy.clear();
        self.batches.clear();
        (self.observations, self.forecasts, self.beyond_bounds) = (0, 0, 0);
        (self.steps, self.burn_ins) = (0, 0);
    }
}

impl Transaction {
    pub(super) fn new(streams: &[Stream]) -> Self {
        let sums = |stream: &Stream| StreamSums::new(AccuracySums::new(&stream.spec.forecast));
        Self {
            forecasts: Vec::new(),
            points: Vec::new(),
            quantiles: Vec::new(),
            snapshots: Vec::new(),
            begun: Vec::new(),
            ended: Vec::new(),
            tasks: Vec::new(),
            streams: streams.iter().map(sums).collect(),
        }
    }

    /// Whether the input of a task moved on.
    pub fn moved(&self, task: TaskHandle) -> bool {
        self.tasks.iter().any(|advance| advance.task == task)
    }

    /// Empties the transaction and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.forecasts.clear();
        self.points.clear();
        self.quantiles.clear();
        self.snapshots.clear();
        self.begun.clear();
        self.ended.clear();
        self.tasks.clear();
        self.streams.iter_mut().for_each(StreamSums::clear);
    }
}
