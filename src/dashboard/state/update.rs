//! What the daemon records.

use serde::Serialize;

/// One committed forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesUpdate<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The series' key.
    pub series: &'a str,
    /// Event time of the step that the forecast starts from, in milliseconds since the Unix epoch.
    pub origin: i64,
    /// The value of that step.
    pub value: f64,
    /// Event times of the horizon, one per lead.
    pub times: &'a [i64],
    /// Point forecasts, one per lead.
    pub point: &'a [f64],
    /// Quantile levels, ascending.
    pub levels: &'a [f32],
    /// Quantiles, `[lead][level]`.
    pub quantiles: &'a [f64],
    /// The anomaly score of `value` in `0..=1`; `None` where there was no forecast of it.
    pub anomaly: Option<f32>,
    /// Whether the stream's rule (`stream.anomaly`) calls `value` anomalous, as in the forecast record.
    pub anomalous: bool,
}

/// Counts of new work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkCounts {
    /// Records read.
    pub records: u64,
    /// Values taken from them.
    pub observations: u64,
    /// Forecasts committed.
    pub forecasts: u64,
    /// Values refused as late.
    pub late: u64,
    /// Records sent to the dead-letter topic.
    pub dead_letters: u64,
}

impl WorkCounts {
    /// Adds `more` to the sums.
    pub fn add(&mut self, more: Self) {
        self.records += more.records;
        self.observations += more.observations;
        self.forecasts += more.forecasts;
        self.late += more.late;
        self.dead_letters += more.dead_letters;
    }
}

/// A partition's state of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionState {
    /// Assigned; nothing has been read yet.
    Created,
    /// Loading snapshots and replaying the input.
    Restoring,
    /// Forecasting.
    Running,
    /// Waiting for the broker.
    Suspended,
}

/// Status of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartitionStatus {
    /// Its state of service.
    pub state: PartitionState,
    /// Series of the partition.
    pub series: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// Records between the committed position and the partition's end; `None` while that is unknown.
    pub lag: Option<u64>,
    /// Records that a restore still has to replay.
    pub remaining: u64,
}

/// Progress of a training round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingStep {
    /// Wall clock in milliseconds since the Unix epoch.
    pub at: i64,
    /// Steps of the optimiser done in this round.
    pub step: u64,
    /// Steps planned in this round.
    pub steps: u64,
    /// Loss of this step.
    pub loss: f64,
}

/// What became of a challenger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "reason", rename_all = "snake_case")]
pub enum Decision {
    /// It serves now.
    Promoted,
    /// It did not win clearly, for this reason.
    Refused(String),
    /// It had been promoted and was replaced by its predecessor, for this reason.
    RolledBack(String),
    /// The round had no result, for this reason.
    Failed(String),
}

/// The end of a training round, or a rollback.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingOutcome {
    /// The stream's name.
    pub stream: String,
    /// Wall clock in milliseconds since the Unix epoch.
    pub at: i64,
    /// The version that serves from now on.
    pub version: u64,
    /// What was decided.
    pub decision: Decision,
    /// Validation loss of the champion.
    pub champion_loss: Option<f64>,
    /// Validation loss of the challenger.
    pub challenger_loss: Option<f64>,
}
