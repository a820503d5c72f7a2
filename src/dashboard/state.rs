//! What the page shows: a bounded picture of what the daemon does, posted after each commit and read by [`super::http`].
//!
//! Everything here has a limit ([`DashboardLimits`]); nothing here is ever read back by a forecast.

mod store;
mod timeline;
mod view;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use view::{
    AnomalyView, BandView, Chart, Filter, HorizonView, Overview, PartitionView, SeriesCard, SeriesPage, SkillSample,
    StreamView, TrainingView,
};

use store::Store;

use crate::forecast::EXPERTS;

/// The board's limits.
#[derive(Debug, Clone, PartialEq)]
pub struct DashboardLimits {
    /// Series shown: the first to come.
    pub shown: usize,
    /// Room for series that are shown because a value of theirs was anomalous; the longest quiet one gives way.
    pub anomalous: usize,
    /// Points of history kept per shown series.
    pub points: usize,
    /// Anomalies kept, newest first.
    pub anomalies: usize,
    /// Verdicts on challengers kept, newest first.
    pub promotions: usize,
    /// Samples of a curve (skill, loss); when it is full every other one goes, so that it always spans the whole run.
    pub samples: usize,
    /// The anomaly score (0 to 1) from which a value is listed as an anomaly.
    pub anomaly_threshold: f32,
}

impl Default for DashboardLimits {
    fn default() -> Self {
        Self {
            shown: 500,
            anomalous: 100,
            points: 240,
            anomalies: 200,
            promotions: 100,
            samples: 600,
            anomaly_threshold: 0.999,
        }
    }
}

/// One committed forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesUpdate<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The series' key.
    pub series: &'a str,
    /// Event time of the step that the forecast was made at, in milliseconds since the Unix epoch.
    pub origin: i64,
    /// The value of that step.
    pub value: f64,
    /// Event times of the horizon, one per lead.
    pub times: &'a [i64],
    /// The point path, one per lead.
    pub point: &'a [f64],
    /// Quantile levels, sorted.
    pub levels: &'a [f32],
    /// Quantiles, `[lead][level]`.
    pub quantiles: &'a [f64],
    /// The anomaly score of `value`, where there was a forecast to judge it by.
    pub anomaly: Option<f32>,
}

/// What a batch of work came to; all counts are of what is new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Records read.
    pub records: u64,
    /// Values taken in.
    pub observations: u64,
    /// Forecasts committed.
    pub forecasts: u64,
    /// Values set aside as late.
    pub late: u64,
    /// Records sent to the dead-letter topic.
    pub dead_letters: u64,
}

/// What matured forecasts of one horizon bucket came to; all figures are of what is new, errors in the series' scale.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accuracy {
    /// Forecast values that matured and that all three methods had a forecast for.
    pub count: u64,
    /// Sum of absolute errors of Foretide.
    pub foretide: f64,
    /// Sum of absolute errors of the last value.
    pub last_value: f64,
    /// Sum of absolute errors of the seasonal naive forecast.
    pub seasonal_naive: f64,
    /// Per central interval: its nominal share, targets that had one, targets that lay in it.
    pub intervals: Vec<(f32, u64, u64)>,
    /// Sum of the weights that each expert had, in the order of [`Expert`](crate::forecast::Expert).
    pub weights: [f64; EXPERTS],
}

/// Where a partition is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionState {
    /// Assigned, nothing read yet.
    Created,
    /// Loading snapshots and replaying the input.
    Restoring,
    /// Forecasting.
    Running,
    /// Waiting for the broker.
    Suspended,
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct PartitionStatus {
    /// Where it is in its life.
    pub state: PartitionState,
    /// Series held.
    pub series: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// Records between the committed position and the partition's end.
    pub lag: u64,
    /// Records still to be replayed while restoring.
    pub remaining: u64,
}

/// How training goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingStep {
    /// Wall time in milliseconds since the Unix epoch.
    pub at: i64,
    /// The round, from 1.
    pub round: u64,
    /// Steps of the optimiser done in this round.
    pub step: u64,
    /// Steps planned in this round.
    pub of: u64,
    /// Loss of this step.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// What became of a challenger.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", content = "reason", rename_all = "snake_case")]
pub enum Verdict {
    /// It serves now.
    Promoted,
    /// It did not win clearly; why.
    Refused(String),
    /// It had been promoted and was taken back; why.
    RolledBack(String),
    /// The round came to nothing; why.
    Failed(String),
}

/// The end of a training round, or a promotion taken back.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Promotion {
    /// The stream's name.
    pub stream: String,
    /// Wall time in milliseconds since the Unix epoch.
    pub at: i64,
    /// The version that serves after it.
    pub version: u64,
    /// What was decided.
    pub verdict: Verdict,
    /// Held-out loss of the champion.
    pub champion_loss: Option<f64>,
    /// Held-out loss of the challenger.
    pub challenger_loss: Option<f64>,
}

/// The board. Shared by reference; every method locks it for a short, bounded time.
#[derive(Debug)]
pub struct DashboardState {
    store: Mutex<Store>,
}

impl Default for DashboardState {
    fn default() -> Self {
        Self::new(DashboardLimits::default())
    }
}

impl DashboardState {
    /// An empty board.
    pub fn new(spec: DashboardLimits) -> Self {
        Self { store: Mutex::new(Store::new(spec)) }
    }

    /// Takes a committed forecast in. Cheap where the series is not shown.
    pub fn record_forecast(&self, update: &SeriesUpdate<'_>) {
        self.lock().record_forecast(update);
    }

    /// Takes many committed forecasts in under one lock.
    pub fn post_all<'a>(&self, updates: impl IntoIterator<Item = SeriesUpdate<'a>>) {
        let mut store = self.lock();
        updates.into_iter().for_each(|update| store.record_forecast(&update));
    }

    /// Adds work done for a stream.
    pub fn record_work(&self, stream: &str, work: Work) {
        self.lock().record_work(stream, work);
    }

    /// Adds what matured in the horizon bucket whose last lead is `horizon` steps.
    pub fn record_accuracy(&self, stream: &str, horizon: u32, accuracy: &Accuracy) {
        self.lock().record_accuracy(stream, horizon, accuracy);
    }

    /// Sets what is known of a partition; `None` when it is no longer ours.
    pub fn set_partition(&self, stream: &str, topic: &str, partition: i32, note: Option<PartitionStatus>) {
        self.lock().set_partition(stream, topic, partition, note);
    }

    /// Sets the serving weights of a stream and when they were published (wall milliseconds; `None` for initial ones).
    pub fn set_weights(&self, stream: &str, version: u64, published: Option<i64>) {
        self.lock().set_weights(stream, version, published);
    }

    /// Takes a step of the optimiser in.
    pub fn record_training_step(&self, stream: &str, step: TrainingStep) {
        self.lock().record_training_step(stream, step);
    }

    /// Takes the end of a training round in, or a promotion taken back.
    pub fn record_training_outcome(&self, promotion: Promotion) {
        self.lock().record_training_outcome(promotion);
    }

    /// Lets a moment pass: rates and the skill curve are sampled here. The page's server calls it once a second.
    pub fn tick(&self, wall_millis: i64) {
        self.lock().tick(wall_millis);
    }

    /// The tiles, the streams, the skill curve, training and the latest anomalies.
    pub fn overview(&self) -> Overview {
        self.lock().overview()
    }

    /// A page of small charts.
    pub fn series(&self, filter: &Filter) -> SeriesPage {
        self.lock().series(filter)
    }

    /// The large chart of one series; `None` where it is not shown.
    pub fn chart(&self, stream: &str, series: &str) -> Option<Chart> {
        self.lock().chart(stream, series)
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // The picture stays usable whatever a poster died of.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
