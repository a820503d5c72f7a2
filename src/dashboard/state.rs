//! The contents of the page: a bounded summary of what the daemon does.
//!
//! The daemon records into it after each commit, and [`super::http`] reads it. No forecast ever depends on it, and
//! every part of it has a limit ([`DashboardLimits`]).

mod accuracy;
mod query;
mod series;
mod store;
mod timeline;
mod update;
mod view;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use accuracy::{HorizonAccuracy, IntervalCoverage};
pub use store::DashboardLimits;
pub use update::{Decision, PartitionState, PartitionStatus, SeriesUpdate, TrainingOutcome, TrainingStep, WorkCounts};
pub use view::{
    AnomalyView, BandView, Chart, Filter, HorizonView, Overview, PartitionView, SeriesPage, SkillSample, SkillView,
    StreamView, TrainingView,
};

use store::Store;

/// The state behind the page. Shared by reference; every method holds its lock for a short, bounded time.
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
    /// An empty state.
    pub fn new(limits: DashboardLimits) -> Self {
        Self { store: Mutex::new(Store::new(limits)) }
    }

    /// Records a committed forecast. Cheap where the series has no chart.
    pub fn record_forecast(&self, update: &SeriesUpdate<'_>) {
        self.lock().record_forecast(update);
    }

    /// Adds work done for a stream.
    pub fn record_work(&self, stream: &str, work: WorkCounts) {
        self.lock().stream(stream).work.add(work);
    }

    /// Adds the matured forecasts of the horizon bucket whose last lead is `horizon` steps.
    pub fn record_accuracy(&self, stream: &str, horizon: u32, accuracy: &HorizonAccuracy) {
        self.lock().stream(stream).horizons.entry(horizon).or_default().add(accuracy);
    }

    /// Sets the status of a partition; `None` once it belongs to another instance.
    pub fn set_partition(&self, stream: &str, topic: &str, partition: i32, status: Option<PartitionStatus>) {
        self.lock().set_partition(stream, (topic, partition), status);
    }

    /// Sets the version of a stream's serving weights and when they were published (wall clock, milliseconds since the
    /// Unix epoch; `None` for the initial weights).
    pub fn set_weights(&self, stream: &str, version: u64, published: Option<i64>) {
        let mut store = self.lock();
        let stream = store.stream(stream);
        (stream.version, stream.published) = (version, published);
    }

    /// Records a step of the optimiser.
    pub fn record_training_step(&self, stream: &str, step: TrainingStep) {
        self.lock().record_training_step(stream, step);
    }

    /// Records the end of a training round, or a rollback.
    pub fn record_training_outcome(&self, outcome: TrainingOutcome) {
        self.lock().record_training_outcome(outcome);
    }

    /// Samples the rates and the skill curve. The HTTP server calls it once a second with the wall clock in
    /// milliseconds.
    pub fn sample(&self, wall_millis: i64) {
        self.lock().sample(wall_millis);
    }

    /// Everything but the charts.
    pub fn overview(&self) -> Overview {
        self.lock().overview()
    }

    /// A page of small charts.
    pub fn series(&self, filter: &Filter) -> SeriesPage {
        self.lock().series(filter)
    }

    /// The large chart of one series; `None` where the series has none.
    pub fn chart(&self, stream: &str, series: &str) -> Option<Chart> {
        self.lock().chart(stream, series)
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // The contents stay usable after a panic of a recording thread: at worst one update is incomplete.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
