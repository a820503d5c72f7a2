//! Forecasts of one series: experts, their mixture, calibrated quantiles, anomaly scores and accuracy measures.
//!
//! For each closed slot, [`SeriesStep`] scores the forecasts whose target it is and learns from them; then
//! [`ForecastState::forecast`] makes the next forecast. Nothing learns from a target before its slot has closed.

mod accuracy;
mod anomaly;
mod bf16;
mod byte_shuffle;
mod distribution;
mod experts;
mod future_covariates;
mod history;
mod lead_tables;
mod level_tables;
mod mixture;
mod numeric;
mod output;
mod output_bounds;
mod pending_forecasts;
mod ring;
mod spec;
mod state;
mod step;
mod stream_prior;
mod value_bounds;
mod widening;

pub use accuracy::drift::DriftDetector;
pub use accuracy::measures::{IntervalCoverage, PointMeasures, QuantileMeasures};
pub use accuracy::sums::{AccuracySums, BucketSums};
pub use anomaly::spike::SpikeDetector;
pub use anomaly::thresholds::{AnomalyScore, AnomalyThresholds};
pub use experts::expert::{EXPERTS, Expert};
pub use level_tables::MAX_LEVELS;
pub use output::Forecast;
pub use spec::{ForecastSpec, ForecastSpecError, MAX_HORIZON};
pub use state::{ForecastLearner, ForecastState};
pub use step::{LastValueObserver, SeriesStep, StepObserver};
pub use stream_prior::StreamPrior;
pub use value_bounds::ValueBounds;

#[cfg(test)]
mod accuracy_tests;
#[cfg(test)]
mod anomaly_tests;
#[cfg(test)]
mod coverage_tests;
#[cfg(test)]
mod gap_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod test_run;
