//! What the page receives, as JSON.

use serde::{Deserialize, Serialize};

use super::update::{PartitionStatus, TrainingOutcome};

/// Which small charts to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Only series whose stream or key contains this text, in upper or lower case.
    pub search: String,
    /// Only this stream; empty for all.
    pub stream: String,
    /// How many series to skip.
    pub offset: usize,
    /// How many to show, at most 60; 0 stands for 24.
    pub limit: usize,
}

/// A central interval along the horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BandView {
    /// Nominal share, such as 0.8.
    pub share: f64,
    /// Lower bounds, one per lead.
    pub low: Vec<f64>,
    /// Upper bounds, one per lead.
    pub high: Vec<f64>,
}

/// A fan chart: history, point forecasts and intervals. A small chart has a shorter history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// The stream's name.
    pub stream: String,
    /// The series' key.
    pub series: String,
    /// Event times of the history in milliseconds, oldest first.
    pub times: Vec<i64>,
    /// Values of the history.
    pub values: Vec<f64>,
    /// Anomaly scores of the history.
    pub scores: Vec<Option<f32>>,
    /// Which values of the history are anomalous, as in the forecast records.
    pub anomalous: Vec<bool>,
    /// The 80 % interval that was forecast for each value of the history one step before.
    pub expected: Vec<Option<(f64, f64)>>,
    /// Event times of the horizon.
    pub ahead: Vec<i64>,
    /// Point forecasts, one per lead.
    pub point: Vec<f64>,
    /// Central intervals, widest first.
    pub bands: Vec<BandView>,
}

/// A page of small charts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesPage {
    /// Series that match the filter.
    pub matching: usize,
    /// Series with a chart.
    pub shown: usize,
    /// Index of the first chart of this page among the matching series.
    pub offset: usize,
    /// The charts.
    pub series: Vec<Chart>,
}

/// A run of anomalous values, by its most anomalous value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnomalyView {
    /// The stream's name.
    pub stream: String,
    /// The series' key.
    pub series: String,
    /// Event time in milliseconds.
    pub time: i64,
    /// The value.
    pub value: f64,
    /// Its anomaly score.
    pub score: f32,
    /// The 80 % interval that was forecast for it one step before.
    pub expected: Option<(f64, f64)>,
    /// Whether the series has a chart.
    pub shown: bool,
}

/// Skill and coverage of matured forecasts; `None` where there is nothing to compare with yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkillView {
    /// 1 - error / error of repeating the last value.
    pub skill_last_value: Option<f64>,
    /// 1 - error / error of the seasonal naive forecast.
    pub skill_seasonal_naive: Option<f64>,
    /// Nominal share and covered share of each central interval.
    pub coverage: Vec<(f64, Option<f64>)>,
}

/// Accuracy of one horizon bucket.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HorizonView {
    /// The bucket's last lead in steps.
    pub horizon: u32,
    /// Forecast values that matured.
    pub count: u64,
    /// Skill and coverage.
    #[serde(flatten)]
    pub skill: SkillView,
    /// Experts with their mean weight, the largest first.
    pub experts: Vec<(&'static str, f64)>,
}

/// A partition in the overview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionView {
    /// The input topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// Its status.
    #[serde(flatten)]
    pub status: PartitionStatus,
}

/// Training of a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingView {
    /// Wall clock times of the loss curve in milliseconds.
    pub at: Vec<i64>,
    /// Losses.
    pub loss: Vec<f64>,
    /// Steps done in the latest round.
    pub step: u64,
    /// Steps planned in the latest round.
    pub steps: u64,
}

/// A stream in the overview.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamView {
    /// The stream's name.
    pub name: String,
    /// Version of the serving weights.
    pub version: u64,
    /// When they were published, wall clock in milliseconds.
    pub published: Option<i64>,
    /// Series in all partitions.
    pub series: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// Records between committed positions and the partitions' ends; `None` while one of them is unknown, or without
    /// partitions.
    pub lag: Option<u64>,
    /// Forecasts so far.
    pub forecasts: u64,
    /// Anomalous values so far.
    pub anomalous: u64,
    /// Skill and coverage over all horizons.
    #[serde(flatten)]
    pub skill: SkillView,
    /// Partitions, in order.
    pub partitions: Vec<PartitionView>,
    /// Accuracy per horizon bucket, in order.
    pub horizons: Vec<HorizonView>,
    /// Training, once it has begun.
    pub training: Option<TrainingView>,
}

/// A sample of the skill curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkillSample {
    /// Wall clock in milliseconds.
    pub at: i64,
    /// Skill against the last value over the latest samples.
    pub last_value: Option<f64>,
    /// Skill against the seasonal naive forecast over the latest samples.
    pub seasonal_naive: Option<f64>,
}

/// Everything but the charts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// Series in all streams.
    pub series: u64,
    /// Series with a chart.
    pub shown: usize,
    /// Observations so far.
    pub observations: u64,
    /// Forecasts so far.
    pub forecasts: u64,
    /// Late values so far.
    pub late: u64,
    /// Dead letters so far.
    pub dead_letters: u64,
    /// Observations per second over the last seconds.
    pub observations_per_second: Option<f64>,
    /// Forecasts per second over the last seconds.
    pub forecasts_per_second: Option<f64>,
    /// Skill and coverage over the whole run.
    #[serde(flatten)]
    pub skill_in_all: SkillView,
    /// Records between committed positions and the partitions' ends; `None` while one of them is unknown, or without
    /// partitions.
    pub lag: Option<u64>,
    /// The streams, by name.
    pub streams: Vec<StreamView>,
    /// The skill curve.
    pub skill: Vec<SkillSample>,
    /// The latest anomalies, newest first.
    pub anomalies: Vec<AnomalyView>,
    /// Anomalous values so far.
    pub anomalous: u64,
    /// Outcomes of training rounds, newest first.
    pub training_outcomes: Vec<TrainingOutcome>,
}
